"""How large the weights of an atomic cluster expansion are expected to be.

ace-jax's smoothness prior, ``gamma``, grows with the radial and angular numbers of a function, but takes no account of
the sizes of the functions, which differ by orders of magnitude: a solid harmonic of degree l grows as the distance to
the power of l. Weights of large functions are then hardly held at all. So functions are measured in units of what they
are where neighbours lie about an atom in random places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ndsc.potentials.ace_settings import AceSettings
from ndsc.potentials.ace_tables import CLOSEST, AceTables

FloatArray = NDArray[np.float64]

#: Distances between which neighbours are taken to lie, the first in units of that of closest neighbours.
NEAREST, N_POINTS = 0.85, 1500


def prior_sizes(tables: AceTables, settings: AceSettings) -> FloatArray:
    """What the weights are divided by: (m,) array of the inverse of their expected sizes.

    Parameters
    ----------
    tables : AceTables
    settings : AceSettings
        `prior` and `smoothness`.
    """
    if settings.prior == "smoothness":
        return tables.gamma
    sizes = random_sizes(tables)
    scaled = tables.gamma**settings.smoothness * np.where(sizes > 0, sizes, 1.0)
    # One function in the middle has the weight one, so that scales are comparable between bases.
    return np.asarray(scaled / np.median(scaled) * np.median(tables.gamma))


def random_sizes(tables: AceTables) -> FloatArray:
    """(m,) array : root-mean-square functions among neighbours in random places.

    There is one neighbour in each cube of the distance of closest neighbours, from a little below that distance on;
    products of densities count as if these were independent.
    """
    n_elements = len(tables.elements)
    functions, pairs = [], []
    for centre in range(n_elements):
        density, pair = np.zeros(len(tables.density)), np.zeros(tables.n_pair)
        for neighbour in range(n_elements):
            own, other = _of_pair(tables, centre, neighbour)
            density, pair = density + own, pair + other
        density = np.sqrt(density)
        products = np.concatenate([np.prod(density[group], axis=1) for group in tables.products])
        functions.append(np.sqrt(tables.coupling.power(2) @ products**2))
        pairs.append(np.sqrt(pair))
    return np.concatenate([*functions, *pairs])


def _of_pair(tables: AceTables, centre: int, neighbour: int) -> tuple[FloatArray, FloatArray]:
    """Mean squares of densities and of pair functions from neighbours of one element."""
    closest = float(np.asarray(tables.source["basis"]["r0"])[centre][neighbour])
    r = np.linspace(max(NEAREST * closest, CLOSEST), tables.cutoff, N_POINTS)
    shell = r**2 * (r[1] - r[0]) / (closest**3 * len(tables.elements))
    values = tables.radial[centre, neighbour](r)
    radial, harmonic = tables.density.T
    degree = np.floor(np.sqrt(harmonic) + 1e-9).astype(int)
    reached = values[:, radial] * r[:, None] ** degree
    # Of a harmonic the square is 1 / 4π in the mean, and only that of degree zero has a mean itself.
    squares = shell @ reached**2
    means = np.where(degree == 0, np.sqrt(4.0 * np.pi) * (shell @ reached), 0.0)
    pairs = values[:, tables.n_radial :]
    return squares + means**2, 4.0 * np.pi * (shell @ pairs**2)
