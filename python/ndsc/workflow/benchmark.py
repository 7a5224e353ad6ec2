"""Phonons of the potential beside the reference's, each at its own lattice, both made in the same way."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ase.calculators.calculator import Calculator

from ndsc.errors import InputError, NdscError
from ndsc.files import write_text
from ndsc.force_constants import (
    SupercellPhonons,
    harmonic_model,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
    save_phonopy,
)
from ndsc.phonons import PhononComparison, compare_phonons
from ndsc.progress import Progress
from ndsc.reference import StoredCalculator
from ndsc.workflow.record import HarmonicBaseline, RunRecord

log = logging.getLogger(__name__)

#: The baseline's density of states is not shown.
BASELINE_DOS_MESH = (4, 4, 4)


def benchmark_phonons(
    record: RunRecord, reference: StoredCalculator, model: Calculator, directory: Path, progress: Progress
) -> PhononComparison | None:
    """Compare the phonons, and write both sets of force constants and the comparison to ``phonons/``.

    Returns
    -------
    PhononComparison or None
        None, with a warning in the record, when the potential has no phonons.

    Raises
    ------
    ReferenceCalculationError
        When labels of the reference are missing.
    """
    config = record.config.phonons
    folder = directory / "phonons"
    folder.mkdir(exist_ok=True)
    record.reference_phonons = _reference_phonons(record, reference)
    record.reference_phonons.save(folder / "reference.yaml")
    record.harmonic = _harmonic_baseline(record, folder)
    progress("phonons", 1, 3)
    make = phonons_from_supercells if config.reference == "supercells" else phonons_from_diagonal
    try:
        of_model = make(
            record.model_crystal,
            record.plan.phonon_supercells.grid,
            model,
            displacement=config.displacement,
            residual_force_limit=config.residual_force_limit,
        )
    except NdscError as error:
        record.warnings.append(f"The phonons of the potential could not be computed: {error}")
        return None
    of_model.save(folder / "model.yaml")
    progress("phonons", 2, 3)
    comparison = compare_phonons(of_model.phonopy, record.reference_phonons.phonopy, dos_mesh=config.dos_mesh)
    write_text(folder / "comparison.json", json.dumps(comparison.to_dict()) + "\n")
    progress("phonons", 3, 3)
    return comparison


def _harmonic_baseline(record: RunRecord, folder: Path) -> HarmonicBaseline | None:
    """Phonons of the harmonic model of the database; None where the database does not determine them."""
    reference = record.reference_phonons
    supercells = [frame for frame in record.database if frame.info["config_type"] == "supercell"]
    if reference is None or not supercells:
        return None
    try:
        model = harmonic_model(supercells, record.plan.crystal.atoms, record.plan.supercells.grid)
        comparison = compare_phonons(model.phonopy, reference.phonopy, dos_mesh=BASELINE_DOS_MESH)
    except InputError as error:
        log.info("no harmonic model of the database: %s", error)
        return None
    save_phonopy(model.phonopy, folder / "harmonic.yaml")
    return HarmonicBaseline(model, comparison.rmse_mesh_thz)


def _reference_phonons(record: RunRecord, reference: StoredCalculator) -> SupercellPhonons:
    config, plan = record.config.phonons, record.plan
    kgrid = plan.spec.kgrid
    if config.reference == "diagonal":
        return phonons_from_diagonal(
            plan.crystal.atoms,
            plan.phonon_supercells.grid,
            reference,
            displacement=config.displacement,
            residual_force_limit=config.residual_force_limit,
            kgrid=kgrid,
        )
    names = [atoms.info["ndsc_name"] for atoms in plan.phonon_frames]
    labels = {name: record.report.labels[name] for name in names}
    return phonons_from_labels(
        plan.phonon_supercells,
        plan.phonon_frames,
        {name: label.forces for name, label in labels.items()},
        residual_force_limit=config.residual_force_limit,
        kgrid=kgrid,
        seconds=sum(label.seconds for label in labels.values()),
    )
