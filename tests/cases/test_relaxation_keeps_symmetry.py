"""Relaxation keeps the symmetry of the crystal, that of its magnetic order included, and all that its atoms carry."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup import crystal

from magnets_for_tests import SpinPair, layered_iron
from ndsc.crystal import Crystal
from ndsc.errors import ReferenceCalculationError
from ndsc.relaxation import relax_crystal


def test_magnetic_order_makes_a_cubic_cell_tetragonal():
    atoms = layered_iron()
    relaxed = relax_crystal(atoms, SpinPair())
    # Free relaxation with ASE, no constraint.
    np.testing.assert_allclose(relaxed.cell.lengths(), [3.4409, 3.4409, 3.2630], atol=2e-4)
    assert relaxed.cell.lengths()[0] == pytest.approx(relaxed.cell.lengths()[1], abs=1e-7)
    np.testing.assert_array_equal(relaxed.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments())
    before, after = Crystal.from_atoms(atoms), Crystal.from_atoms(relaxed)
    assert (after.number, len(after.rotations)) == (before.number, len(before.rotations))


@pytest.mark.parametrize(
    "atoms",
    [bulk("Cu", "hcp", a=2.6, c=4.1), bulk("Al", cubic=True), bulk("Ni", "hcp", a=2.5, c=4.0) * (2, 1, 1)],
    ids=["hcp", "conventional fcc", "supercell of hcp"],
)
def test_without_moments_as_ase_does(atoms):
    expected = atoms.copy()
    expected.set_constraint(FixSymmetry(expected))
    expected.calc = EMT()
    BFGS(FrechetCellFilter(expected), logfile=None).run(fmax=1e-4, steps=200)
    relaxed = relax_crystal(atoms, EMT())
    np.testing.assert_allclose(relaxed.cell.array, expected.cell.array, atol=1e-6)
    np.testing.assert_allclose(relaxed.positions, expected.positions, atol=1e-6)


def test_a_cell_that_is_symmetric_to_its_tolerance_only_becomes_exactly_symmetric():
    exact = bulk("Cu", "hcp", a=2.56, c=4.2)
    blurred = exact.copy()
    noise = np.random.default_rng(1).normal(size=(2, 3, 3)) * 1e-3
    blurred.set_cell(exact.cell.array + noise[0], scale_atoms=True)
    blurred.positions += noise[1, :2]
    assert Crystal.from_atoms(blurred).number < 194
    relaxed = relax_crystal(blurred, EMT(), symprec=0.02)
    assert Crystal.from_atoms(relaxed, symprec=1e-6).number == 194
    np.testing.assert_allclose(relaxed.cell.lengths(), relax_crystal(exact, EMT()).cell.lengths(), atol=2e-3)


def test_what_atoms_carry_survives():
    atoms = bulk("Cu", "hcp", a=2.56, c=4.2)
    atoms.set_masses([62.0, 62.0])
    atoms.set_tags([3, 3])
    atoms.set_initial_charges([0.5, 0.5])
    atoms.set_array("mine", np.array([7, 7]))
    atoms.info["source"] = "somewhere"
    relaxed = relax_crystal(atoms, EMT())
    np.testing.assert_array_equal(relaxed.get_masses(), [62.0, 62.0])
    np.testing.assert_array_equal(relaxed.get_tags(), [3, 3])
    np.testing.assert_array_equal(relaxed.get_initial_charges(), [0.5, 0.5])
    np.testing.assert_array_equal(relaxed.arrays["mine"], [7, 7])
    assert relaxed.info == {"source": "somewhere"}
    assert relaxed.calc is None
    assert not relaxed.constraints


def test_a_more_symmetric_result_is_named(caplog):
    stretched = Atoms("Al", cell=np.array([[0, 2.0, 2.02], [2.0, 0, 2.02], [2.0, 2.0, 0]]), pbc=True)
    assert Crystal.from_atoms(stretched).number == 139
    with caplog.at_level(logging.WARNING):
        relaxed = relax_crystal(stretched, EMT(), fmax=1e-6)
    assert Crystal.from_atoms(relaxed, symprec=1e-4).number == 225
    assert "Fm-3m (225)" in caplog.text
    assert "I4/mmm (139)" in caplog.text
    caplog.clear()
    relax_crystal(bulk("Al"), EMT())
    assert not caplog.text


class Wild(EMT):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] * self.factor
        self.results["stress"] = self.results["stress"] * self.factor


@pytest.mark.parametrize(
    ("atoms", "calculator", "message"),
    [
        (bulk("Al"), Wild(np.nan), "not finite"),
        (bulk("Al", a=4.4), Wild(-1.0), "did not end in a crystal"),
        (bulk("Al"), Wild(0.0), "do not interact"),
        (Atoms("Al", cell=[1e6, 1e6, 1e6], pbc=True), EMT(), "do not interact"),
    ],
    ids=["not finite", "repulsive", "zero", "huge cell"],
)
def test_relaxations_that_lead_nowhere(atoms, calculator, message):
    with pytest.raises(ReferenceCalculationError, match=message):
        relax_crystal(atoms, calculator)


def test_a_site_with_a_free_coordinate():
    """Rutile: the oxygen's coordinate is free, everything else follows from it."""
    sites = [(0, 0, 0), (0.3, 0.3, 0)]
    made = crystal(["Cu", "Al"], sites, spacegroup=136, cellpar=[4.9, 4.9, 3.2, 90, 90, 90])
    atoms = Atoms(made.numbers, positions=made.positions, cell=made.cell, pbc=True)
    relaxed = relax_crystal(atoms, EMT())
    assert Crystal.from_atoms(relaxed).number == 136
    calculated = relaxed.copy()
    calculated.calc = EMT()
    assert np.max(np.abs(calculated.get_forces())) < 1e-4
    assert np.max(np.abs(calculated.get_stress())) < 1e-5
