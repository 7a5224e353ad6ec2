"""Sparse points that are chosen from structures alone."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ndsc import find_supercells
from ndsc.configurations import strata
from ndsc.errors import InputError
from ndsc.fit import GapSettings, KernelRows, choose_sparse_points
from ndsc.fit.kernels import descriptor_of
from ndsc.fit.sparse_choice import spread_over_kinds
from ndsc.fit.sparse_points import read_kernels, read_sparse_points
from ndsc.selection import make_candidates

SMALL = GapSettings(cutoff=4.0, n_max=3, l_max=2, n_sparse=20)


@pytest.fixture(scope="module")
def candidates() -> list[Atoms]:
    return make_candidates(find_supercells(bulk("Al"), 2), 100)


def test_every_kind_has_its_share_and_the_first_structure_is_there(candidates: list[Atoms]) -> None:
    kinds = strata(candidates)
    for n in (40, 60, 100):
        chosen = spread_over_kinds(candidates, n)
        assert len(chosen) == len(set(chosen)) == n
        assert chosen[0] == 0
        counts = {kind: sum(kinds[number] == kind for number in chosen) for kind in set(kinds)}
        most = max(counts.values())
        assert all(count >= most - 1 or count == kinds.count(kind) for kind, count in counts.items())


def test_atoms_are_bounded_and_fewer_places_than_kinds_are_spread_over_all_sizes(candidates: list[Atoms]) -> None:
    chosen = spread_over_kinds(candidates, n_atoms=50)
    assert 40 <= sum(len(candidates[number]) for number in chosen) <= 50
    assert {len(candidates[number]) for number in spread_over_kinds(candidates, 12)} == set(map(len, candidates))
    assert spread_over_kinds([bulk("Al") * 4], n_atoms=10) == [0]


def test_the_points_are_environments_of_the_structures_and_no_label_is_looked_at(
    candidates: list[Atoms], tmp_path: Path
) -> None:
    pytest.importorskip("quippy")
    potential = choose_sparse_points(candidates, tmp_path / "plain", SMALL)
    cutoffs, points = read_sparse_points(potential)["Al"]
    assert len(cutoffs) == len(points) == 20
    (kernel,) = read_kernels(potential)[1]
    offered = [candidates[number] for number in spread_over_kinds(candidates)]
    environments = np.vstack([descriptor_of(kernel.text).calc(frame)["data"] for frame in offered])
    distances = np.linalg.norm(environments[:, None] - points[None], axis=2).min(axis=0)
    assert distances.max() < 1e-10
    labelled = [frame.copy() for frame in candidates]
    for frame in labelled:
        frame.info["REF_energy"] = np.nan
        frame.arrays["REF_forces"] = np.ones((len(frame), 3))
    again = choose_sparse_points(labelled, tmp_path / "labelled", SMALL)
    assert np.array_equal(read_sparse_points(again)["Al"][1], points)


def test_a_choice_is_used_again_for_the_same_structures_and_settings_only(
    candidates: list[Atoms], tmp_path: Path
) -> None:
    pytest.importorskip("quippy")
    asked: list[str] = []
    first = choose_sparse_points(candidates, tmp_path, SMALL, progress=lambda task, *_: asked.append(task))
    assert asked
    asked.clear()
    isolated = SMALL.replaced(e0="isolated", solver="numpy")
    choose_sparse_points(candidates, tmp_path, isolated, progress=lambda task, *_: asked.append(task))
    assert not asked
    points = read_sparse_points(first)["Al"][1]
    choose_sparse_points(candidates, tmp_path, SMALL.replaced(n_sparse=10))
    assert len(read_sparse_points(first)["Al"][1]) == 10
    choose_sparse_points(candidates, tmp_path, SMALL)
    assert np.array_equal(read_sparse_points(first)["Al"][1], points)
    next(tmp_path.glob("gap.xml.sparseX.*")).write_text("damaged")
    choose_sparse_points(candidates, tmp_path, SMALL)
    assert np.array_equal(read_sparse_points(first)["Al"][1], points)


def test_two_species_have_kernels_of_their_own_and_rows_can_be_computed(tmp_path: Path) -> None:
    pytest.importorskip("quippy")
    crystal = bulk("NaCl", "rocksalt", a=5.64)
    candidates = make_candidates(find_supercells(crystal, 2), 60)
    potential = choose_sparse_points(candidates, tmp_path, SMALL)
    assert {symbol: len(points[0]) for symbol, points in read_sparse_points(potential).items()} == {"Na": 20, "Cl": 20}
    (rows,) = KernelRows(potential).of([crystal])
    assert rows.shape == (13, 40)
    assert np.isfinite(rows).all()


def test_nothing_to_choose_from_and_a_file_in_the_way_are_errors(candidates: list[Atoms], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no structures"):
        choose_sparse_points([], tmp_path, SMALL)
    pytest.importorskip("quippy")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        choose_sparse_points(candidates, tmp_path / "file", SMALL)
