"""Several runs on one page: what is compared, what is drawn together, and what is refused."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from test_report import Checker, comparison, full_results, make_run, predictions  # noqa: F401
from typer.testing import CliRunner

from ndsc.cli.app import app
from ndsc.errors import InputError
from ndsc.report import write_comparison
from ndsc.report.compare import differences, flattened, learning_data, panels_of, read_runs
from ndsc.results import (
    LabelsSummary,
    SelectionStep,
    SelectionSummary,
    SeveralResults,
    read_results,
    write_results,
)

INPUT = """
[crystal]
structure = "Al"
[fit]
cutoff = {cutoff}
sigma = {{ energy = 0.001 }}
[executor]
workers = {cutoff}
[[configurations]]
seed = 1
[[configurations]]
seed = {cutoff}
"""


def changed(folder, comparison, number):  # noqa: F811
    """A run with an error, a number of labels and a cutoff of its own."""
    phonons = dataclasses.replace(comparison, model_path=comparison.model_path + 0.1 * number)
    (folder / "phonons" / "comparison.json").write_text(json.dumps(phonons.to_dict()))
    everything = full_results(comparison)
    cost = everything.cost.model_copy(update={"labels": 4 * number, "seconds": 10.0 * number})
    summary = everything.phonons.model_copy(
        update={"rmse_mesh_thz": 0.1 / number, "reference_max_frequency_thz": 8.0, "min_frequency_thz": 0.0}
    )
    text = INPUT.format(cutoff=number)
    (folder / "ndsc.toml").write_text(text)
    update = {"cost": cost, "phonons": summary, "input": text}
    write_results(everything.model_copy(update=update), folder)
    return folder


@pytest.fixture
def runs(tmp_path, comparison, predictions):  # noqa: F811
    """Two runs of one crystal with the same reference."""
    first = tmp_path / "one"
    first.mkdir()
    make_run(first, comparison, predictions)
    shutil.copytree(first, tmp_path / "two")
    return [changed(tmp_path / name, comparison, number) for number, name in ((1, "one"), (2, "two"))]


def test_a_page_of_two_runs(runs, tmp_path):
    done = CliRunner().invoke(app, ["report", "--compare", *map(str, runs), "--out", str(tmp_path / "both.html")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.images == 3
    assert len(text.encode()) < 2_000_000
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", text)
    # 0.1 and 0.05 of 8 THz; 1 % of 100 GPa, and 1 of 30 GPa.
    rows = re.findall(r'<tr><th scope="row">(one|two)</th>(.*?)</tr>', text)
    cells = {name: re.findall(r"<td[^>]*>(.*?)</td>", row) for name, row in rows}
    assert cells["one"][2:6] == ["4", "10 s", "0.1", "1.2"]
    assert cells["two"][2:6] == ["8", "20 s", "0.05", "0.62"]
    assert cells["one"][7:] == ["−3.33 (C44)", "1", "within"]
    assert '<th scope="row">[fit] cutoff</th><td>1</td><td>2</td>' in text
    assert "workers" not in text
    # Nothing else was written.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.html", "one", "two"]


def test_curves_of_one_reference_are_drawn_together(runs, comparison):  # noqa: F811
    panels = panels_of(read_runs(runs))
    assert [list(panel.comparisons) for panel in panels] == [["one", "two"]]
    other = dataclasses.replace(comparison, reference_path=comparison.reference_path + 0.5)
    (runs[1] / "phonons" / "comparison.json").write_text(json.dumps(other.to_dict()))
    assert [list(panel.comparisons) for panel in panels_of(read_runs(runs))] == [["one"], ["two"]]


def test_errors_over_labels_and_seconds(runs, comparison):  # noqa: F811
    data = learning_data(read_runs(runs))
    assert len(set(data.series)) == 1
    np.testing.assert_allclose(data[["labels", "seconds", "rmse_mesh_thz"]], [[4, 10, 0.1], [8, 20, 0.05]])
    # What a choice of labels predicted is a series of its own, and so are runs with as many labels.
    everything = full_results(comparison)
    steps = [SelectionStep(labels=n, seconds=n, predicted_rmse_thz=1.0 / n) for n in (1, 2)]
    chosen = SelectionSummary(method="information", candidates=9, labels=4, target_met=True, steps=steps)
    found = read_runs(runs)
    found[1] = dataclasses.replace(found[1], results=everything.model_copy(update={"selection": chosen}))
    data = learning_data(found)
    assert sorted(set(data.series)) == ["one", "two", "two, predicted"]
    assert data[data.series == "two, predicted"].rmse_mesh_thz.tolist() == [1.0, 0.5]


def test_keys_are_named_as_they_are_written():
    found = flattened({
        "fit": {"cutoff": 5.0, "sigma": {"energy": 0.1}},
        "configurations": [{"seed": 1}, {"seed": 2}],
        "executor": {"workers": 3},
        "reference": {"labels": "here", "kgrid": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
    })  # fmt: skip
    assert found == {
        "[fit] cutoff": 5.0,
        "[fit.sigma] energy": 0.1,
        "[[configurations]] 1 seed": 1,
        "[[configurations]] 2 seed": 2,
        "[reference] kgrid": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    }
    assert differences({"a": {"x": 1, "y": 2}, "b": {"x": 1, "z": True}}) == [("y", "2", "–"), ("z", "–", "yes")]


def test_crystals_of_one_run_are_compared(runs, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    results = {}
    for run in runs:
        shutil.move(run, folder / run.name)
        results[run.name] = read_results(folder / run.name)
    labels = LabelsSummary(calculator="emt", requested=4, succeeded=4)
    several = SeveralResults(crystals=results, labels=labels, versions={}, seed=1)
    write_results(several, folder)
    assert [run.name for run in read_runs([folder])] == ["several/one", "several/two"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: [runs[0]], "at least two"),
        (lambda runs: [runs[0], runs[0]], "given twice"),
        (lambda runs: [runs[0], runs[0] / ".." / runs[0].name], "given twice"),
        (lambda runs: [runs[0], runs[0].parent / "nothing"], "no folder"),
        (lambda runs: [runs[0], runs[0] / "phonons"], r"no .*phonons/results.json"),
        (lambda runs: [], "at least two"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_comparison(change(runs), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_results_of_another_format_are_refused(runs, tmp_path):
    document = json.loads((runs[1] / "results.json").read_text())
    (runs[1] / "results.json").write_text(json.dumps(document | {"schema_version": 2}))
    with pytest.raises(InputError, match="schema version 2"):
        write_comparison(runs, tmp_path / "page.html")
    for name in ("page.txt", "folder.html"):
        (tmp_path / "folder.html").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=r"\.html"):
            write_comparison(runs, tmp_path / name)
    done = CliRunner().invoke(app, ["report", str(runs[0]), "--out", "x.html"])
    assert done.exit_code == 2
