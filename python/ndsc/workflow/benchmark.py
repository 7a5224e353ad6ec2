"""Phonons of the potential beside the reference's, each at its own lattice, both made in the same way."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.config import RunConfig
from ndsc.crystal import Crystal
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
from ndsc.reference.store import Label
from ndsc.relaxation import relax_crystal
from ndsc.workflow.plan import Plan
from ndsc.workflow.record import HarmonicBaseline, RunRecord

log = logging.getLogger(__name__)

#: The baseline is drawn along the path only; its density of states is not shown.
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
    record.reference_phonons = reference_phonons(record.config, record.plan, record.report.labels, reference)
    record.reference_phonons.save(folder / "reference.yaml")
    record.harmonic = _harmonic_baseline(record, folder)
    progress("phonons", 1, 3)
    try:
        of_model = model_phonons(record.config, record.plan, record.model_crystal, model)
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
    write_text(folder / "harmonic_comparison.json", json.dumps(comparison.to_dict()) + "\n")
    return HarmonicBaseline(model, comparison.rmse_mesh_thz)


def reference_phonons(
    config: RunConfig, plan: Plan, labels: Mapping[str, Label], reference: StoredCalculator
) -> SupercellPhonons:
    """The phonons of a run's reference.

    Parameters
    ----------
    config : RunConfig
    plan : Plan
    labels : mapping of str to Label
        Of the plan's phonon frames, by name; not looked at where the diagonal supercell is the reference.
    reference : StoredCalculator

    Raises
    ------
    ReferenceCalculationError
        When a calculation of the diagonal supercell fails or is not in the store.
    """
    section, kgrid = config.phonons, plan.spec.kgrid
    if section.reference == "diagonal":
        return phonons_from_diagonal(
            plan.crystal.atoms,
            plan.phonon_supercells.grid,
            reference,
            displacement=section.displacement,
            residual_force_limit=section.residual_force_limit,
            kgrid=kgrid,
        )
    known = {name: labels[name] for name in (str(atoms.info["ndsc_name"]) for atoms in plan.phonon_frames)}
    return phonons_from_labels(
        plan.phonon_supercells,
        plan.phonon_frames,
        {name: label.forces for name, label in known.items()},
        residual_force_limit=section.residual_force_limit,
        kgrid=kgrid,
        seconds=sum(label.seconds for label in known.values()),
    )


def model_phonons(config: RunConfig, plan: Plan, atoms: Atoms, model: Calculator) -> SupercellPhonons:
    """The phonons of a potential at its own lattice, made in the same way as the reference's.

    Parameters
    ----------
    config : RunConfig
    plan : Plan
    atoms : ase.Atoms
        The unit cell, relaxed with the potential.
    model : ase.calculators.calculator.Calculator

    Raises
    ------
    NdscError
        When the potential has no phonons.
    """
    section = config.phonons
    make = phonons_from_supercells if section.reference == "supercells" else phonons_from_diagonal
    return make(
        atoms,
        plan.phonon_supercells.grid,
        model,
        displacement=section.displacement,
        residual_force_limit=section.residual_force_limit,
    )


def relaxed_with(config: RunConfig, plan: Plan, model: Calculator) -> tuple[Atoms, str | None]:
    """The crystal relaxed with a potential; where that fails, the reference's, and a warning.

    Returns
    -------
    tuple of ase.Atoms and str or None
    """
    start = plan.crystal.atoms
    if not config.crystal.relax:
        return start, None
    try:
        relaxed = relax_crystal(start, model)
        if Crystal.from_atoms(relaxed).number == plan.crystal.number:
            return relaxed, None
        reason = "it left the crystal's space group."
    except NdscError as error:
        reason = str(error)
    return start, (
        f"The crystal could not be relaxed with the potential: {reason} Its phonons and elastic constants are those "
        "at the reference's lattice."
    )
