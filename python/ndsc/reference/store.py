"""Labels, one file each, named by what was computed.

A label's key is a hash of (structure, calculator, parameters, k-points), so the folder of labels is at once the cache,
the point from which an interrupted run goes on, and the thing to share. Files are JSON, written whole or not at all by
whoever computed them, and carry a checksum that is verified when they are read. Reading one never runs code.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.configurations import DECIMALS
from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.reference.calculators import CalculatorSpec, supercell_matrix

FloatArray = NDArray[np.float64]
log = logging.getLogger(__name__)

FORMAT = "ndsc label"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Label:
    """What a reference calculation gave for one structure.

    Attributes
    ----------
    key : str
        Hash of the structure, the calculator and its settings: the name of the file.
    energy : float, eV
        Free energy, the one that the forces derive from.
    forces : (n, 3) array, eV/Å
    stress : (6,) array, eV/Å³, or None
        xx, yy, zz, yz, xz, xy with ASE's sign; None where the calculator has no stress.
    seconds : float
        Wall time of the calculation.
    provenance : dict
        Calculator with parameters, the code's version, peak memory, and the structure's name.
    """

    key: str
    energy: float
    forces: FloatArray
    stress: FloatArray | None
    seconds: float
    provenance: dict[str, Any] = field(default_factory=dict)


class LabelStore:
    """A folder of labels.

    Parameters
    ----------
    path : path
        The folder; made when the first label is written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file, not a folder of labels. Name another folder for the labels.")

    @staticmethod
    def key_of(atoms: Atoms, spec: CalculatorSpec) -> str:
        """The key of a structure under a calculator: 64 hexadecimal digits.

        Cells and positions count to 1e-8 Å; the supercell matrix counts only where k-points are folded with it.
        """
        content: dict[str, Any] = {
            "structure": structure_content(atoms),
            "calculator": spec.name,
            "parameters": spec.parameters,
        }
        if spec.kgrid is not None:
            content["kgrid"] = list(spec.kgrid)
            content["matrix"] = supercell_matrix(atoms).tolist()
        return _digest(content)

    def path_of(self, key: str) -> Path:
        """The file of a key."""
        return self.path / f"{key}.json"

    def __contains__(self, key: str) -> bool:
        return self.path_of(key).is_file()

    def keys(self) -> Iterator[str]:
        """The keys of all labels in the store, without reading them."""
        if self.path.is_dir():
            yield from sorted(entry.stem for entry in self.path.glob("*.json") if len(entry.stem) == 64)

    def get(self, key: str) -> Label | None:
        """The label of a key, or None when there is none that can be used.

        A damaged file is moved aside (``.damaged``) with a warning, so that the label is computed again; a file of a
        newer format is an error.

        Raises
        ------
        InputError
            When the file was written by a newer ndsc.
        """
        path = self.path_of(key)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            self._set_aside(path, str(error))
            return None
        try:
            return _parse(text, key)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            self._set_aside(path, str(error))
            return None

    def put(self, label: Label, atoms: Atoms) -> None:
        """Write a label, atomically.

        Parameters
        ----------
        label : Label
        atoms : ase.Atoms
            The structure that it belongs to; written beside the results, for people and other programs.
        """
        content: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "key": label.key,
            "structure": structure_record(atoms),
            "results": {
                "free_energy": label.energy,
                "forces": label.forces.tolist(),
                "stress": None if label.stress is None else label.stress.tolist(),
            },
            "seconds": round(label.seconds, 3),
            "provenance": label.provenance,
        }
        content["checksum"] = _digest(content)
        write_text(self.path_of(label.key), _readable_json(content) + "\n")

    def _set_aside(self, path: Path, reason: str) -> None:
        aside = path.with_suffix(".damaged")
        log.warning(
            "The label %s is damaged (%s); it was renamed to %s and will be computed again.",
            path.name,
            reason,
            aside.name,
        )
        try:
            path.replace(aside)
        except OSError as error:
            raise InputError(
                f"The label {path} is damaged ({reason}) and cannot be moved aside ({error.strerror}). Remove it, or "
                "make the folder writable."
            ) from error


def structure_content(atoms: Atoms) -> dict[str, Any]:
    """What of a structure counts for its key, in integers (lengths in units of 1e-8 Å)."""
    unit = 10.0**DECIMALS
    content: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "cell": np.rint(atoms.cell.array * unit).astype(np.int64).tolist(),
        "positions": np.rint(atoms.positions * unit).astype(np.int64).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    if atoms.has("initial_magmoms"):
        content["magmoms"] = np.rint(atoms.get_initial_magnetic_moments() * 1e6).astype(np.int64).tolist()
    return content


def structure_record(atoms: Atoms) -> dict[str, Any]:
    """A structure for people and other programs: symbols, Å."""
    record: dict[str, Any] = {
        "symbols": atoms.get_chemical_symbols(),
        "cell": np.round(atoms.cell.array, DECIMALS).tolist(),
        "positions": np.round(atoms.positions, DECIMALS).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    if "ndsc_matrix" in atoms.info:
        record["supercell_matrix"] = supercell_matrix(atoms).tolist()
    if atoms.has("initial_magmoms"):
        record["magmoms"] = atoms.get_initial_magnetic_moments().tolist()
    return record


def _parse(text: str, key: str) -> Label:
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("it is no label")
    if int(content["format_version"]) > FORMAT_VERSION:
        raise InputError(
            f"The label {key} has the format {content['format_version']}, newer than this version of ndsc reads "
            f"({FORMAT_VERSION}). Update ndsc, or use another folder for the labels."
        )
    checksum = content.pop("checksum")
    if checksum != _digest(content):
        raise ValueError("its checksum does not match its content")
    if content["key"] != key:
        raise ValueError(f"it is the label of {content['key']}")
    results = content["results"]
    stress = results["stress"]
    return Label(
        key=key,
        energy=float(results["free_energy"]),
        forces=np.array(results["forces"], dtype=float).reshape(-1, 3),
        stress=None if stress is None else np.array(stress, dtype=float),
        seconds=float(content["seconds"]),
        provenance=content["provenance"],
    )


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _readable_json(content: dict[str, Any]) -> str:
    """JSON with one line for each row of an array, so that a person can read it and a diff stays small."""
    return _lines(content, 0)


def _lines(value: Any, depth: int) -> str:
    pad, inner = " " * depth, " " * (depth + 1)
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(str(key))}: {_lines(entry, depth + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(inner + _lines(entry, depth + 1) for entry in value) + f"\n{pad}]"
    return json.dumps(value, allow_nan=False)
