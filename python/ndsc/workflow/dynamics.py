"""Molecular dynamics as a part of a database: which potential it runs with, and trajectories that are kept.

Where labels are chosen, it may run with the potential of the labels so far; its frames are then candidates too.

A trajectory depends on rounding, as all molecular dynamics does. So it is kept beside the labels of its frames, like
relaxed crystals: a folder of labels that somebody shares has the frames too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.config import ConfigurationsConfig, RunConfig
from ndsc.configurations import CURRENT
from ndsc.dynamics import EQUILIBRATION, EVERY, FRICTION, TIMESTEP, LangevinRun, dynamics_configurations, run_langevin
from ndsc.errors import InputError
from ndsc.fit.calculator import GapCalculator
from ndsc.potentials.fitting import load_fit
from ndsc.progress import Progress
from ndsc.reference import CalculatorSpec, LabelStore
from ndsc.reference.label_file import structure_record
from ndsc.store import Store, digest
from ndsc.supercells import SupercellSet

FloatArray = NDArray[np.float64]

#: What a fit is called in the folder of a run.
FIT_OF_RUN = "potential"


class _NotThereError(Exception):
    """A trajectory is not kept yet, and may not be run now."""


def frames_of_dynamics(
    config: RunConfig,
    spec: CalculatorSpec,
    store: LabelStore,
    supercells: SupercellSet,
    *,
    run: bool,
    progress: Progress,
) -> dict[str, list[Atoms]] | None:
    """The frames of all parts of a database that are molecular dynamics.

    Parameters
    ----------
    config : RunConfig
    spec : CalculatorSpec
        The reference, where a part names no potential.
    store : LabelStore
        Trajectories are kept beside its labels.
    supercells : SupercellSet
    run : bool
        Whether trajectories that are not there are run.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    dict of str to list of ase.Atoms, or None
        By the name of the part; None where trajectories are not there that may not be run.

    Raises
    ------
    InputError
        When a potential cannot be read, is not one of the crystal's elements, or a trajectory explodes or fails.
    """
    try:
        return {
            str(part.name): _of_part(part, *_source_of(part, spec), store, supercells, run=run, progress=progress)
            for part in config.dynamics
        }
    except _NotThereError:
        return None


def frames_of_current_dynamics(
    config: RunConfig,
    calculator: Calculator,
    known: Mapping[str, Any],
    store: LabelStore,
    supercells: SupercellSet,
    *,
    progress: Progress,
) -> dict[str, list[Atoms]]:
    """The frames of all parts of a database that are molecular dynamics by the potential of the labels so far.

    Parameters
    ----------
    config : RunConfig
    calculator : ase calculator
        The potential.
    known : mapping of str to JSON content
        What the potential was fitted to and how. Trajectories are kept under this and not under its numbers, which
        another machine may round differently; so are those that failed.
    store, supercells, progress
        As for :func:`frames_of_dynamics`.

    Returns
    -------
    dict of str to list of ase.Atoms
        By the name of the part.

    Raises
    ------
    InputError
        When a trajectory explodes or fails.
    """
    return {
        str(part.name): _of_part(
            part, calculator, dict(known), store, supercells, run=True, keep_failures=True, progress=progress
        )
        for part in config.current_dynamics
    }


def check_dynamics(config: RunConfig, spec: CalculatorSpec, directory: Path) -> None:
    """Refuse molecular dynamics with a reference that takes minutes a step, and potentials that cannot be there.

    Parameters
    ----------
    config : RunConfig
    spec : CalculatorSpec
    directory : path
        Folder of the run.

    Raises
    ------
    InputError
        Saying what to give instead.
    """
    current = config.current_dynamics
    if current and config.selection.method == "all":
        raise InputError(
            f"[configurations] potential = {CURRENT!r} is the potential of the labels so far, and all configurations "
            "are labelled in one go. Give [selection] method = 'information', or the folder of another run."
        )
    if current and len(current) == len(config.configurations):
        raise InputError(
            f"[configurations] potential = {CURRENT!r} needs labels before there is a potential. Give another part in "
            "[[configurations]], displaced at random for example, which the first labels are chosen from."
        )
    for part in config.dynamics:
        if part.potential is not None:
            own, given = directory.resolve(), Path(part.potential).resolve()
            if given == own or own / FIT_OF_RUN in (given, given.parent):
                raise InputError(
                    f"[configurations] potential = {part.potential!r} is the potential of this run itself, so its "
                    "configurations would change with every run. Give the potential of another run, or, if labels "
                    f"are chosen, {CURRENT!r}."
                )
            _calculator_of(part.potential)
        elif spec.code.has_kpoints or spec.code.is_program or spec.kgrid is not None or spec.name == "elsewhere":
            raise InputError(
                f"[configurations] dynamics runs thousands of steps, and the reference is {spec.code.title}. Set "
                "potential to the folder of an earlier run, whose potential is then used; if you already have a "
                "trajectory, give trajectory instead of dynamics."
            )


def _source_of(
    part: ConfigurationsConfig, spec: CalculatorSpec
) -> tuple[Calculator | Callable[[Atoms], Calculator], Any]:
    """The potential of a part, and what its trajectories are kept under."""
    if part.potential is None:
        return spec.create, {"calculator": spec.name, "parameters": dict(spec.parameters)}
    calculator, files = _calculator_of(part.potential)
    return calculator, _contents(files)


def _of_part(
    part: ConfigurationsConfig,
    source: Calculator | Callable[[Atoms], Calculator],
    of_potential: Any,
    store: LabelStore,
    supercells: SupercellSet,
    *,
    run: bool,
    keep_failures: bool = False,
    progress: Progress,
) -> list[Atoms]:
    def kept(one: LangevinRun, report: Progress) -> FloatArray:
        content = {
            "kind": "dynamics",
            "start": structure_record(one.start),
            "potential": of_potential,
            **_settings(one),
        }

        def decode(_: str, found: Any) -> FloatArray | str:
            if found["of"] != json.loads(json.dumps(content)):
                raise ValueError("it is another trajectory")
            if "failure" in found:
                return str(found["failure"])
            return np.array(found["displacements"], dtype=float).reshape(one.n_frames, len(one.start), 3)

        def encode(moved: FloatArray | str) -> str:
            result = {"failure": moved} if isinstance(moved, str) else {"displacements": moved.tolist()}
            return json.dumps({"of": content, **result})

        def compute() -> FloatArray | str:
            if not run:
                raise _NotThereError
            try:
                return run_langevin(one, source, progress=report)
            except InputError as error:
                if not keep_failures:
                    raise
                return str(error)

        trajectories: Store[FloatArray | str] = Store(store.derived, decode, encode)
        found = trajectories.get_or_compute(f"dynamics-{digest(content)}", compute)
        if isinstance(found, str):
            raise InputError(found)
        return found

    return dynamics_configurations(
        supercells,
        None,
        temperature=part.temperature or (),
        timestep=TIMESTEP if part.timestep is None else part.timestep,
        friction=FRICTION if part.friction is None else part.friction,
        equilibration=EQUILIBRATION if part.equilibration is None else part.equilibration,
        every=EVERY if part.every is None else part.every,
        per_supercell=part.per_supercell,
        strain=part.strain,
        scale=part.scale,
        unit_cells=part.unit_cells,
        seed=part.seed,
        part=part.name,
        run=kept,
        progress=progress,
    )


def _settings(run: LangevinRun) -> dict[str, Any]:
    names = ("temperature", "timestep", "friction", "equilibration", "every", "n_frames", "seed")
    return {name: getattr(run, name) for name in names}


def _calculator_of(path: str) -> tuple[Calculator, tuple[Path, ...]]:
    """The potential in the folder of a run, in that of a fit, or in an XML file, and the files that it consists of."""
    given = Path(path)
    if given.is_file() and given.suffix == ".xml":
        return GapCalculator(given), (given, *sorted(given.parent.glob(f"{given.name}.sparseX.*")))
    if not given.is_dir():
        raise InputError(
            f"There is no potential {path}. Give [configurations] potential the folder of a run or of a fit, or the "
            "XML file of a GAP."
        )
    fit = load_fit(given / FIT_OF_RUN if (given / FIT_OF_RUN).is_dir() else given)
    return fit.calculator(), fit.files


def _contents(files: tuple[Path, ...]) -> list[str]:
    """Hashes of files, whatever they are called."""
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
