"""Outputs as the programs left them: found by their names and first lines, read by ASE, checked for their end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.io import read
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ndsc.codes import PROGRAMS
from ndsc.codes.program import Output, text_of
from ndsc.codes.vasp import unconverged_steps
from ndsc.elsewhere.cp2k import cell_rounding, last_run, printed_steps, read_cp2k
from ndsc.elsewhere.manifest import MANIFEST
from ndsc.elsewhere.recorded import kpoints_of, recorded, seconds_of
from ndsc.extended_xyz import read_frames
from ndsc.progress import Progress, silent

FloatArray = NDArray[np.float64]

#: How compressed outputs are read, by their ending.
_PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
#: What is read of a file to know what it is, bytes.
HEAD = 65_536
#: Files that are never outputs, in lower case: input, and what is too large to look into.
_INPUT = {
    "poscar", "contcar", "incar", "kpoints", "potcar", "wavecar", "chgcar", "chg", "doscar", "eigenval", "procar",
    "ibzkpt", "xdatcar", "oszicar", "geometry.in", "control.in", "kpoints.txt", "ase-sort.dat", MANIFEST,
}  # fmt: skip
_INPUT_SUFFIXES = {
    ".pwi",
    ".cell",
    ".param",
    ".inc",
    ".abi",
    ".in",
    ".json",
    ".upf",
    ".psp8",
    ".nc",
    ".sh",
    ".toml",
    ".wfc",
}


class UnusableError(Exception):
    """An output that is no result: unfinished, not converged, of several steps."""


@dataclass(frozen=True, eq=False)
class Returned:
    """What an output holds.

    Attributes
    ----------
    path : path
        The file; with a number behind an @ where it holds several.
    code : str
        The program, as :data:`READERS` names it.
    atoms : ase.Atoms
    energy : float, eV
        The free energy, which the forces derive from.
    forces : (n, 3) array, eV/Å
    stress : (6,) array, eV/Å³, or None
        With ASE's sign.
    version : str
        Name and version of the program.
    settings : dict of str to float or str
        What the output says of the settings, keys of :data:`~ndsc.codes.MEANINGS` where they fit.
    n_kpoints : int or None
    kpoints : (n, 3) array or None
        In reduced coordinates, where the output lists them with enough digits.
    seconds : float
        Wall time; 0 where the output does not say it.
    rounding : float, Å
        How far the lattice vectors may be from those of the calculation, where they are printed with few digits.
    """

    path: Path
    code: str
    atoms: Atoms
    energy: float
    forces: FloatArray
    stress: FloatArray | None
    version: str
    settings: dict[str, float | str] = field(default_factory=dict)
    n_kpoints: int | None = None
    kpoints: FloatArray | None = None
    seconds: float = 0.0
    rounding: float = 0.0


@dataclass(frozen=True)
class Problem:
    """An output that was not taken, and why."""

    path: Path
    reason: str


def find_outputs(
    folder: Path, *, without: Path | None = None, progress: Progress = silent
) -> Iterator[tuple[list[Returned], list[Problem]]]:
    """What the outputs in a folder and all folders in it hold, one item for each folder that has any.

    Where a folder has a good output of a program, its bad ones are those of earlier tries, and left out.

    Parameters
    ----------
    folder : path
    without : path, optional
        A folder in it that is left out: the one of the labels.
    progress : callable
        Called with ("outputs", folders read, all).
    """
    left_out = None if without is None else without.resolve()
    places = [
        (Path(place), sorted(files))
        for place, _, files in os.walk(folder)
        if left_out is None or not Path(place).resolve().is_relative_to(left_out)
    ]
    places.sort()
    for number, (place, files) in enumerate(places):
        progress("outputs", number, len(places))
        found: dict[str, list[Returned]] = {}
        problems: dict[str, list[Problem]] = {}
        kinds = [(kind, place / name) for name in files if (kind := kind_of(place / name)) is not None]
        # vasprun.xml has more digits than OUTCAR.
        for kind, path in sorted(kinds, key=lambda pair: list(READERS).index(pair[0])):
            program = _PROGRAM.get(kind, kind)
            if (kind == "outcar" and found.get(program)) or (path.suffix in _PACKED and path.stem in files):
                continue
            try:
                found.setdefault(program, []).extend(_read(kind, path))
            except Exception as error:  # ASE's readers raise anything, and the file may be cut off anywhere
                problems.setdefault(program, []).append(Problem(path, _reason(error)))
        bad = [problem for program, told in problems.items() if not found.get(program) for problem in told[:1]]
        good = [item for items in found.values() for item in items]
        if good or bad:
            yield good, bad
    progress("outputs", len(places), len(places))


def kind_of(path: Path) -> str | None:
    """The kind of output that a file is, a key of :data:`READERS`; None where it is none."""
    name = (path.stem if path.suffix in _PACKED else path.name).lower()
    suffix = Path(name).suffix
    if name in _INPUT or name.startswith((".", "wavecar", "chgcar")) or suffix in _INPUT_SUFFIXES:
        return None
    if name.startswith("vasprun") and suffix == ".xml":
        return "vasprun"
    if name.startswith("outcar") and suffix in ("", ".outcar"):
        return "outcar"
    if suffix in (".xyz", ".extxyz"):
        return "extxyz"
    try:
        with _opened(path) as file:
            head = file.read(HEAD)
    except (OSError, EOFError, lzma.LZMAError):
        return None
    return next((kind for kind, mark in _MARKS.items() if re.search(mark, head)), None)


def _opened(path: Path) -> IO[bytes]:
    """A file to read bytes from, unpacked where it is compressed."""
    opened: IO[bytes] = _PACKED.get(path.suffix, open)(path, "rb")
    return opened


def _read(kind: str, path: Path) -> list[Returned]:
    """What an output holds; a compressed one is unpacked for it, and so is the OUTCAR beside a vasprun.xml."""
    if path.suffix not in _PACKED:
        return READERS[kind](path)
    with TemporaryDirectory(prefix="ndsc-") as folder:
        for packed in dict.fromkeys([path, *path.parent.glob("OUTCAR*")]):
            unpacked = Path(folder) / (packed.stem if packed.suffix in _PACKED else packed.name)
            with _opened(packed) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
        found = READERS[kind](Path(folder) / path.stem)
    return [replace(one, path=path.with_name(one.path.name.replace(path.stem, path.name, 1))) for one in found]


def _reason(error: Exception) -> str:
    if isinstance(error, UnusableError):
        return str(error)
    said = " ".join(str(error).split())
    return f"it cannot be read and may be incomplete ({type(error).__name__}{': ' + said[:200] if said else ''})"


def _returned(path: Path, kind: str, output: Output, text: str, extra: str = "") -> Returned:
    settings, n_kpoints = recorded(kind, text)
    return Returned(
        path=path,
        code=_PROGRAM.get(kind, kind),
        atoms=output.atoms,
        energy=output.free_energy,
        forces=output.forces,
        stress=output.stress,
        version=output.version,
        settings=settings,
        n_kpoints=n_kpoints,
        kpoints=kpoints_of(text) if kind == "vasprun" else None,
        seconds=seconds_of(extra or text),
    )


def _single(path: Path, steps: int) -> None:
    if steps > 1:
        raise UnusableError(
            f"it has {steps} steps, in which the atoms moved; a label is one calculation of the atoms as they are given"
        )


def _unconverged(reason: str) -> None:
    if reason:
        raise UnusableError(f"it did not reach self-consistency: {reason}")


def _vasprun(path: Path) -> list[Returned]:
    xml, outcar = text_of(path), text_of(path.with_name("OUTCAR"))
    if "</modeling>" not in xml[-200:]:
        raise UnusableError("it is incomplete: the calculation was stopped, or part of the file is missing")
    _single(path, xml.count("<calculation>"))
    _unconverged(unconverged_steps(outcar, xml))
    return [_returned(path, "vasprun", PROGRAMS["vasp"].parse(path), xml, outcar)]


def _outcar(path: Path) -> list[Returned]:
    text = text_of(path)
    if "General timing and accounting" not in text[-20_000:]:
        raise UnusableError("it is incomplete: the calculation was stopped, or part of the file is missing")
    ends = re.findall(r"aborting loop.*", text)
    _unconverged("" if ends and "EDIFF is reached" in ends[-1] else (ends or ["EDIFF is not reached"])[-1].strip(" -"))
    frames = read(path, index=":", format="vasp-out")
    _single(path, len(frames))
    version = re.search(r"^\s*vasp\.(\S+)", text)
    named = f"VASP {version[1] if version else 'of unknown version'}"
    return [_returned(path, "outcar", Output.of(frames[0], frames[0].calc.results, named), text)]


def _program(name: str, end: str, steps: str) -> Callable[[Path], list[Returned]]:
    """The reader of a program that :mod:`ndsc.codes` knows; `end` is in every finished output, `steps` once a step."""

    def reader(path: Path) -> list[Returned]:
        text = text_of(path)
        code = PROGRAMS[name]
        found = re.search(code.not_converged, text, re.IGNORECASE)
        _unconverged(found[0].strip(" ;") if found else "")
        if not re.search(end, text):
            raise UnusableError("it is incomplete: the calculation was stopped, or part of the file is missing")
        _single(path, len(re.findall(steps, text)))
        if name == "castep" and len(re.findall(r"(?m)^\s*Final energy(?:, E)?\s*=", text)) > 1:
            raise UnusableError("it has energies at several cutoffs; finite_basis_corr : 0 gives a single one")
        return [_returned(path, name, code.parse(path), text)]

    return reader


def _aims(path: Path) -> list[Returned]:
    text = text_of(path)
    if "Have a nice day." not in text:
        raise UnusableError("it does not end with 'Have a nice day.': the calculation was stopped or did not converge")
    _unconverged("" if "Self-consistency cycle converged." in text else "aims does not report convergence")
    frames = read(path, index=":", format="aims-output")
    _single(path, len(frames))
    if "forces" not in frames[0].calc.results:
        raise UnusableError("it has no forces; set compute_forces .true. in control.in")
    version = re.search(r"(?m)^\s*(?:FHI-aims version\s*:|Version)\s+(\d\S*)", text)
    named = f"FHI-aims {version[1] if version else 'of unknown version'}"
    return [_returned(path, "aims", Output.of(frames[0], frames[0].calc.results, named), text)]


def _cp2k(path: Path) -> list[Returned]:
    text = last_run(text_of(path))
    found = re.search(r"SCF run NOT converged", text)
    _unconverged(found[0] if found else "")
    if "PROGRAM ENDED AT" not in text:
        raise UnusableError("it is incomplete: the calculation was stopped, or part of the file is missing")
    _single(path, printed_steps(text))
    try:
        output = read_cp2k(text)
    except ValueError as error:
        raise UnusableError(str(error)) from error
    return [replace(_returned(path, "cp2k", output, text), rounding=cell_rounding(text))]


def _extxyz(path: Path) -> list[Returned]:
    frames = read_frames(path)
    several = len(frames) > 1
    found = []
    for number, frame in enumerate(frames):
        where = path.with_name(f"{path.name}@{number}") if several else path
        energy = _first(frame, ("free_energy", "REF_free_energy", "REF_energy", "energy"))
        forces = _first(frame, ("REF_forces", "forces"))
        if energy is None and forces is None:
            continue  # a structure
        if energy is None or forces is None:
            raise UnusableError(f"{where.name} has no {'energy' if energy is None else 'forces'}")
        results = {"free_energy": energy, "forces": forces, "stress": _stress(frame)}
        named = str(frame.info.get("code") or "an unnamed code")
        output = Output.of(frame, results, named)
        said = frame.info.get("settings")
        settings: dict[str, float | str] = {} if said is None else {"settings": str(said)}
        found.append(
            Returned(where, "extxyz", _bare(frame), output.free_energy, output.forces, output.stress, named, settings)
        )
    return found


def _first(frame: Atoms, names: tuple[str, ...]) -> Any:
    results = {} if frame.calc is None else frame.calc.results
    return next((place[name] for name in names for place in (results, frame.info, frame.arrays) if name in place), None)


def _stress(frame: Atoms) -> FloatArray | None:
    stress, virial = _first(frame, ("REF_stress", "stress")), _first(frame, ("REF_virial", "virial"))
    if stress is None and virial is not None:
        stress = -np.asarray(virial, dtype=float) / frame.get_volume()
    if stress is None:
        return None
    values = np.asarray(stress, dtype=float).ravel()
    return values if values.size == 6 else np.asarray(full_3x3_to_voigt_6_stress(values.reshape(3, 3)))


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.symbols, cell=atoms.cell, positions=atoms.positions, pbc=atoms.pbc)


def quiet(function: Callable[[Path], list[Returned]]) -> Callable[[Path], list[Returned]]:
    """Without the warnings of ASE's readers."""

    def reader(path: Path) -> list[Returned]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(path)

    return reader


#: The kinds of outputs, the better first where a program writes several.
READERS: dict[str, Callable[[Path], list[Returned]]] = {
    kind: quiet(function)
    for kind, function in {
        "vasprun": _vasprun,
        "outcar": _outcar,
        "castep": _program("castep", r"Total time\s*=", r"(?m)^\s*Cell Contents\s*$"),
        "espresso": _program("espresso", r"JOB DONE\.", r"(?m)^!\s+total energy"),
        "abinit": _program("abinit", r"Calculation completed\.", r"(?m)^== DATASET\s+\d+"),
        "aims": _aims,
        "cp2k": _cp2k,
        "extxyz": _extxyz,
    }.items()
}
_PROGRAM = {"vasprun": "vasp", "outcar": "vasp"}
_MARKS = {
    "vasprun": rb"<modeling>",
    "outcar": rb"^\s*vasp\.\d[^\n]*\n\s*executed on",
    "castep": rb"CASTEP version \d|Welcome to .*CASTEP",
    "espresso": rb"Program PWSCF",
    "abinit": rb"(?m)^\.Version\s+\S+\s+of ABINIT",
    "aims": rb"Invoking FHI-aims",
    "cp2k": rb"CP2K\| version string",
}
