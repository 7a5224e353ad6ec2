"""Calculators that a function of somebody's own makes: ``"module:factory"``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from ndsc.errors import InputError, NdscError, ReferenceCalculationError


def from_factory(name: str, keywords: Mapping[str, Any], structure: str) -> Calculator:
    """The calculator that a factory makes.

    Parameters
    ----------
    name : str
        ``"module:factory"``.
    keywords : mapping
        What the factory is called with.
    structure : str
        Name of the structure that the calculator is for.

    Raises
    ------
    InputError
        When there is no such function, it does not take the keywords, or what it returns is no calculator.
    ReferenceCalculationError
        When it raises anything.
    """
    factory = load_factory(name)
    try:
        signature = inspect.signature(factory)
    except ValueError:  # what is written in C may tell nothing of its parameters
        signature = inspect.signature(lambda **_: None)
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise refused(name, keywords, error) from error
    try:
        made = factory(**keywords)
    except (NdscError, KeyboardInterrupt):
        raise
    except BaseException as error:  # it is somebody else's code, and may raise anything
        raise not_made(name, structure, error) from error
    if not hasattr(made, "get_forces"):
        raise InputError(
            f"The function {name!r} returned {type(made).__name__}, which is no ASE calculator. Return one from it."
        )
    return made


def load_factory(name: str) -> Callable[..., Calculator]:
    """The function that ``"module:factory"`` names; its module is looked for in the working folder too.

    Raises
    ------
    InputError
        When there is none.
    """
    module_name, _, factory_name = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing a module runs it
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise InputError(
            f"The module of the calculator {name!r} cannot be imported ({kind}{error}). Put it beside the input file "
            "or install it; it must be importable without an error."
        ) from error
    finally:
        sys.path.remove(here)
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise InputError(f"{module_name} has no function {factory_name!r}, named by the calculator {name!r}.")
    checked: Callable[..., Calculator] = factory
    return checked


def refused(name: str, parameters: Mapping[str, Any], error: Exception) -> InputError:
    """The message for parameters that are not a calculator's."""
    return InputError(
        f"The calculator {name!r} does not take parameters = {dict(parameters)} ({error}). See its documentation."
    )


def not_made(name: str, structure: str, error: BaseException) -> ReferenceCalculationError:
    """The message for a calculator whose making raised something."""
    said = f": {error}" if str(error) else ""
    return ReferenceCalculationError(
        f"{structure}: the calculator {name!r} could not be made, which raised {type(error).__name__}{said}. Mend what "
        "makes it, or its parameters."
    )
