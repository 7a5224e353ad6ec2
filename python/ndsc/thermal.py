"""Supercells whose atoms are displaced as a temperature displaces them, by the harmonic model of their phonons.

Displacements of a harmonic crystal are normally distributed. In a supercell, which holds as many q-points as unit
cells, independent normal numbers, one for each coordinate, are taken to these q-points, multiplied with the square root
of the covariance of the mass-weighted coordinates there, ``E diag(s) E^H``, and taken back. ``s^2`` of a mode of
angular frequency w is ``hbar / (2 w) coth(hbar w / 2 kT)`` with quantum statistics and ``kT / w^2`` with classical
ones. As in phonopy, an imaginary mode has the displacements of a real one with the absolute value of its frequency, and
modes below a cutoff frequency have none: translations, and what is too soft for a harmonic model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.geometry import find_mic
from numpy.typing import ArrayLike, NDArray
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import get_dynamical_matrix

from ndsc import _core
from ndsc.configurations import (
    ConfigurationSettings,
    check_memory,
    deformed,
    make_configurations,
    normal_numbers,
    symmetric_strain,
    uniform_stream,
)
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants import SupercellPhonons
from ndsc.integers import checked_matrix
from ndsc.progress import Progress, silent
from ndsc.qgrid import available_memory
from ndsc.sublattices import make_supercell
from ndsc.supercells import SupercellSet

FloatArray = NDArray[np.float64]
Statistics = Literal["quantum", "classical"]

#: Modes with a lower frequency than this, real or imaginary, are not displaced, THz: phonopy's value.
CUTOFF_THZ = 0.01
#: Displacements are rounded to this many decimals of an ångström: far below what matters, and far above how force
#: constants differ between machines, so that one seed gives the same structures on all of them.
DECIMALS = 4
#: A crystal whose atoms move by more than this part of the distance between neighbours would melt (Lindemann).
LINDEMANN = 0.2
#: Reduced coordinates of atoms of one crystal differ by less than this, also when it was relaxed otherwise.
SAME_PLACE = 0.1
#: Cell vectors of one crystal differ by less than this strain.
LARGEST_STRAIN = 0.2
_HBAR = units._hbar * units.J * units.second


@dataclass(frozen=True, eq=False)
class HarmonicSampler:
    """Random displacements of a crystal in supercells of any shape, from its force constants.

    Attributes
    ----------
    crystal : Crystal
        The unit cell.
    phonopy : phonopy.Phonopy
        With force constants; its primitive cell is that unit cell, up to a small strain. Born charges have no effect:
        at the q-points of the grid the force constants are exact without them.
    statistics : str
        ``"quantum"`` or ``"classical"``.
    cutoff_frequency : float, THz
        Modes with a lower frequency, real or imaginary, have no displacement.
    """

    crystal: Crystal
    phonopy: Phonopy
    statistics: Statistics = "quantum"
    cutoff_frequency: float = CUTOFF_THZ

    def __post_init__(self) -> None:
        if self.statistics not in ("quantum", "classical"):
            raise InputError(f"statistics = {self.statistics!r} is not known. Give 'quantum' or 'classical'.")
        _check_fits(self.phonopy, self.crystal)

    def roots(self, matrix: ArrayLike, temperature: float) -> tuple[FloatArray, NDArray[np.complex128]]:
        """The q-points of a supercell, and the square root of the covariance of its mass-weighted coordinates there.

        Parameters
        ----------
        matrix : (3, 3) int array
            The supercell.
        temperature : float, K

        Returns
        -------
        qpoints : (N, 3) array
            Reduced.
        roots : (N, 3n, 3n) complex array, Å amu^1/2
        """
        qpoints = commensurate_qpoints(matrix)
        phonon = self.phonopy
        dynamical = get_dynamical_matrix(phonon.force_constants, phonon.supercell, phonon.primitive)
        n_modes = 3 * len(self.crystal.atoms)
        found = np.empty((len(qpoints), n_modes, n_modes), dtype=complex)
        for number, qpoint in enumerate(qpoints):
            dynamical.run(qpoint)
            values, vectors = np.linalg.eigh(dynamical.dynamical_matrix)
            frequencies = np.sqrt(np.abs(values)) * phonon.unit_conversion_factor
            deviations = mode_deviations(
                frequencies, temperature, self.statistics, cutoff_frequency=self.cutoff_frequency
            )
            found[number] = (vectors * deviations) @ vectors.conj().T
        return qpoints, found

    def displacements(self, matrix: ArrayLike, temperature: float, normals: ArrayLike) -> FloatArray:
        """Displacements of the atoms of a supercell, in the order of :func:`~ndsc.make_supercell`.

        Parameters
        ----------
        matrix : (3, 3) int array
        temperature : float, K
        normals : (..., 3m) array
            Independent numbers of a standard normal distribution, for the m atoms of the supercell.

        Returns
        -------
        (..., m, 3) array, Å
        """
        return _Modes(self, matrix, temperature).displaced(np.asarray(normals, dtype=float))

    def rms(self, matrix: ArrayLike, temperature: float) -> float:
        """Root of the expected mean square of a Cartesian component of the displacements in a supercell, Å."""
        return _Modes(self, matrix, temperature).rms


class _Modes:
    """The modes of one supercell at one temperature."""

    def __init__(self, sampler: HarmonicSampler, matrix: ArrayLike, temperature: float) -> None:
        atoms = sampler.crystal.atoms
        self.qpoints, self.roots = sampler.roots(matrix, temperature)
        perfect = make_supercell(atoms, matrix)
        self.basis = perfect.arrays["ndsc_basis"]
        masses = np.asarray(sampler.phonopy.primitive.masses, dtype=float)
        self.masses = masses[self.basis]
        reduced = perfect.positions @ np.linalg.inv(atoms.cell.array)
        self.phases = np.exp(2j * np.pi * (self.qpoints @ reduced.T))
        squares = np.einsum("qab,qab->qa", self.roots, self.roots.conj()).real.mean(axis=0)
        self.rms = float(np.sqrt(np.mean(squares / np.repeat(masses, 3))))

    def displaced(self, normals: FloatArray) -> FloatArray:
        """See :meth:`HarmonicSampler.displacements`."""
        n_basis, n_cells = len(self.roots[0]) // 3, len(self.qpoints)
        drawn = normals.reshape(-1, len(self.basis), 3)
        # To the q-points, and for each atom of the unit cell over its images; atoms of a cell lie side by side.
        waves = np.einsum("qa,sai->sqai", self.phases.conj(), drawn).reshape(-1, n_cells, n_cells, n_basis, 3)
        amplitudes = waves.sum(axis=2).reshape(-1, n_cells, 3 * n_basis)
        shaped = np.einsum("qab,sqb->sqa", self.roots, amplitudes).reshape(-1, n_cells, n_basis, 3)
        # What is imaginary cancels between q and -q.
        moved = np.einsum("qa,sqai->sai", self.phases, shaped[:, :, self.basis]).real
        moved /= n_cells * np.sqrt(self.masses)[:, None]
        return np.asarray(moved.reshape(*normals.shape[:-1], len(self.basis), 3))


def mode_deviations(
    frequencies: ArrayLike, temperature: float, statistics: Statistics, *, cutoff_frequency: float = CUTOFF_THZ
) -> FloatArray:
    """Standard deviations of the mass-weighted normal coordinates of modes.

    Parameters
    ----------
    frequencies : array, THz
        Absolute values.
    temperature : float, K
    statistics : str
        ``"quantum"``, with the motion of zero temperature, or ``"classical"``.
    cutoff_frequency : float, THz
        Modes below have none.

    Returns
    -------
    array, Å amu^1/2
    """
    given = np.asarray(frequencies, dtype=float)
    omega = 2e12 * np.pi * np.maximum(given, cutoff_frequency or 1e-12) / units.second
    thermal = units.kB * temperature
    if statistics == "classical":
        squares = thermal / omega**2
    else:
        quantum = _HBAR * omega
        occupied = 1.0 / np.expm1(np.minimum(quantum / thermal, 700.0)) if temperature > 0 else 0.0 * omega
        squares = _HBAR / (2 * omega) * (1 + 2 * occupied)
    return np.asarray(np.where(given < cutoff_frequency, 0.0, np.sqrt(squares)))


def commensurate_qpoints(matrix: ArrayLike) -> FloatArray:
    """(N, 3) array : reduced coordinates of the q-points that a supercell with N unit cells holds."""
    checked = checked_matrix(matrix)
    # S q is integer, and q counts modulo integers: the points of Z^3 modulo the columns of S.
    numerators = _core.lattice_points(np.ascontiguousarray(checked.T), available_memory())
    return np.asarray(np.linalg.solve(checked.astype(float), numerators.T).T)


def thermal_configurations(
    supercells: SupercellSet,
    phonons: SupercellPhonons | Phonopy,
    *,
    temperature: float | Sequence[float],
    statistics: Statistics = "quantum",
    cutoff_frequency: float = CUTOFF_THZ,
    per_supercell: int = 20,
    strain: float = 0.0,
    scale: float | Sequence[float] = 1.0,
    unit_cells: int = 1,
    seed: int = 0,
    first_index: int = 0,
    part: str | None = None,
    progress: Progress = silent,
) -> list[Atoms]:
    """Supercells of a set with displacements of the harmonic crystal at a temperature, and with strains.

    Configuration i of a supercell is scaled by ``scale[i % len(scale)]``, strained, and has the temperature
    ``temperature[(i // len(scale)) % len(temperature)]``. Force constants are those of the unstrained crystal.

    Parameters
    ----------
    supercells : SupercellSet
    phonons : SupercellPhonons or phonopy.Phonopy
        With force constants of the same unit cell: of the reference, or of any other potential.
    temperature : float or sequence of floats, K
        Several are taken in turn.
    statistics : str
        ``"quantum"``, with zero-point motion, or ``"classical"``, as in molecular dynamics.
    cutoff_frequency : float, THz
        Modes below have no displacement. Imaginary modes count with their absolute value.
    per_supercell, strain, scale, unit_cells, seed, first_index, part
        As for :func:`~ndsc.make_configurations`. Of the unit cells, the first is unperturbed.
    progress : callable
        Called with ("configurations", supercells done, all).

    Returns
    -------
    list of ase.Atoms
        As of :func:`~ndsc.make_configurations`; ``info`` has ``ndsc_temperature`` and ``ndsc_statistics``, and as
        ``ndsc_displacement`` the root mean square that is expected of a component in that supercell, Å.

    Raises
    ------
    InputError
        When a number is out of its range, or the force constants are of another crystal.
    """
    settings = ConfigurationSettings.parse(
        {
            "name": part, "per_supercell": per_supercell, "strain": strain, "scale": scale, "unit_cells": unit_cells,
            "seed": seed, "temperature": temperature, "statistics": statistics, "cutoff_frequency": cutoff_frequency,
        },
        "The arguments",
    )  # fmt: skip
    check_memory(supercells, settings)
    crystal = supercells.crystal
    phonon = phonons if isinstance(phonons, Phonopy) else phonons.phonopy
    sampler = HarmonicSampler(crystal, phonon, statistics, cutoff_frequency)
    prefix = "" if part is None else f"{part}-"
    temperatures, scales = settings.temperature or (), settings.scale
    known: dict[tuple[bytes, float], _Modes] = {}

    def drawn(name: str, kind: str, matrix: NDArray[np.int64], index: int) -> Atoms:
        kelvin = temperatures[(index // len(scales)) % len(temperatures)]
        key = matrix.tobytes(), kelvin
        if key not in known:
            known[key] = _Modes(sampler, matrix, kelvin)
        modes = known[key]
        recipe: dict[str, Any] = {
            "ndsc_name": prefix + name,
            "config_type": kind,
            "ndsc_matrix": matrix.reshape(9),
            "ndsc_seed": seed,
            "ndsc_index": index,
            "ndsc_scale": scales[index % len(scales)],
            "ndsc_strain": settings.strain,
            "ndsc_displacement": round(modes.rms, 3),
            "ndsc_temperature": kelvin,
            "ndsc_statistics": statistics,
            **({} if part is None else {"ndsc_part": part}),
            **({"ndsc_sheet": True} if crystal.is_sheet else {}),
        }
        return _drawn(crystal.atoms, matrix, modes, recipe)

    identity = np.eye(3, dtype=np.int64)
    # The unperturbed unit cell is that of any other part.
    found = make_configurations(supercells, per_supercell=0, unit_cells=min(unit_cells, 1), seed=seed, part=part)
    found += [drawn(f"unit-{i:04d}", "unit_cell", identity, i) for i in range(1, unit_cells)]
    for number, matrix in enumerate(supercells.matrices):
        progress("configurations", number, len(supercells))
        found += [
            drawn(f"s{number:03d}-t{i:04d}", "thermal", np.ascontiguousarray(matrix), i)
            for i in range(first_index, first_index + per_supercell)
        ]
        known.clear()
    progress("configurations", len(supercells), len(supercells))
    return found


def displacement_warning(
    supercells: SupercellSet,
    phonons: SupercellPhonons | Phonopy,
    temperature: float,
    statistics: Statistics,
    *,
    cutoff_frequency: float = CUTOFF_THZ,
) -> str | None:
    """What to say when atoms are displaced further than a harmonic model holds; None when they are not."""
    phonon = phonons if isinstance(phonons, Phonopy) else phonons.phonopy
    sampler = HarmonicSampler(supercells.crystal, phonon, statistics, cutoff_frequency)
    largest = max(sampler.rms(matrix, temperature) for matrix in supercells.matrices)
    distance = nearest_distance(supercells.crystal.atoms)
    # The usual measure is the length of the displacement, of three components.
    part = np.sqrt(3) * largest / distance
    if part <= LINDEMANN:
        return None
    return (
        f"At {temperature:g} K the harmonic model displaces atoms by {np.sqrt(3) * largest:.2f} Å on average, "
        f"{100 * part:.0f} % of the distance between neighbours: the crystal has soft or imaginary modes, and the "
        "displacements are meaningless. Lower the temperature, or raise cutoff_frequency above those modes."
    )


def nearest_distance(atoms: Atoms) -> float:
    """The shortest distance between two atoms of a crystal, images included, Å."""
    reduced = np.asarray(atoms.cell.minkowski_reduce()[0])
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ reduced
    between = atoms.positions[:, None] - atoms.positions[None]
    between = find_mic(between.reshape(-1, 3), atoms.cell, pbc=True)[0].reshape(len(atoms), len(atoms), 3)
    distances = np.linalg.norm(between[:, :, None] + shifts, axis=-1)
    return float(distances[distances > 1e-6].min())


def load_force_constants(path: str | Path) -> Phonopy:
    """Force constants from a file of phonopy: ``phonopy_params.yaml``, or a ``phonopy.yaml`` beside FORCE_SETS.

    Raises
    ------
    InputError
        When there is no such file, or it has no force constants.
    """
    import phonopy

    if not Path(path).is_file():
        raise InputError(
            f"There is no file {path} with force constants. Give one of phonopy, as ndsc phonons --out writes it: "
            "phonopy_params.yaml."
        )
    try:
        phonon = phonopy.load(path, is_nac=False, log_level=0, symmetrize_fc=False)
    except Exception as error:  # phonopy has many, for files that are none of its own
        raise InputError(
            f"{path} cannot be read as a file of phonopy ({type(error).__name__}: {error}). Give one with force "
            "constants, as ndsc phonons --out writes it."
        ) from error
    if phonon.force_constants is None:
        raise InputError(f"{path} has no force constants. Write them with ndsc phonons --out, or phonopy's --writefc.")
    return phonon


def _drawn(unit_cell: Atoms, matrix: NDArray[np.int64], modes: _Modes, recipe: dict[str, Any]) -> Atoms:
    perfect = make_supercell(unit_cell, matrix)
    text = f"{recipe['ndsc_seed']}|{matrix.reshape(9).tolist()}|{recipe['ndsc_index']}"
    uniform = uniform_stream(text)
    strain = symmetric_strain(uniform(6), recipe["ndsc_strain"])
    displacements = np.round(modes.displaced(normal_numbers(uniform, 3 * len(perfect))), DECIMALS)
    return deformed(perfect, strain, displacements, recipe)


def _check_fits(phonon: Phonopy, crystal: Crystal) -> None:
    """Refuse force constants of another crystal, or of the same one in another cell.

    Raises
    ------
    InputError
        Saying what differs.
    """
    if phonon.force_constants is None:
        raise InputError("The phonons have no force constants. Produce them first.")
    cell, atoms = phonon.primitive, crystal.atoms
    why = ""
    if list(cell.symbols) != atoms.get_chemical_symbols():
        why = f"its cell holds {' '.join(cell.symbols)}, the crystal {' '.join(atoms.get_chemical_symbols())}"
    elif (strain := np.max(np.abs(np.linalg.solve(atoms.cell.array, cell.cell) - np.eye(3)))) > LARGEST_STRAIN:
        why = f"the cell vectors differ by a strain of {strain:.2f}"
    else:
        apart = cell.scaled_positions - atoms.get_scaled_positions(wrap=False)
        moved = np.max(np.abs(apart - np.rint(apart)))
        if moved > SAME_PLACE:
            why = f"atoms differ by {moved:.2f} of a cell vector"
    if why:
        raise InputError(
            f"The force constants belong to another crystal, or to another cell of it: {why}. Give those of the same "
            "unit "
            "cell, with its atoms in the same order."
        )
