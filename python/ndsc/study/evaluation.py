"""A potential of a study beside the reference of a run, as numbers for tables and curves for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.benchmark import benchmark
from ndsc.config.study import EvaluateConfig
from ndsc.phonons import DosMesh, PhononComparison
from ndsc.report.phonon_errors import branch_errors
from ndsc.results import Comparison
from ndsc.study.results import Evaluation
from ndsc.study.runs import StudyRun

#: Lattice parameters that are metrics; angles are fixed by symmetry in most crystals.
LATTICE_METRICS = ("a", "b", "c", "volume_per_atom")
#: Cells of the same crystal differ by less, Å.
SAME_CELL = 1e-6


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
    dos_mesh: DosMesh = (run.config.phonons.dos_mesh or "auto") if section.dos else None
    database = [frame for frame in frames if section.harmonic and _same_crystal(frame, run, runs)]
    found = benchmark(
        model,
        run.reference(phonons=section.phonons, elastic=section.elastic),
        database=database,
        dos_mesh=dos_mesh,
        harmonic_dos_mesh=dos_mesh,
        quick=True,
    )
    elastic = found.elastic
    if found.reference.elastic is not None:
        bulk_modulus = None if found.model_elastic is None else found.model_elastic.bulk_modulus
        elastic = {"B": Comparison.of(bulk_modulus, found.reference.elastic.bulk_modulus), **elastic}
    return Evaluation(
        run=run.name,
        metrics=_phonon_metrics(found.phonons, found.harmonic_phonons)
        | _comparison_metrics({name: found.lattice[name] for name in LATTICE_METRICS if name in found.lattice})
        | _elastic_metrics(elastic),
        phonons=found.phonons,
        harmonic=found.harmonic_phonons,
        elastic=elastic,
        warnings=found.warnings,
    )


def _same_crystal(frame: Atoms, run: StudyRun, runs: Mapping[str, StudyRun]) -> bool:
    """Whether a configuration is a perturbed supercell of the run's crystal."""
    own, other = runs[frame.info["ndsc_run"]].plan.crystal.atoms, run.plan.crystal.atoms
    return (
        len(own) == len(other)
        and bool(np.all(own.numbers == other.numbers))
        and np.allclose(own.cell.array, other.cell.array, atol=SAME_CELL)
        and np.allclose(own.positions, other.positions, atol=SAME_CELL)
    )


def _phonon_metrics(phonons: PhononComparison | None, harmonic: PhononComparison | None) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {"harmonic_rmse_mesh_thz": None if harmonic is None else harmonic.rmse_mesh_thz}
    if phonons is None:
        return metrics
    for name in ("rmse_mesh_thz", "rmse_path_thz", "max_error_thz", "min_frequency_thz"):
        metrics[name] = float(getattr(phonons, name))
    metrics["reference_min_frequency_thz"] = phonons.reference_min_frequency_thz
    metrics["reference_max_frequency_thz"] = phonons.reference_max_frequency_thz
    branches = branch_errors(phonons)
    return metrics | {
        f"branch_{number}_rmse_thz": float(rmse)
        for number, rmse in zip(branches.branch, branches.rmse_thz, strict=True)
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
    # Constants that are zero to rounding in both have no error in percent.
    errors = [
        value.error_percent
        for name, value in elastic.items()
        if name != "B" and value.reference and (value.error_percent is not None or value.model is None)
    ]
    known = [abs(error) for error in errors if error is not None]
    complete = bool(known) and len(known) == len(errors)
    return _comparison_metrics(elastic) | {
        "largest_elastic_error_percent": max(known) if complete else None,
        "rms_elastic_error_percent": float(np.sqrt(np.mean(np.square(known)))) if complete else None,
    }
