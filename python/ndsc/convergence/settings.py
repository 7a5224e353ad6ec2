"""Settings of a calculator by their dotted path: reading one, and changing one.

``kgrid`` is the k-point grid of the unit cell; everything else is a path into the parameters, as ``mode.ecut``. Upper
and lower case are the same, as they are to most codes, so that no keyword is ever given twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ndsc.errors import InputError
from ndsc.kpoints import kgrid_text
from ndsc.reference import CalculatorSpec

KGRID = "kgrid"


def setting_of(spec: CalculatorSpec, path: str) -> Any:
    """The value at a path, or None where the settings do not have it.

    Parameters
    ----------
    spec : CalculatorSpec
    path : str
        ``"kgrid"``, or a dotted path into the parameters.
    """
    if path == KGRID:
        return spec.kgrid
    value: Any = spec.parameters
    for name in path.split("."):
        if not isinstance(value, Mapping) or (key := _spelled(value, name)) not in value:
            return None
        value = value[key]
    return value


def with_setting(spec: CalculatorSpec, path: str, value: Any) -> CalculatorSpec:
    """The same calculator with another value at a path.

    Parameters
    ----------
    spec : CalculatorSpec
    path : str
        ``"kgrid"``, or a dotted path into the parameters; tables on the way that are not there are made.
    value : object
        Three or 3x3 whole numbers for ``"kgrid"``, otherwise what JSON can hold.

    Raises
    ------
    InputError
        When the path is empty, leads through something that is no table, or the calculator has no such setting.
    """
    if path == KGRID:
        return replace(spec, kgrid=value)
    names = path.split(".")
    if not all(names):
        raise InputError(f"{path!r} is no path of a setting. Write kgrid, or names with dots between them: mode.ecut.")
    return replace(spec, parameters=_changed(spec.parameters, names, value, path))


def with_settings(spec: CalculatorSpec, changes: Mapping[str, Any]) -> CalculatorSpec:
    """The same calculator with other values at several paths (:func:`with_setting`)."""
    for path, value in changes.items():
        spec = with_setting(spec, path, value)
    return spec


def setting_text(value: Any) -> str:
    """A value as a person writes it: ``8x8x8`` for a grid, ``350`` for a number."""
    if isinstance(value, tuple):  # only k-point grids are: parameters hold lists
        return kgrid_text(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changed(table: Mapping[str, Any], names: list[str], value: Any, path: str) -> dict[str, Any]:
    first, *rest = names
    first = _spelled(table, first)
    if not rest:
        return {**table, first: value}
    inner = table.get(first, {})
    if not isinstance(inner, Mapping):
        raise InputError(
            f"The setting {path} cannot be changed: {first} is {inner!r}, not a table. Give the parameter as a table "
            f"with all of its entries, for example mode = {{name = 'pw', ecut = 350}}."
        )
    return {**table, first: _changed(inner, rest, value, path)}


def _spelled(table: Mapping[str, Any], name: str) -> str:
    """A key as the table spells it; the name itself where it has none."""
    return next((key for key in table if key.lower() == name.lower()), name)
