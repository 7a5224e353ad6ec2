"""How much memory a fit needs, known before any label is computed.

gap_fit keeps the derivative of every descriptor with respect to every neighbour's position, which is nearly all of its
memory; its own estimate leaves it out. The fit in NumPy keeps a triangle of the size of the sparse points, and most of
its memory is what quippy takes to evaluate the potential on the largest configuration: the derivatives of all atoms of
one element. The factors are measured (quippy-ase 0.10.3: 0.06 to 0.65 GB, one to four elements) and err on the high
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from scipy.spatial import KDTree

from ndsc.errors import InputError
from ndsc.fit.calculator import boxed
from ndsc.fit.settings import GapSettings
from ndsc.fit.triangle import memory_of_triangle
from ndsc.reference.memory import available_memory_mb

#: Bytes of a program that has done nothing yet, and how often gap_fit holds derivatives, covariances and, while it
#: chooses sparse points, descriptors.
PROGRAM, DERIVATIVES, COVARIANCES, CHOICE = 1.2e8, 3.2, 3.0, 6.5
#: How often quippy and NumPy hold the derivatives of one configuration (measured: 2.1 with one element, 1.3 with two),
#: how often quippy does when it evaluates a potential, and the memory that rows are computed in, bytes.
DERIVATIVES_OF_ONE, EVALUATION, PORTION = 2.2, 1.05, 1e8
#: Volume for each atom, in cutoffs cubed, above which a cell is mostly vacuum.
MOSTLY_EMPTY = 1000.0


@dataclass(frozen=True)
class FitSize:
    """How much there is to fit.

    Attributes
    ----------
    n_species : int
    n_frames, n_atoms : int
        Labelled configurations, and their atoms together.
    n_pairs : int
        Pairs of an atom and a neighbour within the cutoff, or the atom itself, in all labelled configurations.
    n_pairs_of_one : int
        The same in one of them for the atoms of one element, where there are most.
    n_offered : int
        Atoms of the configurations that only offer sparse points.
    n_atoms_of_one : int
        Atoms of the largest labelled configuration; as many as pairs where it is not known.
    """

    n_species: int
    n_frames: int
    n_atoms: int
    n_pairs: int
    n_pairs_of_one: int
    n_offered: int = 0
    n_atoms_of_one: int = 0

    @property
    def largest(self) -> int:
        """Atoms of the largest labelled configuration, at the most."""
        return self.n_atoms_of_one or min(self.n_atoms, self.n_pairs_of_one)

    @classmethod
    def of_frames(cls, frames: Sequence[Atoms], cutoff: float, sparse_only: Sequence[Atoms] = ()) -> FitSize:
        """The size of a database; `cutoff` in Å."""
        pairs = [_pairs(frame, cutoff) for frame in frames]
        return cls(
            n_species=len({int(number) for frame in frames for number in frame.numbers}),
            n_frames=len(frames),
            n_atoms=sum(map(len, frames)),
            n_pairs=sum(sum(own.values()) for own in pairs),
            n_pairs_of_one=max((max(own.values(), default=0) for own in pairs), default=0),
            n_offered=sum(map(len, sparse_only)),
            n_atoms_of_one=max(map(len, frames), default=0),
        )

    def joined(self, other: FitSize) -> FitSize:
        """The size of two databases together, the second of which has no other elements than the first."""
        return FitSize(
            n_species=max(self.n_species, other.n_species),
            n_frames=self.n_frames + other.n_frames,
            n_atoms=self.n_atoms + other.n_atoms,
            n_pairs=self.n_pairs + other.n_pairs,
            n_pairs_of_one=max(self.n_pairs_of_one, other.n_pairs_of_one),
            n_offered=self.n_offered + other.n_offered,
            n_atoms_of_one=max(self.largest, other.largest),
        )

    @classmethod
    def of_supercells(cls, unit_cell: Atoms, counts: Mapping[int, int], cutoff: float, n_offered: int = 0) -> FitSize:
        """The size of a database that has not been made yet.

        Parameters
        ----------
        unit_cell : ase.Atoms
        counts : mapping of int to int
            How many configurations of this crystal there will be of each number of atoms.
        cutoff : float, Å
        n_offered : int
            Atoms of the configurations that only offer sparse points.
        """
        pairs, largest = _pairs(unit_cell, cutoff), max(counts, default=0)
        n_atoms = sum(size * count for size, count in counts.items())
        return cls(
            n_species=len(set(unit_cell.numbers.tolist())),
            n_frames=sum(counts.values()),
            n_atoms=n_atoms,
            n_pairs=round(sum(pairs.values()) / len(unit_cell) * n_atoms),
            n_pairs_of_one=round(max(pairs.values()) / len(unit_cell) * largest),
            n_offered=n_offered,
            n_atoms_of_one=largest,
        )


def fit_memory(settings: GapSettings, size: FitSize) -> float:
    """Bytes that a fit needs at its peak, roughly.

    Parameters
    ----------
    settings : GapSettings
    size : FitSize
    """
    length = n_descriptor(settings, size.n_species)
    n_environments = size.n_atoms + size.n_offered
    n_points = min(settings.n_sparse * size.n_species, n_environments)
    n_rows = 7 * size.n_frames + 3 * size.n_atoms
    choice = CHOICE * 8 * n_environments * length
    if settings.solver == "numpy":
        evaluation = EVALUATION * 8 * 3 * size.n_pairs_of_one * length
        points = 8 * n_points * (COVARIANCES * n_points + 2 * length)
        triangle = memory_of_triangle(n_points + 1, 7 + 3 * size.largest)
        rows = derivatives_in_portions(size.n_pairs_of_one, length)
        return PROGRAM + max(choice, points + triangle + rows, evaluation)
    covariances = COVARIANCES * 8 * (n_rows + n_points) * n_points
    derivatives = DERIVATIVES * 8 * 3 * size.n_pairs * length
    return PROGRAM + choice + derivatives + covariances


def n_descriptor(settings: GapSettings, n_species: int) -> int:
    """Numbers in a descriptor."""
    radial = n_species * settings.n_max
    return radial * (radial + 1) // 2 * (settings.l_max + 1) + 1


def derivatives_of_one(n_pairs: int, length: int) -> float:
    """Bytes that the rows of one configuration with so many pairs and such descriptors need while they are computed."""
    return DERIVATIVES_OF_ONE * 8 * 3 * n_pairs * length


def derivatives_in_portions(n_pairs: int, length: int) -> float:
    """Bytes of those derivatives that are in memory together while rows are computed."""
    return min(PORTION, derivatives_of_one(n_pairs, length))


def allowed_memory_gb(limit_gb: float | None) -> float:
    """`limit_gb`, or the memory that is available now, GB (10⁹ bytes); infinite where that is not known."""
    if limit_gb is not None:
        return limit_gb
    free_mb = available_memory_mb()
    return np.inf if free_mb is None else free_mb * 1024**2 / 1e9


def check_fit_memory(settings: GapSettings, size: FitSize, *, limit_gb: float | None = None) -> float:
    """Refuse a fit that does not fit into memory.

    Parameters
    ----------
    settings : GapSettings
    size : FitSize
    limit_gb : float, optional
        The memory that is available now by default.

    Returns
    -------
    float
        What the fit needs, GB (10⁹ bytes).

    Raises
    ------
    InputError
        When it needs more; the message says what would need less.
    """
    needed, allowed = fit_memory(settings, size) / 1e9, allowed_memory_gb(limit_gb)
    if needed <= allowed:
        return needed
    other = fit_memory(settings.replaced(solver="numpy"), size) / 1e9
    cheaper = f"With solver = 'numpy', it needs about {other:.2g} GB. Otherwise, lower" if other < allowed else "Lower"
    raise InputError(
        f"The fit of {size.n_frames} configurations with {size.n_atoms} atoms of {size.n_species} elements (cutoff = "
        f"{settings.cutoff:g} Å, n_max = {settings.n_max}, l_max = {settings.l_max}, n_sparse = {settings.n_sparse}) "
        f"needs about {needed:.3g} GB of memory, and {allowed:.3g} GB are "
        f"{'available' if limit_gb is None else 'allowed'}. {cheaper} cutoff, n_max or l_max, fit fewer "
        "configurations, or use a machine with more memory."
    )


def _pairs(frame: Atoms, cutoff: float) -> dict[int, int]:
    """Pairs of the atoms of each element, by its number."""
    structure = boxed(frame, cutoff)
    if structure.get_volume() > MOSTLY_EMPTY * len(frame) * cutoff**3:
        # A list of the neighbours in mostly empty space takes long; the atoms are far from their images there.
        tree = KDTree(frame.positions)
        pairs = np.array([len(near) for near in tree.query_ball_point(frame.positions, cutoff)])
    else:
        pairs = np.bincount(neighbour_list("i", structure, cutoff), minlength=len(frame)) + 1
    return {int(number): int(pairs[frame.numbers == number].sum()) for number in np.unique(frame.numbers)}
