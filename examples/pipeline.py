"""Each part of ndsc by itself, on ase.Atoms and numpy arrays. Run it anywhere: python examples/pipeline.py"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read

import ndsc
from ndsc.configurations import make_configurations
from ndsc.database import make_database, read_database, write_database
from ndsc.elastic import elastic_constants
from ndsc.fit import Regularisation, Sigma, apply_regularisation
from ndsc.phonons import band_path, compare_phonons, phonons_from_diagonal, phonons_from_supercells
from ndsc.reference import CalculatorSpec, LabelStore, label_configurations
from ndsc.relaxation import relax_crystal


def minimal_supercells() -> None:
    """Which supercells hold a grid of q-points, and where a q-point is."""
    found = ndsc.find_supercells(bulk("Mg"), grid=(6, 6, 4))
    print(f"{len(found)} supercells of at most {found.sizes.max()} cells hold the 6x6x4 grid of hcp Mg")
    index, rotation = found.locate((1 / 6, 2 / 6, 3 / 4))
    print(f"q = (1/6, 2/6, 3/4) is in number {index}, turned by {rotation.tolist()}")
    print(f"as ase.Atoms: {found.structures()[index]}")


def perturbed_database(folder: Path) -> Path:
    """Configurations of the minimal supercells, labelled in parallel with any ASE calculator, as extended xyz."""
    supercells = ndsc.find_supercells(bulk("Al"), grid=3)
    configurations = make_configurations(supercells, per_supercell=4, displacement=0.05, strain=0.01, seed=1)
    report = label_configurations(configurations, CalculatorSpec("emt"), LabelStore(folder / "labels"), workers=2)
    database = make_database(configurations, report.labels)
    print(f"{len(database)} labelled configurations, {report.computed} of them computed now")
    return write_database(folder / "database.extxyz", database)


def sigmas_for_a_database(path: Path) -> None:
    """Adaptive regularisation for gap_fit, on somebody's extended xyz file; give the names of its keys."""
    frames = read_database(path, energy_key="REF_energy", forces_key="REF_forces", virial_key="REF_virial")
    weighted = apply_regularisation(frames, Regularisation(force=Sigma(relative=0.01, minimum=0.001)))
    write_database(path.with_name("training.extxyz"), weighted)
    first = read(path.with_name("training.extxyz"), index=0)
    print(f"sigmas of the first virial, eV: {first.info['virial_component_sigma'].round(4).tolist()}")


def benchmark_of_a_calculator() -> None:
    """Elastic constants and phonons of any ASE calculator; here EMT's phonons made in two ways."""
    crystal = relax_crystal(bulk("Al"), EMT())
    constants = elastic_constants(crystal, EMT()).constants
    print("elastic constants, GPa: " + ", ".join(f"{name} {value:.1f}" for name, value in constants.items()))
    small = phonons_from_supercells(crystal, grid=4, calculator=EMT())
    large = phonons_from_diagonal(crystal, grid=4, calculator=EMT())
    compared = compare_phonons(small.phonopy, large.phonopy, path=band_path(crystal), mesh=8, dos_mesh=8)
    print(f"phonons from cells of 4 atoms and from one of 64 agree to {compared.rmse_mesh_thz:.1e} THz")


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        minimal_supercells()
        sigmas_for_a_database(perturbed_database(Path(name)))
        benchmark_of_a_calculator()
