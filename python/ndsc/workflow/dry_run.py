"""What a run would do and cost, without computing or writing anything."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from ndsc.config import RunConfig, SeveralConfig
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.kpoints import fold_kpoints
from ndsc.label_cost import LabelCost
from ndsc.potentials.registry import fitter_of
from ndsc.progress import Progress, silent
from ndsc.reference.processes import cores
from ndsc.report.text import count, estimated, seconds
from ndsc.store import DamagedError
from ndsc.workflow.checks import COUNTED, check_plan
from ndsc.workflow.databases import OwnDatabases
from ndsc.workflow.joint import JointPlan, make_joint_plan
from ndsc.workflow.plan import PendingPhononsError, Plan, make_plan
from ndsc.workflow.selection_effort import FEW_SUPERCELLS, SelectionEffort

#: Supercells that are listed one by one.
LISTED = 40
#: Labels whose time is read.
TIMED = 300


@dataclass(frozen=True)
class DryRun:
    """What a run would do and cost; ``str`` gives the summary for a person.

    Attributes
    ----------
    plan : Plan
    kpoints : tuple of ints
        Number of folded k-points of each supercell that is listed; empty for calculators without k-points.
    phonon_calculations : int
        Calculations behind the reference's phonons; 0 when these come from the diagonal supercell.
    in_store : int or None
        Labels that need not be computed again; None where they are not looked up.
    times : tuple of (int, float)
        Number of atoms, and seconds, of labels that are there.
    notes : tuple of str
        What a person should know before the run.
    selection : SelectionEffort or None
        What the choice of labels takes; None where all configurations are labelled.
    """

    plan: Plan
    kpoints: tuple[int, ...]
    phonon_calculations: int | None
    in_store: int | None
    notes: tuple[str, ...] = ()
    selection: SelectionEffort | None = None
    times: tuple[tuple[int, float], ...] = ()

    @property
    def relaxed(self) -> bool:
        """False when the crystal still has to be relaxed, so that no label can be looked up yet."""
        return self.plan.relaxed

    @property
    def cost(self) -> LabelCost:
        """What a label as large as the diagonal supercell takes, from the largest labels that are there."""
        atoms, seconds = [atoms for atoms, _ in self.times], [time for _, time in self.times]
        return LabelCost.of_largest(atoms, seconds, kpoints=self.plan.spec.kgrid is not None)

    @property
    def label_seconds(self) -> float | None:
        """The time of all configurations, s: the mean of the labels of each size, estimated for sizes without any."""
        if not self.cost.fitted:
            return None
        by_size: dict[int, list[float]] = {}
        for atoms, time in self.times:
            by_size.setdefault(atoms, []).append(time)
        cost = LabelCost.of_labels(*zip(*self.times, strict=True), kpoints=self.plan.spec.kgrid is not None)
        return sum(
            number * (float(np.mean(by_size[atoms])) if atoms in by_size else cost.seconds(atoms).value)
            for atoms, number in self.plan.counts.items()
        )

    @property
    def diagonal_atoms(self) -> int:
        """Atoms in the diagonal supercell of the grid."""
        return len(self.plan.crystal.atoms) * int(np.prod(self.plan.supercells.grid))

    def _fit(self) -> str:
        fit, size = self.plan.potential, self.plan.fit_size
        kind = fitter_of(fit)
        return f"about {kind.memory(fit, size) / 1e9:.2g} GB of memory with {kind.describe(fit)}"

    def __str__(self) -> str:
        return "\n".join(line for _, line in self.lines())

    def lines(self) -> list[tuple[bool, str]]:
        """The summary, and of each line whether it is about the crystal and not about the whole run."""
        plan = self.plan
        atoms = sum(number * size for size, number in plan.counts.items())
        waits = plan.waits_for_phonons or plan.waits_for_dynamics
        unrelaxed = "" if self.relaxed or waits else "; still to be relaxed"
        return [
            (True, f"Crystal         {plan.crystal.describe()}{unrelaxed}"),
            *((True, line) for line in self._supercell_lines()),
            *((False, f"Note            {note}") for note in self.notes),
            (not plan.selects, f"Configurations  {self._configurations(atoms)}"),
            *((False, f"Database        {line}") for line in plan.databases.lines()),
            *([] if self.selection is None else [(False, f"Selection       {self._selection(self.selection)}")]),
            *(
                (
                    False,
                    f"Single atom     {atom.atoms.info['ndsc_name']} with settings of its own, in a box of "
                    f"{' x '.join(f'{edge:.1f}' for edge in atom.atoms.cell.lengths())} Å",
                )
                for atom in plan.isolated
            ),
            (True, f"Phonons         {self._phonons()}"),
            *([] if plan.selects else [(True, f"Cost            {self._cost()}")]),
            (True, f"Labels          {self._labels()}"),
            *([] if plan.config.fit.method == "none" else [(False, f"Fit             {self._fit()}")]),
        ]

    def _configurations(self, atoms: int) -> str:
        plan, settings = self.plan, self.plan.config.selection
        if not plan.selects:
            unlabelled = f"{plan.n_unlabelled} without labels for sparse points"
            return f"{plan.n_configurations} to label ({atoms} atoms), {unlabelled}"
        how = "by chance" if settings.method == "random" else "by what they tell"
        limit = "" if settings.max_seconds is None else f" or {settings.max_seconds:g} s"
        goals = [f"{settings.target_thz:g} THz", f"{settings.target_elastic_percent:g} %"]
        goals += [] if settings.target_gpa is None else [f"{settings.target_gpa:g} GPa"]
        goals += [f"{settings.target_mev:g} meV/atom"] if plan.substitutes else []
        later = sum(
            part.per_supercell * len(one.supercells) for one in plan.each for part in one.config.current_dynamics
        )
        frames = f" ({later} of them by molecular dynamics with the potential of the first batch)" if later else ""
        return (
            f"{plan.n_configurations} to choose from{frames} {how}, {settings.batch} at a time, until "
            f"{' and '.join(goals)} are expected, or {plan.most_labels} labels{limit} are there"
        )

    def _selection(self, effort: SelectionEffort) -> str:
        low, high = (seconds(value) for value in effort.row_seconds)
        count = f"{effort.fewest} to {effort.candidates}" if effort.fewest < effort.candidates else f"{effort.fewest}"
        if self.plan.config.selection.method == "random":
            count, low = f"{effort.fewest}", high
        time = low if low == high else f"{low} to {high}"
        return (
            f"{effort.candidates} candidates of {effort.kinds} kinds; kernels of {count} of them take about {time} of "
            f"processor time, by a rate measured elsewhere, on {cores()} processors; up to {effort.memory_gb:.2g} GB "
            f"of memory, and {effort.process_memory_gb:.2g} GB for each further process"
        )

    def _supercell_lines(self) -> list[str]:
        supercells = self.plan.supercells
        verdict = f"{supercells.proof}, symprec = {self.plan.crystal.symprec:g} Å"
        grid = " x ".join(str(n) for n in supercells.grid)
        power = f"sum of size^{supercells.cost_exponent:g} {supercells.cost:g}"
        lines = [f"Supercells      {len(supercells)} for the grid {grid}: {power}, {verdict}"]
        listed = zip(supercells.matrices[:LISTED].tolist(), supercells.sizes.tolist(), strict=False)
        for number, (matrix, size) in enumerate(listed):
            points = f", {self.kpoints[number]} k-points" if self.kpoints else ""
            rows = " ".join("[" + " ".join(f"{entry:d}" for entry in row) + "]" for row in matrix)
            lines.append(f"  s{number:03d}          {size} cells {rows}{points}")
        if len(supercells) > LISTED:
            lines.append(f"  …             and {len(supercells) - LISTED} more")
        return lines

    def _phonons(self) -> str:
        if self.plan.config.fit.method == "none":
            return "none, because there is no fit"
        if self.plan.config.phonons.reference == "none":
            return "predicted with their errors; no reference"
        if not self.plan.has_phonon_frames:
            return "the diagonal supercell for the reference"
        if self.phonon_calculations is None:
            return f"calculations in {len(self.plan.phonon_supercells)} supercells for the reference"
        return f"{self.phonon_calculations} calculations for the reference"

    def _cost(self) -> str:
        cost, total, diagonal = self.cost, self.label_seconds, self.diagonal_atoms
        one, law = f"one calculation of the diagonal supercell ({diagonal} atoms)", f"atoms^{cost.power:.2g}"
        law += f" (± {cost.power_width:.2g})"
        if total is None:
            relative = estimated(cost.relative(self.plan.counts, {diagonal: 1}))
            return f"no label has a time yet; as {law}, all together {relative} times {one}"
        about = "" if len(self.times) == self.plan.n_configurations else "about "
        measured = f"{about}{seconds(total)} for all, by {len(self.times)} labels that are there"
        time, largest = estimated(cost.seconds(diagonal), time=True), max(atoms for atoms, _ in self.times)
        if largest == diagonal:
            return f"{measured}; {time} for {one}"
        return f"{measured}; {one} {time}, estimated from those of {count(largest, 'atom')} as {law}"

    def _labels(self) -> str:
        store = self.plan.store.path
        if not self.relaxed:
            first = "there are the phonons that displacements are drawn from"
            if not self.plan.waits_for_phonons:
                first = "molecular dynamics is run" if self.plan.waits_for_dynamics else "the crystal is relaxed"
            return f"not known before {first}; store {store}"
        if self.in_store is None:
            return f"too many to look up; store {store}"
        before = " that are needed before the choice" if self.plan.selects else ""
        return f"{self.in_store} of {len(self.plan.to_label)}{before} are in {store}"


def dry_run(config: RunConfig, directory: Path, *, progress: Progress = silent) -> DryRun:
    """Work out what a run would do, without computing or writing anything.

    Parameters
    ----------
    config : RunConfig
    directory : path
        Folder that the run would have.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError, MissingExtraError
        When the run would be refused.
    """
    plan = plan_without_calculations(config, directory, progress=progress)
    return _of_plan(plan, check_plan(plan, directory), progress)


def _of_plan(plan: Plan, notes: tuple[str, ...], progress: Progress) -> DryRun:
    kgrid = plan.spec.kgrid
    listed = plan.supercells.matrices[:LISTED]
    kpoints = () if kgrid is None else tuple(len(fold_kpoints(matrix, kgrid)) for matrix in listed)
    few = plan.n_configurations <= COUNTED and len(plan.phonon_supercells) <= FEW_SUPERCELLS
    in_store, times = _in_store(plan, progress) if few and plan.relaxed else (None, ())
    return DryRun(
        plan=plan,
        kpoints=kpoints,
        phonon_calculations=len(plan.phonon_frames) if few else None,
        in_store=in_store,
        times=times,
        notes=notes,
        selection=SelectionEffort.of_plan(plan) if plan.selects else None,
    )


@dataclass(frozen=True)
class SeveralDryRun:
    """What a run of several crystals would do and cost; ``str`` gives the summary for a person.

    Attributes
    ----------
    plan : JointPlan
    crystals : tuple of DryRun
    notes : tuple of str
    selection : SelectionEffort or None
        What the choice of labels takes; None where all configurations are labelled.
    """

    plan: JointPlan
    crystals: tuple[DryRun, ...]
    notes: tuple[str, ...]
    selection: SelectionEffort | None

    def __str__(self) -> str:
        lines = []
        for one in self.crystals:
            lines += [str(one.plan.name), *(f"  {line}" for own, line in one.lines() if own), ""]
        whole = DryRun(self.plan, (), None, None, notes=self.notes, selection=self.selection)
        names = ", ".join(str(one.plan.name) for one in self.crystals)
        common = (f"  {line}" for own, line in whole.lines() if not own)
        return "\n".join([*lines, f"All crystals ({names})", *common])


def dry_run_of_several(config: SeveralConfig, directory: Path, *, progress: Progress = silent) -> SeveralDryRun:
    """Work out what a run of several crystals would do, without computing or writing anything.

    Parameters
    ----------
    config : SeveralConfig
    directory : path
        Folder that the run would have.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError, MissingExtraError
        When the run would be refused.
    """
    plan = make_joint_plan(config, directory, compute=False, dynamics=False, progress=progress)
    notes = check_plan(plan, directory)
    return SeveralDryRun(
        plan=plan,
        crystals=tuple(_of_plan(one, (), progress) for one in plan.each),
        notes=notes,
        selection=SelectionEffort.of_plan(plan) if plan.selects else None,
    )


def plan_without_calculations(
    config: RunConfig, directory: Path, *, dynamics: bool = False, progress: Progress = silent
) -> Plan:
    """The plan of a run whose crystal is relaxed already, otherwise of the crystal as the input file gives it.

    Parameters
    ----------
    config : RunConfig
    directory : path
        Folder of the run.
    dynamics : bool
        Whether molecular dynamics is run, which needs no label.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError
        When the input file asks for what cannot be done.
    """
    databases = OwnDatabases.of_config(config)
    try:
        return make_plan(config, directory, compute=False, dynamics=dynamics, databases=databases, progress=progress)
    except PendingPhononsError as pending:
        return pending.plan
    except ReferenceCalculationError:
        return make_plan(config, directory, relax=False, dynamics=dynamics, databases=databases, progress=progress)


def _in_store(plan: Plan, progress: Progress) -> tuple[int, tuple[tuple[int, float], ...]]:
    """How many labels are there, and the number of atoms and the time of some of them, spread evenly."""
    found: list[tuple[str, Atoms]] = []
    frames = plan.to_label
    for number, atoms in enumerate(frames):
        progress("looking up labels", number, len(frames))
        key = plan.store.key_of(atoms, plan.spec)
        if key in plan.store:
            found.append((key, atoms))
    progress("looking up labels", len(frames), len(frames))
    times = []
    # The small displacements behind the reference's phonons take less time than the configurations.
    timed = [(key, atoms) for key, atoms in found if not str(atoms.info["config_type"]).startswith("phonon")] or found
    for key, atoms in timed[:: -(-len(timed) // TIMED) or 1]:
        # A label that cannot be read is the run's business.
        with suppress(OSError, InputError, DamagedError):
            times.append((len(atoms), plan.store.load(key).cost_seconds))
    return len(found), tuple((n_atoms, time) for n_atoms, time in times if 0 < time < math.inf)
