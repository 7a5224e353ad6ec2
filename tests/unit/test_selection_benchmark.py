"""The crystals and references of the benchmark of selection, and its verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from scipy.special import erfc

from ndsc import elastic_constants, phonons_from_supercells, relax_crystal
from ndsc.config import load_config
from ndsc.crystal import as_crystal
from ndsc.reference import CalculatorSpec
from ndsc.results import Comparison, CostSummary, CrystalSummary, PhononsSummary, Results

sys.path.insert(0, str(Path(__file__).parents[2] / "benches"))

import _crystals
import selection

#: Space groups by the International Tables.
GROUPS = {
    "al": 225, "ti": 194, "cuau": 123, "cu3au": 221, "si": 227, "sic": 216, "mgo": 225, "nacl": 225, "rutile": 136,
    "alpd": 12, "cupdpt": 1, "bronze": 12, "quartz": 154,
}  # fmt: skip
PASSES = {
    "crystal": "x", "labels": 40, "seconds": 100.0, "rmse_thz": 0.2, "top_thz": 25.0, "lowest_thz": -0.01,
    "reference_lowest_thz": 0.0, "elastic": {"C11": (12.0, 4.0), "C12": (1.9, 30.0), "C44": (-0.1, None)},
}  # fmt: skip


def reference(name: str):
    case = _crystals.CASES[name]
    atoms = case.make()
    return atoms, CalculatorSpec(case.calculator, dict(case.parameters)).create(atoms)


@pytest.mark.parametrize("name", list(_crystals.CASES))
def test_space_groups(name):
    assert as_crystal(_crystals.CASES[name].make()).number == GROUPS[name]


@pytest.mark.parametrize("name", ["ti", "si", "sic", "mgo", "nacl", "rutile", "quartz"])
def test_forces_and_stresses_are_slopes_of_the_energy(name):
    atoms, calculator = reference(name)
    random = np.random.default_rng(1)
    atoms.positions += 0.05 * random.standard_normal(atoms.positions.shape)
    step, strain = 1e-4, np.zeros((3, 3))
    strain[0, 1] = strain[1, 0] = 0.5

    def energy(*, moved: float = 0.0, strained: float = 0.0) -> float:
        other = atoms.copy()
        other.positions[-1, 1] += moved
        other.set_cell(other.cell.array @ (np.eye(3) + strained * strain), scale_atoms=True)
        other.calc = calculator
        return other.get_potential_energy()

    atoms.calc = calculator
    force, stress = atoms.get_forces()[-1, 1], atoms.get_stress()[5]
    slope = (energy(moved=step) - energy(moved=-step)) / (2 * step)
    assert force == pytest.approx(-slope, abs=1e-6 * max(1.0, abs(slope)))
    slope = (energy(strained=step) - energy(strained=-step)) / (2 * step) / atoms.get_volume()
    assert stress == pytest.approx(slope, abs=1e-7)


def test_a_pair_of_ions():
    """The closed form: each part less its value and slope at the cutoff, and the ions' own terms."""
    r, cutoff, damping = 2.7, 9.0, 0.2
    pair = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, r]], cell=[40.0] * 3, pbc=True)
    pair.calc = _crystals.ions("nacl", cutoff, damping)

    def shifted(function):
        slope = (function(cutoff + 1e-4) - function(cutoff - 1e-4)) / 2e-4
        return function(r) - function(cutoff) - slope * (r - cutoff)

    coulomb = shifted(lambda x: -14.399645 * erfc(damping * x) / x)
    short = shifted(lambda x: 1256.31 * np.exp(-x / 0.317) - 6.99 / x**6 - 8.68 / x**8)
    own = -2 * 14.399645 * (erfc(damping * cutoff) / (2 * cutoff) + damping / np.sqrt(np.pi))
    assert pair.get_potential_energy() == pytest.approx(coulomb + short + own, abs=1e-5)


