"""Parts of a database at a temperature or of a trajectory, in input files and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from ndsc import phonons_from_supercells, run_workflow
from ndsc.config import load_config, parse_config
from ndsc.config.files import dump_config
from ndsc.errors import InputError
from ndsc.workflow.dry_run import dry_run, plan_without_calculations
from ndsc.workflow.elsewhere import missing_labels
from ndsc.workflow.plan import make_plan

HEAD = '[crystal]\nstructure = "Al"\nlattice = "fcc"\na = 3.994\nrelax = false\n[supercells]\ngrid = 2\n'
OWN = (
    HEAD + "[configurations]\ntemperature = [100, 300]\nstatistics = 'classical'\nper_supercell = 3\nunlabelled = 4\n"
    "strain = 0.0\nscale = 1.0\n"
)

pytestmark = pytest.mark.usefixtures("no_figures")


def aluminium():
    return bulk("Al", "fcc", a=3.994)


def test_a_run_with_a_file_of_force_constants_and_a_trajectory(tmp_path: Path):
    phonons_from_supercells(aluminium(), 2, EMT()).save(tmp_path / "phonopy_params.yaml")
    frames = [aluminium() * (2, 2, 1) for _ in range(4)]
    for number, frame in enumerate(frames):
        frame.rattle(0.1, seed=number)
    write(tmp_path / "md.extxyz", frames)
    (tmp_path / "al.toml").write_text(
        HEAD
        + "[[configurations]]\nname = 'hot'\ntemperature = 300\nforce_constants = 'phonopy_params.yaml'\n"
        + "per_supercell = 2\nscale = 1.0\n"
        + "[[configurations]]\nname = 'md'\ntrajectory = 'md.extxyz'\nevery = 2\n[fit]\nmethod = 'none'\n"
    )
    config = load_config(tmp_path / "al.toml")
    assert config.configurations[1].trajectory == str(tmp_path / "md.extxyz")
    plan = plan_without_calculations(config, tmp_path / "al")
    assert plan.relaxed
    assert plan.counts == {1: 1, 2: 4, 4: 2}
    assert sum(plan.counts.values()) == len(plan.configurations)
    results = run_workflow(config, tmp_path / "al")
    assert results.configurations.by_type == {"unit_cell": 1, "thermal": 4, "trajectory": 2}
    assert (results.labels.succeeded, results.labels.reused) == (7, 0)
    written = read(tmp_path / "al" / "database.extxyz", index=":")
    hot = [atoms for atoms in written if atoms.info["config_type"] == "thermal"]
    assert {atoms.info["ndsc_temperature"] for atoms in hot} == {300}
    # The checked input is in the folder of the run, names the same files, and makes the same run.
    again = load_config(tmp_path / "al" / "ndsc.toml")
    assert again.configurations[0].force_constants == str(tmp_path / "phonopy_params.yaml")
    assert run_workflow(again, tmp_path / "al").labels.reused == 7


def test_phonons_of_the_reference_come_first(tmp_path: Path):
    config = parse_config(OWN)
    plan = plan_without_calculations(config, tmp_path)
    assert plan.waits_for_phonons
    assert not plan.relaxed
    said = str(dry_run(config, tmp_path)) if _has_quippy() else ""
    assert "still to be relaxed" not in said
    # What is to be calculated elsewhere is the phonons alone.
    tasks = {wanted.task for wanted in missing_labels(config, tmp_path, choose=False).wanted}
    assert tasks == {"perfect unit cell", "phonons"}
    full = make_plan(config, tmp_path)
    assert full.relaxed
    assert full.counts == plan.counts == {1: 1, 2: 6}
    thermal = [atoms for atoms in full.configurations if atoms.info["config_type"] == "thermal"]
    assert [atoms.info["ndsc_temperature"] for atoms in thermal] == [100, 300, 100] * 2
    assert len(full.unlabelled) == 4
    assert not {a.info["ndsc_name"] for a in full.unlabelled} & {a.info["ndsc_name"] for a in full.configurations}
    # With the labels in the store, a plan needs no calculation, and has the same structures.
    again = plan_without_calculations(config, tmp_path)
    assert again.relaxed
    for one, other in zip(full.configurations, again.configurations, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    tasks = {wanted.task for wanted in missing_labels(config, tmp_path, choose=False).wanted}
    assert tasks == {"perfect unit cell", "configurations", "strained cells"}


def test_a_crystal_too_hot_for_a_harmonic_model_is_said(tmp_path: Path):
    config = parse_config(OWN.replace("[100, 300]", "20000"))
    plan = make_plan(config, tmp_path)
    assert any("of the distance between neighbours" in text for text in plan.warnings)
    assert make_plan(parse_config(OWN), tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[fit]\nmethod = 'none'\n", r"\[fit\] method = 'none' there are none; give force_constants"),
        ("[phonons]\nreference = 'diagonal'\n", "reference = 'diagonal' there are none"),
    ],
)
def test_no_phonons_to_draw_from(more: str, said: str):
    with pytest.raises(InputError, match=said):
        parse_config(OWN + more)


def test_a_written_input_is_the_same():
    config = parse_config(OWN)
    assert parse_config(dump_config(config)) == config


def _has_quippy() -> bool:
    from importlib.util import find_spec

    return find_spec("quippy") is not None
