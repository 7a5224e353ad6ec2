"""How long every call that can take more than a second takes to answer Ctrl-C. Run by ``make bench``.

Each call runs in a process of its own with far more work than there is time for, gets the signal after some time, and
must end by KeyboardInterrupt. The latency is the time until then, the largest of a few tries; the calls are stopped at
different moments, so that all of their phases are met. A whole run with a potential, most of which passes in the
Fortran code of quippy and gap_fit, is stopped at ``--moments`` moments and must end with exit code 130 each time.
Prints a table and writes it to docs/interrupts.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
WANTED = 1.0
# s after the beginning of the call.
MOMENTS = (0.7, 1.6, 3.5)
CALLS = {
    "irreducible_qpoints, fcc, N = 2000": "ndsc.irreducible_qpoints(crystal, 2000)",
    "map_qpoints, fcc, N = 900": "[ndsc.map_qpoints(crystal, 900) for _ in range(9)]",
    "find_supercells, fcc, N = 9973": "ndsc.find_supercells(crystal, 9973)",
    "iterate_supercells, fcc, N = 99991": "[0 for _ in ndsc.iterate_supercells(crystal, 99991)]",
    "find_supercells, p = 1, fcc, N = 48": "ndsc.find_supercells(crystal, 48, 1.0)",
    "enumerate_supercells, fcc, size 18018": "ndsc.enumerate_supercells(crystal, 18018)",
    "hermite_normal_forms, size 2310": "[ndsc.hermite_normal_forms(2310) for _ in range(9)]",
    "reduce_supercells, 10 million": (
        "ndsc.sublattices.reduce_supercells(np.eye(3), np.tile([[[8, 5, 3], [0, 7, 4], [0, 0, 9]]], (10**7, 1, 1)))"
    ),
}
PROGRAM = (
    "import sys\nimport numpy as np\nimport ndsc\nfrom ase.build import bulk\n"
    "crystal = ndsc.Crystal.from_atoms(bulk('Al'))\nprint('ready', flush=True)\n"
    "try:\n    {}\nexcept KeyboardInterrupt:\n    print('stopped', flush=True)\n    sys.exit(7)\n"
)


def latency(call: str, moment: float) -> float | None:
    """Seconds from the signal to the end of the call; None when the call ended before."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM.format(call)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        answer = process.stdout.readline()
        seconds = time.monotonic() - sent
        process.communicate()
    return seconds if answer == "stopped\n" else None


RUN = """
[crystal]
structure = "Al"
[supercells]
grid = 2
[configurations]
per_supercell = 4
[reference]
calculator = "emt"
[fit]
n_max = 4
l_max = 3
n_sparse = 50
"""
#: Longest time from Ctrl-C to the end of a command, s.
LONGEST = 2.0


def started_run(folder: Path) -> subprocess.Popen[bytes]:
    """A run whose labels are there, so that a potential is fitted and evaluated again; it has just begun."""
    for entry in folder.glob("al/*"):
        if entry.name != "labels":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    command = [sys.executable, "-m", "ndsc", "run", "al.toml"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "al" / "ndsc.log").exists() and process.poll() is None:
        time.sleep(0.01)
    return process


def stopped_runs(moments: int) -> list[tuple[float, int, float]]:
    """Moment, exit code and latency of runs of the same input, each stopped at another of so many moments."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "al.toml").write_text(RUN)
        started_run(folder).wait()
        process = started_run(folder)
        started = time.monotonic()
        process.wait()
        whole = time.monotonic() - started
        rows = []
        for number in range(moments):
            moment = 0.9 * whole * number / max(moments - 1, 1)
            process = started_run(folder)
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            sent = time.monotonic()
            code = process.wait(timeout=60)
            rows.append((moment, code, time.monotonic() - sent))
            if not list((folder / "al" / "labels").glob("*.json")):
                raise RuntimeError("labels were lost")
    return rows


def priority() -> str:
    """How the calls were scheduled."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        return "ahead of other programs (chrt)"
    return "at the priority of other programs"


def report(rows: dict[str, list[float]], runs: list[tuple[float, int, float]]) -> str:
    """The page of the documentation."""
    lines = [
        "# Ctrl-C",
        "",
        "Written by `make bench` (`benches/interrupts.py`): the time from the signal to `KeyboardInterrupt` in calls",
        "that take more than a second, the largest of those stopped after "
        + ", ".join(f"{x:g}" for x in MOMENTS)
        + " s.",
        f"Wanted: {WANTED:g} s. Labelling, fitting and studies are stopped as [faults](faults.md) describes.",
        "",
        f"Machine: {os.cpu_count()} processors, {priority()}; load of all programs {os.getloadavg()[0]:.1f}.",
        "",
        "| call | tries | latency |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {len(seconds)} | {max(seconds):.2f} s |" for name, seconds in rows.items()]
    lines += [
        "",
        f"A run of aluminium with EMT and a GAP (`ndsc run`), stopped at {len(runs)} moments between",
        f"{runs[0][0]:.1f} and {runs[-1][0]:.1f} s: {sum(code == 130 for _, code, _ in runs)} ended with 130,",
        f"the slowest {max(seconds for *_, seconds in runs):.2f} s after the signal.",
    ]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page goes")
    parser.add_argument("--moments", type=int, default=24, help="how often a whole run is stopped")
    options = parser.parse_args()
    runs = stopped_runs(options.moments)
    for moment, code, seconds in runs:
        mark = "" if code == 130 and seconds <= LONGEST else "  <-- not what is wanted"
        print(f"ndsc run, stopped after {moment:5.1f} s: exit code {code}, {seconds:.2f} s later{mark}", flush=True)
    if any(code != 130 for _, code, _ in runs):
        return 1
    rows: dict[str, list[float]] = {}
    for name, call in CALLS.items():
        tries = [latency(call, moment) for moment in MOMENTS]
        rows[name] = [seconds for seconds in tries if seconds is not None]
        if not rows[name]:
            print(f"{name}: ended before it was stopped", file=sys.stderr)
            return 1
        mark = "" if max(rows[name]) <= WANTED else "  <-- above what is wanted"
        print(f"{name:42s} {len(rows[name])} tries, at most {max(rows[name]):.2f} s{mark}", flush=True)
    options.docs.mkdir(parents=True, exist_ok=True)
    (options.docs / "interrupts.md").write_text(report(rows, runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
