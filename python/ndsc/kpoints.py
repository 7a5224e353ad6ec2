"""k-points of a supercell, folded from the grid of the unit cell.

A supercell S of a crystal sampled by a grid of k-points is sampled *exactly as well* by the points ``S k mod 1``: total
energies per atom of the perfect crystal then agree between all supercells, and what is left between the configurations
of a database is physics. Grids of "the same density" chosen for each supercell separately leave noise of 1 to 12 meV
per atom.

This holds for grids that contain, with each point, all points that fold onto the same one, which differ by wave vectors
that are periodic in S. With the grid written as the supercell B whose wave vectors it holds, that is the case when S
tiles B, so when ``B S^-1`` is a matrix of integers; then |det S| points of the grid fold onto each of the
|det B| / |det S| points of the supercell. For a grid of n1 x n2 x n3 points, each n must be a multiple of the number of
steps along that axis after which the lattice of S repeats. Other grids are refused (:func:`check_kgrid_folds`).

The grid of the unit cell is one of three numbers, n1 x n2 x n3 points, or a generalised one: the wave vectors that are
periodic in a supercell B, given as its 3x3 matrix (Moreno and Soler, Phys. Rev. B 45, 13891 (1992)). Three numbers are
the supercell diag(n1, n2, n3). :func:`ndsc.find_kpoint_lattices` looks for those with few points.

Codes that take an explicit list with weights need one of each set of points that symmetry makes equal: always k and -k,
by time reversal; those that rotations of the supercell turn into each other only where the code applies the same
rotations to its density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError, NdscError
from ndsc.integers import adjugate, checked_integers, checked_matrix, determinant

#: A grid of k-points as settings keep it: three numbers, or the rows of a supercell matrix in Hermite normal form.
KpointGrid: TypeAlias = tuple[int, int, int] | tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
#: A grid of k-points as it is given.
AnyGrid: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]] | NDArray[np.int64]

#: Largest number of k-points of the unit cell that is worked out in memory.
LARGEST_GRID = 20_000_000


def normal_kgrid(kgrid: AnyGrid) -> KpointGrid:
    """The one spelling of a grid of k-points.

    Parameters
    ----------
    kgrid : int, three ints, or (3, 3) ints
        Numbers of points along the axes of the unit cell, or the supercell matrix B of a generalised grid, whose rows
        are vectors in those of the unit cell: the |det B| wave vectors that are periodic in B.

    Returns
    -------
    tuple
        Three ints; for a matrix whose lattice has no such grid, the rows of its Hermite normal form.

    Raises
    ------
    InputError
        When it is none of these, or has more than 20 million points.

    Examples
    --------
    >>> normal_kgrid(4)
    (4, 4, 4)
    >>> normal_kgrid([[-2, 2, 2], [2, -2, 2], [2, 2, -2]])
    ((2, 2, 6), (0, 4, 4), (0, 0, 8))
    """
    if isinstance(kgrid, (int, np.integer)) and not isinstance(kgrid, bool):
        kgrid = [int(kgrid)] * 3
    rows: Any = kgrid.tolist() if isinstance(kgrid, np.ndarray) else kgrid
    if not isinstance(rows, (list, tuple)) or len(rows) != 3:
        raise _no_grid(kgrid)
    if all(_is_whole(n) and n > 0 for n in rows):
        numbers = int(rows[0]), int(rows[1]), int(rows[2])
        _check_size(math.prod(numbers), kgrid)
        return numbers
    if not all(isinstance(row, (list, tuple)) and len(row) == 3 and all(map(_is_whole, row)) for row in rows):
        raise _no_grid(kgrid)
    from ndsc.sublattices import hermite_normal_form  # worker processes start faster without it

    try:
        form, _ = hermite_normal_form(np.array(rows, dtype=np.int64))
    except (NdscError, OverflowError) as error:
        raise InputError(
            f"kgrid = {kgrid!r} is not a lattice of k-points: {error} Give three independent rows of whole numbers."
        ) from error
    (a, b, c), (_, d, e), (_, _, f) = form.tolist()
    _check_size(a * d * f, kgrid)
    return (a, d, f) if b == c == e == 0 else ((a, b, c), (0, d, e), (0, 0, f))


def kgrid_text(kgrid: AnyGrid, times: str = "x") -> str:
    """A grid as a person writes it: ``8x8x8``; of a generalised one its number of points, and its matrix."""
    grid = normal_kgrid(kgrid)
    if isinstance(grid[0], int):
        return times.join(map(str, grid))
    return f"{kgrid_size(grid)} points, {kgrid_matrix(grid).tolist()}"


def kgrid_size(kgrid: AnyGrid) -> int:
    """The number of points in the unit cell. Errors are those of :func:`normal_kgrid`."""
    return int(np.prod(np.diag(kgrid_matrix(kgrid))))


def kgrid_matrix(kgrid: AnyGrid) -> NDArray[np.int64]:
    """(3, 3) int64 array : the supercell in which all wave vectors of a grid are periodic, in Hermite normal form.

    Its determinant is the number of points. Errors are those of :func:`normal_kgrid`.
    """
    grid = np.array(normal_kgrid(kgrid), dtype=np.int64)
    return np.diag(grid) if grid.ndim == 1 else grid


def check_kgrid_folds(matrices: ArrayLike | Sequence[ArrayLike], kgrid: AnyGrid | None) -> None:
    """Refuse a grid of k-points that does not fold exactly into all of some supercells.

    Parameters
    ----------
    matrices : (n, 3, 3) int array
        Supercell matrices, rows are the supercell's vectors in those of the unit cell.
    kgrid : int, three ints, (3, 3) ints or None
        Γ-centred grid of the unit cell (:func:`normal_kgrid`); None, for calculators without k-points, passes.

    Raises
    ------
    InputError
        When it does not, naming the nearest grids that do.
    """
    if kgrid is None:
        return
    supercells = [_supercell_matrix(matrix) for matrix in np.asarray(matrices).reshape(-1, 3, 3)]
    wrong = next((supercell for supercell in supercells if _repeats(supercell, kgrid) > 1), None)
    if wrong is None:
        return
    size = abs(determinant(wrong))
    near = " or ".join(f"kgrid = {np.array(grid).tolist()}" for grid in nearest_kgrids(supercells, kgrid))
    raise InputError(
        f"kgrid = {np.array(normal_kgrid(kgrid)).tolist()} does not fold exactly into the supercell {wrong.tolist()} "
        f"of {size} unit cells: the supercell would have other k-points than the unit cell, and their energies could "
        f"not be compared. The closest grids that fold into every supercell are: {near}. ndsc kpoints lists others."
    )


def nearest_kgrids(matrices: ArrayLike | Sequence[ArrayLike], kgrid: AnyGrid) -> list[KpointGrid]:
    """The nearest grids of k-points that fold exactly into all of some supercells.

    Parameters
    ----------
    matrices : (n, 3, 3) int array
        Supercell matrices.
    kgrid : int, three ints, or (3, 3) ints
        The grid that is wanted.

    Returns
    -------
    list of three ints
        The next grid with no more points along any axis, where there is one, and the next with no fewer. Axes with
        the same number of points keep that; of a generalised grid, the cubic one with as many points is taken.
    """
    supercells = [_supercell_matrix(matrix) for matrix in np.asarray(matrices).reshape(-1, 3, 3)]
    grid = normal_kgrid(kgrid)
    wanted = np.array(grid) if isinstance(grid[0], int) else np.full(3, round(kgrid_size(grid) ** (1 / 3)))
    unit = np.eye(3, dtype=np.int64)
    along = [math.lcm(*(_repeats(supercell, unit, axis) for supercell in supercells)) for axis in range(3)]
    steps = np.array([math.lcm(*(step for step, m in zip(along, wanted, strict=True) if m == n)) for n in wanted])
    folding = (np.maximum(1, wanted // steps) * steps, -(-wanted // steps) * steps)
    return list(dict.fromkeys((int(first), int(second), int(third)) for first, second, third in folding))


def fold_kpoints(matrix: ArrayLike, kgrid: AnyGrid, *, exact: bool = True) -> NDArray[np.float64]:
    """The k-points of a supercell that are equivalent to a Γ-centred grid of the unit cell.

    Parameters
    ----------
    matrix : (3, 3) int array
        Supercell matrix S, rows are the supercell's vectors in those of the unit cell.
    kgrid : int, three ints, or (3, 3) ints
        Γ-centred grid of the unit cell (:func:`normal_kgrid`).
    exact : bool
        Refuse a grid that does not fold exactly. With False, the distinct points of any grid are returned; where it
        does not fold exactly, they do not sample the supercell as the grid samples the unit cell.

    Returns
    -------
    (n, 3) array
        The distinct points ``S k mod 1`` in reduced coordinates of the supercell, in (-1/2, 1/2], sorted; each stands
        for as many points of the grid, so all have the weight 1/n.

    Raises
    ------
    InputError
        When the matrix is singular or not of integers, the grid is invalid, or it does not fold exactly into the
        supercell (:func:`check_kgrid_folds`).

    Examples
    --------
    >>> fold_kpoints([[2, 0, 0], [0, 1, 0], [0, 0, 1]], (4, 1, 1))
    array([[0. , 0. , 0. ],
           [0.5, 0. , 0. ]])
    """
    folded, common = _folded(matrix, kgrid, exact=exact)
    fractional: NDArray[np.float64] = folded / float(common)
    return fractional


def reduced_kpoints(
    matrix: ArrayLike,
    kgrid: AnyGrid,
    *,
    time_reversal: bool = True,
    rotations: ArrayLike | None = None,
    exact: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The folded k-points of a supercell without those that symmetry makes equal, and their weights.

    Found in exact integers. The fractional points hold for the strained, scaled and displaced supercell as well; only
    `rotations` must be those that it still has.

    Parameters
    ----------
    matrix : (3, 3) int array
        Supercell matrix S, rows are the supercell's vectors in those of the unit cell.
    kgrid : int, three ints, or (3, 3) ints
        Γ-centred grid of the unit cell (:func:`normal_kgrid`).
    time_reversal : bool
        Whether k and -k are equal; they are without magnetic fields and spin-orbit coupling.
    rotations : (n, 3, 3) int array, optional
        Rotations of the supercell's space group, as spglib gives them: ``x' = W x`` for fractional coordinates in
        columns. Generators of the group are enough.
    exact : bool
        As for :func:`fold_kpoints`.

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
        As :func:`fold_kpoints`, and when a rotation is not an integer matrix of determinant 1 or -1, or turns folded
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
    folded, common = _folded(matrix, kgrid, exact=exact)
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


def k_spacing(cell: ArrayLike, kgrid: AnyGrid) -> float:
    """Spacing of a k-point grid in 1/Å, without the factor 2π, as CASTEP's ``kpoints_mp_spacing`` counts it.

    Parameters
    ----------
    cell : (3, 3) array, Å
        Of the unit cell; rows are vectors.
    kgrid : int, three ints or (3, 3) ints

    Returns
    -------
    float
        The largest of the three directions: ``|b_i| / n_i`` with ``a_i · b_j = δ_ij``. Of a generalised
        grid, that of the reduced vectors of its supercell.
    """
    matrix = kgrid_matrix(kgrid)
    supercell = matrix @ np.asarray(cell, dtype=float)
    if not np.array_equal(matrix, np.diag(np.diag(matrix))):
        supercell, _ = minkowski_reduce(supercell)
    return float(np.max(np.linalg.norm(np.linalg.inv(supercell), axis=0)))


def _folded(matrix: ArrayLike, kgrid: AnyGrid, *, exact: bool) -> tuple[NDArray[np.int64], int]:
    """The folded points as sorted numerators in (-d/2, d/2], and their common denominator d."""
    supercell = _supercell_matrix(matrix)
    if exact:
        check_kgrid_folds([supercell], kgrid)
    points, common = _grid_points(kgrid)
    # Reduced modulo the denominator first, the products cannot overflow.
    reduced = np.array([[int(entry) % common for entry in row] for row in supercell.tolist()], dtype=np.int64)
    folded = (points @ reduced.T) % common
    folded = np.where(2 * folded > common, folded - common, folded)
    distinct: NDArray[np.int64] = np.unique(folded, axis=0)
    return distinct, common


def _grid_points(kgrid: AnyGrid) -> tuple[NDArray[np.int64], int]:
    """All points of a grid of the unit cell as numerators in [0, d), and their common denominator d."""
    (a, b, c), (_, d, e), (_, _, f) = kgrid_matrix(kgrid).tolist()
    # B k = n for the whole numbers n of a box that has one of each class, solved from the last row up.
    n1, n2, n3 = (axis.ravel() for axis in np.meshgrid(*map(np.arange, (a, d, f)), indexing="ij"))
    third = n3 * (a * d)
    second = (n2 * f - e * n3) * a
    first = n1 * (d * f) - b * (n2 * f - e * n3) - c * d * n3
    common = a * d * f
    points = np.stack([first, second, third], axis=-1) % common
    divisor = math.gcd(common, int(np.gcd.reduce(points, axis=None)))
    common //= divisor
    if common > 2**20:
        raise InputError(
            f"The points of kgrid = {kgrid!r} have the common denominator {common} (of three numbers, their least "
            "common multiple), past what is supported (2**20). Choose numbers with common factors."
        )
    return points // divisor, common


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
    integers = checked_integers(rotations, "Rotations", "n 3x3 matrices of integers")
    if integers.ndim != 3 or integers.shape[1:] != (3, 3):
        raise InputError(f"Rotations are n 3x3 matrices of integers, not an array of shape {integers.shape}.")
    if np.abs(integers).max(initial=0) > 2**20 or not np.all(np.rint(np.abs(np.linalg.det(integers))) == 1):
        raise InputError("A rotation has a determinant other than 1 or -1. Give rotations in fractional coordinates.")
    return integers


def _supercell_matrix(matrix: ArrayLike) -> NDArray[np.int64]:
    checked = checked_matrix(matrix)
    if determinant(checked) == 0:
        raise InputError(f"The supercell matrix {checked.tolist()} is singular. Give three independent rows.")
    return checked


def _repeats(supercell: NDArray[np.int64], kgrid: AnyGrid, axis: int | None = None) -> int:
    """The smallest number m for which m B is a supercell of S, of the grid's supercell B or one of its rows.

    It is 1 where the grid folds exactly: the least common denominator of ``B S^-1``.
    """
    size = abs(determinant(supercell))
    rows = kgrid_matrix(kgrid).astype(object)  # of Python's integers, which do not overflow
    products = (rows if axis is None else rows[axis]) @ adjugate(supercell.astype(object))
    return size // math.gcd(size, *products.ravel())


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _no_grid(kgrid: Any) -> InputError:
    return InputError(
        f"kgrid = {kgrid!r} is neither three positive whole numbers nor 3x3 whole numbers. Give for example [8, 8, 8]."
    )


def _check_size(points: int, kgrid: Any) -> None:
    if points > LARGEST_GRID:
        raise InputError(f"kgrid = {kgrid!r} has more than {LARGEST_GRID} points. Choose a coarser grid.")
