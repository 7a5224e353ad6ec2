"""Relative errors of elastic constants, of several crystals or of several potentials (the paper's Figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.report.published import PAPER_ELASTIC_PERCENT
from ndsc.report.style import MUTED, REFERENCE, SERIES, new_figure, paper_style
from ndsc.report.tidy import DataTable
from ndsc.results import Comparison

FloatArray = NDArray[np.float64]

#: Constants of one potential of one crystal, or of several seeds of it.
Constants = Mapping[str, Comparison] | Sequence[Mapping[str, Comparison]]
#: Width of the bars of one constant together, of the distance to the next constant.
_GROUP = 0.82


def elastic_errors_figure(series: Mapping[str, Constants], *, numbers: bool | None = None) -> Figure:
    """Draw the errors of elastic constants relative to the reference, as grouped bars (Figures 6 and 7).

    With several seeds a bar is their median and a line from the lowest to the highest. A constant that the reference
    has and the potential has not is marked with a cross; one that the reference lacks, or that is zero, has no bar.

    Parameters
    ----------
    series : mapping of str to (mapping of str to Comparison), or to a sequence of these
        By crystal, or by potential; one mapping a seed. Constants in GPa, in any selection: ``{"C11": …}``.
    numbers : bool, optional
        Write the error at each bar; without it, where there are at most two series.

    Raises
    ------
    InputError
        When no constant has a reference.
    """
    names = constant_names(series)
    if not names:
        raise InputError("There are no elastic constants to compare. Give at least one with a reference that is not 0.")
    written = len(series) <= 2 if numbers is None else numbers
    errors = {name: _errors(constants, names) for name, constants in series.items()}
    with paper_style():
        per_constant = 0.3 * len(series) + 0.25 + (0.15 * len(series) if written else 0.0)
        figure = new_figure(float(np.clip(per_constant * len(names) + 0.8, 3.5, 7.2)), 2.9)
        axes = figure.add_subplot()
        drawn = [seeds[np.isfinite(seeds)] for seeds in errors.values()]
        limit = max(1.3 * float(np.max(np.abs(np.concatenate(drawn)), initial=0.0)), 1.0)
        axes.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=3)
        if limit > PAPER_ELASTIC_PERCENT:
            for edge in (-PAPER_ELASTIC_PERCENT, PAPER_ELASTIC_PERCENT):
                axes.axhline(edge, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        width = _GROUP / len(series)
        for index, (name, constants) in enumerate(series.items()):
            places = np.arange(len(names), dtype=float) + (index - (len(series) - 1) / 2) * width
            _draw_bars(axes, places, errors[name], SERIES[index % len(SERIES)], width, name, numbers=written)
            _draw_missing(axes, places, constants, names, SERIES[index % len(SERIES)])
        axes.set_ylim(-limit, limit)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_xticks(range(len(names)), [constant_label(name) for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Relative error (%)")
        if len(series) > 1:
            figure.legend(loc="outside upper center", ncols=min(len(series), 4), columnspacing=1.2, handlelength=1.2)
    return figure


def elastic_errors_data(series: Mapping[str, Constants]) -> DataTable:
    """Constants: ``series``, ``seed`` from 0, ``constant``, ``model_gpa``, ``reference_gpa``, ``error_percent``."""
    rows = [
        (name, seed, constant, value.model, value.reference, value.error_percent)
        for name, constants in series.items()
        for seed, values in enumerate(_seeds(constants))
        for constant, value in values.items()
    ]
    return DataTable.from_rows(("series", "seed", "constant", "model_gpa", "reference_gpa", "error_percent"), rows)


def constant_names(series: Mapping[str, Constants]) -> list[str]:
    """Constants that have a reference anywhere: ``C11``, ``C12``, … in order, averages before them."""
    found = {
        name: None
        for constants in series.values()
        for values in _seeds(constants)
        for name, value in values.items()
        if value.reference
    }
    return sorted(found, key=lambda name: (_is_constant(name), name if _is_constant(name) else ""))


def constant_label(name: str) -> str:
    """``C11`` with its indices as a subscript, ``B`` in italics; any other name as it is."""
    if _is_constant(name):
        return f"${name[0]}_{{{name[1:]}}}$"
    return f"${name}$" if len(name) == 1 else name.replace("_", " ")


def _is_constant(name: str) -> bool:
    return len(name) == 3 and name[0] == "C" and name[1:].isdigit()


def _seeds(constants: Constants) -> list[Mapping[str, Comparison]]:
    return [constants] if isinstance(constants, Mapping) else list(constants)


def _errors(constants: Constants, names: Sequence[str]) -> FloatArray:
    """(seeds, constants) array, percent : NaN where there is none."""
    seeds = _seeds(constants)
    errors = np.full((len(seeds), len(names)), np.nan)
    for row, values in enumerate(seeds):
        for column, name in enumerate(names):
            value = values.get(name)
            if value is not None and value.error_percent is not None:
                errors[row, column] = value.error_percent
    return errors


def _draw_bars(
    axes: Axes, places: FloatArray,
    errors: FloatArray, colour: str, width: float, label: str, *, numbers: bool,
) -> None:  # fmt: skip
    known = [column[np.isfinite(column)] for column in errors.T]
    heights = [float(np.median(values)) if values.size else 0.0 for values in known]
    axes.bar(places, heights, width=0.9 * width, color=colour, label=label, zorder=2)
    for place, values, height in zip(places, known, heights, strict=True):
        if not values.size:
            continue
        ends = (float(values.min()), float(values.max()))
        if values.size > 1:
            axes.plot([place, place], ends, color=REFERENCE, linewidth=1.0, zorder=4)
            axes.plot([place] * values.size, values, ".", color=REFERENCE, markersize=3, zorder=4)
        if numbers:
            above = height >= 0
            # Beyond the bar and beyond the seeds.
            edge = max(height, ends[1]) if above else min(height, ends[0])
            text = f"{round(height, 1) + 0.0:+.1f}".replace("-", "−")
            axes.annotate(
                text, (float(place), edge), xytext=(0, 2.5 if above else -2.5),
                textcoords="offset points", ha="center", va="bottom" if above else "top", fontsize=8, zorder=5,
            )  # fmt: skip


def _draw_missing(
    axes: Axes, places: FloatArray, constants: Constants, names: Sequence[str],
    colour: str,
) -> None:  # fmt: skip
    """A cross where the reference has a value and no seed of the potential has one."""
    for place, name in zip(places, names, strict=True):
        values = [seed[name] for seed in _seeds(constants) if name in seed]
        if any(value.reference for value in values) and all(value.error_percent is None for value in values):
            axes.plot([float(place)], [0.0], "x", color=colour, markersize=6, markeredgewidth=1.6, zorder=5)
