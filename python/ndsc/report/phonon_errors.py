"""Where the phonons of a potential are wrong: by branch along the path, by frequency and length of q, by q-point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError
from ndsc.report.bands import draw_path_axis, merged_ticks
from ndsc.report.style import MODEL, MOST_VECTOR_POINTS, REFERENCE, SERIES, new_figure, paper_style, plain
from ndsc.report.text import qpoint_text

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]

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
        _draw_scatter(figure, figure.add_subplot(grid[1, 0]), mesh_data(comparison, cell=cell))
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


def mesh_data(comparison: PhononComparison, *, cell: ArrayLike | None = None) -> DataFrame:
    """Every mode of the mesh.

    Returns
    -------
    DataFrame
        ``q1``, ``q2``, ``q3``, reduced; ``q_per_angstrom``, the length of the shortest equivalent q without 2 pi, empty
        without `cell`; ``weight``, the number of q-points of the mesh that it stands for; ``branch``, from 1 in order
        of frequency; ``model_thz``, ``reference_thz``, ``error_thz``.
    """
    from pandas import DataFrame

    points, branches = comparison.model_mesh.shape
    at = np.repeat(np.arange(points), branches)
    return DataFrame(
        {f"q{axis + 1}": comparison.mesh_qpoints[at, axis] for axis in range(3)}
        | {
            "q_per_angstrom": _lengths(comparison.mesh_qpoints, cell)[at],
            "weight": comparison.mesh_weights[at].astype(int),
            "branch": np.tile(np.arange(1, branches + 1), points),
            "model_thz": comparison.model_mesh.ravel(),
            "reference_thz": comparison.reference_mesh.ravel(),
            "error_thz": (comparison.model_mesh - comparison.reference_mesh).ravel(),
        }
    )


def branch_errors(comparison: PhononComparison) -> DataFrame:
    """Errors of branches over the mesh: ``branch``, ``rmse_thz``, ``mean_error_thz``, ``max_error_thz`` (largest)."""
    from pandas import DataFrame

    error, weights = comparison.model_mesh - comparison.reference_mesh, comparison.mesh_weights
    return DataFrame(
        {
            "branch": np.arange(1, error.shape[1] + 1),
            "rmse_thz": np.sqrt(np.average(error**2, axis=0, weights=weights)),
            "mean_error_thz": np.average(error, axis=0, weights=weights),
            "max_error_thz": np.max(np.abs(error), axis=0),
        }
    )


def worst_qpoints(comparison: PhononComparison, number: int = 10) -> DataFrame:
    """The q-points of the mesh with the largest error of any branch, largest first.

    Returns
    -------
    DataFrame
        ``qpoint`` as fractions, ``weight``, ``branch`` with the largest error, its ``model_thz``, ``reference_thz`` and
        ``error_thz``, and ``rmse_thz`` over all branches. What is not finite comes first.
    """
    from pandas import DataFrame

    error, mesh = comparison.model_mesh - comparison.reference_mesh, comparison.mesh
    size = np.where(np.isfinite(error), np.abs(error), np.inf)
    worst = np.argsort(-size.max(axis=1), kind="stable")[:number]
    branch = size[worst].argmax(axis=1)
    return DataFrame(
        {
            "qpoint": [qpoint_text(np.rint(comparison.mesh_qpoints[index] * mesh), mesh) for index in worst],
            "weight": comparison.mesh_weights[worst].astype(int),
            "branch": branch + 1,
            "model_thz": comparison.model_mesh[worst, branch],
            "reference_thz": comparison.reference_mesh[worst, branch],
            "error_thz": error[worst, branch],
            "rmse_thz": np.sqrt(np.mean(error[worst] ** 2, axis=1)),
        }
    )


def _lengths(qpoints: FloatArray, cell: ArrayLike | None) -> FloatArray:
    """(m,) array, 1/Å : length of the shortest q equivalent to each; NaN without a cell."""
    if cell is None or np.size(cell) == 0:
        return np.full(len(qpoints), np.nan)
    rows = np.asarray(cell, dtype=float)
    if rows.shape != (3, 3) or abs(np.linalg.det(rows)) < 1e-9:
        raise InputError(f"The cell {rows.tolist()} has no reciprocal lattice. Give three independent vectors as rows.")
    reciprocal = np.linalg.inv(rows).T
    _, lengths = find_mic(qpoints @ reciprocal, reciprocal)
    return np.asarray(lengths, dtype=float)


def _draw_strips(figure: Figure, axes: Axes, comparison: PhononComparison, title: str) -> None:
    """One strip a branch, the highest on top, coloured by the error along the path."""
    path = comparison.path
    error = comparison.model_path - comparison.reference_path
    limit = _largest(error)
    bands = error.shape[1]
    for first, last in path.segments:
        middle = path.distances[first : last + 1]
        edges = np.concatenate([middle[:1], (middle[1:] + middle[:-1]) / 2, middle[-1:]])
        mesh = axes.pcolormesh(
            edges, np.arange(bands + 1) + 0.5, np.ma.masked_invalid(error[first : last + 1].T),
            cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True,
        )  # fmt: skip
    draw_path_axis(axes, path)
    axes.set_facecolor("#BBBBBB")
    for tick in merged_ticks(path.ticks, path.labels)[0][1:-1]:
        axes.axvline(tick, color=REFERENCE, linewidth=0.5, zorder=3)
    for edge in range(1, bands):
        axes.axhline(edge + 0.5, color="white", linewidth=0.8, zorder=2)
    axes.set_yticks(range(1, bands + 1, max(1, bands // 6)))
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("Branch")
    axes.set_title(plain(title))
    bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=9, ticks=MaxNLocator(nbins=5))
    bar.set_label("Error (THz)")


def _draw_scatter(figure: Figure, axes: Axes, mesh: DataFrame) -> None:
    coloured = bool(np.isfinite(mesh.q_per_angstrom).all()) and len(mesh) > 0
    # Long q first: the few short ones, where sound velocities are, stay visible.
    order = mesh.sort_values("q_per_angstrom", ascending=False, kind="stable") if coloured else mesh
    points = axes.scatter(
        order.reference_thz, order.error_thz, c=order.q_per_angstrom if coloured else MODEL, s=7.0,
        cmap="viridis" if coloured else None, linewidths=0, alpha=0.85, rasterized=len(mesh) > MOST_VECTOR_POINTS,
    )  # fmt: skip
    axes.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=0)
    limit = 1.1 * _largest(mesh.error_thz.to_numpy())
    axes.set_ylim(-limit, limit)
    axes.set_xlabel("Reference frequency (THz)")
    axes.set_ylabel("Error (THz)")
    if coloured:
        figure.colorbar(points, ax=axes, pad=0.02, aspect=18).set_label("|q| (1/Å)")


def _largest(error: FloatArray) -> float:
    return max(float(np.max(np.abs(error[np.isfinite(error)]), initial=0.0)), 1e-6)


def _draw_distribution(axes: Axes, comparisons: Mapping[str, PhononComparison]) -> None:
    """Share of the modes whose error is larger; both axes are logarithmic, so that the tail shows."""
    smallest, farthest = 1.0, 0.0
    for index, (name, comparison) in enumerate(comparisons.items()):
        error = np.abs(comparison.model_mesh - comparison.reference_mesh).ravel()
        weights = np.repeat(comparison.mesh_weights, comparison.model_mesh.shape[1])
        error = np.where(np.isfinite(error), error, np.inf)
        order = np.argsort(error, kind="stable")
        error = error[order]
        # The share of the modes with this error or a larger one.
        share = np.cumsum(weights[order][::-1])[::-1] / weights.sum()
        visible = np.isfinite(error) & (error > 0)
        colour = SERIES[index % len(SERIES)]
        label = plain(f"{name}, RMSE {comparison.rmse_mesh_thz:#.3g} THz") if name else None
        axes.plot(error[visible], share[visible], color=colour, linewidth=1.5, label=label, zorder=3)
        smallest = min(smallest, float(share[-1]) if share.size else 1.0)
        farthest = max(farthest, float(np.max(error[visible], initial=0.0)))
        if not name:
            _mark(axes, comparison, error, share)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(max(0.5 * smallest, 1e-6), 1.5)
    if farthest > 0:
        axes.set_xlim(1e-3 * farthest, 1.5 * farthest)
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
