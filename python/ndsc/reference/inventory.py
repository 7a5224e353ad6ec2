"""What is in a store: for people who look after it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ndsc.errors import InputError
from ndsc.files import whole_file
from ndsc.reference.claims import Holder
from ndsc.reference.label_file import Label, structure_from_record
from ndsc.reference.settings import recorded_settings, settings_id
from ndsc.reference.store import LabelStore


@dataclass(frozen=True)
class Problem:
    """A file of the store that is no usable label, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ClaimState:
    """A label that is being computed, or was when its holder died."""

    key: str
    holder: Holder | None
    alive: bool


@dataclass(frozen=True)
class StoreStatus:
    """A summary of a store.

    Attributes
    ----------
    labels : int
        Labels that can be used.
    seconds : float
        Time that they took, all together, s.
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
    settings: dict[str, dict[str, Any]]
    problems: list[Problem]
    claims: list[ClaimState]
    failed: list[Path]


@dataclass
class _Sums:
    count: int = 0
    seconds: float = 0.0
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    codes: dict[str, Counter[str]] = field(default_factory=dict)


def status(store: LabelStore) -> StoreStatus:
    """Read every label and every claim of a store.

    Raises
    ------
    InputError
        When there is no such folder.
    """
    _require(store)
    sums = _Sums()
    problems = [Problem(path, "set aside, because it was damaged") for path in sorted(store.path.glob("*.damaged"))]
    for _, found in read_all(store):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        label, _ = found
        settings = recorded_settings(label.provenance) or {}
        name = settings_id(settings)
        sums.count += 1
        sums.seconds += label.seconds
        sums.settings[name] = settings
        sums.counts[name] += 1
        sums.codes.setdefault(name, Counter())[str(label.provenance.get("code", "not named"))] += 1
    return StoreStatus(
        labels=sums.count,
        seconds=sums.seconds,
        settings={
            name: {**settings, "labels": sums.counts[name], "codes": dict(sums.codes[name])}
            for name, settings in sums.settings.items()
        },
        problems=problems,
        claims=[ClaimState(*claim) for claim in store.claims.all()],
        failed=sorted(path for path in (store.path / "failed").glob("*") if path.is_dir()),
    )


def read_all(store: LabelStore) -> Iterator[tuple[str, tuple[Label, dict[str, Any]] | Problem]]:
    """Every label with the record of its structure, or what is wrong with it; nothing is moved or changed.

    Raises
    ------
    InputError
        When there is no such folder.
    """
    _require(store)
    for key in list(store.keys()):
        try:
            yield key, store.read(key)
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield key, Problem(store.path_of(key), str(error).rstrip("."))


def find_key(store: LabelStore, prefix: str) -> str:
    """The one key that begins so.

    Raises
    ------
    InputError
        When no key does, or several do.
    """
    _require(store)
    found = [key for key in list(store.keys()) if key.startswith(prefix.lower())]
    if len(found) != 1:
        what = "No label begins" if not found else f"{len(found)} labels begin"
        raise InputError(f"{what} with {prefix!r} in {store.path}. ndsc labels list shows all; give more of the key.")
    return found[0]


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
        # While somebody computes, a temporary file may be the label that is just being written.
        files += [*store.path.glob(".*.tmp"), *store.claims.folder.glob(".*.tmp")]
    if settings is not None:
        if settings not in current.settings:
            raise InputError(
                f"No label of {store.path} has the settings {settings!r}. Choose one of: "
                f"{', '.join(sorted(current.settings)) or 'none, the store is empty'}."
            )
        keys = {
            key
            for key, found in read_all(store)
            if not isinstance(found, Problem) and settings_id(recorded_settings(found[0].provenance) or {}) == settings
        }
        files += [store.path / "settings" / f"{settings}.json", *map(store.path_of, keys), *_derived_from(store, keys)]
    return sorted(path for path in files if path.exists())


def _derived_from(store: LabelStore, keys: set[str]) -> Iterator[Path]:
    """Relaxed crystals and elastic constants that start from one of these labels."""
    for path in store.derived.glob("*.json"):
        try:
            start = json.loads(path.read_text(encoding="utf-8"))["of"]["start"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # It is damaged, and whoever needs it makes it again.
        if start in keys:
            yield path


def prune(files: list[Path]) -> None:
    """Remove files and folders that :func:`prunable` found."""
    for path in files:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def labelled_atoms(label: Label, structure: dict[str, Any]) -> Atoms:
    """A structure with its label as ASE knows it, with the name, the key and the code in ``info``."""
    atoms = structure_from_record(structure)
    results: dict[str, Any] = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces}
    if label.stress is not None:
        results["stress"] = label.stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info["ndsc_name"] = str(label.provenance.get("name", ""))
    atoms.info["ndsc_key"] = label.key
    return atoms


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
        raise InputError(f"{path} ends in {path.suffix or 'nothing'}. Give a name that ends in .db, .xyz or .extxyz.")
    found = []
    for _, entry in read_all(store):
        if isinstance(entry, Problem):
            continue
        recorded = recorded_settings(entry[0].provenance) or {}
        if settings is None or settings_id(recorded) == settings:
            found.append(entry)
    if not found:
        raise InputError(
            f"There is no label to export in {store.path}{f' of settings {settings}' if settings else ''}."
        )
    with whole_file(path) as temporary:
        if path.suffix == ".db":
            _write_database(temporary, found)
        else:
            from ase.io import write

            write(temporary, [_with_keys(*entry) for entry in found], format="extxyz")
    return len(found)


def _with_keys(label: Label, structure: dict[str, Any]) -> Atoms:
    """With the database's keys instead of a calculator: bare names would be taken for something else."""
    atoms = labelled_atoms(label, structure)
    atoms.calc = None
    atoms.info["REF_energy"] = label.energy
    atoms.arrays["REF_forces"] = label.forces
    if label.stress is not None:
        xx, yy, zz, yz, xz, xy = -atoms.get_volume() * label.stress
        # An array: a list would be written as JSON, which gap_fit does not read.
        atoms.info["REF_virial"] = np.array([xx, xy, xz, xy, yy, yz, xz, yz, zz])
    return atoms


def _write_database(path: Path, found: list[tuple[Label, dict[str, Any]]]) -> None:
    from ase.db import connect

    path.unlink()
    with connect(str(path), type="db", use_lock_file=False) as database:
        for label, structure in found:
            atoms = labelled_atoms(label, structure)
            database.write(
                atoms,
                key_value_pairs={
                    "name": atoms.info["ndsc_name"],
                    "label": label.key,
                    "seconds": label.seconds,
                    "reference": str(label.provenance.get("calculator", "")),
                },
                data={"provenance": label.provenance},
            )


def _require(store: LabelStore) -> None:
    if not store.path.is_dir():
        raise InputError(f"There is no folder {store.path}. Give the folder of labels of a run: RUN/labels.")
