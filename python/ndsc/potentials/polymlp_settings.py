"""Settings of polynomial potentials, with the names that pypolymlp has for them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ndsc.fit.fitter_settings import FitterSettings
from ndsc.section import Positive, Real, Whole, one_or_many


class PolymlpSettings(FitterSettings):
    """``[fit]`` with ``method = "polymlp"``: a polynomial of invariants of the neighbours' densities.

    Attributes
    ----------
    method : "polymlp"
    model_type : 1, 2, 3 or 4
        What is multiplied: 1 nothing, 2 all invariants with each other, 3 those of pairs, 4 those of pairs and of
        second order.
    max_p : int
        Order of the polynomial, 1 to 3.
    feature_type : "gtinv" or "pair"
        Invariants of any order, or those of pairs only.
    n_gaussians : int
        Radial functions.
    gtinv_order : int
        Largest order of invariants: 2 for angles between two neighbours, 3 for three, and so on.
    gtinv_maxl : tuple of int
        Largest angular momentum of the invariants of order 2, 3 and so on.
    prior : "evidence" or float
        Width of the prior of the weights, as a factor on that of the features' sizes; "evidence" for the one that makes
        the labels most probable. Where the labels decide on the expected errors as well, only the ratio of both counts,
        and it is found with them.
    """

    method: Literal["polymlp"] = Field(default="polymlp", description="Give method = 'polymlp'.")
    model_type: Literal[1, 2, 3, 4] = Field(default=3, description="Give 1, 2, 3 or 4, for example 3.")
    max_p: Annotated[Whole, Field(ge=1, le=3)] = Field(default=2, description="Give 1, 2 or 3, for example 2.")
    feature_type: Literal["gtinv", "pair"] = Field(default="gtinv", description="Give 'gtinv' or 'pair'.")
    n_gaussians: Annotated[Whole, Field(ge=3, le=100)] = Field(
        default=12, description="Give the number of radial functions, from 3 up, for example 12."
    )
    gtinv_order: Annotated[Whole, Field(ge=2, le=6)] = Field(
        default=3, description="Give the largest order of invariants (2 to 6), for example 3."
    )
    gtinv_maxl: Annotated[tuple[Annotated[Positive, Field(le=20)], ...], BeforeValidator(one_or_many)] = Field(
        default=(6, 6), description="Give the largest angular momentum of each order from 2 up, for example [6, 6]."
    )
    prior: Literal["evidence"] | Annotated[Real, Field(ge=1e-6, le=1e6)] = Field(
        default="evidence", description="Give 'evidence', or a positive number."
    )

    @model_validator(mode="after")
    def _one_momentum_for_each_order(self) -> Self:
        if self.feature_type == "gtinv" and len(self.gtinv_maxl) != self.gtinv_order - 1:
            raise ValueError(
                f"gtinv_maxl has {len(self.gtinv_maxl)} numbers, and gtinv_order = {self.gtinv_order} needs "
                f"{self.gtinv_order - 1}: one for each order from 2 up"
            )
        return self
