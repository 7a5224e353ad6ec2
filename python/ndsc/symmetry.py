"""Symmetry operations of a crystal, with tolerances and magnetic moments: the one place where symmetry is searched.

Convention: an operation takes the fractional position x (a column) to ``W x + w``.

The search is moyo's (K. Shinohara, https://github.com/spglib/moyo), in the compiled core. spglib decides where the
tolerance does: when moyo finds no group without making the tolerance smaller, or when an atom is off the place of its
image by more than a quarter of the tolerance. There the two programs differ, because they choose the origin of an
operation differently; phonopy searches with spglib, and both should see the same crystal. Where all distances are well
inside the tolerance they find the same operations (tests/property/test_symmetry.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndsc import _core
from ndsc.errors import InputError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

#: Largest distance, relative to the tolerance, at which moyo and spglib are sure to agree.
CLEAR = 0.25


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
    rows = np.ascontiguousarray(cell, dtype=float)
    positions = np.ascontiguousarray(fractional_positions, dtype=float)
    kinds = np.ascontiguousarray(species, dtype=np.int64)
    magnetic = None if moments is None else _distinct_moments(np.asarray(moments, dtype=float), magnetic_tolerance)
    columns = None if magnetic is None else magnetic.reshape(len(kinds), -1)
    found = _core.symmetry_operations(rows, positions, kinds, columns, symprec, magnetic_tolerance)
    if found is not None:
        rotations, translations, time_reversals, used, distance = found
        if used == symprec and distance <= CLEAR * symprec:
            return Operations(rotations, translations, time_reversals)
    return _by_spglib(rows, positions, kinds, magnetic, symprec, magnetic_tolerance)


def distinct_rotations(rotations: IntArray) -> IntArray:
    """(m, 3, 3) int64 array : the distinct ones among (n, 3, 3) integer matrices, sorted."""
    rows = rotations.reshape(len(rotations), 9)
    ordered = rows[np.lexsort(rows.T[::-1])]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    distinct: IntArray = ordered[new].reshape(-1, 3, 3)
    return distinct


def _distinct_moments(moments: FloatArray, tolerance: float) -> FloatArray | None:
    """The moments, equal where they differ by less than the tolerance; None when all are below it.

    Without this, the first and the last of a row of moments could differ while neighbours do not, and the operations
    would be no group. Components of vectors are left alone: which of them can become equal depends on the rotations.
    """
    sizes = np.abs(moments)
    if np.max(sizes, initial=0.0) <= tolerance:
        return None
    if moments.ndim == 2:
        return moments
    order = np.argsort(sizes)
    steps = np.diff(sizes[order], prepend=0.0) > tolerance
    classes = np.empty(len(moments), dtype=np.int64)
    classes[order] = np.cumsum(steps)
    means = np.bincount(classes, weights=sizes) / np.maximum(np.bincount(classes), 1)
    # Class 0 begins at zero: moments that are none.
    means[0] = 0.0
    equal: FloatArray = np.sign(moments) * means[classes]
    return equal


def _by_spglib(
    cell: FloatArray,
    positions: FloatArray,
    species: IntArray,
    moments: FloatArray | None,
    symprec: float,
    magnetic_tolerance: float,
) -> Operations:
    import spglib

    try:
        if moments is None:
            found = spglib.get_symmetry_dataset((cell, positions, species), symprec=symprec)
            if found is not None:
                return _operations(found.rotations, found.translations, np.zeros(len(found.rotations)))
        else:
            found = spglib.get_magnetic_symmetry(
                (cell, positions, species, moments),
                symprec=symprec,
                mag_symprec=magnetic_tolerance,
                is_axial=moments.ndim == 2,
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
