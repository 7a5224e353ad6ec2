"""Calculations in a process of their own, watched: one that hangs is killed, one that dies takes nothing with it.

multiprocessing, pebble and their like start workers by importing the user's script again, or by forking a process with
threads, and they leave the programs of a calculation behind when they kill it. Hence these few lines instead.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import psutil

from ndsc.files import ScratchFolder
from ndsc.reference.claims import HEARTBEAT
from ndsc.reference.computing import Job, Outcome, State, keep_files
from ndsc.reference.store import LabelStore
from ndsc.reference.worker import OUTPUT

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class CalculationProcess:
    """A process that computes labels one at a time, started when the first job comes and again when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._threads = 0
        self._closed = False
        self._folder = ScratchFolder()
        self._messages = self._folder.path / "messages.txt"
        self._end: Callable[[], object] = lambda: None

    @property
    def pid(self) -> int | None:
        """Number of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def run(self, job: Job) -> Outcome:
        """Do a job and return its outcome; nothing that the calculation raises is raised here."""
        scratch = self._folder.path / "scratch"
        claims = LabelStore(job.store).claims
        try:
            outcome = self._run(job, scratch)
        except (EOFError, OSError):
            outcome = self._died(scratch)
        except BaseException:  # Ctrl-C
            self.kill()
            claims.drop(job.key)
            raise
        if outcome.state in (State.DIED, State.TIMEOUT):
            self.kill()
            claims.drop(job.key)
        if outcome.state in (State.FAILED, State.DIED, State.TIMEOUT):
            keep_files(scratch, LabelStore(job.store), job.key)
        return outcome

    def _run(self, job: Job, scratch: Path) -> Outcome:
        connection = self._ready(job.threads)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        connection.send((job, str(scratch)))
        claims = LabelStore(job.store).claims
        deadline = float("inf") if job.timeout is None else time.monotonic() + job.timeout
        while (left := deadline - time.monotonic()) > 0:
            if connection.poll(min(left, HEARTBEAT)):
                outcome: Outcome = connection.recv()
                return outcome
            claims.touch(job.key)
        return Outcome(State.TIMEOUT, f"it took longer than {job.timeout:g} s and was stopped", transient=True)

    def kill(self) -> None:
        """End the process now, and every program that it started."""
        self._process = self._connection = None
        self._end()

    def close(self) -> None:
        """End the process and start no other."""
        self._closed = True
        self.kill()
        self._folder.close()

    def _ready(self, threads: int) -> Connection:
        """The connection to the process, which is started when there is none with so many threads."""
        if self._process is not None and (self._process.poll() is not None or self._threads != threads):
            self.kill()
        if self._connection is None:
            self._start(threads)
        if self._connection is None:
            raise EOFError
        return self._connection

    def _start(self, threads: int) -> None:
        if self._closed:
            return
        ours, theirs = Pipe()
        environment = {
            **os.environ,
            **dict.fromkeys(THREAD_VARIABLES, str(threads)),
            # The modules that this process finds, so that a calculator 'module:factory' is found there as well.
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
        }
        # Nothing is written to it: the kernel closes it when this process ends, however it does.
        lifeline, our_end = os.pipe()
        with theirs, os.fdopen(lifeline), self._messages.open("wb") as messages:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ndsc.reference.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                stdin=lifeline,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                start_new_session=True,
            )
        # Also when nobody closes this object: an executor's threads just end.
        self._end = weakref.finalize(self, _end_process, process, ours, our_end)
        self._process, self._connection, self._threads = process, ours, threads
        if self._is_closed():  # by another thread, meanwhile
            self.kill()
        else:
            ours.recv()  # it is ready

    def _is_closed(self) -> bool:
        return self._closed

    def _died(self, scratch: Path) -> Outcome:
        """The process ended without an answer."""
        process = self._process
        if process is None or self._closed:
            return Outcome(State.DIED, "it was stopped", transient=True)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        code = process.poll()
        if code == 0:
            how = "ended with exit code 0, without a result"
        elif code is not None and code < 0:
            how = f"was killed by signal {-code}" + (" (perhaps out of memory)" if code == -signal.SIGKILL else "")
        else:
            how = f"ended with exit code {code}"
        said = self._last_words(scratch)
        reason = f"{how}; the end of its output: {said}" if said else how
        return Outcome(State.DIED, reason, transient=True, killed=code == -signal.SIGKILL)

    def _last_words(self, scratch: Path) -> str:
        for path in (scratch / OUTPUT, self._messages):
            with suppress(OSError):
                if text := path.read_bytes().decode(errors="replace").strip():
                    return text[-300:]
        return ""


_OF_THREAD = threading.local()


def use_in_this_thread(process: CalculationProcess) -> None:
    """Let :func:`run_job` use a process in this thread."""
    _OF_THREAD.process = process


def run_job(job: Job) -> Outcome:
    """Do a job on the machine where an executor runs this function, in a process that is watched from here.

    The thread's own calculation process is kept for the next job, and ends with the process that this runs in.
    """
    process = getattr(_OF_THREAD, "process", None)
    if process is None:
        process = _OF_THREAD.process = CalculationProcess()
    outcome: Outcome = process.run(job)
    return outcome


def _end_process(process: subprocess.Popen[bytes], connection: Connection, lifeline: int) -> None:
    kill_session(process.pid)
    process.wait()
    os.close(lifeline)
    connection.close()


def kill_session(leader: int) -> None:
    """Kill a process and all others of its session: programs started by mpiexec have groups of their own."""
    with suppress(OSError):
        os.kill(leader, signal.SIGSTOP)  # it starts nothing more, and is killed last
    for pid in psutil.pids():
        with suppress(OSError):
            if pid not in (leader, os.getpid()) and os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)
    with suppress(OSError):
        os.kill(leader, signal.SIGKILL)
