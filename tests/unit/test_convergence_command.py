"""``ndsc converge``: scans and checks from a structure and from an input file, what they write, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from ndsc.cli import app
from ndsc.reference import LabelStore

TESTS = Path(__file__).parents[1]
NAME = "calculators_that_converge:converging"
INPUT = f"""
[crystal]
structure = "Al"
[supercells]
grid = 2
[configurations]
per_supercell = 3
[reference]
calculator = "{NAME}"
kgrid = 4
[reference.parameters]
basis = {{cutoff = 200}}
[executor]
workers = 1
[fit]
method = "none"
"""
STRUCTURE = ["Al", "--calculator", NAME, "--parameters", '{"basis": {"cutoff": 200}}', "--workers", "1"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("PYTHONPATH", str(TESTS) + os.pathsep + os.environ.get("PYTHONPATH", ""))


def call(*args: str) -> Any:
    return CliRunner().invoke(app, ["converge", *args], catch_exceptions=False)


def test_a_scan_of_a_structure() -> None:
    args = [*STRUCTURE, "--kgrid", "4", "4", "4", "--scan", "kgrid=4,6x6x6,8", "--scan", "basis.cutoff=200,300,400"]
    dry = call(*args, "--dry-run", "--json")
    assert dry.exit_code == 0
    plan = json.loads(dry.stdout)
    # 4x4x4 with 200 belongs to both scans.
    assert (plan["calculations"], plan["to_compute"]) == (5 * 6, 5 * 6)
    assert [entry["kpoints"] for entry in plan["values"]][:3] == [3 * n**3 + 3 * n**3 // 2 for n in (4, 6, 8)]
    assert not list(Path().iterdir())
    result = call(*args, "--force", "2.5")
    assert result.exit_code == 0, result.output
    assert "kgrid: 6x6x6 is enough, where 4x4x4 is given." in result.stdout
    assert "[reference]\nkgrid = [6, 6, 6]\nparameters.basis.cutoff = 200\n" in result.stdout
    document = json.loads(Path("Al-convergence/convergence.json").read_text())
    assert document["recommended_settings"]["kgrid"] == [6, 6, 6]
    assert imread("Al-convergence/convergence.png").std() > 0.05
    assert len(list(LabelStore("Al-convergence/labels").keys())) == 5 * 6
    assert "30 different calculations, 0 of them to be made" in call(*args, "--dry-run").stdout


def test_targets_that_are_missed_are_exit_code_3() -> None:
    result = call(*STRUCTURE, "--scan", "basis.cutoff=200,300", "--force", "1e-6", "--out", "out", "--labels", "kept")
    assert result.exit_code == 3
    assert "basis.cutoff: not converged within the scanned values (200, 300)" in result.stderr
    assert "[reference]" not in result.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"convergence.{end}" for end in ("csv", "json", "pdf", "png")
    ]
    assert list(LabelStore("kept").keys())


def test_an_input_file_before_and_after_its_run() -> None:
    Path("al.toml").write_text(INPUT)
    args = ["al.toml", "--scan", "basis.cutoff=200,300,400", "--configurations", "2", "--unit-cells", "2"]
    early = call(*args, "--dry-run", "--json")
    assert "not relaxed yet" in early.stderr
    assert json.loads(early.stdout)["to_compute"] == 3 * 4
    refused = call("al.toml", "--check", "4", "--set", "basis.cutoff=400")
    assert refused.exit_code == 2
    assert "ndsc run al.toml" in refused.stderr

    assert CliRunner().invoke(app, ["run", "al.toml"], catch_exceptions=False).exit_code == 0
    # The run's own labels serve: the three supercell configurations and the unperturbed unit cell have them.
    assert json.loads(call(*args, "--dry-run", "--json").stdout)["to_compute"] == 2 * 4 + 1
    result = call(*args, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["scans"][0]["given"] == 200

    check = ["al.toml", "--check", "4", "--kgrid", "8", "--set", "basis.cutoff=400", "--labels", "denser"]
    dry = call(*check, "--dry-run")
    assert dry.exit_code == 0
    assert "4 of 4 calculations are to be made" in dry.stdout
    result = call(*check)
    assert result.exit_code == 0, result.output
    assert "kgrid: [4, 4, 4] in the database, [8, 8, 8] to check against" in result.stderr
    assert "Noise of the database" in result.stdout
    assert len(list(LabelStore("denser").keys())) == 4
    assert json.loads(Path("al-convergence/noise.json").read_text())["difference"]["force_max_mev_per_angstrom"] > 0
    assert json.loads(call(*check, "--dry-run", "--json").stdout)["in_store"] == 4
    copy = call("al/ndsc.toml", "--check", "4", "--set", "basis.cutoff=400", "--dry-run")
    # Three of the four were in the scan above.
    assert "1 of 4 calculations are to be made" in copy.stdout


SMEARED = INPUT.replace(NAME, "calculators_that_converge:smeared").replace("kgrid = 4\n", "")
SMEARED = SMEARED.replace("basis = {cutoff = 200}", "occupations = {width = 0.015}")
BIAS = ["al.toml", "--bias", "--limit", "occupations.width=0", "--configurations", "2", "--unit-cells", "1"]


def test_the_bias_of_an_input_file() -> None:
    Path("al.toml").write_text(SMEARED)
    assert CliRunner().invoke(app, ["run", "al.toml"], catch_exceptions=False).exit_code == 0
    dry = call(*BIAS, "--dry-run", "--json")
    assert dry.exit_code == 0, dry.output
    rows = json.loads(dry.stdout)["calculations"]
    assert [(row["calculations"], row["to_compute"], row["limit_to_compute"]) for row in rows[:2]] == [
        (3, 0, 3), (1, 0, 1),
    ]  # fmt: skip
    assert "calculations are to be made" in call(*BIAS, "--dry-run").stdout
    assert not Path("al-convergence").exists()

    result = call(*BIAS)
    assert result.exit_code == 3
    # All results are too large by 1.5 %, frequencies by 0.75 %.
    assert "forces: NOT within 1 %" in result.stdout
    assert "elastic: within 2 % or 1 GPa" in result.stdout
    assert "phonons: within 1 %" in result.stdout
    assert "parameters.occupations.width: 0.015 in the database, 0 in the limit" in result.stderr
    assert "The settings are biased" in result.stderr
    document = json.loads(Path("al-convergence/bias.json").read_text())
    assert document["within"] == {"forces": False, "virials": True, "lattice": True, "phonons": True, "elastic": True}
    assert "0 calculations are to be made" in call(*BIAS, "--dry-run").stdout

    enough = call(
        *BIAS, "--target", "forces=2", "--quantity", "forces", "--quantity", "elastic", "--given-lattice", "--json"
    )
    assert enough.exit_code == 0
    found = json.loads(enough.stdout)
    assert list(found["within"].items()) == [("forces", True), ("elastic", True)]
    assert found["lattice"] == "given"
    # Other settings than those of the input file are compared with the limit, which keeps what it does not name.
    changed = call(*BIAS, "--set", "pressure=0.002", "--quantity", "lattice", "--limit", "pressure=0", "--json")
    assert changed.exit_code == 3
    assert json.loads(changed.stdout)["rows"][0]["change"] < -0.004


def test_the_bias_against_the_reference_of_another_input_file() -> None:
    Path("al.toml").write_text(SMEARED)
    Path("other.toml").write_text(SMEARED.replace("0.015", "0.005"))
    args = ["al.toml", "--bias", "--against", "other.toml", "--given-lattice", "--quantity", "elastic", "--json"]
    result = call(*args)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["limit"]["parameters"] == {"occupations": {"width": 0.005}}
    assert [row["percent"] for row in found["rows"]] == pytest.approx([100 * (1.015 / 1.005 - 1)] * 3, abs=0.03)
    # Settings that --limit names change those of the other file.
    changed = call(*args, "--limit", "occupations.width=0.0")
    assert json.loads(changed.stdout)["rows"][0]["percent"] == pytest.approx(1.5, abs=0.03)
    same = call(*args[:2], "--against", "al.toml", "--dry-run")
    assert same.exit_code == 2
    assert "The limit has the settings of the database" in same.stderr


def test_the_bias_of_a_structure() -> None:
    parameters = '{"occupations": {"name": "any", "width": 0.03}}'
    args = ["Al", "-a", "3.994", "--calculator", "calculators_that_converge:smeared", "--parameters", parameters]
    args += ["--workers", "1", "--bias", "--limit", 'occupations={"width": 0}', "--quantity", "phonons"]
    result = call(*args, "--given-lattice", "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["limit"]["parameters"] == {"occupations": {"width": 0}}
    assert [row["percent"] for row in document["rows"]] == pytest.approx([100 * (1.03**0.5 - 1)] * 4, rel=1e-2)
    assert "phonons differ" in result.stderr


def test_an_input_file_without_elastic_constants_compares_none() -> None:
    Path("al.toml").write_text(SMEARED + "[elastic]\nenabled = false\n")
    rows = json.loads(call(*BIAS, "--dry-run", "--json").stdout)["calculations"]
    assert [row["what"] for row in rows] == ["configurations", "relaxation, its first step", "phonons"]


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["Al", "--bias"], ["--bias needs", "--limit PATH=VALUE"]),
        (["Al", "--bias", "--against", "nowhere.toml"], ["nowhere.toml"]),
        (["Al", "--against", "al.toml"], ["--against", "only has an effect with --bias"]),
        (["Al", "--limit", "x=1", "--given-lattice"], ["--limit, --given-lattice", "only has an effect with --bias"]),
        (["Al", "--bias", "--limit", "x=1", "--scan", "y=1,2"], ["without --check and --scan"]),
        (["Al", "--bias", "--limit", "x"], ["--limit x", "a name and a value"]),
        (["Al", "--bias", "--limit", "cutoff=300"], ["which parameter of 'emt' holds its cutoff"]),
        (["Al", "--bias", "--limit", "asap_cutoff=true", "--target", "bulk=1"], ["bulk is not one of", "elastic_gpa"]),
        (["Al", "--bias", "--limit", "asap_cutoff=true", "--target", "forces=x"], ["'x' is not a number"]),
        (["Al", "--bias", "--limit", "asap_cutoff=true", "--target", "forces=0"], ["target of forces is 0"]),
        (["Al", "--bias", "--limit", "asap_cutoff=true", "--quantity", "bulk"], ["'bulk' cannot be compared"]),
        (["Al", "--bias", "--limit", "asap_cutoff=false", "--set", "asap_cutoff=false"], ["settings of the database"]),
        (["Al"], ["no k-point grid, cutoff or smearing"]),
        (["Al", "--scan", "cutoff"], ["which parameter of 'emt' holds its cutoff"]),
        (["Al", "--scan", "asap_cutoff="], ["--scan asap_cutoff=", "a name and a value"]),
        (["Al", "--scan", "x=1,2", "--scan", "x=3,4"], ["x is given twice"]),
        (["Al", "--scan", "kgrid=4,8"], ["kgrid", "emt"]),
        (["Al", "--scan", "kgrid=4,8.5"], ["8.5", "one whole number or three"]),
        (["Al", "--scan", "x=1,2", "--set", "cutoff=300"], ["which parameter of 'emt' holds its cutoff"]),
        (["Al", "--scan", "x=1,2", "--set", "mode.ecut"], ["--set mode.ecut", "a name and a value"]),
        (["Al", "--scan", "x=1,2", "--set", "y=1", "--set", "y=2"], ["y is given twice"]),
        (["Al", "--scan", "x=1,2", "--force", "0"], ["target of the force is 0"]),
        (["Al", "--scan", "x=1,2", "--configurations", "0", "--unit-cells", "1"], ["1 configurations"]),
        (["Al", "--check", "4"], ["--check needs the input file"]),
        (["Al", "--check", "4", "--scan", "x=1,2"], ["one of the two"]),
        (["al.toml", "--calculator", "emt", "--lattice", "fcc"], ["--calculator, --lattice", "this is set in al.toml"]),
        (["none.toml"], ["none.toml cannot be read"]),
        (["Fe", "--scan", "x=1,2"], ["'emt' does not know Fe"]),
        (["Al", "--scan", "x=1,2", "--out", "al.toml"], ["al.toml is a file"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(args: list[str], parts: list[str]) -> None:
    Path("al.toml").write_text(INPUT)
    result = call(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    for part in parts:
        assert part in result.stderr
    assert [path.name for path in Path().iterdir()] == ["al.toml"]


def test_stopping_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import ndsc.convergence

    def stop(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ndsc.convergence, "converge", stop)
    result = call(*STRUCTURE, "--scan", "basis.cutoff=200,300")
    assert result.exit_code == 130
    assert "kept in Al-convergence/labels; run the same command again" in result.stderr


SEVERAL = (
    INPUT.replace('[crystal]\nstructure = "Al"\n', "").replace('method = "none"', "cutoff = 4.0")
    + """
