"""Several runs side by side: one page with verdicts, errors, costs and curves, and what differs in the input."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ndsc.errors import InputError
from ndsc.files import ScratchFolder, check_folder, write_text
from ndsc.report import interactive, text
from ndsc.report.bands import SAME_REFERENCE_THZ, DispersionPanel
from ndsc.report.dispersions import dispersion_comparison_figure, dispersion_data
from ndsc.report.elastic_errors import elastic_errors_data, elastic_errors_figure
from ndsc.report.interactive import PageFigure
from ndsc.report.learning_curve import learning_curve_figure
from ndsc.report.page import small_page
from ndsc.report.style import save_figure
from ndsc.report.tables import NOTHING
from ndsc.report.text import chemical, code_name
from ndsc.report.verdict import RMSE_PERCENT, Verdict
from ndsc.report.write import RunFiles
from ndsc.results import Results, is_of_several, read_results, read_several_results

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.phonons import PhononComparison

Rows = list[tuple[str, ...]]
#: The table of runs.
COLUMNS = (
    "run", "crystal", "reference", "labels", "time", "RMSE (THz)", "RMSE (%)", "predicted (THz)", "elastic (%)",
    "warnings", "verdict",
)  # fmt: skip
#: Parts of an input file that say nothing about the potential.
_LEFT_OUT = {"executor"}
_LEFT_OUT_KEYS = {"labels", "command", "pseudo_dir"}


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A finished run, or one crystal of a run of several.

    Attributes
    ----------
    name : str
        What it is called on the page.
    directory : path
    results : Results
    files : RunFiles
    """

    name: str
    directory: Path
    results: Results
    files: RunFiles

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of its own report."""
        return self.files.verdict(self.results)

    @property
    def crystal(self) -> str:
        """Formula and space group, the same for runs of the same crystal."""
        summary = self.results.crystal
        return f"{chemical(summary.formula)} {text.space_group(summary.space_group)}".strip()


def write_comparison(runs: Sequence[str | Path], out: str | Path = "comparison.html") -> Path:
    """Write one page that compares finished runs, of the same or of different crystals.

    Parameters
    ----------
    runs : sequence of paths
        Folders of runs, at least two; of a run of several crystals, each crystal is one.
    out : path
        The page, ``.html``; nothing else is written.

    Returns
    -------
    path
        The page.

    Raises
    ------
    InputError
        When a folder has no results or those of another format, is named twice, or there is nothing to compare; and
        when the page cannot be written.
    """
    target = Path(out)
    if target.suffix.lower() != ".html" or target.is_dir():
        raise InputError(f"The comparison cannot be written to {target}. Give the name of a file that ends in .html.")
    check_folder(target.parent)
    compared = read_runs(runs)
    with ScratchFolder(target.parent) as scratch:
        figures = _draw(compared, scratch)
        verdicts = [(run.name, _link(run, target), run.verdict) for run in compared]
        versions = {run.name: dict(run.results.versions) for run in compared}
        page = small_page(
            "compare.html.j2",
            {name: figure for some in figures.values() for name, (_, figure) in some.items()},
            drawn={kind: [(name, title) for name, (title, _) in some.items()] for kind, some in figures.items()},
            names=[run.name for run in compared],
            columns=COLUMNS,
            rows=[_row(run) for run in compared],
            verdicts=verdicts,
            warnings=[(run.name, run.results.warnings) for run in compared if run.results.warnings],
            elastic=_elastic_rows(compared),
            settings=differences({run.name: _settings(run) for run in compared}),
            versions=differences(versions),
        )
    write_text(target, page)
    return target


def read_runs(runs: Sequence[str | Path]) -> list[ComparedRun]:
    """The runs of some folders, each with a name of its own.

    Raises
    ------
    InputError
        As :func:`write_comparison`.
    """
    folders = [Path(run) for run in runs]
    seen: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}. Give folders of runs, which ndsc run CONFIG.toml writes.")
        real = folder.resolve()
        if real in seen:
            again = f"{folder}" if folder == seen[real] else f"{seen[real]} and {folder}"
            raise InputError(f"The run {again} is given twice. Give each run once.")
        seen[real] = folder
    last = [folder.resolve().name for folder in folders]
    found = []
    for folder, name in zip(folders, last, strict=True):
        label = name if last.count(name) == 1 else str(folder)
        if is_of_several(folder):
            for crystal, results in read_several_results(folder).crystals.items():
                part = folder / crystal
                found.append(ComparedRun(f"{label}/{crystal}", part, results, RunFiles(part, results)))
        else:
            results = read_results(folder)
            found.append(ComparedRun(label, folder, results, RunFiles(folder, results)))
    if len(found) < 2:
        raise InputError(
            f"There is nothing to compare with {folders[0] if folders else 'no run'}. Give the folders of at least two "
            "runs: ndsc report --compare RUN RUN."
        )
    return found


def differences(values: Mapping[str, Mapping[str, Any]]) -> Rows:
    """Rows (key, value in each run) of the keys whose values are not the same in all runs."""
    keys = dict.fromkeys(key for one in values.values() for key in one)
    rows = []
    for key in keys:
        shown = tuple(text.setting(one[key]) if key in one else NOTHING for one in values.values())
        if len(set(shown)) > 1:
            rows.append((key, *shown))
    return rows


def flattened(document: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of an input file as they are written: ``[fit] cutoff``, ``[[configurations]] 2 seed``."""

    def walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            plain = {key: one for key, one in value.items() if not _is_table(one)}
            yield from ((f"[{name}] {key}", one) for key, one in plain.items() if key not in _LEFT_OUT_KEYS)
            for key in value.keys() - plain.keys():
                yield from walk(f"{name}.{key}", value[key])
        elif _is_table(value):
            for number, one in enumerate(value, 1):
                yield from ((f"[[{name}]] {number}{key.partition(']')[2]}", part) for key, part in walk(name, one))
        else:
            yield name, value

    return {key: one for name, value in document.items() if name not in _LEFT_OUT for key, one in walk(name, value)}


