"""Elastic constants of a sheet: strains in its plane, and the matrix that their stresses give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ndsc.crystal import Crystal
from ndsc.elastic_quality import IN_PLANE, voigt_strain
from ndsc.elastic_setting import rotate_voigt
from ndsc.errors import InputError
from ndsc.force_constants.space_group import cartesian_rotations
from ndsc.vacuum import Vacuum

FloatArray = NDArray[np.float64]


def check_one_vacuum(crystal: Crystal) -> Vacuum:
    """The vacuum of a sheet.

    Raises
    ------
    InputError
        When there is vacuum in its plane too.
    """
    found = Vacuum.around(crystal.atoms)
    if len(found.normals) != 1:
        raise InputError(
            f"{crystal.atoms.get_chemical_formula()} with pbc = T T F has vacuum along {len(found.normals)} "
            "directions, and a sheet has it along its normal only: its atoms are not connected. Check the structure."
        )
    return found


def strained_sheet(crystal: Crystal, strain: float, n_steps: int) -> list[Atoms]:
    """Strains along x, along y and of the angle between them, each from -strain to +strain.

    Parameters
    ----------
    crystal : Crystal
        A sheet.
    strain : float
        The largest.
    n_steps : int
        Strains of each kind.

    Returns
    -------
    list of ase.Atoms
        Periodic in all directions, with the (3, 3) strain in ``info["strain"]``.
    """
    cells = []
    for index in IN_PLANE:
        for size in np.linspace(-strain, strain, n_steps):
            matrix = np.zeros((3, 3))
            first, second = (index, index) if index < 3 else (0, 1)
            matrix[first, second] = matrix[second, first] = size if index < 3 else size / 2
            cell = crystal.atoms.copy()
            cell.set_pbc(True)
            cell.set_cell(cell.cell.array @ (np.eye(3) + matrix), scale_atoms=True)
            cell.info["strain"] = matrix
            cells.append(cell)
    return cells


def sheet_matrix(crystal: Crystal, strained: Sequence[Atoms], n_steps: int) -> FloatArray:
    """(6, 6) array, GPa : the Voigt matrix in the axes of the crystal, averaged over its symmetry; in the plane only.

    Parameters
    ----------
    crystal : Crystal
        A sheet.
    strained : sequence of ase.Atoms
        The cells of :func:`strained_sheet`, with their stresses.
    n_steps : int
        Strains of each kind.
    """
    matrix, plane = np.zeros((6, 6)), np.array(IN_PLANE)
    for number, index in enumerate(IN_PLANE):
        cells = strained[number * n_steps : (number + 1) * n_steps]
        strains = np.linspace(-1, 1, n_steps) * voigt_strain(cells[-1])[index]
        stresses = np.array([cell.get_stress()[plane] for cell in cells]) / GPa
        matrix[plane, index] = np.polyfit(strains, stresses, 1)[0]
    matrix = (matrix + matrix.T) / 2
    rotations = cartesian_rotations(crystal.point_group, crystal.atoms.cell.array)
    return np.asarray(np.mean([rotate_voigt(matrix, rotation) for rotation in rotations], axis=0))
