"""Linear atomic cluster expansions, by ace-jax, behind the interface of all potentials."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.files import whole_file
from ndsc.fit.memory import PROGRAM, FitSize
from ndsc.potentials.ace_calculator import AceCalculator
from ndsc.potentials.ace_prior import prior_sizes
from ndsc.potentials.ace_rows import MOST_AT_ONCE, AceEvaluator
from ndsc.potentials.ace_settings import AceSettings
from ndsc.potentials.ace_tables import AceWeights, build_tables, count_weights, require_ace, write_ace
from ndsc.potentials.base import Basis, Fitted, Job, RowEffort, Trained
from ndsc.potentials.fitting import TrainedFitter
from ndsc.potentials.linear import solve_job, solver_memory
from ndsc.progress import Progress, silent
from ndsc.selection.model import LinearModel
from ndsc.targets import frame_name
from ndsc.versions import package_version

FloatArray = NDArray[np.float64]

FILE = "ace.npz"
#: What progress calls this.
TASK = "computing basis functions"
#: Processor time of the rows of an atom and a neighbour, s, and more for each function (measured, one core of 2 GHz).
SECONDS_PER_PAIR, SECONDS_PER_PAIR_AND_FUNCTION = 8e-6, 6e-8
#: Memory of JAX, and that of the tables of radial functions for each weight, bytes.
JAX, TABLES_PER_WEIGHT = 3e8, 5e4


class AceBasis:
    """The functions of an atomic cluster expansion for some elements; weights are in units of their prior.

    Parameters
    ----------
    elements : sequence of str
    settings : AceSettings

    Raises
    ------
    MissingExtraError
        When ace-jax is not installed.
    InputError
        When ace-jax refuses the settings.
    """

    def __init__(self, elements: Sequence[str], settings: AceSettings) -> None:
        self.elements = tuple(sorted(set(elements), key=atomic_numbers.__getitem__))
        self.settings = settings
        self.tables = build_tables(self.elements, settings)
        self.evaluator = AceEvaluator(self.tables, "this expansion")
        self.sizes = prior_sizes(self.tables, settings)
        self._seconds_per_atom: float | None = None

    @property
    def n_weights(self) -> int:
        """Number m of functions of all elements."""
        return self.tables.n_weights

    @property
    def digest(self) -> str:
        """A name for what it was made from."""
        made_from = [self.elements, self.settings.hyperparameters(), package_version("ace-jax")]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]

    def rows(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> list[FloatArray]:
        """See :meth:`ndsc.selection.model.LinearModel.rows`.

        Raises
        ------
        InputError
            When a structure has another element, or positions that are not finite; nothing is computed then.
        """
        for number, frame in enumerate(frames):
            self.evaluator.check(frame, frame_name(frame, number))
        found = []
        for number, frame in enumerate(frames):
            progress(TASK, number, len(frames))
            found.append(self.evaluator.rows(frame) / self.sizes)
        progress(TASK, len(frames), len(frames))
        return found

    def seconds_for(self, frames: Sequence[Atoms]) -> float:
        """See :meth:`ndsc.potentials.base.Basis.seconds_for`: by those of the configuration with the fewest atoms."""
        if not frames:
            return 0.0
        if self._seconds_per_atom is None:
            smallest = min(frames, key=len)
            begin = time.perf_counter()
            self.rows([smallest])
            self._seconds_per_atom = (time.perf_counter() - begin) / len(smallest)
        return self._seconds_per_atom * sum(map(len, frames))

    def memory_gb(self, frames: Sequence[Atoms]) -> float:
        """See :meth:`ndsc.potentials.base.Basis.memory_gb`."""
        rows = 8.0 * self.n_weights * sum(7 + 3 * len(frame) for frame in frames)
        return (PROGRAM + JAX + MOST_AT_ONCE + rows) / 1e9

    def write(self, z: FloatArray, e0: Mapping[str, float], folder: Path) -> Path:
        """See :meth:`ndsc.potentials.base.Basis.write`."""
        energies = {symbol: float(e0.get(symbol, 0.0)) for symbol in self.elements}
        with whole_file(folder / FILE) as temporary:
            write_ace(temporary, self.elements, self.settings, AceWeights(np.asarray(z) / self.sizes, energies))
        return folder / FILE


class AceFitter(TrainedFitter):
    """Linear atomic cluster expansions, by ace-jax."""

    name: ClassVar[str] = "ace"
    title: ClassVar[str] = "ACE"
    program: ClassVar[str] = "ace-jax"
    extra: ClassVar[str] = "ace"
    module: ClassVar[str] = "ace_jax"
    package: ClassVar[str] = "ace-jax"
    settings: ClassVar[type[AceSettings]] = AceSettings
    weights: ClassVar[tuple[str, str]] = ("basis functions", "[fit.ace] max_degree")
    linear: ClassVar[bool] = True

    def require(self) -> None:
        """See :meth:`Fitter.require`."""
        super().require()
        require_ace()

    def memory(self, settings: AceSettings, size: FitSize) -> float:
        """See :meth:`Fitter.memory`."""
        m = count_weights(size.n_species, settings)
        return PROGRAM + JAX + MOST_AT_ONCE + TABLES_PER_WEIGHT * m + solver_memory(m, size.largest)

    def cheaper(self, settings: AceSettings) -> str:
        """See :meth:`Fitter.cheaper`."""
        return (
            f"Lower [fit.ace] {_degree(settings)} or order = {settings.order}, on which the number of basis functions "
            "depends."
        )

    def train(self, job: Job) -> Trained:
        """See :meth:`TrainedFitter.train`."""
        basis = job.options.basis
        if basis is None:
            basis = AceBasis(job.species, job.settings)
        elif not isinstance(basis, AceBasis):
            raise InputError(f"{basis!r} is not the basis of an ACE. Give the one with which the labels were chosen.")
        solution, counts = solve_job(job, _Telling(basis, job.options.progress), scale=job.options.prior)
        basis.write(solution.z, job.e0, job.folder)
        return Trained(
            potential=FILE,
            counts_read=counts,
            sizes={"basis functions": basis.n_weights},
            details={
                "scale": float(solution.scale),
                "log_evidence": float(solution.log_evidence),
                "determined": float(solution.n_parameters),
            },
        )

    def calculator(self, path: Path) -> AceCalculator:
        """See :meth:`Fitter.calculator`."""
        return AceCalculator(path)

    def basis(
        self,
        structures: Sequence[Atoms],
        folder: Path,
        settings: AceSettings,
        *,
        store: Path | None = None,
        workers: int = 1,
        quick: bool = False,
        progress: Progress = silent,
    ) -> Basis:
        """The functions for the elements of structures; see :meth:`Fitter.basis`."""
        del folder, store, workers, quick, progress
        return AceBasis([symbol for atoms in structures for symbol in atoms.get_chemical_symbols()], settings)

    def effort(self, settings: AceSettings, n_species: int) -> RowEffort:
        """See :meth:`Fitter.effort`."""
        m = count_weights(n_species, settings)
        return RowEffort(
            weights=m,
            seconds_per_pair=SECONDS_PER_PAIR + SECONDS_PER_PAIR_AND_FUNCTION * m / n_species,
            bytes_of_process=PROGRAM + JAX + MOST_AT_ONCE,
            bytes_per_pair=8.0 * 500,
        )

    def describe(self, settings: AceSettings) -> str:
        """See :meth:`Fitter.describe`."""
        return f"order = {settings.order}" + ("" if settings.max_degree is None else f", {_degree(settings)}")

    def larger(self, settings: AceSettings) -> str:
        """See :meth:`Fitter.larger`."""
        return (
            f"raise [fit.ace] {_degree(settings)} (14 without it for one element, less for more) and "
            f"cutoff = {settings.cutoff:g}"
        )

    def model(self, fitted: Fitted) -> LinearModel:
        """See :meth:`Fitter.model`."""
        if not isinstance(fitted.settings, AceSettings):
            raise InputError(f"The fit in {fitted.potential.parent} is not one of method = 'ace'.")
        return AceBasis(tuple(fitted.e0), fitted.settings)


class _Telling:
    """A basis that tells of each configuration that is done."""

    def __init__(self, basis: AceBasis, progress: Progress) -> None:
        self._basis, self._progress = basis, progress

    @property
    def n_weights(self) -> int:
        return self._basis.n_weights

    def rows(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> list[FloatArray]:
        """See :meth:`AceBasis.rows`."""
        del progress
        return self._basis.rows(frames, progress=self._progress)


def _degree(settings: AceSettings) -> str:
    """The key with its value where it has one."""
    return "max_degree" if settings.max_degree is None else f"max_degree = {settings.max_degree}"
