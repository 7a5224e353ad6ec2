"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from ndsc.cli.console import note, say, warn
from ndsc.errors import InputError
from ndsc.files import bounded_recursion

if TYPE_CHECKING:
    from ndsc.crystal import Crystal
    from ndsc.kpoints import KpointGrid
    from ndsc.reference import CalculatorSpec, ExecutorSettings

GRID_OPTIONS = ("--grid", "--kgrid", "--dos-mesh")
WHOLE = re.compile(r"[+-]?[0-9]+")


class GridCommand(TyperCommand):
    """A command whose grids are given as one number or three, ``--grid 4`` or ``--grid 4 4 4``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers behind a grid option to one word before the ordinary parser reads them.

        Numbers that are not finite are refused behind every option.
        """
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
        left = super().parse_args(ctx, joined)
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{'/'.join(parameter.opts)} {value}: a finite number is expected.")
        return left


def parse_grid(text: str, option: str = "--grid") -> tuple[int, int, int]:
    """One number or three, with spaces, commas or x between them.

    Raises
    ------
    InputError
        When they are not whole numbers, or neither one nor three.
    """
    try:
        numbers = [int(word) for word in re.split(r"[\s,x]+", text.strip())]
    except ValueError:  # also for a number of more than 4,300 digits
        numbers = []
    if len(numbers) not in (1, 3):
        raise InputError(f"{option} {text}: one whole number or three are expected. Write for example {option} 4 4 4.")
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
    return normal_kgrid(_json(text, option, "a list of three rows", "[[12,-4,-4],[-4,12,-4],[-4,-4,12]]"))


def parse_parameters(text: str) -> dict[str, Any]:
    """The parameters of a calculator, a JSON object.

    Raises
    ------
    InputError
        When the text is not JSON, or not an object.
    """
    found = _json(text, "--parameters", "JSON", '{"mode": {"name": "pw", "ecut": 350}}')
    if not isinstance(found, dict):
        raise InputError(
            f"--parameters {text}: an object is expected, not a {type(found).__name__}. Write for example "
            """--parameters '{"asap_cutoff": true}'."""
        )
    return found


def _json(text: str, option: str, expected: str, example: str) -> Any:
    try:
        with bounded_recursion():
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{option} {text}: this is not {expected} ({error}). Write for example {option} '{example}'."
        ) from error


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]
GridOption = Annotated[
    str, typer.Option("--grid", metavar="N N N", help="The q-point grid, one number or three.", show_default=False)
]
RelaxOption = Annotated[bool, typer.Option("--relax", help="Relax the crystal with the calculator first.")]
FmaxOption = Annotated[float, typer.Option("--fmax", help="Largest force that relaxations leave, eV/Å.")]
MaxStepsOption = Annotated[int, typer.Option("--max-steps", help="Largest number of steps of a relaxation.")]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="DIR",
        help="Store all calculations in this folder, and reuse those that it has.",
        show_default=False,
    ),
]
KGRID_HELP = "k-point grid of the unit cell, folded into supercells; or a 3x3 matrix, [[…],[…],[…]]."


def option(name: str, text: str, *, default: str | bool = False, **more: Any) -> Any:
    """An option without a default value of its own; `default` says in the help what happens without it."""
    return typer.Option(name, help=text, show_default=default, **more)


