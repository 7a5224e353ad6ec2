"""Phonons with the errors that a choice of labels predicts: bands around the branches and the density of states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ndsc.phonon_path import BandPath
from ndsc.report.bands import Line, draw_branches, draw_path_axis
from ndsc.report.style import MODEL, REFERENCE, curve_id, new_figure, paper_style, plain
from ndsc.results import IMAGINARY_THZ

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]

#: Parts of the modes that the bands are to hold, the widest first: half widths in standard deviations, and colours.
BANDS = ((95, 1.959964, "#D6E6F2"), (68, 0.994458, "#A3C9E3"))
#: What the bands are called where they can be hidden.
EXPECTED = "expected errors"
#: Bands of more frequencies than this become a picture inside the vector figure.
_MOST_VECTOR_BANDS = 6000
#: Largest difference of q-points that are the same: they are stored with six decimals.
_SAME = 2e-6


@dataclass(frozen=True, eq=False)
class PredictedCurves:
    """``phonons/predicted.json``: what labels say of the phonons, and how well.

    Attributes
    ----------
    path : BandPath
    path_frequencies, path_deviations : (n, n_bands) array, THz
        Frequencies along the path and their standard deviations.
    mesh : tuple of ints
        Divisions of the mesh.
    mesh_qpoints : (m, 3) array
        Its irreducible q-points, reduced coordinates.
    mesh_weights : (m,) array
    mesh_frequencies, mesh_deviations : (m, n_bands) array, THz
    dos_frequencies : (k,) array, THz
    dos, dos_deviation : (k,) array, 1/THz
        Density of states, with the number of bands as its integral.
    born : bool
        Whether frequencies have the non-analytical correction of Born charges.
    """

    path: BandPath
    path_frequencies: FloatArray
    path_deviations: FloatArray
    mesh: tuple[int, ...]
    mesh_qpoints: FloatArray
    mesh_weights: FloatArray
    mesh_frequencies: FloatArray
    mesh_deviations: FloatArray
    dos_frequencies: FloatArray
    dos: FloatArray
    dos_deviation: FloatArray
    born: bool = False

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PredictedCurves:
        """Read what :meth:`ndsc.workflow.selection.ChosenLabels.save_prediction` writes.

        Raises
        ------
        KeyError, TypeError, ValueError
            When something is missing, or arrays do not belong together.
        """
        names = (
            "path_frequencies", "path_deviations", "mesh_qpoints", "mesh_weights", "mesh_frequencies",
            "mesh_deviations", "dos_frequencies", "dos", "dos_deviation",
        )  # fmt: skip
        arrays = {name: np.asarray(document[name], dtype=float) for name in names}
        path = BandPath(
            qpoints=np.asarray(document["path_qpoints"], dtype=float),
            distances=np.asarray(document["path_distances"], dtype=float),
            ticks=tuple(float(tick) for tick in document["path_ticks"]),
            labels=tuple(str(label) for label in document["path_labels"]),
            segments=tuple((int(first), int(last)) for first, last in document["path_segments"]),
        )
        found = cls(path=path, mesh=tuple(int(n) for n in document["mesh"]), born=bool(document.get("born")), **arrays)
        pairs = (
            ("path_frequencies", "path_deviations", len(path.qpoints)),
            ("mesh_frequencies", "mesh_deviations", len(found.mesh_qpoints)),
            ("dos", "dos_deviation", len(found.dos_frequencies)),
        )
        for one, other, n in pairs:
            if arrays[one].shape != arrays[other].shape or len(arrays[one]) != n:
                raise ValueError(f"{one} and {other} have the shapes {arrays[one].shape} and {arrays[other].shape}")
        return found

    @property
    def min_frequency_thz(self) -> float:
        """Lowest frequency on mesh and path, THz; negative for an instability."""
        return float(min(self.path_frequencies.min(), self.mesh_frequencies.min()))

    @property
    def max_frequency_thz(self) -> float:
        """Highest frequency on mesh and path, THz."""
        return float(max(self.path_frequencies.max(), self.mesh_frequencies.max()))

    def matches(self, comparison: PhononComparison) -> bool:
        """Whether a comparison is along the same path, and with Born charges where these are without."""
        if comparison.polar and not self.born:
            return False  # of an older run
        one, two = self.path.qpoints, comparison.path.qpoints
        return one.shape == two.shape and bool(np.allclose(one, two, atol=_SAME))

    def coverage(self, comparison: PhononComparison) -> dict[int, float] | None:
        """Part of the reference's modes on the mesh inside each band, by its per cent; None where they do not match."""
        if comparison.polar and not self.born:
            return None
        one, two = self.mesh_qpoints, comparison.mesh_qpoints
        if one.shape != two.shape or not np.allclose(one, two, atol=_SAME):
            return None
        errors = np.abs(comparison.reference_mesh - self.mesh_frequencies)
        weights = self.mesh_weights / self.mesh_weights.sum()
        return {
            part: float(weights @ np.mean(errors <= half * self.mesh_deviations, axis=1)) for part, half, _ in BANDS
        }


def predicted_data(curves: PredictedCurves) -> tuple[DataFrame, DataFrame]:
    """The numbers of the bands, one frequency a row.

    Returns
    -------
    path : DataFrame
        ``point`` along the path, from 0; ``q1``, ``q2``, ``q3``, reduced; ``distance_per_angstrom``; ``branch``, from 1
        in order of frequency; ``frequency_thz``, ``deviation_thz``.
    dos : DataFrame
        ``frequency_thz``, ``dos_per_thz``, ``deviation_per_thz``.
    """
    from pandas import DataFrame

    points, branches = curves.path_frequencies.shape
    at = np.repeat(np.arange(points), branches)
    path = DataFrame(
        {"point": at}
        | {f"q{axis + 1}": curves.path.qpoints[at, axis] for axis in range(3)}
        | {"distance_per_angstrom": curves.path.distances[at], "branch": np.tile(np.arange(1, branches + 1), points)}
        | {"frequency_thz": curves.path_frequencies.ravel(), "deviation_thz": curves.path_deviations.ravel()}
    )
    dos = DataFrame(
        {"frequency_thz": curves.dos_frequencies, "dos_per_thz": curves.dos, "deviation_per_thz": curves.dos_deviation}
    )
    return path, dos


