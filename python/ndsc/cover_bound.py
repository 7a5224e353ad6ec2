"""Lower bounds of the integer programme of :mod:`ndsc.cover_programme`: prices of the rows that no column exceeds.

When each row has a price and no column holds rows worth more than its cost, the prices add up to no more than any set
of columns that holds every row. The best prices are the dual solution of the linear programme. Steps along the
subgradient come close to it for programmes of any size; column generation then finds it: the linear programme is solved
on those columns whose rows are worth most, and those are added that cost less than their rows are worth by its prices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Steps of the subgradient, the first of them and after how many without a gain they are halved.
STEPS, STEP, PATIENCE = 600, 1.0, 15
# Columns that the linear programme begins with, and that are added at a time, for each row.
CORE_PER_ROW, ADDED_PER_ROW = 3, 1
# Relative excess of a column's rows over its cost that is rounding.
ROUNDING = 1e-9


class Prices:
    """Prices of the rows and what they prove.

    Parameters
    ----------
    incidence : (n_columns, n_rows) csr_array
    costs : (n_columns,) float array
    beyond : two (n,) float arrays
        Costs of what is no column, and how many rows one of each cost holds at the most.
    """

    def __init__(self, incidence: csr_array, costs: FloatArray, beyond: tuple[FloatArray, IntArray]) -> None:
        self._incidence = incidence
        self._costs = costs
        self._beyond = beyond
        # Each row pays its share of the column where that is the least.
        held = np.diff(incidence.indptr)
        shares = np.repeat(costs / np.maximum(held, 1), held)
        start = np.full(incidence.shape[1], np.inf)
        np.minimum.at(start, incidence.indices, shares)
        self.best, self._bound = np.zeros(incidence.shape[1]), 0.0
        self.offer(start)

    @property
    def bound(self) -> float:
        """No set that holds every row costs less."""
        return self._bound

    def reduced_costs(self) -> tuple[FloatArray, float]:
        """What using each column adds to the bound, and at the least one that is not listed."""
        costs, most = self._beyond
        missing = np.inf if len(costs) == 0 else float(np.min(costs - self._largest_sums(self.best, most)))
        return self._costs - self._incidence @ self.best, missing

    def offer(self, prices: FloatArray) -> tuple[FloatArray, float]:
        """Take prices if they prove more; what each column costs beyond them, and what they prove.

        Where a column's rows are worth more than it costs, no set gains more than that by using it once.
        """
        scale = max(1.0, self._excess_of_others(prices))
        prices = prices / scale
        reduced: FloatArray = self._costs - self._incidence @ prices
        bound = float(prices.sum() + np.minimum(reduced, 0.0).sum())
        if bound > self._bound:
            self.best, self._bound = prices, bound
        return reduced, bound

    def climb(self, cost: float, deadline: float) -> None:
        """Improve the prices step by step: up for rows that no column worth its cost holds, down where several do.

        Parameters
        ----------
        cost : float
            Of a set that holds every row.
        deadline : float, s
            Of the monotonic clock.
        """
        by_row = self._incidence.T.tocsr()
        prices, step, idle = self.best, STEP, 0
        for _ in range(STEPS):
            before = self._bound
            reduced, bound = self.offer(prices)
            slope = 1.0 - by_row @ (reduced < 0).astype(float)
            # A price that is zero cannot fall.
            slope[(prices <= 0) & (slope < 0)] = 0
            norm = float(slope @ slope)
            if norm == 0 or time.monotonic() > deadline:
                return
            idle = 0 if self._bound > before * (1 + 1e-6) else idle + 1
            if idle == PATIENCE:
                prices, step, idle = self.best, step / 2, 0
                continue
            prices = np.maximum(prices + step * max(cost - bound, 1e-3 * cost) / norm * slope, 0.0)

    def _excess_of_others(self, prices: FloatArray) -> float:
        costs, most = self._beyond
        return float(np.max(self._largest_sums(prices, most) / costs, initial=0.0))

    @staticmethod
    def _largest_sums(prices: FloatArray, numbers: IntArray) -> FloatArray:
        sums = np.concatenate([[0.0], np.cumsum(np.sort(prices)[::-1])])
        largest: FloatArray = sums[np.minimum(numbers, len(prices))]
        return largest


def generate_columns(
    prices: Prices,
    incidence: csr_array,
    costs: FloatArray,
    start: IntArray,
    deadline: float,
    run: Callable[[Callable[[], Any]], Any],
) -> None:
    """Improve prices until no column exceeds its cost under the dual solution, or until the deadline.

    Parameters
    ----------
    prices : Prices
        Changed.
    start : (n,) int array
        Columns that hold every row.
    deadline : float, s
        Of the monotonic clock.
    run : callable
        Runs a function that takes long.
    """
    rows = incidence.shape[1]
    active = np.zeros(len(costs), dtype=bool)
    active[start] = True
    reduced, _ = prices.reduced_costs()
    active[np.lexsort((np.arange(len(costs)), reduced))[: CORE_PER_ROW * rows]] = True
    while (left := deadline - time.monotonic()) > 0:
        columns = np.flatnonzero(active)
        matrix = -incidence[columns].T.tocsr()
        result = run(partial(_linear_programme, costs[columns], matrix, left))
        if result.status != 0:
            return
        reduced, _ = prices.offer(np.maximum(-result.ineqlin.marginals, 0.0))
        found = np.flatnonzero((reduced < -ROUNDING * costs) & ~active)
        if len(found) == 0 or prices.bound >= result.fun * (1 - ROUNDING):
            return
        order = np.lexsort((found, reduced[found] / costs[found]))
        active[found[order[: max(50, ADDED_PER_ROW * rows)]]] = True


def _linear_programme(costs: FloatArray, matrix: csr_array, time_limit: float) -> Any:
    return linprog(
        costs,
        A_ub=matrix,
        b_ub=-np.ones(matrix.shape[0]),
        method="highs-ipm",
        options={"time_limit": time_limit},
    )
