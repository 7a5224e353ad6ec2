"""The report of a run: figures, and one HTML file that opens without a network."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from ndsc.database import read_database
from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.fit import Predictions
from ndsc.phonons import PhononComparison
from ndsc.report.dispersion import dispersion_figure
from ndsc.report.figures import cost_figure, elastic_figure, parity_figure
from ndsc.report.page import document
from ndsc.report.sections import Contents, all_sections
from ndsc.report.style import SavedFigure, save_figure
from ndsc.report.text import chemical, code_name
from ndsc.results import Results, read_results
from ndsc.supercells import SupercellSet

FIGURES = ("dispersion", "parity", "elastic", "cost")


def write_report(run_directory: str | Path) -> Path:
    """Draw the figures of a finished run and write its ``report.html``.

    Parameters
    ----------
    run_directory : path
        Folder of the run; only files in it are read. Figures go to ``figures/``, as PNG and PDF.

    Returns
    -------
    path
        The HTML file.

    Raises
    ------
    InputError
        When a file that the run should have is missing or damaged, or the folder cannot be written.
    """
    directory = Path(run_directory)
    if not directory.is_dir():
        raise InputError(f"There is no folder {directory}. Give the folder of a run: ndsc run CONFIG.toml makes one.")
    results = read_results(directory)
    supercells = None
    if results.supercells is not None:
        supercells = SupercellSet.from_dict(_json(directory / "supercells.json"))
    contents = Contents(
        results=results,
        supercells=supercells,
        elastic=_json(directory / "elastic.json") if results.elastic is not None else {},
        input_file=_input_file(directory),
        figures=draw_figures(results, directory),
    )
    path = directory / "report.html"
    write_text(path, document(f"{chemical(results.crystal.formula)}: report of a run", all_sections(contents)))
    return path


def draw_figures(results: Results, directory: Path) -> dict[str, SavedFigure]:
    """The figures that the run has data for, by name: ``dispersion``, ``parity``, ``elastic``, ``cost``.

    Those of an earlier run of the same folder that have no data any more are removed.
    """
    folder = directory / "figures"
    figures: dict[str, Figure] = {}
    if results.phonons is not None:
        comparison = PhononComparison.from_dict(_json(directory / "phonons" / "comparison.json"))
        figures["dispersion"] = dispersion_figure(
            comparison,
            model_label=results.fit.method.upper() if results.fit is not None else "potential",
            reference_label=code_name(results.labels.calculator) if results.labels is not None else "reference",
            title=chemical(results.crystal.formula),
        )
    if results.fit is not None:
        frames = read_database(_existing(directory / "potential" / "predictions.extxyz"), allow_missing=True)
        figures["parity"] = parity_figure(Predictions.from_frames(frames))
    if any(value.reference for value in (results.elastic or {}).values()):
        figures["elastic"] = elastic_figure(results.elastic or {})
    if results.cost is not None and results.cost.diagonal_atoms and results.cost.labels:
        figures["cost"] = cost_figure(results.cost)
    for name in set(FIGURES) - set(figures):
        for ending in ("png", "pdf"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    return {name: save_figure(figure, None, folder / name) for name, figure in figures.items()}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"{path} is missing, although results.json tells of it. Make it again: ndsc run {path.parents[1]}/ndsc.toml"
        )
    return path


def _json(path: Path) -> dict[str, object]:
    try:
        content: dict[str, object] = json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}). Make it again: ndsc run {path.parents[1]}/ndsc.toml") from error
    return content


def _input_file(directory: Path) -> str:
    path = directory / "ndsc.toml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
