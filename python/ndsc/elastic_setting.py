"""The standard axes that elastic constants refer to, and which constants a crystal has."""

from __future__ import annotations

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from ndsc.crystal import DEFAULT_SYMPREC, Crystal
from ndsc.rounding import rounded

FloatArray = NDArray[np.float64]

_NAMES = {
    "cubic": "11 12 44",
    "hexagonal": "11 12 13 33 44 66",
    "trigonal_high": "11 12 13 14 33 44 66",
    "trigonal_low": "11 12 13 14 15 33 44 66",
    "tetragonal_high": "11 12 13 33 44 66",
    "tetragonal_low": "11 12 13 16 33 44 66",
    "orthorhombic": "11 12 13 22 23 33 44 55 66",
    "monoclinic": "11 12 13 15 22 23 25 33 35 44 46 55 66",
    "triclinic": " ".join(f"{i}{j}" for i in range(1, 7) for j in range(i, 7)),
}
# Last space group of each Laue class, in order.
_LAST_SPACE_GROUP = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (88, "tetragonal_low"), (142, "tetragonal_high"),
    (148, "trigonal_low"), (167, "trigonal_high"), (194, "hexagonal"), (230, "cubic"),
)  # fmt: skip


def standard_orientation(atoms: Atoms, *, symprec: float = DEFAULT_SYMPREC) -> tuple[Atoms, str]:
    """The same cell, turned to the standard axes, rounded to 1e-8 Å; and the Laue class.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell of the crystal.
    symprec : float, Å
        Tolerance of the symmetry search.
    """
    crystal = Crystal.from_atoms(atoms, symprec=symprec)
    laue_class = next(name for last, name in _LAST_SPACE_GROUP if crystal.primitive.number <= last)
    rotation = _standard_rotation(crystal)
    if laue_class == "trigonal_high" and not _has_twofold_along_x(crystal, rotation):
        rotation = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ rotation
    turned = crystal.atoms.copy()
    turned.set_cell(turned.cell.array @ rotation.T)
    turned.positions = turned.positions @ rotation.T
    return rounded(turned), laue_class


def constant_names(laue_class: str) -> list[str]:
    """Voigt indices of the constants of a Laue class, ``["11", "12", …]``."""
    return _NAMES[laue_class].split()


def without_forbidden(matrix: FloatArray, laue_class: str) -> FloatArray:
    """Zero what the strains of a lower class leave as noise: C15 and its kin, and C14 in hexagonal crystals."""
    cleaned = matrix.copy()
    fifteen = [(0, 4), (1, 4), (3, 5)]
    fourteen = [(0, 3), (1, 3), (4, 5)]
    forbidden = {"trigonal_high": fifteen, "hexagonal": fifteen + fourteen}.get(laue_class, [])
    for i, j in forbidden:
        cleaned[i, j] = cleaned[j, i] = 0.0
    return cleaned


def _standard_rotation(crystal: Crystal) -> FloatArray:
    """The rotation of Cartesian columns that brings the crystal to its standard axes."""
    atoms = crystal.atoms
    cell = (atoms.cell.array, atoms.get_scaled_positions(wrap=False), crystal.site_species)
    dataset = spglib.get_symmetry_dataset(cell, symprec=crystal.symprec)
    rotation = np.array(dataset.std_rotation_matrix, dtype=float)
    # A cell symmetric to the tolerance only gives a matrix that is not quite orthogonal: take the nearest one.
    left, _, right = np.linalg.svd(rotation)
    return np.asarray(left @ right, dtype=float)


def _has_twofold_along_x(crystal: Crystal, rotation: FloatArray) -> bool:
    """Whether a two-fold axis, or the normal of a mirror, is along x once the crystal is turned."""
    basis = crystal.atoms.cell.array.T
    turn = np.diag([1.0, -1.0, -1.0])
    for operation in crystal.point_group:
        cartesian = rotation @ basis @ operation @ np.linalg.inv(basis) @ rotation.T
        if np.allclose(cartesian, turn, atol=1e-3) or np.allclose(cartesian, -turn, atol=1e-3):
            return True
    return False
