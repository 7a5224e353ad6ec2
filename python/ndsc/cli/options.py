"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ndsc.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from ndsc.kpoints import KpointGrid
    from ndsc.reference import CalculatorSpec

GRID_OPTIONS = ("--grid", "--kgrid", "--dos-mesh")
WHOLE = re.compile(r"[+-]?\d+")


class GridCommand(TyperCommand):
    """A command whose grids are given as one number or three, ``--grid 4`` or ``--grid 4 4 4``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers behind a grid option to one word before the ordinary parser reads them."""
        joined: list[str] = []
        rest = list(args)
        while rest:
            joined.append(rest.pop(0))
            if joined[-1] == "--":
                joined += rest
                break
            if joined[-1] not in GRID_OPTIONS:
                continue
            numbers: list[str] = []
            while rest and len(numbers) < 3 and WHOLE.fullmatch(rest[0]):
                numbers.append(rest.pop(0))
            if numbers:
                joined[-1] += "=" + " ".join(numbers)
        return super().parse_args(ctx, joined)


def parse_grid(text: str, option: str = "--grid") -> tuple[int, int, int]:
    """One number or three, with spaces, commas or x between them.

    Raises
    ------
    InputError
        When they are no whole numbers, or neither one nor three.
    """
    words = re.split(r"[\s,x]+", text.strip())
    if len(words) not in (1, 3) or not all(WHOLE.fullmatch(word) for word in words):
        raise InputError(f"{option} {text}: one whole number or three are expected. Write for example {option} 4 4 4.")
    numbers = [int(word) for word in words]
    if min(numbers) < 1:
        raise InputError(f"{option} {text}: a grid has at least one point along each axis. Give numbers from 1 up.")
    first, second, third = numbers if len(numbers) == 3 else numbers * 3
    return first, second, third


def parse_kgrid(text: str, option: str = "--kgrid") -> KpointGrid:
    """One number, three, or 3x3 as a JSON list.

    Raises
    ------
    InputError
        When they are none of these.
    """
    from ndsc.kpoints import normal_kgrid

    if not text.lstrip().startswith("["):
        return parse_grid(text, option)
    try:
        matrix = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{option} {text}: no list of three rows ({error}). Write for example {option} "
            "'[[12,-4,-4],[-4,12,-4],[-4,-4,12]]'."
        ) from error
    return normal_kgrid(matrix)


def parse_parameters(text: str) -> dict[str, Any]:
    """The parameters of a calculator, a JSON object.

    Raises
    ------
    InputError
        When the text is no JSON, or no object.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"--parameters {text}: this is not JSON ({error}). Write for example "
            """--parameters '{"mode": {"name": "pw", "ecut": 350}}'."""
        ) from error
    if not isinstance(found, dict):
        raise InputError(
            f"--parameters {text}: an object is expected, not a {type(found).__name__}. Write for example "
            """--parameters '{"asap_cutoff": true}'."""
        )
    return found


StructureArgument = Annotated[
    str,
    typer.Argument(
        metavar="STRUCTURE", help="A structure file that ASE reads, or the symbol of an element.", show_default=False
    ),
]
GridOption = Annotated[
    str, typer.Option("--grid", metavar="N N N", help="The q-point grid, one number or three.", show_default=False)
]
LatticeOption = Annotated[
    str | None,
    typer.Option("--lattice", help="For an element: fcc, bcc, hcp, diamond, …", show_default="the one found in nature"),
]
AOption = Annotated[float | None, typer.Option("-a", help="For an element: lattice constant, Å.", show_default=False)]
COption = Annotated[float | None, typer.Option("-c", help="For an element: second constant, Å.", show_default=False)]
PrimitiveOption = Annotated[bool, typer.Option("--primitive", help="Reduce the structure to its primitive cell first.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]
CalculatorOption = Annotated[
    str, typer.Option("--calculator", help="emt, lj, quip, gpaw, or module:factory for a Python function of your own.")
]
ParametersOption = Annotated[
    str, typer.Option("--parameters", metavar="JSON", help="Keyword arguments of the calculator, as JSON.")
]
KgridOption = Annotated[
    str | None,
    typer.Option(
        "--kgrid",
        metavar="N N N",
        help="k-point grid of the unit cell, folded into supercells; or a 3x3 matrix, [[…],[…],[…]].",
        show_default=False,
    ),
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Processes that compute labels.")]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="DIR",
        help="Keep every calculation here, and take from here what is known.",
        show_default=False,
    ),
]


def read_structure(
    structure: str,
    *,
    lattice: str | None = None,
    a: float | None = None,
    c: float | None = None,
    primitive: bool = False,
) -> Atoms:
    """The crystal that the command line names (see `ndsc.crystal.load_crystal`)."""
    from ndsc.crystal import load_crystal

    return load_crystal(structure, lattice=lattice, a=a, c=c, primitive=primitive)


def calculator_spec(calculator: str, parameters: str, kgrid: str | None) -> CalculatorSpec:
    """The calculator that the command line names."""
    from ndsc.reference import CalculatorSpec

    grid = None if kgrid is None else parse_kgrid(kgrid)
    return CalculatorSpec(calculator, parse_parameters(parameters), grid)
