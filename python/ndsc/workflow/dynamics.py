"""Molecular dynamics as a part of a database: which potential it runs with, and trajectories that are kept.

A trajectory depends on rounding, as all molecular dynamics does. So it is kept beside the labels of its frames, like
relaxed crystals: a folder of labels that somebody shares has the frames too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.config import ConfigurationsConfig, RunConfig
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
        return {str(part.name): _of_part(part, spec, store, supercells, run, progress) for part in config.dynamics}
    except _NotThereError:
        return None


def check_dynamics(config: RunConfig, spec: CalculatorSpec, directory: Path) -> None:
    """Refuse molecular dynamics with a reference that takes minutes a step, and potentials that are not there.

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
    for part in config.dynamics:
        if part.potential is not None:
            own, given = directory.resolve(), Path(part.potential).resolve()
            if given == own or own / FIT_OF_RUN in (given, given.parent):
                raise InputError(
                    f"[configurations] potential = {part.potential!r} is what this run makes itself, so that its "
                    "configurations would be others after each run. Give the potential of another run."
                )
            _calculator_of(part.potential)
        elif spec.code.has_kpoints or spec.code.is_program or spec.kgrid is not None or spec.name == "elsewhere":
            raise InputError(
                f"[configurations] dynamics runs thousands of steps, and the reference is {spec.code.title}. Give "
                "potential, the folder of an earlier run whose potential the dynamics takes; with a trajectory that is "
                "there already, give trajectory in place of dynamics."
            )


def _of_part(
    part: ConfigurationsConfig,
    spec: CalculatorSpec,
    store: LabelStore,
    supercells: SupercellSet,
    run: bool,
    progress: Progress,
) -> list[Atoms]:
    source: Calculator | Callable[[Atoms], Calculator]
    if part.potential is None:
        of_potential: Any = {"calculator": spec.name, "parameters": dict(spec.parameters)}
        source = spec.create
    else:
        source, files = _calculator_of(part.potential)
        of_potential = _contents(files)

    def kept(one: LangevinRun, report: Progress) -> FloatArray:
        content = {
            "kind": "dynamics",
            "start": structure_record(one.start),
            "potential": of_potential,
            **_settings(one),
        }

        def decode(_: str, found: Any) -> FloatArray:
            if found["of"] != json.loads(json.dumps(content)):
                raise ValueError("it is another trajectory")
            return np.array(found["displacements"], dtype=float).reshape(one.n_frames, len(one.start), 3)

        def encode(moved: FloatArray) -> str:
            return json.dumps({"of": content, "displacements": moved.tolist()})

        def compute() -> FloatArray:
            if not run:
                raise _NotThereError
            return run_langevin(one, source, progress=report)

        trajectories: Store[FloatArray] = Store(store.derived, decode, encode)
        return trajectories.get_or_compute(f"dynamics-{digest(content)}", compute)

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
