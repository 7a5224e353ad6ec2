"""Phonon dispersion with the density of states beside it, model over reference (Figures 1, 2 and 8 of the paper)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ndsc.report.style import GRID, MODEL, MUTED, REFERENCE, new_figure, paper_style
from ndsc.results import IMAGINARY_THZ

if TYPE_CHECKING:
    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]

_GREEK = {
    "G": "Γ", "GAMMA": "Γ", "GM": "Γ", "Γ": "Γ", "DELTA": "Δ", "LAMBDA": "Λ", "SIGMA": "Σ",
}  # fmt: skip


@dataclass(frozen=True)
class _Reference:
    """How the reference's lines are drawn; dashes that stay visible on top of the model's line."""

    colour: str = REFERENCE
    width: float = 1.0
    dashes: tuple[float, tuple[float, float]] = (0.0, (3.0, 3.0))


_DASHED = _Reference()
#: The model's line is wider, so that its colour shows on both sides of the reference's dashes.
_MODEL_WIDTH = 2.0
#: Branches closer than this along a whole leg of the path are drawn once: dashes that do not fall on each other's would
#: make a solid line.
_DEGENERATE_THZ = 1e-3


def dispersion_figure(
    comparison: PhononComparison,
    *,
    model_label: str = "model",
    reference_label: str = "reference",
    title: str = "",
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

    Returns
    -------
    matplotlib.figure.Figure
    """
    with paper_style():
        figure = new_figure(7.0, 4.4)
        grid = figure.add_gridspec(2, 2, width_ratios=(3.6, 1.0), height_ratios=(3.4, 1.0))
        bands = figure.add_subplot(grid[0, 0])
        errors = figure.add_subplot(grid[1, 0], sharex=bands)
        density = figure.add_subplot(grid[0, 1], sharey=bands)
        note = figure.add_subplot(grid[1, 1])

        pieces = path_pieces(comparison.path_distances, comparison.path_qpoints)
        ticks, labels = merged_ticks(comparison.path_ticks, comparison.path_labels)
        _draw_bands(bands, comparison, pieces, path_legs(comparison.path_distances, pieces, ticks))
        _draw_errors(errors, comparison, pieces)
        _draw_density(density, comparison)
        jumps = [float(comparison.path_distances[piece.start]) for piece in pieces[1:]]
        for axes in (bands, errors):
            axes.set_xlim(float(comparison.path_distances[0]), float(comparison.path_distances[-1]))
            for tick in ticks[1:-1]:
                is_jump = any(abs(tick - jump) < 1e-9 for jump in jumps)
                axes.axvline(tick, color=REFERENCE if is_jump else GRID, linewidth=0.7, zorder=0)
        errors.set_xticks(ticks, labels)
        errors.tick_params(axis="x", length=0)
        bands.tick_params(axis="x", length=0, labelbottom=False)
        bands.set_title(title)
        _draw_note(note, comparison, model_label, reference_label)
    return figure


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


def _draw_bands(axes: Axes, comparison: PhononComparison, pieces: Sequence[slice], legs: Sequence[slice]) -> None:
    x = comparison.path_distances
    for piece in pieces:
        axes.plot(x[piece], comparison.model_path[piece], color=MODEL, linewidth=_MODEL_WIDTH, zorder=2)
    for leg in legs:
        axes.plot(
            x[leg], _distinct_branches(comparison.reference_path[leg]),
            color=_DASHED.colour, linewidth=_DASHED.width, linestyle=_DASHED.dashes, zorder=3,
        )  # fmt: skip
    lowest, highest = _frequency_limits(comparison)
    axes.set_ylim(lowest, highest)
    axes.axhline(0.0, color=REFERENCE, linewidth=0.6, zorder=1)
    axes.set_ylabel("Frequency (THz)")
    if lowest < 0.0:
        axes.axhspan(lowest, 0.0, color="#F3E3DC", zorder=-1, linewidth=0)
        axes.text(
            0.012, 0.02, "imaginary", transform=axes.transAxes, fontsize=8.5, style="italic", color=MUTED, va="bottom"
        )


def _distinct_branches(frequencies: FloatArray) -> FloatArray:
    """(n, m) array : the branches, in order of frequency, without those that fall on the one before."""
    apart = np.any(np.abs(np.diff(frequencies, axis=1)) > _DEGENERATE_THZ, axis=0)
    return frequencies[:, np.concatenate([[True], apart])]


def _frequency_limits(comparison: PhononComparison) -> tuple[float, float]:
    finite = np.concatenate([comparison.model_path.ravel(), comparison.reference_path.ravel()])
    finite = finite[np.isfinite(finite)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    bottom = 1.08 * lowest if lowest < IMAGINARY_THZ else 0.0
    return bottom, max(1.05 * highest, 0.1)


def _draw_errors(axes: Axes, comparison: PhononComparison, pieces: Sequence[slice]) -> None:
    difference = comparison.model_path - comparison.reference_path
    for piece in pieces:
        axes.plot(comparison.path_distances[piece], difference[piece], color=MODEL, linewidth=0.9, alpha=0.85)
    axes.axhline(0.0, color=REFERENCE, linewidth=_DASHED.width, linestyle=_DASHED.dashes, zorder=3)
    finite = np.abs(difference[np.isfinite(difference)])
    limit = max(1.15 * float(finite.max(initial=0.0)), 1e-3)
    axes.set_ylim(-limit, limit)
    axes.locator_params(axis="y", nbins=4)
    axes.set_ylabel("Error (THz)")


def _draw_density(axes: Axes, comparison: PhononComparison) -> None:
    frequency = comparison.dos_frequencies
    axes.fill_betweenx(frequency, 0.0, comparison.model_dos, color=MODEL, alpha=0.18, linewidth=0)
    axes.plot(comparison.model_dos, frequency, color=MODEL, linewidth=_MODEL_WIDTH)
    axes.plot(
        comparison.reference_dos, frequency,
        color=_DASHED.colour, linewidth=_DASHED.width, linestyle=_DASHED.dashes,
    )  # fmt: skip
    axes.axhline(0.0, color=REFERENCE, linewidth=0.6)
    top = float(np.nanmax([np.nanmax(comparison.model_dos), np.nanmax(comparison.reference_dos)]))
    axes.set_xlim(0.0, 1.08 * top if top > 0 else 1.0)
    axes.set_xticks([])
    axes.tick_params(axis="y", labelleft=False)
    axes.set_xlabel("Density of states")


def _draw_note(axes: Axes, comparison: PhononComparison, model_label: str, reference_label: str) -> None:
    axes.set_axis_off()
    axes.plot([], [], color=MODEL, linewidth=_MODEL_WIDTH, label=model_label)
    axes.plot([], [], color=_DASHED.colour, linewidth=_DASHED.width, linestyle=_DASHED.dashes, label=reference_label)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.08, 1.05), borderaxespad=0.0)
    axes.text(
        -0.06, 0.0,
        f"RMSE (mesh) {_thz(comparison.rmse_mesh_thz)}\nRMSE (path) {_thz(comparison.rmse_path_thz)}",
        transform=axes.transAxes, fontsize=9, va="bottom", linespacing=1.35,
    )  # fmt: skip


def _thz(value: float) -> str:
    return f"{value:#.3g} THz" if np.isfinite(value) else "not finite"
