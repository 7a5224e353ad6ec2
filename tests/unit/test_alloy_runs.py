"""Runs in which atoms are substituted: one potential over a range of composition."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ndsc.config import SeveralConfig, load_run, parse_run
from ndsc.crystal import Crystal
from ndsc.decorations import enumerate_decorations
from ndsc.errors import InputError
from ndsc.fit import GapCalculator
from ndsc.potentials import load_fit
from ndsc.selection import EnergyTarget
from ndsc.sublattices import make_supercell
from ndsc.workflow import run_several, run_workflow
from ndsc.workflow.joint import make_joint_plan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN = """
[crystal]
structure = "Cu"
relax = false
a = 3.59
[supercells]
grid = [2, 2, 4]
[configurations]
substitute = {Cu = ["Cu", "Au"]}
vegard = {Cu = 3.59, Au = 4.06}
per_supercell = 12
unit_cells = 12
displacement = [0.02, 0.05]
unlabelled = 0
[selection]
method = "information"
max_labels = 32
batch = 10
target_mev = 0.5
[reference]
calculator = "emt"
[executor]
workers = 1
[fit]
e0 = "fit"
cutoff = 4.5
n_max = 5
l_max = 4
n_sparse = 60
radial_exponent = 0
[phonons]
reference = "none"
"""


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than all the rest."""
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda _: None)
    for name in ("write_report", "write_several_report"):
        monkeypatch.setattr(f"ndsc.workflow.several.{name}", lambda _: None)


@pytest.mark.gap
def test_energies_of_decorations_are_predicted_as_they_turn_out(tmp_path: Path) -> None:
    config = parse_run(RUN)
    results = run_workflow(config, tmp_path)  # type: ignore[arg-type]
    chosen = results.selection
    assert chosen is not None
    assert chosen.target_mev == 0.5
    assert chosen.order[:2] == ["unit-0000", "unit-Au"]
    steps = [step.predicted_mev for step in chosen.steps]
    assert steps[-1] == chosen.predicted_mev < steps[1]
    assert set(results.configurations.by_type) <= {"unit_cell", "supercell", "decorated"}  # type: ignore[union-attr]
    # Decorations of eight atoms: none of them is in a smaller supercell.
    crystal = Crystal.from_atoms(bulk("Cu", a=3.59))
    model, errors = GapCalculator(tmp_path / "potential" / "gap.xml"), []
    matrix = np.diag([2, 2, 2])
    for numbers in enumerate_decorations(crystal, matrix, {"Cu": ("Cu", "Au")})[0]:
        atoms = make_supercell(crystal.atoms, matrix)
        atoms.numbers = numbers
        share = np.mean(numbers == 79)
        atoms.set_cell(atoms.cell.array * (1 + share * (4.06 / 3.59 - 1)), scale_atoms=True)
        energies = []
        for calculator in (model, EMT()):
            atoms.calc = calculator
            energies.append(1e3 * atoms.get_potential_energy() / len(atoms))
        errors.append(energies[0] - energies[1])
    rms = float(np.sqrt(np.mean(np.square(errors))))
    assert 0.5 * chosen.predicted_mev < rms < 2 * chosen.predicted_mev


def test_the_example_is_of_compounds_and_of_all_between_them(tmp_path: Path) -> None:
    config = load_run(EXAMPLES / "cuau.toml")
    assert isinstance(config, SeveralConfig)
    plan = make_joint_plan(config, tmp_path, compute=False)
    assert plan.symbols == ["Au", "Cu"]
    assert plan.most_labels == 60
    alloy = plan.each[-1]
    compositions = {round(float(np.mean(frame.numbers == 79)), 2) for frame in alloy.candidates}
    assert {0.0, 0.25, 0.5, 0.75, 1.0} <= compositions
    # Gold is the other end of the range.
    assert [frame.info["ndsc_name"] for frame in plan.end_members] == ["alloy-unit-Au"]
    assert any(frame is plan.end_members[0] for frame in plan.to_label)
    assert sum(plan.counts.values()) == len(plan.configurations)
    decorations = alloy.decorations(60)
    assert len(decorations) == 60
    assert {len(frame) for frame in decorations} == {8, 27}
    # They are unperturbed: fractional positions are those of the lattice.
    for frame in decorations:
        ideal = make_supercell(alloy.crystal.atoms, frame.info["ndsc_matrix"].reshape(3, 3))
        assert np.allclose(frame.get_scaled_positions(wrap=False), ideal.get_scaled_positions(wrap=False), atol=1e-7)


