"""``ndsc select`` of several crystals: one order for all of them, and the errors of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ase.io import read
from typer.testing import CliRunner

from ndsc.cli.app import app
from ndsc.config import SeveralConfig, load_config, load_run
from ndsc.database import make_database
from ndsc.errors import InputError
from ndsc.potentials.registry import fitter_of
from ndsc.reference import CalculatorSpec, LabelStore
from ndsc.reference.labelling import label_configurations
from ndsc.selection import Selector
from ndsc.selection.prediction import predict_errors
from ndsc.workflow.joint import JointPlan, make_joint_plan
from ndsc.workflow.preview import preview_of_run
from ndsc.workflow.selection import targets_of_plan

INPUT = """
[[crystal]]
name = "fcc"
structure = "Cu"
relax = false

[[crystal]]
name = "bcc"
structure = "Cu"
lattice = "bcc"
a = 2.86
relax = false
supercells = {grid = [2, 2, 1]}

[supercells]
grid = 2
[selection]
candidates = 40
[fit]
cutoff = 4.5
n_max = 4
l_max = 3
n_sparse = 60
[elastic]
enabled = true
"""
NAMES = ("predicted_rmse_thz", "predicted_elastic_percent")

pytestmark = [pytest.mark.gap]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("quippy")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cu.toml").write_text(INPUT)
    return tmp_path


def plan_and_labels(folder: Path, n: int) -> tuple[JointPlan, list[Any]]:
    config = load_run(folder / "cu.toml")
    assert isinstance(config, SeveralConfig)
    plan = make_joint_plan(config, folder / "cu", compute=False)
    some = [*plan.perfect_unit_cells, *plan.candidates[::17]][:n]
    report = label_configurations(some, CalculatorSpec("emt"), LabelStore(folder / "cu" / "labels"))
    return plan, make_database(some, report.labels)


def chosen(*arguments: object) -> dict[str, Any]:
    found = CliRunner().invoke(app, ["select", *map(str, arguments), "--json"])
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def test_one_order_for_all_crystals_and_the_errors_of_each(folder: Path) -> None:
    plan, labelled = plan_and_labels(folder, 6)
    found = chosen("cu.toml", "--labels", 3)
    assert found["labelled"] == 6
    assert found["candidates"] == len(plan.candidates) - 4
    assert {name: one["space_group"]["number"] for name, one in found["crystals"].items()} == {"fcc": 225, "bcc": 229}
    assert "space_group" not in found
    # The same by hand, with targets of each crystal.
    potential = plan.potential
    basis = fitter_of(potential).basis(
        [*plan.perfect_unit_cells, *plan.candidates], folder / "cu" / "sparse-points", potential
    )
    targets = {str(one.name): targets_of_plan(one) for one in plan.each}
    names = {frame.info["ndsc_name"] for frame in labelled}
    left = [frame for frame in plan.candidates if frame.info["ndsc_name"] not in names]
    selector = Selector(
        basis, left, [target for own in targets.values() for target in own], unit="labels",
        e0=preview_of_run(load_run(folder / "cu.toml"), folder / "cu").single_atoms,
    )  # fmt: skip
    selector.add(labelled)
    order = [left[number].info["ndsc_name"] for number in selector.choose(3, exchange=True).order]
    assert [row["name"] for row in found["order"]] == order
    for name, own in targets.items():
        errors = predict_errors(selector.posterior, own, factors=selector.factors)
        entry = found["before"]["crystals"][name]
        assert entry[NAMES[0]] == pytest.approx(errors.rmse_thz, rel=1e-4)
        # Draws of the largest error are those of the same directions, up to rounding.
        assert entry[NAMES[1]] == pytest.approx(errors.elastic_percent, rel=1e-3)
    for row in [found["before"], *found["order"]]:
        for name in NAMES:
            assert row[name] == pytest.approx(max(own[name] for own in row["crystals"].values()), abs=1e-6)
    frames = read(folder / "cu" / "selection" / "chosen.extxyz", ":")
    assert [frame.info["ndsc_crystal"] for frame in frames] == [name.split("-")[0] for name in order]
    table = CliRunner().invoke(app, ["select", "cu.toml", "--labels", "2"])
    assert table.exit_code == 0, table.output
    assert "fcc: Cu, 1 atom, Fm-3m (225)" in table.output


def test_targets_hold_for_every_crystal(folder: Path) -> None:
    plan_and_labels(folder, 8)
    found = chosen("cu.toml", "--target-thz", 0.2, "--labels", 30)
    assert found["target_met"]
    last = found["order"][-1]["crystals"]
    assert max(one[NAMES[0]] for one in last.values()) <= 0.2
    earlier = [found["before"], *found["order"]][-2]["crystals"]
    assert max(one[NAMES[0]] for one in earlier.values()) > 0.2


def test_a_dry_run_of_several_crystals(folder: Path) -> None:
    found = CliRunner().invoke(app, ["select", "cu.toml", "--labels", "3", "--dry-run"])
    assert found.exit_code == 0, found.output
    assert "bcc: Cu, 1 atom, Im-3m (229)" in found.output
    assert not (folder / "cu").exists()


def test_commands_that_take_one_crystal(folder: Path) -> None:
    with pytest.raises(InputError, match="load_run reads several, and load_one one of them"):
        load_config(folder / "cu.toml")
