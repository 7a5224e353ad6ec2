"""e0 = "fit": energies of single atoms by least squares over compositions."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from linear_models_for_tests import PairModel
from ndsc.cli.app import app
from ndsc.config import parse_config
from ndsc.database import write_database
from ndsc.errors import InputError
from ndsc.fit import GapSettings, apply_regularisation, fit_gap
from ndsc.fit.composition import check_compositions, fitted_energies
from ndsc.fit.training import single_atom_energies
from ndsc.selection import ForceTarget
from ndsc.selection.selector import Selector
from ndsc.workflow import dry_run

FIT = GapSettings(e0="fit")
TRUE = {"Ti": -7.8, "Mg": -1.6}


def atoms_of(formula, energy=None, **info):
    frame = Atoms(formula, positions=np.arange(3 * len(Atoms(formula))).reshape(-1, 3) * 1.5, cell=[60] * 3, pbc=True)
    frame.info |= info if energy is None else {"REF_energy": energy, **info}
    return frame


def linear(formulas, energies):
    return [atoms_of(f, sum(energies[s] for s in Atoms(f).get_chemical_symbols())) for f in formulas]


def labelled(atoms, seed):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0, 0.05, atoms.positions.shape)
    work = atoms.copy()
    work.calc = EMT()
    atoms.info["REF_energy"] = work.get_potential_energy()
    atoms.arrays["REF_forces"] = work.get_forces()
    return atoms


def shifted(frames, energies):
    found = [frame.copy() for frame in frames]
    for frame in found:
        frame.info["REF_energy"] += sum(energies[symbol] for symbol in frame.get_chemical_symbols())
    return found


@pytest.mark.parametrize(
    "formulas",
    [["Ti2", "Mg3"], ["TiMg", "TiMg3", "Ti2Mg"], ["Ti16", "Ti15Mg"], ["Ti4Mg4", "Ti5Mg3"], ["Ti8Mg8"] * 9 + ["Ti"]],
)
def test_linear_energies_are_found_again(formulas):
    found = single_atom_energies(linear(formulas, TRUE), FIT)
    assert found == pytest.approx(TRUE, rel=1e-9)
    assert list(found) == ["Mg", "Ti"]


def test_three_elements():
    true = {"O": 3.0, "Si": -2.0, "Al": 0.5}
    assert single_atom_energies(linear(["SiO2", "Al2O3", "AlSiO", "O2"], true), FIT) == pytest.approx(true)


def test_the_sum_of_squares_over_atoms_is_least():
    random = np.random.default_rng(4)
    frames = [
        atoms_of(f"Ti{a}Mg{b}", -7.8 * a - 1.6 * b + random.normal(0, 0.5))
        for a, b in random.integers(1, 9, (40, 2)).tolist()
    ]
    found = fitted_energies(frames)

    def badness(ti, mg):
        left = [f.info["REF_energy"] - ti * f.symbols.count("Ti") - mg * f.symbols.count("Mg") for f in frames]
        return sum(value**2 / len(f) for value, f in zip(left, frames, strict=True))

    least = badness(found["Ti"], found["Mg"])
    steps = [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.01, -0.01), (-0.01, 0.01)]
    assert all(badness(found["Ti"] + a, found["Mg"] + b) > least for a, b in steps)


def test_of_one_element_it_is_the_average():
    frames = [atoms_of("Al", -3.0), atoms_of("Al4", -12.8), atoms_of("Al7", -21.7)]
    assert fitted_energies(frames) == pytest.approx(single_atom_energies(frames, GapSettings()))


def test_isolated_atoms_are_left_out_and_frames_without_an_energy_too():
    frames = [*linear(["TiMg", "Ti2", "TiMg3"], TRUE), atoms_of("TiMg")]
    alone = [atoms_of(symbol, 0.3, config_type="isolated_atom") for symbol in TRUE]
    assert fitted_energies([*frames, *alone]) == pytest.approx(TRUE)
    # With nothing else there is, they are all that is known.
    assert fitted_energies(alone) == pytest.approx({"Ti": 0.3, "Mg": 0.3})


@pytest.mark.parametrize(
    ("formulas", "words"),
    [
        (["NaCl", "Na4Cl4"], ["Na and Cl", "NaCl", "'average'"]),
        (["Na32Cl32"] * 9 + ["Na31Cl32"], ["Na and Cl"]),
        (["SiO2Al", "SiO2", "Al"], ["O and Si"]),
        (["AlCuAu"], ["Al and Cu and Au"]),
    ],
)
def test_compositions_that_do_not_determine_them(formulas, words):
    frames = [atoms_of(formula, -1.0) for formula in formulas]
    with pytest.raises(InputError) as error:
        single_atom_energies(frames, FIT)
    assert all(word in str(error.value) for word in ["apart", *words]), error.value
    # Without that demand, every composition has its energy nevertheless.
    lenient = fitted_energies(linear(["NaCl", "Na4Cl4"], {"Na": -1.0, "Cl": -3.0}), strict=False)
    assert lenient == pytest.approx({"Na": -2.0, "Cl": -2.0})


def test_an_element_without_an_energy_and_no_energies():
    with pytest.raises(InputError, match="no configuration with an energy contains it"):
        single_atom_energies([atoms_of("Ti2", -1.0), atoms_of("Mg2")], FIT)
    with pytest.raises(InputError, match="no energies"):
        single_atom_energies([atoms_of("Ti2")], FIT)
    check_compositions([atoms_of("Ti"), atoms_of("TiMg")])


@pytest.mark.gap
@pytest.mark.parametrize("solver", ["gap_fit", "numpy"])
def test_a_fit_does_not_depend_on_the_zero_of_energy_of_each_element(tmp_path, solver):
    frames = [labelled(bulk("Cu", a=3.6).repeat((3, 1, 1)), 1), labelled(bulk("Au", a=4.1).repeat((3, 1, 1)), 2)]
    frames += [labelled(bulk("CuAu", "cesiumchloride", a=3.1).repeat((2, 1, 1)), seed) for seed in (3, 4)]
    settings = GapSettings(cutoff=4.0, n_max=3, l_max=2, n_sparse=8, e0="fit", solver=solver)
    moved = {"Cu": -40.0, "Au": 25.0}
    first = fit_gap(apply_regularisation(frames), tmp_path / "first", settings)
    again = fit_gap(apply_regularisation(shifted(frames, moved)), tmp_path / "again", settings)
    assert {symbol: again.e0[symbol] - first.e0[symbol] for symbol in moved} == pytest.approx(moved)
    assert first.e0 == pytest.approx(fitted_energies(frames))
    assert again.predictions.model_forces == pytest.approx(first.predictions.model_forces, abs=1e-6)


def test_neither_does_a_choice_of_labels():
    frames = [labelled(bulk("Cu", a=3.6).repeat((3, 1, 1)), 1), labelled(bulk("Au", a=4.1).repeat((3, 1, 1)), 2)]
    frames += [labelled(bulk("CuAu", "cesiumchloride", a=3.1).repeat((2, 1, 1)), seed) for seed in (3, 4)]
    model = PairModel([("Cu", "Cu"), ("Cu", "Au"), ("Au", "Au")], [2.4, 2.9, 3.4])
    target = ForceTarget([bulk("CuAu", "cesiumchloride", a=3.0).repeat((2, 1, 1))])
    found = []
    for moved in ({"Cu": 0.0, "Au": 0.0}, {"Cu": -40.0, "Au": 25.0}):
        selector = Selector(model, frames, [target], unit="labels", e0=fitted_energies)
        selector.add(shifted(frames, moved))
        found.append(selector.labels.values)
    assert found[1] == pytest.approx(found[0], abs=1e-9)


@pytest.mark.gap
def test_a_run_of_one_compound_is_refused_before_its_first_label(tmp_path):
    text = (
        '[crystal]\nstructure = "{}"\n[supercells]\ngrid = 1\n[fit]\ne0 = "fit"\nn_sparse = 10\n'
        '[reference]\ncalculator = "emt"\n[configurations]\n'
    )
    bulk("CuAu", "cesiumchloride", a=3.1).write(tmp_path / "alloy.extxyz")
    with pytest.raises(InputError, match="Cu and Au apart"):
        dry_run(parse_config(text.format("alloy.extxyz"), folder=tmp_path), tmp_path / "run")
    dry_run(parse_config(text.format("Cu")), tmp_path / "run")


@pytest.mark.gap
def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = [labelled(bulk("Cu", a=3.6).repeat((3, 1, 1)), 1), labelled(bulk("Au", a=4.1).repeat((3, 1, 1)), 2)]
    write_database("own.extxyz", [*frames, labelled(bulk("CuAu", "cesiumchloride", a=3.1), 3)])
    small = ["--cutoff", "4", "--n-max", "3", "--l-max", "2", "--n-sparse", "5"]
    done = CliRunner().invoke(app, ["fit", "own.extxyz", *small, "--e0", "fit", "--json"])
    assert done.exit_code == 0, done.output
    write_database("one.extxyz", [labelled(bulk("CuAu", "cesiumchloride", a=3.1), 3)])
    refused = CliRunner().invoke(app, ["fit", "one.extxyz", *small, "--e0", "fit"])
    assert refused.exit_code == 2
