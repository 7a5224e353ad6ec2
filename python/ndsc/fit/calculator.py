"""A fitted GAP as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols

from ndsc.errors import FitError, InputError
from ndsc.fit.executable import require_quippy
from ndsc.fit.sparse_points import read_kernels
from ndsc.interrupts import raise_if_interrupted


class GapCalculator(Calculator):  # type: ignore[misc]
    """Energies, forces and stresses of a GAP, through quippy.

    Unlike quippy's own calculator it can be pickled and copied (the potential is then read again), refuses species that
    the potential was not fitted to, and accepts atoms without a cell.

    Parameters
    ----------
    xml_path : path
        The potential's XML file; its ``*.sparseX.*`` files must be in the same folder.

    Raises
    ------
    MissingExtraError
        When quippy is not installed.
    InputError
        When the file is not a GAP, or its ``*.sparseX.*`` files are missing.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own convention

    def __init__(self, xml_path: str | Path) -> None:
        super().__init__()
        require_quippy()
        self.xml_path = Path(xml_path).resolve()
        self.species, self.cutoff = _species_and_cutoff(self.xml_path)
        self._potential: Any = None

    def __reduce__(self) -> tuple[type[GapCalculator], tuple[str]]:
        return GapCalculator, (str(self.xml_path),)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and, for atoms in a cell, stress."""
        super().calculate(atoms, properties, system_changes)
        if self.species:
            refuse_unknown_species(self.atoms, self.species, self.xml_path)
        structure = bare_structure(self.atoms, self.cutoff)
        try:
            if self._potential is None:
                from quippy.potential import Potential

                self._potential = Potential(param_filename=str(self.xml_path))
            self._potential.calculate(structure, properties=["energy", "forces", "stress"])
        except RuntimeError as error:
            raise_if_interrupted(error)
            reason = " ".join(str(error).encode("ascii", "replace").decode().split())
            raise FitError(
                f"quippy cannot use the potential {self.xml_path} ({reason}). Look at the structure (atoms on one "
                "site, a cell of no volume), or fit the potential again if its files were changed."
            ) from error
        results = self._potential.results
        energy = float(results["energy"])
        self.results = {"energy": energy, "free_energy": energy, "forces": np.array(results["forces"], dtype=float)}
        if self.atoms.cell.rank == 3:
            self.results["stress"] = np.array(results["stress"], dtype=float)


def refuse_unknown_species(atoms: Atoms, species: Sequence[str], path: Path) -> None:
    """Raise an InputError when a structure has elements that the potential in a file was not fitted to."""
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(species))
    if unknown:
        raise InputError(
            f"The potential {path} was fitted to {', '.join(species)}, and the structure has {', '.join(unknown)}. Use "
            "a potential that was fitted to all species of the structure."
        )


def boxed(atoms: Atoms, cutoff: float) -> Atoms:
    """`atoms` itself when it has three cell vectors, else a copy with the missing ones, too long for images to matter.

    Raises
    ------
    InputError
        When a cell vector is missing along which the atoms are periodic.
    """
    missing = ~atoms.cell.any(axis=1)
    if not missing.any():
        return atoms
    if (missing & atoms.pbc).any():
        raise InputError(
            f"{atoms.get_chemical_formula()} is periodic along {int(atoms.pbc.sum())} axes but has only "
            f"{atoms.cell.rank} cell vectors. Give it a full cell."
        )
    box = atoms.copy()
    cell = atoms.cell.complete().array
    for axis in np.flatnonzero(missing):
        cell[axis] *= np.ptp(atoms.positions @ cell[axis]) + 3.0 * cutoff
    box.set_cell(cell)
    return box


def bare_structure(atoms: Atoms, cutoff: float) -> Atoms:
    """A structure with a cell (see :func:`boxed`) and nothing else: all that a GAP knows of `atoms`.

    gap_fit and quippy give other arrays and ``info`` meanings of their own, a key ``stress`` for example.
    """
    bare = boxed(atoms, cutoff)
    bare = bare.copy() if bare is atoms else bare
    bare.set_constraint()
    bare.info = {}
    for name in set(bare.arrays) - {"numbers", "positions"}:
        del bare.arrays[name]
    return bare


def _species_and_cutoff(path: Path) -> tuple[tuple[str, ...], float]:
    """Symbols and the largest cutoff (Å) of the potential in an XML file."""
    _, kernels = read_kernels(path)
    numbers = {int(kernel.words["Z"]) for kernel in kernels if "Z" in kernel.words}
    # Kernels of other kinds name their species otherwise; then quippy itself has to judge.
    only_soap = all("soap" in kernel.text.split() for kernel in kernels)
    known = tuple(chemical_symbols[number] for number in sorted(numbers)) if only_soap else ()
    return known, max((kernel.number("cutoff") for kernel in kernels if "cutoff" in kernel.words), default=10.0)
