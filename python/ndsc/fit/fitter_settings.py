"""What the settings of all kinds of potentials have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator

from ndsc.section import Real, Section


class FitterSettings(Section):
    """Settings of a potential, whatever its kind; each kind has a class of its own that adds to these.

    Attributes
    ----------
    method : str
        The kind of potential; each class allows its own name only.
    cutoff : float, Å
        Atoms that are further apart do not see each other.
    e0 : "average", "fit", "isolated" or mapping of symbol to eV
        Energy of a single atom, subtracted before the fit: the database's mean energy per atom, the same for all
        elements; one for each element by least squares, which needs several compositions; the energies of its isolated
        atoms; or the given ones.
    """

    method: str = Field(description="Give the kind of potential, for example 'gap'.")
    cutoff: Real = Field(default=6.0, ge=0.5, le=50, description="Give the cutoff in Å (0.5 to 50), for example 6.0.")
    e0: Literal["average", "fit", "isolated"] | dict[str, Real] = Field(
        default="average",
        description="Give 'average', 'fit' (by least squares from the compositions), 'isolated', or a table of "
        "energies of "
        "single atoms in eV, for example {Al = -3.2}.",
    )

    @field_validator("e0", mode="before")
    @classmethod
    def _energies(cls, value: object) -> object:
        if isinstance(value, Mapping):
            for symbol, energy in value.items():
                if symbol not in atomic_numbers:
                    raise ValueError(f"{symbol!r} is not a chemical symbol")
                if isinstance(energy, bool) or not isinstance(energy, int | float):
                    raise ValueError(f"the energy of {symbol} is not a number")
            if not value:
                raise ValueError("the table has no energies")
            return dict(value)
        if value not in ("average", "fit", "isolated"):
            raise ValueError("'average', 'fit', 'isolated' or a table of numbers is expected")
        return value

    def hyperparameters(self) -> dict[str, Any]:
        """The settings that the potential depends on."""
        return self.model_dump(exclude={"method"})
