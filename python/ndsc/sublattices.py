"""Sublattices of a crystal one by one: normal forms, all distinct supercells of a size, reduction, and as atoms.

Convention: rows are lattice vectors, ``cell_supercell = S @ cell``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ndsc import _core
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.integers import checked_integers, checked_matrix, determinant
from ndsc.progress import Progress, silent
from ndsc.qgrid import available_memory, q_rotations, reporter

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class DistinctSupercells(NamedTuple):
    """Symmetry-distinct supercells of one size.

    Attributes
    ----------
    size : int
        Unit cells in each.
    matrices : (n, 3, 3) int64 array
        One of each orbit under the point group, Minkowski-reduced.
    orbit_sizes : (n,) int64 array
        How many supercells are equivalent to each; they add up to the number of Hermite normal forms.
    """

    size: int
    matrices: IntArray
    orbit_sizes: IntArray


def enumerate_supercells(
    structure: Atoms | Crystal, size: int, *, symprec: float | None = None, progress: Progress = silent
) -> IntArray:
    """All symmetry-distinct supercells of `size` unit cells.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, or its :class:`Crystal`, whose symmetry is then not searched for again.
    size : int
        Unit cells in a supercell.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    (n, 3, 3) int64 array
        Minkowski-reduced supercell matrices, one of each orbit under the point group of the crystal, ordered by the
        first Hermite normal form of the orbit.

    Raises
    ------
    InputError
        When `structure` is not a crystal, `size` is not a positive integer, or the memory does not suffice.
    """
    return _distinct(as_crystal(structure, symprec=symprec), _checked_size(size), progress).matrices


def enumerate_supercells_up_to(
    structure: Atoms | Crystal, limit: int, *, symprec: float | None = None, progress: Progress = silent
) -> Iterator[DistinctSupercells]:
    """All symmetry-distinct supercells of 1, 2, ... `limit` unit cells, one size at a time, with orbit sizes.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell.
    limit : int
        The largest size, in unit cells.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.
    progress : callable
        Called with (task, done, total) when a size takes longer than two seconds.

    Yields
    ------
    DistinctSupercells
        Supercell matrices and orbit sizes of one size.

    Raises
    ------
    InputError
        When `structure` is not a crystal, `limit` is not a positive integer, or the memory does not suffice.
    """
    last = _checked_size(limit)
    crystal = as_crystal(structure, symprec=symprec)
    return (_distinct(crystal, size, progress) for size in range(1, last + 1))


def _distinct(crystal: Crystal, size: int, progress: Progress) -> DistinctSupercells:
    report = reporter(progress, f"distinct supercells of {size} cells")
    forms, orbits = _core.distinct_supercells(size, q_rotations(crystal), available_memory(), report)
    return DistinctSupercells(size, reduce_forms(forms, crystal, progress), orbits)


def hermite_normal_forms(determinant: int, *, progress: Progress = silent) -> IntArray:
    """All Hermite normal forms of a determinant: every sublattice of that index once.

    Parameters
    ----------
    determinant : int
        At least 1.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    (n, 3, 3) int64 array
        ``[[a, b, c], [0, d, e], [0, 0, f]]`` with 0 <= b < d and 0 <= c, e < f, ordered by (a, d, b, c, e).

    Raises
    ------
    InputError
        When `determinant` is not a positive integer, or the list does not fit into memory.
    """
    report = reporter(progress, "Hermite normal forms")
    return _core.hermite_normal_forms(_checked_size(determinant), available_memory(), report)


def hermite_normal_form(matrix: ArrayLike) -> tuple[IntArray, IntArray]:
    """The Hermite normal form H of an integer matrix, and the unimodular U with ``H = U @ matrix``.

    Raises
    ------
    InputError
        When `matrix` is not a (3, 3) matrix of integers, or is singular.
    IntegerOverflowError
        When an exact result does not fit into 64 bits.
    """
    return _core.hermite_normal_form(checked_matrix(matrix))


def smith_normal_form(matrix: ArrayLike) -> tuple[IntArray, IntArray, IntArray]:
    """The Smith normal form: (diagonal (3,), U, V) with ``U @ matrix @ V = diag(diagonal)``, each dividing the next.

    Raises
    ------
    InputError
        When `matrix` is not a (3, 3) matrix of integers, or is singular.
    IntegerOverflowError
        When an exact result does not fit into 64 bits.
    """
    return _core.smith_normal_form(checked_matrix(matrix))


def reduce_supercells(cell: ArrayLike, matrices: ArrayLike, *, progress: Progress = silent) -> IntArray:
    """The Minkowski-reduced basis of each of many supercells, in one call.

    The result depends on the lattice only, not on the basis that came in: vectors of equal length (within 1e-7,
    relative, of the squared length) are chosen by integers.

    Parameters
    ----------
    cell : (3, 3) array, Å
        Lattice vectors of the unit cell as rows.
    matrices : (n, 3, 3) or (3, 3) int array
        Supercell matrices, not singular, of either handedness.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    int64 array of the same shape
        Determinants above 0.

    Raises
    ------
    InputError
        When `matrices` are not integer or one is singular, or the cell is not a cell.
    IntegerOverflowError
        When an exact result does not fit into 64 bits.
    """
    checked = checked_integers(matrices, "The supercell matrices", "an (n, 3, 3) array of integers")
    if checked.shape[-2:] != (3, 3) or checked.ndim > 3:
        raise InputError(f"The supercell matrices have the shape {checked.shape}. Give an (n, 3, 3) array.")
    vectors = np.asarray(cell, dtype=float)
    if vectors.shape != (3, 3):
        raise InputError(
            f"The cell has the shape {vectors.shape}. Give three lattice vectors as rows of a (3, 3) array."
        )
    report = reporter(progress, "reduction of supercells")
    metric = vectors @ vectors.T
    reduced = _core.minkowski_reduce(checked.reshape(-1, 3, 3), metric, report)
    return reduced.reshape(checked.shape)


def reduce_forms(forms: IntArray, crystal: Crystal, progress: Progress = silent) -> IntArray:
    """(n, 3, 3) int64 array : the reduced basis of each lattice under the symmetrised metric of the crystal."""
    report = reporter(progress, "reduction of supercells")
    return _core.minkowski_reduce(forms, cell_metric(crystal), report)


def cell_metric(crystal: Crystal) -> FloatArray:
    """(3, 3) float array, Å^2 : ``cell @ cell.T``, averaged over the point group.

    The average makes vectors that symmetry relates exactly equally long, so that the reduced supercells do not depend
    on the last digits of a relaxed cell.
    """
    metric = crystal.atoms.cell.array @ crystal.atoms.cell.array.T
    rotations = crystal.point_group.astype(float)
    averaged: FloatArray = np.mean(rotations.transpose(0, 2, 1) @ metric @ rotations, axis=0)
    return 0.5 * (averaged + averaged.T)


def make_supercell(atoms: Atoms, matrix: ArrayLike) -> Atoms:
    """The supercell ``matrix @ cell``, built exactly.

    Which lattice points lie inside the supercell is decided in integers, so no atom is lost or doubled by rounding.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell.
    matrix : (3, 3) int array
        Rows are lattice vectors in units of the unit cell; determinant above 0.

    Returns
    -------
    ase.Atoms
        Atom ``j * len(atoms) + i`` is atom i of the unit cell, translated by lattice point j; lattice points in
        lexicographic order. Array ``ndsc_basis`` has i, array ``ndsc_lattice_point`` (n, 3) the lattice point in units
        of the unit cell: ``position = atoms.positions[i] + lattice_point @ cell``.

    Raises
    ------
    InputError
        When `matrix` is not a (3, 3) matrix of integers, or its determinant is not positive.
    """
    checked = checked_matrix(matrix)
    if (size := determinant(checked)) <= 0:
        raise InputError(
            f"The supercell matrix {checked.tolist()} has the determinant {size}, so it is "
            f"{'left-handed, which phonopy refuses' if size else 'singular'}. "
            f"{'Reverse one row.' if size else 'Give three independent rows.'}"
        )
    points = _core.lattice_points(checked, available_memory())
    n_cells, n_basis = len(points), len(atoms)
    basis = np.tile(np.arange(n_basis), n_cells)
    lattice_points = np.repeat(points, n_basis, axis=0)
    supercell = atoms[basis]  # An indexed copy keeps what there is for each atom: masses, moments, charges, tags.
    supercell.set_constraint()
    supercell.set_cell(checked @ atoms.cell.array)
    supercell.set_pbc(True)
    supercell.positions += lattice_points @ atoms.cell.array
    supercell.set_array("ndsc_basis", basis)
    supercell.set_array("ndsc_lattice_point", lattice_points)
    return supercell


def _checked_size(size: int) -> int:
    array = checked_integers(size, "The number of cells", "one positive integer")
    if array.shape != () or array < 1:
        raise InputError(f"A supercell of {size!r} cells does not exist. Give one positive integer.")
    return int(array)
