"""The report of a run: figures, and one HTML file that opens without a network."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ase import Atoms
from matplotlib.figure import Figure

from ndsc.errors import InputError
from ndsc.extended_xyz import read_frames
from ndsc.files import ScratchFolder, read_json, write_text
from ndsc.fit import Predictions
from ndsc.phonons import PhononComparison
from ndsc.report import interactive
from ndsc.report.bands import DispersionPanel
from ndsc.report.choice import choice_data, choice_figure
from ndsc.report.dispersions import density_data, dispersion_data, dispersion_figure
from ndsc.report.elastic_errors import elastic_errors_data, elastic_errors_figure
from ndsc.report.figures import cost_data, cost_figure, parity_data, parity_figure
from ndsc.report.interactive import PageFigure
from ndsc.report.page import report_page
from ndsc.report.phonon_errors import mesh_data, phonon_error_figure
from ndsc.report.predicted import PredictedCurves, predicted_data, predicted_dispersion_figure
from ndsc.report.style import save_figure
from ndsc.report.tables import write_data
from ndsc.report.text import chemical, code_name
from ndsc.report.verdict import Verdict, verdict_of
from ndsc.report.zone import MOST_QPOINTS, projected, zone_data, zone_figure
from ndsc.results import Results, read_results, with_input_warning
from ndsc.supercells import SupercellSet

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")

_WITH_DATA = ("parity", "elastic", "cost", "choice", "zone")

#: Everything that a report may consist of; what a new report lacks is removed from the folder of an older one.
FILES = (
    *(f"figures/{name}.{end}" for name in ("dispersion", "errors") for end in ("png", "pdf")),
    *(f"figures/{name}.{end}" for name in _WITH_DATA for end in ("png", "pdf", "csv")),
    *(f"phonons/{name}.csv" for name in ("path", "dos", "mesh", "predicted-path", "predicted-dos")),
    "report.html",
)


def write_report(run_directory: str | Path) -> Path:
    """Draw the figures of a finished run and write its ``report.html``.

    All of it is made beside the old report and takes its place at the end: when something is missing or damaged, the
    old report stays as it is.

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
        raise InputError(
            f"There is no folder {directory}. Give the folder of a run, which ndsc run CONFIG.toml writes."
        )
    results = with_input_warning(read_results(directory), directory)
    found = RunFiles(directory, results)
    try:
        scratch = ScratchFolder(directory)
    except OSError as error:
        raise InputError(
            f"{directory} cannot be written ({error.strerror}). Choose a folder that you may write to, on a disk "
            "with free space."
        ) from error
    with scratch:
        figures = _draw_figures(results, found, scratch.path)
        write_text(scratch.path / "report.html", report_page(results, found, figures))
        _move_all(scratch.path, directory)
    return directory / "report.html"


class RunFiles:
    """What the folder of a run has beside results.json, each None or empty where the run left it out.

    Attributes
    ----------
    supercells : SupercellSet or None
    phonons, harmonic : PhononComparison or None
        The curves behind the summary in the results.
    predictions : Predictions or None
    predicted : PredictedCurves or None
        Phonons with the errors that the choice of labels expects.
    configurations : list of ase.Atoms
        Of a choice: what was chosen.
    elastic : mapping
        elastic.json: ``model`` and ``reference``.
    input_file : str
        Text of ndsc.toml, empty when there is none.

    Raises
    ------
    InputError
        When a file that results.json names is missing or damaged.
    """

    def __init__(self, directory: Path, results: Results) -> None:
        self.supercells: SupercellSet | None = None
        self.phonons: PhononComparison | None = None
        self.harmonic: PhononComparison | None = None
        self.predictions: Predictions | None = None
        self.predicted: PredictedCurves | None = None
        self.configurations: list[Atoms] = []
        self.elastic: Mapping[str, Any] = {}
        if results.supercells is not None:
            self.supercells = _read(directory / "supercells.json", lambda path: SupercellSet.from_dict(_json(path)))
        if results.phonons is not None:
            self.phonons = _read(directory / "phonons" / "comparison.json", _comparison)
            # Runs of earlier versions have only the number.
            harmonic = directory / "phonons" / "harmonic_comparison.json"
            if results.phonons.harmonic is not None and harmonic.is_file():
                self.harmonic = _read(harmonic, _comparison)
        if results.fit is not None:
            # Crystals of a run of several share the potential, and each has its predictions beside its results.
            path = directory / "predictions.extxyz"
            path = path if path.is_file() else directory / "potential" / "predictions.extxyz"
            self.predictions = _read(path, lambda file: Predictions.from_frames(read_frames(file)))
        if results.selection is not None:
            self.configurations = _read(directory / "configurations.extxyz", read_frames)
            if results.fit is not None:
                path = directory / "phonons" / "predicted.json"
                self.predicted = _read(path, lambda file: PredictedCurves.from_dict(_json(file)))
        if results.elastic is not None:
            self.elastic = _read(directory / "elastic.json", _json)
        settings = directory / "ndsc.toml"
        # That of the results, which a later run that did not finish has replaced in the folder.
        self.input_file = results.input
        if not self.input_file and settings.is_file():
            self.input_file = settings.read_text(encoding="utf-8", errors="replace")

    def verdict(self, results: Results) -> Verdict | None:
        """The verdict on the run; of one without a reference, with the frequencies that are predicted."""
        if self.predicted is None:
            return verdict_of(results)
        return verdict_of(results, self.predicted.min_frequency_thz, self.predicted.max_frequency_thz)


