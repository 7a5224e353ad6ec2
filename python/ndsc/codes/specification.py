"""Which calculator labels the configurations, as data: a name, its parameters and a k-point grid.

A specification, unlike a calculator, can be hashed, sent to another process and written into a label. Codes are
imported only when a label has to be computed, so stored labels serve on a machine where the code is not installed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.codes import PROGRAMS, ProgramCalculator
from ndsc.codes.factories import from_factory, not_made, refused
from ndsc.errors import InputError, InternalError, MissingExtraError, NdscError
from ndsc.interrupts import raise_if_interrupted
from ndsc.kpoints import KpointGrid, fold_kpoints, normal_kgrid, reduced_kpoints
from ndsc.versions import package_version

Builder = Callable[[dict[str, Any], "NDArray[np.float64] | None", Path], Calculator]


@dataclass(frozen=True)
class CalculatorSpec:
    """A reference calculator by name.

    Attributes
    ----------
    name : str
        One of :func:`calculator_names`, or ``"module:factory"``: a function of a Python module that takes the
        parameters (and ``kpts``, when there is a `kgrid`) as keywords and returns an ASE calculator. Naming a module
        runs its code.
    parameters : dict
        Keywords of the calculator; only what JSON can hold, so that a label can record them.
    kgrid : three ints or (3, 3) ints, optional
        Γ-centred k-point grid of the *unit cell*, folded into every supercell (:func:`fold_kpoints`).
    command : str, optional
        How a program such as pw.x is started on this machine: ``"mpirun -np 2 pw.x"``. It is no part of what a label
        is, and neither is the folder of the pseudopotentials: labels serve where these differ.
    pseudo_dir : str, optional
        Folder of the pseudopotentials of such a program; otherwise an environment variable of the program says it.
    """

    name: str = "emt"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    kgrid: KpointGrid | None = None
    command: str | None = field(default=None, compare=False)
    pseudo_dir: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.name not in _CODES and ":" not in self.name:
            raise InputError(
                f"There is no calculator {self.name!r}. Choose one of {', '.join(calculator_names())}, or "
                "'module:factory' for a function of your own that returns an ASE calculator."
            )
        if self.kgrid is not None:
            fold_kpoints(np.eye(3, dtype=np.int64), self.kgrid)
            object.__setattr__(self, "kgrid", normal_kgrid(self.kgrid))
        code = _CODES.get(self.name)
        if code is not None and code.needs_kgrid and self.kgrid is None:
            raise InputError(
                f"The calculator {self.name!r} needs kgrid, the k-points of the unit cell: [8, 8, 8], say."
            )
        if code is not None and not code.takes_kgrid and self.kgrid is not None:
            raise InputError(f"The calculator {self.name!r} has no k-points, but kgrid = {self.kgrid}. Remove kgrid.")
        if self.name not in PROGRAMS and (self.command or self.pseudo_dir):
            raise InputError(
                f"The calculator {self.name!r} starts no program, but a command or pseudo_dir is given. Remove them, "
                f"or choose one of {', '.join(PROGRAMS)}."
            )
        object.__setattr__(self, "parameters", canonical(dict(self.parameters)))

    def create(self, atoms: Atoms, directory: str | Path = ".") -> Calculator:
        """The ASE calculator for one structure.

        Parameters
        ----------
        atoms : ase.Atoms
            The structure; ``atoms.info["ndsc_matrix"]`` is its supercell matrix (the unit cell when absent), from which
            the k-points are folded.
        directory : path
            Folder for the code's own files.

        Raises
        ------
        MissingExtraError
            When the code is not installed.
        InputError
            When the parameters are not the calculator's, or a factory returns no calculator.
        ReferenceCalculationError
            When making the calculator raises anything else.
        """
        parameters = dict(self.parameters)
        if self.name in PROGRAMS:
            points, weights = reduced_kpoints(supercell_matrix(atoms), self.kgrid or (1, 1, 1))
            return ProgramCalculator(
                PROGRAMS[self.name],
                parameters,
                np.column_stack([points, weights]),
                directory,
                command=self.command,
                pseudo_dir=self.pseudo_dir,
            )
        kpoints = None if self.kgrid is None else fold_kpoints(supercell_matrix(atoms), self.kgrid)
        structure = str(atoms.info.get("ndsc_name", "structure"))
        if self.name not in _CODES:
            return from_factory(self.name, parameters | ({} if kpoints is None else {"kpts": kpoints}), structure)
        try:
            return _CODES[self.name].build(parameters, kpoints, Path(directory))
        except (TypeError, KeyError) as error:
            raise refused(self.name, parameters, error) from error
        except NdscError:
            raise
        except Exception as error:  # each code has its own errors for wrong parameters
            raise_if_interrupted(error)
            raise not_made(self.name, structure, error) from error

    def check(self, atoms: Atoms) -> None:
        """Refuse, before anything runs, elements that the calculator cannot know.

        Raises
        ------
        InputError
            When one is found.
        """
        if self.name != "emt":
            return
        known = _emt_elements()
        unknown = sorted(set(atoms.get_chemical_symbols()) - known)
        if unknown:
            raise InputError(
                f"The calculator 'emt' does not know {', '.join(unknown)}. It knows {', '.join(sorted(known))}: choose "
                "another crystal, or a density-functional code such as 'gpaw'."
            )

    def code_version(self) -> str:
        """The installed code and its version, for the record; a program tells its own only when it runs."""
        if self.name in PROGRAMS:
            return f"{PROGRAMS[self.name].title} of unknown version"
        if self.name in _CODES:
            return _package_version(_CODES[self.name].package)
        return _module_version(self.name.split(":")[0])


@cache
def _package_version(package: str) -> str:
    return f"{package} {package_version(package) or 'of unknown version'}"


@cache
def _module_version(module: str) -> str:
    """The version of a user's own code; of a file that is no package, a hash, so that a change of it is seen."""
    installed = _package_version(module.split(".")[0])
    if not installed.endswith("of unknown version"):
        return installed
    source = getattr(sys.modules.get(module), "__file__", None)
    try:
        content = Path(source or "").read_bytes()
    except OSError:
        return installed
    return f"{module} sha256 {hashlib.sha256(content).hexdigest()[:12]}"


