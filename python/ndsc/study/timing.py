"""How long the fits and evaluations of a study took when they were computed, and on how many cores."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ndsc.report.text import count
from ndsc.report.text import seconds as in_words

Kind = Literal["fit", "evaluation"]


@dataclass(frozen=True)
class Took:
    """The time of one result.

    Attributes
    ----------
    seconds : float
        Wall time, in one process.
    cores : int
        Of the machine, as far as the process could use them.
    """

    seconds: float
    cores: int

    def to_dict(self) -> dict[str, float | int]:
        """As it is kept beside the result."""
        return {"seconds": round(self.seconds, 3), "cores": self.cores}

    @classmethod
    def from_dict(cls, data: object) -> Took | None:
        """What `to_dict` gave; None for what is none, as in results of versions that recorded no time."""
        if not isinstance(data, Mapping):
            return None
        seconds, cores = data.get("seconds"), data.get("cores")
        if not isinstance(seconds, int | float) or not isinstance(cores, int) or seconds < 0 or cores < 1:
            return None
        return cls(float(seconds), cores)


@dataclass(frozen=True)
class StudyTime:
    """The time of all results of a study, each counted once.

    Attributes
    ----------
    fit_seconds, evaluation_seconds : float
        Of the results whose time is known; a second fit as a check is a fit.
    results : int
        Fits and evaluations.
    earlier : int
        Of them, those that were found finished and whose time was recorded when they were computed.
    not_recorded : int
        Of them, those that were found finished without a time.
    cores : tuple of int
        Numbers of cores of the machines, each once.
    """

    fit_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    results: int = 0
    earlier: int = 0
    not_recorded: int = 0
    cores: tuple[int, ...] = ()

    @property
    def seconds(self) -> float | None:
        """All of it; None where not a single time is known."""
        return None if self.results == self.not_recorded else self.fit_seconds + self.evaluation_seconds

    def short(self) -> str:
        """For a cell of a table: ``3.2 min``, ``more than 3.2 min``, ``not recorded``."""
        if self.seconds is None:
            return "not recorded"
        return f"{'more than ' if self.not_recorded else ''}{in_words(self.seconds)}"

    def sentence(self) -> str:
        """For a page: what took how long where, and when that was recorded."""
        if self.seconds is None:
            return "Time of fits and evaluations: not recorded."
        cores = " or ".join(str(number) for number in self.cores)
        text = (
            f"Time: fits {in_words(self.fit_seconds)}, evaluations {in_words(self.evaluation_seconds)}, in one process "
            f"on a machine of {cores} {'core' if self.cores == (1,) else 'cores'}"
        )
        if self.earlier:
            which = "All" if self.earlier == self.results else f"{self.earlier} of the {self.results}"
            text += f". {which} were computed in an earlier run and their times recorded then"
        if self.not_recorded:
            text += f". The time of {count(self.not_recorded, 'result')} is not recorded and left out"
        return f"{text}."

    def to_dict(self) -> dict[str, Any]:
        """For ``study.json``."""
        return {
            "fit_seconds": round(self.fit_seconds, 3),
            "evaluation_seconds": round(self.evaluation_seconds, 3),
            "results": self.results,
            "earlier": self.earlier,
            "not_recorded": self.not_recorded,
            "cores": list(self.cores),
            "workers": 1,
        }


class Clock:
    """Times of the results of a study, by their keys, as they are computed or found."""

    def __init__(self) -> None:
        self._now: dict[tuple[Kind, str], Took] = {}
        self._found: dict[tuple[Kind, str], Took | None] = {}

    @contextmanager
    def computing(self, kind: Kind, key: str) -> Iterator[None]:
        """Time a block that computes a result, whether it succeeds or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._now[kind, key] = Took(time.perf_counter() - started, cores())

    def computed(self, kind: Kind, key: str) -> Took:
        """The time of a result that was computed in this run."""
        return self._now[kind, key]

    def found(self, kind: Kind, key: str, took: Took | None) -> None:
        """Count a result that was finished before this run."""
        if (kind, key) not in self._now:
            self._found[kind, key] = took

    def total(self) -> StudyTime:
        """The sum."""
        known = [*self._now.items(), *((name, took) for name, took in self._found.items() if took is not None)]
        return StudyTime(
            fit_seconds=sum(took.seconds for (kind, _), took in known if kind == "fit"),
            evaluation_seconds=sum(took.seconds for (kind, _), took in known if kind == "evaluation"),
            results=len(self._now) + len(self._found),
            earlier=sum(took is not None for took in self._found.values()),
            not_recorded=sum(took is None for took in self._found.values()),
            cores=tuple(sorted({took.cores for _, took in known})),
        )


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
