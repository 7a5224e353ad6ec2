"""A run as a flow of jobflow, with effective medium theory as the static maker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from ase.units import GPa

from ndsc import CalculatorSpec, find_supercells, run_workflow
from ndsc.config import parse_config
from ndsc.errors import InputError

pytest.importorskip("jobflow", reason="jobflow is not installed (extra jobflow)")
pytest.importorskip("pymatgen", reason="pymatgen is not installed (extra jobflow)")
pytestmark = pytest.mark.filterwarnings("ignore")

from jobflow import Flow, JobStore, Maker, job, run_locally  # noqa: E402
from maggma.stores import MemoryStore  # noqa: E402

from ndsc import flows  # noqa: E402

INPUT = {
    "crystal": {"relax": True},
    "supercells": {"grid": 2},
    "configurations": {"per_supercell": 2, "unit_cells": 1},
    "fit": {"method": "none"},
}


def run(flow: Any, folder: Path) -> Any:
    """The output of a flow that runs in this process."""
    store = JobStore(MemoryStore())
    responses = run_locally(flow, create_folders=True, root_dir=folder, store=store, ensure_success=True, log=False)
    assert responses
    return store.get_output(flow.jobs[0].uuid, which="last", load=True)


def test_a_run_is_the_same_as_without_jobflow(tmp_path: Path):
    atoms = bulk("Al", a=4.0)
    (tmp_path / "jobs").mkdir()
    maker = flows.RunMaker(directory=str(tmp_path / "run"), input=INPUT)
    output = run(maker.make(flows.to_structure(atoms)), tmp_path / "jobs")
    assert output["database_dir"] == str(tmp_path / "run")
    assert output["mlip_path"] == []
    assert output["results"]["labels"]["requested"] == 5
    found = read(tmp_path / "run" / output["database"], index=":")
    plain = parse_config(
        "[crystal]\nstructure = 'Al'\na = 4.0\n[supercells]\ngrid = 2\n[configurations]\nper_supercell = 2\n"
        "[fit]\nmethod = 'none'\n"
    )
    run_workflow(plain, tmp_path / "plain")
    expected = read(tmp_path / "plain" / "database.extxyz", index=":")
    assert len(found) == len(expected) == 5
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-5)
        for key in ("REF_energy", "REF_virial"):
            np.testing.assert_allclose(ours.info[key], theirs.info[key], atol=1e-4)
        np.testing.assert_allclose(ours.arrays["REF_forces"], theirs.arrays["REF_forces"], atol=1e-4)
    # The relaxation was a round for each step.
    assert len(list((tmp_path / "run" / "rounds").iterdir())) > 2


def test_supercells_are_those_of_the_library(tmp_path: Path):
    output = run(Flow([flows.SupercellsMaker(grid=3).make(flows.to_structure(bulk("Al")))]), tmp_path)
    expected = find_supercells(bulk("Al"), 3)
    np.testing.assert_array_equal(output["matrices"], expected.matrices)
    assert [len(cell["sites"]) for cell in output["structures"]] == list(expected.sizes)


def test_documents_have_the_units_of_atomate2():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    document = flows.static_document(flows.to_structure(atoms), CalculatorSpec("emt"))
    atoms.calc = EMT()
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3 / GPa
    # VASP's stress is a pressure in kbar.
    assert np.trace(document["output"]["stress"]) / 3 == pytest.approx(10 * pressure)
    back = flows.calculated(document)
    np.testing.assert_allclose(back.get_stress(), atoms.get_stress(), atol=1e-10)
    np.testing.assert_allclose(back.get_forces(), atoms.get_forces(), atol=1e-10)
    # Of VASP, the free energy and not the one extrapolated to no smearing.
    steps = [{"e_fr_energy": 1.0}, {"e_fr_energy": -3.5}]
    vasp = {**document, "calcs_reversed": [{"output": {"ionic_steps": steps}}]}
    assert flows.calculated(vasp).get_potential_energy() == -3.5
    with pytest.raises(InputError, match="no energy and no forces"):
        flows.calculated({"output": {"structure": flows.to_structure(atoms)}})


@dataclass
class WrongMaker(Maker):
    """Calculates another structure than it was given."""

    name: str = "wrong"

    @job
    def make(self, structure: Any) -> Any:
        moved = structure.copy()
        moved.perturb(0.1)
        return flows.static_document(moved, CalculatorSpec("emt"))


def test_a_document_of_another_structure_stops_the_flow(tmp_path: Path):
    maker = flows.RunMaker(directory=str(tmp_path / "run"), input=INPUT, static_maker=WrongMaker())
    (tmp_path / "jobs").mkdir()
    with pytest.raises(RuntimeError):
        run(maker.make(flows.to_structure(bulk("Al"))), tmp_path / "jobs")


def test_wrong_input_is_refused_before_any_job(tmp_path: Path):
    structure = flows.to_structure(bulk("Al"))
    for sections, said in (
        ({"supercells": {"grid": 0}}, "grid"),
        ({**INPUT, "crystal": {"structure": "Al"}}, "an argument of make\\(\\)"),
        ({**INPUT, "extra": {}}, "extra"),
    ):
        with pytest.raises(InputError, match=said):
            flows.RunMaker(directory=str(tmp_path), input=sections).make(structure)


@dataclass
class _Generator:
    user_kpoints_settings: Any = None


@dataclass
class VaspLike(Maker):
    """What makers of atomate2 for VASP have."""

    name: str = "static"
    input_set_generator: _Generator = field(default_factory=_Generator)


def test_makers_for_vasp_get_folded_kpoints():
    from ndsc.elsewhere import Wanted
    from ndsc.sublattices import make_supercell

    matrix = [[1, 0, 0], [0, 1, 0], [0, 1, 2]]
    atoms = make_supercell(bulk("Al"), matrix)
    atoms.info["ndsc_matrix"] = np.ravel(matrix)
    wanted = Wanted(atoms, CalculatorSpec("elsewhere", {}, (4, 4, 4)))
    given = VaspLike()
    points = flows.with_kpoints(given, wanted).input_set_generator.user_kpoints_settings
    assert given.input_set_generator.user_kpoints_settings is None
    assert sum(points.kpts_weights) == pytest.approx(1)
    np.testing.assert_allclose(points.kpts, wanted.kpoints)
    # A calculation without k-points, and makers of another kind, are left as they are.
    assert flows.with_kpoints(given, Wanted(atoms, CalculatorSpec("elsewhere", {}))) is given
    other = flows.AseStaticMaker()
    assert flows.with_kpoints(other, wanted) is other
