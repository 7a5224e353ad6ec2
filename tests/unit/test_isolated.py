"""Single atoms, whose energies are the zero of the potential's."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from ndsc.config import parse_config
from ndsc.database import make_database
from ndsc.errors import InputError
from ndsc.progress import silent
from ndsc.reference import LabelStore, label_configurations
from ndsc.targets import is_isolated_atom
from ndsc.workflow.dry_run import dry_run
from ndsc.workflow.isolated import IsolatedAtom, isolated_atoms
from ndsc.workflow.labelling import label_plan, labels_to_fit
from ndsc.workflow.plan import make_plan
from ndsc.workflow.summary import RunRecord, summarise

SMALL = """
[crystal]
structure = "Al"
relax = false
[supercells]
grid = 2
[configurations]
per_supercell = 1
unlabelled = 0
"""
ISOLATED = '[fit]\ne0 = "isolated"\n'
GPAW = """
[reference]
calculator = "gpaw"
kgrid = 4
parameters = {mode = {name = "pw", ecut = 200}, occupations = {name = "marzari-vanderbilt", width = 0.5}}
"""


def isolated(text, symbol="Al"):
    config = parse_config(SMALL + text)
    return isolated_atoms(config, bulk(symbol, "fcc", a=4.0), config.reference.to_spec())


def test_without_electrons_they_are_configurations_like_others(tmp_path):
    plan = make_plan(parse_config(SMALL + ISOLATED), tmp_path)
    assert plan.isolated == []
    atom = plan.configurations[-1]
    assert (atom.info["ndsc_name"], atom.info["config_type"], len(atom)) == ("isolated-Al", "isolated_atom", 1)
    assert np.array_equal(atom.cell, 20 * np.eye(3))
    assert [atoms.info["ndsc_name"] for atoms in plan.to_fit] == [
        atoms.info["ndsc_name"] for atoms in plan.configurations
    ]


def test_a_density_functional_code_gets_settings_of_its_own(tmp_path):
    plan = make_plan(parse_config(SMALL + GPAW + ISOLATED), tmp_path)
    (atom,) = plan.isolated
    assert "isolated-Al" not in {atoms.info["ndsc_name"] for atoms in plan.to_label}
    assert plan.to_fit[-1] is atom.atoms
    assert atom.spec.kgrid == (1, 1, 1)
    assert atom.spec.parameters["hund"] is True
    assert atom.spec.parameters["occupations"] == {"name": "fermi-dirac", "width": 0.01, "fixmagmom": True}
    assert atom.spec.parameters["mode"] == plan.spec.parameters["mode"]
    assert atom.atoms.get_initial_magnetic_moments().tolist() == [1.0]
    assert atom.atoms.cell.lengths() == pytest.approx([12.0, 12.24, 12.48])
    assert "isolated-Al" in str(dry_run(parse_config(SMALL + GPAW + ISOLATED), tmp_path))


def test_what_the_input_file_says_of_them():
    text = GPAW + "atom_box = 15.0\natom_parameters = {hund = false, nbands = 8}\n" + ISOLATED
    (atom,) = isolated(text)
    assert atom.atoms.cell.lengths()[0] == 15
    assert (atom.spec.parameters["hund"], atom.spec.parameters["nbands"]) == (False, 8)


def test_a_closed_shell_has_no_spin():
    (atom,) = isolated(GPAW + ISOLATED, "Mg")
    assert not atom.atoms.has("initial_magmoms")
    assert "hund" not in atom.spec.parameters


def test_nobody_asks_for_them():
    assert isolated(GPAW) == []
    assert isolated(GPAW + '[fit]\nmethod = "none"\ne0 = "isolated"\n') == []


def test_a_calculator_of_the_users_own_is_refused():
    reference = '[reference]\ncalculator = "module:factory"\nkgrid = 2\n'
    with pytest.raises(InputError, match=r"isolated.*settings of its own"):
        isolated(reference + ISOLATED)


def test_their_labels_join_the_report(tmp_path):
    store = LabelStore(tmp_path)
    config = parse_config(SMALL + ISOLATED)
    plan = make_plan(config, tmp_path)
    report = label_configurations(plan.configurations[:1], plan.spec, store, workers=1)
    (single,) = isolated_atoms(config, plan.crystal.atoms, plan.spec)
    both = report.joined(label_configurations([single.atoms], single.spec, store, workers=1))
    assert set(both.labels) == {plan.configurations[0].info["ndsc_name"], "isolated-Al"}
    assert (both.computed, both.notes) == (report.computed + 1, report.notes)
    again = report.joined(label_configurations([single.atoms], single.spec, store, workers=1))
    assert again.found == report.found + 1


def test_a_run_with_them(tmp_path, monkeypatch):
    # As with a density-functional code: the atom has a calculator of its own, here with another parameter.
    def with_own_settings(config, atoms, spec, **others):
        return [
            IsolatedAtom(atom.atoms, replace(spec, parameters={"asap_cutoff": True}))
            for atom in isolated_atoms(config, atoms, spec, **others)
        ]

    monkeypatch.setattr("ndsc.workflow.plan.isolated_atoms", with_own_settings)
    plan = make_plan(parse_config(SMALL + ISOLATED + "[executor]\nworkers = 1\n"), tmp_path)
    report, warnings = label_plan(plan, silent)
    record = RunRecord(plan, report, make_database(plan.to_fit, labels_to_fit(plan, report)), {}, warnings)
    assert is_isolated_atom(record.database[-1])
    assert len(record.database) == len(record.plan.configurations) + 1
    results = summarise(record, tmp_path)
    assert results.configurations.by_type["isolated_atom"] == 1
    assert results.labels.failures == []
    assert results.labels.requested == results.labels.succeeded
    assert all("stress" in warning for warning in results.warnings)  # The crystal is not relaxed.
