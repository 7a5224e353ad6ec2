"""The cheapest set of supercells when the cost exponent is below log2(3), where larger cells can be worth their price.

That is a set-cover problem: every orbit of maximal cyclic subgroups of the grid's q-points (a row) must be held by one
of the orbits of all subgroups (the columns), each of which costs size^p. HiGHS solves it and says how much cheaper
another set could be at most.
"""

from __future__ import annotations

import atexit
import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndsc import _core
from ndsc.errors import InputError
from ndsc.progress import Progress, silent

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

#: Largest programme: subgroups of the grid's q-points, and pairs of a column and an image of a row.
MOST_SUBGROUPS, MOST_PAIRS = 200_000, 150_000_000
#: Pairs that are looked at together.
PAIRS_AT_A_TIME = 4_000_000
#: Relative difference below which a cost and its bound are equal.
ROUNDING = 1e-7
#: Seconds without a report of progress.
QUIET = 2.0


def cheapest_cover(
    divisions: tuple[int, int, int],
    rotations: IntArray,
    exponent: float,
    *,
    time_limit: float,
    memory: int,
    progress: Progress = silent,
) -> tuple[IntArray, float]:
    """The set of supercells with the smallest sum of size^exponent that HiGHS finds, and a proven lower bound of it.

    Parameters
    ----------
    divisions : 3 ints
        The grid of q-points.
    rotations : (n, 3, 3) int64 array
        A group that maps the grid onto itself, acting on reduced q-points as columns.
    exponent : float
    time_limit : float, s
        HiGHS stops then.
    memory : int, bytes
    progress : callable
        Called with (task, done, total) when this takes longer than two seconds.

    Returns
    -------
    forms : (n, 3, 3) int64 array
        Hermite normal forms, sorted.
    bound : float

    Raises
    ------
    InputError
        When the programme is too large.
    """
    rows: IntArray = _core.minimal_cover(divisions, rotations, memory)
    row_costs = _sizes(rows).astype(float) ** exponent
    columns = _orbits(_subgroups(divisions), rotations, divisions, progress)
    held = _held(columns, rows, rotations, divisions, progress)
    costs = _sizes(columns).astype(float) ** exponent
    # The rows themselves, as columns, can stand for a larger one that costs no less than they do together.
    is_row = np.isin(_keys(columns, divisions), _keys(rows, divisions))
    useful = np.flatnonzero(is_row | (costs < held @ row_costs * (1 - ROUNDING)))
    # Of those that hold the same rows the cheapest one.
    order = useful[np.argsort(costs[useful], kind="stable")]
    first = np.unique(np.packbits(held[order], axis=1), axis=0, return_index=True)[1]
    kept = np.sort(order[first])
    chosen, bound = _solve(held[kept], costs[kept], time_limit, progress)
    sets = [np.flatnonzero(is_row), kept[_greedy(held[kept], costs[kept])]] + ([] if chosen is None else [kept[chosen]])
    best = min(sets, key=lambda columns: float(costs[columns].sum()))
    bound = max(bound, float(row_costs.max()))
    cost = float(costs[best].sum())
    return columns[best], cost if bound >= cost * (1 - ROUNDING) else bound


def _refuse(divisions: tuple[int, int, int], reason: str) -> InputError:
    return InputError(
        f"The integer programme for the cheapest supercells of the grid {list(divisions)} is too large ({reason}). Use "
        "a cost exponent of at least 1.585 (usually 3), for which the cheapest set is known without it, or a coarser "
        "grid."
    )


