"""Linear models of a study: sparse points from structures alone, with the rows of configurations and of targets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ase import Atoms

from ndsc.fit.composition import fitted_energies
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.fit.training import single_atom_energies
from ndsc.potentials.base import Basis
from ndsc.potentials.registry import fitter_of
from ndsc.progress import Progress, silent
from ndsc.selection import PhononTarget, SelectionSettings, Target
from ndsc.selection.elastic_target import PART_OF_LARGEST
from ndsc.selection.selector import SingleAtoms
from ndsc.selection.sheet_target import elastic_target
from ndsc.study.runs import StudyRun

#: Processes that compute rows.
WORKERS = 2


class PoolModels:
    """Linear models from structures without labels, which choices and fits share.

    Parameters
    ----------
    folder : path
        Sparse points and rows are kept in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._models: dict[str, Basis] = {}

    def of(
        self, key: str, structures: Sequence[Atoms], settings: FitterSettings, *, progress: Progress = silent
    ) -> Basis:
        """The model of a pool.

        Parameters
        ----------
        key : str
            What its sparse points depend on, see :func:`ndsc.study.variants.sparse_key_of`.
        structures : sequence of ase.Atoms
            Their labels are not looked at.
        settings : FitterSettings
        progress : callable

        Raises
        ------
        FitError
            When sparse points cannot be chosen.
        """
        if key not in self._models:
            kind = fitter_of(settings)
            kind.require()
            self._models[key] = kind.basis(
                structures, self.folder / "points" / key, settings, store=self.folder / "rows", workers=WORKERS,
                progress=progress,
            )  # fmt: skip
        return self._models[key]


def targets_of_run(run: StudyRun, goals: SelectionSettings) -> list[Target]:
    """What a potential is to give of a run's crystal: phonons, and elastic constants where the run has them.

    Parameters
    ----------
    run : StudyRun
    goals : SelectionSettings
    """
    plan, elastic = run.plan, run.config.elastic
    found: list[Target] = [
        PhononTarget(plan.crystal, plan.phonon_supercells.grid, goal=goals.target_thz, nac_params=plan.nac_params)
    ]
    if elastic.enabled:
        goal = goals.target_elastic_percent * PART_OF_LARGEST
        constants = elastic_target(plan.crystal, goal, relax_ions=elastic.relax_ions)
        found += [] if constants is None else [constants]
    return found


def given_e0(settings: FitterSettings, frames: Sequence[Atoms]) -> SingleAtoms | None:
    """Energies of single atoms by symbol, eV, or what finds them; None where they are the mean of whatever labels."""
    if settings.e0 == "fit":
        return partial(fitted_energies, strict=False)
    return None if settings.e0 == "average" else single_atom_energies(frames, settings)
