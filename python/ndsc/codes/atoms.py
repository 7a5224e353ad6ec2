"""What a single atom needs of a density-functional code: spin by Hund's rule, sharp occupations, no k-points.

Its energy is the zero of a potential's energies. Everything that decides on energies (functional, cutoff,
pseudopotential) stays that of the crystal's labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import atomic_numbers, ground_state_magnetic_moments

#: Width of the occupations of a single atom, eV (for Quantum ESPRESSO 0.001 Ry): sharp, but not a step.
WIDTH = 0.01


def magnetic_moment(symbol: str) -> float:
    """Number of unpaired electrons of the free atom."""
    return float(ground_state_magnetic_moments[atomic_numbers[symbol]])


def atom_parameters(code: str, parameters: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    """The parameters of a crystal's labels, changed for a single atom.

    Parameters
    ----------
    code : str
        ``"gpaw"`` or a program's name.
    parameters : mapping
        Of the crystal's labels.
    symbol : str
        The atom.
    """
    moment = magnetic_moment(symbol)
    return _CHANGES[code](dict(parameters), moment)


def _gpaw(parameters: dict[str, Any], moment: float) -> dict[str, Any]:
    kept = _without(parameters, "occupations nbands magmoms spinpol hund charge")
    occupations = {"name": "fermi-dirac", "width": WIDTH}
    if not moment:
        return {**kept, "occupations": occupations}
    return {**kept, "occupations": {**occupations, "fixmagmom": True}, "hund": True}


def _espresso(parameters: dict[str, Any], moment: float) -> dict[str, Any]:
    drop = "occupations smearing degauss nbnd nspin tot_magnetization"
    kept = {
        key: _without(value, drop) if isinstance(value, Mapping) and key != "pseudopotentials" else value
        for key, value in _without(parameters, drop).items()
    }
    if isinstance(nested := kept.get("input_data"), Mapping):
        kept["input_data"] = {
            key: _without(value, drop) if isinstance(value, Mapping) else value for key, value in nested.items()
        }
    spin = {"nspin": 2, "tot_magnetization": moment} if moment else {}
    return {**kept, "occupations": "smearing", "smearing": "gaussian", "degauss": 0.001, **spin}


def _abinit(parameters: dict[str, Any], moment: float) -> dict[str, Any]:
    kept = _without(parameters, "occopt tsmear smearing nband nbands spinmagntarget ngfft")
    spin = {"spinmagntarget": moment} if moment else {}
    return {**kept, "occopt": 7, "tsmear": WIDTH, **spin}


def _castep(parameters: dict[str, Any], moment: float) -> dict[str, Any]:
    kept = _without(
        parameters,
        "fix_occupancy smearing_width smearing_scheme nextra_bands perc_extra_bands nbands spin spin_fix "
        "spin_polarized spin_polarised",
    )
    spin = {"spin_polarized": True, "spin": moment, "spin_fix": -1} if moment else {}
    return {**kept, "fix_occupancy": False, "smearing_scheme": "Gaussian", "smearing_width": WIDTH, **spin}


def _vasp(parameters: dict[str, Any], moment: float) -> dict[str, Any]:
    kept = _without(parameters, "ismear sigma ispin magmom nupdown nbands")
    spin = {"ispin": 2, "nupdown": moment} if moment else {}
    return {**kept, "ismear": 0, "sigma": WIDTH, **spin}


def _without(parameters: Mapping[str, Any], keys: str) -> dict[str, Any]:
    drop = set(keys.split())
    return {key: value for key, value in parameters.items() if key.lower() not in drop}


_CHANGES = {"gpaw": _gpaw, "espresso": _espresso, "abinit": _abinit, "castep": _castep, "vasp": _vasp}
