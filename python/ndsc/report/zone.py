"""The first Brillouin zone with the q-points of a grid, and which supercell of a set holds each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import minkowski_reduce
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from ndsc.errors import InputError
from ndsc.phonons import band_path
from ndsc.report.bands import pretty_label
from ndsc.report.style import MOST_VECTOR_POINTS, MUTED, REFERENCE, SERIES, curve_id, new_figure, paper_style
from ndsc.report.text import chemical, count, grid

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.supercells import SupercellSet

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Grids with more q-points than this are not drawn: nobody could tell them apart.
MOST_QPOINTS = 8000
#: Supercells that the legend names.
_NAMED = 14
#: Where the zone is seen from, in Cartesian axes; sheets are seen along their normal.
_EYE = np.array([1.0, 0.42, 0.36])
#: Two lengths in the reciprocal lattice that differ by less, relative to its shortest vector, are the same.
_SAME = 1e-6
_IMAGES: FloatArray = np.stack(np.meshgrid(*[np.arange(-2.0, 3.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class Zone:
    """The first Brillouin zone of a lattice: the points that are nearer to the origin than to any reciprocal vector.

    Attributes
    ----------
    reciprocal : (3, 3) float array, 1/Å
        Minkowski-reduced reciprocal vectors as rows, without 2 pi.
    faces : tuple of (n, 3) float arrays, 1/Å
        The corners of each face, in order around it.
    """

    reciprocal: FloatArray
    faces: tuple[FloatArray, ...]

    @classmethod
    def of(cls, cell: FloatArray) -> Zone:
        """The zone of the lattice whose vectors are the rows of `cell` (Å)."""
        reciprocal = np.asarray(minkowski_reduce(np.linalg.inv(cell).T)[0], dtype=float)
        points = _IMAGES @ reciprocal
        origin = len(points) // 2
        found = Voronoi(points)
        faces = []
        for pair, corners in zip(found.ridge_points, found.ridge_vertices, strict=True):
            if origin not in pair or -1 in corners:
                continue
            face = _in_order(found.vertices[corners], points[pair].sum(axis=0))
            if len(face) > 2:
                faces.append(face)
        return cls(reciprocal, tuple(faces))

    @property
    def volume(self) -> float:
        """1/Å³; that of the reciprocal cell."""
        # Each face is the base of a pyramid with its tip at the centre of the zone.
        return sum(
            abs(float(np.dot(face[0], np.cross(face[i] - face[0], face[i + 1] - face[0])))) / 6
            for face in self.faces
            for i in range(1, len(face) - 1)
        )

    def images(self, point: FloatArray) -> FloatArray:
        """(n, 3) array, 1/Å : the points of the zone that are equivalent to `point`; several on its surface."""
        # To the nearest vector of the reduced lattice first, so that the images around it are enough.
        near = point - np.rint(point @ np.linalg.inv(self.reciprocal)) @ self.reciprocal
        every = near + _IMAGES @ self.reciprocal
        lengths = np.linalg.norm(every, axis=1)
        tolerance = _SAME * np.linalg.norm(self.reciprocal, axis=1).min()
        chosen: FloatArray = every[lengths < lengths.min() + tolerance]
        return chosen

    def holds(self, point: FloatArray) -> bool:
        """Whether a point (1/Å) is in the zone or on its surface."""
        shortest = float(np.linalg.norm(self.images(point)[0]))
        return float(np.linalg.norm(point)) < shortest * (1 + 1e-4) + 1e-9


def _in_order(corners: FloatArray, normal: FloatArray) -> FloatArray:
    """The corners of a face in order around its centre, those that coincide once."""
    _, first = np.unique(np.round(corners / np.linalg.norm(normal), 7), axis=0, return_index=True)
    corners = corners[first]
    away = corners - corners.mean(axis=0)
    axis = away[0] / np.linalg.norm(away[0])
    other = np.cross(normal / np.linalg.norm(normal), axis)
    ordered: FloatArray = corners[np.argsort(np.arctan2(away @ other, away @ axis))]
    return ordered


def check_grid_is_drawn(divisions: Sequence[int]) -> None:
    """Refuse a grid with so many q-points that a picture of the Brillouin zone would show nothing.

    Raises
    ------
    InputError
        When the grid has more than 8000 q-points.
    """
    number = math.prod(int(n) for n in divisions)
    if number > MOST_QPOINTS:
        raise InputError(
            f"The grid {grid(divisions)} has {number} q-points, too many for a picture of the Brillouin zone (at most "
            f"{MOST_QPOINTS}). Draw a coarser grid, or leave out the picture."
        )


def zone_data(supercells: SupercellSet) -> DataFrame:
    """Where the q-points of the grid are, and which supercell holds each.

    Returns
    -------
    DataFrame
        ``q1``, ``q2``, ``q3``, reduced, between 0 and 1; ``x``, ``y``, ``z``, 1/Å without 2 pi, in the first zone: a
        q-point on its surface has a row for each equivalent place; ``supercell``, from 0, the first that holds the
        q-point, or the one that holds it after a rotation of the crystal; ``rotated``, whether it needs one;
        ``holders``, all supercells that hold it as it is, as ``s000 s002``.

    Raises
    ------
    InputError
        When the grid has more than 8000 q-points.
    """
    from pandas import DataFrame

    check_grid_is_drawn(supercells.grid)
    divisions = np.array(supercells.grid, dtype=np.int64)
    numerators = np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), axis=-1).reshape(-1, 3)
    held = holders(supercells, numerators)
    located = supercells.locate_all(numerators)[0]
    first = np.where(held.any(axis=1), held.argmax(axis=1), located)
    zone = Zone.of(supercells.atoms.cell.array)
    reciprocal = np.linalg.inv(supercells.atoms.cell.array).T
    rows = []
    for index, q in enumerate(numerators / divisions):
        names = " ".join(f"s{number:03d}" for number in np.flatnonzero(held[index]))
        rows += [(*q, *place, int(first[index]), not held[index].any(), names) for place in zone.images(q @ reciprocal)]
    return DataFrame(rows, columns=["q1", "q2", "q3", "x", "y", "z", "supercell", "rotated", "holders"])


def holders(supercells: SupercellSet, numerators: IntArray) -> NDArray[np.bool_]:
    """(n, n_supercells) : whether S q is integer for each q-point ``numerators / grid`` and each supercell S."""
    common = int(np.lcm.reduce(supercells.grid))
    scaled = numerators * (common // np.array(supercells.grid, dtype=np.int64))
    return np.stack([~np.any((scaled @ matrix.T) % common, axis=1) for matrix in supercells.matrices], axis=1)


def zone_figure(supercells: SupercellSet, data: DataFrame | None = None) -> Figure:
    """Draw the first Brillouin zone with the q-points of the grid, those that a supercell holds in its colour.

    Large points are held by a supercell as they are; small pale ones only after a rotation of the crystal, which is why
    no supercell is needed for them. The centre of the zone, which every supercell holds, is black. Lines are the path
    of Setyawan and Curtarolo through the zone, with its special points; a sheet is seen along its normal.

    Parameters
    ----------
    supercells : SupercellSet
    data : DataFrame, optional
        As :func:`zone_data` gives it.

    Raises
    ------
    InputError
        When the grid has more than 8000 q-points.
    """
    data = zone_data(supercells) if data is None else data
    crystal, zone = supercells.crystal, Zone.of(supercells.atoms.cell.array)
    with paper_style():
        figure = new_figure(6.6, 4.6)
        layout = figure.add_gridspec(1, 2, width_ratios=(2.0, 1.0))
        axes, note = figure.add_subplot(layout[0, 0]), figure.add_subplot(layout[0, 1])
        for one in (axes, note):
            one.set_axis_off()
        axes.set_aspect("equal")
        view = _view(crystal.is_sheet)
        _draw_zone(axes, zone, view, flat=crystal.is_sheet)
        _draw_path(axes, supercells, zone, view)
        colours = zone_colours(len(supercells))
        places, depths = _projected(data, view)
        centre = ((data.q1 == 0) & (data.q2 == 0) & (data.q3 == 0)).to_numpy()
        for rotated in (True, False):
            for number, colour in enumerate(colours):
                chosen = ((data.supercell == number) & (data.rotated == rotated)).to_numpy() & ~centre
                order = np.argsort(depths[chosen], kind="stable")
                points = places[chosen][order]
                axes.scatter(
                    points[:, 0], points[:, 1], s=9 if rotated else 34, color=colour, alpha=0.45 if rotated else 1.0,
                    edgecolors="none" if rotated else "white", linewidths=0.5, zorder=3 if rotated else 4,
                    gid=curve_id(f"s{number:03d}"), rasterized=len(data) > MOST_VECTOR_POINTS,
                )  # fmt: skip
        axes.scatter(places[centre, 0], places[centre, 1], s=34, color=REFERENCE, zorder=5)
        held = data[~data.rotated & ~centre].drop_duplicates(["q1", "q2", "q3"])
        for number, colour in list(enumerate(colours))[:_NAMED]:
            own = int((held.supercell == number).sum())
            text = f"s{number:03d}, {count(int(supercells.sizes[number]), 'cell')}: {count(own, 'q-point')}"
            note.scatter([], [], s=34, color=colour, label=text)
        if len(colours) > _NAMED:
            note.scatter([], [], s=0, label=f"and {len(colours) - _NAMED} more")
        note.scatter([], [], s=34, color=REFERENCE, label="Γ, in every supercell")
        if bool(data.rotated.any()):
            note.scatter([], [], s=9, color=MUTED, label="held after a rotation")
        note.legend(
            loc="center left", bbox_to_anchor=(-0.12, 0.5), fontsize=9, handletextpad=0.2, alignment="left",
            title=f"{chemical(crystal.atoms.get_chemical_formula())}, grid {grid(supercells.grid)}",
        )  # fmt: skip
    return figure


def zone_colours(number: int) -> list[str]:
    """A colour for each supercell: those of the figures, or, for many supercells, those of a map."""
    if number <= len(SERIES):
        return list(SERIES[:number])
    return [to_hex(colormaps["turbo"](0.06 + 0.88 * index / (number - 1))) for index in range(number)]


def _view(flat: bool) -> FloatArray:
    """(3, 3) array : the axes of the picture, to the right, upwards and towards the eye, as rows."""
    if flat:
        return np.eye(3)
    towards = _EYE / np.linalg.norm(_EYE)
    right = np.cross([0.0, 0.0, 1.0], towards)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(towards, right), towards])


def projected(data: DataFrame, *, flat: bool) -> FloatArray:
    """(n, 2) array, 1/Å : where the rows of :func:`zone_data` are drawn."""
    return _projected(data, _view(flat))[0]


def _projected(data: DataFrame, view: FloatArray) -> tuple[FloatArray, FloatArray]:
    turned = data[["x", "y", "z"]].to_numpy(dtype=float) @ view.T
    return turned[:, :2], turned[:, 2]


def _draw_zone(axes: Axes, zone: Zone, view: FloatArray, *, flat: bool) -> None:
    """The edges, those behind the zone dashed."""
    for face in zone.faces:
        turned = np.vstack([face, face[:1]]) @ view.T
        front = face.mean(axis=0) @ view[2] > _SAME
        if flat and not front:
            continue
        if front:
            axes.plot(turned[:, 0], turned[:, 1], color=MUTED, linewidth=1.1, zorder=2)
        else:
            axes.plot(turned[:, 0], turned[:, 1], color=MUTED, linewidth=0.6, linestyle=(0, (3, 3)), zorder=1)


def _draw_path(axes: Axes, supercells: SupercellSet, zone: Zone, view: FloatArray) -> None:
    """The path of the dispersions where it lies in the zone, and the names of its special points."""
    reciprocal = np.linalg.inv(supercells.atoms.cell.array).T
    named: dict[str, FloatArray] = {}
    for piece in band_path(supercells.crystal, npoints=2).special_points:
        points = [(label, np.asarray(q, dtype=float) @ reciprocal) for label, q in piece]
        for (one, start), (other, end) in itertools.pairwise(points):
            if zone.holds(start) and zone.holds(end):
                turned = np.array([start, end]) @ view.T
                axes.plot(turned[:, 0], turned[:, 1], color=REFERENCE, linewidth=0.7, zorder=2.5)
                named |= {one: start, other: end}
    for label, point in named.items():
        place = (point @ view.T)[:2]
        away = np.array([-0.6, 0.8]) if np.linalg.norm(place) < 1e-9 else place / np.linalg.norm(place)
        axes.annotate(
            pretty_label(label), (float(place[0]), float(place[1])), xytext=(9 * away[0], 9 * away[1]),
            textcoords="offset points", ha="center", va="center", fontsize=10.5, zorder=6,
        )  # fmt: skip
