import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ndsc import fold_kpoints
from ndsc.errors import InputError


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
    assert np.array_equal(fold_kpoints(matrix, grid), expected)


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
        ([[1, 2], [3, 4]], 4, "3x3"),
        ([["a"] * 3] * 3, 4, "3x3"),
        (np.eye(3) * 0.5, 4, "not of integers"),
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
