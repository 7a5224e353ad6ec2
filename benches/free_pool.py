"""Labels chosen from the candidates of a run, beside random draws of the same size from the same candidates.

``python benches/free_pool.py [--target-thz 0.01] [--draws 20] [--out DIR]`` labels all candidates that a run makes for
fcc aluminium, with EMT, which costs nothing, and compares potentials of 4 to 18 labels: phonons over the mesh and the
largest error of an elastic constant, by default settings but for the target.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from ndsc.config import load_config
from ndsc.config.study import parse_study
from ndsc.errors import NdscError
from ndsc.fit.executable import require_quippy
from ndsc.reference import label_configurations
from ndsc.study.run import run_study
from ndsc.workflow import make_plan, run_workflow

RUN = """
[crystal]
structure = "Al"
[supercells]
grid = [4, 4, 4]
[reference]
calculator = "emt"
labels = "labels"
[selection]
target_thz = {target}
"""
STUDY = """
[study]
title = "Labels from a free pool"
seeds = {seeds}
[runs]
Al = "al.toml"
[[potentials]]
name = "chosen"
select = {{ method = "information" }}
sparse_points = "pool"
sigmas = "evidence"
[[potentials]]
name = "random"
sparse_points = "pool"
sigmas = "evidence"
[sweep]
"select.size" = [4, 6, 9, 12, 18]
[evaluate]
harmonic = false
predicted = true
"""
PHONONS, ELASTIC, PREDICTED = "rmse_mesh_thz", "largest_elastic_error_percent", "predicted_rmse_thz"


def compare(folder: Path, target: float, draws: int) -> None:
    """Print a line for each number of labels."""
    path = folder / "al.toml"
    path.write_text(RUN.format(target=target), encoding="utf-8")
    config = load_config(path)
    plan = make_plan(config, folder / "run")
    label_configurations(plan.configurations, plan.spec, plan.store)
    run_workflow(config, folder / "run")
    study = parse_study(STUDY.format(seeds=list(range(1, draws + 1))), folder=folder, source="the study")
    frame = run_study(study, folder / "study").frame
    print(f"{len(plan.configurations)} candidates, target {target:g} THz, {draws} random draws")
    print("labels  phonons THz  predicted  random median  ratio  elastic %  random median")
    for size, rows in frame.groupby("select.size"):
        chosen = rows[rows.potential == "chosen"].iloc[0]
        random = rows[rows.potential == "random"]
        median = random[PHONONS].median()
        print(
            f"{size:6d}  {chosen[PHONONS]:11.4f}  {chosen[PREDICTED]:9.4f}  {median:13.4f}  "
            f"{chosen[PHONONS] / median:5.2f}  {chosen[ELASTIC]:9.2f}  {random[ELASTIC].median():13.2f}"
        )


def main() -> int:
    """Label, fit and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target-thz", type=float, default=0.01, help="[selection] target_thz of the choice")
    parser.add_argument("--draws", type=int, default=20, help="random draws of each size")
    parser.add_argument(
        "--out", type=Path, help="folder of labels and potentials, kept; without it they are thrown away"
    )
    options = parser.parse_args()
    logging.getLogger("ndsc").setLevel(logging.ERROR)
    try:
        require_quippy()
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.out or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            compare(folder, options.target_thz, options.draws)
    except NdscError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
