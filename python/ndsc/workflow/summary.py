"""results.json of a run, from what its stages found."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from pydantic import BaseModel

from ndsc.benchmark import Benchmark
from ndsc.codes.specification import canonical
from ndsc.config import RunConfig, dump_config
from ndsc.fit import Regularisation
from ndsc.fit.databases import OwnDatabase
from ndsc.label_cost import Estimate, LabelCost
from ndsc.potentials.base import Fitted
from ndsc.qgrid import irreducible_qpoints
from ndsc.reference import LabelReport
from ndsc.results import (
    CostSummary,
    CrystalSummary,
    EstimateSummary,
    PhononsSummary,
    Results,
    SizeCost,
    SupercellsSummary,
)
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY
from ndsc.versions import package_versions
from ndsc.workflow.diagnosis import measured
from ndsc.workflow.plan import Plan
from ndsc.workflow.selection import ENERGIES, EQUATION_OF_STATE, ChosenLabels


@dataclass
class RunRecord:
    """What a run has so far; results.json is made of it.

    Attributes
    ----------
    plan : Plan
    report : LabelReport
        Labels of the configurations and of the reference's phonons.
    database : list of ase.Atoms
        The configurations that the run has labelled.
    stages : dict of str to float
        Wall time of each stage, s.
    warnings : list of str
    configurations : list of ase.Atoms
        Those that were to be labelled for the database; by default all that are fitted.
    chosen : ChosenLabels or None
        How labels were chosen; None where all were to be labelled.
    regularisation : Regularisation or None
        What the fit was given.
    fit : Fitted or None
    benchmark : Benchmark or None
        None before these stages, and without a fit.
    """

    plan: Plan
    report: LabelReport
    database: list[Atoms]
    stages: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    configurations: list[Atoms] = field(default_factory=list)
    chosen: ChosenLabels | None = None
    regularisation: Regularisation | None = None
    fit: Fitted | None = None
    benchmark: Benchmark | None = None

    def __post_init__(self) -> None:
        self.configurations = self.configurations or self.plan.to_fit

    @property
    def outliers(self) -> list[Atoms]:
        """Labels that contradict all others; they are not fitted."""
        return [] if self.chosen is None else self.chosen.outliers

    @property
    def fitted(self) -> list[Atoms]:
        """What is fitted: the labelled configurations, and those of the user's own databases, without outliers."""
        return self.without_outliers([*self.database, *self.plan.databases.frames])

    def without_outliers(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Those of some configurations that are fitted."""
        left_out = {atoms.info["ndsc_name"] for atoms in self.outliers}
        return [atoms for atoms in frames if atoms.info["ndsc_name"] not in left_out]


def summarise(record: RunRecord, directory: Path) -> Results:
    """Everything that a reader of the run needs, in the schema of docs/results.md.

    Parameters
    ----------
    record : RunRecord
    directory : path
        Folder of the run, which the paths in its input are relative to.
    """
    plan, found = record.plan, record.benchmark
    config, crystal = plan.config, plan.crystal
    elastic = None if found is None or found.reference.elastic is None else found.elastic
    document = {
        "crystal": {
            **_attributes_of(crystal, CrystalSummary),
            "formula": crystal.atoms.get_chemical_formula(),
            "n_atoms": len(crystal.atoms),
            "space_group": crystal.symbol,
            "space_group_number": crystal.number,
            "cell": crystal.atoms.cell.array,
            "masses": crystal.atoms.get_masses(),
        },
        "supercells": {
            **_attributes_of(plan.supercells, SupercellsSummary),
            "n_irreducible_qpoints": len(irreducible_qpoints(crystal, plan.supercells.grid).weights),
        },
        "configurations": {
            "total": len(record.configurations),
            "by_type": Counter(str(atoms.info["config_type"]) for atoms in record.configurations),
            "settings": _recipe(config),
        },
        "labels": labels_summary(record),
        "databases": [_database(record, own, directory) for own in plan.databases.each],
        "selection": None if record.chosen is None else _selection(record.chosen, plan),
        "fit": None if record.fit is None else _fit(record, record.fit),
        "lattice": None if found is None else found.lattice,
        "phonons": None if found is None else _phonons(config, found),
        "elastic": elastic,
        "elastic_settings": {} if elastic is None else _elastic_settings(config, plan),
        "diagnosis": None if record.fit is None else measured(plan, record.database, record.fit, found),
        "cost": _cost(record),
        "versions": package_versions(),
        "seed": config.configurations[0].seed,
        "command": "ndsc run ndsc.toml",
        "input": dump_config(config, folder=directory),
        "warnings": list(dict.fromkeys(record.warnings)),
    }
    return Results.model_validate(document)


def _attributes_of(source: object, part: type[BaseModel]) -> dict[str, Any]:
    """The attributes of `source` that a part of results.json has fields for."""
    return {name: getattr(source, name) for name in part.model_fields if hasattr(source, name)}


def _recipe(config: RunConfig) -> dict[str, Any]:
    """The settings of the configurations; of several parts, by the name of the part."""
    if config.makes_candidates:
        return config.selection.model_dump(mode="json", exclude_none=True)
    dumped = [part.model_dump(mode="json", exclude_none=True) for part in config.configurations]
    return dumped[0] if len(dumped) == 1 else {str(part["name"]): part for part in dumped}


def _elastic_settings(config: RunConfig, plan: Plan) -> dict[str, Any]:
    unit = {"unit": "N/m"} if plan.crystal.is_sheet else {}
    return config.elastic.model_dump(mode="json") | unit


def labels_summary(record: RunRecord) -> dict[str, Any]:
    """The reference calculations of a run, as results.json has them."""
    plan, report = record.plan, record.report
    requested = {str(atoms.info["ndsc_name"]) for atoms in [*plan.to_label, *record.configurations]}
    return {
        "calculator": plan.spec.name,
        "requested": len(requested),
        "succeeded": len(report.labels),
        "reused": report.found,
        "failures": [asdict(failure) for failure in report.failures],
        "settings": {
            "parameters": dict(plan.spec.parameters),
            "kgrid": canonical(plan.spec.kgrid),
            "codes": sorted({str(label.provenance.get("code", "unknown")) for label in report.labels.values()}),
        },
    }


def _selection(chosen: ChosenLabels, plan: Plan) -> dict[str, Any]:
    """What is expected of one crystal, and which of the labels are its."""
    number = next(i for i, one in enumerate(chosen.plan.each) if one is plan)
    last, settings = chosen.steps[-1].each[number], chosen.settings
    own = {str(atoms.info["ndsc_name"]) for atoms in plan.to_fit}
    order = [name for name in chosen.names if name in own]
    names = {"rmse_thz": "predicted_rmse_thz", "elastic_percent": "predicted_elastic_percent"}
    kept = (
        "statistical_rmse_thz",
        "statistical_elastic_percent",
        "factor",
        "elastic_factor",
        "constants",
        "deviations",
    )
    return {
        "method": settings.method,
        "candidates": len(plan.candidates),
        "labels": len(order),
        **{key: getattr(last, name) for name, key in names.items()},
        **{name: getattr(last, name) for name in kept},
        "predicted_mev": last.others.get(ENERGIES),
        "target_mev": settings.target_mev if ENERGIES in last.others else None,
        "predicted_gpa": last.others.get(EQUATION_OF_STATE),
        "target_gpa": settings.target_gpa,
        "target_thz": settings.target_thz,
        "target_elastic_percent": settings.target_elastic_percent,
        "target_met": chosen.target_met,
        "reason": chosen.reason,
        "advice": chosen.advice,
        "noise": chosen.selector.noise.to_dict(),
        "steps": [
            {
                "labels": step.labels,
                "seconds": step.seconds,
                **{key: getattr(step.each[number], name) for name, key in names.items()},
                "predicted_mev": step.each[number].others.get(ENERGIES),
                "predicted_gpa": step.each[number].others.get(EQUATION_OF_STATE),
            }
            for step in chosen.steps
        ],
        "order": order,
        "outliers": [name for atoms in chosen.outliers if (name := str(atoms.info["ndsc_name"])) in own],
    }


def _database(record: RunRecord, own: OwnDatabase, directory: Path) -> dict[str, Any]:
    """A database of the user's own, and the errors of the potential on it."""
    errors = {} if record.fit is None else record.fit.errors
    expected = record.regularisation or record.plan.config.regularisation
    types = {}
    for kind, frames in own.by_type.items():
        found = errors.get(f"{own.title}/{kind}")
        types[kind] = {
            "configurations": len(frames),
            "atoms": sum(map(len, frames)),
            "energies": sum(ENERGY_KEY in frame.info for frame in frames),
            "forces": sum(FORCES_KEY in frame.arrays for frame in frames),
            "virials": sum(VIRIAL_KEY in frame.info for frame in frames),
            "weight": own.weight_of(kind),
            "regularisation": own.regularisation_of(kind, expected).model_dump(mode="json", exclude_none=True),
            **({} if found is None else {name: value for name, value in asdict(found).items() if "rmse" in name}),
        }
    return {
        "name": own.title,
        "file": os.path.relpath(own.settings.file, directory),
        "keys": {name.removesuffix("_key"): key for name, key in own.settings.keys.items() if key is not None},
        "configurations": len(own.frames),
        "atoms": sum(map(len, own.frames)),
        "types": types,
    }


def _fit(record: RunRecord, fit: Fitted) -> dict[str, Any]:
    regularisation = record.regularisation or record.plan.config.regularisation
    return {
        "method": record.plan.config.fit.method,
        "settings": fit.settings.hyperparameters() | {"e0": fit.e0},
        "regularisation": regularisation.model_dump(mode="json"),
        "counts": {
            name: {"sent": sent, "read": fit.counts_read[name]}
            for name, sent in fit.counts_sent.items()
            if name in fit.counts_read
        },
        "n_sparse": sum(fit.sizes.values()),
        "sizes": fit.sizes,
        "details": fit.details,
        "seconds": fit.seconds,
        "memory_gb": fit.memory_gb,
        "errors": {name: asdict(errors) for name, errors in fit.errors.items()},
    }


def _phonons(config: RunConfig, found: Benchmark) -> dict[str, Any] | None:
    comparison, reference = found.phonons, found.reference.phonons
    if comparison is None or reference is None:
        return None
    born = {} if config.phonons.born is None else {"born": config.phonons.born.name}
    harmonic = None
    if found.harmonic is not None and found.harmonic_phonons is not None:
        harmonic = {
            "rmse_mesh_thz": found.harmonic_phonons.rmse_mesh_thz,
            "force_rmse_ev_per_angstrom": found.harmonic.force_rmse,
            "force_rms_ev_per_angstrom": found.harmonic.force_rms,
        }
    return {
        **_attributes_of(comparison, PhononsSummary),
        "polar": [asdict(modes) for modes in comparison.polar],
        "settings": config.phonons.model_dump(mode="json", exclude={"born"}) | born,
        "grid": reference.grid,
        "n_exact_qpoints": len(reference.exact_qpoints),
        "reference_effort": asdict(reference.cost.used),
        "diagonal_effort": asdict(reference.cost.diagonal),
        "harmonic": harmonic,
    }


def _cost(record: RunRecord) -> CostSummary:
    plan, labels = record.plan, record.report.labels

    def known(frames: Iterable[Atoms]) -> list[tuple[int, float | None]]:
        names = [(str(atoms.info["ndsc_name"]), len(atoms)) for atoms in frames]
        return [(n_atoms, labels[name].cost_seconds) for name, n_atoms in names if name in labels]

    return cost_summary(
        known(plan.configurations),
        unit_atoms=len(plan.crystal.atoms),
        grid=plan.supercells.grid,
        reference_phonons=known(plan.phonon_frames),
        kpoints=plan.spec.kgrid is not None,
        stages=record.stages,
    )


def cost_summary(
    labels: Iterable[tuple[int, float | None]],
    *,
    unit_atoms: int,
    grid: tuple[int, int, int],
    reference_phonons: Sequence[tuple[int, float | None]] = (),
    kpoints: bool = True,
    stages: Mapping[str, float] | None = None,
) -> CostSummary:
    """Add up what the labels cost, beside one calculation of the diagonal supercell.

    Parameters
    ----------
    labels : iterable of (number of atoms, seconds or None)
        One entry a label in the database.
    unit_atoms : int
        Atoms in the unit cell.
    grid : (3,) ints
        q-point grid. Its diagonal supercell has ``unit_atoms * N1 * N2 * N3`` atoms.
    reference_phonons : sequence of (number of atoms, seconds or None)
        One entry a calculation behind the reference's phonons.
    kpoints : bool
        Whether the calculator samples k-points, which are fewer in larger cells.
    stages : mapping, optional
        Wall-clock seconds of each stage of the run.
    """
    database = [(atoms, _measured(seconds)) for atoms, seconds in labels]
    phonons = [(atoms, _measured(seconds)) for atoms, seconds in reference_phonons]
    timed = [(atoms, seconds) for atoms, seconds in [*database, *phonons] if seconds is not None]
    cost = LabelCost.of_largest([atoms for atoms, _ in timed], [seconds for _, seconds in timed], kpoints=kpoints)
    diagonal = unit_atoms * math.prod(grid)
    by_atoms: dict[int, list[float | None]] = {}
    for atoms, seconds in database:
        by_atoms.setdefault(atoms, []).append(seconds)
    atoms_cubed = float(sum(atoms**3 for atoms, _ in database))
    return CostSummary(
        labels=len(database),
        atoms=sum(atoms for atoms, _ in database),
        seconds=_sum_or_none(seconds for _, seconds in database),
        atoms_cubed=atoms_cubed,
        diagonal_atoms=diagonal,
        relative_to_diagonal=atoms_cubed / float(diagonal) ** 3,
        by_size=[
            SizeCost(atoms=atoms, labels=len(group), seconds=_sum_or_none(group))
            for atoms, group in sorted(by_atoms.items())
        ],
        reference_phonon_labels=len(phonons),
        reference_phonon_atoms_cubed=float(sum(atoms**3 for atoms, _ in phonons)) or None,
        stages=dict(stages or {}),
        power=round(cost.power, 6),
        power_width=round(cost.power_width, 6),
        diagonal_seconds_estimated=_as_summary(cost.seconds(diagonal)) if cost.fitted else None,
        estimated_from_atoms=max(atoms for atoms, _ in timed) if timed else None,
        relative_time_estimated=_relative(database, cost, diagonal),
        reference_phonon_seconds=_sum_or_none(seconds for _, seconds in phonons),
        reference_phonon_relative_time_estimated=_relative(phonons, cost, diagonal),
    )


def _relative(labels: Sequence[tuple[int, float | None]], cost: LabelCost, diagonal: int) -> EstimateSummary | None:
    """The time of labels over that of one diagonal supercell: from seconds, or where there are none from the atoms."""
    if not labels:
        return None
    if not cost.fitted:
        return _as_summary(cost.relative(Counter(atoms for atoms, _ in labels), {diagonal: 1}))
    seconds, one = _sum_or_none(seconds for _, seconds in labels), cost.seconds(diagonal)
    return None if seconds is None else _as_summary(Estimate(*(seconds / x for x in (one.value, one.high, one.low))))


def _as_summary(found: Estimate) -> EstimateSummary:
    return EstimateSummary(**asdict(found))


def _measured(seconds: float | None) -> float | None:
    """A time, or None for what is none."""
    return seconds if seconds is not None and math.isfinite(seconds) and seconds > 0 else None


def _sum_or_none(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(sum(known)) if known else None
