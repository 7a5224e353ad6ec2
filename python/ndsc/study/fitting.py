"""Fitting the potentials of a study: one linear system for all that share their sparse points."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ndsc.files import ScratchFolder
from ndsc.fit import GapSettings, Regularisation, apply_regularisation, fit_gap
from ndsc.fit.calculator import GapCalculator
from ndsc.fit.evaluation import Errors, evaluate
from ndsc.fit.linear_system import LinearSystem
from ndsc.fit.training import single_atom_energies
from ndsc.potentials.base import Fitted as PotentialFitted
from ndsc.potentials.fitting import fit_potential
from ndsc.potentials.linear import LeastSquares
from ndsc.potentials.registry import fitter_of
from ndsc.selection import GapModel, LinearModel, Noise, Target
from ndsc.selection.noise import FITTED_SCALE, most_probable_noise
from ndsc.selection.selector import observations
from ndsc.study.models import PoolModels, targets_of_run
from ndsc.study.runs import StudyRun
from ndsc.study.variants import FitTask
from ndsc.targets import frame_name, targets_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted potential of a study.

    Attributes
    ----------
    task : FitTask
    calculator : ase.calculators.calculator.Calculator
        Works as long as the folder of the group of fits is there.
    metrics : dict of str to float or None
        :data:`~ndsc.study.results.FIT_METRICS`.
    sparse_points : path or None
        XML file of a potential with the same sparse points, where it is a GAP.
    e0 : dict of str to eV
    regularisation : Regularisation
        Of the task, or the one that makes its labels most probable.
    model : callable
        Gives the potential as a linear model.
    noise : Noise or None
        Where it was found by the evidence.
    """

    task: FitTask
    calculator: Calculator
    metrics: dict[str, float | None]
    sparse_points: Path | None
    e0: dict[str, float]
    regularisation: Regularisation
    model: Callable[[], LinearModel]
    noise: Noise | None = None


