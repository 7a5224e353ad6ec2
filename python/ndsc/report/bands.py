"""Phonon branches along a path, as lines: what every dispersion figure has in common."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ndsc.phonon_path import BandPath
from ndsc.report.panels import DispersionPanel, PhononCurves
from ndsc.report.style import GRID, MUTED, REFERENCE, SERIES
from ndsc.results import IMAGINARY_THZ

FloatArray = NDArray[np.float64]
Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]

_GREEK = {
    "G": "Γ", "GAMMA": "Γ", "GM": "Γ", "Γ": "Γ", "DELTA": "Δ", "LAMBDA": "Λ", "SIGMA": "Σ",
}  # fmt: skip
#: Branches closer than this along a whole leg of the path are drawn once: dashes that do not fall on each other's would
#: make a solid line.
_DEGENERATE_THZ = 1e-3
#: A potential that is further out than this many times the reference's highest frequency does not set the axis.
_FARTHEST = 1.0


@dataclass(frozen=True)
class Line:
    """How a curve is drawn.

    Attributes
    ----------
    colour : str
    width : float, points
    dashes : "solid" or (offset, lengths)
    above : float
        Curves of higher numbers lie on top.
    """

    colour: str
    width: float
    dashes: Dashes = "solid"
    above: float = 2.0


#: Black dashes on top of the potential's line, which is wider, so that its colour shows on both sides.
REFERENCE_LINE = Line(REFERENCE, 1.0, (0.0, (3.0, 3.0)), 4.0)
BASELINE_LINE = Line(MUTED, 1.1, "solid", 1.5)
MODEL_WIDTH = 2.0


def model_line(index: int, of: int = 1) -> Line:
    """The line of potential number `index` of `of`: the first is on top; past six, colours return, dotted."""
    width = MODEL_WIDTH if of == 1 else 1.6
    dashes: Dashes = "solid" if index < len(SERIES) else (0.0, (1.0, 1.6))
    return Line(SERIES[index % len(SERIES)], width, dashes, 3.0 - 0.01 * index)


def lines_of(panel: DispersionPanel) -> list[tuple[PhononCurves, Line]]:
    """Every curve of a panel with its line: potentials, baseline, reference."""
    pairs = [(curves, model_line(index, len(panel.models))) for index, curves in enumerate(panel.models)]
    if panel.baseline is not None:
        pairs.append((panel.baseline, BASELINE_LINE))
    return [*pairs, (panel.reference, REFERENCE_LINE)]


def handle(line: Line, label: str) -> Line2D:
    """The entry of a legend."""
    return Line2D([], [], color=line.colour, linewidth=line.width, linestyle=line.dashes, label=label)


def path_pieces(distances: FloatArray, qpoints: FloatArray) -> list[slice]:
    """The continuous pieces of a path: it jumps where the q-point changes and the distance does not.

    Parameters
    ----------
    distances : (n,) array, 1/Å
        Length along the path, which does not grow over a jump.
    qpoints : (n, 3) array, reduced
        The q-points of the path.
    """
    step = np.diff(np.asarray(distances, dtype=float))
    moved = np.abs(np.diff(np.asarray(qpoints, dtype=float), axis=0)).max(axis=1, initial=0.0)
    jumps = np.flatnonzero((np.abs(step) < 1e-9) & (moved > 1e-9)) + 1
    edges = [0, *jumps.tolist(), len(distances)]
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


def path_legs(distances: FloatArray, pieces: Sequence[slice], ticks: Sequence[float]) -> list[slice]:
    """The legs of a path, from one special point to the next; neighbours share the point between them."""
    legs = []
    for piece in pieces:
        part = np.asarray(distances[piece], dtype=float)
        inner = [int(np.argmin(np.abs(part - tick))) for tick in ticks if part[0] + 1e-9 < tick < part[-1] - 1e-9]
        edges = [0, *inner, len(part) - 1]
        legs += [slice(piece.start + first, piece.start + last + 1) for first, last in itertools.pairwise(edges)]
    return legs


def pretty_label(label: str) -> str:
    """A special point's name as it is printed: Greek letters, digits as subscripts, ``U|K`` at a jump."""
    parts = [part.strip() for part in label.replace(",", "|").split("|")]
    return "|".join(_pretty_point(part) for part in parts if part)


