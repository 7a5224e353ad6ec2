"""Non-diagonal supercells, optimal databases and benchmarked interatomic potentials."""

from ndsc._core import __version__
from ndsc.configurations import make_configurations, remake_configuration
from ndsc.crystal import Crystal, load_crystal, primitive_crystal
from ndsc.qgrid import (
    irreducible_qpoints,
    is_commensurate,
    little_group,
    map_qpoints,
    qpoint_order,
    smallest_supercell,
    star,
)
from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator, fold_kpoints, label_configurations
from ndsc.relaxation import relax_crystal
from ndsc.sublattices import (
    enumerate_supercells,
    enumerate_supercells_up_to,
    hermite_normal_form,
    hermite_normal_forms,
    make_supercell,
    reduce_supercells,
    smith_normal_form,
)
from ndsc.supercells import Location, SupercellSet, find_single_supercell, find_supercells, iterate_supercells

__all__ = [
    "CalculatorSpec",
    "Crystal",
    "LabelStore",
    "Location",
    "StoredCalculator",
    "SupercellSet",
    "__version__",
    "enumerate_supercells",
    "enumerate_supercells_up_to",
    "find_single_supercell",
    "find_supercells",
    "fold_kpoints",
    "hermite_normal_form",
    "hermite_normal_forms",
    "irreducible_qpoints",
    "is_commensurate",
    "iterate_supercells",
    "label_configurations",
    "little_group",
    "load_crystal",
    "make_configurations",
    "make_supercell",
    "map_qpoints",
    "primitive_crystal",
    "qpoint_order",
    "reduce_supercells",
    "relax_crystal",
    "remake_configuration",
    "smallest_supercell",
    "smith_normal_form",
    "star",
]
