"""One reference calculation: run, checked, and written to the store by the process that ran it."""

from __future__ import annotations

import logging
import resource
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from ndsc.codes.base import potential_energy
from ndsc.codes.specification import CalculatorSpec, canonical
from ndsc.errors import NdscError, ReferenceCalculationError
from ndsc.files import ScratchFolder
from ndsc.interrupts import raise_if_interrupted
from ndsc.reference.checks import check_atoms, check_results
from ndsc.reference.claims import Holder
from ndsc.reference.label_file import structure_record
from ndsc.reference.store import Label, LabelStore
from ndsc.rounding import rounded

log = logging.getLogger(__name__)

#: Files of a failed calculation above this size are not kept, bytes.
LARGEST_KEPT = 20_000_000

#: Errors that may not come back: files, programs and machines fail now and then, wrong settings always do.
TRANSIENT = (OSError, EOFError, subprocess.SubprocessError, CalculationFailed, MemoryError)


@dataclass(frozen=True)
class Job:
    """One label to compute, as it is sent to another process or machine.

    Attributes
    ----------
    atoms : ase.Atoms
    spec : CalculatorSpec
    store : str
        Folder of the store, the same file system for all processes.
    key, name : str
        Of the label and of the configuration.
    threads : int
        Threads of the linear algebra libraries.
    timeout : float, optional
        Longest time that it may take, s.
    need_stress : bool
        Whether a label without stress is refused.
    alone : bool
        Whether nothing else may run beside it on this machine.
    attempt : int
        How often it was tried before: some executors answer what was asked before from memory.
    """

    atoms: Atoms
    spec: CalculatorSpec
    store: str
    key: str
    name: str
    threads: int = 1
    timeout: float | None = None
    need_stress: bool = False
    alone: bool = False
    attempt: int = 0


