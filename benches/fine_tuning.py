"""How many labels repair the phonons of a pretrained potential: CHGNet, fine-tuned on labels of silicon.

Labels, and the phonons that are the truth, are those of data/si (PBE, GPAW). The labels are chosen without having been
seen, by what they tell about phonons and elastic constants (ndsc.selection, with the kernels of a GAP), or drawn at
random. Every fine-tuning has the same recipe and as many steps. Needs chgnet, torch and quippy-ase; what is finished is
kept in the folder, so that a second call goes on.

    python benches/fine_tuning.py FOLDER [--seeds 2] [--steps 200]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from chgnet.model import CHGNet, CHGNetCalculator
from pymatgen.io.ase import AseAtomsAdaptor

from _page import machine, single_threaded
from ndsc import find_supercells, select_configurations
from ndsc.database import make_database
from ndsc.fit import GapSettings, choose_sparse_points
from ndsc.force_constants import SupercellPhonons, phonons_from_labels, phonons_from_supercells
from ndsc.reference import LabelStore
from ndsc.reference.inventory import usable
from ndsc.selection import ElasticTarget, GapModel, PhononTarget

LABELS = Path(__file__).parent.parent / "data" / "si" / "labels"
GRID = 4
SIZES = (6, 12, 24)
MESH = (20, 20, 20)
#: Displacement of the model's phonons, Å: CHGNet works in single precision, and is not smooth at smaller ones.
DISPLACEMENT = 0.02
#: Labels of one step, and the expected errors that weigh energies (eV/atom), forces (eV/Å) and stresses (GPa).
BATCH = 6
SCALES = {"e": 0.002, "f": 0.02, "s": 0.2}
LEARNING_RATE = 1e-3


def shipped() -> tuple[list[Atoms], SupercellPhonons]:
    """The database of silicon with its targets, and the phonons of the reference."""
    found = {str(label.provenance["name"]): label for label in usable(LabelStore(LABELS))}
    structures: dict[str, list[Atoms]] = {"database": [], "phonon": []}
    for name in sorted(found):
        kind = "phonon" if name.startswith("phonon-") else "database"
        if kind == "phonon" or name.split("-")[0] in ("unit_cells", "displaced_unit_cells", "medium", "large"):
            atoms = found[name].atoms
            atoms.info["ndsc_name"] = name
            structures[kind].append(atoms)
    perfect = structures["phonon"][0]
    matrix = np.reshape(perfect.info["ndsc_matrix"], (3, 3))
    unit_cell = bulk("Si", a=2 * abs(np.linalg.solve(matrix, perfect.cell.array)[0, 1]))
    forces = {name: found[name].forces for name in found if name.startswith("phonon-")}
    phonons = phonons_from_labels(find_supercells(unit_cell, GRID), structures["phonon"], forces)
    return make_database(structures["database"], found), phonons


def choice(database: list[Atoms], unit_cell: Atoms, folder: Path) -> list[int]:
    """The order in which labels are chosen, without looking at one."""
    kept = folder / "chosen.json"
    if not kept.is_file():
        settings = GapSettings(cutoff=6.0, n_max=8, l_max=6, n_sparse=300)
        model = GapModel(choose_sparse_points(database, folder / "sparse-points", settings))
        targets = [PhononTarget(unit_cell, find_supercells(unit_cell, GRID), 0.05), ElasticTarget(unit_cell, 1.2)]
        found = select_configurations(database, model, targets, n=max(SIZES), cost="labels")
        kept.write_text(json.dumps([int(number) for number in found.order]))
    order: list[int] = json.loads(kept.read_text())
    return order


def fine_tuned(frames: list[Atoms], steps: int, seed: int) -> Any:
    """CHGNet after a number of steps on some labels."""
    torch.manual_seed(seed)
    model = CHGNet.load(use_device="cpu", verbose=False)
    graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(plain(frame))) for frame in frames]
    targets = {
        "e": np.array([frame.info["REF_energy"] / len(frame) for frame in frames]),
        "f": [torch.tensor(frame.arrays["REF_forces"], dtype=torch.float32) for frame in frames],
        "s": [torch.tensor(stress_of(frame) / units.GPa, dtype=torch.float32) for frame in frames],
    }
    # The zero of energy of another code and its pseudopotentials; forces do not know it.
    before = model.predict_graph(graphs, task="e", batch_size=8)
    shift = float(np.mean([energy - one["e"] for energy, one in zip(targets["e"], before, strict=True)]))
    energies = torch.tensor(targets["e"] - shift, dtype=torch.float32)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    random = np.random.default_rng(seed)
    model.train()
    waiting: list[int] = []
    for _ in range(steps):
        if len(waiting) < BATCH:
            waiting += random.permutation(len(graphs)).tolist()
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        optimiser.zero_grad()
        found = model([graphs[number] for number in batch], task="efs")
        loss = torch.mean((found["e"] - energies[batch]) ** 2) / SCALES["e"] ** 2
        for kind in ("f", "s"):
            errors = [(one - targets[kind][number]) ** 2 for one, number in zip(found[kind], batch, strict=True)]
            loss = loss + torch.mean(torch.cat([error.ravel() for error in errors])) / SCALES[kind] ** 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        optimiser.step()
        schedule.step()
    model.eval()
    return model


def plain(frame: Atoms) -> Atoms:
    """Without what pymatgen would take along."""
    return Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)


def stress_of(frame: Atoms) -> Any:
    """(3, 3) array, eV/Å³, ASE's sign."""
    return -np.reshape(frame.info["REF_virial"], (3, 3)) / frame.get_volume()


