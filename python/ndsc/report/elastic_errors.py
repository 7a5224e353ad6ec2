"""Relative errors of elastic constants, of several crystals or of several potentials (the paper's Figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ndsc.errors import InputError
from ndsc.report.published import PAPER_ELASTIC_PERCENT
from ndsc.report.style import MUTED, REFERENCE, SERIES, new_figure, paper_style, plain
from ndsc.results import Comparison

if TYPE_CHECKING:
    from pandas import DataFrame

#: Constants of one potential of one crystal, or of several seeds of it.
Constants = Mapping[str, Comparison] | Sequence[Mapping[str, Comparison]]
#: Width of the bars of one constant together, of the distance to the next constant.
_GROUP = 0.82


def elastic_errors_data(series: Mapping[str, Constants]) -> DataFrame:
    """Constants: ``series``, ``seed`` from 0, ``constant``, ``model_gpa``, ``reference_gpa``, ``error_percent``.

    Parameters
    ----------
    series : mapping of str to (mapping of str to Comparison), or to a sequence of these
        By crystal, or by potential; one mapping a seed. Constants in GPa, in any selection: ``{"C11": …}``.
    """
    from pandas import DataFrame

    rows = [
        (name, seed, constant, value.model, value.reference, value.error_percent)
        for name, constants in series.items()
        for seed, values in enumerate([constants] if isinstance(constants, Mapping) else constants)
        for constant, value in values.items()
    ]
    frame = DataFrame(rows, columns=["series", "seed", "constant", "model_gpa", "reference_gpa", "error_percent"])
    return frame.astype({"model_gpa": float, "reference_gpa": float, "error_percent": float})


def elastic_errors_figure(data: DataFrame) -> Figure:
    """Draw the errors of elastic constants relative to the reference, as grouped bars (Figures 6 and 7).

    With several seeds a bar is their median and a line from the lowest to the highest. A constant that the reference
    has and the potential has not is marked with a cross; one that the reference lacks, or that is zero, has no bar. The
    errors are written at the bars where there are at most two series.

    Parameters
    ----------
    data : DataFrame
        As :func:`elastic_errors_data` gives it.

    Raises
    ------
    InputError
        When no constant has a reference.
    """
    known = data[data.reference_gpa.notna() & (data.reference_gpa != 0)]
    names = in_order(known.constant)
    if not names:
        raise InputError("There are no elastic constants to compare. Give at least one with a reference that is not 0.")
    series = list(data.series.unique())
    digits = {1: 2, 2: 1}.get(len(series))
    with paper_style():
        per_constant = 0.3 * len(series) + 0.25 + (0.15 * len(series) if digits is not None else 0.0)
        figure = new_figure(float(np.clip(per_constant * len(names) + 0.8, 3.5, 7.2)), 2.9)
        axes = figure.add_subplot()
        finite = known.error_percent.dropna().to_numpy()  # empty where the potential has no constants
        limit = max(1.3 * float(np.max(np.abs(finite), initial=0.0)), 1.0)
        axes.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=3)
        if limit > PAPER_ELASTIC_PERCENT:
            for edge in (-PAPER_ELASTIC_PERCENT, PAPER_ELASTIC_PERCENT):
                axes.axhline(edge, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        width = _GROUP / len(series)
        for index, name in enumerate(series):
            places = np.arange(len(names)) + (index - (len(series) - 1) / 2) * width
            errors = known[known.series == name].groupby("constant").error_percent.apply(lambda found: found.to_numpy())
            colour = SERIES[index % len(SERIES)]
            heights = [_middle(errors.get(constant)) for constant in names]
            axes.bar(places, heights, width=0.9 * width, color=colour, label=plain(name), zorder=2)
            for place, constant in zip(places, names, strict=True):
                if constant in errors.index:
                    _mark_bar(axes, float(place), errors[constant], colour, digits=digits)
        axes.set_ylim(-limit, limit)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_xticks(range(len(names)), [constant_label(name) for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Relative error (%)")
        if len(series) > 1:
            figure.legend(loc="outside upper center", ncols=min(len(series), 4), columnspacing=1.2, handlelength=1.2)
    return figure


def in_order(constants: Iterable[str]) -> list[str]:
    """Names of constants once each, as they are drawn from left to right: averages first, then by their indices."""
    return sorted(dict.fromkeys(constants), key=lambda name: (_is_constant(name), name if _is_constant(name) else ""))


def constant_label(name: str) -> str:
    """``C11`` with its indices as a subscript, ``B`` in italics; any other name as it is."""
    if _is_constant(name):
        return f"${name[0]}_{{{name[1:]}}}$"
    return f"${name}$" if len(name) == 1 and name.isalpha() else plain(name.replace("_", " "))


def _is_constant(name: str) -> bool:
    return len(name) == 3 and name[0] == "C" and name[1:].isdigit()


def _middle(errors: np.ndarray | None) -> float:
    """The median of the seeds; 0, so no bar, where there is none."""
    finite = np.zeros(0) if errors is None else errors[np.isfinite(errors)]
    return float(np.median(finite)) if finite.size else 0.0


def _mark_bar(axes: Axes, place: float, errors: np.ndarray, colour: str, *, digits: int | None) -> None:
    """The seeds of a bar and its number; a cross where the reference has a value and the potential has none."""
    values = errors[np.isfinite(errors)]
    if not values.size:
        axes.plot([place], [0.0], "x", color=colour, markersize=6, markeredgewidth=1.6, zorder=5)
        return
    height, ends = _middle(values), (float(values.min()), float(values.max()))
    if values.size > 1:
        axes.plot([place, place], ends, color=REFERENCE, linewidth=1.0, zorder=4)
        axes.plot([place] * values.size, values, ".", color=REFERENCE, markersize=3, zorder=4)
    if digits is not None:
        above = height >= 0
        # Beyond the bar and beyond the seeds.
        edge = max(height, ends[1]) if above else min(height, ends[0])
        axes.annotate(
            f"{round(height, digits) + 0.0:+.{digits}f}".replace("-", "−"), (place, edge),
            xytext=(0, 2.5 if above else -2.5), textcoords="offset points", ha="center",
            va="bottom" if above else "top", fontsize=8, zorder=5,
        )  # fmt: skip
