"""A small study with EMT from labels to its page, and what a second run of it does."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from ndsc.claims import METRIC
from ndsc.cli import app
from ndsc.config import load_config
from ndsc.config.study import load_study
from ndsc.errors import FitError, MissingExtraError, ReferenceCalculationError
from ndsc.reference import StoredCalculator, label_configurations
from ndsc.study import run_study
from ndsc.workflow import make_plan
from ndsc.workflow.derived import elastic_through_store

pytestmark = pytest.mark.gap

RUN = """
[crystal]
structure = "Al"
[supercells]
grid = [2, 2, 2]
[configurations]
per_supercell = 3
unit_cells = 3
scale = [0.99, 1.0, 1.01]
unlabelled = 4
[reference]
calculator = "emt"
labels = "labels"
[executor]
workers = 1
[fit]
solver = "numpy"
cutoff = 4.5
n_max = 4
l_max = 3
n_sparse = 30
[phonons]
dos_mesh = [4, 4, 4]
"""
STUDY = """
[study]
title = "Supercells and unit cells"
claim = "Supercells are needed for phonons."
seeds = [1, 2]
verify = 1
[runs]
al = "al.toml"
[[potentials]]
name = "drawn"
select = {size = 6, always = "unit-0000"}
sparse_points = "database"
[[potentials]]
name = "whole"
sparse_points = "selected"
[[potentials]]
name = "unit cells"
select = {kind = "unit_cell"}
sparse_points = "selected"
[[checks]]
claim = "Supercells make phonons better"
test = "rmse_mesh_thz[whole] < rmse_mesh_thz[unit cells]"
[[checks]]
claim = "Nothing is wrong at all"
test = "rmse_mesh_thz[whole] < 1e-6"
[[figures]]
kind = "dispersion"
name = "dispersion"
potentials = ["whole", "unit cells"]
[[figures]]
kind = "learning"
name = "learning"
[[tables]]
kind = "metrics"
name = "numbers"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run's labels, without its potential."""
    path = tmp_path_factory.mktemp("study")
    (path / "al.toml").write_text(RUN)
    (path / "s.toml").write_text(STUDY)
    config = load_config(path / "al.toml")
    plan = make_plan(config, path)
    label_configurations(plan.to_label, plan.spec, plan.store)
    elastic_through_store(plan.crystal.atoms, StoredCalculator(plan.spec, plan.store), strain=0.005, relax_ions=True)
    return path


@pytest.fixture(scope="module")
def first(folder):
    return run_study(load_study(folder / "s.toml"), folder / "out")


def test_a_study_fits_judges_and_writes(folder, first):
    assert [str(outcome.variant) for outcome in first.outcomes] == [
        "drawn, seed 1", "drawn, seed 2", "whole", "unit cells",
    ]  # fmt: skip
    drawn, _, whole, cells = first.outcomes
    assert (drawn.metrics["n_labels"], whole.metrics["n_labels"], cells.metrics["n_labels"]) == (6, 9, 3)
    assert drawn.metrics["held_out_labels"] == 3
    assert drawn.metrics["held_out_force_rmse_ev_per_angstrom"] > drawn.metrics["train_force_rmse_ev_per_angstrom"]
    assert whole.value("rmse_mesh_thz", "al") < cells.value("rmse_mesh_thz", "al")
    reference = first.runs["al"].elastic["C11"]
    error = 100 * (whole.value("C11", "al") / reference - 1)
    assert whole.value("C11_error_percent", "al") == pytest.approx(error)
    assert whole.value("largest_elastic_error_percent", "al") >= abs(error)
    assert whole.value("a", "al") == pytest.approx(first.runs["al"].lattice["a"], abs=0.01)
    branches = [whole.value(f"branch_{number}_rmse_thz", "al") for number in (1, 2, 3)]
    assert np.sqrt(np.mean(np.square(branches))) == pytest.approx(whole.value("rmse_mesh_thz", "al"), rel=1e-6)
    known = {*whole.metrics, *whole.evaluations["al"].metrics}
    assert all(METRIC.fullmatch(name) for name in known), known
    assert [check.holds for check in first.checks] == [True, False]
    assert first.holds is False
    # The shared linear system gives what gap_fit gives with the same sparse points.
    assert max(first.verified.values()) < 1e-5

    out = folder / "out"
    page = (out / "study.md").read_text()
    assert "1 of 2 checks" in page
    # Four fits, one of them a second time as a check, and four evaluations.
    assert (first.time.results, first.time.earlier, first.time.not_recorded) == (9, 0, 0)
    assert 0 < first.time.fit_seconds + first.time.evaluation_seconds < first.seconds
    assert f"{first.time.sentence()} All numbers" in page
    assert "recorded" not in page
    for name in ("dispersion", "learning"):
        assert f"({name}.png)" in page
        assert {(out / f"{name}.{end}").is_file() for end in ("png", "pdf", "csv")} == {True}
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["1", "2", "", ""]
    assert float(rows[2]["rmse_mesh_thz"]) == pytest.approx(whole.value("rmse_mesh_thz", "al"), rel=1e-6)
    record = json.loads((out / "study.json").read_text())
    assert record["holds"] is False
    assert record["outcomes"][0]["labels"][0] == "al/unit-0000"
    assert not list(out.rglob(".ndsc-*"))


