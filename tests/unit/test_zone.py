import numpy as np
import pytest
from ase.build import bulk, graphene
from typer.testing import CliRunner

from ndsc.cli.app import app
from ndsc.errors import InputError
from ndsc.qgrid import irreducible_qpoints, is_commensurate
from ndsc.report import zone_data, zone_figure
from ndsc.report.zone import Zone, holders, projected
from ndsc.supercells import find_supercells


@pytest.mark.parametrize(
    ("atoms", "faces"),
    [
        (bulk("Po", "sc", a=3.3), 6),
        (bulk("Al"), 14),  # truncated octahedron
        (bulk("W"), 12),  # rhombic dodecahedron
        (bulk("Mg"), 8),  # hexagonal prism
        (bulk("Al", cubic=True), 6),
    ],
    ids=["sc", "fcc", "bcc", "hcp", "conventional"],
)
def test_zone_has_the_faces_of_its_lattice_and_the_volume_of_the_reciprocal_cell(atoms, faces):
    zone = Zone.of(atoms.cell.array)
    assert len(zone.faces) == faces
    assert zone.volume == pytest.approx(1.0 / atoms.get_volume(), rel=1e-9)


def test_zone_does_not_depend_on_the_setting_of_the_lattice():
    skewed = np.array([[1, 3, -2], [0, 1, 4], [0, 0, 1]]) @ bulk("Mg").cell.array
    assert len(Zone.of(skewed).faces) == 8
    assert Zone.of(skewed).volume == pytest.approx(1.0 / bulk("Mg").get_volume())


def test_every_qpoint_of_the_grid_is_in_the_zone_and_held_by_the_supercells_that_are_named():
    supercells = find_supercells(bulk("Mg"), (3, 3, 2))
    data = zone_data(supercells)
    points = data.drop_duplicates(["q1", "q2", "q3"])
    assert len(points) == 18
    reciprocal = np.linalg.inv(supercells.atoms.cell.array).T
    around = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), axis=-1).reshape(-1, 3) @ reciprocal
    for row in data.itertuples():
        place, q = np.array([row.x, row.y, row.z]), (row.q1, row.q2, row.q3)
        # No reciprocal lattice vector is nearer than the origin, and the place is equivalent to q.
        assert np.linalg.norm(place) <= np.linalg.norm(place - around, axis=1).min() + 1e-9
        difference = place @ supercells.atoms.cell.array.T - q
        np.testing.assert_allclose(difference, np.rint(difference), atol=1e-9)
        names = [f"s{i:03d}" for i, m in enumerate(supercells.matrices) if is_commensurate(m, q, supercells.grid)]
        assert row.holders.split() == names
        assert row.rotated == (not names)
        if names:
            assert f"s{row.supercell:03d}" == names[0]


def test_equivalent_places_on_the_surface_are_all_there():
    # L of fcc lies on two opposite hexagons, W on six corners, X on two squares.
    data = zone_data(find_supercells(bulk("Al"), 4)).groupby(["q1", "q2", "q3"]).size()
    assert (data[(0.5, 0.0, 0.0)], data[(0.5, 0.5, 0.0)], data[(0.0, 0.0, 0.0)]) == (2, 2, 1)
    assert data[(0.25, 0.5, 0.75)] == 4


def test_every_star_has_a_qpoint_that_a_supercell_holds():
    supercells = find_supercells(bulk("Si"), 4)
    numerators = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    held = holders(supercells, numerators)
    # A supercell of n cells holds n q-points of its own lattice.
    np.testing.assert_array_equal(held.sum(axis=0), supercells.sizes)
    stars = irreducible_qpoints(supercells.crystal, 4)
    found = {tuple(q) for q in numerators[held.any(axis=1)]}
    for q in stars.numerators:
        images = {tuple(np.mod(rotation @ q, 4)) for rotation in supercells.rotations}
        assert images & found


def test_figure_draws_each_place_once_in_the_colour_of_its_supercell():
    supercells = find_supercells(bulk("Si"), 3)
    data = zone_data(supercells)
    axes = zone_figure(supercells, data).axes[0]
    drawn = np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])
    expected = projected(data, flat=False)
    assert len(drawn) == len(expected)
    for place in expected:
        assert np.linalg.norm(drawn - place, axis=1).min() < 1e-9
    names = {points.get_gid() for points in axes.collections if len(points.get_offsets())} - {None}
    assert names <= {f"curve:s{number:03d}" for number in range(len(supercells))}


def test_a_sheet_is_seen_along_its_normal():
    atoms = graphene(vacuum=8.0)
    atoms.pbc = (True, True, False)
    supercells = find_supercells(atoms, (3, 3, 1))
    data = zone_data(supercells)
    np.testing.assert_allclose(data.z, 0.0, atol=1e-12)
    np.testing.assert_allclose(projected(data, flat=True), data[["x", "y"]])
    assert len(zone_figure(supercells, data).axes[0].collections) > 0


def test_command_draws_the_zone(tmp_path):
    target = tmp_path / "zone.svg"
    done = CliRunner().invoke(app, ["supercells", "Al", "--grid", "2", "--plot", str(target)])
    assert done.exit_code == 0
    assert target.read_bytes().startswith(b"<?xml")
    assert str(target) in done.output


@pytest.mark.parametrize("arguments", [["--plot", "zone.gif"], ["--plot", "folder.png"]])
def test_names_of_pictures_that_cannot_be_are_refused(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    done = CliRunner().invoke(app, ["supercells", "Al", "--grid", "2", *arguments])
    assert done.exit_code == 2


def test_grids_that_show_nothing_are_refused(tmp_path):
    with pytest.raises(InputError, match="8000"):
        zone_data(find_supercells(bulk("Al"), (21, 21, 21)))
    done = CliRunner().invoke(app, ["supercells", "Al", "--grid", "48", "--plot", str(tmp_path / "zone.png")])
    assert done.exit_code != 0
    assert not list(tmp_path.iterdir())
