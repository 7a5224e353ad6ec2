"""Crystals of different kinds with references that cost nothing, for benchmarks of what is chosen and predicted.

Each reference is deterministic, continuous in energy and forces, and gives stresses. A run names one as
``calculator = "_crystals:pairs"`` and so on, with this folder on the path of Python.

The parameters stand for crystals of many kinds and not for the materials: they were not compared with the tables of the
papers named beside them, and are not to be cited.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.spacegroup import crystal
from ase.units import _e, _eps0
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si,
    StillingerWeber,
)
from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Tersoff_PRB_39_5566_Si_C, TersoffBrenner
from matscipy.neighbours import neighbour_list
from matscipy.numpy_tricks import mabincount
from numpy.typing import NDArray
from scipy.special import erfc
from spglib import niggli_reduce

from ndsc import make_supercell

FloatArray = NDArray[np.float64]

#: The environment variable that names a file for the processor time of the references, s.
SECONDS_FILE = "NDSC_BENCH_REFERENCE_SECONDS"
#: e² / (4 π ε0), eV Å.
COULOMB = _e / (4 * np.pi * _eps0) * 1e10


@dataclass(frozen=True)
class Ions:
    """Rigid ions: charges in e, and ``A exp(-r / rho) - C / r^6 - D / r^8`` of pairs as (A, rho, C, D) in eV and Å."""

    charges: Mapping[str, float]
    pairs: Mapping[tuple[str, str], tuple[float, float, float, float]]


#: Published sets of parameters.
IONS = {
    # Matsui and Akaogi, Mol. Simul. 6, 239 (1991).
    "tio2": Ions(
        {"Ti": 2.196, "O": -1.098},
        {
            ("Ti", "Ti"): (31120.2, 0.154, 5.25, 0.0),
            ("O", "Ti"): (16957.53, 0.194, 12.59, 0.0),
            ("O", "O"): (11782.76, 0.234, 30.22, 0.0),
        },
    ),
    # Lewis and Catlow, J. Phys. C 18, 1149 (1985), without shells.
    "mgo": Ions(
        {"Mg": 2.0, "O": -2.0},
        {("Mg", "O"): (821.6, 0.3242, 0.0, 0.0), ("O", "O"): (22764.0, 0.149, 27.88, 0.0)},
    ),
    # Fumi and Tosi, J. Phys. Chem. Solids 25, 31 (1964).
    "nacl": Ions(
        {"Na": 1.0, "Cl": -1.0},
        {
            ("Na", "Na"): (424.097, 0.317, 1.05, 0.50),
            ("Cl", "Na"): (1256.31, 0.317, 6.99, 8.68),
            ("Cl", "Cl"): (3488.998, 0.317, 72.40, 145.43),
        },
    ),
    # Van Beest, Kramer and van Santen, Phys. Rev. Lett. 64, 1955 (1990).
    "sio2": Ions(
        {"Si": 2.4, "O": -1.2},
        {
            ("O", "Si"): (18003.7572, 1 / 4.87318, 133.5381, 0.0),
            ("O", "O"): (1388.7730, 1 / 2.76, 175.0, 0.0),
        },
    ),
}
#: Cleri and Rosato, Phys. Rev. B 48, 22 (1993), Table II: A (eV), xi (eV), p, q; r0 is the distance of neighbours, Å.
SECOND_MOMENT = {
    "Ti": (0.1519, 1.8112, 8.620, 2.390, 2.950),
    "Zr": (0.1934, 2.2792, 8.250, 2.249, 3.232),
    "Co": (0.0950, 1.4880, 11.604, 2.286, 2.507),
    "Mg": (0.0290, 0.4992, 12.820, 2.257, 3.209),
}


class _PairSums(Calculator):  # type: ignore[misc]
    """What calculators of sums over pairs share: forces and stress from the slope of the energy of each pair."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    cutoff: float

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        first, second, distance, vector = neighbour_list("ijdD", self.atoms, self.cutoff)
        energy, slope = self.of_pairs(self.atoms, first, second, distance)
        # Each pair is there twice, and its slope is that of half its energy from either side.
        push = slope[:, None] * vector / distance[:, None]
        n = len(self.atoms)
        forces = mabincount(first, push, n) - mabincount(second, push, n)
        stress = np.einsum("ka,kb->ab", push, vector) / self.atoms.get_volume()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "stress": stress.flat[[0, 4, 8, 5, 2, 1]],
        }

    def of_pairs(self, atoms: Atoms, first: Any, second: Any, distance: FloatArray) -> tuple[float, FloatArray]:
        """Energy, and its derivative with the distance of each directed pair."""
        raise NotImplementedError


