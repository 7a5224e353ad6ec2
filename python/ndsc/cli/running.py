"""``ndsc run`` and ``ndsc report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndsc.cli.console import check_folder, print_json, print_table, progress_bars, say, warn
from ndsc.cli.exits import RESUME, ExitCode, fail
from ndsc.cli.options import JsonOption, option
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.results import (
        CostSummary,
        DatabaseSummary,
        PhononsSummary,
        Results,
        SelectionSummary,
        SeveralResults,
    )

COPY = "ndsc.toml"


def run(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The input file.", show_default=False)],
    out: Annotated[
        Path | None,
        option("--out", "Folder of the run.", default="the name of the input file without .toml", metavar="DIR"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and what it would cost, and do nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run everything, from a crystal to a benchmarked potential, as described in an input file.

    A run that was stopped continues: labels in its folder are not computed again.

    [bold]Examples[/bold]

      ndsc run al.toml --dry-run

      ndsc run al.toml

      ndsc run al/ndsc.toml  # go on with the run in the folder al
    """
    from ndsc.config import SeveralConfig, load_run

    settings = load_run(config)
    directory = check_folder(out if out is not None else default_directory(config))
    from ndsc.workflow import dry_run as summarise
    from ndsc.workflow import dry_run_of_several, run_several, run_workflow

    if dry_run:
        with progress_bars() as progress:
            if isinstance(settings, SeveralConfig):
                text = str(dry_run_of_several(settings, directory, progress=progress))
            else:
                text = str(summarise(settings, directory, progress=progress))
        say(text)
        return
    ctx.meta[RESUME] = (
        "What is finished is kept; run the same command again to continue: "
        f"ndsc run {config}{'' if out is None else f' --out {out}'}"
    )
    if isinstance(settings, SeveralConfig):
        with progress_bars() as progress:
            several = run_several(settings, directory, progress=progress)
        if json:
            print_json(several.model_dump(mode="json"))
        else:
            show_several(several, directory)
        _fail_without_labels(several)
        return
    with progress_bars() as progress:
        results = run_workflow(settings, directory, progress=progress)
    if json:
        print_json(results.model_dump(mode="json"))
    else:
        show_results(results, directory)
    _fail_without_labels(results)


def _fail_without_labels(results: Results | SeveralResults) -> None:
    """End with the exit code of failed calculations where labels are missing."""
    if results.labels is not None and results.labels.failures:
        failures = results.labels.failures
        fail(
            f"{len(failures)} of {results.labels.requested} labels are missing: {failures[0].name} "
            f"({failures[0].reason}){' and others' if len(failures) > 1 else ''}. The results are made without them; "
            "correct the cause and run the same command again.",
            ExitCode.REFERENCE,
        )


def default_directory(config: Path) -> Path:
    """The folder named like the input file, here; a run's own copy of its input belongs to the folder it is in."""
    if config.name == COPY:
        return config.parent
    if config.suffix != ".toml":
        raise InputError(
            f"The input file {config} does not end in .toml, so the folder of the run has no name. Give --out DIR."
        )
    return Path(config.stem)


def report(
    run_directories: Annotated[
        list[Path], typer.Argument(metavar="RUNDIR...", help="Folders of runs.", show_default=False)
    ],
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Write one page that compares the runs; their own reports stay as they are."),
    ] = False,
    out: Annotated[
        Path | None, option("--out", "The page of --compare.", default="comparison.html", metavar="FILE.html")
    ] = None,
) -> None:
    """Make the figures and the HTML page of a finished run again; of several crystals, all pages.

    With --compare, one page of several runs, of the same or of different crystals: verdicts, errors, labels and time,
    dispersions, errors over labels and time, and what differs in the input.

    [bold]Examples[/bold]

      ndsc report demo

      ndsc report --compare al-12 al-24 --out al.html
    """
    from ndsc.report import write_comparison, write_report, write_several_report
    from ndsc.results import is_of_several, read_several_results

    if compare:
        say(write_comparison(run_directories, Path("comparison.html") if out is None else out))
        return
    if out is not None:
        raise InputError(
            "--out names the page that --compare writes; the report of one run is always report.html in "
            "its folder. Leave --out out, or add --compare."
        )
    for directory in run_directories:
        if not is_of_several(directory):
            say(write_report(directory))
            continue
        for name in read_several_results(directory).crystals:
            write_report(directory / name)
        say(write_several_report(directory))


