"""Vacuum in a periodic cell: sheets, wires and molecules, for which constants of a bulk crystal mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from ndsc.elastic_setting import rotate_voigt

FloatArray = NDArray[np.float64]

#: Planes of atoms further apart than this have vacuum between them, Å. Layers of graphite are at 3.4 Å; no crystal has
#: planes of atoms at 6 Å along its shortest lattice vectors.
SMALLEST_GAP = 6.0
#: GPa Å in N/m.
NEWTON_PER_METRE = 0.1
#: Where the constants of a sheet are in a Voigt matrix.
IN_PLANE_NAMES = {"C11": (0, 0), "C12": (0, 1), "C22": (1, 1), "C66": (5, 5), "C16": (0, 5), "C26": (1, 5)}


@dataclass(frozen=True, eq=False)
class Vacuum:
    """Where a cell is empty.

    Attributes
    ----------
    normals : (n, 3) float array
        Unit vectors across the empty layers: one for a sheet, two for a wire, three for separate molecules.
    gaps : tuple of floats, Å
        Thickness of the empty layers.
    """

    normals: FloatArray
    gaps: tuple[float, ...]

    @classmethod
    def around(cls, atoms: Atoms) -> Vacuum:
        """Look for empty layers between the lattice planes of the shortest lattice vectors."""
        cell = np.asarray(minkowski_reduce(atoms.cell.array)[0])
        reciprocal = np.linalg.inv(cell).T
        normals, gaps = [], []
        for vector in reciprocal:
            height = 1 / float(np.linalg.norm(vector))
            places = np.sort(np.mod(atoms.positions @ vector, 1.0))
            gap = height * float(np.max(np.diff([*places, places[0] + 1.0])))
            if gap > SMALLEST_GAP:
                normals.append(vector * height)
                gaps.append(gap)
        return cls(np.array(normals).reshape(-1, 3), tuple(gaps))


def in_plane_axes(atoms: Atoms, vacuum: Vacuum) -> tuple[FloatArray, float]:
    """The axes that constants of a sheet refer to, and the height of its cell.

    Parameters
    ----------
    atoms : ase.Atoms
        The sheet with the vacuum.
    vacuum : Vacuum
        With one normal.

    Returns
    -------
    axes : (3, 3) array
        Unit vectors as rows: x along the shortest lattice vector in the plane, z along the normal.
    height : float, Å
    """
    normal = vacuum.normals[0] / np.linalg.norm(vacuum.normals[0])
    cell = np.asarray(minkowski_reduce(atoms.cell.array)[0])
    across = [vector for vector in cell if abs(np.dot(vector, normal)) < 1e-3 * np.linalg.norm(vector)]
    shortest = min(across, key=lambda vector: float(np.linalg.norm(vector)))
    first = shortest / np.linalg.norm(shortest)
    height = max(abs(float(np.dot(vector, normal))) for vector in cell)
    return np.array([first, np.cross(normal, first), normal]), height


def in_plane_constants(matrix: FloatArray, atoms: Atoms, vacuum: Vacuum) -> dict[str, float]:
    """Constants of a sheet per area, N/m: the height of the cell times those of the volume.

    Parameters
    ----------
    matrix : (6, 6) float array, GPa
        Voigt matrix in the axes of `atoms`.
    atoms : ase.Atoms
        The sheet with the vacuum.
    vacuum : Vacuum
        With one normal.
    """
    axes, height = in_plane_axes(atoms, vacuum)
    turned = rotate_voigt(matrix, axes)
    found = {name: float(turned[index]) * height * NEWTON_PER_METRE for name, index in IN_PLANE_NAMES.items()}
    negligible = 1e-3 * abs(found["C11"])
    return {name: value for name, value in found.items() if name not in ("C16", "C26") or abs(value) > negligible}
