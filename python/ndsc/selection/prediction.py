"""What is known of phonons and elastic constants before they are computed, and how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError
from ndsc.force_constants.born import set_nac
from ndsc.force_constants.phonopy_model import make_phonopy, set_force_constants
from ndsc.phonons import sorted_frequencies
from ndsc.selection.noise import ONE, Factors
from ndsc.selection.posterior import Posterior
from ndsc.selection.targets import ElasticTarget, PhononTarget, Target

FloatArray = NDArray[np.float64]

#: Draws from the posterior behind bands of frequencies.
SAMPLES = 32
#: Draws behind the expected largest error of elastic constants.
ELASTIC_SAMPLES = 400


@dataclass(frozen=True)
class PredictedErrors:
    """Expected errors of a potential that is fitted to some labels.

    Attributes
    ----------
    rmse_thz : float or None
        Root-mean-square error of the frequencies over the Brillouin zone; None without phonons among the targets.
    elastic_percent : float or None
        Expected largest error of an elastic constant, in per cent (constants below a twentieth of the largest count as
        that).
    statistical_rmse_thz, statistical_elastic_percent : float or None
        The same for labels without number and a model that can represent them: without the factors below.
    factor, elastic_factor : float
        How many times larger than by the posterior the errors are, and those of elastic constants, by leaving out one
        configuration after the other.
    constants, deviations : dict of str to float, GPa
        Elastic constants of the mean, and their standard deviations with `elastic_factor`.
    others : dict of str to float
        Errors of other targets, in their units.
    """

    rmse_thz: float | None = None
    elastic_percent: float | None = None
    statistical_rmse_thz: float | None = None
    statistical_elastic_percent: float | None = None
    factor: float = 1.0
    elastic_factor: float = 1.0
    constants: Mapping[str, float] = field(default_factory=dict)
    deviations: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)


def predict_errors(
    posterior: Posterior,
    targets: Sequence[Target],
    *,
    factors: Factors = ONE,
    error_rows: Sequence[FloatArray] | None = None,
) -> PredictedErrors:
    """Expected errors of targets.

    Parameters
    ----------
    posterior : Posterior
    targets : sequence of Target
        Prepared.
    factors : Factors
        By :func:`~ndsc.selection.noise.calibration`.
    error_rows : sequence of (t, m) arrays, optional
        Those of the targets for this posterior, where they are there already.
    """
    found: dict[str, Any] = {"factor": factors.forces, "elastic_factor": factors.virials, "others": {}}
    for number, target in enumerate(targets):
        if isinstance(target, ElasticTarget):
            found |= _elastic(posterior, target, factors.virials)
            continue
        rows = target.error_rows(posterior) if error_rows is None else error_rows[number]
        error = float(np.linalg.norm(rows @ posterior.root))
        if isinstance(target, PhononTarget) and "rmse_thz" not in found:
            found |= {"rmse_thz": factors.forces * error, "statistical_rmse_thz": error}
        else:
            found["others"][target.name] = factors.forces * error
    return PredictedErrors(**found)


def _elastic(posterior: Posterior, target: ElasticTarget, factor: float) -> dict[str, Any]:
    rows = target.constant_rows(posterior.mean)
    percent = 100.0 * (rows @ posterior.root) / target.sizes(posterior, rows)[:, None]
    largest = largest_of(percent @ percent.T)
    deviations = factor * posterior.deviations(rows)
    return {
        "elastic_percent": factor * largest,
        "statistical_elastic_percent": largest,
        "constants": target.constants(posterior.mean),
        "deviations": dict(zip(target.names, (float(value) for value in deviations), strict=True)),
    }


def largest_of(covariance: FloatArray) -> float:
    """The expected largest absolute value of normal numbers with mean zero and some covariance."""
    values, vectors = np.linalg.eigh(covariance)
    draws = np.random.default_rng(0).standard_normal((ELASTIC_SAMPLES, len(values)))
    return float(np.mean(np.max(np.abs(draws @ (vectors * np.sqrt(np.maximum(values, 0.0))).T), axis=1)))


@dataclass(frozen=True, eq=False)
class PredictedPhonons:
    """Frequencies with their standard deviations, from labels alone.

    Attributes
    ----------
    qpoints : (n, 3) array
        Reduced coordinates of the unit cell.
    frequencies : (n, n_bands) array, THz
        Of the mean of the posterior; imaginary ones are negative.
    deviations : (n, n_bands) array, THz
        Standard deviations of the sorted frequencies, with `factor`.
    draws : (n_draws, n, n_bands) array, THz
        Frequencies of potentials that the labels allow; `deviations` are their spread.
    factor : float
        How many times larger than by the posterior the deviations are, see :attr:`ndsc.selection.noise.Factors.bands`.
    """

    qpoints: FloatArray
    frequencies: FloatArray
    deviations: FloatArray
    draws: FloatArray
    factor: float

    @property
    def rmse_thz(self) -> float:
        """Root mean square of the deviations over the q-points given."""
        return float(np.sqrt(np.mean(self.deviations**2)))

    def band(self, part: float = 0.68) -> tuple[FloatArray, FloatArray]:
        """Lower and upper (n, n_bands) frequencies between which `part` of the modes is expected, THz."""
        from scipy.stats import norm

        if not 0 < part < 1:
            raise InputError(f"A band cannot contain the fraction {part} of the modes. Give a number between 0 and 1.")
        half = float(norm.ppf(0.5 + 0.5 * part)) * self.deviations
        return self.frequencies - half, self.frequencies + half

    def density(self, axis: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Density of states and its standard deviation, 1/THz, normalised to the number of bands.

        Parameters
        ----------
        axis : (n_points,) array, THz
            Evenly spaced. States are smeared by two of its steps.
        weights : (n,) array
            Of the q-points, which form a mesh.
        """
        points, parts = np.asarray(axis, dtype=float), np.asarray(weights, dtype=float)
        parts = np.repeat((parts / parts.sum())[:, None], self.frequencies.shape[1], axis=1).reshape(-1)
        width = 2.0 * (points[1] - points[0])
        step = points[1] - points[0]
        edges = np.concatenate([points - 0.5 * step, [points[-1] + 0.5 * step]])
        reach = np.arange(-8, 9) * step
        kernel = np.exp(-0.5 * (reach / width) ** 2)

        def smeared(frequencies: FloatArray) -> FloatArray:
            counts = np.histogram(frequencies.reshape(-1), bins=edges, weights=parts)[0] / step
            return np.convolve(counts, kernel / kernel.sum(), mode="same")

        mean = smeared(self.frequencies)
        drawn = np.array([smeared(frequencies) for frequencies in self.draws])
        return mean, np.sqrt(np.mean((drawn - mean) ** 2, axis=0))


