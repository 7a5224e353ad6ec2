"""``ndsc phonons`` and ``ndsc elastic``: benchmarks of any calculator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ndsc.cli.console import check_folder, note, print_json, progress_bars, say, staged_folder
from ndsc.cli.elsewhere import ElsewhereOptions, asked_for
from ndsc.cli.exits import RESUME
from ndsc.cli.options import (
    CalculationOptions,
    CalculatorOptions,
    ExecutorOptions,
    FmaxOption,
    GridOption,
    JsonOption,
    LabelsOption,
    MaxStepsOption,
    RelaxOption,
    StructureOptions,
    option,
    parse_grid,
    symmetry_of,
)
from ndsc.cli.showing import BandOptions, plot_elastic, show_elastic, show_phonons
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.crystal import Crystal
    from ndsc.phonons import SupercellPhonons
    from ndsc.progress import Progress
    from ndsc.reference import CalculatorSpec, ExecutorSettings, Label, LabelStore, StoredCalculator

ROUTES = ("auto", "tiling", "dynamical")


def phonons(
    ctx: typer.Context,
    structure: StructureOptions,
    grid: GridOption,
    calculator: CalculatorOptions,
    displacement: Annotated[float, typer.Option("--displacement", help="Displacement of the atoms, Å.")] = 0.01,
    residual_force_limit: Annotated[
        float, typer.Option("--residual-force-limit", help="Largest force of the unperturbed crystal, eV/Å.")
    ] = 0.01,
    diagonal: Annotated[
        bool, typer.Option("--diagonal", help="Use one diagonal supercell, as phonopy usually does.")
    ] = False,
    route: Annotated[
        str, typer.Option("--route", help=f"How the force constants are solved for: {', '.join(ROUTES)}.")
    ] = "auto",
    born: Annotated[
        Path | None,
        option("--born", "Born charges of a polar crystal: a BORN file or a vasprun.xml.", metavar="FILE"),
    ] = None,
    relax: RelaxOption = False,
    fmax: FmaxOption = 1e-4,
    max_steps: MaxStepsOption = 200,
    *,
    executor: ExecutorOptions,
    elsewhere: ElsewhereOptions,
    labels: LabelsOption = None,
    out: Annotated[Path | None, option("--out", "Write phonopy_params.yaml to this folder.", metavar="DIR")] = None,
    files: BandOptions,
    json: JsonOption = False,
) -> None:
    """Calculate the phonons of a crystal from the minimal non-diagonal supercells, with any calculator.

    [bold]Examples[/bold]

      ndsc phonons Al --grid 4 4 4 --calculator emt --relax --out al-phonons

      ndsc phonons Al --grid 4 --plot al.png --band al.csv

      ndsc phonons si.cif --grid 2 --calculator gpaw --kgrid 8 8 8 --labels si-labels
           --parameters '{"mode": {"name": "pw", "ecut": 400}, "xc": "PBE"}'

      ndsc phonons POSCAR --grid 4 --kgrid 12 --write calc --code vasp --copy INCAR --copy POTCAR

      ndsc phonons POSCAR --grid 4 --kgrid 12 --read calc

    phonopy-load opens the file that --out writes, and phonopy-bandplot the one that --band writes as .yaml.
    """
    numbers = parse_grid(grid)
    spec, settings = elsewhere.spec(calculator), executor.settings()
    if out is not None:
        check_folder(out)
    files.check()
    crystal = structure.crystal()
    spec.check(crystal.atoms)
    _note_default(calculator, elsewhere)
    _check_kgrid(crystal, numbers, spec, diagonal=diagonal)
    if route not in ROUTES:
        raise InputError(f"--route {route}: this is not a route. Choose one of {', '.join(ROUTES)}.")
    from ndsc.benchmark_settings import PhononSettings
    from ndsc.force_constants.born import read_born, set_nac

    said = {"displacement": displacement, "residual_force_limit": residual_force_limit}
    limit = PhononSettings.parse(said, "The options").residual_force_limit
    charges = None if born is None else read_born(born, crystal)

    with _store(ctx, elsewhere.store(labels)) as store, progress_bars() as progress:
        if elsewhere.read is not None:
            elsewhere.take(store.path)
            settings = settings.replaced(kind="elsewhere")
        one_by_one = _stored(spec, store, executor, elsewhere)
        relaxed = partial(_relaxed, fmax=fmax, max_steps=max_steps) if relax else None

        def from_diagonal(of: Crystal, asked: StoredCalculator) -> SupercellPhonons:
            from ndsc.phonons import phonons_from_diagonal

            return phonons_from_diagonal(
                of,
                numbers,
                asked,
                displacement=displacement,
                residual_force_limit=limit,
                kgrid=spec.kgrid,
                progress=progress,
            )

        if elsewhere.used:
            frames = None if diagonal else partial(_displacements, grid=numbers, displacement=displacement)
            wanted = asked_for(spec, store, crystal, "phonons", relaxed=relaxed, steps=from_diagonal, frames=frames)
            if elsewhere.put(wanted, spec, store.path, structure.structure):
                return
        if relaxed is not None:
            crystal = relaxed(crystal, one_by_one, progress)
        if diagonal:
            found = from_diagonal(crystal, one_by_one)
        else:
            work = _Work(spec, store, settings, progress)
            found = _from_supercells(crystal, numbers, work, displacement=displacement, limit=limit, route=route)
    if charges is not None:
        set_nac(found.phonopy, charges)
    if out is not None:
        with staged_folder(out) as folder:
            found.save(folder / "phonopy_params.yaml")
    written = files.write(found)
    show_phonons(crystal, found, json=json)
    if not json:
        for path in [*([] if out is None else [out / "phonopy_params.yaml"]), *written]:
            say(f"Written: {path}")


def elastic(
    ctx: typer.Context,
    structure: StructureOptions,
    calculator: CalculatorOptions,
    strain: Annotated[float, typer.Option("--strain", help="Largest strain of the finite differences.")] = 0.005,
    clamped: Annotated[
        bool, typer.Option("--clamped", help="Clamp the ions: move them only as the strain does.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", help="Strains of each kind, an odd number.")] = 3,
    relax: RelaxOption = False,
    fmax: FmaxOption = 1e-4,
    max_steps: MaxStepsOption = 200,
    *,
    calculations: CalculationOptions,
    elsewhere: ElsewhereOptions,
    labels: LabelsOption = None,
    plot: Annotated[
        Path | None, option("--plot", "Draw the constants, and Young's modulus by direction: .png, .pdf or .svg.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Calculate the elastic constants of a crystal in GPa, with relaxed ions and any calculator.

    [bold]Examples[/bold]

      ndsc elastic Al --calculator emt --relax --plot al.pdf

      ndsc elastic si.cif --calculator my_module:make_calculator --json

      ndsc elastic POSCAR --kgrid 12 --write calc --code vasp

      ndsc elastic POSCAR --kgrid 12 --read calc
    """
    from ndsc.benchmark_settings import StrainedCellSettings

    strains = StrainedCellSettings.parse(
        {"strain": strain, "relax_ions": not clamped, "n_steps": steps, "fmax": fmax, "max_steps": max_steps},
        "The options",
    )
    spec = elsewhere.spec(calculator)
    calculations.settings()
    if plot is not None:
        from ndsc.report.style import check_figure_file

        check_figure_file(plot)
    crystal = structure.crystal()
    spec.check(crystal.atoms)
    _note_default(calculator, elsewhere)
    from ndsc.elastic import elastic_constants

    with _store(ctx, elsewhere.store(labels)) as store, progress_bars() as progress:
        if elsewhere.read is not None:
            elsewhere.take(store.path)
        one_by_one = _stored(spec, store, calculations, elsewhere)
        relaxed = partial(_relaxed, fmax=fmax, max_steps=max_steps) if relax else None
        options = strains.model_dump(exclude={"enabled"})
        if elsewhere.used:

            def strained(of: Crystal, asked: StoredCalculator) -> object:
                return elastic_constants(of, asked, **options)

            wanted = asked_for(spec, store, crystal, "strained cells", relaxed=relaxed, steps=strained)
            if elsewhere.put(wanted, spec, store.path, structure.structure):
                return
        if relaxed is not None:
            crystal = relaxed(crystal, one_by_one, progress)
        found = elastic_constants(crystal, one_by_one, progress=progress, **options)
    if plot is not None:
        plot_elastic(crystal, found, plot)
    if json:
        print_json(found.to_dict() | symmetry_of(crystal))
        return
    show_elastic(crystal, found)
    if plot is not None:
        say(f"Written: {plot}")


