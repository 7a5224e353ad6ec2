"""How far the labels of one series of calculations are from those of another, by what a database is made of.

A constant in the energies cancels in everything that is learned, so energies are compared as differences between
configurations. A constant in the virials does not cancel: it moves the equilibrium volume (Pulay stress, for example).
The remainder after subtracting it is noise. The two are given separately.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.reference import Label

FloatArray = NDArray[np.float64]

MILLI = 1e3


@dataclass(frozen=True)
class Difference:
    """Labels minus other labels of the same configurations.

    Attributes
    ----------
    force_rms, force_max : float, meV/Å
        Over all Cartesian components.
    energy_rms, energy_max : float, meV/atom
        Of the energy differences between configurations: the root mean square about the common constant, and the
        largest difference of two configurations.
    energy_offset : float, meV/atom
        The common constant, which cancels.
    virial_offset : float or None, meV/atom
        The component of largest magnitude, with its sign, of the mean change of the virial; None where a label has no
        stress.
    virial_offset_tensor : tuple of six floats or None, meV/atom
        The mean change of the virial: xx, yy, zz, yz, xz, xy.
    virial_rms, virial_max : float or None, meV/atom
        Of what is left beside the mean change, over all components: the scatter between configurations.
    """

    force_rms: float
    force_max: float
    energy_rms: float
    energy_max: float
    energy_offset: float
    virial_offset: float | None
    virial_offset_tensor: tuple[float, ...] | None
    virial_rms: float | None
    virial_max: float | None

    @property
    def is_zero(self) -> bool:
        """Whether the labels are the same to the last digit."""
        return not any((self.force_max, self.energy_max, self.energy_offset, self.virial_offset, self.virial_max))

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name and unit, as ``force_rms_mev_per_angstrom``, for JSON and CSV."""
        return {with_unit(name): value for name, value in asdict(self).items()}


def compare_labels(configurations: Sequence[Atoms], labels: Sequence[Label], others: Sequence[Label]) -> Difference:
    """Compare the labels of the same configurations under two settings.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        At least two: one has no difference to another.
    labels, others : sequence of Label
        In the same order; the difference is `labels` minus `others`.

    Raises
    ------
    InputError
        When there are fewer than two configurations.
    """
    if len(configurations) < 2:
        raise InputError(
            f"{len(configurations)} configuration has no energy difference to another. Compare at least two."
        )
    forces = np.concatenate([(a.forces - b.forces).ravel() for a, b in zip(labels, others, strict=True)])
    pairs = list(zip(configurations, labels, others, strict=True))
    energies = np.array([(a.energy - b.energy) / len(atoms) for atoms, a, b in pairs])
    virials = virial_differences(configurations, labels, others)
    offset = None if virials is None else virials.mean(axis=0)
    scatter = None if virials is None or offset is None else virials - offset
    return Difference(
        force_rms=MILLI * _rms(forces),
        force_max=MILLI * float(np.abs(forces).max()),
        energy_rms=MILLI * _rms(energies - energies.mean()),
        energy_max=MILLI * float(np.ptp(energies)),
        energy_offset=MILLI * float(energies.mean()),
        virial_offset=None if offset is None else MILLI * float(offset[np.abs(offset).argmax()]),
        virial_offset_tensor=None if offset is None else tuple(MILLI * float(entry) for entry in offset),
        virial_rms=None if scatter is None else MILLI * _rms(scatter),
        virial_max=None if scatter is None else MILLI * float(np.abs(scatter).max()),
    )


def with_unit(name: str) -> str:
    """The name of a number in a file: with its unit, where it has one."""
    if name.startswith("force"):
        return f"{name}_mev_per_angstrom"
    return f"{name}_mev_per_atom" if name.startswith(("energy", "virial")) else name


def write_results(path: Path, document: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[Path]:
    """Write ``path.json``, and rows as ``path.csv`` with the names of the first row, in their order.

    Raises
    ------
    InputError
        When they cannot be written.
    """
    from pandas import DataFrame  # takes half a second to import

    written = [path.with_name(f"{path.name}.{suffix}") for suffix in ("json", "csv")]
    table = DataFrame(rows, columns=list(rows[0]), dtype=object).to_csv(index=False, lineterminator="\n")
    for target, text in zip(written, (json.dumps(document, indent=1, allow_nan=False) + "\n", table), strict=True):
        write_text(target, text)
    return written


def virial_differences(
    configurations: Sequence[Atoms], labels: Sequence[Label], others: Sequence[Label]
) -> FloatArray | None:
    """(n, 6) array, eV/atom : changes of the virial, -V stress; None where a label has no stress."""
    rows = []
    for atoms, label, other in zip(configurations, labels, others, strict=True):
        if label.stress is None or other.stress is None:
            return None
        rows.append(-atoms.get_volume() / len(atoms) * (label.stress - other.stress))
    return np.array(rows)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
