"""The reference of a run, made of its labels: what potentials are compared with."""

from __future__ import annotations

from collections.abc import Mapping

from ndsc.benchmark import Reference
from ndsc.force_constants import SupercellPhonons, phonons_from_diagonal, phonons_from_labels
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
    section, constants = plan.config.elastic, None
    found = reference_phonons(plan, labels, calculator, progress=progress) if phonons else None
    if elastic and section.enabled:
        progress("elastic constants", 0, 1)
        constants = elastic_through_store(
            plan.crystal, calculator, strain=section.strain, relax_ions=section.relax_ions
        )
        progress("elastic constants", 1, 1)
    return Reference(
        crystal=plan.crystal,
        phonons=found,
        elastic=constants,
        relax=plan.config.crystal.relax,
        displacement=plan.config.phonons.displacement,
        residual_force_limit=plan.config.phonons.residual_force_limit,
        database_grid=plan.supercells.grid,
    )


def reference_phonons(
    plan: Plan, labels: Mapping[str, Label], calculator: StoredCalculator, *, progress: Progress = silent
) -> SupercellPhonons:
    """The phonons of the reference of a run; see :func:`run_reference`."""
    section, kgrid = plan.config.phonons, plan.spec.kgrid
    if section.reference == "diagonal":
        return phonons_from_diagonal(
            plan.crystal,
            plan.phonon_supercells.grid,
            calculator,
            displacement=section.displacement,
            residual_force_limit=section.residual_force_limit,
            kgrid=kgrid,
            progress=progress,
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