def _check_kgrid(crystal: Crystal, grid: tuple[int, int, int], spec: CalculatorSpec, *, diagonal: bool) -> None:
    """Refuse k-points that do not fold into the supercells, before a relaxation computes anything."""
    if spec.kgrid is None:
        return
    from ndsc.kpoints import check_kgrid_folds
    from ndsc.sheet import check_kgrid_of_sheet
    from ndsc.supercells import diagonal_supercell, find_supercells

    if crystal.is_sheet:
        check_kgrid_of_sheet(spec.kgrid)
    check_kgrid_folds((diagonal_supercell if diagonal else find_supercells)(crystal, grid).matrices, spec.kgrid)


def _note_default(calculator: CalculatorOptions, elsewhere: ElsewhereOptions) -> None:
    if calculator.calculator is None and not elsewhere.used:
        note("Without --calculator, this is EMT, a classical model of Ni, Cu, Pd, Ag, Pt, Au and Al.")


@contextmanager
def _store(ctx: typer.Context, labels: Path | None) -> Iterator[LabelStore]:
    """The label store that the user named, or one that is gone afterwards."""
    from ndsc.files import ScratchFolder
    from ndsc.reference import LabelStore

    if labels is not None:
        check_folder(labels)
        ctx.meta[RESUME] = f"What was calculated is kept in {labels}; run the same command again to continue."
        yield LabelStore(labels)
        return
    ctx.meta[RESUME] = (
        "Nothing was kept. With --labels DIR, calculations are stored and a second call continues from them."
    )
    with ScratchFolder() as folder:
        yield LabelStore(folder.path)


