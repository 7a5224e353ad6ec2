"""What a structure carries reaches the crystal; what is not a crystal is refused before anything is made of it."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write

from ndsc.crystal import Crystal, as_crystal, load_crystal, primitive_crystal
from ndsc.errors import InputError
from ndsc.supercells import find_supercells

CIF = (
    "data_x\n_cell_length_a {a}\n_cell_length_b {a}\n_cell_length_c {a}\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
    "_cell_angle_gamma 90\n_space_group_IT_number {number}\n_space_group_name_H-M_alt '{symbol}'\nloop_\n"
    "_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
)


def cif(path, sites, *, a=3.6, occupancy=False, extra=""):
    head = CIF.format(a=a, number=225, symbol="F m -3 m") + ("_atom_site_occupancy\n" if occupancy else "")
    path.write_text(head + sites + extra)
    return path


def test_deuterium_keeps_its_mass(tmp_path):
    path = cif(tmp_path / "lid.cif", "Li1 Li 0 0 0\nD1 D 0.5 0.5 0.5\n", a=4.065)
    masses = load_crystal(path, primitive=True).get_masses()
    assert masses == pytest.approx([6.94, 2.01355], abs=1e-4)


def test_everything_that_an_atom_carries_stays():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_masses(np.where(atoms.numbers == 17, 37.0, 22.99))
    atoms.set_initial_charges(np.where(atoms.numbers == 17, -1.0, 1.0))
    atoms.set_tags(np.where(atoms.numbers == 17, 3, 1))
    atoms.set_array("site", np.where(atoms.numbers == 17, 7, 8))
    atoms.info["name"] = "rock salt"
    for result in (load_crystal(atoms), primitive_crystal(atoms), Crystal.from_dict(as_crystal(atoms).to_dict()).atoms):
        chlorine = result.numbers == 17
        assert np.all(result.get_masses()[chlorine] == 37.0)
        assert np.all(result.get_initial_charges() == np.where(chlorine, -1.0, 1.0))
        assert np.all(result.get_tags() == np.where(chlorine, 3, 1))
        assert np.all(result.arrays["site"] == np.where(chlorine, 7, 8))
        assert result.info["name"] == "rock salt"


def test_isotopes_and_charges_are_species_but_their_last_digits_are_not():
    atoms = bulk("Al", cubic=True)
    full = len(as_crystal(atoms).rotations)
    atoms.set_masses([26.98, 26.9801, 26.98, 26.98])
    atoms.set_initial_charges([0.1, 0.1002, 0.1, 0.0999])
    assert len(as_crystal(atoms).rotations) == full
    atoms.set_masses([28.0, 26.98, 26.98, 26.98])
    assert as_crystal(atoms).n_primitive_cells == 1


def test_results_of_a_calculation_do_not_follow_the_atoms(caplog):
    atoms = bulk("Al")
    atoms.set_array("REF_forces", np.ones((1, 3)))
    atoms.set_array("momenta", np.ones((1, 3)))
    atoms.info.update({"REF_energy": 1.0, "virial": np.ones(9), "comment": "kept"})
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    atoms.set_constraint(FixAtoms([0]))
    loaded = load_crystal(atoms)
    assert set(loaded.arrays) == {"numbers", "positions"}
    assert loaded.info == {"comment": "kept"}
    assert loaded.calc is None
    assert not loaded.constraints
    assert "FixAtoms" in caplog.text
    assert atoms.calc is not None
    assert len(atoms.constraints) == 1


@pytest.mark.parametrize(
    "sites",
    ["Ni1 Ni 0 0 0 0.45\nFe1 Fe 0 0 0 0.55\n", "Al1 Al 0 0 0 0.5\n", "Al1 Al 0 0 0 1.0\nO1 O 0.5 0.5 0.5 0.9\n"],
)
def test_partial_occupancy_is_refused(tmp_path, sites):
    with pytest.raises(InputError, match="partially occupied"):
        load_crystal(cif(tmp_path / "x.cif", sites, occupancy=True))


@pytest.mark.parametrize("text", ["1.0", "1.0(1)", ".", "?"])
def test_full_occupancy_is_a_crystal(tmp_path, text):
    """The CIF dictionary says that an occupancy without a value is 1."""
    assert len(load_crystal(cif(tmp_path / "x.cif", f"Al1 Al 0 0 0 {text}\n", occupancy=True))) == 4


@pytest.mark.parametrize(
    "occupancy", [0.99, [0.99, 1, 1, 1], {0: {"Al": float("nan")}}, {"0": {"Al": "half"}}, ["0.9(1)"]], ids=str
)
def test_partial_occupancy_in_the_info_of_atoms(occupancy):
    atoms = bulk("Al", cubic=True)
    atoms.info["occupancy"] = occupancy
    with pytest.raises(InputError, match="partially occupied"):
        Crystal.from_atoms(atoms)


@pytest.mark.parametrize("name", ["occupancy", "occupancies", "site_occupancy", "occ"])
def test_partial_occupancy_in_a_column(name):
    atoms = bulk("Al", cubic=True)
    atoms.set_array(name, np.array([0.99, 1, 1, 1]))
    with pytest.raises(InputError, match="partially occupied"):
        Crystal.from_atoms(atoms)


def test_moments_that_the_reader_drops_are_refused(tmp_path):
    moments = "loop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_x\nFe1 2.0\n"
    with pytest.raises(InputError, match="moments"):
        load_crystal(cif(tmp_path / "fe.cif", "Fe1 Fe 0 0 0\n", extra=moments))


@pytest.mark.parametrize("numbers", [[0, 13], [13, 0]])
def test_ghost_atoms_are_refused(numbers):
    with pytest.raises(InputError, match="no element"):
        Crystal.from_atoms(Atoms(numbers, positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True))


@pytest.mark.parametrize("second", [[0.0, 0.0, 0.0], [0.2, 0.1, 0.0], [3.95, 0.0, 0.0], [0.0, 4.0, 4.4]])
def test_overlapping_atoms_are_refused(second):
    with pytest.raises(InputError, match="overlap"):
        Crystal.from_atoms(Atoms("Al2", positions=[[0, 0, 0], second], cell=[4, 4, 4], pbc=True))


def test_a_cell_that_is_too_small_overlaps_with_itself():
    with pytest.raises(InputError, match="overlap"):
        Crystal.from_atoms(bulk("Al", a=1.0))


def test_a_file_of_several_structures_must_say_which(tmp_path):
    path = tmp_path / "two.xyz"
    write(path, [bulk("Al"), bulk("Cu")])
    with pytest.raises(InputError, match="2 structures"):
        load_crystal(path)
    assert str(load_crystal(f"{path}@0").symbols) == "Al"
    assert str(load_crystal(f"{path}@-1").symbols) == "Cu"
    with pytest.raises(InputError, match="number 2"):
        load_crystal(f"{path}@2")


@pytest.mark.parametrize(
    ("name", "values"),
    [("initial_magmoms", [np.nan]), ("initial_charges", [np.inf]), ("masses", [0.0]), ("masses", [-1.0])],
)
def test_arrays_that_are_not_numbers_of_atoms_are_refused(name, values):
    atoms = bulk("Al")
    atoms.set_array(name, np.array(values))
    with pytest.raises(InputError, match=name):
        Crystal.from_atoms(atoms)


@pytest.mark.parametrize("symprec", [0.0, -1.0, np.nan, np.inf, "1e-3", True])
def test_tolerances_must_be_positive(symprec):
    with pytest.raises(InputError, match="symprec"):
        Crystal.from_atoms(bulk("Al"), symprec=symprec)


def test_moments_of_zero_are_no_moments():
    atoms = bulk("Al")
    atoms.set_initial_magnetic_moments([0.0])
    assert not as_crystal(atoms).atoms.has("initial_magmoms")
    atoms.set_initial_magnetic_moments([1e-4])
    assert not as_crystal(atoms).is_magnetic
    assert len(as_crystal(atoms).rotations) == 48


def rutile(moments=None):
    u = 0.305
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (u, u, 0), (-u, -u, 0), (0.5 - u, 0.5 + u, 0.5), (0.5 + u, 0.5 - u, 0.5)]
    atoms = Atoms("Mn2F4", cell=[4.87, 4.87, 3.31], scaled_positions=sites, pbc=True)
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    return atoms


@pytest.mark.parametrize("moments", [[4.5, -4.5, 0, 0, 0, 0], [4.502, -4.498, 0.001, -0.001, 0, 0]])
def test_reversing_all_spins_is_a_symmetry_of_an_antiferromagnet(moments):
    crystal = as_crystal(rutile(moments))
    assert crystal.symbol == "P4_2/mnm"
    assert len(crystal.point_group) == 16
    assert int(np.sum(crystal.time_reversals)) == 8
    found, plain = find_supercells(crystal, 4), find_supercells(rutile(), 4)
    assert (len(found), found.cost) == (len(plain), plain.cost) == (12, 768)


def test_a_ferrimagnet_has_no_reversal():
    crystal = as_crystal(rutile([4.5, -3.5, 0, 0, 0, 0]))
    assert not np.any(crystal.time_reversals)
    assert len(crystal.point_group) == 8


def test_a_translation_that_reverses_the_spins_makes_no_smaller_cell():
    atoms = bulk("Fe", "fcc", a=3.7, cubic=True)
    layer = np.rint(atoms.get_scaled_positions()[:, 2] * 2).astype(int) % 2
    atoms.set_initial_magnetic_moments(np.where(layer == 0, 2.0, -2.0))
    primitive = as_crystal(atoms).primitive
    assert len(primitive.atoms) == 2
    assert sorted(primitive.atoms.get_initial_magnetic_moments()) == [-2.0, 2.0]


def test_permutations_bring_every_atom_onto_its_image():
    crystal = as_crystal(rutile([4.5, -4.5, 0, 0, 0, 0]))
    positions = crystal.atoms.get_scaled_positions()
    moments = crystal.atoms.get_initial_magnetic_moments()
    for number, permutation in enumerate(crystal.permutations):
        away = positions @ crystal.rotations[number].T + crystal.translations[number] - positions[permutation]
        assert np.allclose(away - np.rint(away), 0, atol=1e-8)
        sign = -1 if crystal.time_reversals[number] else 1
        assert np.allclose(moments[permutation], sign * moments)


def test_coordinates_of_four_digits_are_noticed():
    mg = bulk("Mg")
    mg.set_scaled_positions([(0.3333, 0.6667, 0.25), (0.6667, 0.3333, 0.75)])
    assert as_crystal(mg).number == 63
    assert as_crystal(mg).larger_group() == "P6_3/mmc (194) with symprec = 0.001"
    assert as_crystal(mg, symprec=1e-3).larger_group() is None
    loose = find_supercells(as_crystal(mg, symprec=1e-3), (4, 4, 2))
    assert (len(loose), loose.cost) == (6, 272)


def test_a_tolerance_beside_a_crystal_that_has_another_is_refused():
    crystal = as_crystal(bulk("Al"), symprec=1e-3)
    assert as_crystal(crystal, symprec=1e-3) is crystal
    with pytest.raises(InputError, match="symprec"):
        as_crystal(crystal, symprec=1e-4)


def test_a_relaxed_structure_keeps_its_operations_wherever_its_origin_went():
    crystal = as_crystal(rutile())
    moved = crystal.atoms.copy()
    moved.set_cell(moved.cell.array * [[1.02], [1.02], [0.97]], scale_atoms=True)
    moved.positions += [0.1, 0.2, 0.3]
    kept = crystal.with_structure(moved)
    assert np.array_equal(kept.rotations, crystal.rotations)
    assert kept.permutations.tolist() == crystal.permutations.tolist()
    moved.positions[0] += [0.01, 0, 0]
    with pytest.raises(InputError, match="no longer"):
        crystal.with_structure(moved)


def test_the_primitive_map_names_the_atom_that_each_is_a_copy_of():
    cubic = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    crystal = as_crystal(cubic)
    assert np.bincount(crystal.primitive_map).tolist() == [4, 4]
    assert np.array_equal(crystal.primitive.atoms.numbers[crystal.primitive_map], cubic.numbers)


@pytest.mark.parametrize(
    "values",
    [np.ones((4, 3, 3)), np.array([{}, None, 1, 2], dtype=object), np.ones(4) * 1j],
    ids=["tensors", "objects", "complex"],
)
def test_arrays_that_no_structure_file_holds_are_left_out_by_name(values, caplog):
    """They would end in a crash of the writer, after the calculations."""
    atoms = bulk("Al", cubic=True)
    atoms.arrays["born"] = values
    assert "born" not in Crystal.from_atoms(atoms).atoms.arrays
    assert "born" in caplog.text


def test_info_of_arrays_survives_json():
    atoms = bulk("Al")
    atoms.info |= {"axes": np.eye(2, 3), "count": np.int64(3), 5: "no name"}
    info = Crystal.from_dict(json.loads(json.dumps(Crystal.from_atoms(atoms).to_dict()))).atoms.info
    np.testing.assert_array_equal(info["axes"], np.eye(2, 3))
    assert info["count"] == 3
    assert 5 not in info
