"""Inspection and maintenance of a label store: status, verification, clean-up, export."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ndsc.errors import InputError
from ndsc.extended_xyz import opened, write_frames
from ndsc.files import read_json, whole_file
from ndsc.reference.claims import Holder
from ndsc.reference.label_file import Label
from ndsc.reference.settings import recorded_settings, settings_id
from ndsc.reference.store import LabelStore
from ndsc.store import DamagedError
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A file of the store that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ClaimState:
    """A label that is being computed, or was when its holder died."""

    key: str
    holder: Holder | None
    alive: bool


@dataclass(frozen=True)
class SizeTimes:
    """The labels of one number of atoms, and what they cost.

    Attributes
    ----------
    atoms, labels : int
    seconds, shortest, longest : float, s
        Mean and range of the time of processors of a label, or of the wall time where that is not recorded.
    """

    atoms: int
    labels: int
    seconds: float
    shortest: float
    longest: float


@dataclass(frozen=True)
class StoreStatus:
    """A summary of a store.

    Attributes
    ----------
    labels : int
        Labels that can be used.
    seconds : float
        Time that they took, all together, s.
    cpu_seconds : float or None
        The same in time of processors; None where a label does not have it.
    by_size : list of SizeTimes
        Ordered by the number of atoms.
    settings : dict of str to dict
        The settings that they were computed with, by their short name; each with the number of labels.
    problems : list of Problem
        Files that are damaged, were set aside, or come from a newer version.
    claims : list of ClaimState
    failed : list of Path
        Folders with the files of calculations that failed.
    """

    labels: int
    seconds: float
    cpu_seconds: float | None
    by_size: list[SizeTimes]
    settings: dict[str, dict[str, Any]]
    problems: list[Problem]
    claims: list[ClaimState]
    failed: list[Path]


def status(store: LabelStore) -> StoreStatus:
    """Read every label and every claim of a store.

    Raises
    ------
    InputError
        When there is no such folder.
    """
    _require(store)
    problems = [Problem(path, "set aside, because it was damaged") for path in sorted(store.path.glob("*.damaged"))]
    settings: dict[str, dict[str, Any]] = {}
    seconds = 0.0
    cpu_seconds: float | None = 0.0
    times: dict[int, list[float]] = {}
    for _, label in read_all(store):
        if isinstance(label, Problem):
            problems.append(label)
            continue
        recorded = recorded_settings(label.provenance) or {}
        entry = settings.setdefault(settings_id(recorded), {**recorded, "labels": 0, "codes": Counter()})
        entry["labels"] += 1
        entry["codes"][str(label.provenance.get("code", "not named"))] += 1
        seconds += label.seconds
        times.setdefault(len(label.forces), []).append(label.cost_seconds)
        cpu_seconds = None if cpu_seconds is None or label.cpu_seconds is None else cpu_seconds + label.cpu_seconds
    return StoreStatus(
        labels=sum(entry["labels"] for entry in settings.values()),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        by_size=[
            SizeTimes(atoms, len(group), sum(group) / len(group), min(group), max(group))
            for atoms, group in sorted(times.items())
        ],
        settings=settings,
        problems=problems,
        claims=[ClaimState(*claim) for claim in store.claims.all()],
        failed=sorted(path for path in (store.path / "failed").glob("*") if path.is_dir()),
    )


def settings_of_label(label: Label) -> str:
    """The short name of the settings that a label was computed with."""
    return settings_id(recorded_settings(label.provenance) or {})


def read_all(store: LabelStore) -> Iterator[tuple[str, Label | Problem]]:
    """Every label, or what is wrong with its file; nothing is moved or changed.

    Raises
    ------
    InputError
        When there is no such folder.
    """
    _require(store)
    for key in list(store.keys()):
        try:
            yield key, store.load(key)
        except (OSError, ValueError) as error:
            yield key, Problem(store.path_of(key), str(error).rstrip("."))


def usable(store: LabelStore, settings: str | None = None) -> Iterator[Label]:
    """Every label that can be used, of one settings or of all; the others are skipped with a warning each."""
    for _, found in read_all(store):
        if isinstance(found, Problem):
            log.warning("%s is skipped: %s.", found.path, found.reason)
        elif settings in (None, settings_of_label(found)):
            yield found


def load_one(store: LabelStore, prefix: str) -> Label:
    """The one label whose key begins so.

    Raises
    ------
    InputError
        When there is none, there are several, or its file cannot be used.
    """
    _require(store)
    found = [key for key in list(store.keys()) if key.startswith(prefix.lower())]
    if len(found) != 1:
        what = "No label begins" if not found else f"{len(found)} labels begin"
        raise InputError(
            f"{what} with {prefix!r} in {store.path}. ndsc labels list shows all; give more characters of the key."
        )
    path = store.path_of(found[0])
    try:
        return store.load(found[0])
    except (OSError, DamagedError) as error:
        raise InputError(f"The label {path} cannot be used: {error}. The next run computes it again.") from error


def prunable(store: LabelStore, *, settings: str | None = None) -> list[Path]:
    """Files that can go: set aside or temporary, claims of holders that are gone, files of failed calculations.

    Parameters
    ----------
    store : LabelStore
    settings : str, optional
        Also the labels of these settings (their short name, as the status shows), and what was derived from them.

    Raises
    ------
    InputError
        When no label has such settings.
    """
    current = status(store)
    files = [*store.path.glob("*.damaged"), *current.failed]
    files += [store.claims.path_of(claim.key) for claim in current.claims if not claim.alive]
    if not any(claim.alive for claim in current.claims):
        # While a label is computed, a temporary file may be the one that is just being written.
        files += [*store.path.glob(".*.tmp"), *store.claims.folder.glob(".*.tmp")]
    if settings is not None:
        if settings not in current.settings:
            raise InputError(
                f"No label of {store.path} has the settings {settings!r}. Choose one of: "
                f"{', '.join(sorted(current.settings)) or 'none, the store is empty'}."
            )
        keys = {label.key for label in usable(store, settings)}
        files += [store.path / "settings" / f"{settings}.json", *map(store.path_of, keys), *_derived_from(store, keys)]
    return sorted(path for path in files if path.exists())


def _derived_from(store: LabelStore, keys: set[str]) -> Iterator[Path]:
    """Relaxed crystals and elastic constants that start from one of these labels."""
    for path in store.derived.glob("*.json"):
        try:
            start = read_json(path)["of"]["start"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # It is damaged, and is made again when it is needed.
        if start in keys:
            yield path


def prune(files: list[Path]) -> None:
    """Remove files and folders that :func:`prunable` found."""
    for path in files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def export(store: LabelStore, path: Path, *, settings: str | None = None) -> int:
    """Write the labels to an ASE database (``.db``, which ``ase db`` reads) or to an extended-XYZ file.

    Returns
    -------
    int
        Number of labels written; those that are damaged are left out.

    Raises
    ------
    InputError
        When the file has another ending, or there is nothing to write.
    """
    if path.suffix not in (".db", ".xyz", ".extxyz"):
        raise InputError(f"{path} ends in {path.suffix or 'no suffix'}. Give a name that ends in .db, .xyz or .extxyz.")
    found = list(usable(store, settings))
    if not found:
        raise InputError(
            f"There is no label to export in {store.path}{f' of settings {settings}' if settings else ''}."
        )
    with whole_file(path) as temporary:
        if path.suffix == ".db":
            _write_database(temporary, found)
        else:
            with opened(temporary, "w", compressed=False) as file:
                write_frames(file, map(_with_keys, found))
    return len(found)


def _named(label: Label) -> Atoms:
    """The structure of a label with its name and key in ``info``."""
    atoms = label.atoms
    atoms.info |= {"ndsc_name": str(label.provenance.get("name", "")), "ndsc_key": label.key}
    return atoms


def _with_keys(label: Label) -> Atoms:
    """With the database's keys instead of a calculator: bare names would be taken for something else."""
    atoms = _named(label)
    atoms.info[ENERGY_KEY] = label.energy
    atoms.arrays[FORCES_KEY] = label.forces
    if label.stress is not None:
        atoms.info[VIRIAL_KEY] = -atoms.get_volume() * tensor(label.stress, f"the stress in the label {label.key}")
    return atoms


def _write_database(path: Path, found: list[Label]) -> None:
    from ase.db import connect

    path.unlink()
    with connect(str(path), type="db", use_lock_file=False) as database:
        for label in found:
            atoms = _named(label)
            results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces}
            stress = {} if label.stress is None else {"stress": label.stress}
            atoms.calc = SinglePointCalculator(atoms, **results, **stress)
            database.write(
                atoms,
                key_value_pairs={
                    "name": atoms.info["ndsc_name"],
                    "label": label.key,
                    "seconds": label.seconds,
                    **({} if label.cpu_seconds is None else {"cpu_seconds": label.cpu_seconds}),
                    "reference": str(label.provenance.get("calculator", "")),
                },
                data={"provenance": label.provenance},
            )


def _require(store: LabelStore) -> None:
    if not store.path.is_dir():
        raise InputError(f"There is no folder {store.path}. Give the folder of labels of a run: RUN/labels.")
