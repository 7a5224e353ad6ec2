import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given
from hypothesis import strategies as st

from ndsc.errors import InputError
from ndsc.fit import PRESETS, GapSettings, Regularisation, Sigma, apply_regularisation

FORCES = np.array([[0.0, 0.05, -0.5], [2.0, -0.1, 0.1]])
VIRIAL = np.array([1.0, 0.05, -0.3, 0.05, 0.0, 2.0, -0.3, 2.0, -4.0])


@pytest.fixture
def frame():
    atoms = bulk("Mg")
    atoms.info |= {"REF_energy": -3.0, "REF_virial": VIRIAL}
    atoms.arrays["REF_forces"] = FORCES
    return atoms


def test_adaptive_as_in_the_paper(frame):
    regularisation = Regularisation(
        force=Sigma(relative=0.01, minimum=1e-3), virial=Sigma(relative=0.005, minimum=5e-4)
    )
    (out,) = apply_regularisation([frame], regularisation)
    force, virial = out.arrays["force_component_sigma"], out.info["virial_component_sigma"]
    assert np.allclose(force, [[1e-3, 1e-3, 5e-3], [2e-2, 1e-3, 1e-3]])
    assert virial.shape == (9,)
    assert np.allclose(virial, [5e-3, 5e-4, 1.5e-3, 5e-4, 5e-4, 1e-2, 1.5e-3, 1e-2, 2e-2])


def test_static_is_one_number(frame):
    (out,) = apply_regularisation([frame], Regularisation.static(force=0.02, virial=0.01))
    assert np.all(out.arrays["force_component_sigma"] == 0.02)
    assert np.all(out.info["virial_component_sigma"] == 0.01)
    # A relative part is ignored by the static kind.
    same = Regularisation(
        kind="static", force=Sigma(relative=0.5, minimum=0.02), virial=Sigma(relative=0.5, minimum=0.01)
    )
    assert np.all(apply_regularisation([frame], same)[0].arrays["force_component_sigma"] == 0.02)


def test_energy_sigma_grows_as_independent_atoms_do(frame):
    (one,) = apply_regularisation([frame], Regularisation(energy=0.002))
    large = frame.repeat(8)
    large.info |= {"REF_energy": -3.0 * 512}
    (many,) = apply_regularisation([large], Regularisation(energy=0.002))
    assert one.info["energy_sigma"] == pytest.approx(0.002 * np.sqrt(2))
    assert many.info["energy_sigma"] == pytest.approx(0.002 * np.sqrt(1024))


def test_the_input_is_not_changed(frame):
    apply_regularisation([frame])
    assert set(frame.info) == {"REF_energy", "REF_virial"}
    assert "force_component_sigma" not in frame.arrays


def test_sigmas_follow_the_targets_there_are(frame):
    (weighted,) = apply_regularisation([frame])
    del weighted.info["REF_virial"]
    del weighted.arrays["REF_forces"]
    (again,) = apply_regularisation([weighted])
    assert "virial_component_sigma" not in again.info
    assert "force_component_sigma" not in again.arrays
    assert "energy_sigma" in again.info


def test_somebodys_keys():
    atoms = bulk("Mg")
    atoms.info["dft_stress"] = -VIRIAL.reshape(3, 3) / atoms.get_volume()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=FORCES)
    (out,) = apply_regularisation(
        [atoms], energy_key="energy", forces_key="forces", virial_key="virial", stress_key="dft_stress"
    )
    assert np.allclose(out.info["virial_component_sigma"], np.maximum(0.01 * np.abs(VIRIAL), 1e-3))
    assert np.allclose(out.arrays["force_component_sigma"], np.maximum(0.01 * np.abs(FORCES), 1e-3))
    assert out.get_potential_energy() == -3.0
    with pytest.raises(InputError, match=r"none of the targets REF_energy, REF_forces, REF_virial"):
        apply_regularisation([atoms])


def test_scaled():
    tenth = Regularisation().scaled(0.1)
    assert tenth.energy == 1e-4
    assert tenth.force == tenth.virial == Sigma(relative=1e-3, minimum=1e-4)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), st.floats(0, 1), st.floats(1e-7, 1))
def test_sigmas_are_never_below_the_minimum(values, relative, minimum):
    for kind in ("adaptive", "static"):
        sigma = Regularisation(kind=kind, force=Sigma(relative=relative, minimum=minimum)).force_sigma(values)
        assert sigma.shape == (len(values),)
        assert np.all(sigma >= minimum)


@pytest.mark.parametrize("zero", [0.0, -1.0, 1e-9, np.nan, np.inf])
def test_zero_sigmas_are_refused(zero):
    for arguments in ({"energy": zero}, {"force": {"minimum": zero}}, {"virial": {"minimum": zero}}):
        with pytest.raises(InputError, match=next(iter(arguments))):
            Regularisation(**arguments)
    with pytest.raises(InputError, match="minimum"):
        Sigma(minimum=zero)


def test_impossible_regularisations():
    with pytest.raises(InputError, match="kind"):
        Regularisation(kind="adaptable")
    with pytest.raises(InputError, match="relative"):
        Regularisation(force={"relative": -0.1})


def test_presets_are_table_2():
    # Cutoff, n_max, l_max, Delta_F, sigma_F min, Delta_V, sigma_V min.
    table = {
        "Mg": (8.0, 8, 6, 1e-2, 1e-3, 1e-2, 1e-3),
        "Al": (10.0, 10, 8, 1e-2, 1e-3, 5e-3, 5e-4),
        "Si": (6.0, 8, 6, 1e-2, 1e-3, 1e-2, 1e-3),
        "W": (6.0, 8, 6, 1e-2, 1e-3, 1e-2, 1e-3),
    }
    assert set(PRESETS) == set(table)
    for name, expected in table.items():
        settings, regularisation = GapSettings(preset=name), Regularisation(preset=name)
        force, virial = regularisation.force, regularisation.virial
        found = (settings.cutoff, settings.n_max, settings.l_max)
        found += (force.relative, force.minimum, virial.relative, virial.minimum)
        assert found == expected
        assert (settings.n_sparse, settings.delta, settings.zeta, settings.atom_sigma) == (1400, 2.0, 4, 0.5)
        assert settings.sparse_method == "cur_points"
        assert (regularisation.kind, regularisation.energy) == ("adaptive", 0.001)
