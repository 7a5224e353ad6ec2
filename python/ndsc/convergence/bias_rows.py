"""The numbers of a comparison with a limit: forces, virials, lengths, frequencies, elastic constants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.convergence.bias_table import BiasRow, BiasTargets
from ndsc.convergence.differences import MILLI, virial_differences
from ndsc.convergence.scan import NO_FORCE
from ndsc.crystal import Crystal
from ndsc.elastic import ElasticConstants
from ndsc.errors import InputError
from ndsc.reference import Label

FloatArray = NDArray[np.float64]

#: The smallest change of a frequency that is allowed, as a share of what the highest one may change.
SOFT = 0.1
#: Frequencies of one q-point that are closer are one mode with several polarisations, THz.
DEGENERATE = 0.01


@dataclass(frozen=True, eq=False)
class Modes:
    """(n, 3) reduced q-points and (n, n_modes) frequencies, THz, in ascending order."""

    qpoints: FloatArray
    frequencies: FloatArray


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def force_rows(
    configurations: Sequence[Atoms], labels: Sequence[Label], limits: Sequence[Label], targets: BiasTargets
) -> Iterator[BiasRow]:
    """One row for each configuration that has forces."""
    found = False
    for atoms, label, limit in zip(configurations, labels, limits, strict=True):
        size = MILLI * _rms(limit.forces)
        if size > MILLI * NO_FORCE:
            found = True
            change = MILLI * _rms(label.forces - limit.forces)
            yield BiasRow(
                "forces", str(atoms.info["ndsc_name"]), "meV/Å", MILLI * _rms(label.forces), size, change,
                allowed=0.01 * targets.forces * size,
            )  # fmt: skip
    if not found:
        raise InputError(
            f"None of the {len(configurations)} configurations has forces. Take displaced supercells, or leave forces "
            "out."
        )


def virial_rows(
    configurations: Sequence[Atoms], labels: Sequence[Label], limits: Sequence[Label], targets: BiasTargets
) -> Iterator[BiasRow]:
    """One row for each configuration; the constant that all changes share is in the lattice."""
    changes = virial_differences(configurations, labels, limits)
    if changes is None:
        raise InputError("A calculation gave no stress, so virials cannot be compared. Leave them out.")
    for atoms, label, limit, change in zip(configurations, labels, limits, changes - changes.mean(axis=0), strict=True):
        volume = MILLI * atoms.get_volume() / len(atoms)
        sizes = [volume * _rms(one.stress) for one in (label, limit) if one.stress is not None]
        yield BiasRow(
            "virials", str(atoms.info["ndsc_name"]), "meV/atom", sizes[0], sizes[1], MILLI * _rms(change),
            allowed=targets.virials,
        )  # fmt: skip


def lattice_rows(crystal: Crystal, limit: Crystal, targets: BiasTargets) -> Iterator[BiasRow]:
    """Lengths and angles of the unit cell, those that are equal in both only once, right angles not at all."""
    values, limits = (one.atoms.cell.cellpar() for one in (crystal, limit))
    seen: set[tuple[float, float]] = set()
    for name, unit, value, at_limit in zip(
        ("a", "b", "c", "alpha", "beta", "gamma"), ("Å", "Å", "Å", "°", "°", "°"), values, limits, strict=True
    ):
        pair = (round(float(value), 6), round(float(at_limit), 6))
        share = 0.01 * targets.lattice
        if unit == "Å":
            allowed = share * float(at_limit)
        else:
            allowed = float(np.degrees(share))
            if abs(pair[0] - pair[1]) < 1e-5:
                continue
        if pair not in seen:
            seen.add(pair)
            yield BiasRow("lattice", name, unit, float(value), float(at_limit), float(value - at_limit), allowed)


def phonon_rows(modes: Modes, limit: Modes, targets: BiasTargets) -> Iterator[BiasRow]:
    """Frequencies in their order at each q-point, without those of the crystal that moves as a whole."""
    least = SOFT * float(np.abs(limit.frequencies).max())
    for qpoint, values, limits in zip(limit.qpoints, modes.frequencies, limit.frequencies, strict=True):
        first = 0
        if not np.any(qpoint):
            # The acoustic modes at Γ, zero but for rounding, which need not be the lowest of an unstable crystal.
            kept = np.sort(np.argsort(np.abs(limits))[3:])
            values, limits = np.sort(values[np.sort(np.argsort(np.abs(values))[3:])]), limits[kept]
            first = 3
        for group in _degenerate(limits):
            numbers = [first + i + 1 for i in (group[0], group[-1])]
            name = f"{_point(qpoint)} {numbers[0]}" + ("" if len(group) == 1 else f"-{numbers[1]}")
            value, at_limit = float(np.mean(values[group])), float(np.mean(limits[group]))
            allowed = 0.01 * targets.phonons * max(abs(at_limit), least)
            yield BiasRow("phonons", name, "THz", value, at_limit, value - at_limit, allowed)


def _degenerate(frequencies: FloatArray) -> list[list[int]]:
    """Neighbours that are one mode with several polarisations."""
    groups: list[list[int]] = []
    for index, frequency in enumerate(frequencies):
        if groups and frequency - frequencies[groups[-1][-1]] < DEGENERATE:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _point(qpoint: FloatArray) -> str:
    """A q-point as a person writes it: (1/2 0 1/2)."""
    return f"({' '.join(str(Fraction(float(x)).limit_denominator(1000)) for x in qpoint)})"


def elastic_rows(constants: ElasticConstants, limit: ElasticConstants, targets: BiasTargets) -> Iterator[BiasRow]:
    for name, at_limit in limit.constants.items():
        value = constants.constants[name]
        allowed = max(0.01 * targets.elastic * abs(at_limit), targets.elastic_gpa)
        yield BiasRow("elastic", name, "GPa", value, at_limit, value - at_limit, allowed)
