"""Supercells whose atoms are where molecular dynamics in them takes them, with any calculator.

Each supercell of a set is scaled and strained, and Langevin dynamics (ASE's) runs in the cell as it then is. A
trajectory has a random stream of its own, seeded by (seed, supercell matrix, number of the trajectory), so that one
seed gives the same frames, and asking for more of them only makes trajectories longer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from numpy.typing import NDArray

from ndsc.configurations import (
    ConfigurationSettings,
    check_memory,
    deformed,
    make_configurations,
    normal_numbers,
    symmetric_strain,
    uniform_stream,
)
from ndsc.errors import InputError, NdscError
from ndsc.interrupts import raise_if_interrupted
from ndsc.progress import Progress, silent
from ndsc.rounding import rounded
from ndsc.sublattices import make_supercell
from ndsc.supercells import SupercellSet
from ndsc.thermal import DECIMALS, LINDEMANN, nearest_distance

FloatArray = NDArray[np.float64]

#: Time step, fs; friction, 1/fs; steps before the first frame and between two, unless given.
TIMESTEP, FRICTION, EQUILIBRATION, EVERY = 2.0, 0.01, 250, 50
#: A trajectory has exploded when two atoms are closer than this part of the distance between neighbours, or when the
#: atoms move with this many times the kinetic energy of the temperature. In a cell of two atoms that energy is above
#: ten times its mean once in 10⁶ times.
TOO_CLOSE, TOO_FAST = 0.4, 20.0
#: Steps between two looks at a trajectory.
LOOK_EVERY = 10


@dataclass(frozen=True, eq=False)
class LangevinRun:
    """One trajectory to run, with all that it depends on but the calculator.

    Attributes
    ----------
    start : ase.Atoms
        The scaled and strained supercell, atoms on their sites.
    temperature : float, K
    timestep : float, fs
    friction : float, 1/fs
    equilibration, every : int
        Steps before the first frame, and between two.
    n_frames : int
    seed : str
        Of the random numbers.
    title : str
        What messages call it.
    """

    start: Atoms
    temperature: float
    timestep: float
    friction: float
    equilibration: int
    every: int
    n_frames: int
    seed: str
    title: str

    @property
    def n_steps(self) -> int:
        """Steps until the last frame."""
        return self.equilibration + self.every * (self.n_frames - 1)


#: Runs a trajectory, tells how far it is, and returns its displacements as :func:`run_langevin` does.
Runner = Callable[[LangevinRun, Progress], FloatArray]


def dynamics_configurations(
    supercells: SupercellSet,
    calculator: Calculator | Callable[[Atoms], Calculator] | None,
    *,
    temperature: float | Sequence[float],
    timestep: float = TIMESTEP,
    friction: float = FRICTION,
    equilibration: int = EQUILIBRATION,
    every: int = EVERY,
    per_supercell: int = 20,
    strain: float = 0.0,
    scale: float | Sequence[float] = 1.0,
    unit_cells: int = 1,
    seed: int = 0,
    part: str | None = None,
    run: Runner | None = None,
    progress: Progress = silent,
) -> list[Atoms]:
    """Frames of Langevin dynamics in the supercells of a set.

    Configuration i of a supercell is a frame of the trajectory in the cell scaled by ``scale[i % len(scale)]``, at the
    temperature ``temperature[(i // len(scale)) % len(temperature)]``. Each trajectory has one random strain.

    Parameters
    ----------
    supercells : SupercellSet
        Of the relaxed unit cell.
    calculator : ase calculator or callable
        Of the forces; or a function of a structure that returns one.
    temperature : float or sequence of floats, K
        Several are taken in turn.
    timestep : float, fs
    friction : float, 1/fs
        Of the thermostat: velocities are forgotten after its inverse.
    equilibration : int
        Steps before the first frame of a trajectory, which begins with all atoms on their sites.
    every : int
        Steps between two frames.
    per_supercell, strain, scale, unit_cells, seed, part
        As for :func:`~ndsc.make_configurations`. Of the unit cells, the others than the first are scaled and strained,
        with their atoms on their sites.
    run : callable, optional
        Runs a trajectory in place of :func:`run_langevin` with the calculator: one that looks first whether it is
        there, for example.
    progress : callable
        Called with ("molecular dynamics", steps done, all).

    Returns
    -------
    list of ase.Atoms
        ``config_type`` is ``"dynamics"``. ``info`` has the recipe of :func:`~ndsc.make_configurations`, and
        ``ndsc_temperature``; ``ndsc_displacement`` is the root mean square of a component over the trajectory, Å. The
        centre of mass stays where it is.

    Raises
    ------
    InputError
        When a number is out of its range, a trajectory explodes, the calculator fails in it, or there is no atom that
        could move against another.
    """
    settings = ConfigurationSettings.parse(
        {
            "name": part, "per_supercell": per_supercell, "strain": strain, "scale": scale, "unit_cells": unit_cells,
            "seed": seed, "dynamics": "langevin", "temperature": temperature, "timestep": timestep,
            "friction": friction, "equilibration": equilibration, "every": every,
        },
        "The arguments",
    )  # fmt: skip
    check_memory(supercells, settings)
    found = make_configurations(
        supercells, per_supercell=0, unit_cells=unit_cells, strain=strain, scale=scale, seed=seed, part=part
    )
    runs = [_runs_of(supercells, np.ascontiguousarray(matrix), settings) for matrix in supercells.matrices]
    total, done = sum(one.n_steps for own in runs for one in own), 0
    for number, (matrix, own) in enumerate(zip(supercells.matrices, runs, strict=True)):
        moved = []
        for one in own:
            before = done

            def report(task: str, step: int, _: int, before: int = before) -> None:
                progress(task, before + step, total)

            moved.append(run_langevin(one, calculator, progress=report) if run is None else run(one, report))
            done += one.n_steps
            progress("molecular dynamics", done, total)
        for index in range(per_supercell):
            which, frame = index % len(own), index // len(own)
            found.append(_frame(own[which], moved[which], frame, matrix, number, index, settings))
    return found


def run_langevin(
    run: LangevinRun, calculator: Calculator | Callable[[Atoms], Calculator] | None, *, progress: Progress = silent
) -> FloatArray:
    """Run a trajectory.

    Parameters
    ----------
    run : LangevinRun
    calculator : ase calculator or callable
        A function is told the structure.
    progress : callable
        Called with ("molecular dynamics", steps done, all).

    Returns
    -------
    (n_frames, n_atoms, 3) array, Å
        Displacements of the atoms from their sites, without that of the centre of mass, rounded to 1e-4.

    Raises
    ------
    InputError
        When it explodes, or the calculator fails.
    """
    atoms = run.start.copy()
    atoms.calc = calculator if isinstance(calculator, Calculator) or calculator is None else calculator(atoms)
    dynamics = _langevin(atoms, run)
    closest = TOO_CLOSE * nearest_distance(atoms)
    frames = np.empty((run.n_frames, len(atoms), 3))
    step = 0
    for number in range(run.n_frames):
        end = run.equilibration + run.every * number
        while step < end:
            portion = min(LOOK_EVERY, end - step)
            _advance(dynamics, portion, run, step)
            step += portion
            _check(atoms, run, step, closest)
            progress("molecular dynamics", step, run.n_steps)
        frames[number] = _displacements(atoms, run.start)
    return np.round(frames, DECIMALS)


def melting_warning(frames: Sequence[Atoms], crystal: Atoms) -> str | None:
    """What to say when the atoms of frames are displaced further than those of a crystal are; None when they are not.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Of :func:`dynamics_configurations`.
    crystal : ase.Atoms
        The unit cell.
    """
    moved = [(frame.info["ndsc_displacement"], frame) for frame in frames if "ndsc_dynamics" in frame.info]
    if not moved:
        return None
    largest, frame = max(moved, key=lambda pair: float(pair[0]))
    part = np.sqrt(3) * largest / nearest_distance(crystal)
    if part <= LINDEMANN:
        return None
    return (
        f"In the molecular dynamics of {frame.info['ndsc_name']} at {frame.info['ndsc_temperature']:g} K, atoms are "
        f"{np.sqrt(3) * largest:.2f} Å from their sites on average, {100 * part:.0f} % of the distance between "
        "neighbours: they have left them, as in a liquid, or the crystal is unstable with this potential. Lower the "
        "temperature unless this is intended."
    )


class _Normals:
    """Random numbers as ASE asks for them, the same with every version of NumPy."""

    def __init__(self, seed: str) -> None:
        self._uniform = uniform_stream(seed)

    def standard_normal(self, size: tuple[int, ...]) -> FloatArray:
        """Independent numbers of a standard normal distribution."""
        return normal_numbers(self._uniform, int(np.prod(size))).reshape(size)


def _langevin(atoms: Atoms, run: LangevinRun) -> Langevin:
    """ASE's dynamics, with velocities that heat the crystal to its temperature.

    Atoms begin on their sites: in a harmonic crystal half of the kinetic energy becomes potential energy, so that there
    is twice as much of it. The centre of mass is free. With ASE's ``fixcm`` the other degrees of freedom of N atoms
    would be too hot by N / (N - 1), which is a factor of two in a cell of two atoms.
    """
    normals, masses = _Normals(run.seed), atoms.get_masses()[:, None]
    kinetic = 2 * units.kB * run.temperature
    momenta = np.sqrt(kinetic * masses) * normals.standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    # The option is to go from ASE, and then the centre of mass is free by itself.
    options: dict[str, Any] = {"fixcm": False} if "fixcm" in inspect.signature(Langevin).parameters else {}
    return Langevin(
        atoms,
        run.timestep * units.fs,
        temperature_K=run.temperature,
        friction=run.friction / units.fs,
        rng=normals,
        **options,
    )


def _advance(dynamics: Langevin, steps: int, run: LangevinRun, done: int) -> None:
    try:
        with np.errstate(all="ignore"):
            dynamics.run(steps)
    except NdscError:
        raise
    except Exception as error:  # each calculator has errors of its own
        raise_if_interrupted(error)
        if not np.all(np.isfinite(dynamics.atoms.positions)):
            raise _exploded(run, done, "positions are not finite") from error
        raise InputError(
            f"The molecular dynamics of {run.title} failed between steps {done} and {done + steps} "
            f"({type(error).__name__}: {error}). Lower the temperature or the time step, or take another potential."
        ) from error


def _check(atoms: Atoms, run: LangevinRun, step: int, closest: float) -> None:
    """Refuse a trajectory that has exploded."""
    if not (np.all(np.isfinite(atoms.positions)) and np.all(np.isfinite(atoms.get_momenta()))):
        raise _exploded(run, step, "positions are not finite")
    mean = 1.5 * len(atoms) * units.kB * run.temperature
    if (times := atoms.get_kinetic_energy() / mean) > TOO_FAST:
        raise _exploded(run, step, f"atoms move with {times:.0f} times the kinetic energy of {run.temperature:g} K")
    if (distance := nearest_distance(atoms)) < closest:
        raise _exploded(run, step, f"two atoms are only {distance:.2f} Å apart")


def _exploded(run: LangevinRun, step: int, why: str) -> InputError:
    return InputError(
        f"The molecular dynamics of {run.title} exploded within {step} steps of {run.timestep:g} fs: {why}. The "
        "potential does not hold there, or the time step is too long. Lower timestep or temperature, or give a "
        "potential that was fitted to displacements of this size."
    )


def _displacements(atoms: Atoms, start: Atoms) -> FloatArray:
    """Of atoms from their sites, less that of the centre of mass."""
    moved = atoms.positions - start.positions
    return np.asarray(moved - np.average(moved, axis=0, weights=atoms.get_masses()))


def _runs_of(supercells: SupercellSet, matrix: NDArray[np.int64], settings: ConfigurationSettings) -> list[LangevinRun]:
    """The trajectories of one supercell: one for each scale and temperature, as far as there are frames."""
    crystal, temperatures, scales = supercells.crystal, settings.temperature or (), settings.scale
    perfect = make_supercell(crystal.atoms, matrix)
    if len(perfect) < 2:
        raise InputError(
            "Molecular dynamics needs supercells of two atoms or more: the only atom of a cell feels no force. Give a "
            "larger grid."
        )
    n_runs = min(settings.per_supercell, len(scales) * len(temperatures))
    found = []
    for number in range(n_runs):
        scale, kelvin = scales[number % len(scales)], temperatures[number // len(scales)]
        text = f"{settings.seed}|{matrix.reshape(9).tolist()}|{number}|{settings.dynamics}"
        strain = symmetric_strain(uniform_stream(text)(6), settings.strain)
        sheet = {"ndsc_sheet": True} if crystal.is_sheet else {}
        start = deformed(perfect.copy(), strain, np.zeros((len(perfect), 3)), {"ndsc_scale": scale, **sheet})
        start.info["ndsc_matrix"] = matrix.reshape(9)
        rows = " ".join("[" + " ".join(f"{entry:d}" for entry in row) + "]" for row in matrix.tolist())
        found.append(
            LangevinRun(
                start=start,
                temperature=kelvin,
                timestep=_given(settings.timestep, TIMESTEP),
                friction=_given(settings.friction, FRICTION),
                equilibration=int(_given(settings.equilibration, EQUILIBRATION)),
                every=int(_given(settings.every, EVERY)),
                n_frames=-(-(settings.per_supercell - number) // n_runs),
                seed=f"{text}|velocities",
                title=f"the supercell {rows} of {crystal.atoms.get_chemical_formula()} at {kelvin:g} K",
            )
        )
    return found


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _frame(
    run: LangevinRun,
    moved: FloatArray,
    frame: int,
    matrix: NDArray[np.int64],
    number: int,
    index: int,
    settings: ConfigurationSettings,
) -> Atoms:
    atoms = run.start.copy()
    atoms.positions = atoms.positions + moved[frame]
    atoms = rounded(atoms)
    prefix = "" if settings.name is None else f"{settings.name}-"
    atoms.info = {
        "ndsc_name": f"{prefix}s{number:03d}-d{index:04d}",
        "config_type": "dynamics",
        "ndsc_matrix": matrix.reshape(9),
        "ndsc_seed": settings.seed,
        "ndsc_index": index,
        "ndsc_scale": run.start.info["ndsc_scale"],
        "ndsc_strain": settings.strain,
        "ndsc_displacement": round(float(np.sqrt(np.mean(moved**2))), 3),
        "ndsc_temperature": run.temperature,
        "ndsc_dynamics": settings.dynamics,
        **({} if settings.name is None else {"ndsc_part": settings.name}),
        **({"ndsc_sheet": True} if "ndsc_sheet" in run.start.info else {}),
    }
    return atoms
