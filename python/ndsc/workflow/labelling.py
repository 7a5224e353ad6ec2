"""The labels of a run, the perfect crystal first: what is wrong with it is found before the others are paid for.

The reference must give the perfect crystal the same energy per atom in the unit cell and in every supercell; a
difference is noise between the configurations of one database. The usual reason is that k-points are not folded, or
that a wide smearing occupies states for which a supercell has fewer bands an atom than the unit cell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from ase import Atoms
from ase.units import GPa

from ndsc.database import make_database
from ndsc.elastic_quality import NOTABLE_STRESS
from ndsc.errors import ReferenceCalculationError
from ndsc.fit.composition import fitted_energies
from ndsc.fit.training import check_binding, single_atom_energies
from ndsc.force_constants.samples import check_residual
from ndsc.progress import Progress
from ndsc.reference import CalculatorSpec, Label, LabelReport, label_configurations
from ndsc.workflow.plan import Plan

log = logging.getLogger(__name__)

#: Labels configurations under the name of a task, and returns all labels of the run so far.
Labeller: TypeAlias = Callable[[Sequence[Atoms], str], LabelReport]

#: Largest difference of the perfect crystal's energies per atom that is not worth a warning, eV.
NOTABLE_SPREAD = 1e-4


def label_plan(
    plan: Plan, progress: Progress, choose: Callable[[Labeller], list[str]] | None = None
) -> tuple[LabelReport, list[str]]:
    """Label everything that a run needs.

    The unit cell comes first, then single atoms, then the perfect supercells of the phonons, then the rest.

    Parameters
    ----------
    plan : Plan
    progress : callable
        Called with (task, done, total).
    choose : callable, optional
        Chooses what else is labelled: called with a function that labels configurations and returns all labels so far;
        returns what is doubtful.

    Returns
    -------
    tuple of LabelReport and list of str
        The labels, and what is doubtful about them.

    Raises
    ------
    InputError
        When the perfect crystal has forces above ``[phonons] residual_force_limit``, or an energy so far from
        ``[fit] e0`` that these are of another code.
    ReferenceCalculationError
        When the reference's phonons or elastic constants cannot be had, or no configuration has a label.
    """
    warnings: list[str] = []
    report = LabelReport(labels={})

    def label(frames: Sequence[Atoms], task: str, spec: CalculatorSpec = plan.spec) -> LabelReport:
        nonlocal report
        if frames:
            # The settings of single atoms differ on purpose, which nobody has to be told.
            found = label_configurations(
                frames, spec, plan.store, executor=plan.config.executor, progress=progress, task=task,
                secondary=spec != plan.spec,
            )  # fmt: skip
            report = report.joined(found)
        return report

    unit_cells = plan.perfect_unit_cells
    supercells = [atoms for atoms in plan.phonon_frames if atoms.info["config_type"] == "phonon_perfect"]
    ends, singles = plan.end_members, [single.atoms for single in plan.single_atoms]
    label(unit_cells, "perfect unit cell")
    label(ends, "pure crystals")
    for one in plan.each:
        warnings += _check_unit_cell(one, one.perfect_unit_cells, report)
    warnings += plan.databases.check_labels(make_database(unit_cells, report.labels), plan.spec.name)
    for single in plan.single_atoms:
        label([single.atoms], "single atoms", single.spec)
    _require_single_atoms(singles, report)
    _check_binding(plan, unit_cells, report)
    label(supercells, "perfect cells")
    _require_phonon_labels(supercells, report)
    if not unit_cells:
        warnings += plan.databases.check_labels(make_database(supercells, report.labels), plan.spec.name)
    _check_binding(plan, supercells, report)
    for one in plan.each:
        perfect = [atoms for atoms in one.phonon_frames if atoms.info["config_type"] == "phonon_perfect"]
        for atoms in perfect:
            _check_residual(one, atoms, report.labels[atoms.info["ndsc_name"]])
        disagreement = perfect_cell_warning([*one.perfect_unit_cells, *perfect], report.labels)
        if disagreement is not None:
            log.warning("%s", disagreement)
            warnings.append(disagreement)
    if choose is not None:
        warnings += choose(label)
    known = {atoms.info["ndsc_name"] for atoms in [*unit_cells, *ends, *supercells, *singles]}
    label([atoms for atoms in plan.to_label if atoms.info["ndsc_name"] not in known], "labels")
    _require_phonon_labels(plan.phonon_frames, report)
    return report, [*warnings, *_label_warnings(plan, report)]


def perfect_cell_energies(frames: Sequence[Atoms], labels: Mapping[str, Label]) -> dict[str, float]:
    """Energies of the unperturbed crystal, in each cell that it was calculated in.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Configurations and the structures of :func:`~ndsc.force_constants.phonon_displacements`.
    labels : mapping of str to Label
        By ``ndsc_name``.

    Returns
    -------
    dict of str to float, eV per atom
    """
    return {
        name: labels[name].energy / len(atoms)
        for atoms in frames
        if (name := str(atoms.info["ndsc_name"])) in labels
        and (atoms.info["config_type"] == "phonon_perfect" or _is_perfect_unit_cell(atoms))
    }


def perfect_cell_warning(frames: Sequence[Atoms], labels: Mapping[str, Label]) -> str | None:
    """What to say when the cells do not agree within 0.1 meV per atom; None when they do."""
    energies = perfect_cell_energies(frames, labels)
    if len(energies) < 2 or (spread := float(np.ptp(list(energies.values())))) <= NOTABLE_SPREAD:
        return None
    lowest, highest = min(energies, key=energies.__getitem__), max(energies, key=energies.__getitem__)
    return (
        f"The perfect crystal has {1e3 * spread:.2f} meV per atom more in {highest} than in {lowest}, which appears "
        "as noise between the configurations. Check the k-points and, with a wide smearing, the number of bands: "
        "they must include all occupied states in every supercell (GPAW: nbands in percent, not a number)."
    )


def _is_perfect_unit_cell(atoms: Atoms) -> bool:
    return bool(atoms.info["config_type"] == "unit_cell" and atoms.info.get("ndsc_index") == 0)


def _check_unit_cell(plan: Plan, unit_cells: Sequence[Atoms], report: LabelReport) -> list[str]:
    """What the label of the unit cell as given says about all that would follow."""
    warnings: list[str] = []
    for atoms in unit_cells:
        label = report.labels.get(str(atoms.info["ndsc_name"]))
        if label is None:
            continue
        fitted = plan.config.fit.method != "none"
        if fitted:
            _check_residual(plan, atoms, label)
        if label.stress is None:
            if fitted and plan.config.elastic.enabled:
                raise ReferenceCalculationError(
                    f"The calculator {plan.spec.name} gives no stress, which elastic constants need. Give [elastic] "
                    "enabled = false, or a calculator with stresses."
                )
            continue
        stress = float(np.max(np.abs(label.stress))) / GPa
        if stress > NOTABLE_STRESS:
            warnings.append(
                f"The unit cell{'' if plan.name is None else f' of {plan.name}'} carries a stress of up to "
                f"{stress:.2f} GPa: the database describes a strained crystal. [crystal] relax = true relaxes it "
                "with the reference."
            )
            log.warning("%s", warnings[-1])
    return warnings


def _check_residual(plan: Plan, atoms: Atoms, label: Label) -> None:
    check_residual(str(atoms.info["ndsc_name"]), label.forces, plan.config.phonons.residual_force_limit)


def _check_binding(plan: Plan, perfect: Sequence[Atoms], report: LabelReport) -> None:
    """Refuse energies of single atoms that cannot be those of the crystal's calculator; the fit gives the warnings."""
    if plan.config.fit.method == "none":
        return
    frames = make_database(perfect, report.labels)
    if frames:
        singles = make_database([single.atoms for single in plan.single_atoms], report.labels)
        known, fit = [*frames, *singles, *plan.databases.frames], plan.config.fit
        # Of one composition, least squares leave the energies open; labels of other compositions come later.
        e0 = fitted_energies(known, strict=False) if fit.e0 == "fit" else single_atom_energies(known, fit)
        check_binding(frames, e0)


