"""Phonopy objects of a unit cell and a grid, and force constants in phonopy's order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import Primitive
from phonopy.structure.symmetry import NosymDataset, Symmetry

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InternalError
from ndsc.force_constants.space_group import FloatArray, IntArray
from ndsc.qgrid import Grid

#: The time of phonopy's symmetry search grows with the cube of the number of atoms: larger supercells skip it.
LARGEST_SYMMETRIC_SUPERCELL = 300


def kept_by_grid(crystal: Crystal, grid: Grid) -> NDArray[np.bool_]:
    """(n,) bool array : which operations of a crystal map the diagonal supercell of a grid onto itself."""
    divisions = np.array(grid)
    return np.asarray(np.all(crystal.rotations * divisions % divisions[:, None] == 0, axis=(1, 2)))


class CrystalSymmetry(Symmetry):  # type: ignore[misc]
    """The operations of a crystal as phonopy takes them, for a diagonal supercell of it.

    phonopy's own search knows neither charges nor masses, and moments only to the tolerance of distances.

    Parameters
    ----------
    crystal : Crystal
    cell : phonopy.structure.atoms.PhonopyAtoms
        The unit cell or the supercell of the grid.
    grid : three ints
        ``(1, 1, 1)`` for the unit cell.
    """

    def __init__(self, crystal: Crystal, cell: PhonopyAtoms, grid: Grid = (1, 1, 1)) -> None:
        divisions = np.array(grid)
        inside = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1).reshape(-1, 3)
        # W and w in units of the vectors of the supercell; an anisotropic grid does not keep all operations.
        kept = kept_by_grid(crystal, grid)
        rotations = crystal.rotations[kept] * divisions // divisions[:, None]
        translations = (crystal.translations[kept][:, None, :] + inside) / divisions
        self._operations_given = (
            np.repeat(rotations, len(inside), axis=0),
            np.ascontiguousarray(translations.reshape(-1, 3)),
        )
        self._name_given = f"{crystal.symbol} ({crystal.number})"
        super().__init__(cell, symprec=2 * crystal.symprec, is_symmetry=False)

    def _set_nosym(self, s2p_map: IntArray | None = None) -> None:
        rotations, translations = self._operations_given
        self._symmetry_operations = {"rotations": rotations, "translations": translations}
        self._international_table = self._name_given
        self._wyckoff_letters = ["a"] * len(self._cell)
        self._dataset = NosymDataset(
            rotations=rotations, translations=translations, transformation_matrix=np.eye(3), pointgroup="1"
        )

    def _set_atomic_permutations(self) -> None:
        super()._set_atomic_permutations()
        self._map_atoms = self._atomic_permutations.min(axis=0).astype(np.int64)


def _atoms_of_one_element_differ(crystal: Crystal) -> bool:
    n_elements, n_species = (len(np.unique(numbers)) for numbers in (crystal.atoms.numbers, crystal.site_species))
    return crystal.is_magnetic or n_species > n_elements


def crystal_symmetry(crystal: Crystal, cell: PhonopyAtoms) -> Symmetry:
    """phonopy's symmetry of the unit cell: its own where it finds the operations of the crystal, else those."""
    found = Symmetry(cell, symprec=crystal.symprec)
    n_found = len(found.symmetry_operations["rotations"])
    return found if n_found == len(crystal.rotations) else CrystalSymmetry(crystal, cell)


def phonopy_atoms(crystal: Crystal) -> PhonopyAtoms:
    """The unit cell as phonopy takes it, with its masses, and with its moments when they are not all zero."""
    atoms = crystal.atoms
    moments = atoms.get_initial_magnetic_moments() if crystal.is_magnetic else None
    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(wrap=False),
        masses=atoms.get_masses(),
        magnetic_moments=moments,
    )


