"""Checking claims against numbers: those of a study, or those of a run (:mod:`ndsc.report.verdict`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ndsc.config.claims import ClaimTest, Column, same_value
from ndsc.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.config.study import CheckConfig


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
        ``"median"``, ``"all"`` or the share of the seeds that is asked for.
    findings : tuple of Finding
        The claim holds when all of them do.
    """

    claim: str
    test: str
    seeds: str | float
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether all findings do; a claim without evidence does not hold."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)


def run_check(check: CheckConfig, frame: DataFrame) -> CheckResult:
    """Evaluate the test of a check, on every run and at every swept point that it does not name.

    Two potentials are compared seed by seed; one without seeds is compared with every seed of the other.

    Parameters
    ----------
    check : CheckConfig
    frame : DataFrame
        The results as in the results.csv of a study.

    Raises
    ------
    InputError
        When a run or a swept value is not there, or a potential has several points and the test does not say which.
    """
    test = check.parsed
    first, *others = test.columns
    table = _rows(frame, first, check.claim)
    keys = [str(key) for key in table.columns if key not in (first.text, "seed")]
    for column in others:
        right = _rows(frame, column, check.claim)
        shared = [key for key in keys if key in right.columns]
        if right.duplicated([*shared, "seed"]).any():
            raise InputError(
                f"The check {check.claim!r} refers to {column.text}, which has several points. Name one, as in "
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
    groups = table.groupby(keys, dropna=False, sort=False) if keys else [((), table)]
    findings = [_finding(test, check.seeds, dict(zip(keys, key, strict=True)), group[names]) for key, group in groups]
    return CheckResult(check.claim, test.text, check.seeds, tuple(findings))


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
    if seeds == "median":
        middle = {str(name): float(np.median(values.fillna(np.inf))) for name, values in numbers.items()}
        holds = not numbers[test.columns[0].text].isna().any() and test.holds(middle)
    else:
        holds = share >= (1.0 if seeds == "all" else float(seeds)) - 1e-12
    where = ", ".join(f"on {value}" if key == "run" else f"{key} = {_short(value)}" for key, value in at.items())
    return Finding(where, {str(name): tuple(map(float, values)) for name, values in numbers.items()}, share, holds)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
