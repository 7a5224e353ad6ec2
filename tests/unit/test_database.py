import hashlib
import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from ndsc import find_supercells
from ndsc.configurations import make_configurations, remake_configuration
from ndsc.database import (
    make_database,
    read_database,
    split_database,
    subset_database,
    write_database,
)
from ndsc.errors import InputError
from ndsc.reference import Label
from ndsc.targets import targets_of


def label_of(atoms, key="k"):
    copy = atoms.copy()
    copy.calc = EMT()
    energy = copy.get_potential_energy(force_consistent=True)
    return Label(key, energy, copy.get_forces(), copy.get_stress(voigt=True), 0.1)


@pytest.fixture(scope="module")
def configurations():
    return make_configurations(find_supercells(bulk("Al"), 2), per_supercell=3, seed=3)


@pytest.fixture(scope="module")
def frames(configurations):
    return make_database(configurations, {atoms.info["ndsc_name"]: label_of(atoms) for atoms in configurations})


def test_virial_is_minus_volume_times_stress_and_flat(configurations, frames):
    for atoms, frame in zip(configurations, frames, strict=True):
        copy = atoms.copy()
        copy.calc = EMT()
        stress = copy.get_stress(voigt=False)
        assert frame.info["REF_virial"].shape == (9,)
        assert np.allclose(frame.info["REF_virial"].reshape(3, 3), -atoms.get_volume() * stress, atol=1e-12)
        assert frame.info["REF_energy"] == copy.get_potential_energy(force_consistent=True)


def test_virial_is_the_derivative_of_the_energy(configurations, frames):
    # W = -dE/d(strain), by central differences of a symmetric strain; the sign is what everything depends on.
    atoms, frame = configurations[2], frames[2]
    step = 1e-5
    for i, j in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = EMT()
            energies.append(strained.get_potential_energy(force_consistent=True))
        derivative = (energies[0] - energies[1]) / (2 * step)
        assert frame.info["REF_virial"][3 * i + j] == pytest.approx(-derivative, abs=1e-5)


def test_configurations_without_labels_are_left_out(configurations):
    name = configurations[1].info["ndsc_name"]
    frames = make_database(configurations, {name: label_of(configurations[1])})
    assert [frame.info["ndsc_name"] for frame in frames] == [name]
    assert "REF_forces" not in configurations[1].arrays


def test_labels_without_stress_give_no_virial(configurations):
    label = Label("k", -1.0, np.zeros((len(configurations[1]), 3)), None, 0.1)
    (frame,) = make_database(configurations[1:2], {configurations[1].info["ndsc_name"]: label})
    assert "REF_virial" not in frame.info


@pytest.mark.parametrize("how", ["energy", "forces", "shape", "stress"])
def test_bad_labels_never_enter_a_database(configurations, how):
    atoms = configurations[1]
    good = label_of(atoms)
    energy, forces, stress = good.energy, good.forces.copy(), good.stress.copy()
    if how == "energy":
        energy = np.nan
    elif how == "forces":
        forces[0, 0] = np.inf
    elif how == "shape":
        forces = forces[:-1]
    else:
        stress[3] = np.nan
    with pytest.raises(InputError, match=atoms.info["ndsc_name"]):
        make_database([atoms], {atoms.info["ndsc_name"]: Label("k", energy, forces, stress, 0.1)})


def test_names_are_needed_and_single(configurations):
    with pytest.raises(InputError, match="no info"):
        make_database([bulk("Al")], {})
    with pytest.raises(InputError, match="second one"):
        make_database([configurations[0], configurations[0]], {})


def test_round_trip(tmp_path, frames):
    path = write_database(tmp_path / "deep" / "database.extxyz", frames)
    text = path.read_text()
    assert "_JSON" not in text
    assert " energy=" not in text
    assert " stress=" not in text
    again = read_database(path)
    for before, after in zip(frames, again, strict=True):
        assert np.allclose(after.positions, before.positions, atol=1e-8)
        assert after.info["REF_energy"] == before.info["REF_energy"]
        assert np.array_equal(after.info["REF_virial"], before.info["REF_virial"])
        assert np.allclose(after.arrays["REF_forces"], before.arrays["REF_forces"], atol=1e-8)
        assert after.info["config_type"] == before.info["config_type"]
        assert after.calc is None
    # A second trip changes nothing: what is written is what was read.
    assert write_database(tmp_path / "again.extxyz", again).read_text() == text