def _pretty_point(name: str) -> str:
    bare = name.strip("$").replace("\\mathrm", "").replace("\\", "").replace("{", "").replace("}", "").replace("_", "")
    letters = bare.rstrip("0123456789")
    digits = bare[len(letters) :]
    letters = _GREEK.get(letters.upper(), letters)
    return f"{letters}$_{{{digits}}}$" if digits else letters


def merged_ticks(ticks: Sequence[float] | FloatArray, labels: Sequence[str]) -> tuple[list[float], list[str]]:
    """Ticks at one place become one, its names joined by ``|`` unless they are the same."""
    places: list[float] = []
    names: list[str] = []
    for tick, label in zip(ticks, labels, strict=True):
        pretty = pretty_label(label)
        if places and abs(float(tick) - places[-1]) < 1e-9:
            if pretty not in names[-1].split("|"):
                names[-1] = f"{names[-1]}|{pretty}"
        else:
            places.append(float(tick))
            names.append(pretty)
    return places, names


def draw_path_axis(axes: Axes, path: BandPath, *, names: bool = True) -> None:
    """Special points as ticks with thin lines, black ones where the path jumps."""
    pieces = path_pieces(path.distances, path.qpoints)
    ticks, labels = merged_ticks(path.ticks, path.labels)
    jumps = [float(path.distances[piece.start]) for piece in pieces[1:]]
    axes.set_xlim(float(path.distances[0]), float(path.distances[-1]))
    for tick in ticks[1:-1]:
        is_jump = any(abs(tick - jump) < 1e-9 for jump in jumps)
        axes.axvline(tick, color=REFERENCE if is_jump else GRID, linewidth=0.7, zorder=0)
    axes.set_xticks(ticks, _without_collisions(ticks, labels, _inches(axes)), linespacing=0.9)
    axes.tick_params(axis="x", length=0, labelbottom=names)


def _without_collisions(ticks: Sequence[float], labels: Sequence[str], inches: float) -> list[str]:
    """Names that would run into the one before, on an axis of so many inches, are set one line lower."""
    scale = inches / (ticks[-1] - ticks[0] or 1.0)
    names, low = [], False
    for index, label in enumerate(labels):
        room = scale * (ticks[index] - ticks[index - 1]) if index else inches
        low = not low and index > 0 and room < (_width(label) + _width(labels[index - 1])) / 2
        names.append(f"\n{label}" if low else label)
    return names


def _width(label: str) -> float:
    """Roughly how wide a name is, in inches."""
    return sum(0.04 if character == "|" else 0.1 for character in label if character not in "${}_")


def _inches(axes: Axes) -> float:
    """Roughly how wide the axes will be: what the grid gives them, before the layout."""
    figure = axes.get_figure(root=True)
    return float(axes.get_position().width * (figure.get_figwidth() if figure is not None else 1.0))


def draw_branches(axes: Axes, path: BandPath, frequencies: FloatArray, line: Line) -> None:
    """One curve's branches, broken where the path jumps; degenerate branches of a dashed one are drawn once."""
    pieces = path_pieces(path.distances, path.qpoints)
    dashed = line.dashes != "solid"
    if dashed:
        pieces = path_legs(path.distances, pieces, merged_ticks(path.ticks, path.labels)[0])
    for piece in pieces:
        part = np.asarray(frequencies[piece], dtype=float)
        axes.plot(
            path.distances[piece], _distinct_branches(part) if dashed else part,
            color=line.colour, linewidth=line.width, linestyle=line.dashes, zorder=line.above,
        )  # fmt: skip


