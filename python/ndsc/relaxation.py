"""Relaxation of the unit cell under a calculator, its symmetry kept (Allen and Bartók 2022, Table 1)."""

from __future__ import annotations

import logging

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixConstraint
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ndsc.benchmark_settings import RelaxationSettings
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.force_constants.space_group import cartesian_rotations
from ndsc.interrupts import calculator_errors
from ndsc.progress import Progress, silent
from ndsc.rounding import rounded

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)

#: Cells that are symmetric to this length are left as they are, Å.
EXACT = 1e-9
#: Tolerance of the symmetry of the result, which is rounded to 1e-8 Å.
SMALLEST_SYMPREC = 1e-6
#: Volumes of the relaxed cell that are believed, in units of the first one.
VOLUME_RATIOS = (0.2, 5.0)


class KeepSymmetry(FixConstraint):  # type: ignore[misc]
    """Keeps all operations of a crystal in a relaxation, those that reverse the spins among them.

    Parameters
    ----------
    crystal : Crystal
        Its operations are kept by forces, stress and steps of any atoms with the same sites.
    """

    def __init__(self, crystal: Crystal) -> None:
        self.rotations = crystal.rotations
        #: The atom that each operation brings onto each site.
        self.origins = np.argsort(crystal.permutations, axis=1)

    def adjust_forces(self, atoms: Atoms, forces: FloatArray) -> None:
        """Average over the operations, in place."""
        forces[:] = self._vectors(atoms, forces)

    def adjust_positions(self, atoms: Atoms, new: FloatArray) -> None:
        """Average the steps over the operations, in place."""
        new[:] = atoms.positions + self._vectors(atoms, new - atoms.positions)

    def adjust_stress(self, atoms: Atoms, stress: FloatArray) -> None:
        """Average over the operations, in place."""
        stress[:] = full_3x3_to_voigt_6_stress(self._tensor(atoms, voigt_6_to_full_3x3_stress(stress)))

    def adjust_cell(self, atoms: Atoms, cell: FloatArray) -> None:
        """Average the deformation over the operations, in place."""
        old = atoms.cell.array
        deformation = np.linalg.solve(old, cell).T - np.eye(3)
        cell[:] = old @ (self._tensor(atoms, deformation) + np.eye(3)).T

    def get_removed_dof(self, atoms: Atoms) -> int:
        """Not counted."""
        return 0

    def _vectors(self, atoms: Atoms, vectors: FloatArray) -> FloatArray:
        turned = np.einsum("oij,onj->ni", self._cartesian(atoms), vectors[self.origins], optimize=True)
        return np.asarray(turned / len(self.rotations))

    def _tensor(self, atoms: Atoms, tensor: FloatArray) -> FloatArray:
        rotations = self._cartesian(atoms)
        return np.asarray((rotations @ tensor @ rotations.transpose(0, 2, 1)).mean(axis=0))

    def _cartesian(self, atoms: Atoms) -> FloatArray:
        return cartesian_rotations(self.rotations, atoms.cell.array)


def idealised(crystal: Crystal) -> Atoms:
    """The unit cell with cell and positions averaged over the operations, so that they hold exactly.

    Parameters
    ----------
    crystal : Crystal
        Symmetric within its tolerance.
    """
    atoms = crystal.atoms.copy()
    cell, positions = atoms.cell.array, atoms.get_scaled_positions(wrap=False)
    metric = (crystal.rotations.transpose(0, 2, 1) @ (cell @ cell.T) @ crystal.rotations).mean(axis=0)
    inverse = np.linalg.inv(cell)
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    new_cell = cell @ (vectors * np.sqrt(values)) @ vectors.T
    images = np.einsum("oij,aj->oai", crystal.rotations, positions) + crystal.translations[:, None, :]
    away = images - positions[crystal.permutations]
    away -= np.rint(away)
    shifts = np.take_along_axis(away, np.argsort(crystal.permutations, axis=1)[:, :, None], axis=1).mean(axis=0)
    # The origin is free: the atoms do not move together.
    shifts -= shifts.mean(axis=0)
    if max(np.max(np.abs(new_cell - cell)), np.max(np.abs(shifts @ cell))) < EXACT:
        return atoms
    atoms.set_cell(new_cell)
    atoms.set_scaled_positions(positions + shifts)
    return atoms


