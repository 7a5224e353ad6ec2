"""Calculators that hang, die, print garbage, or end without a result."""

from __future__ import annotations

import copy
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from calculators_that_fail import calls
from fault_frames import HERE, frames
from typer.testing import CliRunner

from ndsc.cli import app
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.reference import CalculatorSpec, StoredCalculator, label_configurations
from ndsc.reference.claims import process_start


def run(store, spec, n=3, **options):
    """Label n structures on two workers."""
    return label_configurations(frames(n), spec, store, **{"workers": 2, "retries": 1, **options})


@pytest.mark.parametrize("how", ["hang", "hang_in_c"])
def test_a_calculator_that_hangs_is_stopped(store, counting, tmp_path, how):
    started = time.monotonic()
    report = run(store, counting(how), n=2, timeout=0.4)
    assert time.monotonic() - started < 30
    assert not report.labels
    assert [failure.name for failure in report.failures] == ["c0000", "c0001"]
    assert all("took longer than 0.4 s" in failure.reason for failure in report.failures)
    assert all("2 tries" in failure.reason for failure in report.failures)
    assert set(calls(tmp_path / "calls").values()) == {2}
    assert not list(store.claims.all())


def test_a_calculator_that_hangs_once_is_tried_again(store, counting):
    report = run(store, counting("hang_once"), timeout=1.0)
    assert len(report.labels) == 3


def test_programs_of_a_calculator_are_stopped_with_it(store, counting, tmp_path):
    run(store, counting("hang_in_program"), n=1, timeout=1.5, retries=0)
    pid = int((tmp_path / "calls.pid").read_text())
    deadline = time.monotonic() + 10
    while process_start(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_start(pid) is None


@pytest.mark.parametrize(
    ("how", "message", "tries"),
    [
        ("exit_0", "exit code 0, without a result", 2),
        ("kill_self", "killed by signal 9", 2),
        ("sys_exit", "raised SystemExit", 1),
        ("raise", "self-consistency did not converge", 1),
        ("move", "changed the structure", 1),
        ("reorder", "changed the structure", 1),
    ],
)
def test_a_calculator_without_a_result(store, counting, tmp_path, how, message, tries):
    report = run(store, counting(how), n=2)
    assert not report.labels
    assert all(message in failure.reason for failure in report.failures)
    assert set(calls(tmp_path / "calls").values()) == {tries}
    assert not list(store.keys())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("key", "raised KeyError: 'a setting'"),
        ("type", "raised TypeError: object of type 'int' has no len"),
        ("exit", "raised SystemExit"),
        ("unusual", "raised UnusualError: of its own kind"),
        ("stop", "raised Stop: now"),
        ("file", "raised FileNotFoundError: no potential there"),
    ],
)
def test_a_factory_that_raises_is_a_failure_of_that_label(store, how, message, workers):
    spec = CalculatorSpec("calculators_that_fail:failing_factory", {"how": how})
    report = label_configurations(frames(1), spec, store, workers=workers, retries=0)
    assert [failure.name for failure in report.failures] == ["c0000"]
    assert (
        "c0000: the calculator 'calculators_that_fail:failing_factory' could not be made" in report.failures[0].reason
    )
    assert message in report.failures[0].reason
    assert not list(store.claims.all())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"how": "none"}, "'calculators_that_fail:failing_factory' returned NoneType, which is not an ASE calculator"),
        ({"why": "none"}, "does not take parameters = {'why': 'none'}"),
    ],
)
def test_a_factory_that_no_label_can_use_stops_all(store, parameters, message, workers):
    spec = CalculatorSpec("calculators_that_fail:failing_factory", parameters)
    with pytest.raises(InputError, match=re.escape(message)):
        label_configurations(frames(3), spec, store, workers=workers)


def test_a_factory_that_fails_is_no_bug_of_ndsc(tmp_path, monkeypatch):
    (tmp_path / "al.toml").write_text(
        '[crystal]\nstructure = "Al"\n[supercells]\ngrid = 2\n[executor]\nworkers = 1\n'
        '[reference]\ncalculator = "calculators_that_fail:failing_factory"\nparameters = {how = "key"}\n'
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", "al.toml"])
    assert result.exit_code == 3
    assert "failing_factory' could not be made, which raised KeyError" in " ".join(result.output.split())
    assert "bug" not in result.output


def test_a_module_that_raises_when_it_is_imported(store, tmp_path, monkeypatch):
    for number, line in enumerate(("1 / 0", "import sys; sys.exit(3)", "def f(:")):
        (tmp_path / f"raises_{number}.py").write_text(line + "\n")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"cannot be imported \((ZeroDivisionError|SystemExit|SyntaxError)"):
            label_configurations(frames(1), CalculatorSpec(f"raises_{number}:f"), store, workers=1)


@pytest.mark.parametrize(
    ("how", "message", "tries"),
    [
        ("kill_self", r"c0000: the process that computed it died 2 times \(was killed by signal 9", 2),
        ("hang_in_c", r"took longer than 0\.5 s and was stopped \(2 tries\)", 2),
        ("raise", "c0000: the calculator .* raised RuntimeError: the self-consistency did not converge", 1),
    ],
)
def test_a_watched_stored_calculator_tells_what_hangs_or_dies(store, counting, tmp_path, how, message, tries):
    atoms = frames(1)[0]
    calculator = StoredCalculator(counting(how), store, timeout=0.5, retries=1)
    atoms.calc = calculator
    with pytest.raises(ReferenceCalculationError, match=message):
        atoms.get_potential_energy()
    assert set(calls(tmp_path / "calls").values()) == {tries}
    assert not list(store.claims.all())


