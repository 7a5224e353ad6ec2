import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols
from ase.io import write

from ndsc.crystal import Crystal, load_crystal, primitive_crystal
from ndsc.errors import InputError
from ndsc.structure import bulk_structure


@pytest.mark.parametrize(
    ("atoms", "number", "order", "n_primitive"),
    [
        (bulk("Al"), 225, 48, 1),
        (bulk("Al", cubic=True), 225, 48, 4),
        (bulk("Si"), 227, 48, 1),
        (bulk("Mg"), 194, 24, 1),
        (bulk("NaCl", "rocksalt", a=5.6, cubic=True), 225, 48, 4),
        (bulk("In", "bct", a=3.25, c=4.95), 139, 16, 1),
    ],
)
def test_space_group(atoms, number, order, n_primitive):
    crystal = Crystal.from_atoms(atoms)
    assert crystal.number == number
    assert len(crystal.point_group) == len(crystal.reciprocal_rotations) == order
    assert crystal.n_primitive_cells == n_primitive


def test_operations_map_the_crystal_onto_itself():
    crystal = Crystal.from_atoms(bulk("Mg"))
    positions = crystal.atoms.get_scaled_positions()
    for rotation, translation in zip(crystal.rotations, crystal.translations, strict=True):
        moved = positions @ rotation.T + translation
        distances = moved[:, None] - positions[None]
        distances -= np.rint(distances)
        assert np.all(np.abs(distances).max(axis=2).min(axis=1) < 1e-6)


def test_reciprocal_rotations_keep_the_phase():
    # q' . (W x) = q . x for every operation.
    crystal = Crystal.from_atoms(bulk("Mg"))
    q, x = np.array([1, 2, 5]), np.array([3, -1, 4])
    products = {
        tuple(rotation.ravel()): [int((r @ q) @ (rotation @ x)) for r in crystal.reciprocal_rotations]
        for rotation in crystal.point_group
    }
    assert all(int(q @ x) in values for values in products.values())


def test_magnetic_order_lowers_the_symmetry():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    assert Crystal.from_atoms(iron).n_primitive_cells == 1
    iron.set_initial_magnetic_moments([2.0, 2.0])
    assert Crystal.from_atoms(iron).n_primitive_cells == 2


def test_primitive_crystal_keeps_orientation_and_volume_per_atom():
    cubic = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    cubic.rotate(31, (1, 2, 3), rotate_cell=True)
    primitive = primitive_crystal(cubic)
    assert sorted(primitive.get_chemical_symbols()) == ["Cl", "Na"]
    assert primitive.get_volume() / 2 == pytest.approx(cubic.get_volume() / 8)
    multiples = primitive.cell.array @ np.linalg.inv(cubic.cell.array)
    assert np.allclose(multiples * 4, np.rint(multiples * 4), atol=1e-6)
    assert np.linalg.det(primitive.cell.array) > 0


def test_load_crystal_from_everything(tmp_path):
    assert load_crystal("Al").get_volume() == pytest.approx(bulk("Al").get_volume())
    assert load_crystal("Al", lattice="bcc", a=3.2).get_volume() == pytest.approx(3.2**3 / 2)
    path = tmp_path / "salt.cif"
    write(path, bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    assert len(load_crystal(path)) == 8
    assert len(load_crystal(path, primitive=True)) == 2
    assert load_crystal(bulk("Mg")) is not None


@pytest.mark.parametrize("lattice", [None, "sc", "fcc", "bcc", "diamond", "hcp"])
@pytest.mark.parametrize(("a", "c"), [(None, None), (7.217, None), (7.2, 11.1234), (None, 5.3)])
def test_elements_are_those_of_ase_to_the_last_bit(lattice, a, c):
    """Labels are found by the bits of a structure; simple elements are built without ase.build."""
    compared = 0
    for symbol in chemical_symbols[1:]:
        try:
            expected = bulk(symbol, crystalstructure=lattice, a=a, c=c)
        except (ValueError, KeyError, RuntimeError):
            with pytest.raises(InputError):
                bulk_structure(symbol, lattice=lattice, a=a, c=c)
            continue
        found = bulk_structure(symbol, lattice=lattice, a=a, c=c)
        compared += 1
        assert found.get_chemical_symbols() == expected.get_chemical_symbols()
        assert np.array_equal(found.cell.array, expected.cell.array)
        assert np.array_equal(found.positions, expected.positions)
        assert np.array_equal(found.get_initial_magnetic_moments(), expected.get_initial_magnetic_moments())
        assert found.pbc.all()
    assert compared


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: load_crystal("Xx"), "neither a file nor a crystal"),
        (lambda: load_crystal("missing.cif"), "no file"),
        (lambda: load_crystal(bulk("Al"), a=4.0), "lattice constants were given"),
        (lambda: Crystal.from_atoms("Al"), "ase.Atoms"),
        (lambda: Crystal.from_atoms(Atoms(cell=[1, 1, 1], pbc=True)), "no atoms"),
        (lambda: Crystal.from_atoms(molecule("H2O")), "spans no volume"),
        (lambda: Crystal.from_atoms(Atoms("Al", cell=[3, 3, 3], pbc=(1, 0, 1))), "periodic along"),
        (lambda: Crystal.from_atoms(Atoms("Al", cell=[[0, 0, 3], [0, 3, 0], [3, 0, 0]], pbc=True)), "left-handed"),
        (lambda: Crystal.from_atoms(Atoms("Al", positions=[[np.nan, 0, 0]], cell=[3, 3, 3], pbc=True)), "not finite"),
        (lambda: Crystal.from_atoms(Atoms("Al2", cell=[3, 3, 3], pbc=True)), "overlap"),
    ],
)
def test_bad_crystals_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_file_that_is_no_structure(tmp_path):
    path = tmp_path / "broken.cif"
    path.write_text("this is not a structure")
    with pytest.raises(InputError, match="ASE cannot read"):
        load_crystal(path)
