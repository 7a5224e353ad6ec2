"""The Gaussian posterior of the weights of a linear model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ndsc.selection.noise import ROUNDING, Noise, Observations

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Posterior:
    """What labels say of the weights.

    Attributes
    ----------
    mean : (m,) array
    root : (m, m) array
        R with ``R Rᵀ`` the covariance of the weights, in units of their prior.
    """

    mean: FloatArray
    root: FloatArray

    @classmethod
    def of_labels(cls, labels: Observations, noise: Noise) -> Posterior:
        """The posterior for the scale and the sigmas given; the prior where there are no labels."""
        m = labels.rows.shape[1]
        if not len(labels):
            return cls(np.zeros(m), noise.scale * np.eye(m))
        sigmas = np.sqrt(labels.variances(noise))
        # In units of the noise and of the prior the precision is 1 + AᵀA, whatever the units of both.
        told, values = noise.scale * labels.rows / sigmas[:, None], labels.values / sigmas
        precision = told.T @ told
        precision[np.diag_indices_from(precision)] += 1.0 + ROUNDING * np.mean(np.diag(precision))
        factor = np.linalg.cholesky(precision)
        root = solve_triangular(factor.T, np.eye(m), lower=False, check_finite=False)
        mean = root @ (root.T @ (told.T @ values))
        # Once more for what rounding left, which is large where the noise is small.
        mean += root @ (root.T @ (told.T @ (values - told @ mean) - mean))
        return cls(noise.scale * mean, noise.scale * root)

    @cached_property
    def covariance(self) -> FloatArray:
        """(m, m) array : of the weights, in units of their prior."""
        return np.asarray(self.root @ self.root.T)

    @cached_property
    def _is_diagonal(self) -> bool:
        return not np.any(self.root - np.diag(np.diag(self.root)))

    def deviations(self, rows: FloatArray) -> FloatArray:
        """(R,) array : standard deviations of what `rows` (R, m) predict."""
        if self._is_diagonal:
            return np.asarray(np.linalg.norm(rows * np.diag(self.root), axis=1))
        return np.asarray(np.linalg.norm(rows @ self.root, axis=1))

    def samples(self, n: int, factor: float = 1.0) -> FloatArray:
        """(n, m) array : weights drawn from the posterior, its width times `factor`; the same ones every time.

        They come in pairs that are opposite about the mean, so that what is linear in the weights has the right mean.
        """
        half = np.random.default_rng(0).standard_normal((-(-n // 2), len(self.mean))) @ self.root.T
        return self.mean + factor * np.concatenate([half, -half])[:n]
