"""A run whose reference gives some labels of another state: they are named, kept apart and not fitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.io import read

from ndsc.config import load_config
from ndsc.results import read_results
from ndsc.workflow import run_workflow

pytestmark = pytest.mark.gap

#: Below this volume of an atom (16.4 Å³ in the crystal) the reference falls into another state, of random forces.
COLLAPSED = 15.8

CALCULATOR = f"""
import numpy as np
from ase.calculators.emt import EMT


class Collapsing(EMT):
    def calculate(self, atoms=None, properties=None, system_changes=()):
        super().calculate(atoms, properties or ["energy"], system_changes)
        if atoms.get_volume() / len(atoms) < {COLLAPSED}:
            wrong = np.random.default_rng(len(atoms)).normal(scale=0.5, size=(len(atoms), 3))
            self.results["forces"] = self.results["forces"] + wrong - wrong.mean(axis=0)
            self.results["stress"] = self.results["stress"] + 0.02


def make():
    return Collapsing()
"""

INPUT = """
[crystal]
structure = "Al"

[supercells]
grid = [2, 2, 2]

[reference]
calculator = "collapsing:make"

[selection]
max_labels = 12
target_thz = 1e-4

[fit]
cutoff = 4.5
n_max = 4
l_max = 4
n_sparse = 60
"""


def test_labels_of_another_state_are_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda directory: directory)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "collapsing.py").write_text(CALCULATOR)
    (tmp_path / "al.toml").write_text(INPUT)
    run_workflow(load_config(tmp_path / "al.toml"), tmp_path / "run")

    results = read_results(tmp_path / "run")
    selection = results.selection
    assert selection is not None
    outliers = read(tmp_path / "run" / "outliers.extxyz", ":")
    names = [frame.info["ndsc_name"] for frame in outliers]
    assert names == selection.outliers
    assert 1 <= len(names) <= selection.labels / 4
    assert all(frame.get_volume() / len(frame) < COLLAPSED for frame in outliers)
    fitted = [frame.info["ndsc_name"] for frame in read(tmp_path / "run" / "database.extxyz", ":")]
    assert sorted([*fitted, *names]) == sorted(selection.order)
    assert sum(part.configurations for part in results.fit.errors.values()) >= len(fitted)  # type: ignore[union-attr]
    assert results.fit.errors["all"].configurations == len(fitted)  # type: ignore[union-attr]
    for name in names:
        assert any(name in text and "all others" in text for text in results.warnings)
    # The potential is that of the state of the crystal.
    assert results.phonons is not None
    assert results.phonons.rmse_mesh_thz is not None
    assert results.phonons.rmse_mesh_thz < 0.15
