"""A study from its input file to its results: fits and evaluations that are not in its folder yet, then the verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ndsc.config.study import StudyConfig
from ndsc.errors import FitError
from ndsc.progress import Progress, silent
from ndsc.study.cache import Cache, evaluation_key, fit_key, sparse_key
from ndsc.study.checks import judge
from ndsc.study.evaluation import asked, evaluate_potential
from ndsc.study.fitting import FitGroup, Fitted, without_fit
from ndsc.study.page import write_study
from ndsc.study.results import Evaluation, Outcome, StudyResults, Variant
from ndsc.study.runs import StudyRun, load_runs
from ndsc.study.timing import Clock
from ndsc.study.variants import Planner, Task, needed_runs
from ndsc.versions import package_versions

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
        When quippy is not installed.
    """
    directory = Path(directory)
    results = compute_study(config, directory / "cache" if cache is None else Path(cache), progress=progress)
    write_study(config, results, directory)
    return results


def compute_study(config: StudyConfig, cache: Path, *, progress: Progress = silent) -> StudyResults:
    """The results of a study, of which only the cache is written; see :func:`run_study`."""
    started = time.perf_counter()
    progress("databases", 0, 1)
    runs = load_runs(config.runs, needed_runs(config))
    tasks = Planner(config, runs).tasks()
    judging = list(dict.fromkeys(name for task in tasks for name in task.runs))
    for name in judging:
        _require_reference(config, runs[name])
    progress("databases", 1, 1)
    engine = _Engine(config, runs, Cache(cache), len(tasks), progress)
    outcomes = engine.run(tasks)
    return StudyResults(
        title=config.study.title,
        claim=config.study.claim,
        seeds=config.study.seeds,
        runs={name: run.facts(elastic=config.evaluate.elastic and name in judging) for name, run in runs.items()},
        outcomes=tuple(outcomes),
        checks=tuple(judge(check, outcomes) for check in config.checks),
        verified=engine.verified,
        seconds=time.perf_counter() - started,
        versions=package_versions(),
        warnings=tuple(_warnings(outcomes)),
        time=engine.clock.total(),
    )


@dataclass(frozen=True)
class Planned:
    """One potential of a study before it is fitted.

    Attributes
    ----------
    variant : Variant
    labels, atoms : int
    label_seconds : float
    finished : bool
        Whether its fit and all its evaluations are in the cache.
    """

    variant: Variant
    labels: int
    atoms: int
    label_seconds: float
    finished: bool


def plan_study(config: StudyConfig, cache: Path) -> list[Planned]:
    """What a study would fit, and what of it is finished; nothing is computed or written.

    Raises
    ------
    InputError, ReferenceCalculationError
        As :func:`run_study`, but for labels of the references, which are not looked at.
    """
    runs = load_runs(config.runs, needed_runs(config))
    finished = Cache(cache)
    references = {name: run.reference_content() for name, run in runs.items()}
    what = asked(config.evaluate)
    return [
        Planned(
            variant=task.variant,
            labels=len(task.selected.members),
            atoms=task.selected.n_atoms,
            label_seconds=task.selected.seconds,
            finished=finished.has_fit(fit_key(task))
            and all(finished.has_evaluation(evaluation_key(task, references[name], what)) for name in task.runs),
        )
        for task in Planner(config, runs).tasks()
    ]


def _require_reference(config: StudyConfig, run: StudyRun) -> None:
    """Find out before any fit whether the reference's side is there."""
    run.reference(phonons=config.evaluate.phonons, elastic=config.evaluate.elastic)


