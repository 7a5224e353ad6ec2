"""The quickest example, through the program and from an empty folder, against what it must reach."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "al-emt.toml"


def program(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run ndsc as a user does, in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "ndsc", *args], cwd=folder, capture_output=True, text=True, check=False, timeout=500
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished demo."""
    pytest.importorskip("quippy")
    folder = tmp_path_factory.mktemp("demo")
    done = program(folder, "run", str(EXAMPLE), "--out", "demo")
    assert done.returncode == 0, done.stderr
    assert "Report: demo/report.html" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["demo"]
    return folder / "demo"


@pytest.fixture(scope="module")
def results(demo: Path) -> dict[str, Any]:
    """Its numbers."""
    found: dict[str, Any] = json.loads((demo / "results.json").read_text())
    return found


def test_the_database_is_small(results: dict[str, Any]) -> None:
    assert results["cost"]["labels"] <= 60
    assert results["labels"]["failures"] == []
    assert results["cost"]["relative_to_diagonal"] < 0.05
    assert results["supercells"]["cost"] == results["supercells"]["lower_bound"] == 320


def test_the_phonons_are_right(results: dict[str, Any]) -> None:
    phonons = results["phonons"]
    assert phonons["rmse_mesh_thz"] <= 0.03
    assert phonons["min_frequency_thz"] > -0.01
    assert phonons["dos_mesh"] == [40, 40, 40]


def test_the_elastic_constants_are_right(results: dict[str, Any]) -> None:
    assert set(results["elastic"]) >= {"C11", "C12", "C44"}
    for name, value in results["elastic"].items():
        assert abs(value["error_percent"]) <= 3, (name, value)


def test_the_fit_used_everything(results: dict[str, Any]) -> None:
    for name, counts in results["fit"]["counts"].items():
        assert counts["sent"] == counts["read"], name


def test_everything_is_in_the_folder(demo: Path) -> None:
    names = {path.name for path in demo.iterdir()}
    assert names >= {
        "ndsc.toml",
        "crystal.extxyz",
        "supercells.json",
        "configurations.extxyz",
        "labels",
        "database.extxyz",
        "potential",
        "phonons",
        "elastic.json",
        "results.json",
        "report.html",
        "figures",
        "ndsc.log",
    }
    assert not [path for path in demo.rglob("*") if path.name.endswith(".tmp")]


def test_the_report_opens_without_a_network(demo: Path) -> None:
    page = (demo / "report.html").read_text(encoding="utf-8")
    loaded = re.findall(r"""<(?:script|img|link|iframe)[^>]*(?:src|href)\s*=\s*["']([^"']+)""", page)
    assert [address for address in loaded if not address.startswith(("data:", "#"))] == []
    assert "@import" not in page


def test_a_second_run_computes_no_label_again(demo: Path) -> None:
    labels = {path: path.stat().st_mtime_ns for path in (demo / "labels").rglob("*.json")}
    first = (demo / "database.extxyz").read_bytes()
    done = program(demo.parent, "run", "demo/ndsc.toml", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["labels"]["reused"] == again["labels"]["requested"]
    assert {path: path.stat().st_mtime_ns for path in (demo / "labels").rglob("*.json")} == labels
    assert (demo / "database.extxyz").read_bytes() == first


def test_the_report_can_be_made_again(demo: Path) -> None:
    (demo / "report.html").unlink()
    done = program(demo.parent, "report", "demo")
    assert done.returncode == 0, done.stderr
    assert (demo / "report.html").is_file()


def test_a_dry_run_knows_the_labels(demo: Path) -> None:
    done = program(demo.parent, "run", str(EXAMPLE), "--out", "demo", "--dry-run")
    assert done.returncode == 0, done.stderr
    found = re.search(r"(\d+) of (\d+) are in", done.stdout)
    assert found is not None, done.stdout
    assert found[1] == found[2]


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "calculators_for_tests.py", tmp_path)
    (tmp_path / "al.toml").write_text(
        '[crystal]\nstructure = "Al"\nrelax = false\n[supercells]\ngrid = 2\n[configurations]\nper_supercell = 6\n'
        '[reference]\ncalculator = "calculators_for_tests:faulty"\nparameters = {how = "slow"}\n'
        '[fit]\nmethod = "none"\n'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "ndsc", "run", "al.toml"]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    labels = tmp_path / "al" / "labels"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None and not list(labels.rglob("*.json")):
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, messages = running.communicate(timeout=60)
    assert running.returncode == 130, messages
    assert "run the same command again" in messages
    assert "Traceback" not in messages
    kept = {path: path.stat().st_mtime_ns for path in labels.rglob("*.json")}
    assert kept
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = {path: path.stat().st_mtime_ns for path in labels.rglob("*.json")}
    assert len(after) > len(kept)
    assert {path: after[path] for path in kept} == kept
