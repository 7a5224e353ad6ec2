"""A model beside its reference: lattice, phonons, elastic constants, and the harmonic model of the same database.

Model and reference are each taken at their own relaxed lattice, and both are treated in the same way: the same
supercells, displacements and strains.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.crystal import Crystal
from ndsc.elastic import ElasticConstants, elastic_constants
from ndsc.errors import InputError, NdscError
from ndsc.files import write_text
from ndsc.force_constants import (
    HarmonicModel,
    SupercellPhonons,
    harmonic_model,
    phonons_from_diagonal,
    phonons_from_supercells,
    save_phonopy,
)
from ndsc.force_constants.born import set_nac
from ndsc.phonons import LARGEST_STRAIN, DosMesh, PhononComparison, compare_phonons
from ndsc.progress import Progress, silent
from ndsc.qgrid import Grid
from ndsc.relaxation import relax_crystal
from ndsc.results import IMAGINARY_THZ, Comparison
from ndsc.sheet import is_sheet

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reference:
    """What models are compared with, and how it was computed, so that models are treated alike.

    Attributes
    ----------
    crystal : Crystal
        The unit cell at the reference's lattice.
    phonons : SupercellPhonons or None
        None leaves the phonons out of the comparison.
    elastic : ElasticConstants or None
        None leaves the elastic constants out.
    relax : bool
        Whether a model's unit cell is relaxed before it is compared.
    displacement : float, Å
        Of the phonons.
    residual_force_limit : float, eV/Å
        Largest force on an undisplaced atom.
    database_grid : 3 ints or None
        Grid of the supercells of the database, for the harmonic model; None for the phonons' grid.
    nac_params : mapping or None
        phonopy's parameters of the non-analytical correction, which the phonons of models and of the database get as
        the reference's have them.
    """

    crystal: Crystal
    phonons: SupercellPhonons | None = None
    elastic: ElasticConstants | None = None
    relax: bool = True
    displacement: float = 0.01
    residual_force_limit: float = 0.01
    database_grid: Grid | None = None
    nac_params: Mapping[str, Any] | None = None

    @property
    def warnings(self) -> list[str]:
        """What makes the reference itself doubtful."""
        found = {"Phonons": self.phonons, "Elastic constants": self.elastic}
        return [text for what, of in found.items() for text in _doubts(f"{what} of the reference", of)]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A model beside its reference.

    Attributes
    ----------
    reference : Reference
    crystal : Crystal
        The unit cell at the model's lattice; at the reference's where the model was not relaxed.
    lattice : dict of str to Comparison
        As :func:`lattice_comparison`.
    phonons : PhononComparison or None
        None where the reference or the model has no phonons.
    model_phonons : SupercellPhonons or None
    harmonic : HarmonicModel or None
        Fitted to the database; None without one, or where it does not determine the phonons.
    harmonic_phonons : PhononComparison or None
        The harmonic model (as ``model``) beside the reference.
    harmonic_failure : str or None
        Why the database has no harmonic model.
    model_elastic : ElasticConstants or None
    elastic : dict of str to Comparison
        The constants of the Laue class, GPa; empty where the reference has none.
    warnings : tuple of str
        What the model cannot do, and what is doubtful about what it can.
    """

    reference: Reference
    crystal: Crystal
    lattice: dict[str, Comparison]
    phonons: PhononComparison | None = None
    model_phonons: SupercellPhonons | None = None
    harmonic: HarmonicModel | None = None
    harmonic_phonons: PhononComparison | None = None
    harmonic_failure: str | None = None
    model_elastic: ElasticConstants | None = None
    elastic: dict[str, Comparison] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def save(self, directory: Path) -> None:
        """Write force constants and comparisons to ``phonons/`` and both sets of elastic constants to elastic.json.

        Raises
        ------
        InputError
            When the folder cannot be written.
        """
        folder = directory / "phonons"
        if self.reference.phonons is not None:
            folder.mkdir(exist_ok=True)
            self.reference.phonons.save(folder / "reference.yaml")
        if self.model_phonons is not None:
            self.model_phonons.save(folder / "model.yaml")
        if self.harmonic is not None:
            save_phonopy(self.harmonic.phonopy, folder / "harmonic.yaml")
        for name, comparison in (("comparison", self.phonons), ("harmonic_comparison", self.harmonic_phonons)):
            if comparison is not None:
                write_text(folder / f"{name}.json", json.dumps(comparison.to_dict()) + "\n")
        constants = {"reference": self.reference.elastic, "model": self.model_elastic}
        found = {name: value.to_dict() for name, value in constants.items() if value is not None}
        if found:
            write_text(directory / "elastic.json", json.dumps(found, indent=1) + "\n")


