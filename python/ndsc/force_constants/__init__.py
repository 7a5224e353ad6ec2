"""Force constants from the forces of displaced non-diagonal supercells."""

from ndsc.force_constants.cost import Effort, PhononCost, phonon_cost
from ndsc.force_constants.displacements import phonon_displacements
from ndsc.force_constants.harmonic import HarmonicModel, harmonic_model
from ndsc.force_constants.supercell_phonons import (
    SupercellPhonons,
    force_constants_from_labels,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
    save_phonopy,
)

__all__ = [
    "Effort",
    "HarmonicModel",
    "PhononCost",
    "SupercellPhonons",
    "force_constants_from_labels",
    "harmonic_model",
    "phonon_cost",
    "phonon_displacements",
    "phonons_from_diagonal",
    "phonons_from_labels",
    "phonons_from_supercells",
    "save_phonopy",
]
