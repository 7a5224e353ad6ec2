"""Decorations of supercells, and configurations in which atoms are substituted."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from ndsc import enumerate_supercells, find_supercells, make_configurations, remake_configuration
from ndsc.config import parse_config
from ndsc.configurations import ConfigurationSettings, end_configurations, strata
from ndsc.crystal import Crystal
from ndsc.decorations import Decorations, end_members, enumerate_decorations, site_permutations
from ndsc.errors import InputError
from ndsc.sublattices import make_supercell
from ndsc.workflow import make_plan
from ndsc.workflow.checks import check_plan

CUAU = {"Cu": ("Cu", "Au")}


def cu3au() -> Atoms:
    return Atoms(
        "AuCu3", scaled_positions=[[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], cell=[3.75] * 3, pbc=True
    )


def fingerprint(atoms: Atoms) -> tuple[tuple[float, ...], ...]:
    """Sorted distances by element: the same for structures that symmetry makes the same, and mostly for no others."""
    found = []
    offsets = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ atoms.cell.array
    for i, j in itertools.product(range(len(atoms)), repeat=2):
        lengths = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + offsets, axis=1)
        pair = sorted((int(atoms.numbers[i]), int(atoms.numbers[j])))
        found += [(*pair, round(length, 3)) for length in lengths if length < 8.0]
    return tuple(sorted(found))


def is_superperiodic(crystal: Crystal, matrix: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether a translation by a lattice vector of the crystal that is none of the supercell leaves a decoration."""
    supercell = make_supercell(crystal.atoms, matrix)
    scaled = supercell.get_scaled_positions()
    for shift in scaled[1:] - scaled[0]:
        moved = scaled + shift
        difference = moved[:, None] - scaled[None]
        image = np.argmin(np.linalg.norm(difference - np.rint(difference), axis=2), axis=1)
        if np.array_equal(numbers[image], numbers):
            return True
    return False


@pytest.mark.parametrize(("size", "known"), [(2, 2), (3, 6), (4, 19), (5, 28), (6, 80)])
def test_numbers_of_binary_superstructures_of_fcc_are_the_published_ones(size: int, known: int) -> None:
    # Hart and Forcade, Phys. Rev. B 77, 224115 (2008): derivative structures of fcc, two colours.
    crystal = Crystal.from_atoms(bulk("Cu"))
    count = 0
    for matrix in enumerate_supercells(crystal, size):
        numbers, _ = enumerate_decorations(crystal, matrix, CUAU)
        count += sum(not is_superperiodic(crystal, matrix, row) for row in numbers)
    assert count == known


def test_every_decoration_is_the_same_as_one_of_those_enumerated() -> None:
    crystal = Crystal.from_atoms(cu3au())
    choices = {"Cu": ("Cu", "Ag", "Ni")}
    numbers, multiplicity = enumerate_decorations(crystal, np.eye(3, dtype=int), choices)
    assert multiplicity.sum() == 3**3
    assert len(numbers) == 10  # three faces, three elements, all orders the same
    parent = crystal.atoms
    kept = []
    for row in numbers:
        atoms = parent.copy()
        atoms.numbers = row
        kept.append(fingerprint(atoms))
    assert len(set(kept)) == len(kept)
    for colours in itertools.product((29, 47, 28), repeat=3):
        atoms = parent.copy()
        atoms.numbers = [79, *colours]
        assert fingerprint(atoms) in kept


def test_permutations_are_a_group_that_keeps_distances() -> None:
    crystal = Crystal.from_atoms(bulk("Cu"))
    matrix = find_supercells(crystal, 4).matrices[-1]
    found = site_permutations(crystal, matrix)
    rows = {row.tobytes() for row in found}
    assert np.arange(found.shape[1]).tobytes() in rows
    assert all(one[other].tobytes() in rows for one in found for other in found)
    distances = make_supercell(crystal.atoms, matrix).get_all_distances(mic=True)
    for row in found:
        assert np.allclose(distances[np.ix_(row, row)], distances)


def test_concentrations_restrict_what_is_enumerated() -> None:
    crystal = Crystal.from_atoms(bulk("Cu"))
    matrix = np.diag([1, 1, 4])
    numbers, _ = enumerate_decorations(crystal, matrix, CUAU, {"Au": (0.25, 0.5)})
    assert {int((row == 79).sum()) for row in numbers} == {1, 2}
    with pytest.raises(InputError, match=r"supercell of 4 atoms has the concentrations Au 0\.3 to 0\.4"):
        Decorations.of(crystal, matrix, CUAU, {"Au": (0.3, 0.4)})


def test_each_decoration_is_taken_once_before_one_is_taken_again() -> None:
    supercells = find_supercells(bulk("Cu"), 4)
    frames = make_configurations(
        supercells, per_supercell=14, unit_cells=0, substitute=CUAU, displacement=0.0, strain=0.0, scale=1.0
    )
    for number, matrix in enumerate(supercells.matrices):
        distinct, _ = enumerate_decorations(supercells.crystal, matrix, CUAU)
        own = [frame.numbers for frame in frames if frame.info["ndsc_name"].startswith(f"s{number:03d}")]
        first = {row.tobytes() for row in own[: len(distinct)]}
        assert len(first) == min(len(own), len(distinct))
        assert first <= {row.tobytes() for row in distinct}
        # Compositions take turns: the first five have all of those of four atoms.
        assert {int((row == 79).sum()) for row in own[:5]} == set(range(5))