def _distinct_branches(frequencies: FloatArray) -> FloatArray:
    """(n, m) array : the branches, in order of frequency, without those that fall on the one before."""
    apart = np.any(~(np.abs(np.diff(frequencies, axis=1)) <= _DEGENERATE_THZ), axis=0)
    return frequencies[:, np.concatenate([[True], apart])]


def frequency_limits(panels: Sequence[DispersionPanel]) -> tuple[float, float]:
    """Lowest and highest frequency to show, THz, for panels with one axis; the reference is always whole.

    A potential that goes astray does not flatten the reference: what is out by more than the reference's highest
    frequency is cut off, and :func:`draw_panel` says so.
    """
    reference = _finite([panel.reference.path for panel in panels])
    everything = _finite([curves.path for panel in panels for curves in panel.all_curves()])
    if everything.size == 0:
        return 0.0, 1.0
    highest = float(reference.max()) if reference.size else float(everything.max())
    lowest = float(reference.min()) if reference.size else float(everything.min())
    reach = _FARTHEST * max(highest, 0.1)
    top = max(highest, min(float(everything.max()), highest + reach))
    bottom = min(lowest, max(float(everything.min()), min(lowest, 0.0) - reach))
    return (1.08 * bottom if bottom < IMAGINARY_THZ else 0.0), max(1.05 * top, 0.1)


def _finite(arrays: Sequence[FloatArray]) -> FloatArray:
    joined: FloatArray = np.concatenate([np.zeros(0), *(np.ravel(array) for array in arrays)])
    return joined[np.isfinite(joined)]


def draw_panel(axes: Axes, panel: DispersionPanel, limits: tuple[float, float] | None = None) -> None:
    """Every curve of a panel on its path, with the frequency axis; imaginary frequencies lie in a tinted band."""
    for curves, line in lines_of(panel):
        draw_branches(axes, panel.path, curves.path, line)
    lowest, highest = frequency_limits([panel]) if limits is None else limits
    draw_path_axis(axes, panel.path)
    axes.set_ylim(lowest, highest)
    axes.axhline(0.0, color=REFERENCE, linewidth=0.6, zorder=1)
    notes = []
    if lowest < 0.0:
        axes.axhspan(lowest, 0.0, color="#F3E3DC", zorder=-1, linewidth=0)
        notes.append("imaginary")
    shown = _finite([curves.path for curves in panel.all_curves()])
    if shown.size and shown.min() < lowest + IMAGINARY_THZ:
        notes.append(f"cut off, down to {shown.min():.3g} THz".replace("-", "−"))
    if shown.size and shown.max() > highest:
        notes.append(f"cut off, up to {shown.max():.3g} THz")
    if notes:
        axes.text(
            0.012, 0.02, ", ".join(notes), transform=axes.transAxes, fontsize=8.5, style="italic", color=NOTE,
            va="bottom", zorder=5,
        )  # fmt: skip


#: Grey that is dark enough to be read on the tinted band.
NOTE = "#6B6B6B"


def draw_densities(axes: Axes, panel: DispersionPanel) -> bool:
    """Densities of states along the frequency axis of the panel; False when no curve has one.

    That of the panel's first potential is filled.
    """
    top = 0.0
    filled = next((curves for curves in panel.models if curves.dos is not None), None)
    for curves, line in lines_of(panel):
        if curves.dos is None or curves.dos_frequencies is None:
            continue
        if curves is filled:
            axes.fill_betweenx(curves.dos_frequencies, 0.0, curves.dos, color=line.colour, alpha=0.15, linewidth=0)
        axes.plot(
            curves.dos, curves.dos_frequencies,
            color=line.colour, linewidth=line.width, linestyle=line.dashes, zorder=line.above,
        )  # fmt: skip
        finite = np.asarray(curves.dos)[np.isfinite(curves.dos)]
        top = max(top, float(finite.max(initial=0.0)))
    axes.axhline(0.0, color=REFERENCE, linewidth=0.6)
    axes.set_xlim(0.0, 1.08 * top if top > 0 else 1.0)
    axes.set_xticks([])
    axes.tick_params(axis="y", labelleft=False)
    return top > 0
