"""The file of a label: its content, its key and its checksum. JSON only, so that reading one never runs code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.codes.specification import CalculatorSpec, supercell_matrix
from ndsc.errors import InputError
from ndsc.rounding import DECIMALS

FloatArray = NDArray[np.float64]

FORMAT = "ndsc label"
FORMAT_VERSION = 1
UNIT = 10.0**DECIMALS
_AT_ONCE = 1000


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


def key_of(atoms: Atoms, spec: CalculatorSpec) -> str:
    """The key of a structure under a calculator: 64 hexadecimal digits.

    Cells and positions count to 1e-8 Å; the supercell matrix counts only where k-points are folded with it.
    """
    return next(keys_of([atoms], spec))


def keys_of(configurations: Sequence[Atoms], spec: CalculatorSpec) -> Iterator[str]:
    """The keys of many structures, in their order.

    The hash is that of the JSON of calculator, parameters, structure and k-points, with sorted keys and no blanks. The
    JSON is put together here from its parts: lengths are integers in units of 1e-8 Å, and the settings are the same
    for all, so that 100,000 keys take a second or two.
    """
    head = f'{{"calculator":{_compact(spec.name)}'
    if spec.kgrid is not None:
        head += f',"kgrid":{_compact(list(spec.kgrid))}'
    middle = f',"parameters":{_compact(spec.parameters)},"structure":'
    for atoms, structure in zip(configurations, _structures_json(configurations), strict=True):
        matrix = "" if spec.kgrid is None else f',"matrix":{_compact(supercell_matrix(atoms).tolist())}'
        text = f"{head}{matrix}{middle}{structure}}}"
        yield hashlib.sha256(text.encode()).hexdigest()


def structure_content(atoms: Atoms) -> dict[str, Any]:
    """What of a structure counts for its key, in integers (lengths in units of 1e-8 Å)."""
    content: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "cell": np.rint(atoms.cell.array * UNIT).astype(np.int64).tolist(),
        "positions": np.rint(atoms.positions * UNIT).astype(np.int64).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    if atoms.has("initial_magmoms"):
        content["magmoms"] = np.rint(atoms.get_initial_magnetic_moments() * 1e6).astype(np.int64).tolist()
    return content


def _structures_json(configurations: Sequence[Atoms]) -> Iterator[str]:
    """``_compact(structure_content(atoms))`` of each, several times faster.

    The rounding is done for many at once, and numbers go into ready templates: nested lists of them would cost more in
    the garbage collector than in their making.
    """
    for start in range(0, len(configurations), _AT_ONCE):
        part = configurations[start : start + _AT_ONCE]
        lengths = np.concatenate([array for atoms in part for array in (atoms.cell.array, atoms.arrays["positions"])])
        numbers = tuple(np.rint(lengths * UNIT).astype(np.int64).ravel().tolist())
        first = 0
        for atoms in part:
            arrays = atoms.arrays
            last = first + 9 + 3 * len(arrays["numbers"])
            if "initial_magmoms" in arrays:
                yield _compact(structure_content(atoms))
            else:
                yield _template(arrays["numbers"].tobytes(), atoms.pbc.tobytes()) % numbers[first:last]
            first = last


@lru_cache(maxsize=1024)
def _template(numbers: bytes, pbc: bytes) -> str:
    """The JSON of a structure with places for its cell and positions; from the bytes of its other arrays."""
    atomic_numbers = np.frombuffer(numbers, dtype=np.int64).tolist()
    rows = ",".join(["[%d,%d,%d]"] * len(atomic_numbers))
    return (
        f'{{"cell":[[%d,%d,%d],[%d,%d,%d],[%d,%d,%d]],"numbers":{_compact(atomic_numbers)},'
        f'"pbc":{_compact(np.frombuffer(pbc, dtype=bool).tolist())},"positions":[{rows}]}}'
    )


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


def structure_from_record(record: dict[str, Any]) -> Atoms:
    """The structure that :func:`structure_record` described."""
    atoms = Atoms(record["symbols"], cell=record["cell"], positions=record["positions"], pbc=record["pbc"])
    if "supercell_matrix" in record:
        atoms.info["ndsc_matrix"] = np.array(record["supercell_matrix"], dtype=np.int64).ravel()
    if "magmoms" in record:
        atoms.set_initial_magnetic_moments(np.array(record["magmoms"], dtype=float))
    return atoms


def label_text(label: Label, atoms: Atoms) -> str:
    """The text of a label's file."""
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
    return _lines(content, 0) + "\n"


def parse_label(text: str, key: str) -> tuple[Label, dict[str, Any]]:
    """The label in a file's text, with the record of its structure, both checked.

    Raises
    ------
    ValueError, KeyError, TypeError
        When the text is no label, was changed, or belongs to another key than its structure and settings have.
    InputError
        When it was written by a newer ndsc.
    """
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
    results, structure, provenance = content["results"], content["structure"], content["provenance"]
    stress = results["stress"]
    label = Label(
        key=key,
        energy=float(results["free_energy"]),
        forces=np.array(results["forces"], dtype=float).reshape(-1, 3),
        stress=None if stress is None else np.array(stress, dtype=float),
        seconds=float(content["seconds"]),
        provenance=provenance,
    )
    if len(label.forces) != len(structure["symbols"]):
        raise ValueError(f"it has {len(label.forces)} forces for {len(structure['symbols'])} atoms")
    return label, structure


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


def check_key(label: Label, structure: dict[str, Any]) -> None:
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
    if spec is not None and key_of(structure_from_record(structure), spec) != label.key:
        raise ValueError("its atoms or settings are not those that it is named for")


_ENCODE = json.JSONEncoder(allow_nan=False).encode
_ENCODE_COMPACT = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def _compact(content: Any) -> str:
    return _ENCODE_COMPACT(content)


def _digest(content: Any) -> str:
    return hashlib.sha256(_compact(content).encode()).hexdigest()


def _is_table(text: str, n: int) -> bool:
    """Whether the JSON of a list of n entries is that of n lists of numbers, as most are: then one step formats it."""
    return text.count("[") == n + 1 and text.count("], [") == n - 1 and '"' not in text and "{" not in text


def _lines(value: Any, depth: int) -> str:
    """JSON with one line for each row of an array, so that a person can read it and a diff stays small."""
    pad, inner = " " * depth, " " * (depth + 1)
    if isinstance(value, dict) and value:
        rows = [f"{inner}{_ENCODE(str(key))}: {_lines(entry, depth + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    text = _ENCODE(value)
    if isinstance(value, list) and value and isinstance(value[0], list):
        if _is_table(text, len(value)):
            return f"[\n{inner}" + text[1:-1].replace("], [", f"],\n{inner}[") + f"\n{pad}]"
        return "[\n" + ",\n".join(inner + _lines(entry, depth + 1) for entry in value) + f"\n{pad}]"
    return text
