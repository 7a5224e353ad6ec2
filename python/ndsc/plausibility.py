"""Plausibility of the targets of a database: outliers, units and signs, coinciding atoms, contradictory frames.

What cannot be true is an error that names the frame and the value. What is unusual is a warning, because databases hold
unusual configurations on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from ndsc import _core
from ndsc.errors import InputError
from ndsc.targets import Targets, frame_name, is_isolated_atom, targets_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Limits of one quantity: `warn` where it also exceeds `times` the database's typical value, `refuse` always."""

    warn: float
    refuse: float
    times: float
    unit: str


ENERGY = Limits(warn=5.0, refuse=100.0, times=20.0, unit="eV/atom")
FORCE = Limits(warn=100.0, refuse=1e4, times=50.0, unit="eV/Å")
VIRIAL = Limits(warn=100.0, refuse=1e4, times=50.0, unit="eV/atom")
#: Two atoms closer than this (Å) occupy the same site.
ONE_SITE = 0.1
#: Two atoms closer than this (Å) are closer than in any molecule or solid at ordinary pressure.
CLOSE = 0.6
#: A median virial per atom and typical force below this (Å) is far too small for a virial.
SMALL_VIRIAL = 0.01
#: A factor that differs from a unit by less than this part, as a logarithm, is explained by it.
CLOSE_TO_UNIT = 0.45
#: What values may be instead of virials or forces, with the factor that makes them virials or forces; those of stresses
#: also need the volume.
VIRIAL_UNITS = {
    "virials with the opposite sign": -1.0,
    "in Hartree instead of eV": units.Hartree,
    "in Rydberg instead of eV": units.Rydberg,
    "made of stresses in GPa": units.GPa,
    "made of stresses in kbar": 0.1 * units.GPa,
    "made of stresses in kbar with the opposite sign": -0.1 * units.GPa,
}
STRESS_UNITS = {
    "stresses in eV/Å³ with ASE's sign": -1.0,
    "stresses in eV/Å³ with the opposite of ASE's sign": 1.0,
    "stresses in GPa with ASE's sign": -units.GPa,
    "stresses in GPa with the opposite of ASE's sign": units.GPa,
    "stresses in kbar with ASE's sign": -0.1 * units.GPa,
    "stresses in kbar with the opposite of ASE's sign": 0.1 * units.GPa,
}
FORCE_UNITS = {
    "gradients, with the opposite sign": -1.0,
    "in Hartree/Bohr instead of eV/Å": units.Hartree / units.Bohr,
    "in Rydberg/Bohr instead of eV/Å": units.Rydberg / units.Bohr,
}
#: How many problems a message lists.
LISTED = 5
#: Part of the squared differences of energies that virials may leave unexplained and be believed: with cells of nearly
#: one volume, stresses in some unit explain them as well, and by chance the anharmonic rest better.
STANDS = 0.05
#: Pairs of frames that are compared at most, and how far their atoms (Å) and strains may differ.
N_PAIRS, PAIR_DISPLACEMENT, PAIR_STRAIN = 300, 0.4, 0.08


def check_plausible(frames: Sequence[Atoms], *, source: str = "the database") -> list[str]:
    """Refuse targets that cannot be true.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With ``REF_energy`` (eV), ``REF_forces`` (eV/Å) and ``REF_virial`` (eV), each optional.
    source : str
        What messages call the database.

    Returns
    -------
    list of str
        Warnings about what is unusual.

    Raises
    ------
    InputError
        When two atoms coincide, an energy, force or virial is absurd, or forces or virials contradict the
        differences of energies.
    """
    for number, frame in enumerate(frames):
        _check_structure(frame, f"{frame_name(frame, number)} of {source}")
    targets = [targets_of(frame, where=frame_name(frame, number)) for number, frame in enumerate(frames)]
    errors: list[str] = []
    warnings: list[str] = []
    checks = (
        (_energy_sizes(frames, targets), ENERGY, "an energy ({energy:.6g} eV) away from that of the other frames by"),
        (_largest(targets, "forces"), FORCE, "a force component of"),
        (_largest(targets, "virial", frames), VIRIAL, "a virial component of"),
    )
    for sizes, limits, what in checks:
        known = sizes[np.isfinite(sizes)]
        unusual = max(limits.warn, limits.times * float(np.median(known))) if known.size else np.inf
        for number in np.flatnonzero(sizes > min(unusual, limits.refuse)).tolist():
            quantity = what.format(energy=targets[number].energy)
            text = f"{frame_name(frames[number], number)} has {quantity} {sizes[number]:.4g} {limits.unit}"
            if sizes[number] > limits.refuse:
                errors.append(text)
            elif limits is not ENERGY or frames[number].pbc.all():  # molecules and atoms are bound less than crystals
                warnings.append(text)
    for number, frame in enumerate(frames):
        shortest = shortest_distance(frame)
        if shortest < CLOSE:
            text = f"{frame_name(frame, number)} has two atoms {shortest:.3g} Å apart"
            (errors if shortest < ONE_SITE else warnings).append(text)
    if errors:
        raise InputError(
            f"In {source}, some values cannot be right: {_listed(errors)}. Correct these frames or leave them out: one "
            "wrong value spoils a fit."
        )
    warnings = [f"In {source}, some values are unusual: {_listed(warnings)}. Check these frames."] if warnings else []
    warnings += _contradictions(frames, targets, source)
    return warnings + _check_derivatives(frames, targets, source)