def test_large_supercells_are_decorated_by_chance_at_all_compositions() -> None:
    crystal = Crystal.from_atoms(bulk("Cu"))
    found = Decorations.of(crystal, np.diag([3, 3, 3]), CUAU, {"Au": (0.2, 0.8)})
    assert found.numbers is None
    assert len(found) == sum(0.2 <= n / 27 <= 0.8 for n in range(28))

    def stream(name: str) -> Callable[[int], np.ndarray]:
        return np.random.default_rng(zlib.crc32(name.encode())).random

    rows = [found.pick(index, stream) for index in range(len(found))]
    assert len({int((row == 79).sum()) for row in rows}) == len(found)
    with pytest.raises(InputError, match="too many to enumerate"):
        enumerate_decorations(crystal, np.diag([3, 3, 3]), CUAU)


def test_substitution_changes_elements_and_by_vegards_law_the_cell_and_nothing_else() -> None:
    supercells = find_supercells(bulk("Cu", a=3.6), 2)
    plain = make_configurations(supercells, per_supercell=9, unit_cells=3, seed=4)
    vegard = {"Cu": 3.6, "Au": 4.05}
    frames = make_configurations(supercells, per_supercell=9, unit_cells=3, seed=4, substitute=CUAU, vegard=vegard)
    kinds = {frame.info["config_type"] for frame in frames}
    assert kinds == {"unit_cell", "supercell", "decorated"}
    assert frames[0].get_chemical_formula() == "Cu"
    for one, other in zip(plain, frames, strict=True):
        share = np.mean(other.numbers == 79)
        factor = 1 + share * (4.05 / 3.6 - 1)
        assert np.allclose(other.cell.array, factor * one.cell.array, atol=2e-8)
        assert (other.info["config_type"] == "decorated") == (share > 0)
        # The displacements are those of the same configuration without substitution.
        ideal = make_supercell(supercells.atoms, one.info["ndsc_matrix"].reshape(3, 3)).get_scaled_positions(wrap=False)
        moved, as_before = (frame.positions - ideal @ frame.cell.array for frame in (other, one))
        assert np.allclose(moved, as_before, atol=3e-8)


def test_a_decorated_configuration_is_made_again_from_its_info(tmp_path) -> None:
    supercells = find_supercells(cu3au(), 2)
    choices = {"Cu": ("Cu", "Au"), "Au": ("Cu", "F")}
    frames = make_configurations(
        supercells, per_supercell=6, unit_cells=4, substitute=choices, vegard={"Cu": 3.6, "Au": 4, "F": 3}
    )
    write(tmp_path / "frames.extxyz", frames)
    for frame, again in zip(frames, read(tmp_path / "frames.extxyz", ":"), strict=True):
        made = remake_configuration(supercells.atoms, again.info)
        assert np.array_equal(made.numbers, frame.numbers)
        assert np.array_equal(made.positions, frame.positions)
        assert np.array_equal(made.cell.array, frame.cell.array)


def test_masses_moments_and_charges_are_those_of_the_new_elements() -> None:
    atoms = bulk("Cu")
    atoms.set_masses([65.0])
    atoms.set_initial_charges([0.5])
    frames = make_configurations(find_supercells(atoms, 2), per_supercell=4, unit_cells=0, substitute=CUAU)
    for frame in frames:
        gold = frame.numbers == 79
        assert np.allclose(frame.get_masses(), np.where(gold, 196.96657, 65.0), atol=1e-3)
        assert np.allclose(frame.get_initial_charges(), np.where(gold, 0.0, 0.5))


def test_composition_is_part_of_the_kind() -> None:
    frames = make_configurations(
        find_supercells(bulk("Cu"), 2), per_supercell=9, unit_cells=0, scale=1.0, substitute=CUAU
    )
    kinds = {(kind[0], kind[1], kind[4:]) for kind in strata(frames)}
    assert len(kinds) == 2 * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('substitute = {Ni = ["Cu"]}', "substitute names Ni, and the crystal has Cu"),
        ('substitute = {Cu = ["Cu", "Xx"]}', "'Xx' is not a chemical symbol"),
        ('substitute = {Cu = "Cu"}', "not substituted by any other"),
        ('substitute = {Cu = ["Au", "W"]}', "does not know W"),
        ("vegard = {Cu = 3.6}", "only has an effect with substitute"),
        ('substitute = {Cu = "Au"}\nvegard = {Cu = 3.6}', "vegard has no lattice constant for Au"),
        ('substitute = {Cu = "Au"}\nconcentration_restrictions = {Au = [0.5, 0.2]}', "ends before it begins"),
        ('substitute = {Cu = "Au"}\nconcentration_restrictions = {Ag = [0, 1]}', "names Ag, and there are Au, Cu"),
    ],
)
def test_mistakes_are_found_before_anything_is_computed(tmp_path, line: str, message: str) -> None:
    text = f'[crystal]\nstructure = "Cu"\n[supercells]\ngrid = 2\n[configurations]\n{line}\n'
    with pytest.raises(InputError, match=message):
        make_plan(parse_config(text), tmp_path, compute=False, relax=False)


