"""The silicon example, from the density-functional labels that are shipped with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ndsc.config import load_config
from ndsc.workflow import make_plan, run_workflow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory):
    """The example, with a copy of its labels."""
    folder = tmp_path_factory.mktemp("si")
    (folder / "examples").mkdir()
    shutil.copy(EXAMPLES / "si-gpaw.toml", folder / "examples")
    shutil.copytree(EXAMPLES.parent / "data" / "si" / "labels", folder / "data" / "si" / "labels")
    return load_config(folder / "examples" / "si-gpaw.toml")


@pytest.fixture(scope="module")
def plan(config, tmp_path_factory):
    return make_plan(config, tmp_path_factory.mktemp("plan"), compute=False)


def test_every_label_is_shipped(plan):
    labels = [plan.store.get(plan.store.key_of(atoms, plan.spec)) for atoms in plan.to_label]
    assert all(label is not None for label in labels)
    assert len(plan.configurations) >= 20
    assert {label.provenance["code"] for label in labels} == {"gpaw 26.7.0"}


def test_folded_kpoints_make_perfect_cells_agree(plan):
    # The energy per atom of the perfect crystal in each supercell is that of the unit cell: within 0.01 meV.
    perfect = [plan.configurations[0]]
    perfect += [frame for frame in plan.phonon_frames if frame.info["config_type"] == "phonon_perfect"]
    assert [len(atoms) for atoms in perfect] == [2, 8, 8, 8, 8, 8]
    energies = [plan.store.get(plan.store.key_of(atoms, plan.spec)).energy / len(atoms) for atoms in perfect]
    np.testing.assert_allclose(energies, energies[0], rtol=0, atol=1e-5)


def test_labels_are_consistent(plan):
    # Energies along random deformations follow from the stresses at their ends to second order.
    cells = [
        atoms
        for atoms in plan.configurations
        if atoms.info["config_type"] == "unit_cell" and atoms.info["ndsc_displacement"] == 0
    ]
    labels = [plan.store.get(plan.store.key_of(atoms, plan.spec)) for atoms in cells]
    for atoms, label in zip(cells[1:], labels[1:], strict=True):
        strain = np.linalg.solve(cells[0].cell.array, atoms.cell.array) - np.eye(3)
        virial = np.zeros(6)
        for frame, one in ((cells[0], labels[0]), (atoms, label)):
            virial += 0.5 * frame.get_volume() * one.stress
        voigt = [strain[0, 0], strain[1, 1], strain[2, 2], 2 * strain[1, 2], 2 * strain[0, 2], 2 * strain[0, 1]]
        assert label.energy - labels[0].energy == pytest.approx(np.dot(virial, voigt), rel=0.1, abs=2e-4)


@pytest.mark.gap
def test_the_example_reaches_what_the_readme_says(config, tmp_path):
    results = run_workflow(config, tmp_path / "run")
    assert results.labels.reused == results.labels.requested
    assert not results.labels.failures
    assert results.selection.target_met
    assert results.selection.labels <= 24
    assert results.selection.predicted_rmse_thz <= 0.05
    assert results.phonons.rmse_mesh_thz < 0.05
    assert results.phonons.min_frequency_thz > -0.01
    assert all(abs(value.error_percent) < 3.0 for value in results.elastic.values())
    assert results.lattice["a"].reference == pytest.approx(3.8716, abs=1e-4)
