"""[[database]]: labelled configurations of the user's own, fitted together with the labels of a run."""

import tomllib

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import GPa, Hartree

from linear_models_for_tests import PairModel
from ndsc.config import RunConfig, load_config, parse_config
from ndsc.config.files import dump_config
from ndsc.errors import InputError
from ndsc.fit import Regularisation
from ndsc.fit.databases import DatabaseSettings, TypeSettings, read_own_databases
from ndsc.fit.same_reference import check_same_reference, same_structures
from ndsc.selection.noise import Noise, most_probable_noise
from ndsc.selection.posterior import Posterior
from ndsc.selection.selector import observations
from ndsc.workflow import dry_run
from ndsc.workflow.plan import make_plan

KEYS = {"energy_key": "my_energy", "forces_key": "my_forces", "stress_key": "my_stress"}
RUN = """
[crystal]
structure = "Cu"
relax = false
[supercells]
grid = 2
[reference]
calculator = "emt"
[configurations]
per_supercell = 2
unit_cells = 2
[fit]
cutoff = 4.0
n_max = 3
l_max = 2
n_sparse = 10
{fit}
[[database]]
file = "own.extxyz"
energy_key = "my_energy"
forces_key = "my_forces"
stress_key = "my_stress"
{database}
"""


def labelled(atoms, kind=None, *, stress=True, shift=0.0, factor=1.0):
    work = atoms.copy()
    work.calc = EMT()
    out = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    out.info["my_energy"] = factor * (work.get_potential_energy() + shift * len(atoms))
    out.arrays["my_forces"] = work.get_forces()
    if stress and atoms.pbc.all():
        out.info["my_stress"] = work.get_stress()
    if kind is not None:
        out.info["config_type"] = kind
    return out


def shaken(atoms, seed, sigma=0.05, strain=0.0):
    random = np.random.default_rng(seed)
    atoms = atoms.copy()
    tensor = random.uniform(-strain, strain, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (tensor + tensor.T) / 2), scale_atoms=True)
    atoms.positions += random.normal(0, sigma, atoms.positions.shape)
    return atoms


def crystals(count=4, symbol="Cu", kind="crystal", **options):
    cell = bulk(symbol, cubic=True)
    return [labelled(shaken(cell, seed, strain=0.02), kind, **options) for seed in range(count)]


def others():
    slab = fcc100("Cu", (1, 1, 4), vacuum=6.0)
    cluster = Atoms("Cu4", positions=2.5 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.3, 0.3, 1]]))
    return [labelled(shaken(slab, 5), "slab"), labelled(shaken(cluster, 6), "cluster")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put([*crystals(), *others()])
    return tmp_path


def put(frames, file="own.extxyz"):
    write(file, frames, format="extxyz", write_results=False)


def config(database="", fit=""):
    return parse_config(RUN.format(database=database, fit=fit))


def read(**settings):
    (found,) = read_own_databases([DatabaseSettings(**{"file": "own.extxyz", **KEYS, **settings})])
    return found


# Reading


def test_frames_of_all_kinds_are_read(folder):
    found = read()
    assert found.types == ("crystal",) * 4 + ("slab", "cluster")
    assert [frame.info["ndsc_name"] for frame in found.frames] == [f"own/{number}" for number in range(6)]
    assert {frame.info["config_type"] for frame in found.frames} == {"own/crystal", "own/slab", "own/cluster"}
    for frame, (truth, kind) in zip(found.frames, zip([*crystals(), *others()], found.types, strict=True), strict=True):
        assert frame.info["REF_energy"] == pytest.approx(truth.info["my_energy"])
        assert frame.arrays["REF_forces"] == pytest.approx(truth.arrays["my_forces"], abs=1e-7)
        assert ("REF_virial" in frame.info) == (kind == "crystal")
    virial = found.frames[0].info["REF_virial"].reshape(3, 3)
    stress = crystals()[0].info["my_stress"]
    assert np.diag(virial) == pytest.approx(-found.frames[0].get_volume() * stress[:3])
    assert found.by_type["slab"] == [found.frames[4]]


def test_some_types_are_taken_and_keep_their_numbers(folder):
    found = read(config_types=["cluster", "slab"], name="mine")
    assert [frame.info["ndsc_name"] for frame in found.frames] == ["mine/4", "mine/5"]
    assert read(config_types="slab").types == ("slab",)
    put([labelled(bulk("Cu", cubic=True))])
    assert read().types == ("default",)
    assert read(config_types=["default"]).frames[0].info["config_type"] == "own/default"


def test_what_is_not_to_be_read_is_left_out(folder):
    found = read(stress_key="none", forces_key="none")
    assert not any("REF_virial" in frame.info or "REF_forces" in frame.arrays for frame in found.frames)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"file": "missing.extxyz"}, ["no file", "missing.extxyz"]),
        ({"energy_key": "energie"}, ["'energie'", "my_energy"]),
        ({"forces_key": "force"}, ["'force'", "my_forces"]),
        ({"config_types": ["liquid"]}, ["liquid", "crystal (4), slab (1), cluster (1)"]),
        ({"types": {"liquid": TypeSettings(weight=2.0)}}, ["liquid", "crystal, slab, cluster"]),
        ({"types": {"slab": TypeSettings(weight=2.0)}, "config_types": ["cluster"]}, ["slab", "cluster"]),
        ({"energy_key": "none", "forces_key": "none"}, ["2 of 6 frames", "frames 4, 5"]),
    ],
)
def test_mistakes_of_the_table(folder, settings, words):
    with pytest.raises(InputError) as error:
        read(**settings)
    assert all(word in str(error.value) for word in words), error.value


