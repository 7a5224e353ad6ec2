"""The sections of the input file and their defaults, as frozen pydantic models.

The description of a field is the hint that a user reads when its value is wrong, so it says what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ndsc.benchmark_settings import ElasticSettings, PhononSettings
from ndsc.codes.settings import ReferenceConfig
from ndsc.fit.regularisation import Regularisation
from ndsc.fit.settings import GapSettings
from ndsc.reference.executors import ExecutorSettings
from ndsc.section import Flag, Grid, InputFile, Real, Section, Whole, one_or_many

if TYPE_CHECKING:
    from ndsc.crystal import Crystal


# Configurations of one supercell: more than anybody can label.
MOST_CONFIGURATIONS = 100_000


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


class ConfigurationsConfig(Section):
    """``[configurations]``, or one part of a database in ``[[configurations]]``: how the supercells are perturbed."""

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.]+$",
        description="Give the name of this part of the database: letters, digits, dots and underscores.",
    )
    per_supercell: Whole = Field(
        default=20,
        ge=0,
        le=MOST_CONFIGURATIONS,
        description="Give the number of configurations of each supercell, as 20.",
    )
    displacement: Annotated[tuple[Annotated[Real, Field(ge=0, le=1)], ...], BeforeValidator(one_or_many)] = Field(
        default=(0.05,),
        description="Give the standard deviation of the displacements in Å (0 to 1), or a list that configurations "
        "take in turn, for example displacement = 0.05.",
    )
    displaced: Literal["all", "one"] = Field(
        default="all",
        description="Give 'all' (every atom is displaced) or 'one' (a single atom, by exactly the displacement).",
    )
    strain: Real = Field(
        default=0.01,
        ge=0,
        le=0.25,
        description="Give the largest entry of the random symmetric strain, for example 0.01.",
    )
    scale: Annotated[tuple[Annotated[Real, Field(ge=0.75, le=1.25)], ...], BeforeValidator(one_or_many)] = Field(
        default=(0.98, 1.0, 1.02),
        description="Give the isotropic factors of the cell vectors, 0.75 to 1.25, as scale = [0.98, 1.0, 1.02].",
    )
    unit_cells: Whole = Field(
        default=1,
        ge=0,
        le=MOST_CONFIGURATIONS,
        description="Give the number of configurations of the unit cell itself; the first is unperturbed.",
    )
    unit_cell_displacement: Real = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Give the standard deviation of the displacements in Å (0 to 1) in all unit cells but the first, "
        "for a crystal of several atoms a cell.",
    )
    seed: Whole = Field(
        default=1, ge=0, description="Give a whole number, at least 0; the same seed gives the same bytes."
    )
    unlabelled: Whole = Field(
        default=100,
        ge=0,
        le=MOST_CONFIGURATIONS,
        description="Give the number of extra configurations that only offer sparse points to the fit.",
    )

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
    reference: ReferenceConfig = Field(default=ReferenceConfig(), description="Write it as a section, [reference].")
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
