"""The crystal whose supercells are made: a unit cell with its space group, and where it comes from.

Convention: fractional positions are columns, a space-group operation is ``x' = W x + w``; a q-point in reduced
coordinates (columns too, phase ``exp(2 pi i q.x)``) goes to ``q' = W^-T q``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.build import bulk
from ase.io import read
from numpy.typing import NDArray

from ndsc.errors import InputError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Strictest tolerance is not best: relaxed cells are symmetric to about 1e-6 only.
DEFAULT_SYMPREC = 1e-5


@dataclass(frozen=True, eq=False)
class Crystal:
    """A unit cell and its space group.

    The cell need not be primitive: it is the unit that supercells are made of. Atoms with different initial magnetic
    moments count as different species, so that magnetic order lowers the symmetry as it should.

    Attributes
    ----------
    atoms : ase.Atoms
        The unit cell, periodic in all directions, right-handed.
    rotations : (n, 3, 3) int64 array
        Rotation parts W of the space-group operations, acting on fractional positions as columns.
    translations : (n, 3) float array
        Translation parts w, fractional.
    number : int
        International number of the space group.
    symbol : str
        International short symbol of the space group.
    symprec : float, Å
        Distance tolerance of the symmetry search.
    """

    atoms: Atoms
    rotations: IntArray
    translations: FloatArray
    number: int
    symbol: str
    symprec: float = DEFAULT_SYMPREC

    @classmethod
    def from_atoms(cls, atoms: Atoms, *, symprec: float = DEFAULT_SYMPREC) -> Crystal:
        """Find the space group of `atoms` with spglib.

        Raises
        ------
        InputError
            When `atoms` is no crystal: no atoms, no volume, not finite, two atoms on one site, or an axis without
            periodicity.
        """
        checked = _checked_crystal(atoms)
        cell = (checked.cell.array, checked.get_scaled_positions(wrap=False), _species(checked))
        try:
            dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
        except spglib.SpglibError as error:
            dataset, reason = None, str(error)
        else:
            reason = "spglib gave no answer"
        if dataset is None:
            raise InputError(
                f"The symmetry of {checked.get_chemical_formula()} could not be found ({reason}) with a tolerance of "
                f"{symprec} Å. Check that no two atoms sit on one site, or give another symprec."
            )
        return cls(
            atoms=checked,
            rotations=np.array(dataset.rotations, dtype=np.int64),
            translations=np.array(dataset.translations, dtype=float),
            number=int(dataset.number),
            symbol=str(dataset.international),
            symprec=symprec,
        )

    @cached_property
    def point_group(self) -> IntArray:
        """(m, 3, 3) int64 array : the distinct rotations W, sorted, the identity among them."""
        return np.unique(self.rotations, axis=0)

    @cached_property
    def reciprocal_rotations(self) -> IntArray:
        """(m, 3, 3) int64 array : the distinct W^-T, which act on reduced q-points as columns."""
        inverse = np.rint(np.linalg.inv(self.point_group)).astype(np.int64)
        return np.unique(inverse.transpose(0, 2, 1), axis=0)

    @cached_property
    def n_primitive_cells(self) -> int:
        """How many primitive cells the unit cell holds (pure translations in its space group)."""
        return int(np.sum(np.all(self.rotations == np.eye(3, dtype=np.int64), axis=(1, 2))))


def primitive_crystal(atoms: Atoms, *, symprec: float = DEFAULT_SYMPREC) -> Atoms:
    """The primitive cell of `atoms`, in its own orientation.

    Parameters
    ----------
    atoms : ase.Atoms
        Any periodic cell of the crystal.
    symprec : float, Å
        Distance tolerance of the symmetry search.

    Returns
    -------
    ase.Atoms
        The smallest cell, reduced, or a copy of `atoms` when that is primitive already.
    """
    crystal = Crystal.from_atoms(atoms, symprec=symprec)
    if crystal.n_primitive_cells == 1:
        return crystal.atoms.copy()
    checked = crystal.atoms
    species = _species(checked)
    found = spglib.standardize_cell(
        (checked.cell.array, checked.get_scaled_positions(wrap=False), species),
        to_primitive=True,
        no_idealize=True,
        symprec=symprec,
    )
    cell, positions, numbers = found
    kinds = [int(np.flatnonzero(species == kind)[0]) for kind in numbers]
    primitive = checked[kinds]
    primitive.set_cell(cell)
    primitive.set_scaled_positions(positions)
    return _checked_crystal(primitive)


def load_crystal(
    source: Atoms | str | Path,
    *,
    lattice: str | None = None,
    a: float | None = None,
    c: float | None = None,
    primitive: bool = False,
) -> Atoms:
    """A crystal from an element, a file, or Atoms.

    Parameters
    ----------
    source : ase.Atoms, str or path
        Atoms; a chemical symbol or binary formula that `ase.build.bulk` knows (``"Al"``, ``"NaCl"`` with a lattice);
        or a file that ASE reads. A file wins over an element of the same name.
    lattice : str, optional
        Structure name of `ase.build.bulk` (``"fcc"``, ``"diamond"``, ``"hcp"``, ``"rocksalt"``, …).
    a, c : float, Å, optional
        Lattice constants of the conventional cell, for elements.
    primitive : bool
        Reduce a cell from a file or from Atoms to its primitive cell.

    Raises
    ------
    InputError
        When the source is neither a readable structure file nor a known element, or is no crystal.
    """
    if isinstance(source, Atoms):
        atoms = source.copy()
    elif Path(source).is_file():
        atoms = _read_structure(Path(source))
    else:
        return _bulk_crystal(str(source), lattice=lattice, a=a, c=c)
    if lattice is not None or a is not None or c is not None:
        raise InputError(
            "A lattice or lattice constants were given beside a structure that has its own. "
            "Remove lattice, a and c, or name an element instead of the structure."
        )
    return primitive_crystal(atoms) if primitive else _checked_crystal(atoms)


def _bulk_crystal(name: str, *, lattice: str | None, a: float | None, c: float | None) -> Atoms:
    looks_like_file = "/" in name or "." in name
    if looks_like_file:
        raise InputError(f"There is no file {name!r}. Give the path of a structure file that ASE reads, or an element.")
    try:
        return _checked_crystal(bulk(name, crystalstructure=lattice, a=a, c=c))
    except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{name!r} is neither a file nor a crystal that can be built ({error}). Give a structure file, or an "
            "element with its lattice and lattice constants, for example structure = 'Al', lattice = 'fcc', a = 4.05."
        ) from error


def _read_structure(path: Path) -> Atoms:
    try:
        found: Any = read(path)
    except Exception as error:  # ASE's readers raise anything on a malformed file
        raise InputError(
            f"{path} is no structure that ASE reads ({type(error).__name__}: {error}). Give a file in one of ASE's "
            "formats, with the ending that belongs to it (.cif, .xyz, .vasp, .cell, …)."
        ) from error
    return found


def _checked_crystal(atoms: Atoms) -> Atoms:
    """A periodic, right-handed copy of `atoms` without calculator, constraints and arrays that would not survive."""
    if not isinstance(atoms, Atoms):
        raise InputError(f"A crystal was expected as ase.Atoms, not {type(atoms).__name__}.")
    if len(atoms) == 0:
        raise InputError("The structure has no atoms. Give a crystal with at least one.")
    cell = atoms.cell.array
    if not (np.all(np.isfinite(cell)) and np.all(np.isfinite(atoms.positions))):
        raise InputError("The structure has a cell or positions that are not finite numbers. Correct the file.")
    volume = float(np.linalg.det(cell))
    lengths = np.linalg.norm(cell, axis=1)
    if np.any(lengths == 0) or abs(volume) < 1e-6 * float(np.prod(lengths)):
        raise InputError(
            f"The cell {cell.tolist()} spans no volume, so the structure is no crystal. Give three independent "
            "lattice vectors (a molecule or a file without a cell cannot be used)."
        )
    if not np.all(atoms.pbc):
        raise InputError(
            f"The structure is periodic along {atoms.pbc.tolist()} only. Set pbc to True along all three axes."
        )
    if volume < 0:
        raise InputError(
            "The lattice vectors are left-handed (negative volume), which phonopy refuses and other programs misread. "
            "Exchange two of them, with their fractional coordinates."
        )
    copy = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=cell, pbc=True)
    if atoms.has("initial_magmoms"):
        copy.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return copy


def _species(atoms: Atoms) -> IntArray:
    """One integer a distinct (element, magnetic moment)."""
    moments = atoms.get_initial_magnetic_moments().reshape(len(atoms), -1)
    table = np.column_stack([atoms.numbers, np.rint(moments * 1e6)])
    return np.unique(table, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
