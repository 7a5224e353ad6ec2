"""The default executor: calculation processes on this machine."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from ndsc.reference.computing import Job
from ndsc.reference.memory import SHARE, MemoryGate, available_memory_mb
from ndsc.reference.processes import CalculationProcess, using

P = ParamSpec("P")
T = TypeVar("T")


class LocalExecutor(Executor):
    """Worker processes that know nothing of each other: one that dies or hangs takes no other's work with it.

    Each is watched by a thread of this process. As many calculations run at a time as there are workers, fewer when
    they would not fit into memory together.

    Parameters
    ----------
    workers : int
    memory_mb : float, optional
        Memory for all of them, MB; without it, nine tenths of what is free now.
    """

    def __init__(self, workers: int, *, memory_mb: float | None = None) -> None:
        if memory_mb is None and (free := available_memory_mb()) is not None:
            memory_mb = SHARE * free
        self.gate = MemoryGate(memory_mb)
        self._processes = [CalculationProcess() for _ in range(workers)]
        self._idle: queue.SimpleQueue[CalculationProcess] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="ndsc-watch")

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``function(job)``, as any executor does."""
        return self._threads.submit(lambda: self._run(function, args, kwargs))

    def _run(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        process = self._idle.get()
        try:
            job = args[0] if args and isinstance(args[0], Job) else None
            size, alone = (1, False) if job is None else (len(job.atoms), job.alone)
            with self.gate.room_for(size, alone=alone), using(process):
                return function(*args, **kwargs)
        finally:
            self._idle.put(process)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes; with ``cancel_futures``, also those that are at work, now."""
        if cancel_futures:
            for process in self._processes:
                process.close()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for process in self._processes:
            process.close()
