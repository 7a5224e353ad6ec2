"""Labels that contradict all others.

A calculation that ended in another electronic state, or atoms that crossed the cutoff of a reference, make one label
wrong by more than any model can follow. With it among the labels, the noise that makes all of them most probable is
large, or the scale of the prior, and every other label is believed less for it. A label that comes after others is
compared with what they predict of it; among labels that come together, one is found by the noise without it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ndsc.fit.linear_system import FORCE, VIRIAL
from ndsc.selection.noise import ONE, Factors, Noise, Observations, calibration, most_probable_noise
from ndsc.selection.posterior import Posterior

#: A label contradicts others when forces or virials are wrong by this many times what they let expect. Among labels of
#: nine crystals in the order in which they were chosen, and of four in random orders, the largest was 3.1.
SURPRISE = 5.0
#: With more labels than this, the one that comes last is wrong where it contradicts the others.
MOST_COMPARED = 16
#: Labels that are wrong by less than this part, by their most probable noise, contain none that is looked for.
LARGE_NOISE = 0.01
#: Outliers make the relative noise of the other labels at least this many times smaller when they are left out.
LESS_NOISE = 5.0
#: Fewest configurations of which one can contradict the others.
FEWEST = 6
#: At most this part of the configurations are outliers, and as many are looked for together.
LARGEST_PART, TOGETHER = 0.25, 3


@dataclass(frozen=True)
class Outliers:
    """Configurations whose labels contradict all others.

    Attributes
    ----------
    frames : tuple of int
        Their numbers, see :attr:`~ndsc.selection.noise.Observations.frame_of`.
    noise : Noise
        Of the other labels.
    """

    frames: tuple[int, ...]
    noise: Noise


@dataclass(frozen=True, eq=False)
class Believed:
    """What some labels predict of others.

    Attributes
    ----------
    posterior : Posterior
    noise : Noise
    factors : Factors
    """

    posterior: Posterior
    noise: Noise
    factors: Factors = ONE

    @classmethod
    def of(cls, labels: Observations, noise: Noise) -> Believed:
        """What labels with some noise predict."""
        return cls(Posterior.of_labels(labels, noise), noise, calibration(labels, noise))

    def surprise(self, label: Observations) -> float:
        """Errors of forces or virials of a configuration, over what is expected of them; whichever are larger."""
        own_squares, noise = self.posterior.deviations(label.rows) ** 2, label.variances(self.noise)
        squares = (label.values - label.rows @ self.posterior.mean) ** 2
        found = [0.0]
        for kind, factor in ((FORCE, self.factors.forces), (VIRIAL, self.factors.virials)):
            own = label.kinds == kind
            if own.any():
                expected = factor**2 * own_squares[own] + noise[own]
                found.append(float(np.sqrt(np.mean(squares[own] / expected))))
        return max(found)

    def is_surprised(self, label: Observations) -> bool:
        """Whether the label of a configuration contradicts these."""
        return self.surprise(label) > SURPRISE


def find_outliers(
    labels: Observations, *, new: Collection[int] = (), known: Sequence[int] = (), before: Believed | None = None
) -> Outliers:
    """Look for configurations that contradict all others.

    Each new label is compared with what the others predict of it; where it contradicts them and they are few, the one
    of all that the others predict worst is the outlier. Then, while the relative noise is large, the configuration that
    fits worst is left out, up to three of them; they are outliers when the relative noise of the others is a fifth or
    less. What does not contradict the others any more is no outlier.

    Parameters
    ----------
    labels : Observations
    new : collection of int
        Configurations that were not there before.
    known : sequence of int
        Configurations that have been outliers before.
    before : Believed, optional
        What the labels say that are neither new nor outliers; without it, new labels are not compared with them.
    """
    numbers = [int(number) for number in np.unique(labels.frame_of)]
    left_out = [number for number in known if number in numbers]
    most = int(LARGEST_PART * len(numbers))
    if before is not None:
        waiting = [number for number in numbers if number in new]
        left_out += _contradicting(labels, waiting, left_out, before, most - len(left_out))
    others = labels.without_frames(left_out)
    noise = most_probable_noise(others, None if before is None else before.noise)
    while noise.relative > LARGE_NOISE and len(numbers) >= FEWEST:
        tried: list[int] = []
        fewer, quieter = others, noise
        while len(tried) < min(TOGETHER, most - len(left_out)):
            tried.append(_worst(fewer, quieter))
            fewer = others.without_frames(tried)
            quieter = most_probable_noise(fewer, quieter)
            if quieter.relative * LESS_NOISE <= noise.relative:
                break
        else:
            break
        left_out += tried
        others, noise = fewer, quieter
    if left_out:
        state = Believed.of(others, noise)
        kept = tuple(number for number in left_out if state.is_surprised(labels.only(number)))
        if len(kept) < len(left_out):
            return Outliers(kept, most_probable_noise(labels.without_frames(kept), noise))
    return Outliers(tuple(left_out), noise)


def _contradicting(
    labels: Observations, new: Sequence[int], left_out: Sequence[int], before: Believed, most: int
) -> list[int]:
    """Of new labels and those before, the ones that contradict the others."""
    believed = [int(n) for n in np.unique(labels.frame_of) if n not in left_out and n not in new]
    if len(believed) < FEWEST - 1:
        return []
    found: list[int] = []
    for number in new:
        if len(found) < most and before.is_surprised(labels.only(number)):
            group = [*(one for one in believed if one not in found), number]
            found.append(_odd_one_out(labels, group, before.noise) if len(group) <= MOST_COMPARED else number)
    return found


def _odd_one_out(labels: Observations, group: Sequence[int], start: Noise) -> int:
    """The configuration of some that the others predict worst, with the noise that is most probable without it."""
    some = labels.without_frames([int(number) for number in np.unique(labels.frame_of) if number not in group])
    surprises = []
    for number in group:
        others = some.without_frames([number])
        noise = most_probable_noise(others, start)
        believed = Believed(Posterior.of_labels(others, noise), noise)
        surprises.append(believed.surprise(some.only(number)))
    return group[int(np.argmax(surprises))]


def _worst(labels: Observations, noise: Noise) -> int:
    """The configuration whose label is farthest from the mean of the posterior, in units of its sigmas."""
    misfit = labels.values - labels.rows @ Posterior.of_labels(labels, noise).mean
    squares = misfit**2 / labels.variances(noise)
    frames = np.unique(labels.frame_of)
    return int(frames[np.argmax([np.mean(squares[labels.frame_of == frame]) for frame in frames])])
