"""Whole calls as a person makes them, beside spglib and phonopy: structure in, answer out, symmetry search included.

Processor time, one thread, ours and theirs in turn in one run; the minimum of each side counts, because other work on
the machine can only add to it. Run by ``make bench``; writes the first section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spglib
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

import ndsc
from _page import DOCS, machine, seconds, single_threaded, write_section


@dataclass(frozen=True)
class Pair:
    """Two calls to compare.

    Attributes
    ----------
    ours, theirs : str
        As they are written.
    run_ours, run_theirs : callables that return processor seconds
    wanted : float or None
        Least ratio of their time to ours.
    """

    ours: str
    theirs: str
    run_ours: Callable[[], float]
    run_theirs: Callable[[], float]
    wanted: float | None = None


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        function()
        return time.process_time() - start

    return run


def command(*words: str) -> Callable[[], float]:
    """Processor seconds of a program and its children."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def bixbyite(*, primitive: bool) -> Atoms:
    """In2O3: 40 atoms in the primitive cell, 80 in the cubic one."""
    sites = [(0.25, 0.25, 0.25), (0.466, 0, 0.25), (0.390, 0.154, 0.382)]
    return crystal(["In", "In", "O"], sites, spacegroup=206, cellpar=[10.117] * 3 + [90] * 3, primitive_cell=primitive)


def pairs() -> list[Pair]:
    structures = {
        'bulk("Al")': bulk("Al"),
        'bulk("Mg")': bulk("Mg"),
        "In2O3 (40 atoms)": bixbyite(primitive=True),
        "In2O3 (80 atoms)": bixbyite(primitive=False),
    }
    cells = {
        name: (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers) for name, atoms in structures.items()
    }

    def against_mesh(call: str, name: str, n: int, wanted: float | None) -> Pair:
        function, atoms, cell = getattr(ndsc, call), structures[name], cells[name]
        return Pair(
            f"`{call}({name}, {n})`",
            f"`spglib.get_ir_reciprocal_mesh`, {n} x {n} x {n}",
            timed(lambda: function(atoms, n)),
            timed(lambda: spglib.get_ir_reciprocal_mesh([n] * 3, cell)),
            wanted,
        )

    def against_search(call: str, name: str, n: int) -> Pair:
        function, atoms, cell = getattr(ndsc, call), structures[name], cells[name]
        return Pair(
            f"`{call}({name}, {n})`",
            "`spglib.get_symmetry_dataset` alone",
            timed(lambda: function(atoms, n)),
            timed(lambda: spglib.get_symmetry_dataset(cell)),
        )

    python, scripts = sys.executable, Path(sys.executable).parent
    return [
        against_mesh("find_supercells", 'bulk("Al")', 96, 100),
        against_mesh("find_supercells", 'bulk("Mg")', 96, 40),
        against_mesh("irreducible_qpoints", 'bulk("Al")', 100, 30),
        against_mesh("irreducible_qpoints", 'bulk("Mg")', 100, 30),
        *(
            against_search(call, name, n)
            for name in ("In2O3 (40 atoms)", "In2O3 (80 atoms)")
            for call, n in (("find_supercells", 8), ("irreducible_qpoints", 24))
        ),
        Pair(
            "`import ndsc`",
            "`import phonopy`",
            command(python, "-c", "import ndsc"),
            command(python, "-c", "import phonopy"),
            1 / 1.3,
        ),
        Pair(
            "`ndsc --help`",
            "`phonopy --help`",
            command(str(scripts / "ndsc"), "--help"),
            command(str(scripts / "phonopy"), "--help"),
            1 / 1.3,
        ),
    ]


def measure(pair: Pair, repeats: int) -> tuple[float, float]:
    """Least processor seconds of both sides, in turn; the faster one is called several times each turn."""
    ours, theirs = pair.run_ours(), pair.run_theirs()
    times = max(1, min(30, int(theirs / max(ours, 1e-5))))
    for _ in range(repeats):
        ours = min(ours, *(pair.run_ours() for _ in range(times)), pair.run_ours())
        theirs = min(theirs, pair.run_theirs())
    return ours, theirs


def main() -> int:
    single_threaded()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page goes")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    lines = [
        "Written by `benches/whole_calls.py`. Structure in, answer out: both sides find the symmetry of the crystal in",
        "each call (`get_symmetry_dataset` does nothing else). The least processor time of several calls, one thread,",
        "ours and theirs in turn in one run.",
        "",
        machine("spglib", "phonopy", "ase", "numpy"),
        "",
        "| ndsc | time | peer | time | peer's time / ndsc's | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for pair in pairs():
        ours, theirs = measure(pair, options.repeats)
        wanted = "" if pair.wanted is None else f"{pair.wanted:.3g}"
        ratio = theirs / ours
        mark = "  <-- below what is wanted" if pair.wanted is not None and ratio < pair.wanted else ""
        print(
            f"{pair.ours:48s} {seconds(ours):>9s}  {pair.theirs:52s} {seconds(theirs):>9s} {ratio:8.3g}{mark}",
            flush=True,
        )
        lines.append(f"| {pair.ours} | {seconds(ours)} | {pair.theirs} | {seconds(theirs)} | {ratio:.3g} | {wanted} |")
    write_section(options.docs / "benchmarks.md", "Whole calls", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
