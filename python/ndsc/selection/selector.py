"""The state of a choice: labels that are paid for, what they say, and which candidates would say most next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.fit.linear_system import kinds_of
from ndsc.fit.soap import COMPONENTS
from ndsc.label_cost import LabelCost
from ndsc.progress import Progress, silent
from ndsc.selection.candidates import strata
from ndsc.selection.choice import Choice, choose_from
from ndsc.selection.given import GivenSigmas
from ndsc.selection.knowledge import Knowledge, Pool, same_rows
from ndsc.selection.model import LinearModel, single_atoms_of
from ndsc.selection.noise import Factors, Noise, Observations, calibration, sizes_of
from ndsc.selection.outliers import Believed, find_outliers
from ndsc.selection.posterior import Posterior
from ndsc.selection.prediction import PredictedErrors, predict_errors
from ndsc.selection.targets import Target
from ndsc.targets import frame_name, targets_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: What the cost of a label is counted in.
Unit = Literal["labels", "atoms", "seconds"]
#: Energies of single atoms (eV, by symbol), or what finds them from the labels that there are.
SingleAtoms: TypeAlias = Mapping[str, float] | Callable[[Sequence[Atoms]], Mapping[str, float]]
#: Candidates of each kind whose rows are computed at first.
FIRST_OF_KIND = 4
#: As many more of a kind are looked at when its best one is worth this part of the best of all.
PROMISING = 0.95
#: Memory of the rows of candidates, bytes, above which no others are looked at.
MOST_MEMORY = 4e9


class Selector:
    """Chooses labels by information, and sees no label but those that it is given.

    Parameters
    ----------
    model : LinearModel
    candidates : sequence of ase.Atoms
        To choose from. Labels that they carry are not looked at.
    targets : sequence of Target
    unit : "labels", "atoms" or "seconds"
        What the cost of a label is counted in.
    cost : callable or array, optional
        Seconds of structures, or of each candidate; by default fitted to the labels that there are.
    kpoints : bool
        Whether the calculator samples k-points, for the cost of labels.
    overhead : float, s
        Added to the seconds of every label: what choosing and fitting take, however cheap the label is.
    e0 : mapping of str to eV, or callable, optional
        Energies of single atoms, or what finds them from the labels; by default the model's, or else the mean energy
        per atom of the labels.
    progress : callable
        Called with (task, done, total) while rows are computed.

    Raises
    ------
    InputError
        When there are no candidates or no targets, or costs are not positive.
    """

    def __init__(
        self,
        model: LinearModel,
        candidates: Sequence[Atoms],
        targets: Sequence[Target],
        *,
        unit: Unit = "seconds",
        cost: Callable[[Sequence[Atoms]], FloatArray] | FloatArray | None = None,
        kpoints: bool = True,
        overhead: float = 0.0,
        e0: SingleAtoms | None = None,
        progress: Progress = silent,
    ) -> None:
        if not targets:
            raise InputError(
                "There are no targets to choose labels for. Give a PhononTarget, an ElasticTarget or others."
            )
        self.model, self.targets, self.unit = model, list(targets), unit
        self.candidates = list(candidates)
        self.progress = progress
        self.noise = Noise()
        self._e0, self._kpoints, self._cost, self._overhead = e0, kpoints, cost, overhead
        self._rows: dict[int, FloatArray] = {}
        self._kinds = strata(self.candidates)
        self._labelled: list[Atoms] = []
        self._label_rows: list[FloatArray] = []
        self._seconds: list[float] = []
        self._weights: list[float] = []
        self._given: list[GivenSigmas | None] = []
        #: Of the labels, in the order in which they were added.
        self.outlier_numbers: tuple[int, ...] = ()
        self._taken: set[int] = set()
        self._gains: dict[int, float] = {}
        self._prepared = False
        self._check_costs()

    # What is known

    def add(
        self,
        frames: Sequence[Atoms],
        *,
        candidates: Sequence[int] = (),
        seconds: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        given: Sequence[GivenSigmas | None] | None = None,
    ) -> None:
        """Take labels into account.

        Parameters
        ----------
        frames : sequence of ase.Atoms
            With targets (``REF_*``).
        candidates : sequence of int
            Number of the candidate that each is, where they are candidates; these are not chosen again.
        seconds : sequence of float, optional
            What each label took.
        weights : sequence of float, optional
            How many times each counts; once by default.
        given : sequence of GivenSigmas or None, optional
            What is given of the sigmas of each; by default all are found from the labels.
        """
        self._taken |= set(candidates)
        if not frames:
            return
        if candidates and len(candidates) != len(frames):
            raise InputError(
                f"{len(frames)} labels were given as {len(candidates)} candidates. Give one number for each."
            )
        known = [self._rows.get(number) for number in candidates] or [None] * len(frames)
        missing = [frame for frame, rows in zip(frames, known, strict=True) if rows is None]
        computed = iter(self.model.rows(missing, progress=self.progress))
        found = [next(computed) if rows is None else rows for rows in known]
        there = len(self._labelled)
        before = Believed(self.posterior, self.noise, self.factors) if there else None
        self._label_rows += found
        self._labelled += frames
        self._weights += [1.0] * len(frames) if weights is None else list(weights)
        self._given += [None] * len(frames) if given is None else list(given)
        self._seconds += [np.nan] * len(frames) if seconds is None else list(seconds)
        self._judge(range(there, len(self._labelled)), before)

    def offer(self, candidates: Sequence[Atoms]) -> None:
        """Add candidates, whose numbers follow those that there are.

        Raises
        ------
        InputError
            When the costs of candidates were given one by one.
        """
        if isinstance(self._cost, np.ndarray):
            raise InputError("The cost of each candidate was given, so that there cannot be others. Give a function.")
        self.candidates += candidates
        self._kinds = strata(self.candidates)
        self._check_costs()

    def skip(self, candidates: Sequence[int]) -> None:
        """Do not choose some candidates, such as those whose calculation failed."""
        self._taken |= set(candidates)

    @cached_property
    def labels(self) -> Observations:
        """All labels as rows of numbers, without outliers."""
        return self._observed.without_frames(self.outlier_numbers)

    @property
    def _observed(self) -> Observations:
        """All labels as rows of numbers; outliers have no part in the energies of single atoms."""
        counted = [number for number in range(len(self._labelled)) if number not in self.outlier_numbers]
        e0 = self._e0([self._labelled[number] for number in counted]) if callable(self._e0) else self._e0
        e0 = single_atoms_of(self.model) if e0 is None else e0
        return observations(
            self._labelled, self._label_rows, self.model.n_weights, e0,
            weights=self._weights, counted=counted, given=self._given,
        )  # fmt: skip

    @property
    def outliers(self) -> list[Atoms]:
        """Labelled configurations that contradict all others, see :mod:`ndsc.selection.outliers`; they do not count."""
        return [self._labelled[number] for number in self.outlier_numbers]

    @cached_property
    def posterior(self) -> Posterior:
        """What the labels say of the weights."""
        return Posterior.of_labels(self.labels, self.noise)

    @cached_property
    def factors(self) -> Factors:
        """How many times larger than by the posterior errors are."""
        return calibration(self.labels, self.noise) if self._labelled else Factors()

    @cached_property
    def error_rows(self) -> list[FloatArray]:
        """Of each target the (t, m) rows of its errors, see :meth:`~ndsc.selection.Target.error_rows`."""
        self._prepare()
        return [target.error_rows(self.posterior) for target in self.targets]

    def predict(self) -> PredictedErrors:
        """Expected errors of a potential that is fitted to the labels there are."""
        return predict_errors(self.posterior, self.targets, factors=self.factors, error_rows=self.error_rows)

    def _judge(self, new: Sequence[int], before: Believed | None) -> None:
        """Which labels are believed, and how noisy they are, once there are new ones."""
        found = find_outliers(self._observed, new=new, known=self.outlier_numbers, before=before)
        self.outlier_numbers, self.noise = found.frames, found.noise
        for name in ("labels", "posterior", "factors", "error_rows"):
            self.__dict__.pop(name, None)

    # What it would cost

    def costs(self) -> FloatArray:
        """(n,) array : seconds of each candidate, by the labels that there are."""
        if isinstance(self._cost, np.ndarray):
            return self._cost
        if self._cost is not None:
            return np.asarray(self._cost(self.candidates), dtype=float)
        return self.label_cost(self.candidates) + self._overhead

    @property
    def seconds(self) -> list[float]:
        """What each label took, NaN where that is not known."""
        return list(self._seconds)

    @property
    def label_cost(self) -> LabelCost:
        """What labels take, by those that there are."""
        return LabelCost.of_labels([len(frame) for frame in self._labelled], self._seconds, kpoints=self._kpoints)

    def weights(self) -> FloatArray:
        """(n,) array : cost of each candidate, in its unit."""
        if self.unit == "labels":
            return np.ones(len(self.candidates))
        if self.unit == "atoms":
            return np.array([len(frame) for frame in self.candidates], dtype=float)
        return self.costs()

    def _check_costs(self) -> None:
        costs = self.weights()
        if costs.shape != (len(self.candidates),) or not np.all(np.isfinite(costs)) or not np.all(costs > 0):
            raise InputError(
                f"The costs of {len(self.candidates)} candidates are not as many positive numbers. Give the seconds of "
                "each, or leave them out."
            )

    # What to label next

    def choose(
        self,
        n: int,
        *,
        budget: float = np.inf,
        enough: Callable[[FloatArray], bool] | None = None,
        exchange: bool = False,
    ) -> Choice:
        """The next candidates to label.

        Parameters
        ----------
        n : int
            How many at the most.
        budget : float
            In the unit of costs.
        enough : callable, optional
            Told the expected squares of the errors of all targets (in units of their goals), says whether to stop.
        exchange : bool
            Whether to exchange candidates for better ones in the end.
        """
        costs = self.weights()
        affordable = [i for i in range(len(self.candidates)) if i not in self._taken and costs[i] <= budget]
        errors = [rows / target.goal for rows, target in zip(self.error_rows, self.targets, strict=True)]
        pool = Pool(self._rows.__getitem__, self._variances, costs)
        self._look(affordable)
        known = [number for number in affordable if number in self._rows and not self._is_labelled(number)]

        def more(ratios: Mapping[int, float]) -> list[int]:
            return [number for number in self._look_closer(affordable, ratios) if not self._is_labelled(number)]

        found = choose_from(
            Knowledge(pool, self.posterior.root, errors), known,
            n=n, budget=budget, enough=enough, gains=self._gains, exchange=exchange, more=more,
        )  # fmt: skip
        self._gains |= found.gains
        return found

    def _is_labelled(self, number: int) -> bool:
        """Whether a structure that is labelled is the same as a candidate."""
        return any(same_rows(self._rows[number], rows) for rows in self._label_rows)

    def _variances(self, number: int, uncertain: FloatArray) -> FloatArray:
        """Variances of the noise of a candidate's label, for the size that each of its numbers is expected to have."""
        n = len(self.candidates[number])
        kinds = kinds_of(n)
        sizes = sizes_of(kinds, (self._rows[number] @ self.posterior.mean) ** 2 + uncertain)
        return self.noise.variances(kinds, sizes, n)

    def _prepare(self) -> None:
        """Rows of the targets, once."""
        if self._prepared:
            return
        frames = [target.frames() for target in self.targets]
        rows = iter(self.model.rows([frame for own in frames for frame in own], progress=self.progress))
        for target, own in zip(self.targets, frames, strict=True):
            target.prepare([next(rows) for _ in own])
        self._prepared = True

    def _look(self, numbers: Sequence[int]) -> None:
        """Rows of the first candidates of each kind."""
        wanted: list[int] = []
        for own in self._by_kind(numbers).values():
            missing = [number for number in own if number not in self._rows]
            wanted += missing[: max(0, FIRST_OF_KIND - len(own) + len(missing))]
        self._compute(wanted)

    def _look_closer(self, numbers: Sequence[int], ratios: Mapping[int, float]) -> list[int]:
        """More candidates of the kinds that come near the best one, whose rows are computed for this."""
        wanted: list[int] = []
        for own in self._by_kind(numbers).values():
            missing = [number for number in own if number not in self._rows]
            if missing and max((ratios.get(number, 0.0) for number in own), default=0.0) > PROMISING:
                wanted += missing[:FIRST_OF_KIND]
        return self._compute(wanted)

    def _by_kind(self, numbers: Sequence[int]) -> dict[tuple[Any, ...], list[int]]:
        found: dict[tuple[Any, ...], list[int]] = {}
        for number in numbers:
            found.setdefault(self._kinds[number], []).append(number)
        return found

    def _compute(self, numbers: Sequence[int]) -> list[int]:
        """Rows of candidates, as many as memory is meant for; which."""
        held = sum(rows.nbytes for rows in self._rows.values())
        room: list[int] = []
        for number in numbers:
            held += 8 * (7 + 3 * len(self.candidates[number])) * self.model.n_weights
            if held > MOST_MEMORY:
                break
            room.append(number)
        if room:
            rows = self.model.rows([self.candidates[number] for number in room], progress=self.progress)
            self._rows |= dict(zip(room, rows, strict=True))
        return room


