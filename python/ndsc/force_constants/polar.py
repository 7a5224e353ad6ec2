"""Longitudinal and transverse optical modes at the zone centre of a polar crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from phonopy import Phonopy

from ndsc.errors import InputError
from ndsc.force_constants.space_group import FloatArray

#: Modes closer than this are one oscillator, THz.
SAME_FREQUENCY = 1e-3
#: An oscillator with a smaller part of the dipole along q is none.
SMALLEST_PART = 1e-4


@dataclass(frozen=True)
class PolarModes:
    """The modes that the electric field along one direction couples to, as q goes to zero.

    Attributes
    ----------
    direction : tuple of 3 floats
        Of q, reduced coordinates.
    transverse, longitudinal : tuple of floats, THz
        Without and with the field, as many of each, in order of frequency: the field mixes what couples to it, and
        between two transverse frequencies lies one longitudinal. Imaginary frequencies are negative.
    """

    direction: tuple[float, float, float]
    transverse: tuple[float, ...]
    longitudinal: tuple[float, ...]


def polar_modes(phonon: Phonopy, directions: Sequence[ArrayLike]) -> list[PolarModes]:
    """Longitudinal optical modes and the transverse ones that they come from, at the zone centre.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        With force constants and parameters of the non-analytical correction.
    directions : sequence of (3,) arrays
        Directions of q, reduced coordinates, not zero.

    Raises
    ------
    InputError
        When there are no Born charges, or a direction is zero.
    """
    if phonon.nac_params is None:
        raise InputError("These phonons have no Born charges, so that no mode is longitudinal. Give nac_params.")
    found = []
    for given in directions:
        direction = np.asarray(given, dtype=float)
        if not np.any(direction):
            raise InputError("The direction of q is zero. Give the direction along which q goes to zero.")
        dipoles = _dipoles(phonon, direction)
        transverse = _coupled(phonon, _matrix(phonon, None), dipoles)
        longitudinal = _coupled(phonon, _matrix(phonon, direction), dipoles)
        number = min(len(transverse), len(longitudinal))
        axis = tuple(float(x) for x in direction)
        found.append(PolarModes((axis[0], axis[1], axis[2]), transverse[:number], longitudinal[:number]))
    return found


def _matrix(phonon: Phonopy, direction: FloatArray | None) -> FloatArray:
    """(3n, 3n) array : the dynamical matrix at the zone centre, which is real."""
    dynamical = phonon.dynamical_matrix
    dynamical.run(np.zeros(3), q_direction=direction)
    return np.array(dynamical.dynamical_matrix).real


def _dipoles(phonon: Phonopy, direction: FloatArray) -> FloatArray:
    """(3n,) array : the dipole along q for each mass-weighted displacement, normalised."""
    along = np.linalg.inv(phonon.primitive.cell) @ direction
    charges = np.einsum("i,aij->aj", along, np.asarray(phonon.nac_params["born"]))
    weighted = (charges / np.sqrt(phonon.primitive.masses)[:, None]).ravel()
    size = float(np.linalg.norm(weighted))
    return np.asarray(weighted / size if size > 0 else weighted)


def _coupled(phonon: Phonopy, matrix: FloatArray, dipoles: FloatArray) -> tuple[float, ...]:
    """Frequencies of the modes with a dipole along q, each once."""
    values, modes = np.linalg.eigh(matrix)
    frequencies = np.sign(values) * np.sqrt(np.abs(values)) * phonon.unit_conversion_factor
    parts = np.square(modes.T @ dipoles)
    groups = np.concatenate([[0], np.cumsum(np.diff(frequencies) > SAME_FREQUENCY)])
    totals = np.bincount(groups, parts)
    means = np.bincount(groups, frequencies) / np.bincount(groups)
    return tuple(float(mean) for mean, total in zip(means, totals, strict=True) if total > SMALLEST_PART)
