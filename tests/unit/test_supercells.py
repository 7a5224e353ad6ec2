"""Sets of supercells: known numbers, order, determinism, storage, and what is refused."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import ndsc
from ndsc import _core, supercells
from ndsc.crystal import Crystal
from ndsc.errors import InputError, InternalError

FCC, BCC, HCP, DIAMOND = bulk("Al"), bulk("W"), bulk("Mg"), bulk("Si")
SC = Atoms("Po", cell=[3.3, 3.3, 3.3], pbc=True)
SIZES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48)
NUMBERS = {
    "fcc": (2, 3, 5, 5, 10, 13, 18, 31, 33, 99, 101, 311),
    "sc": (3, 3, 6, 5, 13, 14, 23, 36, 35, 104, 105, 321),
    "hcp": (3, 5, 8, 7, 19, 22, 33, 58, 60, 184, 192, 598),
}


@pytest.mark.parametrize(
    ("atoms", "kind"), [(FCC, "fcc"), (BCC, "fcc"), (DIAMOND, "fcc"), (SC, "sc"), (HCP, "hcp")], ids=str
)
def test_numbers_of_supercells(atoms, kind):
    assert tuple(len(ndsc.find_supercells(atoms, n)) for n in SIZES) == NUMBERS[kind]


def test_dense_grids():
    assert len(ndsc.find_supercells(FCC, 200)) == 3851


def test_the_diagonal_supercell_says_what_the_cheapest_set_saves():
    diagonal, cheapest = ndsc.diagonal_supercell(FCC, 4), ndsc.find_supercells(FCC, 4)
    assert diagonal.matrices.tolist() == [[[4, 0, 0], [0, 4, 0], [0, 0, 4]]]
    assert diagonal.lower_bound == cheapest.cost == 5 * 4**3
    assert diagonal.optimality_gap == pytest.approx(1 - cheapest.cost / 64**3)
    assert diagonal.locate((0.25, 0.5, 0.75)).index == 0


def test_anisotropic_grid():
    found = ndsc.find_supercells(HCP, (6, 6, 4))
    assert (len(found), found.cost, found.lower_bound, found.optimality_gap) == (11, 9936.0, 9936.0, 0.0)


def test_one_qpoint_needs_one_cell():
    found = ndsc.find_supercells(FCC, 1)
    assert found.matrices.tolist() == [np.eye(3, dtype=int).tolist()]


def test_matrices_are_settled():
    """Stored labels are named by these matrices: they must never change."""
    assert ndsc.find_supercells(FCC, 4).matrices.tolist() == [
        [[1, 0, 0], [0, 1, 0], [-1, -1, 4]],
        [[1, 0, 0], [1, -1, -1], [0, 2, -2]],
        [[1, 0, 0], [1, -2, 0], [0, 1, -2]],
        [[1, 0, 0], [0, 1, -1], [-2, 2, 2]],
        [[1, 1, -1], [1, -1, -1], [-1, 0, -1]],
    ]
    assert ndsc.find_supercells(HCP, (3, 3, 2)).matrices.tolist() == SETTLED_HCP


SETTLED_HCP = [
    [[1, 0, 0], [1, 3, 0], [0, 0, 2]],
    [[1, -1, 0], [2, 1, 0], [0, 0, 2]],
]


@pytest.mark.parametrize("grid", [2, 4, 6, (6, 6, 4), (4, 4, 2)])
def test_last_digits_of_the_cell_change_nothing(grid):
    rng = np.random.default_rng(3)
    for atoms in (FCC, BCC, SC, HCP, DIAMOND):
        exact = ndsc.find_supercells(atoms, grid)
        for _ in range(5):
            noisy = atoms.copy()
            noisy.set_cell(atoms.cell.array * (1 + 1e-10 * rng.normal(size=(3, 3))), scale_atoms=True)
            assert np.array_equal(ndsc.find_supercells(noisy, grid).matrices, exact.matrices)


def test_order_is_by_size_and_form():
    found = ndsc.find_supercells(HCP, (6, 4, 12))
    forms = _core.canonical_forms(found.matrices)
    keys = [(s, h[0][0], h[1][1], h[0][1], h[0][2], h[1][2]) for s, h in zip(found.sizes, forms.tolist(), strict=True)]
    assert keys == sorted(keys)
    assert found.sizes.tolist() == [round(np.linalg.det(matrix)) for matrix in found.matrices]


BRAVAIS = {
    "CUB": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
    "FCC": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
    "BCC": [[-2, 2, 2], [2, -2, 2], [2, 2, -2]],
    "TET": [[3, 0, 0], [0, 3, 0], [0, 0, 4]],
    "BCT": [[-1.5, 1.5, 2.2], [1.5, -1.5, 2.2], [1.5, 1.5, -2.2]],
    "ORC": [[3, 0, 0], [0, 3.7, 0], [0, 0, 4.5]],
    "ORCF": [[0, 2.1, 2.7], [1.7, 0, 2.7], [1.7, 2.1, 0]],
    "ORCI": [[-1.5, 1.9, 2.3], [1.5, -1.9, 2.3], [1.5, 1.9, -2.3]],
    "ORCC": [[1.5, -1.9, 0], [1.5, 1.9, 0], [0, 0, 4.5]],
    "HEX": [[3, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 4.7]],
    "RHL": [[1, 0, 2], [-0.5, 0.75**0.5, 2], [-0.5, -(0.75**0.5), 2]],
    "MCL": [[3, 0, 0], [0, 3.7, 0], [0.8, 0, 4.5]],
    "MCLC": [[1.5, 1.9, 0], [-1.5, 1.9, 0], [0.8, 0, 4.5]],
    "TRI": [[3, 0, 0], [0.5, 3.4, 0], [0.9, 0.3, 4.1]],
}
ORDERS = dict(
    zip(BRAVAIS, (48, 48, 48, 16, 16, 8, 8, 8, 8, 24, 12, 4, 4, 2), strict=True),
)


def unheld(found):
    """Numerators of the q-points of the grid that no supercell of the set holds where `locate` says, by brute force."""
    grid = np.array(found.grid)
    exponent = int(np.lcm.reduce(grid))
    qpoints = np.array(list(itertools.product(*(range(n) for n in grid))))
    forms, numbers = _core.locate(found.grid, found.rotations, qpoints)
    index = [found._index_of_form[form.tobytes()] for form in forms]
    images = np.einsum("nij,nj->ni", found.rotations[numbers], qpoints * (exponent // grid))
    phases = np.einsum("nij,nj->ni", found.matrices[index], images)
    for q in qpoints[:: max(1, len(qpoints) // 20)]:
        place = found.locate(q / grid)
        assert np.all(found.matrices[place.index] @ (place.rotation @ (q * (exponent // grid))) % exponent == 0)
    return qpoints[np.any(phases % exponent != 0, axis=1)]


@pytest.mark.parametrize("name", BRAVAIS)
def test_every_qpoint_of_every_bravais_lattice_is_held(name):
    atoms = Atoms("Po", cell=BRAVAIS[name], pbc=True)
    crystal = Crystal.from_atoms(atoms)
    assert len(crystal.point_group) == ORDERS[name]
    for grid in (*range(1, 13), (2, 3, 4), (4, 4, 6), (6, 2, 2), (1, 5, 10), (12, 6, 4)):
        found = ndsc.find_supercells(crystal, grid)
        assert len(unheld(found)) == 0
        assert np.all(np.linalg.det(found.matrices) > 0.5)


SETTINGS = {
    "long axes": [[1, 3, 0], [0, 1, -4], [0, 0, 1]],
    "exchanged": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    "conventional": [[-1, 1, 1], [1, -1, 1], [1, 1, -1]],
    "doubled": [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("atoms", [FCC, HCP, DIAMOND], ids=str)
def test_odd_and_not_primitive_cells(atoms, setting):
    """The cell that is passed in is the unit; a change of basis changes no number of a primitive one."""
    matrix = np.array(SETTINGS[setting])
    other = ndsc.make_supercell(atoms, matrix)
    for grid in (2, 3, 4, 6):
        found = ndsc.find_supercells(other, grid)
        assert len(unheld(found)) == 0
        if abs(np.linalg.det(matrix)) < 1.5:
            assert found.sizes.tolist() == ndsc.find_supercells(atoms, grid).sizes.tolist()
            same = np.sort(np.linalg.norm(found.matrices @ other.cell.array, axis=2), axis=1)
            reference = ndsc.find_supercells(atoms, grid)
            lengths = np.sort(np.linalg.norm(reference.matrices @ atoms.cell.array, axis=2), axis=1)
            assert sorted(map(tuple, same.round(6))) == sorted(map(tuple, lengths.round(6)))


def test_left_handed_cell_is_refused():
    atoms = FCC.copy()
    atoms.set_cell(FCC.cell.array[[1, 0, 2]], scale_atoms=True)
    with pytest.raises(InputError, match="left-handed"):
        ndsc.find_supercells(atoms, 2)


def test_nothing_is_kept_between_crystals():
    before = ndsc.find_supercells(FCC, 6).matrices
    ndsc.find_supercells(HCP, 6)
    assert np.array_equal(ndsc.find_supercells(FCC, 6).matrices, before)


def test_crystal_instead_of_atoms():
    crystal = Crystal.from_atoms(HCP)
    assert np.array_equal(ndsc.find_supercells(crystal, 4).matrices, ndsc.find_supercells(HCP, 4).matrices)


def test_structures():
    found = ndsc.find_supercells(DIAMOND, 3)
    for structure, matrix, size in zip(found.structures(), found.matrices, found.sizes, strict=True):
        assert len(structure) == 2 * size
        assert np.array_equal(structure.cell.array, matrix @ DIAMOND.cell.array)
        distances = structure.get_all_distances(mic=True)
        assert distances[np.triu_indices(len(structure), 1)].min() > 2.3


def test_pieces_are_the_set():
    for atoms, grid in ((FCC, 12), (HCP, (6, 6, 4)), (FCC, 1)):
        pieces = np.concatenate(list(ndsc.iterate_supercells(atoms, grid)))
        found = ndsc.find_supercells(atoms, grid).matrices
        assert sorted(map(bytes, map(np.ascontiguousarray, pieces))) == sorted(map(bytes, found))


@pytest.mark.parametrize(("n", "size"), [(4, 32), (6, 72), (8, 256), (12, 576), (24, 4608)])
def test_smallest_single_supercell_of_fcc(n, size):
    assert round(np.linalg.det(ndsc.find_single_supercell(FCC, n))) == size


def test_small_exponents():
    """Numbers checked against an integer programme by hand: sum(size) 72 for hcp 6x6x6, 288 for fcc 12x12x12."""
    hcp = ndsc.find_supercells(HCP, 6, 1.0)
    assert (hcp.cost, hcp.lower_bound, hcp.optimality_gap) == (72.0, 72.0, 0.0)
    fcc = ndsc.find_supercells(FCC, 12, 1.0)
    assert (fcc.cost, fcc.optimality_gap) == (288.0, 0.0)
    exponent = int(np.lcm.reduce(fcc.grid))
    for q in itertools.product(range(0, 12, 2), range(12), range(0, 12, 3)):
        index, rotation = fcc.locate(np.array(q) / 12)
        assert np.all(fcc.matrices[index] @ (rotation @ np.array(q)) % exponent == 0)


def test_from_log2_3_up_the_set_does_not_depend_on_the_exponent():
    reference = ndsc.find_supercells(FCC, 8).matrices
    for exponent in (supercells.PROVEN_EXPONENT, 2.0, 7):
        assert np.array_equal(ndsc.find_supercells(FCC, 8, exponent).matrices, reference)
    just_below = ndsc.find_supercells(FCC, 8, 1.58)
    assert just_below.cost == pytest.approx(ndsc.find_supercells(FCC, 8).sizes.astype(float).__pow__(1.58).sum())


def test_storage():
    found = ndsc.find_supercells(HCP, (4, 4, 2), 1.2)
    again = ndsc.SupercellSet.from_dict(json.loads(json.dumps(found.to_dict())))
    for name in ("matrices", "sizes", "rotations"):
        assert np.array_equal(getattr(again, name), getattr(found, name))
    for name in ("grid", "cost_exponent", "cost", "lower_bound", "optimality_gap", "proof"):
        assert getattr(again, name) == getattr(found, name)
    assert again.atoms == found.atoms
    assert again.locate((0.25, 0.75, 0.5)).index == found.locate((0.25, 0.75, 0.5)).index


def test_storage_keeps_magnetic_moments():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    again = ndsc.SupercellSet.from_dict(ndsc.find_supercells(iron, 2).to_dict())
    assert again.atoms.get_initial_magnetic_moments().tolist() == [2.0, -2.0]
    assert ndsc.make_supercell(iron, np.diag([2, 1, 1])).get_initial_magnetic_moments().tolist() == [2, -2, 2, -2]


def test_damaged_storage_is_refused():
    stored = ndsc.find_supercells(FCC, 2).to_dict()
    with pytest.raises(InputError, match="not a stored supercell set"):
        ndsc.SupercellSet.from_dict({"grid": [2, 2, 2]})
    with pytest.raises(InputError, match="the file was changed"):
        ndsc.SupercellSet.from_dict({**stored, "sizes": [2, 3]})


def test_set_that_does_not_hold_its_grid_is_our_bug():
    found = ndsc.find_supercells(FCC, 4)
    broken = ndsc.SupercellSet(found.crystal, found.matrices[:1], found.grid, 3.0, 1.0, found.rotations)
    lost = next(q for q in itertools.product(range(4), repeat=3) if found.locate(np.array(q) / 4).index == 4)
    with pytest.raises(InternalError, match="please report"):
        broken.locate(np.array(lost) / 4)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (0, "below 1"),
        ((4, -1, 4), "below 1"),
        ((4, 4), "shape"),
        ((4, 4, 4, 4), "shape"),
        (2.5, "not made of integers"),
        ("four", "not made of integers"),
        (None, "not made of integers"),
        (True, "not made of integers"),
        ([[1, 2], [3]], "not made of integers"),
        (float("nan"), "not made of integers"),
        (10**30, "64-bit"),
        (2**40, "finer than"),
        (10**6, "of memory"),
    ],
)
def test_bad_grids(grid, message):
    with pytest.raises(InputError, match=message):
        ndsc.find_supercells(FCC, grid)


@pytest.mark.parametrize("exponent", [0, -1, float("nan"), float("inf"), "3", None])
def test_bad_exponents(exponent):
    with pytest.raises(InputError, match="cost exponent"):
        ndsc.find_supercells(FCC, 2, exponent)


@pytest.mark.parametrize("q", [(1, 2), 3, (0.25, 0, 0), "abc", (0.5, 0, 0, 0)])
def test_bad_qpoints(q):
    with pytest.raises(InputError, match="q-point"):
        ndsc.find_supercells(FCC, 2).locate(q)


def test_qpoints_outside_the_first_cell():
    found = ndsc.find_supercells(FCC, 4)
    assert found.locate((-0.25, 1.25, 1)).index == found.locate((0.75, 0.25, 0)).index


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 0, 0], [0, 1, 0], [1, 1, 0]], "singular"),
        ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], "left-handed"),
        ([[1, 0], [0, 1]], "shape"),
        ([[1.5, 0, 0], [0, 1, 0], [0, 0, 1]], "not made of integers"),
        (np.diag([10**6, 10**6, 10**4]), "of memory"),
    ],
)
def test_bad_supercell_matrices(matrix, message):
    with pytest.raises(InputError, match=message):
        ndsc.make_supercell(FCC, matrix)
