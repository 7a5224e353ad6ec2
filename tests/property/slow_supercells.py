"""Slow, obvious NumPy versions of what the compiled core does."""

from __future__ import annotations

import itertools

import numpy as np


def qpoints(grid):
    """(n, 3) int array : every q-point of a grid, third axis fastest."""
    return np.array(list(itertools.product(*(range(n) for n in grid))))


def keeping(rotations, grid):
    """Rotations of reduced q-points that map the grid onto itself."""
    n = np.array(grid)
    kept = []
    for rotation in rotations:
        images = rotation @ (qpoints(grid) / n).T * n[:, None]
        if np.allclose(images, np.rint(images), atol=1e-9):
            kept.append(rotation)
    return np.array(kept)


def rotate(rotation, numerators, grid):
    """Image of a q-point, as wrapped numerators."""
    n = np.array(grid)
    scale = int(np.prod(n))
    image = rotation @ (np.asarray(numerators) * (scale // n))
    return tuple(int(x) for x in (image // (scale // n)) % n)


def is_commensurate(matrix, numerators, grid):
    """Whether ``matrix @ q`` is integer, in integers."""
    scale = int(np.prod(grid))
    return bool(np.all(np.asarray(matrix) @ (np.asarray(numerators) * (scale // np.array(grid))) % scale == 0))


def order(numerators, grid):
    """The smallest m with m q integer."""
    n = np.array(grid)
    return next(m for m in itertools.count(1) if np.all(m * np.asarray(numerators) % n == 0))


def stars(rotations, grid, *, time_reversal):
    """Sizes of the stars by their first points; a rotation counts for the points that it leaves on the grid."""
    n = np.array(grid)
    group = list(rotations) + ([-r for r in rotations] if time_reversal else [])
    sizes = {}
    for q in qpoints(grid):
        images = [r @ (q / n) * n for r in group]
        on_grid = [np.rint(image).astype(int) % n for image in images if np.allclose(image, np.rint(image), atol=1e-9)]
        first = min(tuple(image.tolist()) for image in on_grid)
        sizes[first] = sizes.get(first, 0) + 1
    return sizes


def hermite_normal_forms(determinant):
    """All of them, by trying every triple of diagonal elements."""
    forms = []
    for a, d, f in itertools.product(range(1, determinant + 1), repeat=3):
        if a * d * f == determinant:
            for b, c, e in itertools.product(range(d), range(f), range(f)):
                forms.append(((a, b, c), (0, d, e), (0, 0, f)))
    return forms


def same_lattice(a, b):
    """Whether two integer bases span one lattice."""
    change = np.asarray(a) @ np.linalg.inv(b)
    return bool(np.allclose(change, np.rint(change), atol=1e-6) and abs(abs(np.linalg.det(change)) - 1) < 1e-6)


def canonical(matrix, rotations):
    """The first Hermite normal form, by (a, d, b, c, e), among the images of a supercell."""
    size = round(abs(np.linalg.det(matrix)))
    forms = sorted(hermite_normal_forms(size), key=lambda h: (h[0][0], h[1][1], h[0][1], h[0][2], h[1][2]))
    images = [np.asarray(matrix) @ r for r in rotations]
    return next(form for form in forms if any(same_lattice(form, image) for image in images))


def subgroup(generator, grid):
    """The q-points that are multiples of one."""
    n = np.array(grid)
    return frozenset(tuple(int(x) for x in m * np.asarray(generator) % n) for m in range(order(generator, grid)))


def maximal_cyclic_orbits(rotations, grid):
    """Orbits of the cyclic subgroups of q-points that lie in no larger one; each as its members' order."""
    cyclic = {subgroup(q, grid) for q in qpoints(grid)}
    maximal = [c for c in cyclic if not any(c < d for d in cyclic)]
    group = keeping(rotations, grid)
    orbits = {frozenset(frozenset(rotate(r, q, grid) for q in c) for r in group) for c in maximal}
    return sorted(len(next(iter(orbit))) for orbit in orbits)


def lengths_of_minkowski(cell):
    """The three successive minima of a lattice, by trying all small combinations of a reduced basis."""
    from ase.geometry import minkowski_reduce

    reduced, _ = minkowski_reduce(cell)
    return np.sort(np.linalg.norm(reduced, axis=1))
