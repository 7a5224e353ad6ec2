"""The screen: tables and JSON on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.progress import Progress


def note(text: str) -> None:
    """One line for the person at the terminal."""
    typer.echo(text, err=True)


def print_json(document: Any) -> None:
    """JSON for a program; what JSON cannot hold has been turned into null before."""
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for a person; numbers are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=160)
    typer.echo(title)
    console.print(table)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A progress callable that draws a bar for each task, or plain lines where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield _PlainLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar for each task, with the time left where the work knows it."""

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def __call__(self, task: str, done: int, total: int) -> None:
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(task, total=max(total, 1), left="")
        self.bars.update(self.tasks[task], completed=done if total else 1, total=max(total, 1))
        if done >= total:
            self.bars.update(self.tasks[task], left="")

    def time_left(self, task: str, seconds: float) -> None:
        """Show how long a task will still take."""
        if task in self.tasks:
            self.bars.update(self.tasks[task], left=f"about {duration(seconds)} left")


def duration(seconds: float) -> str:
    """A time as a person says it: 40 s, 5 min, 3 h 20 min."""
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class _PlainLines:
    """Progress in a log: a line at the start of a task, at each fifth of it, and at its end."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}

    def __call__(self, task: str, done: int, total: int) -> None:
        fifth = 5 * done // max(total, 1)
        if self.shown.get(task, -1) != fifth:
            self.shown[task] = fifth
            note(f"{task}: {done}/{total}")


def check_folder(path: Path) -> Path:
    """Refuse, before anything is computed, a folder that could not be written to; make nothing yet.

    Raises
    ------
    InputError
        When it, or the folder that it would be made in, is a file or may not be written.
    """
    nearest = path.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{path} cannot be a folder: {nearest} is a file. Choose another name for the output.")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".ndsc.", suffix=".tmp", dir=nearest))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: nothing can be made in {nearest} ({error.strerror}). Choose another folder."
        ) from error
    return path


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder whose files go to `path` when the block ends well; on an error nothing is left.

    Files of the same name are replaced, others stay.
    """
    check_folder(path)
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.absolute().parent))
    try:
        yield temporary
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(path / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
