"""What gap_fit reads: the training file, the single-atom energies, the description of the kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.io import write
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.fit.calculator import bare_structure
from ndsc.fit.composition import fitted_energies
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.regularisation import ENERGY_SIGMA_KEY, FORCE_SIGMA_KEY, SMALLEST_SIGMA, VIRIAL_SIGMA_KEY
from ndsc.fit.settings import GapSettings
from ndsc.plausibility import shortest_distance
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, frame_name, is_isolated_atom, targets_of

FloatArray = NDArray[np.float64]

#: No crystal is bound by more than this, eV/atom; beyond the second, e0 belongs to another code.
LARGEST_BINDING, IMPOSSIBLE_BINDING = 20.0, 100.0


@dataclass(frozen=True)
class TrainingFile:
    """What was written for gap_fit.

    Attributes
    ----------
    path : path
    counts : dict
        Numbers of targets and sigmas in it, named as :func:`ndsc.fit.executable.parse_counts` does.
    species : tuple of str
        In order of atomic number.
    """

    path: Path
    counts: dict[str, int]
    species: tuple[str, ...]


def write_training_file(
    path: Path, frames: Sequence[Atoms], sparse_only: Sequence[Atoms], settings: GapSettings
) -> TrainingFile:
    """Write labelled configurations, and after them the ones that only offer sparse points.

    Only the structure, our targets and their sigmas are written: any other key might mean something to gap_fit. Frames
    without targets cost next to nothing, since no derivatives of their descriptors are needed.

    Raises
    ------
    InputError
        When there is no labelled configuration, a target has no sigma, a sigma is too small or does not fit its target,
        or a species of the sparse configurations has no labelled atom.
    """
    written, counts = training_frames(frames, settings.cutoff)
    species = _species(frames)
    strange = sorted(set(_species(sparse_only)) - set(species))
    if strange:
        raise InputError(
            f"The configurations for sparse points contain {', '.join(strange)}, which no labelled configuration does. "
            "Leave them out, or label some."
        )
    written += [bare_structure(frame, settings.cutoff) for frame in sparse_only]
    write(path, written, format="extxyz", write_results=False)
    return TrainingFile(path, with_sigmas(counts), species)


def training_frames(frames: Sequence[Atoms], cutoff: float) -> tuple[list[Atoms], dict[str, int]]:
    """Labelled configurations as a fit takes them: structures, ``REF_*`` targets, their sigmas, and nothing else.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With sigmas, from :func:`ndsc.fit.apply_regularisation`.
    cutoff : float, Å
        Atoms without a cell get one that is large enough for it.

    Returns
    -------
    frames : list of ase.Atoms
    counts : dict of str to int
        Numbers of ``energies``, ``force_components`` and ``virial_components``, six of these a configuration.

    Raises
    ------
    InputError
        When there is no target, a target has no sigma, or a sigma is too small or does not fit its target.
    """
    counts = dict.fromkeys(("energies", "force_components", "virial_components"), 0)
    written = [_training_frame(frame, frame_name(frame, i), cutoff, counts) for i, frame in enumerate(frames)]
    if not any(counts.values()):
        raise InputError(
            f"The {len(frames)} configurations to fit have no {ENERGY_KEY}, {FORCES_KEY} or {VIRIAL_KEY}. Read the "
            "database with the names of its keys."
        )
    return written, counts


def with_sigmas(counts: Mapping[str, int]) -> dict[str, int]:
    """Numbers of targets and of their sigmas; of a virial, six components are fitted and nine sigmas written."""
    return {
        **counts,
        "energy_sigmas": counts["energies"],
        "force_component_sigmas": counts["force_components"],
        "virial_component_sigmas": counts["virial_components"] * 9 // 6,
    }


def check_e0(settings: FitterSettings, symbols: Iterable[str]) -> None:
    """Refuse a table of e0 that lacks an element.

    Raises
    ------
    InputError
        When ``settings.e0`` is a table without one of `symbols`.
    """
    wanted = sorted(set(symbols))
    missing = [symbol for symbol in wanted if isinstance(settings.e0, Mapping) and symbol not in settings.e0]
    if missing:
        raise InputError(
            f"e0 has no energy for {', '.join(missing)}. Give one for each of {', '.join(wanted)}, or 'average' or "
            "'fit'."
        )


def single_atom_energies(frames: Sequence[Atoms], settings: FitterSettings) -> dict[str, float]:
    """The energies e0 that are subtracted before the fit, eV, by symbol.

    Raises
    ------
    InputError
        When the database has no energies, an isolated atom is missing, given energies do not cover the species, or
        compositions do not determine those that are to be fitted.
    """
    species = _species(frames)
    check_e0(settings, species)
    if isinstance(settings.e0, Mapping):
        return {symbol: float(settings.e0[symbol]) for symbol in species}
    if settings.e0 == "isolated":
        alone = isolated_energies(frames, settings.cutoff)
        missing = [symbol for symbol in species if symbol not in alone]
        if missing:
            raise InputError(
                f"e0 = 'isolated' needs a labelled single atom of {', '.join(missing)} with nothing within the cutoff "
                f"({settings.cutoff} Å). Add it to the database, or use e0 = 'average' or 'fit' or give the energies."
            )
        return {symbol: alone[symbol] for symbol in species}
    if settings.e0 == "fit":
        return fitted_energies(frames)
    energies = [(frame, targets_of(frame).energy) for frame in frames]
    labelled = [(frame, energy) for frame, energy in energies if energy is not None]
    if not labelled:
        raise InputError("The database has no energies to average for e0. Give e0 as energies of single atoms.")
    # Single atoms far from others would draw the mean away from the crystal.
    bulk = [pair for pair in labelled if not is_isolated_atom(pair[0])] or labelled
    mean = sum(energy for _, energy in bulk) / sum(len(frame) for frame, _ in bulk)
    return dict.fromkeys(species, float(mean))


def isolated_energies(frames: Sequence[Atoms], cutoff: float) -> dict[str, float]:
    """Energies (eV) of labelled single atoms that have no neighbour within the cutoff (Å), by symbol.

    Raises
    ------
    InputError
        When two atoms of an element have different energies.
    """
    found: dict[str, tuple[float, str]] = {}
    for number, frame in enumerate(frames):
        where = frame_name(frame, number)
        energy = targets_of(frame, where=where).energy if len(frame) == 1 else None
        if energy is None or shortest_distance(frame) < cutoff:
            continue
        symbol = frame.get_chemical_symbols()[0]
        first, first_name = found.setdefault(symbol, (energy, where))
        if abs(energy - first) > 1e-3:
            raise InputError(
                f"{first_name} and {where} are isolated atoms of {symbol} with different energies, {first} and "
                f"{energy} eV, so e0 is not defined. Keep the ground state."
            )
    return {symbol: energy for symbol, (energy, _) in found.items()}


def has_all_isolated_atoms(frames: Sequence[Atoms], cutoff: float) -> bool:
    """Whether there is an isolated atom of each species beside other configurations."""
    alone = isolated_energies(frames, cutoff)
    return len(alone) == len(_species(frames)) and any(len(frame) > 1 for frame in frames)


def check_binding(frames: Sequence[Atoms], e0: Mapping[str, float]) -> list[str]:
    """Compare the energies of single atoms (eV, by symbol) with those of the database.

    Returns
    -------
    list of str
        A warning where they are further apart than the atoms of any crystal are bound.

    Raises
    ------
    InputError
        When they are so far apart that they come from another code or pseudopotential.
    """
    binding = [
        abs(energy - sum(e0[symbol] for symbol in frame.get_chemical_symbols())) / len(frame)
        for frame in frames
        if (energy := targets_of(frame).energy) is not None
    ]
    typical = float(np.median(binding)) if binding else 0.0
    message = (
        f"The energies of the database are {typical:.4g} eV/atom away from e0, more than the cohesive energy of any "
        "crystal. Give the energies of single atoms from the same code and settings, or e0 = 'average' or 'fit'."
    )
    if typical > IMPOSSIBLE_BINDING:
        raise InputError(message)
    return [message] if typical > LARGEST_BINDING else []


def kernel_descriptions(
    species: Sequence[str], settings: GapSettings, sparse_files: Mapping[str, str] | None = None
) -> str:
    """gap_fit's ``gap`` argument: one SOAP kernel for each species.

    Parameters
    ----------
    species : sequence of str
    settings : GapSettings
    sparse_files : mapping of symbol to file name, optional
        Files with fixed sparse points, see :func:`ndsc.fit.sparse_points.write_sparse_points`.
    """
    numbers = sorted(atomic_numbers[symbol] for symbol in species)
    listed = " ".join(str(number) for number in numbers)
    scaling: dict[str, float] = {}
    if settings.radial_exponent:
        scaling = {"cutoff_dexp": settings.radial_exponent, "cutoff_scale": settings.radial_scale, "cutoff_rate": 1.0}
    kernels = []
    for number in numbers:
        words = {
            "cutoff": settings.cutoff,
            "cutoff_transition_width": settings.transition_width,
            **scaling,
            "n_max": settings.n_max,
            "l_max": settings.l_max,
            "atom_sigma": settings.atom_sigma,
            "zeta": settings.zeta,
            "delta": settings.delta,
            "covariance_type": "dot_product",
            "add_species": "F",
            "n_species": len(numbers),
            "Z": number,
            "species_Z": "{{" + listed + "}}",
            "n_sparse": settings.n_sparse,
            "sparse_method": settings.sparse_method,
        }
        if sparse_files is not None:
            # How many there are is in the file; gap_fit refuses another number.
            del words["n_sparse"]
            words |= {"sparse_method": "file", "sparse_file": sparse_files[chemical_symbols[number]]}
        kernels.append("soap " + " ".join(f"{key}={value}" for key, value in words.items()))
    return "{" + " : ".join(kernels) + "}"


def _training_frame(frame: Atoms, where: str, cutoff: float, counts: dict[str, int]) -> Atoms:
    targets = targets_of(frame, where=where)
    bare = bare_structure(frame, cutoff)
    if targets.energy is not None:
        bare.info[ENERGY_KEY] = targets.energy
        bare.info[ENERGY_SIGMA_KEY] = float(_sigma(frame.info.get(ENERGY_SIGMA_KEY), (1,), "energy", where)[0])
        counts["energies"] += 1
    if targets.forces is not None:
        bare.arrays[FORCES_KEY] = targets.forces
        bare.arrays[FORCE_SIGMA_KEY] = _sigma(frame.arrays.get(FORCE_SIGMA_KEY), targets.forces.shape, "force", where)
        counts["force_components"] += targets.forces.size
    if targets.virial is not None:
        bare.info[VIRIAL_KEY] = targets.virial
        bare.info[VIRIAL_SIGMA_KEY] = _sigma(frame.info.get(VIRIAL_SIGMA_KEY), (9,), "virial", where)
        counts["virial_components"] += 6
    return bare


def _sigma(value: object, shape: tuple[int, ...], what: str, where: str) -> FloatArray:
    if value is None:
        raise InputError(
            f"The {what} of {where} has no sigma. Give every target one with apply_regularisation before the fit."
        )
    sigma = np.asarray(value, dtype=float)
    if sigma.size != int(np.prod(shape)):
        raise InputError(
            f"The {what} sigma of {where} has the shape {sigma.shape} where {shape} is expected. Make it again with "
            "apply_regularisation."
        )
    if not (sigma >= SMALLEST_SIGMA).all() or not np.isfinite(sigma).all():
        raise InputError(
            f"A {what} sigma of {where} is {np.nanmin(sigma):.3g} or not finite; below {SMALLEST_SIGMA} a fit may give "
            "a potential of NaN without a message. Use a regularisation with a positive minimum."
        )
    return sigma.reshape(shape)


def _species(frames: Sequence[Atoms]) -> tuple[str, ...]:
    numbers = {int(number) for frame in frames for number in np.unique(frame.numbers)}
    return tuple(chemical_symbols[number] for number in sorted(numbers))
