"""SOAP kernels of a potential, and the rows of a configuration: what it says of the weights of the sparse points.

Derivatives of descriptors are our own where they are known to be quippy's (:mod:`ndsc.fit.soap`), and else quippy's.
Those of images of one atom are added up before the product with the sparse points.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ndsc.errors import FitError, InputError, InternalError
from ndsc.fit.memory import PORTION, derivatives_of_one
from ndsc.fit.soap import COMPONENTS, SHORTEST, Centre, SoapExpansion, tabulate
from ndsc.fit.sparse_points import read_kernels
from ndsc.interrupts import raise_if_interrupted

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

#: Largest difference of our own descriptors and derivatives from quippy's, relative to the largest; atoms of the
#: structure in which they are compared, and their distance in cutoffs.
SAME, _TRIAL_ATOMS, _TRIAL_DISTANCE = 3e-11, 6, 0.55
#: The array that tells quippy of which atoms it computes descriptors.
_MASK = "ndsc_mask"


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
    expansion : SoapExpansion, optional
        What gives the derivatives instead of quippy.
    """

    text: str
    number: int
    points: FloatArray
    cutoff: float
    zeta: float
    delta: float
    columns: slice
    expansion: SoapExpansion | None = None

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


@lru_cache(maxsize=32)
def expansion_of(text: str) -> SoapExpansion | None:
    """Tables that give the derivatives of a descriptor, tried beside quippy; None when they do not give the same."""
    expansion = tabulate(text, descriptor_of)
    if expansion is None:
        return None
    random = np.random.default_rng(0)
    distance = max(_TRIAL_DISTANCE * expansion.cutoff, 2 * SHORTEST)
    numbers = [expansion.number, *np.resize(expansion.species, _TRIAL_ATOMS - 1)]
    trial = Atoms(numbers, np.arange(_TRIAL_ATOMS)[:, None] * [distance, 0.0, 0.0], pbc=True)
    trial.set_cell(np.diag([_TRIAL_ATOMS * distance, distance, distance]) + random.uniform(0, 0.1 * distance, (3, 3)))
    trial.positions += random.uniform(-0.2 * distance, 0.2 * distance, trial.positions.shape)
    trial.positions[-1] = trial.positions[0] + [0.6, 0.0, 0.8]  # and one pair as close as pairs can be
    if not expansion.covers(trial):
        return None
    pairs = zip(expansion.centres(trial), _centres_of_quippy(trial, descriptor_of(text)), strict=True)
    for ours, theirs in pairs:
        if not np.array_equal(ours.atoms, theirs.atoms) or ours.descriptor.shape != theirs.descriptor.shape:
            return None
        for one, other in ((ours.descriptor, theirs.descriptor), (ours.derivatives, theirs.derivatives)):
            if not np.abs(one - other).max() < SAME * np.abs(other).max():
                log.debug("The descriptor %s is left to quippy: ours differs by %g.", text, np.abs(one - other).max())
                return None
    return expansion


def ready(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Kernels with their expansions, which take half a second to make."""
    return [replace(kernel, expansion=expansion_of(kernel.text)) for kernel in kernels]


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
    own = np.zeros((len(rows), len(kernel.points)))
    virial = np.arange(len(rows) - len(COMPONENTS), len(rows))
    if kernel.expansion is not None and kernel.expansion.covers(frame):
        centres = kernel.expansion.centres(frame)
    else:
        centres = _centres_in_portions(frame, kernel)
    for centre in centres:
        overlap = kernel.points @ centre.descriptor
        power = kernel.delta**2 * overlap ** (kernel.zeta - 1)
        own[0] += power * overlap
        forces = 1 + (3 * centre.atoms[:, None] + np.arange(3)).ravel()
        own[np.concatenate([forces, virial])] -= kernel.zeta * power * (centre.derivatives @ kernel.points.T)
    rows[:, kernel.columns] = own


def _centres_in_portions(frame: Atoms, kernel: Kernel) -> Iterator[Centre]:
    """The atoms of a kernel's species from quippy, as many at a time as memory is meant for."""
    own = np.flatnonzero(frame.numbers == kernel.number)
    pairs = np.bincount(neighbour_list("i", frame, kernel.cutoff), minlength=len(frame))[own] + 1
    portion = np.cumsum(derivatives_of_one(1, kernel.points.shape[1]) * pairs) // PORTION
    for number in np.unique(portion):
        chosen = frame.copy()
        chosen.set_array(_MASK, np.isin(np.arange(len(frame)), own[portion == number]))
        yield from _centres_of_quippy(chosen, kernel.descriptor, atom_mask_name=_MASK)


def _centres_of_quippy(frame: Atoms, descriptor: Any, **options: str) -> Iterator[Centre]:
    """The atoms of the descriptor's species, in their order, from quippy."""
    try:
        found = descriptor.calc(frame, grad=True, **options)
    except RuntimeError as error:
        raise_if_interrupted(error)
        raise FitError(f"quippy cannot compute the descriptors of a configuration ({error}). Check it.") from error
    # Pairs are listed descriptor by descriptor, and name their central atom and their neighbour.
    atoms, neighbours = np.asarray(found["grad_index_0based"]).T
    starts = np.flatnonzero(np.diff(atoms, prepend=-1))
    if not np.array_equal(atoms[starts], np.ravel(found["ci"]) - 1):
        raise InternalError("quippy lists pairs in another order than descriptors. Please report its version.")
    gradients = found["grad_data"].reshape(len(atoms), -1)
    for data, start, stop in zip(found["data"], starts, [*starts[1:], len(atoms)], strict=True):
        # The sums over images, and the products with positions.
        distinct, image_of = np.unique(neighbours[start:stop], return_inverse=True)
        sums = np.zeros((len(distinct) + 3, stop - start))
        sums[image_of, np.arange(stop - start)] = 1.0
        sums[-3:] = found["pos"][start:stop].T
        summed = (sums @ gradients[start:stop]).reshape(len(sums), 3, -1)
        moments = summed[-3:].reshape(9, -1)[list(COMPONENTS)]
        yield Centre(distinct, data, np.concatenate([summed[:-3].reshape(3 * len(distinct), -1), moments]))
