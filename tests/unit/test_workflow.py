import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from ndsc.config import parse_config
from ndsc.errors import InputError, MissingExtraError, ReferenceCalculationError
from ndsc.workflow import dry_run, make_plan, run_workflow

TESTS = Path(__file__).parents[1]
SMALL = """
[crystal]
structure = "Al"
[supercells]
grid = [2, 2, 2]
[configurations]
per_supercell = 3
unit_cells = 2
unlabelled = 5
[reference]
calculator = "{calculator}"
{reference}
[executor]
workers = 1
[fit]
method = "{method}"
{fit}
"""


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(autouse=True)
def faulty_calculators(monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))


def small(tmp_path, *, calculator="emt", reference="", method="none", fit=""):
    text = SMALL.format(calculator=calculator, reference=reference, method=method, fit=fit)
    return parse_config(text, folder=tmp_path, source="test.toml")


def faulty(how, counter=""):
    return {
        "calculator": "calculators_for_tests:faulty",
        "reference": f'parameters = {{how = "{how}", counter = "{counter}"}}',
    }


def test_a_run_without_a_fit_ends_with_the_database(tmp_path):
    results = run_workflow(small(tmp_path), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {
        "ndsc.toml", "crystal.extxyz", "supercells.json", "configurations.extxyz", "labels", "database.extxyz",
        "results.json", "report.html", "ndsc.log",
    } <= names  # fmt: skip
    database = read(tmp_path / "run" / "database.extxyz", ":")
    assert len(database) == results.cost.labels == 2 + 3 * len(results.supercells.sizes)
    assert all(frame.info["REF_virial"].shape == (9,) for frame in database)
    assert results.fit is None
    assert results.phonons is None
    assert json.loads((tmp_path / "run" / "results.json").read_text())["seed"] == 1


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(tmp_path):
    counter = tmp_path / "calls"
    config = small(tmp_path, **faulty("", counter))
    run_workflow(config, tmp_path / "run")
    calls = counter.read_text()
    written = {name: (tmp_path / "run" / name).read_bytes() for name in ("database.extxyz", "configurations.extxyz")}
    results = run_workflow(config, tmp_path / "run")
    assert counter.read_text() == calls
    assert results.labels.reused == results.labels.requested
    assert all((tmp_path / "run" / name).read_bytes() == content for name, content in written.items())


def test_the_copy_of_the_input_file_goes_on_with_the_run(tmp_path):
    from ndsc.config import load_config

    config = small(tmp_path)
    run_workflow(config, tmp_path / "run")
    assert load_config(tmp_path / "run" / "ndsc.toml") == config


def test_failed_labels_are_told_and_left_out(tmp_path):
    results = run_workflow(small(tmp_path, **faulty("raise_large")), tmp_path / "run")
    failures = results.labels.failures
    assert failures
    assert all("forces too large" in failure.reason for failure in failures)
    database = read(tmp_path / "run" / "database.extxyz", ":")
    assert len(database) + len(failures) == results.labels.requested
    assert {frame.info["ndsc_name"] for frame in database}.isdisjoint(failure.name for failure in failures)
    assert sum("No label for" in warning for warning in results.warnings) == len(failures)


def test_a_rerun_that_fails_leaves_the_old_results(tmp_path):
    config = small(tmp_path)
    run_workflow(config, tmp_path / "run")
    outputs = ("results.json", "report.html", "database.extxyz", "crystal.extxyz", "configurations.extxyz")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in outputs}
    broken = small(tmp_path, **faulty("raise")).model_copy(
        update={"crystal": config.crystal.model_copy(update={"relax": False})}
    )
    with pytest.raises(ReferenceCalculationError, match=r"None of the .* has a label"):
        run_workflow(broken, tmp_path / "run")
    assert {name: (tmp_path / "run" / name).read_bytes() for name in outputs} == before
    assert "did not converge" in (tmp_path / "run" / "ndsc.log").read_text()


def test_the_relaxed_crystal_is_kept_in_the_store(tmp_path):
    counter = tmp_path / "calls"
    config = small(tmp_path, **faulty("", counter))
    first = make_plan(config, tmp_path / "run")
    calls = counter.read_text()
    for label in (tmp_path / "run" / "labels").glob("*.json"):
        label.unlink()
    again = make_plan(config, tmp_path / "run", compute=False)
    assert counter.read_text() == calls
    assert np.array_equal(first.crystal.atoms.cell.array, again.crystal.atoms.cell.array)
    (derived,) = (tmp_path / "run" / "labels" / "derived").iterdir()
    derived.write_text("{")
    assert np.array_equal(make_plan(config, tmp_path / "run").crystal.atoms.cell.array, first.crystal.atoms.cell.array)


def test_dry_run_writes_nothing_and_counts_what_is_there(tmp_path):
    config = small(tmp_path, method="gap")
    before = dry_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not before.relaxed
    assert "still to be relaxed" in str(before)
    run_workflow(small(tmp_path), tmp_path / "run")
    after = dry_run(config, tmp_path / "run")
    assert after.relaxed
    assert after.in_store >= len(after.plan.configurations)
    assert f"{after.in_store} of {len(after.plan.to_label)} are in" in str(after)


