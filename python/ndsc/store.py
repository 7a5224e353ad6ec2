"""Finished results in a folder, one JSON file each, named by a hash of everything that they depend on.

Labels, relaxed crystals, elastic constants, fits and evaluations are all kept in this way: what is there is used, what
is missing or damaged is computed and written, whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from ndsc.errors import InputError
from ndsc.files import read_json, write_text

log = logging.getLogger(__name__)

T = TypeVar("T")


def digest(content: Mapping[str, Any]) -> str:
    """A hash of JSON content, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


class DamagedError(ValueError):
    """A file of a store is not what it should be."""


class Store(Generic[T]):
    """A folder of results of one kind.

    Parameters
    ----------
    folder : path
        Made when the first result is written.
    decode : callable
        From a key and the content of its file to the result; may raise anything when the content is wrong.
    encode : callable
        From a result to the text of its file.
    """

    def __init__(
        self, folder: str | Path, decode: Callable[[str, Any], T], encode: Callable[[T], str] = json.dumps
    ) -> None:
        self.path = Path(folder)
        self._decode = decode
        self._encode = encode

    def path_of(self, key: str) -> Path:
        """The file of a key."""
        return self.path / f"{key}.json"

    def __contains__(self, key: str) -> bool:
        return self.path_of(key).is_file()

    def load(self, key: str) -> T:
        """The result of a key; the file is not changed, even if it is damaged.

        Raises
        ------
        OSError
            When there is no file, or it may not be read.
        InputError
            When a newer version of ndsc wrote it.
        DamagedError
            When it is no such result.
        """
        try:
            return self._decode(key, read_json(self.path_of(key)))
        except (OSError, InputError, DamagedError):
            raise
        except (KeyError, AttributeError, TypeError, IndexError) as error:
            raise DamagedError(f"its content is not that of a result: {type(error).__name__}: {error}") from error
        except Exception as error:  # a foreign file may make any reader raise anything
            raise DamagedError(str(error) or type(error).__name__) from error

    def get(self, key: str) -> T | None:
        """The result of a key, or None where there is none that can be used.

        A damaged file is moved aside (``.damaged``) with a warning, so that the result is computed again.

        Raises
        ------
        InputError
            When the file was written by a newer ndsc, or may not be read.
        """
        path = self.path_of(key)
        try:
            return self.load(key)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}). Make it readable, or remove it.") from error
        except DamagedError as error:
            self._set_aside(path, error)
            return None

    def put(self, key: str, result: T) -> None:
        """Write a result, whole or not at all."""
        write_text(self.path_of(key), self._encode(result) + "\n")

    def _set_aside(self, path: Path, reason: DamagedError) -> None:
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
            log.warning("%s is damaged (%s); it was renamed to %s and will be made again.", path, reason, aside.name)
        except OSError as error:
            log.warning(
                "%s is damaged (%s), and it cannot be moved aside (%s); it counts as missing.",
                path,
                reason,
                error.strerror,
            )

    def get_or_compute(self, key: str, compute: Callable[[], T]) -> T:
        """The result of a key: as it is in the store, or else computed now and kept."""
        found = self.get(key)
        if found is None:
            found = compute()
            self.put(key, found)
        return found
