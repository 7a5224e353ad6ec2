"""Input and output of the density-functional programs, without running them."""

import os
import resource
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.io import read
from ase.io.abinit import read_abinit_in
from ase.units import GPa

from ndsc import LabelStore
from ndsc.codes import CODES, PROGRAMS
from ndsc.config import parse_config
from ndsc.errors import InputError, MissingExtraError, ReferenceCalculationError
from ndsc.reference import CalculatorSpec, compute_label, reduced_kpoints
from outputs_for_tests import castep, vasprun

MATRIX = [[0, 1, 1], [1, -1, 0], [1, 1, -2]]
KGRID = (4, 4, 4)
FORCES = np.array([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6], [0.0, 0.1, 0.2], [0.3, -0.4, 0.1]])
STRESS = np.array([[10.0, 1.0, 2.0], [1.0, 20.0, 3.0], [2.0, 3.0, 30.0]])
GIVEN = (-100.25, FORCES, STRESS * GPa)


@pytest.fixture
def pseudo_dir(tmp_path):
    folder = tmp_path / "pseudo"
    for name in (
        "Al.file",
        "Na.file",
        "Cl.usp",
        "potpaw_PBE/Al/POTCAR",
        "potpaw_PBE/Na_pv/POTCAR",
        "potpaw_PBE/Cl/POTCAR",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"pseudopotential {name}\n")
    return folder


def aluminium():
    atoms = make_supercell(bulk("Al", a=4.05), MATRIX)
    atoms.rattle(0.05, seed=3)
    return atoms


def salt():
    """Four atoms, whose elements are in no order."""
    atoms = Atoms("NaClClNa", positions=[[0, 0, 0], [2.8, 0, 0], [0.1, 2.8, 0.2], [2.8, 2.9, 0]], cell=[5.6, 5.7, 2.9])
    atoms.pbc = True
    atoms.rattle(0.1, seed=1)
    return atoms


def kpoints():
    return np.column_stack(reduced_kpoints(MATRIX, KGRID))


def written(name, atoms, parameters, folder, pseudo_dir):
    (folder / "run").mkdir()
    PROGRAMS[name].check_parameters(parameters)
    PROGRAMS[name].check_complete(parameters)
    files = PROGRAMS[name].write(folder / "run", atoms, parameters, kpoints(), pseudo_dir)
    return files, folder / "run"


