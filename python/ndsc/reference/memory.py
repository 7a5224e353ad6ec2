"""How much memory calculations need, so that no more run side by side than fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

#: The part of the free memory that calculations may fill.
SHARE = 0.9


def available_memory_mb() -> float:
    """Memory that is free on this machine and in this process's control group, MB."""
    found = [psutil.virtual_memory().available / 1024**2]
    # A container's limit, which psutil does not know.
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            found.append((int((group / limit).read_text()) - int((group / used).read_text())) / 1024**2)
    return min(found)


class MemoryGate:
    """Lets calculations start as long as what they are expected to need fits.

    What a structure needs is the most that one of its size or smaller was seen to need; beyond the largest seen it
    grows with the square of the number of atoms. Before anything was seen, nothing is held back.

    Parameters
    ----------
    limit_mb : float
        Memory for all calculations together, MB.
    """

    def __init__(self, limit_mb: float) -> None:
        self.limit_mb = limit_mb
        self._seen: dict[int, float] = {}
        self._used = 0.0
        self._running = 0
        self._alone = False
        self._change = threading.Condition()

    def learn(self, n_atoms: int, peak_mb: float) -> None:
        """Note what a calculation needed."""
        with self._change:
            self._seen[n_atoms] = max(peak_mb, self._seen.get(n_atoms, 0.0))

    def estimate_mb(self, n_atoms: int) -> float:
        """What a calculation of so many atoms is expected to need, MB; 0 before anything is known."""
        if not self._seen:
            return 0.0
        largest = max(self._seen)
        nearest = min((size for size in self._seen if size >= n_atoms), default=largest)
        growth = max(n_atoms / largest, 1.0) ** 2
        return max(self._seen[nearest] * growth, *(peak for size, peak in self._seen.items() if size <= n_atoms), 0.0)

    @contextmanager
    def room_for(self, n_atoms: int, *, alone: bool = False) -> Iterator[None]:
        """Wait until there is room for a calculation (or, `alone`, until nothing else runs), and keep it."""
        with self._change:
            self._change.wait_for(lambda: self._fits(n_atoms, alone))
            # The amount reserved at the start is released, even if the estimate has changed since.
            share = self.estimate_mb(n_atoms)
            self._used += share
            self._running += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._change:
                self._used -= share
                self._running -= 1
                self._alone = False
                self._change.notify_all()

    def _fits(self, n_atoms: int, alone: bool) -> bool:
        if self._running == 0:
            return True
        return not (alone or self._alone) and self._used + self.estimate_mb(n_atoms) <= self.limit_mb
