"""Phonons straight from non-diagonal supercells, and from the ordinary diagonal one (Lloyd-Williams and Monserrat)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import ArrayLike, NDArray
from phonopy import Phonopy

from ndsc.benchmark_settings import PhononSettings
from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.files import whole_file
from ndsc.force_constants.born import set_nac
from ndsc.force_constants.cost import PhononCost, phonon_cost
from ndsc.force_constants.displacements import phonon_displacements
from ndsc.force_constants.dynamical import UndeterminedError, check_determined, real_space_force_constants, solve_grid
from ndsc.force_constants.phonopy_model import GridPhonopy, make_phonopy, set_force_constants, supercell_sites
from ndsc.force_constants.quality import phonon_warnings
from ndsc.force_constants.samples import Forces, LabelledSupercells, Samples, check_residual, samples_from_labels
from ndsc.force_constants.space_group import FloatArray, IntArray, SpaceGroupAction
from ndsc.interrupts import calculator_errors
from ndsc.kpoints import AnyGrid
from ndsc.progress import Progress, silent
from ndsc.qgrid import Grid, checked_grid, irreducible_qpoints
from ndsc.rounding import rounded
from ndsc.supercells import SupercellSet, find_supercells

log = logging.getLogger(__name__)

Route = Literal["auto", "tiling", "dynamical"]


@dataclass(frozen=True, eq=False)
class SupercellPhonons:
    """Force constants of a grid, and how they came about.

    Attributes
    ----------
    crystal : Crystal
        The unit cell as given, with its symmetry.
    phonopy : phonopy.Phonopy
        With force constants; its primitive cell is that unit cell.
    grid : 3 ints
        The grid of q-points.
    exact_qpoints : (n, 3) float array
        The irreducible q-points of the grid, reduced coordinates: the phonons there, and at all that symmetry relates
        to them, follow from the forces exactly. All others are interpolated.
    weights : (n,) int64 array
        How many q-points of the grid each stands for.
    cost : PhononCost
        What was computed, beside the diagonal supercell.
    route : str
        ``"tiling"``, ``"dynamical"`` or ``"diagonal"``.
    residual_force : float, eV/Å
        Largest force in a perfect supercell, subtracted.
    warnings : tuple of str
        Why the phonons may be wrong: large residual forces, forces that differ between equivalent atoms or are not
        linear in the displacements, an unstable crystal, frequencies that no crystal has.
    """

    crystal: Crystal
    phonopy: Phonopy
    grid: Grid
    exact_qpoints: FloatArray
    weights: IntArray
    cost: PhononCost
    route: str
    residual_force: float
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        grid = "x".join(map(str, self.grid))
        return f"<SupercellPhonons: {self.crystal.describe()}, {grid} grid, {self.cost.used.calculations} calculations>"

    def frequencies(self, qpoints: ArrayLike) -> FloatArray:
        """Phonon frequencies at any q-points.

        Parameters
        ----------
        qpoints : (n, 3) or (3,) array
            Reduced coordinates.

        Returns
        -------
        (n, 3 n_atoms) float array, THz
            In ascending order at each q-point, imaginary ones as negative numbers.
        """
        found = self.phonopy.run_qpoints(np.asarray(qpoints, dtype=float).reshape(-1, 3))
        return np.array(found.frequencies, dtype=float)

    def is_exact(self, qpoints: ArrayLike) -> NDArray[np.bool_]:
        """(n,) bool array : whether each q-point (n, 3), reduced, is on the grid, and so exact, or interpolated."""
        turns = np.asarray(qpoints, dtype=float).reshape(-1, 3) * np.array(self.grid)
        return np.asarray(np.all(np.abs(turns - np.rint(turns)) < 1e-6, axis=1))

    def save(self, path: str | Path) -> None:
        """Write a ``phonopy_params.yaml`` with the force constants, which ``phonopy-load`` opens."""
        save_phonopy(self.phonopy, path)


def save_phonopy(phonon: Phonopy, path: str | Path) -> None:
    """Write phonopy's own yaml file with the force constants (and Born charges), whole or not at all."""
    group_alone = phonon.to_be_written() if isinstance(phonon, GridPhonopy) else nullcontext()
    with whole_file(Path(path)) as temporary, group_alone:
        phonon.save(temporary, settings={"force_constants": True, "force_sets": False, "displacements": False})


