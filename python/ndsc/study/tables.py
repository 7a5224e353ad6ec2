"""The tables of a study, from its results: cells are numbers, or a number over seeds, or text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ndsc.config.study import PublishedConfig, TableConfig
from ndsc.report.tidy import DataTable
from ndsc.study.figures import runs_of, shown
from ndsc.study.results import Numbers, Outcome, RunFacts, StudyResults

Cell = float | str | Numbers | None
#: Decimals of a metric by the end of its name.
DECIMALS = {"_thz": 4, "_percent": 2, "_seconds": 0, "_angstrom": 4}
#: What metrics are called at the head of a column.
HEADS = {
    "n_labels": "labels", "n_atoms": "atoms", "label_seconds": "seconds of labels", "n_sparse": "sparse points",
    "rmse_mesh_thz": "RMSE, THz", "rmse_path_thz": "RMSE on the path, THz", "max_error_thz": "largest error, THz",
    "min_frequency_thz": "lowest frequency, THz", "harmonic_rmse_mesh_thz": "harmonic model, RMSE, THz",
    "largest_elastic_error_percent": "largest elastic error, %", "rms_elastic_error_percent": "RMS elastic error, %",
    "held_out_force_rmse_ev_per_angstrom": "force RMSE on the labels left out, eV/Å",
    "train_force_rmse_ev_per_angstrom": "force RMSE on the training labels, eV/Å",
}  # fmt: skip


@dataclass(frozen=True)
class StudyTable:
    """A table of cells.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuple of cells
    decimals : tuple of int or None
        Of each column's numbers; None for as many as they need.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: tuple[int | None, ...]

    def markdown(self) -> str:
        """The table in Markdown; seeds as ``median (smallest – largest)``."""
        head = "| " + " | ".join(self.columns) + " |\n|" + "---|" * len(self.columns) + "\n"
        body = [
            "| " + " | ".join(shown_cell(cell, d) for cell, d in zip(row, self.decimals, strict=True)) + " |\n"
            for row in self.rows
        ]
        return head + "".join(body)

    def data(self) -> DataTable:
        """The table as CSV; of several seeds the median."""
        plain = [[cell.median if isinstance(cell, Numbers) else cell for cell in row] for row in self.rows]
        return DataTable.from_rows(self.columns, plain)


