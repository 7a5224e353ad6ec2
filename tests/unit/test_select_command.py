"""``ndsc select``: from an input file and from a database, what it writes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

import ndsc.fit.executable
from ndsc import ElasticTarget, PhononTarget, find_supercells, select_configurations
from ndsc.cli import app
from ndsc.config import load_config
from ndsc.configurations import remake_configuration
from ndsc.reference import CalculatorSpec, LabelStore, compute_label
from ndsc.selection import GapModel, make_candidates
from ndsc.workflow.plan import make_plan

FIT = """
[fit]
cutoff = 4.0
n_max = 3
l_max = 2
n_sparse = 30
"""
INPUT = f"""
[crystal]
structure = "Al"
a = 4.0
relax = false
[supercells]
grid = 2
[reference]
calculator = "emt"
[selection]
candidates = 60
max_labels = 6
{FIT}
"""
ERRORS = ("predicted_rmse_thz", "predicted_elastic_percent")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("al.toml").write_text(INPUT)
    Path("fit.toml").write_text(FIT)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["select", *map(str, arguments), "--workers", "1"], catch_exceptions=False)


def chosen(*arguments: object) -> dict[str, Any]:
    found = call(*arguments, "--json")
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def refused(*arguments: object) -> str:
    found = call(*arguments)
    assert found.exit_code == 2, found.output
    return " ".join(found.stderr.split())


@pytest.fixture
def _quippy() -> None:
    pytest.importorskip("quippy")


def label_some(n: int) -> list[Atoms]:
    """Labels in the store of the run, of its unit cell and some candidates."""
    plan = make_plan(load_config(Path("al.toml")), Path("al"))
    frames = [*plan.perfect_unit_cells, *plan.candidates[:: max(1, len(plan.candidates) // n)]][:n]
    store = LabelStore("al/labels")
    for number, frame in enumerate(frames):
        compute_label(frame, CalculatorSpec("emt"), store)
        path = store.path_of(store.key_of(frame, CalculatorSpec("emt")))
        assert path.is_file(), number
    return frames


@pytest.fixture
def database() -> list[Atoms]:
    """A database of someone's own, with stresses."""
    frames = []
    for number, frame in enumerate(make_candidates(find_supercells(bulk("Al", a=4.0), 2), 60, seed=7)[::4]):
        bare = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
        bare.calc = EMT()
        bare.info = {"energy_of": float(bare.get_potential_energy()), "number": number}
        bare.info["stress_of"] = bare.get_stress(voigt=False).reshape(9)
        bare.arrays["forces_of"] = bare.get_forces()
        bare.calc = None
        frames.append(bare)
    write("own.extxyz", frames)
    write("cell.cif", bulk("Al", a=4.0))
    return frames


OWN = ("--structure", "cell.cif", "--grid", 2, "--settings", "fit.toml")
KEYS = ("--energy-key", "energy_of", "--forces-key", "forces_of", "--stress-key", "stress_of")


@pytest.mark.usefixtures("_quippy")
def test_an_order_without_any_label() -> None:
    found = chosen("al.toml", "--labels", 4)
    assert len(found["order"]) == 4
    assert found["labelled"] == 0
    assert found["before"]["assumed"]
    assert found["cost_unit"] == "cheapest label"
    assert found == json.loads(Path("al/selection/selection.json").read_text())
    assert not Path("al/labels").exists()
    for name in ERRORS:
        values = [found["before"][name], *(row[name] for row in found["order"])]
        assert values[-1] < 0.5 * values[0]
    frames = read("al/selection/chosen.extxyz", ":")
    assert [frame.info["ndsc_name"] for frame in frames] == [row["name"] for row in found["order"]]
    for frame in frames:
        again = remake_configuration(bulk("Al", a=4.0), frame.info)
        assert np.allclose(again.positions, frame.positions, atol=2e-8)
    totals = np.cumsum([row["cost"] for row in found["order"]])
    assert totals == pytest.approx([row["total_cost"] for row in found["order"]], rel=1e-3)
    assert chosen("al.toml", "--labels", 4) == found
    table = call("al.toml", "--labels", 4, "--out", "elsewhere")
    assert table.exit_code == 0
    assert Path("elsewhere/chosen.extxyz").is_file()
    assert list(Path("elsewhere/rows").glob("*.npy"))


