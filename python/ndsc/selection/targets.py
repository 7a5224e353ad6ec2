"""Targets: phonons and elastic constants, each in a module of its own, and here the simple ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.selection.elastic_target import ElasticTarget
from ndsc.selection.phonon_target import PhononTarget
from ndsc.selection.posterior import Posterior
from ndsc.selection.target import Target, not_prepared

__all__ = ["ElasticTarget", "ForceTarget", "PhononTarget", "PressureTarget", "Target"]

FloatArray = NDArray[np.float64]


class PressureTarget(Target):
    """The equation of state: pressure over a range of volumes, GPa.

    Parameters
    ----------
    crystal : ase.Atoms or Crystal
        The relaxed unit cell; its atoms stay at their fractional positions.
    goal : float, GPa
    scales : sequence of float
        Factors of the cell vectors.
    """

    name, unit = "equation of state", "GPa"

    def __init__(
        self, crystal: Atoms | Crystal, goal: float = 0.2, *, scales: Sequence[float] = (0.98, 0.99, 1.0, 1.01, 1.02)
    ) -> None:
        super().__init__(goal)
        self.crystal = as_crystal(crystal)
        self.scales = tuple(scales)
        self._rows: FloatArray | None = None

    def frames(self) -> list[Atoms]:
        """Scaled unit cells."""
        found = []
        for scale in self.scales:
            cell = self.crystal.atoms.copy()
            cell.set_cell(cell.cell.array * scale, scale_atoms=True)
            found.append(cell)
        return found

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Pressures."""
        volumes = self.crystal.atoms.get_volume() * np.array(self.scales) ** 3
        self._rows = np.array(
            [own[-6:][[0, 3, 5]].sum(axis=0) / (3 * v * GPa) for own, v in zip(rows, volumes, strict=True)]
        )

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        if self._rows is None:
            raise not_prepared(self)
        return np.asarray(self._rows / np.sqrt(len(self._rows)))


class ForceTarget(Target):
    """Forces on given structures, such as those of a trajectory, eV/Å.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    goal : float, eV/Å
    name : str
    """

    name, unit = "forces", "eV/Å"

    def __init__(self, structures: Sequence[Atoms], goal: float = 0.01, *, name: str = "forces") -> None:
        super().__init__(goal)
        if not structures:
            raise InputError("The target of forces has no structures. Give at least one.")
        self.name = name
        self._structures = [frame.copy() for frame in structures]
        self._rows: FloatArray | None = None

    def frames(self) -> list[Atoms]:
        """The structures."""
        return self._structures

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Forces."""
        self._rows = np.concatenate([own[1:-6] for own in rows])

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        if self._rows is None:
            raise not_prepared(self)
        return np.asarray(self._rows / np.sqrt(len(self._rows)))
