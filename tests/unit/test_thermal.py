"""Displacements of a temperature: their covariance against phonopy's and against the Hessian, and trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.io import write
from phonopy.phonon.random_displacements import RandomDisplacements

from ndsc import find_supercells, make_configurations, phonons_from_supercells, remake_configuration
from ndsc import make_supercell as exact_supercell
from ndsc.configurations import ConfigurationSettings
from ndsc.crystal import as_crystal
from ndsc.errors import InputError
from ndsc.thermal import (
    HarmonicSampler,
    commensurate_qpoints,
    displacement_warning,
    load_force_constants,
    mode_deviations,
    nearest_distance,
    thermal_configurations,
)
from ndsc.trajectories import supercell_of, trajectory_configurations

DIAGONAL = np.diag([2, 2, 2])


def ordered() -> Atoms:
    """CuAu in its layered structure, whose unit cell has two atoms of different mass."""
    return Atoms("CuAu", cell=[2.74, 2.74, 3.6], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)


@pytest.fixture(scope="module")
def phonons():
    return phonons_from_supercells(ordered(), 2, EMT(), residual_force_limit=1.0)


def covariance(sampler: HarmonicSampler, matrix, temperature: float) -> np.ndarray:
    """Of the displacements, from what each normal number alone makes of them: no sampling error."""
    size = 3 * len(exact_supercell(sampler.crystal.atoms, matrix))
    linear = sampler.displacements(matrix, temperature, np.eye(size)).reshape(size, size)
    return linear.T @ linear


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
@pytest.mark.parametrize("temperature", [10.0, 300.0])
def test_the_covariance_is_that_of_phonopy(phonons, statistics, temperature):
    sampler = HarmonicSampler(phonons.crystal, phonons.phonopy, statistics)
    found = covariance(sampler, DIAGONAL, temperature)
    phonon = phonons.phonopy
    theirs = RandomDisplacements(phonon.supercell, phonon.primitive, phonon.force_constants, dist_func=statistics)
    theirs.run_correlation_matrix(temperature)
    # Atoms of phonopy's supercell are in another order.
    frame = exact_supercell(phonons.crystal.atoms, DIAGONAL)
    places = frame.get_scaled_positions()
    apart = places[:, None] - phonon.supercell.scaled_positions[None]
    order = np.linalg.norm(apart - np.rint(apart), axis=-1).argmin(axis=1)
    expected = theirs.uu[np.ix_(order, order)].swapaxes(1, 2).reshape(found.shape)
    # The two have Boltzmann's constant of different years.
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-9)


def test_mean_squares_are_the_thermal_displacements_of_phonopy(phonons):
    phonon = phonons.phonopy
    phonon.run_mesh([2, 2, 2], with_eigenvectors=True, is_mesh_symmetry=False, is_gamma_center=True)
    phonon.run_thermal_displacements(temperatures=[300.0], freq_min=0.01)
    expected = phonon.thermal_displacements.thermal_displacements[0]
    sampler = HarmonicSampler(phonons.crystal, phonon)
    frame = exact_supercell(phonons.crystal.atoms, DIAGONAL)
    mean_squares = np.diag(covariance(sampler, DIAGONAL, 300.0)).reshape(-1, 3)
    for atom in range(2):
        images = mean_squares[frame.arrays["ndsc_basis"] == atom]
        np.testing.assert_allclose(images, np.tile(expected[3 * atom : 3 * atom + 3], (8, 1)), rtol=1e-6)
    assert sampler.rms(DIAGONAL, 300.0) == pytest.approx(np.sqrt(mean_squares.mean()))


def test_the_classical_covariance_is_that_of_the_hessian_of_a_nondiagonal_supercell(phonons):
    """kT times the inverse of the second derivatives of the energy, without translations."""
    crystal = phonons.crystal
    supercells = find_supercells(crystal, 2)
    matrix = supercells.matrices[-1]
    assert np.any(matrix != np.diag(np.diag(matrix)))
    frame = exact_supercell(crystal.atoms, matrix)
    frame.calc = EMT()
    step, rows = 0.005, []
    for atom, axis in np.ndindex(len(frame), 3):
        forces = []
        for sign in (1, -1):
            moved = frame.copy()
            moved.calc = frame.calc
            moved.positions[atom, axis] += sign * step
            forces.append(moved.get_forces().ravel())
        rows.append((forces[1] - forces[0]) / (2 * step))
    hessian = (np.array(rows) + np.array(rows).T) / 2
    expected = units.kB * 300.0 * np.linalg.pinv(hessian, rcond=1e-4)
    # Without translations the mass-weighted centre rests; the inverse above keeps the unweighted one in place.
    masses = np.repeat(frame.get_masses(), 3)
    weights = (
        np.kron(np.ones((len(frame), 1)), np.eye(3)) @ np.kron(frame.get_masses(), np.eye(3)) / frame.get_masses().sum()
    )
    rest = np.eye(len(masses)) - weights
    expected = rest @ expected @ rest.T
    found = covariance(HarmonicSampler(crystal, phonons.phonopy, "classical"), matrix, 300.0)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_deviations_of_modes():
    # A classical oscillator has kT/2 of potential energy; a quantum one at 0 K half a quantum, of which half is that.
    frequencies = np.array([0.005, 1.0, 8.0])
    classical = mode_deviations(frequencies, 300.0, "classical")
    omega = 2e12 * np.pi * frequencies / units.second
    assert classical[0] == 0.0
    np.testing.assert_allclose(0.5 * omega[1:] ** 2 * classical[1:] ** 2, units.kB * 300 / 2)
    zero = mode_deviations(frequencies, 0.0, "quantum")
    planck = units._hplanck * units.J * units.second
    quanta = planck * 1e12 * frequencies / units.second
    np.testing.assert_allclose(0.5 * omega[1:] ** 2 * zero[1:] ** 2, quanta[1:] / 4)
    hot = mode_deviations(frequencies, 1e5, "quantum")
    np.testing.assert_allclose(hot, mode_deviations(frequencies, 1e5, "classical"), rtol=1e-3)
    assert np.all(mode_deviations(frequencies, 0.0, "classical") == 0.0)


@pytest.mark.parametrize("matrix", [np.eye(3, dtype=int), DIAGONAL, [[1, 0, 0], [1, 2, 0], [0, 1, 3]]])
def test_commensurate_qpoints(matrix):
    found = commensurate_qpoints(matrix)
    assert len(found) == round(np.linalg.det(matrix))
    turns = found @ np.asarray(matrix).T
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-12)
    assert len({tuple(np.round(q % 1, 9) % 1) for q in found}) == len(found)


def test_imaginary_modes_count_with_their_absolute_value_and_soft_ones_not():
    # Simple cubic Al is unstable with EMT.
    unstable = phonons_from_supercells(bulk("Al", "sc", a=2.7), 2, EMT(), residual_force_limit=1.0)
    sampler = HarmonicSampler(unstable.crystal, unstable.phonopy, "classical")
    supercells = find_supercells(unstable.crystal, 2)
    frequencies = unstable.phonopy.run_qpoints([[0.5, 0.0, 0.0]]).frequencies[0]
    assert frequencies[0] < -0.1
    matrix = next(m for m in supercells.matrices if 0.5 in commensurate_qpoints(m) % 1)
    variances = np.linalg.eigvalsh(covariance(sampler, matrix, 100.0))
    at = commensurate_qpoints(matrix)
    absolute = np.abs(np.concatenate(unstable.phonopy.run_qpoints(at).frequencies))
    expected = np.sort(mode_deviations(absolute, 100.0, "classical") ** 2) / unstable.crystal.atoms.get_masses()[0]
    np.testing.assert_allclose(variances, expected, atol=1e-10)
    soft = np.max(np.abs(frequencies)) + 5.0
    assert HarmonicSampler(unstable.crystal, unstable.phonopy, "classical", soft).rms(matrix, 100.0) < sampler.rms(
        matrix, 100.0
    )
    assert displacement_warning(supercells, unstable, 30.0, "classical") is None
    assert "of the distance between neighbours" in str(displacement_warning(supercells, unstable, 1e5, "classical"))


def test_configurations_have_recipes_names_and_the_spread_that_is_expected(phonons):
    supercells = find_supercells(phonons.crystal, 2)
    options = {"temperature": [100, 300], "scale": [0.99, 1.01], "strain": 0.01, "seed": 3, "part": "hot"}
    frames = thermal_configurations(supercells, phonons, per_supercell=8, unit_cells=2, **options)
    assert len(frames) == 2 + 8 * len(supercells)
    names = [frame.info["ndsc_name"] for frame in frames]
    assert names[:3] == ["hot-unit-0000", "hot-unit-0001", "hot-s000-t0000"]
    assert [frame.info["ndsc_temperature"] for frame in frames[2:6]] == [100, 100, 300, 300]
    perfect = make_configurations(supercells, per_supercell=0, unit_cells=1, seed=3, part="hot")
    assert frames[0] == perfect[0]
    # Optical modes of the unit cell are displaced too.
    assert np.ptp(frames[1].positions - frames[1].positions[0], axis=0).max() > 0
    more = thermal_configurations(supercells, phonons, per_supercell=2, unit_cells=0, first_index=6, **options)
    assert more[0] == frames[2 + 6]
    with pytest.raises(InputError, match="drawn from force constants"):
        remake_configuration(phonons.crystal.atoms, frames[3].info)
    cold = thermal_configurations(supercells, phonons, temperature=300, per_supercell=400, unit_cells=0, scale=1.0)
    matrix = supercells.matrices[0]
    reference = exact_supercell(phonons.crystal.atoms, matrix)
    moved = np.array([frame.positions - reference.positions for frame in cold[:400]])
    sampler = HarmonicSampler(phonons.crystal, phonons.phonopy)
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(sampler.rms(matrix, 300.0), rel=0.05)
    assert cold[0].info["ndsc_displacement"] == pytest.approx(sampler.rms(matrix, 300.0), abs=1e-3)


def test_force_constants_of_a_file_and_of_another_crystal(phonons, tmp_path: Path):
    phonons.save(tmp_path / "phonopy_params.yaml")
    loaded = load_force_constants(tmp_path / "phonopy_params.yaml")
    ours, theirs = (
        HarmonicSampler(phonons.crystal, one).displacements(DIAGONAL, 300.0, np.ones(48))
        for one in (phonons.phonopy, loaded)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    with pytest.raises(InputError, match="no file"):
        load_force_constants(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: 1\n")
    with pytest.raises(InputError, match=r"bad.yaml cannot be read"):
        load_force_constants(tmp_path / "bad.yaml")
    for other, why in (
        (bulk("Al"), "its cell holds Cu Au, the crystal Al"),
        (Atoms(ordered(), cell=[2.74, 2.74, 5.6]), "a strain of"),
        (Atoms("CuAu", cell=ordered().cell, scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.3]], pbc=True), "atoms differ"),
    ):
        with pytest.raises(InputError, match=why):
            HarmonicSampler(as_crystal(other), phonons.phonopy)
    with pytest.raises(InputError, match="'quantum' or 'classical'"):
        HarmonicSampler(phonons.crystal, phonons.phonopy, "wigner")  # type: ignore[arg-type]


def test_distance_of_neighbours():
    assert nearest_distance(bulk("Al", a=4.05)) == pytest.approx(4.05 / np.sqrt(2))
    assert nearest_distance(ordered()) == pytest.approx(np.sqrt(2 * 1.37**2 + 1.8**2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 300, "displacement": 0.1}, "displacement cannot be combined with temperature"),
        ({"temperature": 300, "trajectory": "md.xyz"}, "two ways"),
        ({"trajectory": "md.xyz", "per_supercell": 3}, "per_supercell cannot be combined with trajectory"),
        ({"statistics": "quantum"}, "only has an effect with temperature"),
        ({"force_constants": "file"}, "only has an effect with temperature"),
        ({"every": 5}, "only has an effect with trajectory"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": 300, "statistics": "bose"}, "statistics"),
    ],
)
def test_settings_that_contradict_each_other(settings, said):
    with pytest.raises(InputError, match=said):
        ConfigurationSettings.parse(settings, "The options")


def test_a_trajectory_of_supercells_of_any_shape(tmp_path: Path):
    crystal = as_crystal(bulk("Al", a=4.05))
    cubic = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    matrices = [cubic, [[1, 0, 0], [0, 2, 0], [0, 1, 2]]]
    frames = []
    for number, matrix in enumerate(matrices * 2):
        frame = make_supercell(crystal.atoms, matrix)
        frame.rattle(0.1, seed=number)
        frame.set_cell(frame.cell.array * 1.01, scale_atoms=True)
        frame.set_momenta(np.ones((len(frame), 3)))
        frame.calc = EMT()
        frame.get_potential_energy()
        frames.append(frame)
    write(tmp_path / "md.extxyz", frames)
    found = trajectory_configurations(crystal, tmp_path / "md.extxyz", part="md")
    assert [frame.info["ndsc_name"] for frame in found] == [f"md-frame-{i:05d}" for i in range(4)]
    for frame, source, matrix in zip(found, frames, matrices * 2, strict=True):
        np.testing.assert_array_equal(frame.info["ndsc_matrix"], np.ravel(matrix))
        distances = source.get_all_distances(mic=True)
        np.testing.assert_allclose(frame.get_all_distances(mic=True), distances, atol=1e-7)
        assert frame.calc is None
        assert "momenta" not in frame.arrays
    half = trajectory_configurations(crystal, tmp_path / "md.extxyz", every=2)
    assert [frame.info["ndsc_index"] for frame in half] == [0, 2]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda frame: frame.rotate(20, "z", rotate_cell=True), "must be rotated first"),
        (lambda frame: frame.set_cell(frame.cell.array * 1.3, scale_atoms=True), "in units of the unit cell"),
        (lambda frame: frame.pop(), "it holds Al3"),
        (lambda frame: frame.set_cell(np.zeros((3, 3))), "no cell"),
    ],
)
def test_frames_that_are_no_supercells(change, why, tmp_path: Path):
    crystal = as_crystal(bulk("Al", a=4.05))
    frame = bulk("Al", a=4.05, cubic=True)
    change(frame)
    with pytest.raises(InputError, match=why):
        supercell_of(frame, crystal, "Frame 0")


def test_trajectories_that_cannot_be_read(tmp_path: Path):
    crystal = as_crystal(bulk("Al"))
    with pytest.raises(InputError, match="There is no trajectory"):
        trajectory_configurations(crystal, tmp_path / "none.extxyz")
    (tmp_path / "bad.extxyz").write_text("no frames\n")
    with pytest.raises(InputError, match="cannot be read"):
        trajectory_configurations(crystal, tmp_path / "bad.extxyz")
