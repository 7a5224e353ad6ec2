"""Calculators for the fault-injection suite; each call is counted in a file, one line a call."""

import ctypes
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator


def fingerprint(atoms):
    """A short name of a structure, the same in all processes."""
    return hashlib.sha256(np.round(atoms.positions, 8).tobytes()).hexdigest()[:16]


def calls(counter):
    """Number of calculator calls by structure."""
    counts = {}
    for line in Path(counter).read_text().splitlines() if Path(counter).exists() else []:
        counts[line] = counts.get(line, 0) + 1
    return counts


class Counting(Calculator):
    """Zero forces after some time; `how` says what goes wrong."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, counter, seconds, how):
        super().__init__()
        self.counter, self.seconds, self.how = counter, seconds, how

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        # One write of a short line to a file opened for appending is never mixed with another's.
        descriptor = os.open(self.counter, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, (fingerprint(atoms) + "\n").encode())
        os.close(descriptor)
        time.sleep(self.seconds)
        if self.how:
            getattr(self, "_" + self.how)(atoms)
        self.results = {"energy": float(atoms.positions.sum()), "forces": np.zeros((len(atoms), 3))}
        self.results["stress"] = np.zeros(6)

    def _once(self):
        """Whether this is the first call of all for a structure."""
        return calls(self.counter)[fingerprint(self.atoms)] == 1

    def _hang(self, atoms):
        time.sleep(3600)

    def _hang_once(self, atoms):
        if self._once():
            time.sleep(3600)

    def _hang_in_c(self, atoms):
        # Through PyDLL the interpreter stays locked: no Python of this process runs until it returns.
        ctypes.PyDLL(None).sleep(3600)

    def _swallow(self, atoms):
        # As a finaliser does, or code with a bare except: Ctrl-C is lost.
        deadline = time.monotonic() + 3600
        while time.monotonic() < deadline:
            try:
                time.sleep(3600)
            except BaseException:
                continue

    def _fortran(self, atoms):
        # What f90wrap makes of Ctrl-C, in quippy.
        try:
            time.sleep(3600)
        except KeyboardInterrupt:
            raise RuntimeError("Interrupt occured") from None

    def _hang_in_program(self, atoms):
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        self._write_pid(program.pid)
        program.wait()

    def _pid(self, atoms):
        self._write_pid(os.getpid())

    def _write_pid(self, pid):
        # Whoever waits for the file finds it whole.
        part = Path(self.counter + ".part")
        part.write_text(str(pid))
        part.rename(self.counter + ".pid")

    def _garbage(self, atoms):
        for descriptor in (1, 2):
            os.write(descriptor, b"\x00\xff\xfe garbage \x1b[31m { not json\n" * 1000)

    def _exit_0(self, atoms):
        print("I am done, or so I think", flush=True)
        os._exit(0)

    def _sys_exit(self, atoms):
        sys.exit(0)

    def _kill_self(self, atoms):
        os.kill(os.getpid(), 9)

    def _no_file_once(self, atoms):
        if self._once():
            raise FileNotFoundError("the code wrote no output")

    def _raise(self, atoms):
        raise RuntimeError("the self-consistency did not converge")

    def _move(self, atoms):
        atoms.positions[0, 0] += 0.1

    def _reorder(self, atoms):
        self.atoms.numbers[0] = 12


class UnusualError(Exception):
    """What only this module knows."""


class Stop(BaseException):
    """What `except Exception` lets through."""


def failing_factory(how):
    """Raise instead of returning a calculator, or return something else."""
    if how == "key":
        return {}["a setting"]
    if how == "type":
        return len(3)
    if how == "exit":
        sys.exit()
    if how == "unusual":
        raise UnusualError("of its own kind")
    if how == "stop":
        raise Stop("now")
    if how == "file":
        raise FileNotFoundError("no potential there")
    return None


def counting(counter, seconds=0.0, how=""):
    """The factory."""
    return Counting(counter, seconds, how)
