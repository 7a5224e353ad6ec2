"""The file of a label: its content, its key and its checksum. JSON only, so that reading one never runs code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from numpy.typing import NDArray

from ndsc.codes.specification import CalculatorSpec, supercell_matrix
from ndsc.errors import InputError
from ndsc.rounding import DECIMALS

FloatArray = NDArray[np.float64]

FORMAT = "ndsc label"
FORMAT_VERSION = 1
UNIT = 10.0**DECIMALS


@dataclass(frozen=True, eq=False)
class Label:
    """The result of a reference calculation of one structure.

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
    structure : dict
        The record of the structure (:func:`structure_record`).
    cpu_seconds : float or None
        Time of processors, with that of all threads and of the programs that were started here: what the calculation
        costs, also on a busy machine. None for labels that were made before it was recorded.
    """

    key: str
    energy: float
    forces: FloatArray
    stress: FloatArray | None
    seconds: float
    provenance: dict[str, Any] = field(default_factory=dict)
    structure: dict[str, Any] = field(default_factory=dict)
    cpu_seconds: float | None = None

    @property
    def cost_seconds(self) -> float:
        """What the calculation cost, s: time of processors, or wall time where that is not recorded."""
        return self.seconds if self.cpu_seconds is None else self.cpu_seconds

    @property
    def atoms(self) -> Atoms:
        """The structure."""
        return structure_from_record(self.structure)


def key_of(atoms: Atoms, spec: CalculatorSpec) -> str:
    """The key of a structure under a calculator: 64 hexadecimal digits.

    Cells and positions count to 1e-8 Å; the supercell matrix counts only where k-points are folded with it.
    """
    return next(keys_of([atoms], spec))


def keys_of(configurations: Sequence[Atoms], spec: CalculatorSpec) -> Iterator[str]:
    """The keys of many structures, in their order.

    The hash is that of the JSON of calculator, parameters, structure and k-points, with sorted keys and no blanks.
    """
    content: dict[str, Any] = {"calculator": spec.name, "parameters": spec.parameters}
    if spec.kgrid is not None:
        content["kgrid"] = list(spec.kgrid)
    for atoms in configurations:
        content["structure"] = structure_content(atoms)
        if spec.kgrid is not None:
            content["matrix"] = supercell_matrix(atoms).tolist()
        yield _hash(content)


def structure_content(atoms: Atoms) -> dict[str, Any]:
    """The part of a structure that enters its key, in integers (lengths in units of 1e-8 Å)."""
    content: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "cell": np.rint(atoms.cell.array * UNIT).astype(np.int64).tolist(),
        "positions": np.rint(atoms.positions * UNIT).astype(np.int64).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    for name, values in _data_of_atoms(atoms).items():
        integers = values if name == "tags" else np.rint(values * 1e6).astype(np.int64)
        content[name] = integers.tolist()
    return content


def _data_of_atoms(atoms: Atoms) -> dict[str, NDArray[Any]]:
    """Moments where the structure has any, also zeros; charges and tags where they are not all zero."""
    moments = {"magmoms": atoms.get_initial_magnetic_moments()} if atoms.has("initial_magmoms") else {}
    others = {"charges": atoms.get_initial_charges(), "tags": atoms.get_tags()}
    return moments | {name: values for name, values in others.items() if values.any()}


def structure_record(atoms: Atoms) -> dict[str, Any]:
    """A readable record of a structure: symbols, Å, and per-atom data that differ from the defaults of the elements."""
    record: dict[str, Any] = {
        "symbols": atoms.get_chemical_symbols(),
        "cell": np.round(atoms.cell.array, DECIMALS).tolist(),
        "positions": np.round(atoms.positions, DECIMALS).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    if "ndsc_matrix" in atoms.info:
        record["supercell_matrix"] = supercell_matrix(atoms).tolist()
    record |= {name: values.tolist() for name, values in _data_of_atoms(atoms).items()}
    if atoms.has("masses") and not np.array_equal(atoms.get_masses(), atomic_masses[atoms.numbers]):
        record["masses"] = atoms.get_masses().tolist()
    return record


def structure_from_record(record: dict[str, Any]) -> Atoms:
    """The structure that :func:`structure_record` described."""
    atoms = Atoms(record["symbols"], cell=record["cell"], positions=record["positions"], pbc=record["pbc"])
    if "supercell_matrix" in record:
        atoms.info["ndsc_matrix"] = np.array(record["supercell_matrix"], dtype=np.int64).ravel()
    if "magmoms" in record:
        atoms.set_initial_magnetic_moments(np.array(record["magmoms"], dtype=float))
    if "charges" in record:
        atoms.set_initial_charges(record["charges"])
    if "tags" in record:
        atoms.set_tags(record["tags"])
    if "masses" in record:
        atoms.set_masses(record["masses"])
    return atoms


def label_text(label: Label) -> str:
    """The text of a label's file."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": label.key,
        "structure": label.structure,
        "results": {
            "free_energy": label.energy,
            "forces": label.forces.tolist(),
            "stress": None if label.stress is None else label.stress.tolist(),
        },
        "seconds": round(label.seconds, 3),
        **({} if label.cpu_seconds is None else {"cpu_seconds": round(label.cpu_seconds, 3)}),
        "provenance": label.provenance,
    }
    content["checksum"] = _hash(content)
    return _lines(content, 0)


