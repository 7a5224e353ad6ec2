"""Ctrl-C: held back at critical moments, and answered while code runs that Python cannot interrupt."""

from __future__ import annotations

import _thread
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ndsc.errors import InputError, NdscError, ReferenceCalculationError

#: How long a command has to stop by itself after Ctrl-C, s; then it is ended.
PATIENCE = 1.0
#: Exit code of a command that was stopped with Ctrl-C, as shells have it.
INTERRUPTED = 130
#: The signal by which the supervisor asks the command to stop. Nothing else sends it, and it is ignored by default.
_STOP = signal.SIGURG
#: The message of f90wrap, with which quippy turns a Ctrl-C during its Fortran code into a RuntimeError.
_FORTRAN_INTERRUPT = "Interrupt occure"


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block, which must be short.

    Without it, a program that is being started could go on without anyone who knows of it. Other threads than the main
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
        _thread.interrupt_main()


def raise_if_interrupted(error: BaseException) -> None:
    """Raise KeyboardInterrupt where an error, or its cause, is a Ctrl-C that other code has turned into an error.

    Code that turns every exception of a calculator into an error of its own calls this first. Fortran code wrapped by
    f90wrap, as quippy is, raises a RuntimeError when Ctrl-C comes while it computes.

    Raises
    ------
    KeyboardInterrupt
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt) or _FORTRAN_INTERRUPT in str(cause):
            raise KeyboardInterrupt from error
        cause = cause.__cause__ or cause.__context__


@contextmanager
def calculator_errors(failure: str, advice: str, calculator: object) -> Iterator[None]:
    """Turn what a calculator raises into a ReferenceCalculationError, but for errors of this package and Ctrl-C.

    Parameters
    ----------
    failure : str
        What could not be done; the calculator's error follows it.
    advice : str
        What to do.
    calculator : ase.calculators.calculator.Calculator
        Refused when it is none.

    Raises
    ------
    InputError
        When the calculator is a class or a function, or has no forces.
    ReferenceCalculationError
        When it raises anything.
    """
    if isinstance(calculator, type) or not hasattr(calculator, "get_forces"):
        name = getattr(calculator, "__name__", "")
        what = f"{name}, which has to be called: give {name}(…)" if name else f"{type(calculator).__name__}"
        raise InputError(f"An ASE calculator was expected, not {what}.")
    try:
        yield
    except NdscError:
        raise
    except Exception as error:  # a calculator may raise anything
        raise_if_interrupted(error)
        raise ReferenceCalculationError(f"{failure}: {type(error).__name__}: {error}. {advice}") from error


def supervise() -> None:
    """Go on in a child process, while this one waits for it and answers Ctrl-C; a second call does nothing.

    Python sees a signal only between two of its own instructions, and some Fortran code handles Ctrl-C itself. So the
    command runs in a child in which SIGINT is blocked. On Ctrl-C this process makes the child raise KeyboardInterrupt;
    after ``PATIENCE`` seconds it kills the child and all that it started. Files are written whole or not at all, so
    nothing is lost by that. The child dies with this process, whatever ends it. In this process the function never
    returns: it ends with the exit code of the child, or with 130 after Ctrl-C.
    """
    if not sys.platform.startswith("linux") or signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        # Elsewhere the child of a parent that was killed would go on; and what ignores Ctrl-C goes on ignoring it.
        return
    if callable(signal.getsignal(_STOP)):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(_STOP, lambda number, frame: _thread.interrupt_main())
        signal.signal(signal.SIGINT, signal.default_int_handler)
        die_with_parent(parent)
        return
    code = 1
    try:
        code = _wait_for(child)
    finally:
        os._exit(code)


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent ends; nothing where the kernel is not Linux.

    Parameters
    ----------
    parent : int, optional
        Number of the parent when it made this process, which ends at once if that one is gone already.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # 1 is PR_SET_PDEATHSIG
    if parent is not None and os.getppid() != parent:
        os._exit(INTERRUPTED)


def _wait_for(child: int) -> int:
    """Wait for the child, passing Ctrl-C on to it; the exit code for this process."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    # A signal may reach another thread than this one, so it is heard of through a pipe.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    deadline: float | None = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if deadline is not None and time.monotonic() > deadline:
            _kill_with_children(child)
            _say_stopped()
            break
        select.select([reader], [], [], 0.05 if deadline is not None else None)
        with suppress(BlockingIOError):
            if signal.SIGINT in os.read(reader, 4096) and deadline is None:
                deadline = time.monotonic() + PATIENCE
                os.kill(child, _STOP)
    if deadline is not None:
        return INTERRUPTED
    code = os.waitstatus_to_exitcode(status)
    if code < 0:  # end as the child did, for the process that waits for this one
        with suppress(OSError):  # the handler of SIGKILL cannot be set, and need not be
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code % 256


def _say_stopped() -> None:
    with suppress(OSError, ValueError, AttributeError):
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # progress bars hide it
        sys.stderr.write(f"{show_cursor}\nStopped. What is finished is kept; run the same command again to continue.\n")
        sys.stderr.flush()


def _kill_with_children(pid: int) -> None:
    """Kill a process and all that descend from it."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        process.suspend()  # it starts nothing more
        family = [process, *process.children(recursive=True)]
        for member in family:
            with suppress(psutil.Error):
                member.kill()
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
