"""The compiled core beside its peers: icet, libcasm-xtal, phonors (phonopy's), spglib, moyopy and ASE.

First all sides must give the same counts; then each task is timed, ours and theirs in turn, on one thread. Times are
processor seconds of the process, so that a busy machine does not decide; the median counts. Symmetry is given to both
sides wherever the peer takes it. Run by ``make bench``; writes docs/benchmarks.md and docs/benchmarks.png.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import libcasm.xtal
import moyopy
import numpy as np
import phonors
import spglib
from ase.build import bulk
from ase.geometry import minkowski_reduce as ase_minkowski_reduce
from icet.tools.structure_enumeration_support.normal_form_matrices import yield_hermite_normal_forms
from matplotlib.figure import Figure

import ndsc
from _page import DOCS, machine, seconds, single_threaded, write_section

PEERS = ("icet", "libcasm-xtal", "phonors", "spglib", "moyopy", "ase")
CRYSTALS = {name: ndsc.Crystal.from_atoms(bulk(element)) for name, element in (("fcc", "Al"), ("hcp", "Mg"))}
BATCH, CELLS = 10_000, 48


@dataclass(frozen=True)
class Task:
    """Something that both sides do.

    Attributes
    ----------
    name, peer : str
    ours, theirs : callables without arguments
    check : callable
        (our result, their result) -> whether they agree.
    required : float
        The ratio that must be reached.
    share : float
        What part of our work the peer was given, so that a slow peer need not do all of it.
    repeats : int
    """

    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    check: Callable[[Any, Any], bool]
    required: float
    share: float = 1.0
    repeats: int = 5


@dataclass(frozen=True)
class Row:
    """A timed task: medians in seconds."""

    task: Task
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


def same_number(ours: Any, theirs: Any) -> bool:
    return len(ours) == len(theirs)


def time_once(function: Callable[[], Any], calls: int = 1) -> float:
    """Processor seconds of one call; no result is kept."""
    start = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - start) / calls


def measure(task: Task) -> Row:
    """Medians of both sides, in turn; a fast side is called in a loop, for the clock has steps."""
    calls = max(1, int(0.02 / max(time_once(task.ours), 1e-6)))
    ours, theirs = [], []
    for _ in range(task.repeats):
        ours.append(time_once(task.ours, calls))
        theirs.append(time_once(task.theirs) / task.share)
    return Row(task, statistics.median(ours), statistics.median(theirs))


def normal_form_tasks() -> Iterator[Task]:
    yield Task(
        "all Hermite normal forms, determinant 64",
        "icet",
        lambda: ndsc.hermite_normal_forms(64),
        lambda: list(yield_hermite_normal_forms(64, [True, True, True])),
        same_number,
        200,
    )
    fcc = CRYSTALS["fcc"]
    lattice = libcasm.xtal.Lattice(fcc.atoms.cell.array.T)
    group = libcasm.xtal.make_point_group(lattice)
    for size in (64, 128):
        yield Task(
            f"symmetry-distinct supercells, fcc, size {size}",
            "libcasm-xtal",
            lambda size=size: ndsc.enumerate_supercells(fcc, size),
            lambda size=size: libcasm.xtal.enumerate_superlattices(lattice, group, max_volume=size, min_volume=size),
            same_number,
            300,
            repeats=3,
        )


def spglib_mesh(crystal: ndsc.Crystal, n: int) -> Any:
    rotations = crystal.point_group.astype("intc")
    return spglib.get_stabilized_reciprocal_mesh([n] * 3, rotations, is_shift=[0, 0, 0], is_time_reversal=True)


def phonors_map(crystal: ndsc.Crystal, n: int) -> Any:
    both = np.concatenate([crystal.reciprocal_rotations, -crystal.reciprocal_rotations])
    rotations = np.ascontiguousarray(np.unique(both, axis=0))
    return phonors.ir_grid_map(rotations, np.array([n] * 3), np.zeros(3, dtype=np.int64))


def qpoint_tasks(sizes: tuple[int, ...]) -> Iterator[Task]:
    for name, crystal in CRYSTALS.items():
        for n in sizes:
            yield Task(
                f"irreducible q-points with map, {name}, N = {n}",
                "phonors",
                lambda crystal=crystal, n=n: ndsc.map_qpoints(crystal, n),
                lambda crystal=crystal, n=n: phonors_map(crystal, n),
                lambda ours, theirs: len(ours.weights) == theirs[1],
                10,
                repeats=7,
            )
            yield Task(
                f"irreducible q-points with map, {name}, N = {n}",
                "spglib",
                lambda crystal=crystal, n=n: ndsc.map_qpoints(crystal, n),
                lambda crystal=crystal, n=n: spglib_mesh(crystal, n),
                lambda ours, theirs: len(ours.weights) == len(np.unique(theirs[0])),
                30,
                repeats=7,
            )


def reduction_tasks() -> Iterator[Task]:
    cell = CRYSTALS["fcc"].atoms.cell.array
    forms = ndsc.hermite_normal_forms(CELLS)
    batch = forms[np.random.default_rng(0).integers(0, len(forms), BATCH)]
    cells = batch @ cell
    lists = cells.tolist()
    few = BATCH // 50

    def equally_long(ours: Any, theirs: Any) -> bool:
        ours_long = np.sort(np.linalg.norm(ours[: len(theirs)] @ cell, axis=2), axis=1)
        theirs_long = np.sort(np.linalg.norm(np.array([basis for basis, _ in theirs]), axis=2), axis=1)
        return np.allclose(ours_long, theirs_long)

    name = f"Minkowski reduction of {BATCH} supercells of {CELLS} cells"
    ours = lambda: ndsc.sublattices.reduce_supercells(cell, batch)  # noqa: E731 : one side of a table
    yield Task(name, "moyopy", ours, lambda: [moyopy.minkowski_reduce(c) for c in lists], equally_long, 15)
    yield Task(
        name, "ase", ours, lambda: [ase_minkowski_reduce(c) for c in cells[:few]], equally_long, 1000, few / BATCH, 3
    )


def cover_tasks() -> Iterator[Task]:
    fcc = CRYSTALS["fcc"]
    published = {96: 1099, 200: 3851}
    for n, count in published.items():
        yield Task(
            f"minimal set, fcc, N = {n}, against the irreducible mesh",
            "spglib",
            lambda n=n: ndsc.find_supercells(fcc, n),
            lambda n=n: spglib_mesh(fcc, n),
            lambda ours, _, count=count: len(ours) == count,
            100,
            repeats=3,
        )


def densest() -> tuple[float, float, int]:
    """Seconds and GB (of the whole process) of the minimal set of fcc 1000 x 1000 x 1000, and its number."""
    start = time.process_time()
    count = len(ndsc.find_supercells(CRYSTALS["fcc"], 1000))
    seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, count


def draw(path: Path, sizes: tuple[int, ...]) -> None:
    """Time against N, log-log: irreducible q-points of three programs, and the minimal sets."""
    fcc = CRYSTALS["fcc"]
    lines: dict[str, tuple[Callable[[int], Any], tuple[int, ...]]] = {
        "spglib, irreducible q-points": (lambda n: spglib_mesh(fcc, n), sizes),
        "phonors, irreducible q-points": (lambda n: phonors_map(fcc, n), sizes),
        "ndsc, irreducible q-points and map": (lambda n: ndsc.map_qpoints(fcc, n), sizes),
        "ndsc, minimal set of supercells": (lambda n: ndsc.find_supercells(fcc, n), (*sizes, 400, 700, 1000)),
    }
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for (label, (function, grids)), style in zip(lines.items(), ("s--", "^--", "o-", "D-"), strict=True):
        times = [statistics.median(time_once(partial(function, n)) for _ in range(3)) for n in grids]
        axes.loglog(grids, np.maximum(times, 1e-5), style, label=label, markersize=4)
    axes.set_xlabel("N of the N × N × N grid (fcc)")
    axes.set_ylabel("processor seconds, one thread")
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def report(rows: list[Row], dense: tuple[float, float, int]) -> list[str]:
    """A section of the page."""
    lines = [
        "Written by `benches/peers.py`, which first checks that all sides give the same counts. Medians of processor",
        "time, through Python, one thread, ours and theirs in turn in one run. Neither side searches the symmetry of",
        "the crystal: ndsc is given a `Crystal`, the peer the same operations where it takes them (libcasm-xtal makes",
        "the point group of the lattice first). `cargo bench` has the naive and the fast version of each on the",
        "Rust side.",
        "",
        machine(*PEERS, "numpy"),
        "",
        "| task | peer | peer's time | ndsc's time | ratio | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        task = row.task
        lines.append(
            f"| {task.name} | {task.peer} | {seconds(row.theirs)} | {seconds(row.ours)} | {row.ratio:.0f} "
            f"| {task.required:.0f} |"
        )
    time_taken, gigabytes, count = dense
    return [
        *lines,
        "",
        f"Minimal set, fcc, N = 1000: {count} supercells in {time_taken:.2f} s; the process held {gigabytes:.2f} GB",
        "at the most, its libraries included (wanted: 2 s, 2 GB).",
        "",
        "![Processor time against N, for fcc](benchmarks.png)",
    ]


def main() -> int:
    single_threaded()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page and the picture go")
    parser.add_argument("--quick", action="store_true", help="small grids, to see that everything runs")
    options = parser.parse_args()
    dense = densest()  # first: the largest memory of the process so far is then its own
    grids = (48,) if options.quick else (48, 100, 200)
    tasks = [*normal_form_tasks(), *qpoint_tasks(grids), *reduction_tasks(), *cover_tasks()]
    for task in tasks:
        if not task.check(task.ours(), task.theirs()):
            print(f"{task.name}: ndsc and {task.peer} do not agree", file=sys.stderr)
            return 1
    print(f"all counts agree; minimal set of fcc N = 1000: {dense[2]} in {dense[0]:.2f} s, {dense[1]:.2f} GB")
    rows = []
    for task in tasks:
        row = measure(task)
        rows.append(row)
        mark = "" if row.ratio >= task.required else "  <-- below what is wanted"
        print(
            f"{task.name:60s} {task.peer:13s} {seconds(row.theirs):>9s} {seconds(row.ours):>9s} {row.ratio:8.0f}{mark}"
        )
    options.docs.mkdir(parents=True, exist_ok=True)
    draw(options.docs / "benchmarks.png", (12, 24, 48, 96) if options.quick else (12, 24, 48, 96, 144, 200))
    write_section(options.docs / "benchmarks.md", "With the symmetry given", report(rows, dense))
    return 0


if __name__ == "__main__":
    sys.exit(main())
