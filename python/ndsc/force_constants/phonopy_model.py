"""Phonopy objects of a unit cell and a grid, and force constants in phonopy's order."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ndsc.crystal import DEFAULT_SYMPREC
from ndsc.errors import InternalError
from ndsc.force_constants.space_group import FloatArray, IntArray
from ndsc.qgrid import Grid

#: phonopy's symmetry search takes time with the cube of the number of atoms: in larger supercells it is left out.
LARGEST_SYMMETRIC_SUPERCELL = 300
#: An origin away from all special positions, in reduced coordinates.
ORIGIN_SHIFT = np.array([0.1131, 0.2173, 0.3317])


def phonopy_atoms(atoms: Atoms) -> PhonopyAtoms:
    """The structure as phonopy takes it."""
    moments = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else None
    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(wrap=False),
        masses=atoms.get_masses(),
        magnetic_moments=moments,
    )


def make_phonopy(
    atoms: Atoms, grid: Grid, *, symprec: float = DEFAULT_SYMPREC, symmetric_supercell: bool | None = None
) -> Phonopy:
    """A Phonopy object of the diagonal supercell of a grid; the unit cell as given is its primitive cell.

    Without `symmetric_supercell`, phonopy looks for the symmetry of the supercell up to 300 atoms.
    """
    if symmetric_supercell is None:
        symmetric_supercell = len(atoms) * int(np.prod(grid)) <= LARGEST_SYMMETRIC_SUPERCELL
    cell = phonopy_atoms(atoms)
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
            symprec=symprec,
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
    """Give phonopy the force constants of :func:`ndsc.force_constants.dynamical.dynamical_force_constants`."""
    basis, lattice_points = supercell_sites(phonon)
    rows = phonon.primitive.p2s_map
    compact = np.empty((len(rows), len(basis), 3, 3))
    for i, row in enumerate(rows):
        cells = np.mod(lattice_points[row] - lattice_points, grid)
        compact[i] = force_constants[cells[:, 0], cells[:, 1], cells[:, 2], basis[row], basis]
    phonon.force_constants = compact
