"""The integer programme below a cost exponent of log2(3), against all of its columns given to HiGHS at once."""

import time

import numpy as np
import pytest
from ase.build import bulk
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

import ndsc
from ndsc import _core, cover_programme, supercells
from ndsc.cover_bound import Prices, generate_columns
from ndsc.cover_heuristics import Cover, greedy, improved
from ndsc.errors import InternalError
from ndsc.qgrid import q_rotations

CRYSTALS = {
    "fcc": ndsc.Crystal.from_atoms(bulk("Al")),
    "hcp": ndsc.Crystal.from_atoms(bulk("Mg")),
    "sc": ndsc.Crystal.from_atoms(bulk("Po", "sc", a=3.3)),
}
NOTHING = (np.zeros(0), np.zeros(0, dtype=np.int64))


def all_columns(name, grid, exponent):
    """Incidence and costs of all columns (a tiny exponent leaves out only what holds a single row)."""
    rotations = q_rotations(CRYSTALS[name])
    rows, forms, starts, held, beyond = _core.programme_columns(grid, rotations, 0.01, 10**9, 1 << 33)
    assert len(beyond[0]) == 0
    incidence = csr_array((np.ones(len(held)), held, starts), shape=(len(forms), len(rows)))
    return incidence, np.prod(np.diagonal(forms, axis1=1, axis2=2), axis=1).astype(float) ** exponent


def optimum(incidence, costs):
    result = milp(
        costs,
        constraints=LinearConstraint(incidence.T.tocsr(), lb=1.0),
        integrality=np.ones(len(costs)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    assert result.status == 0
    return result.fun


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.9, 1.0, 1.2, 1.5])
@pytest.mark.parametrize(
    ("name", "grid"),
    [("fcc", 6), ("fcc", 8), ("fcc", 12), ("hcp", 6), ("hcp", 8), ("hcp", (6, 6, 4)), ("sc", 6), ("sc", 12)],
)
def test_optimum_is_that_of_all_columns(name, grid, exponent):
    divisions = (grid,) * 3 if isinstance(grid, int) else grid
    found = ndsc.find_supercells(CRYSTALS[name], grid, exponent)
    assert found.gap == 0
    assert found.cost == pytest.approx(optimum(*all_columns(name, divisions, exponent)), rel=1e-6)


def test_an_optimum_that_was_proven_before():
    """HiGHS alone, on all columns, in a second."""
    fcc = ndsc.find_supercells(CRYSTALS["fcc"], 20, 1.0)
    assert (fcc.cost, fcc.gap) == (47 * 20, 0)


@pytest.mark.parametrize(("exponent", "looks"), [(0.7, 1), (1.0, 1), (1.3, 1), (0.7, 100), (1.0, 100), (1.3, 400)])
def test_bound_allows_for_columns_that_are_not_listed(monkeypatch, exponent, looks):
    best = ndsc.find_supercells(CRYSTALS["fcc"], 12, exponent)
    assert best.gap == 0
    monkeypatch.setattr(supercells, "MOST_LOOKS", looks)
    found = ndsc.find_supercells(CRYSTALS["fcc"], 12, exponent)
    assert 0 < found.lower_bound <= best.cost * (1 + 1e-9)
    assert found.cost >= best.cost * (1 - 1e-9)
    assert found.gap == pytest.approx(max(0, 1 - found.lower_bound / found.cost))


def test_programme_that_is_cut_short_reports_a_gap(monkeypatch):
    monkeypatch.setattr(supercells, "MOST_LOOKS", 1)
    found = ndsc.find_supercells(CRYSTALS["fcc"], 12, 1.0)
    assert 0 < found.lower_bound <= 288 <= found.cost
    assert found.gap > 0


def test_prime_powers_that_are_too_large_to_list():
    found = ndsc.find_supercells(CRYSTALS["hcp"], (256, 256, 1), 1.0, time_limit=2)
    assert 0 < found.lower_bound < found.cost <= 256**2


def test_the_time_limit_and_repetition():
    begin = time.monotonic()
    found = [ndsc.find_supercells(CRYSTALS["hcp"], 24, 1.0, time_limit=2.0) for _ in range(2)]
    assert time.monotonic() - begin < 15
    for one in found:
        assert 128.3 * 24 < one.lower_bound <= 144 * 24 <= one.cost <= 148 * 24


@pytest.mark.parametrize(("name", "n"), [("fcc", 18), ("hcp", 12), ("sc", 24)])
def test_prices_are_the_dual_solution(name, n):
    incidence, costs = all_columns(name, (n,) * 3, 1.0)
    exact = linprog(costs, A_ub=-incidence.T.tocsr(), b_ub=-np.ones(incidence.shape[1]), method="highs-ds").fun
    start = greedy(incidence, costs, np.ones(incidence.shape[1]))
    prices = Prices(incidence, costs, NOTHING)
    first = prices.bound
    assert 0 < first <= exact * (1 + 1e-9)
    prices.climb(float(costs[start].sum()), time.monotonic() + 60)
    climbed = prices.bound
    assert first < climbed <= exact * (1 + 1e-9)
    assert climbed > 0.97 * exact
    generate_columns(prices, incidence, costs, start, time.monotonic() + 60, lambda work: work())
    assert prices.bound == pytest.approx(exact, rel=1e-6)
    # What using a column adds to the bound is true of the optimum that uses it.
    reduced, missing = prices.reduced_costs()
    assert missing == np.inf
    assert np.all(reduced > -1e-6 * costs)


def test_prices_stay_below_what_is_not_listed():
    incidence = csr_array(np.eye(4))
    prices = Prices(incidence, np.ones(4), (np.array([2.0]), np.array([4])))
    assert prices.bound == pytest.approx(2.0)
    assert prices.reduced_costs()[1] == pytest.approx(0.0)


def test_greedy_sets_and_their_improvement():
    incidence, costs = all_columns("fcc", (10,) * 3, 0.8)
    weights = np.ones(incidence.shape[1])
    first = greedy(incidence, costs, weights)
    assert np.all(incidence[first].sum(axis=0) >= 1)
    runs = [improved(first, incidence, costs, 3, time.monotonic() + 60, decide) for _ in range(2)]
    assert np.array_equal(*runs)
    assert np.all(incidence[runs[0]].sum(axis=0) >= 1)
    assert costs[runs[0]].sum() <= costs[first].sum()


def decide(part, costs):
    return cover_programme._run(part, costs, {"node_limit": 50})[0]


def test_cover_keeps_count():
    incidence = csr_array(np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 1]]))
    cover = Cover(incidence, np.array([1.0, 1.0, 1.0]), np.ones(3))
    cover.add(2)
    cover.complete()
    assert sorted(cover.chosen) == [0, 2]
    cover.add(1)
    cover.drop_needless()
    assert sorted(cover.chosen) in ([0, 1], [0, 2])
    cover.remove(0)
    with pytest.raises(InternalError, match="No candidate supercell"):
        Cover(incidence[1:], np.ones(2), np.ones(3)).complete()
