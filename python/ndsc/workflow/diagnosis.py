"""Numbers that say why a potential is poor: of its data, of its fit, and of where its force constants are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic, minkowski_reduce
from numpy.typing import NDArray
from phonopy import Phonopy

from ndsc.benchmark import Benchmark
from ndsc.elastic_quality import all_at_inversion_centres
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.force_constants.phonopy_model import grid_force_constants, supercell_sites
from ndsc.potentials.base import Fitted
from ndsc.qgrid import Grid, irreducible_qpoints
from ndsc.targets import targets_of
from ndsc.workflow.plan import Plan

FloatArray = NDArray[np.float64]


def measured(plan: Plan, database: Sequence[Atoms], fit: Fitted | None, found: Benchmark | None) -> dict[str, Any]:
    """What was measured in a run, as fields of :class:`ndsc.results.DiagnosisSummary`.

    Parameters
    ----------
    plan : Plan
        Of one crystal.
    database : sequence of ase.Atoms
        Its labelled configurations.
    fit : Fitted or None
    found : Benchmark or None
    """
    units = [frame for frame in database if frame.info.get("config_type") == "unit_cell"]
    moved = sum(float(frame.info.get("ndsc_displacement", 0.0)) > 0 for frame in units)
    numbers: dict[str, Any] = {"unit_cells": len(units), "displaced_unit_cells": moved} | _of_data(database)
    numbers["strain_moves_ions"] = not all_at_inversion_centres(plan.crystal)
    if fit is not None and numbers.get("force_rms"):
        errors = fit.errors.get("supercell") or fit.errors.get("all")
        if errors is not None and errors.force_rmse_ev_per_angstrom is not None:
            numbers["training_share"] = errors.force_rmse_ev_per_angstrom / numbers["force_rms"]
    if found is None:
        return numbers
    if found.harmonic is not None and found.harmonic.force_rms > 0:
        numbers["anharmonic_share"] = found.harmonic.force_rmse / found.harmonic.force_rms
    if found.phonons is None or found.model_phonons is None or found.reference.phonons is None:
        return numbers
    model, reference = found.model_phonons.phonopy, found.reference.phonons.phonopy
    grid = found.reference.phonons.grid
    numbers |= _of_force_constants(model, reference, grid, plan.potential)
    numbers |= _at_qpoints(plan, model, reference)
    return numbers


def _of_data(database: Sequence[Atoms]) -> dict[str, float]:
    """Root mean square force, and that of the sums of forces, which vanish but for the noise; eV/Å."""
    forces = [target.forces for target in map(targets_of, database) if target.forces is not None]
    forces = [one for one in forces if len(one) > 1]
    if not forces:
        return {}
    rms = float(np.sqrt(np.mean(np.concatenate([one.ravel() for one in forces]) ** 2)))
    # The sum of n independent errors is sqrt(n) of one.
    sums = np.concatenate([one.sum(axis=0) / np.sqrt(len(one)) for one in forces])
    return {"force_rms": rms, "force_noise": float(np.sqrt(np.mean(sums**2)))}


def _of_force_constants(model: Phonopy, reference: Phonopy, grid: Grid, potential: FitterSettings) -> dict[str, float]:
    """Error of the force constants relative to them, and the parts of both beyond the cutoff, where cells reach it."""
    ours, theirs = (grid_force_constants(phonon, grid) for phonon in (model, reference))
    distances = _distances(reference, grid)
    other = distances > 1e-3
    error, size = ((np.linalg.norm(one, axis=(-2, -1)) ** 2) for one in (ours - theirs, theirs))
    numbers = {"force_constant_error": float(np.sqrt(error.sum() / size.sum()))}
    cell = reference.supercell.cell
    # Half the smallest distance between opposite faces: further away, an atom is nearer to an image.
    reach = 0.5 / float(np.max(np.linalg.norm(np.linalg.inv(minkowski_reduce(cell)[0]), axis=0)))
    far = other & (distances > potential.cutoff)
    if reach > potential.cutoff and far.any() and error[other].sum() > 0:
        numbers["beyond_cutoff"] = float(np.sqrt(size[far].sum() / size[other].sum()))
        numbers["error_beyond_cutoff"] = float(error[far].sum() / error[other].sum())
    return numbers


def _distances(phonon: Phonopy, grid: Grid) -> FloatArray:
    """(N1, N2, N3, n, n) array, Å : distances in the diagonal supercell, as ``grid_force_constants`` orders them."""
    cell, positions = phonon.unitcell.cell, phonon.unitcell.positions
    supercell_sites(phonon)
    shifts = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1) @ cell
    between = shifts[..., None, None, :] + positions[:, None, :] - positions[None, :, :]
    flat = find_mic(between.reshape(-1, 3), np.array(grid)[:, None] * cell)[1]
    return np.asarray(flat).reshape(between.shape[:-1])


def _at_qpoints(plan: Plan, model: Phonopy, reference: Phonopy) -> dict[str, float]:
    """Root mean square error of the frequencies, THz: at the q-points of the database's grid, and at Γ."""
    qpoints, weights = irreducible_qpoints(plan.crystal, plan.supercells.grid)
    ours, theirs = (np.sort(phonon.run_qpoints(qpoints).frequencies, axis=1) for phonon in (model, reference))
    squares = np.mean((ours - theirs) ** 2, axis=1)
    centre = np.max(np.abs(qpoints), axis=1) < 1e-9
    return {
        "rmse_database_thz": float(np.sqrt(np.average(squares, weights=weights))),
        "rmse_centre_thz": float(np.sqrt(squares[centre].mean())),
    }
