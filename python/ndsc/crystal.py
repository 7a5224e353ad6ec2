"""The crystal whose supercells are made: a unit cell with everything that is known of it, and its symmetry.

A :class:`Crystal` is made once, where a structure comes in, and is passed on from there; no function that is given one
searches a symmetry again.

Convention: fractional positions are columns, a space-group operation is ``x' = W x + w``; a q-point in reduced
coordinates (columns too, phase ``exp(2 pi i q.x)``) goes to ``q' = W^-T q``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc import _core
from ndsc.errors import InputError, InternalError
from ndsc.sheet import in_plane_lattice, is_sheet
from ndsc.structure import MANY_ATOMS, bulk_structure, checked_structure, read_structure, split_index
from ndsc.symmetry import distinct_rotations, find_operations

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Strictest tolerance is not best: relaxed cells are symmetric to about 1e-6 only.
DEFAULT_SYMPREC = 1e-5
#: Bohr magnetons. Self-consistent moments of equivalent atoms agree to about 1e-3.
DEFAULT_MAGNETIC_TOLERANCE = 0.01
#: Elementary charges.
CHARGE_TOLERANCE = 0.01
#: Atomic mass units.
MASS_TOLERANCE = 1e-3

# How far, in Å, an operation may leave an atom from the site that it belongs to; atoms are further apart.
SAME_SITE = 0.1

# Tolerances that are tried, in Å, to see whether a structure is nearly more symmetric than it is.
LOOSER_TOLERANCES = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True, eq=False)
class Crystal:
    """A unit cell and its symmetry.

    The cell need not be primitive: it is the unit that supercells are made of. Atoms of one element that differ in
    mass or initial charge are different species. Magnetic moments lower the symmetry as they should; reversing all
    spins leaves energies and forces as they are, so operations that need it count too.

    Attributes
    ----------
    atoms : ase.Atoms
        The unit cell, periodic in all directions (a sheet along its first two vectors), right-handed, with its masses,
        moments, charges, tags, other arrays and `info`; without calculator, constraints and results of calculations.
    rotations : (n, 3, 3) int64 array
        Rotation parts W of the operations, acting on fractional positions as columns.
    translations : (n, 3) float array
        Translation parts w, fractional.
    time_reversals : (n,) bool array
        Whether the operation also reverses all spins.
    symprec : float, Å
        Distance tolerance of the symmetry search.
    magnetic_tolerance : float, Bohr magnetons
        Moments that differ by less are the same; smaller ones are none.
    """

    atoms: Atoms
    rotations: IntArray
    translations: FloatArray
    time_reversals: NDArray[np.bool_]
    symprec: float = DEFAULT_SYMPREC
    magnetic_tolerance: float = DEFAULT_MAGNETIC_TOLERANCE

    @classmethod
    def from_atoms(
        cls,
        atoms: Atoms,
        *,
        symprec: float = DEFAULT_SYMPREC,
        magnetic_tolerance: float = DEFAULT_MAGNETIC_TOLERANCE,
    ) -> Crystal:
        """Check a structure and find its symmetry.

        Parameters
        ----------
        atoms : ase.Atoms
            Any periodic cell of the crystal.
        symprec : float, Å
            Distance tolerance of the symmetry search.
        magnetic_tolerance : float, Bohr magnetons

        Raises
        ------
        InputError
            When `atoms` is not a crystal: no atoms, no volume, numbers that are not finite, atoms that overlap, atoms
            without an element, sites that are occupied in part, or an axis without periodicity.
        """
        for name, tolerance, unit in (("symprec", symprec, "Å"), ("magnetic_tolerance", magnetic_tolerance, "μB")):
            if isinstance(tolerance, str | bool | None) or not 0 < tolerance < np.inf:
                raise InputError(f"{name} = {tolerance!r} is not a positive number. Give a tolerance in {unit}.")
        checked = checked_structure(atoms)
        moments = checked.arrays.get("initial_magmoms")
        found = find_operations(
            checked.cell.array,
            checked.get_scaled_positions(wrap=False),
            _site_species(checked),
            moments,
            symprec=symprec,
            magnetic_tolerance=magnetic_tolerance,
        )
        kept: NDArray[np.bool_] = np.ones(len(found.rotations), dtype=bool)
        if is_sheet(checked):
            # What exchanges the normal with the plane is a symmetry of the vacuum's thickness only.
            mixed = found.rotations[:, 2, :2].any(axis=1) | found.rotations[:, :2, 2].any(axis=1)
            kept = np.logical_not(mixed)
        return cls(
            atoms=checked,
            rotations=found.rotations[kept],
            translations=found.translations[kept],
            time_reversals=found.time_reversals[kept],
            symprec=float(symprec),
            magnetic_tolerance=float(magnetic_tolerance),
        )

    def __repr__(self) -> str:
        return f"<Crystal: {self.describe()}, symprec = {self.symprec:g} Å>"

    @cached_property
    def _space_group(self) -> tuple[int, str]:
        import spglib

        found = spglib.get_spacegroup_type_from_symmetry(
            self.rotations, self.translations, lattice=self.atoms.cell.array, symprec=self.symprec
        )
        if found is None:
            return 1, "P1"
        return int(found.number), str(found.international_short)

    @property
    def number(self) -> int:
        """International number of the space group of all operations, those that reverse the spins among them."""
        return self._space_group[0]

    @property
    def symbol(self) -> str:
        """International short symbol of that space group."""
        return self._space_group[1]

    @property
    def is_sheet(self) -> bool:
        """Whether the crystal is periodic along its first two vectors only, with vacuum along the third."""
        return is_sheet(self.atoms)

    @property
    def is_magnetic(self) -> bool:
        """Whether any magnetic moment is larger than the tolerance."""
        moments = self.atoms.arrays.get("initial_magmoms")
        return moments is not None and bool(np.max(np.abs(moments)) > self.magnetic_tolerance)

    @cached_property
    def magnetic_group(self) -> str | None:
        """Number of the magnetic space group (BNS) formed by all operations; None for a crystal without moments."""
        if not self.is_magnetic:
            return None
        import spglib

        found = spglib.get_magnetic_spacegroup_type_from_symmetry(
            self.rotations, self.translations, self.time_reversals, lattice=self.atoms.cell.array, symprec=self.symprec
        )
        return None if found is None else str(found.bns_number)

    @cached_property
    def point_group(self) -> IntArray:
        """(m, 3, 3) int64 array : the distinct rotations W, sorted, the identity among them."""
        return distinct_rotations(self.rotations)

    @cached_property
    def reciprocal_rotations(self) -> IntArray:
        """(m, 3, 3) int64 array : the distinct W^-T, which act on reduced q-points as columns."""
        # The inverses of a group are the group.
        return distinct_rotations(self.rotations.transpose(0, 2, 1))

    @cached_property
    def n_primitive_cells(self) -> int:
        """How many primitive cells the unit cell holds (pure translations that do not reverse the spins)."""
        translations = np.all(self.rotations == np.eye(3, dtype=np.int64), axis=(1, 2)) & ~self.time_reversals
        return int(np.sum(translations))

    @cached_property
    def site_species(self) -> IntArray:
        """(n_atoms,) int64 array : one number for each distinct (element, mass, initial charge)."""
        return _site_species(self.atoms)

    @cached_property
    def permutations(self) -> IntArray:
        """(n, n_atoms) int64 array : operation o brings atom i onto the site of atom ``permutations[o, i]``."""
        try:
            found, _ = _core.site_images(
                self.atoms.cell.array,
                self.atoms.get_scaled_positions(wrap=False),
                self.site_species,
                np.ascontiguousarray(self.rotations),
                np.ascontiguousarray(self.translations),
                max(SAME_SITE, 2 * self.symprec),
            )
        except InputError as error:
            raise InternalError(
                f"An operation of {self.symbol} does not bring the atoms of {self.atoms.get_chemical_formula()} onto "
                f"each other (symprec = {self.symprec} Å). This is a bug in ndsc: please report the structure."
            ) from error
        return found

    @cached_property
    def primitive(self) -> Crystal:
        """The crystal with its primitive cell, in its own orientation; the same when it is primitive."""
        return self if self.n_primitive_cells == 1 else self._primitive_and_map[0]

    @cached_property
    def primitive_map(self) -> IntArray:
        """(n_atoms,) int64 array : which atom of the primitive cell each atom is a copy of."""
        return np.arange(len(self.atoms)) if self.n_primitive_cells == 1 else self._primitive_and_map[1]

    @cached_property
    def _primitive_and_map(self) -> tuple[Crystal, IntArray]:
        import spglib

        cell, positions = self.atoms.cell.array, self.atoms.get_scaled_positions(wrap=False)
        species = self._species_with_moments()
        found: Any
        if self.is_sheet:
            found = self._primitive_sheet(species)
        else:
            found = spglib.standardize_cell(
                (cell, positions, species), to_primitive=True, no_idealize=True, symprec=self.symprec
            )
        if found is None or len(found[2]) * self.n_primitive_cells != len(self.atoms):
            raise InputError(
                f"The primitive cell of {self.atoms.get_chemical_formula()} could not be found with symprec = "
                f"{self.symprec} Å. Give another tolerance, or a primitive cell."
            )
        primitive_cell, primitive_positions, primitive_species = found
        wanted = self.atoms.positions @ np.linalg.inv(primitive_cell)
        mapping = np.empty(len(self.atoms), dtype=np.int64)
        for atom, place in enumerate(wanted):
            away = primitive_positions - place
            lengths = np.linalg.norm((away - np.rint(away)) @ primitive_cell, axis=1)
            mapping[atom] = np.argmin(np.where(primitive_species == species[atom], lengths, np.inf))
        first = np.array([np.flatnonzero(mapping == atom)[0] for atom in range(len(primitive_species))])
        primitive = self.atoms[first]
        primitive.set_cell(primitive_cell)
        primitive.set_scaled_positions(primitive_positions)
        crystal = Crystal.from_atoms(primitive, symprec=self.symprec, magnetic_tolerance=self.magnetic_tolerance)
        return crystal, mapping

    def _primitive_sheet(self, species: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
        """Cell, positions and species of the primitive cell of a sheet, with its third vector as it is."""
        pure = np.all(self.rotations == np.eye(3, dtype=np.int64), axis=(1, 2)) & ~self.time_reversals
        cell = in_plane_lattice(self.atoms.cell.array, self.translations[pure])
        # Atom i goes to the sites of its copies; the first of them stays.
        first = np.unique(self.permutations[pure].min(axis=0))
        return cell, self.atoms.positions[first] @ np.linalg.inv(cell), species[first]

    def _species_with_moments(self) -> IntArray:
        """(n_atoms,) int64 array : species that moments tell apart too, for programs that take no moments."""
        table = [self.site_species]
        if self.is_magnetic:
            moments = self.atoms.get_initial_magnetic_moments().reshape(len(self.atoms), -1)
            table += [_classes(column, self.magnetic_tolerance) for column in moments.T]
        return _numbered(np.column_stack(table))

    def with_structure(self, atoms: Atoms) -> Crystal:
        """The same crystal with another cell and other positions, such as relaxed ones, and the same operations.

        Parameters
        ----------
        atoms : ase.Atoms
            The same atoms in the same order.

        Raises
        ------
        InputError
            When the atoms are others, or the operations do not bring the new structure onto itself within `symprec`.
        """
        if self.is_sheet and not is_sheet(atoms):
            atoms = atoms.copy()
            atoms.set_pbc(self.atoms.pbc)
        checked = checked_structure(atoms)
        if not np.array_equal(checked.numbers, self.atoms.numbers):
            raise InputError("The new structure of a crystal must have the same atoms in the same order.")
        cell, positions = checked.cell.array, checked.get_scaled_positions(wrap=False)
        metric = cell @ cell.T
        lengths = np.linalg.norm(cell, axis=1)
        turned = self.rotations.transpose(0, 2, 1) @ metric @ self.rotations
        stretch = float(np.max(np.abs(turned - metric) / np.max(lengths)))
        images = np.einsum("oij,aj->oai", self.rotations, positions) + self.translations[:, None, :]
        away = images - positions[self.permutations]
        away -= np.rint(away)
        # The origin of all atoms may have moved; an operation moves with it.
        shifts = away.mean(axis=1)
        largest = float(np.max(np.linalg.norm((away - shifts[:, None, :]) @ cell, axis=2)))
        if max(stretch, largest) > 2 * self.symprec:
            raise InputError(
                f"The structure of {self.atoms.get_chemical_formula()} no longer has the symmetry {self.symbol}: it is "
                f"off by {max(stretch, largest):.2g} Å, with symprec = {self.symprec} Å. Search its symmetry again."
            )
        return replace(self, atoms=checked, translations=self.translations - shifts)

    def describe(self) -> str:
        """Formula, number of atoms and space group on one line."""
        n_reversing = int(np.sum(self.time_reversals))
        magnetic = ", magnetic" if self.is_magnetic else ""
        if self.is_sheet:
            magnetic = f", a sheet{magnetic}"
        if n_reversing:
            magnetic += f", {n_reversing} of {len(self.rotations)} operations reverse the spins"
        atoms = "1 atom" if len(self.atoms) == 1 else f"{len(self.atoms)} atoms"
        return f"{self.atoms.get_chemical_formula()}, {atoms}, {self.symbol} ({self.number}){magnetic}"

    def larger_group(self) -> str | None:
        """The larger group that a slightly larger tolerance finds: ``"P6_3/mmc (194) with symprec = 0.001"``.

        Coordinates cut to a few digits are the commonest reason. Very large cells are not searched again.
        """
        if len(self.atoms) > MANY_ATOMS:
            return None
        for symprec in LOOSER_TOLERANCES:
            if symprec <= self.symprec:
                continue
            try:
                looser = Crystal.from_atoms(self.atoms, symprec=symprec, magnetic_tolerance=self.magnetic_tolerance)
            except InputError:
                return None
            if len(looser.rotations) > len(self.rotations):
                return f"{looser.symbol} ({looser.number}) with symprec = {symprec:g}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """The structure with its tolerances and space group as numbers, strings and lists, for JSON."""
        arrays = {name: values for name, values in self.atoms.arrays.items() if name not in ("numbers", "positions")}
        sheet = {"pbc": self.atoms.pbc.tolist()} if self.is_sheet else {}
        return sheet | {
            "symbols": list(self.atoms.symbols),
            "cell": self.atoms.cell.array.tolist(),
            "positions": self.atoms.positions.tolist(),
            "magnetic_moments": self.atoms.get_initial_magnetic_moments().tolist(),
            "arrays": {name: values.tolist() for name, values in arrays.items() if name != "initial_magmoms"},
            "info": {name: value for name, value in map(_plain, self.atoms.info.items()) if _is_json(value)},
            "symprec": self.symprec,
            "magnetic_tolerance": self.magnetic_tolerance,
            "space_group": {"number": self.number, "symbol": self.symbol},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Crystal:
        """The crystal that :meth:`to_dict` wrote.

        Raises
        ------
        InputError
            When `data` lacks something, or is not a crystal.
        """
        try:
            atoms = Atoms(data["symbols"], positions=data["positions"], cell=data["cell"], pbc=data.get("pbc", True))
            if np.any(data["magnetic_moments"]):
                atoms.set_initial_magnetic_moments(data["magnetic_moments"])
            for name, values in data.get("arrays", {}).items():
                atoms.set_array(name, np.array(values))
            atoms.info.update(data.get("info", {}))
            symprec = float(data.get("symprec", DEFAULT_SYMPREC))
            magnetic_tolerance = float(data.get("magnetic_tolerance", DEFAULT_MAGNETIC_TOLERANCE))
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"This is not a stored crystal ({type(error).__name__}: {error}). Write it again with "
                "Crystal.to_dict()."
            ) from error
        return cls.from_atoms(atoms, symprec=symprec, magnetic_tolerance=magnetic_tolerance)


def as_crystal(structure: Atoms | Crystal, *, symprec: float | None = None) -> Crystal:
    """The crystal of a structure; one whose symmetry is known already passes through.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Raises
    ------
    InputError
        When `structure` is not a crystal, or is a :class:`Crystal` with another tolerance than `symprec`.
    """
    if isinstance(structure, Crystal):
        if symprec is not None and symprec != structure.symprec:
            raise InputError(
                f"symprec = {symprec} Å was given with a Crystal whose symmetry was searched with "
                f"{structure.symprec} Å. Make the Crystal with that tolerance, or leave symprec out."
            )
        return structure
    return Crystal.from_atoms(structure, symprec=DEFAULT_SYMPREC if symprec is None else symprec)


def primitive_crystal(structure: Atoms | Crystal, *, symprec: float | None = None) -> Atoms:
    """The primitive cell of a crystal, in its own orientation.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        Any periodic cell of the crystal.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search; 1e-5 without it.

    Returns
    -------
    ase.Atoms
        The smallest cell, reduced, or a copy of the given one when that is primitive already. Each atom has the mass,
        moment, charge and tag of one of the atoms that it stands for.

    Raises
    ------
    InputError
        When `structure` is not a crystal.
    """
    return as_crystal(structure, symprec=symprec).primitive.atoms.copy()


def load_crystal(
    source: Atoms | str | Path,
    *,
    lattice: str | None = None,
    a: float | None = None,
    c: float | None = None,
    primitive: bool = False,
    symprec: float | None = None,
    moments: bool = True,
) -> Atoms:
    """A crystal from an element, a file, or Atoms.

    Parameters
    ----------
    source : ase.Atoms, str or path
        Atoms; a chemical symbol or binary formula that `ase.build.bulk` knows (``"Al"``, ``"NaCl"`` with a lattice);
        or a file that ASE reads, ``"relaxed.xyz@-1"`` for one of its structures. A file wins over an element of the
        same name.
    lattice : str, optional
        Structure name of `ase.build.bulk` (``"fcc"``, ``"diamond"``, ``"hcp"``, ``"rocksalt"``, …).
    a, c : float, Å, optional
        Lattice constants of the conventional cell, for elements.
    primitive : bool
        Reduce a cell from a file or from Atoms to its primitive cell.
    symprec : float, Å, optional
        Distance tolerance of that reduction; 1e-5 without it.
    moments : bool
        False leaves the magnetic moments of a file out, and takes files whose moments would be lost.

    Returns
    -------
    ase.Atoms
        The checked crystal, without calculator, constraints and results of calculations.

    Raises
    ------
    InputError
        When the source is neither a readable structure file nor a known element, holds several structures without
        saying which is meant, holds what `Atoms` cannot (partial occupancies, moments in a CIF), is a CIF whose atoms
        do not have the composition that it states, or is not a crystal.
    """
    path, index = split_index(source) if isinstance(source, str | Path) else (None, None)
    if isinstance(source, Atoms):
        atoms = source
    elif path is not None and os.path.isfile(path):  # False also for a path that is too long
        atoms = read_structure(path, index, moments=moments)
        if not moments:
            atoms.set_initial_magnetic_moments(None)
    else:
        return bulk_structure(str(source), lattice=lattice, a=a, c=c)
    if lattice is not None or a is not None or c is not None:
        raise InputError(
            "A lattice or lattice constants were given with a structure that has its own. "
            "Remove lattice, a and c, or name an element instead of the structure."
        )
    return primitive_crystal(atoms, symprec=symprec) if primitive else checked_structure(atoms)


def _site_species(atoms: Atoms) -> IntArray:
    if len(atoms.arrays) == 2:
        return np.asarray(atoms.numbers, dtype=np.int64)
    table = [np.asarray(atoms.numbers, dtype=np.int64)]
    if "masses" in atoms.arrays:
        table.append(_classes(atoms.get_masses(), MASS_TOLERANCE))
    if "initial_charges" in atoms.arrays:
        table.append(_classes(atoms.get_initial_charges(), CHARGE_TOLERANCE))
    return _numbered(np.column_stack(table))


def _numbered(table: IntArray) -> IntArray:
    """(n,) int64 array : one number, from 1 on, for each distinct row."""
    return np.unique(table, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64) + 1


def _classes(values: FloatArray, tolerance: float) -> IntArray:
    """(n,) int64 array : numbers of groups of values; neighbours in a group differ by at most the tolerance."""
    order = np.argsort(values, kind="stable")
    numbers = np.empty(len(values), dtype=np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > tolerance)])
    return numbers


def _plain(item: tuple[str, Any]) -> tuple[str, Any]:
    """A name and a value, arrays and numbers of NumPy as lists and numbers."""
    name, value = item
    return name, value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
