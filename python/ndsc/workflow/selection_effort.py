"""How long a choice of labels takes and how much memory, known before there are sparse points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.configurations import strata
from ndsc.errors import InputError
from ndsc.fit.memory import FitSize
from ndsc.force_constants import phonon_displacements
from ndsc.potentials.registry import fitter_of
from ndsc.qgrid import irreducible_qpoints
from ndsc.reference.memory import available_memory_mb
from ndsc.selection.selector import FIRST_OF_KIND, MOST_MEMORY
from ndsc.workflow.plan import Plan

#: Up to this number of supercells, the structures behind the phonons are made to be counted.
FEW_SUPERCELLS = 100
#: Strained unit cells behind the elastic constants.
STRAINED = 12
#: Rows of a configuration beside three for each atom.
MORE_ROWS = 7
#: Memory of the choice besides the rows, in matrices of weights by weights.
MATRICES = 12


@dataclass(frozen=True)
class SelectionEffort:
    """What a choice of labels takes beside the labels.

    Attributes
    ----------
    candidates, kinds : int
        Configurations to choose from, and kinds of them (supercell, amplitude and scale).
    fewest : int
        Candidates whose rows are computed in any case.
    weights : int
        Sparse points of all species, at the most.
    row_seconds : tuple of two floats, s
        Processor time of the rows: of those candidates, and of all.
    row_memory_gb : float
        Rows of candidates, at the most, GB (10⁹ bytes).
    memory_gb : float
        All together with one process, at the most; every further process needs `process_memory_gb` more.
    process_memory_gb : float
    """

    candidates: int
    kinds: int
    fewest: int
    weights: int
    row_seconds: tuple[float, float]
    row_memory_gb: float
    memory_gb: float
    process_memory_gb: float

    @classmethod
    def of_plan(cls, plan: Plan) -> SelectionEffort:
        """Work it out for a run that chooses its labels."""
        fit = plan.potential
        frames = plan.candidates
        kinds, first = Counter[tuple[Any, ...]](), []
        for number, kind in enumerate(strata(frames)):
            first += [number] if kinds[kind] < FIRST_OF_KIND else []
            kinds[kind] += 1
        if plan.config.selection.method == "random":
            # Only the rows of labels are needed, whichever these are.
            looked_at = sorted(frames, key=len)[-plan.most_labels :]
            fewest, most = looked_at, looked_at
        else:
            fewest, most = [frames[number] for number in first], frames
        species = len(plan.symbols)
        effort = fitter_of(fit).effort(fit, species)
        m = effort.weights
        units = [one.crystal.atoms for one in plan.each]
        pairs = [FitSize.of_supercells(unit, {len(unit): 1}, fit.cutoff).n_pairs / len(unit) for unit in units]
        pairs_per_atom = max(pairs)
        rate = pairs_per_atom * effort.seconds_per_pair
        targets = [atoms for one in plan.each for atoms in _target_atoms(one)]
        there = [len(frame) for frame in plan.databases.frames]
        largest = max([*map(len, frames), *targets, *there], default=0)
        process = effort.bytes_of_process + min(effort.most_bytes, effort.bytes_per_pair * pairs_per_atom * largest)
        rows = min(_rows_bytes(map(len, most), m), MOST_MEMORY)
        force_constants = 16.0 * m * sum(_force_constants(one) for one in plan.each)
        # Rows of labels that are there are held twice: of each configuration, and all of them joined.
        other = _rows_bytes(targets, m) + 2 * _rows_bytes(there, m) + force_constants + 8.0 * MATRICES * m**2
        return cls(
            candidates=len(frames),
            kinds=len(kinds),
            fewest=len(fewest),
            weights=m,
            row_seconds=(
                rate * (_atoms(fewest) + sum(targets) + sum(there)),
                rate * (_atoms(most) + sum(targets) + sum(there)),
            ),
            row_memory_gb=rows / 1e9,
            memory_gb=(process + rows + other) / 1e9,
            process_memory_gb=process / 1e9,
        )


def check_selection_memory(plan: Plan, *, limit_gb: float | None = None) -> SelectionEffort:
    """Refuse a choice that does not fit into memory.

    Parameters
    ----------
    plan : Plan
    limit_gb : float, optional
        The memory that is available now by default.

    Raises
    ------
    InputError
        When it needs more; the message says what would need less.
    """
    effort = SelectionEffort.of_plan(plan)
    free = available_memory_mb()
    allowed = limit_gb if limit_gb is not None else np.inf if free is None else free * 1024**2 / 1e9
    if effort.memory_gb <= allowed:
        return effort
    fewer = " take fewer frames of [[database]]," if plan.databases.each else ""
    what, keys = fitter_of(plan.potential).weights
    raise InputError(
        f"The choice of labels from {effort.candidates} candidates with {effort.weights} {what} needs up to "
        f"{effort.memory_gb:.3g} GB of memory, {effort.row_memory_gb:.2g} of them for the rows of candidates, and "
        f"{allowed:.3g} GB are available. Lower [selection] candidates or {keys},{fewer} or use a machine with "
        "more memory."
    )


def _target_atoms(plan: Plan) -> list[int]:
    """Numbers of atoms of the supercells that the targets need rows of; estimated where making them takes long."""
    unit, supercells = len(plan.crystal.atoms), plan.phonon_supercells
    if len(supercells) > FEW_SUPERCELLS:
        moved = [unit * size for size in supercells.sizes.tolist() for _ in range(3 * unit + 1)]
    else:
        moved = [len(frame) for frame in plan.phonon_frames or phonon_displacements(supercells)]
    strained = [unit] * STRAINED if plan.config.elastic.enabled else []
    return moved + strained


def _force_constants(plan: Plan) -> int:
    """Force constants at all irreducible q-points of a crystal."""
    n_stars = len(irreducible_qpoints(plan.crystal, plan.phonon_supercells.grid).weights)
    return n_stars * (3 * len(plan.crystal.atoms)) ** 2


def _atoms(frames: Iterable[Atoms]) -> int:
    return sum(map(len, frames))


def _rows_bytes(sizes: Iterable[int], m: int) -> float:
    return 8.0 * m * sum(MORE_ROWS + 3 * size for size in sizes)
