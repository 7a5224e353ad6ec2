"""Choosing configurations: what is chosen, what it costs, what is seen, and hostile input."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import ndsc
from linear_models_for_tests import ModelCalculator, PairModel, RandomModel, bound_crystal, crystals, labelled
from ndsc.errors import InputError
from ndsc.fit.linear_system import ENERGY, FORCE, VIRIAL, kinds_of
from ndsc.selection import (
    ElasticTarget,
    ForceTarget,
    PhononTarget,
    PressureTarget,
    Selector,
    make_candidates,
    predicted_phonons,
    select_configurations,
)
from ndsc.selection.candidates import FEWEST, strata
from ndsc.selection.noise import sizes_of
from ndsc.selection.posterior import Posterior
from ndsc.selection.selector import observations


@pytest.fixture(scope="module")
def case():
    """A bound hcp crystal, its model and weights, candidates and targets."""
    atoms, model, z = bound_crystal(crystals()["hcp"], extra=np.arange(1.8, 4.6, 0.2))
    supercells = ndsc.find_supercells(atoms, 2)
    candidates = make_candidates(supercells, 100)
    return candidates, model, z, [PhononTarget(atoms, supercells), ElasticTarget(atoms)]


def paid(case, numbers):
    candidates, model, z, _ = case
    return labelled([candidates[number] for number in numbers], ModelCalculator(model, z))


# What is chosen


def test_predicted_errors_are_those_of_refits(case):
    """After each label, what was predicted before it was paid for is what a posterior with it says."""
    candidates, model, _, targets = case
    start = paid(case, [0, 30, 60])
    chosen = select_configurations(candidates, model, targets, n=4, labelled=start)
    selector = Selector(model, candidates, targets, unit="labels")
    selector.add(start)
    before, noise = selector.predict(), selector.noise
    rows = [targets[0].error_rows(selector.posterior)]
    labels = observations(start, model.rows(start), model.n_weights)
    for count in range(1, 5):
        parts = [labels.rows]
        precise = [1 / noise.variances(labels.kinds, labels.sizes, labels.n_atoms)]
        for number in chosen.order[:count]:
            own = model.rows([candidates[number]])[0]
            kinds = kinds_of(len(candidates[number]))
            squares = (own @ selector.posterior.mean) ** 2 + selector.posterior.deviations(own) ** 2
            parts.append(own)
            precise.append(1 / noise.variances(kinds, sizes_of(kinds, squares), len(candidates[number])))
        told, weights = np.vstack(parts), np.concatenate(precise)
        covariance = np.linalg.inv((told.T * weights) @ told + np.eye(model.n_weights) / noise.scale**2)
        error = np.sqrt(np.trace(rows[0] @ covariance @ rows[0].T))
        assert chosen.predicted_rmse_thz[count - 1] == pytest.approx(before.factor * error, rel=0.01)
    assert len(chosen) == 4
    assert np.all(np.diff(chosen.predicted_rmse_thz) <= 1e-12)


def test_chosen_labels_make_a_better_potential_than_most_random_ones(case):
    candidates, model, z, targets = case
    for target in targets:
        target.prepare(model.rows(target.frames()))
    truth = targets[0].error_rows(Posterior(z, 1e-6 * np.eye(len(z))))

    def error(numbers, seed):
        random = np.random.default_rng(seed)
        frames = paid(case, numbers)
        for frame in frames:
            frame.arrays["REF_forces"] = frame.arrays["REF_forces"] + random.normal(0, 0.02, (len(frame), 3))
        selector = Selector(model, candidates, targets)
        selector.add(frames)
        return np.linalg.norm(truth @ (selector.posterior.mean - z))

    chosen = select_configurations(candidates, model, targets, n=4).order
    random = np.random.default_rng(0)
    others = [error(random.choice(len(candidates), 4, replace=False), seed) for seed in range(12)]
    assert np.median([error(chosen, seed) for seed in range(12)]) < 0.8 * np.median(others)


def test_the_order_of_candidates_does_not_matter(case):
    candidates, model, _, targets = case
    some = candidates[:60]
    shuffled = np.random.default_rng(0).permutation(len(some))
    orders = []
    for frames in (some, [some[number] for number in shuffled]):
        selector = Selector(model, frames, targets, unit="labels")
        # All are looked at, or which ones of a kind are would depend on the order.
        selector._compute(range(len(some)))
        orders.append(selector.choose(5).order)
    assert [shuffled[number] for number in orders[1]] == list(orders[0])


def test_a_selector_goes_on_from_its_labels(case):
    candidates, model, _, targets = case
    selector = Selector(model, candidates, targets, unit="labels")
    order: list[int] = []
    errors = []
    for _ in range(3):
        new = list(selector.choose(2).order)
        assert not set(new) & set(order)
        selector.add(paid(case, new), candidates=new, seconds=[1.0, 2.0])
        order += new
        errors.append(selector.predict().rmse_thz)
    assert errors[-1] < errors[0]
    selector.skip(range(len(candidates)))
    assert selector.choose(2).order == ()


def test_rows_of_candidates_are_used_again_for_their_labels(case):
    candidates, model, _, targets = case
    selector = Selector(model, candidates, targets)
    new = list(selector.choose(2).order)
    labels, calls = paid(case, new), model.calls
    selector.add(labels, candidates=new)
    assert model.calls == calls
    with pytest.raises(InputError, match="one number for each"):
        selector.add(labels, candidates=new[:1])


# What is seen


@pytest.mark.parametrize("nonsense", [np.nan, 1e6, 0.0])
def test_labels_that_are_not_paid_for_change_nothing(case, nonsense):
    candidates, model, _, targets = case
    start = [0, 30, 60]
    chosen = select_configurations(candidates, model, targets, n=5, labelled=paid(case, start))
    spoiled = []
    for frame in candidates:
        other = frame.copy()
        other.info |= {"REF_energy": nonsense, "REF_virial": np.full(9, nonsense)}
        other.arrays["REF_forces"] = np.full((len(frame), 3), nonsense)
        spoiled.append(other)
    found = select_configurations(spoiled, model, targets, n=5, labelled=paid(case, start))
    assert found.order == chosen.order
    assert np.array_equal(found.predicted_rmse_thz, chosen.predicted_rmse_thz)
    assert np.array_equal(found.predicted_elastic_percent, chosen.predicted_elastic_percent)


def test_labels_as_numbers():
    frame = bulk("NaCl", "rocksalt", a=5.6)
    frame.info["REF_energy"] = -3.0
    frame.info["REF_virial"] = np.arange(9.0).reshape(3, 3) + np.arange(9.0).reshape(3, 3).T
    frame.arrays["REF_forces"] = np.arange(6.0).reshape(2, 3)
    bare = frame.copy()
    del bare.info["REF_energy"], bare.arrays["REF_forces"]
    rows = [np.arange(13 * 2.0).reshape(13, 2), np.ones((13, 2))]
    labels = observations([frame, bare], rows, 2, {"Na": -1.0, "Cl": -0.5})
    assert labels.values.tolist() == [-1.5, 0, 1, 2, 3, 4, 5, 0, 4, 8, 8, 12, 16, 0, 4, 8, 8, 12, 16]
    assert labels.kinds.tolist() == [ENERGY, *[FORCE] * 6, *[VIRIAL] * 12]
    assert labels.frame_of.tolist() == [0] * 13 + [1] * 6
    assert np.array_equal(labels.rows[:13], rows[0])
    assert observations([frame], rows[:1], 2).values[0] == 0.0
    assert observations([], [], 2).rows.shape == (0, 2)


# What it costs


def test_costs(case):
    candidates, model, _, targets = case
    sizes = np.array([len(frame) for frame in candidates], dtype=float)
    for cost, expected in (
        ("labels", np.ones(len(candidates))),
        ("atoms", sizes),
        ("seconds", sizes**1.7),
        (2.5 * sizes, 2.5 * sizes),
        ((2.5 * sizes).tolist(), 2.5 * sizes),
        (lambda frames: [len(frame) ** 2 for frame in frames], sizes**2),
    ):
        chosen = select_configurations(candidates, model, targets, n=3, cost=cost)
        assert chosen.cost == pytest.approx(np.cumsum(expected[list(chosen.order)]))
    few = select_configurations(candidates, model, targets, budget=9.0, cost="atoms")
    assert few.cost[-1] <= 9.0


def test_more_expensive_candidates_are_taken_for_more_only(case):
    candidates, model, _, targets = case
    chosen = select_configurations(candidates, model, targets, n=1, cost=np.ones(len(candidates)))
    dear = np.ones(len(candidates))
    dear[list(chosen.order)] = 1e6
    other = select_configurations(candidates, model, targets, n=1, cost=dear)
    assert other.order != chosen.order


def test_it_stops_at_the_targets(case):
    candidates, model, _, targets = case
    start = paid(case, [0])
    longer = select_configurations(candidates, model, targets, n=8, labelled=start, exchange=False)
    limit = float(longer.predicted_rmse_thz[3])
    found = select_configurations(candidates, model, targets, target_thz=limit, cost="labels", labelled=start)
    assert found.order == longer.order[:4]
    assert found.target_met
    elastic = float(longer.predicted_elastic_percent[5])
    found = select_configurations(
        candidates, model, targets, n=8, target_thz=limit, target_elastic_percent=elastic, labelled=start
    )
    assert found.target_met
    assert found.predicted_elastic_percent[-1] <= elastic
    never = select_configurations(candidates, model, targets, n=2, target_thz=1e-9, labelled=start)
    assert never.target_met is False
    assert longer.target_met is None


def test_without_phonons_a_target_in_thz_is_never_met(case):
    candidates, model, _, targets = case
    found = select_configurations(candidates, model, targets[1:], n=2, target_thz=100.0)
    assert found.predicted_rmse_thz is None
    assert found.target_met is False


# Candidates


def test_candidates_are_of_all_kinds_and_the_same_every_time():
    for atoms in (bulk("Al"), bulk("Mg")):
        supercells = ndsc.find_supercells(atoms, 3)
        candidates = make_candidates(supercells, 200)
        again = make_candidates(supercells, 200)
        assert all(np.array_equal(a.positions, b.positions) for a, b in zip(candidates, again, strict=True))
        assert np.allclose(candidates[0].positions, atoms.positions)
        sizes = {len(frame) // len(atoms) for frame in candidates}
        assert sizes == {1, *(round(abs(np.linalg.det(matrix))) for matrix in supercells.matrices)}
        kinds = strata(candidates)
        assert len(kinds) == len(candidates)
        assert len(set(kinds)) >= 12 * len(supercells)
        assert len(candidates) >= FEWEST * len(supercells)
        names = [frame.info["ndsc_name"] for frame in candidates]
        assert len(set(names)) == len(names)


# Hostile input


def test_identical_candidates(case):
    candidates, model, _, targets = case
    same = [candidates[40].copy() for _ in range(20)]
    found = select_configurations(same, model, targets, n=6)
    assert 1 <= len(found) <= 6
    assert len(set(found.order)) == len(found)
    assert np.all(np.isfinite(found.predicted_rmse_thz))


def test_a_target_that_no_candidate_tells_anything_about(case):
    candidates, model, _, targets = case
    # The forces of the perfect crystal are zero by symmetry, whatever the weights.
    rest = ForceTarget([targets[0].crystal.atoms])
    found = select_configurations(candidates, model, rest, n=3)
    assert found.order == ()
    assert found.cost.shape == (0,)
    other = PairModel([("Mg", "Mg"), ("Al", "Al")], [2.5, 3.0, 3.5])
    absent = PhononTarget(bulk("Al"), 2)
    found = select_configurations(candidates, other, absent, n=3)
    assert found.order == ()


def test_a_budget_below_one_label_meets_no_target(case):
    candidates, model, _, targets = case
    found = select_configurations(candidates, model, targets, budget=0.5, target_thz=1e-3, cost="atoms")
    assert found.order == ()
    assert found.target_met is False
    assert found.predicted_rmse_thz.shape == (0,)


def test_a_crystal_of_one_atom_with_a_grid_of_one():
    atoms, model, _ = bound_crystal(crystals()["fcc"])
    candidates = [atoms.copy() for _ in range(3)]
    for number, frame in enumerate(candidates):
        frame.set_cell(frame.cell.array * (1 + 0.01 * number), scale_atoms=True)
    found = select_configurations(candidates, model, [PhononTarget(atoms, 1), ElasticTarget(atoms)], n=3)
    assert found.order
    assert np.all(found.predicted_rmse_thz == 0)
    assert np.all(np.diff(found.predicted_elastic_percent) < 0)
    nothing = select_configurations(candidates, model, PhononTarget(atoms, 1), n=3)
    assert nothing.order == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "at least 1"),
        ({"n": 2.5}, "whole number"),
        ({"n": True}, "whole number"),
        ({}, "how many"),
        ({"budget": -1.0}, "positive"),
        ({"target_thz": np.nan}, "positive"),
        ({"target_elastic_percent": 0.0}, "positive"),
        ({"n": 2, "cost": "euros"}, "not known"),
        ({"n": 2, "cost": [1.0, 2.0]}, "positive numbers"),
        ({"n": 2, "cost": object()}, "list of numbers"),
        ({"n": 2, "cost": lambda frames: np.zeros(len(frames))}, "positive numbers"),
        ({"n": 2, "targets": []}, "no targets"),
        ({"n": 2, "candidates": []}, "no candidates"),
    ],
)
def test_bad_input_is_refused(case, given, message):
    candidates, model, _, targets = case
    given = {"candidates": candidates, "targets": targets} | given
    with pytest.raises(InputError, match=message):
        select_configurations(given.pop("candidates"), model, given.pop("targets"), **given)


def test_phonons_need_labels(case):
    with pytest.raises(InputError, match="No configuration has a label"):
        predicted_phonons([], case[1], case[3][0], [[0, 0, 0]])


# Predicted phonons


def test_predicted_phonons_come_near_the_truth_and_know_how_near(case):
    candidates, model, z, targets = case
    chosen = select_configurations(candidates, model, targets, n=5)
    target = targets[0]
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (30, 3))
    found = predicted_phonons(paid(case, chosen.order), model, target, points, samples=64)
    truth = ndsc.phonons_from_supercells(target.crystal, 2, ModelCalculator(model, z), displacement=1e-3)
    expected = np.sort(np.array(truth.phonopy.run_qpoints(points).frequencies), axis=1)
    error = np.sqrt(np.mean((found.frequencies - expected) ** 2))
    assert error < 5 * found.rmse_thz + 0.01
    lower, upper = found.band(0.95)
    assert np.all(lower <= found.frequencies)
    assert np.allclose(upper - found.frequencies, 1.959964 * found.deviations)
    with pytest.raises(InputError, match="between 0 and 1"):
        found.band(1.0)


def test_random_rows_do_for_the_choice():
    """Nothing but rows is asked of a model."""
    frames = [bulk("Al", cubic=True) for _ in range(8)]
    for number, frame in enumerate(frames):
        frame.rattle(0.1, seed=number)
    target = PressureTarget(Atoms("Al", cell=np.eye(3) * 3, pbc=True))
    found = select_configurations(frames, RandomModel(), target, n=3)
    assert len(found) == 3
    assert found.predicted_rmse_thz is None
