"""The sections ``[crystal]`` and ``[supercells]``, which the commands that take a structure use too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ndsc.crystal import Crystal, load_crystal
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
    c: Real | None = Field(default=None, ge=1, le=1000, description="Give the second lattice constant in Å.")
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

    def load(self) -> Crystal:
        """The crystal, not relaxed.

        Raises
        ------
        InputError
            When the structure cannot be read or built, or is not a crystal.
        """
        atoms = load_crystal(self.structure, lattice=self.lattice, a=self.a, c=self.c)
        crystal = Crystal.from_atoms(atoms, symprec=self.symprec, magnetic_tolerance=self.magnetic_tolerance)
        return crystal.primitive if self.primitive else crystal


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
