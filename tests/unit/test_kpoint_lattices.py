"""Generalised k-point grids: what they sample, that they fold, and that none better is missed."""

from __future__ import annotations

import itertools
import json
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ndsc import (
    CalculatorSpec,
    Crystal,
    LabelStore,
    find_kpoint_lattices,
    find_supercells,
    fold_kpoints,
    hermite_normal_forms,
    label_configurations,
    make_configurations,
)
from ndsc.cli import app
from ndsc.config import load_config
from ndsc.convergence import kgrids_around
from ndsc.errors import InputError
from ndsc.kpoints import k_spacing, kgrid_matrix, kgrid_size, kgrid_text, normal_kgrid
from ndsc.reference import reduced_kpoints
from ndsc.reference.label_file import recorded_spec

BCC_OF_FCC = [[12, -4, -4], [-4, 12, -4], [-4, -4, 12]]
SMALL = st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=3, max_size=3)

CRYSTALS = {
    "fcc": (bulk("Al", a=4.04), (2, 2, 2)),
    "bcc": (bulk("W", a=3.2), (2, 2, 2)),
    "sc": (bulk("Po", "sc", a=3.3), (2, 2, 2)),
    "diamond": (bulk("Si", a=5.47), (2, 2, 2)),
    "hcp": (bulk("Mg", a=3.2, c=5.2), (2, 2, 1)),
    "triclinic": (Atoms("Po", cell=[[3, 0.1, 0.2], [0.4, 3.6, 0.3], [0.5, 0.6, 4.1]], pbc=True), (1, 2, 1)),
    "a grid that breaks the symmetry": (bulk("Al", a=4.04), (1, 1, 2)),
}


@pytest.fixture
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def points_slowly(matrix: list[list[int]]) -> set[tuple[Fraction, ...]]:
    """All k with whole ``B k``, in exact fractions, by trying every multiple of 1 / det B."""
    size = abs(round(np.linalg.det(matrix)))
    numerators = np.array(list(itertools.product(range(size), repeat=3)))
    kept = numerators[np.all(numerators @ np.array(matrix).T % size == 0, axis=1)]
    return {tuple(Fraction(int(n), size) for n in point) for point in kept}


@settings(max_examples=60, deadline=None)
@given(SMALL, SMALL)
def test_the_points_are_those_that_are_periodic_in_the_supercell(
    grid: list[list[int]], supercell: list[list[int]]
) -> None:
    assume(0 < abs(round(np.linalg.det(grid))) <= 24 and round(np.linalg.det(supercell)) != 0)
    points = points_slowly(grid)
    assert len(points) == kgrid_size(grid)
    folded = set()
    for k in points:
        image = [sum(row[j] * k[j] for j in range(3)) % 1 for row in supercell]
        folded.add(tuple(x - 1 if x > Fraction(1, 2) else x for x in image))
    expected = np.array([[float(x) for x in point] for point in sorted(folded)])
    assert np.array_equal(fold_kpoints(supercell, grid, exact=False), expected)


@given(SMALL, st.permutations([0, 1, 2]), st.integers(-3, 3))
def test_one_lattice_has_one_spelling(matrix: list[list[int]], order: list[int], times: int) -> None:
    assume(round(np.linalg.det(matrix)) != 0)
    other = np.array(matrix)[order]
    other[0] += times * other[1]
    assert normal_kgrid(other) == normal_kgrid(matrix)
    assert kgrid_size(matrix) == abs(round(np.linalg.det(matrix)))


def test_a_diagonal_lattice_is_three_numbers() -> None:
    assert normal_kgrid(4) == normal_kgrid([[0, 4, 0], [0, 0, -4], [4, 8, 0]]) == (4, 4, 4)
    assert np.array_equal(
        fold_kpoints(np.eye(3), [[6, 0, 0], [0, 4, 0], [0, 0, 2]]), fold_kpoints(np.eye(3), (6, 4, 2))
    )
    assert kgrid_text(4) == "4x4x4"
    assert kgrid_text((8, 8, 4), " x ") == "8 x 8 x 4"
    assert kgrid_text(BCC_OF_FCC) == "1024 points, [[4, 4, 4], [0, 16, 0], [0, 0, 16]]"


