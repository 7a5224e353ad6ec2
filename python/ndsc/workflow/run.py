"""A run from beginning to end. Every stage reuses what an earlier run in the same directory finished."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc import extended_xyz
from ndsc.benchmark import Benchmark, Reference, benchmark
from ndsc.config import RunConfig, write_config
from ndsc.database import make_database, write_database
from ndsc.files import whole_file, write_text
from ndsc.fit import apply_regularisation
from ndsc.plausibility import check_plausible
from ndsc.potentials.base import Fitted
from ndsc.potentials.fitting import fit_potential
from ndsc.progress import Progress, silent
from ndsc.report import write_report
from ndsc.results import Results, write_results
from ndsc.selection.noise import FITTED_SCALE
from ndsc.workflow.checks import check_plan, check_repeated
from ndsc.workflow.dry_run import plan_without_calculations
from ndsc.workflow.elsewhere import is_elsewhere, missing_labels
from ndsc.workflow.labelling import label_plan, labels_to_fit
from ndsc.workflow.plan import make_plan, reference_calculator
from ndsc.workflow.reference import run_reference
from ndsc.workflow.selection import ChosenLabels
from ndsc.workflow.summary import RunRecord, summarise

log = logging.getLogger(__name__)


def run_workflow(config: RunConfig, directory: str | Path, *, progress: Progress = silent) -> Results:
    """From an input file to a benchmarked potential and its report.

    Parameters
    ----------
    config : RunConfig
        The checked input file (:func:`ndsc.config.load_config`).
    directory : path
        Folder of the run; what is finished in it is not done again.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    Results
        Also written to ``results.json``.

    Raises
    ------
    InputError
        When the input file asks for what cannot be done, or the folder cannot be written.
    MissingExtraError
        When the fit or the reference needs what is not installed.
    MissingLabelsError
        When labels are missing that are computed elsewhere.
    ReferenceCalculationError
        When the relaxation or the reference's phonons or elastic constants fail, or no label is left to fit.
    FitError
        When the fit fails.
    """
    directory = Path(directory)
    stages: dict[str, float] = {}
    with stage("crystal", stages):
        plan = plan_without_calculations(config, directory, progress=progress)
        notes = check_plan(plan, directory)
    if is_elsewhere(config):
        missing = missing_labels(config, directory, choose=False, progress=progress)
        if missing.wanted:
            raise missing.error(plan.store)
    write_config(config, directory / "ndsc.toml")
    with log_file(directory / "ndsc.log"):
        log.info("run in %s", directory)
        if not plan.relaxed:
            with stage("crystal", stages):
                plan = make_plan(config, directory, databases=plan.databases, progress=progress)
                notes = (*notes, *check_repeated(plan))
        with stage("labels", stages):
            chosen = ChosenLabels(plan, directory, progress) if plan.selects else None
            report, warnings = label_plan(plan, progress, None if chosen is None else chosen.choose)
        wanted = plan.to_fit if chosen is None else chosen.configurations
        database = make_database(wanted, labels_to_fit(plan, report))
        plan = plan if chosen is None else chosen.plan
        record = RunRecord(plan, report, database, stages, configurations=wanted, chosen=chosen)
        record.warnings += [*notes, *plan.warnings, *warnings, *check_plausible(record.fitted)]
        _write_database(record, directory)
        if config.fit.method != "none":
            _fit_and_benchmark(record, directory, progress)
        results = summarise(record, directory)
        write_results(results, directory)
        progress("report", 0, 1)
        write_report(directory)
        progress("report", 1, 1)
        log.info("finished; results in %s", directory / "results.json")
    return results


def _write_database(record: RunRecord, directory: Path) -> None:
    """Crystal, supercells, configurations and labels, once all of them are there."""
    write_structures(record, directory)
    write_database(directory / "database.extxyz", record.fitted)
    write_outliers(record, directory)


def write_structures(record: RunRecord, directory: Path) -> None:
    """Crystal, supercells and configurations."""
    plan = record.plan
    write_frames(directory / "crystal.extxyz", [plan.crystal.atoms])
    write_text(directory / "supercells.json", json.dumps(plan.supercells.to_dict(), indent=1) + "\n")
    write_frames(directory / "configurations.extxyz", record.configurations)


def write_outliers(record: RunRecord, directory: Path) -> None:
    """Labels that contradict all others; no file where there are none, also not that of an earlier run."""
    if record.outliers:
        write_database(directory / "outliers.extxyz", record.outliers)
    else:
        (directory / "outliers.extxyz").unlink(missing_ok=True)


def _fit_and_benchmark(record: RunRecord, directory: Path, progress: Progress) -> None:
    """The potential, then its lattice, phonons and elastic constants beside the reference's."""
    plan = record.plan
    calculator = reference_calculator(plan.config, plan.spec, plan.store)
    with stage("reference", record.stages):
        reference = run_reference(plan, record.report.labels, calculator, progress=progress)
        record.warnings += reference.warnings
    fit = fit_record(record, directory, progress)
    if record.chosen is not None:
        with stage("prediction", record.stages):
            record.chosen.save_prediction(directory)
    benchmark_record(record, fit.calculator(), reference, directory, progress)


