"""The default executor: calculation processes on this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ndsc.reference.computing import Job
from ndsc.reference.memory import SHARE, MemoryGate, available_memory_mb
from ndsc.reference.processes import CalculationProcess, use_in_this_thread
from ndsc.reference.store import Label

P = ParamSpec("P")
T = TypeVar("T")


class LocalExecutor(ThreadPoolExecutor):
    """Independent worker processes: one that dies or hangs takes no other's work with it.

    Each is watched by a thread of this process. As many calculations run at a time as there are workers, fewer when
    they would not fit into memory together.

    Parameters
    ----------
    workers : int
    memory_mb : float, optional
        Memory for all of them, MB; without it, nine tenths of what is free now.
    """

    def __init__(self, workers: int, *, memory_mb: float | None = None) -> None:
        super().__init__(workers, thread_name_prefix="ndsc-watch", initializer=self._make_process)
        self.gate = MemoryGate(SHARE * available_memory_mb() if memory_mb is None else memory_mb)
        self._processes: list[CalculationProcess] = []

    def learn(self, label: Label) -> None:
        """Note how much memory a calculation of this size needs."""
        self.gate.learn(len(label.forces), float(label.provenance.get("peak_memory_mb", 0.0)))

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``function(job)``, as any executor does."""
        job = args[0] if args and isinstance(args[0], Job) else None

        def call() -> T:
            with self.gate.room_for(len(job.atoms) if job else 1, alone=job is not None and job.alone):
                return function(*args, **kwargs)

        return super().submit(call)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes; with ``cancel_futures``, also those that are at work, now."""
        if cancel_futures:
            super().shutdown(wait=False, cancel_futures=True)
            self._close_processes()
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            self._close_processes()

    def _make_process(self) -> None:
        process = CalculationProcess()
        self._processes.append(process)
        use_in_this_thread(process)

    def _close_processes(self) -> None:
        for process in self._processes:
            process.close()
