"""How much memory calculations need, so that no more run side by side than fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The part of the free memory that calculations may fill.
SHARE = 0.9


def available_memory_mb() -> float | None:
    """Memory that is free on this machine and in this process's control group, MB; None where nobody says."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            found.append(
                (int((folder / limit).read_text(encoding="ascii")) - int((folder / used).read_text(encoding="ascii")))
                / 1024**2
            )
        except (OSError, ValueError):
            continue
    return min(found) if found else None


class MemoryGate:
    """Lets calculations start as long as what they are expected to need fits.

    What a structure needs is the most that one of its size or smaller was seen to need; beyond the largest seen it
    grows with the square of the number of atoms. Before anything was seen, nothing is held back.

    Parameters
    ----------
    limit_mb : float, optional
        Memory for all calculations together, MB.
    """

    def __init__(self, limit_mb: float | None) -> None:
        self.limit_mb = limit_mb
        self._seen: dict[int, float] = {}
        self._used = 0.0
        self._running = self._waiting = 0
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
        at_most = [peak for size, peak in self._seen.items() if size <= n_atoms]
        largest = max(self._seen)
        if n_atoms > largest:
            return max(*at_most, self._seen[largest] * (n_atoms / largest) ** 2, 0.0)
        nearest = min(size for size in self._seen if size >= n_atoms)
        return max([*at_most, self._seen[nearest]])

    @contextmanager
    def room_for(self, n_atoms: int, *, alone: bool = False) -> Iterator[None]:
        """Wait until there is room for a calculation (or, `alone`, until nothing else runs), and keep it."""
        share = self.enter(n_atoms, alone=alone)
        try:
            yield
        finally:
            self.leave(share)

    def enter(self, n_atoms: int, *, alone: bool = False) -> float:
        """Wait for room as :meth:`room_for` does, and give the share that is to be given back, MB."""
        with self._change:
            self._waiting += 1
            while not self._fits(n_atoms, alone):
                self._change.wait()
            self._waiting -= 1
            # What was expected when it began is given back when it ends, whatever is learned in between.
            share = self.estimate_mb(n_atoms)
            self._used += share
            self._running += 1
            self._alone = alone
            return share

    def follow(self, share: float, n_atoms: int) -> float:
        """Let a calculation that is no larger take the place of another, and give its share, MB."""
        with self._change:
            new = self.estimate_mb(n_atoms)
            self._used += new - share
            self._change.notify_all()
            return new

    def leave(self, share: float) -> None:
        """Give back the room of a calculation."""
        with self._change:
            self._used -= share
            self._running -= 1
            self._alone = False
            self._change.notify_all()

    def is_waited_for(self) -> bool:
        """Whether a calculation waits for room."""
        return self._waiting > 0

    def _fits(self, n_atoms: int, alone: bool) -> bool:
        if self._running == 0:
            return True
        if alone or self._alone:
            return False
        return self.limit_mb is None or self._used + self.estimate_mb(n_atoms) <= self.limit_mb
