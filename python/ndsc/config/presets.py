"""Presets of the fit as values of the input file's keys."""

from __future__ import annotations

from dataclasses import asdict
from difflib import get_close_matches
from typing import Any, Literal


def preset_values(name: object, part: Literal["settings", "regularisation"]) -> dict[str, Any]:
    """The keys that the preset `name` sets in ``[fit]`` (`part` "settings") or ``[regularisation]``.

    Raises
    ------
    ValueError
        When no preset has this name (pydantic turns it into a message that names the key).
    """
    from ndsc.fit import PRESETS

    if not isinstance(name, str) or name not in PRESETS:
        close = get_close_matches(str(name), list(PRESETS), n=1, cutoff=0.5)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"there is no preset {name!r}{meant} The presets are {', '.join(PRESETS)}")
    return asdict(getattr(PRESETS[name], part))
