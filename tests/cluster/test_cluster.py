"""Real engines: Slurm through executorlib, dask, Parsl, mpi4py. Skipped where they are not installed, and in CI.

Slurm is started on this machine alone by `one-node-slurm.sh`, from Debian's packages slurmctld, slurmd, slurm-client
and munge. Install the others with: pip install executorlib pysqa h5py 'dask[distributed]' parsl mpi4py
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ndsc.reference import LabelStore

HERE = Path(__file__).parent
FAULTS = HERE.parent / "faults"

pytestmark = [
    pytest.mark.skipif(bool(os.environ.get("CI")), reason="clusters are not started in CI"),
    pytest.mark.slow,
]


def need(*modules: str) -> None:
    """Skip where a Python package is missing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def label(
    folder: Path, settings: str, *command: str, n: int = 6, extra: str = "", options: tuple[str, ...] = (),
    seconds: float = 0.1,
) -> list[str]:  # fmt: skip
    """Label n structures in a process of its own, and give the calculator's calls."""
    script, environment = prepare(folder, settings, n, extra, seconds)
    done = subprocess.run(
        [*command, sys.executable, *options, str(script)],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{n} []" in done.stdout, done.stdout + done.stderr[-3000:]
    store = LabelStore(folder / "labels")
    assert len(list(store.keys())) == n
    assert all(store.load(key) for key in list(store.keys()))
    return (folder / "calls").read_text().split()


def prepare(folder: Path, settings: str, n: int, extra: str, seconds: float) -> tuple[Path, dict[str, str]]:
    """The script of such a process, and its environment."""
    script = folder / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from fault_frames import frames
        from ndsc.reference import *

        def main():
            parameters = {{"counter": {str(folder / "calls")!r}, "seconds": {seconds}, "how": ""}}
            spec = CalculatorSpec("calculators_that_fail:counting", parameters)
            store = LabelStore({str(folder / "labels")!r})
            {settings}
            report = label_configurations(frames({n}), spec, store, executor=executor, workers=2)
            {extra or "pass"}
            print(len(report.labels), report.failures)

        if __name__ == "__main__":
            main()
        """)
    )
    paths = [str(FAULTS), *sys.path]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return script, environment


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of one node on this machine."""
    need("executorlib")
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
    missing = [program for program in programs if shutil.which(program) is None and not _in_sbin(program)]
    if missing:
        pytest.skip(f"Debian's packages slurmctld, slurmd, slurm-client and munge are needed; no {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("only root can start Slurm's daemons")
    folder = tmp_path_factory.mktemp("slurm")
    script = str(HERE / "one-node-slurm.sh")
    path = f"/usr/sbin:/sbin:{os.environ['PATH']}"
    subprocess.run([script, "start", str(folder)], check=True, timeout=60, env={**os.environ, "PATH": path})
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    del os.environ["SLURM_CONF"]
    subprocess.run([script, "stop", str(folder)], check=True, timeout=60)


def _in_sbin(program: str) -> bool:
    return (Path("/usr/sbin") / program).exists()


@pytest.mark.timeout(300)
def test_slurm_a_job_for_each_calculation(slurm, tmp_path):
    need("executorlib", "pysqa", "h5py")
    resources = {"partition": "all", "run_time_max": 3600, "slurm_cmd_args": ["--comment=labels"]}
    calls = label(tmp_path, f"executor = ExecutorSettings(kind='slurm', workers=2, resources={resources})", n=3)
    assert len(calls) == len(set(calls)) == 3
    finished = subprocess.run(["scontrol", "show", "jobs"], capture_output=True, text=True, check=True).stdout
    assert finished.count("JobState=COMPLETED") >= 3
    assert finished.count("Comment=labels") >= 3
    assert finished.count("TimeLimit=01:00:00") >= 3
    assert not list(tmp_path.glob("executorlib-*"))


@pytest.mark.timeout(300)
def test_slurm_workers_inside_one_allocation(slurm, tmp_path):
    need("executorlib")
    calls = label(tmp_path, "executor = ExecutorSettings(kind='slurm', workers=2)", "salloc", "-n2", "-Q")
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_slurm_a_stopped_driver_is_resumed(slurm, tmp_path, how):
    need("executorlib")
    settings, n = "executor = ExecutorSettings(kind='slurm', workers=2)", 8
    note = "open('driver', 'w').write(str(os.getpid()))"
    script, environment = prepare(tmp_path, f"{note}; {settings}", n, "", 0.5)
    store, errors = LabelStore(tmp_path / "labels"), tmp_path / "errors"
    with errors.open("w") as file:
        running = subprocess.Popen(
            ["salloc", "-n2", "-Q", sys.executable, str(script)],
            env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while len(list(store.keys())) < 2 and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.02)
        os.kill(int((tmp_path / "driver").read_text()), how)
        running.wait(timeout=60)
    finished = set(store.keys())
    assert 2 <= len(finished) < n, errors.read_text()
    counter = (tmp_path / "calls").read_text().split()
    calls = label(tmp_path, settings, "salloc", "-n2", "-Q", n=n, seconds=0.5)
    # What was finished is not computed again: only what the two workers were at is called for twice.
    assert len(set(calls)) == n
    assert len(calls) - len(counter) <= n - len(finished)
    assert len(calls) <= n + 2
    assert not any(alive for _, _, alive in store.claims.all())


@pytest.mark.timeout(300)
def test_dask_on_this_machine(tmp_path):
    need("distributed")
    calls = label(tmp_path, "executor = ExecutorSettings(kind='dask', workers=2)")
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.timeout(300)
def test_dask_with_a_client_of_ones_own(tmp_path):
    need("distributed")
    settings = (
        "from distributed import Client; "
        "client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None, host='127.0.0.1'); "
        "executor = client.get_executor()"
    )
    calls = label(tmp_path, settings, extra="client.close()")
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.timeout(300)
def test_parsl_on_this_machine(tmp_path):
    need("parsl")
    settings = (
        "from parsl.config import Config; from parsl.executors import HighThroughputExecutor; "
        "from parsl.providers import LocalProvider; from parsl.concurrent import ParslPoolExecutor; "
        "workers = HighThroughputExecutor(address='127.0.0.1', max_workers_per_node=2, "
        "provider=LocalProvider(init_blocks=1, max_blocks=1)); "
        "executor = ParslPoolExecutor(Config(executors=[workers], usage_tracking=0))"
    )
    calls = label(tmp_path, settings, extra="executor.shutdown()")
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.timeout(300)
def test_executorlib_on_this_machine(tmp_path):
    need("executorlib")
    settings = "import executorlib; executor = executorlib.SingleNodeExecutor(max_workers=2, block_allocation=True)"
    calls = label(tmp_path, settings, extra="executor.shutdown()")
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.timeout(300)
def test_mpi4py(tmp_path):
    need("mpi4py")
    if shutil.which("mpiexec") is None:
        pytest.skip("no mpiexec on this machine")
    command = ("mpiexec", "--allow-run-as-root", "--oversubscribe", "-n", "3")
    settings = "from mpi4py.futures import MPIPoolExecutor; executor = MPIPoolExecutor(2)"
    options = ("-m", "mpi4py.futures")
    calls = label(tmp_path, settings, *command, options=options, extra="executor.shutdown()")
    assert len(calls) == len(set(calls)) == 6
