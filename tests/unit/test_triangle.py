"""Least squares in blocks, beside all rows at once."""

import numpy as np
import pytest

from ndsc.fit.triangle import ROWS_PER_COLUMN, Triangle


@pytest.mark.parametrize("blocks", [1, 7, 90])
@pytest.mark.parametrize("n_rows", [24, 25, 26, 90])
def test_the_factor_is_that_of_all_rows_at_once(n_rows, blocks):
    random = np.random.default_rng(n_rows)
    rows = random.standard_normal((n_rows, 25)) * np.logspace(0, -6, 25)
    triangle = Triangle(25)
    for part in np.array_split(rows, blocks):
        triangle.add(part)
    factor = triangle.factor()
    assert factor.shape == (min(n_rows, 25), 25)
    assert np.allclose(factor.T @ factor, rows.T @ rows, rtol=1e-12, atol=1e-14)
    if n_rows >= 25:
        assert np.allclose(factor, np.triu(factor))
        # Small columns keep their own precision, which normal equations would lose.
        assert np.allclose(np.abs(np.diag(factor)), np.abs(np.diag(np.linalg.qr(rows)[1])), rtol=1e-10)


def test_more_rows_can_follow_a_factor_and_memory_does_not_grow():
    random = np.random.default_rng(0)
    triangle, seen = Triangle(10), []
    for _ in range(40):
        seen.append(random.standard_normal((3, 10)))
        triangle.add(seen[-1])
        assert sum(map(len, triangle._waiting)) <= ROWS_PER_COLUMN * 10
    for _ in range(2):
        together = np.vstack(seen)
        assert np.allclose(triangle.factor().T @ triangle.factor(), together.T @ together)
        seen.append(random.standard_normal((1, 10)))
        triangle.add(seen[-1])
    assert triangle.n_rows == 122
