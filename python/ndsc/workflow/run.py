"""A run from beginning to end. Every stage takes up what an earlier run of the same directory finished."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import write

from ndsc.config import RunConfig, write_config
from ndsc.database import make_database, write_database
from ndsc.elastic import elastic_constants
from ndsc.errors import MissingExtraError, NdscError, ReferenceCalculationError
from ndsc.files import whole_file, write_text
from ndsc.progress import Progress, silent
from ndsc.reference import label_configurations
from ndsc.report import write_report
from ndsc.results import Results, write_results
from ndsc.workflow.benchmark import benchmark_phonons, relaxed_with
from ndsc.workflow.derived import elastic_through_store
from ndsc.workflow.isolated import label_isolated
from ndsc.workflow.perfect_cells import perfect_cell_warning
from ndsc.workflow.plan import make_plan, reference_calculator, unit_cell
from ndsc.workflow.potential import fit_potential
from ndsc.workflow.record import RunRecord
from ndsc.workflow.summary import summarise

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
    ReferenceCalculationError
        When the relaxation or the reference's phonons or elastic constants fail, or no label is left to fit.
    FitError
        When the fit fails.
    """
    directory = Path(directory)
    if config.fit.method == "gap":
        _need_quippy()
    config.reference.to_spec().check(unit_cell(config))
    write_config(config, directory / "ndsc.toml")
    for stale in ("results.json", "report.html"):
        (directory / stale).unlink(missing_ok=True)
    with _log_file(directory / "ndsc.log"):
        log.info("run in %s", directory)
        record = _label(config, directory, progress)
        if config.fit.method == "gap":
            _fit_and_benchmark(record, directory, progress)
        results = summarise(record)
        write_results(results, directory)
        write_report(directory)
        log.info("finished; results in %s", directory / "results.json")
    return results


def _label(config: RunConfig, directory: Path, progress: Progress) -> RunRecord:
    """Crystal, supercells, configurations, labels, database."""
    stages: dict[str, float] = {}
    with _stage("crystal", stages):
        plan = make_plan(config, directory, progress=progress)
        _write_frames(directory / "crystal.extxyz", [plan.crystal.atoms])
        write_text(directory / "supercells.json", json.dumps(plan.supercells.to_dict(), indent=1) + "\n")
        _write_frames(directory / "configurations.extxyz", plan.to_fit)
    with _stage("labels", stages):
        executor = config.executor.to_settings()
        report = label_configurations(plan.to_label, plan.spec, plan.store, executor=executor, progress=progress)
        report = label_isolated(plan.isolated, plan.store, report, executor=executor, progress=progress)
    named = {atoms.info["ndsc_name"] for atoms in plan.to_fit}
    labels = {name: label for name, label in report.labels.items() if name in named}
    warnings = [f"No label for {failure.name}: {failure.reason}" for failure in report.failures] + report.notes
    if not labels:
        reasons = f" The first said: {report.failures[0].reason}" if report.failures else ""
        raise ReferenceCalculationError(
            f"None of the {len(plan.to_fit)} configurations has a label.{reasons} Check the calculator's "
            "settings in [reference], then run again."
        )
    without_stress = sum(label.stress is None for label in labels.values())
    if without_stress:
        warnings.append(
            f"{without_stress} of {len(labels)} labels have no stress, so the potential learns elasticity from "
            "energies and forces alone. Use a calculator that gives stresses."
        )
    disagreement = perfect_cell_warning(plan.to_label, report.labels)
    warnings += [] if disagreement is None else [disagreement]
    database = make_database(plan.to_fit, labels)
    write_database(directory / "database.extxyz", database)
    return RunRecord(config, plan, report, database, stages, warnings)


def _fit_and_benchmark(record: RunRecord, directory: Path, progress: Progress) -> None:
    """Potential, then its lattice, phonons and elastic constants beside the reference's."""
    config, plan = record.config, record.plan
    reference = reference_calculator(config, plan.spec, plan.store)
    _require_phonon_labels(record)
    with _stage("fit", record.stages):
        record.fit = fit_potential(config, record.database, plan.unlabelled, directory / "potential", progress)
    model = record.fit.calculator()
    with _stage("model lattice", record.stages):
        record.model_crystal, warning = relaxed_with(config, plan, model)
        record.warnings += [] if warning is None else [warning]
    with _stage("phonons", record.stages):
        record.phonons = benchmark_phonons(record, reference, model, directory, progress)
    if config.elastic.enabled:
        with _stage("elastic constants", record.stages):
            progress("elastic constants", 0, 2)
            settings: dict[str, Any] = {"strain": config.elastic.strain, "relax_ions": config.elastic.relax_ions}
            record.elastic["reference"] = elastic_through_store(plan.crystal.atoms, reference, **settings)
            progress("elastic constants", 1, 2)
            try:
                record.elastic["model"] = elastic_constants(record.model_crystal, model, **settings)
            except NdscError as error:
                record.warnings.append(f"The elastic constants of the potential could not be computed: {error}")
            progress("elastic constants", 2, 2)
        found = {name: constants.to_dict() for name, constants in record.elastic.items()}
        write_text(directory / "elastic.json", json.dumps(found, indent=1) + "\n")


def _require_phonon_labels(record: RunRecord) -> None:
    """Refuse to go on without the labels that the reference's phonons need."""
    needed = {atoms.info["ndsc_name"] for atoms in record.plan.phonon_frames}
    missing = [failure for failure in record.report.failures if failure.name in needed]
    if missing:
        raise ReferenceCalculationError(
            f"{len(missing)} of the {len(needed)} calculations behind the reference's phonons failed, among them "
            f"{missing[0].name}: {missing[0].reason} Correct the cause and run again: finished labels are kept."
        )


@contextmanager
def _stage(name: str, stages: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    log.info("%s", name)
    yield
    stages[name] = round(time.perf_counter() - started, 3)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
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
        log.error("stopped: %s: %s", type(error).__name__, error)
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _write_frames(path: Path, frames: list[Atoms]) -> None:
    with whole_file(path) as temporary:
        write(temporary, frames, format="extxyz")


def _need_quippy() -> None:
    from importlib.util import find_spec

    if find_spec("quippy") is None:
        raise MissingExtraError(
            "The fit needs gap_fit, which is not installed. Install it with pip install 'ndsc[gap]', or set "
            "[fit] method = 'none' to stop at the database."
        )
