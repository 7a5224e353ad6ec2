"""Candidates: perturbed supercells and unit cells that cost nothing until they are labelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from ndsc.configurations import make_configurations
from ndsc.configurations import strata as strata
from ndsc.errors import InputError
from ndsc.supercells import SupercellSet

#: Standard deviations of the displacements, Å, and factors of the cell vectors, which candidates take in turn.
DISPLACEMENTS = (0.01, 0.02, 0.05, 0.10)
SCALES = (0.98, 1.0, 1.02)
#: Largest entry of the random strain.
STRAIN = 0.01
#: Part of the candidates that are unit cells: strained ones, and with a basis also with displaced atoms.
UNIT_CELLS = 0.08
#: Fewest of each kind.
FEWEST = 24


def make_candidates(supercells: SupercellSet, n: int = 1500, *, seed: int = 1) -> list[Atoms]:
    """Perturbed supercells to choose from, of several amplitudes and scales, and unit cells.

    Parameters
    ----------
    supercells : SupercellSet
        Of the relaxed unit cell.
    n : int
        How many, roughly: each supercell has the same number, and at least 24.
    seed : int

    Returns
    -------
    list of ase.Atoms
        The unperturbed unit cell first. ``info`` is that of :func:`ndsc.make_configurations`.

    Raises
    ------
    InputError
        When these are no supercells, or `n` is not a positive whole number.
    """
    if not isinstance(supercells, SupercellSet):
        raise InputError(
            f"Candidates are made from the supercells of a grid, not from {type(supercells).__name__}. Give what "
            "find_supercells returns."
        )
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n = {n!r} is not a whole number of at least 1. Give how many candidates to make.")
    kinds = len(DISPLACEMENTS) * len(SCALES)
    units = max(FEWEST, round(UNIT_CELLS * n))
    share = max(FEWEST, -(-(n - units) // len(supercells)))
    per_supercell = kinds * -(-share // kinds)
    common: dict[str, Any] = {"strain": STRAIN, "scale": SCALES, "seed": seed}
    found = make_configurations(supercells, per_supercell=0, unit_cells=1, seed=seed)
    small, large = (
        make_configurations(
            supercells,
            per_supercell=0,
            unit_cells=-(-units // 2) + 1,
            unit_cell_displacement=moved,
            part=part,
            **common,
        )[1:]
        for part, moved in (("small", DISPLACEMENTS[1]), ("large", DISPLACEMENTS[2]))
    )
    # The only atom of a unit cell is not displaced, so that both are the same.
    found += small if len(supercells.atoms) == 1 else [*small, *large]
    return found + make_configurations(
        supercells, per_supercell=per_supercell, displacement=DISPLACEMENTS, unit_cells=0, **common
    )
