import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read

from ndsc.database import read_database
from ndsc.errors import InputError
from ndsc.export import DIALECTS, export_database


@pytest.fixture
def frames():
    random = np.random.default_rng(5)
    out = []
    for number in range(3):
        atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=number == 2)
        atoms.rattle(0.05, rng=random)
        tensor = random.normal(size=(3, 3))
        atoms.info |= {"REF_energy": -7.0 + number, "REF_virial": (tensor + tensor.T).ravel(), "config_type": "a b"}
        atoms.arrays["REF_forces"] = random.normal(size=(len(atoms), 3))
        out.append(atoms)
    return out


def same_structure(one, other):
    assert np.allclose(one.cell, other.cell, atol=1e-7)
    assert np.allclose(one.positions, other.positions, atol=1e-7)
    assert one.get_chemical_symbols() == other.get_chemical_symbols()


def test_extxyz_is_ours(tmp_path, frames):
    (path,) = export_database(frames, tmp_path / "x.extxyz", "extxyz")
    assert [frame.info["REF_energy"] for frame in read_database(path)] == [-7.0, -6.0, -5.0]


def test_mace_wants_stress_in_ase_sign(tmp_path, frames):
    (path,) = export_database(frames, tmp_path / "x.xyz", "mace")
    for before, after in zip(frames, read(path, ":"), strict=True):
        same_structure(before, after)
        stress = np.asarray(after.info["REF_stress"]).reshape(9)
        assert np.allclose(-stress * before.get_volume(), before.info["REF_virial"], atol=1e-12)
        assert after.info["REF_energy"] == before.info["REF_energy"]
        assert np.allclose(after.arrays["REF_forces"], before.arrays["REF_forces"], atol=1e-8)
        assert after.info["config_type"] == "a b"
    assert "REF_virial" not in path.read_text()


@pytest.mark.parametrize("dialect", ["nep", "ace"])
def test_bare_extxyz(tmp_path, frames, dialect):
    (path,) = export_database(frames, tmp_path / "train.xyz", dialect)
    for before, after in zip(frames, read(path, ":", format="extxyz"), strict=True):
        same_structure(before, after)
        assert after.get_potential_energy() == before.info["REF_energy"]
        assert np.array_equal(after.arrays["force"], before.arrays["REF_forces"])
        assert np.allclose(np.ravel(after.info["virial"]), before.info["REF_virial"], atol=1e-15)
    # GPUMD reads nine numbers in quotes, and nothing else.
    assert 'virial="' in path.read_text()
    assert "_JSON" not in path.read_text()


def parse_cfg(text):
    """A reader of its own for MLIP's cfg, straight from the format's description."""
    configurations = []
    for block in text.split("BEGIN_CFG")[1:]:
        tokens = block.split("END_CFG")[0].split("\n")
        fields = {}
        heading = None
        for line in (entry.strip() for entry in tokens if entry.strip()):
            if line.split()[0].rstrip(":") in ("Size", "Supercell", "AtomData", "Energy", "PlusStress", "Feature"):
                heading = line.split()[0].rstrip(":")
                fields[heading] = [line]
            else:
                fields[heading].append([float(word) for word in line.split()])
        configurations.append(fields)
    return configurations


def test_mtp(tmp_path, frames):
    (path,) = export_database(frames, tmp_path / "train.cfg", "mtp")
    parsed = parse_cfg(path.read_text())
    assert len(parsed) == len(frames)
    for frame, fields in zip(frames, parsed, strict=True):
        assert fields["Size"][1] == [len(frame)]
        assert np.array_equal(fields["Supercell"][1:], frame.cell.array)
        assert fields["AtomData"][0].split()[1:] == ["id", "type", "cartes_x", "cartes_y", "cartes_z", "fx", "fy", "fz"]
        atoms = np.array(fields["AtomData"][1:])
        assert np.array_equal(atoms[:, 0], np.arange(1, len(frame) + 1))
        assert [("Na", "Cl")[int(kind)] for kind in atoms[:, 1]] == frame.get_chemical_symbols()
        assert np.array_equal(atoms[:, 2:5], frame.positions)
        assert np.array_equal(atoms[:, 5:], frame.arrays["REF_forces"])
        assert fields["Energy"][1] == [frame.info["REF_energy"]]
        assert fields["PlusStress"][0].split()[1:] == ["xx", "yy", "zz", "yz", "xz", "xy"]
        virial = frame.info["REF_virial"].reshape(3, 3)
        voigt = [virial[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        assert fields["PlusStress"][1] == voigt


def test_pypolymlp_as_vaspruns(tmp_path, frames):
    mixed = frames[2][[4, 0, 5, 1, 2, 6, 3, 7]]
    paths = export_database([*frames[:2], mixed], tmp_path / "data", "pypolymlp")
    assert [path.name for path in paths] == [f"vasprun-0000{n}.xml" for n in (1, 2, 3)]
    for before, path in zip([*frames[:2], mixed], paths, strict=True):
        after = read(path, format="vasp-xml")
        order = np.argsort(before.numbers, kind="stable")
        same_structure(before[order], after)
        assert after.get_potential_energy(force_consistent=True) == pytest.approx(before.info["REF_energy"], abs=1e-12)
        assert np.array_equal(after.get_forces(), before.arrays["REF_forces"][order])
        virial = -after.get_stress(voigt=False) * after.get_volume()
        assert np.allclose(virial.ravel(), before.info["REF_virial"], atol=1e-12)


def test_pypolymlp_leaves_full_folders_alone(tmp_path, frames):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        export_database(frames, tmp_path / "data", "pypolymlp")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export_database(frames, tmp_path / "file" / "data", "pypolymlp")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "file"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_missing_is_said(tmp_path, frames, dialect):
    with pytest.raises(InputError, match="no configuration"):
        export_database([], tmp_path / "x", dialect)
    frame = frames[1].copy()
    del frame.arrays["REF_forces"]
    if dialect != "extxyz":
        with pytest.raises(InputError, match=r"[Ff]rame 1 has no forces"):
            export_database([frames[0], frame], tmp_path / "x", dialect)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dialect", ["mace", "nep", "ace", "mtp"])
def test_virials_are_optional(tmp_path, frames, dialect):
    del frames[0].info["REF_virial"]
    export_database(frames[:1], tmp_path / "x", dialect)
    with pytest.raises(InputError, match="no virial"):
        export_database(frames[:1], tmp_path / "y", "pypolymlp")


def test_isolated_atoms_are_named_for_mace(tmp_path):
    atom = Atoms("Al", cell=[15, 15, 15], info={"REF_energy": -1.0, "config_type": "isolated_atom"})
    atom.arrays["REF_forces"] = np.zeros((1, 3))
    (path,) = export_database([atom], tmp_path / "x.xyz", "mace")
    assert read(path).info["config_type"] == "IsolatedAtom"
    assert "IsolatedAtom" in export_database([atom], tmp_path / "y.xyz", "nep")[0].read_text()


def test_unknown_dialects(tmp_path, frames):
    with pytest.raises(InputError, match="Choose one of extxyz, mace"):
        export_database(frames, tmp_path / "x", "snap")