def show_several(results: SeveralResults, directory: Path) -> None:
    """The numbers of each crystal that matter, and where the rest is."""
    from ndsc.report.several import COLUMNS, crystal_rows

    for name, one in results.crystals.items():
        _show_properties(one, f"{name}: ")
    print_table("Crystals", COLUMNS, crystal_rows(results))
    for number, (name, one) in enumerate(results.crystals.items()):
        if one.selection is not None:
            last = number + 1 == len(results.crystals)
            _show_choice(one, one.selection, f"{name}: ", why=last)
    for database in results.databases:
        _show_database(database)
    costs = [one.cost for one in results.crystals.values() if one.cost is not None]
    spent = [cost.seconds for cost in costs if cost.seconds is not None]
    time = f", {sum(spent):.1f} s of calculations" if len(spent) == len(costs) else ""
    say(f"{sum(cost.labels for cost in costs)} labels, {sum(cost.atoms for cost in costs)} atoms{time}.")
    said = next(iter(results.crystals.values())).selection
    for warning in results.warnings:
        if not _is_said(warning, said):
            warn(warning)
    for name, one in results.crystals.items():
        _show_verdict(one, directory / name, f"{name}: ")
    page = directory / "report.html"
    say(f"Report: {page if page.exists() else directory}")


def show_results(results: Results, directory: Path) -> None:
    """The numbers that matter, and where the rest is."""
    _show_properties(results)
    if results.selection is not None:
        _show_choice(results, results.selection)
    for database in results.databases:
        _show_database(database)
    if results.cost is not None:
        cost = results.cost
        spent = "" if cost.seconds is None else f", {cost.seconds:.1f} s of calculations"
        say(f"{cost.labels} labels, {cost.atoms} atoms{spent}.{_diagonal(cost)}")
    for warning in results.warnings:
        if not _is_said(warning, results.selection):
            warn(warning)
    _show_verdict(results, directory)
    page = directory / "report.html"
    say(f"Report: {page if page.exists() else directory}")


def _show_verdict(results: Results, directory: Path, head: str = "") -> None:
    """Whether the potential is good on the scale of its crystal; where not, likely causes and the keys to change."""
    from ndsc.report.verdict import verdict_of
    from ndsc.report.write import RunFiles

    found = RunFiles(directory, results).verdict(results) if results.without_reference else verdict_of(results)
    if found is None:
        return
    say(f"{head}{found.word} {found.text}")
    for cause in found.causes:
        say(f"{head}Likely cause: {str(cause).strip()}")


def _show_properties(results: Results, head: str = "") -> None:
    """Lattice, elastic constants and phonons beside the reference's."""
    rows = []
    for name, value in (results.lattice or {}).items():
        if value.model is not None or value.reference is not None:
            units = {"a": "Å", "b": "Å", "c": "Å", "volume_per_atom": "Å³", "area_per_atom": "Å²"}
            unit = units.get(name, "°")
            rows.append([f"{name} ({unit})", *_cells(value.model, value.reference, value.error_percent)])
    for name, value in (results.elastic or {}).items():
        rows.append([f"{name} ({results.elastic_unit})", *_cells(value.model, value.reference, value.error_percent)])
    if rows:
        print_table(f"{head}Lattice and elastic constants", ["", "potential", "reference", "error, %"], rows)
    if results.phonons is not None:
        phonons = results.phonons
        numbers = [
            ["RMSE over the mesh", _number(phonons.rmse_mesh_thz)],
            ["RMSE along the path", _number(phonons.rmse_path_thz)],
            ["largest error", _number(phonons.max_error_thz)],
            ["lowest frequency", _number(phonons.min_frequency_thz)],
        ]
        print_table(f"{head}Phonons, THz", ["", "potential"], numbers)
        _show_polar(phonons, head)


