"""A fitted atomic cluster expansion as an ASE calculator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ndsc.errors import FitError
from ndsc.potentials.ace_rows import AceEvaluator
from ndsc.potentials.ace_tables import read_ace


class AceCalculator(Calculator):  # type: ignore[misc]
    """Energies, forces and stresses of a potential of ace-jax.

    It gives what ``ace_jax.ACECalculator`` gives, without compiling a program for every number of atoms, so it is the
    faster one for many small cells. It can be pickled and copied, refuses species that the potential was not fitted to,
    and accepts atoms without a cell.

    Parameters
    ----------
    path : path
        The potential, a file ``*.npz``.

    Raises
    ------
    MissingExtraError
        When ace-jax is not installed.
    InputError
        When the file is not such a potential, or damaged.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own convention

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path).resolve()
        tables, self._fitted = read_ace(self.path)
        self._evaluator = AceEvaluator(tables, f"the potential {self.path}")
        self.species, self.cutoff = tables.elements, tables.cutoff

    def __reduce__(self) -> tuple[type[AceCalculator], tuple[str]]:
        return AceCalculator, (str(self.path),)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and, for atoms in a cell, stress."""
        super().calculate(atoms, properties, system_changes)
        self._evaluator.check(self.atoms)
        energy, forces, virial = self._evaluator.energy_forces_virial(self.atoms, self._fitted)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise FitError(
                f"The potential {self.path} has no finite energy for the structure. Look for two atoms on one site."
            )
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.cell.rank == 3:
            stress = -virial / self.atoms.get_volume()
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
