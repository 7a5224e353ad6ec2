"""Expected errors of a database that are given count in the choice as they do in the fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from linear_models_for_tests import PairModel
from ndsc.fit.databases import DatabaseSettings, OwnDatabase, read_own_databases
from ndsc.fit.linear_system import ENERGY, FORCE, VIRIAL, targets_in_rows
from ndsc.fit.regularisation import Regularisation
from ndsc.fit.soap import COMPONENTS
from ndsc.selection import Selector
from ndsc.selection.given import GivenSigmas
from ndsc.selection.noise import PRIOR, PRIOR_WIDTH, Noise, Observations, most_probable_noise
from ndsc.selection.posterior import Posterior
from ndsc.selection.selector import observations
from ndsc.selection.targets import PressureTarget
from ndsc.workflow.databases import OwnDatabases

E0 = {"Cu": -3.5}
SAID = {
    "energy": 0.02,
    "force": {"relative": 0.1, "minimum": 0.03},
    "virial": {"relative": 0.05, "minimum": 0.2},
}


def labelled(n: int, seed: int = 1) -> list[Atoms]:
    found = []
    for number in range(n):
        frame = bulk("Cu", "fcc", a=3.6) * (2, 1, 1)
        frame.rattle(0.1, seed=100 * seed + number)
        frame.calc = EMT()
        frame.info["REF_energy"], frame.arrays["REF_forces"] = frame.get_potential_energy(), frame.get_forces()
        frame.info["REF_virial"] = (-frame.get_volume() * frame.get_stress(voigt=False)).ravel()
        frame.calc = None
        frame.info["config_type"] = "hot" if number % 2 else "cold"
        found.append(frame)
    return found


def database(folder: Path, **settings: object) -> OwnDatabase:
    write(folder / "own.extxyz", labelled(6))
    (found,) = read_own_databases([DatabaseSettings(file=str(folder / "own.extxyz"), **settings)])  # type: ignore[arg-type]
    return found


def rows_of(frames: list[Atoms]) -> tuple[PairModel, list[np.ndarray]]:
    model = PairModel([("Cu", "Cu")], [2.4, 2.9, 3.4])
    return model, model.rows(frames)


def sigmas_of(frame: Atoms) -> np.ndarray:
    """Of all numbers of a frame, as the fit takes them."""
    virial = np.asarray(frame.info["virial_component_sigma"])[list(COMPONENTS)]
    return np.concatenate([[frame.info["energy_sigma"]], frame.arrays["force_component_sigma"].ravel(), virial])


@pytest.mark.parametrize("kind", ["adaptive", "static"])
def test_the_mean_is_the_fit_with_these_sigmas(tmp_path: Path, kind: str) -> None:
    types = {"hot": {"weight": 0.5, "regularisation": {"energy": 0.5}}}
    own = OwnDatabases((database(tmp_path, regularisation={"kind": kind, **SAID}, types=types),))
    noise = Noise(scale=3.0)
    model, rows = rows_of(own.frames)
    labels = observations(own.frames, rows, model.n_weights, E0, weights=own.weights, given=own.given)
    # The fit: a prior of scale one, and sigmas as they are written to its frames.
    fitted = own.regularised(noise.regularisation())
    sigmas = np.concatenate([sigmas_of(frame) for frame in fitted])
    values = np.concatenate([targets_in_rows(frame, {29: E0["Cu"]}, "a frame") for frame in own.frames])
    scaled = np.vstack([np.concatenate(rows) / sigmas[:, None], np.eye(model.n_weights)])
    weights = np.linalg.lstsq(scaled, np.concatenate([values / sigmas, np.zeros(model.n_weights)]), rcond=None)[0]
    assert Posterior.of_labels(labels, noise).mean == pytest.approx(weights, rel=1e-5)
    assert labels.variances(noise) == pytest.approx((noise.scale * sigmas) ** 2)
    # Energies of one type are expected to be far off.
    hot = labels.variances(noise)[(labels.kinds == ENERGY) & (labels.frame_of % 2 == 1)]
    assert hot == pytest.approx(np.full(3, 2 * (3.0 * 0.5) ** 2 * 2))


def test_what_is_not_given_is_that_of_the_noise(tmp_path: Path) -> None:
    own = database(
        tmp_path, regularisation={"force": {"relative": 0.2}}, types={"cold": {"regularisation": {"energy": 0.1}}}
    )
    noise = Noise(scale=2.0)
    frames = own.frames
    model, rows = rows_of(frames)
    found = OwnDatabases((own,))
    plain = observations(frames, rows, model.n_weights, E0)
    some = observations(frames, rows, model.n_weights, E0, given=found.given)
    before, after = plain.variances(noise), some.variances(noise)
    assert after[some.kinds == VIRIAL] == pytest.approx(before[some.kinds == VIRIAL])
    cold = some.frame_of % 2 == 0
    assert after[(some.kinds == ENERGY) & ~cold] == pytest.approx(before[(some.kinds == ENERGY) & ~cold])
    assert after[(some.kinds == ENERGY) & cold] == pytest.approx(np.full(3, 2 * 0.2**2))
    force = some.kinds == FORCE
    assert after[force] == pytest.approx((2.0 * 0.2 * some.values[force]) ** 2 + noise.force_floor**2)
    # Nothing that is given is nothing at all.
    nothing = observations(frames, rows, model.n_weights, E0, given=[None] * len(frames))
    assert nothing.given is None
    assert OwnDatabases((database(tmp_path),)).given == [None] * 6


def test_the_most_probable_noise_takes_them_as_they_are(tmp_path: Path) -> None:
    own = OwnDatabases((database(tmp_path, regularisation=SAID),))
    frames = [*own.frames, *labelled(4, seed=2)]
    model, rows = rows_of(frames)
    labels = observations(frames, rows, model.n_weights, E0, given=[*own.given, *[None] * 4])
    found = most_probable_noise(labels)

    def probability(noise: Noise) -> float:
        sigmas = np.sqrt(labels.variances(noise))
        told, values = noise.scale * labels.rows / sigmas[:, None], labels.values / sigmas
        m = told.shape[1]
        stacked, right = np.vstack([told, np.eye(m)]), np.concatenate([values, np.zeros(m)])
        left = right - stacked @ np.linalg.lstsq(stacked, right, rcond=None)[0]
        determinant = 2 * np.sum(np.log(sigmas)) + np.sum(np.log1p(np.linalg.svd(told, compute_uv=False) ** 2))
        offsets = (np.log(list(noise.to_dict().values())) - np.log(PRIOR)) / PRIOR_WIDTH
        return float(-0.5 * (left @ left + determinant + offsets @ offsets))

    best = probability(found)
    for name, value in found.to_dict().items():
        for factor in (0.8, 1.25):
            assert probability(Noise(**{**found.to_dict(), name: factor * value})) < best + 1e-2
    assert probability(Noise()) < best


def test_a_database_of_large_expected_errors_tells_less(tmp_path: Path) -> None:
    crystal = bulk("Cu", "fcc", a=3.6)
    errors = {}
    for name, said in {
        "none": None,
        "given": SAID,
        "large": {key: _times(20, value) for key, value in SAID.items()},
    }.items():
        own = OwnDatabases((database(tmp_path, regularisation=said),))
        selector = Selector(rows_of([])[0], labelled(3, seed=3), [PressureTarget(crystal)], unit="labels", e0=E0)
        selector.add(own.frames, given=own.given)
        errors[name] = np.linalg.norm(selector.error_rows[0] @ selector.posterior.root) / selector.noise.scale
    assert errors["large"] > 3 * errors["given"]


def _times(factor: float, value: object) -> object:
    if isinstance(value, dict):
        return {key: _times(factor, one) for key, one in value.items()}
    return factor * value  # type: ignore[operator]


def test_sigmas_of_single_frames() -> None:
    frame = labelled(1)[0]
    found = GivenSigmas.of_frame(frame, {"kind": "static", "force": {"minimum": 0.4}})
    assert set(found.values[1:7]) == {0.4}
    assert not found.relative[1:7].any()
    assert found.relative[0]
    assert found.floor[7:].all()
    del frame.arrays["REF_forces"]
    expected = Regularisation(virial={"relative": 0.1, "minimum": 0.01}).virial_sigma(frame.info["REF_virial"])
    given = GivenSigmas.of_frame(frame, {"virial": {"relative": 0.1, "minimum": 0.01}})
    assert given.values[-6:] == pytest.approx(expected[list(COMPONENTS)])
    assert isinstance(observations([frame], rows_of([frame])[1], 4, E0, given=[given]), Observations)
