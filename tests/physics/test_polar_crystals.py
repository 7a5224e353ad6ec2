"""Born charges in a run: the splitting of polar modes in closed form, and phonons between the points of a grid."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.spacegroup import crystal as crystal_of
from ase.units import _amu, _e

from ndsc.config import parse_config
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants.born import read_born
from ndsc.force_constants.polar import polar_modes
from ndsc.phonons import band_path, compare_phonons, phonons_from_supercells, polar_directions
from ndsc.study.runs import StudyRun
from ndsc.workflow import dry_run, run_workflow

sys.path.insert(0, str(Path(__file__).parents[1]))
import outputs_for_tests as outputs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BORN = EXAMPLES / "nacl.BORN"
#: eV/Å²/u in THz².
TO_SQUARE_THZ = _e / _amu * 1e20 / (2 * np.pi) ** 2 / 1e24


@pytest.fixture(autouse=True)
def ions(monkeypatch):
    """The calculator of the examples, found in the working folder as a user has it."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))


def make(name):
    from ionic import make

    return make(name)


def salt(a=5.6229):
    return bulk("NaCl", "rocksalt", a=a)


def rutile():
    cell = [4.4945035, 4.4945035, 3.0094512, 90, 90, 90]
    return crystal_of(["Ti", "O"], [(0, 0, 0), (0.3033008, 0.3033008, 0)], spacegroup=136, cellpar=cell)


def rigid(atoms, charges):
    """phonopy's parameters of rigid ions."""
    born = np.array([charges[symbol] * np.eye(3) for symbol in atoms.symbols])
    return {"born": born, "dielectric": np.eye(3)}


def test_rigid_ions_are_consistent_and_have_the_energy_of_madelung():
    import ionic

    atoms = salt().repeat((2, 1, 1))
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ [[1.01, 0.02, 0], [0.02, 0.99, 0.01], [0, 0.01, 1.02]], scale_atoms=True)
    atoms.calc = ionic.make("nacl")
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5, voigt=True), atol=1e-8)
    pairs = ionic.RigidIons("nacl")
    pairs.pairs = {}
    bare = salt(5.0)
    bare.calc = pairs
    assert -bare.get_potential_energy() * 2.5 / ionic.COULOMB == pytest.approx(1.7475645946, abs=1e-6)


def test_the_splitting_of_rock_salt_is_that_of_its_charges():
    """LO² - TO² = Z² e² / (epsilon_0 V mu), whatever the forces are."""
    import ionic

    crystal = Crystal.from_atoms(salt())
    found = phonons_from_supercells(crystal, 2, make("nacl"), nac_params=read_born(BORN, crystal))
    masses = crystal.atoms.get_masses()
    expected = 4 * np.pi * ionic.COULOMB / crystal.atoms.get_volume() * np.sum(1 / masses) * TO_SQUARE_THZ
    directions = polar_directions(band_path(crystal))
    assert set(directions) >= {"X", "L", "K"}
    for modes in polar_modes(found.phonopy, list(directions.values())):
        (transverse,), (longitudinal,) = modes.transverse, modes.longitudinal
        assert longitudinal**2 - transverse**2 == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match="direction"):
        polar_modes(found.phonopy, [[0, 0, 0]])


def test_the_modes_of_rutile_along_and_across_its_axis():
    """One A2u mode along c, three Eu across; the sum of the differences of squares is that of the charges."""
    import ionic

    atoms = rutile()
    charges = ionic.CRYSTALS["tio2"]["charges"]
    crystal = Crystal.from_atoms(atoms)
    found = phonons_from_supercells(crystal, 1, make("tio2"), nac_params=rigid(atoms, charges))
    total = sum(charges[atom.symbol] ** 2 / atom.mass for atom in crystal.atoms)
    expected = 4 * np.pi * ionic.COULOMB / atoms.get_volume() * total * TO_SQUARE_THZ
    along, across, diagonal = polar_modes(found.phonopy, [[0, 0, 0.5], [0.5, 0, 0], [0.5, 0.5, 0]])
    assert [len(one.transverse) for one in (along, across, diagonal)] == [1, 3, 3]
    for modes in (along, across, diagonal):
        squares = np.square(modes.longitudinal) - np.square(modes.transverse)
        assert squares.sum() == pytest.approx(expected, rel=1e-4)
        assert np.all(squares > 0)
    assert np.all(np.array(across.longitudinal[:-1]) < across.transverse[1:])
    np.testing.assert_allclose(across.longitudinal, diagonal.longitudinal, atol=1e-3)
    compared = compare_phonons(found, found, dos_mesh=None)
    assert sorted(len(one.model_longitudinal) for one in compared.polar) == [1, 3]
    again = type(compared).from_dict(compared.to_dict())
    assert again.polar == compared.polar


def test_between_the_points_of_the_grid():
    """The longitudinal mode at 1/8 of the way is in the 4 x 4 x 4 grid only with the charges."""
    crystal = Crystal.from_atoms(salt())
    direct = phonons_from_supercells(crystal, (8, 1, 1), make("nacl"))
    with_charges = phonons_from_supercells(crystal, 4, make("nacl"), nac_params=read_born(BORN, crystal))
    without = phonons_from_supercells(crystal, 4, make("nacl"))
    q = [[1 / 8, 0, 0]]
    exact, right, wrong = (found.phonopy.run_qpoints(q).frequencies[0] for found in (direct, with_charges, without))
    np.testing.assert_allclose(right, exact, atol=0.01)
    assert exact[-1] - wrong[-1] > 2


