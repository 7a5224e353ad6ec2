"""The compiled core against slow, obvious NumPy, on random crystals, grids and matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import slow_supercells as slow
from ase import Atoms
from ase.build import bulk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ndsc
from ndsc.crystal import Crystal

CRYSTALS = {
    "fcc": bulk("Al"),
    "bcc": bulk("W"),
    "sc": Atoms("Po", cell=[3.3, 3.3, 3.3], pbc=True),
    "hcp": bulk("Mg"),
    "diamond": bulk("Si"),
    "zincblende": bulk("GaAs", "zincblende", a=5.65),
    "rutile-like": Atoms("TiO2", scaled_positions=[[0, 0, 0], [0.3, 0.3, 0], [0.7, 0.7, 0]], cell=[4.6, 4.6, 2.9],
                         pbc=True),
    "chiral": Atoms("SeSe2", scaled_positions=[[0.22, 0, 0], [0, 0.22, 1 / 3], [0.78, 0.78, 2 / 3]],
                    cell=[[4.4, 0, 0], [-2.2, 2.2 * 3**0.5, 0], [0, 0, 4.9]], pbc=True),
    "triclinic": Atoms("HHe", scaled_positions=[[0, 0, 0], [0.3, 0.4, 0.1]],
                       cell=[[3, 0, 0], [0.5, 3.4, 0], [0.9, 0.3, 4.1]], pbc=True),
}  # fmt: skip
ROTATIONS = {name: Crystal.from_atoms(atoms).reciprocal_rotations for name, atoms in CRYSTALS.items()}

names = st.sampled_from(sorted(CRYSTALS))
small_grids = st.tuples(*[st.integers(1, 5)] * 3) | st.integers(1, 5).map(lambda n: (n, n, n))
matrices = st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=3, max_size=3)


@given(names, small_grids)
@settings(max_examples=40)
def test_cheapest_sets_are_the_orbits_of_maximal_cyclic_subgroups(name, grid):
    found = ndsc.find_supercells(CRYSTALS[name], grid)
    assert found.sizes.tolist() == slow.maximal_cyclic_orbits(ROTATIONS[name], grid)
    assert found.cost == found.lower_bound
    assert found.optimality_gap == 0


@given(names, small_grids)
@settings(max_examples=40)
def test_every_qpoint_is_held_where_locate_says(name, grid):
    found = ndsc.find_supercells(CRYSTALS[name], grid)
    for q in slow.qpoints(grid):
        index, rotation = found.locate(np.array(q) / grid)
        assert any(np.array_equal(rotation, r) for r in ROTATIONS[name])
        assert slow.is_commensurate(found.matrices[index], slow.rotate(rotation, q, grid), grid)


@given(names, st.integers(1, 4))
@settings(max_examples=25)
def test_supercells_are_first_of_their_orbits(name, n):
    found = ndsc.find_supercells(CRYSTALS[name], n)
    for matrix in found.matrices:
        own = ndsc.sublattices.hermite_normal_form(matrix)[0]
        assert slow.canonical(matrix, ROTATIONS[name]) == tuple(map(tuple, own.tolist()))


@given(names, small_grids, st.booleans())
@settings(max_examples=40)
def test_irreducible_qpoints_are_the_stars(name, grid, time_reversal):
    found = ndsc.irreducible_qpoints(CRYSTALS[name], grid, time_reversal=time_reversal)
    points, weights = found.numerators, found.weights
    expected = slow.stars(ROTATIONS[name], grid, time_reversal=time_reversal)
    assert dict(zip(map(tuple, points.tolist()), weights.tolist(), strict=True)) == expected
    mapped = ndsc.map_qpoints(CRYSTALS[name], grid, time_reversal=time_reversal)
    assert np.array_equal(mapped.numerators, points)
    assert np.array_equal(np.bincount(mapped.mapping.ravel()), weights)


@given(small_grids, st.data())
def test_smallest_supercell_of_a_qpoint(grid, data):
    q = data.draw(st.tuples(*[st.integers(-10, 10)] * 3))
    order = ndsc.qpoint_order(np.array(q) / grid, grid)
    assert order == slow.order(q, grid)
    holding = [s for s in slow.hermite_normal_forms(order) if slow.is_commensurate(s, q, grid)] if order < 25 else None
    own = ndsc.smallest_supercell(np.array(q) / grid, grid)
    assert ndsc.is_commensurate(own, np.array(q) / grid, grid)
    if holding is not None:
        assert holding == [tuple(map(tuple, own.tolist()))]


@given(names, small_grids, st.data())
@settings(max_examples=40)
def test_stars_and_little_groups(name, grid, data):
    q = data.draw(st.tuples(*[st.integers(0, n - 1) for n in grid]))
    images, rotations = ndsc.star(CRYSTALS[name], np.array(q) / grid, grid)
    images = np.rint(images * np.array(grid)).astype(int)
    assert {tuple(k) for k in images.tolist()} == {slow.rotate(r, q, grid) for r in slow.keeping(ROTATIONS[name], grid)}
    assert all(slow.rotate(r, q, grid) == tuple(k) for r, k in zip(rotations, images.tolist(), strict=True))
    little = ndsc.little_group(CRYSTALS[name], np.array(q) / grid, grid)
    reduced = np.array(q) / grid
    fixing = [r for r in ROTATIONS[name] if np.allclose(r @ reduced - reduced, np.rint(r @ reduced - reduced))]
    assert np.array_equal(little, fixing)


@given(names, matrices)
def test_reduced_supercells_are_minkowskis(name, matrix):
    assume(round(np.linalg.det(matrix)) != 0)
    cell = CRYSTALS[name].cell.array
    reduced = ndsc.sublattices.reduce_supercells(cell, matrix)
    assert round(np.linalg.det(reduced)) == abs(round(np.linalg.det(matrix)))
    assert slow.same_lattice(reduced, matrix)
    lengths = np.linalg.norm(reduced @ cell, axis=1)
    assert lengths == pytest.approx(slow.lengths_of_minkowski(np.array(matrix) @ cell), rel=1e-6)


@given(matrices)
def test_normal_forms(matrix):
    size = round(np.linalg.det(matrix))
    assume(size != 0)
    form, transform = ndsc.sublattices.hermite_normal_form(matrix)
    assert np.array_equal(transform @ matrix, form)
    assert tuple(map(tuple, form.tolist())) in slow.hermite_normal_forms(abs(size))
    diagonal, left, right = ndsc.sublattices.smith_normal_form(matrix)
    assert np.array_equal(left @ matrix @ right, np.diag(diagonal))
    assert diagonal[1] % diagonal[0] == diagonal[2] % diagonal[1] == 0
    assert np.prod(diagonal) == abs(size)


@given(names, matrices)
def test_supercells_as_atoms(name, matrix):
    size = round(np.linalg.det(matrix))
    assume(0 < size < 40)
    atoms = CRYSTALS[name]
    supercell = ndsc.make_supercell(atoms, matrix)
    assert len(supercell) == size * len(atoms)
    assert np.array_equal(supercell.cell.array, np.array(matrix) @ atoms.cell.array)
    basis, points = supercell.get_array("ndsc_basis"), supercell.get_array("ndsc_lattice_point")
    assert np.array_equal(basis, np.tile(np.arange(len(atoms)), size))
    assert np.array_equal(supercell.positions, atoms.positions[basis] + points @ atoms.cell.array)
    # Lattice points: inside the supercell, each coset once.
    inside = points[:: len(atoms)] @ np.linalg.inv(matrix)
    assert np.all((inside > -1e-9) & (inside < 1 - 1e-9))
    cosets = {tuple(np.rint((n @ np.linalg.inv(matrix) % 1 % 1) * size).astype(int) % size) for n in points}
    assert len(cosets) == size


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_distinct_supercells_are_the_orbits(name):
    for size in range(1, 5):
        found = ndsc.enumerate_supercells(CRYSTALS[name], size)
        expected = {slow.canonical(form, ROTATIONS[name]) for form in slow.hermite_normal_forms(size)}
        forms = {tuple(map(tuple, ndsc.sublattices.hermite_normal_form(matrix)[0].tolist())) for matrix in found}
        assert forms == expected


def test_integer_programme_against_every_choice():
    """All sets of subgroups that hold a small grid, by brute force: none is cheaper."""
    for name, grid in (("sc", (2, 2, 2)), ("hcp", (2, 2, 2)), ("triclinic", (2, 2, 1)), ("fcc", (4, 2, 2))):
        group = slow.keeping(ROTATIONS[name], grid)
        diagonal = np.diag(grid)
        points = [tuple(q) for q in slow.qpoints(grid).tolist()]
        held = {}
        for size in [m for m in range(1, np.prod(grid) + 1) if np.prod(grid) % m == 0]:
            for form in slow.hermite_normal_forms(size):
                change = diagonal @ np.linalg.inv(form)
                if np.allclose(change, np.rint(change)):
                    key = frozenset(
                        q
                        for q in points
                        if any(slow.is_commensurate(form, slow.rotate(r, q, grid), grid) for r in group)
                    )
                    held[key] = min(size, held.get(key, size))
        for exponent in (0.5, 1.0, 1.3):
            best = min(
                sum(held[key] ** exponent for key in choice)
                for count in range(1, 4)
                for choice in itertools.combinations(held, count)
                if len(frozenset().union(*choice)) == len(points)
            )
            found = ndsc.find_supercells(CRYSTALS[name], grid, exponent)
            assert found.cost <= best + 1e-9
            assert found.optimality_gap == 0
