"""Claims: which process computes which label, so that runs that share a store share its work.

A claim is a small file beside the labels that names its holder and is locked as long as the holder lives: the operating
system gives up the locks of a process that dies. On file systems whose locks do not reach other machines, a holder on
another machine counts as alive while it touches its claim. The claim of a holder that is gone is taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ndsc.errors import InputError
from ndsc.files import bounded_recursion

#: Time between two signs of life of a holder, s.
HEARTBEAT = 20.0
#: A holder on another machine without a sign of life for so long counts as dead, s. Some codes keep Python from running
#: for minutes, and clocks of machines differ, so this is generous: waiting costs less than a label computed twice.
STALE_AFTER = 600.0


@dataclass(frozen=True)
class Holder:
    """Who holds a claim: a process of a machine, since when (Unix time, s), and for which configuration."""

    host: str
    pid: int
    since: float
    name: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


_UNKNOWN = Holder("an unknown machine", 0, 0.0)


class Claim:
    """The right to compute one label; given back with :meth:`release`, or when the process ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._released = threading.Event()
        threading.Thread(target=self._beat, name="ndsc-claim", daemon=True).start()

    def release(self) -> None:
        """Give the claim back, if nobody has taken it over."""
        self._released.set()
        with suppress(OSError):
            if _is_file_of(self._descriptor, self.path):
                self.path.unlink()
        os.close(self._descriptor)

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with suppress(OSError):
                os.utime(self.path)


class Claims:
    """The claims of one store.

    Parameters
    ----------
    folder : path
        Made when the first claim is.
    stale_after : float
        How long a holder on another machine may be silent, s.
    """

    def __init__(self, folder: Path, *, stale_after: float = STALE_AFTER) -> None:
        self.folder = folder
        self.stale_after = stale_after

    def path_of(self, key: str) -> Path:
        """The file of a key's claim."""
        return self.folder / f"{key}.claim"

    def acquire(self, key: str, name: str = "") -> Claim | Holder:
        """Claim a key, or say who holds it.

        Raises
        ------
        InputError
            When the folder cannot be written.
        """
        path = self.path_of(key)
        mine = Holder(socket.gethostname(), os.getpid(), time.time(), name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while (claim := self._create(path, mine)) is None:
                holder, alive = self._look(path, remove_dead=True)
                if alive:
                    return holder or _UNKNOWN
            return claim
        except OSError as error:
            raise InputError(
                f"No label can be claimed in {self.folder} ({error.strerror}). Labels are to be computed, so the store "
                "must be writable, with space left: make it writable, or copy it and use the copy."
            ) from error

    def holder(self, key: str) -> Holder | None:
        """The holder of a key that is alive, or None."""
        holder, alive = self._look(self.path_of(key))
        return (holder or _UNKNOWN) if alive else None

    def drop(self, key: str) -> None:
        """Remove the claim of a holder that is gone."""
        with suppress(OSError):
            self._look(self.path_of(key), remove_dead=True)

    def touch(self, key: str) -> None:
        """A sign of life for the holder's claim, by the process that watches over it."""
        with suppress(OSError):
            os.utime(self.path_of(key))

    def all(self) -> Iterator[tuple[str, Holder | None, bool]]:
        """(key, holder, whether it is alive) of every claim; the holder is None where a claim cannot be read."""
        for path in sorted(self.folder.glob("*.claim")):
            try:
                yield path.stem, *self._look(path)
            except OSError:  # another user's
                yield path.stem, None, True

    def _create(self, path: Path, holder: Holder) -> Claim | None:
        """A new claim, None when there is a file already.

        It is written and locked under another name first and then linked, which fails when there is one: it is never
        seen in part or unlocked, and of several processes on several machines exactly one gets it.
        """
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        try:
            with suppress(OSError):  # file systems without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, json.dumps(asdict(holder)).encode())
            os.link(temporary, path)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, FileExistsError):
                return None
            raise
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return Claim(path, descriptor)

    def _look(self, path: Path, *, remove_dead: bool = False) -> tuple[Holder | None, bool]:
        """The holder of a claim's file, None where it cannot be read, and whether it is alive."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None, False
        try:
            holder, locks = _read(descriptor), True
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_EX if remove_dead else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                return holder, True
            except OSError:
                locks = False
            if not _is_file_of(descriptor, path):  # taken over since it was opened
                return holder, path.exists()
            alive = holder is not None and self._lives_unlocked(holder, descriptor, locks)
            if remove_dead and not alive:
                path.unlink(missing_ok=True)
            return holder, alive
        finally:
            os.close(descriptor)

    def _lives_unlocked(self, holder: Holder, descriptor: int, locks: bool) -> bool:
        """Whether a holder is alive although nothing here locks its claim."""
        if holder.host == socket.gethostname() and (locks or process_start(holder.pid) is None):
            return False
        return time.time() - os.fstat(descriptor).st_mtime < self.stale_after


def process_start(pid: int) -> float | None:
    """When a process started, Unix time in s; None when there is none, or only a dead one nobody has waited for."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _read(descriptor: int) -> Holder | None:
    """The holder that a claim's file names; None where it cannot be read."""
    try:
        with bounded_recursion():
            content = json.loads(os.pread(descriptor, 65536, 0))
        return Holder(str(content["host"]), int(content["pid"]), float(content["since"]), str(content.get("name", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _is_file_of(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
