"""The default executor: calculation processes on this machine."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from ndsc.reference.computing import Job
from ndsc.reference.memory import SHARE, MemoryGate, available_memory_mb
from ndsc.reference.processes import CalculationProcess, run_job, using

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class _Work:
    """What was submitted: a call, and what it becomes."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: Future[Any] = field(default_factory=Future)

    @property
    def job(self) -> Job | None:
        """The label to compute, where the call is for one."""
        return self.args[0] if self.args and isinstance(self.args[0], Job) else None

    @property
    def n_atoms(self) -> int:
        """Size of its structure."""
        return 1 if self.job is None else len(self.job.atoms)

    @property
    def alone(self) -> bool:
        """Whether nothing else may run beside it."""
        return self.job is not None and self.job.alone

    def run(self) -> None:
        """Do it."""
        try:
            result = self.function(*self.args, **self.kwargs)
        except BaseException as error:  # it belongs to whoever asks for the result
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


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
        self._waiting: deque[_Work] = deque()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="ndsc-watch")

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``function(job)``, as any executor does."""
        work = _Work(function, args, kwargs)
        with self._lock:
            self._threads.submit(self._serve)
            self._waiting.append(work)
        return work.future

    def _serve(self) -> None:
        """Do what waits first, and what its process asks for in advance; nothing, when others have done it."""
        work = self._take()
        if work is None:
            return
        process = self._idle.get()
        share = self.gate.enter(work.n_atoms, alone=work.alone)
        try:
            while (following := self._run(process, work)) is not None:
                work = following
                share = self.gate.follow(share, work.n_atoms)
        finally:
            self.gate.leave(share)
            self._idle.put(process)

    def _take(self, after: _Work | None = None) -> _Work | None:
        """What waits first, now under way; None when there is nothing, or nothing that may come `after` another."""
        with self._lock:
            while self._waiting and (after is None or self._may_follow(after, self._waiting[0])):
                work = self._waiting.popleft()
                if work.future.set_running_or_notify_cancel():
                    return work
        return None

    def _may_follow(self, work: _Work, following: _Work) -> bool:
        """Whether one label may begin where another ends, without asking whether it fits into memory."""
        return (
            following.job is not None
            and following.function is run_job
            and following.n_atoms <= work.n_atoms
            and not (work.alone or following.alone)
            and not self.gate.is_waited_for()
        )

    def _run(self, process: CalculationProcess, work: _Work) -> _Work | None:
        """Do one thing; the next, if the process has asked for it."""
        following: _Work | None = None

        def look_ahead() -> Job | None:
            nonlocal following
            following = following or self._take(after=work)
            return None if following is None else following.job

        with using(process, look_ahead):
            work.run()
        return following

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes; with ``cancel_futures``, also those that are at work, now."""
        if cancel_futures:
            with self._lock:
                while self._waiting:
                    self._waiting.popleft().future.cancel()
            for process in self._processes:
                process.close()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for process in self._processes:
            process.close()
