"""The section ``[selection]``: which configurations are labelled, and when there are enough."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ndsc.section import Positive, Real, Section

#: Candidates that are made where the input file gives none.
CANDIDATES = 1500


class SelectionSettings(Section):
    """``[selection]``: which configurations are labelled, and when there are enough.

    Attributes
    ----------
    method : "information", "all", "random" or None
        "information" labels those first that tell most about phonons and elastic constants, until the targets are met;
        "random" takes candidates by chance, with the same limits; "all" labels all configurations. None is "all" where
        the input file has ``[configurations]`` and "information" where it has none.
    target_thz : float, THz
        Root-mean-square error of phonon frequencies that is enough.
    target_elastic_percent : float, per cent
        Largest error of an elastic constant that is enough.
    target_mev : float, meV an atom
        Root-mean-square error of the energies of decorations that is enough, where atoms are substituted.
    target_gpa : float, GPa, or None
        Root-mean-square error of the pressure between 2 % shorter and longer cell vectors that is enough, the equation
        of state of crystals. None does not ask for it.
    max_labels : int
        Configurations to label at the most, the unperturbed unit cell among them.
    max_seconds : float, s, or None
        The most that labels may take together, by those that there are.
    batch : int
        Labels between two fits, or a fifth of those that there are when that is more.
    candidates : int
        Configurations to choose from, roughly, where the input file has no ``[configurations]``.
    """

    method: Literal["information", "all", "random"] | None = Field(
        default=None, description="Give 'information', 'all' or 'random'."
    )
    target_thz: Annotated[Real, Field(gt=0, le=1000)] = Field(
        default=0.05,
        description="Give the error of phonon frequencies in THz at which the choice stops, for example 0.05.",
    )
    target_elastic_percent: Annotated[Real, Field(gt=0, le=1000)] = Field(
        default=3.0,
        description="Give the error of elastic constants in per cent at which the choice stops, for example 3.0.",
    )
    target_mev: Annotated[Real, Field(gt=0, le=1000)] = Field(
        default=1.0,
        description="Give the error of the energies of decorations in meV per atom at which the choice stops, for "
        "example 1.0; it only has an effect if atoms are substituted.",
    )
    target_gpa: Annotated[Real, Field(gt=0, le=1000)] | None = Field(
        default=None,
        description="Give the error of pressures in GPa, for cell vectors up to 2 % shorter and longer, at which the "
        "choice stops, for example 0.2; or leave it out.",
    )
    max_labels: Positive = Field(
        default=40, le=100_000, description="Give the largest number of configurations to label, for example 40."
    )
    max_seconds: Annotated[Real, Field(gt=0, le=1e10)] | None = Field(
        default=None, description="Give the longest total time of all labels in seconds, or leave it out."
    )
    batch: Positive = Field(
        default=2, le=10_000, description="Give the number of labels between two fits, for example 2."
    )
    candidates: Positive = Field(
        default=CANDIDATES, le=100_000, description="Give how many configurations to choose from, for example 1500."
    )
