"""What is known of a code that calculates energies and forces: its keywords, its checks, its calculator."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.data import atomic_numbers, ground_state_magnetic_moments

from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.versions import package_version

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec

#: What settings mean, in the order of a table, with the head of their row.
MEANINGS = {
    "xc": "functional",
    "basis": "basis",
    "cutoff_ev": "E_cut (eV)",
    "density_cutoff_ev": "E_cut of the density (eV)",
    "smearing": "smearing",
    "smearing_order": "order of the smearing",
    "smearing_ev": "width of the smearing (eV)",
    "bands": "bands",
    "scf_tolerance_ev": "SCF tolerance (eV)",
    "scf_tolerance_per_atom_ev": "SCF tolerance (eV per atom)",
    "scf_tolerance_per_electron_ev": "SCF tolerance (eV per valence electron)",
    "scf_density_tolerance": "SCF tolerance of the density (electrons per valence electron)",
}
_BASES = {"pw": "plane waves", "fd": "real-space grid", "lcao": "atomic orbitals"}
#: Width of the occupations of a single atom, eV: sharp, but not a step.
ATOM_WIDTH = 0.01


class Code:
    """One code.

    Attributes
    ----------
    name : str
        As settings name it.
    title : str
        As its authors write it.
    package : str
        The Python package whose version labels record.
    has_kpoints : bool
        Whether it is a density-functional code: it needs ``kgrid``, and single atoms need settings of their own.
    kpoints_optional : bool
        Whether there may be a ``kgrid`` or none.
    is_program : bool
        Whether it is a program that is started, with a command and a folder of pseudopotentials.
    keywords : dict of str to (str, float)
        Keywords in lower case, with a dot for each table: what they mean (:data:`MEANINGS`), and the factor to the
        unit of the meaning.
    unpolarised : dict
        Values of keywords in lower case with which there is no spin.
    atom_drops : str
        Keywords that a calculation of a single atom does not take from the crystal's.
    """

    name: str
    title: str
    package: ClassVar[str] = ""
    has_kpoints: ClassVar[bool] = False
    kpoints_optional: ClassVar[bool] = False
    is_program: ClassVar[bool] = False
    keywords: ClassVar[Mapping[str, tuple[str, float]]] = {}
    unpolarised: ClassVar[Mapping[str, Any]] = {}
    atom_drops: ClassVar[str] = ""

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        """The ASE calculator for a structure; `directory` is for the code's own files."""
        raise NotImplementedError

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that the code does not have or may not be given; nothing is imported but ASE.

        Raises
        ------
        InputError
            Naming them.
        """

    def check_complete(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that lack what every calculation needs.

        Raises
        ------
        InputError
            Naming it.
        """

    def check_elements(self, spec: CalculatorSpec, symbols: set[str]) -> None:
        """Refuse elements that the code, with these parameters, does not know; it passes where this cannot be told.

        Raises
        ------
        InputError
            Naming them.
        """

    def check_installed(self, spec: CalculatorSpec) -> None:
        """Refuse a module or a potential that labels need and that is not on this machine.

        Programs are not looked for: they may be on other machines, to which an executor sends the calculations.

        Raises
        ------
        InputError, MissingExtraError
            Naming it.
        """

    def check_structure(self, atoms: Atoms, parameters: Mapping[str, Any]) -> None:
        """Refuse data of a structure that a density-functional code would leave out of its calculation.

        Raises
        ------
        InputError
            For charges of atoms, moments that are vectors, and moments where the parameters switch off the spin.
        """
        if not self.has_kpoints:
            return
        if atoms.get_initial_charges().any():
            raise InputError(
                f"The structure has atomic charges, which {self.title} cannot take as input. Remove initial_charges; a "
                "charged cell, where it is meant, is a parameter of the code."
            )
        moments = atoms.get_initial_magnetic_moments()
        names = {path.rpartition(".")[2].lower(): value for path, value in flat(parameters).items()}
        off = [name for name, value in self.unpolarised.items() if name in names and names[name] == value]
        if moments.any() and off:
            raise InputError(
                f"The structure has magnetic moments, but {off[0]} = {names[off[0]]!r} makes {self.title} leave them "
                "out. Remove the parameter, or the moments."
            )
        if moments.ndim > 1:
            raise InputError(
                f"The structure has vector magnetic moments, and {self.title} is run with collinear moments only. Give "
                "one number for each atom."
            )

    def version(self) -> str:
        """The installed code and its version, for the record."""
        return f"{self.package} {package_version(self.package) or 'of unknown version'}"

    def paths(self, meaning: str) -> tuple[str, ...]:
        """Where the parameters may keep what a key of :data:`MEANINGS` says, as dotted paths; the usual one first."""
        return tuple(path for path, (found, _) in self.keywords.items() if found == meaning)

    def by_meaning(self, parameters: Mapping[str, Any]) -> tuple[dict[str, float | str], dict[str, str]]:
        """Sort parameters, as labels record them.

        Returns
        -------
        known : dict of str to float or str
            Those that are in :data:`MEANINGS`, by their key there.
        others : dict of str to str
            The rest by their dotted name in the code, as text.
        """
        known: dict[str, float | str] = {}
        others: dict[str, str] = {}
        for path, value in flat(parameters).items():
            meaning, factor = self.keywords.get(path.lower(), ("", 1.0))
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            if meaning and (plain or isinstance(value, str)):
                known[meaning] = float(value) * factor if plain else _BASES.get(value, value)
            else:
                others[path] = str(value)
        return known, others

    def atom_parameters(self, parameters: Mapping[str, Any], symbol: str) -> dict[str, Any]:
        """The parameters of a crystal's labels, changed for a single atom, whose energy is the zero of a potential's.

        It has the spin of Hund's rule, sharp occupations and no k-points. Everything that decides on energies
        (functional, cutoff, pseudopotential) stays.
        """
        kept: dict[str, Any] = without(parameters, set(self.atom_drops.split()))
        return kept | self.atom_settings(magnetic_moment(symbol))

    def atom_settings(self, moment: float) -> dict[str, Any]:
        """Occupations and spin of a single atom with a magnetic moment in Bohr magnetons."""
        raise InputError(
            f"[fit] e0 = 'isolated' is not available with {self.title!r} and a kgrid: a single atom needs settings of "
            "its own, spin among them. Give e0 = 'average', or the energies in eV as a table, e0 = {Si = -0.8}."
        )


