"""Non-diagonal supercells, optimal databases and benchmarked interatomic potentials."""

from ndsc._core import __version__
from ndsc.configurations import make_configurations, remake_configuration
from ndsc.crystal import Crystal, load_crystal, primitive_crystal
from ndsc.qgrid import irreducible_qpoints
from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator, fold_kpoints, label_configurations
from ndsc.relaxation import relax_crystal
from ndsc.supercells import (
    Location,
    SupercellSet,
    enumerate_supercells,
    find_supercells,
    hermite_normal_forms,
    make_supercell,
)

__all__ = [
    "CalculatorSpec",
    "Crystal",
    "LabelStore",
    "Location",
    "StoredCalculator",
    "SupercellSet",
    "__version__",
    "enumerate_supercells",
    "find_supercells",
    "fold_kpoints",
    "hermite_normal_forms",
    "irreducible_qpoints",
    "label_configurations",
    "load_crystal",
    "make_configurations",
    "make_supercell",
    "primitive_crystal",
    "relax_crystal",
    "remake_configuration",
]
