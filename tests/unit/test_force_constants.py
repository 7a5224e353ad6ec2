"""Displacements, labels and their mistakes, cost, and phonopy's files."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import phonopy
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from phonopy import Phonopy
from scipy.spatial.transform import Rotation

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.force_constants import (
    force_constants_from_labels,
    phonon_cost,
    phonon_displacements,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
    save_phonopy,
)
from ndsc.force_constants.displacements import fewest_directions
from ndsc.force_constants.phonopy_model import make_phonopy, phonopy_atoms
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.force_constants.tiling import tiled_force_constants
from ndsc.integers import adjugate
from ndsc.supercells import diagonal_supercell, find_supercells

ALUMINIUM = bulk("Al", a=4.0)


def group(*generators):
    """The group that matrices generate."""
    elements = [np.eye(3)]
    for element in elements:
        for generator in generators:
            product = element @ generator
            if not any(np.allclose(product, other) for other in elements):
                elements.append(product)
    return np.array(elements)


def turn(axis, degrees):
    return Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()


INVERSION = -np.eye(3)
Z = (0, 0, 1)
SITE_GROUPS = {
    "1": ([], 6),
    "-1": ([INVERSION], 3),
    "2": ([turn(Z, 180)], 3),
    "m": ([-turn(Z, 180)], 4),
    "2/m": ([turn(Z, 180), INVERSION], 2),
    "222": ([turn(Z, 180), turn((1, 0, 0), 180)], 2),
    "mm2": ([turn(Z, 180), -turn((1, 0, 0), 180)], 2),
    "mmm": ([turn(Z, 180), turn((1, 0, 0), 180), INVERSION], 1),
    "3": ([turn(Z, 120)], 2),
    "-3": ([turn(Z, 120), INVERSION], 1),
    "3m": ([turn(Z, 120), -turn((1, 0, 0), 180)], 2),
    "4": ([turn(Z, 90)], 2),
    "-4": ([-turn(Z, 90)], 2),
    "-42m": ([-turn(Z, 90), turn((1, 0, 0), 180)], 1),
    "6": ([turn(Z, 60)], 2),
    "-6": ([-turn(Z, 60)], 2),
    "23": ([turn(Z, 180), turn((1, 1, 1), 120)], 1),
    "-43m": ([-turn(Z, 90), turn((1, 1, 1), 120)], 1),
    "m-3m": ([turn(Z, 90), turn((1, 1, 1), 120), INVERSION], 1),
}


@pytest.mark.parametrize("name", SITE_GROUPS)
def test_the_fewest_directions_span_space_and_cancel_the_second_order(name):
    generators, expected = SITE_GROUPS[name]
    orientation = turn((0.3, -1.0, 0.6), 73.0)
    site_group = np.array([orientation @ g @ orientation.T for g in group(*generators)])
    directions = fewest_directions(site_group, np.eye(3))
    images = np.array([g @ d for d in directions for g in site_group])
    assert np.linalg.matrix_rank(images, tol=0.1) == 3
    # Each image has its opposite among the images.
    for image in images:
        assert np.min(np.linalg.norm(images + image, axis=1)) < 1e-6
    assert len(directions) == expected
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)


def test_displacements_of_silicon():
    supercells = find_supercells(bulk("Si", a=5.43), 4)
    frames = phonon_displacements(supercells, displacement=0.01)
    displaced = [frame for frame in frames if frame.info["config_type"] == "phonon"]
    perfect = [frame for frame in frames if frame.info["config_type"] == "phonon_perfect"]
    assert len(perfect) == len(supercells) == 5
    assert len(displaced) == 10
    assert all(len(frame) == 8 for frame in frames)
    assert len({frame.info["ndsc_name"] for frame in frames}) == len(frames)
    for frame in displaced:
        origin = perfect[frame.info["ndsc_supercell"]]
        moved = frame.positions - origin.positions
        assert np.linalg.norm(moved) == pytest.approx(0.01, abs=2e-8)
        np.testing.assert_allclose(moved[frame.info["ndsc_atom"]], frame.info["ndsc_vector"], atol=1e-9)
        np.testing.assert_array_equal(
            frame.info["ndsc_matrix"], supercells.matrices[frame.info["ndsc_supercell"]].ravel()
        )


def test_displacements_are_the_same_bytes_every_time():
    make = [phonon_displacements(find_supercells(bulk("Mg", a=3.2, c=5.2), 3)) for _ in range(2)]
    for first, second in zip(*make, strict=True):
        assert first.positions.tobytes() == second.positions.tobytes()
        assert first.cell.array.tobytes() == second.cell.array.tobytes()
        np.testing.assert_array_equal(first.positions, np.round(first.positions, 8))


@pytest.mark.parametrize("displacement", [0.0, -0.01, 2.0, np.nan])
def test_displacements_must_be_small_and_positive(displacement):
    with pytest.raises(InputError, match="displacement = "):
        phonon_displacements(find_supercells(ALUMINIUM, 2), displacement=displacement)


def test_more_displaced_atoms_than_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr("ndsc.force_constants.displacements.MOST_DISPLACED_ATOMS", 5000)
    atoms = bulk("Al", cubic=True) * (1, 1, 2)
    atoms.rattle(0.1, seed=1)
    with pytest.raises(InputError, match="5,000 atoms"):
        phonon_displacements(find_supercells(atoms, 3))


def test_space_group_action_maps_atoms_onto_atoms():
    crystal = Crystal.from_atoms(bulk("ZnS", "wurtzite", a=3.4, c=5.5, u=0.376))
    action = SpaceGroupAction.of_crystal(crystal)
    positions = crystal.atoms.get_scaled_positions(wrap=False)
    for rotation, translation, permutation, shift in zip(
        crystal.rotations, crystal.translations, action.permutations, action.shifts, strict=True
    ):
        images = positions @ rotation.T + translation
        np.testing.assert_allclose(images, positions[permutation] + shift, atol=1e-6)
    np.testing.assert_array_equal(
        action.reciprocal @ action.rotations.transpose(0, 2, 1), np.eye(3)[None].repeat(len(action), 0)
    )
    np.testing.assert_allclose(
        action.cartesian @ action.cartesian.transpose(0, 2, 1), np.eye(3)[None].repeat(len(action), 0), atol=1e-12
    )


def test_adjugate_is_exact():
    matrix = np.array([[3, -1, 2], [0, 5, 7], [4, 1, -6]])
    np.testing.assert_array_equal(adjugate(matrix) @ matrix, round(np.linalg.det(matrix)) * np.eye(3))


def test_anisotropic_grids_keep_only_the_operations_that_fit():
    action = SpaceGroupAction.of_crystal(Crystal.from_atoms(ALUMINIUM))
    assert len(action.preserving_grid((4, 4, 4))) == 48
    assert len(action.preserving_grid((4, 4, 2))) < 48


@pytest.fixture(scope="module")
def labelled():
    supercells = find_supercells(ALUMINIUM, 2)
    frames = phonon_displacements(supercells)
    forces = {}
    for frame in frames:
        copy = frame.copy()
        copy.calc = EMT()
        forces[frame.info["ndsc_name"]] = copy.get_forces()
    return supercells, frames, forces


def test_phonopy_opens_what_is_written(labelled, tmp_path):
    found = phonons_from_labels(*labelled)
    found.save(tmp_path / "phonopy_params.yaml")
    loaded = phonopy.load(tmp_path / "phonopy_params.yaml", log_level=0)
    qpoints = np.random.default_rng(0).random((5, 3))
    expected = found.phonopy.run_qpoints(qpoints).frequencies
    np.testing.assert_allclose(loaded.run_qpoints(qpoints).frequencies, expected, atol=1e-6)


@pytest.mark.parametrize("moments", [None, [1.0, -1.0]])
def test_a_file_is_the_same_before_and_after_the_symmetry_is_known(tmp_path, moments):
    atoms = bulk("Al") if moments is None else bulk("Fe", cubic=True)
    atoms.set_initial_magnetic_moments(moments)
    crystal = as_crystal(atoms)
    phonon = make_phonopy(crystal, (2, 2, 2))
    phonon.force_constants = np.zeros((len(crystal.atoms), 8 * len(crystal.atoms), 3, 3))
    save_phonopy(phonon, tmp_path / "before.yaml")
    assert len(phonon.symmetry.symmetry_operations["rotations"]) == 8 * len(crystal.rotations)
    save_phonopy(phonon, tmp_path / "after.yaml")
    assert (tmp_path / "before.yaml").read_text() == (tmp_path / "after.yaml").read_text()
    assert ("\nspace_group:" in (tmp_path / "after.yaml").read_text()) == (moments is None)


def test_large_supercells_are_written_where_the_atoms_are(tmp_path):
    atoms = bulk("Si", a=5.4)
    found = phonons_from_supercells(bulk("Al", a=4.0), 7, EMT())
    assert found.route == "dynamical"
    np.testing.assert_allclose(found.phonopy.unitcell.scaled_positions, 0, atol=1e-12)
    np.testing.assert_allclose(found.phonopy.primitive.scaled_positions, 0, atol=1e-12)
    distance = found.phonopy.supercell.scaled_positions * 7
    np.testing.assert_allclose(distance, np.rint(distance), atol=1e-9)
    assert len(atoms) == 2


def test_the_phonopy_object_alone(labelled):
    phonon = force_constants_from_labels(*labelled, route="dynamical")
    np.testing.assert_allclose(
        phonon.force_constants, phonons_from_labels(*labelled).phonopy.force_constants, atol=1e-9
    )


def test_missing_labels_are_named(labelled):
    supercells, frames, forces = labelled
    fewer = {name: array for name, array in forces.items() if name != "phonon-s001-001"}
    with pytest.raises(InputError, match=r"1 of \d+ structures: phonon-s001-001.*Compute these"):
        phonons_from_labels(supercells, frames, fewer)


def test_a_supercell_left_out_names_its_qpoints(labelled):
    supercells, frames, forces = labelled
    kept = [frame for frame in frames if frame.info["ndsc_supercell"] == 0]
    for route in ("tiling", "dynamical"):
        with pytest.raises(InputError, match=r"irreducible q-points? of the grid \[2, 2, 2\]: numerators \[") as caught:
            phonons_from_labels(supercells, kept, forces, route=route)
        assert "1 of the 2 supercells: compute phonon-s001-*." in str(caught.value)


def test_a_displacement_left_out_names_its_qpoints():
    # hcp needs several displacements in some supercells; all supercells are given, one of them with one too few.
    supercells = find_supercells(bulk("Mg", a=3.2, c=5.2), 3)
    frames = phonon_displacements(supercells)
    forces = {frame.info["ndsc_name"]: np.zeros((len(frame), 3)) for frame in frames}
    counts = np.bincount([frame.info["ndsc_supercell"] for frame in frames])
    chosen = int(np.argmax(counts))
    fewer = [frame for frame in frames if frame.info["ndsc_supercell"] != chosen or frame.info["ndsc_atom"] < 0]
    fewer.append(next(frame for frame in frames if frame.info["ndsc_name"] == f"phonon-s{chosen:03d}-001"))
    with pytest.raises(InputError, match=r"do not determine the phonons at 1 irreducible q-point") as caught:
        phonons_from_labels(supercells, fewer, forces)
    assert "No structures were given" not in str(caught.value)


def test_a_grid_that_the_labels_do_not_cover(labelled):
    _, frames, forces = labelled
    with pytest.raises(InputError, match=r"do not determine the phonons at .* grid \[4, 4, 4\].*phonon_displacements"):
        phonons_from_labels(find_supercells(ALUMINIUM, 4), frames, forces)


def test_supercells_that_are_not_on_the_grid(labelled):
    _, frames, forces = labelled
    with pytest.raises(InputError, match=r"holds q-points that are not on the grid \[3, 3, 3\]"):
        phonons_from_labels(find_supercells(ALUMINIUM, 3), frames, forces)


def test_tiling_refuses_supercells_that_do_not_tile(labelled):
    from ndsc.force_constants.phonopy_model import make_phonopy
    from ndsc.force_constants.samples import samples_from_labels

    supercells, frames, forces = labelled
    samples = samples_from_labels(supercells.crystal, frames, forces).samples
    with pytest.raises(InputError, match="does not tile the diagonal supercell"):
        tiled_force_constants(make_phonopy(Crystal.from_atoms(ALUMINIUM), (3, 3, 3)), samples)


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(6), np.zeros((2, 2))])
def test_forces_of_the_wrong_shape(labelled, bad):
    supercells, frames, forces = labelled
    with pytest.raises(InputError, match=r"forces of phonon-s000-001 have the shape .* needs \(2, 3\)"):
        phonons_from_labels(supercells, frames, {**forces, "phonon-s000-001": bad})


def test_forces_that_are_not_finite(labelled):
    supercells, frames, forces = labelled
    with pytest.raises(InputError, match="not all finite"):
        phonons_from_labels(supercells, frames, {**forces, "phonon-s000-001": np.full((2, 3), np.nan)})


def test_residual_forces_above_the_limit_are_refused_and_below_it_subtracted(labelled):
    supercells, frames, forces = labelled
    offset = np.array([[0.02, 0, 0], [-0.02, 0, 0]])
    shifted = {name: array + offset for name, array in forces.items()}
    with pytest.raises(InputError, match=r"residual forces of up to 0.02 eV/Å, above the limit of 0.01"):
        phonons_from_labels(supercells, frames, shifted)
    found = phonons_from_labels(supercells, frames, shifted, residual_force_limit=0.03)
    np.testing.assert_allclose(
        found.phonopy.force_constants, phonons_from_labels(*labelled).phonopy.force_constants, atol=1e-10
    )
    assert found.residual_force == pytest.approx(0.02)


@pytest.mark.parametrize(("share", "warned"), [(0.004, False), (0.01, True)])
def test_perfect_forces_that_differ_between_equivalent_atoms_are_warned_of(labelled, share, warned):
    supercells, frames, forces = labelled
    largest = np.linalg.norm(forces["phonon-s000-001"], axis=1).max()
    uneven = np.array([[share * largest, 0, 0], [-share * largest, 0, 0]])
    found = phonons_from_labels(supercells, frames, forces | {"phonon-s000-000": forces["phonon-s000-000"] + uneven})
    assert any("on equivalent atoms" in text and f"{share:.1%}" in text for text in found.warnings) == warned
    # A force that all atoms have is that of a crystal that is not relaxed, which another warning is about.
    shifted = {name: array + np.array([share * largest, 0, 0]) for name, array in forces.items()}
    assert not any("on equivalent atoms" in text for text in phonons_from_labels(supercells, frames, shifted).warnings)


def test_the_perfect_supercells_are_needed(labelled):
    supercells, frames, forces = labelled
    displaced = [frame for frame in frames if frame.info["config_type"] == "phonon"]
    with pytest.raises(InputError, match="phonon_perfect"):
        phonons_from_labels(supercells, displaced, forces)


def test_structures_of_another_cell(labelled):
    supercells, frames, forces = labelled
    other = find_supercells(bulk("Al", a=4.1), 2)
    with pytest.raises(InputError, match="has another cell than its supercell"):
        phonons_from_labels(other, frames, forces)
    with pytest.raises(InputError, match="has the atoms Al2, its supercell"):
        phonons_from_labels(find_supercells(bulk("Cu", a=4.0), 2), frames, forces)
    lost = [frame.copy() for frame in frames]
    lost[-1].positions[0] += 1.2
    with pytest.raises(InputError, match=r"1\.\d+ Å from its site"):
        phonons_from_labels(supercells, lost, forces)


def test_plain_structures_in_any_order_of_atoms_with_a_list_of_forces(labelled):
    supercells, frames, forces = labelled
    plain, arrays = [], []
    for frame in frames:
        order = np.arange(len(frame))[::-1]
        copy = frame[order]
        copy.info = {}
        plain.append(copy)
        arrays.append(np.asarray(forces[frame.info["ndsc_name"]])[order])
    expected = phonons_from_labels(supercells, frames, forces)
    found = phonons_from_labels(supercells, plain, arrays)
    np.testing.assert_allclose(found.phonopy.force_constants, expected.phonopy.force_constants, atol=1e-9)
    assert found.cost.used.atoms == expected.cost.used.atoms
    with pytest.raises(InputError, match="forces of 1"):
        phonons_from_labels(supercells, plain, arrays[:1])


def test_no_structures_and_unknown_routes(labelled):
    supercells, frames, forces = labelled
    with pytest.raises(InputError, match="no structures"):
        phonons_from_labels(supercells, [], {})
    with pytest.raises(InputError, match="route = 'fast' is not known"):
        phonons_from_labels(supercells, frames, forces, route="fast")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dielectric": np.eye(3)}, "lack 'born'"),
        ({"born": "none", "dielectric": np.eye(3)}, "'born', or it is not made of numbers"),
        ({"born": np.zeros((2, 3, 3)), "dielectric": np.eye(3)}, r"'born' .* has the shape \(2, 3, 3\)"),
    ],
)
def test_bad_born_charges(labelled, parameters, message):
    with pytest.raises(InputError, match=message):
        phonons_from_labels(*labelled, nac_params=parameters)


class Broken(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, forces):
        super().__init__()
        self.wrong = forces

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.wrong is None:
            raise RuntimeError("no convergence")
        self.results = {"energy": 0.0, "forces": np.broadcast_to(self.wrong, (len(self.atoms), 3)).copy()}


def test_calculators_that_fail():
    for run in (phonons_from_supercells, phonons_from_diagonal):
        with pytest.raises(ReferenceCalculationError, match="could not be computed: RuntimeError: no convergence"):
            run(ALUMINIUM, 2, Broken(None))
        with pytest.raises(ReferenceCalculationError, match="not finite"):
            run(ALUMINIUM, 2, Broken(np.nan))
        with pytest.raises(InputError, match=r"residual forces of up to 1\.732 eV/Å"):
            run(ALUMINIUM, 2, Broken(1.0))
        with pytest.raises(InputError, match="knows"):
            run(ALUMINIUM, 2, _Ours())


class _Ours(Broken):
    """An error of ours keeps its class and its words."""

    def __init__(self):
        super().__init__(0.0)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        raise InputError("The calculator knows no Al.")


def test_progress_and_cost():
    told = []
    found = phonons_from_supercells(ALUMINIUM, 4, EMT(), kgrid=8, progress=lambda *step: told.append(step))
    assert told[0] == ("phonons", 0, 11)
    assert told[-1] == ("phonons", 11, 11)
    used, diagonal = found.cost.used, found.cost.diagonal
    assert (used.calculations, used.atoms, used.atoms_cubed) == (11, 44, 11 * 4**3)
    assert (diagonal.calculations, diagonal.atoms, diagonal.atoms_cubed) == (2, 128, 2 * 64**3)
    # 8^3 / 4 k-points in each 4-cell supercell, about half of them by time reversal; 2^3 in the diagonal supercell.
    assert 11 * 64 < used.kpoints < 11 * 80
    assert diagonal.kpoints == 2 * 8
    assert used.seconds > 0
    # 11 calculations of 4 atoms beside 2 of 64, as atoms^1.7.
    relative = found.cost.relative_time
    assert (relative.low, relative.value, relative.high) == pytest.approx([5.5 / 16**p for p in (2.1, 1.7, 1.3)])
    assert diagonal.seconds is None
    assert diagonal.seconds_estimated.value == pytest.approx(used.seconds / relative.value)
    assert diagonal.seconds_estimated.high == pytest.approx(used.seconds / relative.low)
    assert found.cost.to_dict()["used"]["atoms"] == 44
    small = phonon_cost(ALUMINIUM, (2, 2, 2), [np.eye(3, dtype=int)])
    assert (small.used.kpoints, small.diagonal.seconds_estimated) == (None, None)
    # Without k-points the time is proportional to the atoms: one beside two calculations of 8.
    assert small.relative_time.value == pytest.approx(1 / 16)


def test_the_diagonal_supercell_as_a_set_of_its_own():
    supercells = diagonal_supercell(ALUMINIUM, 3)
    frames = phonon_displacements(supercells)
    assert [len(frame) for frame in frames] == [27, 27]
    forces = {}
    for frame in frames:
        copy = frame.copy()
        copy.calc = EMT()
        forces[frame.info["ndsc_name"]] = copy.get_forces()
    found = phonons_from_labels(supercells, frames, forces)
    expected = phonons_from_supercells(ALUMINIUM, 3, EMT()).phonopy.force_constants
    np.testing.assert_allclose(found.phonopy.force_constants, expected, atol=1e-3)


@pytest.mark.parametrize("atoms", [bulk("Al"), bulk("Mg"), bulk("W"), bulk("Si")], ids=str)
def test_displacements_do_not_depend_on_the_order_of_the_operations(atoms):
    crystal = Crystal.from_atoms(atoms)
    order = np.random.default_rng(1).permutation(len(crystal.rotations))
    shuffled = replace(
        crystal,
        rotations=crystal.rotations[order],
        translations=crystal.translations[order],
        time_reversals=crystal.time_reversals[order],
    )
    first, second = (phonon_displacements(find_supercells(one, 4)) for one in (crystal, shuffled))
    assert [frame.positions.tolist() for frame in first] == [frame.positions.tolist() for frame in second]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("atoms", "grid"),
    [
        (bulk("Al"), (3, 3, 3)),
        (bulk("Mg"), (2, 3, 1)),
        (bulk("ZnS", "wurtzite", a=3.8, c=6.2), (2, 1, 3)),
        (bulk("Si", cubic=True), (1, 1, 2)),
    ],
)
def test_cells_translations_and_symmetry_are_those_of_phonopy(atoms, grid, symmetric):
    crystal = as_crystal(atoms)
    ours = make_phonopy(crystal, grid, symmetric_supercell=symmetric)
    options = {"primitive_matrix": np.eye(3), "symprec": crystal.symprec, "is_symmetry": symmetric}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Pp]oint group symmetries")
        theirs = Phonopy(phonopy_atoms(crystal), supercell_matrix=np.diag(grid), **options)
    np.testing.assert_array_equal(ours.primitive.atomic_permutations, theirs.primitive.atomic_permutations)
    np.testing.assert_array_equal(ours.supercell.scaled_positions, theirs.supercell.scaled_positions)
    for one, other in ((ours.symmetry, theirs.symmetry), (ours.primitive_symmetry, theirs.primitive_symmetry)):
        np.testing.assert_array_equal(one.atomic_permutations, other.atomic_permutations)
        np.testing.assert_array_equal(one.get_map_atoms(), other.get_map_atoms())
        np.testing.assert_array_equal(one.pointgroup_operations, other.pointgroup_operations)
        for name in ("rotations", "translations"):
            np.testing.assert_allclose(one.symmetry_operations[name], other.symmetry_operations[name], atol=1e-12)
