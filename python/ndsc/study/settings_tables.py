"""The tables of settings and of fits, with published values aligned by what they mean (Tables 1 and 2 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ndsc.codes import MEANINGS, code_of
from ndsc.config.published import FIT_VALUES, SETTING_VALUES, PublishedConfig
from ndsc.config.study import TableConfig
from ndsc.kpoints import k_spacing, kgrid_text
from ndsc.report.text import grid
from ndsc.study.cells import Cell, StudyTable, columns_for, over_seeds
from ndsc.study.figures import runs_of, shown
from ndsc.study.results import Outcome, RunFacts, StudyResults

#: Rows of a table of fits.
FIT_ROWS = {
    "cutoff": "cutoff (Å)", "n_max": "n_max", "l_max": "l_max", "atom_sigma": "σ_atom (Å)", "delta": "δ (eV)",
    "zeta": "ζ", "regularisation": "regularisation", "energy_sigma": "σ energy (eV)", "force_relative": "Δ force",
    "force_minimum": "smallest σ force (eV/Å)", "virial_relative": "Δ virial",
    "virial_minimum": "smallest σ virial (eV)", "n_sparse": "sparse points", "n_labels": "labels (energies)",
    "n_atoms": "atoms", "label_seconds": "seconds of labels",
}  # fmt: skip
_LATTICE = {"a": "a (Å)", "c": "c (Å)"}


def settings_table(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Settings of the reference and lattice: a column a run, and beside it what is published about it."""
    heads: list[str] = []
    columns: list[Mapping[str, Cell]] = []
    others: dict[str, str] = {}
    used: list[PublishedConfig] = []
    for name in section.on or results.runs:
        run = results.runs[name]
        known, rest = code_of(run.calculator).by_meaning(run.parameters)
        others |= {f"others.{key}": key for key in rest}
        heads.append(name)
        columns.append({**_facts(run), **known, **{f"others.{key}": value for key, value in rest.items()}})
        for column in columns_for(section.name, published, name, SETTING_VALUES):
            heads.append(f"{name}, {column.name}")
            columns.append(column.values)
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
    return _aligned(rows, heads, columns, used)


def fits_table(section: TableConfig, results: StudyResults, published: Sequence[PublishedConfig]) -> StudyTable:
    """Hyperparameters, amounts of data and lattice: a column a potential, and beside it what is published."""
    groups = shown(section, results)
    runs = runs_of(section, groups)
    judged = {point: [run for run in runs if any(run in one.evaluations for one in groups[point])] for point in groups}
    last = {run: point for point in groups for run in judged[point]}
    # Where every potential is about one crystal, the lattices of all are in one row.
    shared = all(len(on) <= 1 for on in judged.values())
    lattice = _LATTICE | {f"reference.{axis}": f"{axis} of the reference (Å)" for axis in _LATTICE}
    if not shared:
        lattice = {
            f"{axis}.{run}": f"{axis} of {run} (Å); reference {found:.4f}"
            for run in runs
            for axis in _LATTICE
            if (found := _axis(results.runs[run], axis)) is not None
        }
    heads: list[str] = []
    columns: list[Mapping[str, Cell]] = []
    used: list[PublishedConfig] = []
    for point, group in groups.items():
        heads.append(point)
        columns.append(_of_fit(group) | _lattices(group, [results.runs[run] for run in judged[point]], shared=shared))
        for run in [run for run in runs if last.get(run) == point]:
            for column in columns_for(section.name, published, run, FIT_VALUES):
                heads.append(f"{run}, {column.name}")
                moved = {axis if shared else f"{axis}.{run}": column.values.get(axis) for axis in _LATTICE}
                columns.append({**column.values, **moved})
                used.append(column)
    return _aligned({**FIT_ROWS, **lattice}, heads, columns, used)


def _aligned(
    rows: Mapping[str, str],
    heads: Sequence[str],
    columns: Sequence[Mapping[str, Cell]],
    used: Sequence[PublishedConfig],
) -> StudyTable:
    """A row a name, without those that are empty."""
    cells = [(label, *(column.get(key) for column in columns)) for key, label in rows.items()]
    kept = tuple(row for row in cells if any(cell is not None for cell in row[1:]))
    return StudyTable(("", *heads), kept, (None,) * (len(heads) + 1), published=tuple(used))


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


def _of_fit(group: Sequence[Outcome]) -> dict[str, Cell]:
    """Hyperparameters and amounts of data of the potentials of a point."""
    settings, sigma = group[0].settings, group[0].regularisation
    found: dict[str, Cell] = {
        name: float(settings[name]) for name in ("cutoff", "n_max", "l_max", "atom_sigma", "delta", "zeta")
    }
    found |= {"regularisation": str(sigma["kind"]), "energy_sigma": float(sigma["energy"])}
    for what in ("force", "virial"):
        found |= {f"{what}_{key}": float(sigma[what][key]) for key in ("relative", "minimum")}
    counted = ("n_sparse", "n_labels", "n_atoms", "label_seconds")
    return found | {metric: over_seeds(group, metric, None) for metric in counted}


def _lattices(group: Sequence[Outcome], runs: Sequence[RunFacts], *, shared: bool) -> dict[str, Cell]:
    """Lattice constants of the potentials of a point, and with `shared` of their reference."""
    found: dict[str, Cell] = {}
    for run in runs:
        for axis in _LATTICE:
            reference = _axis(run, axis)
            if reference is not None:
                found[axis if shared else f"{axis}.{run.name}"] = over_seeds(group, axis, run.name)
                if shared:
                    found[f"reference.{axis}"] = reference
    return found


def _axis(run: RunFacts, name: str) -> float | None:
    """A lattice constant of the unit cell; c only where it differs from a."""
    if name == "c" and math.isclose(run.lattice["c"], run.lattice["a"], rel_tol=1e-6):
        return None
    return round(run.lattice[name], 4)
