"""Real fits of GAPs, kept tiny: a short-ranged kernel on a few small cells takes a second or two."""

import copy
import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from ndsc import elastic_constants, find_supercells, make_configurations
from ndsc.database import read_database
from ndsc.errors import FitError, InputError
from ndsc.fit import (
    SPARSE_METHODS,
    GapCalculator,
    GapSettings,
    apply_regularisation,
    evaluate,
    fit_gap,
    load_fit,
)
from ndsc.fit.sparse_points import read_sparse_points

pytestmark = [
    pytest.mark.gap,
    pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'"),
]

STILLINGER_WEBER = Path(__file__).parents[1] / "data" / "stillinger_weber_si.xml"
TINY = GapSettings(cutoff=4.0, n_max=4, l_max=3, n_sparse=12)


def cells(count, *, symbol="Al", seed=0):
    """Perturbed three-atom cells without labels (in cells of two, both atoms see the same)."""
    random = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        atoms = bulk(symbol, a=4.0 if symbol == "Al" else None).repeat((3, 1, 1))
        strain = random.uniform(-0.01, 0.01, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
        out.append(atoms)
    return out


def label(atoms, calculator=None):
    work = atoms.copy()
    work.calc = calculator or EMT()
    out = atoms.copy()
    out.info["REF_energy"] = float(work.get_potential_energy(force_consistent=True))
    out.info["REF_virial"] = (-work.get_volume() * work.get_stress(voigt=False)).ravel()
    out.arrays["REF_forces"] = work.get_forces()
    return out


@pytest.fixture(scope="module")
def frames():
    return apply_regularisation([label(atoms) for atoms in cells(8)])


@pytest.fixture(scope="module")
def fit(frames, tmp_path_factory):
    return fit_gap(frames, tmp_path_factory.mktemp("fit") / "potential", TINY)


def test_displaced_unit_cells_teach_the_internal_relaxation_of_a_crystal_with_a_basis(tmp_path):
    from quippy.potential import Potential

    reference = Potential("IP SW", param_filename=str(STILLINGER_WEBER))
    silicon = bulk("Si", a=5.431)
    right = elastic_constants(silicon, reference).constants["C44"]
    found = {}
    for amplitude in (0.0, 0.02):
        cells = make_configurations(
            find_supercells(silicon, 1), per_supercell=0, unit_cells=20, seed=1, unit_cell_displacement=amplitude
        )
        frames = apply_regularisation([label(atoms, reference) for atoms in cells])
        fitted = fit_gap(frames, tmp_path / str(amplitude), GapSettings(n_sparse=100))
        found[amplitude] = elastic_constants(silicon, fitted.calculator()).constants["C44"]
    assert right == pytest.approx(56.4, abs=0.1)
    assert found[0.0] < 30
    assert found[0.02] == pytest.approx(right, abs=5)


def test_the_potential_learns_and_everything_is_counted(frames, fit):
    assert fit.counts_sent == fit.counts_read
    assert fit.counts_read["virial_components"] == 48
    assert fit.counts_read["virial_component_sigmas"] == 72
    assert fit.n_sparse == {"Al": 12}
    assert fit.memory_gb > 0
    assert fit.seconds > 0
    assert not fit.reused
    spread = np.std([frame.arrays["REF_forces"] for frame in frames])
    assert fit.errors["all"].force_rmse_ev_per_angstrom < 0.2 * spread
    assert fit.errors["all"].energy_rmse_ev_per_atom < 0.002
    files = sorted(entry.name for entry in fit.xml_path.parent.iterdir())
    assert [name for name in files if ".sparseX." not in name] == [
        "fit.json",
        "gap.xml",
        "gap_fit.log",
        "predictions.extxyz",
        "training.extxyz",
    ]
    assert len(files) == 6


def test_predictions_stand_beside_the_reference(frames, fit):
    predicted = read_database(fit.xml_path.parent / "predictions.extxyz")
    calculator = fit.calculator()
    for before, after in zip(frames, predicted, strict=True):
        structure = before.copy()
        structure.calc = calculator
        assert after.info["REF_energy"] == before.info["REF_energy"]
        assert after.info["MLIP_energy"] == pytest.approx(structure.get_potential_energy(), abs=1e-9)
        assert np.allclose(after.arrays["MLIP_forces"], structure.get_forces(), atol=1e-7)
        assert after.info["MLIP_virial"].shape == (9,)
    again = evaluate(frames, calculator)
    assert np.allclose(again.model_virials, fit.predictions.model_virials, atol=1e-9)


def test_forces_and_stress_are_derivatives_of_the_energy(fit):
    atoms = cells(1, seed=9)[0]
    atoms.calc = fit.calculator()
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    step = 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        moved.calc = fit.calculator()
        energies.append(moved.get_potential_energy())
    assert forces[1, 2] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-5)
    energies = []
    for sign in (1, -1):
        strain = np.zeros((3, 3))
        strain[0, 1] = strain[1, 0] = sign * step / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        strained.calc = fit.calculator()
        energies.append(strained.get_potential_energy())
    assert stress[0, 1] == pytest.approx((energies[0] - energies[1]) / (2 * step) / atoms.get_volume(), abs=1e-6)


