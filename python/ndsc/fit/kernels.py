"""SOAP kernels of a potential, and the rows of a configuration: what it says of the weights of the sparse points.

All of the time goes to quippy's derivatives of the descriptors, one for each pair of atoms; what is done with them here
is small, because pairs with the same two atoms (images) are added up before the product with the sparse points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ndsc.errors import FitError, InputError, InternalError
from ndsc.fit.sparse_points import read_kernels
from ndsc.interrupts import raise_if_interrupted

FloatArray = NDArray[np.float64]

#: The six components of a virial that are rows, as positions in the flat nine: xx, xy, xz, yy, yz, zz.
COMPONENTS = (0, 1, 2, 4, 5, 8)


@dataclass(frozen=True, eq=False)
class Kernel:
    """One SOAP kernel of a potential, and its sparse points in the columns of the linear system.

    Attributes
    ----------
    text : str
        quippy's description of the descriptor.
    number : int
        Atomic number of the atoms that have this descriptor.
    points : (m, d) array
        Descriptors of the sparse points.
    cutoff : float, Å
    zeta : float
    delta : float, eV
    columns : slice
    """

    text: str
    number: int
    points: FloatArray
    cutoff: float
    zeta: float
    delta: float
    columns: slice

    @property
    def descriptor(self) -> Any:
        """quippy's descriptor, which cannot be sent to another process."""
        return descriptor_of(self.text)

    @property
    def covariance(self) -> FloatArray:
        """(m, m) array, eV²: covariance of the sparse points."""
        block: FloatArray = self.delta**2 * (self.points @ self.points.T) ** self.zeta
        return block


@lru_cache(maxsize=32)
def descriptor_of(text: str) -> Any:
    """quippy's descriptor of a description; making one takes a tenth of a second, whatever its size."""
    from quippy.descriptors import Descriptor

    return Descriptor(text)


def soap_kernels(path: Path) -> tuple[list[Kernel], dict[int, float]]:
    """Kernels of a potential, in the order of its weights, and its single-atom energies (eV) by atomic number.

    Raises
    ------
    InputError
        When the file is not a GAP made of SOAP kernels.
    FitError
        When it is damaged.
    """
    tree, entries = read_kernels(path)
    kernels: list[Kernel] = []
    start = 0
    for entry in entries:
        cutoffs, values = entry.sparse_points()
        if not entry.text.startswith("soap ") or not np.all(cutoffs == 1.0):
            raise InputError(
                f"{path} holds a kernel that is not a SOAP kernel ({entry.text[:40]}). Give a GAP that ndsc fitted."
            )
        zeta, delta, cutoff, number = (entry.number(key) for key in ("zeta", "delta", "cutoff", "Z"))
        columns = slice(start, start + len(values))
        kernels.append(Kernel(entry.text, int(number), values, cutoff, zeta, delta, columns))
        start += len(values)
    return kernels, {int(entry.get("Z", "0")): float(entry.get("value", "0")) for entry in tree.iter("e0")}


def make_descriptors(kernels: Sequence[Kernel]) -> None:
    """Load quippy and make the descriptors now, so that it does not count as time of the first configuration."""
    for kernel in kernels:
        _ = kernel.descriptor


def rows_of(frame: Atoms, kernels: Sequence[Kernel]) -> FloatArray:
    """Energy, forces and virial of one configuration for a weight of one on each sparse point.

    The kernel is ``delta² (p . s)^zeta``. A descriptor p_i changes with the position r_j of each neighbour (an image
    counts with its own position), so that ``F_j = -sum_i dk_i/dr_j`` and ``W = -sum_ij dk_i/dr_j (x) r_j``. At any time
    the derivatives of the descriptors of one kernel are in memory; linear algebra uses one thread.

    Parameters
    ----------
    frame : ase.Atoms
        From :func:`ndsc.fit.calculator.bare_structure`, with n atoms.
    kernels : sequence of Kernel

    Returns
    -------
    (1 + 3n + 6, m) array
        For m sparse points: energy (eV), forces (eV/Å; atom by atom: x, y, z), virial (eV; :data:`COMPONENTS`).

    Raises
    ------
    FitError
        When quippy cannot compute the descriptors, or they are not finite.
    """
    rows = np.zeros((1 + 3 * len(frame) + len(COMPONENTS), kernels[-1].columns.stop))
    with _threads().limit(limits=1):
        for kernel in kernels:
            if kernel.number in frame.numbers:
                _add_rows(rows, frame, kernel)
    if not np.isfinite(rows).all():
        raise FitError(
            f"quippy cannot compute finite descriptors of {frame.get_chemical_formula()}. Look for atoms on one site."
        )
    return rows


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _add_rows(rows: FloatArray, frame: Atoms, kernel: Kernel) -> None:
    """Write the columns of one kernel, of whose species there are atoms."""
    try:
        found = kernel.descriptor.calc(frame, grad=True)
    except RuntimeError as error:
        raise_if_interrupted(error)
        raise FitError(f"quippy cannot compute the descriptors of a configuration ({error}). Check it.") from error
    own = np.zeros((len(rows), len(kernel.points)))
    virial = np.arange(len(rows) - len(COMPONENTS), len(rows))
    overlap = found["data"] @ kernel.points.T
    power = kernel.delta**2 * overlap ** (kernel.zeta - 1)
    own[0] = (power * overlap).sum(axis=0)
    slopes = -kernel.zeta * power
    # Pairs are listed descriptor by descriptor, and name their central atom and their neighbour.
    atoms, neighbours = np.asarray(found["grad_index_0based"]).T
    centres = np.asarray(found["ci"]).ravel() - 1
    starts = np.flatnonzero(np.diff(atoms, prepend=-1))
    if not np.array_equal(atoms[starts], centres):
        raise InternalError("quippy lists pairs in another order than descriptors. Please report its version.")
    gradients = found["grad_data"].reshape(len(atoms), -1)
    for slope, start, stop in zip(slopes, starts, [*starts[1:], len(atoms)], strict=True):
        # First the sums over images, and the products with positions, then the sparse points.
        distinct, image_of = np.unique(neighbours[start:stop], return_inverse=True)
        sums = np.zeros((len(distinct) + 3, stop - start))
        sums[image_of, np.arange(stop - start)] = 1.0
        sums[-3:] = found["pos"][start:stop].T
        summed = (sums @ gradients[start:stop]).reshape(len(sums), 3, -1)
        moments = summed[-3:].reshape(9, -1)[list(COMPONENTS)]
        change = np.concatenate([summed[:-3].reshape(3 * len(distinct), -1), moments]) @ kernel.points.T
        forces = 1 + (3 * distinct[:, None] + np.arange(3)).ravel()
        own[np.concatenate([forces, virial])] += slope * change
    rows[:, kernel.columns] = own
