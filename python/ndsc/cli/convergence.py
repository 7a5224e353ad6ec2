"""``ndsc converge``."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ndsc.cli.console import check_folder, note, print_json, print_table, progress_bars
from ndsc.cli.exits import RESUME
from ndsc.cli.options import JsonOption, parse_grid
from ndsc.cli.running import default_directory
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.convergence import Difference, NoisePlan, NoiseTable


def converge(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="INPUT.toml", help="The input file of a run.", show_default=False)],
    check: Annotated[
        int,
        typer.Option(
            "--check",
            metavar="N",
            help="Calculate N configurations of the run's database again, with --kgrid and --set.",
            show_default=False,
        ),
    ],
    kgrid: Annotated[
        str | None, typer.Option("--kgrid", metavar="N N N", help="k-point grid of the unit cell.", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Another value for a parameter.", show_default=False),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Folder of the run.", show_default="as ndsc run chooses it"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="DIR", help="Keep the calculations here.", show_default="labels in --out"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of what is written.", show_default="NAME-convergence"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that compute labels.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be calculated, and calculate nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Whether the settings of the reference are good enough.

    [bold]Examples[/bold]

      ndsc converge al.toml --check 10 --kgrid 12 --set mode.ecut=500 --dry-run
    """
    from ndsc.config import load_config

    settings = load_config(config)
    directory = run if run is not None else default_directory(config)
    folder = check_folder(out if out is not None else directory.with_name(f"{directory.name}-convergence"))
    store_folder = check_folder(labels if labels is not None else folder / "labels")
    from ndsc.convergence import noise_table, plan_noise, with_settings
    from ndsc.reference import LabelStore
    from ndsc.workflow.plan import make_plan

    plan = make_plan(settings, directory, compute=False)
    denser = with_settings(plan.spec, parse_changes(changes or [], kgrid))
    store = LabelStore(store_folder)
    if dry_run:
        _show_noise_plan(plan_noise(plan.configurations, plan.spec, plan.store, denser, store, n=check), json=json)
        return
    executor = settings.executor.to_settings()
    ctx.meta[RESUME] = f"What was calculated is kept in {store_folder}; run the same command again to go on."
    with progress_bars() as progress:
        table = noise_table(
            plan.configurations, plan.spec, plan.store, denser, store, n=check, workers=workers or 1,
            executor=executor if workers is None else None, progress=progress,
        )  # fmt: skip
    table.save(folder)
    if json:
        print_json(table.to_dict())
    else:
        show_noise(table)
        typer.echo(f"Written: {folder / 'noise.json'} and noise.csv; labels in {store_folder}")


def parse_changes(texts: list[str], kgrid: str | None = None) -> dict[str, Any]:
    """Settings by their path, from ``--set PATH=VALUE`` and ``--kgrid``.

    Raises
    ------
    InputError
        When one has no path or no value, or is given twice.
    """
    changes: dict[str, Any] = {} if kgrid is None else {"kgrid": parse_grid(kgrid, "--kgrid")}
    for text in texts:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not (path and equals and value.strip()):
            raise InputError(f"--set {text}: a path and a value are expected. Write for example --set mode.ecut=500.")
        if path in changes:
            raise InputError(f"--set {text}: {path} is given twice. Give it once.")
        changes[path] = parse_grid(value, "--set kgrid") if path == "kgrid" else parse_value(value)
    return changes


def parse_value(text: str) -> Any:
    """A value as JSON, or else the word itself."""
    try:
        return json_module.loads(text)
    except ValueError:
        return text.strip()


def show_noise(table: NoiseTable) -> None:
    """The table of one configuration a line, and what it says of the database."""
    for line in table.changed:
        note(line)
    rows = [
        [row.name, row.atoms, _digits(row.force_rms), _digits(row.force_max), _digits(row.energy), _digits(row.virial_max), row.seconds,
         row.denser_seconds]
        for row in table.rows
    ]  # fmt: skip
    print_table(
        "Labels of the database minus labels with the denser settings; forces in meV/Å, energies and virials in "
        "meV/atom, without their common constants",
        ["", "atoms", "force rms", "max", "energy", "virial max", "time, s", "denser, s"],
        rows,
    )
    print_table("Noise of the database", ["", "rms", "largest", "common constant"], difference_rows(table.difference))
    for text in table.notes:
        note(text)


def difference_rows(found: Difference) -> list[list[object]]:
    """A difference as three rows of a table."""
    return [
        ["force components, meV/Å", _digits(found.force_rms), _digits(found.force_max), ""],
        ["energy differences, meV/atom", _digits(found.energy_rms), _digits(found.energy_max), f"{_digits(found.energy_offset)} (cancels)"],
        ["virial components, meV/atom", _digits(found.virial_rms), _digits(found.virial_max),
         "" if found.virial_offset is None else f"{_digits(found.virial_offset)} (moves the volume)"],
    ]  # fmt: skip


def _show_noise_plan(plan: NoisePlan, *, json: bool) -> None:
    rows = [
        {
            "name": atoms.info["ndsc_name"],
            "atoms": len(atoms),
            "kpoints": None if plan.kpoints is None else plan.kpoints[number],
            "denser_kpoints": None if plan.denser_kpoints is None else plan.denser_kpoints[number],
        }
        for number, atoms in enumerate(plan.configurations)
    ]
    if json:
        print_json({"configurations": rows, "in_store": plan.in_store, "to_compute": len(rows) - plan.in_store})
        return
    print_table(
        "Configurations to check",
        ["", "atoms", "k-points", "denser k-points"],
        [["none" if value is None else value for value in row.values()] for row in rows],
    )
    typer.echo(f"{len(rows) - plan.in_store} calculations; {plan.in_store} are in the store already.")


def _digits(value: float | None) -> object:
    """Three digits; what is below a millionth of the unit is nothing."""
    if value is None:
        return "none"
    return float(f"{value:.3g}") if abs(value) >= 1e-6 else 0.0
