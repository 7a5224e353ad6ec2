"""BORN files: of magnetic crystals, of cells that are not primitive, and of other cells than the one given."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from phonopy.file_IO import parse_BORN

from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants.born import read_born
from ndsc.force_constants.phonopy_model import phonopy_atoms

SALT = "14.4\n2.4 0 0 0 2.4 0 0 0 2.4\n1.1 0 0 0 1.1 0 0 0 1.1\n-1.1 0 0 0 -1.1 0 0 0 -1.1\n"
U = 0.305
RUTILE_SITES = [(0, 0, 0), (0.5, 0.5, 0.5), (U, U, 0), (-U, -U, 0), (0.5 - U, 0.5 + U, 0.5), (0.5 + U, 0.5 - U, 0.5)]
#: Tensors of the metal and of the first oxygen, which has the axes (1 1 0), (1 -1 0) and z.
METAL = "6.2 0.4 0 0.4 6.2 0 0 0 7.4"
OXYGEN = "-3.1 -1.8 0 -1.8 -3.1 0 0 0 -3.7"
DIELECTRIC = "6.5 0 0 0 6.5 0 0 0 7.8"


def rutile():
    return Atoms("Mn2F4", cell=[4.87, 4.87, 3.31], scaled_positions=RUTILE_SITES, pbc=True)


def write(folder, *lines):
    path = folder / "BORN"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_cell_that_is_not_primitive(tmp_path):
    path = write(tmp_path, *SALT.splitlines())
    primitive = bulk("NaCl", "rocksalt", a=5.6)
    for atoms in (primitive, make_supercell(primitive, [[-1, 1, 1], [1, -1, 1], [1, 1, -1]])):
        found = read_born(path, Crystal.from_atoms(atoms))
        charges = np.where(atoms.symbols == "Na", 1.1, -1.1)
        np.testing.assert_allclose(found["born"], charges[:, None, None] * np.eye(3), atol=1e-12)
        assert found["factor"] == 14.4


def test_as_phonopy_reads_it(tmp_path):
    path = write(tmp_path, "default", DIELECTRIC, METAL, OXYGEN)
    crystal = Crystal.from_atoms(rutile())
    found, expected = read_born(path, crystal), parse_BORN(phonopy_atoms(crystal), filename=path)
    np.testing.assert_allclose(found["born"] - found["born"].mean(axis=0), found["born"], atol=1e-12)
    np.testing.assert_allclose(found["born"], expected["born"], atol=0.1)
    # The second oxygen is the first one, inverted; the third is turned by 90 degrees.
    np.testing.assert_allclose(found["born"][3], found["born"][2], atol=1e-12)
    np.testing.assert_allclose(found["born"][4][0, 1], -found["born"][2][0, 1], atol=1e-12)


def test_magnetic_crystals_with_the_file_of_either_symmetry(tmp_path):
    plain = read_born(write(tmp_path, "14.4", DIELECTRIC, METAL, OXYGEN), Crystal.from_atoms(rutile()))
    for moments in ([4.5, -4.5, 0, 0, 0, 0], [4.5, 4.5, 0, 0, 0, 0], [4.5, 1.5, 0, 0, 0, 0]):
        atoms = rutile()
        atoms.set_initial_magnetic_moments(moments)
        crystal = Crystal.from_atoms(atoms)
        # Independent atoms without moments.
        found = read_born(write(tmp_path, "14.4", DIELECTRIC, METAL, OXYGEN), crystal)
        np.testing.assert_allclose(found["born"], plain["born"], atol=1e-9)
        # All atoms.
        every = [" ".join(str(x) for x in tensor.ravel()) for tensor in plain["born"]]
        np.testing.assert_allclose(
            read_born(write(tmp_path, "14.4", DIELECTRIC, *every), crystal)["born"], plain["born"]
        )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("14.4", DIELECTRIC, OXYGEN, METAL), "another order"),
        (("14.4", "7.8 0 0 0 6.5 0 0 0 6.5", METAL, OXYGEN), "dielectric"),
        (("14.4", DIELECTRIC, METAL), "independent atoms 1, 3 of 6"),
        (("14.4", DIELECTRIC, METAL, OXYGEN, OXYGEN), "independent atoms"),
        (("nothing",), "not a BORN file"),
    ],
)
def test_files_of_other_cells(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        read_born(write(tmp_path, *lines), Crystal.from_atoms(rutile()))
