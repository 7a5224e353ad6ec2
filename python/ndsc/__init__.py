"""Non-diagonal supercells, optimal databases and benchmarked interatomic potentials."""

from typing import TYPE_CHECKING, Any

from ndsc._core import __version__
from ndsc.configurations import make_configurations, remake_configuration
from ndsc.crystal import Crystal, load_crystal, primitive_crystal
from ndsc.kpoint_lattices import KpointLattice, find_kpoint_lattices
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
from ndsc.supercells import (
    Location,
    SupercellSet,
    diagonal_supercell,
    find_single_supercell,
    find_supercells,
    iterate_supercells,
)

if TYPE_CHECKING:
    from ndsc.elastic import elastic_constants
    from ndsc.force_constants import (
        harmonic_model,
        phonon_displacements,
        phonons_from_diagonal,
        phonons_from_labels,
        phonons_from_supercells,
    )
    from ndsc.phonons import band_path, compare_phonons

# phonopy, symfc and matscipy take seconds to import, and most of the package does without them.
_LATER = {
    "band_path": "ndsc.phonons",
    "compare_phonons": "ndsc.phonons",
    "elastic_constants": "ndsc.elastic",
    "harmonic_model": "ndsc.force_constants",
    "phonon_displacements": "ndsc.force_constants",
    "phonons_from_diagonal": "ndsc.force_constants",
    "phonons_from_labels": "ndsc.force_constants",
    "phonons_from_supercells": "ndsc.force_constants",
}

__all__ = [
    "CalculatorSpec",
    "Crystal",
    "KpointLattice",
    "LabelStore",
    "Location",
    "StoredCalculator",
    "SupercellSet",
    "__version__",
    "band_path",
    "compare_phonons",
    "diagonal_supercell",
    "elastic_constants",
    "enumerate_supercells",
    "enumerate_supercells_up_to",
    "find_kpoint_lattices",
    "find_single_supercell",
    "find_supercells",
    "fold_kpoints",
    "harmonic_model",
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
    "phonon_displacements",
    "phonons_from_diagonal",
    "phonons_from_labels",
    "phonons_from_supercells",
    "primitive_crystal",
    "qpoint_order",
    "reduce_supercells",
    "relax_crystal",
    "remake_configuration",
    "smallest_supercell",
    "smith_normal_form",
    "star",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'ndsc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
