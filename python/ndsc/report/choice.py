"""The choice of labels: expected errors while labels are added, beside the true ones where there is a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ndsc.report import text
from ndsc.report.style import MODEL, MUTED, SECOND, curve_id, new_figure, paper_style
from ndsc.report.tables import NOTHING
from ndsc.results import Results, SelectionSummary

if TYPE_CHECKING:
    from pandas import DataFrame

#: The quantities of a choice: column, goal, true error, axis.
_PANELS = (
    ("predicted_rmse_thz", "target_thz", "true_rmse_thz", "Phonons, RMSE (THz)"),
    ("predicted_elastic_percent", "target_elastic_percent", "true_elastic_percent", "Elastic constants (%)"),
)


def true_errors(results: Results) -> dict[str, float | None]:
    """``true_rmse_thz`` and ``true_elastic_percent`` of a run, as they are predicted; None without a reference."""
    return {
        "true_rmse_thz": None if results.phonons is None else results.phonons.rmse_mesh_thz,
        "true_elastic_percent": results.largest_elastic_percent,
    }


def choice_data(results: Results) -> DataFrame:
    """What was expected after each batch, one a row.

    Returns
    -------
    DataFrame
        ``labels``, ``seconds``, ``predicted_rmse_thz``, ``predicted_elastic_percent``, ``target_thz``,
        ``target_elastic_percent``, and in the last row, where there is a reference, ``true_rmse_thz`` and
        ``true_elastic_percent``.
    """
    from pandas import DataFrame

    chosen = results.selection
    rows = [] if chosen is None else [step.model_dump() for step in chosen.steps]
    frame = DataFrame(rows, columns=["labels", "seconds", "predicted_rmse_thz", "predicted_elastic_percent"])
    targets = (None, None) if chosen is None else (chosen.target_thz, chosen.target_elastic_percent)
    frame = frame.assign(target_thz=targets[0], target_elastic_percent=targets[1])
    for name, value in true_errors(results).items():
        frame[name] = [*[None] * (len(frame) - 1), value][: len(frame)]
    return frame.astype({name: float for name in frame.columns if name != "labels"})


def choice_figure(data: DataFrame) -> Figure:
    """Draw expected errors over the number of labels, with the targets and the true errors in the end.

    Parameters
    ----------
    data : DataFrame
        As :func:`choice_data` gives it.
    """
    shown = [panel for panel in _PANELS if data[panel[0]].notna().any()]
    with paper_style():
        figure = new_figure(3.6 * max(len(shown), 1), 2.9)
        for place, (column, goal, true, title) in enumerate(shown):
            _draw(figure.add_subplot(1, len(shown), place + 1), data, column, goal, true, title)
        if shown:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), columnspacing=1.4)
    return figure


def _draw(axes: Axes, data: DataFrame, column: str, goal: str, true: str, title: str) -> None:
    axes.plot(
        data.labels,
        data[column],
        "o-",
        color=MODEL,
        markersize=4,
        linewidth=1.4,
        label="predicted",
        gid=curve_id("predicted"),
    )
    target = data[goal].dropna()
    if len(target):
        axes.axhline(float(target.iloc[0]), color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, label="target")
    if data[true].notna().any():
        axes.plot(
            data.labels, data[true], "D", color=SECOND, markersize=5, zorder=4, label="true", gid=curve_id("true")
        )
    axes.set_yscale("log")
    values = np.concatenate([data[name].dropna().to_numpy() for name in (column, goal, true)])
    values = values[values > 0]
    if values.size:
        axes.set_ylim(0.6 * values.min(), 1.6 * values.max())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if _decades(values) > 1.2 else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_xlabel("Labels")
    axes.set_ylabel(title)


def _decades(values: np.ndarray) -> float:
    return float(np.log10(values.max() / values.min())) if values.size else 0.0


def error_rows(results: Results) -> list[tuple[str, ...]]:
    """(quantity, target, predicted, for labels without number, true) of each quantity that was predicted."""
    chosen = results.selection
    if chosen is None:
        return []
    true = true_errors(results)
    return [
        (name, *(text.significant(value) for value in values))
        for name, values in (
            (
                "phonons, RMSE (THz)",
                (chosen.target_thz, chosen.predicted_rmse_thz, chosen.statistical_rmse_thz, true["true_rmse_thz"]),
            ),
            (
                "largest error of an elastic constant (%)",
                (
                    chosen.target_elastic_percent, chosen.predicted_elastic_percent,
                    chosen.statistical_elastic_percent, true["true_elastic_percent"],
                ),
            ),
            ("energies of decorations (meV/atom)", (chosen.target_mev, chosen.predicted_mev, None, None)),
            ("equation of state, pressure (GPa)", (chosen.target_gpa, chosen.predicted_gpa, None, None)),
        )
        if values[1] is not None
    ]  # fmt: skip


def order_rows(chosen: SelectionSummary, configurations: Sequence[Atoms]) -> list[tuple[Any, ...]]:
    """(number, name, atoms, displacement in Å, scale) of each label, in the order of the choice."""
    known = {str(atoms.info.get("ndsc_name", "")): atoms for atoms in configurations}
    rows = []
    for number, name in enumerate(chosen.order, 1):
        atoms = known.get(name)
        info = {} if atoms is None else atoms.info
        recipe = [info.get(f"ndsc_{key}") for key in ("displacement", "scale")]
        rows.append(
            (
                number,
                name,
                NOTHING if atoms is None else len(atoms),
                *(NOTHING if value is None else f"{value:g}" for value in recipe),
            )
        )
    return rows
