"""Grids of k-points that do not fold exactly into a supercell are refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner, Result

from ndsc import CalculatorSpec, LabelStore, find_supercells, fold_kpoints, label_configurations, make_configurations
from ndsc.cli import app
from ndsc.errors import InputError

PARAMETERS = '{"mode": {"name": "pw", "ecut": 300}}'
PHONONS = ["phonons", "Al", "--calculator", "gpaw", "--parameters", PARAMETERS, "--relax"]
GENERAL = "[[4, 4, 4], [0, 8, 0], [0, 0, 8]]"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def smooth(k: np.ndarray) -> float:
    x, y, z = (2 * np.pi * k).T
    return float(np.exp(2 * np.cos(x) + 1.5 * np.cos(y) + np.cos(z - x)).mean())


def unfolded(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    inverse, size = np.linalg.inv(matrix), round(np.linalg.det(matrix))
    whole = np.stack(np.meshgrid(*[np.arange(size)] * 3), axis=-1).reshape(-1, 3)
    shifts = np.unique(np.rint(whole @ inverse.T * size).astype(int) % size, axis=0) / size
    return (points @ inverse.T + shifts[:, None]).reshape(-1, 3)


@pytest.mark.parametrize(("grid", "kgrid"), [(3, 6), (4, 4), (2, 4)])
def test_a_grid_that_folds_samples_every_supercell_as_the_unit_cell(grid: int, kgrid: int) -> None:
    of_unit_cell = smooth(fold_kpoints(np.eye(3, dtype=int), kgrid))
    for matrix in find_supercells(bulk("Al"), grid).matrices:
        points = fold_kpoints(matrix, kgrid)
        assert len(points) * round(np.linalg.det(matrix)) == kgrid**3
        assert smooth(unfolded(matrix, points)) == pytest.approx(of_unit_cell, rel=1e-12)


@pytest.mark.parametrize(("grid", "kgrid"), [(3, 4), (2, 3), (4, 6), (6, 8)])
def test_one_that_does_not_is_refused_by_every_way_to_a_label(grid: int, kgrid: int) -> None:
    supercells = find_supercells(bulk("Al"), grid)
    with pytest.raises(InputError, match="does not fold"):
        [fold_kpoints(matrix, kgrid) for matrix in supercells.matrices]
    spec = CalculatorSpec("gpaw", {"mode": "pw"}, (kgrid, kgrid, kgrid))
    frames = make_configurations(supercells, per_supercell=1)
    with pytest.raises(InputError, match="does not fold"):
        label_configurations(frames, spec, LabelStore("labels"))
    assert not Path("labels").exists()


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["--grid", "3", "--kgrid", "4"], ["[3, 3, 3]", "[6, 6, 6]"]),
        (["--grid", "3", "--kgrid", "4", "--diagonal"], ["[3, 3, 3]", "[6, 6, 6]"]),
        (["--grid", "4", "--kgrid", "4", "4", "2"], ["[4, 4, 4]"]),
        (["--grid", "3", "--kgrid", GENERAL], ["[6, 6, 6]"]),
    ],
)
def test_phonons_name_the_nearest_that_do(arguments: list[str], nearest: list[str]) -> None:
    result = call(*PHONONS, *arguments)
    assert result.exit_code == 2
    assert all(grid in result.stderr for grid in nearest)


@pytest.mark.parametrize(
    "sections",
    [
        "[supercells]\ngrid = 3\n[fit]\nmethod = 'none'\n",
        "[supercells]\ngrid = 3\nkind = 'diagonal'\n[fit]\nmethod = 'none'\n",
        "[supercells]\ngrid = 2\n[phonons]\ngrid = 3\n",
        "[supercells]\ngrid = 2\n[phonons]\ngrid = 3\nreference = 'diagonal'\n",
    ],
)
def test_a_run_refuses_them_even_dry(sections: str) -> None:
    Path("al.toml").write_text(
        f"[crystal]\nstructure = 'Al'\n{sections}"
        "[reference]\ncalculator = 'gpaw'\nkgrid = 4\nparameters = {mode = 'pw'}\n"
    )
    for options in (["--dry-run"], []):
        result = call("run", "al.toml", *options)
        assert result.exit_code == 2
        assert "does not fold" in result.stderr
    assert not Path("al").exists() or not list(Path("al").rglob("*.json"))


def test_a_convergence_scan_refuses_them() -> None:
    source = ["converge", "Al", "--grid", "3", "--calculator", "gpaw", "--parameters", PARAMETERS]
    for arguments in (["--kgrid", "6", "--scan", "kgrid=3,4,6"], ["--kgrid", "4", "--scan", "cutoff"]):
        for options in (["--dry-run"], []):
            result = call(*source, *arguments, *options)
            assert result.exit_code == 2
            assert "[3, 3, 3]" in result.stderr


def test_the_unit_cell_takes_any_grid() -> None:
    assert len(fold_kpoints(np.eye(3, dtype=int), (5, 4, 7))) == 140
    CalculatorSpec("gpaw", {"mode": "pw"}, (5, 5, 5)).check(bulk("Al"))
