"""The labels of one call: which are there, which are computed now, which another run computes."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any

from ndsc.errors import InputError, NdscError
from ndsc.progress import Progress
from ndsc.reference import time_left
from ndsc.reference.computing import Job, Outcome, State, perform
from ndsc.reference.local import LocalExecutor
from ndsc.reference.processes import run_job
from ndsc.reference.store import Label, LabelStore

log = logging.getLogger(__name__)

#: Shortest and longest time between two looks at the labels that other runs compute, s.
LOOK_SOON, LOOK_LATE = 0.05, 5.0
#: How many jobs an executor is given ahead of those that it works on: enough to keep it busy, few enough that another
#: run can take part. Processes of this machine take one of them in advance where labels take milliseconds.
AHEAD, AHEAD_HERE = 2, 3
#: How long a label that a worker has written may take to appear here: network file systems remember what was not there.
SETTLE = 15.0
#: How long an estimate of the time left stands, s.
ESTIMATE_EVERY = 0.5


@dataclass
class Task:
    """A job, and how often it has failed."""

    job: Job
    tries: int = 0

    @property
    def n_atoms(self) -> int:
        """Size of the structure."""
        return len(self.job.atoms)


class Driver:
    """Brings the labels of a list of jobs together.

    Parameters
    ----------
    store : LabelStore
    retries : int
        How often a job is tried again that failed by chance.
    progress : callable
    name : str
        Name of the work in the progress.

    Attributes
    ----------
    labels : dict of str to Label
        By key; those found and those computed.
    reasons : dict of str to str
        Why there is no label, by key.
    waiting : deque of Task
        Still to be given to an executor.
    computed, found_elsewhere : int
        Labels that this run computed, and that other runs did while this one went on.
    """

    def __init__(self, store: LabelStore, *, retries: int, progress: Progress, name: str) -> None:
        self.store, self.retries, self.progress, self.name = store, retries, progress, name
        self.labels: dict[str, Label] = {}
        self.reasons: dict[str, str] = {}
        self.waiting: deque[Task] = deque()
        self.computed = self.found_elsewhere = self.done = 0
        self.on_label: Callable[[Label, int], None] = lambda label, n_atoms: None
        self._tasks: dict[str, Task] = {}
        self._counts: Counter[str] = Counter()
        self._elsewhere: dict[str, Task] = {}
        self._error: NdscError | None = None
        self._said = False
        self._left = time_left.TimeLeft()
        self._estimated = -ESTIMATE_EVERY

    def add(self, task: Task) -> None:
        """One more configuration; equal structures are computed once."""
        self._counts[task.job.key] += 1
        self._tasks.setdefault(task.job.key, task)

    def known(self) -> Iterator[tuple[Label, int]]:
        """The labels so far, with the sizes of their structures."""
        for key, label in self.labels.items():
            yield label, self._tasks[key].n_atoms

    def look_up(self) -> None:
        """Take from the store what is there; what is not waits, the largest first, so that none is left for the end."""
        todo = []
        for key, task in self._tasks.items():
            try:
                label = self.store.get(key)
            except InputError as error:
                self._refuse(key, str(error))
                continue
            if label is None:
                todo.append(task)
            else:
                self._take(key, label)
        self.waiting.extend(sorted(todo, key=lambda task: -task.n_atoms))
        self._show()

    def run_here(self) -> None:
        """Compute what waits in this process, one after the other."""
        self._log_resume_hint(lambda: self._run_here())

    def run(self, executor: Executor, workers: int) -> None:
        """Compute what waits with an executor.

        Raises
        ------
        NdscError
            What a calculation raised that no other label would be spared: a code that is missing, a full disk.
        """
        self._left.workers = workers
        self._log_resume_hint(lambda: self._run(executor, workers))

    def _log_resume_hint(self, work: Callable[[], None]) -> None:
        try:
            work()
        except KeyboardInterrupt:
            log.warning(
                "Stopped with %d of %d labels. They are in %s: run the same again to go on.",
                len(self.labels), len(self._tasks), self.store.path,
            )  # fmt: skip
            raise

    def _run_here(self) -> None:
        pause = LOOK_SOON
        while self.waiting or self._elsewhere:
            if self.waiting:
                task = self.waiting.popleft()
                self._left.begin(task.job.key, task.n_atoms)
                self._settle(task, perform(task.job))
                if self._error is not None:
                    raise self._error
            else:
                self._say_who_is_waited_for()
                time.sleep(pause)
            pause = LOOK_SOON if self._look_elsewhere() else min(2 * pause, LOOK_LATE)

    def _run(self, executor: Executor, workers: int) -> None:
        running: dict[Future[Outcome], Task] = {}
        pause = LOOK_SOON
        most = workers * (AHEAD_HERE if isinstance(executor, LocalExecutor) else AHEAD)
        try:
            while running or (self._error is None and (self.waiting or self._elsewhere)):
                while self.waiting and self._error is None and len(running) < most:
                    self._submit(executor, running)
                patience = pause if self._elsewhere else None
                if running:
                    finished, _ = wait(running, timeout=patience, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._settle(running.pop(future), _outcome(future))
                elif self._elsewhere:
                    self._say_who_is_waited_for()
                    time.sleep(pause)
                if self._error is not None:
                    for future in running:
                        future.cancel()
                pause = LOOK_SOON if self._look_elsewhere() else min(2 * pause, LOOK_LATE)
        except BaseException:
            for future in running:
                future.cancel()
            raise
        if self._error is not None:
            raise self._error

    def _submit(self, executor: Executor, running: dict[Future[Outcome], Task]) -> None:
        task = self.waiting.popleft()
        # Another run may have computed it since this one looked.
        if task.job.key in self.store:
            self._settle(task, Outcome(State.FOUND))
            return
        try:
            future: Future[Outcome] = executor.submit(run_job, task.job)
        except Exception as error:  # an executor that broke takes no more jobs; which error it raises is its own affair
            self._refuse(task.job.key, f"the executor took no more jobs ({type(error).__name__}: {error}).")
            return
        self._left.begin(task.job.key, task.n_atoms)
        running[future] = task

    def _settle(self, task: Task, outcome: Outcome) -> None:
        """Take note of the end of a job."""
        key = task.job.key
        self._left.end(key)
        if outcome.state == State.CLAIMED:
            task.job = replace(task.job, attempt=task.job.attempt + 1)
            if key not in self._elsewhere:
                log.info("%s is being computed by %s.", task.job.name, outcome.reason)
            self._elsewhere[key] = task
        elif outcome.state == State.INPUT:
            self._error = self._error or outcome.error or InputError(outcome.reason)
        elif outcome.state in (State.COMPUTED, State.FOUND) or key in self.store:
            self._read_back(task, outcome.state != State.FOUND)
        else:
            self._try_again(task, outcome)

    def _try_again(self, task: Task, outcome: Outcome) -> None:
        task.tries += 1
        if outcome.by_chance and task.tries <= self.retries:
            log.warning("%s: %s; it is tried again.", task.job.name, sentence(outcome, 1))
            # One that was killed may have had too little memory beside the others.
            task.job = replace(task.job, alone=task.job.alone or outcome.killed, attempt=task.job.attempt + 1)
            self.waiting.append(task)
        else:
            self._refuse(task.job.key, sentence(outcome, task.tries) + ".")

    def _read_back(self, task: Task, computed: bool) -> None:
        key = task.job.key
        deadline = time.monotonic() + SETTLE
        try:
            label = self.store.get(key)
            while label is None and computed and time.monotonic() < deadline and not self._damaged(key):
                time.sleep(LOOK_SOON)
                label = self.store.get(key)
        except InputError as error:
            self._refuse(key, str(error))
            return
        if label is None:
            self._try_again(task, Outcome(State.FAILED, "its label could not be read back from the store", True))
            return
        self.computed += computed
        self.found_elsewhere += 0 if computed else self._counts[key]
        self._take(key, label)
        self._show()

    def _damaged(self, key: str) -> bool:
        return self.store.path_of(key).with_suffix(".damaged").exists()

    def _take(self, key: str, label: Label) -> None:
        task = self._tasks[key]
        if task.job.need_stress and label.stress is None:
            self._refuse(key, "its label has no stress, which is needed here.")
            return
        self.labels[key] = label
        self._left.add(task.n_atoms, label.seconds)
        self.on_label(label, task.n_atoms)
        self.done += self._counts[key]

    def _refuse(self, key: str, reason: str) -> None:
        self.reasons[key] = reason
        log.warning("No label for %s: %s", self._tasks[key].job.name, reason)
        self.done += self._counts[key]
        self._show()

    def _say_who_is_waited_for(self) -> None:
        if not self._said:
            self._said = True
            holders = {str(holder) for key in self._elsewhere if (holder := self.store.claims.holder(key))}
            log.warning(
                "Waiting for %d labels that other runs compute (%s); ndsc labels status shows them.",
                len(self._elsewhere), ", ".join(sorted(holders)),
            )  # fmt: skip

    def _look_elsewhere(self) -> bool:
        """See whether labels that other runs had claimed are there, or free again; True when any was."""
        changed = False
        for key, task in list(self._elsewhere.items()):
            if key in self.store:
                del self._elsewhere[key]
                self._settle(task, Outcome(State.FOUND))
                changed = True
            elif self.store.claims.is_held(key) is None and key not in self.store:
                del self._elsewhere[key]
                self.waiting.append(task)
                changed = True
        return changed

    def _show(self) -> None:
        total = self._counts.total()
        self.progress(self.name, self.done, total)
        now = time.monotonic()
        # The estimate looks at all that waits: with many short labels it would take longer than they do.
        if now - self._estimated < ESTIMATE_EVERY and self.done < total:
            return
        sizes = [task.n_atoms for task in (*self.waiting, *self._elsewhere.values())]
        seconds = self._left.seconds(sizes)
        if seconds is not None:
            self._estimated = now
            time_left.report(self.progress, self.name, seconds)


def _outcome(future: Future[Any]) -> Outcome:
    """What a future brought; a worker of the executor that died is like a calculation that did."""
    try:
        outcome = future.result()
    except CancelledError:
        return Outcome(State.DIED, "it was cancelled by the executor", by_chance=True)
    except Exception as error:  # each executor has its own errors for workers that are gone
        return Outcome(State.DIED, f"the executor lost it ({type(error).__name__}: {error})", by_chance=True)
    return outcome if isinstance(outcome, Outcome) else Outcome(State.DIED, "the executor gave back something else")


def sentence(outcome: Outcome, tries: int) -> str:
    """Why there is no label after so many tries, for people."""
    times = "" if tries == 1 else f" {tries} times"
    if outcome.state == State.DIED:
        return f"the process that computed it died{times} ({outcome.reason})"
    return f"{outcome.reason.rstrip('.')}{f' ({tries} tries)' if tries > 1 else ''}"
