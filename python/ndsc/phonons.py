"""Phonons of a model beside the reference's: one path, one mesh, one frequency axis (Allen and Bartók 2022, 2.3, 3.3).

Frequencies are in THz and imaginary ones are negative. Branches are compared in order of frequency at each q-point.
Model and reference may have slightly different lattices, each relaxed by itself: q-points are shared in reduced
coordinates, lengths along the path are the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.phonon.dos import TotalDos
from phonopy.phonon.mesh import Mesh
from phonopy.structure.symmetry import Symmetry

from ndsc.crystal import DEFAULT_SYMPREC
from ndsc.errors import InputError
from ndsc.force_constants import (
    SupercellPhonons,
    force_constants_from_labels,
    phonon_displacements,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
)
from ndsc.phonon_path import BandPath, band_path
from ndsc.qgrid import Grid, checked_grid, irreducible_qpoints

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

__all__ = [
    "BandPath",
    "PhononComparison",
    "SupercellPhonons",
    "band_path",
    "compare_phonons",
    "force_constants_from_labels",
    "phonon_displacements",
    "phonons_from_diagonal",
    "phonons_from_labels",
    "phonons_from_supercells",
]

#: Decimals of what is written to JSON: enough for any use, and files stay small.
DECIMALS = {"frequency": 6, "distance": 8, "qpoint": 10}
#: Points on the common frequency axis of the densities of states.
DOS_POINTS = 401
#: Largest strain between the lattices of model and reference.
LARGEST_STRAIN = 0.2


@dataclass(frozen=True, eq=False)
class PhononComparison:
    """Phonons of model and reference on the same q-points.

    Attributes
    ----------
    path_qpoints : (n, 3) float array
        Reduced coordinates along the path.
    path_distances : (n,) float array, 1/Å
        Length along the path, in the reference's reciprocal lattice.
    path_ticks, path_labels, path_segments : tuples
        Special points, and first and last index of each continuous piece (see :class:`BandPath`).
    model_path, reference_path : (n, n_bands) float array, THz
        Frequencies along the path.
    mesh : 3 ints
        Divisions of the mesh of the headline error.
    mesh_qpoints : (m, 3) float array
        Irreducible q-points of the mesh, reduced coordinates.
    mesh_weights : (m,) float array
        How many q-points of the mesh each stands for.
    model_mesh, reference_mesh : (m, n_bands) float array, THz
        Frequencies on the mesh.
    dos_mesh : 3 ints
        Divisions of the mesh of the densities of states.
    dos_frequencies : (k,) float array, THz
        Common frequency axis.
    model_dos, reference_dos : (k,) float array, 1/THz
        Densities of states, each with the number of bands as its integral.
    rmse_mesh_thz : float, THz
        Root mean square difference over the mesh, weighted.
    rmse_path_thz : float, THz
        Root mean square difference along the path, each q-point with the length of path that it stands for.
    max_error_thz : float, THz
        Largest difference on mesh and path.
    min_frequency_thz, reference_min_frequency_thz, reference_max_frequency_thz : float, THz
        Extreme frequencies of model and reference on mesh and path; negative for an instability.
    """

    path_qpoints: FloatArray
    path_distances: FloatArray
    path_ticks: tuple[float, ...]
    path_labels: tuple[str, ...]
    path_segments: tuple[tuple[int, int], ...]
    model_path: FloatArray
    reference_path: FloatArray
    mesh: Grid
    mesh_qpoints: FloatArray
    mesh_weights: FloatArray
    model_mesh: FloatArray
    reference_mesh: FloatArray
    dos_mesh: Grid
    dos_frequencies: FloatArray
    model_dos: FloatArray
    reference_dos: FloatArray
    rmse_mesh_thz: float
    rmse_path_thz: float
    max_error_thz: float
    min_frequency_thz: float
    reference_min_frequency_thz: float
    reference_max_frequency_thz: float

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists, for JSON; frequencies rounded to 1e-6 THz."""
        data: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = (np.round(value, _decimals(field.name)) + 0.0).tolist()
            elif isinstance(value, tuple):
                value = [list(item) if isinstance(item, tuple) else item for item in value]
            data[field.name] = value
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PhononComparison:
        """The comparison that :meth:`to_dict` wrote.

        Raises
        ------
        InputError
            When `data` lacks something.
        """
        tuples = {"path_ticks", "path_labels", "path_segments", "mesh", "dos_mesh"}
        values: dict[str, Any] = {}
        try:
            for field in fields(cls):
                value = data[field.name]
                if field.name in tuples:
                    value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
                elif isinstance(value, list):
                    value = np.array(value, dtype=float)
                values[field.name] = value
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This is no stored phonon comparison ({type(error).__name__}: {error}). Make it again with "
                "compare_phonons(...).to_dict()."
            ) from error
        return cls(**values)


