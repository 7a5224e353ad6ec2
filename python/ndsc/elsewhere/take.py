"""Outputs become labels: found, matched to what is missing, checked, compared with each other, and then written.

Everything is read and checked before the first label is written. What is good is taken although other outputs are bad:
each label stands alone, and one that is right stays right. All that is bad is told at once.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndsc.codes.specification import canonical
from ndsc.elsewhere.agreement import equal, most_common, other_kpoints, other_than_parameters, setting, shown
from ndsc.elsewhere.inputs import gives_labels_of
from ndsc.elsewhere.manifest import Entry, Manifest, Wanted
from ndsc.elsewhere.match import Match, find_entries
from ndsc.elsewhere.outputs import Problem, Returned, find_outputs
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.progress import Progress, silent
from ndsc.reference.checks import ROUNDING, check_results
from ndsc.reference.inventory import usable
from ndsc.reference.label_file import structure_record
from ndsc.reference.settings import SAMPLE, note_settings, settings_id, settings_of
from ndsc.reference.store import Label, LabelStore
from ndsc.rounding import rounded
from ndsc.targets import is_isolated_atom

#: Two results of one label are the same up to this, eV an atom and eV/Å.
SAME_ENERGY, SAME_FORCE = 1e-5, 1e-3
#: The key of a label's provenance that says where it came from.
ORIGIN = "elsewhere"


@dataclass(frozen=True)
class ReadReport:
    """What became of the outputs.

    Attributes
    ----------
    store : path
        The folder of labels.
    taken, there : list of str
        Names of the labels that were written now, and of those whose outputs are there again.
    missing : list of str
        Names of the labels of the manifest that are still not there.
    problems : list of Problem
        Outputs that were not taken, and why.
    notes : list of str
        Settings that differ and were accepted, and what else is worth knowing.
    settings : dict
        What the outputs say of their settings, all together.
    sources : list of str
        What the input was written for.
    """

    store: Path
    taken: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, float | str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)

    def require_all(self) -> None:
        """Raise when an output was not taken.

        Raises
        ------
        ReferenceCalculationError
            With all of them.
        """
        if self.problems:
            told = "".join(f"\n  {problem.path}: {problem.reason}" for problem in self.problems)
            raise ReferenceCalculationError(
                f"{len(self.problems)} outputs were not taken (the others were):{told}\nCorrect them and read the "
                "folder again."
            )


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An output with the label that it is for."""

    entry: Entry
    match: Match
    returned: Returned


def read_labels(
    folders: Sequence[str | Path],
    *,
    store: str | Path | None = None,
    other_settings: bool = False,
    without_stress: bool = False,
    progress: Progress = silent,
) -> ReadReport:
    """Take the outputs in folders that :func:`~ndsc.elsewhere.write_inputs` made, as labels.

    Parameters
    ----------
    folders : sequence of path
        Such folders, or some of the folders in one. Outputs are matched by their structure, wherever they lie.
    store : path, optional
        The folder of labels, if not the one that the input was written for.
    other_settings : bool
        Whether results are taken whose settings differ from the others', with a note.
    without_stress : bool
        Whether results without stress are taken.
    progress : callable
        Called with ("outputs", folders read, all).

    Returns
    -------
    ReadReport

    Raises
    ------
    InputError
        When a folder is not there or not made by ndsc, or they belong to several stores.
    """
    places = [Path(folder) for folder in folders]
    manifests = {path: Manifest.load(path) for path in dict.fromkeys(Manifest.find(place) for place in places)}
    stores = {str(manifest.store.absolute()) for manifest in manifests.values()}
    if store is None and len(stores) > 1:
        raise InputError(
            f"The folders belong to {len(stores)} folders of labels: {', '.join(sorted(stores))}. Read them one by one."
        )
    labels = LabelStore(Path(min(stores)) if store is None else store)
    labels.check_writable()
    entries = list({entry.wanted.key: entry for found in manifests.values() for entry in found.entries}.values())
    problems: list[Problem] = []
    unread: list[Problem] = []
    candidates: list[_Candidate] = []
    roots = [place.resolve() for place in places]
    for place in places:
        resolved = place.resolve()
        if any(other != resolved and other in resolved.parents for other in roots):
            continue  # it is in another one
        root = Manifest.find(place).parent
        for good, bad in find_outputs(place, without=labels.path, progress=progress):
            unread += bad
            for returned in good:
                found = _matched(entries, returned, root)
                if isinstance(found, Problem):
                    problems.append(found)
                elif (reason := _refused(found, without_stress)) is not None:
                    problems.append(Problem(returned.path, reason))
                else:
                    candidates.append(found)
    taking = _Taking(labels, entries, problems)
    taking.settings(candidates, accept=other_settings)
    taking.write()
    taking.judge(unread, {manifest.folder: manifest for manifest in manifests.values()})
    return replace(taking.report(), sources=list(dict.fromkeys(found.source for found in manifests.values())))


