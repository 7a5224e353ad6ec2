"""Normal forms, distinct supercells of a size, reduction: known numbers and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import ndsc
from ndsc.crystal import Crystal
from ndsc.errors import InputError, IntegerOverflowError

FCC, BCC, HCP = bulk("Al"), bulk("W"), bulk("Mg")
SC = Atoms("Po", cell=[3.3, 3.3, 3.3], pbc=True)
# Six programs agree; fcc = bcc is OEIS A159842.
DISTINCT = {
    "fcc": [1, 2, 3, 7, 5, 10, 7, 20, 14, 18, 11, 41, 15, 28, 31, 58, 21, 60, 25, 77],
    "sc": [1, 3, 3, 9, 5, 13, 7, 24, 14, 23, 11, 49, 15, 33, 31, 66, 21, 70, 25, 89],
    "hcp": [1, 3, 5, 11, 7, 19, 11, 34, 23, 33, 19, 77, 25, 53, 55, 104, 37, 115, 45, 143],
}
LARGER = {
    "fcc": {24: 144, 32: 177, 48: 496, 60: 735, 64: 587, 96: 1761, 128: 2090},
    "sc": {24: 162, 32: 193, 48: 534, 60: 789, 64: 619, 96: 1839, 128: 2154},
    "hcp": {24: 272, 32: 331, 48: 952, 60: 1437, 64: 1129, 96: 3431, 128: 4092},
}


@pytest.mark.parametrize(("atoms", "kind"), [(FCC, "fcc"), (BCC, "fcc"), (SC, "sc"), (HCP, "hcp")], ids=str)
def test_numbers_of_distinct_supercells(atoms, kind):
    crystal = Crystal.from_atoms(atoms)
    found = list(ndsc.enumerate_supercells_up_to(crystal, 20))
    assert [len(supercells.matrices) for supercells in found] == DISTINCT[kind]
    assert [supercells.size for supercells in found] == list(range(1, 21))
    for supercells in found:
        # OEIS A001001: all sublattices of an index.
        assert supercells.orbit_sizes.sum() == len(ndsc.hermite_normal_forms(supercells.size))
    assert {n: len(ndsc.enumerate_supercells(crystal, n)) for n in LARGER[kind]} == LARGER[kind]


def test_distinct_supercells_are_reduced_and_right_handed():
    found = ndsc.enumerate_supercells(HCP, 12)
    assert np.allclose(np.linalg.det(found), 12)
    assert np.array_equal(ndsc.sublattices.reduce_supercells(HCP.cell.array, found), found)


def test_hermite_normal_forms():
    a001001 = [1, 7, 13, 35, 31, 91, 57, 155, 130, 217, 133, 455]
    assert [len(ndsc.hermite_normal_forms(n)) for n in range(1, 13)] == a001001
    assert len(ndsc.hermite_normal_forms(64)) == 10795
    forms = ndsc.hermite_normal_forms(12)
    assert len(np.unique(forms, axis=0)) == len(forms)
    assert np.all(np.prod(np.diagonal(forms, axis1=1, axis2=2), axis=1) == 12)


@pytest.mark.parametrize("size", [0, -4, 1.5, "two", None, (1, 2)])
def test_bad_sizes(size):
    for function in (ndsc.hermite_normal_forms, lambda n: ndsc.enumerate_supercells(FCC, n)):
        with pytest.raises(InputError, match=r"number of cells|does not exist"):
            function(size)
    with pytest.raises(InputError):
        ndsc.enumerate_supercells_up_to(FCC, size)


@pytest.mark.parametrize("size", [10**6 + 3, 2**41, 2**62])
def test_work_that_cannot_be_done_is_refused_at_once(size):
    with pytest.raises(InputError, match=r"of memory|more than 10\^24"):
        ndsc.hermite_normal_forms(size)
    with pytest.raises(InputError, match=r"of memory|more than 10\^24|numbered"):
        ndsc.enumerate_supercells(FCC, size)


def test_overflow_is_an_error():
    huge = np.diag([2**31, 2**31, 2**31])
    for function in (ndsc.sublattices.hermite_normal_form, ndsc.sublattices.smith_normal_form):
        with pytest.raises(IntegerOverflowError, match="64 bits"):
            function(huge)
    with pytest.raises(IntegerOverflowError, match="64 bits"):
        ndsc.sublattices.reduce_supercells(FCC.cell.array, huge)
    with pytest.raises(IntegerOverflowError, match="64-bit"):
        ndsc.sublattices.smith_normal_form([[2**63, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_large_elements_are_exact():
    rng = np.random.default_rng(5)
    for _ in range(50):
        matrix = rng.integers(-(10**6), 10**6, (3, 3))
        form, transform = ndsc.sublattices.hermite_normal_form(matrix)
        assert np.array_equal(transform.astype(object) @ matrix.astype(object), form)
        rows = [[int(x) for x in row] for row in matrix]
        exact = (
            rows[0][0] * (rows[1][1] * rows[2][2] - rows[1][2] * rows[2][1])
            - rows[0][1] * (rows[1][0] * rows[2][2] - rows[1][2] * rows[2][0])
            + rows[0][2] * (rows[1][0] * rows[2][1] - rows[1][1] * rows[2][0])
        )
        assert int(form[0, 0]) * int(form[1, 1]) * int(form[2, 2]) == abs(exact)


@pytest.mark.parametrize("function", [ndsc.sublattices.hermite_normal_form, ndsc.sublattices.smith_normal_form])
def test_singular_matrices_are_refused(function):
    with pytest.raises(InputError, match="singular"):
        function([[1, 2, 3], [2, 4, 6], [0, 0, 1]])


def test_reduction_refuses_what_is_no_supercell():
    cell = FCC.cell.array
    with pytest.raises(InputError, match="singular"):
        ndsc.sublattices.reduce_supercells(cell, [[1, 2, 3], [2, 4, 6], [0, 0, 1]])
    with pytest.raises(InputError, match="shape"):
        ndsc.sublattices.reduce_supercells(cell, np.ones((2, 2), dtype=int))
    with pytest.raises(InputError, match="shape"):
        ndsc.sublattices.reduce_supercells(cell[:2], np.eye(3, dtype=int))
    with pytest.raises(InputError, match="positive definite"):
        ndsc.sublattices.reduce_supercells(np.zeros((3, 3)), np.eye(3, dtype=int))
    with pytest.raises(InputError, match="positive definite"):
        ndsc.sublattices.reduce_supercells(cell * np.nan, np.eye(3, dtype=int))


def test_reduction_of_many_is_the_reduction_of_each():
    forms = ndsc.hermite_normal_forms(48)
    together = ndsc.sublattices.reduce_supercells(HCP.cell.array, forms)
    for form, reduced in list(zip(forms, together, strict=True))[::500]:
        assert np.array_equal(ndsc.sublattices.reduce_supercells(HCP.cell.array, form), reduced)
    assert ndsc.sublattices.reduce_supercells(HCP.cell.array, forms[:0]).shape == (0, 3, 3)