def _is_table(value: Any) -> bool:
    tables = isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)
    return isinstance(value, Mapping) or tables


def _settings(run: ComparedRun) -> dict[str, Any]:
    try:
        return flattened(tomllib.loads(run.files.input_file))
    except ValueError:
        return {}


def _link(run: ComparedRun, target: Path) -> str:
    """The address of a run's own report as seen from the page; empty where there is none."""
    report = run.directory / "report.html"
    return Path(os.path.relpath(report, target.parent)).as_posix() if report.is_file() else ""


def _row(run: ComparedRun) -> tuple[str, ...]:
    results, verdict = run.results, run.verdict
    phonons, cost, worst, chosen = results.phonons, results.cost, results.worst_elastic, results.selection
    rmse = None if phonons is None else phonons.rmse_mesh_thz
    highest = None if phonons is None else phonons.reference_max_frequency_thz
    return (
        run.name,
        run.crystal,
        NOTHING if results.labels is None else code_name(results.labels.calculator),
        NOTHING if cost is None else str(cost.labels),
        text.seconds(None if cost is None else cost.seconds),
        text.significant(rmse),
        text.significant(100 * rmse / highest if rmse is not None and highest else None, 2),
        text.significant(None if chosen is None else chosen.predicted_rmse_thz, 2),
        NOTHING if worst is None else f"{text.percent(worst[1])} ({worst[0]})",
        str(len(results.warnings)),
        NOTHING if verdict is None else verdict.word.partition(f" {RMSE_PERCENT:g} %")[0].lower(),
    )


def _elastic_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str], Rows]]:
    """For each crystal with elastic constants: its name, its runs, and (constant, error in per cent of each run)."""
    tables = []
    for crystal, some in _by_crystal(runs).items():
        known = [run for run in some if any(one.reference for one in (run.results.elastic or {}).values())]
        names = dict.fromkeys(name for run in known for name in run.results.elastic or {})
        rows = [
            (
                name,
                *(
                    text.percent(found[name]) if name in (found := run.results.elastic or {}) else NOTHING
                    for run in known
                ),
            )
            for name in names
        ]
        if rows:
            tables.append((crystal, [run.name for run in known], rows))
    return tables


