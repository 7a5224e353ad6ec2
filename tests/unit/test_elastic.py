"""Elastic constants: every Laue class in any orientation, averages, and what goes wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.spacegroup import crystal
from ase.units import GPa
from scipy.spatial.transform import Rotation

from ndsc.crystal import Crystal
from ndsc.elastic import ElasticConstants, elastic_constants
from ndsc.elastic_setting import standard_orientation
from ndsc.errors import InputError, ReferenceCalculationError

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def full_tensor(matrix):
    tensor = np.zeros((3, 3, 3, 3))
    for i, (a, b) in enumerate(VOIGT):
        for j, (c, d) in enumerate(VOIGT):
            for p, q in {(a, b), (b, a)}:
                for r, s in {(c, d), (d, c)}:
                    tensor[p, q, r, s] = matrix[i, j]
    return tensor


def voigt_matrix(tensor):
    return np.array([[tensor[a, b, c, d] for c, d in VOIGT] for a, b in VOIGT])


class Linear(Calculator):
    """A medium of given elastic constants (GPa), in the axes of its reference cell; it turns with the crystal."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, cell, matrix, residual=0.0):
        super().__init__()
        self.reference, self.tensor, self.residual = np.array(cell), full_tensor(matrix), residual

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        deformation = np.linalg.solve(self.reference, self.atoms.cell.array).T
        left, stretches, right = np.linalg.svd(deformation)
        rotation = left @ right
        strain = right.T @ np.diag(stretches) @ right - np.eye(3)
        stress = np.einsum("ijkl,kl->ij", self.tensor, strain) + self.residual * np.eye(3)
        turned = rotation @ stress @ rotation.T * GPa
        self.results = {
            "energy": 0.0,
            "forces": np.zeros((len(self.atoms), 3)),
            "stress": np.array([turned[i, j] for i, j in VOIGT]),
        }


def symmetric_constants(atoms, seed=0):
    """A positive definite Voigt matrix with the symmetry of a crystal in its orientation."""
    noise = np.random.default_rng(seed).normal(size=(6, 6))
    tensor = full_tensor(100 * np.eye(6) + 8 * (noise + noise.T))
    basis = atoms.cell.array.T
    rotations = basis @ Crystal.from_atoms(atoms).point_group @ np.linalg.inv(basis)
    averaged = np.mean([np.einsum("ai,bj,ck,dl,ijkl->abcd", r, r, r, r, tensor) for r in rotations], axis=0)
    return voigt_matrix(averaged)


GENERAL = [(0.40, 0.28, 0.14)]
CRYSTALS = {
    "triclinic": (2, [4.0, 5.0, 6.0, 80, 75, 85]),
    "monoclinic": (10, [4.0, 5.0, 6.0, 90, 103, 90]),
    "orthorhombic": (47, [4.0, 5.0, 6.0, 90, 90, 90]),
    "tetragonal_low": (83, [5.0, 5.0, 6.0, 90, 90, 90]),
    "tetragonal_high": (123, [5.0, 5.0, 6.0, 90, 90, 90]),
    "trigonal_low": (147, [5.0, 5.0, 6.0, 90, 90, 120]),
    "trigonal_low, rhombohedral": (148, [5.0, 5.0, 9.0, 90, 90, 120]),
    "trigonal_high": (164, [5.0, 5.0, 6.0, 90, 90, 120]),
    "trigonal_high, other axes": (162, [5.0, 5.0, 6.0, 90, 90, 120]),
    "trigonal_high, rhombohedral": (167, [5.0, 5.0, 9.0, 90, 90, 120]),
    "hexagonal": (175, [5.0, 5.0, 6.0, 90, 90, 120]),
    "hexagonal, high": (191, [5.0, 5.0, 6.0, 90, 90, 120]),
    "cubic": (221, [6.0, 6.0, 6.0, 90, 90, 90]),
    "cubic, face-centred": (205, [6.0, 6.0, 6.0, 90, 90, 90]),
}
COUNTS = {
    "triclinic": 21, "monoclinic": 13, "orthorhombic": 9, "tetragonal_low": 7, "tetragonal_high": 6, "trigonal_low": 8,
    "trigonal_high": 7, "hexagonal": 6, "cubic": 3,
}  # fmt: skip


