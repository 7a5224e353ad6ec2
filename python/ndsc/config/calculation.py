"""The sections that say how the reference is calculated, and where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ndsc.errors import InputError
from ndsc.section import KpointGridValue, Positive, Real, Section, Whole, check_plain

if TYPE_CHECKING:
    from ndsc.reference import CalculatorSpec, ExecutorSettings

PROGRAMS = ("espresso", "abinit", "castep", "vasp")
DENSITY_FUNCTIONAL = ("gpaw", *PROGRAMS)
CALCULATORS = ("emt", "lj", "quip", *DENSITY_FUNCTIONAL)
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|s)?")
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class ReferenceConfig(Section):
    """``[reference]``: the calculator whose results are learned."""

    calculator: str = Field(
        default="emt",
        description=f"Give one of {', '.join(CALCULATORS)}, or 'module:factory' for a Python function that returns an "
        "ASE calculator.",
    )
    kgrid: KpointGridValue | None = Field(
        default=None,
        description="Give the k-point grid of the unit cell as one number or three, for example [12, 12, 12], or as "
        "the 3x3 matrix of the supercell whose wave vectors it holds (ndsc kpoints lists good ones).",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Give the keyword arguments of the calculator as a table of numbers, strings, booleans, lists and "
        "tables, for example parameters = {mode = {name = 'pw', ecut = 350}}.",
    )
    command: str | None = Field(
        default=None,
        min_length=1,
        description=f"Give how the program of {', '.join(PROGRAMS)} is started on this machine, for example "
        "'mpirun -np 2 pw.x'. Labels do not depend on it.",
    )
    pseudo_dir: Path | None = Field(
        default=None,
        description=f"Give the folder of the pseudopotentials of {', '.join(PROGRAMS)}. Labels do not depend on it, "
        "only on the names of the files.",
    )
    atom_box: Annotated[Real, Field(ge=5, le=50)] = Field(
        default=12.0,
        description="Give the shortest edge in Å of the cell of a single atom, for [fit] e0 = 'isolated' with a "
        "density-functional code, for example 12.0.",
    )
    atom_parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Give parameters that differ for a single atom, for [fit] e0 = 'isolated' with a "
        "density-functional code, as atom_parameters = {nband = 10}.",
    )
    labels: Path | None = Field(
        default=None,
        description="Give the folder of the label store; without it, the folder labels in the run's folder.",
    )

    @field_validator("calculator")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in CALCULATORS and not FACTORY.fullmatch(name):
            raise ValueError("no calculator has this name")
        return name

    @field_validator("kgrid")
    @classmethod
    def _lattice_of_kpoints(cls, kgrid: KpointGridValue | None) -> KpointGridValue | None:
        from ndsc.kpoints import normal_kgrid

        if kgrid is not None:
            try:
                normal_kgrid(kgrid)
            except InputError as error:
                raise ValueError(str(error)) from error
        return kgrid

    @field_validator("parameters", "atom_parameters")
    @classmethod
    def _plain(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        check_plain(parameters, str(info.field_name))
        return parameters

    @model_validator(mode="after")
    def _kgrid_where_it_matters(self) -> ReferenceConfig:
        if self.calculator in DENSITY_FUNCTIONAL and self.kgrid is None:
            raise ValueError(
                f"{self.calculator} needs kgrid, the k-point grid of the unit cell; add for example kgrid = [8, 8, 8]"
            )
        if self.calculator in ("emt", "lj", "quip") and self.kgrid is not None:
            raise ValueError(f"kgrid has no meaning for {self.calculator}, which has no electrons; remove it")
        for key in ("command", "pseudo_dir"):
            if getattr(self, key) is not None and self.calculator not in PROGRAMS:
                raise ValueError(f"{key} has no meaning for {self.calculator}, which starts no program; remove it")
        if self.atom_parameters and self.calculator not in DENSITY_FUNCTIONAL:
            raise ValueError(f"atom_parameters have no meaning for {self.calculator}; remove them")
        return self

    def to_spec(self) -> CalculatorSpec:
        """The calculator, as the label store knows it."""
        from ndsc.reference import CalculatorSpec

        pseudo_dir = None if self.pseudo_dir is None else str(self.pseudo_dir)
        return CalculatorSpec(self.calculator, self.parameters, self.kgrid, command=self.command, pseudo_dir=pseudo_dir)


class ExecutorConfig(Section):
    """``[executor]``: where the labels are computed."""

    kind: Literal["local", "slurm", "dask"] = Field(
        default="local",
        description="Give 'local' (worker processes on this machine), 'slurm' (a Slurm cluster) or 'dask'.",
    )
    workers: Positive = Field(default=2, description="Give the number of calculations at a time, at least 1.")
    retries: Whole = Field(
        default=1, ge=0, le=100, description="Give how often a failed label is tried again, for example 1."
    )
    threads: Positive = Field(default=1, description="Give the number of threads of each worker, at least 1.")
    timeout: Annotated[Real, Field(gt=0)] | None = Field(
        default=None, description="Give the longest time of one calculation, as '2h', '30min', '90s' or in seconds."
    )

    @field_validator("timeout", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("a number with h, min or s is expected")
        return float(found[1]) * SECONDS[found[2] or "s"]

    memory_gb: Annotated[Real, Field(gt=0)] | None = Field(
        default=None,
        description="Give the memory of all workers of 'local' together in GB; without it, most of what is free.",
    )
    cores: Positive = Field(default=1, description="Give the cores of one calculation of 'slurm', at least 1.")
    resources: dict[str, Any] = Field(
        default_factory=dict,
        description="Give what 'slurm' is to be asked for, for example resources = {partition = 'main', "
        "run_time_max = 7200}.",
    )
    address: str | None = Field(
        default=None, description="Give the address of a dask scheduler; without it, 'dask' starts one here."
    )

    @field_validator("resources")
    @classmethod
    def _plain(cls, resources: dict[str, Any]) -> dict[str, Any]:
        check_plain(resources, "resources")
        return resources

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> ExecutorConfig:
        wrong = [("memory_gb", "local"), ("cores", "slurm"), ("resources", "slurm"), ("address", "dask")]
        for key, kind in wrong:
            if getattr(self, key) not in (None, {}, 1) and self.kind != kind:
                raise ValueError(f"{key} has no meaning for kind = {self.kind!r}, only for {kind!r}; remove it")
        return self

    def to_settings(self) -> ExecutorSettings:
        """Where labels are computed, as the labelling takes it."""
        from ndsc.reference import ExecutorSettings

        return ExecutorSettings(
            kind=self.kind,
            workers=self.workers,
            threads=self.threads,
            retries=self.retries,
            timeout=self.timeout,
            memory_mb=None if self.memory_gb is None else 1000 * self.memory_gb,
            cores=self.cores,
            resources=self.resources,
            address=self.address,
        )