def judged(model: Any, reference: SupercellPhonons, database: list[Atoms], learned: list[int]) -> dict[str, float]:
    """Errors of the phonons, at the reference's lattice, and of the forces on the labels that it did not learn from."""
    calculator = CHGNetCalculator(model, use_device="cpu")
    unit_cell = reference.crystal.atoms
    found = phonons_from_supercells(unit_cell, GRID, calculator, displacement=DISPLACEMENT, residual_force_limit=1.0)
    spectra = []
    for phonon in (found.phonopy, reference.phonopy):
        phonon.run_mesh(MESH, is_gamma_center=True)
        spectra.append(phonon.mesh.frequencies)
    weights = reference.phonopy.mesh.weights
    square = np.average(np.mean((spectra[0] - spectra[1]) ** 2, axis=1), weights=weights)
    errors = []
    for number, frame in enumerate(database):
        if number not in learned and len(frame) > 2:
            atoms = plain(frame)
            atoms.calc = calculator
            errors.append(atoms.get_forces() - frame.arrays["REF_forces"])
    return {
        "rmse_thz": float(np.sqrt(square)),
        "highest_thz": float(np.max(spectra[0])),
        "lowest_thz": float(np.min(spectra[0])),
        "force_rmse": float(np.sqrt(np.mean(np.concatenate(errors) ** 2))),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    single_threaded()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    database, reference = shipped()
    cases: list[tuple[str, list[int], int]] = [("as it comes", [], 0)]
    order = choice(database, reference.crystal.atoms, given.folder)
    for size in SIZES:
        cases.append((f"{size} chosen", order[:size], 0))
        for seed in range(given.seeds):
            drawn = np.random.default_rng(seed).permutation(len(database))[:size].tolist()
            cases.append((f"{size} random, draw {seed + 1}", drawn, seed))
    print(machine("chgnet", "torch", "ase"))
    print(f"{len(database)} labels to choose from; {given.steps} steps of {BATCH} labels each")
    print("| labels | RMSE, THz | highest, lowest frequency, THz | forces, meV/Å | processor time, s |")
    print("|---|---:|---:|---:|---:|")
    for name, numbers, seed in cases:
        kept = given.folder / f"{name.replace(' ', '-').replace(',', '')}.json"
        if not kept.is_file():
            begin = time.process_time()
            frames = [database[number] for number in numbers]
            model = fine_tuned(frames, given.steps, seed) if frames else CHGNet.load(use_device="cpu", verbose=False)
            seconds = time.process_time() - begin
            kept.write_text(json.dumps(judged(model, reference, database, numbers) | {"seconds": seconds}))
        found = json.loads(kept.read_text())
        print(
            f"| {name} | {found['rmse_thz']:.3f} | {found['highest_thz']:.2f}, {found['lowest_thz']:.2f} "
            f"| {1000 * found['force_rmse']:.1f} | {found['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
