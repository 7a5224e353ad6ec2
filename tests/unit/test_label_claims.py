"""Who computes what: claims on labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from ndsc.errors import InputError
from ndsc.reference.claims import Claim, Claims, Holder, process_start

KEY = "0" * 64


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims", stale_after=100.0)


def rewrite(claims, **changes):
    """Change what a claim says."""
    path = claims.path_of(KEY)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_one_holder_at_a_time(claims):
    claim = claims.acquire(KEY, "s00-0001")
    assert isinstance(claim, Claim)
    other = claims.acquire(KEY)
    assert isinstance(other, Holder)
    assert (other.pid, other.name) == (os.getpid(), "s00-0001")
    assert f"process {os.getpid()}" in str(other)
    claim.release()
    assert claims.holder(KEY) is None
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


def test_exactly_one_of_many_takes_over(claims):
    claims.acquire(KEY)
    rewrite(claims, pid=999_999_999, token="dead")
    test_exactly_one_of_many_gets_it(claims)
    assert claims.holder(KEY).pid == os.getpid()


def test_a_holder_that_died_is_followed(claims):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claims.acquire(KEY)
    rewrite(claims, pid=process.pid, started=process_start(process.pid))
    assert isinstance(claims.acquire(KEY), Holder)
    process.kill()
    process.communicate()
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_number_that_was_given_again_is_another_process(claims):
    claims.acquire(KEY)
    rewrite(claims, started=1)
    assert claims.is_held(KEY) is None
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 20
    while process_start(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_start(process.pid) is None
    process.wait()


def test_a_holder_on_another_machine_lives_as_long_as_it_touches(claims):
    claims.acquire(KEY)
    rewrite(claims, machine="another", host="node17")
    assert claims.is_held(KEY).host == "node17"
    os.utime(claims.path_of(KEY), (time.time() - 101, time.time() - 101))
    assert claims.is_held(KEY) is None
    claims.touch(KEY)
    assert claims.is_held(KEY) is not None
    os.utime(claims.path_of(KEY), (time.time() - 101, time.time() - 101))
    assert isinstance(claims.acquire(KEY), Claim)


def test_who_was_taken_for_dead_takes_nothing_away(claims):
    late = claims.acquire(KEY)
    rewrite(claims, pid=999_999_999, token="dead")
    new = claims.acquire(KEY)
    replace(late, holder=replace(late.holder, since=time.time() - 100)).release()
    assert claims.holder(KEY).token == new.holder.token


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": 1}', "null"])
def test_a_claim_that_cannot_be_read_protects_nothing(claims, content):
    claims.acquire(KEY)
    claims.path_of(KEY).write_text(content)
    assert [alive for _, _, alive in claims.all()] == [False]
    assert isinstance(claims.acquire(KEY), Claim)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="store must be writable"):
        Claims(tmp_path / "file" / "claims").acquire(KEY)


def test_drop_of_process(claims):
    claims.acquire(KEY)
    claims.drop_of_process(KEY, 1)
    assert claims.holder(KEY) is not None
    claims.drop_of_process(KEY, os.getpid())
    assert claims.holder(KEY) is None


def test_no_claims(claims):
    assert list(claims.all()) == []
    assert claims.is_held(KEY) is None
