"""Hessians of supercells from the phonons of a grid, against finite differences of the calculator in each supercell."""

import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read

from ndsc import find_supercells
from ndsc.errors import InputError
from ndsc.force_constants import phonons_from_supercells
from ndsc.hessians import folded_hessian, supercell_hessians, with_labels, write_hessians
from ndsc.reference import Label
from ndsc.reference.label_file import structure_record
from ndsc.supercells import make_supercell
from ndsc.thermal import commensurate_qpoints

STEP = 1e-3
CRYSTALS = {
    "Al": (bulk("Al", a=3.994), 3),
    "CuAu": (Atoms("CuAu", [[0, 0, 0], [1.97, 1.97, 1.75]], cell=[3.94, 3.94, 3.5], pbc=True), (2, 2, 3)),
    "Pd-bcc-cell": (bulk("Pd", "fcc", a=3.878, cubic=True), (2, 1, 1)),
}


@pytest.fixture(scope="module", params=CRYSTALS)
def phonons(request):
    atoms, grid = CRYSTALS[request.param]
    supercells = find_supercells(atoms, grid)
    found = phonons_from_supercells(atoms, grid, EMT(), displacement=STEP, residual_force_limit=1.0)
    return supercells, found, supercell_hessians(found.phonopy, supercells)


def finite_differences(atoms):
    """The Hessian by central differences of the forces."""
    size = 3 * len(atoms)
    hessian = np.empty((size, size))
    for column in range(size):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[column // 3, column % 3] += sign * STEP
            moved.calc = EMT()
            forces.append(moved.get_forces().ravel())
        hessian[:, column] = (forces[1] - forces[0]) / (2 * STEP)
    return hessian


def test_finite_differences_in_every_supercell(phonons):
    _, _, hessians = phonons
    for one in hessians:
        true = finite_differences(one.atoms)
        np.testing.assert_allclose(one.hessian, true, atol=1e-4 * np.abs(true).max())
        np.testing.assert_array_equal(one.hessian, one.hessian.T)
        np.testing.assert_allclose(one.hessian.reshape(len(true), -1, 3).sum(axis=1), 0, atol=1e-8)


def test_frequencies_are_those_of_the_supercells_qpoints(phonons):
    supercells, found, hessians = phonons
    for matrix, one in zip(supercells.matrices, hessians, strict=True):
        masses = np.repeat(one.atoms.get_masses(), 3)
        own = np.linalg.eigvalsh(one.hessian / np.sqrt(masses[:, None] * masses))
        found.phonopy.run_qpoints(commensurate_qpoints(matrix))
        scaled = found.phonopy.qpoints.frequencies / found.phonopy.unit_conversion_factor
        np.testing.assert_allclose(own, np.sort((np.sign(scaled) * scaled**2).ravel()), atol=1e-8)


def test_a_supercell_of_other_qpoints_is_refused(phonons):
    _, found, _ = phonons
    with pytest.raises(InputError, match="not on the grid"):
        folded_hessian(found.phonopy, np.diag([1, 1, 7]))
    with pytest.raises(InputError, match="one unit cell"):
        supercell_hessians(found.phonopy, find_supercells(bulk("Cu", a=3.6), 2))


def labelled(one, *, shift=0.0):
    atoms = one.atoms.copy()
    atoms.calc = EMT()
    energy = atoms.get_potential_energy(force_consistent=True) + shift
    return Label("k", energy, atoms.get_forces(), atoms.get_stress(), 0.1, structure=structure_record(one.atoms))


@pytest.fixture
def hessians(phonons):
    _, _, found = phonons
    return with_labels(found, [labelled(found[0])])


def test_labels_are_found_by_their_structure(hessians, phonons, caplog):
    assert [one.energy is not None for one in hessians] == [True] + [False] * (len(hessians) - 1)
    assert hessians[0].energy == labelled(hessians[0]).energy
    assert with_labels(hessians[:1], [labelled(hessians[0]), labelled(hessians[0], shift=0.1)])[0] is hessians[0]
    assert "2 labels with different energies" in caplog.text


def test_files_hold_what_they_should(tmp_path, hessians):
    first, stress = hessians[0], labelled(hessians[0]).stress
    volume = first.atoms.get_volume()

    path = write_hessians(tmp_path / "h.extxyz", hessians)
    for one, frame in zip(hessians, read(path, ":"), strict=True):
        size = 3 * len(frame)
        np.testing.assert_allclose(frame.arrays["REF_hessian"].reshape(size, size), one.hessian, atol=1e-8)
    frame = read(path, 0)
    assert frame.info["REF_energy"] == pytest.approx(first.energy, abs=1e-12)
    np.testing.assert_allclose(frame.arrays["REF_forces"], first.forces, atol=1e-8)
    np.testing.assert_allclose(np.reshape(frame.info["REF_stress"], 9)[[0, 4, 8, 5, 2, 1]], stress, atol=1e-12)

    from ase.db import connect

    with connect(str(write_hessians(tmp_path / "h.db", hessians))) as database:
        rows = list(database.select())
    for one, row in zip(hessians, rows, strict=True):
        np.testing.assert_array_equal(row.data["hessian"], one.hessian)
    assert rows[0].energy == first.energy
    np.testing.assert_allclose(rows[0].toatoms().get_stress(), stress, atol=1e-12)

    with np.load(write_hessians(tmp_path / "h.npz", hessians)) as arrays:
        for number, one in enumerate(hessians):
            np.testing.assert_array_equal(arrays[f"{number}/hessian"], one.hessian)
            np.testing.assert_array_equal(arrays[f"{number}/positions"], one.atoms.positions)
        assert ("1/energy" in arrays) == (len(hessians) > 1 and hessians[1].energy is not None)

    folder = write_hessians(tmp_path / "deepmd", hessians)
    for one in hessians:
        system = folder / one.atoms.info["ndsc_name"]
        names = (system / "type_map.raw").read_text().split()
        kinds = [names[int(word)] for word in (system / "type.raw").read_text().split()]
        assert kinds == one.atoms.get_chemical_symbols()
        assert np.load(system / "set.000" / "hessian.npy").shape == (1, one.hessian.size)
    virial = np.load(folder / "hessian-s000" / "set.000" / "virial.npy").reshape(3, 3)
    np.testing.assert_allclose(-np.diag(virial) / volume, stress[:3], atol=1e-12)


def test_names_that_say_nothing_are_refused(tmp_path, hessians):
    with pytest.raises(InputError, match=r"ends in \.txt"):
        write_hessians(tmp_path / "h.txt", hessians)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        write_hessians(tmp_path / "full", hessians)
    with pytest.raises(InputError, match="no Hessian"):
        write_hessians(tmp_path / "h.npz", [])


def test_command(tmp_path, monkeypatch, capsys):
    from ndsc.cli.app import app

    atoms, grid = CRYSTALS["Al"]
    supercells = find_supercells(atoms, grid)
    found = phonons_from_supercells(atoms, grid, EMT())
    run = tmp_path / "run"
    (run / "phonons").mkdir(parents=True)
    found.save(run / "phonons" / "reference.yaml")
    (run / "supercells.json").write_text(json.dumps(supercells.to_dict()))
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as end:
            app([*words], prog_name="ndsc")
        return end.value.code

    assert call("export", "run", "--hessians", "h.npz") == 0
    assert f"{len(supercells)} Hessians of 3 atoms, 0 with" in capsys.readouterr().out
    with np.load("h.npz") as arrays:
        np.testing.assert_allclose(
            arrays["0/hessian"], folded_hessian(found.phonopy, supercells.matrices[0]), atol=1e-8
        )
        again = make_supercell(atoms, arrays["0/matrix"])
        np.testing.assert_allclose(arrays["0/positions"], again.positions, atol=1e-7)
    assert call("export", "nowhere", "--hessians", "h.npz") == 2
    assert call("export", "run") == 2
    assert call("export", "run", "--dialect", "mace") == 2
    shutil.rmtree(run / "phonons")
    assert call("export", "run", "--hessians", "h.npz") == 2
    assert "reference.yaml is not there" in " ".join(capsys.readouterr().err.split())
