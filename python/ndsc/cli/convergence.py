"""``ndsc converge``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ndsc.cli.bias import BiasOptions, Problem, compare_with_limit
from ndsc.cli.console import check_folder, note, print_json, progress_bars, say
from ndsc.cli.convergence_tables import show_noise, show_noise_plan, show_plan, show_report
from ndsc.cli.exits import RESUME
from ndsc.cli.options import (
    CalculatorOptions,
    ExecutorOptions,
    JsonOption,
    StructureOptions,
    option,
    parse_grid,
)
from ndsc.cli.running import default_directory
from ndsc.cli.settings import parse_changes, parse_scans
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.reference import CalculatorSpec, ExecutorSettings, LabelStore

DISPLACEMENT, STRAIN, SEED = 0.05, 0.01, 1


@dataclass(frozen=True, kw_only=True)
class SourceOptions(StructureOptions):
    """A structure, or an input file that names one."""

    structure: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="An input file of ndsc run, a structure file that ASE reads, or the symbol of an element.",
            show_default=False,
        ),
    ]


ScanOption = Annotated[
    list[str] | None,
    option(
        "--scan",
        "Scan kgrid, cutoff, smearing or a dotted path into the parameters, from coarse to dense; once for each.",
        default="kgrid, cutoff and smearing around the given values",
        metavar="NAME=V1,V2,…",
    ),
]
CheckOption = Annotated[
    int | None,
    option(
        "--check",
        "No scan: calculate N configurations of the input file's database again, with --kgrid and --set.",
        metavar="N",
    ),
]
LimitOption = Annotated[
    list[str] | None,
    option("--limit", "With --bias: a setting of the limit; once for each.", metavar="PATH=VALUE"),
]
AgainstOption = Annotated[
    Path | None,
    option(
        "--against",
        "With --bias: compare with the reference of another input file, another program for example.",
        metavar="INPUT.toml",
    ),
]
TargetOption = Annotated[
    list[str] | None,
    option(
        "--target",
        "With --bias: by how much results may differ, in %; virials in meV/atom, elastic_gpa in GPa.",
        default="forces=1, virials=3, lattice=0.2, phonons=1, elastic=2, elastic_gpa=1",
        metavar="NAME=VALUE",
    ),
]
QuantityOption = Annotated[
    list[str] | None,
    option(
        "--quantity",
        "With --bias: compare forces, virials, lattice, phonons or elastic; once for each.",
        default="all of them",
        metavar="NAME",
    ),
]
CrystalOption = Annotated[
    str | None, option("--crystal", "With an input file of several crystals: the name of one.", metavar="NAME")
]
SetOption = Annotated[
    list[str] | None,
    option("--set", "Another value for cutoff, smearing or a dotted path into the parameters.", metavar="PATH=VALUE"),
]


def converge(
    ctx: typer.Context,
    source: SourceOptions,
    scan: ScanOption = None,
    check: CheckOption = None,
    bias: Annotated[
        bool, typer.Option("--bias", help="No scan: compare what follows from the settings with a --limit.")
    ] = False,
    limit: LimitOption = None,
    against: AgainstOption = None,
    *,
    target: TargetOption = None,
    quantity: QuantityOption = None,
    given_lattice: Annotated[
        bool,
        typer.Option(
            "--given-lattice",
            help="With --bias: phonons and elastic constants of both at the crystal given, not each relaxed.",
        ),
    ] = False,
    crystal: CrystalOption = None,
    calculator: CalculatorOptions,
    changes: SetOption = None,
    grid: Annotated[
        str | None, option("--grid", "q-point grid of the supercells.", default="2", metavar="N N N")
    ] = None,
    configurations: Annotated[
        int, typer.Option("--configurations", min=0, help="Perturbed supercells, the smallest first.")
    ] = 3,
    unit_cells: Annotated[int, typer.Option("--unit-cells", min=0, help="Unit cells, all but the first strained.")] = 3,
    force: Annotated[float, typer.Option("--force", help="Target: any force component, meV/Å.")] = 1.0,
    energy: Annotated[float, typer.Option("--energy", help="Target: any energy difference, meV/atom.")] = 1.0,
    virial: Annotated[float, typer.Option("--virial", help="Target: any virial component, meV/atom.")] = 5.0,
    virial_offset: Annotated[
        float | None,
        option("--virial-offset", "Target: the constant common to all virials, meV/atom.", default="as --virial"),
    ] = None,
    run: Annotated[
        Path | None, option("--run", "Folder of the input file's run.", default="that of ndsc run", metavar="DIR")
    ] = None,
    labels: Annotated[
        Path | None, option("--labels", "Keep the calculations here.", default="labels in --out", metavar="DIR")
    ] = None,
    out: Annotated[
        Path | None, option("--out", "Folder of the results.", default="NAME-convergence", metavar="DIR")
    ] = None,
    executor: ExecutorOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be calculated, and calculate nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find the k-points, cutoff and smearing that a database needs, tested on configurations like its own.

    [bold]Examples[/bold]

      ndsc converge al.toml --dry-run

      ndsc converge al.toml --scan kgrid=4,8,12,16 --scan cutoff=300,350,400,500

      ndsc converge Si --calculator gpaw --kgrid 4 --parameters '{"mode": {"name": "pw", "ecut": 300}}'

      ndsc converge al.toml --check 10 --kgrid 12 --set mode.ecut=500

      ndsc converge al.toml --bias --limit occupations.width=0.4 --limit kgrid=32

      ndsc converge al.toml --bias --against al-abinit.toml --given-lattice

      ndsc converge several-crystals.toml --crystal fcc --dry-run
    """
    from ndsc.convergence import Tolerances, plan_convergence, sample_configurations, with_settings
    from ndsc.convergence import converge as find
    from ndsc.reference import LabelStore

    targets = Tolerances(force=force, virial=virial, energy=energy, virial_offset=virial_offset)
    if check is not None and scan:
        raise InputError("--check compares with one set of denser settings, --scan with many. Give one of the two.")
    wanted = BiasOptions(bias, limit, against, target, quantity, given_lattice)
    if wanted.checked() and (check is not None or scan):
        raise InputError("--bias compares with one limit. Give it alone, without --check and --scan.")
    name, kgrid = source.structure, calculator.kgrid
    if name.endswith(".toml"):
        if named := [*calculator.given(), *(["--grid"] if grid else []), *source.given()]:
            raise InputError(
                f"{', '.join(named)}: this is set in {name}. Change it there, or give a structure instead."
            )
        problem = _from_input(Path(name), crystal, run, executor, must_be_relaxed=check is not None)
    elif crystal is not None:
        raise InputError(
            f"--crystal names one of the crystals of an input file, and {name} is a structure. Leave it out."
        )
    elif check is not None:
        raise InputError(f"--check needs the input file of a database, not the structure {name}. Give an INPUT.toml.")
    else:
        problem = _from_structure(source, calculator.spec(), grid or "2", executor.settings())
        kgrid = None
    folder = check_folder(out if out is not None else Path(f"{problem.name}-convergence"))
    store = LabelStore(check_folder(labels if labels is not None else folder / "labels"))
    ctx.meta[RESUME] = f"What was calculated is kept in {store.path}; run the same command again to continue."
    changed = with_settings(problem.spec, parse_changes(changes or [], kgrid))
    if check is not None:
        _check(problem, changed, check, store, folder, dry_run=dry_run, json=json)
        return
    if bias:
        sample = sample_configurations(
            problem.supercells, problem.configurations, displaced=configurations, unit_cells=unit_cells
        )
        compare_with_limit(wanted, problem, changed, sample, store, folder, dry_run=dry_run, json=json)
        return
    sample = sample_configurations(
        problem.supercells, problem.configurations, displaced=configurations, unit_cells=unit_cells
    )
    scans = parse_scans(scan)
    what: dict[str, Any] = {"scans": scans, "grid": problem.supercells.grid, "known": problem.known}
    if dry_run:
        show_plan(plan_convergence(sample, changed, store, **what), sample, json=json)
        return
    with progress_bars() as progress:
        report = find(sample, changed, store, targets=targets, progress=progress, **what, executor=problem.executor)
    report.save(folder)
    if json:
        print_json(report.to_dict())
    else:
        show_report(report)
        say(f"Written: {folder / 'convergence.json'}, .csv, .png and .pdf; calculations are in {store.path}")
    report.require_converged()


