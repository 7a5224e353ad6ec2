"""An ASE calculator that answers from the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ndsc.codes.specification import CalculatorSpec
from ndsc.errors import ReferenceCalculationError
from ndsc.reference.computing import Job, perform
from ndsc.reference.driver import QUICK, Driver, Here
from ndsc.reference.processes import CalculationProcess
from ndsc.reference.store import Label, LabelStore


class StoredCalculator(Calculator):  # type: ignore[misc]
    """An ASE calculator that answers from the store, and computes and stores labels that are missing.

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
        How often a calculation is tried again that died, took too long, or failed in a way that may not come back.
    compute : bool
        False to answer from the store only; a missing label is then a ReferenceCalculationError.

    Attributes
    ----------
    used : dict of str to Label
        The labels that were asked for, by key.
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
        self.spec = spec
        self.store = store
        self.threads = threads
        self.watched = (watched and spec.name not in QUICK) or timeout is not None
        self.timeout = timeout
        self.retries = retries
        self.compute = compute
        self.used: dict[str, Label] = {}
        self._process: CalculationProcess | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results`` for `atoms`; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))
        key = self.store.key_of(self.atoms, self.spec)
        label = self.used[key] = self.store.get(key) or self._computed(key)
        self.results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces.copy()}
        if label.stress is not None:
            self.results["stress"] = label.stress.copy()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has a process of its own, when it needs one."""
        return {**self.__dict__, "_process": None}

    def _computed(self, key: str) -> Label:
        """Compute the label, or wait while another run does."""
        if not self.compute:
            raise ReferenceCalculationError(
                f"The label {key} is not in {self.store.path}, and nothing is to be computed now. Run without "
                "--dry-run."
            )
        name = str(self.atoms.info.get("ndsc_name", "structure"))
        path = str(self.store.path.absolute())
        job = Job(self.atoms, self.spec, path, key, name, threads=self.threads, timeout=self.timeout)
        if self.watched:
            self._process = self._process or CalculationProcess()
        driver = Driver(self.store, [job], retries=self.retries)
        driver.run(Here(), perform if self._process is None else self._process.run)
        if key not in driver.labels:
            reason = driver.reasons[key]
            raise ReferenceCalculationError(reason if reason.startswith(name) else f"{name}: {reason}")
        return driver.labels[key]