def make(name):
    number, cellpar = CRYSTALS[name]
    made = crystal("C", GENERAL, spacegroup=number, cellpar=cellpar)
    return Atoms(made.numbers, positions=made.positions, cell=made.cell, pbc=True)


@pytest.mark.parametrize("name", CRYSTALS)
def test_every_laue_class_in_any_orientation(name):
    atoms = make(name)
    standard, laue_class = standard_orientation(atoms)
    assert laue_class == name.split(",")[0]
    expected = symmetric_constants(standard)
    turn = Rotation.from_rotvec([0.5, -0.8, 0.3]).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T, scale_atoms=True)
    for given in (atoms, turned):
        found = elastic_constants(given, Linear(standard.cell.array, expected))
        np.testing.assert_allclose(found.matrix, expected, atol=1e-3)
        assert len(found.constants) == COUNTS[laue_class]
        for label, value in found.constants.items():
            assert value == found.matrix[int(label[1]) - 1, int(label[2]) - 1]
        assert found.stable
        assert np.max(np.abs(found.residual_stress)) < 1e-4
        assert abs(found.constants.get("C15", 0.0)) < 1e-6 or laue_class != "trigonal_high"


def test_standard_axes_of_a_trigonal_crystal_have_a_twofold_axis_along_x():
    for name in ("trigonal_high", "trigonal_high, other axes", "trigonal_high, rhombohedral"):
        standard, _ = standard_orientation(make(name))
        # C14 is an independent constant, C15 is not.
        matrix = symmetric_constants(standard)
        assert abs(matrix[0, 3]) > 0.1
        assert abs(matrix[0, 4]) < 1e-6


def test_a_supercell_has_the_constants_of_the_crystal():
    atoms = bulk("Al", a=3.994)
    expected = elastic_constants(atoms, EMT())
    skewed = Atoms("Al", cell=np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]]) @ atoms.cell.array, pbc=True)
    for given in (bulk("Al", a=3.994, cubic=True), atoms * (1, 1, 3), skewed):
        found = elastic_constants(given, EMT())
        np.testing.assert_allclose(found.matrix, expected.matrix, atol=2e-3)


def test_averages():
    cubic = elastic_constants(bulk("Al", a=3.994), EMT())
    c11, c12, c44 = (cubic.constants[name] for name in ("C11", "C12", "C44"))
    assert cubic.bulk_modulus == pytest.approx((c11 + 2 * c12) / 3)
    assert cubic.bulk_bounds[0] == pytest.approx(cubic.bulk_bounds[1])
    voigt = (c11 - c12 + 3 * c44) / 5
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert cubic.shear_bounds == pytest.approx((voigt, reuss))
    assert cubic.shear_modulus == pytest.approx((voigt + reuss) / 2)
    b, g = cubic.bulk_modulus, cubic.shear_modulus
    assert cubic.young_modulus == pytest.approx(9 * b * g / (3 * b + g))
    assert cubic.poisson_ratio == pytest.approx(cubic.young_modulus / (2 * g) - 1)
    np.testing.assert_allclose(cubic.compliance @ cubic.matrix, np.eye(6), atol=1e-10)


