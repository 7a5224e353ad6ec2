"""Labels, one file each, named by what was computed.

A label's key is a hash of (structure, calculator, parameters, k-points), so the folder of labels is at once the cache,
the point from which an interrupted run goes on, and the thing to share. Files are JSON, written whole or not at all by
the process that computed them, and carry a checksum that is verified when they are read. Reading one never runs code.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ase import Atoms

from ndsc.codes.specification import CalculatorSpec
from ndsc.errors import InputError
from ndsc.files import whole_file, write_text
from ndsc.reference.claims import Claims
from ndsc.reference.label_file import Label, key_of, keys_of, label_text, parse_label
from ndsc.store import Store

__all__ = ["Label", "LabelStore"]

_LABEL_FILE = re.compile(r"([0-9a-f]{64})\.json")
#: Labels that took longer are forced to the disk before they count as written: they would be missed after a power cut.
_WORTH_A_SYNC = 1.0


class LabelStore(Store[Label]):
    """A folder of labels.

    Parameters
    ----------
    path : path
        The folder; made when the first label is written.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, parse_label, label_text)
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file, not a folder of labels. Name another folder for the labels.")

    @property
    def claims(self) -> Claims:
        """Who computes what at the moment."""
        return Claims(self.path / "claims")

    @property
    def derived(self) -> Path:
        """Folder of the results that follow from many labels: relaxed crystals and elastic constants."""
        return self.path / "derived"

    @staticmethod
    def key_of(atoms: Atoms, spec: CalculatorSpec) -> str:
        """The key of a structure under a calculator: 64 hexadecimal digits.

        Cells and positions count to 1e-8 Å; the supercell matrix counts only where k-points are folded with it.
        """
        return key_of(atoms, spec)

    def keys(self) -> Iterator[str]:
        """The keys of all labels in the store, sorted, without reading them."""
        yield from sorted(self._present())

    def missing(self, configurations: Sequence[Atoms], spec: CalculatorSpec) -> list[Atoms]:
        """The configurations that have no label, equal structures once; no label is read.

        Parameters
        ----------
        configurations : sequence of ase.Atoms
        spec : CalculatorSpec
        """
        present = self._present()
        todo = dict(zip(keys_of(configurations, spec), configurations, strict=True))
        return [atoms for key, atoms in todo.items() if key not in present]

    def put(self, key: str, result: Label) -> None:
        """Write a label, whole or not at all.

        Raises
        ------
        InputError
            When the store cannot be written. The label is then kept in another folder, which the message names.
        """
        text, path = self._encode(result) + "\n", self.path_of(key)
        try:
            write_text(path, text, sync=result.seconds > _WORTH_A_SYNC)
        except (OSError, InputError) as error:
            reason = getattr(error, "strerror", None) or getattr(error.__cause__, "strerror", None)
            raise InputError(f"The label {path} cannot be written ({reason}). {_rescue(path.name, text)}") from error

    def check_writable(self) -> None:
        """Refuse, before anything is computed, a store that no label could be written to.

        Raises
        ------
        InputError
            When nothing can be made in its folder.
        """
        with whole_file(self.path / ".probe") as temporary:
            temporary.write_text("", encoding="utf-8")
        (self.path / ".probe").unlink(missing_ok=True)

    def _present(self) -> set[str]:
        try:
            with os.scandir(self.path) as entries:
                return {match[1] for entry in entries if (match := _LABEL_FILE.fullmatch(entry.name))}
        except FileNotFoundError:
            return set()


def _rescue(name: str, text: str) -> str:
    """Keep a finished label somewhere when its store cannot take it, and say where."""
    path = Path(tempfile.gettempdir()) / f"ndsc-rescued-{os.getuid()}" / name
    try:
        write_text(path, text, sync=True)
    except (OSError, InputError):
        return "It could not be saved anywhere else either. Free some space, then run again: finished labels are kept."
    return f"It was saved as {path}: free some space, move it into the store, and run again."
