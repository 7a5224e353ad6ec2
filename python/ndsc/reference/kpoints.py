"""Moved to :mod:`ndsc.kpoints`."""

from ndsc.kpoints import (
    AnyGrid,
    KpointGrid,
    fold_kpoints,
    kgrid_matrix,
    kgrid_size,
    kgrid_text,
    normal_kgrid,
    reduced_kpoints,
)

__all__ = [
    "AnyGrid",
    "KpointGrid",
    "fold_kpoints",
    "kgrid_matrix",
    "kgrid_size",
    "kgrid_text",
    "normal_kgrid",
    "reduced_kpoints",
]
