"""``ndsc labels write`` and ``ndsc labels read``: labels that are calculated elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndsc.cli.console import check_folder, note, print_json, progress_bars, say
from ndsc.cli.exits import ExitCode, fail
from ndsc.cli.options import CalculatorOptions, JsonOption, option
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.elsewhere import Wanted
    from ndsc.reference import CalculatorSpec

#: Names that are listed in one line.
LISTED = 8
_CODES = "vasp, castep, espresso, abinit, aims, cp2k or extxyz"


def write(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN.toml|STRUCTURES",
            help="The input file of a run, or a file of structures such as ndsc select or ndsc perturb wrote.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the folders go.", show_default=False)],
    code: Annotated[
        str | None,
        option("--code", f"What reads the input: {_CODES}.", default="the calculator, where it is one of them"),
    ] = None,
    copy: Annotated[
        list[Path] | None,
        option("--copy", "A file that every folder gets a copy of, INCAR say; can be given again.", metavar="FILE"),
    ] = None,
    run: Annotated[
        Path | None,
        option("--run", "Folder of the run.", default="the name of the input file without .toml", metavar="DIR"),
    ] = None,
    labels: Annotated[
        Path | None,
        option("--labels", "For structures: the folder of labels.", default="labels", metavar="DIR"),
    ] = None,
    *,
    calculator: CalculatorOptions,
    json: JsonOption = False,
) -> None:
    """Write the input of every label that is missing, a folder each, for calculations that run elsewhere.

    Nothing is calculated. What depends on results that are not there yet is written by the same command after ndsc
    labels read; folders that are there are left alone.

    [bold]Examples[/bold]

      ndsc labels write al.toml --code vasp --out calc --copy INCAR --copy POTCAR

      ndsc labels write chosen.extxyz --code castep --out calc --kgrid 8 --labels al/labels
    """
    from ndsc.elsewhere import write_inputs

    check_folder(out)
    later: list[str] = []
    if source.endswith(".toml"):
        given = [*calculator.given(), *(["--labels"] if labels else []), *(["--kgrid"] if calculator.kgrid else [])]
        if given:
            raise InputError(f"{given[0]} has no meaning beside an input file, which says it. Leave it out.")
        wanted, later, spec, store = _of_run(Path(source), run)
    else:
        if run is not None:
            raise InputError("--run has no meaning for a file of structures. Leave it out, or give an input file.")
        store = Path("labels") if labels is None else labels
        spec = dataclasses.replace(calculator, calculator=calculator.calculator or "elsewhere").spec()
        wanted = _of_structures(source, spec, store)
    if not wanted:
        if json:
            print_json({"labels": str(store), "written": [], "kept": [], "tasks": {}, "notes": [], "later": later})
        else:
            ending = f" Go on with ndsc run {source}." if source.endswith(".toml") else ""
            say(f"No label is missing: all are in {store}.{ending}")
        return
    with progress_bars() as progress:
        found = write_inputs(wanted, out, code or _code(spec), store, source=source, copy=copy or [], progress=progress)
    if json:
        print_json({**dataclasses.asdict(found), "folder": str(out), "labels": str(store), "later": later})
        return
    tasks = ", ".join(f"{count} {task}" for task, count in found.tasks.items())
    say(f"{_folders(len(found.written))} written to {out}, for what is missing in {store}: {tasks}.")
    if found.kept:
        say(f"{_folders(len(found.kept))} there already, and left as they are.")
    for text in found.notes:
        say(f"Note: {text}")
    if later:
        say(f"Later, from the results: {'; '.join(later)}.")
    again = ", then the same command again" if later else ""
    say(f"When they are calculated: ndsc labels read {out}{again}.")


def read(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="Folders that ndsc labels write made.", show_default=False),
    ],
    labels: Annotated[
        Path | None,
        option("--labels", "The folder of labels.", default="the one that the input was written for", metavar="DIR"),
    ] = None,
    other_settings: Annotated[
        bool, typer.Option("--other-settings", help="Take results too whose settings differ from the others'.")
    ] = False,
    without_stress: Annotated[
        bool, typer.Option("--without-stress", help="Take results too that have no stress.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Take the outputs of calculations that ran elsewhere as labels.

    Read are vasprun.xml, OUTCAR, .castep, the output of pw.x, ABINIT, FHI-aims and CP2K, and extended XYZ.

    They are matched by their structure, so that names of folders and the order of atoms do not matter. What is good is
    taken; all that is not is told, and the exit code is then 3. Reading again takes nothing twice.

    [bold]Example[/bold]

      ndsc labels read calc
    """
    from ndsc.elsewhere import read_labels

    with progress_bars() as progress:
        found = read_labels(
            folders, store=labels, other_settings=other_settings, without_stress=without_stress, progress=progress
        )
    if json:
        problems = [{"file": str(problem.path), "reason": problem.reason} for problem in found.problems]
        print_json({**dataclasses.asdict(found), "store": str(found.store), "problems": problems})
    else:
        there = f"; {len(found.there)} were there already" if found.there else ""
        taken = "1 label was" if len(found.taken) == 1 else f"{len(found.taken)} labels were"
        say(f"{taken} taken into {_short(found.store)}{there}; {len(found.missing)} missing.")
        if found.missing:
            say(f"Missing: {_listed(found.missing)}")
        if found.settings:
            from ndsc.elsewhere.take import setting

            said = ", ".join(setting(name, value, between="") for name, value in found.settings.items())
            say(f"Settings of the outputs: {said}.")
        for text in found.notes:
            say(f"Note: {text}")
        runs = [source for source in found.sources if source.endswith(".toml")]
        if runs and not found.missing:
            say(f"Next: ndsc run {runs[0]}, which says if more is needed.")
    if found.problems:
        for problem in found.problems:
            note(f"Not taken: {_short(problem.path)}: {problem.reason}.")
        number = len(found.problems)
        were = "1 output was" if number == 1 else f"{number} outputs were"
        fail(
            f"{were} not taken, as said above; the good ones were. Correct and read again: nothing is taken twice.",
            ExitCode.REFERENCE,
        )


