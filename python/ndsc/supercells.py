"""Non-diagonal supercells: the smallest set that holds a grid of q-points, and all distinct ones of a size.

Convention: rows are lattice vectors, ``cell_supercell = S @ cell`` with det S > 0 and Minkowski-reduced rows; a q-point
is commensurate with S exactly when ``S @ q`` is integer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

import ndsc._core as _core  # Not `from ndsc`, which runs its __init__: see reference/start.py.
from ndsc.cover_programme import Programme, solve
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, InternalError
from ndsc.progress import Progress, silent
from ndsc.qgrid import Grid, available_memory, checked_grid, checked_qpoint, q_rotations, reporter
from ndsc.sublattices import make_supercell, reduce_forms

__all__ = [
    "PROVEN_EXPONENT",
    "Location",
    "SupercellSet",
    "diagonal_supercell",
    "find_single_supercell",
    "find_supercells",
    "iterate_supercells",
    "make_supercell",
]

IntArray = NDArray[np.int64]

# From this cost exponent on, one supercell per orbit of maximal cyclic subgroups is proven cheapest.
PROVEN_EXPONENT = math.log2(3)

# Pairs of a candidate supercell and a q-point to be held that the integer programme looks at; beyond, it keeps to the
# smaller candidates, and the gap it reports allows for the larger ones.
MOST_LOOKS = 20_000_000


class Location(NamedTuple):
    """Where a q-point of the grid is held.

    Attributes
    ----------
    index : int
        Which supercell of the set.
    rotation : (3, 3) int64 array
        R, acting on reduced q as columns: ``matrices[index] @ (rotation @ q)`` is integer.
    """

    index: int  # type: ignore[assignment]  # the name hides tuple.index on purpose
    rotation: IntArray


@dataclass(frozen=True, eq=False)
class SupercellSet:
    """Supercells that together hold every q-point of a grid, up to the symmetry of the crystal.

    Attributes
    ----------
    crystal : Crystal
        The unit cell that the supercells are made of, with the symmetry that the set relies on.
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

    crystal: Crystal
    matrices: IntArray
    grid: Grid
    cost_exponent: float
    lower_bound: float
    rotations: IntArray

    def __len__(self) -> int:
        return len(self.matrices)

    @property
    def atoms(self) -> Atoms:
        """The unit cell that the supercells are made of."""
        return self.crystal.atoms

    @cached_property
    def sizes(self) -> IntArray:
        """(n,) int64 array : unit cells in each supercell."""
        return _sizes(self._forms)

    @cached_property
    def cost(self) -> float:
        """The sum of size^p over the set."""
        return _cost(self.sizes, self.cost_exponent)

    @cached_property
    def _forms(self) -> IntArray:
        """(n, 3, 3) int64 array : the Hermite normal forms."""
        forms: IntArray = _core.canonical_forms(self.matrices)
        return forms

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
        wrapped = np.mod(checked_qpoint(q), self.grid)
        forms, found = _core.locate(self.grid, self.rotations, wrapped[None, :])
        rotation = self.rotations[found[0]]
        index = self._index_of_form.get(_key(forms[0]))
        if index is not None:
            return Location(index, rotation)
        return self._locate_in_larger(forms[0], rotation)

    @cached_property
    def _index_of_form(self) -> dict[bytes, int]:
        return {_key(form): index for index, form in enumerate(self._forms)}

    def _locate_in_larger(self, form: IntArray, rotation: IntArray) -> Location:
        """Where a set that is not the cyclic one holds all q-points of the supercell `form`."""
        size = int(np.prod(np.diagonal(form)))
        adjugate = np.rint(np.linalg.inv(form) * size).astype(np.int64)
        # S R form^-1 integer: the lattice of S R lies in that of the form.
        quotients = np.einsum("nij,mjk,kl->nmil", self.matrices, self.rotations, adjugate)
        held = np.argwhere(np.all(quotients % size == 0, axis=(2, 3)))
        if len(held) == 0:
            raise InternalError(
                f"No supercell of the set for the grid {self.grid} holds the q-points of {form.tolist()}. This is a "
                "bug: please report the crystal and the grid."
            )
        index, number = held[0]
        return Location(int(index), self.rotations[number] @ rotation)

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists, for JSON."""
        return {
            "unit_cell": self.crystal.to_dict(),
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
            loaded = cls(
                crystal=Crystal.from_dict(data["unit_cell"]),
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
                f"The stored sizes {list(data['sizes'])} are not the determinants {loaded.sizes.tolist()} of the "
                "stored matrices, so the file was changed. Make it again with find_supercells(...).to_dict()."
            )
        return loaded


def find_supercells(
    atoms: Atoms | Crystal,
    grid: int | Sequence[int],
    cost_exponent: float = 3.0,
    *,
    time_limit: float = 60.0,
    progress: Progress = silent,
) -> SupercellSet:
    """The cheapest set of supercells that holds every q-point of a grid up to symmetry.

    Each q-point needs a supercell of as many cells as its order at least, and the one of that size is unique. From a
    cost exponent of log2(3) = 1.585 up that forces every choice, and the answer is proven cheapest. Below, cells that
    hold several of them can be cheaper; an integer programme then decides, and `gap` says what it leaves open.

    Time and memory grow with the number of supercells, not with the number of q-points.

    Parameters
    ----------
    atoms : ase.Atoms or Crystal
        The unit cell, primitive or not: the supercells are made of it and the grid refers to it. Or its
        :class:`Crystal`, whose symmetry is then not searched for again.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors of `atoms`.
    cost_exponent : float
        The set minimises the sum of size^cost_exponent.
    time_limit : float, s
        For the integer programme.
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    SupercellSet

    Raises
    ------
    InputError
        When `atoms` is no crystal, `grid` is no grid, the exponent is not positive, or the set does not fit into
        memory (see :func:`iterate_supercells`).
    """
    divisions = checked_grid(grid)
    if not (_is_number(cost_exponent) and math.isfinite(cost_exponent) and cost_exponent > 0):
        raise InputError(f"The cost exponent {cost_exponent!r} is not a positive number. Give one, usually 3.")
    crystal = as_crystal(atoms)
    rotations = _keeping(q_rotations(crystal), divisions)
    bound: float | None = None
    if cost_exponent >= PROVEN_EXPONENT:
        report = reporter(progress, "minimal supercells")
        forms = _core.minimal_cover(divisions, rotations, available_memory(), report)
    else:
        forms, bound = _programme(divisions, rotations, cost_exponent, time_limit, progress)
    cost = _cost(_sizes(forms), cost_exponent)
    return SupercellSet(
        crystal=crystal,
        matrices=reduce_forms(forms, crystal, progress),
        grid=divisions,
        cost_exponent=float(cost_exponent),
        lower_bound=cost if bound is None else min(bound, cost),
        rotations=rotations,
    )


def iterate_supercells(atoms: Atoms | Crystal, grid: int | Sequence[int]) -> Iterator[IntArray]:
    """The set of :func:`find_supercells` piece by piece, for grids whose set does not fit into memory.

    Parameters
    ----------
    atoms, grid
        As for :func:`find_supercells`.

    Yields
    ------
    (n, 3, 3) int64 array
        The next supercell matrices, Minkowski-reduced, in no particular order.

    Raises
    ------
    InputError
        When `atoms` is no crystal or `grid` is no grid.
    """
    divisions = checked_grid(grid)
    crystal = as_crystal(atoms)
    pieces = _core.CoverIterator(divisions, _keeping(q_rotations(crystal), divisions))
    return (reduce_forms(forms, crystal) for forms in pieces)


def find_single_supercell(atoms: Atoms | Crystal, grid: int | Sequence[int]) -> IntArray:
    """The smallest single supercell that holds every q-point of a grid up to symmetry.

    It is smaller than the diagonal N1 x N2 x N3 supercell wherever symmetry can bring q-points into it (fcc 12x12x12:
    576 cells instead of 1728), and larger than the sum of the set of :func:`find_supercells`.

    Parameters
    ----------
    atoms, grid
        As for :func:`find_supercells`.

    Returns
    -------
    (3, 3) int64 array
        Minkowski-reduced.

    Raises
    ------
    InputError
        When `atoms` is no crystal or `grid` is no grid.
    """
    divisions = checked_grid(grid)
    crystal = as_crystal(atoms)
    form = _core.smallest_single(divisions, q_rotations(crystal))
    reduced: IntArray = reduce_forms(form[None, :, :], crystal)[0]
    return reduced


def diagonal_supercell(atoms: Atoms | Crystal, grid: int | Sequence[int], cost_exponent: float = 3.0) -> SupercellSet:
    """The N1 x N2 x N3 supercell as a set of its own, to compare with the cheapest set.

    Parameters
    ----------
    atoms, grid, cost_exponent
        As for :func:`find_supercells`.

    Returns
    -------
    SupercellSet
        With one supercell; its `gap` says how much of the cost the cheapest set of the same grid saves.

    Raises
    ------
    InputError
        As :func:`find_supercells`.
    """
    crystal = as_crystal(atoms)
    cheapest = find_supercells(crystal, grid, cost_exponent)
    matrices: IntArray = np.diag(np.array(cheapest.grid, dtype=np.int64))[None, :, :]
    return replace(
        cheapest,
        matrices=matrices,
        lower_bound=min(cheapest.lower_bound, _cost(_sizes(matrices), cheapest.cost_exponent)),
    )


def _programme(
    divisions: Grid, rotations: IntArray, exponent: float, time_limit: float, progress: Progress
) -> tuple[IntArray, float]:
    report = reporter(progress, "candidate supercells")
    row_forms, column_forms, starts, held, beyond = _core.programme_columns(
        divisions, rotations, exponent, MOST_LOOKS, available_memory(), report
    )
    programme = Programme(_sizes(row_forms), _sizes(column_forms), starts, held, beyond)
    chosen, bound = solve(programme, exponent, time_limit)
    return column_forms[chosen], bound


def _keeping(rotations: IntArray, divisions: Grid) -> IntArray:
    """The rotations that map the grid onto itself: ``N_i R_ij / N_j`` integer."""
    n = np.array(divisions, dtype=np.int64)
    kept = np.all(n[:, None] * rotations % n[None, :] == 0, axis=(1, 2))
    keeping: IntArray = np.ascontiguousarray(rotations[kept])
    return keeping


def _sizes(forms: IntArray) -> IntArray:
    sizes: IntArray = np.prod(np.diagonal(forms, axis1=1, axis2=2), axis=1)
    return sizes


def _cost(sizes: IntArray, exponent: float) -> float:
    return float(np.sum(sizes.astype(float) ** exponent))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _key(form: IntArray) -> bytes:
    return form.tobytes()
