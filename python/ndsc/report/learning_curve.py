"""The phonon error over what a database costs, log-log, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ndsc.errors import InputError
from ndsc.report.style import SERIES, curve_id, new_figure, paper_style, plain

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: Quantities that an error can be drawn over, with the axis's name.
COSTS = {"labels": "labels", "atoms": "labelled atoms", "seconds": "time of the labels (s)"}
#: The columns of a learning curve: one fit a row.
COLUMNS = ("series", *COSTS, "seed", "rmse_mesh_thz")
_MARKERS = "osD^vP"


def learning_curve_figure(fits: DataFrame, *, over: Sequence[str] = tuple(COSTS)) -> Figure:
    """Draw the phonon error over labels, atoms and seconds, log-log: every seed, their median, and the middle half.

    A fit without finite phonons counts as the worst of its seeds. Where that is the median, the line has a gap, and a
    cross at the top edge.

    Parameters
    ----------
    fits : DataFrame
        ``series``, ``labels``, ``atoms``, ``seconds``, ``seed``, ``rmse_mesh_thz``; fits of a series with the same
        number of labels are seeds of one point.
    over : names out of ``labels``, ``atoms``, ``seconds``
        One panel each; a quantity that no fit knows has none.

    Raises
    ------
    InputError
        When there is no fit, or a name in `over` is unknown.
    """
    unknown = [name for name in over if name not in COSTS]
    if unknown:
        raise InputError(f"Errors cannot be drawn over {unknown[0]}. Choose from {', '.join(COSTS)}.")
    shown = [name for name in over if (fits[name] > 0).any()]
    if not shown:
        raise InputError("There is no learning curve to draw. Give at least one fit with its number of labels.")
    summary = learning_curve_summary(fits)
    names = list(fits["series"].unique())
    errors = fits.rmse_mesh_thz[np.isfinite(fits.rmse_mesh_thz) & (fits.rmse_mesh_thz > 0)]
    limits = (errors.min() / 1.4, errors.max() * 1.5) if len(errors) else (0.01, 1.0)
    with paper_style():
        figure = new_figure(max(3.6, 2.4 * len(shown) + 0.5), 3.2)
        for index, quantity in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), index + 1)
            for number, name in enumerate(names):
                of_series = fits["series"] == name
                _draw_series(axes, fits[of_series], summary[summary["series"] == name], quantity, number)
            axes.set_xlabel(COSTS[quantity])
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(limits)
            plain_log_ticks(axes)
            axes.tick_params(axis="y", labelleft=index == 0, which="both")
            if index == 0:
                axes.set_ylabel("Phonon RMSE (THz)")
        handles = [Line2D([], [], label=plain(name), **_look(number)) for number, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 3 if len(shown) > 1 else 1))
    return figure


def learning_curve_summary(fits: DataFrame) -> DataFrame:
    """The seeds of each point of a learning curve together.

    Returns
    -------
    DataFrame
        ``series``, ``labels``, ``atoms`` and ``seconds`` (medians), ``seeds``, ``failed`` (without finite phonons) and
        ``rmse_median_thz``, ``rmse_lower_quartile_thz``, ``rmse_upper_quartile_thz``, ``rmse_best_thz``,
        ``rmse_worst_thz``. A failed seed is infinite, and so the worst.
    """
    errors = fits.assign(rmse=fits.rmse_mesh_thz.where(np.isfinite(fits.rmse_mesh_thz), np.inf))
    points = errors.groupby(["series", "labels"], sort=False)
    return points.agg(
        atoms=("atoms", "median"),
        seconds=("seconds", "median"),
        seeds=("rmse", "size"),
        failed=("rmse", lambda rmse: int(np.isinf(rmse).sum())),
        rmse_median_thz=("rmse", lambda rmse: _percentile(rmse, 50.0)),
        rmse_lower_quartile_thz=("rmse", lambda rmse: _percentile(rmse, 25.0)),
        rmse_upper_quartile_thz=("rmse", lambda rmse: _percentile(rmse, 75.0)),
        rmse_best_thz=("rmse", "min"),
        rmse_worst_thz=("rmse", "max"),
    ).reset_index()


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


def _percentile(errors: Series[float], percent: float) -> float:
    """A percentile of seeds of which some may be infinite: the interpolation must not turn these into NaN."""
    method = "linear" if np.isfinite(errors).all() else "higher"
    return float(np.percentile(errors, percent, method=method))  # type: ignore[call-overload]


def _look(number: int) -> dict[str, Any]:
    colour, marker = SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)]
    return {"color": colour, "marker": marker, "linewidth": 1.4, "markersize": 4.5}


def _draw_series(axes: Axes, fits: DataFrame, points: DataFrame, over: str, number: int) -> None:
    look, points = _look(number), points[points[over] > 0].sort_values("labels")
    gid = curve_id(str(fits["series"].iloc[0]))
    x, middle = points[over].to_numpy(dtype=float), points.rmse_median_thz.to_numpy(dtype=float)
    finite = np.isfinite(middle)
    if (points.seeds > 1).any():
        drawn = fits[(fits[over] > 0) & np.isfinite(fits.rmse_mesh_thz)]
        axes.plot(
            drawn[over], drawn.rmse_mesh_thz, ".",
            color=look["color"], markersize=3.5, alpha=0.4, markeredgewidth=0, zorder=2, gid=gid,
        )  # fmt: skip
        low, high = (
            points[f"rmse_{edge}_quartile_thz"].replace(np.inf, 1e6).to_numpy(dtype=float)
            for edge in ("lower", "upper")
        )
        axes.fill_between(x, low, high, where=finite, color=look["color"], alpha=0.18, linewidth=0, gid=gid)
    axes.plot(x, np.where(finite, middle, np.nan), zorder=3, gid=gid, **look)
    lost, top = x[~finite], axes.get_xaxis_transform()
    axes.plot(lost, np.full(len(lost), 0.97), "x", color=look["color"], markersize=5, transform=top, zorder=4)
