"""Structures as they come in: read from files or built from elements, and checked before anything is made of them."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii, reference_states

from ndsc import _core
from ndsc.cif import check_cif
from ndsc.errors import InputError
from ndsc.sheet import checked_sheet, is_sheet

log = logging.getLogger(__name__)

# Atoms closer together than this share of the sum of their covalent radii, or than this length in Å, overlap.
OVERLAP, SHORTEST_DISTANCE = 0.4, 0.3
# Unit cells above the first size take long to search, those above the second are refused.
MANY_ATOMS, MOST_ATOMS = 1000, 20_000
# Å³ for each atom; matter is not as dense in any experiment.
SMALLEST_VOLUME = 0.2

# Primitive cells in units of the lattice constant, and their sites in reduced coordinates.
_FCC = ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
SIMPLE_CELLS = {
    "sc": (((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((0, 0, 0),)),
    "fcc": (_FCC, ((0, 0, 0),)),
    "bcc": (((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)), ((0, 0, 0),)),
    "diamond": (_FCC, ((0, 0, 0), (0.25, 0.25, 0.25))),
    "hcp": (((1, 0, 0), (-0.5, 0.5 * math.sqrt(3), 0), (0, 0, 1)), ((0, 0, 0), (1 / 3, 2 / 3, 0.5))),
}

# Results of a calculation, which belong to one structure and must not follow its atoms into others.
RESULT_NAMES = re.compile(r"force|energ|stress|virial|momenta|velocit|^magmoms?$|^charges$|^dipole", re.IGNORECASE)
# What ASE's CIF reader leaves in `info` and in the arrays: objects, or numbers that have been checked by then.
READER_NAMES = ("spacegroup", "unit_cell", "occupancy", "spacegroup_kinds")
# Names of columns and of entries of `info` that hold occupancies of sites.
OCCUPANCY = re.compile(r"^(site_)?occ(upanc(y|ies))?$", re.IGNORECASE)
# What this package writes of how a supercell was made. A supercell that is given as a crystal is the unit cell of what
# follows: its k-points are not folded, and its sites are numbered anew.
RECIPE = "ndsc_"
# Computed moments of a file above this, in Bohr magnetons, make its crystal magnetic.
SMALLEST_MOMENT = 0.01


def split_index(source: str | Path) -> tuple[Path, int | None]:
    """Path and number of a structure in a file: ``"file.xyz@3"``, counted from 0, or from -1 for the last."""
    path = Path(source)
    name, at, index = path.name.rpartition("@")
    try:
        if at and name and not os.path.isfile(path):
            return path.with_name(name), int(index)
    except (ValueError, OSError):
        pass
    return path, None


def bulk_structure(name: str, *, lattice: str | None, a: float | None, c: float | None) -> Atoms:
    looks_like_file = "/" in name or "." in name
    if looks_like_file:
        raise InputError(f"There is no file {name!r}. Give the path of a structure file that ASE reads, or an element.")
    element = _element(name, lattice, a, c)
    if element is not None:
        return checked_structure(element)
    from ase.build import bulk

    try:
        return checked_structure(bulk(name, crystalstructure=lattice, a=a, c=c))
    except InputError:
        raise
    except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{name!r} is neither a file nor a crystal that can be built ({error}). Give a structure file, or an "
            "element with its lattice and lattice constants, for example structure = 'Al', lattice = 'fcc', a = 4.05."
        ) from error


def _element(name: str, lattice: str | None, a: float | None, c: float | None) -> Atoms | None:
    """The primitive cell of a simple element, exactly as `ase.build.bulk` gives it, or None for all other crystals.

    ase.build takes longer to import than a small crystal takes to be dealt with.
    """
    state: dict[str, Any] = (reference_states[atomic_numbers[name]] if name in atomic_numbers else None) or {}
    if lattice is None and "basis" not in state:
        lattice = state.get("symmetry")
    if lattice != state.get("symmetry"):
        state = {}
    a = state.get("a") if a is None else a
    if name not in atomic_numbers or lattice not in SIMPLE_CELLS or a is None or (c is not None and lattice != "hcp"):
        return None
    cell, sites = SIMPLE_CELLS[lattice]
    vectors = a * np.array(cell)
    if lattice == "hcp":
        vectors[2, 2] = (state.get("c/a", math.sqrt(8 / 3)) if c is None else c / a) * a
    atoms = Atoms([name] * len(sites), cell=vectors, scaled_positions=sites, pbc=True)
    if "magmom_per_atom" in state:
        atoms.set_initial_magnetic_moments([state["magmom_per_atom"]] * len(atoms))
    return atoms


def read_structure(path: Path, index: int | None, *, moments: bool = True) -> Atoms:
    from ase.io import read

    try:
        frames: Any = read(path, index=":")
    except Exception as error:  # ASE's readers raise anything on a malformed file
        raise InputError(
            f"ASE cannot read {path} ({type(error).__name__}: {error}). Give a file in one of ASE's formats, with the "
            "ending that belongs to it (.cif, .xyz, .vasp, .cell, …)."
        ) from error
    if not frames:
        raise InputError(f"{path} holds no structure. Give a file with one crystal.")
    if index is None and len(frames) > 1:
        raise InputError(
            f"{path} holds {len(frames)} structures. Choose one by its number, for example {path.name}@0 "
            f"for the first or {path.name}@-1 for the last."
        )
    try:
        atoms: Atoms = frames[0 if index is None else index]
    except IndexError:
        raise InputError(f"{path} holds {len(frames)} structures, but number {index} was asked for.") from None
    if path.suffix.lower() in (".cif", ".mcif"):
        check_cif(path, atoms, 0 if index is None else index)
    if moments:
        _check_moments_of_file(path, atoms)
    return atoms


def _check_moments_of_file(path: Path, atoms: Atoms) -> None:
    """Refuse a file that has magnetic moments which ASE's reader does not bring."""
    if atoms.has("initial_magmoms"):
        return
    if path.suffix.lower() in (".cif", ".mcif"):
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        if "_atom_site_moment" in text or "_atom_site.moment" in text:
            raise InputError(
                f"{path} has magnetic moments (_atom_site_moment), which ASE's reader of CIF files drops. Write the "
                "structure as extended XYZ with a column initial_magmoms, give [crystal] magmoms, or remove the "
                "moments from the file."
            )
    computed = None if atoms.calc is None else atoms.calc.results.get("magmoms")
    if computed is not None and np.max(np.abs(computed), initial=0.0) > SMALLEST_MOMENT:
        raise InputError(
            f"{path} has computed magnetic moments, but no initial ones, so it is not clear whether the crystal is "
            "magnetic. Write it as extended XYZ with a column initial_magmoms, give [crystal] magmoms, or write it "
            "without the computed moments."
        )


