"""Phonons with polar charges, of databases, and of models beside their references."""

from __future__ import annotations

import numpy as np
import phonopy
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from phonon_crystals import PairPotential, structured_crystals

from ndsc.configurations import make_configurations
from ndsc.elastic import elastic_constants
from ndsc.errors import InputError
from ndsc.force_constants import harmonic_model, phonons_from_diagonal, phonons_from_supercells
from ndsc.phonons import band_path, compare_phonons
from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator
from ndsc.relaxation import relax_crystal
from ndsc.supercells import find_supercells

CHARGES = {"born": np.array([1.1, -1.1])[:, None, None] * np.eye(3), "dielectric": 2.4 * np.eye(3)}


@pytest.mark.parametrize("route", ["tiling", "dynamical"])
def test_polar_crystals_split_at_the_zone_centre(route, tmp_path):
    atoms = structured_crystals()["rocksalt"]
    options = {"displacement": 0.002, "residual_force_limit": 1.0, "nac_params": CHARGES}
    found = phonons_from_supercells(atoms, 3, PairPotential(), route=route, **options)
    reference = phonons_from_diagonal(atoms, 3, PairPotential(), **options)
    qpoints = np.random.default_rng(3).random((10, 3))
    expected = np.array(reference.phonopy.run_qpoints(qpoints).frequencies)
    np.testing.assert_allclose(found.phonopy.run_qpoints(qpoints).frequencies, expected, atol=5e-4 * expected.max())
    # The longitudinal mode goes up by the plasma frequency of the charges: (e Z*)^2 / (eps0 eps V mu) in omega^2.
    bare = np.array(found.phonopy.run_qpoints([[0, 0, 0]]).frequencies[0])
    split = np.array(found.phonopy.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0]).frequencies[0])
    masses = atoms.get_masses() * 1.66053907e-27
    reduced_mass = masses.prod() / masses.sum()
    charge = 1.1 * 1.602176634e-19
    raised = charge**2 / (8.8541878e-12 * 2.4 * atoms.get_volume() * 1e-30 * reduced_mass)
    omega_squared = (2 * np.pi * 1e12) ** 2 * np.array([bare[-1] ** 2, split[-1] ** 2])
    assert omega_squared[1] - omega_squared[0] == pytest.approx(raised, rel=1e-3)
    np.testing.assert_allclose(np.sort(split)[3:5], bare[3:5], atol=1e-3)
    # The file keeps the charges, and the comparison follows the direction of the path into the zone centre.
    found.save(tmp_path / "phonopy_params.yaml")
    loaded = phonopy.load(tmp_path / "phonopy_params.yaml", log_level=0)
    np.testing.assert_allclose(loaded.nac_params["born"], CHARGES["born"])
    comparison = compare_phonons(found.phonopy, reference.phonopy, path=band_path(atoms, 30), mesh=4, dos_mesh=4)
    assert comparison.max_error_thz < 5e-4 * expected.max()
    centre = np.flatnonzero(np.max(np.abs(comparison.path.qpoints), axis=1) < 1e-9)
    np.testing.assert_allclose(comparison.model_path[centre, -1], split[-1], rtol=1e-3)


def labelled(atoms, grid, calculator, **recipe):
    frames = make_configurations(find_supercells(atoms, grid), unit_cells=0, **recipe)
    for frame in frames:
        copy = frame.copy()
        copy.calc = calculator
        frame.arrays["REF_forces"] = copy.get_forces()
    return frames


@pytest.mark.parametrize(
    ("name", "grid"), [("hcp", (3, 3, 2)), ("diamond", (3, 3, 3)), ("caesium chloride", (2, 2, 2))]
)
def test_a_harmonic_model_of_small_random_displacements_is_exact(name, grid):
    atoms = structured_crystals()[name]
    frames = labelled(atoms, grid, PairPotential(), per_supercell=6, displacement=1e-4, strain=0.0, scale=(1.0,))
    # Every atom is at rest by symmetry in these crystals.
    model = harmonic_model(atoms, grid, frames)
    exact = phonons_from_supercells(atoms, grid, PairPotential(), displacement=0.001, residual_force_limit=0.1)
    comparison = compare_phonons(model.phonopy, exact.phonopy, mesh=grid, dos_mesh=4)
    assert comparison.max_error_thz < 1e-3 * comparison.reference_max_frequency_thz
    assert model.force_rmse < 2e-3 * model.force_rms
    assert model.n_frames == len(frames)
    assert not model.left_out


def test_a_harmonic_model_of_a_training_database():
    atoms = relax_crystal(bulk("Al", a=4.0), EMT())
    frames = labelled(atoms, 4, EMT(), per_supercell=12, displacement=0.05, strain=0.01)
    model = harmonic_model(atoms, 4, frames)
    exact = phonons_from_supercells(atoms, 4, EMT())
    comparison = compare_phonons(model.phonopy, exact.phonopy, mesh=8, dos_mesh=4)
    # A baseline: good, but anharmonic and away from the volume at rest.
    assert comparison.rmse_mesh_thz < 0.4
    assert 0.05 < model.force_rmse / model.force_rms < 0.3
    test = labelled(atoms, 4, EMT(), per_supercell=3, displacement=0.05, strain=0.01, seed=5)
    errors = np.concatenate([(model.forces(frame) - frame.arrays["REF_forces"]).ravel() for frame in test])
    assert np.sqrt(np.mean(errors**2)) < 0.4 * model.force_rms
    unstrained = harmonic_model(atoms, 4, frames, largest_strain=0.012)
    assert unstrained.n_frames + len(unstrained.left_out) == len(frames)
    assert 0 < len(unstrained.left_out) < len(frames)


