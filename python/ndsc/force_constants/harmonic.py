"""The harmonic model of a database of randomly perturbed supercells.

The training data of a potential already hold the force constants. Fitted before anything else they check the data, and
the harmonic model is the baseline that a potential must beat. For a supercell deformed by D
(``cell = S @ unit_cell @ D``) with atoms displaced by u from the deformed sites, the forces are ``-Phi u - Lambda eps``
in the coordinates of the undeformed crystal, where eps is the strain of D and Lambda the internal-strain tensor, which
only the uniform displacements (q = 0) know. Anharmonic terms, and the change of Phi with volume, are what is left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from phonopy import Phonopy

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.force_constants.dynamical import harmonic_forces, real_space_force_constants, solve_grid
from ndsc.force_constants.phonopy_model import make_phonopy, set_force_constants
from ndsc.force_constants.samples import Samples
from ndsc.force_constants.sites import PlacedFrame, place_frame
from ndsc.force_constants.space_group import ComplexArray, FloatArray, SpaceGroupAction
from ndsc.qgrid import Grid, checked_grid
from ndsc.targets import numbers


@dataclass(frozen=True, eq=False)
class HarmonicModel:
    """Force constants fitted to a database, and how well they describe it.

    Attributes
    ----------
    crystal : Crystal
        The unit cell.
    grid : 3 ints
        Grid of q-points that the database determines.
    phonopy : phonopy.Phonopy
        With the force constants.
    phi : (n_q, n, 3, n, 3) complex array, eV/Å^2
        Fourier-transformed force constants on the whole grid, third axis fastest.
    internal_strain : (n, 3, 3, 3) float array, eV/Å
        Lambda: the force on atom a along i is ``-sum Lambda[a, i] * eps``.
    n_frames : int
        Structures fitted.
    force_rmse, force_rms : float, eV/Å
        Error of a force component on the structures fitted, and the root mean square of the components themselves.
    left_out : tuple of str
        Names of structures that were not used: strained above the limit.
    """

    crystal: Crystal
    grid: Grid
    phonopy: Phonopy
    phi: ComplexArray
    internal_strain: FloatArray
    n_frames: int
    force_rmse: float
    force_rms: float
    left_out: tuple[str, ...]

    def forces(self, frame: Atoms) -> FloatArray:
        """(n_atoms, 3) array, eV/Å : the model's forces on a perturbed supercell whose q-points are on the grid.

        Raises
        ------
        InputError
            When the structure is not a perturbed supercell of the unit cell, or holds other q-points.
        """
        return self._forces(place_frame(self.crystal.atoms, frame))

    def _forces(self, placed: PlacedFrame) -> FloatArray:
        displacements = placed.displacements[None]
        forces = harmonic_forces(self.phi, placed.matrix, placed.lattice_points, displacements, self.grid)[0]
        return placed.to_frame(forces - np.einsum("aijk,jk->ai", self.internal_strain, placed.strain))


def harmonic_model(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    frames: Sequence[Atoms],
    *,
    forces_key: str = "REF_forces",
    largest_strain: float | None = None,
    symprec: float | None = None,
) -> HarmonicModel:
    """Fit force constants to a database of perturbed supercells.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The relaxed unit cell.
    grid : int or 3 ints
        Grid of q-points, which the supercells must hold up to symmetry.
    frames : sequence of ase.Atoms
        Perturbed supercells with forces; ``info["ndsc_matrix"]`` is their supercell matrix, found from the cell where
        it is absent. The order of atoms does not matter.
    forces_key : str
        The array of the forces, eV/Å.
    largest_strain : float, optional
        Structures with a larger strain component are left out (and named in the result).
    symprec : float, Å, optional
        Tolerance of the symmetry search, when `structure` is Atoms.

    Returns
    -------
    HarmonicModel

    Raises
    ------
    InputError
        When a structure is not a perturbed supercell of the unit cell, lacks forces, or when the database does not
        determine the phonons at a q-point of the grid.
    """
    divisions = checked_grid(grid)
    crystal = as_crystal(structure, symprec=symprec)
    placed, forces, left_out = [], [], []
    for number, frame in enumerate(frames):
        one = place_frame(crystal.atoms, frame, number=number)
        if largest_strain is not None and np.max(np.abs(one.strain)) > largest_strain:
            left_out.append(one.name)
            continue
        placed.append(one)
        forces.append(one.from_frame(_forces_of(frame, forces_key, one.name)))
    if not placed:
        raise InputError(
            f"No structure is left to fit ({len(frames)} given, {len(left_out)} strained by more than {largest_strain}"
            "). Give structures with forces, or raise largest_strain."
        )
    action = SpaceGroupAction.of_crystal(crystal).preserving_grid(divisions)
    samples = [_samples(placed, forces, key) for key in dict.fromkeys(one.matrix.tobytes() for one in placed)]
    phi, internal_strain = solve_grid(samples, action, divisions)
    phonon = make_phonopy(crystal, divisions)
    set_force_constants(phonon, real_space_force_constants(phi, divisions), divisions)
    model = HarmonicModel(
        crystal=crystal,
        grid=divisions,
        phonopy=phonon,
        phi=phi,
        internal_strain=internal_strain,
        n_frames=len(placed),
        force_rmse=np.nan,
        force_rms=np.nan,
        left_out=tuple(left_out),
    )
    errors = [model._forces(one) - one.to_frame(true) for one, true in zip(placed, forces, strict=True)]
    squares = [np.concatenate([np.square(x).ravel() for x in group]) for group in (errors, forces)]
    rmse, rms = (float(np.sqrt(np.mean(group))) for group in squares)
    return replace(model, force_rmse=rmse, force_rms=rms)


def _forces_of(frame: Atoms, key: str, name: str) -> FloatArray:
    if key not in frame.arrays:
        raise InputError(
            f"{name} has no array {key!r}; it has {', '.join(sorted(frame.arrays))}. Give the key that its forces are "
            "under."
        )
    return numbers(frame.arrays[key], (len(frame), 3), f"the array of forces ({key}) of {name}")


def _samples(placed: Sequence[PlacedFrame], forces: Sequence[FloatArray], key: bytes) -> Samples:
    chosen = [i for i, one in enumerate(placed) if one.matrix.tobytes() == key]
    first = placed[chosen[0]]
    return Samples(
        matrix=first.matrix,
        lattice_points=first.lattice_points,
        displacements=np.array([placed[i].displacements for i in chosen]),
        forces=np.array([forces[i] for i in chosen]),
        names=tuple(placed[i].name for i in chosen),
        strains=np.array([placed[i].strain for i in chosen]),
    )
