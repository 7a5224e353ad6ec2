"""From the labelled database to a potential, as the input file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from ndsc.config import RunConfig
from ndsc.fit import GapFit, apply_regularisation, fit_gap
from ndsc.progress import Progress


def fit_potential(
    config: RunConfig, database: Sequence[Atoms], unlabelled: Sequence[Atoms], directory: Path, progress: Progress
) -> GapFit:
    """Regularise the database and fit it; sparse points come from it and from the unlabelled configurations."""
    return fit_gap(
        apply_regularisation(database, config.regularisation),
        directory,
        config.fit,
        sparse_only=unlabelled,
        threads=config.executor.workers * config.executor.threads,
        progress=progress,
    )
