"""Runs of several crystals: one potential, a grid, configurations and a benchmark for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from typer.testing import CliRunner

from ndsc.cli.app import app
from ndsc.config import RunConfig, SeveralConfig, dump_several, parse_config, parse_run
from ndsc.errors import InputError
from ndsc.fit import GapCalculator
from ndsc.fit.databases import check_elements
from ndsc.results import read_results, read_several_results
from ndsc.workflow import make_plan, missing_labels, run_several
from ndsc.workflow.checks import check_plan
from ndsc.workflow.joint import make_joint_plan

CRYSTALS = """
[[crystal]]
name = "fcc"
structure = "Cu"

[[crystal]]
name = "bcc"
structure = "Cu"
lattice = "bcc"
a = 2.86
supercells = {{grid = [2, 2, 1]}}
{bcc}
"""
REST = """
[supercells]
grid = [2, 2, 2]
{labels}
[reference]
calculator = "{calculator}"
[executor]
workers = 1
[fit]
solver = "numpy"
cutoff = 4.5
n_max = 5
l_max = 4
n_sparse = 80
[phonons]
dos_mesh = [8, 8, 8]
"""
ALL = "[configurations]\nper_supercell = 8\nunit_cells = 8\nunlabelled = 5"


def text(*, bcc: str = "", labels: str = ALL, calculator: str = "emt") -> str:
    return (CRYSTALS + REST).format(bcc=bcc, labels=labels, calculator=calculator)


def several(source: str) -> SeveralConfig:
    found = parse_run(source, source="test.toml")
    assert isinstance(found, SeveralConfig)
    return found


# The input file


def test_each_crystal_is_what_its_own_input_file_would_be() -> None:
    own = "[[crystal.configurations]]\nname = 'few'\nper_supercell = 1\n[crystal.elastic]\nstrain = 0.01\n"
    found = several(text(bcc=own) + "displacement = 0.02\n[elastic]\nrelax_ions = false\n")
    fcc, bcc = found.crystals["fcc"], found.crystals["bcc"]
    alone = REST.format(labels=ALL, calculator="emt") + "displacement = 0.02\n[elastic]\nrelax_ions = false\n"
    assert fcc == parse_config("[crystal]\nstructure = 'Cu'\n" + alone)
    assert bcc.supercells.grid == (2, 2, 1)
    assert [part.per_supercell for part in bcc.configurations] == [1]
    assert (bcc.elastic.strain, bcc.elastic.relax_ions) == (0.01, False)
    assert bcc.phonons == fcc.phonons
    assert bcc.fit == fcc.fit


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for source in (text(), text(labels=""), text(bcc="configurations = {unit_cells = 2}")):
        config = several(source)
        assert parse_run(dump_several(config, folder=tmp_path), folder=tmp_path) == config


def test_a_table_of_one_crystal_is_read_as_before() -> None:
    assert isinstance(parse_run("[crystal]\nstructure = 'Cu'\n[supercells]\ngrid = 2"), RunConfig)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name = \"bcc\"\n", ""), "number 2 has no name"),
        (("\"bcc\"\nstr", "\"fcc\"\nstr"), "two of .* are called fcc"),
        (("\"bcc\"\nstr", "\"b/c\"\nstr"), "number 2 has the name 'b/c'"),
        (("\"bcc\"\nstr", "\"labels\"\nstr"), "is the name of a file or folder"),
        (("[2, 2, 1]", "[2, 2]"), r"crystal bcc: \[supercells\] grid = \[2, 2\]"),
        (("a = 2.86", "b = 2.86"), r"crystal bcc: \[crystal\] b is not a known key"),
        (("grid = [2, 2, 2]", ""), r"crystal fcc: \[supercells\] grid is missing"),
        (("\"Cu\"\nlattice", "\"none.cif\"\nlattice"), r"there is no file .*none\.cif"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_the_crystal(change: tuple[str, str], message: str) -> None:
    source = text()
    assert change[0] in source
    with pytest.raises(InputError, match=message):
        parse_run(source.replace(*change, 1), source="test.toml")


def test_labels_are_chosen_for_all_crystals_or_for_none() -> None:
    with pytest.raises(InputError, match="all configurations of bcc would be labelled, while for fcc"):
        parse_run(text(labels="", bcc="configurations = {unit_cells = 2}"))


def test_commands_for_one_crystal_refuse_several(tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text(text())
    with pytest.raises(InputError, match=r"several crystals .* and this takes one"):
        parse_config(text())
    done = CliRunner().invoke(app, ["converge", str(tmp_path / "both.toml"), "--scan", "cutoff=4,5", "--dry-run"])
    assert done.exit_code == 2


# What a run would do


def test_the_plan_is_that_of_each_crystal_alone(tmp_path: Path) -> None:
    joint = make_joint_plan(several(text()), tmp_path, compute=False)
    check_plan(joint, tmp_path)
    names = [str(atoms.info["ndsc_name"]) for atoms in [*joint.to_label, *joint.phonon_frames]]
    for plan, name in zip(joint.each, ("fcc", "bcc"), strict=True):
        alone = make_plan(plan.config, tmp_path, relax=False)
        keys = [plan.store.key_of(atoms, plan.spec) for atoms in plan.to_label]
        assert keys == [alone.store.key_of(atoms, alone.spec) for atoms in alone.to_label]
        assert [atoms.info["ndsc_name"] for atoms in plan.to_label] == [
            f"{name}-{atoms.info['ndsc_name']}" for atoms in alone.to_label
        ]
    assert len(joint.configurations) == joint.n_configurations == sum(len(plan.configurations) for plan in joint.each)
    assert len(set(names)) == len(joint.to_label)
    assert joint.own_size.n_atoms == sum(plan.own_size.n_atoms for plan in joint.each)


def test_single_atoms_are_there_once(tmp_path: Path) -> None:
    source = text().replace("n_sparse = 80", "n_sparse = 80\ne0 = 'isolated'")
    joint = make_joint_plan(several(source), tmp_path, compute=False)
    kinds = [atoms.info["config_type"] for atoms in joint.configurations]
    assert kinds.count("isolated_atom") == 1
    assert joint.n_configurations == len(joint.configurations)


def test_elements_are_those_of_all_crystals(tmp_path: Path) -> None:
    source = text().replace('structure = "Cu"\nlattice', 'structure = "Au"\nlattice').replace("2.86", "3.2")
    joint = make_joint_plan(several(source), tmp_path, compute=False)
    assert joint.symbols == ["Au", "Cu"]
    assert joint.own_size.n_species == 2
    check_elements((), joint.symbols)
    assert any("e0 = 'average'" in note for note in check_plan(joint, tmp_path))


def test_what_is_missing_elsewhere_is_that_of_all_crystals(tmp_path: Path) -> None:
    source = text(calculator="elsewhere").replace('structure = "Cu"', 'structure = "Cu"\nrelax = false')
    config = several(source)
    found = missing_labels(config, tmp_path)
    each = [missing_labels(one, tmp_path) for one in config.crystals.values()]
    assert {label.key for label in found.wanted} == {label.key for one in each for label in one.wanted}
    names = [str(label.atoms.info["ndsc_name"]) for label in found.wanted]
    assert len(set(names)) == len(names)
    assert {name.partition("-")[0] for name in names} == {"fcc", "bcc"}
    moving = missing_labels(several(text(calculator="elsewhere")), tmp_path)
    assert [label.task for label in moving.wanted] == ["relaxation", "relaxation"]


# A run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    (folder / "cu.toml").write_text(text())
    done = CliRunner().invoke(app, ["run", str(folder / "cu.toml"), "--out", str(folder / "run")])
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.mark.gap
def test_one_potential_has_the_phonons_of_all_crystals(finished: Path) -> None:
    results = read_several_results(finished)
    fcc, bcc = results.crystals["fcc"], results.crystals["bcc"]
    assert fcc.phonons is not None
    assert bcc.phonons is not None
    assert fcc.phonons.rmse_mesh_thz < 0.3
    assert bcc.phonons.rmse_mesh_thz < 0.3
    # bcc copper is unstable with this reference, and so it is with the potential.
    assert bcc.phonons.reference_min_frequency_thz < -0.5
    assert bcc.phonons.min_frequency_thz < -0.5
    assert fcc.phonons.min_frequency_thz > -0.05
    assert results.fit is not None
    assert set(results.fit.errors) == {"all", "fcc/unit_cell", "fcc/supercell", "bcc/unit_cell", "bcc/supercell"}
    assert not any("more in" in warning for warning in results.warnings)
    # Energies of the relaxed crystals, by the potential file and by the reference.
    crystal = read(finished / "bcc" / "crystal.extxyz")
    crystal.calc = GapCalculator(finished / "potential" / "gap.xml")
    assert crystal.get_potential_energy() == pytest.approx(results.energies["bcc"].model, abs=1e-3)
    difference = results.energies["bcc"].reference - results.energies["fcc"].reference
    assert results.energies["bcc"].model - results.energies["fcc"].model == pytest.approx(difference, abs=2e-3)
    assert difference > 0.01


@pytest.mark.gap
def test_the_folder_of_a_crystal_is_that_of_a_run_of_it(finished: Path) -> None:
    joint = read(finished / "database.extxyz", ":")
    assert sum(len(read(finished / name / "database.extxyz", ":")) for name in ("fcc", "bcc")) == len(joint)
    for name in ("fcc", "bcc"):
        one = read_results(finished / name)
        assert one == read_several_results(finished).crystals[name]
        assert one.labels.succeeded == one.labels.requested  # type: ignore[union-attr]
        assert (finished / name / "report.html").is_file()
        own = read(finished / name / "predictions.extxyz", ":")
        assert {str(frame.info["config_type"]).partition("/")[0] for frame in own} == {name}
        assert f'href="{name}/report.html"' in (finished / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="belongs to a run of several crystals"):
        read_results(finished)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than all the rest."""
    for name in ("write_report", "write_several_report"):
        monkeypatch.setattr(f"ndsc.workflow.several.{name}", lambda _: None)


