"""The figures of a study, from its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from ndsc.config.study import FigureConfig, TableConfig
from ndsc.errors import InputError
from ndsc.phonons import PhononComparison
from ndsc.report import (
    DispersionPanel,
    LearningStep,
    density_data,
    dispersion_comparison_figure,
    dispersion_data,
    dispersion_stack_figure,
    elastic_errors_data,
    elastic_errors_figure,
    error_distribution_figure,
    learning_curve_figure,
    learning_curve_summary,
    learning_dispersion_figure,
    mesh_data,
    phonon_error_figure,
    save_figure,
)
from ndsc.report.learning_curve import COLUMNS
from ndsc.results import Comparison
from ndsc.study.results import PotentialResult, StudyResults, matches, typical

if TYPE_CHECKING:
    from ndsc.report.tables import FigureData


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


def shown(section: FigureConfig | TableConfig, results: StudyResults) -> dict[str, list[PotentialResult]]:
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


def runs_of(section: FigureConfig | TableConfig, groups: Mapping[str, Sequence[PotentialResult]]) -> list[str]:
    """The runs that a figure is about."""
    judged = list(dict.fromkeys(run for group in groups.values() for outcome in group for run in outcome.evaluations))
    return [run for run in section.on if run in judged] if section.on else judged


def names_of(groups: Mapping[str, Sequence[PotentialResult]], runs: Sequence[str]) -> dict[tuple[str, str], str]:
    """What a point judged on a run is called: by the point or by the run alone, where that is enough."""
    judged = [(point, run) for point, group in groups.items() for run in runs if _has(group, run)]
    once = len({point for point, _ in judged}) == len(judged)
    return {(point, run): point if once else run if len(groups) == 1 else f"{point}, {run}" for point, run in judged}


def _has(group: Sequence[PotentialResult], run: str) -> bool:
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


def _comparisons(groups: Mapping[str, Sequence[PotentialResult]], run: str) -> dict[str, PhononComparison]:
    found = {}
    for name, group in groups.items():
        outcome = typical(group, run)
        phonons = None if outcome is None else outcome.evaluations[run].phonons
        if phonons is not None:
            found[name] = phonons
    return found


def _harmonic(group: Sequence[PotentialResult], run: str) -> PhononComparison | None:
    outcome = typical(group, run)
    return None if outcome is None else outcome.evaluations[run].harmonic


def _dispersion(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
    panels = _panels(section, results)
    figure = dispersion_comparison_figure(panels, density=section.density)
    return figure, {"": dispersion_data(panels), "dos": density_data(panels)} if section.density else dispersion_data(
        panels
    )


def _stack(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
    panels = _panels(section, results)
    return dispersion_stack_figure(panels), dispersion_data(panels)


def _learning(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
    from pandas import DataFrame

    groups = shown(section, results)
    runs = runs_of(section, groups)
    outcomes = [outcome for group in groups.values() for outcome in group]
    rows = [
        _learned(
            outcome,
            run,
            "rmse_mesh_thz",
            outcome.variant.potential if len(runs) == 1 else f"{outcome.variant.potential}, {run}",
        )
        for outcome in outcomes
        for run in runs
    ]
    if section.harmonic and len(runs) == 1:
        # The harmonic models of all ways to choose sparse points are the same.
        first = [outcome for outcome in outcomes if outcome.variant.potential == outcomes[0].variant.potential]
        harmonic = [_learned(outcome, runs[0], "harmonic_rmse_mesh_thz", "harmonic model") for outcome in first]
        rows += harmonic if any(row[-1] is not None for row in harmonic) else []
    fits = DataFrame(rows, columns=list(COLUMNS)).astype({"atoms": float, "seconds": float, "rmse_mesh_thz": float})
    return learning_curve_figure(fits, over=section.over), {"": fits, "median": learning_curve_summary(fits)}


def _learned(outcome: PotentialResult, run: str, metric: str, series: str) -> tuple[Any, ...]:
    """One fit, or the harmonic model of its labels, as a row of a learning curve."""
    cost = (outcome.metrics["n_labels"], outcome.metrics["n_atoms"], outcome.metrics["label_seconds"])
    return (series, *cost, outcome.variant.seed or 0, outcome.value(metric, run))


def _learning_dispersions(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
    from pandas import DataFrame

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
                panel=DispersionPanel.from_comparisons({"potential": phonons}),
            )
        )
    columns = dict(list(columns.items())[:2])
    rows = [(title, *step.numbers) for title, steps in columns.items() for step in steps]
    return learning_dispersion_figure(columns), DataFrame(
        rows, columns=["column", "labels", "sparse_points", "rmse_mesh_thz"]
    )


def _elastic(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
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
    data = elastic_errors_data(series)
    return elastic_errors_figure(data), data


def _errors(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
    groups = shown(section, results)
    run = runs_of(section, groups)[0]
    found = _comparisons(groups, run)
    if not found:
        raise InputError(f"{section.name}: no potential has phonons on {run}.")
    name, comparison = next(iter(found.items()))
    cell = results.runs[run].cell
    return phonon_error_figure(comparison, title=f"{name}, {run}", cell=cell), mesh_data(comparison, cell=cell)


def _distribution(section: FigureConfig, results: StudyResults) -> tuple[Figure, FigureData]:
    groups = shown(section, results)
    runs = runs_of(section, groups)
    names = names_of(groups, runs)
    found: dict[str, PhononComparison] = {}
    for run in runs:
        found |= {names[point, run]: comparison for point, comparison in _comparisons(groups, run).items()}
    return error_distribution_figure(found), {str(n): mesh_data(c) for n, c in enumerate(found.values(), start=1)}


_DRAWERS: dict[str, Callable[[FigureConfig, StudyResults], tuple[Figure, FigureData]]] = {
    "dispersion": _dispersion,
    "stack": _stack,
    "learning": _learning,
    "learning_dispersions": _learning_dispersions,
    "elastic": _elastic,
    "errors": _errors,
    "distribution": _distribution,
}
