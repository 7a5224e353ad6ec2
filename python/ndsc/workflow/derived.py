"""Results that follow from many labels of the reference, kept beside them in the store.

A relaxation or an elastic constant is a path of calculations, each depending on the one before. Its labels are in the
store; but another version of an optimiser takes another path, and would look for labels that are not there. So the
result is kept too, in ``derived/``, under the key of its starting structure and settings.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.elastic import ElasticConstants, elastic_constants
from ndsc.files import write_text
from ndsc.progress import Progress, silent
from ndsc.reference import StoredCalculator
from ndsc.reference.store import structure_record
from ndsc.relaxation import relax_crystal

log = logging.getLogger(__name__)


def relaxed_through_store(atoms: Atoms, calculator: StoredCalculator, *, progress: Progress = silent) -> Atoms:
    """The relaxed crystal: from the store when it is there, otherwise by :func:`~ndsc.relaxation.relax_crystal`."""

    def compute() -> dict[str, Any]:
        return structure_record(relax_crystal(atoms, calculator, progress=progress))

    record = _derived("relaxed", atoms, calculator, {}, compute)
    relaxed = Atoms(symbols=record["symbols"], cell=record["cell"], positions=record["positions"], pbc=True)
    if "magmoms" in record:
        relaxed.set_initial_magnetic_moments(np.array(record["magmoms"]))
    return relaxed


def elastic_through_store(
    atoms: Atoms, calculator: StoredCalculator, *, strain: float, relax_ions: bool
) -> ElasticConstants:
    """Elastic constants of the reference: from the store when they are there, otherwise computed."""

    def compute() -> dict[str, Any]:
        return elastic_constants(atoms, calculator, strain=strain, relax_ions=relax_ions).to_dict()

    settings = {"strain": strain, "relax_ions": relax_ions}
    return ElasticConstants.from_dict(_derived("elastic", atoms, calculator, settings, compute))


def _derived(
    kind: str,
    atoms: Atoms,
    calculator: StoredCalculator,
    settings: dict[str, Any],
    compute: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    content = {"kind": kind, "start": calculator.store.key_of(atoms, calculator.spec), "settings": settings}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = calculator.store.derived / f"{kind}-{digest[:32]}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["of"] == content:
            result: dict[str, Any] = found["result"]
            return result
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s) and is made again from the labels.", path, error)
    result = compute()
    write_text(path, json.dumps({"of": content, "result": result}, indent=1) + "\n")
    return result