def relax_crystal(
    structure: Atoms | Crystal,
    calculator: Calculator,
    *,
    fmax: float = 1e-4,
    max_steps: int = 200,
    symprec: float | None = None,
    progress: Progress = silent,
) -> Atoms:
    """Relax cell and positions with all symmetry of the crystal kept, that of its magnetic order included.

    Of a sheet, the cell relaxes in its plane.

    A cell that is symmetric within the tolerance only is made exactly symmetric first.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell.
    calculator : ase.calculators.calculator.Calculator
        Needs stresses.
    fmax : float, eV/Å
        Largest force left, on atoms and on the cell (ASE's Fréchet cell filter, forces conjugate to the logarithm of
        the deformation, an atom's share of them).
    max_steps : int
        Steps after which the relaxation is given up.
    symprec : float, Å, optional
        Tolerance of the symmetry search, when `structure` is Atoms.
    progress : callable
        Called with ("relaxation", steps done, max_steps).

    Returns
    -------
    ase.Atoms
        The relaxed unit cell with all that the atoms carried, rounded to 1e-8 Å, without a calculator. That it has
        become more symmetric than the crystal was is logged as a warning.

    Raises
    ------
    InputError
        When a number is out of its range or `structure` is not a crystal.
    ReferenceCalculationError
        When the calculator fails, does not see the atoms, or the relaxation does not end in `max_steps`.
    """
    settings = RelaxationSettings(fmax=fmax, max_steps=max_steps)
    crystal = as_crystal(structure, symprec=symprec)
    formula = crystal.atoms.get_chemical_formula()
    start = idealised(crystal)
    start.set_pbc(True)
    relaxed = start.copy()
    relaxed.info["ndsc_name"] = "relaxation"
    relaxed.set_constraint(KeepSymmetry(crystal))
    relaxed.calc = calculator
    converged = False
    # A sheet relaxes in its plane; its vacuum stays as it is.
    moves = (True, True, False, False, False, True) if crystal.is_sheet else None
    optimiser = BFGS(FrechetCellFilter(relaxed, mask=moves), logfile=None)
    advice = (
        "A relaxation needs forces and stresses for all elements of the crystal. Give a calculator that has them, or a "
        "relaxed structure, and leave out --relax (in an input file, [crystal] relax = false)."
    )
    with calculator_errors(
        f"The relaxation of {formula} stopped because the calculator raised an error", advice, calculator
    ):
        for step, done in enumerate(optimiser.irun(fmax=settings.fmax, steps=settings.max_steps)):
            converged = bool(done)
            _check_step(relaxed, start, calculator, first=step == 0)
            progress("relaxation", step, max_steps)
    if not converged:
        raise ReferenceCalculationError(
            f"The relaxation of {formula} did not reach {fmax} eV/Å in {max_steps} steps. Start from a better "
            "structure, raise max_steps, or check the calculator."
        )
    relaxed.set_constraint()
    result = rounded(relaxed)
    result.calc = None
    result.info = dict(start.info)
    result.set_pbc(crystal.atoms.pbc)
    _check_symmetry(crystal, result)
    return result


def _check_step(atoms: Atoms, start: Atoms, calculator: Calculator, *, first: bool) -> None:
    """Refuse a relaxation that leads nowhere."""
    formula = start.get_chemical_formula()
    forces, stress = atoms.get_forces(apply_constraint=False), atoms.get_stress(apply_constraint=False)
    if not (np.all(np.isfinite(forces)) and np.all(np.isfinite(stress))):
        raise ReferenceCalculationError(
            f"The calculator gave forces or a stress for {formula} that are not finite numbers. Check the calculator."
        )
    smallest, largest = VOLUME_RATIOS
    ratio = atoms.get_volume() / start.get_volume()
    if not smallest < ratio < largest:
        raise ReferenceCalculationError(
            f"The relaxation of {formula} did not end in a crystal: its volume is {ratio:.2f} times the initial one. "
            "Start from a better structure, or check the calculator."
        )
    if first and not np.any(forces) and not np.any(stress):
        strained = start.copy()
        strained.set_cell(start.cell.array * 0.99, scale_atoms=True)
        strained.calc = calculator
        if not np.any(strained.get_stress()):
            raise ReferenceCalculationError(
                f"The calculator gives no force and no stress for {formula}: its atoms do not interact (it does not "
                "know the elements, or they are farther apart than its cutoff). Check the calculator and the cell."
            )
        atoms.calc = calculator


def _check_symmetry(crystal: Crystal, relaxed: Atoms) -> None:
    """Say that the relaxed crystal is more symmetric; refuse one that is less."""
    symprec = max(crystal.symprec, SMALLEST_SYMPREC)
    tolerances = {"symprec": symprec, "magnetic_tolerance": crystal.magnetic_tolerance}
    after = Crystal.from_atoms(relaxed, **tolerances)
    try:
        crystal.with_structure(relaxed)
    except InputError as error:
        if symprec == crystal.symprec:
            raise ReferenceCalculationError(f"The relaxation left the symmetry of the crystal: {error}") from error
    if len(after.rotations) > len(crystal.rotations):
        log.warning(
            "%s relaxed into the more symmetric %s (%d); the run keeps the symmetry it had before, %s (%d). Give "
            "the relaxed structure to use its full symmetry.",
            relaxed.get_chemical_formula(), after.symbol, after.number, crystal.symbol, crystal.number,
        )  # fmt: skip
