"""Atoms with fixed moments: a Morse pair and an exchange J(r) m_i·m_j, a cheap reference for magnetic crystals.

Named in an input file, from the folder of this file, as

    [reference]
    calculator = "spins:make"

Moments are those that the crystal has (numbers, or vectors of three); they neither turn nor change their size.
"""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress


class Spins(Calculator):
    """Energy, forces and stress of a periodic crystal of one element.

    Parameters
    ----------
    depth : float, eV
        Of the Morse pair.
    distance : float, Å
        Of its minimum.
    exchange : float, eV
        At that distance, for moments of one Bohr magneton; positive between neighbours that prefer to be opposite.
    cutoff : float, Å
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, depth=0.3, distance=2.6, exchange=0.02, cutoff=5.0):
        super().__init__()
        self.depth, self.distance, self.exchange, self.cutoff = depth, distance, exchange, cutoff

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j, distances, vectors = neighbor_list("ijdD", self.atoms, self.cutoff)
        moments = self.atoms.get_initial_magnetic_moments().reshape(len(self.atoms), -1)
        spins = self.exchange * np.sum(moments[i] * moments[j], axis=1) * np.exp(self.distance - distances)
        x = np.exp(-1.4 * (distances - self.distance))
        energies, slopes = self.depth * (x * x - 2 * x) + spins, 2.8 * self.depth * (x - x * x) - spins
        inside = 1 - (distances / self.cutoff) ** 2
        smooth, smooth_slope = inside**3, -6 * distances / self.cutoff**2 * inside**2
        pulls = ((slopes * smooth + energies * smooth_slope) / distances)[:, None] * vectors
        forces = np.stack([np.bincount(i, pulls[:, axis], minlength=len(moments)) for axis in range(3)], axis=1)
        energy = 0.5 * float(energies @ smooth)
        stress = 0.5 * pulls.T @ vectors / self.atoms.get_volume()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


def make(**parameters):
    """The calculator."""
    return Spins(**parameters)
