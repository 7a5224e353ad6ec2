"""Databases of random, thermal and chosen configurations, by what their potentials say of aluminium when it is hot.

The reference is effective medium theory, which costs nothing. All databases have the same number of labels in the
minimal supercells of a 4x4x4 grid, and a GAP with the same settings is fitted to each. Random displacements have a
standard deviation of 0.05 Å, thermal ones are drawn at the temperature (classical), and the chosen ones are chosen of
thermal candidates.

Judged are snapshots of the classical harmonic crystal at the temperature in the diagonal supercell of a 3x3x3 grid,
which no database has: the error of forces; that of the mean potential energy, which is the error of the free energy in
first order; and that of the effective frequencies, of force constants that are fitted to the forces of all snapshots.
What the temperature itself does to the frequencies of the reference stands beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from ndsc import diagonal_supercell, load_fit, make_configurations, phonons_from_labels, phonons_from_supercells
from ndsc.config import parse_config
from ndsc.crystal import Crystal, as_crystal
from ndsc.thermal import thermal_configurations
from ndsc.workflow import run_workflow

LATTICE = 3.994
GRID = 3
SNAPSHOTS = 40
#: In the minimal set of fcc and that grid.
SUPERCELLS = 5
INPUT = """
[crystal]
structure = "Al"
lattice = "fcc"
a = {lattice}
relax = false
[supercells]
grid = 4
{part}
[fit]
n_sparse = 150
cutoff = 5.0
n_max = 8
l_max = 4
[phonons]
reference = "none"
[elastic]
enabled = false
"""


def main() -> None:
    """Fit and judge all databases, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("thermal-bench"))
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 40])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--temperature", type=float, default=600.0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    crystal = as_crystal(bulk("Al", "fcc", a=LATTICE))
    file = given.out / "phonopy_params.yaml"
    phonons_from_supercells(crystal, 4, EMT()).save(file)
    frames = snapshots(crystal, given.temperature)
    truth = judged(crystal, frames, EMT())
    cold = phonons_from_supercells(crystal, GRID, EMT())
    qpoints = cold.exact_qpoints
    shift = truth["frequencies"] - cold.phonopy.run_qpoints(qpoints).frequencies
    print(json.dumps({"shift_of_the_reference_thz": rms(shift), "rms_force": rms(truth["forces"])}), flush=True)
    rows = []
    for labels in given.labels:
        for kind in ("random", "thermal", "chosen"):
            for seed in range(1, 1 + given.seeds):
                part = part_of(kind, labels, seed, given.temperature, file.absolute())
                folder = given.out / f"{kind}-{labels}-{seed}"
                results = run_workflow(parse_config(INPUT.format(lattice=LATTICE, part=part)), folder)
                found = judged(crystal, frames, load_fit(folder / "potential").calculator())
                rows.append(
                    {
                        "database": kind,
                        "labels": results.labels.succeeded,
                        "seed": seed,
                        "force_error_mev": 1e3 * rms(found["forces"] - truth["forces"]),
                        "free_energy_error_mev": 1e3 * (found["energy"] - truth["energy"]),
                        "frequency_error_thz": rms(found["frequencies"] - truth["frequencies"]),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    (given.out / "thermal.json").write_text(json.dumps(rows, indent=1))


def part_of(kind: str, labels: int, seed: int, temperature: float, file: Path) -> str:
    """The sections of an input file that say what is labelled: the unit cell, and so many supercells."""
    per = labels // SUPERCELLS
    common = f"seed = {seed}\nunlabelled = 0\n"
    thermal = f'temperature = {temperature}\nstatistics = "classical"\nforce_constants = "{file}"\n'
    if kind == "random":
        return f"[configurations]\nper_supercell = {per}\n{common}"
    if kind == "thermal":
        return f"[configurations]\nper_supercell = {per}\n{common}{thermal}"
    choice = f'[selection]\nmethod = "information"\nmax_labels = {labels + 1}\ntarget_thz = 1e-6\n'
    return f"[configurations]\nper_supercell = 60\n{common}{thermal}{choice}"


def snapshots(crystal: Crystal, temperature: float) -> list[Atoms]:
    """The perfect diagonal supercell, and snapshots of the harmonic crystal in it."""
    supercells = diagonal_supercell(crystal, GRID)
    phonons = phonons_from_supercells(crystal, GRID, EMT())
    options: dict[str, Any] = {"temperature": temperature, "statistics": "classical", "unit_cells": 0, "seed": 99}
    drawn = thermal_configurations(supercells, phonons, per_supercell=SNAPSHOTS, **options)
    perfect = make_configurations(supercells, per_supercell=1, displacement=0.0, strain=0.0, scale=1.0, unit_cells=0)
    return [*perfect, *drawn]


def judged(crystal: Crystal, frames: list[Atoms], calculator: Calculator) -> dict[str, Any]:
    """Mean potential energy per atom above the perfect crystal, forces, and effective frequencies."""
    energies, forces = [], []
    for frame in frames:
        copy = frame.copy()
        copy.calc = calculator
        forces.append(copy.get_forces())
        energies.append(copy.get_potential_energy() / len(copy))
    effective = phonons_from_labels(diagonal_supercell(crystal, GRID), frames, forces)
    frequencies = effective.phonopy.run_qpoints(effective.exact_qpoints).frequencies
    return {
        "energy": float(np.mean(energies[1:]) - energies[0]),
        "forces": np.array(forces[1:]),
        "frequencies": np.array(frequencies),
    }


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    main()
