"""The symmetry search against spglib: all space groups, tolerances, cells that are not primitive, moments, noise."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

import ndsc
from ndsc.errors import InputError
from ndsc.symmetry import _by_spglib, distinct_rotations, find_operations

TOLERANCES = (1e-5, 1e-3, 1e-2)
ELEMENTS = ("Al", "W", "Mg", "Si", "Fe", "Ti", "Zn", "In", "Sn")
BRAVAIS = {
    "CUB": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
    "FCC": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
    "BCC": [[-2, 2, 2], [2, -2, 2], [2, 2, -2]],
    "BCT": [[-1.5, 1.5, 2.2], [1.5, -1.5, 2.2], [1.5, 1.5, -2.2]],
    "ORCF": [[0, 2.1, 2.7], [1.7, 0, 2.7], [1.7, 2.1, 0]],
    "ORCC": [[1.5, -1.9, 0], [1.5, 1.9, 0], [0, 0, 4.5]],
    "HEX": [[3, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 4.7]],
    "RHL": [[1, 0, 2], [-0.5, 0.75**0.5, 2], [-0.5, -(0.75**0.5), 2]],
    "MCLC": [[1.5, 1.9, 0], [-1.5, 1.9, 0], [0.8, 0, 4.5]],
    "TRI": [[3, 0, 0], [0.5, 3.4, 0], [0.9, 0.3, 4.1]],
    "long axes": [[0, 2, 2], [2, 6, 8], [-6, 10, 16]],
}


def by_spglib(atoms, moments, symprec, magnetic_tolerance=1e-3):
    cell = (atoms.cell.array, atoms.get_scaled_positions(wrap=False), atoms.numbers)
    if moments is None:
        found = spglib.get_symmetry_dataset(cell, symprec=symprec)
        return found.rotations, found.translations, np.zeros(len(found.rotations), dtype=bool)
    found = spglib.get_magnetic_symmetry(
        (*cell, moments), symprec=symprec, mag_symprec=magnetic_tolerance, is_axial=np.ndim(moments) == 2
    )
    return found["rotations"], found["translations"], found["time_reversals"]


def assert_same(atoms, moments=None, symprec=1e-5):
    found = find_operations(
        atoms.cell.array,
        atoms.get_scaled_positions(wrap=False),
        atoms.numbers,
        moments,
        symprec=symprec,
        magnetic_tolerance=1e-3,
    )
    wanted = by_spglib(atoms, moments, symprec)
    assert len(found.rotations) == len(wanted[0])
    by_rotation = {}
    for rotation, translation, reversal in zip(*wanted, strict=True):
        by_rotation.setdefault((rotation.tobytes(), bool(reversal)), []).append(translation)
    for rotation, translation, reversal in zip(found.rotations, found.translations, found.time_reversals, strict=True):
        away = np.array(by_rotation[rotation.astype(np.intc).tobytes(), bool(reversal)]) - translation
        assert np.linalg.norm((away - np.rint(away)) @ atoms.cell.array, axis=1).min() < 2 * symprec


def space_group_crystal(number, rng):
    a, b, c = rng.uniform(4, 8, 3)
    alpha, beta, gamma = rng.uniform(70, 110, 3)
    systems = [
        (2, (a, b, c, alpha, beta, gamma)), (15, (a, b, c, 90, beta, 90)), (74, (a, b, c, 90, 90, 90)),
        (142, (a, a, c, 90, 90, 90)), (194, (a, a, c, 90, 90, 120)), (230, (a, a, a, 90, 90, 90)),
    ]  # fmt: skip
    parameters = next(values for last, values in systems if number <= last)
    # General positions, and special ones on the diagonal for the groups with many operations.
    place = rng.uniform(0.05, 0.45, 3) if number < 75 else np.full(3, rng.uniform(0.05, 0.45))
    return crystal(["O"], [place], spacegroup=number, cellpar=parameters, primitive_cell=number % 3 == 0)


@pytest.mark.parametrize("first", range(1, 231, 23))
def test_space_groups(first):
    rng = np.random.default_rng(first)
    for number in range(first, first + 23):
        atoms = space_group_crystal(number, rng)
        if len(atoms) > 100:
            continue
        for symprec in TOLERANCES[:2]:
            assert_same(atoms, symprec=symprec)
        noisy = atoms.copy()
        noisy.positions += rng.normal(0, 1e-5, noisy.positions.shape)
        assert_same(noisy, symprec=1e-3)
        assert_same(noisy, symprec=1e-5)
        rounded = atoms.copy()
        rounded.set_scaled_positions(np.round(rounded.get_scaled_positions(), 4))
        assert_same(rounded, symprec=1e-5)


@pytest.mark.parametrize("symprec", TOLERANCES)
@pytest.mark.parametrize("name", ELEMENTS)
def test_elements_in_any_cell(name, symprec):
    rng = np.random.default_rng(3)
    atoms = bulk(name)
    matrices = [np.diag([2, 1, 1]), np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]), *rng.integers(-2, 3, (6, 3, 3))]
    for matrix in matrices:
        if 0 < np.linalg.det(matrix) < 7:
            assert_same(ndsc.make_supercell(atoms, matrix), symprec=symprec)


@pytest.mark.parametrize("symprec", TOLERANCES)
@pytest.mark.parametrize("name", BRAVAIS)
def test_lattices_of_one_atom(name, symprec):
    rng = np.random.default_rng(4)
    atoms = Atoms("Po", cell=BRAVAIS[name], positions=[[0.3, 0.1, -0.2]], pbc=True)
    assert_same(atoms, symprec=symprec)
    for strain in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
        assert_same(strained, symprec=symprec)


@pytest.mark.parametrize("name", ELEMENTS)
def test_magnetic_orders(name):
    rng = np.random.default_rng(5)
    atoms = bulk(name)
    doubled = ndsc.make_supercell(atoms, np.diag([2, 1, 1]))
    n = len(doubled)
    alternating = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    vectors = np.zeros((n, 3))
    vectors[:, 2] = 1.5 * alternating
    for moments in (
        np.full(n, 2.2), alternating, np.repeat([1.0, -1.0], n // 2), rng.choice([1.0, -1.0, 0.0], n), vectors,
        np.tile([0, 0, 1.5], (n, 1)), rng.normal(size=(n, 3)),
    ):  # fmt: skip
        if np.any(moments):
            assert_same(doubled, moments)


def test_moments_that_differ_by_less_than_the_tolerance_form_a_group():
    """Each is within the tolerance of the next, the first and the last are not: spglib's operations are no group."""
    atoms = bulk("Fe", cubic=True) * (2, 1, 1)
    moments = 2.2 + np.array([0, 6e-4, 1.2e-3, 6e-4])
    same = find_operations(
        atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, moments, symprec=1e-5, magnetic_tolerance=1e-3
    )
    plain = find_operations(
        atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, symprec=1e-5, magnetic_tolerance=1e-3
    )
    assert len(same.rotations) == len(plain.rotations)
    different = find_operations(
        atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, moments, symprec=1e-5, magnetic_tolerance=1e-4
    )
    assert 0 < len(different.rotations) < len(plain.rotations)


def test_rotations_once_and_sorted():
    crystal = ndsc.Crystal.from_atoms(bulk("Al", cubic=True))
    assert np.array_equal(distinct_rotations(crystal.rotations), np.unique(crystal.rotations, axis=0))
    inverse = np.rint(np.linalg.inv(crystal.point_group)).astype(int).transpose(0, 2, 1)
    assert np.array_equal(crystal.reciprocal_rotations, np.unique(inverse, axis=0))


def test_no_answer_is_an_error():
    cell, positions, species = np.eye(3) * 4, np.array([[0, 0, 0], [0, 0, 1e-7]]), np.array([1, 1])
    with pytest.raises(InputError, match="symprec"):
        _by_spglib(cell, positions, species, None, 1e-5, 1e-3)