def _show_polar(phonons: PhononsSummary, head: str = "") -> None:
    """Transverse and longitudinal modes at the zone centre, and how far apart they are."""
    from ndsc.report.text import splitting

    rows = [
        [name, *(_number(value, 3) for value in (*ours, splitting(*ours), *theirs, splitting(*theirs)))]
        for modes in phonons.polar
        for name, ours, theirs in modes.rows()
    ]
    if rows:
        heads = ["", "TO", "LO", "LO-TO", "reference TO", "LO", "LO-TO"]
        print_table(f"{head}Polar modes at Γ, THz", heads, rows)


def _diagonal(cost: CostSummary) -> str:
    """What one calculation of the diagonal supercell would take, where that is known."""
    from ndsc.report.text import estimated

    if cost.diagonal_seconds_estimated is None or cost.diagonal_is_measured:
        return ""
    time = estimated(cost.diagonal_seconds_estimated, time=True)
    return f" One calculation of the diagonal supercell, {cost.diagonal_atoms} atoms, would take {time}, an estimate."


def _show_choice(results: Results, chosen: SelectionSummary, head: str = "", *, why: bool = True) -> None:
    """What was chosen, the errors that are expected of it, and what to change where that is too much."""
    expected = [
        ("phonons, RMSE (THz)", chosen.predicted_rmse_thz, chosen.target_thz,
         None if results.phonons is None else results.phonons.rmse_mesh_thz),
        ("elastic constants (%)", chosen.predicted_elastic_percent, chosen.target_elastic_percent,
         results.largest_elastic_percent),
        ("energies of decorations (meV/atom)", chosen.predicted_mev, chosen.target_mev, None),
        ("equation of state (GPa)", chosen.predicted_gpa, chosen.target_gpa, None),
    ]  # fmt: skip
    known = any(true is not None for *_, true in expected)
    rows = [
        [name, *(_significant(value) for value in (predicted, target, *([true] if known else [])))]
        for name, predicted, target, true in expected
        if predicted is not None
    ]
    if rows:
        heads = ["", "predicted", "target", *(["true"] if known else [])]
        print_table(
            f"{head}Errors of the potential, {chosen.labels} labels of {chosen.candidates} candidates", heads, rows
        )
    if not results.elastic and chosen.constants:
        constants = [
            [f"{name} ({results.elastic_unit})", _number(value, 2), _number(chosen.deviations.get(name), 2)]
            for name, value in chosen.constants.items()
        ]
        print_table(f"{head}Elastic constants, predicted", ["", "potential", "expected error"], constants)
    met = "" if chosen.target_met else "The targets are not met. "
    if why:
        say(f"{met}{chosen.reason} {chosen.advice}".strip())


def _show_database(database: DatabaseSummary) -> None:
    """The errors of the potential on a database of the user's own."""
    rows = [
        [
            kind,
            own.configurations,
            own.atoms,
            _milli(own.energy_rmse_ev_per_atom),
            _milli(own.force_rmse_ev_per_angstrom),
            _milli(own.virial_rmse_ev_per_atom),
        ]
        for kind, own in database.types.items()
    ]
    heads = ["", "configurations", "atoms", "energy, meV/atom", "force, meV/Å", "virial, meV/atom"]
    print_table(f"Errors of the potential on the database {database.name}", heads, rows)


def _milli(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.3g}"


def _is_said(warning: str, chosen: SelectionSummary | None) -> bool:
    """Whether a warning is about the targets of the choice, which the lines about it have said."""
    return chosen is not None and bool(chosen.reason) and warning.endswith(f"{chosen.reason} {chosen.advice}".strip())


def _significant(value: float | None) -> str:
    return "not available" if value is None else f"{value:.3g}"


def _number(value: float | None, digits: int = 4) -> str:
    return "not available" if value is None else f"{value:.{digits}f}"


def _cells(model: float | None, reference: float | None, error: float | None) -> list[str]:
    return [_number(model, 3), _number(reference, 3), "" if error is None else f"{error:+.2f}"]
