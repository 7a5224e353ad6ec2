"""The sections of the input file and their defaults, as frozen pydantic models.

The description of a field is the hint that a user reads when its value is wrong, so it says what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ndsc.benchmark_settings import ElasticSettings as ElasticSettings
from ndsc.benchmark_settings import PhononSettings as PhononSettings
from ndsc.codes.settings import ReferenceSettings as ReferenceSettings
from ndsc.config.crystal import CrystalConfig as CrystalConfig
from ndsc.config.crystal import SupercellsConfig as SupercellsConfig
from ndsc.configurations import CURRENT, ConfigurationSettings
from ndsc.fit.databases import DatabaseSettings as DatabaseSettings
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.regularisation import Regularisation
from ndsc.potentials.registry import fitter_of
from ndsc.potentials.settings import AnySettings, default_settings
from ndsc.reference.executors import ExecutorSettings as ExecutorSettings
from ndsc.section import InputFile
from ndsc.selection.settings import SelectionSettings as SelectionSettings


class ConfigurationsConfig(ConfigurationSettings):
    """``[configurations]``, or one part of a database in ``[[configurations]]``: how the supercells are perturbed."""

    @model_validator(mode="after")
    def _something_to_label(self) -> ConfigurationsConfig:
        if self.per_supercell == 0 and self.unit_cells == 0 and self.trajectory is None:
            raise ValueError(
                "per_supercell and unit_cells are both 0, which leaves nothing to label; set one of them above 0"
            )
        return self


def _parts(value: object) -> object:
    """One table is a database of one part, or one database."""
    return (value,) if isinstance(value, Mapping | ConfigurationsConfig | DatabaseSettings) else value


class RunConfig(InputFile):
    """A whole run, as the input file says it."""

    crystal: CrystalConfig = Field(description="Add the section, for example [crystal] with structure = 'Al'.")
    supercells: SupercellsConfig = Field(description="Add the section, for example [supercells] with grid = [4, 4, 4].")
    configurations: Annotated[tuple[ConfigurationsConfig, ...], BeforeValidator(_parts)] = Field(
        default=(ConfigurationsConfig(),),
        description="Write it as [configurations], or as [[configurations]] once for each part of the database.",
    )
    selection: SelectionSettings = Field(default=SelectionSettings(), description="Write it as a section, [selection].")
    database: Annotated[tuple[DatabaseSettings, ...], BeforeValidator(_parts)] = Field(
        default=(), description="Write it as [[database]], once for each file of labelled configurations."
    )
    reference: ReferenceSettings = Field(default=ReferenceSettings(), description="Write it as a section, [reference].")
    executor: ExecutorSettings = Field(default=ExecutorSettings(), description="Write it as a section, [executor].")
    fit: AnySettings = Field(default_factory=default_settings, description="Write it as a section, [fit].")
    regularisation: Regularisation = Field(default=Regularisation(), description="Write it as [regularisation].")
    phonons: PhononSettings = Field(default=PhononSettings(), description="Write it as a section, [phonons].")
    elastic: ElasticSettings = Field(default=ElasticSettings(), description="Write it as a section, [elastic].")

    @model_validator(mode="before")
    @classmethod
    def _method_of_selection(cls, data: object) -> object:
        """What is labelled where the input file does not say it: all that it describes, or else what tells most."""
        if not isinstance(data, Mapping):
            return data
        section = data.get("selection", {})
        said = section.model_dump(exclude_unset=True) if isinstance(section, SelectionSettings) else section
        if not isinstance(said, Mapping):
            return data
        fit, supercells = data.get("fit", {}), data.get("supercells", {})
        no_fit = (fit.get("method") if isinstance(fit, Mapping) else getattr(fit, "method", None)) == "none"
        kind = supercells.get("kind") if isinstance(supercells, Mapping) else getattr(supercells, "kind", None)
        everything = "configurations" in data or no_fit or kind == "diagonal"
        method = said.get("method") or ("all" if everything else "information")
        if no_fit and said.get("method") is None and (keys := [key for key in said if key != "method"]):
            raise ValueError(
                f"[selection] {', '.join(keys)} would not be used: [fit] method = 'none' makes no potential to "
                "choose for, so everything is labelled; leave the section out, or give a [fit] method"
            )
        return {**data, "selection": {**said, "method": method}}

    @model_validator(mode="after")
    def _temperature_needs_phonons(self) -> RunConfig:
        if not self.draws_from_reference:
            return self
        reference = self.phonons.reference
        if self.fit.method == "none" or reference != "supercells":
            because = "[fit] method = 'none'" if self.fit.method == "none" else f"[phonons] reference = {reference!r}"
            raise ValueError(
                "[configurations] temperature draws displacements from the phonons of the reference in its "
                f"non-diagonal supercells, and with {because} there are none; give force_constants, a file that ndsc "
                "phonons --out writes"
            )
        return self

    @property
    def dynamics(self) -> tuple[ConfigurationsConfig, ...]:
        """The parts of the database whose configurations are frames of molecular dynamics that the run does first."""
        parts = () if self.makes_candidates else self.configurations
        return tuple(part for part in parts if part.dynamics is not None and part.potential != CURRENT)

    @property
    def current_dynamics(self) -> tuple[ConfigurationsConfig, ...]:
        """The same with the potential of the labels so far, while labels are chosen."""
        parts = () if self.makes_candidates else self.configurations
        return tuple(part for part in parts if part.potential == CURRENT)

    @property
    def draws_from_reference(self) -> bool:
        """Whether configurations are drawn from the phonons of the run's own reference."""
        return not self.makes_candidates and any(
            part.temperature is not None and part.dynamics is None and part.force_constants is None
            for part in self.configurations
        )

    @model_validator(mode="after")
    def _selection_needs_a_potential(self) -> RunConfig:
        if self.selection.method != "all" and self.fit.method == "none":
            raise ValueError(
                f"[selection] method = {self.selection.method!r} chooses labels for a potential, and [fit] method = "
                "'none' makes none; give method = 'all', or a [fit] method"
            )
        return self

    @model_validator(mode="after")
    def _databases_are_fitted_once(self) -> RunConfig:
        if self.database and self.fit.method == "none":
            raise ValueError("[[database]] is fitted with the labels, and [fit] method = 'none' makes no potential")
        titles = [own.title for own in self.database]
        repeated = sorted({title for title in titles if titles.count(title) > 1})
        if repeated:
            raise ValueError(f"two of [[database]] are called {', '.join(repeated)}; give each a name of its own")
        for one, other in combinations(self.database, 2):
            some = one.config_types is not None and other.config_types is not None
            apart = some and not set(one.config_types or ()) & set(other.config_types or ())
            if one.file == other.file and not apart:
                raise ValueError(
                    f"two of [[database]] take the same frames of {one.file}; give each config_types of its own"
                )
        return self

    @property
    def makes_candidates(self) -> bool:
        """Whether the configurations are those that a choice makes for itself, because the input file gives none."""
        return self.selection.method != "all" and "configurations" not in self.model_fields_set

    def potential(self, n_species: int) -> FitterSettings:
        """``[fit]`` as it is used for a crystal of some species.

        Where labels are chosen, few of them say much, and what the input file does not set is finer than usual: the
        descriptors of a crystal of one element are cheap, and the linear system is solved here, as its rows are there.
        """
        if self.selection.method == "all":
            return self.fit
        finer = fitter_of(self.fit).finer(n_species)
        return self.fit.replaced(**{key: value for key, value in finer.items() if key not in self.fit.model_fields_set})

    @property
    def regularised_by_evidence(self) -> bool:
        """Whether the sigmas of the fit are the most probable ones, because the input file gives none."""
        return self.selection.method != "all" and "regularisation" not in self.model_fields_set

    @field_validator("configurations")
    @classmethod
    def _names_of_parts(cls, parts: tuple[ConfigurationsConfig, ...]) -> tuple[ConfigurationsConfig, ...]:
        if not parts:
            raise ValueError("there is no part of a database, so there is nothing to label")
        names = [part.name for part in parts]
        if len(parts) > 1 and (None in names or len(set(names)) < len(names)):
            raise ValueError("every part of a database of several parts needs a name of its own")
        return parts
