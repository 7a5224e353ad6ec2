"""Which labelled configurations a potential learns from: filters, then a draw that a seed decides, or a choice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from ase import Atoms

from ndsc.config.study import SelectConfig
from ndsc.errors import InputError
from ndsc.study.runs import StudyRun

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: Gives the order of a choice: rows of a pool, their costs, and a limit of these.
Informed: TypeAlias = "Callable[[DataFrame, Series[float], float], list[int]]"
#: Amplitudes and scales closer than this are the same.
CLOSE = 1e-9
#: Keys of a selection with what they filter by, in the ``info`` of a configuration.
FILTERS = {
    "kind": "config_type", "part": "ndsc_part", "name": "ndsc_name", "displacement": "ndsc_displacement",
    "scale": "ndsc_scale",
}  # fmt: skip


@dataclass(frozen=True)
class Selected:
    """Labelled configurations and what they cost.

    Attributes
    ----------
    members : tuple of (str, str)
        Run and name of each, in the order of the runs' databases.
    frames : tuple of ase.Atoms
    seconds : float
        Recorded time of processors of the labels, or wall time of older ones, s.
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

    @classmethod
    def of(cls, runs: Sequence[StudyRun], table: DataFrame) -> Selected:
        """The configurations of some rows of a table."""
        by_name = {run.name: run for run in runs}
        members = tuple(zip(table.run, table.name, strict=True))
        return cls(members, tuple(by_name[run].database[name] for run, name in members), math.fsum(table.seconds))

    def without(self, others: Selected) -> Selected | None:
        """The configurations that others do not have; None without any. Their time is not counted."""
        rest = [number for number, member in enumerate(self.members) if member not in set(others.members)]
        if not rest:
            return None
        return Selected(tuple(self.members[i] for i in rest), tuple(self.frames[i] for i in rest), 0.0)


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
    return Selected.of(runs, _candidates(runs, section, leave_out=leave_out))


def draw(
    runs: Sequence[StudyRun],
    section: SelectConfig,
    seed: int,
    *,
    budget: Callable[[str], Selected] | None = None,
    leave_out: bool = False,
    informed: Informed | None = None,
) -> Selected:
    """The configurations that one seed draws, or that are chosen by information.

    With one seed, a smaller draw is part of a larger one, and so is a smaller choice. A limit of atoms or seconds is
    kept to: configurations are taken in their order until the next one would exceed it.

    Parameters
    ----------
    runs : sequence of StudyRun
    section : SelectConfig
    seed : int
    budget : callable
        Gives what the potential of a name selected, for limits that name one.
    leave_out : bool
    informed : callable
        Gives the rows of the pool in the order of a choice by information, those that are always in first, up to a
        limit of their costs at least.

    Raises
    ------
    InputError
        When fewer labels are there than asked for, or not a single one is within the limit.
    ReferenceCalculationError
        When a configuration has no label.
    """
    pool = _candidates(runs, section, leave_out=leave_out)
    if not section.limited:
        return Selected.of(runs, pool)
    limit, cost = _limit(section, pool, budget)
    if section.method == "information":
        if informed is None:
            raise InputError("There is no model to choose labels by information with. Use a study.")
        order = informed(pool, cost, limit)
    else:
        # A hash orders the configurations the same way on every machine; those that are always in come first.
        rank = [
            (not always, "" if always else hashlib.sha256(f"{seed}|{run}|{name}".encode()).hexdigest())
            for always, run, name in zip(pool.always, pool.run, pool.name, strict=True)
        ]
        order = sorted(range(len(pool)), key=rank.__getitem__)
    taken = order[: int(pool.always.sum())]
    # Rounded once, a sum of seconds is the same in every order, and the limit is kept to exactly.
    for row in order[len(taken) :]:
        if math.fsum(cost.iloc[[*taken, row]]) > limit:
            break
        taken.append(row)
    if not taken or math.fsum(cost.iloc[taken]) > limit:
        alone = "the labels that are always in" if pool.always.any() else "one label"
        raise InputError(f"select = {_said(section)} allows {limit:g}, but {alone} alone exceed it. Raise the limit.")
    return Selected.of(runs, pool.iloc[sorted(taken)])


