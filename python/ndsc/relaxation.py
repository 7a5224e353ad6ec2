"""Relaxation of the unit cell under a calculator, its symmetry kept (Allen and Bartók 2022, Table 1)."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ndsc.crystal import Crystal
from ndsc.errors import InputError, NdscError, ReferenceCalculationError
from ndsc.interrupts import raise_if_interrupted
from ndsc.progress import Progress, silent
from ndsc.rounding import rounded


def relax_crystal(
    atoms: Atoms,
    calculator: Calculator,
    *,
    fmax: float = 1e-4,
    max_steps: int = 200,
    progress: Progress = silent,
) -> Atoms:
    """Relax cell and positions within the space group of the crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell.
    calculator : ase.calculators.calculator.Calculator
        Needs stresses.
    fmax : float, eV/Å
        Largest force left, on atoms and on the cell (ASE's Fréchet cell filter, forces conjugate to the logarithm of
        the deformation, an atom's share of them).
    max_steps : int
        Steps after which the relaxation is given up.
    progress : callable
        Called with ("relaxation", steps done, max_steps).

    Returns
    -------
    ase.Atoms
        The relaxed unit cell, rounded to 1e-8 Å, without a calculator.

    Raises
    ------
    ReferenceCalculationError
        When the calculator fails, or the relaxation does not end in `max_steps`, or leaves the space group.
    """
    if fmax <= 0 or max_steps < 1:
        raise InputError(f"fmax = {fmax} and max_steps = {max_steps} must be positive.")
    crystal = Crystal.from_atoms(atoms)
    relaxed = crystal.atoms.copy()
    relaxed.info["ndsc_name"] = "relaxation"
    with warnings.catch_warnings():
        # ASE still reads spglib's dataset as a dictionary in places.
        warnings.simplefilter("ignore", DeprecationWarning)
        relaxed.set_constraint(FixSymmetry(relaxed))
        relaxed.calc = calculator
        converged = False
        optimiser = BFGS(FrechetCellFilter(relaxed), logfile=None)
        try:
            for step, done in enumerate(optimiser.irun(fmax=fmax, steps=max_steps)):
                converged = bool(done)
                progress("relaxation", step, max_steps)
        except NdscError:
            raise
        except Exception as error:  # a calculator may raise anything
            raise_if_interrupted(error)
            raise ReferenceCalculationError(
                f"The relaxation of {atoms.get_chemical_formula()} stopped: the calculator raised "
                f"{type(error).__name__}: {error}. Check that it knows the elements and gives stresses, or set "
                "relax = false."
            ) from error
    volume_ratio = relaxed.get_volume() / crystal.atoms.get_volume()
    if not converged or not np.isfinite(volume_ratio) or not 0.2 < volume_ratio < 5.0:
        raise ReferenceCalculationError(
            f"The relaxation of {atoms.get_chemical_formula()} did not reach {fmax} eV/Å in {max_steps} steps (volume "
            f"{volume_ratio:.2f} times the first). Start from a better structure, or check the calculator."
        )
    result = rounded(Atoms(numbers=relaxed.numbers, positions=relaxed.positions, cell=relaxed.cell.array, pbc=True))
    if relaxed.has("initial_magmoms"):
        result.set_initial_magnetic_moments(relaxed.get_initial_magnetic_moments())
    return result
