"""Weights of linear models by least squares: a sigma for every number, a prior whose scale the data may choose.

The model predicts ``rows @ z`` with weights z in units of their prior, which is a normal distribution of the width
`scale`. The numbers of all configurations go into a triangular matrix block after block (a QR decomposition that is
updated), so that memory holds the square of the number of weights however many configurations there are, and no
precision is lost as in normal equations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ndsc.errors import FitError, InputError
from ndsc.fit.linear_system import ALL_KINDS, kinds_of, sigmas_in_rows, targets_in_rows
from ndsc.fit.triangle import Triangle, memory_of_triangle
from ndsc.potentials.base import Job
from ndsc.progress import Progress, silent
from ndsc.selection.model import LinearModel
from ndsc.targets import frame_name

FloatArray = NDArray[np.float64]

#: Memory of the rows of configurations that are computed in one go, bytes.
MOST_AT_ONCE = 2e8
#: Scales of the prior that the data may choose from.
SMALLEST_SCALE, LARGEST_SCALE = 1e-6, 1e6
#: What progress calls this.
TASK = "fitting the potential"


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights of a linear model.

    Attributes
    ----------
    z : (m,) array
        In units of their prior.
    scale : float
        Standard deviation of the prior of z.
    noise : float
        What all sigmas were multiplied by.
    log_evidence : float
        Logarithm of the probability density of the targets.
    n_parameters : float
        How many of the weights the targets determine.
    """

    z: FloatArray
    scale: float
    noise: float
    log_evidence: float
    n_parameters: float


