"""The compiled core: coarse calls on int64 and float64 arrays. Use the functions of ``ndsc`` instead.

``divisions`` are the three divisions of a grid, ``rotations`` (n, 3, 3) a group acting on reduced q-points as columns,
``qpoints`` (n, 3) numerators over the grid, ``memory`` the bytes that may be used, ``progress`` is called with (done,
total) once a call has taken two seconds. Supercell matrices come back as Hermite normal forms unless they are reduced.
"""

from collections.abc import Callable, Sequence
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

__version__: str
__all__ = [
    "CoverIterator",
    "__version__",
    "are_commensurate",
    "canonical_forms",
    "distinct_supercells",
    "hermite_normal_form",
    "hermite_normal_forms",
    "irreducible_qpoints",
    "irreducible_qpoints_with_map",
    "lattice_points",
    "little_group",
    "locate",
    "minimal_cover",
    "minkowski_reduce",
    "orders",
    "overlap",
    "shortest_distance",
    "site_images",
    "smallest_single",
    "smallest_supercells",
    "smith_normal_form",
    "star",
    "symmetry_operations",
]

def hermite_normal_form(supercell: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def smith_normal_form(
    supercell: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def hermite_normal_forms(
    determinant: int, memory: int, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.int64]: ...
def distinct_supercells(
    size: int, rotations: NDArray[np.int64], memory: int, progress: Callable[[int, int], None] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def minimal_cover(
    divisions: Sequence[int],
    rotations: NDArray[np.int64],
    memory: int,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]: ...

@final
class CoverIterator:
    def __new__(cls, divisions: Sequence[int], rotations: NDArray[np.int64]) -> Self: ...
    @property
    def progress(self) -> tuple[int, int]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> NDArray[np.int64]: ...

def smallest_single(divisions: Sequence[int], rotations: NDArray[np.int64]) -> NDArray[np.int64]: ...
def minkowski_reduce(
    supercells: NDArray[np.int64],
    cell_metric: NDArray[np.float64],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]: ...
def canonical_forms(supercells: NDArray[np.int64]) -> NDArray[np.int64]: ...
def lattice_points(supercell: NDArray[np.int64], memory: int) -> NDArray[np.int64]: ...
def orders(divisions: Sequence[int], qpoints: NDArray[np.int64]) -> NDArray[np.int64]: ...
def are_commensurate(
    divisions: Sequence[int], supercell: NDArray[np.int64], qpoints: NDArray[np.int64]
) -> list[bool]: ...
def smallest_supercells(divisions: Sequence[int], qpoints: NDArray[np.int64]) -> NDArray[np.int64]: ...
def star(
    divisions: Sequence[int], rotations: NDArray[np.int64], qpoint: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def little_group(
    divisions: Sequence[int], rotations: NDArray[np.int64], qpoint: Sequence[int]
) -> NDArray[np.int64]: ...
def locate(
    divisions: Sequence[int], rotations: NDArray[np.int64], qpoints: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def irreducible_qpoints(
    divisions: Sequence[int],
    rotations: NDArray[np.int64],
    time_reversal: bool,
    memory: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def irreducible_qpoints_with_map(
    divisions: Sequence[int],
    rotations: NDArray[np.int64],
    time_reversal: bool,
    memory: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]: ...
def symmetry_operations(
    cell: NDArray[np.float64],
    positions: NDArray[np.float64],
    species: NDArray[np.int64],
    moments: NDArray[np.float64] | None,
    symprec: float,
    magnetic_tolerance: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], float, float] | None: ...
def site_images(
    cell: NDArray[np.float64],
    positions: NDArray[np.float64],
    species: NDArray[np.int64],
    rotations: NDArray[np.int64],
    translations: NDArray[np.float64],
    tolerance: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]: ...
def shortest_distance(cell: NDArray[np.float64], positions: NDArray[np.float64]) -> tuple[float, int, int]: ...
def overlap(
    cell: NDArray[np.float64], positions: NDArray[np.float64], radii: NDArray[np.float64], shortest: float
) -> tuple[float, int, int] | None: ...