@pytest.mark.usefixtures("_quippy")
def test_labels_in_the_store_count_as_there_and_none_is_computed() -> None:
    labelled = label_some(6)
    files = sorted(Path("al/labels").rglob("*"))
    found = chosen("al.toml", "--labels", 3)
    assert sorted(Path("al/labels").rglob("*")) == files
    assert found["labelled"] == 6
    assert found["cost_unit"] == "s"
    assert not {frame.info["ndsc_name"] for frame in labelled} & {row["name"] for row in found["order"]}
    # The same by hand.
    plan = make_plan(load_config(Path("al.toml")), Path("al"))
    names = {str(frame.info["ndsc_name"]) for frame in labelled}
    candidates = [f for f in [*plan.perfect_unit_cells, *plan.candidates] if f.info["ndsc_name"] not in names]
    with_labels = []
    for frame in labelled:
        copy = frame.copy()
        copy.calc = EMT()
        copy.info["REF_energy"] = copy.get_potential_energy()
        copy.info["REF_virial"] = (-copy.get_volume() * copy.get_stress(voigt=False)).ravel()
        copy.arrays["REF_forces"] = copy.get_forces()
        copy.calc = None
        with_labels.append(copy)
    targets = [PhononTarget(plan.crystal, 2, 0.05), ElasticTarget(plan.crystal)]
    model = GapModel("al/sparse-points/gap.xml")
    by_hand = select_configurations(candidates, model, targets, n=3, labelled=with_labels)
    assert [row["candidate"] for row in found["order"]] == list(by_hand.order)
    assert [row["predicted_rmse_thz"] for row in found["order"]] == pytest.approx(by_hand.predicted_rmse_thz, rel=1e-3)


@pytest.mark.usefixtures("_quippy")
def test_targets_and_seconds_end_the_choice() -> None:
    label_some(8)
    first = chosen("al.toml", "--labels", 6)["order"]
    target = 1.02 * first[1]["predicted_rmse_thz"]
    found = chosen("al.toml", "--target-thz", target)
    assert found["target_met"]
    assert found["order"][-1]["predicted_rmse_thz"] <= target
    assert all(row["predicted_rmse_thz"] > target for row in found["order"][:-1])
    met = chosen("al.toml", "--target-thz", 1000, "--target-elastic", 1000)
    assert met["target_met"]
    assert met["order"] == []
    seconds = 3.5 * max(row["cost"] for row in first)
    found = chosen("al.toml", "--seconds", seconds)
    assert len(found["order"]) >= 1
    assert found["order"][-1]["total_cost"] <= seconds * 1.001
    assert "are too few" in refused("al.toml", "--seconds", 1e-9)
    # Without anything, what the input file says: at most six.
    assert len(chosen("al.toml")["order"]) <= 6


@pytest.mark.usefixtures("_quippy")
def test_seconds_need_a_label_that_says_how_long_one_takes() -> None:
    assert "no label has a recorded time" in refused("al.toml", "--seconds", 60)


@pytest.mark.usefixtures("_quippy")
def test_more_than_there_are() -> None:
    Path("al.toml").write_text(INPUT + "[configurations]\nper_supercell = 2\nunlabelled = 0\n")
    found = chosen("al.toml", "--labels", 1000)
    assert len(found["order"]) == found["candidates"]
    assert len({row["name"] for row in found["order"]}) == found["candidates"]
    assert "all candidates" in found["reason"]


def test_a_dry_run_computes_and_writes_nothing() -> None:
    pytest.importorskip("quippy")
    found = chosen("al.toml", "--dry-run")
    assert not Path("al").exists()
    plan = make_plan(load_config(Path("al.toml")), Path("al"))
    assert found["candidates"] == len(plan.configurations)
    assert found["weights"] == 30
    assert 0 < found["row_seconds"][0] <= found["row_seconds"][1]
    assert found["memory_gb"] > 0.1
    assert call("al.toml", "--dry-run").exit_code == 0


@pytest.mark.usefixtures("_quippy")
def test_frames_of_a_database_are_chosen_without_their_labels(database: list[Atoms]) -> None:
    found = chosen("--database", "own.extxyz", *OWN, *KEYS, "--labels", 5)
    assert (found["candidates"], found["labelled"]) == (len(database), 0)
    kept = read("selection/chosen.extxyz", ":")
    for row, frame in zip(found["order"], kept, strict=True):
        assert frame.info["number"] == row["candidate"]
        assert frame.info["REF_energy"] == pytest.approx(database[row["candidate"]].info["energy_of"])
    for frame in database:
        frame.info.pop("energy_of")
        frame.info.pop("stress_of")
        del frame.arrays["forces_of"]
    write("own.extxyz", database)
    bare = chosen("--database", "own.extxyz", *OWN, "--labels", 5, "--out", "bare")
    assert [row["candidate"] for row in bare["order"]] == [row["candidate"] for row in found["order"]]


