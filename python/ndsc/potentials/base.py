"""What a kind of potential supplies, and what a fit of it gives."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.errors import InputError, MissingExtraError
from ndsc.fit.evaluation import Errors, Predictions
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.memory import FitSize, allowed_memory_gb
from ndsc.progress import Progress, silent
from ndsc.selection.model import LinearModel

FloatArray = NDArray[np.float64]


class Basis(LinearModel, Protocol):
    """A potential that is linear in its weights, before any label is known; its rows are in units of the prior."""

    def seconds_for(self, frames: Sequence[Atoms]) -> float:
        """How long the rows of configurations will take, s."""

    def memory_gb(self, frames: Sequence[Atoms]) -> float:
        """Memory that the rows of configurations take at their peak, in all processes, GB (10⁹ bytes)."""

    def write(self, z: FloatArray, e0: Mapping[str, float], folder: Path) -> Path:
        """Write the potential of some weights.

        Parameters
        ----------
        z : (m,) array
            Weights in units of their prior.
        e0 : mapping of symbol to eV
        folder : path

        Returns
        -------
        path
            What :meth:`Fitter.calculator` reads.
        """


class Fitted(Protocol):
    """A potential in a folder, and how it came about."""

    @property
    def method(self) -> str:
        """The kind of potential."""

    @property
    def potential(self) -> Path:
        """The file that the calculator reads; others of the same folder may belong to it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the potential consists of."""

    @property
    def settings(self) -> FitterSettings:
        """What it was fitted with."""

    @property
    def e0(self) -> dict[str, float]:
        """Energies of single atoms by symbol, eV."""

    @property
    def counts_sent(self) -> dict[str, int]:
        """Targets and sigmas that the program was given."""

    @property
    def counts_read(self) -> dict[str, int]:
        """Targets and sigmas that it has used; always equal to those that it was given."""

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers that say how large the model is, by name: sparse points of each species, or features."""

    @property
    def details(self) -> dict[str, Any]:
        """What else the kind of potential has to say: the scale of the prior, its evidence."""

    @property
    def seconds(self) -> float:
        """Wall time of the fit."""

    @property
    def memory_gb(self) -> float:
        """Memory that it was expected to need, GB."""

    @property
    def predictions(self) -> Predictions:
        """The model on its own training data."""

    @property
    def errors(self) -> dict[str, Errors]:
        """Errors on the training data: over ``"all"`` of it and over each ``config_type``."""

    @property
    def reused(self) -> bool:
        """Whether it was found in the folder instead of being made."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the database or the fit."""

    def calculator(self) -> Calculator:
        """The potential as an ASE calculator."""


@dataclass(frozen=True, eq=False)
class FitOptions:
    """What a fit is told beside labels and settings; see :func:`ndsc.potentials.fit_potential`."""

    basis: Basis | None = None
    unlabelled: Sequence[Atoms] = ()
    prior: float | None = None
    memory_limit_gb: float | None = None
    threads: int = 1
    reuse: bool = True
    progress: Progress = silent


@dataclass(frozen=True, eq=False)
class Job:
    """Labelled configurations to fit, in an empty folder.

    Attributes
    ----------
    frames : list of ase.Atoms
        Structures with ``REF_energy`` (eV), ``REF_forces`` (eV/Å), ``REF_virial`` (9 numbers, eV), each where there is
        one, and their sigmas ``energy_sigma``, ``force_component_sigma``, ``virial_component_sigma``; nothing else.
    counts : dict of str to int
        Numbers of targets among them: ``energies``, ``force_components``, ``virial_components`` (six a configuration).
    e0 : dict of str to eV
        Energies of single atoms by symbol, in order of atomic number; those of the frames are with them.
    settings : FitterSettings
    folder : path
    options : FitOptions
        Its `basis` is what the choice of labels rested on, which the fit is to share; its `prior` the width of the
        prior that the sigmas are for.
    """

    frames: list[Atoms]
    counts: dict[str, int]
    e0: dict[str, float]
    settings: Any
    folder: Path
    options: FitOptions = field(default_factory=FitOptions)

    @property
    def species(self) -> tuple[str, ...]:
        """Symbols in order of atomic number."""
        return tuple(self.e0)


@dataclass(frozen=True)
class Trained:
    """What a program made of a job.

    Attributes
    ----------
    potential : str
        Name of the file in the folder of the job that the calculator reads.
    counts_read : dict of str to int
        Targets that it has used, by the names of ``Job.counts``.
    files : tuple of str
        Names of other files in the folder that belong to the potential.
    sizes : dict of str to int
        How large the model is.
    details : dict
        What else there is to say, as JSON holds it.
    log : str
        What the program wrote; kept as ``METHOD.log`` where there is any.
    warnings : tuple of str
    """

    potential: str
    counts_read: dict[str, int]
    files: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowEffort:
    """What the rows of a linear potential take, known without computing any.

    Attributes
    ----------
    weights : int
        At the most.
    seconds_per_pair : float, s
        Processor time for each atom and neighbour.
    bytes_of_process : float
        What a process needs beside what it computes.
    bytes_per_pair : float
        Memory for each atom and neighbour of the configuration whose rows are computed.
    most_bytes : float
        The most that these have together, where a large configuration is computed in portions.
    """

    weights: int
    seconds_per_pair: float
    bytes_of_process: float
    bytes_per_pair: float
    most_bytes: float = np.inf


