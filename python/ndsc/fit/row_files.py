"""Rows on disk: one file for each configuration and set of kernels, in a folder that does not grow beyond a bound."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.files import check_folder, whole_file
from ndsc.fit.kernels import Kernel
from ndsc.versions import package_version

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

#: Goes into every key: another number when rows mean something else.
FORMAT = 1
#: What of quippy's description only says where sparse points came from.
_ORIGINS = ("n_sparse", "sparse_method", "sparse_file", "config_type_n_sparse")
_NAME = re.compile(r"[0-9a-f]{64}\.npy")


class RowFiles:
    """A folder of rows, as ``.npy`` files that are whole or not there, and are made again when they are damaged.

    Parameters
    ----------
    folder : path
        Made when it is not there. Files in it with other names are left alone.
    limit_gb : float
        Disk space of all rows in the folder, GB (10⁹ bytes). When more are written, those go that were not used for
        longest; rows that this object has used stay, and when they alone fill the folder, no more are written.

    Raises
    ------
    InputError
        When the folder cannot be written, or the limit is not positive.
    """

    def __init__(self, folder: Path, limit_gb: float) -> None:
        if not limit_gb > 0:
            raise InputError(
                f"limit_gb = {limit_gb} leaves no room for rows on disk. Give a positive number, for example 4.0."
            )
        self.path = check_folder(Path(folder).absolute())
        self.limit = limit_gb * 1e9
        self._used: set[Path] = set()
        self._bytes: float | None = None
        self._full = False

    def __contains__(self, key: str) -> bool:
        return self.path_of(key).is_file()

    def path_of(self, key: str) -> Path:
        """The file of a key."""
        return self.path / f"{key}.npy"

    def get(self, key: str, shape: tuple[int, int]) -> FloatArray | None:
        """The rows of a key; None when there are none, or their file does not hold rows of this shape."""
        path = self.path_of(key)
        try:
            with path.open("rb") as file:
                rows = np.load(file, allow_pickle=False)
                if rows.dtype != np.float64 or rows.shape != shape or not np.isfinite(rows).all():
                    raise ValueError(f"it holds {rows.dtype} of the shape {rows.shape}, or numbers that are not finite")
                if file.read(1):
                    raise ValueError("it is too long")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:  # what a foreign file may raise
            log.warning("%s is damaged (%s); its rows are computed again.", path, error)
            return None
        self._used.add(path)
        with suppress(OSError):
            os.utime(path)
        found: FloatArray = rows
        return found

    def put(self, key: str, rows: FloatArray) -> None:
        """Keep rows, where there is room for them."""
        path = self.path_of(key)
        if self._full or not self._room_for(rows.nbytes):
            return
        try:
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, rows, allow_pickle=False)
        except (OSError, InputError) as error:  # the results do not depend on it
            self._stop(f"they cannot be written to {self.path} ({error})")
            return
        self._used.add(path)
        self._bytes = (self._bytes or 0.0) + rows.nbytes

    def _room_for(self, size: int) -> bool:
        if self._bytes is not None and self._bytes + size <= self.limit:
            return True
        # Other processes may have written or removed some since the last look.
        found = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                with suppress(OSError):
                    if _NAME.fullmatch(entry.name):
                        found.append((entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)))
        self._bytes = float(sum(bytes_ for _, bytes_, _ in found))
        for _, bytes_, path in sorted(found):
            if self._bytes + size <= self.limit:
                break
            if path not in self._used:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                    self._bytes -= bytes_
        if self._bytes + size <= self.limit:
            return True
        self._stop(f"{self.path} holds {self.limit / 1e9:g} GB of them, which is the limit")
        return False

    def _stop(self, reason: str) -> None:
        self._full = True
        log.warning("No more rows are kept on disk: %s. They will be computed again where they are needed.", reason)


def kernels_digest(kernels: Sequence[Kernel]) -> str:
    """A hash of all that rows depend on besides the structure; the scale delta is multiplied in afterwards."""
    hashed = hashlib.sha256(f"{FORMAT} {package_version('quippy-ase')}".encode())
    for kernel in kernels:
        words = [word for word in kernel.text.split() if word.partition("=")[0] not in (*_ORIGINS, "delta")]
        hashed.update(f"\n{' '.join(words)} {kernel.points.shape}\n".encode())
        hashed.update(np.ascontiguousarray(kernel.points).tobytes())
    return hashed.hexdigest()


def key_of(structure: Atoms, kernels: str) -> str:
    """The key of a structure's rows, 64 hexadecimal digits; `kernels` is their digest."""
    hashed = hashlib.sha256(kernels.encode())
    for array, kind in (
        (structure.numbers, np.int64),
        (structure.pbc, np.int64),
        (structure.cell.array, np.float64),
        (structure.positions, np.float64),
    ):
        hashed.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    return hashed.hexdigest()