class RigidIons(_PairSums):
    """Buckingham pairs and damped Coulomb pairs, energy and force shifted to zero at the cutoff.

    The Coulomb sum is that of Fennell and Gezelter, J. Chem. Phys. 124, 234104 (2006).

    Parameters
    ----------
    ions : Ions
    cutoff : float, Å
    damping : float, 1/Å
    """

    def __init__(self, ions: Ions, cutoff: float, damping: float) -> None:
        super().__init__()
        self.ions, self.cutoff, self.damping = ions, cutoff, damping

    def of_pairs(self, atoms: Atoms, first: Any, second: Any, distance: FloatArray) -> tuple[float, FloatArray]:
        """See :class:`_PairSums`."""
        symbols = np.array(atoms.get_chemical_symbols())
        charges = np.array([self.ions.charges[symbol] for symbol in symbols])
        strength = COULOMB * charges[first] * charges[second]
        energy, slope = (strength * part for part in _shifted(self._coulomb, distance, self.cutoff))
        for pair, parameters in self.ions.pairs.items():
            one, other = symbols[first], symbols[second]
            chosen = ((one == pair[0]) & (other == pair[1])) | ((one == pair[1]) & (other == pair[0]))
            of_pair = _shifted(lambda r, p=parameters: _buckingham(r, *p), distance[chosen], self.cutoff)
            energy[chosen] += of_pair[0]
            slope[chosen] += of_pair[1]
        screening = erfc(self.damping * self.cutoff) / (2 * self.cutoff) + self.damping / np.sqrt(np.pi)
        own = -COULOMB * screening * float(np.sum(charges**2))
        return 0.5 * float(np.sum(energy)) + own, 0.5 * slope

    def _coulomb(self, r: FloatArray) -> tuple[FloatArray, FloatArray]:
        screened = erfc(self.damping * r)
        gaussian = 2 * self.damping / np.sqrt(np.pi) * np.exp(-((self.damping * r) ** 2))
        return screened / r, -screened / r**2 - gaussian / r


class SecondMoment(_PairSums):
    """The second-moment approximation of tight binding for one element, cut off smoothly over the last ångström.

    ``E_i = Σ_j A exp(-p (r/r0 - 1)) - (Σ_j ξ² exp(-2 q (r/r0 - 1)))^(1/2)``

    Parameters
    ----------
    element : str
    cutoff : float, Å
    """

    def __init__(self, element: str, cutoff: float) -> None:
        super().__init__()
        self.parameters, self.cutoff = SECOND_MOMENT[element], cutoff

    def of_pairs(self, atoms: Atoms, first: Any, second: Any, distance: FloatArray) -> tuple[float, FloatArray]:
        """See :class:`_PairSums`."""
        repulsion, hopping, p, q, nearest = self.parameters
        switch, switch_slope = _switch(distance, self.cutoff - 1.0, self.cutoff)
        steps = distance / nearest - 1
        repelled, hopped = repulsion * np.exp(-p * steps), hopping**2 * np.exp(-2 * q * steps)
        moment = np.bincount(first, hopped * switch, len(atoms))
        bond = np.sqrt(moment)
        repelled_slope = repelled * (switch_slope - p / nearest * switch)
        hopped_slope = hopped * (switch_slope - 2 * q / nearest * switch)
        energy = float(np.sum(repelled * switch) - np.sum(bond))
        return energy, repelled_slope - 0.5 * hopped_slope / bond[first]