def _by_crystal(runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    found: dict[str, list[ComparedRun]] = {}
    for run in runs:
        found.setdefault(run.crystal, []).append(run)
    return found


def _draw(runs: Sequence[ComparedRun], scratch: ScratchFolder) -> dict[str, dict[str, tuple[str, PageFigure]]]:
    """The figures by kind (``dispersions``, ``elastic``, ``learning``) and name, each with what it shows."""

    def made(name: str, figure: Figure, data: DataFrame, layers: Sequence[interactive.Layer]) -> PageFigure:
        return PageFigure(save_figure(figure, None, scratch.path / name), layers, {f"{name}.csv": data})

    figures: dict[str, dict[str, tuple[str, PageFigure]]] = {"dispersions": {}, "elastic": {}, "learning": {}}
    for number, panel in enumerate(panels_of(runs), 1):
        figure, name = dispersion_comparison_figure([panel]), f"dispersion-{number}"
        layers = interactive.dispersion_layers(panel, errors=None, density=1)
        figures["dispersions"][name] = (panel.title, made(name, figure, dispersion_data(panel), layers))
    for number, (crystal, some) in enumerate(_by_crystal(runs).items(), 1):
        constants = {run.name: run.results.elastic or {} for run in some}
        if any(value.reference for one in constants.values() for value in one.values()):
            data = elastic_errors_data(constants)
            name = f"elastic-{number}"
            figures["elastic"][name] = (crystal, made(name, elastic_errors_figure(data), data, []))
    data = learning_data(runs)
    if len(data):
        shown = [name for name in ("labels", "seconds") if (data[name] > 0).any()]
        layers = interactive.learning_layers(data, shown)
        figures["learning"]["learning"] = ("", made("learning", learning_curve_figure(data, over=shown), data, layers))
    return figures


def panels_of(runs: Sequence[ComparedRun]) -> list[DispersionPanel]:
    """A panel for each crystal, path and reference, with the potentials of all runs that have these."""
    groups: list[tuple[ComparedRun, dict[str, PhononComparison]]] = []
    for run in runs:
        found = run.files.phonons
        if found is None:
            continue
        for first, group in groups:
            other = next(iter(group.values()))
            if first.crystal == run.crystal and _same(found, other):
                group[run.name] = found
                break
        else:
            groups.append((run, {run.name: found}))
    return [
        DispersionPanel(
            group,
            title=f"{first.crystal}, reference {_reference(first)}",
            reference_label=_reference(first),
        )
        for first, group in groups
    ]


def _same(one: PhononComparison, other: PhononComparison) -> bool:
    """Whether two comparisons have the same path, and the same reference on it."""
    return (
        one.path.qpoints.shape == other.path.qpoints.shape
        and one.reference_path.shape == other.reference_path.shape
        and np.allclose(one.path.qpoints, other.path.qpoints, atol=1e-8)
        and np.allclose(one.reference_path, other.reference_path, rtol=0.0, atol=SAME_REFERENCE_THZ)
    )


def _reference(run: ComparedRun) -> str:
    return "reference" if run.results.labels is None else code_name(run.results.labels.calculator)


def learning_data(runs: Sequence[ComparedRun]) -> DataFrame:
    """Phonon errors over labels and seconds: those at the end of the runs, and those that choices of labels predicted.

    Returns
    -------
    DataFrame
        As :func:`ndsc.report.learning_curve.learning_curve_figure` takes it, with the ``run`` of each row. Runs of one
        crystal with different numbers of labels are one series; others, and the predictions, have one each.
    """
    from pandas import DataFrame

    rows: list[tuple[Any, ...]] = []
    for crystal, some in _by_crystal(runs).items():
        ends = [run for run in some if run.results.cost is not None and run.results.phonons is not None]
        labels = [run.results.cost.labels for run in ends if run.results.cost is not None]
        for run in ends:
            cost, phonons = run.results.cost, run.results.phonons
            if cost is None or phonons is None or not cost.labels:
                continue
            series = crystal if len(set(labels)) == len(labels) else run.name
            rows.append(
                (run.name, series, cost.labels, cost.atoms, cost.seconds, run.results.seed, phonons.rmse_mesh_thz)
            )
        for run in some:
            for step in [] if run.results.selection is None else run.results.selection.steps:
                if step.predicted_rmse_thz is not None:
                    name = f"{run.name}, predicted"
                    rows.append((run.name, name, step.labels, None, step.seconds, 0, step.predicted_rmse_thz))
    columns = ["run", "series", "labels", "atoms", "seconds", "seed", "rmse_mesh_thz"]
    frame = DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(("labels", "atoms", "seconds", "rmse_mesh_thz"), float))
