"""quippy loads an OpenBLAS whose names SciPy's then finds instead of its own: ndsc gets on with either order."""

import subprocess
import sys

import pytest

pytest.importorskip("quippy", reason="needs the extra 'gap'")

PROGRAM = """
import quippy
import numpy as np
from ndsc.fit.soap import _harmonics
from ndsc.potentials.linear import LeastSquares

directions = np.random.default_rng(0).standard_normal((5, 3))
directions /= np.linalg.norm(directions, axis=1)[:, None]
values, _ = _harmonics(4)(directions)
for degree in range(5):
    own = values[:, degree**2 : (degree + 1) ** 2]
    cosines = directions @ directions.T
    assert np.allclose(own @ own.T, np.polynomial.legendre.legval(cosines, np.eye(5)[degree])), degree
rows, weights = np.random.default_rng(1).standard_normal((40, 6)), np.arange(6.0)
system = LeastSquares(6)
for part in np.array_split(np.arange(40), 5):
    system.add(rows[part], rows[part] @ weights, np.full(len(part), 1e-4))
assert np.allclose(system.solve(scale=10.0).z, weights, atol=1e-6)
"""


def test_quippy_may_be_imported_before_ndsc():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
