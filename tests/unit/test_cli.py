"""The command line: what it prints, its exit codes, and that bad input is one message and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

import ndsc
from ndsc.cli import app
from ndsc.errors import FitError, InputError, InternalError, MissingExtraError, NdscError, ReferenceCalculationError
from ndsc.results import CrystalSummary, LabelFailure, LabelsSummary, Results

MINIMAL = '[crystal]\nstructure = "Al"\n[supercells]\ngrid = 2\n[fit]\nmethod = "none"\n'


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*args: str) -> Any:
    """Run the program inside of this process."""
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


def files() -> list[str]:
    """Everything below the current folder."""
    return sorted(str(path) for path in Path().rglob("*"))


def test_version() -> None:
    assert call("--version").stdout == f"ndsc {ndsc.__version__}\n"


@pytest.mark.parametrize(
    "command", ["supercells", "kpoints", "run", "fit", "phonons", "elastic", "converge", "report", "export", "labels"]
)
def test_help_has_examples(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"ndsc {command} " in result.stdout
    assert "Example" in result.stdout


def test_the_overview_has_all_commands_and_exit_codes() -> None:
    text = call("--help").stdout
    for word in (
        "supercells",
        "kpoints",
        "run",
        "fit",
        "phonons",
        "elastic",
        "report",
        "export",
        "labels",
        "Exit codes",
        "130",
    ):
        assert word in text


@pytest.mark.parametrize("grid", [["4", "4", "4"], ["4"], ["4x4x4"], ["4,4,4"], ["4 4 4"]])
def test_a_grid_is_one_number_or_three(grid: list[str]) -> None:
    result = call("supercells", "Al", "--grid", *grid, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["grid"] == [4, 4, 4]


def test_the_structure_may_follow_the_grid() -> None:
    write("my.xyz", bulk("Al"))
    assert call("supercells", "--grid", "2", "3", "2", "my.xyz").exit_code == 0
    assert call("supercells", "--grid=2", "my.xyz").exit_code == 0


def test_supercells_as_a_table() -> None:
    result = call("supercells", "Al", "--grid", "4", "4", "4")
    assert result.exit_code == 0
    assert "5 supercells of Al hold the 4x4x4 grid" in result.stdout
    assert "320, proven smallest for Fm-3m (225)" in result.stdout
    assert files() == []


def test_a_long_table_is_cut() -> None:
    result = call("supercells", "Mg", "--grid", "16")
    assert "60 supercells of Mg" in result.stdout
    assert "more" not in result.stdout
    result = call("supercells", "Mg", "--grid", "18")
    assert "more; --json and --out give all of them" in result.stdout


def test_supercells_as_json_can_be_loaded_again() -> None:
    result = call("supercells", "Mg", "--grid", "3", "3", "2", "--json")
    found = ndsc.SupercellSet.from_dict(json.loads(result.stdout))
    assert np.array_equal(found.matrices, ndsc.find_supercells(bulk("Mg"), (3, 3, 2)).matrices)


@pytest.mark.parametrize(("name", "ending"), [("extxyz", "xyz"), ("vasp", "vasp"), ("cif", "cif")])
def test_supercells_as_structures(name: str, ending: str) -> None:
    result = call("supercells", "Si", "--grid", "3", "--out", "cells", "--format", name)
    assert result.exit_code == 0
    expected = ndsc.find_supercells(bulk("Si"), 3).structures()
    assert files() == ["cells", *[f"cells/s{i:02d}.{ending}" for i in range(len(expected))], "cells/supercells.json"]
    for index, structure in enumerate(expected):
        written = read(f"cells/s{index:02d}.{ending}")
        assert written.get_volume() == pytest.approx(structure.get_volume(), rel=1e-6)
        assert len(written) == len(structure)


def test_a_conventional_cell_is_reduced_when_asked() -> None:
    write("al.cif", bulk("Al", cubic=True))
    as_given = json.loads(call("supercells", "al.cif", "--grid", "2", "--json").stdout)
    reduced = json.loads(call("supercells", "al.cif", "--grid", "2", "--json", "--primitive").stdout)
    assert len(as_given["unit_cell"]["symbols"]) == 4
    assert len(reduced["unit_cell"]["symbols"]) == 1


def bad_files() -> None:
    """What the bad input below names."""
    Path("text.cif").write_text("this is no structure\n")
    Path("typo.toml").write_text("[crystal]\nstructur = 'Al'\n[supercells]\ngrid = 2\n")
    Path("unknown.toml").write_text(MINIMAL.replace("Al", "Fe"))
    Path("file").write_text("")
    Path("good.toml").write_text(MINIMAL)
    Path("input").write_text(MINIMAL)
    write("al.xyz", bulk("Al"))
    left = bulk("Al")
    left.set_cell(left.cell[[1, 0, 2]])
    write("left.vasp", left)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["supercells", "text.cif", "--grid", "2"], ["text.cif", "cannot read"]),
        (["supercells", "none.cif", "--grid", "2"], ["no file", "none.cif"]),
        (["supercells", "Xx", "--grid", "2"], ["'Xx'", "neither a file"]),
        (["supercells", "left.vasp", "--grid", "2"], ["left-handed"]),
        (["supercells", "al.xyz", "--lattice", "fcc", "--grid", "2"], ["structure that has its own"]),
        (["supercells", "Al", "--grid", "0"], ["--grid 0", "at least one point"]),
        (["supercells", "Al", "--grid", "2", "-3", "2"], ["--grid 2 -3 2", "at least one point"]),
        (["supercells", "Al", "--grid", "2", "3"], ["--grid 2 3", "one whole number or three"]),
        (["supercells", "Al", "--grid", "2.5"], ["--grid 2.5", "one whole number or three"]),
        (["supercells", "Al", "--grid", "two"], ["--grid two", "one whole number or three"]),
        (["supercells", "Al", "--grid", "2", "--cost-exponent", "0"], ["cost exponent 0", "above 0"]),
        (["supercells", "Al", "--grid", "2", "--format", "doc"], ["--format doc", "extxyz"]),
        (["supercells", "Al", "--grid", "2", "--out", "file"], ["file is a file"]),
        (["supercells", "Al", "--grid", "2", "--out", "file/cells"], ["is a file"]),
        (["supercells", "Al", "--grid", "2", "--out", "/proc/ndsc"], ["/proc/ndsc cannot be written"]),
        (["run", "none.toml"], ["none.toml cannot be read", "No such file"]),
        (["run", "typo.toml"], ["[crystal] structur is not a known key", "Did you mean 'structure'"]),
        (["run", "unknown.toml"], ["'emt' does not know Fe", "another crystal"]),
        (["run", "unknown.toml", "--dry-run"], ["'emt' does not know Fe"]),
        (["run", "good.toml", "--out", "file"], ["file is a file"]),
        (["run", "input"], ["does not end in .toml", "--out"]),
        (["phonons", "Fe", "--grid", "2"], ["'emt' does not know Fe"]),
        (["phonons", "Al", "--grid", "2", "--calculator", "magic"], ["no calculator 'magic'"]),
        (["phonons", "Al", "--grid", "2", "--calculator", "gpaw"], ["kgrid"]),
        (["phonons", "Al", "--grid", "2", "--kgrid", "0", "--calculator", "gpaw"], ["--kgrid 0", "at least one"]),
        (["phonons", "Al", "--grid", "2", "--parameters", "{"], ["--parameters {", "not JSON"]),
        (["phonons", "Al", "--grid", "2", "--parameters", "[1]"], ["an object is expected, not a list"]),
        (["phonons", "Al", "--grid", "2", "--route", "fast"], ["--route fast", "tiling"]),
        (["phonons", "Al", "--grid", "2", "--born", "file"], ["file is not a BORN file"]),
        (["phonons", "Al", "--grid", "2", "--labels", "file"], ["file is a file"]),
        (["elastic", "Al", "--calculator", "no_such_module:factory"], ["no_such_module"]),
        (["fit", "none.xyz"], ["none.xyz"]),
        (["fit", "al.xyz"], ["REF_energy"]),
        (["fit", "al.xyz", "--preset", "Ag"], ["no preset 'Ag'"]),
        (["fit", "al.xyz", "--settings", "none.toml"], ["none.toml cannot be read"]),
        (["fit", "al.xyz", "--n-max", "0"], ["[fit] n_max = 0"]),
        (["fit", "al.xyz", "--out", "file"], ["file is a file"]),
        (["report", "none"], ["no folder none", "ndsc run"]),
        (["report", "."], ["results.json"]),
        (["export", "none.xyz", "--dialect", "mace", "--out", "out.xyz"], ["none.xyz"]),
        (["export", "al.xyz", "--dialect", "mace", "--out", "file/out.xyz"], ["is a file"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(args: list[str], parts: list[str]) -> None:
    bad_files()
    before = files()
    result = call(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()].count("Error") == 1
    assert "Traceback" not in result.stderr
    assert "bug" not in result.stderr
    assert files() == before


@pytest.mark.parametrize("args", [["bogus"], ["supercells"], ["supercells", "Al"], ["supercells", "Al", "--gird", "2"]])
def test_wrong_usage_ends_with_two(args: list[str]) -> None:
    result = call(*args)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def run_that(monkeypatch: pytest.MonkeyPatch, outcome: BaseException | Results) -> None:
    """Let `ndsc run` end in a certain way."""
    import ndsc.workflow

    def run_workflow(config: object, directory: Path, *, progress: Any) -> Results:
        progress("labels", 1, 2)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(ndsc.workflow, "run_workflow", run_workflow)
    Path("al.toml").write_text(MINIMAL)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("wrong input"), 2),
        (MissingExtraError("wrong input"), 2),
        (PermissionError(13, "wrong input", "f"), 2),
        (OSError(28, "wrong input"), 2),
        (MemoryError("wrong input"), 2),
        (ReferenceCalculationError("wrong input"), 3),
        (FitError("wrong input"), 4),
        (NdscError("wrong input"), 2),
    ],
)
def test_each_error_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, error: Exception, code: int) -> None:
    run_that(monkeypatch, error)
    result = call("run", "al.toml")
    assert result.exit_code == code
    assert "wrong input" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("error", [RuntimeError("lost"), InternalError("lost"), FileNotFoundError(2, "lost")])
def test_a_bug_asks_for_a_report(monkeypatch: pytest.MonkeyPatch, error: Exception, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_that(monkeypatch, error)
    result = call("run", "al.toml")
    assert result.exit_code == 1
    assert "a bug in ndsc" in result.stderr
    assert "report" in result.stderr
    (log,) = tmp_path.glob("ndsc-error-*.log")
    assert str(log) in result.stderr
    text = log.read_text()
    assert "Traceback" in text
    assert "lost" in text
    assert "numpy" in text


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run_that(monkeypatch, KeyboardInterrupt())
    result = call("run", "al.toml", "--out", "there")
    assert result.exit_code == 130
    assert "Stopped." in result.stderr
    assert "ndsc run al.toml --out there" in result.stderr


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    run_that(monkeypatch, InputError("wrong input"))
    result = call("--debug", "run", "al.toml")
    assert result.exit_code == 2
    assert "Error: wrong input" in result.stderr
    assert "Traceback" in result.stderr


def some_results(**parts: Any) -> Results:
    return Results(crystal=CrystalSummary(formula="Al", n_atoms=1), versions={}, seed=1, **parts)


def test_missing_labels_end_with_three_after_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [LabelFailure(name="s01-0002", reason="not converged"), LabelFailure(name="s01-0003", reason="died")]
    labels = LabelsSummary(calculator="emt", requested=9, succeeded=7, failures=failures)
    run_that(monkeypatch, some_results(labels=labels, warnings=["two labels are missing"]))
    result = call("run", "al.toml")
    assert result.exit_code == 3
    assert "2 of 9 labels are missing: s01-0002 (not converged) and others" in result.stderr
    assert "Warning: two labels are missing" in result.stderr
    assert "Report: al" in result.stdout


def test_results_as_tables_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = {"model": 101.0, "reference": 100.0, "error_percent": 1.0}
    phonons = {"rmse_mesh_thz": 0.01, "rmse_path_thz": 0.02, "max_error_thz": 0.05, "min_frequency_thz": None}
    cost = {"labels": 60, "atoms": 225, "seconds": 1.5}
    parts = {"lattice": {"a": compared, "volume_per_atom": compared}, "elastic": {"C11": compared}}
    run_that(monkeypatch, some_results(phonons=phonons, cost=cost, **parts))
    result = call("run", "al.toml")
    assert result.exit_code == 0
    for part in ("C11 (GPa)", "101.000", "+1.00", "a (Å)", "0.0100", "not available", "60 labels, 225 atoms, 1.5 s"):
        assert part in result.stdout
    assert "labels: 1/2" in result.stderr
    assert json.loads(call("run", "al.toml", "--json").stdout)["elastic"]["C11"]["model"] == 101


def test_a_choice_of_labels_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predicted errors beside targets and truth; without a reference, the constants with their deviations."""
    chosen = {
        "method": "information", "candidates": 1464, "labels": 9, "predicted_rmse_thz": 0.0712,
        "predicted_elastic_percent": 2.22, "target_thz": 0.05, "target_elastic_percent": 3.0, "target_met": False,
        "reason": "[selection] max_labels = 9 is reached.", "advice": "Raise [selection] max_labels.",
        "constants": {"C11": 53.21}, "deviations": {"C11": 0.34},
    }  # fmt: skip
    phonons = {"rmse_mesh_thz": 0.0634, "rmse_path_thz": 0.02, "max_error_thz": 0.05, "min_frequency_thz": 0.0}
    elastic = {"C11": {"model": 101.0, "reference": 100.0, "error_percent": 1.0}, "C44": {"model": 1.1, "reference": 1}}
    said = f"Predicted errors with 9 labels: 0.071 THz. {chosen['reason']} {chosen['advice']}"
    run_that(monkeypatch, some_results(selection=chosen, phonons=phonons, elastic=elastic, warnings=[said, "another"]))
    result = call("run", "al.toml")
    cells = [line.split() for line in result.stdout.splitlines()]
    assert ["phonons,", "RMSE", "(THz)", "0.0712", "0.05", "0.0634"] in cells
    # C44 counts as a twentieth of C11.
    assert ["elastic", "constants", "(%)", "2.22", "3", "2"] in cells
    screen = " ".join(result.stdout.split())
    assert f"The targets are not met. {chosen['reason']} {chosen['advice']}" in screen
    assert "another" in result.stderr
    assert chosen["advice"] not in result.stderr
    met = chosen | {"target_met": True, "reason": "The targets are expected to be met.", "advice": ""}
    run_that(monkeypatch, some_results(selection=met))
    result = call("run", "al.toml")
    cells = [line.split() for line in result.stdout.splitlines()]
    assert ["phonons,", "RMSE", "(THz)", "0.0712", "0.05"] in cells
    assert ["C11", "(GPa)", "53.21", "0.34"] in cells
    assert "not met" not in result.stdout
    assert json.loads(call("run", "al.toml", "--json").stdout)["selection"]["target_met"] is True


