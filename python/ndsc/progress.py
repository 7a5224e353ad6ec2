"""How long work reports where it is: one callable, given by the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: Called with the name of the task, the number of steps done, and the number of all its steps.
Progress: TypeAlias = Callable[[str, int, int], None]


def silent(task: str, done: int, total: int) -> None:
    """Report nothing."""
