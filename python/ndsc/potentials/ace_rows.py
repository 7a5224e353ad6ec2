"""Rows, energies, forces and virials of an atomic cluster expansion, from the tables of its basis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from ndsc.errors import InputError
from ndsc.fit.calculator import bare_structure
from ndsc.potentials.ace_tables import CLOSEST, AceTables, AceWeights

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Memory of what is computed for some atoms at a time, bytes.
MOST_AT_ONCE = 1.5e8
#: The six components of a virial that rows have, as axes: xx, xy, xz, yy, yz, zz.
AXES = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))
_SIX = ([0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2])


@dataclass(frozen=True, eq=False)
class _Environment:
    """Neighbours of some atoms, with the factors of their densities.

    E pairs of an atom and a neighbour; `first` says where those of each of the n atoms begin.
    """

    atoms: IntArray
    kinds: IntArray
    first: IntArray
    neighbours: IntArray
    vectors: FloatArray
    units: FloatArray
    radial: FloatArray
    slopes: FloatArray
    angular: FloatArray
    gradients: FloatArray


class AceEvaluator:
    """Evaluates a basis.

    Parameters
    ----------
    tables : AceTables
    where : str
        What the potential is called in messages.
    """

    def __init__(self, tables: AceTables, where: str = "the potential") -> None:
        self.tables, self.where = tables, where
        self._kind = np.full(len(chemical_symbols), -1, dtype=np.int64)
        for number, symbol in enumerate(tables.elements):
            self._kind[atomic_numbers[symbol]] = number
        starts = np.cumsum([0, *(len(group) for group in tables.products)])
        #: Of each factor of each product, the product and the density.
        self._product = np.concatenate(
            [
                np.repeat(np.arange(start, start + len(group)), group.shape[1])
                for start, group in zip(starts, tables.products, strict=False)
            ]
        )
        self._factor = np.concatenate([group.reshape(-1) for group in tables.products])
        self._gradient = self._gradient_of_functions()

    @property
    def n_weights(self) -> int:
        """Number m of weights."""
        return self.tables.n_weights

    def check(self, atoms: Atoms, name: str = "the structure") -> None:
        """Refuse what cannot be evaluated.

        Raises
        ------
        InputError
            When it has an element that the basis was not made for, or positions that are not finite.
        """
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(self.tables.elements))
        if unknown:
            raise InputError(
                f"{self.where[0].upper()}{self.where[1:]} is for {', '.join(self.tables.elements)}, and {name} has "
                f"{', '.join(unknown)}. Use a potential that was fitted to all species of the structure."
            )
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise InputError(f"A position or cell vector of {name} is not finite. Leave it out.")

    def rows(self, atoms: Atoms) -> FloatArray:
        """For a weight of one on each function: energy, forces and virial.

        Parameters
        ----------
        atoms : ase.Atoms

        Returns
        -------
        (1 + 3 n + 6, m) array
            Energy (eV), forces atom by atom (eV/Å), and xx, xy, xz, yy, yz, zz of ``-volume * stress`` (eV).
        """
        n, m, tables = len(atoms), self.n_weights, self.tables
        energy, forces, virial = np.zeros(m), np.zeros((n, 3, m)), np.zeros((3, 3, m))
        entries = tables.coupling.shape[0] * len(tables.density)
        for some in self._environments(atoms, max(1, int(MOST_AT_ONCE / (8 * entries)))):
            density, pairs = self._densities(some)
            products, others = self._products(density)
            functions = tables.coupling @ products
            gradient = (self._gradient @ others).reshape(tables.n_functions, len(tables.density), -1)
            for own, (atom, kind) in enumerate(zip(some.atoms, some.kinds, strict=True)):
                edges = slice(some.first[own], some.first[own + 1])
                # Neighbours that are images of one atom count together, and the virial is one more of them an axis.
                who, place = np.unique(some.neighbours[edges], return_inverse=True)
                collect = np.zeros((len(who) + 3, len(place)))
                collect[place, np.arange(len(place))] = 1.0
                collect[len(who) :] = some.vectors[edges].T
                slopes, pair_slopes = self._slopes(some, edges)
                by_density = np.einsum("ab,bcx->cax", collect, slopes).reshape(len(tables.density), -1)
                found = (gradient[:, :, own] @ by_density).reshape(tables.n_functions, -1, 3)
                by_pair = np.einsum("ab,bcx->cax", collect, pair_slopes)
                for columns, values, changes in (
                    (self._columns(kind), functions[:, own], found),
                    (self._pair_columns(kind), pairs[own], by_pair),
                ):
                    energy[columns] += values
                    of_atoms = changes[:, : len(who)].transpose(1, 2, 0)
                    forces[atom, :, columns] += of_atoms.sum(axis=0)
                    forces[who, :, columns] -= of_atoms
                    virial[:, :, columns] -= changes[:, len(who) :].transpose(1, 2, 0)
        return np.concatenate([energy[None], forces.reshape(3 * n, m), virial[_SIX]])

    def energy_forces_virial(self, atoms: Atoms, fitted: AceWeights) -> tuple[float, FloatArray, FloatArray]:
        """Energy (eV), (n, 3) forces (eV/Å) and (3, 3) virial ``-volume * stress`` (eV) of a fitted potential."""
        tables = self.tables
        energy = float(sum(fitted.e0[symbol] for symbol in atoms.get_chemical_symbols()))
        forces, virial = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        for some in self._environments(atoms, 64):
            density, pairs = self._densities(some)
            products, others = self._products(density)
            weights = np.array([fitted.weights[self._columns(kind)] for kind in some.kinds])
            pair_weights = np.array([fitted.weights[self._pair_columns(kind)] for kind in some.kinds])
            folded = tables.coupling.T @ weights.T
            energy += float(np.sum(folded * products) + np.sum(pair_weights * pairs))
            by_density = self._by_density @ (folded[self._product] * others)
            owner = np.repeat(np.arange(len(some.atoms)), np.diff(some.first))
            along, change = self._contract(some, by_density.T[owner], pair_weights[owner])
            of_pairs = along[:, None] * some.units + change
            np.add.at(forces, some.atoms[owner], of_pairs)
            np.subtract.at(forces, some.neighbours, of_pairs)
            virial -= some.vectors.T @ of_pairs
        return energy, forces, virial

    # Parts of both

    def _columns(self, kind: int) -> slice:
        n = self.tables.n_functions
        return slice(kind * n, (kind + 1) * n)

    def _pair_columns(self, kind: int) -> slice:
        n, start = self.tables.n_pair, len(self.tables.elements) * self.tables.n_functions
        return slice(start + kind * n, start + (kind + 1) * n)

    def _environments(self, atoms: Atoms, n_atoms: int) -> Iterator[_Environment]:
        """Neighbours of so many atoms at a time."""
        structure = bare_structure(atoms, self.tables.cutoff)
        i, j, vectors = neighbour_list("ijD", structure, self.tables.cutoff)
        kinds, n = self._kind[atoms.numbers], len(atoms)
        first = np.searchsorted(i, np.arange(n + 1))
        for start in range(0, n, n_atoms):
            stop = min(start + n_atoms, n)
            edges = slice(first[start], first[stop])
            r = np.linalg.norm(vectors[edges], axis=1)
            radial, slopes = self._radial(r, kinds[i[edges]], kinds[j[edges]])
            angular, gradients = self._angular(vectors[edges])
            yield _Environment(
                atoms=np.arange(start, stop),
                kinds=kinds[start:stop],
                first=first[start : stop + 1] - first[start],
                neighbours=j[edges],
                vectors=vectors[edges],
                units=vectors[edges] / r[:, None],
                radial=radial,
                slopes=slopes,
                angular=angular,
                gradients=gradients,
            )

    def _radial(self, r: FloatArray, centres: IntArray, neighbours: IntArray) -> tuple[FloatArray, FloatArray]:
        """Radial functions of pairs and their slopes, 1/Å."""
        n = self.tables.n_radial + self.tables.n_pair
        values, slopes = np.zeros((len(r), n)), np.zeros((len(r), n))
        inside = np.maximum(r, CLOSEST)
        for (centre, neighbour), spline in self.tables.radial.items():
            own = (centres == centre) & (neighbours == neighbour)
            if own.any():
                slopes[own] = spline(inside[own], 1)
                values[own] = spline(inside[own]) + slopes[own] * (r[own] - inside[own])[:, None]
        return values, slopes

    def _angular(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Solid harmonics (E, n_harmonics) and their derivatives (3, E, n_harmonics)."""
        tables = self.tables
        degree = int(tables.powers.max(initial=0))
        powers = np.ones((degree + 1, *vectors.shape))
        np.cumprod(np.broadcast_to(vectors, (degree, *vectors.shape)), axis=0, out=powers[1:])
        terms = np.prod([powers[tables.powers[:, axis], :, axis] for axis in range(3)], axis=0).T
        return terms @ tables.harmonics, np.array([terms @ derivative for derivative in tables.derivatives])

    def _densities(self, some: _Environment) -> tuple[FloatArray, FloatArray]:
        """Densities (n_density, n) and pair functions (n, n_pair) of atoms."""
        radial, harmonic = self.tables.density.T
        ones = np.ones(len(some.neighbours))
        gather = csr_array((ones, np.arange(len(ones)), some.first), shape=(len(some.atoms), len(ones)))
        density = gather @ (some.radial[:, radial] * some.angular[:, harmonic])
        return np.ascontiguousarray(density.T), gather @ some.radial[:, self.tables.n_radial :]

    def _products(self, density: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Products of densities (n_products, n), and of each factor the product of the others (n_factors, n)."""
        products, others = [], []
        for group in self.tables.products:
            factors = density[group]
            before, after = np.ones_like(factors), np.ones_like(factors)
            np.cumprod(factors[:, :-1], axis=1, out=before[:, 1:])
            np.cumprod(factors[:, :0:-1], axis=1, out=after[:, -2::-1])
            others.append((before * after).reshape(-1, density.shape[1]))
            products.append(before[:, -1] * factors[:, -1])
        return np.concatenate(products), np.concatenate(others)

    def _gradient_of_functions(self) -> csr_array:
        """(n_functions * n_density, n_factors) array: derivatives of functions from the products of other factors."""
        tables = self.tables
        coupling = tables.coupling.tocoo()
        sizes = np.bincount(self._product)
        begin = np.cumsum(sizes) - sizes
        n = sizes[coupling.col]
        offset = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        factor = np.repeat(begin[coupling.col], n) + offset
        row = np.repeat(coupling.row, n) * len(tables.density) + self._factor[factor]
        shape = (tables.n_functions * len(tables.density), len(self._factor))
        self._by_density = csr_array(
            coo_array((np.ones(shape[1]), (self._factor, np.arange(shape[1]))), shape=(len(tables.density), shape[1]))
        )
        return csr_array(coo_array((np.repeat(coupling.data, n), (row, factor)), shape=shape))

    def _slopes(self, some: _Environment, edges: slice) -> tuple[FloatArray, FloatArray]:
        """What each neighbour's place changes of densities (E, n_density, 3) and of pair functions (E, n_pair, 3)."""
        radial, harmonic = self.tables.density.T
        units = some.units[edges]
        along = some.slopes[edges][:, radial] * some.angular[edges][:, harmonic]
        turning = some.radial[edges][:, radial, None] * np.moveaxis(some.gradients[:, edges][..., harmonic], 0, -1)
        pairs = some.slopes[edges][:, self.tables.n_radial :]
        return along[..., None] * units[:, None, :] + turning, pairs[..., None] * units[:, None, :]

    def _contract(
        self, some: _Environment, by_density: FloatArray, pair_weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Derivative of the energy with each neighbour's distance (E,), and what its direction adds (E, 3)."""
        radial, harmonic = self.tables.density.T
        n = self.tables.n_radial
        along = np.sum(by_density * some.slopes[:, radial] * some.angular[:, harmonic], axis=1)
        along += np.sum(pair_weights * some.slopes[:, n:], axis=1)
        ones, places = np.ones(len(harmonic)), np.arange(len(harmonic))
        gather = csr_array(coo_array((ones, (places, harmonic)), shape=(len(harmonic), some.angular.shape[1])))
        turning = (by_density * some.radial[:, radial]) @ gather
        return along, np.einsum("ey,xey->ex", turning, some.gradients)


def scaled_to_prior(rows: FloatArray, tables: AceTables) -> FloatArray:
    """Rows for weights in units of their prior."""
    return rows / tables.gamma


def single_atoms(atoms: Atoms, e0: Mapping[str, float]) -> float:
    """Energy of the single atoms of a structure, eV."""
    return float(sum(e0[symbol] for symbol in atoms.get_chemical_symbols()))
