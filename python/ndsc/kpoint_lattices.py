"""Generalised k-point grids: the lattices that sample a crystal densely with few points.

The error of a Γ-centred grid comes from the lattice vectors of its supercell B (`kgrid`): an integrand that decays with
the distance, as a density matrix does, is wrong by what it holds at the vectors of B, and most at the shortest. Moreno
and Soler, Phys. Rev. B 45, 13891 (1992), chose B for the length of that vector, not along the axes of the unit cell.

Two conditions are added here. The grid must have the symmetry of the crystal, or unperturbed cells would get forces and
stresses that the crystal forbids. And every supercell of a q-point grid must divide B, so that the grid folds into it
without a point to spare, which a supercell of n cells needs to have 1/n of the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InputError
from ndsc.kpoints import LARGEST_GRID, KpointGrid, kgrid_size, normal_kgrid
from ndsc.progress import Progress, if_slow, silent
from ndsc.qgrid import checked_grid, keeps_grid
from ndsc.sublattices import hermite_normal_forms, reduce_supercells, smith_normal_form

#: Points, in those of the supercells' grid: without `max_points`, and the most that can be asked for.
USUAL_INDEX = 64
LARGEST_INDEX = 300


@dataclass(frozen=True)
class KpointLattice:
    """A grid of k-points of the unit cell.

    Attributes
    ----------
    kgrid : tuple
        As a :class:`ndsc.CalculatorSpec` takes it: three ints, or the rows of a supercell matrix.
    points : int
        Points in the unit cell.
    reduced : int
        Those that are left when k and -k are counted once.
    length : float, Å
        Shortest lattice vector of the supercell in which all points are periodic: the grid is exact for what reaches
        less far.
    """

    kgrid: KpointGrid
    points: int
    reduced: int
    length: float

    def to_dict(self) -> dict[str, object]:
        """Everything as numbers, for JSON."""
        return {"kgrid": np.array(self.kgrid).tolist(), "points": self.points, "reduced": self.reduced,
                "length_angstrom": self.length}  # fmt: skip


def find_kpoint_lattices(
    structure: Atoms | Crystal,
    grid: int | Sequence[int],
    *,
    max_points: int | None = None,
    symprec: float | None = None,
    progress: Progress = silent,
) -> list[KpointLattice]:
    """The grids of k-points that no other with as few points beats, from the coarsest to the densest.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        The unit cell.
    grid : int or three ints
        The q-point grid of the supercells; every grid of k-points folds without loss into each of its supercells.
    max_points : int, optional
        Most points in the unit cell; 64 times those of the q-point grid without it, and never more than 20 million.
    symprec : float, Å, optional
        Distance tolerance of the symmetry search.
    progress : callable
        Called with (task, done, total) when this takes longer than a second.

    Returns
    -------
    list of KpointLattice
        Each is longer (:attr:`KpointLattice.length`) than all with fewer points, and has every rotation of the crystal
        that the q-point grid has. Of several of one length and size, the first in the order of
        :func:`ndsc.hermite_normal_forms`.

    Raises
    ------
    InputError
        When the grid is not a grid, has more than `max_points` points itself, or `max_points` is above 300 times that
        or above 20 million.

    Notes
    -----
    All sublattices are looked at (as Hermite normal forms), so that none is missed. P. Wisesa, K. A. McGill and
    T. Mueller, Phys. Rev. B 93, 155109 (2016), and W. S. Morgan et al., Comput. Mater. Sci. 173, 109340 (2020),
    measured what such grids save.
    """
    crystal = as_crystal(structure, symprec=symprec)
    divisions = np.array(checked_grid(grid), dtype=np.int64)
    smallest = int(np.prod(divisions))
    if smallest > LARGEST_GRID:
        raise InputError(
            f"The grid {divisions.tolist()} has {smallest} points, and a grid of k-points may have at most "
            f"{LARGEST_GRID}. "
            "Give a coarser grid."
        )
    most = min(LARGEST_INDEX * smallest, LARGEST_GRID)
    if max_points is not None and not smallest <= max_points <= most:
        raise InputError(
            f"max_points = {max_points} is not between {smallest}, the points of the grid {divisions.tolist()} itself, "
            f"and {most}. Give another number."
        )
    largest = min(USUAL_INDEX, most // smallest) if max_points is None else max_points // smallest
    cell = crystal.atoms.cell.array
    rotations = _rotations_of_grid(crystal.point_group, divisions)
    found: list[KpointLattice] = []
    longest = 0.0
    report = if_slow(progress)
    for index in range(1, largest + 1):
        report("lattices of k-points", index - 1, largest)
        matrices = _symmetric(hermite_normal_forms(index), rotations) * divisions
        if len(matrices):
            # The shortest vector of a Minkowski-reduced basis is the shortest of the lattice.
            lengths = np.linalg.norm(reduce_supercells(cell, matrices) @ cell, axis=2).min(axis=1)
            best = int(np.argmax(lengths > lengths.max() * (1 - 1e-9)))
            if lengths[best] > longest * (1 + 1e-9):
                longest = float(lengths[best])
                found.append(_lattice(matrices[best], longest))
    return found


def _rotations_of_grid(point_group: NDArray[np.int64], divisions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rotations that keep the grid, acting from the right on rows in the basis of ``diag(divisions) @ cell``."""
    # x' = W x for columns, so v' = v W^T for the coordinates v of a lattice vector, and v = w diag(N) in the basis.
    acting = point_group.transpose(0, 2, 1)
    kept = acting[keeps_grid(acting, divisions.tolist())]
    found: NDArray[np.int64] = divisions[:, None] * kept // divisions
    return found


def _symmetric(forms: NDArray[np.int64], rotations: NDArray[np.int64]) -> NDArray[np.int64]:
    """The forms whose lattice every rotation turns into itself."""
    determinant = round(abs(np.linalg.det(forms[0])))
    inverses = np.rint(determinant * np.linalg.inv(forms)).astype(np.int64)
    for rotation in rotations:
        kept = np.all((forms @ rotation @ inverses) % determinant == 0, axis=(1, 2))
        forms, inverses = forms[kept], inverses[kept]
    return forms


def _lattice(matrix: NDArray[np.int64], length: float) -> KpointLattice:
    kgrid = normal_kgrid(matrix)
    points = kgrid_size(kgrid)
    # k and -k are the same point where 2 k is 0: for each even invariant factor, two such values.
    own_opposites = 2 ** sum(factor % 2 == 0 for factor in smith_normal_form(matrix)[0].tolist())
    return KpointLattice(kgrid, points, (points + own_opposites) // 2, length)
