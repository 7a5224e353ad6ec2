"""Predicted phonons of polar crystals have the non-analytical correction of their Born charges."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

import ndsc
from linear_models_for_tests import ModelCalculator, bound_crystal, labelled
from ndsc.errors import InputError
from ndsc.force_constants.polar import polar_modes
from ndsc.phonons import sorted_frequencies
from ndsc.report.predicted import PredictedCurves
from ndsc.selection import PhononTarget, make_candidates
from ndsc.selection.posterior import Posterior
from ndsc.selection.prediction import predict_phonons

CHARGES = {"born": np.array([1.1 * np.eye(3), -1.1 * np.eye(3)]), "dielectric": 2.4 * np.eye(3)}
GRID = (2, 2, 2)


@pytest.fixture(scope="module")
def salt():
    atoms, model, z = bound_crystal(bulk("NaCl", "rocksalt", a=5.64), shells=4.2)
    target = PhononTarget(atoms, GRID, nac_params=CHARGES)
    target.prepare(model.rows(target.frames()))
    return atoms, model, z, target


def test_frequencies_are_those_of_phonons_with_the_charges(salt):
    atoms, model, z, target = salt
    phonons = ndsc.phonons_from_supercells(
        atoms, GRID, ModelCalculator(model, z), nac_params=CHARGES, displacement=1e-4
    )
    path = ndsc.band_path(atoms)
    found = predict_phonons(Posterior(z, 1e-9 * np.eye(len(z))), target, path.qpoints, samples=2)
    truth = sorted_frequencies(phonons.phonopy, path.qpoints)
    assert found.frequencies == pytest.approx(truth, abs=2e-3)
    # LO is above TO at the zone centre, by what the charges say.
    centre = found.frequencies[[name == "Γ" for name in path.names]][0]
    (modes,) = polar_modes(phonons.phonopy, [[0.5, 0.0, 0.5]])
    assert centre[-1] == pytest.approx(modes.longitudinal[-1], abs=2e-3)
    assert centre[3] == pytest.approx(modes.transverse[-1], abs=2e-3)
    assert centre[-1] > centre[3] + 0.5


def test_errors_on_the_grid_are_the_same_with_and_without(salt):
    atoms, model, z, target = salt
    plain = PhononTarget(atoms, GRID)
    plain.prepare(model.rows(plain.frames()))
    posterior = Posterior(z, 1e-3 * np.eye(len(z)))
    assert target.error_rows(posterior) == pytest.approx(plain.error_rows(posterior))
    corners = [[0.5, 0.5, 0.5], [0.5, 0.0, 0.5]]
    with_charges, without = (predict_phonons(posterior, one, corners, samples=2) for one in (target, plain))
    assert with_charges.frequencies == pytest.approx(without.frequencies, abs=1e-4)


def test_predicted_phonons_of_labels_alone(salt):
    atoms, model, z, target = salt
    frames = labelled(make_candidates(ndsc.find_supercells(atoms, 2), 12, seed=3), ModelCalculator(model, z))
    qpoints = [[0.0, 0.0, 0.0], [0.05, 0.0, 0.05]]
    found = ndsc.predicted_phonons(frames, model, target, qpoints, samples=4)
    assert found.frequencies[0, -1] - found.frequencies[0, 3] > 0.5
    assert found.frequencies[0, -1] == pytest.approx(found.frequencies[1, -1], abs=0.2)


@pytest.mark.parametrize(
    ("charges", "said"), [({"born": np.eye(3)}, "has the shape"), ({"born": CHARGES["born"]}, "lack 'dielectric'")]
)
def test_charges_that_cannot_be(salt, charges, said):
    with pytest.raises(InputError, match=said):
        PhononTarget(salt[0], GRID, nac_params=charges)


def test_curves_of_older_runs_are_not_drawn_over_polar_phonons(salt):
    atoms, model, z, _ = salt
    phonons = ndsc.phonons_from_supercells(atoms, GRID, ModelCalculator(model, z), nac_params=CHARGES)
    comparison = ndsc.compare_phonons(phonons, phonons, dos_mesh=(4, 4, 4))
    assert comparison.polar
    path, mesh = comparison.path, comparison.mesh_qpoints
    ones = np.ones_like(comparison.reference_mesh)
    document = {
        "path_distances": path.distances, "path_ticks": path.ticks, "path_labels": path.labels,
        "path_segments": path.segments, "path_qpoints": path.qpoints, "path_frequencies": comparison.reference_path,
        "path_deviations": np.ones_like(comparison.reference_path), "mesh": [20, 20, 20], "mesh_qpoints": mesh,
        "mesh_weights": comparison.mesh_weights, "mesh_frequencies": comparison.reference_mesh,
        "mesh_deviations": ones, "dos_frequencies": [0.0, 1.0], "dos": [0.0, 1.0], "dos_deviation": [0.0, 0.1],
    }  # fmt: skip
    text = json.dumps({key: np.asarray(value).tolist() for key, value in document.items()})
    old, new = PredictedCurves.from_dict(json.loads(text)), PredictedCurves.from_dict(json.loads(text) | {"born": True})
    assert not old.matches(comparison)
    assert old.coverage(comparison) is None
    assert new.matches(comparison)
    assert new.coverage(comparison) == {95: 1.0, 68: 1.0}
    assert old.matches(replace(comparison, polar=()))
