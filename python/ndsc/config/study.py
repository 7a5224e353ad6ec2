"""The input file of ``ndsc study``: potentials from existing databases, their sweeps, checks, figures and tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ndsc.claims import METRIC, ClaimTest, needed_for, same_value
from ndsc.config.files import parse_toml, read_text
from ndsc.config.published import PublishedConfig
from ndsc.fit.regularisation import Regularisation
from ndsc.potentials.settings import AnySettings, default_settings
from ndsc.section import Flag, InputFile, Positive, Real, Section, Whole


def _texts(value: object) -> object:
    """One string where a list is allowed."""
    return (value,) if isinstance(value, str) else value


def _numbers(value: object) -> object:
    """One number where a list is allowed."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _metric(name: str) -> str:
    if not METRIC.fullmatch(name):
        raise ValueError(f"{name!r} is not a metric; the page on studies in the documentation lists them")
    return name


def _free(name: str) -> str:
    if name in ("results", "study", "cache"):
        raise ValueError(f"{name!r} is a file of every study; choose another name")
    return name


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=100), AfterValidator(_free)]
Metric = Annotated[str, AfterValidator(_metric)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Numbers = Annotated[tuple[Real, ...], BeforeValidator(_numbers)]
FigureKind = Literal[
    "dispersion", "stack", "learning", "learning_dispersions", "elastic", "errors", "distribution", "predicted"
]
Name = Annotated[str, Field(min_length=1)]
Swept = dict[str, tuple[str | Flag | Whole | Real, ...]]


class StudyHead(Section):
    """``[study]``: what it is about."""

    title: Name = Field(description="Give the title of the study's page.")
    claim: str = Field(default="", description="Give one sentence: what the study should confirm or refute.")
    discussion: str = Field(
        default="", description="Give what follows from the results, which the page says below the verdict."
    )
    seeds: tuple[Annotated[Whole, Field(ge=0, lt=2**31)], ...] = Field(
        default=(1,),
        min_length=1,
        description="Give the seeds of draws and sparse points, for example seeds = [1, 2, 3, 4, 5].",
    )
    missing: Literal["refuse", "leave out"] = Field(
        default="refuse",
        description="Give 'refuse' to stop if a configuration has no label, or 'leave out' to continue without it.",
    )
    verify: Whole = Field(
        default=0,
        ge=0,
        description="Give the number of potentials that are fitted a second time by gap_fit alone, as a check.",
    )

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given twice")
        return seeds


class SelectConfig(Section):
    """Which labelled configurations a potential learns from: filters, then a draw or a choice up to a limit."""

    method: Literal["random", "information"] = Field(
        default="random",
        description="Give 'random' (a draw that the seed decides) or 'information' (the most informative first: "
        "those whose labels reduce the expected errors of phonons and elastic constants most).",
    )
    kind: Texts = Field(
        default=(), description="Give the config_type, or a list: 'unit_cell', 'supercell'; without it, all."
    )
    part: Texts = Field(default=(), description="Give the name of a part of the database, or a list; without it, all.")
    name: Texts = Field(
        default=(), description="Give patterns of names of configurations, for example ['s00?-000*']; without it, all."
    )
    displacement: Numbers = Field(
        default=(), description="Give the amplitude of displacement in Å, or a list; without it, all."
    )
    scale: Numbers = Field(default=(), description="Give the scale of the cell, or a list; without it, all.")
    always: Texts = Field(
        default=(),
        description="Give patterns of names of configurations that are in every draw, whatever the filters, and "
        "count towards its limit.",
    )
    size: Positive | str | None = Field(
        default=None, description="Give the number of labels to draw, or the name of a potential that has as many."
    )
    fraction: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        default=None, description="Give the fraction of the labels to draw, above 0 and at most 1."
    )
    atoms: Positive | str | None = Field(
        default=None,
        description="Give the largest total number of atoms of the labels drawn, or the name of a potential to match.",
    )
    seconds: Annotated[Real, Field(gt=0)] | str | None = Field(
        default=None,
        description="Give the largest total time (recorded seconds) of the labels drawn, or the name of a potential "
        "to match.",
    )

    @model_validator(mode="after")
    def _one_limit(self) -> SelectConfig:
        given = [key for key in ("size", "fraction", "atoms", "seconds") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both limit the same draw; keep one of them")
        return self

    @property
    def limited(self) -> bool:
        """Whether not all that pass the filters are taken."""
        return any(limit is not None for limit in (self.size, self.fraction, self.atoms, self.seconds))

    @property
    def draws(self) -> bool:
        """Whether the result depends on the seed."""
        return self.limited and self.method == "random"

    @property
    def unit(self) -> Literal["labels", "atoms", "seconds"]:
        """What the limit counts."""
        if self.seconds is not None:
            return "seconds"
        return "labels" if self.atoms is None else "atoms"


class SparseFrom(Section):
    """Sparse points of another potential."""

    potential: Name = Field(description="Give the name of a potential of this study.")


class PotentialConfig(Section):
    """``[[potentials]]``: a potential, or with a sweep a series of them."""

    name: Name = Field(description="Give the potential a name of its own.")
    train: Texts = Field(default=(), description="Give the names of the runs to learn from; without it, all.")
    select: SelectConfig = Field(
        default=SelectConfig(), description="Give a table, for example select = {kind = 'unit_cell'}."
    )
    fit: AnySettings = Field(
        default_factory=default_settings, description="Give a table of keys of [fit] that differ from the first run's."
    )
    regularisation: Regularisation = Field(
        default=Regularisation(),
        description="Give a table of keys of [regularisation] that differ from the first run's.",
    )
    sigmas: Literal["regularisation", "evidence"] | None = Field(
        default=None,
        description="Give 'regularisation' for the sigmas of that section, or 'evidence' for those that maximise the "
        "evidence of the training labels; without it, as in the first run.",
    )
    sparse_points: Literal["run", "selected", "database", "pool"] | SparseFrom = Field(
        default="run",
        description="Give where sparse points come from: 'selected' (the labels learned from), 'database' (all that "
        "the filters let through), 'run' (the labels learned from and the run's unlabelled configurations), 'pool' "
        "(structures alone: all that the filters let through, and the run's unlabelled configurations), or "
        "{potential = 'name'}.",
    )
    sweep: Swept | None = Field(
        default=None, description="Give a table of this potential's own sweep; an empty one for none."
    )


class EvaluateConfig(Section):
    """``[evaluate]``: what is computed of every potential."""

    on: Texts | dict[str, Name] = Field(
        default=(),
        description="Give the names of the runs to compare with, or a table that names another run for some of those "
        "whose labels it learns from, for example on = {'Al chosen' = 'Al'}; without it, a potential is compared with "
        "the runs whose labels it learns from.",
    )
    phonons: Flag = Field(default=True, description="Give true to compare phonons with the reference's, or false.")
    elastic: Flag = Field(
        default=True, description="Give true to compare elastic constants with the reference's, or false."
    )
    harmonic: Flag = Field(default=True, description="Give true for the harmonic model of the same labels, or false.")
    dos: Flag = Field(default=False, description="Give true for densities of states, or false.")
    predicted: Flag = Field(
        default=False, description="Give true for the errors that are predicted from the labels alone, or false."
    )

    def runs_for(self, learned: Sequence[str]) -> tuple[str, ...]:
        """The runs that a potential is compared with, by those whose labels it learns from."""
        if isinstance(self.on, Mapping):
            return tuple(dict.fromkeys(self.on.get(name, name) for name in learned))
        return self.on or tuple(learned)

    @property
    def asked(self) -> dict[str, bool]:
        """What an evaluation depends on; keys that came later only where they ask for something."""
        return self.model_dump(exclude={"on"} | (set() if self.predicted else {"predicted"}))


def _test(text: str) -> str:
    ClaimTest.parse(text)
    return text


class CheckConfig(Section):
    """``[[checks]]``: what must be true of the numbers for the claim to hold."""

    claim: Name = Field(description="Give the statement in words.")
    test: Annotated[str, AfterValidator(_test)] = Field(
        description="Give a comparison of columns of results.csv, for example 'rmse_mesh_thz[b] < 0.5 * "
        "rmse_mesh_thz[a]'."
    )
    seeds: Literal["median", "mean", "all"] | Annotated[Real, Field(gt=0, le=1)] = Field(
        default="median",
        description="Give 'median' or 'mean' (over the seeds), 'all', or the fraction of the seeds for which it must "
        "hold.",
    )
    together: Flag = Field(
        default=False,
        description="Give true to treat all points and runs that the test does not name like further seeds, or false.",
    )


class FigureConfig(Section):
    """``[[figures]]``: a picture of the results."""

    kind: FigureKind = Field(
        description="Give 'dispersion' (a panel a run), 'stack' (panels under each other), 'learning' (errors over "
        "cost), 'learning_dispersions' (a row a swept value), 'elastic' (bars), 'errors' (of all branches and "
        "q-points), 'distribution' (of the errors) or 'predicted' (true and predicted errors over labels)."
    )
    name: FileName = Field(description="Give the name of its files: letters, digits, - and _.")
    caption: str = Field(default="", description="Give the caption.")
    potentials: Texts = Field(default=(), description="Give the names of potentials; without it, all.")
    on: Texts = Field(
        default=(), description="Give the names of runs; without it, all that potentials are compared on."
    )
    at: dict[str, Any] = Field(default_factory=dict, description="Give swept values; without it, every point.")
    over: tuple[Literal["labels", "atoms", "seconds"], ...] = Field(
        default=("labels", "atoms", "seconds"),
        min_length=1,
        description="Give the axes of 'learning', for example ['labels'].",
    )
    density: Flag = Field(
        default=True, description="Give false for no densities of states beside dispersions; see [evaluate] dos."
    )
    harmonic: Flag = Field(default=True, description="Give false to leave the harmonic model of the same labels out.")


class TableConfig(Section):
    """``[[tables]]``: a table of the results."""

    kind: Literal["settings", "fits", "elastic", "metrics"] = Field(
        description="Give 'settings' (runs), 'fits' (hyperparameters and data), 'elastic' or 'metrics'."
    )
    name: FileName = Field(description="Give the name of its file: letters, digits, - and _.")
    caption: str = Field(default="", description="Give the caption.")
    potentials: Texts = Field(default=(), description="Give the names of potentials; without it, all.")
    on: Texts = Field(default=(), description="Give the names of runs; without it, all.")
    at: dict[str, Any] = Field(default_factory=dict, description="Give swept values; without it, every point.")
    metrics: Annotated[tuple[Metric, ...], BeforeValidator(_texts)] = Field(
        default=("n_labels", "n_atoms", "label_seconds", "rmse_mesh_thz", "max_error_thz", "harmonic_rmse_mesh_thz"),
        description="Give the columns of a table of metrics.",
    )


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, Mapping) else value


