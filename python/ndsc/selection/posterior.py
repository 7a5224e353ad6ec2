"""The Gaussian posterior of the weights of a linear model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ndsc.selection.noise import Noise, Observations

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Posterior:
    """What labels say of the weights.

    Attributes
    ----------
    mean : (m,) array
    covariance : (m, m) array
        Of the weights in units of their prior.
    """

    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def of_labels(cls, labels: Observations, noise: Noise) -> Posterior:
        """The posterior for the scale and the sigmas given; the prior where there are no labels."""
        m = labels.rows.shape[1]
        if not len(labels):
            return cls(np.zeros(m), noise.scale**2 * np.eye(m))
        precise = labels.rows / noise.variances(labels.kinds, labels.values, labels.n_atoms)[:, None]
        factor = cho_factor(labels.rows.T @ precise + np.eye(m) / noise.scale**2)
        return cls(cho_solve(factor, precise.T @ labels.values), cho_solve(factor, np.eye(m)))

    @cached_property
    def root(self) -> FloatArray:
        """(m, m) array R with ``R Rᵀ`` the covariance."""
        try:
            return np.asarray(np.linalg.cholesky(self.covariance))
        except np.linalg.LinAlgError:  # singular to rounding
            values, vectors = np.linalg.eigh(self.covariance)
            return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def deviations(self, rows: FloatArray) -> FloatArray:
        """(R,) array : standard deviations of what `rows` (R, m) predict."""
        return np.asarray(np.linalg.norm(rows @ self.root, axis=1))

    def expected_size(self, rows: FloatArray) -> FloatArray:
        """(R,) array : root mean square of what `rows` (R, m) predict."""
        return np.asarray(np.sqrt((rows @ self.mean) ** 2 + self.deviations(rows) ** 2))

    def samples(self, n: int, factor: float = 1.0) -> FloatArray:
        """(n, m) array : weights drawn from the posterior, its width times `factor`; the same ones every time.

        They come in pairs that are opposite about the mean, so that what is linear in the weights has the right mean.
        """
        half = np.random.default_rng(0).standard_normal((-(-n // 2), len(self.mean))) @ self.root.T
        return self.mean + factor * np.concatenate([half, -half])[:n]
