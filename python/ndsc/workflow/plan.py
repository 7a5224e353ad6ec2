"""What a run will do: its crystal, supercells, configurations, and the calculations that it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.config import ConfigurationsConfig, RunConfig
from ndsc.configurations import end_configurations
from ndsc.crystal import Crystal
from ndsc.decorations import check_substitution
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.fit.databases import check_elements
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.memory import FitSize
from ndsc.force_constants import phonon_displacements
from ndsc.force_constants.born import read_born
from ndsc.progress import Progress, silent
from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator
from ndsc.reference.labelling import computed_elsewhere
from ndsc.selection import make_candidates
from ndsc.supercells import SupercellSet, diagonal_supercell, find_supercells
from ndsc.workflow.databases import OwnDatabases
from ndsc.workflow.derived import relaxed_through_store
from ndsc.workflow.dynamics import check_dynamics, frames_of_current_dynamics, frames_of_dynamics
from ndsc.workflow.isolated import IsolatedAtom, isolated_atoms
from ndsc.workflow.parts import OWN, Sources, reference_phonons

#: Configurations whose environments are offered as sparse points before a choice.
OFFERED = 250
#: Atoms of the cells whose energies stand for those of a disordered alloy, at the most (eight unit cells at the least).
LARGE_DECORATION = 32
#: Above this number of atoms, the search for symmetry takes more than a second.
LARGE_CELL = 500


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that follows from the input file and the relaxed crystal, before any other calculation.

    Structures are made when they are first asked for: a plan that only counts them makes none.

    Attributes
    ----------
    config : RunConfig
    spec : CalculatorSpec
    store : LabelStore
    crystal : Crystal
        The unit cell, relaxed when the input file says so.
    supercells : SupercellSet
    phonon_supercells : SupercellSet
        The supercells of the phonon grid, which may be another grid than the configurations'.
    single_atoms : list of IsolatedAtom
        Single atoms that are fitted too.
    relaxed : bool
        False where the crystal is to be relaxed and is not yet, or where the phonons that displacements are drawn from
        are still to be calculated, or molecular dynamics is still to be run: the structures will be others.
    warnings : tuple of str
        What the relaxation changed.
    databases : OwnDatabases
        Databases of the user's own that are fitted too.
    name : str or None
        Of the crystal in a run of several: it begins the names of its structures.
    sources : Sources
        Force constants of thermal configurations, and frames of trajectories and of molecular dynamics.
    waits_for_phonons, waits_for_dynamics : bool
        Whether it is the phonons that are still to be calculated, and molecular dynamics that is still to be run.
    """

    config: RunConfig
    spec: CalculatorSpec
    store: LabelStore
    crystal: Crystal
    supercells: SupercellSet
    phonon_supercells: SupercellSet
    single_atoms: list[IsolatedAtom]
    relaxed: bool = True
    warnings: tuple[str, ...] = ()
    databases: OwnDatabases = field(default_factory=OwnDatabases)
    name: str | None = None
    sources: Sources = field(default_factory=Sources)
    waits_for_phonons: bool = False
    waits_for_dynamics: bool = False

    @property
    def each(self) -> tuple[Plan, ...]:
        """The plan of each crystal of the run; here of the only one."""
        return (self,)

    def with_current_dynamics(self, calculator: Calculator, known: Mapping[str, Any], progress: Progress) -> Plan:
        """The plan with the frames of molecular dynamics by the potential of the labels so far.

        Parameters
        ----------
        calculator : ase calculator
            The potential.
        known : mapping of str to JSON content
            What it was fitted to and how.
        progress : callable
            Called with (task, done, total).

        Raises
        ------
        InputError
            When a trajectory explodes or fails.
        """
        frames = frames_of_current_dynamics(
            self.config, calculator, known, self.store, self.supercells, progress=progress
        )
        return replace(self, sources=replace(self.sources, dynamics={**self.sources.dynamics, **frames}))

    @property
    def symbols(self) -> list[str]:
        """The elements of the potential: those of the crystal, and what they are substituted by."""
        return symbols_of(self.config, self.crystal.atoms)

    @property
    def potential(self) -> FitterSettings:
        """The settings of the fit."""
        return self.config.potential(len(self.symbols))

    @property
    def substitutes(self) -> bool:
        """Whether atoms are substituted, so that configurations differ in composition."""
        return any(part.substitute is not None for part in _parts(self.config))

    @property
    def compositions(self) -> list[Atoms]:
        """One structure of each composition that is labelled."""
        if not self.substitutes:
            return [self.crystal.atoms]
        found = {str(atoms.symbols.formula.reduce()[0]): atoms for atoms in [self.crystal.atoms, *self.configurations]}
        return list(found.values())

    def decorations(self, n: int) -> list[Atoms]:
        """Some decorations, otherwise unperturbed: of the supercells, and as many of a larger cell, drawn by chance.

        In the larger cell are surroundings that no supercell has, as in a disordered alloy.
        """
        found: list[Atoms] = []
        parts = [part for part in _parts(self.config) if part.substitute is not None]
        repeats = max(2, int((LARGE_DECORATION / len(self.crystal.atoms) + 1e-9) ** (1 / 3)))
        large = diagonal_supercell(self.crystal, (repeats,) * 3)
        for supercells in (self.supercells, large):
            frames: list[Atoms] = []
            for part in parts:
                # Another seed: not only those that may be labelled.
                still = part.replaced(seed=part.seed + 1, displacement=(0.0,), strain=0.0, scale=(1.0,))
                share = max(1, n // len(supercells))
                frames += self.sources.frames(still, supercells, per_supercell=share, unit_cells=0)
            found += _spread(frames, n // 2)
        return found

    @property
    def selects(self) -> bool:
        """Whether only some of the configurations are labelled, one batch after the other."""
        return self.config.selection.method != "all"

    @property
    def isolated(self) -> list[IsolatedAtom]:
        """Single atoms that need a calculator of their own."""
        return [atom for atom in self.single_atoms if atom.spec != self.spec]

    @cached_property
    def configurations(self) -> list[Atoms]:
        """To be labelled and fitted; of a choice, all that there are to choose from."""
        if self.config.makes_candidates:
            parts: Iterable[Atoms] = make_candidates(self.supercells, self.config.selection.candidates)
        else:
            sections = self.config.configurations
            parts = (frame for section in sections for frame in self.sources.frames(section, self.supercells))
        frames = _named(_one_perfect_cell(parts), self.name)
        return [*frames, *self.end_members, *(atom.atoms for atom in self.single_atoms if atom.spec == self.spec)]

    @cached_property
    def end_members(self) -> list[Atoms]:
        """Where labels are chosen, the unperturbed crystals at the ends of the range of composition.

        They are always labelled: formation energies are relative to theirs.
        """
        if not self.selects:
            return []
        parts = (end_configurations(self.crystal, part) for part in _parts(self.config))
        found = {frame.numbers.tobytes(): frame for own in parts for frame in own}
        return _named(found.values(), self.name)

    @property
    def always_labelled(self) -> list[Atoms]:
        """What is labelled whatever is chosen, beside single atoms."""
        return [*self.perfect_unit_cells, *self.end_members]

    @cached_property
    def unlabelled(self) -> list[Atoms]:
        """Offered to the fit as sparse points only."""
        pool: list[Atoms] = []
        for section in () if self.config.makes_candidates else self.config.configurations:
            share = -(-section.unlabelled // len(self.supercells))
            frames = self.sources.frames(
                section, self.supercells, per_supercell=share, unit_cells=0, first_index=section.per_supercell
            )
            pool += _spread(frames, section.unlabelled)
        return pool

    @cached_property
    def phonon_frames(self) -> list[Atoms]:
        """To be labelled for the reference's phonons; empty when these come from the diagonal supercell."""
        if not self.has_phonon_frames:
            return []
        frames = phonon_displacements(self.phonon_supercells, displacement=self.config.phonons.displacement)
        return _named(frames, self.name)

    @cached_property
    def nac_params(self) -> dict[str, Any] | None:
        """Born charges and dielectric tensor, as phonopy takes them; None for phonons without.

        Raises
        ------
        InputError
            When the file of ``[phonons] born`` cannot be read or does not fit the crystal.
        """
        born = self.config.phonons.born
        return None if born is None else read_born(born, self.crystal)

    @property
    def has_phonon_frames(self) -> bool:
        """Whether the reference's phonons come from non-diagonal supercells."""
        return self.config.phonons.reference == "supercells" and self.config.fit.method != "none"

    @property
    def to_fit(self) -> list[Atoms]:
        """The configurations and the single atoms beside them: the database, once they are labelled."""
        return [*self.configurations, *(atom.atoms for atom in self.isolated)]

    @property
    def to_label(self) -> list[Atoms]:
        """All structures of the run whose labels can be computed side by side, before anything is chosen."""
        if self.selects:
            singles = [atom.atoms for atom in self.single_atoms if atom.spec == self.spec]
            return [*self.always_labelled, *singles, *self.phonon_frames]
        return [*self.configurations, *self.phonon_frames]

    @property
    def perfect_unit_cells(self) -> list[Atoms]:
        """The unperturbed unit cell, if it is one of the configurations."""
        return [
            atoms
            for atoms in self.configurations
            if atoms.info["config_type"] == "unit_cell" and atoms.info.get("ndsc_index") == 0
        ]

    @property
    def candidates(self) -> list[Atoms]:
        """What a choice is made from: the configurations that are not labelled anyway."""
        always = {id(atoms) for atoms in self.always_labelled} | {id(atom.atoms) for atom in self.single_atoms}
        return [atoms for atoms in self.configurations if id(atoms) not in always]

    @cached_property
    def counts(self) -> dict[int, int]:
        """How many configurations there are of each number of atoms, without making them."""
        if self.config.makes_candidates:
            return dict(sorted(Counter(len(atoms) for atoms in self.configurations).items()))
        n_atoms, counts = len(self.crystal.atoms), Counter[int]()
        parts = self.config.configurations
        for section in parts:
            counts += self.sources.counts(section, self.supercells)
        # The unperturbed unit cell is there once.
        counts[n_atoms] -= max(0, sum(section.unit_cells > 0 for section in parts) - 1)
        counts[n_atoms] += len(self.end_members)
        counts[1] += sum(atom.spec == self.spec for atom in self.single_atoms)
        return {atoms: number for atoms, number in sorted(counts.items()) if number}

    @property
    def n_configurations(self) -> int:
        """Configurations to label, or to choose from."""
        return sum(self.counts.values())

    @property
    def most_labels(self) -> int:
        """Configurations that are labelled at the most."""
        return min(self.n_configurations, self.config.selection.max_labels) if self.selects else self.n_configurations

    @property
    def n_unlabelled(self) -> int:
        """Configurations that only offer sparse points."""
        return 0 if self.config.makes_candidates else sum(part.unlabelled for part in self.config.configurations)

    def with_warnings_of_sources(self) -> Plan:
        """The plan, with what is doubtful about its thermal displacements."""
        found = self.sources.warnings(self.config, self.supercells)
        return replace(self, warnings=(*self.warnings, *found)) if found else self

    @cached_property
    def fit_size(self) -> FitSize:
        """How much there will be to fit, at the most."""
        return self.own_size.joined(FitSize.of_frames(self.databases.frames, self.potential.cutoff))

    @property
    def own_size(self) -> FitSize:
        """The same without databases of the user's own."""
        largest = max(self.counts, default=0)
        counts = {largest: self.most_labels} if self.selects else self.counts
        offered = (OFFERED if self.selects else self.n_unlabelled) * largest
        size = FitSize.of_supercells(self.crystal.atoms, counts, self.potential.cutoff, offered)
        return replace(size, n_species=len(self.symbols))


class PendingPhononsError(ReferenceCalculationError):
    """The phonons that displacements are drawn from need labels that are not there and may not be computed.

    Attributes
    ----------
    plan : Plan
        All that is known without them.
    """

    plan: Plan

    @classmethod
    def of_plan(cls, plan: Plan) -> PendingPhononsError:
        """What to say of a plan that is not complete."""
        found = cls(
            "The labels of the phonons that [configurations] temperature draws displacements from are not in "
            f"{plan.store.path}. Run without --dry-run, or calculate them elsewhere."
        )
        found.plan = plan
        return found


def label_store(config: RunConfig, directory: Path) -> LabelStore:
    """The folder of labels that the input file names, or the run's own."""
    return LabelStore(config.reference.labels or directory / "labels")


def reference_calculator(
    config: RunConfig, spec: CalculatorSpec, store: LabelStore, *, compute: bool = True
) -> StoredCalculator:
    """The reference for what follows from many calculations, one after the other; watched as labels are."""
    executor = config.executor
    return StoredCalculator(
        spec,
        store,
        threads=executor.threads,
        watched=executor.workers > 1,
        timeout=executor.timeout,
        retries=executor.retries,
        compute=compute and not computed_elsewhere(spec, executor),
    )


def starting_crystal(config: RunConfig, *, progress: Progress = silent) -> Crystal:
    """The crystal of the input file, not relaxed.

    Parameters
    ----------
    config : RunConfig
    progress : callable
        Called with (task, done, total) where the search for symmetry takes long.

    Raises
    ------
    InputError
        When it cannot be read or is no crystal.
    """
    section = config.crystal
    atoms = section.atoms()
    report = progress if len(atoms) > LARGE_CELL else silent
    report(f"symmetry of {len(atoms)} atoms", 0, 1)
    crystal = Crystal.from_atoms(atoms, symprec=section.symprec, magnetic_tolerance=section.magnetic_tolerance)
    report(f"symmetry of {len(atoms)} atoms", 1, 1)
    return crystal.primitive if section.primitive else crystal


def make_plan(
    config: RunConfig,
    directory: Path,
    *,
    compute: bool = True,
    relax: bool = True,
    dynamics: bool = True,
    databases: OwnDatabases | None = None,
    name: str | None = None,
    progress: Progress = silent,
) -> Plan:
    """Load and relax the crystal, and choose the supercells.

    Parameters
    ----------
    config : RunConfig
    directory : path
        Folder of the run.
    compute : bool
        Whether the relaxation may compute labels that are not in the store.
    relax : bool
        False plans with the crystal as the input file gives it, and without the phonons that displacements are drawn
        from.
    dynamics : bool
        Whether molecular dynamics is run where its frames are not there. It needs no label, but takes its time.
    databases : OwnDatabases, optional
        The databases of the input file, where they have been read.
    name : str, optional
        Of the crystal in a run of several; the elements of the databases are then not compared with it alone.
    progress : callable
        Called with (task, done, total).

    Raises
    ------
    InputError
        When the input file asks for what cannot be done.
    ReferenceCalculationError
        When the relaxation fails, or needs a label that may not be computed.
    """
    spec, store = config.reference.to_spec(), label_store(config, directory)
    crystal = starting_crystal(config, progress=progress)
    _check_species(config, crystal.atoms, spec)
    check_dynamics(config, spec, directory)
    databases = OwnDatabases.of_config(config) if databases is None else databases
    if name is None:
        check_elements(databases.each, symbols_of(config, crystal.atoms))
    warnings: tuple[str, ...] = ()
    if relax and config.crystal.relax:
        calculator = reference_calculator(config, spec, store, compute=compute)
        crystal, warnings = _with_structure(crystal, relaxed_through_store(crystal, calculator, progress=progress))
    supercells, phonon_supercells = _supercells(config, crystal, progress)
    plan = Plan(
        config=config,
        spec=spec,
        store=store,
        crystal=crystal,
        supercells=supercells,
        phonon_supercells=phonon_supercells,
        single_atoms=isolated_atoms(config, crystal.atoms, spec, others=symbols_of(config, crystal.atoms)),
        relaxed=relax or not config.crystal.relax,
        warnings=warnings,
        databases=databases,
        name=name,
        sources=Sources.of_config(config, crystal),
    )
    if plan.relaxed and config.dynamics:
        plan = _with_dynamics(plan, run=dynamics, progress=progress)
    if not config.draws_from_reference or not (plan.relaxed or plan.waits_for_dynamics):
        return plan.with_warnings_of_sources()
    phonons = reference_phonons(
        config, spec, store, phonon_supercells, plan.phonon_frames, compute=compute, progress=progress
    )
    if phonons is None:
        pending = replace(plan, relaxed=False, waits_for_phonons=True, waits_for_dynamics=False)
        if relax:
            raise PendingPhononsError.of_plan(pending)
        return pending
    found = {**plan.sources.force_constants, OWN: phonons}
    return replace(plan, sources=replace(plan.sources, force_constants=found)).with_warnings_of_sources()


def _with_dynamics(plan: Plan, *, run: bool, progress: Progress) -> Plan:
    """The plan with the frames of its molecular dynamics, or, where they are not there, as one that only counts."""
    frames = frames_of_dynamics(plan.config, plan.spec, plan.store, plan.supercells, run=run, progress=progress)
    if frames is None:
        return replace(plan, relaxed=False, waits_for_dynamics=True)
    return replace(plan, sources=replace(plan.sources, dynamics=frames))


def symbols_of(config: RunConfig, crystal: Atoms) -> list[str]:
    """The elements of a crystal and those that they are substituted by, sorted."""
    own = set(crystal.get_chemical_symbols())
    for part in _parts(config):
        for element, others in (part.substitute or {}).items():
            own |= set(others) if element in own else set()
    return sorted(own)


def _parts(config: RunConfig) -> tuple[ConfigurationsConfig, ...]:
    """The parts of the database that the input file describes."""
    return () if config.makes_candidates else config.configurations


def _check_species(config: RunConfig, crystal: Atoms, spec: CalculatorSpec) -> None:
    """Refuse elements that the calculator does not know, and substitutions that the crystal cannot have."""
    spec.check(crystal)
    for part in _parts(config):
        if part.substitute is not None:
            check_substitution(crystal, part.substitute, part.concentration_restrictions, part.vegard)
    if others := sorted(set(symbols_of(config, crystal)) - set(crystal.get_chemical_symbols())):
        changed = crystal.repeat((len(others), 1, 1))
        changed.symbols[: len(others)] = others
        spec.check(changed)


def _supercells(config: RunConfig, crystal: Crystal, progress: Progress) -> tuple[SupercellSet, SupercellSet]:
    """The supercells of the database and those of the phonons, which are often the same."""
    section = config.supercells
    if section.kind == "diagonal":
        supercells = diagonal_supercell(crystal, section.grid, section.cost_exponent)
    else:
        supercells = find_supercells(crystal, section.grid, section.cost_exponent, progress=progress)
    phonon_grid = config.phonons.grid or supercells.grid
    if section.kind == "minimal" and phonon_grid == supercells.grid:
        return supercells, supercells
    return supercells, find_supercells(crystal, phonon_grid, progress=progress)


def _with_structure(crystal: Crystal, relaxed: Atoms) -> tuple[Crystal, tuple[str, ...]]:
    """The crystal at its relaxed structure, and a warning where that has another space group."""
    try:
        return crystal.with_structure(relaxed), ()
    except InputError:
        found = Crystal.from_atoms(relaxed, symprec=crystal.symprec, magnetic_tolerance=crystal.magnetic_tolerance)
    return found, (
        f"The relaxation changed the space group from {crystal.symbol} ({crystal.number}) to {found.symbol} "
        f"({found.number}); the rest of the run uses the latter.",
    )


def _one_perfect_cell(frames: Iterable[Atoms]) -> Iterator[Atoms]:
    """The configurations without the unperturbed unit cells that every part after the first begins its own with."""
    perfect = False
    for atoms in frames:
        is_perfect = atoms.info["ndsc_name"].endswith("unit-0000")
        if not (is_perfect and perfect):
            yield atoms
        perfect = perfect or is_perfect


def _named(frames: Iterable[Atoms], crystal: str | None) -> list[Atoms]:
    """Structures, in a run of several crystals with the name of theirs."""
    found = list(frames)
    for atoms in found if crystal is not None else ():
        atoms.info |= {"ndsc_name": f"{crystal}-{atoms.info['ndsc_name']}", "ndsc_crystal": crystal}
    return found


def _spread(frames: list[Atoms], n: int) -> list[Atoms]:
    """n of the frames, evenly over them, so that every supercell has its share."""
    if n >= len(frames):
        return frames
    return [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, n).round().astype(int))]
