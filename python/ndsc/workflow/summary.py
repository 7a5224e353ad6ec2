"""results.json of a run, from what its stages found."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from ndsc.benchmark import Benchmark
from ndsc.codes.specification import canonical
from ndsc.config import RunConfig, dump_config
from ndsc.fit import GapFit
from ndsc.qgrid import irreducible_qpoints
from ndsc.reference import LabelReport
from ndsc.results import (
    ConfigurationsSummary,
    CostSummary,
    CrystalSummary,
    EffortSummary,
    FitCounts,
    FitErrors,
    FitSummary,
    HarmonicSummary,
    LabelFailure,
    LabelsSummary,
    PhononsSummary,
    Results,
    SupercellsSummary,
    cost_summary,
)
from ndsc.versions import package_versions
from ndsc.workflow.plan import Plan


@dataclass
class RunRecord:
    """What a run has so far; results.json is made of it.

    Attributes
    ----------
    plan : Plan
    report : LabelReport
        Labels of the configurations and of the reference's phonons.
    database : list of ase.Atoms
        The labelled configurations.
    stages : dict of str to float
        Wall time of each stage, s.
    warnings : list of str
    fit : GapFit or None
    benchmark : Benchmark or None
        None before these stages, and without a fit.
    """

    plan: Plan
    report: LabelReport
    database: list[Atoms]
    stages: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    fit: GapFit | None = None
    benchmark: Benchmark | None = None


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
    return Results(
        crystal=CrystalSummary(
            formula=crystal.atoms.get_chemical_formula(),
            n_atoms=len(crystal.atoms),
            space_group=crystal.symbol,
            space_group_number=crystal.number,
            symprec=crystal.symprec,
            magnetic_group=getattr(crystal, "magnetic_group", None),
            cell=crystal.atoms.cell.array,
        ),
        supercells=_supercells(plan),
        configurations=ConfigurationsSummary(
            total=len(plan.to_fit),
            by_type=dict(Counter(str(atoms.info["config_type"]) for atoms in plan.to_fit)),
            settings=_recipe(config),
        ),
        labels=_labels(record),
        fit=None if record.fit is None else _fit(record, record.fit),
        lattice=None if found is None else found.lattice,
        phonons=None if found is None else _phonons(plan, found),
        elastic=elastic,
        elastic_settings=config.elastic.model_dump(mode="json") if elastic is not None else {},
        cost=_cost(record),
        versions=package_versions(),
        seed=config.configurations[0].seed,
        command="ndsc run ndsc.toml",
        input=dump_config(config, folder=directory),
        warnings=list(dict.fromkeys(record.warnings)),
    )


def _recipe(config: RunConfig) -> dict[str, Any]:
    """The settings of the configurations; of several parts, by the name of the part."""
    dumped = [part.model_dump(mode="json", exclude_none=True) for part in config.configurations]
    return dumped[0] if len(dumped) == 1 else {str(part["name"]): part for part in dumped}


def _supercells(plan: Plan) -> SupercellsSummary:
    chosen = plan.supercells
    return SupercellsSummary(
        grid=chosen.grid,
        cost_exponent=chosen.cost_exponent,
        matrices=chosen.matrices.tolist(),
        sizes=chosen.sizes.tolist(),
        cost=chosen.cost,
        lower_bound=chosen.lower_bound,
        n_irreducible_qpoints=len(irreducible_qpoints(chosen.atoms, chosen.grid)[0]),
    )


def _labels(record: RunRecord) -> LabelsSummary:
    plan, report = record.plan, record.report
    requested = {str(atoms.info["ndsc_name"]) for atoms in [*plan.to_label, *plan.to_fit]}
    return LabelsSummary(
        calculator=plan.spec.name,
        requested=len(requested),
        succeeded=len(report.labels),
        reused=report.found,
        failures=[LabelFailure(name=failure.name, reason=failure.reason) for failure in report.failures],
        settings={
            "parameters": dict(plan.spec.parameters),
            "kgrid": canonical(plan.spec.kgrid),
            "codes": sorted({str(label.provenance.get("code", "unknown")) for label in report.labels.values()}),
        },
    )


def _fit(record: RunRecord, fit: GapFit) -> FitSummary:
    return FitSummary(
        method=record.plan.config.fit.method,
        settings=fit.settings.hyperparameters() | {"e0": fit.e0},
        regularisation=record.plan.config.regularisation.model_dump(mode="json"),
        counts={
            name: FitCounts(sent=fit.counts_sent[name], read=fit.counts_read[name])
            for name in fit.counts_sent
            if name in fit.counts_read
        },
        n_sparse=sum(fit.n_sparse.values()),
        seconds=fit.seconds,
        memory_gb=fit.memory_gb,
        errors={name: FitErrors(**asdict(errors)) for name, errors in fit.errors.items()},
    )


def _phonons(plan: Plan, found: Benchmark) -> PhononsSummary | None:
    comparison, reference = found.phonons, found.reference.phonons
    harmonic, harmonic_phonons = found.harmonic, found.harmonic_phonons
    if comparison is None or reference is None:
        return None
    return PhononsSummary(
        rmse_mesh_thz=comparison.rmse_mesh_thz,
        rmse_path_thz=comparison.rmse_path_thz,
        max_error_thz=comparison.max_error_thz,
        min_frequency_thz=comparison.min_frequency_thz,
        reference_min_frequency_thz=comparison.reference_min_frequency_thz,
        reference_max_frequency_thz=comparison.reference_max_frequency_thz,
        mesh=list(comparison.mesh),
        dos_mesh=list(comparison.dos_mesh or ()),
        settings=plan.config.phonons.model_dump(mode="json"),
        grid=list(reference.grid),
        n_exact_qpoints=len(reference.exact_qpoints),
        reference_effort=EffortSummary(**asdict(reference.cost.used)),
        diagonal_effort=EffortSummary(**asdict(reference.cost.diagonal)),
        harmonic=None
        if harmonic is None or harmonic_phonons is None
        else HarmonicSummary(
            rmse_mesh_thz=harmonic_phonons.rmse_mesh_thz,
            force_rmse_ev_per_angstrom=harmonic.force_rmse,
            force_rms_ev_per_angstrom=harmonic.force_rms,
        ),
    )


def _cost(record: RunRecord) -> CostSummary:
    plan, labels = record.plan, record.report.labels
    return cost_summary(
        [
            (len(atoms), labels[atoms.info["ndsc_name"]].seconds)
            for atoms in plan.configurations
            if atoms.info["ndsc_name"] in labels
        ],
        unit_atoms=len(plan.crystal.atoms),
        grid=plan.supercells.grid,
        reference_phonon_atoms=[len(atoms) for atoms in plan.phonon_frames],
        stages=record.stages,
    )
