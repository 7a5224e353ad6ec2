"""The page of a study: its claim, the verdict with the numbers behind it, tables and figures, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ndsc.config.study import StudyConfig
from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.report.tables import csv_text, markdown_table, write_data
from ndsc.study.figures import draw_figure
from ndsc.study.record import results_table, write_record
from ndsc.study.results import CheckResult, Finding, StudyResults
from ndsc.study.tables import make_table


def write_study(config: StudyConfig, results: StudyResults, folder: Path) -> Path:
    """Write everything of a study: ``study.json``, ``results.csv``, figures, tables and ``study.md``.

    Returns
    -------
    path
        The page.

    Raises
    ------
    InputError
        When a figure or table asks for what the results do not have, or the folder cannot be written.
    """
    write_record(results, folder)
    text = study_section(config, results, folder, link="")
    write_text(folder / "study.md", text)
    return folder / "study.md"


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
    made = (
        "Written by `ndsc study`; each part is an input file, and says whether its claim holds for the data at hand.\n"
    )
    parts = [f"# {title}\n", made, _summary([results for _, _, results in studies])]
    for name, config, results in studies:
        parts.append(study_section(config, results, folder / name, link=f"{folder.name}/{name}/", level=2))
    write_text(page, "\n".join(parts))
    return page


def study_section(config: StudyConfig, results: StudyResults, folder: Path, *, link: str, level: int = 1) -> str:
    """The Markdown of a study; its figures and tables are written to `folder`.

    Parameters
    ----------
    link : str
        What goes before the name of a figure's file in a link.
    level : int
        Of the heading.
    """
    parts = [f"{'#' * level} {results.title}\n"]
    if results.claim:
        parts.append(f"**Claim.** {results.claim}\n")
    if results.checks:
        parts.append(f"**Verdict.** {_verdict(results)}\n\n" + "".join(_check(check) for check in results.checks))
    for table in config.tables:
        made = make_table(table, results, config.published)
        write_data(made.data(), folder / table.name)
        parts.append((f"{table.caption}\n\n" if table.caption else "") + made.markdown())
        if made.sources():
            parts.append(f"{made.sources()}\n")
    for figure in config.figures:
        try:
            png = draw_figure(figure, results, folder)
        except InputError as error:
            parts.append(f"*The figure {figure.name} could not be drawn: {error}*\n")
            continue
        parts.append(f"![{figure.caption or figure.name}]({link}{png.name})\n\n*{figure.caption or figure.name}*\n")
    write_text(folder / "results.csv", csv_text(results_table(results)))
    parts.append(f"{_facts(results)} All numbers: [results.csv]({link}results.csv).\n")
    if results.warnings:
        lines = [f"- {' '.join(warning.split())}\n" for warning in results.warnings[:20]]
        if len(results.warnings) > 20:
            lines.append(f"- and {len(results.warnings) - 20} more in study.json\n")
        parts.append("Warnings:\n\n" + "".join(lines))
    return "\n".join(parts)


def _verdict(results: StudyResults) -> str:
    failed = sum(not check.holds for check in results.checks)
    if not failed:
        return (
            "The claim holds." if len(results.checks) == 1 else f"The claim holds: all {len(results.checks)} checks do."
        )
    if len(results.checks) == 1:
        return "The claim does not hold."
    return f"The claim does not hold as a whole: {failed} of {len(results.checks)} checks fail."


def _check(check: CheckResult) -> str:
    state = "holds" if check.holds else "**fails**"
    lines = [f"- {check.says} — {state} (judged by {_judge(check)}).\n"]
    return "".join([*lines, *(f"  - {_finding(finding)}\n" for finding in check.findings)])


def _judge(check: CheckResult) -> str:
    several = any(len(finding.left.values) > 1 for finding in check.findings)
    return {"median": "the medians" if several else "the value"}.get(check.judged, check.judged)


def _finding(finding: Finding) -> str:
    where = "" if finding.run is None else f" on {finding.run}"
    bound = finding.right.of == str(finding.right)
    right = str(finding.right) if bound else f"{finding.right.of}: {finding.right}"
    share = f"; true of {100 * finding.share:.0f} % of the seeds" if len(finding.left.values) > 1 else ""
    relation = finding.relation if finding.holds else f"not {finding.relation}"
    return f"`{finding.metric}`{where}, {finding.left.of}: {finding.left} is {relation} {right}{share}"


def _facts(results: StudyResults) -> str:
    several = [outcome for outcome in results.outcomes if outcome.variant.seed is not None]
    seeds = f"seeds {', '.join(map(str, results.seeds))}" if several else "nothing depends on a seed"
    versions = {name: results.versions[name] for name in ("ndsc", "quippy-ase", "phonopy") if name in results.versions}
    parts = [f"{len(results.outcomes)} potentials; {seeds}"]
    if results.verified:
        worst = max(results.verified.values())
        parts.append(
            f"{len(results.verified)} of them fitted again by gap_fit with the same sparse points: forces on the "
            f"training data differ by at most {1000 * worst:.3g} meV/Å"
        )
    parts.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    return f"{'; '.join(parts)}. {results.time.sentence()}"


def _summary(studies: Sequence[StudyResults]) -> str:
    """A line a study."""
    rows: list[list[str]] = []
    for results in studies:
        state = {True: "holds", False: "**does not hold**", None: ""}[results.holds]
        link = f"[{results.title}](#{anchor(results.title)})"
        rows.append([link, results.claim, state, results.time.short()])
    return markdown_table(("study", "claim", "", "fits and evaluations took"), rows, numeric=1)


def anchor(title: str) -> str:
    """The anchor of a heading, as forges make it."""
    kept = "".join(char for char in title.lower() if char.isalnum() or char in "-_ ")
    return kept.strip().replace(" ", "-")
