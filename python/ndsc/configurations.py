"""Perturbed supercells: the configurations that a database is made of (Allen and Bartók 2022, section 3.2).

Every configuration is drawn from a random stream of its own, seeded by (seed, supercell matrix, index). Asking for more
configurations, or for more supercells, therefore never changes the ones that were there, and any one of them can be
made again from its ``info``. Random numbers come from the raw output of a bit generator, and structures are rounded to
1e-8 Å, so one seed gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, Field, field_validator, model_validator

from ndsc.crystal import Crystal
from ndsc.decorations import Decorations, check_substitution, end_members, vegard_factor
from ndsc.errors import InputError
from ndsc.progress import Progress, silent
from ndsc.qgrid import available_memory
from ndsc.rounding import rounded
from ndsc.section import Real, Section, Whole, one_or_many
from ndsc.supercells import SupercellSet, make_supercell

FloatArray = NDArray[np.float64]

#: Configurations of one supercell: more than anybody can label.
MOST_CONFIGURATIONS = 100_000
#: Memory of a configuration, bytes, and of each of its atoms.
BYTES, BYTES_PER_ATOM = 4000, 120
#: What :func:`remake_configuration` needs, and what it may find.
RECIPE = (
    "ndsc_name", "config_type", "ndsc_matrix", "ndsc_seed", "ndsc_index", "ndsc_scale", "ndsc_strain",
    "ndsc_displacement",
)  # fmt: skip
OPTIONAL_RECIPE = ("ndsc_part", "ndsc_displaced", "ndsc_sheet", "ndsc_decoration", "ndsc_vegard")
#: Elements of a decoration, in ``ndsc_decoration``; it begins with one too, so that none looks like another value.
BETWEEN = "|"

#: What perturbs configurations at random, and so has no meaning beside a temperature or a trajectory.
RANDOM = ("displacement", "displaced", "unit_cell_displacement", "substitute")
#: What only means something beside a temperature and the harmonic model, and beside molecular dynamics.
OF_TEMPERATURE = ("statistics", "cutoff_frequency", "force_constants")
OF_DYNAMICS = ("potential", "timestep", "friction", "equilibration")
#: The potential of the run itself, as it is while labels are chosen.
CURRENT = "current"


Fraction = Annotated[Real, Field(ge=0, le=1)]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class ConfigurationSettings(Section):
    """``[configurations]``, or one part of a database in ``[[configurations]]``: how the supercells are perturbed."""

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.]+$",
        description="Give the name of this part of the database: letters, digits, dots and underscores.",
    )
    per_supercell: Whole = Field(
        default=20,
        ge=0,
        le=MOST_CONFIGURATIONS,
        description="Give the number of configurations of each supercell, for example 20.",
    )
    displacement: Annotated[tuple[Annotated[Real, Field(ge=0, le=1)], ...], BeforeValidator(one_or_many)] = Field(
        default=(0.05,),
        description="Give the standard deviation of the displacements in Å (0 to 1), or a list of values that are "
        "used in turn, for example displacement = 0.05.",
    )
    displaced: Literal["all", "one"] = Field(
        default="all",
        description="Give 'all' (every atom is displaced) or 'one' (a single atom, by exactly the displacement).",
    )
    strain: Real = Field(
        default=0.01,
        ge=0,
        le=0.25,
        description="Give the largest entry of the random symmetric strain, for example 0.01.",
    )
    scale: Annotated[tuple[Annotated[Real, Field(ge=0.75, le=1.25)], ...], BeforeValidator(one_or_many)] = Field(
        default=(0.98, 1.0, 1.02),
        description="Give the isotropic factors of the cell vectors, 0.75 to 1.25, for example scale = [0.98, 1.0, "
        "1.02].",
    )
    unit_cells: Whole = Field(
        default=1,
        ge=0,
        le=MOST_CONFIGURATIONS,
        description="Give the number of configurations of the unit cell itself; the first is unperturbed.",
    )
    unit_cell_displacement: Real = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Give the standard deviation of the displacements in Å (0 to 1) in all unit cells but the first, "
        "for a crystal of several atoms a cell.",
    )
    seed: Whole = Field(
        default=1, ge=0, description="Give a whole number, at least 0; the same seed gives the same bytes."
    )
    temperature: Annotated[tuple[Annotated[Real, Field(ge=0, le=1e5)], ...], BeforeValidator(one_or_many)] | None = (
        Field(
            default=None,
            description="Give a temperature in K, or a list of values that are used in turn; atoms are then "
            "displaced according to the harmonic model of the phonons, or by molecular dynamics, for example "
            "temperature = 300.",
        )
    )
    statistics: Literal["quantum", "classical"] | None = Field(
        default=None,
        description="With temperature, give 'quantum' (with the motion of zero temperature, the default) or "
        "'classical' (as in molecular dynamics).",
    )
    cutoff_frequency: Real | None = Field(
        default=None,
        ge=0,
        le=100,
        description="With temperature, give the frequency in THz below which modes are not displaced; the default is "
        "0.01. Imaginary modes count with their absolute value.",
    )
    force_constants: str | None = Field(
        default=None,
        min_length=1,
        description="With temperature, give a file of phonopy with force constants, as ndsc phonons --out writes it; "
        "without it they are those of the reference of the run, which is calculated first.",
    )
    trajectory: str | None = Field(
        default=None,
        min_length=1,
        description="Give a file whose frames are supercells of the crystal, molecular dynamics for example: these are "
        "the configurations of this part, instead of perturbed ones.",
    )
    every: Whole | None = Field(
        default=None,
        ge=1,
        description="With trajectory, give n to take every n-th frame; neighbouring frames are nearly the same. With "
        "dynamics, give the number of steps between two configurations; the default is 50.",
    )
    dynamics: Literal["langevin"] | None = Field(
        default=None,
        description="With temperature, give 'langevin' for molecular dynamics in the supercells, with that thermostat.",
    )
    potential: str | None = Field(
        default=None,
        min_length=1,
        description="With dynamics, give the potential to use: the folder of a run or of a fit, the XML file of a "
        "GAP, or, if labels are chosen, 'current' for the potential of the labels so far; without it, the "
        "reference is used.",
    )
    timestep: Real | None = Field(
        default=None, gt=0, le=20, description="With dynamics, give the time step in fs; the default is 2."
    )
    friction: Real | None = Field(
        default=None, gt=0, le=1, description="With dynamics, give the friction in 1/fs; the default is 0.01."
    )
    equilibration: Whole | None = Field(
        default=None,
        ge=0,
        le=10**7,
        description="With dynamics, give the number of steps before the first configuration; the default is 250.",
    )
    unlabelled: Whole = Field(
        default=100,
        ge=0,
        le=MOST_CONFIGURATIONS,
        description="Give the number of extra configurations from which only sparse points are taken.",
    )
    substitute: dict[str, Annotated[tuple[str, ...], BeforeValidator(_several)]] | None = Field(
        default=None,
        description="Give the elements that may be on the sites of an element, for example substitute = {Cu = ['Cu', "
        "'Au']}.",
    )
    concentration_restrictions: dict[str, tuple[Fraction, Fraction]] | None = Field(
        default=None,
        description="Give the smallest and the largest fraction of an element among all atoms, for example {Au = "
        "[0.25, 0.75]}.",
    )
    vegard: dict[str, Annotated[Real, Field(gt=0, le=1000)]] | None = Field(
        default=None,
        description="Give the lattice constants with one element on all substituted sites, for example {Cu = 3.61, "
        "Au = 4.08}: "
        "cells are scaled between them.",
    )

    @field_validator("substitute")
    @classmethod
    def _elements(cls, substitute: dict[str, tuple[str, ...]] | None) -> dict[str, tuple[str, ...]] | None:
        for element, others in (substitute or {}).items():
            for symbol in (element, *others):
                if symbol not in atomic_numbers:
                    raise ValueError(f"{symbol!r} is not a chemical symbol")
            if not set(others) - {element}:
                raise ValueError(f"{element} is not substituted by any other element")
        return substitute or None

    @field_validator("concentration_restrictions")
    @classmethod
    def _in_order(cls, limits: dict[str, tuple[float, float]] | None) -> dict[str, tuple[float, float]] | None:
        for symbol, (low, high) in (limits or {}).items():
            if low > high:
                raise ValueError(f"the range of {symbol} ends before it begins")
        return limits or None

    @model_validator(mode="after")
    def _with_a_substitution(self) -> Self:
        for name in ("concentration_restrictions", "vegard"):
            if getattr(self, name) is not None and self.substitute is None:
                raise ValueError(
                    f"{name} only has an effect with substitute, which is not given; add it, or remove {name}"
                )
        return self

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_fields_set
        if self.temperature is not None and self.trajectory is not None:
            raise ValueError(
                "temperature and trajectory are two ways to displace atoms; make a part of each with [[configurations]]"
            )
        if self.dynamics is not None and (self.temperature is None or min(self.temperature) <= 0):
            raise ValueError("dynamics needs a temperature above 0 K; give temperature = 300 for example")
        kind = "temperature" if self.temperature is not None else "trajectory" if self.trajectory is not None else ""
        kind = "dynamics" if self.dynamics is not None else kind
        beside = (*RANDOM, "strain", "scale", "per_supercell") if kind == "trajectory" else RANDOM if kind else ()
        if both := [name for name in beside if name in given and getattr(self, name) != self._default(name)]:
            raise ValueError(
                f"{both[0]} cannot be combined with {kind}, which determines the positions of the atoms; leave it "
                "out, or put it into another part with [[configurations]]"
            )
        if alone := [name for name in OF_TEMPERATURE if getattr(self, name) is not None and kind != "temperature"]:
            instead = "leave it out with dynamics" if kind == "dynamics" else "give temperature = 300, or leave it out"
            raise ValueError(f"{alone[0]} only has an effect with temperature and the harmonic model; {instead}")
        if alone := [name for name in OF_DYNAMICS if getattr(self, name) is not None and kind != "dynamics"]:
            raise ValueError(
                f"{alone[0]} only has an effect with dynamics; give dynamics = 'langevin', or leave it out"
            )
        if self.every is not None and kind not in ("trajectory", "dynamics"):
            raise ValueError("every only has an effect with trajectory or dynamics; leave it out")
        return self

    @classmethod
    def _default(cls, name: str) -> object:
        return cls.model_fields[name].default


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
    substitute: Mapping[str, Sequence[str]] | None = None,
    concentration_restrictions: Mapping[str, Sequence[float]] | None = None,
    vegard: Mapping[str, float] | None = None,
    progress: Progress = silent,
) -> list[Atoms]:
    """Perturb every supercell of a set, as section 3.2 of C. Allen and A. P. Bartók (2022) does.

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
    substitute : mapping of str to sequence of str, optional
        Elements that may be on the sites of an element of the crystal: alchemical perturbations. The decorations of a
        supercell are enumerated up to symmetry, and each is taken once before one is taken again, compositions in turn;
        where there are too many, they are drawn by chance. The unperturbed unit cell stays as it is. Configurations
        with other elements than the crystal's have the ``config_type`` ``"decorated"``.
    concentration_restrictions : mapping of str to two floats, optional
        Smallest and largest fraction of an element among all atoms.
    vegard : mapping of str to float, optional
        Lattice constants where all substituted sites have that element: cells are scaled linearly between them. Without
        it, all decorations have the cell of the crystal.
    progress : callable
        Called with ("configurations", supercells done, all).

    Returns
    -------
    list of ase.Atoms
        Unit cells first, then supercell by supercell; sheets are scaled and strained in their plane. ``info`` holds
        ``ndsc_name``, ``config_type`` and all that :func:`remake_configuration` needs.

    Raises
    ------
    InputError
        When a number is out of its range, or the configurations do not fit into memory.
    """
    settings = ConfigurationSettings(
        name=part,
        per_supercell=per_supercell,
        displacement=_plain(displacement),
        displaced=displaced,
        strain=strain,
        scale=_plain(scale),
        unit_cells=unit_cells,
        unit_cell_displacement=unit_cell_displacement,
        seed=seed,
        substitute=None if substitute is None else {key: tuple(value) for key, value in substitute.items()},
        concentration_restrictions=_pairs(concentration_restrictions),
        vegard=None if vegard is None else dict(vegard),
    )
    if settings.substitute is not None:
        check_substitution(supercells.atoms, settings.substitute, settings.concentration_restrictions, settings.vegard)
    if isinstance(first_index, bool) or not isinstance(first_index, int | np.integer) or first_index < 0:
        raise InputError(f"first_index = {first_index!r} is not a whole number of at least 0. Give one.")
    check_memory(supercells, settings)
    displacements, scales = settings.displacement, settings.scale
    # The only atom of a unit cell stays: the crystal would only be moved as a whole, and need another label for it.
    of_unit_cells = settings.unit_cell_displacement if len(supercells.atoms) > 1 else 0.0
    extra: dict[str, Any] = ({} if part is None else {"ndsc_part": part}) | (
        {} if displaced == "all" else {"ndsc_displaced": displaced}
    )
    if supercells.crystal.is_sheet:
        extra["ndsc_sheet"] = True
    prefix = "" if part is None else f"{part}-"

    def amplitude(index: int) -> float:
        return displacements[(index // len(scales)) % len(displacements)]

    found: dict[bytes, Decorations] = {}

    def decoration(matrix: ArrayLike, index: int) -> dict[str, Any]:
        """What is on the sites of a configuration, as its recipe says it; nothing where that is the crystal's own."""
        if settings.substitute is None:
            return {}
        rows = np.asarray(matrix, dtype=np.int64)
        if (key := rows.tobytes()) not in found:
            found[key] = Decorations.of(
                supercells.crystal, rows, settings.substitute, settings.concentration_restrictions
            )
        own, text = found[key], f"{seed}|{rows.reshape(9).tolist()}"
        numbers = own.pick(index, lambda name: uniform_stream(f"{text}|{name}"))
        if np.array_equal(numbers, own.parent):
            return {}
        decorated: dict[str, Any] = {"config_type": "decorated", "ndsc_decoration": _written(numbers)}
        if settings.vegard is not None:
            decorated["ndsc_vegard"] = vegard_factor(own.parent, numbers, settings.substitute, settings.vegard)
        return decorated

    made: dict[bytes, Atoms] = {}

    def perfect(matrix: ArrayLike) -> Atoms:
        key = np.asarray(matrix, dtype=np.int64).tobytes()
        if key not in made:
            made.clear()
            made[key] = make_supercell(supercells.atoms, matrix)
        return made[key].copy()

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
                "ndsc_strain": settings.strain if perturbed else 0.0,
                "ndsc_displacement": moved,
                **extra,
                **(decoration(matrix, index) if perturbed else {}),
            },
            perfect(matrix),
        )

    identity = np.eye(3, dtype=np.int64)
    configurations = [
        recipe(f"unit-{i:04d}", "unit_cell", identity, i, perturbed=i > 0, moved=of_unit_cells if i else 0.0)
        for i in range(unit_cells)
    ]
    for number, matrix in enumerate(supercells.matrices):
        progress("configurations", number, len(supercells))
        configurations += [
            recipe(f"s{number:03d}-{i:04d}", "supercell", matrix, i, perturbed=True, moved=amplitude(i))
            for i in range(first_index, first_index + per_supercell)
        ]
    progress("configurations", len(supercells), len(supercells))
    return configurations


