"""Potentials that are linear in their weights, with the weights measured in units of their prior.

A model predicts energies, forces and virials as ``rows @ z``, where the prior of every component of z is a standard
normal distribution times one scale for all. For a Gaussian process with sparse points and their covariance ``K = L Lᵀ``
the prior of the weights w is N(0, K⁻¹), so that ``z = Lᵀ w``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ndsc.errors import FitError
from ndsc.fit.rows import KernelRows
from ndsc.progress import Progress, silent

FloatArray = NDArray[np.float64]


class LinearModel(Protocol):
    """What the choice of labels needs of a potential.

    A model whose energies are not counted from the mean of its data may have an attribute ``single_atoms``, a mapping
    of chemical symbols to energies (eV) that its rows leave out.
    """

    @property
    def n_weights(self) -> int:
        """Number m of weights."""

    def rows(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> list[FloatArray]:
        """Of each frame a (1 + 3 n + 6, m) array: its energy (eV), its forces atom by atom (eV/Å) and its virial.

        The virial (eV) is xx, xy, xz, yy, yz, zz of ``-volume * stress``. Energies are without those of single atoms.
        """


def single_atoms_of(model: LinearModel) -> Mapping[str, float] | None:
    """Energies of single atoms that a model names; None where they are the mean energy of the labels."""
    return getattr(model, "single_atoms", None)


class GapModel:
    """A GAP with fixed sparse points.

    Parameters
    ----------
    potential : path
        XML file of a GAP made of SOAP kernels, one a species; its weights do not matter.
    sparse_jitter : float
        Added to the diagonal of the covariance of the sparse points, as in the fit.
    store : path, optional
        Folder in which rows are kept between calls.
    workers : int
        Processes that compute rows.

    Raises
    ------
    FitError
        When the covariance of the sparse points is not positive definite.
    """

    def __init__(
        self, potential: str | Path, *, sparse_jitter: float = 1e-10, store: Path | None = None, workers: int = 1
    ) -> None:
        self.potential = Path(potential)
        self.kernels = KernelRows(self.potential, store=store, workers=workers)
        covariance = self.kernels.covariance
        try:
            self.root = np.asarray(
                np.linalg.cholesky(covariance + sparse_jitter * np.eye(len(covariance))), dtype=float
            )
        except np.linalg.LinAlgError as error:
            raise FitError(
                f"The covariance of the {len(covariance)} sparse points is not positive definite with sparse_jitter = "
                f"{sparse_jitter:g}: some are too similar. Use fewer sparse points or a larger sparse_jitter."
            ) from error

    @property
    def n_weights(self) -> int:
        """Number of sparse points of all species."""
        return len(self.root)

    def rows(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> list[FloatArray]:
        """See :meth:`LinearModel.rows`."""
        return [self.whitened(raw) for raw in self.kernels.each(frames, progress=progress)]

    def whitened(self, rows: FloatArray) -> FloatArray:
        """(R, m) array : rows for weights in units of their prior from rows for those of the sparse points."""
        return np.ascontiguousarray(solve_triangular(self.root, rows.T, lower=True).T)

    def weights(self, z: FloatArray) -> FloatArray:
        """(m,) array : the weights of the sparse points for weights in units of their prior."""
        return np.asarray(solve_triangular(self.root.T, z, lower=False))
