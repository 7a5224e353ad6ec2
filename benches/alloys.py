"""One potential of copper and gold from labels that are chosen, and from special quasi-random structures of equal cost.

Runs examples/cuau.toml (ASE's EMT), which chooses 60 labels, and makes a second database of special quasi-random
structures of eight atoms: as many atoms together, perturbed in the same way. The potential of the run and one of the
same form of the second database are compared with the reference in formation energies of fifty decorations of ten to
sixteen atoms, none of which either has seen, relaxed with the reference; with --compounds also in phonons and elastic
constants of Cu3Au, CuAu and CuAu3. With --gap, GAPs with 1200 sparse points of each element are fitted to both too.

    python benches/alloys.py --out DIR --compounds
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.neighborlist import neighbor_list
from ase.optimize import LBFGS

from ndsc import enumerate_supercells, find_supercells, make_configurations
from ndsc.benchmark import Benchmark, benchmark
from ndsc.config import SeveralConfig, load_run
from ndsc.crystal import Crystal
from ndsc.decorations import enumerate_decorations
from ndsc.extended_xyz import read_frames
from ndsc.fit import GapSettings, Regularisation, apply_regularisation, fit_gap
from ndsc.fit.training import single_atom_energies
from ndsc.potentials import fit_potential, load_fit
from ndsc.potentials.registry import fitter_of
from ndsc.potentials.settings import FitterSettings
from ndsc.selection.noise import most_probable_noise
from ndsc.selection.selector import observations
from ndsc.sublattices import make_supercell
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY
from ndsc.workflow import run_several
from ndsc.workflow.joint import JointPlan, make_joint_plan
from ndsc.workflow.plan import reference_calculator
from ndsc.workflow.reference import run_reference

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "cuau.toml"
CUAU = {"Cu": ("Cu", "Au")}
VEGARD = {"Cu": 3.59, "Au": 4.06}
#: Shells of neighbours whose pair correlations are to be those of a random alloy, the nearest counting most.
SHELLS = 4
#: Settings of the GAPs, and expected errors.
GAP = GapSettings(cutoff=5.5, n_max=6, l_max=6, n_sparse=1200, solver="numpy", e0="fit", sparse_method="random")
EXPECTED = Regularisation(
    energy=0.001, force={"relative": 0.02, "minimum": 0.002}, virial={"relative": 0.02, "minimum": 0.005}
)
#: Atoms of a special quasi-random structure, and of the decorations whose energies are compared.
SQS_ATOMS, UNSEEN_ATOMS, UNSEEN = 8, (10, 12, 16), 50


def correlations(atoms: Atoms) -> np.ndarray:
    """Mean product of spins (copper 1, gold -1) over the pairs of each shell of an ideal fcc lattice."""
    nearest = (4.0 * atoms.get_volume() / len(atoms)) ** (1 / 3) / np.sqrt(2)
    i, j, distance = neighbor_list("ijd", atoms, nearest * (np.sqrt(SHELLS) + 0.1))
    spin = np.where(atoms.numbers == 29, 1.0, -1.0)
    shell = np.rint((distance / nearest) ** 2).astype(int)
    return np.array([np.mean((spin[i] * spin[j])[shell == number]) for number in range(1, SHELLS + 1)])


def quasi_random(crystal: Crystal) -> list[Atoms]:
    """The best special quasi-random structure of each composition, of all supercells and all decorations."""
    best: dict[int, tuple[float, Atoms]] = {}
    weights = 1.0 / np.arange(1, SHELLS + 1)
    for matrix in enumerate_supercells(crystal, SQS_ATOMS):
        for numbers in enumerate_decorations(crystal, matrix, CUAU)[0]:
            atoms = decorated(crystal, matrix, numbers)
            gold = int((numbers == 79).sum())
            error = float(weights @ np.abs(correlations(atoms) - (1 - 2 * gold / SQS_ATOMS) ** 2))
            if gold not in best or error < best[gold][0] - 1e-9:
                best[gold] = (error, atoms)
    return [best[gold][1] for gold in sorted(best)]


def decorated(crystal: Crystal, matrix: np.ndarray, numbers: np.ndarray) -> Atoms:
    """A supercell with some elements, as large as Vegard's law has it."""
    atoms = make_supercell(crystal.atoms, matrix)
    atoms.numbers = numbers
    share = float(np.mean(numbers == 79))
    lattice = (1 - share) * VEGARD["Cu"] + share * VEGARD["Au"]
    atoms.set_cell(atoms.cell.array * lattice / VEGARD["Cu"], scale_atoms=True)
    return Atoms(atoms.symbols, cell=atoms.cell, positions=atoms.positions, pbc=True)


