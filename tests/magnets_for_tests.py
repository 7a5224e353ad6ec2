"""A cheap magnet: fcc iron in layers of spin up and down, and a pair potential that sees the spins."""

from __future__ import annotations

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list


class SpinPair(Calculator):
    """A pair potential with a term J s_i s_j, s the sign of the initial moment."""

    implemented_properties = ("energy", "forces", "stress")
    cutoff, coupling = 5.0, 0.02

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j, distances, vectors = neighbor_list("ijdD", self.atoms, self.cutoff)
        inside = 1 - (distances / self.cutoff) ** 2
        cut, cut_slope = inside**3, -6 * distances / self.cutoff**2 * inside**2
        signs = np.sign(self.atoms.get_initial_magnetic_moments())
        spin = self.coupling * signs[i] * signs[j] * np.exp(2.6 - distances)
        x = np.exp(-1.4 * (distances - 2.6))
        energy, slope = 0.3 * (x * x - 2 * x) + spin, 0.84 * (x - x * x) - spin
        pull = ((slope * cut + energy * cut_slope) / distances)[:, None] * vectors
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull)
        stress = 0.5 * np.einsum("ni,nj->ij", pull, vectors) / self.atoms.get_volume()
        self.results = {
            "energy": 0.5 * float((energy * cut).sum()), "forces": forces, "stress": stress.flat[[0, 4, 8, 5, 2, 1]],
        }  # fmt: skip


def layered_iron(a=3.7):
    atoms = bulk("Fe", "fcc", a=a, cubic=True)
    layer = np.rint(atoms.get_scaled_positions()[:, 2] * 2).astype(int) % 2
    atoms.set_initial_magnetic_moments(np.where(layer == 0, 2.0, -2.0))
    return atoms
