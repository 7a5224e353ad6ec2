"""The table ``[fit.ace]``: an atomic cluster expansion that is linear in its weights, by ace-jax."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ndsc.fit.fitter_settings import FitterSettings
from ndsc.section import Positive, Real

#: Largest degree for one element, two, and so on: 700 to 2,300 functions in all.
DEGREES = (14, 9, 6, 5, 4)


class AceSettings(FitterSettings):
    """``[fit] method = "ace"``: a linear atomic cluster expansion; ``ndsc.potentials.AceSettings`` in Python.

    The names are those of ace-jax (``BasisSpec``, ``build_model``), whose rcut is `cutoff` here.

    Attributes
    ----------
    method : "ace"
    order : int
        Largest number of neighbours in a basis function; functions of three neighbours see dihedral angles.
    max_degree : int or None
        Largest sum of ``n / n_elements + wL * l`` over the radial numbers n and the angular numbers l of a function.
        The number of functions grows with its power of two times `order`, and with a power of the number of elements;
        by default it is smaller for more elements, see :data:`DEGREES`.
    wL : float
        Weight of angular numbers in that sum.
    r0 : float or None, Å
        Distance of neighbours, about which radial functions have the finest resolution; by default what ace-jax has
        tabulated for each element.
    prior : "scaled" or "smoothness"
        What weights are expected to be: "smoothness" is ace-jax's own prior; "scaled" takes the sizes of functions into
        account as well, which differ by orders of magnitude. The scale of either is the one that makes labels most
        probable.
    smoothness : float
        Power of ace-jax's smoothness prior in the scaled one.
    """

    method: Literal["ace"] = Field(default="ace", description="Give method = 'ace'.")
    order: Positive = Field(
        default=3,
        le=6,
        description="Give the largest number of neighbours in a basis function (1 to 6), for example 3.",
    )
    max_degree: Positive | None = Field(
        default=None,
        ge=2,
        le=40,
        description="Give the largest degree of a basis function (2 to 40), for example 14; without it, 14 for one "
        "element and less for more.",
    )
    wL: Real = Field(  # noqa: N815 - ace-jax's name
        default=1.0,
        ge=0.5,
        le=10,
        description="Give the weight of the angular momentum in the degree of a function, for example 1.0.",
    )
    r0: Real | None = Field(
        default=None, ge=0.5, le=10, description="Give the distance of nearest neighbours in Å, for example 2.8."
    )
    prior: Literal["scaled", "smoothness"] = Field(default="scaled", description="Give 'scaled' or 'smoothness'.")
    smoothness: Real = Field(
        default=0.5,
        ge=0,
        le=4,
        description="Give the power (0 to 4) of the smoothness prior, for example 0.5.",
    )

    def degree(self, n_elements: int) -> int:
        """The largest degree of functions for some number of elements."""
        if self.max_degree is not None:
            return self.max_degree
        return DEGREES[min(n_elements, len(DEGREES)) - 1]