def remake_configuration(atoms: Atoms, info: Mapping[str, Any]) -> Atoms:
    """Make a configuration again from the unit cell and the ``info`` that it carried.

    Parameters
    ----------
    atoms : ase.Atoms
        The unit cell that the supercells were made of.
    info : mapping
        The ``info`` of a configuration from :func:`make_configurations`, also after a trip through extended XYZ.

    Returns
    -------
    ase.Atoms
        The same configuration, to 1e-8 Å.

    Raises
    ------
    InputError
        When `info` lacks one of the keys.
    """
    if "ndsc_dynamics" in info:
        raise InputError(
            "The configuration cannot be made again from its info alone: it is a frame of molecular dynamics. Use "
            "ndsc.dynamics.dynamics_configurations with the same potential."
        )
    if "ndsc_temperature" in info:
        raise InputError(
            "The configuration cannot be made again from its info alone: its displacements were drawn from force "
            "constants. Use ndsc.thermal.thermal_configurations with these."
        )
    missing = [key for key in RECIPE if key not in info]
    if missing:
        raise InputError(
            f"The configuration cannot be made again: its info lacks {', '.join(missing)}. Only configurations that "
            "ndsc made carry their recipe."
        )
    return _configuration(atoms, {key: info[key] for key in (*RECIPE, *OPTIONAL_RECIPE) if key in info})


