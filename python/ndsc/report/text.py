"""Numbers, times, settings and q-points as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.formula import Formula
from numpy.typing import ArrayLike

from ndsc.codes import CODES
from ndsc.label_cost import Estimate
from ndsc.qgrid import irreducible_qpoints
from ndsc.report.tables import NOTHING
from ndsc.supercells import SupercellSet

if TYPE_CHECKING:
    from ndsc.results import Comparison, EstimateSummary

#: Grids with more irreducible q-points than this have too many for a table.
MOST_QPOINTS = 2000
_SHOWN_QPOINTS = 6
_UNITS = ((3600.0, " h"), (60.0, " min"), (1.0, " s"))
_LATTICE = {"alpha": "α (°)", "beta": "β (°)", "gamma": "γ (°)", "volume_per_atom": "volume per atom (Å³)",
    "area_per_atom": "area per atom (Å²)"}  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash where there is none."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not finite"
    # Adding zero turns what rounds to -0 into 0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def significant(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits."""
    return NOTHING if value is None else f"{value:.{digits}g}".replace("-", "−")


def splitting(transverse: float | None, longitudinal: float | None) -> float | None:
    """How far a longitudinal mode lies above its transverse one."""
    return None if transverse is None or longitudinal is None else longitudinal - transverse


def milli(value: float | None) -> str:
    """A thousandth of the unit, with three digits; what is zero but for rounding is 0."""
    if value is None:
        return NOTHING
    return "0" if abs(value) < 1e-9 else f"{1e3 * value:.3g}"


def seconds(value: float | None) -> str:
    """A time in seconds, minutes or hours."""
    if value is None:
        return NOTHING
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def estimated(found: Estimate | EstimateSummary | None, *, time: bool = False) -> str:
    """A number, or a `time` in seconds, with two digits: ``about 55 min (18 to 170 min)``."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return NOTHING
    length, unit = 1.0, ""
    if time:
        length, unit = next((one for one in _UNITS if found.value >= 1.5 * one[0]), _UNITS[-1])
    value, low, high = (_two_digits(x / length) for x in (found.value, found.low, found.high))
    return f"{value}{unit}" if low == high else f"about {value}{unit} ({low} to {high}{unit})"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):.10g}"


def count(amount: int, noun: str) -> str:
    """``1 label``, ``2 labels``."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def grid(divisions: Sequence[int]) -> str:
    """``4 × 4 × 4``."""
    return " × ".join(str(division) for division in divisions) if divisions else NOTHING


def percent(value: Comparison) -> str:
    """The error with its sign; a dash where there is none."""
    return NOTHING if value.error_percent is None else f"{value.error_percent:+.2f}".replace("-", "−")


def lattice_name(name: str) -> str:
    """A lattice parameter with its unit."""
    return _LATTICE.get(name, f"{name} (Å)")


def code_name(calculator: str) -> str:
    """A calculator's name as its authors write it."""
    return CODES[calculator].title if calculator in CODES else calculator


def settings(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as rows of a table."""
    return [(name, setting(value)) for name, value in values.items()]


def setting(value: Any) -> str:
    """The value of a setting in plain text."""
    if value is None or value in ({}, [], (), ""):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_inner(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _inner(value: Any) -> str:
    return f"({setting(value)})" if isinstance(value, Mapping) and value else setting(value)


def chemical(formula: str) -> str:
    """The composition of the crystal, whatever cell it is given in: ``Mg`` for ``Mg2``."""
    try:
        return str(Formula(formula).reduce()[0])
    except ValueError:  # names that are no formula stay as they are
        return formula


def space_group(symbol: str) -> str:
    """An international symbol as it is printed: ``P6_3/mmc`` with a subscript, ``Fm-3m`` with a bar."""
    subscripts = re.sub(r"_(\d)", lambda found: "₀₁₂₃₄₅₆₇₈₉"[int(found[1])], symbol)
    return re.sub(r"-(\d)", "\\1\N{COMBINING OVERLINE}", subscripts)


def matrix(rows: Sequence[Sequence[int]]) -> str:
    """A supercell matrix in one line, its rows in brackets."""
    return " ".join("[" + " ".join(str(entry).replace("-", "−") for entry in row) + "]" for row in rows)


def qpoint_text(numerators: ArrayLike, divisions: Sequence[int]) -> str:
    """A q-point as fractions: ``(0 1/4 1/2)``."""
    parts = [str(Fraction(int(top), int(bottom))) for top, bottom in zip(np.ravel(numerators), divisions, strict=True)]
    return f"({' '.join(parts)})"


def qpoints_by_supercell(supercells: SupercellSet) -> list[str]:
    """The irreducible q-points of the grid that each supercell holds and no earlier one does.

    Every irreducible q-point is named once, at the supercell where :meth:`SupercellSet.locate` finds it.
    """
    numerators = irreducible_qpoints(supercells.crystal, supercells.grid).numerators
    if len(numerators) > MOST_QPOINTS:
        return [NOTHING] * len(supercells)
    held: list[list[str]] = [[] for _ in range(len(supercells))]
    for point, index in zip(numerators, supercells.locate_all(numerators)[0], strict=True):
        held[index].append(qpoint_text(point, supercells.grid))
    return [_some(points) for points in held]


def _some(points: Sequence[str]) -> str:
    more = len(points) - _SHOWN_QPOINTS
    shown = ", ".join(points[:_SHOWN_QPOINTS])
    return f"{shown} and {more} more" if more > 0 else shown
