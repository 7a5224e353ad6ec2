"""What phonons cost: the displaced non-diagonal supercells beside the ordinary diagonal supercell."""

from __future__ import annotations

from collections import Counter
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
from ndsc.label_cost import Estimate, LabelCost
from ndsc.qgrid import Grid
from ndsc.reference import reduced_kpoints

IntMatrix = np.ndarray[Any, Any]


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
        Sum of the cubes of the structures' numbers of atoms. It is not a time.
    kpoints : int or None
        k-points of all structures together, k and -k counted once, when the k-point grid of the unit cell is known.
    seconds : float or None
        Measured time of all structures together, s.
    seconds_estimated : Estimate or None
        Time of all structures together where it was not measured, s.
    """

    calculations: int
    atoms: int
    atoms_cubed: float
    kpoints: int | None = None
    seconds: float | None = None
    seconds_estimated: Estimate | None = None


@dataclass(frozen=True)
class PhononCost:
    """What was computed, and what the diagonal supercell of the same grid would have taken.

    Attributes
    ----------
    used, diagonal : Effort
    relative_time : Estimate
        Time of what was computed over that of the diagonal supercell.
    power, power_width : float
        The time of a calculation is taken to grow with the number of atoms to this power; its standard deviation.
    """

    used: Effort
    diagonal: Effort
    relative_time: Estimate
    power: float
    power_width: float

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, for JSON."""
        return asdict(self)


def phonon_cost(
    structure: Atoms | Crystal,
    grid: Grid,
    matrices: Iterable[ArrayLike],
    *,
    kgrid: AnyGrid | None = None,
    seconds: float | None = None,
) -> PhononCost:
    """The cost of one calculation for each supercell matrix, repeated ones too, and of the diagonal supercell.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
    grid : 3 ints
    matrices : iterable of (3, 3) ints
        Supercell matrices.
    kgrid : int, 3 ints or (3, 3) ints, optional
        k-point grid of the unit cell; without it, the calculator is taken to have no k-points.
    seconds : float, optional
        Time of all of them together, s.
    """
    crystal = as_crystal(structure)
    action = SpaceGroupAction.of_crystal(crystal).preserving_grid(grid)
    diagonal = np.diag(grid)
    # How many displacements the diagonal supercell needs does not depend on their length.
    n_diagonal = 1 + len(supercell_displacements(action, crystal.atoms, diagonal, displacement=0.01))
    chosen, without = [np.asarray(matrix) for matrix in matrices], [diagonal] * n_diagonal
    cost = LabelCost.of_labels([], [], kpoints=kgrid is not None)
    relative = cost.relative(Counter(_sizes(crystal, chosen)), Counter(_sizes(crystal, without)))
    estimated = None
    if seconds is not None and np.isfinite(seconds) and seconds > 0:
        estimated = Estimate(seconds / relative.value, seconds / relative.high, seconds / relative.low)
    return PhononCost(
        used=_effort(crystal, chosen, kgrid, seconds=seconds),
        diagonal=_effort(crystal, without, kgrid, seconds_estimated=estimated),
        relative_time=relative,
        power=cost.power,
        power_width=cost.power_width,
    )


def _sizes(crystal: Crystal, matrices: Sequence[IntMatrix]) -> list[int]:
    """Atoms of each supercell."""
    return [len(crystal.atoms) * abs(round(np.linalg.det(matrix))) for matrix in matrices]


def _effort(crystal: Crystal, matrices: Sequence[IntMatrix], kgrid: AnyGrid | None, **seconds: Any) -> Effort:
    sizes = _sizes(crystal, matrices)
    kpoints = None
    if kgrid is not None:
        counts: dict[bytes, int] = {}
        for matrix in matrices:
            key = matrix.tobytes()
            if key not in counts:
                counts[key] = len(reduced_kpoints(matrix, kgrid)[0])  # k and -k counted once
        kpoints = sum(counts[matrix.tobytes()] for matrix in matrices)
    return Effort(len(sizes), sum(sizes), float(sum(size**3 for size in sizes)), kpoints, **seconds)
