"""What a fit is expected to need in memory, beside what gap_fit was measured to need."""

from __future__ import annotations

import os

import pytest
from ase.build import bulk
from typer.testing import CliRunner

from ndsc import find_supercells, make_configurations
from ndsc.cli import app
from ndsc.errors import InputError
from ndsc.fit import FitSize, GapSettings, check_fit_memory, fit_memory


@pytest.mark.parametrize(
    ("n_species", "n_frames", "n_atoms", "n_pairs", "settings", "measured"),
    [
        (2, 30, 120, 9024, {"n_sparse": 10}, 0.645),
        (2, 12, 48, 3582, {"n_sparse": 10}, 0.278),
        (1, 60, 240, 32400, {"cutoff": 8.0, "n_sparse": 10}, 0.615),
        (3, 12, 48, 2064, {"cutoff": 5.0, "n_sparse": 10}, 0.369),
        (1, 300, 1200, 15600, {"cutoff": 4.0, "n_max": 4, "l_max": 3, "n_sparse": 1000}, 0.171),
    ],
)
def test_as_measured(
    n_species: int, n_frames: int, n_atoms: int, n_pairs: int, settings: dict[str, float], measured: float
) -> None:
    size = FitSize(n_species, n_frames, n_atoms, n_pairs, n_pairs // n_frames)
    settings = {"solver": "gap_fit", **settings}
    assert measured < fit_memory(GapSettings(**settings), size) / 1e9 < 1.25 * measured + 0.12


def test_the_fit_in_numpy_as_measured() -> None:
    # Three primitive cells of the garnet Ca3Al2Si3O12; the peak is the evaluation by quippy.
    size = FitSize(n_species=4, n_frames=3, n_atoms=240, n_pairs=21266, n_pairs_of_one=4219, n_atoms_of_one=80)
    assert fit_memory(GapSettings(), size) / 1e9 == pytest.approx(0.506, rel=0.1)
    hundred = FitSize(n_species=4, n_frames=100, n_atoms=16000, n_pairs=1430400, n_pairs_of_one=8352)
    assert fit_memory(GapSettings(), hundred) < 8e9


def test_the_size_is_known_without_the_database() -> None:
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    supercells = find_supercells(crystal, 2)
    frames = make_configurations(supercells, per_supercell=3, unit_cells=2, strain=0.0, scale=1.0, seed=1)
    counts = {len(frame): 0 for frame in frames}
    for frame in frames:
        counts[len(frame)] += 1
    before = FitSize.of_supercells(crystal, counts, 5.0)
    after = FitSize.of_frames(frames, 5.0)
    assert (before.n_species, before.n_frames, before.n_atoms) == (2, len(frames), sum(map(len, frames)))
    assert before.n_pairs == pytest.approx(after.n_pairs, rel=0.1)
    assert before.n_pairs_of_one == pytest.approx(after.n_pairs_of_one, rel=0.2)


def test_too_large_a_fit_names_what_needs_less() -> None:
    size = FitSize(n_species=4, n_frames=100, n_atoms=8000, n_pairs=8000 * 90, n_pairs_of_one=160 * 90)
    one = GapSettings(solver="gap_fit")
    assert fit_memory(one, size) > 100e9
    with pytest.raises(InputError, match="solver = 'numpy'"):
        check_fit_memory(one, size, limit_gb=8.0)
    assert check_fit_memory(GapSettings(), size, limit_gb=8.0) < 8.0
    with pytest.raises(InputError, match=r"are allowed\. Lower cutoff"):
        check_fit_memory(GapSettings(), size, limit_gb=0.5)


def test_a_run_is_refused_before_its_labels(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr("ndsc.fit.memory.available_memory_mb", lambda: 100.0)
    with open("run.toml", "w") as file:
        file.write("[crystal]\nstructure = 'Cu'\n[supercells]\ngrid = 4\n[selection]\nmethod = 'all'\n")
    pytest.importorskip("quippy")
    for extra in (["--dry-run"], []):
        result = CliRunner().invoke(app, ["run", "run.toml", *extra])
        assert result.exit_code == 2
        assert "GB of memory" in result.stderr
    assert sorted(os.listdir()) == ["run.toml"]


def test_a_choice_is_refused_before_its_labels(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr("ndsc.workflow.selection_effort.available_memory_mb", lambda: 150.0)
    with open("run.toml", "w") as file:
        file.write("[crystal]\nstructure = 'Cu'\n[supercells]\ngrid = 4\n")
    pytest.importorskip("quippy")
    for extra in (["--dry-run"], []):
        result = CliRunner().invoke(app, ["run", "run.toml", *extra])
        assert result.exit_code == 2
        assert "[selection] candidates" in " ".join(result.stderr.split())
    assert sorted(os.listdir()) == ["run.toml"]