@pytest.mark.gap
@pytest.mark.usefixtures("no_report")
def test_a_second_run_computes_nothing(finished: Path) -> None:
    before = {path.name for path in (finished / "labels").iterdir()}
    results = run_several(parse_run((finished / "ndsc.toml").read_text(), folder=finished), finished)  # type: ignore[arg-type]
    assert {path.name for path in (finished / "labels").iterdir()} == before
    assert results.labels.reused == results.labels.requested
    assert all(one.labels.reused == one.labels.requested for one in results.crystals.values())  # type: ignore[union-attr]


@pytest.mark.gap
@pytest.mark.usefixtures("no_report")
def test_labels_are_chosen_for_all_crystals_together(tmp_path: Path) -> None:
    chosen = "[selection]\nmax_labels = 12\nbatch = 4\ncandidates = 60\ntarget_thz = 0.01"
    source = text(labels=chosen)
    results = run_several(several(source), tmp_path / "run")
    labels = {name: one.selection.labels for name, one in results.crystals.items()}  # type: ignore[union-attr]
    assert sum(labels.values()) == 12
    assert min(labels.values()) >= 2
    for name, one in results.crystals.items():
        assert one.selection is not None
        assert all(label.startswith(f"{name}-") for label in one.selection.order)
        assert len(one.selection.order) == one.selection.labels
        predicted = [step.predicted_rmse_thz for step in one.selection.steps]
        assert predicted[-1] < 0.5 * predicted[0]
        assert one.phonons.rmse_mesh_thz < 4 * predicted[-1]  # type: ignore[union-attr]
        assert (tmp_path / "run" / name / "phonons" / "predicted.json").is_file()
    constants = [one.selection.constants["C11"] for one in results.crystals.values()]  # type: ignore[union-attr]
    assert not np.isclose(*constants, rtol=0.02)