class State(StrEnum):
    """How a job ended."""

    COMPUTED = "computed"
    FOUND = "found"
    CLAIMED = "claimed"
    FAILED = "failed"
    DIED = "died"
    TIMEOUT = "timeout"
    INPUT = "input"


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and why.

    Attributes
    ----------
    state : State
    reason : str
        A readable reason; the holder where another process has claimed the label.
    transient : bool
        Whether another try may go better.
    killed : bool
        Whether the process was killed from outside, as it is when memory runs out.
    error : NdscError, optional
        The error that the caller must raise: the calculator cannot be made, or the store cannot be written.
    """

    state: State
    reason: str = ""
    transient: bool = False
    killed: bool = False
    error: NdscError | None = None


def perform(job: Job, scratch: Path | None = None) -> Outcome:
    """Do a job in this process, unless its label exists or another process computes it.

    Parameters
    ----------
    job : Job
    scratch : path, optional
        Folder for the code's own files, kept by the caller, which has also set the number of threads; a temporary one
        otherwise.
    """
    store = LabelStore(job.store)
    if job.key in store:
        return Outcome(State.FOUND)
    try:
        claim = store.claims.acquire(job.key, job.name)
        if isinstance(claim, Holder):
            return Outcome(State.CLAIMED, str(claim))
        try:
            # The previous holder of the claim may have written the label.
            store.get_or_compute(job.key, lambda: _computed(job, store, scratch))
        finally:
            claim.release()
    except ReferenceCalculationError as error:
        return Outcome(State.FAILED, str(error), transient=isinstance(error.__cause__, TRANSIENT))
    except NdscError as error:
        return Outcome(State.INPUT, str(error), error=error)
    return Outcome(State.COMPUTED)


def compute_label(
    atoms: Atoms, spec: CalculatorSpec, store: LabelStore, *, threads: int = 1, need_stress: bool = False
) -> Label:
    """Compute the label of one structure in this process and write it to the store.

    Parameters
    ----------
    atoms : ase.Atoms
        Rounded to 1e-8 Å before it is computed, as its key is.
    spec : CalculatorSpec
    store : LabelStore
    threads : int
        Threads of the linear algebra libraries.
    need_stress : bool
        Whether a calculator without stress is refused.

    Raises
    ------
    ReferenceCalculationError
        When the calculator fails or gives what cannot be used. Its files are kept in ``failed/`` of the store.
    InputError, MissingExtraError
        When the calculator cannot be made, or the store cannot be written.
    """
    key = store.key_of(atoms, spec)
    name = str(atoms.info.get("ndsc_name", "structure"))
    job = Job(atoms, spec, str(store.path), key, name, threads=threads, need_stress=need_stress)
    label = _computed(job, store, None)
    store.put(key, label)
    return label


def _computed(job: Job, store: LabelStore, scratch: Path | None) -> Label:
    """The label of a job, not yet written."""
    if scratch is not None:
        return _compute(job, scratch)
    from threadpoolctl import threadpool_limits

    with ScratchFolder() as folder:
        try:
            with threadpool_limits(limits=job.threads):
                return _compute(job, folder.path)
        except ReferenceCalculationError:
            keep_files(folder.path, store, job.key)
            raise


def keep_files(scratch: Path, store: LabelStore, key: str) -> None:
    """Keep the files of a failed calculation in ``failed/`` of the store, for the user to look at."""
    try:
        if any(file.stat().st_size for file in scratch.rglob("*") if file.is_file()):
            shutil.copytree(scratch, store.path / "failed" / key, dirs_exist_ok=True, ignore=_large_files)
    except OSError as error:
        log.warning("The files of the failed calculation %s could not be kept: %s", key, error)


def _large_files(folder: str, names: list[str]) -> list[str]:
    """Wave functions and densities, which a code that was stopped could not remove."""
    return [name for name in names if (file := Path(folder, name)).is_file() and file.stat().st_size > LARGEST_KEPT]


def _compute(job: Job, scratch: Path) -> Label:
    structure, spec, name = rounded(job.atoms), job.spec, job.name
    _forget_peak_memory()
    started, cpu_started = time.perf_counter(), _cpu_seconds()
    calculator = spec.create(structure, scratch)
    computed = structure.copy()
    energy, forces, stress = _run(calculator, computed, name, spec.name, scratch)
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_started
    check_results(name, len(structure), energy, forces, stress)
    if job.need_stress and stress is None:
        raise ReferenceCalculationError(
            f"{name}: the calculator gives no stress, which is needed here. Choose settings or a code that do."
        )
    return Label(
        key=job.key,
        energy=energy,
        forces=forces,
        stress=stress,
        seconds=seconds,
        provenance={
            "name": name,
            "calculator": spec.name,
            "parameters": dict(spec.parameters),
            "kgrid": canonical(spec.kgrid),
            "code": spec.code.version(),
            "peak_memory_mb": round(_peak_memory()),
            # Programs know better: their own version, and the memory of this calculation alone.
            **getattr(calculator, "label_provenance", {}),
        },
        structure=structure_record(structure),
        cpu_seconds=cpu_seconds,
    )


def _run(
    calculator: Calculator, atoms: Atoms, name: str, code: str, scratch: Path
) -> tuple[float, np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Free energy, forces and stress; a calculator may raise anything, and everything is a failed calculation."""
    if str(getattr(calculator, "directory", "")) == ".":
        calculator.directory = str(scratch)
    try:
        atoms.calc = calculator
        asked = atoms.copy()
        forces = np.array(atoms.get_forces(apply_constraint=False), dtype=float)
        # ASE would compute atoms that were moved once more for the energy.
        check_atoms(name, asked, atoms, calculator)
        energy = potential_energy(atoms, calculator)
        stress = None
        if "stress" in calculator.implemented_properties:
            stress = np.array(atoms.get_stress(voigt=True, apply_constraint=False), dtype=float)
    except (NdscError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit
        raise_if_interrupted(error)
        raise ReferenceCalculationError(
            f"{name}: the calculator {code!r} raised {type(error).__name__}: {error}."
        ) from error
    return energy, forces, stress


def _cpu_seconds() -> float:
    """Time of processors of this process, of all its threads, and of the programs that it started and that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _forget_peak_memory() -> None:
    """Start a new maximum for the next calculation of this process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory() -> float:
    """The most memory that this process held since then, or any program that it started, MB."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with suppress(OSError, IndexError, ValueError):
        own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return max(own, children)