def test_calculations_are_few_and_the_same_every_time():
    seen = []

    class Recording(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            seen.append(self.atoms.positions.tobytes() + self.atoms.cell.array.tobytes())

    told = []
    for _ in range(2):
        found = elastic_constants(
            bulk("Cu", "hcp", a=2.556, c=4.18), Recording(), progress=lambda *step: told.append(step)
        )
        assert len(seen) == found.calculations
        assert len(set(seen)) == len(seen)
        assert found.calculations < 20
        first, seen = seen, []
    assert told[-1] == ("elastic constants", 6, 6)
    again = []
    seen = again
    elastic_constants(bulk("Cu", "hcp", a=2.556, c=4.18), Recording())
    assert again == first


def test_constants_survive_json():
    found = elastic_constants(bulk("Al", a=3.994), EMT())
    loaded = ElasticConstants.from_dict(json.loads(json.dumps(found.to_dict())))
    np.testing.assert_array_equal(loaded.matrix, found.matrix)
    assert loaded.constants == found.constants
    assert loaded.to_dict() == found.to_dict()
    with pytest.raises(InputError, match="stored elastic constants"):
        ElasticConstants.from_dict({"matrix": [1, 2]})


def test_a_stressed_cell_is_told(caplog):
    atoms = bulk("Al", a=4.0)
    found = elastic_constants(atoms, Linear(atoms.cell.array, 100 * np.eye(6), residual=2.0))
    np.testing.assert_allclose(found.residual_stress[:3], 2.0, atol=1e-6)
    assert len(found.warnings) == 1
    assert "stress of up to 2 GPa" in found.warnings[0]
    assert found.warnings[0] in caplog.text


def test_an_unstable_crystal_is_flagged(caplog):
    atoms = bulk("Al", a=4.0)
    found = elastic_constants(atoms, Linear(atoms.cell.array, np.diag([100, 100, 100, -5, -5, -5])))
    assert not found.stable
    assert found.constants["C44"] == pytest.approx(-5, abs=1e-3)
    assert len(found.warnings) == 1
    assert "unstable" in found.warnings[0]
    assert found.warnings[0] in caplog.text


class Ions(Linear):
    """Forces on the two ions of a cell: `force` away from each other, or noise."""

    def __init__(self, cell, force, stress=None):
        super().__init__(cell, 100 * np.eye(6))
        self.force, self.stress = force, stress

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.force = -self.force
        self.results["forces"] = self.force * np.array([[1, 0, 0], [-1, 0, 0]], dtype=float)
        if self.stress is not None:
            self.results["stress"] = self.stress


class RunsAway(Ions):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        # The further apart, the harder they push.
        apart = self.atoms.positions[0] - self.atoms.positions[1]
        self.results["forces"] = 5.0 * np.array([apart, -apart])


def test_ions_that_run_away_are_an_error_and_not_hidden():
    atoms = bulk("Si", a=5.43)
    with pytest.raises(ReferenceCalculationError, match=r"ions drift away under strain .* unstable with this"):
        elastic_constants(atoms, RunsAway(atoms.cell.array, 0.0))
    assert elastic_constants(atoms, RunsAway(atoms.cell.array, 0.0), relax_ions=False).stable


def test_ions_that_do_not_come_to_rest():
    atoms = bulk("Si", a=5.43)
    with pytest.raises(ReferenceCalculationError, match=r"under strain .* does not converge: .* after 5 steps"):
        elastic_constants(atoms, Ions(atoms.cell.array, 0.01), max_steps=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strain": 0.0}, "strain = 0.0"),
        ({"strain": 0.3}, "strain = 0.3"),
        ({"n_steps": 4}, "n_steps = 4"),
        ({"fmax": 0.0}, "fmax = 0.0"),
        ({"max_steps": 0}, "max_steps = 0"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        elastic_constants(bulk("Al"), EMT(), **options)


def test_calculators_that_fail():
    atoms = bulk("Al", a=4.0)

    class NoStress(Calculator):
        implemented_properties = ("energy", "forces")

    class Ours(EMT):
        def calculate(self, *args, **kwargs):
            raise InputError("The calculator knows no Al.")

    with pytest.raises(ReferenceCalculationError, match=r"stress under strain .* could not be computed"):
        elastic_constants(atoms, NoStress(), relax_ions=False)
    with pytest.raises(InputError, match="knows no Al"):
        elastic_constants(atoms, Ours())
    silicon = bulk("Si", a=5.43)
    with pytest.raises(ReferenceCalculationError, match="not six finite numbers"):
        elastic_constants(silicon, Ions(silicon.cell.array, 0.0, stress=np.full(6, np.nan)))