#: A GAP that takes a second, in place of the polynomials of the example.
SMALL_GAP = '[fit]\nmethod = "gap"\ne0 = "fit"\ncutoff = 4.5\nsolver = "numpy"\nn_sparse = 40\nn_max = 4\nl_max = 3\n'
#: The example with few labels, none of which is chosen.
FEW = {
    'method = "information"': 'method = "all"', "per_supercell = 30": "per_supercell = 1",
    "per_supercell = 24": "per_supercell = 1", "unit_cells = 24": "unit_cells = 2", "unit_cells = 12": "unit_cells = 2",
    "[8, 8, 8]": "[4, 4, 4]", "[supercells]\n": "[elastic]\nenabled = false\n[supercells]\n",
    "[selection]": "[phonons]\ndos_mesh = [6, 6, 6]\n[selection]",
}  # fmt: skip
#: A choice of few labels among few candidates of the alloy.
CHOSEN = {
    "max_labels = 60": "max_labels = 16", "per_supercell = 24": "per_supercell = 2",
    "unit_cells = 24": "unit_cells = 2",
    "per_supercell = 30": "per_supercell = 6", "unit_cells = 12": "unit_cells = 2", "[8, 8, 8]": "[4, 4, 4]",
    "n_gaussians = 8": "n_gaussians = 4", "max_p = 3": "max_p = 2",
    "[supercells]\n": "[elastic]\nenabled = false\n[supercells]\n",
    "[selection]": "[phonons]\ndos_mesh = [6, 6, 6]\n[selection]",
}  # fmt: skip


def changed(text: str, changes: Mapping[str, str]) -> SeveralConfig:
    """The example with other lines."""
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    config = parse_run(text, folder=EXAMPLES)
    assert isinstance(config, SeveralConfig)
    return config


@pytest.mark.gap
def test_the_example_runs_with_few_labels_and_a_gap(tmp_path: Path) -> None:
    text = (EXAMPLES / "cuau.toml").read_text()
    results = run_several(changed(text[: text.index("[fit]")] + SMALL_GAP, FEW), tmp_path)
    assert list(results.crystals) == ["Cu3Au", "CuAu", "CuAu3", "alloy"]
    assert results.labels.failures == []
    assert results.crystals["alloy"].phonons is None
    assert "alloy/decorated" in results.fit.errors  # type: ignore[union-attr]
    # e0 by least squares: gold and copper are not the same.
    e0 = results.fit.settings["e0"]  # type: ignore[union-attr]
    assert e0["Au"] != pytest.approx(e0["Cu"], abs=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("pypolymlp") is None, reason="pypolymlp is not installed (extra polymlp)")
def test_the_example_chooses_labels_of_all_crystals(tmp_path: Path) -> None:
    results = run_several(changed((EXAMPLES / "cuau.toml").read_text(), CHOSEN), tmp_path)
    chosen = {name: one.selection for name, one in results.crystals.items()}
    assert sum(one.labels for one in chosen.values() if one is not None) == 16
    alloy = chosen["alloy"]
    assert alloy is not None
    assert alloy.order[:2] == ["alloy-unit-0000", "alloy-unit-Au"]
    assert alloy.predicted_mev is not None
    # Gold, at its own lattice constant, is one of the labels.
    fit = load_fit(tmp_path / "potential")
    gold = bulk("Au", a=4.06)
    energies = []
    for calculator in (fit.calculator(), EMT()):
        gold.calc = calculator
        energies.append(gold.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=2e-3)


def test_a_target_needs_structures() -> None:
    with pytest.raises(InputError, match="target of energies has no structures"):
        EnergyTarget([])
