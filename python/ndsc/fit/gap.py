"""Fitting a Gaussian approximation potential with gap_fit, and making sure that it used what it was given."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from ndsc.errors import FitError, InputError, NdscError
from ndsc.extended_xyz import read_frames
from ndsc.files import write_text
from ndsc.fit.calculator import GapCalculator
from ndsc.fit.evaluation import Errors, Predictions
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
    RECORD,
    RECORD_FORMAT,
    TRAINING_NAME,
    XML_NAME,
    different_counts,
    key_of_fit,
    publish,
    scratch_of,
    stored_or_made,
    write_predictions,
)
from ndsc.fit.linear_system import ALL_KINDS, solve_in_blocks
from ndsc.fit.memory import FitSize, check_fit_memory
from ndsc.fit.rows import KernelRows
from ndsc.fit.settings import GapSettings
from ndsc.fit.sparse_points import read_kernels, read_sparse_points, write_sparse_points
from ndsc.fit.training import (
    TrainingFile,
    check_binding,
    kernel_descriptions,
    single_atom_energies,
    with_sigmas,
    write_training_file,
)
from ndsc.fit.weights import write_weights
from ndsc.plausibility import check_plausible
from ndsc.progress import Progress, silent
from ndsc.store import DamagedError, Store
from ndsc.versions import package_version

#: What makes gap_fit choose sparse points, which needs no derivatives, and stop.
SELECT_ONLY = ["force_parameter_name=none", "virial_parameter_name=none", "sparsify_only_no_fit=T"]
#: Attributes of a fit that its record holds under the same names.
KEPT = ("e0", "counts_sent", "counts_read", "n_sparse", "seconds", "memory_gb")
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

    @property
    def method(self) -> str:
        """The kind of potential, "gap"."""
        return "gap"

    @property
    def potential(self) -> Path:
        """The file that the calculator reads, the same as `xml_path`."""
        return self.xml_path

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the potential consists of."""
        return self.xml_path, *sorted(self.xml_path.parent.glob(f"{self.xml_path.name}.sparseX.*"))

    @property
    def sizes(self) -> dict[str, int]:
        """Sparse points of each species, by its symbol."""
        return self.n_sparse

    @property
    def details(self) -> dict[str, Any]:
        """Nothing beside the other attributes."""
        return {}

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
    frames = list(frames)
    e0 = single_atom_energies(frames, settings)
    warnings = (*check_plausible(frames), *check_binding(frames, e0))
    size = FitSize.of_frames(frames, settings.cutoff, sparse_only or ())
    memory = check_fit_memory(settings, size, limit_gb=memory_limit_gb)
    target = Path(directory).resolve()
    require_quippy()
    find_gap_fit()
    with scratch_of(target) as scratch_folder:
        scratch = scratch_folder.path
        training = write_training_file(scratch / TRAINING_NAME, frames, sparse_only or [], settings)
        sparse_files = None
        if fixed_sparse_points is not None:
            sparse_files = write_sparse_points(scratch, training.species, read_sparse_points(fixed_sparse_points))
        arguments = fit_arguments(training, settings, e0, sparse_files)
        fits = _fits(target, key_of_fit(scratch, arguments))

        def compute() -> GapFit:
            read, seconds, predictions = _fit(
                arguments, training.counts, frames, settings, scratch, target, threads=threads, progress=progress
            )
            n_sparse = {symbol: len(points[0]) for symbol, points in read_sparse_points(scratch / XML_NAME).items()}
            publish(scratch, target)
            return GapFit(
                xml_path=target / XML_NAME,
                settings=settings,
                e0=e0,
                counts_sent=training.counts,
                counts_read=read,
                n_sparse=n_sparse,
                seconds=round(seconds, 3),
                memory_gb=round(memory, 3),
                predictions=predictions,
                warnings=warnings,
            )

        return stored_or_made(fits, compute, target, reuse=reuse)


def load_fit(directory: str | Path) -> GapFit:
    """The fit in a folder that :func:`fit_gap` made.

    Raises
    ------
    InputError
        When the folder holds no complete fit.
    """
    folder = Path(directory).resolve()
    try:
        return _fits(folder).load(RECORD)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no complete fit ({type(error).__name__}: {error}). Make it with fit_gap, or `ndsc fit`."
        ) from error


