"""``ndsc converge``."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    parse_kgrid,
)
from ndsc.cli.running import default_directory
from ndsc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from ndsc.reference import CalculatorSpec, ExecutorSettings, LabelStore
    from ndsc.supercells import SupercellSet

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
SetOption = Annotated[list[str] | None, option("--set", "Another value for a parameter.", metavar="PATH=VALUE")]


def converge(
    ctx: typer.Context,
    source: SourceOptions,
    scan: ScanOption = None,
    check: CheckOption = None,
    *,
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
        Path | None, option("--run", "Folder of the input file's run.", default="as ndsc run has it", metavar="DIR")
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
    """Which k-points, cutoff and smearing a database needs, tested on configurations like its own.

    [bold]Examples[/bold]

      ndsc converge al.toml --dry-run

      ndsc converge al.toml --scan kgrid=4,8,12,16 --scan cutoff=300,350,400,500

      ndsc converge Si --calculator gpaw --kgrid 4 --parameters '{"mode": {"name": "pw", "ecut": 300}}'

      ndsc converge al.toml --check 10 --kgrid 12 --set mode.ecut=500
    """
    from ndsc.convergence import Tolerances, plan_convergence, sample_configurations, with_settings
    from ndsc.convergence import converge as find
    from ndsc.reference import LabelStore

    targets = Tolerances(force=force, virial=virial, energy=energy, virial_offset=virial_offset)
    if check is not None and scan:
        raise InputError("--check compares with one set of denser settings, --scan with many. Give one of the two.")
    name, kgrid = source.structure, calculator.kgrid
    if name.endswith(".toml"):
        if named := [*calculator.given(), *(["--grid"] if grid else []), *source.given()]:
            raise InputError(f"{', '.join(named)}: {name} says this. Change it there, or give a structure instead.")
        problem = _from_input(Path(name), run, executor, must_be_relaxed=check is not None)
    elif check is not None:
        raise InputError(f"--check needs the input file of a database, not the structure {name}. Give an INPUT.toml.")
    else:
        problem = _from_structure(source, calculator.spec(), grid or "2", executor.settings())
        kgrid = None
    folder = check_folder(out if out is not None else Path(f"{problem.name}-convergence"))
    store = LabelStore(check_folder(labels if labels is not None else folder / "labels"))
    ctx.meta[RESUME] = f"What was calculated is kept in {store.path}; run the same command again to go on."
    changed = with_settings(problem.spec, parse_changes(changes or [], kgrid))
    if check is not None:
        _check(problem, changed, check, store, folder, dry_run=dry_run, json=json)
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


def parse_changes(texts: Sequence[str], kgrid: str | None = None) -> dict[str, Any]:
    """Settings by their path, from ``--set PATH=VALUE`` and ``--kgrid``.

    Raises
    ------
    InputError
        When one has no path or no value, or is given twice.
    """
    changes: dict[str, Any] = {} if kgrid is None else {"kgrid": parse_kgrid(kgrid)}
    for text in texts:
        path, value = _assignment(text, "--set", "mode.ecut=500")
        if path in changes:
            raise InputError(f"--set {text}: {path} is given twice. Give it once.")
        changes[path] = parse_kgrid(value, "--set kgrid") if path == "kgrid" else _value(value)
    return changes


def parse_scans(texts: Sequence[str] | None) -> dict[str, list[Any] | None] | None:
    """Values by the name of their setting, from ``--scan NAME=V1,V2``; a name alone asks for values around the given.

    Raises
    ------
    InputError
        When one has no name, or is given twice.
    """
    if not texts:
        return None
    scans: dict[str, list[Any] | None] = {}
    for text in texts:
        name, values = (text.strip(), None) if "=" not in text else _assignment(text, "--scan", "kgrid=4,8,12")
        if not name or name in scans:
            raise InputError(f"--scan {text}: {f'{name} is given twice' if name else 'a name is expected'}. Give one.")
        words = None if values is None else [word for word in _between_commas(values) if word.strip()]
        if words is not None and name == "kgrid":
            scans[name] = [parse_kgrid(word, "--scan kgrid") for word in words]
        else:
            scans[name] = None if words is None else [_value(word) for word in words]
    return scans


def _between_commas(text: str) -> list[str]:
    """What is between the commas outside of brackets: those of a list belong to one value."""
    words, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return words


@dataclass(frozen=True)
class _Problem:
    """A database and the calculator whose settings are in question."""

    name: str
    spec: CalculatorSpec
    supercells: SupercellSet
    configurations: list[Atoms]
    executor: ExecutorSettings
    known: LabelStore | None = None


def _from_structure(source: SourceOptions, spec: CalculatorSpec, grid: str, executor: ExecutorSettings) -> _Problem:
    from ndsc.configurations import make_configurations
    from ndsc.supercells import find_supercells

    numbers = parse_grid(grid)
    crystal = source.crystal()
    spec.check(crystal.atoms)
    supercells = find_supercells(crystal, numbers)
    frames = make_configurations(
        supercells, per_supercell=6, displacement=DISPLACEMENT, strain=STRAIN, unit_cells=0, seed=SEED
    )
    return _Problem(Path(source.structure).stem, spec, supercells, frames, executor)


def _from_input(source: Path, run: Path | None, executor: ExecutorOptions, *, must_be_relaxed: bool) -> _Problem:
    from ndsc.config import load_config
    from ndsc.workflow.dry_run import plan_without_calculations

    config = load_config(source)
    directory = run if run is not None else default_directory(source)
    plan = plan_without_calculations(config, directory)
    if not plan.relaxed:
        if must_be_relaxed:
            raise InputError(
                f"The crystal of {source} is not relaxed yet, so there is no database to check. Make it first: ndsc "
                f"run {source}; --run names the folder of the run where it is another than {directory}."
            )
        note("The crystal is not relaxed yet; the configurations are made of it as the input file gives it.")
    return _Problem(
        directory.absolute().name,
        plan.spec,
        plan.supercells,
        plan.configurations,
        executor.settings(config.executor),
        plan.store,
    )


def _check(
    problem: _Problem,
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


def _assignment(text: str, option: str, example: str) -> tuple[str, str]:
    path, _, value = (part.strip() for part in text.partition("="))
    if not (path and value):
        raise InputError(f"{option} {text}: a name and a value are expected. Write for example {option} {example}.")
    return path, value


def _value(text: str) -> Any:
    """A value as JSON, or else the word itself."""
    try:
        return json_module.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
