"""Force constants at the q-points that supercells hold, as linear maps of the weights of a potential."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.crystal import Crystal
from ndsc.errors import InternalError
from ndsc.force_constants.dynamical import (
    Stars,
    commensurate_numerators,
    grid_index,
    phases,
    rotate_numerators,
    transform_matrix,
)
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.qgrid import Grid
from ndsc.supercells import make_supercell

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

#: Displacement of an atom, Å: rows are exact to rounding, so it may be small, and only what is linear is left.
DISPLACEMENT = 3e-4


class SupercellForceConstants:
    """The force constants at the q-points of one supercell.

    Every atom of the unit cell that no operation takes to another one is displaced along x, y and z.

    Parameters
    ----------
    crystal : Crystal
    matrix : (3, 3) int array
    action : SpaceGroupAction
        Operations of the crystal that preserve the grid.
    grid : 3 ints
    """

    def __init__(self, crystal: Crystal, matrix: IntArray, action: SpaceGroupAction, grid: Grid) -> None:
        self.crystal, self.grid = crystal, grid
        self.held = commensurate_numerators(matrix, grid)
        self.action = action.preserving_supercell(matrix)
        self._perfect = make_supercell(crystal.atoms, matrix)
        self._basis = self._perfect.arrays.pop("ndsc_basis")
        self._points = self._perfect.arrays.pop("ndsc_lattice_point")
        # Each atom stands with those that operations take it to; the first of them is displaced for all.
        self._source = np.min(self.action.permutations, axis=0)
        self._displaced = sorted(set(self._source.tolist()))

    @property
    def n_frames(self) -> int:
        """Number of :meth:`frames`."""
        return 1 + 3 * len(self._displaced)

    def frames(self) -> list[Atoms]:
        """The perfect supercell, then one atom after the other displaced along x, y, z."""
        found = [self._perfect.copy()]
        for atom in self._displaced:
            at = int(np.flatnonzero((self._basis == atom) & np.all(self._points == 0, axis=1))[0])
            for axis in range(3):
                frame = self._perfect.copy()
                frame.positions[at, axis] += DISPLACEMENT
                found.append(frame)
        return found

    def phi(self, rows: Sequence[FloatArray]) -> ComplexArray:
        """(n_held, n, 3, n, 3, m) array : force constants (eV/Å²) for a weight of one each, from rows of the frames."""
        n, m = len(self.crystal.atoms), rows[0].shape[1]
        points = np.unique(self._points, axis=0)
        place = {tuple(point): number for number, point in enumerate(points.tolist())}
        cells = np.array([place[tuple(point)] for point in self._points.tolist()])
        # Phi(q) u(q) = -f(q), and u(q) is the displacement over the number of cells, as f(q) is their mean.
        phase = phases(self.held, points, self.grid)
        phi = np.zeros((len(self.held), n, 3, n, 3, m), dtype=complex)
        for number, (atom, axis) in enumerate((atom, axis) for atom in self._displaced for axis in range(3)):
            forces = (rows[number + 1] - rows[0])[1:-6].reshape(-1, 3, m) / -DISPLACEMENT
            ordered = np.zeros((len(points), n, 3, m))
            ordered[cells, self._basis] = forces
            phi[:, :, :, atom, axis] = np.tensordot(phase, ordered, axes=(1, 0))
        for atom in range(n):
            if atom not in self._displaced:
                self._fill(phi, atom)
        return np.asarray(0.5 * (phi + phi.conj().transpose(0, 3, 4, 1, 2, 5)), dtype=complex)

    def _fill(self, phi: ComplexArray, atom: int) -> None:
        """The columns of an atom from those of the atom that an operation takes to it."""
        source = int(self._source[atom])
        forward = int(np.argmax(self.action.permutations[:, source] == atom))
        rotation = self.action.cartesian[forward]
        permutation = self.action.permutations[forward]
        images = np.mod(rotate_numerators(self.action.reciprocal[forward], self.held, self.grid), self.grid)
        index = {int(key): number for number, key in enumerate(grid_index(self.held, self.grid))}
        for number, image in enumerate(images):
            turn = phases(image[None], self.action.shifts[forward], self.grid)[0]
            column = phi[number, :, :, source]
            turned = np.einsum("ij,ajkm,lk->ailm", rotation, column, rotation, optimize=True)
            turned *= turn[:, None, None, None] * turn[source].conj()
            phi[index[int(grid_index(image, self.grid))], permutation, :, atom] = turned


def at_representatives(
    held: IntArray, phi: ComplexArray, action: SpaceGroupAction, stars: Stars, grid: Grid
) -> dict[int, ComplexArray]:
    """Force constants (n, 3, n, 3, m) at the first q-point of each star that a supercell holds, by the star's number.

    Parameters
    ----------
    held : (n_held, 3) int array
        Numerators of the q-points of the supercell.
    phi : (n_held, n, 3, n, 3, m) array
        Force constants there.
    action : SpaceGroupAction
    stars : Stars
    grid : 3 ints
    """
    numbers = stars.star[grid_index(held, grid)]
    result: dict[int, ComplexArray] = {}
    for star in np.unique(numbers).tolist():
        first = stars.numerators[stars.representatives[star]]
        own = np.flatnonzero(numbers == star)
        itself = own[np.all(held[own] == first, axis=1)]
        at = int(itself[0] if len(itself) else own[0])
        result[star] = phi[at] if len(itself) else _turned_to(phi[at], held[at], first, action, grid)
    return result


def _turned_to(
    matrix: ComplexArray, k: IntArray, target: IntArray, action: SpaceGroupAction, grid: Grid
) -> ComplexArray:
    """Force constants at k, at a q-point of its star."""
    for sign in (1, -1):
        image = np.mod(sign * target, grid)
        fitting = np.flatnonzero(np.all(np.mod(rotate_numerators(action.reciprocal, k, grid), grid) == image, axis=1))
        if len(fitting):
            slices = np.moveaxis(matrix, -1, 0)
            turned = np.stack([transform_matrix(one, action, int(fitting[0]), image, grid) for one in slices], axis=-1)
            return turned.conj() if sign < 0 else turned
    raise InternalError(f"The q-point {k.tolist()} is not in its own star. Please report this crystal.")


def without_translations(phi: ComplexArray) -> ComplexArray:
    """Force constants at the zone centre, (n, 3, n, 3, m), without forces on a crystal that is moved as a whole."""
    phi = phi - phi.mean(axis=2, keepdims=True)
    return np.asarray(phi - phi.mean(axis=0, keepdims=True))
