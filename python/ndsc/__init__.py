"""Non-diagonal supercells, optimal databases and benchmarked interatomic potentials."""

from ndsc._core import __version__
from ndsc.qgrid import irreducible_qpoints
from ndsc.supercells import (
    Location,
    SupercellSet,
    enumerate_supercells,
    find_supercells,
    hermite_normal_forms,
    make_supercell,
)

__all__ = [
    "Location",
    "SupercellSet",
    "__version__",
    "enumerate_supercells",
    "find_supercells",
    "hermite_normal_forms",
    "irreducible_qpoints",
    "make_supercell",
]