def end_configurations(crystal: Crystal, settings: ConfigurationSettings) -> list[Atoms]:
    """The unperturbed crystals at the ends of the range of composition, which formation energies are relative to.

    Parameters
    ----------
    crystal : Crystal
    settings : ConfigurationSettings
        Without substitution there are none.

    Returns
    -------
    list of ase.Atoms
        Unit cells with one element on all sites of an element, as large as Vegard's law has them.
    """
    if settings.substitute is None:
        return []
    parent, found = crystal.atoms.numbers.astype(np.int64), []
    for numbers in end_members(crystal.atoms, settings.substitute, settings.concentration_restrictions):
        own = crystal.atoms.copy()
        own.numbers = numbers
        info: dict[str, Any] = {
            "ndsc_name": f"{'' if settings.name is None else f'{settings.name}-'}unit-{own.get_chemical_formula()}",
            "config_type": "decorated",
            "ndsc_matrix": np.eye(3, dtype=np.int64).reshape(9),
            "ndsc_seed": settings.seed,
            "ndsc_index": 0,
            "ndsc_scale": 1.0,
            "ndsc_strain": 0.0,
            "ndsc_displacement": 0.0,
            "ndsc_decoration": _written(numbers),
        }
        if settings.name is not None:
            info["ndsc_part"] = settings.name
        if crystal.is_sheet:
            info["ndsc_sheet"] = True
        if settings.vegard is not None:
            info["ndsc_vegard"] = vegard_factor(parent, numbers, settings.substitute, settings.vegard)
        found.append(_configuration(crystal.atoms, info))
    return found