def _buckingham(r: FloatArray, a: float, rho: float, c: float, d: float) -> tuple[FloatArray, FloatArray]:
    repulsion = a * np.exp(-r / rho)
    return repulsion - c / r**6 - d / r**8, -repulsion / rho + 6 * c / r**7 + 8 * d / r**9


def _shifted(
    function: Callable[[FloatArray], tuple[FloatArray, FloatArray]], r: FloatArray, cutoff: float
) -> tuple[FloatArray, FloatArray]:
    """A function and its slope, both made zero at the cutoff."""
    value, slope = function(r)
    last, last_slope = function(np.array(cutoff))
    return value - last - last_slope * (r - cutoff), slope - last_slope


def _switch(r: FloatArray, start: float, end: float) -> tuple[FloatArray, FloatArray]:
    """One up to `start`, zero from `end`, twice differentiable; and its slope."""
    x = np.clip((r - start) / (end - start), 0.0, 1.0)
    return 1 - x**3 * (10 - 15 * x + 6 * x**2), -30 * x**2 * (1 - x) ** 2 / (end - start)


def _timed(calculator: Calculator) -> Calculator:
    """A calculator that adds its processor time to the file that :data:`SECONDS_FILE` names, a line a calculation."""
    compute = calculator.calculate

    def calculate(*arguments: Any, **keywords: Any) -> None:
        started = time.process_time()
        try:
            compute(*arguments, **keywords)
        finally:
            if file := os.environ.get(SECONDS_FILE):
                with open(file, "a", encoding="utf-8") as lines:
                    lines.write(f"{time.process_time() - started:.6f}\n")

    calculator.calculate = calculate
    return calculator


def emt() -> Calculator:
    """Effective medium theory, by ASE."""
    return _timed(EMT())


def ions(name: str, cutoff: float = 9.0, damping: float = 0.3) -> Calculator:
    """Rigid ions of one of :data:`IONS`.

    With a damping of 0.2 the slope of the force still jumps at the cutoff: C11 of magnesia, with a shell of neighbours
    at 8.97 Å, is 374, 353 and 295 GPa with strains of 0.001, 0.005 and 0.01. With 0.3 it is 299 GPa with all of them.
    """
    return _timed(RigidIons(IONS[name], cutoff, damping))


def second_moment(element: str, cutoff: float = 7.0) -> Calculator:
    """A metal of :data:`SECOND_MOMENT`."""
    return _timed(SecondMoment(element, cutoff))


def stillinger_weber() -> Calculator:
    """Silicon of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), by matscipy."""
    return _timed(Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si)))


def tersoff() -> Calculator:
    """Silicon carbide of Tersoff, Phys. Rev. B 39, 5566 (1989), by matscipy."""
    # Its masked powers warn of memory that is never read.
    warnings.filterwarnings("ignore", message="'where' used without 'out'")
    return _timed(Manybody(**TersoffBrenner(Tersoff_PRB_39_5566_Si_C)))


@dataclass(frozen=True)
class Case:
    """A crystal, its reference, and the grid of q-points that its force constants fit into.

    Attributes
    ----------
    make : callable
        Returns the unit cell, near the minimum of the reference.
    grid : 3 ints
    calculator : str
    parameters : dict
        Both as in the section ``[reference]`` of an input file.
    """

    make: Callable[[], Atoms]
    grid: tuple[int, int, int]
    calculator: str = "_crystals:emt"
    parameters: Mapping[str, Any] = field(default_factory=dict)


def rutile() -> Atoms:
    """TiO2, P4_2/mnm."""
    sites = [(0.0, 0.0, 0.0), (0.305, 0.305, 0.0)]
    return crystal(["Ti", "O"], sites, spacegroup=136, cellpar=[4.5, 4.5, 3.0, 90, 90, 90])


