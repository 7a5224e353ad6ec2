"""The standard axes that elastic constants refer to, and which constants a crystal has.

Axes are those of the IEEE Standard on Piezoelectricity (176-1987), made of the shortest lattice vectors:

- cubic: X, Y and Z along the fourfold axes (twofold in 23 and m-3);
- hexagonal, tetragonal: Z along the main axis, X along a, the shortest lattice vector across it;
- trigonal: Z along the threefold axis, X along a twofold axis (or a mirror's normal) where there is one, otherwise
  along a; a rhombohedral lattice is in the obverse setting;
- orthorhombic: Z, X and Y along c < a < b;
- monoclinic: Y along the unique axis b, Z along c, with c < a the two shortest lattice vectors across b, and an obtuse
  angle between them;
- triclinic: Z along c, X in the plane of a and c, with c < a < b the three shortest lattice vectors, c at obtuse angles
  to a and b, right-handed.

This leaves the sense of axes open in trigonal crystals with a primitive lattice (the sign of C14), in the classes 3 and
-3 (C15), and in 4, -4 and 4/m (C16); and lengths can be equal by chance. Of the axes that are left, those are chosen in
which a sum over pairs of atoms is positive: of ``w y y y z`` where the sign of C14 is open (bonds rise along +Y), of
``w x x x z`` for C15 and of ``w x x x y`` for C16, with (x, y, z) the vector from atom to atom and the weight
``w = Z1 Z2 exp(-r^2 / 2 s^2) / r^4``, Z being atomic numbers and s twice the mean covalent radius. So axes follow
from the structure alone, neither from the lattice vectors given nor from the calculator: a constant can have any sign.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from ndsc.crystal import Crystal, as_crystal
from ndsc.errors import InternalError
from ndsc.force_constants.space_group import cartesian_rotations, distinct_directions, rotation_axis
from ndsc.rounding import rounded

FloatArray = NDArray[np.float64]

#: Lengths that agree to this share, and cosines below it, are equal and zero.
TIE = 1e-3
#: Lattice vectors up to this multiple of the reduced ones are looked at.
REACH = 4
#: Parts of the pair sum below this share of it are zero.
SMALLEST_SENSE = 1e-6

_NAMES = {
    "cubic": "11 12 44",
    "hexagonal": "11 12 13 33 44 66",
    "trigonal_high": "11 12 13 14 33 44 66",
    "trigonal_low": "11 12 13 14 15 33 44 66",
    "tetragonal_high": "11 12 13 33 44 66",
    "tetragonal_low": "11 12 13 16 33 44 66",
    "orthorhombic": "11 12 13 22 23 33 44 55 66",
    "monoclinic": "11 12 13 15 22 23 25 33 35 44 46 55 66",
    "triclinic": " ".join(f"{i}{j}" for i in range(1, 7) for j in range(i, 7)),
}
# Last space group of each Laue class, in order.
_LAST_SPACE_GROUP = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (88, "tetragonal_low"), (142, "tetragonal_high"),
    (148, "trigonal_low"), (167, "trigonal_high"), (194, "hexagonal"), (230, "cubic"),
)  # fmt: skip
# What decides between axes that the lattice leaves open, the most important first.
_SENSES = {
    "trigonal_high": "24",
    "trigonal_low": "24 15",
    "tetragonal_low": "16",
    "orthorhombic": "11 22",
    "monoclinic": "15 35 11 33",
    "triclinic": "15 14 16 35 34 24 11 22 33",
}
# Traces of proper rotations by their order.
_TRACES = {2: -1, 3: 0, 4: 1, 6: 2}
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def standard_orientation(structure: Atoms | Crystal, *, symprec: float | None = None) -> tuple[Atoms, str]:
    """The same cell, turned to the standard axes, rounded to 1e-8 Å; and the Laue class.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        Any cell of the crystal.
    symprec : float, Å, optional
        Tolerance of the symmetry search, when `structure` is Atoms.
    """
    crystal = as_crystal(structure, symprec=symprec)
    laue_class = next(name for last, name in _LAST_SPACE_GROUP if crystal.primitive.number <= last)
    rotation = _standard_frame(crystal.primitive, laue_class)
    turned = crystal.atoms.copy()
    turned.set_cell(turned.cell.array @ rotation.T)
    turned.positions = turned.positions @ rotation.T
    return rounded(turned), laue_class


def constant_names(laue_class: str) -> list[str]:
    """Voigt indices of the constants of a Laue class, ``["11", "12", …]``."""
    return _NAMES[laue_class].split()


def without_forbidden(matrix: FloatArray, laue_class: str) -> FloatArray:
    """Zero what the strains of a lower class leave as noise: C15 and its like, and C14 in hexagonal crystals."""
    cleaned = matrix.copy()
    fifteen = [(0, 4), (1, 4), (3, 5)]
    fourteen = [(0, 3), (1, 3), (4, 5)]
    forbidden = {"trigonal_high": fifteen, "hexagonal": fifteen + fourteen}.get(laue_class, [])
    for i, j in forbidden:
        cleaned[i, j] = cleaned[j, i] = 0.0
    return cleaned


def rotate_voigt(matrix: FloatArray, rotation: FloatArray) -> FloatArray:
    """(6, 6) array : a Voigt matrix of elastic constants in other axes, the rows of `rotation`."""
    return _voigt(_turned(_tensor(matrix), rotation))


def _standard_frame(crystal: Crystal, laue_class: str) -> FloatArray:
    """(3, 3) array : the standard axes of a primitive cell as rows."""
    axes = {order: _axes_of_order(crystal, order) for order in _TRACES}
    reduced = minkowski_reduce(crystal.atoms.cell.array)[0]
    vectors = np.indices((2 * REACH + 1,) * 3).reshape(3, -1).T - REACH
    lattice = vectors[np.any(vectors != 0, axis=1)] @ np.asarray(reduced)
    lattice = lattice[np.argsort(np.linalg.norm(lattice, axis=1), kind="stable")]
    if laue_class == "triclinic":
        frames = _triclinic(lattice)
    elif laue_class == "monoclinic":
        frames = _monoclinic(lattice, axes[2][0])
    elif laue_class == "orthorhombic":
        frames = _orthorhombic(lattice, axes[2])
    elif laue_class == "cubic":
        frames = _right_handed(axes[4] if len(axes[4]) else axes[2])
    else:
        order = {"tetragonal": 4, "trigonal": 3, "hexagonal": 6}[laue_class.split("_")[0]]
        twofold = axes[2] if laue_class == "trigonal_high" else None
        frames = _with_main_axis(lattice, axes[order][0], twofold)
    if not frames:
        raise InternalError(f"No standard axes of {crystal.describe()} were found. Please report this structure.")
    sums = [np.zeros((3, 3, 3, 3))] if laue_class not in _SENSES else _pair_sums(crystal)
    names = _SENSES.get(laue_class, "11").split()

    def preference(frame: FloatArray) -> tuple[float, ...]:
        turned = [_voigt(_turned(one, frame)) for one in sums]
        senses = [float(matrix[int(name[0]) - 1, int(name[1]) - 1]) for matrix in turned for name in names]
        # Of axes that are the same by symmetry, those are taken that turn the crystal least.
        return *(round(sense / SMALLEST_SENSE) for sense in senses), round(float(np.trace(frame)), 6)

    return max(frames, key=preference)


def _axes_of_order(crystal: Crystal, order: int) -> FloatArray:
    """(n, 3) array : unit vectors along the rotation and rotoinversion axes of an order, one for each axis."""
    rotations = cartesian_rotations(crystal.point_group, crystal.atoms.cell.array)
    proper = rotations * np.sign(np.linalg.det(rotations))[:, None, None]
    chosen = proper[np.rint(np.trace(proper, axis1=1, axis2=2)) == _TRACES[order]]
    found = [axis for axis in (rotation_axis(rotation) for rotation in chosen) if axis is not None]
    return distinct_directions(np.array(found)) if found else np.zeros((0, 3))


def _frame(z: FloatArray, x: FloatArray) -> FloatArray:
    """Right-handed axes as rows: Z along z, X in the plane of z and x."""
    third = z / np.linalg.norm(z)
    first = x - np.dot(x, third) * third
    first = first / np.linalg.norm(first)
    return np.array([first, np.cross(third, first), third])


def _shortest(lattice: FloatArray) -> list[FloatArray]:
    """The vectors, of a list sorted by length, that are as short as the first."""
    lengths = np.linalg.norm(lattice, axis=1)
    return list(lattice[lengths <= lengths[0] * (1 + TIE)])


def _independent_of(lattice: FloatArray, *others: FloatArray) -> FloatArray:
    """The vectors that are not in the line or plane of one or two others."""
    units = lattice / np.linalg.norm(lattice, axis=1)[:, None]
    basis = np.linalg.svd(np.array(others))[2][: len(others)]
    rest = units - (units @ basis.T) @ basis
    return np.asarray(lattice[np.linalg.norm(rest, axis=1) > TIE])


def _obtuse(first: FloatArray, second: FloatArray) -> bool:
    return bool(np.dot(first, second) <= TIE * np.linalg.norm(first) * np.linalg.norm(second))


def _triclinic(lattice: FloatArray) -> list[FloatArray]:
    return [
        _frame(c, a)
        for c in _shortest(lattice)
        for a in _shortest(_independent_of(lattice, c))
        if _obtuse(c, a)
        for b in _shortest(_independent_of(lattice, c, a))
        if _obtuse(c, b) and np.linalg.det([a, b, c]) > 0
    ]


def _monoclinic(lattice: FloatArray, unique: FloatArray) -> list[FloatArray]:
    across = _across(lattice, unique)
    return [_frame(c, a) for c in _shortest(across) for a in _shortest(_independent_of(across, c)) if _obtuse(c, a)]


def _orthorhombic(lattice: FloatArray, axes: FloatArray) -> list[FloatArray]:
    periods = [np.linalg.norm(_along(lattice, axis)[0]) for axis in axes]
    return [
        frame
        for frame in _right_handed(axes)
        for x, y, z in [[periods[int(np.argmax(np.abs(axes @ axis)))] for axis in frame]]
        if z <= x * (1 + TIE) and x <= y * (1 + TIE)
    ]


def _right_handed(axes: FloatArray) -> list[FloatArray]:
    """All right-handed frames of three perpendicular axes."""
    signed = [sign * axis for axis in axes for sign in (1.0, -1.0)]
    return [_frame(z, x) for z in signed for x in signed if abs(np.dot(z, x)) < 0.5]


def _with_main_axis(lattice: FloatArray, main: FloatArray, twofold: FloatArray | None) -> list[FloatArray]:
    """Z along the main axis, X along twofold axes or the shortest vectors across; the obverse ones if rhombohedral."""
    firsts = _shortest(_across(lattice, main)) if twofold is None else [*twofold, *-twofold]
    frames = [_frame(z, x) for z in (main, -main) for x in firsts]
    return [frame for frame in frames if _is_obverse(lattice @ frame.T)]


def _is_obverse(lattice: FloatArray) -> bool:
    """Whether the lattice, in candidate axes, is not rhombohedral, or rhombohedral in the obverse setting."""
    heights = lattice[:, 2]
    scale = float(np.linalg.norm(lattice[0]))
    lowest = float(np.min(heights[heights > TIE * scale]))
    x, y, _ = lattice[np.abs(heights - lowest) < TIE * scale][0]
    # Obverse: the lattice points of the lowest layer nearest to the axis are at azimuths of 30, 150 and 270 degrees.
    return bool(((x + 1j * y) ** 3).imag > -TIE * scale**3)


def _across(lattice: FloatArray, axis: FloatArray) -> FloatArray:
    return np.asarray(lattice[np.abs(lattice @ axis) < TIE * np.linalg.norm(lattice, axis=1)])


def _along(lattice: FloatArray, axis: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(lattice, axis=1)
    return np.asarray(lattice[lengths - np.abs(lattice @ axis) < TIE**2 * lengths])


def _pair_sums(crystal: Crystal) -> list[FloatArray]:
    """Pair sums of the module's convention, relative to their size, two ranges and the moments' own."""
    atoms = crystal.atoms
    width = 2 * float(np.mean(covalent_radii[atoms.numbers]))
    first, second, vectors = neighbour_list("ijD", atoms, 6 * width)
    squares = np.sum(vectors**2, axis=1)
    directions = vectors / np.sqrt(squares)[:, None]
    weights = [
        atoms.numbers[first] * atoms.numbers[second] * np.exp(-squares / (2 * (scale * width) ** 2))
        for scale in (1.0, 1.5)
    ]
    if crystal.is_magnetic:
        moments = atoms.get_initial_magnetic_moments().reshape(len(atoms), -1)
        weights.append(np.sum(moments[first] * moments[second], axis=1) * np.exp(-squares / (2 * width**2)))
    squared = np.einsum("ni,nj->nij", directions, directions).reshape(-1, 9)
    sums = [((squared * w[:, None]).T @ squared).reshape(3, 3, 3, 3) for w in weights]
    return [one / max(float(np.sum(np.abs(w))), 1e-300) for one, w in zip(sums, weights, strict=True)]


def _turned(tensor: FloatArray, frame: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ai,bj,ck,dl,ijkl->abcd", *[frame] * 4, tensor, optimize=True))


def _voigt(tensor: FloatArray) -> FloatArray:
    return np.array([[tensor[*row, *column] for column in _VOIGT] for row in _VOIGT])


def _tensor(matrix: FloatArray) -> FloatArray:
    tensor = np.zeros((3, 3, 3, 3))
    for (row, (i, j)), (column, (k, m)) in itertools.product(enumerate(_VOIGT), repeat=2):
        for p, q in ((i, j), (j, i)):
            tensor[p, q, k, m] = tensor[p, q, m, k] = matrix[row, column]
    return tensor
