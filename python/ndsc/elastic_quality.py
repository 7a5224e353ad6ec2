"""What elastic constants say of themselves: whether they can be trusted, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ndsc.crystal import Crystal
from ndsc.vacuum import Vacuum

if TYPE_CHECKING:
    from ndsc.elastic import ElasticConstants

FloatArray = NDArray[np.float64]

#: A stress of the unstrained cell above this is worth a warning, GPa.
NOTABLE_STRESS = 0.5
#: Stresses of a smooth calculator differ from those of the constants by about four times the strain, as a share; more
#: than this much, and this many times the strain, is not smooth.
LARGEST_MISFIT, MISFIT_PER_STRAIN = 0.05, 8.0
#: More than any material has, GPa.
LARGEST_CONSTANT = 5000.0
_WITH_VACUUM = {2: "a sheet", 1: "a wire", 0: "a molecule or separate atoms"}


#: Voigt indices of the strains in the plane of a sheet.
IN_PLANE = (0, 1, 5)


def voigt_strain(cell: Atoms) -> FloatArray:
    """(6,) array : the strain of a strained cell, ``info["strain"]``, in Voigt order with twice the shears."""
    strain = np.asarray(cell.info["strain"], dtype=float).reshape(3, 3)
    return np.array([*np.diag(strain), 2 * strain[1, 2], 2 * strain[0, 2], 2 * strain[0, 1]])


def misfit(
    matrix: FloatArray,
    strained: Sequence[Atoms],
    unstrained: Atoms,
    *,
    components: Sequence[int] = tuple(range(6)),
) -> float:
    """Difference between the stresses of strained cells and those of the constants, as a share of the stresses.

    Parameters
    ----------
    matrix : (6, 6) float array, GPa
    strained : sequence of ase.Atoms
        With stresses, and their (3, 3) strain in ``info["strain"]``.
    unstrained : ase.Atoms
    components : sequence of int
        Voigt indices of the stresses that count.
    """
    strains = np.array([voigt_strain(cell) for cell in strained])
    found = (np.array([cell.get_stress() for cell in strained]) - unstrained.get_stress()) / GPa
    wrong = (found - strains @ matrix)[:, list(components)]
    return float(np.linalg.norm(wrong) / max(float(np.linalg.norm(found[:, list(components)])), 1e-300))


def elastic_warnings(constants: ElasticConstants, crystal: Crystal, response: float, vacuum: Vacuum) -> tuple[str, ...]:
    """Texts that say why the constants may be wrong, or mean something else.

    Parameters
    ----------
    constants : ElasticConstants
    crystal : Crystal
        The cell given.
    response : float
        The :func:`misfit` of the constants.
    vacuum : Vacuum
    """
    texts = []
    if constants.dimension < 3 and not crystal.is_sheet:
        gaps = " and ".join(f"{gap:.1f}" for gap in vacuum.gaps)
        instead = "" if constants.dimension != 2 else " The constants of the sheet in its plane are given in N/m."
        texts.append(
            f"The cell has {gaps} Å of vacuum, so this is {_WITH_VACUUM[constants.dimension]}: constants in GPa depend "
            f"on the vacuum, and bulk, shear and Young's moduli mean nothing.{instead}"
        )
    stress = float(
        np.max(np.abs(constants.residual_stress[list(IN_PLANE)] if crystal.is_sheet else constants.residual_stress))
    )
    if stress > NOTABLE_STRESS:
        texts.append(
            f"The cell carries a stress of up to {stress:.3g} GPa, which shifts its elastic constants by about as "
            "much. Relax the cell with the same calculator first."
        )
    if not constants.stable:
        texts.append("The elastic constants are not positive definite: the crystal is unstable against a strain.")
    if response > LARGEST_MISFIT + MISFIT_PER_STRAIN * constants.strain:
        texts.append(
            f"The stresses of the strained cells differ by {response:.0%} from those of the constants, so they are not "
            "linear in the strain: the calculator is noisy or not smooth, or the strain is too large or too small. "
            "Compare with another strain."
        )
    if np.max(np.abs(constants.matrix)) > LARGEST_CONSTANT:
        texts.append(
            f"The constants reach {np.max(np.abs(constants.matrix)):.3g} GPa, more than those of any material. Check "
            "the "
            "stresses of the calculator."
        )
    if not constants.relaxed_ions and not all_at_inversion_centres(crystal):
        texts.append(
            "The ions were clamped, but a strain moves them in this crystal: measured constants are those with "
            "relaxed ions. Relax the ions to compare with them."
        )
    return tuple(texts)


def all_at_inversion_centres(crystal: Crystal) -> bool:
    """Whether every atom is at a centre of inversion, so that no homogeneous strain moves it from its site."""
    inversions = np.all(crystal.rotations == -np.eye(3, dtype=np.int64), axis=(1, 2))
    fixed = crystal.permutations[inversions] == np.arange(len(crystal.atoms))
    return bool(np.all(np.any(fixed, axis=0)))
