"""A study from its input file to its results: fits and evaluations that are not in its folder yet, then the verdict."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndsc.claims import run_check
from ndsc.config.study import StudyConfig
from ndsc.errors import FitError
from ndsc.potentials.registry import fitter, installed_methods
from ndsc.potentials.settings import FITTERS
from ndsc.progress import Progress, silent
from ndsc.study.evaluation import evaluate_potential
from ndsc.study.finished import Finished
from ndsc.study.fitting import FitGroup, Fitted, fit_metrics
from ndsc.study.information import InformedChoices, NotChosenError
from ndsc.study.models import PoolModels
from ndsc.study.prediction import predicted_metrics
from ndsc.study.results import Evaluation, PotentialResult, StudyResults
from ndsc.study.runs import StudyRun, load_runs
from ndsc.study.variants import FitTask, Planner, Point, needed_runs
from ndsc.study.write import write_study
from ndsc.versions import package_versions

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)

#: What progress calls this.
TASK = "potentials"


def run_study(
    config: StudyConfig, directory: str | Path, *, cache: str | Path | None = None, progress: Progress = silent
) -> StudyResults:
    """Fit and judge every potential of a study, and write what was found.

    Parameters
    ----------
    config : StudyConfig
        The checked input file (:func:`ndsc.config.study.load_study`).
    directory : path
        Folder of the study.
    cache : path, optional
        Folder of what is finished and not done again, which several studies may share; ``cache`` in `directory` by
        default.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    StudyResults
        Also written to ``study.json``, ``results.csv`` and ``study.md`` with its figures.

    Raises
    ------
    InputError
        When the input file asks for what cannot be done, or the folder cannot be written.
    ReferenceCalculationError
        When a run lacks labels that the study needs.
    MissingExtraError
        When the package of a kind of potential is not installed, and not all of its potentials are finished.
    """
    directory = Path(directory)
    results = compute_study(config, directory / "cache" if cache is None else Path(cache), progress=progress)
    write_study(config, results, directory)
    return results


def compute_study(config: StudyConfig, cache: Path, *, progress: Progress = silent) -> StudyResults:
    """The results of a study, of which only the cache is written; see :func:`run_study`."""
    started = time.perf_counter()
    progress("databases", 0, 1)
    engine = _Engine.of(config, cache)
    runs, planner = engine.runs, engine.planner(progress=progress)
    check_tests(config, planner.points())
    _require_installed(engine)
    tasks = planner.tasks()
    judging = list(dict.fromkeys(name for task in tasks for name in task.runs))
    for name in judging:
        # Before any fit, whether the reference's side is there.
        runs[name].reference(phonons=config.evaluate.phonons, elastic=config.evaluate.elastic)
    warnings = [text for name, run in runs.items() for text in run.warnings(judges=name in judging)]
    progress("databases", 1, 1)
    results = StudyResults(
        title=config.study.title,
        claim=config.study.claim,
        discussion=config.study.discussion,
        seeds=config.study.seeds,
        runs={name: run.facts(elastic=config.evaluate.elastic and name in judging) for name, run in runs.items()},
        outcomes=tuple(engine.run(tasks, progress)),
        checks=(),
        verified=engine.verified,
        seconds=time.perf_counter() - started,
        versions=package_versions(),
        time=engine.finished.time(),
    )
    checks = tuple(
        run_check(check.claim, check.test, results.frame, seeds=check.seeds, together=check.together)
        for check in config.checks
    )
    return replace(results, checks=checks, warnings=(*warnings, *_warnings(results.outcomes)))


def check_tests(config: StudyConfig, points: Sequence[Point | FitTask]) -> None:
    """Refuse, before anything is computed, checks that no results could answer.

    Raises
    ------
    InputError
        When a test names a run that does not judge, or leaves open which of several points it means.
    """
    from pandas import DataFrame

    rows = [
        {"potential": point.variant.potential, **point.variant.values, "seed": point.variant.seed, "run": run}
        for point in points
        for run in point.runs
    ]
    swept = dict.fromkeys(key for point in points for key in point.variant.values)
    frame = DataFrame(rows, columns=["potential", *swept, "seed", "run"])
    for check in config.checks:
        run_check(check.claim, check.test, frame)


def plan_study(config: StudyConfig, cache: Path) -> DataFrame:
    """What a study would fit, and what of it is finished; nothing is computed or written.

    Returns
    -------
    DataFrame
        ``potential`` (with swept values and seed), ``labels``, ``atoms``, ``label_seconds``, ``finished``: whether its
        fit and all its evaluations are in the cache. What is not known before labels are chosen is missing.

    Raises
    ------
    InputError, ReferenceCalculationError
        As :func:`run_study`, but for labels of the references, which are not looked at.
    """
    from pandas import DataFrame

    rows: list[tuple[str, int | None, int | None, float | None, bool]] = []
    engine = _Engine.of(config, cache)
    points = engine.planner(compute=False).points()
    check_tests(config, points)
    for point, task, done in engine.planned(points):
        if task is None:
            size = point.section.select.size
            rows.append((str(point.variant), size if isinstance(size, int) else None, None, None, False))
        else:
            selected = task.selected
            rows.append((str(point.variant), len(selected.members), selected.n_atoms, selected.seconds, done))
    columns = ["potential", "labels", "atoms", "label_seconds", "finished"]
    return DataFrame(rows, columns=columns).astype({"labels": "Int64", "atoms": "Int64", "label_seconds": float})


def check_installed(config: StudyConfig, cache: Path) -> None:
    """Refuse a study, before its first fit, where a potential can be neither fitted here nor found finished.

    Raises
    ------
    MissingExtraError
        When the package of its kind of potential is not installed.
    InputError, ReferenceCalculationError
        As :func:`plan_study`.
    """
    if set(FITTERS) - set(installed_methods()):
        _require_installed(_Engine.of(config, cache))


def _require_installed(engine: _Engine) -> None:
    installed = installed_methods()
    points = [point for point in engine.planner(compute=False).points() if point.method not in installed]
    for point, _, done in engine.planned(points):
        if not done:
            fitter(point.method).require()


class _Engine:
    """Fits and evaluates tasks, group by group of shared sparse points, and keeps what is finished."""

    def __init__(self, config: StudyConfig, runs: dict[str, StudyRun], finished: Finished, models: PoolModels) -> None:
        self.config = config
        self.runs = runs
        self.finished = finished
        self.models = models
        self.verified: dict[str, float] = {}
        self._references = {name: run.reference_content() for name, run in runs.items()}

    @classmethod
    def of(cls, config: StudyConfig, cache: Path) -> _Engine:
        """With the databases that a study needs, and the folder of what is finished."""
        return cls(config, load_runs(config.runs, needed_runs(config)), Finished(cache), PoolModels(cache))

    def planner(self, *, compute: bool = True, progress: Progress = silent) -> Planner:
        """Makes the tasks; without `compute`, labels are not chosen."""
        choices = InformedChoices(self.finished, self.models, compute=compute, progress=progress)
        return Planner(self.config, self.runs, choices)

    def planned(self, points: Sequence[Point]) -> Iterator[tuple[Point, FitTask | None, bool]]:
        """Each of some potentials, its task unless its labels are still to be chosen, and whether all is finished."""
        planner = self.planner(compute=False)
        for point in points:
            try:
                task = planner.task(point)
            except NotChosenError:
                yield point, None, False
            else:
                yield point, task, all(name in self.finished for name in self.names(task))

    def run(self, tasks: Sequence[FitTask], progress: Progress) -> list[PotentialResult]:
        """The potentials, in the order of the tasks."""
        groups: dict[str, list[int]] = {}
        for number, task in enumerate(tasks):
            groups.setdefault(task.sparse_key, []).append(number)
        found: dict[int, PotentialResult] = {}
        progress(TASK, 0, len(tasks))
        for numbers in groups.values():
            with FitGroup([tasks[number] for number in numbers], self.finished.folder, self.models) as group:
                for number in numbers:
                    found[number] = self._result(tasks[number], group)
                    progress(TASK, len(found), len(tasks))
        return [found[number] for number in range(len(tasks))]

    def evaluation_name(self, task: FitTask, run: str) -> str:
        """The name of the stored evaluation of a task on a run."""
        return f"evaluation-{task.evaluation_key(self._references[run], self.config.evaluate.asked)}"

    def names(self, task: FitTask) -> list[str]:
        """The names of the stored fit and evaluations of a task."""
        return [f"fit-{task.fit_key}", *(self.evaluation_name(task, run) for run in task.runs)]

    def _result(self, task: FitTask, group: FitGroup) -> PotentialResult:
        # Fitted when it is first needed, and not again.
        fitted = functools.cache(lambda: group.fit(task))
        failure = None
        sigmas = {"kind": "evidence"} if task.regularisation is None else task.regularisation.expected_errors()
        try:
            fit = self.finished.get_or_compute(f"fit-{task.fit_key}", lambda: _record(fitted()), _checked_record)
            metrics, sigmas = fit["metrics"], fit["regularisation"] or sigmas
            evaluations = {name: self._evaluation(task, name, group, fitted) for name in task.runs}
            if len(self.verified) < self.config.study.verify:
                self.verified[str(task.variant)] = self._difference(task, group, fitted)
        except FitError as error:
            failure, metrics = str(error), fit_metrics(task)
            evaluations = {name: Evaluation(name, {}) for name in task.runs}
            log.warning("no potential %s: %s", task.variant, error)
        return PotentialResult(
            variant=task.variant,
            metrics=metrics,
            labels=tuple(f"{run}/{name}" for run, name in task.selected.members),
            settings=task.settings.hyperparameters(),
            regularisation=sigmas,
            evaluations=evaluations,
            failure=failure,
        )

    def _evaluation(self, task: FitTask, run: str, group: FitGroup, fitted: Callable[[], Fitted]) -> Evaluation:
        name = self.evaluation_name(task, run)

        def evaluate() -> dict[str, Any]:
            log.info("evaluating %s on %s", task.variant, run)
            model = fitted().calculator
            found = evaluate_potential(model, self.runs[run], self.config.evaluate, task.selected.frames, self.runs)
            if self.config.evaluate.predicted:
                targets = group.targets(fitted(), self.runs[run])
                found = replace(found, metrics=found.metrics | predicted_metrics(fitted(), targets, found.phonons))
            return found.to_dict()

        if name not in self.finished:
            fitted()  # so that its time is not that of the evaluation
        return self.finished.get_or_compute(name, evaluate, Evaluation.from_dict)

    def _difference(self, task: FitTask, group: FitGroup, fitted: Callable[[], Fitted]) -> float:
        """The largest difference of a force from a second fit, by gap_fit alone, eV/Å."""
        name = f"number-verified-{task.fit_key}"
        if name not in self.finished:
            fitted()
        return self.finished.get_or_compute(
            name, lambda: {"value": group.largest_difference(fitted())}, lambda found: float(found["value"])
        )


def _record(fitted: Fitted) -> dict[str, Any]:
    """What is kept of a fit."""
    sigmas = fitted.regularisation.expected_errors()
    return {
        "metrics": fitted.metrics,
        "regularisation": sigmas if fitted.noise is None else {**sigmas, "kind": "evidence"},
    }


def _checked_record(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a fit, as it was stored; versions that knew no evidence kept only the numbers."""
    return {"metrics": dict(found["metrics"]), "regularisation": dict(found.get("regularisation", {}))}


def _warnings(outcomes: Sequence[PotentialResult]) -> list[str]:
    """What went wrong with potentials, each once."""
    found = [f"{outcome.variant}: {outcome.failure}" for outcome in outcomes if outcome.failure is not None]
    for outcome in outcomes:
        for run, evaluation in outcome.evaluations.items():
            found += [f"{outcome.variant} on {run}: {warning}" for warning in evaluation.warnings]
    return list(dict.fromkeys(found))
