"""The page of a run: one HTML file, made from a template, that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ndsc.report import text
from ndsc.report.choice import error_rows, order_rows
from ndsc.report.interactive import DETAILS, MOST_BYTES, PageFigure
from ndsc.report.phonon_errors import branch_errors, worst_qpoints
from ndsc.report.published import PAPER_ELASTIC_PERCENT, Published, published
from ndsc.report.tables import escape_markdown
from ndsc.results import Comparison, Results, SelectionSummary

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.report.write import RunFiles

CITATION = (
    "C. Allen and A. P. Bartók, Optimal data generation for machine learned interatomic potentials, "
    "Mach. Learn.: Sci. Technol. 3, 045031 (2022)"
)
#: Averages of elastic.json that are shown beside the constants.
_MODULI = {"bulk_modulus": "bulk modulus", "shear_modulus": "shear modulus", "young_modulus": "Young's modulus"}
#: Rows of the table of q-points with the largest errors.
_WORST_QPOINTS = 8
Rows = list[tuple[Any, ...]]


def report_page(results: Results, files: RunFiles, figures: Mapping[str, PageFigure]) -> str:
    """The page of a run as HTML.

    Parameters
    ----------
    results : Results
    files : RunFiles
        What the folder of the run has beside the results.
    figures : mapping of str to PageFigure
        By name: ``dispersion``, ``errors``, ``parity``, ``elastic``, ``choice``, ``zone``, ``cost``.
    """
    paper = published(results.crystal)
    curves, chosen = files.predicted, results.selection
    coverage = None if curves is None or files.phonons is None else curves.coverage(files.phonons)
    return small_page(
        "report.html.j2",
        figures,
        results=results,
        input_file=files.input_file,
        paper=paper,
        citation=CITATION,
        elastic_limit=PAPER_ELASTIC_PERCENT,
        verdict=files.verdict(results),
        predicted=curves,
        coverage=sorted((coverage or {}).items()),
        error_rows=error_rows(results),
        polar_rows=_polar_rows(results),
        step_rows=[] if chosen is None else _step_rows(chosen),
        order_rows=[] if chosen is None else order_rows(chosen, files.configurations),
        predicted_elastic_rows=_predicted_elastic_rows(results, paper),
        headlines=_headlines(results),
        special_rows=special_rows(files),
        elastic_rows=_elastic_rows(results, files.elastic, paper),
        lattice_rows=[
            (text.lattice_name(name), *_compared(value, 4)) for name, value in (results.lattice or {}).items()
        ],
        held=[] if files.supercells is None else text.qpoints_by_supercell(files.supercells),
        branch_rows=[] if files.phonons is None else _rounded(branch_errors(files.phonons), 1),
        worst_rows=[]
        if files.phonons is None
        else _rounded(worst_qpoints(files.phonons, _WORST_QPOINTS).drop(columns="weight"), 2),
    )


def small_page(name: str, figures: Mapping[str, PageFigure], **values: Any) -> str:
    """A page from its template, with as much detail in its figures as 2 MB hold."""
    made = template(name)
    page = ""
    for detail in DETAILS:
        page = made.render(figures={key: replace(one, detail=detail) for key, one in figures.items()}, **values)
        if len(page.encode("utf-8")) < MOST_BYTES:
            break
    return page


def template(name: str) -> Any:
    """A template of this package by the name of its file; in HTML, everything that is put in is escaped."""
    environment = Environment(
        loader=PackageLoader("ndsc.report"),
        autoescape=lambda file: file is not None and ".html" in file,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    names = (
        "number", "significant", "milli", "seconds", "estimated", "count", "grid", "code_name", "chemical",
        "space_group", "settings", "matrix",
    )  # fmt: skip
    environment.filters |= {name: getattr(text, name) for name in names} | {"markdown": escape_markdown}
    return environment.get_template(name)


def _headlines(results: Results) -> Rows:
    """(name, value, note) of each headline number."""
    entries: Rows = []
    expected = _expected(results.selection)
    if results.phonons is not None:
        note = "RMSE over the mesh" + (f", {expected['phonons']} predicted" if "phonons" in expected else "")
        entries.append(("Phonon error", f"{text.number(results.phonons.rmse_mesh_thz, 4)} THz", note))
    elif "phonons" in expected:
        entries.append(("Predicted phonon error", expected["phonons"], "RMSE over the Brillouin zone"))
    if results.worst_elastic is not None:
        name, value = results.worst_elastic
        error = "no value" if value.error_percent is None else f"{text.percent(value)} %"
        note = f"{name}, {expected['elastic']} predicted" if "elastic" in expected else name
        entries.append(("Worst elastic constant", error, note))
    elif "elastic" in expected:
        entries.append(("Predicted elastic error", expected["elastic"], "largest of all constants"))
    if results.supercells is not None:
        chosen = results.supercells
        proof = "proven cheapest" if chosen.proven else "not proven cheapest"
        entries.append(("Supercells", str(len(chosen.sizes)), f"grid {text.grid(chosen.grid)}, {proof}"))
    if results.cost is not None:
        cost = results.cost
        failed = len(results.labels.failures) if results.labels is not None else 0
        spent = "" if cost.seconds is None else f", {text.seconds(cost.seconds)} of calculations"
        note = f"{text.count(cost.atoms, 'atom')}{spent}"
        entries.append(("Labels", str(cost.labels), f"{note}, {failed} failed" if failed else note))
        relative = cost.relative_time_estimated
        if relative is not None and relative.value is not None:
            one = f"calculation of the diagonal supercell, {text.count(cost.diagonal_atoms, 'atom')}"
            how = "" if cost.diagonal_is_measured else ", estimated"
            how = f", as atoms^{cost.power:.2g}" if cost.seconds is None else how
            entries.append(("Time of the labels", f"{text.significant(relative.value, 2)} ×", f"one {one}{how}"))
        if cost.total_seconds is not None:
            entries.append(("Time", text.seconds(cost.total_seconds), "wall time of this run"))
    return entries


def special_rows(files: RunFiles) -> Rows:
    """(special point, q, branch, potential, reference, error) along the path, each point once, THz."""
    if files.phonons is None:
        return []
    found, rows = files.phonons, []
    named = {label: index for index, label in reversed(list(enumerate(found.path.names))) if label}
    for label, index in sorted(named.items(), key=lambda one: one[1]):
        q = " ".join(f"{round(float(part), 4) + 0.0:g}" for part in found.path.qpoints[index]).replace("-", "−")
        pairs = zip(found.model_path[index], found.reference_path[index], strict=True)
        for branch, (ours, theirs) in enumerate(pairs, 1):
            rows.append(
                (label, f"({q})", branch, *(text.number(float(one), 3) for one in (ours, theirs, ours - theirs)))
            )
    return rows


def _polar_rows(results: Results) -> Rows:
    """(direction and mode, TO, LO and splitting of the potential, and of the reference), THz."""
    return [
        (
            name,
            *(text.number(value, 3) for value in (*ours, text.splitting(*ours), *theirs, text.splitting(*theirs))),
        )
        for modes in ([] if results.phonons is None else results.phonons.polar)
        for name, ours, theirs in modes.rows()
    ]


def _expected(chosen: SelectionSummary | None) -> dict[str, str]:
    """The predicted errors with their units."""
    if chosen is None:
        return {}
    pairs = {"phonons": (chosen.predicted_rmse_thz, "THz"), "elastic": (chosen.predicted_elastic_percent, "%")}
    return {name: f"{text.significant(value, 2)} {unit}" for name, (value, unit) in pairs.items() if value is not None}


def _step_rows(chosen: SelectionSummary) -> Rows:
    """(labels, time, phonons, elastic constants) after each batch."""
    return [
        (
            str(step.labels),
            text.seconds(step.seconds),
            text.significant(step.predicted_rmse_thz),
            text.significant(step.predicted_elastic_percent),
        )
        for step in chosen.steps
    ]


def _predicted_elastic_rows(results: Results, paper: Published | None) -> Rows:
    """Predicted elastic constants with their standard deviations, GPa and per cent, beside the paper's."""
    chosen = results.selection
    if chosen is None or results.elastic:
        return []
    theirs = () if paper is None else (paper.potential, paper.reference)
    return [
        (
            name,
            text.number(value, 2),
            text.number(deviation := chosen.deviations.get(name), 2),
            text.number(_percent_of(deviation, value), 2),
            *(text.number(found.get(name), 1) for found in theirs),
        )
        for name, value in chosen.constants.items()
    ]


