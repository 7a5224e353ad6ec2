"""A folder of input for each label that is missing, in the form of a program."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from ase.units import Bohr
from numpy.typing import NDArray

from ndsc.codes import PROGRAMS, Program
from ndsc.codes.base import nearest
from ndsc.codes.castep import blocks_text, cell_blocks
from ndsc.codes.specification import CalculatorSpec, supercell_matrix
from ndsc.elsewhere.manifest import MANIFEST, Entry, Manifest, Wanted
from ndsc.errors import InputError
from ndsc.files import check_folder
from ndsc.kpoints import reduced_kpoints
from ndsc.progress import Progress, silent
from ndsc.rounding import rounded

FloatArray = NDArray[np.float64]

#: The structure with all that its atoms carry, in every folder.
STRUCTURE = "structure.extxyz"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class WriteReport:
    """What was written.

    Attributes
    ----------
    folder : path
    written, kept : list of str
        Names of the folders that were made now, and of those that were there already.
    tasks : dict of str to int
        How many of the labels are for what.
    notes : list of str
        What the user has to add.
    """

    folder: Path
    written: list[str]
    kept: list[str]
    tasks: dict[str, int]
    notes: list[str]


def write_inputs(
    wanted: Sequence[Wanted],
    folder: str | Path,
    code: str,
    store: str | Path,
    *,
    source: str = "",
    copy: Sequence[str | Path] = (),
    progress: Progress = silent,
) -> WriteReport:
    """Write a folder for each label; what is there already is left alone.

    Parameters
    ----------
    wanted : sequence of Wanted
    folder : path
        Made if need be. With what an earlier call wrote, the new labels are added to it.
    code : str
        One of :data:`WRITTEN_FOR`.
    store : path
        The folder of labels that the results belong into.
    source : str
        What was asked for, for the record.
    copy : sequence of path
        Files that every folder gets a copy of: INCAR, POTCAR, a script.
    progress : callable
        Called with ("input", folders written, all).

    Raises
    ------
    InputError
        When the code is not known, a file to copy is missing, the folder was written for another code or store, or the
        parameters cannot be written.
    """
    folder, store = Path(folder), Path(store)
    for label in wanted:
        check_code(code, label.spec)
    files = [Path(file) for file in copy]
    for file in files:
        if not file.is_file():
            raise InputError(f"There is no file {file} to copy into the folders. Correct the path.")
    check_folder(folder)
    manifest = _manifest(folder, code, store, source)
    known = {entry.wanted.key: entry for entry in manifest.entries}
    taken = {entry.folder for entry in manifest.entries}
    entries: list[Entry] = []
    for label in {label.key: label for label in wanted}.values():
        if label.key not in known:
            name = _NOT_IN_NAMES.sub("-", label.name).strip("-.") or "structure"
            if name in taken or (folder / name).exists():
                name = f"{name}-{label.key[:8]}"
            taken.add(name)
            entries.append(Entry(label, name))
    manifest = manifest.joined(entries)
    keys = {label.key for label in wanted}
    here = [entry for entry in manifest.entries if entry.wanted.key in keys]
    written: list[str] = []
    kept: list[str] = []
    notes: list[str] = []
    _write_all(here, folder, code, files, (written, kept, notes), progress, manifest)
    tasks = Counter(entry.wanted.task for entry in here)
    return WriteReport(folder, written, kept, dict(tasks), list(dict.fromkeys(notes)))


def check_code(code: str, spec: CalculatorSpec) -> None:
    """Refuse a code that input cannot be written for, or whose results are not those of a calculator.

    Raises
    ------
    InputError
        Naming what can be chosen.
    """
    if code not in WRITTEN_FOR:
        raise InputError(
            f"Input for {code!r} cannot be written.{nearest(code, WRITTEN_FOR)} Choose one of {', '.join(WRITTEN_FOR)}."
        )
    if not gives_labels_of(code, spec):
        raise InputError(
            f"The labels are those of calculator = {spec.name!r}, which {code} does not compute. Choose calculator = "
            f"'elsewhere', or {spec.name if spec.name in WRITTEN_FOR else 'extxyz'} as the code."
        )


def gives_labels_of(code: str, spec: CalculatorSpec) -> bool:
    """Whether results of a code can be labels of a calculator; extended XYZ may hold those of any."""
    return spec.name == "elsewhere" or code in (spec.name, "extxyz")


def _write_all(
    entries: Sequence[Entry],
    folder: Path,
    code: str,
    files: Sequence[Path],
    found: tuple[list[str], list[str], list[str]],
    progress: Progress,
    manifest: Manifest,
) -> None:
    """Write what is not there; the manifest follows the first folder, so that bad parameters leave nothing behind."""
    written, kept, notes = found
    for number, entry in enumerate(entries):
        progress("input", number, len(entries))
        place = folder / entry.folder
        if place.exists():
            kept.append(entry.folder)
            continue
        partial = place.with_name(f".{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            notes += _write_one(entry.wanted, partial, code)
            for file in files:
                _copy(file, partial / file.name)
            if not written:
                manifest.write()
            partial.rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        written.append(entry.folder)
    progress("input", len(entries), len(entries))


def _copy(file: Path, place: Path) -> None:
    """Copy a file of the user's; what is written of the moments of the structure is added to an INCAR."""
    moments = place.read_text(encoding="utf-8") if place.name == "INCAR" and place.exists() else ""
    shutil.copy(file, place)
    if not moments:
        return
    text = place.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^[^#!]*\bMAGMOM\b", text, re.MULTILINE | re.IGNORECASE):
        raise InputError(
            f"{file} has a line MAGMOM, which is valid for one cell only. Remove it: every folder gets the moments "
            "of its "
            "own atoms, from those of the crystal."
        )
    known = {line.split("=")[0].strip().upper() for line in text.splitlines() if "=" in line}
    lines = [line for line in moments.splitlines() if line.split("=")[0].strip() not in known]
    place.write_text(text.rstrip("\n") + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _manifest(folder: Path, code: str, store: Path, source: str) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        return Manifest(path, code, store, source)
    manifest = Manifest.load(path)
    if (manifest.code, manifest.store.absolute()) != (code, store.absolute()):
        raise InputError(
            f"{folder} was written for {manifest.code} and the labels {manifest.store}; now it is {code} and {store}. "
            "Choose another folder with --out."
        )
    return manifest


def _write_one(wanted: Wanted, folder: Path, code: str) -> list[str]:
    """The files of one label; what the user has to add is returned."""
    atoms, spec = rounded(wanted.atoms), wanted.spec
    atoms.set_constraint()
    kpoints = None
    if spec.kgrid is not None:
        points, weights = reduced_kpoints(supercell_matrix(atoms), spec.kgrid)
        kpoints = np.column_stack([points, weights])
    write(folder / STRUCTURE, atoms, format="extxyz")
    if spec.name == code and kpoints is not None:
        return _by_program(PROGRAMS[code], spec, atoms, kpoints, folder)
    notes = list(WRITTEN_FOR[code](folder, atoms, kpoints))
    if kpoints is None and code != "extxyz":
        notes.append(
            "No k-points were written, because there is no kgrid: choose them yourself; they will not be checked."
        )
    if wanted.task == "single atoms":
        notes.append(
            "Single atoms need settings of their own: spin by Hund's rule, sharp occupations, one k-point. Change "
            "what is in their folders."
        )
    elif atoms.get_initial_magnetic_moments().any() and code != "extxyz":
        vectors = atoms.get_initial_magnetic_moments().ndim > 1
        held = {"vasp": "INCAR", "abinit": "structure.abi (spinat)"}
        held |= {} if vectors else {"castep": "ndsc.cell", "aims": "geometry.in"}
        notes.append(
            f"The crystal has magnetic moments: {STRUCTURE} holds them"
            + (f", and {held[code]}." if code in held else ", the other files do not.")
        )
    return notes


def _by_program(program: Program, spec: CalculatorSpec, atoms: Atoms, kpoints: FloatArray, folder: Path) -> list[str]:
    """All input of a program that ndsc knows."""
    pseudo_dir = None if spec.pseudo_dir is None else Path(spec.pseudo_dir).expanduser().absolute()
    program.write(folder, atoms, spec.parameters, kpoints, pseudo_dir, here=False)
    if program.name == "vasp" and not (folder / "POTCAR").exists():
        symbols = [line.split() for line in (folder / "POSCAR").read_text(encoding="utf-8").splitlines()][5]
        return [
            f"POTCAR is to be added to each folder, in the order {' '.join(symbols)}; [reference] pseudo_dir writes it."
        ]
    if pseudo_dir is None and program.name in ("espresso", "abinit"):
        return [f"Pseudopotentials are looked for in ${program.pseudo_variable} where {program.title} runs."]
    return []


def _vasp(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    write(folder / "POSCAR", atoms, format="vasp", direct=True, sort=True, vasp5=True)
    notes = [
        "Write INCAR and POTCAR yourself: one calculation with forces and stress (IBRION = -1, NSW = 0, ISIF = 2, "
        "ISYM = 0), and the elements in the order of POSCAR."
    ]
    moments = atoms[np.argsort(atoms.get_chemical_symbols(), kind="stable")].get_initial_magnetic_moments()
    if moments.any():
        spin = "ISPIN = 2" if moments.ndim == 1 else "LNONCOLLINEAR = .TRUE."
        values = " ".join(f"{moment:.10g}" for moment in moments.ravel())
        (folder / "INCAR").write_text(f"{spin}\nMAGMOM = {values}\n", encoding="utf-8")
        notes.append(
            "INCAR has the magnetic moments only, in the order of POSCAR; --copy INCAR puts yours before them."
        )
    if kpoints is not None:
        rows = [" ".join(f"{number:.14f}" for number in row) for row in kpoints]
        text = "\n".join(["folded k-points with weights", str(len(rows)), "Reciprocal", *rows])
        (folder / "KPOINTS").write_text(text + "\n", encoding="utf-8")
    return notes


def _castep(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    blocks = cell_blocks(atoms)
    if kpoints is not None:
        blocks["KPOINTS_LIST"] = [" ".join(f"{number:.14f}" for number in row) for row in kpoints]
    (folder / "ndsc.cell").write_text(blocks_text(blocks), encoding="utf-8")
    return [
        "Write ndsc.param yourself: one calculation with forces and stress (task : SinglePoint, calculate_stress : "
        "true, "
        "finite_basis_corr : 0)."
    ]


def _espresso(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    rows = ["CELL_PARAMETERS angstrom", *(_row(vector) for vector in atoms.cell.array)]
    rows += ["", "ATOMIC_POSITIONS angstrom"]
    rows += [f"{atom.symbol} {_row(atom.position)}" for atom in atoms]
    if kpoints is not None:
        rows += ["", "K_POINTS crystal", str(len(kpoints)), *(_row(row) for row in kpoints)]
    (folder / "cards.pwi").write_text("\n".join(rows) + "\n", encoding="utf-8")
    species = len(set(atoms.numbers.tolist()))
    return [
        "cards.pwi has the cards; write the namelists and ATOMIC_SPECIES that go before them yourself (tprnfor, "
        "tstress, "
        f"nosym and noinv = .true., ibrav = 0, ntyp = {species}, nat of each folder)."
    ]


def _abinit(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    numbers = sorted(set(atoms.numbers.tolist()))
    rows = ["acell 1.0 1.0 1.0", "rprim", *(_row(vector / Bohr) for vector in atoms.cell.array)]
    rows += [f"natom {len(atoms)}", f"ntypat {len(numbers)}", f"znucl {' '.join(map(str, numbers))}", "typat"]
    rows += [str(numbers.index(number) + 1) for number in atoms.numbers.tolist()]
    rows += ["xcart", *(_row(position / Bohr) for position in atoms.positions)]
    moments = atoms.get_initial_magnetic_moments()
    if moments.any():
        vectors = moments if moments.ndim > 1 else np.outer(moments, [0.0, 0.0, 1.0])
        rows += ["spinat", *(_row(vector) for vector in vectors)]
    if kpoints is not None:
        rows += ["nsym 1", "kptopt 0", f"nkpt {len(kpoints)}", "kpt", *(_row(row[:3]) for row in kpoints)]
        rows += ["wtk", *(f"{row[3]:.14f}" for row in kpoints)]
    rows += ["optforces 1", "optstress 1"]
    (folder / "structure.abi").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ['structure.abi has the structure and the k-points; your own input reads it with include "structure.abi".']


def _aims(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    rows = [f"lattice_vector {_row(vector)}" for vector in atoms.cell.array]
    moments = atoms.get_initial_magnetic_moments()
    for atom, moment in zip(atoms, moments if moments.ndim == 1 else np.zeros(len(atoms)), strict=True):
        rows.append(f"atom {_row(atom.position)} {atom.symbol}")
        rows += [f"    initial_moment {moment:.10g}"] if moment else []
    (folder / "geometry.in").write_text("\n".join(rows) + "\n", encoding="utf-8")
    _list(folder, kpoints)
    return [
        "Write control.in yourself: one calculation with compute_forces and compute_analytical_stress.",
        *_listed(kpoints),
    ]


def _cp2k(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    rows = ["&CELL", *(f"  {axis} {_row(row)}" for axis, row in zip("ABC", atoms.cell.array, strict=True)), "&END CELL"]
    rows += ["&COORD", *(f"  {atom.symbol} {_row(atom.position)}" for atom in atoms), "&END COORD"]
    (folder / "subsys.inc").write_text("\n".join(rows) + "\n", encoding="utf-8")
    if kpoints is not None:
        rows = ["&KPOINTS", "  SCHEME GENERAL", *(f"  KPOINT {_row(row)}" for row in kpoints), "&END KPOINTS"]
        (folder / "kpoints.inc").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return [
        "Your own input reads subsys.inc and kpoints.inc with @INCLUDE; it must print FORCES and STRESS_TENSOR "
        "into the main output (&PRINT in &FORCE_EVAL, STRESS_TENSOR ANALYTICAL)."
    ]


def _extxyz(folder: Path, atoms: Atoms, kpoints: FloatArray | None) -> list[str]:
    _list(folder, kpoints)
    return [
        f"Read {STRUCTURE}, and write result.extxyz beside it: free_energy (or energy), forces, stress, as ASE does.",
        *_listed(kpoints),
    ]


def _list(folder: Path, kpoints: FloatArray | None) -> None:
    if kpoints is not None:
        rows = "".join(f"{_row(row)}\n" for row in kpoints)
        (folder / "kpoints.txt").write_text(rows, encoding="utf-8")


def _listed(kpoints: FloatArray | None) -> list[str]:
    return (
        [] if kpoints is None else ["kpoints.txt lists the folded k-points, in reduced coordinates, and their weights."]
    )


def _row(numbers: FloatArray) -> str:
    return " ".join(f"{number:.14f}" for number in numbers)


#: How the structure and its k-points are written for each program, beside what the user has.
WRITTEN_FOR: dict[str, Callable[[Path, Atoms, FloatArray | None], list[str]]] = {
    "vasp": _vasp,
    "castep": _castep,
    "espresso": _espresso,
    "abinit": _abinit,
    "aims": _aims,
    "cp2k": _cp2k,
    "extxyz": _extxyz,
}
