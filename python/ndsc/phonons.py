"""Phonons of a model beside the reference's: one path, one mesh, one frequency axis (Allen and Bartók 2022, 2.3, 3.3).

Frequencies are in THz and imaginary ones are negative. Branches are compared in order of frequency at each q-point.
Model and reference may have slightly different lattices, each relaxed by itself: q-points are shared in reduced
coordinates, lengths along the path are the reference's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.phonon.dos import TotalDos
from phonopy.phonon.mesh import Mesh
from phonopy.structure.symmetry import Symmetry

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.force_constants import (
    HarmonicModel,
    SupercellPhonons,
    force_constants_from_labels,
    phonon_displacements,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
)
from ndsc.force_constants.polar import polar_modes
from ndsc.phonon_path import BandPath, band_path
from ndsc.qgrid import Grid, checked_grid, irreducible_qpoints
from ndsc.sheet import across_one

FloatArray = NDArray[np.float64]
#: What phonons are compared as.
Phonons: TypeAlias = SupercellPhonons | HarmonicModel | Phonopy

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

#: Decimals of arrays in JSON, by the end of their name: enough for any use, and files stay small.
DECIMALS = {"qpoints": 10, "distances": 8}
FREQUENCY_DECIMALS = 6
#: Arrays of a comparison, the densities of states last, which may be None.
ARRAYS = (
    "model_path", "reference_path", "mesh_qpoints", "mesh_weights", "model_mesh", "reference_mesh", "dos_frequencies",
    "model_dos", "reference_dos",
)  # fmt: skip
#: Numbers of a comparison that are written beside its arrays.
ERRORS = (
    "rmse_mesh_thz", "rmse_path_thz", "max_error_thz", "min_frequency_thz", "reference_min_frequency_thz",
    "reference_max_frequency_thz",
)  # fmt: skip
#: Points on the common frequency axis of the densities of states.
DOS_POINTS = 401
#: A mesh of densities of states, one by the size and symmetry of the crystal, or none.
DosMesh: TypeAlias = Grid | Literal["auto"] | None
#: Divisions of the mesh of densities of states, and the modes at its irreducible q-points (over three) above which it
#: is coarser: the tetrahedron method takes most of a comparison where the symmetry is low.
DOS_DIVISIONS, DOS_MODES = 40, 8000
#: Largest strain between the lattices of model and reference.
LARGEST_STRAIN = 0.2


@dataclass(frozen=True)
class PolarComparison:
    """Longitudinal and transverse optical modes of model and reference at the zone centre.

    Attributes
    ----------
    towards : str
        The special point that q goes to zero from.
    direction : tuple of 3 floats
        The same in reduced coordinates.
    model_transverse, model_longitudinal, reference_transverse, reference_longitudinal : tuple of floats, THz
        See :class:`~ndsc.force_constants.polar.PolarModes`.
    """

    towards: str
    direction: tuple[float, float, float]
    model_transverse: tuple[float, ...]
    model_longitudinal: tuple[float, ...]
    reference_transverse: tuple[float, ...]
    reference_longitudinal: tuple[float, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolarComparison:
        """The comparison of a mapping of its attributes, as JSON has them."""
        values: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in data.items()}
        return cls(**values)

    def like(self, other: PolarComparison) -> bool:
        """Whether the modes along another direction are the same."""
        ours, theirs = (
            [one.model_transverse, one.model_longitudinal, one.reference_transverse, one.reference_longitudinal]
            for one in (self, other)
        )
        return all(len(a) == len(b) and np.allclose(a, b, atol=1e-3) for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True, eq=False)
class PhononComparison:
    """Phonons of model and reference on the same q-points.

    Attributes
    ----------
    path : BandPath
        Reduced coordinates along the path; lengths are in the reference's reciprocal lattice.
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
    dos_mesh : 3 ints or None
        Divisions of the mesh of the densities of states; None, as the arrays below, when they were left out.
    dos_frequencies : (k,) float array or None, THz
        Common frequency axis.
    model_dos, reference_dos : (k,) float array or None, 1/THz
        Densities of states, each with the number of bands as its integral.
    warnings : tuple of str
        What the phonons of the reference and of the model say of themselves (see :class:`SupercellPhonons`).
    polar : tuple of PolarComparison
        Longitudinal and transverse modes at the zone centre, where both have Born charges.
    """

    path: BandPath
    model_path: FloatArray
    reference_path: FloatArray
    mesh: Grid
    mesh_qpoints: FloatArray
    mesh_weights: FloatArray
    model_mesh: FloatArray
    reference_mesh: FloatArray
    dos_mesh: Grid | None = None
    dos_frequencies: FloatArray | None = None
    model_dos: FloatArray | None = None
    reference_dos: FloatArray | None = None
    warnings: tuple[str, ...] = ()
    polar: tuple[PolarComparison, ...] = ()

    @property
    def rmse_mesh_thz(self) -> float:
        """Root mean square difference over the mesh, weighted, THz."""
        return _rmse(self.model_mesh, self.reference_mesh, self.mesh_weights)

    @property
    def rmse_path_thz(self) -> float:
        """Root mean square difference along the path, each q-point with the length that it stands for, THz."""
        return _rmse(self.model_path, self.reference_path, self.path.weights)

    @property
    def max_error_thz(self) -> float:
        """Largest difference on mesh and path, THz."""
        differences = (self.model_path - self.reference_path, self.model_mesh - self.reference_mesh)
        return max(float(np.max(np.abs(difference))) for difference in differences)

    @property
    def min_frequency_thz(self) -> float:
        """Lowest frequency of the model on mesh and path, THz; negative for an instability."""
        return float(min(self.model_path.min(), self.model_mesh.min()))

    @property
    def reference_min_frequency_thz(self) -> float:
        """Lowest frequency of the reference on mesh and path, THz; negative for an instability."""
        return float(min(self.reference_path.min(), self.reference_mesh.min()))

    @property
    def reference_max_frequency_thz(self) -> float:
        """Highest frequency of the reference on mesh and path, THz."""
        return float(max(self.reference_path.max(), self.reference_mesh.max()))

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists, for JSON; frequencies rounded to 1e-6 THz."""
        path = {f"path_{field.name}": getattr(self.path, field.name) for field in fields(self.path)}
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("path", "polar")}
        data = {name: _plain(name, value) for name, value in (path | own).items()}
        data["polar"] = [asdict(modes) for modes in self.polar]
        return data | {name: round(getattr(self, name), FREQUENCY_DECIMALS) for name in ERRORS}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PhononComparison:
        """The comparison that :meth:`to_dict` wrote.

        Raises
        ------
        InputError
            When `data` lacks something.
        """
        try:
            path = BandPath(
                qpoints=np.array(data["path_qpoints"], dtype=float),
                distances=np.array(data["path_distances"], dtype=float),
                ticks=tuple(data["path_ticks"]),
                labels=tuple(data["path_labels"]),
                segments=tuple((int(first), int(last)) for first, last in data["path_segments"]),
            )
            arrays: dict[str, Any] = {}
            for name in ARRAYS:
                arrays[name] = None if data[name] is None else np.array(data[name], dtype=float)
            dos_mesh = None if data["dos_mesh"] is None else checked_grid(data["dos_mesh"])
            warnings = tuple(data.get("warnings", ()))
            polar = tuple(PolarComparison.from_dict(one) for one in data.get("polar", ()))
            mesh = checked_grid(data["mesh"])
            return cls(path=path, mesh=mesh, dos_mesh=dos_mesh, warnings=warnings, polar=polar, **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This is not a stored phonon comparison ({type(error).__name__}: {error}). Make it again with "
                "compare_phonons(...).to_dict()."
            ) from error


