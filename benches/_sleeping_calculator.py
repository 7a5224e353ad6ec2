"""A calculator that takes a given time and does nothing else."""

from __future__ import annotations

import time

import numpy as np
from ase.calculators.calculator import Calculator


class Sleeping(Calculator):
    """Energy, forces and stress are zero."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        """Wait, then give zeros."""
        super().calculate(atoms, properties, system_changes)
        time.sleep(self.seconds)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


def sleeping(seconds: float) -> Sleeping:
    """The factory that a calculator's name refers to."""
    return Sleeping(seconds)
