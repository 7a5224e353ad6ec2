"""study.json and results.csv: what a study found, for programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndsc.files import write_text
from ndsc.report.tables import csv_text
from ndsc.study.results import FIT_METRICS, StudyResults

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA_VERSION = 1


def write_record(results: StudyResults, folder: Path) -> None:
    """Write ``study.json`` and ``results.csv``, each whole or not at all."""
    write_text(folder / "results.csv", csv_text(results_table(results)))
    write_text(folder / "study.json", json.dumps(document(results), indent=1, allow_nan=False) + "\n")


def results_table(results: StudyResults) -> DataFrame:
    """One row a potential, swept values, seed and run; one column a metric."""
    from pandas import DataFrame

    swept = list(dict.fromkeys(key for outcome in results.outcomes for key in outcome.variant.values))
    evaluated = list(
        dict.fromkeys(
            metric
            for outcome in results.outcomes
            for evaluation in outcome.evaluations.values()
            for metric in evaluation.metrics
        )
    )
    rows = []
    for outcome in results.outcomes:
        variant = outcome.variant
        head = [variant.potential, *(variant.values.get(key) for key in swept), variant.seed]
        facts = [outcome.metrics.get(metric) for metric in FIT_METRICS]
        for run, evaluation in outcome.evaluations.items():
            rows.append([*head, run, *facts, *(evaluation.metrics.get(metric) for metric in evaluated)])
        if not outcome.evaluations:
            rows.append([*head, None, *facts, *(None for _ in evaluated)])
    return DataFrame(rows, columns=["potential", *swept, "seed", "run", *FIT_METRICS, *evaluated])


def document(results: StudyResults) -> dict[str, Any]:
    """The whole of study.json; curves are in the CSV files of the figures and in the cache."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "title": results.title,
        "claim": results.claim,
        "holds": results.holds,
        "checks": [
            {
                "says": check.says,
                "judged": check.judged,
                "holds": check.holds,
                "findings": [
                    asdict(finding)
                    | {
                        side: {"of": numbers.of, "values": list(numbers.values), "median": numbers.median}
                        for side, numbers in (("left", finding.left), ("right", finding.right))
                    }
                    for finding in check.findings
                ],
            }
            for check in results.checks
        ],
        "seeds": list(results.seeds),
        "runs": {name: asdict(run) for name, run in results.runs.items()},
        "outcomes": [
            {
                "potential": outcome.variant.potential,
                "values": outcome.variant.values,
                "seed": outcome.variant.seed,
                "metrics": outcome.metrics,
                "labels": list(outcome.labels),
                "settings": outcome.settings,
                "regularisation": outcome.regularisation,
                "failure": outcome.failure,
                "evaluations": {
                    run: {"metrics": evaluation.metrics, "warnings": list(evaluation.warnings)}
                    for run, evaluation in outcome.evaluations.items()
                },
            }
            for outcome in results.outcomes
        ],
        "verified_ev_per_angstrom": results.verified,
        "seconds": round(results.seconds, 3),
        "time": results.time.to_dict(),
        "versions": results.versions,
        "warnings": list(results.warnings),
    }
    plain = _plain(content)
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