def checked_structure(atoms: Atoms) -> Atoms:
    """A periodic copy of `atoms` without calculator, constraints, results and arrays of zeros; its geometry checked."""
    if not isinstance(atoms, Atoms):
        reading = f" Read a file with ndsc.load_crystal({str(atoms)!r})." if isinstance(atoms, str | Path) else ""
        raise InputError(f"A crystal was expected as ase.Atoms, not {type(atoms).__name__}.{reading}")
    if len(atoms) == 0:
        raise InputError("The structure has no atoms. Give a crystal with at least one.")
    if len(atoms) > MOST_ATOMS:
        raise InputError(
            f"The structure has {len(atoms):,} atoms, and a unit cell may have {MOST_ATOMS:,}. Give the unit cell of "
            "the crystal, of which supercells are made, not a simulation cell."
        )
    if len(atoms) > MANY_ATOMS:
        log.warning("The structure has %d atoms: its symmetry search takes seconds to minutes.", len(atoms))
    if is_sheet(atoms):
        atoms = checked_sheet(atoms)
    _check_cell(atoms)
    _check_elements(atoms)
    copy = atoms.copy()
    copy.calc = None
    if copy.constraints:
        log.warning(
            "The constraints of %s (%s) are not used: forces and phonons need all atoms to be free.",
            copy.get_chemical_formula(),
            ", ".join(sorted({type(constraint).__name__ for constraint in copy.constraints})),
        )
        copy.set_constraint()
    if len(copy.arrays) > 2:
        _check_arrays(copy)
    for name in list(copy.info):
        if not isinstance(name, str):
            log.warning(
                "The entry %r of the info of %s is left out, because its name is not a string.", name, copy.symbols
            )
            del copy.info[name]
        elif name in READER_NAMES or name.startswith(RECIPE) or RESULT_NAMES.search(name):
            del copy.info[name]
    for name in [name for name in copy.arrays if name in READER_NAMES or name.startswith(RECIPE)]:
        del copy.arrays[name]
    _check_distances(copy)
    return copy


