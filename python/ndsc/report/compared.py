"""Dispersions of several potentials, for one crystal or a grid of crystals, or stacked along a deformation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ndsc.errors import InputError
from ndsc.report.bands import REFERENCE_LINE, draw_densities, draw_panel, frequency_limits, handle, lines_of
from ndsc.report.dispersion import thz
from ndsc.report.panels import DispersionPanel, PhononCurves
from ndsc.report.style import new_figure, paper_style

#: Width of one panel, inches: half of a page.
PANEL_WIDTH = 3.5


def dispersion_comparison_figure(
    panels: Sequence[DispersionPanel], *, columns: int | None = None, density: bool = True
) -> Figure:
    """Draw one panel a crystal, each with the reference (black, dashed) and its potentials (Figures 1, 2, 3, 8).

    A potential has the same colour in every panel. The RMSE over the mesh stands in the legend, or, where there are
    several panels, above each.

    Parameters
    ----------
    panels : sequence of DispersionPanel
        Their paths may differ.
    columns : int, optional
        Panels side by side; one for a single panel, else two.
    density : bool
        Draw densities of states beside the branches, where a panel has them.

    Raises
    ------
    InputError
        When there is no panel.
    """
    _need_panels(panels)
    wide = min(columns or 2, len(panels))
    high = math.ceil(len(panels) / wide)
    with_density = [density and any(curves.dos is not None for curves in panel.all_curves()) for panel in panels]
    coloured = _same_colours(panels)
    single = len(panels) == 1
    with paper_style():
        width = 1.35 * PANEL_WIDTH if wide == 1 else PANEL_WIDTH * wide
        figure = new_figure(width, (2.9 if wide == 1 else 2.5) * high + 0.3)
        grid = figure.add_gridspec(high, wide)
        for index, panel in enumerate(coloured):
            cell = grid[index // wide, index % wide]
            if with_density[index]:
                inner = cell.subgridspec(1, 2, width_ratios=(3.6, 1.0), wspace=0.03)
                bands = figure.add_subplot(inner[0, 0])
                beside = figure.add_subplot(inner[0, 1], sharey=bands)
                draw_densities(beside, panel)
                if index // wide == high - 1 or index + wide >= len(panels):
                    beside.set_xlabel("DOS")
            else:
                bands = figure.add_subplot(cell)
            draw_panel(bands, panel)
            if index % wide == 0:
                bands.set_ylabel("Frequency (THz)")
            bands.set_title(panel.title, loc="left")
            if not single:
                _errors_above(bands, panel)
        _legend_above(figure, coloured, with_errors=single, numbers=not single)
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
    _need_panels(panels)
    coloured = _same_colours(panels)
    limits = frequency_limits(coloured) if share_frequencies else None
    with paper_style():
        figure = new_figure(4.4, 1.55 * len(panels) + 0.7)
        axes_of = [figure.add_subplot(len(panels), 1, index + 1) for index in range(len(panels))]
        for index, (axes, panel) in enumerate(zip(axes_of, coloured, strict=True)):
            draw_panel(axes, panel, limits)
            axes.locator_params(axis="y", nbins=5)
            text = panel.title
            errors = [curves.rmse_mesh_thz for curves in panel.models]
            if len(errors) == 1 and errors[0] is not None:
                text += f"\nRMSE\n{thz(errors[0])}"
            axes.annotate(text, (1.02, 0.5), xycoords="axes fraction", va="center", fontsize=9.5)
            if len(errors) > 1:
                _errors_above(axes, panel)
            below = panels[index + 1] if index + 1 < len(panels) else None
            if below is not None and _same_path(panel, below):
                axes.tick_params(axis="x", labelbottom=False)
        figure.supylabel("Frequency (THz)", fontsize=10.5)
        _legend_above(figure, coloured, with_errors=False, numbers=len(coloured[0].models) > 1)
    return figure


def _need_panels(panels: Sequence[DispersionPanel]) -> None:
    if not panels:
        raise InputError("There is no dispersion to draw. Give at least one panel.")


def _same_path(one: DispersionPanel, other: DispersionPanel) -> bool:
    """Whether two panels can share the names below them."""
    if one.path.labels != other.path.labels:
        return False
    length = [np.asarray(panel.path.ticks) / max(panel.path.ticks[-1], 1e-12) for panel in (one, other)]
    return bool(np.allclose(length[0], length[1], atol=0.01))


def _same_colours(panels: Sequence[DispersionPanel]) -> list[DispersionPanel]:
    """The panels with one list of potentials in one order; a panel without a potential gets an empty curve for it."""
    names = list(dict.fromkeys(curves.name for panel in panels for curves in panel.models))
    filled = []
    for panel in panels:
        present = {curves.name: curves for curves in panel.models}
        models = tuple(present.get(name, _no_curves(name, panel)) for name in names)
        filled.append(DispersionPanel(panel.title, panel.path, panel.reference, models, panel.baseline))
    return filled


def _no_curves(name: str, panel: DispersionPanel) -> PhononCurves:
    return PhononCurves(name, np.full((len(panel.path.qpoints), 0), np.nan))


def _errors_above(axes: Axes, panel: DispersionPanel) -> None:
    """The RMSE of each potential beside its line, right of the title."""
    entries = [
        handle(line, f"{curves.rmse_mesh_thz:#.2g}" if np.isfinite(curves.rmse_mesh_thz) else "not finite")
        for curves, line in lines_of(panel)
        if curves.rmse_mesh_thz is not None
    ]
    if entries:
        axes.legend(
            handles=entries, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(entries), fontsize=8.5,
            handlelength=1.0, handletextpad=0.35, columnspacing=0.8, borderaxespad=0.15,
        )  # fmt: skip


def _legend_above(figure: Figure, panels: Sequence[DispersionPanel], *, with_errors: bool, numbers: bool) -> None:
    """One legend for the whole figure: every potential once, the baseline, the references, what the numbers are."""
    entries: dict[str, Line2D] = {}
    pairs = [pair for panel in panels for pair in lines_of(panel)]
    # The references last, whatever crystal they belong to.
    for curves, line in sorted(pairs, key=lambda pair: pair[1].above > REFERENCE_LINE.above - 0.5):
        label = curves.name
        if with_errors and curves.rmse_mesh_thz is not None:
            label += f", RMSE {thz(curves.rmse_mesh_thz)}"
        entries.setdefault(label, handle(line, label))
    ordered = list(entries.values())
    columns = _columns([entry.get_label() for entry in ordered], figure.get_figwidth())  # type: ignore[misc]
    note = "numbers: RMSE over the mesh (THz)" if numbers else None
    figure.legend(
        handles=ordered, loc="outside upper center", ncols=columns, columnspacing=1.2, title=note, title_fontsize=8.5
    )


def _columns(labels: Sequence[str], width: float) -> int:
    """How many entries of a legend fit into `width` inches."""
    longest = max(len(label) for label in labels)
    return max(1, min(len(labels), int(width / (0.07 * longest + 0.5))))
