"""What a choice of labels is said to take before it is made."""

import pytest
from matscipy.neighbours import neighbour_list

from ndsc.config import parse_config
from ndsc.errors import InputError
from ndsc.potentials.gap import SECONDS_PER_PAIR, SECONDS_PER_PAIR_AND_POINT
from ndsc.selection.selector import MOST_MEMORY
from ndsc.workflow import dry_run, make_plan
from ndsc.workflow.selection import targets_of_plan
from ndsc.workflow.selection_effort import (
    MATRICES,
    SelectionEffort,
    check_selection_memory,
)

TEXT = """
[crystal]
{crystal}
relax = false
[supercells]
grid = {grid}
[fit]
n_sparse = {n_sparse}
[reference]
calculator = "{calculator}"
[selection]
candidates = {candidates}
{more}
"""


def plan_of(tmp_path, *, crystal='structure = "Al"', grid=3, n_sparse=100, candidates=200, calculator="emt", more=""):
    text = TEXT.format(
        crystal=crystal, grid=grid, n_sparse=n_sparse, candidates=candidates, calculator=calculator, more=more
    )
    return make_plan(parse_config(text), tmp_path)


def rate_of(plan, weights):
    """Seconds for an atom."""
    unit = plan.crystal.atoms
    pairs = len(neighbour_list("i", unit, plan.config.fit.cutoff)) / len(unit) + 1
    return pairs * (SECONDS_PER_PAIR + SECONDS_PER_PAIR_AND_POINT * weights)


@pytest.mark.parametrize(
    ("crystal", "calculator"),
    [('structure = "Al"', "emt"), ('structure = "NaCl"\nlattice = "rocksalt"\na = 5.6', "lj")],
)
def test_rows_and_atoms_are_counted(tmp_path, crystal, calculator):
    plan = plan_of(tmp_path, crystal=crystal, grid=2, calculator=calculator)
    effort = SelectionEffort.of_plan(plan)
    n_species = len(set(plan.crystal.atoms.numbers.tolist()))
    assert effort.weights == 100 * n_species
    assert effort.candidates == len(plan.candidates)
    rows = sum(7 + 3 * len(atoms) for atoms in plan.candidates)
    assert effort.row_memory_gb == pytest.approx(8e-9 * rows * effort.weights)
    assert effort.fewest <= 4 * effort.kinds
    low, high = effort.row_seconds
    assert 0 < low < high
    # The time is that of the atoms, those of the targets among them.
    targets = [frame for target in targets_of_plan(plan) for frame in target.frames()]
    atoms = sum(map(len, targets))
    assert high / (atoms + sum(map(len, plan.candidates))) == pytest.approx(rate_of(plan, effort.weights), rel=0.1)
    assert effort.memory_gb > effort.row_memory_gb + 8e-9 * MATRICES * effort.weights**2 + effort.process_memory_gb


def test_time_and_memory_grow_with_what_they_depend_on(tmp_path):
    small = SelectionEffort.of_plan(plan_of(tmp_path))
    more = SelectionEffort.of_plan(plan_of(tmp_path, candidates=1000))
    dense = SelectionEffort.of_plan(plan_of(tmp_path, n_sparse=1000))
    assert more.fewest == small.fewest
    assert more.row_seconds[1] > 2 * small.row_seconds[1]
    assert more.memory_gb > small.memory_gb
    assert dense.row_memory_gb == pytest.approx(10 * small.row_memory_gb)
    # Rows beyond the bound are not computed.
    many = SelectionEffort.of_plan(plan_of(tmp_path, n_sparse=20_000, candidates=3000, grid=4))
    assert many.row_memory_gb == pytest.approx(MOST_MEMORY / 1e9)


def test_chance_needs_the_rows_of_labels_only(tmp_path):
    plan = plan_of(tmp_path, more="method = 'random'\nmax_labels = 10")
    effort = SelectionEffort.of_plan(plan)
    assert effort.fewest == 10
    assert effort.row_seconds[0] == effort.row_seconds[1]


def test_a_choice_without_the_memory_is_refused(tmp_path):
    plan = plan_of(tmp_path)
    effort = check_selection_memory(plan, limit_gb=1.0)
    with pytest.raises(InputError, match=r"\[selection\] candidates"):
        check_selection_memory(plan, limit_gb=0.5 * effort.memory_gb)


@pytest.mark.gap
def test_the_dry_run_says_what_a_choice_takes(tmp_path):
    chosen = dry_run(plan_of(tmp_path).config, tmp_path / "run")
    assert chosen.selection == SelectionEffort.of_plan(chosen.plan)
    assert f"{chosen.selection.candidates} candidates of {chosen.selection.kinds} kinds" in str(chosen)
    everything = dry_run(plan_of(tmp_path, more="method = 'all'").config, tmp_path / "run")
    assert everything.selection is None
    assert not (tmp_path / "run").exists()
