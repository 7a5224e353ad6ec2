"""Force constants from the forces of displaced non-diagonal supercells."""

from ndsc.force_constants.displacements import phonon_displacements

__all__ = ["phonon_displacements"]
