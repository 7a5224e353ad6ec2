"""Which candidates to label: those that reduce the expected error of the targets most for what they cost.

Labelling a candidate with rows B and label variances V takes ``C Bᵀ (B C Bᵀ + V)⁻¹ B C`` from the covariance C of the
weights, whatever the label will be; ``|E R|²``, with R the root of C and E the error rows of the targets, is the
expected square of their error. Candidates are taken one after the other (greedily), and then exchanged for better ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndsc.selection.knowledge import Knowledge
from ndsc.selection.knowledge import Pool as Pool

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


def choose(
    pool: Pool,
    candidates: Sequence[int],
    root: FloatArray,
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
    root : (m, m) array
        R with ``R Rᵀ`` the covariance of the weights, given the labels that there are.
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
    return choose_from(
        Knowledge(pool, root, error_rows), candidates, n=n, budget=budget, enough=enough, gains=gains,
        exchange=exchange,
    )  # fmt: skip


def choose_from(
    start: Knowledge,
    candidates: Sequence[int],
    *,
    n: int,
    budget: float = np.inf,
    enough: Callable[[FloatArray], bool] | None = None,
    gains: Mapping[int, float] | None = None,
    exchange: bool = False,
    more: Callable[[Mapping[int, float]], Sequence[int]] | None = None,
) -> Choice:
    """As :func:`choose`, from what is known at the start, and with candidates that are only then looked for.

    Parameters
    ----------
    start : Knowledge
        With nothing taken.
    candidates, n, budget, enough, gains, exchange
        See :func:`choose`.
    more : callable, optional
        Told, before each pick, the worth of those that were looked at over that of the best one, gives others that may
        be taken.
    """
    search = _Search(start, candidates, gains or {}, more)
    order, remaining = search.greedy(n, budget, enough)
    if exchange and len(order) > 1:
        better = _exchanged(search.state, search.candidates, search.known)
        if set(better) != set(order):
            other, left = _Search(start, better, {}).greedy(len(better))
            # The sum of all targets is smaller, one of them may be larger.
            if enough is None or enough(left[-1]) or not enough(remaining[-1]):
                order, remaining = other, left
    return Choice(tuple(order), np.array(remaining), search.gains, search.scores)


class _Search:
    """Finds the best candidate, one after the other, without looking at all each time.

    Attributes
    ----------
    candidates : list of int
        All that may be taken, with those that were added.
    known : dict of int to float
        The last known gain of each candidate.
    gains, scores : dict of int to float
        See :class:`Choice`.
    """

    def __init__(
        self,
        start: Knowledge,
        candidates: Sequence[int],
        before: Mapping[int, float],
        more: Callable[[Mapping[int, float]], Sequence[int]] | None = None,
    ) -> None:
        self.pool, self.state = start.pool, start.afresh()
        self.candidates = list(candidates)
        self.before, self.more = before, more
        self.known: dict[int, float] = {}
        self.gains: dict[int, float] = {}
        self.scores: dict[int, float] = {}
        self._left = list(candidates)

    def greedy(
        self, n: int, budget: float = np.inf, enough: Callable[[FloatArray], bool] | None = None
    ) -> tuple[list[int], list[FloatArray]]:
        """The candidates taken, and what remains before and after each."""
        costs = self.pool.costs
        remaining = [self.state.errors()]
        left = budget * (1 + 1e-9)
        while len(self.state.taken) < n and not (enough is not None and enough(remaining[-1])):
            best = self._best(left)
            if best is None:
                break
            self.state.take(best)
            remaining.append(self.state.errors())
            left -= float(costs[best])
            # A copy of it has the same label, which then is known.
            self._left = [number for number in self._left if not self.state.is_copy(number, best)]
        return self.state.taken, remaining

    def _best(self, budget: float) -> int | None:
        """The candidate with the largest gain for its cost, of those that are not dearer than the budget."""
        total = float(self.state.errors().sum())
        if not total > NEGLIGIBLE:
            return None
        worth: dict[int, float] = {}  # of those that were looked at for this pick
        while True:
            self._left = [number for number in self._left if self.pool.costs[number] <= budget]
            best = self._search(worth, total)
            if not self.state.taken:
                self.gains = {number: self.known[number] for number in worth}
            if best is None or self.known[best] <= NOTHING * total:
                return None
            ratios = {number: value / worth[best] for number, value in worth.items()}
            self.scores |= {number: max(self.scores.get(number, 0.0), ratio) for number, ratio in ratios.items()}
            added = [] if self.more is None else list(self.more(ratios))
            if not added:
                return best
            self._left += added
            self.candidates += added

    def _search(self, worth: dict[int, float], total: float) -> int | None:
        """Look at candidates until none that is left can be better than the best.

        Gains shrink as labels are taken, nearly always: those from before order the search, which ends when the best
        one found exceeds all that are left, or enough have been looked at (Minoux's lazy greedy algorithm).
        """

        def look(number: int) -> None:
            self.known[number] = self.state.gain(number)
            worth[number] = self._worth(number, total)

        self._renew(look)
        best = max(worth, key=lambda number: (worth[number], -number), default=None)
        checked = max(FEWEST_CHECKED, int(PART_CHECKED * len(self._left)))
        # Many gains from before may exceed all that is left: these are looked at in their order.
        queue = [
            (-self._worth(number, total), -self.known[number] / self.pool.costs[number], number)
            for number in self._left
            if number not in worth
        ]
        heapq.heapify(queue)
        while queue and (best is None or (-queue[0][0] > worth[best] and len(worth) < checked)):
            number = heapq.heappop(queue)[2]
            look(number)
            if best is None or worth[number] > worth[best]:
                best = number
        return best

    def _renew(self, look: Callable[[int], None]) -> None:
        """Look at those candidates of which nothing is known.

        Gains of an earlier choice were for other labels and another noise: the largest ones are computed again, and how
        much one of them has changed at the most bounds the others, with some slack.
        """
        new = [number for number in self._left if number not in self.known]
        old = [number for number in new if self.before.get(number, 0.0) > 0]
        old.sort(key=lambda number: self.before[number] / self.pool.costs[number], reverse=True)
        for number in set(new) - set(old[FEWEST_RENEWED:]):
            look(number)
        change = SLACK * max((self.known[number] / self.before[number] for number in old[:FEWEST_RENEWED]), default=1.0)
        self.known |= {number: change * self.before[number] for number in old[FEWEST_RENEWED:]}

    def _worth(self, number: int, total: float) -> float:
        """The logarithm by which the error shrinks, for the cost: labels that halve the error are worth the same."""
        return float(-np.log1p(-min(self.known[number] / total, 1.0 - 1e-12)) / self.pool.costs[number])


def _exchanged(state: Knowledge, candidates: Sequence[int], known: Mapping[int, float]) -> list[int]:
    """The candidates taken, each exchanged for a better one of no higher cost as long as that helps."""
    costs = state.pool.costs
    order = list(state.taken)
    for _ in range(ROUNDS):
        changed = False
        for place, taken in enumerate(order):
            position = state.taken.index(taken)
            gain = state.without(position)
            rest = order[:place] + order[place + 1 :]
            dearest = costs[taken] * (1 + 1e-9)
            others = [number for number in candidates if number not in rest and costs[number] <= dearest]
            likely = sorted(others, key=lambda number: known.get(number, 0.0), reverse=True)[:MOST_EXCHANGED]
            gains = {number: gain(number) for number in {*likely, taken}}
            best = max(gains, key=lambda number: (gains[number], -number))
            if gains[best] > gains[taken] * (1 + 1e-6):
                state.exchange(position, best)
                order[place] = best
                changed = True
        if not changed:
            break
    return order
