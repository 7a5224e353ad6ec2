"""Files that are either whole or not there, and temporary folders that do not outlive their process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ndsc.errors import InputError

#: The largest JSON file that is read, bytes: no result of ndsc comes near.
LARGEST_JSON = 500_000_000
#: Nested calls, those of lists in a JSON file among them, that the stack of a thread holds with room to spare.
DEEPEST_CALLS = 5_000
_SCRATCH_PREFIX = ".ndsc-scratch-"
#: A temporary folder younger than this may be one whose process has not locked it yet, s.
_YOUNG = 60.0


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` when the block ends without an error.

    A reader sees the old file or the new one, never a part of either, whenever the writer dies.

    Raises
    ------
    InputError
        When the folder cannot be made or written, or `path` is a folder.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}). Choose a folder that you may write to, on a disk with "
            "free space."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        try:
            os.replace(temporary, path)
        except IsADirectoryError as error:
            raise InputError(f"{path} cannot be written: it is a folder. Choose another name.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Write `text` to `path`, whole or not at all; with `sync`, also when the power fails right afterwards."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def read_json(path: Path) -> Any:
    """The content of a JSON file, whatever the file is.

    Raises
    ------
    OSError
        When there is no such file, or it may not be read.
    ValueError
        When it holds no JSON, is nested too deeply, is far too large, or is no file at all.
    """
    try:
        found = path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("it is a link to itself") from None
        raise
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a file")
    if found.st_size > LARGEST_JSON:
        raise ValueError(f"it has {found.st_size / 1e6:.0f} MB, too large for a result")
    try:
        with bounded_recursion():
            return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextmanager
def bounded_recursion() -> Iterator[None]:
    """Parse somebody's text within: however deeply it is nested, there is a RecursionError at the most.

    symfc allows a recursion that the stack does not hold, so that the interpreter would die.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(min(limit, DEEPEST_CALLS))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


class ScratchFolder:
    """A temporary folder, removed by :meth:`close`, at the end of a ``with`` block, or with the object.

    The folder is locked as long as its process lives, or another that works in it (:func:`lock_folder`). The first one
    that a process makes removes those of processes that were killed.

    Parameters
    ----------
    parent : path, optional
        Where it is made; the system's folder for temporary files when not given.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir() if parent is None else parent)
        sweep_scratch_folders(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-", dir=parent))
        self._remove = weakref.finalize(self, _remove_scratch, self.path, lock_folder(self.path))

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lock_folder(path: Path) -> int:
    """Keep a temporary folder from being swept until the descriptor, which is returned, is closed."""
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # file systems without locks, where nothing is swept
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def _remove_scratch(path: Path, descriptor: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(descriptor)


@cache
def sweep_scratch_folders(parent: Path) -> None:
    """Remove the temporary folders of processes that have died; once in each process and folder."""
    import psutil  # commands that make no such folder start faster without it

    for path in parent.glob(_SCRATCH_PREFIX + "*"):
        with suppress(OSError, ValueError):  # another user's, locked, or gone meanwhile
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                pid = int(path.name.removeprefix(_SCRATCH_PREFIX).partition("-")[0])
                if not psutil.pid_exists(pid) or time.time() - os.fstat(descriptor).st_mtime > _YOUNG:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def nearest_folder(path: Path) -> Path:
    """The innermost file or folder on the way to `path` that exists, `path` itself included."""
    nearest = Path(path).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    return nearest


def check_folder(path: Path) -> Path:
    """Refuse, before anything is computed, a folder that could not be written to, without leaving anything behind.

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
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # the name is too long for the file system
        raise InputError(f"{path} cannot be a folder ({error.strerror}). Choose another name.") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
