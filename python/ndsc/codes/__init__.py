"""The codes that can be the reference, one file for each: their keywords, their input and output, what is refused.

A new code is a subclass of :class:`Code` (:class:`Program` for one that is started) in a file of its own, and an entry
in :data:`CODES`.
"""

from ndsc.codes.abinit import Abinit
from ndsc.codes.base import MEANINGS, Code, nearest
from ndsc.codes.castep import Castep
from ndsc.codes.elsewhere import Elsewhere
from ndsc.codes.espresso import Espresso
from ndsc.codes.factories import Factory
from ndsc.codes.gpaw import Gpaw
from ndsc.codes.potentials import Quip
from ndsc.codes.pretrained import CALCULATORS as PRETRAINED
from ndsc.codes.program import Program
from ndsc.codes.vasp import Vasp
from ndsc.errors import InputError

EMT = Factory("ase.calculators.emt:EMT", "emt", "EMT")
LENNARD_JONES = Factory("ase.calculators.lj:LennardJones", "lj", "Lennard-Jones")
#: The codes by the name of their calculator.
CODES: dict[str, Code] = {
    code.name: code
    for code in (
        *(EMT, LENNARD_JONES, Quip(), *PRETRAINED.values()),
        *(Gpaw(), Espresso(), Abinit(), Castep(), Vasp(), Elsewhere()),
    )
}
#: Those that are programs, which are started.
PROGRAMS = {name: code for name, code in CODES.items() if isinstance(code, Program)}


def calculator_names() -> tuple[str, ...]:
    """The calculators that ndsc knows by name."""
    return tuple(CODES)


def code_of(name: str) -> Code:
    """The code that a calculator's name stands for.

    Parameters
    ----------
    name : str
        One of :func:`calculator_names`, or ``"module:factory"``.

    Raises
    ------
    InputError
        When it is neither.
    """
    if name in CODES:
        return CODES[name]
    module, colon, factory = name.partition(":")
    if colon and factory.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return Factory(name)
    raise InputError(
        f"There is no calculator {name!r}.{nearest(name, CODES)} Choose one of {', '.join(CODES)}, or "
        "'module:factory' for a function of your own that returns an ASE calculator."
    )


__all__ = ["CODES", "MEANINGS", "PROGRAMS", "Code", "Factory", "Program", "calculator_names", "code_of"]
