"""q-points: counts equal to spglib's, published numbers, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk

import ndsc
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.integers import checked_integers
from ndsc.qgrid import available_memory, qpoint_numerators

CRYSTALS = {
    "fcc": bulk("Al"),
    "bcc": bulk("W"),
    "hcp": bulk("Mg"),
    "diamond": bulk("Si"),
    "zincblende": bulk("GaAs", "zincblende", a=5.65),
    "cubic": bulk("NaCl", "rocksalt", a=5.6, cubic=True),
    "tetragonal": Atoms("InIn", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.2, 3.2, 4.9], pbc=True),
    "monoclinic": Atoms("Po", cell=[[3, 0, 0], [0, 3.7, 0], [0.8, 0, 4.5]], pbc=True),
    "polar": Atoms("HF", scaled_positions=[[0, 0, 0], [0, 0, 0.4]], cell=[3, 3, 4], pbc=True),
}


@pytest.mark.parametrize("time_reversal", [True, False])
@pytest.mark.parametrize("name", CRYSTALS)
def test_counts_are_spglibs(name, time_reversal):
    atoms = CRYSTALS[name]
    crystal = Crystal.from_atoms(atoms)
    for n in (1, 2, 3, 5, 8, 11):
        mapping, _ = spglib.get_stabilized_reciprocal_mesh(
            [n] * 3, crystal.point_group.astype("intc"), is_shift=[0, 0, 0], is_time_reversal=time_reversal
        )
        points, weights = ndsc.irreducible_qpoints(atoms, n, time_reversal=time_reversal)
        expected = np.unique(mapping, return_counts=True)[1]
        assert len(points) == len(expected)
        assert sorted(weights.tolist()) == sorted(expected.tolist())
        assert weights.sum() == n**3


@pytest.mark.parametrize(("n", "count"), [(10, 47), (20, 256), (48, 2769), (100, 22776)])
def test_published_counts_of_fcc(n, count):
    crystal = Crystal.from_atoms(CRYSTALS["fcc"])
    mapped = ndsc.map_qpoints(crystal, n)
    assert len(mapped.numerators) == count
    assert mapped.mapping.shape == (n, n, n)
    assert mapped.mapping.dtype == np.uint32
    assert np.array_equal(np.bincount(mapped.mapping.ravel()), mapped.weights)
    i, j, k = mapped.numerators.T
    assert np.array_equal(mapped.mapping[i, j, k], np.arange(count))


def test_anisotropic_grids_use_every_rotation_that_stays_on_them():
    points, weights = ndsc.irreducible_qpoints(CRYSTALS["tetragonal"], (4, 2, 3))
    # Up to sign (3, 2, 2) points along the axes; the fourfold axis, which does not keep the grid, still relates
    # (2/4, 0, k3) to (0, 1/2, k3), for 2 values of k3 up to sign.
    assert len(points) == 3 * 2 * 2 - 2
    assert weights.sum() == 24


@pytest.mark.parametrize("time_reversal", [True, False])
@pytest.mark.parametrize("grid", [(4, 4, 2), (2, 3, 4), (6, 6, 3), (8, 4, 4), (1, 1, 5)])
@pytest.mark.parametrize("name", ["fcc", "bcc", "tetragonal"])
def test_anisotropic_grids_count_as_spglib(name, grid, time_reversal):
    atoms = CRYSTALS[name]
    numbers, _ = spglib.get_ir_reciprocal_mesh(
        grid,
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers),
        is_shift=[0, 0, 0],
        is_time_reversal=time_reversal,
    )
    stars = sorted(np.unique(numbers, return_counts=True)[1])
    found = ndsc.irreducible_qpoints(atoms, grid, time_reversal=time_reversal)
    points, weights = found
    assert np.array_equal(points, found.numerators / np.array(grid))
    assert sorted(weights) == stars
    mapped = ndsc.map_qpoints(atoms, grid, time_reversal=time_reversal)
    assert np.array_equal(mapped.numerators, found.numerators)
    assert np.array_equal(mapped.weights, weights)
    assert np.array_equal(np.bincount(mapped.mapping.ravel()), weights)


def test_stars_of_high_symmetry():
    fcc = CRYSTALS["fcc"]
    gamma, rotations = ndsc.star(fcc, (0, 0, 0), 4)
    assert gamma.tolist() == [[0, 0, 0]]
    assert len(rotations) == 1
    assert len(ndsc.little_group(fcc, (0, 0, 0), 4)) == 48
    # L = (1/2, 0, 0): 4 of them; X = (1/2, 1/2, 0): 3.
    assert len(ndsc.star(fcc, (0.5, 0, 0), 4)[0]) == 4
    assert len(ndsc.star(fcc, (0.5, 0.5, 0), 4)[0]) == 3
    assert len(ndsc.little_group(fcc, (0.5, 0, 0), 4)) == 12


def test_qpoints_one_by_one():
    assert ndsc.qpoint_order((1 / 3, 1 / 2, 0), 6) == 6
    assert ndsc.qpoint_order((0, 0, 0), (3, 1, 2)) == 1
    assert ndsc.qpoint_order((Fraction(1, 4), 0, Fraction(1, 6)), (4, 1, 6)) == 12
    assert ndsc.smallest_supercell((0.5, 0, 0), 2).tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert ndsc.is_commensurate([[2, 0, 0], [0, 1, 0], [0, 0, 1]], (0.5, 0, 0), 2)
    assert not ndsc.is_commensurate([[1, 0, 0], [0, 2, 0], [0, 0, 1]], (0.5, 0, 0), 2)


def test_what_is_no_qpoint_is_refused():
    for call in (
        lambda: ndsc.qpoint_order((1, 2), 4),
        lambda: ndsc.smallest_supercell((0.3, 0, 0), 4),
        lambda: ndsc.star(CRYSTALS["fcc"], "abc", 4),
        lambda: ndsc.little_group(CRYSTALS["fcc"], (1, 2, 3, 4), 4),
        lambda: ndsc.is_commensurate(np.eye(3, dtype=int), (1, 2), 4),
    ):
        with pytest.raises(InputError, match="q-point"):
            call()
    with pytest.raises(InputError, match="supercell matrix"):
        ndsc.is_commensurate([[1, 2], [3, 4]], (0.25, 0.5, 0.75), 4)
    with pytest.raises(InputError, match="finer than"):
        ndsc.qpoint_order((0.5, 0, 0), 2**21)


@pytest.mark.parametrize("q", [(0.25, 0.5, 0.75), (-0.75, 1.5, 0.75), tuple(Fraction(k, 4) for k in (1, 2, 3)),
                               (0.25 + 1e-11, 0.5, 0.75)])  # fmt: skip
def test_fractions_are_exact_inside(q):
    assert np.mod(qpoint_numerators(q, (4, 4, 4)), 4).tolist() == [1, 2, 3]


@pytest.mark.parametrize("q", [(0.25, 0.3, 0), (0.25, 0.5 + 1e-8, 0), (1 / 3, 0, 0), (float("nan"), 0, 0)])
def test_fractions_off_the_grid_are_refused(q):
    with pytest.raises(InputError, match="q-point"):
        qpoint_numerators(q, (4, 4, 4))


def test_integers_are_numerators_as_before():
    with pytest.warns(DeprecationWarning, match="numerators"):
        assert qpoint_numerators((1, 2, 3), (4, 4, 4)).tolist() == [1, 2, 3]
    assert qpoint_numerators((0, 0, 0), (4, 4, 4)).tolist() == [0, 0, 0]
    # Not all are ints: fractions.
    assert qpoint_numerators((1.0, 0, 0), (4, 4, 4)).tolist() == [4, 0, 0]


def test_grids_beyond_memory_are_refused_with_an_estimate():
    with pytest.raises(InputError, match=r"TB of memory, and .* are available"):
        ndsc.irreducible_qpoints(CRYSTALS["fcc"], 100_000)
    with pytest.raises(InputError, match=r"of memory, and .* are available"):
        ndsc.map_qpoints(CRYSTALS["fcc"], 5_000)


def test_integers_of_any_kind():
    assert checked_integers(np.array([1.0, 2.0]), "x", "y").tolist() == [1, 2]
    assert checked_integers(np.int32(3), "x", "y") == 3
    assert checked_integers([2**62, -(2**63)], "x", "y").tolist() == [2**62, -(2**63)]
    assert checked_integers([], "x", "y").tolist() == []


def test_available_memory_is_plausible():
    assert 10**7 < available_memory() < 10**15