def test_a_run_knows_all_its_elements(tmp_path) -> None:
    text = (
        '[crystal]\nstructure = "Cu"\nrelax = false\n[supercells]\ngrid = 2\n[fit]\ne0 = "{e0}"\n[configurations]\n'
        'substitute = {{Cu = ["Cu", "Au"]}}\nvegard = {{Cu = 3.6, Au = 4.05}}\nper_supercell = 6\nunit_cells = 3\n'
    )
    plan = make_plan(parse_config(text.format(e0="isolated")), tmp_path)
    assert plan.symbols == ["Au", "Cu"]
    assert plan.fit_size.n_species == 2
    assert {str(one.atoms.symbols) for one in plan.single_atoms} == {"Au", "Cu"}
    assert len(plan.configurations) == plan.n_configurations
    assert len(plan.compositions) == 3
    plan = make_plan(parse_config(text.format(e0="fit")), tmp_path)
    assert not any("e0" in note for note in check_plan(plan, tmp_path))
    plan = make_plan(parse_config(text.format(e0="average")), tmp_path)
    assert any("there are several compositions" in note for note in check_plan(plan, tmp_path))
    assert math.isclose(sum(len(frame) for frame in plan.configurations), plan.own_size.n_atoms)


def test_the_ends_of_a_range_of_composition_have_one_element_on_all_sites_of_one() -> None:
    crystal = bulk("GaAs", "zincblende", a=5.65)
    both = {"Ga": ("Ga", "In"), "As": ("As", "P")}
    found = [Atoms(numbers).symbols.get_chemical_formula() for numbers in end_members(crystal, both)]
    assert sorted(found) == ["AsIn", "GaP", "InP"]
    assert end_members(crystal, both, {"In": (0.0, 0.25), "P": (0.0, 0.25)}) == []
    settings = ConfigurationSettings(
        name="mixed", substitute=both, vegard={"Ga": 5.65, "In": 6.06, "As": 5.65, "P": 5.45}
    )
    ends = {frame.get_chemical_formula(): frame for frame in end_configurations(Crystal.from_atoms(crystal), settings)}
    assert ends["AsIn"].cell.lengths() == pytest.approx(crystal.cell.lengths() * (6.06 + 5.65) / 11.3)
    assert ends["AsIn"].get_scaled_positions() == pytest.approx(crystal.get_scaled_positions())
    for frame in ends.values():
        again = remake_configuration(crystal, frame.info)
        assert np.array_equal(again.numbers, frame.numbers)
        assert np.array_equal(again.cell.array, frame.cell.array)
    assert end_configurations(Crystal.from_atoms(crystal), ConfigurationSettings()) == []


def test_the_ends_of_a_sheet_are_larger_in_its_plane_only() -> None:
    sheet = bulk("Al", "fcc", a=4.05, cubic=True)[[0]]
    sheet.set_cell([2.86, 2.86, 12.0])
    sheet.pbc = (True, True, False)
    settings = ConfigurationSettings(substitute={"Al": ("Al", "Au")}, vegard={"Al": 2.86, "Au": 2.98})
    (end,) = end_configurations(Crystal.from_atoms(sheet), settings)
    assert end.cell.lengths() == pytest.approx([2.98, 2.98, 12.0])


def test_a_choice_labels_the_ends_of_the_range_anyway(tmp_path: Path) -> None:
    text = (
        '[crystal]\nstructure = "Cu"\nrelax = false\n[supercells]\ngrid = 2\n[configurations]\nper_supercell = 6\n'
        'substitute = {{Cu = ["Cu", "Au"]}}\nvegard = {{Cu = 3.6, Au = 4.05}}\n[selection]\nmethod = "{}"\n'
    )
    plan = make_plan(parse_config(text.format("information")), tmp_path)
    assert [frame.info["ndsc_name"] for frame in plan.end_members] == ["unit-Au"]
    assert plan.end_members[0].get_volume() == pytest.approx((4.05 / 3.6) ** 3 * plan.crystal.atoms.get_volume())
    assert len(plan.configurations) == plan.n_configurations == len(plan.candidates) + 2
    assert [len(frame) for frame in plan.to_label[:2]] == [1, 1]
    assert make_plan(parse_config(text.format("all")), tmp_path).end_members == []


def test_displacements_of_a_temperature_are_those_of_the_crystal_itself() -> None:
    with pytest.raises(InputError, match="substitute cannot be combined with temperature"):
        parse_config(
            '[crystal]\nstructure = "Cu"\n[supercells]\ngrid = 2\n[configurations]\ntemperature = 300\n'
            'substitute = {Cu = ["Cu", "Au"]}\n'
        )
