"""Convergence of the settings of a reference calculator, tested on configurations like those of a database.

One setting is varied at a time, the others stay as given, and all values are compared with the densest one. A value is
recommended when it and all denser ones are within the targets; where the last but one is not, nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.convergence.differences import compare_labels
from ndsc.convergence.report import ConvergenceReport, Point, Scan, Tolerances
from ndsc.convergence.sample import count_kpoints
from ndsc.convergence.settings import ScannedSetting, scanned_settings, setting_text, with_setting
from ndsc.errors import InputError
from ndsc.progress import Progress, silent
from ndsc.reference import CalculatorSpec, ExecutorSettings, Label, LabelStore, label_configurations
from ndsc.reference.label_file import keys_of
from ndsc.reference.settings import describe_code_versions

#: Where no force is larger, eV/Å, forces say nothing about convergence.
NO_FORCE = 1e-3


@dataclass(frozen=True)
class ConvergencePlan:
    """What a scan will calculate.

    Attributes
    ----------
    settings : list of ScannedSetting
    specs : list of lists of CalculatorSpec
        For each setting, one for each value.
    values : list of dict
        For people and for JSON, one for each value of each setting: ``setting``, ``value``, ``kpoints`` (folded ones of
        all configurations together, or None) and ``to_compute`` (calculations that are not in the store).
    calculations, to_compute : int
        Different calculations of all scans together, and how many of them are not in the store.
    """

    settings: list[ScannedSetting]
    specs: list[list[CalculatorSpec]]
    values: list[dict[str, Any]]
    calculations: int
    to_compute: int


def plan_convergence(
    configurations: Sequence[Atoms],
    spec: CalculatorSpec,
    store: LabelStore,
    *,
    scans: Mapping[str, Sequence[Any] | None] | None = None,
    grid: Sequence[int] = (1, 1, 1),
    known: LabelStore | None = None,
) -> ConvergencePlan:
    """What :func:`converge` would calculate, and how much of it is in the store; its arguments have the same meaning.

    Raises
    ------
    InputError
        As :func:`converge`.
    """
    if len(configurations) < 2:
        raise InputError(
            f"{len(configurations)} configurations: convergence is judged by differences between them. Take at least "
            "two, perturbed supercells among them."
        )
    settings = scanned_settings(spec, scans, grid)
    specs = [[with_setting(spec, setting.path, value) for value in setting.values] for setting in settings]
    values: list[dict[str, Any]] = []
    everything: set[str] = set()
    absent: set[str] = set()
    for setting, changed in zip(settings, specs, strict=True):
        for value, one in zip(setting.values, changed, strict=True):
            one.check(configurations)
            keys = set(keys_of(configurations, one))
            missing = {key for key in keys if key not in store and (known is None or key not in known)}
            everything |= keys
            absent |= missing
            counts = count_kpoints(configurations, one)
            kpoints = None if counts is None else sum(counts)
            values.append({"setting": setting.path, "value": value, "kpoints": kpoints, "to_compute": len(missing)})
    return ConvergencePlan(settings, specs, values, len(everything), len(absent))


def converge(
    configurations: Sequence[Atoms],
    spec: CalculatorSpec,
    store: LabelStore,
    *,
    scans: Mapping[str, Sequence[Any] | None] | None = None,
    grid: Sequence[int] = (1, 1, 1),
    targets: Tolerances | None = None,
    known: LabelStore | None = None,
    workers: int = 2,
    executor: Executor | ExecutorSettings | None = None,
    progress: Progress = silent,
) -> ConvergenceReport:
    """Scan the settings of a calculator, and recommend the cheapest that are good enough for a database.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        Of the kind that the database holds (:func:`sample_configurations`), with ``info["ndsc_name"]``.
    spec : CalculatorSpec
        The given settings; while one is scanned, the others keep these values.
    store : LabelStore
        Where the calculations are kept; what is there is not computed again.
    scans : mapping of str to values or None, optional
        What to scan: ``"kgrid"``, ``"cutoff"``, ``"smearing"`` or a dotted path into the parameters, with its values
        (from coarse to dense), or None for values around the given one. Without it, the first three as far as the
        settings have them.
    grid : three ints
        Grid of the supercells, of which k-point grids are multiples by default.
    targets : Tolerances, optional
        Largest errors allowed.
    known : LabelStore, optional
        A store whose labels are copied instead of being computed: that of a run.
    workers, executor, progress
        As for :func:`~ndsc.label_configurations`.

    Returns
    -------
    ConvergenceReport

    Raises
    ------
    InputError
        When there are fewer than two configurations, or a scan cannot be made.
    ReferenceCalculationError
        When a calculation fails; those that are finished are kept.
    """
    plan = plan_convergence(configurations, spec, store, scans=scans, grid=grid, known=known)
    targets = targets or Tolerances()
    every_label: list[Label] = []
    found = []
    for setting, specs in zip(plan.settings, plan.specs, strict=True):
        labels = []
        for value, changed in zip(setting.values, specs, strict=True):
            if known is not None:
                copy_labels(configurations, changed, known, store)
            report = label_configurations(
                configurations, changed, store, workers=workers, executor=executor, progress=progress,
                task=f"{setting.path} = {setting_text(value)}",
            )  # fmt: skip
            report.require_all()
            labels.append([report.labels[atoms.info["ndsc_name"]] for atoms in configurations])
            every_label += labels[-1]
        reference = labels[setting.reference]
        rows = [row for row in plan.values if row["setting"] == setting.path]
        points = tuple(
            Point(
                value=row["value"],
                difference=None if of_value is reference else compare_labels(configurations, of_value, reference),
                seconds=float(np.mean([label.seconds for label in of_value])),
                kpoints=row["kpoints"],
            )
            for row, of_value in zip(rows, labels, strict=True)
        )
        found.append(Scan(setting, points, targets))
    notes = describe_code_versions(every_label)
    if max(float(np.abs(label.forces).max()) for label in every_label) < NO_FORCE:
        notes.append(
            "No configuration has forces, so the convergence of forces cannot be judged; take displaced supercells "
            "as well."
        )
    return ConvergenceReport(
        spec, targets, tuple((atoms.info["ndsc_name"], len(atoms)) for atoms in configurations), tuple(found), notes
    )


def copy_labels(configurations: Sequence[Atoms], spec: CalculatorSpec, known: LabelStore, store: LabelStore) -> None:
    """Copy what a store lacks from another one."""
    for key in keys_of(configurations, spec):
        if key not in store and key in known and (label := known.get(key)) is not None:
            store.put(label.key, label)
