"""The integer programme for the cheapest set of supercells when the cost exponent is below log2(3).

Rows are the orbits of maximal cyclic subgroups of q-points, each of which must be held; columns are orbits of all
subgroups, each with the cost size^p. No compiled code here: arrays in, the chosen columns and a proven bound out.

Prices of the rows give a bound for any set (:mod:`ndsc.cover_bound`). A column that costs more than its rows are worth,
by more than the difference between the best set and that bound, is in no better set; HiGHS decides among the rest,
those first that are worth most.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ndsc.cover_bound import Prices, generate_columns
from ndsc.cover_heuristics import greedy, improved
from ndsc.errors import InternalError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Relative difference of cost and bound below which rounding alone tells them apart.
OPTIMAL = 1e-7
# Columns for each row that HiGHS is given at first, and by how much more each time after that.
FIRST_COLUMNS, MORE_COLUMNS = 10, 4
# How often a part of the set is chosen again, and the nodes of HiGHS's tree each time.
ROUNDS, NODES = 60, 200
# Shares of the time until which prices are improved by steps and by column generation, HiGHS tries a first time, and
# sets are improved by choosing again.
CLIMBED, PRICED, TRIED, IMPROVED = 0.15, 0.35, 0.5, 0.65


@dataclass(frozen=True, eq=False)
class Programme:
    """Rows, columns, and which column holds which row.

    Attributes
    ----------
    row_sizes : (n_rows,) int64 array
        Order of the q-points of each row.
    column_sizes : (n_columns,) int64 array
        Unit cells of each column.
    starts : (n_columns + 1,) int64 array
    held : (n_pairs,) int array
        Column i holds the rows ``held[starts[i]:starts[i + 1]]``, ascending.
    beyond : two (n,) int64 arrays or None
        Sizes of the subgroups that are no columns, and how many rows one of each size holds at the most. None when
        nothing is known of them.
    """

    row_sizes: IntArray
    column_sizes: IntArray
    starts: IntArray
    held: NDArray[np.int32]
    beyond: tuple[IntArray, IntArray] | None


def solve(programme: Programme, exponent: float, time_limit: float) -> tuple[IntArray, float]:
    """The cheapest columns that hold every row, and a proven lower bound of the cost of any set.

    Parameters
    ----------
    programme : Programme
    exponent : float
        The p of the cost, the sum of size^p.
    time_limit : float, s
        The search for something cheaper stops then; the bound tells how good the answer is.
    """
    begin = time.monotonic()
    shape = (len(programme.column_sizes), len(programme.row_sizes))
    incidence = csr_array((np.ones(len(programme.held)), programme.held, programme.starts), shape=shape)
    # Sizes are multiples of the smallest one: with an exponent of 1 the scaled costs are integers, which HiGHS uses.
    unit = int(np.gcd.reduce(programme.row_sizes))
    costs = (programme.column_sizes / unit) ** exponent
    cyclic = _cyclic_columns(programme, incidence)
    kept = np.union1d(_undominated(programme, costs), cyclic)
    incidence, costs, cyclic = incidence[kept], costs[kept], np.searchsorted(kept, cyclic)
    beyond = programme.beyond or (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    prices = Prices(incidence, costs, ((beyond[0] / unit) ** exponent, beyond[1]))
    search = _Search(incidence, costs, prices, integral=exponent == 1, is_complete=programme.beyond is not None)
    search.offer(cyclic)
    scale = float(unit) ** exponent
    search.bound = combinatorial_bound(programme.row_sizes, exponent) / scale
    search.run(begin, time_limit)
    chosen = kept[search.best]
    cost = float(np.sum(programme.column_sizes[chosen].astype(float) ** exponent))
    return chosen, cost if search.is_proven() else min(cost, search.bound * scale)


class _Search:
    """The best set so far, and the best bound."""

    def __init__(
        self, incidence: csr_array, costs: FloatArray, prices: Prices, *, integral: bool, is_complete: bool
    ) -> None:
        self.best: IntArray = np.zeros(0, dtype=np.int64)
        self.bound = 0.0
        self._incidence = incidence
        self._costs = costs
        self._prices = prices
        self._integral = integral
        self._is_complete = is_complete

    @property
    def cost(self) -> float:
        return float(self._costs[self.best].sum()) if len(self.best) else math.inf

    def offer(self, columns: IntArray) -> None:
        """A set that holds every row."""
        if float(self._costs[columns].sum()) < self.cost * (1 - OPTIMAL):
            self.best = np.sort(columns)

    def prove(self, bound: float) -> None:
        """A lower bound, from columns that are all there are."""
        if self._is_complete:
            rounded = math.ceil(bound * (1 - OPTIMAL)) if self._integral else bound
            self.bound = max(self.bound, rounded)

    def is_proven(self) -> bool:
        return self.bound >= self.cost * (1 - OPTIMAL)

    def run(self, begin: float, time_limit: float) -> None:
        """Improve both until they meet, or for a time."""
        incidence, costs, prices = self._incidence, self._costs, self._prices
        self.offer(greedy(incidence, costs, np.ones(incidence.shape[1])))
        self.prove(prices.bound)
        steps: list[Callable[[], None]] = [
            lambda: prices.climb(self.cost, begin + CLIMBED * time_limit),
            lambda: generate_columns(prices, incidence, costs, self.best, begin + PRICED * time_limit, _interruptible),
            lambda: self._decide(begin + TRIED * time_limit),
            lambda: self._improve(begin + IMPROVED * time_limit),
            lambda: self._decide(begin + time_limit),
        ]
        for step in steps:
            if self.is_proven():
                return
            step()
            self.prove(prices.bound)

    def _improve(self, deadline: float) -> None:
        incidence, costs = self._incidence, self._costs
        self.offer(greedy(incidence, costs, self._prices.best + 1e-3 * float(self._prices.best.mean())))

        def decide(part: csr_array, prices: FloatArray) -> IntArray | None:
            left = max(0.1, deadline - time.monotonic())
            return _run(part, prices, {"time_limit": left, "node_limit": NODES})[0]

        self.offer(improved(self.best, incidence, costs, ROUNDS, deadline, decide))

    def _decide(self, deadline: float) -> None:
        """Let HiGHS choose among the columns that can be in a better set; more and more of them."""
        reduced, missing = self._prices.reduced_costs()
        order = np.lexsort((np.arange(len(reduced)), reduced))
        number = FIRST_COLUMNS * self._incidence.shape[1]
        while not self.is_proven() and (left := deadline - time.monotonic()) > 0:
            # Whoever uses another column pays the reduced cost on top of the bound.
            allowed = self.cost - self._prices.bound
            useful = order[reduced[order] < allowed * (1 + OPTIMAL) + OPTIMAL]
            chosen = np.union1d(useful[:number], self.best)
            is_last = len(useful) <= number
            limits = {"time_limit": left if is_last else left / 2}
            columns, bound = _run(self._incidence[chosen], self._costs[chosen], limits)
            if columns is not None:
                self.offer(chosen[columns])
            others = [missing] if is_last else [missing, float(reduced[useful[number]])]
            self.prove(min(bound, self.cost, self._prices.bound + min(others)))
            if is_last:
                return
            number *= MORE_COLUMNS


def combinatorial_bound(row_sizes: IntArray, exponent: float) -> float:
    """A lower bound of the cost of any set, from counting q-points.

    Each maximal cyclic subgroup of order m has phi(m) generators, and no q-point generates two. A supercell of s cells
    holds s q-points, so ``s >= sum of phi(m)`` over the rows it holds, and ``s^p >= sum of phi(m) m^(p-1)`` for p >= 1,
    as s >= m. One supercell at least has the largest order.
    """
    largest = math.pow(int(row_sizes.max()), exponent)
    if exponent < 1:
        return largest
    orders, counts = np.unique(row_sizes, return_counts=True)
    totients = np.array([_totient(int(order)) for order in orders], dtype=float)
    return max(largest, float(np.sum(counts * totients * orders.astype(float) ** (exponent - 1))))


def _totient(n: int) -> int:
    result, rest, p = n, n, 2
    while p * p <= rest:
        if rest % p == 0:
            result -= result // p
            while rest % p == 0:
                rest //= p
        p += 1
    return result - result // rest if rest > 1 else result


def _undominated(programme: Programme, costs: FloatArray) -> IntArray:
    """Columns that can be worth taking: the cheapest of those that hold the same rows (the first among equals)."""
    cheapest: dict[bytes, int] = {}
    for column, (start, end) in enumerate(zip(programme.starts[:-1], programme.starts[1:], strict=True)):
        key = programme.held[start:end].tobytes()
        if key not in cheapest or costs[column] < costs[cheapest[key]]:
            cheapest[key] = column
    return np.array(sorted(cheapest.values()), dtype=np.int64)


def _cyclic_columns(programme: Programme, incidence: csr_array) -> IntArray:
    """For each row the smallest column that holds it: the set that is best for large exponents."""
    by_row = incidence.T.tocsr()
    chosen = set()
    for row in range(by_row.shape[0]):
        columns = by_row.indices[by_row.indptr[row] : by_row.indptr[row + 1]]
        if len(columns) == 0:
            raise InternalError(
                f"No candidate supercell holds the q-points of row {row}. This is a bug: please report the crystal and "
                "the grid."
            )
        chosen.add(int(columns[np.lexsort((columns, programme.column_sizes[columns]))[0]]))
    return np.array(sorted(chosen), dtype=np.int64)


def _run(incidence: csr_array, costs: FloatArray, limits: dict[str, Any]) -> tuple[IntArray | None, float]:
    """HiGHS's answer (None when it found none in time) and its bound."""
    result = _interruptible(
        lambda: milp(
            costs,
            constraints=LinearConstraint(incidence.T.tocsr(), lb=1.0),
            integrality=np.ones(len(costs)),
            bounds=Bounds(0, 1),
            options={**limits, "mip_rel_gap": 0.0},
        )
    )
    bound = 0.0 if result.mip_dual_bound is None else float(result.mip_dual_bound)
    if result.x is None:
        return None, max(bound, 0.0)
    return np.flatnonzero(result.x > 0.5), max(bound, 0.0)


# Threads in which HiGHS runs, and how long the end of the process waits for them, s: a thread that comes back from
# compiled code while the interpreter is taken down aborts the process. Short calls end within this time; one that goes
# on for longer does not come back before the process is gone.
_RUNNING: set[threading.Thread] = set()
FAREWELL = 0.5


@atexit.register
def _wait_for_highs() -> None:
    end = time.monotonic() + FAREWELL
    for thread in list(_RUNNING):
        thread.join(max(0.0, end - time.monotonic()))


def _interruptible(work: Callable[[], Any]) -> Any:
    """What `work` gives, answering Ctrl-C meanwhile, which HiGHS does not.

    HiGHS runs without Python's lock in a thread of its own. One that nobody waits for any more ends with the process,
    at the latest at its time limit.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # raised where it is waited for
            outcome.set_exception(error)
        finally:
            _RUNNING.discard(threading.current_thread())

    thread = threading.Thread(target=run, name="ndsc-highs", daemon=True)
    _RUNNING.add(thread)
    thread.start()
    while True:
        try:
            return outcome.result(timeout=0.1)
        except TimeoutError:
            if outcome.done():
                raise
