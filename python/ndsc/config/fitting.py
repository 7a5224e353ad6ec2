"""The sections of a fit: the potential and its regularisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from ndsc.section import InputFile, Positive, Real, Section, Whole

if TYPE_CHECKING:
    from ndsc.fit import GapSettings, Regularisation

SparseMethod = Literal["cur_points", "cur_covariance", "random", "kmeans", "cluster", "covariance", "none"]


def _fill_from_preset(data: object, part: Literal["settings", "regularisation"]) -> object:
    """Take what the section does not say from the preset that it names."""
    if not isinstance(data, Mapping) or data.get("preset") is None:
        return data
    from ndsc.config.presets import preset_values

    values = preset_values(data["preset"], part)
    for key, said in data.items():
        inner = values.get(key)
        values[key] = inner | dict(said) if isinstance(inner, dict) and isinstance(said, Mapping) else said
    return values


class FitConfig(Section):
    """``[fit]``: the potential. Every key but `method`, `preset` and `solver` is a field of `ndsc.fit.GapSettings`."""

    method: Literal["gap", "none"] = Field(
        default="gap", description="Give method = 'gap', or 'none' to stop at the database."
    )
    preset: str | None = Field(
        default=None, description="Give the element of a preset of Allen and Bartók, Table 2; keys given beside it win."
    )
    solver: Literal["gap_fit", "numpy"] = Field(
        default="gap_fit",
        description="Give 'gap_fit', or 'numpy' for the same potential in a third of the time on one processor.",
    )
    cutoff: Real = Field(default=6.0, gt=0, le=50, description="Give the cutoff of SOAP in Å, for example 6.0.")
    n_max: Positive = Field(default=8, le=50, description="Give the number of radial functions of SOAP, for example 8.")
    l_max: Whole = Field(
        default=6, ge=0, le=50, description="Give the largest angular momentum of SOAP, for example 6."
    )
    atom_sigma: Real = Field(
        default=0.5, gt=0, description="Give the width of an atom's density in Å, for example 0.5."
    )
    zeta: Positive = Field(default=4, description="Give the power of the kernel, a whole number, for example 4.")
    delta: Real = Field(default=2.0, gt=0, description="Give the energy scale of the kernel in eV, for example 2.0.")
    n_sparse: Positive = Field(default=300, description="Give the number of sparse points, for example 300.")
    sparse_method: SparseMethod = Field(default="cur_points", description="It is a sparse_method of gap_fit.")
    sparse_jitter: Real = Field(default=1e-10, ge=0, le=1, description="Give a small number, for example 1e-10.")
    transition_width: Real = Field(
        default=1.0, ge=0.01, description="Give the width in Å over which the density goes to zero at the cutoff."
    )
    seed: Whole = Field(
        default=1, ge=0, lt=2**31, description="Give a whole number, at least 0: the seed of gap_fit's random numbers."
    )
    e0: Literal["average", "isolated"] | dict[str, Real] = Field(
        default="average",
        description="Give 'average', 'isolated', or a table of energies of single atoms in eV, as {Al = -3.2}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return _fill_from_preset(data, "settings")

    @field_validator("e0", mode="before")
    @classmethod
    def _energies(cls, value: object) -> object:
        if isinstance(value, Mapping):
            for symbol, energy in value.items():
                if symbol not in atomic_numbers:
                    raise ValueError(f"{symbol!r} is no chemical symbol")
                if isinstance(energy, bool) or not isinstance(energy, int | float):
                    raise ValueError(f"the energy of {symbol} is no number")
        elif value not in ("average", "isolated"):
            raise ValueError("'average', 'isolated' or a table of numbers is expected")
        return value

    @model_validator(mode="after")
    def _transition_within_the_cutoff(self) -> FitConfig:
        if self.transition_width > self.cutoff:
            raise ValueError(
                f"transition_width = {self.transition_width:g} is wider than cutoff = {self.cutoff:g}; make it smaller"
            )
        return self

    def to_settings(self) -> GapSettings:
        """The settings of the fit."""
        from ndsc.fit import GapSettings

        return GapSettings(**self.model_dump(exclude={"method", "preset", "solver"}))


class SigmaConfig(Section):
    """One sigma that grows with the value that it belongs to, never below a minimum."""

    relative: Real = Field(default=0.01, ge=0, description="Give the part of the value, for example 0.01.")
    minimum: Real = Field(default=0.001, gt=0, description="Give the floor, above 0 (a zero makes a potential of NaN).")


class RegularisationConfig(Section):
    """``[regularisation]``: the expected error of each number in the database."""

    kind: Literal["adaptive", "static"] = Field(default="adaptive", description="Give kind = 'adaptive' or 'static'.")
    preset: str | None = Field(
        default=None, description="Give the element of a preset of Allen and Bartók, Table 2; keys given beside it win."
    )
    energy: Real = Field(default=0.001, gt=0, description="Give the sigma of the energy in eV, for example 0.001.")
    force: SigmaConfig = Field(
        default=SigmaConfig(),
        description="Give a table, for example force = {relative = 0.01, minimum = 0.001}, in eV/Å.",
    )
    virial: SigmaConfig = Field(
        default=SigmaConfig(),
        description="Give a table, for example virial = {relative = 0.01, minimum = 0.001}, in eV.",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return _fill_from_preset(data, "regularisation")

    def to_regularisation(self) -> Regularisation:
        """The regularisation, as the fit takes it."""
        from ndsc.fit import Regularisation, Sigma

        return Regularisation(
            kind=self.kind,
            energy=self.energy,
            force=Sigma(**self.force.model_dump()),
            virial=Sigma(**self.virial.model_dump()),
        )


class FitSections(InputFile):
    """The two sections that a fit of somebody's database needs."""

    fit: FitConfig = Field(default=FitConfig(), description="Write it as a section, [fit].")
    regularisation: RegularisationConfig = Field(
        default=RegularisationConfig(), description="Write it as [regularisation]."
    )