def strata(frames: Sequence[Atoms]) -> list[tuple[Any, ...]]:
    """Of each configuration the kind: supercell, amplitude, scale, temperature and, with substitutions, composition.

    Configurations of one kind tell about as much.
    """
    keys = ("ndsc_displacement", "ndsc_scale", "ndsc_temperature")
    return [
        (
            len(frame),
            np.asarray(frame.info.get("ndsc_matrix", ())).tobytes(),
            *(round(float(frame.info[key]), 6) if key in frame.info else None for key in keys),
            *((np.sort(frame.numbers).tobytes(),) if "ndsc_decoration" in frame.info else ()),
        )
        for frame in frames
    ]


def _configuration(unit_cell: Atoms, recipe: dict[str, Any], perfect: Atoms | None = None) -> Atoms:
    """What a recipe says; the perfect supercell, which becomes it, is made where it is not given."""
    matrix = np.asarray(recipe["ndsc_matrix"], dtype=np.int64).reshape(3, 3)
    perfect = make_supercell(unit_cell, matrix) if perfect is None else perfect
    n_atoms = len(perfect)
    uniform = uniform_stream(f"{recipe['ndsc_seed']}|{matrix.reshape(9).tolist()}|{recipe['ndsc_index']}")
    strain = symmetric_strain(uniform(6), float(recipe["ndsc_strain"]))
    if recipe.get("ndsc_displaced", "all") == "one":
        displacements = float(recipe["ndsc_displacement"]) * _one_atom(uniform, n_atoms)
    else:
        displacements = float(recipe["ndsc_displacement"]) * normal_numbers(uniform, 3 * n_atoms).reshape(n_atoms, 3)

    if "ndsc_decoration" in recipe:
        _decorate(perfect, str(recipe["ndsc_decoration"]))
    return deformed(perfect, strain, displacements, recipe)