def draw_bands(axes: Axes, curves: PredictedCurves, centre: FloatArray | None = None) -> None:
    """Bands around the branches, without lines; around `centre` (n, n_bands) where it is given, as 0 for errors."""
    middle = curves.path_frequencies if centre is None else centre
    for number, (_, half, colour) in enumerate(BANDS):
        width = half * curves.path_deviations
        for first, last in curves.path.segments:
            piece = slice(first, last + 1)
            for branch in range(middle.shape[1]):
                low, high = (middle[piece, branch] + sign * width[piece, branch] for sign in (-1, 1))
                axes.fill_between(
                    curves.path.distances[piece], low, high, color=colour, linewidth=0, zorder=1.1 + 0.1 * number,
                    gid=curve_id(EXPECTED), rasterized=middle.size > _MOST_VECTOR_BANDS,
                )  # fmt: skip


def draw_density_bands(
    axes: Axes, curves: PredictedCurves, centre: tuple[FloatArray, FloatArray] | None = None
) -> None:
    """Bands around a density of states along the frequency axis, the predicted one or `centre` (THz, 1/THz)."""
    frequencies, dos = (curves.dos_frequencies, curves.dos) if centre is None else centre
    deviations = np.interp(frequencies, curves.dos_frequencies, curves.dos_deviation, left=0.0, right=0.0)
    for number, (_, half, colour) in enumerate(BANDS):
        low, high = (np.maximum(dos + sign * half * deviations, 0.0) for sign in (-1, 1))
        axes.fill_betweenx(
            frequencies, low, high, color=colour, linewidth=0, zorder=1.1 + 0.1 * number, gid=curve_id(EXPECTED)
        )


def draw_expected_errors(axes: Axes, curves: PredictedCurves) -> None:
    """Bands around an error of zero, on an axis that then reaches beyond them and is symmetric."""
    draw_bands(axes, curves, np.zeros_like(curves.path_frequencies))
    widest = BANDS[0][1] * float(curves.path_deviations.max(initial=0.0))
    limit = max(1.1 * widest, *(abs(edge) for edge in axes.get_ylim()), 1e-3)
    axes.set_ylim(-limit, limit)


def predicted_dispersion_figure(curves: PredictedCurves, *, name: str = "potential", title: str = "") -> Figure:
    """Draw phonons as they are predicted, with their bands, what errors are expected below, and the density of states.

    Parameters
    ----------
    curves : PredictedCurves
    name : str
        Of the potential.
    title : str
        The crystal.
    """
    line = Line(MODEL, 1.2, "solid", 3.0, name)
    with paper_style():
        figure = new_figure(7.0, 4.4)
        grid = figure.add_gridspec(2, 2, width_ratios=(3.6, 1.0), height_ratios=(3.4, 1.0))
        branches = figure.add_subplot(grid[0, 0])
        errors = figure.add_subplot(grid[1, 0], sharex=branches)
        density = figure.add_subplot(grid[0, 1], sharey=branches)
        note = figure.add_subplot(grid[1, 1])
        draw_bands(branches, curves)
        draw_branches(branches, curves.path, curves.path_frequencies, line)
        draw_path_axis(branches, curves.path)
        lowest = 1.08 * curves.min_frequency_thz if curves.min_frequency_thz < IMAGINARY_THZ else 0.0
        branches.set_ylim(lowest, max(1.06 * curves.max_frequency_thz, 0.1))
        if lowest < 0.0:
            branches.axhspan(lowest, 0.0, color="#F3E3DC", zorder=-1, linewidth=0)
            branches.axhline(0.0, color=REFERENCE, linewidth=0.6, zorder=1)
        branches.set_ylabel("Frequency (THz)")
        branches.tick_params(axis="x", labelbottom=False)
        branches.set_title(plain(title))
        draw_expected_errors(errors, curves)
        draw_path_axis(errors, curves.path)
        errors.axhline(0.0, color=line.colour, linewidth=line.width, zorder=3)
        widest = BANDS[0][1] * float(curves.path_deviations.max(initial=0.0))
        errors.set_ylim(-max(1.15 * widest, 1e-3), max(1.15 * widest, 1e-3))
        errors.locator_params(axis="y", nbins=4)
        errors.set_ylabel("Error (THz)")
        draw_density_bands(density, curves)
        density.plot(
            curves.dos, curves.dos_frequencies, color=line.colour, linewidth=line.width, zorder=3, gid=curve_id(name)
        )
        density.set_xlim(0.0, 1.08 * max(float(curves.dos.max(initial=0.0)), 1e-9))
        density.set_xticks([])
        density.tick_params(axis="y", labelleft=False)
        density.set_xlabel("Density of states")
        note.set_axis_off()
        note.legend(
            handles=[line.handle(name), *band_handles()], loc="upper left", bbox_to_anchor=(-0.08, 1.08),
            borderaxespad=0.0, fontsize=9, handlelength=1.8, handletextpad=0.5, title="predicted, no reference",
            title_fontsize=9, alignment="left",
        )  # fmt: skip
    return figure


def band_handles() -> list[Patch]:
    """Entries of a legend."""
    return [Patch(color=colour, linewidth=0, label=f"{part} % expected") for part, _, colour in reversed(BANDS)]
