"""Computing labels: one structure, or many in parallel, through the store."""

from __future__ import annotations

import logging
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from loky import ProcessPoolExecutor

from ndsc.configurations import rounded
from ndsc.errors import InputError, MissingExtraError, NdscError, ReferenceCalculationError
from ndsc.progress import Progress, silent
from ndsc.reference.calculators import CalculatorSpec
from ndsc.reference.store import Label, LabelStore

log = logging.getLogger(__name__)

#: Largest sum of forces, per atom, that a converged calculation of a crystal may have, eV/Å.
LARGEST_NET_FORCE = 0.1


@dataclass(frozen=True)
class Failure:
    """A configuration that has no label, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class LabelReport:
    """What became of a series of configurations.

    Attributes
    ----------
    labels : dict of str to Label
        By the configuration's ``ndsc_name``, in the order given.
    failures : list of Failure
    computed, found : int
        Labels computed now, and labels that were in the store.
    seconds : float
        Wall time of this call.
    """

    labels: dict[str, Label]
    failures: list[Failure] = field(default_factory=list)
    computed: int = 0
    found: int = 0
    seconds: float = 0.0

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
                f"{len(self.failures)} reference calculations failed: {names}{more}. The first said: "
                f"{self.failures[0].reason} Mend the cause and run again: finished labels are kept."
            )


def compute_label(atoms: Atoms, spec: CalculatorSpec, store: LabelStore, *, threads: int = 1) -> Label:
    """Compute the label of one structure in this process and write it to the store.

    Parameters
    ----------
    atoms : ase.Atoms
        Rounded to 1e-8 Å before it is computed, as its key is.
    threads : int
        Threads of the linear algebra libraries.

    Raises
    ------
    ReferenceCalculationError
        When the calculator fails or gives what cannot be used. Its files are kept in ``failed/`` of the store.
    InputError, MissingExtraError
        When the calculator cannot be made.
    """
    from threadpoolctl import threadpool_limits

    structure = rounded(atoms)
    name = str(atoms.info.get("ndsc_name", "structure"))
    key = store.key_of(structure, spec)
    started = time.perf_counter()
    scratch = Path(tempfile.mkdtemp(prefix="ndsc-"))
    try:
        with threadpool_limits(limits=threads):
            calculator = spec.create(structure, scratch)
            energy, forces, stress = _run(calculator, structure, name)
        label = Label(
            key=key,
            energy=energy,
            forces=forces,
            stress=stress,
            seconds=time.perf_counter() - started,
            provenance={
                "name": name,
                "calculator": spec.name,
                "parameters": dict(spec.parameters),
                "kgrid": None if spec.kgrid is None else list(spec.kgrid),
                "code": spec.code_version(),
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            },
        )
        store.put(label, structure)
    except ReferenceCalculationError:
        _keep_files(scratch, store.path / "failed" / key)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return label


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
) -> LabelReport:
    """Label configurations in parallel on this machine, taking from the store what is there.

    Each label is written by the process that computed it, so whatever is interrupted keeps what was finished, and the
    same call goes on from there.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        Each with its own ``info["ndsc_name"]``, and ``info["ndsc_matrix"]`` where k-points are folded.
    workers : int
        Processes; 1 computes in this one.
    threads : int
        Threads of each process.
    retries : int
        How often a configuration is tried again whose process died.
    progress : callable
        Called with (task, done, total).
    task : str
        Name of the work in the progress.

    Returns
    -------
    LabelReport
        Failed configurations are in it, with the reason; they raise nothing here.

    Raises
    ------
    InputError
        When configurations have no names or share one, or the calculator cannot be made.
    """
    if workers < 1 or threads < 1 or retries < 0:
        raise InputError(
            f"workers = {workers}, threads = {threads}, retries = {retries}: at least 1, 1 and 0 are needed."
        )
    started = time.perf_counter()
    names = [_name(atoms) for atoms in configurations]
    if len(set(names)) != len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"Configurations share the names {', '.join(doubled[:5])}. Give each its own ndsc_name.")
    keys = [store.key_of(atoms, spec) for atoms in configurations]
    labels = {key: label for key in dict.fromkeys(keys) if (label := store.get(key)) is not None}
    found = sum(key in labels for key in keys)
    # Larger cells first, so that no long one is left for the end; equal structures once.
    todo = {key: atoms for key, atoms in zip(keys, configurations, strict=True) if key not in labels}
    order = sorted(todo, key=lambda key: -len(todo[key]))
    work = _Work(spec, store, threads, retries, progress, task, done=found, total=len(keys))
    progress(task, found, len(keys))
    if order and workers == 1:
        work.run_here([todo[key] for key in order])
    elif order:
        work.run_in_processes([todo[key] for key in order], workers)
    labels |= work.labels
    return LabelReport(
        labels={name: labels[key] for name, key in zip(names, keys, strict=True) if key in labels},
        failures=[Failure(n, work.reasons[key]) for n, key in zip(names, keys, strict=True) if key in work.reasons],
        computed=len(work.labels),
        found=found,
        seconds=time.perf_counter() - started,
    )


class StoredCalculator(Calculator):  # type: ignore[misc]
    """An ASE calculator that answers from the store, and computes and stores what is not there.

    With it a relaxation, a set of elastic constants or a phonon calculation is interrupted and resumed like any other
    labelling, and repeated without the code from labels that somebody shares.

    Parameters
    ----------
    spec : CalculatorSpec
    store : LabelStore
    threads : int
        Threads of the linear algebra libraries.
    compute : bool
        False to answer from the store only; what is not there is then a ReferenceCalculationError.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own convention

    def __init__(self, spec: CalculatorSpec, store: LabelStore, *, threads: int = 1, compute: bool = True) -> None:
        super().__init__()
        self.compute = compute
        self.spec = spec
        self.store = store
        self.threads = threads
        self.used: dict[str, Label] = {}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results`` for `atoms`; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))
        key = self.store.key_of(self.atoms, self.spec)
        label = self.store.get(key)
        if label is None and not self.compute:
            raise ReferenceCalculationError(
                f"The label {key} is not in {self.store.path}, and nothing is to be computed now. Run without --dry-run."
            )
        if label is None:
            label = compute_label(self.atoms, self.spec, self.store, threads=self.threads)
        self.used[key] = label
        self.results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces.copy()}
        if label.stress is not None:
            self.results["stress"] = label.stress.copy()


