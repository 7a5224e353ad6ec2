"""How exactly structures are known: everything that is stored is rounded, so that it is the same everywhere."""

from __future__ import annotations

import numpy as np
from ase import Atoms

#: Decimals of positions and cell vectors, Å.
DECIMALS = 8


def rounded(atoms: Atoms) -> Atoms:
    """A copy of `atoms` with cell and positions rounded to 1e-8 Å, as all structures are stored."""
    copy = atoms.copy()
    # Adding 0.0 turns -0.0 into 0.0, which would be written differently.
    # A constraint such as ASE's FixSymmetry would adjust the cell, and what is stored would not be what was keyed.
    copy.set_cell(np.round(atoms.cell.array, DECIMALS) + 0.0, apply_constraint=False)
    copy.positions = np.round(atoms.positions, DECIMALS) + 0.0
    return copy
