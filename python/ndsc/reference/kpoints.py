"""k-points of a supercell, folded from the grid of the unit cell.

A supercell S of a crystal sampled by a grid of k-points is sampled *exactly as well* by the points ``S k mod 1``: total
energies per atom of the perfect crystal then agree between all supercells, and what is left between the configurations
of a database is physics. Grids of "the same density" chosen for each supercell separately leave noise of 1 to 12 meV
per atom.

Codes that take an explicit list with weights need one of each set of points that symmetry makes equal: always k and -k,
by time reversal; those that rotations of the supercell turn into each other only where the code applies the same
rotations to its density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError

#: Largest number of k-points of the unit cell that is worked out in memory.
LARGEST_GRID = 20_000_000


def fold_kpoints(matrix: ArrayLike, kgrid: int | Sequence[int]) -> NDArray[np.float64]:
    """The k-points of a supercell that are equivalent to a Γ-centred grid of the unit cell.

    Parameters
    ----------
    matrix : (3, 3) int array
        Supercell matrix S, rows are the supercell's vectors in those of the unit cell.
    kgrid : int or sequence of three ints
        Γ-centred grid of the unit cell.

    Returns
    -------
    (n, 3) array
        The distinct points ``S k mod 1`` in reduced coordinates of the supercell, in (-1/2, 1/2], sorted; each stands
        for as many points of the grid, so all have the weight 1/n.

    Raises
    ------
    InputError
        When the matrix is singular or not of integers, or the grid is not of three positive integers.

    Examples
    --------
    >>> fold_kpoints([[2, 0, 0], [0, 1, 0], [0, 0, 1]], (4, 1, 1))
    array([[0. , 0. , 0. ],
           [0.5, 0. , 0. ]])
    """
    folded, common = _folded(matrix, kgrid)
    fractional: NDArray[np.float64] = folded / float(common)
    return fractional


def reduced_kpoints(
    matrix: ArrayLike,
    kgrid: int | Sequence[int],
    *,
    time_reversal: bool = True,
    rotations: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The folded k-points of a supercell without those that symmetry makes equal, and their weights.

    Found in exact integers. The fractional points hold for the strained, scaled and displaced supercell as well; only
    `rotations` must be those that it still has.

    Parameters
    ----------
    matrix : (3, 3) int array
        Supercell matrix S, rows are the supercell's vectors in those of the unit cell.
    kgrid : int or sequence of three ints
        Γ-centred grid of the unit cell.
    time_reversal : bool
        Whether k and -k are equal; they are without magnetic fields and spin-orbit coupling.
    rotations : (n, 3, 3) int array, optional
        Rotations of the supercell's space group, as spglib gives them: ``x' = W x`` for fractional coordinates in
        columns. Generators of the group are enough.

    Returns
    -------
    points : (n, 3) array
        In reduced coordinates of the supercell, in (-1/2, 1/2], sorted. Of k and -k, the one whose first number that
        is not 0 or 1/2 is positive.
    weights : (n,) array
        The part of the folded points that each stands for; their sum is 1.

    Raises
    ------
    InputError
        As :func:`fold_kpoints`, and when a rotation is no integer matrix of determinant 1 or -1, or turns folded
        points into others: the grid does not have the symmetry.

    Examples
    --------
    >>> points, weights = reduced_kpoints([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (4, 1, 1))
    >>> points
    array([[0.  , 0.  , 0.  ],
           [0.25, 0.  , 0.  ],
           [0.5 , 0.  , 0.  ]])
    >>> weights
    array([0.25, 0.5 , 0.25])
    """
    folded, common = _folded(matrix, kgrid)
    codes = _codes(folded, common)
    # The last of an orbit stands for it: of k and -k in (-1/2, 1/2], the one that is positive.
    of = np.arange(len(folded))
    maps = [_image(codes, folded @ rotation, common) for rotation in _rotations(rotations)]
    if time_reversal:
        maps.append(_image(codes, -folded, common))
    settled = False
    while not settled:
        before = of.copy()
        for image in maps:
            np.maximum(of, of[image], out=of)
            np.maximum.at(of, image, of.copy())
        settled = bool(np.array_equal(before, of))
    representatives, counts = np.unique(of, return_counts=True)
    return folded[representatives] / float(common), counts / float(len(folded))