def _candidates(runs: Sequence[StudyRun], section: SelectConfig, *, leave_out: bool) -> DataFrame:
    """One row a configuration: ``run``, ``name``, the other :data:`FILTERS`, ``atoms``, ``seconds``, ``always``."""
    from pandas import DataFrame, Series

    table = DataFrame(
        [
            {key: atoms.info.get(info) for key, info in FILTERS.items()}
            | {"run": run.name, "atoms": len(atoms), "seconds": label.cost_seconds if label is not None else math.nan}
            for run in runs
            for atoms in run.plan.to_fit
            for label in [run.labels.get(str(atoms.info["ndsc_name"]))]
        ]
    )
    passed = Series(data=True, index=table.index)
    for key in FILTERS:
        passed &= _hits(table[key], key, getattr(section, key)) if getattr(section, key) else True
    # A single atom is always there because the zero of the fit's energies is its energy.
    table["always"] = (table.kind == "isolated_atom") | _hits(table.name, "always", section.always)
    table = table[passed | table.always]
    for run in runs if not leave_out else ():
        run.require(table.name[table.run == run.name])
    table = table[table.seconds.notna()]
    if table.empty:
        raise InputError(
            f"No labelled configuration of {', '.join(run.name for run in runs)} passes select = {_said(section)}. "
            "Leave filters out, or compute the labels."
        )
    return table


def _hits(column: Series[Any], key: str, wanted: Sequence[Any]) -> Series[bool]:
    """Which rows have one of some values; a value that none has is a mistake, even where others let some through."""
    hit = column.map(lambda _: False)
    for value in wanted:
        found = column.map(lambda present, value=value: _same(present, value, pattern=key in ("name", "always")))
        if not found.any():
            known = sorted({f"{one:g}" if isinstance(one, float) else str(one) for one in column.dropna()})
            more = ", … ; * and ? stand for characters" if len(known) > 10 else ""
            raise InputError(
                f"select.{key} = {value!r} matches no configuration. There are {', '.join(known[:10]) or 'none'}{more}."
            )
        hit |= found
    return hit


def _same(present: object, value: Any, *, pattern: bool) -> bool:
    if isinstance(value, str):
        return fnmatchcase(str(present), value) if pattern else present == value
    return isinstance(present, int | float) and math.isclose(present, value, abs_tol=CLOSE)


def _limit(
    section: SelectConfig, pool: DataFrame, budget: Callable[[str], Selected] | None
) -> tuple[float, Series[float]]:
    """The limit of a draw, and what of it each configuration takes."""

    def amount(limit: float | str, measure: Callable[[Selected], float]) -> float:
        if not isinstance(limit, str):
            return limit
        if budget is None:
            raise InputError(
                f"The limit of a draw refers to the potential {limit!r}, which is not available here. Give a number."
            )
        return measure(budget(limit))

    if section.seconds is not None:
        return amount(section.seconds, lambda other: other.seconds), pool.seconds
    if section.atoms is not None:
        return amount(section.atoms, lambda other: other.n_atoms), pool.atoms
    one_each = pool.atoms * 0 + 1
    if section.fraction is not None:
        return max(1, round(section.fraction * len(pool))), one_each
    size = amount(section.size or len(pool), lambda other: len(other.members))
    if size > len(pool) and not isinstance(section.size, str):
        raise InputError(
            f"select = {_said(section)} asks for {size:g} labels, and there are {len(pool)}. Ask for at most "
            f"{len(pool)}, or widen the filters."
        )
    return size, one_each


def _said(section: SelectConfig) -> str:
    return str(section.model_dump(exclude_unset=True))
