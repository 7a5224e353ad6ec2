"""Dispersions of one potential, of several, along a deformation, and of growing databases (Figures 1 to 5 and 8)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ndsc.errors import InputError
from ndsc.report.bands import (
    REFERENCE_LINE,
    Curve,
    DispersionPanel,
    Line,
    draw_branches,
    draw_densities,
    draw_panel,
    draw_path_axis,
    frequency_limits,
    lines_of,
)
from ndsc.report.predicted import PredictedCurves, band_handles, draw_bands, draw_density_bands, draw_expected_errors
from ndsc.report.style import MODEL, THIRD, new_figure, paper_style, plain

if TYPE_CHECKING:
    from pandas import DataFrame

#: Width of one panel, inches: half of a page.
_PANEL_WIDTH = 3.5
#: What the bars of Figure 4 show, with their colours: those of the paper.
_BARS = (("labels", MODEL), ("sparse points", "#E69F00"), ("RMSE (THz)", THIRD))


def dispersion_figure(panel: DispersionPanel, predicted: PredictedCurves | None = None) -> Figure:
    """Draw the phonons of a potential over the reference's, their difference below, and both densities of states.

    Parameters
    ----------
    panel : DispersionPanel
        With one potential; its baseline, if it has one, is drawn thin and grey (Figure 2).
    predicted : PredictedCurves, optional
        Along the same path; its bands are drawn behind the branches, the difference and the density of states.
    """
    with paper_style():
        figure = new_figure(7.0, 4.4)
        grid = figure.add_gridspec(2, 2, width_ratios=(3.6, 1.0), height_ratios=(3.4, 1.0))
        bands = figure.add_subplot(grid[0, 0])
        errors = figure.add_subplot(grid[1, 0], sharex=bands)
        density = figure.add_subplot(grid[0, 1], sharey=bands)
        note = figure.add_subplot(grid[1, 1])
        draw_panel(bands, panel)
        bands.set_ylabel("Frequency (THz)")
        bands.tick_params(axis="x", labelbottom=False)
        bands.set_title(plain(panel.title))
        _draw_difference(errors, panel)
        # A third density would hide both others.
        draw_densities(density, replace(panel, baseline=None), filled=predicted is None)
        density.set_xlabel("Density of states")
        if predicted is not None:
            draw_bands(bands, predicted)
            draw_expected_errors(errors, predicted)
            model = panel.curves()[1]
            if model.dos is not None and model.dos_frequencies is not None:
                draw_density_bands(density, predicted, (model.dos_frequencies, model.dos))
        handles = [
            line.handle(curve.name if curve.rmse is None else f"{curve.name} {_rmse(curve)}")
            for curve, line in lines_of(panel)
        ]
        note.set_axis_off()
        note.legend(
            handles=[*handles, *([] if predicted is None else band_handles())], loc="upper left",
            bbox_to_anchor=(-0.08, 1.08), borderaxespad=0.0, fontsize=9, handlelength=1.8, handletextpad=0.5,
            title="RMSE over the mesh (THz)", title_fontsize=9, alignment="left",
        )  # fmt: skip
    return figure


def dispersion_comparison_figure(panels: Sequence[DispersionPanel], *, density: bool = True) -> Figure:
    """Draw one panel a crystal, each with the reference (black, dashed) and its potentials (Figures 1, 2, 3, 8).

    Panels lie two side by side. A potential has the same colour in every panel. The RMSE over the mesh stands in the
    legend, or, where there are several panels, above each.

    Parameters
    ----------
    panels : sequence of DispersionPanel
        Their paths may differ.
    density : bool
        Draw densities of states beside the branches, where a panel has them.

    Raises
    ------
    InputError
        When there is no panel.
    """
    names = _names(panels)
    wide = min(2, len(panels))
    high = math.ceil(len(panels) / wide)
    single = len(panels) == 1
    with paper_style():
        width = 1.35 * _PANEL_WIDTH if wide == 1 else _PANEL_WIDTH * wide
        figure = new_figure(width, (2.9 if wide == 1 else 2.5) * high + 0.3)
        grid = figure.add_gridspec(high, wide)
        for index, panel in enumerate(panels):
            cell = grid[index // wide, index % wide]
            if density and any(curve.dos is not None for curve in panel.curves()):
                inner = cell.subgridspec(1, 2, width_ratios=(3.6, 1.0), wspace=0.03)
                bands = figure.add_subplot(inner[0, 0])
                beside = figure.add_subplot(inner[0, 1], sharey=bands)
                draw_densities(beside, panel, names)
                if index + wide >= len(panels):
                    beside.set_xlabel("DOS")
            else:
                bands = figure.add_subplot(cell)
            draw_panel(bands, panel, names)
            if index % wide == 0:
                bands.set_ylabel("Frequency (THz)")
            bands.set_title(plain(panel.title), loc="left")
            if not single:
                _errors_above(bands, panel, names)
        _legend_above(figure, panels, names, with_errors=single, numbers=not single)
    return figure


def dispersion_stack_figure(panels: Sequence[DispersionPanel], *, share_frequencies: bool = True) -> Figure:
    """Draw panels under each other, their titles at the right: phonons along the Bain path (Figure 5).

    Parameters
    ----------
    panels : sequence of DispersionPanel
        From top to bottom; ``title`` says what changes from one to the next, ``"η = 0.25"``.
    share_frequencies : bool
        One frequency axis for all, so that panels can be compared.

    Raises
    ------
    InputError
        When there is no panel.
    """
    names = _names(panels)
    limits = frequency_limits(panels) if share_frequencies else None
    with paper_style():
        figure = new_figure(4.4, 1.55 * len(panels) + 0.7)
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, index + 1)
            draw_panel(axes, panel, names, limits)
            axes.locator_params(axis="y", nbins=5)
            text = plain(panel.title)
            if len(names) == 1:
                text += f"\nRMSE\n{thz(panel.comparisons[names[0]].rmse_mesh_thz)}"
            else:
                _errors_above(axes, panel, names)
            axes.annotate(text, (1.02, 0.5), xycoords="axes fraction", va="center", fontsize=9.5)
            if index + 1 < len(panels) and _same_path(panel, panels[index + 1]):
                axes.tick_params(axis="x", labelbottom=False)
        figure.supylabel("Frequency (THz)", fontsize=10.5)
        _legend_above(figure, panels, names, with_errors=False, numbers=len(names) > 1)
    return figure


@dataclass(frozen=True, eq=False)
class LearningStep:
    """One row of Figure 4: a potential of so many labels (training configurations, each with one total energy).

    Attributes
    ----------
    labels, sparse_points : int
    panel : DispersionPanel
        With one potential.
    """

    labels: int
    sparse_points: int
    panel: DispersionPanel

    @property
    def numbers(self) -> tuple[float, float, float]:
        """Labels, sparse points, and RMSE over the mesh in THz; NaN where there is none."""
        comparison = next(iter(self.panel.comparisons.values()))
        return float(self.labels), float(self.sparse_points), comparison.rmse_mesh_thz


def learning_dispersion_figure(columns: Mapping[str, Sequence[LearningStep]]) -> Figure:
    """Draw dispersions in rows, the database growing downwards, with bars of labels, sparse points and RMSE (Figure 4).

    Parameters
    ----------
    columns : mapping of str to sequence of LearningStep
        One way to choose the sparse points, or two with the same labels in each row, by their titles.

    Raises
    ------
    InputError
        When there is no row or a third column, or the columns have different labels.
    """
    sides = list(columns.values())
    if not 1 <= len(sides) <= 2 or not sides[0]:
        raise InputError("A figure of growing databases has one or two columns of at least one step. Give as many.")
    labels = [[step.labels for step in steps] for steps in sides]
    if any(other != labels[0] for other in labels):
        raise InputError(
            f"The rows of the figure of growing databases differ: {labels[0]} labels on the left, {labels[1]} on the "
            "right. Give the same databases in the same order."
        )
    two, rows = len(sides) == 2, len(sides[0])
    limits = frequency_limits([step.panel for steps in sides for step in steps])
    with paper_style():
        figure = new_figure(7.2 if two else 4.8, 1.35 * rows + 0.75)
        grid = figure.add_gridspec(rows, 3 if two else 2, width_ratios=(1.0, 0.95, 1.0) if two else (1.0, 0.55))
        for side, (title, steps) in enumerate(columns.items()):
            for row, step in enumerate(steps):
                axes = figure.add_subplot(grid[row, 2 * side])
                draw_panel(axes, step.panel, limits=limits)
                axes.locator_params(axis="y", nbins=4)
                axes.tick_params(axis="x", labelbottom=row == rows - 1)
                axes.tick_params(axis="y", labelleft=side == 0, labelright=side == 1)
                if row == 0:
                    axes.set_title(plain(title))
        everything = np.array([step.numbers for steps in sides for step in steps])
        largest = np.nanmax(np.where(np.isfinite(everything), everything, np.nan), axis=0, initial=1e-300)
        for row in range(rows):
            _draw_bars(figure.add_subplot(grid[row, 1]), [steps[row] for steps in sides], largest, heads=row == 0)
        figure.supylabel("Frequency (THz)", fontsize=10.5)
        handles = [line.handle(curve.name) for curve, line in lines_of(sides[0][0].panel)]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def dispersion_data(panels: DispersionPanel | Sequence[DispersionPanel]) -> DataFrame:
    """The branches of dispersion panels, one frequency a row.

    Returns
    -------
    DataFrame
        ``panel``, ``curve`` and ``kind`` (``reference``, ``potential`` or ``baseline``); ``point``, the number of the
        q-point along the path, from 0, and ``label``, its name where it is a special point; ``q1``, ``q2``, ``q3``,
        reduced; ``distance_per_angstrom``, without 2 pi; ``branch``, from 1 in order of frequency; ``frequency_thz``,
        negative where it is imaginary.
    """
    from pandas import DataFrame, concat

    frames = []
    for panel in [panels] if isinstance(panels, DispersionPanel) else panels:
        path, labels = panel.path, np.array(panel.path.names, dtype=object)
        for curve in panel.curves():
            points, branches = curve.path.shape
            at = np.repeat(np.arange(points), branches)
            frames.append(
                DataFrame(
                    {"panel": panel.title, "curve": curve.name, "kind": curve.kind, "point": at, "label": labels[at]}
                    | {f"q{axis + 1}": path.qpoints[at, axis] for axis in range(3)}
                    | {"distance_per_angstrom": path.distances[at]}
                    | {"branch": np.tile(np.arange(1, branches + 1), points), "frequency_thz": curve.path.ravel()}
                )
            )
    return concat(frames, ignore_index=True)


def density_data(panels: DispersionPanel | Sequence[DispersionPanel]) -> DataFrame:
    """The densities of states of dispersion panels: ``panel``, ``curve``, ``kind``, ``frequency_thz``, ``dos_per_thz``.

    Each integrates to the number of bands. Curves without one have no rows.
    """
    from pandas import DataFrame, concat

    columns = ["panel", "curve", "kind", "frequency_thz", "dos_per_thz"]
    frames = [
        DataFrame(dict(zip(columns, (panel.title, *curve[:2], curve.dos_frequencies, curve.dos), strict=True)))
        for panel in ([panels] if isinstance(panels, DispersionPanel) else panels)
        for curve in panel.curves()
        if curve.dos is not None
    ]
    return concat(frames, ignore_index=True) if frames else DataFrame(columns=columns)


def thz(value: float) -> str:
    """A frequency with three digits and its unit."""
    return f"{value:#.3g} THz" if np.isfinite(value) else "not finite"


def _names(panels: Sequence[DispersionPanel]) -> list[str]:
    """The potentials of all panels."""
    if not panels:
        raise InputError("There is no dispersion to draw. Give at least one panel.")
    return list(dict.fromkeys(name for panel in panels for name in panel.comparisons))


def _same_path(one: DispersionPanel, other: DispersionPanel) -> bool:
    """Whether two panels can share the names below them."""
    if one.path.labels != other.path.labels:
        return False
    length = [np.asarray(panel.path.ticks) / max(panel.path.ticks[-1], 1e-12) for panel in (one, other)]
    return bool(np.allclose(length[0], length[1], atol=0.01))


def _rmse(curve: Curve, digits: int = 3) -> str:
    return f"{curve.rmse:#.{digits}g}" if curve.rmse is not None and np.isfinite(curve.rmse) else "not finite"


def _draw_difference(axes: Axes, panel: DispersionPanel) -> None:
    reference, model, *_ = panel.curves()
    difference = model.path - reference.path
    draw_branches(axes, panel.path, difference, Line(MODEL, 0.9, name=model.name))
    draw_path_axis(axes, panel.path)
    line = REFERENCE_LINE
    axes.axhline(0.0, color=line.colour, linewidth=line.width, linestyle=line.dashes, zorder=3)
    finite = np.abs(difference[np.isfinite(difference)])
    limit = max(1.15 * float(finite.max(initial=0.0)), 1e-3)
    axes.set_ylim(-limit, limit)
    axes.locator_params(axis="y", nbins=4)
    axes.set_ylabel("Error (THz)")


def _errors_above(axes: Axes, panel: DispersionPanel, names: Sequence[str]) -> None:
    """The RMSE of each potential beside its line, right of the title."""
    pairs = [(curve, line) for curve, line in lines_of(panel, names) if curve.rmse is not None]
    axes.legend(
        handles=[line.handle(_rmse(curve, 2)) for curve, line in pairs], loc="lower right",
        bbox_to_anchor=(1.0, 1.0), ncols=len(pairs), fontsize=8.5, handlelength=1.0, handletextpad=0.35,
        columnspacing=0.8, borderaxespad=0.15,
    )  # fmt: skip


def _legend_above(
    figure: Figure, panels: Sequence[DispersionPanel], names: Sequence[str], *, with_errors: bool, numbers: bool
) -> None:
    """One legend for the whole figure: every potential once, the baseline, the references, what the numbers are."""
    entries: dict[str, Line2D] = {}
    pairs = [pair for panel in panels for pair in lines_of(panel, names)]
    # The potentials in one order, the references last, whatever crystal they belong to.
    kinds = {"potential": 0, "baseline": 1, "reference": 2}
    for curve, line in sorted(pairs, key=lambda pair: (kinds[pair[0].kind], -pair[1].above)):
        label = curve.name
        if with_errors and curve.rmse is not None:
            label += f", RMSE {thz(curve.rmse)}"
        entries.setdefault(label, line.handle(label))
    # As many entries side by side as fit into the width.
    columns = int(figure.get_figwidth() / (0.07 * max(len(label) for label in entries) + 0.5))
    note = "numbers: RMSE over the mesh (THz)" if numbers else None
    figure.legend(
        handles=list(entries.values()), loc="outside upper center", ncols=max(1, min(len(entries), columns)),
        columnspacing=1.2, title=note, title_fontsize=8.5,
    )  # fmt: skip


def _draw_bars(axes: Axes, steps: Sequence[LearningStep], largest: np.ndarray, *, heads: bool) -> None:
    """Bars of one row that grow outwards, each kind on the scale of its largest."""
    two = len(steps) == 2
    for side, step in enumerate(steps):
        sign = -1.0 if two and side == 0 else 1.0
        for place, (value, most, (_, colour)) in enumerate(zip(step.numbers, largest, _BARS, strict=True)):
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
    for place, (name, colour) in enumerate(_BARS if heads else ()):
        axes.text(
            0.5, 1.38 - 0.17 * place, name, transform=axes.transAxes, ha="center", va="bottom", fontsize=8.5,
            color=colour, weight="bold",
        )  # fmt: skip
