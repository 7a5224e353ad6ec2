"""The compiled module itself: its errors, its threads, Ctrl-C, progress."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import ndsc
from ndsc import _core
from ndsc.crystal import Crystal
from ndsc.errors import InputError, IntegerOverflowError, InternalError

FCC = Crystal.from_atoms(bulk("Al"))
ROTATIONS = np.ascontiguousarray(FCC.reciprocal_rotations)
PLENTY = 10**10


def test_version_is_the_package_version():
    from importlib.metadata import version

    assert ndsc.__version__ == _core.__version__ == version("ndsc")


def test_arrays_of_a_wrong_shape_are_refused():
    for call in (
        lambda: _core.minimal_cover([2, 2, 2], ROTATIONS[:, :2, :2].copy(), PLENTY),
        lambda: _core.orders([2, 2, 2], np.zeros((1, 2), dtype=np.int64)),
        lambda: _core.smith_normal_form(np.zeros((2, 3), dtype=np.int64)),
        lambda: _core.minkowski_reduce(ROTATIONS, np.eye(2)),
    ):
        with pytest.raises(ValueError, match="was expected"):
            call()


def test_arrays_need_not_be_contiguous():
    forms = ndsc.hermite_normal_forms(6)
    metric = np.eye(3)
    flipped = np.asfortranarray(forms)
    assert np.array_equal(_core.minkowski_reduce(flipped, metric), _core.minkowski_reduce(forms, metric))


@pytest.mark.parametrize(
    ("rotations", "message"),
    [
        (ROTATIONS[:0], "no crystallographic point group"),
        (np.concatenate([ROTATIONS, ROTATIONS]), "no crystallographic point group"),
        (np.stack([np.eye(3, dtype=np.int64)] * 2), "are equal"),
        (ROTATIONS[:5], "no group"),
        (2 * np.eye(3, dtype=np.int64)[None], "determinant 8"),
        (-np.eye(3, dtype=np.int64)[None], "no group"),
    ],
)
def test_what_is_no_group_is_refused(rotations, message):
    with pytest.raises(InputError, match=message):
        _core.minimal_cover([2, 2, 2], np.ascontiguousarray(rotations), PLENTY)


def interrupted():
    """A long call that gets SIGINT while it runs."""
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        _core.irreducible_qpoints([1400] * 3, ROTATIONS, True, PLENTY)
    finally:
        timer.cancel()


# How Python meets each variant of the core's error: what to call, the exception, and its message.
VARIANTS = {
    "Overflow": (
        lambda: _core.hermite_normal_form(np.array([[2**62, 1, 1], [1, 2**62, 3], [5, 1, 2**62]])),
        IntegerOverflowError,
        "Integer overflow in Hermite normal form: the exact result does not fit into 64 bits; use smaller numbers.",
    ),
    "Input": (
        lambda: _core.minimal_cover([2, 2, 2], ROTATIONS[:0], PLENTY),
        InputError,
        "0 rotations are no crystallographic point group, which has 1 to 48.",
    ),
    "TooLarge": (
        lambda: _core.hermite_normal_forms(30030, 1000),
        InputError,
        "The list of the 3913638183 Hermite normal forms of determinant 30030 would take about 281.7 GB of memory, and "
        "1000 bytes are available; use a smaller determinant.",
    ),
    "Interrupted": (interrupted, KeyboardInterrupt, ""),
    # A bug of the caller: the package itself always has the identity among the rotations.
    "Internal": (
        lambda: _core.locate([4, 4, 4], ROTATIONS[:0], np.array([[1, 0, 0]])),
        InternalError,
        "Internal error in locate: no rotation keeps the grid.",
    ),
}


def test_every_variant_of_the_core_error_is_listed():
    source = (Path(__file__).parents[2] / "rust/ndsc-core/src/error.rs").read_text()
    body = source[source.index("pub enum Error {") :]
    declared = re.findall(r"^    (\w+)(?:\(.*\))?,$", body[: body.index("\n}\n")], flags=re.MULTILINE)
    assert len(declared) == len(set(declared))
    assert set(declared) == set(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_core_error_reaches_python(variant):
    call, exception, message = VARIANTS[variant]
    with pytest.raises(exception) as caught:
        call()
    assert type(caught.value) is exception
    assert str(caught.value) == message


def test_progress_of_short_calls_is_silent():
    calls = []
    ndsc.find_supercells(FCC, 20, progress=lambda *call: calls.append(call))
    assert calls == []


def test_progress_of_long_calls_and_errors_in_it():
    calls = []
    started = time.monotonic()

    def fail(task, done, total):
        calls.append((task, done, total, time.monotonic() - started))
        if len(calls) == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        # Minutes of work, if nothing stopped it.
        ndsc.enumerate_supercells(FCC, 18018, progress=fail)
    assert len(calls) == 2
    for task, done, total, elapsed in calls:
        assert task == "distinct supercells of 18018 cells"
        assert 0 < done < total
        assert elapsed > 2


# Each takes seconds on the fastest machine, so that the signal, sent after a third of a second, meets it at work.
WORK = {
    "enumerate": "ndsc.enumerate_supercells(crystal, 18018)",
    "irreducible": "ndsc.irreducible_qpoints(crystal, 2000)",
    "map": "ndsc.map_qpoints(crystal, 900)",
    "cover": "[0 for _ in ndsc.iterate_supercells(crystal, (99991, 99991, 99991))]",
    "normal forms": "ndsc.hermite_normal_forms(5040)",
    "reduction": "reduce_supercells(np.eye(3), forms)",
    "columns": "ndsc.find_supercells(crystal, 48, cost_exponent=1.0)",
    "programme": "ndsc.find_supercells(crystal, 30, cost_exponent=1.0)",
}


@pytest.mark.parametrize("task", WORK)
def test_ctrl_c_is_answered(task):
    program = (
        "import sys, time\nimport numpy as np\nimport ndsc\nfrom ase.build import bulk\n"
        "from ndsc.sublattices import reduce_supercells\n"
        "crystal = ndsc.Crystal.from_atoms(bulk('Al'))\n"
        # Made before the call, since NumPy does not hear Ctrl-C while it fills an array.
        f"forms = np.tile([[[8, 5, 3], [0, 7, 4], [0, 0, 9]]], ({10**7 if task == 'reduction' else 1}, 1, 1))\n"
        f"try:\n    print('ready', flush=True)\n    {WORK[task]}\n"
        "except KeyboardInterrupt:\n    print('stopped', flush=True)\n    sys.exit(7)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    # How soon is measured by benches/interrupts.py; without an answer the work would go on, or end with another code.
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (7, "stopped\n")


def test_threads_change_nothing():
    program = (
        "import hashlib\nimport numpy as np\nimport ndsc\nfrom ase.build import bulk\n"
        "from ndsc.sublattices import reduce_supercells\n"
        "digest = hashlib.sha256()\n"
        "for atoms, grid in ((bulk('Al'), 60), (bulk('Mg'), (30, 30, 60))):\n"
        "    digest.update(ndsc.find_supercells(atoms, grid).matrices.tobytes())\n"
        "    digest.update(ndsc.enumerate_supercells(atoms, 24).tobytes())\n"
        "    digest.update(ndsc.map_qpoints(atoms, 20).mapping.tobytes())\n"
        "digest.update(reduce_supercells(bulk('Mg').cell.array, ndsc.hermite_normal_forms(60)).tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    digests = set()
    for threads in ("1", "4"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_other_python_threads_run_meanwhile():
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.01):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    ndsc.find_supercells(FCC, 1000)
    elapsed = time.monotonic() - started
    stop.set()
    thread.join()
    # With the GIL held there would be next to none.
    assert len(ticks) > min(5, elapsed / 0.1)


def test_stub_lists_every_name():
    stub = (Path(ndsc.__file__).parent / "_core.pyi").read_text()
    for name in _core.__all__:
        assert name in stub
