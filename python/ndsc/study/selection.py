"""Which labelled configurations a potential learns from: filters, then a draw that a seed decides."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ase import Atoms

from ndsc.config.study import SelectConfig
from ndsc.errors import InputError
from ndsc.study.runs import StudyRun

#: Amplitudes and scales closer than this are the same.
CLOSE = 1e-9


@dataclass(frozen=True)
class Selected:
    """Labelled configurations and what they cost.

    Attributes
    ----------
    members : tuple of (str, str)
        Run and name of each, in the order of the runs' databases.
    frames : tuple of ase.Atoms
    seconds : float
        Recorded wall time of the labels, s.
    """

    members: tuple[tuple[str, str], ...]
    frames: tuple[Atoms, ...]
    seconds: float

    @property
    def n_atoms(self) -> int:
        """Atoms of all configurations together."""
        return sum(len(frame) for frame in self.frames)

    @property
    def atoms_cubed(self) -> float:
        """The cubes of the numbers of atoms, summed."""
        return float(sum(len(frame) ** 3 for frame in self.frames))


def candidates(runs: Sequence[StudyRun], section: SelectConfig, *, leave_out: bool = False) -> Selected:
    """All labelled configurations that the filters let through, with those that are always in.

    Parameters
    ----------
    runs : sequence of StudyRun
    section : SelectConfig
    leave_out : bool
        Go on without configurations that have no label.

    Raises
    ------
    InputError
        When nothing is let through, or a filter names what is not there.
    ReferenceCalculationError
        When a configuration has no label.
    """
    members: list[tuple[str, str]] = []
    everything = [atoms for run in runs for atoms in run.plan.to_fit]
    _check_filters(section, everything)
    for run in runs:
        wanted = [
            str(atoms.info["ndsc_name"])
            for atoms in run.plan.to_fit
            if passes(atoms, section) or _is_always(atoms, section)
        ]
        if not leave_out:
            run.require(wanted)
        members += [(run.name, name) for name in wanted if name in run.labels]
    if not members:
        names = ", ".join(run.name for run in runs)
        raise InputError(
            f"No labelled configuration of {names} passes select = {_said(section)}. Leave filters out, or compute the "
            "labels."
        )
    return _selected(runs, members)


def draw(
    runs: Sequence[StudyRun],
    section: SelectConfig,
    seed: int,
    *,
    budget: Callable[[str], Selected] | None = None,
    leave_out: bool = False,
) -> Selected:
    """The configurations that one seed draws.

    With one seed, what a smaller limit draws is part of what a larger one does. A limit of atoms or seconds is kept to:
    configurations are taken in random order until the next one would exceed it.

    Parameters
    ----------
    runs : sequence of StudyRun
    section : SelectConfig
    seed : int
    budget : callable
        Gives what the potential of a name selected, for limits that name one.
    leave_out : bool

    Raises
    ------
    InputError
        When fewer labels are there than asked for, or not a single one is within the limit.
    ReferenceCalculationError
        When a configuration has no label.
    """
    pool = candidates(runs, section, leave_out=leave_out)
    if not section.draws:
        return pool
    by_name = {run.name: run for run in runs}
    always = [member for member in pool.members if _is_always(by_name[member[0]].database[member[1]], section)]
    others = sorted((member for member in pool.members if member not in set(always)), key=lambda m: _rank(seed, m))
    limit, weigh = _limit(section, pool, by_name, budget)
    taken = list(always)
    # Rounded once, a sum of seconds is the same in every order, and the limit is kept to exactly.
    for member in others:
        if math.fsum(weigh(one) for one in [*taken, member]) > limit:
            break
        taken.append(member)
    if not taken or math.fsum(weigh(member) for member in taken) > limit:
        raise InputError(
            f"select = {_said(section)} allows {limit:g}, and "
            f"{'the labels that are always in' if always else 'one label'} alone exceed it. Raise the limit."
        )
    order = {member: number for number, member in enumerate(pool.members)}
    return _selected(runs, sorted(taken, key=order.__getitem__))


def passes(atoms: Atoms, section: SelectConfig) -> bool:
    """Whether a configuration passes all filters."""
    info = atoms.info
    return (
        (not section.kind or info.get("config_type") in section.kind)
        and (not section.part or info.get("ndsc_part") in section.part)
        and (not section.name or _like(atoms, section.name))
        and (not section.displacement or _among(info.get("ndsc_displacement"), section.displacement))
        and (not section.scale or _among(info.get("ndsc_scale"), section.scale))
    )


def _limit(
    section: SelectConfig,
    pool: Selected,
    runs: dict[str, StudyRun],
    budget: Callable[[str], Selected] | None,
) -> tuple[float, Callable[[tuple[str, str]], float]]:
    """The limit of a draw, and what of it one configuration takes."""
    n = len(pool.members)
    if section.seconds is not None:
        seconds = section.seconds if not isinstance(section.seconds, str) else _other(budget, section.seconds).seconds
        return seconds, lambda member: runs[member[0]].labels[member[1]].seconds
    if section.atoms is not None:
        atoms = section.atoms if not isinstance(section.atoms, str) else _other(budget, section.atoms).n_atoms
        return atoms, lambda member: len(runs[member[0]].database[member[1]])
    if section.fraction is not None:
        return max(1, round(section.fraction * n)), lambda _: 1
    if isinstance(section.size, str):
        return len(_other(budget, section.size).members), lambda _: 1
    size = section.size if section.size is not None else n
    if size > n:
        raise InputError(
            f"select = {_said(section)} asks for {size} labels where {n} are there. Ask for at most {n}, or widen the "
            "filters."
        )
    return size, lambda _: 1


def _other(budget: Callable[[str], Selected] | None, name: str) -> Selected:
    if budget is None:
        raise InputError(f"The limit of a draw names the potential {name!r}, of which nothing is known here.")
    return budget(name)


def _check_filters(section: SelectConfig, everything: Sequence[Atoms]) -> None:
    """A filter that names what no configuration has is a mistake, even where other names let some through."""
    present: dict[str, set[Any]] = {
        "kind": {atoms.info.get("config_type") for atoms in everything},
        "part": {atoms.info.get("ndsc_part") for atoms in everything},
    }
    for key, known in present.items():
        strange = [name for name in getattr(section, key) if name not in known]
        if strange:
            raise InputError(
                f"select.{key} names {strange[0]!r}, which no configuration has. There are "
                f"{', '.join(sorted(str(name) for name in known if name is not None)) or 'no names'}."
            )
    for key, info in (("displacement", "ndsc_displacement"), ("scale", "ndsc_scale")):
        for value in getattr(section, key):
            if not any(_among(atoms.info.get(info), (value,)) for atoms in everything):
                known_values = sorted({atoms.info[info] for atoms in everything if info in atoms.info})
                raise InputError(
                    f"select.{key} = {value:g} is that of no configuration. There are "
                    f"{', '.join(f'{number:g}' for number in known_values)}."
                )
    for key in ("name", "always"):
        for pattern in getattr(section, key):
            if not any(_like(atoms, (pattern,)) for atoms in everything):
                raise InputError(
                    f"select.{key} = {pattern!r} is like the name of no configuration. Names are like "
                    f"{everything[0].info['ndsc_name']} and {everything[-1].info['ndsc_name']}; * and ? stand for "
                    "characters."
                )


def _is_always(atoms: Atoms, section: SelectConfig) -> bool:
    """Named so, or a single atom, which is there because the zero of the fit's energies is its energy."""
    return atoms.info.get("config_type") == "isolated_atom" or (bool(section.always) and _like(atoms, section.always))


def _like(atoms: Atoms, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(str(atoms.info["ndsc_name"]), pattern) for pattern in patterns)


def _among(value: object, wanted: Sequence[float]) -> bool:
    return isinstance(value, int | float) and any(math.isclose(value, one, abs_tol=CLOSE) for one in wanted)


def _rank(seed: int, member: tuple[str, str]) -> str:
    # A hash orders the configurations the same way on every machine.
    return hashlib.sha256(f"{seed}|{member[0]}|{member[1]}".encode()).hexdigest()


def _selected(runs: Sequence[StudyRun], members: Sequence[tuple[str, str]]) -> Selected:
    by_name = {run.name: run for run in runs}
    return Selected(
        members=tuple(members),
        frames=tuple(by_name[run].database[name] for run, name in members),
        seconds=math.fsum(by_name[run].labels[name].seconds for run, name in members),
    )


def _said(section: SelectConfig) -> str:
    return str(section.model_dump(exclude_unset=True))
