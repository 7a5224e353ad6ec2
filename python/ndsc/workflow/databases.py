"""Databases of the user's own in a run: read before anything else, and compared with what the run labels itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from ndsc.config import RunConfig
from ndsc.errors import InputError
from ndsc.fit import Regularisation
from ndsc.fit.composition import check_compositions
from ndsc.fit.databases import OwnDatabase, read_own_databases
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.same_reference import check_same_reference, same_structures
from ndsc.selection.given import GivenSigmas
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY

#: How many structures a message lists.
LISTED = 4


@dataclass(frozen=True, eq=False)
class OwnDatabases:
    """All databases of the user's own that a run fits.

    Attributes
    ----------
    each : tuple of OwnDatabase
    warnings : tuple of str
        What is unusual about them.
    """

    each: tuple[OwnDatabase, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_config(cls, config: RunConfig) -> OwnDatabases:
        """Read those that an input file names.

        Raises
        ------
        InputError
            When one cannot be used, or two cannot be of one reference.
        """
        each = read_own_databases(config.database)
        apart = check_same_reference(_by_file(each))
        return cls(each, (*(text for one in each for text in one.warnings), *apart))

    @property
    def frames(self) -> list[Atoms]:
        """The frames of all, with their targets."""
        return [frame for database in self.each for frame in database.frames]

    @property
    def weights(self) -> list[float]:
        """How many times each of the frames counts."""
        return [database.weight_of(kind) for database in self.each for kind in database.types]

    @property
    def given(self) -> list[GivenSigmas | None]:
        """What the input file gives of the sigmas of each of the frames."""
        return [
            GivenSigmas.of_frame(frame, said) if (said := database.said_of(kind)) else None
            for database in self.each
            for kind, frame in zip(database.types, database.frames, strict=True)
        ]

    def regularised(self, run: Regularisation) -> list[Atoms]:
        """The frames with a sigma for every target; `run` holds where a database gives no expected errors."""
        return [frame for database in self.each for frame in database.regularised(run)]

    def check_e0(self, fit: FitterSettings, crystals: Sequence[Atoms]) -> list[str]:
        """Look whether energies of single atoms can be had of them and the labels of crystals, and are sensible.

        Parameters
        ----------
        fit : FitterSettings
        crystals : sequence of ase.Atoms
            One of each composition that will be labelled.

        Returns
        -------
        list of str
            What is doubtful.

        Raises
        ------
        InputError
            When they are to be fitted, and compositions do not determine them.
        """
        with_energy = [frame for frame in self.frames if ENERGY_KEY in frame.info]
        if fit.e0 == "fit":
            check_compositions([*crystals, *with_energy])
        if fit.e0 == "average" and _several_compositions([*crystals, *with_energy]):
            what = "the databases have other compositions than the crystal"
            if _several_compositions(crystals):
                what = "there are several compositions"
            return [
                f"[fit] e0 = 'average' gives all elements the same energy, and {what}, so the potential has to learn "
                "the difference between the elements. [fit] e0 = 'fit' finds an energy for each element."
            ]
        return []

    def check_labels(self, labelled: Sequence[Atoms], calculator: str) -> list[str]:
        """Compare their energies with the first labels of a run.

        Parameters
        ----------
        labelled : sequence of ase.Atoms
            With ``REF_energy``.
        calculator : str
            What messages call the calculator of the run.

        Returns
        -------
        list of str
            What is doubtful.

        Raises
        ------
        InputError
            When they cannot be of one reference.
        """
        if not labelled:
            return []
        ours = f"the labels of this run ({calculator})"
        return [
            text
            for name, frames in _by_file(self.each).items()
            for text in check_same_reference({name: frames, ours: labelled})
        ]

    def check_repeated(self, labelled: Sequence[Atoms]) -> list[str]:
        """Look for structures that a run will label too.

        Parameters
        ----------
        labelled : sequence of ase.Atoms
            What it will label in any case, by ``ndsc_name``.

        Returns
        -------
        list of str
            That the unperturbed unit cell is there, which is labelled nevertheless.

        Raises
        ------
        InputError
            When other structures are there.
        """
        notes = []
        for database in self.each:
            pairs = same_structures(database.frames, labelled)
            perfect = [pair for pair in pairs if _is_perfect(labelled[pair[1]])]
            others = [pair for pair in pairs if pair not in perfect]
            if others:
                listed = ", ".join(
                    f"frame {database.frames[a].info['ndsc_frame']} is {labelled[b].info['ndsc_name']}"
                    for a, b in others[:LISTED]
                )
                raise InputError(
                    f"{database.settings.file} has {len(others)} structures that this run labels itself, so they "
                    f"would count twice ({listed}{', …' if len(others) > LISTED else ''}). Leave them out of the "
                    "file, or give [configurations] another seed; [selection] method = 'information' chooses none "
                    "that is there."
                )
            notes += [
                f"{database.settings.file} has the unperturbed unit cell (frame "
                f"{database.frames[a].info['ndsc_frame']}), which the run labels too: it counts twice."
                for a, _ in perfect[:1]
            ]
        return notes

    def lines(self) -> list[str]:
        """One line for each, for a person."""
        return [_line(database) for database in self.each]


def _by_file(each: Sequence[OwnDatabase]) -> Mapping[str, list[Atoms]]:
    """The frames of each database by what messages call it; several tables may take one file."""
    files = [database.settings.file for database in each]
    names = [
        file if files.count(file) == 1 else f"{database.title} of {file}"
        for database, file in zip(each, files, strict=True)
    ]
    return {name: database.frames for name, database in zip(names, each, strict=True)}


def _is_perfect(atoms: Atoms) -> bool:
    # At the ends of a range of composition the unit cell has other elements.
    ends = atoms.info.get("config_type") == "decorated" and atoms.info.get("ndsc_scale") == 1.0
    ends = ends and not atoms.info.get("ndsc_displacement") and not atoms.info.get("ndsc_strain")
    return bool(atoms.info.get("ndsc_index") == 0 and (atoms.info.get("config_type") == "unit_cell" or ends))


def _several_compositions(frames: Sequence[Atoms]) -> bool:
    formulas = {frame.symbols.get_chemical_formula("hill", empirical=True) for frame in frames if len(frame.numbers)}
    return len(formulas) > 1


def _short(file: str) -> str:
    """The path from here, where that is shorter."""
    return min(file, os.path.relpath(file), key=len)


def _line(database: OwnDatabase) -> str:
    frames = database.frames
    kinds = ", ".join(f"{len(own)} {kind}" for kind, own in database.by_type.items())
    counts = [sum(ENERGY_KEY in frame.info for frame in frames), sum(FORCES_KEY in frame.arrays for frame in frames)]
    virials = sum(VIRIAL_KEY in frame.info for frame in frames)
    return (
        f"{_short(database.settings.file)}: {len(frames)} configurations ({kinds}), {sum(map(len, frames))} atoms; "
        f"energies in {counts[0]}, forces in {counts[1]}, virials in {virials}"
    )