class StudyConfig(InputFile):
    """The whole input file of a study."""

    study: StudyHead = Field(description="Add the section, for example [study] with title = 'Learning curve'.")
    runs: dict[str, Path] = Field(
        min_length=1,
        description="Add the section [runs], with a line name = 'path of an input file of ndsc run'.",
    )
    potentials: Annotated[tuple[PotentialConfig, ...], BeforeValidator(_one_or_more)] = Field(
        min_length=1, description="Add [[potentials]], once for each potential, with a name."
    )
    sweep: Swept = Field(
        default_factory=dict, description="Write it as [sweep], as 'select.size' = [6, 12, 24] in quotes."
    )
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="Write it as a section, [evaluate].")
    checks: Annotated[tuple[CheckConfig, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), description="Write it as [[checks]], once for each check."
    )
    published: Annotated[tuple[PublishedConfig, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), description="Write it as [[published]], once for each column."
    )
    figures: Annotated[tuple[FigureConfig, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), description="Write it as [[figures]], once for each figure."
    )
    tables: Annotated[tuple[TableConfig, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), description="Write it as [[tables]], once for each table."
    )

    @model_validator(mode="after")
    def _names(self) -> StudyConfig:
        potentials = [potential.name for potential in self.potentials]
        _unique(potentials, "[[potentials]] name")
        _unique([*(figure.name for figure in self.figures), *(table.name for table in self.tables)], "figure or table")
        for potential in self.potentials:
            where = f"[[potentials]] {potential.name}"
            _known(potential.train, self.runs, f"{where}: train", "run")
            limits = (potential.select.size, potential.select.atoms, potential.select.seconds)
            _known([limit for limit in limits if isinstance(limit, str)], potentials, f"{where}: select", "potential")
            if isinstance(potential.sparse_points, SparseFrom):
                _known([potential.sparse_points.potential], potentials, f"{where}: sparse_points", "potential")
        judged = self.evaluate.on
        named = [*judged, *judged.values()] if isinstance(judged, Mapping) else judged
        _known(list(named), self.runs, "[evaluate] on", "run")
        for check in self.checks:
            for column in ClaimTest.parse(check.test).columns:
                where = f"[[checks]] {check.claim!r}"
                _known([column.potential], potentials, where, "potential")
                _known([] if column.on is None else [column.on], self.runs, where, "run")
                self._check_at(column.at, [column.potential], where)
                needed = needed_for(column.metric)
                if needed is not None and not getattr(self.evaluate, needed):
                    raise ValueError(f"{where} needs {column.metric}, which [evaluate] {needed} = false leaves out")
        shown: list[FigureConfig | TableConfig] = [*self.figures, *self.tables]
        for one in shown:
            _known(one.potentials, potentials, f"{one.name}: potentials", "potential")
            _known(one.on, self.runs, f"{one.name}: on", "run")
            self._check_at(one.at, one.potentials or potentials, one.name)
        tables = [table.name for table in self.tables]
        for other in self.published:
            _known([other.on], self.runs, f"[[published]] {other.name!r}: on", "run")
            _known(other.tables, tables, f"[[published]] {other.name!r}: tables", "table")
        return self

    def _check_at(self, at: Mapping[str, Any], names: Sequence[str], where: str) -> None:
        """Refuse values that no potential of these names is swept over."""
        sweeps = [
            self.sweep if potential.sweep is None else potential.sweep
            for potential in self.potentials
            if potential.name in names
        ]
        if at and not any(
            all(any(same_value(one, value) for one in sweep.get(key, ())) for key, value in at.items())
            for sweep in sweeps
        ):
            said = ", ".join(f"{key} = {value}" for key, value in at.items())
            raise ValueError(f"{where} is about {said}, over which {' or '.join(names)} is not swept")


