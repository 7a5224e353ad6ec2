"""Phonopy objects of a unit cell and a grid, and force constants in phonopy's order."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InternalError
from ndsc.force_constants.space_group import FloatArray, IntArray
from ndsc.qgrid import Grid

#: phonopy's symmetry search takes time with the cube of the number of atoms: in larger supercells it is left out.
LARGEST_SYMMETRIC_SUPERCELL = 300
#: An origin away from all special positions, in reduced coordinates.
ORIGIN_SHIFT = np.array([0.1131, 0.2173, 0.3317])


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


def make_phonopy(structure: Atoms | Crystal, grid: Grid, *, symmetric_supercell: bool | None = None) -> Phonopy:
    """A Phonopy object of the diagonal supercell of a grid; the unit cell as given is its primitive cell.

    Without `symmetric_supercell`, phonopy looks for the symmetry of the supercell up to 300 atoms.
    """
    crystal = as_crystal(structure)
    if symmetric_supercell is None:
        symmetric_supercell = len(crystal.atoms) * int(np.prod(grid)) <= LARGEST_SYMMETRIC_SUPERCELL
    cell = phonopy_atoms(crystal)
    if not symmetric_supercell:
        # phonopy matches atoms after every translation, sorted by their distance from the nearest lattice point. Atoms
        # on special positions make that search quadratic (minutes at 4096 atoms), so the origin is moved for it.
        cell.scaled_positions = cell.scaled_positions + ORIGIN_SHIFT
    with warnings.catch_warnings():
        # An anisotropic grid has fewer symmetries than the crystal. That is meant, and accounted for.
        warnings.filterwarnings("ignore", message=".*[Pp]oint group symmetries of supercell and primitive.*")
        phonon = Phonopy(
            cell,
            supercell_matrix=np.diag(grid),
            primitive_matrix=np.eye(3),
            symprec=crystal.symprec,
            is_symmetry=symmetric_supercell,
        )
    if not symmetric_supercell:
        for moved, divisions in ((phonon.unitcell, 1), (phonon.primitive, 1), (phonon.supercell, np.array(grid))):
            moved.scaled_positions = moved.scaled_positions - ORIGIN_SHIFT / divisions
    return phonon


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
