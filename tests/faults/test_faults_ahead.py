"""Jobs that a process of this machine gets in advance, because labels take milliseconds: none is lost or done twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from calculators_that_fail import calls, fingerprint
from fault_frames import HERE, frames

from ndsc.reference import LabelStore
from ndsc.reference.computing import Job, State
from ndsc.reference.processes import CalculationProcess


@pytest.fixture
def process():
    """A calculation process that has computed one short label."""
    made = CalculationProcess()
    yield made
    made.close()


@pytest.fixture
def jobs(store, counting):
    """A job for each of some ways to fail, all of different structures."""

    def make(*ways: str, **options) -> list[Job]:
        made = []
        for atoms, how in zip(frames(len(ways)), ways, strict=True):
            spec = counting(how)
            made.append(
                Job(atoms, spec, str(store.path), store.key_of(atoms, spec), atoms.info["ndsc_name"], **options)
            )
        return made

    return make


def counted(tmp_path, job: Job) -> int:
    """How often the calculator was called for a job."""
    return calls(tmp_path / "calls").get(fingerprint(job.atoms), 0)


def run(process: CalculationProcess, jobs: list[Job]) -> list[State]:
    """Do jobs in order, each of which the process may have when it is at the one before."""
    states = []
    following = [*jobs[1:], None]
    for job, after in zip(jobs, following, strict=True):
        states.append(process.run(job, lambda after=after: after).state)
    return states


def test_the_next_job_is_done_without_being_asked_for(process, jobs, store, tmp_path):
    first, second, third = jobs("", "", "")
    process.run(first)
    process.run(second, lambda: third)
    deadline = time.monotonic() + 20
    while third.key not in store and time.monotonic() < deadline:
        time.sleep(0.01)
    assert third.key in store
    assert process.run(third).state == State.COMPUTED
    assert counted(tmp_path, third) == 1


@pytest.mark.parametrize(
    ("how", "state"),
    [("kill_self", State.DIED), ("exit_0", State.DIED), ("hang", State.TIMEOUT), ("raise", State.FAILED)],
)
def test_what_ends_one_spares_the_next(process, jobs, tmp_path, how, state):
    many = jobs("", how, "", how, "", timeout=1.0)
    assert run(process, many) == [State.COMPUTED, state, State.COMPUTED, state, State.COMPUTED]
    assert [counted(tmp_path, job) for job in many] == [1] * 5


def test_the_files_of_one_that_fails_are_not_those_of_the_next(process, jobs, store):
    run(process, jobs("", "garbage", "exit_0", "garbage"))
    kept = [path.read_text() for path in (store.path / "failed").glob("*/output.txt")]
    assert len(kept) == 1
    assert kept[0].startswith("I am done, or so I think")


def test_another_job_than_the_one_asked_for(process, jobs, tmp_path):
    first, second, third, fourth = many = jobs("", "", "", "")
    process.run(first)
    process.run(second, lambda: third)
    # The process that answers for the third is ended, so that no answer is taken for another's.
    assert process.run(fourth).state == State.COMPUTED
    assert process.run(third).state in (State.COMPUTED, State.FOUND)
    assert all(counted(tmp_path, job) in (1, 2) for job in many)


def test_long_labels_are_not_taken_in_advance(process, jobs, monkeypatch):
    monkeypatch.setattr("ndsc.reference.processes.SHORT", 0.0)
    first, second, third = jobs("", "", "")
    asked = []
    process.run(first)
    process.run(second, lambda: asked.append(third))
    assert not asked


def test_workers_of_a_driver_that_is_gone_begin_nothing(store, counting, tmp_path):
    """What a worker has in advance is left to the next run when nobody waits for its answer."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from fault_frames import frames\n"
        "from ndsc.reference import CalculatorSpec, LabelStore, label_configurations\n"
        f"spec = CalculatorSpec('calculators_that_fail:counting', "
        f"{{'counter': {str(tmp_path / 'calls')!r}, 'seconds': 0.4, 'how': ''}})\n"
        f"label_configurations(frames(20), spec, LabelStore({str(store.path)!r}), workers=2)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    deadline = time.monotonic() + 60
    while len(calls(tmp_path / "calls")) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    driver.kill()
    begun = len(calls(tmp_path / "calls"))
    driver.wait()
    time.sleep(1.5)
    store = LabelStore(store.path)
    assert len(list(store.keys())) == len(calls(tmp_path / "calls")) <= begun + 2
    assert not any(alive for _, _, alive in store.claims.all())
