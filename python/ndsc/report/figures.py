"""Parity of the potential with its training data, and the cost of the labels, with the numbers behind both figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ndsc.label_cost import Estimate
from ndsc.report.style import (
    MODEL,
    MOST_VECTOR_POINTS,
    MUTED,
    REFERENCE,
    SECOND,
    THIRD,
    curve_id,
    new_figure,
    paper_style,
    plain,
)
from ndsc.report.text import estimated, seconds
from ndsc.results import CostSummary, EstimateSummary

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.fit import Predictions

FloatArray = NDArray[np.float64]

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


def parity_data(predictions: Predictions) -> DataFrame:
    """Every target of the database beside the potential's prediction.

    Returns
    -------
    DataFrame
        ``configuration``, from 0; ``config_type``; ``quantity``: ``energy_ev_per_atom``, ``force_ev_per_angstrom`` or
        ``virial_ev_per_atom``; ``atom``, from 0 in its configuration, for forces; ``component``: ``x``, or ``xy``;
        ``reference`` and ``model``, in the unit of the quantity. A missing target is an empty field.
    """
    from pandas import DataFrame, concat

    number = np.arange(len(predictions.n_atoms))
    of_atom = np.repeat(number, predictions.n_atoms)
    atom = np.arange(len(of_atom)) - np.repeat(
        np.cumsum(predictions.n_atoms) - predictions.n_atoms, predictions.n_atoms
    )
    pairs = [row + column for row in "xyz" for column in "xyz"]
    frames = [
        DataFrame(
            {
                "configuration": np.repeat(of, len(components)),
                "quantity": quantity,
                "atom": np.repeat(atoms, len(components)),
                "component": np.tile(np.array(components, dtype=object), len(of)),
                "reference": np.ravel(reference),
                "model": np.ravel(model),
            }
        )
        for quantity, of, atoms, components, reference, model in (
            ("energy_ev_per_atom", number, np.full(len(number), np.nan), [None],
             predictions.reference_energies, predictions.model_energies),
            ("force_ev_per_angstrom", of_atom, atom, list("xyz"),
             predictions.reference_forces, predictions.model_forces),
            ("virial_ev_per_atom", number, np.full(len(number), np.nan), pairs,
             predictions.reference_virials, predictions.model_virials),
        )
    ]  # fmt: skip
    table = concat(frames, ignore_index=True).sort_values("configuration", kind="stable")
    table.insert(1, "config_type", np.array(predictions.config_types, dtype=object)[table.configuration])
    return table


#: The bars of the cost figure, as they are called beside them.
COST_BARS = {
    "database": "database: {n} labels",
    "phonons of the reference": "reference's phonons: {n} labels",
    "diagonal supercell": "one calculation of {atoms} atoms",
    "diagonal supercell, as often as the database": "{n} calculations of {atoms} atoms",
}


def cost_data(cost: CostSummary) -> DataFrame:
    """The bars of the cost figure.

    Returns
    -------
    DataFrame
        ``what``; ``calculations``; ``seconds``, for the diagonal supercell an estimate between ``seconds_low`` and
        ``seconds_high``, and missing where no label has a time; ``relative_time``, over one calculation of the diagonal
        supercell, by seconds, or without them by the power of the number of atoms.
    """
    from pandas import DataFrame

    one, nothing = cost.diagonal_seconds_estimated, EstimateSummary(value=None, low=None, high=None)
    rows = [("database", cost.labels, cost.seconds, cost.seconds, cost.seconds, _value(cost.relative_time_estimated))]
    if cost.reference_phonon_labels:
        spent, relative = cost.reference_phonon_seconds, _value(cost.reference_phonon_relative_time_estimated)
        rows.append(("phonons of the reference", cost.reference_phonon_labels, spent, spent, spent, relative))
    for what, often in (("diagonal supercell", 1), ("diagonal supercell, as often as the database", cost.labels)):
        known = one or nothing
        times = [None if x is None else often * x for x in (known.value, known.low, known.high)]
        rows.append((what, often, times[0], times[1], times[2], None if cost.power is None else float(often)))
    columns = ["seconds", "seconds_low", "seconds_high", "relative_time"]
    frame = DataFrame(rows, columns=["what", "calculations", *columns]).astype(dict.fromkeys(columns, float))
    return frame[frame.seconds.notna() | frame.relative_time.notna()].reset_index(drop=True)


def cost_figure(cost: CostSummary) -> Figure:
    """Time of the labels beside that of the diagonal supercell, which is estimated; relative where no time is known.

    Parameters
    ----------
    cost : CostSummary
        With the number of atoms of the diagonal supercell.
    """
    data = cost_data(cost)
    if cost.labels == 1:
        data = data[data.what != "diagonal supercell, as often as the database"]
    timed = bool(data.seconds.notna().any())
    data = data[(data.seconds if timed else data.relative_time).notna()]
    values = (data.seconds if timed else data.relative_time).to_numpy(dtype=float)
    with paper_style():
        figure = new_figure(6.0, 0.42 * len(data) + 0.75)
        axes = figure.add_subplot()
        lowest = 10.0 ** np.floor(np.log10(0.5 * values.min()))
        colours = [MUTED if what.startswith("diagonal") else MODEL for what in data.what]
        axes.barh(range(len(data)), values - lowest, left=lowest, height=0.62, color=colours)
        ends = data.seconds_high.to_numpy(dtype=float) if timed else values
        if timed:
            spread = np.array([values - data.seconds_low, ends - values])
            wide = np.flatnonzero(spread.any(axis=0))
            axes.errorbar(values[wide], wide, xerr=spread[:, wide], fmt="none", ecolor=REFERENCE, capsize=3)
        for place, (value, end) in enumerate(zip(values, ends, strict=True)):
            note = f"{value:.3g}"
            if timed:
                rough = estimated(Estimate(value, value, value), time=True)
                note = f"about {rough}" if end > value else seconds(value)
            axes.annotate(note, (end, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9.5)
        axes.set_xscale("log")
        axes.set_xlim(lowest, 10.0 * ends.max())
        names = zip(data.what, data.calculations, strict=True)
        labels = [COST_BARS[what].format(n=number, atoms=cost.diagonal_atoms) for what, number in names]
        axes.set_yticks(range(len(data)), labels)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        power = f"atoms$^{{{cost.power:.2g}}}$" if cost.power is not None else ""
        axes.set_xlabel(
            "time (s); of the diagonal supercell estimated" if timed and not cost.diagonal_is_measured
            else "time (s)" if timed
            else f"{power}, relative to one calculation of the diagonal supercell"
        )  # fmt: skip
    return figure


def _value(found: EstimateSummary | None) -> float | None:
    return None if found is None else found.value


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
            markeredgewidth=0, zorder=2, label=plain(name.replace("_", " ")), gid=curve_id(name),
            rasterized=reference.size > MOST_VECTOR_POINTS,
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
