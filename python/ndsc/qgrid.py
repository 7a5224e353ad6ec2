"""Grids of q-points: which are irreducible, and how checked input reaches the compiled core.

Convention: a q-point of an ``N1 x N2 x N3`` grid is three integer numerators k, ``q = (k1/N1, k2/N2, k3/N3)`` in
reduced coordinates (columns); rotations R = W^-T act as ``q' = R q``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc import _core
from ndsc.crystal import Crystal
from ndsc.errors import InputError, IntegerOverflowError

IntArray = NDArray[np.int64]
Grid = tuple[int, int, int]


def checked_grid(grid: int | Sequence[int]) -> Grid:
    """The divisions of a grid as three positive integers; one integer means the same along each axis.

    Raises
    ------
    InputError
        When `grid` is neither one nor three integers, or one of them is below 1.
    """
    array = checked_integers(grid, "The grid", "one integer or three, for example 4 or (4, 4, 2)")
    if array.shape == ():
        array = np.repeat(array, 3)
    if array.shape != (3,):
        raise InputError(
            f"The grid {grid!r} has the shape {array.shape}. Give one integer or three, for example 4 or (4, 4, 2)."
        )
    if np.any(array < 1):
        raise InputError(f"The grid {array.tolist()} has a division below 1. Give positive integers.")
    return int(array[0]), int(array[1]), int(array[2])


def checked_integers(values: Any, name: str, wanted: str) -> IntArray:
    """`values` as an int64 array, refusing what is not exactly integer.

    Raises
    ------
    InputError
        When a value is no integer.
    IntegerOverflowError
        When a value does not fit into 64 bits.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} {values!r} is not made of integers. Give {wanted}.") from error
    if array.dtype == bool or array.dtype.kind not in "iuf" + ("O" if _all_int(array) else ""):
        raise InputError(f"{name} {values!r} is not made of integers. Give {wanted}.")
    if array.dtype.kind == "f" and not np.all(array == np.rint(array)):
        raise InputError(f"{name} {values!r} is not made of integers. Give {wanted}.")
    if array.size and (array.max() > np.iinfo(np.int64).max or array.min() < np.iinfo(np.int64).min):
        raise IntegerOverflowError(f"{name} {values!r} does not fit into 64-bit integers. Give smaller numbers.")
    return np.ascontiguousarray(array, dtype=np.int64) if array.shape else np.array(int(array), dtype=np.int64)


def _all_int(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "O" and all(isinstance(x, int) and not isinstance(x, bool) for x in array.ravel())


def irreducible_qpoints(
    atoms: Atoms, grid: int | Sequence[int], *, time_reversal: bool = True
) -> tuple[IntArray, IntArray]:
    """The irreducible q-points of a grid under the point group of the crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell, primitive or not.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors of `atoms`. Only rotations that map the grid onto
        itself are used.
    time_reversal : bool
        Count -q as equivalent to q.

    Returns
    -------
    numerators : (n, 3) int64 array
        One q-point of each star, ``q = numerators / grid``: the first in the order of the grid (third axis fastest).
    weights : (n,) int64 array
        How many q-points of the grid each stands for; they add up to ``N1 N2 N3``.

    Raises
    ------
    InputError
        When `atoms` is no crystal or `grid` is no grid.
    """
    divisions = checked_grid(grid)
    rotations = Crystal.from_atoms(atoms).reciprocal_rotations
    return _core.irreducible_qpoints(divisions, np.ascontiguousarray(rotations), bool(time_reversal))
