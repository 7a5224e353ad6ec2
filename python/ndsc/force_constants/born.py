"""Born charges and dielectric tensors: the non-analytical correction of phonopy, from BORN files and vasprun.xml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.geometry import find_mic
from ase.units import Bohr, Hartree
from phonopy import Phonopy
from phonopy.file_IO import get_born_parameters
from phonopy.interface.vasp import VasprunxmlExpat
from phonopy.structure.symmetry import Symmetry

from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants.phonopy_model import crystal_symmetry, phonopy_atoms
from ndsc.force_constants.space_group import FloatArray, cartesian_rotations

#: Hartree times bohr, eV Å: what phonopy multiplies the non-analytical correction with.
HARTREE_TIMES_BOHR = Hartree * Bohr
#: Tensors that symmetry changes by more than this share of the largest element belong to another cell.
LARGEST_CHANGE = 0.05
#: Atoms of a vasprun.xml that are further from those of the crystal belong to another one, Å.
SAME_PLACE = 0.3


def read_born(path: str | Path, crystal: Crystal) -> dict[str, Any]:
    """phonopy's parameters of the non-analytical correction from a BORN file, or from VASP's ``vasprun.xml``.

    Parameters
    ----------
    path : path
        BORN: tensors of the atoms that symmetry does not relate (with or without magnetic moments), or of all atoms, in
        the order and the axes of the unit cell. A file that ends in ``.xml``: of the same crystal in the same axes and
        with the same origin, in any of its cells; atoms are found by their positions.
    crystal : Crystal
        The unit cell, primitive or not.

    Raises
    ------
    InputError
        When it cannot be read, is no such file, or belongs to another cell, other axes or another order of atoms.
    """
    if not Path(path).is_file():
        raise InputError(
            f"There is no file {path}. Give one of Born charges: phonopy's BORN, or a vasprun.xml with LEPSILON."
        )
    if Path(path).suffix == ".xml":
        found = _of_vasprun(Path(path), crystal)
        _check_symmetry(found, crystal, path)
        return found
    cell = phonopy_atoms(crystal)
    without_moments = phonopy_atoms(replace(crystal, atoms=_without_moments(crystal)))
    attempts = [
        crystal_symmetry(crystal, cell),
        Symmetry(without_moments, symprec=crystal.symprec),
        Symmetry(without_moments, is_symmetry=False),
    ]
    failures = []
    for symmetry in attempts:
        try:
            with Path(path).open(encoding="utf-8") as file:
                found = dict(get_born_parameters(file, cell, symmetry))
        except Exception as error:  # phonopy's reader raises anything on a malformed file
            failures.append(f"{type(error).__name__}: {error}")
            continue
        _check_symmetry(found, crystal, path)
        return found
    independent = attempts[0].get_independent_atoms() + 1
    raise InputError(
        f"{path} is not a BORN file of this crystal ({failures[0]}). It needs the dielectric tensor and "
        f"the tensors of the independent atoms {', '.join(map(str, independent))} of {len(cell)}, or of all. Make one "
        "by phonopy-vasp-born, or by hand as phonopy's documentation says."
    )


def _of_vasprun(path: Path, crystal: Crystal) -> dict[str, Any]:
    """The tensors of a vasprun.xml, in the order of the crystal's atoms."""
    try:
        with path.open("rb") as file:
            output = VasprunxmlExpat(file)
            output.parse()
        cell, born, dielectric = output.cell, output.born, output.epsilon
        complete = born is not None and dielectric is not None and np.shape(born) == (len(cell), 3, 3)
    except Exception as error:  # phonopy's reader raises anything on a malformed file
        raise InputError(
            f"{path} cannot be read as a vasprun.xml ({type(error).__name__}: {error}). Give the file of a finished "
            "calculation."
        ) from error
    if not complete:
        raise InputError(
            f"{path} holds no Born charges. Run VASP with LEPSILON = .TRUE. (or LCALCEPS), or give a BORN file."
        )
    atoms = crystal.atoms
    numbers = []
    for position, symbol in zip(atoms.positions, atoms.symbols, strict=True):
        same = np.flatnonzero([other == symbol for other in cell.symbols])
        away = np.full(1, np.inf)
        if len(same):
            # The cell of the output repeats the crystal, or is the crystal's up to a small strain.
            fractions = atoms.cell.scaled_positions(position[None]) @ _in_units_of(cell.cell, atoms.cell.array)
            _, away = find_mic((cell.scaled_positions[same] - fractions) @ cell.cell, cell.cell)
        if np.min(away) > SAME_PLACE:
            raise InputError(
                f"{path} is not of this crystal ({crystal.describe()}): it has no {symbol} at "
                f"{np.round(position, 3).tolist()} Å. Give one of the same crystal, with the same axes and "
                "origin, or a BORN file."
            )
        numbers.append(int(same[np.argmin(away)]))
    return {"born": np.array(born)[numbers], "dielectric": np.array(dielectric), "factor": HARTREE_TIMES_BOHR}


