"""``ndsc select``: which configurations to label, in which order, and how good the potential will be."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ndsc.cli.console import check_folder, duration, note, print_json, print_table, progress_bars, say, warn
from ndsc.cli.exits import RESUME
from ndsc.cli.fitting import EnergyKey, ForcesKey, StressKey, VirialKey, read_labelled
from ndsc.cli.options import JsonOption, NamedStructureOptions, option, parse_grid, say_symmetry, symmetry_of
from ndsc.cli.running import default_directory
from ndsc.errors import InputError
from ndsc.files import ScratchFolder

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.progress import Progress
    from ndsc.selection import Selection
    from ndsc.selection.settings import SelectionSettings
    from ndsc.workflow.preview import Estimate, Preview

CHOSEN, RECORD = "chosen.extxyz", "selection.json"
# The four keys of a database that are not given.
KEYS = ("REF_energy", "REF_forces", "REF_virial", None)


def select(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="INPUT.toml",
            help="The input file of a run; leave it out if --database is given.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[int | None, typer.Option("--labels", min=1, help="Largest number of labels to choose.")] = None,
    target_thz: Annotated[
        float | None, option("--target-thz", "Stop when the expected error of phonon frequencies is at most this, THz.")
    ] = None,
    target_elastic: Annotated[
        float | None,
        option("--target-elastic", "Stop when the expected error of elastic constants is at most this, per cent."),
    ] = None,
    seconds: Annotated[
        float | None,
        option("--seconds", "Longest total time of the chosen labels, estimated from those in the store, s."),
    ] = None,
    database: Annotated[
        Path | None, option("--database", "Choose from the configurations of this file instead.", metavar="FILE")
    ] = None,
    complete: Annotated[
        bool,
        typer.Option(
            "--complete", help="Count the labels of the database as known, and choose from new configurations."
        ),
    ] = False,
    *,
    structure: NamedStructureOptions,
    grid: Annotated[str | None, option("--grid", "For a database: the q-point grid.", metavar="N N N")] = None,
    candidates: Annotated[
        int | None, typer.Option("--candidates", min=1, help="For --complete: new configurations to choose from.")
    ] = None,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    virial_key: VirialKey = "REF_virial",
    stress_key: StressKey = None,
    preset: Annotated[
        str | None, option("--preset", "For a database: settings of Allen and Bartók's Table 2: Mg, Al, Si or W.")
    ] = None,
    settings: Annotated[
        Path | None,
        option("--settings", "For a database: an input file whose section [fit] is used.", metavar="FILE.toml"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that compute kernels; all processors by default.")
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            "Folder for the chosen structures.",
            default="selection, in the folder of the run or here",
            metavar="DIR",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how long the choice takes and how much memory, and do nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Choose which configurations to label, and in which order, and predict the errors after each of them.

    Labels that the run has already count as there. Without any, only the order and the ratios of errors mean much.
    Without a number, a target or seconds, those of the section [selection] hold.

    [bold]Examples[/bold]

      ndsc select al.toml --labels 12

      ndsc select al.toml --target-thz 0.05 --target-elastic 3 --json

      ndsc select al.toml --seconds 3600 --dry-run

      ndsc select several-crystals.toml --labels 20

      ndsc select --database own.extxyz --structure cell.cif --grid 4 --labels 20

      ndsc select --database own.extxyz --structure cell.cif --grid 4 --complete --target-thz 0.05 --stress-key stress
    """
    from ndsc.reference.processes import cores

    given = {"n": labels, "target_thz": target_thz, "target_elastic_percent": target_elastic, "seconds": seconds}
    if (config is None) == (database is None):
        raise InputError("Give one of the two: the input file of a run, or --database with --structure and --grid.")
    for name, value in {"--target-thz": target_thz, "--target-elastic": target_elastic, "--seconds": seconds}.items():
        if value is not None and not value > 0:
            raise InputError(f"{name} {value:g}: a positive number is expected.")
    keys = (energy_key, forces_key, virial_key, stress_key)
    with progress_bars() as progress:
        if config is not None:
            own = [*structure.given(), *(["--structure"] if structure.structure else [])]
            more = {
                "--grid": grid, "--complete": complete, "--candidates": candidates, "--preset": preset,
                "--settings": settings, "the keys": keys != KEYS,
            }  # fmt: skip
            foreign = [*own, *(name for name, value in more.items() if value)]
            if foreign:
                raise InputError(
                    f"{', '.join(foreign)} can only be used with --database; for a run, {config} sets "
                    "this. Leave them out."
                )
            found, limits, run_workers = _of_run(config, given, out, progress, dynamics=not dry_run)
            run = default_directory(config) if out is None else out
            folder = run / "selection" if out is None else out
        else:
            assert database is not None
            if structure.structure is None or grid is None:
                raise InputError("--database needs the crystal: give --structure and --grid.")
            if candidates is not None and not complete:
                raise InputError(
                    "--candidates can only be used with --complete; without that, only structures of "
                    "the database are chosen. Add --complete, or leave it out."
                )
            limits, run_workers = _settings(given, candidates), None
            found = _of_database(database, keys, structure, grid, complete, (settings, preset), limits, progress)
            folder = run = Path("selection") if out is None else out
        check_folder(folder)
        workers = workers or run_workers or cores()
        if dry_run:
            with ScratchFolder() as scratch:
                estimate = found.estimate(scratch.path, n=labels or limits.max_labels, workers=workers)
        else:
            ctx.meta[RESUME] = f"Kernels that were computed are kept in {run}; run the same command again to continue."
            limit = {name: value for name, value in given.items() if value is not None} or _default_limits(limits)
            model = found.model(run, workers=workers, progress=progress)
            selection = found.select(model, **{"n": None, **limit}, progress=progress)
    if dry_run:
        _show_estimate(found, estimate, workers, json=json)
        return
    document = _document(found, selection)
    if len(selection):
        _write(found, selection, document, folder)
    if json:
        print_json(document)
    else:
        _show(found, selection, document, folder)


