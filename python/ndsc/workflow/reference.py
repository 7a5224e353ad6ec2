"""The reference of a run, made of its labels: what potentials are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ndsc.benchmark import Reference
from ndsc.force_constants import phonons_from_diagonal, phonons_from_labels
from ndsc.progress import Progress, silent
from ndsc.reference import StoredCalculator
from ndsc.reference.store import Label
from ndsc.workflow.derived import elastic_through_store
from ndsc.workflow.plan import Plan


def run_reference(
    plan: Plan,
    labels: Mapping[str, Label],
    calculator: StoredCalculator,
    *,
    phonons: bool = True,
    elastic: bool = True,
    progress: Progress = silent,
) -> Reference:
    """Phonons and elastic constants of the reference of a run.

    Parameters
    ----------
    plan : Plan
    labels : mapping of str to Label
        Of the plan's phonon frames, by name.
    calculator : StoredCalculator
        For the elastic constants, and for the phonons of the diagonal supercell.
    phonons, elastic : bool
        What is wanted; elastic constants only where the input file has them.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError
        When the labels do not determine the phonons.
    ReferenceCalculationError
        When a calculation fails, or is not in the store and may not be computed.
    """
    section, elastic_section = plan.config.phonons, plan.config.elastic
    options: dict[str, Any] = {
        "residual_force_limit": section.residual_force_limit,
        "kgrid": plan.spec.kgrid,
        "nac_params": plan.nac_params,
    }
    found = constants = None
    if phonons and section.reference == "diagonal":
        grid, displacement = plan.phonon_supercells.grid, section.displacement
        found = phonons_from_diagonal(
            plan.crystal, grid, calculator, displacement=displacement, progress=progress, **options
        )
    elif phonons and section.reference == "supercells":
        known = {str(atoms.info["ndsc_name"]): labels[atoms.info["ndsc_name"]] for atoms in plan.phonon_frames}
        forces = {name: label.forces for name, label in known.items()}
        seconds = sum(label.cost_seconds for label in known.values())
        found = phonons_from_labels(plan.phonon_supercells, plan.phonon_frames, forces, seconds=seconds, **options)
    if elastic and elastic_section.enabled and section.reference != "none":
        progress("elastic constants", 0, 1)
        constants = elastic_through_store(
            plan.crystal, calculator, strain=elastic_section.strain, relax_ions=elastic_section.relax_ions
        )
        progress("elastic constants", 1, 1)
    return Reference(
        crystal=plan.crystal,
        phonons=found,
        elastic=constants,
        relax=plan.config.crystal.relax,
        displacement=section.displacement,
        residual_force_limit=section.residual_force_limit,
        database_grid=plan.supercells.grid,
        nac_params=plan.nac_params,
    )
