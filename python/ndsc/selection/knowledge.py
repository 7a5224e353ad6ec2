"""What labels of candidates tell of the targets, kept up to date while candidates are taken.

The covariance of the weights is not touched: ``C - U Uᵀ`` is what is left of it. Of every candidate that is looked at,
two small matrices are kept instead, the covariance of its label and that of its label with the targets, from which a
label that is taken subtracts products of small matrices (a block Cholesky factorisation of the covariance of labels),
and to which one that is given back for another adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs, qr, solve_triangular

from ndsc.errors import InternalError

FloatArray = NDArray[np.float64]

#: Combinations of error rows whose expected squares are together below this part of all are left out.
SMALLEST_PART = 1e-10
#: Rows of two structures that differ by less than this part are those of the same one.
SAME = 1e-11
#: What rounding makes of a covariance, relative to its diagonal, and how many times more at the worst.
ROUNDING, LARGE_ROUNDING = 1e-14, 1e4


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates with what their labels would tell.

    Attributes
    ----------
    rows : callable
        Gives the (R, m) rows of a candidate by its number.
    variances : callable
        Gives the (R,) variances of the noise of its label, told its number and the (R,) variances of what is expected
        of it without noise.
    costs : (n,) array
        Positive, in any unit.
    """

    rows: Callable[[int], FloatArray]
    variances: Callable[[int, FloatArray], FloatArray]
    costs: FloatArray


@dataclass(eq=False)
class _Label:
    """A candidate's label: its covariance, that with the targets, and how many of the changes both know.

    Only the lower triangle of the covariance counts. Both are in Fortran's order, in which BLAS changes them in place.
    """

    covariance: FloatArray
    with_targets: FloatArray
    rounding: float
    known: int = 0

    def copy(self) -> _Label:
        return _Label(self.covariance.copy("F"), self.with_targets.copy("F"), self.rounding)

    def change(self, coordinates: FloatArray, targets: FloatArray, sign: float) -> None:
        """Add, or subtract, what ``coordinates`` (R, k) tell, of the targets by their (k, q) coordinates."""
        if not len(targets):
            return
        self.covariance = _SYRK(
            sign, coordinates.T, beta=1.0, c=self.covariance, trans=1, lower=1, overwrite_c=1
        )  # fmt: skip
        self.with_targets = _GEMM(
            sign, coordinates.T, targets.T, beta=1.0, c=self.with_targets, trans_a=1, trans_b=1, overwrite_c=1
        )


class _Changes:
    """What was learned of weights and targets, and given back, one after the other.

    Attributes
    ----------
    size : int
        Columns of all changes.
    """

    def __init__(self, m: int, q: int) -> None:
        self.size = 0
        self._weights, self._targets = np.empty((m, 0), order="F"), np.empty((0, q))
        self._ends: list[tuple[int, float]] = []

    def add(self, weights: FloatArray, targets: FloatArray, sign: float) -> None:
        """Let (m, k) weights and their (k, q) targets be known, with the sign -1, or with 1 be known no more."""
        start, self.size = self.size, self.size + len(targets)
        self._weights, self._targets = _with_room(self._weights, self._targets, start, self.size)
        self._weights[:, start : self.size], self._targets[start : self.size] = weights, targets
        if self._ends and self._ends[-1][1] == sign:
            self._ends.pop()
        self._ends.append((self.size, sign))

    def apply(self, label: _Label, rows: FloatArray) -> None:
        """Change the label of a candidate with (R, m) rows by all that it does not know."""
        for end, sign in self._ends:
            if label.known < end:
                new = slice(label.known, end)
                label.change(rows @ self._weights[:, new], self._targets[new], sign)
                label.known = end


def _with_room(weights: FloatArray, targets: FloatArray, size: int, end: int) -> tuple[FloatArray, FloatArray]:
    """Arrays with room for `end` columns and rows, of which `size` are in use."""
    if end <= weights.shape[1]:
        return weights, targets
    room = max(2 * size, end)
    grown = np.empty((len(weights), room), order="F"), np.empty((room, targets.shape[1]))
    grown[0][:, :size], grown[1][:size] = weights[:, :size], targets[:size]
    return grown


