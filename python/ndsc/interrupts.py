"""Ctrl-C at moments when nothing may be lost sight of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block, which must be short.

    A program that is being started would otherwise go on without anyone who knows of it. Other threads than the main
    one are never interrupted, and what is ignored, or handled outside of Python, stays so.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, when there was one in it; or whatever the handler of SIGINT does.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if seen:
        signal.raise_signal(signal.SIGINT)
