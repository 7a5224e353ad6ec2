"""Elastic constants as a target, in per cent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ndsc.crystal import Crystal, as_crystal
from ndsc.elastic_setting import constant_names, standard_orientation, without_forbidden
from ndsc.errors import InputError
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.selection.posterior import Posterior
from ndsc.selection.reciprocal import SupercellForceConstants, without_translations
from ndsc.selection.target import Target, not_prepared

FloatArray = NDArray[np.float64]

#: Strain of the cells behind elastic constants: rows are exact to rounding, so it may be small.
STRAIN = 0.001
#: An elastic constant that is small beside the largest counts as this part of it in its relative error.
SMALLEST_CONSTANT = 0.05
#: Where a limit for the largest error of the constants is given, this part of it is the goal for their root mean
#: square. The largest of a few errors is about 1.5 times that; another factor of 1.7 gives better elastic constants
#: from the same number of labels, and phonons that are about as good.
PART_OF_LARGEST = 0.4
_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
#: Voigt's order from the order of a row: xx, xy, xz, yy, yz, zz.
_VOIGT = (0, 3, 5, 4, 2, 1)


class ElasticTarget(Target):
    """Elastic constants with relaxed ions, in per cent.

    To first order, the error of a constant is that of the clamped one, and what wrong internal strains and force
    constants at the zone centre make of the relaxation. A constant below a twentieth of the largest counts as that.

    Parameters
    ----------
    crystal : ase.Atoms or Crystal
        The relaxed unit cell.
    goal : float, per cent
        Of the root mean square of the errors of all constants.
    relax_ions : bool

    Raises
    ------
    InputError
        When it is a sheet, for which there is :class:`~ndsc.selection.SheetElasticTarget`.

    Attributes
    ----------
    plane : tuple of int
        Strains, by their number in Voigt's order.
    """

    plane: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4, 5)
    name, unit = "elastic constants", "%"

    def __init__(self, crystal: Atoms | Crystal, goal: float = 1.0, *, relax_ions: bool = True) -> None:
        super().__init__(goal)
        self.crystal, self.laue_class, axes, factor = self._oriented(as_crystal(crystal))
        self.relax_ions = relax_ions and len(self.crystal.atoms) > 1
        action = SpaceGroupAction.of_crystal(self.crystal)
        self._centre = SupercellForceConstants(self.crystal, np.eye(3, dtype=np.int64), action, (1, 1, 1))
        rotations = action.cartesian
        different = np.unique(np.round(rotations, 6), axis=0, return_index=True)[1]
        bonds = np.array([_bond(axes @ rotation) for rotation in rotations[different]])
        constants = self._constants_of(bonds)
        self.names = tuple(constants)
        first, second = np.transpose(list(constants.values()))
        # What the mean over the point group makes of a Voigt matrix, constant by constant.
        self._means = factor * np.einsum("rca,rcb->cab", bonds[:, first], bonds[:, second]) / len(bonds)
        self._clamped: FloatArray | None = None
        self._strain = np.zeros((0, 6, 0))
        self._phi = np.zeros((0, 0, 0))

    def _oriented(self, crystal: Crystal) -> tuple[Crystal, str, FloatArray, float]:
        """The crystal whose cells are strained, its Laue class, the axes of the constants, and a factor to their unit.

        Raises
        ------
        InputError
            When the target is another one's.
        """
        if crystal.is_sheet:
            raise InputError(
                f"{crystal.describe()} is a sheet, which only has elastic constants in its plane. Use "
                "ndsc.selection.SheetElasticTarget."
            )
        atoms, laue_class = standard_orientation(crystal)
        return crystal.with_structure(atoms), laue_class, np.eye(3), 1.0

    def _constants_of(self, bonds: FloatArray) -> dict[str, tuple[int, int]]:
        """Names of the constants, and where they are in the Voigt matrix."""
        return {f"C{name}": (int(name[0]) - 1, int(name[1]) - 1) for name in constant_names(self.laue_class)}

    def frames(self) -> list[Atoms]:
        """Strained cells of both signs, and the unit cell with displaced atoms."""
        found = []
        for i, j in (_PAIRS[column] for column in self.plane):
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
        for place, column in enumerate(self.plane):
            stresses = []
            for number, sign in enumerate((1.0, -1.0)):
                deformed = volume * np.linalg.det(np.eye(3) + sign * _strain(*_PAIRS[column]))
                stresses.append(-rows[2 * place + number][-6:][list(_VOIGT)] / deformed / GPa)
            clamped[:, column] = (stresses[0] - stresses[1]) / (2 * STRAIN)
            strain[:, column] = (rows[2 * place][1:-6] - rows[2 * place + 1][1:-6]) / (2 * STRAIN)
        others = [column for column in range(6) if column not in self.plane]
        clamped[others] = 0.0
        self._clamped = 0.5 * (clamped + clamped.transpose(1, 0, 2))
        if self.relax_ions:
            phi = without_translations(self._centre.phi(rows[2 * len(self.plane) :])[0]).real
            self._strain, self._phi = strain, phi.reshape(len(strain), len(strain), m)

    @property
    def clamped(self) -> FloatArray:
        """(6, 6, m) array, GPa : Voigt matrix with clamped ions, for a weight of one each."""
        if self._clamped is None:
            raise not_prepared(self)
        return self._clamped

    def _relaxation(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(3 n, 6) displacements of the ions per strain, and the internal-strain tensor over the volume, GPa/Å."""
        strain = self._strain @ z
        inverse = np.linalg.pinv(self._phi @ z, rcond=1e-4, hermitian=True)
        return inverse @ strain, strain / (self.crystal.atoms.get_volume() * GPa)

    def matrix(self, z: FloatArray) -> FloatArray:
        """(6, 6) array, GPa : Voigt matrix for some weights, in the standard axes."""
        found = self.clamped @ z
        if self.relax_ions:
            moved, strain = self._relaxation(z)
            found = found - strain.T @ moved
        return without_forbidden(found, self.laue_class)

    def constants(self, z: FloatArray) -> dict[str, float]:
        """The constants by name, GPa, for some weights; of a sheet N/m."""
        values = self._named(self.matrix(z)[:, :, None])[:, 0]
        return dict(zip(self.names, (float(value) for value in values), strict=True))

    def constant_rows(self, mean: FloatArray) -> FloatArray:
        """(n_constants, m) array : change of each constant with the weights, at the mean weights."""
        rows = self.clamped
        if self.relax_ions and np.any(mean):
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
        """(n_constants,) array : how large each constant is, for its relative error."""
        known = np.array(list(self.constants(posterior.mean).values())) if np.any(posterior.mean) else 0.0
        sizes = np.sqrt(known**2 + posterior.deviations(rows) ** 2)
        # All are zero in a model that knows nothing of this crystal.
        return np.asarray(np.maximum(sizes, max(SMALLEST_CONSTANT * np.max(sizes), 1e-12)))

    def _named(self, matrices: FloatArray) -> FloatArray:
        """The constants of (6, 6, m) matrices, averaged over the point group."""
        return np.asarray(np.tensordot(self._means, matrices, axes=2))


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
