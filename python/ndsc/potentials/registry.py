"""All kinds of potentials by their name."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import cast

from ndsc.errors import InputError
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.potentials.base import Fitter
from ndsc.potentials.settings import FITTERS, MODULES

#: Module of ``ndsc.potentials`` and class of each kind; a module is imported when its kind is used.
HOMES = {
    "gap": ("gap", "GapFitter"),
    "ace": ("ace", "AceFitter"),
    "polymlp": ("polymlp", "PolymlpFitter"),
}


@cache
def fitter(method: str) -> Fitter:
    """A kind of potential.

    Parameters
    ----------
    method : str
        Value of ``[fit] method``.

    Raises
    ------
    InputError
        When there is none of this name.
    """
    if method not in HOMES:
        raise InputError(f"There is no kind of potential {method!r}. Give one of {', '.join(HOMES)}.")
    module, name = HOMES[method]
    return cast(Fitter, getattr(importlib.import_module(f"ndsc.potentials.{module}"), name)())


def fitter_of(settings: FitterSettings) -> Fitter:
    """The kind of potential that settings are for."""
    return fitter(settings.method)


def installed_methods() -> tuple[str, ...]:
    """Names of the kinds of potentials whose packages are installed."""
    return tuple(name for name in FITTERS if importlib.util.find_spec(MODULES[name]) is not None)