def phonons_from_supercells(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    calculator: Calculator,
    *,
    displacement: float = 0.01,
    residual_force_limit: float = 0.01,
    route: Route = "auto",
    symmetry: bool = True,
    nac_params: Mapping[str, Any] | None = None,
    kgrid: AnyGrid | None = None,
    symprec: float | None = None,
    progress: Progress = silent,
) -> SupercellPhonons:
    """Phonons on a grid of q-points from the smallest non-diagonal supercells that hold it.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The relaxed unit cell, primitive or not, in any setting.
    grid : int or 3 ints
        Divisions of the grid.
    calculator : ase.calculators.calculator.Calculator
        Gives forces.
    displacement : float, Å
        Length of the displacements.
    residual_force_limit : float, eV/Å
        Largest force allowed in an undisplaced supercell; smaller ones are subtracted.
    route : "auto", "tiling" or "dynamical"
        How the force constants are solved for; see :func:`phonons_from_labels`.
    symmetry : bool
        See :func:`phonons_from_labels`.
    nac_params : mapping, optional
        phonopy's parameters of the non-analytical correction: ``born`` (n, 3, 3), ``dielectric`` (3, 3), optionally
        ``factor`` and ``method``.
    kgrid : int, three ints or (3, 3) ints, optional
        k-point grid of the unit cell, for the cost.
    symprec : float, Å, optional
        Tolerance of the symmetry search, when `structure` is Atoms.
    progress : callable
        Called with ("phonons", calculations done, all).

    Returns
    -------
    SupercellPhonons

    Raises
    ------
    InputError
        When the input is wrong, or the residual forces are above the limit.
    ReferenceCalculationError
        When the calculator fails.
    """
    PhononSettings(displacement=displacement, residual_force_limit=residual_force_limit)
    supercells = find_supercells(as_crystal(structure, symprec=symprec), grid, progress=progress)
    frames = phonon_displacements(supercells, displacement=displacement, progress=progress)
    forces, seconds = _computed(frames, calculator, residual_force_limit, progress)
    return phonons_from_labels(
        supercells, frames, forces,
        residual_force_limit=residual_force_limit, route=route, symmetry=symmetry, nac_params=nac_params, kgrid=kgrid,
        seconds=seconds,
    )  # fmt: skip


def phonons_from_labels(
    supercells: SupercellSet,
    frames: Sequence[Atoms],
    forces: Forces,
    *,
    residual_force_limit: float = 0.01,
    route: Route = "auto",
    symmetry: bool = True,
    nac_params: Mapping[str, Any] | None = None,
    kgrid: AnyGrid | None = None,
    seconds: float | None = None,
) -> SupercellPhonons:
    """Phonons from forces that are already there.

    Parameters
    ----------
    supercells : SupercellSet
        The supercells.
    frames : sequence of ase.Atoms
        The structures of :func:`~ndsc.force_constants.phonon_displacements`, or others that are perfect and displaced
        supercells of the same unit cell.
    forces : mapping from name to (n_atoms, 3) array, or sequence of such arrays, eV/Å
        Forces of each structure, by its ``info["ndsc_name"]`` or in the order of `frames`.
    residual_force_limit : float, eV/Å
        Largest force allowed in an undisplaced supercell; smaller ones are subtracted.
    route : "auto", "tiling" or "dynamical"
        "dynamical" solves at each q-point and transforms back; "tiling" repeats the samples over the diagonal supercell
        and fits with symfc, whose time and memory grow with the square of its size. Both give the same force
        constants. "auto" is "dynamical".
    symmetry : bool
        Whether the Phonopy object knows the symmetry of the diagonal supercell (up to 300 atoms), which frequencies do
        not need; with False it knows translations alone.
    nac_params : mapping, optional
        phonopy's parameters of the non-analytical correction.
    kgrid : int, three ints or (3, 3) ints, optional
        k-point grid of the unit cell, for the cost.
    seconds : float, optional
        How long the forces took, for the cost.

    Returns
    -------
    SupercellPhonons

    Raises
    ------
    InputError
        When forces are missing, of the wrong shape or not finite, do not determine the force constants, or when the
        residual forces are above the limit.
    """
    PhononSettings(residual_force_limit=residual_force_limit)
    if not frames:
        raise InputError("There are no structures. Give those of phonon_displacements(supercells).")
    crystal, grid = supercells.crystal, supercells.grid
    labelled = samples_from_labels(crystal, frames, forces, residual_force_limit=residual_force_limit)
    try:
        phonon, chosen = solve_force_constants(crystal, grid, labelled.samples, route=route, symmetry=symmetry)
    except UndeterminedError as error:
        given = {sample.matrix.tobytes() for sample in labelled.samples}
        absent = [index for index, matrix in enumerate(supercells.matrices) if matrix.tobytes() not in given]
        if not absent:
            raise
        names = ", ".join(f"phonon-s{index:03d}-*" for index in absent[:10])
        raise UndeterminedError(
            f"{error} No structures were given of {len(absent)} of the {len(supercells)} supercells: compute {names}"
            f"{', …' if len(absent) > 10 else ''}."
        ) from error
    return _result(phonon, crystal, grid, labelled, chosen, nac_params=nac_params, kgrid=kgrid, seconds=seconds)


