"""Where labels are computed: this machine, a Slurm cluster through executorlib, or dask.

An executor is anything with ``submit``. These are the ones that an input file can name; any other is made by the
caller and given to :func:`ndsc.reference.label_configurations`.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ndsc.errors import InputError, MissingExtraError
from ndsc.reference.local import LocalExecutor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutorSettings:
    """Where and how labels are computed.

    Attributes
    ----------
    kind : str
        ``local``, ``slurm`` or ``dask``.
    workers : int
        Calculations at a time.
    threads : int
        Threads of the linear algebra libraries of each.
    retries : int
        How often a calculation is tried again that failed by chance.
    timeout : float, optional
        Longest time of a calculation, s.
    memory_mb : float, optional
        For ``local``: memory for all of them, MB.
    cores : int
        For ``slurm``: cores of a calculation, for a code that starts MPI itself.
    resources : dict
        For ``slurm``: what else executorlib is to ask for (``partition``, ``run_time_max`` in s, ``slurm_cmd_args``).
    address : str, optional
        For ``dask``: of a scheduler that runs; without it, a cluster on this machine is started.
    """

    kind: Literal["local", "slurm", "dask"] = "local"
    workers: int = 2
    threads: int = 1
    retries: int = 1
    timeout: float | None = None
    memory_mb: float | None = None
    cores: int = 1
    resources: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None


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
        When there is no Slurm, or no such kind.
    """
    if settings.kind == "local":
        opened: Any = _local(settings)
    elif settings.kind == "slurm":
        opened = _slurm(settings, Path(directory))
    elif settings.kind == "dask":
        opened = _dask(settings)
    else:
        raise InputError(f"There is no executor {settings.kind!r}. Choose 'local', 'slurm' or 'dask'.")
    with opened as executor:
        yield executor


@contextmanager
def _local(settings: ExecutorSettings) -> Iterator[Executor]:
    executor = LocalExecutor(settings.workers, memory_mb=settings.memory_mb)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=True, cancel_futures=True)
        raise
    executor.shutdown()


@contextmanager
def _slurm(settings: ExecutorSettings, directory: Path) -> Iterator[Executor]:
    """Workers inside the allocation that this runs in, or else a job of Slurm for each calculation."""
    executorlib = _executorlib()
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
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise MissingExtraError(
            "The executor 'dask' needs dask.distributed, which is not installed. Install it: pip install "
            "'dask[distributed]'."
        ) from error
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


def _executorlib() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its models are written for pydantic 1
            return import_module("executorlib")
    except ImportError as error:
        raise MissingExtraError(
            "The executor 'slurm' needs executorlib, which is not installed. Install it: pip install 'ndsc[cluster]'."
        ) from error
