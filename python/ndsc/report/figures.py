"""Parity of the potential with its training data, errors of elastic constants (the paper's Figure 6), and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ndsc.report.published import PAPER_ELASTIC_PERCENT
from ndsc.report.style import MODEL, MUTED, REFERENCE, SECOND, THIRD, new_figure, paper_style
from ndsc.results import Comparison, CostSummary

if TYPE_CHECKING:
    from ndsc.fit import Predictions

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Above this number, points become a picture inside the vector figure, which would otherwise be slow to open.
MOST_VECTOR_POINTS = 2000
#: More kinds of configurations than there are colours to tell them apart are drawn as one.
MOST_KINDS = 4


def parity_figure(predictions: Predictions) -> Figure:
    """Model over reference for energies, force components and virial components, with the errors below.

    Parameters
    ----------
    predictions : Predictions
        Of the training data, or of any other.
    """
    kinds = _kinds(predictions.config_types)
    of_configuration = np.array([kinds.index(kind) if kind in kinds else 0 for kind in predictions.config_types])
    of_atom = np.repeat(of_configuration, predictions.n_atoms)
    energies = predictions.reference_energies[np.isfinite(predictions.reference_energies)]
    mean = float(energies.mean()) if energies.size else 0.0
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
            lost = int(np.sum(np.isfinite(reference) & ~np.isfinite(model)))
            if lost:
                parity.text(0.5, 0.5, f"{lost} not finite", transform=parity.transAxes, ha="center", color=SECOND)
            parity.set_xlabel(f"reference ({unit})")
            for axes in (parity, errors):
                # By their baselines, or the ring of the Å would push one label below the others.
                axes.xaxis.label.set_verticalalignment("baseline")
                axes.xaxis.labelpad = 11
            if column == 0:
                parity.set_ylabel("potential")
                errors.set_ylabel("count")
        drawn = [axes for axes in figure.axes[::2] if axes.get_legend_handles_labels()[0]]
        if len(kinds) > 1 and drawn:
            drawn[0].legend(loc="upper left", handletextpad=0.2, borderaxespad=0.2, fontsize=8.5)
    return figure


def elastic_figure(elastic: Mapping[str, Comparison]) -> Figure:
    """Relative errors of the elastic constants as bars; one that has no finite value is marked, not left out.

    Parameters
    ----------
    elastic : mapping of name to Comparison, GPa
        ``{"C11": …}``; constants whose reference is zero or missing have no relative error and no bar.
    """
    names = [name for name, value in elastic.items() if value.reference]
    errors = np.array([_percent(elastic[name]) for name in names], dtype=float)
    with paper_style():
        figure = new_figure(max(3.0, 0.7 * len(names) + 1.2), 2.8)
        axes = figure.add_subplot()
        finite = errors[np.isfinite(errors)]
        limit = max(1.25 * float(np.max(np.abs(finite), initial=0.0)), 1.0)
        axes.axhline(0.0, color=REFERENCE, linewidth=0.8)
        axes.bar(range(len(names)), np.nan_to_num(errors), width=0.6, color=MODEL, zorder=2)
        for place, error in enumerate(errors):
            missing = not np.isfinite(error)
            above = missing or error >= 0
            axes.annotate(
                "no value" if missing else f"{error:+.2f}".replace("-", "−"), (place, 0.0 if missing else error),
                xytext=(0, 3 if above else -3), textcoords="offset points", ha="center",
                va="bottom" if above else "top", fontsize=9, color=SECOND if missing else REFERENCE,
            )  # fmt: skip
        if limit > PAPER_ELASTIC_PERCENT:
            for edge in (-PAPER_ELASTIC_PERCENT, PAPER_ELASTIC_PERCENT):
                axes.axhline(edge, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.set_ylim(-limit, limit)
        axes.set_xlim(-0.7, len(names) - 0.3)
        axes.set_xticks(range(len(names)), [f"${name[0]}_{{{name[1:]}}}$" for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Relative error (%)")
    return figure


def cost_figure(cost: CostSummary) -> Figure:
    """Cost of the labels beside the diagonal supercell's, as atoms³ relative to one calculation of it.

    Parameters
    ----------
    cost : CostSummary
        With the number of atoms of the diagonal supercell.
    """
    one = float(cost.diagonal_atoms) ** 3
    rows = [(f"database: {cost.labels} labels", (cost.atoms_cubed or 0.0) / one, MODEL)]
    if cost.reference_phonon_atoms_cubed is not None:
        share = cost.reference_phonon_atoms_cubed / one
        rows.append((f"reference's phonons: {cost.reference_phonon_labels} labels", share, MODEL))
    rows.append((f"one calculation of {cost.diagonal_atoms} atoms", 1.0, MUTED))
    if cost.labels > 1:
        rows.append((f"{cost.labels} calculations of {cost.diagonal_atoms} atoms", float(cost.labels), MUTED))
    places = range(len(rows))
    values = [max(value, 1e-12) for _, value, _ in rows]
    with paper_style():
        figure = new_figure(6.0, 0.42 * len(rows) + 0.75)
        axes = figure.add_subplot()
        lowest = 10.0 ** np.floor(np.log10(0.5 * min(values)))
        axes.barh(
            places, [value - lowest for value in values], left=lowest, height=0.62,
            color=[colour for _, _, colour in rows],
        )  # fmt: skip
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{value:.3g}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9.5
            )
        axes.axvline(1.0, color=REFERENCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.set_xscale("log")
        axes.set_xlim(lowest, 6.0 * max(values))
        axes.set_yticks(places, [name for name, _, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlabel("atoms³, relative to one calculation of the diagonal supercell")
    return figure


def _percent(value: Comparison) -> float:
    return float("nan") if value.error_percent is None else value.error_percent


def _kinds(config_types: Sequence[str]) -> list[str]:
    """The kinds of configurations, most frequent first, so that rare ones are drawn on top; one name if too many."""
    counted = [kind for kind, _ in Counter(config_types).most_common()]
    return counted if len(counted) <= MOST_KINDS else ["all"]


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
            reference[chosen], model[chosen], "o", color=colours[index % len(colours)], markersize=3.6, alpha=0.55,
            markeredgewidth=0, zorder=2, label=name.replace("_", " "), rasterized=reference.size > MOST_VECTOR_POINTS,
        )  # fmt: skip
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(nbins=4)
    rmse = float(np.sqrt(np.mean((model - reference) ** 2)))
    axes.text(0.96, 0.05, f"RMSE {rmse:#.3g}", transform=axes.transAxes, ha="right", fontsize=9)


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
