"""One reference calculation: run, checked, and written to the store by the process that ran it."""

from __future__ import annotations

import logging
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from ndsc.codes.specification import CalculatorSpec, canonical
from ndsc.errors import NdscError, ReferenceCalculationError
from ndsc.interrupts import raise_if_interrupted
from ndsc.reference.checks import check_atoms, check_results
from ndsc.reference.claims import Holder
from ndsc.reference.store import Label, LabelStore
from ndsc.rounding import rounded

log = logging.getLogger(__name__)

#: Files of a failed calculation above this size are not kept, bytes.
LARGEST_KEPT = 20_000_000

#: What may go well another time: files, programs and machines fail by chance, wrong settings do not.
BY_CHANCE = (OSError, EOFError, subprocess.SubprocessError, CalculationFailed, MemoryError)


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
    """What became of a job."""

    COMPUTED = "computed"
    FOUND = "found"
    CLAIMED = "claimed"
    FAILED = "failed"
    DIED = "died"
    TIMEOUT = "timeout"
    INPUT = "input"


@dataclass(frozen=True)
class Outcome:
    """What became of a job, and why.

    Attributes
    ----------
    state : State
    reason : str
        For people; the holder where another process has claimed the label.
    by_chance : bool
        Whether another try may go better.
    killed : bool
        Whether the process was killed from outside, as it is when memory runs out.
    error : NdscError, optional
        What the caller must raise: the calculator cannot be made, or the store cannot be written.
    """

    state: State
    reason: str = ""
    by_chance: bool = False
    killed: bool = False
    error: NdscError | None = None


def perform(job: Job, scratch: Path | None = None) -> Outcome:
    """Do a job in this process, unless its label is there or another process is at it."""
    store = LabelStore(job.store)
    if job.key in store:
        return Outcome(State.FOUND)
    try:
        claim = store.claims.acquire(job.key, job.name)
        if isinstance(claim, Holder):
            return Outcome(State.CLAIMED, str(claim))
        try:
            # Whoever held the claim until now may have written the label.
            if job.key in store:
                return Outcome(State.FOUND)
            compute_label(
                job.atoms,
                job.spec,
                store,
                threads=job.threads,
                need_stress=job.need_stress,
                scratch=scratch,
                key=job.key,
            )
        finally:
            claim.release()
    except ReferenceCalculationError as error:
        return Outcome(State.FAILED, str(error), by_chance=isinstance(error.__cause__, BY_CHANCE))
    except NdscError as error:
        return Outcome(State.INPUT, str(error), error=error)
    return Outcome(State.COMPUTED)