def bronze() -> Atoms:
    """TiO2(B), C2/m: two Ti and four O that are not equivalent."""
    titanium = [(0.197, 0.0, 0.286), (0.101, 0.0, 0.709)]
    oxygen = [(0.364, 0.0, 0.003), (0.294, 0.0, 0.651), (0.056, 0.0, 0.371), (0.136, 0.0, 0.002)]
    cell = [12.18, 3.74, 6.53, 90, 107.05, 90]
    return crystal(["Ti"] * 2 + ["O"] * 4, titanium + oxygen, spacegroup=12, cellpar=cell, primitive_cell=True)


def quartz() -> Atoms:
    """Low quartz, P3_221."""
    sites = [(0.4697, 0.0, 2 / 3), (0.4135, 0.2669, 0.7858)]
    return crystal(["Si", "O"], sites, spacegroup=154, cellpar=[4.96, 4.96, 5.61, 90, 90, 120])


def on_fcc(symbols: Sequence[str], matrix: Sequence[Sequence[int]], a: float) -> Atoms:
    """An ordered alloy on the sites of an fcc crystal, in the reduced cell of the superlattice."""
    chain = make_supercell(bulk("Cu", "fcc", a), matrix)
    return Atoms(list(symbols), positions=chain.positions, cell=niggli_reduce(chain.cell.array), pbc=True)


def _cuau() -> Atoms:
    return Atoms("CuAu", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[2.8, 2.8, 3.6], pbc=True)


def _cu3au() -> Atoms:
    atoms = bulk("Cu", "fcc", 3.71, cubic=True)
    atoms.symbols[0] = "Au"
    return atoms


#: Stable at the minimum of their references: no imaginary phonons on the grid, elastic constants positive definite.
#: Above each: space group, atoms, top frequency.
CASES = {
    # Fm-3m, 1 atom, 8.60 THz.
    "al": Case(lambda: bulk("Al", "fcc", 4.0), (4, 4, 4)),
    # P6_3/mmc, 2 atoms, 7.80 THz.
    "ti": Case(lambda: bulk("Ti"), (3, 3, 2), "_crystals:second_moment", {"element": "Ti"}),
    # L1_0, P4/mmm, 2 atoms, 5.89 THz.
    "cuau": Case(_cuau, (4, 4, 4)),
    # L1_2, Pm-3m, 4 atoms, 6.73 THz.
    "cu3au": Case(_cu3au, (2, 2, 2)),
    # Fd-3m, 2 atoms, 17.83 THz.
    "si": Case(lambda: bulk("Si"), (3, 3, 3), "_crystals:stillinger_weber"),
    # F-43m, 2 atoms, 29.67 THz.
    "sic": Case(lambda: bulk("SiC", "zincblende", 4.36), (3, 3, 3), "_crystals:tersoff"),
    # Fm-3m, 2 atoms, 25.73 THz.
    "mgo": Case(lambda: bulk("MgO", "rocksalt", 4.2), (3, 3, 3), "_crystals:ions", {"name": "mgo"}),
    # Fm-3m, 2 atoms, 6.97 THz.
    "nacl": Case(lambda: bulk("NaCl", "rocksalt", 5.6), (3, 3, 3), "_crystals:ions", {"name": "nacl"}),
    # P4_2/mnm, 6 atoms, 25.97 THz.
    "rutile": Case(rutile, (3, 3, 3), "_crystals:ions", {"name": "tio2"}),
    # C2/m, 4 atoms, 8.21 THz.
    "alpd": Case(lambda: on_fcc(("Al", "Pd", "Pd", "Al"), [[1, 0, 1], [0, 1, 1], [0, 0, 4]], 3.94), (3, 2, 2)),
    # P1, 7 atoms, 6.21 THz.
    "cupdpt": Case(
        lambda: on_fcc(("Pd", "Pt", "Cu", "Cu", "Pd", "Pt", "Pd"), [[1, 0, 1], [0, 1, 3], [0, 0, 7]], 3.8), (2, 2, 2)
    ),
    # C2/m, 12 atoms, 27.58 THz.
    "bronze": Case(bronze, (2, 2, 2), "_crystals:ions", {"name": "tio2"}),
    # P3_221, 9 atoms, 37.39 THz.
    "quartz": Case(quartz, (3, 3, 3), "_crystals:ions", {"name": "sio2"}),
}