def test_a_dry_run_computes_and_writes_nothing() -> None:
    Path("al.toml").write_text(MINIMAL)
    result = call("run", "al.toml", "--dry-run")
    assert result.exit_code == 0
    for part in ("Al", "Configurations", "diagonal supercell"):
        assert part in result.stdout
    assert files() == ["al.toml"]


def test_a_run_tells_the_executor_all_that_the_input_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    import ndsc.workflow.labelling

    said: dict[str, Any] = {}

    def label_configurations(*args: object, **options: object) -> None:
        said.update(options)
        raise ReferenceCalculationError("not now")

    monkeypatch.setattr(ndsc.workflow.labelling, "label_configurations", label_configurations)
    text = MINIMAL.replace("[crystal]", "[crystal]\nrelax = false")
    Path("al.toml").write_text(f"{text}[executor]\nworkers = 3\nthreads = 2\nretries = 5\ntimeout = '1min'\n")
    assert call("run", "al.toml").exit_code == 3
    settings = said["executor"]
    assert (settings.workers, settings.threads, settings.retries, settings.timeout) == (3, 2, 5, 60.0)


def test_a_run_in_its_own_folder_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from ndsc.cli.running import default_directory

    assert default_directory(Path("inputs/al.toml")) == Path("al")
    assert default_directory(Path("al/ndsc.toml")) == Path("al")


