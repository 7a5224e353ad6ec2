"""Energies of single atoms by least squares: what of the energies of a database follows from compositions alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.targets import frame_name, is_isolated_atom, targets_of

FloatArray = NDArray[np.float64]

#: Energies of single atoms are determined when the fractions of the elements, as columns of length one, have no
#: smaller singular value. With 0.02, a vacancy among 64 atoms does not tell the elements of a compound apart.
SMALLEST_SINGULAR_VALUE = 0.02


def fitted_energies(frames: Sequence[Atoms], *, strict: bool = True) -> dict[str, float]:
    """Energies of single atoms, eV, that describe the energies of a database best.

    The sum over the configurations of ``(E - sum of the energies of its n atoms)² / n`` is the least: every energy has
    an expected error that grows with the square root of its number of atoms, as in the fit. With one element this is
    the mean energy per atom. Isolated atoms are left out where there is anything else, because they are not bound.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With ``REF_energy`` (eV); those without one are left out.
    strict : bool
        Whether to refuse compositions that do not determine the energies. Otherwise, the smallest energies of all that
        describe the database equally well are taken; of one composition, the mean energy per atom for each element.

    Returns
    -------
    dict of str to float
        By symbol, in order of atomic number.

    Raises
    ------
    InputError
        When there are no energies, or, with `strict`, the compositions do not determine those of all elements.
    """
    found = [
        (frame, energy)
        for number, frame in enumerate(frames)
        if (energy := targets_of(frame, where=frame_name(frame, number)).energy) is not None
    ]
    if not found:
        raise InputError("The database has no energies that e0 = 'fit' could be found from. Give e0 as a table.")
    used = [pair for pair in found if not is_isolated_atom(pair[0])] or found
    species = _species(frames)
    if strict:
        check_compositions([frame for frame, _ in used], species)
    counts = _counts([frame for frame, _ in used], species)
    root = np.sqrt(counts.sum(axis=1))
    energies = np.array([energy for _, energy in used])
    cutoff = None if strict else SMALLEST_SINGULAR_VALUE
    solution = np.linalg.lstsq(counts / root[:, None], energies / root, rcond=cutoff)[0]
    return dict(zip(species, map(float, solution), strict=True))


def check_compositions(frames: Iterable[Atoms], species: Iterable[str] = ()) -> None:
    """Refuse compositions that do not determine the energy of an atom of each element.

    Parameters
    ----------
    frames : iterable of ase.Atoms
        With energies, or to have them; isolated atoms are left out where there is anything else.
    species : iterable of str
        Elements that are wanted beside those of the frames.

    Raises
    ------
    InputError
        When elements are there only together, in proportions that are the same or nearly so.
    """
    given = list(frames)
    bulk = [frame for frame in given if not is_isolated_atom(frame)] or given
    wanted = list(dict.fromkeys([*species, *_species(bulk)]))
    counts = _counts(bulk, wanted)
    columns = counts / np.sqrt(counts.sum(axis=1, keepdims=True))
    lengths = np.linalg.norm(columns, axis=0)
    absent = [symbol for symbol, length in zip(wanted, lengths, strict=True) if length == 0.0]
    if absent:
        raise InputError(
            f"e0 = 'fit' cannot find the energy of a single atom of {', '.join(absent)}, because no configuration "
            "with an energy contains it. Add some, or give e0 as a table of energies."
        )
    _, values, vectors = np.linalg.svd(columns / lengths, full_matrices=False)
    # With fewer configurations than elements there are fewer singular values, and the others are zero.
    if len(values) == len(wanted) and values[-1] >= SMALLEST_SINGULAR_VALUE:
        return
    determined = vectors[values >= SMALLEST_SINGULAR_VALUE]
    known = np.einsum("ij,ij->j", determined, determined)
    mixed = [symbol for symbol, part in zip(wanted, known, strict=True) if part < 1.0 - 1e-3]
    formulas = list(dict.fromkeys(frame.symbols.get_chemical_formula("metal", empirical=True) for frame in bulk))
    listed = ", ".join(formulas[:4]) + (", …" if len(formulas) > 4 else "")
    raise InputError(
        f"e0 = 'fit' cannot tell the energies of single atoms of {' and '.join(mixed)} apart: configurations with "
        f"energies contain these elements in the same proportion, or nearly so ({listed}). Add configurations of other "
        "compositions, such as the pure elements, give e0 = 'isolated' or a table of energies, or e0 = 'average', "
        "which is just as good if all configurations have the same composition."
    )


def _species(frames: Iterable[Atoms]) -> list[str]:
    return [
        chemical_symbols[number] for number in sorted({int(number) for frame in frames for number in frame.numbers})
    ]


def _counts(frames: Sequence[Atoms], species: Sequence[str]) -> FloatArray:
    """(n, s) array : atoms of each element in each frame."""
    symbols = [frame.get_chemical_symbols() for frame in frames]
    return np.array([[own.count(symbol) for symbol in species] for own in symbols], dtype=float).reshape(
        len(frames), len(species)
    )
