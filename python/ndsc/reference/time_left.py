"""How long the labels that are still to do will take, from the sizes of those that are done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol, runtime_checkable

from ndsc.progress import Progress

#: Growth of a calculation with its number of atoms, until two sizes have been seen.
EXPONENT = 3.0


@runtime_checkable
class TimedProgress(Protocol):
    """A progress callable that also wants to know the time left: ``progress.time_left(task, seconds)``."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """As every progress callable."""

    def time_left(self, task: str, seconds: float) -> None:
        """Called after each step with the time that the rest is expected to take, s."""


class TimeLeft:
    """A power law of the number of atoms through the times that were measured.

    Parameters
    ----------
    workers : int
        How many calculations run at a time.
    clock : callable
        Seconds since any moment.
    """

    def __init__(self, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.workers = workers
        self._clock = clock
        self._sums: dict[int, tuple[int, float]] = {}
        self._handed: dict[str, int] = {}
        self._started: dict[str, float] = {}

    def add(self, n_atoms: int, seconds: float) -> None:
        """Note how long a calculation took, s."""
        count, total = self._sums.get(n_atoms, (0, 0.0))
        self._sums[n_atoms] = (count + 1, total + seconds)

    def begin(self, key: str, n_atoms: int) -> None:
        """Note that a calculation was handed to the workers; the first of those at hand are running."""
        self._handed[key] = n_atoms
        self._start()

    def end(self, key: str) -> None:
        """Note that a calculation has ended, well or not."""
        self._handed.pop(key, None)
        self._started.pop(key, None)
        self._start()

    def _start(self) -> None:
        for key in islice(self._handed, self.workers):
            self._started.setdefault(key, self._clock())

    def seconds_for(self, n_atoms: int) -> float | None:
        """What a calculation of so many atoms is expected to take, s; None before anything was measured."""
        means = {size: total / count for size, (count, total) in self._sums.items() if total > 0}
        if not means:
            return None
        if n_atoms in means:
            return means[n_atoms]
        nearest = min(means, key=lambda size: abs(math.log(size / n_atoms)))
        return float(means[nearest] * (n_atoms / nearest) ** _exponent(means))

    def seconds(self, waiting: Iterable[int]) -> float | None:
        """What the rest is expected to take, s; None before anything was measured.

        Parameters
        ----------
        waiting : numbers of atoms of the calculations that have not begun
        """
        works = []
        now = self._clock()
        for n_atoms, started in [(size, now) for size in waiting] + [
            (size, self._started.get(key, now)) for key, size in self._handed.items()
        ]:
            expected = self.seconds_for(n_atoms)
            if expected is None:
                return None
            works.append(max(expected - (now - started), 0.0))
        return max(sum(works) / self.workers, max(works, default=0.0))


def report(progress: Progress, task: str, seconds: float) -> None:
    """Tell a progress callable the time left, if it wants to know."""
    if isinstance(progress, TimedProgress):
        progress.time_left(task, seconds)


def _exponent(means: dict[int, float]) -> float:
    """Slope of log(time) over log(atoms), least squares, between 0 and 4."""
    points = [(math.log(size), math.log(seconds)) for size, seconds in means.items()]
    x0 = sum(x for x, _ in points) / len(points)
    y0 = sum(y for _, y in points) / len(points)
    spread = sum((x - x0) ** 2 for x, _ in points)
    if spread < 0.04:
        return EXPONENT
    slope = sum((x - x0) * (y - y0) for x, y in points) / spread
    return min(max(slope, 0.0), 4.0)