def rows_of(text, after, n):
    """Numbers of the n lines after one."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip() == after) + 1
    return np.array([[float(word) for word in line.split()] for line in lines[first : first + n]])


def test_input_of_espresso(tmp_path, pseudo_dir):
    parameters = {
        "ecutwfc": 20,
        "conv_thr": 1e-9,
        "input_data": {"system": {"degauss": 0.02}, "control": {"title": "x"}},
    }
    parameters["pseudopotentials"] = {"Al": "Al.file", "Xe": "unused"}
    files, folder = written("espresso", aluminium(), parameters, tmp_path, pseudo_dir)
    text = (folder / "espresso.pwi").read_text()
    n = len(kpoints())
    assert np.allclose(rows_of(text, str(n), n), kpoints(), atol=1e-13)
    assert "K_POINTS crystal\n" in text
    assert files == {"Al": pseudo_dir / "Al.file"}
    back = read(folder / "espresso.pwi", format="espresso-in")
    assert np.allclose(back.positions, aluminium().positions, atol=1e-9)
    assert np.allclose(back.cell, aluminium().cell, atol=1e-12)
    from ase.io.espresso import read_fortran_namelist

    with (folder / "espresso.pwi").open() as file:
        namelists, _ = read_fortran_namelist(file)
    system, control = namelists["system"], namelists["control"]
    assert (system["nosym"], system["noinv"], system["ecutwfc"], system["degauss"]) == (True, True, 20, 0.02)
    assert (control["tprnfor"], control["tstress"], control["calculation"]) == (True, True, "scf")
    assert namelists["electrons"]["conv_thr"] == 1e-9
    assert control["pseudo_dir"] == str(pseudo_dir)


def test_input_of_abinit(tmp_path, pseudo_dir):
    parameters = {"ecut": 300, "xc": "PBE", "tsmear": 0.1, "occopt": 4, "pseudopotentials": {"Al": "Al.file"}}
    _, folder = written("abinit", aluminium(), parameters, tmp_path, pseudo_dir)
    text = (folder / "abinit.in").read_text()
    n = len(kpoints())
    assert np.allclose(rows_of(text, "kpt", n), kpoints()[:, :3], atol=1e-14)
    assert np.allclose(rows_of(text, "wtk", n).ravel(), kpoints()[:, 3], atol=1e-14)
    for line in (
        "kptopt 0",
        f"nkpt {n}",
        "nsym 1",
        "optforces 1",
        "optstress 1",
        "ixc 11",
        "ecut 300 eV",
        "tolvrs 1e-10",
    ):
        assert f"\n{line}\n" in f"\n{text}", line
    assert max(len(line) for line in text.splitlines()) < 264
    with (folder / "abinit.in").open() as file:
        back = read_abinit_in(file)
    assert np.allclose(back.positions, aluminium().positions, atol=1e-9)
    assert str(pseudo_dir / "Al.file") in text


def castep_blocks(text):
    blocks = {}
    for part in text.split("%BLOCK ")[1:]:
        name, _, rest = part.partition("\n")
        blocks[name.strip()] = rest.partition("%ENDBLOCK")[0].splitlines()
    return blocks


def test_input_of_castep(tmp_path, pseudo_dir):
    parameters = {"cut_off_energy": 400, "XC_FUNCTIONAL": "PBE", "smearing_width": 0.2, "fix_occupancy": False}
    parameters |= {"pseudopotentials": {"Na": "2|1.3|8", "Cl": "Cl.usp"}}
    parameters |= {"cell": {"fix_com": True, "species_mass": ["Na 22.9", "Cl 35.4"]}}
    atoms = salt()
    atoms.set_initial_magnetic_moments([1, 0, 0, -1])
    files, folder = written("castep", atoms, parameters, tmp_path, pseudo_dir)
    text = (folder / "ndsc.cell").read_text()
    blocks = castep_blocks(text)
    assert np.allclose([[float(x) for x in line.split()] for line in blocks["KPOINTS_LIST"]], kpoints(), atol=1e-13)
    assert blocks["LATTICE_CART"][0] == blocks["POSITIONS_ABS"][0] == "ang"
    assert np.allclose(
        [[float(x) for x in line.split()] for line in blocks["LATTICE_CART"][1:]], atoms.cell, atol=1e-13
    )
    rows = [line.split() for line in blocks["POSITIONS_ABS"][1:]]
    assert [row[0] for row in rows] == ["Na", "Cl", "Cl", "Na"]
    assert np.allclose([[float(x) for x in row[1:4]] for row in rows], atoms.positions, atol=1e-13)
    assert [row[4:] for row in rows] == [["SPIN=1"], [], [], ["SPIN=-1"]]
    assert blocks["SPECIES_POT"] == [f"Cl {pseudo_dir / 'Cl.usp'}", "Na 2|1.3|8"]
    assert blocks["SPECIES_MASS"] == ["Na 22.9", "Cl 35.4"]
    assert "FIX_COM : true" in text
    assert files == {"Cl": pseudo_dir / "Cl.usp"}
    param = dict(line.split(" : ") for line in (folder / "ndsc.param").read_text().splitlines())
    assert param == {
        "TASK": "SinglePoint",
        "CALCULATE_STRESS": "true",
        "CUT_OFF_ENERGY": "400",
        "XC_FUNCTIONAL": "PBE",
        "SMEARING_WIDTH": "0.2",
        "FIX_OCCUPANCY": "false",
        "WRITE_CHECKPOINT": "none",
        "NUM_DUMP_CYCLES": "0",
        "FINITE_BASIS_CORR": "0",
        "SPIN_POLARIZED": "true",
    }


def test_input_of_vasp(tmp_path, pseudo_dir):
    parameters = {"xc": "PBE", "encut": 400, "ediff": 1e-8, "ismear": 1, "sigma": 0.2, "setups": {"Na": "_pv"}}
    files, folder = written("vasp", salt(), parameters, tmp_path, pseudo_dir)
    lines = (folder / "KPOINTS").read_text().splitlines()
    assert lines[1:3] == [str(len(kpoints())), "Reciprocal"]
    assert np.allclose([[float(x) for x in line.split()] for line in lines[3:]], kpoints(), atol=1e-13)
    incar = dict(line.split(" = ") for line in (folder / "INCAR").read_text().splitlines() if " = " in line)
    incar = {key.strip(): value.strip() for key, value in incar.items()}
    assert {key: incar[key] for key in ("ISYM", "NSW", "IBRION", "ISIF", "LWAVE")} == {
        "ISYM": "0",
        "NSW": "0",
        "IBRION": "-1",
        "ISIF": "2",
        "LWAVE": ".FALSE.",
    }
    assert float(incar["ENCUT"]) == 400
    back = read(folder / "POSCAR", format="vasp")
    assert np.allclose(back.positions, salt()[[0, 3, 1, 2]].positions, atol=1e-12)
    assert (folder / "POTCAR").read_text().splitlines() == [
        f"pseudopotential potpaw_PBE/{x}/POTCAR" for x in ("Na_pv", "Cl")
    ]
    assert set(files) == {"Na", "Cl"}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("espresso", {"ecutwfc": 20}, "needs pseudopotentials"),
        ("espresso", {"pseudopotentials": {"Si": "Si.upf"}}, "no file for Al"),
        ("espresso", {"pseudopotentials": {"Al": "none.upf"}}, "no pseudopotential .*none.upf"),
        ("espresso", {"pseudopotentials": {"Al": "Al.file"}, "nosym": False}, "nosym, which ndsc sets itself"),
        (
            "espresso",
            {"pseudopotentials": {"Al": "Al.file"}, "input_data": {"control": {"calculation": "relax"}}},
            "calculation",
        ),
        ("espresso", {"pseudopotentials": {"Al": "Al.file"}, "system": {"nosym": False}}, "nosym"),
        ("espresso", {"pseudopotentials": {"Al": "Al.file"}, "ecutwf": 20}, "no keyword ecutwf"),
        ("espresso", {"pseudopotentials": {"Al": "Al.file"}, "input_data": 3}, "table of tables"),
        ("abinit", {"pseudopotentials": {"Al": "Al.file"}}, "needs ecut"),
        ("abinit", {"pseudopotentials": {"Al": "Al.file"}, "ecut": 300, "kptopt": 1}, "kptopt, which ndsc sets itself"),
        ("abinit", {"pseudopotentials": {"Al": "Al.file"}, "ecut": 300, "xc": "SCAN"}, "number of it as ixc"),
        ("castep", {}, "needs cut_off_energy"),
        ("castep", {"cut_off_energy": 300, "task": "Phonon"}, "task, which ndsc sets itself"),
        ("castep", {"cut_off_energy": 300, "cell": {"symmetry_generate": True}}, "symmetry_generate"),
        ("castep", {"cut_off_energy": 300, "cell": "x"}, "table of keywords"),
        ("castep", {"cut_off_energy": 300, "pseudopotentials": {"Al": "none.usp"}}, "no pseudopotential"),
        ("vasp", {"encut": 300}, "needs xc"),
        ("vasp", {"xc": "PBE", "isym": 2}, "isym, which ndsc sets itself"),
        ("vasp", {"xc": "no such"}, "not supported"),
        ("vasp", {"xc": "PBE", "setups": {"Al": "_GW"}}, "No pseudopotential for Al"),
    ],
)
def test_parameters_that_are_refused(tmp_path, pseudo_dir, name, parameters, message):
    with pytest.raises(InputError, match=message):
        written(name, aluminium(), parameters, tmp_path, pseudo_dir)


def test_vasp_needs_its_folder(tmp_path):
    with pytest.raises(InputError, match="VASP_PP_PATH"):
        written("vasp", aluminium(), {"xc": "PBE"}, tmp_path, None)


def castep_output(atoms, converged=True):
    """A single point as CASTEP 23 writes it, elements in the order of their numbers."""
    return castep(atoms, converged=converged, given=GIVEN)


def vasp_output(atoms, steps=5):
    """vasprun.xml as VASP 6 writes it, elements grouped as in POSCAR."""
    return vasprun(atoms, [0, 3, 1, 2], steps=steps, given=GIVEN)


def program(folder, files, code=0):
    """A program that writes the given files where it is started, prints its arguments, and ends."""
    path = folder / "program.py"
    content = "".join(f"open({name!r}, 'w').write({text!r})\n" for name, text in files.items())
    path.write_text(f"#!{sys.executable}\nimport sys\n{content}print('arguments', sys.argv[1:])\nsys.exit({code})\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


CASES = {
    "castep": ({"cut_off_energy": 300}, {"ndsc.castep": castep_output(salt())}, "CASTEP 23.1"),
    "vasp": ({"xc": "PBE", "setups": {"Na": "_pv"}}, {"vasprun.xml": vasp_output(salt())}, "VASP 6.3.0"),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_read_in_the_order_of_the_atoms(tmp_path, pseudo_dir, name):
    parameters, files, version = CASES[name]
    spec = CalculatorSpec(name, parameters, (2, 2, 2), command=program(tmp_path, files), pseudo_dir=str(pseudo_dir))
    label = compute_label(salt(), spec, LabelStore(tmp_path / "labels"))
    assert label.energy == -100.25
    # The forces of these made-up results sum to zero within the limit of a converged calculation.
    assert np.allclose(label.forces, FORCES, atol=1e-5)
    assert np.allclose(label.stress, STRESS.ravel()[[0, 4, 8, 5, 2, 1]] * GPa, atol=1e-7)
    assert label.provenance["code"] == version
    assert label.provenance["peak_memory_mb"] > 1
    if name == "vasp":
        assert sorted(label.provenance["pseudopotentials"]) == ["Cl", "Na"]


UNCONVERGED = {
    "castep": {"ndsc.castep": castep_output(salt(), converged=False)},
    "vasp": {"vasprun.xml": vasp_output(salt(), steps=60)},
    "vasp-outcar": {
        "vasprun.xml": vasp_output(salt()),
        "OUTCAR": "---- aborting loop EDIFF was not reached (unconverged)  --\n",
    },
    "vasp-hard-stop": {
        "vasprun.xml": vasp_output(salt()),
        "OUTCAR": "---- aborting loop because hard stop was set ---\n",
    },
    "abinit": {"abinit.abo": " scprqt:  WARNING -\n  nstep=   30 was not enough SCF cycles to converge;\n"},
}


@pytest.mark.parametrize("case", UNCONVERGED)
def test_what_is_not_converged_is_refused(tmp_path, pseudo_dir, case):
    name = case.partition("-")[0]
    parameters = CASES[name][0] if name in CASES else {"ecut": 9, "pseudopotentials": {"Na": "Na.file", "Cl": "Cl.usp"}}
    command = program(tmp_path, UNCONVERGED[case])
    spec = CalculatorSpec(name, parameters, (2, 2, 2), command=command, pseudo_dir=str(pseudo_dir))
    with pytest.raises(ReferenceCalculationError, match="did not reach self-consistency"):
        compute_label(salt(), spec, LabelStore(tmp_path / "labels"))


def test_vasp_that_converged_in_its_last_step_is_believed(tmp_path, pseudo_dir):
    said = {"vasprun.xml": vasp_output(salt(), steps=60), "OUTCAR": "--- aborting loop because EDIFF is reached ---\n"}
    spec = CalculatorSpec(
        "vasp", CASES["vasp"][0], (2, 2, 2), command=program(tmp_path, said), pseudo_dir=str(pseudo_dir)
    )
    assert compute_label(salt(), spec, LabelStore(tmp_path / "labels")).energy == -100.25


@pytest.mark.parametrize(
    ("files", "code", "parts"),
    [
        ({}, 3, ["exit code 3", "arguments ['ndsc']"]),
        ({"ndsc.castep": "half a story\n"}, 0, ["cannot be read", "half a story"]),
        ({"ndsc.castep": castep_output(salt()[[0, 1]])}, 0, ["instead of"]),
        (
            {"ndsc.castep": castep_output(bulk("NaCl", "rocksalt", a=5.6, cubic=True)[[0, 1, 3, 2]])},
            0,
            ["changed the structure"],
        ),
    ],
)
def test_failures_say_what_the_program_said(tmp_path, files, code, parts):
    spec = CalculatorSpec("castep", CASES["castep"][0], (2, 2, 2), command=program(tmp_path, files, code))
    with pytest.raises(ReferenceCalculationError) as caught:
        compute_label(salt(), spec, LabelStore(tmp_path / "labels"))
    for part in parts:
        assert part in str(caught.value)
    assert list((tmp_path / "labels" / "failed").rglob("ndsc.cell"))


def test_a_program_that_is_killed_may_be_tried_again(tmp_path):
    path = tmp_path / "killed.sh"
    path.write_text("#!/bin/sh\nkill -9 $$\n")
    path.chmod(0o755)
    spec = CalculatorSpec("castep", CASES["castep"][0], (2, 2, 2), command=str(path))
    with pytest.raises(ReferenceCalculationError, match="killed by signal 9") as caught:
        compute_label(salt(), spec, LabelStore(tmp_path / "labels"))
    from ndsc.reference.computing import TRANSIENT

    assert isinstance(caught.value.__cause__, TRANSIENT)


def test_memory_is_that_of_the_program(tmp_path):
    content = castep_output(salt())
    hungry = program(tmp_path, {"ndsc.castep": content})
    # A small program counts as much as the process that started it, which Linux does not tell apart.
    size = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 300_000_000
    text = (tmp_path / "program.py").read_text().replace("import sys\n", f"import sys\nx = bytearray({size})\n")
    (tmp_path / "program.py").write_text(text)
    spec = CalculatorSpec("castep", CASES["castep"][0], (2, 2, 2), command=hungry)
    large = compute_label(salt(), spec, LabelStore(tmp_path / "large")).provenance["peak_memory_mb"]
    spec = CalculatorSpec("castep", CASES["castep"][0], (2, 2, 2), command=program(tmp_path, {"ndsc.castep": content}))
    small = compute_label(salt(), spec, LabelStore(tmp_path / "small")).provenance["peak_memory_mb"]
    assert large > size / 2**20
    assert small < large - 200


def test_the_examples_of_the_documentation_are_valid():
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
    named = [parse_config(text.partition("```")[0]).reference.to_spec().name for text in page.split("```toml\n")[1:]]
    assert named == ["gpaw", *PROGRAMS, "sevenn"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_not_installed(tmp_path, monkeypatch, name):
    monkeypatch.setenv(PROGRAMS[name].command_variable, "/no/such/program -x")
    with pytest.raises(MissingExtraError, match=PROGRAMS[name].command_variable):
        CalculatorSpec(name, {}, (2, 2, 2)).create(salt(), tmp_path)


def test_where_the_command_comes_from(tmp_path, monkeypatch):
    spec = CalculatorSpec("castep", {}, (2, 2, 2), command="env A=1 castep.mpi", pseudo_dir=str(tmp_path))
    assert spec.create(salt(), tmp_path).command == ["env", "A=1", "castep.mpi"]
    monkeypatch.setenv("NDSC_CASTEP_COMMAND", "env castep")
    monkeypatch.setenv("CASTEP_PP_PATH", str(tmp_path / "pp"))
    calculator = CalculatorSpec("castep", {}, (2, 2, 2)).create(salt(), tmp_path)
    assert calculator.command == ["env", "castep"]
    assert calculator.pseudo_dir == tmp_path / "pp"


def test_command_and_folder_are_no_part_of_a_label(tmp_path):
    store = LabelStore(tmp_path)
    plain = CalculatorSpec("castep", {"cut_off_energy": 300}, (2, 2, 2))
    here = CalculatorSpec("castep", {"cut_off_energy": 300}, (2, 2, 2), command="env castep", pseudo_dir="/here")
    assert plain == here
    assert store.key_of(salt(), plain) == store.key_of(salt(), here)
    for wrong in ({"command": "pw.x"}, {"pseudo_dir": "x"}):
        with pytest.raises(InputError, match="starts no program"):
            CalculatorSpec("emt", **wrong)


def test_two_calculations_do_not_meet(tmp_path):
    spec = CalculatorSpec("castep", CASES["castep"][0], (2, 2, 2), command=program(tmp_path, CASES["castep"][1]))
    folders = [spec.create(salt(), tmp_path / name).directory for name in ("a", "b")]
    assert len(set(folders)) == 2
    compute_label(salt(), spec, LabelStore(tmp_path / "labels"))
    assert not os.path.exists("castep")
    assert not list((tmp_path / "labels").glob("failed"))


@pytest.mark.parametrize(
    ("name", "symbol", "given", "expected"),
    [
        ("gpaw", "Al", {"mode": {"name": "pw"}, "occupations": {"name": "x"}}, {"hund": True, "mode": {"name": "pw"}}),
        ("gpaw", "Mg", {"occupations": {"name": "x"}}, {"occupations": {"name": "fermi-dirac", "width": 0.01}}),
        ("espresso", "Si", {"ecutwfc": 20, "nbnd": 9}, {"ecutwfc": 20, "nspin": 2, "tot_magnetization": 2.0}),
        (
            "espresso",
            "Mg",
            {"input_data": {"system": {"degauss": 1, "ecutrho": 80}}},
            {"input_data": {"system": {"ecutrho": 80}}},
        ),
        (
            "abinit",
            "Al",
            {"ecut": 300, "occopt": 4, "tsmear": 0.5},
            {"ecut": 300, "occopt": 7, "tsmear": 0.01, "spinmagntarget": 1.0},
        ),
        (
            "castep",
            "Al",
            {"cut_off_energy": 300, "nextra_bands": 9},
            {"spin": 1.0, "spin_polarized": True, "spin_fix": -1},
        ),
        (
            "vasp",
            "Al",
            {"xc": "PBE", "ismear": 2, "sigma": 0.5},
            {"ispin": 2, "nupdown": 1.0, "ismear": 0, "sigma": 0.01},
        ),
        ("vasp", "Mg", {"xc": "PBE", "ispin": 2}, {"xc": "PBE", "ismear": 0}),
    ],
)
def test_parameters_of_a_single_atom(name, symbol, given, expected):
    found = CODES[name].atom_parameters(given, symbol)
    assert expected.items() <= found.items()
    assert not {"nbnd", "nextra_bands", "nbands"} & set(found)
    assert ("ispin" in found) == (name == "vasp" and symbol != "Mg")


@pytest.mark.parametrize(("file", "warned"), [("Al-q3.gth", True), ("Al.pbe-n-kjpaw.UPF", False)])
def test_stresses_of_pw_x_with_gth_pseudopotentials_are_warned_of(file, warned, caplog):
    spec = CalculatorSpec("espresso", {"pseudopotentials": {"Al": file}, "ecutwfc": 30.0}, KGRID)
    spec.check(bulk("Al"))
    assert (f"({file}), pw.x gives right energies and forces, but wrong stresses" in caplog.text) is warned
