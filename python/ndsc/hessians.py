"""Hessians of the minimal supercells: second derivatives of the energy, for programs that train on them.

The force constants of a grid of q-points are those of its diagonal supercell, in which every supercell of the grid fits
a whole number of times. Summed over the images that coincide in a smaller supercell, they are the Hessian of that
supercell with its own periodic boundaries, which is what a program that calculates in it would find: exactly, since
the q-points of the supercell are on the grid.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike, NDArray
from phonopy import Phonopy

from ndsc import _core
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.extended_xyz import opened, write_frames
from ndsc.files import whole_file
from ndsc.force_constants.phonopy_model import supercell_sites
from ndsc.force_constants.tiling import tiling_index
from ndsc.integers import adjugate, checked_matrix, determinant
from ndsc.qgrid import available_memory
from ndsc.reference import Label, LabelStore
from ndsc.reference.inventory import usable
from ndsc.rounding import rounded
from ndsc.supercells import SupercellSet, make_supercell
from ndsc.targets import ENERGY_KEY, FORCES_KEY, tensor
from ndsc.thermal import load_force_constants

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)

HESSIAN_KEY = "REF_hessian"
STRESS_KEY = "REF_stress"
#: Structures are the same when no coordinate differs by more, Å: labels are rounded to 1e-8.
SAME = 1e-6


@dataclass(frozen=True, eq=False)
class SupercellHessian:
    """The second derivatives of the energy of one perfect supercell, and its label where there is one.

    Attributes
    ----------
    atoms : ase.Atoms
        The perfect supercell, in the order of :func:`ndsc.make_supercell`; ``info`` has ``ndsc_name`` and
        ``ndsc_matrix``.
    hessian : (3n, 3n) float array, eV/Å²
        Rows and columns run over x, y, z of the first atom, then of the second. Symmetric; rows sum to zero.
    energy : float or None, eV
    forces : (n, 3) float array or None, eV/Å
    stress : (3, 3) float array or None, eV/Å³
        ASE's sign.
    """

    atoms: Atoms
    hessian: FloatArray
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None


def folded_hessian(phonon: Phonopy, matrix: ArrayLike) -> FloatArray:
    """The Hessian of a supercell from the force constants of the diagonal supercell of a grid.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        With force constants, of a diagonal supercell; its primitive cell is the unit cell.
    matrix : (3, 3) int array
        The supercell, rows are lattice vectors. Its q-points must be on the grid.

    Returns
    -------
    (3n, 3n) float array, eV/Å²
        In the order of :func:`ndsc.make_supercell`.

    Raises
    ------
    InputError
        When the supercell holds q-points that are not on the grid.
    """
    rows_of_cell = checked_matrix(matrix)
    diagonal = phonon.supercell_matrix.T
    if np.any((diagonal @ adjugate(rows_of_cell)) % determinant(rows_of_cell)):
        raise InputError(
            f"The supercell {rows_of_cell.tolist()} holds q-points that are not on the grid of the force constants, "
            f"{np.diag(diagonal).tolist()}, so that its Hessian does not follow from them. Calculate the phonons on "
            "a grid that is a multiple of that of the supercells."
        )
    basis, lattice_points = supercell_sites(phonon)
    rows = phonon.primitive.p2s_map
    given = np.asarray(phonon.force_constants)
    force_constants = given if len(given) == len(rows) else given[rows]
    n_basis = len(rows)
    inside = _core.lattice_points(rows_of_cell, available_memory())
    hessian = np.zeros((len(inside), n_basis, len(inside), n_basis, 3, 3))
    cells = np.arange(len(inside))[:, None]
    for row, block in zip(rows, force_constants, strict=True):
        separation = lattice_points - lattice_points[row]
        other = tiling_index(rows_of_cell, inside, (inside[:, None] + separation).reshape(-1, 3))
        np.add.at(
            hessian,
            (cells, basis[row], other.reshape(len(inside), -1), basis[None, :]),
            np.broadcast_to(block, (len(inside), *block.shape)),
        )
    size = 3 * len(inside) * n_basis
    found = hessian.transpose(0, 1, 4, 2, 3, 5).reshape(size, size)
    return np.asarray(0.5 * (found + found.T))


def supercell_hessians(phonon: Phonopy, supercells: SupercellSet) -> list[SupercellHessian]:
    """The Hessian of each supercell of a set, which together hold the phonons of the grid.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        The phonons of the same unit cell: ``SupercellPhonons.phonopy``, or a file read with ``phonopy.load``.
    supercells : SupercellSet

    Returns
    -------
    list of SupercellHessian
        In the order of the set, eV/Å².

    Raises
    ------
    InputError
        When a supercell holds q-points that are not on the grid, or the phonons are of another crystal.
    """
    crystal = supercells.crystal
    _check_crystal(phonon, crystal)
    found = []
    for index, matrix in enumerate(supercells.matrices):
        atoms = rounded(make_supercell(crystal.atoms, matrix))
        for name in ("ndsc_basis", "ndsc_lattice_point"):
            del atoms.arrays[name]
        atoms.info |= {
            "ndsc_name": f"hessian-s{index:03d}",
            "config_type": "hessian",
            "ndsc_matrix": np.asarray(matrix, dtype=np.int64).reshape(9),
        }
        found.append(SupercellHessian(atoms, folded_hessian(phonon, matrix)))
    return found


def _check_crystal(phonon: Phonopy, crystal: Crystal) -> None:
    cell, atoms = phonon.primitive, crystal.atoms
    same = list(cell.symbols) == atoms.get_chemical_symbols() and np.allclose(cell.cell, atoms.cell.array, atol=1e-4)
    if not same:
        raise InputError(
            f"The phonons are of {len(cell)} atoms in a cell of {cell.volume:.3f} Å³, the supercells of {len(atoms)} "
            f"in {atoms.get_volume():.3f} Å³. Give phonons and supercells of one unit cell."
        )


def with_labels(hessians: Sequence[SupercellHessian], labels: Iterable[Label]) -> list[SupercellHessian]:
    """Add energy, forces and stress of those labels whose structure is one of the supercells.

    Parameters
    ----------
    hessians : sequence of SupercellHessian
    labels : iterable of Label
        Of any structures. Where two of one supercell differ, neither is taken, with a warning.
    """
    matches: list[list[Label]] = [[] for _ in hessians]
    for label in labels:
        for number, one in enumerate(hessians):
            if _same(one.atoms, label.atoms):
                matches[number].append(label)
    result = []
    for one, found in zip(hessians, matches, strict=True):
        energies = [float(label.energy) for label in found]
        if energies and max(energies) - min(energies) > 1e-6:
            log.warning(
                "%s has %d labels with different energies, from different settings: its energy, forces and stress are "
                "left out.",
                one.atoms.info["ndsc_name"],
                len(found),
            )
        elif energies:
            label = found[0]
            stress = None if label.stress is None else tensor(label.stress, f"the stress in the label {label.key}")
            result.append(
                replace(
                    one,
                    energy=energies[0],
                    forces=np.asarray(label.forces, dtype=float),
                    stress=None if stress is None else stress.reshape(3, 3),
                )
            )
            continue
        result.append(one)
    return result


def _same(one: Atoms, other: Atoms) -> bool:
    return bool(
        np.array_equal(one.numbers, other.numbers)
        and np.allclose(one.cell.array, other.cell.array, rtol=0, atol=SAME)
        and np.allclose(one.positions, other.positions, rtol=0, atol=SAME)
    )


def hessians_of_run(directory: str | Path) -> list[SupercellHessian]:
    """The Hessians of the supercells of a finished run, from the phonons of its reference, with its labels.

    Parameters
    ----------
    directory : path
        Folder of a run, or of one crystal of a run of several.

    Raises
    ------
    InputError
        When it has no phonons of a reference, or they do not hold the supercells' q-points.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Give the folder of a finished run.")
    phonons, supercells = folder / "phonons" / "reference.yaml", folder / "supercells.json"
    lacking = [str(path) for path in (phonons, supercells) if not path.is_file()]
    if lacking:
        raise InputError(
            f"{folder} has no Hessians: {' and '.join(lacking)} {'are' if len(lacking) > 1 else 'is'} not there. Give "
            "the folder of a finished run, or a database in it, whose [phonons] reference is not 'none'; of a run of "
            "several crystals, the folder of one."
        )
    try:
        chosen = SupercellSet.from_dict(json.loads(supercells.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{supercells} is damaged ({error}). Run ndsc run again.") from error
    found = supercell_hessians(load_force_constants(phonons), chosen)
    store = next((place / "labels" for place in (folder, folder.parent) if (place / "labels").is_dir()), None)
    return found if store is None else with_labels(found, usable(LabelStore(store)))


def write_hessians(path: str | Path, hessians: Sequence[SupercellHessian]) -> Path:
    """Write Hessians in the form that the ending of the name says, whole or not at all.

    Parameters
    ----------
    path : path
        - ``.extxyz`` or ``.xyz``: ``REF_energy``, ``REF_forces``, ``REF_stress`` as for MACE, and ``REF_hessian`` as 9n
          columns of each atom, which ASE reads as ``arrays["REF_hessian"]``; reshaped to (3n, 3n) it is the Hessian.
        - ``.db``: a database of ASE, with energy, forces and stress as results and the Hessian in ``data["hessian"]``.
        - ``.npz``: for each supercell k the arrays ``k/hessian``, ``k/positions``, ``k/cell``, ``k/numbers``,
          ``k/matrix``, and ``k/energy``, ``k/forces``, ``k/stress`` where there is a label.
        - no ending: a folder with one system of DeePMD-kit for each supercell, with ``hessian.npy``.
    hessians : sequence of SupercellHessian

    Raises
    ------
    InputError
        When there is nothing to write, the ending is another one, or the file cannot be written.
    """
    target = Path(path)
    if not hessians:
        raise InputError(f"There is no Hessian to write to {target}.")
    if target.suffix == "":
        return _write_deepmd(target, hessians)
    if target.suffix not in (".extxyz", ".xyz", ".db", ".npz"):
        raise InputError(
            f"{target} ends in {target.suffix}. Give a name that ends in .extxyz, .db or .npz, or a folder without an "
            "ending for DeePMD-kit."
        )
    if target.is_dir():
        raise InputError(f"{target} is a folder. Give the name of a file.")
    with whole_file(target) as temporary:
        if target.suffix == ".npz":
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **_arrays(hessians))
        elif target.suffix == ".db":
            _write_database(temporary, hessians)
        else:
            with opened(temporary, "w", compressed=False) as text:
                write_frames(text, map(_frame, hessians))
    return target


def _frame(one: SupercellHessian) -> Atoms:
    atoms = one.atoms.copy()
    atoms.arrays[HESSIAN_KEY] = one.hessian.reshape(len(atoms), -1)
    if one.energy is not None:
        atoms.info[ENERGY_KEY] = one.energy
    if one.forces is not None:
        atoms.arrays[FORCES_KEY] = one.forces
    if one.stress is not None:
        atoms.info[STRESS_KEY] = one.stress.reshape(9)
    return atoms


def _arrays(hessians: Sequence[SupercellHessian]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, one in enumerate(hessians):
        values = {
            "hessian": one.hessian,
            "positions": one.atoms.positions,
            "cell": one.atoms.cell.array,
            "numbers": one.atoms.numbers,
            "matrix": np.reshape(one.atoms.info["ndsc_matrix"], (3, 3)),
            "energy": one.energy,
            "forces": one.forces,
            "stress": one.stress,
        }
        found |= {f"{number}/{name}": np.asarray(value) for name, value in values.items() if value is not None}
    return found


def _write_database(path: Path, hessians: Sequence[SupercellHessian]) -> None:
    from ase.db import connect

    path.unlink()
    with connect(str(path), type="db", use_lock_file=False) as database:
        for one in hessians:
            atoms = one.atoms.copy()
            stress = None if one.stress is None else full_3x3_to_voigt_6_stress(one.stress)
            results = {"energy": one.energy, "forces": one.forces, "stress": stress}
            known = {name: value for name, value in results.items() if value is not None}
            if known:
                atoms.calc = SinglePointCalculator(atoms, **known)
            database.write(atoms, data={"hessian": one.hessian}, name=str(atoms.info["ndsc_name"]))


def _write_deepmd(folder: Path, hessians: Sequence[SupercellHessian]) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder. Name a new folder.")
    species = sorted({int(number) for one in hessians for number in one.atoms.numbers})
    symbols = [Atoms(numbers=[number]).get_chemical_symbols()[0] for number in species]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            for one in hessians:
                place = Path(scratch) / "written" / str(one.atoms.info["ndsc_name"])
                (place / "set.000").mkdir(parents=True)
                types = [str(species.index(int(number))) for number in one.atoms.numbers]
                (place / "type.raw").write_text("\n".join(types) + "\n", encoding="utf-8")
                (place / "type_map.raw").write_text("\n".join(symbols) + "\n", encoding="utf-8")
                virial = None if one.stress is None else -one.atoms.get_volume() * one.stress
                values = {
                    "box": one.atoms.cell.array,
                    "coord": one.atoms.positions,
                    "hessian": one.hessian,
                    "energy": one.energy,
                    "force": one.forces,
                    "virial": virial,
                }
                for name, value in values.items():
                    if value is not None:
                        np.save(place / "set.000" / f"{name}.npy", np.reshape(value, (1, -1)))
            (Path(scratch) / "written").replace(folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}). Choose a folder that you may write to."
        ) from error
    return folder