class _Work:
    """The labels of one call that are still to be computed."""

    def __init__(
        self, spec: CalculatorSpec, store: LabelStore, threads: int, retries: int, progress: Progress, task: str,
        *, done: int, total: int,
    ) -> None:  # fmt: skip
        self.spec, self.store, self.threads, self.retries = spec, store, threads, retries
        self.progress, self.task, self.done, self.total = progress, task, done, total
        self.labels: dict[str, Label] = {}
        self.reasons: dict[str, str] = {}

    def run_here(self, structures: Iterable[Atoms]) -> None:
        for atoms in structures:
            key = self.store.key_of(atoms, self.spec)
            try:
                compute_label(atoms, self.spec, self.store, threads=self.threads)
                self._finished(key, None)
            except ReferenceCalculationError as error:
                self._finished(key, str(error))

    def run_in_processes(self, structures: Sequence[Atoms], workers: int) -> None:
        """Run all, with a new pool whenever a process died; only those that were running count it as a try."""
        waiting = list(structures)
        tries: dict[str, int] = {}
        while waiting:
            waiting = self._run_pool(waiting, workers, tries)

    def _run_pool(self, structures: Sequence[Atoms], workers: int, tries: dict[str, int]) -> list[Atoms]:
        # loky starts its processes without importing the user's script again, and with their own environment.
        threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        pool = ProcessPoolExecutor(min(workers, len(structures)), initializer=_ignore_interrupt, env=threads)
        again: list[Atoms] = []
        waiting = list(reversed(structures))
        running: dict[Future[str | None], Atoms] = {}
        broken = False
        try:
            while running or (waiting and not broken):
                # As many at a time as there are workers: when a process dies, only these may have been its work.
                while waiting and not broken and len(running) < workers:
                    atoms = waiting.pop()
                    try:
                        running[pool.submit(_label_in_worker, atoms, self.spec, str(self.store.path), self.threads)] = (
                            atoms
                        )
                    except BrokenProcessPool:
                        waiting.append(atoms)
                        broken = True
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    atoms = running.pop(future)
                    broken |= self._settle(future, atoms, tries, again)
        except BaseException:
            pool.shutdown(wait=True, kill_workers=True)
            raise
        pool.shutdown(wait=True, kill_workers=broken)
        return again + list(reversed(waiting))

    def _settle(self, future: Future[str | None], atoms: Atoms, tries: dict[str, int], again: list[Atoms]) -> bool:
        """Record the end of one calculation; True when its process died."""
        key = self.store.key_of(atoms, self.spec)
        try:
            self._finished(key, future.result())
        except BrokenProcessPool:
            tries[key] = tries.get(key, 0) + 1
            if key in self.store:
                self._finished(key, None)
            elif tries[key] <= self.retries:
                again.append(atoms)
            else:
                self._finished(key, f"the process that computed it died {tries[key]} times (killed, or out of memory).")
            return True
        return False

    def _finished(self, key: str, reason: str | None) -> None:
        label = self.store.get(key) if reason is None else None
        if label is not None:
            self.labels[key] = label
        else:
            self.reasons[key] = reason or "its label could not be read back from the store."
            log.warning("No label for %s: %s", key, self.reasons[key])
        self.done += 1
        self.progress(self.task, self.done, self.total)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent process, which answers it for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _label_in_worker(atoms: Atoms, spec: CalculatorSpec, path: str, threads: int) -> str | None:
    """None when the label is in the store, or the reason why it is not."""
    try:
        compute_label(atoms, spec, LabelStore(path), threads=threads)
    except ReferenceCalculationError as error:
        return str(error)
    return None


