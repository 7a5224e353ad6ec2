"""Calculations that ndsc does not start: any code, on any machine, with settings that ndsc does not know.

Their input is written by ``ndsc labels write`` and their output taken by ``ndsc labels read``. The parameters are
whatever tells these labels from others; they are recorded, and passed to no program.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.codes.base import Code
from ndsc.errors import InputError

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec


class Elsewhere(Code):
    """A calculation that is done elsewhere, by a code of the user's choice."""

    name = "elsewhere"
    title = "a calculation elsewhere"
    kpoints_optional: ClassVar[bool] = True

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        """See :meth:`Code.create`.

        Raises
        ------
        InputError
            Always: nothing is computed here.
        """
        raise InputError(
            f"The label of {atoms.info.get('ndsc_name', 'a structure')} is missing, and calculator = 'elsewhere' "
            "calculates nothing. Write what is missing with ndsc labels write, calculate it, and take the results with "
            "ndsc labels read; then run again."
        )

    def version(self) -> str:
        """The program that computed a label tells its version itself."""
        return "an unnamed code"

    def atom_parameters(self, parameters: Mapping[str, Any], symbol: str) -> dict[str, Any]:
        """See :meth:`Code.atom_parameters`: only the mark that it is a single atom, whose settings are the user's."""
        return {**parameters, "single_atom": True}
