"""The labels that a run needs and does not have, as far as they can be known before the next ones are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from ndsc.config import RunConfig, SeveralConfig
from ndsc.elastic import elastic_constants
from ndsc.elsewhere import MissingCalculator, Wanted
from ndsc.errors import MissingLabelsError, ReferenceCalculationError
from ndsc.force_constants import phonons_from_diagonal
from ndsc.progress import Progress, silent
from ndsc.reference import CalculatorSpec, Label, LabelReport, LabelStore
from ndsc.reference.labelling import computed_elsewhere
from ndsc.relaxation import relax_crystal
from ndsc.workflow.derived import elastic_through_store
from ndsc.workflow.isolated import isolated_atoms
from ndsc.workflow.joint import make_joint_plan
from ndsc.workflow.plan import (
    PendingPhononsError,
    Plan,
    label_store,
    make_plan,
    reference_calculator,
    starting_crystal,
    symbols_of,
)
from ndsc.workflow.selection import ChosenLabels


@dataclass(frozen=True)
class MissingLabels:
    """What is missing.

    Attributes
    ----------
    wanted : list of Wanted
        Labels that can be computed now, side by side.
    later : list of str
        What follows once these are there.
    """

    wanted: list[Wanted] = field(default_factory=list)
    later: list[str] = field(default_factory=list)

    def error(self, store: LabelStore) -> MissingLabelsError:
        """What a run says that cannot go on."""
        tasks = ", ".join(f"{count} {task}" for task, count in count_tasks(self.wanted).items())
        after = "" if not self.later else f" After them come {' and '.join(self.later)}."
        are = "1 label is" if len(self.wanted) == 1 else f"{len(self.wanted)} labels are"
        return MissingLabelsError(
            f"{are} not in {store.path} yet ({tasks}), and labels are computed elsewhere.{after} Write the input with "
            "ndsc labels write, with the same input file, calculate it, take the results with ndsc labels read, then "
            "run again."
        )


def count_tasks(wanted: Sequence[Wanted]) -> dict[str, int]:
    """How many labels are for what."""
    counts: dict[str, int] = {}
    for label in wanted:
        counts[label.task] = counts.get(label.task, 0) + 1
    return counts


def is_elsewhere(config: RunConfig) -> bool:
    """Whether the labels of a run are computed elsewhere."""
    return computed_elsewhere(config.reference.to_spec(), config.executor)


def missing_labels(
    config: RunConfig | SeveralConfig, directory: Path, *, choose: bool = True, progress: Progress = silent
) -> MissingLabels:
    """The labels of a run that are not in its store.

    Parameters
    ----------
    config : RunConfig or SeveralConfig
    directory : path
        Folder of the run.
    choose : bool
        Whether the next batch of a choice is worked out, where that is what comes next.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError, MissingExtraError
        When the run would be refused.
    ReferenceCalculationError
        When the labels that are there cannot be used: a relaxation that leads nowhere, say.
    """
    if isinstance(config, RunConfig):
        try:
            plan = make_plan(config, directory, compute=False, progress=progress)
        except PendingPhononsError as pending:
            return _before_phonons(pending.plan)
        except ReferenceCalculationError as error:
            return _before_relaxation(config, directory, error)
    else:
        before = [_unrelaxed(name, one, directory, progress) for name, one in config.crystals.items()]
        if any(one is not None for one in before):
            return _joined([one for one in before if one is not None])
        plan = make_joint_plan(config, directory, compute=False, progress=progress)
    wanted = _of_plan(plan)
    later: list[str] = []
    if plan.selects:
        if any(label.task == "perfect unit cell" or label.task == "single atoms" for label in wanted):
            later.append("the labels that [selection] chooses")
        elif choose:
            chosen, more = _chosen(plan, directory, progress)
            wanted += chosen
            later += more
    steps = [label for label in wanted if label.task == "strained cells"]
    if steps and any(one.config.elastic.relax_ions and len(one.crystal.atoms) > 1 for one in plan.each):
        later.append("the next steps of the ions in strained cells")
    return _joined([MissingLabels(wanted, later)])


def _joined(parts: Sequence[MissingLabels]) -> MissingLabels:
    """All of some missing labels, each once."""
    unique: dict[str, Wanted] = {}
    for label in (label for part in parts for label in part.wanted):
        unique.setdefault(label.key, label)
    return MissingLabels(list(unique.values()), list(dict.fromkeys(text for part in parts for text in part.later)))


def _unrelaxed(name: str, config: RunConfig, directory: Path, progress: Progress) -> MissingLabels | None:
    """What is missing for the relaxation of one of several crystals, or for the phonons that it draws from."""
    try:
        make_plan(config, directory, compute=False, name=name, progress=progress)
    except PendingPhononsError as pending:
        return _before_phonons(pending.plan)
    except ReferenceCalculationError as error:
        return _before_relaxation(config, directory, error, f"{name}-")
    return None


def _before_relaxation(
    config: RunConfig, directory: Path, error: ReferenceCalculationError, prefix: str = ""
) -> MissingLabels:
    """The next step of the relaxation, and what does not depend on it."""
    spec, store = config.reference.to_spec(), label_store(config, directory)
    crystal = starting_crystal(config)
    calculator = MissingCalculator(spec, store)
    with calculator.asked():
        relax_crystal(crystal, calculator)
    if not calculator.missing:
        raise error
    wanted = calculator.wanted("relaxation", f"{prefix}relaxation")
    wanted += [
        Wanted(single.atoms, single.spec, "single atoms")
        for single in isolated_atoms(config, crystal.atoms, spec, others=symbols_of(config, crystal.atoms))
        if store.key_of(single.atoms, single.spec) not in store
    ]
    return MissingLabels(
        wanted,
        [
            "further steps of the relaxation (or relax the crystal with the code itself, and give the result as "
            "[crystal] structure, with relax = false)",
            "all configurations, which are made of the relaxed crystal",
        ],
    )


def _before_phonons(plan: Plan) -> MissingLabels:
    """The labels of the phonons that configurations are drawn from, and what does not depend on them."""
    tasks = [(atoms, "perfect unit cell") for atoms in plan.always_labelled]
    tasks += [(atoms, "phonons") for atoms in plan.phonon_frames]
    specs = [(atoms, plan.spec, task) for atoms, task in tasks]
    specs += [(single.atoms, single.spec, "single atoms") for single in plan.single_atoms]
    wanted = [Wanted(*one) for one in specs if plan.store.key_of(one[0], one[1]) not in plan.store]
    return MissingLabels(wanted, ["the configurations, whose displacements are drawn from these phonons"])


def _of_plan(plan: Plan) -> list[Wanted]:
    """All that is missing and does not depend on a choice."""
    found: list[Wanted] = []
    perfect = {id(atoms) for atoms in plan.always_labelled}
    singles = {id(single.atoms) for single in plan.single_atoms}
    for atoms in plan.to_label:
        if plan.store.key_of(atoms, plan.spec) in plan.store:
            continue
        if id(atoms) in perfect:
            task = "perfect unit cell"
        elif id(atoms) in singles:
            task = "single atoms"
        else:
            task = "phonons" if str(atoms.info["config_type"]).startswith("phonon") else "configurations"
        found.append(Wanted(atoms, plan.spec, task))
    found += [
        Wanted(single.atoms, single.spec, "single atoms")
        for single in plan.isolated
        if plan.store.key_of(single.atoms, single.spec) not in plan.store
    ]
    if plan.config.fit.method == "none":
        return found
    for one in plan.each:
        found += [*_of_diagonal_phonons(one), *_of_elastic_constants(one)]
    return found


def _of_diagonal_phonons(plan: Plan) -> list[Wanted]:
    section = plan.config.phonons
    if section.reference != "diagonal":
        return []
    calculator = MissingCalculator(plan.spec, plan.store)
    with calculator.asked():
        phonons_from_diagonal(
            plan.crystal, plan.phonon_supercells.grid, calculator, displacement=section.displacement,
            residual_force_limit=section.residual_force_limit, kgrid=plan.spec.kgrid,
        )  # fmt: skip
    return calculator.wanted("phonons", f"{_prefix(plan)}diagonal")


def _of_elastic_constants(plan: Plan) -> list[Wanted]:
    section = plan.config.elastic
    if not section.enabled or plan.config.phonons.reference == "none":
        return []
    stored = reference_calculator(plan.config, plan.spec, plan.store, compute=False)
    try:
        elastic_through_store(plan.crystal, stored, strain=section.strain, relax_ions=section.relax_ions)
        return []
    except ReferenceCalculationError:
        calculator = MissingCalculator(plan.spec, plan.store)
        with calculator.asked():
            elastic_constants(plan.crystal, calculator, strain=section.strain, relax_ions=section.relax_ions)
    return calculator.wanted("strained cells", f"{_prefix(plan)}strained")


def _prefix(plan: Plan) -> str:
    return "" if plan.name is None else f"{plan.name}-"


class _NextBatch(Exception):  # noqa: N818 - not an error
    """Ends a choice at the first batch that has no labels."""

    def __init__(self, frames: Sequence[Atoms]) -> None:
        super().__init__()
        self.frames = frames


def _chosen(plan: Plan, directory: Path, progress: Progress) -> tuple[list[Wanted], list[str]]:
    """The next batch of a choice, worked out from the labels that are there."""
    specs = {id(single.atoms): single.spec for single in plan.single_atoms}
    labels: dict[str, Label] = {}

    def label(frames: Sequence[Atoms], task: str, spec: CalculatorSpec = plan.spec) -> LabelReport:
        missing = []
        for atoms in frames:
            found = plan.store.get(plan.store.key_of(atoms, specs.get(id(atoms), spec)))
            if found is None:
                missing.append(atoms)
            else:
                labels[str(atoms.info["ndsc_name"])] = found
        if missing:
            raise _NextBatch(missing)
        return LabelReport(labels=labels)

    label([*plan.always_labelled, *(single.atoms for single in plan.single_atoms)], "labels")
    try:
        ChosenLabels(plan, directory, progress).choose(label)
    except _NextBatch as batch:
        wanted = [Wanted(atoms, plan.spec, "chosen labels") for atoms in batch.frames]
        size = plan.config.selection.batch
        return wanted, [f"the next labels that [selection] chooses (batch = {size}), if the target is not met by then"]
    return [], []
