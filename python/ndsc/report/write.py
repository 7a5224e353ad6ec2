"""The report of a run: figures, and one HTML file that opens without a network."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from matplotlib.figure import Figure

from ndsc.database import read_database
from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.fit import Predictions
from ndsc.phonons import PhononComparison
from ndsc.report.contents import Contents
from ndsc.report.dispersion import density_data, dispersion_data, dispersion_figure
from ndsc.report.elastic_errors import elastic_errors_data
from ndsc.report.figure_data import cost_data, parity_data
from ndsc.report.figures import cost_figure, elastic_figure, parity_figure
from ndsc.report.page import document
from ndsc.report.panels import DispersionPanel
from ndsc.report.phonon_errors import mesh_data, phonon_error_figure
from ndsc.report.sections import all_sections
from ndsc.report.style import SavedFigure, save_figure
from ndsc.report.text import chemical, code_name
from ndsc.report.tidy import DataTable, write_data
from ndsc.results import Results, read_results
from ndsc.supercells import SupercellSet

FIGURES = ("dispersion", "errors", "parity", "elastic", "cost")
#: Files of ``phonons/`` that the report writes: the data of the first two figures.
PHONON_DATA = ("path", "dos", "mesh")


def write_report(run_directory: str | Path) -> Path:
    """Draw the figures of a finished run and write its ``report.html``.

    Parameters
    ----------
    run_directory : path
        Folder of the run; only files in it are read. Figures go to ``figures/``, as PNG and PDF with their data as
        CSV; the phonons' data go to ``phonons/``.

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
        phonons=read_phonons(results, directory),
    )
    path = directory / "report.html"
    write_text(path, document(f"{chemical(results.crystal.formula)}: report of a run", all_sections(contents)))
    return path


def draw_figures(results: Results, directory: Path) -> dict[str, SavedFigure]:
    """The figures that the run has data for, by name: ``dispersion``, ``errors``, ``parity``, ``elastic``, ``cost``.

    Those of an earlier run of the same folder that have no data any more are removed.
    """
    folder = directory / "figures"
    figures: dict[str, tuple[Figure, DataTable | None]] = {}
    phonons = read_phonons(results, directory)
    if phonons is not None:
        figures |= {name: (figure, None) for name, figure in _phonon_figures(phonons, results, directory).items()}
    if results.fit is not None:
        frames = read_database(_existing(directory / "potential" / "predictions.extxyz"), allow_missing=True)
        predictions = Predictions.from_frames(frames)
        figures["parity"] = parity_figure(predictions), parity_data(predictions)
    elastic = results.elastic or {}
    if any(value.reference for value in elastic.values()):
        figures["elastic"] = elastic_figure(elastic), elastic_errors_data({_model_label(results): elastic})
    if results.cost is not None and results.cost.diagonal_atoms and results.cost.labels:
        figures["cost"] = cost_figure(results.cost), cost_data(results.cost)
    _remove_others(directory, figures, keep_phonons=phonons is not None)
    return {name: save_figure(figure, data, folder / name) for name, (figure, data) in figures.items()}


def read_phonons(results: Results, directory: Path) -> PhononComparison | None:
    """The comparison of the phonons, None when the run has none."""
    if results.phonons is None:
        return None
    return PhononComparison.from_dict(_json(directory / "phonons" / "comparison.json"))


def _phonon_figures(comparison: PhononComparison, results: Results, directory: Path) -> dict[str, Figure]:
    """The two figures of the phonons; their data go to ``phonons/``."""
    folder = directory / "phonons"
    # Runs of earlier versions have only the number.
    stored = folder / "harmonic_comparison.json"
    known = results.phonons is not None and results.phonons.harmonic is not None and stored.is_file()
    baseline = PhononComparison.from_dict(_json(stored)) if known else None
    title, model = chemical(results.crystal.formula), _model_label(results)
    reference = code_name(results.labels.calculator) if results.labels is not None else "reference"
    panel = DispersionPanel.from_comparisons(
        {model: comparison}, title=title, reference_label=reference, baseline=baseline
    )
    cell = results.crystal.cell
    write_data(dispersion_data(panel), folder / "path")
    write_data(density_data(panel.without_baseline()), folder / "dos")
    write_data(mesh_data(comparison, cell=cell), folder / "mesh")
    return {
        "dispersion": dispersion_figure(
            comparison, model_label=model, reference_label=reference, title=title, baseline=baseline
        ),
        "errors": phonon_error_figure(comparison, cell=cell),
    }


def _model_label(results: Results) -> str:
    return results.fit.method.upper() if results.fit is not None else "potential"


def _remove_others(directory: Path, figures: Collection[str], *, keep_phonons: bool) -> None:
    """Remove what the report of an earlier run wrote and this one does not."""
    for name in set(FIGURES) - set(figures):
        for ending in ("png", "pdf", "csv"):
            (directory / "figures" / f"{name}.{ending}").unlink(missing_ok=True)
    for name in () if keep_phonons else PHONON_DATA:
        (directory / "phonons" / f"{name}.csv").unlink(missing_ok=True)


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
