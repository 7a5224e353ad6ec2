"""Elastic constants of sheets as a target: those of strained cells, and how they change with the weights."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

import ndsc
from linear_models_for_tests import ModelCalculator, PairModel, bound_crystal
from ndsc.errors import InputError
from ndsc.selection import ElasticTarget, Selector, SheetElasticTarget
from ndsc.selection.posterior import Posterior
from ndsc.selection.prediction import predict_errors
from ndsc.selection.sheet_target import elastic_target


def sheets() -> dict[str, Atoms]:
    """A hexagonal sheet of two atoms, one of layers, and one that is oblique; x is not along its shortest vector."""
    hexagonal = [[2.7, 0, 0], [-1.35, 2.7 * np.sqrt(0.75), 0], [0, 0, 16]]
    found = {
        "honeycomb": Atoms("Al2", cell=[[4.6, 0, 0], [-2.3, 4.6 * np.sqrt(0.75), 0], [0, 0, 16]]),
        "layers": Atoms("AlCu", cell=hexagonal),
        "oblique": Atoms("AlCu", cell=[[3.1, 0.4, 0], [-0.7, 2.6, 0], [0, 0, 16]]),
    }
    places = {
        "honeycomb": [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]],
        "layers": [[0, 0, 0.45], [1 / 3, 2 / 3, 0.58]],
        "oblique": [[0, 0, 0.45], [0.41, 0.55, 0.58]],
    }
    for name, atoms in found.items():
        atoms.set_scaled_positions(places[name])
        atoms.pbc = (True, True, False)
    return found


@pytest.fixture(scope="module")
def bound() -> dict[str, tuple[Atoms, PairModel, np.ndarray]]:
    """At rest in a model of their own, with weights that bind them."""
    found = {}
    for name, atoms in sheets().items():
        _, model, z = bound_crystal(atoms, width=0.12)
        # In the plane only.
        found[name] = ndsc.relax_crystal(atoms, ModelCalculator(model, z), fmax=1e-5), model, z
    return found


def prepared(target: ElasticTarget, model: PairModel) -> ElasticTarget:
    target.prepare(model.rows(target.frames()))
    return target


@pytest.mark.parametrize("name", list(sheets()))
def test_constants_are_those_of_strained_cells(bound, name):
    atoms, model, z = bound[name]
    for relax in (True, False):
        target = prepared(SheetElasticTarget(atoms, relax_ions=relax), model)
        found = ndsc.elastic_constants(
            atoms, ModelCalculator(model, z), strain=2e-4, relax_ions=relax, fmax=2e-6, max_steps=2000
        )
        assert found.unit == "N/m"
        largest = max(abs(value) for value in found.constants.values())
        # What is zero by chance has no name there.
        assert set(found.constants) <= set(target.names)
        expected = dict.fromkeys(target.names, 0.0) | found.constants
        assert target.constants(z) == pytest.approx(expected, abs=3e-3 * largest)
        assert (name == "oblique") == (abs(expected.get("C16", 0.0)) > 0.01 * largest)


@pytest.mark.parametrize("name", list(sheets()))
def test_changes_are_those_of_changed_weights(bound, name):
    atoms, model, z = bound[name]
    target = prepared(SheetElasticTarget(atoms), model)
    change = np.random.default_rng(0).normal(size=len(z)) * 1e-5
    ends = [np.array(list(target.constants(z + sign * change).values())) for sign in (1, -1)]
    slope = 0.5 * (ends[0] - ends[1])
    assert target.constant_rows(z) @ change == pytest.approx(slope, abs=1e-4 * np.abs(slope).max())
    sizes = np.abs(list(target.constants(z).values()))
    sizes = np.maximum(sizes, 0.05 * sizes.max())
    posterior = Posterior(z, 1e-9 * np.eye(len(z)))
    error = np.linalg.norm(target.error_rows(posterior) @ change)
    assert error == pytest.approx(100 * np.sqrt(np.mean((slope / sizes) ** 2)), rel=1e-3)


def test_symmetry_says_which_constants_there_are(bound):
    assert SheetElasticTarget(bound["honeycomb"][0]).names == ("C11", "C12", "C22", "C66")
    assert SheetElasticTarget(bound["oblique"][0]).names == ("C11", "C12", "C22", "C66", "C16", "C26")
    atoms, model, z = bound["layers"]
    constants = prepared(SheetElasticTarget(atoms), model).constants(z)
    assert constants["C11"] == pytest.approx(constants["C22"])
    assert constants["C66"] == pytest.approx((constants["C11"] - constants["C12"]) / 2)


def test_more_vacuum_and_other_axes_change_nothing(bound):
    atoms, model, z = bound["oblique"]
    known = prepared(SheetElasticTarget(atoms), model).constants(z)
    taller = atoms.copy()
    taller.set_cell([*atoms.cell.array[:2], [0, 0, 24.0]])
    assert prepared(SheetElasticTarget(taller), model).constants(z) == pytest.approx(known, rel=1e-6)
    turned = atoms.copy()
    turned.rotate(37, "z", rotate_cell=True)
    assert prepared(SheetElasticTarget(turned), model).constants(z) == pytest.approx(known, abs=0.1)


def test_what_is_a_sheet_and_what_is_not(bound):
    atoms, _, _ = bound["layers"]
    with pytest.raises(InputError, match="is a sheet, which only has elastic constants in its plane"):
        ElasticTarget(atoms)
    crystal = Atoms("Al", cell=2.86 * (np.ones((3, 3)) - np.eye(3)) / np.sqrt(2), pbc=True)
    with pytest.raises(InputError, match="is not a sheet"):
        SheetElasticTarget(crystal)
    assert type(elastic_target(crystal, 1.0)) is ElasticTarget
    assert type(elastic_target(atoms, 1.0)) is SheetElasticTarget
    in_a_box = atoms.copy()
    in_a_box.pbc = True
    assert elastic_target(in_a_box, 1.0) is None


def test_labels_make_the_expected_errors_smaller(bound):
    atoms, model, z = bound["layers"]
    frames = []
    for number in range(6):
        frame = atoms.copy()
        frame.rattle(0.05, seed=number)
        frame.set_cell(frame.cell.array * (1 + 0.01 * (number % 3 - 1) * np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]])))
        work = frame.copy()
        work.calc = ModelCalculator(model, z)
        frame.info["REF_energy"], frame.arrays["REF_forces"] = work.get_potential_energy(), work.get_forces()
        frame.info["REF_virial"] = (-work.get_volume() * work.get_stress(voigt=False)).ravel()
        frames.append(frame)
    selector = Selector(model, frames, [SheetElasticTarget(atoms, 1.0)], unit="labels", e0={"Al": 0.0, "Cu": 0.0})
    before = selector.predict().elastic_percent
    selector.add(frames)
    errors = predict_errors(selector.posterior, selector.targets)
    assert errors.elastic_percent < 0.2 * before
    truth = selector.targets[0].constants(z)
    for name, value in errors.constants.items():
        assert abs(value - truth[name]) < 5 * errors.deviations[name] + 0.01 * truth["C11"]
