"""Elastic constants of a sheet as a target, in per cent: those in its plane, per area."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.crystal import Crystal, as_crystal
from ndsc.elastic_sheet import check_one_vacuum
from ndsc.errors import InputError
from ndsc.selection.elastic_target import ElasticTarget
from ndsc.vacuum import IN_PLANE_NAMES, NEWTON_PER_METRE, Vacuum, in_plane_axes

FloatArray = NDArray[np.float64]

#: Parts of a constant that the mean over the symmetry leaves below this are zero.
_ZERO = 1e-9


class SheetElasticTarget(ElasticTarget):
    """Elastic constants of a sheet (``pbc = T T F``) with relaxed ions, in per cent.

    Strains are those in the plane, and constants C11, C12, C22, C66, C16 and C26 in N/m, as far as the symmetry lets
    them be other than zero, with x along the shortest lattice vector as in :func:`~ndsc.elastic_constants`.

    Parameters
    ----------
    crystal : ase.Atoms or Crystal
        The relaxed unit cell of a sheet.
    goal : float, per cent
        Of the root mean square of the errors of all constants.
    relax_ions : bool

    Raises
    ------
    InputError
        When it is no sheet.
    """

    plane = (0, 1, 5)

    def _oriented(self, crystal: Crystal) -> tuple[Crystal, str, FloatArray, float]:
        if not crystal.is_sheet:
            raise InputError(
                f"{crystal.describe()} is not a sheet. Give one (pbc = T T F), or use ElasticTarget for a crystal."
            )
        axes, height = in_plane_axes(crystal.atoms, check_one_vacuum(crystal))
        return crystal, "sheet", axes, height * NEWTON_PER_METRE

    def _constants_of(self, bonds: FloatArray) -> dict[str, tuple[int, int]]:
        """Those that are not zero by symmetry: the mean of a general matrix tells."""
        found = {}
        for name, (first, second) in IN_PLANE_NAMES.items():
            mean = np.einsum("ra,rb->ab", bonds[:, first], bonds[:, second]) / len(bonds)
            if np.max(np.abs((mean + mean.T)[np.ix_(self.plane, self.plane)])) > _ZERO:
                found[name] = (first, second)
        return found


def elastic_target(structure: Atoms | Crystal, goal: float, *, relax_ions: bool = True) -> ElasticTarget | None:
    """The elastic constants of a crystal or of a sheet as a target; None for what has none, with vacuum around it.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
    goal : float, per cent
    relax_ions : bool
    """
    crystal = as_crystal(structure)
    empty = len(Vacuum.around(crystal.atoms).normals)
    if crystal.is_sheet:
        return SheetElasticTarget(crystal, goal, relax_ions=relax_ions) if empty == 1 else None
    return None if empty else ElasticTarget(crystal, goal, relax_ions=relax_ions)
