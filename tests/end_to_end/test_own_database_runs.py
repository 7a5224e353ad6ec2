"""Runs with a database of the user's own, from beginning to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from ndsc import find_supercells, make_configurations
from ndsc.cli.app import app
from ndsc.config import load_config, parse_config
from ndsc.database import read_database
from ndsc.errors import InputError
from ndsc.fit import GapCalculator, apply_regularisation, evaluate, fit_gap
from ndsc.fit.composition import fitted_energies
from ndsc.results import read_results
from ndsc.workflow import run_workflow
from ndsc.workflow.preview import preview_of_run

pytestmark = pytest.mark.gap
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own-database.toml"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "run"
    done = CliRunner().invoke(app, ["run", str(EXAMPLE), "--out", str(folder)])
    assert done.exit_code == 0, done.output
    assert "Errors of the potential on the database own" in done.output
    return folder


def test_the_example_learns_the_crystal_and_the_database(example: Path) -> None:
    results = read_results(example)
    assert results.phonons is not None
    assert results.phonons.rmse_mesh_thz is not None
    assert results.phonons.rmse_mesh_thz < 0.3
    assert abs(results.worst_elastic[1].error_percent) < 10  # type: ignore[index,operator]
    (own,) = results.databases
    assert {kind: part.configurations for kind, part in own.types.items()} == {
        "element": 8, "slab": 3, "cluster": 3, "disordered": 4,
    }  # fmt: skip
    assert own.atoms == sum(part.atoms for part in own.types.values()) == 165
    assert own.types["slab"].virials == own.types["cluster"].virials == 0
    assert own.types["slab"].virial_rmse_ev_per_atom is None
    assert "own/slab" not in results.configurations.by_type  # type: ignore[union-attr]
    assert "Database own" in (example / "report.html").read_text(encoding="utf-8")


def test_errors_by_type_are_those_of_the_potential_on_the_file(example: Path) -> None:
    section = load_config(EXAMPLE).database[0]
    frames = read_database(
        section.file, energy_key=section.energy_key, forces_key=section.forces_key, virial_key=None,
        stress_key=section.stress_key, allow_missing=True,
    )  # fmt: skip
    found = evaluate(frames, GapCalculator(example / "potential" / "gap.xml")).errors()
    for kind, part in read_results(example).databases[0].types.items():
        errors = found[kind]
        assert part.configurations == errors.configurations
        assert part.energy_rmse_ev_per_atom == pytest.approx(errors.energy_rmse_ev_per_atom, rel=1e-4)
        assert part.force_rmse_ev_per_angstrom == pytest.approx(errors.force_rmse_ev_per_angstrom, rel=1e-4)
        if part.virials:
            assert part.virial_rmse_ev_per_atom == pytest.approx(errors.virial_rmse_ev_per_atom, rel=1e-4)


def test_it_is_the_fit_of_all_configurations_by_hand(example: Path, tmp_path: Path) -> None:
    config, results = load_config(EXAMPLE), read_results(example)
    every = read(example / "database.extxyz", ":")
    assert len(every) == results.cost.labels + 18  # type: ignore[union-attr]
    ours = [frame for frame in every if "/" not in frame.info["config_type"]]
    weights = {"element": 0.5, "slab": 0.5, "disordered": 0.5, "cluster": 0.1}
    by_hand = apply_regularisation(ours, config.regularisation)
    for frame in every[len(ours) :]:
        kind = frame.info["config_type"].removeprefix("own/")
        expected = config.regularisation.replaced(energy=0.005) if kind == "cluster" else config.regularisation
        by_hand += apply_regularisation([frame], expected.scaled(weights[kind] ** -0.5))
    unlabelled = read(example / "configurations.extxyz", ":")
    assert len(unlabelled) == len(ours)
    fit = fit_gap(by_hand, tmp_path, config.fit, sparse_only=_sparse_only(config, example))
    assert fit.e0 == pytest.approx(results.fit.settings["e0"])  # type: ignore[union-attr]
    assert fit.e0 == pytest.approx(fitted_energies(every))
    errors = fit.errors["all"].force_rmse_ev_per_angstrom
    assert errors == pytest.approx(results.fit.errors["all"].force_rmse_ev_per_angstrom, rel=1e-4)  # type: ignore[union-attr]
    crystal = read(example / "crystal.extxyz").repeat((2, 2, 1))
    crystal.rattle(0.05, seed=4)
    forces = []
    for potential in (tmp_path, example / "potential"):
        crystal.calc = GapCalculator(potential / "gap.xml")
        forces.append(crystal.get_forces())
    assert forces[0] == pytest.approx(forces[1], abs=1e-5)


def _sparse_only(config, example: Path) -> list[Atoms]:
    from ndsc.workflow.plan import make_plan

    return make_plan(config, example, compute=False).unlabelled


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than all the rest."""
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda directory: directory)