def _check_structure(frame: Atoms, where: str) -> None:
    """Refuse what is not a structure."""
    cell = frame.cell.complete().array
    flat = abs(np.linalg.det(cell)) < 1e-6 * np.prod(np.linalg.norm(cell, axis=1))
    if len(frame) == 0:
        reason = "has no atoms"
    elif not (np.isfinite(frame.positions).all() and np.isfinite(cell).all()):
        reason = "has positions or a cell that are not finite"
    elif flat or (frame.pbc & ~frame.cell.any(axis=1)).any():
        reason = "has a cell that spans no volume"
    elif not frame.numbers.all():
        reason = "has atoms X, which are not an element"
    else:
        return
    raise InputError(f"{where[0].upper()}{where[1:]} {reason}. Correct it or leave it out.")


def _energy_sizes(frames: Sequence[Atoms], targets: Sequence[Targets]) -> FloatArray:
    """How far the energy per atom of each frame (eV) is from what its composition gives; not-a-number without one.

    The energies of the elements come from a regression that minimises absolute deviations, which outliers do not draw
    away. Isolated atoms take no part in it where there are other frames.
    """
    sizes = np.full(len(frames), np.nan)
    numbers = [i for i, target in enumerate(targets) if target.energy is not None]
    if not numbers:
        return sizes
    elements = sorted({int(z) for i in numbers for z in frames[i].numbers})
    fractions = np.array([[np.mean(frames[i].numbers == z) for z in elements] for i in numbers])
    energies = np.array([float(targets[i].energy or 0.0) / len(frames[i]) for i in numbers])
    crystals = np.array([not is_isolated_atom(frames[i]) for i in numbers])
    learned = crystals if crystals.any() else ~crystals
    weights = np.ones(int(learned.sum()))
    for _ in range(100):
        root = np.sqrt(weights)
        values = np.linalg.lstsq(fractions[learned] * root[:, None], energies[learned] * root, rcond=None)[0]
        weights = 1.0 / np.maximum(np.abs(fractions[learned] @ values - energies[learned]), 1e-4)
    sizes[numbers] = np.abs(fractions @ values - energies)
    return sizes


def _largest(targets: Sequence[Targets], name: str, frames: Sequence[Atoms] | None = None) -> FloatArray:
    """Largest component of each frame's forces or virial, per atom where frames are given."""
    values = [getattr(target, name) for target in targets]
    sizes = np.array([np.nan if value is None else float(np.abs(value).max(initial=0.0)) for value in values])
    return sizes if frames is None else sizes / np.array([max(len(frame), 1) for frame in frames])


def shortest_distance(frame: Atoms) -> float:
    """The shortest distance of two atoms, or of an atom and its own image, Å; infinite for a single free atom."""
    if not frame.pbc.any():
        from scipy.spatial.distance import pdist  # slow to import, and free structures are rare

        return float(pdist(frame.positions).min(initial=np.inf))
    cell = frame.cell.complete().array
    for axis in np.flatnonzero(~frame.pbc):
        direction = cell[axis] / np.linalg.norm(cell[axis])
        cell[axis] = direction * (np.ptp(frame.positions @ direction) + 1e4)
    return float(_core.shortest_distance(cell, frame.positions @ np.linalg.inv(cell))[0])


