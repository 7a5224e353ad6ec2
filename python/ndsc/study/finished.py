"""Finished fits and evaluations of a study, each kept under a hash of everything that it depends on, with its time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ndsc.reference.processes import cores
from ndsc.report.text import count
from ndsc.report.text import seconds as in_words
from ndsc.store import Store

T = TypeVar("T")


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
    workers : int
        Processes.
    """

    fit_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    results: int = 0
    earlier: int = 0
    not_recorded: int = 0
    cores: tuple[int, ...] = ()
    workers: int = 1

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
        """For a page: the times of fits and evaluations, the machine, and when they were recorded."""
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
        rounded = {name: round(getattr(self, name), 3) for name in ("fit_seconds", "evaluation_seconds")}
        return asdict(self) | rounded | {"cores": list(self.cores)}


class Finished:
    """The folder of finished results: JSON objects by name, and the times of those that were asked for.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: Seconds and cores of each result (None where not recorded), and whether it was finished before this run.
        self._times: dict[str, tuple[tuple[float, int] | None, bool]] = {}

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.json").is_file()

    def get_or_compute(
        self, name: str, compute: Callable[[], Mapping[str, Any]], decode: Callable[[Mapping[str, Any]], T]
    ) -> T:
        """A finished result, or what `compute` gives, which is kept with the time that it took.

        Parameters
        ----------
        name : str
            Kind and key: ``fit-…``, ``evaluation-…`` or ``number-…``.
        compute : callable
            Returns what JSON can hold. Its time is counted even when it fails.
        decode : callable
            From what JSON holds to the result; a stored one with which it fails is damaged, and computed again.
        """

        def checked(_: str, content: Any) -> dict[str, Any]:
            decode(content)
            return dict(content)

        def timed() -> dict[str, Any]:
            started = time.perf_counter()
            try:
                content = dict(compute())
            finally:
                took = (time.perf_counter() - started, cores())
                self._times[name] = (took, False)
            return {**content, "took": {"seconds": round(took[0], 3), "cores": took[1]}}

        store = Store(self.folder, checked, partial(json.dumps, allow_nan=False))
        content = store.get_or_compute(name, timed)
        self._times.setdefault(name, (_took(content.get("took")), True))
        return decode(content)

    def time(self) -> StudyTime:
        """The times of all results that were asked for."""
        known = [(name, took) for name, (took, _) in self._times.items() if took is not None]
        evaluations = sum(seconds for name, (seconds, _) in known if name.startswith("evaluation"))
        return StudyTime(
            fit_seconds=sum(seconds for _, (seconds, _) in known) - evaluations,
            evaluation_seconds=evaluations,
            results=len(self._times),
            earlier=sum(earlier and took is not None for took, earlier in self._times.values()),
            not_recorded=sum(took is None for took, _ in self._times.values()),
            cores=tuple(sorted({number for _, (_, number) in known})),
        )


def _took(data: object) -> tuple[float, int] | None:
    """Seconds and cores of a stored result; None in results of versions that recorded no time."""
    if not isinstance(data, Mapping):
        return None
    seconds, number = data.get("seconds"), data.get("cores")
    if not isinstance(seconds, int | float) or not isinstance(number, int) or seconds < 0 or number < 1:
        return None
    return float(seconds), number