@pytest.mark.usefixtures("no_report")
def test_a_second_run_from_its_own_input_file_computes_nothing(example: Path) -> None:
    before = (example / "potential" / "gap.xml").read_bytes()
    results = run_workflow(load_config(example / "ndsc.toml"), example)
    assert results.labels is not None
    assert results.labels.reused == results.labels.requested
    assert (example / "potential" / "gap.xml").read_bytes() == before
    assert results.databases == read_results(example).databases
    assert (example / results.databases[0].file).resolve() == EXAMPLE.with_suffix(".extxyz")


SELECTING = """
[crystal]
structure = "Cu"
a = 3.59
relax = false
[supercells]
grid = 2
[reference]
calculator = "emt"
[executor]
workers = 1
[selection]
candidates = 40
target_thz = 0.4
target_elastic_percent = 15
max_labels = 8
[fit]
cutoff = 4.5
n_max = 4
l_max = 3
n_sparse = 40
[phonons]
reference = "none"
{database}
"""


def label(atoms: Atoms, *, factor: float = 1.0) -> Atoms:
    work = atoms.copy()
    work.calc = EMT()
    out = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    out.info["REF_energy"] = factor * work.get_potential_energy() - 3.5 * factor * len(atoms)
    out.arrays["REF_forces"] = factor * work.get_forces()
    out.info["REF_virial"] = (-factor * work.get_volume() * work.get_stress(voigt=False)).ravel()
    return out


def database() -> list[Atoms]:
    """Enough to know all about the crystal: energies are 3.5 eV an atom below those of EMT's copper."""
    supercells = find_supercells(bulk("Cu", a=3.59), 2)
    frames = make_configurations(supercells, per_supercell=6, unit_cells=6, displacement=[0.02, 0.05], seed=77)
    return [label(atoms) for atoms in frames]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_report: None) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_choice_counts_the_database_as_there(folder: Path) -> None:
    frames = database()
    for frame in frames:
        frame.info["REF_energy"] += 3.5 * len(frame)
    write("own.extxyz", frames[1:])
    own = parse_config(SELECTING.format(database='[[database]]\nfile = "own.extxyz"\n'), folder=folder)
    found = run_workflow(own, folder / "with").selection
    alone = run_workflow(parse_config(SELECTING.format(database=""), folder=folder), folder / "without").selection
    assert found is not None
    assert alone is not None
    assert found.target_met
    assert found.labels == 1  # the unperturbed unit cell, which every run labels
    assert alone.labels > 1
    assert found.steps[0].predicted_rmse_thz < alone.steps[0].predicted_rmse_thz  # type: ignore[operator]
    assert "own/default" in json.loads((folder / "with" / "results.json").read_text())["fit"]["errors"]
    # ndsc select says the same before anything is labelled.
    preview = preview_of_run(own, folder / "with")
    assert len(preview.labelled) == len(frames)


def test_a_database_of_another_reference_stops_the_run_after_its_first_label(folder: Path) -> None:
    write("own.extxyz", database()[1:])
    text = SELECTING.format(database='[[database]]\nfile = "own.extxyz"\n')
    with pytest.raises(InputError) as error:
        run_workflow(parse_config(text, folder=folder), folder / "run")
    assert "own.extxyz and the labels of this run (emt) do not come from the same reference" in str(error.value)
    assert len(list((folder / "run" / "labels").glob("*.json"))) == 1
    assert np.isfinite(database()[1].info["REF_energy"])
