"""Labels of many configurations: from the store, or computed with any executor."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from ase import Atoms

from ndsc.codes.specification import CalculatorSpec
from ndsc.errors import InputError, MissingLabelsError, ReferenceCalculationError
from ndsc.progress import Progress, silent
from ndsc.reference.computing import Job, perform
from ndsc.reference.driver import FEW_ATOMS, QUICK, Driver, Failure, Here
from ndsc.reference.executors import ExecutorSettings, open_executor
from ndsc.reference.label_file import keys_of
from ndsc.reference.processes import run_job
from ndsc.reference.settings import describe_code_versions, describe_other_settings, note_settings
from ndsc.reference.store import Label, LabelStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelReport:
    """The labels of a series of configurations, and what went wrong.

    Attributes
    ----------
    labels : dict of str to Label
        By the configuration's ``info["ndsc_name"]``, or else ``"structure-0000"`` and so on, in the order given.
    failures : list of Failure
    computed, found : int
        Labels computed now, and labels that were in the store or that another run computed meanwhile.
    seconds : float
        Wall time of this call.
    notes : list of str
        Remarks: labels of other settings in the store, versions of the code that differ.
    """

    labels: dict[str, Label]
    failures: list[Failure] = field(default_factory=list)
    computed: int = 0
    found: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def joined(self, other: LabelReport) -> LabelReport:
        """This report and that of further configurations as one."""
        return LabelReport(
            labels={**self.labels, **other.labels},
            failures=[*self.failures, *other.failures],
            computed=self.computed + other.computed,
            found=self.found + other.found,
            seconds=self.seconds + other.seconds,
            notes=list(dict.fromkeys([*self.notes, *other.notes])),
        )

    def require_all(self) -> None:
        """Raise when any label is missing.

        Raises
        ------
        ReferenceCalculationError
            Naming the configurations and the first reason.
        """
        if self.failures:
            names = ", ".join(failure.name for failure in self.failures[:5])
            more = "" if len(self.failures) <= 5 else f" and {len(self.failures) - 5} more"
            raise ReferenceCalculationError(
                f"{len(self.failures)} reference calculations failed: {names}{more}. The first message: "
                f"{self.failures[0].reason} Correct the cause and run again: finished labels are kept."
            )


def label_configurations(
    configurations: Sequence[Atoms],
    spec: CalculatorSpec,
    store: LabelStore,
    *,
    workers: int = 2,
    threads: int = 1,
    retries: int = 1,
    progress: Progress = silent,
    task: str = "labels",
    executor: Executor | ExecutorSettings | None = None,
    timeout: float | None = None,
    need_stress: bool = False,
    memory_mb: float | None = None,
    secondary: bool = False,
) -> LabelReport:
    """Label configurations in parallel; labels that are in the store are not computed again.

    Each label is written by the process that computed it, so whatever is interrupted keeps what was finished, and the
    same call goes on from there. Several calls on one store at the same time share the work.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        Any structures. ``info["ndsc_name"]`` names one, or else its place in the list does; where k-points are folded,
        ``info["ndsc_matrix"]`` is its supercell matrix, without which it counts as the unit cell itself.
    spec : CalculatorSpec
    store : LabelStore
    workers : int
        Processes on this machine; 1 computes in this one, unless there is a timeout, and so does any number when all
        labels together take less time than the start of a process (:func:`is_quick`).
    threads : int
        Threads of each process.
    retries : int
        How often a configuration is tried again whose process died, took too long, or failed in a way that may not come
        back. Results that
        are refused and settings that the code refuses are not tried again: they would be the same.
    progress : callable
        Called with (task, done, total).
    task : str
        Name of the work in the progress.
    executor : ExecutorSettings, or concurrent.futures.Executor or alike, optional
        Settings name an executor that is started when a label is missing, and stopped; they stand for `workers`,
        `threads`, `retries`, `timeout` and `memory_mb` as well. Otherwise anything with
        ``submit(function, argument)`` that returns futures: executorlib, dask's ``client.get_executor()``, Parsl,
        mpi4py. Its workers must see the same file system. `workers` is then how many calculations it runs at a time:
        twice as many are handed to it. It is not shut down.
    timeout : float, optional
        Longest time of one calculation, s; one that takes longer is stopped.
    need_stress : bool
        Whether labels without stress are refused.
    memory_mb : float, optional
        Memory for all processes on this machine together; without it, nine tenths of what is free.
    secondary : bool
        Whether these settings stand beside others in the store on purpose, as those of single atoms do: then they are
        neither compared with those nor listed in the store.

    Returns
    -------
    LabelReport
        Failed configurations are in it, with the reason; they raise nothing here.

    Raises
    ------
    InputError
        When configurations share a name, a setting is out of range, the calculator cannot be made or used for them
        (:meth:`CalculatorSpec.check`), or the store cannot be written.
    MissingExtraError
        When the code is not installed, and a label is missing.
    MissingLabelsError
        When labels are missing that are computed elsewhere.
    """
    started = time.perf_counter()
    if isinstance(executor, ExecutorSettings):
        settings = executor
    else:
        settings = ExecutorSettings(
            workers=workers, threads=threads, retries=retries, timeout=timeout,
            memory_gb=None if memory_mb is None else memory_mb / 1000,
        )  # fmt: skip
    names = _names(configurations)
    keys = list(keys_of(configurations, spec))
    jobs = [
        Job(
            atoms, spec, str(store.path.absolute()), key, name,
            threads=settings.threads, timeout=settings.timeout, need_stress=need_stress,
        )
        for key, name, atoms in zip(keys, names, configurations, strict=True)
    ]  # fmt: skip
    driver = Driver(store, jobs, retries=settings.retries, progress=progress, name=task)
    notes = []
    if driver.waiting:
        if computed_elsewhere(spec, settings):
            raise missing_labels_error([job.name for job in driver.waiting], store)
        spec.check(configurations)
        store.check_writable()
        if not secondary:
            notes += describe_other_settings(store, spec)
            note_settings(store, spec)
        if executor is not None and not isinstance(executor, ExecutorSettings):
            driver.run(executor, run_job, workers=settings.workers)
        elif settings.kind == "local" and settings.timeout is None and (settings.workers == 1 or is_quick(driver)):
            driver.run(Here(), perform)
        else:
            settings = settings.replaced(workers=min(settings.workers, len(driver.waiting)))
            with open_executor(settings, store.path.absolute().parent) as opened:
                driver.run(opened, run_job, workers=settings.workers)
    notes += describe_code_versions(driver.labels.values())
    for note in notes:
        log.warning("%s", note)
    return LabelReport(
        labels={name: driver.labels[key] for name, key in zip(names, keys, strict=True) if key in driver.labels},
        failures=[
            Failure(name, driver.reasons[key]) for name, key in zip(names, keys, strict=True) if key in driver.reasons
        ],
        computed=driver.computed,
        found=driver.found,
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def is_quick(driver: Driver) -> bool:
    """Whether what waits is for a classical potential of ASE, and done before other processes would have started."""
    jobs = driver.waiting
    return all(job.spec.name in QUICK for job in jobs) and sum(len(job.atoms) for job in jobs) <= FEW_ATOMS


def computed_elsewhere(spec: CalculatorSpec, executor: ExecutorSettings) -> bool:
    """Whether labels are computed by nobody here: by the calculator ``"elsewhere"``, or the executor of that name."""
    return spec.name == "elsewhere" or executor.kind == "elsewhere"


def missing_labels_error(names: Sequence[str], store: LabelStore) -> MissingLabelsError:
    """What to say of labels that are missing and computed elsewhere."""
    are = "1 label is" if len(names) == 1 else f"{len(names)} labels are"
    return MissingLabelsError(
        f"{are} not in {store.path} yet and computed elsewhere; the first is {names[0]}. Write the input with ndsc "
        "labels write, calculate it, take the results with ndsc labels read, then run again."
    )


def _names(configurations: Sequence[Atoms]) -> list[str]:
    """The names of the configurations; those without one are numbered."""
    names = [str(atoms.info.get("ndsc_name") or f"structure-{i:04d}") for i, atoms in enumerate(configurations)]
    if len(set(names)) != len(names):
        doubled = sorted(name for name, count in Counter(names).items() if count > 1)
        raise InputError(f"Configurations share the names {', '.join(doubled[:5])}. Give each its own ndsc_name.")
    return names
