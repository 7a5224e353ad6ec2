"""The tables of a study, from its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ndsc.config.published import PublishedConfig
from ndsc.config.study import TableConfig
from ndsc.study.cells import Cell, StudyTable, columns_for, over_seeds
from ndsc.study.figures import runs_of, shown
from ndsc.study.results import StudyResults
from ndsc.study.settings_tables import fits_table, settings_table

#: Decimals of a metric by the end of its name.
DECIMALS = {"_thz": 4, "_percent": 2, "_seconds": 0, "_angstrom": 4}
#: What metrics are called at the head of a column.
HEADS = {
    "n_labels": "labels", "n_atoms": "atoms", "label_seconds": "seconds of labels", "n_sparse": "sparse points",
    "rmse_mesh_thz": "RMSE, THz", "rmse_path_thz": "RMSE on the path, THz", "max_error_thz": "largest error, THz",
    "min_frequency_thz": "lowest frequency, THz", "reference_min_frequency_thz": "that of the reference, THz",
    "harmonic_rmse_mesh_thz": "harmonic model, RMSE, THz",
    "largest_elastic_error_percent": "largest elastic error, %", "rms_elastic_error_percent": "RMS elastic error, %",
    "held_out_force_rmse_ev_per_angstrom": "force RMSE on the labels left out, eV/Å",
    "train_force_rmse_ev_per_angstrom": "force RMSE on the training labels, eV/Å",
}  # fmt: skip


def make_table(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """A table as the study's file asks for it.

    Raises
    ------
    InputError
        When the results have nothing of what it is to show.
    """
    return _MAKERS[section.kind](section, results, published)


def _elastic(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Elastic constants: potentials, the reference, and columns from elsewhere, run by run."""
    groups = shown(section, results)
    runs = runs_of(section, groups)
    constants = list(dict.fromkeys(name for run in runs for name in results.runs[run].elastic))
    rows: list[tuple[Cell, ...]] = []
    used: list[PublishedConfig] = []
    for run in runs:
        for point, group in groups.items():
            if any(run in outcome.evaluations for outcome in group):
                rows.append((run, point, *(over_seeds(group, name, run) for name in constants)))
                errors = [over_seeds(group, f"{name}_error_percent", run) for name in constants]
                rows.append((run, f"{point}, error in %", *errors))
        rows.append((run, "reference", *(results.runs[run].elastic.get(name) for name in constants)))
        columns = columns_for(section.name, published, run, constants)
        rows += [(run, column.name, *(column.values.get(name) for name in constants)) for column in columns]
        used += columns
    return StudyTable(
        ("crystal", "", *(f"{name} (GPa)" for name in constants)),
        tuple(rows),
        (None, None, *(1 for _ in constants)),
        heads=2,
        published=tuple(used),
    )


def _metrics(section: TableConfig, results: StudyResults, _: Sequence[PublishedConfig]) -> StudyTable:
    """Metrics: a row a point and run."""
    groups = shown(section, results)
    runs = runs_of(section, groups)
    rows: list[tuple[Cell, ...]] = []
    for point, group in groups.items():
        judged = [run for run in runs if any(run in outcome.evaluations for outcome in group)] or [""]
        for run in judged:
            head: tuple[Cell, ...] = (point, run) if len(runs) > 1 else (point,)
            rows.append((*head, *(over_seeds(group, metric, run) for metric in section.metrics)))
    heads = ("potential", "judged on") if len(runs) > 1 else ("potential",)
    decimals = tuple(
        next((n for end, n in DECIMALS.items() if metric.endswith(end)), None) for metric in section.metrics
    )
    return StudyTable(
        (*heads, *(HEADS.get(metric, metric.replace("_", " ")) for metric in section.metrics)),
        tuple(rows),
        (*(None for _ in heads), *decimals),
        heads=len(heads),
    )


_MAKERS: dict[str, Callable[[TableConfig, StudyResults, Sequence[PublishedConfig]], StudyTable]] = {
    "settings": settings_table,
    "fits": fits_table,
    "elastic": _elastic,
    "metrics": _metrics,
}
