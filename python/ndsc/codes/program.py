"""A density-functional program behind ASE's calculator: input files, a process, and its output, checked.

ASE's readers and writers are used where they keep what is asked for. ASE's own calculators are not: some write k-points
with six digits, some need a file made by the program itself, and an unconverged calculation passes most of them.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from ndsc.codes.base import Code
from ndsc.errors import InputError, MissingExtraError, NdscError, ReferenceCalculationError
from ndsc.interrupts import die_with_parent, held_interrupts
from ndsc.kpoints import reduced_kpoints

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec

#: How much of a program's output an error message repeats.
TAIL_LINES = 12
#: Files above this size are removed when a calculation ends: wave functions and densities.
LARGEST_KEPT = 5_000_000


Keywords: TypeAlias = Mapping[str, Any]
Array: TypeAlias = NDArray[np.float64]
Files: TypeAlias = dict[str, Path]


@dataclass(frozen=True)
class Output:
    """What a program computed.

    Attributes
    ----------
    atoms : ase.Atoms
        The atoms that the output names, in the order of the configuration.
    free_energy : float, eV
        The energy that the forces derive from: with the term -TS of smeared occupations.
    forces : (n, 3) array, eV/Å
    stress : (6,) array, eV/Å³, or None
        xx, yy, zz, yz, xz, xy with ASE's sign; None where the output has none.
    version : str
        Name and version of the program.
    """

    atoms: Atoms
    free_energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    version: str

    @classmethod
    def of(cls, atoms: Atoms, results: Mapping[str, Any], version: str, order: Sequence[int] | None = None) -> Output:
        """What ASE read; atom i of the configuration is atom ``order[i]`` of the output."""
        back = list(range(len(atoms)) if order is None else order)
        forces = np.asarray(results["forces"], dtype=float)[back]
        stress = results.get("stress")
        return cls(
            atoms[back],
            float(results["free_energy"]),
            forces,
            None if stress is None else np.asarray(stress, dtype=float),
            version,
        )

    def ordered(self, order: Sequence[int]) -> Output:
        """The same with the atoms in another order: atom i is atom ``order[i]`` of this one."""
        back = list(order)
        return replace(self, atoms=self.atoms[back], forces=self.forces[back])


class Program(Code, ABC):
    """A code that is started once for each label.

    Attributes
    ----------
    default_command, command_variable : str
        What is run, and the environment variable that says otherwise.
    pseudo_variable : str
        The environment variable that names the folder of the pseudopotentials.
    arguments : tuple of str
        What follows the command.
    output, results : str
        The file whose end goes into error messages, and the one that holds the results.
    not_converged : str
        A regular expression: what the file of the results says where self-consistency was not reached.
    reserved : str
        Keywords that are set here, so that every label is the same kind of calculation.
    """

    has_kpoints: ClassVar[bool] = True
    is_program: ClassVar[bool] = True
    default_command: ClassVar[str]
    command_variable: ClassVar[str]
    pseudo_variable: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = ()
    output: ClassVar[str] = "stdout.txt"
    results: ClassVar[str] = "stdout.txt"
    not_converged: ClassVar[str]
    reserved: ClassVar[str]

    @abstractmethod
    def write(
        self,
        folder: Path,
        atoms: Atoms,
        parameters: Keywords,
        kpoints: Array,
        pseudo_dir: Path | None,
        *,
        here: bool = True,
    ) -> Files:
        """Write the input files; the pseudopotential files that they name, by chemical symbol, are returned.

        Parameters
        ----------
        folder : path
        atoms : ase.Atoms
        parameters : mapping
            As the user gave them.
        kpoints : (n, 4) array
            Reduced coordinates and weights.
        pseudo_dir : path, optional
        here : bool
            Whether it will run on this machine, so that the pseudopotentials must be on it.

        Raises
        ------
        InputError
            When the parameters cannot be used.
        """

    def unconverged(self, folder: Path) -> str:
        """What the program wrote when it did not reach self-consistency; empty when it did."""
        found = re.search(self.not_converged, text_of(folder / self.results), re.IGNORECASE)
        return found[0].strip(" ;") if found else ""

    @abstractmethod
    def parse(self, path: Path) -> Output:
        """What the file of the results holds, atoms in its own order; any exception counts as a failed calculation."""

    def read(self, folder: Path, atoms: Atoms) -> Output:
        """The results of a calculation that has finished, atoms in the order of the configuration."""
        return self.parse(folder / self.results)

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        from ndsc.codes.specification import supercell_matrix

        points, weights = reduced_kpoints(supercell_matrix(atoms), spec.kgrid or 1)
        return ProgramCalculator(
            self,
            spec.parameters,
            np.column_stack([points, weights]),
            directory,
            command=spec.command,
            pseudo_dir=spec.pseudo_dir,
        )

    def version(self) -> str:
        """A program tells its version only when it runs."""
        return f"{self.title} of unknown version"

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        self.refuse_reserved(parameters)

    def refuse_reserved(self, keywords: Iterable[str]) -> None:
        """Refuse keywords that are set here.

        Raises
        ------
        InputError
            Naming them.
        """
        wrong = sorted(key for key in keywords if key.lower() in self.reserved.split())
        if wrong:
            raise InputError(
                f"The parameters of {self.title} contain {', '.join(wrong)}, which ndsc sets itself: k-points come "
                "from kgrid, and every label is one calculation with forces and stress. Remove them."
            )


class ProgramCalculator(Calculator):  # type: ignore[misc]
    """An ASE calculator that runs a program once for each structure.

    Parameters
    ----------
    program : Program
    parameters : mapping
    kpoints : (n, 4) array
        Reduced coordinates of the structure's cell, and weights.
    directory : path
        Folder of this calculation; its files are in ``directory/NAME``.
    command : str, optional
        For example ``"mpirun -np 2 pw.x"``.
    pseudo_dir : path, optional
        Folder of the pseudopotentials.

    Attributes
    ----------
    label_provenance : dict
        After a calculation: version of the program, peak memory of its process and this one together in MB, digests of
        the pseudopotentials.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own convention

    def __init__(
        self,
        program: Program,
        parameters: Mapping[str, Any],
        kpoints: NDArray[np.float64],
        directory: str | Path,
        *,
        command: str | None = None,
        pseudo_dir: str | Path | None = None,
    ) -> None:
        super().__init__(directory=str(directory))
        self.program = program
        self.settings = dict(parameters)
        self.kpoints = kpoints
        self.command = command_of(program, command)
        folder = pseudo_dir or os.environ.get(program.pseudo_variable)
        self.pseudo_dir = None if folder is None else Path(folder).expanduser().absolute()
        self.label_provenance: dict[str, Any] = {}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Run the program and fill ``results``; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))
        from ndsc.reference.checks import check_atoms  # the labels import this package

        name = str(self.atoms.info.get("ndsc_name", "structure"))
        folder = Path(self.directory) / self.program.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        pseudopotentials = self.program.write(folder, self.atoms, self.settings, self.kpoints, self.pseudo_dir)
        try:
            memory_mb = self._run(name, folder)
            output = self._read(name, folder)
        finally:
            _remove_large(folder)
        check_atoms(name, self.atoms, output.atoms, self)
        self.label_provenance = {"code": output.version, "peak_memory_mb": round(memory_mb)}
        if pseudopotentials:
            self.label_provenance["pseudopotentials"] = {
                symbol: f"{path.name} sha256 {_digest(path)}" for symbol, path in sorted(pseudopotentials.items())
            }
        self.results = {
            "energy": output.free_energy,
            "free_energy": output.free_energy,
            "forces": output.forces,
            "stress": output.stress,
        }

    def _run(self, name: str, folder: Path) -> float:
        """Run the program and refuse what it did not finish; its peak memory in MB."""
        argv = [*self.command, *self.program.arguments]
        environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ}
        with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
            process = None
            try:
                with held_interrupts():
                    process = subprocess.Popen(
                        argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                        preexec_fn=die_with_parent,
                    )  # fmt: skip
                # Of this process alone: RUSAGE_CHILDREN is a maximum over all that the worker has started.
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                if process is not None:
                    process.kill()
                    process.wait()
                raise
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if reason := self.program.unconverged(folder):
            raise ReferenceCalculationError(
                f"{name}: {self.program.title} did not reach self-consistency: {reason}. Allow more steps, or choose "
                "another mixing, smearing or starting point."
            )
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            memory = " (perhaps out of memory)" if code == -signal.SIGKILL else ""
            cause = subprocess.CalledProcessError(code, argv) if code < 0 else None
            raise ReferenceCalculationError(
                f"{name}: {self.program.title} {how}{memory}. The end of its output: {self._tail(folder)}"
            ) from cause
        # The maximum of the child is at least the memory of this process when it forked, which is then counted twice.
        return (usage.ru_maxrss + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024

    def _read(self, name: str, folder: Path) -> Output:
        try:
            output = self.program.read(folder, self.atoms)
            if output.stress is None:
                raise ValueError("it holds no stress")
            return output
        except NdscError:
            raise
        except Exception as error:
            raise ReferenceCalculationError(
                f"{name}: the output of {self.program.title} cannot be read ({type(error).__name__}: {error}). Its "
                f"end: {self._tail(folder)}"
            ) from error

    def _tail(self, folder: Path) -> str:
        for file in (self.program.output, "stdout.txt", "stderr.txt"):
            lines = [line.strip() for line in text_of(folder / file).splitlines() if line.strip(" -=%*\n")]
            if lines:
                return " | ".join(lines[-TAIL_LINES:])
        return "(it wrote nothing)"


def command_of(program: Program, command: str | None = None) -> list[str]:
    """The words of the command that runs a program: as given, of the environment, or the default.

    Raises
    ------
    MissingExtraError
        When the program is not installed.
    """
    argv = shlex.split(command or os.environ.get(program.command_variable) or program.default_command)
    if not argv or shutil.which(argv[0]) is None:
        raise MissingExtraError(
            f"{program.title} is not installed: there is no program {' '.join(argv[:1])!r}, and the label asked for "
            f"is not in the store. Install it, name it with [reference] command or {program.command_variable}, use "
            "stored labels, or have it calculated elsewhere (ndsc labels write)."
        )
    return argv


def pseudopotential_files(
    program: Program,
    atoms: Atoms,
    named: object,
    pseudo_dir: Path | None,
    *,
    required: bool = True,
    here: bool = True,
) -> dict[str, Path]:
    """The pseudopotential file of each element of a structure.

    Parameters
    ----------
    program : Program
    atoms : ase.Atoms
    named : mapping of symbol to file name
        The parameter `pseudopotentials`.
    pseudo_dir : path, optional
    required : bool
        Whether every element needs one.
    here : bool
        Whether the files must be on this machine. Those that need not be and have no folder are plain names.

    Raises
    ------
    InputError
        When an element has none, or the file is not there.
    """
    if not isinstance(named, Mapping):
        raise InputError(
            f"{program.title} needs pseudopotentials, a table of file names such as pseudopotentials = "
            "{Al = 'Al.upf'}."
        )
    found = {}
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        if symbol not in named:
            if required:
                raise InputError(
                    f"The parameter pseudopotentials of {program.title} names no file for {symbol}. Add it."
                )
            continue
        folder = pseudo_dir or (Path.cwd() if here else Path())
        path = folder / str(named[symbol])
        if here and not path.is_file():
            raise InputError(
                f"There is no pseudopotential {path}. Name the folder with [reference] pseudo_dir or "
                f"{program.pseudo_variable}, and the file in pseudopotentials."
            )
        found[symbol] = path
    return found


def text_of(path: Path) -> str:
    """The text of a file, empty when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _remove_large(folder: Path) -> None:
    for file in folder.rglob("*"):
        with suppress(OSError):
            if file.is_file() and file.stat().st_size > LARGEST_KEPT:
                file.unlink()
