"""The program ``ndsc``: its options for all commands, and the list of its commands."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated

import typer

from ndsc import __version__
from ndsc.cli import benchmarks, convergence, fitting, labels, running, selecting, structures, study
from ndsc.cli.console import note, show_warnings
from ndsc.cli.exits import DEBUG, ExitCode, NdscGroup, explain
from ndsc.cli.options import GridCommand, with_groups
from ndsc.interrupts import supervise

app = typer.Typer(
    name="ndsc",
    cls=NdscGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""
Minimal supercells, optimal databases and benchmarked interatomic potentials of crystals.

[bold]Examples[/bold]

  ndsc supercells Al --grid 4 4 4

  ndsc run al.toml --dry-run

  ndsc run al.toml

  ndsc select al.toml --labels 12

[bold]Exit codes[/bold]: 0 success; 1 a bug in ndsc; 2 bad input or usage; 3 a reference calculation failed,
labels are missing, or settings did not converge; 4 the fit failed; 130 stopped with Ctrl-C.

Results go to standard output, progress and messages to standard error.
""",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ndsc {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and what is logged.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Options of every command."""
    ctx.meta[DEBUG] = debug
    screen = show_warnings(debug=debug)
    ctx.call_on_close(lambda: logging.getLogger().removeHandler(screen))


app.command(name="supercells", cls=GridCommand)(with_groups(structures.supercells))
app.command(name="kpoints", cls=GridCommand)(with_groups(structures.kpoints))
app.command(name="run", cls=GridCommand)(running.run)
app.command(name="select", cls=GridCommand)(with_groups(selecting.select))
app.command(name="study", cls=GridCommand)(study.study)
app.command(name="fit", cls=GridCommand)(fitting.fit)
app.command(name="phonons", cls=GridCommand)(with_groups(benchmarks.phonons))
app.command(name="elastic", cls=GridCommand)(with_groups(benchmarks.elastic))
app.command(name="converge", cls=GridCommand)(with_groups(convergence.converge))
app.command(name="report", cls=GridCommand)(running.report)
app.command(name="export", cls=GridCommand)(fitting.export)
app.add_typer(labels.app, name="labels")


def main() -> None:
    """Run the program, as ``ndsc`` does."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed; another file would get its number, and what is printed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    supervise()  # unless it was done before the imports, as ndsc.__main__ does
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # as after "| head", which has read enough
            sys.exit(ExitCode.OK)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
        except OSError as error:  # a full disk
            _drop_output()
            if not end.code:
                note(f"Error: {explain(error)[0]}")
                sys.exit(ExitCode.INPUT)
        raise
    except OSError as error:  # a help text on a full disk; those of commands are caught in NdscGroup
        _drop_output()
        note(f"Error: {explain(error)[0]}")
        sys.exit(ExitCode.INPUT)


def _drop_output() -> None:
    """Let what is left of the output go nowhere: Python writes it once more at its end, and would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