@pytest.mark.parametrize(
    ("kgrid", "message"),
    [
        ([[1, 2, 3], [2, 4, 6], [0, 0, 1]], "lattice of k-points"),
        ([[1, 2], [3, 4], [5, 6]], "nor 3x3 whole numbers"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1.5]], "nor 3x3 whole numbers"),
        ([[1, 0, 0], [0, True, 0], [0, 0, 1]], "nor 3x3 whole numbers"),
        ([[1000, 0, 1], [0, 1000, 0], [0, 0, 1000]], "coarser grid"),
        ([[2**70, 0, 1], [0, 1, 0], [0, 0, 1]], "lattice of k-points"),
        ("888", "nor 3x3"),
    ],
)
def test_what_is_no_grid_is_refused(kgrid: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        normal_kgrid(kgrid)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_grid_has_the_symmetry_folds_into_every_supercell_and_none_better_is_missed(name: str) -> None:
    atoms, grid = CRYSTALS[name]
    n_grid = int(np.prod(grid))
    found = find_kpoint_lattices(atoms, grid, max_points=16 * n_grid)
    assert found[0].points == n_grid
    supercells = find_supercells(atoms, grid)
    rotations = Crystal.from_atoms(atoms).point_group
    kept = [W for W in rotations if np.all((np.diag(grid) @ W.T) % np.array(grid) == 0)]
    for one in found:
        points, _ = reduced_kpoints(np.eye(3), one.kgrid)
        assert len(points) == one.reduced
        own_negatives = np.all(np.isin(fold_kpoints(np.eye(3), one.kgrid), (0.0, 0.5)), axis=1).sum()
        assert 2 * one.reduced - own_negatives == one.points
        reduced_kpoints(np.eye(3), one.kgrid, rotations=kept)  # refuses a grid that a rotation does not keep
        for matrix, size in zip(supercells.matrices, supercells.sizes, strict=True):
            assert len(fold_kpoints(matrix, one.kgrid)) * size == one.points
    # Every lattice again, with lengths by brute force and symmetry in Cartesian coordinates.
    best: dict[int, float] = {}
    cell = atoms.cell.array
    cartesian = [np.linalg.inv(cell) @ W.T @ cell for W in kept]
    box = np.array([v for v in itertools.product(range(-3, 4), repeat=3) if any(v)])
    for index in range(1, 17):
        for form in hermite_normal_forms(index):
            lattice = (form * np.array(grid)) @ cell
            if all(_is_whole(lattice @ turn @ np.linalg.inv(lattice)) for turn in cartesian):
                reduced = _shorter(lattice)
                best[index] = max(best.get(index, 0.0), float(np.linalg.norm(box @ reduced, axis=1).min()))
    front: list[tuple[int, float]] = []
    for index in sorted(best):
        if not front or best[index] > front[-1][1] * (1 + 1e-9):
            front.append((index * n_grid, best[index]))
    assert [one.points for one in found] == [points for points, _ in front]
    assert [one.length for one in found] == pytest.approx([length for _, length in front])


def _is_whole(array: np.ndarray) -> bool:
    return bool(np.allclose(array, np.rint(array), atol=1e-6))


def _shorter(lattice: np.ndarray) -> np.ndarray:
    """Shorter vectors of the same lattice, so that a small box of multiples has the shortest."""
    rows = [np.array(row) for row in lattice]
    for _ in range(60):
        rows.sort(key=lambda row: float(row @ row))
        for i, j in itertools.permutations(range(3), 2):
            if i > j:
                rows[i] = rows[i] - np.rint(rows[i] @ rows[j] / (rows[j] @ rows[j])) * rows[j]
    return np.array(rows)


def test_cubic_lattices_of_an_fcc_crystal() -> None:
    # Its sublattices with all rotations are n fcc, n simple cubic and n body-centred cubic: 1, 4, 16 times n^3 points.
    found = find_kpoint_lattices(bulk("Al", a=4.0), 4, max_points=1728)
    lengths = {64: 8 * 2**0.5, 256: 16.0, 512: 16 * 2**0.5, 1024: 16 * 3**0.5, 1728: 24 * 2**0.5}
    assert {one.points: one.length for one in found} == pytest.approx(lengths)
    assert found[3].kgrid == normal_kgrid(BCC_OF_FCC)
    assert np.array_equal(kgrid_matrix(found[3].kgrid), [[4, 4, 4], [0, 16, 0], [0, 0, 16]])


def test_the_error_of_a_grid_is_the_sum_over_the_vectors_of_its_supercell() -> None:
    # The mean of exp(2 pi i k R) over a grid is 1 for R in the lattice of B, else 0: aliasing in closed form.
    matrix = np.array([[3, 1, 0], [0, 2, 1], [1, 0, 4]])
    points = fold_kpoints(np.eye(3), matrix)
    for vector in itertools.product(range(-4, 5), repeat=3):
        inside = _is_whole(np.linalg.solve(matrix.T, np.array(vector)))
        assert np.mean(np.exp(2j * np.pi * points @ np.array(vector))) == pytest.approx(float(inside), abs=1e-12)


def test_more_points_than_the_limits_are_refused() -> None:
    for wanted in (63, 64 * 301):
        with pytest.raises(InputError, match=f"max_points = {wanted} is not between 64"):
            find_kpoint_lattices(bulk("Al"), 4, max_points=wanted)


def test_the_largest_grids_are_answered_at_once_or_refused() -> None:
    begin = time.process_time()
    found = find_kpoint_lattices(bulk("Al"), 200)
    assert [one.points for one in found] == [8_000_000]
    assert found[0].reduced == (8_000_000 + 8) // 2  # k and -k are one point but for eight
    for grid, max_points in ((300, None), (200, 20_000_001)):
        with pytest.raises(InputError, match="20000000"):
            find_kpoint_lattices(bulk("Al"), grid, max_points=max_points)
    assert time.process_time() - begin < 2


def test_labels_are_kept_by_the_lattice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kpts_factory.py").write_text(
        "from ase.calculators.lj import LennardJones\n\n\n"
        "def make(kpts):\n    return LennardJones(rc=2.0 + 1e-3 * len(kpts))\n"
    )
    monkeypatch.chdir(tmp_path)
    frames = make_configurations(find_supercells(bulk("Ar", a=5.3), 2), per_supercell=1, unit_cells=1, seed=1)
    store = LabelStore(tmp_path / "labels")
    matrix = [[6, -2, -2], [-2, 6, -2], [-2, -2, 6]]
    spec = CalculatorSpec("kpts_factory:make", {}, matrix)  # type: ignore[arg-type]
    report = label_configurations(frames, spec, store, workers=1)
    assert not report.failures
    same = CalculatorSpec("kpts_factory:make", {}, [[2, 2, 2], [0, 8, 0], [0, 0, 8]])  # type: ignore[arg-type]
    assert same == spec
    other = CalculatorSpec("kpts_factory:make", {}, (4, 4, 4))
    for atoms in frames:
        key = store.key_of(atoms, same)
        label = store.get(key)
        assert label is not None
        assert label.provenance["kgrid"] == [[2, 2, 2], [0, 8, 0], [0, 0, 8]]
        assert recorded_spec(label.provenance) == spec
        assert store.key_of(atoms, other) not in store
    assert CliRunner().invoke(app, ["labels", "verify", "labels"]).exit_code == 0


