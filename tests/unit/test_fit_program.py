"""How a gap_fit that misbehaves is dealt with, with shell scripts in its place."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ndsc.errors import FitError, InputError, MissingExtraError
from ndsc.fit import GapCalculator, GapSettings, apply_regularisation, fit_gap, load_fit
from ndsc.fit.executable import (
    Run,
    failure_reason,
    find_gap_fit,
    parse_counts,
    readable_log,
    run_gap_fit,
)

needs_quippy = pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'")

LOG = """
Peak1 243 MB
Peak2 13 MB
PEAK  243 MB

Number of target energies (property name: REF_energy) found: 1
Number of target local_properties (property name: local_property) found: 0
Number of target forces (property name: REF_forces) found: 3
Number of target virials (property name: REF_virial) found: {virials}

Number of per-configuration setting of energy_sigma found:     1
Number of per-configuration setting of virial_sigma found:     0
Number of per-component setting of force_component_sigma found:          3
Number of per-component setting of virial_component_sigma found:          9
"""


@pytest.fixture
def frames():
    atoms = bulk("Al")
    atoms.info |= {"REF_energy": -3.0, "REF_virial": np.zeros(9)}
    atoms.arrays["REF_forces"] = np.zeros((1, 3))
    return apply_regularisation([atoms])


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Put a shell script in the place of gap_fit."""

    def make(body, virials=6):
        script = tmp_path / "bin" / "gap_fit"
        script.parent.mkdir(exist_ok=True)
        (script.parent / "log").write_text(LOG.format(virials=virials))
        script.write_text(f'#!/bin/sh\ncat "{script.parent}/log"\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("NDSC_GAP_FIT", str(script))
        return script

    return make


def left_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_counts_are_read_from_the_log():
    assert parse_counts(LOG.format(virials=6)) == {
        "energies": 1,
        "force_components": 3,
        "virial_components": 6,
        "energy_sigmas": 1,
        "force_component_sigmas": 3,
        "virial_component_sigmas": 9,
    }
    assert parse_counts("nothing") == {}


def test_blanks_of_fortran_are_removed(tmp_path):
    (tmp_path / "log").write_text("SYSTEM ABORT: no file" + " " * 30000 + "\nSTOP 1\n")
    text = readable_log(tmp_path / "log")
    assert len(text) < 50
    assert failure_reason(Run(1, text)) == "SYSTEM ABORT: no file"
    assert "signal 9" in failure_reason(Run(-9, "working\n"))
    assert failure_reason(Run(1, "")) == "it wrote nothing"
    assert failure_reason(Run(1, "last words")) == "last words"


@needs_quippy
@pytest.mark.parametrize("virials", [0, 5, 9])
def test_data_that_is_dropped_is_an_error(tmp_path, frames, pretend, virials):
    pretend("touch gap.xml", virials=virials)
    with pytest.raises(FitError, match=rf"virial components: 6 sent, {virials} read"):
        fit_gap(frames, tmp_path / "potential", GapSettings(solver="gap_fit"))
    assert left_in(tmp_path / "potential") == ["gap_fit.log"]


@needs_quippy
def test_not_a_number_is_an_error(tmp_path, frames, pretend):
    pretend("""echo '<a><sparseX i="1" alpha="NaN" sparseCutoff="1.0"/></a>' > gap.xml""")
    with pytest.raises(FitError, match="NaN"):
        fit_gap(frames, tmp_path / "potential")
    assert left_in(tmp_path / "potential") == ["gap_fit.log"]


@needs_quippy
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'SYSTEM ABORT: bad luck'; exit 3", "exit code 3.*bad luck"),
        ("exit 0", "exit code 0"),
        ("kill -9 $$", "-9"),
    ],
)
def test_failures_keep_the_log_and_the_old_potential(tmp_path, frames, pretend, body, message):
    pretend(body)
    folder = tmp_path / "potential"
    folder.mkdir()
    (folder / "gap.xml").write_text("old")
    with pytest.raises(FitError, match=message):
        fit_gap(frames, folder)
    assert left_in(folder) == ["gap.xml", "gap_fit.log"]
    assert (folder / "gap.xml").read_text() == "old"