def test_phonons_of_two_calculators_and_ways() -> None:
    result = call("phonons", "Al", "--grid", "2", "--json", "--labels", "labels", "--out", "phonons")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [point["label"] for point in found["special_points"]][:2] == ["Γ", "X"]
    assert Path("phonons/phonopy_params.yaml").is_file()
    labels = {path: path.stat().st_mtime_ns for path in Path("labels").glob("*.json")}
    assert len(labels) == found["cost"]["used"]["calculations"]
    table = call("phonons", "Al", "--grid", "2", "--labels", "labels")
    assert f"{len(labels)} calculations" in table.stdout
    assert {path: path.stat().st_mtime_ns for path in Path("labels").glob("*.json")} == labels
    diagonal = json.loads(call("phonons", "Al", "--grid", "2", "--diagonal", "--json").stdout)
    for ours, theirs in zip(found["special_points"], diagonal["special_points"], strict=True):
        assert ours["label"] == theirs["label"]
        np.testing.assert_allclose(ours["frequencies_thz"], theirs["frequencies_thz"], atol=2e-3)


def test_a_failing_reference_ends_with_three() -> None:
    bad = ["--calculator", "calculators_for_tests:faulty", "--parameters", '{"how": "raise"}']
    result = call("phonons", "Al", "--grid", "2", *bad)
    assert result.exit_code == 3
    assert "did not converge" in result.stderr
    assert "Traceback" not in result.stderr


