"""The two sections of an input file that a fit of any database needs."""

from __future__ import annotations

from pydantic import Field

from ndsc.fit.regularisation import Regularisation
from ndsc.fit.settings import GapSettings
from ndsc.section import InputFile


class FitSections(InputFile):
    """``[fit]`` and ``[regularisation]``."""

    fit: GapSettings = Field(default=GapSettings(), description="Write it as a section, [fit].")
    regularisation: Regularisation = Field(default=Regularisation(), description="Write it as [regularisation].")
