"""Ctrl-C and ``kill -9`` of the program ``ndsc``: it ends at once with 130, whatever code is at work."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from calculators_that_fail import calls

from ndsc.reference import LabelStore

SILICON = Path(__file__).parents[1] / "data" / "stillinger_weber_si.xml"
#: From the signal to the end, s. The machine may be busy.
AT_ONCE = 5.0


def start(*arguments, cwd) -> subprocess.Popen:
    """The program, as a person starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "ndsc", *map(str, arguments)], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(condition, seconds=60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def family(process) -> list[psutil.Process]:
    """All processes that descend from one."""
    return psutil.Process(process.pid).children(recursive=True)


def interrupt(process) -> tuple[float, str]:
    """Ctrl-C; the time until the end, and what was said."""
    members = family(process)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=60)
    seconds = time.monotonic() - sent
    wait_for(lambda: not any(alive(member) for member in members))
    return seconds, errors


def alive(process: psutil.Process) -> bool:
    """Whether a process runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def input_file(folder: Path, how: str, workers: int = 1) -> None:
    """An input file whose calculator misbehaves."""
    parameters = f"{{counter = {json.dumps(str(folder / 'calls'))}, how = {json.dumps(how)}}}"
    (folder / "al.toml").write_text(
        f'[crystal]\nstructure = "Al"\nrelax = false\n[supercells]\ngrid = 2\n[executor]\nworkers = {workers}\n'
        f'[reference]\ncalculator = "calculators_that_fail:counting"\nparameters = {parameters}\n'
    )


@pytest.mark.parametrize(
    ("how", "workers"), [("hang_in_c", 1), ("swallow", 1), ("fortran", 1), ("hang", 2), ("hang_in_program", 2)]
)
def test_ctrl_c_ends_in_130_whatever_code_is_at_work(tmp_path, how, workers):
    input_file(tmp_path, how, workers)
    process = start("run", "al.toml", cwd=tmp_path)
    wait_for(lambda: calls(tmp_path / "calls"))
    time.sleep(0.3)
    seconds, errors = interrupt(process)
    assert process.returncode == 130
    assert seconds < AT_ONCE
    assert "Stopped" in errors
    assert "Traceback" not in errors
    assert not list(LabelStore(tmp_path / "al" / "labels").keys())


def test_ctrl_c_while_the_program_starts(tmp_path):
    process = start("supercells", "Al", "--grid", "4", cwd=tmp_path)
    wait_for(lambda: family(process))  # the program goes on in a child before it imports the command line
    seconds, errors = interrupt(process)
    assert process.returncode == 130
    assert seconds < AT_ONCE
    assert "Traceback" not in errors


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.5])
def test_ctrl_c_while_quippy_computes(tmp_path, moment):
    """quippy's Fortran code has a handler for Ctrl-C of its own, which makes a RuntimeError of it."""
    pytest.importorskip("quippy")
    parameters = {"args_str": "IP SW", "param_filename": str(SILICON)}
    process = start(
        "phonons", "Si", "--grid", "16", "16", "15", "--calculator", "quip", "--parameters", json.dumps(parameters),
        "--labels", tmp_path / "labels", cwd=tmp_path,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob("labels/*.json")))
    time.sleep(moment)
    seconds, errors = interrupt(process)
    assert process.returncode == 130, errors
    assert seconds < AT_ONCE
    store = LabelStore(tmp_path / "labels")
    keys = list(store.keys())
    assert keys
    assert all(store.get(key) is not None for key in keys)


def test_the_program_that_is_killed_leaves_no_process(tmp_path):
    input_file(tmp_path, "hang_in_program", 2)
    process = start("run", "al.toml", cwd=tmp_path)
    wait_for(lambda: (tmp_path / "calls.pid").exists())
    members = family(process)
    assert len(members) >= 2
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not any(alive(member) for member in members), 30)


def test_what_ignores_ctrl_c_goes_on_ignoring_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ndsc", "supercells", "Al", "--grid", "4"], cwd=tmp_path, stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"supercells" in out


def test_the_exit_code_is_that_of_the_command(tmp_path):
    process = start("run", "nothing.toml", cwd=tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 2
    (tmp_path / "dies.py").write_text("import os, signal\ndef make():\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    process = start("elastic", "Al", "--calculator", "dies:make", cwd=tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
