"""Claims and their tests: comparisons of columns of a study's results.csv, such as ``rmse_mesh_thz[Al] < 0.06``.

A reference ``metric[potential]`` is the column *metric* in the rows of a potential, ``metric[potential; key = value]``
in those at a swept value, ``metric[potential; on = run]`` in those judged on a run. Numbers, ``+ - * /``, ``abs()``,
``<``, ``<=``, ``>``, ``>=``, ``and`` and ``or`` have their usual meaning.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ndsc.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

#: Every number that a study finds of a potential; docs/studies.md explains each.
METRIC = re.compile(
    r"n_labels|n_atoms|label_seconds|atoms_cubed|n_sparse|fit_seconds|held_out_labels"
    r"|(train|held_out)_force_rmse_ev_per_angstrom|rmse_mesh_thz|rmse_path_thz|max_error_thz|min_frequency_thz"
    r"|reference_(min|max)_frequency_thz|harmonic_rmse_mesh_thz|branch_[1-9]\d*_rmse_thz"
    r"|predicted_rmse_thz|predicted_elastic_percent|band_(68|95)"
    r"|(largest|rms)_elastic_error_percent|(B|C[1-6][1-6]|a|b|c|volume_per_atom)(_error_percent)?"
)
# A name may have brackets itself, in pairs.
_REFERENCE = re.compile(r"([A-Za-z_]\w*)\s*\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
_ALLOWED = (
    ast.Expression, ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.Call,
    ast.And, ast.Or, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """What a reference in a test means.

    Attributes
    ----------
    text : str
        As it is written.
    metric, potential : str
    at : dict of str to str
        Swept values by their dotted keys, as text.
    on : str or None
        Name of a run.
    """

    text: str
    metric: str
    potential: str
    at: dict[str, str] = field(default_factory=dict)
    on: str | None = None


@dataclass(frozen=True)
class ClaimTest:
    """A test of a claim.

    Attributes
    ----------
    text : str
    columns : tuple of Column
        Each once, in the order of the text.
    expression : str
        The text with its references replaced by ``c0``, ``c1`` …
    """

    text: str
    columns: tuple[Column, ...]
    expression: str

    @classmethod
    def parse(cls, text: str) -> ClaimTest:
        """Read a test.

        Raises
        ------
        ValueError
            When it is not a comparison of columns.
        """
        found: dict[str, Column] = {}

        def name(match: re.Match[str]) -> str:
            column = _column(match)
            found.setdefault(column.text, column)
            return f" c{list(found).index(column.text)} "

        expression = _REFERENCE.sub(name, text).strip()
        try:
            tree = ast.parse(expression, mode="eval")
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{text!r} is not a comparison such as 'rmse_mesh_thz[{{potential}}] < 0.5'") from error
        known = {f"c{number}" for number in range(len(found))} | {"abs"}
        for node in ast.walk(tree):
            if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Name) and node.id not in known):
                strange = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
                raise ValueError(f"{text!r} contains {strange!r}; write columns as metric[potential]")
        if not found or not isinstance(tree.body, ast.Compare | ast.BoolOp):
            raise ValueError(f"{text!r} compares nothing; write for example 'rmse_mesh_thz[{{potential}}] < 0.5'")
        return cls(text, tuple(found.values()), expression)

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether the test is true of one number for each column, by its text.

        A number that could not be computed (NaN) counts as infinitely large, so that others may be below it; a test
        does not hold when the number that it is about, its first column, is missing.
        """
        numbers = {f"c{number}": values[column.text] for number, column in enumerate(self.columns)}
        if math.isnan(numbers["c0"]):
            return False
        numbers = {name: math.inf if math.isnan(number) else number for name, number in numbers.items()}
        # The expression has nothing but the nodes that `parse` allows.
        return bool(eval(self.expression, {"__builtins__": {}, "abs": abs}, numbers))


@dataclass(frozen=True)
class Finding:
    """A test at one point of the sweep and on one run.

    Attributes
    ----------
    where : str
        The run and the swept values that the test does not name itself.
    numbers : dict of str to tuple of float
        Each column of the test by its text, seed by seed; NaN where a number could not be computed.
    share : float
        Share of the seeds for which the test is true.
    holds : bool
    """

    where: str
    numbers: dict[str, tuple[float, ...]]
    share: float
    holds: bool


