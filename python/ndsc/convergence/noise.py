"""The noise of a database: some of its configurations, calculated again with denser settings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.convergence.differences import MILLI, Difference, compare_labels, virial_differences, with_unit, write_results
from ndsc.convergence.sample import count_kpoints, spread_over_supercells
from ndsc.errors import InputError
from ndsc.progress import Progress, silent
from ndsc.reference import CalculatorSpec, ExecutorSettings, Label, LabelStore, label_configurations
from ndsc.reference.label_file import keys_of
from ndsc.reference.settings import describe_code_versions, differences, settings_of
from ndsc.targets import is_isolated_atom


@dataclass(frozen=True)
class NoiseTable:
    """Labels of a database minus those with denser settings.

    Attributes
    ----------
    spec, denser : CalculatorSpec
    rows : list of dict
        For each configuration ``name``, ``atoms``, and with their units (:func:`with_unit`) ``force_rms``,
        ``force_max``, ``energy`` and ``virial_max`` (of the changes without their means; None where a label has no
        stress), ``seconds`` and ``denser_seconds``.
    difference : Difference
        Over all of the configurations.
    notes : list of str
        Remarks for the user.
    """

    spec: CalculatorSpec
    denser: CalculatorSpec
    rows: list[dict[str, Any]]
    difference: Difference
    notes: list[str] = field(default_factory=list)

    @property
    def changed(self) -> list[str]:
        """One line for each setting that differs."""
        return _changes(self.spec, self.denser)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "settings": settings_of(self.spec),
            "denser": settings_of(self.denser),
            "difference": self.difference.to_dict(),
            "configurations": self.rows,
            "notes": self.notes,
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``noise.json`` and ``noise.csv`` into a folder, which is made.

        Raises
        ------
        InputError
            When they cannot be written.
        """
        return write_results(Path(folder) / "noise", self.to_dict(), self.rows)


@dataclass(frozen=True)
class NoisePlan:
    """Which configurations a table of noise is made of, and what has to be computed for it.

    Attributes
    ----------
    configurations : list of ase.Atoms
    rows : list of dict
        For each configuration ``name``, ``atoms``, ``kpoints`` and ``denser_kpoints`` (folded ones, or None).
    in_store : int
        Denser calculations that need not be made again.
    """

    configurations: list[Atoms]
    rows: list[dict[str, Any]]
    in_store: int


def plan_noise(
    configurations: Sequence[Atoms],
    spec: CalculatorSpec,
    store: LabelStore,
    denser: CalculatorSpec,
    denser_store: LabelStore,
    *,
    n: int = 10,
) -> NoisePlan:
    """Choose the configurations of :func:`noise_table` and count what it will compute; nothing is computed.

    Raises
    ------
    InputError
        When the settings do not differ, `n` is below 2, or fewer than two configurations have labels.
    """
    if n < 2:
        raise InputError(
            f"{n} configuration to check: noise is measured as a difference between configurations. Take at least 2."
        )
    if not _changes(spec, denser):
        raise InputError(
            "The settings to check against are those of the database. Change one: a denser kgrid, a higher cutoff."
        )
    crystals = [atoms for atoms in configurations if not is_isolated_atom(atoms)]
    keys = keys_of(crystals, spec)
    labelled = [atoms for atoms, key in zip(crystals, keys, strict=True) if key in store]
    if len(labelled) < 2:
        raise InputError(
            f"{len(labelled)} of {len(crystals)} configurations have labels in {store.path}, and at least 2 are needed "
            "to check a database against denser settings. Make its labels first: ndsc run."
        )
    chosen = spread_over_supercells(labelled, n)
    denser.check(chosen)
    counts = [count_kpoints(chosen, one) or [None] * len(chosen) for one in (spec, denser)]
    rows = [
        {"name": atoms.info["ndsc_name"], "atoms": len(atoms), "kpoints": kpoints, "denser_kpoints": more}
        for atoms, kpoints, more in zip(chosen, *counts, strict=True)
    ]
    return NoisePlan(chosen, rows, len(chosen) - len(denser_store.missing(chosen, denser)))


def noise_table(
    configurations: Sequence[Atoms],
    spec: CalculatorSpec,
    store: LabelStore,
    denser: CalculatorSpec,
    denser_store: LabelStore,
    *,
    n: int = 10,
    workers: int = 2,
    executor: Executor | ExecutorSettings | None = None,
    progress: Progress = silent,
) -> NoiseTable:
    """Compute some configurations of a database again with denser settings, and compare the labels.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        Of the database, as :func:`~ndsc.make_configurations` made them. Isolated atoms are left out, and so are
        configurations without labels.
    spec : CalculatorSpec
        What the database was labelled with.
    store : LabelStore
        Its labels; nothing is written there.
    denser : CalculatorSpec
        The settings to check against (see :func:`with_settings`).
    denser_store : LabelStore
        Where the new labels go; what it has is not computed again.
    n : int
        How many configurations, spread evenly over the unit cell and the supercells.
    workers, executor, progress
        As for :func:`~ndsc.label_configurations`.

    Raises
    ------
    InputError
        As :func:`plan_noise`.
    ReferenceCalculationError
        When a calculation fails; those that are finished are kept.
    """
    plan = plan_noise(configurations, spec, store, denser, denser_store, n=n)
    chosen = plan.configurations
    labels = [_stored(store, key) for key in keys_of(chosen, spec)]
    report = label_configurations(
        chosen, denser, denser_store, workers=workers, executor=executor, progress=progress, task="denser labels"
    )
    report.require_all()
    others = [report.labels[atoms.info["ndsc_name"]] for atoms in chosen]
    return NoiseTable(
        spec, denser, _rows(chosen, labels, others), compare_labels(chosen, labels, others),
        describe_code_versions([*labels, *others]),
    )  # fmt: skip


def _rows(configurations: Sequence[Atoms], labels: Sequence[Label], others: Sequence[Label]) -> list[dict[str, Any]]:
    triples = list(zip(configurations, labels, others, strict=True))
    energies = np.array([(a.energy - b.energy) / len(atoms) for atoms, a, b in triples])
    virials = virial_differences(configurations, labels, others)
    scatter = None if virials is None else np.abs(virials - virials.mean(axis=0)).max(axis=1)
    rows = []
    for number, (atoms, label, other) in enumerate(triples):
        change = label.forces - other.forces
        values = {
            "name": atoms.info["ndsc_name"],
            "atoms": len(atoms),
            "force_rms": MILLI * float(np.sqrt(np.mean(change**2))),
            "force_max": MILLI * float(np.abs(change).max()),
            "energy": MILLI * float(energies[number] - energies.mean()),
            "virial_max": None if scatter is None else MILLI * float(scatter[number]),
            "seconds": label.seconds,
            "denser_seconds": other.seconds,
        }
        rows.append({with_unit(name): value for name, value in values.items()})
    return rows


def _stored(store: LabelStore, key: str) -> Label:
    label = store.get(key)
    if label is None:
        raise InputError(
            f"The label {key} of the database is damaged. ndsc labels verify {store.path} names all that are; the next "
            "ndsc run computes them again."
        )
    return label


def _changes(spec: CalculatorSpec, denser: CalculatorSpec) -> list[str]:
    lines = []
    for line in differences(settings_of(spec), settings_of(denser)):
        old, _, new = line.removesuffix(" here").partition(" there, ")
        lines.append(f"{old} in the database, {new} to check against")
    return lines
