"""The section ``[fit]``: settings of the kind of potential that its ``method`` names."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.settings import GapSettings
from ndsc.potentials.ace_settings import AceSettings
from ndsc.potentials.polymlp_settings import PolymlpSettings

#: Settings of each kind of potential, by the value of ``method``, the most preferred first.
FITTERS: dict[str, type[FitterSettings]] = {"gap": GapSettings, "ace": AceSettings, "polymlp": PolymlpSettings}
#: The module that each kind needs.
MODULES = {"gap": "quippy", "ace": "ace_jax", "polymlp": "pypolymlp"}
#: Keys of ``[fit]`` that all kinds have.
COMMON = frozenset(FitterSettings.model_fields)


def default_method() -> str:
    """The kind of potential where none is named: the first one whose package is installed, or else "gap"."""
    return next((name for name in FITTERS if importlib.util.find_spec(MODULES[name]) is not None), "gap")


def default_settings() -> FitterSettings:
    """``[fit]`` where an input file has none."""
    return FITTERS[default_method()]()


def settings_of(values: Mapping[str, Any]) -> FitterSettings:
    """Settings from keys as ``[fit]`` has them, those of a table with the name of a method among them.

    Raises
    ------
    InputError
        When a key or value is wrong.
    """
    return FITTERS[_tag(chosen := _of_method(values))].parse(chosen, "[fit]")


def _of_method(value: object) -> Any:
    """The keys of the method that is named: those in ``[fit]`` itself and those in the table with its name.

    Tables of other methods are checked and have no effect, so that one file holds settings of several.

    Raises
    ------
    ValueError
        When there is no such method, or a key belongs to another one.
    """
    if not isinstance(value, Mapping):
        return value
    method = value.get("method") or _meant(value)
    if method not in (*FITTERS, "none"):
        raise ValueError(f"method = {method!r} is not known; it must be {', '.join(map(repr, FITTERS))} or 'none'")
    kind = "gap" if method == "none" else str(method)
    tables = {name: value[name] for name in FITTERS if name in value}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ValueError(f"{name} is a table of settings: write [fit.{name}]")
        _check_table(name, table)
    said = {key: item for key, item in value.items() if key not in FITTERS}
    own = tables.get(kind, {})
    twice = sorted(set(said) & set(own))
    if twice:
        raise ValueError(f"{', '.join(twice)} is given in [fit] and in [fit.{kind}]; give it once")
    _check_owner(kind, said)
    return {**said, **own} if kind == "gap" and "method" not in value else {**said, "method": method, **own}


def _meant(value: Mapping[str, Any]) -> str:
    """The method where none is named: that of the keys, or else the default."""
    method = default_method()
    tables = [name for name in FITTERS if name in value]
    if len(tables) == 1 and set(value) - {*FITTERS} <= COMMON:
        return tables[0]
    fits = [name for name, kind in FITTERS.items() if set(value) - set(FITTERS) <= set(kind.model_fields)]
    return method if method in fits or not fits else fits[0]


def _check_table(name: str, table: Mapping[str, Any]) -> None:
    if "method" in table:
        raise ValueError(f"method belongs in [fit], not in [fit.{name}]")
    _check_owner(name, table, f"[fit.{name}]")


def _check_owner(kind: str, keys: Mapping[str, Any], where: str = "[fit]") -> None:
    """Refuse keys that another kind of potential has."""
    for key in keys:
        owners = [name for name, other in FITTERS.items() if key in other.model_fields and key not in COMMON]
        if owners and kind not in owners:
            raise ValueError(
                f"{key} is a setting of method = {owners[0]!r}, and {where} is for method = {kind!r}; remove it, or "
                f"write it in [fit.{owners[0]}]"
            )


def _tag(value: Any) -> str:
    method = value.get("method") if isinstance(value, Mapping) else getattr(value, "method", None)
    return "gap" if method not in FITTERS else str(method)


#: The type of a field of an input file that holds settings of any kind of potential.
if TYPE_CHECKING:
    AnySettings = FitterSettings
else:
    AnySettings = Annotated[
        Annotated[GapSettings, Tag("gap")]
        | Annotated[AceSettings, Tag("ace")]
        | Annotated[PolymlpSettings, Tag("polymlp")],
        Discriminator(_tag),
        BeforeValidator(_of_method),
    ]
