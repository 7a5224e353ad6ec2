"""Phonon branches along a path: what all dispersion figures are drawn from, and how branches and axes are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.phonon_path import SAME_PLACE, BandPath
from ndsc.report.style import GRID, MUTED, REFERENCE, SERIES, curve_id, plain
from ndsc.results import IMAGINARY_THZ

if TYPE_CHECKING:
    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]
Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]

#: Frequencies of one reference, computed twice, differ by less than this (THz).
SAME_REFERENCE_THZ = 1e-3
#: Branches closer than this (THz) along a whole leg of the path are drawn once: dashes that do not coincide would make
#: a solid line.
_DEGENERATE_THZ = 1e-3
#: Grey that is dark enough to be read on the tinted band.
_NOTE = "#6B6B6B"
_TINT = "#F3E3DC"
_GREEK = {
    "G": "Γ", "GAMMA": "Γ", "GM": "Γ", "Γ": "Γ", "DELTA": "Δ", "LAMBDA": "Λ", "SIGMA": "Σ",
}  # fmt: skip


class Curve(NamedTuple):
    """The branches of a potential, of the reference or of the baseline along the path of a panel, in THz.

    ``kind`` is ``reference``, ``potential`` or ``baseline``; `rmse` (over the mesh, THz) is None for the reference,
    `dos` (1/THz) and `dos_frequencies` where they were not computed.
    """

    name: str
    kind: str
    path: FloatArray
    rmse: float | None
    dos_frequencies: FloatArray | None
    dos: FloatArray | None


@dataclass(frozen=True, eq=False)
class DispersionPanel:
    """One crystal: the reference and any number of potentials on one path.

    Attributes
    ----------
    comparisons : mapping of str to PhononComparison
        By the name of the potential, the first drawn on top; all with the same reference and path
        (``compare_phonons(..., path=...)``).
    title : str
        The crystal, or what sets this panel apart: ``"fcc Al"``, ``"η = 0.25"``.
    baseline : PhononComparison, optional
        A simpler model beside the same reference, drawn thin and grey: the harmonic model of the same database.
    reference_label, baseline_label : str

    Raises
    ------
    InputError
        When there is no comparison, or the references differ.
    """

    comparisons: Mapping[str, PhononComparison]
    title: str = ""
    baseline: PhononComparison | None = None
    reference_label: str = "reference"
    baseline_label: str = "harmonic model"

    def __post_init__(self) -> None:
        what = self.title or "this crystal"
        if not self.comparisons:
            raise InputError(f"There is nothing to draw for {what}. Give at least one comparison.")
        first, *others = [*self.comparisons.values(), *([] if self.baseline is None else [self.baseline])]
        for other in others:
            one, two = first.path.qpoints, other.path.qpoints
            same = one.shape == two.shape and np.allclose(one, two, atol=1e-8)
            if not same or not np.allclose(
                first.reference_path, other.reference_path, rtol=0.0, atol=SAME_REFERENCE_THZ
            ):
                raise InputError(
                    f"The comparisons of {what} have different {'references' if same else 'paths'}, so they do not "
                    "belong in one panel. Compare every potential with the same reference phonons along the same path."
                )

    @property
    def path(self) -> BandPath:
        """The path of all curves."""
        return next(iter(self.comparisons.values())).path

    def curves(self) -> list[Curve]:
        """The reference, the potentials, and the baseline if there is one, each with a name of its own."""

        def own(label: str, kind: str) -> str:
            return f"{label} ({kind})" if label in self.comparisons else label

        found = [(name, "potential", comparison) for name, comparison in self.comparisons.items()]
        found += [] if self.baseline is None else [(own(self.baseline_label, "baseline"), "baseline", self.baseline)]
        first = found[0][2]
        reference = Curve(
            own(self.reference_label, "reference"),
            "reference",
            first.reference_path,
            None,
            first.dos_frequencies,
            first.reference_dos,
        )
        return [reference] + [
            Curve(name, kind, one.model_path, one.rmse_mesh_thz, one.dos_frequencies, one.model_dos)
            for name, kind, one in found
        ]


@dataclass(frozen=True)
class Line:
    """How a curve is drawn: its width in points; curves with a higher `above` lie on top; `name` is the curve's."""

    colour: str
    width: float
    dashes: Dashes = "solid"
    above: float = 2.0
    name: str = ""

    def handle(self, label: str) -> Line2D:
        """The entry of a legend."""
        return Line2D(
            [], [], color=self.colour, linewidth=self.width, linestyle=self.dashes, label=plain(label)
        )  # fmt: skip


#: Black dashes on top of the potential's line, which is wider, so that its colour shows on both sides.
REFERENCE_LINE = Line(REFERENCE, 1.0, (0.0, (3.0, 3.0)), 4.0)
_BASELINE_LINE = Line(MUTED, 1.1, "solid", 1.5)


