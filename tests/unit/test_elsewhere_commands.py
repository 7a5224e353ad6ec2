"""``ndsc phonons`` and ``ndsc elastic`` with calculations that run elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from ndsc.cli.app import app

RUNNER = CliRunner()


def emt_on_the_cluster(folder: Path) -> None:
    for path in folder.glob("*/structure.extxyz"):
        if not (path.parent / "result.extxyz").exists():
            atoms = read(path)
            atoms.calc = EMT()
            atoms.get_forces(), atoms.get_stress()
            write(path.parent / "result.extxyz", atoms)


def invoke(*arguments, code=0):
    found = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == code, found.output
    return found


@pytest.mark.parametrize("more", [[], ["--diagonal"]], ids=["minimal", "diagonal"])
def test_phonons(tmp_path, more):
    calc = tmp_path / "calc"
    command = ["phonons", "Al", "-a", "3.994", "--grid", "2", *more]
    invoke(*command, "--write", calc, "--code", "extxyz")
    assert "missing for the next step" in invoke(*command, "--read", calc, code=3).output
    emt_on_the_cluster(calc)
    there = json.loads(invoke(*command, "--read", calc, "--json").stdout)
    here = json.loads(invoke(*command, "--calculator", "emt", "--json").stdout)
    for point, true in zip(there["special_points"], here["special_points"], strict=True):
        np.testing.assert_allclose(point["frequencies_thz"], true["frequencies_thz"], atol=1e-4)


def test_elastic_constants_of_a_crystal_that_is_relaxed_first(tmp_path):
    calc = tmp_path / "calc"
    command = ["elastic", "Al", "--relax"]
    for _ in range(12):
        invoke(*command, "--write", calc, "--code", "extxyz")
        emt_on_the_cluster(calc)
        found = RUNNER.invoke(app, [*command, "--read", str(calc), "--json"])
        if found.exit_code == 0:
            break
        assert found.exit_code == 3
    there = json.loads(found.stdout)["constants"]
    here = json.loads(invoke(*command, "--calculator", "emt", "--json").stdout)["constants"]
    assert there == pytest.approx(here, abs=1e-3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--write", "calc", "--read", "calc"], "two steps"),
        (["--code", "vasp"], "--code can only be used with --write"),
        (["--write", "calc"], "--code is missing"),
        (["--read", "calc"], "There is no folder calc"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    assert said in invoke("elastic", "Al", *more, code=2).output