def _matched(entries: Sequence[Entry], returned: Returned, root: Path) -> _Candidate | Problem:
    fitting, reason = find_entries(entries, returned.atoms, max(ROUNDING, returned.rounding))
    if not fitting:
        return Problem(returned.path, reason)
    own = os.path.relpath(returned.path.parent.absolute(), root.absolute())
    for entry, match in fitting:
        if own == entry.folder or own.startswith(entry.folder + os.sep):
            return _Candidate(entry, match, returned)
    entry, match = fitting[0]
    rivals = [other for other, found in fitting[1:] if abs(found.distance - match.distance) < 1e-9]
    if rivals:
        return Problem(
            returned.path,
            f"it fits {entry.wanted.name} and {rivals[0].wanted.name}, which differ in their settings; put it into "
            f"the folder of one of them,  {entry.folder} or {rivals[0].folder}",
        )
    return _Candidate(entry, match, returned)


def _refused(found: _Candidate, without_stress: bool) -> str | None:
    """Why an output that fits cannot be a label."""
    returned, wanted = found.returned, found.entry.wanted
    if not gives_labels_of(returned.code, wanted.spec):
        return f"it is an output of {returned.version}, and the label belongs to calculator = {wanted.spec.name!r}"
    single = is_isolated_atom(wanted.atoms)
    if returned.stress is None and not (without_stress or single):
        return (
            "it has no stress, which elastic constants need (VASP: ISIF = 2; CASTEP: calculate_stress; pw.x: tstress; "
            "aims: compute_analytical_stress; CP2K: STRESS_TENSOR ANALYTICAL, and &PRINT, &STRESS_TENSOR ON)"
        )
    try:
        check_results(wanted.name, len(wanted.atoms), returned.energy, returned.forces, returned.stress)
    except ReferenceCalculationError as error:
        return str(error).rstrip(".")
    return other_kpoints(wanted, returned) or other_than_parameters(wanted, returned)