def benchmark(
    model: Calculator,
    reference: Reference,
    *,
    database: Sequence[Atoms] = (),
    dos_mesh: DosMesh = "auto",
    harmonic_dos_mesh: DosMesh = None,
    quick: bool = False,
    progress: Progress = silent,
) -> Benchmark:
    """Compare a model with a reference.

    Parameters
    ----------
    model : ase.calculators.calculator.Calculator
    reference : Reference
    database : sequence of ase.Atoms
        Labelled supercells of the reference's crystal (``REF_forces``); their harmonic model is what the model must
        beat. Other frames, by ``config_type``, are left out.
    dos_mesh : 3 ints, "auto" or None
        Mesh of the densities of states, see :func:`~ndsc.phonons.compare_phonons`; None leaves them out.
    harmonic_dos_mesh : 3 ints, "auto" or None
        The same for the harmonic model.
    quick : bool
        Solve for the model's force constants the fastest way, with the same result: a phonopy object without symmetry.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    Benchmark
        What the model cannot do is left out and named in the warnings.
    """
    warnings: list[str] = []
    crystal = _relaxed(reference, model, warnings, progress)
    model_phonons = _model_phonons(reference, model, crystal, warnings, progress, quick=quick)
    phonons = None
    if model_phonons is not None and reference.phonons is not None:
        progress("comparing phonons", 0, 1)
        phonons = compare_phonons(model_phonons, reference.phonons, dos_mesh=dos_mesh)
        warnings += _doubts("Phonons of the potential", model_phonons)
        lowest = {
            "potential": phonons.min_frequency_thz,
            "reference": phonons.reference_min_frequency_thz,
        }
        for name, frequency in lowest.items():
            other = "reference" if name == "potential" else "potential"
            if frequency < IMAGINARY_THZ:
                warnings.append(
                    f"The {name} has imaginary phonons, down to {frequency:.2f} THz on mesh and path; the lowest "
                    f"frequency of the {other} is {lowest[other]:.2f} THz."
                )
        progress("comparing phonons", 1, 1)
    harmonic, harmonic_phonons, failure = _harmonic(reference, database, harmonic_dos_mesh)
    model_elastic = _model_elastic(reference, model, crystal, warnings, progress)
    elastic = {}
    if reference.elastic is not None:
        elastic = elastic_comparison(model_elastic.constants if model_elastic else {}, reference.elastic.constants)
    return Benchmark(
        reference=reference,
        crystal=crystal,
        lattice=lattice_comparison(crystal.atoms, reference.crystal.atoms),
        phonons=phonons,
        model_phonons=model_phonons,
        harmonic=harmonic,
        harmonic_phonons=harmonic_phonons,
        harmonic_failure=failure,
        model_elastic=model_elastic,
        elastic=elastic,
        warnings=tuple(warnings),
    )


def _relaxed(reference: Reference, model: Calculator, warnings: list[str], progress: Progress) -> Crystal:
    """The crystal relaxed with the model; the reference's, with a warning, where that fails."""
    if not reference.relax:
        return reference.crystal
    try:
        relaxed = relax_crystal(reference.crystal, model, progress=progress)
        strain = np.linalg.solve(reference.crystal.atoms.cell.array, relaxed.cell.array) - np.eye(3)
        if (largest := float(np.max(np.abs(strain)))) > LARGEST_STRAIN:
            raise InputError(f"It became another crystal, strained by {largest:.2f}.")
        return reference.crystal.with_structure(relaxed)
    except NdscError as error:
        warnings.append(
            f"The crystal could not be relaxed with the potential: {error} Its phonons and elastic constants are those "
            "at the reference's lattice."
        )
        return reference.crystal


