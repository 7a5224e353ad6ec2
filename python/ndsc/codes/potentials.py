"""Empirical potentials: what is common to them, and QUIP's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii

from ndsc.codes.base import Code, check_names
from ndsc.errors import InputError, MissingExtraError
from ndsc.interrupts import raise_if_interrupted

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec

#: Distances of two atoms that a potential is tried at, relative to the sum of their covalent radii: near those in
#: crystals, and shorter ones for potentials whose parameters are not those of the element.
DISTANCES = (0.9, 1.2, 0.6, 0.3)
#: Modules of the potentials of ASE that compute in Python, at once.
OF_ASE = {f"ase.calculators.{name}" for name in ("eam", "emt", "lj", "morse", "tersoff")}
#: Keywords of all of ASE's calculators, which mean nothing here.
_OF_EVERY_CALCULATOR = {"self", "restart", "ignore_bad_restart_file", "label", "atoms", "directory", "kwargs"}


class Quip(Code):
    """The potentials of QUIP, GAP among them, through quippy."""

    name = "quip"
    title = "QUIP"
    package: ClassVar[str] = "quippy-ase"

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        file = spec.parameters.get("param_filename")
        if file is not None and not Path(file).is_file():
            raise InputError(f"There is no file {file}, the param_filename of the calculator 'quip'. Correct its path.")
        try:
            from quippy.potential import Potential
        except ImportError as error:
            raise MissingExtraError(
                "The calculator 'quip' needs quippy, which is not installed. Install it: pip install 'ndsc[gap]'."
            ) from error
        return Potential(**spec.parameters)

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        check_names(self.title, parameters, ("args_str", "param_str", "param_filename", "calc_args"))

    def check_complete(self, parameters: Mapping[str, Any]) -> None:
        if not {"args_str", "param_str", "param_filename"} & set(parameters):
            raise InputError(
                "The calculator 'quip' needs a potential: give parameters = {param_filename = 'gap.xml'}, or the "
                "arguments of another potential of QUIP as args_str."
            )

    def check_elements(self, spec: CalculatorSpec, symbols: set[str]) -> None:
        """See :meth:`Code.check_elements`: a GAP gives no forces to elements that it was not fitted to."""
        try:
            unknown = unknown_elements(lambda: self.create(spec, Atoms(), Path()), symbols)
        except (MissingExtraError, InputError, RuntimeError) as error:
            raise_if_interrupted(error)
            return  # stored labels serve without the potential, and the first label says what is wrong
        if unknown:
            raise unknown_refused(spec, unknown)

    def check_installed(self, spec: CalculatorSpec) -> None:
        """See :meth:`Code.check_installed`: the potential is read."""
        spec.create(Atoms())


def unknown_elements(make: Callable[[], Calculator], symbols: set[str]) -> list[str]:
    """The elements that a potential gives no forces to, in pairs with any of the others, or that it refuses.

    Parameters
    ----------
    make : callable
        Returns the potential; called again after an error, which may leave it unusable.
    symbols : set of str
        All elements of a structure.
    """
    silent = set(symbols)
    calculator = make()
    for pair in combinations_with_replacement(sorted(symbols), 2):
        for relative in DISTANCES:
            if not silent & set(pair):
                break
            distance = relative * sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
            atoms = Atoms(pair, positions=[[5.0, 5.0, 5.0], [5.0, 5.0, 5.0 + distance]], cell=[30.0] * 3, pbc=True)
            atoms.calc = calculator
            try:
                forces = atoms.get_forces()
            except Exception as error:  # each potential has its own for an element that it does not have
                raise_if_interrupted(error)
                calculator = make()
                continue
            if np.any(forces):
                silent -= set(pair)
    return sorted(silent)


def known_keywords(calculator: type[Calculator]) -> set[str] | None:
    """What a potential of ASE takes, which accepts any keyword and uses those that it knows; None for others."""
    if calculator.__module__ not in OF_ASE:
        return None
    named = set(inspect.signature(calculator).parameters)
    return (named | set(calculator.default_parameters)) - _OF_EVERY_CALCULATOR


def unknown_refused(spec: CalculatorSpec, unknown: list[str]) -> InputError:
    """The message for elements that a calculator does not know."""
    return InputError(
        f"The calculator {spec.name!r} does not know {', '.join(unknown)}. Choose another crystal, another "
        "potential, or a density-functional code such as 'gpaw'."
    )
