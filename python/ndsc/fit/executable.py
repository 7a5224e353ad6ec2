"""Finding and running the program gap_fit, and reading its log."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ndsc.errors import FitError, MissingExtraError
from ndsc.interrupts import die_with_parent, held_interrupts
from ndsc.progress import Progress, silent

#: Environment variable with the path of another gap_fit, for example one that was compiled with MPI.
EXECUTABLE_VARIABLE = "NDSC_GAP_FIT"
#: Seconds between two looks at the log.
POLL_SECONDS = 0.1

_COUNTS = {
    "energies": r"Number of target energies \(property name: [^)]*\) found:\s*(\d+)",
    "force_components": r"Number of target forces \(property name: [^)]*\) found:\s*(\d+)",
    "virial_components": r"Number of target virials \(property name: [^)]*\) found:\s*(\d+)",
    "energy_sigmas": r"per-configuration setting of energy_sigma found:\s*(\d+)",
    "force_component_sigmas": r"per-component setting of force_component_sigma found:\s*(\d+)",
    "virial_component_sigmas": r"per-component setting of virial_component_sigma found:\s*(\d+)",
}


@dataclass(frozen=True)
class Run:
    """How gap_fit ended: its exit code (negative: the signal that killed it) and everything it wrote."""

    code: int
    log: str


def require_quippy() -> Path:
    """The folder of the package quippy.

    Raises
    ------
    MissingExtraError
        When it is not installed.
    """
    spec = importlib.util.find_spec("quippy")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "Fitting and running a GAP needs the package quippy-ase, which is not installed. Install it with "
            "pip install 'ndsc[gap]' (its licence is non-commercial, and there is no wheel for Linux on ARM)."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def find_gap_fit() -> Path:
    """The gap_fit executable: the one named in the environment variable NDSC_GAP_FIT, or quippy's own.

    quippy's ``bin/gap_fit`` is a Python script that would survive as a parent when the fit is interrupted, so the
    program that it calls is used directly.

    Raises
    ------
    MissingExtraError
        When neither exists.
    """
    named = os.environ.get(EXECUTABLE_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise MissingExtraError(
                f"{EXECUTABLE_VARIABLE} names {named}, which is not an executable program. Correct it, or unset it to "
                "use the gap_fit of quippy-ase (pip install 'ndsc[gap]')."
            )
        return Path(found)
    inside = require_quippy() / "gap_fit"
    if inside.is_file() and os.access(inside, os.X_OK):
        return inside
    on_path = shutil.which("gap_fit")
    if on_path is None:
        raise MissingExtraError(
            f"quippy is installed but brings no gap_fit (looked for {inside} and on PATH). Install the wheel with "
            f"pip install 'ndsc[gap]', or name a gap_fit in the environment variable {EXECUTABLE_VARIABLE}."
        )
    return Path(on_path)


def run_gap_fit(
    arguments: Sequence[str], directory: Path, log_name: str, *, threads: int = 1, progress: Progress = silent
) -> Run:
    """Run gap_fit in `directory` and wait for it; it is killed when the wait is interrupted.

    Parameters
    ----------
    arguments : sequence of str
        ``key=value``.
    directory : path
        Working folder. gap_fit cuts long file names, so `arguments` should name files in it without a path.
    log_name : str
        File in `directory` for everything gap_fit writes.
    threads : int
        Threads of its linear algebra.
    progress : callable

    Raises
    ------
    MissingExtraError
        When there is no gap_fit.
    FitError
        When it cannot be started.
    """
    command = [str(find_gap_fit()), *arguments]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    log_path = directory / log_name
    with log_path.open("wb") as log:
        process = None
        try:
            with held_interrupts():
                process = _start(command, directory, environment, log)
            code = _wait(process, log_path, progress)
        finally:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
    return Run(code, readable_log(log_path))


def readable_log(path: Path) -> str:
    """The log with the blanks removed that Fortran fills its error messages up with (32 kB a message)."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(re.sub(r" {9,}", " ", line).rstrip() for line in text.replace("\r", "\n").splitlines())


def parse_counts(log: str) -> dict[str, int]:
    """How many targets and sigmas gap_fit says it read.

    Returns
    -------
    dict
        ``energies``, ``force_components`` (3 an atom), ``virial_components`` (6 a configuration), and ``*_sigmas`` of
        each (9 a configuration for virials); without those that the log does not mention.
    """
    found = {name: re.search(pattern, log) for name, pattern in _COUNTS.items()}
    return {name: int(match.group(1)) for name, match in found.items() if match}


def failure_reason(run: Run) -> str:
    """What gap_fit gives as the reason of its failure, in one line."""
    lines = [line.strip() for line in run.log.splitlines() if line.strip()]
    aborts = [number for number, line in enumerate(lines) if "SYSTEM ABORT" in line or "ERROR" in line.upper()]
    if aborts:
        # Its own words end where the Fortran runtime's, or the log of the run, begin.
        message = lines[aborts[0] : aborts[0] + 6]
        ends = [i for i, line in enumerate(message) if i and line.startswith(("STOP", "libAtoms::", "===="))]
        return " ".join(message[: ends[0]] if ends else message)
    if run.code < 0:
        return f"it was killed by signal {-run.code}, perhaps because memory ran out"
    return lines[-1] if lines else "it wrote nothing"


def _start(
    command: list[str], directory: Path, environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )  # fmt: skip
    except OSError as error:
        raise FitError(f"{command[0]} cannot be started ({error.strerror}). Install quippy-ase again.") from error


def _wait(process: subprocess.Popen[bytes], log_path: Path, progress: Progress) -> int:
    while True:
        try:
            return process.wait(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            percent = _percent_done(log_path)
            if percent is not None:
                progress("fitting the potential", percent, 100)


def _percent_done(log_path: Path) -> int | None:
    """How much of the covariance matrix, where the time goes, is done."""
    with log_path.open("rb") as log:
        log.seek(max(0, log_path.stat().st_size - 400))
        tail = log.read().decode("utf-8", errors="replace")
    found = re.findall(r"Covariance matrix\s+(\d+)%", tail)
    return int(found[-1]) if found else None
