"""Likely causes of a poor potential, from what a run has measured, each with the key of the input file to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ndsc.report.text import significant
from ndsc.results import DiagnosisSummary, Results

#: Errors at other q-points than those of the supercells, relative to these, above which the grid is to blame.
GRID_RATIO = 2.0
#: Part of the squared error of the force constants that lies beyond the cutoff, above which their range is to blame,
#: and part of the force constants themselves.
RANGE_ERROR, RANGE = 0.5, 0.02
#: Displaced configurations of the unit cell that a crystal with a basis needs.
FEWEST_UNIT_CELLS = 8
#: Part of the forces that no force constants describe, above which displacements or strains are large.
ANHARMONIC = 0.2
#: Noise of the forces, relative to them.
NOISE = 0.03
#: Error of the potential on its own data, relative to the forces.
MISFIT = 0.03
#: Causes that are named.
MOST = 2


@dataclass(frozen=True)
class Cause:
    """Why a potential is likely poor.

    Attributes
    ----------
    name : str
        ``"grid"``, ``"range"``, ``"unit cells"``, ``"amplitude"``, ``"noise"``, ``"fit"``, ``"magnetism"`` or
        ``"labels"``.
    measured : str
        What was measured, a sentence.
    advice : str
        The key to change, a sentence.
    weight : float
        How far the measured number is over what is allowed; the largest comes first.
    """

    name: str
    measured: str
    advice: str
    weight: float

    def __str__(self) -> str:
        return f"{self.measured} {self.advice}"


def causes_of(results: Results) -> list[Cause]:
    """The likely causes, the likeliest first; empty where nothing was measured.

    Parameters
    ----------
    results : Results
        Of a run with a poor potential; a good one needs no cause.
    """
    found = results.diagnosis
    if found is None or results.fit is None:
        return []
    causes = [
        *_grid(results, found),
        *_range(results, found),
        *_unit_cells(results, found),
        *_amplitude(results, found),
        *_noise(found),
        *_fit(results, found),
    ]
    causes.sort(key=lambda cause: -cause.weight)
    return causes[:MOST] or _labels(results, found)


def _settings(results: Results) -> tuple[Mapping[str, Any], bool]:
    """Settings of the configurations, and whether these are all labelled as ``[configurations]`` says."""
    made = {} if results.configurations is None else results.configurations.settings
    return made, results.selection is None


def _grid(results: Results, found: DiagnosisSummary) -> list[Cause]:
    phonons = results.phonons
    if phonons is None or phonons.rmse_mesh_thz is None or not found.rmse_database_thz or results.supercells is None:
        return []
    ratio = phonons.rmse_mesh_thz / found.rmse_database_thz
    own = list(results.supercells.grid)
    # A grid that holds the phonons' is as good as it can be.
    if ratio < GRID_RATIO or all(n % m == 0 for n, m in zip(own, phonons.grid, strict=True)):
        return []
    return [
        Cause(
            "grid",
            f"The frequencies are wrong by {significant(found.rmse_database_thz, 2)} THz at the q-points of the "
            f"supercells, and by {significant(phonons.rmse_mesh_thz, 2)} THz over the mesh of phonons on another grid.",
            f"Make the supercells for the grid of the phonons: [supercells] grid = {list(phonons.grid)}.",
            ratio / GRID_RATIO,
        )
    ]


def _range(results: Results, found: DiagnosisSummary) -> list[Cause]:
    part, size = found.error_beyond_cutoff, found.beyond_cutoff
    if part is None or size is None or part < RANGE_ERROR or size < RANGE:
        return []
    cutoff = results.fit.settings.get("cutoff") if results.fit is not None else None
    kinds = len({letter for letter in results.crystal.formula if letter.isupper()})
    ionic = " In an ionic crystal, forces reach beyond any cutoff (see docs/polar.md)." if kinds > 1 else ""
    return [
        Cause(
            "range",
            f"{100 * part:.0f} % of the squared error of the force constants is between atoms that are farther apart "
            f"than the cutoff, where the potential has little influence; {100 * size:.2g} % of the reference's own "
            "force constants reach that far.",
            f"Raise [fit] cutoff = {cutoff}.{ionic}",
            part / RANGE_ERROR,
        )
    ]


def _unit_cells(results: Results, found: DiagnosisSummary) -> list[Cause]:
    made, all_labelled = _settings(results)
    if not all_labelled or results.crystal.n_atoms < 2 or found.displaced_unit_cells >= FEWEST_UNIT_CELLS:
        return []
    rmse = None if results.phonons is None else results.phonons.rmse_mesh_thz
    centre = found.rmse_centre_thz
    # Where every atom is at a centre of inversion, a strain moves none from its site.
    worst = (results.largest_elastic_percent or 0.0) if found.strain_moves_ions else 0.0
    at_centre = centre is not None and bool(rmse) and rmse is not None and centre > rmse
    if worst < 5.0 and not at_centre:
        return []
    where = f"elastic constants are wrong by up to {worst:.2g} %" if worst >= 5.0 else "the error is largest at Γ"
    return [
        Cause(
            "unit cells",
            f"The crystal has {results.crystal.n_atoms} atoms in its unit cell, {where}, and only "
            f"{found.displaced_unit_cells} of {found.unit_cells} configurations of the unit cell have displaced atoms.",
            f"Raise [configurations] unit_cells = {made.get('unit_cells', found.unit_cells)} to 20 or more, with "
            f"unit_cell_displacement = {_displacement(made)}.",
            1.0 + worst / 20.0,
        )
    ]


def _displacement(made: Mapping[str, Any]) -> str:
    """A displacement of unit cells that goes with those of the supercells."""
    given = made.get("displacement", 0.02)
    smallest = min(given) if isinstance(given, list | tuple) and given else given
    return f"{min(float(smallest), 0.02):g}" if isinstance(smallest, int | float) else "0.02"


def _amplitude(results: Results, found: DiagnosisSummary) -> list[Cause]:
    made, all_labelled = _settings(results)
    share = found.anharmonic_share
    if not all_labelled or share is None or share < ANHARMONIC:
        return []
    return [
        Cause(
            "amplitude",
            f"{100 * share:.0f} % of the forces in the database are not harmonic: its displacements or strains are "
            "much larger than those that determine phonons.",
            f"Add smaller ones: [configurations] displacement = {made.get('displacement')} and scale = "
            f"{made.get('scale')}; half of each as [0.01, 0.03] and [0.99, 1.0, 1.01], for example.",
            share / ANHARMONIC,
        )
    ]


def _noise(found: DiagnosisSummary) -> list[Cause]:
    if not found.force_noise or not found.force_rms or found.force_noise < NOISE * found.force_rms:
        return []
    return [
        Cause(
            "noise",
            f"Forces of a configuration do not add up to zero: their noise is {1e3 * found.force_noise:.2g} meV/Å, "
            f"{100 * found.force_noise / found.force_rms:.2g} % of the forces.",
            "Converge the reference more tightly ([reference] parameters: tolerance of the iteration, cutoff, "
            "grids), or use larger displacements.",
            found.force_noise / found.force_rms / NOISE,
        )
    ]


def _fit(results: Results, found: DiagnosisSummary) -> list[Cause]:
    share, fit = found.training_share, results.fit
    if fit is None or share is None or share < MISFIT:
        return []
    measured = f"The potential does not reproduce {100 * share:.2g} % of the forces that it was fitted to."
    if results.crystal.magnetic_group is not None:
        advice = (
            "It does not know magnetic moments: structures that differ only in their moments have the same energy. "
            "No setting changes that (see docs/magnetic.md)."
        )
        return [Cause("magnetism", measured, advice, share / MISFIT)]
    keys = ", ".join(f"{key} = {fit.settings.get(key)}" for key in ("n_sparse", "n_max", "l_max"))
    return [Cause("fit", measured, f"Raise [fit] {keys}, or use smaller displacements.", share / MISFIT)]


def _labels(results: Results, found: DiagnosisSummary) -> list[Cause]:
    """Nothing else stands out: more labels."""
    made, all_labelled = _settings(results)
    chosen = results.selection
    if chosen is not None and chosen.advice:
        return [Cause("labels", "", chosen.advice, 1.0)]
    share = found.training_share
    measured = (
        "Nothing else stands out."
        if share is None
        else f"The potential fits its own data (error of the forces {100 * share:.2g} %) and is wrong elsewhere."
    )
    advice = (
        f"Label more: [configurations] per_supercell = {made.get('per_supercell')}."
        if all_labelled
        else "Label more: [selection] max_labels, or lower its targets."
    )
    return [Cause("labels", measured, advice, 1.0)]
