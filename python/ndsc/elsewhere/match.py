"""Which label an output is for: the same species, cell and atoms, wrapped and in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ndsc.elsewhere.manifest import Entry
from ndsc.reference.checks import ROUNDING

FloatArray = NDArray[np.float64]

#: Labels of the right composition that are compared with an output that fits none, at the most.
COMPARED = 200
#: More than any distance between atoms, Å.
_FAR = 1e6


@dataclass(frozen=True)
class Match:
    """How an output compares with a structure.

    Attributes
    ----------
    order : (n,) int array
        Atom i of the structure is atom ``order[i]`` of the output.
    cell : float, Å
        Largest difference of a component of the lattice vectors.
    moved : float, Å
        Largest distance between an atom and its counterpart.
    rounding : float, Å
        Differences of lattice vectors that are none.
    """

    order: NDArray[np.int64]
    cell: float
    moved: float
    rounding: float = ROUNDING

    @property
    def fits(self) -> bool:
        """Whether they are the same up to rounding."""
        return self.cell <= self.rounding and self.moved <= ROUNDING

    @property
    def distance(self) -> float:
        """How different they are, Å."""
        return self.cell + self.moved

    def __str__(self) -> str:
        parts = [
            f"{what} by up to {value:.2g} Å"
            for what, value, allowed in (
                ("lattice vectors differ", self.cell, self.rounding),
                ("atoms are displaced", self.moved, ROUNDING),
            )
            if value > allowed
        ]
        return " and ".join(parts)


def compare(asked: Atoms, computed: Atoms, rounding: float = ROUNDING) -> Match | None:
    """Pair the atoms of an output with those of a structure; None where the compositions differ.

    Parameters
    ----------
    asked, computed : ase.Atoms
    rounding : float, Å
        How exactly the output has the lattice vectors; positions are exact to 1e-4 Å.
    """
    if composition(asked) != composition(computed):
        return None
    cell = float(np.abs(asked.cell.array - computed.cell.array).max())
    # In fractions of each own cell, so that a strain is not counted as a displacement too.
    here = np.linalg.solve(asked.cell.array.T, asked.positions.T).T
    own = asked if cell <= rounding else computed
    there = np.linalg.solve(own.cell.array.T, computed.positions.T).T
    away = there[None] - here[:, None]
    away -= np.rint(away)
    distances = np.linalg.norm(away @ asked.cell.array, axis=2)
    distances[asked.numbers[:, None] != computed.numbers[None]] = _FAR
    rows, order = linear_sum_assignment(distances)
    return Match(order.astype(np.int64), cell, float(distances[rows, order].max()), rounding)


def composition(atoms: Atoms) -> tuple[int, ...]:
    """Atomic numbers, sorted."""
    return tuple(sorted(atoms.numbers.tolist()))


def find_entries(
    entries: Sequence[Entry], computed: Atoms, rounding: float = ROUNDING
) -> tuple[list[tuple[Entry, Match]], str]:
    """The labels that an output fits, the nearest first; or why it fits none.

    Parameters
    ----------
    entries : sequence of Entry
    computed : ase.Atoms
    rounding : float, Å
        How exactly the output has the lattice vectors.

    Returns
    -------
    tuple of list and str
        One of the two is empty.
    """
    same = [entry for entry in entries if composition(entry.wanted.atoms) == composition(computed)]
    if not same:
        known = list(dict.fromkeys(entry.wanted.atoms.get_chemical_formula() for entry in entries))
        listed = ", ".join(known[:6]) + (" …" if len(known) > 6 else "")
        return [], f"it is a calculation of {computed.get_chemical_formula()}, and the labels are for {listed}"
    if not computed.pbc.all() or abs(np.linalg.det(computed.cell.array)) < 1e-9:
        return [], "it has no periodic cell"
    by_cell = sorted(same, key=lambda entry: _cell_difference(entry.wanted.atoms, computed))
    close = [entry for entry in by_cell if _cell_difference(entry.wanted.atoms, computed) <= rounding]
    pairs = [
        (entry, match)
        for entry in [*close, *by_cell[len(close) : max(len(close), COMPARED)]]
        if (match := compare(entry.wanted.atoms, computed, rounding)) is not None
    ]
    pairs.sort(key=lambda pair: pair[1].distance)
    fitting = [pair for pair in pairs if pair[1].fits]
    if fitting:
        return fitting, ""
    entry, match = pairs[0]
    closest = f"{entry.wanted.name} in {entry.folder}, whose {match}"
    return [], f"its structure is not that of any label; the closest is {closest}"


def _cell_difference(asked: Atoms, computed: Atoms) -> float:
    return float(np.abs(asked.cell.array - computed.cell.array).max())
