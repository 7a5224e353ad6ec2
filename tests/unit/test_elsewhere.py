"""Labels that are calculated elsewhere: input written, outputs taken, and everything that may be wrong with them."""

import bz2
import gzip
import json
import lzma
import shutil
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from ndsc.cli.app import app
from ndsc.config import RunConfig
from ndsc.configurations import make_configurations
from ndsc.crystal import as_crystal
from ndsc.elastic import elastic_constants
from ndsc.elsewhere import MANIFEST, Manifest, Wanted, read_labels, write_inputs
from ndsc.elsewhere.match import compare
from ndsc.elsewhere.outputs import find_outputs
from ndsc.errors import InputError, MissingLabelsError
from ndsc.reference import CalculatorSpec, ExecutorSettings, LabelStore, label_configurations
from ndsc.supercells import find_supercells
from ndsc.workflow import make_plan, missing_labels, run_workflow
from ndsc.workflow.derived import elastic_through_store
from ndsc.workflow.plan import reference_calculator

sys.path.insert(0, str(Path(__file__).parents[1]))
from outputs_for_tests import Result, aims, castep, cp2k, kpoints_of, outcar, vasprun

KGRID = (2, 2, 2)
RUNNER = CliRunner()


def gold_copper():
    """L1_0-like CuAu, in an order that programs change."""
    atoms = bulk("Au", "fcc", a=3.9, cubic=True)
    atoms.symbols[[1, 2]] = "Cu"
    return atoms


@cache
def configurations(n=1):
    supercells = find_supercells(as_crystal(gold_copper()), (2, 2, 2))
    return make_configurations(supercells, per_supercell=n, unit_cells=2, seed=3)


def written(folder, code="vasp", spec=None, frames=None):
    """Folders for some configurations, and what they are for."""
    spec = CalculatorSpec("elsewhere", {}, KGRID) if spec is None else spec
    wanted = [Wanted(atoms, spec) for atoms in (configurations() if frames is None else frames)]
    write_inputs(wanted, folder / "calc", code, folder / "labels")
    return wanted


def structures(folder):
    """The structures that were written, by their folder."""
    return {path.parent: read(path) for path in sorted((folder / "calc").glob("*/structure.extxyz"))}


def cluster(folder, make, name):
    """Write an output into every folder."""
    for place, atoms in structures(folder).items():
        (place / name).write_text(make(atoms))


def check_labels(folder, wanted, *, force=1e-9, energy=1e-7):
    """Every label is there and is EMT's of the structure in its own order."""
    store = LabelStore(folder / "labels")
    for label in wanted:
        found, true = store.load(label.key), Result(label.atoms)
        assert found.energy == pytest.approx(true.energy, abs=energy)
        np.testing.assert_allclose(found.forces, true.forces, atol=force)
        np.testing.assert_allclose(found.stress, true.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], atol=1e-6)


def grouped(atoms):
    return sorted(range(len(atoms)), key=lambda i: (atoms[i].symbol, -i))


FORMATS = {
    "vasprun": ("vasp", "vasprun.xml", lambda atoms: vasprun(atoms, grouped(atoms)), 1e-9),
    "outcar": ("vasp", "OUTCAR", lambda atoms: outcar(atoms[np.argsort(atoms.numbers, kind="stable")]), 1e-6),
    "castep": ("castep", "ndsc.castep", castep, 1e-5),
    "cp2k": ("cp2k", "cp2k.out", cp2k, 1e-6),
    "cp2k of 2025": ("cp2k", "cp2k.out", lambda atoms: cp2k(atoms, new=True), 1e-6),
    "cp2k of 2018": ("cp2k", "cp2k.out", lambda atoms: cp2k(atoms, old=True), 1e-6),
    "aims": ("aims", "aims.out", aims, 1e-9),
    "aims of 2018": ("aims", "aims.out", lambda atoms: aims(atoms, old=True), 1e-9),
}


