"""Sheets: what is in their plane is right, against energies by hand, closed forms and the same crystal in bulk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene, make_supercell
from ase.optimize import BFGS
from ase.units import _amu, _e

from ndsc.benchmark import lattice_comparison
from ndsc.config import parse_config
from ndsc.configurations import make_configurations, remake_configuration
from ndsc.crystal import Crystal
from ndsc.elastic import elastic_constants, strained_cells
from ndsc.errors import InputError
from ndsc.phonons import band_path, compare_phonons, phonons_from_supercells
from ndsc.relaxation import relax_crystal
from ndsc.report.elastic_shape import elastic_figure
from ndsc.supercells import find_supercells
from ndsc.workflow import dry_run, make_plan, run_workflow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: eV/Å² in N/m.
NEWTON_PER_METRE = _e * 1e20
#: u/Å² in kg/m².
SURFACE_DENSITY = _amu * 1e20


@pytest.fixture(autouse=True)
def carbon(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))


def make():
    from carbon import make

    return make()


@pytest.fixture(scope="module")
def sheet():
    """Graphene at the lattice constant of the potential."""
    return Crystal.from_atoms(graphene(a=2.4920489))


def rectangle():
    atoms = make_supercell(graphene(vacuum=7.5), [[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    atoms.set_pbc([True, True, False])
    return atoms


def test_the_cell_of_a_sheet_relaxes_in_its_plane():
    """To the minimum of the energy of flat cells over their lattice constant, 2.49205 Å, found by a search."""
    start = Crystal.from_atoms(graphene(a=2.46, vacuum=6.0))
    relaxed = relax_crystal(start, make())
    assert relaxed.cell.lengths()[:2] == pytest.approx([2.492, 2.492], abs=5e-4)
    assert relaxed.cell.lengths()[2] == start.atoms.cell.lengths()[2] == 12.0
    assert relaxed.pbc.tolist() == [True, True, False]
    assert start.with_structure(relaxed).is_sheet
    compared = lattice_comparison(relaxed, start.atoms)
    assert set(compared) == {"a", "b", "gamma", "area_per_atom"}
    assert compared["area_per_atom"].model == pytest.approx(relaxed.get_volume() / 12 / 2)


def test_constants_in_the_plane_are_second_derivatives_of_the_energy(sheet):
    found = elastic_constants(sheet, make())
    flat = sheet.atoms.copy()
    area, step = np.linalg.norm(np.cross(*flat.cell.array[:2])), 0.005

    def energy(strain):
        atoms = flat.copy()
        atoms.set_cell(flat.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = make()
        BFGS(atoms, logfile=None).run(fmax=1e-5)
        return atoms.get_potential_energy()

    def second(pattern):
        strain = step * np.array(pattern)
        return (energy(strain) + energy(-strain) - 2 * energy(0 * strain)) / step**2 / area * NEWTON_PER_METRE

    c11 = second([[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    c12 = second([[1, 0, 0], [0, 1, 0], [0, 0, 0]]) / 2 - c11
    c66 = second([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    assert found.unit == "N/m"
    assert found.dimension == 2
    wanted = {"C11": c11, "C12": c12, "C22": c11, "C66": c66}
    assert found.constants == pytest.approx(wanted, rel=2e-3)
    assert found.constants["C66"] == pytest.approx((found.constants["C11"] - found.constants["C12"]) / 2, rel=1e-6)
    assert found.warnings == ()
    assert type(found).from_dict(found.to_dict()).unit == "N/m"
    drawn = [text.get_text() for text in elastic_figure(found).axes[0].texts]
    assert [text for text in drawn if text != "·"] == [
        f"{found.constants[c]:.1f}" for c in ("C11", "C12", "C12", "C22", "C66")
    ]
    for cell in strained_cells(sheet):
        assert not np.any(np.append(cell.info["strain"][2], cell.info["strain"][:, 2]))
    # The thickness of the vacuum does not matter, nor does the cell.
    wide = elastic_constants(Crystal.from_atoms(graphene(a=2.4920489, vacuum=15.0)), make())
    assert wide.constants == pytest.approx(found.constants, rel=1e-4)


def test_sound_and_the_flexural_branch(sheet):
    """Sound is that of the constants; the branch out of the plane grows as q squared."""
    phonons = phonons_from_supercells(sheet, (4, 4, 1), make())
    constants = elastic_constants(sheet, make()).constants
    path = band_path(sheet)
    assert path.labels == ("Γ", "M", "K", "Γ")
    assert not path.qpoints[:, 2].any()
    small = np.array([[0.02, 0, 0], [0.04, 0, 0]])
    flexural, transverse, longitudinal = phonons.phonopy.run_qpoints(small).frequencies[:, :3].T
    length = np.linalg.norm(small[0] @ np.linalg.inv(sheet.atoms.cell.array).T)
    density = sheet.atoms.get_masses().sum() / np.linalg.norm(np.cross(*sheet.atoms.cell.array[:2])) * SURFACE_DENSITY
    for frequency, constant in ((longitudinal, "C11"), (transverse, "C66")):
        speed = frequency[0] / length * 100  # Å THz in m/s
        assert speed == pytest.approx(np.sqrt(constants[constant] / density), rel=0.01)
    assert flexural[0] < 0.05 * transverse[0]
    assert 3 < flexural[1] / flexural[0] < 5.5
    compared = compare_phonons(phonons, phonons)
    assert compared.mesh == (20, 20, 1)
    assert compared.dos_mesh == (40, 40, 1)
    assert np.trapezoid(compared.model_dos, compared.dos_frequencies) == pytest.approx(6, abs=0.05)


def test_the_primitive_cell_and_the_supercells(sheet):
    primitive = Crystal.from_atoms(rectangle()).primitive
    assert primitive.is_sheet
    assert len(primitive.atoms) == 2
    assert primitive.number == 191
    assert primitive.atoms.cell.lengths() == pytest.approx([2.46, 2.46, 15.0])
    again = Crystal.from_dict(primitive.to_dict())
    assert again.is_sheet
    assert "a sheet" in again.describe()
    supercells = find_supercells(sheet, (6, 6, 1))
    assert np.all(np.abs(np.asarray(supercells.matrices)[:, 2, 2]) == 1)
    assert not np.any(np.asarray(supercells.matrices)[:, 2, :2])
    frames = make_configurations(supercells, per_supercell=3, strain=0.02, scale=(0.97, 1.03))
    assert all(frame.pbc.all() for frame in frames)
    for frame in frames:
        np.testing.assert_allclose(np.abs(frame.cell.array[2]), [0, 0, 15.0], atol=1e-8)
        assert not np.any(frame.cell.array[:2, 2])
        assert remake_configuration(sheet.atoms, frame.info) == frame
    assert len({frame.cell.lengths()[0] for frame in frames}) > 3


def test_square_sheets_as_thick_as_they_are_wide():
    """The cell is a cube, and the sheet has not the symmetry of one."""
    atoms = Atoms("C2", cell=[12, 12, 12], positions=[(0, 0, 6), (1.4, 0, 6)], pbc=[True, True, False])
    atoms = make_supercell(atoms, np.eye(3))
    cube = Atoms("C", cell=[12, 12, 12], positions=[(0, 0, 0)], pbc=[True, True, False])
    assert len(Crystal.from_atoms(cube).rotations) == 16
    cube.set_pbc(True)
    assert len(Crystal.from_atoms(cube).rotations) == 48


def test_vacuum_and_axes_of_sheets(caplog):
    thin = graphene(vacuum=2.0)
    crystal = Crystal.from_atoms(thin)
    assert crystal.atoms.cell.lengths()[2] == 15.0
    assert "4 Å of vacuum" in caplog.text
    assert Crystal.from_atoms(graphene()).atoms.cell.lengths()[2] == 15.0
    turned = graphene(vacuum=7.5)
    turned.rotate(30, "x", rotate_cell=True)
    with pytest.raises(InputError, match="Rotate it"):
        Crystal.from_atoms(turned)
    other = graphene(vacuum=7.5)
    other.set_pbc([True, False, True])
    with pytest.raises(InputError, match="True, True, False"):
        Crystal.from_atoms(other)
    with pytest.raises(InputError, match=r"4 points across the sheet.*Give .4, 4, 1"):
        find_supercells(crystal, 4)
    apart = Atoms("C", cell=[12, 12, 20], positions=[(0, 0, 0)], pbc=[True, True, False])
    with pytest.raises(InputError, match="not connected"):
        elastic_constants(apart, make())


RUN = """
[crystal]
structure = "graphene.extxyz"
relax = false
[supercells]
grid = {grid}
[configurations]
per_supercell = 2
unit_cells = 2
[reference]
calculator = "{calculator}"
{more}
[executor]
workers = 1
[fit]
method = "none"
"""


def config(grid="[2, 2, 1]", calculator="carbon:make", more=""):
    return parse_config(RUN.format(grid=grid, calculator=calculator, more=more), folder=EXAMPLES)


def test_runs_of_sheets(tmp_path):
    results = run_workflow(config(), tmp_path / "run")
    assert results.supercells.grid == (2, 2, 1)
    plan = make_plan(config(), tmp_path / "run")
    assert plan.crystal.is_sheet
    with pytest.raises(InputError, match="across the sheet"):
        dry_run(config(grid="2"), tmp_path / "other")
    espresso = {"calculator": "espresso", "more": "kgrid = [4, 4, 2]"}
    with pytest.raises(InputError, match=r"k-point grid 4 x 4 x 2 has 2 points across the sheet"):
        dry_run(config(**espresso), tmp_path / "other")
    born = config().replaced(phonons=config().phonons.replaced(born=EXAMPLES / "nacl.BORN"))
    with pytest.raises(InputError, match="born is for crystals of three"):
        dry_run(born, tmp_path / "other")