RUN = """
[crystal]
structure = "NaCl"
lattice = "rocksalt"
a = 5.6229
relax = false
[supercells]
grid = [2, 2, 2]
[configurations]
per_supercell = 4
unit_cells = 6
displacement = 0.03
[reference]
calculator = "ionic:make"
parameters = {{name = "nacl"}}
[executor]
workers = 1
[fit]
solver = "numpy"
cutoff = 5.0
n_max = 6
l_max = 4
n_sparse = 80
[phonons]
born = "{born}"
dos_mesh = [8, 8, 8]
[elastic]
enabled = false
"""


@pytest.mark.gap
def test_a_run_with_charges(tmp_path):
    config = parse_config(RUN.format(born="nacl.BORN"), folder=EXAMPLES)
    assert config.phonons.born == BORN
    results = run_workflow(config, tmp_path / "run")
    (modes,) = results.phonons.polar
    assert modes.direction == pytest.approx([0.5, 0, 0.5])
    crystal = Crystal.from_atoms(salt())
    reference = phonons_from_supercells(crystal, 2, make("nacl"), nac_params=read_born(BORN, crystal))
    (expected,) = polar_modes(reference.phonopy, [[0.5, 0, 0.5]])
    np.testing.assert_allclose(modes.reference_longitudinal, expected.longitudinal, atol=1e-4)
    # The potential gets the same term: its splitting is that of the charges too.
    (low,), (high,) = modes.model_transverse, modes.model_longitudinal
    assert high**2 - low**2 == pytest.approx(expected.longitudinal[0] ** 2 - expected.transverse[0] ** 2, rel=1e-3)
    assert results.phonons.rmse_mesh_thz < 0.3
    assert f"{high - low:.3f}" in (tmp_path / "run" / "report.html").read_text()
    # The copy of the input file in the folder finds the charges, and a study takes the run with them.
    assert 'born = "' in (tmp_path / "run" / "ndsc.toml").read_text()
    run = StudyRun.load("salt", tmp_path / "run" / "ndsc.toml")
    assert np.allclose(run.reference(elastic=False).nac_params["dielectric"], np.eye(3))
    assert "nac" in run.reference_content()


@pytest.mark.parametrize(
    ("born", "message"),
    [
        ("missing", "no file .*missing"),
        ("ionic.py", "not a BORN file of this crystal"),
        ("other.BORN", "do not fit the crystal"),
    ],
)
def test_charges_that_do_not_fit_stop_a_run_before_anything_is_computed(tmp_path, born, message):
    (tmp_path / "other.BORN").write_text("14.4\n1 0 0 0 1 0 0 0 3\n1 0 0 0 1 0 0 0 1\n-1 0 0 0 -1 0 0 0 -1\n")
    path = tmp_path / born if born == "other.BORN" else born
    config = parse_config(RUN.format(born=path), folder=EXAMPLES)
    with pytest.raises(InputError, match=message):
        dry_run(config, tmp_path / "run")
    with pytest.raises(InputError, match="no effect with reference = 'none'"):
        parse_config(
            RUN.format(born="nacl.BORN").replace("[phonons]", '[phonons]\nreference = "none"'), folder=EXAMPLES
        )


def with_charges(atoms, charges):
    """A vasprun.xml with Born charges and a dielectric tensor."""
    atoms = atoms.copy()
    atoms.info["ndsc_matrix"] = np.eye(3)
    given = (0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))
    text = outputs.vasprun(atoms, given=given)
    tensors = "".join(
        "<set>" + "".join(f"<v>{' '.join(map(str, row))}</v>" for row in charges[symbol] * np.eye(3)) + "</set>\n"
        for symbol in atoms.symbols
    )
    rows = "".join(f"<v>{' '.join(map(str, row))}</v>" for row in 2.4 * np.eye(3))
    more = f'<array name="born_charges">{tensors}</array><varray name="epsilon">{rows}</varray>'
    return text.replace("</calculation>", f"{more}</calculation>")


def test_charges_of_a_vasprun_of_any_cell(tmp_path):
    crystal, path = Crystal.from_atoms(salt()), tmp_path / "vasprun.xml"
    conventional = make_supercell(salt(5.65), [[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    charges = {"Na": 1.1, "Cl": -1.1}
    for atoms in (salt(), salt(5.65), conventional, conventional[::-1]):
        path.write_text(with_charges(atoms, charges))
        found = read_born(path, crystal)
        np.testing.assert_allclose(found["born"][:, 1, 1], [charges[symbol] for symbol in crystal.atoms.symbols])
        np.testing.assert_allclose(found["dielectric"], 2.4 * np.eye(3))
    moved = conventional.copy()
    moved.translate([1.4, 0, 0])
    path.write_text(with_charges(moved, charges))
    with pytest.raises(InputError, match="not of this crystal"):
        read_born(path, crystal)
    path.write_text(with_charges(salt(), charges).replace("born_charges", "forgotten"))
    with pytest.raises(InputError, match="holds no Born charges"):
        read_born(path, crystal)
    path.write_text(path.read_text()[:600])
    with pytest.raises(InputError, match="vasprun"):
        read_born(path, crystal)
