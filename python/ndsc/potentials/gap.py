"""Gaussian approximation potentials (:mod:`ndsc.fit.gap`) behind the interface of all potentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.fit.calculator import GapCalculator
from ndsc.fit.executable import find_gap_fit, require_quippy
from ndsc.fit.gap import GapFit, fit_gap, load_fit
from ndsc.fit.memory import PORTION, PROGRAM, FitSize, check_fit_memory, derivatives_of_one, fit_memory, n_descriptor
from ndsc.fit.settings import GapSettings
from ndsc.fit.sparse_choice import choose_sparse_points
from ndsc.fit.weights import write_weights
from ndsc.potentials.base import FitOptions, Fitted, Fitter, RowEffort
from ndsc.progress import Progress, silent
from ndsc.selection.model import GapModel, LinearModel

FloatArray = NDArray[np.float64]

#: Processor time of the rows of a pair of neighbours, s, and more for each sparse point. Measured with
#: benches/rows.py's crystals (0.049 to 0.081 ms with 160 to 1,400 sparse points, one core of 2 GHz): a rate for
#: estimates, as that of this machine is known with the first rows.
SECONDS_PER_PAIR, SECONDS_PER_PAIR_AND_POINT = 4.5e-5, 2.5e-8
#: Values of ``[fit]`` where labels are chosen and the input file gives none; and for crystals of one element.
FINER: dict[str, Any] = {"n_sparse": 700}
FINER_ELEMENT: dict[str, Any] = {"n_sparse": 1000, "n_max": 10, "l_max": 8}


class GapBasis(GapModel):
    """Sparse points that were chosen from structures alone."""

    def seconds_for(self, frames: Sequence[Atoms]) -> float:
        """See :meth:`ndsc.fit.rows.KernelRows.seconds_for`."""
        return self.kernels.seconds_for(frames)

    def memory_gb(self, frames: Sequence[Atoms]) -> float:
        """See :meth:`ndsc.fit.rows.KernelRows.memory_gb`."""
        return self.kernels.memory_gb(frames)

    def write(self, z: FloatArray, e0: Mapping[str, float], folder: Path) -> Path:
        """See :meth:`ndsc.potentials.base.Basis.write`."""
        single_atoms = {atomic_numbers[symbol]: energy for symbol, energy in e0.items()}
        return write_weights(self.potential, self.weights(z), single_atoms, folder)


class GapFitter(Fitter):
    """GAP with SOAP kernels, by quippy and gap_fit."""

    name: ClassVar[str] = "gap"
    title: ClassVar[str] = "GAP"
    program: ClassVar[str] = "gap_fit"
    extra: ClassVar[str] = "gap"
    module: ClassVar[str] = "quippy"
    package: ClassVar[str] = "quippy-ase"
    settings: ClassVar[type[GapSettings]] = GapSettings
    weights: ClassVar[tuple[str, str]] = ("sparse points", "[fit] n_sparse")
    linear: ClassVar[bool] = True

    def require(self) -> None:
        """See :meth:`Fitter.require`."""
        require_quippy()
        find_gap_fit()

    def memory(self, settings: GapSettings, size: FitSize) -> float:
        """See :meth:`Fitter.memory`."""
        return fit_memory(settings, size)

    def check_memory(self, settings: GapSettings, size: FitSize, *, limit_gb: float | None = None) -> float:
        """Refuse a fit that does not fit into memory; the message knows the other solver."""
        return check_fit_memory(settings, size, limit_gb=limit_gb)

    def fit(self, frames: Sequence[Atoms], directory: str | Path, settings: GapSettings, options: FitOptions) -> GapFit:
        """See :func:`ndsc.potentials.fit_potential`; `delta` is the width of the prior, whatever the options say."""
        basis = options.basis
        if basis is not None and not isinstance(basis, GapModel):
            raise InputError(f"{basis!r} is not the basis of a GAP. Give the one with which the labels were chosen.")
        return fit_gap(
            frames,
            directory,
            settings,
            sparse_only=options.unlabelled if basis is None else (),
            fixed_sparse_points=None if basis is None else basis.potential,
            memory_limit_gb=options.memory_limit_gb,
            threads=options.threads,
            reuse=options.reuse,
            progress=options.progress,
        )

    def load(self, folder: Path) -> GapFit:
        """See :meth:`Fitter.load`."""
        return load_fit(folder)

    def calculator(self, path: Path) -> GapCalculator:
        """See :meth:`Fitter.calculator`."""
        return GapCalculator(path)

    def basis(
        self,
        structures: Sequence[Atoms],
        folder: Path,
        settings: GapSettings,
        *,
        store: Path | None = None,
        workers: int = 1,
        quick: bool = False,
        progress: Progress = silent,
    ) -> GapBasis:
        """Sparse points from structures; see :meth:`Fitter.basis`."""
        chosen = settings.replaced(sparse_method="random") if quick else settings
        potential = choose_sparse_points(structures, folder, chosen, progress=progress)
        return GapBasis(potential, sparse_jitter=settings.sparse_jitter, store=store, workers=workers)

    def model(self, fitted: Fitted) -> LinearModel:
        """See :meth:`Fitter.model`."""
        jitter = fitted.settings.sparse_jitter if isinstance(fitted.settings, GapSettings) else 1e-10
        return GapModel(fitted.potential, sparse_jitter=jitter)

    def prior(self, settings: GapSettings) -> float:
        """One: `delta` is the width."""
        return 1.0

    def effort(self, settings: GapSettings, n_species: int) -> RowEffort:
        """See :meth:`Fitter.effort`."""
        m = settings.n_sparse * n_species
        return RowEffort(
            weights=m,
            seconds_per_pair=SECONDS_PER_PAIR + SECONDS_PER_PAIR_AND_POINT * m,
            bytes_of_process=PROGRAM,
            bytes_per_pair=derivatives_of_one(1, n_descriptor(settings, n_species)),
            most_bytes=PORTION,
        )

    def describe(self, settings: GapSettings) -> str:
        """See :meth:`Fitter.describe`."""
        return f"solver = {settings.solver!r}"

    def summary(self, fitted: Fitted) -> str:
        """See :meth:`Fitter.summary`."""
        most = fitted.settings.n_sparse if isinstance(fitted.settings, GapSettings) else 0
        points = ", ".join(
            f"{number} of {symbol}" + (" (all environments)" if number < most else "")
            for symbol, number in fitted.sizes.items()
        )
        return f"Sparse points: {points}."

    def larger(self, settings: GapSettings) -> str:
        """See :meth:`Fitter.larger`."""
        return (
            f"raise [fit] n_sparse = {settings.n_sparse}, n_max = {settings.n_max} and l_max = {settings.l_max}, then "
            f"cutoff = {settings.cutoff:g}"
        )

    def finer(self, n_species: int) -> dict[str, Any]:
        """See :meth:`Fitter.finer`."""
        return FINER | (FINER_ELEMENT if n_species == 1 else {})
