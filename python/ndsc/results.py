"""results.json: what a run found, in one file that programs and the report read.

Conventions: energies in eV, lengths in Å, moduli in GPa, frequencies in THz with imaginary ones negative, times in
seconds. Errors are model minus reference. A number that could not be computed or is not finite is ``null``, never
``NaN``, so that every JSON reader takes the file; a warning says why. A part that was left out of a run by choice
(no fit, no elastic constants) is ``null`` as a whole. docs/results.md describes every field.
"""

from __future__ import annotations

import logging
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from ndsc.errors import InputError
from ndsc.files import read_json, write_text

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
#: Frequencies below this (THz, negative) are instabilities: acoustic modes at Γ are zero only to rounding.
IMAGINARY_THZ = -0.05
#: Elastic constants below this part of the largest count as so large in the errors that a choice of labels predicts.
SMALLEST_CONSTANT = 0.05


def _finite_or_none(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null."""
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _plain(value: Any) -> Any:
    """NumPy arrays and scalars as the lists and numbers that JSON knows."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


R = TypeVar("R", bound=BaseModel)
Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
Count = Annotated[NonNegativeInt, BeforeValidator(_plain)]
Matrix = Annotated[list[list[int]], BeforeValidator(_plain)]


class _Part(BaseModel):
    """Frozen, and strict about names: a misspelt field is an error, not a silent loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Part):
    """One quantity of the model beside the reference's."""

    model: Number = None
    reference: Number = None
    error_percent: Number = None

    @classmethod
    def of(cls, model: float | None, reference: float | None) -> Comparison:
        """Compare two numbers; the error is ``100 (model - reference) / |reference|``.

        A number that is missing or not finite, or a reference of zero, leaves the error ``None``.
        """
        model, reference = _finite_or_none(model), _finite_or_none(reference)
        if model is None or reference is None or reference == 0:
            return cls(model=model, reference=reference)
        return cls(model=model, reference=reference, error_percent=100.0 * (model - reference) / abs(reference))


class CrystalSummary(_Part):
    """The unit cell that supercells are made of."""

    formula: str
    n_atoms: PositiveInt
    space_group: str = ""
    space_group_number: NonNegativeInt = 0
    symprec: Number = None
    magnetic_group: str | None = None
    cell: Annotated[list[list[float]], BeforeValidator(_plain)] = Field(default_factory=list)
    masses: Annotated[list[float], BeforeValidator(_plain)] = Field(default_factory=list)


class SupercellsSummary(_Part):
    """The chosen set of supercells (the whole set is in supercells.json)."""

    grid: Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], BeforeValidator(_plain)]
    cost_exponent: float = 3.0
    matrices: Annotated[list[Matrix], BeforeValidator(_plain)]
    sizes: Annotated[list[PositiveInt], BeforeValidator(_plain)]
    cost: float
    lower_bound: float
    n_irreducible_qpoints: Count = 0

    @property
    def proven(self) -> bool:
        """Whether the lower bound equals the cost, which proves that no cheaper set exists."""
        return self.lower_bound >= self.cost * (1.0 - 1e-9)


class ConfigurationsSummary(_Part):
    """The perturbed configurations that were made."""

    total: Count
    by_type: dict[str, Count] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class LabelFailure(_Part):
    """A configuration whose label is not in the database, and why."""

    name: str
    reason: str


class LabelsSummary(_Part):
    """The reference calculations of the configurations."""

    calculator: str
    requested: Count
    succeeded: Count
    reused: Count = 0
    failures: list[LabelFailure] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)


class DatabaseTypeSummary(_Part):
    """The frames of one ``config_type`` of a database of the user's own, and the errors of the potential on them."""

    configurations: Count
    atoms: Count
    energies: Count
    forces: Count
    virials: Count
    weight: Number = 1.0
    regularisation: dict[str, Any] = Field(default_factory=dict)
    energy_rmse_ev_per_atom: Number = None
    force_rmse_ev_per_angstrom: Number = None
    virial_rmse_ev_per_atom: Number = None


class DatabaseSummary(_Part):
    """A database of the user's own that was fitted too."""

    name: str
    file: str
    keys: dict[str, str] = Field(default_factory=dict)
    configurations: Count
    atoms: Count
    types: dict[str, DatabaseTypeSummary] = Field(default_factory=dict)


class FitCounts(_Part):
    """Numbers of one kind of target: written for the fit, and read back from its log."""

    sent: Count
    read: Count


