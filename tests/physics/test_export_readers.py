"""Exported databases against a closed form, and through the readers of the programs that they are for.

The crystal is simple cubic with springs between nearest neighbours, so that energy, forces and virial are known; it is
compressed, which fixes every sign. Readers that are not installed are skipped: see docs/deployment.md for the
versions that were run.
"""

import gzip
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from ndsc.database import read_database, write_database
from ndsc.export import export_database

STIFFNESS = 2.0  # eV/Å²
REST = 3.1  # Å, longer than the bonds
KILOBAR = 1e8 / 1.602176634e-19 * 1e-30  # eV/Å³
foreign = pytest.mark.filterwarnings("ignore")  # other programs warn of what is not ours


def spring_crystal(a, u, species=("Na", "Cl")):
    """Two atoms along x, the second displaced by u along x: energy, forces and virial of the springs."""
    atoms = Atoms(species, positions=[[0, 0, 0], [a + u, 0, 0]], cell=[2 * a, a, a], pbc=True)
    along_x = np.array([a + u, a - u])
    energy = STIFFNESS / 2 * (np.sum((along_x - REST) ** 2) + 4 * (a - REST) ** 2)
    forces = np.zeros((2, 3))
    forces[:, 0] = [2 * STIFFNESS * u, -2 * STIFFNESS * u]
    virial = np.diag([-STIFFNESS * np.sum((along_x - REST) * along_x), *2 * [-STIFFNESS * 2 * (a - REST) * a]])
    return atoms, energy, forces, virial


def labelled(atoms, energy, forces, virial, config_type):
    atoms.info |= {"REF_energy": energy, "config_type": config_type}
    atoms.arrays["REF_forces"] = forces
    if virial is not None:
        atoms.info["REF_virial"] = virial.ravel()
    return atoms


@pytest.fixture
def truth():
    """What each frame holds: (atoms, energy, forces, virial or None, config_type)."""
    turned = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
    found = []
    for a, u, kind in [(3.0, 0.05, "unit_cell"), (2.9, -1e-6, "al=4,displaced"), (3.05, 0.02, "two words")]:
        atoms, energy, forces, virial = spring_crystal(a, u)
        # Rotated, so that every component is in use and an order of components cannot be wrong in silence.
        atoms.set_cell(atoms.cell.array @ turned.T, scale_atoms=True)
        found.append((atoms, energy, forces @ turned.T, turned @ virial @ turned.T, kind))
    atoms, energy, forces, _ = spring_crystal(3.2, 0.01, ("Cl", "Cl"))
    found.append((atoms, energy, forces, None, "slab"))
    single = Atoms("Na", positions=[[7.0, 7.0, 7.0]], cell=[14.0, 14.0, 14.0], pbc=True)
    found.append((single, -0.25, np.zeros((1, 3)), None, "isolated_atom"))
    return found


@pytest.fixture
def frames(truth):
    return [labelled(atoms.copy(), *rest) for atoms, *rest in truth]


def kinds(truth):
    return ["IsolatedAtom" if kind == "isolated_atom" else kind for *_, kind in truth]


def test_the_closed_form_is_the_derivative_of_its_energy():
    a, u, step = 3.0, 0.05, 1e-6
    _, _, forces, virial = spring_crystal(a, u)

    def energy(a_x, a_yz, u):
        along_x = np.array([a_x + u, a_x - u])
        return STIFFNESS / 2 * (np.sum((along_x - REST) ** 2) + 4 * (a_yz - REST) ** 2)

    force = -(energy(a, a, u + step) - energy(a, a, u - step)) / (2 * step)
    assert forces[1, 0] == pytest.approx(force, abs=1e-8)
    strained = [energy(a * (1 + e), a, u * (1 + e)) for e in (step, -step)]
    assert virial[0, 0] == pytest.approx(-(strained[0] - strained[1]) / (2 * step), abs=1e-8)
    strained = [energy(a, a * (1 + e), u) for e in (step, -step)]
    assert virial[1, 1] + virial[2, 2] == pytest.approx(-(strained[0] - strained[1]) / (2 * step), abs=1e-8)
    assert (np.diag(virial) > 0).all()  # compressed: positive virial, negative stress