def test_a_pair_of_metal_atoms():
    r = 3.1
    pair = Atoms("Ti2", positions=[[0, 0, 0], [0, 0, r]], cell=[40.0] * 3, pbc=True)
    pair.calc = _crystals.second_moment("Ti")
    x = r / 2.95 - 1
    expected = 2 * 0.1519 * np.exp(-8.62 * x) - 2 * 1.8112 * np.exp(-2.39 * x)
    assert pair.get_potential_energy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["ti", "mgo", "rutile", "quartz"])
def test_crystals_are_stable(name):
    atoms, calculator = reference(name)
    relaxed = relax_crystal(atoms, calculator)
    found = phonons_from_supercells(relaxed, _crystals.CASES[name].grid, calculator)
    assert np.min(found.phonopy.run_qpoints(found.exact_qpoints).frequencies) > -0.01
    assert elastic_constants(relaxed, calculator).stable
    assert as_crystal(relaxed).number == GROUPS[name]


def test_all_that_is_reached_is_a_pass():
    found = selection.Outcome(**PASSES)
    assert found.missed(40) == []
    assert found.rmse_percent == pytest.approx(0.8)
    assert found.worst_elastic == "C12"


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"rmse_thz": 0.26}, "phonons"),
        ({"rmse_thz": None}, "phonons"),
        ({"elastic": {"C11": (12.0, 4.0), "C12": (2.1, 5.1)}}, "elastic"),
        ({"elastic": {"C11": (None, None)}}, "elastic"),
        ({"lowest_thz": -0.2}, "unstable"),
        ({"seconds": 301.0}, "time"),
        ({"labels": 41}, "labels"),
        ({"error": "it ended"}, "no results"),
    ],
)
def test_what_is_missed_is_named(changed, missed):
    assert selection.Outcome(**(PASSES | changed)).missed(40) == [missed]


def test_an_instability_of_the_reference_is_not_the_potentials():
    found = selection.Outcome(**(PASSES | {"lowest_thz": -0.2, "reference_lowest_thz": -0.3}))
    assert found.missed(40) == []


@pytest.mark.parametrize("name", list(_crystals.CASES))
def test_input_files_hold_only_what_has_no_default(name, tmp_path):
    config = load_config(selection.input_file(name, _crystals.CASES[name], tmp_path, 40, "all"))
    assert config.supercells.grid == _crystals.CASES[name].grid
    assert config.reference.parameters == _crystals.CASES[name].parameters
    assert config.model_fields_set <= {"crystal", "supercells", "reference", "selection"}


def test_what_a_run_reached_is_read_from_its_results():
    results = Results(
        crystal=CrystalSummary(formula="TiO2", n_atoms=6, space_group="P4_2/mnm"),
        phonons=PhononsSummary(
            rmse_mesh_thz=0.1,
            rmse_path_thz=0.2,
            max_error_thz=0.5,
            min_frequency_thz=-0.01,
            reference_min_frequency_thz=0.0,
            reference_max_frequency_thz=25.0,
        ),
        elastic={"C11": Comparison.of(300.0, 290.0), "C13": Comparison.of(None, 150.0)},
        cost=CostSummary(labels=38, atoms=500, seconds=2.0),
        versions={},
        seed=1,
    )
    found = selection.outcome("rutile", results, 100.04, 2.0)
    assert (found.labels, found.seconds, found.rmse_percent) == (38, 100.0, pytest.approx(0.4))
    assert found.elastic == {"C11": (10.0, pytest.approx(100 * 10 / 290)), "C13": (None, None)}
    assert found.missed(40) == ["elastic"]
    assert found.worst_elastic == "C13"


def test_the_processor_time_of_a_reference_is_written_down(tmp_path, monkeypatch):
    file = tmp_path / "seconds.txt"
    monkeypatch.setenv(_crystals.SECONDS_FILE, str(file))
    atoms, calculator = reference("ti")
    for factor in (1.0, 1.01):
        atoms.set_cell(factor * atoms.cell, scale_atoms=True)
        atoms.calc = calculator
        atoms.get_potential_energy()
    assert len([float(line) for line in file.read_text().split()]) == 2