def _of_run(source: Path, run: Path | None) -> tuple[list[Wanted], list[str], CalculatorSpec, Path]:
    """What is missing of a run, and what comes later; its calculator and its folder of labels."""
    from ndsc.cli.running import default_directory
    from ndsc.config import load_config
    from ndsc.workflow import missing_labels
    from ndsc.workflow.checks import check_plan
    from ndsc.workflow.dry_run import plan_without_calculations
    from ndsc.workflow.plan import label_store

    config = load_config(source)
    directory = check_folder(run if run is not None else default_directory(source))
    with progress_bars() as progress:
        plan = plan_without_calculations(config, directory, progress=progress)
        for text in check_plan(plan, directory):
            note(text)
        found = missing_labels(config, directory, progress=progress)
    return found.wanted, found.later, plan.spec, label_store(config, directory).path


def _of_structures(source: str, spec: CalculatorSpec, store: Path) -> list[Wanted]:
    """The structures of a file that have no label."""
    from ndsc.elsewhere import Wanted
    from ndsc.extended_xyz import read_frames
    from ndsc.reference import LabelStore

    frames = read_frames(source)
    known = LabelStore(store)
    for number, atoms in enumerate(frames):
        atoms.info.setdefault("ndsc_name", f"structure-{number:04d}")
        if not atoms.pbc.all() or abs(atoms.cell.volume) < 1e-9:
            raise InputError(f"Structure {number} of {source} is not periodic in three directions. Give it a cell.")
    spec.check(frames)
    return [Wanted(atoms, spec, "structures") for atoms in known.missing(frames, spec)]


def _code(spec: CalculatorSpec) -> str:
    from ndsc.elsewhere import WRITTEN_FOR

    if spec.name in WRITTEN_FOR:
        return spec.name
    raise InputError(f"--code is needed: what is to read the input? Choose one of {', '.join(WRITTEN_FOR)}.")


def _folders(number: int) -> str:
    return "1 folder was" if number == 1 else f"{number} folders were"


def _short(path: Path) -> Path:
    """As seen from here, where it is below."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
