"""Grids of q-points: orders, stars, little groups, and which are irreducible.

Convention: a q-point of an ``N1 x N2 x N3`` grid is three integer numerators k, ``q = (k1/N1, k2/N2, k3/N3)`` in
reduced coordinates (columns); rotations R = W^-T act as ``q' = R q``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

import ndsc._core as _core  # Not `from ndsc`, which runs its __init__: see reference/start.py.
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, IntegerOverflowError
from ndsc.progress import Progress, silent

#: Stars that are compared at a time, to bound the memory.
JOINED_AT_A_TIME = 50_000

#: The largest division of a grid that the compiled core takes.
MOST_DIVISIONS = 1 << 20

IntArray = NDArray[np.int64]
Grid = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class QpointMap:
    """The irreducible q-points of a grid, and which one each q-point of the grid is equivalent to.

    Attributes
    ----------
    numerators : (n, 3) int64 array
        One q-point of each star, ``q = numerators / grid``.
    weights : (n,) int64 array
        How many q-points of the grid each stands for.
    mapping : (N1, N2, N3) uint32 array
        For the q-point ``(i/N1, j/N2, k/N3)`` the number of its star, at ``mapping[i, j, k]``.
    """

    numerators: IntArray
    weights: IntArray
    mapping: NDArray[np.uint32]


def checked_grid(grid: int | Sequence[int]) -> Grid:
    """The divisions of a grid as three positive integers; one integer means the same along each axis.

    Raises
    ------
    InputError
        When `grid` is neither one nor three integers, or one of them is below 1.
    """
    if type(grid) is int and 0 < grid <= MOST_DIVISIONS:
        return grid, grid, grid
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
    not_integers = f"{name} {values!r} is not made of integers. Give {wanted}."
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(not_integers) from error
    if array.dtype.kind == "O" and not all(isinstance(x, int) and not isinstance(x, bool) for x in array.ravel()):
        raise InputError(not_integers)
    if array.dtype.kind not in "iufO" or (array.dtype.kind == "f" and not np.all(array == np.rint(array))):
        raise InputError(not_integers)
    limits = np.iinfo(np.int64)
    # Comparing as Python integers: float64 rounds the limit itself up.
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise IntegerOverflowError(f"{name} {values!r} does not fit into 64-bit integers. Give smaller numbers.")
    return np.array(array, dtype=np.int64, order="C")


def checked_qpoint(q: Any) -> IntArray:
    """(3,) int64 array : a q-point given as three integer numerators.

    Raises
    ------
    InputError
        When `q` is anything else.
    """
    numerators = checked_integers(q, "The q-point", "three integer numerators over the grid")
    if numerators.shape != (3,):
        raise InputError(f"The q-point {q!r} is not three numbers. Give three integer numerators over the grid.")
    return numerators


def q_rotations(crystal: Crystal) -> IntArray:
    """(m, 3, 3) int64 array, contiguous : the rotations that act on reduced q-points."""
    return np.ascontiguousarray(crystal.reciprocal_rotations, dtype=np.int64)


def available_memory() -> int:
    """Bytes that can still be used on this machine; 4 GB where the system does not say."""
    try:
        with open("/proc/meminfo", "rb") as file:
            # The line is the third; making the whole file takes the kernel longer than reading it.
            head = file.read(256)
    except FileNotFoundError:
        return 4_000_000_000
    _, found, rest = head.partition(b"MemAvailable:")
    return int(rest.split()[0]) * 1024 if found else 4_000_000_000


def reporter(progress: Progress, task: str) -> Callable[[int, int], None] | None:
    """What the compiled core calls with (done, total); None, which it skips, when nobody listens."""
    if progress is silent:
        return None
    return lambda done, total: progress(task, done, total)


def irreducible_qpoints(
    atoms: Atoms | Crystal,
    grid: int | Sequence[int],
    *,
    time_reversal: bool = True,
    progress: Progress = silent,
) -> tuple[IntArray, IntArray]:
    """The irreducible q-points of a grid under the point group of the crystal.

    Memory: one bit for each q-point of the grid, 8 bytes for each line of them along the third axis, and at most
    64 bytes for each irreducible one (fcc 1000x1000x1000: 0.8 GB, the whole process).

    Parameters
    ----------
    atoms : ase.Atoms or Crystal
        The unit cell, primitive or not; or its :class:`Crystal`, whose symmetry is then not searched for again.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors of `atoms`. Two q-points of the grid are equivalent
        when any rotation of the crystal relates them, also one that does not map all of the grid onto itself.
    time_reversal : bool
        Count -q as equivalent to q.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    numerators : (n, 3) int64 array
        One q-point of each star, ``q = numerators / grid``: the first in the order of the grid (third axis fastest).
    weights : (n,) int64 array
        How many q-points of the grid each stands for; they add up to ``N1 N2 N3``.

    Raises
    ------
    InputError
        When `atoms` is no crystal, `grid` is no grid, or the memory does not suffice.
    """
    divisions = checked_grid(grid)
    rotations = q_rotations(as_crystal(atoms))
    report = reporter(progress, "irreducible q-points")
    found = _core.irreducible_qpoints(divisions, rotations, bool(time_reversal), available_memory(), report)
    numerators, weights, _ = _join_stars(*found, rotations, divisions, time_reversal=time_reversal)
    return numerators, weights


def map_qpoints(
    atoms: Atoms | Crystal,
    grid: int | Sequence[int],
    *,
    time_reversal: bool = True,
    progress: Progress = silent,
) -> QpointMap:
    """The irreducible q-points of a grid, with the map from every q-point of the grid to its star.

    Memory: 4 bytes for each q-point of the grid, 8 bytes for each line of them along the third axis, and at most
    64 bytes for each irreducible one (fcc 200x200x200: 32 MB for the map, 6 MB for the rest).

    Parameters
    ----------
    atoms, grid, time_reversal, progress
        As for :func:`irreducible_qpoints`.

    Raises
    ------
    InputError
        When `atoms` is no crystal, `grid` is no grid, or the memory does not suffice.
    """
    divisions = checked_grid(grid)
    rotations = q_rotations(as_crystal(atoms))
    report = reporter(progress, "irreducible q-points")
    found = _core.irreducible_qpoints_with_map(divisions, rotations, bool(time_reversal), available_memory(), report)
    numerators, weights, mapping = found
    numerators, weights, joined = _join_stars(numerators, weights, rotations, divisions, time_reversal=time_reversal)
    return QpointMap(numerators, weights, mapping if joined is None else joined[mapping])


def _join_stars(
    numerators: IntArray, weights: IntArray, rotations: IntArray, grid: Grid, *, time_reversal: bool
) -> tuple[IntArray, IntArray, NDArray[np.uint32] | None]:
    """Join the stars that only rotations relate which do not map the whole grid onto itself.

    Parameters
    ----------
    numerators : (n, 3) int64 array
        The first q-point of each star under the rotations that keep the grid, in the order of the grid.
    weights : (n,) int64 array
    rotations : (m, 3, 3) int64 array
        All rotations of the crystal.

    Returns
    -------
    numerators, weights : int64 arrays
        Of the joined stars.
    joined : (n,) uint32 array or None
        The new number of each star; None when every rotation keeps the grid, and so nothing is joined.
    """
    if len(set(grid)) == 1:
        return numerators, weights, None
    divisions = np.array(grid, dtype=np.int64)
    keeps = np.all((rotations * divisions[None, :, None]) % divisions[None, None, :] == 0, axis=(1, 2))
    if np.all(keeps):
        return numerators, weights, None
    signs = (1, -1) if time_reversal else (1,)
    kept = [sign * rotation for rotation in rotations[keeps] for sign in signs]
    other = [sign * rotation for rotation in rotations[~keeps] for sign in signs]
    common = math.lcm(*grid)
    step = common // divisions
    strides = np.array([grid[1] * grid[2], grid[2], 1])
    places = numerators @ strides
    first = places.copy()
    for start in range(0, len(numerators), JOINED_AT_A_TIME):
        fractions = numerators[start : start + JOINED_AT_A_TIME] * step
        for rotation in other:
            images = (fractions @ rotation.T) % common
            on_grid = np.flatnonzero(np.all(images % step == 0, axis=1))
            if on_grid.size == 0:
                continue
            # A star is known by the place of its first q-point.
            stars = np.min([((images[on_grid] @ one.T) % common // step) @ strides for one in kept], axis=0)
            first[start + on_grid] = np.minimum(first[start + on_grid], stars)
    remaining, joined = np.unique(np.searchsorted(places, first), return_inverse=True)
    sums = np.bincount(joined, weights=weights).astype(np.int64)
    return numerators[remaining], sums, joined.astype(np.uint32)


def qpoint_order(q: Sequence[int], grid: int | Sequence[int]) -> int:
    """The smallest m for which m q is a reciprocal lattice vector; q is three numerators over the grid.

    Raises
    ------
    InputError
        When `q` is no q-point or `grid` no grid.
    """
    return int(_core.orders(checked_grid(grid), checked_qpoint(q)[None, :])[0])


def is_commensurate(matrix: Any, q: Sequence[int], grid: int | Sequence[int]) -> bool:
    """Whether the supercell `matrix` (rows) holds q, three numerators over the grid: ``matrix @ q`` integer.

    Raises
    ------
    InputError
        When `matrix` is no (3, 3) matrix of integers, `q` is no q-point or `grid` no grid.
    """
    checked = checked_integers(matrix, "The supercell matrix", "a (3, 3) matrix of integers")
    if checked.shape != (3, 3):
        raise InputError(f"The supercell matrix has the shape {checked.shape}. Give a (3, 3) matrix of integers.")
    return bool(_core.are_commensurate(checked_grid(grid), checked, checked_qpoint(q)[None, :])[0])


def smallest_supercell(q: Sequence[int], grid: int | Sequence[int]) -> IntArray:
    """(3, 3) int64 array : the one smallest supercell that holds q, as a Hermite normal form.

    Its size is the order of q; no other supercell of that size holds q.

    Raises
    ------
    InputError
        When `q` is no q-point or `grid` no grid.
    """
    form: IntArray = _core.smallest_supercells(checked_grid(grid), checked_qpoint(q)[None, :])[0]
    return form


def star(atoms: Atoms | Crystal, q: Sequence[int], grid: int | Sequence[int]) -> tuple[IntArray, IntArray]:
    """The star of a q-point under the rotations that keep the grid.

    Returns
    -------
    numerators : (n, 3) int64 array
        The distinct images of q, in order.
    rotations : (n, 3, 3) int64 array
        For each a rotation R (columns) that leads there: ``R q``.

    Raises
    ------
    InputError
        When `atoms` is no crystal, `q` is no q-point or `grid` no grid.
    """
    rotations = q_rotations(as_crystal(atoms))
    numerators, indices = _core.star(checked_grid(grid), rotations, checked_qpoint(q).tolist())
    return numerators, rotations[indices]


def little_group(atoms: Atoms | Crystal, q: Sequence[int], grid: int | Sequence[int]) -> IntArray:
    """(n, 3, 3) int64 array : the rotations R (columns) with ``R q = q`` up to a reciprocal lattice vector.

    Raises
    ------
    InputError
        When `atoms` is no crystal, `q` is no q-point or `grid` no grid.
    """
    rotations = q_rotations(as_crystal(atoms))
    indices = _core.little_group(checked_grid(grid), rotations, checked_qpoint(q).tolist())
    return rotations[indices]