def lines_of(panel: DispersionPanel, names: Sequence[str] = ()) -> list[tuple[Curve, Line]]:
    """Every curve of a panel with its line: potentials, baseline, reference. Past six, colours return, dotted.

    Parameters
    ----------
    panel : DispersionPanel
    names : sequence of str
        The potentials of all panels of a figure, so that each has one colour; without it, those of the panel.
    """
    reference, *others = panel.curves()
    names = names or list(panel.comparisons)
    pairs = []
    for curve in others:
        if curve.kind == "baseline":
            pairs.append((curve, _BASELINE_LINE))
            continue
        index = names.index(curve.name)
        dashes: Dashes = "solid" if index < len(SERIES) else (0.0, (1.0, 1.6))
        width = 2.0 if len(names) == 1 else 1.6
        pairs.append((curve, Line(SERIES[index % len(SERIES)], width, dashes, 3.0 - 0.01 * index)))
    return [(curve, replace(line, name=curve.name)) for curve, line in [*pairs, (reference, REFERENCE_LINE)]]


def pretty_label(label: str) -> str:
    """A special point's name as it is printed: Greek letters, digits as subscripts, ``U|K`` at a jump."""
    return "|".join(_pretty_point(part) for part in label.replace(",", "|").split("|") if part.strip())


def _pretty_point(name: str) -> str:
    for mark in ("$", "\\mathrm", "\\", "{", "}", "_", " "):
        name = name.replace(mark, "")
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    letters = _GREEK.get(letters.upper(), letters)
    return f"{letters}$_{{{digits}}}$" if digits else letters


def merged_ticks(ticks: Sequence[float] | FloatArray, labels: Sequence[str]) -> tuple[list[float], list[str]]:
    """Ticks at one place become one, its names joined by ``|`` unless they are the same."""
    places: list[float] = []
    names: list[str] = []
    for tick, label in zip(ticks, labels, strict=True):
        pretty = pretty_label(label)
        if places and abs(float(tick) - places[-1]) < SAME_PLACE:
            if pretty not in names[-1].split("|"):
                names[-1] = f"{names[-1]}|{pretty}"
        else:
            places.append(float(tick))
            names.append(pretty)
    return places, names


def path_legs(path: BandPath) -> list[slice]:
    """The legs of a path, from one special point to the next; neighbours share the point between them."""
    legs = []
    for first, last in path.segments:
        part = path.distances[first : last + 1]
        inner = [
            tick
            for tick in merged_ticks(path.ticks, path.labels)[0]
            if part[0] + SAME_PLACE < tick < part[-1] - SAME_PLACE
        ]
        edges = [0, *(int(np.argmin(np.abs(part - tick))) for tick in inner), len(part) - 1]
        legs += [slice(first + start, first + end + 1) for start, end in itertools.pairwise(edges)]
    return legs


def draw_path_axis(axes: Axes, path: BandPath) -> None:
    """Special points as ticks with thin lines, black ones where the path jumps."""
    ticks, labels = merged_ticks(path.ticks, path.labels)
    jumps = np.array([path.distances[first] for first, _ in path.segments[1:]])
    axes.set_xlim(float(path.distances[0]), float(path.distances[-1]))
    for tick in ticks[1:-1]:
        is_jump = bool(np.any(np.abs(jumps - tick) < SAME_PLACE))
        axes.axvline(tick, color=REFERENCE if is_jump else GRID, linewidth=0.7, zorder=0)
    axes.set_xticks(ticks, _without_collisions(ticks, labels, axes), linespacing=0.9)
    axes.tick_params(axis="x", length=0)


def _without_collisions(ticks: Sequence[float], labels: Sequence[str], axes: Axes) -> list[str]:
    """Names that would run into the one before are set one line lower."""
    figure = axes.get_figure(root=True)
    # Roughly how wide the axes will be: what the grid gives them, before the layout.
    inches = float(axes.get_position().width * (figure.get_figwidth() if figure is not None else 1.0))
    widths = [sum(0.04 if char == "|" else 0.1 for char in label if char not in "${}_") for label in labels]
    scale = inches / (ticks[-1] - ticks[0] or 1.0)
    names, low = [], False
    for index, label in enumerate(labels):
        room = scale * (ticks[index] - ticks[index - 1]) if index else inches
        low = not low and index > 0 and room < (widths[index] + widths[index - 1]) / 2
        names.append(f"\n{label}" if low else label)
    return names


