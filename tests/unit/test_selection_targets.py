"""Targets of a potential that is linear in its weights: against finite displacements, strains and changed weights."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.units import GPa

import ndsc
import ndsc.selection.phonon_target
from linear_models_for_tests import ModelCalculator, PairModel, bound_crystal, crystals
from ndsc.errors import InputError
from ndsc.force_constants.phonopy_model import grid_force_constants, make_phonopy, set_force_constants
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.selection import ElasticTarget, ForceTarget, PhononTarget, PressureTarget
from ndsc.selection.posterior import Posterior
from ndsc.selection.reciprocal import SupercellForceConstants

NAMES = list(crystals())


@pytest.fixture(scope="module")
def bound():
    return {
        name: bound_crystal(atoms, width=0.12 if name == "monoclinic" else 0.2) for name, atoms in crystals().items()
    }


def prepared(target, model):
    target.prepare(model.rows(target.frames()))
    return target


def frequencies(target, z):
    """(n_q, n_modes) array, THz : on the whole grid."""
    phonon = make_phonopy(target.crystal, target.grid)
    set_force_constants(phonon, target.force_constants(z), target.grid)
    return np.array(phonon.run_qpoints(target.stars.numerators / np.array(target.grid)).frequencies)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grid", [(2, 2, 2), (1, 2, 3), (1, 1, 1)])
def test_force_constants_are_those_of_finite_displacements(bound, name, grid):
    atoms, model, z = bound[name]
    if grid == (1, 2, 3) and name in ("rutile", "monoclinic"):
        grid = (1, 1, 3)
    target = prepared(PhononTarget(atoms, grid), model)
    found = ndsc.phonons_from_supercells(atoms, grid, ModelCalculator(model, z), displacement=1e-3, route="dynamical")
    expected = grid_force_constants(found.phonopy, target.grid)
    assert np.abs(target.force_constants(z) - expected).max() < 2e-4 * max(np.abs(expected).max(), 1e-3)
    own = frequencies(target, z)
    theirs = found.phonopy.run_qpoints(target.stars.numerators / np.array(grid)).frequencies
    assert own == pytest.approx(np.array(theirs), abs=0.005)


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("hcp", [[1, 0, 0], [0, 2, 0], [0, 0, 1]]),
        ("diamond", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ("diamond", [[1, 1, 0], [0, 2, 0], [0, 0, 1]]),
        ("rutile", [[1, 0, 0], [0, 1, 0], [0, 0, 2]]),
        ("rutile", [[1, 0, 0], [0, 1, 1], [0, 0, 2]]),
    ],
)
def test_atoms_that_symmetry_relates_need_no_displacements_of_their_own(bound, name, matrix):
    atoms, model, z = bound[name]
    crystal = ndsc.Crystal.from_atoms(atoms)
    action = SpaceGroupAction.of_crystal(crystal)
    parts = []
    for used in (action, action.subset([0])):
        cell = SupercellForceConstants(crystal, np.array(matrix), used, (2, 2, 2))
        assert cell.n_frames == len(cell.frames())
        parts.append((cell.n_frames, cell.phi(model.rows(cell.frames()))))
    assert np.array_equal(action.rotations[0], np.eye(3))
    assert parts[0][0] < parts[1][0]
    # One-sided displacements leave what is of second order.
    largest = np.abs(parts[1][1] @ z).max()
    assert np.abs((parts[0][1] - parts[1][1]) @ z).max() < 1e-3 * largest


@pytest.mark.parametrize("name", NAMES)
def test_elastic_constants_are_those_of_strained_cells_with_relaxed_ions(bound, name):
    atoms, model, z = bound[name]
    target = prepared(ElasticTarget(atoms), model)
    found = ndsc.elastic_constants(atoms, ModelCalculator(model, z), strain=2e-4, fmax=2e-6, max_steps=2000)
    assert target.laue_class == found.laue_class
    largest = max(abs(value) for value in found.constants.values())
    assert target.constants(z) == pytest.approx(found.constants, abs=2e-3 * largest)
    clamped = prepared(ElasticTarget(atoms, relax_ions=False), model)
    rigid = ndsc.elastic_constants(atoms, ModelCalculator(model, z), strain=2e-4, relax_ions=False)
    assert clamped.constants(z) == pytest.approx(rigid.constants, abs=2e-3 * largest)
    moved = np.abs(clamped.matrix(z) - target.matrix(z)).max()
    assert moved < 1e-6 * largest if name == "fcc" else moved > 0.005 * largest


@pytest.mark.parametrize("name", NAMES)
def test_changes_of_elastic_constants_are_those_of_changed_weights(bound, name):
    atoms, model, z = bound[name]
    target = prepared(ElasticTarget(atoms), model)
    change = np.random.default_rng(0).normal(size=len(z)) * 1e-5
    ends = [np.array(list(target.constants(z + sign * change).values())) for sign in (1, -1)]
    slope = 0.5 * (ends[0] - ends[1])
    assert target.constant_rows(z) @ change == pytest.approx(slope, abs=1e-4 * np.abs(slope).max())
    # In per cent of constants of which none counts as smaller than a twentieth of the largest.
    sizes = np.abs(list(target.constants(z).values()))
    sizes = np.maximum(sizes, 0.05 * sizes.max())
    posterior = Posterior(z, 1e-9 * np.eye(len(z)))
    error = np.linalg.norm(target.error_rows(posterior) @ change)
    assert error == pytest.approx(100 * np.sqrt(np.mean((slope / sizes) ** 2)), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pairs", ["all", "neighbours"])
def test_changes_of_frequencies_are_those_of_changed_weights(bound, name, pairs, monkeypatch):
    atoms, model, z = bound[name]
    if pairs == "neighbours":
        monkeypatch.setattr(ndsc.selection.phonon_target, "MOST_PAIRS", 0)
    target = prepared(PhononTarget(atoms, (2, 2, 1) if name == "rutile" else (2, 2, 2)), model)
    change = np.random.default_rng(1).normal(size=len(z)) * 1e-5
    difference = 0.5 * (frequencies(target, z + change) - frequencies(target, z - change))
    # The posterior is so narrow that only modes with the same frequency mix.
    error = np.linalg.norm(target.error_rows(Posterior(z, 1e-6 * np.eye(len(z)))) @ change)
    assert error == pytest.approx(np.sqrt(np.mean(difference**2)), rel=0.02)


def test_degenerate_modes_count_by_the_sum_of_squares():
    """All modes have one frequency; a change splits them, and no basis of theirs is better than another."""
    random = np.random.default_rng(0)
    atoms = bulk("NaCl", "cesiumchloride", a=3.0)
    target = PhononTarget(atoms, 1)
    masses = np.repeat(atoms.get_masses(), 3)
    changes = random.normal(size=(6, 6, 2)) + 1j * random.normal(size=(6, 6, 2))
    changes = changes + changes.conj().transpose(1, 0, 2)
    phi = np.concatenate([np.diag(5.0 * masses)[:, :, None], changes], axis=2)
    target._phi = phi.reshape(1, 2, 3, 2, 3, 3)
    step = np.array([0.0, 2e-5, -1e-5])
    units = np.sqrt(np.outer(masses, masses))
    changed = np.sqrt(np.linalg.eigvalsh((phi @ (np.array([1.0, 0, 0]) + step)) / units)) - np.sqrt(5.0)
    expected = np.sqrt(np.mean(changed**2)) * target._thz
    rows = target.error_rows(Posterior(np.array([1.0, 0, 0]), 1e-4 * np.eye(3)))
    assert np.linalg.norm(rows @ step) == pytest.approx(expected, rel=1e-4)
    # Modes further apart than they are uncertain do not mix.
    apart = np.diag(masses * np.linspace(4, 9, 6))
    target._phi = np.concatenate([apart[:, :, None], changes], axis=2).reshape(1, 2, 3, 2, 3, 3)
    rows = target.error_rows(Posterior(np.array([1.0, 0, 0]), 1e-4 * np.eye(3)))
    assert len(rows) == 6


def test_what_is_not_known_yet_has_a_finite_error(bound):
    for name in ("fcc", "rutile"):
        atoms, model, z = bound[name]
        prior = Posterior(np.zeros(len(z)), np.eye(len(z)))
        for target in (PhononTarget(atoms, (2, 1, 1)), ElasticTarget(atoms), PressureTarget(atoms)):
            rows = prepared(target, model).error_rows(prior)
            assert np.all(np.isfinite(rows))
            assert rows.any()


def test_pressures_and_forces(bound):
    atoms, model, z = bound["hcp"]
    change = np.random.default_rng(2).normal(size=len(z))
    posterior = Posterior(z, np.eye(len(z)))
    target = prepared(PressureTarget(atoms, scales=(0.97, 1.0, 1.04)), model)
    pressures = []
    for scale in (0.97, 1.0, 1.04):
        cell = atoms.copy()
        cell.set_cell(cell.cell.array * scale, scale_atoms=True)
        cell.calc = ModelCalculator(model, change)
        pressures.append(-np.trace(cell.get_stress(voigt=False)) / 3 / GPa)
    error = np.linalg.norm(target.error_rows(posterior) @ change)
    assert error == pytest.approx(np.sqrt(np.mean(np.square(pressures))))
    frames = [atoms.repeat((2, 1, 1)), atoms.copy()]
    for frame in frames:
        frame.rattle(0.1, seed=1)
    forces = []
    for frame in frames:
        work = frame.copy()
        work.calc = ModelCalculator(model, change)
        forces.append(work.get_forces().ravel())
    target = prepared(ForceTarget(frames, name="thermal"), model)
    error = np.linalg.norm(target.error_rows(posterior) @ change)
    assert error == pytest.approx(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    assert target.name == "thermal"


def turned(atoms, seed=0):
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ rotation.T)
    other.positions = atoms.positions @ rotation.T
    return other


@pytest.mark.parametrize("name", ["hcp", "diamond", "rutile"])
def test_a_turned_crystal_has_the_same_constants_and_frequencies(bound, name):
    atoms, model, z = bound[name]
    one, other = (prepared(ElasticTarget(frame), model) for frame in (atoms, turned(atoms)))
    assert other.constants(z) == pytest.approx(one.constants(z), rel=3e-3)
    grid = (1, 1, 2)
    one, other = (prepared(PhononTarget(frame, grid), model) for frame in (atoms, turned(atoms)))
    assert frequencies(other, z) == pytest.approx(frequencies(one, z), abs=0.01)


def test_cells_that_are_not_reduced(bound):
    atoms, model, z = bound["diamond"]
    skewed = make_supercell(atoms, [[1, 2, 0], [0, 1, 1], [0, 0, 1]])
    one, other = (prepared(ElasticTarget(frame), model) for frame in (atoms, skewed))
    assert other.constants(z) == pytest.approx(one.constants(z), rel=1e-4)
    one, other = (prepared(PhononTarget(frame, 2), model) for frame in (atoms, skewed))
    assert np.sort(frequencies(other, z), axis=None) == pytest.approx(np.sort(frequencies(one, z), axis=None), abs=0.01)
    doubled = atoms.repeat((1, 1, 2))
    assert prepared(ElasticTarget(doubled), model).constants(z) == pytest.approx(one_of(atoms, model, z), rel=1e-3)


def one_of(atoms, model, z):
    return prepared(ElasticTarget(atoms), model).constants(z)


def test_a_single_atom_has_no_ions_to_relax(bound):
    atoms, model, z = bound["fcc"]
    target = prepared(ElasticTarget(atoms), model)
    assert not target.relax_ions
    assert len(target.frames()) == 12
    # Nothing moves in it but the whole: there is no error.
    alone = prepared(PhononTarget(atoms, 1), model)
    assert alone.error_rows(Posterior(z, np.eye(len(z)))).shape == (0, len(z))


def test_a_model_that_knows_nothing_of_a_crystal_gives_zeros_and_no_nan(bound):
    atoms, _, _ = bound["rutile"]
    model = PairModel([("Al", "Al")], [2.5, 3.0])
    posterior = Posterior(np.zeros(3), np.eye(3))
    for target in (PhononTarget(atoms, 1), ElasticTarget(atoms), PressureTarget(atoms), ForceTarget([atoms])):
        rows = prepared(target, model).error_rows(posterior)
        assert rows.shape[1] == 3
        assert not rows.any()


def test_targets_without_rows_say_so():
    atoms = Atoms("Mg", cell=np.eye(3) * 3, pbc=True)
    posterior = Posterior(np.zeros(3), np.eye(3))
    for target in (PhononTarget(atoms, 1), ElasticTarget(atoms), PressureTarget(atoms), ForceTarget([atoms])):
        with pytest.raises(InputError, match="prepare"):
            target.error_rows(posterior)


def test_force_constants_that_memory_cannot_hold_are_refused(bound, monkeypatch):
    monkeypatch.setattr(ndsc.selection.phonon_target, "available_memory_mb", lambda: 1e-3)
    with pytest.raises(InputError, match="coarser grid"):
        prepared(PhononTarget(bound["hcp"][0], 2), bound["hcp"][1])


@pytest.mark.parametrize("goal", [0.0, -1.0, np.nan, np.inf])
def test_goals_are_positive(goal):
    with pytest.raises(InputError, match="positive"):
        PhononTarget(bulk("Al"), 2, goal)


def test_forces_of_no_structures_are_no_target():
    with pytest.raises(InputError, match="at least one"):
        ForceTarget([])


def test_an_instability_is_doubtful_only_as_long_as_the_labels_allow_another_sign(bound):
    atoms, model, z = bound["fcc"]
    target = prepared(PhononTarget(atoms, 2), model)
    lowest = frequencies(target, -z).min()
    assert lowest < -1

    def doubt(mean, width):
        return target.doubtful_instability(Posterior(mean, width * np.eye(len(z))))

    assert doubt(z, 100.0) is None
    assert doubt(-z, 1e-9) is None
    assert doubt(-z, 100.0) == pytest.approx(lowest, rel=1e-6)
