"""Magnetic moments of the input file: in supercells, labels, files and symmetry, as numbers and as vectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.io import read, write

from ndsc.config import dump_config, parse_config
from ndsc.config.crystal import CrystalConfig
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.phonons import phonons_from_supercells
from ndsc.workflow import make_plan, run_workflow

sys.path.insert(0, str(Path(__file__).parents[1]))

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN = """
[crystal]
structure = "{structure}"
magmoms = {magmoms}
relax = false
[supercells]
grid = [2, 2, 2]
[configurations]
per_supercell = 2
unit_cells = 2
displacement = 0.05
[reference]
calculator = "spins:make"
parameters = {{exchange = 0.08, cutoff = 4.2}}
[executor]
workers = 1
[fit]
method = "none"
"""


@pytest.fixture(autouse=True)
def spins(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))


def chromium(a=2.652):
    return Atoms("Cr2", cell=[a] * 3, scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], pbc=True)


def make():
    from spins import make

    return make(exchange=0.08, cutoff=4.2)


def config_of(magmoms, structure="bcc-two-atoms.vasp"):
    return parse_config(RUN.format(structure=structure, magmoms=magmoms), folder=EXAMPLES)


def sublattice(atoms, a=2.9):
    """Which of the two sites of the cubic cell each atom is nearest to."""
    corner, centre = (
        np.linalg.norm(atoms.positions / a - shift - np.rint(atoms.positions / a - shift), axis=1) for shift in (0, 0.5)
    )
    return np.where(corner < centre, 0, 1)


def test_the_reference_is_consistent():
    atoms = chromium().repeat((2, 1, 1))
    atoms.set_initial_magnetic_moments(np.random.default_rng(1).normal(size=(4, 3)))
    atoms.rattle(0.1, seed=2)
    atoms.calc = make()
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5, voigt=True), atol=1e-8)


@pytest.mark.parametrize("magmoms", [[1.0, -1.0], [[0.6, 0, 0.8], [-0.6, 0, -0.8]], [[0, 0, 1.0], [0, 1.0, 0]]])
def test_every_structure_of_a_run_has_the_moments_of_its_sites(tmp_path, monkeypatch, magmoms):
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda _: None)
    config = config_of(magmoms)
    assert parse_config(dump_config(config), folder=EXAMPLES) == config
    run_workflow(config, tmp_path / "run")
    plan = make_plan(config, tmp_path / "run")
    assert plan.crystal.is_magnetic
    for frames in (plan.configurations, plan.phonon_frames, read(tmp_path / "run" / "database.extxyz", ":")):
        assert frames or not plan.has_phonon_frames
        for atoms in frames:
            expected = np.array(magmoms)[sublattice(atoms)]
            np.testing.assert_allclose(atoms.get_initial_magnetic_moments(), expected, atol=1e-8)


def test_symmetry_with_moments(tmp_path):
    """Reversing all spins is a symmetry; moments that are not parallel leave less of it."""
    crystals = {
        "none": CrystalConfig(structure="bcc-two-atoms.vasp"),
        "opposite": CrystalConfig(structure="bcc-two-atoms.vasp", magmoms=[1, -1]),
        "parallel": CrystalConfig(structure="bcc-two-atoms.vasp", magmoms={"Cr": 1.0}),
        "nearly": CrystalConfig(structure="bcc-two-atoms.vasp", magmoms=[1, 1.1], magnetic_tolerance=0.2),
        "different": CrystalConfig(structure="bcc-two-atoms.vasp", magmoms=[1, 1.1]),
        "vectors": CrystalConfig(structure="bcc-two-atoms.vasp", magmoms=[[0, 0, 1], [0, 0, -1]]),
    }
    loaded = {name: config.load() for name, config in crystals.items()}
    assert {name: len(crystal.atoms) for name, crystal in loaded.items()} == {
        "none": 1, "opposite": 2, "parallel": 1, "nearly": 1, "different": 2, "vectors": 2,
    }  # fmt: skip
    assert [len(loaded[name].rotations) for name in ("none", "opposite", "parallel", "different")] == [48, 96, 48, 48]
    # An axial vector along z keeps the operations of 4/mmm only, half of them with the spins reversed.
    assert len(loaded["vectors"].point_group) == 16
    config = config_of([1, 1.1]).model_copy(update={"crystal": crystals["nearly"]})
    assert len(make_plan(config, tmp_path).crystal.atoms) == 1


def test_vectors_along_one_axis_are_numbers():
    """The same phonons, by both ways to the force constants."""
    found = []
    for moments in ([1, -1], [[0, 0, 1], [0, 0, -1]], [[0, 0, 1], [0, 1, 0]]):
        atoms = chromium()
        atoms.set_initial_magnetic_moments(moments)
        one = Crystal.from_atoms(atoms)
        by_route = [
            phonons_from_supercells(one, 2, make(), route=route).phonopy.run_qpoints([[0.5, 0, 0], [0.3, 0.1, 0.2]])
            for route in ("dynamical", "tiling")
        ]
        np.testing.assert_allclose(by_route[0].frequencies, by_route[1].frequencies, atol=1e-5)
        found.append(by_route[0].frequencies)
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)  # between grid points, to the displacement
    assert np.abs(found[2] - found[0]).max() > 0.1  # no exchange between moments at right angles


@pytest.mark.parametrize(
    ("magmoms", "message"),
    [
        ("[1.0]", "1 moments, and the structure 2 atoms .Cr Cr."),
        ("[1.0, [0, 0, 1]]", "all numbers, or all vectors"),
        ("[1.0, 'up']", "finite numbers"),
        ("{Fe = 2.2}", "moments of Fe, and the crystal consists of Cr"),
        ("2.0", "list of numbers or of vectors, or a table"),
        ("[[1, 0], [0, 1]]", "vectors of three"),
    ],
)
def test_moments_that_are_wrong(magmoms, message):
    with pytest.raises(InputError, match=message):
        config_of(magmoms).crystal.load()


def test_the_key_takes_the_place_of_what_a_file_says(tmp_path):
    atoms = chromium()
    atoms.set_initial_magnetic_moments([3.0, 3.0])
    write(tmp_path / "cr.extxyz", atoms)
    config = CrystalConfig(structure=str(tmp_path / "cr.extxyz"), magmoms=[1, -1], primitive=False)
    assert config.load().atoms.get_initial_magnetic_moments().tolist() == [1, -1]
    # A file whose reader drops the moments is refused, unless they are given.
    write(tmp_path / "cr.cif", chromium())
    moments = "\nloop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_z\nCr1 1\n"
    (tmp_path / "cr.cif").write_text((tmp_path / "cr.cif").read_text() + moments)
    with pytest.raises(InputError, match="magmoms"):
        CrystalConfig(structure=str(tmp_path / "cr.cif")).load()
    config = CrystalConfig(structure=str(tmp_path / "cr.cif"), magmoms=[1, -1])
    assert config.load().atoms.get_initial_magnetic_moments().tolist() == [1, -1]


def test_input_that_is_calculated_elsewhere_has_the_moments(tmp_path):
    from ndsc.elsewhere import Wanted
    from ndsc.elsewhere.inputs import write_inputs
    from ndsc.reference import CalculatorSpec

    atoms = Atoms("FeOFeO", cell=[4, 4, 4.4], positions=[(0, 0, 0), (2, 0, 0), (0, 2, 2), (2, 2, 2)], pbc=True)
    atoms.set_initial_magnetic_moments([3.5, 0.1, -3.5, -0.1])
    atoms.info["ndsc_name"] = "one"
    wanted = [Wanted(atoms, CalculatorSpec("elsewhere", {}), "configurations")]
    (tmp_path / "INCAR").write_text("ENCUT = 400\nISPIN = 2 ! spins\n")
    for code in ("vasp", "abinit", "aims", "castep", "espresso"):
        copy = [tmp_path / "INCAR"] if code == "vasp" else []
        report = write_inputs(wanted, tmp_path / code, code, tmp_path / "labels", copy=copy)
        said = [note for note in report.notes if "moments" in note]
        assert any("other files do not" in note for note in said) == (code == "espresso")
    incar = (tmp_path / "vasp" / "one" / "INCAR").read_text()
    poscar = read(tmp_path / "vasp" / "one" / "POSCAR")
    line = next(line for line in incar.splitlines() if "MAGMOM" in line)
    values = [float(word) for word in line.split("=")[1].split()]
    assert dict.fromkeys(poscar.symbols) == {"Fe": None, "O": None}
    assert values == [3.5, -3.5, 0.1, -0.1]
    np.testing.assert_allclose(poscar.positions[:2], [(0, 0, 0), (0, 2, 2)], atol=1e-9)
    assert incar.count("ISPIN") == 1
    assert "spinat" in (tmp_path / "abinit" / "one" / "structure.abi").read_text()
    lines = (tmp_path / "aims" / "one" / "geometry.in").read_text().splitlines()
    assert [float(line.split()[1]) for line in lines if "initial_moment" in line] == [3.5, 0.1, -3.5, -0.1]
    assert "SPIN=-3.5" in (tmp_path / "castep" / "one" / "ndsc.cell").read_text()
    (tmp_path / "INCAR").write_text("MAGMOM = 4*2\n")
    with pytest.raises(InputError, match="MAGMOM, which is valid for one cell"):
        write_inputs(wanted, tmp_path / "again", "vasp", tmp_path / "labels", copy=[tmp_path / "INCAR"])