def force_constants_from_labels(
    supercells: SupercellSet, frames: Sequence[Atoms], forces: Forces, **options: Any
) -> Phonopy:
    """The Phonopy object of :func:`phonons_from_labels`, with the same options."""
    return phonons_from_labels(supercells, frames, forces, **options).phonopy


def solve_force_constants(
    crystal: Crystal, grid: Grid, samples: Sequence[Samples], *, route: Route = "auto", symmetry: bool = True
) -> tuple[Phonopy, str]:
    """A Phonopy object with the force constants that fit the samples best, and the route that was taken."""
    if route not in ("auto", "tiling", "dynamical"):
        raise InputError(f"route = {route!r} is not known. Give 'auto', 'tiling' or 'dynamical'.")
    # symfc has nothing to fit to one atom, whose force constants are zero.
    one_atom = len(crystal.atoms) * int(np.prod(grid)) == 1
    chosen = "dynamical" if route == "auto" or one_atom else route
    action = SpaceGroupAction.of_crystal(crystal).preserving_grid(grid)
    if chosen == "tiling":
        from ndsc.force_constants.tiling import tiled_force_constants

        check_determined(samples, action, grid)
        phonon = make_phonopy(crystal, grid, symmetric_supercell=True)
        phonon.force_constants = tiled_force_constants(phonon, samples)
    else:
        force_constants = real_space_force_constants(solve_grid(samples, action, grid)[0], grid)
        phonon = make_phonopy(crystal, grid, symmetric_supercell=None if symmetry else False)
        set_force_constants(phonon, force_constants, grid)
    return phonon, chosen


def phonons_from_diagonal(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    calculator: Calculator,
    *,
    displacement: float = 0.01,
    residual_force_limit: float = 0.01,
    nac_params: Mapping[str, Any] | None = None,
    kgrid: AnyGrid | None = None,
    symprec: float | None = None,
    progress: Progress = silent,
) -> SupercellPhonons:
    """Phonons from displaced atoms in the diagonal supercell of the grid, by phonopy's finite displacements.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The relaxed unit cell.
    grid : int or 3 ints
        Divisions of the grid; the supercell has as many unit cells along each vector.
    calculator : ase.calculators.calculator.Calculator
        Gives forces.
    displacement : float, Å
        Length of the displacements.
    residual_force_limit : float, eV/Å
        Largest force allowed in the undisplaced supercell; smaller ones are subtracted.
    nac_params : mapping, optional
        phonopy's parameters of the non-analytical correction.
    kgrid : int, three ints or (3, 3) ints, optional
        k-point grid of the unit cell, for the cost.
    symprec : float, Å, optional
        Tolerance of the symmetry search, when `structure` is Atoms.
    progress : callable
        Called with ("phonons", calculations done, all).

    Returns
    -------
    SupercellPhonons
        Its route is ``"diagonal"``.

    Raises
    ------
    InputError
        When the input is wrong, or the residual forces are above the limit.
    ReferenceCalculationError
        When the calculator fails.
    """
    PhononSettings(displacement=displacement, residual_force_limit=residual_force_limit)
    divisions = checked_grid(grid)
    crystal = as_crystal(structure, symprec=symprec)
    phonon = make_phonopy(crystal, divisions, symmetric_supercell=True)
    phonon.generate_displacements(distance=displacement)
    frames = diagonal_frames(crystal, phonon)
    forces, seconds = _computed(frames, calculator, residual_force_limit, progress)
    phonon.forces = np.array(forces[1:]) - forces[0]
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    labelled = samples_from_labels(crystal, frames, forces, residual_force_limit=residual_force_limit)
    return _result(
        phonon, crystal, divisions, labelled, "diagonal", nac_params=nac_params, kgrid=kgrid, seconds=seconds
    )