@pytest.mark.parametrize("form", FORMATS)
def test_outputs_of_programs_become_labels(tmp_path, form):
    code, name, make, force = FORMATS[form]
    wanted = written(tmp_path, code)
    for place, atoms in structures(tmp_path).items():
        atoms.positions += atoms.cell[0]  # as a program may wrap them
        (place / name).write_text(make(atoms))
    report = read_labels([tmp_path / "calc"])
    assert report.problems == []
    assert report.missing == []
    assert sorted(report.taken) == sorted(label.name for label in wanted)
    check_labels(tmp_path, wanted, force=force, energy=1e-6)
    if code == "aims":
        assert report.settings["xc"] == "pbe"
        assert "light" in report.settings.values()
    else:
        cutoff = 200 * 27.2114 if code == "cp2k" else 400.0
        assert report.settings["cutoff_ev"] == pytest.approx(cutoff, rel=1e-5)
    again = read_labels([tmp_path / "calc"])
    assert again.taken == []
    assert len(again.there) == len(wanted)


@pytest.mark.parametrize(("ending", "module"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed_outputs_become_labels(tmp_path, ending, module):
    wanted = written(tmp_path, "vasp")
    places = list(structures(tmp_path).items())
    for place, atoms in places:
        (place / f"vasprun.xml{ending}").write_bytes(module.compress(vasprun(atoms).encode()))
        (place / f"OUTCAR{ending}").write_bytes(module.compress(outcar(atoms).encode()))
    whole = places[0][0] / f"vasprun.xml{ending}"
    damaged = places[-1][0] / f"vasprun.xml{ending}"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (places[-1][0] / f"OUTCAR{ending}").unlink()
    report = read_labels([tmp_path / "calc"])
    assert [problem.path for problem in report.problems] == [damaged]
    assert "may be incomplete" in report.problems[0].reason
    assert len(report.taken) == len(wanted) - 1
    check_labels(tmp_path, [label for label in wanted if label.name in report.taken], force=1e-7, energy=1e-6)
    (found, *_), bad = next(find_outputs(whole.parent))
    assert (found.path, bad) == (whole, [])


def test_one_file_with_all_results(tmp_path):
    wanted = written(tmp_path, "extxyz")
    frames = []
    for label in reversed(wanted):
        atoms = label.atoms[grouped(label.atoms)]
        atoms.info = {"code": "EMT 1.0"}
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        frames.append(atoms)
    write(tmp_path / "calc" / "all.extxyz", frames)
    report = read_labels([tmp_path / "calc"])
    assert report.problems == []
    assert report.missing == []
    check_labels(tmp_path, wanted, force=2e-8)
    assert LabelStore(tmp_path / "labels").load(wanted[0].key).provenance["code"] == "EMT 1.0"


def test_labels_have_the_keys_that_the_calculator_gives(tmp_path):
    """Labels of VASP that were computed elsewhere are those that ndsc would compute itself."""
    spec = CalculatorSpec("vasp", {"xc": "PBE", "encut": 400, "ismear": 1, "sigma": 0.2}, KGRID)
    wanted = written(tmp_path, spec=spec)
    folder = tmp_path / "calc" / wanted[0].name
    assert {"INCAR", "KPOINTS", "POSCAR"} <= {path.name for path in folder.iterdir()}
    assert "ISYM = 0" in (folder / "INCAR").read_text()
    assert not (folder / "POTCAR").exists()
    assert int((folder / "KPOINTS").read_text().splitlines()[1]) == len(kpoints_of(wanted[0].atoms))
    cluster(tmp_path, vasprun, "vasprun.xml")
    read_labels([tmp_path / "calc"]).require_all()
    report = label_configurations([label.atoms for label in wanted], spec, LabelStore(tmp_path / "labels"))
    assert report.found == len(wanted)
    assert report.failures == []


def test_settings_that_are_not_those_of_the_input_file(tmp_path):
    spec = CalculatorSpec("vasp", {"xc": "PBE", "encut": 500}, KGRID)
    wanted = written(tmp_path, spec=spec)
    cluster(tmp_path, vasprun, "vasprun.xml")
    report = read_labels([tmp_path / "calc"])
    assert len(report.problems) == len(wanted)
    assert report.taken == []
    assert "E_cut (eV) is 400 in it and 500 in [reference]" in report.problems[0].reason


def bad(path, kind, atoms):
    """Replace the output in a folder by a bad one."""
    if kind == "other structure":
        rattled = atoms.copy()
        rattled.positions[0] += [0.05, 0, 0]
        text = vasprun(rattled)
    elif kind == "other composition":
        text = vasprun(bulk("Ni", cubic=True))
    elif kind == "strained":
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
        text = vasprun(strained, kpoints=kpoints_of(atoms))
    else:
        text = {
            "truncated": lambda: vasprun(atoms)[:-700],
            "unconverged": lambda: vasprun(atoms, steps=60),
            "other settings": lambda: vasprun(atoms, encut=350.0),
            "no stress": lambda: vasprun(atoms, stress=False),
            "k-points": lambda: vasprun(atoms, kpoints=kpoints_of(atoms, (4, 4, 4))),
            "symmetry": lambda: vasprun(atoms, isym=2),
            "shifted k-points": lambda: vasprun(atoms, kpoints=kpoints_of(atoms) + np.array([0.25, 0, 0, 0])),
            "empty": lambda: "",
        }[kind]()
    path.write_text(text)


BAD = {
    "other structure": "atoms are displaced by up to 0.05 Å",
    "other composition": "it is a calculation of Ni4",
    "strained": "lattice vectors differ by up to",
    "truncated": "it is incomplete",
    "unconverged": "all of NELM = 60 steps",
    "other settings": "E_cut (eV) is 350, and 400 in the others",
    "no stress": "it has no stress",
    "k-points": "k-points and the folded grid",
    "symmetry": "ISYM is above 0",
    "shifted k-points": "its k-points are not the folded ones",
    "empty": "it is incomplete",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_output_is_told_once_and_the_others_are_taken(tmp_path, kind):
    wanted = written(tmp_path)
    cluster(tmp_path, vasprun, "vasprun.xml")
    label = wanted[-1]
    bad(tmp_path / "calc" / label.name / "vasprun.xml", kind, label.atoms)
    report = read_labels([tmp_path / "calc"])
    assert len(report.problems) == 1
    assert report.problems[0].path.parent.name == label.name
    assert BAD[kind] in report.problems[0].reason
    assert report.missing == [label.name]
    assert len(report.taken) == len(wanted) - 1
    assert label.key not in LabelStore(tmp_path / "labels")
    check_labels(tmp_path, wanted[:-1])
    (tmp_path / "calc" / label.name / "vasprun.xml").write_text(vasprun(label.atoms))
    assert read_labels([tmp_path / "calc" / label.name]).taken == [label.name]


@pytest.mark.parametrize(("kind", "said"), [("converged", "EDIFF was not reached"), ("whole", "it is incomplete")])
def test_outcar_that_is_no_result(tmp_path, kind, said):
    wanted = written(tmp_path, frames=configurations()[:2])
    for place, atoms in structures(tmp_path).items():
        atoms = atoms[np.argsort(atoms.numbers, kind="stable")]
        (place / "OUTCAR").write_text(outcar(atoms, **({kind: False} if place.name == wanted[0].name else {})))
    report = read_labels([tmp_path / "calc"])
    assert [said in problem.reason for problem in report.problems] == [True]
    assert report.taken == [wanted[1].name]


@pytest.mark.parametrize(("name", "make"), [("aims.out", aims), ("cp2k.out", cp2k), ("ndsc.castep", castep)])
def test_other_programs_that_did_not_converge_or_end(tmp_path, name, make):
    first, second = written(tmp_path, frames=configurations()[:2])
    (tmp_path / "calc" / first.name / name).write_text(make(first.atoms, converged=False))
    (tmp_path / "calc" / second.name / name).write_text(make(second.atoms)[:-60])
    report = read_labels([tmp_path / "calc"])
    assert report.taken == []
    reasons = sorted(problem.reason.partition(" ")[2] for problem in report.problems)
    assert [reason.startswith(("did not reach", "is incomplete", "does not end")) for reason in reasons] == [True, True]


def test_what_cp2k_appends_to_an_output_is_another_run(tmp_path):
    (label,) = written(tmp_path, "cp2k", frames=configurations()[:1])
    path, moved = tmp_path / "calc" / label.name / "cp2k.out", label.atoms.copy()
    moved.positions[0] += 0.1
    path.write_text(cp2k(moved)[:-200] + cp2k(label.atoms))  # the first run was stopped
    (found, *_), bad = next(find_outputs(path.parent))
    assert bad == []
    assert found.seconds == 9.198
    assert found.version == "CP2K 8.1"
    symbol = label.atoms[0].symbol
    assert found.settings[f"basis of {symbol}"] == "DZVP-MOLOPT-SR-GTH"
    assert found.settings[f"pseudopotential of {symbol}"] == "GTH-PBE-q11"
    assert read_labels([tmp_path / "calc"]).taken == [label.name]
    check_labels(tmp_path, [label], force=1e-6, energy=1e-6)


def test_lattice_vectors_of_three_digits_do_not_hide_a_strain(tmp_path):
    """Older versions of CP2K print 0.001 Å: a cell that differs by more is another one."""
    (label,) = written(tmp_path, "cp2k", frames=configurations()[-1:])
    strained = label.atoms.copy()
    strained.set_cell(strained.cell.array * 1.001, scale_atoms=True)
    (tmp_path / "calc" / label.name / "cp2k.out").write_text(cp2k(strained, old=True))
    report = read_labels([tmp_path / "calc"])
    assert report.taken == []
    assert "lattice vectors differ by up to" in report.problems[0].reason


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("cp2k.out", lambda atoms: cp2k(atoms, forces=False), "it has 0 forces"),
        ("aims.out", lambda atoms: aims(atoms, forces=False), "it has no forces"),
        (
            "cp2k.out",
            lambda atoms: cp2k(atoms).replace(" STRESS|", " ENERGY| Total FORCE_EVAL ( QS ) energy 0.0\n STRESS|", 1),
            "it has 2 steps",
        ),
    ],
)
def test_outputs_without_forces_and_of_relaxations_are_no_labels(tmp_path, name, make, said):
    (label,) = written(tmp_path, name.partition(".")[0], frames=configurations()[:1])
    (tmp_path / "calc" / label.name / name).write_text(make(label.atoms))
    report = read_labels([tmp_path / "calc"])
    assert report.taken == []
    assert [said in problem.reason for problem in report.problems] == [True]


def test_all_bad_outputs_are_told_in_one_go_by_the_command(tmp_path):
    wanted = written(tmp_path, frames=configurations(3))
    cluster(tmp_path, vasprun, "vasprun.xml")
    for label, kind in zip(wanted, BAD, strict=False):
        bad(tmp_path / "calc" / label.name / "vasprun.xml", kind, label.atoms)
    found = RUNNER.invoke(app, ["labels", "read", str(tmp_path / "calc")])
    assert found.exit_code == 3
    bad_ones = min(len(BAD), len(wanted))
    assert found.output.count("Not taken: ") == bad_ones
    assert len(list(LabelStore(tmp_path / "labels").keys())) == len(wanted) - bad_ones


def test_other_settings_can_be_accepted(tmp_path):
    wanted = written(tmp_path, frames=configurations()[:3])
    cluster(tmp_path, vasprun, "vasprun.xml")
    bad(tmp_path / "calc" / wanted[0].name / "vasprun.xml", "other settings", wanted[0].atoms)
    report = read_labels([tmp_path / "calc"], other_settings=True)
    assert len(report.taken) == 3
    assert len(report.notes) == 1


def test_settings_are_compared_with_the_labels_that_are_there(tmp_path):
    """A second delivery with other settings is refused, although it agrees with itself."""
    wanted = written(tmp_path)
    first, *rest = structures(tmp_path).items()
    (first[0] / "vasprun.xml").write_text(vasprun(first[1]))
    assert len(read_labels([tmp_path / "calc"]).taken) == 1
    for place, atoms in rest:
        (place / "vasprun.xml").write_text(vasprun(atoms, encut=350.0))
    report = read_labels([tmp_path / "calc"])
    assert report.taken == []
    assert len(report.problems) == len(wanted) - 1


def test_settings_are_compared_between_folders_of_one_store(tmp_path):
    """A later folder holds other labels, and yet its settings are those of the earlier ones."""
    spec, frames = CalculatorSpec("elsewhere", {}, KGRID), configurations(2)
    written(tmp_path, frames=frames[:3])
    cluster(tmp_path, vasprun, "vasprun.xml")
    assert len(read_labels([tmp_path / "calc"]).taken) == 3
    write_inputs([Wanted(atoms, spec) for atoms in frames[3:6]], tmp_path / "later", "vasp", tmp_path / "labels")
    for path in (tmp_path / "later").glob("*/structure.extxyz"):
        (path.parent / "vasprun.xml").write_text(vasprun(read(path), encut=350.0))
    report = read_labels([tmp_path / "later"])
    assert report.taken == []
    assert len(report.problems) == 3


def test_settings_of_which_none_is_the_usual_one(tmp_path):
    written(tmp_path, frames=configurations()[:4])
    for number, (place, atoms) in enumerate(structures(tmp_path).items()):
        (place / "vasprun.xml").write_text(vasprun(atoms, encut=350.0 if number % 2 else 400.0))
    report = read_labels([tmp_path / "calc"])
    assert report.taken == []
    assert len(report.problems) == 4


def test_parts_repeats_and_lost_folders(tmp_path):
    wanted = written(tmp_path, frames=configurations(2))
    places = list(structures(tmp_path).items())
    for place, atoms in places[:3]:
        (place / "vasprun.xml").write_text(vasprun(atoms))
    report = read_labels([tmp_path / "calc"])
    assert len(report.taken) == 3
    assert len(report.missing) == len(wanted) - 3
    shutil.rmtree(places[0][0])  # taken already
    shutil.rmtree(places[4][0])  # not calculated yet
    (places[3][0] / "vasprun.xml").write_text("keep")
    store = LabelStore(tmp_path / "labels")
    left = [label for label in wanted if label.key not in store]
    found = write_inputs(left, tmp_path / "calc", "vasp", tmp_path / "labels")
    assert found.written == [places[4][0].name]
    assert len(found.kept) == len(left) - 1
    assert (places[3][0] / "vasprun.xml").read_text() == "keep"
    for place, atoms in structures(tmp_path).items():
        (place / "vasprun.xml").write_text(vasprun(atoms))
    report = read_labels([tmp_path / "calc"])
    assert report.missing == []
    assert len(report.taken) == len(wanted) - 3
    check_labels(tmp_path, wanted)


def test_earlier_tries_are_passed_over(tmp_path):
    (label,) = written(tmp_path, frames=configurations()[:1])
    folder = tmp_path / "calc" / label.name
    (folder / "first").mkdir()
    (folder / "first" / "vasprun.xml").write_text(vasprun(label.atoms)[:900])
    (folder / "vasprun.xml").write_text(vasprun(label.atoms))
    report = read_labels([tmp_path / "calc"])
    assert report.taken == [label.name]
    assert report.problems == []
    assert len(report.notes) == 1


def test_single_atoms_have_settings_of_their_own(tmp_path):
    """Without k-points they have the calculator of the others, and yet another smearing."""
    spec = CalculatorSpec("elsewhere", {})
    atom = Atoms("Cu", cell=[15, 15.3, 15.6], positions=[[7.5] * 3], pbc=True)
    atom.info.update(ndsc_name="isolated-Cu", config_type="isolated_atom")
    written(tmp_path, spec=spec, frames=[*configurations()[:3], atom])
    for place, atoms in structures(tmp_path).items():
        text = vasprun(atoms)
        (place / "vasprun.xml").write_text(text.replace("0.20000000", "0.01000000") if len(atoms) == 1 else text)
    report = read_labels([tmp_path / "calc"])
    assert report.problems == []
    assert len(report.taken) == 4


def test_two_outputs_that_contradict_each_other(tmp_path):
    (label,) = written(tmp_path, frames=configurations()[:1])
    folder = tmp_path / "calc" / label.name
    (folder / "vasprun.xml").write_text(vasprun(label.atoms))
    other = folder / "again"
    other.mkdir()
    text = vasprun(label.atoms)
    energy = f"{Result(label.atoms).energy:.8f}"
    (other / "vasprun.xml").write_text(text.replace(energy, f"{float(energy) + 1:.8f}"))
    report = read_labels([tmp_path / "calc"])
    assert report.taken == []
    assert len(report.problems) == 1
    assert "another output" in report.problems[0].reason
    shutil.rmtree(other)
    assert read_labels([tmp_path / "calc"]).taken == [label.name]


def test_atoms_are_paired(tmp_path):
    atoms = configurations()[-1]
    order = np.random.default_rng(1).permutation(len(atoms))
    other = atoms[order]
    other.positions += other.cell[1] - 2 * other.cell[2]
    found = compare(atoms, other)
    assert found.fits
    np.testing.assert_array_equal(order[found.order], np.arange(len(atoms)))
    assert compare(atoms, bulk("Ni")) is None


def run_config(tmp_path, **sections):
    """A small run of hcp copper, in whose strained cells the ions move."""
    write(tmp_path / "hcp.vasp", bulk("Cu", "hcp", a=2.56, c=4.18), format="vasp")
    given = {
        "crystal": {"structure": str(tmp_path / "hcp.vasp")},
        "supercells": {"grid": (2, 2, 1)},
        "configurations": {"per_supercell": 1, "unit_cells": 1},
        "reference": {"calculator": "elsewhere"},
        "fit": {"e0": "isolated"},
    }
    return RunConfig.model_validate(given | sections)


def emt_on_the_cluster(folder):
    for place, atoms in structures(folder).items():
        if not (place / "result.extxyz").exists():
            atoms.calc = EMT()
            atoms.get_forces(), atoms.get_stress()
            write(place / "result.extxyz", atoms)


def test_a_run_is_written_step_by_step(tmp_path):
    """Relaxation, configurations, phonons and strained cells, until nothing is missing; then it is as if done here."""
    pytest.importorskip("quippy")
    config, run = run_config(tmp_path), tmp_path / "run"
    with pytest.raises(MissingLabelsError, match="1 relaxation"):
        run_workflow(config, run)
    tasks, rounds = set(), 0
    while wanted := missing_labels(config, run).wanted:
        rounds += 1
        tasks |= {label.task for label in wanted}
        write_inputs(wanted, tmp_path / "calc", "extxyz", run / "labels")
        emt_on_the_cluster(tmp_path)
        report = read_labels([tmp_path / "calc"])
        report.require_all()
        assert len(report.taken) == len({label.key for label in wanted})
        assert rounds < 40
    assert tasks == {"relaxation", "single atoms", "configurations", "phonons", "strained cells"}
    plan = make_plan(config, run, compute=False)
    found = elastic_through_store(
        plan.crystal, reference_calculator(config, plan.spec, plan.store), strain=0.005, relax_ions=True
    )
    true = elastic_constants(plan.crystal, EMT(), strain=0.005)
    np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-3)
    assert found.constants.keys() == true.constants.keys()