def parse_label(key: str, content: Any) -> Label:
    """The label in a file's content, checked.

    Raises
    ------
    ValueError, KeyError, TypeError
        When it is not a label, was changed, or belongs to another key than its structure and settings have.
    InputError
        When it was written by a newer ndsc.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("it is not a label")
    if int(content["format_version"]) > FORMAT_VERSION:
        raise InputError(
            f"The label {key} has the format {content['format_version']}, newer than this version of ndsc can read "
            f"({FORMAT_VERSION}). Update ndsc, or use another folder for the labels."
        )
    checksum = content.pop("checksum")
    if checksum != _hash(content):
        raise ValueError("its checksum does not match its content")
    if content["key"] != key:
        raise ValueError(f"it holds the label {content['key']}")
    results, structure, provenance = content["results"], content["structure"], content["provenance"]
    if not isinstance(provenance, dict):
        raise TypeError("its provenance is not a table")
    stress, cpu_seconds = results["stress"], content.get("cpu_seconds")
    label = Label(
        key=key,
        energy=float(results["free_energy"]),
        forces=np.array(results["forces"], dtype=float).reshape(-1, 3),
        stress=None if stress is None else np.array(stress, dtype=float),
        seconds=float(content["seconds"]),
        provenance=provenance,
        structure=structure,
        cpu_seconds=None if cpu_seconds is None else float(cpu_seconds),
    )
    if len(label.forces) != len(label.atoms):
        raise ValueError(f"it has {len(label.forces)} forces for {len(label.atoms)} atoms")
    _check_key(label)
    return label


def recorded_spec(provenance: dict[str, Any]) -> CalculatorSpec | None:
    """The calculator that a label was computed with; None where it does not say.

    Raises
    ------
    InputError
        When it names what no calculator of this version can be.
    """
    if "calculator" not in provenance or "parameters" not in provenance:
        return None
    return CalculatorSpec(provenance["calculator"], provenance["parameters"], provenance.get("kgrid"))


def _check_key(label: Label) -> None:
    """Compare the key with the structure and the settings that the file records.

    Raises
    ------
    ValueError
        When they do not belong together: somebody changed the file and its checksum.
    """
    try:
        spec = recorded_spec(label.provenance)
    except InputError:
        return
    if spec is not None and key_of(label.atoms, spec) != label.key:
        raise ValueError("its atoms or settings do not agree with its name")


def _hash(content: Any) -> str:
    text = json.dumps(content, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(value: Any, depth: int) -> str:
    """JSON with one line for each row of an array, so that a person can read it and a diff stays small."""
    pad, inner = " " * depth, " " * (depth + 1)
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(str(key))}: {_lines(entry, depth + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(inner + _lines(entry, depth + 1) for entry in value) + f"\n{pad}]"
    return json.dumps(value, allow_nan=False)
