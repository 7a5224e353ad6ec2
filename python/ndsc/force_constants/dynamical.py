"""Force constants by way of the Fourier-transformed force constants Phi(q) at the q-points that the supercells hold.

In a supercell, a displacement field u and the forces f that it causes obey ``f(q) = -Phi(q) u(q)`` separately at each
q-point that the supercell holds. All samples are brought to one q-point of each star by the operations of the space
group (nonsymmorphic phases included, see :mod:`ndsc.force_constants.space_group`) and by time reversal, and the
Hermitian Phi(q) that fits them best in the sense of least squares is found in closed form. Rotated over the stars and
transformed back, these are the force constants of the whole grid. The cost grows with the number of q-points of the
grid, not with its square: there is no large supercell anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ndsc.errors import InputError
from ndsc.force_constants.samples import Samples
from ndsc.force_constants.space_group import ComplexArray, FloatArray, IntArray, SpaceGroupAction
from ndsc.force_constants.strain import StrainMoments
from ndsc.qgrid import Grid

#: Smallest eigenvalue of the displacements' second moments, relative to the largest, that counts as determined.
RANK_TOLERANCE = 1e-6


class UndeterminedError(InputError):
    """The samples leave the phonons at q-points of the grid open."""


@dataclass(frozen=True, eq=False)
class Stars:
    """The q-points of a grid, gathered in stars under the space group and time reversal.

    Attributes
    ----------
    numerators : (n_q, 3) int64 array
        All q-points of the grid, third axis fastest.
    star : (n_q,) int64 array
        Index of the star of each q-point.
    representatives : (n_stars,) int64 array
        Index of the q-point that stands for each star.
    operation : (n_q,) int64 array
        The operation that takes the representative to the q-point, or to its negative.
    reversed : (n_q,) bool array
        Whether it is the negative: then the matrices there are the complex conjugates.
    """

    numerators: IntArray
    star: IntArray
    representatives: IntArray
    operation: IntArray
    reversed: np.ndarray[tuple[int], np.dtype[np.bool_]]


def find_stars(action: SpaceGroupAction, grid: Grid) -> Stars:
    """Gather the q-points of a grid in stars, under operations that preserve the grid."""
    numerators = grid_numerators(grid)
    divisions = np.array(grid)
    _, distinct = np.unique(action.reciprocal, axis=0, return_index=True)
    rotations = action.reciprocal[distinct]
    star = np.full(len(numerators), -1, dtype=np.int64)
    operation = np.zeros(len(numerators), dtype=np.int64)
    is_reversed = np.zeros(len(numerators), dtype=bool)
    representatives: list[int] = []
    for index, k in enumerate(numerators):
        if star[index] >= 0:
            continue
        for sign in (1, -1):
            images = grid_index(sign * rotate_numerators(rotations, k, grid), divisions)
            images, first = np.unique(images, return_index=True)
            new = star[images] < 0
            star[images[new]] = len(representatives)
            operation[images[new]] = distinct[first[new]]
            is_reversed[images[new]] = sign < 0
        representatives.append(index)
    return Stars(numerators, star, np.array(representatives, dtype=np.int64), operation, is_reversed)


def grid_numerators(grid: Grid) -> IntArray:
    """(n_q, 3) int64 array : all q-points of the grid, third axis fastest."""
    return np.indices(grid).reshape(3, -1).T.astype(np.int64)


def grid_index(numerators: IntArray, divisions: ArrayLike) -> IntArray:
    """Index of q-points, given as numerators modulo the grid, in :func:`grid_numerators`."""
    k = np.mod(numerators, divisions)
    _, n2, n3 = np.asarray(divisions)
    return np.asarray((k[..., 0] * n2 + k[..., 1]) * n3 + k[..., 2])


def rotate_numerators(rotations: IntArray, numerators: IntArray, grid: Grid) -> IntArray:
    """Rotated numerators, exact: the rotations act on ``q = k / grid`` and preserve the grid."""
    common = int(np.lcm.reduce(grid))
    scale = common // np.array(grid)
    rotated = (rotations @ (scale * numerators)[..., None])[..., 0]
    return np.asarray(rotated // scale)


def phases(numerators: IntArray, lattice_points: IntArray, grid: Grid) -> ComplexArray:
    """(n_q, n_points) complex array : exp(-2 pi i q.R), from integers modulo the grid."""
    common = int(np.lcm.reduce(grid))
    scale = common // np.array(grid)
    turns = np.mod((numerators * scale) @ np.asarray(lattice_points).T, common)
    return np.asarray(np.exp(-2j * np.pi * turns / common))


def commensurate_numerators(matrix: IntArray, grid: Grid) -> IntArray:
    """(size, 3) int64 array : numerators over the grid of the q-points that a supercell holds.

    Raises
    ------
    InputError
        When the supercell holds a q-point that is not on the grid.
    """
    common = int(np.lcm.reduce(grid))
    numerators = grid_numerators(grid)
    # S q is integer: in integers over the common denominator of the grid.
    turns = (numerators * (common // np.array(grid))) @ np.asarray(matrix).T
    held = numerators[np.all(turns % common == 0, axis=1)]
    if len(held) != abs(round(np.linalg.det(matrix))):
        raise InputError(
            f"The supercell {np.asarray(matrix).tolist()} holds q-points that are not on the grid {list(grid)}. "
            "Leave its structures out, or choose a grid that contains them."
        )
    return np.asarray(held)


def transform_matrix(
    matrix: ComplexArray, action: SpaceGroupAction, operation: int, q_image: IntArray, grid: Grid
) -> ComplexArray:
    """``G M G^dagger`` for the operation that takes q to `q_image` (numerators); M is (n, 3, n, 3), at q."""
    phase = phases(q_image[None, :], action.shifts[operation], grid)[0]
    rotation = action.cartesian[operation]
    blocks = rotation @ matrix.transpose(0, 2, 1, 3) @ rotation.T
    blocks *= (phase[:, None] * phase.conj())[:, :, None, None]
    permutation = action.permutations[operation]
    result: ComplexArray = np.empty(matrix.shape, dtype=complex)
    result[permutation[:, None], :, permutation[None, :], :] = blocks
    return result


def solve_grid(samples: Sequence[Samples], action: SpaceGroupAction, grid: Grid) -> tuple[ComplexArray, FloatArray]:
    """Phi(q) on the whole grid, and the internal-strain tensor.

    Parameters
    ----------
    samples : sequence of Samples
        Of supercells whose q-points are on the grid.
    action : SpaceGroupAction
        Operations that preserve the grid.
    grid : 3 ints
        The grid.

    Returns
    -------
    phi : (n_q, n, 3, n, 3) complex array, eV/Å^2
        In the order of :func:`grid_numerators`.
    internal_strain : (n, 3, 3, 3) float array, eV/Å
        Zero where no sample is strained.

    Raises
    ------
    InputError
        When the samples do not determine Phi(q) at every q-point.
    """
    stars = find_stars(action, grid)
    solved, internal_strain = _solve_representatives(samples, action, stars, grid)
    phi = np.empty((len(stars.numerators), *solved[0].shape), dtype=complex)
    for index, k in enumerate(stars.numerators):
        sign = -1 if stars.reversed[index] else 1
        image = transform_matrix(
            solved[stars.star[index]], action, int(stars.operation[index]), np.mod(sign * k, grid), grid
        )
        phi[index] = image.conj() if sign < 0 else image
    return phi, internal_strain


def real_space_force_constants(phi: ComplexArray, grid: Grid) -> FloatArray:
    """Force constants from Phi(q) on the grid; acoustic sum rule and space group hold to rounding.

    Returns
    -------
    (N1, N2, N3, n, n, 3, 3) float array, eV/Å^2
        ``[R1, R2, R3, a, b]`` couples the displacement of atom a in cell R with that of atom b in cell 0.
    """
    # numpy's inverse transform has the sign and the 1/N of Phi(R) = (1/N) sum_q Phi(q) exp(2 pi i q.R).
    real_space = np.fft.ifftn(phi.reshape(*grid, *phi.shape[1:]), axes=(0, 1, 2)).real
    return np.ascontiguousarray(real_space.transpose(0, 1, 2, 3, 5, 4, 6))


def check_determined(samples: Sequence[Samples], action: SpaceGroupAction, grid: Grid) -> None:
    """Refuse samples that leave the phonons at a q-point of the grid open.

    Raises
    ------
    InputError
        When they do; the message names the q-points.
    """
    _solve_representatives(samples, action, find_stars(action, grid), grid)


def _solve_representatives(
    samples: Sequence[Samples], action: SpaceGroupAction, stars: Stars, grid: Grid
) -> tuple[list[ComplexArray], FloatArray]:
    """Phi(q) at the q-point that stands for each star, and the internal-strain tensor."""
    moments, products = _accumulate(samples, action, stars, grid)
    strains = StrainMoments.of_samples(samples, action)
    solved, undetermined = [], []
    for index, first in enumerate(stars.representatives):
        moment, product = _little_group_average(moments[index], products[index], action, stars, int(first), grid)
        # The zone centre is the first q-point: strain has its period, and translations cost nothing.
        if first == 0:
            moment, product = strains.eliminated(moment, product)
        phi = _hermitian_solution(moment, product, acoustic=first == 0)
        if phi is None:
            undetermined.append(stars.numerators[first])
        else:
            solved.append(phi)
    if undetermined:
        raise UndeterminedError(_undetermined_message(undetermined, grid))
    return solved, strains.internal_strain(solved[0])


def _accumulate(
    samples: Sequence[Samples], action: SpaceGroupAction, stars: Stars, grid: Grid
) -> tuple[ComplexArray, ComplexArray]:
    """Sums of u u^dagger and f u^dagger of each star, all brought to its representative."""
    n_basis = action.permutations.shape[1]
    shape = (len(stars.representatives), n_basis, 3, n_basis, 3)
    moments, products = np.zeros(shape, dtype=complex), np.zeros(shape, dtype=complex)
    for sample in samples:
        held = commensurate_numerators(sample.matrix, grid)
        phase = phases(held, sample.lattice_points, grid) / len(sample.lattice_points)
        u = np.einsum("qr,srbi->qsbi", phase, sample.displacements, optimize=True)
        f = np.einsum("qr,srbi->qsbi", phase, sample.forces, optimize=True)
        for k, u_q, f_q in zip(held, u, f, strict=True):
            index = int(grid_index(k, grid))
            star, operation = int(stars.star[index]), int(stars.operation[index])
            if stars.reversed[index]:
                k, u_q, f_q = np.mod(-k, grid), u_q.conj(), f_q.conj()
            u_q, f_q = (_to_representative(x, action, operation, k, grid) for x in (u_q, f_q))
            moments[star] += np.einsum("sai,sbj->aibj", u_q, u_q.conj())
            products[star] += np.einsum("sai,sbj->aibj", f_q, u_q.conj())
    return moments, products


def _to_representative(
    field: ComplexArray, action: SpaceGroupAction, operation: int, k: IntArray, grid: Grid
) -> ComplexArray:
    """G^dagger of (n_samples, n_basis, 3) fields at the image k of the representative."""
    phase = phases(k[None, :], action.shifts[operation], grid)[0]
    back = field[:, action.permutations[operation]] * phase.conj()[:, None]
    return np.asarray(back @ action.cartesian[operation])


def _little_group_average(
    moment: ComplexArray, product: ComplexArray, action: SpaceGroupAction, stars: Stars, first: int, grid: Grid
) -> tuple[ComplexArray, ComplexArray]:
    """Means over the operations that take q to itself, or to -q with complex conjugation."""
    k = stars.numerators[first]
    images = rotate_numerators(action.reciprocal, k, grid)
    total_moment, total_product = np.zeros_like(moment), np.zeros_like(product)
    count = 0
    for sign in (1, -1):
        for operation in np.flatnonzero(np.all((sign * images - k) % np.array(grid) == 0, axis=1)):
            image = np.mod(sign * k, grid)
            terms = [transform_matrix(x, action, int(operation), image, grid) for x in (moment, product)]
            total_moment += terms[0].conj() if sign < 0 else terms[0]
            total_product += terms[1].conj() if sign < 0 else terms[1]
            count += 1
    return total_moment / count, total_product / count


def reciprocal_force_constants(force_constants: FloatArray) -> ComplexArray:
    """(n_q, n, 3, n, 3) array, eV/Å^2 : the reverse of :func:`real_space_force_constants`."""
    phi = np.fft.fftn(force_constants, axes=(0, 1, 2)).transpose(0, 1, 2, 3, 5, 4, 6)
    return np.ascontiguousarray(phi.reshape(-1, *phi.shape[3:]))


def harmonic_forces(
    phi: ComplexArray, matrix: IntArray, lattice_points: IntArray, displacements: FloatArray, grid: Grid
) -> FloatArray:
    """(n_samples, n_cells, n_basis, 3) array, eV/Å : forces on displaced atoms of a supercell.

    Parameters
    ----------
    phi : (n_q, n, 3, n, 3) complex array, eV/Å^2
        On the whole grid, in the order of :func:`grid_numerators`.
    matrix : (3, 3) int64 array
        Supercell matrix; its q-points must be on the grid.
    lattice_points : (n_cells, 3) int64 array
    displacements : (n_samples, n_cells, n_basis, 3) float array, Å
    grid : 3 ints
    """
    held = commensurate_numerators(matrix, grid)
    phase = phases(held, lattice_points, grid)
    u = np.einsum("qr,srbi->sqbi", phase / len(held), displacements, optimize=True)
    f = -np.einsum("qaibj,sqbj->sqai", phi[grid_index(held, grid)], u, optimize=True)
    return np.asarray(np.einsum("qr,sqbi->srbi", phase.conj(), f, optimize=True).real)


def _hermitian_solution(moment: ComplexArray, product: ComplexArray, *, acoustic: bool) -> ComplexArray | None:
    """The Hermitian Phi that minimises the sum of |Phi u + f|^2, or None where the samples leave it open.

    The minimum obeys ``Phi A + A Phi = -(B + B^dagger)`` with A the sum of u u^dagger and B that of f u^dagger; in the
    eigenvectors of A this is solved element by element. At the zone centre, translations are projected out first.
    """
    shape = moment.shape
    size = shape[0] * 3
    a, b = moment.reshape(size, size), product.reshape(size, size)
    basis = _without_translations(shape[0]) if acoustic else np.eye(size)
    if basis.shape[1] == 0:
        return np.zeros(shape, dtype=complex)
    a, b = basis.T @ a @ basis, basis.T @ b @ basis
    eigenvalues, vectors = np.linalg.eigh(a)
    if not eigenvalues[0] > RANK_TOLERANCE * eigenvalues[-1]:
        return None
    right = vectors.conj().T @ (b + b.conj().T) @ vectors
    inner = -right / (eigenvalues[:, None] + eigenvalues[None, :])
    full = basis @ (vectors @ inner @ vectors.conj().T) @ basis.T
    return np.asarray(full.reshape(shape))


def _without_translations(n_basis: int) -> FloatArray:
    """(3 n, 3 n - 3) float array : orthonormal columns orthogonal to the uniform translations."""
    uniform = np.full((n_basis, 1), 1.0) / np.sqrt(n_basis)
    rest = np.linalg.svd(uniform, full_matrices=True)[0][:, 1:]
    return np.kron(rest, np.eye(3))


def _undetermined_message(numerators: list[IntArray], grid: Grid) -> str:
    listed = ", ".join(str(k.tolist()) for k in numerators[:8])
    points = "q-point" if len(numerators) == 1 else "q-points"
    return (
        f"The labels do not determine the phonons at {len(numerators)} irreducible {points} of the grid {list(grid)}: "
        f"numerators {listed}{', …' if len(numerators) > 8 else ''}. Compute the displaced supercells that hold them "
        "(phonon_displacements(find_supercells(atoms, grid)) lists all that are needed), or choose a smaller grid."
    )