@dataclass(frozen=True)
class CheckResult:
    """A claim, its test, and whether the numbers bear it out.

    Attributes
    ----------
    claim, test : str
    seeds : str or float
        ``"median"``, ``"mean"``, ``"all"`` or the share of the seeds that is asked for.
    findings : tuple of Finding
        The claim holds when all of them do.
    together : bool
        Whether all points count as seeds of one.
    """

    claim: str
    test: str
    seeds: str | float
    findings: tuple[Finding, ...]
    together: bool = False

    @property
    def holds(self) -> bool:
        """Whether all findings do; a claim without evidence does not hold."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)


def run_check(
    claim: str, text: str, frame: DataFrame, *, seeds: str | float = "median", together: bool = False
) -> CheckResult:
    """Evaluate the test of a claim, on every run and at every swept point that it does not name.

    Two potentials are compared seed by seed; one without seeds is compared with every seed of the other.

    Parameters
    ----------
    claim, text : str
        The statement, and its test.
    frame : DataFrame
        The results as in the results.csv of a study.
    seeds : str or float
        ``"median"``, ``"mean"``, ``"all"`` or the share of the seeds that is enough.
    together : bool
        Whether all points that the test does not name count as seeds of one.

    Raises
    ------
    InputError
        When a run or a swept value is not there, or a potential has several points and the test does not say which.
    """
    test = ClaimTest.parse(text)
    first, *others = test.columns
    table = _rows(frame, first, claim)
    keys = [str(key) for key in table.columns if key not in (first.text, "seed")]
    for column in others:
        right = _rows(frame, column, claim)
        shared = [key for key in keys if key in right.columns]
        if right.duplicated([*shared, "seed"]).any():
            raise InputError(
                f"The check {claim!r} refers to {column.text}, which has several points. Name one, as in "
                f"{column.metric}[{column.potential}; key = value]."
            )
        right = right[[*shared, "seed", column.text]]
        if table.seed.isna().all():
            table = table.drop(columns="seed")
        elif right.seed.isna().all():
            right = right.drop(columns="seed")
        else:
            shared.append("seed")
        table = table.merge(right, on=shared, how="left") if shared else table.merge(right, how="cross")
    names = [column.text for column in test.columns]
    if together:
        keys = []
    groups = table.groupby(keys, dropna=False, sort=False) if keys else [((), table)]
    findings = [_finding(test, seeds, dict(zip(keys, key, strict=True)), group[names]) for key, group in groups]
    return CheckResult(claim, test.text, seeds, tuple(findings), together)


def needed_for(metric: str) -> str | None:
    """The key of ``[evaluate]`` that a metric needs to be true; None for a metric of the fit or the lattice."""
    if metric.startswith("harmonic"):
        return "harmonic"
    if metric.startswith(("predicted", "band")):
        return "predicted"
    if metric.endswith("_thz"):
        return "phonons"
    return "elastic" if "elastic" in metric or metric[0] in "BC" else None


def same_value(found: object, value: object) -> bool:
    """Whether a swept value is another one, which may be its text."""
    if found == value:
        return True
    try:
        return float(str(found)) == float(str(value))
    except ValueError:
        return str(found) == str(value).strip("'\"")


def _column(match: re.Match[str]) -> Column:
    metric, (potential, *conditions) = match[1], [part.strip() for part in match[2].split(";")]
    if not METRIC.fullmatch(metric):
        raise ValueError(f"{metric!r} is not a metric; the page on studies in the documentation lists them")
    values: dict[str, str] = {}
    for condition in conditions:
        key, equals, value = (part.strip() for part in condition.partition("="))
        if not (key and equals and value):
            raise ValueError(f"{condition!r} in {match[0]!r} is not of the form key = value")
        values[key] = value
    on = values.pop("on", None)
    return Column(re.sub(r"\s+", " ", match[0]), metric, potential, values, on)


def _rows(frame: DataFrame, column: Column, claim: str) -> DataFrame:
    """The rows of a potential that a column names: the keys that it leaves open, the seed, and the metric."""
    rows = frame[frame.potential == column.potential]
    swept = [key for key in frame.columns[1 : frame.columns.get_loc("seed")] if rows[key].notna().any()]
    for key, value in column.at.items():
        rows = rows[[same_value(found, value) for found in rows[key]]] if key in swept else rows[:0]
    if column.on is not None:
        rows = rows[rows.run == column.on]
    if rows.empty:
        raise InputError(f"The check {claim!r} refers to {column.text}, which the results do not have.")
    free = [key for key in swept if key not in column.at] + ([] if column.on is not None else ["run"])
    # A metric that no potential has, for example an elastic constant of another class, is missing everywhere.
    return rows.reindex(columns=[*free, "seed", column.metric]).rename(columns={column.metric: column.text})


def _finding(test: ClaimTest, seeds: str | float, at: Mapping[str, Any], numbers: DataFrame) -> Finding:
    share = float(
        np.mean([test.holds(dict(zip(numbers.columns, row, strict=True))) for row in numbers.to_numpy(dtype=float)])
    )
    if seeds in ("median", "mean"):
        of = np.median if seeds == "median" else np.mean
        middle = {str(name): float(of(values.fillna(np.inf))) for name, values in numbers.items()}
        holds = not numbers[test.columns[0].text].isna().any() and test.holds(middle)
    else:
        holds = share >= (1.0 if seeds == "all" else float(seeds)) - 1e-12
    where = ", ".join(f"on {value}" if key == "run" else f"{key} = {_short(value)}" for key, value in at.items())
    return Finding(where, {str(name): tuple(map(float, values)) for name, values in numbers.items()}, share, holds)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