def test_recipes_survive_the_round_trip(tmp_path, configurations, frames):
    again = read_database(write_database(tmp_path / "database.extxyz", frames))
    for atoms, frame in zip(configurations, again, strict=True):
        remade = remake_configuration(bulk("Al"), frame.info)
        assert np.array_equal(remade.positions, atoms.positions)


def test_nothing_half_written(tmp_path, frames):
    path = tmp_path / "database.extxyz"
    path.write_text("old")
    broken = frames[1].copy()
    broken.info["REF_energy"] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write_database(path, [frames[0], broken])
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["database.extxyz"]


def test_bare_keys_are_refused(tmp_path, frames):
    frame = frames[0].copy()
    frame.info["stress"] = np.zeros(6)
    with pytest.raises(InputError, match="stress"):
        write_database(tmp_path / "x.extxyz", [frame])
    with pytest.raises(InputError, match="no configuration"):
        write_database(tmp_path / "x.extxyz", [])


def test_attached_results_are_not_written(tmp_path, frames):
    frame = frames[1].copy()
    frame.calc = SinglePointCalculator(frame, energy=5.0, forces=np.ones((len(frame), 3)))
    path = write_database(tmp_path / "x.extxyz", [frame])
    assert " energy=" not in path.read_text()
    assert ":forces:" not in path.read_text()


def test_three_by_three_matrices_become_flat(tmp_path, frames):
    frame = frames[0].copy()
    frame.info["REF_virial"] = frame.info["REF_virial"].reshape(3, 3)
    frame.info["other"] = np.arange(9.0).reshape(3, 3)
    text = write_database(tmp_path / "x.extxyz", [frame]).read_text()
    assert "_JSON" not in text
    assert 'other="0.0 1.0 2.0' in text


def foreign(tmp_path, form):
    """A frame with the bare keys of other codes; returns the file and the virial that it holds."""
    atoms = bulk("Mg", cubic=False)
    atoms.rattle(0.02, seed=1)
    virial = np.array([[1.0, 0.2, 0.3], [0.2, 2.0, 0.4], [0.3, 0.4, 3.0]])
    header = {
        "nine": 'virial="1.0 0.2 0.3 0.2 2.0 0.4 0.3 0.4 3.0"',
        "json": 'virial="_JSON [[1.0, 0.2, 0.3], [0.2, 2.0, 0.4], [0.3, 0.4, 3.0]]"',
        "old": "virial={1.0 0.2 0.3 0.2 2.0 0.4 0.3 0.4 3.0}",
        "stress": 'stress="{}"'.format(" ".join(str(x) for x in (-virial / atoms.get_volume()).ravel())),
        "voigt": 'stress="{}"'.format(
            " ".join(
                str(-virial[i, j] / atoms.get_volume()) for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
            )
        ),
    }[form]
    atoms.arrays["forces"] = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    write(tmp_path / "plain.xyz", atoms, format="extxyz")
    lines = (tmp_path / "plain.xyz").read_text().splitlines()
    lines[1] += f" energy=-7.5 {header} config_type=mine"
    path = tmp_path / "foreign.xyz"
    path.write_text("\n".join(lines) + "\n")
    return path, virial