class FitGroup(ScratchFolder):
    """The fits that share their sparse points; use it as a context, which removes its files in the end.

    Parameters
    ----------
    tasks : sequence of FitTask
        With the same sparse points.
    folder : path
        Where the temporary folder is made.
    models : PoolModels
    """

    def __init__(self, tasks: Sequence[FitTask], folder: Path, models: PoolModels) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        self.tasks = list(tasks)
        self.models = models
        self._points: _Points | None = None
        self._system: LinearSystem | None = None
        self._numbers: dict[int, int] = {}
        self._rows: dict[int, FloatArray] = {}
        self._targets: dict[str, list[Target]] = {}

    def fit(self, task: FitTask) -> Fitted:
        """Fit one of the tasks.

        Raises
        ------
        NdscError
            When the fit fails.
        """
        if not isinstance(task.settings, GapSettings):
            return self._fit_from_basis(task)
        alone = len(self.tasks) == 1 or task.settings.solver == "gap_fit"
        if alone and task.own_pool and task.regularisation is not None:
            return self._fit_alone(task, task.settings)
        return self._fit_from_system(task, task.settings)

    def largest_difference(self, fitted: Fitted) -> float:
        """Largest difference (eV/Å) of a force on the training data from a fit by itself; of a GAP, by gap_fit.

        Raises
        ------
        NdscError
            When that fit fails.
        """
        task, folder = fitted.task, self.path / "verified"
        frames = apply_regularisation(task.selected.frames, fitted.regularisation)
        again: PotentialFitted
        if isinstance(task.settings, GapSettings):
            settings = task.settings.replaced(e0=fitted.e0, solver="gap_fit")
            again = fit_gap(frames, folder, settings, fixed_sparse_points=fitted.sparse_points)
        else:
            prior = None if fitted.noise is None else FITTED_SCALE
            again = fit_potential(frames, folder, task.settings.replaced(e0=fitted.e0), prior=prior)
        ours = evaluate(task.selected.frames, fitted.calculator)
        shutil.rmtree(folder, ignore_errors=True)
        return float(np.max(np.abs(ours.model_forces - again.predictions.model_forces)))

    def targets(self, fitted: Fitted, run: StudyRun) -> list[Target]:
        """What is predicted of a run's crystal, prepared with the rows of the potentials of the group."""
        if run.name not in self._targets:
            targets = targets_of_run(run, run.config.selection)
            rows = iter(fitted.model().rows([frame for target in targets for frame in target.frames()]))
            for target in targets:
                target.prepare([next(rows) for _ in target.frames()])
            self._targets[run.name] = targets
        return self._targets[run.name]

    def _fit_alone(self, task: FitTask, settings: GapSettings) -> Fitted:
        fit = fit_gap(
            apply_regularisation(task.selected.frames, task.regularisation),
            self.path / "alone",
            settings,
            sparse_only=task.pool_unlabelled,
            reuse=False,
        )
        calculator = fit.calculator()
        held_out = None if task.left_out is None else evaluate(task.left_out.frames, calculator).errors()["all"]
        metrics = fit_metrics(task, sum(fit.n_sparse.values()), fit.seconds, fit.predictions.errors()["all"], held_out)
        model = functools.cache(lambda: GapModel(fit.xml_path, sparse_jitter=settings.sparse_jitter))
        return Fitted(task, calculator, metrics, fit.xml_path, fit.e0, _regularisation_of(task), model)

    def _fit_from_basis(self, task: FitTask) -> Fitted:
        """By our own least squares, with rows that the group computes once."""
        first, kind = self.tasks[0], fitter_of(task.settings)
        basis = self.models.of(first.sparse_key, first.pool_unlabelled, first.settings)
        rest = [] if task.left_out is None else list(task.left_out.frames)
        missing = [frame for frame in (*task.selected.frames, *rest) if id(frame) not in self._rows]
        self._rows |= dict(zip(map(id, missing), basis.rows(missing), strict=True))
        started = time.perf_counter()
        frames, m = list(task.selected.frames), basis.n_weights
        rows = [self._rows[id(frame)] for frame in frames]
        e0 = single_atom_energies(frames, task.settings)
        noise = None
        if task.regularisation is None:
            noise = most_probable_noise(observations(frames, rows, m, e0))
        regularisation = _regularisation_of(task, noise)
        system, numbers = LeastSquares(m), {atomic_numbers[symbol]: energy for symbol, energy in e0.items()}
        for number, (frame, own) in enumerate(zip(apply_regularisation(frames, regularisation), rows, strict=True)):
            system.add_frame(frame, own, numbers, frame_name(frame, number))
        z = system.solve(scale=kind.prior(task.settings) if noise is None else FITTED_SCALE).z
        seconds = time.perf_counter() - started
        folder = self.path / f"solved-{self.tasks.index(task)}"
        calculator = kind.calculator(basis.write(z, e0, folder))
        learned, held_out = self._force_errors(frames, z), self._force_errors(rest, z)
        metrics = fit_metrics(task, m, seconds, learned, held_out if rest else None)
        return Fitted(task, calculator, metrics, None, e0, regularisation, lambda: basis, noise)

    def _force_errors(self, frames: Sequence[Atoms], z: FloatArray) -> Errors:
        found = [
            self._rows[id(frame)][1:-6] @ z - forces.ravel()
            for frame in frames
            if (forces := targets_of(frame).forces) is not None
        ]
        rmse = float(np.sqrt(np.mean(np.concatenate(found) ** 2))) if found else None
        return Errors(len(frames), None, rmse, None)

    def _fit_from_system(self, task: FitTask, settings: GapSettings) -> Fitted:
        points, system = self._prepared()
        started = time.perf_counter()
        numbers = [self._numbers[id(frame)] for frame in task.selected.frames]
        e0 = points.e0
        if e0 is None:
            e0 = single_atom_energies(task.selected.frames, task.settings)
            system = system.with_single_atoms({atomic_numbers[symbol]: energy for symbol, energy in e0.items()})
        noise = None
        if task.regularisation is None:
            rows = [points.model.whitened(system.rows[system.frame_of == number]) for number in numbers]
            labels = observations(task.selected.frames, rows, points.model.n_weights, e0)
            noise = most_probable_noise(labels)
        regularisation = _regularisation_of(task, noise)
        weights = system.solve(numbers, regularisation, sparse_jitter=settings.sparse_jitter)
        seconds = time.perf_counter() - started
        # The calculator of the fit before may still be alive, so that each has a folder of its own.
        folder = self.path / f"solved-{self.tasks.index(task)}"
        calculator = GapCalculator(system.write_potential(weights, folder))
        predicted = system.predict(weights)
        held_out = None
        if task.left_out is not None:
            held_out = predicted.errors_of([self._numbers[id(frame)] for frame in task.left_out.frames])
        metrics = fit_metrics(task, points.model.n_weights, seconds, predicted.errors_of(numbers), held_out)
        model, potential = points.model, points.model.potential
        return Fitted(task, calculator, metrics, potential, dict(e0), regularisation, lambda: model, noise)

    def _prepared(self) -> tuple[_Points, LinearSystem]:
        """Sparse points, and the linear system of all configurations of all tasks."""
        if self._points is None or self._system is None:
            self._points = self._chosen_points(self.tasks[0])
            frames: dict[int, Atoms] = {}
            for task in self.tasks:
                rest = () if task.left_out is None else task.left_out.frames
                frames |= {id(frame): frame for frame in (*task.selected.frames, *rest)}
            self._numbers = {key: number for number, key in enumerate(frames)}
            self._system = LinearSystem.from_rows(self._points.model.kernels, list(frames.values()))
        return self._points, self._system

    def _chosen_points(self, first: FitTask) -> _Points:
        settings = first.settings
        assert isinstance(settings, GapSettings)
        if first.from_structures:
            model = self.models.of(first.sparse_key, first.pool_unlabelled, settings)
            assert isinstance(model, GapModel)
            return _Points(model)
        points = fit_gap(
            apply_regularisation(first.pool, _regularisation_of(first)),
            self.path / "points",
            settings.replaced(solver="numpy"),
            sparse_only=first.pool_unlabelled,
            reuse=False,
        )
        return _Points(GapModel(points.xml_path, sparse_jitter=settings.sparse_jitter), points.e0)


