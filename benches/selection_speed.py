"""How long a choice of 24 labels from 2,000 candidates takes, after the rows of the candidates.

``python benches/selection_speed.py [--folder DIR]``: fcc aluminium on a 4x4x4 grid with 300 weights, and rutile on a
2x2x2 grid with 600. Rows are those of a GAP whose sparse points come from the candidates; ``--folder`` keeps them.
Needs the extra ``gap``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from ndsc import find_supercells
from ndsc.fit import GapSettings, choose_sparse_points
from ndsc.selection import ElasticTarget, GapModel, PhononTarget, Selector, make_candidates

RUTILE = crystal("TiO", [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])
CASES = (("Al", bulk("Al", a=4.0), 4), ("rutile", RUTILE, 2))
CANDIDATES, PICKS = 2000, 24


class Prepared:
    """A model that has the rows of all candidates in memory."""

    def __init__(self, model: GapModel, frames: Sequence[Atoms]) -> None:
        self.model, self.n_weights = model, model.n_weights
        self._rows = {id(frame): rows for frame, rows in zip(frames, model.rows(frames), strict=True)}

    def rows(self, frames: Sequence[Atoms], **more: Any) -> list[np.ndarray]:
        """Rows of candidates, or of targets, which are computed."""
        if all(id(frame) in self._rows for frame in frames):
            return [self._rows[id(frame)] for frame in frames]
        return self.model.rows(frames, **more)


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep sparse points and rows here")
    options = parser.parse_args()
    if importlib.util.find_spec("quippy") is None:
        print("quippy is not installed, so there are no rows to compute.")
        return
    with tempfile.TemporaryDirectory() as temporary:
        for name, atoms, grid in CASES:
            folder = (options.folder or Path(temporary)) / name
            supercells = find_supercells(atoms, grid)
            candidates = make_candidates(supercells, CANDIDATES)
            potential = choose_sparse_points(candidates, folder / "sparse-points", GapSettings(n_sparse=300))
            model = GapModel(potential, store=folder / "rows", workers=len(os.sched_getaffinity(0)))
            begin = time.perf_counter()
            prepared = Prepared(model, candidates)
            rows = time.perf_counter() - begin
            targets = [PhononTarget(atoms, supercells), ElasticTarget(atoms)]
            selector = Selector(prepared, candidates, targets, unit="labels")
            selector.predict()  # the rows of the targets
            wall, processor = time.perf_counter(), time.process_time()
            found = selector.choose(PICKS, exchange=True)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            left = np.sqrt(found.remaining.sum(axis=1))
            print(
                f"{name}: {len(candidates)} candidates, {model.n_weights} weights; rows {rows:.0f} s, {PICKS} picks "
                f"{wall:.1f} s ({processor:.1f} s of processors); error {left[0]:.3g}, after 6 {left[6]:.3g}, after "
                f"{PICKS} {left[-1]:.3g} in units of the goals",
                flush=True,
            )


if __name__ == "__main__":
    main()
