"""The screen: tables and JSON on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category as unicode_category

import typer

from ndsc.files import ScratchFolder
from ndsc.files import check_folder as check_folder

if TYPE_CHECKING:
    from ndsc.progress import Progress


#: Warnings meant for developers, not for users.
FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)
#: Columns of a table that goes to a file.
WIDEST = 2000
#: Loggers of other packages that say nothing about a calculation.
QUIET = ("matplotlib", "PIL", "fontTools", "asyncio")
#: Unicode categories that a terminal does not show as they are: control and format characters, halves of pairs.
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def plain(text: object) -> str:
    """Text for a terminal: control characters, which names and files may hold, are written as escapes."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(
        char.encode("unicode_escape").decode() if char not in "\n\t" and unicode_category(char) in INVISIBLE else char
        for char in shown
    )


def say(text: object) -> None:
    """A line of the results, on standard output."""
    typer.echo(plain(text))


def note(text: object) -> None:
    """A line for the person at the terminal, on standard error."""
    typer.echo(plain(text), err=True)


def warn(text: object) -> None:
    """A warning for the person at the terminal, once where several commands or the library have it."""
    logging.getLogger("ndsc.cli").warning("%s", text)


class Screen(logging.Handler):
    """Shows warnings of the library, of Python, and of other packages on standard error, each of them once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.shown: set[str] = set()
        self.addFilter(lambda record: not record.name.startswith(QUIET))

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record; one below a warning with its logger's name."""
        try:
            text = plain(record.getMessage())
            if record.levelno < logging.WARNING:
                note(f"{record.levelname} {record.name}: {text}")
            elif text not in self.shown:
                self.shown.add(text)
                typer.secho(f"Warning: {text}", err=True, fg=typer.colors.YELLOW)
        except Exception:
            self.handleError(record)


def show_warnings(*, debug: bool) -> Screen:
    """Let everything that is logged or warned of reach standard error, and return the handler that does so."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Screen)]:
        root.removeHandler(handler)
    screen = Screen()
    root.addHandler(screen)
    if debug:
        screen.setLevel(logging.DEBUG)
        logging.getLogger("ndsc").setLevel(logging.DEBUG)
    warnings.showwarning = _log_warning
    return screen


def _log_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning of Python as a record: what it says, without the line of code that it comes from."""
    if not issubclass(category, FOR_DEVELOPERS):
        logging.getLogger("py.warnings").warning("%s", message)


def print_json(document: Any) -> None:
    """JSON for a program; what JSON cannot hold has been turned into null before."""
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for a person; numbers are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(Text(plain(column)), justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(f"{cell:.6g}" if isinstance(cell, float) else plain(cell)) for cell in row))
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:  # a file or another program, where nothing is to be cut off
        console = Console(file=sys.stdout, highlight=False, width=WIDEST)
    say(title)
    console.print(table)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A progress callable that draws a bar for each task, or plain lines where standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield _PlainLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # A step may take minutes, so the speed is that of all steps.
    with Bars(*columns, console=Console(stderr=True), speed_estimate_period=1e9) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar for each task, with the time left by the speed of its steps."""

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def __call__(self, task: str, done: int, total: int) -> None:
        if task not in self.tasks:
            # What is done at the beginning was found, and says nothing about the speed.
            self.tasks[task] = self.bars.add_task(plain(task), completed=done, total=max(total, 1))
        self.bars.update(self.tasks[task], completed=done if total else 1, total=max(total, 1))


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


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder whose files go to `path` when the block ends well; on an error nothing is written.

    Files of the same name are replaced, others stay.
    """
    check_folder(path)
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    with ScratchFolder(path.absolute().parent) as temporary:
        yield temporary.path
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.path.iterdir()):
            file.replace(path / file.name)
