"""From the potentials and sweeps of a study's file to its list of variants, each with everything that its fit needs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from ase import Atoms
from pydantic import ValidationError

from ndsc.config.study import PotentialConfig, SparseFrom, StudyConfig
from ndsc.errors import InputError
from ndsc.fit import GapSettings, Regularisation
from ndsc.fit.fitter_settings import FitterSettings
from ndsc.messages import explain
from ndsc.potentials.registry import fitter_of
from ndsc.potentials.settings import FITTERS
from ndsc.reference.label_file import structure_content
from ndsc.store import digest
from ndsc.study.information import InformedChoices, Offered
from ndsc.study.results import Variant
from ndsc.study.runs import StudyRun
from ndsc.study.selection import Informed, Selected, candidates, draw
from ndsc.versions import package_version, package_versions

#: Goes up when this version of ndsc would find other numbers than an earlier one from the same input.
FORMAT = 1
#: Packages whose versions the numbers depend on.
PACKAGES = ("ase", "phonopy", "symfc", "matscipy", "spglib", "quippy-ase")
#: Ways of choosing sparse points that use random numbers.
RANDOM_METHODS = ("random", "kmeans", "cluster")


@dataclass(frozen=True, eq=False)
class FitTask:
    """Everything that one fit needs.

    Attributes
    ----------
    variant : Variant
    selected : Selected
        The labels to learn from.
    left_out : Selected or None
        The labels that the filters let through and the draw did not take.
    pool : tuple of ase.Atoms
        Labelled configurations whose environments are offered as sparse points.
    pool_unlabelled : tuple of ase.Atoms
        The same, without labels, or without looking at them; without `pool`, sparse points come from structures alone.
    pool_keys, frame_keys : tuple of str
        Label keys, which say what these are.
    settings : FitterSettings
    regularisation : Regularisation or None
        None for the sigmas that make the labels most probable.
    runs : tuple of str
        Runs that judge it.
    """

    variant: Variant
    selected: Selected
    left_out: Selected | None
    pool: tuple[Atoms, ...]
    pool_unlabelled: tuple[Atoms, ...]
    pool_keys: tuple[str, ...]
    frame_keys: tuple[str, ...]
    settings: FitterSettings
    regularisation: Regularisation | None
    runs: tuple[str, ...]

    @property
    def from_structures(self) -> bool:
        """Whether the sparse points come from structures alone."""
        return not self.pool

    @property
    def own_pool(self) -> bool:
        """Whether the sparse points come from exactly the labels to learn from, and unlabelled configurations."""
        return [id(frame) for frame in self.pool] == [id(frame) for frame in self.selected.frames]

    @cached_property
    def sparse_key(self) -> str:
        """What the sparse points depend on: tasks with the same key share one linear system."""
        return sparse_key_of(self.pool_keys, len(self.pool), self.settings)

    @cached_property
    def fit_key(self) -> str:
        """What the potential depends on."""
        return digest(
            {
                "sparse": self.sparse_key,
                "frames": self.frame_keys,
                "regularisation": self._sigmas,
                "solver": getattr(self.settings, "solver", None),
            }
        )

    @property
    def _sigmas(self) -> Any:
        if self.regularisation is not None:
            return self.regularisation.expected_errors()
        # Fits of earlier versions found the width of the prior anew, but for GAPs, whose width is always one.
        return "evidence" if isinstance(self.settings, GapSettings) else ["evidence", "and the width of the prior"]

    def evaluation_key(self, reference: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
        """What the evaluation of the potential on a run depends on.

        Parameters
        ----------
        reference : mapping
            :meth:`ndsc.study.runs.StudyRun.reference_content`.
        asked : mapping
            What is evaluated.
        """
        versions = package_versions()
        return digest(
            {
                "fit": self.fit_key,
                "reference": reference,
                "asked": asked,
                "versions": {name: versions.get(name) for name in PACKAGES},
            }
        )


@dataclass(frozen=True, eq=False)
class Point:
    """A variant before its labels are drawn or chosen.

    Attributes
    ----------
    variant : Variant
    section : PotentialConfig
        Of its potential, at its swept values.
    method : str
        Its kind of potential.
    runs : tuple of str
        Runs that judge it.
    """

    variant: Variant
    section: PotentialConfig
    method: str
    runs: tuple[str, ...]


def sparse_key_of(keys: Sequence[str], labelled: int, settings: FitterSettings) -> str:
    """What sparse points depend on.

    Parameters
    ----------
    keys : sequence of str
        Of the labels of all configurations that offer them.
    labelled : int
        How many of these, the first ones, are offered with their labels.
    settings : FitterSettings
    """
    content = {
        "format": FORMAT,
        "pool": tuple(keys),
        "labelled": labelled,
        "settings": settings.hyperparameters(),
        "quippy": package_version("quippy-ase"),
    }
    if not isinstance(settings, GapSettings):
        kind = fitter_of(settings)
        content |= {"method": settings.method, "quippy": None, "version": package_version(kind.package)}
    return digest(content)


def needed_runs(config: StudyConfig) -> list[str]:
    """Names of the runs that a study reads, in the order of its file."""
    trained = [name for potential in config.potentials for name in potential.train or config.runs]
    wanted = {*trained, *config.evaluate.runs_for(trained), *(column.on for column in config.published)}
    return [name for name in config.runs if name in wanted]


def expand(config: StudyConfig) -> list[tuple[Variant, PotentialConfig]]:
    """Every variant of a study, with the settings of its potential at the swept values.

    Raises
    ------
    InputError
        When a swept key or value is wrong.
    """
    found = []
    for potential in config.potentials:
        sweep = config.sweep if potential.sweep is None else potential.sweep
        for combination in itertools.product(*sweep.values()):
            values = dict(zip(sweep, combination, strict=True))
            section = at_values(potential, values)
            _check_informed(section, values)
            unknown = [name for name in section.train if name not in config.runs]
            if unknown:
                raise InputError(
                    f"The potential {section.name!r} uses labels of the run {unknown[0]!r}, which does not exist. "
                    f"The runs are {', '.join(config.runs)}."
                )
            found += [(Variant(potential.name, values, seed), section) for seed in config.study.seeds]
    return found


def _check_informed(section: PotentialConfig, values: Mapping[str, Any]) -> None:
    if section.select.method == "information" and not section.select.limited:
        said = "".join(f", {key} = {value!r}" for key, value in values.items())
        raise InputError(
            f"The potential {section.name!r} chooses labels by information, but nothing says how many "
            f"(select.method = 'information'{said}). Give select.size, fraction, atoms or seconds, or sweep one."
        )


def at_values(potential: PotentialConfig, values: Mapping[str, Any]) -> PotentialConfig:
    """A potential's section with swept values put in by their dotted keys."""
    data: dict[str, Any] = potential.model_dump(exclude_unset=True)
    for key, value in values.items():
        *path, last = key.split(".")
        table = data
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise InputError(f"The sweep over {key!r} goes through {part!r}, which is not a table.")
        if (path[0] if path else last) in ("name", "sweep"):
            raise InputError(
                f"A sweep cannot go over {key!r}. Sweep select.*, fit.*, regularisation.* or sparse_points."
            )
        table[last] = value
    try:
        return PotentialConfig.model_validate(data)
    except ValidationError as error:
        said = ", ".join(f"{key} = {value!r}" for key, value in values.items())
        raise InputError(explain(error, PotentialConfig, f"The potential {potential.name!r} at {said}")) from error