STRUCTURE_HELP = "A structure file that ASE reads (FILE@-1: its last structure), or the symbol of an element."


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrystalOptions:
    """How the crystal of a command is made, and with which tolerances its symmetry is searched."""

    lattice: Annotated[
        str | None,
        option("--lattice", "For an element: fcc, bcc, hcp, diamond, …", default="the one found in nature"),
    ] = None
    a: Annotated[float | None, option("-a", "For an element: lattice constant, Å.")] = None
    c: Annotated[float | None, option("-c", "For an element: second lattice constant, Å.")] = None
    primitive: Annotated[
        bool, typer.Option("--primitive", help="Reduce the structure to its primitive cell first.")
    ] = False
    symprec: Annotated[
        float | None, option("--symprec", "Distance tolerance of the symmetry search, Å.", default="1e-05")
    ] = None
    magnetic_tolerance: Annotated[
        float | None,
        option("--magnetic-tolerance", "Moments that differ by less are the same, Bohr magnetons.", default="0.01"),
    ] = None

    magmoms: Annotated[
        str | None,
        option("--magmoms", "Magnetic moments of the atoms, Bohr magnetons: '2 -2', or three numbers for each."),
    ] = None

    def given(self) -> list[str]:
        """The names of the options that were given."""
        names = {"lattice": "--lattice", "a": "-a", "c": "-c", "primitive": "--primitive", "symprec": "--symprec"}
        names |= {"magnetic_tolerance": "--magnetic-tolerance", "magmoms": "--magmoms"}
        return [name for key, name in names.items() if getattr(self, key) not in (None, False)]

    def crystal(self) -> Crystal:
        """The crystal, after a warning where a slightly larger tolerance finds a larger space group.

        A cell that is not primitive is noted too, unless --primitive reduces it.

        Raises
        ------
        InputError
            When the structure cannot be read or is not a crystal, or a tolerance is not a positive length.
        """
        from ndsc.config.crystal import CrystalConfig

        said = {name: value for name, value in vars(self).items() if value is not None}
        if self.magmoms is not None:
            said["magmoms"] = self._moments()
        crystal = CrystalConfig.parse(said, "The structure").load()
        larger = crystal.larger_group()
        if larger is not None:
            warn(
                f"The space group is {crystal.symbol} ({crystal.number}) with symprec = {crystal.symprec:g}, but "
                f"{larger}. If the coordinates in the file are rounded, the larger group is probably meant: give "
                "that symprec."
            )
        if crystal.n_primitive_cells > 1 and not self.primitive:
            size = len(crystal.atoms) // crystal.n_primitive_cells
            atoms = "1 atom" if size == 1 else f"{size} atoms"
            note(
                f"The unit cell holds {crystal.n_primitive_cells} primitive cells. Grid and supercells are those of "
                f"this cell; with --primitive they are those of the primitive cell of {atoms}."
            )
        return crystal

    def _moments(self) -> list[Any]:
        """The numbers of --magmoms; as vectors where there are three for each atom."""
        from ndsc.crystal import load_crystal

        try:
            numbers = [float(word) for word in (self.magmoms or "").replace(",", " ").split()]
        except ValueError as error:
            raise InputError(f"--magmoms {self.magmoms!r}: {error}. Give numbers, as in --magmoms '2 -2'.") from error
        structure = vars(self).get("structure")
        n_atoms = (
            0
            if structure is None
            else len(load_crystal(structure, lattice=self.lattice, a=self.a, c=self.c, moments=False))
        )
        if n_atoms and len(numbers) == 3 * n_atoms:
            return [numbers[first : first + 3] for first in range(0, len(numbers), 3)]
        return list(numbers)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureOptions(CrystalOptions):
    """The crystal of a command, and with which tolerances its symmetry is searched."""

    structure: Annotated[str, typer.Argument(metavar="STRUCTURE", help=STRUCTURE_HELP, show_default=False)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedStructureOptions(CrystalOptions):
    """The crystal of a command that can do without one."""

    structure: Annotated[str | None, option("--structure", STRUCTURE_HELP)] = None


def say_symmetry(crystal: Crystal, name: str = "") -> None:
    """Formula, atoms, space group and tolerance, above the results; of one of several crystals its name before."""
    say(f"{name}{': ' if name else ''}{crystal.describe()}, symprec = {crystal.symprec:g} Å")


def symmetry_of(crystal: Crystal) -> dict[str, Any]:
    """Space group and tolerance, for JSON."""
    return {"space_group": {"number": crystal.number, "symbol": crystal.symbol}, "symprec": crystal.symprec}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalculatorOptions:
    """The calculator of a command."""

    calculator: Annotated[
        str | None,
        option(
            "--calculator",
            "emt, lj, quip, chgnet, mace, sevenn, orb, matgl, gpaw, espresso, abinit, castep, vasp, or module:factory "
            "for a Python function of your own.",
            default="emt",
        ),
    ] = None
    parameters: Annotated[
        str | None,
        option("--parameters", "Keyword arguments of the calculator, as JSON.", default="{}", metavar="JSON"),
    ] = None
    kgrid: Annotated[str | None, option("--kgrid", KGRID_HELP, metavar="N N N")] = None
    command: Annotated[
        str | None, option("--command", "Command that starts the program of the calculator: 'mpirun -np 2 pw.x'.")
    ] = None
    pseudo_dir: Annotated[
        str | None, option("--pseudo-dir", "Folder of the program's pseudopotentials.", metavar="DIR")
    ] = None

    def given(self) -> list[str]:
        """The names of the options that were given, all but --kgrid."""
        names = ("calculator", "parameters", "command", "pseudo_dir")
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]

    def spec(self) -> CalculatorSpec:
        """The calculator that the command line names.

        Raises
        ------
        InputError
            When there is no such calculator, or its parameters cannot be read.
        """
        from ndsc.reference import CalculatorSpec

        return CalculatorSpec(
            "emt" if self.calculator is None else self.calculator,
            parse_parameters("{}" if self.parameters is None else self.parameters),
            None if self.kgrid is None else parse_kgrid(self.kgrid),
            command=self.command,
            pseudo_dir=self.pseudo_dir,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalculationOptions:
    """How each calculation of a command is done, where they follow one another."""

    threads: Annotated[int | None, option("--threads", "Threads of each calculation.", default="1")] = None
    retries: Annotated[
        int | None, option("--retries", "How often a failed calculation is tried again.", default="1")
    ] = None
    timeout: Annotated[
        str | None,
        option("--timeout", "Longest time of one calculation: 90s, 30min, 2h.", metavar="TIME", default="none"),
    ] = None

    @property
    def watched(self) -> bool:
        """Whether calculations need a process of their own, which can be stopped and started again."""
        return self.timeout is not None or self.retries is not None

    def settings(self, given: ExecutorSettings | None = None) -> ExecutorSettings:
        """The settings of the labelling: these options, and otherwise what an input file has given.

        Raises
        ------
        InputError
            When a value is out of range.
        """
        from ndsc.reference import ExecutorSettings

        said = {name: value for name, value in vars(self).items() if value is not None}
        return ExecutorSettings.parse({**dict(given or {}), **said}, "The options")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExecutorOptions(CalculationOptions):
    """How calculations are done side by side on this machine."""

    workers: Annotated[int | None, option("--workers", "Calculations at a time.", default="2")] = None
    memory_gb: Annotated[
        float | None,
        option("--memory", "Memory of all calculations together.", metavar="GB", default="most of what is free"),
    ] = None


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each of its parameters that is one of the groups above."""
    parameters, groups = [], {}
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not dataclasses.is_dataclass(kind):
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=kind))
            continue
        assert isinstance(kind, type)
        groups[name] = kind
        inner = get_type_hints(kind, include_extras=True)
        parameters += [
            parameter.replace(name=field.name, annotation=inner[field.name], default=_default(field))
            for field in sorted(dataclasses.fields(kind), key=lambda field: field.name != "structure")
        ]
    parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in dataclasses.fields(kind)})
        command(**values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _default(field: dataclasses.Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
