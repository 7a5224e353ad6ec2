"""What a configuration offers to a fit, energy, forces and virial, under any names and in any of the usual forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.errors import InputError

FloatArray = NDArray[np.float64]

ENERGY_KEY = "REF_energy"
FORCES_KEY = "REF_forces"
VIRIAL_KEY = "REF_virial"

#: Keys that other programs read as results in conventions of their own.
BARE_KEYS = ("energy", "free_energy", "forces", "force", "stress", "virial")
#: ``config_type`` of single atoms far from any other, which need no forces and no virial.
ISOLATED_ATOM_TYPES = ("isolatedatom", "isolated_atom", "isolated")


@dataclass(frozen=True, eq=False)
class Targets:
    """What one configuration offers to a fit; None where it offers nothing.

    Attributes
    ----------
    energy : float, eV
    forces : (n, 3) array, eV/Å
    virial : (9,) array, eV
        -V stress, row by row.
    """

    energy: float | None
    forces: FloatArray | None
    virial: FloatArray | None


def targets_of(
    frame: Atoms,
    *,
    energy_key: str | None = ENERGY_KEY,
    forces_key: str | None = FORCES_KEY,
    virial_key: str | None = VIRIAL_KEY,
    stress_key: str | None = None,
    where: str = "the configuration",
) -> Targets:
    """Find energy, forces and virial of a frame under the given keys.

    A key is looked for in ``info``, in ``arrays``, and in the results of an attached calculator, which is where ASE
    puts the bare ``energy``, ``forces`` and ``stress`` of an extended XYZ file. A key of None is not looked for.

    Parameters
    ----------
    frame : ase.Atoms
    energy_key, forces_key : str or None
    virial_key : str or None
        Nine numbers, a 3x3 matrix, or six in ASE's Voigt order (xx, yy, zz, yz, xz, xy), eV.
    stress_key : str or None
        As `virial_key` but eV/Å³ with ASE's sign; used where there is no virial. A frame without a cell has neither.
    where : str
        What messages call the frame.

    Raises
    ------
    InputError
        When a value has the wrong shape or is not finite, or the name of a key says that it holds a stress where a
        virial is expected, or the other way round.
    """
    _check_meaning(virial_key, stress_key)
    energy = _lookup(frame, energy_key)
    forces = _lookup(frame, forces_key)
    virial = _lookup(frame, virial_key)
    stress = _lookup(frame, stress_key) if virial is None and frame.cell.rank == 3 else None
    found_virial = None
    if virial is not None and frame.cell.rank == 3:
        found_virial = tensor(virial, f"the virial ({virial_key}) of {where}")
    elif stress is not None:
        found_virial = -frame.get_volume() * tensor(stress, f"the stress ({stress_key}) of {where}")
    return Targets(
        energy=None if energy is None else float(numbers(energy, (), f"the energy ({energy_key}) of {where}")),
        forces=None if forces is None else numbers(forces, (len(frame), 3), f"the forces ({forces_key}) of {where}"),
        virial=found_virial,
    )


def _check_meaning(virial_key: str | None, stress_key: str | None) -> None:
    """Refuse a key whose name says that it holds the other quantity."""
    for key, is_stress in ((virial_key, False), (stress_key, True)):
        name = (key or "").lower()
        if is_stress and "virial" in name and "stress" not in name:
            raise InputError(
                f"{key!r} is the key of a virial, but was given as the stress. Give it as the virial (virial_key, "
                "--virial-key): -volume * stress, in eV."
            )
        if not is_stress and "stress" in name and "virial" not in name:
            raise InputError(
                f"{key!r} is the key of a stress, but was given as the virial. Give it as the stress (stress_key, "
                "--stress-key), in eV/Å³ with ASE's sign; the virial, -volume * stress, follows from it."
            )


def is_isolated_atom(frame: Atoms) -> bool:
    """Whether a frame is a single atom that its ``config_type`` calls isolated, or one without periodicity."""
    # Of a database that is fitted with others, the name of the database comes before a slash.
    kind = str(frame.info.get("config_type", "")).lower().rpartition("/")[2]
    return len(frame) == 1 and (kind in ISOLATED_ATOM_TYPES or not frame.pbc.any())


def frame_name(frame: Atoms, number: int) -> str:
    """What messages call a frame: its number (in the file that it is from), and its name when it has one."""
    name = frame.info.get("ndsc_name", frame.info.get("name"))
    number = frame.info.get("ndsc_frame", number)
    return f"frame {number}" if name is None else f"frame {number} ({name})"


def _lookup(frame: Atoms, key: str | None) -> Any:
    if key is None:
        return None
    results = getattr(frame.calc, "results", {}) if frame.calc is not None else {}
    for place in (frame.info, frame.arrays, results):
        if key in place:
            return place[key]
    return None


def numbers(value: Any, shape: tuple[int, ...], what: str) -> FloatArray:
    """`value` as a finite array of the given shape; `what` is what messages call it."""
    array = _array(value, what)
    if array.shape != shape:
        raise InputError(
            f"{_capital(what)} has the shape {array.shape} where {shape} is expected. Correct it or name another key."
        )
    if not np.isfinite(array).all():
        raise InputError(f"{_capital(what)} is not finite. Leave this configuration out, or label it again.")
    return array


def tensor(value: Any, what: str) -> FloatArray:
    """Nine numbers of a symmetric tensor given as nine, as 3x3, or as six in Voigt order (xx, yy, zz, yz, xz, xy)."""
    array = _array(value, what)
    if array.size == 6:
        xx, yy, zz, yz, xz, xy = array.reshape(6)
        array = np.array([xx, xy, xz, xy, yy, yz, xz, yz, zz])
    if array.size != 9:
        raise InputError(
            f"{_capital(what)} has the shape {array.shape}; nine numbers, a 3x3 matrix or six in Voigt order are "
            "expected. Correct it or name another key."
        )
    matrix = numbers(array.reshape(3, 3), (3, 3), what)
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > 1e-6 + 1e-3 * np.abs(matrix).max():
        raise InputError(
            f"{_capital(what)} is not symmetric: two components that must be equal differ by {asymmetry:.3g}. Correct "
            "it or name another key."
        )
    flat: FloatArray = (0.5 * (matrix + matrix.T)).reshape(9)
    return flat


def _array(value: Any, what: str) -> FloatArray:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{_capital(what)} is {value!r}, not numbers. Correct it or leave the frame out.") from error


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
