"""Elastic constants in standard axes do not depend on how the crystal is given, and are what finite differences say."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.lj import LennardJones
from ase.geometry import minkowski_reduce
from ase.spacegroup import crystal
from ase.units import GPa
from scipy.spatial.transform import Rotation

from ndsc.elastic import elastic_constants
from ndsc.elastic_setting import standard_orientation

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def calculator():
    return LennardJones(sigma=1.2, epsilon=0.4, rc=4.0, smooth=True)


CRYSTALS = {
    "layers of CdI2": (["Mg", "O"], [(0, 0, 0), (1 / 3, 2 / 3, 0.22)], 164, [3.1, 3.1, 4.8, 90, 90, 120]),
    "P-31m": (["Mg", "O"], [(0, 0, 0), (0.31, 0.0, 0.27)], 162, [4.9, 4.9, 4.8, 90, 90, 120]),
    "quartz": (["Si", "O"], [(0.47, 0, 2 / 3), (0.413, 0.267, 0.786)], 154, [4.91, 4.91, 5.40, 90, 90, 120]),
    "corundum": (["Al", "O"], [(0, 0, 0.352), (0.306, 0, 0.25)], 167, [4.76, 4.76, 12.99, 90, 90, 120]),
    "ilmenite": (["Ti", "O"], [(0, 0, 0.355), (0.317, 0.023, 0.245)], 148, [5.1, 5.1, 13.9, 90, 90, 120]),
    "P-3": (["C", "O"], [(0, 0, 0), (0.31, 0.12, 0.27)], 147, [5.0, 5.0, 6.0, 90, 90, 120]),
    "P4/m": (["W", "O"], [(0, 0, 0), (0.21, 0.12, 0.3)], 83, [4.6, 4.6, 5.1, 90, 90, 90]),
    "scheelite": (["Ca", "O"], [(0, 0.25, 0.625), (0.15, 0.009, 0.211)], 88, [5.24, 5.24, 11.38, 90, 90, 90]),
    "Pnma": (["Ca", "O"], [(0.03, 0.25, 0.99), (0.29, 0.04, 0.71)], 62, [5.4, 7.6, 5.3, 90, 90, 90]),
    "C2/m": (["Ga", "O"], [(0.09, 0, 0.79), (0.17, 0, 0.11)], 12, [9.2, 3.1, 5.8, 90, 103.8, 90]),
    "P-1": (["C", "O"], [(0.02, 0.03, 0.05), (0.40, 0.28, 0.14)], 2, [4.0, 5.0, 6.0, 80, 75, 85]),
}


def make(name):
    symbols, basis, number, cellpar = CRYSTALS[name]
    found = crystal(symbols, basis, spacegroup=number, cellpar=cellpar, primitive_cell=True)
    made = Atoms(found.numbers, positions=found.positions, cell=found.cell, pbc=True)
    made.set_cell(minkowski_reduce(made.cell)[0])
    made.wrap()
    return made if made.cell.volume > 0 else other_basis(made, -np.eye(3))


def other_basis(atoms, matrix):
    other = atoms.copy()
    other.set_cell(np.array(matrix) @ atoms.cell.array, scale_atoms=False)
    return other


def turned(atoms, matrix):
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ np.transpose(matrix), scale_atoms=True)
    return other


def variants(atoms):
    """The same crystal given in other ways."""
    yield other_basis(atoms, [[-1, 0, 0], [0, -1, 0], [0, 0, 1]])
    yield other_basis(atoms, [[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    yield other_basis(atoms, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    yield other_basis(atoms, [[1, 1, 0], [0, 1, 0], [0, 1, 1]])
    yield turned(atoms, Rotation.from_rotvec([0.5, -0.8, 0.3]).as_matrix())
    yield make_supercell(atoms, [[1, 0, 0], [0, 1, 0], [0, 0, 2]])
    mirrored = turned(atoms, np.diag([-1.0, 1.0, 1.0]))
    yield other_basis(mirrored, -np.eye(3))
    moved = atoms[::-1]
    moved.positions += [0.3, 0.1, -0.2]
    yield moved


@pytest.mark.parametrize("name", CRYSTALS)
def test_constants_do_not_depend_on_how_the_crystal_is_given(name):
    atoms = make(name)
    expected = elastic_constants(atoms, calculator(), relax_ions=False)
    scale = np.max(np.abs(expected.matrix))
    for other in variants(atoms):
        found = elastic_constants(other, calculator(), relax_ions=False)
        np.testing.assert_allclose(found.matrix, expected.matrix, atol=2e-3 * scale)


@pytest.mark.parametrize("name", ["layers of CdI2", "corundum", "P-3", "P4/m", "C2/m", "P-1"])
def test_constants_are_finite_differences_of_the_stress_in_the_standard_axes(name):
    atoms = make(name)
    found = elastic_constants(atoms, calculator(), relax_ions=False, strain=0.001)
    standard, _ = standard_orientation(atoms)
    scale = np.max(np.abs(found.matrix))
    for column, (i, j) in enumerate(VOIGT):
        stresses = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * 2.5e-4
            strain[j, i] += sign * 2.5e-4
            strained = standard.copy()
            strained.set_cell(standard.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = calculator()
            stresses.append(strained.get_stress())
        expected = (stresses[0] - stresses[1]) / 0.001 / GPa
        # The cell carries a stress, so that its constants are not quite symmetric.
        stress = np.max(np.abs(found.residual_stress))
        np.testing.assert_allclose(found.matrix[:, column], expected, atol=0.01 * scale + stress)


def test_the_axes_of_the_first_setting():
    """Two settings of one crystal: a along x in both, finite differences in the first one."""
    calc = LennardJones(sigma=1.6, epsilon=0.4, rc=6.0, smooth=True)
    symbols, basis, number, cellpar = CRYSTALS["layers of CdI2"]
    layer = crystal(symbols, basis, spacegroup=number, cellpar=cellpar)
    for setting in (np.eye(3), [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]):
        found = elastic_constants(other_basis(layer, setting), calc, relax_ions=False)
        assert found.constants["C14"] == pytest.approx(6.93, abs=0.02)


@pytest.mark.parametrize(("name", "azimuth"), [("corundum", 30), ("ilmenite", 30)])
def test_rhombohedral_lattices_are_in_the_obverse_setting(name, azimuth):
    standard, _ = standard_orientation(make(name))
    vectors = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    lattice = vectors @ standard.cell.array
    height = min(z for z in lattice[:, 2] if z > 0.1)
    low = lattice[np.abs(lattice[:, 2] - height) < 0.01]
    x, y, _ = low[np.argmin(np.linalg.norm(low, axis=1))]
    assert np.degrees(np.arctan2(y, x)) % 120 == pytest.approx(azimuth, abs=0.1)


def test_axes_by_length():
    orthorhombic = standard_orientation(make("Pnma"))[0].cell.array
    np.testing.assert_allclose(np.abs(orthorhombic).max(axis=0), [5.4, 7.6, 5.3], atol=1e-6)
    monoclinic = standard_orientation(make("C2/m"))[0].cell.array
    # b, the shortest vector of all here, is along y; c, the shortest one across it, along z.
    along = {tuple(np.flatnonzero(np.abs(row) > 1e-6)): np.linalg.norm(row) for row in monoclinic}
    assert along[(1,)] == pytest.approx(3.1)
    assert along[(2,)] == pytest.approx(5.8)
