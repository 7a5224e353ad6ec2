"""Executors: which there are, that any will do, and memory."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ndsc.errors import InputError, MissingExtraError, ReferenceCalculationError
from ndsc.reference import (
    CalculatorSpec,
    ExecutorSettings,
    LabelStore,
    StoredCalculator,
    compute_label,
    label_configurations,
    open_executor,
)
from ndsc.reference.local import LocalExecutor
from ndsc.reference.memory import MemoryGate, available_memory_mb

TESTS = Path(__file__).parents[1]
EMT = CalculatorSpec("emt")


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    made = []
    for index in range(6):
        atoms = bulk("Al", cubic=True) * (1 + index % 2, 1, 1)
        atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
        atoms.info["ndsc_name"] = f"c{index}"
        made.append(atoms)
    return made


@pytest.fixture(autouse=True)
def calculators(monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(2), lambda: LocalExecutor(2)])
def test_any_executor_will_do(frames, store, make):
    with make() as executor:
        report = label_configurations(frames, EMT, store, executor=executor)
    assert len(report.labels) == 6
    assert not report.failures


def test_processes_of_the_standard_library(frames, store):
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert len(label_configurations(frames[:3], EMT, store, executor=executor, workers=1).labels) == 3


class Broken:
    """An executor that loses its work, each time in another way."""

    def __init__(self, how):
        self.how = how

    def submit(self, function, job):
        if self.how == "refuses":
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        if self.how == "cancels":
            future.cancel()
            future.set_running_or_notify_cancel()
        elif self.how == "loses":
            future.set_exception(ConnectionError("the node went down"))
        else:
            future.set_result("something else")
        return future


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("refuses", "took no more jobs"),
        ("cancels", "cancelled by the executor"),
        ("loses", "the node went down"),
        ("answers", "returned something that is not a label"),
    ],
)
def test_an_executor_that_breaks(frames, store, how, message):
    report = label_configurations(frames[:3], EMT, store, executor=Broken(how))
    assert len(report.failures) == 3
    assert all(message in failure.reason for failure in report.failures)


def test_settings_start_an_executor_only_where_a_label_is_missing(frames, store):
    settings = ExecutorSettings(workers=2, timeout=60)
    assert len(label_configurations(frames, EMT, store, executor=settings).labels) == 6
    nowhere = ExecutorSettings(kind="slurm")
    assert label_configurations(frames, EMT, store, executor=nowhere).found == 6


def test_an_executor_that_does_not_exist():
    with pytest.raises(InputError, match="kind"):
        ExecutorSettings(kind="pbs")


@pytest.mark.parametrize(("kind", "module"), [("slurm", "executorlib"), ("dask", "distributed")])
def test_packages_that_are_not_installed(kind, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="not installed"), open_executor(ExecutorSettings(kind=kind)):
        pass


def test_slurm_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "executorlib", object())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with (
        pytest.raises(InputError, match="sbatch, which is not on this machine"),
        open_executor(ExecutorSettings(kind="slurm")),
    ):
        pass


def test_a_dask_scheduler_that_does_not_answer(monkeypatch):
    class Distributed:
        @staticmethod
        def Client(address, timeout):
            raise OSError("timed out")

    monkeypatch.setitem(sys.modules, "distributed", Distributed)
    settings = ExecutorSettings(kind="dask", address="tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="No dask scheduler answers"), open_executor(settings):
        pass


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none(frames, store, timeout):
    with pytest.raises(InputError, match="timeout"):
        label_configurations(frames, EMT, store, timeout=timeout)


def test_stress_where_it_is_needed(frames, store):
    spec = CalculatorSpec("calculators_for_tests:no_stress")
    report = label_configurations(frames[:2], spec, store, workers=1, need_stress=True)
    assert all("no stress, which is needed" in failure.reason for failure in report.failures)
    assert not list(store.keys())
    with pytest.raises(ReferenceCalculationError, match="no stress"):
        compute_label(frames[0], spec, store, need_stress=True)
    # One that is there without stress is not computed again, and not used.
    label_configurations(frames[:2], spec, store, workers=1)
    report = label_configurations(frames[:2], spec, store, workers=1, need_stress=True)
    assert len(report.failures) == 2
    assert report.computed == 0


def test_a_stored_calculator_waits_for_another_run(frames, store):
    key = store.key_of(frames[0], EMT)
    claim = store.claims.acquire(key)
    answers = []

    def ask():
        atoms = frames[0].copy()
        atoms.calc = StoredCalculator(EMT, store)
        answers.append(atoms.get_potential_energy())

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    assert not answers
    label = compute_label(frames[0], EMT, store)
    claim.release()
    thread.join(timeout=20)
    assert answers == [label.energy]


def test_a_stored_calculator_that_may_not_compute(frames, store):
    frames[0].calc = StoredCalculator(EMT, store, compute=False)
    with pytest.raises(ReferenceCalculationError, match="nothing is to be computed"):
        frames[0].get_potential_energy()


def test_equal_structures_count_in_the_progress(frames, store):
    twin = frames[0].copy()
    twin.info["ndsc_name"] = "twin"
    seen = []
    report = label_configurations(
        [*frames[:2], twin], EMT, store, workers=1, progress=lambda *state: seen.append(state[1:])
    )
    assert report.computed == 2
    assert len(report.labels) == 3
    assert seen[-1] == (3, 3)


def test_memory_is_shared_out():
    gate = MemoryGate(1000.0)
    assert gate.estimate_mb(8) == 0
    gate.learn(4, 200.0)
    gate.learn(8, 600.0)
    assert gate.estimate_mb(2) == 200.0
    assert gate.estimate_mb(6) == 600.0
    assert gate.estimate_mb(16) == 2400.0
    order = []

    def run(name, n_atoms, alone=False):
        with gate.room_for(n_atoms, alone=alone):
            order.append(f"+{name}")
            time.sleep(0.2)
            order.append(f"-{name}")

    def at_once(*jobs):
        order.clear()
        threads = [threading.Thread(target=run, args=job) for job in jobs]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        return "".join(order)

    assert at_once(("a", 8), ("b", 4)) == "+a+b-a-b"
    assert at_once(("a", 8), ("b", 8)) == "+a-a+b-b"
    assert at_once(("a", 4), ("b", 4, True)) == "+a-a+b-b"
    assert at_once(("a", 4, True), ("b", 4)) == "+a-a+b-b"
    assert at_once(("a", 16)) == "+a-a"  # alone, one always may


def test_memory_of_this_machine():
    assert available_memory_mb() > 10
