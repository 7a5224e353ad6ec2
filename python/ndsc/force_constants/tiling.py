"""Force constants by tiling: the samples of non-diagonal supercells, repeated over the diagonal one, fitted by symfc.

A supercell whose q-points are on the grid tiles the diagonal supercell of the grid. Displacements repeated over it,
with their forces repeated alike, are an exact displacement-force sample of the diagonal supercell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from phonopy import Phonopy

from ndsc.errors import InputError, InternalError
from ndsc.force_constants.phonopy_model import supercell_sites
from ndsc.force_constants.samples import Samples
from ndsc.force_constants.space_group import FloatArray, IntArray
from ndsc.integers import adjugate, determinant


def tiling_index(matrix: IntArray, lattice_points: IntArray, wanted: IntArray) -> IntArray:
    """Which lattice point of a supercell each lattice point of space is equivalent to.

    Parameters
    ----------
    matrix : (3, 3) int64 array
        Supercell matrix, rows are lattice vectors.
    lattice_points : (n_cells, 3) int64 array
        Lattice points inside the supercell.
    wanted : (n, 3) int64 array
        Any lattice points.

    Returns
    -------
    (n,) int64 array
        Indices into `lattice_points`.
    """
    inverse = adjugate(matrix)
    size = determinant(matrix)
    # R is in the supercell's lattice when R S^-1 is integer: equivalent points agree in R adj(S) modulo det(S).
    inside = [row.tobytes() for row in np.mod(lattice_points @ inverse, size)]
    index = {key: number for number, key in enumerate(inside)}
    if len(index) != len(lattice_points):
        raise InternalError(f"The lattice points of {matrix.tolist()} are not distinct. Please report this structure.")
    return np.array([index[row.tobytes()] for row in np.mod(wanted @ inverse, size)], dtype=np.int64)


def tiled_force_constants(phonon: Phonopy, samples: Sequence[Samples]) -> FloatArray:
    """Compact force constants of phonopy's diagonal supercell, fitted by symfc with its symmetry.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        Of the diagonal supercell; its dataset and force constants are replaced.
    samples : sequence of Samples
        Of supercells that tile the diagonal supercell.

    Returns
    -------
    (n_primitive, n_supercell, 3, 3) float array, eV/Å^2

    Raises
    ------
    InputError
        When a supercell does not tile the diagonal one.
    """
    basis, lattice_points = supercell_sites(phonon)
    diagonal = phonon.supercell_matrix.T
    displacements, forces = [], []
    for sample in samples:
        if np.any((diagonal @ adjugate(sample.matrix)) % determinant(sample.matrix)):
            raise InputError(
                f"The supercell {sample.matrix.tolist()} does not tile the diagonal supercell "
                f"{np.diag(diagonal).tolist()}. Leave its structures out, or choose a grid that contains its q-points."
            )
        cells = tiling_index(sample.matrix, sample.lattice_points, lattice_points)
        displacements.append(sample.displacements[:, cells, basis])
        forces.append(sample.forces[:, cells, basis])
    phonon.dataset = {"displacements": np.concatenate(displacements), "forces": np.concatenate(forces)}
    phonon.produce_force_constants(fc_calculator="symfc", calculate_full_force_constants=False, show_drift=False)
    force_constants = np.array(phonon.force_constants)
    phonon.dataset = None
    # symfc gives all rows when the unit cell is not primitive.
    rows = phonon.primitive.p2s_map
    return force_constants if len(force_constants) == len(rows) else force_constants[rows]
