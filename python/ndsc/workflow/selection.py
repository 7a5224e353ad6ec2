"""Labels that are chosen: a batch, what it says of phonons and elastic constants, and the next one, until it is enough.

A choice never depends on labels that have not been chosen, not even on those that are in the store already. So a run
that was stopped goes the same way again, without calculating anything, and then on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.database import make_database
from ndsc.dynamics import melting_warning
from ndsc.errors import InputError
from ndsc.files import ScratchFolder, write_text
from ndsc.fit.composition import fitted_energies
from ndsc.fit.same_reference import same_structures
from ndsc.fit.training import single_atom_energies
from ndsc.phonon_path import band_path
from ndsc.potentials.registry import fitter_of
from ndsc.progress import Progress
from ndsc.qgrid import Grid, irreducible_qpoints
from ndsc.reference import Label
from ndsc.reference.processes import cores
from ndsc.selection import (
    EnergyTarget,
    PhononTarget,
    PredictedErrors,
    PressureTarget,
    Selector,
    Target,
)
from ndsc.selection.elastic_target import PART_OF_LARGEST
from ndsc.selection.prediction import predict_errors, predict_phonons
from ndsc.selection.selector import SingleAtoms
from ndsc.selection.sheet_target import elastic_target
from ndsc.sheet import across_one
from ndsc.workflow.labelling import Labeller
from ndsc.workflow.plan import Plan

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

#: What choosing one label takes itself, s: labels that cost less are worth about the same, however small they are.
OWN_SECONDS = 3.0
#: Labels below which a prediction is not relied on.
FEWEST_LABELS = 4
#: A batch is at least this part of the labels that there are: fewer at a time hardly choose better.
LABELS_PER_BATCH = 5
#: Labels help little when the last third of them lowered the prediction by less than this part.
LITTLE = 0.15
#: Forces that are wrong by more than this part, by the labels themselves, are more than the potential can represent.
LARGE_MISFIT = 0.02
#: Configurations that are left out are wrong by more than this times what is expected, for the same reason.
LARGE_FACTOR = 2.0
#: Mesh of the predicted frequencies.
MESH: Grid = (20, 20, 20)
#: Points of the predicted density of states: with more, less smearing would show the q-points of the mesh.
DENSITY_POINTS = 120
#: The target of energies of decorations, and how many of these it is about.
ENERGIES, MOST_DECORATIONS = "energies of decorations", 60
EQUATION_OF_STATE = "equation of state"
#: What progress calls this.
TASK = "choosing labels"


@dataclass(frozen=True)
class Step:
    """What was known after a batch of labels.

    Attributes
    ----------
    labels : int
        Labels of the database so far.
    seconds : float, s
        Time of all of them.
    predicted : PredictedErrors
        Of several crystals, the largest errors.
    each : tuple of PredictedErrors
        Of each crystal.
    """

    labels: int
    seconds: float
    predicted: PredictedErrors
    each: tuple[PredictedErrors, ...]


@dataclass
class ChosenLabels:
    """A choice of labels while it is made, and what came of it.

    Attributes
    ----------
    plan : Plan
        Of one crystal, or of several, for which labels are then chosen together: the errors of all count alike.
    directory : path
        Folder of the run.
    progress : callable
    steps : list of Step
    reason : str
        Why no more labels were chosen.
    advice : str
        What to change in the input file where the target is not met.
    target_met : bool
    names, failed : list of str
        Labelled configurations in the order of their labels, and those whose calculation failed.
    dynamics_labels : int
        How many labels the potential had that ran molecular dynamics; 0 where there was none.
    dynamics_failure : str
        Why there was none.
    """

    plan: Plan
    directory: Path
    progress: Progress
    steps: list[Step] = field(default_factory=list)
    reason: str = ""
    advice: str = ""
    target_met: bool = False
    names: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    dynamics_labels: int = 0
    dynamics_failure: str = ""

    def __post_init__(self) -> None:
        self.settings = self.plan.config.selection
        self.candidates = self.plan.candidates
        self.targets = [targets_of_plan(one) for one in self.plan.each]
        # Where energies of decorations are a target, the potential must be able to tell what it does not know of them.
        wanted = [
            atoms for own in self.targets for one in own if isinstance(one, EnergyTarget) for atoms in one.frames()
        ]
        offered = [*self.candidates, *self.plan.unlabelled, *self.plan.databases.frames, *wanted]
        potential = self.plan.potential
        self.basis = fitter_of(potential).basis(
            [*self.plan.always_labelled, *offered],
            self.directory / "sparse-points",
            potential,
            store=self.directory / "rows",
            workers=cores(),
            progress=self.progress,
        )
        self.selector = Selector(
            self.basis,
            self.candidates,
            [target for own in self.targets for target in own],
            overhead=OWN_SECONDS,
            kpoints=self.plan.spec.kgrid is not None,
            e0=self._e0(),
            progress=self.progress,
        )
        self._order = []
        if self.settings.method == "random":
            self._order = self._random_order()

    def choose(self, label: Labeller) -> list[str]:
        """Choose and label until it is enough.

        Parameters
        ----------
        label : callable
            Labels configurations and returns all labels of the run so far.

        Returns
        -------
        list of str
            What is doubtful.
        """
        always = [*self.plan.always_labelled, *(single.atoms for single in self.plan.single_atoms)]
        self._add(always, (), label([], TASK).labels)
        databases = self.plan.databases
        self.selector.add(databases.frames, weights=databases.weights, given=databases.given)
        self._step()
        while not self._finished():
            self.progress(TASK, len(self.names), self.settings.max_labels)
            numbers = self._next()
            if not numbers:
                break
            wanted = [self.candidates[number] for number in numbers]
            report = label(wanted, "labels")
            self._add(wanted, numbers, report.labels)
            if not any(str(atoms.info["ndsc_name"]) in report.labels for atoms in wanted):
                continue  # failed: others are chosen instead
            self._step()
            self._run_dynamics()
        self.progress(TASK, self.settings.max_labels, self.settings.max_labels)
        doubtful = [_outlier_warning(self.outliers)] if self.outliers else []
        doubtful += self._doubts_of_dynamics()
        if not self.target_met:
            self.advice = self._advice()
            doubtful.append(self.summary)
        else:
            log.info("%s", self.summary)
        for text in doubtful:
            log.warning("%s", text)
        return doubtful

    @property
    def summary(self) -> str:
        """What was reached, and why it ended, in a few sentences."""
        last = self.steps[-1].predicted
        said = [
            f"{value:.2g} {unit}"
            for value, unit in (
                (last.rmse_thz, "THz"),
                (last.elastic_percent, "% in elastic constants"),
                (last.others.get(ENERGIES), "meV per atom in energies of decorations"),
                (last.others.get(EQUATION_OF_STATE), "GPa in the equation of state"),
            )
            if value is not None
        ]
        text = f"Predicted errors with {self.steps[-1].labels} labels: {' and '.join(said)}. {self.reason}"
        return f"{text} {self.advice}".strip()

    @property
    def outliers(self) -> list[Atoms]:
        """Labelled configurations that contradict all others and are not fitted, with their labels."""
        return self.selector.outliers

    @property
    def configurations(self) -> list[Atoms]:
        """The unperturbed unit cell, single atoms and what was chosen, in the order of labels; no outliers."""
        left_out = {str(atoms.info["ndsc_name"]) for atoms in self.outliers}
        wanted = [name for name in (*self.names, *self.failed) if name not in left_out]
        names = {name: number for number, name in enumerate(wanted)}
        found = [atoms for atoms in self.plan.to_fit if str(atoms.info["ndsc_name"]) in names]
        return sorted(found, key=lambda atoms: names[str(atoms.info["ndsc_name"])])

    def save_prediction(self, directory: Path, crystal: int = 0) -> None:
        """Write what is predicted of the phonons to ``phonons/predicted.json``: bands on path and mesh, and density.

        Parameters
        ----------
        directory : path
        crystal : int
            Number of the crystal.

        Raises
        ------
        InputError
            When the folder cannot be written.
        """
        target = self.targets[crystal][0]
        path = band_path(target.crystal)
        divisions = across_one(MESH) if target.crystal.is_sheet else MESH
        mesh, weights = irreducible_qpoints(target.crystal, divisions)
        # One after the other: at the zone centre of a polar crystal, frequencies depend on where the path leads.
        found, on_mesh = (
            predict_phonons(self.selector.posterior, target, qpoints, factor=self.selector.factors.bands)
            for qpoints in (path.qpoints, mesh)
        )
        axis = np.linspace(
            min(0.0, float(on_mesh.frequencies.min())), 1.05 * float(on_mesh.frequencies.max()), DENSITY_POINTS
        )
        density, spread = on_mesh.density(axis, weights)
        document: dict[str, Any] = {
            "factor": found.factor,
            "born": target.nac_params is not None,
            "path_distances": path.distances,
            "path_ticks": path.ticks,
            "path_labels": path.labels,
            "path_segments": path.segments,
            "path_qpoints": path.qpoints,
            "path_frequencies": found.frequencies,
            "path_deviations": found.deviations,
            "mesh": list(divisions),
            "mesh_qpoints": mesh,
            "mesh_weights": weights,
            "mesh_frequencies": on_mesh.frequencies,
            "mesh_deviations": on_mesh.deviations,
            "dos_frequencies": axis,
            "dos": density,
            "dos_deviation": spread,
        }
        folder = directory / "phonons"
        folder.mkdir(exist_ok=True)
        write_text(folder / "predicted.json", json.dumps(_plain(document)) + "\n")

    # One after the other

    def _random_order(self) -> list[int]:
        """Candidates in an order by chance, without those that are labelled."""
        there = {b for _, b in same_structures(self.plan.databases.frames, self.candidates)}
        labelled = {*self.names, *self.failed}
        return [
            number
            for number in _random_order(self.candidates)
            if number not in there and str(self.candidates[number].info["ndsc_name"]) not in labelled
        ]

    def _e0(self) -> SingleAtoms | None:
        """How energies of single atoms follow from labels; None for the mean energy per atom."""
        fit = self.plan.config.fit
        if fit.e0 == "fit":
            return partial(fitted_energies, strict=False)
        # The configurations of one crystal have one composition, so that it does not matter there.
        several = bool(self.plan.databases.each) or len(self.plan.each) > 1 or self.plan.substitutes
        return partial(single_atom_energies, settings=fit) if several else None

    def _add(self, frames: Sequence[Atoms], numbers: Sequence[int], labels: dict[str, Label]) -> None:
        self.failed += [name for atoms in frames if (name := str(atoms.info["ndsc_name"])) not in labels]
        there = [position for position, atoms in enumerate(frames) if str(atoms.info["ndsc_name"]) in labels]
        self.selector.skip(numbers)
        if not there:
            return
        names = [str(frames[position].info["ndsc_name"]) for position in there]
        self.names += names
        self.selector.add(
            make_database([frames[position] for position in there], labels),
            candidates=[numbers[position] for position in there] if numbers else (),
            seconds=[labels[name].cost_seconds for name in names],
        )

    def _run_dynamics(self) -> None:
        """Molecular dynamics by the potential of the labels so far, if it is not there yet: more candidates.

        Where a trajectory fails with it, the next batch makes a better one.
        """
        parts = [part for one in self.plan.each for part in one.config.current_dynamics]
        if not parts or self.dynamics_labels:
            return
        potential = self.plan.potential
        kind = fitter_of(potential)
        keys = {
            str(atoms.info["ndsc_name"]): self.plan.store.key_of(atoms, self.plan.spec) for atoms in self.candidates
        }
        known = {
            "labels": sorted(keys.get(name, name) for name in self.names),
            "databases": [len(frame) for frame in self.plan.databases.frames],
            "method": kind.name,
            "fit": potential.hyperparameters(),
        }
        with ScratchFolder() as scratch:
            path = self.basis.write(self.selector.posterior.mean, dict.fromkeys(self.plan.symbols, 0.0), scratch.path)
            try:
                plan = self.plan.with_current_dynamics(kind.calculator(path), known, self.progress)
            except InputError as error:
                log.info("no molecular dynamics with %d labels: %s", len(self.names), error)
                self.dynamics_failure = str(error)
                return
        there = {str(atoms.info["ndsc_name"]) for atoms in self.candidates}
        frames = [atoms for atoms in plan.candidates if str(atoms.info["ndsc_name"]) not in there]
        self.plan, self.dynamics_labels = plan, len(self.names)
        self.candidates = [*self.candidates, *frames]
        self.selector.offer(frames)
        if self.settings.method == "random":
            self._order = self._random_order()
        log.info("%d frames of molecular dynamics with the potential of %d labels", len(frames), len(self.names))

    def _doubts_of_dynamics(self) -> list[str]:
        """What is doubtful about molecular dynamics by the potential of the labels so far."""
        if self.dynamics_labels:
            found = [
                melting_warning(one.sources.dynamics[str(part.name)], one.supercells.atoms)
                for one in self.plan.each
                for part in one.config.current_dynamics
            ]
            return [text for text in found if text is not None]
        if not self.dynamics_failure:
            return []
        return [f"No frames of molecular dynamics were candidates. {self.dynamics_failure}"]

    def _step(self) -> None:
        each = self._predict()
        predicted = each[0] if len(each) == 1 else _largest(each)
        self.steps.append(Step(len(self.names), self._spent(), predicted, each))
        log.info("%d labels: %s", len(self.names), predicted)

    def _predict(self) -> tuple[PredictedErrors, ...]:
        """Expected errors of each crystal."""
        rows, first, found = self.selector.error_rows, 0, []
        for own in self.targets:
            last = first + len(own)
            found.append(
                predict_errors(self.selector.posterior, own, factors=self.selector.factors, error_rows=rows[first:last])
            )
            first = last
        return tuple(found)

    def _spent(self) -> float:
        return float(np.nansum(self.selector.seconds)) if self.selector.seconds else 0.0

    def _next(self) -> list[int]:
        """The next batch; empty where there is none, with the reason."""
        settings = self.settings
        n = min(max(settings.batch, len(self.names) // LABELS_PER_BATCH), settings.max_labels - len(self.names))
        left = np.inf if settings.max_seconds is None else settings.max_seconds - self._spent()
        if settings.method == "random":
            seconds = self.selector.label_cost(self.candidates)
            numbers: list[int] = []
            while self._order and len(numbers) < n and seconds[[*numbers, self._order[0]]].sum() <= left:
                numbers.append(self._order.pop(0))
        else:
            numbers = list(self.selector.choose(n, budget=left + n * OWN_SECONDS).order)
        if not numbers:
            self.reason = (
                f"Every label that would reduce the errors is expected to take more than the {max(left, 0):.3g} s that "
                f"[selection] max_seconds = {settings.max_seconds:g} leaves."
                if settings.max_seconds is not None and np.isfinite(left) and left < self._dearest()
                else "The remaining candidates would reduce the errors no further."
            )
        return numbers

    def _dearest(self) -> float:
        return float(np.max(self.selector.label_cost(self.candidates), initial=0.0))

    def _finished(self) -> bool:
        settings = self.settings
        reached = all(value <= goal for value, goal in self._errors(self.steps[-1].predicted) if value is not None)
        if len(self.names) + len(self.plan.databases.frames) >= FEWEST_LABELS and reached and self._doubtful() is None:
            self.target_met = True
            self.reason = "The targets are expected to be met."
        elif len(self.names) >= settings.max_labels:
            self.reason = f"[selection] max_labels = {settings.max_labels} is reached."
        elif settings.max_seconds is not None and self._spent() >= settings.max_seconds:
            self.reason = f"[selection] max_seconds = {settings.max_seconds:g} is reached."
        return bool(self.reason)

    def _errors(self, predicted: PredictedErrors) -> list[tuple[float | None, float]]:
        """Expected errors, None for what is no target, and how large they may be."""
        settings = self.settings
        return [
            (predicted.rmse_thz, settings.target_thz),
            (predicted.elastic_percent, settings.target_elastic_percent),
            (predicted.others.get(ENERGIES), settings.target_mev),
            (predicted.others.get(EQUATION_OF_STATE), settings.target_gpa or np.inf),
        ]

    def _doubtful(self) -> float | None:
        """An imaginary frequency of the potential that more labels may well make real."""
        factor = self.selector.factors.forces
        found = (own[0].doubtful_instability(self.selector.posterior, factor) for own in self.targets)
        return min((frequency for frequency in found if frequency is not None), default=None)

    def _advice(self) -> str:
        """The key to change where the target is not met."""
        last, fit = self.steps[-1].predicted, self.plan.potential
        earlier = self.steps[max(0, len(self.steps) - 1 - len(self.steps) // 3)].predicted
        stands = any(
            now is not None and before is not None and now > goal and now > (1 - LITTLE) * before
            for (now, goal), (before, _) in zip(self._errors(last), self._errors(earlier), strict=True)
        )
        misfit = max(last.factor, last.elastic_factor) > LARGE_FACTOR or self.selector.noise.relative > LARGE_MISFIT
        if len(self.steps) > FEWEST_LABELS and (stands or misfit):
            text = (
                "More labels hardly help, because the potential cannot represent them: "
                f"{fitter_of(fit).larger(fit)}, or choose from smaller displacements in [configurations]"
            )
            if any(len(one.symbols) > 1 for one in self.plan.each):
                text += "; if the crystal is ionic, forces reach beyond any cutoff, which no such potential has"
            return f"{text}."
        key = "max_seconds" if "max_seconds" in self.reason else "max_labels"
        return f"Raise [selection] {key}, or the targets."


def targets_of_plan(plan: Plan) -> tuple[PhononTarget, *tuple[Target, ...]]:
    """What the database of a run is made for.

    Phonons, of crystals and sheets the elastic constants, where atoms are substituted energies of decorations, and the
    equation of state where the input file asks for it.
    """
    settings = plan.config.selection
    phonons = PhononTarget(plan.crystal, plan.phonon_supercells, settings.target_thz, nac_params=plan.nac_params)
    others: list[Target] = []
    if plan.config.elastic.enabled:
        goal = settings.target_elastic_percent * PART_OF_LARGEST
        elastic = elastic_target(plan.crystal, goal, relax_ions=plan.config.elastic.relax_ions)
        others += [] if elastic is None else [elastic]
    if plan.substitutes:
        others.append(EnergyTarget(plan.decorations(MOST_DECORATIONS), settings.target_mev, name=ENERGIES))
    if settings.target_gpa is not None:
        others.append(PressureTarget(plan.crystal, settings.target_gpa))
    return phonons, *others


def _outlier_warning(outliers: Sequence[Atoms]) -> str:
    """That labels contradict all others, and where to look."""
    names = ", ".join(str(atoms.info["ndsc_name"]) for atoms in outliers)
    one = len(outliers) == 1
    return (
        f"The {'label' if one else 'labels'} of {names} {'contradicts' if one else 'contradict'} all others and "
        f"{'is' if one else 'are'} not fitted: see outliers.extxyz. {'Its' if one else 'Their'} calculation may have "
        "ended in another electronic state, or the atoms are where the reference is not smooth. Compute "
        f"{'it' if one else 'them'} again with tighter convergence, or use smaller displacements."
    )


def _largest(each: Sequence[PredictedErrors]) -> PredictedErrors:
    """The largest errors of several crystals; elastic constants are those of each."""
    names = (
        "rmse_thz", "elastic_percent", "statistical_rmse_thz", "statistical_elastic_percent", "factor",
        "elastic_factor",
    )  # fmt: skip
    values = {name: [value for one in each if (value := getattr(one, name)) is not None] for name in names}
    others: dict[str, float] = {}
    for one in each:
        others |= {name: max(value, others.get(name, 0.0)) for name, value in one.others.items()}
    return PredictedErrors(**{name: max(found) for name, found in values.items() if found}, others=others)


def _plain(value: Any) -> Any:
    """Arrays as rounded lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return np.round(value, 6).tolist() if isinstance(value, np.ndarray) else value


def _random_order(candidates: Sequence[Atoms]) -> list[int]:
    """All candidates in an order that their names decide, the same on every machine."""
    keys = [hashlib.sha256(str(atoms.info["ndsc_name"]).encode()).hexdigest() for atoms in candidates]
    return sorted(range(len(candidates)), key=keys.__getitem__)