def test_dry_run_gives_the_seconds_of_the_labels_and_of_the_diagonal_supercell(tmp_path):
    config = small(tmp_path)
    before = dry_run(config, tmp_path / "run")
    assert (before.times, before.label_seconds) == ((), None)
    # 2 unit cells and 6 supercells of 2 atoms beside one of 8 atoms; EMT takes time in proportion to the atoms.
    assert (before.plan.counts, before.diagonal_atoms) == ({1: 2, 2: 6}, 8)
    assert before.cost.relative(before.plan.counts, {8: 1}).value == pytest.approx(14 / 8)
    run_workflow(config, tmp_path / "run")
    after = dry_run(config, tmp_path / "run")
    assert sorted(atoms for atoms, _ in after.times) == [1, 1, 2, 2, 2, 2, 2, 2]
    assert after.label_seconds == pytest.approx(sum(seconds for _, seconds in after.times))
    some = replace(after, times=((1, 2.0), (2, 5.0), (2, 20.0)))
    assert some.label_seconds == pytest.approx(2 * 2.0 + 6 * 12.5)
    assert some.cost.seconds(8).value == pytest.approx(10.0 * 4)
    # Of 2 atoms there is none yet: twice as long as one.
    assert replace(after, times=((1, 2.0),)).label_seconds == pytest.approx(2 * 2.0 + 6 * 4.0)


def test_dry_run_tells_the_folded_kpoints(tmp_path):
    config = small(tmp_path, calculator="gpaw", reference='kgrid = 4\nparameters = {mode = {name = "pw", ecut = 200}}')
    summary = dry_run(config, tmp_path / "run")
    assert summary.kpoints == (32, 32)
    assert summary.cost.power == pytest.approx(1.7)
    assert "32 k-points" in str(summary)


def test_what_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    crystal = small(tmp_path).crystal.model_copy(update={"structure": "Si"})
    silicon = small(tmp_path).model_copy(update={"crystal": crystal})
    with pytest.raises(InputError, match="does not know Si"):
        run_workflow(silicon, tmp_path / "si")
    assert not (tmp_path / "si").exists()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "quippy" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"ndsc\[gap\]"):
        run_workflow(small(tmp_path, method="gap"), tmp_path / "gap")
    assert not (tmp_path / "gap").exists()


@pytest.mark.gap
@pytest.mark.parametrize("reference", ["supercells", "diagonal"])
def test_a_small_run_with_a_fit(tmp_path, reference):
    config = small(tmp_path, method="gap", fit="n_max = 4\nl_max = 3\nn_sparse = 20\ncutoff = 4.5")
    phonons = config.phonons.model_copy(update={"reference": reference, "dos_mesh": (8, 8, 8)})
    config = config.model_copy(update={"phonons": phonons})
    results = run_workflow(config, tmp_path / "run")
    assert set(results.elastic) == {"C11", "C12", "C44"}
    assert results.phonons.rmse_mesh_thz < 2.0
    assert 0 < results.phonons.harmonic.rmse_mesh_thz < 2.0
    assert results.phonons.n_exact_qpoints == 3
    assert results.lattice["a"].reference == pytest.approx(2.8244, abs=1e-3)
    assert all(count.sent == count.read for count in results.fit.counts.values())
    for name in (
        "potential/gap.xml",
        "phonons/model.yaml",
        "phonons/reference.yaml",
        "phonons/harmonic.yaml",
        "phonons/comparison.json",
    ):
        assert (tmp_path / "run" / name).is_file()
    assert "<html" in (tmp_path / "run" / "report.html").read_text()


def test_labels_without_stress_are_told(tmp_path):
    config = small(tmp_path, calculator="calculators_for_tests:no_stress")
    config = config.model_copy(update={"crystal": config.crystal.model_copy(update={"relax": False})})
    results = run_workflow(config, tmp_path / "run")
    assert any("have no stress" in warning for warning in results.warnings)
    assert all("REF_virial" not in frame.info for frame in read(tmp_path / "run" / "database.extxyz", ":"))


def test_parts_and_the_diagonal_supercell(tmp_path):
    text = """
    [crystal]
    structure = "Al"
    [supercells]
    kind = "diagonal"
    grid = [2, 2, 2]
    [[configurations]]
    name = "one"
    per_supercell = 2
    displaced = "one"
    unlabelled = 3
    [[configurations]]
    name = "all"
    per_supercell = 3
    unit_cells = 0
    unlabelled = 0
    """
    plan = make_plan(parse_config(text), tmp_path)
    assert [len(atoms) for atoms in plan.configurations] == [1, 8, 8, 8, 8, 8]
    assert [atoms.info["ndsc_part"] for atoms in plan.configurations] == ["one"] * 3 + ["all"] * 3
    assert len(plan.unlabelled) == 3
    assert len(plan.phonon_supercells) == 2  # The reference's phonons come from the cheapest set all the same.
    assert "at most" in str(dry_run(parse_config(text), tmp_path))


def test_the_unit_cells_of_a_part_are_displaced_as_it_says(tmp_path):
    text = (
        '[crystal]\nstructure = "Si"\nrelax = false\n[supercells]\ngrid = [2, 2, 2]\n[reference]\ncalculator = "lj"\n'
    )
    text += "[configurations]\nunit_cells = 3\nunit_cell_displacement = 0.02\nper_supercell = 1\nunlabelled = 0\n"
    plan = make_plan(parse_config(text), tmp_path)
    assert [atoms.info["ndsc_displacement"] for atoms in plan.configurations] == [0.0, 0.02, 0.02, 0.05, 0.05]


def test_the_unperturbed_unit_cell_is_there_once(tmp_path):
    text = """
    [crystal]
    structure = "Al"
    [supercells]
    grid = [2, 2, 2]
    [[configurations]]
    name = "a"
    per_supercell = 0
    unit_cells = 2
    [[configurations]]
    name = "b"
    per_supercell = 1
    unit_cells = 3
    seed = 2
    """
    plan = make_plan(parse_config(text), tmp_path)
    names = [atoms.info["ndsc_name"] for atoms in plan.configurations if len(atoms) == 1]
    assert names == ["a-unit-0000", "a-unit-0001", "b-unit-0001", "b-unit-0002"]