class Planner:
    """Makes the tasks of a study; selections are drawn once.

    Parameters
    ----------
    config : StudyConfig
    runs : dict of str to StudyRun
    choices : InformedChoices, optional
        Makes the choices by information.
    """

    def __init__(self, config: StudyConfig, runs: dict[str, StudyRun], choices: InformedChoices | None = None) -> None:
        self.config = config
        self.runs = runs
        self.choices = choices
        self.leave_out = config.study.missing == "leave out"
        self._drawn: dict[str, Selected] = {}

    def tasks(self) -> list[FitTask]:
        """One task a variant, see :meth:`points`.

        Raises
        ------
        InputError
            When a section is wrong, or a draw cannot be made.
        ReferenceCalculationError
            When a configuration has no label.
        """
        return [self.task(point) for point in self.points()]

    def points(self) -> list[Point]:
        """Every variant with its section; where nothing depends on the seed, one for all seeds."""
        found = []
        for variant, section in expand(self.config):
            if not self._random(section, ()):
                if variant.seed != self.config.study.seeds[0]:
                    continue
                variant = Variant(variant.potential, variant.values, None)
            runs = self.config.evaluate.runs_for(section.train or list(self.config.runs))
            found.append(Point(variant, section, self._settings(section, 0)[0].method, runs))
        return found

    def task(self, point: Point) -> FitTask:
        """Labels, sparse points and settings of a variant."""
        variant, section = point.variant, point.section
        seed = variant.seed if variant.seed is not None else self.config.study.seeds[0]
        selected = self._select(section, seed, variant.values, ())
        everything = candidates(self._train(section), section.select, leave_out=self.leave_out)
        pool, unlabelled = self._pool(section, seed, variant.values, selected, ())
        fit, regularisation = self._settings(section, seed)
        return FitTask(
            variant=variant,
            selected=selected,
            left_out=everything.without(selected),
            pool=pool,
            pool_unlabelled=unlabelled,
            pool_keys=self._keys(pool) + self._keys(unlabelled),
            frame_keys=self._keys(selected.frames),
            settings=fit,
            regularisation=None if self._by_evidence(section) else regularisation,
            runs=point.runs,
        )

    def _train(self, section: PotentialConfig) -> list[StudyRun]:
        return [self.runs[name] for name in section.train or self.config.runs]

    def _select(self, section: PotentialConfig, seed: int, values: Mapping[str, Any], asked: Sequence[str]) -> Selected:
        if section.name in asked:
            circle = " -> ".join([*asked, section.name])
            raise InputError(
                f"The limits of draws refer to each other in a circle: {circle}. Give one of them a number."
            )
        seeded = seed if self._random(section, ()) else ""
        key = f"{section.name}|{section.train}|{section.select!r}|{seeded}|{dict(values)}"
        if key not in self._drawn:
            self._drawn[key] = draw(
                self._train(section),
                section.select,
                seed,
                budget=lambda name: self._select(self._other(name, values), seed, values, [*asked, section.name]),
                leave_out=self.leave_out,
                informed=self._informed(section, seed),
            )
        return self._drawn[key]

    def _informed(self, section: PotentialConfig, seed: int) -> Informed | None:
        if section.select.method != "information" or self.choices is None:
            return None
        structures = self._structures(section)
        settings = self._settings(section, seed)[0]
        offered = Offered(
            runs=self._train(section),
            structures=structures,
            sparse_key=sparse_key_of(self._keys(structures), 0, settings),
            settings=settings,
            unit=section.select.unit,
        )
        return partial(self.choices.order, offered)

    def _structures(self, section: PotentialConfig) -> tuple[Atoms, ...]:
        """All that the filters let through and the unlabelled configurations of the runs."""
        train = self._train(section)
        labelled = candidates(train, section.select, leave_out=self.leave_out).frames
        return (*labelled, *(atoms for run in train for atoms in run.unlabelled))

    def _pool(
        self,
        section: PotentialConfig,
        seed: int,
        values: Mapping[str, Any],
        selected: Selected,
        asked: Sequence[str],
    ) -> tuple[tuple[Atoms, ...], tuple[Atoms, ...]]:
        """Labelled and unlabelled configurations that offer sparse points."""
        source = section.sparse_points
        if not isinstance(self._settings(section, seed)[0], GapSettings):
            return (), self._structures(section)
        if isinstance(source, SparseFrom):
            if section.name in asked:
                raise InputError(
                    f"The sparse points of {' -> '.join([*asked, section.name])} refer to each other in a circle. "
                    "Let one of these potentials choose its own."
                )
            other = self._other(source.potential, values)
            return self._pool(other, seed, values, self._select(other, seed, values, ()), [*asked, section.name])
        if source == "pool":
            return (), self._structures(section)
        if source == "database":
            return candidates(self._train(section), section.select, leave_out=self.leave_out).frames, ()
        unlabelled = [atoms for run in self._train(section) for atoms in run.unlabelled]
        return selected.frames, tuple(unlabelled) if source == "run" else ()

    def _other(self, name: str, values: Mapping[str, Any]) -> PotentialConfig:
        """Another potential at the swept values that it has too."""
        other = next(potential for potential in self.config.potentials if potential.name == name)
        sweep = self.config.sweep if other.sweep is None else other.sweep
        missing = [key for key, swept in sweep.items() if values.get(key) not in swept]
        if missing:
            raise InputError(
                f"The potential {name!r}, which another one refers to, is swept over {missing[0]}, so it is not "
                "clear which value is meant. Give both the same sweep, or sweep = {} to the one referred to."
            )
        return at_values(other, {key: values[key] for key in sweep})

    def _random(self, section: PotentialConfig, asked: Sequence[str]) -> bool:
        """Whether anything of a potential depends on the seed."""
        if section.select.draws or _sparse_method(self._settings(section, 0)[0]) in RANDOM_METHODS:
            return True
        source = section.sparse_points
        if not isinstance(source, SparseFrom) or source.potential in asked:
            return False
        other = next(potential for potential in self.config.potentials if potential.name == source.potential)
        return self._random(other, [*asked, section.name])

    def _settings(self, section: PotentialConfig, seed: int) -> tuple[FitterSettings, Regularisation]:
        """The first run's sections with what the potential says differently, and the seed where it matters."""
        plan = self.runs[(section.train or tuple(self.config.runs))[0]].plan
        run = plan.config
        try:
            fit = _settings_of(plan.potential, section.fit)
            return (
                fit.model_copy(update={"seed": seed}) if _sparse_method(fit) in RANDOM_METHODS else fit,
                Regularisation.model_validate(_merged(run.regularisation, section.regularisation)),
            )
        except ValidationError as error:
            raise InputError(explain(error, PotentialConfig, f"The potential {section.name!r}")) from error

    def _by_evidence(self, section: PotentialConfig) -> bool:
        """Whether the labels decide on the sigmas: as the potential says, or else as its first run does."""
        if section.sigmas is not None or section.regularisation.model_fields_set:
            return section.sigmas == "evidence"
        return self._train(section)[0].config.regularised_by_evidence

    @staticmethod
    def _keys(frames: Sequence[Atoms]) -> tuple[str, ...]:
        """What each configuration is: its label's key, or without a label what its structure is."""
        return tuple(str(frame.info.get("ndsc_label") or digest(structure_content(frame))) for frame in frames)


def _sparse_method(settings: FitterSettings) -> str | None:
    return settings.sparse_method if isinstance(settings, GapSettings) else None


def _settings_of(base: FitterSettings, said: FitterSettings) -> FitterSettings:
    """Those of a run with what a potential says differently; of another kind of potential, its own and the run's e0."""
    given = said.model_fields_set
    if type(said) is type(base) or not given:
        return type(base).model_validate(_merged(base, said))
    if "method" not in given and given <= set(type(base).model_fields):
        return type(base).model_validate(_merged(base, said))
    return FITTERS[said.method].model_validate({"e0": base.e0, **said.model_dump(exclude_unset=True)})


def _merged(base: FitterSettings | Regularisation, said: FitterSettings | Regularisation) -> dict[str, Any]:
    """What `said` sets explicitly, its preset's values among that, on top of `base`."""
    values = base.model_dump()
    for key, value in said.model_dump(exclude_unset=True).items():
        inner = values.get(key)
        values[key] = inner | value if isinstance(inner, dict) and isinstance(value, dict) and key != "e0" else value
    # Presets are filled in already, on both sides.
    return {key: value for key, value in values.items() if key != "preset"}
