"""The section of input files that says how the reference is calculated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ndsc.codes import CODES, PROGRAMS, code_of
from ndsc.codes.base import nearest
from ndsc.codes.specification import CalculatorSpec
from ndsc.errors import InputError
from ndsc.section import KpointGridValue, Real, Section, check_plain


class ReferenceSettings(Section):
    """``[reference]``: the calculator whose results are learned.

    What is checked beside types is what :class:`CalculatorSpec` checks.
    """

    calculator: str = Field(
        default="emt",
        description=f"Give one of {', '.join(CODES)}, or 'module:factory' for a Python function that returns an "
        "ASE calculator.",
    )
    kgrid: KpointGridValue | None = Field(
        default=None,
        description="Give the k-point grid of the unit cell as one number or three, for example [12, 12, 12], or as "
        "the 3x3 matrix of the supercell whose wave vectors it holds (ndsc kpoints lists good ones).",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Give the keyword arguments of the calculator as a table of numbers, strings, booleans, lists and "
        "tables, for example parameters = {mode = {name = 'pw', ecut = 350}}.",
    )
    command: str | None = Field(
        default=None,
        min_length=1,
        description=f"Give the command that starts the program of {', '.join(PROGRAMS)} on this machine, for example "
        "'mpirun -np 2 pw.x'. Labels do not depend on it.",
    )
    pseudo_dir: Path | None = Field(
        default=None,
        description=f"Give the folder of the pseudopotentials of {', '.join(PROGRAMS)}. Labels do not depend on it, "
        "only on the names of the files.",
    )
    atom_box: Annotated[Real, Field(ge=5, le=50)] = Field(
        default=12.0,
        description="Give the shortest edge in Å of the cell of a single atom, for [fit] e0 = 'isolated' with a "
        "density-functional code, for example 12.0.",
    )
    atom_parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Give parameters that differ for a single atom, for [fit] e0 = 'isolated' with a "
        "density-functional code, for example atom_parameters = {nband = 10}.",
    )
    labels: Path | None = Field(
        default=None,
        description="Give the folder of the label store; without it, the folder labels in the run's folder.",
    )

    @field_validator("calculator")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            code_of(name)
        except InputError as error:
            raise ValueError(f"no calculator has this name.{nearest(name, CODES)}".rstrip(".")) from error
        return name

    @field_validator("parameters", "atom_parameters")
    @classmethod
    def _plain(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        check_plain(parameters, str(info.field_name))
        return parameters

    @model_validator(mode="after")
    def _possible(self) -> ReferenceSettings:
        code = code_of(self.calculator)
        if self.atom_parameters and not (code.has_kpoints or code.kpoints_optional):
            raise ValueError(f"atom_parameters have no effect with {self.calculator}; remove them")
        try:
            self.to_spec()
        except InputError as error:
            raise ValueError(str(error).rstrip(".")) from error
        return self

    def to_spec(self) -> CalculatorSpec:
        """The calculator, as the label store knows it."""
        pseudo_dir = None if self.pseudo_dir is None else str(self.pseudo_dir)
        return CalculatorSpec(self.calculator, self.parameters, self.kgrid, command=self.command, pseudo_dir=pseudo_dir)
