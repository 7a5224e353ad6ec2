"""Band data and pictures of ``ndsc phonons`` and ``ndsc elastic``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from pandas import read_csv
from scipy.integrate import trapezoid
from typer.testing import CliRunner

from ndsc.cli import app
from ndsc.cli.showing import listed, summarised
from ndsc.phonon_path import band_path
from ndsc.phonons import phonons_from_supercells
from ndsc.report import band_structure, elastic_figure
from ndsc.report.elastic_shape import in_plane_modulus, young_modulus_along

HEADS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def found():
    return phonons_from_supercells(bulk("Al"), 2, EMT())


def test_frequencies_along_the_path_are_those_of_each_qpoint(found):
    bands = band_structure(found, npoints=40)
    expected = np.sort(found.phonopy.run_qpoints(bands.path.qpoints).frequencies, axis=1)
    np.testing.assert_allclose(bands.frequencies, expected, atol=1e-9)
    # Nothing is imaginary, so that the density of states counts every band once.
    assert bands.dos_frequencies is not None
    assert trapezoid(bands.dos, bands.dos_frequencies) == pytest.approx(3.0, rel=0.02)


def test_band_data_is_that_of_phonopy_and_a_table(found):
    bands = band_structure(found, npoints=40, density=False)
    bands.write("band.yaml")
    document = yaml.safe_load(Path("band.yaml").read_text())
    points = document["phonon"]
    assert len(points) == document["nqpoint"]
    assert document["npath"] == 10
    assert document["labels"][0] == ["$\\Gamma$", "X"]
    # The last leg is behind a jump.
    assert document["labels"][-1] == ["U", "X"]
    bands.write("band.csv")
    table = read_csv("band.csv")
    assert len(table) == len(bands.path.qpoints)
    # phonopy has the ends of each leg twice, the table once unless the path jumps.
    rows = {tuple(np.round(row, 6)): row for row in table[["q1", "q2", "q3"]].to_numpy()}
    frequencies = table[["branch_1_thz", "branch_2_thz", "branch_3_thz"]].to_numpy()
    qpoints = table[["q1", "q2", "q3"]].to_numpy()
    by_q = {key: frequencies[np.all(qpoints == row, axis=1)][0] for key, row in rows.items()}
    for point in points:
        theirs = sorted(band["frequency"] for band in point["band"])
        np.testing.assert_allclose(by_q[tuple(np.round(point["q-position"], 6) + 0.0)], theirs, atol=1e-5)
    assert list(table["segment"].unique()) == [1, 2]
    labels = table["label"].fillna("")
    assert [label for label in labels if label] == list(bands.path.labels)
    first, second = table[table["label"].isin(["K", "U"])].iloc[-2:]["distance_per_angstrom"]
    assert first == second


def test_special_points_at_a_jump_have_coordinates_of_their_own():
    path = band_path(bulk("Al"), npoints=2)
    assert [name for name in path.names if name] == list(path.labels)
    jump = path.segments[1][0]
    assert (path.names[jump - 1], path.names[jump]) == ("K", "U")
    np.testing.assert_allclose(path.qpoints[jump - 1 : jump + 1], [[3 / 8, 3 / 8, 3 / 4], [5 / 8, 1 / 4, 5 / 8]])


def test_a_command_draws_and_writes_band_data():
    call = CliRunner().invoke
    files = ["--plot", "out/al.svg", "--band", "out/al.csv"]
    result = call(app, ["phonons", "Al", "--grid", "2", *files], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Written: out/al.svg" in result.stdout
    assert Path("out/al.svg").read_bytes().startswith(HEADS[".svg"])
    assert len(read_csv("out/al.csv")) > 250
    for suffix in (".png", ".pdf"):
        result = call(app, ["elastic", "Al", "--clamped", "--plot", f"al{suffix}", "--json"], catch_exceptions=False)
        assert json.loads(result.stdout)["constants"]["C11"] > 0
        assert Path(f"al{suffix}").read_bytes().startswith(HEADS[suffix])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["phonons", "Al", "--grid", "2", "--plot", "al.jpg"], "al.jpg cannot be written: the suffix"),
        (["phonons", "Al", "--grid", "2", "--band", "al.dat"], "al.dat: the suffix"),
        (["phonons", "Al", "--grid", "2", "--band", "folder.csv"], "it is a folder"),
        (["elastic", "Al", "--plot", "folder.png"], "it is a folder"),
        (["elastic", "Al", "--plot", "file/al.png"], "is a file"),
    ],
)
def test_files_that_cannot_be_written_are_refused_first(options: list[str], said: str):
    Path("folder.csv").mkdir()
    Path("folder.png").mkdir()
    Path("file").touch()
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "perfect supercells" not in result.stderr


def test_tables_of_many_branches_are_short():
    heads = [["Γ", "0 0 0", "exact"], ["X", "0.5 0 0.5", ""]]
    frequencies = [[-0.0001, 0.0, 0.0001, -1.5, 2.0, 3.0, 4.0, 9.0], [-2.0, -1.0, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0]]
    rows = listed(heads, frequencies)
    assert [row[0] for row in rows] == ["Γ", "", "X", ""]
    assert [float(value) for value in rows[3][3].split()] == [4.0, 8.0]
    assert summarised(heads, frequencies) == [
        ["Γ", "0 0 0", "exact", 1, "-1.500", "3.000", "9.000"],
        ["X", "0.5 0 0.5", "", 2, "-2.000", "1.500", "8.000"],
    ]


def test_young_modulus_by_direction_is_the_closed_form_of_a_cubic_crystal():
    c11, c12, c44 = 108.0, 62.0, 28.0
    matrix = np.diag([c11 - c12] * 3 + [c44] * 3) + np.pad(np.full((3, 3), c12), (0, 3))
    compliance = np.linalg.inv(matrix)
    s11, s12, s44 = compliance[0, 0], compliance[0, 1], compliance[3, 3]
    rng = np.random.default_rng(0)
    n = rng.normal(size=(20, 3))
    n /= np.linalg.norm(n, axis=1)[:, None]
    x, y, z = n.T
    inverse = s11 - 2 * (s11 - s12 - s44 / 2) * (x**2 * y**2 + y**2 * z**2 + z**2 * x**2)
    np.testing.assert_allclose(young_modulus_along(compliance, n), 1 / inverse, rtol=1e-12)


def test_an_isotropic_sheet_has_one_modulus():
    c11, c12 = 350.0, 60.0
    sheet = {"C11": c11, "C22": c11, "C12": c12, "C66": (c11 - c12) / 2}
    moduli = in_plane_modulus(sheet, np.linspace(0, 2 * np.pi, 7))
    np.testing.assert_allclose(moduli, (c11**2 - c12**2) / c11, rtol=1e-12)


def test_a_picture_of_an_unstable_crystal_has_the_matrix_alone():
    from ndsc.elastic import ElasticConstants

    matrix = np.diag([100.0, 100.0, 100.0, -5.0, 30.0, 30.0])
    unstable = ElasticConstants(matrix, {}, "triclinic", True, 0.01, np.zeros(6), 1)
    assert len(elastic_figure(unstable).axes) == 1
    stable = ElasticConstants(np.abs(matrix), {}, "triclinic", True, 0.01, np.zeros(6), 1)
    assert len(elastic_figure(stable).axes) == 2


def test_a_crystal_without_symmetry_is_solved_at_each_q_point():
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.02, seed=1)
    found = phonons_from_supercells(atoms, 1, EMT(), residual_force_limit=10.0)
    assert found.route == "dynamical"
