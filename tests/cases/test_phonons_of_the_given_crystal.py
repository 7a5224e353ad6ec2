"""Phonons use the masses, the tolerance and the moments that the crystal was given with, and say what is wrong."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from magnets_for_tests import SpinPair, layered_iron
from ndsc.crystal import Crystal
from ndsc.errors import InputError
from ndsc.force_constants.displacements import supercell_displacements
from ndsc.force_constants.space_group import SpaceGroupAction
from ndsc.phonons import (
    compare_phonons,
    phonon_displacements,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
)
from ndsc.relaxation import relax_crystal
from ndsc.supercells import find_supercells

AT_X = np.array([5.28737624, 5.28737624, 7.99148893])


def frequencies(phonons, qpoints):
    return np.array(phonons.phonopy.run_qpoints(qpoints).frequencies)


@pytest.mark.parametrize("route", ["dynamical", "tiling"])
@pytest.mark.parametrize("compute", [phonons_from_supercells, phonons_from_diagonal])
def test_masses(route, compute):
    atoms = bulk("Al")
    atoms.set_masses([13.5])
    options = {"route": route} if compute is phonons_from_supercells else {}
    found = compute(atoms, 2, EMT(), **options)
    np.testing.assert_allclose(found.phonopy.masses, [13.5])
    np.testing.assert_allclose(frequencies(found, [[0.5, 0.5, 0]])[0], AT_X * np.sqrt(26.9815385 / 13.5), atol=1e-3)


@pytest.mark.parametrize("moments", [[0.0], [1e-5], [[0.0, 0.0, 0.0]]], ids=["zero", "nearly zero", "vectors"])
@pytest.mark.parametrize("route", ["dynamical", "tiling"])
def test_moments_of_zero_are_none(moments, route):
    atoms = bulk("Al")
    atoms.set_initial_magnetic_moments(moments)
    found = phonons_from_supercells(atoms, 2, EMT(), route=route)
    assert found.phonopy.unitcell.magnetic_moments is None
    np.testing.assert_allclose(frequencies(found, [[0.5, 0.5, 0]])[0], AT_X, atol=1e-3)


def test_the_tolerance_of_the_crystal_is_kept():
    atoms = bulk("Ni", "hcp", a=2.49, c=4.05)
    atoms.set_scaled_positions(np.round(atoms.get_scaled_positions(), 4))
    chosen = find_supercells(Crystal.from_atoms(atoms, symprec=1e-3), (4, 4, 2))
    assert (len(chosen), chosen.cost) == (6, 272)
    frames = phonon_displacements(chosen)
    forces = {}
    for frame in frames:
        copy = frame.copy()
        copy.calc = EMT()
        forces[frame.info["ndsc_name"]] = copy.get_forces()
    found = phonons_from_labels(chosen, frames, forces, residual_force_limit=0.05)
    exact = phonons_from_supercells(bulk("Ni", "hcp", a=2.49, c=4.05), (4, 4, 2), EMT())
    qpoints = [[0.25, 0, 0], [0.25, 0.25, 0.5], [0.5, 0, 0]]
    np.testing.assert_allclose(frequencies(found, qpoints), frequencies(exact, qpoints), atol=0.01)
    with pytest.raises(InputError, match="symprec"):
        phonons_from_supercells(chosen.crystal, 2, EMT(), symprec=1e-5)
    # The symmetry of the crystal, not of the numbers: comparisons and paths too.
    comparison = compare_phonons(found, exact, mesh=4, dos_mesh=None)
    assert comparison.max_error_thz < 0.02


@pytest.fixture(scope="module")
def magnet():
    return relax_crystal(Crystal.from_atoms(layered_iron()).primitive, SpinPair(), fmax=1e-6)


def test_operations_that_reverse_the_spins_save_displacements(magnet):
    crystal = Crystal.from_atoms(magnet)
    assert crystal.time_reversals.any()
    action = SpaceGroupAction.of_crystal(crystal)
    every = supercell_displacements(action, crystal.atoms, np.eye(3, dtype=int), displacement=0.01)
    fewer = action.subset(~crystal.time_reversals)
    without = supercell_displacements(fewer, crystal.atoms, np.eye(3, dtype=int), displacement=0.01)
    assert len(every) < len(without)


@pytest.mark.parametrize("route", ["dynamical", "tiling"])
def test_phonons_of_an_antiferromagnet_are_those_of_its_diagonal_supercell(magnet, route):
    found = phonons_from_supercells(magnet, 2, SpinPair(), route=route)
    expected = phonons_from_diagonal(magnet, 2, SpinPair())
    qpoints = [[0.5, 0, 0], [0.5, 0.5, 0], [0, 0, 0.5], [0.5, 0.5, 0.5]]
    scale = np.max(frequencies(expected, qpoints))
    np.testing.assert_allclose(frequencies(found, qpoints), frequencies(expected, qpoints), atol=5e-3 * scale)
    assert len(found.phonopy.unitcell.magnetic_moments) == len(magnet)


class Noisy(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        positions = np.round(self.atoms.positions, 6)
        noise = np.sin(1e5 * positions) * 0.1
        self.results["forces"] = self.results["forces"] + (noise - noise.mean(axis=0))


def test_forces_that_are_not_linear_are_named(caplog):
    found = phonons_from_supercells(bulk("Al", a=3.994), 2, Noisy(), residual_force_limit=1.0)
    assert any("not smooth" in text for text in found.warnings)
    assert any("not smooth" in record.getMessage() for record in caplog.records)


def test_smooth_calculators_are_not_accused(caplog):
    for atoms, grid in ((bulk("Al"), 2), (bulk("Cu", "hcp", a=2.56, c=4.2), (2, 2, 1)), (bulk("Au"), 3)):
        with caplog.at_level(logging.WARNING):
            assert phonons_from_supercells(atoms, grid, EMT(), residual_force_limit=1.0).warnings == ()
    assert not caplog.records


def test_instabilities_residual_forces_and_absurd_frequencies_are_named():
    stretched = phonons_from_supercells(bulk("Al", a=4.7), 2, EMT())
    assert any("imaginary" in text for text in stretched.warnings)
    comparison = compare_phonons(stretched, phonons_from_supercells(bulk("Al"), 2, EMT()), mesh=4, dos_mesh=None)
    assert any("model" in text and "imaginary" in text for text in comparison.warnings)
    atoms = bulk("Cu", "hcp", a=2.56, c=4.2)
    atoms.positions[1] += [0.05, 0.02, 0.03]
    restless = phonons_from_supercells(atoms, 1, EMT(), residual_force_limit=10.0)
    assert any("not relaxed" in text for text in restless.warnings)
    supercells = find_supercells(bulk("Al"), 2)
    frames = phonon_displacements(supercells)
    forces = [1e30 * frame.info["ndsc_vector"] * np.eye(1, len(frame)).T for frame in frames]
    forces = [-(array - array.mean(axis=0)) for array in forces]
    absurd = phonons_from_labels(supercells, frames, forces)
    assert any("THz" in text and "than in any crystal" in text for text in absurd.warnings)


def test_a_calculator_without_forces_is_refused():
    supercells = find_supercells(bulk("Al"), 2)
    frames = phonon_displacements(supercells)
    with pytest.raises(InputError, match="zero"):
        phonons_from_labels(supercells, frames, [np.zeros((len(frame), 3)) for frame in frames])


class NickelByCharge(Calculator):
    """EMT in which positive nickel interacts as copper."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.numbers = np.where(atoms.get_initial_charges() > 0, 29, 28)
        copy.calc = EMT()
        self.results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}