def _settings(given: dict[str, Any], candidates: int | None = None) -> SelectionSettings:
    """Targets from the command line as a section, which checks them."""
    from ndsc.selection.settings import SelectionSettings

    names = {"target_thz": "target_thz", "target_elastic_percent": "target_elastic_percent", "seconds": "max_seconds"}
    said = {names[name]: value for name, value in given.items() if name in names and value is not None}
    more = {} if candidates is None else {"candidates": candidates}
    return SelectionSettings.parse({**said, **more}, "The options")


def _default_limits(settings: SelectionSettings) -> dict[str, Any]:
    """What ends the choice where the command line says nothing."""
    return {
        "n": settings.max_labels,
        "target_thz": settings.target_thz,
        "target_elastic_percent": settings.target_elastic_percent,
        **({} if settings.max_seconds is None else {"seconds": settings.max_seconds}),
    }


def _of_run(
    path: Path, given: dict[str, Any], out: Path | None, progress: Progress, *, dynamics: bool
) -> tuple[Preview, SelectionSettings, int | None]:
    from ndsc.config import RunConfig, SeveralConfig, load_run
    from ndsc.workflow.preview import preview_of_run

    config = load_run(path)
    said = _settings(given)
    targets = {name: getattr(said, name) for name in said.model_fields_set & {"target_thz", "target_elastic_percent"}}

    def with_targets(one: RunConfig) -> RunConfig:
        # A copy that is not read again: which sections the file has decides what is chosen from.
        return one.model_copy(update={"selection": one.selection.replaced(**targets)})

    if isinstance(config, RunConfig):
        config = common = with_targets(config)
    else:
        config = SeveralConfig({name: with_targets(one) for name, one in config.crystals.items()})
        common = config.common
    directory = out if out is not None and path.suffix != ".toml" else default_directory(path)
    found = preview_of_run(config, directory, dynamics=dynamics, progress=progress)
    if not found.relaxed:
        warn(
            "[crystal] relax = true, and the crystal is not relaxed yet: labels are chosen for the unrelaxed "
            "crystal, and the structures are not those of the run. Start the run first: it relaxes the crystal."
        )
    executor = common.executor
    return found, common.selection, executor.workers if "workers" in executor.model_fields_set else None