def _from_structure(source: SourceOptions, spec: CalculatorSpec, grid: str, executor: ExecutorSettings) -> Problem:
    from ndsc.configurations import make_configurations
    from ndsc.supercells import find_supercells

    numbers = parse_grid(grid)
    crystal = source.crystal()
    spec.check(crystal.atoms)
    supercells = find_supercells(crystal, numbers)
    frames = make_configurations(
        supercells, per_supercell=6, displacement=DISPLACEMENT, strain=STRAIN, unit_cells=0, seed=SEED
    )
    return Problem(Path(source.structure).stem, spec, supercells, frames, executor)


def _from_input(
    source: Path, crystal: str | None, run: Path | None, executor: ExecutorOptions, *, must_be_relaxed: bool
) -> Problem:
    from ndsc.config import load_one
    from ndsc.workflow.dry_run import plan_without_calculations

    config = load_one(source, crystal)
    directory = run if run is not None else default_directory(source)
    plan = plan_without_calculations(config, directory, dynamics=True)
    if not plan.relaxed:
        if must_be_relaxed:
            raise InputError(
                f"The crystal of {source} is not relaxed yet, so there is no database to check. Start it first: ndsc "
                f"run {source}. If its folder is not {directory}, name that with --run."
            )
        note(
            "The crystal is not relaxed yet, so the configurations are made from the structure as the input file "
            "gives it."
        )
    return Problem(
        directory.absolute().name if crystal is None else f"{directory.absolute().name}-{crystal}",
        plan.spec,
        plan.supercells,
        plan.configurations,
        executor.settings(config.executor),
        plan.store,
        strain=config.elastic.strain,
        relax_ions=config.elastic.relax_ions,
        displacement=config.phonons.displacement,
        elastic=config.elastic.enabled,
    )


def _check(
    problem: Problem,
    denser: CalculatorSpec,
    n: int,
    store: LabelStore,
    folder: Path,
    *,
    dry_run: bool,
    json: bool,
) -> None:
    """The noise of a database that exists."""
    from ndsc.convergence import noise_table, plan_noise

    assert problem.known is not None
    what = (problem.configurations, problem.spec, problem.known, denser, store)
    if dry_run:
        show_noise_plan(plan_noise(*what, n=n), json=json)
        return
    with progress_bars() as progress:
        table = noise_table(*what, n=n, progress=progress, executor=problem.executor)
    table.save(folder)
    if json:
        print_json(table.to_dict())
    else:
        show_noise(table)
        say(f"Written: {folder / 'noise.json'} and noise.csv; calculations are in {store.path}")