def compute_label(
    atoms: Atoms,
    spec: CalculatorSpec,
    store: LabelStore,
    *,
    threads: int = 1,
    need_stress: bool = False,
    scratch: Path | None = None,
    key: str | None = None,
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
    scratch : path, optional
        Folder for the code's own files, kept by the caller, which has also set the number of threads; a temporary one
        otherwise.
    key : str, optional
        The key of the structure, where it is known.

    Raises
    ------
    ReferenceCalculationError
        When the calculator fails or gives what cannot be used. Its files are kept in ``failed/`` of the store.
    InputError, MissingExtraError
        When the calculator cannot be made, or the store cannot be written.
    """
    key = key or store.key_of(atoms, spec)
    if scratch is not None:
        return _compute(atoms, spec, store, need_stress, scratch, key)
    from threadpoolctl import threadpool_limits

    folder = Path(tempfile.mkdtemp(prefix="ndsc-"))
    try:
        with threadpool_limits(limits=threads):
            return _compute(atoms, spec, store, need_stress, folder, key)
    except ReferenceCalculationError:
        keep_files(folder, store, key)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep_files(scratch: Path, store: LabelStore, key: str) -> None:
    """Keep what a failed calculation wrote, in ``failed/`` of the store, for the user to look at."""
    try:
        if any(file.stat().st_size for file in scratch.rglob("*") if file.is_file()):
            shutil.copytree(scratch, store.path / "failed" / key, dirs_exist_ok=True, ignore=_large_files)
    except OSError as error:
        log.warning("The files of the failed calculation %s could not be kept: %s", key, error)


def _large_files(folder: str, names: list[str]) -> list[str]:
    """Wave functions and densities, which a code that was stopped could not remove."""
    return [name for name in names if (file := Path(folder, name)).is_file() and file.stat().st_size > LARGEST_KEPT]


def _compute(
    atoms: Atoms, spec: CalculatorSpec, store: LabelStore, need_stress: bool, scratch: Path, key: str
) -> Label:
    structure = rounded(atoms)
    name = str(atoms.info.get("ndsc_name", "structure"))
    if _MEMORY.worth_forgetting:
        _forget_peak_memory()
    started = time.perf_counter()
    calculator = spec.create(structure, scratch)
    computed = structure.copy()
    energy, forces, stress = _run(calculator, computed, name, spec.name, scratch)
    seconds = time.perf_counter() - started
    _MEMORY.worth_forgetting = seconds > 0.1  # it is not free
    check_results(name, len(structure), energy, forces, stress)
    check_atoms(name, structure, computed, calculator)
    if need_stress and stress is None:
        raise ReferenceCalculationError(
            f"{name}: the calculator gives no stress, which is needed here. Choose settings or a code that do."
        )
    label = Label(
        key=key,
        energy=energy,
        forces=forces,
        stress=stress,
        seconds=seconds,
        provenance={
            "name": name,
            "calculator": spec.name,
            "parameters": dict(spec.parameters),
            "kgrid": canonical(spec.kgrid),
            "code": spec.code_version(),
            "peak_memory_mb": round(_peak_memory()),
            # Programs know better: their own version, and the memory of this calculation alone.
            **getattr(calculator, "label_provenance", {}),
        },
    )
    store.put(label, structure)
    return label


def _run(
    calculator: Calculator, atoms: Atoms, name: str, code: str, scratch: Path
) -> tuple[float, np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Free energy, forces and stress; a calculator may raise anything, and everything is a failed calculation."""
    if str(getattr(calculator, "directory", "")) == ".":
        calculator.directory = str(scratch)
    try:
        atoms.calc = calculator
        forces = np.array(atoms.get_forces(apply_constraint=False), dtype=float)
        there = _results_of_ase(calculator)
        free = "free_energy" in calculator.implemented_properties
        energy: Any = there.get("free_energy" if free else "energy")
        energy = float(atoms.get_potential_energy(force_consistent=free) if energy is None else energy)
        stress: Any = None
        if "stress" in calculator.implemented_properties:
            stress = there.get("stress")
            if np.shape(stress) != (6,):
                stress = atoms.get_stress(voigt=True, apply_constraint=False)
            stress = np.array(stress, dtype=float)
    except (NdscError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit and what else does not look like an error
        raise_if_interrupted(error)
        raise ReferenceCalculationError(
            f"{name}: the calculator {code!r} raised {type(error).__name__}: {error}."
        ) from error
    return energy, forces, stress


def _results_of_ase(calculator: Calculator) -> dict[str, Any]:
    """What the calculation of the forces gave besides, where ASE's own methods would give just that.

    They compare all atoms each time that they are asked; :func:`check_atoms` does so once, afterwards.
    """
    own = type(calculator)
    if not isinstance(calculator, Calculator) or any(
        getattr(own, name, None) is not getattr(Calculator, name)
        for name in ("get_property", "get_potential_energy", "get_stress")
    ):
        return {}
    return dict(calculator.results)


class _Memory(threading.local):
    worth_forgetting = True


_MEMORY = _Memory()


def _forget_peak_memory() -> None:
    """Start a new maximum for the next calculation of this process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory() -> float:
    """The most memory that this process held since then, or any program that it started, MB."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            own = int(file.read(65536).partition(b"VmHWM:")[2].split(maxsplit=1)[0]) / 1024
    except (OSError, IndexError, ValueError):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return max(own, children)
