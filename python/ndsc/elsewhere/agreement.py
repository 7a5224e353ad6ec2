"""Whether outputs were computed with the settings of their labels, and with those of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ndsc.codes import CODES, MEANINGS
from ndsc.elsewhere.manifest import Wanted
from ndsc.elsewhere.outputs import Returned

#: Numbers of settings that differ by less than this part are the same: programs print few digits.
SETTING = 1e-3
#: How far a k-point may be from the one that it should be, in reduced coordinates.
KPOINT = 1e-4
#: Numbers of parameters that outputs tell too.
_COMPARED = ("cutoff_ev", "density_cutoff_ev", "smearing_ev")


def other_kpoints(wanted: Wanted, returned: Returned) -> str | None:
    """How the k-points of an output are not the folded ones."""
    expected = wanted.kpoints
    if expected is None or returned.n_kpoints is None:
        return None
    # With spin, pw.x may count the points of both.
    counts = {len(expected), 2 * len(expected)} if returned.code == "espresso" else {len(expected)}
    if returned.n_kpoints not in counts:
        return (
            f"it has {returned.n_kpoints} k-points and the folded grid has {len(expected)}: symmetry was used (VASP: "
            "give ISYM = 0), or another list of k-points"
        )
    if float(returned.settings.get("isym", 0)) > 0:
        return "ISYM is above 0, which symmetrises the density with k-points that are not in the list; give ISYM = 0"
    if returned.kpoints is None:
        return None
    away = np.array([[point - sign * expected for sign in (1, -1)] for point in returned.kpoints])
    nearest = np.abs(away - np.rint(away)).max(axis=3).min(axis=(1, 2))
    if nearest.max(initial=0.0) > KPOINT:
        point = " ".join(f"{number:.4f}" for number in returned.kpoints[int(nearest.argmax())])
        return f"its k-points are not the folded ones: {point} is none of them; leave KPOINTS as it was written"
    return None


def other_than_parameters(wanted: Wanted, returned: Returned) -> str | None:
    """What [reference] says and the output does not."""
    spec = wanted.spec
    if spec.name != returned.code or spec.name not in CODES:
        return None
    said, _ = spec.code.by_meaning(spec.parameters)
    wrong = [
        f"{setting(name, returned.settings[name])} in it and {shown(said[name])} in [reference]"
        for name in _COMPARED
        if name in said and name in returned.settings and not equal(said[name], returned.settings[name])
    ]
    return f"its settings are not those that were asked for: {', '.join(wrong)}" if wrong else None


def equal(first: float | str, second: float | str) -> bool:
    """Whether two values of a setting are the same."""
    if isinstance(first, str) or isinstance(second, str):
        return first == second
    return bool(np.isclose(first, second, rtol=SETTING, atol=1e-12))


def most_common(found: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float | str], set[str]]:
    """The most common value of each setting, and the names of those that have another one as often."""
    usual: dict[str, float | str] = {}
    tied: set[str] = set()
    for name in dict.fromkeys(name for settings in found for name in settings):
        values: list[float | str] = []
        counts: list[int] = []
        for settings in found:
            if name not in settings:
                continue
            place = next((i for i, value in enumerate(values) if equal(value, settings[name])), None)
            if place is None:
                values.append(settings[name])
                counts.append(1)
            else:
                counts[place] += 1
        usual[name] = values[counts.index(max(counts))]
        if counts.count(max(counts)) > 1:
            tied.add(name)
    return usual, tied


def setting(name: str, value: float | str, *, between: str = "is") -> str:
    """A setting for a person: ``E_cut (eV) is 400``."""
    return f"{MEANINGS.get(name, name)} {between} {shown(value)}"


def shown(value: float | str) -> str:
    """A value for a person."""
    return value if isinstance(value, str) else f"{value:.6g}"
