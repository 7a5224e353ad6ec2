"""The settings of benchmarks: the sections ``[phonons]`` and ``[elastic]``, checked alike in files and in Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ndsc.section import Flag, Grid, Positive, Real, Section, Whole

#: Points of a mesh, whose frequencies take about a gigabyte for ten atoms.
MOST_MESH_POINTS = 10**7


class PhononSettings(Section):
    """``[phonons]``: the phonons that the potential is tested on."""

    reference: Literal["supercells", "diagonal", "none"] = Field(
        default="supercells",
        description="Give 'supercells' (the minimal set) or 'diagonal' (one large supercell) for the reference, or "
        "'none' to calculate none, neither of phonons nor of elastic constants.",
    )
    displacement: Real = Field(
        default=0.01, ge=1e-4, le=0.5, description="Give the length of the displacements in Å, for example 0.01."
    )
    grid: Grid | None = Field(
        default=None, description="Give the q-point grid of the force constants; without it, that of the supercells."
    )
    dos_mesh: Grid | None = Field(
        default=None,
        description="Give the mesh of the density of states, for example [40, 40, 40]; without it, that one, or a "
        "coarser one "
        "for a crystal of many atoms and few symmetries.",
    )
    residual_force_limit: Real = Field(
        default=0.01,
        gt=0,
        le=100,
        description="Give the largest force in eV/Å that the unperturbed crystal may have, for example 0.01.",
    )
    born: Path | None = Field(
        default=None,
        description="Give a file of Born charges and the dielectric tensor, for a polar crystal: phonopy's BORN, or a "
        "vasprun.xml with LEPSILON.",
    )

    @field_validator("dos_mesh")
    @classmethod
    def _fits_into_memory(cls, mesh: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if mesh is not None and math.prod(mesh) > MOST_MESH_POINTS:
            raise ValueError(f"the mesh has {math.prod(mesh):,} points, and at most {MOST_MESH_POINTS:,} are taken")
        return mesh

    @model_validator(mode="after")
    def _charges_are_used(self) -> PhononSettings:
        if self.born is not None and self.reference == "none":
            raise ValueError(
                "born has no effect with reference = 'none', because no phonons are calculated; remove one of them"
            )
        return self


class ElasticSettings(Section):
    """``[elastic]``: the elastic constants that the potential is tested on."""

    enabled: Flag = Field(default=True, description="Give false to leave the elastic constants out.")
    strain: Real = Field(
        default=0.005,
        ge=1e-5,
        le=0.05,
        description="Give the largest strain of the finite differences, for example 0.005.",
    )
    relax_ions: Flag = Field(
        default=True, description="Give true to relax the ions in the strained cell, false to clamp them."
    )


class RelaxationSettings(Section):
    """When a relaxation ends."""

    fmax: Real = Field(
        default=1e-4,
        gt=0,
        description="Give the force in eV/Å below which the ions count as relaxed, for example 1e-4.",
    )
    max_steps: Positive = Field(
        default=200, description="Give the largest number of relaxation steps, for example 200."
    )


class StrainedCellSettings(ElasticSettings, RelaxationSettings):
    """The settings of strained cells, in Python."""

    n_steps: Whole = Field(
        default=3,
        ge=3,
        le=99,
        description="Give an odd number of strains of each kind, from -strain to +strain, for example 3.",
    )

    @field_validator("n_steps")
    @classmethod
    def _with_the_unstrained_cell(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("an even number would leave out the unstrained cell")
        return value
