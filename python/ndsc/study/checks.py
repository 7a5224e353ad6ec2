"""Judging claims by the numbers of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ndsc.config.study import CheckConfig, Side
from ndsc.errors import InputError
from ndsc.study.results import CheckResult, Finding, Numbers, Outcome, matches


def judge(check: CheckConfig, outcomes: Sequence[Outcome]) -> CheckResult:
    """Compare what a check names, on every run and at every swept point that it is about.

    A number that could not be computed is infinite, so that it is never below anything, and not-a-number for a claim
    that something is above, which it never is.

    Parameters
    ----------
    check : CheckConfig
    outcomes : sequence of Outcome
        All of the study.

    Raises
    ------
    InputError
        When a metric, a run or a swept value is not there.
    """
    side = check.below_that_of or check.above_that_of
    relation = "above" if check.above is not None or check.above_that_of is not None else "below"
    bound = check.below if check.below is not None else check.above
    findings = []
    for point, ours in _points(check.of, check.at, outcomes, check.says).items():
        for run in _runs(check, ours):
            left = _numbers(ours, check.metric, run, check, relation)
            if side is None:
                assert bound is not None
                right: dict[int | None, float] = {None: bound}
                name, of = f"{bound:g}", f"{bound:g}"
            else:
                theirs = _opposite(check, side, ours, outcomes)
                metric, on = side.metric or check.metric, side.on or run
                right = {
                    seed: side.times * value for seed, value in _numbers(theirs, metric, on, check, relation).items()
                }
                of = theirs[0].variant.point
                name = of + ("" if metric == check.metric else f", {metric}")
                name = name if side.times == 1 else f"{side.times:g} times that of {name}"
            findings.append(
                _finding(
                    check,
                    run,
                    relation,
                    Numbers(point, _values(left)),
                    Numbers(name, _values(right)),
                    _pairs(left, right),
                )
            )
    return CheckResult(check.says, _judged(check.judged), tuple(findings))


def _finding(
    check: CheckConfig,
    run: str | None,
    relation: str,
    left: Numbers,
    right: Numbers,
    pairs: Sequence[tuple[float, float]],
) -> Finding:
    true = [ours < theirs if relation == "below" else ours > theirs for ours, theirs in pairs]
    share = sum(true) / len(true)
    if check.judged == "median":
        holds = left.median < right.median if relation == "below" else left.median > right.median
    else:
        holds = share >= (1.0 if check.judged == "every seed" else float(check.judged)) - 1e-12
    return Finding(run, check.metric, left, relation, right, share, holds)


def _points(of: str, at: Mapping[str, Any], outcomes: Sequence[Outcome], says: str) -> dict[str, list[Outcome]]:
    """The outcomes of a potential at some swept values, by point."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.variant.potential == of and matches(outcome.variant, at):
            found.setdefault(outcome.variant.point, []).append(outcome)
    if not found:
        swept = sorted({str(outcome.variant.values) for outcome in outcomes if outcome.variant.potential == of})
        raise InputError(
            f"The check {says!r} is about {of!r} at {dict(at)}, which the study does not have. Its swept values are "
            f"{'; '.join(swept)}."
        )
    return found


def _opposite(check: CheckConfig, side: Side, ours: Sequence[Outcome], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes on the other side: at the values given, and otherwise at our own as far as they are swept there."""
    of = side.of or check.of
    theirs = _points(of, side.at, outcomes, check.says)
    if len(theirs) > 1:
        own = ours[0].variant.values
        theirs = {
            point: group
            for point, group in theirs.items()
            if all(own.get(key) == value for key, value in group[0].variant.values.items() if key not in side.at)
        }
    if len(theirs) != 1:
        raise InputError(
            f"The check {check.says!r} compares {ours[0].variant.point} with {of!r}, which has {len(theirs)} such "
            "points. Say which with at = {…}."
        )
    return next(iter(theirs.values()))


def _runs(check: CheckConfig, outcomes: Sequence[Outcome]) -> list[str | None]:
    """The runs that a check is about; None for metrics of the fit, which belong to no run."""
    if all(check.metric in outcome.metrics for outcome in outcomes):
        return [None]
    judged_on = list(dict.fromkeys(run for outcome in outcomes for run in outcome.evaluations))
    if not judged_on:  # every fit failed, and that is what the check will say
        return list(check.on) or [None]
    strange = [run for run in check.on if run not in judged_on]
    if strange:
        raise InputError(
            f"The check {check.says!r} is about the run {strange[0]!r}, on which {check.of!r} is not judged; it is on "
            f"{', '.join(judged_on)}."
        )
    return list(check.on) or list(judged_on)


def _numbers(
    outcomes: Sequence[Outcome], metric: str, run: str | None, check: CheckConfig, relation: str
) -> dict[int | None, float]:
    """A metric by seed."""
    if not any(metric in _metrics(outcome, run) for outcome in outcomes if outcome.failure is None):
        known = sorted({name for outcome in outcomes for name in _metrics(outcome, run)})
        if known and any(outcome.failure is None for outcome in outcomes):
            raise InputError(
                f"The check {check.says!r} asks for {metric!r}, which is not there. There are {', '.join(known)}."
            )
    missing = math.inf if relation == "below" else math.nan
    found = {}
    for outcome in outcomes:
        value = outcome.value(metric, run)
        found[outcome.variant.seed] = missing if value is None else abs(value) if check.absolute else value
    return found


def _metrics(outcome: Outcome, run: str | None) -> dict[str, float | None]:
    evaluation = outcome.evaluations.get(run) if run is not None else None
    return outcome.metrics | ({} if evaluation is None else evaluation.metrics)


def _pairs(left: Mapping[int | None, float], right: Mapping[int | None, float]) -> list[tuple[float, float]]:
    """Both sides seed by seed; a side without seeds goes with every seed of the other."""
    if len(right) == 1 and None in right:
        return [(value, right[None]) for value in left.values()]
    if len(left) == 1 and None in left:
        return [(left[None], value) for value in right.values()]
    return [(value, right[seed]) for seed, value in left.items() if seed in right]


def _values(numbers: Mapping[int | None, float]) -> tuple[float, ...]:
    return tuple(numbers.values())


def _judged(judged: str | float) -> str:
    return judged if isinstance(judged, str) else f"{100 * judged:g} % of the seeds"
