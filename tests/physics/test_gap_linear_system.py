"""The linear system computed here against the one that gap_fit dumps, and its solutions against gap_fit's."""

import importlib.util

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ndsc.errors import FitError, InputError
from ndsc.fit import (
    GapCalculator,
    GapSettings,
    LinearSystem,
    Regularisation,
    apply_regularisation,
    evaluate,
    fit_gap,
)
from ndsc.fit.executable import run_gap_fit
from ndsc.fit.linear_system import ENERGY, FORCE, VIRIAL, solve_in_blocks
from ndsc.fit.rows import KernelRows
from ndsc.fit.training import kernel_descriptions, write_training_file

pytestmark = [
    pytest.mark.gap,
    pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'"),
]

TINY = GapSettings(solver="gap_fit", cutoff=4.0, n_max=4, l_max=3, n_sparse=10)


def labelled(count, seed=0):
    random = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        atoms = bulk("CuAl", "cesiumchloride", a=3.0).repeat((2, 1, 1))
        if number == 1:
            atoms.symbols[0] = "Al"
        strain = random.uniform(-0.01, 0.01, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
        # Files keep eight decimals of what belongs to atoms.
        atoms.positions = atoms.positions.round(8)
        work = atoms.copy()
        work.calc = EMT()
        atoms.info["REF_energy"] = float(work.get_potential_energy(force_consistent=True))
        atoms.info["REF_virial"] = (-work.get_volume() * work.get_stress(voigt=False)).ravel()
        atoms.arrays["REF_forces"] = work.get_forces().round(8)
        frames.append(atoms)
    weighted = apply_regularisation(frames)
    for frame in weighted:
        frame.arrays["force_component_sigma"] = frame.arrays["force_component_sigma"].round(8)
    return weighted


@pytest.fixture(scope="module")
def frames():
    return labelled(6)


@pytest.fixture(scope="module")
def fit(frames, tmp_path_factory):
    return fit_gap(frames, tmp_path_factory.mktemp("fit"), TINY)


@pytest.fixture(scope="module")
def system(frames, fit):
    return LinearSystem.from_potential(fit.xml_path, frames)


def difference(one, other):
    return max(
        np.nanmax(np.abs(getattr(one, name) - getattr(other, name)))
        for name in ("model_energies", "model_forces", "model_virials")
    )


def test_rows_are_those_that_gap_fit_dumps(frames, fit, system, tmp_path):
    training = write_training_file(tmp_path / "t.extxyz", frames, [], TINY)
    single_atoms = ":".join(f"{symbol}:{energy!r}" for symbol, energy in fit.e0.items())
    arguments = [
        "at_file=t.extxyz",
        f"gap={kernel_descriptions(training.species, TINY)}",
        "default_sigma={0.001 0.01 0.01 0.0}",
        f"e0={{{single_atoms}}}",
        "energy_parameter_name=REF_energy",
        "force_parameter_name=REF_forces",
        "virial_parameter_name=REF_virial",
        "sparse_jitter=1e-10",
        "rnd_seed=1",
        "linear_system_dump_file=dump",
    ]
    assert run_gap_fit(arguments, tmp_path, "log").code == 0
    parts = [np.loadtxt(tmp_path / f"dump_{name}") for name in ("globalY.0", "lambda.0", "Kmn.0", "Kmm")]
    targets, sigmas, rows, covariance = parts[0], np.sqrt(parts[1]), parts[2], parts[3]
    size = round(np.sqrt(len(covariance)))
    rows, covariance = rows.reshape(len(targets), size), covariance.reshape(size, size)
    # gap_fit's order: all energies, then configuration by configuration; its forces and virials are negative.
    energies = np.flatnonzero(system.kinds == ENERGY)
    others = np.flatnonzero(system.kinds != ENERGY)
    order = np.concatenate([energies, others])
    sign = np.where(system.kinds[order] == ENERGY, 1.0, -1.0)
    assert np.allclose(rows, sign[:, None] * system.rows[order], atol=1e-8)
    assert np.allclose(targets, sign * system.targets[order], atol=1e-8)
    assert np.allclose(sigmas, system.sigmas()[order], atol=1e-8)
    assert np.allclose(covariance, system.covariance + 1e-10 * np.eye(len(covariance)), atol=1e-9)


def test_the_solution_is_gap_fits(fit, system):
    assert difference(system.predict(system.solve()), fit.predictions) < 1e-6


def test_the_solution_in_blocks_is_that_of_all_rows_together(frames, fit, system):
    in_blocks, counts = solve_in_blocks(KernelRows(fit.xml_path), frames)
    rows, sigmas = system.rows / system.sigmas()[:, None], system.sigmas()
    root = np.linalg.cholesky(system.covariance + 1e-10 * np.eye(len(system.covariance)))
    together = np.linalg.lstsq(
        np.vstack([rows, root.T]), np.append(system.targets / sigmas, np.zeros(len(root))), rcond=0
    )[0]
    for weights in (in_blocks, system.solve()):
        assert difference(system.predict(weights), system.predict(together)) < 1e-8
    assert counts == {ENERGY: 6, FORCE: 6 * 12, VIRIAL: 6 * 6}
    with pytest.raises(InputError, match="No target"):
        solve_in_blocks(KernelRows(fit.xml_path), [Atoms("Al", cell=[4, 4, 4], pbc=True)])


def test_subsets_are_fits_with_fixed_sparse_points(frames, fit, system, tmp_path):
    chosen = [0, 3, 4]
    # Both have the single-atom energies of their own data; here those of the larger fit hold.
    given = TINY.replaced(e0=fit.e0)
    full = fit_gap([frames[i] for i in chosen], tmp_path, given, fixed_sparse_points=fit.xml_path)
    weights = system.solve(chosen)
    assert difference(evaluate(frames, full.calculator()), system.predict(weights)) < 1e-6


def test_other_regularisations_are_fits_with_them(frames, fit, system, tmp_path):
    static = Regularisation.static(force=0.05, virial=0.1)
    full = fit_gap(apply_regularisation(frames, static), tmp_path, TINY, fixed_sparse_points=fit.xml_path)
    assert difference(full.predictions, system.predict(system.solve(regularisation=static))) < 1e-6
    assert difference(full.predictions, fit.predictions) > 1e-5


def test_written_potentials_give_what_was_predicted(frames, system, tmp_path):
    weights = system.solve([0, 1, 2], kinds=[FORCE, VIRIAL])
    path = system.write_potential(weights, tmp_path / "out")
    assert difference(evaluate(frames, GapCalculator(path)), system.predict(weights)) < 1e-7
    with pytest.raises(InputError, match="do not fit"):
        system.write_potential(weights[:-1], tmp_path / "out")
    with pytest.raises(InputError, match="not finite"):
        system.write_potential(weights * np.nan, tmp_path / "out")


def test_configurations_without_labels_are_predicted(fit, frames):
    bare = Atoms(frames[0].numbers, positions=frames[0].positions, cell=frames[0].cell, pbc=True)
    system = LinearSystem.from_potential(fit.xml_path, [*frames[1:], bare])
    predictions = system.predict(system.solve())
    assert np.isnan(predictions.reference_energies[-1])
    assert np.isfinite(predictions.model_energies).all()
    bare.calc = GapCalculator(fit.xml_path)
    assert predictions.model_forces[-4:] == pytest.approx(bare.get_forces(), abs=0.05)
    with pytest.raises(InputError, match="No target"):
        system.solve([len(frames) - 1])


def test_input_that_cannot_be_solved(system, fit, frames):
    with pytest.raises(InputError, match="numbered from 0 to 5"):
        system.solve([0, 6])
    with pytest.raises(InputError, match="no configurations"):
        LinearSystem.from_potential(fit.xml_path, [])
    with pytest.raises(FitError, match="not positive definite"):
        system.solve(sparse_jitter=-1.0)
    plain = frames[0].copy()
    del plain.info["energy_sigma"]
    with pytest.raises(InputError, match="no sigma"):
        LinearSystem.from_potential(fit.xml_path, [plain]).solve()


def test_kernels_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "gap.xml"
    for text, message in (("distance_2b cutoff=4 zeta=1 delta=1 Z=13", "not a SOAP"), ("soap Z=13 zeta=1", "delta")):
        path.write_text(
            f'<a><gpCoordinates dimensions="2" sparseX_filename="x"><descriptor>{text}</descriptor>'
            '<sparseX sparseCutoff="1.0"/></gpCoordinates></a>'
        )
        (tmp_path / "x").write_text("1.0\n2.0\n")
        with pytest.raises(InputError, match=message):
            LinearSystem.from_potential(path, [bulk("Al")])


def test_the_solver_in_numpy_makes_the_same_potential(frames, fit, tmp_path):
    ours = fit_gap(frames, tmp_path / "numpy", TINY.replaced(solver="numpy"))
    assert ours.counts_sent == ours.counts_read == fit.counts_read
    assert ours.n_sparse == fit.n_sparse
    assert ours.e0 == fit.e0
    assert difference(ours.predictions, fit.predictions) < 1e-6
    assert fit_gap(frames, tmp_path / "numpy", TINY.replaced(solver="numpy")).reused
    with pytest.raises(InputError, match="solver"):
        fit_gap(frames, tmp_path / "other", TINY.replaced(solver="magic"))
    with pytest.raises(InputError, match="are allowed"):
        fit_gap(frames, tmp_path / "small", TINY.replaced(solver="numpy"), memory_limit_gb=1e-9)
