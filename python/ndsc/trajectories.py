"""Frames of a trajectory as configurations: supercells of the crystal that molecular dynamics has displaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.rounding import rounded

IntArray = NDArray[np.int64]

#: A supercell may be strained by this much, and thermal motion at constant pressure strains it by less.
LARGEST_STRAIN = 0.15
#: What an atom carries beside its element and position, and keeps.
KEPT = ("masses", "initial_magmoms", "initial_charges", "tags")


def trajectory_configurations(
    crystal: Crystal, path: str | Path, *, every: int = 1, part: str | None = None
) -> list[Atoms]:
    """The frames of a trajectory, as configurations to label or to choose from.

    Parameters
    ----------
    crystal : Crystal
        The unit cell.
    path : path
        Any file that ASE reads: extended XYZ, XDATCAR, ``.traj`` and so on. Each frame is a supercell of the crystal,
        in its orientation; its shape, diagonal or not, may change from one to the next.
    every : int
        Take every n-th frame.
    part : str, optional
        Name of this part of a database, which begins the names of its configurations.

    Returns
    -------
    list of ase.Atoms
        ``info`` has ``ndsc_name``, the ``config_type`` ``"trajectory"``, the supercell matrix ``ndsc_matrix`` and the
        number of the frame ``ndsc_index``. Energies, forces and velocities of the file are left out.

    Raises
    ------
    InputError
        When the file cannot be read, or a frame is no supercell of the crystal.
    """
    try:
        frames = read(path, index=slice(None, None, every))
    except FileNotFoundError:
        raise InputError(f"There is no trajectory {path}. Correct the path.") from None
    except Exception as error:  # each format has errors of its own
        raise InputError(
            f"The trajectory {path} cannot be read ({type(error).__name__}: {error}). Give a file that ASE reads, "
            "such as extended XYZ."
        ) from error
    prefix = "" if part is None else f"{part}-"
    found = []
    for number, frame in enumerate(frames):
        matrix = supercell_of(frame, crystal, f"Frame {number * every} of {path}")
        kept = {name: frame.arrays[name] for name in KEPT if name in frame.arrays}
        clean = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
        for name, values in kept.items():
            clean.set_array(name, values)
        clean.wrap()
        clean = rounded(clean)
        clean.info |= {
            "ndsc_name": f"{prefix}frame-{number * every:05d}",
            "config_type": "trajectory",
            "ndsc_matrix": matrix.reshape(9),
            "ndsc_index": number * every,
            **({} if part is None else {"ndsc_part": part}),
        }
        found.append(clean)
    if not found:
        raise InputError(f"The trajectory {path} has no frames.")
    return found


def supercell_of(frame: Atoms, crystal: Crystal, title: str) -> IntArray:
    """The matrix of the supercell that a frame is, which may be strained and whose atoms may be displaced.

    Parameters
    ----------
    frame : ase.Atoms
    crystal : Crystal
    title : str
        What messages call it.

    Returns
    -------
    (3, 3) int64 array
        Rows are lattice vectors in units of the unit cell.

    Raises
    ------
    InputError
        When its cell is no supercell, or it holds other atoms than that supercell.
    """
    unit = crystal.atoms
    multiple = frame.cell.array @ np.linalg.inv(unit.cell.array)
    matrix: IntArray = np.rint(multiple).astype(np.int64)
    size = round(float(np.linalg.det(matrix)))
    why = ""
    if abs(np.linalg.det(multiple)) < 1e-6:
        why = "it has no cell"
    elif size < 1 or np.max(np.abs(np.linalg.solve(matrix.astype(float), multiple) - np.eye(3))) > LARGEST_STRAIN:
        rows = ", ".join(str([round(float(x), 2) for x in row]) for row in multiple)
        why = (
            f"its cell vectors are {rows} in units of the unit cell; a trajectory in another orientation must be "
            "rotated first"
        )
    elif sorted(frame.symbols) != sorted(list(unit.symbols) * size):
        expected = (unit.symbols.formula * size).format("hill")
        why = f"it holds {frame.get_chemical_formula()}, and a supercell of {size} unit cells {expected}"
    if why:
        raise InputError(f"{title} is not a supercell of {crystal.describe()}: {why}.")
    return matrix
