"""Potentials of any kind: their settings, the least squares of linear ones, and polynomial potentials."""

import importlib.util
import pickle

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from ndsc.config.fitting import FitSections
from ndsc.errors import FitError, InputError, MissingExtraError
from ndsc.fit import GapSettings, apply_regularisation
from ndsc.fit.linear_system import FORCE, kinds_of, sigmas_in_rows, targets_in_rows
from ndsc.fit.sparse_points import read_kernels
from ndsc.potentials import fit_potential, fitter, load_fit, settings_of
from ndsc.potentials.linear import LeastSquares
from ndsc.potentials.polymlp_settings import PolymlpSettings
from ndsc.selection import Noise
from ndsc.selection.noise import FITTED_SCALE

needs_polymlp = pytest.mark.skipif(
    importlib.util.find_spec("pypolymlp") is None, reason="pypolymlp is not installed (extra polymlp)"
)


# Settings


def test_the_method_says_whose_settings_these_are():
    assert settings_of({"n_max": 3}) == GapSettings(n_max=3)
    assert settings_of({"method": "polymlp", "cutoff": 5.0}) == PolymlpSettings(cutoff=5.0)
    several = {"method": "polymlp", "polymlp": {"max_p": 2}, "gap": {"n_sparse": 10}, "e0": {"Al": -3.0}}
    assert settings_of(several) == PolymlpSettings(max_p=2, e0={"Al": -3.0})
    assert settings_of({"polymlp": {"max_p": 2}}) == PolymlpSettings(max_p=2)
    assert settings_of({**several, "method": "gap"}) == GapSettings(n_sparse=10, e0={"Al": -3.0})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "polymlp", "n_sparse": 5}, "n_sparse is a setting of method = 'gap'"),
        ({"method": "gap", "max_p": 2}, "max_p is a setting of method = 'polymlp'"),
        ({"method": "polymlp", "polymlp": {"zeta": 4}}, "[fit.polymlp]"),
        ({"method": "polymlp", "max_p": 2, "polymlp": {"max_p": 2}}, "max_p is given"),
        ({"method": "polymlp", "polymlp": {"max_p": 9}}, "[fit] max_p = 9: it must be at most 3"),
        ({"method": "polymlp", "polymlp": 3}, "write [fit.polymlp]"),
        ({"method": "polymlp", "gtinv_order": 4}, "gtinv_order = 4 needs 3"),
        ({"method": "polymlp", "polymlp": {"method": "gap"}}, "method belongs in [fit]"),
    ],
)
def test_settings_of_another_method_are_told(values, said):
    with pytest.raises(InputError) as error:
        FitSections.parse({"fit": values}, "input.toml")
    assert said in str(error.value)


def test_a_method_that_is_not_installed_names_the_line_for_pip(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ndsc\[polymlp\]'"):
        fitter("polymlp").require()


# Least squares


def problem(n=60, m=25, seed=0):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, m)) * np.logspace(0, -4, m)
    sigmas = random.uniform(0.01, 0.1, n)
    return rows, rows @ random.standard_normal(m) + sigmas * random.standard_normal(n), sigmas


@pytest.mark.parametrize("blocks", [1, 7, 60])
def test_weights_are_those_of_the_normal_equations_in_any_blocks(blocks):
    rows, values, sigmas = problem()
    system = LeastSquares(25)
    for part in np.array_split(np.arange(60), blocks):
        system.add(rows[part], values[part], sigmas[part])
    precise = rows / sigmas[:, None] ** 2
    expected = np.linalg.solve(rows.T @ precise + np.eye(25) / 0.7**2, precise.T @ values)
    assert np.allclose(system.solve(scale=0.7).z, expected, rtol=1e-8, atol=1e-10)


# With fewer values than weights and a prior that is given, no noise at all may be the most probable.
@pytest.mark.parametrize(("n", "choice"), [(60, "both"), (60, "scale"), (60, "noise"), (10, "both"), (10, "scale")])
def test_scale_and_noise_are_those_that_make_the_values_most_probable(n, choice):
    rows, values, sigmas = problem(n=n, seed=1)

    def density(scale, noise):
        covariance = scale**2 * rows @ rows.T + np.diag((noise * sigmas) ** 2)
        return multivariate_normal(np.zeros(n), covariance).logpdf(values)

    def full(x):
        return {"both": tuple(np.exp(x)), "scale": (np.exp(x[0]), 1.0), "noise": (2.0, np.exp(x[0]))}[choice]

    system = LeastSquares(25)
    system.add(rows, values, sigmas)
    found = system.solve(scale=2.0 if choice == "noise" else None, noise=1.0 if choice == "scale" else None)
    best = minimize(lambda x: -density(*full(x)), np.zeros(2 if choice == "both" else 1), method="Nelder-Mead")
    assert found.log_evidence == pytest.approx(density(found.scale, found.noise), rel=1e-8)
    assert found.log_evidence >= -best.fun - 1e-3
    assert (found.scale, found.noise) == pytest.approx(full(best.x), rel=0.03)