def test_chosen_labels_come_after_those_that_the_choice_needs(tmp_path):
    pytest.importorskip("quippy")
    given = {
        "crystal": {"structure": "Al", "relax": False},
        "supercells": {"grid": (2, 2, 2)},
        "selection": {"candidates": 40, "batch": 3},
        "reference": {"calculator": "elsewhere"},
        "phonons": {"reference": "none"},
        "fit": {"n_sparse": 20, "cutoff": 4.0, "n_max": 3, "l_max": 3},
    }
    config, run = RunConfig.model_validate(given), tmp_path / "run"
    first = missing_labels(config, run)
    assert [label.task for label in first.wanted] == ["perfect unit cell"]
    assert len(first.later) == 1
    write_inputs(first.wanted, tmp_path / "calc", "extxyz", run / "labels")
    emt_on_the_cluster(tmp_path)
    read_labels([tmp_path / "calc"]).require_all()
    assert missing_labels(config, run, choose=False).wanted == []
    second = missing_labels(config, run)
    assert [label.task for label in second.wanted] == ["chosen labels"] * 3
    assert [label.key for label in missing_labels(config, run).wanted] == [label.key for label in second.wanted]


def test_outputs_of_another_program_than_the_calculator(tmp_path):
    spec = CalculatorSpec("castep", {"cut_off_energy": 400}, KGRID)
    (label,) = written(tmp_path, "castep", spec, configurations()[:1])
    (tmp_path / "calc" / label.name / "vasprun.xml").write_text(vasprun(label.atoms))
    report = read_labels([tmp_path / "calc"])
    assert ["VASP 6.3.0" in problem.reason for problem in report.problems] == [True]
    assert report.taken == []


