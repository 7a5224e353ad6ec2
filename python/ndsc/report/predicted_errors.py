"""True errors over the number of labels, beside those that the labels predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ndsc.errors import InputError
from ndsc.report.learning_curve import plain_log_ticks
from ndsc.report.style import SERIES, new_figure, paper_style, plain

if TYPE_CHECKING:
    from pandas import DataFrame

#: Errors with the name of their axis, one row of panels each.
ERRORS = {"rmse_thz": "Phonon RMSE (THz)", "elastic_percent": "Largest elastic error (%)"}
#: The columns of :func:`predicted_errors_figure`: one fit a row.
COLUMNS = ("run", "series", "labels", "seed", *(f"{kind}{error}" for error in ERRORS for kind in ("", "predicted_")))
_MARKERS = "osD^vP"


def predicted_errors_figure(fits: DataFrame) -> Figure:
    """Draw true and predicted errors over the number of labels: a column a run, a row a kind of error.

    Lines are medians over the seeds, solid for true and dashed for predicted errors; the middle half of the true ones
    is shaded.

    Parameters
    ----------
    fits : DataFrame
        :data:`COLUMNS`; what could not be computed is NaN.

    Raises
    ------
    InputError
        When there is no error to draw.
    """
    shown = [error for error in ERRORS if fits[error].notna().any()]
    if not shown:
        raise InputError("There are no errors to draw over the number of labels. Give at least one fit with them.")
    runs, names = (list(fits[column].unique()) for column in ("run", "series"))
    with paper_style():
        figure = new_figure(max(3.6, 1.9 * len(runs) + 0.6), 2.3 * len(shown) + 0.7)
        panels = figure.subplots(len(shown), len(runs), squeeze=False, sharex=True)
        for row, error in enumerate(shown):
            for column, run in enumerate(runs):
                axes = panels[row, column]
                for number, name in enumerate(names):
                    _draw(axes, fits[(fits.run == run) & (fits.series == name)], error, number)
                axes.set_yscale("log")
                axes.set_ylim(_limits(fits[fits.run == run], error))
                plain_log_ticks(axes)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
                if row == 0:
                    axes.set_title(plain(str(run)))
                if row == len(shown) - 1:
                    axes.set_xlabel("labels")
            panels[row, 0].set_ylabel(ERRORS[error])
        handles = [Line2D([], [], label=plain(name), **_look(number)) for number, name in enumerate(names)]
        handles.append(Line2D([], [], color="0.3", linestyle="--", linewidth=1.2, label="predicted"))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))
    return figure


def predicted_errors_summary(fits: DataFrame) -> DataFrame:
    """Medians of true and predicted errors over the seeds of each point, those without an error as the largest."""
    found = fits.fillna(dict.fromkeys(COLUMNS[4:], np.inf)).groupby(["run", "series", "labels"], sort=False)
    medians = found[list(COLUMNS[4:])].median().reset_index()
    return medians.replace(np.inf, np.nan)


def _limits(fits: DataFrame, error: str) -> tuple[float, float]:
    values = fits[[error, f"predicted_{error}"]].to_numpy(dtype=float)
    known = values[np.isfinite(values) & (values > 0)]
    return (float(known.min()) / 1.3, float(known.max()) * 1.3) if len(known) else (0.01, 1.0)


def _look(number: int) -> dict[str, Any]:
    marker = _MARKERS[number % len(_MARKERS)]
    return {"color": SERIES[number % len(SERIES)], "marker": marker, "linewidth": 1.4, "markersize": 4.0}


def _draw(axes: Axes, fits: DataFrame, error: str, number: int) -> None:
    if fits.empty:
        return
    points = fits.fillna({error: np.inf}).groupby("labels")[error]
    low, high = points.quantile(0.25), points.quantile(0.75)
    look = _look(number)
    middle = points.median().replace(np.inf, np.nan)
    if (points.size() > 1).any():
        axes.fill_between(low.index, low, high.replace(np.inf, 1e6), color=look["color"], alpha=0.18, linewidth=0)
    axes.plot(middle.index, middle, zorder=3, **look)
    predicted = fits.groupby("labels")[f"predicted_{error}"].median()
    axes.plot(predicted.index, predicted, color=look["color"], linestyle="--", linewidth=1.2, zorder=4)