@pytest.mark.parametrize("route", ["dynamical", "tiling", "diagonal"])
def test_charges_lower_the_symmetry_of_force_constants(route):
    """phonopy's own search of symmetry does not see charges: those of the same element would become equal."""
    atoms = bulk("Ni", "fcc", a=3.6, cubic=True)
    atoms.set_initial_charges([0.5, 0.5, -0.5, -0.5])
    alloy = atoms.copy()
    alloy.set_masses(atoms.get_masses())
    alloy.set_initial_charges(None)
    alloy.numbers = [29, 29, 28, 28]
    options = [] if route == "diagonal" else [{"route": route}, {"route": "dynamical"}]
    compute = phonons_from_supercells if options else phonons_from_diagonal
    found, right = (
        compute(cell, (2, 2, 1), calculator, **option)
        for cell, calculator, option in zip((atoms, alloy), (NickelByCharge(), EMT()), options or [{}, {}], strict=True)
    )
    qpoints = [[0.5, 0, 0], [0.5, 0.5, 0]]
    np.testing.assert_allclose(frequencies(found, qpoints), frequencies(right, qpoints), atol=2e-3)
    assert len(found.phonopy.primitive_symmetry.pointgroup_operations) == 16


@pytest.mark.parametrize(
    "moments",
    [[2.2, 2.2004], [2.2003, -2.2], [[0, 0, 2.2], [0, 0, 2.2004]]],
    ids=["ferromagnet", "antiferromagnet", "vectors"],
)
@pytest.mark.parametrize("compute", [phonons_from_supercells, phonons_from_diagonal])
def test_moments_that_differ_in_the_fourth_digit(compute, moments):
    """The magnetic tolerance says that they are equal; symfc has to use that symmetry too."""
    atoms = Atoms("Cu2", cell=[2.5456, 2.5456, 3.6], scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], pbc=True)
    right = frequencies(phonons_from_supercells(atoms, 2, EMT(), route="dynamical"), [[0.5, 0.5, 0]])
    atoms.set_initial_magnetic_moments(moments)
    options = {"route": "tiling"} if compute is phonons_from_supercells else {}
    found = compute(atoms, 2, EMT(), **options)
    np.testing.assert_allclose(frequencies(found, [[0.5, 0.5, 0]]), right, atol=5e-3)


@pytest.mark.parametrize("compute", [phonons_from_supercells, phonons_from_diagonal])
@pytest.mark.parametrize(
    ("name", "value"),
    [("displacement", np.nan), ("displacement", 0.0), ("displacement", -0.01)]
    + [("residual_force_limit", value) for value in (np.nan, -1.0)],
)
def test_settings_that_are_no_limits(compute, name, value):
    with pytest.raises(InputError, match=name):
        compute(bulk("Al"), 2, EMT(), **{name: value})
