"""Symmetry operations of a crystal, with tolerances and magnetic moments: the one place where symmetry is searched.

Convention: an operation takes the fractional position x (a column) to ``W x + w``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import spglib
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Operations:
    """The operations of a space group or magnetic space group.

    Attributes
    ----------
    rotations : (n, 3, 3) int64 array
        Rotation parts W.
    translations : (n, 3) float array
        Translation parts w, fractional.
    time_reversals : (n,) bool array
        Whether the operation also reverses all spins; all False without moments.
    """

    rotations: IntArray
    translations: FloatArray
    time_reversals: NDArray[np.bool_]


def find_operations(
    cell: ArrayLike,
    fractional_positions: ArrayLike,
    species: ArrayLike,
    moments: ArrayLike | None = None,
    *,
    symprec: float,
    magnetic_tolerance: float,
) -> Operations:
    """All operations that bring a crystal onto itself.

    Parameters
    ----------
    cell : (3, 3) array, Å
        Lattice vectors as rows.
    fractional_positions : (n, 3) array
    species : (n,) int array
        Atoms with different numbers are never exchanged.
    moments : (n,) or (n, 3) array, Bohr magnetons, optional
        Magnetic moments: scalars do not change under rotations (collinear, without spin-orbit coupling), vectors turn
        as axial vectors. Both change sign when spins are reversed.
    symprec : float, Å
        Distance tolerance.
    magnetic_tolerance : float, Bohr magnetons
        Moments that differ by less are the same.

    Returns
    -------
    Operations
        Without moments, or when all are below the tolerance, no operation reverses spins.

    Raises
    ------
    InputError
        When the search finds nothing, for example because atoms are closer together than the tolerance.
    """
    structure = (np.asarray(cell, dtype=float), np.asarray(fractional_positions, dtype=float), np.asarray(species))
    magnetic = None if moments is None else np.asarray(moments, dtype=float)
    try:
        if magnetic is None or np.max(np.abs(magnetic), initial=0.0) <= magnetic_tolerance:
            found = spglib.get_symmetry_dataset(structure, symprec=symprec)
            if found is not None:
                return _operations(found.rotations, found.translations, np.zeros(len(found.rotations)))
        else:
            found = spglib.get_magnetic_symmetry(
                (*structure, magnetic), symprec=symprec, mag_symprec=magnetic_tolerance, is_axial=magnetic.ndim == 2
            )
            if found is not None:
                return _operations(found["rotations"], found["translations"], found["time_reversals"])
        reason = "spglib gave no answer"
    except spglib.SpglibError as error:
        reason = str(error)
    raise InputError(
        f"The symmetry search failed with symprec = {symprec} Å ({reason}). Check that no two atoms are closer "
        "together than that, or give another symprec."
    )


def _operations(rotations: ArrayLike, translations: ArrayLike, time_reversals: ArrayLike) -> Operations:
    return Operations(
        np.array(rotations, dtype=np.int64), np.array(translations, dtype=float), np.array(time_reversals, dtype=bool)
    )
