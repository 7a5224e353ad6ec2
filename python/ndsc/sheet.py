"""Sheets: crystals of two dimensions, periodic along their first two vectors, with vacuum along the third.

A sheet comes in with ``pbc = [True, True, False]``. Its unit cell keeps that, as the mark that only strains, q-points
and relaxations in the plane are meant; what is calculated is periodic along all three vectors, with vacuum in between.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)

#: Vacuum that a sheet has at least, and what it gets where it has less, Å.
SMALLEST_VACUUM, VACUUM = 10.0, 15.0
#: Cosine between the normal and what is to be in the plane or along the normal.
_STRAIGHT = 1e-6


def is_sheet(atoms: Atoms) -> bool:
    """Whether a structure is periodic along its first two vectors only."""
    return bool(np.array_equal(atoms.pbc, (True, True, False)))


def checked_sheet(atoms: Atoms) -> Atoms:
    """A copy of a sheet with its third vector along the normal, and enough vacuum.

    Raises
    ------
    InputError
        When the first two vectors are not in the xy plane, or the third is neither zero nor along z.
    """
    cell = atoms.cell.array
    lengths = np.linalg.norm(cell, axis=1)
    tilted = np.abs(cell[:2, 2]) > _STRAIGHT * np.maximum(lengths[:2], 1e-9)
    if tilted.any() or np.hypot(*cell[2, :2]) > _STRAIGHT * max(lengths[2], 1e-9):
        raise InputError(
            "A sheet (pbc = T T F) must have its first two vectors in the xy plane, and its third along z or none. "
            f"The cell is {np.round(cell, 4).tolist()}. Rotate it."
        )
    thickness = float(np.ptp(atoms.positions[:, 2])) if len(atoms) else 0.0
    if cell[2, 2] - thickness >= SMALLEST_VACUUM:
        return atoms
    copy = atoms.copy()
    copy.set_cell([*cell[:2], [0.0, 0.0, thickness + VACUUM]])
    if lengths[2] > 0:
        log.warning(
            "The cell of the sheet %s has %.3g Å of vacuum; it is set to %g Å, so that periodic images do not touch.",
            atoms.get_chemical_formula(), cell[2, 2] - thickness, VACUUM,
        )  # fmt: skip
    return copy


def check_grid_of_sheet(grid: tuple[int, int, int], what: str) -> None:
    """Refuse a grid with more than one point across a sheet.

    Raises
    ------
    InputError
        Saying what to give.
    """
    if grid[2] != 1:
        raise InputError(
            f"The {what} {grid[0]} x {grid[1]} x {grid[2]} has {grid[2]} points across the sheet (pbc = T T F), where "
            f"nothing is periodic. Give [{grid[0]}, {grid[1]}, 1]."
        )


def check_kgrid_of_sheet(kgrid: Any) -> None:
    """Refuse a k-point grid with more than one point across a sheet; other forms of grids are left alone.

    Raises
    ------
    InputError
        Saying what to give.
    """
    if kgrid is not None and np.shape(kgrid) == (3,):
        first, second, third = (int(n) for n in np.asarray(kgrid))
        check_grid_of_sheet((first, second, third), "k-point grid")


def across_one(grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """A mesh with one point across the sheet."""
    return (grid[0], grid[1], 1)


def in_plane_lattice(cell: FloatArray, translations: FloatArray) -> FloatArray:
    """The two shortest vectors of the lattice that a sheet's own translations make.

    Parameters
    ----------
    cell : (3, 3) array, Å
    translations : (n, 3) array
        All translations that leave the sheet as it is, in units of the cell, the zero among them.

    Returns
    -------
    (3, 3) array, Å
        The primitive cell, right-handed, with the third vector that it had.
    """
    corners = np.array([(i, j, 0) for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=float)
    inside = translations - np.rint(translations)
    points = (inside[:, None, :] + corners).reshape(-1, 3) @ cell
    points = points[np.argsort(np.round(np.linalg.norm(points, axis=1), 8), kind="stable")]
    points = points[np.linalg.norm(points, axis=1) > 1e-6]
    first = points[0]
    area = abs(float(np.cross(cell[0], cell[1])[2])) / len(translations)
    second = next(point for point in points if abs(abs(np.cross(first, point)[2]) - area) < 1e-3 * area)
    if np.cross(first, second)[2] < 0:
        second = -second
    return np.array([first, second, cell[2]])
