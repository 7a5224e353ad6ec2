"""The choice of labels by information, by default settings, on crystals of many kinds: what each run reaches.

``python benches/selection.py [--crystal NAME …] [--labels 40] [--out DIR] [--json]`` writes an input file for each
crystal with nothing but the crystal, the grid, the reference and the number of labels, runs it, and prints what it
predicted and what is true. A crystal passes with phonons within 1 % of the top frequency, every elastic constant
within 5 % or 2 GPa, no instability that the reference lacks, and at most 5 minutes of processor time outside the
reference. ``--method all`` and ``--method random`` label without a choice, for comparison.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase.io import write

from _crystals import CASES, SECONDS_FILE, Case
from ndsc import run_workflow
from ndsc.config import load_config
from ndsc.errors import NdscError
from ndsc.fit.executable import require_quippy
from ndsc.results import IMAGINARY_THZ, Comparison, Results

#: What a crystal has to reach: RMSE in per cent of the top frequency, elastic constants in per cent or GPa, seconds.
RMSE_PERCENT, ELASTIC_PERCENT, ELASTIC_GPA, SECONDS = 1.0, 5.0, 2.0, 300.0


@dataclass(frozen=True)
class Outcome:
    """What one crystal reached, or why its run ended.

    Attributes
    ----------
    crystal, space_group : str
    n_atoms : int
        Of the unit cell.
    labels : int
        Configurations that the potential was fitted to.
    seconds, reference_seconds : float
        Processor time outside the reference and in it.
    rmse_thz, predicted_rmse_thz : float or None
        True and predicted RMSE over the mesh.
    top_thz, lowest_thz, reference_lowest_thz : float or None
        Frequencies of the reference and of the potential.
    elastic : dict
        Error of each constant: name to (GPa, per cent), None where there is none.
    predicted_elastic_percent : float or None
    target_met : bool or None
        What the run says of its own target.
    warnings : list of str
        What the run says.
    error : str
        Why it has no results.
    """

    crystal: str
    space_group: str = ""
    n_atoms: int = 0
    labels: int = 0
    seconds: float = 0.0
    reference_seconds: float = 0.0
    rmse_thz: float | None = None
    predicted_rmse_thz: float | None = None
    top_thz: float | None = None
    lowest_thz: float | None = None
    reference_lowest_thz: float | None = None
    elastic: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    predicted_elastic_percent: float | None = None
    target_met: bool | None = None
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def rmse_percent(self) -> float | None:
        """RMSE in per cent of the reference's top frequency."""
        return None if self.rmse_thz is None or not self.top_thz else 100 * self.rmse_thz / self.top_thz

    @property
    def worst_elastic(self) -> str | None:
        """The constant that is farthest from the reference in units of what is allowed."""
        return max(self.elastic, key=lambda name: _excess(*self.elastic[name]), default=None)

    def missed(self, labels: int | None) -> list[str]:
        """What the crystal did not reach, in words; empty when it passes."""
        if self.error:
            return ["no results"]
        missed = []
        if self.rmse_percent is None or self.rmse_percent > RMSE_PERCENT:
            missed.append("phonons")
        if not self.elastic or any(_excess(*errors) > 1 for errors in self.elastic.values()):
            missed.append("elastic")
        lowest, reference = (_or_zero(value) for value in (self.lowest_thz, self.reference_lowest_thz))
        if lowest < IMAGINARY_THZ <= reference:
            missed.append("unstable")
        if self.seconds > SECONDS:
            missed.append("time")
        if labels is not None and self.labels > labels:
            missed.append("labels")
        return missed


def _excess(gpa: float | None, percent: float | None) -> float:
    """An elastic error in units of what is allowed: 5 % or 2 GPa, whichever is wider."""
    if gpa is None:
        return float("inf")
    allowed = abs(gpa) / ELASTIC_GPA
    return allowed if percent is None else min(allowed, abs(percent) / ELASTIC_PERCENT)


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None else value


def outcome(name: str, results: Results, seconds: float, reference_seconds: float) -> Outcome:
    """What a finished run reached."""
    # The section is there when labels were chosen.
    selection: Mapping[str, Any] = results.model_dump(mode="json").get("selection") or {}
    phonons = results.phonons
    return Outcome(
        crystal=name,
        space_group=results.crystal.space_group,
        n_atoms=results.crystal.n_atoms,
        labels=results.cost.labels if results.cost else 0,
        seconds=round(seconds, 1),
        reference_seconds=round(reference_seconds, 3),
        rmse_thz=phonons and phonons.rmse_mesh_thz,
        predicted_rmse_thz=selection.get("predicted_rmse_thz"),
        top_thz=phonons and phonons.reference_max_frequency_thz,
        lowest_thz=phonons and phonons.min_frequency_thz,
        reference_lowest_thz=phonons and phonons.reference_min_frequency_thz,
        elastic={constant: _errors(value) for constant, value in (results.elastic or {}).items()},
        predicted_elastic_percent=selection.get("predicted_elastic_percent"),
        target_met=selection.get("target_met"),
        warnings=list(results.warnings),
    )


