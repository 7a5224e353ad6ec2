"""Whether databases are of one reference, as far as energies can tell, and structures that they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.targets import frame_name, targets_of

FloatArray = NDArray[np.float64]

#: Two structures are the same when no cell vector and no atom differs by more than this, Å.
SAME = 1e-3
#: Energies per atom of one structure that differ by more are of different settings, eV.
SAME_STRUCTURE = 0.02
#: Differences of the lowest energies per atom of crystals of one composition and volume: unusual, and impossible, eV;
#: and at other volumes, or of what is not a crystal, more than a crystal is bound by.
UNUSUAL, IMPOSSIBLE, IMPOSSIBLE_ANYWHERE = 0.5, 2.0, 20.0
#: Volumes per atom are alike within this part.
SAME_VOLUME = 0.15
#: Energies that are wrong by a unit differ by its factor, as a logarithm within this.
CLOSE_TO_UNIT = 0.12
#: What energies may be in instead of eV, with the factor that makes them eV.
ENERGY_UNITS = {
    "in Hartree": units.Hartree,
    "in Rydberg": units.Rydberg,
    "in kJ/mol": units.kJ / units.mol,
    "in kcal/mol": units.kcal / units.mol,
    "in meV": 1e-3,
}


def check_same_reference(databases: Mapping[str, Sequence[Atoms]]) -> list[str]:
    """Compare the energies of databases that are to be fitted together.

    Parameters
    ----------
    databases : mapping of str to sequence of ase.Atoms
        With ``REF_energy`` (eV), by what messages call each.

    Returns
    -------
    list of str
        What is unusual.

    Raises
    ------
    InputError
        When two have energies of the same structure, or of the same composition at about the same volume, that one
        reference cannot give; the message names both, and the unit that would explain it.
    """
    warnings: list[str] = []
    for (first, one), (second, other) in combinations(databases.items(), 2):
        _check_structures(first, one, second, other)
        theirs = _by_composition(other)
        for composition, frames in _by_composition(one).items():
            if composition in theirs:
                warnings += _compare(first, frames, second, theirs[composition])
    return warnings


def same_structures(one: Sequence[Atoms], other: Sequence[Atoms]) -> list[tuple[int, int]]:
    """Pairs of the same structure; atoms may be in another order, and in another periodic image.

    Parameters
    ----------
    one, other : sequence of ase.Atoms

    Returns
    -------
    list of two ints
        Numbers in `one` and in `other`.
    """
    groups: dict[bytes, list[int]] = {}
    for number, frame in enumerate(other):
        groups.setdefault(_signature(frame), []).append(number)
    cells = {key: np.array([other[number].cell.array for number in numbers]) for key, numbers in groups.items()}
    found = []
    for first, frame in enumerate(one):
        key = _signature(frame)
        if key in groups:
            near = np.abs(cells[key] - frame.cell.array).max(axis=(1, 2)) < SAME
            numbers = [groups[key][position] for position in np.flatnonzero(near)]
            found += [(first, number) for number in numbers if _same_positions(frame, other[number])]
    return found


def _signature(frame: Atoms) -> bytes:
    return bytes(np.sort(frame.numbers).tobytes() + bytes(frame.pbc))


def _same_positions(one: Atoms, other: Atoms) -> bool:
    """Whether every atom of one has one of the same element at its place; the cells are the same."""
    cell = one.cell.complete()
    order_one, order_other = np.argsort(one.numbers, kind="stable"), np.argsort(other.numbers, kind="stable")
    for number in np.unique(one.numbers):
        a = one.positions[order_one][one.numbers[order_one] == number]
        b = other.positions[order_other][other.numbers[order_other] == number]
        between = cell.scaled_positions((a[:, None] - b[None]).reshape(-1, 3))
        between -= np.where(one.pbc, np.round(between), 0.0)
        near = (np.linalg.norm(between @ cell.array, axis=1) < SAME).reshape(len(a), len(b))
        if not (near.any(axis=0).all() and near.any(axis=1).all()):
            return False
    return True


def _check_structures(first: str, one: Sequence[Atoms], second: str, other: Sequence[Atoms]) -> None:
    """Refuse different energies of one structure."""
    for a, b in same_structures(one, other):
        energies = [_energy_per_atom(one[a]), _energy_per_atom(other[b])]
        if np.isfinite(energies).all() and abs(energies[0] - energies[1]) > SAME_STRUCTURE:
            raise InputError(
                f"{first} and {second} do not come from the same reference: {frame_name(one[a], a)} of the one is "
                "the same "
                f"structure as {frame_name(other[b], b)} of the other, with {energies[0]:.6g} and {energies[1]:.6g} "
                f"eV/atom.{_guess(one[a], other[b], first, second)} {ADVICE}"
            )


ADVICE = (
    "Fit together what one code calculated with one functional, one set of pseudopotentials and one cutoff, as "
    "energies in eV of whole configurations."
)


def _energy_per_atom(frame: Atoms) -> float:
    energy = targets_of(frame).energy
    return np.nan if energy is None else energy / len(frame)


def _by_composition(frames: Sequence[Atoms]) -> dict[str, list[Atoms]]:
    """The frames of several atoms that have an energy, by reduced formula."""
    found: dict[str, list[Atoms]] = {}
    for frame in frames:
        if targets_of(frame).energy is not None and (len(frame) > 1 or frame.pbc.all()):
            found.setdefault(frame.symbols.get_chemical_formula(mode="hill", empirical=True), []).append(frame)
    return found


def _compare(first: str, one: Sequence[Atoms], second: str, other: Sequence[Atoms]) -> list[str]:
    """Compare the lowest energies of frames of one composition."""
    pairs = list(_comparable(one, other))
    alike = bool(pairs)
    if not pairs:
        pairs = [(min(one, key=_energy_per_atom), min(other, key=_energy_per_atom))]
    pair = min(pairs, key=lambda pair: abs(_energy_per_atom(pair[0]) - _energy_per_atom(pair[1])))
    energies = [_energy_per_atom(frame) for frame in pair]
    apart = abs(energies[0] - energies[1])
    guess = _guess(*pair, first, second) if alike else ""
    formula = pair[0].symbols.get_chemical_formula(mode="metal", empirical=True)
    said = (
        f"{formula} has a lowest energy of {energies[0]:.6g} eV/atom in {first} and of {energies[1]:.6g} eV/atom in "
        f"{second}" + (", at about the same volume" if alike else "")
    )
    if apart > (IMPOSSIBLE if alike else IMPOSSIBLE_ANYWHERE) or (guess and apart > UNUSUAL):
        raise InputError(f"{first} and {second} do not come from the same reference: {said}.{guess} {ADVICE}")
    if alike and apart > UNUSUAL:
        return [f"{said}, which is a large difference for one reference. Check that code and settings are the same."]
    return []


def _comparable(one: Sequence[Atoms], other: Sequence[Atoms]) -> Iterator[tuple[Atoms, Atoms]]:
    """The crystal with the lowest energy of each of two databases, with the lowest of the other at its volume."""
    ours, theirs = ([frame for frame in frames if frame.pbc.all()] for frames in (one, other))
    if not ours or not theirs:
        return
    for lowest, others, turned in ((_lowest(ours), theirs, False), (_lowest(theirs), ours, True)):
        volume = lowest.get_volume() / len(lowest)
        near = [
            frame for frame in others if abs(np.log(frame.get_volume() / len(frame) / volume)) < np.log1p(SAME_VOLUME)
        ]
        if near:
            yield (_lowest(near), lowest) if turned else (lowest, _lowest(near))


def _lowest(frames: Sequence[Atoms]) -> Atoms:
    return min(frames, key=_energy_per_atom)


def _guess(one: Atoms, other: Atoms, first: str, second: str) -> str:
    """What unit would explain the energies of two structures that are much alike, as a sentence; empty if none."""
    ours, theirs = _energy_per_atom(one), _energy_per_atom(other)
    if ours * theirs <= 0:
        return " Those of one may have the opposite sign." if np.isclose(ours, -theirs, rtol=CLOSE_TO_UNIT) else ""
    readings = [
        (abs(np.log(right / wrong / factor)), f"Those of {name} look as if they were {unit}.")
        for right, wrong, name in ((ours, theirs, second), (theirs, ours, first))
        for unit, factor in ENERGY_UNITS.items()
    ]
    readings += [
        (abs(np.log(right / wrong / len(frame))), f"Those of {name} look as if they were per atom.")
        for right, wrong, frame, name in ((ours, theirs, other, second), (theirs, ours, one, first))
        if len(frame) > 1
    ]
    misfit, sentence = min(readings)
    return f" {sentence}" if misfit < CLOSE_TO_UNIT and abs(np.log(ours / theirs)) > CLOSE_TO_UNIT else ""