def test_an_executor_that_starts_nothing(tmp_path):
    spec, store = CalculatorSpec("emt"), LabelStore(tmp_path / "labels")
    frames = configurations()[:2]
    with pytest.raises(MissingLabelsError, match="2 labels are not in"):
        label_configurations(frames, spec, store, executor=ExecutorSettings(kind="elsewhere"))
    label_configurations(frames, spec, store)
    assert label_configurations(frames, spec, store, executor=ExecutorSettings(kind="elsewhere")).found == 2
    with pytest.raises(InputError, match="calculates nothing"):
        CalculatorSpec("elsewhere").create(frames[0])


def test_the_command_writes_structures_of_a_file(tmp_path):
    write(tmp_path / "chosen.extxyz", configurations()[:3])
    command = ["labels", "write", str(tmp_path / "chosen.extxyz"), "--out", str(tmp_path / "calc"), "--labels"]
    command += [str(tmp_path / "labels"), "--kgrid", "2", "--code", "vasp"]
    (tmp_path / "INCAR").write_text("ENCUT = 400\n")
    found = RUNNER.invoke(app, [*command, "--copy", str(tmp_path / "INCAR")])
    assert found.exit_code == 0, found.output
    assert len(structures(tmp_path)) == 3
    assert all((place / "INCAR").is_file() for place in structures(tmp_path))
    cluster(tmp_path, vasprun, "vasprun.xml")
    found = RUNNER.invoke(app, ["labels", "read", str(tmp_path / "calc"), "--json"])
    assert found.exit_code == 0
    assert len(json.loads(found.stdout)["taken"]) == 3
    found = RUNNER.invoke(app, [*command, "--json"])
    assert json.loads(found.stdout)["written"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--code", "siesta"], "Input for 'siesta' cannot be written"),
        ([], "--code is missing"),
        (["--code", "vasp", "--copy", "nowhere/INCAR"], "There is no file nowhere/INCAR"),
        (["--code", "vasp", "--run", "somewhere"], "--run needs an input file"),
        (["--code", "vasp", "--calculator", "emt"], "The labels are those of calculator = 'emt'"),
        (["--code", "castep", "--calculator", "castep", "--kgrid", "2"], "CASTEP needs cut_off_energy"),
    ],
)
def test_what_cannot_be_written(tmp_path, arguments, said):
    write(tmp_path / "chosen.extxyz", configurations()[:1])
    command = ["labels", "write", str(tmp_path / "chosen.extxyz"), "--out", str(tmp_path / "calc"), *arguments]
    found = RUNNER.invoke(app, [*command, "--labels", str(tmp_path / "labels")])
    assert found.exit_code == 2
    assert said in found.output
    assert not (tmp_path / "calc").exists()


