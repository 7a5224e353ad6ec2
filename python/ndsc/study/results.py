"""What a study found: plain numbers and curves, one entry a fitted potential.

A *variant* is one potential of the study at one set of swept values and one seed. Frequencies are in THz and imaginary
ones negative, moduli in GPa, lengths in Å, times in seconds; a number that could not be computed is None, and a warning
says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ndsc.claims import CheckResult
from ndsc.kpoints import KpointGrid
from ndsc.phonons import PhononComparison
from ndsc.results import Comparison
from ndsc.study.finished import StudyTime

if TYPE_CHECKING:
    from pandas import DataFrame

#: What a potential cost and is made of, in the order of tables.
FIT_METRICS = (
    "n_labels", "n_atoms", "label_seconds", "atoms_cubed", "n_sparse", "fit_seconds",
    "train_force_rmse_ev_per_angstrom", "held_out_labels", "held_out_force_rmse_ev_per_angstrom",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One potential of a study at one set of swept values and one seed.

    Attributes
    ----------
    potential : str
        Its name in the study's file.
    values : dict of str to value
        The swept values by their dotted keys, for example ``{"select.size": 24}``; empty without a sweep.
    seed : int or None
        Seed of the draw of labels and of the sparse points; None where nothing depends on it.
    """

    potential: str
    values: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None

    @property
    def point(self) -> str:
        """The variant without its seed, for people: ``"whole database, size 24"``."""
        return ", ".join([self.potential, *(f"{key.split('.', 1)[-1]} {value}" for key, value in self.values.items())])

    def __str__(self) -> str:
        return self.point if self.seed is None else f"{self.point}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A potential beside the reference of one run.

    Attributes
    ----------
    run : str
        Name of the run in the study's file.
    metrics : dict of str to float or None
        ``rmse_mesh_thz``, ``branch_1_rmse_thz`` … over the mesh, ``largest_elastic_error_percent``, and for each
        elastic constant (``C11`` …, ``B`` the bulk modulus) and lattice constant (``a``, ``c``, ``volume_per_atom``)
        its value and ``C11_error_percent``; docs/studies.md lists them all.
    phonons, harmonic : PhononComparison or None
        Curves of the potential, and of the harmonic model of the same labels (as ``model``), beside the reference's.
    elastic : dict of str to Comparison
    warnings : tuple of str
    """

    run: str
    metrics: dict[str, float | None]
    phonons: PhononComparison | None = None
    harmonic: PhononComparison | None = None
    elastic: dict[str, Comparison] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        curves = {"phonons": self.phonons, "harmonic": self.harmonic}
        return {
            "run": self.run,
            "metrics": self.metrics,
            **{name: None if found is None else found.to_dict() for name, found in curves.items()},
            "elastic": {name: value.model_dump() for name, value in self.elastic.items()},
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """What :meth:`to_dict` gave.

        Raises
        ------
        KeyError, TypeError, AttributeError, InputError
            When `data` is something else.
        """
        phonons, harmonic = (
            None if data[name] is None else PhononComparison.from_dict(data[name]) for name in ("phonons", "harmonic")
        )
        return cls(
            run=data["run"],
            metrics=data["metrics"],
            phonons=phonons,
            harmonic=harmonic,
            elastic={name: Comparison(**value) for name, value in data["elastic"].items()},
            warnings=tuple(data["warnings"]),
        )


@dataclass(frozen=True, eq=False)
class PotentialResult:
    """One fitted potential.

    Attributes
    ----------
    variant : Variant
    metrics : dict of str to float or None
        :data:`FIT_METRICS`.
    labels : tuple of str
        The configurations that it learned from, ``run/name``.
    settings, regularisation : dict
        Of the fit.
    evaluations : dict of run to Evaluation
        Without metrics when the fit failed.
    failure : str or None
        Why there is no potential.
    """

    variant: Variant
    metrics: dict[str, float | None]
    labels: tuple[str, ...]
    settings: dict[str, Any]
    regularisation: dict[str, Any]
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    failure: str | None = None

    def value(self, metric: str, run: str | None = None) -> float | None:
        """One number of the fit or, with a run, of its evaluation there; None where there is none."""
        if metric in self.metrics:
            return self.metrics[metric]
        evaluation = self.evaluations.get(run) if run is not None else None
        return None if evaluation is None else evaluation.metrics.get(metric)


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What tables say of a run, its reference side.

    Attributes
    ----------
    name, file : str
    formula, space_group : str
    space_group_number : int
    cell : 3 x 3 lists of float, Å
        The unit cell, rows are vectors.
    calculator : str
    parameters : dict
    kgrid : tuple or None
    lattice : dict of str to float
        ``a``, ``b``, ``c`` (Å), ``alpha``, ``beta``, ``gamma`` (degrees), ``volume_per_atom`` (Å³) of the unit cell.
    elastic : dict of str to float
        Elastic constants of the reference and ``B``, GPa; empty where they were not asked for.
    grid : tuple of 3 ints
    supercells : int
    labels, atoms : int
    label_seconds : float
        Of the labels of its database that are in the store.
    """

    name: str
    file: str
    formula: str
    space_group: str
    space_group_number: int
    cell: list[list[float]]
    calculator: str
    parameters: dict[str, Any]
    kgrid: KpointGrid | None
    lattice: dict[str, float]
    elastic: dict[str, float]
    grid: tuple[int, int, int]
    supercells: int
    labels: int
    atoms: int
    label_seconds: float


@dataclass(frozen=True, eq=False)
class StudyResults:
    """Everything that a study found.

    Attributes
    ----------
    title, claim : str
    seeds : tuple of int
    runs : dict of str to RunFacts
    outcomes : tuple of PotentialResult
        In the order of the study's file: potentials, swept values, seeds.
    checks : tuple of CheckResult
    verified : dict of str to float
        Largest difference of a training force between the study's way of fitting and a full run of gap_fit with the
        same sparse points, eV/Å, by variant.
    seconds : float
        Wall time of this run of the study.
    time : StudyTime
        Of its fits and evaluations when they were computed, be it in an earlier run.
    versions : dict of str to str
    warnings : tuple of str
    discussion : str
        Of the study's file.
    """

    title: str
    claim: str
    seeds: tuple[int, ...]
    runs: dict[str, RunFacts]
    outcomes: tuple[PotentialResult, ...]
    checks: tuple[CheckResult, ...]
    verified: dict[str, float]
    seconds: float
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    time: StudyTime = field(default_factory=StudyTime)
    discussion: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether every check does; None where there are none."""
        return all(check.holds for check in self.checks) if self.checks else None

    @cached_property
    def frame(self) -> DataFrame:
        """results.csv: one row a potential, swept values, seed and run; one column a metric."""
        from pandas import DataFrame

        rows = []
        for outcome in self.outcomes:
            head = {"potential": outcome.variant.potential, **outcome.variant.values, "seed": outcome.variant.seed}
            for run, evaluation in outcome.evaluations.items():
                rows.append({**head, "run": run, **outcome.metrics, **evaluation.metrics})
        swept = dict.fromkeys(key for outcome in self.outcomes for key in outcome.variant.values)
        found = dict.fromkeys(key for row in rows for key in row)
        order = dict.fromkeys(["potential", *swept, "seed", "run", *FIT_METRICS, *found])
        return DataFrame(rows, columns=list(order))
