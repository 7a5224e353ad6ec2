"""Whole runs: the Crystal of the input file reaches every stage, what is wrong is found early, old results stay."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import write

from ndsc.benchmark import Reference, benchmark
from ndsc.config import RunConfig, parse_config
from ndsc.crystal import Crystal
from ndsc.errors import InputError, NdscError
from ndsc.force_constants import phonon_displacements, phonons_from_supercells
from ndsc.report import write_report
from ndsc.results import changed_inputs, read_results
from ndsc.supercells import find_supercells
from ndsc.workflow import dry_run, make_plan, run_workflow

SMALL_FIT = 'solver = "numpy"\nn_sparse = 20\nn_max = 4\nl_max = 3\ncutoff = 4.0\n'
pytestmark = pytest.mark.usefixtures("no_figures")


def config(folder: Path, atoms: Atoms | None = None, *, crystal: str = "", **sections: str) -> RunConfig:
    """A small run without a fit, with EMT."""
    structure = "Al"
    if atoms is not None:
        structure = "crystal.extxyz"
        write(folder / structure, atoms)
    parts = {
        "supercells": "grid = 2",
        "configurations": "per_supercell = 1\nunlabelled = 0",
        "executor": "workers = 1",
        "fit": 'method = "none"',
    } | sections
    text = f'[crystal]\nstructure = "{structure}"\n{crystal}\n'
    text += "".join(f"[{name}]\n{body}\n" for name, body in parts.items())
    return parse_config(text, folder=folder)


def hexagonal_nickel(digits: int | None = None) -> Atoms:
    atoms = bulk("Ni", "hcp", a=2.49, c=4.05)
    if digits is not None:
        atoms.set_scaled_positions(np.round(atoms.get_scaled_positions(), digits))
    return atoms


def triclinic() -> Atoms:
    cell = [[3.75, 0, 0], [0.25, 3.7, 0], [-0.2, 0.3, 3.8]]
    places = [[0.0805, 0.114, 0.038], [1.989, 1.785, 0.114], [1.855, 0.224, 1.9], [0.0605, 2.003, 1.938]]
    return Atoms("CuNiPdAl", positions=places, cell=cell, pbc=True)


@pytest.mark.parametrize(
    ("digits", "symprec", "group", "supercells", "cost"),
    [
        (None, 1e-5, 194, 6, 272),
        (4, 0.01, 194, 6, 272),
        (4, 1e-5, 63, 11, 536),
    ],
)
def test_the_tolerance_of_the_input_file_decides_the_supercells(tmp_path, digits, symprec, group, supercells, cost):
    settings = config(
        tmp_path, hexagonal_nickel(digits), crystal=f"relax = false\nsymprec = {symprec}", supercells="grid = [4, 4, 2]"
    )
    summary = dry_run(settings, tmp_path / "run")
    assert summary.plan.crystal.number == group
    assert (len(summary.plan.supercells), summary.plan.supercells.cost) == (supercells, cost)
    assert f"({group})" in str(summary)
    # A larger group at a larger tolerance is named.
    assert ("P6_3/mmc (194) with symprec" in str(summary)) == (group != 194)


@pytest.mark.gap
def test_a_run_uses_the_tolerance_through_to_its_results(tmp_path):
    settings = config(
        tmp_path, hexagonal_nickel(4), crystal="symprec = 0.01", supercells="grid = [4, 4, 2]", fit=SMALL_FIT,
        phonons="dos_mesh = 4", elastic="enabled = false",
    )  # fmt: skip
    run_workflow(settings, tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["crystal"]["space_group_number"] == 194
    assert results["crystal"]["symprec"] == 0.01
    assert results["supercells"]["cost"] == 272
    exact = phonon_displacements(find_supercells(hexagonal_nickel(), (4, 4, 2)))
    assert results["phonons"]["reference_effort"]["calculations"] == len(exact)
    assert results["cost"]["stages"].keys() == {"crystal", "labels", "reference", "fit", "benchmark"}


def test_the_primitive_cell_has_the_tolerance_of_the_input_file(tmp_path):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.positions[1] += 0.002
    strict, loose = (
        make_plan(config(tmp_path, atoms, crystal=f"relax = false\nsymprec = {symprec}"), tmp_path)
        for symprec in (1e-5, 0.01)
    )
    assert (len(strict.crystal.atoms), len(loose.crystal.atoms)) == (4, 1)


def test_masses_and_moments_reach_the_configurations(tmp_path):
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.set_masses([60.0, 63.5, 63.5, 63.5])
    plan = make_plan(config(tmp_path, atoms, crystal="relax = false"), tmp_path)
    assert plan.crystal.number == 221
    for frame in plan.configurations:
        assert np.sum(frame.get_masses() == 60.0) == len(frame) / 4


@pytest.mark.gap
def test_residual_forces_are_found_with_the_first_label(tmp_path):
    settings = config(
        tmp_path, triclinic(), crystal="relax = false", supercells="grid = [2, 1, 1]", fit=SMALL_FIT,
    )  # fmt: skip
    atoms = triclinic()
    atoms.calc = EMT()
    largest = np.max(np.linalg.norm(atoms.get_forces(), axis=1))
    with pytest.raises(InputError, match=f"{largest:.2f}"):
        run_workflow(settings, tmp_path / "run")
    assert len(list((tmp_path / "run" / "labels").glob("*.json"))) == 1


@pytest.mark.gap
def test_energies_of_single_atoms_of_another_code_are_found_with_the_first_label(tmp_path):
    settings = config(tmp_path, bulk("Cu"), crystal="relax = false", fit=SMALL_FIT + "e0 = {Cu = -5000.0}")
    with pytest.raises(InputError, match="e0"):
        run_workflow(settings, tmp_path / "run")
    assert len(list((tmp_path / "run" / "labels").glob("*.json"))) == 1


@pytest.mark.gap
def test_a_single_atom_that_fails_is_found_before_the_configurations(tmp_path):
    settings = config(
        tmp_path, bulk("Cu"), crystal="relax = false", fit=SMALL_FIT + 'e0 = "isolated"',
        reference='calculator = "calculators_for_tests:no_single_atoms"',
    )  # fmt: skip
    with pytest.raises(NdscError, match="isolated-Cu"):
        run_workflow(settings, tmp_path / "run")
    assert len(list((tmp_path / "run" / "labels").glob("*.json"))) == 1


def test_a_model_that_leaves_the_crystal_is_a_warning():
    crystal = Crystal.from_atoms(bulk("Cu", a=3.59))
    reference = Reference(crystal, phonons_from_supercells(crystal, (1, 1, 1), EMT()), elastic=None)
    # Its nearest neighbours are 1.3 times as far apart as those of copper.
    model = LennardJones(sigma=1.3 * 3.6 / np.sqrt(2) / 1.09, epsilon=0.2, rc=8.0, smooth=True, ro=7.0)
    found = benchmark(model, reference, dos_mesh=None)
    assert any("another crystal" in text for text in found.warnings)


@pytest.mark.gap
@pytest.mark.parametrize(
    "reference",
    ['calculator = "missing_module:make"', 'calculator = "quip"\nparameters = {param_filename = "missing.xml"}'],
)
def test_a_calculator_that_is_not_there_is_refused_in_the_dry_run(tmp_path, reference):
    settings = config(tmp_path, bulk("Cu"), reference=reference)
    for start in (dry_run, run_workflow):
        with pytest.raises(InputError, match="missing"):
            start(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gap
@pytest.mark.parametrize(
    ("sections", "word"),
    [
        ({"fit": "e0 = {Al = -3.0}"}, "Cu"),
        ({"fit": SMALL_FIT, "configurations": "per_supercell = 50000", "supercells": "grid = 60"}, "memory"),
        ({"fit": SMALL_FIT, "reference": 'labels = "crystal.extxyz"'}, "crystal.extxyz"),
    ],
)
def test_what_cannot_end_well_is_refused_before_the_first_label(tmp_path, sections, word):
    settings = config(tmp_path, bulk("Cu"), **sections)
    for start in (run_workflow, dry_run):
        with pytest.raises(InputError, match=word):
            start(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["per_supercell", "unit_cells", "unlabelled"])
def test_a_thousand_million_configurations_are_refused_at_once(tmp_path, key):
    with pytest.raises(InputError, match=key):
        dry_run(config(tmp_path, configurations=f"{key} = 1000000000"), tmp_path / "run")


def test_results_of_another_input_are_named(tmp_path):
    folder = tmp_path / "run"
    settings = config(tmp_path)
    run_workflow(settings, folder)
    assert changed_inputs(read_results(folder), folder) == []
    before = (folder / "results.json").read_bytes()
    with pytest.raises(NdscError):
        run_workflow(config(tmp_path, reference='calculator = "calculators_for_tests:no_stress"'), folder)
    assert (folder / "results.json").read_bytes() == before
    assert changed_inputs(read_results(folder), folder) == ["[reference] calculator"]
    run_workflow(settings, folder)
    other = config(tmp_path, crystal="a = 4.1", supercells="grid = 3")
    (folder / "ndsc.toml").write_text((folder / "ndsc.toml").read_text().replace("[2, 2, 2]", "[3, 3, 3]", 1))
    assert changed_inputs(read_results(folder), folder) == ["[supercells] grid"]
    assert "[supercells] grid" in write_report(folder).read_text()
    run_workflow(other, folder)
    assert changed_inputs(read_results(folder), folder) == []
    assert "earlier input" not in (folder / "report.html").read_text()


def test_equal_parts_of_a_database_are_named(tmp_path):
    text = '[crystal]\nstructure = "Al"\n[supercells]\ngrid = 2\n[fit]\nmethod = "none"\n'
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        text += f'[[configurations]]\nname = "{name}"\nseed = {seed}\n'
    notes = dry_run(parse_config(text), tmp_path).notes
    assert len(notes) == 1
    assert "a and b" in notes[0]


@pytest.mark.parametrize("grid", [60, 200])
def test_a_dry_run_of_a_huge_grid_only_counts(tmp_path, grid, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("structures were made")

    monkeypatch.setattr("ndsc.workflow.parts.make_configurations", refuse)
    monkeypatch.setattr("ndsc.workflow.plan.phonon_displacements", refuse)
    summary = dry_run(config(tmp_path, supercells=f"grid = {grid}"), tmp_path / "run")
    assert summary.plan.n_configurations == 1 + len(summary.plan.supercells)


@pytest.mark.parametrize("parts", [[(3, 2)], [(0, 3), (2, 1), (1, 0)], [(1, 0), (0, 1)]])
def test_the_plan_counts_what_it_would_make(tmp_path, parts):
    text = (
        '[crystal]\nstructure = "Si"\nrelax = false\n[supercells]\ngrid = [2, 2, 1]\n[reference]\ncalculator = "lj"\n'
    )
    for number, (per_supercell, unit_cells) in enumerate(parts):
        text += f'[[configurations]]\nname = "part{number}"\nseed = {number}\nunlabelled = {number}\n'
        text += f"per_supercell = {per_supercell}\nunit_cells = {unit_cells}\n"
    plan = make_plan(parse_config(text), tmp_path)
    sizes = [len(atoms) for atoms in plan.configurations]
    assert plan.counts == {size: sizes.count(size) for size in sorted(set(sizes))}
    assert plan.n_configurations == len(sizes)
    assert plan.n_unlabelled == len(plan.unlabelled)


@pytest.mark.parametrize(("moments", "group"), [([0.0, 0.0], None), ([2.2, 2.2], "229.140"), ([2.2, -2.2], "221.97")])
def test_the_magnetic_group_of_iron(moments, group):
    # Collinear moments are scalars here: ferromagnetic iron has no operation that reverses the spins.
    atoms = bulk("Fe", "bcc", a=2.87, cubic=True)
    atoms.set_initial_magnetic_moments(moments)
    assert Crystal.from_atoms(atoms).magnetic_group == group