class FitErrors(_Part):
    """Errors of the fitted model on one part of the database."""

    configurations: Count
    energy_rmse_ev_per_atom: Number = None
    force_rmse_ev_per_angstrom: Number = None
    virial_rmse_ev_per_atom: Number = None


class FitSummary(_Part):
    """The fit: its settings, how much data reached it, and its errors on that data."""

    method: str = "gap"
    settings: dict[str, Any] = Field(default_factory=dict)
    regularisation: dict[str, Any] = Field(default_factory=dict)
    counts: dict[str, FitCounts]
    n_sparse: Count = 0
    sizes: dict[str, Count] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    seconds: Number = None
    memory_gb: Number = None
    errors: dict[str, FitErrors] = Field(default_factory=dict)


class EstimateSummary(_Part):
    """A number that was not measured, between those with the power of the number of atoms a deviation off."""

    value: Number
    low: Number
    high: Number


class EffortSummary(_Part):
    """Calculations behind phonons: how many, their atoms, the cubes of these summed, their k-points and their time."""

    calculations: Count
    atoms: Count
    atoms_cubed: Number
    kpoints: Count | None = None
    seconds: Number = None
    seconds_estimated: EstimateSummary | None = None


class HarmonicSummary(_Part):
    """The harmonic model of the database: a check of the data, and a baseline that the potential must beat."""

    rmse_mesh_thz: Number
    force_rmse_ev_per_angstrom: Number
    force_rms_ev_per_angstrom: Number


class PolarSummary(_Part):
    """Transverse and longitudinal optical modes at the zone centre, THz, with q along one direction."""

    towards: str
    direction: Annotated[list[float], BeforeValidator(_plain)]
    model_transverse: list[Number]
    model_longitudinal: list[Number]
    reference_transverse: list[Number]
    reference_longitudinal: list[Number]

    def rows(self) -> list[tuple[str, tuple[float | None, float | None], tuple[float | None, float | None]]]:
        """Name of each mode, with the potential's and the reference's transverse and longitudinal frequency."""
        ours = zip(self.model_transverse, self.model_longitudinal, strict=False)
        theirs = zip(self.reference_transverse, self.reference_longitudinal, strict=False)
        return [(f"Γ → {self.towards}, mode {n}", *pair) for n, pair in enumerate(zip(ours, theirs, strict=False), 1)]


class PhononsSummary(_Part):
    """How well the model's phonons agree with the reference's."""

    rmse_mesh_thz: Number
    rmse_path_thz: Number
    max_error_thz: Number
    min_frequency_thz: Number
    reference_min_frequency_thz: Number = None
    reference_max_frequency_thz: Number = None
    harmonic: HarmonicSummary | None = None
    grid: list[int] = Field(default_factory=list)
    n_exact_qpoints: Count = 0
    reference_effort: EffortSummary | None = None
    diagonal_effort: EffortSummary | None = None
    mesh: list[int] = Field(default_factory=list)
    dos_mesh: list[int] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    polar: list[PolarSummary] = Field(default_factory=list)


class SizeCost(_Part):
    """The labels of one number of atoms."""

    atoms: PositiveInt
    labels: Count
    seconds: Number = None


class CostSummary(_Part):
    """What the labels cost, in seconds, beside one calculation of the diagonal supercell of the same grid.

    The time of the diagonal supercell is an estimate, from the largest labels that there are: it grows as atoms^power.
    Without times, relative ones follow from that power alone.
    """

    labels: Count
    atoms: Count
    seconds: Number
    atoms_cubed: Number = None
    diagonal_atoms: Count = 0
    relative_to_diagonal: Number = None
    by_size: list[SizeCost] = Field(default_factory=list)
    reference_phonon_labels: Count = 0
    reference_phonon_atoms_cubed: Number = None
    stages: dict[str, Number] = Field(default_factory=dict)
    power: Number = None
    power_width: Number = None
    diagonal_seconds_estimated: EstimateSummary | None = None
    estimated_from_atoms: Count | None = None
    relative_time_estimated: EstimateSummary | None = None
    reference_phonon_seconds: Number = None
    reference_phonon_relative_time_estimated: EstimateSummary | None = None

    @property
    def diagonal_is_measured(self) -> bool:
        """Whether the diagonal supercell is among the labels, so that its time need not be estimated."""
        return self.diagonal_atoms > 0 and self.estimated_from_atoms == self.diagonal_atoms

    @property
    def total_seconds(self) -> float | None:
        """Wall-clock seconds of all stages together, ``None`` when none was recorded."""
        return sum(value or 0.0 for value in self.stages.values()) if self.stages else None


