import hashlib
import io

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from ndsc import diagonal_supercell, find_supercells, make_supercell
from ndsc.configurations import make_configurations, remake_configuration
from ndsc.errors import InputError

SUPERCELLS = find_supercells(bulk("Al"), 4)
SILICON = find_supercells(bulk("Si"), 2)


def test_numbers_names_and_order():
    configurations = make_configurations(SUPERCELLS, per_supercell=3, unit_cells=2)
    names = [atoms.info["ndsc_name"] for atoms in configurations]
    assert len(configurations) == 2 + 3 * len(SUPERCELLS)
    assert len(set(names)) == len(names)
    assert names[:3] == ["unit-0000", "unit-0001", "s000-0000"]
    sizes = [abs(round(np.linalg.det(atoms.info["ndsc_matrix"].reshape(3, 3)))) for atoms in configurations]
    assert sizes == [len(atoms) for atoms in configurations]


def test_the_first_unit_cell_is_perfect():
    atoms = make_configurations(SUPERCELLS, unit_cells=1, per_supercell=0)[0]
    assert np.array_equal(atoms.cell.array, bulk("Al").cell.array)
    assert np.array_equal(atoms.positions, bulk("Al").positions)


def test_one_seed_gives_the_same_bytes():
    # Computed once; a change means that stored labels of earlier versions are no longer found.
    assert digest_of(make_configurations(SUPERCELLS, per_supercell=2, seed=1)) == "442472fff476ea2b"


def digest_of(configurations):
    digest = hashlib.sha256()
    for atoms in configurations:
        digest.update(np.rint(atoms.positions * 1e8).astype("<i8").tobytes())
        digest.update(np.rint(atoms.cell.array * 1e8).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("displaced", "before"), [("all", "8b0b02777754fc67"), ("one", "50d2e08baafe2a9c")]
)  # fmt: skip
def test_unit_cells_with_a_basis_have_the_bytes_of_earlier_versions(displaced, before):
    # Computed before unit cells could be displaced.
    made = make_configurations(SILICON, per_supercell=2, unit_cells=4, seed=1, displaced=displaced)
    assert digest_of(made) == before


@pytest.mark.parametrize("displaced", ["all", "one"])
def test_displaced_unit_cells(displaced):
    recipe = {"per_supercell": 2, "unit_cells": 200, "seed": 1, "displacement": 0.02, "displaced": displaced}
    ideal = make_configurations(SILICON, **recipe)
    moved = make_configurations(SILICON, **recipe, unit_cell_displacement=0.05)
    assert digest_of(moved) == digest_of(make_configurations(SILICON, **recipe, unit_cell_displacement=0.05))
    changed = [not np.array_equal(a.positions, b.positions) for a, b in zip(ideal, moved, strict=True)]
    # The first is unperturbed, and supercells are as they were; so are scale and strain of every cell.
    assert changed == [False] + [True] * 199 + [False] * (len(ideal) - 200)
    assert all(np.array_equal(a.cell.array, b.cell.array) for a, b in zip(ideal, moved, strict=True))
    assert [atoms.info["ndsc_displacement"] for atoms in moved[:2]] == [0.0, 0.05]
    displacements = np.array([b.positions - a.positions for a, b in zip(ideal[1:200], moved[1:200], strict=True)])
    if displaced == "all":
        assert displacements.std() == pytest.approx(0.05, rel=0.05)
    else:
        lengths = np.sort(np.linalg.norm(displacements, axis=2), axis=1)
        assert lengths == pytest.approx(np.tile([0.0, 0.05], (199, 1)), abs=2e-8)
    again = remake_configuration(bulk("Si"), moved[7].info)
    assert np.array_equal(again.positions, moved[7].positions)


def test_the_only_atom_of_a_unit_cell_stays_in_place():
    recipe = {"per_supercell": 1, "unit_cells": 5, "seed": 1}
    made = make_configurations(SUPERCELLS, **recipe, unit_cell_displacement=0.05)
    assert digest_of(made) == digest_of(make_configurations(SUPERCELLS, **recipe))
    assert {atoms.info["ndsc_displacement"] for atoms in made[:5]} == {0.0}


def test_seeds_and_more_of_the_same():
    few = make_configurations(SUPERCELLS, per_supercell=2, seed=1)
    more = make_configurations(SUPERCELLS, per_supercell=4, seed=1)
    other = make_configurations(SUPERCELLS, per_supercell=2, seed=2)
    rest = make_configurations(SUPERCELLS, per_supercell=2, seed=1, first_index=2, unit_cells=0)
    by_name = {atoms.info["ndsc_name"]: atoms.positions for atoms in more}
    for atoms in [*few, *rest]:
        assert np.array_equal(by_name[atoms.info["ndsc_name"]], atoms.positions)
    assert len(by_name) == len(few) + len(rest)
    assert not np.array_equal(few[-1].positions, other[-1].positions)


def test_every_configuration_can_be_made_again_from_its_file():
    configurations = make_configurations(SUPERCELLS, per_supercell=2, unit_cells=2, displacement=[0.02, 0.1], seed=7)
    text = io.StringIO()
    write(text, configurations, format="extxyz")
    text.seek(0)
    for atoms, stored in zip(configurations, read(text, ":", format="extxyz"), strict=True):
        again = remake_configuration(bulk("Al"), stored.info)
        assert np.array_equal(again.positions, atoms.positions)
        assert np.array_equal(again.cell.array, atoms.cell.array)


