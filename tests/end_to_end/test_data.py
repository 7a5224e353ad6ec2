"""The databases that are shipped: whole, unchanged, and with every label that their input files ask for."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ndsc.config import load_config
from ndsc.convergence import QUANTITIES
from ndsc.reference import LabelStore
from ndsc.reference.inventory import Problem, read_all
from ndsc.reference.label_file import recorded_spec
from ndsc.reference.settings import settings_of
from ndsc.workflow import make_plan, run_workflow
from ndsc.workflow.plan import Plan

DATA = Path(__file__).resolve().parents[2] / "data"
#: Databases whose settings were chosen by their bias.
CHOSEN = [DATA / name / f"{name}.toml" for name in ("al", "mg", "si", "w")]
#: `second` has the settings of another code and no labels of its own.
INPUTS = sorted(path for path in DATA.rglob("*.toml") if path.relative_to(DATA).parts[0] != "second")
STORES = sorted([*DATA.glob("*/labels*"), *DATA.glob("*/bias/labels"), *DATA.glob("*/noise/labels")])
BIASES = sorted(DATA.glob("*/bias/bias.json"))
#: Numbers that a limit changes by more than their targets allow, as data/README.md says.
BEYOND = {
    "al": ["C44"],
    "mg": ["unit_cells-unit-0001", "unit_cells-unit-0002", "(0 0 1/2) 1-4"],
    "si": ["medium-s000-0000"],
    "w": ["large-s001-0001", "large-s002-0002", "(0 0 1/2) 1", "(1/2 1/2 1/2) 1-3"],
}


@pytest.fixture(scope="module", params=INPUTS, ids=lambda path: str(path.relative_to(DATA).with_suffix("")))
def plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """What an input file of the databases asks for, without calculating anything."""
    return make_plan(load_config(request.param), tmp_path_factory.mktemp("run"), compute=False)


def test_there_are_databases() -> None:
    assert {path.parent.name for path in INPUTS} >= {"al", "si"}


def test_nothing_was_changed() -> None:
    listed = dict(reversed(line.split("  ", 1)) for line in (DATA / "SHA256SUMS").read_text().splitlines())
    found = {
        f"./{path.relative_to(DATA)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in DATA.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS" and "claims" not in path.parts
    }
    assert listed == found


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 30e6


@pytest.mark.parametrize("store", STORES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_file_of_a_store_is_a_sound_label(store: Path) -> None:
    found = dict(read_all(LabelStore(store)))
    assert found
    assert not [name for name, one in found.items() if isinstance(one, Problem)]


@pytest.mark.parametrize("path", CHOSEN, ids=lambda path: path.stem)
def test_labels_have_the_settings_of_their_input_file_and_a_time(path: Path) -> None:
    config = load_config(path)
    found = dict(read_all(LabelStore(config.reference.labels)))
    assert found
    for key, label in found.items():
        assert not isinstance(label, Problem)
        assert recorded_spec(label.provenance) == config.reference.to_spec(), key
        assert label.cpu_seconds is not None


def test_the_bias_of_every_crystal_is_known() -> None:
    assert {path.parents[1].name for path in BIASES} == {path.stem for path in CHOSEN}


@pytest.mark.parametrize("path", BIASES, ids=lambda path: path.parents[1].name)
def test_the_bias_of_the_settings_is_within_its_targets(path: Path) -> None:
    found = json.loads(path.read_text())
    crystal = path.parents[1]
    spec = load_config(crystal / f"{crystal.name}.toml").reference.to_spec()
    assert found["settings"] == json.loads(json.dumps(settings_of(spec)))
    assert found["settings"] != found["limit"]
    assert {row["quantity"] for row in found["rows"]} == set(QUANTITIES)
    beyond = [row["name"] for row in found["rows"] if abs(row["change"]) > row["allowed"]]
    assert beyond == BEYOND.get(crystal.name, [])


def test_every_label_is_there(plan: Plan) -> None:
    missing = [
        atoms.info["ndsc_name"] for atoms in plan.to_label if plan.store.key_of(atoms, plan.spec) not in plan.store
    ]
    assert not missing


def test_no_two_configurations_are_the_same(plan: Plan) -> None:
    keys = [plan.store.key_of(atoms, plan.spec) for atoms in plan.configurations]
    assert len(set(keys)) == len(keys)


def test_folded_kpoints_make_perfect_cells_agree(plan: Plan) -> None:
    # The energy per atom of the perfect crystal in each supercell is that of the unit cell, to 0.01 meV for Al and Si.
    # The atoms of magnesium lie differently between the points of the real-space grid in each cell: 0.2 meV.
    perfect = list(plan.perfect_unit_cells)
    perfect += [atoms for atoms in plan.phonon_frames if atoms.info["config_type"] == "phonon_perfect"]
    assert len(perfect) >= 1 + len(plan.phonon_supercells)
    energies = []
    for atoms in perfect:
        label = plan.store.get(plan.store.key_of(atoms, plan.spec))
        assert label is not None
        energies.append(label.energy / len(atoms))
    symbol = plan.crystal.atoms.symbols[0]
    limit = 1e-5 if symbol in ("Al", "Si") else 3e-4
    np.testing.assert_allclose(energies, energies[0], rtol=0, atol=limit)
    if symbol != "Si":  # whose supercells lie on both sides of the unit cell, 0.016 meV apart
        assert np.ptp(energies) < limit


@pytest.mark.gap
def test_labels_that_a_run_chose_are_chosen_again(tmp_path: Path) -> None:
    shutil.copytree(DATA / "mg", tmp_path / "mg")
    results = run_workflow(load_config(tmp_path / "mg" / "chosen.toml"), tmp_path / "run")
    assert results.labels is not None
    assert results.selection is not None
    assert results.labels.reused == results.labels.requested
    assert results.selection.labels == 24
    assert results.phonons is not None
    assert results.phonons.rmse_mesh_thz is not None
    assert results.phonons.rmse_mesh_thz < 0.007
    assert 0.5 < results.selection.predicted_rmse_thz / results.phonons.rmse_mesh_thz < 2
