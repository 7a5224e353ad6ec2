"""What a run will do: its crystal, supercells, configurations, and the calculations that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from ndsc.config import ConfigurationsConfig, RunConfig
from ndsc.configurations import make_configurations
from ndsc.crystal import Crystal, load_crystal
from ndsc.errors import ReferenceCalculationError
from ndsc.force_constants import phonon_displacements
from ndsc.progress import Progress, silent
from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator, fold_kpoints
from ndsc.supercells import SupercellSet, diagonal_supercell, find_supercells
from ndsc.workflow.derived import relaxed_through_store
from ndsc.workflow.isolated import IsolatedAtom, isolated_atoms


@dataclass(frozen=True)
class Plan:
    """Everything that follows from the input file and the relaxed crystal, before any other calculation.

    Attributes
    ----------
    spec : CalculatorSpec
    store : LabelStore
    crystal : Crystal
        The unit cell, relaxed when the input file says so.
    supercells : SupercellSet
    configurations : list of ase.Atoms
        To be labelled and fitted.
    unlabelled : list of ase.Atoms
        Offered to the fit as sparse points only.
    phonon_supercells : SupercellSet
        The supercells of the phonon grid, which may be another grid than the configurations'.
    phonon_frames : list of ase.Atoms
        To be labelled for the reference's phonons; empty when these come from the diagonal supercell.
    isolated : list of IsolatedAtom
        Single atoms that are fitted too and need a calculator of their own.
    """

    spec: CalculatorSpec
    store: LabelStore
    crystal: Crystal
    supercells: SupercellSet
    configurations: list[Atoms]
    unlabelled: list[Atoms]
    phonon_supercells: SupercellSet
    phonon_frames: list[Atoms]
    isolated: list[IsolatedAtom] = field(default_factory=list)

    @property
    def to_fit(self) -> list[Atoms]:
        """The configurations and the single atoms beside them: the database, once they are labelled."""
        return [*self.configurations, *(atom.atoms for atom in self.isolated)]

    @property
    def to_label(self) -> list[Atoms]:
        """All structures of the run whose labels can be computed side by side."""
        return [*self.configurations, *self.phonon_frames]


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
        compute=compute,
    )


def unit_cell(config: RunConfig) -> Atoms:
    """The crystal of the input file, not relaxed."""
    section = config.crystal
    return load_crystal(
        section.structure, lattice=section.lattice, a=section.a, c=section.c, primitive=section.primitive
    )


def make_plan(config: RunConfig, directory: Path, *, compute: bool = True, progress: Progress = silent) -> Plan:
    """Load and relax the crystal, choose the supercells and make the configurations.

    Parameters
    ----------
    config : RunConfig
    directory : path
        Folder of the run.
    compute : bool
        Whether the relaxation may compute labels that are not in the store.
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
    atoms = unit_cell(config)
    spec.check(atoms)
    if config.crystal.relax:
        calculator = reference_calculator(config, spec, store, compute=compute)
        atoms = relaxed_through_store(atoms, calculator, progress=progress)
    return plan_for(config, atoms, spec, store)


def plan_for(config: RunConfig, atoms: Atoms, spec: CalculatorSpec, store: LabelStore) -> Plan:
    """The plan for a given unit cell."""
    crystal = Crystal.from_atoms(atoms, symprec=config.crystal.symprec)
    isolated = isolated_atoms(config, crystal.atoms, spec)
    choose = diagonal_supercell if config.supercells.kind == "diagonal" else find_supercells
    supercells = choose(crystal.atoms, config.supercells.grid, config.supercells.cost_exponent)
    parts = [_part(section, supercells) for section in config.configurations]
    phonon_grid = config.phonons.grid or supercells.grid
    shared = choose is find_supercells and phonon_grid == supercells.grid
    phonon_supercells = supercells if shared else find_supercells(crystal.atoms, phonon_grid)
    return Plan(
        spec=spec,
        store=store,
        crystal=crystal,
        supercells=supercells,
        configurations=[
            *_one_perfect_cell(atoms for labelled, _ in parts for atoms in labelled),
            *(atom.atoms for atom in isolated if atom.spec == spec),
        ],
        unlabelled=[atoms for _, pool in parts for atoms in pool],
        phonon_supercells=phonon_supercells,
        phonon_frames=_phonon_frames(config, phonon_supercells),
        isolated=[atom for atom in isolated if atom.spec != spec],
    )


def _one_perfect_cell(frames: Iterable[Atoms]) -> Iterator[Atoms]:
    """The configurations without the unperturbed unit cells that every part after the first begins its own with."""
    perfect = False
    for atoms in frames:
        is_perfect = atoms.info["ndsc_name"].endswith("unit-0000")
        if not (is_perfect and perfect):
            yield atoms
        perfect = perfect or is_perfect