@dataclass(frozen=True, eq=False)
class _Points:
    """Sparse points that fits share, and the energies of single atoms where these go with them."""

    model: GapModel
    e0: dict[str, float] | None = None


def _regularisation_of(task: FitTask, noise: Noise | None = None) -> Regularisation:
    return task.regularisation or (Regularisation() if noise is None else noise.regularisation())


def fit_metrics(
    task: FitTask,
    n_sparse: int | None = None,
    seconds: float | None = None,
    learned: Errors | None = None,
    held_out: Errors | None = None,
) -> dict[str, float | None]:
    """:data:`~ndsc.study.results.FIT_METRICS`; without a fit, only what the labels of the task cost."""
    selected = task.selected
    return {
        "n_labels": len(selected.members),
        "n_atoms": selected.n_atoms,
        "label_seconds": round(selected.seconds, 3),
        "atoms_cubed": selected.atoms_cubed,
        "n_sparse": n_sparse,
        "fit_seconds": None if seconds is None else round(seconds, 4),
        "train_force_rmse_ev_per_angstrom": None if learned is None else learned.force_rmse_ev_per_angstrom,
        "held_out_labels": 0 if task.left_out is None else len(task.left_out.members),
        "held_out_force_rmse_ev_per_angstrom": None if held_out is None else held_out.force_rmse_ev_per_angstrom,
    }