def deformed(perfect: Atoms, strain: FloatArray, displacements: FloatArray, recipe: Mapping[str, Any]) -> Atoms:
    """A supercell scaled and strained as its recipe says, sheets in their plane, with displaced atoms."""
    deformation = float(recipe["ndsc_scale"]) * float(recipe.get("ndsc_vegard", 1.0)) * (np.eye(3) + strain)
    if recipe.get("ndsc_sheet", False):
        # A sheet is strained in its plane.
        deformation[2, :] = deformation[:, 2] = (0.0, 0.0, 1.0)
    for name in ("ndsc_basis", "ndsc_lattice_point"):
        del perfect.arrays[name]
    perfect.set_cell(perfect.cell.array @ deformation)
    perfect.positions = perfect.positions @ deformation + displacements
    configuration = rounded(perfect)
    configuration.info.update(recipe)
    return configuration


def _written(numbers: Sequence[int] | NDArray[np.int64]) -> str:
    """A decoration as text."""
    return "".join(BETWEEN + chemical_symbols[number] for number in numbers)


def _decorate(atoms: Atoms, decoration: str) -> None:
    """Substitute atoms; those of other elements have the masses of these, and no moments or charges of the old ones."""
    numbers = np.array([atomic_numbers[symbol] for symbol in decoration.strip(BETWEEN).split(BETWEEN)])
    changed = numbers != atoms.numbers
    atoms.numbers = numbers
    if atoms.has("masses"):
        masses = atoms.arrays["masses"]
        masses[changed] = atomic_masses[numbers[changed]]
    for name in ("initial_magmoms", "initial_charges"):
        if atoms.has(name):
            atoms.arrays[name][changed] = 0.0


