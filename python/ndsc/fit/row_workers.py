"""Processes that compute rows: ``python -m ndsc.fit.row_workers DESCRIPTOR``, as many as there are to be at a time.

They are started here and not by multiprocessing for the reasons given in :mod:`ndsc.reference.processes`. None outlives
the loop over its results, however that ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, NoReturn

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import FitError, NdscError
from ndsc.fit.kernels import Kernel, rows_of
from ndsc.interrupts import die_with_parent, held_interrupts

FloatArray = NDArray[np.float64]

#: Results that may wait for an earlier one, for each worker.
AHEAD = 4
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Worker:
    """One process, and the number of the structure that it works on."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self.connection, theirs = Pipe()
        environment = {
            **os.environ,
            **dict.fromkeys(_THREADS, "1"),
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
        }
        with theirs:
            # In a session of its own, where the terminal's Ctrl-C does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ndsc.fit.row_workers", str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                env=environment, stdin=subprocess.DEVNULL, stdout=self._messages, stderr=self._messages,
                start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip

    def send(self, what: Sequence[Kernel] | Atoms) -> None:
        try:
            self.connection.send(what)
        except OSError:
            self._died()

    def receive(self) -> tuple[FloatArray, float]:
        """What it answers: rows, and the seconds that they took."""
        try:
            answer: tuple[FloatArray, float] | NdscError = self.connection.recv()
        except (EOFError, OSError):
            self._died()
        self.number = None
        if isinstance(answer, NdscError):
            raise answer
        return answer

    def _died(self) -> NoReturn:
        code = self._process.wait()
        self._messages.seek(0)
        words = self._messages.read()[-300:].decode(errors="replace").strip()
        how = f"was killed by signal {-code}, perhaps because memory ran out" if code < 0 else f"ended ({code})"
        said = f"; the end of its output: {words}" if words else ""
        raise FitError(f"A process that computed rows {how}{said}. Use fewer workers.")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._messages.close()


def rows_in_processes(
    structures: Sequence[Atoms], kernels: Sequence[Kernel], workers: int
) -> Generator[tuple[FloatArray, float]]:
    """Rows of structures, in their order, and the seconds that each took.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        From :func:`ndsc.fit.calculator.bare_structure`.
    kernels : sequence of Kernel
    workers : int
        Processes at a time.

    Raises
    ------
    FitError
        When the rows of a structure cannot be computed, or a process dies.
    """
    processes: list[_Worker] = []
    waiting = deque(range(len(structures)))
    finished: dict[int, tuple[FloatArray, float]] = {}
    following = 0
    try:
        for _ in range(min(workers, len(structures))):
            with held_interrupts():
                processes.append(_Worker())
        for process in processes:  # after all were started, since each reads only when it has
            process.send(kernels)
        while following < len(structures):
            for process in processes:
                if process.number is None and waiting and waiting[0] - following < AHEAD * len(processes):
                    process.number = waiting.popleft()
                    process.send(structures[process.number])
            if following in finished:
                yield finished.pop(following)
                following += 1
                continue
            busy = {process.connection: process for process in processes if process.number is not None}
            for connection in wait(list(busy)):
                process = busy[connection]  # type: ignore[index]
                number = process.number or 0
                finished[number] = process.receive()
    finally:
        for process in processes:
            process.close()


def main() -> None:
    """Answer structures with rows until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    with closing(Connection(descriptor)) as connection:
        try:
            kernels: list[Kernel] = connection.recv()
            while True:
                structure: Atoms = connection.recv()
                begin = time.perf_counter()
                answer: tuple[FloatArray, float] | NdscError
                try:
                    answer = rows_of(structure, kernels), time.perf_counter() - begin
                except NdscError as error:
                    answer = error
                connection.send(answer)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
