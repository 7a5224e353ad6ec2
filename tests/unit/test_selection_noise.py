"""Noise, posterior and calibration: against scipy's normal distribution, finite differences and refits."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ndsc.fit.linear_system import ENERGY, FORCE, VIRIAL, kinds_of
from ndsc.selection.noise import (
    BOND,
    LARGEST,
    PRIOR,
    PRIOR_CONFIGURATIONS,
    PRIOR_WIDTH,
    SMALLEST,
    Noise,
    Observations,
    _negative_log_likelihood,
    calibration,
    most_probable_noise,
)
from ndsc.selection.posterior import Posterior

TRUE = Noise(3.0, 2e-3, 0.03, 4e-3, 8e-3)


def drawn(frames=8, atoms=4, m=30, *, truth=TRUE, seed=0, decay=0.0, misfit=0.0):
    """Labels of a random linear model whose weights and noise are drawn from the distributions assumed."""
    random = np.random.default_rng(seed)
    kinds = np.tile(kinds_of(atoms), frames)
    rows = random.normal(size=(len(kinds), m)) * np.logspace(0, -decay, m)
    values = rows @ (truth.scale * random.normal(size=m))
    n_atoms = np.full(len(kinds), atoms)
    frame_of = np.repeat(np.arange(frames), 7 + 3 * atoms)
    sizes = Observations(rows, values, kinds, n_atoms, frame_of).sizes
    values += np.sqrt(truth.variances(kinds, sizes, n_atoms)) * random.normal(size=len(kinds))
    values += misfit * random.normal(size=frames)[frame_of] * random.normal(size=len(kinds))
    return Observations(rows, values, kinds, n_atoms, frame_of)


def part(labels, chosen):
    return Observations(*(getattr(labels, name)[chosen] for name in ("rows", "values", "kinds", "n_atoms", "frame_of")))


def variances_of(labels, noise):
    return noise.variances(labels.kinds, labels.sizes, labels.n_atoms)


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize(("frames", "m"), [(2, 30), (8, 10)])
def test_the_likelihood_is_that_of_a_normal_distribution(by_rows, frames, m):
    labels = drawn(frames, m=m)
    gram = labels.rows @ labels.rows.T if by_rows else None
    values = []
    for scale, noise in ((2.0, TRUE), (0.7, Noise(1, 1e-3, 0.01, 2e-2, 0.1))):
        variances = variances_of(labels, noise)
        covariance = scale**2 * labels.rows @ labels.rows.T + np.diag(variances)
        truth = -multivariate_normal(np.zeros(len(labels)), covariance).logpdf(labels.values)
        values.append((_negative_log_likelihood(labels, gram, scale, variances)[0], truth))
    # The constant is left out.
    assert values[0][0] - values[1][0] == pytest.approx(values[0][1] - values[1][1], rel=1e-6)


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize(("frames", "m"), [(2, 30), (8, 10)])
def test_its_derivatives_are_finite_differences(by_rows, frames, m):
    labels = drawn(frames, m=m)
    gram = labels.rows @ labels.rows.T if by_rows else None
    variances, step = variances_of(labels, TRUE), 1e-4
    _, by_scale, by_variance = _negative_log_likelihood(labels, gram, 2.0, variances)

    def value(scale, changed):
        return _negative_log_likelihood(labels, gram, scale, changed)[0]

    slope = (value(2.0 * np.exp(step), variances) - value(2.0 * np.exp(-step), variances)) / (2 * step)
    assert by_scale == pytest.approx(slope, rel=1e-4, abs=1e-6)
    for row in (0, 3, len(labels) - 1):
        change = np.zeros(len(labels))
        change[row] = 100 * step * variances[row]
        slope = (value(2.0, variances + change) - value(2.0, variances - change)) / (200 * step * variances[row])
        assert by_variance[row] == pytest.approx(slope, rel=0.01)


@pytest.mark.parametrize(("frames", "m"), [(60, 40), (30, 400), (300, 20)])
def test_scale_and_sigmas_are_recovered(frames, m):
    found = most_probable_noise(drawn(frames, m=m, decay=3))
    # Each within what so many labels can tell; energies are few, and floors hide behind what is relative.
    assert found.scale == pytest.approx(TRUE.scale, rel=0.35)
    assert found.relative == pytest.approx(TRUE.relative, rel=0.4)


def test_floors_are_recovered_where_they_matter():
    truth = Noise(0.05, 1e-2, 1e-3, 2e-2, 3e-2)
    found = most_probable_noise(drawn(100, m=30, truth=truth))
    assert found.energy == pytest.approx(truth.energy, rel=0.3)
    assert found.force_floor == pytest.approx(truth.force_floor, rel=0.1)
    assert found.virial_floor == pytest.approx(truth.virial_floor, rel=0.2)


def test_a_start_does_not_change_the_result():
    labels = drawn(20)
    found = most_probable_noise(labels)
    for start in (found, Noise(*SMALLEST), Noise(*LARGEST)):
        other = most_probable_noise(labels, start)
        assert other.scale == pytest.approx(found.scale, rel=0.05)
        assert other.relative == pytest.approx(found.relative, rel=0.05)


NEARLY_EXACT = Noise(1.0, 1e-9, 1e-9, 1e-9, 1e-9)


@pytest.mark.parametrize(
    "labels",
    [
        drawn(18, m=200, decay=8, truth=NEARLY_EXACT),
        drawn(50, m=50, decay=9, truth=NEARLY_EXACT),
        drawn(20, m=200, decay=12, truth=Noise(1e3, 1e-9, 1e-9, 1e-9, 1e-9)),
        drawn(50, m=60, decay=9, truth=Noise(1e5, 1e-9, 1e-9, 1e-9, 1e-9)),
        drawn(18, m=100, misfit=1.0),
        drawn(20, m=30, truth=Noise(1e-12, 1e-12, 1e-12, 1e-12, 1e-12)),
        drawn(1, atoms=1, m=50),
        part(drawn(1), [0]),
        part(drawn(10), drawn(10).kinds == ENERGY),
        part(drawn(10), drawn(10).kinds == FORCE),
        part(drawn(10), drawn(10).kinds == VIRIAL),
        Observations(*(np.repeat(getattr(drawn(1), name), 40, axis=0) for name in
                       ("rows", "values", "kinds", "n_atoms", "frame_of"))),
        Observations(np.zeros((19, 8)), np.zeros(19), kinds_of(4), np.full(19, 4), np.zeros(19, dtype=int)),
    ],
)  # fmt: skip
def test_hostile_labels_give_sigmas_within_their_bounds(labels):
    found = most_probable_noise(labels)
    values = np.array(list(found.to_dict().values()))
    assert np.all(values >= SMALLEST * (1 - 1e-9))
    assert np.all(values <= LARGEST * (1 + 1e-9))
    posterior = Posterior.of_labels(labels, found)
    assert np.all(np.isfinite(posterior.mean))
    assert np.all(np.isfinite(posterior.root))
    assert np.all(posterior.deviations(labels.rows) <= found.scale * np.linalg.norm(labels.rows, axis=1) * (1 + 1e-6))
    assert 1.0 <= calibration(labels, found).forces <= calibration(labels, found).virials < np.inf
    # Never worse than where the search began.
    gram = labels.rows @ labels.rows.T
    ends = [
        _negative_log_likelihood(labels, gram, noise.scale, variances_of(labels, noise))[0]
        for noise in (found, Noise())
    ]
    assert ends[0] <= ends[1] + 10.0


def test_the_crystal_at_rest_says_nothing_of_the_noise():
    labels = drawn(12)
    at_rest = drawn(1, seed=1)
    joined = Observations(
        *(
            np.concatenate([getattr(labels, name), getattr(at_rest, name)])
            for name in ("rows", "values", "kinds", "n_atoms", "frame_of")
        )
    )
    values = np.where(np.arange(len(joined)) < len(labels), joined.values, 1e-5)
    frame_of = np.where(np.arange(len(joined)) < len(labels), joined.frame_of, 99)
    joined = Observations(joined.rows, values, joined.kinds, joined.n_atoms, frame_of)
    assert most_probable_noise(joined) == most_probable_noise(labels)
    assert len(joined.without_frames_at_rest()) == len(labels)


@pytest.mark.parametrize("truth", [Noise(3.0, 1e-3, 0.03, 1e-4, 2e-4), Noise(3.0, 1e-3, 3e-3, 2e-2, 5e-2)])
def test_the_search_finds_the_better_of_several_optima(truth):
    """Noise relative to values, or the same for all: what labels were drawn with is hardly more probable."""
    for seed in range(4):
        labels = drawn(6, m=60, decay=2, truth=truth, seed=seed)
        gram = labels.rows @ labels.rows.T
        found = most_probable_noise(labels)
        end, true = (
            _negative_log_likelihood(labels, gram, noise.scale, variances_of(labels, noise))[0]
            + 0.5 * np.sum((np.log(list(noise.to_dict().values()) / PRIOR) / PRIOR_WIDTH) ** 2)
            for noise in (found, truth)
        )
        assert end <= true + 0.5


def test_thinned_labels_are_some_of_them():
    labels = drawn(10)
    thinned = labels.thinned(50)
    assert len(thinned) == 50
    assert set(thinned.values) <= set(labels.values)
    assert labels.thinned(len(labels)) is labels


def test_without_labels_nothing_is_learned():
    empty = part(drawn(1), [])
    assert most_probable_noise(empty) == Noise()
    posterior = Posterior.of_labels(empty, Noise(scale=2.0))
    assert not posterior.mean.any()
    assert np.allclose(posterior.covariance, 4.0 * np.eye(30))


def test_the_regularisation_of_a_fit_has_the_same_ratios():
    made = TRUE.regularisation()
    assert made.energy == pytest.approx(TRUE.energy / TRUE.scale)
    assert made.force.relative == pytest.approx(TRUE.relative / TRUE.scale)
    assert made.force.minimum == pytest.approx(TRUE.force_floor / TRUE.scale)
    assert made.virial.relative == pytest.approx(TRUE.relative / TRUE.scale)
    assert made.virial.minimum == pytest.approx(TRUE.virial_floor / TRUE.scale)
    # A virial's sigma is the larger of its parts, where that of the posterior is their root of squares.
    labels = drawn(1, truth=Noise(3.0, 1e-9, 1e-9, 1e-9, 1e-9))
    forces, virial = labels.values[labels.kinds == FORCE], labels.values[labels.kinds == VIRIAL]
    sigmas = TRUE.scale * made.virial_sigma(virial, forces)
    parts = np.array([TRUE.relative * np.abs(virial), np.full(6, TRUE.relative * BOND * np.linalg.norm(forces))])
    assert sigmas == pytest.approx(np.maximum(parts.max(axis=0), TRUE.virial_floor))
    smooth = np.sqrt(variances_of(labels, TRUE))[labels.kinds == VIRIAL]
    assert smooth == pytest.approx(np.sqrt((parts**2).sum(axis=0) + TRUE.virial_floor**2))


@pytest.mark.parametrize(("frames", "m"), [(2, 60), (8, 10), (3, 57)])
def test_the_posterior_is_the_closed_formula(frames, m):
    labels = drawn(frames, m=m)
    posterior = Posterior.of_labels(labels, TRUE)
    weights = np.diag(1 / variances_of(labels, TRUE))
    covariance = np.linalg.inv(labels.rows.T @ weights @ labels.rows + np.eye(m) / TRUE.scale**2)
    assert np.allclose(posterior.covariance, covariance, rtol=1e-4, atol=1e-6)
    assert np.allclose(posterior.mean, covariance @ labels.rows.T @ weights @ labels.values, rtol=1e-4, atol=1e-5)
    rows = np.random.default_rng(1).normal(size=(5, m))
    assert np.allclose(posterior.deviations(rows) ** 2, np.einsum("rm,mn,rn->r", rows, covariance, rows), rtol=1e-4)


def test_draws_have_mean_and_covariance_of_the_posterior():
    posterior = Posterior.of_labels(drawn(1, atoms=1, m=8), TRUE)
    samples = posterior.samples(20000, 2.0)
    assert np.allclose(samples.mean(axis=0), posterior.mean, atol=1e-10)
    scale = 4 * np.max(np.abs(posterior.covariance))
    assert np.allclose(np.cov(samples.T), 4 * posterior.covariance, atol=0.05 * scale)
    assert posterior.samples(3).shape == (3, 8)
    assert np.array_equal(posterior.samples(4), posterior.samples(4))


@pytest.mark.parametrize(("frames", "m"), [(5, 200), (12, 20)])
@pytest.mark.parametrize("misfit", [0.0, 0.5])
def test_calibration_is_what_refits_without_each_configuration_say(frames, m, misfit):
    labels = drawn(frames, m=m, misfit=misfit)
    ratios = {FORCE: [], VIRIAL: []}
    for number in range(frames):
        own = labels.frame_of == number
        refit = Posterior.of_labels(part(labels, ~own), TRUE)
        for kind, found in ratios.items():
            some = own & (labels.kinds == kind)
            errors = labels.values[some] - labels.rows[some] @ refit.mean
            found.append(np.mean(errors**2) / np.mean(refit.deviations(labels.rows[some]) ** 2))

    def factor(found):
        square = (sum(found) + PRIOR_CONFIGURATIONS) / (len(found) + PRIOR_CONFIGURATIONS)
        return max(1.0, np.sqrt(square))

    for number, chosen in ((frames, None), (2, [0, 1])):
        forces, virials = (factor(ratios[kind][:number]) for kind in (FORCE, VIRIAL))
        found = calibration(labels, TRUE, chosen)
        assert found.forces == pytest.approx(forces, rel=1e-4)
        assert found.virials == pytest.approx(max(forces, virials), rel=1e-4)
        assert found.bands == pytest.approx(forces * np.sqrt((number + 2) / number), rel=1e-4)


def test_configurations_at_rest_do_not_count_for_the_calibration():
    labels = drawn(4, misfit=5.0)
    rest = labels.frame_of == 2
    values = np.where(rest & (labels.kinds == FORCE), 0.0, labels.values)
    still = Observations(labels.rows, values, labels.kinds, labels.n_atoms, labels.frame_of)
    assert calibration(still, TRUE).forces == pytest.approx(calibration(still, TRUE, [0, 1, 3]).forces)
    assert calibration(still, TRUE, [2]).forces == 1.0
    # Stress at rest is the crystal's own, and tells of elastic constants.
    assert calibration(still, TRUE, [2]).virials > 1.0