@pytest.mark.usefixtures("_quippy")
def test_a_database_is_completed_from_new_configurations_and_its_unlabelled_frames(database: list[Atoms]) -> None:
    for frame in database[:3]:
        frame.info.pop("energy_of")
        frame.info.pop("stress_of")
        del frame.arrays["forces_of"]
    write("own.extxyz", database)
    complete = ("--database", "own.extxyz", *OWN, *KEYS, "--complete", "--candidates", 40)
    found = chosen(*complete, "--labels", 3)
    new = len(make_candidates(find_supercells(bulk("Al", a=4.0), 2), 40))
    assert (found["candidates"], found["labelled"]) == (3 + new, len(database) - 3)
    without = chosen("--database", "own.extxyz", *OWN, *KEYS, "--labels", 3)
    assert found["before"]["predicted_rmse_thz"] < 0.75 * without["before"]["predicted_rmse_thz"]
    estimate = chosen(*complete, "--dry-run")
    assert (estimate["candidates"], estimate["labelled"]) == (3 + new, len(database) - 3)


@pytest.mark.usefixtures("_quippy")
def test_identical_candidates_tell_nothing_after_the_first() -> None:
    atoms = make_candidates(find_supercells(bulk("Al", a=4.0), 2), 60)[-1]
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    write("own.extxyz", [copy] * 6)
    write("cell.cif", bulk("Al", a=4.0))
    found = chosen("--database", "own.extxyz", *OWN, "--labels", 4)
    assert len(found["order"]) == 1
    assert "reduce the errors no further" in found["reason"]


def test_databases_that_cannot_be_chosen_from(database: list[Atoms]) -> None:
    here = ("--database", "own.extxyz", *OWN)
    foreign = bulk("Cu")
    write("own.extxyz", [*database, foreign])
    message = refused(*here, *KEYS, "--labels", 2)
    assert f"{len(database)}" in message
    assert "Cu" in message
    write("own.extxyz", database)
    assert "energie" in refused(*here, "--energy-key", "energie", "--labels", 2)
    assert "energy_of" in refused(*here, "--labels", 2)
    Path("own.extxyz").write_text("")
    refused(*here, "--labels", 2)
    write("own.extxyz", Atoms("Al", cell=[20, 20, 20], pbc=True, info={"config_type": "isolated_atom"}))
    assert "isolated atoms" in refused(*here, "--labels", 2)
    assert "no labels to complete" in refused(*here, "--complete", "--labels", 2)
    refused("--database", "not-there.extxyz", *OWN, "--labels", 2)


def test_arguments_that_do_not_fit_together(database: list[Atoms]) -> None:
    assert "--database" in refused("--labels", 2)
    assert "one of the two" in refused("al.toml", "--database", "own.extxyz", *OWN)
    assert "--structure" in refused("--database", "own.extxyz", "--grid", 2)
    assert "--grid, --complete" in refused("al.toml", "--grid", 2, "--complete")
    assert "--complete" in refused("--database", "own.extxyz", *OWN, "--candidates", 5)
    assert "--target-thz" in refused("al.toml", "--target-thz", -1)
    assert "--seconds" in refused("al.toml", "--seconds", 0)
    assert "--labels" in refused("al.toml", "--labels", 0)
    Path("al.toml").write_text(INPUT.replace("[fit]", '[fit]\nmethod = "none"').replace("[selection]", "[elastic]")
                               .replace("candidates = 60\nmax_labels = 6", ""))  # fmt: skip
    assert "makes no potential" in refused("al.toml", "--labels", 2)
    assert not Path("al").exists()


def test_quippy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndsc.fit.executable.importlib.util, "find_spec", lambda name: None)
    assert "ndsc[gap]" in refused("al.toml", "--labels", 2)
    assert "ndsc[gap]" in refused("al.toml", "--dry-run")


def test_an_unrelaxed_crystal_is_told() -> None:
    pytest.importorskip("quippy")
    Path("al.toml").write_text(INPUT.replace("relax = false", "relax = true"))
    found = call("al.toml", "--labels", 1)
    assert found.exit_code == 0
    assert "not relaxed yet" in " ".join(found.stderr.split())
    assert not Path("al/labels").exists()


def test_nothing_is_left_to_choose() -> None:
    Path("al.toml").write_text(INPUT + "[configurations]\nper_supercell = 1\nunlabelled = 0\n")
    plan = make_plan(load_config(Path("al.toml")), Path("al"))
    label_some(len(plan.configurations))
    assert "none is left" in refused("al.toml", "--labels", 2)
