"""Checks of a result before it becomes a label."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.errors import ReferenceCalculationError
from ndsc.plausibility import FORCE

#: Largest sum of forces, per atom, that a converged calculation of a crystal may have, eV/Å.
LARGEST_NET_FORCE = 0.1
#: How far the atoms of a code may be from those that it was given, Å: they went through files of few digits.
ROUNDING = 1e-4


def check_results(name: str, n_atoms: int, energy: float, forces: NDArray[np.float64], stress: Any) -> None:
    """Refuse results of wrong shape, that are not finite, absurdly large, or whose forces do not sum to zero.

    Parameters
    ----------
    name : str
        Of the configuration, for the message.
    n_atoms : int
    energy : float, eV
    forces : (n, 3) array, eV/Å
    stress : (6,) array, eV/Å³, or None

    Raises
    ------
    ReferenceCalculationError
        When shapes are wrong, numbers are not finite, a force is absurd, or the forces do not sum to zero.
    """
    if forces.shape != (n_atoms, 3):
        raise ReferenceCalculationError(f"{name}: the forces have the shape {forces.shape}, not {(n_atoms, 3)}.")
    for what, values in (("energy", energy), ("forces", forces), ("stress", stress)):
        if values is not None and not np.all(np.isfinite(values)):
            raise ReferenceCalculationError(f"{name}: the {what} is not finite.")
    if (largest := float(np.abs(forces).max(initial=0.0))) > FORCE.refuse:
        raise ReferenceCalculationError(
            f"{name}: a force of {largest:.3g} eV/Å, which is too large for any configuration. Check the units and "
            "the calculator."
        )
    net = float(np.abs(forces.sum(axis=0)).max()) / n_atoms
    if net > LARGEST_NET_FORCE:
        raise ReferenceCalculationError(
            f"{name}: the forces sum to {net:.3g} eV/Å per atom instead of zero, so the calculation is not converged."
        )


def check_atoms(name: str, asked: Atoms, atoms: Atoms, calculator: Calculator) -> None:
    """Refuse a calculation of other atoms than those asked for: moved, reordered, or of another cell.

    Parameters
    ----------
    name : str
    asked : ase.Atoms
        The configuration, as it was before the calculation.
    atoms : ase.Atoms
        What was given to the calculator, as it is now.
    calculator : ase.calculators.calculator.Calculator
        What it says that it computed (``calculator.atoms``) is compared as well.

    Raises
    ------
    ReferenceCalculationError
        When they differ.
    """
    for computed in (atoms, getattr(calculator, "atoms", None)):
        if isinstance(computed, Atoms) and (difference := _difference(asked, computed)):
            raise ReferenceCalculationError(
                f"{name}: the calculator changed the structure: {difference}. Switch off whatever moves or reorders "
                "atoms in it."
            )


def _difference(asked: Atoms, computed: Atoms) -> str:
    if len(computed) != len(asked):
        return f"{len(computed)} instead of {len(asked)}"
    if not np.array_equal(computed.numbers, asked.numbers):
        return f"{computed.symbols} instead of {asked.symbols}"
    if (change := float(np.abs(computed.cell.array - asked.cell.array).max())) > ROUNDING:
        return f"its cell differs by up to {change:.3g} Å"
    moved = float(np.abs(_shortest(computed.positions - asked.positions, asked)).max())
    return f"they moved by up to {moved:.3g} Å" if moved > ROUNDING else ""


def _shortest(vectors: NDArray[np.float64], atoms: Atoms) -> NDArray[np.float64]:
    """Differences of positions without whole lattice vectors: a code may wrap atoms into the cell."""
    if not atoms.pbc.all():
        return vectors
    cell = atoms.cell.array
    shifts = np.rint(np.linalg.solve(cell.T, vectors.T).T)
    return np.asarray(vectors - shifts @ cell)
