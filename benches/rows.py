"""Rows of configurations for the sparse points of a GAP: seconds of processor for each.

Beside them the same with quippy's derivatives of the descriptors, and the plain way, in which those of every pair of
atoms are multiplied with the sparse points. Needs the extra ``gap``.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from _page import single_threaded
from ndsc import find_supercells, make_configurations
from ndsc.fit import GapSettings, KernelRows
from ndsc.fit.calculator import bare_structure
from ndsc.fit.kernels import descriptor_of, ready, rows_of
from ndsc.fit.training import kernel_descriptions

RUTILE = crystal("TiO", [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])
#: Crystal, grid, sparse points of a species.
CASES = (("Al", bulk("Al"), 4, 300), ("rutile", RUTILE, 2, 300), ("rutile", RUTILE, 4, 300), ("rutile", RUTILE, 4, 700))


def write_gap(folder: Path, frames: Sequence[Atoms], n_points: int) -> Path:
    """A GAP whose sparse points are some of the environments in `frames`."""
    text = ""
    random = np.random.default_rng(1)
    species = sorted(set(frames[0].get_chemical_symbols()))
    words = kernel_descriptions(species, GapSettings(n_sparse=n_points)).strip("{}").replace("{{", "{")
    for number, kernel in enumerate(words.replace("}}", "}").split(" : ")):
        kernel += "}" * (kernel.count("{") - kernel.count("}"))
        found = [descriptor_of(kernel).calc(bare_structure(frame, 6.0))["data"] for frame in frames]
        points = random.permutation(np.vstack(found))[:n_points]
        np.savetxt(folder / f"points{number}", points.ravel(), fmt="%.17e")
        text += f'<gpCoordinates dimensions="{points.shape[1]}" sparseX_filename="points{number}"><descriptor>{kernel}'
        text += "</descriptor>" + '<sparseX alpha="0" sparseCutoff="1.0"/>' * len(points) + "</gpCoordinates>"
    (folder / "gap.xml").write_text(f"<GAP>{text}</GAP>")
    return folder / "gap.xml"


def plain(frame: Atoms, kernels: Sequence[Any]) -> None:
    """The products for every pair."""
    for kernel in kernels:
        found = kernel.descriptor.calc(frame, grad=True)
        slope = kernel.zeta * (found["data"] @ kernel.points.T) ** (kernel.zeta - 1)
        atoms, neighbours = np.asarray(found["grad_index_0based"]).T
        centres = np.searchsorted(np.ravel(found["ci"]) - 1, atoms)
        derivative = (found["grad_data"] @ kernel.points.T) * slope[centres][:, None, :]
        np.add.at(np.zeros((len(frame), 3, len(kernel.points))), neighbours, -derivative)
        np.tensordot(found["pos"], derivative, axes=(0, 0))


def best_seconds(call: Callable[[Atoms], object], frames: Sequence[Atoms]) -> float:
    """Seconds of processor for one frame, the best of three rounds."""
    rounds = []
    for _ in range(3):
        begin = time.process_time()
        for frame in frames:
            call(frame)
        rounds.append((time.process_time() - begin) / len(frames))
    return min(rounds)


def main() -> None:
    """Print a line for each case."""
    if importlib.util.find_spec("quippy") is None:
        print("quippy is not installed, so there are no rows to compute.")
        return
    single_threaded()
    print("case, sparse points, atoms: rows, with quippy's derivatives, the plain way (processor seconds of each)")
    for name, unit_cell, grid, n_points in CASES:
        pool = make_configurations(find_supercells(unit_cell, grid), per_supercell=24, displacement=0.03, seed=1)
        size = max(map(len, pool))
        with tempfile.TemporaryDirectory() as folder:
            source = KernelRows(write_gap(Path(folder), pool[:: max(1, len(pool) // 150)], n_points))
        kernels = source._kernels
        frames = [bare_structure(frame, source.cutoff) for frame in pool if len(frame) == size][::24][:4]
        ours = best_seconds(partial(rows_of, kernels=ready(kernels)), frames)
        quippy = best_seconds(partial(rows_of, kernels=kernels), frames)
        theirs = best_seconds(partial(plain, kernels=kernels), frames)
        print(f"{name}, {source.n_points}, {size}: {ours:.4f}, {quippy:.4f}, {theirs:.4f}")


if __name__ == "__main__":
    main()