def symmetric_strain(uniform: FloatArray, largest: float) -> FloatArray:
    """(3, 3) array : a symmetric strain with entries in (-largest, largest), of six numbers uniform in (0, 1)."""
    xx, yy, zz, yz, xz, xy = largest * (2.0 * uniform - 1.0)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def uniform_stream(seed_text: str) -> Any:
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
    direction = normal_numbers(uniform, 3)
    displacements = np.zeros((n_atoms, 3))
    displacements[chosen] = direction / np.linalg.norm(direction)
    return displacements


def normal_numbers(uniform: Any, n: int) -> FloatArray:
    """n numbers of a standard normal distribution, by the Box-Muller transform."""
    half = (n + 1) // 2
    radius = np.sqrt(-2.0 * np.log(uniform(half)))
    angle = 2.0 * np.pi * uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


def _pairs(limits: Mapping[str, Sequence[float]] | None) -> Any:
    return None if limits is None else {key: tuple(value) for key, value in limits.items()}


def _plain(value: Any) -> Any:
    """An array as a list."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def check_memory(supercells: SupercellSet, settings: ConfigurationSettings) -> None:
    """Refuse more configurations than fit into memory before the first one is made.

    Raises
    ------
    InputError
        When they do not.
    """
    sizes = supercells.sizes
    number = settings.unit_cells + settings.per_supercell * len(sizes)
    cells = settings.unit_cells + settings.per_supercell * int(np.sum(sizes))
    needed, there = BYTES * number + BYTES_PER_ATOM * cells * len(supercells.atoms), available_memory()
    if needed > there:
        raise InputError(
            f"{number:,} configurations of {len(sizes)} supercells take {needed / 1e9:.3g} GB of memory, and "
            f"{there / 1e9:.3g} GB are free. Lower per_supercell = {settings.per_supercell:,} (or unit_cells = "
            f"{settings.unit_cells:,})."
        )
