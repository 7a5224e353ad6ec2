"""The labels of one call: those in the store, those computed now, and those that another run computes."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any

from ndsc.errors import InputError, NdscError
from ndsc.progress import Progress, silent
from ndsc.reference.computing import Job, Outcome, State
from ndsc.reference.store import Label, LabelStore

log = logging.getLogger(__name__)

#: Shortest and longest time between two looks at the labels that other runs compute, s.
POLL_SOON, POLL_LATE = 0.05, 5.0
#: How many jobs an executor is given for each that it works on: enough to keep it busy, few enough that another run
#: can take part.
AHEAD = 2
#: How long a label that a worker has written may take to appear here: network file systems remember what was not there.
SETTLE = 15.0
#: Classical potentials that need milliseconds for an atom, and the number of atoms up to which no process is started.
QUICK, FEW_ATOMS = ("emt", "lj"), 1000


class Here(Executor):
    """An executor that does its work when it is handed in, in the same process and thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do the work."""
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@dataclass(frozen=True)
class Failure:
    """A configuration whose label is missing, and why; as text, one line in which its name occurs once."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"No label for {self.name}: {self.reason.removeprefix(f'{self.name}: ')}"


class Driver:
    """Collects the labels of a list of jobs.

    Parameters
    ----------
    store : LabelStore
    jobs : iterable of Job
        Equal structures are computed once.
    retries : int
        How often a job is tried again whose failure may not come back.
    progress : callable
    name : str
        Name of the work in the progress.

    Attributes
    ----------
    labels : dict of str to Label
        By key; those found and those computed.
    reasons : dict of str to str
        By key, why a label is missing.
    waiting : deque of Job
        Still to be given to an executor, the largest first, so that none is left for the end.
    computed, found : int
        Labels that this run computed, and configurations whose labels were there or that another run computed.
    """

    def __init__(
        self,
        store: LabelStore,
        jobs: Iterable[Job],
        *,
        retries: int = 0,
        progress: Progress = silent,
        name: str = "labels",
    ) -> None:
        self.store, self.retries, self.progress, self.name = store, retries, progress, name
        self.labels: dict[str, Label] = {}
        self.reasons: dict[str, str] = {}
        self.waiting: deque[Job] = deque()
        self.computed = self.found = 0
        self._done = 0
        self._counts: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()
        self._elsewhere: dict[str, Job] = {}
        self._error: NdscError | None = None
        self._on_label: Callable[[Label], None] = lambda label: None
        unique: dict[str, Job] = {}
        for job in jobs:
            self._counts[job.key] += 1
            unique.setdefault(job.key, job)
        for job in sorted(unique.values(), key=lambda job: -len(job.atoms)):
            if not self._take_stored(job):
                self.waiting.append(job)
        self._report()

    def run(self, executor: Executor, function: Callable[[Job], Outcome], *, workers: int = 1) -> None:
        """Compute what waits.

        Parameters
        ----------
        executor : concurrent.futures.Executor or alike
        function : callable
            What the executor is to call with each job.
        workers : int
            How many calculations it runs at a time.

        Raises
        ------
        NdscError
            What every other label would fail with too: a code that is missing, a full disk.
        """
        learn = getattr(executor, "learn", None)
        if learn is not None:
            self._on_label = learn
            for label in self.labels.values():
                learn(label)
        most = 1 if isinstance(executor, Here) else AHEAD * workers
        running: dict[Future[Outcome], Job] = {}
        pause = POLL_SOON
        try:
            while running or (self._error is None and (self.waiting or self._elsewhere)):
                while self.waiting and self._error is None and len(running) < most:
                    self._submit(executor, function, running)
                if running:
                    finished, _ = wait(running, timeout=pause if self._elsewhere else None, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._settle(running.pop(future), _outcome(future))
                elif self._elsewhere and not self.waiting:
                    time.sleep(pause)
                if self._error is not None:
                    for future in running:
                        future.cancel()
                pause = POLL_SOON if self._poll_elsewhere() else min(2 * pause, POLL_LATE)
        except KeyboardInterrupt:
            log.warning(
                "Stopped with %d of %d labels. They are in %s: run the same again to continue.",
                len(self.labels), len(self._counts), self.store.path,
            )  # fmt: skip
            raise
        finally:
            for future in running:
                future.cancel()
        if self._error is not None:
            raise self._error

    def _submit(
        self, executor: Executor, function: Callable[[Job], Outcome], running: dict[Future[Outcome], Job]
    ) -> None:
        job = self.waiting.popleft()
        # Another run may have computed it since this one looked.
        if job.key in self.store:
            self._settle(job, Outcome(State.FOUND))
            return
        try:
            running[executor.submit(function, job)] = job
        except Exception as error:  # an executor that broke takes no more jobs; each raises errors of its own
            self._refuse(job, f"the executor took no more jobs ({type(error).__name__}: {error}).")

    def _settle(self, job: Job, outcome: Outcome) -> None:
        """Handle the outcome of a job."""
        if outcome.state == State.CLAIMED:
            if not self._elsewhere:
                log.info("Waiting for labels that other runs compute; ndsc labels status shows them.")
            self._elsewhere[job.key] = replace(job, attempt=job.attempt + 1)
        elif outcome.state == State.INPUT:
            self._error = self._error or outcome.error or InputError(outcome.reason)
        elif outcome.state in (State.COMPUTED, State.FOUND) or job.key in self.store:
            computed = outcome.state != State.FOUND
            if not self._take_stored(job, computed=computed, patience=SETTLE if computed else 0.0):
                self._try_again(job, Outcome(State.FAILED, "its label could not be read back from the store", True))
            self._report()
        else:
            self._try_again(job, outcome)

    def _try_again(self, job: Job, outcome: Outcome) -> None:
        self._tries[job.key] += 1
        tries = self._tries[job.key]
        if outcome.transient and tries <= self.retries:
            log.warning("%s: %s; trying again.", job.name, _sentence(outcome, 1))
            # One that was killed may have had too little memory beside the others.
            self.waiting.append(replace(job, alone=job.alone or outcome.killed, attempt=job.attempt + 1))
        else:
            self._refuse(job, _sentence(outcome, tries) + ".")

    def _take_stored(self, job: Job, *, computed: bool = False, patience: float = 0.0) -> bool:
        """Take the label of a job from the store; False when there is none that can be used."""
        deadline = time.monotonic() + patience
        damaged = self.store.path_of(job.key).with_suffix(".damaged")
        try:
            label = self.store.get(job.key)
            while label is None and time.monotonic() < deadline and not damaged.exists():
                time.sleep(POLL_SOON)
                label = self.store.get(job.key)
        except InputError as error:
            self._refuse(job, str(error))
            return True
        if label is None:
            return False
        if job.need_stress and label.stress is None:
            self._refuse(job, "its label has no stress, which is needed here.")
            return True
        count = self._counts[job.key]
        self.labels[job.key] = label
        self.computed += computed
        self.found += 0 if computed else count
        self._done += count
        self._on_label(label)
        return True

    def _refuse(self, job: Job, reason: str) -> None:
        self.reasons[job.key] = reason
        log.warning("%s", Failure(job.name, reason))
        self._done += self._counts[job.key]
        self._report()

    def _poll_elsewhere(self) -> bool:
        """Check whether labels claimed by other runs are finished or free again; True when any was."""
        changed = False
        for key, job in list(self._elsewhere.items()):
            if key in self.store or self.store.claims.holder(key) is None:
                del self._elsewhere[key]
                self.waiting.append(job)
                changed = True
        return changed

    def _report(self) -> None:
        self.progress(self.name, self._done, self._counts.total())


def _outcome(future: Future[Any]) -> Outcome:
    """The outcome in a future; a worker of the executor that died counts as a calculation that died."""
    try:
        outcome = future.result()
    except CancelledError:
        return Outcome(State.DIED, "it was cancelled by the executor", transient=True)
    except Exception as error:  # each executor has its own errors for workers that are gone
        return Outcome(State.DIED, f"the executor lost it ({type(error).__name__}: {error})", transient=True)
    return (
        outcome
        if isinstance(outcome, Outcome)
        else Outcome(State.DIED, "the executor returned something that is not a label")
    )


def _sentence(outcome: Outcome, tries: int) -> str:
    """The reason for a missing label, after a number of tries."""
    times = "" if tries == 1 else f" {tries} times"
    if outcome.state == State.DIED:
        return f"the process that computed it died{times} ({outcome.reason})"
    return f"{outcome.reason.rstrip('.')}{f' ({tries} tries)' if tries > 1 else ''}"
