"""What a label will cost, in seconds, from the labels that there are."""

from __future__ import annotations

from collections.abc import Sequence
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
class LabelCost:
    """Seconds of a label: ``factor * n_atoms ** power``.

    Attributes
    ----------
    factor : float, s
        One before any label is known: costs are then in units of the label of one atom.
    power : float
    fitted : bool
        Whether `factor` comes from labels.
    """

    factor: float = 1.0
    power: float = POWER
    fitted: bool = False

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
        known = [(n, s) for n, s in zip(n_atoms, seconds, strict=True) if np.isfinite(s) and s > 0]
        if not known:
            return cls(power=power)
        sizes, times = np.log(np.array(known, dtype=float)).T
        centred = sizes - sizes.mean()
        weight = float(centred @ centred) / SCATTER**2
        fitted = float(centred @ times) / SCATTER**2 + power / POWER_WIDTH**2
        slope = fitted / (weight + 1 / POWER_WIDTH**2)
        return cls(float(np.exp(times.mean() - slope * sizes.mean())), slope, True)

    def __call__(self, frames: Sequence[Atoms]) -> FloatArray:
        """(n,) array, s : of each structure."""
        return self.factor * np.array([len(frame) for frame in frames], dtype=float) ** self.power
