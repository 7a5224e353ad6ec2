"""How many k-points calculations have."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from ndsc.codes.specification import supercell_matrix
from ndsc.reference import CalculatorSpec, fold_kpoints


def count_kpoints(configurations: Sequence[Atoms], spec: CalculatorSpec) -> tuple[int, ...] | None:
    """The number of folded k-points of each configuration; None for calculators without k-points.

    k and -k are counted as two, though most codes calculate one of them.
    """
    if spec.kgrid is None:
        return None
    counts: dict[bytes, int] = {}
    numbers = []
    for atoms in configurations:
        matrix = supercell_matrix(atoms)
        key = matrix.tobytes()
        if key not in counts:
            counts[key] = len(fold_kpoints(matrix, spec.kgrid))
        numbers.append(counts[key])
    return tuple(numbers)