def test_files_that_are_damaged_or_absurd(folder):
    (folder / "own.extxyz").write_text("4\nnothing\nCu 0 0 0\n")
    with pytest.raises(InputError, match="cannot be read"):
        read()
    frames = crystals()
    frames[2].info["my_energy"] = np.nan
    put(frames)
    with pytest.raises(InputError, match=r"frame 2 .* not finite"):
        read()
    # A frame that is not taken does no harm.
    frames[2].info["config_type"] = "failed"
    put(frames)
    assert len(read(config_types="crystal").frames) == 3
    strained = [labelled(shaken(bulk("Cu", cubic=True), seed, 0.0, 0.02)) for seed in range(8)]
    put(strained)
    read()
    for frame in strained:
        frame.info["my_stress"] = frame.info["my_stress"] / GPa
    put(strained)
    with pytest.raises(InputError, match="stresses in GPa"):
        read()


# Expected errors


def test_sigmas_and_weights(folder):
    run = Regularisation(energy=0.002, force={"relative": 0.05, "minimum": 0.01})
    own = Regularisation(energy=0.004)
    cluster = TypeSettings(regularisation=Regularisation(force={"minimum": 0.2}), weight=4.0)
    found = read(regularisation=own, weight=0.25, types={"cluster": cluster})
    crystal, of_cluster = found.regularisation_of("crystal", run), found.regularisation_of("cluster", run)
    assert (crystal.energy, crystal.force.relative, crystal.force.minimum) == pytest.approx((0.008, 0.1, 0.02))
    assert (of_cluster.energy, of_cluster.force.relative, of_cluster.force.minimum) == pytest.approx(
        (0.002, 0.025, 0.1)
    )
    frames = found.regularised(run)
    assert frames[0].info["energy_sigma"] == pytest.approx(0.008 * 2)
    assert frames[5].info["energy_sigma"] == pytest.approx(0.002 * 2)
    assert frames[5].arrays["force_component_sigma"].min() == pytest.approx(0.1)
    assert "virial_component_sigma" not in frames[5].info
    plain = read().regularisation_of("slab", run)
    assert plain == run.scaled(1.0)


def test_a_weight_of_two_is_a_frame_that_is_there_twice():
    # The sum of squares of a linear model: with sigma / sqrt(2) and once, or with sigma and twice.
    random = np.random.default_rng(2)
    rows, values = random.normal(size=(9, 3)), random.normal(size=9)
    sigma = np.full(9, Regularisation().energy)
    heavy = sigma.copy()
    heavy[:4] = Regularisation().scaled(2.0**-0.5).energy

    def solve(rows, values, sigma):
        return np.linalg.lstsq(rows / sigma[:, None], values / sigma, rcond=None)[0]

    twice = [*range(9), *range(4)]
    assert solve(rows, values, heavy) == pytest.approx(solve(rows[twice], values[twice], sigma[twice]))


