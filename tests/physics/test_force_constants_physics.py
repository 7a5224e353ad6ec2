"""Force constants from non-diagonal supercells against the diagonal supercell's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from phonon_crystals import PairPotential, bravais_crystals, structured_crystals
from scipy.spatial.transform import Rotation

from ndsc.force_constants import (
    phonon_displacements,
    phonons_from_diagonal,
    phonons_from_labels,
    phonons_from_supercells,
)
from ndsc.force_constants.phonopy_model import make_phonopy, supercell_sites
from ndsc.supercells import find_supercells

DATA = Path(__file__).parent.parent / "data"
BRAVAIS = bravais_crystals()
STRUCTURED = structured_crystals()
# Small, so that anharmonicity does not hide a mistake; positions are rounded to 1e-8 Å.
DISPLACEMENT = 0.002
# The crystals are not all at rest.
ANY_RESIDUAL = 100.0
TOLERANCE = 5e-4
QPOINTS = np.concatenate([np.indices((3, 3, 3)).reshape(3, -1).T / 4, np.random.default_rng(1).random((15, 3))])


def both_routes(atoms, grid, calculator):
    supercells = find_supercells(atoms, grid)
    frames = phonon_displacements(supercells, displacement=DISPLACEMENT)
    forces = {}
    for frame in frames:
        copy = frame.copy()
        copy.calc = calculator
        forces[frame.info["ndsc_name"]] = copy.get_forces()
    return [
        phonons_from_labels(supercells, frames, forces, route=route, residual_force_limit=ANY_RESIDUAL)
        for route in ("tiling", "dynamical")
    ]


def diagonal(atoms, grid, calculator):
    return phonons_from_diagonal(
        atoms, grid, calculator, displacement=DISPLACEMENT, residual_force_limit=ANY_RESIDUAL
    ).phonopy


def frequencies(phonon, qpoints=QPOINTS):
    return np.sort(phonon.run_qpoints(qpoints).frequencies, axis=1)


def assert_same_phonons(found, expected, qpoints=QPOINTS, tolerance=TOLERANCE):
    reference = frequencies(expected, qpoints)
    difference = np.abs(frequencies(found, qpoints) - reference)
    assert np.max(difference) < tolerance * np.max(np.abs(reference))


def assert_routes_agree(tiling, dynamical):
    scale = np.max(np.abs(tiling.phonopy.force_constants))
    np.testing.assert_allclose(
        dynamical.phonopy.force_constants, tiling.phonopy.force_constants, atol=1e-9 * scale, rtol=0
    )


@pytest.mark.parametrize("name", BRAVAIS)
def test_every_bravais_lattice(name):
    atoms = BRAVAIS[name]
    tiling, dynamical = both_routes(atoms, 3, PairPotential())
    assert_routes_agree(tiling, dynamical)
    assert_same_phonons(dynamical.phonopy, diagonal(atoms, 3, PairPotential()))


@pytest.mark.parametrize("name", STRUCTURED)
def test_crystals_with_several_atoms(name):
    atoms = STRUCTURED[name]
    grid = 3 if len(atoms) < 5 else 2
    tiling, dynamical = both_routes(atoms, grid, PairPotential())
    assert_routes_agree(tiling, dynamical)
    assert_same_phonons(dynamical.phonopy, diagonal(atoms, grid, PairPotential()))


@pytest.mark.parametrize(
    ("name", "grid"),
    [("hcp", (4, 4, 2)), ("diamond", (4, 4, 2)), ("no symmetry", (3, 1, 2)), ("rutile", (2, 2, 4)), ("hcp", (6, 2, 1))],
)
def test_anisotropic_grids(name, grid):
    atoms = STRUCTURED[name]
    tiling, dynamical = both_routes(atoms, grid, PairPotential())
    assert_routes_agree(tiling, dynamical)
    assert_same_phonons(dynamical.phonopy, diagonal(atoms, grid, PairPotential()))


def brute_force_phonons(atoms, grid, calculator, step=DISPLACEMENT):
    """Central differences of every atom of the unit cell in the diagonal supercell, without symmetry."""
    phonon = make_phonopy(atoms, grid, symmetric_supercell=False)
    basis, lattice_points = supercell_sites(phonon)
    supercell = Atoms(
        atoms.numbers[basis], positions=atoms.positions[basis] + lattice_points @ atoms.cell.array,
        cell=np.diag(grid) @ atoms.cell.array, pbc=True, calculator=calculator,
    )  # fmt: skip
    compact = np.zeros((len(atoms), len(basis), 3, 3))
    for row, index in enumerate(phonon.primitive.p2s_map):
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                moved = supercell.copy()
                moved.calc = calculator
                moved.positions[index, axis] += sign * step
                forces.append(moved.get_forces())
            compact[row, :, axis, :] = -(forces[0] - forces[1]) / (2 * step)
    phonon.force_constants = compact
    return phonon


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 8])
def test_grids_from_2_to_8(n):
    atoms = bulk("Al", a=4.0)
    found = phonons_from_supercells(atoms, n, EMT(), displacement=DISPLACEMENT)
    assert found.route == "dynamical"
    assert_same_phonons(found.phonopy, brute_force_phonons(atoms, (n, n, n), EMT()))


def test_a_grid_of_4096_cells():
    atoms = bulk("Al", a=4.0)
    found = phonons_from_supercells(atoms, 16, EMT(), displacement=DISPLACEMENT)
    # EMT ends within the supercell of an 8 x 8 x 8 grid, so both grids interpolate the same forces.
    coarse = phonons_from_supercells(atoms, 8, EMT(), displacement=DISPLACEMENT)
    assert_same_phonons(found.phonopy, coarse.phonopy)
    assert found.cost.used.calculations <= 110
    assert (found.cost.used.atoms, found.cost.diagonal.atoms) == (16 * found.cost.used.calculations, 2 * 4096)


def test_one_cell_only_knows_the_zone_centre():
    atoms = STRUCTURED["rocksalt"]
    for route in ("tiling", "dynamical"):
        found = phonons_from_supercells(
            atoms, 1, PairPotential(), displacement=DISPLACEMENT, route=route, residual_force_limit=ANY_RESIDUAL
        )
        assert_same_phonons(found.phonopy, diagonal(atoms, (1, 1, 1), PairPotential()), np.zeros((1, 3)))


def other_setting(atoms, matrix, *, turn=(0.3, -0.5, 0.9), shift=(0.11, 0.27, -0.42)):
    """The same crystal with other lattice vectors, another orientation and another origin."""
    rotation = Rotation.from_rotvec(turn).as_matrix()
    cell = np.array(matrix) @ atoms.cell.array
    moved = Atoms(atoms.numbers, positions=atoms.positions + np.array(shift) @ cell, cell=cell, pbc=True)
    moved.set_cell(cell @ rotation.T, scale_atoms=True)
    moved.wrap()
    return moved


SKEWED = [[1, 0, 0], [2, 1, 0], [-1, 3, 1]]


@pytest.mark.parametrize("name", ["diamond", "hcp", "alpha-quartz", "no symmetry"])
def test_cells_in_odd_settings_give_the_same_phonons(name):
    atoms = STRUCTURED[name]
    grid = 2 if len(atoms) > 2 else 3
    odd = other_setting(atoms, SKEWED)
    plain = both_routes(atoms, grid, PairPotential())[1]
    tiling, dynamical = both_routes(odd, grid, PairPotential())
    assert_routes_agree(tiling, dynamical)
    # q in the basis of the other cell: its lattice vectors are the given combinations. Only the q-points of the grid
    # are compared, because a skewed supercell of the same grid interpolates differently between them.
    held = np.indices((grid, grid, grid)).reshape(3, -1).T / grid
    expected = frequencies(plain.phonopy, held)
    found = frequencies(dynamical.phonopy, held @ np.array(SKEWED).T)
    assert np.max(np.abs(found - expected)) < TOLERANCE * np.max(expected)
    assert tiling.cost.used.atoms_cubed == plain.cost.used.atoms_cubed


def test_a_cell_that_is_not_primitive():
    atoms = bulk("Si", a=5.4, cubic=True)
    tiling, dynamical = both_routes(atoms, 2, PairPotential())
    assert_routes_agree(tiling, dynamical)
    assert_same_phonons(dynamical.phonopy, diagonal(atoms, 2, PairPotential()))
    # The zone centre of the conventional cell folds the zone centre and the three X points of the primitive one.
    primitive = both_routes(bulk("Si", a=5.4), 2, PairPotential())[1]
    folded = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    expected = np.sort(frequencies(primitive.phonopy, folded).ravel())
    found = frequencies(dynamical.phonopy, np.zeros((1, 3)))[0]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * expected.max())


def test_two_crystals_in_one_process_do_not_mix():
    first, second = bulk("Al", a=4.0), STRUCTURED["hcp"]
    before = phonons_from_supercells(first, 3, EMT(), displacement=DISPLACEMENT).phonopy.force_constants
    phonons_from_supercells(second, 3, PairPotential(), residual_force_limit=ANY_RESIDUAL)
    phonons_from_diagonal(second, 2, PairPotential(), residual_force_limit=ANY_RESIDUAL)
    after = phonons_from_supercells(first, 3, EMT(), displacement=DISPLACEMENT).phonopy.force_constants
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["diamond", "alpha-quartz", "no symmetry", "polar tetragonal"])
@pytest.mark.parametrize("route", [0, 1])
def test_acoustic_sum_rule_and_space_group_symmetry_hold(name, route):
    phonon = both_routes(STRUCTURED[name], 2, PairPotential())[route].phonopy
    constants = np.array(phonon.force_constants)
    scale = np.max(np.abs(constants))
    np.testing.assert_allclose(constants.sum(axis=1), 0, atol=1e-10 * scale)
    phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True)
    np.testing.assert_allclose(phonon.force_constants, constants, atol=1e-8 * scale)


def test_the_qpoints_of_the_grid_are_exact():
    atoms = bulk("Al", a=4.0)
    coarse = phonons_from_supercells(atoms, 2, EMT(), displacement=DISPLACEMENT)
    fine = phonons_from_supercells(atoms, 8, EMT(), displacement=DISPLACEMENT)
    assert coarse.is_exact(coarse.exact_qpoints).all()
    assert coarse.weights.sum() == 8
    assert not coarse.is_exact([[0.25, 0, 0]]).any()
    # Exact means: the same as on any grid that has them, although two cells are shorter than the forces' range.
    assert_same_phonons(coarse.phonopy, fine.phonopy, coarse.exact_qpoints)
    between = frequencies(coarse.phonopy, [[0.25, 0, 0]]) - frequencies(fine.phonopy, [[0.25, 0, 0]])
    assert np.max(np.abs(between)) > 0.01


def test_forces_at_the_sites_are_subtracted():
    # Not at rest: nothing fixes the height of the atoms in this polar crystal.
    atoms = STRUCTURED["polar tetragonal"]
    found = phonons_from_supercells(
        atoms, 2, PairPotential(), displacement=DISPLACEMENT, residual_force_limit=ANY_RESIDUAL
    )
    assert found.residual_force > 0.01
    expected = brute_force_phonons(atoms, (2, 2, 2), PairPotential())
    # Away from the zone centre: with residual forces, brute force does not keep the acoustic sum rule's symmetry.
    assert_same_phonons(found.phonopy, expected, QPOINTS[1:])


@pytest.mark.gap
@pytest.mark.parametrize("parameters", ["IP SW", "IP Tersoff"])
def test_silicon_with_three_body_forces(parameters):
    from quippy.potential import Potential

    file = {"IP SW": "stillinger_weber_si.xml", "IP Tersoff": "tersoff_si.xml"}[parameters]
    calculator = Potential(parameters, param_filename=str(DATA / file))
    atoms = bulk("Si", a=5.431)
    tiling, dynamical = both_routes(atoms, 3, calculator)
    assert_routes_agree(tiling, dynamical)
    assert_same_phonons(dynamical.phonopy, diagonal(atoms, 3, calculator))


@pytest.mark.parametrize("cost_exponent", [1.0, 0.5])
def test_sets_with_larger_supercells_that_hold_more(cost_exponent):
    atoms = STRUCTURED["hcp"]
    supercells = find_supercells(atoms, 6, cost_exponent=cost_exponent)
    frames = phonon_displacements(supercells, displacement=DISPLACEMENT)
    forces = {}
    for frame in frames:
        copy = frame.copy()
        copy.calc = PairPotential()
        forces[frame.info["ndsc_name"]] = copy.get_forces()
    found = phonons_from_labels(supercells, frames, forces, residual_force_limit=ANY_RESIDUAL)
    assert_same_phonons(found.phonopy, brute_force_phonons(atoms, (6, 6, 6), PairPotential()))


def test_magnetic_order_lowers_the_symmetry():
    atoms = bulk("Fe", a=2.8, cubic=True)
    atoms.set_initial_magnetic_moments([2.0, -2.0])
    tiling, dynamical = both_routes(atoms, 2, PairPotential(distance=2.4))
    assert_routes_agree(tiling, dynamical)
    assert_same_phonons(dynamical.phonopy, diagonal(atoms, 2, PairPotential(distance=2.4)))
