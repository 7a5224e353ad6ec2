"""Fitting a Gaussian approximation potential with gap_fit, and making sure that it used what it was given."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from ndsc.database import write_database
from ndsc.errors import FitError, InputError
from ndsc.extended_xyz import read_frames
from ndsc.files import ScratchFolder, write_text
from ndsc.fit.calculator import GapCalculator
from ndsc.fit.evaluation import Errors, Predictions, predict
from ndsc.fit.executable import (
    Run,
    failure_reason,
    find_gap_fit,
    parse_counts,
    require_quippy,
    run_gap_fit,
)
from ndsc.fit.folder import (
    LOG_NAME,
    PREDICTIONS_NAME,
    RECORD_FORMAT,
    RECORD_NAME,
    TRAINING_NAME,
    XML_NAME,
    keep_log,
    key_of_fit,
    publish,
    recorded_key,
)
from ndsc.fit.linear_system import ALL_KINDS, LinearSystem
from ndsc.fit.memory import FitSize, check_fit_memory
from ndsc.fit.settings import GapSettings
from ndsc.fit.sparse_points import read_sparse_points, write_sparse_points
from ndsc.fit.training import (
    TrainingFile,
    check_binding,
    kernel_descriptions,
    single_atom_energies,
    with_sigmas,
    write_training_file,
)
from ndsc.plausibility import check_plausible
from ndsc.progress import Progress, silent
from ndsc.versions import package_version

log = logging.getLogger(__name__)

#: What makes gap_fit choose sparse points, which needs no derivatives, and stop.
SELECT_ONLY = ["force_parameter_name=none", "virial_parameter_name=none", "sparsify_only_no_fit=T"]
#: What progress calls this.
TASK = "fitting the potential"


@dataclass(frozen=True, eq=False)
class GapFit:
    """A fitted potential and how it came about.

    Attributes
    ----------
    xml_path : path
        The potential; its ``*.sparseX.*`` files are in the same folder.
    settings : GapSettings
    e0 : dict of symbol to eV
    counts_sent, counts_read : dict of str to int
        Targets and sigmas written for gap_fit, and read by it according to its log; always equal.
    n_sparse : dict of symbol to int
        Sparse points of each species.
    seconds : float
        Wall time of the fit.
    memory_gb : float
        What :func:`ndsc.fit.memory.fit_memory` expects it to need.
    predictions : Predictions
        The model on its own training data.
    reused : bool
        Whether the fit was found in the folder instead of being made.
    warnings : tuple of str
        What is unusual about the database, see :func:`ndsc.plausibility.check_plausible`.
    """

    xml_path: Path
    settings: GapSettings
    e0: dict[str, float]
    counts_sent: dict[str, int]
    counts_read: dict[str, int]
    n_sparse: dict[str, int]
    seconds: float
    memory_gb: float
    predictions: Predictions
    reused: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def errors(self) -> dict[str, Errors]:
        """Errors on the training data: over ``"all"`` of it and over each ``config_type``."""
        return self.predictions.errors()

    def calculator(self) -> GapCalculator:
        """The potential as an ASE calculator; see :class:`GapCalculator`."""
        return GapCalculator(self.xml_path)


def fit_gap(
    frames: Sequence[Atoms],
    directory: str | Path,
    settings: GapSettings | None = None,
    *,
    sparse_only: Sequence[Atoms] | None = None,
    fixed_sparse_points: str | Path | None = None,
    memory_limit_gb: float | None = None,
    threads: int = 1,
    reuse: bool = True,
    progress: Progress | None = None,
) -> GapFit:
    """Fit a GAP to labelled configurations.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With targets (``REF_*``) and their sigmas, from :func:`ndsc.fit.apply_regularisation`.
    directory : path
        Folder for ``gap.xml`` and all that belongs to it. A new fit takes the place of an old one when it is complete;
        a fit that fails leaves only its log.
    settings : GapSettings, optional
    sparse_only : sequence of ase.Atoms, optional
        Configurations, labelled or not, that only offer sparse points (section 4).
    fixed_sparse_points : path, optional
        XML file of an earlier GAP with the same SOAP settings: its sparse points are used, and none are selected.
    memory_limit_gb : float, optional
        Refuse a fit that needs more (:func:`ndsc.fit.memory.fit_memory`); the memory that is available by default.
    threads : int
        Threads of gap_fit's linear algebra.
    reuse : bool
        Take the fit that is in the folder when it was made from the same data with the same settings.
    progress : callable, optional

    Returns
    -------
    GapFit

    Raises
    ------
    MissingExtraError
        When quippy-ase is not installed.
    InputError
        When data or settings cannot be fitted, or the fit would need too much memory.
    FitError
        When gap_fit fails, used less data than it was given, or made a potential that is not finite.
    """
    settings = GapSettings() if settings is None else settings
    progress = silent if progress is None else progress
    e0 = single_atom_energies(frames, settings)
    warnings = (*check_plausible(frames), *check_binding(frames, e0))
    size = FitSize.of_frames(frames, settings.cutoff, sparse_only or ())
    memory = check_fit_memory(settings, size, limit_gb=memory_limit_gb)
    target = Path(directory).resolve()
    require_quippy()
    find_gap_fit()
    try:
        target.mkdir(parents=True, exist_ok=True)
        scratch_folder = ScratchFolder(target)
    except OSError as error:
        raise InputError(
            f"The potential cannot be written to {target} ({error.strerror}). Choose a folder that you may write to."
        ) from error
    with scratch_folder:
        scratch = scratch_folder.path
        training = write_training_file(scratch / TRAINING_NAME, frames, sparse_only or [], settings)
        sparse_files = None
        if fixed_sparse_points is not None:
            sparse_files = write_sparse_points(scratch, training.species, read_sparse_points(fixed_sparse_points))
        arguments = _arguments(training, settings, e0, sparse_files)
        if settings.solver == "numpy":
            targets = ("force_parameter_name", "virial_parameter_name")
            arguments = [word for word in arguments if not word.startswith(targets)] + SELECT_ONLY
        key = key_of_fit(scratch, arguments)
        if reuse and recorded_key(target) == key:
            log.info("The potential in %s was made from the same data and settings; it is used again.", target)
            return load_fit(target)
        job = _Job(scratch, target, training, settings, e0, arguments, key, memory, threads, progress, warnings)
        return _fit(job, list(frames))


def load_fit(directory: str | Path) -> GapFit:
    """The fit in a folder that :func:`fit_gap` made.

    Raises
    ------
    InputError
        When the folder holds no complete fit.
    """
    folder = Path(directory).resolve()
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
        frames = read_frames(folder / PREDICTIONS_NAME)
        return _from_record(folder, record, Predictions.from_frames(frames), reused=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} holds no complete fit ({type(error).__name__}: {error}). Make it with fit_gap, or `ndsc fit`."
        ) from error


@dataclass(frozen=True)
class _Job:
    """One fit: where it runs, where it goes, and what it is made of."""

    scratch: Path
    target: Path
    training: TrainingFile
    settings: GapSettings
    e0: dict[str, float]
    arguments: list[str]
    key: str
    memory_gb: float
    threads: int
    progress: Progress
    warnings: tuple[str, ...]


def _fit(job: _Job, frames: list[Atoms]) -> GapFit:
    job.progress(TASK, 0, 100)
    start = time.perf_counter()
    run = run_gap_fit(job.arguments, job.scratch, LOG_NAME, threads=job.threads, progress=job.progress)
    log_path = keep_log(run, job.target)
    _check_finished(run, job.scratch, log_path)
    read = _solve_here(job, frames) if job.settings.solver == "numpy" else parse_counts(run.log)
    seconds = time.perf_counter() - start
    _check_counts(job.training.counts, read, log_path)
    job.progress(TASK, 100, 100)

    potential = job.scratch / XML_NAME
    predicted = predict(frames, GapCalculator(potential), progress=job.progress)
    predictions = Predictions.from_frames(predicted)
    if predictions.unusable:
        raise FitError(
            f"The potential is not finite on {len(predictions.unusable)} of the {len(frames)} configurations that it "
            f"was fitted to (the first is number {predictions.unusable[0]}), so it was discarded. Look for two atoms "
            f"on one site and for sigmas that are too small; a larger sparse_jitter may help. The log is {log_path}."
        )
    write_database(job.scratch / PREDICTIONS_NAME, predicted)
    record: dict[str, Any] = {
        "format": RECORD_FORMAT,
        "key": job.key,
        "settings": job.settings.model_dump(mode="json"),
        "e0": job.e0,
        "counts_sent": job.training.counts,
        "counts_read": read,
        "n_sparse": {symbol: len(points[0]) for symbol, points in read_sparse_points(potential).items()},
        "seconds": round(seconds, 3),
        "memory_gb": round(job.memory_gb, 3),
        "quippy": package_version("quippy-ase") or "unknown",
        "solver": job.settings.solver,
        "warnings": job.warnings,
    }
    write_text(job.scratch / RECORD_NAME, json.dumps(record, indent=1) + "\n")
    publish(job.scratch, job.target)
    return _from_record(job.target, record, predictions, reused=False)


def _solve_here(job: _Job, frames: list[Atoms]) -> dict[str, int]:
    """Replace the weights in the potential by those of our own linear system; returns the counts of what it used."""
    potential = job.scratch / XML_NAME
    system = LinearSystem.from_potential(potential, frames, progress=job.progress)
    system.write_potential(system.solve(sparse_jitter=job.settings.sparse_jitter), job.scratch)
    energies, forces, virials = (int(system.used(kinds=[kind]).sum()) for kind in ALL_KINDS)
    return with_sigmas({"energies": energies, "force_components": forces, "virial_components": virials})


def _from_record(folder: Path, record: Mapping[str, Any], predictions: Predictions, *, reused: bool) -> GapFit:
    kept = {name: record[name] for name in ("e0", "counts_sent", "counts_read", "n_sparse", "seconds", "memory_gb")}
    return GapFit(
        xml_path=folder / XML_NAME,
        settings=GapSettings(**record["settings"]),
        predictions=predictions,
        reused=reused,
        warnings=tuple(record.get("warnings", ())),
        **kept,
    )


def _arguments(
    training: TrainingFile, settings: GapSettings, e0: Mapping[str, float], sparse_files: Mapping[str, str] | None
) -> list[str]:
    single_atoms = ":".join(f"{symbol}:{energy!r}" for symbol, energy in e0.items())
    return [
        f"at_file={training.path.name}",
        f"gap={kernel_descriptions(training.species, settings, sparse_files)}",
        # Mandatory, and never used: every target has its own sigma, which _check_counts verifies.
        "default_sigma={0.001 0.01 0.01 0.0}",
        f"e0={{{single_atoms}}}",
        "energy_parameter_name=REF_energy",
        "force_parameter_name=REF_forces",
        "virial_parameter_name=REF_virial",
        f"sparse_jitter={settings.sparse_jitter}",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        f"rnd_seed={settings.seed}",
        f"gap_file={XML_NAME}",
    ]


def _check_finished(run: Run, scratch: Path, log_path: Path) -> None:
    if run.code != 0 or not (scratch / XML_NAME).is_file():
        raise FitError(f"gap_fit failed with exit code {run.code}: {failure_reason(run)}. The log is {log_path}.")
    text = (scratch / XML_NAME).read_text(encoding="utf-8", errors="replace")
    if 'alpha="NaN' in text or 'alpha="Inf' in text or 'alpha="-Inf' in text:
        raise FitError(
            "gap_fit ended without an error but its potential is not a number (NaN), as a sigma of zero makes it. It "
            f"was discarded. Use a regularisation with larger minima. The log is {log_path}."
        )


def _check_counts(sent: Mapping[str, int], read: Mapping[str, int], log_path: Path) -> None:
    """Compare what was written with what gap_fit logged: it drops what it cannot read without a message."""
    different = [
        f"{name.replace('_', ' ')}: {number} sent, {read.get(name, 'none')} read"
        for name, number in sent.items()
        if read.get(name) != number
    ]
    if different:
        raise FitError(
            f"gap_fit did not use the data that it was given ({'; '.join(different)}), so its potential is not the one "
            f"asked for and was discarded. See {log_path}; a gap_fit of another version may read the training file "
            "differently."
        )
