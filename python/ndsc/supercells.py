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

from ndsc import _core
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, InternalError
from ndsc.integers import adjugate
from ndsc.progress import Progress, silent
from ndsc.qgrid import Grid, checked_grid, keeps_grid, memory_for, q_rotations, qpoint_numerators, reporter
from ndsc.sheet import check_grid_of_sheet
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

# Larger ones would make costs that are no floating-point numbers.
LARGEST_EXPONENT = 20
# From this cost exponent on, one supercell per orbit of maximal cyclic subgroups is proven cheapest.
PROVEN_EXPONENT = math.log2(3)

#: Q-points that are located between two reports of progress.
LOCATED_AT_A_TIME = 1 << 15


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

    def __repr__(self) -> str:
        grid = "x".join(map(str, self.grid))
        formula = self.atoms.get_chemical_formula()
        return f"<SupercellSet: {len(self)} supercells of {formula} hold the {grid} grid, {self.proof}>"

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
    def optimality_gap(self) -> float:
        """How much cheaper another set could be at the most, relative to the cost; 0 when proven cheapest."""
        return max(0.0, 1.0 - self.lower_bound / self.cost)

    @property
    def proof(self) -> str:
        """What is proven, and for which symmetry: ``"proven smallest for P4_2/mnm (136)"``.

        A set that is smallest for one group need not be for a larger one, such as a looser tolerance may find.
        """
        group = f"{self.crystal.symbol} ({self.crystal.number})"
        gap = self.optimality_gap
        return f"at most {gap:.2%} above the smallest for {group}" if gap > 0 else f"proven smallest for {group}"

    def structures(self, *, progress: Progress = silent) -> list[Atoms]:
        """The supercells.

        Parameters
        ----------
        progress : callable
            Called with ("supercells made", done, all) for each.

        Returns
        -------
        list of ase.Atoms
            In the order of `matrices`, each as :func:`make_supercell` makes it.
        """
        made = []
        for number, matrix in enumerate(self.matrices):
            progress("supercells made", number, len(self))
            made.append(make_supercell(self.atoms, matrix))
        return made

    def locate(self, q: Sequence[Any]) -> Location:
        """The supercell that holds a q-point, and the rotation that brings the q-point into it.

        Parameters
        ----------
        q : 3 fractions
            A q-point of the grid: floats or Fractions. Three ints that are not all zero are taken for numerators over
            the grid, which is deprecated.

        Returns
        -------
        Location
            Index of the supercell, and the (3, 3) rotation.

        Raises
        ------
        InputError
            When `q` is not three numbers, or not on the grid within 1e-9.
        """
        indices, rotations = self.locate_all(qpoint_numerators(q, self.grid)[None, :])
        return Location(int(indices[0]), rotations[0])

    def locate_all(self, numerators: IntArray, *, progress: Progress = silent) -> tuple[IntArray, IntArray]:
        """Where each of many q-points is held.

        Parameters
        ----------
        numerators : (n, 3) int64 array
            ``q = numerators / grid``, as :attr:`ndsc.qgrid.IrreducibleQpoints.numerators`.
        progress : callable

        Returns
        -------
        indices : (n,) int64 array
            Which supercell of the set.
        rotations : (n, 3, 3) int64 array
            For each the R of :class:`Location`.
        """
        indices = np.empty(len(numerators), dtype=np.int64)
        rotations = np.empty((len(numerators), 3, 3), dtype=np.int64)
        for start in range(0, len(numerators), LOCATED_AT_A_TIME):
            part = slice(start, start + LOCATED_AT_A_TIME)
            wrapped = np.mod(numerators[part], np.array(self.grid, dtype=np.int64))
            forms, found = _core.locate(self.grid, self.rotations, np.ascontiguousarray(wrapped))
            rotations[part] = self.rotations[found]
            indices[part] = [self._index_of_form.get(form.tobytes(), -1) for form in forms]
            for number in start + np.flatnonzero(indices[part] < 0):
                index, onwards = self._locate_in_larger(forms[number - start])
                indices[number], rotations[number] = index, onwards @ rotations[number]
            if start:
                progress("q-points located", start, len(numerators))
        return indices, rotations

    @cached_property
    def _index_of_form(self) -> dict[bytes, int]:
        return {form.tobytes(): index for index, form in enumerate(self._forms)}

    def _locate_in_larger(self, form: IntArray) -> tuple[int, IntArray]:
        """Which supercell of a set that is not the cyclic one holds all q-points of the supercell `form`, and how."""
        size = int(np.prod(np.diagonal(form)))
        # S R form^-1 integer: the lattice of S R lies in that of the form.
        quotients = np.einsum("nij,mjk,kl->nmil", self.matrices, self.rotations, adjugate(form))
        held = np.argwhere(np.all(quotients % size == 0, axis=(2, 3)))
        if len(held) == 0:
            raise InternalError(
                f"No supercell of the set for the grid {self.grid} holds the q-points of {form.tolist()}. This is a "
                "bug: please report the crystal and the grid."
            )
        index, number = held[0]
        return int(index), self.rotations[number]

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists, for JSON."""
        return {
            "unit_cell": self.crystal.to_dict(),
            "grid": list(self.grid),
            "cost_exponent": self.cost_exponent,
            "cost": self.cost,
            "lower_bound": self.lower_bound,
            "gap": self.optimality_gap,
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
                f"This is not a stored supercell set ({type(error).__name__}: {error}). Make it again with "
                "find_supercells(...).to_dict()."
            ) from error
        if not consistent:
            raise InputError(
                f"The stored sizes {list(data['sizes'])} are not the determinants {loaded.sizes.tolist()} of the "
                "stored matrices, so the file was changed. Make it again with find_supercells(...).to_dict()."
            )
        return loaded


def find_supercells(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    cost_exponent: float = 3.0,
    *,
    symprec: float | None = None,
    time_limit: float = 60.0,
    progress: Progress = silent,
) -> SupercellSet:
    """The cheapest set of supercells that holds every q-point of a grid up to symmetry.

    Each q-point needs a supercell of as many cells as its order at least, and the one of that size is unique. From a
    cost exponent of log2(3) = 1.585 up that forces every choice, and the answer is proven cheapest. Below, cells that
    hold several of them can be cheaper; an integer programme then decides, and `optimality_gap` says what it leaves
    open.

    The smallest supercell of a q-point is that of J. H. Lloyd-Williams and B. Monserrat, Phys. Rev. B 92, 184301
    (2015); the proof for the set is in docs/method.md.

    Time and memory grow with the number of supercells, not with the number of q-points.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not: the supercells are made of it and the grid refers to it. Or its
        :class:`Crystal`, whose symmetry is then not searched for again.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    cost_exponent : float
        The set minimises the sum of size^cost_exponent.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.
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
        When `structure` is not a crystal, `grid` is not a grid, the exponent is not positive, the set does not fit into
        memory (see :func:`iterate_supercells`), or the integer programme is too large.
    """
    divisions = checked_grid(grid)
    if not (_is_number(cost_exponent) and 0 < cost_exponent <= LARGEST_EXPONENT):
        raise InputError(
            f"The cost exponent {cost_exponent!r} is not a number above 0 and at most {LARGEST_EXPONENT}. Give a "
            "number in this range, usually 3."
        )
    crystal = as_crystal(structure, symprec=symprec)
    if crystal.is_sheet:
        check_grid_of_sheet(divisions, "grid")
    rotations = _grid_rotations(crystal, divisions)
    memory = memory_for(divisions)
    bound = math.inf
    if cost_exponent >= PROVEN_EXPONENT:
        report = reporter(progress, "minimal set of supercells")
        forms = _core.minimal_cover(divisions, rotations, memory, report)
    else:
        from ndsc.set_cover import cheapest_cover

        forms, bound = cheapest_cover(
            divisions, rotations, cost_exponent, time_limit=time_limit, memory=memory, progress=progress
        )
    return SupercellSet(
        crystal=crystal,
        matrices=reduce_forms(forms, crystal, progress),
        grid=divisions,
        cost_exponent=float(cost_exponent),
        lower_bound=min(bound, _cost(_sizes(forms), cost_exponent)),
        rotations=rotations,
    )


def iterate_supercells(
    structure: Atoms | Crystal, grid: int | Sequence[int], *, symprec: float | None = None
) -> Iterator[IntArray]:
    """The set of :func:`find_supercells` piece by piece, for grids whose set does not fit into memory.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Yields
    ------
    (n, 3, 3) int64 array
        The next supercell matrices, Minkowski-reduced, in no particular order.

    Raises
    ------
    InputError
        When `structure` is not a crystal or `grid` is not a grid.
    """
    divisions = checked_grid(grid)
    crystal = as_crystal(structure, symprec=symprec)
    pieces = _core.CoverIterator(divisions, _grid_rotations(crystal, divisions))
    return (reduce_forms(forms, crystal) for forms in pieces)


def find_single_supercell(
    structure: Atoms | Crystal, grid: int | Sequence[int], *, symprec: float | None = None
) -> IntArray:
    """The smallest single supercell that holds every q-point of a grid up to symmetry.

    It is smaller than the diagonal N1 x N2 x N3 supercell wherever symmetry can bring q-points into it (fcc 12x12x12:
    576 cells instead of 1728), and larger than the sum of the set of :func:`find_supercells`.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Returns
    -------
    (3, 3) int64 array
        Minkowski-reduced.

    Raises
    ------
    InputError
        When `structure` is not a crystal or `grid` is not a grid.
    """
    divisions = checked_grid(grid)
    crystal = as_crystal(structure, symprec=symprec)
    form = _core.smallest_single(divisions, q_rotations(crystal))
    reduced: IntArray = reduce_forms(form[None, :, :], crystal)[0]
    return reduced


def diagonal_supercell(
    structure: Atoms | Crystal, grid: int | Sequence[int], cost_exponent: float = 3.0, *, symprec: float | None = None
) -> SupercellSet:
    """The N1 x N2 x N3 supercell as a set of its own, to compare with the cheapest set.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell, primitive or not.
    grid : int or 3 ints
        Divisions N1, N2, N3 along the reciprocal lattice vectors.
    cost_exponent : float
        The p of the cost, size^p.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Returns
    -------
    SupercellSet
        With one supercell; its `optimality_gap` says how much of the cost the cheapest set of the same grid saves.

    Raises
    ------
    InputError
        As :func:`find_supercells`.
    """
    cheapest = find_supercells(structure, grid, cost_exponent, symprec=symprec)
    matrices: IntArray = np.diag(np.array(cheapest.grid, dtype=np.int64))[None, :, :]
    return replace(
        cheapest,
        matrices=matrices,
        lower_bound=min(cheapest.lower_bound, _cost(_sizes(matrices), cheapest.cost_exponent)),
    )


def _grid_rotations(crystal: Crystal, divisions: Grid) -> IntArray:
    """(n, 3, 3) int64 array : the rotations of q-points that map the grid onto itself."""
    rotations = q_rotations(crystal)
    return np.ascontiguousarray(rotations[keeps_grid(rotations, divisions)])


def _sizes(forms: IntArray) -> IntArray:
    sizes: IntArray = forms[:, 0, 0] * forms[:, 1, 1] * forms[:, 2, 2]
    return sizes


def _cost(sizes: IntArray, exponent: float) -> float:
    return float(np.sum(sizes.astype(float) ** exponent))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