def test_statistics_of_the_perturbations():
    displacement, strain = 0.05, 0.01
    wide = make_configurations(
        SUPERCELLS, per_supercell=400, displacement=displacement, strain=strain, scale=[0.98, 1.02], unit_cells=0
    )
    displacements, strains, scales = [], [], []
    perfect = dict(enumerate(SUPERCELLS.structures()))
    for atoms in wide:
        reference = perfect[int(atoms.info["ndsc_name"][1:4])]
        deformation = np.linalg.solve(reference.cell.array, atoms.cell.array)
        scales.append(atoms.info["ndsc_scale"])
        strains.append(deformation / atoms.info["ndsc_scale"] - np.eye(3))
        displacements.append(atoms.positions - reference.positions @ deformation)
    strains, displacements = np.array(strains), np.concatenate(displacements)
    assert np.allclose(strains, strains.transpose(0, 2, 1), atol=1e-7)
    assert np.abs(strains).max() <= strain + 1e-7
    # A uniform distribution of width 2s has the standard deviation s / sqrt(3).
    assert strains.std(axis=0) == pytest.approx(np.full((3, 3), strain / np.sqrt(3)), rel=0.1)
    assert displacements.std() == pytest.approx(displacement, rel=0.02)
    assert abs(displacements.mean()) < 4 * displacement / np.sqrt(displacements.size)
    kurtosis = np.mean(displacements**4) / np.mean(displacements**2) ** 2
    assert kurtosis == pytest.approx(3.0, rel=0.1)
    assert scales.count(0.98) == scales.count(1.02)


def test_one_displaced_atom():
    (moved,) = make_configurations(
        diagonal_supercell(bulk("Al"), 3),
        per_supercell=1,
        unit_cells=0,
        strain=0,
        scale=1,
        displacement=0.04,
        displaced="one",
    )
    perfect = make_supercell(bulk("Al"), 3 * np.eye(3, dtype=int))
    lengths = np.sort(np.linalg.norm(moved.positions - perfect.positions, axis=1))
    assert lengths[:-1] == pytest.approx(0, abs=2e-8)
    assert lengths[-1] == pytest.approx(0.04, abs=2e-8)
    again = remake_configuration(bulk("Al"), moved.info)
    assert np.array_equal(again.positions, moved.positions)


def test_parts_are_told_apart_and_move_nothing():
    plain = make_configurations(SUPERCELLS, per_supercell=1)
    named = make_configurations(SUPERCELLS, per_supercell=1, part="large")
    assert [atoms.info["ndsc_name"] for atoms in named] == ["large-" + atoms.info["ndsc_name"] for atoms in plain]
    assert {atoms.info["ndsc_part"] for atoms in named} == {"large"}
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(plain, named, strict=True))
    assert remake_configuration(bulk("Al"), named[-1].info).info["ndsc_part"] == "large"


def test_magnetic_moments_come_along():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    atoms = make_configurations(find_supercells(iron, 2), per_supercell=1)[-1]
    assert sorted(set(atoms.get_initial_magnetic_moments())) == [-2.0, 2.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_supercell": -1}, "per_supercell = -1"),
        ({"unit_cells": 1.5}, "unit_cells = 1.5"),
        ({"seed": True}, "seed = true"),
        ({"displacement": -0.1}, "displacement.* = -0.1"),
        ({"displacement": float("nan")}, "displacement.* = nan"),
        ({"displacement": []}, "displacement"),
        ({"unit_cell_displacement": -0.1}, "unit_cell_displacement = -0.1"),
        ({"unit_cell_displacement": "large"}, "unit_cell_displacement"),
        ({"unit_cell_displacement": [0.01, 0.02]}, "unit_cell_displacement"),
        ({"strain": [0.01, 0.02]}, "strain"),
        ({"strain": 0.5}, "strain = 0.5"),
        ({"scale": 0.0}, "scale.* = 0.0"),
        ({"per_supercell": 10**9}, "per_supercell"),
        ({"first_index": -1}, "first_index"),
        ({"scale": "large"}, "scale"),
        ({"displaced": "two"}, "displaced"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        make_configurations(SUPERCELLS, **settings)


def test_more_than_fits_into_memory_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("ndsc.configurations.available_memory", lambda: 10**8)
    with pytest.raises(InputError, match=r"per_supercell = 90,000"):
        make_configurations(SUPERCELLS, per_supercell=90_000)


def test_what_atoms_carry_comes_along():
    atoms = bulk("Al")
    atoms.set_masses([13.5])
    atoms.set_tags([4])
    atoms.set_initial_charges([0.25])
    atoms.info["source"] = "somewhere"
    told = []
    made = make_configurations(find_supercells(atoms, 2), per_supercell=1, progress=lambda *step: told.append(step))
    for frame in [*made, remake_configuration(atoms, made[-1].info)]:
        assert set(frame.get_masses()) == {13.5}
        assert set(frame.get_tags()) == {4}
        assert set(frame.get_initial_charges()) == {0.25}
        assert frame.info["source"] == "somewhere"
        assert "ndsc_basis" not in frame.arrays
    assert told[-1][1] == told[-1][2] == len(made) - 1


def test_a_configuration_of_others_cannot_be_made_again():
    with pytest.raises(InputError, match="ndsc_seed"):
        remake_configuration(bulk("Al"), {"ndsc_name": "x"})