def _subgroups(divisions: tuple[int, int, int]) -> IntArray:
    """(n, 3, 3) int64 array : the Hermite normal forms of all supercells inside the diagonal one of the grid."""
    found: list[IntArray] = []
    count = 0
    n1, n2, _ = divisions
    for a, d, f in itertools.product(*(_divisors(n) for n in divisions)):
        x, y = n1 // a, n2 // d
        b = np.arange(0, d, d // math.gcd(d, x))
        e = np.arange(0, f, f // math.gcd(f, y))
        if (count + len(b) * len(e)) > MOST_SUBGROUPS:
            raise _refuse(divisions, f"more than {MOST_SUBGROUPS} subgroups of q-points")
        # x times the first row less x b / d times the second one ends with x c - x b e / d, a multiple of f.
        b, c, e = (part.ravel() for part in np.meshgrid(b, np.arange(f), e, indexing="ij"))
        kept = (x * c - x * b // d * e) % f == 0
        forms = np.zeros((int(kept.sum()), 3, 3), dtype=np.int64)
        forms[:, 0, 0], forms[:, 1, 1], forms[:, 2, 2] = a, d, f
        forms[:, 0, 1], forms[:, 0, 2], forms[:, 1, 2] = b[kept], c[kept], e[kept]
        found.append(forms)
        count += len(forms)
        if count > MOST_SUBGROUPS:
            raise _refuse(divisions, f"more than {MOST_SUBGROUPS} subgroups of q-points")
    return np.concatenate(found)


def _orbits(forms: IntArray, rotations: IntArray, divisions: tuple[int, int, int], progress: Progress) -> IntArray:
    """The first of each orbit, in the order of size, then of the form."""
    keys = _keys(forms, divisions)
    first = np.ones(len(forms), dtype=bool)
    begin = time.monotonic()
    for number, rotation in enumerate(rotations):
        if time.monotonic() - begin > QUIET:
            progress("orbits of candidate supercells", number, len(rotations))
        first[first] = keys[first] <= _keys(_core.canonical_forms(forms[first] @ rotation), divisions)
    kept = np.flatnonzero(first)
    ordered: IntArray = forms[kept[np.lexsort((keys[kept], _sizes(forms[kept])))]]
    return ordered


def _held(
    columns: IntArray, rows: IntArray, rotations: IntArray, divisions: tuple[int, int, int], progress: Progress
) -> NDArray[np.bool_]:
    """(n_columns, n_rows) bool array : whether a rotation brings the q-points of the row into the column."""
    common = math.lcm(*divisions)
    # With U S V = diag(1, 1, n) the last column of V, over n, is a q-point whose multiples are all those of S.
    generators = np.array(
        [_core.smith_normal_form(row)[2][:, 2] % size for row, size in zip(rows, _sizes(rows), strict=True)]
    )
    numerators = generators * (common // _sizes(rows))[:, None]
    images = (np.einsum("oij,rj->roi", rotations, numerators) % common).reshape(-1, 3)
    if len(columns) * len(images) > MOST_PAIRS:
        raise _refuse(divisions, f"{len(columns)} candidate supercells and {len(rows)} orbits of q-points")
    held = np.empty((len(columns), len(rows)), dtype=bool)
    step = max(1, PAIRS_AT_A_TIME // len(images))
    begin = time.monotonic()
    for start in range(0, len(columns), step):
        # Floats, because they are multiplied faster: sums of three products below 2^40 are exact.
        part = columns[start : start + step].reshape(-1, 3).astype(float) @ images.T.astype(float)
        integer = (part % common == 0).reshape(-1, 3, len(rows), len(rotations))
        held[start : start + step] = integer.all(axis=1).any(axis=2)
        if time.monotonic() - begin > QUIET:
            progress("candidate supercells", start, len(columns))
    return held


def _greedy(held: NDArray[np.bool_], costs: FloatArray) -> IntArray:
    """Columns that hold all rows, each time the one that costs least for each row that is new."""
    chosen: list[int] = []
    open_rows = np.ones(held.shape[1], dtype=bool)
    while open_rows.any():
        chosen.append(int(np.argmax(held @ open_rows.astype(float) / costs)))
        open_rows &= ~held[chosen[-1]]
    return np.sort(np.array(chosen, dtype=np.int64))


def _solve(
    held: NDArray[np.bool_], costs: FloatArray, time_limit: float, progress: Progress
) -> tuple[IntArray | None, float]:
    """The columns that HiGHS chooses (None when it found no set in time), and its lower bound of their cost."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    unit = float(costs.min())
    result = _interruptible(
        lambda: milp(
            costs / unit,
            constraints=LinearConstraint(csr_array(held.T.astype(float)), lb=1.0),
            integrality=np.ones(len(costs)),
            bounds=Bounds(0, 1),
            options={"time_limit": time_limit, "mip_rel_gap": 0.0},
        ),
        time_limit,
        progress,
    )
    bound = 0.0 if result.mip_dual_bound is None else max(0.0, float(result.mip_dual_bound) * unit)
    return None if result.x is None else np.flatnonzero(result.x > 0.5), bound


# Threads in which HiGHS runs, and how long the end of the process waits for them, s: a thread that comes back from
# compiled code while the interpreter shuts down aborts the process.
_RUNNING: set[threading.Thread] = set()
SHUTDOWN_TIMEOUT = 0.5


@atexit.register
def _wait_for_highs() -> None:
    end = time.monotonic() + SHUTDOWN_TIMEOUT
    for thread in list(_RUNNING):
        thread.join(max(0.0, end - time.monotonic()))


def _interruptible(work: Callable[[], Any], time_limit: float, progress: Progress) -> Any:
    """The result of `work`, which runs in a thread of its own: HiGHS does not answer Ctrl-C, waiting for it does.

    A thread that nobody waits for any more ends with the process, at the latest at HiGHS's time limit.
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
    begin = time.monotonic()
    while True:
        try:
            return outcome.result(timeout=0.1)
        except TimeoutError:
            if outcome.done():
                raise
        passed = time.monotonic() - begin
        if passed > QUIET:
            progress("integer programme, s", int(min(passed, time_limit)), math.ceil(time_limit))


def _sizes(forms: IntArray) -> IntArray:
    sizes: IntArray = np.prod(np.diagonal(forms, axis1=1, axis2=2), axis=1)
    return sizes


def _keys(forms: IntArray, divisions: tuple[int, int, int]) -> IntArray:
    """(n,) int64 array : one number for each Hermite normal form inside the diagonal supercell, in their order."""
    n1, n2, n3 = (n + 1 for n in divisions)
    keys = np.zeros(len(forms), dtype=np.int64)
    for i, j, base in ((0, 0, n1), (1, 1, n2), (0, 1, n2), (0, 2, n3), (1, 2, n3), (2, 2, n3)):
        keys = keys * base + forms[:, i, j]
    return keys


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
