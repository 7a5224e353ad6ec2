"""How the space group of a unit cell acts on displacements, forces and dynamical matrices of its supercells.

Conventions. A lattice point is a column R of three integers, in units of the unit cell's vectors. The operation
``x' = W x + w`` takes the atom b of cell R to the atom b' of cell ``W R + T_b``, where the integers ``T_b = W x_b + w -
x_b'`` are the shift of b. A field on the atoms (displacements, forces) has the Fourier transform
``u_b(q) = sum_R u_b(R) exp(-2 pi i q.R)``: the phase holds lattice points, not positions, so that everything is
periodic in q, and what a nonsymmorphic operation adds is exactly ``exp(-2 pi i q'.T_b)``. Hence

    u'_b'(q') = exp(-2 pi i q'.T_b) C u_b(q),   q' = W^-T q,   C the Cartesian rotation,

and the Fourier transform of the force constants follows as ``Phi(q') = G Phi(q) G^dagger``, G being the unitary matrix
of that map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndsc.crystal import Crystal
from ndsc.integers import adjugate, determinant

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: Two directions closer than this are one.
SAME_DIRECTION = 1e-4


@dataclass(frozen=True, eq=False)
class SpaceGroupAction:
    """Space-group operations with what they do to the atoms of the unit cell.

    Attributes
    ----------
    rotations : (n, 3, 3) int64 array
        W, acting on fractional positions and lattice points as columns.
    cartesian : (n, 3, 3) float array
        C, orthogonal, acting on Cartesian vectors as columns.
    permutations : (n, n_atoms) int64 array
        The atom b' that atom b goes to.
    shifts : (n, n_atoms, 3) int64 array
        The lattice translation T_b of the image of atom b.
    """

    rotations: IntArray
    cartesian: FloatArray
    permutations: IntArray
    shifts: IntArray

    @classmethod
    def of_crystal(cls, crystal: Crystal) -> SpaceGroupAction:
        """The action of all operations of a crystal: pure translations and operations that reverse all spins included.

        Energies and forces do not change when all spins are reversed, so the action of such an operation on
        displacements and forces is that of its rotation and translation.
        """
        cell = crystal.atoms.cell.array
        positions = crystal.atoms.get_scaled_positions(wrap=False)
        images = np.einsum("oij,aj->oai", crystal.rotations, positions) + crystal.translations[:, None, :]
        return cls(
            rotations=crystal.rotations,
            cartesian=cartesian_rotations(crystal.rotations, cell),
            permutations=crystal.permutations,
            shifts=np.rint(images - positions[crystal.permutations]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.rotations)

    @cached_property
    def reciprocal(self) -> IntArray:
        """(n, 3, 3) int64 array : W^-T, acting on reduced q-points as columns."""
        return np.array([adjugate(rotation).T * determinant(rotation) for rotation in self.rotations])

    def subset(self, chosen: ArrayLike) -> SpaceGroupAction:
        """Only some of the operations, by index or by mask."""
        index = np.asarray(chosen)
        return SpaceGroupAction(
            rotations=self.rotations[index],
            cartesian=self.cartesian[index],
            permutations=self.permutations[index],
            shifts=self.shifts[index],
        )

    def preserving_supercell(self, matrix: ArrayLike) -> SpaceGroupAction:
        """The operations that map the lattice of a supercell (rows of `matrix`) onto itself."""
        columns = np.asarray(matrix, dtype=np.int64).T
        # W maps the sublattice onto itself when columns^-1 W columns is an integer matrix.
        transformed = adjugate(columns) @ self.rotations @ columns
        return self.subset(np.all(transformed % abs(determinant(columns)) == 0, axis=(1, 2)))

    def preserving_grid(self, grid: ArrayLike) -> SpaceGroupAction:
        """The operations that map a grid of q-points onto itself: those of the diagonal supercell of that grid."""
        return self.preserving_supercell(np.diag(np.asarray(grid, dtype=np.int64)))


def cartesian_rotations(rotations: IntArray, cell: FloatArray) -> FloatArray:
    """(n, 3, 3) float array : orthogonal matrices that act on Cartesian columns as W on fractional ones."""
    approximate = cell.T @ rotations @ np.linalg.inv(cell.T)
    # A cell symmetric to the tolerance only would give matrices that are not quite orthogonal: take the nearest ones.
    left, _, right = np.linalg.svd(approximate)
    return np.asarray(left @ right, dtype=float)


def rotation_axis(rotation: FloatArray) -> FloatArray | None:
    """The axis of a rotation or rotoinversion, None for the identity and the inversion."""
    proper = rotation * np.sign(np.linalg.det(rotation))
    if np.allclose(proper, np.eye(3), atol=1e-6):
        return None
    # R + R^T - (tr R - 1) I is (3 - tr R) times the projector onto the axis.
    projector = proper + proper.T - (np.trace(proper) - 1) * np.eye(3)
    column = projector[:, int(np.argmax(np.round(np.diag(projector), 6)))]
    return np.asarray(column / np.linalg.norm(column), dtype=float)


def distinct_directions(vectors: FloatArray) -> FloatArray:
    """Unit vectors, distinct up to sign, in their order."""
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors[lengths > 1e-3] / lengths[lengths > 1e-3, None]
    return np.array(list(first_of_each(units, np.array([-1.0]))))


def first_of_each(rows: FloatArray, other_signs: FloatArray) -> Iterator[FloatArray]:
    """The rows that no earlier one is equal to, also after multiplication with any of `other_signs`."""
    if len(rows) == 0:
        return
    signs = np.array([1.0, *other_signs])
    versions = signs[:, None, None, None] * rows[:, None, :]
    # [i, j]: row i, with one of the signs, is row j.
    equal = np.any(np.max(np.abs(versions - rows), axis=3) < SAME_DIRECTION, axis=0)
    kept = np.zeros(len(rows), dtype=bool)
    for index, row in enumerate(rows):
        if not np.any(equal[index] & kept):
            kept[index] = True
            yield row
