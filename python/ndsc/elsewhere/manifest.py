"""The list of the labels that a folder of calculations is for: ``ndsc-labels.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.codes.specification import CalculatorSpec, supercell_matrix
from ndsc.errors import InputError
from ndsc.files import read_json, write_text
from ndsc.kpoints import reduced_kpoints
from ndsc.reference.label_file import key_of, structure_from_record, structure_record
from ndsc.reference.settings import settings_id, settings_of
from ndsc.rounding import rounded

#: Name of the file.
MANIFEST = "ndsc-labels.json"
FORMAT, FORMAT_VERSION = "ndsc labels elsewhere", 1
#: How far above a folder its manifest is looked for: outputs may lie in folders of the folders.
LEVELS = 3


@dataclass(frozen=True, eq=False)
class Wanted:
    """A label that is missing.

    Attributes
    ----------
    atoms : ase.Atoms
        Named by ``info["ndsc_name"]``.
    spec : CalculatorSpec
    task : str
        What it is for, in a few words.
    """

    atoms: Atoms
    spec: CalculatorSpec
    task: str = "labels"

    @property
    def name(self) -> str:
        """Name of the configuration."""
        return str(self.atoms.info.get("ndsc_name", "structure"))

    @cached_property
    def key(self) -> str:
        """Key of the label."""
        return key_of(self.atoms, self.spec)

    @cached_property
    def kpoints(self) -> NDArray[np.float64] | None:
        """(n, 3) array : the folded k-points without one of each pair k, -k; None for a calculation without."""
        if self.spec.kgrid is None:
            return None
        return reduced_kpoints(supercell_matrix(self.atoms), self.spec.kgrid)[0]


@dataclass(frozen=True, eq=False)
class Entry:
    """A label of the manifest, and the folder that was written for it."""

    wanted: Wanted
    folder: str


@dataclass(frozen=True)
class Manifest:
    """What a folder of calculations is for.

    Attributes
    ----------
    path : path
        The file.
    code : str
        The program that the input is for.
    store : path
        The folder of labels.
    source : str
        What was asked for: an input file or a file of structures.
    entries : tuple of Entry
    """

    path: Path
    code: str
    store: Path
    source: str
    entries: tuple[Entry, ...] = field(default=(), repr=False)

    @property
    def folder(self) -> Path:
        """The folder that it is in."""
        return self.path.parent

    def joined(self, entries: Sequence[Entry]) -> Manifest:
        """With further entries."""
        return Manifest(self.path, self.code, self.store, self.source, (*self.entries, *entries))

    def write(self) -> None:
        """Write the file, whole or not at all."""
        settings: dict[str, dict[str, Any]] = {}
        labels = []
        for entry in self.entries:
            said = settings_of(entry.wanted.spec)
            name = settings_id(said)
            settings[name] = said
            labels.append(
                {
                    "key": entry.wanted.key,
                    "folder": entry.folder,
                    "name": entry.wanted.name,
                    "task": entry.wanted.task,
                    "config_type": str(entry.wanted.atoms.info.get("config_type", "")),
                    "settings": name,
                    "structure": structure_record(rounded(entry.wanted.atoms)),
                }
            )
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "code": self.code,
            "store": os.path.relpath(self.store.absolute(), self.folder.absolute()),
            "store_absolute": str(self.store.absolute()),
            "source": self.source,
            "settings": settings,
            "labels": labels,
        }
        write_text(self.path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """The manifest in a file.

        Raises
        ------
        InputError
            When it cannot be read, or was changed.
        """
        try:
            content = read_json(path)
            if content["format"] != FORMAT or int(content["format_version"]) > FORMAT_VERSION:
                raise ValueError(f"its format is {content['format']!r}, version {content['format_version']}")
            specs = {
                name: CalculatorSpec(said["calculator"], said["parameters"], said["kgrid"])
                for name, said in content["settings"].items()
            }
            entries = []
            for said in content["labels"]:
                atoms = structure_from_record(said["structure"])
                atoms.info |= {"ndsc_name": said["name"], "config_type": str(said.get("config_type", ""))}
                wanted = Wanted(atoms, specs[said["settings"]], said["task"])
                if wanted.key != said["key"]:
                    raise ValueError(f"the structure or the settings of {said['name']} do not agree with its key")
                entries.append(Entry(wanted, str(said["folder"])))
            near = Path(os.path.normpath(path.absolute().parent / content["store"]))
            far = Path(content["store_absolute"])
            store = far if far.is_dir() or not near.is_dir() else near
            return cls(path, str(content["code"]), store, str(content["source"]), tuple(entries))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path} is not a list of labels that ndsc labels write made ({type(error).__name__}: {error}). Write "
                "it again with the same command into another folder, and read the outputs with it: they are found by "
                "their structure."
            ) from error

    @classmethod
    def find(cls, folder: Path) -> Path:
        """The manifest of a folder, in it or above it.

        Raises
        ------
        InputError
            When there is none.
        """
        if not folder.exists():
            raise InputError(f"There is no folder {folder}. Give one that ndsc labels write made.")
        place = folder.absolute()
        for candidate in [place, *place.parents][: LEVELS + 1]:
            if (candidate / MANIFEST).is_file():
                return candidate / MANIFEST
        raise InputError(
            f"{folder} has no {MANIFEST}, which says what labels its outputs are for. Give the folder that ndsc labels "
            "write made; if only the outputs were copied back, put them into it: the names of their folders do not "
            "matter."
        )