def _percent_of(deviation: float | None, value: float | None) -> float | None:
    return None if deviation is None or not value else 100.0 * deviation / abs(value)


def _elastic_rows(results: Results, elastic: Mapping[str, Any], paper: Published | None) -> Rows:
    """Elastic constants and the averages of model and reference (Voigt-Reuss-Hill), beside the paper's.

    After a choice of labels, the predicted standard deviation in per cent of the reference follows the error.
    """
    model, reference = elastic.get("model") or {}, elastic.get("reference") or {}
    values = dict(results.elastic or {}) | {
        title: Comparison.of(model.get(name), reference.get(name))
        for name, title in _MODULI.items()
        if reference.get(name) is not None or model.get(name) is not None
    }
    theirs = () if paper is None else (paper.potential, paper.reference)
    deviations = {} if results.selection is None else results.selection.deviations

    def expected(name: str, value: Comparison) -> tuple[str, ...]:
        if not deviations:
            return ()
        return (text.number(_percent_of(deviations.get(name), value.reference), 2),)

    return [
        (name, *_compared(value, 2), *expected(name, value), *(text.number(found.get(name), 1) for found in theirs))
        for name, value in values.items()
    ]


def _compared(value: Comparison, digits: int) -> tuple[str, str, str]:
    return text.number(value.model, digits), text.number(value.reference, digits), text.percent(value)


def _rounded(frame: DataFrame, heads: int) -> Rows:
    """The rows of a data frame; all columns but the first `heads` are numbers with four decimals."""
    return [
        (*row[:heads], *(text.number(value, 4) for value in row[heads:]))
        for row in frame.itertuples(index=False, name=None)
    ]
