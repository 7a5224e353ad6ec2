"""Rows of configurations for the sparse points of a potential: computed when asked for, in processes, kept on disk."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.linalg import block_diag

from ndsc.errors import InputError
from ndsc.fit.calculator import bare_structure
from ndsc.fit.executable import require_quippy
from ndsc.fit.kernels import ready, rows_of, soap_kernels
from ndsc.fit.memory import PROGRAM, FitSize, derivatives_in_portions
from ndsc.fit.row_files import RowFiles, kernels_digest, key_of
from ndsc.fit.row_workers import rows_in_processes
from ndsc.fit.soap import COMPONENTS
from ndsc.progress import Progress, silent
from ndsc.reference.memory import SHARE, available_memory_mb
from ndsc.targets import frame_name

FloatArray = NDArray[np.float64]

#: Until a worker computes its first rows, s; processor time, while others start as well.
START_UP = 1.5
#: What progress calls this.
TASK = "computing kernels"


class KernelRows:
    """Rows of configurations for the sparse points of a potential, computed when asked for.

    Energies, forces and virials of a configuration are ``rows @ weights``. Whoever goes through :meth:`each` and keeps
    nothing holds the rows of a few configurations at a time; each process holds the derivatives of one.

    Parameters
    ----------
    potential : path
        XML file of a GAP made of SOAP kernels, one a species, as :func:`ndsc.fit.fit_gap` makes.
    store : path, optional
        Folder in which rows are kept for other calls, runs and potentials with the same sparse points.
    limit_gb : float
        Disk space of that folder, see :class:`ndsc.fit.row_files.RowFiles`.
    workers : int
        Processes that compute at a time, fewer where memory does not hold so many. For few configurations the work is
        done in this one, as starting others would take longer.

    Attributes
    ----------
    potential : path
    species : tuple of str
        Chemical symbols, in the order of the kernels.
    n_points : int
        Sparse points of all species together, m.
    covariance : (m, m) array, eV²
        Covariance of the sparse points.
    single_atoms : dict of int to float
        Energies of single atoms by atomic number, eV.
    cutoff : float, Å
        The largest of all kernels.

    Raises
    ------
    MissingExtraError
        When quippy is not installed.
    InputError
        When the file is not such a potential, the folder cannot be written, or a number is not positive.
    """

    def __init__(
        self, potential: str | Path, *, store: str | Path | None = None, limit_gb: float = 4.0, workers: int = 1
    ) -> None:
        require_quippy()
        if workers < 1:
            raise InputError(f"{workers} workers cannot compute rows. Give a whole number from 1 up.")
        self.potential = Path(potential).resolve()
        self.workers = workers
        kernels, self.single_atoms = soap_kernels(self.potential)
        self.species = tuple(chemical_symbols[kernel.number] for kernel in kernels)
        self.n_points = kernels[-1].columns.stop
        self.cutoff = max(kernel.cutoff for kernel in kernels)
        self.covariance: FloatArray = block_diag(*(kernel.covariance for kernel in kernels))
        # The scale is multiplied in afterwards, so that rows on disk serve potentials with any.
        self._kernels = [replace(kernel, delta=1.0) for kernel in kernels]
        self._scale = np.concatenate([np.full(len(kernel.points), kernel.delta**2) for kernel in kernels])
        self._digest = kernels_digest(kernels)
        self._files = None if store is None else RowFiles(Path(store), limit_gb)
        self._seconds, self._pairs = 0.0, 0

    def of(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> list[FloatArray]:
        """Rows of all configurations, see :meth:`each`."""
        return list(self.each(frames, progress=progress))

    def each(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> Iterator[FloatArray]:
        """Rows of one configuration after the other.

        Parameters
        ----------
        frames : sequence of ase.Atoms
        progress : callable

        Yields
        ------
        (1 + 3n + 6, m) array
            For a weight of one on each sparse point: energy without single atoms (eV), forces (eV/Å; atom by atom: x,
            y, z), virial (eV; xx, xy, xz, yy, yz, zz).

        Raises
        ------
        InputError
            When a configuration has a species without a kernel, or positions that are not finite; nothing is computed
            then.
        FitError
            When quippy cannot compute the descriptors, or a process died.
        """
        self._check(frames)
        return self._each(frames, progress)

    def seconds_for(self, frames: Sequence[Atoms]) -> float:
        """How long the rows of configurations will take, s; those on disk take nothing.

        From the time that a pair of neighbours took in all that was computed so far; when that is nothing yet, the rows
        of the configuration with the fewest atoms are computed now.

        Raises
        ------
        InputError
            As :meth:`each`.
        """
        self._check(frames)
        missing = [frame for frame in frames if not self._is_kept(frame)]
        if missing and not self._pairs:
            smallest = min(missing, key=len)
            self._kernels = ready(self._kernels)
            rows_of(self._structure(smallest), self._kernels)  # the first time, tables and libraries are loaded
            next(self._each([smallest], silent))
            if self._files is not None:
                missing.remove(smallest)
        if not missing:
            return 0.0
        pairs = self._pairs_of(missing)
        return self._seconds_together(pairs) if self._pays(pairs) else self._seconds_alone(pairs)

    def memory_gb(self, frames: Sequence[Atoms]) -> float:
        """Memory that :meth:`of` needs at its peak, in all processes and with what it returns, GB (10⁹ bytes).

        :meth:`each` needs less by the rows, for whoever keeps none: their share is 8 bytes times m times (7 + 3n).
        """
        largest = FitSize.of_frames(frames, self.cutoff).n_pairs_of_one
        processes = self.workers if self.workers == 1 else self.workers + 1
        rows = 8 * self.n_points * sum(1 + 3 * len(frame) + len(COMPONENTS) for frame in frames)
        return float(processes * self._bytes_of_process(largest) + rows) / 1e9

    def _check(self, frames: Sequence[Atoms]) -> None:
        known = {kernel.number for kernel in self._kernels}
        for number, frame in enumerate(frames):
            unknown = sorted(set(frame.numbers.tolist()) - known)
            if unknown:
                raise InputError(
                    f"{frame_name(frame, number)} has {', '.join(chemical_symbols[z] for z in unknown)}, and the "
                    f"potential {self.potential} was fitted to {', '.join(self.species)} only. Use a potential with "
                    "sparse points of all species."
                )
            if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()):
                raise InputError(
                    f"{frame_name(frame, number)} has a position or cell vector that is not finite. Leave it out."
                )

    def _structure(self, frame: Atoms) -> Atoms:
        return bare_structure(frame, self.cutoff)

    def _key(self, frame: Atoms) -> str:
        return key_of(self._structure(frame), self._digest)

    def _is_kept(self, frame: Atoms) -> bool:
        return self._files is not None and self._key(frame) in self._files

    def _pairs_of(self, frames: Sequence[Atoms]) -> int:
        return FitSize.of_frames(frames, self.cutoff).n_pairs

    def _each(self, frames: Sequence[Atoms], progress: Progress) -> Iterator[FloatArray]:
        kept = [self._is_kept(frame) for frame in frames]
        missing = [self._structure(frame) for frame, there in zip(frames, kept, strict=True) if not there]
        with closing(self._computed(missing)) as computed:
            for number, (frame, there) in enumerate(zip(frames, kept, strict=True)):
                progress(TASK, number, len(frames))
                rows = self._from_disk(frame) if there else None
                if rows is None:
                    rows = next(self._computed([self._structure(frame)])) if there else next(computed)
                    if self._files is not None:
                        self._files.put(self._key(frame), rows)
                yield rows * self._scale
        progress(TASK, len(frames), len(frames))

    def _from_disk(self, frame: Atoms) -> FloatArray | None:
        shape = (1 + 3 * len(frame) + len(COMPONENTS), self.n_points)
        return None if self._files is None else self._files.get(self._key(frame), shape)

    def _computed(self, structures: Sequence[Atoms]) -> Generator[FloatArray]:
        """Rows for a scale of one; in processes once it is known that this is faster."""
        self._kernels = ready(self._kernels)
        pairs = [self._pairs_of([structure]) for structure in structures]
        for number, structure in enumerate(structures):
            # The first one here shows how long they take.
            if number <= 1 and self._seconds and self._pays(sum(pairs[number:])):
                rest = structures[number:]
                workers = self._workers_with_room(max(pairs))
                with closing(rows_in_processes(rest, self._kernels, workers)) as results:
                    for other, (rows, seconds) in zip(pairs[number:], results, strict=True):
                        self._learn(other, seconds)
                        yield rows
                return
            begin = time.perf_counter()
            rows = rows_of(structure, self._kernels)
            self._learn(pairs[number], time.perf_counter() - begin)
            yield rows

    def _bytes_of_process(self, n_pairs: int) -> float:
        """What one process needs for a configuration with so many pairs."""
        n_descriptor = max(kernel.points.shape[1] for kernel in self._kernels)
        points = 8.0 * sum(kernel.points.size for kernel in self._kernels) + self.covariance.nbytes
        return PROGRAM + points + derivatives_in_portions(n_pairs, n_descriptor)

    def _workers_with_room(self, n_pairs: int) -> int:
        """As many as there are to be, or as fit into the memory that is free."""
        free = available_memory_mb()
        room = self.workers if free is None else int(SHARE * free * 1024**2 / self._bytes_of_process(n_pairs))
        return max(1, min(self.workers, room))

    def _seconds_alone(self, pairs: int) -> float:
        return pairs * self._seconds / self._pairs

    def _seconds_together(self, pairs: int) -> float:
        return self._seconds_alone(pairs) / self.workers + START_UP

    def _pays(self, pairs: int) -> bool:
        """Whether processes are sooner ready than this one alone."""
        return self.workers > 1 and self._seconds_together(pairs) < self._seconds_alone(pairs)

    def _learn(self, pairs: int, seconds: float) -> None:
        self._seconds += seconds
        self._pairs += pairs
