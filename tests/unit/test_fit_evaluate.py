import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from ndsc.errors import InputError
from ndsc.fit.evaluation import Predictions, evaluate, predict


class Shifted(EMT):
    """EMT with 0.01 eV more for each atom, 0.1 eV/Å more force along x and twice the stress."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] += 0.01 * len(self.atoms)
        self.results["free_energy"] += 0.01 * len(self.atoms)
        self.results["forces"] = self.results["forces"] + np.array([0.1, 0.0, 0.0])
        self.results["stress"] = 2 * self.results["stress"]


class Scalar(Calculator):
    """A calculator without stresses, that gives nothing finite when asked so."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, energy=0.0):
        super().__init__()
        self.energy = energy

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": self.energy, "forces": np.zeros((len(self.atoms), 3))}


@pytest.fixture
def frames():
    out = []
    for number, cubic in enumerate((False, True, True)):
        atoms = bulk("Al", a=4.0, cubic=cubic)
        atoms.rattle(0.1, seed=number)
        copy = atoms.copy()
        copy.calc = EMT()
        atoms.info |= {
            "REF_energy": copy.get_potential_energy(force_consistent=True),
            "REF_virial": (-copy.get_volume() * copy.get_stress(voigt=False)).ravel(),
            "config_type": "cubic" if cubic else "primitive",
        }
        atoms.arrays["REF_forces"] = copy.get_forces()
        out.append(atoms)
    return out


def test_a_model_that_is_the_reference(frames):
    predictions = evaluate(frames, EMT())
    assert predictions.unusable == []
    assert predictions.n_atoms.tolist() == [1, 4, 4]
    assert predictions.reference_forces.shape == (9, 3)
    for errors in predictions.errors().values():
        assert errors.energy_rmse_ev_per_atom == pytest.approx(0, abs=1e-12)
        assert errors.force_rmse_ev_per_angstrom == pytest.approx(0, abs=1e-12)
        assert errors.virial_rmse_ev_per_atom == pytest.approx(0, abs=1e-12)


def test_known_errors(frames):
    errors = evaluate(frames, Shifted()).errors()
    assert {name: found.configurations for name, found in errors.items()} == {"all": 3, "primitive": 1, "cubic": 2}
    for name, chosen in (("all", frames), ("cubic", frames[1:])):
        assert errors[name].energy_rmse_ev_per_atom == pytest.approx(0.01)
        assert errors[name].force_rmse_ev_per_angstrom == pytest.approx(0.1 / np.sqrt(3))
        virials = np.array([frame.info["REF_virial"] / len(frame) for frame in chosen])
        assert errors[name].virial_rmse_ev_per_atom == pytest.approx(np.sqrt(np.mean(virials**2)))


def test_targets_and_properties_that_are_missing(frames):
    del frames[0].info["REF_energy"]
    predictions = evaluate(frames, Scalar())
    assert np.isnan(predictions.reference_energies[0])
    assert np.isnan(predictions.model_virials).all()
    errors = predictions.errors()
    assert errors["primitive"].energy_rmse_ev_per_atom is None
    assert errors["all"].energy_rmse_ev_per_atom is not None
    assert np.isnan(errors["all"].virial_rmse_ev_per_atom)


def test_what_is_not_finite_is_found(frames):
    for frame in frames:
        del frame.info["REF_virial"]
    assert evaluate(frames, Scalar()).unusable == []
    assert evaluate(frames, Scalar(np.nan)).unusable == [0, 1, 2]
    predicted = predict(frames, Scalar())
    predicted[1].arrays["MLIP_forces"][2, 0] = np.inf
    assert Predictions.from_frames(predicted).unusable == [1]


def test_predictions_of_earlier_versions_are_read(frames):
    predicted = predict(frames, Shifted())
    expected = Predictions.from_frames(predicted)
    for frame in predicted:
        for held in (frame.info, frame.arrays):
            for key in [key for key in held if key.startswith("MLIP_")]:
                held[key.replace("MLIP_", "GAP_")] = held.pop(key)
    found = Predictions.from_frames(predicted)
    assert np.array_equal(found.model_energies, expected.model_energies)
    assert np.array_equal(found.model_forces, expected.model_forces)
    assert np.array_equal(found.model_virials, expected.model_virials)
    # What is predicted again counts, not what an old file says.
    again = Predictions.from_frames(predict(predicted, EMT()))
    assert again.errors()["all"].force_rmse_ev_per_angstrom < 1e-12


def test_input_is_not_changed_and_structures_are_computed_as_they_are(frames):
    before = [frame.copy() for frame in frames]
    predicted = predict(frames, EMT())
    assert frames == before
    assert all(frame.info["MLIP_virial"].shape == (9,) for frame in predicted)
    cluster = Atoms("Al2", positions=[[0, 0, 0], [2.8, 0, 0]])
    (out,) = predict([cluster], EMT())
    assert "MLIP_virial" not in out.info


def test_bad_input(frames):
    with pytest.raises(InputError, match="no configurations"):
        evaluate([], EMT())
    frames[1].info["REF_energy"] = np.nan
    with pytest.raises(InputError, match="frame 1"):
        evaluate(frames, EMT())