def test_the_calculator_travels(fit, monkeypatch, tmp_path):
    atoms = cells(1, seed=3)[0]
    energies = []
    monkeypatch.chdir(tmp_path)
    for calculator in (fit.calculator(), pickle.loads(pickle.dumps(fit.calculator())), copy.deepcopy(fit.calculator())):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    assert np.ptp(energies) == 0
    assert fit.xml_path.is_absolute()


def test_one_calculator_serves_many_cells(fit):
    calculator = fit.calculator()
    mixed = [*cells(3, seed=5), bulk("Al", cubic=True), *cells(1, seed=6)]
    shared = []
    for atoms in mixed:
        atoms.calc = calculator
        shared.append((atoms.get_potential_energy(), atoms.get_forces()))
    for atoms, (energy, forces) in zip(mixed, shared, strict=True):
        alone = atoms.copy()
        alone.calc = fit.calculator()
        assert energy == alone.get_potential_energy()
        assert np.array_equal(forces, alone.get_forces())


def test_atoms_without_a_cell(fit):
    dimer = Atoms("Al2", positions=[[0, 0, 0], [2.8, 0, 0]])
    dimer.calc = fit.calculator()
    assert np.allclose(dimer.get_forces().sum(axis=0), 0, atol=1e-10)
    alone = Atoms("Al")
    alone.calc = fit.calculator()
    assert np.isfinite(alone.get_potential_energy())


def test_species_that_it_was_not_fitted_to(fit):
    copper = bulk("Cu")
    copper.calc = fit.calculator()
    with pytest.raises(InputError, match="structure has Cu"):
        copper.get_potential_energy()


def test_the_same_fit_is_not_made_twice(frames, fit):
    before = fit.xml_path.stat().st_mtime_ns
    again = fit_gap(frames, fit.xml_path.parent, TINY)
    assert again.reused
    assert fit.xml_path.stat().st_mtime_ns == before
    assert again.counts_read == fit.counts_read
    assert again.settings == fit.settings
    assert again.errors["all"].energy_rmse_ev_per_atom == pytest.approx(fit.errors["all"].energy_rmse_ev_per_atom)
    assert load_fit(fit.xml_path.parent).e0 == fit.e0


def test_a_fit_that_names_no_radial_scaling_has_none(fit, tmp_path):
    shutil.copytree(fit.xml_path.parent, tmp_path, dirs_exist_ok=True)
    record = tmp_path / "fit.json"
    old = json.loads(record.read_text())
    del old["settings"]["radial_exponent"], old["settings"]["radial_scale"]
    record.write_text(json.dumps(old))
    assert load_fit(tmp_path).settings.radial_exponent == 0


def test_another_fit_replaces_it_and_damage_is_repaired(frames, fit, tmp_path):
    shutil.copytree(fit.xml_path.parent, tmp_path, dirs_exist_ok=True)
    assert fit_gap(frames, tmp_path, TINY).reused
    second = fit_gap(frames, tmp_path, TINY.replaced(n_sparse=8))
    assert not second.reused
    assert len(list(tmp_path.glob("gap.xml.sparseX.*"))) == 1
    assert second.n_sparse == {"Al": 8}
    next(tmp_path.glob("gap.xml.sparseX.*")).unlink()
    third = fit_gap(frames, tmp_path, TINY.replaced(n_sparse=8))
    assert not third.reused
    assert third.errors["all"] == second.errors["all"]
    assert fit.errors["all"] != second.errors["all"]


def test_damaged_sparse_points_are_an_error_not_a_crash(frames, fit, tmp_path):
    shutil.copytree(fit.xml_path.parent, tmp_path, dirs_exist_ok=True)
    sparse = next(tmp_path.glob("gap.xml.sparseX.*"))
    sparse.write_text(sparse.read_text().replace("e-0", "e-1", 1))
    atoms = frames[0].copy()
    atoms.calc = GapCalculator(tmp_path / "gap.xml")
    with pytest.raises(FitError, match="md5"):
        atoms.get_potential_energy()


def test_fixed_sparse_points(frames, fit, tmp_path):
    fewer = fit_gap(frames[:3], tmp_path, TINY, fixed_sparse_points=fit.xml_path)
    assert fewer.n_sparse == {"Al": 12}
    here, there = (read_sparse_points(one.xml_path)["Al"][1] for one in (fewer, fit))
    assert np.allclose(here, there, atol=1e-12)


def test_sparse_points_from_configurations_without_labels(frames, tmp_path):
    # Two cells of three atoms alone offer six points.
    more = fit_gap(frames[:2], tmp_path, TINY, sparse_only=cells(10, seed=4))
    assert more.n_sparse == {"Al": 12}
    assert more.counts_read["force_components"] == 18
    assert len(more.predictions.n_atoms) == 2


