"""An ASE calculator that answers from the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ndsc.errors import ReferenceCalculationError
from ndsc.reference.calculators import CalculatorSpec
from ndsc.reference.claims import Holder
from ndsc.reference.computing import compute_label
from ndsc.reference.driver import LOOK_LATE, LOOK_SOON
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
                f"The label {key} is not in {self.store.path}, and nothing is to be computed now. Run without "
                "--dry-run."
            )
        if label is None:
            label = self._compute_or_wait(key)
        self.used[key] = label
        self.results = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces.copy()}
        if label.stress is not None:
            self.results["stress"] = label.stress.copy()

    def _compute_or_wait(self, key: str) -> Label:
        """Compute the label, or wait while another run does."""
        pause, said = LOOK_SOON, False
        while True:
            claim = self.store.claims.acquire(key, "structure")
            if not isinstance(claim, Holder):
                try:
                    return self.store.get(key) or compute_label(self.atoms, self.spec, self.store, threads=self.threads)
                finally:
                    claim.release()
            if not said:
                log.info("Waiting for the label %s, which %s computes.", key, claim)
                said = True
            time.sleep(pause)
            pause = min(2 * pause, LOOK_LATE)
            label = self.store.get(key)
            if label is not None:
                return label