def test_an_input_file_may_have_a_matrix(tmp_path: Path) -> None:
    text = '[crystal]\nstructure = "Al"\n[supercells]\ngrid = 4\n[reference]\ncalculator = "gpaw"\nkgrid = '
    file = tmp_path / "al.toml"
    file.write_text(text + str(BCC_OF_FCC))
    assert load_config(file).reference.to_spec().kgrid == normal_kgrid(BCC_OF_FCC)
    for kgrid, message in (
        ("[[1, 0, 0], [2, 0, 0], [0, 0, 1]]", "lattice of k-points"),
        ("[[1, 0], [2, 0], [0, 1]]", r"\[reference\] kgrid"),
        ("[8, 8, 0]", r"\[reference\] kgrid"),
    ):
        file.write_text(text + kgrid)
        with pytest.raises(InputError, match=message):
            load_config(file)


def test_scans_around_a_generalised_grid_have_plain_ones_below_and_above() -> None:
    grids = kgrids_around(normal_kgrid(BCC_OF_FCC), (4, 4, 4))
    assert grids == [(4, 4, 4), (8, 8, 8), normal_kgrid(BCC_OF_FCC), (12, 12, 12), (16, 16, 16)]


def test_the_spacing_of_a_generalised_grid() -> None:
    # The supercell is body-centred cubic with an edge of 8 a; the reciprocal lattice is fcc, its vectors sqrt(2) / 8 a.
    assert k_spacing(bulk("Al", a=4.0).cell.array, BCC_OF_FCC) == pytest.approx(2**0.5 / 32)


@pytest.mark.usefixtures("_in_an_empty_folder")
def test_the_command_lists_them() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["kpoints", "Al", "--grid", "4", "--max-points", "1024"])
    assert shown.exit_code == 0
    assert "[[4, 4, 4], [0, 16, 0], [0, 0, 16]]" in shown.stdout
    printed = runner.invoke(app, ["kpoints", "Al", "--grid", "4", "--max-points", "1024", "--json"])
    document = json.loads(printed.stdout)
    assert [one["points"] for one in document] == [64, 256, 512, 1024]
    assert document[2]["kgrid"] == [8, 8, 8]
    assert document[3]["kgrid"] == [[4, 4, 4], [0, 16, 0], [0, 0, 16]]
    refused = runner.invoke(app, ["kpoints", "Al", "--grid", "4", "--max-points", "10"])
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    ("option", "message"), [("[[1,0,0],[0,1,0]", "not a list of three rows"), ("[[1,0,0],[0,1,0]]", "nor 3x3")]
)
@pytest.mark.usefixtures("_in_an_empty_folder")
def test_a_matrix_on_the_command_line(option: str, message: str) -> None:
    start = ["converge", "Al", "--calculator", "gpaw", "--grid", "4", "--dry-run"]
    runner = CliRunner()
    matrix = json.dumps(BCC_OF_FCC)
    result = runner.invoke(app, [*start, "--kgrid", matrix, "--scan", f"kgrid=8,{matrix},12"])
    assert result.exit_code == 0, result.stderr
    assert "1024 points" in result.stdout
    refused = runner.invoke(app, [*start, "--kgrid", option])
    assert refused.exit_code == 2
    assert message in refused.stderr
