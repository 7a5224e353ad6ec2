import importlib.util

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read

from ndsc.errors import InputError
from ndsc.fit import GapSettings, Regularisation, apply_regularisation
from ndsc.fit.kernels import descriptor_of
from ndsc.fit.sparse_points import write_sparse_points
from ndsc.fit.training import kernel_descriptions, single_atom_energies, write_training_file


def labelled(atoms, energy, seed=0):
    random = np.random.default_rng(seed)
    atoms = atoms.copy()
    tensor = random.normal(size=(3, 3))
    atoms.info |= {"REF_energy": energy, "REF_virial": (tensor + tensor.T).ravel(), "config_type": "x"}
    atoms.arrays["REF_forces"] = random.normal(size=(len(atoms), 3))
    return atoms


@pytest.fixture
def frames():
    return apply_regularisation([labelled(bulk("Al"), -3.0), labelled(bulk("Al", cubic=True), -12.8, 1)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"cutoff": 0.0},
        {"cutoff": np.nan},
        {"n_max": 0},
        {"n_max": 2.5},
        {"l_max": -1},
        {"atom_sigma": 0.0},
        {"zeta": 0},
        {"delta": -1.0},
        {"n_sparse": 0},
        {"sparse_jitter": -1e-8},
        {"transition_width": 7.0},
        {"seed": -1},
    ],
)
def test_settings_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=name):
        GapSettings(**wrong)


def test_other_impossible_settings():
    with pytest.raises(InputError, match="sparse_method"):
        GapSettings(sparse_method="best")
    for e0 in ("mean", {"Xx": 1.0}, {"Al": np.inf}, 3.0):
        with pytest.raises(InputError, match="e0"):
            GapSettings(e0=e0)
    assert GapSettings().replaced(n_max=4).n_max == 4


def test_training_file_holds_targets_and_sigmas_only(tmp_path, frames):
    frames[0].info["stress"] = [1.0] * 6
    frames[0].info["energy"] = 5.0
    frames[0].set_tags(3)
    pool = [labelled(bulk("Al", a=4.2), 1.0)]
    training = write_training_file(tmp_path / "t.extxyz", frames, pool, GapSettings())
    assert training.species == ("Al",)
    assert training.counts == {
        "energies": 2,
        "force_components": 15,
        "virial_components": 12,
        "energy_sigmas": 2,
        "force_component_sigmas": 15,
        "virial_component_sigmas": 18,
    }
    text = training.path.read_text()
    assert "_JSON" not in text
    assert "stress" not in text
    written = read(training.path, ":")
    assert [len(frame) for frame in written] == [1, 4, 1]
    expected = {"REF_energy", "REF_virial", "energy_sigma", "virial_component_sigma"}
    assert [set(frame.info) for frame in written] == [expected, expected, set()]
    assert written[0].info["virial_component_sigma"].shape == (9,)
    assert "force_component_sigma" in written[1].arrays
    assert "REF_forces" not in written[2].arrays


def test_targets_without_sigmas_are_refused(tmp_path, frames):
    for place, key in (
        ("info", "energy_sigma"),
        ("arrays", "force_component_sigma"),
        ("info", "virial_component_sigma"),
    ):
        broken = frames[1].copy()
        del getattr(broken, place)[key]
        with pytest.raises(InputError, match=r"frame 1 has no sigma"):
            write_training_file(tmp_path / "t", [frames[0], broken], [], GapSettings())


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, 1e-9])
def test_zero_sigmas_are_refused(tmp_path, frames, value):
    frames[1].arrays["force_component_sigma"][2, 1] = value
    with pytest.raises(InputError, match="force sigma of frame 1"):
        write_training_file(tmp_path / "t", frames, [], GapSettings())
    assert not list(tmp_path.iterdir())


def test_sigmas_of_the_wrong_shape(tmp_path, frames):
    frames[0].info["virial_component_sigma"] = np.ones(6)
    with pytest.raises(InputError, match="virial sigma of frame 0"):
        write_training_file(tmp_path / "t", frames, [], GapSettings())


def test_nothing_to_fit(tmp_path):
    with pytest.raises(InputError, match="REF_energy"):
        write_training_file(tmp_path / "t", [bulk("Al")], [], GapSettings())


def test_sparse_configurations_of_other_species(tmp_path, frames):
    with pytest.raises(InputError, match="Cu"):
        write_training_file(tmp_path / "t", frames, [bulk("Cu")], GapSettings())