def magnetic_moment(symbol: str) -> float:
    """Number of unpaired electrons of the free atom."""
    return float(ground_state_magnetic_moments[atomic_numbers[symbol]])


def species_labels(kinds: Iterable[tuple[Any, ...]], separator: str) -> dict[tuple[Any, ...], str]:
    """A label for each kind of atom, in order: its chemical symbol, with a number where an element has several kinds.

    Parameters
    ----------
    kinds : iterable of tuple
        Of each atom, the symbol first; what follows makes atoms of one element different.
    separator : str
        Between symbol and number.
    """
    distinct = list(dict.fromkeys(kinds))
    symbols = [kind[0] for kind in distinct]
    return {
        kind: kind[0] + (f"{separator}{symbols[: index + 1].count(kind[0])}" if symbols.count(kind[0]) > 1 else "")
        for index, kind in enumerate(distinct)
    }


def check_names(title: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse parameters with names that are not among the known ones.

    Raises
    ------
    InputError
        Naming them, and the nearest known name.
    """
    known = sorted(known)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError(
            f"{title} has no parameter {', '.join(map(repr, unknown))}.{nearest(unknown[0], known)} It takes "
            f"{', '.join(known) or 'none'}."
        )


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`` Did you mean …?``, or nothing where no known name is near; `likeness` is from 0 to 1."""
    spelled = {word.lower(): word for word in known}
    found = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=likeness)
    return f" Did you mean {spelled[found[0]]!r}?" if found else ""


def refused(name: str, parameters: Mapping[str, Any], error: Exception) -> InputError:
    """The message for parameters that a calculator does not take."""
    return InputError(
        f"The calculator {name!r} does not take parameters = {dict(parameters)} ({error}). See its documentation."
    )


def not_made(name: str, structure: str, error: BaseException) -> ReferenceCalculationError:
    """The message for a calculator whose making raised something."""
    said = f": {error}" if str(error) else ""
    return ReferenceCalculationError(
        f"{structure}: the calculator {name!r} could not be made, which raised {type(error).__name__}{said}. Correct "
        "its parameters, or the function that makes it."
    )


def potential_energy(atoms: Atoms, calculator: Calculator) -> float:
    """The energy, eV, that belongs to the forces: the free energy, or the energy of a calculator that has no other.

    Parameters
    ----------
    atoms : ase.Atoms
        With the calculator.
    calculator : ase.calculators.calculator.Calculator
        ASE's wrappers around other calculators list the free energy, also where the calculator inside has none.
    """
    if "free_energy" in calculator.implemented_properties:
        with suppress(PropertyNotImplementedError):
            return float(atoms.get_potential_energy(force_consistent=True))
    return float(atoms.get_potential_energy())


def flat(parameters: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested parameters by dotted names."""
    found: dict[str, Any] = {}
    for key, value in parameters.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


def without(parameters: Mapping[str, Any], drop: set[str]) -> dict[str, Any]:
    """Parameters without some keywords, in all tables but the one of the pseudopotentials."""
    return {
        key: without(value, drop) if isinstance(value, Mapping) and key != "pseudopotentials" else value
        for key, value in parameters.items()
        if key.lower() not in drop
    }
