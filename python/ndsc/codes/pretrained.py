"""Machine-learned potentials that pip installs: CHGNet, MACE, SevenNet, Orb and MatGL, through their ASE calculators.

The parameter ``model`` is a file, or the name of a model of the package; ``device`` is ``"cpu"`` unless given. All
other parameters are keywords of the package's calculator. A package is imported when a label has to be computed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from ndsc.codes.base import Code
from ndsc.errors import InputError, MissingExtraError
from ndsc.versions import package_version

if TYPE_CHECKING:
    from ndsc.codes.specification import CalculatorSpec

#: Endings of the files that models are kept in; another name without a folder is a model of the package.
SUFFIXES = (".pt", ".pth", ".tar", ".model", ".ckpt", ".json", ".yaml")
#: Structures in a row are computed with one calculator: reading a model takes seconds.
KEPT = 2
#: GPa in eV/Å^3.
GPA = 1 / 160.21766208

Load = Callable[[str | None, str, dict[str, Any]], Calculator]


class Pretrained(Code):
    """A package of machine-learned potentials.

    Parameters
    ----------
    name, title : str
    package : str
        As pip knows it.
    load : callable
        Makes the calculator of a model (None: the package's own), a device and further keywords.
    model : str
        An example of a model's name, for messages; empty where the package has weights and needs none.
    """

    def __init__(self, name: str, title: str, package: str, load: Load, model: str = "") -> None:
        self.name = name
        self.title = title
        self.pip = package
        self.load = load
        self.model = model

    def create(self, spec: CalculatorSpec, atoms: Atoms, directory: Path) -> Calculator:
        """See :meth:`Code.create`; one calculator serves for one structure after the other.

        Raises
        ------
        InputError
            When there is no such model file.
        MissingExtraError
            When the package is not installed.
        """
        return _made(self.name, json.dumps(spec.parameters))

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        for key in ("model", "device"):
            if not isinstance(parameters.get(key, ""), str):
                raise InputError(
                    f"{key} = {parameters[key]!r} in the parameters of {self.name!r} is not a string. Give "
                    f"{'a file or the name of a model' if key == 'model' else 'cpu or cuda'}."
                )

    def check_complete(self, parameters: Mapping[str, Any]) -> None:
        if self.model and not parameters.get("model"):
            raise InputError(
                f"The calculator {self.name!r} needs a model: give parameters = {{model = 'FILE'}}, or the name of one "
                f"of its own, such as '{self.model}', which {self.title} may download."
            )

    def check_installed(self, spec: CalculatorSpec) -> None:
        """See :meth:`Code.check_installed`: the model is read."""
        spec.create(Atoms())

    def version(self) -> str:
        return f"{self.pip} {package_version(self.pip) or 'of unknown version'}"

    def made(self, parameters: dict[str, Any]) -> Calculator:
        """The calculator of these parameters."""
        model, device = parameters.pop("model", None), parameters.pop("device", "cpu")
        record: dict[str, Any] = {}
        if model is not None and _is_file(model):
            try:
                content = Path(model).read_bytes()
            except OSError as error:
                raise InputError(
                    f"The model file {model} of the calculator {self.name!r} cannot be read ({error.strerror}). "
                    "Correct its path."
                ) from error
            record = {"model_sha256": hashlib.sha256(content).hexdigest()}
        try:
            calculator = self.load(model, device, parameters)
        except ImportError as error:
            installed = package_version(self.pip)
            raise MissingExtraError(
                f"The calculator {self.name!r} cannot import {self.title} "
                + (f"{installed} ({error}). " if installed else f"({error}), which is not installed. ")
                + f"Install it: pip install {self.pip}; or use stored labels."
            ) from error
        calculator.label_provenance = {"code": self.version(), **record}
        return calculator


@lru_cache(maxsize=KEPT)
def _made(name: str, parameters: str) -> Calculator:
    return CALCULATORS[name].made(json.loads(parameters))


def _is_file(model: str) -> bool:
    return "/" in model or model.endswith(SUFFIXES) or Path(model).is_file()


def _chgnet(model: str | None, device: str, keywords: dict[str, Any]) -> Calculator:
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    if model is None:
        net = CHGNet.load(use_device=device, verbose=False)
    elif _is_file(model):
        net = CHGNet.from_file(model)
    else:
        net = CHGNet.load(model_name=model, use_device=device, verbose=False)
    return CHGNetCalculator(model=net, use_device=device, **keywords)


def _mace(model: str | None, device: str, keywords: dict[str, Any]) -> Calculator:
    # Single precision shows in frequencies.
    keywords = {"default_dtype": "float64", **keywords}
    if model is not None and _is_file(model):
        from mace.calculators import MACECalculator

        return MACECalculator(model_paths=model, device=device, **keywords)
    from mace.calculators import mace_mp

    return mace_mp(model=model, device=device, **keywords)


def _sevenn(model: str | None, device: str, keywords: dict[str, Any]) -> Calculator:
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0" if model is None else model, device=device, **keywords)


def _orb(model: str | None, device: str, keywords: dict[str, Any]) -> Calculator:
    from orb_models.forcefield import pretrained

    names = dict(pretrained.ORB_PRETRAINED_MODELS)
    if model not in names:
        raise InputError(
            f"The calculator 'orb' has no model {model!r}. Give one of {', '.join(sorted(names))}; a file of weights "
            "is given beside it as weights_path."
        )
    of_model = {key: keywords.pop(key) for key in ("weights_path", "precision") if key in keywords}
    loaded = names[model](device=device, **{"precision": "float64", **of_model})
    try:
        from orb_models.forcefield.inference.calculator import ORBCalculator
    except ImportError:  # before 0.6
        from orb_models.forcefield.calculator import ORBCalculator
    # Newer versions return the model with what makes graphs of structures.
    parts = loaded if isinstance(loaded, tuple) else (loaded,)
    return ORBCalculator(*parts, device=device, **keywords)


def _matgl(model: str | None, device: str, keywords: dict[str, Any]) -> Calculator:
    import matgl
    from matgl.ext.ase import PESCalculator

    potential = matgl.load_model(model).to(device)
    # Stresses are in GPa unless it is told otherwise, which ASE does not expect.
    by_name = "stress_unit" in inspect.signature(PESCalculator.__init__).parameters
    units = {"stress_unit": "eV/A3"} if by_name else {"stress_weight": GPA}
    return PESCalculator(potential, **{**units, **keywords})


#: By the name of their calculator.
CALCULATORS = {
    code.name: code
    for code in (
        Pretrained("chgnet", "CHGNet", "chgnet", _chgnet),
        Pretrained("mace", "MACE", "mace-torch", _mace, "medium"),
        Pretrained("sevenn", "SevenNet", "sevenn", _sevenn),
        Pretrained("orb", "Orb", "orb-models", _orb, "orb-v3-conservative-inf-omat"),
        Pretrained("matgl", "MatGL", "matgl", _matgl, "TensorNet-MatPES-PBE-v2025.1-PES"),
    )
}
