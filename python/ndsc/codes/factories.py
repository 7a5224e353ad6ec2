"""Calculators that a function of a Python module makes: ``"module:factory"``."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.codes.base import Code, check_names, nearest, not_made, refused
from ndsc.codes.potentials import OF_ASE, known_keywords, unknown_elements, unknown_refused
from ndsc.errors import InputError, NdscError
from ndsc.interrupts import raise_if_interrupted
from ndsc.kpoints import fold_kpoints
from ndsc.versions import package_version

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec


class Factory(Code):
    """A calculator that a function or class of a Python module makes: the user's own, or a potential of ASE.

    Parameters
    ----------
    source : str
        ``"module:factory"``.
    name, title : str, optional
        Where they are not the source.
    """

    def __init__(self, source: str, name: str = "", title: str = "") -> None:
        self.source = source
        self.name = name or source
        self.title = title or source

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """See :meth:`Code.check_parameters`; of potentials of ASE only, as importing a module runs it."""
        if parameters and self.source.partition(":")[0] in OF_ASE:
            _check_signature(self.title, load_factory(self.source), {**parameters})

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        """See :meth:`Code.create`.

        Raises
        ------
        InputError
            When there is no such function, it does not take the parameters, or it does not return a calculator.
        ReferenceCalculationError
            When it raises anything.
        """
        from ndsc.codes.specification import supercell_matrix

        keywords = dict(spec.parameters)
        if spec.kgrid is not None:
            keywords["kpts"] = fold_kpoints(supercell_matrix(atoms), spec.kgrid)
        factory = load_factory(self.source)
        _check_signature(self.title, factory, keywords)
        try:
            made = factory(**keywords)
        except (NdscError, KeyboardInterrupt):
            raise
        except BaseException as error:  # it is somebody else's code, and may raise anything
            raise_if_interrupted(error)
            raise not_made(self.name, str(atoms.info.get("ndsc_name", "structure")), error) from error
        if not hasattr(made, "get_forces"):
            raise InputError(
                f"The function {self.name!r} returned {type(made).__name__}, which is not an ASE calculator. Return "
                "one from it."
            )
        return made

    def check_elements(self, spec: CalculatorSpec, symbols: set[str]) -> None:
        """See :meth:`Code.check_elements`; the parameters are checked too, where the module can be imported.

        Only potentials of ASE itself are tried on the elements: a function of somebody's own may start anything.
        """
        if not (sys.modules.get(module := self.source.partition(":")[0]) or _is_there(module)):
            return  # stored labels serve without the module, and the first label says what is missing
        factory = load_factory(self.source)
        keywords = dict(spec.parameters) | ({} if spec.kgrid is None else {"kpts": None})
        _check_signature(self.title, factory, keywords)
        if not isinstance(factory, type) or known_keywords(factory) is None:
            return
        unknown = unknown_elements(lambda: self.create(spec, Atoms(), Path()), symbols)
        if unknown:
            raise unknown_refused(spec, unknown)

    def check_installed(self, spec: CalculatorSpec) -> None:
        """See :meth:`Code.check_installed`: the module is imported."""
        load_factory(self.source)

    def version(self) -> str:
        """The version of the module's package; of a file that is no package a hash, so that changes of it are seen."""
        module = self.source.partition(":")[0]
        package = module.partition(".")[0]
        if installed := package_version(package):
            return f"{package} {installed}"
        try:
            content = Path(getattr(sys.modules.get(module), "__file__", None) or "").read_bytes()
        except OSError:
            return f"{package} of unknown version"
        return f"{module} sha256 {hashlib.sha256(content).hexdigest()[:12]}"


def _check_signature(name: str, factory: Callable[..., Calculator], keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that a factory does not take.

    Raises
    ------
    InputError
        Naming them.
    """
    if isinstance(factory, type) and (known := known_keywords(factory)) is not None:
        check_names(name, keywords, known)
    try:
        signature = inspect.signature(factory)
    except ValueError:  # what is written in C may not tell its parameters
        return
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise refused(name, keywords, error) from error


def _is_there(module: str) -> bool:
    """Whether a module can be found from the working folder, without importing it."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.util.find_spec(module) is not None
    except (Exception, SystemExit):  # a package around it is imported, which may raise anything
        return False
    finally:
        sys.path.pop(0)


def load_factory(name: str) -> Callable[..., Calculator]:
    """The function that ``"module:factory"`` names; its module is looked for in the working folder too.

    Raises
    ------
    InputError
        When it is missing.
    """
    module_name, _, factory_name = name.partition(":")
    if module_name.endswith(".py"):
        raise InputError(
            f"The calculator {name!r} names a file, and a module is expected. Write it without the ending and without "
            f"folders, {Path(module_name).stem + ':' + factory_name!r}, and have the file in the working folder."
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing a module runs it
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise InputError(
            f"The module of the calculator {name!r} cannot be imported ({kind}{error}). Put it beside the input file "
            "or install it; it must be importable without an error."
        ) from error
    finally:
        sys.path.remove(here)
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise InputError(
            f"{module_name} has no function {factory_name!r}, named by the calculator {name!r}."
            f"{nearest(factory_name, [key for key in vars(module) if callable(getattr(module, key))])}"
        )
    checked: Callable[..., Calculator] = factory
    return checked