def compare_phonons(
    model: Phonons,
    reference: Phonons,
    *,
    path: BandPath | None = None,
    mesh: int | Sequence[int] = (20, 20, 20),
    dos_mesh: int | Sequence[int] | Literal["auto"] | None = "auto",
    symprec: float | None = None,
) -> PhononComparison:
    """Compare the phonons of a model with the reference's.

    Parameters
    ----------
    model, reference : SupercellPhonons, HarmonicModel or phonopy.Phonopy
        With force constants, of the same primitive cell up to a small strain, with its atoms in the same order.
    path : BandPath, optional
        In reduced coordinates of that cell; without it, that of the reference by :func:`band_path`.
    mesh : int or 3 ints
        Divisions of the Γ-centred mesh of the headline error; of a sheet there is one across it, whatever is given.
    dos_mesh : int or 3 ints, "auto" or None
        Divisions of the mesh of the densities of states (tetrahedron method): by default 40, or fewer for a crystal of
        many atoms and few symmetries. None leaves the densities out.
    symprec : float, Å, optional
        Tolerance of the symmetry search, for a reference that is a Phonopy object; the others know their symmetry.

    Returns
    -------
    PhononComparison

    Raises
    ------
    InputError
        When the two are of different crystals, or lack force constants.
    """
    phonons = [given if isinstance(given, Phonopy) else given.phonopy for given in (model, reference)]
    _check_comparable(*phonons)
    if isinstance(reference, Phonopy):
        crystal = as_crystal(_primitive_atoms(reference), symprec=symprec)
    else:
        crystal = as_crystal(reference.crystal, symprec=symprec)
    chosen = path if path is not None else band_path(crystal)
    divisions = across_one(checked_grid(mesh)) if crystal.is_sheet else checked_grid(mesh)
    qpoints, weights = irreducible_qpoints(crystal, divisions)
    on_path = [sorted_frequencies(phonon, chosen.qpoints) for phonon in phonons]
    on_mesh = [sorted_frequencies(phonon, qpoints) for phonon in phonons]
    densities: dict[str, Any] = {}
    if dos_mesh is not None:
        divisions_of_dos = _dos_divisions(crystal) if isinstance(dos_mesh, str) else checked_grid(dos_mesh)
        if crystal.is_sheet:
            divisions_of_dos = across_one(divisions_of_dos)
        axis, (model_dos, reference_dos) = densities_of_states(phonons, crystal, divisions_of_dos)
        densities = {"dos_mesh": divisions_of_dos, "dos_frequencies": axis}
        densities |= {"model_dos": model_dos, "reference_dos": reference_dos}
    return PhononComparison(
        path=chosen,
        model_path=on_path[0],
        reference_path=on_path[1],
        mesh=divisions,
        mesh_qpoints=qpoints,
        mesh_weights=weights.astype(float),
        model_mesh=on_mesh[0],
        reference_mesh=on_mesh[1],
        warnings=_warnings_of(reference, "reference") + _warnings_of(model, "model"),
        polar=_polar(phonons, chosen),
        **densities,
    )


