"""Calculations in a process of their own, watched: what hangs is killed, what dies takes nothing with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import IO

from ndsc.reference.claims import HEARTBEAT
from ndsc.reference.computing import Job, Outcome, State, keep_files, perform
from ndsc.reference.store import LabelStore
from ndsc.reference.worker import OUTPUT

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: Calculations that take longer do not get the next job in advance: the way to this process and back takes 2 ms, s.
SHORT = 1.0
#: The largest message that is sent in advance, bytes: the socket holds it until the process has time to read.
SMALL = 65536

LookAhead = Callable[[], "Job | None"]


class CalculationProcess:
    """A process that computes labels one at a time, started when the first job comes and again when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._messages: IO[bytes] | None = None
        self._threads = 0
        self._closed = False
        self._ahead: Job | None = None
        self._short = False
        self._scratch = Path(tempfile.mkdtemp(prefix="ndsc-"))
        # That of the calculation first, and one for the next: the files of one are looked at when the next has begun.
        self._folders = (self._scratch / "0", self._scratch / "1")
        # Also when nobody closes it: an executor's threads just end.
        self._leftovers: list[Callable[[], object]] = [partial(shutil.rmtree, self._scratch, ignore_errors=True)]
        weakref.finalize(self, _call_all, self._leftovers)

    @property
    def pid(self) -> int | None:
        """Number of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def run(self, job: Job, look_ahead: LookAhead = lambda: None) -> Outcome:
        """Do a job, and say what became of it; nothing that the calculation does is raised here.

        Parameters
        ----------
        job : Job
        look_ahead : callable
            Asked, when labels take so little time that the way to the process and back counts, for the job that this
            method will be called with next. The process then has it when it is done with this one.
        """
        if self._ahead is not None and self._ahead is not job:
            self.kill()  # it would answer for the other
        scratch = self._folders[0]
        started = time.monotonic()
        outcome = self._run(job, scratch, look_ahead)
        self._short = time.monotonic() - started < SHORT
        if outcome.state in (State.FAILED, State.DIED, State.TIMEOUT):
            keep_files(scratch, LabelStore(job.store), job.key)
        return outcome

    def _run(self, job: Job, scratch: Path, look_ahead: LookAhead) -> Outcome:
        try:
            connection = self._connection
            if self._ahead is not job or connection is None:
                connection = self._ready(job.threads)
                _empty(scratch)
                connection.send((job, str(scratch)))
        except (EOFError, OSError):
            return self._dead(job, scratch, self.pid)
        self._ahead = None
        pid = self.pid
        claims = LabelStore(job.store).claims
        started = time.monotonic()
        if self._short:
            self._send_ahead(connection, look_ahead(), job.threads)
        while True:
            left = HEARTBEAT if job.timeout is None else started + job.timeout - time.monotonic()
            if left <= 0:
                self.kill()
                claims.drop_of_process(job.key, pid)
                return Outcome(State.TIMEOUT, f"it took longer than {job.timeout:g} s and was stopped", by_chance=True)
            try:
                if connection.poll(min(left, HEARTBEAT)):
                    outcome: Outcome = connection.recv()
                    return outcome
            except (EOFError, OSError):
                return self._dead(job, scratch, pid)
            if self._process is None or self._process.poll() is not None:
                return self._dead(job, scratch, pid)
            claims.touch(job.key)

    def _send_ahead(self, connection: Connection, job: Job | None, threads: int) -> None:
        """Give the process its next job, unless it could keep this one waiting; it is then sent in its turn."""
        if job is None or job.threads != threads:
            return
        scratch = self._folders[1]
        message = ForkingPickler.dumps((job, str(scratch)))
        if len(message) > SMALL:
            return
        with suppress(OSError):  # of a process that has died: it is found out below
            _empty(scratch)
            connection.send_bytes(message)
            self._ahead, self._folders = job, self._folders[::-1]

    def kill(self) -> None:
        """End the process now, and every program that it started."""
        self._process = self._connection = self._messages = self._ahead = None
        while len(self._leftovers) > 1:
            self._leftovers.pop()()

    def close(self) -> None:
        """End the process and start no other."""
        self._closed = True
        self.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _ready(self, threads: int) -> Connection:
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
        messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("start.py")), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,
        )
        theirs.close()
        self._leftovers += [ours.close, messages.close, partial(_end, process)]
        self._process, self._messages, self._connection, self._threads = process, messages, ours, threads
        if self._is_closed():  # by another thread, meanwhile
            self.kill()
        else:
            ours.recv()

    def _is_closed(self) -> bool:
        return self._closed

    def _dead(self, job: Job, scratch: Path, pid: int | None) -> Outcome:
        """The process ended without an answer."""
        process, messages = self._process, self._messages
        if process is None or messages is None:
            LabelStore(job.store).claims.drop_of_process(job.key, pid)
            return Outcome(State.DIED, "it was stopped", by_chance=True)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        code = process.poll()
        text = _tail(scratch / OUTPUT)
        if not text:
            with suppress(OSError, ValueError):
                messages.seek(0)
                text = messages.read().decode(errors="replace").strip()[-300:]
        self.kill()
        LabelStore(job.store).claims.drop_of_process(job.key, pid)
        if code == 0:
            how = "ended by itself with exit code 0, without a result"
        elif code is not None and code < 0:
            how = f"was killed by signal {-code}" + (" (out of memory, perhaps)" if code == -signal.SIGKILL else "")
        else:
            how = f"ended with exit code {code}"
        said = f"; its last words: {text}" if text else ""
        return Outcome(State.DIED, f"{how}{said}", by_chance=True, killed=code == -signal.SIGKILL)


_OWN = threading.local()


@contextmanager
def using(process: CalculationProcess, look_ahead: LookAhead) -> Iterator[None]:
    """Let :func:`run_job` of this thread use a process, and ask for the next job."""
    _OWN.process, _OWN.look_ahead = process, look_ahead
    try:
        yield
    finally:
        del _OWN.process, _OWN.look_ahead


def run_job(job: Job) -> Outcome:
    """Do a job on the machine where an executor runs this function, watched by the caller's process.

    The thread's own calculation process is kept for the next job, and ends with the process that this runs in.
    """
    process = getattr(_OWN, "process", None)
    if process is None:
        process = _OWN.process = CalculationProcess()
    outcome: Outcome = process.run(job, getattr(_OWN, "look_ahead", lambda: None))
    return outcome


def run_job_here(job: Job) -> Outcome:
    """Do a job in the very process that an executor runs this function in: no timeout, nobody watches."""
    return perform(job)


def _call_all(callables: list[Callable[[], object]]) -> None:
    while callables:
        callables.pop()()


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill_session(process.pid)
    process.wait()


def _empty(folder: Path) -> None:
    """Make a folder for the files of a calculation, without those of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != OUTPUT:
                os.unlink(entry.path)


def _tail(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[-300:]
    except OSError:
        return ""


def _kill_session(leader: int) -> None:
    """Kill a process and all others of its session: programs started by mpiexec have groups of their own."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(leader, signal.SIGKILL)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, IndexError, ValueError):
            continue
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