def compare_phonons(
    model: Phonopy,
    reference: Phonopy,
    *,
    path: BandPath | None = None,
    mesh: int | Sequence[int] = (20, 20, 20),
    dos_mesh: int | Sequence[int] = (40, 40, 40),
) -> PhononComparison:
    """Compare the phonons of a model with the reference's.

    Parameters
    ----------
    model, reference : phonopy.Phonopy
        With force constants, of the same primitive cell up to a small strain, with its atoms in the same order.
    path : BandPath, optional
        In reduced coordinates of that cell; without it, that of the reference by :func:`band_path`.
    mesh : int or 3 ints
        Divisions of the Γ-centred mesh of the headline error.
    dos_mesh : int or 3 ints
        Divisions of the mesh of the densities of states (tetrahedron method).

    Returns
    -------
    PhononComparison

    Raises
    ------
    InputError
        When the two are of different crystals, or lack force constants.
    """
    _check_comparable(model, reference)
    chosen = path if path is not None else band_path(_primitive_atoms(reference))
    divisions, dos_divisions = checked_grid(mesh), checked_grid(dos_mesh)
    qpoints, weights = _irreducible_mesh(reference, divisions)
    on_path = [_frequencies(phonon, chosen.qpoints) for phonon in (model, reference)]
    on_mesh = [_frequencies(phonon, qpoints) for phonon in (model, reference)]
    dos_frequencies, densities = _densities((model, reference), dos_divisions)
    path_weights = _path_weights(chosen)
    everything = [np.concatenate([a, b]) for a, b in zip(on_path, on_mesh, strict=True)]
    return PhononComparison(
        path_qpoints=chosen.qpoints,
        path_distances=chosen.distances,
        path_ticks=chosen.ticks,
        path_labels=chosen.labels,
        path_segments=chosen.segments,
        model_path=on_path[0],
        reference_path=on_path[1],
        mesh=divisions,
        mesh_qpoints=qpoints,
        mesh_weights=weights,
        model_mesh=on_mesh[0],
        reference_mesh=on_mesh[1],
        dos_mesh=dos_divisions,
        dos_frequencies=dos_frequencies,
        model_dos=densities[0],
        reference_dos=densities[1],
        rmse_mesh_thz=_rmse(on_mesh[0], on_mesh[1], weights),
        rmse_path_thz=_rmse(on_path[0], on_path[1], path_weights),
        max_error_thz=float(np.max(np.abs(everything[0] - everything[1]))),
        min_frequency_thz=float(np.min(everything[0])),
        reference_min_frequency_thz=float(np.min(everything[1])),
        reference_max_frequency_thz=float(np.max(everything[1])),
    )


def _path_weights(path: BandPath) -> FloatArray:
    """(n,) array : the length of path that each q-point stands for (trapezoidal rule in each continuous piece)."""
    weights = np.zeros(len(path.qpoints))
    for first, last in path.segments:
        steps = np.diff(path.distances[first : last + 1])
        weights[first:last] += steps / 2
        weights[first + 1 : last + 1] += steps / 2
    return weights


def _primitive_atoms(phonon: Phonopy) -> Atoms:
    cell = phonon.primitive
    atoms = Atoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    if cell.magnetic_moments is not None:
        atoms.set_initial_magnetic_moments(cell.magnetic_moments)
    return atoms