def polar_directions(path: BandPath) -> dict[str, FloatArray]:
    """Reduced directions in which a path leaves the zone centre, by the special point that they lead to."""
    found: dict[str, FloatArray] = {}
    for leg in itertools.chain.from_iterable(itertools.pairwise(section) for section in path.special_points):
        for (label, centre), (name, point) in (leg, leg[::-1]):
            if label == "Γ" and np.max(np.abs(centre)) < 1e-9:
                found.setdefault(name, point)
    return found


def _polar(phonons: Sequence[Phonopy], path: BandPath) -> tuple[PolarComparison, ...]:
    """Polar modes of model and reference, for the directions of the path in which they differ."""
    if any(phonon.nac_params is None for phonon in phonons):
        return ()
    directions = polar_directions(path)
    model, reference = (polar_modes(phonon, list(directions.values())) for phonon in phonons)
    found: list[PolarComparison] = []
    for name, ours, theirs in zip(directions, model, reference, strict=True):
        one = PolarComparison(
            name, theirs.direction, ours.transverse, ours.longitudinal, theirs.transverse, theirs.longitudinal
        )
        if not any(one.like(other) for other in found):
            found.append(one)
    return tuple(found)


def _warnings_of(phonons: Phonons, whose: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(phonons, "warnings", ())
    return tuple(f"Phonons of the {whose}: {text}" for text in found)


def _primitive_atoms(phonon: Phonopy) -> Atoms:
    cell = phonon.primitive
    atoms = Atoms(
        numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, masses=cell.masses, pbc=True
    )
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


def sorted_frequencies(phonon: Phonopy, qpoints: FloatArray) -> FloatArray:
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


def _dos_divisions(crystal: Crystal) -> Grid:
    modes = DOS_DIVISIONS**3 * len(crystal.atoms) / len(crystal.point_group)
    divisions = round(DOS_DIVISIONS * min(1.0, (DOS_MODES / modes) ** (1 / 3)))
    return (DOS_DIVISIONS, DOS_DIVISIONS, 1) if crystal.is_sheet else (divisions, divisions, divisions)


def densities_of_states(
    phonons: Sequence[Phonopy], crystal: Crystal, divisions: Grid | None = None
) -> tuple[FloatArray, list[FloatArray]]:
    """Densities of states of a crystal by the tetrahedron method, on one frequency axis.

    Parameters
    ----------
    phonons : sequence of phonopy.Phonopy
        With force constants, of the same primitive cell.
    crystal : Crystal
        That cell, whose symmetry reduces the mesh.
    divisions : 3 ints, optional
        Divisions of the Γ-centred mesh: by default 40, or fewer for a crystal of many atoms and few symmetries.

    Returns
    -------
    axis : (m,) array, THz
    densities : list of (m,) arrays, 1/THz
        Each integrates to the number of bands.
    """
    divisions = _dos_divisions(crystal) if divisions is None else divisions
    meshes = []
    for phonon in phonons:
        # phonopy reduces the mesh by its own symmetry only, which does not tell isotopes apart.
        symmetry = Symmetry(phonon.primitive, symprec=crystal.symprec)
        is_same = not crystal.is_magnetic and len(symmetry.pointgroup_operations) == len(crystal.point_group)
        mesh = Mesh(
            phonon.dynamical_matrix,
            list(divisions),
            is_gamma_center=True,
            rotations=crystal.point_group,
            primitive_symmetry=symmetry if is_same else None,
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


def _plain(name: str, value: Any) -> Any:
    """A value for JSON, with arrays rounded to what its name says."""
    if isinstance(value, np.ndarray):
        decimals = next((number for ending, number in DECIMALS.items() if name.endswith(ending)), FREQUENCY_DECIMALS)
        return (np.round(value, decimals) + 0.0).tolist()
    if isinstance(value, tuple):
        return [list(item) if isinstance(item, tuple) else item for item in value]
    return value