class Knowledge:
    """What is known of the targets once some candidates are labelled.

    Parameters
    ----------
    pool : Pool
    root : (m, m) array
        R with ``R Rᵀ`` the covariance of the weights, before any candidate is taken.
    error_rows : sequence of (t, m) arrays
        Of each target.

    Attributes
    ----------
    taken : list of int
        Candidates, in their order.
    """

    def __init__(self, pool: Pool, root: FloatArray, error_rows: Sequence[FloatArray]) -> None:
        self.pool = pool
        self._root = np.asfortranarray(root)
        scale = float(root[0, 0])
        self._scale = scale if np.array_equal(root, scale * np.eye(len(root))) else None
        self._is_triangular = not np.any(np.tril(root, -1))
        self._largest = float(np.max(np.einsum("ij,ij->i", root, root)))
        squares, groups = zip(*(self._principal(rows) for rows in error_rows), strict=True)
        self._ends = np.cumsum([len(group) for group in groups])[:-1]
        self._seen = self._back(self._told_by(np.concatenate(groups)))
        self._before = np.array(squares)
        self._base: dict[int, _Label] = {}
        self._forget()

    def _forget(self) -> None:
        m, q = self._seen.shape
        self.taken: list[int] = []
        self._labels: dict[int, _Label] = {}
        self._changes = _Changes(m, q)
        self._weights, self._targets = np.empty((m, 0), order="F"), np.empty((0, q))
        self._size = 0
        self._roots: list[FloatArray] = []
        self._whole: FloatArray | None = None
        self._told = np.zeros(len(self._before))

    def afresh(self) -> Knowledge:
        """The same with nothing taken; what is known of candidates before anything is taken is shared."""
        other = copy(self)
        other._forget()
        return other

    def errors(self) -> FloatArray:
        """(g,) array : expected square of the error of each target."""
        return np.asarray(np.maximum(self._before - self._told, 0.0))

    def gain(self, number: int) -> float:
        """By how much the label of a candidate reduces the sum of all errors."""
        label = self._label(number)
        return _square(_solve(_root(label), label.with_targets))

    def take(self, number: int) -> None:
        """Let a candidate be labelled."""
        start = self._size
        self._enter(number, self._label(number), self.pool.rows(number) @ self._weights[:, :start])
        self._changes.add(self._weights[:, start : self._size], self._targets[start : self._size], -1.0)

    def without(self, position: int) -> Callable[[int], float]:
        """Gains of candidates as if the one taken at a position had not been, which may be one of them."""
        weights, targets = self._lost(position)

        def gain(number: int) -> float:
            other = self._label(number).copy()
            other.change(self.pool.rows(number) @ weights, targets, 1.0)
            return _square(_solve(_root(other), other.with_targets))

        return gain

    def exchange(self, position: int, number: int) -> None:
        """Let a candidate be labelled instead of the one taken at a position; it is then the last one.

        What is kept of other candidates is changed by what one label tells and the other told, and not made anew.
        """
        self._changes.add(*self._lost(position), 1.0)
        rest, self.taken = self.taken[position + 1 :], self.taken[:position]
        self._roots = self._roots[:position]
        self._size, self._whole = sum(map(len, self._roots)), None
        told = np.split(self._targets[: self._size], self._ends, axis=1)
        self._told = np.array([_square(part) for part in told])
        for other in rest:
            label = self._first(other).copy()
            coordinates = self.pool.rows(other) @ self._weights[:, : self._size]
            label.change(coordinates, self._targets[: self._size], -1.0)
            self._enter(other, label, coordinates)
        self.take(number)

    def _enter(self, number: int, label: _Label, coordinates: FloatArray) -> None:
        """Let a candidate be labelled, given its (R, size) coordinates in what is taken."""
        root = _root(label)
        left = self._back(self._told_by(self.pool.rows(number))) - self._weights[:, : self._size] @ coordinates.T
        told = _solve(root, label.with_targets)
        self._append(_solve(root, left.T).T, told)
        self._roots.append(np.hstack([coordinates, root]))
        self._whole = None
        self._told = self._told + [_square(part) for part in np.split(told, self._ends, axis=1)]
        self.taken.append(number)

    def _lost(self, position: int) -> tuple[FloatArray, FloatArray]:
        """What is not known, of weights (m, k) and targets (k, q), without the label taken at a position.

        What the others tell is orthogonal, in the coordinates of all labels, to some directions; these alone are lost.
        """
        start, end = (sum(map(len, self._roots[: position + more])) for more in (0, 1))
        if self._whole is None:
            self._whole, row = np.zeros((self._size, self._size)), 0
            for root in self._roots:
                self._whole[row : row + len(root), : root.shape[1]] = root
                row += len(root)
        # Rows before the first of the label are zero.
        own = np.eye(self._size - start, end - start)
        inverse = solve_triangular(self._whole[start:, start:], own, lower=True, check_finite=False)
        lost = qr(inverse, mode="economic", check_finite=False)[0]
        return self._weights[:, start : self._size] @ lost, lost.T @ self._targets[start : self._size]

    def is_copy(self, number: int, other: int) -> bool:
        """Whether two candidates are the same, so that one label is that of both."""
        return number == other or same_rows(self.pool.rows(number), self.pool.rows(other))

    def _label(self, number: int) -> _Label:
        """The label of a candidate, given all that is taken."""
        label = self._labels.get(number)
        if label is None:
            if not self._changes.size:
                return self._first(number)
            label = self._labels[number] = self._first(number).copy()
        if label.known < self._changes.size:
            self._changes.apply(label, self.pool.rows(number))
        return label

    def _first(self, number: int) -> _Label:
        """The label of a candidate when nothing is taken."""
        found = self._base.get(number)
        if found is None:
            rows = self.pool.rows(number)
            told = self._told_by(rows)
            covariance = _SYRK(1.0, told.T, trans=1, lower=1)
            covariance.flat[:: len(covariance) + 1] += self.pool.variances(number, covariance.diagonal().copy())
            rounding = ROUNDING * self._largest * float(np.max(np.einsum("rm,rm->r", rows, rows)))
            found = self._base[number] = _Label(
                covariance, np.asfortranarray(rows @ self._seen), rounding
            )  # fmt: skip
        return found

    def _told_by(self, rows: FloatArray) -> FloatArray:
        """(R, m) array : rows in units of what is known of the weights before anything is taken."""
        if self._scale is not None:
            return np.asarray(rows * self._scale)
        if self._is_triangular:
            return np.asarray(_TRMM(1.0, self._root, rows.T, trans_a=1).T)
        return np.asarray(rows @ self._root)

    def _back(self, told: FloatArray) -> FloatArray:
        """(m, R) array : the covariance of the weights before anything is taken with what rows tell."""
        return np.asarray(told.T * self._scale if self._scale is not None else self._root @ told.T)

    def _principal(self, rows: FloatArray) -> tuple[float, FloatArray]:
        """The expected square of rows, and fewer that have nearly all of it."""
        if len(rows) > rows.shape[1]:
            rows = np.linalg.qr(rows)[1]
        told = self._told_by(rows)
        squares, vectors = np.linalg.eigh(told @ told.T)
        squares = np.maximum(squares, 0.0)
        kept = np.cumsum(squares) > SMALLEST_PART * squares.sum()
        return float(squares.sum()), vectors[:, kept].T @ rows

    def _append(self, weights: FloatArray, targets: FloatArray) -> None:
        end = self._size + weights.shape[1]
        self._weights, self._targets = _with_room(self._weights, self._targets, self._size, end)
        self._weights[:, self._size : end], self._targets[self._size : end] = weights, targets
        self._size = end