def test_a_choice_takes_a_weight_of_two_as_a_frame_that_is_there_twice():
    frames = read_copper(6)
    model = PairModel([("Cu", "Cu")], [2.4, 2.9, 3.4])
    rows = model.rows(frames)
    noise = Noise()
    e0 = {"Cu": -3.5}
    heavy = observations(frames, rows, model.n_weights, e0, weights=[2.0, 2.0, 1.0, 1.0, 1.0, 0.5])
    twice = [0, 0, 1, 1, 2, 3, 4]
    other = observations([frames[i] for i in twice], [rows[i] for i in twice], model.n_weights, e0)
    # What counts half is there as often as a half: with one more of the same weight it is there once.
    halves = observations(frames[:5], rows[:5], model.n_weights, e0, weights=[2.0, 2.0, 1.0, 1.0, 1.0])
    once = observations([*frames, frames[5]], [*rows, rows[5]], model.n_weights, e0, weights=[2, 2, 1, 1, 1, 0.5, 0.5])
    all_once = observations(frames, rows, model.n_weights, e0, weights=[2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    for one, same in ((halves, other), (once, all_once)):
        left, right = Posterior.of_labels(one, noise), Posterior.of_labels(same, noise)
        assert left.mean == pytest.approx(right.mean, rel=1e-6)
        assert left.covariance == pytest.approx(right.covariance, rel=1e-6)
    assert heavy.variances(noise)[heavy.frame_of == 5] == pytest.approx(
        2 * noise.variances(heavy.kinds, heavy.sizes, heavy.n_atoms)[heavy.frame_of == 5]
    )
    assert observations(frames, rows, model.n_weights, e0, weights=[1.0] * 6).weights is None
    assert len(most_probable_noise(heavy).to_dict()) == len(noise.to_dict())


def read_copper(count):
    found = []
    for frame in crystals(count):
        atoms = frame.copy()
        atoms.info = {"REF_energy": frame.info["my_energy"] - 3.5 * len(frame)}
        atoms.arrays["REF_forces"] = atoms.arrays.pop("my_forces")
        found.append(atoms)
    return found


# The input file


def test_the_input_file_is_written_and_read_again(tmp_path):
    text = RUN.format(
        database='weight = 0.5\n[database.types."hot liquid"]\nregularisation = {energy = 0.01}\n', fit=""
    )
    first = parse_config(text, folder=tmp_path)
    assert first.database[0].file == str(tmp_path / "own.extxyz")
    dumped = dump_config(first, folder=tmp_path / "run")
    assert tomllib.loads(dumped)["database"][0]["file"] == "../own.extxyz"
    again = parse_config(dumped, folder=tmp_path / "run")
    assert again == first
    own = again.database[0].types["hot liquid"].regularisation
    assert own is not None
    assert own.model_fields_set == {"energy"}


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ("weigth = 2\n", ["[database] weigth", "Did you mean 'weight'"]),
        ("weight = 0\n", ["[database] weight = 0", "above 0"]),
        ("config_types = []\n", ["config_types", "empty"]),
        ("config_types = 3\n", ["config_types"]),
        ('name = "a/b"\n', ["name = 'a/b'", "other characters"]),
        ("regularisation = {energy = 0}\n", ["[database] regularisation.energy = 0"]),
        ("[database.types.liquid]\nweigth = 2\n", ["[database] types.liquid.weigth", "Did you mean 'weight'"]),
        ("[database.types.liquid]\nweight = 'a'\n", ["[database] types.liquid.weight = 'a'", "a number is expected"]),
        ('[[database]]\nfile = "own.extxyz"\nname = "b"\n', ["the same frames"]),
        ('[[database]]\nfile = "sub/own.extxyz"\n', ["called own"]),
        ('[[database]]\nname = "b"\n', ["[database] file is missing"]),
    ],
)
def test_mistakes_of_the_input_file(database, words):
    with pytest.raises(InputError) as error:
        config(database)
    assert all(word in str(error.value) for word in words), error.value


def test_one_file_may_be_taken_in_parts():
    found = config('config_types = "slab"\n[[database]]\nfile = "own.extxyz"\nname = "b"\nconfig_types = ["cluster"]\n')
    assert [own.title for own in found.database] == ["own", "b"]
    assert isinstance(found, RunConfig)


def test_a_run_without_a_fit_has_no_use_for_it():
    with pytest.raises(InputError, match="makes no potential"):
        config(fit='method = "none"')


# Structures and references


def test_same_structures_whatever_the_order_and_image():
    one = shaken(bulk("CuAu", "cesiumchloride", a=3.1).repeat((2, 1, 1)), 1)
    other = one[[2, 3, 0, 1]]
    other.positions += other.cell.array[1] - other.cell.array[0]
    moved = one.copy()
    moved.positions[0, 0] += 0.01
    swapped = one.copy()
    swapped.symbols[[0, 1]] = swapped.symbols[[1, 0]]
    larger = one.copy()
    larger.set_cell(1.01 * larger.cell.array, scale_atoms=True)
    free = one.copy()
    free.pbc = False
    assert same_structures([one], [moved, other, swapped, larger, free]) == [(0, 1)]
    assert same_structures([free], [one, free]) == [(0, 1)]


def ref(atoms, energy):
    found = atoms.copy()
    found.info["REF_energy"] = energy
    return found


