"""Structures in the formats of other programs, with the data of their atoms, or a warning where the format has none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.io import write

from ndsc.codes.base import species_labels
from ndsc.codes.castep import blocks_text, cell_blocks
from ndsc.errors import InputError

log = logging.getLogger(__name__)

#: What a structure may hold beside cell, elements and positions.
MOMENTS, VECTORS, MASSES, CHARGES, TAGS = "magnetic moments", "vector moments", "masses", "charges", "tags"
#: Columns that are listed by what they are, and the beginnings of those that readers and this package add.
KNOWN = ("numbers", "positions", "initial_magmoms", "masses", "initial_charges", "tags")
OURS = ("ndsc_", "spacegroup_kinds", "castep_")


@dataclass(frozen=True)
class StructureFormat:
    """A format of structure files.

    Attributes
    ----------
    ending : str
        Of the names of the files.
    holds : frozenset of str
        Which data of the atoms it keeps.
    write : callable
        Called with a path and a structure.
    """

    ending: str
    holds: frozenset[str]
    write: Callable[[Path, Atoms], None]


def write_structures(folder: Path, structures: Sequence[tuple[str, Atoms]], file_format: str) -> None:
    """Write structures to files of a folder, and warn of what the format cannot hold.

    Parameters
    ----------
    folder : path
        It must exist.
    structures : sequence of (name, ase.Atoms)
        The name of a file is without its ending.
    file_format : str
        One of :data:`FORMATS`.

    Raises
    ------
    InputError
        When there is no such format.
    """
    if file_format not in FORMATS:
        raise InputError(f"The format {file_format!r} is not supported. Choose one of {', '.join(FORMATS)}.")
    form = FORMATS[file_format]
    held: dict[str, None] = {}
    for name, atoms in structures:
        held |= dict.fromkeys(data_of(atoms))
        form.write(folder / f"{name}.{form.ending}", atoms)
    if lost := [data for data in held if data not in form.holds and file_format != "extxyz"]:
        log.warning(
            "The format %s cannot hold the %s of the atoms, which are left out. Choose extxyz to keep them.",
            file_format,
            f"{', '.join(lost[:-1])} and {lost[-1]}" if lost[1:] else lost[0],
        )


def data_of(atoms: Atoms) -> list[str]:
    """What a structure holds beside cell, elements and positions; zeros and the masses of nature do not count.

    Columns of other names are listed as ``"column NAME"``, without those of readers and of this package.
    """
    found = []
    moments = atoms.get_initial_magnetic_moments()
    if moments.any():
        found.append(MOMENTS if moments.ndim == 1 else VECTORS)
    if not np.allclose(atoms.get_masses(), atomic_masses[atoms.numbers], rtol=1e-6):
        found.append(MASSES)
    if atoms.get_initial_charges().any():
        found.append(CHARGES)
    if atoms.get_tags().any():
        found.append(TAGS)
    return found + [f"column {name}" for name in atoms.arrays if name not in KNOWN and not name.startswith(OURS)]


def _write_vasp(path: Path, atoms: Atoms) -> None:
    """POSCAR, and beside it the moments in an INCAR, in the order of the atoms there: by element."""
    atoms = atoms[np.argsort(atoms.get_chemical_symbols(), kind="stable")]
    write(path, atoms, format="vasp", direct=True)
    moments = atoms.get_initial_magnetic_moments()
    if not moments.any():
        return
    spin = "ISPIN = 2" if moments.ndim == 1 else "LNONCOLLINEAR = .TRUE."
    values = " ".join(f"{moment:.10g}" for moment in moments.ravel())
    path.with_suffix(".INCAR").write_text(f"{spin}\nMAGMOM = {values}\n", encoding="utf-8")


def _write_castep(path: Path, atoms: Atoms) -> None:
    path.write_text(blocks_text(cell_blocks(atoms, masses=MASSES in data_of(atoms))), encoding="utf-8")


def _write_espresso(path: Path, atoms: Atoms) -> None:
    """Input of pw.x with the names of pseudopotentials to be filled in: a species for each element, moment and mass."""
    moments = atoms.get_initial_magnetic_moments()
    moments = moments if moments.ndim == 1 else np.zeros(len(atoms))
    kinds = list(zip(atoms.get_chemical_symbols(), moments.tolist(), atoms.get_masses().tolist(), strict=True))
    labels = species_labels(kinds, "")
    system = ["ibrav = 0", f"nat = {len(atoms)}", f"ntyp = {len(labels)}"]
    if moments.any():
        # A part of the valence electrons, at most 1; it only starts the iteration.
        largest = max(1.0, float(np.abs(moments).max()))
        system.append("nspin = 2")
        system += [
            f"starting_magnetization({number}) = {moment / largest:.10g}"
            for number, (_, moment, _) in enumerate(labels, 1)
        ]
    lines = ["&CONTROL", "/", "&SYSTEM", *(f"   {line}" for line in system), "/", "&ELECTRONS", "/"]
    lines += ["ATOMIC_SPECIES", *(f"{label} {kind[2]:.8g} {kind[0]}.UPF" for kind, label in labels.items()), ""]
    lines += ["K_POINTS gamma", "", "CELL_PARAMETERS angstrom"]
    lines += [" ".join(f"{number:.14f}" for number in row) for row in atoms.cell.array]
    lines += ["", "ATOMIC_POSITIONS angstrom"]
    for kind, position in zip(kinds, atoms.positions, strict=True):
        lines.append(f"{labels[kind]} " + " ".join(f"{number:.14f}" for number in position))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_aims(path: Path, atoms: Atoms) -> None:
    """geometry.in; ASE's writer of it is to move to another package."""
    moments = atoms.get_initial_magnetic_moments()
    moments = moments if moments.ndim == 1 else np.zeros(len(atoms))
    lines = ["lattice_vector " + " ".join(f"{number:.14f}" for number in row) for row in atoms.cell.array]
    for atom, moment in zip(atoms, moments, strict=True):
        lines.append("atom " + " ".join(f"{number:.14f}" for number in atom.position) + f" {atom.symbol}")
        lines += [f"    initial_moment {moment:.10g}"] if moment else []
        lines += [f"    initial_charge {atom.charge:.10g}"] if atom.charge else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _ase(file_format: str) -> Callable[[Path, Atoms], None]:
    """ASE's own writer; vector moments, which only extended XYZ holds, are not passed to it."""

    def write_file(path: Path, atoms: Atoms) -> None:
        if file_format != "extxyz" and VECTORS in data_of(atoms):
            atoms = atoms.copy()
            atoms.set_initial_magnetic_moments(None)
        write(path, atoms, format=file_format)

    return write_file


#: The formats by ASE's name for them.
FORMATS = {
    "extxyz": StructureFormat("xyz", frozenset({MOMENTS, VECTORS, MASSES, CHARGES, TAGS}), _ase("extxyz")),
    "vasp": StructureFormat("vasp", frozenset({MOMENTS, VECTORS}), _write_vasp),
    "cif": StructureFormat("cif", frozenset(), _ase("cif")),
    "castep-cell": StructureFormat("cell", frozenset({MOMENTS, MASSES}), _write_castep),
    "espresso-in": StructureFormat("pwi", frozenset({MOMENTS, MASSES}), _write_espresso),
    "abinit-in": StructureFormat("abi", frozenset({MOMENTS}), _ase("abinit-in")),
    "aims": StructureFormat("in", frozenset({MOMENTS, CHARGES}), _write_aims),
}