def draw_branches(axes: Axes, path: BandPath, frequencies: FloatArray, line: Line) -> None:
    """The branches of one curve, interrupted where the path jumps; degenerate branches of a dashed one drawn once."""
    dashed = line.dashes != "solid"
    pieces = path_legs(path) if dashed else [slice(first, last + 1) for first, last in path.segments]
    for piece in pieces:
        part = np.asarray(frequencies[piece], dtype=float)
        if dashed:
            apart = np.any(~(np.abs(np.diff(part, axis=1)) <= _DEGENERATE_THZ), axis=0)
            part = part[:, np.concatenate([[True], apart])]
        axes.plot(
            path.distances[piece], part,
            color=line.colour, linewidth=line.width, linestyle=line.dashes, zorder=line.above,
            gid=curve_id(line.name) if line.name else None,
        )  # fmt: skip


def frequency_limits(panels: Sequence[DispersionPanel]) -> tuple[float, float]:
    """Lowest and highest frequency to show, THz, for panels with one axis; the reference is always whole.

    A bad potential does not flatten the reference: what is out by more than the reference's highest frequency is cut
    off, and :func:`draw_panel` says so.
    """
    curves = [curve for panel in panels for curve in panel.curves()]
    reference = _finite([curve.path for curve in curves if curve.kind == "reference"])
    everything = _finite([curve.path for curve in curves])
    if everything.size == 0:
        return 0.0, 1.0
    whole = reference if reference.size else everything
    highest, lowest = float(whole.max()), float(whole.min())
    reach = max(highest, 0.1)
    top = max(highest, min(float(everything.max()), highest + reach))
    bottom = min(lowest, max(float(everything.min()), min(lowest, 0.0) - reach))
    return (1.08 * bottom if bottom < IMAGINARY_THZ else 0.0), max(1.05 * top, 0.1)


def _finite(arrays: Sequence[FloatArray]) -> FloatArray:
    joined: FloatArray = np.concatenate([np.zeros(0), *(np.ravel(array) for array in arrays)])
    return joined[np.isfinite(joined)]


def draw_panel(
    axes: Axes, panel: DispersionPanel, names: Sequence[str] = (), limits: tuple[float, float] | None = None
) -> None:
    """Every curve of a panel on its path, with the frequency axis; imaginary frequencies lie in a tinted band."""
    for curve, line in lines_of(panel, names):
        draw_branches(axes, panel.path, curve.path, line)
    lowest, highest = frequency_limits([panel]) if limits is None else limits
    draw_path_axis(axes, panel.path)
    axes.set_ylim(lowest, highest)
    axes.axhline(0.0, color=REFERENCE, linewidth=0.6, zorder=1)
    notes = []
    if lowest < 0.0:
        axes.axhspan(lowest, 0.0, color=_TINT, zorder=-1, linewidth=0)
        notes.append("imaginary")
    shown = _finite([curve.path for curve in panel.curves()])
    if shown.size and shown.min() < lowest + IMAGINARY_THZ:
        notes.append(f"cut off, down to {shown.min():.3g} THz".replace("-", "−"))
    if shown.size and shown.max() > highest:
        notes.append(f"cut off, up to {shown.max():.3g} THz")
    _note(axes, notes)


def shade_imaginary(axes: Axes, lowest: float) -> None:
    """Tint the part of the axis below zero, down to `lowest` THz, and say what it is; nothing where that is zero."""
    if lowest < 0.0:
        axes.axhspan(lowest, 0.0, color=_TINT, zorder=-1, linewidth=0)
        _note(axes, ["imaginary"])


def _note(axes: Axes, notes: Sequence[str]) -> None:
    if notes:
        axes.text(
            0.012, 0.02, ", ".join(notes), transform=axes.transAxes, fontsize=8.5, style="italic", color=_NOTE,
            va="bottom", zorder=5,
        )  # fmt: skip


def draw_densities(axes: Axes, panel: DispersionPanel, names: Sequence[str] = (), *, filled: bool = True) -> None:
    """Densities of states along the frequency axis of the panel; that of the panel's first potential may be filled."""
    known = [(curve, line) for curve, line in lines_of(panel, names) if curve.dos is not None]
    top = 0.0
    for number, (curve, line) in enumerate(known):
        frequencies, dos = np.asarray(curve.dos_frequencies), np.asarray(curve.dos)
        if filled and number == 0 and curve.kind == "potential":
            axes.fill_betweenx(
                frequencies, 0.0, dos, color=line.colour, alpha=0.15, linewidth=0, gid=curve_id(curve.name)
            )
        axes.plot(
            dos, frequencies, color=line.colour, linewidth=line.width, linestyle=line.dashes, zorder=line.above,
            gid=curve_id(curve.name),
        )  # fmt: skip
        top = max(top, float(_finite([dos]).max(initial=0.0)))
    axes.axhline(0.0, color=REFERENCE, linewidth=0.6)
    axes.set_xlim(0.0, 1.08 * top if top > 0 else 1.0)
    axes.set_xticks([])
    axes.tick_params(axis="y", labelleft=False)
