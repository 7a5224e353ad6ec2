"""The choice of candidates: against brute force, closed forms and drawn labels."""

from itertools import combinations

import numpy as np
import pytest
from numpy.linalg import cholesky

import ndsc.selection.choice
from ndsc.selection.choice import Pool, choose


def system(seed=0, n=14, m=6, rows=3, targets=(4, 5)):
    """Random rows of candidates, a covariance, and error rows of two targets."""
    random = np.random.default_rng(seed)
    candidates = [random.normal(size=(rows, m)) * random.uniform(0.2, 2) for _ in range(n)]
    variances = [random.uniform(0.01, 0.1, rows) for _ in range(n)]
    half = random.normal(size=(m, m))
    errors = [random.normal(size=(t, m)) for t in targets]
    return candidates, variances, half @ half.T, errors


def pool_of(candidates, variances, costs=None):
    costs = np.ones(len(candidates)) if costs is None else np.asarray(costs, dtype=float)
    return Pool(candidates.__getitem__, lambda number, _: variances[number], costs)


def covariance_after(covariance, candidates, variances, chosen):
    """By the precision, not by what is taken from the covariance."""
    precision = np.linalg.inv(covariance)
    for number in chosen:
        precision += candidates[number].T @ np.diag(1 / variances[number]) @ candidates[number]
    return np.linalg.inv(precision)


def errors_after(covariance, candidates, variances, errors, chosen):
    after = covariance_after(covariance, candidates, variances, chosen)
    return np.array([np.trace(rows @ after @ rows.T) for rows in errors])


def slow_greedy(candidates, variances, covariance, errors, costs, n):
    """Every candidate looked at each time."""
    order = []
    for _ in range(n):
        total = errors_after(covariance, candidates, variances, errors, order).sum()
        left = [number for number in range(len(candidates)) if number not in order]
        worth = {
            k: np.log(total / errors_after(covariance, candidates, variances, errors, [*order, k]).sum()) / costs[k]
            for k in left
        }
        order.append(max(left, key=worth.__getitem__))
    return order


