"""Phonons on a grid of q-points as a target, in THz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from phonopy.physical_units import get_physical_units

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.force_constants.born import checked_nac
from ndsc.force_constants.dynamical import find_stars, real_space_force_constants, transform_matrix
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.qgrid import Grid
from ndsc.reference.memory import SHARE, available_memory_mb
from ndsc.selection.posterior import Posterior
from ndsc.selection.reciprocal import SupercellForceConstants, at_representatives, without_translations
from ndsc.selection.target import Target, not_prepared
from ndsc.supercells import SupercellSet, find_supercells

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

#: Frequencies below this are the three translations, THz.
ACOUSTIC_THZ = 0.15
#: Pairs of modes (over all q-points) up to which all are looked at; with more, only neighbouring ones.
MOST_PAIRS = 8000
#: Pairs of modes that mix less than this are left out.
SMALLEST_MIXING = 0.02


class PhononTarget(Target):
    """Frequencies on a grid of q-points, weighted as on a mesh of the whole Brillouin zone.

    A change of the dynamical matrix changes a frequency by ``e† δD e / 2ω``; between modes that are closer than they
    are uncertain, also what mixes them counts. Frequencies that are not known yet are as large as the prior makes them.

    Parameters
    ----------
    crystal : ase.Atoms or Crystal
        The relaxed unit cell.
    grid : int or 3 ints, or SupercellSet
        The grid of the force constants, or the supercells that hold it.
    goal : float, THz
    nac_params : mapping, optional
        Born charges and dielectric tensor of a polar crystal, as phonopy takes them: predicted frequencies then have
        the non-analytical correction. On the grid, which errors are about, force constants are exact without.

    Raises
    ------
    InputError
        When the goal is not positive, or the charges are missing or of the wrong shape.
    """

    name, unit = "phonons", "THz"

    def __init__(
        self,
        crystal: Atoms | Crystal,
        grid: int | Sequence[int] | SupercellSet,
        goal: float = 0.05,
        *,
        nac_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(goal)
        self.supercells = grid if isinstance(grid, SupercellSet) else find_supercells(as_crystal(crystal), grid)
        self.crystal = self.supercells.crystal
        self.grid: Grid = self.supercells.grid
        self.nac_params = None if nac_params is None else checked_nac(nac_params, len(self.crystal.atoms))
        self.action = SpaceGroupAction.of_crystal(self.crystal).preserving_grid(self.grid)
        self.stars = find_stars(self.action, self.grid)
        self.weights = np.bincount(self.stars.star).astype(float)
        self._cells = [
            SupercellForceConstants(self.crystal, matrix, self.action, self.grid) for matrix in self.supercells.matrices
        ]
        self._masses = np.repeat(self.crystal.atoms.get_masses(), 3)
        self._thz = get_physical_units().DefaultToTHz
        self._phi: ComplexArray | None = None

    def frames(self) -> list[Atoms]:
        """Perfect and displaced supercells."""
        return [frame for cell in self._cells for frame in cell.frames()]

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Force constants at the first q-point of each star."""
        self._check_memory(rows[0].shape[1])
        solved: dict[int, ComplexArray] = {}
        start = 0
        for cell in self._cells:
            end = start + cell.n_frames
            phi = cell.phi(rows[start:end])
            for star, found in at_representatives(cell.held, phi, self.action, self.stars, self.grid).items():
                solved.setdefault(star, found)
            start = end
        # The zone centre is the first: the crystal as a whole moves freely, to rounding and the second order.
        solved[0] = without_translations(solved[0])
        self._phi = np.array([solved[star] for star in range(len(solved))])

    def _check_memory(self, m: int) -> None:
        needed = 16e-9 * len(self.weights) * len(self._masses) ** 2 * m
        free = available_memory_mb()
        if free is not None and needed > SHARE * free * 1024**2 / 1e9:
            raise InputError(
                f"The force constants of {len(self._masses)} modes at {len(self.weights)} q-points for each of {m} "
                f"weights take {needed:.1f} GB, and {free * 1024**2 / 1e9:.1f} GB of memory are free. Use fewer sparse "
                "points or a coarser grid."
            )

    @property
    def phi(self) -> ComplexArray:
        """(n_stars, n, 3, n, 3, m) array, eV/Å² : force constants for a weight of one each."""
        if self._phi is None:
            raise not_prepared(self)
        return self._phi

    def force_constants(self, z: FloatArray) -> FloatArray:
        """(N1, N2, N3, n, n, 3, 3) array, eV/Å² : force constants of the grid for some weights."""
        solved = self.phi @ z
        full = np.empty((len(self.stars.numerators), *solved[0].shape), dtype=complex)
        for index, k in enumerate(self.stars.numerators):
            sign = -1 if self.stars.reversed[index] else 1
            image = np.mod(sign * k, self.grid)
            turned = transform_matrix(
                solved[self.stars.star[index]], self.action, int(self.stars.operation[index]), image, self.grid
            )
            full[index] = turned.conj() if sign < 0 else turned
        return real_space_force_constants(full, self.grid)

    def doubtful_instability(self, posterior: Posterior, factor: float = 1.0) -> float | None:
        """The lowest imaginary frequency on the grid (THz, negative) that the labels do not settle; None without one.

        Such a mode is imaginary by the mean of the posterior, and real within twice the standard deviation of its
        square, times `factor`.
        """
        size = len(self._masses)
        units = np.sqrt(np.outer(self._masses, self._masses))
        found: list[float] = []
        for phi in self.phi:
            dynamical = phi.reshape(size, size, -1) / units[:, :, None]
            values, vectors = np.linalg.eigh(dynamical @ posterior.mean)
            soft = np.flatnonzero(values < 0)
            elements = _elements(dynamical, vectors, soft, soft).real
            allowed = values[soft] + 2.0 * factor * posterior.deviations(elements) > 0
            found += (-np.sqrt(-values[soft[allowed]]) * self._thz).tolist()
        lowest = min(found, default=0.0)
        return lowest if lowest < -ACOUSTIC_THZ else None

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        size = len(self._masses)
        pairs = np.triu_indices(size) if len(self.phi) * size**2 <= MOST_PAIRS else _neighbours(size)
        shares = self.weights / (self.weights.sum() * size)
        return np.concatenate(
            [self._rows_at(phi, share, posterior, *pairs) for phi, share in zip(self.phi, shares, strict=True)]
        )

    def _rows_at(self, phi: ComplexArray, share: float, posterior: Posterior, i: IntArray, j: IntArray) -> FloatArray:
        """Rows of the pairs (i, j) of modes at one q-point, of which a mode has this share of the mean square."""
        size = len(self._masses)
        units = np.sqrt(np.outer(self._masses, self._masses))
        dynamical = phi.reshape(size, size, -1) / units[:, :, None]
        count = np.where(i == j, 1.0, 2.0)
        if np.any(posterior.mean):
            values, vectors = np.linalg.eigh(dynamical @ posterior.mean)
        else:
            # Nothing is known, and any basis is as good; one by chance where not all pairs are looked at.
            count *= size**2 / count.sum()
            values = np.zeros(size)
            vectors = np.eye(size) if len(i) == size * (size + 1) // 2 else _some_basis(size)
        elements = _elements(dynamical, vectors, i, j)
        square = sum(np.sum((part @ posterior.root) ** 2, axis=1) for part in (elements.real, elements.imag))
        own = square[i == j] if np.any(posterior.mean) else np.full(size, (count @ square) / size)
        frequencies = (values**2 + own) ** 0.25 * self._thz
        moving = frequencies > ACOUSTIC_THZ
        # A mode with itself, and two modes in both orders as far as they mix.
        apart = (values[i] - values[j]) ** 2
        mixing = np.where(i == j, 1.0, square / np.maximum(square + apart, 1e-300)) * count
        kept = moving[i] & moving[j] & (mixing > SMALLEST_MIXING)
        factor = np.sqrt(mixing * share) * self._thz**2 / np.maximum(frequencies[i] + frequencies[j], 1e-9)
        scaled = factor[kept, None] * elements[kept]
        return np.concatenate([scaled.real, scaled.imag[(i != j)[kept]]])


def _some_basis(size: int) -> FloatArray:
    return np.asarray(np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0])


def _elements(dynamical: ComplexArray, vectors: ComplexArray, i: IntArray, j: IntArray) -> ComplexArray:
    """(n_pairs, m) array : ``e_i† D e_j`` of dynamical matrices (size, size, m), for a weight of one each."""
    left = np.tensordot(vectors.conj().T, dynamical, axes=(1, 0))
    found = np.empty((len(i), dynamical.shape[2]), dtype=complex)
    for mode in np.unique(i):
        found[i == mode] = vectors[:, j[i == mode]].T @ left[mode]
    return found


def _neighbours(size: int) -> tuple[IntArray, IntArray]:
    """Every mode with itself and the next two."""
    i = np.concatenate([np.arange(size - step) for step in (0, 1, 2)])
    j = np.concatenate([np.arange(step, size) for step in (0, 1, 2)])
    return i, j