def _contradictions(frames: Sequence[Atoms], targets: Sequence[Targets], source: str) -> list[str]:
    """Warnings about structures that occur several times, with equal or with different energies."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        geometry = np.concatenate([frame.cell.array.ravel(), frame.positions.ravel()])
        rounded = np.round(geometry, 5) + 0.0
        same[frame.numbers.tobytes() + bytes(frame.pbc) + rounded.tobytes()].append(number)
    repeated, different = [], []
    for numbers in (numbers for numbers in same.values() if len(numbers) > 1):
        energies = [targets[i].energy for i in numbers]
        known = [energy / len(frames[numbers[0]]) for energy in energies if energy is not None]
        names = f"frames {', '.join(map(str, numbers[:4]))}{', …' if len(numbers) > 4 else ''}"
        spread = max(known) - min(known) if known else 0.0
        if spread > 1e-3:
            moments = [_moments(frames[i]) for i in numbers]
            magnetic = any(not np.allclose(moments[0], other, atol=0.01) for other in moments[1:])
            different.append(
                f"{names} are the same structure with energies that differ by {1000 * spread:.3g} meV/atom"
                + (", with different magnetic moments, which a GAP does not know" if magnetic else "")
            )
        else:
            repeated.append(names)
    warnings = []
    if different:
        warnings.append(f"In {source}, {_listed(different)}. No potential can learn both; keep one of them.")
    if repeated:
        warnings.append(f"In {source}, structures occur more than once: {_listed(repeated)}. They count twice.")
    return warnings


def _moments(frame: Atoms) -> FloatArray:
    for key in ("initial_magmoms", "magmoms"):
        if key in frame.arrays:
            moments: FloatArray = np.asarray(frame.arrays[key], dtype=float).reshape(len(frame), -1).sum(axis=1)
            return moments
    return np.zeros(len(frame))


def _check_derivatives(frames: Sequence[Atoms], targets: Sequence[Targets], source: str) -> list[str]:
    """Compare forces and virials with differences of energies between frames that differ little.

    Between two such frames, ``dE = -F.du - W:strain`` with the means of both frames, to third order.
    """
    pairs = list(_pairs(frames, targets))
    energies, force, virial, stress = np.array(pairs or [(0.0,) * 4]).T
    as_virial, as_stress = _slopes(energies, force, virial), _slopes(energies, force, stress)
    stands = float(np.sum((energies - force - virial) ** 2)) < STANDS * float(np.sum(energies**2))
    is_virial = as_virial.virial is None or (
        0.3 < as_virial.virial < 3.0
        and (stands or not (as_stress.virial and as_stress.misfit < 0.25 * as_virial.misfit))
    )
    evidence = f"this follows from the energy differences of {len(pairs)} pairs of similar frames"
    if not is_virial:
        readings = [
            (slopes.misfit_as(slopes.virial, unit), name)
            for slopes, names in ((as_virial, VIRIAL_UNITS), (as_stress, STRESS_UNITS))
            for name, unit in names.items()
        ]
        least, meaning = min(readings)
        if np.isfinite(least):
            raise InputError(
                f"The virials of {source} are {meaning}: {evidence}. A virial is -volume * stress, in eV, positive on "
                "the diagonal of a compressed crystal. Convert them; a stress in eV/Å³ with ASE's sign can be given as "
                "it is (stress_key, --stress-key)."
            )
    found = as_virial if is_virial else as_stress
    if len(pairs) < 3:  # a few pairs may agree by chance
        return _small_virials(targets, frames, source) if as_virial.virial is None else []
    for meaning, unit in FORCE_UNITS.items():
        if np.isfinite(found.misfit_as(found.force, unit)):
            raise InputError(f"The forces of {source} are {meaning}: {evidence}. Forces are -dE/dr in eV/Å.")
    strange = [
        f"{name} {slope:.3g} times as large"
        for name, slope in (("virials", as_virial.virial), ("forces", found.force))
        if slope is not None and not 0.3 < slope < 3.0
    ]
    if strange:
        return [
            f"The energies of {source} require {' and '.join(strange)}: {evidence}. Check units and signs, and whether "
            "the basis of the calculations is large enough for their stresses."
        ]
    return _small_virials(targets, frames, source) if as_virial.virial is None else []


@dataclass(frozen=True)
class _Slopes:
    """Factors of the work of forces and of virials that explain differences of energies best; None if undecided."""

    force: float | None
    virial: float | None
    misfit: float

    def misfit_as(self, slope: float | None, unit: float) -> float:
        """How badly `unit` explains one of the slopes; infinite where it does not."""
        if slope is None or slope * unit <= 0 or abs(np.log(slope / unit)) > CLOSE_TO_UNIT:
            return np.inf
        return (self.misfit + 1e-12) * (1.0 + abs(float(np.log(slope / unit))))


def _slopes(energies: FloatArray, force: FloatArray, virial: FloatArray) -> _Slopes:
    columns = [column for column in (force, virial) if np.abs(column).max() > 1e-6]
    undecided = _Slopes(None, None, np.inf)
    if not columns:
        return undecided
    matrix = np.column_stack(columns)
    scale = np.abs(matrix).max(axis=0)
    normal = (matrix / scale).T @ (matrix / scale)
    if np.linalg.cond(normal) > 1e8:
        return undecided
    inverse = np.linalg.inv(normal)
    solution = inverse @ ((matrix / scale).T @ energies)
    misfit = float(np.sum((energies - (matrix / scale) @ solution) ** 2))
    freedom = len(energies) - len(columns)
    if misfit > 0.1 * float(np.sum(energies**2)) or np.abs(energies).max() < 1e-4 or (freedom < 1 and len(columns) > 1):
        return undecided
    errors = np.sqrt(misfit / max(freedom, 1) * np.diag(inverse))
    slopes = [float(s) if abs(v) > 5 * e else None for s, v, e in zip(solution / scale, solution, errors, strict=True)]
    values = iter(slopes)
    of_force, of_virial = (next(values) if np.abs(column).max() > 1e-6 else None for column in (force, virial))
    return _Slopes(of_force, of_virial, misfit)


def _pairs(frames: Sequence[Atoms], targets: Sequence[Targets]) -> Iterator[tuple[float, float, float, float]]:
    """Difference of energy (eV), and the work of forces, virials, and virials taken as stresses, of similar frames."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number, (frame, target) in enumerate(zip(frames, targets, strict=True)):
        if target.energy is not None and frame.cell.rank == 3 and frame.pbc.all():
            groups[frame.numbers.tobytes()].append(number)
    most = max(3, N_PAIRS // max(len(groups), 1))
    for numbers in groups.values():
        close = [(a, b) for k, a in enumerate(numbers) for b in numbers[k + 1 : k + 4]][:most]
        for first, second in close:
            work = _work(frames[first], frames[second], targets[first], targets[second])
            if work is not None:
                yield work


def _work(one: Atoms, two: Atoms, first: Targets, second: Targets) -> tuple[float, float, float, float] | None:
    """The terms of one pair, None where the frames differ too much or lack a target that the difference needs."""
    gradient = np.linalg.solve(one.cell.array, two.cell.array)
    if np.abs(gradient - np.eye(3)).max() > 0.5:  # another supercell, perhaps turned
        return None
    strain = 2.0 * (gradient - np.eye(3)) @ np.linalg.inv(gradient + np.eye(3))
    moved = two.cell.scaled_positions(two.positions) - one.cell.scaled_positions(one.positions)
    moved = (moved - np.round(moved)) @ (0.5 * (one.cell.array + two.cell.array))
    moved -= moved.mean(axis=0)
    if np.abs(strain).max() > PAIR_STRAIN or np.abs(strain - strain.T).max() > 0.01:
        return None
    if np.abs(moved).max() > PAIR_DISPLACEMENT:
        return None
    if first.energy is None or second.energy is None:
        return None
    force = work = stress_work = 0.0
    if np.abs(moved).max() > 1e-4:
        if first.forces is None or second.forces is None:
            return None
        force = -0.5 * float(np.sum((first.forces + second.forces) * moved))
    if np.abs(strain).max() > 1e-5:
        if first.virial is None or second.virial is None:
            return None
        volumes = one.get_volume(), two.get_volume()
        works = [-0.5 * float(virial @ strain.ravel()) for virial in (first.virial, second.virial)]
        if not _adds_up(works):
            return None
        work, stress_work = sum(works), float(np.dot(works, volumes))
    return second.energy - first.energy, force, work, stress_work


def _adds_up(works: Sequence[float]) -> bool:
    """Whether the mean of two is more than the small difference of large numbers."""
    return abs(sum(works)) >= 0.3 * sum(map(abs, works))


def _small_virials(targets: Sequence[Targets], frames: Sequence[Atoms], source: str) -> list[str]:
    """A warning where virials are too small compared with the forces, as stresses would be."""
    forces, virials = [], []
    for target, frame in zip(targets, frames, strict=True):
        if target.forces is not None and target.virial is not None:
            forces.append(float(np.sqrt(np.mean(target.forces**2))))
            virials.append(float(np.abs(target.virial).max()) / len(frame))
    if not forces or np.median(forces) < 0.02 or np.median(virials) > SMALL_VIRIAL * np.median(forces):
        return []
    return [
        f"The virials of {source} are small compared with its forces (medians {np.median(virials):.2g} eV/atom and "
        f"{np.median(forces):.2g} eV/Å), as stresses in eV/Å³ would be. If they are stresses, give their key as the "
        "stress (stress_key, --stress-key)."
    ]


def _listed(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return "; ".join(texts[:LISTED]) + more