def _check_cell(atoms: Atoms) -> None:
    cell = atoms.cell.array
    if not (np.isfinite(cell).all() and np.isfinite(atoms.positions).all()):
        raise InputError("The structure has a cell or positions that are not finite numbers. Correct the file.")
    volume = float(np.linalg.det(cell))
    lengths = np.sqrt((cell * cell).sum(axis=1))
    if abs(volume) <= 1e-6 * float(lengths.prod()):
        raise InputError(
            f"The cell {cell.tolist()} spans no volume, so the structure is not a crystal. Give three independent "
            "lattice vectors (a molecule or a file without a cell cannot be used)."
        )
    if lengths.min() < SHORTEST_DISTANCE or abs(volume) < SMALLEST_VOLUME * len(atoms):
        raise InputError(
            f"The cell has a volume of {abs(volume):.3g} Å³ for {len(atoms)} atoms and a shortest vector of "
            f"{lengths.min():.3g} Å, which is too small for any crystal. Give lengths in Å."
        )
    if not atoms.pbc.all() and not is_sheet(atoms):
        raise InputError(
            f"The structure is periodic along {atoms.pbc.tolist()} only. Set pbc to True along all three axes; of a "
            "sheet to [True, True, False], with its normal along z."
        )
    if volume < 0:
        raise InputError(
            "The lattice vectors are left-handed (negative volume), which phonopy refuses and other programs misread. "
            "Exchange two of them, with their fractional coordinates."
        )


def _check_elements(atoms: Atoms) -> None:
    """Refuse atoms without an element, and sites that are not occupied by exactly one atom."""
    if (n_ghosts := int(np.sum(atoms.numbers < 1))) > 0:
        places = np.flatnonzero(atoms.numbers < 1)[:5].tolist()
        raise InputError(
            f"{n_ghosts} of the {len(atoms)} atoms have no element (X; ghost or dummy atoms, numbers {places}). Remove "
            "them from the structure."
        )
    named = [values for name, values in (*atoms.info.items(), *atoms.arrays.items()) if OCCUPANCY.search(str(name))]
    for site in (site for values in named for site in _as_list(values)):
        occupants = list(site.values()) if isinstance(site, Mapping) else [site]
        if len(occupants) != 1 or not abs(_occupancy(occupants[0]) - 1.0) <= 1e-3:
            raise InputError(
                f"The structure has a partially occupied site ({site}). ndsc needs an ordered crystal: give one, "
                "such as a supercell with one element on each site."
            )


def _as_list(values: Any) -> list[Any]:
    if isinstance(values, Mapping):
        return list(values.values())
    return [values] if isinstance(values, str) or np.ndim(values) == 0 else list(values)


def _occupancy(value: Any) -> float:
    """An occupancy as a number: without its uncertainty, 1 where a CIF leaves it to the default, NaN for other text."""
    if str(value).strip() in (".", "?"):
        return 1.0
    try:
        return float(str(value).split("(")[0])
    except ValueError:
        return math.nan


def _check_arrays(atoms: Atoms) -> None:
    """Check masses, moments and charges; drop results of calculations, and arrays of zeros, which say nothing."""
    dropped = [name for name in atoms.arrays if RESULT_NAMES.search(name) and not name.startswith("initial_")]
    for name, values in atoms.arrays.items():
        if values.ndim > 2 or values.dtype.kind not in "biufUS":
            log.warning(
                "The array %s of %s, of shape %s and type %s, is left out, because structure files hold only "
                "numbers, words and vectors for each atom. Split it into several arrays.",
                name, atoms.get_chemical_formula(), values.shape, values.dtype,
            )  # fmt: skip
            dropped.append(name)
    for name in set(dropped):
        del atoms.arrays[name]
    for name in ("initial_magmoms", "initial_charges", "tags"):
        values = atoms.arrays.get(name)
        if values is None:
            continue
        if not np.isfinite(values).all():
            raise InputError(f"The array {name} of the structure has entries that are not finite numbers. Correct it.")
        if not values.any():
            del atoms.arrays[name]
    masses = atoms.arrays.get("masses")
    if masses is not None and not (np.isfinite(masses).all() and (masses > 0).all()):
        raise InputError(f"The masses {np.unique(masses).tolist()} of the structure must be positive numbers.")


def _check_distances(atoms: Atoms) -> None:
    cell = atoms.cell.array
    worst = _core.overlap(
        cell, atoms.positions @ np.linalg.inv(cell), OVERLAP * covalent_radii[atoms.numbers], SHORTEST_DISTANCE
    )
    if worst is not None:
        distance, first, second = worst
        names = f"{atoms.symbols[first]} (atom {first}) and {atoms.symbols[second]} (atom {second})"
        raise InputError(
            f"{names} are {distance:.3g} Å apart, so they overlap. Check the positions and the length of the lattice "
            "vectors, and remove duplicate atoms."
        )
