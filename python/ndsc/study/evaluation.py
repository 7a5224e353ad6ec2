"""A potential beside the reference of a run: lattice, phonons, elastic constants, and the harmonic baseline."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.config.study import EvaluateConfig
from ndsc.elastic import elastic_constants
from ndsc.errors import InputError, NdscError
from ndsc.force_constants import harmonic_model
from ndsc.phonons import PhononComparison, compare_phonons
from ndsc.results import Comparison, elastic_comparison, lattice_comparison
from ndsc.study.results import Evaluation
from ndsc.study.runs import StudyRun
from ndsc.workflow.benchmark import model_phonons, relaxed_with

log = logging.getLogger(__name__)

#: Mesh of densities of states that nobody looks at.
NO_DOS = (4, 4, 4)
#: What of the lattice is a metric; angles are fixed by symmetry in most crystals.
LATTICE_METRICS = ("a", "b", "c", "volume_per_atom")
#: Cells of the same crystal differ by less, Å.
SAME_CELL = 1e-6


def asked(section: EvaluateConfig) -> dict[str, Any]:
    """What is evaluated, for the key of a stored evaluation."""
    return section.model_dump(exclude={"on"})


def evaluate_potential(
    model: Calculator,
    run: StudyRun,
    section: EvaluateConfig,
    frames: Sequence[Atoms],
    runs: Mapping[str, StudyRun],
) -> Evaluation:
    """Compare a potential with the reference of a run.

    Parameters
    ----------
    model : ase.calculators.calculator.Calculator
    run : StudyRun
    section : EvaluateConfig
    frames : sequence of ase.Atoms
        What the potential learned from, each with ``info["ndsc_run"]``; those of the run's crystal make the harmonic
        model.
    runs : mapping of str to StudyRun
        All runs of the study.

    Raises
    ------
    ReferenceCalculationError
        When labels of the reference are missing. What the potential cannot do is a warning of the result instead.
    """
    warnings: list[str] = []
    atoms, warning = relaxed_with(run.config, run.plan, model)
    warnings += [] if warning is None else [warning]
    lattice = lattice_comparison(atoms, run.plan.crystal.atoms)
    phonons = harmonic = None
    if section.phonons:
        phonons = _phonons(model, run, section, atoms, warnings)
    if section.phonons and section.harmonic:
        harmonic = _harmonic(run, section, [frame for frame in frames if _same_crystal(frame, run, runs)])
    elastic = _elastic(model, run, atoms, warnings) if section.elastic else {}
    return Evaluation(
        run=run.name,
        metrics=_phonon_metrics(phonons, harmonic)
        | _comparison_metrics({name: lattice[name] for name in LATTICE_METRICS})
        | _elastic_metrics(elastic),
        phonons=phonons,
        harmonic=harmonic,
        elastic=elastic,
        lattice=lattice,
        warnings=tuple(warnings),
    )


def _phonons(
    model: Calculator, run: StudyRun, section: EvaluateConfig, atoms: Atoms, warnings: list[str]
) -> PhononComparison | None:
    reference = run.reference_phonons
    try:
        of_model = model_phonons(run.config, run.plan, atoms, model)
        dos_mesh = run.config.phonons.dos_mesh if section.dos else NO_DOS
        return compare_phonons(of_model.phonopy, reference.phonopy, dos_mesh=dos_mesh)
    except NdscError as error:
        warnings.append(f"The phonons of the potential could not be computed: {error}")
        return None


def _harmonic(run: StudyRun, section: EvaluateConfig, frames: Sequence[Atoms]) -> PhononComparison | None:
    """The harmonic model of the labels beside the reference; None where they do not determine it."""
    supercells = [frame for frame in frames if frame.info["config_type"] == "supercell"]
    if not supercells:
        return None
    try:
        model = harmonic_model(supercells, run.plan.crystal.atoms, run.plan.supercells.grid)
        dos_mesh = run.config.phonons.dos_mesh if section.dos else NO_DOS
        return compare_phonons(model.phonopy, run.reference_phonons.phonopy, dos_mesh=dos_mesh)
    except InputError as error:
        log.info("no harmonic model of %d labels of %s: %s", len(supercells), run.name, error)
        return None


def _same_crystal(frame: Atoms, run: StudyRun, runs: Mapping[str, StudyRun]) -> bool:
    """Whether a configuration is a perturbed supercell of the run's crystal."""
    own, other = runs[frame.info["ndsc_run"]].plan.crystal.atoms, run.plan.crystal.atoms
    return (
        len(own) == len(other)
        and bool(np.all(own.numbers == other.numbers))
        and np.allclose(own.cell.array, other.cell.array, atol=SAME_CELL)
        and np.allclose(own.positions, other.positions, atol=SAME_CELL)
    )


def _elastic(model: Calculator, run: StudyRun, atoms: Atoms, warnings: list[str]) -> dict[str, Comparison]:
    reference = run.reference_elastic
    if reference is None:
        return {}
    section = run.config.elastic
    found: dict[str, float | None] = {}
    try:
        constants = elastic_constants(atoms, model, strain=section.strain, relax_ions=section.relax_ions)
        found = {"B": constants.bulk_modulus, **constants.constants}
        if not constants.stable:
            warnings.append("The crystal of the potential is elastically unstable.")
    except NdscError as error:
        warnings.append(f"The elastic constants of the potential could not be computed: {error}")
    return elastic_comparison(found, {"B": reference.bulk_modulus, **reference.constants})


def _phonon_metrics(phonons: PhononComparison | None, harmonic: PhononComparison | None) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {"harmonic_rmse_mesh_thz": None if harmonic is None else harmonic.rmse_mesh_thz}
    if phonons is None:
        return metrics
    for name in ("rmse_mesh_thz", "rmse_path_thz", "max_error_thz", "min_frequency_thz"):
        metrics[name] = float(getattr(phonons, name))
    metrics["reference_min_frequency_thz"] = phonons.reference_min_frequency_thz
    metrics["reference_max_frequency_thz"] = phonons.reference_max_frequency_thz
    squares = np.average((phonons.model_mesh - phonons.reference_mesh) ** 2, axis=0, weights=phonons.mesh_weights)
    return metrics | {
        f"branch_{number}_rmse_thz": float(np.sqrt(square)) for number, square in enumerate(squares, start=1)
    }


def _comparison_metrics(compared: Mapping[str, Comparison]) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {}
    for name, value in compared.items():
        metrics[name] = value.model
        metrics[f"{name}_error_percent"] = value.error_percent
    return metrics


def _elastic_metrics(elastic: Mapping[str, Comparison]) -> dict[str, float | None]:
    """The constants, and their largest and root-mean-square error (the bulk modulus is no constant of its own)."""
    if not elastic:
        return {}
    errors = [value.error_percent for name, value in elastic.items() if name != "B" and value.reference]
    known = [abs(error) for error in errors if error is not None]
    complete = bool(known) and len(known) == len(errors)
    return _comparison_metrics(elastic) | {
        "largest_elastic_error_percent": max(known) if complete else None,
        "rms_elastic_error_percent": float(np.sqrt(np.mean(np.square(known)))) if complete else None,
    }
