"""Labels that contradict all others: found among labels of a linear model whose truth is known, and only then."""

import numpy as np
import pytest
from test_selection_noise import drawn

from ndsc.fit.linear_system import FORCE
from ndsc.selection.noise import Noise, Observations, most_probable_noise
from ndsc.selection.outliers import LARGEST_PART, Believed, find_outliers
from ndsc.selection.posterior import Posterior

QUIET = Noise(3.0, 3e-4, 0.004, 5e-4, 1e-3)


def spoilt(labels, frames, by=0.5, seed=5):
    """The same labels with forces of some configurations wrong by a part of their size."""
    random = np.random.default_rng(seed)
    wrong = np.isin(labels.frame_of, frames) & (labels.kinds == FORCE)
    size = np.sqrt(np.mean(labels.values[wrong] ** 2)) if len(frames) else 0.0
    values = labels.values + np.where(wrong, by * size * random.normal(size=len(labels)), 0.0)
    return Observations(labels.rows, values, labels.kinds, labels.n_atoms, labels.frame_of)


def believed(labels, left_out):
    """What all other labels say."""
    others = labels.without_frames(left_out)
    return Believed.of(others, most_probable_noise(others))


@pytest.mark.parametrize("frames", [[], [3], [0, 7]])
def test_configurations_with_wrong_forces_are_found_and_no_others(frames):
    labels = spoilt(drawn(12, truth=QUIET, m=60, seed=1), frames)
    found = find_outliers(labels)
    assert sorted(found.frames) == frames
    assert found.noise.relative < 0.01
    # What is left is known as well as if the wrong labels had never been there.
    clean = Posterior.of_labels(labels.without_frames(frames), found.noise)
    assert found.noise.relative == pytest.approx(most_probable_noise(labels.without_frames(frames)).relative, rel=0.05)
    assert np.all(np.isfinite(clean.mean))


def test_labels_that_all_are_noisy_have_no_outliers():
    for seed in range(4):
        assert find_outliers(drawn(12, truth=Noise(3.0, 2e-3, 0.05, 4e-3, 8e-3), m=60, seed=seed)).frames == ()


def test_a_model_that_lacks_something_everywhere_has_no_outliers():
    assert find_outliers(drawn(12, truth=QUIET, m=60, misfit=0.5)).frames == ()


def test_too_few_labels_contradict_nothing():
    assert find_outliers(spoilt(drawn(5, truth=QUIET, m=10), [2])).frames == ()


def test_at_most_a_quarter_are_outliers_also_with_those_found_before():
    labels = spoilt(drawn(12, truth=QUIET, m=60, seed=1), [1, 2, 3, 4, 5])
    assert len(find_outliers(labels).frames) <= LARGEST_PART * 12
    assert (
        len(find_outliers(labels, new=[11], known=[1, 2], before=believed(labels, [1, 2, 11])).frames)
        <= LARGEST_PART * 12
    )


@pytest.mark.parametrize("m", [20, 400])
@pytest.mark.parametrize("wrong", [4, 11])
def test_of_a_label_and_those_before_the_wrong_one_is_the_outlier(m, wrong):
    labels = spoilt(drawn(12, truth=QUIET, m=m, seed=2), [wrong], by=5.0)
    found = find_outliers(labels, new=[11], before=believed(labels, [11]))
    assert found.frames == (wrong,)
    clean = most_probable_noise(labels.without_frames([wrong]))
    assert found.noise.scale == pytest.approx(clean.scale, rel=0.05)


def test_a_label_is_believed_again_when_the_others_agree_with_it():
    labels = spoilt(drawn(12, truth=QUIET, m=20, seed=2), [4], by=5.0)
    found = find_outliers(labels, new=[11], known=[3, 4, 5], before=believed(labels, [3, 4, 5, 11]))
    assert found.frames == (4,)
    assert find_outliers(labels, known=[4]).frames == (4,)


def test_what_all_labels_miss_by_as_much_is_no_contradiction():
    labels = drawn(16, truth=QUIET, m=20, misfit=0.3, seed=3)
    assert find_outliers(labels, new=[15], before=believed(labels, [15])).frames == ()
