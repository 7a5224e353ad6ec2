"""``kill -9`` of workers, of drivers and of both, at random moments, and two drivers at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from calculators_that_fail import calls, fingerprint
from fault_frames import HERE, frames

from ndsc.reference import CalculatorSpec, LabelStore
from ndsc.reference.claims import process_start

LABELS = 80
KILLS = 25
SECONDS = 0.03


class Nursery:
    """The process that forks drivers."""

    def __init__(self, store: LabelStore, counter: Path, n: int, seconds: float) -> None:
        command = [sys.executable, str(HERE / "nursery.py"), str(store.path), str(counter), str(seconds), str(n)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def driver(self) -> int:
        """Start a driver and give its number."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def nursery(*arguments) -> Iterator[Nursery]:
    """A nursery that is gone afterwards."""
    made = Nursery(*arguments)
    try:
        yield made
    finally:
        made.process.stdin.close()
        made.process.kill()
        made.process.wait()
        made.process.stdout.close()


def workers_of(driver: int) -> list[int]:
    """The calculation processes of a driver, alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == driver and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def kill(pid: int) -> None:
    """kill -9."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(condition, seconds=60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)


def test_kill_9_again_and_again(store, tmp_path):
    """Every label in the end, none corrupt, no finished one computed again."""
    choose = random.Random(7)
    counter = tmp_path / "calls"
    structures = frames(LABELS)
    spec = CalculatorSpec("calculators_that_fail:counting", {"counter": str(counter), "seconds": SECONDS, "how": ""})
    names = {store.key_of(atoms, spec): fingerprint(atoms) for atoms in structures}
    finished: dict[str, int] = {}
    orphans: list[int] = []
    kills = 0
    with nursery(store, counter, LABELS, SECONDS) as made:
        driver = made.driver()
        while kills < KILLS:
            # The next moment: after a few more labels, somewhere within a calculation.
            target = min(len(list(store.keys())) + choose.randint(0, 3), LABELS * (kills + 1) // KILLS)
            wait_for(lambda target=target: len(list(store.keys())) >= target)
            wait_for(lambda driver=driver: len(workers_of(driver)) > 0)
            time.sleep(choose.uniform(0, 2 * SECONDS))
            assert process_start(driver) is not None, "the run ended before it was killed often enough"
            workers = workers_of(driver)
            victims = choose.choice(["worker", "driver", "both"])
            orphans += workers
            if victims == "worker":
                kill(choose.choice(workers))
            else:
                kill(driver)
            if victims == "both":
                for worker in workers:
                    kill(worker)
            kills += 1
            # What is finished now must never be computed again. Its calls are counted after it was seen.
            new = set(store.keys()) - set(finished)
            counted = calls(counter)
            finished |= {key: counted[names[key]] for key in new}
            if victims != "worker":
                driver = made.driver()
        wait_for(lambda: process_start(driver) is None, 120)
    counted = calls(counter)
    assert set(store.keys()) == set(names)
    assert all(store.load(key).forces.shape[1] == 3 for key in names)
    assert set(counted) == set(names.values())
    again = [key for key, count in finished.items() if counted[names[key]] != count]
    assert not again, f"finished labels were computed again: {again}"
    # A kill costs at most the two calculations that were running.
    assert sum(counted.values()) <= LABELS + 2 * KILLS
    wait_for(lambda: all(process_start(pid) is None for pid in orphans))
    wait_for(lambda: not any(alive for _, _, alive in store.claims.all()))
    assert not list(store.path.glob("*.damaged"))


def test_two_drivers_share_the_work(store, tmp_path):
    """Each label is computed once, whoever does it, and both runs end with all of them."""
    counter, n = tmp_path / "calls", 40
    with nursery(store, counter, n, 0.05) as made:
        drivers = [made.driver(), made.driver()]
        wait_for(lambda: all(process_start(driver) is None for driver in drivers))
    assert len(list(store.keys())) == n
    assert set(calls(counter).values()) == {1}
    assert len(calls(counter)) == n
    assert not list(store.claims.all())


def test_an_orphan_is_waited_for(store, tmp_path):
    """A driver dies, its workers go on: the next driver takes their labels instead of computing them again."""
    counter, n = tmp_path / "calls", 2
    with nursery(store, counter, n, 2.0) as made:
        first = made.driver()
        wait_for(lambda: len(calls(counter)) == n)
        kill(first)
        second = made.driver()
        wait_for(lambda: process_start(second) is None)
    assert len(list(store.keys())) == n
    assert set(calls(counter).values()) == {1}


def driver_of(store, counter, seconds, how="", n=20) -> subprocess.Popen:
    """A driver that labels n structures on two workers."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from fault_frames import frames\n"
        "from ndsc.reference import CalculatorSpec, LabelStore, label_configurations\n"
        f"parameters = {{'counter': {str(counter)!r}, 'seconds': {seconds}, 'how': {how!r}}}\n"
        "spec = CalculatorSpec('calculators_that_fail:counting', parameters)\n"
        f"label_configurations(frames({n}), spec, LabelStore({str(store.path)!r}), workers=2)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code])


def test_workers_of_a_driver_that_is_gone_begin_nothing(store, tmp_path):
    counter = tmp_path / "calls"
    driver = driver_of(store, counter, 0.4)
    wait_for(lambda: len(calls(counter)) >= 6)
    driver.kill()
    begun = len(calls(counter))
    driver.wait()
    time.sleep(1.5)
    assert len(list(store.keys())) == len(calls(counter)) <= begun + 2
    wait_for(lambda: not any(alive for _, _, alive in store.claims.all()))


@pytest.mark.parametrize("how", ["hang", "hang_in_c", "hang_in_program"])
def test_a_driver_that_is_killed_takes_long_calculations_with_it(store, tmp_path, how):
    """Also those that keep the interpreter locked, and the programs that they started."""
    counter = tmp_path / "calls"
    driver = driver_of(store, counter, 0.0, how, n=2)
    wait_for(lambda: len(calls(counter)) == 2)
    time.sleep(0.3)
    members = psutil.Process(driver.pid).children(recursive=True)
    assert len(members) >= 2
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(process_start(member.pid) for member in members), 30)
    # The process that ended them holds their locks a moment longer.
    wait_for(lambda: not any(alive for _, _, alive in store.claims.all()), 30)


def test_temporary_folders_of_dead_processes_are_swept(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    counter = tmp_path / "calls"
    driver = driver_of(store, counter, 30.0, n=2)
    wait_for(lambda: len(calls(counter)) == 2)
    driver.kill()
    driver.wait()
    left = list(tmp_path.glob(".ndsc-scratch-*"))
    assert left
    wait_for(lambda: not any(alive for _, _, alive in store.claims.all()))
    driver_of(store, counter, 0.0).wait()
    assert not any(folder.exists() for folder in left)
    assert not list(tmp_path.glob(".ndsc-scratch-*"))
