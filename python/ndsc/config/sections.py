"""The sections of the input file and their defaults, as frozen pydantic models.

The description of a field is the hint that a user reads when its value is wrong, so it says what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ndsc.benchmark_settings import ElasticSettings as ElasticSettings
from ndsc.benchmark_settings import PhononSettings as PhononSettings
from ndsc.codes.settings import ReferenceSettings as ReferenceSettings
from ndsc.config.crystal import CrystalConfig as CrystalConfig
from ndsc.config.crystal import SupercellsConfig as SupercellsConfig
from ndsc.configurations import ConfigurationSettings
from ndsc.fit.regularisation import Regularisation
from ndsc.fit.settings import GapSettings
from ndsc.reference.executors import ExecutorSettings as ExecutorSettings
from ndsc.section import InputFile


class ConfigurationsConfig(ConfigurationSettings):
    """``[configurations]``, or one part of a database in ``[[configurations]]``: how the supercells are perturbed."""

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