def _run(calculator: Calculator, atoms: Atoms, name: str) -> tuple[float, np.ndarray[Any, Any], Any]:
    """Free energy, forces and stress; a calculator may raise anything, and everything is a failed calculation."""
    try:
        atoms.calc = calculator
        forces = np.array(atoms.get_forces(apply_constraint=False), dtype=float)
        energy = float(atoms.get_potential_energy(force_consistent="free_energy" in calculator.implemented_properties))
        has_stress = "stress" in calculator.implemented_properties
        stress = np.array(atoms.get_stress(voigt=True, apply_constraint=False), dtype=float) if has_stress else None
    except (InputError, MissingExtraError):
        raise
    except Exception as error:
        if isinstance(error, NdscError):
            raise
        raise ReferenceCalculationError(f"{name}: the calculator raised {type(error).__name__}: {error}.") from error
    _check_results(name, len(atoms), energy, forces, stress)
    return energy, forces, stress


def _check_results(name: str, n_atoms: int, energy: float, forces: Any, stress: Any) -> None:
    """Refuse what is no result: wrong shapes, not finite, forces that do not sum to zero."""
    if forces.shape != (n_atoms, 3):
        raise ReferenceCalculationError(f"{name}: the forces have the shape {forces.shape}, not {(n_atoms, 3)}.")
    for what, values in (("energy", energy), ("forces", forces), ("stress", stress)):
        if values is not None and not np.all(np.isfinite(values)):
            raise ReferenceCalculationError(f"{name}: the {what} is not finite.")
    net = float(np.abs(forces.sum(axis=0)).max()) / n_atoms
    if net > LARGEST_NET_FORCE:
        raise ReferenceCalculationError(
            f"{name}: the forces sum to {net:.3g} eV/Å an atom instead of zero; the calculation is not converged."
        )


def _keep_files(scratch: Path, target: Path) -> None:
    """Keep what a failed calculation wrote, for the user to look at."""
    if any(scratch.iterdir()):
        shutil.copytree(scratch, target, dirs_exist_ok=True)


def _name(atoms: Atoms) -> str:
    name = atoms.info.get("ndsc_name")
    if not name:
        raise InputError("A configuration has no name. Set info['ndsc_name'], one of its own for each.")
    return str(name)
