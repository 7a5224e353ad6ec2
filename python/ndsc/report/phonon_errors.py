"""Where the phonons of a potential are wrong: by branch along the path, by frequency and length of q, by q-point."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError
from ndsc.report.bands import draw_path_axis, merged_ticks, path_pieces
from ndsc.report.style import MODEL, REFERENCE, SERIES, new_figure, paper_style
from ndsc.report.tidy import DataTable

if TYPE_CHECKING:
    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]

#: Above this number, points become a picture inside the vector figure.
MOST_VECTOR_POINTS = 2000
#: Share of the modes that a curve of errors marks.
_MARKED = 0.95


def phonon_error_figure(comparison: PhononComparison, *, cell: ArrayLike | None = None, title: str = "") -> Figure:
    """Draw the error of each branch along the path, that of each mode of the mesh, and how many have a larger one.

    Parameters
    ----------
    comparison : PhononComparison
    cell : (3, 3) array, Å, optional
        The cell that q-points are reduced to, rows are vectors: points are coloured by the length of their q.
    title : str
    """
    with paper_style():
        figure = new_figure(7.0, 4.6)
        grid = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.55))
        _draw_strips(figure, figure.add_subplot(grid[0, :]), comparison, title)
        _draw_scatter(figure, figure.add_subplot(grid[1, 0]), comparison, cell)
        _draw_distribution(figure.add_subplot(grid[1, 1]), {"": comparison})
    return figure


def error_distribution_figure(comparisons: Mapping[str, PhononComparison]) -> Figure:
    """Draw, for several potentials, the share of the mesh's modes whose error is larger than a given one.

    Parameters
    ----------
    comparisons : mapping of str to PhononComparison
        By the name of the potential.

    Raises
    ------
    InputError
        When there is none.
    """
    if not comparisons:
        raise InputError("There are no phonons to compare. Give at least one comparison.")
    with paper_style():
        figure = new_figure(3.6, 2.8 + 0.2 * len(comparisons))
        _draw_distribution(figure.add_subplot(), comparisons)
        figure.legend(loc="outside upper center")
    return figure


def mesh_data(comparison: PhononComparison, *, cell: ArrayLike | None = None) -> DataTable:
    """Every mode of the mesh.

    Returns
    -------
    DataTable
        ``q1``, ``q2``, ``q3``, reduced; ``q_per_angstrom``, the length of the shortest equivalent q without 2 pi, empty
        without `cell`; ``weight``, the number of q-points of the mesh that it stands for; ``branch``, from 1 in order
        of frequency; ``model_thz``, ``reference_thz``, ``error_thz``.
    """
    lengths = _lengths(comparison, cell)
    rows = [
        (*qpoint, length, int(weight), branch, model, reference, model - reference)
        for qpoint, length, weight, models, references in zip(
            comparison.mesh_qpoints,
            lengths,
            comparison.mesh_weights,
            comparison.model_mesh,
            comparison.reference_mesh,
            strict=True,
        )
        for branch, (model, reference) in enumerate(zip(models, references, strict=True), start=1)
    ]
    columns = (
        "q1", "q2", "q3", "q_per_angstrom", "weight", "branch", "model_thz", "reference_thz", "error_thz",
    )  # fmt: skip
    return DataTable.from_rows(columns, rows)


def branch_errors(comparison: PhononComparison) -> DataTable:
    """Errors of branches over the mesh: ``branch``, ``rmse_thz``, ``mean_error_thz``, ``max_error_thz`` (largest)."""
    error = comparison.model_mesh - comparison.reference_mesh
    weights = comparison.mesh_weights
    rows = [
        (
            branch,
            float(np.sqrt(np.average(column**2, weights=weights))),
            float(np.average(column, weights=weights)),
            float(np.max(np.abs(column))),
        )
        for branch, column in enumerate(error.T, start=1)
    ]
    return DataTable.from_rows(("branch", "rmse_thz", "mean_error_thz", "max_error_thz"), rows)


def worst_qpoints(comparison: PhononComparison, number: int = 10) -> DataTable:
    """The q-points of the mesh with the largest error of any branch, largest first.

    Returns
    -------
    DataTable
        ``qpoint`` as fractions, ``weight``, ``branch`` with the largest error, its ``model_thz``, ``reference_thz`` and
        ``error_thz``, and ``rmse_thz`` over all branches. What is not finite comes first.
    """
    error = comparison.model_mesh - comparison.reference_mesh
    size = np.where(np.isfinite(error), np.abs(error), np.inf)
    order = np.argsort(-size.max(axis=1), kind="stable")[:number]
    rows = []
    for index in order:
        branch = int(np.argmax(size[index]))
        rows.append(
            (
                qpoint_text(comparison.mesh_qpoints[index], comparison.mesh),
                int(comparison.mesh_weights[index]),
                branch + 1,
                float(comparison.model_mesh[index, branch]),
                float(comparison.reference_mesh[index, branch]),
                float(error[index, branch]),
                float(np.sqrt(np.mean(error[index] ** 2))),
            )
        )
    names = ("qpoint", "weight", "branch", "model_thz", "reference_thz", "error_thz", "rmse_thz")
    return DataTable.from_rows(names, rows)


def qpoint_text(qpoint: FloatArray, mesh: tuple[int, int, int]) -> str:
    """A q-point of a mesh as fractions: ``(0 1/4 1/2)``."""
    parts = [Fraction(round(float(part) * divisions), divisions) for part, divisions in zip(qpoint, mesh, strict=True)]
    return f"({' '.join(str(part) for part in parts)})"


def _lengths(comparison: PhononComparison, cell: ArrayLike | None) -> FloatArray:
    """(m,) array, 1/Å : length of the shortest q equivalent to each of the mesh; NaN without a cell."""
    if cell is None or np.size(cell) == 0:
        return np.full(len(comparison.mesh_qpoints), np.nan)
    rows = np.asarray(cell, dtype=float)
    if rows.shape != (3, 3) or abs(np.linalg.det(rows)) < 1e-9:
        raise InputError(f"The cell {rows.tolist()} has no reciprocal lattice. Give three independent vectors as rows.")
    reciprocal = np.linalg.inv(rows).T
    _, lengths = find_mic(comparison.mesh_qpoints @ reciprocal, reciprocal)
    return np.asarray(lengths, dtype=float)


def _draw_strips(figure: Figure, axes: Axes, comparison: PhononComparison, title: str) -> None:
    """One strip a branch, the highest on top, coloured by the error along the path."""
    path = comparison.path
    error = comparison.model_path - comparison.reference_path
    finite = np.abs(error[np.isfinite(error)])
    limit = max(float(finite.max(initial=0.0)), 1e-6)
    bands = error.shape[1]
    mesh = None
    for piece in path_pieces(path.distances, path.qpoints):
        middle = path.distances[piece]
        edges = np.concatenate([middle[:1], (middle[1:] + middle[:-1]) / 2, middle[-1:]])
        mesh = axes.pcolormesh(
            edges, np.arange(bands + 1) + 0.5, np.ma.masked_invalid(error[piece].T),
            cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True,
        )  # fmt: skip
    draw_path_axis(axes, path)
    axes.set_facecolor("#BBBBBB")
    for tick in merged_ticks(path.ticks, path.labels)[0][1:-1]:
        axes.axvline(tick, color=REFERENCE, linewidth=0.5, zorder=3)
    for edge in range(1, bands):
        axes.axhline(edge + 0.5, color="white", linewidth=0.8, zorder=2)
    step = max(1, bands // 6)
    axes.set_yticks(range(1, bands + 1, step))
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("Branch")
    axes.set_title(title)
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=9)
        bar.set_label("Error (THz)")
        bar.locator = MaxNLocator(nbins=5)
        bar.update_ticks()


def _draw_scatter(figure: Figure, axes: Axes, comparison: PhononComparison, cell: ArrayLike | None) -> None:
    lengths = np.repeat(_lengths(comparison, cell), comparison.model_mesh.shape[1])
    model, reference = comparison.model_mesh.ravel(), comparison.reference_mesh.ravel()
    error = model - reference
    coloured = bool(np.isfinite(lengths).all()) and lengths.size > 0
    # Long q first: the few short ones, where sound velocities are, stay visible.
    order = np.argsort(-lengths, kind="stable") if coloured else np.arange(error.size)
    points = axes.scatter(
        reference[order], error[order], c=lengths[order] if coloured else MODEL, s=7.0,
        cmap="viridis" if coloured else None, linewidths=0, alpha=0.85, rasterized=error.size > MOST_VECTOR_POINTS,
    )  # fmt: skip
    axes.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=0)
    finite = np.abs(error[np.isfinite(error)])
    limit = max(1.1 * float(finite.max(initial=0.0)), 1e-6)
    axes.set_ylim(-limit, limit)
    axes.set_xlabel("Reference frequency (THz)")
    axes.set_ylabel("Error (THz)")
    if coloured:
        bar = figure.colorbar(points, ax=axes, pad=0.02, aspect=18)
        bar.set_label("|q| (1/Å)")


def _draw_distribution(axes: Axes, comparisons: Mapping[str, PhononComparison]) -> None:
    """Share of the modes whose error is larger; both axes are logarithmic, so that the tail shows."""
    smallest = 1.0
    for index, (name, comparison) in enumerate(comparisons.items()):
        error = np.abs(comparison.model_mesh - comparison.reference_mesh).ravel()
        weights = np.repeat(comparison.mesh_weights, comparison.model_mesh.shape[1])
        error = np.where(np.isfinite(error), error, np.inf)
        order = np.argsort(error, kind="stable")
        # The share of the modes with this error or a larger one.
        share = np.cumsum(weights[order][::-1])[::-1] / weights.sum()
        visible = np.isfinite(error[order]) & (error[order] > 0)
        colour = SERIES[index % len(SERIES)]
        label = f"{name}, RMSE {comparison.rmse_mesh_thz:#.3g} THz" if name else None
        axes.plot(error[order][visible], share[visible], color=colour, linewidth=1.5, label=label, zorder=3)
        smallest = min(smallest, float(share[-1]) if share.size else 1.0)
        if not name:
            _mark(axes, comparison, error[order], share)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(max(0.5 * smallest, 1e-6), 1.5)
    reach = [line.get_xdata() for line in axes.lines if np.size(line.get_xdata()) > 2]
    if reach:
        top = max(float(np.max(x)) for x in reach)
        axes.set_xlim(1e-3 * top, 1.5 * top)
    axes.set_xlabel("Error (THz)")
    axes.set_ylabel("Share of modes with a larger error")


def _mark(axes: Axes, comparison: PhononComparison, error: FloatArray, share: FloatArray) -> None:
    """The RMSE, and the error that 95 % of the modes do not exceed."""
    inside = error[share >= 1.0 - _MARKED]
    lines = [f"RMSE {comparison.rmse_mesh_thz:#.3g} THz"]
    if inside.size and np.isfinite(inside[-1]):
        lines.append(f"95 % within {inside[-1]:#.3g} THz")
        axes.axvline(float(inside[-1]), color=REFERENCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.text(0.04, 0.05, "\n".join(lines), transform=axes.transAxes, fontsize=9, va="bottom")
