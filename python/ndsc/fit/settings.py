"""The section ``[fit]``: settings of a Gaussian approximation potential with SOAP descriptors."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.presets import fill_from_preset
from ndsc.section import Positive, Real, Whole

SparseMethod = Literal["cur_points", "cur_covariance", "random", "kmeans", "cluster", "covariance", "none"]
#: Ways in which gap_fit chooses sparse points; see ``fixed_sparse_points`` of fit_gap for those of another potential.
SPARSE_METHODS: tuple[str, ...] = get_args(SparseMethod)


class GapSettings(FitterSettings):
    """``[fit]``: the potential, a GAP with one SOAP kernel for each species; ``ndsc.fit.GapSettings`` in Python.

    Attributes
    ----------
    method : "gap" or "none"
        "none" ends a run at the database.
    preset : str or None
        Takes the values that are not given from a row of Table 2 of Allen and Bartók.
    solver : "numpy" or "gap_fit"
        Who computes the covariances and solves for the weights. "numpy" leaves only the choice of sparse points to
        gap_fit: the same potential to rounding, several times sooner, in memory that does not grow with the number of
        configurations. "gap_fit" does all of it, and accounts for the data that it used itself.
    cutoff : float, Å
    n_max, l_max : int
        Numbers of radial functions, and largest angular momentum.
    atom_sigma : float, Å
        Width of an atom's density (equation 2).
    zeta : int
        Power of the dot-product kernel.
    delta : float, eV
        Energy scale of the kernel.
    n_sparse : int
        Sparse points of each species; fewer where there are fewer atomic environments.
    sparse_method : str
        One of :data:`SPARSE_METHODS`.
    sparse_jitter : float
        Added to the diagonal of the sparse covariance; 1e-6 already costs accuracy.
    transition_width : float, Å
        Width over which the density goes to zero before the cutoff.
    radial_exponent : int
        The density of a neighbour at the distance r is multiplied by 1 / (1 + (r / radial_scale)^radial_exponent), so
        that near neighbours count more (M. J. Willatt, F. Musil and M. Ceriotti, Phys. Chem. Chem. Phys. 20, 29661
        (2018)). 0 leaves all of them as they are, as in the paper's fits.
    radial_scale : float, Å
        Where a neighbour counts half.
    seed : int
        Seed of gap_fit's random numbers.
    e0 : "average", "fit", "isolated" or mapping of symbol to eV
        Energy of a single atom, subtracted before the fit: the database's mean energy per atom, the same for all
        elements; one for each element by least squares, which needs several compositions; the energies of its isolated
        atoms; or the given ones.
    """

    method: Literal["gap", "none"] = Field(
        default="gap", description="Give method = 'gap', or 'none' to stop at the database."
    )
    preset: str | None = Field(
        default=None,
        description="Give the element of a preset of Allen and Bartók, Table 2; other keys override its values.",
    )
    solver: Literal["numpy", "gap_fit"] = Field(
        default="numpy",
        description="Give 'numpy', or 'gap_fit' which gives the same potential but needs several times as much time "
        "and memory.",
    )
    cutoff: Real = Field(
        default=6.0, ge=0.5, le=50, description="Give the cutoff of SOAP in Å (0.5 to 50), for example 6.0."
    )
    n_max: Positive = Field(default=8, le=50, description="Give the number of radial functions of SOAP, for example 8.")
    l_max: Whole = Field(
        default=6, ge=0, le=50, description="Give the largest angular momentum of SOAP, for example 6."
    )
    atom_sigma: Real = Field(
        default=0.5,
        ge=0.01,
        le=10,
        description="Give the width of an atom's density in Å (0.01 to 10), for example 0.5.",
    )
    zeta: Positive = Field(
        default=4, le=100, description="Give the power of the kernel, a whole number, for example 4."
    )
    delta: Real = Field(
        default=2.0, ge=1e-6, le=1e6, description="Give the energy scale of the kernel in eV, for example 2.0."
    )
    n_sparse: Positive = Field(
        default=300, le=10**7, description="Give the number of sparse points of each species, for example 300."
    )
    sparse_method: SparseMethod = Field(
        default="cur_points", description="Give a sparse_method of gap_fit, for example 'cur_points'."
    )
    sparse_jitter: Real = Field(default=1e-10, ge=0, le=1, description="Give a small number, for example 1e-10.")
    transition_width: Real = Field(
        default=1.0, ge=0.01, description="Give the width in Å over which the density goes to zero at the cutoff."
    )
    radial_exponent: Whole = Field(
        default=4,
        le=20,
        description="Give a whole number: a neighbour at the distance r counts 1 / (1 + (r / radial_scale)^"
        "radial_exponent) times, or once with 0.",
    )
    radial_scale: Real = Field(
        default=3.5,
        ge=0.1,
        le=50,
        description="Give the distance in Å at which a neighbour counts half, for example 3.5.",
    )
    seed: Whole = Field(
        default=1, ge=0, lt=2**31, description="Give a whole number, at least 0: the seed of gap_fit's random numbers."
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return fill_from_preset(data, "fit")

    @model_validator(mode="after")
    def _transition_within_the_cutoff(self) -> Self:
        if self.transition_width > self.cutoff:
            raise ValueError(
                f"transition_width = {self.transition_width:g} is wider than cutoff = {self.cutoff:g}; make it smaller"
            )
        return self

    @model_validator(mode="after")
    def _scale_has_an_exponent(self) -> Self:
        if self.radial_exponent == 0 and self.radial_scale != GapSettings.model_fields["radial_scale"].default:
            raise ValueError(
                f"radial_scale = {self.radial_scale:g} has no effect with radial_exponent = 0, as in presets; "
                "leave it out, or give an exponent, for example 4"
            )
        return self

    def hyperparameters(self) -> dict[str, Any]:
        """The settings that the potential depends on: all but `method`, `preset` and `solver`."""
        return self.model_dump(exclude={"method", "preset", "solver"})
