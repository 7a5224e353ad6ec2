"""The page of a run: one HTML file, made from a template, that needs nothing beside itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ndsc.report import text
from ndsc.report.phonon_errors import branch_errors, worst_qpoints
from ndsc.report.published import PAPER_ELASTIC_PERCENT, Published, published
from ndsc.report.style import SavedFigure
from ndsc.report.tables import escape_markdown
from ndsc.report.verdict import verdict_of
from ndsc.results import Comparison, Results

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


def report_page(results: Results, files: RunFiles, figures: Mapping[str, SavedFigure]) -> str:
    """The page of a run as HTML.

    Parameters
    ----------
    results : Results
    files : RunFiles
        What the folder of the run has beside the results.
    figures : mapping of str to SavedFigure
        By name: ``dispersion``, ``errors``, ``parity``, ``elastic``, ``cost``.
    """
    paper = published(results.crystal)
    drawn = {name: base64.b64encode(figure.svg).decode("ascii") for name, figure in figures.items()}
    page: str = template("report.html.j2").render(
        results=results,
        figures=drawn,
        input_file=files.input_file,
        paper=paper,
        citation=CITATION,
        elastic_limit=PAPER_ELASTIC_PERCENT,
        verdict=verdict_of(results),
        headlines=_headlines(results),
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
        "number", "significant", "milli", "seconds", "count", "grid", "code_name", "chemical", "space_group",
        "settings", "matrix",
    )  # fmt: skip
    environment.filters |= {name: getattr(text, name) for name in names} | {"markdown": escape_markdown}
    return environment.get_template(name)


def _headlines(results: Results) -> Rows:
    """(name, value, note) of each headline number."""
    entries: Rows = []
    if results.phonons is not None:
        entries.append(("Phonon error", f"{text.number(results.phonons.rmse_mesh_thz, 4)} THz", "RMSE over the mesh"))
    if results.worst_elastic is not None:
        name, value = results.worst_elastic
        error = "no value" if value.error_percent is None else f"{text.percent(value)} %"
        entries.append(("Worst elastic constant", error, name))
    if results.supercells is not None:
        chosen = results.supercells
        proof = "proven cheapest" if chosen.proven else "not proven cheapest"
        entries.append(("Supercells", str(len(chosen.sizes)), f"grid {text.grid(chosen.grid)}, {proof}"))
    if results.cost is not None:
        cost = results.cost
        failed = len(results.labels.failures) if results.labels is not None else 0
        note = f"{text.count(cost.atoms, 'atom')}, {text.seconds(cost.seconds)} of calculations"
        entries.append(("Labels", str(cost.labels), f"{note}, {failed} failed" if failed else note))
        if cost.relative_to_diagonal is not None:
            share = f"{text.significant(100 * cost.relative_to_diagonal)} %"
            entries.append(("Cost of the database", share, "of one diagonal supercell, as atoms³"))
        if cost.total_seconds is not None:
            entries.append(("Time", text.seconds(cost.total_seconds), "wall time of this run"))
    return entries


def _elastic_rows(results: Results, elastic: Mapping[str, Any], paper: Published | None) -> Rows:
    """Elastic constants and the averages of model and reference (Voigt-Reuss-Hill), beside the paper's."""
    model, reference = elastic.get("model") or {}, elastic.get("reference") or {}
    values = dict(results.elastic or {}) | {
        title: Comparison.of(model.get(name), reference.get(name))
        for name, title in _MODULI.items()
        if name in reference or name in model
    }
    theirs = () if paper is None else (paper.potential, paper.reference)
    return [
        (name, *_compared(value, 2), *(text.number(found.get(name), 1) for found in theirs))
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
