"""The runs of a study: their databases and references, everything from stored labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.benchmark import Reference
from ndsc.config import RunConfig, load_one
from ndsc.database import make_database
from ndsc.errors import InputError, NdscError, ReferenceCalculationError
from ndsc.plausibility import check_plausible
from ndsc.reference import StoredCalculator
from ndsc.reference.store import Label
from ndsc.study.results import RunFacts
from ndsc.workflow.plan import Plan, make_plan
from ndsc.workflow.reference import run_reference

log = logging.getLogger(__name__)


@dataclass(eq=False)
class StudyRun:
    """A run that a study reads: its plan, and its labels as far as they are in the store.

    Attributes
    ----------
    name : str
        In the study's file.
    file : path
        Its input file.
    crystal : str or None
        Which of several crystals of the file it is about.
    config : RunConfig
    plan : Plan
    keys : dict of str to str
        Label key of each configuration of the database, by name.
    labels : dict of str to Label
        Those that are in the store.
    """

    name: str
    file: Path
    config: RunConfig
    plan: Plan
    keys: dict[str, str]
    labels: dict[str, Label] = field(default_factory=dict)
    crystal: str | None = None
    _references: dict[tuple[bool, bool], Reference] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, name: str, file: Path) -> StudyRun:
        """Read a run's input file and its labels.

        Parameters
        ----------
        name : str
        file : path
            The input file; of one with several crystals, followed by an @ and the name of one.

        Raises
        ------
        InputError
            When the file is wrong.
        ReferenceCalculationError
            When the relaxed crystal is not in the store.
        """
        file, crystal = split_crystal(file)
        config = load_one(file, crystal)
        if config.database:
            raise InputError(
                f"The run {name} fits [[database]] {config.database[0].file} too, and a study only fits labels of "
                "runs. Remove its [[database]], in a copy of the input file with the same [reference] labels."
            )
        folder = file.parent if file.name == "ndsc.toml" else file.with_suffix("")
        try:
            plan = make_plan(config, folder, compute=False)
        except ReferenceCalculationError as error:
            raise _not_finished(name, file, f"its crystal is not relaxed ({error})") from error
        # Single atoms of a density-functional code have a calculator of their own.
        specs = {id(single.atoms): single.spec for single in plan.isolated}
        keys = {
            str(atoms.info["ndsc_name"]): plan.store.key_of(atoms, specs.get(id(atoms), plan.spec))
            for atoms in plan.to_fit
        }
        found = {key_name: plan.store.get(key) for key_name, key in keys.items() if key in plan.store}
        labels = {key_name: label for key_name, label in found.items() if label is not None}
        return cls(name, file, config, plan, keys, labels, crystal)

    @cached_property
    def database(self) -> dict[str, Atoms]:
        """The labelled configurations by name, each with ``info["ndsc_run"]``."""
        configurations = [atoms for atoms in self.plan.to_fit if atoms.info["ndsc_name"] in self.labels]
        frames = make_database(configurations, self.labels) if configurations else []
        for frame in frames:
            frame.info["ndsc_run"] = self.name
        return {str(frame.info["ndsc_name"]): frame for frame in frames}

    @cached_property
    def unlabelled(self) -> list[Atoms]:
        """What has no label and offers sparse points, such as the candidates that a choice of the run left."""
        left = self.plan.candidates if self.plan.selects else []
        return [*(atoms for atoms in left if atoms.info["ndsc_name"] not in self.labels), *self.plan.unlabelled]

    def warnings(self, *, judges: bool) -> list[str]:
        """What makes the labels of the run doubtful, and with `judges` its reference as far as it was computed.

        Raises
        ------
        InputError
            When labels cannot be true.
        """
        found = [*self.plan.warnings, *check_plausible(list(self.database.values()), source=f"the run {self.name}")]
        for reference in self._references.values() if judges else ():
            found += reference.warnings
        return [f"{self.name}: {text}" for text in dict.fromkeys(found)]

    def require(self, names: Iterable[str]) -> None:
        """Refuse to go on without labels that the run would compute; of its candidates, it leaves most without.

        Raises
        ------
        ReferenceCalculationError
            When one of these configurations has no label; the message says how to compute it.
        """
        wanted = list(names)
        if self.plan.selects:
            always = {str(atoms.info["ndsc_name"]) for atoms in self.plan.always_labelled}
            wanted = [name for name in wanted if name in always]
        missing = [name for name in wanted if name not in self.labels]
        if missing:
            raise _not_finished(
                self.name,
                self.file,
                f"{len(missing)} of the {len(wanted)} configurations that the study needs have no label, among them "
                f"{missing[0]}",
            )

    def reference(self, *, phonons: bool = True, elastic: bool = True) -> Reference:
        """What potentials are compared with.

        Parameters
        ----------
        phonons, elastic : bool
            What is wanted; elastic constants only where the run has them.

        Raises
        ------
        ReferenceCalculationError
            When labels are missing.
        """
        if (phonons, elastic) not in self._references:
            labels = {}
            for atoms in self.plan.phonon_frames if phonons else ():
                label = self.plan.store.get(self.plan.store.key_of(atoms, self.plan.spec))
                if label is None:
                    name = atoms.info["ndsc_name"]
                    raise _not_finished(self.name, self.file, f"its reference has no phonons ({name} has no label)")
                labels[str(atoms.info["ndsc_name"])] = label
            calculator = StoredCalculator(self.plan.spec, self.plan.store, compute=False)
            try:
                found = run_reference(self.plan, labels, calculator, phonons=phonons, elastic=elastic)
            except NdscError as error:
                raise _not_finished(self.name, self.file, f"its reference is not complete ({error})") from error
            self._references[phonons, elastic] = found
        return self._references[phonons, elastic]

    def facts(self, *, elastic: bool) -> RunFacts:
        """What tables say of the run.

        Parameters
        ----------
        elastic : bool
            Whether the elastic constants are wanted, and must be there.
        """
        plan, crystal = self.plan, self.plan.crystal
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        lattice = {name: float(value) for name, value in zip(names, crystal.atoms.cell.cellpar(), strict=True)}
        lattice["volume_per_atom"] = crystal.atoms.get_volume() / len(crystal.atoms)
        constants: dict[str, float] = {}
        if elastic and (found := self.reference(phonons=False).elastic) is not None:
            constants = {"B": found.bulk_modulus, **found.constants}
        return RunFacts(
            name=self.name,
            file=self.file.name if self.crystal is None else f"{self.file.name}@{self.crystal}",
            formula=crystal.atoms.get_chemical_formula(),
            space_group=crystal.symbol,
            space_group_number=crystal.number,
            cell=crystal.atoms.cell.array.tolist(),
            calculator=plan.spec.name,
            parameters=dict(plan.spec.parameters),
            kgrid=plan.spec.kgrid,
            lattice=lattice,
            elastic=constants,
            grid=plan.supercells.grid,
            supercells=len(plan.supercells),
            labels=len(self.labels),
            atoms=sum(len(frame) for frame in self.database.values()),
            label_seconds=float(sum(label.cost_seconds for label in self.labels.values())),
        )

    def reference_content(self) -> dict[str, Any]:
        """What the reference's side of an evaluation depends on, for the key of a stored evaluation."""
        plan = self.plan
        frames = plan.phonon_frames
        # Absent without charges, so that evaluations of earlier versions are found.
        tensors = {name: np.asarray(value).tolist() for name, value in (plan.nac_params or {}).items()}
        return {
            "crystal": plan.store.key_of(plan.crystal.atoms, plan.spec),
            "relax": self.config.crystal.relax,
            "symprec": self.config.crystal.symprec,
            "phonon_labels": [plan.store.key_of(atoms, plan.spec) for atoms in frames],
            "phonons": self.config.phonons.model_dump(mode="json", exclude={"born"}),
            **({"nac": tensors} if tensors else {}),
            "elastic": self.config.elastic.model_dump(mode="json"),
            "grid": list(plan.supercells.grid),
            "matrices": np.asarray(plan.phonon_supercells.matrices).tolist(),
        }


def load_runs(files: dict[str, Path], names: Sequence[str]) -> dict[str, StudyRun]:
    """The runs of these names.

    Raises
    ------
    InputError
        When an input file is wrong, or configurations of two runs would be the same to the fit.
    ReferenceCalculationError
        When the relaxed crystal of one is not in its store.
    """
    for name in names:
        if not split_crystal(files[name])[0].is_file():
            raise InputError(
                f"[runs] {name}: there is no file {files[name]}. Give the path of an input file of `ndsc run`, "
                "relative to the study's file."
            )
    return {name: StudyRun.load(name, files[name]) for name in names}


def split_crystal(file: Path) -> tuple[Path, str | None]:
    """An input file and, where its name ends in an @ and one, the name of a crystal in it."""
    name, at, crystal = file.name.rpartition("@")
    return (file, None) if not at or file.is_file() else (file.with_name(name), crystal)


def _not_finished(name: str, file: Path, reason: str) -> ReferenceCalculationError:
    return ReferenceCalculationError(
        f"The run {name} is not finished: {reason}. A study calculates no labels; compute them with `ndsc run {file}`."
    )
