"""Which element is on which site of a supercell: every decoration up to symmetry, or where there are many, by chance.

Two decorations are the same when a symmetry operation of the crystal, or a translation by one of its lattice vectors,
brings one onto the other. Only operations that the superlattice has too are such symmetries of a supercell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray

from ndsc import _core
from ndsc.crystal import SAME_SITE, Crystal
from ndsc.errors import InputError
from ndsc.sublattices import make_supercell

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

#: Up to this number of decorations, equal ones among them, those of a supercell are enumerated.
MOST_ENUMERATED = 20_000
#: Compositions that are drawn from.
MOST_COMPOSITIONS = 20_000


def site_permutations(crystal: Crystal, matrix: ArrayLike) -> IntArray:
    """How the symmetry of a crystal permutes the sites of a supercell.

    Parameters
    ----------
    crystal : Crystal
    matrix : (3, 3) int array
        Of the supercell.

    Returns
    -------
    (n, n_atoms) int64 array
        Operation o brings site i onto site ``[o, i]``, in the order of :func:`ndsc.make_supercell`. Translations by
        lattice vectors of the crystal are among the operations.
    """
    m = np.asarray(matrix, dtype=np.int64).reshape(3, 3)
    supercell = make_supercell(crystal.atoms, m)
    points = np.unique(supercell.arrays["ndsc_lattice_point"], axis=0)
    inverse = np.linalg.inv(m.T)
    rotations, translations = [], []
    for rotation, translation in zip(crystal.rotations, crystal.translations, strict=True):
        turned = inverse @ rotation @ m.T
        exact = np.rint(turned)
        if np.abs(turned - exact).max() > 1e-6:
            continue  # another superlattice
        rotations += [exact.astype(np.int64)] * len(points)
        translations += [inverse @ (translation + point) for point in points]
    found, _ = _core.site_images(
        supercell.cell.array,
        supercell.get_scaled_positions(wrap=False),
        np.asarray(crystal.site_species[supercell.arrays["ndsc_basis"]], dtype=np.int64),
        np.ascontiguousarray(rotations),
        np.ascontiguousarray(translations),
        max(SAME_SITE, 2 * crystal.symprec),
    )
    return np.unique(np.asarray(found, dtype=np.int64), axis=0)


def enumerate_decorations(
    crystal: Crystal,
    matrix: ArrayLike,
    substitute: Mapping[str, Sequence[str]],
    concentration_restrictions: Mapping[str, Sequence[float]] | None = None,
) -> tuple[IntArray, IntArray]:
    """All decorations of a supercell, one of each that symmetry makes the same.

    Parameters
    ----------
    crystal : Crystal
    matrix : (3, 3) int array
        Of the supercell.
    substitute : mapping of str to sequence of str
        Elements that may be on the sites of an element of the crystal; sites of others stay as they are.
    concentration_restrictions : mapping of str to two floats, optional
        Smallest and largest fraction of an element among all atoms.

    Returns
    -------
    numbers : (n, n_atoms) int64 array
        Atomic numbers, in the order of :func:`ndsc.make_supercell`.
    multiplicity : (n,) int64 array
        How many decorations are the same as each.

    Raises
    ------
    InputError
        When there are more than can be enumerated, or the elements are not those of the crystal.
    """
    check_substitution(crystal.atoms, substitute, concentration_restrictions)
    parent = make_supercell(crystal.atoms, matrix)
    sites, choices = _sites(parent, substitute)
    total = math.prod(len(own) for own in choices)
    if total > MOST_ENUMERATED:
        raise InputError(
            f"{total:.3g} decorations of a supercell of {len(parent)} atoms are too many to enumerate. Take a smaller "
            "supercell, or draw some at random with make_configurations."
        )
    # Each decoration as the number whose digits are the choices of the sites.
    radix = max(len(own) for own in choices)
    digits = np.array(list(itertools.product(*(range(len(own)) for own in choices))), dtype=np.int64)
    powers = radix ** np.arange(len(sites), dtype=np.int64)[::-1]
    codes = digits @ powers
    position = np.full(len(parent), -1)
    position[sites] = np.arange(len(sites))
    smallest = codes.copy()
    for images in np.unique(position[site_permutations(crystal, matrix)[:, sites]], axis=0):
        # Sites that are exchanged have the same element in the crystal, and so the same choices.
        np.minimum(smallest, digits[:, images] @ powers, out=smallest)
    kept = np.flatnonzero(smallest == codes)
    multiplicity = np.unique(smallest, return_counts=True)[1]
    numbers = np.tile(parent.numbers, (len(kept), 1)).astype(np.int64)
    for column, (site, own) in enumerate(zip(sites, choices, strict=True)):
        numbers[:, site] = np.asarray(own)[digits[kept, column]]
    allowed = [_is_allowed(row, concentration_restrictions) for row in numbers]
    return numbers[allowed], multiplicity[allowed]


@dataclass(frozen=True, eq=False)
class Decorations:
    """The decorations of one supercell, in an order in which any first few of them have all compositions.

    Attributes
    ----------
    parent : (n_atoms,) int array
        Atomic numbers of the crystal's own atoms.
    numbers : (n, n_atoms) int array or None
        All distinct decorations; None where there are too many, so that they are drawn by chance.
    compositions : list of lists of (sites, atomic numbers)
        Where they are drawn: of each composition, for each element of the crystal that is substituted, the sites and
        what is distributed over them.
    """

    parent: IntArray
    numbers: IntArray | None
    compositions: list[list[tuple[IntArray, IntArray]]]

    @classmethod
    def of(
        cls,
        crystal: Crystal,
        matrix: ArrayLike,
        substitute: Mapping[str, Sequence[str]],
        concentration_restrictions: Mapping[str, Sequence[float]] | None = None,
    ) -> Decorations:
        """Find them; see :func:`enumerate_decorations`.

        Raises
        ------
        InputError
            When no decoration is within the restrictions.
        """
        parent = make_supercell(crystal.atoms, matrix)
        _, choices = _sites(parent, substitute)
        if math.prod(len(own) for own in choices) <= MOST_ENUMERATED:
            numbers, _ = enumerate_decorations(crystal, matrix, substitute, concentration_restrictions)
            found = cls(parent.numbers.astype(np.int64), numbers, [])
        else:
            check_substitution(crystal.atoms, substitute, concentration_restrictions)
            compositions = _compositions(parent, substitute, concentration_restrictions)
            found = cls(parent.numbers.astype(np.int64), None, compositions)
        if not len(found):
            said = ", ".join(
                f"{key} {low:g} to {high:g}" for key, (low, high) in (concentration_restrictions or {}).items()
            )
            raise InputError(
                f"No decoration of a supercell of {len(parent)} atoms has the concentrations {said}. Widen "
                "concentration_restrictions, or take a grid with larger supercells."
            )
        return found

    def __len__(self) -> int:
        """How many there are; where they are drawn by chance, how many compositions."""
        return len(self.compositions) if self.numbers is None else len(self.numbers)

    def pick(self, index: int, stream: Callable[[str], Callable[[int], FloatArray]]) -> IntArray:
        """Atomic numbers of the decoration of a configuration.

        Every decoration is taken once before one is taken again.

        Parameters
        ----------
        index : int
            Of the configuration.
        stream : callable
            Returns, for a name, a function that draws numbers uniform in (0, 1).
        """
        turn, position = divmod(index, len(self))
        order = np.argsort(stream(f"turn {turn}")(len(self)), kind="stable")
        if self.numbers is not None:
            return np.asarray(self.numbers[_spread(self.numbers, order)[position]])
        numbers = self.parent.copy()
        draw = stream(f"decoration {index}")
        for sites, elements in self.compositions[order[position]]:
            numbers[sites] = elements[np.argsort(draw(len(sites)), kind="stable")]
        return numbers


def check_substitution(
    crystal: Atoms,
    substitute: Mapping[str, Sequence[str]],
    concentration_restrictions: Mapping[str, Sequence[float]] | None = None,
    vegard: Mapping[str, float] | None = None,
) -> None:
    """Refuse a substitution that the crystal cannot have.

    Raises
    ------
    InputError
        When an element that is substituted is not in the crystal, or a table names others or lacks one.
    """
    own = sorted(set(crystal.get_chemical_symbols()))
    if foreign := sorted(set(substitute) - set(own)):
        raise InputError(
            f"substitute names {', '.join(foreign)}, and the crystal has {', '.join(own)}. Its keys are elements of "
            "the crystal; what may take their places are the values."
        )
    species = set(own) | {symbol for symbols in substitute.values() for symbol in symbols}
    if strange := sorted(set(concentration_restrictions or {}) - species):
        raise InputError(
            f"concentration_restrictions names {', '.join(strange)}, and there are {', '.join(sorted(species))}. "
            "Correct the name."
        )
    wanted = set(substitute) | {symbol for symbols in substitute.values() for symbol in symbols}
    if vegard is not None and (missing := sorted(wanted - set(vegard))):
        raise InputError(
            f"vegard has no lattice constant for {', '.join(missing)}. Give one for each of "
            f"{', '.join(sorted(wanted))}, of crystals in which all substituted sites have that element."
        )


def end_members(
    crystal: Atoms,
    substitute: Mapping[str, Sequence[str]],
    concentration_restrictions: Mapping[str, Sequence[float]] | None = None,
) -> list[IntArray]:
    """Decorations of the unit cell with one element on all sites of an element: the ends of the range of composition.

    Parameters
    ----------
    crystal : ase.Atoms
    substitute, concentration_restrictions
        As for :func:`enumerate_decorations`.

    Returns
    -------
    list of (n_atoms,) int arrays
        Atomic numbers, without those of the crystal itself.
    """
    parent = crystal.numbers.astype(np.int64)
    found = []
    for choice in itertools.product(*(dict.fromkeys(own) for own in substitute.values())):
        numbers = parent.copy()
        for symbol, other in zip(substitute, choice, strict=True):
            numbers[parent == atomic_numbers[symbol]] = atomic_numbers[other]
        if not np.array_equal(numbers, parent) and _is_allowed(numbers, concentration_restrictions):
            found.append(numbers)
    return found


def vegard_factor(
    parent: IntArray, numbers: IntArray, substitute: Mapping[str, Sequence[str]], vegard: Mapping[str, float]
) -> float:
    """By how much the cell vectors of a decoration are longer than the crystal's, by Vegard's law.

    Parameters
    ----------
    parent, numbers : (n,) int arrays
        Atomic numbers in the crystal and in the decoration.
    substitute : mapping of str to sequence of str
    vegard : mapping of str to float
        Lattice constants where all substituted sites have that element, in any unit.
    """
    sites = [number for number, z in enumerate(parent) if chemical_symbols[z] in substitute]
    before, after = (sum(vegard[chemical_symbols[all_[site]]] for site in sites) for all_ in (parent, numbers))
    return float(after / before)


def _sites(parent: Atoms, substitute: Mapping[str, Sequence[str]]) -> tuple[IntArray, list[list[int]]]:
    """The sites that are substituted, and the atomic numbers that each may have."""
    symbols = parent.get_chemical_symbols()
    sites = [site for site, symbol in enumerate(symbols) if symbol in substitute]
    return np.array(sites, dtype=np.int64), [
        [atomic_numbers[symbol] for symbol in dict.fromkeys(substitute[symbols[site]])] for site in sites
    ]


def _is_allowed(numbers: IntArray, restrictions: Mapping[str, Sequence[float]] | None) -> bool:
    return all(
        low - 1e-9 <= np.mean(numbers == atomic_numbers[symbol]) <= high + 1e-9
        for symbol, (low, high) in (restrictions or {}).items()
    )


def _compositions(
    parent: Atoms, substitute: Mapping[str, Sequence[str]], restrictions: Mapping[str, Sequence[float]] | None
) -> list[list[tuple[IntArray, IntArray]]]:
    """Of each composition that is allowed, what is distributed over the sites of each substituted element."""
    groups = []
    for symbol, choices in substitute.items():
        sites = np.flatnonzero(parent.symbols == symbol)
        own = [atomic_numbers[choice] for choice in dict.fromkeys(choices)]
        if math.comb(len(sites) + len(own) - 1, len(own) - 1) > MOST_COMPOSITIONS:
            raise InputError(
                f"{len(sites)} sites with {len(own)} elements have too many compositions. Take smaller supercells."
            )
        counts = [
            np.diff([-1, *bars, len(sites) + len(own) - 1]) - 1
            for bars in itertools.combinations(range(len(sites) + len(own) - 1), len(own) - 1)
        ]
        groups.append([(sites, np.repeat(own, count)) for count in counts])
    found = []
    for parts in itertools.islice(itertools.product(*groups), MOST_COMPOSITIONS):
        numbers = parent.numbers.copy()
        for sites, elements in parts:
            numbers[sites] = elements
        if _is_allowed(numbers, restrictions):
            found.append(list(parts))
    return found


def _spread(numbers: IntArray, order: IntArray) -> list[int]:
    """An order of decorations in which compositions take turns; `order` is that within a composition."""
    queues: dict[bytes, list[int]] = {}
    for number in order:
        queues.setdefault(np.sort(numbers[number]).tobytes(), []).append(int(number))
    rounds = max(map(len, queues.values()))
    return [queue[turn] for turn in range(rounds) for queue in queues.values() if turn < len(queue)]