def test_folders_that_ndsc_did_not_make(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        read_labels([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=MANIFEST):
        read_labels([tmp_path])
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match="is not a list of labels"):
        read_labels([tmp_path])


def test_a_list_for_another_code_or_store_is_not_mixed(tmp_path):
    wanted = written(tmp_path)
    with pytest.raises(InputError, match="was written for vasp"):
        write_inputs(wanted, tmp_path / "calc", "castep", tmp_path / "labels")
    with pytest.raises(InputError, match="was written for vasp"):
        write_inputs(wanted, tmp_path / "calc", "vasp", tmp_path / "others")


def test_the_list_is_what_was_asked_for(tmp_path):
    wanted = written(tmp_path)
    found = Manifest.load(tmp_path / "calc" / MANIFEST)
    assert [entry.wanted.key for entry in found.entries] == [label.key for label in wanted]
    assert found.store == (tmp_path / "labels").absolute()


@pytest.mark.parametrize("code", ["vasp", "castep", "espresso", "abinit", "aims", "cp2k", "extxyz"])
def test_structures_are_written_for_every_code(tmp_path, code):
    atoms = configurations()[-1]
    (label,) = written(tmp_path, code, frames=[atoms])
    folder = tmp_path / "calc" / label.name
    back = {
        "vasp": lambda: read(folder / "POSCAR"),
        "castep": lambda: read(folder / "ndsc.cell", format="castep-cell", calculator_args={"keyword_tolerance": 3}),
        "espresso": lambda: _espresso(folder / "cards.pwi", atoms),
        "abinit": lambda: read(folder / "structure.abi", format="abinit-in"),
        "aims": lambda: _aims(folder / "geometry.in"),
        "cp2k": lambda: _cp2k(folder / "subsys.inc"),
        "extxyz": lambda: read(folder / "structure.extxyz"),
    }[code]()
    assert compare(atoms, back).distance < 1e-7


@pytest.mark.parametrize(
    ("code", "parameters", "file"),
    [
        ("espresso", {"ecutwfc": 20, "pseudopotentials": {"Al": "Al.UPF"}}, "espresso.pwi"),
        ("abinit", {"ecut": 300, "pseudopotentials": {"Al": "Al.psp8"}}, "abinit.in"),
        ("castep", {"cut_off_energy": 300, "pseudopotentials": {"Al": "Al_00.usp"}}, "ndsc.cell"),
    ],
)
def test_pseudopotentials_need_not_be_here(tmp_path, monkeypatch, code, parameters, file):
    monkeypatch.delenv("ESPRESSO_PSEUDO", raising=False)
    there = "/on/the/cluster"
    for folder in (None, there):
        spec = CalculatorSpec(code, parameters, KGRID, pseudo_dir=folder)
        place = tmp_path / ("there" if folder else "unknown")
        write_inputs([Wanted(bulk("Al"), spec)], place, code, tmp_path / "labels")
        text = (place / "structure" / file).read_text()
        assert parameters["pseudopotentials"]["Al"] in text
        assert (there in text) == (folder is not None)
        assert ('pp_dirpath "$ABI_PSPDIR"' in text) == (code == "abinit" and folder is None)


def _espresso(path: Path, atoms: Atoms) -> Atoms:
    head = f"&control\n/\n&system\nibrav=0\nnat={len(atoms)}\nntyp=2\n/\n&electrons\n/\n"
    species = "ATOMIC_SPECIES\nAu 197.0 Au.upf\nCu 63.5 Cu.upf\n"
    (path.parent / "whole.pwi").write_text(head + species + path.read_text())
    return read(path.parent / "whole.pwi", format="espresso-in")


def _aims(path: Path) -> Atoms:
    rows = [line.split() for line in path.read_text().splitlines()]
    cell = [row[1:] for row in rows if row[0] == "lattice_vector"]
    atoms = [row for row in rows if row[0] == "atom"]
    positions = np.array([row[1:4] for row in atoms], float)
    return Atoms([row[4] for row in atoms], cell=np.array(cell, float), positions=positions, pbc=True)


def _cp2k(path: Path) -> Atoms:
    rows = [line.split() for line in path.read_text().splitlines()]
    cell = [row[1:] for row in rows[1:4]]
    atoms = [row for row in rows[5:] if not row[0].startswith("&")]
    return Atoms(
        [row[0] for row in atoms], cell=np.array(cell, float), positions=np.array([row[1:] for row in atoms], float),
        pbc=True,
    )  # fmt: skip