def test_nothing_to_learn_from_and_rows_that_are_not_finite_are_told():
    with pytest.raises(InputError, match="No target"):
        LeastSquares(3).solve()
    system = LeastSquares(1)
    system.add(np.array([[np.nan]]), np.ones(1), np.ones(1))
    with pytest.raises(FitError, match="not finite"):
        system.solve()


# Files of GAPs


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE GAP [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE GAP [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE GAP SYSTEM "http://localhost/gap.dtd">',
    ],
)
def test_a_potential_with_entities_is_refused(tmp_path, declared):
    path = tmp_path / "gap.xml"
    content = '<GAP><gpCoordinates dimensions="2"><descriptor>soap Z=13</descriptor></gpCoordinates></GAP>'
    path.write_text(f'<?xml version="1.0"?>{declared}{content}')
    with pytest.raises(InputError, match="declares a document type"):
        read_kernels(path)
    path.write_text(content)
    assert read_kernels(path)[1][0].words == {"Z": "13"}


# Polynomial potentials

SMALL = PolymlpSettings(cutoff=4.5, n_gaussians=5, gtinv_maxl=(2, 2))


def labelled(n=4, symbols=("Cu", "Au"), seed=3):
    frames = []
    for number in range(n):
        atoms = bulk("Cu", a=3.8, cubic=True)
        atoms.rattle(0.1, seed=seed + number)
        atoms.symbols[: 1 + number % 3] = symbols[1]
        atoms.symbols[1 + number % 3 :] = symbols[0]
        atoms.set_cell(atoms.cell.array * [1.0, 1.01, 0.99], scale_atoms=True)
        atoms.calc = EMT()
        frame = atoms.copy()
        frame.info["REF_energy"] = atoms.get_potential_energy()
        frame.arrays["REF_forces"] = atoms.get_forces()
        frame.info["REF_virial"] = -atoms.get_volume() * atoms.get_stress(voigt=False).reshape(9)
        frames.append(frame)
    return apply_regularisation(frames)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return fit_potential(labelled(), tmp_path_factory.mktemp("polymlp"), SMALL.replaced(e0="fit"))


@needs_polymlp
def test_rows_are_derivatives_and_the_written_potential_is_rows_times_weights(tmp_path):
    basis = fitter("polymlp").basis(labelled(), tmp_path, SMALL)
    z = np.random.default_rng(0).standard_normal(basis.n_weights)
    calculator = fitter("polymlp").calculator(basis.write(z, {"Cu": -3.0, "Au": -2.0}, tmp_path))
    for frame, rows in zip(labelled(2), basis.rows(labelled(2)), strict=True):
        atoms = frame.copy()
        atoms.calc = calculator
        e0 = -3.0 * atoms.get_chemical_symbols().count("Cu") - 2.0 * atoms.get_chemical_symbols().count("Au")
        virial = -atoms.get_volume() * atoms.get_stress(voigt=False).reshape(9)[[0, 1, 2, 4, 5, 8]]
        expected = np.concatenate([[atoms.get_potential_energy() - e0], atoms.get_forces().ravel(), virial])
        scale = np.abs(expected).max()
        assert np.allclose(rows @ z, expected, atol=1e-7 * scale)
        assert np.allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6 * scale)
        assert np.allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6 * scale)


@needs_polymlp
def test_the_fit_is_pypolymlps_own_with_one_sigma_and_the_same_ridge(tmp_path):
    from pypolymlp.core.params import PolymlpParams
    from pypolymlp.mlp_dev.core.features import compute_features

    from ndsc.potentials.polymlp import parameters, read_potential, structure_of

    frames = labelled()
    for frame in frames:
        frame.info["energy_sigma"] = 0.01
        frame.arrays["force_component_sigma"][:] = 0.01
        frame.info["virial_component_sigma"][:] = 0.01
    e0 = {"Cu": 0.1, "Au": 0.2}
    fit = fit_potential(frames, tmp_path, SMALL.replaced(prior=10.0, e0=e0))
    features = compute_features(
        PolymlpParams(parameters(SMALL, ["Cu", "Au"])), structures=[structure_of(one, ["Cu", "Au"]) for one in frames]
    ).x
    energies = [f.info["REF_energy"] - sum(e0[s] for s in f.get_chemical_symbols()) for f in frames]
    virials = np.concatenate([f.info["REF_virial"][[0, 4, 8, 1, 5, 2]] for f in frames])
    forces = np.concatenate([f.arrays["REF_forces"].ravel() for f in frames])
    # Linear ridge regression, as pypolymlp solves it: alpha is the squared ratio of sigma and the width of the prior.
    alpha = (0.01 / 10.0) ** 2
    matrix = features.T @ features + alpha * np.eye(features.shape[1])
    theirs = np.linalg.solve(matrix, features.T @ np.concatenate([energies, virials, forces]))
    ours = read_potential(fit.potential)[1]
    assert np.allclose(features @ ours, features @ theirs, atol=1e-6)


