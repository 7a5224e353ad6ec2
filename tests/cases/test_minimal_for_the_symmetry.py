"""Which symmetry a set of supercells is smallest for: with the reversal of all spins, at the tolerance given."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk

import ndsc


def rutile(symbols, moments=None, a=4.87, c=3.31, u=0.305):
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (u, u, 0), (-u, -u, 0), (0.5 - u, 0.5 + u, 0.5), (0.5 + u, 0.5 - u, 0.5)]
    atoms = Atoms(symbols, cell=[a, a, c], scaled_positions=sites, pbc=True)
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    return atoms


def nickel_oxide():
    """Antiferromagnetic along the body diagonal: Ni up and down in the rhombohedral cell of four atoms."""
    a = 4.17
    cell = np.array([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]]) * a
    places = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0], [0, 0, 0.5]]) * a
    places[1] = [a / 2, a / 2, 0]
    places[3] = [a / 2, a / 2, a / 2]
    atoms = Atoms("Ni2O2", cell=cell, positions=places, pbc=True)
    atoms.set_initial_magnetic_moments([1.7, -1.7, 0, 0])
    return atoms


def spin_chain():
    """bcc iron with the two atoms of the cubic cell up and down."""
    atoms = bulk("Fe", cubic=True)
    atoms.set_initial_magnetic_moments([2.2, -2.2])
    return atoms


def test_rutile_antiferromagnet_has_all_sixteen_rotations():
    found = ndsc.find_supercells(rutile("Mn2F4", [4.5, -4.5, 0, 0, 0, 0]), 4)
    assert len(found.crystal.point_group) == 16
    assert (len(found), found.cost, found.lower_bound) == (12, 768, 768)
    assert (found.crystal.number, found.crystal.symbol) == (136, "P4_2/mnm")
    assert found.proof == "proven smallest for P4_2/mnm (136)"


@pytest.mark.parametrize(
    ("atoms", "grid"), [(rutile("Mn2F4", [4.5, -4.5, 0, 0, 0, 0]), (4, 4, 2)), (nickel_oxide(), 3), (spin_chain(), 4)],
    ids=["rutile", "NiO", "bcc Fe"],
)  # fmt: skip
def test_reversal_of_the_spins_is_used(atoms, grid):
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, atoms.get_initial_magnetic_moments())
    wanted = np.unique(
        spglib.get_magnetic_symmetry(cell, symprec=1e-5, mag_symprec=1e-2, is_axial=False)["rotations"], axis=0
    )
    found = ndsc.find_supercells(atoms, grid)
    assert np.array_equal(found.crystal.point_group, wanted)
    without_moments = atoms.copy()
    del without_moments.arrays["initial_magmoms"]
    # A spin order that reversal restores costs no more than none, where it keeps all rotations.
    other = ndsc.find_supercells(without_moments, grid)
    if len(other.crystal.point_group) == len(wanted):
        assert found.cost == other.cost


def rounded_magnesium():
    atoms = bulk("Mg")
    atoms.set_scaled_positions([(0.3333, 0.6667, 0.25), (0.6667, 0.3333, 0.75)])
    return atoms


def graphene():
    x, y = 0.5017101267393932 * 2.46, 0.8689896166573675 * 2.46
    return Atoms("C2", cell=[[x, -y, 0], [x, y, 0], [0, 0, 30.28]], pbc=True, scaled_positions=[
        (0.0000026218, 0.9999973782, 0.5), (0.6666673782, 0.3333326218, 0.5)])  # fmt: skip


@pytest.mark.parametrize(
    ("atoms", "grid", "number", "loose", "strict"),
    [(rounded_magnesium(), (4, 4, 2), 194, (6, 272), (11, 536)), (graphene(), (4, 4, 1), 191, (2, 128), (4, 256))],
    ids=["Mg", "graphene"],
)
def test_the_tolerance_that_is_given_is_used(atoms, grid, number, loose, strict):
    found = ndsc.find_supercells(atoms, grid, symprec=1e-3)
    assert found.crystal.number == number
    assert (len(found), found.cost) == loose
    tight = ndsc.find_supercells(atoms, grid)
    assert (len(tight), tight.cost) == strict
    assert str(number) in found.proof
    assert str(number) not in tight.proof
    # The same tolerance in every function that searches a symmetry.
    assert len(ndsc.irreducible_qpoints(atoms, grid, symprec=1e-3).weights) < len(
        ndsc.irreducible_qpoints(atoms, grid).weights
    )
    assert len(ndsc.enumerate_supercells(atoms, 4, symprec=1e-3)) < len(ndsc.enumerate_supercells(atoms, 4))
    assert len(ndsc.little_group(atoms, (0, 0, 0), grid, symprec=1e-3)) > len(ndsc.little_group(atoms, (0, 0, 0), grid))


def test_everything_of_the_crystal_survives_storage():
    atoms = rutile("Mn2F4", [4.5, -4.5, 0, 0, 0, 0])
    atoms.set_masses([54.9, 54.9, 19, 19, 18, 18])
    atoms.set_initial_charges([2, 2, -1, -1, -1, -1])
    atoms.set_tags([0, 1, 2, 2, 3, 3])
    found = ndsc.find_supercells(atoms, 2, symprec=1e-4)
    again = ndsc.SupercellSet.from_dict(found.to_dict())
    for name in ("masses", "initial_magmoms", "initial_charges", "tags"):
        assert np.array_equal(again.atoms.arrays[name], atoms.arrays[name])
    assert again.crystal.symprec == 1e-4
    assert np.array_equal(again.crystal.point_group, found.crystal.point_group)
    assert again.proof == found.proof
