"""A choice of labels without labelling: of a run before it is made, or of a database of any origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.config import RunConfig, SeveralConfig
from ndsc.configurations import strata
from ndsc.crystal import Crystal
from ndsc.database import make_database
from ndsc.errors import InputError
from ndsc.fit.composition import fitted_energies
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.training import isolated_energies
from ndsc.label_cost import LabelCost
from ndsc.potentials.base import Basis
from ndsc.potentials.registry import fitter_of
from ndsc.progress import Progress, silent
from ndsc.reference import Label
from ndsc.selection import ElasticTarget, EnergyTarget, PhononTarget, Selection, Target, select_configurations
from ndsc.selection.elastic_target import PART_OF_LARGEST
from ndsc.selection.given import GivenSigmas
from ndsc.selection.selector import FIRST_OF_KIND, MOST_MEMORY
from ndsc.selection.settings import SelectionSettings
from ndsc.selection.sheet_target import elastic_target
from ndsc.supercells import SupercellSet
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, frame_name, is_isolated_atom
from ndsc.workflow.dry_run import plan_without_calculations
from ndsc.workflow.joint import make_joint_plan
from ndsc.workflow.plan import Plan
from ndsc.workflow.selection import targets_of_plan
from ndsc.workflow.selection_effort import MATRICES

#: Folders of the sparse points and of the rows, the same as those of a run.
SPARSE_POINTS, ROWS = "sparse-points", "rows"
#: Operations of a processor a second, independent rows of targets, and how many candidates are looked at for each pick.
OPERATIONS, TARGET_ROWS, PART_RENEWED = 5e9, 100, 0.35


@dataclass(frozen=True, eq=False)
class Preview:
    """What there is to choose from, and what for.

    Attributes
    ----------
    crystals : mapping of str to Crystal
        By name; the only one has the name ``""``.
    candidates : list of ase.Atoms
    labelled : list of ase.Atoms
        With targets; they count as there.
    seconds : list of float
        What the label of each took, NaN where that is not known.
    targets : list of Target
    owners : list of str
        The name of the crystal that each target is about.
    offered : list of ase.Atoms
        Structures that sparse points are chosen from, the unit cell first.
    fit : FitterSettings
    kpoints : bool
        Whether the calculator samples k-points, for the cost of labels.
    relaxed : bool
        False where the crystal of a run is still to be relaxed, so that all structures will be others.
    single_atoms : mapping of str to eV, optional
        Energies that are subtracted from those of the labels.
    weights : list of float, optional
        How many times each label counts; once by default.
    given : list of GivenSigmas or None, optional
        What is given of the sigmas of each label.
    """

    crystals: Mapping[str, Crystal]
    candidates: list[Atoms]
    labelled: list[Atoms]
    seconds: list[float]
    targets: list[Target]
    owners: list[str]
    offered: list[Atoms]
    fit: FitterSettings
    kpoints: bool = True
    relaxed: bool = True
    single_atoms: Mapping[str, float] | None = None
    weights: list[float] | None = None
    given: list[GivenSigmas | None] | None = None

    @property
    def cost(self) -> LabelCost:
        """What a label costs: seconds where some that are there have a time, else in units of that of one atom."""
        return LabelCost.of_labels([len(frame) for frame in self.labelled], self.seconds, kpoints=self.kpoints)

    def model(self, directory: Path, *, workers: int = 1, progress: Progress = silent) -> Basis:
        """The potential: sparse points chosen from all structures, and rows that are kept in the folder.

        Parameters
        ----------
        directory : path
        workers : int
            Processes that compute rows.
        progress : callable
            Called with (task, done, total).

        Raises
        ------
        MissingExtraError
            When the package of the potential is not installed.
        FitError
            When sparse points cannot be chosen.
        """
        return self._basis(directory, workers, progress=progress)

    def _basis(self, directory: Path, workers: int, *, quick: bool = False, progress: Progress = silent) -> Basis:
        kind = fitter_of(self.fit)
        kind.require()
        return kind.basis(
            self.offered,
            directory / SPARSE_POINTS,
            self.fit,
            store=directory / ROWS,
            workers=workers,
            quick=quick,
            progress=progress,
        )

    def select(
        self,
        model: Basis,
        *,
        n: int | None,
        target_thz: float | None = None,
        target_elastic_percent: float | None = None,
        seconds: float | None = None,
        progress: Progress = silent,
    ) -> Selection:
        """Choose; see :func:`ndsc.selection.select_configurations`.

        Parameters
        ----------
        model : Basis
        n : int, optional
        target_thz, target_elastic_percent : float, optional
        seconds : float, s, optional
            The most that all labels may take together.
        progress : callable
            Called with (task, done, total).

        Raises
        ------
        InputError
            When seconds are given that do not pay for one label, or no label says how long one takes, or as in
            `select_configurations`.
        """
        cost = self.cost
        if seconds is not None and not cost.fitted:
            raise InputError(
                f"{seconds:g} seconds cannot be used as a limit, because no label has a recorded time yet. Give a "
                "number of labels or a target, or label a few first."
            )
        cheapest = float(min(cost(self.candidates)))
        if seconds is not None and cheapest > seconds:
            raise InputError(
                f"{seconds:g} seconds are too few for a single label: the cheapest takes about {cheapest:.3g}. Give "
                "more."
            )
        only_number = n is not None and target_thz is None and target_elastic_percent is None and seconds is None
        return select_configurations(
            self.candidates,
            model,
            self.targets,
            n=n,
            target_thz=target_thz,
            target_elastic_percent=target_elastic_percent if self.has_elastic else None,
            budget=seconds,
            cost="labels" if only_number else cost,
            labelled=self.labelled,
            weights=self.weights,
            given=self.given,
            e0=self.single_atoms,
            progress=progress,
        )

    @property
    def has_elastic(self) -> bool:
        """Whether elastic constants are among the targets."""
        return any(isinstance(one, ElasticTarget) for one in self.targets)

    def estimate(self, directory: Path, *, n: int, workers: int = 1) -> Estimate:
        """How long the choice takes and how much memory, from the rows of one structure.

        Parameters
        ----------
        directory : path
            A folder for sparse points that are drawn by chance, which takes no time.
        n : int
            How many are to be chosen.
        workers : int
        """
        kinds, first = Counter[tuple[Any, ...]](), []
        for number, kind in enumerate(strata(self.candidates)):
            first += [number] if kinds[kind] < FIRST_OF_KIND else []
            kinds[kind] += 1
        basis = self._basis(directory, workers, quick=True)
        m = basis.n_weights
        always = [*self.labelled, *(frame for target in self.targets for frame in target.frames())]
        fewest = basis.seconds_for([*always, *(self.candidates[number] for number in first)])
        most = basis.seconds_for([*always, *self.candidates])
        held = 8 * m * sum(7 + 3 * len(frame) for frame in self.candidates)
        computing = basis.memory_gb([max([*always, *self.candidates], key=len)])
        own = 8 * m * (sum(7 + 3 * len(frame) for frame in always) + MATRICES * m)
        numbers = np.array([7.0 + 3 * len(frame) for frame in self.candidates])
        # Products of the rows of each candidate with the covariance, with the targets, and with what is taken.
        beside = TARGET_ROWS + (m if self.labelled else 0) + n * PART_RENEWED * numbers
        products = 2 * m * float(np.sum(numbers * (numbers + beside)))
        return Estimate(
            candidates=len(self.candidates),
            kinds=len(kinds),
            labelled=len(self.labelled),
            weights=m,
            fewest_rows=len(first),
            row_seconds=(fewest, most),
            choice_seconds=products / OPERATIONS,
            memory_gb=computing + (min(held, MOST_MEMORY) + own) / 1e9,
        )


@dataclass(frozen=True)
class Estimate:
    """What a choice takes.

    Attributes
    ----------
    candidates, kinds, labelled, weights : int
    fewest_rows : int
        Candidates whose rows are computed in any case.
    row_seconds : tuple of two floats, s
        Time of rows: of these candidates, and of all.
    choice_seconds : float, s
        Time of the choice itself, with the rows of all.
    memory_gb : float
    """

    candidates: int
    kinds: int
    labelled: int
    weights: int
    fewest_rows: int
    row_seconds: tuple[float, float]
    choice_seconds: float
    memory_gb: float


def preview_of_run(
    config: RunConfig | SeveralConfig, directory: Path, *, dynamics: bool = True, progress: Progress = silent
) -> Preview:
    """What a run would choose from; labels that its store has count as there, and none is computed.

    Parameters
    ----------
    config : RunConfig or SeveralConfig
        Of several crystals, labels are chosen for all together, as a run chooses them.
    directory : path
        Folder of the run, which need not exist.
    dynamics : bool
        Whether molecular dynamics is run where its frames are not there.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError
        When the input file asks for what cannot be done, makes no potential, or all its configurations are labelled.
    """
    common = config if isinstance(config, RunConfig) else config.common
    if common.fit.method == "none":
        raise InputError("[fit] method = 'none' makes no potential to choose labels for. Remove it.")
    if isinstance(config, RunConfig):
        plan = plan_without_calculations(config, directory, dynamics=dynamics, progress=progress)
    else:
        plan = make_joint_plan(config, directory, compute=False, dynamics=dynamics, progress=progress)
    frames = [*plan.always_labelled, *plan.candidates]
    labels = _stored_labels(plan, frames, progress) if plan.relaxed else {}
    plan.databases.check_labels(make_database(plan.perfect_unit_cells, labels), plan.spec.name)
    labelled = [*make_database(frames, labels), *plan.databases.frames]
    candidates = [frame for frame in frames if frame.info["ndsc_name"] not in labels]
    if not candidates:
        raise InputError(
            f"All {len(frames)} configurations of the input file are labelled, so none is left to choose. Raise "
            "per_supercell in [configurations], or leave the section out."
        )
    targets = [(str(one.name or ""), target) for one in plan.each for target in targets_of_plan(one)]
    decorations = [atoms for _, one in targets if isinstance(one, EnergyTarget) for atoms in one.frames()]
    return Preview(
        crystals={str(one.name or ""): one.crystal for one in plan.each},
        candidates=candidates,
        labelled=labelled,
        seconds=[
            labels[name].cost_seconds if (name := str(frame.info["ndsc_name"])) in labels else float("nan")
            for frame in labelled
        ],
        targets=[target for _, target in targets],
        owners=[name for name, _ in targets],
        offered=[*frames, *plan.unlabelled, *plan.databases.frames, *decorations],
        fit=plan.potential,
        kpoints=plan.spec.kgrid is not None,
        relaxed=all(one.relaxed or one.waits_for_dynamics for one in plan.each),
        single_atoms=_single_atoms(labelled, common.fit),
        weights=[*[1.0] * (len(labelled) - len(plan.databases.frames)), *plan.databases.weights],
        given=[*[None] * (len(labelled) - len(plan.databases.frames)), *plan.databases.given],
    )


def preview_of_database(
    frames: Sequence[Atoms],
    supercells: SupercellSet,
    fit: FitterSettings,
    settings: SelectionSettings,
    *,
    new: Sequence[Atoms] | None = None,
) -> Preview:
    """What to choose from a database, or to complete it with.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Configurations with and without targets (``REF_*``).
    supercells : SupercellSet
        Of the grid of the phonons.
    fit : FitterSettings
    settings : SelectionSettings
        Their targets weigh phonons and elastic constants against each other.
    new : sequence of ase.Atoms, optional
        Candidates that are not in the database. With them, configurations that have targets count as there; without,
        all are candidates, and no target is looked at.

    Raises
    ------
    InputError
        When there are no configurations, or one has a species that the crystal lacks.
    """
    crystal = supercells.crystal
    if not frames:
        raise InputError("The database has no configurations. Give one with at least one configuration.")
    own = set(crystal.atoms.get_chemical_symbols())
    for number, frame in enumerate(frames):
        foreign = sorted(set(frame.get_chemical_symbols()) - own)
        if foreign:
            raise InputError(
                f"{frame_name(frame, number)} of the database has {', '.join(foreign)}, which the crystal "
                f"{crystal.atoms.get_chemical_formula()} does not have. Give the crystal whose phonons are the "
                "target, or leave such "
                "configurations out."
            )
    bulk = [frame for frame in frames if not is_isolated_atom(frame)]
    labelled = [] if new is None else [frame for frame in bulk if _has_targets(frame)]
    candidates = [*(frame for frame in bulk if new is None or not _has_targets(frame)), *(new or [])]
    if not candidates:
        raise InputError(
            "The database has only isolated atoms, so there is nothing to choose. Give a database of a crystal."
        )
    targets: list[Target] = [PhononTarget(crystal, supercells, settings.target_thz)]
    elastic = elastic_target(crystal, settings.target_elastic_percent * PART_OF_LARGEST)
    targets += [] if elastic is None else [elastic]
    return Preview(
        crystals={"": crystal},
        candidates=candidates,
        labelled=labelled,
        seconds=[float("nan")] * len(labelled),
        targets=targets,
        owners=[""] * len(targets),
        offered=[crystal.atoms, *candidates, *labelled],
        fit=fit,
        single_atoms=None if new is None else _single_atoms([*frames], fit),
    )


def _has_targets(frame: Atoms) -> bool:
    return ENERGY_KEY in frame.info or VIRIAL_KEY in frame.info or FORCES_KEY in frame.arrays


def _stored_labels(plan: Plan, frames: Sequence[Atoms], progress: Progress) -> dict[str, Label]:
    """The labels of configurations that are in the store, by name."""
    found: dict[str, Label] = {}
    if not plan.store.path.is_dir():
        return found
    for number, frame in enumerate(frames):
        progress("looking up labels", number, len(frames))
        key = plan.store.key_of(frame, plan.spec)
        label = plan.store.get(key) if key in plan.store else None
        if label is not None:
            found[str(frame.info["ndsc_name"])] = label
    progress("looking up labels", len(frames), len(frames))
    return found


def _single_atoms(frames: Sequence[Atoms], fit: FitterSettings) -> Mapping[str, float] | None:
    """Energies of single atoms: those given, or of isolated atoms, or those that describe the energies best."""
    known = [frame for frame in frames if ENERGY_KEY in frame.info]
    if isinstance(fit.e0, Mapping) or not known:
        return fit.e0 if isinstance(fit.e0, Mapping) else None
    species = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    alone = {} if fit.e0 == "fit" else isolated_energies(known, fit.cutoff)
    if set(species) <= set(alone):
        return alone
    return dict.fromkeys(species, 0.0) | fitted_energies(known, strict=False)