def test_a_second_run_fits_nothing_and_finds_the_same(folder, first, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a finished potential was fitted or judged again")

    for name in ("fit_gap", "GapCalculator"):
        monkeypatch.setattr(f"ndsc.study.fitting.{name}", refuse)
    monkeypatch.setattr("ndsc.study.run.evaluate_potential", refuse)
    table = (folder / "out" / "results.csv").read_bytes()
    again = CliRunner().invoke(
        app, ["study", str(folder / "s.toml"), "--out", str(folder / "out"), "--page", str(folder / "page.md")]
    )
    assert again.exit_code == 0, again.output
    assert "FAILS  Nothing is wrong at all" in again.output
    assert (folder / "out" / "results.csv").read_bytes() == table
    page = (folder / "page.md").read_text()
    assert "[Supercells and unit cells](#supercells-and-unit-cells)" in page
    assert "**does not hold** | " in page
    assert "| study | claim |  | fits and evaluations took |" in page
    assert (folder / "page" / "s" / "dispersion.png").is_file()


def test_a_second_run_tells_the_time_of_the_first(folder, first, tmp_path):
    shutil.copytree(folder / "out" / "cache", tmp_path / "cache")
    again = run_study(load_study(folder / "s.toml"), tmp_path)
    assert again.time.fit_seconds == pytest.approx(first.time.fit_seconds, abs=0.01)
    assert again.time.evaluation_seconds == pytest.approx(first.time.evaluation_seconds, abs=0.01)
    assert (again.time.results, again.time.earlier) == (9, 9)
    assert again.time.sentence() in (tmp_path / "study.md").read_text()
    assert json.loads((tmp_path / "study.json").read_text())["time"]["earlier"] == 9

    # Results of earlier versions have no time.
    files = sorted((tmp_path / "cache").glob("*.json"))
    for number, path in enumerate(files):
        content = json.loads(path.read_text())
        del content["took"]
        path.write_text(json.dumps(content))
        if number == 0:
            partly = run_study(load_study(folder / "s.toml"), tmp_path)
            assert (partly.time.earlier, partly.time.not_recorded) == (8, 1)
            assert "8 of the 9" in partly.time.sentence()
            assert "1 result is not recorded" in partly.time.sentence()
            assert partly.time.short().startswith("more than ")
    old = run_study(load_study(folder / "s.toml"), tmp_path)
    assert (old.time.results, old.time.not_recorded) == (9, 9)
    assert old.time.seconds is None
    assert old.time.short() == "not recorded"
    assert "not recorded" in (tmp_path / "study.md").read_text()


def test_a_dry_run_says_what_is_finished(folder, first, tmp_path):
    (tmp_path / "s.toml").write_text(
        STUDY.replace("size = 6", "size = 5").replace('"al.toml"', f'"{folder / "al.toml"}"')
    )
    for file, to_do in ((folder / "s.toml", 0), (tmp_path / "s.toml", 2)):
        result = CliRunner().invoke(app, ["study", str(file), "--out", str(folder / "out"), "--dry-run"])
        assert result.exit_code == 0, result.output
        assert f"{to_do} of 4 potentials" in result.output
        assert "unit cells" in result.output


def test_an_interrupted_study_goes_on_where_it_stopped(folder, first, monkeypatch, tmp_path):
    config = load_study(folder / "s.toml")
    calls = []

    def counted(model, run, *rest):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(run.name)
        return first.outcomes[len(calls) - 1].evaluations["al"]

    monkeypatch.setattr("ndsc.study.run.evaluate_potential", counted)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, tmp_path / "out")
    assert len(list((tmp_path / "out" / "cache").glob("evaluation-*"))) == 1
    assert not list((tmp_path / "out").rglob(".ndsc-*"))
    assert not (tmp_path / "out" / "study.json").exists()


