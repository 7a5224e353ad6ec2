"""A run of several crystals: one potential, fitted to the labels of all, and a benchmark for each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.config import SeveralConfig, dump_several, write_several
from ndsc.database import make_database, write_database
from ndsc.extended_xyz import read_frames
from ndsc.fit.folder import PREDICTIONS_NAME
from ndsc.plausibility import check_plausible
from ndsc.progress import Progress, silent
from ndsc.reference import LabelReport
from ndsc.report import write_report, write_several_report
from ndsc.results import Comparison, LabelsSummary, SeveralResults, write_results
from ndsc.versions import package_versions
from ndsc.workflow.checks import check_plan, check_repeated
from ndsc.workflow.elsewhere import is_elsewhere, missing_labels
from ndsc.workflow.joint import JointPlan, make_joint_plan
from ndsc.workflow.labelling import label_plan, labels_to_fit, perfect_cell_energies
from ndsc.workflow.plan import Plan, reference_calculator
from ndsc.workflow.reference import run_reference
from ndsc.workflow.run import (
    benchmark_record,
    fit_record,
    log_file,
    stage,
    write_frames,
    write_outliers,
    write_structures,
)
from ndsc.workflow.selection import ChosenLabels
from ndsc.workflow.summary import RunRecord, labels_summary, summarise

log = logging.getLogger(__name__)


def run_several(config: SeveralConfig, directory: str | Path, *, progress: Progress = silent) -> SeveralResults:
    """From an input file of several crystals to one potential, benchmarked on each.

    Parameters
    ----------
    config : SeveralConfig
        The checked input file (:func:`ndsc.config.load_run`).
    directory : path
        Folder of the run; what is finished in it is not done again. Each crystal has a folder of its name in it, with
        what the folder of a run of this crystal alone would have, but labels and potential.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    SeveralResults
        Also written to ``results.json``.

    Raises
    ------
    InputError, MissingExtraError, MissingLabelsError, ReferenceCalculationError, FitError
        As :func:`ndsc.workflow.run_workflow`.
    """
    directory = Path(directory)
    stages: dict[str, float] = {}
    with stage("crystal", stages):
        plan = make_joint_plan(config, directory, compute=False, dynamics=False, progress=progress)
        notes = check_plan(plan, directory)
    if is_elsewhere(config.common):
        missing = missing_labels(config, directory, choose=False, progress=progress)
        if missing.wanted:
            raise missing.error(plan.store)
    write_several(config, directory / "ndsc.toml")
    with log_file(directory / "ndsc.log"):
        log.info("run of %s in %s", ", ".join(config.crystals), directory)
        if not plan.relaxed:
            with stage("crystal", stages):
                plan = make_joint_plan(config, directory, progress=progress)
                notes = (*notes, *check_repeated(plan))
        there = _in_store(plan)
        with stage("labels", stages):
            chosen = ChosenLabels(plan, directory, progress) if plan.selects else None
            report, warnings = label_plan(plan, progress, None if chosen is None else chosen.choose)
        wanted = plan.to_fit if chosen is None else chosen.configurations
        database = make_database(wanted, labels_to_fit(plan, report))
        if chosen is not None:
            assert isinstance(chosen.plan, JointPlan)
            plan = chosen.plan
        joint = RunRecord(plan, report, database, stages, configurations=wanted, chosen=chosen)
        joint.warnings += [*notes, *plan.warnings, *warnings, *check_plausible(joint.fitted)]
        records = {str(one.name): _of_crystal(joint, one, there) for one in plan.each}
        _write_databases(joint, records, directory)
        energies = {}
        if config.common.fit.method != "none":
            energies = _fit_and_benchmark(joint, records, directory, progress)
        results = _results(config, joint, records, energies, directory)
        write_results(results, directory)
        progress("report", 0, 1 + len(records))
        for number, name in enumerate(records):
            write_report(directory / name)
            progress("report", 1 + number, 1 + len(records))
        write_several_report(directory)
        progress("report", 1 + len(records), 1 + len(records))
        log.info("finished; results in %s", directory / "results.json")
    return results


def _names(frames: Iterable[Atoms]) -> set[str]:
    return {str(atoms.info["ndsc_name"]) for atoms in frames}


def _in_store(plan: JointPlan) -> set[str]:
    """The names of structures that have a label before the run computes any."""
    frames = [*plan.to_label, *(plan.candidates if plan.selects else ())]
    return _names(atoms for atoms in frames if plan.store.key_of(atoms, plan.spec) in plan.store)


def _of_crystal(joint: RunRecord, plan: Plan, there: set[str]) -> RunRecord:
    """What of a run is about one crystal."""
    own = _names([*plan.to_fit, *plan.phonon_frames])
    labels = {name: label for name, label in joint.report.labels.items() if name in own}
    report = LabelReport(
        labels=labels,
        failures=[failure for failure in joint.report.failures if failure.name in own],
        found=len(there & set(labels)),
    )
    return RunRecord(
        plan,
        report,
        _own(joint.database, own),
        joint.stages,
        configurations=_own(joint.configurations, own),
        chosen=joint.chosen,
    )


def _own(frames: Sequence[Atoms], names: set[str]) -> list[Atoms]:
    return [atoms for atoms in frames if str(atoms.info["ndsc_name"]) in names]


def _write_databases(joint: RunRecord, records: dict[str, RunRecord], directory: Path) -> None:
    """The database of all, and of each crystal what a run of it alone writes."""
    write_frames(directory / "configurations.extxyz", joint.configurations)
    write_database(directory / "database.extxyz", joint.fitted)
    write_outliers(joint, directory)
    for name, record in records.items():
        folder = directory / name
        folder.mkdir(exist_ok=True)
        write_structures(record, folder)
        write_database(folder / "database.extxyz", record.database)


def _fit_and_benchmark(
    joint: RunRecord, records: dict[str, RunRecord], directory: Path, progress: Progress
) -> dict[str, Comparison]:
    """One potential, and its lattice, phonons and elastic constants of each crystal beside the reference's."""
    plan, chosen = joint.plan, joint.chosen
    calculator = reference_calculator(plan.config, plan.spec, plan.store)
    with stage("reference", joint.stages):
        references = {
            name: run_reference(record.plan, record.report.labels, calculator, progress=progress)
            for name, record in records.items()
        }
    fit = fit_record(joint, directory, progress)
    predictions = read_frames(directory / "potential" / PREDICTIONS_NAME)
    model = fit.calculator()
    energies = {}
    for number, (name, record) in enumerate(records.items()):
        folder = directory / name
        own = [frame for frame in predictions if str(frame.info["config_type"]).startswith(f"{name}/")]
        write_frames(folder / PREDICTIONS_NAME, own or predictions)
        if chosen is not None:
            with stage("prediction", joint.stages):
                chosen.save_prediction(folder, number)
        record.warnings += references[name].warnings
        found = benchmark_record(record, model, references[name], folder, progress)
        record.fit, record.regularisation = fit, joint.regularisation
        energies[name] = _energy(record, found.crystal.atoms, model)
    return energies