def _of_database(
    path: Path,
    keys: tuple[str, str, str, str | None],
    structure: NamedStructureOptions,
    grid: str,
    complete: bool,
    fit: tuple[Path | None, str | None],
    settings: SelectionSettings,
    progress: Progress,
) -> Preview:
    from ndsc.config import load_fit_settings
    from ndsc.selection import make_candidates
    from ndsc.supercells import find_supercells
    from ndsc.workflow.preview import preview_of_database

    numbers = parse_grid(grid)
    file, preset = fit
    sections = load_fit_settings(file, {"fit": {} if preset is None else {"preset": preset}, "regularisation": {}})
    if sections.fit.method == "none":
        raise InputError(f"{file} has [fit] method = 'none', which makes no potential. Remove that line.")
    frames = _read(path, keys, complete)
    crystal = structure.crystal()
    supercells = find_supercells(crystal, numbers, progress=progress)
    new = make_candidates(supercells, settings.candidates) if complete else None
    return preview_of_database(frames, supercells, sections.fit, settings, new=new)


def _read(path: Path, keys: tuple[str, str, str, str | None], complete: bool) -> list[Atoms]:
    """The database; one that no label is looked at of may have none."""
    from ndsc.database import describe_targets, looks_labelled
    from ndsc.extended_xyz import read_frames

    if keys == KEYS:
        plain = read_frames(path)
        if not looks_labelled(plain):
            if complete:
                raise InputError(f"{path} has no labels to complete. Leave --complete out, or name the keys.")
            return plain
    frames = read_labelled(path, *keys)
    note(describe_targets(frames))
    return frames


def _document(found: Preview, selection: Selection) -> dict[str, Any]:
    """Everything of a choice, for programs."""
    from ndsc.targets import frame_name

    cost = found.cost
    one = cost([found.candidates[number] for number in selection.order]).tolist() if len(selection) else []
    if not cost.fitted:
        cheapest = float(min(cost(found.candidates)))
        one = [value / cheapest for value in one]
    total = list(itertools.accumulate(one))
    rows = []
    several = len(found.crystals) > 1
    for position, number in enumerate(selection.order):
        frame = found.candidates[number]
        errors = [
            None if values is None else round(float(values[position]), 6)
            for values in (selection.predicted_rmse_thz, selection.predicted_elastic_percent)
        ]
        rows.append(
            {
                "name": str(frame.info.get("ndsc_name", frame_name(frame, number))),
                "candidate": int(number),
                "atoms": len(frame),
                "cost": round(float(one[position]), 4),
                "total_cost": round(float(total[position]), 4),
                "predicted_rmse_thz": errors[0],
                "predicted_elastic_percent": errors[1],
                **(_of_crystals(found, selection, 1 + position) if several else {}),
            }
        )
    before = selection.before
    crystals = {
        name: {"crystal": one.atoms.get_chemical_formula(), **symmetry_of(one)} for name, one in found.crystals.items()
    }
    return {
        **({"crystals": crystals} if several else next(iter(crystals.values()))),
        "candidates": len(found.candidates),
        "labelled": len(found.labelled),
        "cost_unit": "s" if cost.fitted else "cheapest label",
        "before": {
            "predicted_rmse_thz": before.rmse_thz,
            "predicted_elastic_percent": before.elastic_percent,
            "assumed": not found.labelled,
            **(_of_crystals(found, selection, 0) if several else {}),
        },
        "order": rows,
        "target_met": selection.target_met,
        "reason": selection.reason,
        "outliers": [frame_name(found.labelled[number], number) for number in selection.outliers],
    }


