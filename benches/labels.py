"""What the label store and the driver cost: ``python benches/labels.py [--labels N] [--store N]``.

Prints the time of N labels of a calculator that takes 0.1 s, relative to the ideal on two workers, and the time to open
a store of many labels and find what is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from ndsc.reference import CalculatorSpec, LabelStore, label_configurations

SECONDS = 0.1


def structures(n: int) -> list[Atoms]:
    """n different four-atom structures."""
    rng = np.random.default_rng(0)
    frames = []
    for index in range(n):
        atoms = bulk("Al", cubic=True)
        atoms.positions += 0.05 * rng.standard_normal((4, 3))
        atoms.info["ndsc_name"] = f"c{index:06d}"
        frames.append(atoms)
    return frames


def overhead(n: int, folder: Path) -> None:
    """n labels of 0.1 s each on two workers."""
    sys.path.insert(0, str(Path(__file__).parent))
    spec = CalculatorSpec("_sleeping_calculator:sleeping", {"seconds": SECONDS})
    started = time.perf_counter()
    report = label_configurations(structures(n), spec, LabelStore(folder / "labels"), workers=2)
    seconds = time.perf_counter() - started
    assert len(report.labels) == n, report.failures
    ideal = n * SECONDS / 2
    print(f"{n} labels of {SECONDS * 1000:g} ms on 2 workers: {seconds:.2f} s, {seconds / ideal:.3f} times the ideal")


def opening(n: int, folder: Path) -> None:
    """A store of n labels, of which one in ten is missing."""
    frames = structures(n)
    spec = CalculatorSpec("emt")
    store = LabelStore(folder / "many")
    store.path.mkdir()
    for index, atoms in enumerate(frames):
        if index % 10:
            store.path_of(store.key_of(atoms, spec)).touch()
    started, cpu = time.perf_counter(), time.process_time()
    missing = LabelStore(store.path).missing(frames, spec)
    seconds = time.perf_counter() - started
    assert len(missing) == (n + 9) // 10
    cpu = time.process_time() - cpu
    print(
        f"{n} configurations, {len(missing)} labels missing: found in {seconds:.2f} s ({cpu:.2f} s of processor time)"
    )


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--store", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overhead(arguments.labels, Path(folder))
        opening(arguments.store, Path(folder))


if __name__ == "__main__":
    main()