@needs_quippy
def test_fits_that_are_too_large_are_refused(tmp_path, frames, pretend, monkeypatch):
    pretend("touch started")
    with pytest.raises(InputError, match=r"GB of memory, and 0.01 GB are allowed"):
        fit_gap(frames, tmp_path / "potential", memory_limit_gb=0.01)
    monkeypatch.setattr("ndsc.fit.memory.available_memory_mb", lambda: 20.0)
    with pytest.raises(InputError, match="are available"):
        fit_gap(frames, tmp_path / "potential")
    assert not (tmp_path / "potential").exists()


@needs_quippy
def test_progress_follows_the_log(tmp_path, pretend):
    pretend(r"printf 'Covariance matrix  42%% |****   |   4.5 /  10.8 s\r'; sleep 0.5")
    seen = []
    run_gap_fit([], tmp_path, "log", progress=lambda task, done, total: seen.append((task, done, total)))
    assert ("fitting the potential", 42, 100) in seen


@needs_quippy
def test_interruption_kills_the_child_and_leaves_nothing(tmp_path, pretend):
    pretend(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    program = textwrap.dedent(f"""
        import numpy as np
        from ase.build import bulk
        from ndsc.fit import apply_regularisation, fit_gap
        atoms = bulk("Al")
        atoms.info |= {{"REF_energy": -3.0, "REF_virial": np.zeros(9)}}
        atoms.arrays["REF_forces"] = np.zeros((1, 3))
        fit_gap(apply_regularisation([atoms]), {str(tmp_path / "potential")!r})
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert left_in(tmp_path / "potential") == []


def test_without_the_extra(tmp_path, frames, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ndsc\[gap\]'"):
        fit_gap(frames, tmp_path / "potential")
    with pytest.raises(MissingExtraError, match=r"pip install 'ndsc\[gap\]'"):
        GapCalculator(tmp_path / "gap.xml")
    assert left_in(tmp_path) == []


@needs_quippy
def test_where_gap_fit_is(tmp_path, monkeypatch):
    monkeypatch.delenv("NDSC_GAP_FIT", raising=False)
    assert os.access(find_gap_fit(), os.X_OK)
    monkeypatch.setenv("NDSC_GAP_FIT", "/nowhere/gap_fit")
    with pytest.raises(MissingExtraError, match="NDSC_GAP_FIT names /nowhere/gap_fit"):
        find_gap_fit()
    monkeypatch.delenv("NDSC_GAP_FIT")
    monkeypatch.setattr("ndsc.fit.executable.require_quippy", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="no gap_fit"):
        find_gap_fit()
    (tmp_path / "gap_fit").write_text("#!/bin/sh\n")
    (tmp_path / "gap_fit").chmod(0o755)
    assert find_gap_fit() == tmp_path / "gap_fit"


def test_a_program_that_cannot_start(tmp_path, pretend):
    script = pretend("")
    script.write_text("#!/no/such/interpreter\n")
    with pytest.raises(FitError, match="cannot be started"):
        run_gap_fit([], tmp_path, "log")


@needs_quippy
def test_folders_that_cannot_be_written(tmp_path, frames):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        fit_gap(frames, tmp_path / "file" / "potential")


def test_folders_without_a_fit(tmp_path):
    with pytest.raises(InputError, match="no complete fit"):
        load_fit(tmp_path)
    (tmp_path / "fit.json").write_text("{}")
    with pytest.raises(InputError, match="no complete fit"):
        load_fit(tmp_path)


@needs_quippy
def test_files_that_are_no_potential(tmp_path):
    path = Path(tmp_path / "gap.xml")
    with pytest.raises(InputError, match="no potential"):
        GapCalculator(path)
    path.write_text("<a><b></a>")
    with pytest.raises(FitError, match="cannot be read"):
        GapCalculator(path)
    path.write_text("<a/>")
    with pytest.raises(InputError, match="no kernel"):
        GapCalculator(path)
    path.write_text('<a><gpCoordinates sparseX_filename="gap.xml.sparseX.1"/></a>')
    with pytest.raises(InputError, match=r"sparseX.1 is missing in its folder"):
        GapCalculator(path)


@needs_quippy
def test_sparse_points_must_exist(tmp_path, frames):
    with pytest.raises(InputError, match="no potential"):
        fit_gap(frames, tmp_path / "potential", GapSettings(), fixed_sparse_points=tmp_path / "missing.xml")
    (tmp_path / "empty.xml").write_text("<a/>")
    with pytest.raises(InputError, match="holds no kernels"):
        fit_gap(frames, tmp_path / "potential", fixed_sparse_points=tmp_path / "empty.xml")