def test_internal_strain_is_told_apart_from_displacements():
    atoms = structured_crystals()["diamond"]
    recipe = {"per_supercell": 10, "displacement": 0.0005, "strain": 0.002, "scale": (1.0,)}
    frames = labelled(atoms, 2, PairPotential(), **recipe)
    model = harmonic_model(atoms, 2, frames)
    assert model.force_rmse < 0.01 * model.force_rms
    # By the symmetry of diamond Lambda has one number: a shear yz pushes the two atoms apart along x.
    pattern = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        pattern[i, j, k] = pattern[i, k, j] = 1
    size = model.internal_strain[0, 0, 1, 2]
    assert abs(size) > 0.1
    np.testing.assert_allclose(model.internal_strain[0], size * pattern, atol=1e-6 * abs(size))
    np.testing.assert_allclose(model.internal_strain[1], -size * pattern, atol=1e-6 * abs(size))


def test_databases_of_others_need_no_order_and_no_matrix():
    atoms = structured_crystals()["hcp"]
    recipe = {"per_supercell": 6, "displacement": 0.01, "strain": 0.002, "scale": (1.0,)}
    frames = labelled(atoms, 2, PairPotential(), **recipe)
    expected = harmonic_model(atoms, 2, frames)
    rng = np.random.default_rng(0)
    foreign = []
    for frame in frames:
        other = frame[rng.permutation(len(frame))]
        other.wrap()
        other.info = {}
        other.arrays["forces_of_others"] = other.arrays.pop("REF_forces")
        foreign.append(other)
    found = harmonic_model(atoms, 2, foreign, forces_key="forces_of_others")
    np.testing.assert_allclose(found.phonopy.force_constants, expected.phonopy.force_constants, atol=1e-9)
    for one, other in zip(frames, foreign, strict=True):
        np.testing.assert_allclose(
            np.sort(found.forces(other), axis=0), np.sort(expected.forces(one), axis=0), atol=1e-9
        )


def test_databases_that_cannot_be_used():
    atoms = bulk("Al", a=4.0)
    frames = labelled(atoms, 2, EMT(), per_supercell=4, displacement=0.01)
    with pytest.raises(InputError, match=r"do not determine the phonons at .* grid \[2, 2, 2\]"):
        harmonic_model(atoms, 2, frames[:1])
    with pytest.raises(InputError, match="has no array 'dft_forces'"):
        harmonic_model(atoms, 2, frames, forces_key="dft_forces")
    with pytest.raises(InputError, match="No structure is left to fit"):
        harmonic_model(atoms, 2, frames, largest_strain=1e-6)
    with pytest.raises(InputError, match="No structure is left to fit"):
        harmonic_model(atoms, 2, [])
    with pytest.raises(InputError, match="not a slightly deformed supercell"):
        harmonic_model(bulk("Al", a=6.5), 2, frames)
    with pytest.raises(InputError, match="has the atoms Al2, its supercell"):
        harmonic_model(bulk("Cu", a=4.0), 2, frames)
    wrong = frames[0].copy()
    wrong.arrays["REF_forces"][0, 0] = np.nan
    with pytest.raises(InputError, match="s000-0000 is not finite"):
        harmonic_model(atoms, 2, [wrong, *frames])
    lost = frames[0].copy()
    lost.positions[0] += 1.3
    with pytest.raises(InputError, match="from its site in the supercell"):
        harmonic_model(atoms, 2, [lost, *frames])
    flat = Atoms("Al", cell=0.01 * atoms.cell.array, pbc=True)
    with pytest.raises(InputError, match="not a slightly deformed supercell"):
        harmonic_model(atoms, 2, [flat])


def test_everything_comes_from_the_store_the_second_time(tmp_path):
    atoms = bulk("Cu", "hcp", a=2.556, c=4.18)
    store, spec = LabelStore(tmp_path), CalculatorSpec("emt")
    found = []
    for compute in (True, False):
        calculator = StoredCalculator(spec, store, compute=compute)
        phonons = phonons_from_supercells(atoms, 2, calculator)
        constants = elastic_constants(atoms, calculator)
        found.append((phonons.phonopy.force_constants, constants.matrix))
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)
    count = len(list(store.keys()))
    assert count == phonons.cost.used.calculations + constants.calculations


def test_internal_strain_against_differences_of_the_forces():
    # Three-fold axes that permute the atoms: what is not its own inverse shows a wrong direction.
    atoms = structured_crystals()["alpha-quartz"]
    recipe = {"per_supercell": 40, "displacement": 1e-4, "strain": 1e-4, "scale": (1.0,)}
    frames = labelled(atoms, 1, PairPotential(), **recipe)
    at_rest = atoms.copy()
    at_rest.calc = PairPotential()
    for frame in frames:
        # The model is for a crystal at rest.
        frame.arrays["REF_forces"] -= at_rest.get_forces()
    found = harmonic_model(atoms, 1, frames).internal_strain
    for j, k in ((0, 0), (2, 2), (1, 2), (0, 1)):
        forces = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[j, k] += sign * 5e-5
            strain[k, j] += sign * 5e-5
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = PairPotential()
            # Conjugate to displacements with the deformation undone.
            forces.append((strained.get_forces() - at_rest.get_forces()) @ (np.eye(3) + strain))
        expected = -(forces[0] - forces[1]) / 2e-4
        np.testing.assert_allclose(found[:, :, j, k], expected - expected.mean(axis=0), atol=5e-3 * np.abs(found).max())
