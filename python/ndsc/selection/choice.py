"""Which candidates to label: those that reduce the expected error of the targets most for what they cost.

Labelling a candidate with rows B and label variances V takes ``C Bᵀ (B C Bᵀ + V)⁻¹ B C`` from the covariance C of the
weights, whatever the label will be; ``|E R|²``, with R the root of C and E the error rows of the targets, is the
expected square of their error. Candidates are taken one after the other (greedily), and then exchanged for better ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

FloatArray = NDArray[np.float64]

#: Candidates whose gain is computed again for one pick, at the least and as a part of all.
FEWEST_CHECKED, PART_CHECKED = 300, 0.25
#: Candidates whose gain is computed again before those of an earlier choice are relied on, and with which slack.
FEWEST_RENEWED, SLACK = 60, 2.0
#: Candidates that one is exchanged with, and rounds of exchanges.
MOST_EXCHANGED, ROUNDS = 40, 2
#: A reduction of the error below this part of it is rounding.
NOTHING = 1e-9
#: Square of the error in units of the goals that no label is worth, as of targets that symmetry makes zero.
NEGLIGIBLE = 1e-12
#: What rounding makes of a covariance, relative to its diagonal, and how many times more at the worst.
ROUNDING, LARGE_ROUNDING = 1e-14, 1e4


@dataclass(frozen=True, eq=False)
class Choice:
    """Candidates in the order in which to label them.

    Attributes
    ----------
    order : tuple of int
        Numbers of the candidates.
    remaining : (len(order) + 1, g) array
        Expected square of the error of each group of error rows, before the first and after each label.
    gains : dict of int to float
        By how much the label of a candidate alone reduces the sum of these squares, as far as that was looked at.
    scores : dict of int to float
        How near candidates came to being taken: the largest ratio of their worth to that of the one taken instead.
    """

    order: tuple[int, ...]
    remaining: FloatArray
    gains: dict[int, float]
    scores: dict[int, float]


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates with what their labels would tell.

    Attributes
    ----------
    rows : callable
        Gives the (R, m) rows of a candidate by its number.
    variances : callable
        Gives the (R,) variances of its label.
    costs : (n,) array
        Positive, in any unit.
    """

    rows: Callable[[int], FloatArray]
    variances: Callable[[int], FloatArray]
    costs: FloatArray


