"""Who computes what: claims on labels."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from ndsc.errors import InputError
from ndsc.reference import claims as claims_module
from ndsc.reference.claims import Claim, Claims, Holder, process_start

KEY = "0" * 64


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims", stale_after=100.0)


def left_behind(claims, **changes):
    """The claim of a process that is gone, or of another machine."""
    content = {"host": socket.gethostname(), "pid": 999_999_999, "since": 0.0, "name": "", **changes}
    claims.folder.mkdir(exist_ok=True)
    claims.path_of(KEY).write_text(json.dumps(content))


def test_one_holder_at_a_time(claims):
    claim = claims.acquire(KEY, "s00-0001")
    assert isinstance(claim, Claim)
    other = claims.acquire(KEY)
    assert isinstance(other, Holder)
    assert (other.pid, other.name) == (os.getpid(), "s00-0001")
    assert f"process {os.getpid()}" in str(other)
    claim.release()
    assert claims.holder(KEY) is None
    assert not list(claims.all())
    assert isinstance(claims.acquire(KEY), Claim)
    assert not list(claims.folder.glob(".*.tmp"))


def test_exactly_one_of_many_gets_it(claims):
    got = []
    start = threading.Barrier(8)

    def race():
        start.wait()
        got.append(claims.acquire(KEY))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(claim, Claim) for claim in got) == 1


@pytest.mark.parametrize("repeat", range(20))
def test_exactly_one_of_many_takes_over(claims, repeat):
    left_behind(claims)
    test_exactly_one_of_many_gets_it(claims)
    assert claims.holder(KEY).pid == os.getpid()


def test_a_holder_that_died_is_followed(claims):
    code = (
        "import sys; from pathlib import Path; from ndsc.reference.claims import Claims\n"
        "claim = Claims(Path(sys.argv[1])).acquire(sys.argv[2]); print('ready', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(claims.folder), KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    holder = claims.acquire(KEY)
    assert isinstance(holder, Holder)
    assert holder.pid == process.pid
    process.kill()
    process.communicate()
    assert claims.holder(KEY) is None
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 20
    while process_start(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_start(process.pid) is None
    process.wait()


def test_a_holder_on_another_machine_lives_as_long_as_it_touches(claims):
    """Where locks do not reach other machines, their claims are not locked for this one."""
    left_behind(claims, host="node17")
    assert claims.holder(KEY).host == "node17"
    assert isinstance(claims.acquire(KEY), Holder)
    os.utime(claims.path_of(KEY), (time.time() - 101, time.time() - 101))
    assert claims.holder(KEY) is None
    claims.touch(KEY)
    assert claims.holder(KEY) is not None
    os.utime(claims.path_of(KEY), (time.time() - 101, time.time() - 101))
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_file_system_without_locks(claims, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(claims_module.fcntl, "flock", refuse)
    claim = claims.acquire(KEY)
    assert isinstance(claims.acquire(KEY), Holder)
    claim.release()
    left_behind(claims)
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_claim_is_touched_while_it_is_held(claims, monkeypatch):
    monkeypatch.setattr(claims_module, "HEARTBEAT", 0.05)
    claim = claims.acquire(KEY)
    os.utime(claims.path_of(KEY), (0, 0))
    deadline = time.monotonic() + 20
    while claims.path_of(KEY).stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert claims.path_of(KEY).stat().st_mtime > 0
    claim.release()


def test_who_was_taken_for_dead_takes_nothing_away(claims):
    late = claims.acquire(KEY)
    claims.path_of(KEY).unlink()
    new = claims.acquire(KEY)
    assert isinstance(new, Claim)
    late.release()
    assert claims.holder(KEY) is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', "null", "[" * 100_000, "\ufeff{}"])
def test_a_claim_that_cannot_be_read_protects_nothing(claims, content):
    left_behind(claims)
    claims.path_of(KEY).write_text(content)
    assert [alive for _, _, alive in claims.all()] == [False]
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="store must be writable"):
        Claims(tmp_path / "file" / "claims").acquire(KEY)


def test_only_the_claim_of_a_dead_process_is_dropped(claims):
    claim = claims.acquire(KEY)
    claims.drop(KEY)
    assert claims.holder(KEY) is not None
    claim.release()
    left_behind(claims)
    claims.drop(KEY)
    assert not claims.path_of(KEY).exists()


def test_no_claims(claims):
    assert list(claims.all()) == []
    assert claims.holder(KEY) is None