class Fitter(ABC):
    """A kind of potential.

    Attributes
    ----------
    name : str
        Value of ``[fit] method``.
    title : str
        What reports call it.
    program : str
        What messages call who fits.
    extra, module, package : str
        The extra of ndsc that brings it, the module that it imports, and the distribution, whose version goes into the
        keys of fits.
    settings : type
    weights : tuple of two str
        What the weights of a linear potential belong to, and the keys that say how many there are.
    linear : bool
        Whether it has a :meth:`basis`, so that labels can be chosen for it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    program: ClassVar[str]
    extra: ClassVar[str]
    module: ClassVar[str]
    package: ClassVar[str]
    settings: ClassVar[type[FitterSettings]]
    weights: ClassVar[tuple[str, str]] = ("weights", "[fit]")
    linear: ClassVar[bool] = False

    def require(self) -> None:
        """Refuse to go on where its package is not installed.

        Raises
        ------
        MissingExtraError
        """
        if importlib.util.find_spec(self.module) is None:
            raise MissingExtraError(
                f"[fit] method = {self.name!r} needs the package {self.package}, which is not installed. Install it "
                f"with pip install 'ndsc[{self.extra}]', or choose another method."
            )

    @abstractmethod
    def memory(self, settings: Any, size: FitSize) -> float:
        """Bytes that a fit needs at its peak, roughly.

        Parameters
        ----------
        settings : FitterSettings
        size : FitSize
        """

    def check_memory(self, settings: Any, size: FitSize, *, limit_gb: float | None = None) -> float:
        """Refuse a fit that does not fit into memory; see :func:`ndsc.potentials.fitting.check_fit_memory`."""
        needed, allowed = self.memory(settings, size) / 1e9, allowed_memory_gb(limit_gb)
        if needed <= allowed:
            return needed
        raise InputError(
            f"The fit of {size.n_frames} configurations with {size.n_atoms} atoms of {size.n_species} elements by "
            f"{self.title} needs about {needed:.3g} GB of memory, and {allowed:.3g} GB are "
            f"{'available' if limit_gb is None else 'allowed'}. {self.cheaper(settings)}"
        )

    def cheaper(self, settings: Any) -> str:
        """What would need less memory, as a sentence for the message that refuses a fit."""
        return "Lower cutoff, fit fewer configurations, or use a machine with more memory."

    @abstractmethod
    def fit(self, frames: Sequence[Atoms], directory: str | Path, settings: Any, options: FitOptions) -> Fitted:
        """Fit in a folder; see :func:`ndsc.potentials.fit_potential`."""

    @abstractmethod
    def load(self, folder: Path) -> Fitted:
        """The fit in a folder.

        Raises
        ------
        OSError, ValueError
            When the folder holds no complete fit.
        """

    @abstractmethod
    def calculator(self, path: Path) -> Calculator:
        """The potential in a file as an ASE calculator that can be pickled.

        Raises
        ------
        MissingExtraError
            When the package is not installed.
        InputError, FitError
            When the file is not such a potential, or damaged.
        """

    def basis(
        self,
        structures: Sequence[Atoms],
        folder: Path,
        settings: Any,
        *,
        store: Path | None = None,
        workers: int = 1,
        quick: bool = False,
        progress: Progress = silent,
    ) -> Basis:
        """The linear model that structures without labels make.

        Parameters
        ----------
        structures : sequence of ase.Atoms
            All that the potential is for, the unperturbed unit cell first; their targets are not looked at.
        folder : path
            Where its files are kept.
        settings : FitterSettings
        store : path, optional
            Folder in which rows are kept between calls.
        workers : int
            Processes that compute rows.
        quick : bool
            Any basis of the right size, for an estimate of times.
        progress : callable

        Raises
        ------
        InputError
            When the potential is not linear in its weights.
        """
        raise InputError(
            f"Labels cannot be chosen for [fit] method = {self.name!r}, which is not linear in its weights. Give "
            "[selection] method = 'all', or choose them with another method."
        )

    def prior(self, settings: Any) -> float | None:
        """Width of the prior of the weights, in units of the basis's; None where the labels choose it."""
        return None

    def effort(self, settings: Any, n_species: int) -> RowEffort:
        """What rows take; of a linear potential only."""
        raise NotImplementedError

    def describe(self, settings: Any) -> str:
        """What a dry run says of the settings, in a few words."""
        return f"method = {self.name!r}"

    def summary(self, fitted: Fitted) -> str:
        """What the command line says of the size of a fitted potential, as a sentence."""
        sizes = ", ".join(f"{number} {name}" for name, number in fitted.sizes.items())
        return f"{sizes[:1].upper()}{sizes[1:]}."

    def larger(self, settings: Any) -> str:
        """Which settings to raise where the potential represents its labels badly, as part of a sentence."""
        return f"make the model of {self.title} larger, then raise cutoff = {settings.cutoff:g}"

    def model(self, fitted: Fitted) -> LinearModel:
        """A fitted potential as a linear model.

        Raises
        ------
        InputError
            When it is not linear in its weights.
        """
        raise InputError(f"A potential of [fit] method = {self.name!r} is not linear in its weights.")

    def finer(self, n_species: int) -> dict[str, Any]:
        """Settings of a potential that labels are chosen for, where the input file gives none."""
        return {}
