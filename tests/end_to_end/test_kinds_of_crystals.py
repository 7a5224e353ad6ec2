"""The examples of other kinds of crystals run, made smaller, each with the verdict that is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from ndsc.config import load_config
from ndsc.report.verdict import verdict_of
from ndsc.workflow import run_workflow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: What is smaller than in the example: supercells, configurations, and settings of the fit.
SMALLER = {
    "nacl-born": ([2, 2, 2], {"per_supercell": 8}, {"n_sparse": 200}),
    "antiferromagnet": ([2, 2, 2], {"per_supercell": 4, "unit_cells": 5}, {"n_sparse": 100, "n_max": 6, "l_max": 4}),
    "graphene": ([2, 2, 1], {"per_supercell": 12}, {"n_sparse": 200, "n_max": 8, "l_max": 6}),
    "rutile": ([1, 1, 1], {"per_supercell": 1}, {"n_sparse": 150, "n_max": 6, "l_max": 4}),
    "spinel": ([1, 1, 1], {"per_supercell": 1}, {"n_sparse": 150, "n_max": 5, "l_max": 3}),
}


def small(name, tmp_path):
    grid, configurations, fit = SMALLER[name]
    config = load_config(EXAMPLES / f"{name}.toml")
    return config.replaced(
        supercells=config.supercells.replaced(grid=grid),
        configurations=tuple(part.replaced(unlabelled=0, **configurations) for part in config.configurations),
        fit=config.fit.replaced(**fit),
        phonons=config.phonons.replaced(dos_mesh=[6, 6, 6]),
        executor=config.executor.replaced(workers=1),
        reference=config.reference.replaced(labels=tmp_path / "labels"),
    )


@pytest.mark.gap
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALLER))
def test_an_example_and_its_verdict(tmp_path, monkeypatch, request, name):
    monkeypatch.chdir(EXAMPLES)
    if name not in ("graphene", "rutile"):  # a sheet, and a polar crystal, are drawn
        request.getfixturevalue("no_figures")
    results = run_workflow(small(name, tmp_path), tmp_path / "run")
    found = verdict_of(results)
    assert found.word.startswith("Within"), f"{found} {results.diagnosis}"
    assert found.causes == ()
    assert bool(results.phonons.polar) == (name in ("nacl-born", "rutile", "spinel"))
    assert results.elastic_unit == ("N/m" if name == "graphene" else "GPa")
    assert (results.crystal.magnetic_group is not None) == (name == "antiferromagnet")


@pytest.mark.gap
@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_poor_potential_and_its_cause(tmp_path, monkeypatch):
    """Rutile without displaced unit cells: nothing says how the atoms of its unit cell relax."""
    monkeypatch.chdir(EXAMPLES)
    config = small("rutile", tmp_path)
    part = config.configurations[0].replaced(per_supercell=3, unit_cells=6, unit_cell_displacement=0.0)
    results = run_workflow(config.replaced(configurations=(part,)), tmp_path / "run")
    found = verdict_of(results)
    assert found.word.startswith("Not within")
    assert results.diagnosis.displaced_unit_cells == 0
    assert "unit cells" in [cause.name for cause in found.causes]
    assert any("unit_cell_displacement" in cause.advice for cause in found.causes)
    assert "Likely cause" in (tmp_path / "run" / "report.html").read_text()