@pytest.mark.parametrize("seed", range(8))
def test_each_pick_is_the_best_of_all(seed):
    candidates, variances, covariance, errors = system(seed)
    costs = np.random.default_rng(seed).uniform(1, 4, len(candidates))
    found = choose(pool_of(candidates, variances, costs), range(14), cholesky(covariance), errors, n=6)
    assert list(found.order) == slow_greedy(candidates, variances, covariance, errors, costs, 6)
    for count in range(7):
        expected = errors_after(covariance, candidates, variances, errors, found.order[:count])
        assert found.remaining[count] == pytest.approx(expected, rel=1e-9)
    assert found.gains == pytest.approx(
        {
            k: errors_after(covariance, candidates, variances, errors, []).sum()
            - errors_after(covariance, candidates, variances, errors, [k]).sum()
            for k in range(14)
        }
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_lazy_search_looks_at_few_and_finds_what_a_full_one_finds(seed):
    candidates, variances, covariance, errors = system(seed, n=600, m=30, rows=1, targets=(20, 30))
    looked = []
    pool = Pool(candidates.__getitem__, lambda k, _: looked.append(k) or variances[k], np.ones(600))
    found = choose(pool, range(600), cholesky(covariance), errors, n=8)
    slow = slow_greedy(candidates, variances, covariance, errors, np.ones(600), 8)
    # Gains can grow a little while others are taken: then the order differs, and the error hardly.
    best = errors_after(covariance, candidates, variances, errors, slow).sum()
    assert found.remaining[-1].sum() == pytest.approx(best, rel=0.02)
    assert len(looked) < 3 * 600


def test_what_an_earlier_choice_found_hardly_changes_the_next_one():
    """Labels were added, and the scale of the prior has changed: gains from before only say where to look first."""
    candidates, variances, covariance, errors = system(1, n=400, m=30, rows=1, targets=(20, 30))
    pool = pool_of(candidates, variances)
    before = choose(pool, range(400), cholesky(covariance), errors, n=5)
    later = covariance_after(covariance, candidates, variances, before.order)
    for scale in (0.01, 1.0, 100.0):
        fresh = choose(pool, range(400), cholesky(scale * later), errors, n=5)
        found = choose(pool, range(400), cholesky(scale * later), errors, n=5, gains=before.gains)
        assert found.remaining[-1].sum() == pytest.approx(fresh.remaining[-1].sum(), rel=0.02)


def test_gains_are_what_labels_reduce_on_average():
    """Labels are drawn from the prior; the mean square error of what a fit to them predicts is what was promised."""
    candidates, variances, covariance, errors = system(2)
    found = choose(pool_of(candidates, variances), range(14), cholesky(covariance), errors, n=3)
    rows = np.vstack([candidates[k] for k in found.order])
    noise = np.concatenate([variances[k] for k in found.order])
    random = np.random.default_rng(0)
    truth = random.multivariate_normal(np.zeros(6), covariance, size=40000)
    labels = truth @ rows.T + np.sqrt(noise) * random.normal(size=(40000, len(noise)))
    fit = covariance @ rows.T @ np.linalg.inv(rows @ covariance @ rows.T + np.diag(noise))
    for group, one in enumerate(errors):
        square = np.mean(np.sum(((truth - labels @ fit.T) @ one.T) ** 2, axis=1))
        assert found.remaining[-1, group] == pytest.approx(square, rel=0.03)


@pytest.mark.parametrize("seed", range(8))
def test_exchange_never_makes_the_error_larger_and_comes_near_the_best_set(seed):
    candidates, variances, covariance, errors = system(seed, n=10, rows=1)
    pool = pool_of(candidates, variances)
    greedy = choose(pool, range(10), cholesky(covariance), errors, n=3)
    better = choose(pool, range(10), cholesky(covariance), errors, n=3, exchange=True)
    best = min(
        errors_after(covariance, candidates, variances, errors, list(chosen)).sum()
        for chosen in combinations(range(10), 3)
    )
    assert best * (1 - 1e-9) <= better.remaining[-1].sum() <= greedy.remaining[-1].sum() * (1 + 1e-9)
    assert better.remaining[-1].sum() <= 1.15 * best
    expected = errors_after(covariance, candidates, variances, errors, better.order)
    assert better.remaining[-1] == pytest.approx(expected)


def test_exchange_helps_somewhere():
    improved = 0
    for seed in range(20):
        candidates, variances, covariance, errors = system(seed, n=10, rows=1)
        pool = pool_of(candidates, variances)
        sums = [
            choose(pool, range(10), cholesky(covariance), errors, n=3, exchange=exchange).remaining[-1].sum()
            for exchange in (False, True)
        ]
        improved += sums[1] < sums[0] * (1 - 1e-6)
    assert improved > 0


def test_exchange_does_not_cost_more():
    candidates, variances, covariance, errors = system(3)
    costs = np.random.default_rng(0).uniform(1, 5, 14)
    pool = pool_of(candidates, variances, costs)
    spent = [
        costs[list(choose(pool, range(14), cholesky(covariance), errors, n=5, exchange=exchange).order)].sum()
        for exchange in (False, True)
    ]
    assert spent[1] <= spent[0] * (1 + 1e-9)


def test_the_order_of_candidates_does_not_matter():
    candidates, variances, covariance, errors = system(4, n=30)
    found = choose(pool_of(candidates, variances), range(30), cholesky(covariance), errors, n=6, exchange=True)
    shuffled = np.random.default_rng(0).permutation(30)
    other = choose(
        pool_of([candidates[k] for k in shuffled], [variances[k] for k in shuffled]),
        range(30), cholesky(covariance), errors, n=6, exchange=True,
    )  # fmt: skip
    assert [shuffled[k] for k in other.order] == list(found.order)


def test_more_error_rows_than_weights_count_by_their_squares():
    candidates, variances, covariance, errors = system(5, targets=(4, 40))
    found = choose(pool_of(candidates, variances), range(14), cholesky(covariance), errors, n=4)
    assert found.remaining[-1] == pytest.approx(
        errors_after(covariance, candidates, variances, errors, found.order), rel=1e-9
    )


def test_a_budget_is_kept_and_what_is_too_dear_left_out():
    candidates, variances, covariance, errors = system(6)
    costs = np.random.default_rng(1).uniform(1, 5, 14)
    pool = pool_of(candidates, variances, costs)
    found = choose(pool, range(14), cholesky(covariance), errors, n=14, budget=7.0)
    spent = costs[list(found.order)].sum()
    assert spent <= 7.0 < spent + min(costs[k] for k in range(14) if k not in found.order)
    assert choose(pool, range(14), cholesky(covariance), errors, n=14, budget=0.5).order == ()


def test_it_stops_when_told_that_it_is_enough():
    candidates, variances, covariance, errors = system(7)
    pool = pool_of(candidates, variances)
    all_of_them = choose(pool, range(14), cholesky(covariance), errors, n=10)
    limit = all_of_them.remaining[4].sum()
    found = choose(pool, range(14), cholesky(covariance), errors, n=10, enough=lambda left: left.sum() <= limit)
    assert found.order == all_of_them.order[:4]
    assert choose(pool, range(14), cholesky(covariance), errors, n=10, enough=lambda left: True).order == ()


def test_candidates_that_tell_nothing_are_not_taken():
    candidates, variances, covariance, errors = system(8)
    pool = pool_of(candidates, variances)
    assert choose(pool, range(14), covariance, [np.zeros((3, 6))], n=4).order == ()
    assert choose(pool, range(14), covariance, [np.zeros((0, 6))], n=4).order == ()
    silent = [np.zeros((3, 6)), *candidates[1:3]]
    found = choose(pool_of(silent, variances), range(3), cholesky(covariance), errors, n=3)
    assert set(found.order) == {1, 2}
    # A direction that the labels do not see: the target lies in it.
    seen = [rows @ np.diag([1, 1, 1, 0, 0, 0]) for rows in candidates]
    blind = choose(pool_of(seen, variances), range(14), np.eye(6), [np.eye(6)[3:]], n=4, exchange=True)
    assert blind.order == ()
    assert blind.remaining == pytest.approx(np.array([[3.0]]))


def test_labels_that_are_nearly_exact_do_not_break_the_choice():
    candidates, _, covariance, errors = system(9, n=20, rows=8)
    tiny = [np.full(8, 1e-22)] * 20
    found = choose(pool_of(candidates, tiny), range(20), cholesky(covariance), errors, n=5, exchange=True)
    assert np.all(np.isfinite(found.remaining))
    assert found.remaining[-1].sum() < 1e-6 * found.remaining[0].sum()


def test_identical_candidates_share_what_they_tell():
    candidates, variances, covariance, errors = system(10)
    found = choose(
        pool_of([candidates[0]] * 5, [variances[0]] * 5),
        range(5),
        cholesky(covariance),
        errors,
        n=5,
        exchange=True,
    )
    assert found.order[0] == 0
    precise = errors_after(covariance, candidates, [v / len(found.order) for v in variances], errors, [0])
    assert found.remaining[-1] == pytest.approx(precise, rel=1e-8)


def test_scores_tell_how_near_candidates_came(monkeypatch):
    monkeypatch.setattr(ndsc.selection.choice, "FEWEST_RENEWED", 2)
    candidates, variances, covariance, errors = system(11)
    found = choose(pool_of(candidates, variances), range(14), cholesky(covariance), errors, n=4)
    assert all(found.scores[k] == 1.0 for k in found.order)
    assert set(found.scores) == set(range(14))
    assert all(0 <= score <= 1 for score in found.scores.values())
