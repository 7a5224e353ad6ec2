"""What a database is made for, as linear maps of the weights of a potential: phonons, elastic constants, and others.

A target names the structures whose rows it needs. From these it makes, for what is known of the weights, rows E for
which ``|E δz|²`` is the mean square error of what it is about, in a unit of its own, when the weights are wrong by δz.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray
from phonopy.physical_units import get_physical_units

from ndsc.crystal import Crystal, as_crystal
from ndsc.elastic_setting import constant_names, standard_orientation, without_forbidden
from ndsc.errors import InputError
from ndsc.force_constants.dynamical import find_stars, real_space_force_constants, transform_matrix
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.qgrid import Grid
from ndsc.selection.posterior import Posterior
from ndsc.selection.reciprocal import SupercellForceConstants, at_representatives
from ndsc.supercells import SupercellSet, find_supercells

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

#: Frequencies below this are the three translations, THz.
ACOUSTIC_THZ = 0.15
#: Pairs of modes (over all q-points) up to which all are looked at; with more, only neighbouring ones.
MOST_PAIRS = 8000
#: Pairs of modes that mix less than this are left out.
SMALLEST_MIXING = 0.02
#: Strain of the cells behind elastic constants.
STRAIN = 0.003
#: An elastic constant that is small beside the largest counts as this part of it in its relative error.
SMALLEST_CONSTANT = 0.05
_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
#: Voigt's order from the order of a row: xx, xy, xz, yy, yz, zz.
_VOIGT = (0, 3, 5, 4, 2, 1)


class Target(ABC):
    """Something that a potential is to give.

    Attributes
    ----------
    name : str
    unit : str
        Of its error.
    goal : float
        Root-mean-square error that is wanted: targets are weighed against each other by their goals.
    """

    name: str
    unit: str

    def __init__(self, goal: float) -> None:
        if not np.isfinite(goal) or goal <= 0:
            raise InputError(
                f"The goal {goal!r} of {self.name} is not a positive number. Give an error in {self.unit}."
            )
        self.goal = goal

    @abstractmethod
    def frames(self) -> list[Atoms]:
        """Structures whose rows are needed."""

    @abstractmethod
    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Take the rows of :meth:`frames`."""

    @abstractmethod
    def error_rows(self, posterior: Posterior) -> FloatArray:
        """(t, m) array E : ``|E δz|²`` is the mean square error, in the target's unit."""


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
    """

    name, unit = "phonons", "THz"

    def __init__(self, crystal: Atoms | Crystal, grid: int | Sequence[int] | SupercellSet, goal: float = 0.05) -> None:
        super().__init__(goal)
        self.supercells = grid if isinstance(grid, SupercellSet) else find_supercells(as_crystal(crystal), grid)
        self.crystal = self.supercells.crystal
        self.grid: Grid = self.supercells.grid
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
        found, start = [], 0
        for cell in self._cells:
            end = start + len(cell.frames())
            found.append((cell.held, cell.phi(rows[start:end])))
            start = end
        phi = at_representatives(found, self.action, self.stars, self.grid)
        # The zone centre is the first: the crystal as a whole moves freely, to rounding and the second order.
        phi[0] = _without_translations(phi[0])
        self._phi = phi

    @property
    def phi(self) -> ComplexArray:
        """(n_stars, n, 3, n, 3, m) array, eV/Å² : force constants for a weight of one each."""
        if self._phi is None:
            raise InputError("The target has no rows yet. Call prepare with the rows of its frames.")
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

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        size, m = len(self._masses), self.phi.shape[-1]
        units = np.sqrt(np.outer(self._masses, self._masses))
        total = float(self.weights.sum()) * size
        all_pairs = len(self.phi) * size**2 <= MOST_PAIRS
        found = []
        for phi, weight in zip(self.phi, self.weights, strict=True):
            dynamical = phi.reshape(size, size, m) / units[:, :, None]
            values, vectors = np.linalg.eigh(dynamical @ posterior.mean)
            if not np.any(posterior.mean):
                # Nothing is known, and the axes are as good as any other basis.
                vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
            i, j = np.triu_indices(size) if all_pairs else _neighbours(size)
            half = np.tensordot(vectors.conj().T, dynamical, axes=(1, 0))
            elements = np.einsum("iar,aj->ijr", half, vectors, optimize=True)[i, j]
            spread = np.linalg.norm(elements @ posterior.root, axis=1)
            own = spread[i == j]
            frequencies = np.sqrt(np.sqrt(values**2 + own**2)) * self._thz
            moving = frequencies > ACOUSTIC_THZ
            gap = values[i] - values[j]
            mixing = np.where(i == j, 1.0, 2.0 * spread**2 / np.maximum(spread**2 + gap**2, 1e-300))
            kept = moving[i] & moving[j] & (mixing > SMALLEST_MIXING)
            factor = np.sqrt(mixing * weight / total) * self._thz**2 / np.maximum(frequencies[i] + frequencies[j], 1e-9)
            scaled = factor[kept, None] * elements[kept]
            found += [scaled.real, scaled.imag[(i != j)[kept]]]
        return np.concatenate(found)


class ElasticTarget(Target):
    """Elastic constants with relaxed ions, in per cent.

    To first order, the error of a constant is that of the clamped one, and what wrong internal strains and force
    constants at the zone centre make of the relaxation. A constant below a twentieth of the largest counts as that.

    Parameters
    ----------
    crystal : ase.Atoms or Crystal
        The relaxed unit cell.
    goal : float, per cent
    relax_ions : bool
    """

    name, unit = "elastic constants", "%"

    def __init__(self, crystal: Atoms | Crystal, goal: float = 3.0, *, relax_ions: bool = True) -> None:
        super().__init__(goal)
        given = as_crystal(crystal)
        atoms, self.laue_class = standard_orientation(given)
        self.crystal = given.with_structure(atoms)
        self.names = tuple(f"C{name}" for name in constant_names(self.laue_class))
        self.relax_ions = relax_ions and len(atoms) > 1
        self._index = tuple((int(name[1]) - 1, int(name[2]) - 1) for name in self.names)
        action = SpaceGroupAction.of_crystal(self.crystal)
        self._centre = SupercellForceConstants(self.crystal, np.eye(3, dtype=np.int64), action, (1, 1, 1))
        rotations = action.cartesian
        self._rotations = rotations[np.unique(np.round(rotations, 6), axis=0, return_index=True)[1]]
        self._clamped: FloatArray | None = None
        self._strain: FloatArray | None = None
        self._phi: FloatArray | None = None

    def frames(self) -> list[Atoms]:
        """Strained cells of both signs, and the unit cell with displaced atoms."""
        found = []
        for i, j in _PAIRS:
            for sign in (1.0, -1.0):
                cell = self.crystal.atoms.copy()
                cell.set_cell(cell.cell.array @ (np.eye(3) + sign * _strain(i, j)), scale_atoms=True)
                found.append(cell)
        return found + (self._centre.frames() if self.relax_ions else [])

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Clamped constants, internal-strain tensor and force constants at the zone centre."""
        m = rows[0].shape[1]
        volume = self.crystal.atoms.get_volume()
        clamped, strain = np.zeros((6, 6, m)), np.zeros((3 * len(self.crystal.atoms), 6, m))
        for column, (i, j) in enumerate(_PAIRS):
            stresses = []
            for number, sign in enumerate((1.0, -1.0)):
                deformed = volume * np.linalg.det(np.eye(3) + sign * _strain(i, j))
                stresses.append(-rows[2 * column + number][-6:][list(_VOIGT)] / deformed / GPa)
            clamped[:, column] = (stresses[0] - stresses[1]) / (2 * STRAIN)
            strain[:, column] = (rows[2 * column][1:-6] - rows[2 * column + 1][1:-6]) / (2 * STRAIN)
        self._clamped = 0.5 * (clamped + clamped.transpose(1, 0, 2))
        if self.relax_ions:
            phi = _without_translations(self._centre.phi(rows[12:])[0]).real
            self._strain, self._phi = strain, phi.reshape(len(strain), len(strain), m)

    def _relaxation(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(3 n, 6) displacements of the ions per strain, and the internal-strain tensor over the volume, GPa/Å."""
        assert self._phi is not None
        assert self._strain is not None
        strain = self._strain @ z
        inverse = np.linalg.pinv(self._phi @ z, rcond=1e-4, hermitian=True)
        return inverse @ strain, strain / (self.crystal.atoms.get_volume() * GPa)

    def matrix(self, z: FloatArray) -> FloatArray:
        """(6, 6) array, GPa : Voigt matrix for some weights, in the standard axes."""
        assert self._clamped is not None
        found = self._clamped @ z
        if self.relax_ions:
            moved, strain = self._relaxation(z)
            found = found - strain.T @ moved
        return without_forbidden(found, self.laue_class)

    def constants(self, z: FloatArray) -> dict[str, float]:
        """The constants of the Laue class by name, GPa, for some weights."""
        values = self._named(self.matrix(z)[:, :, None])[:, 0]
        return dict(zip(self.names, (float(value) for value in values), strict=True))

    def constant_rows(self, mean: FloatArray) -> FloatArray:
        """(n_constants, m) array, GPa : change of each constant with the weights, at the mean weights."""
        assert self._clamped is not None
        rows = self._clamped
        if self.relax_ions and np.any(mean):
            assert self._phi is not None
            assert self._strain is not None
            moved, _ = self._relaxation(mean)
            volume = self.crystal.atoms.get_volume() * GPa
            cross = np.einsum("ivm,iw->vwm", self._strain, moved, optimize=True) / volume
            bend = np.einsum("iv,ijm,jw->vwm", moved, self._phi, moved, optimize=True) / volume
            rows = rows - cross - cross.transpose(1, 0, 2) + bend
        return self._named(rows)

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        rows = self.constant_rows(posterior.mean)
        return np.asarray(100.0 * rows / self.sizes(posterior, rows)[:, None] / np.sqrt(len(rows)))

    def sizes(self, posterior: Posterior, rows: FloatArray) -> FloatArray:
        """(n_constants,) array, GPa : how large each constant is, for its relative error."""
        known = np.array(list(self.constants(posterior.mean).values())) if np.any(posterior.mean) else 0.0
        sizes = np.sqrt(known**2 + posterior.deviations(rows) ** 2)
        return np.asarray(np.maximum(sizes, SMALLEST_CONSTANT * np.max(sizes)))

    def _named(self, matrices: FloatArray) -> FloatArray:
        """The constants of (6, 6, m) matrices, averaged over the point group."""
        total = np.zeros((len(self._index), matrices.shape[2]))
        for rotation in self._rotations:
            bond = _bond(rotation)
            for number, (i, j) in enumerate(self._index):
                total[number] += np.einsum("a,abm,b->m", bond[i], matrices, bond[j], optimize=True)
        return np.asarray(total / len(self._rotations))


class PressureTarget(Target):
    """The equation of state: pressure over a range of volumes, GPa.

    Parameters
    ----------
    crystal : ase.Atoms or Crystal
        The relaxed unit cell; its atoms stay at their fractional positions.
    goal : float, GPa
    scales : sequence of float
        Factors of the cell vectors.
    """

    name, unit = "equation of state", "GPa"

    def __init__(
        self, crystal: Atoms | Crystal, goal: float = 0.2, *, scales: Sequence[float] = (0.98, 0.99, 1.0, 1.01, 1.02)
    ) -> None:
        super().__init__(goal)
        self.crystal = as_crystal(crystal)
        self.scales = tuple(scales)
        self._rows: FloatArray | None = None

    def frames(self) -> list[Atoms]:
        """Scaled unit cells."""
        found = []
        for scale in self.scales:
            cell = self.crystal.atoms.copy()
            cell.set_cell(cell.cell.array * scale, scale_atoms=True)
            found.append(cell)
        return found

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Pressures."""
        volumes = self.crystal.atoms.get_volume() * np.array(self.scales) ** 3
        self._rows = np.array(
            [own[-6:][[0, 3, 5]].sum(axis=0) / (3 * v * GPa) for own, v in zip(rows, volumes, strict=True)]
        )

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        assert self._rows is not None
        return np.asarray(self._rows / np.sqrt(len(self._rows)))


class ForceTarget(Target):
    """Forces on given structures, such as those of a trajectory, eV/Å.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    goal : float, eV/Å
    name : str
    """

    name, unit = "forces", "eV/Å"

    def __init__(self, structures: Sequence[Atoms], goal: float = 0.01, *, name: str = "forces") -> None:
        super().__init__(goal)
        if not structures:
            raise InputError("There are no structures whose forces could be a target. Give at least one.")
        self.name = name
        self._structures = [frame.copy() for frame in structures]
        self._rows: FloatArray | None = None

    def frames(self) -> list[Atoms]:
        """The structures."""
        return self._structures

    def prepare(self, rows: Sequence[FloatArray]) -> None:
        """Forces."""
        self._rows = np.concatenate([own[1:-6] for own in rows])

    def error_rows(self, posterior: Posterior) -> FloatArray:
        """See :meth:`Target.error_rows`."""
        assert self._rows is not None
        return np.asarray(self._rows / np.sqrt(len(self._rows)))


def _strain(i: int, j: int) -> FloatArray:
    strain = np.zeros((3, 3))
    strain[i, j] += 0.5 * STRAIN
    strain[j, i] += 0.5 * STRAIN
    return strain


def _bond(rotation: FloatArray) -> FloatArray:
    """(6, 6) array : what a rotation makes of stresses in Voigt's order (Bond's matrix)."""
    bond = np.zeros((6, 6))
    for row, (i, j) in enumerate(_PAIRS):
        for column, (k, m) in enumerate(_PAIRS):
            bond[row, column] = rotation[i, k] * rotation[j, m]
            if k != m:
                bond[row, column] += rotation[i, m] * rotation[j, k]
    return bond


def _neighbours(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every mode with itself and the next two."""
    i = np.concatenate([np.arange(size - step) for step in (0, 1, 2)])
    j = np.concatenate([np.arange(step, size) for step in (0, 1, 2)])
    return i, j


def _without_translations(phi: ComplexArray) -> ComplexArray:
    """Force constants at the zone centre, (n, 3, n, 3, m), without forces on a crystal that is moved as a whole."""
    phi = phi - phi.mean(axis=2, keepdims=True)
    return np.asarray(phi - phi.mean(axis=0, keepdims=True))