AL = bulk("Al", cubic=True)


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (-4 * 3.7 / Hartree, ["second look as if they were in Hartree"]),
        (-4 * 3.7 * 96.485, ["second look as if they were in kJ/mol"]),
        (-3.7, ["second look as if they were per atom"]),
        (-4 * 56.2, []),
    ],
)
def test_databases_of_different_references(energy, words):
    first = [ref(shaken(AL, seed), -4 * 3.7 + 0.05 * seed) for seed in range(3)]
    with pytest.raises(InputError) as error:
        check_same_reference({"first": first, "second": [ref(shaken(AL, 9), energy)]})
    assert all(word in str(error.value) for word in ["first and second", "Al has a lowest energy of -3.7", *words])
    with pytest.raises(InputError, match="the same structure"):
        check_same_reference({"first": first, "second": [ref(shaken(AL, 1), -4 * 3.7 - 0.2)]})


def test_databases_that_may_be_of_one_reference():
    first = [ref(shaken(AL, seed), -4 * 3.7 + 0.05 * seed) for seed in range(3)]
    hot = [ref(shaken(AL, seed, 0.3), -4 * 3.3) for seed in range(3, 6)]
    cluster = [ref(Atoms("Al2", positions=[[0, 0, 0], [2.5, 0, 0]]), -2 * 0.8)]
    atom = [ref(Atoms("Al", cell=[15] * 3, pbc=True), -0.1)]
    copper = [ref(bulk("Cu"), -1000.0)]
    unlabelled = [AL.copy()]
    expanded = AL.copy()
    expanded.set_cell(1.5 * expanded.cell.array, scale_atoms=True)
    vapour = [ref(expanded, -4 * 1.0)]
    others = {"hot": hot, "cluster": cluster, "atom": atom, "Cu": copper, "none": unlabelled, "vapour": vapour}
    assert check_same_reference({"first": first, **others}) == []
    (warning,) = check_same_reference({"first": first, "lda": [ref(shaken(AL, 8), -4 * 4.5)]})
    assert "first" in warning
    assert "lda" in warning


# Before anything is calculated


@pytest.mark.gap
def test_the_dry_run_shows_it(folder):
    text = str(dry_run(config(), folder / "run"))
    assert "6 configurations (4 crystal, 1 slab, 1 cluster)" in text
    assert "energies in 6, forces in 6, virials in 4" in text
    without = make_plan(config(), folder / "run", databases=None).fit_size
    assert without.n_frames == 2 + 2 * len(make_plan(config(), folder / "run").supercells) + 6


@pytest.mark.gap
def test_what_is_refused_before_the_first_label(folder):
    put([*crystals(), *crystals(2, "Au", "gold")])
    with pytest.raises(InputError, match=r"own.extxyz has Au \(config_type gold\), and the crystal"):
        dry_run(config(), folder / "run")
    dry_run(config('config_types = "crystal"'), folder / "run")
    put(crystals(3), "a.extxyz")
    put([labelled(shaken(bulk("Cu", cubic=True), 20), "b", shift=-500.0)])
    keys = "".join(f'{name} = "{key}"\n' for name, key in KEYS.items())
    more = f'[[database]]\nfile = "a.extxyz"\n{keys}'
    with pytest.raises(InputError) as error:
        dry_run(config(more), folder / "run")
    assert str(folder / "own.extxyz") in str(error.value)
    assert str(folder / "a.extxyz") in str(error.value)
    # What the run labels itself.
    plan = make_plan(config(), folder / "run")
    put([labelled(atoms) for atoms in plan.configurations[:1]])
    (note,) = dry_run(config(), folder / "run").notes
    assert "unperturbed unit cell" in note
    put([labelled(atoms) for atoms in plan.configurations])
    with pytest.raises(InputError, match="labels itself"):
        dry_run(config(), folder / "run")
    assert not (folder / "run").exists()


@pytest.mark.gap
def test_energies_of_single_atoms_when_compositions_differ(folder):
    bulk("CuAu", "cesiumchloride", a=3.1).write("alloy.extxyz")
    text = RUN.replace('"Cu"', '"alloy.extxyz"')

    def start(e0):
        return dry_run(parse_config(text.format(database="", fit=f'e0 = "{e0}"')), folder / "run")

    put([*crystals(), *crystals(2, "Au", "gold")])
    assert any("e0 = 'fit'" in note for note in start("average").notes)
    assert not any("e0" in note for note in start("fit").notes)
    put([labelled(shaken(bulk("CuAu", "cesiumchloride", a=3.1), 3))])
    assert not any("e0" in note for note in start("average").notes)
    with pytest.raises(InputError, match="Cu and Au apart"):
        start("fit")


def test_loading_resolves_the_path(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "run.toml").write_text(RUN.format(database="", fit="").replace("own.ext", "../own.ext"))
    assert load_config("sub/run.toml").database[0].file == str(folder / "own.extxyz")