def test_signs_and_units_in_the_text_of_each_file(tmp_path):
    a, u = 3.0, 0.05
    frame = labelled(*spring_crystal(a, u), "unit_cell")
    volume = 2 * a**3
    w_xx = -2 * STIFFNESS * (a * (a - REST) + u * u)
    w_yy = -2 * STIFFNESS * (a - REST) * a
    force = f"{2 * STIFFNESS * u:.8f}"

    (path,) = export_database([frame], tmp_path / "mace.xyz", "mace")
    comment = path.read_text().splitlines()[1]
    stress = np.array(comment.split('REF_stress="')[1].split('"')[0].split(), float)
    np.testing.assert_allclose(stress, np.diag([-w_xx, -w_yy, -w_yy]).ravel() / volume, atol=1e-14)
    assert force in path.read_text().splitlines()[2]

    (path,) = export_database([frame], tmp_path / "nep.xyz", "nep")
    comment = path.read_text().splitlines()[1]
    virial = np.array(comment.split('virial="')[1].split('"')[0].split(), float)
    np.testing.assert_allclose(virial, np.diag([w_xx, w_yy, w_yy]).ravel(), atol=1e-14)

    (path,) = export_database([frame], tmp_path / "train.cfg", "mtp")
    lines = [line.split() for line in path.read_text().splitlines()]
    (place,) = [n for n, words in enumerate(lines) if words and words[0] == "PlusStress:"]
    np.testing.assert_allclose(np.array(lines[place + 1], float), [w_xx, w_yy, w_yy, 0, 0, 0], atol=1e-14)

    (path,) = export_database([frame], tmp_path / "data", "pypolymlp")
    stress = read(path, format="vasp-xml").get_stress(voigt=False)
    np.testing.assert_allclose(stress * volume, -np.diag([w_xx, w_yy, w_yy]), atol=1e-8)
    text = path.read_text().split('name="stress"')[1].split("</varray>")[0]
    first = np.array(text.split("<v>")[1].split("</v>")[0].split(), float)
    np.testing.assert_allclose(first * KILOBAR * volume, [w_xx, 0, 0], atol=1e-8)  # VASP: kB, positive when compressed


@pytest.mark.parametrize("dialect", ["nep", "ace"])
def test_bare_keys_hold_the_truth_as_ase_reads_them(tmp_path, frames, truth, dialect):
    (path,) = export_database(frames, tmp_path / "train.xyz", dialect)
    for frame, (atoms, energy, forces, virial, _), kind in zip(read(path, ":"), truth, kinds(truth), strict=True):
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-12)
        assert frame.get_potential_energy() == energy
        np.testing.assert_array_equal(frame.arrays["force"], forces)
        assert ("virial" in frame.info) == (virial is not None)
        assert frame.info["config_type"] == kind


def test_pacemaker_frames_hold_the_truth(tmp_path, frames, truth):
    (path,) = export_database(frames, tmp_path / "train.pckl.gzip", "pacemaker")
    with gzip.open(path) as file:
        table = pickle.load(file)
    assert list(table["name"]) == [f"frame {number}" for number in range(5)]
    assert list(table["config_type"]) == kinds(truth)
    for row, (atoms, energy, forces, virial, _) in zip(table.itertuples(), truth, strict=True):
        np.testing.assert_allclose(row.ase_atoms.positions, atoms.positions)
        assert row.ase_atoms.calc is None
        assert row.ase_atoms.info == {}
        assert row.energy == energy
        np.testing.assert_array_equal(row.forces, forces)
        assert row.virial_weight == (virial is not None)
        if virial is not None:
            xx, yy, zz, yz, xz, xy = -row.stress * atoms.get_volume()
            np.testing.assert_allclose([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], virial, atol=1e-12)
    with pytest.raises(Exception, match=r"train\.pckl\.gzip"):
        export_database(frames, tmp_path / "train.pkl", "pacemaker")


ODD = {
    "strain": np.diag([0.01, 0.0, 0.0]),
    "nothing": None,
    "empty": "",
    "rows": [[1, 2], [3, 4]],
    "path": "a\\b=c",
    "lines": "one\ntwo",
    "said": 'the "best" one',
    "odd=key": "x=1",
}