@pytest.mark.parametrize("form", ["nine", "json", "old", "stress", "voigt"])
def test_foreign_databases(tmp_path, form):
    path, virial = foreign(tmp_path, form)
    which = {"virial_key": None, "stress_key": "stress"} if form in ("stress", "voigt") else {"virial_key": "virial"}
    (frame,) = read_database(path, energy_key="energy", forces_key="forces", **which)
    assert frame.info["REF_energy"] == -7.5
    assert np.allclose(frame.info["REF_virial"], virial.ravel(), atol=1e-9)
    assert np.allclose(frame.arrays["REF_forces"], [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    assert frame.info["config_type"] == "mine"
    assert not {"energy", "virial", "stress"} & set(frame.info)
    assert "forces" not in frame.arrays
    write_database(tmp_path / "ours.extxyz", [frame])


def test_missing_keys_name_the_frame_and_what_there_is(tmp_path):
    path, _ = foreign(tmp_path, "nine")
    with pytest.raises(InputError, match=r"energy under the key 'REF_energy'.*mean energy"):
        read_database(path)
    for allow_missing in (False, True):
        with pytest.raises(InputError, match=r"virial under the key 'vir'.*mean virial"):
            read_database(path, energy_key="energy", forces_key="forces", virial_key="vir", allow_missing=allow_missing)


def test_isolated_atoms_need_an_energy_only(tmp_path):
    atom = Atoms("Al", cell=[20, 20, 20], pbc=True, info={"REF_energy": -1.0, "config_type": "IsolatedAtom"})
    path = write_database(tmp_path / "atom.extxyz", [atom])
    (frame,) = read_database(path)
    assert frame.info["REF_energy"] == -1.0
    atom.info["config_type"] = "crystal"
    with pytest.raises(InputError, match="no forces"):
        read_database(write_database(path, [atom]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("REF_energy", "high", "not numbers"),
        ("REF_energy", [1.0, 2.0], "shape"),
        ("REF_virial", [1.0, 2.0], "nine numbers"),
        ("REF_virial", "high", "not numbers"),
        ("REF_virial", np.arange(9.0), "not symmetric"),
        ("REF_virial", np.full(9, np.nan), "not finite"),
    ],
)
def test_bad_targets(key, value, message):
    frame = bulk("Al")
    frame.info[key] = value
    with pytest.raises(InputError, match=message):
        targets_of(frame)


def test_files_that_are_no_databases(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_database(tmp_path / "missing.extxyz")
    (tmp_path / "text.xyz").write_text("this is\nno database\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_database(tmp_path / "text.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(InputError, match=r"holds no configurations|cannot be read"):
        read_database(tmp_path / "empty.xyz")


def test_split(frames):
    train, test = split_database(frames, 0.7, seed=4)
    names = [frame.info["ndsc_name"] for frame in train + test]
    assert sorted(names) == sorted(frame.info["ndsc_name"] for frame in frames)
    assert len(train) == round(0.7 * len(frames))
    assert [f.info["ndsc_name"] for f in split_database(frames, 0.7, seed=4)[0]] == names[: len(train)]
    others = {tuple(f.info["ndsc_name"] for f in split_database(frames, 0.7, seed=s)[0]) for s in range(8)}
    assert len(others) > 3
    for fraction in (0.01, 0.99):
        assert all(split_database(frames, fraction))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1, np.nan])
def test_impossible_splits(frames, fraction):
    with pytest.raises(InputError, match="cannot be split"):
        split_database(frames, fraction)


def test_subsets_are_nested_and_keep_what_they_must(frames):
    names = [
        {frame.info["ndsc_name"] for frame in subset_database(frames, size, seed=2, always=["unit_cell"])}
        for size in range(1, len(frames) + 1)
    ]
    assert [len(chosen) for chosen in names] == list(range(1, len(frames) + 1))
    assert all(small < large for small, large in itertools.pairwise(names))
    assert all("unit-0000" in chosen for chosen in names)
    with pytest.raises(InputError, match="subset"):
        subset_database(frames, len(frames) + 1)
    with pytest.raises(InputError, match="always"):
        subset_database(frames, 2, always=["supercell"])


def test_one_seed_gives_one_file(tmp_path):
    configurations = make_configurations(find_supercells(bulk("Al"), 2), per_supercell=2, seed=1)
    labels = {
        atoms.info["ndsc_name"]: Label("k", -1.5, np.zeros((len(atoms), 3)), None, 0.0) for atoms in configurations
    }
    digests = set()
    for run in range(2):
        path = write_database(tmp_path / f"{run}.extxyz", make_database(configurations, labels))
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
    assert len(read(path, index=":")) == len(configurations)
