"""Structures to be labelled by the fault-injection tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

HERE = Path(__file__).parent


def frames(n: int) -> list[Atoms]:
    """n different structures of one to four atoms."""
    rng = np.random.default_rng(1)
    made = []
    for index in range(n):
        atoms = bulk("Al", cubic=True)[: 1 + index % 4]
        atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
        atoms.positions = np.round(atoms.positions, 8)
        atoms.info["ndsc_name"] = f"c{index:04d}"
        made.append(atoms)
    return made
