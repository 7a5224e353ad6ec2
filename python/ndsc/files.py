"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ndsc.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` when the block ends without an error.

    A reader sees the old file or the new one, never a part of either, whenever the writer dies.

    Raises
    ------
    InputError
        When the folder cannot be made or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}). Choose a folder that you may write to, with space left."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def nearest_folder(path: Path) -> Path:
    """The innermost file or folder on the way to `path` that exists, `path` itself included."""
    nearest = Path(path).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    return nearest


def check_folder(path: Path) -> Path:
    """Refuse, before anything is computed, a folder that could not be written to; nothing is left behind.

    Raises
    ------
    InputError
        When it, or the folder that it would be made in, is a file or may not be written.
    """
    nearest = nearest_folder(path)
    if not nearest.is_dir():
        raise InputError(f"{path} cannot be a folder: {nearest} is a file. Choose another name for the output.")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".ndsc.", suffix=".tmp", dir=nearest))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: nothing can be made in {nearest} ({error.strerror}). Choose another folder."
        ) from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
