"""The section that says where labels are computed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ndsc.section import Positive, Real, Section, Whole, check_plain

if TYPE_CHECKING:
    from ndsc.reference import ExecutorSettings

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|s)?")
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}


class ExecutorConfig(Section):
    """``[executor]``: where the labels are computed."""

    kind: Literal["local", "slurm", "dask"] = Field(
        default="local",
        description="Give 'local' (worker processes on this machine), 'slurm' (a Slurm cluster) or 'dask'.",
    )
    workers: Positive = Field(default=2, le=10_000, description="Give the number of calculations at a time, as 2.")
    retries: Whole = Field(
        default=1, ge=0, le=100, description="Give how often a failed label is tried again, for example 1."
    )
    threads: Positive = Field(default=1, le=10_000, description="Give the number of threads of each worker, as 1.")
    timeout: Annotated[Real, Field(gt=0, le=1e9)] | None = Field(
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

    memory_gb: Annotated[Real, Field(gt=0, le=1e6)] | None = Field(
        default=None,
        description="Give the memory of all workers of 'local' together in GB; without it, most of what is free.",
    )
    cores: Positive = Field(default=1, le=10**6, description="Give the cores of one calculation of 'slurm', as 1.")
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
