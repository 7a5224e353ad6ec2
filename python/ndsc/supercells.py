"""Non-diagonal supercells: the smallest set that holds a grid of q-points, and all distinct ones of a size.

Convention: rows are lattice vectors, ``cell_supercell = S @ cell`` with det S > 0 and Minkowski-reduced rows; a q-point
is commensurate with S exactly when ``S @ q`` is integer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc import _core
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.qgrid import Grid, checked_grid, checked_integers

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# From this cost exponent on, one supercell per orbit of maximal cyclic subgroups is proven cheapest.
PROVEN_EXPONENT = math.log2(3)


class Location(NamedTuple):
    """Where a q-point of the grid is held.

    Attributes
    ----------
    index : int
        Which supercell of the set.
    rotation : (3, 3) int64 array
        R, acting on reduced q as columns: ``matrices[index] @ (rotation @ q)`` is integer.
    """

    index: int
    rotation: IntArray


@dataclass(frozen=True, eq=False)
class SupercellSet:
    """Supercells that together hold every q-point of a grid, up to the symmetry of the crystal.

    Attributes
    ----------
    atoms : ase.Atoms
        The unit cell that the supercells are made of.
    matrices : (n, 3, 3) int64 array
        Supercell matrices S, ordered by size, then by the Hermite normal form of their orbit's first member.
    grid : 3 ints
        Divisions of the grid.
    cost_exponent : float
        The p of the cost, the sum of size^p.
    lower_bound : float
        No set of supercells that holds the grid costs less. Equal to the cost when the set is proven to be cheapest.
    rotations : (m, 3, 3) int64 array
        Rotations of reduced q-points (columns) that the set relies on.
    """

    atoms: Atoms
    matrices: IntArray
    grid: Grid
    cost_exponent: float
    lower_bound: float
    rotations: IntArray

    def __len__(self) -> int:
        return len(self.matrices)

    @cached_property
    def sizes(self) -> IntArray:
        """(n,) int64 array : unit cells in each supercell."""
        return np.array([_determinant(matrix) for matrix in self.matrices], dtype=np.int64)

    @property
    def cost(self) -> float:
        """The sum of size^p over the set."""
        return math.fsum(float(size) ** self.cost_exponent for size in self.sizes)

    @property
    def gap(self) -> float:
        """How much cheaper another set could be at the most, relative to the cost; 0 when proven cheapest."""
        return max(0.0, 1.0 - self.lower_bound / self.cost)

    def structures(self) -> list[Atoms]:
        """The supercells as ase.Atoms (see :func:`make_supercell`)."""
        return [make_supercell(self.atoms, matrix) for matrix in self.matrices]

    def locate(self, q: Sequence[int]) -> Location:
        """The supercell that holds a q-point, and the rotation that brings the q-point into it.

        Parameters
        ----------
        q : 3 ints
            Numerators over the grid.

        Raises
        ------
        InputError
            When `q` is not three integers.
        """
        numerators = checked_integers(q, "The q-point", "three integer numerators over the grid")
        if numerators.shape != (3,):
            raise InputError(f"The q-point {q!r} is not three numbers. Give three integer numerators over the grid.")
        wrapped = np.mod(numerators, self.grid)
        forms, rotation = _core.locate(self.grid, self.rotations, wrapped[None, :])
        index = self._index_of_form[_key(forms[0])]
        return Location(index, self.rotations[rotation[0]])

    @cached_property
    def _index_of_form(self) -> dict[bytes, int]:
        forms = _core.canonical_forms(self.matrices)
        return {_key(form): index for index, form in enumerate(forms)}

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists, for JSON."""
        unit_cell = {
            "symbols": list(self.atoms.symbols),
            "cell": self.atoms.cell.array.tolist(),
            "positions": self.atoms.positions.tolist(),
            "magnetic_moments": self.atoms.get_initial_magnetic_moments().tolist(),
        }
        return {
            "unit_cell": unit_cell,
            "grid": list(self.grid),
            "cost_exponent": self.cost_exponent,
            "cost": self.cost,
            "lower_bound": self.lower_bound,
            "gap": self.gap,
            "sizes": self.sizes.tolist(),
            "matrices": self.matrices.tolist(),
            "rotations": self.rotations.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SupercellSet:
        """The set that :meth:`to_dict` wrote.

        Raises
        ------
        InputError
            When `data` lacks something or contradicts itself.
        """
        try:
            cell = data["unit_cell"]
            atoms = Atoms(cell["symbols"], positions=cell["positions"], cell=cell["cell"], pbc=True)
            if np.any(cell["magnetic_moments"]):
                atoms.set_initial_magnetic_moments(cell["magnetic_moments"])
            loaded = cls(
                atoms=atoms,
                matrices=np.array(data["matrices"], dtype=np.int64).reshape(-1, 3, 3),
                grid=checked_grid(data["grid"]),
                cost_exponent=float(data["cost_exponent"]),
                lower_bound=float(data["lower_bound"]),
                rotations=np.array(data["rotations"], dtype=np.int64).reshape(-1, 3, 3),
            )
            consistent = loaded.sizes.tolist() == list(data["sizes"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This is no stored supercell set ({type(error).__name__}: {error}). Make it again with "
                "find_supercells(...).to_dict()."
            ) from error
        if not consistent:
            raise InputError(
                f"The stored sizes {list(data['sizes'])} are not the determinants {loaded.sizes.tolist()} of the stored "
                "matrices, so the file was changed. Make it again with find_supercells(...).to_dict()."
            )
        return loaded


def find_supercells(atoms: Atoms, grid: int | Sequence[int], cost_exponent: float = 3.0) -> SupercellSet:
    """The cheapest set of supercells that holds every q-point of a grid up to symmetry.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell, primitive or not: the supercells are made of it and the grid refers to it.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors of `atoms`.
    cost_exponent : float
        The set minimises the sum of size^cost_exponent. From log2(3) = 1.585 up the answer has a closed form.

    Returns
    -------
    SupercellSet

    Raises
    ------
    InputError
        When `atoms` is no crystal, `grid` is no grid, or the exponent is not positive.
    """
    divisions = checked_grid(grid)
    if not (math.isfinite(cost_exponent) and cost_exponent > 0):
        raise InputError(f"The cost exponent {cost_exponent} is not a positive number. Give one, usually 3.")
    crystal = Crystal.from_atoms(atoms)
    rotations = np.ascontiguousarray(crystal.reciprocal_rotations)
    forms = _core.minimal_cover(divisions, rotations)
    matrices = _core.minkowski_reduce(forms, cell_metric(crystal))
    sizes = np.prod(np.diagonal(forms, axis1=1, axis2=2), axis=1)
    cost = math.fsum(float(size) ** cost_exponent for size in sizes)
    return SupercellSet(
        atoms=crystal.atoms,
        matrices=matrices,
        grid=divisions,
        cost_exponent=float(cost_exponent),
        lower_bound=cost,
        rotations=rotations,
    )


def enumerate_supercells(atoms: Atoms, size: int) -> IntArray:
    """All symmetry-distinct supercells of `size` unit cells.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell.
    size : int
        Unit cells in a supercell.

    Returns
    -------
    (n, 3, 3) int64 array
        Minkowski-reduced supercell matrices, one of each orbit under the point group of the crystal, ordered by the
        first Hermite normal form of the orbit.

    Raises
    ------
    InputError
        When `atoms` is no crystal or `size` is no positive integer.
    """
    cells = _checked_size(size)
    crystal = Crystal.from_atoms(atoms)
    forms = _core.distinct_supercells(cells, np.ascontiguousarray(crystal.reciprocal_rotations))
    return _core.minkowski_reduce(forms, cell_metric(crystal))


def hermite_normal_forms(determinant: int) -> IntArray:
    """All Hermite normal forms of a determinant: every sublattice of that index once.

    Parameters
    ----------
    determinant : int
        At least 1.

    Returns
    -------
    (n, 3, 3) int64 array
        ``[[a, b, c], [0, d, e], [0, 0, f]]`` with 0 <= b < d and 0 <= c, e < f, ordered by (a, d, b, c, e).

    Raises
    ------
    InputError
        When `determinant` is no positive integer.
    """
    return _core.hermite_normal_forms(_checked_size(determinant))


def make_supercell(atoms: Atoms, matrix: Any) -> Atoms:
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
    checked = checked_integers(matrix, "The supercell matrix", "a (3, 3) matrix of integers")
    if checked.shape != (3, 3):
        raise InputError(f"The supercell matrix has the shape {checked.shape}. Give a (3, 3) matrix of integers.")
    if (size := _determinant(checked)) <= 0:
        raise InputError(
            f"The supercell matrix {checked.tolist()} has the determinant {size}, so it is "
            f"{'left-handed, which phonopy refuses' if size else 'singular'}. "
            f"{'Reverse one row.' if size else 'Give three independent rows.'}"
        )
    points = _core.lattice_points(checked)
    n_cells, n_basis = len(points), len(atoms)
    basis = np.tile(np.arange(n_basis), n_cells)
    lattice_points = np.repeat(points, n_basis, axis=0)
    cell = atoms.cell.array
    supercell = Atoms(
        numbers=atoms.numbers[basis],
        positions=atoms.positions[basis] + lattice_points @ cell,
        cell=checked @ cell,
        pbc=True,
    )
    if atoms.has("initial_magmoms"):
        supercell.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments()[basis])
    supercell.set_array("ndsc_basis", basis)
    supercell.set_array("ndsc_lattice_point", lattice_points)
    return supercell


def cell_metric(crystal: Crystal) -> FloatArray:
    """(3, 3) float array, Å^2 : ``cell @ cell.T``, averaged over the point group.

    The average makes vectors that symmetry relates exactly equally long, so that the reduced supercells do not depend
    on the last digits of a relaxed cell.
    """
    metric = crystal.atoms.cell.array @ crystal.atoms.cell.array.T
    rotations = crystal.point_group.astype(float)
    averaged: FloatArray = np.einsum("nki,kl,nlj->ij", rotations, metric, rotations) / len(rotations)
    return 0.5 * (averaged + averaged.T)


def _checked_size(size: int) -> int:
    array = checked_integers(size, "The number of cells", "one positive integer")
    if array.shape != () or array < 1:
        raise InputError(f"A supercell of {size!r} cells does not exist. Give one positive integer.")
    return int(array)


def _determinant(matrix: IntArray) -> int:
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    return int(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def _key(form: IntArray) -> bytes:
    return form.tobytes()
