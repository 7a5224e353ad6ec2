"""The two sections of an input file that a fit of any database needs."""

from __future__ import annotations

from pydantic import Field

from ndsc.fit.regularisation import Regularisation
from ndsc.potentials.settings import AnySettings, default_settings
from ndsc.section import InputFile


class FitSections(InputFile):
    """``[fit]`` and ``[regularisation]``."""

    fit: AnySettings = Field(default_factory=default_settings, description="Write it as a section: [fit].")
    regularisation: Regularisation = Field(default=Regularisation(), description="Write it as [regularisation].")