def _check_comparable(model: Phonopy, reference: Phonopy) -> None:
    for name, phonon in (("model", model), ("reference", reference)):
        if phonon.force_constants is None:
            raise InputError(f"The {name} has no force constants. Produce or load them before the comparison.")
        if not np.all(np.isfinite(phonon.force_constants)):
            raise InputError(f"The force constants of the {name} are not all finite. Check its forces.")
    symbols = [list(phonon.primitive.symbols) for phonon in (model, reference)]
    if symbols[0] != symbols[1]:
        raise InputError(
            f"The primitive cells of model ({' '.join(symbols[0])}) and reference ({' '.join(symbols[1])}) differ. "
            "Make both from the same unit cell, with its atoms in the same order."
        )
    strain = np.linalg.solve(reference.primitive.cell, model.primitive.cell) - np.eye(3)
    if np.max(np.abs(strain)) > LARGEST_STRAIN:
        raise InputError(
            f"The primitive cells of model and reference differ by a strain of {np.max(np.abs(strain)):.2f}: they are "
            "of different crystals, or in different settings. Make both from the same unit cell."
        )


def _irreducible_mesh(phonon: Phonopy, divisions: Grid) -> tuple[FloatArray, FloatArray]:
    numerators, weights = irreducible_qpoints(_primitive_atoms(phonon), divisions)
    return numerators / np.array(divisions), weights.astype(float)


def _frequencies(phonon: Phonopy, qpoints: FloatArray) -> FloatArray:
    """(n, n_bands) array, THz : sorted frequencies at reduced q-points, imaginary ones negative.

    With a non-analytical correction, the zone centre takes the direction to the neighbouring q-point of the list.
    """
    frequencies = np.array(phonon.run_qpoints(qpoints).frequencies, dtype=float)
    if phonon.nac_params is not None and len(qpoints) > 1:
        for index in np.flatnonzero(np.max(np.abs(qpoints), axis=1) < 1e-9):
            neighbour = qpoints[index - 1] if index else qpoints[1]
            if np.max(np.abs(neighbour)) > 1e-9:
                found = phonon.run_qpoints(qpoints[index : index + 1], nac_q_direction=neighbour)
                frequencies[index] = found.frequencies[0]
    return np.sort(frequencies, axis=1)


def _densities(phonons: Sequence[Phonopy], divisions: Grid) -> tuple[FloatArray, list[FloatArray]]:
    """Densities of states of several phonons on one frequency axis."""
    meshes = []
    for phonon in phonons:
        # The symmetry of the primitive cell is asked for here: Phonopy objects of large supercells have none.
        symmetry = Symmetry(phonon.primitive, symprec=DEFAULT_SYMPREC)
        mesh = Mesh(
            phonon.dynamical_matrix,
            list(divisions),
            is_gamma_center=True,
            rotations=symmetry.pointgroup_operations,
            primitive_symmetry=symmetry,
            factor=phonon.unit_conversion_factor,
        )
        mesh.run()
        meshes.append(mesh)
    lowest = min(float(np.min(mesh.frequencies)) for mesh in meshes)
    highest = max(float(np.max(mesh.frequencies)) for mesh in meshes)
    margin = 0.02 * max(highest - lowest, 1e-3)
    axis = np.linspace(min(lowest, 0.0) - margin, highest + margin, DOS_POINTS)
    densities = []
    for mesh in meshes:
        density = TotalDos(mesh, use_tetrahedron_method=True)
        density.set_draw_area(axis[0], axis[-1], axis[1] - axis[0])
        density.run()
        # phonopy lays out its own axis with the step given; rounding may add a point at the end.
        densities.append(np.interp(axis, density.frequency_points, density.dos))
    return axis, densities


def _rmse(model: FloatArray, reference: FloatArray, weights: FloatArray) -> float:
    squares = np.mean((model - reference) ** 2, axis=1)
    return float(np.sqrt(np.average(squares, weights=weights)))


def _decimals(name: str) -> int:
    if name.endswith("qpoints"):
        return DECIMALS["qpoint"]
    return DECIMALS["distance"] if name == "path_distances" else DECIMALS["frequency"]
