"""Why a potential is poor: what is measured, and which cause is named."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.geometry import find_mic

from ndsc.fit import GapSettings
from ndsc.force_constants.phonopy_model import grid_force_constants, set_force_constants
from ndsc.phonons import phonons_from_supercells
from ndsc.report.causes import causes_of
from ndsc.report.verdict import verdict_of
from ndsc.results import (
    Comparison,
    ConfigurationsSummary,
    CrystalSummary,
    DiagnosisSummary,
    FitCounts,
    FitSummary,
    PhononsSummary,
    Results,
    SelectionSummary,
    SupercellsSummary,
)
from ndsc.workflow.diagnosis import _of_data, _of_force_constants

MADE = {"displacement": [0.05], "scale": [0.98, 1.0, 1.02], "unit_cells": 4, "per_supercell": 5}


def results(*, rmse=1.0, n_atoms=2, elastic=2.0, grid=(4, 4, 4), phonon_grid=(4, 4, 4), **measured):
    """A run whose highest frequency is 20 THz, with what was measured in it."""
    moved = measured.pop("displaced_unit_cells", 20)
    return Results(
        crystal=CrystalSummary(formula="NaCl", n_atoms=n_atoms, magnetic_group=measured.pop("magnetic_group", None)),
        supercells=SupercellsSummary(grid=grid, matrices=[np.eye(3, dtype=int)], sizes=[1], cost=1, lower_bound=1),
        configurations=ConfigurationsSummary(total=30, settings=MADE),
        fit=FitSummary(
            counts={"energies": FitCounts(sent=4, read=4)},
            settings={"cutoff": 5.0, "n_sparse": 100, "n_max": 6, "l_max": 4},
        ),
        phonons=PhononsSummary(
            rmse_mesh_thz=rmse, rmse_path_thz=rmse, max_error_thz=rmse, min_frequency_thz=0.0,
            reference_min_frequency_thz=0.0, reference_max_frequency_thz=20.0, grid=list(phonon_grid),
        ),
        elastic={
            "C11": Comparison.of(100.0 + elastic, 100.0),
            "C12": Comparison.of(1.0, 0.5),  # small beside C11
        },
        diagnosis=DiagnosisSummary(unit_cells=20, displaced_unit_cells=moved, **measured),
        versions={},
        seed=1,
    )  # fmt: skip


def test_the_verdict_is_on_the_scale_of_the_crystal():
    assert verdict_of(results(rmse=0.39)).good
    assert "1.9 % of the highest frequency" in verdict_of(results(rmse=0.39)).text
    bad = verdict_of(results(rmse=0.41))
    assert not bad.good
    assert bad.causes
    assert verdict_of(results(rmse=0.39)).causes == ()
    # A constant of 0.5 GPa that is twice as large is not what matters; 6 GPa of 100 is.
    assert "worst: C12" in verdict_of(results(rmse=0.1, elastic=1.0)).text
    assert verdict_of(results(rmse=0.1, elastic=5.9)).good
    assert not verdict_of(results(rmse=0.1, elastic=6.1)).good


@pytest.mark.parametrize(
    ("measured", "name", "key"),
    [
        ({"phonon_grid": (6, 6, 6), "rmse_database_thz": 0.1}, "grid", "[supercells] grid = [6, 6, 6]"),
        ({"error_beyond_cutoff": 0.8, "beyond_cutoff": 0.1}, "range", "[fit] cutoff = 5.0"),
        ({"displaced_unit_cells": 0, "elastic": 30.0}, "unit cells", "[configurations] unit_cells = 4"),
        ({"displaced_unit_cells": 0, "rmse_centre_thz": 3.0}, "unit cells", "unit_cell_displacement = 0.02"),
        ({"anharmonic_share": 0.5}, "amplitude", "[configurations] displacement = [0.05]"),
        ({"force_rms": 0.5, "force_noise": 0.05}, "noise", "[reference]"),
        ({"training_share": 0.1}, "fit", "[fit] n_sparse = 100, n_max = 6, l_max = 4"),
        ({"training_share": 0.1, "magnetic_group": "1.1"}, "magnetism", "docs/magnetic.md"),
        ({"training_share": 0.001}, "labels", "[configurations] per_supercell = 5"),
        ({}, "labels", "[configurations] per_supercell = 5"),
    ],
)
def test_the_cause_that_was_measured(measured, name, key):
    found = causes_of(results(**measured))
    assert [cause.name for cause in found] == [name]
    assert key in found[0].advice


def test_what_is_no_cause():
    # A grid that holds that of the phonons; a range beyond which nothing acts; one atom in the unit cell.
    for measured in (
        {"grid": (4, 4, 4), "phonon_grid": (2, 2, 2), "rmse_database_thz": 0.1},
        {"error_beyond_cutoff": 0.9, "beyond_cutoff": 0.001},
        {"n_atoms": 1, "displaced_unit_cells": 0, "elastic": 30.0},
        {"force_rms": 0.5, "force_noise": 0.001},
        {"displaced_unit_cells": 0, "elastic": 30.0, "strain_moves_ions": False},
    ):
        assert [cause.name for cause in causes_of(results(**measured))] == ["labels"]


def test_the_furthest_over_its_limit_comes_first_and_two_are_named():
    found = causes_of(results(anharmonic_share=0.3, training_share=0.3, force_rms=1.0, force_noise=0.2))
    assert [cause.name for cause in found] == ["fit", "noise"]


def test_chosen_labels_have_the_advice_of_the_choice():
    chosen = SelectionSummary(method="random", candidates=9, labels=3, target_met=False, advice="Raise max_labels.")
    poor = results(anharmonic_share=0.5, displaced_unit_cells=0, elastic=20.0)
    found = causes_of(poor.model_copy(update={"selection": chosen}))
    assert [cause.advice for cause in found] == ["Raise max_labels."]


def test_noise_is_what_sums_of_forces_leave():
    rng = np.random.default_rng(1)
    frames = []
    for n in (4, 8, 16) * 40:
        atoms = bulk("Al").repeat((n, 1, 1))
        forces = rng.normal(scale=0.3, size=(n, 3))
        forces += -forces.mean(axis=0) + rng.normal(scale=0.02, size=(n, 3))
        atoms.arrays["REF_forces"] = forces
        frames.append(atoms)
    found = _of_data(frames)
    assert found["force_noise"] == pytest.approx(0.02, rel=0.1)
    assert found["force_rms"] == pytest.approx(0.3, rel=0.1)
    assert _of_data([bulk("Al")]) == {}


def test_force_constants_beyond_the_cutoff():
    """Against a model without any, in copper on a 4 x 4 x 4 grid, whose diagonal supercell is 8 Å across."""
    grid = (4, 4, 4)
    reference = phonons_from_supercells(bulk("Cu"), grid, EMT()).phonopy
    model = phonons_from_supercells(bulk("Cu"), grid, EMT()).phonopy
    cell, cutoff = bulk("Cu").cell.array, 3.0
    constants = grid_force_constants(reference, grid)
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    distances = find_mic(places, np.array(grid)[:, None] * cell)[1].reshape(grid)
    kept = constants.copy()
    kept[distances > cutoff] = 0.0
    set_force_constants(model, kept, grid)
    found = _of_force_constants(model, reference, grid, GapSettings(cutoff=cutoff))
    sizes = np.linalg.norm(constants[..., 0, 0, :, :], axis=(-2, -1))
    far = np.sqrt(np.sum(sizes[distances > cutoff] ** 2))
    assert found["error_beyond_cutoff"] == pytest.approx(1.0)
    assert found["beyond_cutoff"] == pytest.approx(far / np.sqrt(np.sum(sizes[distances > 0.1] ** 2)))
    assert found["force_constant_error"] == pytest.approx(far / np.sqrt(np.sum(sizes**2)))
    # Where the supercell ends before the cutoff, nothing is said of what lies beyond.
    assert set(_of_force_constants(model, reference, grid, GapSettings(cutoff=6.0))) == {"force_constant_error"}
