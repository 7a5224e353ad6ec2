"""The sections of the input file and their defaults, as frozen pydantic models.

The description of a field is the hint that a user reads when its value is wrong, so it says what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ndsc.benchmark_settings import ElasticSettings, PhononSettings
from ndsc.codes.settings import ReferenceSettings
from ndsc.configurations import ConfigurationSettings
from ndsc.fit.regularisation import Regularisation
from ndsc.fit.settings import GapSettings
from ndsc.reference.executors import ExecutorSettings
from ndsc.section import Flag, Grid, InputFile, Real, Section

if TYPE_CHECKING:
    from ndsc.crystal import Crystal


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
        from ndsc.crystal import Crystal, load_crystal

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
        description="Give the power p of the cost Σ size^p that is made smallest, for example 3.",
    )


class ConfigurationsConfig(ConfigurationSettings):
    """A part of a run's database, which must not be empty."""

    @model_validator(mode="after")
    def _something_to_label(self) -> ConfigurationsConfig:
        if self.per_supercell == 0 and self.unit_cells == 0:
            raise ValueError("per_supercell and unit_cells are both 0, which leaves nothing to label; set one above 0")
        return self


def _parts(value: object) -> object:
    """One table is a database of one part."""
    return (value,) if isinstance(value, Mapping | ConfigurationsConfig) else value


class RunConfig(InputFile):
    """A whole run, as the input file says it."""

    crystal: CrystalConfig = Field(description="Add the section, for example [crystal] with structure = 'Al'.")
    supercells: SupercellsConfig = Field(description="Add the section, for example [supercells] with grid = [4, 4, 4].")
    configurations: Annotated[tuple[ConfigurationsConfig, ...], BeforeValidator(_parts)] = Field(
        default=(ConfigurationsConfig(),),
        description="Write it as [configurations], or as [[configurations]] once for each part of the database.",
    )
    reference: ReferenceSettings = Field(default=ReferenceSettings(), description="Write it as a section, [reference].")
    executor: ExecutorSettings = Field(default=ExecutorSettings(), description="Write it as a section, [executor].")
    fit: GapSettings = Field(default=GapSettings(), description="Write it as a section, [fit].")
    regularisation: Regularisation = Field(default=Regularisation(), description="Write it as [regularisation].")
    phonons: PhononSettings = Field(default=PhononSettings(), description="Write it as a section, [phonons].")
    elastic: ElasticSettings = Field(default=ElasticSettings(), description="Write it as a section, [elastic].")

    @field_validator("configurations")
    @classmethod
    def _names_of_parts(cls, parts: tuple[ConfigurationsConfig, ...]) -> tuple[ConfigurationsConfig, ...]:
        if not parts:
            raise ValueError("there is no part of a database, so nothing to label")
        names = [part.name for part in parts]
        if len(parts) > 1 and (None in names or len(set(names)) < len(names)):
            raise ValueError("every part of a database of several parts needs a name of its own")
        return parts
