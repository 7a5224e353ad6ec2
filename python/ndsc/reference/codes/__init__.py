"""Density-functional programs that are run beside Python: their input, their output, and what is refused."""

from ndsc.reference.codes.abinit import Abinit
from ndsc.reference.codes.castep import Castep
from ndsc.reference.codes.espresso import Espresso
from ndsc.reference.codes.program import Program, ProgramCalculator
from ndsc.reference.codes.vasp import Vasp

#: The programs by the name of their calculator.
PROGRAMS: dict[str, Program] = {"espresso": Espresso(), "abinit": Abinit(), "castep": Castep(), "vasp": Vasp()}

__all__ = ["PROGRAMS", "Abinit", "Castep", "Espresso", "Program", "ProgramCalculator", "Vasp"]
