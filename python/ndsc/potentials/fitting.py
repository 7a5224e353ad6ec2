"""Fitting a potential of any kind in a folder, and reading the fit again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.database import write_database
from ndsc.errors import FitError, InputError, NdscError
from ndsc.extended_xyz import read_frames
from ndsc.files import read_json, write_text
from ndsc.fit.evaluation import Errors, Predictions
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.folder import (
    PREDICTIONS_NAME,
    RECORD,
    TRAINING_NAME,
    different_counts,
    scratch_of,
    stored_or_made,
    write_predictions,
)
from ndsc.fit.memory import FitSize
from ndsc.fit.training import check_binding, single_atom_energies, training_frames
from ndsc.plausibility import check_plausible
from ndsc.potentials.base import Basis, FitOptions, Fitted, Fitter, Job, Trained
from ndsc.potentials.registry import fitter, fitter_of
from ndsc.potentials.settings import FITTERS
from ndsc.progress import Progress, silent
from ndsc.selection.model import LinearModel
from ndsc.store import DamagedError, Store
from ndsc.versions import package_version

RECORD_FORMAT = 1
#: Attributes of a fit that its record holds under the same names.
KEPT = ("e0", "counts_sent", "counts_read", "sizes", "details", "seconds", "memory_gb")
#: What progress calls this.
TASK = "fitting the potential"


@dataclass(frozen=True, eq=False)
class PotentialFit:
    """A fitted potential and how it came about; see :class:`~ndsc.potentials.base.Fitted`."""

    method: str
    potential: Path
    files: tuple[Path, ...]
    settings: FitterSettings
    e0: dict[str, float]
    counts_sent: dict[str, int]
    counts_read: dict[str, int]
    sizes: dict[str, int]
    seconds: float
    memory_gb: float
    predictions: Predictions
    details: dict[str, Any] = field(default_factory=dict)
    reused: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def errors(self) -> dict[str, Errors]:
        """Errors on the training data: over ``"all"`` of it and over each ``config_type``."""
        return self.predictions.errors()

    def calculator(self) -> Calculator:
        """The potential as an ASE calculator."""
        return fitter(self.method).calculator(self.potential)

    def linear_model(self) -> LinearModel:
        """The potential as a linear model; InputError where it is none."""
        return fitter(self.method).model(self)


def fit_potential(
    frames: Sequence[Atoms],
    directory: str | Path,
    settings: FitterSettings,
    *,
    basis: Basis | None = None,
    unlabelled: Sequence[Atoms] = (),
    prior: float | None = None,
    memory_limit_gb: float | None = None,
    threads: int = 1,
    reuse: bool = True,
    progress: Progress | None = None,
) -> Fitted:
    """Fit a potential of the kind that the settings are for.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With targets (``REF_*``) and their sigmas, from :func:`ndsc.fit.apply_regularisation`.
    directory : path
        Folder for the potential and all that belongs to it. A new fit takes the place of an old one when it is
        complete; a fit that fails leaves only its log.
    settings : FitterSettings
        :class:`ndsc.fit.GapSettings` or those of another kind.
    basis : Basis, optional
        Of a linear potential, what :meth:`Fitter.basis` made; the fit shares it.
    unlabelled : sequence of ase.Atoms
        Structures without targets that the potential is for; a GAP takes sparse points of them too.
    prior : float, optional
        Width of the prior of the weights, in units of the basis's, that the sigmas of the frames were found with: one
        for those of :meth:`ndsc.selection.Noise.regularisation`. A width found anew for such sigmas would be wrong by
        the one that they are divided by. By default it is as the settings say, most often the one that makes the labels
        most probable. Of a GAP it is one, always: `delta` is the width.
    memory_limit_gb : float, optional
        Refuse a fit that needs more; the memory that is available by default.
    threads : int
        Threads of linear algebra.
    reuse : bool
        Take the fit that is in the folder when it was made from the same data with the same settings.
    progress : callable, optional
        Called with (task, done, total).

    Returns
    -------
    Fitted

    Raises
    ------
    MissingExtraError
        When the package of this kind of potential is not installed.
    InputError
        When data or settings cannot be fitted, or the fit would need too much memory.
    FitError
        When the fit fails, used less data than it was given, or made a potential that is not finite.
    """
    kind = fitter_of(settings)
    kind.require()
    progress = silent if progress is None else progress
    options = FitOptions(basis, unlabelled, prior, memory_limit_gb, threads, reuse, progress)
    return kind.fit(list(frames), directory, settings, options)


class TrainedFitter(Fitter):
    """A kind of potential whose program is called with a :class:`Job`; folder and record are the common ones."""

    @abstractmethod
    def train(self, job: Job) -> Trained:
        """Fit labelled configurations.

        Raises
        ------
        FitError
            When the fit fails.
        """

    def fit(self, frames: Sequence[Atoms], directory: str | Path, settings: Any, options: FitOptions) -> PotentialFit:
        """See :func:`fit_potential`."""
        frames = list(frames)
        e0 = single_atom_energies(frames, settings)
        warnings = (*check_plausible(frames), *check_binding(frames, e0))
        size = FitSize.of_frames(frames, settings.cutoff)
        memory = self.check_memory(settings, size, limit_gb=options.memory_limit_gb)
        target = Path(directory).resolve()
        with scratch_of(target) as scratch_folder:
            scratch = scratch_folder.path
            bare, counts = training_frames(frames, settings.cutoff)
            write_database(scratch / TRAINING_NAME, bare)
            job = Job(bare, counts, e0, settings, scratch, options)
            store = _fits(target, _key(self, job))

            def compute() -> PotentialFit:
                trained, seconds, predictions = _train(self, job, frames, target)
                _publish(scratch, target, (TRAINING_NAME, PREDICTIONS_NAME, *trained.files, trained.potential))
                return PotentialFit(
                    method=self.name,
                    potential=target / trained.potential,
                    files=tuple(target / name for name in (trained.potential, *trained.files)),
                    settings=settings,
                    e0=e0,
                    counts_sent=counts,
                    counts_read=trained.counts_read,
                    sizes=trained.sizes,
                    details=trained.details,
                    seconds=round(seconds, 3),
                    memory_gb=round(memory, 3),
                    predictions=predictions,
                    warnings=(*warnings, *trained.warnings),
                )

            return stored_or_made(store, compute, target, reuse=options.reuse)

    def load(self, folder: Path) -> PotentialFit:
        """See :meth:`Fitter.load`."""
        return _fits(folder).load(RECORD)


def check_fit_memory(settings: FitterSettings, size: FitSize, *, limit_gb: float | None = None) -> float:
    """Refuse a fit that does not fit into memory.

    Parameters
    ----------
    settings : FitterSettings
    size : FitSize
    limit_gb : float, optional
        The memory that is available now by default.

    Returns
    -------
    float
        What the fit needs, GB (10⁹ bytes).

    Raises
    ------
    InputError
        When it needs more.
    """
    return fitter_of(settings).check_memory(settings, size, limit_gb=limit_gb)


def load_fit(directory: str | Path) -> Fitted:
    """The fit in a folder, whatever its kind.

    Parameters
    ----------
    directory : path
        The folder ``potential`` of a run, or that of :func:`fit_potential`.

    Returns
    -------
    Fitted
        With the potential's calculator, settings and errors; of a GAP a :class:`ndsc.fit.GapFit`.

    Raises
    ------
    InputError
        When the folder holds no complete fit.
    """
    folder = Path(directory).resolve()
    try:
        record = read_json(folder / f"{RECORD}.json")
        method = str(record.get("method", "gap")) if isinstance(record, Mapping) else "gap"
        return fitter(method).load(folder)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError) and not isinstance(error, DamagedError):
            raise
        raise InputError(
            f"{folder} holds no complete fit ({type(error).__name__}: {error}). Make it with `ndsc fit`."
        ) from error


def _train(kind: TrainedFitter, job: Job, frames: list[Atoms], target: Path) -> tuple[Trained, float, Predictions]:
    """What the program made, its time, s, and its predictions."""
    progress = job.options.progress
    progress(TASK, 0, 100)
    start = time.perf_counter()
    trained = kind.train(job)
    seconds = time.perf_counter() - start
    if trained.log:
        write_text(target / f"{kind.name}.log", trained.log.rstrip("\n") + "\n")
    if different := different_counts(job.counts, trained.counts_read):
        raise FitError(
            f"{kind.program} did not use the data that it was given ({different}), so its potential is not the "
            "requested one and was discarded. Another version of its program may read the data differently."
        )
    progress(TASK, 100, 100)
    calculator = kind.calculator(job.folder / trained.potential)
    return trained, seconds, write_predictions(job.folder / PREDICTIONS_NAME, frames, calculator, progress=progress)


def _key(kind: Fitter, job: Job) -> str:
    """A hash of all that a fit depends on."""
    basis = getattr(job.options.basis, "digest", "")
    content = [RECORD_FORMAT, kind.name, package_version(kind.package) or "unknown", basis]
    content += [job.settings.hyperparameters(), job.e0]
    content += [] if job.options.prior is None else [{"prior": job.options.prior}]
    hashed = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    hashed.update((job.folder / TRAINING_NAME).read_bytes())
    return hashed.hexdigest()


def _publish(scratch: Path, target: Path, names: Sequence[str]) -> None:
    """Move a complete fit into its folder; its record, which says that it is complete, is written afterwards."""
    (target / f"{RECORD}.json").unlink(missing_ok=True)
    for name in names:
        os.replace(scratch / name, target / name)


def _fits(folder: Path, key: str | None = None) -> Store[PotentialFit]:
    """The store of one fit that a folder is; with a key, a fit of another key in it counts as missing."""

    def decode(_: str, record: Any) -> PotentialFit:
        if key is not None and record.get("key") != key:
            raise FileNotFoundError("it is another fit")
        method = str(record["method"])
        if any(Path(name).name != name for name in record["files"]):
            raise DamagedError("it names files of other folders")
        files = tuple(folder / name for name in record["files"])
        missing = [path.name for path in files if not path.is_file()]
        if missing:
            raise DamagedError(f"{', '.join(missing)} is missing")
        try:
            frames = read_frames(folder / PREDICTIONS_NAME)
            settings = FITTERS[method].parse(record["settings"], "its settings")
        except NdscError as error:
            raise DamagedError(str(error)) from error
        return PotentialFit(
            method=method,
            potential=files[0],
            files=files,
            settings=settings,
            predictions=Predictions.from_frames(frames),
            reused=True,
            warnings=tuple(record.get("warnings", ())),
            **{name: record[name] for name in KEPT},
        )

    def encode(fit: PotentialFit) -> str:
        record = {
            "format": RECORD_FORMAT,
            "method": fit.method,
            "key": key,
            "files": [path.name for path in fit.files],
            "settings": fit.settings.model_dump(mode="json"),
            **{name: getattr(fit, name) for name in KEPT},
            "versions": {name: package_version(name) for name in (fitter(fit.method).package,)},
            "warnings": fit.warnings,
        }
        return json.dumps(record, indent=1)

    return Store(folder, decode, encode)
