"""Displacements and the forces that they cause, in supercells of one unit cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants.sites import PlacedFrame, frame_name, place_frame
from ndsc.force_constants.space_group import FloatArray, IntArray

#: Cells of frames that belong to one supercell agree to this length, Å.
SAME_CELL = 1e-5
#: Atoms of a perfect supercell are closer than this to their sites, Å.
ON_SITE = 1e-6

#: Forces of frames: by their names, or in their order.
Forces = Mapping[str, ArrayLike] | Sequence[ArrayLike]


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
    unevenness : float, eV/Å
        How far the force on an atom of the perfect supercell is, at the most, from the mean over all atoms that
        translations of the crystal relate: an error of the calculator.
    """

    matrix: IntArray
    lattice_points: IntArray
    displacements: FloatArray
    forces: FloatArray
    names: tuple[str, ...]
    strains: FloatArray | None = None
    unevenness: float = 0.0


@dataclass(frozen=True, eq=False)
class LabelledSupercells:
    """What labelled perfect and displaced supercells say.

    Attributes
    ----------
    samples : list of Samples
        One for each supercell with displaced atoms.
    matrices : list of (3, 3) int64 array
        The supercell matrix of each frame.
    residual_force : float, eV/Å
        The largest force in a perfect supercell.
    """

    samples: list[Samples]
    matrices: list[IntArray]
    residual_force: float


def samples_from_labels(
    crystal: Crystal, frames: Sequence[Atoms], forces: Forces, *, residual_force_limit: float = 0.01
) -> LabelledSupercells:
    """Samples from perfect and displaced supercells, such as those of :func:`phonon_displacements`, and their forces.

    Parameters
    ----------
    crystal : Crystal
        The unit cell of the supercells.
    frames : sequence of ase.Atoms
        Perfect and displaced supercells, their atoms in any order. ``info["ndsc_matrix"]`` and ``info["ndsc_name"]``
        are used where they are there.
    forces : mapping from name to (n_atoms, 3) array, or sequence of such arrays, eV/Å
        Forces of each frame, by its name or in the order of the frames.
    residual_force_limit : float, eV/Å
        Largest force allowed in a perfect supercell. Below it, its forces are subtracted.

    Raises
    ------
    InputError
        When a frame is not a supercell of the crystal, when forces are missing, of the wrong shape or not finite, when
        a displaced supercell has no perfect one, or when a perfect supercell has forces above the limit.
    """
    arrays = _checked_forces(frames, forces)
    perfect: dict[bytes, tuple[PlacedFrame, FloatArray]] = {}
    displaced: dict[bytes, list[tuple[PlacedFrame, FloatArray]]] = {}
    matrices = []
    residual = 0.0
    for number, (frame, array) in enumerate(zip(frames, arrays, strict=True)):
        placed = place_frame(crystal.atoms, frame, number=number)
        if np.max(np.abs((placed.deformation - np.eye(3)) @ frame.cell.array)) > SAME_CELL:
            raise InputError(
                f"{placed.name} has another cell than its supercell {placed.matrix.tolist()}. Give the structures as "
                "they were made, of the same relaxed unit cell."
            )
        matrices.append(placed.matrix)
        key = placed.matrix.tobytes()
        sample = (placed, placed.from_frame(array))
        if np.max(np.abs(placed.displacements)) > ON_SITE:
            displaced.setdefault(key, []).append(sample)
            continue
        perfect[key] = sample
        check_residual(placed.name, array, residual_force_limit)
        residual = max(residual, float(np.max(np.linalg.norm(array, axis=1))))
    lacking = [found[0][0].matrix.tolist() for key, found in displaced.items() if key not in perfect]
    if lacking:
        raise InputError(
            f"The perfect supercells {lacking} are not among the labels, so residual forces are unknown. Compute "
            "the structures of phonon_displacements with the config_type 'phonon_perfect' too."
        )
    samples = [_without_residual(found, *perfect[key]) for key, found in displaced.items()]
    return LabelledSupercells(samples, matrices, residual)


def _without_residual(
    found: Sequence[tuple[PlacedFrame, FloatArray]], perfect: PlacedFrame, residual: FloatArray
) -> Samples:
    """Samples of one supercell: what displaced frames have beyond the perfect one."""
    return Samples(
        matrix=perfect.matrix,
        lattice_points=perfect.lattice_points,
        displacements=np.array([placed.displacements - perfect.displacements for placed, _ in found]),
        forces=np.array([array - residual for _, array in found]),
        names=tuple(placed.name for placed, _ in found),
        unevenness=float(np.max(np.linalg.norm(residual - residual.mean(axis=0), axis=-1))),
    )


def _checked_forces(frames: Sequence[Atoms], forces: Forces) -> list[FloatArray]:
    names = [frame_name(frame, number) for number, frame in enumerate(frames)]
    if isinstance(forces, Mapping):
        missing = [name for name in names if name not in forces]
        if missing:
            raise InputError(
                f"Forces are missing for {len(missing)} of {len(names)} structures: {', '.join(missing[:10])}"
                f"{', …' if len(missing) > 10 else ''}. Compute these; the others need not be computed again."
            )
        given = [forces[name] for name in names]
    else:
        given = list(forces)
        if len(given) != len(frames):
            raise InputError(f"There are {len(frames)} structures and forces of {len(given)}. Give one array for each.")
    checked = [np.asarray(array, dtype=float) for array in given]
    for frame, name, array in zip(frames, names, checked, strict=True):
        if array.shape != (len(frame), 3):
            raise InputError(
                f"The forces of {name} have the shape {array.shape}, its structure needs ({len(frame)}, 3). Compute "
                f"{name} again, or give the forces that belong to it."
            )
        if not np.all(np.isfinite(array)):
            raise InputError(f"The forces of {name} are not all finite numbers. Compute {name} again.")
    return checked


def check_residual(name: str, forces: FloatArray, limit: float) -> None:
    """Refuse a perfect supercell that is not at rest.

    Raises
    ------
    InputError
        When a force is above the limit, eV/Å.
    """
    largest = float(np.max(np.linalg.norm(forces, axis=1)))
    if largest > limit:
        raise InputError(
            f"The perfect cell {name} has residual forces of up to {largest:.4g} eV/Å, above the limit of {limit:g} "
            "eV/Å, so it is not relaxed. Relax the unit cell with the same calculator and compute the "
            "supercells again, or raise residual_force_limit (the residual forces are then subtracted)."
        )
