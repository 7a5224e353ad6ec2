"""What a study writes: study.json and results.csv for programs, and its page with tables and figures in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json

from ndsc.config.study import StudyConfig
from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.report.page import template
from ndsc.report.tables import csv_text, write_data
from ndsc.study.figures import draw_figure
from ndsc.study.results import StudyResults
from ndsc.study.tables import make_table

SCHEMA_VERSION = 1
#: Warnings on the page; all are in study.json.
_MOST_WARNINGS = 20


def write_study(config: StudyConfig, results: StudyResults, folder: Path) -> None:
    """Write everything of a study: ``study.json``, ``results.csv``, figures, tables and the page ``study.md``.

    Raises
    ------
    InputError
        When a table asks for what the results do not have, or the folder cannot be written.
    """
    write_text(folder / "study.json", json.dumps(study_record(results), indent=1, allow_nan=False) + "\n")
    write_text(folder / "study.md", study_section(config, results, folder, link=""))


def write_page(studies: Sequence[tuple[str, StudyConfig, StudyResults]], page: Path, *, title: str) -> Path:
    """Write one page of several studies, with their figures in a folder of its name beside it.

    Parameters
    ----------
    studies : sequence of (name, StudyConfig, StudyResults)
        The name begins the names of the files of its figures.
    page : path
        Ends in ``.md``.
    title : str
    """
    folder = page.with_suffix("")
    sections = [
        study_section(config, results, folder / name, link=f"{folder.name}/{name}/", level=2)
        for name, config, results in studies
    ]
    found = [results for _, _, results in studies]
    write_text(page, template("studies.md.j2").render(title=title, studies=found, sections=sections, anchor=anchor))
    return page


def study_section(config: StudyConfig, results: StudyResults, folder: Path, *, link: str, level: int = 1) -> str:
    """The Markdown of a study; its figures, tables and results.csv are written to `folder`.

    Parameters
    ----------
    link : str
        What goes before the name of a figure's file in a link.
    level : int
        Of the heading.
    """
    tables = []
    for section in config.tables:
        table = make_table(section, results, config.published)
        write_data(table.data(), folder / section.name)
        tables.append((section.caption, table))
    figures = []
    for figure in config.figures:
        try:
            png, failure = draw_figure(figure, results, folder).name, ""
        except InputError as error:
            png, failure = "", str(error)
        figures.append((figure.caption or figure.name, png, failure))
    write_text(folder / "results.csv", csv_text(results.frame))
    page: str = template("study.md.j2").render(
        results=results,
        tables=tables,
        figures=figures,
        link=link,
        level=level,
        most_warnings=_MOST_WARNINGS,
        numbers=numbers_text,
    )
    return page


def numbers_text(values: Sequence[float]) -> str:
    """One number, or the median and the range of several seeds."""
    shown = [value if math.isfinite(value) else math.inf for value in values]
    if len(shown) == 1:
        return _number(shown[0])
    middle = _number(float(np.median(shown)))
    if min(shown) == max(shown):
        return middle
    return f"{middle} ({_number(min(shown))} to {_number(max(shown))}, {len(shown)} seeds)"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not available"


def study_record(results: StudyResults) -> dict[str, Any]:
    """The whole of study.json; curves are in the CSV files of the figures and in the cache."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "title": results.title,
        "claim": results.claim,
        "discussion": results.discussion,
        "holds": results.holds,
        "checks": [{**vars(check), "holds": check.holds} for check in results.checks],
        "seeds": results.seeds,
        "runs": results.runs,
        "outcomes": [
            {
                **vars(outcome.variant),
                **{
                    name: getattr(outcome, name)
                    for name in ("metrics", "labels", "settings", "regularisation", "failure")
                },
                "evaluations": {
                    run: {"metrics": evaluation.metrics, "warnings": evaluation.warnings}
                    for run, evaluation in outcome.evaluations.items()
                },
            }
            for outcome in results.outcomes
        ],
        "verified_ev_per_angstrom": results.verified,
        "seconds": round(results.seconds, 3),
        "time": results.time.to_dict(),
        "versions": results.versions,
        "warnings": results.warnings,
    }
    # JSON has no infinity and no NaN: they become null.
    plain: dict[str, Any] = json.loads(to_json(content, inf_nan_mode="null"))
    return plain


def anchor(title: str) -> str:
    """The anchor of a heading, as forges make it."""
    kept = "".join(char for char in title.lower() if char.isalnum() or char in "-_ ")
    return kept.strip().replace(" ", "-")