class SelectionStep(_Part):
    """What was expected after a batch of labels."""

    labels: Count
    seconds: Number
    predicted_rmse_thz: Number = None
    predicted_elastic_percent: Number = None
    predicted_mev: Number = None
    predicted_gpa: Number = None


class SelectionSummary(_Part):
    """The choice of labels, and the errors that it predicts."""

    method: str
    candidates: Count
    labels: Count
    predicted_rmse_thz: Number = None
    predicted_elastic_percent: Number = None
    predicted_mev: Number = None
    predicted_gpa: Number = None
    statistical_rmse_thz: Number = None
    statistical_elastic_percent: Number = None
    factor: Number = None
    elastic_factor: Number = None
    target_thz: Number = None
    target_elastic_percent: Number = None
    target_mev: Number = None
    target_gpa: Number = None
    target_met: bool
    reason: str = ""
    advice: str = ""
    constants: dict[str, Number] = Field(default_factory=dict)
    deviations: dict[str, Number] = Field(default_factory=dict)
    noise: dict[str, Number] = Field(default_factory=dict)
    steps: list[SelectionStep] = Field(default_factory=list)
    order: list[str] = Field(default_factory=list)
    outliers: list[str] = Field(default_factory=list)


class DiagnosisSummary(_Part):
    """What says why a potential is poor, where it was measured.

    Shares are of root mean squares: of the forces in the database, or of the reference's force constants;
    `error_beyond_cutoff` is a share of squares.
    """

    unit_cells: Count = 0
    displaced_unit_cells: Count = 0
    strain_moves_ions: bool = True
    force_rms: Number = None
    force_noise: Number = None
    training_share: Number = None
    anharmonic_share: Number = None
    force_constant_error: Number = None
    beyond_cutoff: Number = None
    error_beyond_cutoff: Number = None
    rmse_database_thz: Number = None
    rmse_centre_thz: Number = None


class Results(_Part):
    """The whole of results.json."""

    schema_version: Literal[1] = 1
    crystal: CrystalSummary
    supercells: SupercellsSummary | None = None
    configurations: ConfigurationsSummary | None = None
    labels: LabelsSummary | None = None
    databases: list[DatabaseSummary] = Field(default_factory=list)
    selection: SelectionSummary | None = None
    fit: FitSummary | None = None
    lattice: dict[str, Comparison] | None = None
    phonons: PhononsSummary | None = None
    elastic: dict[str, Comparison] | None = None
    elastic_settings: dict[str, Any] = Field(default_factory=dict)
    diagnosis: DiagnosisSummary | None = None
    cost: CostSummary | None = None
    versions: dict[str, str]
    seed: int
    command: str = ""
    input: str = ""
    warnings: list[str] = Field(default_factory=list)

    @property
    def elastic_unit(self) -> str:
        """GPa, or N/m of a sheet."""
        return str(self.elastic_settings.get("unit", "GPa"))

    @property
    def without_reference(self) -> bool:
        """Whether the input file says that there is nothing to compare with: ``[phonons] reference = "none"``."""
        try:
            section = tomllib.loads(self.input).get("phonons")
        except ValueError:
            return False
        return isinstance(section, dict) and section.get("reference") == "none"

    @property
    def largest_elastic_percent(self) -> float | None:
        """The largest relative error of an elastic constant as a choice of labels predicts it; None without a value.

        Constants below a twentieth of the largest count as that.
        """
        pairs = [(value.model, value.reference) for value in (self.elastic or {}).values()]
        known = [(model, reference) for model, reference in pairs if reference is not None]
        largest = max((abs(reference) for _, reference in known), default=0.0)
        errors = [
            100.0 * abs(model - reference) / max(abs(reference), SMALLEST_CONSTANT * largest)
            for model, reference in known
            if model is not None and largest > 0
        ]
        return max(errors) if errors and len(errors) == len(known) else None

    @property
    def worst_elastic(self) -> tuple[str, Comparison] | None:
        """The elastic constant with the largest error (one without a finite value is the worst), if there is any."""
        constants = {name: value for name, value in (self.elastic or {}).items() if value.reference is not None}
        if not constants:
            return None
        return max(constants.items(), key=lambda item: _badness(item[1]))