@pytest.mark.parametrize("method", [method for method in SPARSE_METHODS if method != TINY.sparse_method])
def test_sparse_methods(frames, tmp_path, method):
    fit = fit_gap(frames[:4], tmp_path, TINY.replaced(sparse_method=method, n_sparse=6))
    assert fit.n_sparse == {"Al": 12 if method == "none" else 6}
    assert np.isfinite(fit.predictions.model_forces).all()


def test_one_seed_gives_one_potential(frames, tmp_path):
    settings = TINY.replaced(sparse_method="random", n_sparse=6)
    once, again = (fit_gap(frames, tmp_path / name, settings).predictions for name in ("once", "again"))
    assert np.array_equal(once.model_energies, again.model_energies)


def test_two_species(tmp_path):
    random = np.random.default_rng(8)
    frames = []
    for number in range(6):
        atoms = bulk("CuAl", "cesiumchloride", a=3.0).repeat((2, 1, 1))
        if number == 5:
            atoms.symbols[0] = "Al"
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
        frames.append(label(atoms))
    fit = fit_gap(apply_regularisation(frames), tmp_path, TINY.replaced(n_sparse=8))
    assert fit.n_sparse == {"Al": 8, "Cu": 8}
    assert set(fit.e0) == {"Al", "Cu"}
    assert fit.errors["all"].force_rmse_ev_per_angstrom < 0.5 * np.std([f.arrays["REF_forces"] for f in frames])
    assert GapCalculator(fit.xml_path).species == ("Al", "Cu")


def test_isolated_atoms_set_the_zero_of_energy(frames, tmp_path):
    atom = Atoms("Al", cell=[20, 20, 20], pbc=True, info={"REF_energy": 3.5, "config_type": "isolated_atom"})
    fit = fit_gap([*frames, *apply_regularisation([atom])], tmp_path, TINY.replaced(e0="isolated"))
    assert fit.e0 == {"Al": 3.5}
    assert fit.counts_read["energies"] == len(frames) + 1


def test_energies_only(frames, tmp_path):
    bare = []
    for frame in frames:
        copied = frame.copy()
        for key in ("REF_virial", "virial_component_sigma"):
            del copied.info[key]
        for key in ("REF_forces", "force_component_sigma"):
            del copied.arrays[key]
        bare.append(copied)
    fit = fit_gap(bare, tmp_path, TINY)
    assert fit.counts_read == {"energies": 8} | {name: 0 for name in fit.counts_read if name != "energies"} | {
        "energy_sigmas": 8
    }


def test_very_long_paths(frames, tmp_path):
    folder = tmp_path.joinpath(*["a_rather_long_name_of_a_folder_" * 3] * 3)
    assert len(str(folder)) > 250
    fit = fit_gap(frames, folder, TINY)
    atoms = frames[0].copy()
    atoms.calc = fit.calculator()
    assert np.isfinite(atoms.get_potential_energy())


def test_somebodys_database(tmp_path):
    """Bare keys, total energies of thousands of eV, as codes with pseudopotentials write them."""
    foreign = []
    for atoms in cells(6, seed=2):
        frame = label(atoms)
        out = atoms.copy()
        out.info |= {"virial": frame.info["REF_virial"], "config_type": "sheared"}
        out.info["total"] = frame.info["REF_energy"] - 3380.0
        out.arrays["dft_force"] = frame.arrays["REF_forces"]
        foreign.append(out)
    path = tmp_path / "castep.extxyz"
    write(path, foreign, format="extxyz")
    path.write_text(path.read_text().replace("total=", "energy=").replace("dft_force:", "forces:"))
    frames = read_database(path, energy_key="energy", forces_key="forces", virial_key="virial")
    fit = fit_gap(apply_regularisation(frames), tmp_path / "potential", TINY)
    assert fit.counts_read["virial_components"] == 36
    assert fit.e0["Al"] == pytest.approx(-3380.0 / 3, abs=1.0)
    assert fit.errors["sheared"].energy_rmse_ev_per_atom < 0.002


def test_the_record_tells_how_it_was_made(fit):
    record = json.loads((fit.xml_path.parent / "fit.json").read_text())
    assert record["settings"]["n_sparse"] == 12
    assert record["solver"] == "numpy"
    assert record["counts_sent"] == record["counts_read"]


def test_a_zero_sigma_would_give_nan_so_it_never_reaches_gap_fit(frames, tmp_path):
    broken = [frame.copy() for frame in frames]
    broken[2].arrays["force_component_sigma"][0, 0] = 0.0
    with pytest.raises(InputError, match="NaN"):
        fit_gap(broken, tmp_path / "potential", TINY)
    assert list((tmp_path / "potential").iterdir()) == []


def test_atoms_on_one_site_are_refused(frames, tmp_path):
    broken = frames[0].copy()
    broken.positions[1] = broken.positions[0]
    with pytest.raises(InputError, match=f"frame {len(frames)} has two atoms 0 Å apart"):
        fit_gap([*frames, broken], tmp_path / "potential", TINY)
    assert not (tmp_path / "potential").exists()