class _GridPrimitive(Primitive):  # type: ignore[misc]
    """The primitive cell of a diagonal supercell, which knows what the translations do to the atoms."""

    def _get_atomic_permutations(self, supercell: PhonopyAtoms) -> IntArray:
        # phonopy matches positions after every translation, which takes most of a minute for 4096 atoms.
        grid = np.rint(1 / np.diag(self._primitive_matrix)).astype(np.int64)
        basis = np.array([self._p2p_map[index] for index in self._s2p_map])
        turns = (supercell.scaled_positions - supercell.scaled_positions[self._s2p_map]) * grid
        cells = np.mod(np.rint(turns).astype(np.int64), grid)
        weights = np.cumprod([len(self._p2s_map), *grid[:0:-1]])[::-1]
        atom_at = np.empty(len(basis), dtype=np.int64)
        atom_at[cells @ weights + basis] = np.arange(len(basis))
        # Where each atom goes along each axis, for all steps along it.
        along = [
            np.mod(cells[:, axis] + np.arange(grid[axis])[:, None], grid[axis]) * weights[axis] for axis in range(3)
        ]
        translations = cells[basis == 0]
        permutations = np.empty((len(translations), len(basis)), dtype=np.int64)
        for number, (first, second, third) in enumerate(translations):
            permutations[number] = atom_at[along[0][first] + along[1][second] + along[2][third] + basis]
        return permutations


class _TranslationsAlone(Symmetry):  # type: ignore[misc]
    """phonopy's symmetry of a supercell with the translations of its primitive cell and nothing else."""

    def __init__(self, supercell: PhonopyAtoms, primitive: Primitive, symprec: float) -> None:
        self._permutations_given = primitive.atomic_permutations
        super().__init__(supercell, symprec, is_symmetry=False, s2p_map=primitive.s2p_map)

    def _set_atomic_permutations(self) -> None:
        self._atomic_permutations = self._permutations_given


class GridPhonopy(Phonopy):  # type: ignore[misc]
    """A Phonopy object of a diagonal supercell that searches its symmetry when something asks for it.

    phonopy searches the supercell and the primitive cell as soon as it is made, which takes most of a second for 64
    atoms. Frequencies, force constants and densities of states of this package need neither.

    Parameters
    ----------
    crystal : Crystal
        Its unit cell is the primitive cell.
    grid : three ints
        Of the supercell.
    is_symmetry : bool
        Whether it knows more than the translations.
    """

    def __init__(self, crystal: Crystal, grid: Grid, *, is_symmetry: bool) -> None:
        self._crystal, self._grid = crystal, grid
        super().__init__(
            phonopy_atoms(crystal),
            supercell_matrix=np.diag(grid),
            primitive_matrix=np.eye(3),
            symprec=crystal.symprec,
            is_symmetry=is_symmetry,
        )

    def _build_primitive_cell(self) -> None:
        self._primitive = _GridPrimitive(self._supercell, np.diag(1 / np.array(self._grid)), self._symprec)

    def _search_symmetry(self) -> None:
        pass

    def _search_primitive_symmetry(self) -> None:
        pass

    @cached_property
    def _symmetry(self) -> Symmetry:
        return self._searched[0]

    @cached_property
    def _primitive_symmetry(self) -> Symmetry:
        return self._searched[1]

    @cached_property
    def _searched(self) -> tuple[Symmetry, Symmetry]:
        """phonopy's symmetry of the supercell and the primitive cell, or the crystal's where they contradict it."""
        crystal = self._crystal
        if not self._is_symmetry:
            alone = Symmetry(self.primitive, crystal.symprec, is_symmetry=False)
            return _TranslationsAlone(self.supercell, self.primitive, crystal.symprec), alone
        found = Symmetry(self.supercell, crystal.symprec, s2p_map=self.primitive.s2p_map)
        if self._contradicts(len(found.symmetry_operations["rotations"])):
            return CrystalSymmetry(crystal, self.supercell, self._grid), CrystalSymmetry(crystal, self.primitive)
        return found, Symmetry(self.primitive, crystal.symprec)

    def _contradicts(self, n_operations: int) -> bool:
        """Whether a supercell with so many operations, translations among them, is not that of the crystal."""
        n_known = int(np.sum(kept_by_grid(self._crystal, self._grid)) * np.prod(self._grid))
        # A supercell can be more symmetric than its unit cell: that is right, unless atoms of one element differ.
        return n_operations < n_known or (n_operations > n_known and _atoms_of_one_element_differ(self._crystal))

    @contextmanager
    def to_be_written(self) -> Iterator[None]:
        """Know the space group alone, of which files have the name: what the operations do to atoms takes longer."""
        if self._is_symmetry and not self._crystal.is_magnetic and "_symmetry" not in self.__dict__:
            group = spglib.get_symmetry_dataset(self.supercell.totuple(), self._crystal.symprec)
            if group is not None and not self._contradicts(len(group.rotations)):
                self.__dict__["_symmetry"] = SimpleNamespace(dataset=group, tolerance=self._crystal.symprec)
                try:
                    yield
                finally:
                    del self.__dict__["_symmetry"]
                return
        yield


