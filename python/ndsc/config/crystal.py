"""The sections ``[crystal]`` and ``[supercells]``, which the commands that take a structure use too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, field_validator

from ndsc.crystal import Crystal, load_crystal
from ndsc.errors import InputError
from ndsc.section import Flag, Grid, Real, Section


class CrystalConfig(Section):
    """``[crystal]``: which crystal."""

    structure: str = Field(
        min_length=1,
        description="Give a chemical symbol (structure = 'Al') or the path of a structure file that ASE reads.",
    )
    lattice: str | None = Field(
        default=None,
        description="Give a structure name of ase.build.bulk: 'fcc', 'bcc', 'hcp', 'diamond', 'rocksalt', …",
    )
    a: Real | None = Field(
        default=None, ge=1, le=1000, description="Give the lattice constant of the conventional cell in Å."
    )
    c: Real | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Give the lattice constant c in Å, for hcp and other lattices that have one.",
    )
    primitive: Flag = Field(
        default=True, description="Give true to reduce a structure file to its primitive cell, false to keep its cell."
    )
    relax: Flag = Field(
        default=True, description="Give true to relax the crystal with the reference calculator, or false."
    )
    symprec: Real = Field(
        default=1e-5,
        ge=1e-9,
        le=0.5,
        description="Give the distance tolerance of the symmetry search in Å, for example 1e-5.",
    )
    magnetic_tolerance: Real = Field(
        default=0.01,
        ge=1e-6,
        le=1,
        description="Give the difference in Bohr magnetons below which moments are the same, for example 0.01.",
    )

    magmoms: tuple[Any, ...] | dict[str, Any] | None = Field(
        default=None,
        description="Give the magnetic moments of the atoms in the order of the structure, in Bohr magnetons: numbers "
        "([2, -2]), or vectors ([[0, 0, 2], [2, 0, 0]]); or those of elements, {Fe = 2.2}.",
    )

    @field_validator("magmoms", mode="before")
    @classmethod
    def _numbers_or_vectors(cls, value: object) -> object:
        if value is None:
            return None
        if isinstance(value, Mapping):
            moments = list(value.values())
        elif isinstance(value, list | tuple | np.ndarray):
            moments = [list(one) if isinstance(one, list | tuple | np.ndarray) else one for one in value]
        else:
            raise ValueError("a list of numbers or of vectors, or a table of elements is expected")
        lengths = {len(one) if isinstance(one, list) else 0 for one in moments}
        numbers = [number for one in moments for number in (one if isinstance(one, list) else [one])]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in numbers):
            raise ValueError("moments are finite numbers")
        if lengths not in ({0}, {3}):
            raise ValueError("moments are all numbers, or all vectors of three numbers")
        plain = [tuple(map(float, one)) if isinstance(one, list) else float(one) for one in moments]
        return dict(zip(value, plain, strict=True)) if isinstance(value, Mapping) else tuple(plain)

    def atoms(self) -> Atoms:
        """The structure as it is given, with its moments.

        Raises
        ------
        InputError
            When it cannot be read or built, or the moments are of other atoms.
        """
        atoms = load_crystal(self.structure, lattice=self.lattice, a=self.a, c=self.c, moments=self.magmoms is None)
        if self.magmoms is None:
            return atoms
        atoms.set_initial_magnetic_moments(self._moments(atoms))
        return atoms

    def load(self) -> Crystal:
        """The crystal, not relaxed.

        Raises
        ------
        InputError
            When the structure cannot be read or built, or is not a crystal.
        """
        crystal = Crystal.from_atoms(self.atoms(), symprec=self.symprec, magnetic_tolerance=self.magnetic_tolerance)
        return crystal.primitive if self.primitive else crystal

    def _moments(self, atoms: Atoms) -> list[Any]:
        """The moment of each atom."""
        symbols, given = atoms.get_chemical_symbols(), self.magmoms
        if isinstance(given, dict):
            if unknown := sorted(set(given) - set(symbols)):
                raise InputError(
                    f"[crystal] magmoms has moments of {', '.join(unknown)}, and the crystal consists of "
                    f"{', '.join(sorted(set(symbols)))}. Remove them."
                )
            none: Any = (0.0, 0.0, 0.0) if any(isinstance(one, tuple) for one in given.values()) else 0.0
            return [given.get(symbol, none) for symbol in symbols]
        if len(given or ()) != len(symbols):
            raise InputError(
                f"[crystal] magmoms has {len(given or ())} moments, and the structure {len(symbols)} atoms "
                f"({' '.join(symbols[:12])}{' …' if len(symbols) > 12 else ''}). Give one for each atom, in this "
                "order; of the cell as it is given, before it is reduced to the primitive cell."
            )
        return list(given or ())


class SupercellsConfig(Section):
    """``[supercells]``: the grid that the supercells must hold."""

    kind: Literal["minimal", "diagonal"] = Field(
        default="minimal",
        description="Give 'minimal' (the cheapest set of non-diagonal supercells) or 'diagonal' (one large supercell).",
    )
    grid: Grid = Field(description="Give the q-point grid as one number or three, for example grid = [4, 4, 4].")
    cost_exponent: Real = Field(
        default=3.0,
        gt=0,
        le=20,
        description="Give the power p of Σ size^p, which the set of supercells makes smallest, for example 3.",
    )
