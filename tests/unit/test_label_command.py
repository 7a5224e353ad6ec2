"""``ndsc labels``."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import read
from typer.testing import CliRunner

from ndsc.cli import app
from ndsc.reference import CalculatorSpec, LabelStore, compute_label

EMT = CalculatorSpec("emt")
OTHER = CalculatorSpec("emt", {"asap_cutoff": True})


@pytest.fixture
def run_directory(tmp_path):
    """Three labels with one settings, one with others."""
    store = LabelStore(tmp_path / "run" / "labels")
    for index, shift in enumerate((0.0, 0.1, 0.2)):
        compute_label(structure(index, shift), EMT, store)
    compute_label(structure(3, 0.1), OTHER, store)
    return tmp_path / "run"


def structure(index, shift):
    atoms = bulk("Al", cubic=True)
    atoms.positions[0, 0] += shift
    atoms.info["ndsc_name"] = f"c{index}"
    return atoms


def call(*arguments):
    return CliRunner().invoke(app, ["labels", *map(str, arguments)])


def damage_one(run_directory):
    path = sorted((run_directory / "labels").glob("*.json"))[0]
    path.write_text(path.read_text()[:100])
    return path


@pytest.mark.parametrize("command", ["status", "list", "verify", "show", "prune", "export"])
def test_help_has_examples(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"ndsc labels {command} " in result.stdout


def test_status(run_directory):
    result = call("status", run_directory)
    assert result.exit_code == 0
    assert "4 labels" in result.stdout
    assert "asap_cutoff=True" in result.stdout
    found = json.loads(call("status", run_directory / "labels", "--json").stdout)
    assert found["labels"] == 4
    assert sorted(entry["labels"] for entry in found["settings"].values()) == [1, 3]
    assert not found["problems"]


def test_status_shows_who_computes(run_directory):
    store = LabelStore(run_directory / "labels")
    claim = store.claims.acquire("a" * 64, "s01-0003")
    text = call("status", run_directory).stdout
    assert "s01-0003" in text
    assert str(os.getpid()) in text
    assert json.loads(call("status", run_directory, "--json").stdout)["claims"][0]["alive"]
    claim.release()


def test_list(run_directory):
    rows = json.loads(call("list", run_directory, "--json").stdout)
    assert sorted(row["name"] for row in rows) == ["c0", "c1", "c2", "c3"]
    settings = next(row["settings"] for row in rows if row["name"] == "c3")
    assert "1 labels" in call("list", run_directory, "--settings", settings).stdout


def test_time_of_processors_where_all_labels_have_it(run_directory):
    store = LabelStore(run_directory / "labels")
    labels = [store.get(key) for key in list(store.keys())]
    for number, label in enumerate(labels):
        store.put(label.key, replace(label, cpu_seconds=10.0 * (number + 1)))
    assert json.loads(call("status", run_directory, "--json").stdout)["cpu_seconds"] == 100.0
    assert "2 min of processors" in call("status", run_directory).stdout
    rows = json.loads(call("list", run_directory, "--json").stdout)
    assert [row["cpu_seconds"] for row in rows] == [10.0, 20.0, 30.0, 40.0]
    assert "20 s of processors" in call("show", run_directory, labels[1].key).stdout
    store.put(labels[0].key, replace(labels[0], cpu_seconds=None))
    assert json.loads(call("status", run_directory, "--json").stdout)["cpu_seconds"] is None
    assert json.loads(call("list", run_directory, "--json").stdout)[0]["cpu_seconds"] is None
    assert "processors" not in call("show", run_directory, labels[0].key).stdout


def test_verify(run_directory):
    assert call("verify", run_directory).exit_code == 0
    path = damage_one(run_directory)
    result = call("verify", run_directory)
    assert result.exit_code == 3
    assert path.name in result.stdout
    assert path.exists()
    assert json.loads(call("verify", run_directory, "--json").stdout)["good"] == 3


def test_show(run_directory):
    store = LabelStore(run_directory / "labels")
    first, fourth = store.key_of(structure(0, 0.0), EMT), store.key_of(structure(3, 0.1), OTHER)
    text = call("show", run_directory, first[:10]).stdout
    assert first in text
    assert "free energy" in text
    assert json.loads(call("show", run_directory, first, "--json").stdout)["structure"]["symbols"] == ["Al"] * 4
    compared = call("show", run_directory, first, fourth).stdout
    assert "parameters.asap_cutoff: not given there, true here" in compared
    assert json.loads(call("show", run_directory, first, first, "--json").stdout) == []
    assert "are the same" in call("show", run_directory, first, first).stdout
    missing = call("show", run_directory, "zzz")
    assert missing.exit_code == 2
    assert "No label begins with 'zzz'" in missing.stderr


def test_prune(run_directory):
    labels = run_directory / "labels"
    store = LabelStore(labels)
    path = damage_one(run_directory)
    assert store.get(path.stem) is None
    (labels / "failed" / "x").mkdir(parents=True)
    claim = store.claims.acquire("a" * 64)
    text = store.claims.path_of("a" * 64).read_text()
    claim.release()
    store.claims.path_of("a" * 64).write_text(text.replace(f'"pid": {os.getpid()}', '"pid": 999999999'))
    said = call("prune", run_directory)
    assert "3 would be removed" in said.stderr
    assert path.with_suffix(".damaged").exists()
    assert "3 removed" in call("prune", run_directory, "--yes").stdout
    assert not path.with_suffix(".damaged").exists()
    assert not list(store.claims.all())
    assert len(list(store.keys())) == 3


def test_prune_by_settings(run_directory):
    settings = json.loads(call("status", run_directory, "--json").stdout)["settings"]
    wanted = next(name for name, entry in settings.items() if entry["labels"] == 1)
    store = LabelStore(run_directory / "labels")
    store.derived.mkdir()
    starts = {"gone": store.key_of(structure(3, 0.1), OTHER), "kept": store.key_of(structure(1, 0.1), EMT)}
    for name, start in starts.items():
        (store.derived / f"{name}.json").write_text(json.dumps({"of": {"start": start}, "result": {}}))
    (store.derived / "damaged.json").write_text("{")
    (store.path / "settings").mkdir()
    for name in settings:
        (store.path / "settings" / f"{name}.json").write_text("{}")
    pruned = call("prune", run_directory, "--settings", wanted, "--yes")
    assert pruned.exit_code == 0
    assert "3 removed" in pruned.stdout
    assert len(list(store.keys())) == 3
    assert {path.stem for path in store.derived.iterdir()} == {"kept", "damaged"}
    assert [path.stem for path in (store.path / "settings").iterdir()] == [name for name in settings if name != wanted]
    wrong = call("prune", run_directory, "--settings", wanted)
    assert wrong.exit_code == 2
    assert "Choose one of" in wrong.stderr


def test_export_to_an_ase_database(run_directory, tmp_path):
    file = tmp_path / "labels.db"
    damage_one(run_directory)
    assert "3 labels written" in call("export", run_directory, file).stdout
    with connect(file) as database:
        rows = list(database.select())
    assert len(rows) == 3
    store = LabelStore(run_directory / "labels")
    for row in rows:
        label = store.get(row.label)
        assert row.energy == label.energy
        assert np.array_equal(row.forces, label.forces)
        assert np.allclose(row.stress, label.stress)
        assert row.data["provenance"]["calculator"] == "emt"
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)


def test_export_to_extended_xyz(run_directory, tmp_path):
    file = tmp_path / "labels.xyz"
    assert call("export", run_directory, file).exit_code == 0
    assert "_JSON" not in file.read_text()
    store = LabelStore(run_directory / "labels")
    frames = read(file, ":")
    assert len(frames) == 4
    for atoms in frames:
        label = store.get(atoms.info["ndsc_key"])
        assert atoms.info["REF_energy"] == label.energy
        assert np.allclose(atoms.arrays["REF_forces"], label.forces)
        virial = np.asarray(atoms.info["REF_virial"]).reshape(3, 3)
        xx, yy, zz, yz, xz, xy = -atoms.get_volume() * label.stress
        assert np.allclose(virial, [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def test_export_of_nothing_or_to_an_unknown_format(run_directory, tmp_path):
    assert "Give a name that ends in" in call("export", run_directory, tmp_path / "labels.cif").stderr
    assert "no label to export" in call("export", run_directory, tmp_path / "x.xyz", "--settings", "none").stderr
    (tmp_path / "empty").mkdir()
    assert call("export", tmp_path / "empty", tmp_path / "x.db").exit_code == 2
    assert not (tmp_path / "x.db").exists()


def test_a_folder_that_is_not_there():
    result = call("status", Path("nowhere"))
    assert result.exit_code == 2
    assert "There is no folder" in result.stderr
