"""Databases that others made: targets that frames lack, keys of other names, quantities that are something else."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner, Result

from ndsc.cli import app
from ndsc.database import read_database
from ndsc.errors import InputError
from ndsc.fit import FitSize, apply_regularisation
from ndsc.fit.training import check_binding, isolated_energies
from ndsc.plausibility import check_plausible

KEYS = ("--energy-key", "dft_energy", "--forces-key", "dft_force", "--virial-key", "dft_virial")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def labelled(atoms: Atoms, config_type: str = "x", *, virial: bool = True, prefix: str = "dft") -> Atoms:
    """A structure with EMT's energy, forces and virial under somebody's names."""
    frame = atoms.copy()
    atoms.calc = EMT()
    forces = "force" if prefix == "dft" else "forces"
    frame.info |= {"config_type": config_type, f"{prefix}_energy": atoms.get_potential_energy()}
    frame.arrays[f"{prefix}_{forces}"] = atoms.get_forces()
    if virial:
        frame.info[f"{prefix}_virial"] = (-atoms.get_volume() * atoms.get_stress(voigt=False)).reshape(9)
    return frame


def several_phases() -> list[Atoms]:
    """Two isolated atoms, crystals of Cu, Au and Cu3Au, a cluster and a slab."""
    frames = [
        labelled(Atoms(symbol, cell=[15] * 3, positions=[[7] * 3]), "isolated_atom", virial=False)
        for symbol in ("Cu", "Au")
    ]
    for element, a in (("Cu", 3.6), ("Au", 4.06), ("Cu3Au", 3.75)):
        for seed in range(5):
            atoms = bulk(element[:2], "fcc", a=a, cubic=True)
            if element == "Cu3Au":
                atoms.symbols[0] = "Au"
            atoms.rattle(0.05, seed=seed)
            frames.append(labelled(atoms, element))
    cluster = Atoms("Cu4", positions=[[0, 0, 0], [2.4, 0, 0], [0, 2.4, 0], [0, 0, 2.4]])
    frames.append(labelled(cluster, "cluster", virial=False))
    slab = fcc111("Cu", (1, 1, 4), a=3.6, vacuum=6)
    slab.pbc = [True, True, False]
    slab.info = {}
    return [*frames, labelled(slab, "slab", virial=False)]


@pytest.mark.gap
def test_a_database_of_several_phases_is_fitted() -> None:
    write("own.extxyz", several_phases())
    small = ("--n-sparse", "20", "--cutoff", "4", "--n-max", "4", "--l-max", "3", "--out", "pot", "--json")
    result = call("fit", "own.extxyz", *KEYS, *small)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {name: counts["read"] for name, counts in found["counts"].items() if "sigma" not in name} == {
        "energies": 19,
        "force_components": 210,
        "virial_components": 90,
    }
    # e0 comes from the isolated atoms, as gap_fit takes it.
    assert found["e0"] == {"Cu": pytest.approx(3.51, abs=0.01), "Au": pytest.approx(3.80, abs=0.01)}
    assert "energy in 19, forces in 19, virial in 15" in result.stderr
    assert "isolated atoms (0, 1)" in result.stderr
    assert "(17, 18)" in result.stderr
    averaged = call("fit", "own.extxyz", *KEYS, *small, "--e0", "Cu=3.4,Au=3.9")
    assert json.loads(averaged.stdout)["e0"] == {"Cu": 3.4, "Au": 3.9}
    assert call("fit", "own.extxyz", *KEYS, *small, "--e0", "Cu=3.4").exit_code == 2


@pytest.mark.parametrize("dialect", ["extxyz", "mace", "nep", "ace", "mtp"])
def test_a_database_of_several_phases_is_exported(dialect: str) -> None:
    write("own.extxyz", several_phases())
    result = call("export", "own.extxyz", *KEYS, "--dialect", dialect, "--out", "a$[b]@1.xyz")
    assert result.exit_code == 0, result.output
    if dialect in ("extxyz", "mace"):
        frames = read("a$[b]@1.xyz", ":", format="extxyz", do_not_split_by_at_sign=True)
        assert len(frames) == 19
        key = "REF_virial" if dialect == "extxyz" else "REF_stress"
        assert sum(key in frame.info for frame in frames) == 15
    else:
        assert "vacuum" in result.stderr  # the cluster needs a cell


def test_a_dimer_beside_a_crystal() -> None:
    crystal = bulk("Al", cubic=True)
    crystal.rattle(0.05, seed=1)
    dimer = Atoms("Al2", positions=[(5, 5, 5), (5, 5, 7.6)], cell=[10.0] * 3)
    frames = [labelled(crystal, prefix="REF"), labelled(dimer, virial=False, prefix="REF")]
    stress = -frames[0].info.pop("REF_virial") / crystal.get_volume()
    frames[0].info["REF_stress"] = stress[[0, 4, 8, 5, 2, 1]]
    write("mixed.xyz", frames, format="extxyz")
    for keys in (("--stress-key", "REF_stress"), ("--virial-key", "none", "--stress-key", "REF_stress")):
        result = call("export", "mixed.xyz", *keys, "--dialect", "extxyz", "--out", "out.xyz")
        assert result.exit_code == 0, result.output
        assert "energy in 2, forces in 2, virial in 1" in result.stderr
        written = read_database("out.xyz", allow_missing=True)
        assert np.allclose(written[0].info["REF_virial"], -crystal.get_volume() * stress, atol=1e-8)
        assert "REF_virial" not in written[1].info
    # Without its virial the file is refused by the name of the key that it has.
    assert "REF_stress" in call("export", "mixed.xyz", "--dialect", "extxyz", "--out", "x.xyz").stderr
    assert not Path("x.xyz").exists()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (("--energy-key", "dft_enrgy"), "dft_energy"),
        (("--forces-key", "dft_forces"), "dft_force"),
        (("--virial-key", "dft_viral"), "dft_virial"),
        (("--virial-key", "REF_virial"), "dft_virial"),
        (("--stress-key", "dft_stres"), "dft_virial"),
    ],
)
def test_a_key_that_no_frame_has(given: tuple[str, ...], meant: str) -> None:
    write("own.extxyz", several_phases()[2:5])
    result = call("export", "own.extxyz", *KEYS, *given, "--dialect", "extxyz", "--out", "x.xyz")
    assert result.exit_code == 2
    assert f"'{given[1]}'" in result.stderr
    assert meant in result.stderr.partition(";")[2]


@pytest.mark.parametrize(("number", "symbols"), [("0", "Cu"), ("-1", "Cu4"), ("2", "Cu4")])
def test_one_frame_of_a_database(number: str, symbols: str) -> None:
    write("own.extxyz", several_phases())
    result = call("export", f"own.extxyz@{number}", *KEYS, "--dialect", "extxyz", "--out", "one.xyz")
    assert result.exit_code == 0, result.output
    assert [str(frame.symbols) for frame in read("one.xyz", ":")] == [symbols]


@pytest.mark.parametrize("source", ["own.extxyz@19", "own.extxyz@-20", "own.extxyz@0:3", "missing.extxyz"])
def test_frames_that_are_not_there(source: str) -> None:
    write("own.extxyz", several_phases())
    Path("out.xyz").write_text("an older file")
    result = call("export", source, *KEYS, "--dialect", "extxyz", "--out", "out.xyz")
    assert result.exit_code == 2
    assert Path("out.xyz").read_text() == "an older file"


@pytest.mark.parametrize("e0", ["Al=-3,Al=-4", "Al=", "=3", "Xx=3,Al=1", "Al=nan", "-3"])
def test_tables_of_e0_that_are_refused(e0: str) -> None:
    write("own.extxyz", [labelled(bulk("Al", cubic=True))])
    result = call("fit", "own.extxyz", *KEYS, "--e0", e0)
    assert result.exit_code == 2
    assert "e0" in result.output


def test_a_database_without_any_virial() -> None:
    frames = several_phases()[2:5]
    for frame in frames:
        del frame.info["dft_virial"]
    write("own.extxyz", frames)
    result = call("export", "own.extxyz", *KEYS[:4], "--dialect", "extxyz", "--out", "x.xyz")
    assert result.exit_code == 0, result.output
    assert "3 frames without virial" in result.stderr


class TestWhatAQuantityIs:
    """A stress is not a virial, whatever its key is called."""

    @staticmethod
    def frames(*, scaled: bool = True) -> list[Atoms]:
        made = []
        for seed, scale in enumerate((0.98, 1.0, 1.02, 0.99, 1.01) if scaled else (1.0,) * 5):
            atoms = bulk("Al", a=4.0 * scale, cubic=True)
            atoms.rattle(0.03, seed=seed)
            made.append(labelled(atoms, prefix="REF"))
        return made

    def test_by_its_name(self) -> None:
        atoms = bulk("Al", a=4.0, cubic=True)
        atoms.calc = EMT()
        right = -atoms.get_volume() * atoms.get_stress(voigt=False).reshape(9)
        atoms.get_forces()
        write("ase.xyz", atoms, format="extxyz")
        bare = {"energy_key": "energy", "forces_key": "forces"}
        with pytest.raises(InputError, match="stress_key"):
            read_database("ase.xyz", **bare, virial_key="stress")
        (frame,) = read_database("ase.xyz", **bare, virial_key=None, stress_key="stress")
        assert np.allclose(frame.info["REF_virial"], right)
        keys = ("--energy-key", "energy", "--forces-key", "forces")
        for wrong in (("--virial-key", "stress"), ("--stress-key", "virial")):
            result = call("fit", "ase.xyz", *keys, *wrong)
            assert result.exit_code == 2
        with pytest.raises(InputError, match="stress_key"):
            apply_regularisation([atoms], virial_key="REF_stress")

    @pytest.mark.parametrize(
        ("factor", "word"),
        [(-1.0, "ASE's sign"), (1.0, "opposite of ASE's"), (-160.2, "GPa with ASE"), (-1602.0, "kbar with ASE")],
    )
    def test_by_the_energies(self, factor: float, word: str) -> None:
        frames = self.frames()
        for frame in frames:
            frame.info["REF_virial"] *= factor / frame.get_volume()
        write("x.xyz", frames, format="extxyz")
        with pytest.raises(InputError, match=f"virials of x.xyz.*{word}"):
            read_database("x.xyz")

    def test_a_wrong_sign(self) -> None:
        for key in ("REF_virial", "REF_forces"):
            frames = self.frames()
            for frame in frames:
                values = frame.info if key in frame.info else frame.arrays
                values[key] = -values[key]
            write("x.xyz", frames, format="extxyz")
            with pytest.raises(InputError, match="opposite sign"):
                read_database("x.xyz")

    def test_the_right_ones_pass(self, caplog: pytest.LogCaptureFixture) -> None:
        for scaled in (True, False):
            write("x.xyz", self.frames(scaled=scaled), format="extxyz")
            assert len(read_database("x.xyz")) == 5
        assert not caplog.records

    def test_the_right_ones_pass_where_stresses_would_explain_the_energies_too(self) -> None:
        """Cells of nearly one volume: what strain and volume leave unexplained is anharmonic, and goes with either."""
        random = np.random.default_rng(0)
        frames = []
        for seed in range(30):
            atoms = bulk("Cu", a=3.8).repeat((1, 1, 7))
            atoms.symbols[:] = ["Pd", "Pt", "Cu", "Cu", "Pd", "Pt", "Pd"]
            strain = random.uniform(-0.02, 0.02, (3, 3)) + random.choice([-0.02, 0.0, 0.02]) * np.eye(3)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
            atoms.rattle(0.02, seed=seed)
            atoms.calc = EMT()
            frame = atoms.copy()
            frame.info["REF_energy"] = atoms.get_potential_energy()
            frame.info["REF_virial"] = -atoms.get_volume() * atoms.get_stress(voigt=False).reshape(9)
            frame.arrays["REF_forces"] = atoms.get_forces()
            frames.append(frame)
        for _ in range(20):
            check_plausible([frames[number] for number in random.permutation(30)])

    def test_small_virials_are_warned_of_where_cells_are_equal(self, caplog: pytest.LogCaptureFixture) -> None:
        frames = self.frames(scaled=False)
        for frame in frames:
            frame.info["REF_virial"] /= -frame.get_volume()
        write("x.xyz", frames, format="extxyz")
        read_database("x.xyz")
        assert "stress" in caplog.text


class TestValuesThatCannotBe:
    """One wrong value spoils a fit, so it is refused with the number of its frame."""

    @staticmethod
    def frames() -> list[Atoms]:
        return [frame for frame in several_phases() if frame.info["config_type"] in ("Cu", "Au", "Cu3Au")]

    def spoiled(self, number: int, **values: object) -> list[Atoms]:
        frames = self.frames()
        for key, value in values.items():
            if key == "dft_force":
                frames[number].arrays[key][1, 2] = value
            else:
                frames[number].info[key] = value
        return frames

    @pytest.mark.parametrize(
        ("number", "values", "shown"),
        [
            (3, {"dft_force": 1e30}, "1e+30"),
            (11, {"dft_energy": -10_000.0}, "-10000 eV"),
            (0, {"dft_energy": 5_000.0}, "5000 eV"),
            (7, {"dft_virial": np.eye(3).ravel() * 1e9}, "2.5e+08"),
            (2, {"dft_force": np.nan}, "finite"),
        ],
    )
    def test_absurd_values(self, number: int, values: dict[str, object], shown: str) -> None:
        write("x.extxyz", self.spoiled(number, **values), format="extxyz")
        for command in (("fit",), ("export", "--dialect", "mace", "--out", "y.xyz")):
            result = call(command[0], "x.extxyz", *KEYS, *command[1:])
            assert result.exit_code == 2
            assert f"frame {number}" in result.stderr.lower()
            assert shown in result.stderr
        assert not Path("y.xyz").exists()

    def test_unusual_values_are_warned_of(self) -> None:
        write("x.extxyz", self.spoiled(4, dft_force=500.0), format="extxyz")
        result = call("export", "x.extxyz", *KEYS, "--dialect", "mace", "--out", "y.xyz")
        assert result.exit_code == 0
        assert "frame 4" in result.stderr
        assert "500" in result.stderr

    def test_atoms_on_one_site(self) -> None:
        frames = self.frames()
        frames[6].positions[1] = frames[6].positions[0] + [0, 0, 0.05] - frames[6].cell[2]
        write("x.extxyz", frames, format="extxyz")
        result = call("export", "x.extxyz", *KEYS, "--dialect", "mace", "--out", "y.xyz")
        assert result.exit_code == 2
        assert "frame 6" in result.stderr
        assert "0.05 Å" in result.stderr

    def test_one_structure_with_two_energies(self) -> None:
        frames = self.frames()[:3]
        for moment, energy in ((0.0, 0.0), (2.0, -0.4)):
            copy = frames[0].copy()
            copy.info["dft_energy"] += energy
            copy.set_initial_magnetic_moments([moment] * 4)
            frames.append(copy)
        write("x.extxyz", frames, format="extxyz")
        result = call("export", "x.extxyz", *KEYS, "--dialect", "mace", "--out", "y.xyz")
        assert result.exit_code == 0
        assert "100 meV/atom" in result.stderr
        assert "moments" in result.stderr


class TestFiles:
    """A file is read whole or not at all."""

    def test_what_would_be_passed_over(self) -> None:
        write("x.extxyz", several_phases()[2:5], format="extxyz")
        text = Path("x.extxyz").read_text()
        frame = text[: len(text) // 3]
        for broken, reason in (
            (text + "\n" + text, "blank"),
            (text.replace("config_type=Cu", "config_type=Cu config_type=Au", 1), "more than once"),
            (text[: text.rindex("Cu ")], "lacks 1 lines"),
            (text + frame[:1] + "\n", "lacks 5 lines"),
        ):
            Path("y.extxyz").write_text(broken)
            with pytest.raises(InputError, match=reason):
                read_database("y.extxyz", energy_key="dft_energy", forces_key="dft_force", virial_key="dft_virial")

    def test_compressed_and_single(self) -> None:
        write("x.extxyz", several_phases()[2:3], format="extxyz")
        with gzip.open("x.extxyz.gz", "wb") as file:
            file.write(Path("x.extxyz").read_bytes())
        result = call("export", "x.extxyz.gz", *KEYS, "--dialect", "extxyz", "--out", "deep/y.xyz.gz")
        assert result.exit_code == 0, result.output
        assert len(read_database("deep/y.xyz.gz")) == 1

    def test_places_to_write_to(self) -> None:
        write("x.extxyz", several_phases()[2:5], format="extxyz")
        Path("folder").mkdir()
        before = Path("x.extxyz").read_bytes()
        for out, dialect in (("folder", "mace"), ("folder", "extxyz"), ("x.extxyz", "mace"), ("x.extxyz", "pypolymlp")):
            result = call("export", "x.extxyz", *KEYS, "--dialect", dialect, "--out", out)
            assert result.exit_code == 2
            assert "bug" not in result.stderr
        assert Path("x.extxyz").read_bytes() == before
        assert not list(Path("folder").iterdir())


@pytest.mark.parametrize("dialect", ["extxyz", "mace", "nep", "ace", "mtp", "pypolymlp"])
def test_per_atom_data_is_kept_or_named(dialect: str) -> None:
    frames = several_phases()[2:5]
    for frame in frames:
        frame.set_initial_magnetic_moments([1.0, -1.0, 0.5, 0.0])
        frame.set_masses([62.9, 64.9, 63.5, 63.5])
    write("x.extxyz", frames, format="extxyz")
    result = call("export", "x.extxyz", *KEYS, "--dialect", dialect, "--out", "y")
    assert result.exit_code == 0, result.output
    if dialect in ("extxyz", "mace"):
        written = read("y", ":", format="extxyz")[1]
        assert np.allclose(written.get_initial_magnetic_moments(), [1.0, -1.0, 0.5, 0.0])
        assert np.allclose(written.get_masses(), [62.9, 64.9, 63.5, 63.5])
    else:
        assert "initial_magmoms of 3" in result.stderr
        assert "masses of 3" in result.stderr


@pytest.mark.gap
def test_settings_from_a_file_are_used_whole() -> None:
    write("x.extxyz", several_phases()[2:5], format="extxyz")
    Path("fit.toml").write_text(
        '[crystal]\nstructure = "Al"\n[fit]\nsolver = "numpy"\nn_sparse = 8\ncutoff = 4.0\nn_max = 4\nl_max = 3\n'
        "seed = 3\n[regularisation]\nkind = 'static'\nenergy = 0.002\n"
    )
    result = call("fit", "x.extxyz", *KEYS, "--settings", "fit.toml", "--out", "pot", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("pot/fit.json").read_text())
    assert record["solver"] == "numpy"
    recorded = record["settings"]
    assert {key: recorded[key] for key in ("solver", "n_sparse", "seed")} == {
        "solver": "numpy",
        "n_sparse": 8,
        "seed": 3,
    }
    training = read("pot/training.extxyz", format="extxyz")
    assert training.info["energy_sigma"] == pytest.approx(0.004)
    assert np.all(training.arrays["force_component_sigma"] == 0.001)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[fit]\nmethod = 'none'\n", "method"),
        ("[regularization]\nkind = 'static'\n[fit]\n", "regularisation"),
        ("[fit]\ncutoff = 0.3\n", "cutoff"),
        ("[crystal]\nstructure = 'Al'\n", "neither"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(text: str, word: str) -> None:
    write("x.extxyz", several_phases()[2:5], format="extxyz")
    Path("fit.toml").write_text(text)
    result = call("fit", "x.extxyz", *KEYS, "--settings", "fit.toml")
    assert result.exit_code == 2
    assert word in result.stderr


def test_keys_that_differ_between_frames_are_said() -> None:
    frames = several_phases()[2:6]
    frames[1].info["stress_gpa"] = frames[1].info.pop("dft_virial")
    write("x.extxyz", frames, format="extxyz")
    result = call("export", "x.extxyz", *KEYS, "--dialect", "extxyz", "--out", "y.xyz")
    assert result.exit_code == 0
    assert "virial in 3" in result.stderr
    assert "stress_gpa" in result.stderr


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda atoms: atoms.symbols.__setitem__(0, "X"), "X"),
        (lambda atoms: atoms.set_cell([[4, 0, 0], [8, 0, 0], [0, 0, 4]]), "volume"),
        (lambda atoms: atoms.__delitem__(slice(None)), "atoms"),
    ],
)
def test_frames_that_are_not_structures(change: Callable[[Atoms], None], word: str) -> None:
    frames = several_phases()[2:6]
    change(frames[2])
    with pytest.raises(InputError, match=f"[Ff]rame 2 .*{word}"):
        check_plausible(frames)


def test_isolated_atoms_in_huge_cells_take_no_time() -> None:
    atom = Atoms("Cu", cell=[1000.0] * 3, pbc=True, info={"REF_energy": 1.0})
    started = time.perf_counter()
    assert check_plausible([atom]) == []
    assert isolated_energies([atom], 6.0) == {"Cu": 1.0}
    assert FitSize.of_frames([atom], 6.0).n_pairs == 1
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize(("e0", "fails"), [(-3.0, False), (1000.0, True)])
def test_e0_of_another_code(e0: float, fails: bool) -> None:
    frames = several_phases()[2:6]
    for frame in frames:
        frame.info["REF_energy"] = frame.info["dft_energy"]
    if fails:
        with pytest.raises(InputError, match="away from e0"):
            check_binding(frames, {"Cu": e0})
    else:
        assert check_binding(frames, {"Cu": e0}) == []
        assert len(check_binding(frames, {"Cu": 40.0})) == 1


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        read_database(tmp_path)