def test_odd_texts_survive_a_round_trip(tmp_path, frames):
    frames[0].info |= ODD
    again = read_database(write_database(tmp_path / "ndsc.xyz", frames), allow_missing=True)
    assert len(again) == len(frames)
    info = again[0].info
    assert [info[key] for key in ("path", "lines", "said", "odd=key")] == ["a\\b=c", "one two", ODD["said"], "x=1"]
    np.testing.assert_array_equal(info["rows"], ODD["rows"])
    np.testing.assert_array_equal(info["strain"], ODD["strain"].ravel())
    assert not {"nothing", "empty"} & set(info)
    for one, other in zip(frames, again, strict=True):
        assert one.info["config_type"] == other.info["config_type"]


@foreign
def test_strict_readers_take_every_extended_xyz(tmp_path, frames, truth):
    extxyz = pytest.importorskip("extxyz", reason="libAtoms' reader is not installed (pip install extxyz)")
    frames[0].info |= ODD
    paths = [export_database(frames, tmp_path / f"{one}.xyz", one)[0] for one in ("mace", "nep", "ace", "extxyz")]
    for path in paths:
        for compiled in (True, False):
            found = list(extxyz.iread_dicts(str(path), use_cextxyz=compiled))
            for one, (atoms, *_), kind in zip(found, truth, kinds(truth), strict=True):
                np.testing.assert_allclose(one.arrays["pos"], atoms.positions, atol=1e-8)
                assert str(one.info["config_type"]).lower().replace("_", "") == kind.lower().replace("_", "")


@foreign
def test_mace_reads_its_file(tmp_path, frames, truth):
    data = pytest.importorskip("mace.data", reason="MACE is not installed (pip install mace-torch)")
    from mace.data.utils import KeySpecification
    from mace.tools import AtomicNumberTable

    (path,) = export_database(frames, tmp_path / "train.xyz", "mace")
    weights = {"unit_cell": 4.0, "two words": 0.5}
    single, configurations = data.load_from_xyz(
        str(path), KeySpecification.from_defaults(), config_type_weights=weights, extract_atomic_energies=True
    )
    assert single == {11: -0.25}
    assert len(configurations) == len(truth) - 1  # the isolated atom is taken out
    table = AtomicNumberTable([11, 17])
    for one, (atoms, energy, forces, virial, kind) in zip(configurations, truth, strict=False):
        assert one.config_type == kind
        assert one.weight == weights.get(kind, 1.0)
        graph = data.AtomicData.from_config(one, z_table=table, cutoff=4.0)
        assert float(graph.energy) == pytest.approx(energy, abs=1e-6)
        np.testing.assert_allclose(graph.forces.numpy(), forces, atol=1e-6)
        assert float(graph.stress_weight) == (virial is not None)
        assert float(graph.energy_weight) == float(graph.forces_weight) == 1.0
        if virial is not None:
            np.testing.assert_allclose(-graph.stress.numpy()[0] * atoms.get_volume(), virial, atol=1e-5)


@foreign
def test_calorine_reads_the_file_of_nep(tmp_path, frames, truth):
    nep = pytest.importorskip("calorine.nep", reason="calorine is not installed (pip install calorine)")
    periodic = [frame for frame in frames if "REF_virial" in frame.info]
    export_database(periodic, tmp_path / "train.xyz", "nep")
    export_database(periodic, tmp_path / "test.xyz", "nep")
    (tmp_path / "nep.in").write_text("type 2 Na Cl\n")
    # What the program nep writes beside the file: targets in its order of components, beside predictions.
    for part in ("train", "test"):
        volumes = np.array([frame.get_volume() for frame in periodic])
        six = np.array([frame.info["REF_virial"][[0, 4, 8, 1, 5, 2]] for frame in periodic])
        sizes = np.array([len(frame) for frame in periodic])
        tables = {
            "energy": np.array([[frame.info["REF_energy"] / len(frame)] for frame in periodic]),
            "force": np.concatenate([frame.arrays["REF_forces"] for frame in periodic]),
            "virial": six / sizes[:, None],
            "stress": six / volumes[:, None] / (10 * KILOBAR),
        }
        for name, table in tables.items():
            np.savetxt(tmp_path / f"{name}_{part}.out", np.hstack([table, table]))
    structures, _ = nep.read_structures(str(tmp_path))
    known = [entry for entry in truth if entry[3] is not None]
    for one, (atoms, energy, forces, virial, _) in zip(structures, known, strict=True):
        assert one.get_potential_energy() == energy
        assert one.info["energy_target"][0] * len(atoms) == pytest.approx(energy, abs=1e-12)
        np.testing.assert_allclose(one.arrays["force"], one.arrays["force_target"], atol=1e-12)
        np.testing.assert_allclose(one.arrays["force"], forces, atol=1e-12)
        np.testing.assert_allclose(np.reshape(one.info["virial"], (3, 3)), virial, atol=1e-12)
        xx, yy, zz, yz, xz, xy = one.info["virial_target"] * len(atoms)
        np.testing.assert_allclose(virial, [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], atol=1e-12)