def choose(
    pool: Pool,
    candidates: Sequence[int],
    covariance: FloatArray,
    error_rows: Sequence[FloatArray],
    *,
    n: int,
    budget: float = np.inf,
    enough: Callable[[FloatArray], bool] | None = None,
    gains: Mapping[int, float] | None = None,
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
    gains : mapping of int to float, optional
        Those of an earlier choice: where to look first.
    exchange : bool
        Whether to exchange the candidates taken for better ones of no higher cost.

    Returns
    -------
    Choice
        With fewer than `n` candidates where the others are too dear or tell nothing.
    """
    start = _State(covariance, [_reduced(rows) for rows in error_rows])
    search = _Search(pool, start, gains or {})
    order, remaining = search.greedy(candidates, n, budget, enough)
    if exchange and len(order) > 1:
        better = _exchanged(pool, candidates, start, order, search.known)
        if set(better) != set(order):
            other, left = _Search(pool, start, {}).greedy(better, len(better), np.inf, None)
            # The sum of all targets is smaller, one of them may be larger.
            if enough is None or enough(left[-1]) or not enough(remaining[-1]):
                order, remaining = other, left
    return Choice(tuple(order), np.array(remaining), search.gains, search.scores)


def _reduced(rows: FloatArray) -> FloatArray:
    """Rows with the same sums of squares, no more than there are weights."""
    return rows if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(rows)[1])


class _State:
    """The covariance of the weights while candidates are taken."""

    def __init__(self, covariance: FloatArray, groups: Sequence[FloatArray]) -> None:
        self.covariance, self.groups = covariance.copy(), groups
        self.rows = np.concatenate(groups)
        self.product = self.covariance @ self.rows.T
        self.largest = float(np.max(np.diag(covariance)))

    def _rounding(self, rows: FloatArray) -> float:
        """Variance that rounding makes of what was known before any candidate was taken."""
        return ROUNDING * self.largest * float(np.max(np.einsum("rm,rm->r", rows, rows)))

    def copy(self) -> _State:
        """The same, to take other candidates from."""
        other = copy(self)
        other.covariance, other.product = self.covariance.copy(), self.product.copy()
        return other

    def errors(self) -> FloatArray:
        """(g,) array : expected square of the error of each group."""
        squares = np.einsum("tm,mt->t", self.rows, self.product)
        parts = np.split(squares, np.cumsum([len(group) for group in self.groups])[:-1])
        return np.array([max(float(part.sum()), 0.0) for part in parts])

    def gain(self, rows: FloatArray, variances: FloatArray) -> float:
        """By how much a label reduces the sum of all groups."""
        root = _root(rows @ self.covariance @ rows.T, variances, self._rounding(rows))
        return float(np.sum(solve_triangular(root, rows @ self.product, lower=True, check_finite=False) ** 2))

    def add(self, rows: FloatArray, variances: FloatArray) -> None:
        """Take what a label tells from the covariance."""
        seen = self.covariance @ rows.T
        half = solve_triangular(
            _root(rows @ seen, variances, self._rounding(rows)), seen.T, lower=True, check_finite=False
        )
        self.covariance -= half.T @ half
        self.product -= half.T @ (half @ self.rows.T)


def _root(told: FloatArray, variances: FloatArray, rounding: float) -> FloatArray:
    """Lower triangle L with ``L Lᵀ`` the covariance of a label: of what is told, of its noise and of rounding."""
    diagonal = np.diag_indices_from(told)
    told[diagonal] += variances + rounding
    try:
        return np.asarray(np.linalg.cholesky(told))
    except np.linalg.LinAlgError:
        told[diagonal] += LARGE_ROUNDING * rounding
        return np.asarray(np.linalg.cholesky(told))


class _Search:
    """Finds the best candidate, one after the other, without looking at all each time.

    Attributes
    ----------
    known : dict of int to float
        The last known gain of each candidate.
    gains, scores : dict of int to float
        See :class:`Choice`.
    """

    def __init__(self, pool: Pool, start: _State, before: Mapping[int, float]) -> None:
        self.pool, self.state = pool, start.copy()
        self.before = before
        self.known: dict[int, float] = {}
        self.gains: dict[int, float] = {}
        self.scores: dict[int, float] = {}

    def greedy(
        self, candidates: Sequence[int], n: int, budget: float, enough: Callable[[FloatArray], bool] | None
    ) -> tuple[list[int], list[FloatArray]]:
        """The candidates taken, and what remains before and after each."""
        pool, left = self.pool, list(candidates)
        order: list[int] = []
        remaining = [self.state.errors()]
        spent = 0.0
        while len(order) < n and not (enough is not None and enough(remaining[-1])):
            left = [number for number in left if spent + pool.costs[number] <= budget * (1 + 1e-9)]
            best = self._best(left)
            if not order:
                self.gains = dict(self.known)
            if best is None:
                break
            order.append(best)
            left.remove(best)
            spent += float(pool.costs[best])
            self.state.add(pool.rows(best), pool.variances(best))
            remaining.append(self.state.errors())
        return order, remaining

    def _best(self, candidates: Sequence[int]) -> int | None:
        """The candidate with the largest gain for its cost.

        Gains shrink as labels are taken, nearly always: those from before order the search, which ends when the best
        one found exceeds all that are left, or enough have been looked at (Minoux's lazy greedy algorithm).
        """
        total = float(self.state.errors().sum())
        if not total > NEGLIGIBLE:
            return None
        fresh = self._renewed(candidates)
        worth = {number: self._worth(number, total) for number in candidates}
        best = max(fresh, key=lambda number: (worth[number], -number), default=None)
        checked = max(FEWEST_CHECKED, int(PART_CHECKED * len(candidates)))
        # Many gains from before may exceed all that is left: these are looked at in their order.
        queue = [
            (-worth[number], -self.known[number] / self.pool.costs[number], number)
            for number in candidates
            if number not in fresh
        ]
        heapq.heapify(queue)
        for count in range(len(queue)):
            before, _, number = heapq.heappop(queue)
            if best is not None and (-before <= worth[best] or count >= checked):
                break
            self._look(number)
            worth[number] = self._worth(number, total)
            if best is None or worth[number] > worth[best]:
                best = number
        if best is None or self.known[best] <= NOTHING * total:
            return None
        for number, value in worth.items():
            self.scores[number] = max(self.scores.get(number, 0.0), min(1.0, value / worth[best]))
        return best

    def _renewed(self, candidates: Sequence[int]) -> set[int]:
        """Look at those candidates of which nothing is known; they are returned.

        Gains of an earlier choice were for other labels and another noise: the largest ones are computed again, and how
        much one of them has changed at the most bounds the others, with some slack.
        """
        new = [number for number in candidates if number not in self.known]
        old = [number for number in new if self.before.get(number, 0.0) > 0]
        old.sort(key=lambda number: self.before[number] / self.pool.costs[number], reverse=True)
        fresh = set(new) - set(old[FEWEST_RENEWED:])
        for number in fresh:
            self._look(number)
        change = SLACK * max((self.known[number] / self.before[number] for number in old[:FEWEST_RENEWED]), default=1.0)
        self.known |= {number: change * self.before[number] for number in old[FEWEST_RENEWED:]}
        return fresh

    def _look(self, number: int) -> None:
        self.known[number] = self.state.gain(self.pool.rows(number), self.pool.variances(number))

    def _worth(self, number: int, total: float) -> float:
        """The logarithm by which the error shrinks, for the cost: labels that halve the error are worth the same."""
        return float(-np.log1p(-min(self.known[number] / total, 1.0 - 1e-12)) / self.pool.costs[number])


def _exchanged(
    pool: Pool, candidates: Sequence[int], start: _State, order: Sequence[int], known: Mapping[int, float]
) -> list[int]:
    """The candidates taken, each exchanged for a better one of no higher cost as long as that helps."""
    order = list(order)
    for _ in range(ROUNDS):
        changed = False
        for position, taken in enumerate(order):
            rest = order[:position] + order[position + 1 :]
            state = start.copy()
            for number in rest:
                state.add(pool.rows(number), pool.variances(number))
            dearest = pool.costs[taken] * (1 + 1e-9)
            others = [number for number in candidates if number not in rest and pool.costs[number] <= dearest]
            likely = sorted(others, key=lambda number: known.get(number, 0.0), reverse=True)[:MOST_EXCHANGED]
            gains = {number: state.gain(pool.rows(number), pool.variances(number)) for number in {*likely, taken}}
            best = max(gains, key=lambda number: (gains[number], -number))
            if gains[best] > gains[taken] * (1 + 1e-6):
                order[position] = best
                changed = True
        if not changed:
            break
    return order
