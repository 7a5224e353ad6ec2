"""What is known of candidates while some are taken, against the formula; candidates added while one is picked."""

import numpy as np
import pytest
from ase.build import bulk

from ndsc import PhononTarget, find_supercells, make_candidates, select_configurations
from ndsc.errors import InputError
from ndsc.selection.choice import choose, choose_from
from ndsc.selection.knowledge import Knowledge, Pool


def system(seed=0, n=10, m=8, rows=4):
    random = np.random.default_rng(seed)
    candidates = [random.normal(size=(rows, m)) for _ in range(n)]
    variances = [random.uniform(0.01, 0.1, rows) for _ in range(n)]
    half = random.normal(size=(m, m))
    errors = [random.normal(size=(t, m)) for t in (3, 20)]
    pool = Pool(candidates.__getitem__, lambda number, _: variances[number], np.ones(n))
    return pool, half @ half.T, errors


def errors_with(pool, covariance, errors, taken):
    precision = np.linalg.inv(covariance)
    for number in taken:
        rows = pool.rows(number)
        precision += rows.T @ np.diag(1 / pool.variances(number, np.empty(0))) @ rows
    after = np.linalg.inv(precision)
    return np.array([np.trace(rows @ after @ rows.T) for rows in errors])


def upper(covariance):
    """An upper triangle R with R Rᵀ the covariance, which is the form that posteriors have."""
    return np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1]


@pytest.mark.parametrize("root", [np.linalg.cholesky, upper, None])
@pytest.mark.parametrize("seed", range(3))
def test_gains_and_errors_are_those_of_the_formula(seed, root):
    pool, covariance, errors = system(seed)
    covariance = 0.3 * np.eye(8) if root is None else covariance
    known = Knowledge(pool, (root or np.linalg.cholesky)(covariance), errors)
    for taken in ([], [3], [3, 7], [3, 7, 0], [3, 7, 0, 5]):
        if taken:
            known.take(taken[-1])
        assert known.errors() == pytest.approx(errors_with(pool, covariance, errors, taken), rel=1e-9)
        for number in (1, 2, 9):  # some were looked at before, some not
            if number == 9 and len(taken) < 3:
                continue
            expected = known.errors().sum() - errors_with(pool, covariance, errors, [*taken, number]).sum()
            assert known.gain(number) == pytest.approx(expected, rel=1e-8)
    assert known.afresh().errors() == pytest.approx(errors_with(pool, covariance, errors, []))
    assert known.taken == [3, 7, 0, 5]


@pytest.mark.parametrize("position", range(4))
def test_gains_without_one_that_was_taken(position):
    pool, covariance, errors = system(4)
    taken = [2, 6, 1, 8]
    known = Knowledge(pool, np.linalg.cholesky(covariance), errors)
    for number in taken:
        known.take(number)
    gain = known.without(position)
    rest = [number for place, number in enumerate(taken) if place != position]
    before = errors_with(pool, covariance, errors, rest).sum()
    for number in (0, 3, taken[position]):
        expected = before - errors_with(pool, covariance, errors, [*rest, number]).sum()
        assert gain(number) == pytest.approx(expected, rel=1e-8)


def test_one_that_was_taken_is_exchanged_for_another():
    pool, covariance, errors = system(7)
    known = Knowledge(pool, np.linalg.cholesky(covariance), errors)
    for number in (2, 6, 1, 8):
        known.gain(9)  # is kept, and changed with what is taken
        known.take(number)
    order = [2, 6, 1, 8]
    for position, number in ((0, 4), (2, 0), (3, 2), (1, 7)):  # the last one, and one that was taken before
        known.gain(5)
        known.exchange(position, number)
        order = [*order[:position], *order[position + 1 :], number]
        assert known.taken == order
        assert known.errors() == pytest.approx(errors_with(pool, covariance, errors, order), rel=1e-9)
        for other in (3, 5, 9):
            expected = known.errors().sum() - errors_with(pool, covariance, errors, [*order, other]).sum()
            assert known.gain(other) == pytest.approx(expected, rel=1e-8)
    before = errors_with(pool, covariance, errors, order[1:]).sum()
    assert known.without(0)(9) == pytest.approx(
        before - errors_with(pool, covariance, errors, [*order[1:], 9]).sum(), rel=1e-8
    )


def test_a_copy_of_one_that_was_taken_is_not_taken():
    pool, covariance, errors = system(5)
    rows = [pool.rows(number // 2) for number in range(10)]
    doubled = Pool(rows.__getitem__, lambda number, known: pool.variances(number // 2, known), np.ones(10))
    found = choose(doubled, range(10), np.linalg.cholesky(covariance), errors, n=10)
    assert sorted(number // 2 for number in found.order) == [0, 1, 2, 3, 4]
    once = choose(pool, range(5), np.linalg.cholesky(covariance), errors, n=5)
    assert [number // 2 for number in found.order] == list(once.order)


def test_candidates_that_are_added_while_one_is_picked_may_be_taken_at_once():
    pool, covariance, errors = system(6)
    everything = choose(pool, range(10), np.linalg.cholesky(covariance), errors, n=4)
    later = [number for number in range(10) if number in everything.order]
    asked = []

    def more(ratios):
        asked.append(dict(ratios))
        return later if len(asked) == 1 else []

    first = [number for number in range(10) if number not in later]
    found = choose_from(Knowledge(pool, np.linalg.cholesky(covariance), errors), first, n=4, more=more)
    assert found.order == everything.order
    assert set(asked[0]) == set(first)
    assert max(asked[0].values()) == 1.0
    assert set(asked[1]) == set(range(10))


def test_what_is_no_target_and_no_set_of_supercells_is_refused():
    supercells = find_supercells(bulk("Al"), 2)
    with pytest.raises(InputError, match="not a target"):
        select_configurations([bulk("Al")], "gap.xml", "phonons", n=1)
    with pytest.raises(InputError, match="find_supercells"):
        make_candidates(bulk("Al"))
    for n in (0, -3, 2.5, True):
        with pytest.raises(InputError, match="at least 1"):
            make_candidates(supercells, n)
    assert PhononTarget(bulk("Al"), supercells).frames()
