"""The figure of a convergence scan: errors and times over the values of each setting."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ndsc.convergence.report import ConvergenceReport, Scan
from ndsc.convergence.settings import KGRID, setting_text
from ndsc.report.style import GRID, MODEL, MUTED, SECOND, THIRD, new_figure, paper_style, plain

#: Errors below are drawn as this: where nothing changes, a logarithmic axis has no place for it.
LOWEST = 1e-4

#: Label, marker, colour, and the attribute of :class:`Difference` that is drawn.
Curve = tuple[str, str, str, str]

_ROWS: tuple[tuple[str, str, tuple[Curve, ...]], ...] = (
    ("force error\n(meV/Å)", "force", (("largest", "o", MODEL, "force_max"), ("rms", "s", THIRD, "force_rms"))),
    (
        "energy difference\n(meV/atom)", "energy",
        (("largest", "o", MODEL, "energy_max"), ("rms", "s", THIRD, "energy_rms")),
    ),
    (
        "virial error\n(meV/atom)", "virial",
        (
            ("scatter, largest", "o", MODEL, "virial_max"), ("scatter, rms", "s", THIRD, "virial_rms"),
            ("constant", "^", SECOND, "virial_offset"),
        ),
    ),
)  # fmt: skip


def convergence_figure(report: ConvergenceReport) -> Figure:
    """Force, energy and virial errors over the values of each setting, the targets, and the time of a calculation.

    Parameters
    ----------
    report : ConvergenceReport
    """
    n = len(report.scans)
    with paper_style():
        figure = new_figure(max(3.6, 2.7 * n), 7.0)
        panels = figure.subplots(len(_ROWS) + 1, n, sharex="col", squeeze=False)
        for column, scan in enumerate(report.scans):
            for row, (label, target, curves) in enumerate(_ROWS):
                axes = panels[row, column]
                _draw_errors(axes, scan, curves, getattr(report.targets, target))
                if column == 0:
                    axes.set_ylabel(label)
                if column == 0 and target != "energy":
                    axes.legend(fontsize=8, loc="upper right", borderaxespad=0.2)
            times = panels[-1, column]
            times.plot(range(len(scan.points)), [point.seconds for point in scan.points], "o-", color=MUTED)
            times.set_ylim(bottom=0.0)
            if column == 0:
                times.set_ylabel("time of one\ncalculation (s)")
            times.set_xticks(range(len(scan.points)), [plain(_tick(scan, point.value)) for point in scan.points])
            times.set_xlim(-0.4, len(scan.points) - 0.6)
            times.set_xlabel("k-point grid" if scan.setting.path == KGRID else plain(scan.setting.path))
            _mark_recommended(list(panels[:, column]), scan)
    return figure


def _draw_errors(axes: Axes, scan: Scan, curves: tuple[Curve, ...], target: float) -> None:
    places = np.array([i for i, point in enumerate(scan.points) if point.difference is not None])
    found = [point.difference for point in scan.points if point.difference is not None]
    for label, marker, colour, name in curves:
        values = [getattr(difference, name) for difference in found]
        if None not in values:
            drawn = np.maximum(np.abs(np.array(values, dtype=float)), LOWEST)
            axes.plot(places, drawn, f"{marker}-", color=colour, label=label, markersize=4, linewidth=1.2)
    axes.set_yscale("log")
    axes.margins(y=0.15)
    if scan.judged:
        axes.axhline(target, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.grid(visible=True, axis="y", color=GRID, linewidth=0.5)


def _mark_recommended(panels: list[Axes], scan: Scan) -> None:
    if scan.recommended is None:
        panels[0].set_title("not judged" if not scan.judged else "nothing recommended", color=MUTED)
        return
    place = next(i for i, point in enumerate(scan.points) if point.value == scan.recommended)
    for axes in panels:
        axes.axvspan(place - 0.3, place + 0.3, color=GRID, alpha=0.5, linewidth=0, zorder=0)
    panels[0].set_title(f"recommended: {plain(setting_text(scan.recommended))}")


def _tick(scan: Scan, value: object) -> str:
    """A value under its axis, short: the cubic grid 8x8x8 is 8."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        return str(value[0])
    return setting_text(value)