def _part(section: ConfigurationsConfig, supercells: SupercellSet) -> tuple[list[Atoms], list[Atoms]]:
    """The configurations of one part of the database: those to label, and those that only offer sparse points."""
    perturbed = partial(
        make_configurations,
        supercells,
        displacement=section.displacement,
        unit_cell_displacement=section.unit_cell_displacement,
        strain=section.strain,
        scale=section.scale,
        seed=section.seed,
        displaced=section.displaced,
        part=section.name,
    )
    share = -(-section.unlabelled // len(supercells))
    pool = perturbed(per_supercell=share, unit_cells=0, first_index=section.per_supercell)
    labelled = perturbed(per_supercell=section.per_supercell, unit_cells=section.unit_cells)
    return labelled, _spread(pool, section.unlabelled)


@dataclass(frozen=True)
class DryRun:
    """What a run would do and cost; ``str`` gives the summary for a person.

    Attributes
    ----------
    plan : Plan
    relaxed : bool
        False when the crystal still has to be relaxed, so that no label can be looked up yet.
    kpoints : tuple of ints
        Number of folded k-points of each supercell; empty for calculators without k-points.
    """

    plan: Plan
    relaxed: bool
    kpoints: tuple[int, ...]

    @property
    def in_store(self) -> int:
        """Labels that need not be computed again."""
        if not self.relaxed:
            return 0
        plan = self.plan
        return sum(plan.store.key_of(atoms, plan.spec) in plan.store for atoms in plan.to_label)

    @property
    def relative_cost(self) -> float:
        """Sum of atoms³ over the configurations, relative to one diagonal supercell of the same grid."""
        atoms_cubed = sum(len(atoms) ** 3 for atoms in self.plan.configurations)
        return atoms_cubed / float(self.diagonal_atoms) ** 3

    @property
    def diagonal_atoms(self) -> int:
        """Atoms in the diagonal supercell of the grid."""
        return len(self.plan.crystal.atoms) * int(np.prod(self.plan.supercells.grid))

    def __str__(self) -> str:
        plan, grid = self.plan, " x ".join(str(n) for n in self.plan.supercells.grid)
        crystal, supercells = plan.crystal, plan.supercells
        lines = [
            f"Crystal         {crystal.atoms.get_chemical_formula()}, {len(crystal.atoms)} atoms, {crystal.symbol} "
            f"({crystal.number})" + ("" if self.relaxed else "; still to be relaxed"),
            f"Supercells      {len(supercells)} for the grid {grid}: cost {supercells.cost:g}, "
            + ("proven smallest" if supercells.gap == 0 else f"at most {supercells.gap:.2%} above the smallest"),
        ]
        for number, (matrix, size) in enumerate(zip(supercells.matrices, supercells.sizes, strict=True)):
            points = f", {self.kpoints[number]} k-points" if self.kpoints else ""
            rows = " ".join("[" + " ".join(f"{entry:d}" for entry in row) + "]" for row in matrix)
            lines.append(f"  s{number:03d}          {size} cells {rows}{points}")
        if crystal.n_primitive_cells > 1:
            lines.append(
                f"Note            the unit cell holds {crystal.n_primitive_cells} primitive cells; "
                "[crystal] primitive = true would make smaller supercells"
            )
        atoms = sum(len(frame) for frame in plan.configurations)
        lines += [
            f"Configurations  {len(plan.configurations)} to label ({atoms} atoms), {len(plan.unlabelled)} without "
            "labels for sparse points",
            *(
                f"Single atom     {atom.atoms.info['ndsc_name']} with settings of its own, in a box of "
                f"{' x '.join(f'{edge:.1f}' for edge in atom.atoms.cell.lengths())} Å"
                for atom in plan.isolated
            ),
            f"Phonons         {len(plan.phonon_frames)} calculations for the reference"
            if plan.phonon_frames
            else "Phonons         the diagonal supercell for the reference",
            f"Cost            atoms³ of the configurations {self.relative_cost:.3g} times that of one calculation of "
            f"the diagonal supercell ({self.diagonal_atoms} atoms)",
            f"Labels          {self.in_store} of {len(plan.to_label)} are in {plan.store.path}"
            if self.relaxed
            else f"Labels          not known before the crystal is relaxed; store {plan.store.path}",
        ]
        return "\n".join(lines)


def dry_run(config: RunConfig, directory: Path) -> DryRun:
    """Work out what a run would do, without computing or writing anything.

    Parameters
    ----------
    config : RunConfig
    directory : path
        Folder that the run would have.

    Raises
    ------
    InputError
        When the input file asks for what cannot be done.
    """
    relaxed = True
    try:
        plan = make_plan(config, directory, compute=False)
    except ReferenceCalculationError:
        relaxed = False
        plan = plan_for(config, unit_cell(config), config.reference.to_spec(), label_store(config, directory))
    kgrid = plan.spec.kgrid
    kpoints = () if kgrid is None else tuple(len(fold_kpoints(matrix, kgrid)) for matrix in plan.supercells.matrices)
    return DryRun(plan, relaxed, kpoints)


def _phonon_frames(config: RunConfig, supercells: SupercellSet) -> list[Atoms]:
    if config.phonons.reference != "supercells" or config.fit.method == "none":
        return []
    return phonon_displacements(supercells, displacement=config.phonons.displacement)


def _spread(frames: list[Atoms], n: int) -> list[Atoms]:
    """n of the frames, evenly over them, so that every supercell has its share."""
    if n >= len(frames):
        return frames
    return [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, n).round().astype(int))]
