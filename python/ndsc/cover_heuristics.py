"""Good sets of columns that hold every row, found without proof: greedy choice, and choosing small parts again."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ndsc.errors import InternalError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Columns that are chosen again at a time.
FREED = 10
# Relative spread of the random factor on how close columns are.
SPREAD = 0.3


class Cover:
    """Columns that hold rows, one more or less at a time.

    Parameters
    ----------
    incidence : (n_columns, n_rows) csr_array
        Which column holds which row.
    costs : (n_columns,) float array
    weights : (n_rows,) float array
        How much it is worth to hold each row.
    """

    def __init__(self, incidence: csr_array, costs: FloatArray, weights: FloatArray) -> None:
        self.costs = costs
        self.chosen: list[int] = []
        self._weights = weights
        self._by_column = incidence
        self._by_row = incidence.T.tocsr()
        self._times_held = np.zeros(incidence.shape[1], dtype=np.int64)
        self._gained = incidence @ weights
        self._missing = incidence.shape[1]

    @property
    def cost(self) -> float:
        return float(self.costs[self.chosen].sum())

    def add(self, column: int) -> None:
        self.chosen.append(column)
        rows = _row(self._by_column, column)
        new = rows[self._times_held[rows] == 0]
        self._times_held[rows] += 1
        self._missing -= len(new)
        self._credit(new, -1.0)

    def remove(self, column: int) -> None:
        self.chosen.remove(column)
        rows = _row(self._by_column, column)
        self._times_held[rows] -= 1
        lost = rows[self._times_held[rows] == 0]
        self._missing += len(lost)
        self._credit(lost, 1.0)

    def _credit(self, rows: IntArray, sign: float) -> None:
        for row in rows:
            self._gained[_row(self._by_row, row)] += sign * self._weights[row]

    def complete(self) -> None:
        """Add columns until every row is held, each time the one with the least cost for the worth of what is new."""
        least = 1e-9 * float(self._weights.min())
        while self._missing:
            prices = np.divide(
                self.costs, self._gained, out=np.full(len(self.costs), np.inf), where=self._gained > least
            )
            column = int(np.argmin(prices))
            if not np.isfinite(prices[column]):
                raise InternalError(
                    "No candidate supercell holds some of the q-points. This is a bug: please report the crystal and "
                    "the grid."
                )
            self.add(column)

    def drop_needless(self) -> None:
        """Remove columns whose rows others hold too, the most expensive first."""
        for column in sorted(self.chosen, key=lambda column: (-self.costs[column], column)):
            if np.all(self._times_held[_row(self._by_column, column)] > 1):
                self.remove(column)


def greedy(incidence: csr_array, costs: FloatArray, weights: FloatArray) -> IntArray:
    """Columns that hold every row, by greedy choice."""
    cover = Cover(incidence, costs, weights)
    cover.complete()
    cover.drop_needless()
    return np.array(sorted(cover.chosen), dtype=np.int64)


def improved(
    start: IntArray,
    incidence: csr_array,
    costs: FloatArray,
    rounds: int,
    deadline: float,
    decide: Callable[[csr_array, FloatArray], IntArray | None],
) -> IntArray:
    """Columns that hold every row and cost no more than `start`: a few that belong together are chosen again each time.

    Parameters
    ----------
    start : (n,) int array
        Columns that hold every row.
    rounds : int
        How many times; the random choices are the same in each run.
    deadline : float, s
        Of the monotonic clock.
    decide : callable
        (incidence, costs) -> the cheapest columns that hold every row of a small programme, if it finds them.
    """
    random = np.random.default_rng(0)
    by_row = incidence.T.tocsr()
    best = start
    for _ in range(rounds):
        if time.monotonic() > deadline:
            break
        # Columns are close when they hold what is held together with one row.
        near = incidence[_row(by_row, int(random.integers(incidence.shape[1])))].sum(axis=0)
        closeness = (incidence[best] @ near) / np.diff(incidence[best].indptr)
        order = np.argsort(-closeness * (1 + SPREAD * random.random(len(best))), kind="stable")
        freed, fixed = best[order[:FREED]], best[order[FREED:]]
        open_rows = np.flatnonzero(incidence[fixed].sum(axis=0) == 0)
        part = incidence[:, open_rows].tocsr()
        old = float(costs[freed].sum())
        useful = np.flatnonzero((np.diff(part.indptr) > 0) & (costs < old))
        useful = np.union1d(useful, freed)
        chosen = decide(part[useful], costs[useful])
        if chosen is not None and float(costs[useful[chosen]].sum()) <= old * (1 + 1e-12):
            best = np.union1d(fixed, useful[chosen])
    return best


def _row(matrix: csr_array, number: int) -> IntArray:
    numbers: IntArray = matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]]
    return numbers
