"""The linear system behind a GAP: computed once, solved in milliseconds for any subset, weighting and target.

With the sparse points fixed, energies, forces and virials are linear in the weights of the sparse points (equation 1),
and the fit is a small least-squares problem (section 2.1). The rows (:mod:`ndsc.fit.rows`) are what gap_fit writes to
its ``linear_system_dump_file``, and the solution is gap_fit's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ndsc.errors import FitError, InputError
from ndsc.fit.evaluation import MODEL_PREFIX, Predictions
from ndsc.fit.regularisation import (
    ENERGY_SIGMA_KEY,
    FORCE_SIGMA_KEY,
    SMALLEST_SIGMA,
    VIRIAL_SIGMA_KEY,
    Regularisation,
    apply_regularisation,
)
from ndsc.fit.rows import KernelRows
from ndsc.fit.soap import COMPONENTS
from ndsc.fit.triangle import Triangle
from ndsc.fit.weights import write_weights
from ndsc.progress import Progress, silent
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, frame_name, targets_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Kinds of rows.
ENERGY, FORCE, VIRIAL = 0, 1, 2
ALL_KINDS = (ENERGY, FORCE, VIRIAL)
#: All nine components of a virial, as positions among the six that are rows.
_SIX_TO_NINE = (0, 1, 2, 1, 3, 4, 2, 4, 5)


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """Rows and targets of n configurations with R rows together, for m sparse points.

    The rows of a configuration are its energy, its forces (atom by atom: x, y, z) and its virial (:data:`COMPONENTS`).

    Attributes
    ----------
    potential : path
        XML file of the GAP whose sparse points and single-atom energies these are.
    frames : tuple of ase.Atoms
    rows : (R, m) array
        ``rows @ weights`` are energies without single atoms (eV), forces (eV/Å) and virials (eV).
    targets : (R,) array
        Reference values, NaN where a configuration has none.
    kinds : (R,) int array
        :data:`ENERGY`, :data:`FORCE` or :data:`VIRIAL`.
    frame_of : (R,) int array
        Which configuration a row belongs to.
    covariance : (m, m) array
        Covariance of the sparse points.
    e0 : (n,) array, eV
        Energy of the single atoms of each configuration.
    single_atoms : mapping of int to eV
        By atomic number.
    """

    potential: Path
    frames: tuple[Atoms, ...]
    rows: FloatArray
    targets: FloatArray
    kinds: IntArray
    frame_of: IntArray
    covariance: FloatArray
    e0: FloatArray
    single_atoms: Mapping[int, float]

    @classmethod
    def from_potential(
        cls, potential: str | Path, frames: Sequence[Atoms], *, progress: Progress = silent
    ) -> LinearSystem:
        """Compute the rows of configurations for the sparse points of a fitted potential.

        Parameters
        ----------
        potential : path
            XML file of a GAP made of SOAP kernels, one a species, as :func:`ndsc.fit.fit_gap` makes.
        frames : sequence of ase.Atoms
            Labelled configurations, and others whose energies and forces are to be predicted.
        progress : callable

        Raises
        ------
        MissingExtraError
            When quippy is not installed.
        InputError
            When there are no frames, a target is not finite, or the file is not such a potential.
        """
        return cls.from_rows(KernelRows(Path(potential)), frames, progress=progress)

    @classmethod
    def from_rows(cls, source: KernelRows, frames: Sequence[Atoms], *, progress: Progress = silent) -> LinearSystem:
        """As :meth:`from_potential`, with rows from a source that may keep them on disk and use several processes.

        Parameters
        ----------
        source : KernelRows
        frames : sequence of ase.Atoms
        progress : callable

        Raises
        ------
        InputError
            When there are no frames, or a target is not finite.
        """
        if not frames:
            raise InputError("There are no configurations to set up a linear system. Give at least one.")
        targets = [targets_in_rows(frame, source.single_atoms, frame_name(frame, i)) for i, frame in enumerate(frames)]
        rows = np.empty((sum(map(len, targets)), source.n_points))
        start = 0
        for part in source.each(frames, progress=progress):
            rows[start : start + len(part)] = part
            start += len(part)
        kinds = [kinds_of(len(frame)) for frame in frames]
        return cls(
            potential=source.potential,
            frames=tuple(frame.copy() for frame in frames),
            rows=rows,
            targets=np.concatenate(targets),
            kinds=np.concatenate(kinds),
            frame_of=np.repeat(np.arange(len(frames)), [len(part) for part in kinds]).astype(np.int64),
            covariance=source.covariance,
            e0=np.array([_single_atoms(frame, source.single_atoms) for frame in frames]),
            single_atoms=source.single_atoms,
        )

    def with_single_atoms(self, energies: Mapping[int, float]) -> LinearSystem:
        """The same system for other energies of single atoms, eV by atomic number."""
        e0 = np.array([_single_atoms(frame, energies) for frame in self.frames])
        moved = np.where(self.kinds == ENERGY, (self.e0 - e0)[self.frame_of], 0.0)
        return replace(self, targets=self.targets + moved, e0=e0, single_atoms=dict(energies))

    def sigmas(self, regularisation: Regularisation | None = None) -> FloatArray:
        """(R,) array: the expected error of each row, NaN where there is no target.

        Parameters
        ----------
        regularisation : Regularisation, optional
            The sigmas that the configurations carry, from :func:`ndsc.fit.apply_regularisation`, by default.
        """
        frames = self.frames if regularisation is None else apply_regularisation(self.frames, regularisation)
        return np.concatenate([sigmas_in_rows(frame) for frame in frames])

    def used(self, frames: Sequence[int] | None = None, kinds: Sequence[int] = ALL_KINDS) -> NDArray[np.bool_]:
        """(R,) bool array: the rows that have a target, are of one of `kinds`, and belong to one of `frames`.

        Raises
        ------
        InputError
            When a number is out of range.
        """
        rows = np.isfinite(self.targets) & np.isin(self.kinds, kinds)
        if frames is None:
            return rows
        outside = [number for number in frames if not 0 <= number < len(self.frames)]
        if outside:
            raise InputError(
                f"There are no configurations {outside}; they are numbered from 0 to {len(self.frames) - 1}. Give "
                "numbers in this range."
            )
        chosen: NDArray[np.bool_] = rows & np.isin(self.frame_of, frames)
        return chosen

    def solve(
        self,
        frames: Sequence[int] | None = None,
        regularisation: Regularisation | None = None,
        *,
        kinds: Sequence[int] = ALL_KINDS,
        sparse_jitter: float = 1e-10,
    ) -> FloatArray:
        """Weights of the sparse points from some of the configurations.

        Parameters
        ----------
        frames : sequence of int, optional
            Numbers of the configurations to learn from; all that have targets by default.
        regularisation : Regularisation, optional
            The sigmas that the configurations carry by default, see :meth:`sigmas`.
        kinds : sequence of int
            Kinds of targets to learn from.
        sparse_jitter : float

        Returns
        -------
        (m,) array

        Raises
        ------
        InputError
            When no target is left to learn from, one has no sigma, or a number is out of range.
        FitError
            When the covariance of the sparse points is not positive definite.
        """
        used = self.used(frames, kinds)
        if not used.any():
            raise InputError("No target is left to learn from. Give configurations that are labelled.")
        sigmas = self.sigmas(regularisation)
        triangle = Triangle(self.rows.shape[1] + 1)
        for some in np.array_split(np.flatnonzero(used), 1 + int(used.sum()) // triangle.n_columns):
            _add(triangle, self.rows[some], self.targets[some], sigmas[some])
        return _weights(triangle, self.covariance, sparse_jitter)

    def predict(self, weights: FloatArray) -> Predictions:
        """The model of some weights on all configurations of the system."""
        values = self.rows @ weights
        predicted = []
        for number, frame in enumerate(self.frames):
            own, kinds = values[self.frame_of == number], self.kinds[self.frame_of == number]
            copy = frame.copy()
            copy.info[f"{MODEL_PREFIX}_energy"] = float(own[kinds == ENERGY][0] + self.e0[number])
            copy.arrays[f"{MODEL_PREFIX}_forces"] = own[kinds == FORCE].reshape(-1, 3)
            copy.info[f"{MODEL_PREFIX}_virial"] = own[kinds == VIRIAL][list(_SIX_TO_NINE)]
            predicted.append(copy)
        return Predictions.from_frames(predicted)

    def write_potential(self, weights: FloatArray, directory: str | Path) -> Path:
        """Write the potential of some weights, which :class:`ndsc.fit.GapCalculator` reads.

        Returns
        -------
        path
            ``gap.xml`` in `directory`, with the files that belong to it.

        Raises
        ------
        InputError
            When the weights do not fit the sparse points, or the folder cannot be written to.
        """
        return write_weights(self.potential, weights, self.single_atoms, Path(directory))


def solve_in_blocks(
    source: KernelRows, frames: Sequence[Atoms], *, sparse_jitter: float = 1e-10, progress: Progress = silent
) -> tuple[FloatArray, dict[int, int]]:
    """Weights as :meth:`LinearSystem.solve` gives them, from configurations whose rows are not kept.

    Memory holds the rows of a few configurations and the square of the number of sparse points.

    Parameters
    ----------
    source : KernelRows
    frames : sequence of ase.Atoms
        With targets and sigmas, from :func:`ndsc.fit.apply_regularisation`.
    sparse_jitter : float
    progress : callable

    Returns
    -------
    weights : (m,) array
    counts : dict of int to int
        How many targets of each kind (:data:`ALL_KINDS`) were used.

    Raises
    ------
    InputError
        When there is no target, or one has no sigma.
    FitError
        When the covariance of the sparse points is not positive definite.
    """
    targets = [targets_in_rows(frame, source.single_atoms, frame_name(frame, i)) for i, frame in enumerate(frames)]
    triangle, counts = Triangle(source.n_points + 1), dict.fromkeys(ALL_KINDS, 0)
    for frame, values, rows in zip(frames, targets, source.each(frames, progress=progress), strict=True):
        used = np.isfinite(values)
        _add(triangle, rows[used], values[used], sigmas_in_rows(frame)[used])
        for kind in ALL_KINDS:
            counts[kind] += int(np.sum(kinds_of(len(frame))[used] == kind))
    if not sum(counts.values()):
        raise InputError("No target is left to learn from. Give configurations that are labelled.")
    return _weights(triangle, source.covariance, sparse_jitter), counts


def _add(triangle: Triangle, rows: FloatArray, targets: FloatArray, sigmas: FloatArray) -> None:
    """Add numbers over their sigmas."""
    if not (sigmas >= SMALLEST_SIGMA).all():
        raise InputError(
            f"A target to learn from has no sigma, or one below {SMALLEST_SIGMA}. Give a regularisation, or make "
            "the system of configurations that went through apply_regularisation."
        )
    triangle.add(np.column_stack([rows, targets]) / sigmas[:, None])


def _weights(triangle: Triangle, covariance: FloatArray, sparse_jitter: float) -> FloatArray:
    """(m,) array: weights whose prior has the inverse of this covariance, from the numbers in a triangle."""
    m = len(covariance)
    try:
        root = np.linalg.cholesky(covariance + sparse_jitter * np.eye(m))
    except np.linalg.LinAlgError as error:
        raise FitError(
            f"The covariance of the {m} sparse points is not positive definite with "
            f"sparse_jitter = {sparse_jitter:g}: some are too similar. Use fewer sparse points or a larger "
            "sparse_jitter."
        ) from error
    # Numbers over their sigmas are large beside the prior, and precision is lost unless they come first.
    triangle.add(np.column_stack([root.T, np.zeros(m)]))
    factor = triangle.factor()
    weights: FloatArray = solve_triangular(factor[:m, :m], factor[:m, m])
    return weights


def kinds_of(n_atoms: int) -> IntArray:
    """(7 + 3 n,) int array : what each row of a configuration of n atoms is."""
    return np.repeat([ENERGY, FORCE, VIRIAL], [1, 3 * n_atoms, len(COMPONENTS)]).astype(np.int64)


def _single_atoms(frame: Atoms, single_atoms: Mapping[int, float]) -> float:
    return float(sum(single_atoms.get(int(number), 0.0) for number in frame.numbers))


def targets_in_rows(frame: Atoms, single_atoms: Mapping[int, float], where: str) -> FloatArray:
    """(7 + 3 n,) array : targets of a configuration in the order of its rows, NaN where there are none.

    Energies (eV) are without those of single atoms, which `single_atoms` has by atomic number.

    Raises
    ------
    InputError
        When a target has the wrong shape or is not finite.
    """
    found = targets_of(frame, energy_key=ENERGY_KEY, forces_key=FORCES_KEY, virial_key=VIRIAL_KEY, where=where)
    energy = np.nan if found.energy is None else found.energy - _single_atoms(frame, single_atoms)
    forces = np.full(3 * len(frame), np.nan) if found.forces is None else found.forces.reshape(-1)
    virial = np.full(len(COMPONENTS), np.nan) if found.virial is None else found.virial[list(COMPONENTS)]
    return np.concatenate([[energy], forces, virial])


def sigmas_in_rows(frame: Atoms) -> FloatArray:
    """(7 + 3 n,) array : sigmas that a configuration carries, in the order of its rows, NaN where there are none."""
    missing = np.full(9, np.nan)
    energy = frame.info.get(ENERGY_SIGMA_KEY, np.nan)
    forces = frame.arrays.get(FORCE_SIGMA_KEY, np.full((len(frame), 3), np.nan))
    virial = np.asarray(frame.info.get(VIRIAL_SIGMA_KEY, missing), dtype=float).reshape(9)[list(COMPONENTS)]
    return np.concatenate([[float(energy)], np.asarray(forces, dtype=float).reshape(-1), virial])
