"""The tables of a study: settings of runs, fits, elastic constants and metrics, with published values beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ndsc.codes import MEANINGS, code_of
from ndsc.config.published import FIT_VALUES, SETTING_VALUES, PublishedConfig
from ndsc.config.study import TableConfig
from ndsc.kpoints import k_spacing, kgrid_text
from ndsc.report.tables import escape_markdown, markdown_table
from ndsc.report.text import grid, number, significant
from ndsc.study.figures import Shown
from ndsc.study.results import PotentialResult, RunFacts, StudyResults

if TYPE_CHECKING:
    from pandas import DataFrame

#: A number, the numbers of several seeds, or text.
Cell = float | str | tuple[float, ...] | None
#: Decimals of a metric by the end of its name.
DECIMALS = {"_thz": 4, "_percent": 2, "_seconds": 0, "_angstrom": 4, "band_68": 2, "band_95": 2}
#: What metrics are called at the head of a column.
HEADS = {
    "n_labels": "labels", "n_atoms": "atoms", "label_seconds": "seconds of labels", "n_sparse": "sparse points",
    "rmse_mesh_thz": "RMSE, THz", "rmse_path_thz": "RMSE on the path, THz", "max_error_thz": "largest error, THz",
    "min_frequency_thz": "lowest frequency, THz", "reference_min_frequency_thz": "that of the reference, THz",
    "harmonic_rmse_mesh_thz": "harmonic model, RMSE, THz",
    "largest_elastic_error_percent": "largest elastic error, %", "rms_elastic_error_percent": "RMS elastic error, %",
    "predicted_rmse_thz": "predicted RMSE, THz", "predicted_elastic_percent": "predicted elastic error, %",
    "band_68": "modes in the 68 % band", "band_95": "modes in the 95 % band",
    "held_out_force_rmse_ev_per_angstrom": "force RMSE on the labels left out, eV/Å",
    "train_force_rmse_ev_per_angstrom": "force RMSE on the training labels, eV/Å",
}  # fmt: skip
#: Rows of a table of fits.
FIT_ROWS = {
    "cutoff": "cutoff (Å)", "n_max": "n_max", "l_max": "l_max", "atom_sigma": "σ_atom (Å)", "delta": "δ (eV)",
    "zeta": "ζ", "radial_exponent": "radial exponent", "radial_scale": "radial scale (Å)",
    "regularisation": "regularisation", "energy_sigma": "σ energy (eV)", "force_relative": "Δ force",
    "force_minimum": "smallest σ force (eV/Å)", "virial_relative": "Δ virial",
    "virial_minimum": "smallest σ virial (eV)", "n_sparse": "sparse points", "n_labels": "labels (energies)",
    "n_atoms": "atoms", "label_seconds": "seconds of labels",
}  # fmt: skip
_LATTICE = {"a": "a (Å)", "c": "c (Å)"}


@dataclass(frozen=True, eq=False)
class StudyTable:
    """A table of cells.

    Attributes
    ----------
    frame : DataFrame
        Cells are numbers, text, None, or a tuple with the numbers of several seeds.
    decimals : tuple of int or None
        Of each column's numbers; None for as many as they need.
    heads : int
        How many of the first columns are not numbers.
    published : tuple of PublishedConfig
        Whose values are in it.
    """

    frame: DataFrame
    decimals: tuple[int | None, ...]
    heads: int = 1
    published: tuple[PublishedConfig, ...] = ()

    def markdown(self) -> str:
        """The table in Markdown; seeds as ``median (smallest to largest)``."""
        rows = [
            [shown_cell(cell, digits) for cell, digits in zip(row, self.decimals, strict=True)]
            for row in self.frame.itertuples(index=False, name=None)
        ]
        columns = [escape_markdown(str(name)) for name in self.frame.columns]
        return markdown_table(columns, rows, numeric=len(columns) - self.heads)

    def data(self) -> DataFrame:
        """The table for CSV; of several seeds the median."""
        return self.frame.map(lambda cell: float(np.median(cell)) if isinstance(cell, tuple) else cell)

    def sources(self) -> str:
        """Where published values come from, each source once, in Markdown."""
        names: dict[str, list[str]] = {}
        for column in self.published:
            if column.source and column.name not in names.setdefault(column.source, []):
                names[column.source].append(column.name)
        return " ".join(
            f"*{escape_markdown(', '.join(listed))}*: {escape_markdown(source.rstrip('.'))}."
            for source, listed in names.items()
        )


def make_table(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """A table as the study's file asks for it.

    Raises
    ------
    InputError
        When the results have nothing of what it is to show.
    """
    return _MAKERS[section.kind](section, results, published)


def shown_cell(cell: Cell, decimals: int | None) -> str:
    """A cell as Markdown."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return escape_markdown(cell)
    if isinstance(cell, tuple):
        middle = shown_cell(float(np.median(cell)), decimals)
        if min(cell) == max(cell):
            return middle
        return f"{middle} ({shown_cell(min(cell), decimals)} to {shown_cell(max(cell), decimals)})"
    if not math.isfinite(cell):
        return "not available"
    return significant(cell, 6) if decimals is None else number(cell, decimals)


