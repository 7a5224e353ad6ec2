"""Calculators that go wrong, or count, on purpose; named as 'calculators_for_tests:...' in the tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class _Faulty(EMT):
    def __init__(self, how="", counter=""):
        super().__init__()
        self.how, self.counter = how, counter

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if self.counter:
            with Path(self.counter).open("a") as file:
                file.write(f"{os.getpid()}\n")
        super().calculate(atoms, properties, system_changes)
        largest = np.abs(self.results["forces"]).max()
        if self.how == "nan":
            self.results["energy"] = self.results["free_energy"] = np.nan
        elif self.how == "raise":
            raise RuntimeError("the self-consistency did not converge")
        elif self.how == "drift":
            self.results["forces"] = self.results["forces"] + 1.0
        elif self.how == "absurd":
            self.results["forces"][:, 0] = 1e30 * np.linspace(-1, 1, len(atoms))
        elif self.how == "shape":
            self.results["forces"] = np.zeros((9, 3))
        elif self.how == "die":
            os._exit(9)
        elif self.how == "die_once":
            marker = Path(self.counter + ".died")
            if not marker.exists():
                marker.touch()
                os._exit(9)
        elif self.how == "raise_large" and largest > 0.2:
            raise RuntimeError("forces too large")
        elif self.how == "no_single_atoms" and atoms.cell.volume > 1000:
            raise RuntimeError("a single atom does not converge")
        elif self.how == "slow":
            time.sleep(0.3)


def faulty(how="", counter=""):
    return _Faulty(how, counter)


def no_single_atoms():
    return _Faulty("no_single_atoms")


class NoStress(Calculator):
    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -1.0 * len(atoms), "forces": np.zeros((len(atoms), 3))}


def no_stress():
    return NoStress()


NOT_A_FUNCTION = 1


class SeesAtoms(Calculator):
    """Energy from charges, tags, masses and moments, so that a label tells which of them it was given."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        values = (
            atoms.get_initial_charges(),
            atoms.get_tags(),
            atoms.get_masses(),
            atoms.get_initial_magnetic_moments(),
        )
        energy = sum(float(scale * np.sum(value)) for scale, value in zip((1.0, 1e2, 1e4, 1e6), values, strict=True))
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3))}


def sees_atoms():
    return SeesAtoms()


class TakesProcessors(EMT):
    """Keeps a processor busy for some seconds in this process and for some in a program that it starts, and sleeps."""

    def __init__(self, own, program, sleep):
        super().__init__()
        self.own, self.program, self.sleep = own, program, sleep

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        busy = "import time\nwhile time.process_time() < {}: pass"
        subprocess.run([sys.executable, "-S", "-c", busy.format(self.program)], check=True)
        end = time.process_time() + self.own
        while time.process_time() < end:
            pass
        time.sleep(self.sleep)


def takes_processors(own=0.2, program=0.3, sleep=0.4):
    return TakesProcessors(own, program, sleep)
