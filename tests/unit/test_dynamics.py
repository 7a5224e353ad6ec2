"""Molecular dynamics in the supercells: equipartition, random numbers, guards, and as a part of a run's database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from ndsc import find_supercells, make_configurations, remake_configuration, run_workflow
from ndsc.config import RunConfig, load_config, parse_config, parse_run
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
from ndsc.progress import silent
from ndsc.sublattices import make_supercell
from ndsc.workflow.dry_run import dry_run, plan_without_calculations
from ndsc.workflow.elsewhere import missing_labels
from ndsc.workflow.joint import make_joint_plan
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
        ({"dynamics": "langevin", "temperature": 300, "statistics": "quantum"}, "leave it out with dynamics"),
        (
            {"dynamics": "langevin", "temperature": 300, "displacement": 0.1},
            "displacement cannot be combined with dyna",
        ),
        ({"temperature": 300, "timestep": 1.0}, "timestep only has an effect with dynamics"),
        ({"every": 3}, "every only has an effect with trajectory or dynamics"),
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
        ("potential = 'cu'\n", "is the potential of this run itself"),
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


CURRENT_RUN = (
    HEAD + "[[configurations]]\nname = 'random'\nper_supercell = 4\nunit_cells = 3\nunlabelled = 0\n"
    "[" + PART.replace("configurations]", "configurations]]").replace("per_supercell = 5", "per_supercell = 4")
    + "potential = 'current'\nunit_cells = 0\nunlabelled = 0\n[selection]\nmethod = '{method}'\nmax_labels = 9\n"
    "batch = 3\ntarget_thz = 1e-5\n[reference]\ncalculator = 'emt'\n[executor]\nworkers = 1\n[fit]\nmethod = 'gap'\n"
    "cutoff = 4.0\nn_max = 4\nl_max = 3\nn_sparse = 30\nsolver = 'numpy'\n[phonons]\nreference = 'none'\n"
    "[elastic]\nenabled = false\n"
)  # fmt: skip


def current_run(method: str = "information") -> RunConfig:
    return parse_config(CURRENT_RUN.format(method=method))


def test_before_there_is_a_potential_there_are_no_frames_of_its_dynamics(tmp_path: Path):
    config = current_run()
    plan = make_plan(config, tmp_path)
    assert plan.relaxed
    assert {atoms.info["ndsc_name"].partition("-")[0] for atoms in plan.configurations} == {"random"}
    assert plan.counts == {1: 3, 2: 16}  # as there will be
    if find_spec("quippy") is not None:
        assert "(8 of them by molecular dynamics with the potential of the first batch)" in str(
            dry_run(config, tmp_path)
        )
    after = plan.with_current_dynamics(EMT(), {"labels": ["a"]}, silent)
    new = [atoms for atoms in after.candidates if atoms.info["config_type"] == "dynamics"]
    assert len(new) == 8
    assert sum(after.counts.values()) == len(after.configurations)
    # They are kept under what the potential was fitted to, whatever its forces.
    again = make_plan(config, tmp_path).with_current_dynamics(Broken(), {"labels": ["a"]}, silent)
    for one, other in zip(after.candidates, again.candidates, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    for _ in range(2):  # what failed is kept too
        with pytest.raises(InputError, match="failed between steps 0 and 10"):
            plan.with_current_dynamics(Broken(), {"labels": ["b"]}, silent)
    with pytest.raises(InputError, match="failed between steps 0 and 10"):
        plan.with_current_dynamics(EMT(), {"labels": ["b"]}, silent)


def test_dynamics_of_several_crystals_by_one_potential(tmp_path: Path):
    one = HEAD.partition("[supercells]")[0]
    crystals = one.replace("[crystal]", "[[crystal]]\nname = 'a'") + one.replace("[crystal]", "[[crystal]]\nname = 'b'")
    text = CURRENT_RUN.format(method="information").replace(one, crystals.replace("3.59", "3.7", 1))
    plan = make_joint_plan(parse_run(text), tmp_path)  # type: ignore[arg-type]
    after = plan.with_current_dynamics(EMT(), {"labels": []}, silent)
    new = [atoms for atoms in after.candidates if atoms.info["config_type"] == "dynamics"]
    assert len(after.candidates) == len(plan.candidates) + len(new)
    assert {atoms.info["ndsc_name"][:5] for atoms in new} == {"a-md-", "b-md-"}
    assert {round(atoms.get_volume() / len(atoms), 3) for atoms in new if atoms.info["ndsc_strain"] == 0} <= {
        round(a**3 / 4, 3) for a in (3.59, 3.7)
    }


@pytest.mark.parametrize("method", ["information", "random"])
@pytest.mark.gap
def test_labels_are_chosen_from_dynamics_by_the_potential_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda _: None)
    results = run_workflow(current_run(method), tmp_path / "run")
    assert results.selection is not None
    order = results.selection.order
    assert len(order) == 9
    # After the unit cell and three labels of random displacements, frames are among those that are chosen.
    assert not any(name.startswith("md-") for name in order[:4])
    assert any(name.startswith("md-") for name in order[4:])
    by_type = results.configurations.by_type
    assert by_type["dynamics"] == sum(name.startswith("md-") for name in order)
    database = (tmp_path / "run" / "database.extxyz").read_bytes()
    if method == "information":
        # Nothing is run again, and the same labels are chosen.
        monkeypatch.setattr("ndsc.workflow.dynamics.run_langevin", lambda *_, **__: pytest.fail("it was run again"))
        run_workflow(current_run(method), tmp_path / "run")
        assert (tmp_path / "run" / "database.extxyz").read_bytes() == database


@pytest.mark.gap
def test_a_choice_goes_on_where_dynamics_explode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda _: None)

    def explode(run: LangevinRun, *_: object, **__: object) -> np.ndarray:
        raise InputError(f"The molecular dynamics of {run.title} exploded.")

    monkeypatch.setattr("ndsc.workflow.dynamics.run_langevin", explode)
    results = run_workflow(current_run(), tmp_path / "run")
    assert results.labels.succeeded == 9
    assert "dynamics" not in results.configurations.by_type
    assert any("No frames of molecular dynamics were candidates" in text for text in results.warnings)
    # Each batch tries again, with its own potential.
    assert len(list((tmp_path / "run" / "labels" / "derived").glob("dynamics-*.json"))) > 1


def test_a_current_potential_needs_a_choice_and_first_labels(tmp_path: Path):
    with pytest.raises(InputError, match="all configurations are labelled in one go"):
        make_plan(current_run("all"), tmp_path)
    alone = HEAD + PART + "potential = 'current'\n[selection]\nmethod = 'information'\n"
    with pytest.raises(InputError, match="needs labels before there is a potential"):
        make_plan(parse_config(alone), tmp_path)


def test_a_folder_called_current_is_a_path(tmp_path: Path):
    config = current_run()
    assert parse_config(dump_config(config, folder=tmp_path), folder=tmp_path) == config
    (tmp_path / "cu.toml").write_text(HEAD + PART + "potential = './current'\n")
    folder = load_config(tmp_path / "cu.toml")
    assert folder.configurations[0].potential == str(tmp_path / "current")
    assert parse_config(dump_config(folder, folder=tmp_path), folder=tmp_path) == folder


class Broken(Calculator):  # type: ignore[misc]
    """Knows no forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ASE's own convention

    def calculate(self, *_: object, **__: object) -> None:
        raise RuntimeError("no forces")