def _folded(matrix: ArrayLike, kgrid: int | Sequence[int]) -> tuple[NDArray[np.int64], int]:
    """The folded points as sorted numerators in (-d/2, d/2], and their common denominator d."""
    supercell = _supercell_matrix(matrix)
    grid = _kgrid(kgrid)
    common = math.lcm(*grid)
    if common > 2**20:
        raise InputError(
            f"kgrid = {list(grid)} has the least common multiple {common}, past what is supported (2**20). "
            "Choose numbers with common factors."
        )
    axes = [np.arange(n, dtype=np.int64) * (common // n) for n in grid]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # Reduced modulo the denominator first, the products cannot overflow.
    reduced = np.array([[int(entry) % common for entry in row] for row in supercell.tolist()], dtype=np.int64)
    folded = (points @ reduced.T) % common
    folded = np.where(2 * folded > common, folded - common, folded)
    distinct: NDArray[np.int64] = np.unique(folded, axis=0)
    return distinct, common


def _codes(points: NDArray[np.int64], common: int) -> NDArray[np.int64]:
    """One number for each point, in the order of the points; the denominator is at most 2**20."""
    shifted = points + common  # not negative
    codes: NDArray[np.int64] = (shifted[:, 0] * (2 * common) + shifted[:, 1]) * (2 * common) + shifted[:, 2]
    return codes


def _image(codes: NDArray[np.int64], images: NDArray[np.int64], common: int) -> NDArray[np.int64]:
    """The number of the folded point that each point goes to."""
    images = images % common
    wanted = _codes(np.where(2 * images > common, images - common, images), common)
    found: NDArray[np.int64] = np.searchsorted(codes, wanted)
    if np.any(found == len(codes)) or not np.array_equal(codes[found], wanted):
        raise InputError(
            "A rotation turns the folded k-points into others: the grid of the unit cell does not have this symmetry. "
            "Give rotations of the crystal, and a grid that is equal along equivalent axes."
        )
    return found


def _rotations(rotations: ArrayLike | None) -> NDArray[np.int64]:
    if rotations is None:
        return np.empty((0, 3, 3), dtype=np.int64)
    array = np.asarray(rotations)
    integers: NDArray[np.int64] = np.rint(array).astype(np.int64)
    if array.ndim != 3 or array.shape[1:] != (3, 3) or not np.array_equal(integers, array):
        raise InputError(f"Rotations are n 3x3 matrices of integers, not an array of shape {array.shape}.")
    if np.abs(integers).max(initial=0) > 2**20 or not np.all(np.rint(np.abs(np.linalg.det(integers))) == 1):
        raise InputError("A rotation has a determinant other than 1 or -1. Give rotations in fractional coordinates.")
    return integers


def _supercell_matrix(matrix: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(matrix)
    if array.shape != (3, 3) or not np.issubdtype(array.dtype, np.number):
        raise InputError(f"A supercell matrix is 3x3 integers, not {matrix!r}. Give three rows of three integers.")
    integers: NDArray[np.int64] = np.rint(array).astype(np.int64)
    if not np.array_equal(integers, array):
        raise InputError(f"The supercell matrix {array.tolist()} is not of integers. Give whole numbers.")
    a, b, c = ([int(entry) for entry in row] for row in integers)
    determinant = (
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    if determinant == 0:
        raise InputError(f"The supercell matrix {integers.tolist()} is singular. Give three independent rows.")
    return integers


def _kgrid(kgrid: int | Sequence[int]) -> tuple[int, int, int]:
    numbers = [kgrid] * 3 if isinstance(kgrid, (int, np.integer)) else list(kgrid)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in numbers)
    if len(numbers) != 3 or not whole:
        raise InputError(f"kgrid = {kgrid!r} is not three positive whole numbers. Give for example [8, 8, 8].")
    if math.prod(int(n) for n in numbers) > LARGEST_GRID:
        raise InputError(f"kgrid = {kgrid!r} has more than {LARGEST_GRID} points. Choose a coarser grid.")
    return int(numbers[0]), int(numbers[1]), int(numbers[2])