[[crystal]]
name = "fcc"
structure = "Al"
relax = false
[[crystal]]
name = "bcc"
structure = "Al"
lattice = "bcc"
a = 3.4
relax = false
"""
)


def test_one_of_several_crystals() -> None:
    Path("phases.toml").write_text(SEVERAL)
    refused = call("phases.toml", "--dry-run")
    assert refused.exit_code == 2
    assert "phases.toml has several crystals (fcc, bcc)" in " ".join(refused.stderr.split())
    unknown = call("phases.toml", "--crystal", "hcp")
    assert unknown.exit_code == 2
    Path("al.toml").write_text(INPUT)
    assert call("al.toml", "--crystal", "fcc").exit_code == 2
    assert call(*STRUCTURE, "--kgrid", "4", "--crystal", "fcc").exit_code == 2
    result = call("phases.toml", "--crystal", "bcc", "--scan", "kgrid=4,6", "--configurations", "1")
    assert "Written: phases-bcc-convergence" in " ".join(result.stdout.split())
    # The calculations are of the bcc crystal, scaled and strained.
    store = LabelStore("phases-bcc-convergence/labels")
    volumes = [store.load(key).atoms.get_volume() / len(store.load(key).atoms) for key in list(store.keys())]
    assert min(volumes) == pytest.approx(3.4**3 / 2, rel=0.1)
    assert max(volumes) == pytest.approx(3.4**3 / 2, rel=0.1)


def test_another_calculator_may_be_that_of_several_crystals() -> None:
    Path("al.toml").write_text(INPUT)
    Path("phases.toml").write_text(SEVERAL.replace("cutoff = 200", "cutoff = 300"))
    result = call("al.toml", "--bias", "--against", "phases.toml", "--quantity", "forces", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["to_compute"] > 0
