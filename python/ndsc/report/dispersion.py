"""Phonon dispersion of a potential over the reference's, with densities of states beside it (the paper's Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ndsc.report.bands import (
    REFERENCE_LINE,
    draw_branches,
    draw_densities,
    draw_panel,
    draw_path_axis,
    handle,
    lines_of,
    model_line,
)
from ndsc.report.panels import DispersionPanel, PhononCurves
from ndsc.report.style import new_figure, paper_style
from ndsc.report.tidy import DataTable

if TYPE_CHECKING:
    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]


def dispersion_figure(
    comparison: PhononComparison,
    *,
    model_label: str = "model",
    reference_label: str = "reference",
    title: str = "",
    baseline: PhononComparison | None = None,
    baseline_label: str = "harmonic",
) -> Figure:
    """Draw the phonons of model and reference on one path, their difference below, and both densities of states.

    Parameters
    ----------
    comparison : PhononComparison
        Frequencies of both on the path and their densities of states, THz; imaginary ones are negative.
    model_label, reference_label : str
        Names for the legend.
    title : str
        Title above the dispersion.
    baseline : PhononComparison, optional
        The harmonic model of the same database beside the same reference; its branches are drawn thin and grey.
    baseline_label : str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        When the baseline is on another path, or has another reference.
    """
    panel = DispersionPanel.from_comparisons(
        {model_label: comparison},
        title=title,
        reference_label=reference_label,
        baseline=baseline,
        baseline_label=baseline_label,
    )
    with paper_style():
        figure = new_figure(7.0, 4.4)
        grid = figure.add_gridspec(2, 2, width_ratios=(3.6, 1.0), height_ratios=(3.4, 1.0))
        bands = figure.add_subplot(grid[0, 0])
        errors = figure.add_subplot(grid[1, 0], sharex=bands)
        density = figure.add_subplot(grid[0, 1], sharey=bands)
        note = figure.add_subplot(grid[1, 1])

        draw_panel(bands, panel)
        _draw_errors(errors, panel)
        draw_path_axis(errors, panel.path)
        # A third density would hide both others.
        draw_densities(density, panel.without_baseline())
        bands.set_ylabel("Frequency (THz)")
        bands.tick_params(axis="x", labelbottom=False)
        bands.set_title(title)
        density.set_xlabel("Density of states")
        _draw_note(note, panel)
    return figure


def dispersion_data(panels: DispersionPanel | Sequence[DispersionPanel]) -> DataTable:
    """The branches of dispersion panels, one frequency a row.

    Returns
    -------
    DataTable
        ``panel``, ``curve`` and ``kind`` (``reference``, ``potential`` or ``baseline``); ``point``, the number of the
        q-point along the path, from 0, and ``label``, its name where it is a special point; ``q1``, ``q2``, ``q3``,
        reduced; ``distance_per_angstrom``, without 2 pi; ``branch``, from 1 in order of frequency; ``frequency_thz``,
        negative where it is imaginary.
    """
    listed = [panels] if isinstance(panels, DispersionPanel) else list(panels)
    rows = []
    for panel in listed:
        path = panel.path
        names = _labels_of_points(panel)
        for curves in panel.all_curves():
            kind = kind_of(panel, curves)
            for point, frequencies in enumerate(curves.path):
                place = (*path.qpoints[point], path.distances[point])
                rows += [
                    (panel.title, curves.name, kind, point, names[point], *place, branch, frequency)
                    for branch, frequency in enumerate(frequencies, start=1)
                ]
    columns = (
        "panel", "curve", "kind", "point", "label", "q1", "q2", "q3", "distance_per_angstrom", "branch",
        "frequency_thz",
    )  # fmt: skip
    return DataTable.from_rows(columns, rows)


def density_data(panels: DispersionPanel | Sequence[DispersionPanel]) -> DataTable:
    """The densities of states of dispersion panels: ``panel``, ``curve``, ``kind``, ``frequency_thz``, ``dos_per_thz``.

    Each integrates to the number of bands. Curves without one have no rows.
    """
    listed = [panels] if isinstance(panels, DispersionPanel) else list(panels)
    rows = [
        (panel.title, curves.name, kind_of(panel, curves), frequency, density)
        for panel in listed
        for curves in panel.all_curves()
        if curves.dos is not None and curves.dos_frequencies is not None
        for frequency, density in zip(curves.dos_frequencies, curves.dos, strict=True)
    ]
    return DataTable.from_rows(("panel", "curve", "kind", "frequency_thz", "dos_per_thz"), rows)


def kind_of(panel: DispersionPanel, curves: PhononCurves) -> str:
    """What a curve of a panel is: ``reference``, ``baseline`` or ``potential``."""
    if curves is panel.reference:
        return "reference"
    return "baseline" if curves is panel.baseline else "potential"


def _labels_of_points(panel: DispersionPanel) -> list[str]:
    """The name of the special point at each q-point of the path, empty between them."""
    path = panel.path
    names = [""] * len(path.distances)
    remaining = list(zip(path.ticks, path.labels, strict=True))
    for index, distance in enumerate(path.distances):
        # Special points come in the order of the path; at a jump two share one distance.
        if remaining and abs(float(distance) - float(remaining[0][0])) < 1e-9:
            names[index] = remaining.pop(0)[1]
    return names


def _draw_errors(axes: Axes, panel: DispersionPanel) -> None:
    difference = panel.models[0].path - panel.reference.path
    line = model_line(0)
    narrow = type(line)(line.colour, 0.9, "solid", 2.0)
    draw_branches(axes, panel.path, difference, narrow)
    axes.axhline(
        0.0, color=REFERENCE_LINE.colour, linewidth=REFERENCE_LINE.width, linestyle=REFERENCE_LINE.dashes, zorder=3
    )
    finite = np.abs(difference[np.isfinite(difference)])
    limit = max(1.15 * float(finite.max(initial=0.0)), 1e-3)
    axes.set_ylim(-limit, limit)
    axes.locator_params(axis="y", nbins=4)
    axes.set_ylabel("Error (THz)")


def _draw_note(axes: Axes, panel: DispersionPanel) -> None:
    """The legend, with each error over the mesh."""
    axes.set_axis_off()
    handles = []
    for curves, line in lines_of(panel):
        error = curves.rmse_mesh_thz
        number = "" if error is None else f" {error:#.3g}" if np.isfinite(error) else " not finite"
        handles.append(handle(line, curves.name + number))
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.08, 1.08), borderaxespad=0.0, fontsize=9,
        handlelength=1.8, handletextpad=0.5, title="RMSE over the mesh (THz)", title_fontsize=9, alignment="left",
    )  # fmt: skip


def thz(value: float | None) -> str:
    """A frequency with three digits and its unit."""
    return f"{value:#.3g} THz" if value is not None and np.isfinite(value) else "not finite"
