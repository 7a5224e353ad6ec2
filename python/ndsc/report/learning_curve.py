"""The phonon error over what a database costs, log-log, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.report.dispersion import thz
from ndsc.report.panels import LearningPoint
from ndsc.report.style import MUTED, SERIES, new_figure, paper_style
from ndsc.report.tidy import DataTable

FloatArray = NDArray[np.float64]

#: Quantities that an error can be drawn over, with the axis's name.
COSTS = {"labels": "labels", "atoms": "labelled atoms", "seconds": "time of the labels (s)"}
_MARKERS = "osD^vP"
#: Half of the seeds lie between these percentiles.
_QUARTILES = (25.0, 50.0, 75.0)


def learning_curve_figure(
    series: Mapping[str, Sequence[LearningPoint]],
    *,
    over: Sequence[str] = ("labels", "atoms", "seconds"),
    baseline_thz: float | None = None,
    baseline_label: str = "harmonic model",
) -> Figure:
    """Draw the phonon error over labels, atoms and seconds, log-log: every seed, their median, and the middle half.

    A fit without finite phonons counts as the worst of its seeds. Where that is the median, the line has a gap, and a
    cross at the top edge.

    Parameters
    ----------
    series : mapping of str to sequence of LearningPoint
        Fits by the name of the series; those with the same number of labels are seeds of one point.
    over : names out of ``labels``, ``atoms``, ``seconds``
        One panel each; a quantity that no fit knows has none.
    baseline_thz : float, THz, optional
        Error of a simpler model, as a line.
    baseline_label : str

    Raises
    ------
    InputError
        When there is no fit, or a name in `over` is unknown.
    """
    unknown = [name for name in over if name not in COSTS]
    if unknown:
        raise InputError(f"Errors cannot be drawn over {unknown[0]}. Choose from {', '.join(COSTS)}.")
    filled = {name: list(points) for name, points in series.items() if points}
    shown = [name for name in over if any(_known(point, name) for points in filled.values() for point in points)]
    if not shown:
        raise InputError("There is no learning curve to draw. Give at least one fit with its number of labels.")
    baseline = baseline_thz if baseline_thz is not None and np.isfinite(baseline_thz) else None
    with paper_style():
        figure = new_figure(max(3.6, 2.4 * len(shown) + 0.5), 3.2)
        panels = [figure.add_subplot(1, len(shown), index + 1) for index in range(len(shown))]
        for axes, name in zip(panels, shown, strict=True):
            for number, points in enumerate(filled.values()):
                _draw_series(axes, points, name, number)
            if baseline is not None:
                axes.axhline(baseline, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
            axes.set_xlabel(COSTS[name])
            axes.set_xscale("log")
            axes.set_yscale("log")
        limits = _limits(filled, baseline)
        for axes in panels:
            axes.set_ylim(limits)
            plain_log_ticks(axes)
            axes.tick_params(axis="y", labelleft=axes is panels[0], which="both")
        panels[0].set_ylabel("Phonon RMSE (THz)")
        handles = [_entry(number, name) for number, name in enumerate(filled)]
        if baseline is not None:
            label = f"{baseline_label}, {thz(baseline)}"
            handles.append(Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=label))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 3 if len(shown) > 1 else 1))
    return figure


def learning_curve_data(series: Mapping[str, Sequence[LearningPoint]]) -> dict[str, DataTable]:
    """Every fit, and under ``median`` the summary over seeds.

    Returns
    -------
    dict of str to DataTable
        ``""``: ``series``, ``labels``, ``atoms``, ``seconds``, ``seed``, ``rmse_mesh_thz``. ``median``: ``series``,
        ``labels``, ``atoms`` and ``seconds`` (medians), ``seeds``, ``failed`` (without finite phonons) and
        ``rmse_mesh_thz`` as ``median``, ``lower_quartile``, ``upper_quartile``, ``best`` and ``worst``.
    """
    fits = [
        (name, point.labels, point.atoms, point.seconds, point.seed, point.rmse_thz)
        for name, points in series.items()
        for point in points
    ]
    medians = [(name, *row) for name, points in series.items() for row in _summary(points)]
    summary = (
        "series", "labels", "atoms", "seconds", "seeds", "failed", "rmse_median_thz", "rmse_lower_quartile_thz",
        "rmse_upper_quartile_thz", "rmse_best_thz", "rmse_worst_thz",
    )  # fmt: skip
    return {
        "": DataTable.from_rows(("series", "labels", "atoms", "seconds", "seed", "rmse_mesh_thz"), fits),
        "median": DataTable.from_rows(summary, medians),
    }


def plain_log_ticks(axes: Axes) -> None:
    """Ticks of logarithmic axes at 1, 2 and 5 with plain numbers, thinned out where there are many."""
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = (float(np.log10(edge)) for edge in limits)
        decades = np.arange(np.floor(low), np.ceil(high) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            ticks = [digit * 10.0**decade for decade in decades for digit in digits]
            ticks = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
            if len(ticks) <= 6:
                break
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _groups(points: Sequence[LearningPoint]) -> list[list[LearningPoint]]:
    """Seeds of one number of labels, by that number."""
    by_labels: dict[int, list[LearningPoint]] = {}
    for point in points:
        by_labels.setdefault(point.labels, []).append(point)
    return [by_labels[labels] for labels in sorted(by_labels)]


def _errors(group: Sequence[LearningPoint]) -> FloatArray:
    """(seeds,) array, THz : what is not finite is infinite, and so the worst."""
    errors = np.array([point.rmse_thz for point in group], dtype=float)
    return np.where(np.isfinite(errors), errors, np.inf)


def _quartiles(errors: FloatArray) -> tuple[float, float, float]:
    """Percentiles of seeds of which some may be infinite: the interpolation must not turn these into NaN."""
    if np.isfinite(errors).all():
        low, middle, high = np.percentile(errors, _QUARTILES)
    else:
        low, middle, high = np.percentile(errors, _QUARTILES, method="higher")
    return float(low), float(middle), float(high)


def _median(group: Sequence[LearningPoint], name: str) -> float | None:
    known = [float(getattr(point, name)) for point in group if _known(point, name)]
    return float(np.median(known)) if known else None


def _known(point: LearningPoint, name: str) -> bool:
    value = getattr(point, name)
    return value is not None and bool(np.isfinite(value)) and value > 0


def _summary(points: Sequence[LearningPoint]) -> list[tuple[float | int | None, ...]]:
    rows: list[tuple[float | int | None, ...]] = []
    for group in _groups(points):
        errors = _errors(group)
        low, middle, high = _quartiles(errors)
        failed = int(np.sum(~np.isfinite(errors)))
        cost = (group[0].labels, _median(group, "atoms"), _median(group, "seconds"))
        rows.append((*cost, len(group), failed, middle, low, high, float(errors.min()), float(errors.max())))
    return rows


def _draw_series(axes: Axes, points: Sequence[LearningPoint], over: str, number: int) -> None:
    colour, marker = SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)]
    groups = [group for group in _groups(points) if _median(group, over) is not None]
    x = np.array([_median(group, over) for group in groups], dtype=float)
    quartiles = np.array([_quartiles(_errors(group)) for group in groups], dtype=float).reshape(-1, 3)
    if any(len(group) > 1 for group in groups):
        for group in groups:
            drawn = [point for point in group if _known(point, over) and np.isfinite(point.rmse_thz)]
            axes.plot(
                [getattr(point, over) for point in drawn], [point.rmse_thz for point in drawn], ".",
                color=colour, markersize=3.5, alpha=0.4, markeredgewidth=0, zorder=2,
            )  # fmt: skip
        low, high = (np.where(np.isfinite(edge), edge, 1e6) for edge in (quartiles[:, 0], quartiles[:, 2]))
        axes.fill_between(x, low, high, where=np.isfinite(quartiles[:, 1]), color=colour, alpha=0.18, linewidth=0)
    middle = np.where(np.isfinite(quartiles[:, 1]), quartiles[:, 1], np.nan)
    axes.plot(x, middle, marker=marker, color=colour, linewidth=1.4, markersize=4.5, zorder=3)
    lost = x[~np.isfinite(middle)]
    axes.plot(
        lost, np.full(len(lost), 0.97), "x", color=colour, markersize=5, transform=axes.get_xaxis_transform(), zorder=4
    )


def _limits(series: Mapping[str, Sequence[LearningPoint]], baseline: float | None) -> tuple[float, float]:
    errors = [point.rmse_thz for points in series.values() for point in points]
    errors += [] if baseline is None else [baseline]
    finite = [error for error in errors if np.isfinite(error) and error > 0]
    return (min(finite) / 1.4, max(finite) * 1.5) if finite else (0.01, 1.0)


def _entry(number: int, name: str) -> Line2D:
    colour, marker = SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)]
    return Line2D([], [], color=colour, marker=marker, linewidth=1.4, markersize=4.5, label=name)
