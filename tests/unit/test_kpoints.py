import itertools
from fractions import Fraction

import numpy as np
import pytest
import spglib
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from ndsc import find_supercells, fold_kpoints
from ndsc.errors import InputError
from ndsc.kpoints import check_kgrid_folds, nearest_kgrids
from ndsc.reference import reduced_kpoints


def folded_slowly(matrix, grid):
    """The same in exact fractions, one point at a time."""
    points = set()
    for numerators in itertools.product(*(range(n) for n in grid)):
        k = [Fraction(numerator, n) for numerator, n in zip(numerators, grid, strict=True)]
        folded = [sum(row[j] * k[j] for j in range(3)) % 1 for row in matrix]
        points.add(tuple(x - 1 if x > Fraction(1, 2) else x for x in folded))
    return sorted(points)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(-40, 40), min_size=3, max_size=3), min_size=3, max_size=3),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
)
def test_folding_is_exact(matrix, grid):
    if round(np.linalg.det(matrix)) == 0:
        return
    expected = np.array([[float(x) for x in point] for point in folded_slowly(matrix, grid)])
    assert np.array_equal(fold_kpoints(matrix, grid, exact=False), expected)


def test_a_commensurate_supercell_has_its_share_of_the_points():
    matrix = [[0, 1, 1], [1, -1, 0], [1, 1, -2]]
    assert len(fold_kpoints(matrix, 8)) == 8**3 // 4
    assert len(fold_kpoints(np.eye(3, dtype=int), (4, 4, 2))) == 32


def test_equivalent_points_of_the_unit_cell():
    # S^-1 (k + G) runs over the grid of the unit cell again.
    matrix = np.array([[2, 0, 1], [0, 1, 0], [0, 1, 2]])
    grid = np.array([4, 4, 4])
    unfolded = set()
    for k in fold_kpoints(matrix, grid):
        for shift in itertools.product(range(4), repeat=3):
            q = np.linalg.solve(matrix, k + np.array(shift)) % 1
            unfolded.add(tuple(np.rint(q * grid).astype(int) % 4))
    assert len(unfolded) == 64


@pytest.mark.parametrize(
    ("matrix", "grid", "message"),
    [
        (np.zeros((3, 3), int), 4, "singular"),
        ([[1, 2], [3, 4]], 4, "shape"),
        ([["a"] * 3] * 3, 4, "not made of integers"),
        (np.eye(3) * 0.5, 4, "not made of integers"),
        (np.eye(3), 0, "positive whole numbers"),
        (np.eye(3), (4, 4), "positive whole numbers"),
        (np.eye(3), (4, 4, 2.5), "positive whole numbers"),
        (np.eye(3), (1000, 1000, 1000), "coarser grid"),
        (np.eye(3), (101, 103, 107), "common multiple"),
    ],
)
def test_bad_input(matrix, grid, message):
    with pytest.raises(InputError, match=message):
        fold_kpoints(matrix, grid)


def unfolded(matrix, points):
    """All wave vectors of the unit cell, in [0, 1), that fold onto points of a supercell."""
    inverse = np.linalg.inv(matrix)
    size = round(abs(np.linalg.det(matrix)))
    shifts = itertools.product(range(size), repeat=3)
    shifts = {tuple(np.rint(inverse @ m * size).astype(int) % size) for m in shifts}
    assert len(shifts) == size
    return np.concatenate([points @ inverse.T + np.array(shift) / size for shift in shifts])


def smooth(k):
    x, y, z = (2 * np.pi * k).T
    return np.exp(2 * np.cos(x) + 1.5 * np.cos(y) + np.cos(z - x)).mean()


GENERAL = [[4, 4, 4], [0, 8, 0], [0, 0, 8]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=3, max_size=3),
    st.one_of(
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
        st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=3, max_size=3),
    ),
)
def test_what_folds_exactly_samples_the_unit_cell_as_the_grid_does(matrix, grid):
    size = round(abs(np.linalg.det(matrix)))
    if size == 0 or (np.ndim(grid) == 2 and round(np.linalg.det(grid)) == 0):
        return
    original = fold_kpoints(np.eye(3, dtype=int), grid)
    folded = fold_kpoints(matrix, grid, exact=False)
    if size * len(folded) == len(original):
        assert np.array_equal(fold_kpoints(matrix, grid), folded)
        assert np.isclose(smooth(unfolded(matrix, folded)), smooth(original), rtol=1e-12)
        return
    with pytest.raises(InputError, match="does not fold"):
        fold_kpoints(matrix, grid)
    for near in nearest_kgrids([matrix], grid):
        assert size * len(fold_kpoints(matrix, near)) == np.prod(near)


