"""Crystals of all 14 Bravais lattices and of many space groups, and a pair potential that binds any of them."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.lattice import BCC, BCT, CUB, FCC, HEX, MCL, MCLC, ORC, ORCC, ORCF, ORCI, RHL, TET, TRI
from ase.spacegroup import crystal
from matscipy.neighbours import neighbour_list


class PairPotential(Calculator):
    """Morse potential with a smooth cutoff, its depth depending on the elements, so that different atoms differ."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, distance=2.8, cutoff=6.0, stiffness=1.4):
        super().__init__()
        self.distance, self.cutoff, self.stiffness = distance, cutoff, stiffness
        self.calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        i, j, r, vectors = neighbour_list("ijdD", self.atoms, self.cutoff)
        z = self.atoms.numbers
        depth = 0.5 * (1 + 0.3 * np.cos(z[i]) * np.cos(z[j]))
        growth = np.exp(-self.stiffness * (r - self.distance))
        well, slope = growth**2 - 2 * growth, -2 * self.stiffness * (growth**2 - growth)
        x = 1 - (r / self.cutoff) ** 2
        switch, switch_slope = x**3, -6 * x**2 * r / self.cutoff**2
        pull = 0.5 * depth * (slope * switch + well * switch_slope)
        forces = np.zeros((len(z), 3))
        along = (pull / r)[:, None] * vectors
        np.add.at(forces, i, along)
        np.add.at(forces, j, -along)
        energy = 0.5 * float(np.sum(depth * well * switch))
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def bravais_crystals() -> dict[str, Atoms]:
    """A crystal of one atom, or of two different ones, on each of the 14 Bravais lattices."""
    lattices = {
        "simple cubic": CUB(2.7), "face-centred cubic": FCC(4.0), "body-centred cubic": BCC(3.2),
        "tetragonal": TET(2.7, 3.0), "body-centred tetragonal": BCT(3.1, 3.6), "orthorhombic": ORC(2.6, 2.8, 3.1),
        "face-centred orthorhombic": ORCF(3.7, 4.0, 4.5), "body-centred orthorhombic": ORCI(2.9, 3.2, 3.6),
        "base-centred orthorhombic": ORCC(2.9, 4.4, 2.9), "hexagonal": HEX(2.8, 2.9), "rhombohedral": RHL(2.8, 75.0),
        "monoclinic": MCL(2.6, 2.9, 3.1, 75.0), "base-centred monoclinic": MCLC(4.2, 3.0, 3.1, 70.0),
        "triclinic": TRI(2.7, 2.9, 3.1, 75.0, 80.0, 85.0),
    }  # fmt: skip
    return {name: Atoms("Al", cell=lattice.tocell(), pbc=True) for name, lattice in lattices.items()}


def structured_crystals() -> dict[str, Atoms]:
    """Crystals with several atoms: nonsymmorphic, polyatomic, without symmetry."""
    quartz = crystal(
        ["Si", "O"], [(0.4697, 0, 0), (0.4133, 0.2672, 0.1188)], spacegroup=152,
        cellpar=[4.9, 4.9, 5.4, 90, 90, 120],
    )  # fmt: skip
    rutile = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90])
    triclinic = Atoms(
        "AlCuAg", pbc=True, cell=TRI(3.4, 3.7, 4.4, 75.0, 80.0, 85.0).tocell(),
        scaled_positions=[(0.0, 0.0, 0.0), (0.45, 0.52, 0.28), (0.08, 0.43, 0.66)],
    )  # fmt: skip
    polar = crystal(["Ti", "O"], [(0, 0, 0.03), (0.5, 0.5, 0.48)], spacegroup=99, cellpar=[3.0, 3.0, 3.4, 90, 90, 90])
    plain = [bulk("Si", a=5.4), bulk("Mg", a=2.9, c=4.7), bulk("ZnS", "wurtzite", a=3.4, c=5.5, u=0.376),
             bulk("NaCl", "rocksalt", a=5.2), bulk("CsCl", "cesiumchloride", a=3.2)]  # fmt: skip
    names = ["diamond", "hcp", "wurtzite", "rocksalt", "caesium chloride"]
    made = {"rutile": rutile, "alpha-quartz": quartz, "no symmetry": triclinic, "polar tetragonal": polar}
    found = {**dict(zip(names, plain, strict=True)), **made}
    for atoms in found.values():
        atoms.arrays = {key: atoms.arrays[key] for key in ("numbers", "positions")}
        atoms.info = {}
    return found
