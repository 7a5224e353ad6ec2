"""Perturbed supercells taken apart: which atom is on which site, how far from it, and how the cell is deformed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.optimize import linear_sum_assignment

from ndsc.errors import InputError
from ndsc.force_constants.space_group import FloatArray, IntArray
from ndsc.supercells import make_supercell

#: Largest deformation of a cell that still counts as a perturbation of the supercell.
LARGEST_DEFORMATION = 0.3
#: Atoms further than this from their sites are in another structure, Å.
LARGEST_DISPLACEMENT = 1.0


@dataclass(frozen=True, eq=False)
class PlacedFrame:
    """A perturbed supercell in the coordinates of the undeformed crystal.

    Attributes
    ----------
    name : str
    matrix : (3, 3) int64 array
        Supercell matrix, rows are lattice vectors.
    lattice_points : (n_cells, 3) int64 array
    displacements : (n_cells, n_basis, 3) float array, Å
        From the sites, with the deformation of the cell undone.
    strain : (3, 3) float array
        Symmetric strain of the deformation.
    deformation : (3, 3) float array
        D: ``cell = S @ unit_cell @ D``.
    order : (n_atoms,) int64 array
        Atom of the structure on each site.
    """

    name: str
    matrix: IntArray
    lattice_points: IntArray
    displacements: FloatArray
    strain: FloatArray
    deformation: FloatArray
    order: IntArray

    def from_frame(self, forces: FloatArray) -> FloatArray:
        """(n_cells, n_basis, 3) : the structure's forces, conjugate to displacements with the deformation undone."""
        return np.asarray((forces[self.order] @ self.deformation.T).reshape(self.displacements.shape))

    def to_frame(self, forces: FloatArray) -> FloatArray:
        """(n_atoms, 3) : the reverse of :meth:`from_frame`."""
        result = np.empty((len(self.order), 3))
        result[self.order] = forces.reshape(-1, 3) @ np.linalg.inv(self.deformation).T
        return result


def frame_name(frame: Atoms, number: int) -> str:
    """The name of a structure in messages."""
    return str(frame.info.get("ndsc_name", f"structure {number}"))


def place_frame(unit_cell: Atoms, frame: Atoms, *, number: int = 0) -> PlacedFrame:
    """Find the sites of a perturbed supercell.

    Parameters
    ----------
    unit_cell : ase.Atoms
        The unit cell.
    frame : ase.Atoms
        The perturbed supercell; ``info["ndsc_matrix"]`` is used when it is there.
    number : int
        Named in messages when the structure has no name.

    Raises
    ------
    InputError
        When it is not a perturbed supercell of the unit cell.
    """
    name = frame_name(frame, number)
    ratio = frame.cell.array @ np.linalg.inv(unit_cell.cell.array)
    flat = frame.info.get("ndsc_matrix")
    matrix = np.rint(ratio if flat is None else np.asarray(flat, dtype=float).reshape(3, 3)).astype(np.int64)
    deformation = np.eye(3)
    if round(np.linalg.det(matrix)):
        deformation = np.linalg.solve(matrix @ unit_cell.cell.array, frame.cell.array)
    n_cells = abs(round(np.linalg.det(matrix)))
    if n_cells == 0 or np.max(np.abs(deformation - np.eye(3))) > LARGEST_DEFORMATION:
        raise InputError(
            f"The cell of {name} is {np.round(ratio, 3).tolist()} times the unit cell, which is not a slightly "
            "deformed supercell. Leave the structure out, or give the unit cell that it was made of."
        )
    supercell = make_supercell(unit_cell, matrix)
    if sorted(supercell.numbers) != sorted(frame.numbers):
        raise InputError(
            f"{name} has the atoms {frame.get_chemical_formula()}, its supercell {matrix.tolist()} has "
            f"{supercell.get_chemical_formula()}. Leave the structure out, or give the unit cell that it was made of."
        )
    order, moved = _match(supercell.positions @ deformation, supercell.numbers, frame)
    largest = float(np.max(np.linalg.norm(moved, axis=1)))
    if largest > LARGEST_DISPLACEMENT:
        raise InputError(
            f"{name} has an atom {largest:.2f} Å from its site in the supercell {matrix.tolist()}: it is another "
            "structure. Leave it out, or give the unit cell that it was made of."
        )
    n_basis = len(unit_cell)
    return PlacedFrame(
        name=name,
        matrix=matrix,
        lattice_points=supercell.arrays["ndsc_lattice_point"][::n_basis],
        displacements=(moved @ np.linalg.inv(deformation)).reshape(n_cells, n_basis, 3),
        strain=0.5 * (deformation + deformation.T) - np.eye(3),
        deformation=deformation,
        order=order,
    )


def _match(sites: FloatArray, numbers: IntArray, frame: Atoms) -> tuple[IntArray, FloatArray]:
    """Which atom is on which site, and the displacements, in the order of the sites."""
    inverse = np.linalg.inv(frame.cell.array)

    def nearest(vectors: FloatArray) -> FloatArray:
        return np.asarray(vectors - np.rint(vectors @ inverse) @ frame.cell.array)

    in_order = nearest(frame.positions - sites)
    if np.array_equal(frame.numbers, numbers) and np.max(np.linalg.norm(in_order, axis=1)) <= LARGEST_DISPLACEMENT:
        return np.arange(len(sites)), in_order
    distances = np.linalg.norm(nearest(frame.positions[None, :, :] - sites[:, None, :]), axis=2)
    distances[numbers[:, None] != frame.numbers[None, :]] = 1e6
    order = np.asarray(linear_sum_assignment(distances)[1], dtype=np.int64)
    return order, nearest(frame.positions[order] - sites)
