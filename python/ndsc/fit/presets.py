"""Presets of the fit: Allen and Bartók (2022), Table 2 and section 3.3, by element."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any


def _table_2(cutoff: float, n_max: int, l_max: int, relative: float, minimum: float) -> dict[str, dict[str, Any]]:
    return {
        "fit": {"cutoff": cutoff, "n_max": n_max, "l_max": l_max, "n_sparse": 1400, "radial_exponent": 0},
        "regularisation": {
            "force": {"relative": 1e-2, "minimum": 1e-3},
            "virial": {"relative": relative, "minimum": minimum},
        },
    }


#: Values of the keys of ``[fit]`` and ``[regularisation]`` that each preset sets.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "Mg": _table_2(8.0, 8, 6, 1e-2, 1e-3),
    "Al": _table_2(10.0, 10, 8, 5e-3, 5e-4),
    "Si": _table_2(6.0, 8, 6, 1e-2, 1e-3),
    "W": _table_2(6.0, 8, 6, 1e-2, 1e-3),
}


def fill_from_preset(data: object, section: str) -> object:
    """Values of a section with those that it does not give taken from the preset that it names.

    Parameters
    ----------
    data : object
        What the section gives; anything but a mapping is returned as it is.
    section : str
        ``"fit"`` or ``"regularisation"``.

    Raises
    ------
    ValueError
        When no preset has the name (pydantic turns it into a message that names the key).
    """
    if not isinstance(data, Mapping) or data.get("preset") is None:
        return data
    name = data["preset"]
    if not isinstance(name, str) or name not in PRESETS:
        close = get_close_matches(str(name), list(PRESETS), n=1, cutoff=0.5)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"there is no preset {name!r}{meant} The presets are {', '.join(PRESETS)}")
    values: dict[str, Any] = dict(PRESETS[name][section])
    for key, given in data.items():
        default = values.get(key)
        values[key] = default | dict(given) if isinstance(default, dict) and isinstance(given, Mapping) else given
    return values
