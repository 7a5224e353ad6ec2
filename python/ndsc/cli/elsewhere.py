"""``ndsc labels write`` and ``ndsc labels read``: labels that are calculated elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndsc.cli.console import check_folder, note, print_json, progress_bars, say
from ndsc.cli.exits import ExitCode, fail
from ndsc.cli.options import CalculatorOptions, JsonOption, option
from ndsc.errors import InputError, MissingLabelsError

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.crystal import Crystal
    from ndsc.elsewhere import ReadReport, Wanted, WriteReport
    from ndsc.progress import Progress
    from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator

#: Names that are listed in one line.
LISTED = 8
_CODES = "vasp, castep, espresso, abinit, aims, cp2k or extxyz"


def write(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN.toml|STRUCTURES",
            help="The input file of a run, or a file of structures, such as ndsc select writes.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the folders go.", show_default=False)],
    code: Annotated[
        str | None,
        option("--code", f"Program that reads the input: {_CODES}.", default="the calculator, where it is one of them"),
    ] = None,
    copy: Annotated[
        list[Path] | None,
        option(
            "--copy", "A file to copy into every folder, such as INCAR; can be given several times.", metavar="FILE"
        ),
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
    """Write the input of every missing label to a folder of its own, for calculations that run elsewhere.

    Nothing is calculated. What depends on results that are not there yet is written by the same command after ndsc
    labels read; folders that are there are left alone.

    [bold]Examples[/bold]

      ndsc labels write al.toml --code vasp --out calc --copy INCAR --copy POTCAR

      ndsc labels write chosen.extxyz --code castep --out calc --kgrid 8 --labels al/labels
    """
    from ndsc.elsewhere import write_inputs

    check_folder(out)
    _check_copies(copy or [])
    later: list[str] = []
    if source.endswith(".toml"):
        given = [*calculator.given(), *(["--labels"] if labels else []), *(["--kgrid"] if calculator.kgrid else [])]
        if given:
            raise InputError(f"{given[0]} cannot be combined with an input file, which already sets it. Leave it out.")
        wanted, later, spec, store = _of_run(Path(source), run, code)
    else:
        if run is not None:
            raise InputError(
                "--run needs an input file, and this is a file of structures. Leave it out, or give an input file."
            )
        store = Path("labels") if labels is None else labels
        spec = dataclasses.replace(calculator, calculator=calculator.calculator or "elsewhere").spec()
        _check(code, spec)
        wanted = _of_structures(source, spec, store)
    if not wanted:
        if json:
            print_json({"labels": str(store), "written": [], "kept": [], "tasks": {}, "notes": [], "later": later})
        else:
            ending = f" Continue with ndsc run {source}." if source.endswith(".toml") else ""
            say(f"No label is missing: all are in {store}.{ending}")
        return
    with progress_bars() as progress:
        found = write_inputs(wanted, out, code or _code(spec), store, source=source, copy=copy or [], progress=progress)
    if json:
        print_json({**dataclasses.asdict(found), "folder": str(out), "labels": str(store), "later": later})
        return
    _say_written(found, store, later, hint=not copy)
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
        bool, typer.Option("--other-settings", help="Also take results whose settings differ from the others'.")
    ] = False,
    without_stress: Annotated[
        bool, typer.Option("--without-stress", help="Also take results that have no stress.")
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
        _say_read(found)
        runs = [source for source in found.sources if source.endswith(".toml")]
        if runs and not found.missing:
            say(f"Next: ndsc run {runs[0]}, which says if more is needed.")
    _refuse_problems(found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElsewhereOptions:
    """Calculations of a command that run elsewhere."""

    write: Annotated[
        Path | None,
        option("--write", "Write the input of what is missing to this folder, and calculate nothing.", metavar="DIR"),
    ] = None
    read: Annotated[
        Path | None,
        option("--read", "Take the outputs in this folder instead of calculating.", metavar="DIR"),
    ] = None
    code: Annotated[
        str | None,
        option("--code", f"With --write, the program that reads the input: {_CODES}.", default="the calculator"),
    ] = None
    copy: Annotated[
        list[Path] | None,
        option("--copy", "With --write, a file to copy into every folder; can be given several times.", metavar="FILE"),
    ] = None

    @property
    def used(self) -> bool:
        """Whether calculations run elsewhere."""
        return self.write is not None or self.read is not None

    def spec(self, calculator: CalculatorOptions) -> CalculatorSpec:
        """The calculator; where nothing is calculated here and none is named, ``"elsewhere"``.

        Raises
        ------
        InputError
            When the options do not go together, or the calculator cannot be made.
        """
        if self.write is not None and self.read is not None:
            raise InputError(
                "--write and --read are two steps. Give --write first, and --read once everything is calculated."
            )
        if self.write is None and (self.code is not None or self.copy):
            raise InputError(f"{'--code' if self.code else '--copy'} can only be used with --write. Leave it out.")
        if self.used and calculator.calculator is None:
            calculator = dataclasses.replace(calculator, calculator="elsewhere")
        spec = calculator.spec()
        if self.write is not None:
            _check(self.code, spec)
            _check_copies(self.copy or [])
        return spec

    def store(self, labels: Path | None) -> Path | None:
        """The folder of labels: the one that is named, or else in the folder of the calculations."""
        folder = self.write or self.read
        return labels if labels is not None or folder is None else folder / "labels"

    def take(self, store: Path) -> None:
        """Read the outputs, and say what became of them.

        Raises
        ------
        InputError
            When the folder is not one that was written.
        """
        from ndsc.elsewhere import read_labels

        assert self.read is not None
        found = read_labels([self.read], store=store)
        note(f"Labels: {len(found.taken)} taken, {len(found.there)} there already, {len(found.missing)} missing.")
        _refuse_problems(found)

    def put(self, wanted: list[Wanted], spec: CalculatorSpec, store: Path, source: str) -> bool:
        """Write the input of what is missing, and say what was written; False with --read and nothing missing.

        Raises
        ------
        MissingLabelsError
            With --read, when anything is missing.
        """
        from ndsc.elsewhere import write_inputs

        if self.write is None:
            if not wanted:
                return False
            missing = "1 label is" if len(wanted) == 1 else f"{len(wanted)} labels are"
            raise MissingLabelsError(
                f"{missing} missing for the next step ({wanted[0].task}). Write the input with --write {self.read} "
                "instead of --read, calculate it, and read again."
            )
        if not wanted:
            say(f"No label is missing in {store}. Give --read {self.write} instead of --write.")
            return True
        found = write_inputs(wanted, self.write, self.code or _code(spec), store, source=source, copy=self.copy or [])
        _say_written(found, store, [], hint=not self.copy)
        say(f"When they are calculated: the same command with --read {self.write} instead of --write and --code.")
        return True


def asked_for(
    spec: CalculatorSpec,
    store: LabelStore,
    crystal: Crystal,
    task: str,
    *,
    relaxed: Callable[[Crystal, StoredCalculator, Progress], Crystal] | None,
    steps: Callable[[Crystal, StoredCalculator], object],
    frames: Callable[[Crystal], list[Atoms]] | None = None,
) -> list[Wanted]:
    """The labels that are missing: of the relaxation, and then of what is made of the relaxed crystal.

    Parameters
    ----------
    spec : CalculatorSpec
    store : LabelStore
    crystal : Crystal
    task : str
        What the labels are for.
    relaxed : callable, optional
        Relaxes a crystal with a calculator.
    steps : callable
        What is worked out of a crystal with a calculator.
    frames : callable, optional
        The structures that it needs, where all of them are known at once.
    """
    from ndsc.elsewhere import MissingCalculator, Wanted
    from ndsc.progress import silent

    if relaxed is not None:
        asked = MissingCalculator(spec, store)
        with asked.asked():
            crystal = relaxed(crystal, asked, silent)
        if asked.missing:
            note(
                f"The {task} follow when the crystal is relaxed: give the command again with --read, then with --write."
            )
            return asked.wanted("relaxation", "relaxation")
    if frames is not None:
        return [Wanted(atoms, spec, task) for atoms in store.missing(frames(crystal), spec)]
    asked = MissingCalculator(spec, store)
    with asked.asked():
        steps(crystal, asked)
    return asked.wanted(task, task.split()[0])


def _say_written(found: WriteReport, store: Path, later: list[str], *, hint: bool) -> None:
    tasks = ", ".join(f"{count} {task}" for task, count in found.tasks.items())
    say(f"{_folders(len(found.written))} written to {found.folder}, for what is missing in {store}: {tasks}.")
    if found.kept:
        say(f"{_folders(len(found.kept))} existed already and were left as they are.")
    for text in found.notes:
        say(f"Note: {text}")
    if hint and any("yours" in text for text in found.notes):
        say("Note: --copy FILE, once for each file, puts copies of yours into every folder that is written.")
    if later:
        say(f"Later, from the results: {'; '.join(later)}.")


def _say_read(found: ReadReport) -> None:
    from ndsc.elsewhere.agreement import setting

    there = f"; {len(found.there)} were there already" if found.there else ""
    taken = "1 label was" if len(found.taken) == 1 else f"{len(found.taken)} labels were"
    say(f"{taken} taken into {_short(found.store)}{there}; {len(found.missing)} missing.")
    if found.missing:
        say(f"Missing: {_listed(found.missing)}")
    if found.settings:
        said = ", ".join(setting(name, value, between="=") for name, value in found.settings.items())
        say(f"Settings of the outputs: {said}.")
    for text in found.notes:
        say(f"Note: {text}")


def _refuse_problems(found: ReadReport) -> None:
    if not found.problems:
        return
    for problem in found.problems:
        note(f"Not taken: {_short(problem.path)}: {problem.reason}.")
    number = len(found.problems)
    were = "1 output was" if number == 1 else f"{number} outputs were"
    fail(
        f"{were} not taken, for the reasons above; all others were. Correct these and read the folder again: nothing "
        "is taken twice.",
        ExitCode.REFERENCE,
    )


def _of_run(source: Path, run: Path | None, code: str | None) -> tuple[list[Wanted], list[str], CalculatorSpec, Path]:
    """What is missing of a run, and what comes later; its calculator and its folder of labels."""
    from ndsc.cli.running import default_directory
    from ndsc.config import RunConfig, load_run
    from ndsc.workflow import missing_labels
    from ndsc.workflow.checks import check_plan
    from ndsc.workflow.dry_run import plan_without_calculations
    from ndsc.workflow.joint import make_joint_plan
    from ndsc.workflow.plan import label_store

    config = load_run(source)
    common = config if isinstance(config, RunConfig) else config.common
    _check(code, common.reference.to_spec())
    directory = check_folder(run if run is not None else default_directory(source))
    with progress_bars() as progress:
        if isinstance(config, RunConfig):
            plan = plan_without_calculations(config, directory, progress=progress)
        else:
            plan = make_joint_plan(config, directory, compute=False, progress=progress)
        for text in check_plan(plan, directory):
            note(text)
        found = missing_labels(config, directory, progress=progress)
    return found.wanted, found.later, plan.spec, label_store(common, directory).path


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


def _check(code: str | None, spec: CalculatorSpec) -> None:
    """Refuse a code before anything is worked out."""
    from ndsc.elsewhere.inputs import check_code

    check_code(code or _code(spec), spec)


def _check_copies(files: list[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise InputError(f"There is no file {file} to copy into the folders. Correct the path.")


def _code(spec: CalculatorSpec) -> str:
    from ndsc.elsewhere import WRITTEN_FOR

    if spec.name in WRITTEN_FOR:
        return spec.name
    raise InputError(f"--code is missing. Name the program that is to read the input: one of {', '.join(WRITTEN_FOR)}.")


def _folders(number: int) -> str:
    return "1 folder was" if number == 1 else f"{number} folders were"


def _short(path: Path) -> Path:
    """As seen from here, where it is below."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