def _model_phonons(
    reference: Reference,
    model: Calculator,
    crystal: Crystal,
    warnings: list[str],
    progress: Progress,
    *,
    quick: bool,
) -> SupercellPhonons | None:
    if reference.phonons is None:
        return None
    compute = partial(phonons_from_supercells, route="dynamical" if quick else "auto", symmetry=not quick)
    if reference.phonons.route == "diagonal":
        compute = partial(phonons_from_diagonal)
    try:
        return compute(
            crystal,
            reference.phonons.grid,
            model,
            displacement=reference.displacement,
            residual_force_limit=reference.residual_force_limit,
            nac_params=reference.nac_params,
            progress=progress,
        )
    except NdscError as error:
        warnings.append(f"The phonons of the potential could not be computed: {error}")
        return None


def _harmonic(
    reference: Reference, database: Sequence[Atoms], dos_mesh: DosMesh
) -> tuple[HarmonicModel | None, PhononComparison | None, str | None]:
    """The harmonic model of the database and its comparison with the reference, or why there is none."""
    supercells = [frame for frame in database if frame.info.get("config_type") == "supercell"]
    if reference.phonons is None or not supercells:
        return None, None, None
    try:
        model = harmonic_model(reference.crystal, reference.database_grid or reference.phonons.grid, supercells)
        if reference.nac_params is not None:
            set_nac(model.phonopy, reference.nac_params)
        return model, compare_phonons(model, reference.phonons, dos_mesh=dos_mesh), None
    except InputError as error:
        log.info("no harmonic model of %d configurations: %s", len(supercells), error)
        return None, None, str(error)


def _model_elastic(
    reference: Reference, model: Calculator, crystal: Crystal, warnings: list[str], progress: Progress
) -> ElasticConstants | None:
    if reference.elastic is None:
        return None
    try:
        found = elastic_constants(
            crystal,
            model,
            strain=reference.elastic.strain,
            relax_ions=reference.elastic.relaxed_ions,
            progress=progress,
        )
    except NdscError as error:
        warnings.append(f"The elastic constants of the potential could not be computed: {error}")
        return None
    warnings += _doubts("Elastic constants of the potential", found)
    return found


def _doubts(what: str, found: SupercellPhonons | ElasticConstants | None) -> list[str]:
    return [] if found is None else [f"{what}: {text}" for text in found.warnings]


def lattice_comparison(model: Atoms, reference: Atoms) -> dict[str, Comparison]:
    """Lattice parameters of the model's relaxed unit cell beside the reference's.

    Parameters
    ----------
    model, reference : ase.Atoms
        The same unit cell, relaxed with each; the vectors must be in the same order.

    Returns
    -------
    dict
        ``a``, ``b``, ``c`` in Å, ``alpha``, ``beta``, ``gamma`` in degrees, ``volume_per_atom`` in Å³; of a sheet
        ``a``, ``b``, ``gamma`` and ``area_per_atom`` in Å².
    """
    if len(model) != len(reference):
        raise InputError(
            f"The model's cell has {len(model)} atoms and the reference's {len(reference)}, so their lattice "
            "parameters cannot be compared. Give the same unit cell, relaxed with each."
        )
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    pairs = zip(names, model.cell.cellpar(), reference.cell.cellpar(), strict=True)
    compared = {name: Comparison.of(float(ours), float(theirs)) for name, ours, theirs in pairs}
    if is_sheet(reference):
        areas = [float(np.linalg.norm(np.cross(*atoms.cell.array[:2]))) / len(atoms) for atoms in (model, reference)]
        return {name: compared[name] for name in ("a", "b", "gamma")} | {"area_per_atom": Comparison.of(*areas)}
    compared["volume_per_atom"] = Comparison.of(
        model.get_volume() / len(model), reference.get_volume() / len(reference)
    )
    return compared


def elastic_comparison(
    model: Mapping[str, float | None], reference: Mapping[str, float | None]
) -> dict[str, Comparison]:
    """Elastic constants of model and reference, name by name, GPa, in the reference's order.

    Where both are below a thousandth of the reference's largest constant there is no error in percent.
    """
    names = [*reference, *(name for name in model if name not in reference)]
    negligible = 1e-3 * max((abs(value) for value in reference.values() if value is not None), default=0.0)
    compared = {name: Comparison.of(model.get(name), reference.get(name)) for name in names}
    return {
        name: Comparison(model=value.model, reference=value.reference)
        if max(abs(value.model or 0.0), abs(value.reference or 0.0)) < negligible
        else value
        for name, value in compared.items()
    }