def diagonal_frames(crystal: Crystal, phonon: Phonopy) -> list[Atoms]:
    """The perfect diagonal supercell and phonopy's displaced ones, in phonopy's order of atoms, rounded to 1e-8 Å."""
    matrix = phonon.supercell_matrix.T.reshape(9)
    template = crystal.atoms[supercell_sites(phonon)[0]]
    frames = []
    for number, cell in enumerate([phonon.supercell, *(phonon.supercells_with_displacements or [])]):
        frame = template.copy()
        frame.set_cell(cell.cell)
        frame.set_scaled_positions(cell.scaled_positions)
        frame = rounded(frame)
        frame.info |= {
            "ndsc_name": f"diagonal-{number:03d}",
            "config_type": "phonon" if number else "phonon_perfect",
            "ndsc_matrix": np.asarray(matrix, dtype=np.int64),
        }
        frames.append(frame)
    return frames


def compute_forces(frame: Atoms, calculator: Calculator) -> FloatArray:
    """(n_atoms, 3) array, eV/Å : the forces on a structure; `frame` is left as it is.

    Raises
    ------
    ReferenceCalculationError
        When the calculator fails or its forces are not finite.
    """
    name = frame.info.get("ndsc_name", frame.get_chemical_formula())
    copy = frame.copy()
    copy.calc = calculator
    advice = "Check that the calculator knows the elements and gives forces."
    with calculator_errors(f"The forces of {name} could not be computed", advice, calculator):
        forces = np.array(copy.get_forces(), dtype=float)
    if forces.shape != (len(frame), 3) or not np.all(np.isfinite(forces)):
        raise ReferenceCalculationError(
            f"The calculator gave forces for {name} that are not finite or of the shape {forces.shape} instead of "
            f"({len(frame)}, 3). Check the calculator."
        )
    return forces


def _computed(
    frames: Sequence[Atoms], calculator: Calculator, residual_force_limit: float, progress: Progress
) -> tuple[list[FloatArray], float]:
    """The forces of structures, and the time that all took, s."""
    started = time.perf_counter()
    forces = []
    for done, frame in enumerate(frames):
        progress("phonons", done, len(frames))
        forces.append(compute_forces(frame, calculator))
        if frame.info["config_type"] == "phonon_perfect":
            # Found out before the displaced supercells are paid for.
            check_residual(frame.info["ndsc_name"], forces[-1], residual_force_limit)
    progress("phonons", len(frames), len(frames))
    return forces, time.perf_counter() - started


def _result(
    phonon: Phonopy,
    crystal: Crystal,
    grid: Grid,
    labelled: LabelledSupercells,
    route: str,
    *,
    nac_params: Mapping[str, Any] | None,
    kgrid: AnyGrid | None,
    seconds: float | None,
) -> SupercellPhonons:
    samples = labelled.samples
    if any(one.forces[0].size > 3 for one in samples) and not any(np.any(one.forces) for one in samples):
        raise InputError(
            "The forces of all displaced supercells are exactly zero: the calculator does not know the elements, or "
            "the atoms are farther apart than its cutoff. Check the calculator."
        )
    if nac_params is not None:
        set_nac(phonon, nac_params)
    irreducible = irreducible_qpoints(crystal, grid)
    warnings = phonon_warnings(phonon, grid, irreducible.numerators, samples, labelled.residual_force)
    for text in warnings:
        log.warning("%s: %s", crystal.atoms.get_chemical_formula(), text)
    return SupercellPhonons(
        crystal=crystal, phonopy=phonon, grid=grid, exact_qpoints=irreducible.qpoints, weights=irreducible.weights,
        cost=phonon_cost(crystal, grid, labelled.matrices, kgrid=kgrid, seconds=seconds), route=route,
        residual_force=labelled.residual_force, warnings=warnings,
    )  # fmt: skip