def perturbed(structures: Sequence[Atoms], n_atoms: int) -> list[Atoms]:
    """Perturbed copies of structures in turn, with scales, strains and displacements of the example."""
    found: list[Atoms] = []
    while sum(map(len, found)) < n_atoms:
        number = len(found)
        random = np.random.default_rng(number)
        atoms = structures[number % len(structures)].copy()
        strain = random.uniform(-0.01, 0.01, (3, 3))
        deformation = (0.98, 1.0, 1.02)[number % 3] * (np.eye(3) + 0.5 * (strain + strain.T))
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        atoms.positions += random.normal(0, (0.03, 0.1)[(number // 3) % 2], (len(atoms), 3))
        atoms.info = {"ndsc_name": f"sqs-{number:03d}", "config_type": "sqs"}
        atoms.calc = EMT()
        labelled = atoms.copy()
        labelled.info[ENERGY_KEY] = atoms.get_potential_energy()
        labelled.arrays[FORCES_KEY] = atoms.get_forces()
        labelled.info[VIRIAL_KEY] = (-atoms.get_volume() * atoms.get_stress(voigt=False)).reshape(9)
        found.append(labelled)
    return found


def unseen(crystal: Crystal) -> list[Atoms]:
    """Decorations at random of larger cells than those of both databases, relaxed with the reference."""
    random = np.random.default_rng(51)
    found: list[Atoms] = []
    while len(found) < UNSEEN:
        size = int(random.choice(UNSEEN_ATOMS))
        matrices = enumerate_supercells(crystal, size)
        numbers = np.where(random.random(size) < random.uniform(0.1, 0.9), 79, 29)
        atoms = decorated(crystal, matrices[random.integers(len(matrices))], numbers)
        if len(set(numbers)) < 2:
            continue
        atoms.calc = EMT()
        LBFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.01, steps=300)
        found.append(atoms)
    return found


def formation_energies(structures: Sequence[Atoms], calculator: Calculator) -> np.ndarray:
    """Energies an atom relative to the elements at the reference's lattice constants, meV."""
    pure: dict[str, float] = {}
    for symbol in CUAU["Cu"]:
        atoms = bulk(symbol, "fcc", a=VEGARD[symbol])
        atoms.calc = EMT()
        LBFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=300)
        atoms.calc = calculator
        pure[symbol] = atoms.get_potential_energy()
    found = []
    for structure in structures:
        atoms = structure.copy()
        atoms.calc = calculator
        total = atoms.get_potential_energy() - sum(pure[symbol] for symbol in atoms.get_chemical_symbols())
        found.append(1e3 * total / len(atoms))
    return np.array(found)


def fit_like_a_choice(frames: Sequence[Atoms], folder: Path, settings: FitterSettings) -> Calculator:
    """A potential with the expected errors that make the labels most probable, as those of a run that chooses."""
    kind = fitter_of(settings)
    basis, e0 = kind.basis(frames, folder / "points", settings), single_atom_energies(frames, settings)
    noise = most_probable_noise(observations(frames, basis.rows(frames), basis.n_weights, e0))
    # The fit finds the width of the prior itself, for the errors as they are.
    expected = dataclasses.replace(noise, scale=1.0).regularisation()
    return fit_potential(apply_regularisation(frames, expected), folder, settings, basis=basis).calculator()


def fit_large_gap(frames: Sequence[Atoms], folder: Path) -> Calculator:
    """A GAP with so many sparse points that it can represent an alloy; more than a choice of labels can use."""
    pool = make_configurations(
        find_supercells(bulk("Cu", a=VEGARD["Cu"]), 8), per_supercell=18, unit_cells=0, displacement=(0.03, 0.1),
        seed=1, substitute=CUAU, vegard=VEGARD,
    )  # fmt: skip
    return fit_gap(apply_regularisation(frames, EXPECTED), folder, GAP, sparse_only=pool).calculator()


def benchmarks(plan: JointPlan, model: Calculator) -> Mapping[str, Benchmark]:
    """Phonons and elastic constants of the compounds."""
    found = {}
    for one in plan.each:
        if one.config.phonons.reference == "none":
            continue
        labels = {
            str(atoms.info["ndsc_name"]): plan.store.load(plan.store.key_of(atoms, plan.spec))
            for atoms in one.phonon_frames
        }
        calculator = reference_calculator(one.config, plan.spec, plan.store)
        found[str(one.name)] = benchmark(model, run_reference(one, labels, calculator))
    return found


def row(name: str, frames: Sequence[Atoms], energies: np.ndarray, found: Mapping[str, Benchmark]) -> str:
    """A row of the table."""
    cells = []
    for one in found.values():
        errors = [abs(value.error_percent) for value in one.elastic.values() if value.error_percent is not None]
        rmse = "none" if one.phonons is None else f"{one.phonons.rmse_mesh_thz:.3f} THz"
        cells.append(f"{rmse}, {max(errors, default=float('nan')):.1f} %")
    rms, worst = np.sqrt(np.mean(energies**2)), np.abs(energies).max()
    said = [name, str(len(frames)), str(sum(map(len, frames))), f"{rms:.1f} ({worst:.0f})", *cells]
    return f"| {' | '.join(said)} |"


def main() -> None:
    """Run both and print the table of docs/alloys.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("alloys"), help="folder of the run and of the second potential"
    )
    parser.add_argument("--gap", action="store_true", help="GAPs of both databases too")
    parser.add_argument("--compounds", action="store_true", help="phonons and elastic constants of the compounds too")
    given = parser.parse_args()
    folder = given.out
    config = load_run(EXAMPLE)
    assert isinstance(config, SeveralConfig)
    if not (folder / "results.json").is_file():
        run_several(config, folder)
    chosen = read_frames(folder / "database.extxyz")
    crystal = Crystal.from_atoms(bulk("Cu", a=VEGARD["Cu"]))
    special = perturbed(quasi_random(crystal), sum(map(len, chosen)))
    structures = unseen(crystal)
    true = formation_energies(structures, EMT())
    print(f"{len(structures)} decorations, formation energies {true.min():.0f} to {true.max():.0f} meV/atom")
    plan = make_joint_plan(config, folder, compute=False) if given.compounds else None
    names = [] if plan is None else [str(one.name) for one in plan.each if one.config.phonons.reference != "none"]
    heads = ["labels", "number", "atoms", "formation energies, RMSE (largest), meV/atom", *names]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    databases = {"chosen": chosen, "special quasi-random": special}
    models = {
        "chosen": load_fit(folder / "potential").calculator(),
        "special quasi-random": fit_like_a_choice(special, folder / "sqs", config.common.potential(len(VEGARD))),
    }
    for name, model in models.items():
        show(name, databases[name], model, plan, structures, true)
    for name, frames in databases.items() if given.gap else ():
        model = fit_large_gap(frames, folder / f"gap-{name.replace(' ', '-')}")
        show(f"{name}, GAP", frames, model, plan, structures, true)


def show(
    name: str,
    frames: Sequence[Atoms],
    model: Calculator,
    plan: JointPlan | None,
    structures: Sequence[Atoms],
    true: np.ndarray,
) -> None:
    """Compare a potential, and print its row."""
    found = {} if plan is None else benchmarks(plan, model)
    print(row(name, frames, formation_energies(structures, model) - true, found), flush=True)


if __name__ == "__main__":
    main()
