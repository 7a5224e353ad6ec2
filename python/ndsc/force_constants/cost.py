"""What phonons cost: the displaced non-diagonal supercells beside the ordinary diagonal supercell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ndsc.crystal import Crystal, as_crystal
from ndsc.force_constants.displacements import supercell_displacements
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.kpoints import AnyGrid
from ndsc.qgrid import Grid
from ndsc.reference import reduced_kpoints


@dataclass(frozen=True)
class Effort:
    """How much there is to compute.

    Attributes
    ----------
    calculations : int
        Structures, perfect and displaced.
    atoms : int
        Atoms of all structures together.
    atoms_cubed : float
        Sum of the cubes of the structures' numbers of atoms, what density-functional theory takes time with.
    kpoints : int or None
        k-points of all structures together, k and -k counted once, when the k-point grid of the unit cell is known.
    seconds : float or None
        Measured time of all structures together, s.
    """

    calculations: int
    atoms: int
    atoms_cubed: float
    kpoints: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class PhononCost:
    """What was computed, and what the diagonal supercell of the same grid would have taken.

    Attributes
    ----------
    used, diagonal : Effort
    """

    used: Effort
    diagonal: Effort

    @property
    def relative(self) -> float:
        """The sum of atoms³ as a share of the diagonal supercell's."""
        return self.used.atoms_cubed / self.diagonal.atoms_cubed

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, for JSON."""
        return {**asdict(self), "relative": self.relative}


def phonon_cost(
    structure: Atoms | Crystal,
    grid: Grid,
    matrices: Iterable[ArrayLike],
    *,
    kgrid: AnyGrid | None = None,
    seconds: float | None = None,
) -> PhononCost:
    """The cost of one calculation for each supercell matrix, repeated ones too, and of the diagonal supercell."""
    crystal = as_crystal(structure)
    action = SpaceGroupAction.of_crystal(crystal).preserving_grid(grid)
    diagonal = np.diag(grid)
    # How many displacements the diagonal supercell needs does not depend on their length.
    n_diagonal = 1 + len(supercell_displacements(action, crystal.atoms, diagonal, displacement=0.01))
    used = _effort(crystal, [np.asarray(matrix) for matrix in matrices], kgrid, seconds)
    return PhononCost(used=used, diagonal=_effort(crystal, [diagonal] * n_diagonal, kgrid, None))


def _effort(
    crystal: Crystal, matrices: Sequence[np.ndarray[Any, Any]], kgrid: AnyGrid | None, seconds: float | None
) -> Effort:
    sizes = [len(crystal.atoms) * abs(round(np.linalg.det(matrix))) for matrix in matrices]
    kpoints = None
    if kgrid is not None:
        counts: dict[bytes, int] = {}
        for matrix in matrices:
            key = matrix.tobytes()
            if key not in counts:
                counts[key] = len(reduced_kpoints(matrix, kgrid)[0])  # k and -k counted once
        kpoints = sum(counts[matrix.tobytes()] for matrix in matrices)
    return Effort(len(sizes), sum(sizes), float(sum(size**3 for size in sizes)), kpoints, seconds)
