"""Least squares in blocks: rows go into a triangular matrix, so that memory does not grow with their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtpqrt

FloatArray = NDArray[np.float64]

#: Rows that are held before they go into the triangle, for each column.
ROWS_PER_COLUMN = 1.0
#: Columns that LAPACK treats together.
_BLOCK = 64


class Triangle:
    """The factor R of a QR decomposition of rows that come one block after the other.

    Of ``min |A x - b|`` everything is in the factor of ``[A b]``, and no precision is lost as in normal equations. Rows
    over very different sigmas should come with the large ones first.

    Parameters
    ----------
    n_columns : int

    Attributes
    ----------
    n_columns : int
    n_rows : int
        How many were added.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self.n_rows = 0
        self._factor: FloatArray | None = None
        self._waiting: list[FloatArray] = []
        self._held = 0

    def add(self, rows: FloatArray) -> None:
        """Add a (k, n) array."""
        self._waiting.append(rows)
        self._held += len(rows)
        self.n_rows += len(rows)
        if self._held > ROWS_PER_COLUMN * self.n_columns:
            self._reduce()

    def factor(self) -> FloatArray:
        """(min(k, n), n) array: the factor, or the k rows themselves while these are fewer than the columns."""
        self._reduce()
        found = np.concatenate(self._waiting) if self._waiting else np.zeros((0, self.n_columns))
        return found if self._factor is None else self._factor

    def _reduce(self) -> None:
        if self._factor is None:
            if self.n_rows < self.n_columns:
                return
            self._factor = np.zeros((self.n_columns, self.n_columns), order="F")
        if not self._held:
            return
        block = np.empty((self._held, self.n_columns), order="F")
        start = 0
        while self._waiting:
            rows = self._waiting.pop(0)
            block[start : start + len(rows)] = rows
            start += len(rows)
        self._held = 0
        reduced, _, _, info = dtpqrt(
            0, min(_BLOCK, self.n_columns), self._factor, block, overwrite_a=True, overwrite_b=True
        )
        assert info == 0, info
        self._factor = np.triu(reduced)


def memory_of_triangle(n_columns: int, largest: int) -> float:
    """Bytes that a triangle and the rows that wait for it need at their peak.

    Parameters
    ----------
    n_columns : int
    largest : int
        Rows of the largest block that is added.
    """
    # The factor is copied when it comes out of LAPACK; the rows that wait are held twice.
    return 8.0 * n_columns * (2 * n_columns + 2 * (ROWS_PER_COLUMN * n_columns + largest))
