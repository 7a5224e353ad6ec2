"""Phonons of potentials of growing databases, in rows, with bars of what each was fitted to (the paper's Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ndsc.errors import InputError
from ndsc.report.bands import draw_panel, frequency_limits, handle, lines_of
from ndsc.report.panels import LearningStep
from ndsc.report.style import MODEL, THIRD, new_figure, paper_style
from ndsc.report.tidy import DataTable

#: What the bars of Figure 4 show, with their colours: those of the paper.
_BARS = (("labels", MODEL), ("sparse points", "#E69F00"), ("RMSE (THz)", THIRD))


def learning_dispersion_figure(
    left: Sequence[LearningStep],
    right: Sequence[LearningStep] = (),
    *,
    left_title: str = "",
    right_title: str = "",
) -> Figure:
    """Draw dispersions in rows, the database growing downwards, with bars of labels, sparse points and RMSE (Figure 4).

    Parameters
    ----------
    left, right : sequences of LearningStep
        Two ways to choose the sparse points, with the same labels in each row; `right` may be empty.
    left_title, right_title : str

    Raises
    ------
    InputError
        When there is no row, or the columns have different labels.
    """
    if not left:
        raise InputError("There is no learning curve to draw. Give at least one step.")
    if right and [step.labels for step in left] != [step.labels for step in right]:
        raise InputError(
            f"The rows of the learning figure differ: {[step.labels for step in left]} labels on the left, "
            f"{[step.labels for step in right]} on the right. Give the same databases in the same order."
        )
    sides = [left, right] if right else [left]
    limits = frequency_limits([step.panel for side in sides for step in side])
    with paper_style():
        figure = new_figure(7.2 if right else 4.8, 1.35 * len(left) + 0.75)
        grid = figure.add_gridspec(
            len(left), 3 if right else 2, width_ratios=(1.0, 0.95, 1.0) if right else (1.0, 0.55)
        )
        for side, steps in enumerate(sides):
            for row, step in enumerate(steps):
                axes = figure.add_subplot(grid[row, 2 * side])
                draw_panel(axes, step.panel, limits)
                axes.locator_params(axis="y", nbins=4)
                axes.tick_params(axis="x", labelbottom=row == len(steps) - 1)
                axes.tick_params(axis="y", labelleft=side == 0, labelright=side == 1)
                if row == 0:
                    axes.set_title(right_title if side else left_title)
        for row in range(len(left)):
            axes = figure.add_subplot(grid[row, 1])
            _draw_bars(axes, [side[row] for side in sides], sides, first=row == 0)
        figure.supylabel("Frequency (THz)", fontsize=10.5)
        handles = [handle(line, curves.name) for curves, line in lines_of(left[0].panel)]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def learning_dispersion_data(
    left: Sequence[LearningStep], right: Sequence[LearningStep] = (), *, left_title: str = "left",
    right_title: str = "right",
) -> DataTable:  # fmt: skip
    """The bars of the learning figure: ``column``, ``labels``, ``sparse_points``, ``rmse_mesh_thz``."""
    rows = [
        (title, step.labels, step.sparse_points, step.rmse_thz)
        for title, steps in ((left_title, left), (right_title, right))
        for step in steps
    ]
    return DataTable.from_rows(("column", "labels", "sparse_points", "rmse_mesh_thz"), rows)


def _draw_bars(axes: Axes, steps: Sequence[LearningStep], sides: Sequence[Sequence[LearningStep]], first: bool) -> None:
    """Bars of one row that grow outwards, each kind on the scale of its largest."""
    everything = [_numbers(step) for side in sides for step in side]
    largest = np.nanmax(np.where(np.isfinite(everything), everything, np.nan), axis=0, initial=1e-300)
    two = len(steps) == 2
    for side, step in enumerate(steps):
        sign = -1.0 if two and side == 0 else 1.0
        for place, (value, most, (_, colour)) in enumerate(zip(_numbers(step), largest, _BARS, strict=True)):
            length = sign * (value / most if np.isfinite(value) else 0.0)
            axes.barh(place, length, height=0.72, color=colour, zorder=2)
            text = (f"{value:.0f}" if place < 2 else f"{value:#.2g}") if np.isfinite(value) else "not finite"
            axes.annotate(
                text, (length, place), xytext=(3 * sign, 0), textcoords="offset points", va="center",
                ha="right" if sign < 0 else "left", fontsize=8.5,
            )  # fmt: skip
    axes.axvline(0.0, color="black", linewidth=0.8, zorder=3)
    # Room for the number beside the longest bar.
    axes.set_xlim(-1.62 if two else 0.0, 1.62)
    axes.set_ylim(2.6, -0.6)
    axes.set_axis_off()
    if first:
        for place, (name, colour) in enumerate(_BARS):
            axes.text(
                0.5, 1.38 - 0.17 * place, name, transform=axes.transAxes, ha="center", va="bottom", fontsize=8.5,
                color=colour, weight="bold",
            )  # fmt: skip


def _numbers(step: LearningStep) -> tuple[float, float, float]:
    return float(step.labels), float(step.sparse_points), step.rmse_thz
