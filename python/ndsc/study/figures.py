"""The figures of a study, from its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ndsc.config.study import FigureConfig, TableConfig
from ndsc.errors import InputError
from ndsc.phonons import PhononComparison
from ndsc.report.comparison import (
    DataTable,
    DispersionPanel,
    LearningPoint,
    LearningStep,
    density_data,
    dispersion_comparison_figure,
    dispersion_data,
    dispersion_stack_figure,
    elastic_errors_data,
    elastic_errors_figure,
    error_distribution_figure,
    learning_curve_data,
    learning_curve_figure,
    learning_dispersion_data,
    learning_dispersion_figure,
    mesh_data,
    phonon_error_figure,
    save_figure,
)
from ndsc.results import Comparison
from ndsc.study.results import Outcome, StudyResults, matches, typical

Drawn = tuple[Figure, DataTable | Mapping[str, DataTable]]


def draw_figure(section: FigureConfig, results: StudyResults, folder: Path) -> Path:
    """Draw a figure into ``folder`` as PNG and PDF with its data as CSV.

    Of several seeds, dispersions show the one with the median error.

    Returns
    -------
    path
        The PNG.

    Raises
    ------
    InputError
        When the results have nothing of what it is to show.
    """
    figure, data = _DRAWERS[section.kind](section, results)
    return save_figure(figure, data, folder / section.name).png


def shown(section: FigureConfig | TableConfig, results: StudyResults) -> dict[str, list[Outcome]]:
    """The outcomes that a figure or table is about, by point; a potential with one point goes by its name alone."""
    groups = {
        point: group
        for point, group in results.points(section.potentials or None)
        if matches(group[0].variant, section.at)
    }
    if section.potentials:
        order = {name: number for number, name in enumerate(section.potentials)}
        groups = dict(sorted(groups.items(), key=lambda item: order[item[1][0].variant.potential]))
    if not groups:
        raise InputError(
            f"{section.name}: no potential of the study is swept over at = {section.at}. Correct the values."
        )
    potentials = [group[0].variant.potential for group in groups.values()]
    return {
        group[0].variant.potential if potentials.count(group[0].variant.potential) == 1 else point: group
        for point, group in groups.items()
    }


def runs_of(section: FigureConfig | TableConfig, groups: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """The runs that a figure is about."""
    judged = list(dict.fromkeys(run for group in groups.values() for outcome in group for run in outcome.evaluations))
    return [run for run in section.on if run in judged] if section.on else judged


def names_of(groups: Mapping[str, Sequence[Outcome]], runs: Sequence[str]) -> dict[tuple[str, str], str]:
    """What a point judged on a run is called: by the point or by the run alone, where that is enough."""
    judged = [(point, run) for point, group in groups.items() for run in runs if _has(group, run)]
    once = len({point for point, _ in judged}) == len(judged)
    return {(point, run): point if once else run if len(groups) == 1 else f"{point}, {run}" for point, run in judged}


def _has(group: Sequence[Outcome], run: str) -> bool:
    return any(run in outcome.evaluations for outcome in group)


def _panels(section: FigureConfig, results: StudyResults) -> list[DispersionPanel]:
    groups = shown(section, results)
    panels = []
    for run in runs_of(section, groups):
        found = _comparisons(groups, run)
        if found:
            baselines = (_harmonic(group, run) for group in groups.values()) if section.harmonic else ()
            baseline = next((harmonic for harmonic in baselines if harmonic is not None), None)
            panels.append(DispersionPanel.from_comparisons(found, title=run, baseline=baseline))
    if not panels:
        raise InputError(f"{section.name}: no potential has phonons to draw.")
    return panels


def _comparisons(groups: Mapping[str, Sequence[Outcome]], run: str) -> dict[str, PhononComparison]:
    found = {}
    for name, group in groups.items():
        outcome = typical(group, run)
        phonons = None if outcome is None else outcome.evaluations[run].phonons
        if phonons is not None:
            found[name] = phonons
    return found


def _harmonic(group: Sequence[Outcome], run: str) -> PhononComparison | None:
    outcome = typical(group, run)
    return None if outcome is None else outcome.evaluations[run].harmonic


def _dispersion(section: FigureConfig, results: StudyResults) -> Drawn:
    panels = _panels(section, results)
    figure = dispersion_comparison_figure(panels, density=section.density)
    return figure, {"": dispersion_data(panels), "dos": density_data(panels)} if section.density else dispersion_data(
        panels
    )


def _stack(section: FigureConfig, results: StudyResults) -> Drawn:
    panels = _panels(section, results)
    return dispersion_stack_figure(panels), dispersion_data(panels)


def _learning(section: FigureConfig, results: StudyResults) -> Drawn:
    groups = shown(section, results)
    runs = runs_of(section, groups)
    series: dict[str, list[LearningPoint]] = {}
    for group in groups.values():
        for outcome in group:
            for run in runs:
                name = outcome.variant.potential if len(runs) == 1 else f"{outcome.variant.potential}, {run}"
                series.setdefault(name, []).append(_learned(outcome, run, "rmse_mesh_thz"))
    first = next(iter(groups.values()))[0].variant.potential
    harmonic = [
        _learned(outcome, runs[0], "harmonic_rmse_mesh_thz")
        for group in groups.values()
        for outcome in group
        if outcome.variant.potential == first
    ]
    if section.harmonic and len(runs) == 1 and any(math.isfinite(point.rmse_thz) for point in harmonic):
        series["harmonic model"] = harmonic
    return learning_curve_figure(series, over=section.over), learning_curve_data(series)


def _learned(outcome: Outcome, run: str, metric: str) -> LearningPoint:
    """One fit, or the harmonic model of its labels; the models of both ways to choose sparse points are the same."""
    rmse = outcome.value(metric, run)
    return LearningPoint(
        labels=round(outcome.metrics["n_labels"] or 0),
        rmse_thz=math.nan if rmse is None else rmse,
        seed=outcome.variant.seed or 0,
        atoms=round(outcome.metrics["n_atoms"] or 0),
        seconds=outcome.metrics["label_seconds"],
    )


def _learning_dispersions(section: FigureConfig, results: StudyResults) -> Drawn:
    groups = shown(section, results)
    run = runs_of(section, groups)[0]
    columns: dict[str, list[LearningStep]] = {}
    for group in groups.values():
        outcome = typical(group, run)
        phonons = None if outcome is None else outcome.evaluations[run].phonons
        if outcome is None or phonons is None:
            continue
        columns.setdefault(outcome.variant.potential, []).append(
            LearningStep(
                labels=round(outcome.metrics["n_labels"] or 0),
                sparse_points=round(outcome.metrics["n_sparse"] or 0),
                panel=DispersionPanel.from_comparisons({"potential": phonons}, title=""),
            )
        )
    (left_title, left), (right_title, right) = [*columns.items(), ("", [])][:2]
    titles = {"left_title": left_title, "right_title": right_title}
    return learning_dispersion_figure(left, right, **titles), learning_dispersion_data(left, right, **titles)


def _elastic(section: FigureConfig, results: StudyResults) -> Drawn:
    groups = shown(section, results)
    runs = runs_of(section, groups)
    names = names_of(groups, runs)
    series: dict[str, list[dict[str, Comparison]]] = {}
    for point, group in groups.items():
        for run in runs:
            constants = [
                {name: value for name, value in outcome.evaluations[run].elastic.items() if name != "B"}
                for outcome in group
                if run in outcome.evaluations and outcome.evaluations[run].elastic
            ]
            if constants:
                series.setdefault(names[point, run], []).extend(constants)
    return elastic_errors_figure(series), elastic_errors_data(series)


def _errors(section: FigureConfig, results: StudyResults) -> Drawn:
    groups = shown(section, results)
    run = runs_of(section, groups)[0]
    found = _comparisons(groups, run)
    if not found:
        raise InputError(f"{section.name}: no potential has phonons on {run}.")
    name, comparison = next(iter(found.items()))
    cell = results.runs[run].cell
    return phonon_error_figure(comparison, title=f"{name}, {run}", cell=cell), mesh_data(comparison, cell=cell)


def _distribution(section: FigureConfig, results: StudyResults) -> Drawn:
    groups = shown(section, results)
    runs = runs_of(section, groups)
    names = names_of(groups, runs)
    found: dict[str, PhononComparison] = {}
    for run in runs:
        found |= {names[point, run]: comparison for point, comparison in _comparisons(groups, run).items()}
    return error_distribution_figure(found), {str(n): mesh_data(c) for n, c in enumerate(found.values(), start=1)}


_DRAWERS: dict[str, Callable[[FigureConfig, StudyResults], Drawn]] = {
    "dispersion": _dispersion,
    "stack": _stack,
    "learning": _learning,
    "learning_dispersions": _learning_dispersions,
    "elastic": _elastic,
    "errors": _errors,
    "distribution": _distribution,
}
