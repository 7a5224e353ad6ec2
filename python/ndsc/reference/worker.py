"""A process that computes labels one after the other; its start is in ``start.py``.

It is started by :class:`ndsc.reference.processes.CalculationProcess`, which watches it, and gets its jobs through a
socket that only the two share. When the other end is gone it finishes the label that it is at, writes it, and ends.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from ndsc.reference.computing import Job, Outcome, perform

#: What the code prints is written here, in the scratch folder of the calculation.
OUTPUT = "output.txt"
#: How much longer than its timeout a calculation may go on when nobody is left to stop it, s.
GRACE = 30.0


def main() -> None:
    """Answer jobs until the other end is closed."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    # Ctrl-C goes to the driver, which answers it for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    gc.freeze()  # what was imported stays
    try:
        connection.send("ready")
        while True:
            job, scratch = connection.recv()
            connection.send(_watched(job, Path(scratch)))
    except (EOFError, ConnectionError):
        return


def _watched(job: Job, scratch: Path) -> Outcome:
    """Do a job with its output in a file; past its time the process ends, whatever code holds it."""
    output = os.open(scratch / OUTPUT, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    if job.timeout is not None:
        faulthandler.dump_traceback_later(job.timeout + GRACE, exit=True, file=2)
    try:
        return perform(job, scratch)
    finally:
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        sys.stderr.flush()
