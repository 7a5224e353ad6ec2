"""What a command ends with: an exit code that programs understand, and one message that people do."""

from __future__ import annotations

import errno
import logging
import re
import sys
import tempfile
import traceback
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ndsc.cli.console import note, plain
from ndsc.errors import FitError, InternalError, NdscError, ReferenceCalculationError

# Keys of the context's `meta`, which all commands share.
DEBUG = "ndsc.debug"
RESUME = "ndsc.resume"

LONG_WORD = re.compile(r"\S{400,}")

# Wrong use of an option; typer shows it and exits with 2 by itself.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

# What the operating system refuses for reasons outside of any program.
REFUSALS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENAMETOOLONG,
    errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EBADF, errno.EIO,
)  # fmt: skip


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    INTERNAL = 1
    INPUT = 2
    REFERENCE = 3
    FIT = 4
    INTERRUPTED = 130


class NdscGroup(TyperGroup):
    """The commands, with every error turned into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, UsageError, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            hint = ctx.meta.get(RESUME, "Nothing was written.")
            fail(f"Stopped. {hint}", ExitCode.INTERRUPTED, label="")
        except Exception as error:  # the one place that may catch anything: below it is only the interpreter
            if ctx.meta.get(DEBUG):
                note(traceback.format_exc())
            fail(*explain(error))


def explain(error: Exception) -> tuple[str, ExitCode]:
    """The message and the exit code of an error."""
    if isinstance(error, NdscError) and not isinstance(error, InternalError):
        return str(error), exit_code(error)
    if isinstance(error, OSError) and error.errno in REFUSALS:
        where = f" {error.filename}" if error.filename else ""
        return (
            f"The operating system refused{where}: {error.strerror}. Correct the path or its permissions, or free "
            "some space, then run the command again.",
            ExitCode.INPUT,
        )
    if isinstance(error, MemoryError):
        return f"This machine has too little memory for this ({error}). Ask for less at a time.", ExitCode.INPUT
    return (
        f"This is a bug in ndsc ({type(error).__name__}: {error}). Please report it with the log {write_log()}, which "
        "has the command, the versions and the traceback.",
        ExitCode.INTERNAL,
    )


def exit_code(error: NdscError) -> ExitCode:
    """The exit code that belongs to an error of ndsc."""
    if isinstance(error, ReferenceCalculationError):
        return ExitCode.REFERENCE
    if isinstance(error, FitError):
        return ExitCode.FIT
    return ExitCode.INTERNAL if isinstance(error, InternalError) else ExitCode.INPUT


def fail(message: str, code: ExitCode, *, label: str = "Error: ") -> None:
    """Say why on standard error, and end with the code."""
    typer.secho(f"{label}{plain(LONG_WORD.sub(_cut, message))}", err=True, fg=typer.colors.RED)
    raise typer.Exit(int(code))


def _cut(word: re.Match[str]) -> str:
    """A word of a message that would fill the screen, such as a name that somebody pasted."""
    return f"{word[0][:100]}… ({len(word[0])} characters)"


def write_log() -> Path:
    """Write the current traceback, the command and the versions to a file that outlives the program."""
    from ndsc.versions import package_versions

    versions = "".join(f"{name} {number}\n" for name, number in package_versions().items())
    with tempfile.NamedTemporaryFile("w", prefix="ndsc-error-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(f"command: {sys.argv}\n{versions}\n{traceback.format_exc()}")
    logging.getLogger("ndsc").debug("wrote %s", file.name)
    return Path(file.name)