def _fits(folder: Path, key: str | None = None) -> Store[GapFit]:
    """The store of one fit that a folder is; with a key, a fit of another key in it counts as missing."""

    def decode(_: str, record: Any) -> GapFit:
        if key not in (None, record["key"]):
            raise FileNotFoundError("it is another fit")
        try:
            read_kernels(folder / XML_NAME)
            frames = read_frames(folder / PREDICTIONS_NAME)
        except NdscError as error:
            raise DamagedError(str(error)) from error
        return GapFit(
            xml_path=folder / XML_NAME,
            # Fits from before there was a radial scaling have none, and do not say so.
            settings=GapSettings(**({"radial_exponent": 0} | record["settings"])),
            predictions=Predictions.from_frames(frames),
            reused=True,
            warnings=tuple(record.get("warnings", ())),
            **{name: record[name] for name in KEPT},
        )

    def encode(fit: GapFit) -> str:
        record = {
            "format": RECORD_FORMAT,
            "key": key,
            "settings": fit.settings.model_dump(mode="json"),
            **{name: getattr(fit, name) for name in KEPT},
            "quippy": package_version("quippy-ase") or "unknown",
            "solver": fit.settings.solver,
            "warnings": fit.warnings,
        }
        return json.dumps(record, indent=1)

    return Store(folder, decode, encode)


def _fit(
    arguments: list[str],
    sent: Mapping[str, int],
    frames: list[Atoms],
    settings: GapSettings,
    scratch: Path,
    target: Path,
    *,
    threads: int,
    progress: Progress,
) -> tuple[dict[str, int], float, Predictions]:
    """Make a potential in `scratch`: the counts of what it used, its time, s, and its predictions."""
    potential, log_path = scratch / XML_NAME, target / LOG_NAME
    progress(TASK, 0, 100)
    start = time.perf_counter()
    run = run_gap_fit(arguments, scratch, LOG_NAME, threads=threads, progress=progress)
    write_text(log_path, run.log + "\n")  # also when the fit failed
    check_finished(run, potential, log_path)
    read = _solve_here(potential, frames, settings, progress) if settings.solver == "numpy" else parse_counts(run.log)
    seconds = time.perf_counter() - start
    _check_counts(sent, read, log_path)
    progress(TASK, 100, 100)
    predictions = write_predictions(
        scratch / PREDICTIONS_NAME, frames, GapCalculator(potential), progress=progress,
        advice=f"; a larger sparse_jitter may help. The log is {log_path}.",
    )  # fmt: skip
    return read, seconds, predictions


def _solve_here(potential: Path, frames: list[Atoms], settings: GapSettings, progress: Progress) -> dict[str, int]:
    """Replace the weights in the potential by those of our own linear system; returns the counts of what it used."""
    source = KernelRows(potential)
    weights, counts = solve_in_blocks(source, frames, sparse_jitter=settings.sparse_jitter, progress=progress)
    write_weights(potential, weights, source.single_atoms, potential.parent)
    names = ("energies", "force_components", "virial_components")
    return with_sigmas({name: counts[kind] for name, kind in zip(names, ALL_KINDS, strict=True)})


def fit_arguments(
    training: TrainingFile, settings: GapSettings, e0: Mapping[str, float], sparse_files: Mapping[str, str] | None
) -> list[str]:
    """What gap_fit is called with; with ``solver = "numpy"`` it only chooses sparse points."""
    single_atoms = ":".join(f"{symbol}:{energy!r}" for symbol, energy in e0.items())
    derivatives, selection = ["force_parameter_name=REF_forces", "virial_parameter_name=REF_virial"], []
    if settings.solver == "numpy":
        derivatives, selection = [], SELECT_ONLY
    return [
        f"at_file={training.path.name}",
        f"gap={kernel_descriptions(training.species, settings, sparse_files)}",
        # Mandatory, and never used: every target has its own sigma, which _check_counts verifies.
        "default_sigma={0.001 0.01 0.01 0.0}",
        f"e0={{{single_atoms}}}",
        "energy_parameter_name=REF_energy",
        *derivatives,
        f"sparse_jitter={settings.sparse_jitter}",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        f"rnd_seed={settings.seed}",
        f"gap_file={XML_NAME}",
        *selection,
    ]


def check_finished(run: Run, potential: Path, log_path: Path) -> None:
    """Raise a FitError when gap_fit failed, or made a potential that is not a number."""
    if run.code != 0 or not potential.is_file():
        raise FitError(f"gap_fit failed with exit code {run.code}: {failure_reason(run)}. The log is {log_path}.")
    text = potential.read_text(encoding="utf-8", errors="replace")
    if 'alpha="NaN' in text or 'alpha="Inf' in text or 'alpha="-Inf' in text:
        raise FitError(
            "gap_fit ended without an error but its potential is not a number (NaN), as a sigma of zero makes it. It "
            f"was discarded. Use a regularisation with larger minima. The log is {log_path}."
        )


def _check_counts(sent: Mapping[str, int], read: Mapping[str, int], log_path: Path) -> None:
    """Compare what was written with what gap_fit logged: it drops what it cannot read without a message."""
    if different := different_counts(sent, read):
        raise FitError(
            f"gap_fit did not use the data that it was given ({different}), so its potential is not the requested "
            f"one and was discarded. See {log_path}; a gap_fit of another version may read the training file "
            "differently."
        )