def make_phonopy(structure: Atoms | Crystal, grid: Grid, *, symmetric_supercell: bool | None = None) -> Phonopy:
    """A Phonopy object of the diagonal supercell of a grid; the unit cell as given is its primitive cell.

    Without `symmetric_supercell`, phonopy knows the symmetry of the supercell up to 300 atoms; it is searched when
    something asks for it.
    """
    crystal = as_crystal(structure)
    if symmetric_supercell is None:
        symmetric_supercell = len(crystal.atoms) * int(np.prod(grid)) <= LARGEST_SYMMETRIC_SUPERCELL
    return GridPhonopy(crystal, grid, is_symmetry=symmetric_supercell)


def supercell_sites(phonon: Phonopy) -> tuple[IntArray, IntArray]:
    """Atom of the unit cell (n,) and lattice point (n, 3) of each atom of phonopy's supercell."""
    supercell, unit_cell = phonon.supercell, phonon.unitcell
    basis = np.array([supercell.u2u_map[index] for index in supercell.s2u_map], dtype=np.int64)
    # phonopy's supercell matrix is the transpose of ours; it is diagonal here.
    fractional = supercell.scaled_positions @ phonon.supercell_matrix.T
    separation = fractional - unit_cell.scaled_positions[basis]
    lattice_points = np.rint(separation)
    if np.max(np.abs(separation - lattice_points)) > 1e-4:
        raise InternalError("phonopy's supercell is not made of the unit cell. Please report this structure.")
    return basis, lattice_points.astype(np.int64)


def set_force_constants(phonon: Phonopy, force_constants: FloatArray, grid: Grid) -> None:
    """Give phonopy the force constants of :func:`ndsc.force_constants.dynamical.real_space_force_constants`."""
    basis, cells = _cells_of_rows(phonon, grid)
    rows = basis[phonon.primitive.p2s_map]
    phonon.force_constants = force_constants[*np.moveaxis(cells, -1, 0), rows[:, None], basis[None, :]]


def grid_force_constants(phonon: Phonopy, grid: Grid) -> FloatArray:
    """(N1, N2, N3, n, n, 3, 3) array, eV/Å^2 : the reverse of :func:`set_force_constants`."""
    basis, cells = _cells_of_rows(phonon, grid)
    rows = phonon.primitive.p2s_map
    given = np.asarray(phonon.force_constants)
    n_basis = len(rows)
    result = np.empty((*grid, n_basis, n_basis, 3, 3))
    result[*np.moveaxis(cells, -1, 0), basis[rows][:, None], basis[None, :]] = (
        given if len(given) == n_basis else given[rows]
    )
    return result


def _cells_of_rows(phonon: Phonopy, grid: Grid) -> tuple[IntArray, IntArray]:
    """Atom of the unit cell of each atom (n,), and the cells between each row of compact force constants and it."""
    basis, lattice_points = supercell_sites(phonon)
    separation = lattice_points[phonon.primitive.p2s_map][:, None, :] - lattice_points[None, :, :]
    return basis, np.mod(separation, grid)
