"""From the labelled database to a potential, as the input file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ase import Atoms

from ndsc.config import FitConfig, RegularisationConfig, RunConfig, SigmaConfig
from ndsc.fit import GapFit, GapSettings, Regularisation, Sigma, apply_regularisation, fit_gap
from ndsc.progress import Progress


def gap_settings(section: FitConfig) -> GapSettings:
    """The hyperparameters of ``[fit]``."""
    given = section.model_dump()
    return GapSettings(**{field.name: given[field.name] for field in fields(GapSettings) if field.name in given})


def regularisation(section: RegularisationConfig) -> Regularisation:
    """The expected errors of ``[regularisation]``."""

    def sigma(part: SigmaConfig) -> Sigma:
        return Sigma(relative=part.relative, minimum=part.minimum)

    return Regularisation(
        kind=section.kind, energy=section.energy, force=sigma(section.force), virial=sigma(section.virial)
    )


def fit_potential(
    config: RunConfig, database: Sequence[Atoms], unlabelled: Sequence[Atoms], directory: Path, progress: Progress
) -> GapFit:
    """Regularise the database and fit it; sparse points come from it and from the unlabelled configurations."""
    return fit_gap(
        apply_regularisation(database, regularisation(config.regularisation)),
        directory,
        gap_settings(config.fit),
        sparse_only=unlabelled,
        threads=config.executor.workers * config.executor.threads,
        progress=progress,
    )
