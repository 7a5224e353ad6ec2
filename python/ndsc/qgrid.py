"""Grids of q-points: orders, stars, little groups, and which are irreducible.

Convention: a q-point is three fractions, reduced coordinates (columns), and lies on an ``N1 x N2 x N3`` grid:
``q = (k1/N1, k2/N2, k3/N3)``. Inside, it is its integer numerators k. Rotations R = W^-T act as ``q' = R q``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc import _core
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.integers import checked_integers, checked_matrix
from ndsc.progress import Progress, silent

#: Stars that are compared at a time, to bound the memory.
JOINED_AT_A_TIME = 50_000

#: The largest division of a grid that the compiled core takes.
MOST_DIVISIONS = 1 << 20

#: How far a fraction may be from a point of the grid.
OFF_GRID = 1e-9

#: Grids of so many q-points never take more than so many bytes; for larger ones the system is asked.
SMALL_GRID, SMALL_MEMORY = 1 << 20, 1 << 28

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Grid = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class IrreducibleQpoints:
    """One q-point of each star of a grid. Unpacks to (qpoints, weights).

    Attributes
    ----------
    grid : 3 ints
    numerators : (n, 3) int64 array
        The first q-point of each star in the order of the grid (third axis fastest), ``qpoints = numerators / grid``.
    weights : (n,) int64 array
        How many q-points of the grid each stands for; they add up to ``N1 N2 N3``.
    """

    grid: Grid
    numerators: IntArray
    weights: IntArray

    @cached_property
    def qpoints(self) -> FloatArray:
        """(n, 3) float array : the q-points as fractions."""
        qpoints: FloatArray = self.numerators / np.array(self.grid)
        return qpoints

    def _pair(self) -> tuple[FloatArray, IntArray]:
        return self.qpoints, self.weights

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pair())

    def __getitem__(self, index: int) -> Any:
        return self._pair()[index]

    def __len__(self) -> int:
        return 2


@dataclass(frozen=True, eq=False)
class QpointMap(IrreducibleQpoints):
    """The irreducible q-points of a grid, and which one each q-point of the grid is equivalent to.

    Attributes
    ----------
    mapping : (N1, N2, N3) uint32 array
        For the q-point ``(i/N1, j/N2, k/N3)`` the number of its star, at ``mapping[i, j, k]``.
    """

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


def qpoint_numerators(q: Sequence[Any], grid: Grid) -> IntArray:
    """(3,) int64 array : the integer numerators over the grid of a q-point given as fractions.

    Parameters
    ----------
    q : 3 numbers
        Fractions, as floats or :class:`fractions.Fraction`. Three ints that are not all zero are taken for numerators,
        as they were before: as fractions they would all be the same q-point, Γ.
    grid : 3 ints

    Raises
    ------
    InputError
        When `q` is not three numbers, or is not on the grid within 1e-9.
    """
    wanted = "three fractions of reciprocal lattice vectors, for example (0.25, 0, 0.5)"
    try:
        values = list(q)
        is_integer = [isinstance(x, Integral) and not isinstance(x, bool | np.bool_) for x in values]
        fractions = [float(x) for x in values if not isinstance(x, str)]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"The q-point {q!r} does not consist of three numbers. Give {wanted}.") from error
    if len(fractions) != 3 or len(values) != 3 or not all(math.isfinite(x) for x in fractions):
        raise InputError(f"The q-point {q!r} does not consist of three finite numbers. Give {wanted}.")
    if all(is_integer):
        numerators = checked_integers(values, "The q-point", wanted)
        if numerators.any():
            warnings.warn(
                f"The q-point {tuple(numerators.tolist())} is taken for numerators over the grid {grid}. Give "
                f"fractions: ({', '.join(f'{k}/{n}' for k, n in zip(numerators.tolist(), grid, strict=True))}).",
                DeprecationWarning,
                stacklevel=3,
            )
        return numerators
    scaled = np.array(fractions) * np.array(grid)
    nearest = np.rint(scaled)
    off = np.abs(scaled - nearest) > OFF_GRID * np.maximum(np.array(grid), np.abs(scaled))
    if off.any() or np.abs(nearest).max() >= 2**53:
        axis = int(np.argmax(off))
        raise InputError(
            f"The q-point {tuple(fractions)} is not on the grid {grid}: {fractions[axis]} is not a multiple of "
            f"1/{grid[axis]}. The nearest q-point of the grid is {tuple((nearest / np.array(grid)).tolist())}."
        )
    numbers: IntArray = nearest.astype(np.int64)
    return numbers


def q_rotations(crystal: Crystal) -> IntArray:
    """(m, 3, 3) int64 array, contiguous : the rotations that act on reduced q-points."""
    return np.ascontiguousarray(crystal.reciprocal_rotations, dtype=np.int64)


def keeps_grid(rotations: IntArray, grid: Sequence[int]) -> NDArray[np.bool_]:
    """(n,) bool array : whether a rotation R of q-points maps the grid onto itself, ``N_i R_ij / N_j`` integer."""
    if len(set(grid)) == 1:
        return np.ones(len(rotations), dtype=bool)
    n = np.array(grid, dtype=np.int64)
    kept: NDArray[np.bool_] = np.all(n[:, None] * rotations % n[None, :] == 0, axis=(1, 2))
    return kept


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


def memory_for(grid: Grid) -> int:
    """Bytes that work on a grid may use; asking the system would take longer than the work on a small grid."""
    return SMALL_MEMORY if math.prod(grid) <= SMALL_GRID else available_memory()


def reporter(progress: Progress, task: str) -> Callable[[int, int], None] | None:
    """What the compiled core calls with (done, total); None, which it skips, when nobody listens."""
    if progress is silent:
        return None
    return lambda done, total: progress(task, done, total)


def irreducible_qpoints(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    *,
    symprec: float | None = None,
    time_reversal: bool = True,
    progress: Progress = silent,
) -> IrreducibleQpoints:
    """The irreducible q-points of a grid under the point group of the crystal.

    Memory: one bit for each q-point of the grid, 8 bytes for each line of them along the third axis, and at most
    64 bytes for each irreducible one (fcc 1000x1000x1000: 0.8 GB, the whole process).

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not; or its :class:`Crystal`, whose symmetry is then not searched for again.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors. Two q-points of the grid are equivalent when any
        rotation of the crystal relates them, also one that does not map all of the grid onto itself.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search.
    time_reversal : bool
        Count -q as equivalent to q.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    IrreducibleQpoints
        Unpacks to the q-points as fractions, (n, 3), and their weights, (n,).

    Raises
    ------
    InputError
        When `structure` is not a crystal, `grid` is not a grid, or the memory does not suffice.
    """
    divisions = checked_grid(grid)
    rotations = q_rotations(as_crystal(structure, symprec=symprec))
    report = reporter(progress, "irreducible q-points")
    found = _core.irreducible_qpoints(divisions, rotations, bool(time_reversal), memory_for(divisions), report)
    numerators, weights, _ = _join_stars(*found, rotations, divisions, time_reversal=time_reversal)
    return IrreducibleQpoints(divisions, numerators, weights)


def map_qpoints(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    *,
    symprec: float | None = None,
    time_reversal: bool = True,
    progress: Progress = silent,
) -> QpointMap:
    """The irreducible q-points of a grid, with the map from every q-point of the grid to its star.

    Memory: 4 bytes for each q-point of the grid, 8 bytes for each line of them along the third axis, and at most
    64 bytes for each irreducible one (fcc 200x200x200: 32 MB for the map, 6 MB for the rest).

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.
    time_reversal : bool
        Count -q as equivalent to q.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    QpointMap

    Raises
    ------
    InputError
        When `structure` is not a crystal, `grid` is not a grid, or the memory does not suffice.
    """
    divisions = checked_grid(grid)
    rotations = q_rotations(as_crystal(structure, symprec=symprec))
    report = reporter(progress, "irreducible q-points")
    found = _core.irreducible_qpoints_with_map(divisions, rotations, bool(time_reversal), memory_for(divisions), report)
    numerators, weights, mapping = found
    numerators, weights, joined = _join_stars(numerators, weights, rotations, divisions, time_reversal=time_reversal)
    return QpointMap(divisions, numerators, weights, mapping if joined is None else joined[mapping])


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
    keeps = keeps_grid(rotations, grid)
    if np.all(keeps):
        return numerators, weights, None
    divisions = np.array(grid, dtype=np.int64)
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


def qpoint_order(q: Sequence[Any], grid: int | Sequence[int]) -> int:
    """The smallest m for which m q is a reciprocal lattice vector.

    Parameters
    ----------
    q : 3 fractions
        A q-point of the grid, see :func:`qpoint_numerators`.
    grid : int or 3 ints

    Returns
    -------
    int
        The number of unit cells in the smallest supercell that holds q.

    Raises
    ------
    InputError
        When `q` is not on the grid or `grid` is not a grid.
    """
    divisions = checked_grid(grid)
    return int(_core.orders(divisions, qpoint_numerators(q, divisions)[None, :])[0])


def is_commensurate(matrix: Any, q: Sequence[Any], grid: int | Sequence[int]) -> bool:
    """Whether the supercell `matrix` (rows) holds a q-point of the grid: ``matrix @ q`` integer, exactly.

    Parameters
    ----------
    matrix : (3, 3) int array
        Supercell matrix; rows are lattice vectors in units of the unit cell.
    q : 3 fractions
        A q-point of the grid, reduced coordinates; see :func:`qpoint_numerators`.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        When `matrix` is not a (3, 3) matrix of integers, `q` is not on the grid or `grid` is not a grid.
    """
    checked = checked_matrix(matrix)
    divisions = checked_grid(grid)
    return bool(_core.are_commensurate(divisions, checked, qpoint_numerators(q, divisions)[None, :])[0])


def smallest_supercell(q: Sequence[Any], grid: int | Sequence[int]) -> IntArray:
    """(3, 3) int64 array : the one smallest supercell that holds a q-point of the grid, as a Hermite normal form.

    Its size is the order of q; no other supercell of that size holds q.

    Parameters
    ----------
    q : 3 fractions
        A q-point of the grid, reduced coordinates; see :func:`qpoint_numerators`.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.

    Raises
    ------
    InputError
        When `q` is not on the grid or `grid` is not a grid.
    """
    divisions = checked_grid(grid)
    form: IntArray = _core.smallest_supercells(divisions, qpoint_numerators(q, divisions)[None, :])[0]
    return form


def star(
    structure: Atoms | Crystal, q: Sequence[Any], grid: int | Sequence[int], *, symprec: float | None = None
) -> tuple[FloatArray, IntArray]:
    """The star of a q-point under the rotations that keep the grid.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not.
    q : 3 fractions
        A q-point of the grid, reduced coordinates; see :func:`qpoint_numerators`.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Returns
    -------
    qpoints : (n, 3) float array
        The distinct images of q, fractions in 0 to 1, in order.
    rotations : (n, 3, 3) int64 array
        For each a rotation R (columns) that leads there: ``R q``.

    Raises
    ------
    InputError
        When `structure` is not a crystal, `q` is not on the grid or `grid` is not a grid.
    """
    rotations = q_rotations(as_crystal(structure, symprec=symprec))
    divisions = checked_grid(grid)
    numerators, indices = _core.star(divisions, rotations, qpoint_numerators(q, divisions).tolist())
    return numerators / np.array(divisions), rotations[indices]


def little_group(
    structure: Atoms | Crystal, q: Sequence[Any], grid: int | Sequence[int], *, symprec: float | None = None
) -> IntArray:
    """(n, 3, 3) int64 array : the rotations R (columns) with ``R q = q`` up to a reciprocal lattice vector.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not.
    q : 3 fractions
        A q-point of the grid, reduced coordinates; see :func:`qpoint_numerators`.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Raises
    ------
    InputError
        When `structure` is not a crystal, `q` is not on the grid or `grid` is not a grid.
    """
    rotations = q_rotations(as_crystal(structure, symprec=symprec))
    divisions = checked_grid(grid)
    indices = _core.little_group(divisions, rotations, qpoint_numerators(q, divisions).tolist())
    return rotations[indices]