def test_a_watched_stored_calculator_goes_on_in_one_process(store, counting, tmp_path):
    first, second, third = frames(3)
    calculator = StoredCalculator(counting("pid"), store, watched=True)
    pids = []
    for atoms in (first, second):
        atoms.calc = calculator
        atoms.get_forces()
        pids.append((tmp_path / "calls.pid").read_text())
    assert pids[0] == pids[1] != str(os.getpid())
    copied = copy.deepcopy(calculator)
    third.calc = copied
    third.get_forces()
    assert (tmp_path / "calls.pid").read_text() not in (pids[0], str(os.getpid()))
    again = first.copy()
    again.calc = StoredCalculator(counting("pid"), store)
    assert again.get_potential_energy() == first.get_potential_energy()
    assert set(calls(tmp_path / "calls").values()) == {1}
    first.calc = second.calc = third.calc = None
    del calculator, copied
    gc.collect()
    deadline = time.monotonic() + 10
    while process_start(int(pids[0])) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_start(int(pids[0])) is None


def test_ctrl_c_stops_a_watched_stored_calculator(store, counting, tmp_path, monkeypatch):
    atoms = frames(1)[0]
    atoms.calc = StoredCalculator(counting("hang_in_program"), store, watched=True)

    def interrupt(*_):
        deadline = time.monotonic() + 20
        while not (tmp_path / "calls.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("multiprocessing.connection.Connection.poll", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atoms.get_potential_energy()
    assert not list(store.claims.all())
    pid = int((tmp_path / "calls.pid").read_text())
    deadline = time.monotonic() + 10
    while process_start(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_start(pid) is None


def test_the_calculations_of_a_relaxation_keep_to_the_timeout_of_the_input_file(tmp_path, monkeypatch):
    (tmp_path / "al.toml").write_text(
        '[crystal]\nstructure = "Al"\n[supercells]\ngrid = 2\n[executor]\nworkers = 1\ntimeout = "0.5s"\nretries = 0\n'
        '[reference]\ncalculator = "calculators_that_fail:counting"\nparameters = {counter = "calls", how = "hang"}\n'
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", "al.toml"])
    assert result.exit_code == 3
    assert "took longer than 0.5 s and was stopped" in " ".join(result.output.split())


def test_the_last_words_are_shown_and_kept(store, counting):
    report = run(store, counting("exit_0"), n=1)
    assert "I am done, or so I think" in report.failures[0].reason
    assert "I am done" in next((store.path / "failed").glob("*/output.txt")).read_text()


def test_garbage_on_the_screen_does_no_harm(store, counting, capfd):
    report = run(store, counting("garbage"))
    assert len(report.labels) == 3
    assert "garbage" not in "".join(capfd.readouterr())


def test_what_fails_by_chance_is_tried_again(store, counting, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ndsc"):
        report = run(store, counting("no_file_once"), n=2)
    assert len(report.labels) == 2
    assert set(calls(tmp_path / "calls").values()) == {2}
    assert "trying again" in caplog.text


def test_retries_have_a_cap(store, counting, tmp_path):
    report = run(store, counting("kill_self"), n=1, retries=3)
    assert "died 4 times" in report.failures[0].reason
    assert set(calls(tmp_path / "calls").values()) == {4}


def test_one_that_dies_takes_nothing_with_it(store, counting, tmp_path):
    """The structures are given in turn: while one worker dies and dies, the other's work is done once."""
    good = counting("", 0.1)
    report = run(store, good, n=8)
    assert len(report.labels) == 8
    bad = run(store, counting("kill_self"), n=8, retries=0)
    assert len(bad.failures) == 8
    assert set(calls(tmp_path / "calls").values()) == {2}


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(store, counting, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import logging, sys
        sys.path.insert(0, {str(HERE)!r})
        from fault_frames import frames
        from ndsc.reference import CalculatorSpec, LabelStore, label_configurations
        logging.basicConfig(level=logging.WARNING)
        parameters = {{"counter": {str(tmp_path / "calls")!r}, "seconds": 0.2, "how": ""}}
        spec = CalculatorSpec("calculators_that_fail:counting", parameters)
        label_configurations(frames(60), spec, LabelStore({str(store.path)!r}), workers=2)
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(store.keys())) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = [holder.pid for _, holder, _ in store.claims.all() if holder is not None]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "run the same again to continue" in errors
    assert all(process_start(pid) is None for pid in workers)
    assert not any(alive for _, _, alive in store.claims.all())
    before = calls(tmp_path / "calls")
    finished = len(list(store.keys()))
    time.sleep(0.5)
    assert len(list(store.keys())) == finished
    assert calls(tmp_path / "calls") == before
    assert all(store.get(key) is not None for key in list(store.keys()))
    assert not list(Path(store.path).glob(".*.tmp"))


def test_a_driver_that_is_terminated_leaves_its_workers_to_finish(store, counting, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from fault_frames import frames\n"
        "from ndsc.reference import CalculatorSpec, LabelStore, label_configurations\n"
        f"spec = CalculatorSpec('calculators_that_fail:counting', "
        f"{{'counter': {str(tmp_path / 'calls')!r}, 'seconds': 1.0, 'how': ''}})\n"
        f"label_configurations(frames(20), spec, LabelStore({str(store.path)!r}), workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    deadline = time.monotonic() + 60
    while len(calls(tmp_path / "calls")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    process.wait()
    while len(list(store.keys())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    assert len(list(store.keys())) == len(calls(tmp_path / "calls")) == 2
