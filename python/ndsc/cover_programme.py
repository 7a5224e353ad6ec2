"""The integer programme for the cheapest set of supercells when the cost exponent is below log2(3).

Rows are the orbits of maximal cyclic subgroups of q-points, each of which must be held; columns are orbits of all
subgroups, each with the cost size^p. No compiled code here: arrays in, the chosen columns and a proven bound out.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ndsc.errors import InternalError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Relative difference of cost and bound below which rounding alone tells them apart.
OPTIMAL = 1e-7


@dataclass(frozen=True, eq=False)
class Programme:
    """Rows, columns, and which column holds which row.

    Attributes
    ----------
    row_sizes : (n_rows,) int64 array
        Order of the q-points of each row.
    column_sizes : (n_columns,) int64 array
        Unit cells of each column.
    rows, columns : (n_pairs,) int64 arrays
        Column ``columns[i]`` holds row ``rows[i]``.
    complete : bool
        Whether every subgroup is among the columns, so that the programme's bound holds for any set.
    """

    row_sizes: IntArray
    column_sizes: IntArray
    rows: IntArray
    columns: IntArray
    complete: bool


def solve(programme: Programme, exponent: float, time_limit: float) -> tuple[IntArray, float]:
    """The cheapest columns that hold every row, and a proven lower bound of the cost of any set.

    Parameters
    ----------
    programme : Programme
    exponent : float
        The p of the cost, the sum of size^p.
    time_limit : float, s
        HiGHS stops then; the bound tells how good its answer is.
    """
    incidence = csr_array(
        (np.ones(len(programme.rows)), (programme.columns, programme.rows)),
        shape=(len(programme.column_sizes), len(programme.row_sizes)),
    )
    costs = programme.column_sizes.astype(float) ** exponent
    kept = _undominated(incidence, costs)
    answers = [_cyclic_columns(programme, incidence), kept[_greedy(incidence[kept], costs[kept])]]
    chosen, bound = _run(incidence[kept], costs[kept], time_limit)
    if chosen is not None:
        answers.append(kept[chosen])
    best = min(reversed(answers), key=lambda columns: float(costs[columns].sum()))
    proven = combinatorial_bound(programme.row_sizes, exponent)
    if programme.complete:
        proven = max(proven, bound)
    cost = float(costs[best].sum())
    return np.sort(best), cost if proven >= cost * (1 - OPTIMAL) else proven


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


def _undominated(incidence: csr_array, costs: FloatArray) -> IntArray:
    """Columns that can be worth taking: the cheapest of those that hold the same rows (the first among equals)."""
    cheapest: dict[bytes, int] = {}
    for column in range(incidence.shape[0]):
        held = np.sort(incidence.indices[incidence.indptr[column] : incidence.indptr[column + 1]])
        if len(held) == 0:
            continue
        key = held.tobytes()
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


def _greedy(incidence: csr_array, costs: FloatArray) -> IntArray:
    """Columns that hold every row, each time the one with the least cost for each row that is new."""
    missing = np.ones(incidence.shape[1])
    chosen: list[int] = []
    while missing.any():
        gained = incidence @ missing
        price = np.divide(costs, gained, out=np.full(len(costs), np.inf), where=gained > 0)
        column = int(np.argmin(price))
        chosen.append(column)
        missing[incidence.indices[incidence.indptr[column] : incidence.indptr[column + 1]]] = 0
    return np.array(chosen, dtype=np.int64)


def _run(incidence: csr_array, costs: FloatArray, time_limit: float) -> tuple[IntArray | None, float]:
    """HiGHS's answer (None when it found none in time) and its bound."""
    # Sizes are multiples of the smallest one: with an exponent of 1 the scaled costs are integers, which HiGHS uses.
    scale = float(costs.min())
    result = _interruptible(
        lambda: milp(
            costs / scale,
            constraints=LinearConstraint(incidence.T.tocsr(), lb=1.0),
            integrality=np.ones(len(costs)),
            bounds=Bounds(0, 1),
            options={"time_limit": time_limit, "mip_rel_gap": 0.0},
        )
    )
    bound = 0.0 if result.mip_dual_bound is None else float(result.mip_dual_bound) * scale
    if result.x is None:
        return None, max(bound, 0.0)
    return np.flatnonzero(result.x > 0.5), max(bound, 0.0)


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

    threading.Thread(target=run, name="ndsc-highs", daemon=True).start()
    while True:
        try:
            return outcome.result(timeout=0.1)
        except TimeoutError:
            if outcome.done():
                raise
