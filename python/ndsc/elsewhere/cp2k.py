"""The main output of CP2K, which ASE (3.29) does not read: energy, forces, stress, cell and positions."""

from __future__ import annotations

import re

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, GPa, Hartree

from ndsc.codes.program import Output

_NUMBER = r"[-+]?\d+\.\d+(?:[ED][-+]?\d+)?"


def last_run(text: str) -> str:
    """What the last run printed: CP2K appends to an output that is there already."""
    return text.rpartition("PROGRAM STARTED AT")[2]


def printed_steps(text: str) -> int:
    """How many energies of all atoms a run printed: one for each step of a relaxation or of dynamics."""
    return len(re.findall(r"ENERGY\| Total FORCE_EVAL", text))


def cell_rounding(text: str) -> float:
    """How far the printed lattice vectors may be from those of the calculation, Å: many versions print 0.001 Å."""
    found = re.search(r"CELL\| Vector a \[angstrom\]:?\s+-?\d+\.(\d+)", text)
    return 0.0 if found is None else 0.51 * 10.0 ** -len(found[1])


def read_cp2k(text: str) -> Output:
    """What a single-point calculation (ENERGY_FORCE) printed.

    Parameters
    ----------
    text : str
        The main output of one run (:func:`last_run`), with FORCES printed, and STRESS_TENSOR where there is to be one.

    Raises
    ------
    ValueError
        When it lacks cell, atoms, energy or forces.
    """
    vectors = re.findall(rf"CELL\| Vector [abc] \[angstrom\]:?\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})", text)
    atoms = re.findall(
        rf"(?m)^\s*\d+\s+\d+\s+([A-Z][a-z]?)\w*\s+(\d+)\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+{_NUMBER}\s+{_NUMBER}\s*$",
        text.partition("ATOMIC COORDINATES IN")[2],
    )
    energy = re.findall(rf"ENERGY\| Total FORCE_EVAL.*?({_NUMBER})\s*$", text, re.MULTILINE)
    block = text.partition("ATOMIC FORCES in [a.u.]")[2].partition("SUM OF ATOMIC FORCES")[0]
    forces = re.findall(rf"(?m)^\s*\d+\s+\d+\s+\w+\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*$", block)
    if not forces:  # from version 2023.2 on
        forces = re.findall(rf"FORCES\|\s+\d+\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})", text)
    for what, found in (("cell", len(vectors) >= 3), ("atoms", bool(atoms)), ("energy", bool(energy))):
        if not found:
            raise ValueError(f"it holds no {what}")
    if len(forces) != len(atoms):
        raise ValueError(f"it has {len(forces)} forces for {len(atoms)} atoms (&FORCE_EVAL, &PRINT, &FORCES ON)")
    structure = Atoms(
        [chemical_symbols[int(number)] for _, number, *_ in atoms],
        cell=np.array(vectors[:3], dtype=float),
        positions=np.array([position for _, _, *position in atoms], dtype=float),
        pbc=True,
    )
    results = {
        "free_energy": float(energy[-1]) * Hartree,
        "forces": np.array(forces, dtype=float) * Hartree / Bohr,
        "stress": _stress(text),
    }
    version = re.search(r"CP2K\| version string:\s+CP2K version (\S+)", text)
    return Output.of(structure, results, f"CP2K {version[1] if version else 'of unknown version'}")


def _stress(text: str) -> np.ndarray | None:
    """CP2K's sign is that of a pressure: positive when the cell wants to expand.

    From version 8 on, each line begins with STRESS|; before, there is a table without.
    """
    found = re.search(r"(?:STRESS\|\s+Analytical stress tensor|^ *STRESS TENSOR) \[(GPa|bar)\]", text, re.MULTILINE)
    if found is None:
        return None
    row = rf"(?m)^\s*(?:STRESS\|)?\s*[xyzXYZ]\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*$"
    rows = re.findall(row, text[found.end() :])[:3]
    unit = GPa if found[1] == "GPa" else 1e-4 * GPa
    return np.asarray(full_3x3_to_voigt_6_stress(-np.array(rows, dtype=float) * unit))