class SeveralResults(_Part):
    """results.json of a run of several crystals: that of each, and what is common to them."""

    schema_version: Literal[1] = 1
    crystals: dict[str, Results]
    energies: dict[str, Comparison] = Field(default_factory=dict)
    labels: LabelsSummary
    fit: FitSummary | None = None
    databases: list[DatabaseSummary] = Field(default_factory=list)
    stages: dict[str, Number] = Field(default_factory=dict)
    versions: dict[str, str]
    seed: int
    command: str = ""
    input: str = ""
    warnings: list[str] = Field(default_factory=list)


def _badness(value: Comparison) -> float:
    if value.model is None:
        return math.inf
    return 0.0 if value.error_percent is None else abs(value.error_percent)


def write_results(results: Results | SeveralResults, path: str | Path) -> Path:
    """Write results.json, whole or not at all.

    Parameters
    ----------
    results : Results or SeveralResults
        What the run found.
    path : path
        The file, or the run directory that gets ``results.json``.

    Raises
    ------
    InputError
        When the folder cannot be written to.
    """
    target = Path(path)
    target = target / "results.json" if target.is_dir() else target
    write_text(target, results.model_dump_json(indent=2) + "\n")
    return target


def read_results(path: str | Path) -> Results:
    """Read results.json from a file or from a run directory.

    Raises
    ------
    InputError
        When the file is missing, is no JSON, or does not follow the schema.
    """
    return _read(path, Results)


def read_several_results(path: str | Path) -> SeveralResults:
    """Read results.json of a run of several crystals from a file or from its directory.

    Raises
    ------
    InputError
        As :func:`read_results`.
    """
    return _read(path, SeveralResults)


def is_of_several(path: str | Path) -> bool:
    """Whether a run's directory has results of several crystals."""
    try:
        document = read_json(Path(path) / "results.json")
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and isinstance(document.get("crystals"), dict)


def _read(path: str | Path, model: type[R]) -> R:
    source = Path(path)
    source = source / "results.json" if source.is_dir() else source
    try:
        document = read_json(source)
    except FileNotFoundError as error:
        raise InputError(
            f"There is no {source}. It is written at the end of a run: make it with `ndsc run CONFIG.toml`, or give "
            "the directory of a run that has finished."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{source} cannot be read as JSON ({error}). Make it again with `ndsc run CONFIG.toml`."
        ) from error
    found = document.get("schema_version", SCHEMA_VERSION) if isinstance(document, dict) else None
    if isinstance(found, int) and found > SCHEMA_VERSION:
        raise InputError(
            f"{source} has schema version {found}, and this version of ndsc reads up to {SCHEMA_VERSION}. Install a "
            "newer ndsc."
        )
    if model is Results and isinstance(document, dict) and isinstance(document.get("crystals"), dict):
        raise InputError(
            f"{source} belongs to a run of several crystals. Give the folder of one of them: "
            f"{', '.join(str(source.parent / name) for name in document['crystals'])}."
        )
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise InputError(
            f"{source} does not follow the schema of results.json: {first['msg']} at {where} "
            f"({error.error_count()} such errors). Make it again with `ndsc run CONFIG.toml`."
        ) from error


def changed_inputs(results: Results, directory: str | Path) -> list[str]:
    """What in the input file of a run's folder is not what its results were made with.

    A run keeps its earlier results until it has new ones, so they differ after a run that stopped.

    Parameters
    ----------
    results : Results
    directory : path
        Folder of the run, with its ``ndsc.toml``.

    Returns
    -------
    list of str
        Keys as ``"[supercells] grid"``; empty too when either input is unknown.
    """
    try:
        then, now = tomllib.loads(results.input), tomllib.loads((Path(directory) / "ndsc.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    changed = []
    for section in sorted((then.keys() & now.keys()) - {"executor"}):
        before, after = then[section], now[section]
        if not isinstance(before, dict) or not isinstance(after, dict):
            changed += [f"[[{section}]]"] if before != after else []
            continue
        keys = (before.keys() | after.keys()) - {"labels", "command", "pseudo_dir"}
        changed += [f"[{section}] {key}" for key in sorted(keys) if before.get(key) != after.get(key)]
    return changed


def with_input_warning(results: Results, directory: Path) -> Results:
    """The results, with a warning where the input file of their folder has changed since they were made."""
    changed = changed_inputs(results, directory)
    if not changed:
        return results
    warning = (
        f"These results belong to an earlier input: {', '.join(changed)} differ in ndsc.toml, and no run of the new "
        "input has finished. Run it again: ndsc run ndsc.toml."
    )
    log.warning("%s", warning)
    return results.model_copy(update={"warnings": [warning, *results.warnings]})
