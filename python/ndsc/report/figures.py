"""Parity of the potential with its training data, and the errors of elastic constants (Figure 6 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ndsc.report.style import GRID, MODEL, MUTED, REFERENCE, SECOND, THIRD, new_figure, paper_style
from ndsc.results import Comparison

if TYPE_CHECKING:
    from ndsc.fit import Predictions

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Above this number, points become a picture inside the vector figure, which would otherwise be slow to open.
MOST_VECTOR_POINTS = 2000
#: Errors of elastic constants that the paper reports are within this, percent.
PAPER_ELASTIC_PERCENT = 6.0


def parity_figure(predictions: Predictions) -> Figure:
    """Model over reference for energies, force components and virial components, with the errors below.

    Parameters
    ----------
    predictions : Predictions
        Of the training data, or of any other.
    """
    kinds = list(dict.fromkeys(predictions.config_types))
    of_configuration = np.array([kinds.index(kind) for kind in predictions.config_types])
    of_atom = np.repeat(of_configuration, predictions.n_atoms)
    mean = float(np.nanmean(predictions.reference_energies))
    columns = (
        (
            "Energy", "meV per atom", 1e3,
            predictions.reference_energies - mean, predictions.model_energies - mean, of_configuration,
        ),
        (
            "Force components", "meV/Å", 1e3,
            predictions.reference_forces.ravel(), predictions.model_forces.ravel(), np.repeat(of_atom, 3),
        ),
        (
            "Virial components", "meV per atom", 1e3,
            predictions.reference_virials.ravel(), predictions.model_virials.ravel(), np.repeat(of_configuration, 9),
        ),
    )  # fmt: skip
    with paper_style():
        figure = new_figure(7.0, 3.5)
        grid = figure.add_gridspec(2, 3, height_ratios=(2.6, 1.0))
        for column, (title, unit, factor, reference, model, kind) in enumerate(columns):
            parity = figure.add_subplot(grid[0, column])
            errors = figure.add_subplot(grid[1, column])
            used = np.isfinite(reference) & np.isfinite(model)
            parity.set_title(title)
            _draw_parity(parity, factor * reference[used], factor * model[used], kind[used], kinds)
            _draw_histogram(errors, factor * (model[used] - reference[used]), unit)
            parity.set_xlabel(f"reference ({unit})")
            if column == 0:
                parity.set_ylabel("potential")
                errors.set_ylabel("count")
        if len(kinds) > 1:
            figure.axes[0].legend(loc="upper left", handletextpad=0.2, borderaxespad=0.2, fontsize=8.5)
    return figure


def elastic_figure(elastic: Mapping[str, Comparison]) -> Figure:
    """Relative errors of the elastic constants as bars, with the paper's range behind them."""
    names = [name for name, value in elastic.items() if value.error_percent is not None]
    errors = np.array([elastic[name].error_percent for name in names], dtype=float)
    with paper_style():
        figure = new_figure(max(2.6, 0.75 * len(names) + 1.2), 2.8)
        axes = figure.add_subplot()
        limit = max(1.25 * float(np.max(np.abs(errors), initial=0.0)), 1.0)
        axes.axhspan(-PAPER_ELASTIC_PERCENT, PAPER_ELASTIC_PERCENT, color=GRID, alpha=0.35, linewidth=0, zorder=0)
        axes.axhline(0.0, color=REFERENCE, linewidth=0.8)
        axes.bar(range(len(names)), errors, width=0.6, color=MODEL, zorder=2)
        for place, error in enumerate(errors):
            above = error >= 0
            axes.annotate(
                f"{error:+.2f}", (place, error), xytext=(0, 3 if above else -3), textcoords="offset points",
                ha="center", va="bottom" if above else "top", fontsize=9,
            )  # fmt: skip
        axes.set_ylim(-limit, limit)
        axes.set_xlim(-0.7, len(names) - 0.3)
        axes.set_xticks(range(len(names)), [f"${name[0]}_{{{name[1:]}}}$" for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Error (%)")
    return figure


def _draw_parity(
    axes: Axes, reference: FloatArray, model: FloatArray, kind: NDArray[np.int64], kinds: list[str]
) -> None:
    if reference.size == 0:
        axes.text(0.5, 0.5, "no such targets", transform=axes.transAxes, ha="center", color=MUTED)
        return
    low = float(min(reference.min(), model.min()))
    high = float(max(reference.max(), model.max()))
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=REFERENCE, linewidth=0.8, zorder=1)
    colours = (MODEL, SECOND, THIRD, MUTED)
    for index, name in enumerate(kinds):
        chosen = kind == index
        axes.plot(
            reference[chosen], model[chosen], ".", color=colours[index % len(colours)], markersize=4, alpha=0.6,
            markeredgewidth=0, zorder=2, label=name.replace("_", " "), rasterized=reference.size > MOST_VECTOR_POINTS,
        )  # fmt: skip
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(nbins=4)
    rmse = float(np.sqrt(np.mean((model - reference) ** 2)))
    axes.text(0.96, 0.05, f"RMSE {rmse:.3g}", transform=axes.transAxes, ha="right", fontsize=9)


def _draw_histogram(axes: Axes, errors: FloatArray, unit: str) -> None:
    if errors.size == 0:
        axes.set_axis_off()
        return
    limit = float(np.percentile(np.abs(errors), 99.5)) or 1e-12
    axes.hist(errors, bins=np.linspace(-limit, limit, 31).tolist(), color=MODEL, alpha=0.8)
    axes.axvline(0.0, color=REFERENCE, linewidth=0.8)
    axes.set_xlim(-limit, limit)
    axes.locator_params(axis="x", nbins=4)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.set_xlabel(f"error ({unit})")
