"""What a study has finished, kept in its folder under a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ndsc.errors import InputError
from ndsc.files import write_text
from ndsc.phonons import PhononComparison
from ndsc.results import Comparison
from ndsc.study.results import Evaluation
from ndsc.study.timing import Took
from ndsc.study.variants import Task
from ndsc.versions import package_versions

log = logging.getLogger(__name__)

#: Goes up when this version of ndsc would find other numbers than an earlier one from the same input.
FORMAT = 1
#: Packages whose versions the numbers depend on.
PACKAGES = ("ase", "phonopy", "symfc", "matscipy", "spglib", "quippy-ase")


def digest(content: Mapping[str, Any]) -> str:
    """A hash of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:32]


def sparse_key(task: Task) -> str:
    """What the sparse points of a task depend on: tasks with the same key share one linear system."""
    return digest(
        {
            "format": FORMAT,
            "pool": task.pool_keys,
            "labelled": len(task.pool),
            "settings": task.settings.hyperparameters(),
            "quippy": package_versions().get("quippy-ase"),
        }
    )


def fit_key(task: Task) -> str:
    """What the potential of a task depends on."""
    return digest(
        {
            "sparse": sparse_key(task),
            "frames": task.frame_keys,
            "regularisation": task.regularisation.expected_errors(),
            "solver": task.settings.solver,
        }
    )


def evaluation_key(task: Task, reference: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What the evaluation of a task's potential on a run depends on.

    Parameters
    ----------
    task : Task
    reference : mapping
        :meth:`ndsc.study.runs.StudyRun.reference_content`.
    asked : mapping
        What is evaluated.
    """
    versions = package_versions()
    return digest(
        {
            "fit": fit_key(task),
            "reference": reference,
            "asked": asked,
            "versions": {name: versions.get(name) for name in PACKAGES},
        }
    )


class Cache:
    """Finished fits and evaluations of a study.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fit(self, key: str) -> dict[str, float | None] | None:
        """The metrics of a finished fit."""
        found = self._read(f"fit-{key}")
        return None if found is None else {str(name): value for name, value in found["metrics"].items()}

    def has_fit(self, key: str) -> bool:
        """Whether a fit is finished."""
        return (self.folder / f"fit-{key}.json").is_file()

    def has_evaluation(self, key: str) -> bool:
        """Whether an evaluation is finished."""
        return (self.folder / f"evaluation-{key}.json").is_file()

    def took(self, kind: Literal["fit", "evaluation", "number"], key: str) -> Took | None:
        """How long a result took when it was computed; None where that was not recorded."""
        found = self._read(f"{kind}-{key}")
        return None if found is None else Took.from_dict(found.get("took"))

    def put_fit(self, key: str, metrics: Mapping[str, float | None], took: Took | None = None) -> None:
        """Keep the metrics of a fit."""
        self._write(f"fit-{key}", {"metrics": dict(metrics)}, took)

    def evaluation(self, key: str) -> Evaluation | None:
        """A finished evaluation."""
        found = self._read(f"evaluation-{key}")
        if found is None:
            return None
        try:
            return Evaluation(
                run=found["run"],
                metrics=found["metrics"],
                phonons=_curves(found["phonons"]),
                harmonic=_curves(found["harmonic"]),
                elastic={name: Comparison(**value) for name, value in found["elastic"].items()},
                lattice={name: Comparison(**value) for name, value in found["lattice"].items()},
                warnings=tuple(found["warnings"]),
            )
        except (KeyError, TypeError, AttributeError, InputError) as error:
            log.warning("The stored evaluation %s is damaged (%s) and is made again.", key, error)
            return None

    def put_evaluation(self, key: str, evaluation: Evaluation, took: Took | None = None) -> None:
        """Keep an evaluation."""
        content = {
            "run": evaluation.run,
            "metrics": evaluation.metrics,
            "phonons": None if evaluation.phonons is None else evaluation.phonons.to_dict(),
            "harmonic": None if evaluation.harmonic is None else evaluation.harmonic.to_dict(),
            "elastic": {name: value.model_dump() for name, value in evaluation.elastic.items()},
            "lattice": {name: value.model_dump() for name, value in evaluation.lattice.items()},
            "warnings": list(evaluation.warnings),
        }
        self._write(f"evaluation-{key}", content, took)

    def number(self, key: str) -> float | None:
        """A single number kept under a key."""
        found = self._read(f"number-{key}")
        return None if found is None else float(found["value"])

    def put_number(self, key: str, value: float, took: Took | None = None) -> None:
        """Keep a single number."""
        self._write(f"number-{key}", {"value": value}, took)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
            log.warning("%s is damaged and is made again.", path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s is damaged (%s) and is made again.", path, error)
        return None

    def _write(self, name: str, content: Mapping[str, Any], took: Took | None) -> None:
        whole = {**content} if took is None else {**content, "took": took.to_dict()}
        write_text(self.folder / f"{name}.json", json.dumps(whole, allow_nan=False) + "\n")


def _curves(data: Mapping[str, Any] | None) -> PhononComparison | None:
    return None if data is None else PhononComparison.from_dict(data)