def test_a_fit_that_fails_is_a_finding_and_not_the_end(folder, first, monkeypatch, tmp_path):
    shutil.copytree(folder / "out" / "cache", tmp_path / "cache")
    text = STUDY.replace('name = "unit cells"', 'name = "unit cells"\nfit = {n_max = 3}').replace(
        "verify = 1", "verify = 0"
    )
    (tmp_path / "s.toml").write_text(text.replace('"al.toml"', f'"{folder / "al.toml"}"'))

    def fail(*_, **__):
        raise FitError("gap_fit stopped. Do something.")

    monkeypatch.setattr("ndsc.study.fitting.fit_gap", fail)
    results = run_study(load_study(tmp_path / "s.toml"), tmp_path)
    assert [outcome.failure for outcome in results.outcomes] == [None, None, None, "gap_fit stopped. Do something."]
    assert results.checks[0].holds  # what has no phonons is worse than any
    assert "gap_fit stopped" in (tmp_path / "study.md").read_text()


def test_missing_labels_of_the_reference_stop_a_study_before_any_fit(folder, tmp_path):
    for path in (folder / "labels").rglob("*.json"):
        target = tmp_path / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "al.toml").write_text(RUN)
    (tmp_path / "s.toml").write_text(STUDY)
    plan = make_plan(load_config(tmp_path / "al.toml"), tmp_path, compute=False)
    plan.store.path_of(plan.store.key_of(plan.phonon_frames[-1], plan.spec)).unlink()
    with pytest.raises(ReferenceCalculationError, match=r"no phonons .* has no label.*ndsc run"):
        run_study(load_study(tmp_path / "s.toml"), tmp_path / "out")
    result = CliRunner().invoke(app, ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 3


def test_a_package_that_is_missing_is_asked_for_before_any_fit_of_any_study(folder, first, monkeypatch, tmp_path):
    other = STUDY.replace('name = "whole"', 'name = "whole"\nfit = {method = "polymlp"}')
    for name, text in (("one", STUDY.replace("size = 6", "size = 5")), ("two", other)):
        (tmp_path / f"{name}.toml").write_text(text.replace('"al.toml"', f'"{folder / "al.toml"}"'))
    monkeypatch.setitem(sys.modules, "pypolymlp", None)
    files = [str(tmp_path / "one.toml"), str(tmp_path / "two.toml")]
    result = CliRunner().invoke(app, ["study", *files, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "pip install 'ndsc[polymlp]'" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()
    with pytest.raises(MissingExtraError, match="pypolymlp"):
        run_study(load_study(tmp_path / "two.toml"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_finished_study_needs_no_package(folder, first, monkeypatch, tmp_path):
    shutil.copytree(folder / "out" / "cache", tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "quippy", None)
    assert run_study(load_study(folder / "s.toml"), tmp_path).frame.equals(first.frame)


def test_two_studies_of_one_name_are_refused(folder, tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)
    result = CliRunner().invoke(app, ["study", str(tmp_path / "s.toml"), str(folder / "s.toml")])
    assert result.exit_code == 2
    assert "Rename one of the files" in result.output
    result = CliRunner().invoke(app, ["study", str(folder / "s.toml"), "--out", str(folder / "out"), "--page", "x.txt"])
    assert result.exit_code == 2
