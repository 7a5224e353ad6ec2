"""Displacements and the forces that they cause, in supercells of one unit cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ndsc.errors import InputError
from ndsc.force_constants.space_group import FloatArray, IntArray
from ndsc.rounding import rounded
from ndsc.supercells import make_supercell

#: Displacements longer than this share of the cell mean that the structure is not a displaced supercell, Å.
LARGEST_SAMPLE = 1.0


@dataclass(frozen=True, eq=False)
class Samples:
    """Displacement-force samples of one supercell.

    Attributes
    ----------
    matrix : (3, 3) int64 array
        Supercell matrix, rows are lattice vectors.
    lattice_points : (n_cells, 3) int64 array
        Lattice points inside the supercell.
    displacements, forces : (n_samples, n_cells, n_basis, 3) float array, Å and eV/Å
        Forces without the residual forces of the perfect supercell.
    names : tuple of str
        Names of the samples.
    strains : (n_samples, 3, 3) float array or None
        Strain of the cell of each sample, undone in displacements and forces; None when there is none.
    """

    matrix: IntArray
    lattice_points: IntArray
    displacements: FloatArray
    forces: FloatArray
    names: tuple[str, ...]
    strains: FloatArray | None = None


def samples_from_labels(
    unit_cell: Atoms,
    frames: Sequence[Atoms],
    forces: Mapping[str, ArrayLike],
    *,
    residual_force_limit: float = 0.01,
) -> list[Samples]:
    """Samples from the structures of :func:`phonon_displacements` and their forces.

    Parameters
    ----------
    unit_cell : ase.Atoms
        The unit cell of the supercells.
    frames : sequence of ase.Atoms
        Perfect and displaced supercells.
    forces : mapping from name to (n_atoms, 3) array, eV/Å
        Forces of each frame, by its ``ndsc_name``.
    residual_force_limit : float, eV/Å
        Largest force allowed in a perfect supercell. Below it, its forces are subtracted.

    Returns
    -------
    list of Samples
        One for each supercell.

    Raises
    ------
    InputError
        When forces are missing, of the wrong shape or not finite, when a displaced supercell has no perfect one, or
        when the perfect supercell has forces above the limit.
    """
    checked = _checked_forces(frames, forces)
    perfect: dict[bytes, FloatArray] = {}
    groups: dict[bytes, list[Atoms]] = {}
    for frame in frames:
        key = _matrix_of(frame).tobytes()
        if frame.info["config_type"] == "phonon_perfect":
            perfect[key] = checked[frame.info["ndsc_name"]]
            check_residual(frame, perfect[key], residual_force_limit)
        else:
            groups.setdefault(key, []).append(frame)
    lacking = [_matrix_of(group[0]).tolist() for key, group in groups.items() if key not in perfect]
    if lacking:
        raise InputError(
            f"The perfect supercells {lacking} are not among the labels, so residual forces are unknown. Compute "
            "the structures of phonon_displacements with the config_type 'phonon_perfect' too."
        )
    result = []
    for key, group in groups.items():
        matrix = _matrix_of(group[0])
        supercell = make_supercell(unit_cell, matrix)
        result.append(
            collect_samples(
                supercell, matrix, group, [checked[frame.info["ndsc_name"]] - perfect[key] for frame in group]
            )
        )
    return result


def collect_samples(
    supercell: Atoms, matrix: IntArray, frames: Sequence[Atoms], forces: Sequence[FloatArray]
) -> Samples:
    """Put the frames of one supercell (atoms in the order of `make_supercell`) into arrays."""
    reference = rounded(supercell)
    displacements = []
    for frame in frames:
        if len(frame) != len(reference) or np.any(frame.numbers != reference.numbers):
            raise InputError(
                f"{_name(frame)} has the atoms {frame.get_chemical_formula()}, its supercell {matrix.tolist()} has "
                f"{reference.get_chemical_formula()} in the order of make_supercell. Give the structures as they were "
                "made, with their atoms in order."
            )
        if np.max(np.abs(frame.cell.array - reference.cell.array)) > 1e-5:
            raise InputError(
                f"{_name(frame)} has another cell than its supercell {matrix.tolist()}. Give the structures as they "
                "were made, of the same relaxed unit cell."
            )
        moved = frame.positions - reference.positions
        lattice = np.rint(moved @ np.linalg.inv(reference.cell.array))
        moved = moved - lattice @ reference.cell.array
        if np.max(np.linalg.norm(moved, axis=1)) > LARGEST_SAMPLE:
            raise InputError(
                f"{_name(frame)} has an atom more than {LARGEST_SAMPLE} Å from its site in the supercell "
                f"{matrix.tolist()}. Give the structures as they were made, with their atoms in order."
            )
        displacements.append(moved)
    n_cells = abs(round(np.linalg.det(matrix)))
    n_basis = len(reference) // n_cells
    shape = (len(frames), n_cells, n_basis, 3)
    return Samples(
        matrix=matrix,
        lattice_points=supercell.arrays["ndsc_lattice_point"][::n_basis],
        displacements=np.array(displacements).reshape(shape),
        forces=np.array(forces).reshape(shape),
        names=tuple(_name(frame) for frame in frames),
    )


def _matrix_of(frame: Atoms) -> IntArray:
    return np.asarray(frame.info["ndsc_matrix"], dtype=np.int64).reshape(3, 3)


def _name(frame: Atoms) -> str:
    return str(frame.info.get("ndsc_name", "a structure without a name"))


def _checked_forces(frames: Sequence[Atoms], forces: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    names = [_name(frame) for frame in frames]
    missing = [name for name in names if name not in forces]
    if missing:
        raise InputError(
            f"Forces are missing for {len(missing)} of {len(names)} structures: {', '.join(missing[:10])}"
            f"{', …' if len(missing) > 10 else ''}. Compute these, the others need not be computed again."
        )
    checked = {}
    for frame, name in zip(frames, names, strict=True):
        array = np.asarray(forces[name], dtype=float)
        if array.shape != (len(frame), 3):
            raise InputError(
                f"The forces of {name} have the shape {array.shape}, its structure needs ({len(frame)}, 3). Compute "
                f"{name} again, or give the forces that belong to it."
            )
        if not np.all(np.isfinite(array)):
            raise InputError(f"The forces of {name} are not all finite numbers. Compute {name} again.")
        checked[name] = array
    return checked


def check_residual(frame: Atoms, forces: FloatArray, limit: float) -> None:
    """Refuse a perfect supercell that is not at rest.

    Raises
    ------
    InputError
        When a force is above the limit, eV/Å.
    """
    largest = float(np.max(np.linalg.norm(forces, axis=1)))
    if largest > limit:
        raise InputError(
            f"The perfect supercell {_name(frame)} has residual forces of up to {largest:.4g} eV/Å, above the limit of "
            f"{limit:g} eV/Å, so it is not at rest. Relax the unit cell with the same calculator and compute the "
            "supercells again, or raise residual_force_limit (the residual forces are then subtracted)."
        )
