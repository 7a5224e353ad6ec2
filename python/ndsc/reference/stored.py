"""An ASE calculator that answers from the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ndsc.codes.specification import CalculatorSpec
from ndsc.errors import ReferenceCalculationError
from ndsc.reference.claims import Holder
from ndsc.reference.computing import Job, Outcome, State, compute_label
from ndsc.reference.driver import LOOK_LATE, LOOK_SOON, sentence
from ndsc.reference.processes import CalculationProcess
from ndsc.reference.store import Label, LabelStore

log = logging.getLogger(__name__)


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
    watched : bool
        Whether calculations run in a process of their own: one that dies, of too little memory for instance, is then a
        ReferenceCalculationError and not the end of this process. It is started with the first and kept for the others.
    timeout : float, optional
        Longest time of a calculation, s; one that takes longer is stopped. Calculations with a timeout are watched.
    retries : int
        How often a watched calculation is tried again that died, took too long or failed by chance.
    compute : bool
        False to answer from the store only; what is not there is then a ReferenceCalculationError.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own convention

    def __init__(
        self,
        spec: CalculatorSpec,
        store: LabelStore,
        *,
        threads: int = 1,
        watched: bool = False,
        timeout: float | None = None,
        retries: int = 0,
        compute: bool = True,
    ) -> None:
        super().__init__()
        self.compute = compute
        self.spec = spec
        self.store = store
        self.threads = threads
        self.watched = watched or timeout is not None
        self.timeout = timeout
        self.retries = retries
        self._process: CalculationProcess | None = None
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
                f"The label {key} is not in {self.store.path}, and nothing is to be computed now. Run without "
                "--dry-run."
            )
        if label is None:
            label = self._compute_or_wait(key)
        self.used[key] = label
        self.results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces.copy()}
        if label.stress is not None:
            self.results["stress"] = label.stress.copy()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has a process of its own, when it needs one."""
        return {**self.__dict__, "_process": None}

    def _compute_or_wait(self, key: str) -> Label:
        """Compute the label, or wait while another run does."""
        pause, said, tries = LOOK_SOON, False, 0
        while True:
            outcome = self._compute_watched(key) if self.watched else self._compute_here(key)
            label = self.store.get(key)
            if label is not None:
                return label
            if outcome.state == State.CLAIMED:
                if not said:
                    log.info("Waiting for the label %s, which %s computes.", key, outcome.reason)
                    said = True
                time.sleep(pause)
                pause = min(2 * pause, LOOK_LATE)
                continue
            if outcome.error is not None:
                raise outcome.error
            if outcome.state in (State.COMPUTED, State.FOUND):
                outcome = Outcome(State.FAILED, "the label could not be read back from the store", by_chance=True)
            tries += 1
            # What the calculator raised is told with the name of the structure.
            subject = "" if outcome.state == State.FAILED else f"{self._name()}: "
            if not outcome.by_chance or tries > self.retries:
                raise ReferenceCalculationError(f"{subject}{sentence(outcome, tries)}.")
            log.warning("%s%s; it is tried again.", subject, sentence(outcome, 1))

    def _name(self) -> str:
        return str(self.atoms.info.get("ndsc_name", "structure"))

    def _compute_here(self, key: str) -> Outcome:
        """Compute the label in this process, where nothing can stop it; errors keep their cause."""
        claim = self.store.claims.acquire(key, self._name())
        if isinstance(claim, Holder):
            return Outcome(State.CLAIMED, str(claim))
        try:
            if key not in self.store:
                compute_label(self.atoms, self.spec, self.store, threads=self.threads)
        finally:
            claim.release()
        return Outcome(State.COMPUTED)

    def _compute_watched(self, key: str) -> Outcome:
        """Compute the label in the process of this calculator, which is stopped past its time and with this one."""
        process = self._process = self._process or CalculationProcess()
        job = Job(
            self.atoms,
            self.spec,
            str(self.store.path.absolute()),
            key,
            self._name(),
            threads=self.threads,
            timeout=self.timeout,
        )
        try:
            return process.run(job)
        except BaseException:
            pid = process.pid
            process.kill()
            self.store.claims.drop_of_process(key, pid)
            raise
