"""The report of a run: figures, and one HTML file that opens without a network."""

from __future__ import annotations

import json
from pathlib import Path

from ndsc.database import read_database
from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.fit import Predictions
from ndsc.phonons import PhononComparison
from ndsc.report import sections
from ndsc.report.dispersion import dispersion_figure
from ndsc.report.figures import elastic_figure, parity_figure
from ndsc.report.page import document
from ndsc.report.style import SavedFigure, save_figure
from ndsc.results import Results, read_results


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
    figures = draw_figures(results, directory)
    page = document(
        f"{results.crystal.formula}: report of a run",
        sections.all_sections(results, figures, _input_file(directory)),
    )
    path = directory / "report.html"
    write_text(path, page)
    return path


def draw_figures(results: Results, directory: Path) -> dict[str, SavedFigure]:
    """The figures that the run has data for, by name: ``dispersion``, ``parity``, ``elastic``."""
    folder = directory / "figures"
    figures = {}
    if results.phonons is not None:
        comparison = PhononComparison.from_dict(_json(directory / "phonons" / "comparison.json"))
        figure = dispersion_figure(
            comparison, model_label="potential", reference_label="reference", title=results.crystal.formula
        )
        figures["dispersion"] = save_figure(figure, folder, "dispersion")
    if results.fit is not None:
        frames = read_database(_existing(directory / "potential" / "predictions.extxyz"), allow_missing=True)
        figures["parity"] = save_figure(parity_figure(Predictions.from_frames(frames)), folder, "parity")
    if any(value.error_percent is not None for value in (results.elastic or {}).values()):
        figures["elastic"] = save_figure(elastic_figure(results.elastic or {}), folder, "elastic")
    return figures


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