def predict_phonons(
    posterior: Posterior, target: PhononTarget, qpoints: ArrayLike, *, factor: float = 1.0, samples: int = SAMPLES
) -> PredictedPhonons:
    """Frequencies at q-points, with what is not known of them.

    Parameters
    ----------
    posterior : Posterior
    target : PhononTarget
        Prepared; between the q-points of its grid, frequencies are interpolated as in phonopy, with the non-analytical
        correction where it has Born charges.
    qpoints : (n, 3) array
        Reduced coordinates. With Born charges, the zone centre takes the direction to the neighbouring one of the list.
    factor : float
        See :class:`PredictedErrors`.
    samples : int
        Draws from the posterior.
    """
    points = np.asarray(qpoints, dtype=float).reshape(-1, 3)
    # Only frequencies are asked of phonopy, for which it needs no symmetry.
    phonon = make_phonopy(target.crystal, target.grid, symmetric_supercell=False)

    def frequencies(z: FloatArray) -> FloatArray:
        set_force_constants(phonon, target.force_constants(z), target.grid)
        if target.nac_params is not None and phonon.nac_params is None:
            set_nac(phonon, target.nac_params)
        return sorted_frequencies(phonon, points)

    mean = frequencies(posterior.mean)
    drawn = np.array([frequencies(z) for z in posterior.samples(samples, factor)])
    # About the mean: where a band cannot go below another one, the average of the draws is not the mean's frequency.
    return PredictedPhonons(points, mean, np.sqrt(np.mean((drawn - mean) ** 2, axis=0)), drawn, factor)