class _Engine:
    """Fits and evaluates tasks, group by group of shared sparse points, and keeps what is finished."""

    def __init__(
        self,
        config: StudyConfig,
        runs: dict[str, StudyRun],
        cache: Cache,
        total: int,
        progress: Progress,
    ) -> None:
        self.config = config
        self.runs = runs
        self.cache = cache
        self.progress = progress
        self.total = total
        self.done = 0
        self.verified: dict[str, float] = {}
        self.clock = Clock()
        self._references = {name: run.reference_content() for name, run in runs.items()}

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """The outcomes, in the order of the tasks."""
        groups: dict[str, list[int]] = {}
        for number, task in enumerate(tasks):
            groups.setdefault(sparse_key(task), []).append(number)
        outcomes: dict[int, Outcome] = {}
        self.progress(TASK, 0, self.total)
        for numbers in groups.values():
            group = FitGroup([tasks[number] for number in numbers], self.cache.folder, silent)
            with group:
                for number in numbers:
                    outcomes[number] = self._outcome(tasks[number], group)
                    self.done += 1
                    self.progress(TASK, self.done, self.total)
        return [outcomes[number] for number in range(len(tasks))]

    def _outcome(self, task: Task, group: FitGroup) -> Outcome:
        key = fit_key(task)
        metrics = self.cache.fit(key)
        found: dict[str, Evaluation] = {}
        keys = {name: evaluation_key(task, self._references[name], asked(self.config.evaluate)) for name in task.runs}
        for name in task.runs:
            evaluation = self.cache.evaluation(keys[name])
            if evaluation is not None:
                found[name] = evaluation
                self.clock.found("evaluation", keys[name], self.cache.took("evaluation", keys[name]))
        reused = metrics is not None and len(found) == len(task.runs)
        failure = None
        fitted = _Once(lambda: group.fit(task))
        try:
            if metrics is None:
                with self.clock.computing("fit", key):
                    metrics = fitted().metrics
                self.cache.put_fit(key, metrics, self.clock.computed("fit", key))
            else:
                self.clock.found("fit", key, self.cache.took("fit", key))
            for name in task.runs:
                if name not in found:
                    log.info("evaluating %s on %s", task.variant, name)
                    model = fitted().calculator
                    with self.clock.computing("evaluation", keys[name]):
                        found[name] = evaluate_potential(
                            model, self.runs[name], self.config.evaluate, task.selected.frames, self.runs
                        )
                    self.cache.put_evaluation(keys[name], found[name], self.clock.computed("evaluation", keys[name]))
            self._verify(task, group, fitted)
        except FitError as error:
            failure, metrics, found = str(error), without_fit(task), {}
            log.warning("no potential %s: %s", task.variant, error)
        return Outcome(
            variant=task.variant,
            metrics=metrics,
            labels=tuple(f"{run}/{name}" for run, name in task.selected.members),
            settings=task.settings.hyperparameters(),
            regularisation=task.regularisation.expected_errors(),
            evaluations={name: found[name] for name in task.runs if name in found},
            failure=failure,
            reused=reused,
        )

    def _verify(self, task: Task, group: FitGroup, fitted: Callable[[], Fitted]) -> None:
        """Fit the first few potentials once more, by gap_fit alone."""
        if len(self.verified) >= self.config.study.verify:
            return
        key = f"verified-{fit_key(task)}"
        difference = self.cache.number(key)
        if difference is None:
            potential = fitted()
            with self.clock.computing("fit", key):
                difference = group.largest_difference(potential)
            self.cache.put_number(key, difference, self.clock.computed("fit", key))
        else:
            self.clock.found("fit", key, self.cache.took("number", key))
        self.verified[str(task.variant)] = difference


class _Once:
    """A fit that is made when it is first asked for, and not again."""

    def __init__(self, make: Callable[[], Fitted]) -> None:
        self._make = make
        self._made: Fitted | None = None

    def __call__(self) -> Fitted:
        if self._made is None:
            self._made = self._make()
        return self._made


def _warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """What went wrong with potentials, each once."""
    found = [f"{outcome.variant}: {outcome.failure}" for outcome in outcomes if outcome.failure is not None]
    for outcome in outcomes:
        for run, evaluation in outcome.evaluations.items():
            found += [f"{outcome.variant} on {run}: {warning}" for warning in evaluation.warnings]
    return list(dict.fromkeys(found))