def make_table(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """A table as the study's file asks for it.

    Raises
    ------
    InputError
        When the results have nothing of what it is to show.
    """
    return _MAKERS[section.kind](section, results, published)


def shown_cell(cell: Cell, decimals: int | None) -> str:
    """A cell as text."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell.replace("|", "\\|")
    if isinstance(cell, Numbers):
        middle = shown_cell(cell.median, decimals)
        if len(cell.values) == 1 or cell.smallest == cell.largest:
            return middle
        return f"{middle} ({shown_cell(cell.smallest, decimals)} to {shown_cell(cell.largest, decimals)})"
    if not math.isfinite(cell):
        return "not available"
    text = f"{cell:.6g}" if decimals is None else f"{round(cell, decimals) + 0.0:.{decimals}f}"
    return text.replace("-", "−")


def over_seeds(outcomes: Sequence[Outcome], metric: str, run: str | None) -> Cell:
    """A metric over the seeds of a point; None where no seed has it."""
    values = [outcome.value(metric, run) for outcome in outcomes]
    if all(value is None for value in values):
        return None
    return Numbers("", tuple(math.inf if value is None else value for value in values))


def _settings(section: TableConfig, results: StudyResults, _: Sequence[PublishedConfig]) -> StudyTable:
    """Settings of the reference and lattice: a column a run."""
    runs = [results.runs[name] for name in (section.on or results.runs)]
    rows: list[tuple[Cell, ...]] = [("code", *(run.calculator for run in runs))]
    flat = [_flat(run.parameters) for run in runs]
    keys = dict.fromkeys(key for parameters in flat for key in parameters)
    rows += [(key, *(parameters.get(key, "") for parameters in flat)) for key in keys]
    rows += [
        ("k-points of the unit cell", *("" if run.kgrid is None else " × ".join(map(str, run.kgrid)) for run in runs)),
        ("crystal", *(f"{run.formula}, {run.space_group}" for run in runs)),
        *((f"{name} (Å)", *(_lattice(run, name) for run in runs)) for name in ("a", "c")),
        ("grid of q-points", *(" × ".join(map(str, run.grid)) for run in runs)),
        ("supercells", *(run.supercells for run in runs)),
        ("labels", *(run.labels for run in runs)),
        ("atoms in them", *(run.atoms for run in runs)),
        ("hours of their calculation", *(f"{run.label_seconds / 3600:.2f}" for run in runs)),
    ]
    kept = tuple(row for row in rows if any(cell not in ("", None) for cell in row[1:]))
    return StudyTable(("", *(run.name for run in runs)), kept, (None,) * (len(runs) + 1))


def _fits(section: TableConfig, results: StudyResults, _: Sequence[PublishedConfig]) -> StudyTable:
    """Hyperparameters, amounts of data and lattice of the potentials: a column a point."""
    groups = shown(section, results)
    first = [group[0] for group in groups.values()]
    names = {
        "cutoff": "cutoff (Å)", "n_max": "n_max", "l_max": "l_max", "atom_sigma": "σ_atom (Å)", "delta": "δ (eV)",
        "zeta": "ζ",
    }  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (name, *(float(outcome.settings[key]) for outcome in first)) for key, name in names.items()
    ]
    rows.append(("regularisation", *(str(outcome.regularisation["kind"]) for outcome in first)))
    rows.append(("σ energy (eV)", *(float(outcome.regularisation["energy"]) for outcome in first)))
    for what, unit in (("force", "eV/Å"), ("virial", "eV")):
        rows.append((f"Δ {what}", *(float(outcome.regularisation[what]["relative"]) for outcome in first)))
        rows.append((f"smallest σ {what} ({unit})", *(float(o.regularisation[what]["minimum"]) for o in first)))
    for metric, name in (
        ("n_sparse", "sparse points"),
        ("n_labels", "labels (energies)"),
        ("n_atoms", "atoms"),
        ("label_seconds", "seconds of labels"),
    ):
        rows.append((name, *(over_seeds(group, metric, None) for group in groups.values())))
    for run in runs_of(section, groups):
        for axis in ("a", "c"):
            found = [over_seeds(group, axis, run) for group in groups.values()]
            if _lattice(results.runs[run], axis) is not None and any(cell is not None for cell in found):
                reference = results.runs[run].lattice[axis]
                rows.append((f"{axis} of {run} (Å); reference {reference:.4f}", *found))
    return StudyTable(("", *groups), tuple(rows), (None,) * (len(groups) + 1))


def _elastic(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Elastic constants: potentials, the reference, and columns from elsewhere, run by run."""
    groups = shown(section, results)
    runs = runs_of(section, groups)
    constants = list(dict.fromkeys(name for run in runs for name in results.runs[run].elastic))
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        for point, group in groups.items():
            if any(run in outcome.evaluations for outcome in group):
                rows.append((run, point, *(over_seeds(group, name, run) for name in constants)))
                errors = [over_seeds(group, f"{name}_error_percent", run) for name in constants]
                rows.append((run, f"{point}, error in %", *errors))
        rows.append((run, "reference", *(results.runs[run].elastic.get(name) for name in constants)))
        rows += [
            (run, column.name, *(column.values.get(name) for name in constants))
            for column in published
            if column.on == run and any(name in column.values for name in constants)
        ]
    return StudyTable(
        ("crystal", "", *(f"{name} (GPa)" for name in constants)), tuple(rows), (None, None, *(1 for _ in constants))
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
    )


def _lattice(run: RunFacts, name: str) -> float | None:
    """A lattice constant of the unit cell; c only where it differs from a."""
    if name == "c" and math.isclose(run.lattice["c"], run.lattice["a"], rel_tol=1e-6):
        return None
    return round(run.lattice[name], 4)


def _flat(parameters: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested parameters as dotted keys and text."""
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = str(value)
    return flat


_MAKERS: dict[str, Callable[[TableConfig, StudyResults, Sequence[PublishedConfig]], StudyTable]] = {
    "settings": _settings,
    "fits": _fits,
    "elastic": _elastic,
    "metrics": _metrics,
}
