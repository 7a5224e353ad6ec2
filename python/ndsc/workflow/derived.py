"""Results that follow from many labels of the reference, kept beside them in the store.

A relaxation or an elastic constant is a path of calculations, each depending on the one before. Its labels are in the
store; but another version of an optimiser takes another path, and would look for labels that are not there. So the
result is kept too, in ``derived/``, under the key of its starting structure and settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ase import Atoms

from ndsc.crystal import DEFAULT_SYMPREC, Crystal, as_crystal
from ndsc.elastic import ElasticConstants, elastic_constants
from ndsc.progress import Progress, silent
from ndsc.reference import StoredCalculator
from ndsc.reference.label_file import structure_from_record, structure_record
from ndsc.relaxation import relax_crystal
from ndsc.store import Store, digest


def relaxed_through_store(
    structure: Atoms | Crystal, calculator: StoredCalculator, *, progress: Progress = silent
) -> Atoms:
    """The relaxed crystal: from the store when it is there, otherwise by :func:`~ndsc.relaxation.relax_crystal`."""
    crystal = as_crystal(structure)

    def compute() -> dict[str, Any]:
        return structure_record(relax_crystal(crystal, calculator, progress=progress))

    relaxed = crystal.atoms.copy()  # with all per-atom data
    found = structure_from_record(_derived("relaxed", crystal, calculator, {}, compute))
    relaxed.set_cell(found.cell.array)
    relaxed.positions = found.positions
    if found.has("initial_magmoms"):
        relaxed.set_initial_magnetic_moments(found.get_initial_magnetic_moments())
    return relaxed


def elastic_through_store(
    structure: Atoms | Crystal, calculator: StoredCalculator, *, strain: float, relax_ions: bool
) -> ElasticConstants:
    """Elastic constants of the reference: from the store when they are there, otherwise computed."""

    def compute() -> dict[str, Any]:
        return elastic_constants(structure, calculator, strain=strain, relax_ions=relax_ions).to_dict()

    settings = {"strain": strain, "relax_ions": relax_ions}
    crystal = as_crystal(structure)
    return ElasticConstants.from_dict(_derived("elastic", crystal, calculator, settings, compute))


def _derived(
    kind: str,
    crystal: Crystal,
    calculator: StoredCalculator,
    settings: dict[str, Any],
    compute: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """The result of a kind for a start and settings, which its file also records."""
    if crystal.symprec != DEFAULT_SYMPREC:
        settings = settings | {"symprec": crystal.symprec}
    content = {"kind": kind, "start": calculator.store.key_of(crystal.atoms, calculator.spec), "settings": settings}

    def decode(key: str, found: Any) -> dict[str, Any]:
        if found["of"] != content:
            raise ValueError("it was made from another structure or with other settings")
        result: dict[str, Any] = found["result"]
        return result

    def encode(result: dict[str, Any]) -> str:
        return json.dumps({"of": content, "result": result}, indent=1)

    store = Store(calculator.store.derived, decode, encode)
    return store.get_or_compute(f"{kind}-{digest(content)}", compute)