class LeastSquares:
    """Rows and values over their sigmas, reduced to a triangle.

    Parameters
    ----------
    n_weights : int
    """

    def __init__(self, n_weights: int) -> None:
        self.n_weights = n_weights
        self.n_values = 0
        self.log_sigmas = 0.0
        self._triangle = Triangle(n_weights + 1)

    def add(self, rows: FloatArray, values: FloatArray, sigmas: FloatArray) -> None:
        """Add numbers: (R, m), (R,) and (R,) arrays."""
        self._triangle.add(np.column_stack([rows, values]) / sigmas[:, None])
        self.n_values += len(values)
        self.log_sigmas += float(np.sum(np.log(sigmas)))

    def add_frame(
        self, frame: Atoms, rows: FloatArray, single_atoms: Mapping[int, float], where: str
    ) -> NDArray[np.bool_]:
        """Add the targets of a configuration that carries sigmas; which of its rows have one.

        Parameters
        ----------
        frame : ase.Atoms
            From :func:`ndsc.fit.apply_regularisation`.
        rows : (7 + 3 n, m) array
        single_atoms : mapping of int to eV
            By atomic number.
        where : str
            What messages call it.

        Raises
        ------
        InputError
            When a target has no sigma.
        """
        values, sigmas = targets_in_rows(frame, single_atoms, where), sigmas_in_rows(frame)
        used = np.isfinite(values)
        if not (sigmas[used] > 0).all():
            raise InputError(
                f"A target of {where} has no sigma. Give every target one with apply_regularisation before the fit."
            )
        self.add(rows[used], values[used], sigmas[used])
        return used

    def solve(self, *, scale: float | None = None, noise: float | None = 1.0) -> Solution:
        """The most probable weights.

        Parameters
        ----------
        scale : float, optional
            Standard deviation of the prior; by default the one that makes the values most probable.
        noise : float, optional
            What all sigmas are multiplied by; None for the one that makes the values most probable.

        Raises
        ------
        InputError
            When nothing was added, or a scale is not positive.
        FitError
            When a row is not finite.
        """
        if not self.n_values:
            raise InputError("No target is left to learn from. Give configurations that are labelled.")
        for name, value in (("scale", scale), ("noise", noise)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} = {value} is not a positive number. Give one, or leave it out.")
        triangle = self._triangle.factor()
        rows, values = triangle[:, :-1], triangle[:, -1]
        if not np.isfinite(triangle).all():
            raise FitError(
                "The model's rows are not finite on the configurations to fit. Look for two atoms on one site."
            )
        # NumPy's decomposition: SciPy's fails where quippy was imported before SciPy.
        u, singular, vt = np.linalg.svd(rows, full_matrices=False)
        told = u.T @ values
        spectrum = _Spectrum(singular, told, max(float(values @ values - told @ told), 0.0), self.n_values)
        if scale is None:
            ratio = spectrum.best_ratio(noise)
            found = spectrum.noise(ratio) if noise is None else noise
        else:
            ratio = spectrum.best_ratio_of_scale(scale) if noise is None else scale / noise
            found = scale / ratio
        shrunk = ratio**2 * singular / (1.0 + (ratio * singular) ** 2)
        return Solution(
            z=vt.T @ (shrunk * told),
            scale=ratio * found,
            noise=found,
            log_evidence=spectrum.log_evidence(ratio, found) - self.log_sigmas,
            n_parameters=float(np.sum(shrunk * singular)),
        )


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Least squares in the basis of singular vectors; ``ratio`` is that of the scale to the noise."""

    singular: FloatArray
    told: FloatArray
    rest: float
    n_values: int

    def squares(self, ratio: float) -> float:
        """Squared misfit and squared weights together, as the exponent has them for a noise of one."""
        return float(np.sum(self.told**2 / (1.0 + (ratio * self.singular) ** 2))) + self.rest

    def noise(self, ratio: float) -> float:
        """The most probable noise."""
        return float(np.sqrt(max(self.squares(ratio) / self.n_values, 1e-300)))

    def log_evidence(self, ratio: float, noise: float) -> float:
        """But for the sigmas."""
        determinant = float(np.sum(np.log1p((ratio * self.singular) ** 2)))
        n = self.n_values
        return -0.5 * float(
            self.squares(ratio) / noise**2 + determinant + 2 * n * np.log(noise) + n * np.log(2.0 * np.pi)
        )

    def best_ratio(self, noise: float | None) -> float:
        """The most probable ratio, for a noise that is given or chosen with it."""

        def cost(x: float) -> float:
            ratio = float(np.exp(x))
            return -self.log_evidence(ratio, self.noise(ratio) if noise is None else noise)

        unit = 0.0 if noise is None else np.log(noise)
        return float(np.exp(_minimum(cost, np.log(SMALLEST_SCALE) - unit, np.log(LARGEST_SCALE) - unit)))

    def best_ratio_of_scale(self, scale: float) -> float:
        """The most probable ratio where the noise is to be found for a given scale."""

        def cost(x: float) -> float:
            return -self.log_evidence(float(np.exp(x)), scale / float(np.exp(x)))

        return float(np.exp(_minimum(cost, np.log(scale * SMALLEST_SCALE), np.log(scale * LARGEST_SCALE))))


def _minimum(cost: object, low: float, high: float) -> float:
    """Where a function of one variable is smallest: the best point of a grid, refined."""
    assert callable(cost)
    grid = np.linspace(low, high, 57)
    best = int(np.argmin([cost(x) for x in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(minimize_scalar(cost, bounds=bounds, method="bounded").x)


def solve_job(
    job: Job, model: LinearModel, *, scale: float | None = None, noise: float | None = 1.0
) -> tuple[Solution, dict[str, int]]:
    """Fit a linear model to a job.

    Parameters
    ----------
    job : Job
    model : LinearModel
    scale, noise : float, optional
        As in :meth:`LeastSquares.solve`.

    Returns
    -------
    solution : Solution
    counts : dict of str to int
        Numbers of targets that were used, by the names of ``Job.counts``.

    Raises
    ------
    InputError
        When a target has no sigma.
    FitError
        When a row is not finite.
    """
    system = LeastSquares(model.n_weights)
    counts = add_frames(system, job.frames, model, job.e0, progress=job.options.progress)
    return system.solve(scale=scale, noise=noise), counts


def add_frames(
    system: LeastSquares, frames: Sequence[Atoms], model: LinearModel, e0: dict[str, float], *,
    progress: Progress = silent,
) -> dict[str, int]:  # fmt: skip
    """Add all targets of configurations that carry sigmas; returns how many of each kind."""
    single_atoms = {atomic_numbers[symbol]: energy for symbol, energy in e0.items()}
    counts = dict.fromkeys(("energies", "force_components", "virial_components"), 0)
    done = 0
    for some in _in_portions(frames, model.n_weights):
        progress(TASK, done, len(frames))
        for number, (frame, rows) in enumerate(zip(some, model.rows(some), strict=True)):
            used = system.add_frame(frame, rows, single_atoms, frame_name(frame, done + number))
            for name, kind in zip(counts, ALL_KINDS, strict=True):
                counts[name] += int(np.sum(kinds_of(len(frame))[used] == kind))
        done += len(some)
    progress(TASK, len(frames), len(frames))
    return counts


def solver_memory(n_weights: int, largest: int) -> float:
    """Bytes that least squares need at their peak.

    Parameters
    ----------
    n_weights : int
    largest : int
        Atoms of the largest configuration.
    """
    width = n_weights + 1
    # Afterwards the decomposition with its vectors.
    return max(memory_of_triangle(width, 7 + 3 * largest), 8.0 * 6 * width**2) + MOST_AT_ONCE


def _in_portions(frames: Sequence[Atoms], n_weights: int) -> list[list[Atoms]]:
    """Configurations one after the other, some at a time: as many as memory is meant for."""
    found: list[list[Atoms]] = []
    held = np.inf
    for frame in frames:
        size = 8.0 * (7 + 3 * len(frame)) * n_weights
        if held + size > MOST_AT_ONCE:
            found.append([])
            held = 0.0
        found[-1].append(frame)
        held += size
    return found