def _in_units_of(cell: FloatArray, own: FloatArray) -> FloatArray:
    """(3, 3) array : vectors of a unit cell in those of another cell of the crystal, whole multiples of fractions.

    The other cell holds n unit cells, and so multiples of 1/n, whatever its strain is.
    """
    ratio = own @ np.linalg.inv(cell)
    n = max(1, round(abs(np.linalg.det(cell) / np.linalg.det(own))))
    return np.asarray(np.rint(ratio * n) / n)


def _without_moments(crystal: Crystal) -> Any:
    atoms = crystal.atoms.copy()
    atoms.arrays.pop("initial_magmoms", None)
    return atoms


def _check_symmetry(found: dict[str, Any], crystal: Crystal, path: str | Path) -> None:
    """Average the tensors over the operations, in place; refuse those that do not have the symmetry of the crystal."""
    rotations = cartesian_rotations(crystal.rotations, crystal.atoms.cell.array)
    origins = np.argsort(crystal.permutations, axis=1)

    def averaged(tensors: FloatArray) -> FloatArray:
        turned = np.einsum("oij,o...jk,olk->o...il", rotations, tensors, rotations)
        return np.asarray(turned.mean(axis=0))

    born, dielectric = np.asarray(found["born"]), np.asarray(found["dielectric"])
    symmetric = averaged(born[origins])
    symmetric -= symmetric.mean(axis=0)
    wanted = {"born": symmetric, "dielectric": averaged(np.broadcast_to(dielectric, (len(rotations), 3, 3)))}
    for key, given in (("born", born), ("dielectric", dielectric)):
        if np.max(np.abs(given - wanted[key])) > LARGEST_CHANGE * np.max(np.abs(given)):
            what = "Born charges" if key == "born" else "dielectric tensor"
            raise InputError(
                f"The {what} in {path} do not fit the crystal ({crystal.describe()}): its symmetry, and charges "
                f"that add up to zero, change them by up to {np.max(np.abs(given - wanted[key])):.3g}. They were "
                "made for another order of the atoms, other axes or another cell: write the file for the given cell."
            )
        found[key] = wanted[key]


def set_nac(phonon: Phonopy, nac_params: Mapping[str, Any]) -> None:
    """Give phonopy Born charges and a dielectric tensor for the non-analytical correction.

    Raises
    ------
    InputError
        When they are missing or of the wrong shape.
    """
    phonon.nac_params = checked_nac(nac_params, len(phonon.primitive))


def checked_nac(nac_params: Mapping[str, Any], n_atoms: int) -> dict[str, Any]:
    """Born charges and a dielectric tensor as phonopy takes them, for a unit cell of some atoms.

    Raises
    ------
    InputError
        When they are missing or of the wrong shape.
    """
    shapes = {"born": (n_atoms, 3, 3), "dielectric": (3, 3)}
    arrays: dict[str, Any] = {}
    for key, shape in shapes.items():
        try:
            arrays[key] = np.array(nac_params[key], dtype=float)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"The parameters of the non-analytical correction lack {key!r}, or it is not made of numbers. Give "
                f"'born' ({n_atoms}, 3, 3) in elementary charges and 'dielectric' (3, 3)."
            ) from error
        if arrays[key].shape != shape:
            raise InputError(
                f"{key!r} of the non-analytical correction has the shape {arrays[key].shape}. Give {shape}: Born "
                "charges are needed for every atom of the unit cell."
            )
    # phonopy's default factor for eV, Å: Hartree times Bohr.
    arrays["factor"] = float(nac_params.get("factor", HARTREE_TIMES_BOHR))
    arrays.update({key: nac_params[key] for key in ("method",) if key in nac_params})
    return arrays
