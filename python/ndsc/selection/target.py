"""What a database is made for, as linear maps of the weights of a potential.

A target names the structures whose rows it needs. From these it makes, for what is known of the weights, rows E for
which ``|E δz|²`` is the mean square error of what it is about, in a unit of its own, when the weights are wrong by δz.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.selection.posterior import Posterior

FloatArray = NDArray[np.float64]


class Target(ABC):
    """Something that a potential is to give.

    Attributes
    ----------
    name : str
    unit : str
        Of its error.
    goal : float
        Root-mean-square error that is wanted: targets are weighed against each other by their goals.
    """

    name: str
    unit: str

    def __init__(self, goal: float) -> None:
        if not np.isfinite(goal) or goal <= 0:
            raise InputError(
                f"The goal {goal!r} of {self.name} is not a positive number. Give an error in {self.unit}."
            )
        self.goal = goal

    @abstractmethod
    def frames(self) -> list[Atoms]:
        """Structures whose rows are needed."""

    @abstractmethod
    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Take the rows of :meth:`frames`."""

    @abstractmethod
    def error_rows(self, posterior: Posterior) -> FloatArray:
        """(t, m) array E : ``|E δz|²`` is the mean square error, in the target's unit."""


def not_prepared(target: Target) -> InputError:
    """What to raise when a target is asked before it has rows."""
    return InputError(
        f"The target {target.name!r} has no rows yet. Call prepare with those of its frames, or let a Selector do it."
    )
