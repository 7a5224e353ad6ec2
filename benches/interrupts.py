"""How long every call that can take more than a second takes to answer Ctrl-C. Run by ``make bench``.

Each call runs in a process of its own with far more work than there is time for, gets the signal after some time, and
must end by KeyboardInterrupt. The latency is the time until then, the largest of a few tries; the calls are stopped at
different moments, so that all of their phases are met. Prints a table and writes it to docs/interrupts.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
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
    "find_supercells, p = 1, fcc, N = 128": "ndsc.find_supercells(crystal, 128, 1.0)",
    "find_supercells, p = 1, fcc, N = 360": "ndsc.find_supercells(crystal, 360, 1.0)",
    "find_supercells, p = 1, fcc, N = 1000": "ndsc.find_supercells(crystal, 1000, 1.0)",
    "enumerate_supercells, fcc, size 18018": "ndsc.enumerate_supercells(crystal, 18018)",
    "hermite_normal_forms, size 2310": "[ndsc.hermite_normal_forms(2310) for _ in range(9)]",
    "reduce_supercells, 10 million": (
        "ndsc.reduce_supercells(np.eye(3), np.tile([[[8, 5, 3], [0, 7, 4], [0, 0, 9]]], (10**7, 1, 1)))"
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


def priority() -> str:
    """How the calls were scheduled."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        return "ahead of other programs (chrt)"
    return "at the priority of other programs"


def report(rows: dict[str, list[float]]) -> str:
    """The page of the documentation."""
    lines = [
        "# Ctrl-C",
        "",
        "Written by `make bench` (`benches/interrupts.py`): the time from the signal to `KeyboardInterrupt` in calls",
        "that take more than a second, the largest of those stopped after "
        + ", ".join(f"{x:g}" for x in MOMENTS)
        + " s.",
        f"Wanted: {WANTED:g} s. Labelling, fitting and studies are stopped as the page on [faults](faults.md) tells.",
        "",
        f"Machine: {os.cpu_count()} processors, {priority()}; load of all programs {os.getloadavg()[0]:.1f}.",
        "",
        "| call | tries | latency |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {len(seconds)} | {max(seconds):.2f} s |" for name, seconds in rows.items()]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page goes")
    options = parser.parse_args()
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
    (options.docs / "interrupts.md").write_text(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
