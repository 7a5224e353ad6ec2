"""Molecular dynamics in the supercells: equipartition, random numbers, guards, and as a part of a run's database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from ndsc import find_supercells, make_configurations, remake_configuration, run_workflow
from ndsc.config import load_config, parse_config
from ndsc.config.files import dump_config
from ndsc.configurations import ConfigurationSettings, strata
from ndsc.dynamics import (
    LangevinRun,
    _displacements,
    _langevin,
    dynamics_configurations,
    melting_warning,
    run_langevin,
)
from ndsc.errors import InputError
from ndsc.fit import GapSettings, Regularisation, apply_regularisation, fit_gap
from ndsc.sublattices import make_supercell
from ndsc.workflow.dry_run import dry_run, plan_without_calculations
from ndsc.workflow.elsewhere import missing_labels
from ndsc.workflow.plan import make_plan

MATRIX = [[1, 0, 0], [0, 1, 0], [0, 0, 2]]
HEAD = '[crystal]\nstructure = "Cu"\nrelax = false\na = 3.59\nlattice = "fcc"\n[supercells]\ngrid = 2\n'
PART = (
    "[configurations]\nname = 'md'\ndynamics = 'langevin'\ntemperature = [200, 400]\nper_supercell = 5\n"
    "scale = 1.0\nequilibration = 20\nevery = 5\n"
)


def copper() -> Atoms:
    return bulk("Cu", "fcc", a=3.59)


def layered() -> Atoms:
    """CuAu, two atoms of different mass a unit cell."""
    return Atoms("CuAu", cell=[2.74, 2.74, 3.6], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)


def trajectory(atoms: Atoms, **changes: object) -> LangevinRun:
    given = {
        "start": atoms, "temperature": 300.0, "timestep": 2.0, "friction": 0.01, "equilibration": 20, "every": 5,
        "n_frames": 4, "seed": "1", "title": "a cell",
    }  # fmt: skip
    return LangevinRun(**{**given, **changes})  # type: ignore[arg-type]


def hessian(atoms: Atoms) -> np.ndarray:
    """Of the energy, by central differences of forces, eV/Å²."""
    rows = []
    for index in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.reshape(-1)[index] += sign * 1e-3
            moved.calc = EMT()
            forces.append(moved.get_forces().reshape(-1))
        rows.append((forces[1] - forces[0]) / 2e-3)
    return 0.5 * (np.array(rows) + np.array(rows).T)


def test_kinetic_and_potential_energy_have_half_kt_for_each_degree_of_freedom():
    perfect = make_supercell(layered(), MATRIX)
    atoms, kelvin = perfect.copy(), 20.0  # the crystal is harmonic there
    atoms.calc = EMT()
    dynamics = _langevin(atoms, trajectory(perfect, temperature=kelvin, timestep=5.0, friction=0.02))
    masses, moved, kinetic, all_kinetic = atoms.get_masses(), [], [], []

    def note() -> None:
        momenta = atoms.get_momenta()
        momenta = momenta - masses[:, None] * momenta.sum(axis=0) / masses.sum()
        kinetic.append(0.5 * np.sum(momenta**2 / masses[:, None]))
        all_kinetic.append(atoms.get_kinetic_energy())
        moved.append(_displacements(atoms, perfect).reshape(-1))

    dynamics.attach(note, interval=4)
    dynamics.run(3000)
    free = 3 * len(atoms) - 3
    half = 0.5 * units.kB * kelvin
    stiffness = hessian(perfect)
    potential = 0.5 * np.einsum("fi,ij,fj->f", moved[50:], stiffness, moved[50:])
    assert np.mean(potential) == pytest.approx(free * half, rel=0.08)
    assert np.mean(kinetic[50:]) == pytest.approx(free * half, rel=0.08)
    # The centre of mass is free, and has its part.
    assert np.mean(all_kinetic[50:]) == pytest.approx((free + 3) * half, rel=0.08)
    # No mode is left out, the softest and the stiffest, on light and heavy atoms alike.
    values, vectors = np.linalg.eigh(stiffness)
    modes = 0.5 * values * np.mean((np.array(moved[50:]) @ vectors) ** 2, axis=0)
    assert modes[3:] == pytest.approx(np.full(free, half), rel=0.35)


def test_the_centre_of_mass_stays():
    atoms = make_supercell(layered(), MATRIX)
    moved = run_langevin(trajectory(atoms), EMT())
    assert np.max(np.abs(moved)) > 0.05
    assert np.max(np.abs(np.einsum("fai,a->fi", moved, atoms.get_masses()) / atoms.get_masses().sum())) < 1e-4


def test_one_seed_the_same_frames_and_more_of_them_change_none():
    supercells = find_supercells(copper(), 2)
    settings = {"temperature": [200, 400], "equilibration": 20, "every": 5, "scale": [1.0, 1.02], "strain": 0.01}
    some = dynamics_configurations(supercells, EMT(), per_supercell=4, part="md", **settings)
    again = dynamics_configurations(supercells, lambda atoms: EMT(), per_supercell=6, part="md", **settings)
    other = dynamics_configurations(supercells, EMT(), per_supercell=4, part="md", seed=7, **settings)
    by_name = {atoms.info["ndsc_name"]: atoms for atoms in again}
    assert [atoms.info["ndsc_name"] for atoms in some[:4]] == ["md-unit-0000", *(f"md-s000-d000{i}" for i in range(3))]
    for one in some:
        np.testing.assert_array_equal(one.positions, by_name[one.info["ndsc_name"]].positions)
        np.testing.assert_array_equal(one.cell.array, by_name[one.info["ndsc_name"]].cell.array)
    assert not any(np.array_equal(a.positions, b.positions) for a, b in zip(some[1:], other[1:], strict=True))
    frames = [atoms for atoms in again if atoms.info["config_type"] == "dynamics"]
    assert [(f.info["ndsc_scale"], f.info["ndsc_temperature"]) for f in frames[:6]] == [
        (1.0, 200), (1.02, 200), (1.0, 400), (1.02, 400), (1.0, 200), (1.02, 200)
    ]  # fmt: skip
    # A trajectory has one strain, and its kind tells supercell, scale and temperature.
    np.testing.assert_array_equal(frames[0].cell.array, frames[4].cell.array)
    assert len(set(strata(frames))) == 4 * len(supercells)
    with pytest.raises(InputError, match="is a frame of molecular dynamics"):
        remake_configuration(copper(), frames[0].info)


class Hard(Calculator):  # type: ignore[misc]
    """Pushes atoms away from their sites, or stops."""

    implemented_properties = ("energy", "forces")

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        if self.how == "stops":
            raise RuntimeError("out of range")
        forces = np.full((len(atoms), 3), 1e3) * np.where(np.arange(len(atoms)) % 2, 1, -1)[:, None]
        self.results = {"energy": 0.0, "forces": forces if self.how == "pushes" else forces * np.nan}


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        (
            "pushes",
            InputError,
            "exploded within 10 steps of 2 fs: atoms move with .* times the kinetic energy of 300 K",
        ),
        ("nan", InputError, "exploded within 10 steps of 2 fs: positions are not finite"),
        ("stops", InputError, r"failed between steps 0 and 10 \(RuntimeError: out of range\)"),
    ],
)
def test_what_explodes_is_refused(how, error, said):
    atoms = make_supercell(copper(), MATRIX)
    with pytest.raises(error, match=said):
        run_langevin(trajectory(atoms), Hard(how))


def test_atoms_that_come_too_close():
    atoms = make_supercell(copper(), MATRIX)
    # Without forces, atoms fly: they meet others, or their own images.
    with pytest.raises(InputError, match=r"two atoms are only .* Å apart"):
        run_langevin(trajectory(atoms, temperature=3e4, friction=1e-4, equilibration=500), _Free())


class _Free(Hard):
    def __init__(self) -> None:
        super().__init__("free")

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):  # type: ignore[no-untyped-def]
        Calculator.calculate(self, atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_a_melt_is_said_and_a_single_atom_refused():
    frames = dynamics_configurations(
        find_supercells(copper(), 2), EMT(), temperature=100, per_supercell=2, equilibration=20, every=5
    )
    assert melting_warning(frames, copper()) is None
    frames[-1].info["ndsc_displacement"] = 0.5
    assert "34 % of the distance between neighbours" in str(melting_warning(frames, copper()))
    with pytest.raises(InputError, match="two atoms or more"):
        dynamics_configurations(find_supercells(copper(), 1), EMT(), temperature=100)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dynamics": "langevin"}, "dynamics needs a temperature above 0 K"),
        ({"dynamics": "langevin", "temperature": [0, 300]}, "dynamics needs a temperature above 0 K"),
        ({"dynamics": "nose", "temperature": 300}, "give 'langevin'"),
        ({"dynamics": "langevin", "temperature": 300, "statistics": "quantum"}, "leave it out beside dynamics"),
        ({"dynamics": "langevin", "temperature": 300, "displacement": 0.1}, "displacement has no meaning beside dyna"),
        ({"temperature": 300, "timestep": 1.0}, "timestep has a meaning only with dynamics"),
        ({"every": 3}, "every has a meaning only with trajectory or dynamics"),
        ({"dynamics": "langevin", "temperature": 300, "timestep": 0}, "time step in fs"),
    ],
)
def test_settings_that_are_refused(values, said):
    with pytest.raises(InputError, match=f"(?i){said}"):
        ConfigurationSettings.parse(values, "It")


def test_a_run_with_molecular_dynamics_of_its_reference(tmp_path: Path):
    (tmp_path / "cu.toml").write_text(HEAD + PART + "[fit]\nmethod = 'none'\n")
    config = load_config(tmp_path / "cu.toml")
    plan = plan_without_calculations(config, tmp_path / "cu")
    assert plan.waits_for_dynamics
    assert not plan.relaxed
    assert plan.counts == {1: 1, 2: 10}
    assert "before molecular dynamics is run" in str(dry_run(config, tmp_path / "cu"))
    assert not (tmp_path / "cu").exists()
    results = run_workflow(config, tmp_path / "cu")
    assert results.configurations.by_type == {"unit_cell": 1, "dynamics": 10}
    # Trajectories are kept with the labels, so that the frames are there without a step.
    again = plan_without_calculations(config, tmp_path / "cu")
    assert again.relaxed
    assert not missing_labels(config, tmp_path / "cu", choose=False).wanted
    assert run_workflow(load_config(tmp_path / "cu" / "ndsc.toml"), tmp_path / "cu").labels.reused == 11
    # A damaged one is run again, and gives the same.
    kept = sorted((tmp_path / "cu" / "labels" / "derived").glob("dynamics-*.json"))
    assert len(kept) == 4
    kept[0].write_text("{}")
    for one, other in zip(again.configurations, make_plan(config, tmp_path / "cu").configurations, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("potential = 'nowhere'\n", "There is no potential .*nowhere"),
        ("potential = 'cu'\n", "is what this run makes itself"),
        ("potential = 'empty'\n", "holds no complete fit"),
        ("[reference]\ncalculator = 'espresso'\nkgrid = 4\nparameters = {pseudopotentials = {Cu = 'Cu.upf'}}\n",
         "dynamics runs thousands of steps, and the reference is"),
    ],
)  # fmt: skip
def test_potentials_that_cannot_be_used(tmp_path: Path, more: str, said: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cu.toml").write_text(HEAD + PART + more)
    with pytest.raises(InputError, match=said):
        plan_without_calculations(load_config(tmp_path / "cu.toml"), tmp_path / "cu")


def test_with_the_potential_of_an_earlier_fit(tmp_path: Path):
    pytest.importorskip("quippy")
    frames = make_configurations(find_supercells(copper(), 2), per_supercell=6, displacement=0.1)
    for frame in frames:
        frame.calc = EMT()
        frame.info["REF_energy"], frame.arrays["REF_forces"] = frame.get_potential_energy(), frame.get_forces()
        frame.calc = None
    settings = GapSettings(cutoff=4.5, n_max=4, l_max=3, n_sparse=20)
    fitted = fit_gap(apply_regularisation(frames, Regularisation()), tmp_path / "first" / "potential", settings)
    (tmp_path / "cu.toml").write_text(HEAD + PART + "potential = 'first'\n")
    plan = make_plan(load_config(tmp_path / "cu.toml"), tmp_path / "cu")
    there = {atoms.info["ndsc_name"]: atoms for atoms in plan.configurations}
    by_hand = dynamics_configurations(
        plan.supercells, fitted.calculator(), temperature=[200, 400], per_supercell=5, scale=1.0, strain=0.01,
        equilibration=20, every=5, seed=1, part="md",
    )  # fmt: skip
    assert len(by_hand) == len(there) == 11
    for one in by_hand:
        np.testing.assert_array_equal(one.positions, there[one.info["ndsc_name"]].positions)
    # The file alone, and the folder of the fit, are the same potential.
    for given in ("first/potential", "first/potential/gap.xml"):
        (tmp_path / "cu.toml").write_text(HEAD + PART + f"potential = '{given}'\n")
        assert plan_without_calculations(load_config(tmp_path / "cu.toml"), tmp_path / "cu").relaxed
    # With another potential, other trajectories are run.
    (tmp_path / "cu.toml").write_text(HEAD + PART)
    assert plan_without_calculations(load_config(tmp_path / "cu.toml"), tmp_path / "cu").waits_for_dynamics
