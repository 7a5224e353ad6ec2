"""``ndsc study``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndsc.cli.console import check_folder, note, print_json, print_table, progress_bars, say, warn
from ndsc.cli.exits import RESUME
from ndsc.cli.options import JsonOption, option
from ndsc.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.study import StudyResults


def study(
    ctx: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="STUDY.toml ...", help="One or more input files.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        option(
            "--out",
            "Folder of the study; of several studies, the folder of their folders.",
            default="the name of the input file without .toml; of several, the folder studies",
            metavar="DIR",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page", metavar="PAGE.md", help="Write one page of all studies, its figures in a folder beside it."
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Title of that page.")] = "Studies",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fitted and what is finished, and do nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Fit many potentials to existing databases, compare them, and test what is claimed of them.

    A study calculates no labels. What is finished in its folder is not done again.

    [bold]Examples[/bold]

      ndsc study learning.toml --dry-run

      ndsc study learning.toml

      ndsc study studies/*.toml --out studies --page studies.md
    """
    from ndsc.config.study import load_study

    named = {file: load_study(file) for file in dict.fromkeys(files)}
    folders = _folders(list(named), out)
    for folder in folders.values():
        check_folder(folder)
    if page is not None:
        if page.suffix != ".md":
            raise InputError(f"The page {page} does not end in .md. Give the name of a Markdown file.")
        check_folder(page.parent)
    from ndsc.study import plan_study, run_study
    from ndsc.study.run import check_installed
    from ndsc.study.write import write_page

    # Potentials that several studies ask for are fitted once.
    cache = None if len(named) == 1 else folders[files[0]].parent / "cache"
    if dry_run:
        for file, config in named.items():
            show_plan(config.study.title, plan_study(config, cache or folders[file] / "cache"))
        return
    if cache is not None:
        # Each study asks for itself: of several, all are asked before the first of them begins.
        for config in named.values():
            check_installed(config, cache)
    ctx.meta[RESUME] = "What is finished is kept; run the same command again to continue."
    finished = []
    for file, config in named.items():
        note(f"{file}: {config.study.title}")
        with progress_bars() as progress:
            results = run_study(config, folders[file], cache=cache, progress=progress)
        finished.append((file.stem, config, results))
        if not json:
            show_verdict(results, folders[file])
    if page is not None:
        say(str(write_page(finished, page, title=title)))
    if json:
        from ndsc.study.write import study_record

        print_json([study_record(results) for _, _, results in finished])


def show_plan(title: str, planned: DataFrame) -> None:
    """The potentials of a study, and what of it is done."""
    from pandas import isna

    rows = [
        [
            potential,
            *("not chosen" if isna(value) else value for value in (labels, atoms, round(seconds, 1))),
            "finished" if finished else "to do",
        ]
        for potential, labels, atoms, seconds, finished in planned.itertuples(index=False)
    ]
    print_table(title, ["potential", "labels", "atoms", "seconds of labels", ""], rows)
    say(f"{(~planned.finished).sum()} of {len(planned)} potentials will be fitted and compared.")


def show_verdict(results: StudyResults, folder: Path) -> None:
    """What holds and what fails, and where the rest is."""
    from ndsc.report.text import count
    from ndsc.study.write import numbers_text

    say(f"{results.title}: {count(len(results.outcomes), 'potential')}. {results.time.sentence()}")
    for check in results.checks:
        say(f"  {'holds' if check.holds else 'FAILS'}  {check.claim}: {check.test}")
        for finding in check.findings:
            numbers = ", ".join(f"{column} = {numbers_text(values)}" for column, values in finding.numbers.items())
            say(f"         {finding.where}: {numbers}" if finding.where else f"         {numbers}")
    for warning in results.warnings[:5]:
        warn(warning)
    if len(results.warnings) > 5:
        note(f"and {len(results.warnings) - 5} more warnings, in {folder / 'study.json'}")
    say(f"Page: {folder / 'study.md'}")


def _folders(files: list[Path], out: Path | None) -> dict[Path, Path]:
    """The folder of each study."""
    for file in files:
        if file.suffix != ".toml" and (out is None or len(files) > 1):
            raise InputError(f"The input file {file} does not end in .toml, so the folder of the study has no name.")
    if len(files) == 1:
        return {files[0]: out if out is not None else Path(files[0].stem)}
    stems = [file.stem for file in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise InputError(f"Two studies are called {twice[0]}, and their folders would be one. Rename one of the files.")
    above = out if out is not None else Path("studies")
    return {file: above / file.stem for file in files}