def same_rows(rows: FloatArray, others: FloatArray) -> bool:
    """Whether rows are those of the same structure, to rounding."""
    if rows.shape != others.shape:
        return False
    for some, other in ((rows[0], others[0]), (rows, others)):  # the first row shows it, nearly always
        if not np.max(np.abs(some - other)) <= SAME * np.max(np.abs(other)):
            return False
    return True


_POTRF, _TRTRS = get_lapack_funcs(("potrf", "trtrs"), (np.empty(0),))
_TRMM, _SYRK, _GEMM = get_blas_funcs(("trmm", "syrk", "gemm"), (np.empty(0),))


def _root(label: _Label) -> FloatArray:
    """Lower triangle L with ``L Lᵀ`` the covariance of a label: of what it tells, of its noise and of rounding."""
    told = label.covariance.copy("F")
    for more in (1.0, LARGE_ROUNDING):
        told.flat[:: len(told) + 1] += more * label.rounding
        root, failed = _POTRF(told, lower=1)
        if not failed:
            return np.asarray(root)
    raise InternalError(f"The covariance of a label of {len(told)} numbers is not positive definite.")


def _solve(root: FloatArray, right: FloatArray) -> FloatArray:
    """``L⁻¹ right``; the checks of SciPy's own function would take longer than the work."""
    return np.asarray(_TRTRS(root, right, lower=1)[0])


def _square(matrix: FloatArray) -> float:
    """The sum of the squares of a matrix in any order."""
    return float(np.vdot(matrix, matrix)) if matrix.flags.c_contiguous else float(np.vdot(matrix.T, matrix.T))
