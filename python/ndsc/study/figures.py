"""The figures of a study, from its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    predicted_errors_figure,
    predicted_errors_summary,
    save_figure,
)
from ndsc.report.learning_curve import COLUMNS
from ndsc.report.predicted_errors import COLUMNS as COLUMNS_OF_PREDICTED
from ndsc.results import Comparison
from ndsc.study.results import Evaluation, PotentialResult, StudyResults

if TYPE_CHECKING:
    from ndsc.report.tables import FigureData


@dataclass(frozen=True)
class Shown:
    """What a figure or table is about.

    Attributes
    ----------
    points : dict of str to list of PotentialResult
        The seeds of each point; a potential with one point goes by its name alone.
    runs : list of str
        The runs whose references they are compared with.
    """

    points: dict[str, list[PotentialResult]]
    runs: list[str]

    @classmethod
    def of(cls, section: FigureConfig | TableConfig, results: StudyResults) -> Shown:
        """The points and runs that a section of the study's file names.

        Raises
        ------
        InputError
            When the study has none of them.
        """
        wanted = section.potentials or tuple(dict.fromkeys(one.variant.potential for one in results.outcomes))
        groups: dict[str, list[PotentialResult]] = {}
        for name in wanted:
            for outcome in results.outcomes:
                if outcome.variant.potential == name and section.at.items() <= outcome.variant.values.items():
                    groups.setdefault(outcome.variant.point, []).append(outcome)
        if not groups:
            raise InputError(
                f"{section.name}: no potential of the study has a sweep with the values at = {section.at}. Correct "
                "the values."
            )
        names = [group[0].variant.potential for group in groups.values()]
        points = {
            name if names.count(name) == 1 else point: group
            for name, (point, group) in zip(names, groups.items(), strict=True)
        }
        judged = list(dict.fromkeys(run for group in groups.values() for one in group for run in one.evaluations))
        return cls(points, [run for run in section.on if run in judged] if section.on else judged)

    def runs_of(self, point: str) -> list[str]:
        """The runs that a point is compared with."""
        return [run for run in self.runs if any(run in outcome.evaluations for outcome in self.points[point])]

    def name(self, point: str, run: str) -> str:
        """What a point on a run is called: by the point or by the run alone, where that is enough."""
        if all(len(self.runs_of(one)) <= 1 for one in self.points):
            return point
        return run if len(self.points) == 1 else f"{point}, {run}"

    def typical(self, point: str, run: str) -> tuple[PotentialResult, Evaluation] | None:
        """The seed with the median error of the phonons (the lower of two); None where none has phonons."""
        known = [
            (outcome.value("rmse_mesh_thz", run) or 0.0, outcome, outcome.evaluations[run])
            for outcome in self.points[point]
            if outcome.value("rmse_mesh_thz", run) is not None
        ]
        known.sort(key=lambda found: found[0])
        return known[(len(known) - 1) // 2][1:] if known else None

    def comparisons(self, run: str) -> dict[str, PhononComparison]:
        """The phonons of the typical seed of each point."""
        found = {point: self.typical(point, run) for point in self.points}
        return {point: one[1].phonons for point, one in found.items() if one is not None and one[1].phonons is not None}


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
    figure, data = _DRAWERS[section.kind](section, Shown.of(section, results), results)
    return save_figure(figure, data, folder / section.name).png


def _panels(section: FigureConfig, shown: Shown) -> list[DispersionPanel]:
    panels = []
    for run in shown.runs:
        found = shown.comparisons(run)
        if found:
            typical = [shown.typical(point, run) for point in shown.points if section.harmonic]
            baselines = [one[1].harmonic for one in typical if one is not None and one[1].harmonic is not None]
            baseline = baselines[0] if baselines else None
            panels.append(DispersionPanel(found, title=run, baseline=baseline))
    if not panels:
        raise InputError(f"{section.name}: no potential has phonons to draw.")
    return panels


def _dispersion(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    panels = _panels(section, shown)
    data = {"": dispersion_data(panels)} | ({"dos": density_data(panels)} if section.density else {})
    return dispersion_comparison_figure(panels, density=section.density), data


def _stack(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    panels = _panels(section, shown)
    return dispersion_stack_figure(panels), dispersion_data(panels)


def _learning(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    from pandas import DataFrame

    outcomes = [outcome for group in shown.points.values() for outcome in group]
    names = {run: "" if len(shown.runs) == 1 else f", {run}" for run in shown.runs}
    curves = [(f"{one.variant.potential}{names[run]}", one, "rmse_mesh_thz", run) for one in outcomes for run in names]
    if section.harmonic and len(names) == 1:
        # The harmonic models of all ways to choose sparse points are the same.
        first = [one for one in outcomes if one.variant.potential == outcomes[0].variant.potential]
        harmonic = [("harmonic model", one, "harmonic_rmse_mesh_thz", shown.runs[0]) for one in first]
        curves += harmonic if any(one.value(metric, run) is not None for _, one, metric, run in harmonic) else []
    rows = [
        (name, *(one.metrics[cost] for cost in ("n_labels", "n_atoms", "label_seconds")), one.variant.seed or 0,
         one.value(metric, run))
        for name, one, metric, run in curves
    ]  # fmt: skip
    fits = DataFrame(rows, columns=list(COLUMNS)).astype({"atoms": float, "seconds": float, "rmse_mesh_thz": float})
    return learning_curve_figure(fits, over=section.over), {"": fits, "median": learning_curve_summary(fits)}


def _learning_dispersions(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    from pandas import DataFrame

    run = shown.runs[0]
    columns: dict[str, list[LearningStep]] = {}
    for point in shown.points:
        found = shown.typical(point, run)
        if found is None or found[1].phonons is None:
            continue
        outcome, panel = found[0], DispersionPanel({"potential": found[1].phonons})
        labels, sparse = (round(outcome.metrics[name] or 0) for name in ("n_labels", "n_sparse"))
        columns.setdefault(outcome.variant.potential, []).append(LearningStep(labels, sparse, panel))
    columns = dict(list(columns.items())[:2])
    rows = [(title, *step.numbers) for title, steps in columns.items() for step in steps]
    data = DataFrame(rows, columns=["column", "labels", "sparse_points", "rmse_mesh_thz"])
    return learning_dispersion_figure(columns), data


def _elastic(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    series: dict[str, list[dict[str, Comparison]]] = {}
    for point, group in shown.points.items():
        for run in shown.runs_of(point):
            constants = [outcome.evaluations[run].elastic for outcome in group if run in outcome.evaluations]
            found = [{name: value for name, value in one.items() if name != "B"} for one in constants if one]
            if found:
                series[shown.name(point, run)] = found
    data = elastic_errors_data(series)
    return elastic_errors_figure(data), data


def _errors(section: FigureConfig, shown: Shown, results: StudyResults) -> tuple[Figure, FigureData]:
    run = shown.runs[0]
    found = shown.comparisons(run)
    if not found:
        raise InputError(f"{section.name}: no potential has phonons on {run}.")
    name, comparison = next(iter(found.items()))
    cell = results.runs[run].cell
    return phonon_error_figure(comparison, title=f"{name}, {run}", cell=cell), mesh_data(comparison, cell=cell)


def _distribution(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    found = {
        shown.name(point, run): comparison for run in shown.runs for point, comparison in shown.comparisons(run).items()
    }
    return error_distribution_figure(found), {str(n): mesh_data(c) for n, c in enumerate(found.values(), start=1)}


def _predicted(section: FigureConfig, shown: Shown, _: StudyResults) -> tuple[Figure, FigureData]:
    from pandas import DataFrame

    metrics = (
        "rmse_mesh_thz", "predicted_rmse_thz", "largest_elastic_error_percent", "predicted_elastic_percent",
    )  # fmt: skip
    rows = [
        (run, one.variant.potential, one.metrics["n_labels"], one.variant.seed or 0,
         *(one.value(metric, run) for metric in metrics))
        for group in shown.points.values() for one in group for run in shown.runs if run in one.evaluations
    ]  # fmt: skip
    fits = DataFrame(rows, columns=list(COLUMNS_OF_PREDICTED)).astype(dict.fromkeys(COLUMNS_OF_PREDICTED[4:], float))
    return predicted_errors_figure(fits), {"": fits, "median": predicted_errors_summary(fits)}


_DRAWERS: dict[str, Callable[[FigureConfig, Shown, StudyResults], tuple[Figure, FigureData]]] = {
    "dispersion": _dispersion,
    "stack": _stack,
    "learning": _learning,
    "learning_dispersions": _learning_dispersions,
    "elastic": _elastic,
    "errors": _errors,
    "distribution": _distribution,
    "predicted": _predicted,
}