def _draw_figures(results: Results, found: RunFiles, folder: Path) -> dict[str, PageFigure]:
    """The figures that the run has data for, by name.

    ``dispersion``, ``errors``, ``parity``, ``elastic``, ``choice``, ``zone`` and ``cost``.
    """
    figures: dict[str, PageFigure] = {}
    model = results.fit.method.upper() if results.fit is not None else "potential"

    def add(name: str, figure: Figure, data: DataFrame, layers: Sequence[interactive.Layer]) -> None:
        saved = save_figure(figure, data, folder / "figures" / name)
        figures[name] = PageFigure(saved, layers, {f"{name}.csv": data})

    figures |= _draw_phonons(results, found, folder, model)
    if results.selection is not None:
        data = choice_data(results)
        add("choice", choice_figure(data), data, interactive.choice_layers(data))
    if found.supercells is not None and math.prod(found.supercells.grid) <= MOST_QPOINTS:
        data = zone_data(found.supercells)
        layers = interactive.zone_layers(data, projected(data, flat=found.supercells.crystal.is_sheet))
        add("zone", zone_figure(found.supercells, data), data, layers)
    if found.predictions is not None:
        data = parity_data(found.predictions)
        add("parity", parity_figure(found.predictions), data, interactive.parity_layers(data))
    if any(value.reference for value in (results.elastic or {}).values()):
        data = elastic_errors_data({model: results.elastic or {}})
        add("elastic", elastic_errors_figure(data), data, interactive.elastic_layers(data))
    if results.cost is not None and results.cost.labels and len(data := cost_data(results.cost)):
        add("cost", cost_figure(results.cost), data, interactive.cost_layers(data, results.cost))
    return figures


def _draw_phonons(results: Results, found: RunFiles, folder: Path, model: str) -> dict[str, PageFigure]:
    """The figures of phonons, ``dispersion`` and ``errors``, with their data in the folder phonons."""
    figures, title = {}, chemical(results.crystal.formula)
    tables: dict[str, DataFrame] = {}
    if found.predicted is not None:
        for name, table in zip(("path", "dos"), predicted_data(found.predicted), strict=True):
            tables[f"predicted-{name}"] = table
    if found.phonons is not None:
        panel = DispersionPanel(
            {model: found.phonons},
            title=title,
            reference_label=code_name(results.labels.calculator) if results.labels is not None else "reference",
            baseline=found.harmonic,
        )
        cell = results.crystal.cell
        tables = {"path": dispersion_data(panel), "dos": density_data(replace(panel, baseline=None)), **tables}
        mesh = mesh_data(found.phonons, cell=cell)
        write_data(mesh, folder / "phonons" / "mesh")
        predicted = found.predicted if found.predicted is not None and found.predicted.matches(found.phonons) else None
        drawn, layers = dispersion_figure(panel, predicted), interactive.dispersion_layers(panel)
        errors = save_figure(phonon_error_figure(found.phonons, cell=cell), None, folder / "figures" / "errors")
        figures["errors"] = PageFigure(errors, interactive.error_layers(mesh), {"mesh.csv": mesh})
    elif found.predicted is not None:
        drawn = predicted_dispersion_figure(found.predicted, name=model, title=title)
        layers = interactive.predicted_layers(found.predicted, model)
    else:
        return {}
    for name, table in tables.items():
        write_data(table, folder / "phonons" / name)
    saved = save_figure(drawn, None, folder / "figures" / "dispersion")
    figures["dispersion"] = PageFigure(saved, layers, {f"{name}.csv": one for name, one in tables.items()})
    return figures


def _move_all(temporary: Path, directory: Path) -> None:
    """Put a finished report in its place, the page last, and remove what only the older report had."""
    for name in FILES:
        made = temporary / name
        try:
            if made.is_file():
                (directory / name).parent.mkdir(exist_ok=True)
                os.replace(made, directory / name)
            else:
                (directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{directory / name} cannot be written ({error}). Move away what is there.") from error


def _read(path: Path, read: Callable[[Path], T]) -> T:
    run = path.parents[1] if path.parent.name in ("phonons", "potential") else path.parent
    again = f"Make it again: ndsc run {run}/ndsc.toml"
    if not path.is_file():
        raise InputError(f"{path} is missing, although results.json refers to it. {again}")
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, InputError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}). {again}") from error


def _json(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    return content


def _comparison(path: Path) -> PhononComparison:
    return PhononComparison.from_dict(_json(path))
