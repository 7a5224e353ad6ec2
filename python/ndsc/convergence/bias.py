"""The bias of a database's settings: what a limit changes in forces, virials, lattice, phonons and elastic constants.

A noise table compares a database with denser k-points and a higher cutoff, and does not see what a wide smearing does
to all labels alike. Here the limit is another physics too: a smearing that is narrow enough, with the k-points that it
needs. Results are compared as a person would quote them, each with a target of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.convergence.bias_rows import Modes, elastic_rows, force_rows, lattice_rows, phonon_rows, virial_rows
from ndsc.convergence.bias_table import (
    QUANTITIES,
    BiasRow,
    BiasTable,
    BiasTargets,
    changed_settings,
    check_quantities,
)
from ndsc.convergence.sample import count_kpoints
from ndsc.convergence.scan import copy_labels
from ndsc.crystal import Crystal
from ndsc.elastic import ElasticConstants, elastic_constants, strained_cells
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.force_constants import phonon_displacements, phonons_from_labels
from ndsc.kpoints import check_kgrid_folds
from ndsc.progress import Progress, silent
from ndsc.reference import CalculatorSpec, ExecutorSettings, Label, LabelStore, StoredCalculator, label_configurations
from ndsc.reference.label_file import keys_of
from ndsc.reference.settings import describe_code_versions
from ndsc.relaxation import relax_crystal
from ndsc.supercells import find_supercells

FloatArray = NDArray[np.float64]
Lattice = Literal["own", "given"]

#: The q-points of this grid are Γ and points of the zone boundary.
BOUNDARY = 2
#: What the calculations of a table are called.
CONFIGURATIONS, PHONONS, ELASTIC = "configurations", "phonons", "elastic constants"
#: Residual forces in perfect supercells, eV/Å, of a crystal that was relaxed with other settings.
LARGEST_RESIDUAL = 0.5


@dataclass(frozen=True)
class BiasSettings:
    """What is compared, and how.

    Attributes
    ----------
    quantities : tuple of str
        Any of ``"forces"``, ``"virials"``, ``"lattice"``, ``"phonons"``, ``"elastic"``.
    lattice : "own" or "given"
        Phonons and elastic constants at the relaxed lattice of each settings, or both at the crystal given.
    grid : int or three ints
        q-points of the phonons; those of 2 x 2 x 2 are Γ and points of the zone boundary.
    displacement : float, Å
        Of the frozen phonons.
    strain, relax_ions
        Of the elastic constants (:func:`~ndsc.elastic.elastic_constants`).
    """

    quantities: tuple[str, ...] = QUANTITIES
    lattice: Lattice = "own"
    grid: int | Sequence[int] = BOUNDARY
    displacement: float = 0.01
    strain: float = 0.005
    relax_ions: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantities", check_quantities(self.quantities))
        if self.lattice not in ("own", "given"):
            raise InputError(f"lattice = {self.lattice!r} is not known. Give 'own' or 'given'.")

    @property
    def uses_configurations(self) -> bool:
        """Whether configurations are calculated."""
        return bool({"forces", "virials"} & set(self.quantities))

    @property
    def relaxes(self) -> bool:
        """Whether the crystal is relaxed with each of the two settings."""
        follows = {"phonons", "elastic"} if self.lattice == "own" else set()
        return bool({"lattice", *follows} & set(self.quantities))


@dataclass(frozen=True)
class BiasPlan:
    """What :func:`bias_table` will calculate.

    Attributes
    ----------
    rows : list of dict
        For people and for JSON, one for each kind of calculation: ``what``, ``calculations`` (of one settings; the
        least where ions or a cell relax), ``atoms`` of all, ``kpoints`` and ``limit_kpoints`` (folded ones of all
        together, or None), and ``to_compute`` and ``limit_to_compute`` (those that are not in a store, as far as that
        can be known before the crystals are relaxed).
    """

    rows: list[dict[str, Any]]

    @property
    def to_compute(self) -> int:
        """Calculations to be made, at least."""
        return sum(row["to_compute"] + row["limit_to_compute"] for row in self.rows)


class _Layered(LabelStore):
    """A store that has what another one has too, and copies what it is asked for from there."""

    def __init__(self, store: LabelStore, known: LabelStore | None, *, copy: bool = True) -> None:
        super().__init__(store.path)
        self.known, self.copy = known, copy

    def __contains__(self, key: str) -> bool:
        return super().__contains__(key) or (self.known is not None and key in self.known)

    def get(self, key: str) -> Label | None:
        found = super().get(key)
        if found is None and self.known is not None:
            found = self.known.get(key)
            if found is not None and self.copy:
                self.put(key, found)
        return found


def plan_bias(
    configurations: Sequence[Atoms],
    crystal: Crystal,
    spec: CalculatorSpec,
    limit: CalculatorSpec,
    store: LabelStore,
    *,
    settings: BiasSettings | None = None,
    known: LabelStore | None = None,
) -> BiasPlan:
    """What :func:`bias_table` would calculate, and how much of it is there; its arguments have the same meaning.

    Raises
    ------
    InputError
        When the settings do not differ, or the calculator or its k-points cannot be used for what is asked.
    """
    settings = settings or BiasSettings()
    if not changed_settings(spec, limit):
        raise InputError(
            "The limit has the settings of the database. Change some: a narrower smearing, more k-points, a higher "
            "cutoff."
        )
    layered = _Layered(store, known, copy=False)
    for one in (spec, limit):
        one.check([crystal.atoms, *(configurations if settings.uses_configurations else [])])
        if "phonons" in settings.quantities:
            check_kgrid_folds(find_supercells(crystal, settings.grid).matrices, one.kgrid)
    rows = []
    tasks = _tasks(configurations, crystal, settings)
    for what, frames, moves in tasks:
        row: dict[str, Any] = {
            "what": what, "calculations": len(frames), "atoms": sum(len(atoms) for atoms in frames),
        }  # fmt: skip
        for prefix, one in (("", spec), ("limit_", limit)):
            counts = count_kpoints(frames, one)
            row[f"{prefix}kpoints"] = None if counts is None else sum(counts)
            lattice = _relaxed(crystal, _calculator(one, layered, None, compute=False)) if moves else crystal
            at = frames if lattice is crystal else _frames_of(what, lattice, settings, frames)
            row[f"{prefix}to_compute"] = len({key for key in keys_of(at, one) if key not in layered})
        rows.append(row)
    return BiasPlan(rows)


def bias_table(
    configurations: Sequence[Atoms],
    crystal: Crystal,
    spec: CalculatorSpec,
    limit: CalculatorSpec,
    store: LabelStore,
    *,
    settings: BiasSettings | None = None,
    targets: BiasTargets | None = None,
    known: LabelStore | None = None,
    executor: ExecutorSettings | None = None,
    progress: Progress = silent,
) -> BiasTable:
    """Compare the results of a calculator's settings with those of a limit.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        For forces and virials (:func:`sample_configurations`), the same for both settings; with ``info["ndsc_name"]``.
    crystal : Crystal
        The unit cell; both relaxations start from it.
    spec : CalculatorSpec
        The settings in question.
    limit : CalculatorSpec
        The settings that they should agree with (:func:`with_settings`).
    store : LabelStore
        Where the calculations are kept; what is there is not computed again.
    settings : BiasSettings, optional
    targets : BiasTargets, optional
        By how much results may differ.
    known : LabelStore, optional
        A store whose labels are copied instead of being computed: that of a run.
    executor : ExecutorSettings, optional
    progress : callable

    Raises
    ------
    InputError
        As :func:`plan_bias`.
    ReferenceCalculationError
        When a calculation fails; those that are finished are kept.
    """
    settings, targets = settings or BiasSettings(), targets or BiasTargets()
    plan_bias(configurations, crystal, spec, limit, store, settings=settings, known=known)
    options = (store, known, executor or ExecutorSettings(workers=1), progress)
    sides = (_Side("database", spec, *options), _Side("limit", limit, *options))
    rows = _rows(sides, configurations, crystal, settings, targets)
    every = [label for side in sides for label in side.used]
    notes = describe_code_versions(every)
    if not any(row.change for row in rows):
        notes.append(
            "Nothing depends on what the limit changes. Check the paths for spelling mistakes; settings without any "
            "bias are unlikely."
        )
    means = [_mean_cpu(side.of_configurations) for side in sides]
    return BiasTable(spec, limit, targets, tuple(rows), settings.lattice, means[0], means[1], tuple(notes))


def _rows(
    sides: tuple[_Side, _Side],
    configurations: Sequence[Atoms],
    crystal: Crystal,
    settings: BiasSettings,
    targets: BiasTargets,
) -> list[BiasRow]:
    """Everything that is asked for, the cheapest first."""
    rows: list[BiasRow] = []
    (database, limit), quantities = sides, settings.quantities
    if settings.uses_configurations:
        labels, limits = (side.labels(configurations, CONFIGURATIONS) for side in sides)
        if "forces" in quantities:
            rows += force_rows(configurations, labels, limits, targets)
        if "virials" in quantities:
            rows += virial_rows(configurations, labels, limits, targets)
    here = there = crystal
    if settings.relaxes:
        relaxed, relaxed_limit = database.relaxed(crystal), limit.relaxed(crystal)
        if "lattice" in quantities:
            rows += lattice_rows(relaxed, relaxed_limit, targets)
        if settings.lattice == "own":
            here, there = relaxed, relaxed_limit
    if "phonons" in quantities:
        rows += phonon_rows(database.phonons(here, settings), limit.phonons(there, settings), targets)
    if "elastic" in quantities:
        rows += elastic_rows(database.elastic(here, settings), limit.elastic(there, settings), targets)
    return rows


class _Side:
    """The calculations of one of the two settings."""

    def __init__(
        self,
        name: str,
        spec: CalculatorSpec,
        store: LabelStore,
        known: LabelStore | None,
        executor: ExecutorSettings,
        progress: Progress,
    ) -> None:
        self.name, self.spec, self.executor = name, spec, executor
        self.store, self.layered, self.known = store, _Layered(store, known), known
        self.progress = progress
        self.calculator = _calculator(spec, self.layered, executor)
        self.of_configurations: list[Label] = []
        self._labels: list[Label] = []

    @property
    def used(self) -> list[Label]:
        """All labels that were asked for."""
        return [*self._labels, *self.calculator.used.values()]

    def labels(self, frames: Sequence[Atoms], task: str) -> list[Label]:
        if self.known is not None:
            copy_labels(frames, self.spec, self.known, self.store)
        report = label_configurations(
            frames, self.spec, self.store, executor=self.executor, progress=self.progress,
            task=f"{task}, {self.name}", secondary=True,
        )  # fmt: skip
        report.require_all()
        found = [report.labels[atoms.info["ndsc_name"]] for atoms in frames]
        self._labels += found
        if task == CONFIGURATIONS:
            self.of_configurations = found
        return found

    def relaxed(self, crystal: Crystal) -> Crystal:
        return crystal.with_structure(relax_crystal(crystal, self.calculator, progress=self.progress))

    def phonons(self, crystal: Crystal, settings: BiasSettings) -> Modes:
        supercells = find_supercells(crystal, settings.grid)
        frames = phonon_displacements(supercells, displacement=settings.displacement)
        forces = [label.forces for label in self.labels(frames, PHONONS)]
        found = phonons_from_labels(supercells, frames, forces, residual_force_limit=LARGEST_RESIDUAL)
        frequencies = np.sort(np.array(found.phonopy.run_qpoints(found.exact_qpoints).frequencies), axis=1)
        return Modes(found.exact_qpoints, frequencies)

    def elastic(self, crystal: Crystal, settings: BiasSettings) -> ElasticConstants:
        return elastic_constants(
            crystal, self.calculator, strain=settings.strain, relax_ions=settings.relax_ions, progress=self.progress
        )


def _tasks(
    configurations: Sequence[Atoms], crystal: Crystal, settings: BiasSettings
) -> Iterator[tuple[str, list[Atoms], bool]]:
    """Kinds of calculations, their structures, and whether these follow from the relaxed lattice."""
    own = settings.lattice == "own"
    if settings.uses_configurations:
        yield CONFIGURATIONS, list(configurations), False
    if settings.relaxes:
        yield "relaxation, its first step", [crystal.atoms], False
    if "phonons" in settings.quantities:
        yield PHONONS, _frames_of(PHONONS, crystal, settings), own
    if "elastic" in settings.quantities:
        yield ELASTIC, _frames_of(ELASTIC, crystal, settings), own


def _frames_of(
    what: str, crystal: Crystal | None, settings: BiasSettings, otherwise: Sequence[Atoms] = ()
) -> list[Atoms]:
    """The structures of phonons or elastic constants of a crystal; of one that is not known, those of another."""
    if crystal is None:
        return list(otherwise)
    if what == PHONONS:
        supercells = find_supercells(crystal, settings.grid)
        return phonon_displacements(supercells, displacement=settings.displacement)
    return strained_cells(crystal, strain=settings.strain)


def _calculator(
    spec: CalculatorSpec, store: LabelStore, executor: ExecutorSettings | None, *, compute: bool = True
) -> StoredCalculator:
    if executor is None:
        return StoredCalculator(spec, store, compute=compute)
    return StoredCalculator(
        spec, store, threads=executor.threads, watched=executor.workers > 1, timeout=executor.timeout,
        retries=executor.retries, compute=compute,
    )  # fmt: skip


def _relaxed(crystal: Crystal, calculator: StoredCalculator) -> Crystal | None:
    """The relaxed crystal where the store has the whole relaxation."""
    try:
        return crystal.with_structure(relax_crystal(crystal, calculator))
    except ReferenceCalculationError:
        return None


def _mean_cpu(labels: Sequence[Label]) -> float | None:
    times = [label.cpu_seconds for label in labels if label.cpu_seconds is not None]
    return float(np.mean(times)) if times and len(times) == len(labels) else None
