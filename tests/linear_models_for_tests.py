"""A potential that is linear in its weights, made by hand: pairs and squared densities, with analytic rows."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.lattice import MCL
from ase.optimize import BFGS
from ase.spacegroup import crystal
from matscipy.neighbours import neighbour_list

#: xx, xy, xz, yy, yz, zz of a flat 3 x 3 matrix.
COMPONENTS = [0, 1, 2, 4, 5, 8]


class PairModel:
    """``E = sum_k w_k (sum_pairs bump_k(r) or sum_atoms density_k(atom)²)`` with bumps that vanish at the cutoff.

    The weights of each pair of elements: a bump of width `width` at each of `centres`, then one squared density.
    Rows of the squares have non-central parts, so that elastic constants do not obey Cauchy's relations.
    """

    def __init__(self, pairs, centres, *, cutoff=4.5, width=0.35):
        self.pairs = [tuple(sorted(pair)) for pair in pairs]
        self.centres, self.cutoff, self.width = np.asarray(centres, dtype=float), cutoff, width
        # Rows are asked for again and again.
        self.kept, self.calls = {}, 0
        self.single_atoms = {symbol: 0.0 for pair in self.pairs for symbol in pair}

    @property
    def n_weights(self):
        return len(self.pairs) * (len(self.centres) + 1)

    def _bumps(self, r, centres, width):
        """Values and slopes, (n, k)."""
        x = (r[:, None] - centres) / width
        value, slope = np.exp(-(x**2) / 2), -x / width * np.exp(-(x**2) / 2)
        y = 1 - (r[:, None] / self.cutoff) ** 2
        switch, turn = y**3, -6 * y**2 * r[:, None] / self.cutoff**2
        return value * switch, slope * switch + value * turn

    def rows(self, frames, *, progress=None):
        self.calls += len(frames)
        found = []
        for frame in frames:
            key = (frame.numbers.tobytes(), frame.positions.tobytes(), frame.cell.array.tobytes())
            if key not in self.kept:
                self.kept[key] = self._rows(frame)
            found.append(self.kept[key])
        return found

    def _rows(self, frame):
        frame = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
        i, j, r, d = neighbour_list("ijdD", frame, self.cutoff)
        symbols = np.array(frame.get_chemical_symbols())
        n = len(frame)
        parts = []
        for one, other in self.pairs:
            of_pair = ((symbols[i] == one) & (symbols[j] == other)) | ((symbols[i] == other) & (symbols[j] == one))
            a, b, length, along = i[of_pair], j[of_pair], r[of_pair], d[of_pair]
            value, slope = self._bumps(length, self.centres, self.width)
            density, growth = self._bumps(length, np.array([2.5]), 0.9)
            rho = np.zeros(n)
            np.add.at(rho, a, density[:, 0])
            # A pair's share of the energy, and the derivative with its length as if it were counted once per atom.
            energy = np.append(0.5 * value.sum(axis=0), (rho**2).sum())
            pull = np.hstack([slope, 2 * (rho[a] + rho[b])[:, None] * growth])
            unit = along / length[:, None]
            forces = np.zeros((n, 3, pull.shape[1]))
            np.add.at(forces, a, unit[:, :, None] * pull[:, None, :])
            virial = -0.5 * np.einsum("pi,pj,pk->ijk", along, unit, pull).reshape(9, -1)[COMPONENTS]
            parts.append(np.vstack([energy[None], forces.reshape(3 * n, -1), virial]))
        return np.hstack(parts)


class ModelCalculator(Calculator):
    """The model with some weights."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, model, z):
        super().__init__()
        self.model, self.z = model, np.asarray(z)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        found = self.model._rows(self.atoms) @ self.z
        xx, xy, xz, yy, yz, zz = -found[-6:] / self.atoms.get_volume()
        self.results = {
            "energy": found[0], "free_energy": found[0], "forces": found[1:-6].reshape(-1, 3),
            "stress": np.array([xx, yy, zz, yz, xz, xy]),
        }  # fmt: skip


class RandomModel:
    """Rows that are random numbers, the same for the same structure: for what needs no physics."""

    def __init__(self, m=12, seed=0):
        self.n_weights, self.seed = m, seed

    def rows(self, frames, *, progress=None):
        return [
            np.random.default_rng([self.seed, *np.frombuffer(frame.positions.tobytes(), dtype=np.uint32)])
            .normal(size=(7 + 3 * len(frame), self.n_weights))
            for frame in frames
        ]  # fmt: skip


def bound_crystal(atoms, *, shells=4.7, width=0.2, extra=(2.0, 2.7, 3.4, 4.0)):
    """A crystal at rest in a model of its own, and the weights that bind it: a well at the length of every bond."""
    i, j, r = neighbour_list("ijd", atoms, shells)
    symbols = np.array(atoms.get_chemical_symbols())
    pairs = sorted({tuple(sorted(pair)) for pair in zip(symbols[i].tolist(), symbols[j].tolist(), strict=True)})
    wells = np.unique(np.round(r, 2))
    wells = wells[np.append(True, np.diff(wells) > 0.02)]
    model = PairModel(pairs, [*wells, *extra], cutoff=shells + 0.6, width=width)
    z = np.zeros((len(pairs), len(model.centres) + 1))
    for number, (one, other) in enumerate(pairs):
        there = ((symbols[i] == one) & (symbols[j] == other)) | ((symbols[i] == other) & (symbols[j] == one))
        near = [np.min(np.abs(r[there] - well)) < 0.02 for well in wells]
        z[number, : len(wells)] = -0.3 * np.array(near)
        z[number, -1] = 0.0005
    z = z.ravel()
    relaxed = atoms.copy()
    relaxed.calc = ModelCalculator(model, z)
    BFGS(FrechetCellFilter(relaxed), logfile=None).run(fmax=1e-6, steps=400)
    relaxed.calc = None
    return relaxed, model, z


def crystals():
    """Crystals of several kinds, by name."""
    rutile = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90])
    monoclinic = Atoms("AlCu", cell=MCL(3.1, 3.4, 3.8, 80).tocell(), pbc=True)
    # The axis of the cell is a, so both atoms are on mirrors.
    monoclinic.set_scaled_positions([[0, 0, 0], [0.5, 0.45, 0.42]])
    return {
        "fcc": bulk("Al", a=4.05), "hcp": bulk("Mg", a=3.2, c=5.2), "diamond": bulk("Si", a=5.43),
        "rutile": Atoms(rutile), "monoclinic": monoclinic,
    }  # fmt: skip


def labelled(frames, calculator):
    """Copies with the targets of a calculator."""
    found = []
    for frame in frames:
        work = frame.copy()
        work.calc = calculator
        copy = frame.copy()
        copy.calc = None
        copy.info["REF_energy"] = float(work.get_potential_energy())
        copy.info["REF_virial"] = (-work.get_volume() * work.get_stress(voigt=False)).ravel()
        copy.arrays["REF_forces"] = work.get_forces()
        found.append(copy)
    return found
