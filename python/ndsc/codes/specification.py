"""Which calculator labels the configurations, as data: a name, its parameters and a k-point grid.

A specification, unlike a calculator, can be hashed, sent to another process and written into a label. Codes are
imported only when a label has to be computed, so stored labels serve on a machine where the code is not installed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.codes import CODES, PROGRAMS, Code, code_of
from ndsc.codes.base import not_made, refused
from ndsc.errors import InputError, NdscError
from ndsc.interrupts import raise_if_interrupted
from ndsc.kpoints import KpointGrid, check_kgrid_folds, normal_kgrid
from ndsc.targets import is_isolated_atom

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalculatorSpec:
    """A reference calculator by name.

    Attributes
    ----------
    name : str
        One of :func:`~ndsc.codes.calculator_names`, or ``"module:factory"``: a function of a Python module that takes
        the parameters (and ``kpts``, when there is a `kgrid`) as keywords and returns an ASE calculator. Naming a
        module runs its code.
    parameters : dict
        Keywords of the calculator; only what JSON can hold, so that a label can record them.
    kgrid : three ints or (3, 3) ints, optional
        Γ-centred k-point grid of the *unit cell*, folded into every supercell (:func:`fold_kpoints`).
    command : str, optional
        How a program such as pw.x is started on this machine: ``"mpirun -np 2 pw.x"``. It is no part of what a label
        is, and neither is the folder of the pseudopotentials: labels serve where these differ.
    pseudo_dir : str, optional
        Folder of the pseudopotentials of such a program; otherwise an environment variable of the program says it.

    Raises
    ------
    InputError
        When the name, a parameter or the grid cannot be right, a k-point grid is missing, or a key has no effect with
        this calculator.
    """

    name: str = "emt"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    kgrid: KpointGrid | None = None
    command: str | None = field(default=None, compare=False)
    pseudo_dir: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        code = self.code
        if self.kgrid is not None:
            object.__setattr__(self, "kgrid", normal_kgrid(self.kgrid))
        if code.has_kpoints and self.kgrid is None:
            raise InputError(
                f"{self.name} needs kgrid, the k-point grid of the unit cell. Add for example kgrid = [8, 8, 8]."
            )
        if self.name in CODES and not (code.has_kpoints or code.kpoints_optional) and self.kgrid is not None:
            raise InputError(f"kgrid has no effect with {self.name}, which has no k-points. Remove it.")
        for key in ("command", "pseudo_dir"):
            if getattr(self, key) is not None and not code.is_program:
                raise InputError(
                    f"{key} has no effect with {self.name}, which starts no program. Remove it, or choose one of "
                    f"{', '.join(PROGRAMS)}."
                )
        object.__setattr__(self, "parameters", canonical(dict(self.parameters)))
        code.check_parameters(self.parameters)

    @property
    def code(self) -> Code:
        """What is known of the code."""
        return code_of(self.name)

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
            When the parameters are not the calculator's, the k-points do not fold, or a factory returns no calculator.
        ReferenceCalculationError
            When making the calculator raises anything else.
        """
        try:
            return self.code.create(self, atoms, Path(directory))
        except NdscError:
            raise
        except (TypeError, KeyError) as error:
            raise refused(self.name, self.parameters, error) from error
        except Exception as error:  # each code has its own errors for wrong parameters
            raise_if_interrupted(error)
            raise not_made(self.name, str(atoms.info.get("ndsc_name", "structure")), error) from error

    def check(self, structures: Atoms | Sequence[Atoms]) -> None:
        """Refuse, before anything is computed, what can be known to be wrong.

        Parameters
        ----------
        structures : ase.Atoms or sequence of ase.Atoms
            What would be computed; with ``info["ndsc_matrix"]`` as for :meth:`create`.

        Raises
        ------
        InputError
            For elements that the calculator does not know, parameters that are missing or that it does not have,
            charges or moments that it cannot be given, and k-points that do not fold exactly into the supercells.
        """
        frames = [structures] if isinstance(structures, Atoms) else list(structures)
        self.code.check_complete(self.parameters)
        for atoms in frames:
            self.code.check_structure(atoms, self.parameters)
        if not (self.code.has_kpoints or self.code.kpoints_optional) and any(
            atoms.get_initial_charges().any() for atoms in frames
        ):
            log.warning("%s does not use the charges of the atoms.", self.code.title)
        # A single atom needs no forces from a potential: it may have terms between different elements only.
        for symbols in {frozenset(atoms.get_chemical_symbols()) for atoms in frames if not is_isolated_atom(atoms)}:
            _check_elements(self.name, json.dumps(self.parameters), self.kgrid, symbols)
        matrices = {tuple(supercell_matrix(atoms).ravel().tolist()) for atoms in frames}
        check_kgrid_folds(np.array(sorted(matrices), dtype=np.int64).reshape(-1, 3, 3), self.kgrid)


@lru_cache(maxsize=64)
def _check_elements(name: str, parameters: str, kgrid: KpointGrid | None, symbols: frozenset[str]) -> None:
    """Once for each calculator and set of elements: a potential may have to be read for it."""
    spec = CalculatorSpec(name, json.loads(parameters), kgrid)
    spec.code.check_elements(spec, set(symbols))


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
