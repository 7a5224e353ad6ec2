"""The scale of the prior and the noise of the labels, by their marginal likelihood.

The sigma of a component is ``sqrt((relative * value)² + floor²)``, a smooth form of the adaptive regularisation of
Allen and Bartók (2022). Scale and sigmas are those that make the labels most probable (Rasmussen and Williams 2006,
section 5.4.1), with weak log-normal priors that decide where labels are few. What the model cannot represent counts as
noise. Forces and virials are derivatives of one energy, and what the model misses of it is the same part of both: with
a value of its own for each, a model of many weights reproduces the forces exactly and takes the virials for noise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from ndsc.fit.linear_system import ENERGY, FORCE, VIRIAL
from ndsc.fit.regularisation import SMALLEST_SIGMA, Regularisation, Sigma
from ndsc.selection.given import BOND, GivenSigmas

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Medians of the log-normal priors of the values of :class:`Noise`, in its order, and their standard deviations.
PRIOR = np.array([1.0, 3e-4, 5e-3, 5e-4, 1e-3])
PRIOR_WIDTH = np.array([1.5, 1.5, 1.2, 1.2, 1.5])
#: Smallest values. No model of few labels is better than some tenths of a per cent, though it may reproduce them.
SMALLEST = np.array([1e-3, 3e-5, 3e-3, 5e-5, 1.5e-4])
LARGEST = np.array([1e3, 1.0, 1.0, 1.0, 10.0])
#: With more rows than this times the weights, matrices of the weights are smaller work than those of the rows.
ROWS_PER_WEIGHT = 1.5
#: What rounding makes of a covariance, relative to its diagonal.
ROUNDING = 1e-12
#: Forces and virials of the relaxed crystal are below these, eV/Å and eV per atom.
AT_REST, VIRIAL_AT_REST = 1e-3, 0.02
#: Rows that the likelihood is that of: a part of the forces tells as much about so few values.
MOST_ROWS = 900
#: Where the searches begin: factors of the medians of the scale, and of those of the relative sigma and the floors.
START_SCALES = (0.3, 1.0, 3.0, 10.0)
START_RELATIVE, START_FLOOR = (4.0, 0.1, 0.15), (0.6, 4.0, 4.0)
#: Width of the prior of a fit, in units of the basis's, that :meth:`Noise.regularisation` is for.
FITTED_SCALE = 1.0
#: Steps of the optimiser; the optimum is flat.
STEPS = 40
#: Configurations that count as having been predicted right before any label is seen.
PRIOR_CONFIGURATIONS = 2


@dataclass(frozen=True)
class Observations:
    """Labels as rows of numbers, without missing ones.

    Attributes
    ----------
    rows : (R, m) array
    values : (R,) array
        Energies without single atoms (eV), forces (eV/Å), virials (eV).
    kinds : (R,) int array
        :data:`~ndsc.fit.linear_system.ENERGY`, ``FORCE`` or ``VIRIAL``.
    n_atoms : (R,) int array
        Atoms of the configuration of each row.
    frame_of : (R,) int array
        Number of the configuration of each row.
    sizes : (R,) array
        What the relative noise is a part of, in the units of the values; found from all rows by :func:`sizes_of` where
        none are given.
    weights : (R,) array or None
        How many times each row counts; once by default.
    given : GivenSigmas or None
        Sigmas that are given for some rows.
    """

    rows: FloatArray
    values: FloatArray
    kinds: IntArray
    n_atoms: IntArray
    frame_of: IntArray
    sizes: FloatArray = field(default_factory=lambda: np.empty(0))
    weights: FloatArray | None = None
    given: GivenSigmas | None = None

    def __post_init__(self) -> None:
        if not len(self.sizes):
            sizes = np.empty(len(self.values))
            for number in np.unique(self.frame_of):
                own = self.frame_of == number
                sizes[own] = sizes_of(self.kinds[own], self.values[own] ** 2)
            object.__setattr__(self, "sizes", sizes)

    def variances(self, noise: Noise) -> FloatArray:
        """(R,) array : squared sigma of each row, over its weight."""
        if self.given is None:
            found = noise.variances(self.kinds, self.sizes, self.n_atoms)
        else:
            sigmas = (noise.energy, noise.relative, noise.force_floor, noise.virial_floor)
            parts = [sigma**2 * share for sigma, share in zip(sigmas, self.shares(), strict=True)]
            found = np.sum(parts, axis=0) + (noise.scale * self.given.values) ** 2
        return np.asarray(found if self.weights is None else found / self.weights)

    def shares(self) -> list[FloatArray]:
        """What the squares of the four sigmas of the noise, in their order, are multiplied with in the variances."""
        energy, force, virial = (self.kinds == kind for kind in (ENERGY, FORCE, VIRIAL))
        relative, floor = (1.0, 1.0) if self.given is None else (self.given.relative, self.given.floor)
        return [
            energy * self.n_atoms * relative, ~energy * self.sizes**2 * relative, 1.0 * force * floor,
            1.0 * virial * floor,
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.values)

    def without_frames_at_rest(self) -> Observations:
        """The labels without the relaxed crystal: that it is at rest says nothing of how large forces are elsewhere."""
        kept = np.ones(len(self), dtype=bool)
        for number in np.unique(self.frame_of):
            own = self.frame_of == number
            limits = np.select([self.kinds == FORCE, self.kinds == VIRIAL], [AT_REST, VIRIAL_AT_REST * self.n_atoms], 0)
            moving = own & (self.kinds != ENERGY) & (np.abs(self.values) > limits)
            kept[own] = moving.any() or not (own & (self.kinds != ENERGY)).any()
        return self._subset(kept)

    def without_frames(self, frames: Collection[int]) -> Observations:
        """The labels without those of some configurations."""
        return self._subset(~np.isin(self.frame_of, list(frames))) if frames else self

    def only(self, frame: int) -> Observations:
        """The label of one configuration."""
        return self._subset(self.frame_of == frame)

    def _subset(self, kept: NDArray[np.bool_] | IntArray) -> Observations:
        weights = None if self.weights is None else self.weights[kept]
        return Observations(
            self.rows[kept],
            self.values[kept],
            self.kinds[kept],
            self.n_atoms[kept],
            self.frame_of[kept],
            self.sizes[kept],
            weights,
            None if self.given is None else self.given.subset(kept),
        )

    def thinned(self, n: int) -> Observations:
        """At most n of the rows, drawn by chance and the same ones every time."""
        if len(self) <= n:
            return self
        return self._subset(np.sort(np.random.default_rng(0).permutation(len(self))[:n]))


@dataclass(frozen=True)
class Noise:
    """Scale of the prior and sigmas of the labels.

    Attributes
    ----------
    scale : float
        Standard deviation of the weights, in units of their prior.
    energy : float, eV
        The energy of n atoms has the sigma ``energy * sqrt(n)``.
    relative : float
        Of components of forces and of virials.
    force_floor, virial_floor : float, eV/Å and eV
    """

    scale: float = float(PRIOR[0])
    energy: float = float(PRIOR[1])
    relative: float = float(PRIOR[2])
    force_floor: float = float(PRIOR[3])
    virial_floor: float = float(PRIOR[4])

    def variances(self, kinds: IntArray, sizes: FloatArray, n_atoms: IntArray | int) -> FloatArray:
        """(R,) array : squared sigma of each row, for its size, see :func:`sizes_of`."""
        floors = np.where(kinds == FORCE, self.force_floor, self.virial_floor)
        energy = self.energy**2 * np.broadcast_to(n_atoms, kinds.shape)
        return np.asarray(np.where(kinds == ENERGY, energy, (self.relative * sizes) ** 2 + floors**2))

    def regularisation(self) -> Regularisation:
        """The same sigmas for a fit whose prior has the scale :data:`FITTED_SCALE`, and no other."""
        force, virial = (
            Sigma(relative=self.relative / self.scale, minimum=max(floor / self.scale, SMALLEST_SIGMA))
            for floor in (self.force_floor, self.virial_floor)
        )
        energy = max(self.energy / self.scale, SMALLEST_SIGMA)
        return Regularisation(energy=energy, force=force, virial=virial, bond=BOND)

    def to_dict(self) -> dict[str, float]:
        """Its values by name."""
        return asdict(self)


def sizes_of(kinds: IntArray, squares: FloatArray) -> FloatArray:
    """What the relative noise of each number of a configuration is a part of.

    Of a force it is its (expected) size. A virial is a sum of forces between pairs of atoms times their distances,
    which cancel where atoms are displaced by chance; what a model misses of each does not. So the forces of the
    configuration, over the distance :data:`BOND`, count for its virials.

    Parameters
    ----------
    kinds : (R,) int array
    squares : (R,) array
        Squares of the (expected) values.
    """
    over_bonds = BOND**2 * float(np.sum(squares[kinds == FORCE]))
    return np.asarray(np.sqrt(np.where(kinds == VIRIAL, squares + over_bonds, squares)))


def most_probable_noise(labels: Observations, start: Noise | None = None) -> Noise:
    """Scale and sigmas that make labels most probable.

    Parameters
    ----------
    labels : Observations
    start : Noise, optional
        Where the search begins, such as the result for fewer labels.
    """
    labels = labels.without_frames_at_rest().thinned(MOST_ROWS)
    if not len(labels):
        return Noise()
    medians = np.log(PRIOR)
    gram = labels.rows @ labels.rows.T if len(labels) <= ROWS_PER_WEIGHT * labels.rows.shape[1] else None
    counted = 1.0 if labels.weights is None else labels.weights
    shares = [share / counted for share in labels.shares()]
    # Given sigmas are those of a fit whose prior has the scale one.
    given = 0.0 * labels.values if labels.given is None else labels.given.values**2 / counted

    def cost(x: FloatArray) -> tuple[float, FloatArray]:
        scale, *sigmas = np.exp(x)
        parts = [sigma**2 * share for sigma, share in zip(sigmas, shares, strict=True)]
        variances = np.sum(parts, axis=0) + scale**2 * given
        value, by_scale, by_variance = _negative_log_likelihood(labels, gram, scale, variances)
        by_scale += 2.0 * float(np.sum(by_variance * given)) * scale**2
        gradient = np.array([by_scale, *(2.0 * np.sum(by_variance * part) for part in parts)])
        offset = (x - medians) / PRIOR_WIDTH
        return value + 0.5 * float(offset @ offset), gradient + offset / PRIOR_WIDTH

    # The likelihood has several optima where labels are few: one search begins where noise is relative to values, one
    # where it is not, each with the scale that fits best.
    bounds = np.log([SMALLEST, LARGEST])
    families = [
        [medians + np.log([scale, 1.0, *sigmas]) for scale in START_SCALES] for sigmas in (START_RELATIVE, START_FLOOR)
    ]
    if start is not None:
        families[0].append(np.log(list(asdict(start).values())))
    tried = []
    for family in families:
        begin = min((np.clip(one, *bounds) for one in family), key=lambda x: cost(x)[0])
        found = minimize(
            cost, begin, jac=True, method="L-BFGS-B", bounds=bounds.T, options={"maxiter": STEPS, "ftol": 1e-7}
        )
        # Where rounding misleads a search, its end can be worse than its start.
        tried += [begin, np.clip(found.x, *bounds)]
    best = min(tried, key=lambda x: cost(x)[0])
    return Noise(*(float(value) for value in np.exp(best)))


def _negative_log_likelihood(
    labels: Observations, gram: FloatArray | None, scale: float, variances: FloatArray
) -> tuple[float, float, FloatArray]:
    """Its value but for a constant, its derivative with log(scale), and those with the variances."""
    rows, values = labels.rows, labels.values
    if gram is not None:
        covariance = scale**2 * gram
        covariance[np.diag_indices_from(covariance)] += variances + ROUNDING * scale**2 * np.mean(np.diag(gram))
        factor = cho_factor(covariance, lower=True)
        inverse = cho_solve(factor, np.eye(len(covariance)))
        alpha = inverse @ values
        half_log_determinant = float(np.sum(np.log(np.diag(factor[0]))))
        by_scale = float(np.sum(inverse * gram) - alpha @ gram @ alpha) * scale**2
        diagonal = np.diag(inverse)
    else:
        precise = rows / variances[:, None]
        m = rows.shape[1]
        precision = rows.T @ precise
        precision[np.diag_indices_from(precision)] += 1.0 / scale**2 + ROUNDING * np.mean(np.diag(precision))
        factor = cho_factor(precision, lower=True)
        inverse = cho_solve(factor, np.eye(m))
        z = inverse @ (precise.T @ values)
        for _ in range(2):  # rounding is large beside small variances
            z += inverse @ (precise.T @ (values - rows @ z) - z / scale**2)
        alpha = (values - rows @ z) / variances
        half_log_determinant = float(
            np.sum(np.log(np.diag(factor[0]))) + m * np.log(scale) + 0.5 * np.sum(np.log(variances))
        )
        by_scale = float(m - np.trace(inverse) / scale**2 - np.sum((rows.T @ alpha) ** 2) * scale**2)
        diagonal = 1.0 / variances - np.einsum("rm,rm->r", precise @ inverse, precise)
    value = 0.5 * float(values @ alpha) + half_log_determinant
    return value, by_scale, 0.5 * (diagonal - alpha**2)


@dataclass(frozen=True)
class Factors:
    """How many times larger than by the posterior errors are, at least once.

    Attributes
    ----------
    forces : float
        Of forces, and so of frequencies.
    virials : float
        Of forces or of virials, whichever is larger, and so of elastic constants, which both determine.
    bands : float
        That of forces with what few configurations leave open of it, for bands that are to hold some part of the modes.
    """

    forces: float = 1.0
    virials: float = 1.0
    bands: float = 1.0


#: Errors as the posterior has them.
ONE = Factors()


def calibration(labels: Observations, noise: Noise, frames: Sequence[int] | None = None) -> Factors:
    """How many times larger than predicted errors are, by leaving out one configuration after the other.

    Each configuration is predicted from all others; the mean over configurations of the squared errors of its forces or
    virials, over what the posterior expects of these, is drawn towards one as if :data:`PRIOR_CONFIGURATIONS` others
    had been as predicted. Bands have the mean of the inverse gamma distribution that these give the ratio of variances.

    What is expected is the potential's own variance, without the noise. Labels are calculations, which hardly scatter,
    so that noise is what the potential misses of them, and the whole error is the potential's. More labels do not make
    that smaller, as they make the posterior: beside errors and noise together it would stay unseen.

    Parameters
    ----------
    labels : Observations
    noise : Noise
    frames : sequence of int, optional
        Numbers of the configurations to leave out one after the other; all by default.

    Returns
    -------
    Factors
    """
    variances = labels.variances(noise)
    m = labels.rows.shape[1]
    if len(labels) <= ROWS_PER_WEIGHT * m:
        covariance = noise.scale**2 * labels.rows @ labels.rows.T
        covariance[np.diag_indices_from(covariance)] += variances + ROUNDING * np.mean(np.diag(covariance))
        inverse = cho_solve(cho_factor(covariance), np.eye(len(covariance)))
        alpha = inverse @ labels.values
        blocks = {number: inverse[np.ix_(own, own)] for number, own in _frames_of(labels, frames)}
    else:
        precise = labels.rows / variances[:, None]
        precision = labels.rows.T @ precise
        precision[np.diag_indices_from(precision)] += 1.0 / noise.scale**2 + ROUNDING * np.mean(np.diag(precision))
        middle = cho_factor(precision)
        z = cho_solve(middle, precise.T @ labels.values)
        z += cho_solve(middle, precise.T @ (labels.values - labels.rows @ z) - z / noise.scale**2)
        alpha = (labels.values - labels.rows @ z) / variances
        blocks = {
            number: np.diag(1.0 / variances[own]) - precise[own] @ cho_solve(middle, precise[own].T)
            for number, own in _frames_of(labels, frames)
        }
    ratios: dict[int, list[float]] = {FORCE: [], VIRIAL: []}
    for number, own in _frames_of(labels, frames):
        spread = np.linalg.inv(blocks[number])
        squares, expected = (spread @ alpha[own]) ** 2, np.diag(spread) - variances[own]
        for kind, found in ratios.items():
            of_kind = labels.kinds[own] == kind
            # Forces of a configuration that is at rest by symmetry say nothing.
            if of_kind.any() and (kind == VIRIAL or np.max(np.abs(labels.values[own][of_kind])) >= AT_REST):
                rounding = ROUNDING * float(np.mean(np.diag(spread)[of_kind]))
                found.append(float(np.mean(squares[of_kind])) / max(float(np.mean(expected[of_kind])), rounding))
    forces, virials = (
        float(np.sqrt(max(1.0, (sum(found) + PRIOR_CONFIGURATIONS) / (len(found) + PRIOR_CONFIGURATIONS))))
        for found in ratios.values()
    )
    freedom = len(ratios[FORCE]) + PRIOR_CONFIGURATIONS
    return Factors(forces, max(forces, virials), forces * np.sqrt(freedom / max(freedom - 2, 1)))


def _frames_of(labels: Observations, frames: Sequence[int] | None) -> list[tuple[int, IntArray]]:
    numbers = np.unique(labels.frame_of) if frames is None else frames
    return [(int(number), np.flatnonzero(labels.frame_of == number)) for number in numbers]
