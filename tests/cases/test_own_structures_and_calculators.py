"""CIF files and calculators as a new user brings them: what is read wrongly, misses something, or is not called."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.fd import FiniteDifferenceCalculator
from ase.io import write
from ase.neighborlist import neighbor_list
from typer.testing import CliRunner

import ndsc
from ndsc.cli import app
from ndsc.errors import InputError, ReferenceCalculationError

ZIRCON = """data_zircon
{extra}
_cell_length_a 6.607
_cell_length_b 6.607
_cell_length_c 5.982
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'I 41/a m d'
_symmetry_Int_Tables_number 141
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr1 Zr 0 0.75 0.125
Si1 Si 0 0.25 0.375
O1 O 0 0.0661 0.1953
"""
RHOMBOHEDRAL = """data_bi
_chemical_formula_sum 'Bi2'
_cell_length_a 4.7
_cell_length_b 4.7
_cell_length_c 4.7
_cell_angle_alpha 57
_cell_angle_beta 57
_cell_angle_gamma 57
_symmetry_space_group_name_H-M 'R -3 m'
_symmetry_Int_Tables_number 166
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Bi1 0.234 0.234 0.234
"""
SPRING, LENGTH = 2.0, 2.556


class Springs(Calculator):
    """Nearest neighbours of an fcc crystal on springs of 2 eV/Å²; neither stress nor free energy."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, distances, vectors = neighbor_list("idD", atoms, 1.25 * LENGTH)
        stretched = distances - LENGTH
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, (SPRING * stretched / distances)[:, None] * vectors)
        self.results = {"energy": float(np.sum(SPRING * stretched**2) / 4), "forces": forces}


def copper() -> Atoms:
    return bulk("Cu", a=LENGTH * np.sqrt(2))


def test_frequencies_of_springs():
    phonons = ndsc.phonons_from_supercells(copper(), 2, Springs())
    mass = copper().get_masses()[0] * units._amu
    unit = np.sqrt(SPRING * units._e / 1e-20 / mass) / (2 * np.pi) / 1e12
    at_x, at_l, at_gamma = phonons.frequencies([[0.5, 0, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]])
    # Of a spring to each neighbour: m w^2 = 4 k, 4 k, 8 k at X and 2 k, 2 k, 8 k at L.
    assert at_x == pytest.approx(unit * np.sqrt([4, 4, 8]), rel=1e-3)
    assert at_l == pytest.approx(unit * np.sqrt([2, 2, 8]), rel=1e-3)
    assert at_gamma == pytest.approx(0, abs=1e-3)
    assert phonons.frequencies((0.5, 0, 0.5)).shape == (1, 3)


def differences() -> FiniteDifferenceCalculator:
    """ASE's wrapper for stresses by finite differences; it lists the free energy, whatever is inside."""
    return FiniteDifferenceCalculator(Springs(), eps_disp=None, eps_strain=1e-4, force_consistent=False)


def test_a_wrapper_that_lists_the_free_energy_of_a_calculator_without(tmp_path):
    atoms = copper()
    atoms.set_cell(atoms.cell.array @ np.diag([1.01, 1.0, 1.0]), scale_atoms=True)
    spec = ndsc.CalculatorSpec(f"{__name__}:differences")
    stored = ndsc.StoredCalculator(spec, ndsc.LabelStore(tmp_path / "labels"), watched=False)
    energy, stress = stored.get_potential_energy(atoms), stored.get_stress(atoms)
    assert energy == pytest.approx(Springs().get_potential_energy(atoms))
    # The derivative of the energy with respect to the strain along x, by volume.
    _, distances, vectors = neighbor_list("idD", atoms, 1.25 * LENGTH)
    expected = np.sum(SPRING * (distances - LENGTH) * vectors[:, 0] ** 2 / distances) / 2 / atoms.get_volume()
    assert stress[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "calculate",
    [
        lambda calculator: ndsc.phonons_from_supercells(copper(), 1, calculator),
        lambda calculator: ndsc.relax_crystal(copper(), calculator),
        lambda calculator: ndsc.elastic_constants(copper(), calculator),
    ],
)
def test_a_calculator_that_is_not_called_is_refused(calculate):
    with pytest.raises(InputError, match=r"give EMT\("):
        calculate(EMT)
    with pytest.raises(InputError, match="not int"):
        calculate(3)


