"""Targets: energies of structures, such as those of the decorations of an alloy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.selection.posterior import Posterior
from ndsc.selection.target import Target, not_prepared

FloatArray = NDArray[np.float64]


class EnergyTarget(Target):
    """Energies of given structures, meV an atom.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    goal : float, meV/atom
    name : str
    """

    name, unit = "energies", "meV/atom"

    def __init__(self, structures: Sequence[Atoms], goal: float = 1.0, *, name: str = "energies") -> None:
        super().__init__(goal)
        if not structures:
            raise InputError("The target of energies has no structures. Give at least one.")
        self.name = name
        self._structures = [frame.copy() for frame in structures]
        self._rows: FloatArray | None = None

    def frames(self) -> list[Atoms]:
        """The structures."""
        return list(self._structures)

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Energies an atom."""
        self._rows = np.array([1e3 * own[0] / len(frame) for own, frame in zip(rows, self._structures, strict=True)])

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        if self._rows is None:
            raise not_prepared(self)
        return np.asarray(self._rows / np.sqrt(len(self._rows)))