def _over_seeds(outcomes: Sequence[PotentialResult], metric: str, run: str | None) -> Cell:
    """A metric over the seeds of a point, infinite for those without it; None where no seed has it."""
    values = [outcome.value(metric, run) for outcome in outcomes]
    if all(value is None for value in values):
        return None
    return tuple(math.inf if value is None else float(value) for value in values)


def _columns_for(
    table: str, published: Sequence[PublishedConfig], run: str, names: Sequence[str]
) -> list[PublishedConfig]:
    """The published columns about a run that a table with rows of these names shows."""
    return [
        column
        for column in published
        if column.on == run
        and (not column.tables or table in column.tables)
        and any(name in column.values for name in names)
    ]


def _elastic(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Elastic constants: potentials, the reference, and columns from elsewhere, run by run."""
    shown = Shown.of(section, results)
    constants = list(dict.fromkeys(name for run in shown.runs for name in results.runs[run].elastic))
    rows: list[Sequence[Cell]] = []
    used: list[PublishedConfig] = []
    for run in shown.runs:
        for point, group in shown.points.items():
            if run in shown.runs_of(point):
                rows.append([run, point, *(_over_seeds(group, name, run) for name in constants)])
                errors = [_over_seeds(group, f"{name}_error_percent", run) for name in constants]
                rows.append([run, f"{point}, error in %", *errors])
        rows.append([run, "reference", *(results.runs[run].elastic.get(name) for name in constants)])
        columns = _columns_for(section.name, published, run, constants)
        rows += [[run, column.name, *(column.values.get(name) for name in constants)] for column in columns]
        used += columns
    frame = _cells(rows, ["crystal", "", *(f"{name} (GPa)" for name in constants)])
    return StudyTable(frame, (None, None, *(1 for _ in constants)), heads=2, published=tuple(used))


def _metrics(section: TableConfig, results: StudyResults, _: Sequence[PublishedConfig]) -> StudyTable:
    """Metrics: a row a point and run."""
    shown = Shown.of(section, results)
    heads = ["potential", "judged on"][: 2 if len(shown.runs) > 1 else 1]
    rows: list[Sequence[Cell]] = []
    for point, group in shown.points.items():
        for run in shown.runs_of(point):
            metrics = [_over_seeds(group, metric, run) for metric in section.metrics]
            rows.append([point, run][: len(heads)] + metrics)
    ends = [[digits for end, digits in DECIMALS.items() if metric.endswith(end)] for metric in section.metrics]
    return StudyTable(
        _cells(rows, [*heads, *(HEADS.get(metric, metric.replace("_", " ")) for metric in section.metrics)]),
        (*(None for _ in heads), *(found[0] if found else None for found in ends)),
        heads=len(heads),
    )


def _settings(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Settings of the reference and lattice: a column a run, and beside it what is published about it."""
    columns: dict[str, Mapping[str, Cell]] = {}
    others: dict[str, str] = {}
    used: list[PublishedConfig] = []
    for name in section.on or results.runs:
        run = results.runs[name]
        known, rest = code_of(run.calculator).by_meaning(run.parameters)
        others |= {f"others.{key}": key for key in rest}
        columns[name] = {**_facts(run), **known, **{f"others.{key}": value for key, value in rest.items()}}
        for column in _columns_for(section.name, published, name, SETTING_VALUES):
            columns[f"{name}, {column.name}"] = column.values
            used.append(column)
    rows = {
        "code": "code",
        **{key: MEANINGS[key] for key in ("xc", "basis", "cutoff_ev", "density_cutoff_ev")},
        "kgrid": "k-points of the unit cell",
        "k_spacing": "k-spacing (1/Å, without 2π)",
        **MEANINGS,
        **others,
        "crystal": "crystal",
        **_LATTICE,
        "grid": "grid of q-points",
        "supercells": "supercells",
        "n_labels": "labels",
        "n_atoms": "atoms in them",
        "hours": "hours of their calculation",
    }
    return _aligned(rows, columns, used)


def _fits(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Hyperparameters, amounts of data and lattice: a column a potential, and beside it what is published."""
    shown = Shown.of(section, results)
    judged = {point: shown.runs_of(point) for point in shown.points}
    last = {run: point for point, runs in judged.items() for run in runs}
    # Where every potential is about one crystal, the lattices of all are in one row.
    shared = all(len(on) <= 1 for on in judged.values())
    lattice = _LATTICE | {f"reference.{axis}": f"{axis} of the reference (Å)" for axis in _LATTICE}
    if not shared:
        lattice = {
            f"{axis}.{run}": f"{axis} of {run} (Å); reference {found:.4f}"
            for run in shown.runs
            for axis in _LATTICE
            if (found := _axis(results.runs[run], axis)) is not None
        }
    columns: dict[str, Mapping[str, Cell]] = {}
    used: list[PublishedConfig] = []
    for point, group in shown.points.items():
        on = [results.runs[run] for run in judged[point]]
        columns[point] = _of_fit(group) | _lattices(group, on, shared=shared)
        for run in [run for run in shown.runs if last.get(run) == point]:
            for column in _columns_for(section.name, published, run, FIT_VALUES):
                moved = {axis if shared else f"{axis}.{run}": column.values.get(axis) for axis in _LATTICE}
                columns[f"{run}, {column.name}"] = {**column.values, **moved}
                used.append(column)
    return _aligned({**FIT_ROWS, **lattice}, columns, used)


def _aligned(
    rows: Mapping[str, str], columns: Mapping[str, Mapping[str, Cell]], used: Sequence[PublishedConfig]
) -> StudyTable:
    """A row a name, without those that are empty."""
    cells = [[label, *(column.get(key) for column in columns.values())] for key, label in rows.items()]
    kept = [row for row in cells if any(cell is not None for cell in row[1:])]
    return StudyTable(_cells(kept, ["", *columns]), (None,) * (len(columns) + 1), published=tuple(used))


def _cells(rows: Sequence[Sequence[Cell]], columns: Sequence[str]) -> DataFrame:
    from pandas import DataFrame

    return DataFrame([list(row) for row in rows], columns=list(columns), dtype=object)


def _facts(run: RunFacts) -> dict[str, Cell]:
    """What a table of settings says of a run beside the parameters of its calculator."""
    return {
        "code": code_of(run.calculator).title,
        "kgrid": None if run.kgrid is None else kgrid_text(run.kgrid, " × "),
        "k_spacing": None if run.kgrid is None else float(f"{k_spacing(run.cell, run.kgrid):.3g}"),
        "crystal": f"{run.formula}, {run.space_group}",
        "a": _axis(run, "a"),
        "c": _axis(run, "c"),
        "grid": grid(run.grid),
        "supercells": run.supercells,
        "n_labels": run.labels,
        "n_atoms": run.atoms,
        "hours": f"{run.label_seconds / 3600:.2f}",
    }


def _of_fit(group: Sequence[PotentialResult]) -> dict[str, Cell]:
    """Hyperparameters and amounts of data of the potentials of a point."""
    settings = group[0].settings
    names = ("cutoff", "n_max", "l_max", "atom_sigma", "delta", "zeta", "radial_exponent", "radial_scale")
    found: dict[str, Cell] = {name: float(settings[name]) for name in names}
    found |= {"regularisation": str(group[0].regularisation["kind"]), "energy_sigma": _sigma(group, "energy")}
    for what in ("force", "virial"):
        found |= {f"{what}_{key}": _sigma(group, what, key) for key in ("relative", "minimum")}
    counted = ("n_sparse", "n_labels", "n_atoms", "label_seconds")
    return found | {metric: _over_seeds(group, metric, None) for metric in counted}


def _sigma(group: Sequence[PotentialResult], *keys: str) -> Cell:
    """A value of the regularisation, of each seed where they differ; fits that failed may have none."""
    found = []
    for outcome in group:
        value: Any = outcome.regularisation
        for key in keys:
            value = value.get(key) if value is not None else None
        if value is not None:
            found.append(float(value))
    return None if not found else found[0] if len(set(found)) == 1 else tuple(found)


def _lattices(group: Sequence[PotentialResult], runs: Sequence[RunFacts], *, shared: bool) -> dict[str, Cell]:
    """Lattice constants of the potentials of a point, and with `shared` of their reference."""
    found: dict[str, Cell] = {}
    for run in runs:
        for axis in _LATTICE:
            reference = _axis(run, axis)
            if reference is not None:
                found[axis if shared else f"{axis}.{run.name}"] = _over_seeds(group, axis, run.name)
                if shared:
                    found[f"reference.{axis}"] = reference
    return found


def _axis(run: RunFacts, name: str) -> float | None:
    """A lattice constant of the unit cell; c only where it differs from a."""
    if name == "c" and math.isclose(run.lattice["c"], run.lattice["a"], rel_tol=1e-6):
        return None
    return round(run.lattice[name], 4)


_MAKERS: dict[str, Callable[[TableConfig, StudyResults, Sequence[PublishedConfig]], StudyTable]] = {
    "settings": _settings,
    "fits": _fits,
    "elastic": _elastic,
    "metrics": _metrics,
}