@needs_polymlp
@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_a_fit_with_sigmas_by_evidence_has_the_prior_that_they_were_found_with(scale, tmp_path):
    noise = Noise(scale, 1e-3, 0.02, 1e-3, 1e-3)
    frames = apply_regularisation(labelled(), noise.regularisation())
    fit = fit_potential(frames, tmp_path, SMALL, prior=FITTED_SCALE)
    rows = np.vstack(fit.linear_model().rows(frames))
    values, sigmas = (
        np.concatenate(parts)
        for parts in zip(
            *((targets_in_rows(f, {29: fit.e0["Cu"], 79: fit.e0["Au"]}, "it"), sigmas_in_rows(f)) for f in frames),
            strict=True,
        )
    )
    # The most probable weights for a prior of the scale that was found, and sigmas as large as were found with it.
    precise = rows / (scale * sigmas[:, None]) ** 2
    expected = np.linalg.solve(rows.T @ precise + np.eye(rows.shape[1]) / scale**2, precise.T @ values)
    forces = []
    for frame in frames:
        frame.calc = fit.calculator()
        forces.append(frame.get_forces().ravel())
    all_forces = np.concatenate([kinds_of(len(frame)) == FORCE for frame in frames])
    assert np.allclose(np.concatenate(forces), (rows @ expected)[all_forces], atol=1e-6)


@needs_polymlp
def test_a_fit_says_what_was_used_and_is_found_again(fitted):
    n = sum(len(frame) for frame in labelled())
    assert fitted.counts_read == {"energies": 4, "force_components": 3 * n, "virial_components": 24}
    again = load_fit(fitted.potential.parent)
    assert again.reused
    assert again.settings == fitted.settings
    assert again.e0 == pytest.approx(fitted.e0)
    assert again.method == "polymlp"
    # Four labels, each with more numbers than it needs: the model has to reproduce them.
    assert again.errors["all"].force_rmse_ev_per_angstrom < 0.02
    atoms = labelled(1)[0]
    results = []
    for calculator in (fitted.calculator(), pickle.loads(pickle.dumps(again.calculator()))):
        atoms.calc = calculator
        results.append(atoms.get_forces())
    assert np.array_equal(*results)


@needs_polymlp
def test_a_program_that_drops_data_is_found_out(tmp_path, monkeypatch):
    from ndsc.potentials import polymlp

    def dropping(job, basis, **options):
        solution, counts = solve(job, basis, **options)
        return solution, counts | {"virial_components": 18}

    solve = polymlp.solve_job
    monkeypatch.setattr(polymlp, "solve_job", dropping)
    with pytest.raises(FitError, match="virial components: 24 sent, 18 read"):
        fit_potential(labelled(), tmp_path, SMALL)


@needs_polymlp
def test_foreign_crystals_and_damaged_files_are_refused(fitted, tmp_path):
    aluminium = bulk("Al")
    aluminium.calc = fitted.calculator()
    with pytest.raises(InputError, match=r"was fitted to Cu, Au, and the structure has\s+Al"):
        aluminium.get_potential_energy()
    with pytest.raises(InputError, match="the potential knows Cu, Au only"):
        fitted.linear_model().rows([bulk("Al")])
    text = fitted.potential.read_text()
    start = text.index("coeffs: [") + 9
    for number, damaged in enumerate(
        ["", "[", text[: len(text) // 2], text.replace("max_l", "min_l"), text[:start] + "nan, " + text[start:], "1"]
    ):
        path = tmp_path / f"{number}.yaml"
        path.write_text(damaged)
        with pytest.raises(FitError, match="cannot be read"):
            fitter("polymlp").calculator(path)
    with pytest.raises(InputError, match="There is no potential"):
        fitter("polymlp").calculator(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="holds no complete fit"):
        load_fit(tmp_path)


@needs_polymlp
def test_a_fit_that_lacks_memory_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"needs about .* GB of memory"):
        fit_potential(labelled(), tmp_path, SMALL, memory_limit_gb=1e-3)
