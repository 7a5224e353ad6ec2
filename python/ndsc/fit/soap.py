"""The derivatives of a SOAP descriptor, several times sooner than quippy gives them.

A power spectrum is made of expansion coefficients, ``p_ab,l ~ sum_m c_a,lm c_b,lm``, and a coefficient is a sum over
the neighbours of a radial function of the distance times a harmonic polynomial of the direction. The derivatives of the
coefficients are fewer than those of the descriptor, and images of an atom are added up before the product. The radial
functions are read off quippy's own descriptors of two and three atoms in a row, so that they are quippy's to rounding;
an expansion that does not give quippy's derivatives in a first trial is not used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import factorial2

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: The six components of a virial that are rows, as positions in the flat nine: xx, xy, xz, yy, yz, zz.
COMPONENTS = (0, 1, 2, 4, 5, 8)
#: Below this distance, Å, quippy's radial functions are not smooth to rounding, and are not tabulated.
SHORTEST = 0.8
#: Chebyshev polynomials for the radial functions, on either side of where the cutoff function begins.
_DEGREE = 60
#: How small their last coefficients must be beside the largest, and how many of them.
SMOOTH, _TAIL = 1e-10, 8
#: Where the neighbour is that shows the signs, and how far apart the trial molecules are, Å and cutoffs.
_PROBE, _APART = 2.0, 3.0


@dataclass(frozen=True, eq=False)
class Centre:
    """What the descriptor of one atom depends on.

    Attributes
    ----------
    atoms : (k,) int array
        The atoms that it changes with.
    descriptor : (d,) array
    derivatives : (3k + 6, d) array
        With the position of each of these atoms together with its images, 1/Å, and the sums of the products of
        positions and derivatives (:data:`COMPONENTS`).
    """

    atoms: IntArray
    descriptor: FloatArray
    derivatives: FloatArray


@dataclass(frozen=True, eq=False)
class SoapExpansion:
    """Tables from which the descriptors of atoms of one species are made; plain arrays, fit for other processes.

    Attributes
    ----------
    number : int
        Atomic number of these atoms.
    species : tuple of int
        Atomic numbers of the neighbours, in quippy's order.
    cutoff, width : float, Å
    n_max, l_max : int
    centre : (n_max,) array
        Coefficients of the atom itself, l = 0.
    tables : (2, 2, degrees, (l_max + 1) * n_max) array
        Chebyshev coefficients of the radial functions and of their derivatives, from ``SHORTEST`` to ``cutoff - width``
        and from there on.
    """

    number: int
    species: tuple[int, ...]
    cutoff: float
    width: float
    n_max: int
    l_max: int
    centre: FloatArray
    tables: FloatArray

    def covers(self, frame: Atoms) -> bool:
        """Whether all species of a structure are known, and no two atoms are too close."""
        return set(frame.numbers.tolist()) <= set(self.species) and not len(neighbour_list("i", frame, SHORTEST))

    def centres(self, frame: Atoms) -> Iterator[Centre]:
        """All atoms of this species, in their order; the arrays of one are in memory at a time."""
        first, second, distances, vectors = neighbour_list("ijdD", frame, self.cutoff)
        order = np.argsort(first, kind="stable")
        first, second, distances, vectors = (part[order] for part in (first, second, distances, vectors))
        species = np.searchsorted(self.species, frame.numbers)
        for atom in np.flatnonzero(frame.numbers == self.number):
            pairs = slice(*np.searchsorted(first, [atom, atom + 1]))
            yield self._centre(int(atom), second[pairs], distances[pairs], vectors[pairs], species)

    def _centre(
        self, atom: int, neighbours: IntArray, distances: FloatArray, vectors: FloatArray, species: IntArray
    ) -> Centre:
        values, slopes = self._coefficients(distances, vectors)
        n_pairs, own = len(neighbours), self.species.index(self.number)
        atoms, place = np.unique(np.append(neighbours, atom), return_inverse=True)
        sums = np.zeros((len(atoms), n_pairs))
        sums[place[:-1], np.arange(n_pairs)] = 1.0
        # An atom may have no neighbours, and arrays of no size cannot be reshaped to -1.
        flat = slopes.reshape(n_pairs, int(np.prod(slopes.shape[1:])))
        summed = (sums @ flat).reshape(len(atoms), *slopes.shape[1:])
        total = np.zeros((len(self.species), *values.shape[1:]))
        total[own, :, 0] += self.centre
        change = np.zeros((3 * len(atoms) + len(COMPONENTS), len(self.species), *values.shape[1:]))
        forces = change[: 3 * len(atoms)].reshape(len(atoms), 3, *change.shape[1:])
        for kind in np.unique(species[neighbours]):
            of_kind = species[neighbours] == kind
            total[kind] += values[of_kind].sum(axis=0)
            which = np.flatnonzero(species[atoms] == kind)
            forces[which, :, kind] = summed[which]
            forces[place[-1], :, kind] -= summed[which].sum(axis=0)
            moments = vectors[of_kind].T @ slopes[of_kind].reshape(int(of_kind.sum()), -1)
            change[-len(COMPONENTS) :, kind] = moments.reshape(9, *values.shape[1:])[list(COMPONENTS)]
        return Centre(atoms, *self._spectrum(total, change))

    def _coefficients(self, distances: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(pairs, n, lm) array of what each neighbour adds, and (pairs, 3, n, lm) array of the derivatives of it."""
        degrees = np.repeat(np.arange(self.l_max + 1), 2 * np.arange(self.l_max + 1) + 1)
        radial, slope = self._radial(distances)
        radial, slope = radial[:, degrees].transpose(0, 2, 1), slope[:, degrees].transpose(0, 2, 1)
        directions = vectors / distances[:, None]
        values, gradients = _harmonics(self.l_max)(directions)
        over = radial / distances[:, None, None]
        along = slope * values[:, None] - over * (degrees * values)[:, None]
        slopes = along[:, None] * directions[:, :, None, None]
        slopes += over[:, None] * gradients[:, :, None]
        return radial * values[:, None], slopes

    def _radial(self, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(pairs, l, n) arrays: the radial functions and their derivatives."""
        found = np.zeros((2, len(distances), (self.l_max + 1) * self.n_max))
        inner = distances <= self.cutoff - self.width
        for (low, high), inside, table in zip(
            _segments(self.cutoff, self.width), (inner, ~inner), self.tables, strict=True
        ):
            angles = np.arccos(np.clip(2 * (distances[inside] - low) / (high - low) - 1, -1.0, 1.0))
            found[:, inside] = np.cos(angles[:, None] * np.arange(_DEGREE)) @ table
        shape = (len(distances), self.l_max + 1, self.n_max)
        return found[0].reshape(shape), found[1].reshape(shape)

    def _spectrum(self, total: FloatArray, change: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normalised power spectrum, and its derivatives, from those of the coefficients."""
        n_radial = len(self.species) * self.n_max
        larger, smaller = np.tril_indices(n_radial)
        factor = np.where(larger == smaller, 1.0, np.sqrt(2.0))
        total, change = total.reshape(n_radial, -1), change.reshape(len(change), n_radial, -1)
        spectrum = np.zeros((len(change) + 1, len(larger), self.l_max + 1))
        for degree in range(self.l_max + 1):
            part = slice(degree**2, (degree + 1) ** 2)
            of_total = total[:, part]
            spectrum[0, :, degree] = (of_total @ of_total.T)[larger, smaller] * factor
            product = change[:, :, part].reshape(-1, 2 * degree + 1) @ of_total.T
            product = product.reshape(len(change), n_radial, n_radial)
            spectrum[1:, :, degree] = (product + product.transpose(0, 2, 1))[:, larger, smaller] * factor
        flat = np.zeros((len(spectrum), len(larger) * (self.l_max + 1) + 1))  # quippy's last number is zero
        flat[:, :-1] = spectrum.reshape(len(spectrum), -1)
        flat /= np.linalg.norm(flat[0])
        flat[1:] -= (flat[1:] @ flat[0])[:, None] * flat[0]
        return flat[0], flat[1:]


def tabulate(text: str, descriptor_of: Callable[[str], Any]) -> SoapExpansion | None:
    """The expansion of quippy's description of a descriptor; None where its kind is not known, or tables do not do.

    Parameters
    ----------
    text : str
    descriptor_of : callable
        Makes quippy's descriptor of a description.
    """
    listed = re.search(r"species_Z=\{([\d ]+)\}", text)
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    try:
        species = tuple(int(number) for number in listed[1].split()) if listed else ()
        number, n_max, l_max = (int(words[key]) for key in ("Z", "n_max", "l_max"))
        cutoff, width = (float(words[key]) for key in ("cutoff", "cutoff_transition_width"))
    except (KeyError, ValueError):
        return None
    if number not in species or list(species) != sorted(species) or cutoff - width <= SHORTEST or cutoff <= _PROBE:
        return None
    raw = descriptor_of(text.replace("soap ", "soap normalise=F ", 1))
    own = species.index(number) * n_max + np.arange(n_max)

    def spectra(heights: list[list[float]]) -> FloatArray:
        """(molecules, l, n, n) array, not normalised: of an atom with others of its kind above and below it."""
        positions: list[list[float]] = []
        step, centres = _APART * cutoff, []
        for place, others in enumerate(heights):
            centres.append(len(positions))
            positions += [[place * step, 0.0, height] for height in (0.0, *others)]
        atoms = Atoms([number] * len(positions), positions, cell=[step * len(heights), step, step])
        found = raw.calc(atoms)["data"][centres, :-1]
        larger, smaller = np.tril_indices(n_max * len(species))
        found = (
            found.reshape(len(centres), len(larger), l_max + 1) / np.where(larger == smaller, 1, np.sqrt(2))[:, None]
        )
        square = np.zeros((len(centres), l_max + 1, n_max * len(species), n_max * len(species)))
        square[..., larger, smaller] = square[..., smaller, larger] = found.transpose(0, 2, 1)
        return square[..., own[:, None], own]

    alone, probe = spectra([[], [-_PROBE]])
    centre, both = _root(alone[0]), _root(probe)
    if centre @ both[0] < 0:
        both[0] *= -1
    first = both.copy()
    first[0] -= centre
    tables = []
    signs = (-1.0) ** np.arange(l_max + 1)[:, None]  # the probe is on the other side
    nodes = np.cos(np.pi * (np.arange(_DEGREE) + 0.5) / _DEGREE)
    for low, high in _segments(cutoff, width):
        distances = low + (high - low) * (nodes + 1) / 2
        # What is left of the two together is linear in each.
        cross = spectra([[-_PROBE, distance] for distance in distances]) - probe
        cross -= spectra([[distance] for distance in distances])
        cross[:, 0] += alone[0]
        norm = (first**2).sum(axis=-1)
        along = np.einsum("klab,lb->kla", cross, first)
        twice = np.einsum("kla,la->kl", along, first) / (2 * norm)
        second = signs * (along - twice[..., None] * first) / norm[:, None]
        table = chebyshev.chebfit(nodes, second.reshape(_DEGREE, -1), _DEGREE - 1)
        if np.abs(table[-_TAIL:]).max() > SMOOTH * np.abs(table).max():
            log.debug("The radial functions of %s are not smooth enough for tables of %d numbers.", text, _DEGREE)
            return None
        slopes = np.zeros_like(table)
        slopes[:-1] = chebyshev.chebder(table) * 2 / (high - low)
        tables.append([table, slopes])
    return SoapExpansion(number, species, cutoff, width, n_max, l_max, centre, np.array(tables))


def _segments(cutoff: float, width: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (SHORTEST, cutoff - width), (cutoff - width, cutoff)


def _root(squares: FloatArray) -> FloatArray:
    """The vectors whose outer products with themselves these are, up to their signs."""
    values, vectors = np.linalg.eigh(squares)
    root: FloatArray = vectors[..., -1] * np.sqrt(np.abs(values[..., -1:]))
    return root


@cache
def _harmonics(l_max: int) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Harmonic polynomials up to a degree: from (k, 3) unit vectors to (k, lm) values and (k, 3, lm) gradients.

    Those of degree l are orthogonal on the sphere, and the sum of their squares is one; any such basis serves, as a
    power spectrum does not change with it.
    """
    exponents = [(a, b, l - a - b) for l in range(l_max + 1) for a in range(l + 1) for b in range(l - a + 1)]  # noqa: E741
    place = {exponent: number for number, exponent in enumerate(exponents)}
    powers = np.array(exponents)
    # Derivatives of monomials, along each axis.
    derivative = np.zeros((3, len(exponents), len(exponents)))
    for axis, unit in enumerate(np.eye(3, dtype=int)):
        for number, exponent in enumerate(powers):
            if exponent[axis]:
                derivative[axis, place[tuple((exponent - unit).tolist())], number] = exponent[axis]
    laplacian = np.einsum("aij,ajk->ik", derivative, derivative)
    sums = powers[:, None] + powers[None]
    double = np.where(sums % 2, 0.0, factorial2(np.maximum(sums - 1, 1)))
    means = double.prod(axis=-1) / factorial2(sums.sum(axis=-1) + 1)
    blocks = []
    for degree in range(l_max + 1):
        own = np.flatnonzero(powers.sum(axis=1) == degree)
        # NumPy's decomposition: SciPy's fails where quippy was imported before SciPy.
        harmonic = np.linalg.svd(laplacian[:, own])[2][-(2 * degree + 1) :]
        basis = np.eye(len(exponents))[:, own] @ harmonic.T
        values, vectors = np.linalg.eigh(basis.T @ means @ basis)
        blocks.append(basis @ vectors / np.sqrt(values * (2 * degree + 1)))
    polynomials = np.hstack(blocks)
    gradients = np.einsum("aij,jm->iam", derivative, polynomials).reshape(len(exponents), -1)

    def evaluate(directions: FloatArray) -> tuple[FloatArray, FloatArray]:
        each = directions[:, :, None] ** np.arange(l_max + 1)
        monomials = np.prod([each[:, axis, powers[:, axis]] for axis in range(3)], axis=0)
        return monomials @ polynomials, (monomials @ gradients).reshape(len(directions), 3, polynomials.shape[1])

    return evaluate
