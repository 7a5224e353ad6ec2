"""``ndsc converge --bias``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ndsc.cli.console import note, print_json, print_table, progress_bars, say
from ndsc.cli.convergence_tables import digits, with_none
from ndsc.cli.settings import assignment, parse_changes
from ndsc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from ndsc.convergence import BiasPlan, BiasSettings, BiasTable, BiasTargets
    from ndsc.reference import CalculatorSpec, ExecutorSettings, LabelStore
    from ndsc.supercells import SupercellSet


@dataclass(frozen=True)
class Problem:
    """A database and the calculator whose settings are in question.

    The last four are of its elastic constants and phonons.
    """

    name: str
    spec: CalculatorSpec
    supercells: SupercellSet
    configurations: list[Atoms]
    executor: ExecutorSettings
    known: LabelStore | None = None
    strain: float = 0.005
    relax_ions: bool = True
    displacement: float = 0.01
    elastic: bool = True


@dataclass(frozen=True)
class BiasOptions:
    """What was said about a comparison with a limit."""

    bias: bool
    limit: Sequence[str] | None
    against: Path | None
    target: Sequence[str] | None
    quantity: Sequence[str] | None
    given_lattice: bool

    def checked(self) -> bool:
        """Whether a comparison is wanted.

        Raises
        ------
        InputError
            When only a part of what it needs was given.
        """
        if self.bias and not self.limit and self.against is None:
            raise InputError(
                "--bias needs something to compare with. Give --limit PATH=VALUE, once for each setting, or "
                "--against the "
                "input file of another calculator."
            )
        if not self.bias:
            given: dict[str, object] = {"--limit": self.limit, "--against": self.against, "--target": self.target}
            given |= {"--quantity": self.quantity, "--given-lattice": self.given_lattice}
            if named := [name for name, value in given.items() if value]:
                raise InputError(
                    f"{', '.join(named)}: this only has an effect with --bias. Add --bias, or leave it out."
                )
        return self.bias

    def targets(self) -> BiasTargets:
        """What results may differ by.

        Raises
        ------
        InputError
            When one is not known, given twice, or no number above 0.
        """
        from ndsc.convergence import BiasTargets

        found: dict[str, float] = {}
        for text in self.target or ():
            name, value = assignment(text, "--target", "elastic=2")
            if name in found or name not in BiasTargets.__dataclass_fields__:
                known = ", ".join(BiasTargets.__dataclass_fields__)
                problem = "is given twice" if name in found else f"is not one of {known}"
                raise InputError(f"--target {text}: {name} {problem}. Give each once.")
            try:
                found[name] = float(value)
            except ValueError as error:
                raise InputError(f"--target {text}: {value!r} is not a number. Give one above 0.") from error
        return BiasTargets(**found)

    def limit_of(self, spec: CalculatorSpec) -> CalculatorSpec:
        """The calculator that results are compared with: that of another input file, or `spec`, with changes.

        Raises
        ------
        InputError
            When the file cannot be read, or a setting is not one of its calculator.
        """
        from ndsc.config import SeveralConfig, load_run
        from ndsc.convergence import with_settings

        limit = spec
        if self.against is not None:
            other = load_run(self.against)
            limit = (other.common if isinstance(other, SeveralConfig) else other).reference.to_spec()
        return with_settings(limit, parse_changes(self.limit or (), option="--limit"))

    def settings(self, problem: Problem) -> BiasSettings:
        """What is compared, and how."""
        from ndsc.convergence import QUANTITIES, BiasSettings

        without = () if problem.elastic else ("elastic",)
        return BiasSettings(
            quantities=tuple(self.quantity or (name for name in QUANTITIES if name not in without)),
            lattice="given" if self.given_lattice else "own",
            displacement=problem.displacement,
            strain=problem.strain,
            relax_ions=problem.relax_ions,
        )


def compare_with_limit(
    options: BiasOptions,
    problem: Problem,
    spec: CalculatorSpec,
    sample: list[Atoms],
    store: LabelStore,
    folder: Path,
    *,
    dry_run: bool,
    json: bool,
) -> None:
    """Print and write what a limit changes, and end with an error when that is more than the targets allow."""
    from ndsc.convergence import bias_table, plan_bias

    limit, targets, settings = options.limit_of(spec), options.targets(), options.settings(problem)
    what = (sample, problem.supercells.crystal, spec, limit, store)
    if dry_run:
        show_bias_plan(plan_bias(*what, settings=settings, known=problem.known), json=json)
        return
    with progress_bars() as progress:
        table = bias_table(
            *what, settings=settings, targets=targets, known=problem.known, executor=problem.executor, progress=progress
        )
    table.save(folder)
    if json:
        print_json(table.to_dict())
    else:
        show_bias(table)
        say(f"Written: {folder / 'bias.json'} and bias.csv; calculations are in {store.path}")
    table.require_within()


def show_bias_plan(plan: BiasPlan, *, json: bool) -> None:
    """What would be calculated, with its k-points."""
    if json:
        print_json({"calculations": plan.rows, "to_compute": plan.to_compute})
        return
    print_table(
        "To compare with the limit",
        ["", "calculations", "atoms", "k-points", "of the limit", "to calculate", "of the limit"],
        with_none([list(row.values()) for row in _in_order(plan)]),
    )
    say(
        f"{plan.to_compute} calculations are to be made; relaxations of a cell or of ions in a strained one take a few "
        "more."
    )


def _in_order(plan: BiasPlan) -> list[dict[str, object]]:
    names = ("what", "calculations", "atoms", "kpoints", "limit_kpoints", "to_compute", "limit_to_compute")
    return [{name: row[name] for name in names} for row in plan.rows]


def show_bias(table: BiasTable) -> None:
    """All numbers, and one verdict for each quantity."""
    for line in table.changed:
        note(line)
    lattice = "each at its own relaxed lattice" if table.lattice == "own" else "both at the lattice given"
    print_table(
        f"Settings of the database and those of the limit; phonons and elastic constants {lattice}",
        ["", "", "unit", "database", "limit", "change", "%", "allowed", ""],
        [
            [
                row.quantity, row.name, row.unit, *map(_number, (row.value, row.limit)), digits(row.change),
                "" if row.percent is None else digits(row.percent), digits(row.allowed),
                "" if row.within else "too much",
            ]
            for row in table.rows
        ],
    )  # fmt: skip
    if table.cpu_seconds is not None and table.limit_cpu_seconds is not None:
        times = f"{table.cpu_seconds:.3g} s of processors, with the limit {table.limit_cpu_seconds:.3g} s"
        say(f"A configuration takes {times}.")
    for text in table.notes:
        note(text)
    for name in table.quantities:
        say(table.verdict(name))


def _number(value: float) -> str:
    return f"{value:.5g}"
