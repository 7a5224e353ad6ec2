"""The path through the Brillouin zone, and the comparison of phonons."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.dft.kpoints import parse_path_string
from ase.lattice import all_variants
from scipy.spatial.transform import Rotation

from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants.phonopy_model import make_phonopy
from ndsc.phonons import PhononComparison, _dos_divisions, band_path, compare_phonons, phonons_from_supercells

VARIANTS = {lattice.variant: lattice for lattice in all_variants() if lattice.ndim == 3}
QUICK = {"mesh": 6, "dos_mesh": 8}


def lengths(path, atoms):
    """Lengths of the wave vectors along the path, and between its special points, 1/Å."""
    cartesian = path.qpoints @ np.linalg.inv(atoms.cell.array).T
    return np.linalg.norm(cartesian, axis=1), np.linalg.norm(np.diff(cartesian, axis=0), axis=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_path_is_the_same_in_any_setting(variant):
    lattice = VARIANTS[variant]
    cell = lattice.tocell().array * 3
    plain = Atoms("Al", cell=cell, pbc=True)
    rotation = Rotation.from_rotvec([0.4, -0.2, 1.0]).as_matrix()
    skewed = Atoms("Al", cell=np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]]) @ cell @ rotation.T, pbc=True)
    first, second = band_path(plain, 60), band_path(skewed, 60)
    assert first.labels == second.labels
    assert first.segments == second.segments
    np.testing.assert_allclose(first.distances, second.distances, atol=1e-8)
    for one, other in zip(lengths(first, plain), lengths(second, skewed), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)
    # The special points of ASE's path for the standard cell are on the path.
    standard = lattice.bandpath(npoints=0)
    on_path = lengths(first, plain)[0]
    for name in {name for section in parse_path_string(standard.path) for name in section}:
        length = np.linalg.norm(standard.special_points[name] @ np.linalg.inv(cell).T)
        assert np.min(np.abs(on_path - length)) < 1e-6


def test_the_path_of_fcc_by_name():
    atoms = bulk("Al", a=4.0)
    path = band_path(atoms, 100)
    assert path.labels == ("Γ", "X", "W", "K", "Γ", "L", "U", "W", "L", "K", "U", "X")
    assert len(path.segments) == 2
    (first, end), (start, last) = path.segments
    assert (first, last) == (0, len(path.qpoints) - 1)
    assert start == end + 1
    # No step where the path jumps from K to U, and even steps elsewhere.
    assert path.distances[start] == path.distances[end]
    assert np.all(np.diff(path.distances[: end + 1]) > 0)
    np.testing.assert_allclose(path.ticks[1], 1 / 4.0, rtol=1e-12)
    np.testing.assert_allclose(lengths(path, atoms)[1][:end], np.diff(path.distances[: end + 1]), atol=1e-12)


def test_a_cell_that_is_not_primitive_has_the_path_of_the_primitive_one():
    primitive, conventional = bulk("Si", a=5.4), bulk("Si", a=5.4, cubic=True)
    first, second = band_path(primitive, 50), band_path(conventional, 50)
    assert first.labels == second.labels
    np.testing.assert_allclose(lengths(first, primitive)[0], lengths(second, conventional)[0], atol=1e-8)
    # X of the fcc lattice is a reciprocal lattice vector of the simple cubic cell.
    x = second.qpoints[np.argmin(np.abs(second.distances - second.ticks[1]))]
    np.testing.assert_allclose(x, np.rint(x), atol=1e-9)


def test_a_path_needs_two_points():
    with pytest.raises(InputError, match="npoints = 1 is not a path"):
        band_path(bulk("Al"), 1)


@pytest.fixture(scope="module")
def two_phonons():
    return [phonons_from_supercells(bulk("Al", a=a), 2, EMT()).phonopy for a in (4.03, 4.0)]


def test_equal_phonons_have_no_error(two_phonons):
    comparison = compare_phonons(two_phonons[0], two_phonons[0], **QUICK)
    assert comparison.rmse_mesh_thz == comparison.rmse_path_thz == comparison.max_error_thz == 0
    np.testing.assert_array_equal(comparison.model_dos, comparison.reference_dos)


def test_errors_are_what_their_definitions_say(two_phonons):
    model, reference = two_phonons
    comparison = compare_phonons(model, reference, **QUICK)
    # The mesh, without symmetry.
    full = np.indices((6, 6, 6)).reshape(3, -1).T / 6
    difference = model.run_qpoints(full).frequencies - np.array(reference.run_qpoints(full).frequencies)
    assert comparison.rmse_mesh_thz == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-6)
    assert comparison.mesh_weights.sum() == 216
    on_path = np.abs(comparison.model_path - comparison.reference_path)
    assert comparison.max_error_thz >= on_path.max()
    assert comparison.rmse_path_thz == pytest.approx(np.sqrt(np.mean(on_path**2)), rel=0.05)
    assert comparison.reference_max_frequency_thz == pytest.approx(comparison.reference_path.max(), rel=0.02)
    np.testing.assert_array_equal(comparison.path.distances, band_path(bulk("Al", a=4.0)).distances)


def test_densities_of_states_share_one_axis_and_count_the_bands(two_phonons):
    comparison = compare_phonons(*two_phonons, mesh=4, dos_mesh=(16, 16, 16))
    for density in (comparison.model_dos, comparison.reference_dos):
        assert density.shape == comparison.dos_frequencies.shape
        assert np.trapezoid(density, comparison.dos_frequencies) == pytest.approx(3, rel=0.02)


def test_densities_of_crystals_with_many_modes_have_coarser_meshes(two_phonons):
    rattled = bulk("Al", cubic=True)
    rattled.rattle(0.1, seed=0)
    for atoms in (bulk("Al"), bulk("Mg"), bulk("Si", cubic=True), rattled):
        crystal = Crystal.from_atoms(atoms)
        divisions = _dos_divisions(crystal)[0]
        modes = divisions**3 * len(atoms) / len(crystal.point_group)
        assert divisions == 40 or 7000 < modes < 9000
    assert _dos_divisions(Crystal.from_atoms(rattled))[0] < 20
    assert compare_phonons(*two_phonons, mesh=4).dos_mesh == (40, 40, 40)


def test_imaginary_frequencies_are_negative():
    stable = phonons_from_supercells(bulk("Al", a=4.0), 2, EMT()).phonopy
    stretched = phonons_from_supercells(bulk("Al", a=4.7), 2, EMT()).phonopy
    comparison = compare_phonons(stretched, stable, **QUICK)
    assert comparison.min_frequency_thz < -0.5
    assert comparison.reference_min_frequency_thz > -1e-3
    assert comparison.dos_frequencies[0] < comparison.min_frequency_thz


def test_comparison_survives_json(two_phonons):
    comparison = compare_phonons(*two_phonons, **QUICK)
    text = json.dumps(comparison.to_dict())
    assert len(text) < 150_000
    loaded = PhononComparison.from_dict(json.loads(text))
    for name in ("rmse_mesh_thz", "rmse_path_thz", "max_error_thz", "min_frequency_thz"):
        assert getattr(loaded, name) == pytest.approx(getattr(comparison, name), abs=2e-6)
    assert loaded.path.labels == comparison.path.labels
    assert loaded.path.segments == comparison.path.segments
    assert loaded.mesh == (6, 6, 6)
    np.testing.assert_allclose(loaded.model_path, comparison.model_path, atol=1e-6)


def test_densities_of_states_can_be_left_out(two_phonons):
    comparison = compare_phonons(*two_phonons, mesh=4, dos_mesh=None)
    assert comparison.dos_mesh is comparison.dos_frequencies is comparison.model_dos is None
    assert PhononComparison.from_dict(json.loads(json.dumps(comparison.to_dict()))).reference_dos is None


def test_a_damaged_comparison_is_refused(two_phonons):
    data = compare_phonons(*two_phonons, **QUICK).to_dict()
    del data["model_path"]
    with pytest.raises(InputError, match="stored phonon comparison"):
        PhononComparison.from_dict(data)


def test_what_cannot_be_compared(two_phonons):
    copper = phonons_from_supercells(bulk("Cu", a=3.6), 1, EMT()).phonopy
    with pytest.raises(InputError, match=r"model \(Cu\) and reference \(Al\) differ"):
        compare_phonons(copper, two_phonons[1])
    with pytest.raises(InputError, match="The model has no force constants"):
        compare_phonons(make_phonopy(Crystal.from_atoms(bulk("Al", a=4.0)), (2, 2, 2)), two_phonons[1])
    broken = make_phonopy(Crystal.from_atoms(bulk("Al", a=4.0)), (1, 1, 1))
    broken.force_constants = np.full((1, 1, 3, 3), np.nan)
    with pytest.raises(InputError, match="force constants of the model are not all finite"):
        compare_phonons(broken, two_phonons[1])
    large = phonons_from_supercells(bulk("Al", a=5.2), 1, EMT()).phonopy
    with pytest.raises(InputError, match=r"differ by a strain of 0\.30"):
        compare_phonons(large, two_phonons[1])
