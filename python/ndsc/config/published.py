"""``[[published]]`` of a study: numbers from elsewhere, and what they may be called."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from ndsc.section import Real, Section

#: Values that tables of settings have a row for.
SETTING_VALUES = (
    "code", "xc", "basis", "cutoff_ev", "density_cutoff_ev", "k_spacing", "smearing", "smearing_order", "smearing_ev",
    "bands", "scf_tolerance_ev", "scf_tolerance_per_atom_ev", "scf_tolerance_per_electron_ev", "scf_density_tolerance",
    "a", "c", "n_labels", "n_atoms",
)  # fmt: skip
#: Values that tables of fits have a row for.
FIT_VALUES = (
    "cutoff", "n_max", "l_max", "atom_sigma", "delta", "zeta", "radial_exponent", "radial_scale", "regularisation",
    "energy_sigma", "force_relative", "force_minimum", "virial_relative", "virial_minimum", "n_sparse", "n_labels",
    "n_atoms", "label_seconds", "a", "c",
)  # fmt: skip
#: Values that are words.
WORDS = ("code", "xc", "basis", "smearing", "bands", "regularisation")
_ELASTIC = re.compile(r"B|C[1-6][1-6]")


def _texts(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class PublishedConfig(Section):
    """``[[published]]``: numbers from elsewhere, shown as a column beside the study's."""

    name: Annotated[str, Field(min_length=1)] = Field(
        description="Give the heading of the column, for example 'Experiment'."
    )
    on: Annotated[str, Field(min_length=1)] = Field(description="Give the name of the run that the values belong to.")
    source: str = Field(default="", description="Say where the values come from.")
    tables: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(), description="Give the names of tables; without it, all that have a row for one of the values."
    )
    values: dict[str, Real | str] = Field(
        min_length=1, description="Give a table of values, for example values = {C11 = 167.5, a = 3.867}."
    )

    @field_validator("values")
    @classmethod
    def _names(cls, values: dict[str, float | str]) -> dict[str, float | str]:
        known = dict.fromkeys((*SETTING_VALUES, *FIT_VALUES))
        for name, value in values.items():
            if name not in known and not _ELASTIC.fullmatch(name):
                near = get_close_matches(name, known, n=1)
                meant = f"did you mean {near[0]!r}" if near else "the page on studies in the documentation lists them"
                raise ValueError(f"no table has a row {name!r}; {meant}")
            if isinstance(value, str) and name not in WORDS:
                raise ValueError(f"{name} = {value!r} is not a number")
        return values
