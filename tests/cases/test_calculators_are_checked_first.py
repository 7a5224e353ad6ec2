"""Elements, parameters, charges and moments that a calculator cannot use are refused before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner, Result

from ndsc import CalculatorSpec, LabelStore, find_supercells, label_configurations, make_configurations
from ndsc.cli import app
from ndsc.codes import CODES
from ndsc.codes.specification import supercell_matrix
from ndsc.crystal import Crystal, load_crystal
from ndsc.errors import InputError, MissingExtraError

DATA = Path(__file__).parents[1] / "data"
SILICON = {"args_str": "IP SW", "param_filename": str(DATA / "stillinger_weber_si.xml")}
MORSE = "ase.calculators.morse:MorsePotential"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def calculator(name: str, parameters: dict[str, Any]) -> list[str]:
    return ["--calculator", name, "--parameters", json.dumps(parameters)]


@pytest.mark.parametrize(
    ("name", "parameters", "nearest"),
    [
        ("emt", {"asap_cutof": True}, "asap_cutoff"),
        ("lj", {"epsilonn": 1.0}, "epsilon"),
        ("lj", {"sigma": 2.5, "Rc": 7.0}, "rc"),
        ("quip", {"param_file": "gap.xml"}, "param_filename"),
        (MORSE, {"epsilonn": 1.0}, "epsilon"),
        (MORSE, {"r_0": 1.0}, "r0"),
        ("ase.calculators.emt:EMT", {"asap_cutof": True}, "asap_cutoff"),
        ("ase.calculators.lj:LennardJones", {"sigmaa": 3.0}, "sigma"),
        ("ase.calculators.tersoff:Tersoff", {"skim": 3.0}, "skin"),
        ("espresso", {"ecutwf": 30.0}, "ecutwfc"),
        ("vasp", {"xc": "PBE", "encutt": 300}, "encut"),
        ("gpaw", {"mode": "pw", "nband": 8}, "nbands"),
        ("gpaw", {"mode": "pw", "occupation": {"name": "fermi-dirac"}}, "occupations"),
    ],
)
def test_a_misspelt_parameter(name: str, parameters: dict[str, Any], nearest: str) -> None:
    kgrid = (2, 2, 2) if ":" not in name and CODES[name].has_kpoints else None
    with pytest.raises(InputError, match=f"{next(reversed(parameters))}.*'{nearest}'"):
        CalculatorSpec(name, parameters, kgrid).check(bulk("Al"))
    with_kgrid = ["--kgrid", "2"] if kgrid else []
    for command in (["phonons", "Al", "--grid", "2"], ["elastic", "Al"], ["converge", "Al", "--dry-run"]):
        result = call(*command, *calculator(name, parameters), *with_kgrid)
        assert result.exit_code == 2, result.output
        assert nearest in result.stderr


@pytest.mark.parametrize(
    ("name", "parameters", "missing"),
    [
        ("quip", {}, "param_filename"),
        ("abinit", {"xc": "PBE"}, "ecut"),
        ("castep", {"xc_functional": "PBE"}, "cut_off_energy"),
        ("vasp", {"encut": 300}, "xc"),
        ("ase.calculators.tersoff:Tersoff", {}, "parameters"),
    ],
)
def test_a_missing_parameter(name: str, parameters: dict[str, Any], missing: str) -> None:
    kgrid = None if ":" in name or not CODES[name].has_kpoints else (2, 2, 2)
    with pytest.raises(InputError, match=missing):
        CalculatorSpec(name, parameters, kgrid).check(bulk("Al"))


@pytest.mark.parametrize(
    ("name", "nearest"), [("EMT", "emt"), ("quantum-espresso", "espresso"), ("gpa", "gpaw"), ("Vasp", "vasp")]
)
def test_an_unknown_name(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean '{nearest}'"):
        CalculatorSpec(name)
    assert call("elastic", "Al", "--calculator", name).exit_code == 2
    with pytest.raises(InputError, match="'MorsePotential'"):
        CalculatorSpec("ase.calculators.morse:MorsePotentil").check(bulk("Al"))


@pytest.mark.parametrize(
    ("name", "parameters", "symbol", "known"),
    [
        ("emt", {}, "Fe", "Al"),
        ("ase.calculators.emt:EMT", {}, "Fe", "Al"),
        pytest.param("quip", SILICON, "Al", "Si", marks=pytest.mark.gap),
    ],
)
def test_an_unknown_element(name: str, parameters: dict[str, Any], symbol: str, known: str) -> None:
    spec = CalculatorSpec(name, parameters)
    spec.check(bulk(known))
    with pytest.raises(InputError, match=symbol):
        spec.check(bulk(symbol))
    mixed = bulk("NaCl", "rocksalt", a=5.0)
    mixed.symbols = [known, symbol]
    with pytest.raises(InputError, match=symbol):
        spec.check(mixed)
    for command in (["phonons", symbol, "--grid", "2"], ["elastic", symbol]):
        result = call(*command, *calculator(name, parameters))
        assert result.exit_code == 2
        assert symbol in result.stderr
    frames = make_configurations(find_supercells(bulk(symbol), 1), per_supercell=1)
    with pytest.raises(InputError, match=symbol):
        label_configurations(frames, spec, LabelStore("labels"))


@pytest.mark.gap
def test_a_gap_is_not_used_for_elements_that_it_was_not_fitted_to() -> None:
    from ndsc.fit import GapSettings, apply_regularisation, fit_gap

    frames = []
    for atoms in make_configurations(find_supercells(bulk("Al"), 2), per_supercell=3):
        atoms.calc = EMT()
        atoms.info["REF_energy"] = float(atoms.get_potential_energy())
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    settings = GapSettings(cutoff=4.0, n_max=4, l_max=3, n_sparse=12)
    fitted = fit_gap(apply_regularisation(frames), Path("potential"), settings)
    parameters = {"param_filename": str(fitted.xml_path)}
    assert call("elastic", "Al", *calculator("quip", parameters)).exit_code == 0
    result = call("phonons", "Cu", "--grid", "1", *calculator("quip", parameters))
    assert result.exit_code == 2
    assert "Cu" in result.stderr


@pytest.mark.gap
def test_a_potential_file_that_is_missing() -> None:
    result = call("elastic", "Al", *calculator("quip", {"param_filename": "none.xml"}))
    assert result.exit_code == 2
    assert "none.xml" in result.stderr


MAGNETIC = Atoms("FeO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4, 4.1, 4.2], pbc=True)
DFT = {
    "gpaw": {"mode": "pw"},
    "espresso": {"ecutwfc": 20},
    "abinit": {"ecut": 300},
    "castep": {"cut_off_energy": 300},
    "vasp": {"xc": "PBE"},
}


@pytest.mark.parametrize("name", DFT)
def test_charges_and_vector_moments_are_refused_by_density_functional_codes(name: str) -> None:
    spec = CalculatorSpec(name, DFT[name], (2, 2, 2))
    atoms = MAGNETIC.copy()
    spec.check(atoms)
    atoms.set_initial_charges([2.0, -2.0])
    with pytest.raises(InputError, match="charges"):
        spec.check(atoms)
    atoms.set_initial_charges(None)
    atoms.set_initial_magnetic_moments([2.2, 0.0])
    spec.check(atoms)
    atoms.set_initial_magnetic_moments(None)
    atoms.set_initial_magnetic_moments([[2.2, 0.0, 0.0], [0.0, 0.0, 0.0]])
    with pytest.raises(InputError, match="vector"):
        spec.check(atoms)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpaw", {"spinpol": False}),
        ("espresso", {"input_data": {"system": {"nspin": 1}}}),
        ("castep", {"SPIN_POLARIZED": False}),
        ("vasp", {"ispin": 1}),
    ],
)
def test_moments_are_not_left_out_in_silence(name: str, parameters: dict[str, Any]) -> None:
    spec = CalculatorSpec(name, DFT[name] | parameters, (2, 2, 2))
    spec.check(MAGNETIC)
    atoms = MAGNETIC.copy()
    atoms.set_initial_magnetic_moments([2.2, 0.0])
    with pytest.raises(InputError, match="moments"):
        spec.check(atoms)


def test_a_potential_warns_of_charges(caplog: pytest.LogCaptureFixture) -> None:
    atoms = bulk("Al")
    atoms.set_initial_charges([1.0])
    CalculatorSpec("emt").check(atoms)
    assert "charges" in caplog.text


def test_a_supercell_that_is_given_as_a_crystal_is_the_unit_cell() -> None:
    """Its own k-points are those of the grid: it does not remember the crystal that it was made of."""
    frame = make_configurations(find_supercells(bulk("Al"), 2), per_supercell=1, displacement=0.0)[-1]
    assert supercell_matrix(frame).tolist() != np.eye(3).tolist()
    crystal = Crystal.from_atoms(frame)
    assert supercell_matrix(crystal.atoms).tolist() == np.eye(3).tolist()
    assert not [name for name in crystal.atoms.arrays if name.startswith("ndsc")]
    frame.write("frame.xyz", format="extxyz")
    assert supercell_matrix(load_crystal("frame.xyz")).tolist() == np.eye(3).tolist()


def test_a_single_atom_may_have_no_forces_in_a_potential_without_a_term_for_its_element() -> None:
    atom = Atoms("Fe", cell=[20] * 3, pbc=True, info={"config_type": "isolated_atom"})
    CalculatorSpec("emt").check(atom)


def test_kpoints_of_gpaw_come_from_the_kgrid() -> None:
    with pytest.raises(InputError, match="kpts"):
        CalculatorSpec("gpaw", {"mode": "pw", "kpts": [4, 4, 4]}, (2, 2, 2))


def test_stored_labels_need_neither_code_nor_potential() -> None:
    """A check passes what it cannot know, so that labels are found where the potential is not."""
    CalculatorSpec("quip", {"param_filename": "elsewhere.xml"}).check(bulk("Al"))
    CalculatorSpec("module_that_is_elsewhere:factory").check(bulk("Al"))
    with pytest.raises((InputError, MissingExtraError)):
        CalculatorSpec("quip", {"param_filename": "elsewhere.xml"}).create(bulk("Al"))


def test_moments_reach_the_input_of_every_program() -> None:
    folder = Path("pseudo")
    for name in ("Fe.f", "O.f", "potpaw_PBE/Fe/POTCAR", "potpaw_PBE/O/POTCAR"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n")
    atoms = MAGNETIC * (2, 1, 1)
    atoms.set_initial_magnetic_moments([2.0, 0.0, -2.0, 0.5])
    files = {"pseudopotentials": {"Fe": "Fe.f", "O": "O.f"}}
    text = {}
    for name in ("espresso", "abinit", "castep", "vasp"):
        Path(name).mkdir()
        spec = CalculatorSpec(name, DFT[name] | (files if name in ("espresso", "abinit") else {}), (2, 2, 2))
        spec.code.write(Path(name), atoms, spec.parameters, np.array([[0, 0, 0, 1.0]]), folder.absolute())  # type: ignore[attr-defined]
        text[name] = "\n".join(path.read_text() for path in sorted(Path(name).iterdir()))
    assert "nspin            = 2" in text["espresso"]
    assert [f"starting_magnetization({i + 1}) = {m}" in text["espresso"] for i, m in enumerate((1.0, 0.0, -1.0, 0.25))]
    assert "nsppol 2" in text["abinit"]
    assert "0.00000000000000 0.00000000000000 -2.00000000000000" in text["abinit"]
    assert "SPIN=-2" in text["castep"]
    assert "SPIN_POLARIZED : true" in text["castep"]
    assert "ISPIN = 2" in text["vasp"]
    assert "MAGMOM = 1*2.0000 1*-2.0000 1*0.0000 1*0.5000" in text["vasp"]