def test_elastic_constants() -> None:
    result = call("elastic", "Al", "--json", "--relax")
    assert result.exit_code == 0
    constants = json.loads(result.stdout)["constants"]
    assert set(constants) == {"C11", "C12", "C44"}
    table = call("elastic", "Al", "--clamped")
    assert "C44" in table.stdout
    assert "clamped ions" in table.stdout


def test_a_fit_and_an_export_from_the_command_line(labelled: Path) -> None:
    pytest.importorskip("quippy")
    options = ["--n-max", "4", "--l-max", "3", "--n-sparse", "12", "--cutoff", "4.5", "--sparse-from", str(labelled)]
    result = call("fit", str(labelled), *options, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert Path(found["potential"]).is_file()
    assert found["counts"]["energies"] == {"sent": 6, "read": 6}
    table = call("fit", str(labelled), *options)
    assert "The fit used all that it was given: 6 energies" in table.stdout
    assert "found in the folder" in table.stdout
    used = call(
        "elastic", "Al", "--calculator", "quip", "--parameters", json.dumps({"param_filename": found["potential"]})
    )
    assert used.exit_code == 0, used.stderr


def test_an_export(labelled: Path) -> None:
    result = call("export", str(labelled), "--dialect", "mace", "--out", "out/train.xyz")
    assert result.exit_code == 0, result.stderr
    assert "6 configurations" in result.stdout
    assert len(read("out/train.xyz", index=":")) == 6
    wrong = call("export", str(labelled), "--dialect", "latin", "--out", "x.xyz")
    assert wrong.exit_code == 2
    assert "latin" in wrong.stderr


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A small database of aluminium, labelled with EMT."""
    from ndsc.configurations import make_configurations
    from ndsc.database import make_database, write_database
    from ndsc.reference import CalculatorSpec, LabelStore, label_configurations

    configurations = make_configurations(ndsc.find_supercells(bulk("Al"), 2), per_supercell=2, unit_cells=2)
    report = label_configurations(configurations, CalculatorSpec(), LabelStore(tmp_path / "store"), workers=1)
    return write_database(tmp_path / "database.extxyz", make_database(configurations, report.labels))


def test_the_program_itself(tmp_path: Path) -> None:
    def ndsc_program(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "ndsc", *args], capture_output=True, text=True, check=False)

    good = ndsc_program("supercells", "Al", "--grid", "2", "--json")
    assert good.returncode == 0
    assert good.stderr == ""
    assert json.loads(good.stdout)["grid"] == [2, 2, 2]
    bad = ndsc_program("supercells", "Al", "--grid", "0")
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert len(bad.stderr.splitlines()) == 1
    assert "Traceback" not in bad.stderr
