"""How long work reports where it is: one callable, given by the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

#: Called with the name of the task, the number of steps done, and the number of all its steps.
Progress: TypeAlias = Callable[[str, int, int], None]


def silent(task: str, done: int, total: int) -> None:
    """Report nothing."""


def if_slow(progress: Progress, seconds: float = 1.0) -> Progress:
    """Progress that is reported only once the work has taken some seconds, so that quick work says nothing."""
    begin = time.monotonic()

    def report(task: str, done: int, total: int) -> None:
        if time.monotonic() - begin > seconds:
            progress(task, done, total)

    return report
