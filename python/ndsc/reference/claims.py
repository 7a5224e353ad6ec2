"""Claims: which process computes which label, so that runs that share a store share its work.

A claim is a small file beside the labels, made by the process that computes, before it starts, and removed when the
label is written. It names its holder by machine, process and the time at which that process started. A holder on this
machine is looked up in the table of processes; one on another machine is believed as long as it keeps touching its
claim. The claim of a holder that is gone is taken over by whoever comes next.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ndsc.errors import InputError

#: Time between two signs of life of a holder, s.
HEARTBEAT = 20.0
#: A holder on another machine that gave no sign of life for so long is taken for dead, s. Some codes keep Python from
#: running for minutes, so this is generous: waiting costs less than a label computed twice.
STALE_AFTER = 600.0


@dataclass(frozen=True)
class Holder:
    """Who holds a claim.

    Attributes
    ----------
    machine : str
        Boot and process namespace; process numbers mean something only within one.
    host : str
        The machine's name, for people.
    pid, started : int
        Process number, and when that process started (kernel ticks): together they are never used twice.
    since : float
        Unix time of the claim, s.
    token : str
        A random word, different for each claim.
    name : str
        The configuration, for people.
    """

    machine: str
    host: str
    pid: int
    started: int
    since: float
    token: str
    name: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Claim:
    """The right to compute one label; given back with :meth:`release`."""

    claims: Claims
    key: str
    holder: Holder

    def release(self) -> None:
        """Give the claim back, if it is still ours."""
        path = self.claims.path_of(self.key)
        _HELD.remove(path)
        if time.time() - self.holder.since < self.claims.stale_after / 4:
            # So soon nobody has taken it for that of a dead process.
            with suppress(OSError):
                path.unlink(missing_ok=True)
        else:
            self.claims.drop(self.key, self.holder.token)


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

        The file is written under another name first and then linked, which fails when there is one already: it is
        never seen in part, and of several processes exactly one gets it.

        Raises
        ------
        InputError
            When the folder cannot be written.
        """
        pid = os.getpid()
        mine = Holder(machine_id(), socket.gethostname(), pid, _own_start(pid), time.time(), uuid.uuid4().hex, name)
        path, temporary = self.path_of(key), self.folder / f".{mine.token}.tmp"
        try:
            self._write(temporary, json.dumps(vars(mine)) + "\n")
            while True:
                try:
                    os.link(temporary, path)
                    _HELD.add(path)
                    return Claim(self, key, mine)
                except FileExistsError:
                    holder = self.holder(key)
                    if holder is not None and self.is_alive(key, holder):
                        return holder
                    self.drop(key, None if holder is None else holder.token)
        except OSError as error:
            raise InputError(
                f"No label can be claimed in {self.folder} ({error.strerror}). Labels are to be computed, so the store "
                "must be writable, with space left: mend that, or copy the store and name the copy."
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def holder(self, key: str) -> Holder | None:
        """Who holds a key: None when nobody does, or when the claim cannot be read (and so protects nothing)."""
        try:
            content = json.loads(self.path_of(key).read_text(encoding="utf-8"))
            return Holder(
                machine=str(content["machine"]), host=str(content["host"]), pid=int(content["pid"]),
                started=int(content["started"]), since=float(content["since"]), token=str(content["token"]),
                name=str(content["name"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_alive(self, key: str, holder: Holder) -> bool:
        """Whether a holder still works: its process exists, or its claim was touched not long ago."""
        if holder.machine == machine_id():
            return process_start(holder.pid) == holder.started
        try:
            touched = self.path_of(key).stat().st_mtime
        except OSError:
            return False
        return self._file_server_time() - touched < self.stale_after

    def is_held(self, key: str) -> Holder | None:
        """The holder of a key that is alive, or None."""
        holder = self.holder(key)
        return holder if holder is not None and self.is_alive(key, holder) else None

    def drop(self, key: str, token: str | None) -> None:
        """Remove a claim, if it is still the one with this token (None: one that cannot be read)."""
        with self._lock():
            holder = self.holder(key)
            if (None if holder is None else holder.token) == token:
                self.path_of(key).unlink(missing_ok=True)

    def drop_of_process(self, key: str, pid: int | None) -> None:
        """Remove the claim of a process of this machine that has ended."""
        holder = self.holder(key)
        if holder is not None and holder.machine == machine_id() and holder.pid == pid:
            with suppress(OSError):
                self.drop(key, holder.token)

    def touch(self, key: str) -> None:
        """A sign of life for the holder's claim, by itself or by the process that watches over it."""
        with suppress(OSError):
            os.utime(self.path_of(key))

    def all(self) -> Iterator[tuple[str, Holder | None, bool]]:
        """(key, holder, whether it is alive) of every claim; the holder is None where a claim cannot be read."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.claim")):
            holder = self.holder(path.stem)
            yield path.stem, holder, holder is not None and self.is_alive(path.stem, holder)

    def _write(self, path: Path, text: str) -> None:
        try:
            file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(path, "wb", buffering=0)  # noqa: SIM115
        with file:
            file.write(text.encode())  # shorter than what a file system writes in one piece

    def _file_server_time(self) -> float:
        """The clock that the times of files are taken from, which may not be this machine's."""
        probe = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError:
            return time.time()
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One process at a time removes claims, or a claim just taken over could be removed for its dead forerunner."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:  # as below
            yield
            return
        try:
            with suppress(OSError):  # file systems without locks: the race is left, and costs one label twice
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@cache
def machine_id() -> str:
    """One boot of one machine, and one namespace of process numbers in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


@cache
def _own_start(pid: int) -> int:
    return process_start(pid) or 0


def process_start(pid: int) -> int | None:
    """When a process started, in kernel ticks; None when there is none, or only a dead one nobody has waited for."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _exists(pid)
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _exists(pid: int) -> int | None:
    """Without /proc: 0 for a process that exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


class _HeldClaims:
    """The claims of this process, touched in the background as long as it lives."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._lock = threading.Lock()
        self._pid = 0

    def add(self, path: Path) -> None:
        with self._lock:
            self._paths.add(path)
            if self._pid != os.getpid():  # a fork has no threads of its parent
                self._pid = os.getpid()
                threading.Thread(target=self._beat, name="ndsc-claims", daemon=True).start()

    def remove(self, path: Path) -> None:
        with self._lock:
            self._paths.discard(path)

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT)
            with self._lock:
                paths = list(self._paths)
            for path in paths:
                with suppress(OSError):
                    os.utime(path)


_HELD = _HeldClaims()
