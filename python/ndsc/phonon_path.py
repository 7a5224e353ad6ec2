"""The path through the Brillouin zone that phonon dispersions are drawn along (Setyawan and Curtarolo 2010)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.dft.kpoints import parse_path_string
from numpy.typing import NDArray

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError, InternalError
from ndsc.sheet import in_plane_lattice

FloatArray = NDArray[np.float64]

#: Relative tolerance of ASE when it recognises the Bravais lattice.
LATTICE_TOLERANCE = 2e-4
#: Points of a path closer than this (1/Å) are the same: distances and ticks are rounded when they are stored.
SAME_PLACE = 1e-6


@dataclass(frozen=True, eq=False)
class BandPath:
    """A path through the Brillouin zone, in reduced coordinates of one cell.

    Attributes
    ----------
    qpoints : (n, 3) float array
        Reduced coordinates. Where the path jumps, both ends are in the list.
    distances : (n,) float array, 1/Å
        Length along the path (without 2 pi), which does not grow where the path jumps.
    ticks : tuple of floats, 1/Å
        Where the special points are.
    labels : tuple of str
        Names of the special points, as many as ticks, ``Γ`` for the centre.
    segments : tuple of (int, int)
        First and last index of each continuous piece.
    """

    qpoints: FloatArray
    distances: FloatArray
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    segments: tuple[tuple[int, int], ...]

    @property
    def names(self) -> list[str]:
        """The name of the special point at each q-point, empty between them."""
        names = [""] * len(self.qpoints)
        remaining = list(zip(self.ticks, self.labels, strict=True))
        for index, distance in enumerate(self.distances):
            # Special points come in the order of the path; at a jump two share one distance.
            if remaining and abs(float(distance) - float(remaining[0][0])) < SAME_PLACE:
                names[index] = remaining.pop(0)[1]
        return names

    @property
    def weights(self) -> FloatArray:
        """(n,) array, 1/Å : the length that each q-point stands for (trapezoidal rule in each continuous piece)."""
        weights = np.zeros(len(self.qpoints))
        for first, last in self.segments:
            steps = np.diff(self.distances[first : last + 1])
            weights[first:last] += steps / 2
            weights[first + 1 : last + 1] += steps / 2
        return weights

    @property
    def special_points(self) -> list[list[tuple[str, FloatArray]]]:
        """Names and reduced coordinates of the special points of each continuous piece, in order."""
        found, number = [], 0
        for first, last in self.segments:
            inside = self.distances[first : last + 1]
            piece: list[tuple[str, FloatArray]] = []
            # Two pieces meet at one length, where the first ends and the next one begins.
            while not piece or self.ticks[number - 1] < inside[-1] - 1e-9:
                index = first + int(np.argmin(np.abs(inside - self.ticks[number])))
                piece.append((self.labels[number], self.qpoints[index]))
                number += 1
            found.append(piece)
        return found


def band_path(structure: Atoms | Crystal, npoints: int = 300, *, symprec: float | None = None) -> BandPath:
    """The path of Setyawan and Curtarolo through the Brillouin zone of a crystal's primitive cell.

    W. Setyawan and S. Curtarolo, Comput. Mater. Sci. 49, 299 (2010).

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        A cell of the crystal, primitive or not, in any setting and orientation.
    npoints : int
        About how many q-points; each leg gets its share by length, and at least two.
    symprec : float, Å, optional
        Tolerance for finding the primitive cell, when `structure` is Atoms.

    Returns
    -------
    BandPath
        The physical path, in reduced coordinates of the cell given.

    Raises
    ------
    InputError
        When there are fewer than two q-points.
    """
    if npoints < 2:
        raise InputError(f"npoints = {npoints} is not a path. Give a whole number of at least 2, 300 for example.")
    crystal = as_crystal(structure, symprec=symprec)
    cell, primitive = crystal.atoms.cell.array, crystal.primitive.atoms
    if crystal.is_sheet:
        reduced = Cell(in_plane_lattice(primitive.cell.array, np.zeros((1, 3))))
        standard = reduced.bandpath(npoints=0, eps=LATTICE_TOLERANCE, pbc=(True, True, False))
    else:
        # From the Niggli cell, which is unique, or the names of a triclinic lattice's points depend on the setting.
        reduced = Cell(primitive.cell.niggli_reduce()[1].T @ primitive.cell.array)
        standard = reduced.bandpath(npoints=0, eps=LATTICE_TOLERANCE)
    # Special points are in the basis of the reduced cell; in that of the cell given, by way of the Cartesian vector.
    to_given = np.linalg.inv(reduced.array).T @ cell.T
    special = {name: np.asarray(point, dtype=float) @ to_given for name, point in standard.special_points.items()}
    sections = _sections(standard.path, list(special))
    return _sample_path(special, sections, cell, npoints)


def _sections(path: str, names: Sequence[str]) -> list[list[str]]:
    """The continuous pieces of a path such as "GXWKGLUWLK,UX", as names of special points."""
    sections = [list(section) for section in parse_path_string(path)]
    unknown = {name for section in sections for name in section} - set(names)
    if unknown:
        raise InternalError(f"The path {path} names the points {sorted(unknown)}, which ASE does not define.")
    return sections


def _sample_path(
    special: Mapping[str, FloatArray], sections: Sequence[Sequence[str]], cell: FloatArray, npoints: int
) -> BandPath:
    reciprocal = np.linalg.inv(cell).T

    def length(start: str, end: str) -> float:
        return float(np.linalg.norm((special[end] - special[start]) @ reciprocal))

    legs = [(start, end) for section in sections for start, end in itertools.pairwise(section)]
    total = sum(length(*leg) for leg in legs)
    qpoints: list[FloatArray] = []
    distances: list[float] = []
    ticks: list[float] = []
    labels: list[str] = []
    segments = []
    travelled = 0.0
    for section in sections:
        first = len(qpoints)
        qpoints.append(special[section[0]])
        distances.append(travelled)
        ticks.append(travelled)
        labels.append(section[0])
        for start, end in itertools.pairwise(section):
            leg = length(start, end)
            for fraction in np.linspace(0.0, 1.0, max(1, round(npoints * leg / total)) + 1)[1:]:
                qpoints.append(special[start] + fraction * (special[end] - special[start]))
                distances.append(travelled + fraction * leg)
            travelled += leg
            ticks.append(travelled)
            labels.append(end)
        segments.append((first, len(qpoints) - 1))
    return BandPath(
        qpoints=np.array(qpoints) + 0.0,
        distances=np.array(distances),
        ticks=tuple(ticks),
        labels=tuple("Γ" if label == "G" else label for label in labels),
        segments=tuple(segments),
    )
