"""The plan of a run of several crystals: those of all of them, and as one what is common to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.config import RunConfig, SeveralConfig
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.fit.databases import check_elements
from ndsc.fit.memory import FitSize
from ndsc.progress import Progress, silent
from ndsc.workflow.databases import OwnDatabases
from ndsc.workflow.plan import PendingPhononsError, Plan, make_plan


@dataclass(frozen=True, eq=False)
class JointPlan(Plan):
    """The plans of several crystals, whose structures are labelled and fitted together.

    What a :class:`Plan` says of one crystal (`crystal`, `supercells`, and sections of `config` that crystals may have
    of their own) is that of the first.

    Attributes
    ----------
    plans : tuple of Plan
        One for each crystal, with its name.
    """

    plans: tuple[Plan, ...] = field(default=())

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> JointPlan:
        """Join the plans of some crystals.

        Raises
        ------
        InputError
            When a database of the user's own has elements that none of them has.
        """
        every = tuple(plans)
        first = every[0]
        singles = {str(one.atoms.info["ndsc_name"]): one for plan in every for one in plan.single_atoms}
        found = cls(
            config=first.config,
            spec=first.spec,
            store=first.store,
            crystal=first.crystal,
            supercells=first.supercells,
            phonon_supercells=first.phonon_supercells,
            single_atoms=list(singles.values()),
            relaxed=all(plan.relaxed for plan in every),
            warnings=tuple(f"{plan.name}: {text}" for plan in every for text in plan.warnings),
            databases=first.databases,
            plans=every,
        )
        check_elements(found.databases.each, found.symbols)
        return found

    @property
    def each(self) -> tuple[Plan, ...]:
        """The plan of each crystal."""
        return self.plans

    def with_current_dynamics(self, calculator: Calculator, known: Mapping[str, Any], progress: Progress) -> JointPlan:
        """See :meth:`Plan.with_current_dynamics`."""
        return JointPlan.of(plan.with_current_dynamics(calculator, known, progress) for plan in self.plans)

    @property
    def symbols(self) -> list[str]:
        """The elements of all crystals."""
        return sorted({symbol for plan in self.plans for symbol in plan.symbols})

    @property
    def substitutes(self) -> bool:
        """Whether atoms of a crystal are substituted."""
        return any(plan.substitutes for plan in self.plans)

    @property
    def compositions(self) -> list[Atoms]:
        """One structure of each composition that is labelled, of each crystal."""
        return [atoms for plan in self.plans for atoms in plan.compositions]

    @cached_property
    def configurations(self) -> list[Atoms]:
        """Those of all crystals; single atoms once."""
        found = {str(atoms.info["ndsc_name"]): atoms for plan in self.plans for atoms in plan.configurations}
        found |= {str(one.atoms.info["ndsc_name"]): one.atoms for one in self.single_atoms if one.spec == self.spec}
        return list(found.values())

    @cached_property
    def end_members(self) -> list[Atoms]:
        """Those of all crystals."""
        return [atoms for plan in self.plans for atoms in plan.end_members]

    @cached_property
    def unlabelled(self) -> list[Atoms]:
        """Those of all crystals."""
        return [atoms for plan in self.plans for atoms in plan.unlabelled]

    @cached_property
    def phonon_frames(self) -> list[Atoms]:
        """Those of all crystals."""
        return [atoms for plan in self.plans for atoms in plan.phonon_frames]

    @cached_property
    def counts(self) -> dict[int, int]:
        """How many configurations there are of each number of atoms."""
        counts = sum((Counter(plan.counts) for plan in self.plans), Counter[int]())
        doubled = sum(len(plan.single_atoms) - len(plan.isolated) for plan in self.plans)
        counts[1] -= doubled - (len(self.single_atoms) - len(self.isolated))
        return {atoms: number for atoms, number in sorted(counts.items()) if number}

    @property
    def n_unlabelled(self) -> int:
        """Configurations of all crystals that only offer sparse points."""
        return sum(plan.n_unlabelled for plan in self.plans)

    @property
    def own_size(self) -> FitSize:
        """How much of the run's own there will be to fit, at the most."""
        sizes = [plan.own_size for plan in self.plans]
        if self.selects:
            # All labels may be of the crystal that takes most.
            return replace(max(sizes, key=lambda size: size.n_pairs), n_species=len(self.symbols))
        return replace(reduce(FitSize.joined, sizes), n_species=len(self.symbols))


def make_joint_plan(
    config: SeveralConfig, directory: Path, *, compute: bool = True, dynamics: bool = True, progress: Progress = silent
) -> JointPlan:
    """Load and relax all crystals, and choose their supercells.

    Parameters
    ----------
    config : SeveralConfig
    directory : path
        Folder of the run.
    compute : bool
        Whether relaxations may compute labels that are not in the store; without it, crystals that are not relaxed yet
        are taken as the input file gives them.
    dynamics : bool
        Whether molecular dynamics is run where its frames are not there.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError
        When the input file asks for what cannot be done; the message begins with the name of the crystal.
    ReferenceCalculationError
        When a relaxation fails.
    """
    databases = OwnDatabases.of_config(config.common)
    return JointPlan.of(
        _plan_of(name, one, directory, databases, progress, compute=compute, dynamics=dynamics)
        for name, one in config.crystals.items()
    )


def _plan_of(
    name: str,
    config: RunConfig,
    directory: Path,
    databases: OwnDatabases,
    progress: Progress,
    *,
    compute: bool,
    dynamics: bool,
) -> Plan:
    common: dict[str, Any] = {"databases": databases, "name": name, "progress": progress}
    try:
        try:
            return make_plan(config, directory, compute=compute, dynamics=dynamics, **common)
        except PendingPhononsError as pending:
            if compute:
                raise
            return pending.plan
        except ReferenceCalculationError:
            if compute:
                raise
            return make_plan(config, directory, relax=False, dynamics=dynamics, **common)
    except (InputError, ReferenceCalculationError) as error:
        raise type(error)(f"The crystal {name}: {error}") from error
