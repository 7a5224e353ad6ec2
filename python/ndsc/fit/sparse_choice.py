"""Sparse points that are chosen before anything is labelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ase import Atoms

from ndsc.configurations import strata
from ndsc.errors import InputError, NdscError
from ndsc.files import ScratchFolder, write_text
from ndsc.fit.calculator import bare_structure
from ndsc.fit.executable import find_gap_fit, require_quippy, run_gap_fit
from ndsc.fit.folder import LOG_NAME, RECORD_FORMAT, TRAINING_NAME, XML_NAME, key_of_fit, publish
from ndsc.fit.gap import check_finished, fit_arguments
from ndsc.fit.memory import FitSize, check_fit_memory
from ndsc.fit.regularisation import ENERGY_SIGMA_KEY
from ndsc.fit.settings import GapSettings
from ndsc.fit.sparse_points import read_sparse_points
from ndsc.fit.training import write_training_file
from ndsc.progress import Progress, silent
from ndsc.store import DamagedError, Store
from ndsc.targets import ENERGY_KEY

T = TypeVar("T")

#: Structures that sparse points are chosen from, and their atoms together: with more, the choice takes minutes.
MOST_FRAMES, MOST_ATOMS = 250, 3000
#: The record of a choice in its folder, which is a :class:`ndsc.store.Store` of one result.
RECORD = "sparse_points"
#: What progress calls this.
TASK = "choosing sparse points"


def choose_sparse_points(
    frames: Sequence[Atoms],
    directory: str | Path,
    settings: GapSettings | None = None,
    *,
    progress: Progress = silent,
) -> Path:
    """Choose the sparse points of a potential from structures alone, as the paper suggests (section 4).

    gap_fit chooses them, by ``settings.sparse_method``, from at most 250 of the structures (fewer where these have many
    atoms), spread evenly over all kinds of them; the first is always among these.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Structures, whose targets are not looked at; the unperturbed unit cell should be the first.
    directory : path
        Folder for the potential. A choice from the same structures with the same settings is used again.
    settings : GapSettings, optional
        Its `e0` does not matter.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    path
        XML file of a GAP with these sparse points, whose weights mean nothing.

    Raises
    ------
    MissingExtraError
        When quippy-ase is not installed.
    InputError
        When there are no structures, the folder cannot be written, or memory does not hold their descriptors.
    FitError
        When gap_fit fails.
    """
    settings = (GapSettings() if settings is None else settings).replaced(solver="numpy", e0="average")
    if not frames:
        raise InputError("There are no structures to choose sparse points from. Give some, as from make_candidates.")
    offered = [frames[number] for number in spread_over_kinds(frames)]
    require_quippy()
    find_gap_fit()
    check_fit_memory(settings, FitSize.of_frames(offered, settings.cutoff))
    target = Path(directory).resolve()
    try:
        target.mkdir(parents=True, exist_ok=True)
        scratch_folder = ScratchFolder(target)
    except OSError as error:
        raise InputError(
            f"The sparse points cannot be written to {target} ({error.strerror}). Choose a folder that you may write "
            "to."
        ) from error
    with scratch_folder:
        scratch = scratch_folder.path
        training = write_training_file(
            scratch / TRAINING_NAME, [_with_dummy_energy(frame, settings.cutoff) for frame in offered], [], settings
        )
        arguments = fit_arguments(training, settings, dict.fromkeys(training.species, 0.0), None)
        choices = _choices(target, key_of_fit(scratch, arguments))

        def compute() -> Path:
            progress(TASK, 0, 1)
            run = run_gap_fit(arguments, scratch, LOG_NAME)
            write_text(target / LOG_NAME, run.log + "\n")
            check_finished(run, scratch / XML_NAME, target / LOG_NAME)
            read_sparse_points(scratch / XML_NAME)
            publish(scratch, target, (TRAINING_NAME, XML_NAME), RECORD)
            progress(TASK, 1, 1)
            return target / XML_NAME

        return choices.get_or_compute(RECORD, compute)


def spread_over_kinds(frames: Sequence[Atoms], n: int = MOST_FRAMES, n_atoms: int = MOST_ATOMS) -> list[int]:
    """Numbers of some structures, evenly over all kinds (:func:`ndsc.configurations.strata`); the first among them.

    Parameters
    ----------
    frames : sequence of ase.Atoms
    n : int
        How many at the most.
    n_atoms : int
        Atoms that they have together at the most, unless the first one has more.
    """
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for number, kind in enumerate(strata(frames)):
        kinds.setdefault(kind, []).append(number)
    # In turn one of each kind, those of a kind from all over its list.
    queues = _spread_order([_spread_order(own) for own in kinds.values()])
    rounds = max(map(len, queues))
    turns = [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]
    found, atoms = [0], len(frames[0])
    for number in turns:
        if len(found) == n:
            break
        if number != 0 and atoms + len(frames[number]) <= n_atoms:
            found.append(number)
            atoms += len(frames[number])
    return sorted(found)


def _spread_order(things: list[T]) -> list[T]:
    """The same things, so ordered that any first few of them come from all over the list (van der Corput's order)."""
    bits = max(1, (len(things) - 1).bit_length())
    order = sorted(range(len(things)), key=lambda position: int(f"{position:0{bits}b}"[::-1], 2))
    return [things[position] for position in order]


def _with_dummy_energy(frame: Atoms, cutoff: float) -> Atoms:
    """The bare structure with an energy of zero, since gap_fit reads no structures without targets."""
    bare = bare_structure(frame, cutoff)
    bare.info = {ENERGY_KEY: 0.0, ENERGY_SIGMA_KEY: 1.0}
    return bare


def _choices(folder: Path, key: str) -> Store[Path]:
    """The store of one choice that a folder is; one of another key in it counts as missing."""

    def decode(_: str, record: Any) -> Path:
        if record["key"] != key:
            raise FileNotFoundError("it is another choice")
        try:
            read_sparse_points(folder / XML_NAME)
        except NdscError as error:
            raise DamagedError(str(error)) from error
        return folder / XML_NAME

    return Store(folder, decode, lambda _: json.dumps({"format": RECORD_FORMAT, "key": key}, indent=1))