def test_a_relaxation_without_stress_says_what_to_leave_out():
    with pytest.raises(ReferenceCalculationError, match="--relax"):
        ndsc.relax_crystal(copper(), Springs())


def test_what_is_no_crystal_is_told_how_to_be_read():
    with pytest.raises(InputError, match=r"load_crystal\('cu.cif'\)"):
        ndsc.find_supercells("cu.cif", 2)


def test_a_composition_that_is_not_that_of_the_file_is_refused(tmp_path):
    (tmp_path / "zircon.cif").write_text(ZIRCON.format(extra="_chemical_formula_sum 'O4 Si Zr'"))
    with pytest.raises(InputError, match=r"(?s)'O4 Si Zr'.*O16Si16Zr8.*141 has two choices of origin"):
        ndsc.load_crystal(tmp_path / "zircon.cif")


def test_a_file_without_operations_and_formula_is_read_with_a_warning(tmp_path, caplog):
    (tmp_path / "zircon.cif").write_text(ZIRCON.format(extra=""))
    assert len(ndsc.load_crystal(tmp_path / "zircon.cif")) == 40
    assert "two choices of origin" in caplog.text


def test_the_setting_may_be_said(tmp_path, caplog):
    extra = "_symmetry_space_group_setting 2\n_chemical_formula_sum 'O4 Si Zr'"
    (tmp_path / "zircon.cif").write_text(ZIRCON.format(extra=extra))
    atoms = ndsc.load_crystal(tmp_path / "zircon.cif")
    assert atoms.get_chemical_formula() == "O16Si4Zr4"
    assert ndsc.Crystal.from_atoms(atoms).number == 141
    assert not caplog.records


def test_rhombohedral_axes_without_operations(tmp_path, caplog):
    (tmp_path / "bi.cif").write_text(RHOMBOHEDRAL)
    with suppress(InputError):  # for atoms that overlap
        ndsc.load_crystal(tmp_path / "bi.cif")
    assert "hexagonal and rhombohedral axes" in caplog.text


@pytest.mark.parametrize("formula", ["'Cl4 Na4'", "'NaCl'", "'(Na,K) Cl'", "'Na1.0 Cl1.0'", "?"])
def test_formulas_that_agree_or_say_nothing(tmp_path, formula, caplog):
    path = tmp_path / "nacl.cif"
    write(path, bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    lines = path.read_text().splitlines()
    lines = [f"_chemical_formula_sum {formula}" if "_formula_sum" in line else line for line in lines]
    path.write_text("\n".join(lines) + "\n")
    atoms = ndsc.load_crystal(path)
    assert len(atoms) == 8
    assert set(atoms.arrays) == {"numbers", "positions"}  # none of the reader's own
    assert not caplog.records


def test_a_cell_that_is_not_primitive_is_noted(tmp_path):
    path = tmp_path / "nacl.cif"
    write(path, bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    done = CliRunner().invoke(app, ["supercells", str(path), "--grid", "2"])
    assert "4 primitive cells" in done.stderr
    assert "--primitive" in done.stderr
    done = CliRunner().invoke(app, ["supercells", str(path), "--grid", "2", "--primitive"])
    assert done.stderr == ""


def test_the_calculator_that_nobody_named_is_named(tmp_path):
    done = CliRunner().invoke(app, ["phonons", "Al", "--grid", "1"])
    assert "EMT" in done.stderr
    done = CliRunner().invoke(app, ["phonons", "Al", "--grid", "1", "--calculator", "emt"])
    assert "EMT" not in done.stderr


def test_a_calculator_by_the_name_of_its_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from ase.calculators.emt import EMT\ndef make():\n    return EMT()\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["phonons", "Al", "--grid", "1", "--calculator", "mine.py:make"])
    assert done.exit_code != 0
    assert "'mine:make'" in str(done.stderr) + str(done.exception)


def test_results_are_shown_on_one_line():
    supercells = ndsc.find_supercells(copper(), 2)
    assert "2 supercells of Cu" in repr(supercells)
    assert "Fm-3m" in repr(supercells.crystal)
    shown = repr(ndsc.phonons_from_supercells(copper(), 2, Springs()))
    assert "2x2x2" in shown
    assert "\n" not in shown
