"""The fewest displaced supercells that determine the force constants: which atom to move, where to, and which way.

One atom is displaced at a time. In a supercell, the operations of the crystal's space group that keep the supercell's
lattice give, from one displacement of an atom, its images under the site group of that atom. A set of displacements
is enough when these images span the three directions for every atom of the unit cell: then the dynamical matrix is
determined at every q-point that the supercell holds. Nothing less determines it at the q-points that only this
supercell holds, because the operations that keep the supercell's lattice are exactly those that keep such a q-point, or
take it to another one of its multiples. A displacement whose opposite is among its own images cancels the forces of
second order in the displacement by itself; any other is made with both signs.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ndsc.benchmark_settings import PhononSettings
from ndsc.errors import InputError, InternalError
from ndsc.force_constants.space_group import (
    SAME_DIRECTION,
    FloatArray,
    SpaceGroupAction,
    distinct_directions,
    first_of_each,
    rotation_axis,
)
from ndsc.progress import Progress, if_slow, silent
from ndsc.rounding import rounded
from ndsc.supercells import SupercellSet, make_supercell

#: The smallest mean square of the images of unit displacements along any direction; one third would be the best.
LEAST_SPREAD = 0.03
#: Atoms in all displaced supercells of a crystal, some gigabytes of them.
MOST_DISPLACED_ATOMS = 50_000_000


def phonon_displacements(
    supercells: SupercellSet, *, displacement: float = 0.01, progress: Progress = silent
) -> list[Atoms]:
    """All structures to label for the force constants: each supercell perfect, and with one atom displaced.

    Parameters
    ----------
    supercells : SupercellSet
        Supercells that hold every q-point of the grid, of the relaxed unit cell.
    displacement : float, Å
        Length of the displacements.
    progress : callable
        Called with ("displaced supercells", supercells done, all) when this takes longer than a second.

    Returns
    -------
    list of ase.Atoms
        Supercell by supercell, the perfect one first. Cells and positions are rounded to 1e-8 Å and depend on nothing
        but the input, so that they can be keys of stored labels. ``info`` holds ``ndsc_name`` (``"phonon-s003-000"``;
        000 is the perfect supercell), ``config_type`` (``"phonon"`` or ``"phonon_perfect"``), ``ndsc_matrix`` (9
        integers, rows first), ``ndsc_supercell`` (index in the set), ``ndsc_atom`` (index of the displaced atom in the
        supercell, -1 for none) and ``ndsc_vector`` (its displacement, Å, three numbers).

    Raises
    ------
    InputError
        When the displacement is not a small positive length, or the structures have more than 50 million atoms in all.
    """
    crystal = supercells.crystal
    action = SpaceGroupAction.of_crystal(crystal).preserving_grid(supercells.grid)
    report = if_slow(progress)
    frames: list[Atoms] = []
    n_atoms = 0
    for index, (matrix, size) in enumerate(zip(supercells.matrices, supercells.sizes.tolist(), strict=True)):
        report("displaced supercells", index, len(supercells))
        found = supercell_displacements(action, crystal.atoms, matrix, displacement=displacement)
        n_atoms += (len(found) + 1) * size * len(crystal.atoms)
        if n_atoms > MOST_DISPLACED_ATOMS:
            raise InputError(
                f"The displaced supercells of {crystal.describe()} for the grid {list(supercells.grid)} have more than "
                f"{MOST_DISPLACED_ATOMS:,} atoms in all: {index + 1} of {len(supercells)} supercells alone need "
                f"{n_atoms:,}. Choose a smaller grid, or give a unit cell with fewer atoms or more symmetry."
            )
        frames += _frames(crystal.atoms, matrix, index, found)
    report("displaced supercells", len(supercells), len(supercells))
    return frames


def supercell_displacements(
    action: SpaceGroupAction, atoms: Atoms, matrix: ArrayLike, *, displacement: float
) -> list[tuple[int, FloatArray]]:
    """The fewest displacements for one supercell (rows of `matrix`), under the operations given.

    Returns
    -------
    list of (int, (3,) float array)
        Index of an atom of the unit cell, at the origin of the supercell, and its Cartesian displacement, Å.
    """
    PhononSettings(displacement=displacement)
    kept = action.preserving_supercell(matrix)
    axes = _orthonormal(atoms.cell.array)
    result = []
    directions: dict[bytes, list[FloatArray]] = {}  # many atoms have the same site group
    for atom in np.unique(np.min(kept.permutations, axis=0)).tolist():
        at_site = kept.permutations[:, atom] == atom
        if at_site.tobytes() not in directions:
            directions[at_site.tobytes()] = fewest_directions(kept.cartesian[at_site], axes)
        result += [(atom, displacement * direction) for direction in directions[at_site.tobytes()]]
    return result


def fewest_directions(site_group: FloatArray, axes: FloatArray) -> list[FloatArray]:
    """The fewest unit vectors whose images under a site group span space, each with its opposite where needed.

    Parameters
    ----------
    site_group : (n, 3, 3) float array
        Cartesian rotations that leave the atom in place, repetitions allowed.
    axes : (3, 3) float array
        Orthonormal rows, used where the group has no axes of its own.

    Returns
    -------
    list of (3,) float arrays
        Directions to displace along, opposites included.
    """
    group = _distinct(site_group.reshape(-1, 9)).reshape(-1, 3, 3)
    candidates = _candidate_directions(group, axes)
    images = np.einsum("gij,cj->cgi", group, candidates)
    spreads = np.einsum("cgi,cgj->cij", images, images) / len(group)
    reversible = np.min(np.linalg.norm(images + candidates[:, None, :], axis=2), axis=1) < SAME_DIRECTION
    costs = np.where(reversible, 1, 2)
    best: tuple[int, float, tuple[int, ...]] | None = None
    for n_directions in (1, 2, 3):
        if best is not None and best[0] <= n_directions:
            break
        for chosen in itertools.combinations(range(len(candidates)), n_directions):
            cost = int(sum(costs[list(chosen)]))
            if best is not None and cost > best[0]:
                continue
            spread = round(float(np.linalg.eigvalsh(spreads[list(chosen)].sum(axis=0))[0]) / cost, 6)
            if spread >= LEAST_SPREAD and (best is None or (cost, -spread) < (best[0], -best[1])):
                best = (cost, spread, chosen)
    if best is None:
        raise InternalError(f"No displacements span space under {group.tolist()}. Please report this structure.")
    return [
        vector for i in best[2] for vector in ([candidates[i]] if reversible[i] else [candidates[i], -candidates[i]])
    ]


def _candidate_directions(group: FloatArray, axes: FloatArray) -> FloatArray:
    """Axes of the group, three orthonormal vectors that fit them, and the bisectors between those (up to sign)."""
    base = _ordered_axes(group)
    frame = _orthonormal(np.array([*_independent(base), *axes]))
    base = list(distinct_directions(np.array([*frame, *base])))
    combined = list(base)
    for pair in itertools.combinations(base[:9], 2):
        combined += [pair[0] + sign * pair[1] for sign in (1, -1)]
    for first, second, third in itertools.combinations(list(frame), 3):
        combined += [first + s * second + t * third for s in (1, -1) for t in (1, -1)]
    return distinct_directions(np.array(combined))


def _ordered_axes(group: FloatArray) -> list[FloatArray]:
    """The axes of a group, in an order that does not depend on how its rotations are listed.

    Of displacements that serve equally well the first is taken, so the order decides which cells are calculated; stored
    labels rely on it. The z axis comes first, then axes of rotations before those of mirrors, and those closest to x.
    """
    axes: dict[tuple[float, ...], FloatArray] = {}
    proper: set[tuple[float, ...]] = set()
    for rotation in group:
        axis = rotation_axis(rotation)
        if axis is not None:
            axis = axis * np.sign(axis[np.argmax(np.abs(axis) > 1e-3)])
            x, y, z = np.round(axis, 4).tolist()
            axes[x, y, z] = axis
            if np.linalg.det(rotation) > 0:
                proper.add((x, y, z))

    def order(key: tuple[float, ...]) -> tuple[float, ...]:
        x, y, z = key
        return (abs(z) < 1, key not in proper, -x, abs(z), y, -z)

    return [axes[key] for key in sorted(axes, key=order)]


def _independent(vectors: list[FloatArray]) -> list[FloatArray]:
    """Those vectors that are not combinations of the ones before."""
    kept: list[FloatArray] = []
    for vector in vectors:
        if np.linalg.matrix_rank(np.array([*kept, vector]), tol=1e-3) > len(kept):
            kept.append(vector)
    return kept


def _orthonormal(vectors: FloatArray) -> FloatArray:
    """Three orthonormal rows by Gram and Schmidt, from vectors in order of preference that span space."""
    rows: list[FloatArray] = []
    for vector in vectors:
        rest = vector / np.linalg.norm(vector)
        for row in rows:
            rest = rest - np.dot(row, rest) * row
        if np.linalg.norm(rest) > 1e-3:
            rows.append(rest / np.linalg.norm(rest))
        if len(rows) == 3:
            break
    return np.array(rows)


def _distinct(rows: FloatArray) -> FloatArray:
    """Distinct rows, the first of each, in their order."""
    return np.array(list(first_of_each(rows, np.zeros(0))))


def _frames(atoms: Atoms, matrix: ArrayLike, index: int, displacements: list[tuple[int, FloatArray]]) -> list[Atoms]:
    perfect = rounded(make_supercell(atoms, matrix))
    basis = perfect.arrays.pop("ndsc_basis")
    at_origin = np.all(perfect.arrays.pop("ndsc_lattice_point") == 0, axis=1)
    frames = [_named(perfect, matrix, index, 0, atom=-1, vector=np.zeros(3))]
    for number, (basis_atom, displacement) in enumerate(displacements, start=1):
        atom = int(np.flatnonzero(at_origin & (basis == basis_atom))[0])
        displaced = perfect.copy()
        displaced.positions[atom] += displacement
        displaced = rounded(displaced)
        vector = np.round(displaced.positions[atom] - perfect.positions[atom], 8)
        frames.append(_named(displaced, matrix, index, number, atom=atom, vector=vector))
    return frames


def _named(atoms: Atoms, matrix: ArrayLike, index: int, number: int, *, atom: int, vector: FloatArray) -> Atoms:
    info: dict[str, Any] = {
        "ndsc_name": f"phonon-s{index:03d}-{number:03d}",
        "config_type": "phonon" if number else "phonon_perfect",
        "ndsc_matrix": np.asarray(matrix, dtype=np.int64).reshape(9),
        "ndsc_supercell": index,
        "ndsc_atom": atom,
        "ndsc_vector": vector,
    }
    copy = atoms.copy()
    copy.info.update(info)
    return copy