def _of_crystals(found: Preview, selection: Selection, step: int) -> dict[str, Any]:
    """The errors that are expected of each crystal after some labels."""
    from ndsc.selection import ElasticTarget, PhononTarget

    kinds: dict[type, str] = {PhononTarget: "predicted_rmse_thz", ElasticTarget: "predicted_elastic_percent"}
    crystals: dict[str, dict[str, float | None]] = {name: dict.fromkeys(kinds.values()) for name in found.crystals}
    for owner, target, errors in zip(found.owners, found.targets, selection.of_targets, strict=True):
        for kind, name in kinds.items():
            if isinstance(target, kind):
                crystals[owner][name] = round(float(errors[step]), 6)
    return {"crystals": crystals}


def _write(found: Preview, selection: Selection, document: dict[str, Any], folder: Path) -> None:
    """The structures, which keep their recipe, and the choice."""
    from json import dumps

    from ndsc.database import write_database
    from ndsc.files import write_text

    write_database(folder / CHOSEN, [found.candidates[number] for number in selection.order])
    write_text(folder / RECORD, dumps(document, indent=2) + "\n")


def _show(found: Preview, selection: Selection, document: dict[str, Any], folder: Path) -> None:
    _say_crystals(found)
    seconds = document["cost_unit"] == "s"
    unit = "cost, s" if seconds else "cost, cheapest label"
    kinds = {"predicted_rmse_thz": "RMSE, THz"}
    kinds |= {"predicted_elastic_percent": "elastic, %"} if found.has_elastic else {}
    rows: list[list[Any]] = [["", f"{len(found.labelled)} labels that exist", "", ""]]
    rows += [[place, row["name"], row["atoms"], row["total_cost"]] for place, row in enumerate(document["order"], 1)]
    names = ["", "configuration", "atoms", unit]
    for crystal in found.crystals:
        names += [f"{crystal} {head}".strip() for head in kinds.values()]
    for row, entry in zip(rows, [document["before"], *document["order"]], strict=True):
        for own in entry["crystals"].values() if "crystals" in entry else (entry,):
            row += [own[name] for name in kinds]
    shown = [[_cell(value) for value in row] for row in rows]
    print_table(f"Expected errors, from {len(found.candidates)} candidates", names, shown)
    if not found.labelled:
        say(
            "Nothing is labelled yet, so the absolute size of the errors is an assumption; the order of the "
            "structures and the ratios of errors are more reliable."
        )
    if not seconds:
        power = f"atoms^{found.cost.power:g}"
        say(
            "No label has a recorded time, so costs are in units of the cheapest label and are assumed to grow as "
            f"{power}."
        )
    for name in document["outliers"]:
        say(f"The label of {name} contradicts all others, and was not counted: leave it out, or compute it again.")
    say(selection.reason)
    if len(selection):
        say(f"Structures: {folder / CHOSEN}")


def _say_crystals(found: Preview) -> None:
    for name, crystal in found.crystals.items():
        say_symmetry(crystal, name)


def _cell(value: Any) -> Any:
    if value is None:
        return "not known"
    return f"{value:.3g}" if isinstance(value, float) else value


def _show_estimate(found: Preview, estimate: Estimate, workers: int, *, json: bool) -> None:
    if json:
        print_json(
            {
                "candidates": estimate.candidates,
                "kinds": estimate.kinds,
                "labelled": estimate.labelled,
                "weights": estimate.weights,
                "row_seconds": [round(value, 1) for value in estimate.row_seconds],
                "choice_seconds": round(estimate.choice_seconds, 1),
                "memory_gb": round(estimate.memory_gb, 3),
            }
        )
        return
    _say_crystals(found)
    low, high = estimate.row_seconds
    say(f"Candidates  {estimate.candidates} of {estimate.kinds} kinds; {estimate.labelled} labels are there")
    say(
        f"Kernels     {duration(low)} for the {estimate.fewest_rows} first of each kind and all that is there, up to "
        f"{duration(high)} for all, with {workers} processes; kept for other calls"
    )
    say(f"Choice      up to {duration(estimate.choice_seconds)}")
    say(f"Memory      {estimate.memory_gb:.2g} GB for {estimate.weights} weights")