def _errors(value: Comparison) -> tuple[float | None, float | None]:
    if value.model is None or value.reference is None:
        return None, None
    return value.model - value.reference, value.error_percent


def input_file(name: str, case: Case, folder: Path, labels: int, method: str) -> Path:
    """Write the crystal and the input file of a run; the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    atoms = case.make()
    write(folder / f"{name}.extxyz", atoms, format="extxyz")
    parameters = ", ".join(f"{key} = {json.dumps(value)}" for key, value in case.parameters.items())
    lines = [
        "[crystal]",
        f'structure = "{name}.extxyz"',
        "primitive = false",
        "[supercells]",
        f"grid = {list(case.grid)}",
        "[reference]",
        f'calculator = "{case.calculator}"',
        f"parameters = {{{parameters}}}",
    ]
    lines += ["[selection]", f'method = "{method}"']
    lines += [] if method == "all" else [f"max_labels = {labels}"]
    path = folder / "input.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(name: str, folder: Path, labels: int, method: str, progress: Callable[[str, int, int], None]) -> Outcome:
    """One crystal, from its input file to what it reached."""
    times = folder / "reference_seconds.txt"
    folder.mkdir(parents=True, exist_ok=True)
    times.write_text("", encoding="utf-8")
    os.environ[SECONDS_FILE] = str(times.resolve())
    before = _processor_seconds()
    try:
        config = load_config(input_file(name, CASES[name], folder, labels, method))
        results = run_workflow(config, folder / "run", progress=progress)
    except NdscError as error:
        return Outcome(name, seconds=round(_processor_seconds() - before, 1), error=str(error))
    finally:
        del os.environ[SECONDS_FILE]
    in_reference = sum(float(line) for line in times.read_text(encoding="utf-8").split())
    return outcome(name, results, _processor_seconds() - before - in_reference, in_reference)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


COLUMNS = (
    ("crystal", 9), ("group", 9), ("atoms", 5), ("labels", 6), ("s", 6), ("RMSE THz", 9), ("predicted", 9),
    ("% top", 6), ("worst elastic", 25), ("predicted", 9), ("lowest THz", 15), ("", 0),
)  # fmt: skip


def row(found: Outcome, labels: int | None) -> str:
    """A line of the table."""
    missed = found.missed(labels)
    verdict = "pass" if not missed else "fails: " + ", ".join(missed)
    if found.target_met is not None:
        verdict += f" (the run says: {'met' if found.target_met else 'not met'})"
    worst = found.worst_elastic
    gpa, percent = found.elastic[worst] if worst else (None, None)
    cells = (
        found.crystal,
        found.space_group,
        str(found.n_atoms),
        str(found.labels),
        f"{found.seconds:.0f}",
        _number(found.rmse_thz, ".3f"),
        _number(found.predicted_rmse_thz, ".3f"),
        _number(found.rmse_percent, ".2f"),
        f"{worst or ''} {_number(percent, '+.1f')} % {_number(gpa, '+.1f')} GPa",
        _number(found.predicted_elastic_percent, ".1f"),
        f"{_number(found.lowest_thz, '.2f')} / {_number(found.reference_lowest_thz, '.2f')}",
        verdict,
    )
    return " ".join(cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> int:
    """Run the crystals in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystal", nargs="+", choices=sorted(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--labels", type=int, default=40, help="the most that a run may label")
    parser.add_argument("--method", choices=("information", "random", "all"), default="information")
    parser.add_argument("--out", type=Path, help="folder of the runs, kept; without it they are thrown away")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    try:
        require_quippy()
    except NdscError as error:
        print(error, file=sys.stderr)
        return 1
    logging.getLogger("ndsc").setLevel(logging.ERROR)
    limit = None if options.method == "all" else options.labels
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        if not options.json:
            print(" ".join(title.ljust(width) for title, width in COLUMNS), flush=True)
        for name in options.crystal:
            found.append(run(name, out / name, options.labels, options.method, lambda *_: None))
            if not options.json:
                print(row(found[-1], limit), flush=True)
                for text in (found[-1].error, *found[-1].warnings):
                    if text:
                        print(f"          {text}", flush=True)
    passed = sum(not one.missed(limit) for one in found)
    if options.json:
        more = [{"rmse_percent": one.rmse_percent, "missed": one.missed(limit)} for one in found]
        print(json.dumps([asdict(one) | extra for one, extra in zip(found, more, strict=True)], indent=1))
    else:
        print(f"{passed} of {len(found)} crystals pass.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
