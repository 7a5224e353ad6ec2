"""Density-functional programs that are run beside Python: their input, their output, and what is refused."""

from ndsc.codes.abinit import Abinit
from ndsc.codes.castep import Castep
from ndsc.codes.espresso import Espresso
from ndsc.codes.program import Program, ProgramCalculator
from ndsc.codes.vasp import Vasp

#: The programs by the name of their calculator.
PROGRAMS: dict[str, Program] = {"espresso": Espresso(), "abinit": Abinit(), "castep": Castep(), "vasp": Vasp()}

__all__ = ["PROGRAMS", "Abinit", "Castep", "Espresso", "Program", "ProgramCalculator", "Vasp"]
