"""The choice of labels with a Gaussian approximation potential: its targets, its posterior, and symmetry."""

import importlib.util

import numpy as np
import pytest

import ndsc
from linear_models_for_tests import ModelCalculator, bound_crystal, crystals, labelled
from ndsc.fit import GapCalculator, GapSettings, LinearSystem, apply_regularisation, fit_gap
from ndsc.force_constants.phonopy_model import grid_force_constants, make_phonopy, set_force_constants
from ndsc.selection import (
    ElasticTarget,
    GapModel,
    Noise,
    PhononTarget,
    Selector,
    make_candidates,
    predicted_phonons,
    select_configurations,
)
from ndsc.selection.posterior import Posterior
from ndsc.selection.selector import observations

pytestmark = [
    pytest.mark.gap,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'"),
]

SMALL = GapSettings(cutoff=4.0, n_max=4, l_max=3, n_sparse=30)


class Case:
    """A crystal, labels of it, and a GAP that was fitted to them."""

    def __init__(self, name, folder):
        self.atoms, model, z = bound_crystal(crystals()[name], width=0.2 if name == "rutile" else 0.25)
        self.reference = ModelCalculator(model, z)
        self.supercells = ndsc.find_supercells(self.atoms, (2, 2, 1))
        self.candidates = make_candidates(self.supercells, 60)
        self.frames = labelled(self.candidates[:: len(self.candidates) // 24], self.reference)
        self.fit = fit_gap(apply_regularisation(self.frames), folder, SMALL)
        self.model = GapModel(self.fit.xml_path, sparse_jitter=SMALL.sparse_jitter)
        system = LinearSystem.from_potential(self.fit.xml_path, apply_regularisation(self.frames))
        weights = system.solve()
        self.calculator = GapCalculator(system.write_potential(weights, folder / "same"))
        self.z = self.model.root.T @ weights

    def prepared(self, target):
        target.prepare(self.model.rows(target.frames()))
        return target


@pytest.fixture(scope="module", params=["fcc", "hcp", "diamond", "rutile"])
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("grid", [2, (1, 1, 3)])
def test_phonons_are_those_of_the_fitted_potential(case, grid):
    target = case.prepared(PhononTarget(case.atoms, grid))
    found = ndsc.phonons_from_supercells(
        case.atoms, grid, case.calculator, displacement=2e-3, residual_force_limit=1.0, route="dynamical"
    )
    expected = grid_force_constants(found.phonopy, target.grid)
    assert np.abs(target.force_constants(case.z) - expected).max() < 2e-3 * np.abs(expected).max()
    predicted = np.array(found.phonopy.run_qpoints(found.exact_qpoints).frequencies)
    own = make_phonopy(target.crystal, target.grid)
    set_force_constants(own, target.force_constants(case.z), target.grid)
    assert np.array(own.run_qpoints(found.exact_qpoints).frequencies) == pytest.approx(predicted, abs=0.02)


def test_elastic_constants_are_those_of_the_fitted_potential(case):
    # The ions of rutile are at a saddle of so small a potential.
    relaxed = len(case.atoms) <= 2
    target = case.prepared(ElasticTarget(case.atoms, relax_ions=relaxed))
    found = ndsc.elastic_constants(
        case.atoms, case.calculator, strain=1e-3, fmax=1e-5, max_steps=1000, relax_ions=relaxed
    )
    largest = max(abs(value) for value in found.constants.values())
    assert target.constants(case.z) == pytest.approx(found.constants, abs=0.01 * largest)


@pytest.fixture(scope="module")
def hcp(tmp_path_factory):
    return Case("hcp", tmp_path_factory.mktemp("hcp"))


def test_the_mean_of_the_posterior_is_the_fit(hcp):
    """With the sigmas of the posterior over its scale, a fit gives the same forces."""
    noise = Noise(2.0, 2e-3, 0.02, 0.01, 0.05)
    labels = observations(hcp.frames, hcp.model.rows(hcp.frames), hcp.model.n_weights, hcp.fit.e0)
    posterior = Posterior.of_labels(labels, noise)
    # gap_fit's regularisation has a corner where the sigma of the posterior is smooth.
    ours = noise.variances(labels.kinds, labels.sizes, labels.n_atoms) / noise.scale**2
    system = LinearSystem.from_potential(hcp.fit.xml_path, hcp.frames)
    rows = system.rows
    told = np.vstack([rows / np.sqrt(ours)[:, None], hcp.model.root.T])
    wanted = np.concatenate([labels.values / np.sqrt(ours), np.zeros(rows.shape[1])])
    weights = np.linalg.lstsq(told, wanted, rcond=None)[0]
    assert labels.rows @ posterior.mean == pytest.approx(rows @ weights, abs=1e-4)
    assert rows @ hcp.model.weights(posterior.mean) == pytest.approx(labels.rows @ posterior.mean, abs=1e-6)


def turned(frames):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    found = []
    for frame in frames:
        other = frame.copy()
        other.set_cell(frame.cell.array @ rotation.T)
        other.positions = frame.positions @ rotation.T
        found.append(other)
    return found


def test_a_turned_crystal_with_turned_candidates_has_the_same_choice(hcp):
    """Sigmas relative to components depend on the axes and are left out; those of virials count xy once, xx once."""
    found = []
    for atoms, candidates in (
        (hcp.atoms, hcp.candidates[:40]),
        (turned([hcp.atoms])[0], turned(hcp.candidates[:40])),
    ):
        selector = Selector(
            hcp.model, candidates, [PhononTarget(atoms, (2, 1, 1)), ElasticTarget(atoms, 3.0)], unit="labels"
        )
        selector.noise = Noise(relative=1e-6)
        found.append(selector.choose(5))
    assert found[1].order == found[0].order
    assert found[1].remaining == pytest.approx(found[0].remaining, rel=0.1)


def test_labels_that_are_not_paid_for_are_not_seen(hcp):
    targets = [PhononTarget(hcp.atoms, (2, 1, 1)), ElasticTarget(hcp.atoms)]
    spoiled = [frame.copy() for frame in hcp.candidates[:40]]
    for frame in spoiled:
        frame.info |= {"REF_energy": np.nan, "REF_virial": np.full(9, 1e9)}
        frame.arrays["REF_forces"] = np.full((len(frame), 3), np.nan)
    one = select_configurations(hcp.candidates[:40], hcp.model, targets, n=4, labelled=hcp.frames[:3])
    other = select_configurations(spoiled, hcp.model, targets, n=4, labelled=hcp.frames[:3])
    assert other.order == one.order
    assert np.array_equal(other.predicted_rmse_thz, one.predicted_rmse_thz)


def test_errors_shrink_as_labels_are_added_and_are_about_as_predicted(hcp):
    """Labels one batch after the other; in the end, the frequencies of the fit against those of the reference."""
    targets = [PhononTarget(hcp.atoms, hcp.supercells), ElasticTarget(hcp.atoms)]
    selector = Selector(hcp.model, hcp.candidates, targets, unit="labels")
    taken: list[int] = []
    predicted, statistical = [], []
    for _ in range(4):
        new = list(selector.choose(3).order)
        selector.add(labelled([hcp.candidates[number] for number in new], hcp.reference), candidates=new)
        taken += new
        errors = selector.predict()
        predicted.append(errors.rmse_thz)
        statistical.append(errors.statistical_rmse_thz)
    assert len(set(taken)) == 12
    # What few labels leave open shrinks; what so small a potential cannot represent is found out as labels come.
    assert statistical[-1] < statistical[0]
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 3))
    found = predicted_phonons(
        labelled([hcp.candidates[number] for number in taken], hcp.reference), hcp.model, targets[0], points
    )
    truth = ndsc.phonons_from_supercells(hcp.atoms, (2, 2, 1), hcp.reference, displacement=2e-3)
    expected = np.sort(np.array(truth.phonopy.run_qpoints(points).frequencies), axis=1)
    error = np.sqrt(np.mean((found.frequencies - expected) ** 2))
    assert found.rmse_thz / 2 < error < 2 * found.rmse_thz
    assert found.rmse_thz == pytest.approx(predicted[-1], rel=0.7)
