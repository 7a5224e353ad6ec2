"""Rigid ions: Coulomb forces by Ewald's sum and pairs that repel, a reference for ionic crystals that costs little.

Named in an input file, from the folder of this file, as

    [reference]
    calculator = "ionic:make"
    parameters = {name = "nacl"}

Charges of rigid ions are their Born charges, and electrons do not screen: the dielectric tensor of high frequencies is
one. Parameters: NaCl of Fumi and Tosi (1964), TiO2 of Matsui and Akaogi (1991), MgAl2O4 in the manner of Lewis and
Catlow (1985), without their polarisable shells.
"""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress
from scipy.special import erfc

#: Square of the elementary charge over 4 pi epsilon_0, eV Å.
COULOMB = 14.399645
#: Charges, and of pairs (in alphabetical order) A, rho, C and D of A exp(-r / rho) - C / r^6 - D / r^8, in eV and Å.
CRYSTALS = {
    "nacl": {
        "charges": {"Na": 1.0, "Cl": -1.0},
        "pairs": {
            ("Na", "Na"): (0.2637 * np.exp(2.340 / 0.317), 0.317, 1.0486, 0.4994),
            ("Cl", "Na"): (0.2110 * np.exp(2.755 / 0.317), 0.317, 6.9905, 8.6758),
            ("Cl", "Cl"): (0.1582 * np.exp(3.170 / 0.317), 0.317, 72.4021, 145.4279),
        },
    },
    "tio2": {
        "charges": {"Ti": 2.196, "O": -1.098},
        "pairs": {
            ("Ti", "Ti"): (31120.1, 0.154, 5.25, 0.0),
            ("O", "Ti"): (16957.53, 0.194, 12.59, 0.0),
            ("O", "O"): (11782.76, 0.234, 30.22, 0.0),
        },
    },
    "mgal2o4": {
        "charges": {"Mg": 2.0, "Al": 3.0, "O": -2.0},
        "pairs": {
            ("Mg", "O"): (1428.5, 0.2945, 0.0, 0.0),
            ("Al", "O"): (1114.9, 0.3118, 0.0, 0.0),
            ("O", "O"): (22764.0, 0.1490, 27.88, 0.0),
        },
    },
}


class RigidIons(Calculator):
    """Energy, forces and stress of a periodic crystal of rigid ions.

    Parameters
    ----------
    name : str
        One of CRYSTALS.
    cutoff : float, Å
        Of pairs in real space, where their energy and force are shifted to zero.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, name, cutoff=9.0):
        super().__init__()
        self.charges, self.pairs, self.cutoff = CRYSTALS[name]["charges"], CRYSTALS[name]["pairs"], cutoff
        # Both sums of Ewald end where their terms are 1e-8 of the first.
        self.width = 4.0 / cutoff
        self.longest = 2 * self.width * 4.3

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        symbols = np.array(self.atoms.get_chemical_symbols())
        charges = np.array([self.charges[symbol] for symbol in symbols])
        near = self._near(symbols, charges)
        far = self._far(charges)
        own = -COULOMB * self.width / np.sqrt(np.pi) * np.sum(charges**2)
        energy, forces, stress = near[0] + far[0] + own, near[1] + far[1], near[2] + far[2]
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }

    def _near(self, symbols, charges):
        """Pairs within the cutoff."""
        i, j, distances, vectors = neighbor_list("ijdD", self.atoms, self.cutoff)
        screened = erfc(self.width * distances) / distances
        product = COULOMB * charges[i] * charges[j]
        gauss = 2 * self.width / np.sqrt(np.pi) * np.exp(-((self.width * distances) ** 2))
        energies, slopes = product * screened, -product * (screened + gauss) / distances
        for pair, numbers in self.pairs.items():
            of_pair = np.sort(np.array([symbols[i], symbols[j]]), axis=0)
            here = (of_pair[0] == min(pair)) & (of_pair[1] == max(pair))
            (value, slope), (last, last_slope) = (_pair(r, *numbers) for r in (distances[here], self.cutoff))
            energies[here] += value - last - last_slope * (distances[here] - self.cutoff)
            slopes[here] += slope - last_slope
        pulls = (slopes / distances)[:, None] * vectors
        forces = np.stack([np.bincount(i, pulls[:, axis], minlength=len(charges)) for axis in range(3)], axis=1)
        return energies.sum() / 2, forces, pulls.T @ vectors / (2 * self.atoms.get_volume())

    def _far(self, charges):
        """Ewald's sum over reciprocal vectors, of each pair k and -k only one."""
        reciprocal = 2 * np.pi * np.linalg.inv(self.atoms.cell.array).T
        sizes = np.ceil(self.longest * self.atoms.cell.lengths() / (2 * np.pi)).astype(int)
        numbers = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in sizes), indexing="ij"), axis=-1).reshape(-1, 3)
        numbers = numbers[len(numbers) // 2 + 1 :]
        vectors = numbers @ reciprocal
        squares = np.sum(vectors**2, axis=1)
        vectors, squares = vectors[squares < self.longest**2], squares[squares < self.longest**2]
        phases = np.exp(1j * self.atoms.positions @ vectors.T)
        structure = charges @ phases
        volume = self.atoms.get_volume()
        terms = 4 * np.pi * COULOMB / volume * np.exp(-squares / (4 * self.width**2)) / squares
        energies = terms * np.abs(structure) ** 2
        forces = 2 * charges[:, None] * ((phases * structure.conj()).imag * terms) @ vectors
        factors = energies * 2 * (1 / squares + 1 / (4 * self.width**2))
        stress = ((vectors * factors[:, None]).T @ vectors - energies.sum() * np.eye(3)) / volume
        return energies.sum(), forces, stress


def _pair(r, a, rho, c, d):
    """Energy of a pair that is not Coulomb's, and its slope."""
    return a * np.exp(-r / rho) - c / r**6 - d / r**8, -a / rho * np.exp(-r / rho) + 6 * c / r**7 + 8 * d / r**9


def make(name, cutoff=9.0):
    """The calculator of a crystal."""
    return RigidIons(name, cutoff)
