"""Perturbed supercells: the configurations that a database is made of (Allen and Bartók 2022, section 3.2).

Every configuration is drawn from a random stream of its own, seeded by (seed, supercell matrix, index). Asking for more
configurations, or for more supercells, therefore never changes the ones that were there, and any one of them can be
made again from its ``info``. Random numbers come from the raw output of a bit generator, and structures are rounded to
1e-8 Å, so one seed gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError
from ndsc.rounding import rounded
from ndsc.supercells import SupercellSet, make_supercell

FloatArray = NDArray[np.float64]

#: Largest strain component and largest deviation of the scale from 1 that still count as a small perturbation.
LARGEST_DEFORMATION = 0.25


def make_configurations(
    supercells: SupercellSet,
    *,
    per_supercell: int = 20,
    displacement: float | Sequence[float] = 0.05,
    strain: float = 0.01,
    scale: float | Sequence[float] = (0.98, 1.0, 1.02),
    unit_cells: int = 1,
    unit_cell_displacement: float = 0.0,
    seed: int = 0,
    first_index: int = 0,
    displaced: Literal["all", "one"] = "all",
    part: str | None = None,
) -> list[Atoms]:
    """Perturb every supercell of a set.

    Configuration i of a supercell is scaled by ``scale[i % len(scale)]``, strained, and its atoms are displaced with
    the standard deviation ``displacement[(i // len(scale)) % len(displacement)]``.

    Parameters
    ----------
    supercells : SupercellSet
        The supercells, of the relaxed unit cell.
    per_supercell : int
        Configurations of each supercell.
    displacement : float or sequence of floats, Å
        Standard deviation of the normal displacements of each Cartesian component; several are taken in turn.
    strain : float
        Each component of the symmetric strain is uniform in (-strain, strain); ``L' = L (I + strain)``.
    scale : float or sequence of floats
        Isotropic scaling factors of the cell vectors, taken in turn.
    unit_cells : int
        Configurations of the unit cell itself: the first is unperturbed, the others are scaled and strained.
    unit_cell_displacement : float, Å
        Displacement of the atoms of all unit cells but the first, as `displaced` says. At 0 they stay at their ideal
        fractional positions, which says nothing of how the atoms of a crystal with a basis relax in a strained cell.
        The only atom of a unit cell of one stays where it is.
    seed : int
        Seed of all random streams, not negative.
    first_index : int
        Index of the first configuration of each supercell, to continue an earlier series.
    displaced : str
        ``"all"`` atoms of a cell by normal displacements, or only ``"one"``, drawn at random, by exactly
        `displacement` in a random direction, as in databases made for force constants.
    part : str, optional
        Name of this part of a database. It is recorded as ``ndsc_part`` and begins the name of every configuration, so
        that parts made by several calls can be told apart.

    Returns
    -------
    list of ase.Atoms
        Unit cells first, then supercell by supercell. ``info`` holds ``ndsc_name``, ``config_type`` and all that
        :func:`remake_configuration` needs.

    Raises
    ------
    InputError
        When a number is out of its range.
    """
    displacements = _amplitudes("displacement", displacement, lowest=0.0, highest=np.inf)
    scales = _amplitudes("scale", scale, lowest=1 - LARGEST_DEFORMATION, highest=1 + LARGEST_DEFORMATION)
    strain = _one_amplitude("strain", strain, highest=LARGEST_DEFORMATION)
    of_unit_cells = _one_amplitude("unit_cell_displacement", unit_cell_displacement, highest=np.inf)
    if len(supercells.atoms) == 1:
        of_unit_cells = 0.0  # The crystal would only be moved as a whole, and need another label for it.
    for name, number in (
        ("per_supercell", per_supercell),
        ("unit_cells", unit_cells),
        ("seed", seed),
        ("first_index", first_index),
    ):
        _check_count(name, number)
    if displaced not in ("all", "one"):
        raise InputError(f"displaced = {displaced!r} is neither 'all' nor 'one'. Give one of the two.")
    extra = ({} if part is None else {"ndsc_part": part}) | (
        {} if displaced == "all" else {"ndsc_displaced": displaced}
    )
    prefix = "" if part is None else f"{part}-"

    def amplitude(index: int) -> float:
        return displacements[(index // len(scales)) % len(displacements)]

    def recipe(name: str, kind: str, matrix: ArrayLike, index: int, *, perturbed: bool, moved: float) -> Atoms:
        return _configuration(
            supercells.atoms,
            {
                "ndsc_name": prefix + name,
                "config_type": kind,
                "ndsc_matrix": np.asarray(matrix, dtype=np.int64).reshape(9),
                "ndsc_seed": seed,
                "ndsc_index": index,
                "ndsc_scale": scales[index % len(scales)] if perturbed else 1.0,
                "ndsc_strain": strain if perturbed else 0.0,
                "ndsc_displacement": moved,
                **extra,
            },
        )

    identity = np.eye(3, dtype=np.int64)
    configurations = [
        recipe(f"unit-{i:04d}", "unit_cell", identity, i, perturbed=i > 0, moved=of_unit_cells if i else 0.0)
        for i in range(unit_cells)
    ]
    for number, matrix in enumerate(supercells.matrices):
        configurations += [
            recipe(f"s{number:03d}-{i:04d}", "supercell", matrix, i, perturbed=True, moved=amplitude(i))
            for i in range(first_index, first_index + per_supercell)
        ]
    return configurations


def remake_configuration(atoms: Atoms, info: Mapping[str, Any]) -> Atoms:
    """Make a configuration again from the unit cell and the ``info`` that it carried.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell that the supercells were made of.
    info : mapping
        The ``info`` of a configuration from :func:`make_configurations`, also after a trip through extended XYZ.

    Raises
    ------
    InputError
        When `info` lacks one of the keys.
    """
    needed = (
        "ndsc_name",
        "config_type",
        "ndsc_matrix",
        "ndsc_seed",
        "ndsc_index",
        "ndsc_scale",
        "ndsc_strain",
        "ndsc_displacement",
    )
    missing = [key for key in needed if key not in info]
    if missing:
        raise InputError(
            f"The configuration cannot be made again: its info lacks {', '.join(missing)}. Only configurations that "
            "ndsc made carry their recipe."
        )
    optional = [key for key in ("ndsc_part", "ndsc_displaced") if key in info]
    return _configuration(atoms, {key: info[key] for key in (*needed, *optional)})


def _configuration(unit_cell: Atoms, recipe: dict[str, Any]) -> Atoms:
    matrix = np.asarray(recipe["ndsc_matrix"], dtype=np.int64).reshape(3, 3)
    perfect = make_supercell(unit_cell, matrix)
    n_atoms = len(perfect)
    uniform = _uniform_stream(f"{recipe['ndsc_seed']}|{matrix.reshape(9).tolist()}|{recipe['ndsc_index']}")
    strain = _symmetric_strain(uniform(6), float(recipe["ndsc_strain"]))
    if recipe.get("ndsc_displaced", "all") == "one":
        displacements = float(recipe["ndsc_displacement"]) * _one_atom(uniform, n_atoms)
    else:
        displacements = float(recipe["ndsc_displacement"]) * _normal(uniform, 3 * n_atoms).reshape(n_atoms, 3)

    deformation = float(recipe["ndsc_scale"]) * (np.eye(3) + strain)
    configuration = Atoms(
        numbers=perfect.numbers,
        cell=perfect.cell.array @ deformation,
        positions=perfect.positions @ deformation + displacements,
        pbc=True,
    )
    if perfect.has("initial_magmoms"):
        configuration.set_initial_magnetic_moments(perfect.get_initial_magnetic_moments())
    configuration = rounded(configuration)
    configuration.info.update(recipe)
    return configuration


def _symmetric_strain(uniform: FloatArray, largest: float) -> FloatArray:
    xx, yy, zz, yz, xz, xy = largest * (2.0 * uniform - 1.0)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _uniform_stream(seed_text: str) -> Any:
    """A function that draws the next n numbers uniform in (0, 1).

    NumPy fixes the raw output of its bit generators for good, but not what ``Generator`` makes of it.
    """
    seed = int.from_bytes(hashlib.sha256(seed_text.encode()).digest(), "big")
    source = np.random.PCG64(np.random.SeedSequence(seed))

    def draw(n: int) -> FloatArray:
        bits: NDArray[np.uint64] = source.random_raw(n)
        return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    return draw


def _one_atom(uniform: Any, n_atoms: int) -> FloatArray:
    """A unit vector in a random direction for one atom, zeros for the others."""
    chosen = int(uniform(1)[0] * n_atoms)
    direction = _normal(uniform, 3)
    displacements = np.zeros((n_atoms, 3))
    displacements[chosen] = direction / np.linalg.norm(direction)
    return displacements


def _normal(uniform: Any, n: int) -> FloatArray:
    """n numbers of a standard normal distribution, by the Box-Muller transform."""
    half = (n + 1) // 2
    radius = np.sqrt(-2.0 * np.log(uniform(half)))
    angle = 2.0 * np.pi * uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


def _amplitudes(name: str, value: float | Sequence[float], *, lowest: float, highest: float) -> list[float]:
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} = {value!r} is not a number or a list of numbers. Give one or several.") from error
    if numbers.ndim != 1 or numbers.size == 0:
        raise InputError(f"{name} = {value!r} is empty or nested. Give one number or a flat list of them.")
    if not (np.all(np.isfinite(numbers)) and np.all(numbers >= lowest) and np.all(numbers <= highest)):
        upper = "" if np.isinf(highest) else f" and at most {highest:g}"
        raise InputError(
            f"{name} = {value!r} is out of range. Give finite numbers of at least {lowest:g}{upper}: perturbations "
            "must stay small."
        )
    return [float(number) for number in numbers]


def _one_amplitude(name: str, value: float, *, highest: float) -> float:
    numbers = _amplitudes(name, value, lowest=0.0, highest=highest)
    if len(numbers) > 1:
        raise InputError(f"{name} = {value!r} is a list. Give one number.")
    return numbers[0]


def _check_count(name: str, number: int) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 0:
        raise InputError(f"{name} = {number!r} is not a whole number of at least 0. Give one.")