class _Taking:
    """The outputs that fit, until they are labels."""

    def __init__(self, store: LabelStore, entries: Sequence[Entry], problems: list[Problem]) -> None:
        self.store, self.entries, self.problems = store, entries, problems
        self.good: list[_Candidate] = []
        self.notes: list[str] = []
        self.common: dict[str, float | str] = {}
        self.taken: list[str] = []
        self.there: list[str] = []
        self._stored: dict[str, Label | None] = {}

    def settings(self, candidates: Sequence[_Candidate], *, accept: bool) -> None:
        """Compare the settings of all outputs and of the labels that are there, of each calculator by itself."""
        groups: dict[tuple[str, bool], list[_Candidate]] = defaultdict(list)
        for found in candidates:
            groups[_kind(found.entry.wanted)].append(found)
        for kind, group in groups.items():
            usual, tied = most_common([found.returned.settings for found in group])
            stored, unclear = most_common(self._stored_settings(kind))
            usual |= stored
            tied = (tied - stored.keys()) | unclear
            if not kind[1]:
                self.common |= usual
            for found in group:
                wrong = [
                    f"{setting(key, value)}, and {'differs in as many' if key in tied else shown(usual[key])} "
                    f"{'others' if key in tied else 'in the others'}"
                    for key, value in found.returned.settings.items()
                    if key in tied or (key in usual and not equal(value, usual[key]))
                ]
                if not wrong:
                    self.good.append(found)
                elif accept:
                    self.notes.append(f"{found.returned.path} has other settings: {', '.join(wrong)}.")
                    self.good.append(found)
                else:
                    self.problems.append(Problem(found.returned.path, f"its settings differ: {', '.join(wrong)}"))

    def _stored_settings(self, kind: tuple[str, bool]) -> list[dict[str, Any]]:
        """What the labels that are there say of their settings, also those of other folders; if many, of some."""
        name, single = kind
        origins = (label.provenance.get(ORIGIN) for label in usable(self.store, name))
        found = (
            origin["settings"]
            for origin in origins
            if isinstance(origin, dict) and origin.get("single_atom", False) is single
        )
        return list(islice(found, SAMPLE))

    def write(self) -> None:
        """Write a label for each structure, once."""
        results: dict[str, list[_Candidate]] = defaultdict(list)
        for found in self.good:
            results[found.entry.wanted.key].append(found)
        noted: set[str] = set()
        for same in results.values():
            wanted = same[0].entry.wanted
            labels = [(_label(found), found.returned.path) for found in same]
            first = self._label(wanted) or labels[0][0]
            # Of several outputs of one label, those that agree with the first are the same one.
            others = [(label, path) for label, path in labels if not _agree(first, label)]
            for label, path in others:
                self.problems.append(Problem(path, self._contradiction(wanted, first, label)))
            if len(others) == len(labels) or (others and self._label(wanted) is None):
                continue
            if self._label(wanted) is not None:
                self.there.append(wanted.name)
                continue
            if not is_isolated_atom(wanted.atoms) and settings_id(settings_of(wanted.spec)) not in noted:
                note_settings(self.store, wanted.spec)
                noted.add(settings_id(settings_of(wanted.spec)))
            self.store.put(wanted.key, first)
            self.taken.append(wanted.name)
        for code, versions in _versions(self.good).items():
            if len(versions) > 1:
                counted = ", ".join(f"{count} by {version}" for version, count in versions.most_common())
                self.notes.append(f"The outputs of {code} are of different versions: {counted}.")

    def judge(self, unread: Sequence[Problem], manifests: Mapping[Path, Manifest]) -> None:
        """Tell outputs that are no result; those beside a label that is there are earlier tries, and only noted."""
        done = [
            (folder / entry.folder).resolve()
            for folder, manifest in manifests.items()
            for entry in manifest.entries
            if entry.wanted.key in self.store
        ]
        for problem in unread:
            place = problem.path.resolve()
            if any(place.is_relative_to(folder) for folder in done):
                self.notes.append(f"{problem.path} was ignored, because its label exists already: {problem.reason}.")
            else:
                self.problems.append(problem)

    def report(self) -> ReadReport:
        """What was done."""
        missing = [entry.wanted.name for entry in self.entries if entry.wanted.key not in self.store]
        problems = sorted(dict.fromkeys(self.problems), key=lambda problem: str(problem.path))
        return ReadReport(self.store.path, self.taken, self.there, missing, problems, self.notes, self.common)

    def _label(self, wanted: Wanted) -> Label | None:
        if wanted.key not in self._stored:
            self._stored[wanted.key] = self.store.get(wanted.key)
        return self._stored[wanted.key]

    def _contradiction(self, wanted: Wanted, first: Label, label: Label) -> str:
        which = "the existing label" if self._label(wanted) is not None else "another output for it"
        energy = 1e3 * abs(first.energy - label.energy) / len(label.forces)
        force = float(np.abs(first.forces - label.forces).max())
        return (
            f"it belongs to {wanted.name} and differs from {which} by {energy:.3g} meV an atom and {force:.3g} eV/Å; "
            "remove "
            f"the wrong one ({self.store.path_of(wanted.key).name} in the labels, if it is the label)"
        )


def _kind(wanted: Wanted) -> tuple[str, bool]:
    """Labels of one kind have the same settings: those of a calculator, and single atoms by themselves."""
    return settings_id(settings_of(wanted.spec)), is_isolated_atom(wanted.atoms)


def _versions(found: Iterable[_Candidate]) -> dict[str, Counter[str]]:
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    for candidate in found:
        versions[candidate.returned.code][candidate.returned.version] += 1
    return versions


def _agree(first: Label, second: Label) -> bool:
    close: NDArray[np.bool_] = np.abs(first.forces - second.forces) <= SAME_FORCE
    return bool(abs(first.energy - second.energy) <= SAME_ENERGY * len(first.forces) and close.all())


def _label(found: _Candidate) -> Label:
    """The label of an output, atoms in the order of the structure."""
    wanted, returned = found.entry.wanted, found.returned
    spec = wanted.spec
    return Label(
        key=wanted.key,
        energy=returned.energy,
        forces=returned.forces[found.match.order],
        stress=returned.stress,
        seconds=returned.seconds,
        provenance={
            "name": wanted.name,
            "calculator": spec.name,
            "parameters": dict(spec.parameters),
            "kgrid": canonical(spec.kgrid),
            "code": returned.version,
            ORIGIN: {
                "program": returned.code,
                "file": str(returned.path),
                "settings": returned.settings,
                "single_atom": is_isolated_atom(wanted.atoms),
            },
        },
        structure=structure_record(rounded(wanted.atoms)),
    )