def observations(
    frames: Sequence[Atoms],
    rows: Sequence[FloatArray],
    n_weights: int,
    e0: Mapping[str, float] | None = None,
    *,
    weights: Sequence[float] | None = None,
    counted: Sequence[int] | None = None,
    given: Sequence[GivenSigmas | None] | None = None,
) -> Observations:
    """The targets that labelled configurations have, with their rows.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With targets (``REF_*``); what is missing is left out.
    rows : sequence of (1 + 3 n + 6, m) arrays
    n_weights : int
        m.
    e0 : mapping of str to eV, optional
        Energies of single atoms; the mean energy per atom by default.
    weights : sequence of float, optional
        How many times each frame counts; once by default.
    counted : sequence of int, optional
        Frames whose mean energy counts; all by default.
    given : sequence of GivenSigmas or None, optional
        What is given of the sigmas of each frame.
    """
    found = [targets_of(frame, where=frame_name(frame, number)) for number, frame in enumerate(frames)]
    for_mean = range(len(frames)) if counted is None else counted
    known = [(energy, len(frames[number])) for number in for_mean if (energy := found[number].energy) is not None]
    mean = sum(energy for energy, _ in known) / sum(n for _, n in known) if known else 0.0
    parts: list[tuple[Any, ...]] = []
    sigmas: list[GivenSigmas] = []
    for number, (frame, one, own) in enumerate(zip(frames, found, rows, strict=True)):
        n = len(frame)
        single = n * mean if e0 is None else sum(e0[symbol] for symbol in frame.get_chemical_symbols())
        values = np.concatenate(
            [
                [np.nan if one.energy is None else one.energy - single],
                np.full(3 * n, np.nan) if one.forces is None else one.forces.reshape(-1),
                np.full(len(COMPONENTS), np.nan) if one.virial is None else one.virial[list(COMPONENTS)],
            ]
        )
        there = np.isfinite(values)
        count = int(there.sum())
        one_given = None if given is None else given[number]
        sigmas.append((one_given or GivenSigmas.none(len(there))).subset(there))
        parts.append((own[there], values[there], kinds_of(n)[there], np.full(count, n), np.full(count, number)))
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Observations(np.zeros((0, n_weights)), np.zeros(0), empty, empty, empty)
    own_rows, values, kinds, n_atoms, frame_of = (np.concatenate([part[i] for part in parts]) for i in range(5))
    times = None if weights is None or set(weights) <= {1.0} else np.asarray(weights, dtype=float)[frame_of]
    together = GivenSigmas.joined(sigmas)
    return Observations(
        own_rows, values, kinds, n_atoms, frame_of, weights=times, given=None if together.is_nothing else together
    )