def _stored(
    spec: CalculatorSpec, store: LabelStore, options: CalculationOptions, elsewhere: ElsewhereOptions
) -> StoredCalculator:
    """The calculator for what follows from many calculations, one after the other."""
    from ndsc.reference import StoredCalculator

    settings = options.settings()
    return StoredCalculator(
        spec,
        store,
        threads=settings.threads,
        watched=options.watched,
        timeout=settings.timeout,
        retries=settings.retries,
        compute=not elsewhere.used,
    )


def _displacements(crystal: Crystal, *, grid: tuple[int, int, int], displacement: float) -> list[Atoms]:
    from ndsc.phonons import phonon_displacements
    from ndsc.supercells import find_supercells

    return list(phonon_displacements(find_supercells(crystal, grid), displacement=displacement))


def _relaxed(
    crystal: Crystal, calculator: StoredCalculator, progress: Progress, *, fmax: float, max_steps: int
) -> Crystal:
    from ndsc.relaxation import relax_crystal

    relaxed = relax_crystal(crystal, calculator, fmax=fmax, max_steps=max_steps, progress=progress)
    return crystal.with_structure(relaxed)


@dataclass(frozen=True)
class _Work:
    """How labels are computed, and where they are kept."""

    spec: CalculatorSpec
    store: LabelStore
    settings: ExecutorSettings
    progress: Progress


def _from_supercells(
    crystal: Crystal, grid: tuple[int, int, int], work: _Work, *, displacement: float, limit: float, route: Any
) -> SupercellPhonons:
    """Label the displaced supercells in parallel, the unperturbed ones first, and solve for the force constants."""
    from ndsc.force_constants.samples import check_residual
    from ndsc.phonons import phonon_displacements, phonons_from_labels
    from ndsc.reference import label_configurations
    from ndsc.supercells import find_supercells

    supercells = find_supercells(crystal, grid, progress=work.progress)
    frames = phonon_displacements(supercells, displacement=displacement, progress=work.progress)
    labels: dict[str, Label] = {}
    perfect = [frame for frame in frames if frame.info["config_type"] == "phonon_perfect"]
    for chosen, task in ((perfect, "perfect supercells"), (frames, "displacements")):
        report = label_configurations(
            chosen, work.spec, work.store, executor=work.settings, progress=work.progress, task=task
        )
        report.require_all()
        labels |= report.labels
        for frame in perfect:
            name = frame.info["ndsc_name"]
            check_residual(name, labels[name].forces, limit)
    return phonons_from_labels(
        supercells,
        frames,
        {name: label.forces for name, label in labels.items()},
        residual_force_limit=limit,
        route=route,
        kgrid=work.spec.kgrid,
        seconds=sum(label.cost_seconds for label in labels.values()),
    )