def _energy(record: RunRecord, relaxed: Atoms, model: Calculator) -> Comparison:
    """Energy of a crystal by potential and reference, eV per atom, each at its own lattice."""
    plan = record.plan
    perfect = [*plan.perfect_unit_cells, *plan.phonon_frames]
    known = list(perfect_cell_energies(perfect, record.report.labels).values())
    atoms = relaxed.copy()
    atoms.calc = model
    ours = float(atoms.get_potential_energy(force_consistent=True)) / len(atoms)
    return Comparison(model=ours, reference=known[0] if known else None)


def _results(
    config: SeveralConfig,
    joint: RunRecord,
    records: dict[str, RunRecord],
    energies: dict[str, Comparison],
    directory: Path,
) -> SeveralResults:
    """results.json of the run, after those of each crystal, which are written here."""
    crystals = {}
    for name, record in records.items():
        found = summarise(record, directory / name)
        crystals[name] = found
        write_results(found, directory / name)
    first = next(iter(crystals.values()))
    warnings = [*joint.warnings, *(f"{name}: {text}" for name, one in crystals.items() for text in one.warnings)]
    return SeveralResults(
        crystals=crystals,
        energies=energies,
        labels=LabelsSummary.model_validate(labels_summary(joint)),
        fit=first.fit,
        databases=first.databases,
        stages=dict(joint.stages),
        versions=package_versions(),
        seed=first.seed,
        command="ndsc run ndsc.toml",
        input=dump_several(config, folder=directory),
        warnings=list(dict.fromkeys(warnings)),
    )
