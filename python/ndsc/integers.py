"""Exact integers: checks of what is given, and 3x3 matrices of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndsc.errors import InputError, IntegerOverflowError

IntArray = NDArray[np.int64]


def checked_integers(values: Any, name: str, wanted: str) -> IntArray:
    """`values` as an int64 array, refusing what is not exactly integer.

    Raises
    ------
    InputError
        When a value is not an integer.
    IntegerOverflowError
        When a value does not fit into 64 bits.
    """
    not_integers = f"{name} {values!r} is not made of integers. Give {wanted}."
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(not_integers) from error
    if array.dtype.kind == "O" and not all(isinstance(x, int) and not isinstance(x, bool) for x in array.ravel()):
        raise InputError(not_integers)
    if array.dtype.kind not in "iufO" or (array.dtype.kind == "f" and not np.all(array == np.rint(array))):
        raise InputError(not_integers)
    limits = np.iinfo(np.int64)
    # Comparing as Python integers: float64 rounds the limit itself up.
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise IntegerOverflowError(f"{name} {values!r} does not fit into 64-bit integers. Give smaller numbers.")
    return np.array(array, dtype=np.int64, order="C")


def checked_matrix(matrix: Any) -> IntArray:
    """(3, 3) int64 array : a supercell matrix.

    Raises
    ------
    InputError
        When `matrix` is anything else.
    """
    checked = checked_integers(matrix, "The supercell matrix", "a (3, 3) matrix of integers")
    if checked.shape != (3, 3):
        raise InputError(f"The supercell matrix has the shape {checked.shape}. Give a (3, 3) matrix of integers.")
    return checked


def determinant(matrix: IntArray) -> int:
    """The determinant of a (3, 3) integer matrix, exact whatever its size."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    return int(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def adjugate(matrix: IntArray) -> IntArray:
    """The adjugate of a (3, 3) integer matrix, exact: ``adjugate(M) @ M == det(M) * I``.

    Where 64 bits may not suffice, give `matrix` with the dtype object, of Python's integers.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    return np.array(cofactors, dtype=matrix.dtype)
