"""Which candidates to label: those that reduce the expected error of the targets most for what they cost.

Labelling a candidate with rows B and label variances V takes ``C Bᵀ (B C Bᵀ + V)⁻¹ B C`` from the covariance C of the
weights, whatever the label will be; ``|E R|²``, with R the root of C and E the error rows of the targets, is the
expected square of their error. Candidates are taken one after the other (greedily), and then exchanged for better ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

FloatArray = NDArray[np.float64]

#: Candidates whose gain is computed again for one pick, at the least and as a part of all.
FEWEST_CHECKED, PART_CHECKED = 300, 0.25
#: Candidates that one is exchanged with, and rounds of exchanges.
MOST_EXCHANGED, ROUNDS = 40, 2
#: A reduction of the error below this part of it is rounding.
NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Choice:
    """Candidates in the order in which to label them.

    Attributes
    ----------
    order : tuple of int
        Numbers of the candidates.
    remaining : (len(order) + 1, g) array
        Expected square of the error of each group of error rows, before the first and after each label.
    scores : dict of int to float
        The last known gain of candidates that were looked at.
    """

    order: tuple[int, ...]
    remaining: FloatArray
    scores: dict[int, float]


class Pool:
    """Candidates with what their labels would tell.

    Parameters
    ----------
    rows : callable
        Gives the (R, m) rows of a candidate by its number.
    variances : callable
        Gives the (R,) variances of its label.
    costs : (n,) array
        Positive, in any unit.
    """

    def __init__(
        self,
        rows: Callable[[int], FloatArray],
        variances: Callable[[int], FloatArray],
        costs: FloatArray,
    ) -> None:
        self.rows, self.variances, self.costs = rows, variances, costs

    def __len__(self) -> int:
        return len(self.costs)


def choose(
    pool: Pool,
    candidates: Sequence[int],
    covariance: FloatArray,
    error_rows: Sequence[FloatArray],
    *,
    n: int,
    budget: float = np.inf,
    enough: Callable[[FloatArray], bool] | None = None,
    scores: dict[int, float] | None = None,
    exchange: bool = False,
) -> Choice:
    """Choose candidates.

    Parameters
    ----------
    pool : Pool
    candidates : sequence of int
        Those that may be taken.
    covariance : (m, m) array
        Of the weights, given the labels that there are.
    error_rows : sequence of (t, m) arrays
        Of each target, over its goal.
    n : int
        Candidates to take at the most.
    budget : float
        The most that they may cost together.
    enough : callable, optional
        Told the expected squares of the errors of all targets, says whether no more labels are wanted.
    scores : dict of int to float, optional
        Gains from an earlier choice: a first idea of where to look.
    exchange : bool
        Whether to exchange the candidates taken for better ones of no higher cost.

    Returns
    -------
    Choice
        With fewer than `n` candidates where the others are too dear or tell nothing.
    """
    state = _State(covariance, error_rows)
    remaining = [state.errors()]
    order: list[int] = []
    known = dict(scores or {})
    spent = 0.0
    while len(order) < n and not (enough is not None and enough(remaining[-1])):
        affordable = [number for number in candidates if number not in order and spent + pool.costs[number] <= budget]
        best = _best(pool, affordable, state, known)
        if best is None:
            break
        order.append(best)
        spent += float(pool.costs[best])
        state.add(pool.rows(best), pool.variances(best))
        remaining.append(state.errors())
    if exchange and len(order) > 1:
        order = _exchanged(pool, candidates, covariance, error_rows, order, known)
        state = _State(covariance, error_rows)
        remaining = [state.errors()]
        for number in order:
            state.add(pool.rows(number), pool.variances(number))
            remaining.append(state.errors())
    return Choice(tuple(order), np.array(remaining), known)


class _State:
    """The covariance of the weights while candidates are taken."""

    def __init__(self, covariance: FloatArray, error_rows: Sequence[FloatArray]) -> None:
        self.covariance = covariance.copy()
        # Only the sums of squares count, which a triangle as wide as there are weights has too.
        self.groups = [rows if len(rows) <= rows.shape[1] else np.linalg.qr(rows)[1] for rows in error_rows]
        self.rows = np.concatenate(self.groups)
        self.product = self.covariance @ self.rows.T

    def errors(self) -> FloatArray:
        """(g,) array : expected square of the error of each group."""
        squares = np.einsum("tm,mt->t", self.rows, self.product)
        parts = np.split(squares, np.cumsum([len(group) for group in self.groups])[:-1])
        return np.array([max(float(part.sum()), 0.0) for part in parts])

    def gain(self, rows: FloatArray, variances: FloatArray) -> float:
        """By how much a label reduces the sum of all groups."""
        told = rows @ self.covariance @ rows.T
        told[np.diag_indices_from(told)] += variances
        root = np.linalg.cholesky(told)
        return float(np.sum(solve_triangular(root, rows @ self.product, lower=True, check_finite=False) ** 2))

    def add(self, rows: FloatArray, variances: FloatArray) -> None:
        """Take what a label tells from the covariance."""
        seen = self.covariance @ rows.T
        told = rows @ seen
        told[np.diag_indices_from(told)] += variances
        root = np.linalg.cholesky(told)
        half = solve_triangular(root, seen.T, lower=True, check_finite=False)
        self.covariance -= half.T @ half
        self.product -= half.T @ (half @ self.rows.T)


def _best(pool: Pool, candidates: Sequence[int], state: _State, known: dict[int, float]) -> int | None:
    """The candidate with the largest gain for its cost.

    Gains shrink as labels are taken, nearly always: those from before order the search, which ends when the best one
    found exceeds all that are left, or enough have been looked at (Minoux's lazy greedy algorithm).
    """
    if not candidates:
        return None
    total = float(state.errors().sum())
    checked = max(FEWEST_CHECKED, int(PART_CHECKED * len(candidates)))
    queue = [(-_worth(known[number], total, pool.costs[number]), number) for number in candidates if number in known]
    new = [number for number in candidates if number not in known]
    heapq.heapify(queue)
    best, best_worth = None, 0.0
    for number in new:
        known[number] = state.gain(pool.rows(number), pool.variances(number))
        worth = _worth(known[number], total, pool.costs[number])
        if known[number] > NOTHING * total and worth > best_worth:
            best, best_worth = number, worth
    for count in range(len(queue)):
        before, number = heapq.heappop(queue)
        if -before <= best_worth or (count >= checked and best is not None):
            break
        known[number] = state.gain(pool.rows(number), pool.variances(number))
        worth = _worth(known[number], total, pool.costs[number])
        if known[number] > NOTHING * total and worth > best_worth:
            best, best_worth = number, worth
    return best


def _worth(gain: float, total: float, cost: float) -> float:
    """The logarithm by which the error shrinks, for the cost: labels that halve the error are worth the same."""
    return float(-np.log1p(-min(gain / total, 1.0 - 1e-12)) / cost) if total > 0 else 0.0


def _exchanged(
    pool: Pool,
    candidates: Sequence[int],
    covariance: FloatArray,
    error_rows: Sequence[FloatArray],
    order: list[int],
    known: dict[int, float],
) -> list[int]:
    """The candidates taken, each exchanged for a better one of no higher cost as long as that helps."""
    order = list(order)
    precision = cho_solve(cho_factor(covariance), np.eye(len(covariance)))
    for _ in range(ROUNDS):
        changed = False
        for position, taken in enumerate(order):
            rest = [number for number in order if number != taken]
            state = _State(_covariance_with(precision, pool, rest), error_rows)
            others = [
                number
                for number in candidates
                if number not in rest and pool.costs[number] <= pool.costs[taken] * (1 + 1e-9)
            ]
            likely = sorted(others, key=lambda number: known.get(number, 0.0), reverse=True)[:MOST_EXCHANGED]
            gains = {number: state.gain(pool.rows(number), pool.variances(number)) for number in {*likely, taken}}
            best = max(gains, key=lambda number: (gains[number], -number))
            if gains[best] > gains[taken] * (1 + 1e-6):
                order[position] = best
                changed = True
        if not changed:
            break
    return order


def _covariance_with(precision: FloatArray, pool: Pool, numbers: Sequence[int]) -> FloatArray:
    total = precision.copy()
    for number in numbers:
        rows = pool.rows(number)
        total += (rows.T / pool.variances(number)) @ rows
    return np.asarray(cho_solve(cho_factor(total), np.eye(len(total))))