def test_atoms_without_a_cell_get_a_box(tmp_path, frames):
    atom = Atoms("Al", info={"REF_energy": -1.0, "energy_sigma": 0.001})
    write_training_file(tmp_path / "t", [*frames, atom], [], GapSettings(cutoff=5.0))
    written = read(tmp_path / "t", ":", format="extxyz")[-1]
    assert written.cell.lengths().min() > 2 * 5.0
    flat = Atoms("Al2", positions=[[0, 0, 0], [2, 0, 0]], cell=[4, 4, 0], pbc=[True, True, True])
    with pytest.raises(InputError, match="full cell"):
        write_training_file(tmp_path / "t", [*frames, flat], [], GapSettings())


def test_e0_average_is_the_mean_energy_per_atom(frames):
    assert single_atom_energies(frames, GapSettings()) == {"Al": pytest.approx((-3.0 - 12.8) / 5)}
    atom = Atoms("Al", cell=[20] * 3, pbc=True, info={"REF_energy": -0.5, "config_type": "IsolatedAtom"})
    assert single_atom_energies([*frames, atom], GapSettings()) == {"Al": pytest.approx((-3.0 - 12.8) / 5)}
    with pytest.raises(InputError, match="no energies"):
        single_atom_energies([bulk("Al")], GapSettings())


def test_e0_isolated_needs_an_isolated_atom(frames):
    settings = GapSettings(e0="isolated")
    # A primitive cell of one atom is not isolated: its images are its neighbours.
    with pytest.raises(InputError, match="isolated"):
        single_atom_energies(frames, settings)
    atom = Atoms("Al", cell=[20] * 3, pbc=True, info={"REF_energy": -0.5})
    assert single_atom_energies([*frames, atom], settings) == {"Al": -0.5}


def test_e0_given(frames):
    assert single_atom_energies(frames, GapSettings(e0={"Al": -3.2, "Cu": 1.0})) == {"Al": -3.2}
    with pytest.raises(InputError, match="no energy for Al"):
        single_atom_energies(frames, GapSettings(e0={"Cu": 1.0}))


def test_one_kernel_for_each_species():
    text = kernel_descriptions(("Cl", "Na"), GapSettings(cutoff=5.5, n_sparse=42))
    assert text.startswith("{soap ")
    first, second = text.strip("{}").split(" : ")
    assert "Z=11 species_Z={{11 17}}" in first
    assert "Z=17 species_Z={{11 17}}" in second
    for kernel in (first, second):
        assert " cutoff=5.5 " in kernel
        assert " n_sparse=42 sparse_method=cur_points" in kernel
    fixed = kernel_descriptions(("Al",), GapSettings(), {"Al": "points.txt"})
    assert "sparse_method=file sparse_file=points.txt" in fixed


def test_the_paper_counts_all_neighbours_the_same():
    assert GapSettings().radial_exponent == 4
    for settings in (GapSettings(preset="Al"), GapSettings(radial_exponent=0)):
        assert "cutoff_dexp" not in kernel_descriptions(("Al",), settings)


@pytest.mark.gap
@pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'")
@pytest.mark.parametrize(("exponent", "scale"), [(4, 3.0), (6, 2.0)])
def test_a_neighbour_counts_as_much_as_the_settings_say(exponent, scale):
    def amplitude(distance, **settings):
        text = kernel_descriptions(("Al",), GapSettings(**settings)).strip("{}").replace("{{", "{").replace("}}", "}")
        descriptor = descriptor_of(text.replace("soap ", "soap normalise=F central_weight=0.0 "))
        pair = Atoms("Al2", [[0, 0, 0], [0, 0, distance]], cell=[30.0] * 3)
        # The power spectrum is a square of the density.
        return np.sqrt(np.linalg.norm(descriptor.calc(pair)["data"][0, :-1]))

    for distance in (1.5, scale, 4.0, 5.5):
        with_scaling = amplitude(distance, radial_exponent=exponent, radial_scale=scale)
        part = with_scaling / amplitude(distance, radial_exponent=0)
        assert part == pytest.approx(1 / (1 + (distance / scale) ** exponent), rel=1e-9)


def test_sparse_points_are_written_cutoff_first(tmp_path):
    points = {"Al": (np.array([1.0, 0.5]), np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))}
    names = write_sparse_points(tmp_path, ["Al"], points)
    assert np.loadtxt(tmp_path / names["Al"]) == pytest.approx([1.0, 0.1, 0.2, 0.3, 0.5, 0.4, 0.5, 0.6])
    with pytest.raises(InputError, match="none for Cu"):
        write_sparse_points(tmp_path, ["Al", "Cu"], points)


def test_scaled_sigmas_reach_the_training_file(tmp_path):
    frames = apply_regularisation([labelled(bulk("Al"), -3.0)], Regularisation(energy=0.002).scaled(0.5))
    write_training_file(tmp_path / "t.extxyz", frames, [], GapSettings())
    assert read(tmp_path / "t.extxyz").info["energy_sigma"] == 0.001
