"""Draw docs/picture.png, the picture of README: where the q-points are, and what chosen labels give.

It takes 20 s of processor time.

    python scripts/picture.py

Aluminium with EMT as the reference, as in docs/notebooks/selection.md, whose cells this follows.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

import ndsc
from ndsc.fit import GapSettings, choose_sparse_points
from ndsc.report import zone_figure
from ndsc.selection import ElasticTarget, GapModel, PhononTarget, Selector, make_candidates

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "picture.png"
#: Labels that are chosen, and those whose dispersion is drawn.
LABELS, DRAWN = 12, 3


def label(atoms: Atoms) -> Atoms:
    """Energy, forces and virial by the reference."""
    labelled = atoms.copy()
    atoms = atoms.copy()
    atoms.calc = EMT()
    labelled.info["REF_energy"] = atoms.get_potential_energy()
    labelled.info["REF_virial"] = (-atoms.get_volume() * atoms.get_stress(voigt=False)).ravel()
    labelled.arrays["REF_forces"] = atoms.get_forces()
    return labelled


def main() -> None:
    """Choose labels, compare with the truth, and draw."""
    crystal = ndsc.relax_crystal(bulk("Al"), EMT())
    supercells = ndsc.find_supercells(crystal, 4)
    candidates = make_candidates(supercells, 200)
    with TemporaryDirectory() as folder:
        settings = GapSettings(cutoff=5.5, n_max=6, l_max=5, n_sparse=150)
        model = GapModel(choose_sparse_points(candidates, Path(folder) / "sparse-points", settings))
    targets = [PhononTarget(crystal, supercells, 0.05), ElasticTarget(crystal, 3)]
    selector = Selector(model, candidates, targets, unit="labels")
    reference = ndsc.phonons_from_supercells(crystal, 4, EMT()).phonopy
    grid = ndsc.irreducible_qpoints(crystal, 4)
    truth = np.sort(reference.run_qpoints(grid.qpoints).frequencies)
    labelled: list[Atoms] = []
    predicted, true = [], []
    for _ in range(LABELS):
        number = selector.choose(1).order[0]
        labelled.append(label(candidates[number]))
        selector.add(labelled[-1:], candidates=[number])
        predicted.append(selector.predict().rmse_thz)
        found = ndsc.predicted_phonons(labelled, model, targets[0], grid.qpoints)
        squares = np.mean((found.frequencies - truth) ** 2, axis=1)
        true.append(np.sqrt(np.average(squares, weights=grid.weights)))

    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(12, 3.6), width_ratios=(1, 1, 1.25), layout="constrained"
    )
    zone = zone_figure(supercells)
    zone.set_dpi(160)
    zone.canvas.draw()
    drawn = np.asarray(zone.canvas.buffer_rgba())
    left.imshow(drawn[:, : int(0.63 * drawn.shape[1])], interpolation="antialiased")
    left.set_axis_off()
    left.set_title("64 q-points in 5 supercells of 4 atoms", fontsize=11)

    counts = np.arange(1, LABELS + 1)
    middle.semilogy(counts, predicted, "o--", markersize=4, label="predicted")
    middle.semilogy(counts, true, "o-", markersize=4, label="true")
    middle.set(xlabel="labels", ylabel="RMSE of the phonons (THz)", xticks=counts[1::2])
    middle.set_yticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
    middle.minorticks_off()
    middle.set_title("error as labels are added", fontsize=11)
    middle.legend()

    path = ndsc.band_path(crystal)
    found = ndsc.predicted_phonons(labelled[:DRAWN], model, targets[0], path.qpoints)
    lower, upper = found.band(0.95)
    exact = np.sort(reference.run_qpoints(path.qpoints).frequencies)
    for first, last in path.segments:
        part = slice(first, last + 1)
        for low, high in zip(lower[part].T, upper[part].T, strict=True):
            right.fill_between(path.distances[part], low, high, color="tab:blue", alpha=0.3, linewidth=0)
        right.plot(path.distances[part], found.frequencies[part], color="tab:blue", linewidth=1)
        right.plot(path.distances[part], exact[part], color="black", linewidth=0.8, linestyle="--")
    ticks = dict(zip(path.ticks, path.labels, strict=True))
    right.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
    right.grid(axis="x")
    right.set(xlim=(0, path.distances[-1]), ylim=(0, None), ylabel="frequency (THz)")
    right.set_title(f"{DRAWN} labels: 95 % band, reference dashed", fontsize=11)
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
