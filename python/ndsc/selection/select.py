"""Choosing from candidates in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.fit import GapFit
from ndsc.progress import Progress, silent
from ndsc.selection.given import GivenSigmas
from ndsc.selection.model import GapModel, LinearModel, single_atoms_of
from ndsc.selection.noise import calibration, most_probable_noise
from ndsc.selection.posterior import Posterior
from ndsc.selection.prediction import PredictedErrors, PredictedPhonons, predict_errors, predict_phonons
from ndsc.selection.selector import Selector, Unit, observations
from ndsc.selection.targets import ElasticTarget, PhononTarget, Target

FloatArray = NDArray[np.float64]

#: Candidates that are exchanged for better ones in the end; with more, that takes longer than it is worth.
MOST_EXCHANGED = 24


@dataclass(frozen=True, eq=False)
class Selection:
    """Candidates in the order in which to label them, and how good a potential they make.

    Errors are those predicted after each label has been added to the ones that were there. They rest on what is known
    before: the labels of the candidates are not.

    Attributes
    ----------
    order : tuple of int
        Numbers of the candidates.
    predicted_rmse_thz : (n,) array or None
        Root-mean-square error of frequencies, THz; None without phonons among the targets. Of several crystals, the
        largest.
    predicted_elastic_percent : (n,) array or None
        Expected largest error of an elastic constant, per cent; None without elastic constants among the targets. Of
        several crystals, the largest.
    cost : (n,) array
        Of all labels up to each one, in the unit that was asked for.
    before : PredictedErrors
        Of a potential that is fitted to the labels that are there, before the first of these.
    target_met : bool or None
        Whether the target is expected to be met; None without one.
    reason : str
        Why there are no more, in a sentence.
    outliers : tuple of int
        Numbers of the labelled configurations that contradict all others and did not count.
    of_targets : tuple of (1 + n,) arrays
        The errors of each target, in its unit, before the first label and after each.
    """

    order: tuple[int, ...]
    predicted_rmse_thz: FloatArray | None
    predicted_elastic_percent: FloatArray | None
    cost: FloatArray
    before: PredictedErrors
    target_met: bool | None = None
    reason: str = ""
    outliers: tuple[int, ...] = ()
    of_targets: tuple[FloatArray, ...] = ()

    def __len__(self) -> int:
        return len(self.order)


def select_configurations(
    candidates: Sequence[Atoms],
    system: LinearModel | GapFit | str | Path,
    targets: Target | Sequence[Target],
    *,
    n: int | None = None,
    target_thz: float | None = None,
    target_elastic_percent: float | None = None,
    budget: float | None = None,
    cost: Unit | FloatArray | Sequence[float] | Callable[[Sequence[Atoms]], FloatArray] | None = None,
    labelled: Sequence[Atoms] = (),
    weights: Sequence[float] | None = None,
    given: Sequence[GivenSigmas | None] | None = None,
    e0: Mapping[str, float] | None = None,
    exchange: bool = True,
    progress: Progress = silent,
) -> Selection:
    """Choose the configurations whose labels tell most about what a potential is to give.

    No label of a candidate is looked at. Scale of the prior and noise come from `labelled` by marginal likelihood;
    without any, they are assumed, and only the order and the ratio of errors mean much.

    Parameters
    ----------
    candidates : sequence of ase.Atoms
        To choose from; see :func:`make_candidates`.
    system : LinearModel, GapFit or path
        A potential that is linear in its weights: for a GAP its fit, or its XML file.
    targets : Target or sequence of Target
        :class:`PhononTarget`, :class:`ElasticTarget` and others, also those of several crystals. Their goals weigh them
        against each other.
    n : int, optional
        How many to choose at the most.
    target_thz, target_elastic_percent : float, optional
        Stop when no larger errors are expected, of any crystal.
    budget : float, optional
        The most that the labels may cost together.
    cost : "labels", "atoms", "seconds", array or callable, optional
        What a label costs: the same for all ("labels", the default with `n`), its atoms, its seconds by the labels that
        there are (the default otherwise), the seconds of each candidate, or a function from structures to seconds.
    labelled : sequence of ase.Atoms
        Configurations with labels (``REF_*``) that will be fitted too.
    weights : sequence of float, optional
        How many times each of `labelled` counts; once by default.
    given : sequence of GivenSigmas or None, optional
        What is given of the sigmas of each of `labelled`; by default all are found from the labels.
    e0 : mapping of str to eV, optional
        Energies of single atoms; the mean energy per atom of `labelled` by default.
    exchange : bool
        Whether to exchange candidates for better ones in the end, which improves sets of a few.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    Selection
        With fewer candidates than asked for where the others are too dear or would tell nothing.

    Raises
    ------
    InputError
        When there is nothing to choose from or nothing to stop at, or a number is not positive.
    """
    goals = {"target_thz": target_thz, "target_elastic_percent": target_elastic_percent, "budget": budget}
    for name, value in goals.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} = {value!r} is not a positive number. Give one.")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
        raise InputError(f"n = {n!r} is not a whole number of at least 1. Give how many configurations to choose.")
    if n is None and all(value is None for value in goals.values()):
        raise InputError("Nothing says how many configurations to choose. Give n, target_thz or a budget.")
    if not candidates:
        raise InputError("There are no candidates to choose from. Give some; make_candidates makes them.")
    wanted = [targets] if isinstance(targets, Target) else list(targets)
    for one in wanted:
        if not hasattr(one, "error_rows"):
            raise InputError(f"{one!r} is not a target. Give PhononTarget, ElasticTarget or others of ndsc.selection.")
    unit, seconds = _cost(cost, "labels" if n is not None and budget is None else "seconds")
    selector = Selector(as_model(system), candidates, wanted, unit=unit, cost=seconds, e0=e0, progress=progress)
    selector.add(labelled, weights=weights, given=given)
    costs = selector.weights()
    starts = [_first_error(selector, number) for number in range(len(wanted))]
    kinds = {
        "rmse_thz": [number for number, one in enumerate(wanted) if isinstance(one, PhononTarget)],
        "elastic_percent": [number for number, one in enumerate(wanted) if isinstance(one, ElasticTarget)],
    }
    initial = np.array([np.linalg.norm(rows @ selector.posterior.root) for rows in selector.error_rows])

    def error(number: int, remaining: FloatArray) -> FloatArray:
        """The error of a target by the expected squares of all, as the prediction before the first label has it."""
        goal = wanted[number].goal
        return np.asarray(starts[number] * np.sqrt(remaining[..., number]) * goal / max(initial[number], 1e-300))

    def errors(name: str, remaining: FloatArray) -> FloatArray | None:
        """The largest error of the targets of a kind."""
        own = [error(number, remaining) for number in kinds[name]]
        return np.max(own, axis=0) if own else None

    def enough(remaining: FloatArray) -> bool:
        limits = {"rmse_thz": target_thz, "elastic_percent": target_elastic_percent}
        found = [(errors(name, remaining), limit) for name, limit in limits.items() if limit is not None]
        return bool(found) and all(value is not None and float(value) <= limit for value, limit in found)

    exchanged = exchange and n is not None and n <= MOST_EXCHANGED
    chosen = selector.choose(
        len(candidates) if n is None else int(n),
        budget=np.inf if budget is None else budget,
        enough=enough,
        exchange=exchanged,
    )
    asked = target_thz is not None or target_elastic_percent is not None
    found = {name: errors(name, chosen.remaining) for name in kinds}
    before = selector.predict()
    largest = {name: max((starts[number] for number in own), default=None) for name, own in kinds.items()}
    before = replace(before, rmse_thz=largest["rmse_thz"], elastic_percent=largest["elastic_percent"])
    met = enough(chosen.remaining[-1])
    spent = np.cumsum(costs[list(chosen.order)]) if chosen.order else np.zeros(0)
    left = np.delete(costs, list(chosen.order))
    if met:
        reason = "The target is expected to be met."
    elif n is not None and len(chosen.order) == n:
        reason = "This is the number that was asked for."
    elif not len(left):
        reason = "These are all candidates."
    elif budget is not None and left.min() + (spent[-1] if len(spent) else 0.0) > budget:
        reason = "The rest of the budget is too small for any of the remaining candidates."
    else:
        reason = "The remaining candidates would reduce the errors no further."
    return Selection(
        order=chosen.order,
        predicted_rmse_thz=None if found["rmse_thz"] is None else found["rmse_thz"][1:],
        predicted_elastic_percent=None if found["elastic_percent"] is None else found["elastic_percent"][1:],
        cost=spent,
        before=before,
        target_met=met if asked else None,
        reason=reason,
        outliers=selector.outlier_numbers,
        of_targets=tuple(error(number, chosen.remaining) for number in range(len(wanted))),
    )


def _first_error(selector: Selector, number: int) -> float:
    """The expected error of one of the targets, before anything is chosen, in its unit."""
    target, rows = selector.targets[number], selector.error_rows[number]
    found = predict_errors(selector.posterior, [target], factors=selector.factors, error_rows=[rows])
    values = (found.rmse_thz, found.elastic_percent, *found.others.values())
    return next(value for value in values if value is not None)


def predicted_phonons(
    labelled: Sequence[Atoms],
    system: LinearModel | GapFit | str | Path,
    target: PhononTarget,
    qpoints: Any,
    *,
    samples: int = 32,
    progress: Progress = silent,
) -> PredictedPhonons:
    """Frequencies and their standard deviations from labels alone, without a reference.

    Parameters
    ----------
    labelled : sequence of ase.Atoms
        With targets (``REF_*``).
    system : LinearModel, GapFit or path
        As in :func:`select_configurations`.
    target : PhononTarget
        Crystal and grid.
    qpoints : (n, 3) array
        Reduced coordinates.
    samples : int
        Draws from the posterior.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    PredictedPhonons
        Means and standard deviations in THz, at each q-point and branch.

    Raises
    ------
    InputError
        When nothing is labelled.
    """
    if not labelled:
        raise InputError(
            "No configuration has a label, so nothing is known about the phonons. Give configurations with labels."
        )
    model = as_model(system)
    frames = target.frames()
    rows = model.rows([*labelled, *frames], progress=progress)
    labels = observations(labelled, rows[: len(labelled)], model.n_weights, single_atoms_of(model))
    target.prepare(rows[len(labelled) :])
    noise = most_probable_noise(labels)
    posterior = Posterior.of_labels(labels, noise)
    return predict_phonons(posterior, target, qpoints, factor=calibration(labels, noise).bands, samples=samples)


def as_model(system: LinearModel | GapFit | str | Path) -> LinearModel:
    """A GAP as a linear model; what is one already passes through."""
    if isinstance(system, GapFit):
        return GapModel(system.xml_path, sparse_jitter=system.settings.sparse_jitter)
    return GapModel(system) if isinstance(system, str | Path) else system


def _cost(given: Any, default: Unit) -> tuple[Unit, Any]:
    if given is None:
        return default, None
    if isinstance(given, str):
        if given not in ("labels", "atoms", "seconds"):
            raise InputError(
                f"cost = {given!r} is not known. Give 'labels', 'atoms', 'seconds', numbers or a function."
            )
        return given, None  # type: ignore[return-value]
    if callable(given):
        return "seconds", given
    try:
        return "seconds", np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"cost = {given!r} is not a list of numbers. Give the seconds of each candidate.") from error
