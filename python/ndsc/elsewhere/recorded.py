"""What outputs say of the settings that they were computed with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import numpy as np
from ase.units import Hartree, Rydberg, kB
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Setting = float | str


def _number(factor: float = 1.0) -> Callable[[str], Setting]:
    return lambda text: float(text.replace("D", "E").replace("d", "e")) * factor


def _word(length: int | None = None) -> Callable[[str], Setting]:
    return lambda text: " ".join(text.split())[:length].lower()


#: Of each kind of output: the name of a setting, its pattern, and what its text means.
PATTERNS: Mapping[str, tuple[tuple[str, str, Callable[[str], Setting]], ...]] = {
    "vasprun": (
        ("cutoff_ev", r'name="ENMAX"[^>]*>\s*([\d.E+-]+)', _number()),
        ("xc", r'name="GGA"[^>]*>\s*([\w-]+)', _word()),
        ("metagga", r'name="METAGGA"[^>]*>\s*([\w-]+)', _word()),
        ("ismear", r'name="ISMEAR"[^>]*>\s*(-?\d+)', _number()),
        ("smearing_ev", r'name="SIGMA"[^>]*>\s*([\d.E+-]+)', _number()),
        ("scf_tolerance_ev", r'name="EDIFF"[^>]*>\s*([\d.E+-]+)', _number()),
        ("prec", r'name="PREC"[^>]*>\s*(\w+)', _word(5)),
        ("ivdw", r'name="IVDW"[^>]*>\s*(\d+)', _number()),
        ("isym", r'name="ISYM"[^>]*>\s*(-?\d+)', _number()),
        ("ispin", r'name="ISPIN"[^>]*>\s*(\d+)', _number()),
        ("lasph", r'name="LASPH"[^>]*>\s*([TF])', _word()),
    ),
    "outcar": (
        ("cutoff_ev", r"ENCUT\s*=\s*([\d.E+-]+)", _number()),
        ("xc", r"\bGGA\s*=\s*([\w-]+)", _word()),
        ("metagga", r"\bMETAGGA\s*=\s*([\w-]+)", _word()),
        ("ismear", r"ISMEAR\s*=\s*(-?\d+)", _number()),
        ("smearing_ev", r"SIGMA\s*=\s*([\d.E+-]+)", _number()),
        ("scf_tolerance_ev", r"EDIFF\s*=\s*([\d.E+-]+)", _number()),
        ("prec", r"PREC\s*=\s*(\w+)", _word(5)),
        ("ivdw", r"IVDW\s*=\s*(\d+)", _number()),
        ("isym", r"ISYM\s*=\s*(-?\d+)", _number()),
        ("ispin", r"ISPIN\s*=\s*(\d+)", _number()),
        ("lasph", r"LASPH\s*=\s*([TF])", _word()),
    ),
    "castep": (
        ("cutoff_ev", r"plane wave basis set cut-off\s*:\s*([\d.E+-]+)\s*eV", _number()),
        ("xc", r"using functional\s*:\s*(.+)", _word()),
        ("smearing", r"smearing scheme\s*:\s*(.+)", _word()),
        ("smearing_ev", r"smearing width\s*:\s*([\d.E+-]+)\s*eV", _number()),
        ("scf_tolerance_per_atom_ev", r"total energy / atom convergence tol\.\s*:\s*([\d.E+-]+)\s*eV", _number()),
        ("finite basis correction", r"finite basis set correction\s*:\s*(.+)", _word()),
    ),
    "espresso": (
        ("cutoff_ev", r"kinetic-energy cutoff\s*=\s*([\d.E+-]+)\s*Ry", _number(Rydberg)),
        ("density_cutoff_ev", r"charge density cutoff\s*=\s*([\d.E+-]+)\s*Ry", _number(Rydberg)),
        ("xc", r"Exchange-correlation\s*=\s*([^(\n]+)", _word()),
        ("smearing_ev", r"smearing, width \(Ry\)\s*=\s*([\d.E+-]+)", _number(Rydberg)),
        ("scf_tolerance_ev", r"convergence threshold\s*=\s*([\d.ED+-]+)", _number(Rydberg)),
    ),
    "abinit": (
        ("cutoff_ev", r"(?m)^[-P ]*ecut\s+([\d.ED+-]+)\s+Hartree", _number(Hartree)),
        ("density_cutoff_ev", r"(?m)^[-P ]*pawecutdg\s+([\d.ED+-]+)\s+Hartree", _number(Hartree)),
        ("ixc", r"(?m)^[-P ]*ixc\s+(-?\d+)", _number()),
        ("occopt", r"(?m)^[-P ]*occopt\s+(\d+)", _number()),
        ("smearing_ev", r"(?m)^[-P ]*tsmear\s+([\d.ED+-]+)\s+Hartree", _number(Hartree)),
        ("ecutsm", r"(?m)^[-P ]*ecutsm\s+([\d.ED+-]+)\s+Hartree", _number()),
    ),
    "aims": (
        ("xc", r"(?m)^\s*xc\s+(\S.*)", _word()),
        ("relativistic", r"(?m)^\s*relativistic\s+(\S.*)", _word()),
        ("occupation_type", r"(?m)^\s*occupation_type\s+(\S.*)", _word()),
        ("spin", r"(?m)^\s*spin\s+(\w+)", _word()),
    ),
    "cp2k": (
        ("cutoff_ev", r"QS\|\s+Density cutoff \[a\.u\.\]:?\s+([\d.E+-]+)", _number(Hartree)),
        ("relative_cutoff_ev", r"QS\|\s+Relative density cutoff \[a\.u\.\]:?\s+([\d.E+-]+)", _number(Hartree)),
        ("xc", r"FUNCTIONAL\|\s+(\w+):", _word()),
        ("eps_scf", r"(?m)^\s+eps_scf:?\s+([\d.E+-]+)\s*$", _number()),
        ("smearing", r"Smear method:?\s+(\w+)", _word()),
        ("smearing_ev", r"Electronic temperature \[K\]:?\s+([\d.E+-]+)", _number(kB)),
    ),
}  # fmt: skip
#: Symbol and name of each pseudopotential.
PSEUDOPOTENTIALS = {
    "vasprun": r"<c>\s*(?:PAW\w*|US\w*)\s+(([A-Z][a-z]?)[^<]*?)\s*</c>",
    "outcar": r"TITEL\s*=\s*(?:PAW\w*|US\w*)\s+(([A-Z][a-z]?)[^\n]*?)\s*\n",
    "espresso": r"PseudoPot\. #\s*\d+ for\s+(?=([A-Z][a-z]?)\S*\s+read from file:\s*\n?\s*(\S+))",
    "abinit": r"pspini: atom type\s+\d+\s+psp file is\s+(\S+)",
}
#: Number of k-points.
KPOINTS = {
    "outcar": r"NKPTS\s*=\s*(\d+)",
    "castep": r"Number of kpoints used\s*=\s*(\d+)",
    "espresso": r"number of k points=\s*(\d+)",
    "abinit": r"(?m)^[-P ]*nkpt\s+(\d+)",
}


def recorded(kind: str, text: str) -> tuple[dict[str, Setting], int | None]:
    """Settings and number of k-points in the text of an output; what it does not say is left out.

    Parameters
    ----------
    kind : str
        A kind of output (:data:`ndsc.elsewhere.outputs.READERS`).
    text : str
    """
    settings: dict[str, Setting] = {}
    for name, pattern, value in PATTERNS.get(kind, ()):
        if found := re.search(pattern, text):
            settings[name] = value(found[1])
    if kind == "castep":
        block = text.partition("Files used for pseudopotentials:")[2].partition("----")[0]
        for symbol, name in re.findall(r"(?m)^\s*([A-Z][a-z]?)\s+(\S+)\s*$", block):
            settings[f"pseudopotential of {symbol}"] = PurePosixPath(name).name
    if kind == "cp2k":
        settings |= _cp2k_kinds(text)
    if kind == "aims":
        for defaults, symbol in re.findall(r'Suggested "([\w ]+)" defaults for (\w+) atom', text):
            settings[f"defaults of {symbol}"] = defaults
    for found in re.finditer(PSEUDOPOTENTIALS[kind], text) if kind in PSEUDOPOTENTIALS else ():
        if kind == "abinit":
            name = PurePosixPath(found[1]).name
            settings[f"pseudopotential {name}"] = name
        elif kind == "espresso":
            settings[f"pseudopotential of {found[1]}"] = PurePosixPath(found[2]).name
        else:
            settings[f"pseudopotential of {found[2]}"] = " ".join(found[1].split())
    return settings, _n_kpoints(kind, text)


def _cp2k_kinds(text: str) -> dict[str, Setting]:
    """Basis set and pseudopotential of each kind of atoms."""
    found: dict[str, Setting] = {}
    for block in re.split(r"(?m)^\s*\d+\. Atomic kind:", text)[1:]:
        name = block.split(maxsplit=1)[0]
        for what, pattern in (
            ("basis", r"Orbital Basis Set\s+(\S+)"),
            ("pseudopotential", r"Potential information for\s+(\S+)"),
        ):
            if said := re.search(pattern, block):
                found[f"{what} of {name}"] = said[1]
    return found


def _n_kpoints(kind: str, text: str) -> int | None:
    if kind == "vasprun":
        points = kpoints_of(text)
        return None if points is None else len(points)
    number = re.search(KPOINTS[kind], text) if kind in KPOINTS else None
    if number is not None:
        return int(number[1])
    # ABINIT does not print what is one.
    return 1 if kind == "abinit" else None


def kpoints_of(xml: str) -> FloatArray | None:
    """(n, 3) array : the k-points of vasprun.xml in reduced coordinates; None where they cannot be read."""
    found = re.search(r'<varray name="kpointlist"\s*>(.*?)</varray>', xml, re.DOTALL)
    if found is None:
        return None
    try:
        rows = np.array([row.split() for row in re.findall(r"<v>(.*?)</v>", found[1])], dtype=float)
    except ValueError:
        return None
    return rows if rows.ndim == 2 and rows.shape[1] == 3 else None


def seconds_of(text: str) -> float:
    """Wall time that an output tells, s; 0 where it tells none."""
    for pattern in (
        r"Elapsed time \(sec\):\s*([\d.]+)",
        r"Total time\s*=\s*([\d.]+)\s*s",
        r"individual time \(sec\): cpu=\s*[\d.]+\s*wall=\s*([\d.]+)",
        r"(?m)^ CP2K +1 +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+) *$",
        r"\| Total time\s*:\s*[\d.]+\s*s\s+([\d.]+)\s*s",
    ):
        if found := re.findall(pattern, text):
            return float(found[-1])
    wall = re.findall(r"PWSCF\s*:.*CPU\s+(?:(\d+)\s*h)?\s*(?:(\d+)\s*m)?\s*(?:([\d.]+)\s*s)?\s*WALL", text)
    if wall:
        hours, minutes, seconds = (float(part or 0) for part in wall[-1])
        return 3600 * hours + 60 * minutes + seconds
    return 0.0
