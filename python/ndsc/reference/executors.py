"""Where labels are computed: this machine, a Slurm cluster through executorlib, or dask.

An executor is anything with ``submit``. These are the ones that an input file can name; any other is made by the
caller and given to :func:`ndsc.reference.label_configurations`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ndsc.errors import InputError, MissingExtraError
from ndsc.reference.local import LocalExecutor
from ndsc.section import Positive, Real, Section, Whole, check_plain

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|s)?")
_SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}


class ExecutorSettings(Section):
    """``[executor]``: where and how labels are computed."""

    kind: Literal["local", "slurm", "dask", "elsewhere"] = Field(
        default="local",
        description="Give 'local' (worker processes on this machine), 'slurm' (a Slurm cluster), 'dask', or "
        "'elsewhere' (nothing is started: ndsc labels write and ndsc labels read).",
    )
    workers: Positive = Field(
        default=2, le=10_000, description="Give the number of calculations at a time, for example 2."
    )
    retries: Whole = Field(
        default=1, ge=0, le=100, description="Give how often a failed label is tried again, for example 1."
    )
    threads: Positive = Field(
        default=1, le=10_000, description="Give the number of threads of each worker, for example 1."
    )
    timeout: Annotated[Real, Field(gt=0, le=1e9)] | None = Field(
        default=None,
        description="Give the longest time of one calculation, for example '2h', '30min', '90s' or in seconds.",
    )
    memory_gb: Annotated[Real, Field(gt=0, le=1e6)] | None = Field(
        default=None,
        description="Give the memory of all workers of 'local' together in GB; without it, most of what is free.",
    )
    cores: Positive = Field(
        default=1, le=10**6, description="Give the cores of one calculation of 'slurm', for example 1."
    )
    resources: dict[str, Any] = Field(
        default_factory=dict,
        description="Give the resources to request from 'slurm', for example resources = {partition = 'main', "
        "run_time_max = 7200}.",
    )
    address: str | None = Field(
        default=None, description="Give the address of a dask scheduler; without it, 'dask' starts one on this machine."
    )

    @field_validator("timeout", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("a number with h, min or s is expected")
        return float(found[1]) * _SECONDS[found[2] or "s"]

    @field_validator("resources")
    @classmethod
    def _plain(cls, resources: dict[str, Any]) -> dict[str, Any]:
        check_plain(resources, "resources")
        return resources

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> ExecutorSettings:
        for key, kind in (("memory_gb", "local"), ("cores", "slurm"), ("resources", "slurm"), ("address", "dask")):
            if getattr(self, key) not in (None, {}, 1) and self.kind != kind:
                raise ValueError(f"{key} has no effect with kind = {self.kind!r}, only with {kind!r}; remove it")
        return self


@contextmanager
def open_executor(settings: ExecutorSettings, directory: str | Path = ".") -> Iterator[Executor]:
    """Start what `settings` name, and stop it afterwards; whatever still runs is stopped on an error.

    Parameters
    ----------
    settings : ExecutorSettings
    directory : path
        Where executorlib keeps the files through which it speaks to Slurm's jobs; must be seen by all nodes.

    Raises
    ------
    MissingExtraError
        When executorlib or dask is not installed.
    InputError
        When there is no Slurm, or no scheduler of dask answers.
    """
    if settings.kind == "local":
        opened: Any = _local(settings)
    elif settings.kind == "slurm":
        opened = _slurm(settings, Path(directory))
    else:
        opened = _dask(settings)
    with opened as executor:
        yield executor


@contextmanager
def _local(settings: ExecutorSettings) -> Iterator[Executor]:
    executor = LocalExecutor(
        settings.workers, memory_mb=None if settings.memory_gb is None else 1000 * settings.memory_gb
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=True, cancel_futures=True)
        raise
    executor.shutdown()


@contextmanager
def _slurm(settings: ExecutorSettings, directory: Path) -> Iterator[Executor]:
    """Workers inside the allocation that this runs in, or else a job of Slurm for each calculation."""
    executorlib = _imported("executorlib", "slurm", "ndsc[cluster]")
    inside = "SLURM_JOB_ID" in os.environ
    command = "srun" if inside else "sbatch"
    if shutil.which(command) is None:
        raise InputError(
            f"The executor 'slurm' needs the program {command}, which is not on this machine. Run on a login node of "
            "the cluster, or choose kind = 'local'."
        )
    # Threads per core are what executorlib calls the CPUs of a task; its cores would be MPI ranks of Python.
    resources = {"cores": 1, "threads_per_core": max(settings.cores, settings.threads), **settings.resources}
    if inside:
        resources.pop("partition", None)
        executor = executorlib.SlurmJobExecutor(
            max_workers=settings.workers, resource_dict=resources, block_allocation=True
        )
        with _stopped_on_error(executor):
            yield executor
        return
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="executorlib-", dir=directory, ignore_cleanup_errors=True) as cache:
        resources["submission_template"] = _submission_script(resources)
        executor = executorlib.SlurmClusterExecutor(cache_directory=cache, resource_dict=resources)
        with _stopped_on_error(executor):
            yield executor


@contextmanager
def _stopped_on_error(executor: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown(wait=True)


def _submission_script(resources: Mapping[str, Any]) -> str:
    """The batch script: that of pysqa asks for a login shell, for a partition always, and for single cores only."""
    lines = [
        "#!/bin/bash",
        "#SBATCH --output=time.out",
        "#SBATCH --job-name={{job_name}}",
        "#SBATCH --chdir={{working_directory}}",
        "#SBATCH --ntasks={{cores}}",
        f"#SBATCH --cpus-per-task={resources['threads_per_core']}",
    ]
    if "partition" in resources:
        lines.append("#SBATCH --partition={{partition}}")
    if "run_time_max" in resources:
        lines.append("#SBATCH --time={{ [1, run_time_max // 60]|max }}")
    lines += [f"#SBATCH {argument}" for argument in resources.get("slurm_cmd_args", [])]
    return "\n".join([*lines, "", "{{command}}", ""])


@contextmanager
def _dask(settings: ExecutorSettings) -> Iterator[Executor]:
    distributed = _imported("distributed", "dask", "dask[distributed]")
    if settings.address is not None:
        with _connected(distributed, settings.address) as client:
            yield client.get_executor()
        return
    with (
        distributed.LocalCluster(
            n_workers=settings.workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def _connected(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"No dask scheduler answers at {address} ({error}). Start one, or leave out address to use this machine."
        ) from error


def _imported(module: str, kind: str, package: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # models of executorlib are written for pydantic 1
            return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"The executor {kind!r} needs {module}, which is not installed. Install it: pip install '{package}'."
        ) from error
