"""Machine-learned potentials by name, with packages that stand in for the real ones."""

from __future__ import annotations

import hashlib
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from ndsc import CalculatorSpec, LabelStore, label_configurations
from ndsc.cli import app
from ndsc.codes import pretrained
from ndsc.errors import InputError, MissingExtraError

#: The modules of each package as ndsc calls them; each notes what it was asked for.
PACKAGES = {
    "chgnet/model/model.py": """
        asked = []
        class CHGNet:
            @classmethod
            def load(cls, *, model_name="0.3.0", use_device=None, verbose=True):
                asked.append(("load", model_name, use_device))
                return cls()
            @classmethod
            def from_file(cls, path):
                asked.append(("file", path))
                return cls()
        """,
    "chgnet/model/dynamics.py": """
        from ase.calculators.emt import EMT
        class CHGNetCalculator(EMT):
            def __init__(self, model, *, use_device=None, on_isolated_atoms="warn"):
                super().__init__()
                self.said = (type(model).__name__, use_device, on_isolated_atoms)
        """,
    "mace/calculators.py": """
        from ase.calculators.emt import EMT
        class MACECalculator(EMT):
            def __init__(self, model_paths, device, default_dtype=""):
                super().__init__()
                self.said = (model_paths, device, default_dtype)
        def mace_mp(model=None, device="", default_dtype="float32"):
            return MACECalculator("downloaded " + model, device, default_dtype)
        """,
    "sevenn/calculator.py": """
        from ase.calculators.emt import EMT
        class SevenNetCalculator(EMT):
            def __init__(self, model="7net-0", device="auto", modal=None):
                super().__init__()
                self.said = (model, device, modal)
        """,
    "orb_models/forcefield/pretrained.py": """
        def orb(device, precision, weights_path=None):
            return ("model", precision, weights_path), "adapter"
        ORB_PRETRAINED_MODELS = {"orb-v3": orb}
        """,
    "orb_models/forcefield/inference/calculator.py": """
        from ase.calculators.emt import EMT
        class ORBCalculator(EMT):
            def __init__(self, model, atoms_adapter, *, device):
                super().__init__()
                self.said = (model, atoms_adapter, device)
        """,
    "matgl/__init__.py": """
        class Potential:
            def to(self, device):
                self.device = device
                return self
        def load_model(path):
            return Potential()
        """,
    "matgl/ext/ase.py": """
        from ase.calculators.emt import EMT
        class PESCalculator(EMT):
            def __init__(self, potential, state_attr=None, stress_unit="GPa", stress_weight=1.0):
                super().__init__()
                self.said = (potential.device, stress_unit, stress_weight)
        """,
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pretrained._made.cache_clear()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    for name, text in PACKAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    yield folder
    for module in [name for name in sys.modules if name.split(".")[0] in {path.split("/")[0] for path in PACKAGES}]:
        del sys.modules[module]


def made(name: str, **parameters: object) -> object:
    return CalculatorSpec(name, parameters).create(bulk("Al")).said


def test_each_package_is_given_model_and_device(packages: Path):
    Path("my.pth").write_bytes(b"weights")
    assert made("chgnet") == ("CHGNet", "cpu", "warn")
    assert made("chgnet", model="my.pth", on_isolated_atoms="ignore", device="cuda") == ("CHGNet", "cuda", "ignore")
    assert made("chgnet", model="0.2.0") == ("CHGNet", "cpu", "warn")
    asked = sys.modules["chgnet.model.model"].asked
    assert asked == [("load", "0.3.0", "cpu"), ("file", "my.pth"), ("load", "0.2.0", "cpu")]
    assert made("mace", model="my.pth") == ("my.pth", "cpu", "float64")
    assert made("mace", model="small", default_dtype="float32") == ("downloaded small", "cpu", "float32")
    assert made("sevenn") == ("7net-0", "cpu", None)
    assert made("sevenn", model="my.pth", modal="mpa") == ("my.pth", "cpu", "mpa")
    assert made("orb", model="orb-v3", weights_path="w") == (("model", "float64", "w"), "adapter", "cpu")
    assert made("matgl", model="M3GNet") == ("cpu", "eV/A3", 1.0)


def test_orb_and_matgl_of_earlier_versions(packages: Path):
    forcefield, ase = packages / "orb_models/forcefield", packages / "matgl/ext/ase.py"
    (forcefield / "inference/calculator.py").rename(forcefield / "calculator.py")
    (forcefield / "inference").rmdir()
    text = (forcefield / "calculator.py").read_text().replace("atoms_adapter, *", "*")
    (forcefield / "calculator.py").write_text(text.replace("atoms_adapter, ", ""))
    text = (
        (forcefield / "pretrained.py")
        .read_text()
        .replace('("model", precision, weights_path), "adapter"', '["model", precision]')
    )
    (forcefield / "pretrained.py").write_text(text)
    assert made("orb", model="orb-v3") == (["model", "float64"], "cpu")
    ase.write_text(ase.read_text().replace('stress_unit="GPa", ', "").replace("stress_unit", "None"))
    assert made("matgl", model="M3GNet") == ("cpu", None, pytest.approx(0.00624150907))


def test_labels_and_commands_with_a_named_potential(packages: Path, tmp_path: Path):
    Path("my.pth").write_bytes(b"weights")
    spec = CalculatorSpec("sevenn", {"model": "my.pth"})
    store = LabelStore(tmp_path / "labels")
    atoms = bulk("Al")
    (label,) = label_configurations([atoms], spec, store).labels.values()
    atoms.calc = EMT()
    assert label.energy == pytest.approx(atoms.get_potential_energy())
    assert label.provenance["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
    # One calculator serves for all structures: the second is not the first again.
    copper = bulk("Cu", cubic=True)
    copper.rattle(0.1, seed=1)
    first, second = spec.create(atoms), spec.create(copper)
    assert first is second
    copper.calc = second
    expected = copper.copy()
    expected.calc = EMT()
    np.testing.assert_allclose(copper.get_forces(), expected.get_forces())
    run = CliRunner().invoke
    command = ["phonons", "Al", "--grid", "2", "--json", "--calculator"]
    results = [run(app, [*command, name], catch_exceptions=False) for name in ("chgnet", "emt")]
    ours, theirs = ([point["frequencies_thz"] for point in json.loads(r.stdout)["special_points"]] for r in results)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert run(app, ["elastic", "Al", "--calculator", "chgnet"], catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize("name", list(pretrained.CALCULATORS))
def test_a_package_that_is_missing_is_named_with_its_pip_line(name: str, monkeypatch: pytest.MonkeyPatch):
    for package in {path.split("/")[0] for path in PACKAGES}:
        monkeypatch.setitem(sys.modules, package, None)
    code = pretrained.CALCULATORS[name]
    spec = CalculatorSpec(name, {"model": code.model} if code.model else {})
    with pytest.raises(MissingExtraError, match=f"pip install {code.pip};"):
        spec.create(bulk("Al"))
    with pytest.raises(MissingExtraError, match="not installed"):
        code.check_installed(spec)


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("mace", {}, "'mace' needs a model"),
        ("orb", {}, "such as 'orb-v3-conservative-inf-omat'"),
        ("chgnet", {"model": 3}, "model = 3 .* is not a string"),
        ("chgnet", {"device": ["cpu"]}, "Give cpu or cuda"),
        ("sevenn", {"model": "none.pth"}, "model file none.pth .* cannot be read"),
        ("sevenn", {"modall": "mpa"}, "does not take parameters"),
        ("orb", {"model": "orb-v9"}, "has no model 'orb-v9'. Give one of orb-v3"),
    ],
)
def test_parameters_that_are_wrong(packages: Path, name: str, parameters: dict[str, object], said: str):
    def checked_and_made() -> None:
        spec = CalculatorSpec(name, parameters)
        spec.check(bulk("Al"))
        spec.create(bulk("Al"))

    with pytest.raises(InputError, match=said):
        checked_and_made()


def test_k_points_mean_nothing():
    with pytest.raises(InputError, match="no k-points"):
        CalculatorSpec("chgnet", {}, (2, 2, 2))