def fit_record(record: RunRecord, directory: Path, progress: Progress) -> Fitted:
    """The potential of all labels of a run, in its folder ``potential``."""
    plan, chosen = record.plan, record.chosen
    record.regularisation, prior = plan.config.regularisation, None
    if chosen is not None and plan.config.regularised_by_evidence:
        record.regularisation, prior = chosen.selector.noise.regularisation(), FITTED_SCALE
    with stage("fit", record.stages):
        record.fit = fit_potential(
            [
                *with_types(apply_regularisation(record.database, record.regularisation)),
                *record.without_outliers(plan.databases.regularised(record.regularisation)),
            ],
            directory / "potential",
            plan.potential,
            basis=None if chosen is None else chosen.basis,
            unlabelled=plan.unlabelled if chosen is None else (),
            prior=prior,
            threads=plan.config.executor.workers * plan.config.executor.threads,
            progress=progress,
        )
    record.warnings += record.fit.warnings
    return record.fit


def with_types(frames: Iterable[Atoms]) -> list[Atoms]:
    """Copies; in a run of several crystals, their ``config_type`` begins with the name of the crystal and a slash."""
    found = []
    for frame in frames:
        copy = frame.copy()
        if "ndsc_crystal" in copy.info:
            copy.info["config_type"] = f"{copy.info['ndsc_crystal']}/{copy.info['config_type']}"
        found.append(copy)
    return found


def benchmark_record(
    record: RunRecord, model: Calculator, reference: Reference, directory: Path, progress: Progress
) -> Benchmark:
    """Lattice, phonons and elastic constants of the potential beside the reference's, written to the folder."""
    with stage("benchmark", record.stages):
        found = benchmark(
            model,
            reference,
            database=record.database,
            dos_mesh=record.plan.config.phonons.dos_mesh or "auto",
            progress=progress,
        )
        found.save(directory)
    # Labels that are chosen for a potential seldom determine all force constants by themselves.
    if found.harmonic_failure is not None and record.chosen is None:
        record.warnings.append(f"The database has no harmonic model: {found.harmonic_failure}")
    record.warnings += found.warnings
    record.benchmark = found
    return found


@contextmanager
def stage(name: str, stages: dict[str, float]) -> Iterator[None]:
    """Add the wall time of what is inside, s, to that of a stage."""
    started = time.perf_counter()
    log.info("%s", name)
    yield
    stages[name] = round(stages.get(name, 0.0) + time.perf_counter() - started, 3)


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the package's log to a file as well, for the time of the run."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ndsc")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        log.info("stopped: %s: %s", type(error).__name__, error)
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def write_frames(path: Path, frames: list[Atoms]) -> None:
    """Write structures as extended XYZ, whole or not at all."""
    with whole_file(path) as temporary, extended_xyz.opened(temporary, "w", compressed=False) as file:
        extended_xyz.write_frames(file, frames)
