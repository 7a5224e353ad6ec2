"""What a label costs, in seconds, from the labels that there are; and what a larger one would cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: The time of a label grows with this power of the number of atoms, and how well that is known. With k-points that are
#: folded, their number falls as the cell grows: 64 atoms of aluminium take 112 times as long as 4 (a power of 1.7).
POWER, POWER_WITHOUT_KPOINTS, POWER_WIDTH = 1.7, 1.0, 0.4
#: Scatter of the logarithm of the time of one label.
SCATTER = 0.3


@dataclass(frozen=True)
class Estimate:
    """A number that was not measured, and how well it is known.

    Attributes
    ----------
    value : float
    low, high : float
        With the power of the number of atoms one standard deviation off, either way.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of_values(cls, value: float, *others: float) -> Estimate:
        """A value among others that it may have as well."""
        return cls(value, min(value, *others), max(value, *others))


@dataclass(frozen=True)
class LabelCost:
    """Seconds of a label: ``factor * n_atoms ** power``.

    Attributes
    ----------
    factor : float, s
        One before any label is known: costs are then in units of the label of one atom.
    power : float
    fitted : bool
        Whether `factor` comes from labels.
    power_width : float
        Standard deviation of `power`.
    n_atoms : float
        Atoms of the labels that `factor` comes from (their geometric mean): the time is known best there.
    """

    factor: float = 1.0
    power: float = POWER
    fitted: bool = False
    power_width: float = POWER_WIDTH
    n_atoms: float = 1.0

    @classmethod
    def of_labels(cls, n_atoms: Sequence[int], seconds: Sequence[float], *, kpoints: bool = True) -> LabelCost:
        """From the atoms and the seconds of labels, by least squares of logarithms with a prior of the power.

        Parameters
        ----------
        n_atoms : sequence of int
        seconds : sequence of float
            Labels without a time are left out.
        kpoints : bool
            Whether the calculator samples k-points, which are fewer in larger cells.
        """
        power = POWER if kpoints else POWER_WITHOUT_KPOINTS
        known = _known(n_atoms, seconds)
        if not known:
            return cls(power=power)
        sizes, times = np.log(np.array(known, dtype=float)).T
        centred = sizes - sizes.mean()
        weight = float(centred @ centred) / SCATTER**2 + 1 / POWER_WIDTH**2
        slope = (float(centred @ times) / SCATTER**2 + power / POWER_WIDTH**2) / weight
        factor = float(np.exp(times.mean() - slope * sizes.mean()))
        return cls(factor, slope, True, math.sqrt(1 / weight), float(np.exp(sizes.mean())))

    @classmethod
    def of_largest(cls, n_atoms: Sequence[int], seconds: Sequence[float], *, kpoints: bool = True) -> LabelCost:
        """From the largest labels alone, to say what still larger ones would take.

        Small cells say little of large ones: what every calculation takes, whatever its size, and the many k-points
        of the smallest make their times nearly equal. Labels of 1 and of 4 atoms of aluminium give a power of 0.6,
        which makes 64 atoms take 145 s, and they take 3,564 s; from the labels of 4 atoms alone it is 3,300 s.

        Parameters are those of :meth:`of_labels`.
        """
        known = _known(n_atoms, seconds)
        largest = max((atoms for atoms, _ in known), default=0)
        times = [time for atoms, time in known if atoms == largest]
        return cls.of_labels([largest] * len(times), times, kpoints=kpoints)

    def __call__(self, frames: Sequence[Atoms]) -> FloatArray:
        """(n,) array, s : of each structure."""
        return self.factor * np.array([len(frame) for frame in frames], dtype=float) ** self.power

    def seconds(self, n_atoms: int) -> Estimate:
        """The time of one label of so many atoms, s."""
        value = self.factor * n_atoms**self.power
        change = (n_atoms / self.n_atoms) ** self.power_width
        return Estimate.of_values(value, value * change, value / change)

    def relative(self, labels: Mapping[int, int], others: Mapping[int, int]) -> Estimate:
        """The time of some labels over that of others, from their numbers of atoms alone.

        Parameters
        ----------
        labels, others : mapping of int to int
            How many labels there are of each number of atoms.
        """

        def total(counts: Mapping[int, int], power: float) -> float:
            return math.fsum(count * float(atoms) ** power for atoms, count in counts.items())

        powers = (self.power, self.power - self.power_width, self.power + self.power_width)
        return Estimate.of_values(*(total(labels, power) / total(others, power) for power in powers))


def _known(n_atoms: Sequence[int], seconds: Sequence[float]) -> list[tuple[int, float]]:
    return [(n, s) for n, s in zip(n_atoms, seconds, strict=True) if math.isfinite(s) and s > 0]
