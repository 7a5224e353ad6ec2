"""Databases of the user's own, ``[[database]]``, which are fitted together with the labels of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ase import Atoms
from pydantic import BeforeValidator, Field, field_validator

from ndsc.database import with_our_names
from ndsc.errors import InputError
from ndsc.extended_xyz import read_frames
from ndsc.fit.regularisation import Regularisation, apply_regularisation
from ndsc.plausibility import check_plausible
from ndsc.section import Real, Section
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, targets_of

#: What a key is given as where the file has no such values.
NO_KEY = "none"
#: The type of frames that have none.
NO_TYPE = "default"
#: Arrays that are kept of a frame; others might mean something to another program.
ARRAYS = ("numbers", "positions", "initial_magmoms", "initial_charges", "masses", "tags", FORCES_KEY)
#: How many frames a message lists.
LISTED = 5

Weight = Annotated[Real, Field(gt=0, le=1e6)]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class TypeSettings(Section):
    """What holds for the frames of one ``config_type`` instead of what holds for the whole file.

    Attributes
    ----------
    regularisation : Regularisation or None
        Expected errors; what it does not give is that of the file.
    weight : float or None
        Its frames count as if each were there so many times.
    """

    regularisation: Regularisation | None = Field(
        default=None, description="Give a table of keys of [regularisation], for example {energy = 0.01}."
    )
    weight: Weight | None = Field(
        default=None, description="Give how many times each frame counts, for example 0.5 or 2.0."
    )


class DatabaseSettings(Section):
    """``[[database]]``: labelled configurations of the user's own, fitted together with those of the run.

    Attributes
    ----------
    file : str
        Extended XYZ (also compressed), or another file of several frames that ASE reads.
    name : str or None
        What results call it; the name of the file by default.
    energy_key, forces_key, virial_key, stress_key : str
        Names of the energy (eV), forces (eV/Å), virial (eV) and stress (eV/Å³, ASE's sign) in the file; ``"none"`` for
        what is not to be read. A stress takes the place of the virial.
    config_types : tuple of str or None
        Frames of which ``config_type`` to take; all by default.
    regularisation : Regularisation or None
        Expected errors; what it does not give is that of the run.
    weight : float
        Frames count as if each were there so many times: their sigmas are divided by its square root.
    types : mapping of str to TypeSettings
        What differs for frames of some ``config_type``.
    """

    file: Annotated[str, Field(min_length=1)] = Field(
        description="Give the path of labelled configurations, as file = 'own.extxyz', relative to the input file."
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")] | None = Field(
        default=None,
        description="Give the name under which it appears in the results, of letters, digits, '_', '.', '+' and '-'.",
    )
    energy_key: str = Field(default=ENERGY_KEY, description="Give the key of the energy (eV) in the file, or 'none'.")
    forces_key: str = Field(default=FORCES_KEY, description="Give the key of the forces (eV/Å) in the file, or 'none'.")
    virial_key: str = Field(default=VIRIAL_KEY, description="Give the key of the virial (eV) in the file, or 'none'.")
    stress_key: str = Field(
        default=NO_KEY,
        description="Give the key of the stress (eV/Å³, ASE's sign) in the file, if it has no virials.",
    )
    config_types: Annotated[tuple[str, ...], BeforeValidator(_several)] | None = Field(
        default=None,
        description="Give the config_type of the frames to use, or a list of several; without it, all frames are used.",
    )
    regularisation: Regularisation | None = Field(
        default=None,
        description="Give a table of keys of [regularisation] that differ for this file, for example {energy = 0.01}.",
    )
    weight: Weight = Field(default=1.0, description="Give how many times each frame counts, for example 0.5 or 2.0.")
    types: dict[str, TypeSettings] = Field(
        default={},
        description="Give a table for each config_type that differs, for example [database.types.liquid] with weight "
        "= 0.5.",
    )

    @field_validator("config_types")
    @classmethod
    def _some_types(cls, types: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if types is not None and not types:
            raise ValueError("the list is empty, which takes no frame")
        return types

    @property
    def title(self) -> str:
        """The name, or that of the file without its endings."""
        return self.name or Path(self.file).name.split(".", 1)[0].replace("/", "-").replace(" ", "-") or "database"

    @property
    def keys(self) -> dict[str, str | None]:
        """The names of the targets as :func:`ndsc.database.read_database` takes them."""
        keys = {name: getattr(self, name) for name in ("energy_key", "forces_key", "virial_key", "stress_key")}
        if "stress_key" in self.model_fields_set and "virial_key" not in self.model_fields_set:
            keys["virial_key"] = NO_KEY
        return {name: None if key == NO_KEY else key for name, key in keys.items()}


@dataclass(frozen=True, eq=False)
class OwnDatabase:
    """A database of the user's own, read and checked.

    Attributes
    ----------
    settings : DatabaseSettings
    frames : list of ase.Atoms
        With targets (``REF_*``) and a name of their own (``ndsc_name``: database and number in the file). The
        ``config_type`` is preceded by the name of the database and a slash, so that results tell them apart.
    types : tuple of str
        The ``config_type`` of each as the file has it.
    warnings : tuple of str
        What is unusual about it.
    """

    settings: DatabaseSettings
    frames: list[Atoms]
    types: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What results call it."""
        return self.settings.title

    @property
    def by_type(self) -> dict[str, list[Atoms]]:
        """The frames of each ``config_type``, as the file has it."""
        found: dict[str, list[Atoms]] = {kind: [] for kind in self.types}
        for kind, frame in zip(self.types, self.frames, strict=True):
            found[kind].append(frame)
        return found

    def regularised(self, run: Regularisation) -> list[Atoms]:
        """The frames with a sigma for every target.

        Parameters
        ----------
        run : Regularisation
            The expected errors of the run, which hold where the database gives none.
        """
        found: list[Atoms] = []
        for kind, frame in zip(self.types, self.frames, strict=True):
            found += apply_regularisation([frame], self.regularisation_of(kind, run))
        return found

    def regularisation_of(self, kind: str, run: Regularisation) -> Regularisation:
        """Expected errors of the frames of a ``config_type``, their weight counted in.

        Parameters
        ----------
        kind : str
            As the file has it.
        run : Regularisation
            What holds where the database gives nothing.
        """
        own = self.settings.types.get(kind, TypeSettings())
        expected = _on_top_of(_on_top_of(run, self.settings.regularisation), own.regularisation)
        return expected.scaled(self.weight_of(kind) ** -0.5)

    def said_of(self, kind: str) -> dict[str, Any]:
        """What the file of the user says of expected errors of the frames of a ``config_type``, without defaults."""
        own = self.settings.types.get(kind, TypeSettings())
        found: dict[str, Any] = {}
        for said in (self.settings.regularisation, own.regularisation):
            values = {} if said is None else said.model_dump(exclude_unset=True, exclude={"preset"})
            for key, value in values.items():
                found[key] = {**found.get(key, {}), **value} if isinstance(value, Mapping) else value
        return found

    def weight_of(self, kind: str) -> float:
        """How many times the frames of a ``config_type`` count."""
        own = self.settings.types.get(kind, TypeSettings()).weight
        return self.settings.weight if own is None else own


def read_own_databases(sections: Iterable[DatabaseSettings]) -> tuple[OwnDatabase, ...]:
    """Read and check databases; what they have in common with a run or each other is not looked at.

    Parameters
    ----------
    sections : iterable of DatabaseSettings

    Raises
    ------
    InputError
        When a file cannot be read, lacks a key or a ``config_type`` that is named, a frame has no target that could be
        fitted, or values cannot be right.
    """
    return tuple(_read(section) for section in sections)


def _read(section: DatabaseSettings) -> OwnDatabase:
    path = Path(section.file)
    every = read_frames(path)
    types = [str(frame.info.get("config_type", NO_TYPE)) for frame in every]
    _check_types(section, types)
    taken = set(types if section.config_types is None else section.config_types)
    wanted = [number for number, kind in enumerate(types) if kind in taken]
    frames = with_our_names(every, section.keys, source=path, wanted=wanted)
    kinds = tuple(types[number] for number in wanted)
    empty = [number for number, frame in zip(wanted, frames, strict=True) if not has_targets(frame)]
    if empty:
        listed = ", ".join(map(str, empty[:LISTED])) + (", …" if len(empty) > LISTED else "")
        raise InputError(
            f"{len(empty)} of {len(wanted)} frames of {path} have no target under the keys "
            f"{', '.join(key for key in section.keys.values() if key)} (frames {listed}), so there is nothing to fit "
            "to. Name the keys that hold their energies, forces or stresses, or leave them out: config_types selects "
            "frames by their config_type."
        )
    own = [_clean(frame, section.title, number, types[number]) for number, frame in zip(wanted, frames, strict=True)]
    return OwnDatabase(section, own, kinds, tuple(check_plausible(own, source=str(path))))


def _check_types(section: DatabaseSettings, types: Sequence[str]) -> None:
    """Refuse the name of a ``config_type`` that no frame has, or that is not taken."""
    there = Counter(types)
    listed = ", ".join(f"{kind} ({number})" for kind, number in there.items())
    missing = [kind for kind in section.config_types or () if kind not in there]
    if missing:
        raise InputError(
            f"No frame of {section.file} has the config_type {', '.join(missing)}; there are {listed}. Correct "
            "config_types, or leave it out to take all."
        )
    taken = set(there if section.config_types is None else section.config_types)
    unused = [kind for kind in section.types if kind not in taken]
    if unused:
        raise InputError(
            f"[database.types] {', '.join(unused)} is not among the config_types that are taken of {section.file}: "
            f"{', '.join(kind for kind in there if kind in taken)}. Correct the name, or leave the table out."
        )


def _clean(frame: Atoms, title: str, number: int, kind: str) -> Atoms:
    """The structure with its targets, a name and a type, and nothing that means something elsewhere."""
    targets = {key: frame.info[key] for key in (ENERGY_KEY, VIRIAL_KEY) if key in frame.info}
    names = {"ndsc_name": f"{title}/{number}", "ndsc_frame": number, "config_type": f"{title}/{kind}"}
    frame.info = {**names, **targets}
    for name in set(frame.arrays) - set(ARRAYS):
        del frame.arrays[name]
    frame.set_constraint()
    return frame


def has_targets(frame: Atoms) -> bool:
    """Whether there is anything in a frame that could be fitted."""
    targets = targets_of(frame)
    return any(value is not None for value in (targets.energy, targets.forces, targets.virial))


def check_elements(databases: Iterable[OwnDatabase], symbols: Iterable[str]) -> None:
    """Refuse databases with elements that a crystal has not.

    Raises
    ------
    InputError
        The message names the file, the elements, and the types of the frames that have them.
    """
    own = sorted(set(symbols))
    for database in databases:
        foreign: dict[str, None] = {}
        kinds: dict[str, None] = {}
        for kind, frame in zip(database.types, database.frames, strict=True):
            strange = [symbol for symbol in dict.fromkeys(frame.get_chemical_symbols()) if symbol not in own]
            foreign |= dict.fromkeys(strange)
            kinds |= {kind: None} if strange else {}
        if foreign:
            raise InputError(
                f"{database.settings.file} has {', '.join(foreign)} (config_type {', '.join(kinds)}), and the crystal, "
                f"whose potential this is, has {', '.join(own)} only. Leave these frames out: config_types selects "
                "frames by their config_type."
            )


def _on_top_of(base: Regularisation, said: Regularisation | None) -> Regularisation:
    """`base` with what `said` gives explicitly."""
    if said is None:
        return base
    values: dict[str, Any] = base.model_dump(exclude={"preset"})
    for key, value in said.model_dump(exclude_unset=True, exclude={"preset"}).items():
        values[key] = values[key] | value if isinstance(value, Mapping) else value
    return Regularisation(**values)
