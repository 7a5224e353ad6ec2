"""A process that computes labels one after the other: ``python -m ndsc.reference.worker DESCRIPTOR``.

It is started by :class:`ndsc.reference.processes.CalculationProcess`, which watches it, and gets its jobs through a
socket that only the two share. When the other end is gone, a label that is nearly finished is still written; what takes
longer than a few seconds is ended, with every program that it started.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from ndsc.files import lock_folder
from ndsc.interrupts import die_with_parent
from ndsc.reference.computing import Job, Outcome, perform

#: What the code prints is written here, in the scratch folder of the calculation.
OUTPUT = "output.txt"
#: How long a calculation may go on when the process that watches it was killed, s.
FAREWELL = 5.0


def main() -> None:
    """Answer jobs until the other end is closed."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    # Ctrl-C goes to the driver, which answers it for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_driver(descriptor)
    connection = Connection(descriptor)
    gc.freeze()  # imported modules are never collected
    try:
        connection.send("ready")
        while True:
            job, scratch = connection.recv()
            connection.send(_with_output_in_file(job, Path(scratch)))
    except (EOFError, ConnectionError):
        return


def _end_with_driver(descriptor: int) -> None:
    """Fork a process that kills this session soon after the driver has died, even while C or Fortran code runs here.

    The driver holds the other end of the standard input, which is replaced by an empty one here.
    """
    session = os.getpid()
    if os.fork():
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return
    os.close(descriptor)
    die_with_parent(session)
    driver = select.poll()
    driver.register(0, 0)  # only its end is reported
    driver.poll()
    time.sleep(FAREWELL)

    from ndsc.reference.processes import kill_session

    kill_session(session)
    os._exit(0)


def _with_output_in_file(job: Job, scratch: Path) -> Outcome:
    """Do a job; what it prints goes to a file."""
    lock = lock_folder(scratch.parent)
    output = os.open(scratch / OUTPUT, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()  # writes where a crash happened
    try:
        return perform(job, scratch)
    finally:
        os.close(lock)
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    main()