@pytest.mark.parametrize(
    ("symbol", "grid", "kgrid", "nearest"),
    [
        ("Al", 3, 4, [(3, 3, 3), (6, 6, 6)]),
        ("Al", 4, 2, [(4, 4, 4)]),
        ("Al", 6, 8, [(6, 6, 6), (12, 12, 12)]),
        ("Mg", (4, 4, 2), (8, 8, 3), [(8, 8, 2), (8, 8, 4)]),
        ("Al", 3, GENERAL, [(6, 6, 6)]),
        ("Al", 4, GENERAL, None),
        ("Al", 4, 8, None),
        ("Mg", (3, 3, 2), (6, 6, 4), None),
    ],
)
def test_grids_of_a_set_of_supercells(symbol, grid, kgrid, nearest):
    matrices = find_supercells(bulk(symbol), grid).matrices
    if nearest is None:
        check_kgrid_folds(matrices, kgrid)
        return
    assert nearest_kgrids(matrices, kgrid) == nearest
    with pytest.raises(InputError) as caught:
        check_kgrid_folds(matrices, kgrid)
    assert all(str(list(near)) in str(caught.value) for near in nearest)
    for near in nearest:
        check_kgrid_folds(matrices, near)


def orbits_slowly(matrix, grid, operations):
    """Sets of equal folded points, in exact fractions."""
    left = {tuple(x % 1 for x in point) for point in folded_slowly(matrix, grid)}
    orbits = []
    while left:
        orbit, new = set(), {left.pop()}
        while new:
            orbit |= new
            images = {
                tuple(sum(point[i] * int(operation[i][j]) for i in range(3)) % 1 for j in range(3))
                for point in new
                for operation in operations
            }
            new = images - orbit
        left -= orbit
        orbits.append(orbit)
    return orbits


def rotations_of(atoms):
    return spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers))["rotations"]


def check_reduction(points, weights, orbits):
    """One point of each set, with its share as the weight."""
    n = sum(len(orbit) for orbit in orbits)
    assert len(points) == len(orbits)
    for point, weight in zip(points, weights, strict=True):
        exact = tuple(Fraction(x).limit_denominator(10**6) % 1 for x in point)
        (orbit,) = [orbit for orbit in orbits if exact in orbit]
        assert weight == len(orbit) / n
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all((points > -0.5) & (points <= 0.5))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=3, max_size=3),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
)
def test_time_reversal_is_exact(matrix, grid):
    if round(np.linalg.det(matrix)) == 0:
        return
    identity = np.eye(3, dtype=int)
    reduced = reduced_kpoints(matrix, grid, exact=False)
    check_reduction(*reduced, orbits_slowly(matrix, grid, [identity, -identity]))
    points, weights = reduced_kpoints(matrix, grid, time_reversal=False, exact=False)
    assert np.array_equal(points, fold_kpoints(matrix, grid, exact=False))
    assert np.allclose(weights, 1 / len(points))


@pytest.mark.parametrize("matrix", [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 1], [1, -1, 0], [1, 1, -2]]])
@pytest.mark.parametrize(("symbol", "grid"), [("Al", (4, 4, 4)), ("Mg", (4, 4, 2))])
def test_rotations_are_exact(matrix, symbol, grid):
    rotations = rotations_of(make_supercell(bulk(symbol), matrix))
    points, weights = reduced_kpoints(matrix, grid, rotations=rotations, exact=False)
    check_reduction(points, weights, orbits_slowly(matrix, grid, [*rotations, -np.eye(3, dtype=int)]))
    alone, _ = reduced_kpoints(matrix, grid, rotations=rotations, time_reversal=False, exact=False)
    assert len(alone) == len(orbits_slowly(matrix, grid, rotations))


@pytest.mark.parametrize(
    ("symbol", "grid"), [("Al", (8, 8, 8)), ("Mg", (8, 8, 4)), ("Si", (5, 5, 5)), ("W", (6, 6, 6))]
)
def test_as_many_points_as_spglib_finds(symbol, grid):
    atoms = bulk(symbol)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    numbers, _ = spglib.get_ir_reciprocal_mesh(grid, cell)
    _, counts = np.unique(numbers, return_counts=True)
    points, weights = reduced_kpoints(np.eye(3, dtype=int), grid, rotations=rotations_of(atoms))
    assert len(points) == len(counts)
    assert sorted(np.rint(weights * np.prod(grid)).astype(int)) == sorted(counts)


@pytest.mark.parametrize("point_group", [False, True])
def test_as_many_points_as_gpaw_finds(point_group):
    brillouin = pytest.importorskip("gpaw.new.brillouin", reason="GPAW is not installed")
    from gpaw.new.symmetry import create_symmetries_object

    matrix = [[0, 1, 1], [1, -1, 0], [1, 1, -2]]
    atoms = make_supercell(bulk("Al"), matrix)
    symmetries = create_symmetries_object(atoms, point_group=point_group, symmorphic=False)
    irreducible = brillouin.BZPoints(fold_kpoints(matrix, 8)).reduce(symmetries)
    points, weights = reduced_kpoints(matrix, 8, rotations=rotations_of(atoms) if point_group else None)
    assert len(points) == len(irreducible)
    assert sorted(weights) == pytest.approx(sorted(irreducible.weight_k))


@pytest.mark.parametrize(
    ("rotations", "message"),
    [
        ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], "n 3x3 matrices"),
        ([np.eye(3) * 0.5], "n 3x3 matrices of integers"),
        ([np.eye(3, dtype=int) * 2], "determinant"),
        ([[[0, 0, 1], [0, 1, 0], [1, 0, 0]]], "does not have this symmetry"),
    ],
)
def test_rotations_that_are_refused(rotations, message):
    with pytest.raises(InputError, match=message):
        reduced_kpoints(np.eye(3, dtype=int), (4, 4, 2), rotations=rotations)
