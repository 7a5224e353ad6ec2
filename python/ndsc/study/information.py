"""The choice of labels by what they tell, as a run makes it: none is seen before it is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from ndsc.errors import NdscError
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.progress import Progress, silent
from ndsc.selection import SelectionSettings, Selector
from ndsc.selection.selector import Unit
from ndsc.store import digest
from ndsc.study.finished import Finished
from ndsc.study.models import PoolModels, given_e0, targets_of_run
from ndsc.study.runs import StudyRun
from ndsc.versions import package_versions

if TYPE_CHECKING:
    from pandas import DataFrame, Series

#: Goes up when a choice from the same pool would be another one.
FORMAT = 1


class NotChosenError(NdscError):
    """A choice has not been made yet, and is not to be made now."""


@dataclass(frozen=True, eq=False)
class Offered:
    """What a choice is made from.

    Attributes
    ----------
    runs : sequence of StudyRun
        Whose phonons and elastic constants are wanted, and whose configurations are chosen.
    structures : sequence of ase.Atoms
        That offer sparse points, labelled or not.
    sparse_key : str
        What the sparse points depend on.
    settings : FitterSettings
    unit : "labels", "atoms" or "seconds"
        What costs are counted in.
    """

    runs: Sequence[StudyRun]
    structures: Sequence[Atoms]
    sparse_key: str
    settings: FitterSettings
    unit: Unit


class InformedChoices:
    """Choices by information; what is finished is kept, and a larger one goes on where a smaller one ended.

    Parameters
    ----------
    finished : Finished
    models : PoolModels
    compute : bool
        Whether to make choices that are not finished.
    progress : callable
        Called with (task, done, total).
    """

    def __init__(
        self, finished: Finished, models: PoolModels, *, compute: bool = True, progress: Progress = silent
    ) -> None:
        self.finished, self.models, self.compute, self.progress = finished, models, compute, progress
        self._loops: dict[str, _Loop] = {}

    def order(self, offered: Offered, pool: DataFrame, cost: Series[float], limit: float) -> list[int]:
        """Rows of a pool in the order in which they are chosen, those that are always in first.

        Parameters
        ----------
        offered : Offered
        pool : DataFrame
            ``run``, ``name``, ``seconds`` and ``always`` of each configuration.
        cost : Series
            What of the limit each configuration takes.
        limit : float
            The order ends when it costs as much, or no other label would tell anything.

        Raises
        ------
        NotChosenError
            When it is not finished, and is not to be made.
        FitError
            When there is no model to choose with.
        """
        members = list(zip(pool.run, pool.name, strict=True))
        key = self._key(offered, pool, cost)
        name = f"selection-{digest({'choice': key, 'limit': limit})}"

        def chosen() -> dict[str, Any]:
            if key not in self._loops:
                self._loops[key] = self._start(offered, pool)
            loop = self._loops[key]
            loop.go_on(cost.tolist(), limit)
            return {"members": [members[row] for row in loop.order]}

        def rows(found: Mapping[str, Any]) -> list[int]:
            return [members.index((run, own)) for run, own in found["members"]]

        if not self.compute and name not in self.finished:
            raise NotChosenError(f"The choice of labels up to {limit:g} {offered.unit} is not made yet.")
        return self.finished.get_or_compute(name, chosen, rows)

    def _key(self, offered: Offered, pool: DataFrame, cost: Series[float]) -> str:
        """What a choice depends on."""
        goals = _goals(offered)
        frames = _frames(offered, pool)
        return digest(
            {
                "format": FORMAT,
                "sparse": offered.sparse_key,
                "pool": [str(frame.info["ndsc_label"]) for frame in frames],
                "always": pool.always.tolist(),
                "unit": offered.unit,
                "cost": cost.tolist() if offered.unit == "seconds" else None,
                "goals": [goals.target_thz, goals.target_elastic_percent, goals.batch],
                "targets": [
                    [
                        run.plan.store.key_of(run.plan.crystal.atoms, run.plan.spec),
                        list(run.plan.phonon_supercells.grid),
                        run.config.elastic.model_dump(mode="json"),
                    ]
                    for run in offered.runs
                ],
                "versions": {name: package_versions().get(name) for name in ("ndsc", "quippy-ase")},
            }
        )

    def _start(self, offered: Offered, pool: DataFrame) -> _Loop:
        model = self.models.of(offered.sparse_key, offered.structures, offered.settings, progress=self.progress)
        frames, always = _frames(offered, pool), np.flatnonzero(pool.always).tolist()
        goals = _goals(offered)
        selector = Selector(
            model,
            frames,
            [target for run in offered.runs for target in targets_of_run(run, goals)],
            unit=offered.unit,
            kpoints=any(run.plan.spec.kgrid is not None for run in offered.runs),
            e0=given_e0(offered.settings, [frames[row] for row in always]),
            progress=self.progress,
        )
        return _Loop(selector, pool.seconds.tolist(), goals.batch, order=always, waiting=always)


@dataclass(eq=False)
class _Loop:
    """Batch after batch of labels, each chosen with those of the batches before."""

    selector: Selector
    seconds: list[float]
    batch: int
    order: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    def go_on(self, cost: Sequence[float], limit: float) -> None:
        """Choose until the labels cost as much as the limit, always whole batches."""
        while math.fsum(cost[row] for row in self.order) < limit:
            self.selector.add(
                [self.selector.candidates[row] for row in self.waiting],
                candidates=self.waiting,
                seconds=[self.seconds[row] for row in self.waiting],
            )
            self.waiting = list(self.selector.choose(self.batch).order)
            self.order = [*self.order, *self.waiting]
            if not self.waiting:
                return


def _goals(offered: Offered) -> SelectionSettings:
    """The goals of the first run, as its settings of the fit."""
    return offered.runs[0].config.selection


def _frames(offered: Offered, pool: DataFrame) -> list[Atoms]:
    by_name = {run.name: run for run in offered.runs}
    return [by_name[run].database[name] for run, name in zip(pool.run, pool.name, strict=True)]