def calculator_names() -> tuple[str, ...]:
    """The calculators that ndsc knows by name."""
    return tuple(_CODES)


def supercell_matrix(atoms: Atoms) -> NDArray[np.int64]:
    """(3, 3) int64 array : the supercell matrix in ``info["ndsc_matrix"]``, the identity when there is none."""
    flat = atoms.info.get("ndsc_matrix")
    if flat is None:
        return np.eye(3, dtype=np.int64)
    return np.asarray(flat, dtype=np.int64).reshape(3, 3)


def canonical(value: Any) -> Any:
    """`value` with one spelling for each content: JSON types only, whole floats as integers.

    Raises
    ------
    InputError
        When `value` holds what JSON cannot.
    """
    if isinstance(value, Mapping):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [canonical(entry) for entry in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            raise InputError(f"A calculator parameter is {value}. Parameters must be finite numbers.")
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if value is None or isinstance(value, str):
        return value
    raise InputError(
        f"A calculator parameter is a {type(value).__name__}, which a label cannot record. Use numbers, strings, lists "
        "and tables; for objects, write a function and name it as 'module:factory'."
    )


def _build_nothing(parameters: dict[str, Any], kpoints: Any, directory: Path) -> Calculator:
    raise InternalError("A program was to be built like a package. Please report this.")


@dataclass(frozen=True)
class _Code:
    build: Builder = _build_nothing
    package: str = ""
    takes_kgrid: bool = False
    needs_kgrid: bool = False


def _build_emt(parameters: dict[str, Any], kpoints: Any, directory: Path) -> Calculator:
    from ase.calculators.emt import EMT

    return EMT(**parameters)


def _build_lennard_jones(parameters: dict[str, Any], kpoints: Any, directory: Path) -> Calculator:
    from ase.calculators.lj import LennardJones

    return LennardJones(**parameters)


def _build_quip(parameters: dict[str, Any], kpoints: Any, directory: Path) -> Calculator:
    try:
        from quippy.potential import Potential
    except ImportError as error:
        raise MissingExtraError(
            "The calculator 'quip' needs quippy, which is not installed. Install it: pip install 'ndsc[gap]'."
        ) from error
    return Potential(**parameters)


def _build_gpaw(parameters: dict[str, Any], kpoints: Any, directory: Path) -> Calculator:
    try:
        from gpaw import GPAW
    except ImportError as error:
        raise MissingExtraError(
            "The calculator 'gpaw' needs GPAW, which is not installed, and the label asked for is not in the store. "
            "Install it (make dft, or pip install 'ndsc[gpaw]' beside libxc and BLAS), or use stored labels."
        ) from error
    # Operations of a non-diagonal supercell that mix its axes would enlarge the real-space grid many times over.
    defaults: dict[str, Any] = {"xc": "PBE", "symmetry": {"point_group": False}, "txt": str(directory / "gpaw.txt")}
    return GPAW(**{**defaults, **parameters, "kpts": kpoints})


_CODES: dict[str, _Code] = {
    "emt": _Code(_build_emt, "ase"),
    "lj": _Code(_build_lennard_jones, "ase"),
    "quip": _Code(_build_quip, "quippy-ase"),
    "gpaw": _Code(_build_gpaw, "gpaw", takes_kgrid=True, needs_kgrid=True),
    **dict.fromkeys(PROGRAMS, _Code(takes_kgrid=True, needs_kgrid=True)),
}


def _emt_elements() -> set[str]:
    from ase.calculators.emt import parameters

    return set(parameters)