@foreign
def test_motep_reads_the_file_of_mtp(tmp_path, frames, truth):
    cfg = pytest.importorskip("motep.io.mlip.cfg", reason="motep is not installed (pip install motep)")
    (path,) = export_database(frames, tmp_path / "train.cfg", "mtp")
    found = cfg.read_cfg(str(path), index=":", species=["Na", "Cl"])
    for one, (atoms, energy, forces, virial, _), kind in zip(found, truth, kinds(truth), strict=True):
        assert one.get_chemical_symbols() == atoms.get_chemical_symbols()
        np.testing.assert_array_equal(one.positions, atoms.positions)
        np.testing.assert_array_equal(one.cell.array, atoms.cell.array)
        assert one.get_potential_energy() == energy
        np.testing.assert_array_equal(one.get_forces(), forces)
        assert one.info["config_type"] == kind.replace(" ", "_")
        if virial is not None:
            stress = one.calc.results["stress"]
            xx, yy, zz, yz, xz, xy = -stress * atoms.get_volume()
            np.testing.assert_allclose([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], virial, atol=1e-12)


@foreign
def test_pacemaker_reads_its_file(tmp_path, frames, truth):
    preparedata = pytest.importorskip("pyace.preparedata", reason="pacemaker is not installed (pip install python-ace)")
    (path,) = export_database(frames, tmp_path / "train.pckl.gzip", "pacemaker")
    single = {"Na": -0.25, "Cl": 0.5}
    data = {"filename": str(path), "reference_energy": single}
    table = preparedata.ACEDataset(data, cutoff=4.0, evaluator_name="pyace", elements=["Na", "Cl"]).fitting_data
    assert len(table) == len(truth)
    for row, (atoms, energy, forces, _, _) in zip(table.itertuples(), truth, strict=True):
        without = energy - sum(single[symbol] for symbol in atoms.get_chemical_symbols())
        assert row.energy_corrected == pytest.approx(without, abs=1e-12)
        np.testing.assert_array_equal(row.forces, forces)
        np.testing.assert_allclose(np.asarray(row.atomic_env.x)[: len(atoms)], atoms.positions, atol=1e-12)
        assert row.w_energy == pytest.approx(1 / len(truth))


@foreign
def test_ace_jax_reads_the_file_of_ace(tmp_path, frames, truth):
    xyz = pytest.importorskip("ace_jax.fit.xyz", reason="ace-jax is not installed (pip install ace-jax)")
    (path,) = export_database(frames, tmp_path / "train.xyz", "ace")
    for one, (atoms, energy, forces, virial, _), kind in zip(xyz.read_extxyz(path), truth, kinds(truth), strict=True):
        np.testing.assert_array_equal(one.numbers, atoms.numbers)
        np.testing.assert_allclose(one.cell, atoms.cell.array, atol=1e-12)
        assert one.info["energy"] == energy
        np.testing.assert_allclose(one.arrays["force"], forces, atol=1e-12)
        assert one.info["config_type"] == kind
        assert ("virial" in one.info) == (virial is not None)
        if virial is not None:
            np.testing.assert_allclose(one.info["virial"], virial, atol=1e-12)


@foreign
def test_pypolymlp_reads_its_folder(tmp_path, frames, truth):
    parser = pytest.importorskip("pypolymlp.core.interface_vasp", reason="pypolymlp is not installed")
    periodic = [frame for frame in frames if "REF_virial" in frame.info]
    paths = export_database(periodic, tmp_path / "data", "pypolymlp")
    known = [entry for entry in truth if entry[3] is not None]
    for path, (atoms, energy, forces, virial, _) in zip(paths, known, strict=True):
        run = parser.Vasprun(str(path))
        order = np.argsort(atoms.numbers, kind="stable")
        assert run.energy == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(run.forces.T, forces[order], atol=1e-9)
        np.testing.assert_allclose(run.stress * KILOBAR * atoms.get_volume(), virial, atol=1e-6)
