"""Atomic cluster expansions beside ace-jax itself, finite differences and closed forms."""

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

pytest.importorskip("ace_jax", reason="ace-jax is not installed (pip install 'ndsc[ace]')")

from ndsc.errors import InputError
from ndsc.fit import Regularisation, apply_regularisation
from ndsc.fit.linear_system import kinds_of, targets_in_rows
from ndsc.fit.memory import FitSize
from ndsc.potentials import AceCalculator, AceSettings, fit_potential, fitter, load_fit
from ndsc.potentials.ace import AceBasis
from ndsc.potentials.ace_tables import AceWeights, count_weights
from ndsc.potentials.linear import LeastSquares
from ndsc.selection import Selector
from ndsc.selection.targets import ForceTarget

SMALL = AceSettings(order=2, max_degree=5, cutoff=5.0)
ALLOY = AceSettings(order=3, max_degree=4, cutoff=4.5)


def labelled(number):
    """A displaced and strained cell of aluminium with the energy, forces and virial of effective medium theory."""
    atoms = bulk("Al", a=4.0) * (2, 1 + number % 2, 1)
    atoms.rattle(0.08, seed=number)
    strain = 0.02 * np.random.default_rng(number).uniform(-1, 1, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    calculator = EMT()
    bare = atoms.copy()
    atoms.calc = calculator
    bare.info["REF_energy"] = atoms.get_potential_energy()
    bare.arrays["REF_forces"] = atoms.get_forces()
    bare.info["REF_virial"] = (-atoms.get_volume() * atoms.get_stress(voigt=False)).reshape(9)
    bare.info["config_type"] = "supercell"
    return bare


@pytest.fixture(scope="module")
def frames():
    return [labelled(number) for number in range(6)]


@pytest.fixture(scope="module")
def basis():
    return AceBasis(["Al"], SMALL)


@pytest.fixture(scope="module")
def alloy():
    return AceBasis(["Cu", "Al"], ALLOY)


@pytest.fixture(scope="module")
def fitted(frames, tmp_path_factory):
    return fit_potential(apply_regularisation(frames), tmp_path_factory.mktemp("fit") / "potential", SMALL)


def cu_al():
    atoms = bulk("Al", a=4.0, cubic=True)
    atoms.symbols[:2] = "Cu"
    atoms.rattle(0.1, seed=3)
    return atoms


def written(alloy, folder):
    """A potential of random weights."""
    z = np.random.default_rng(1).standard_normal(alloy.n_weights)
    return alloy.write(z, {"Al": -1.5, "Cu": -2.5}, folder), z


def test_rows_are_those_of_ace_jax(alloy):
    """Its own design matrix, by derivatives of JAX, for two elements."""
    import jax
    from ace_jax.basis.model import build_model
    from ace_jax.fit.data import Config, build_dataset
    from ace_jax.fit.inducing import GPConfig
    from ace_jax.fit.rows import linear_rows

    atoms = cu_al()
    with jax.enable_x64(True):
        made = build_model([13, 29], 3, 4, wL=1.0, rcut=4.5)
        settings = GPConfig(r0=1.0, rcut=4.5, n_B=made.meta["n_B"], n_pair=made.meta["n_pair"], NZ=2, C=1)
        config = Config(atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc, None, None, None, 1.0, 1.0, 1.0)
        data = build_dataset([config], made.meta, np.zeros(2), 1, node_chunk=1)
        theirs, _, _ = jax.jit(lambda batch: linear_rows(made.model, settings, batch))(
            jax.tree.map(lambda array: array[0], data)
        )
    ours = alloy.evaluator.rows(atoms)
    size = np.abs(ours).max()
    assert np.allclose(ours[0], theirs.E[0], atol=1e-9 * size)
    assert np.allclose(ours[1:-6], np.asarray(theirs.F).reshape(12, -1), atol=1e-9 * size)
    # xx, yy, zz, yz, xz, xy there; xx, xy, xz, yy, yz, zz here.
    assert np.allclose(ours[-6:], np.asarray(theirs.V)[0][[0, 5, 4, 1, 3, 2]], atol=1e-9 * size)


def test_the_calculator_is_that_of_ace_jax(alloy, tmp_path):
    import jax
    from ace_jax import ACECalculator

    path, _ = written(alloy, tmp_path)
    ours, theirs = cu_al(), cu_al()
    ours.calc = AceCalculator(path)
    with jax.enable_x64(True):
        theirs.calc = ACECalculator(str(path))
        energy, forces, stress = theirs.get_potential_energy(), theirs.get_forces(), theirs.get_stress()
    assert ours.get_potential_energy() == pytest.approx(energy, rel=1e-10)
    assert np.allclose(ours.get_forces(), forces, atol=1e-8 * np.abs(forces).max())
    assert np.allclose(ours.get_stress(), stress, atol=1e-8 * np.abs(stress).max())


def test_uniform_sigmas_give_the_solution_of_ace_jax(frames):
    """Its posterior mean for given noise levels and scale of its smoothness prior."""
    import jax
    from ace_jax.basis.model import BasisSpec
    from ace_jax.fit.objective import posterior_from_qr
    from ace_jax.fit.pipeline.config import FitConfig
    from ace_jax.fit.pipeline.data import load_fit_data
    from ace_jax.fit.pipeline.problem import build_problem
    from ace_jax.fit.stats import linear_qr_statistics

    energy, force, virial, scale = 1e-3, 2e-3, 5e-3, 20.0
    theirs = []
    for frame in frames:
        copy = frame.copy()
        copy.info["virial"] = copy.info["REF_virial"].reshape(3, 3)
        theirs.append(copy)
    with jax.enable_x64(True):
        spec = BasisSpec(elements=(13,), order=2, max_degree=5, wL=1.0, rcut=5.0)
        config = FitConfig(
            model=spec, arm="linear", e0="prefit", energy_key="REF_energy", force_key="REF_forces", batch=6
        )
        data = load_fit_data(config, train=theirs, log=lambda *_: None)
        problem = build_problem(config, data).prob
        values = {"log_sigma_E": energy, "log_sigma_F": force, "log_sigma_V": virial, "log_sigma_c": scale}
        theta = problem.prior.mu._replace(**{name: np.log(value) for name, value in values.items()})
        statistics = linear_qr_statistics(problem.model, problem.cfg, data.ds_train)
        weights = np.asarray(posterior_from_qr(theta, statistics, problem)[0])
        e0 = float(data.E0[0])
    own = AceBasis(["Al"], SMALL.replaced(prior="smoothness"))
    system = LeastSquares(own.n_weights)
    for frame, rows in zip(frames, own.rows(frames), strict=True):
        n = len(frame)
        # The noise of an energy and of a virial grows with the root of the number of atoms there.
        sigmas = np.array([energy * np.sqrt(n), force, virial * np.sqrt(n)])[kinds_of(n)]
        system.add(rows, targets_in_rows(frame, {13: e0}, "it"), sigmas)
    ours = system.solve(scale=scale).z / own.sizes
    assert np.allclose(ours, weights, rtol=1e-5, atol=1e-7 * np.abs(weights).max())


def test_forces_and_stress_are_derivatives_of_the_energy(alloy, tmp_path):
    path, z = written(alloy, tmp_path)
    atoms = cu_al()
    atoms.calc = AceCalculator(path)
    forces, stress, step = atoms.get_forces(), atoms.get_stress(voigt=False), 1e-4

    def energy(changed):
        changed.calc = atoms.calc
        return changed.get_potential_energy()

    for atom, axis in ((0, 0), (2, 1), (3, 2)):
        moved = [atoms.copy(), atoms.copy()]
        for copy, sign in zip(moved, (1, -1), strict=True):
            copy.positions[atom, axis] += sign * step
        found = -(energy(moved[0]) - energy(moved[1])) / (2 * step)
        assert forces[atom, axis] == pytest.approx(found, rel=1e-5, abs=1e-6 * np.abs(forces).max())
    for i, j in ((0, 0), (0, 1), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5 * step
        strain[j, i] += 0.5 * step
        strained = [atoms.copy(), atoms.copy()]
        for copy, sign in zip(strained, (1, -1), strict=True):
            copy.set_cell(copy.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
        found = (energy(strained[0]) - energy(strained[1])) / (2 * step * atoms.get_volume())
        assert stress[i, j] == pytest.approx(found, rel=1e-5, abs=1e-6 * np.abs(stress).max())
    rows = alloy.rows([atoms])[0] @ z
    assert atoms.get_potential_energy() == pytest.approx(rows[0] - 2 * 1.5 - 2 * 2.5)
    assert np.allclose(forces.reshape(-1), rows[1:-6])


def test_turned_and_repeated_crystals_have_the_same_energy(alloy, tmp_path):
    path, _ = written(alloy, tmp_path)
    calculator, atoms = AceCalculator(path), cu_al()
    atoms.calc = calculator
    turned, larger = atoms.copy(), atoms * (2, 1, 1)
    rotation = Rotation.from_rotvec([0.3, 1.1, -0.7]).as_matrix()
    turned.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    turned.calc = larger.calc = calculator
    assert turned.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
    assert np.allclose(turned.get_forces(), atoms.get_forces() @ rotation.T, atol=1e-8)
    assert larger.get_potential_energy() == pytest.approx(2 * atoms.get_potential_energy(), rel=1e-10)


def test_atoms_without_a_cell_and_without_neighbours(alloy, tmp_path):
    path, _ = written(alloy, tmp_path)
    alone = Atoms("Cu")
    alone.calc = AceCalculator(path)
    assert alone.get_potential_energy() == pytest.approx(-2.5)
    assert np.allclose(alone.get_forces(), 0.0)
    pair = Atoms("CuAl", positions=[[0, 0, 0], [2.3, 0.4, 0.1]])
    pair.calc = alone.calc
    assert np.allclose(pair.get_forces().sum(axis=0), 0.0, atol=1e-10)
    assert "stress" not in pair.calc.results


def test_a_pair_potential_is_learned_from_its_energies(tmp_path):
    """A function of distances alone, which pair functions can represent, is predicted where nothing was told."""

    def pair_energy(atoms):
        distances = neighbor_list("d", atoms, 5.0)
        return 0.5 * float(np.sum(0.3 * (1 - distances / 5.0) ** 2 * (3.0 / distances - 1.5)))

    labels = []
    for number in range(30):
        atoms = bulk("Al", a=4.0 * (0.95 + 0.1 * number / 29))
        atoms.info["REF_energy"] = pair_energy(atoms)
        labels.append(atoms)
    told, other = labels[::2], labels[1::2]
    tight = Regularisation(energy=1e-5)
    fit = fit_potential(apply_regularisation(told, tight), tmp_path / "fit", SMALL.replaced(e0={"Al": 0.0}))
    calculator = fit.calculator()
    for atoms in other[:-1]:
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(atoms.info["REF_energy"], abs=2e-4)


def test_a_fit_uses_all_it_is_sent_and_is_read_again(fitted, frames):
    n_atoms = sum(map(len, frames))
    assert fitted.counts_sent == {"energies": 6, "force_components": 3 * n_atoms, "virial_components": 36}
    assert fitted.counts_read == fitted.counts_sent
    assert fitted.sizes == {"basis functions": count_weights(1, SMALL)}
    assert fitted.errors["all"].force_rmse_ev_per_angstrom < 0.02
    again = load_fit(fitted.potential.parent)
    assert again.reused
    assert again.details == fitted.details
    one, other = frames[0].copy(), frames[0].copy()
    one.calc = pickle.loads(pickle.dumps(fitted.calculator()))
    other.calc = again.calculator()
    assert np.array_equal(one.get_forces(), other.get_forces())


def test_sigmas_decide_what_is_believed(frames, tmp_path):
    """One force component with a large sigma is not reproduced, whatever it says."""
    weighted = apply_regularisation(frames, Regularisation.static(force=1e-3))
    weighted[0].arrays["REF_forces"][1, 2] += 5.0
    weighted[0].arrays["force_component_sigma"][1, 2] = 1e4
    fit = fit_potential(weighted, tmp_path / "fit", SMALL)
    atoms = frames[0].copy()
    atoms.calc = fit.calculator()
    assert abs(atoms.get_forces()[1, 2] - frames[0].arrays["REF_forces"][1, 2]) < 0.1


def test_the_scaled_prior_measures_functions_by_their_sizes(basis):
    """Functions among neighbours in random places have about the sizes that the prior takes them to have."""
    from ndsc.potentials.ace_prior import random_sizes

    sizes = random_sizes(basis.tables)
    rng = np.random.default_rng(0)
    closest, cutoff = 2.9, basis.tables.cutoff
    found = []
    for _ in range(400):
        n = rng.poisson(4 / 3 * np.pi * (cutoff**3 - (0.85 * closest) ** 3) / closest**3)
        r = rng.uniform((0.85 * closest) ** 3, cutoff**3, n) ** (1 / 3)
        directions = rng.standard_normal((n, 3))
        places = r[:, None] * directions / np.linalg.norm(directions, axis=1)[:, None]
        atoms = Atoms("Al" * (n + 1), positions=[[0, 0, 0], *places])
        for some in basis.evaluator._environments(atoms, n + 1):
            density, pairs = basis.evaluator._densities(some)
            products, _ = basis.evaluator._products(density)
            found.append(np.concatenate([(basis.tables.coupling @ products)[:, 0], pairs[0]]))
    measured = np.sqrt(np.mean(np.square(found), axis=0))
    one = np.array([len(group[0]) for group in basis.tables.products for _ in group])
    single = np.flatnonzero(basis.tables.coupling.power(2) @ (one == 1) > 0)
    assert np.allclose(sizes[single], measured[single], rtol=0.1)
    # Densities of one product are not independent, which a factor is allowed for.
    assert np.all(np.abs(np.log10(sizes / measured)) < 0.5)
    assert np.ptp(np.log10(measured)) > 1.0


def test_labels_are_chosen_for_an_expansion(basis, frames):
    target = ForceTarget([frame.copy() for frame in frames[:2]])
    selector = Selector(basis, frames, [target], unit="labels")
    chosen = list(selector.choose(2).order)
    selector.add([frames[number] for number in chosen], candidates=chosen)
    assert len(set(chosen)) == 2
    assert 0 < selector.predict().others["forces"] < 1.0


def test_what_it_is_not_for_is_refused(fitted, basis, frames, tmp_path):
    calculator = fitted.calculator()
    strange = molecule("CO")
    strange.calc = calculator
    with pytest.raises(InputError, match="is for Al, and the structure has C, O"):
        strange.get_potential_energy()
    with pytest.raises(InputError, match="is for Al"):
        basis.rows([frames[0], bulk("Cu")])
    broken = frames[0].copy()
    broken.positions[0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        basis.rows([broken])
    text = tmp_path / "gap.xml"
    text.write_text("<xml/>")
    with pytest.raises(InputError, match=r"ends in \.npz"):
        AceCalculator(text)
    with pytest.raises(InputError, match="cannot be read"):
        AceCalculator(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"r0, the distance of neighbours"):
        AceBasis(["He"], SMALL)
    assert AceBasis(["He"], SMALL.replaced(r0=3.0)).n_weights == basis.n_weights


def test_damaged_files_are_refused(fitted, tmp_path):
    whole = fitted.potential.read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        AceCalculator(cut)
    with np.load(fitted.potential) as arrays:
        content = dict(arrays)
    meta = json.loads(bytes(content["meta_json"]))
    code = np.array([print], dtype=object)
    for name, value in (
        ("WB", np.full_like(content["WB"], np.nan)),
        ("WB", content["WB"][:-1]),
        ("aa_spec_2", content["aa_spec_2"] + 10**6),
        ("gamma", content["gamma"][:-2]),
        ("gamma", code),
        ("meta_json", np.frombuffer(json.dumps(meta | {"schema_version": 7}).encode(), np.uint8)),
    ):
        changed = tmp_path / "changed.npz"
        np.savez(changed, **(content | {name: value}))
        with pytest.raises(InputError):
            AceCalculator(changed)


def test_memory_grows_with_the_basis_and_is_refused_beforehand(frames, tmp_path):
    kind = fitter("ace")
    size = FitSize.of_frames(frames, 6.0)
    needs = [kind.memory(AceSettings(max_degree=degree), size) for degree in (6, 10, 14, 18)]
    assert all(small < large for small, large in pairwise(needs))
    assert [count_weights(n, AceSettings()) for n in (1, 2, 3, 4)] == [698, 1498, 1425, 2132]
    with pytest.raises(InputError, match=r"Lower \[fit.ace\] max_degree"):
        fit_potential(apply_regularisation(frames), tmp_path / "fit", SMALL, memory_limit_gb=0.1)


def test_writing_and_reading_keeps_every_weight(alloy, tmp_path):
    from ndsc.potentials.ace_tables import read_ace

    path, z = written(alloy, tmp_path)
    tables, found = read_ace(path)
    assert isinstance(found, AceWeights)
    assert tables.elements == ("Al", "Cu")
    assert np.array_equal(found.weights, z / alloy.sizes)
    assert found.e0 == {"Al": -1.5, "Cu": -2.5}