def _require_single_atoms(singles: Sequence[Atoms], report: LabelReport) -> None:
    """Refuse to go on without the energies of single atoms, which the fit needs."""
    names = {atoms.info["ndsc_name"] for atoms in singles}
    for failure in report.failures:
        if failure.name in names:
            raise ReferenceCalculationError(
                f"The calculation of the single atom {failure.name}, which [fit] e0 = 'isolated' needs, failed: "
                f"{failure.reason} Correct the cause, or use e0 = 'average' or give the energies as a table."
            )


def _require_phonon_labels(frames: Sequence[Atoms], report: LabelReport) -> None:
    """Refuse to go on without the labels that the reference's phonons need."""
    needed = {atoms.info["ndsc_name"] for atoms in frames}
    missing = [failure for failure in report.failures if failure.name in needed]
    if missing:
        raise ReferenceCalculationError(
            f"{len(missing)} of the {len(needed)} calculations for the phonons of the reference failed, among them "
            f"{missing[0].name}: {missing[0].reason} Correct the cause and run again: finished labels are kept."
        )


def _label_warnings(plan: Plan, report: LabelReport) -> list[str]:
    """What is missing of the database."""
    labels = labels_to_fit(plan, report)
    if not labels:
        reasons = f" The first message: {report.failures[0].reason}" if report.failures else ""
        raise ReferenceCalculationError(
            f"None of the {len(plan.to_fit)} configurations has a label.{reasons} Check the calculator's "
            "settings in [reference], then run again."
        )
    warnings = [*map(str, report.failures), *report.notes]
    without_stress = sum(label.stress is None for label in labels.values())
    if without_stress:
        warnings.append(
            f"{without_stress} of {len(labels)} labels have no stress, so the potential learns elasticity from "
            "energies and forces alone. Use a calculator that gives stresses."
        )
    return warnings


def labels_to_fit(plan: Plan, report: LabelReport) -> dict[str, Label]:
    """The labels of the database, by the name of the configuration."""
    named = {atoms.info["ndsc_name"] for atoms in plan.to_fit}
    return {name: label for name, label in report.labels.items() if name in named}