def _unique(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the {what} {twice[0]!r} is defined twice; give each a name of its own")


def _known(names: object, known: object, where: str, what: str) -> None:
    listed = list(known) if isinstance(known, list | dict) else []
    for name in names if isinstance(names, list | tuple) else ():
        if name not in listed:
            raise ValueError(f"{where} names the {what} {name!r}, which does not exist; there are {', '.join(listed)}")


def load_study(path: str | Path) -> StudyConfig:
    """Read and check the input file of a study.

    Parameters
    ----------
    path : str or path
        A TOML file. Paths of runs in it are relative to its folder.

    Returns
    -------
    StudyConfig
        With absolute paths.

    Raises
    ------
    InputError
        One message naming every wrong key.
    """
    path = Path(path)
    return parse_study(read_text(path), folder=path.parent, source=str(path))


def parse_study(text: str, *, folder: str | Path = ".", source: str = "The study") -> StudyConfig:
    """Check the text of an input file of a study; see :func:`load_study`."""
    raw = parse_toml(text, source)
    runs = raw.get("runs")
    if isinstance(runs, Mapping):
        base = Path(folder).absolute()
        raw = raw | {
            "runs": {
                name: Path(os.path.normpath(base / os.path.expanduser(file))) if isinstance(file, str) else file
                for name, file in runs.items()
            }
        }
    return StudyConfig.parse(raw, source)
