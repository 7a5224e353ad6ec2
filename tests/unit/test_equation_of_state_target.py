"""Runs that are asked for an equation of state: its error is predicted, and labels are chosen until it is small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from ndsc.config import parse_run
from ndsc.errors import InputError
from ndsc.fit import GapCalculator
from ndsc.workflow import dry_run, run_workflow

RUN = """
[crystal]
structure = "Al"
[supercells]
grid = [2, 2, 2]
[selection]
candidates = 200
max_labels = 20
target_thz = 1.0
target_elastic_percent = 100.0
target_gpa = {target}
[reference]
calculator = "emt"
[executor]
workers = 1
[fit]
cutoff = 5.0
n_max = 6
l_max = 4
n_sparse = 80
[phonons]
reference = "none"
"""


@pytest.mark.gap
def test_labels_are_chosen_until_pressures_are_expected_to_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndsc.workflow.run.write_report", lambda _: None)
    results = run_workflow(parse_run(RUN.format(target=0.005)), tmp_path)  # type: ignore[arg-type]
    chosen = results.selection
    assert chosen is not None
    assert chosen.target_met
    assert chosen.predicted_gpa is not None
    assert chosen.predicted_gpa <= chosen.target_gpa == 0.005
    # The targets of phonons and elastic constants alone are met by fewer labels.
    enough = next(step for step in chosen.steps if step.labels >= 4)
    assert enough.labels < chosen.labels
    assert enough.predicted_rmse_thz < 1.0
    assert enough.predicted_elastic_percent < 100.0
    assert enough.predicted_gpa > 0.005
    model, errors = GapCalculator(tmp_path / "potential" / "gap.xml"), []
    cell = np.array(results.crystal.cell)  # type: ignore[union-attr]
    for scale in (0.98, 0.99, 1.0, 1.01, 1.02):
        atoms = bulk("Al")
        atoms.set_cell(scale * cell)
        pressures = [-np.trace(atoms.get_stress(voigt=False)) / 3 / GPa for atoms.calc in (model, EMT())]
        errors.append(pressures[0] - pressures[1])
    assert np.sqrt(np.mean(np.square(errors))) < 2 * 0.005


def test_a_sheet_has_no_equation_of_state(tmp_path: Path) -> None:
    (tmp_path / "sheet.xyz").write_text(
        '1\nLattice="2.5 0 0 -1.25 2.165064 0 0 0 12" Properties=species:S:1:pos:R:3 pbc="T T F"\nCu 0 0 6\n'
    )
    text = RUN.format(target=0.005).replace('"Al"', f'"{tmp_path / "sheet.xyz"}"').replace("[2, 2, 2]", "[2, 2, 1]")
    with pytest.raises(InputError, match="target_gpa"):
        dry_run(parse_run(text), tmp_path / "run")  # type: ignore[arg-type]
