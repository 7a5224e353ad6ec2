"""Studies that choose labels by information: what a choice sees, the fits that follow, and predicted errors."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from ndsc.config import load_config
from ndsc.config.study import SelectConfig, parse_study
from ndsc.errors import InputError
from ndsc.fit import apply_regularisation
from ndsc.fit.evaluation import evaluate
from ndsc.fit.linear_system import LinearSystem
from ndsc.fit.training import single_atom_energies
from ndsc.reference import StoredCalculator, label_configurations
from ndsc.selection import ElasticTarget, GapModel, PhononTarget
from ndsc.selection.noise import calibration, most_probable_noise
from ndsc.selection.posterior import Posterior
from ndsc.selection.prediction import predict_errors, predict_phonons
from ndsc.selection.selector import observations
from ndsc.study.finished import Finished
from ndsc.study.fitting import FitGroup
from ndsc.study.information import InformedChoices, NotChosenError
from ndsc.study.models import PoolModels
from ndsc.study.run import plan_study, run_study
from ndsc.study.runs import StudyRun
from ndsc.study.selection import candidates
from ndsc.study.variants import Planner, expand
from ndsc.workflow.derived import elastic_through_store
from ndsc.workflow.plan import make_plan

pytestmark = pytest.mark.gap

RUN = """
[crystal]
structure = "Al"
[supercells]
grid = [2, 2, 2]
[configurations]
per_supercell = 4
unit_cells = 4
displacement = 0.05
scale = [0.99, 1.0, 1.01]
unlabelled = 4
[reference]
calculator = "emt"
labels = "labels"
[executor]
workers = 1
[fit]
solver = "numpy"
cutoff = 4.5
n_max = 4
l_max = 3
n_sparse = 30
"""
HEAD = """
[study]
title = "A study"
seeds = [1, 2]
missing = "leave out"
[runs]
al = "al.toml"
[[potentials]]
name = "a"
sparse_points = "pool"
sigmas = "evidence"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    (path / "al.toml").write_text(RUN)
    plan = make_plan(load_config(path / "al.toml"), path)
    label_configurations(plan.configurations, plan.spec, plan.store)
    return path


@pytest.fixture
def al(folder):
    return StudyRun.load("al", folder / "al.toml")


def planner(folder, run, select, cache, *, more="", compute=True):
    config = parse_study(f"{HEAD}select = {select}\n{more}", folder=folder, source="study.toml")
    finished = Finished(cache)
    return Planner(config, {"al": run}, InformedChoices(finished, PoolModels(cache), compute=compute))


def members(folder, run, select, cache, **rest):
    (task,) = planner(folder, run, select, cache, **rest).tasks()
    return {name for _, name in task.selected.members}


def chosen_in_order(cache):
    (kept,) = cache.glob("selection-*.json")
    return [name for _, name in json.loads(kept.read_text())["members"]]


def spoilt(frame, random):
    """A configuration with the labels of some other world."""
    frame = frame.copy()
    frame.info["REF_energy"] += random.normal()
    frame.arrays["REF_forces"] = random.normal(size=(len(frame), 3))
    frame.info["REF_virial"] = (np.eye(3) * random.normal()).reshape(-1)
    return frame


def test_no_label_that_was_not_chosen_matters(folder, al, tmp_path):
    chosen = members(folder, al, "{method = 'information', size = 7}", tmp_path / "a")
    assert len(chosen) == 7
    random = np.random.default_rng(1)
    other = StudyRun.load("al", folder / "al.toml")
    for name, frame in other.database.items():
        if name not in chosen:
            other.database[name] = spoilt(frame, random)
    assert members(folder, other, "{method = 'information', size = 7}", tmp_path / "b") == chosen
    # The labels of those that were chosen first do matter to the order of the others.
    order = chosen_in_order(tmp_path / "a")
    for name in order[:2]:
        other.database[name] = spoilt(other.database[name], random)
    members(folder, other, "{method = 'information', size = 7}", tmp_path / "c")
    assert chosen_in_order(tmp_path / "b") == order
    changed = chosen_in_order(tmp_path / "c")
    assert changed[:2] == order[:2]
    assert changed != order


def test_a_larger_choice_continues_a_smaller_one(folder, al, tmp_path):
    for key, limits in (("size", (3, 4, 7)), ("atoms", (5, 8, 12)), ("fraction", (0.2, 0.5))):
        found = [members(folder, al, f"{{method = 'information', {key} = {limit}}}", tmp_path) for limit in limits]
        for smaller, larger in pairwise(found):
            assert smaller < larger
    (task,) = planner(folder, al, "{method = 'information', atoms = 8}", tmp_path).tasks()
    assert 0 < task.selected.n_atoms <= 8
    total = sum(label.cost_seconds for label in al.labels.values())
    (task,) = planner(folder, al, f"{{method = 'information', seconds = {total / 3}}}", tmp_path).tasks()
    assert 0 < task.selected.seconds <= total / 3


def test_a_choice_from_the_start_is_the_one_that_went_on(folder, al, tmp_path):
    sweep = "[sweep]\n'select.size' = [3, 6, 9]\n"
    swept = planner(folder, al, "{method = 'information'}", tmp_path / "a", more=sweep).tasks()
    assert [task.variant.seed for task in swept] == [None] * 3
    assert {name for _, name in swept[2].selected.members} == members(
        folder, al, "{method = 'information', size = 9}", tmp_path / "b"
    )


def test_filters_and_what_is_always_in_hold_for_choices_too(folder, al, tmp_path):
    found = members(
        folder, al, "{method = 'information', kind = 'supercell', always = 'unit-000[01]', size = 5}", tmp_path
    )
    assert {name for name in found if name.startswith("unit")} == {"unit-0000", "unit-0001"}
    assert len(found) == 5
    del al.labels["unit-0000"]
    other = StudyRun.load("al", folder / "al.toml")
    del other.labels["unit-0002"]
    everything = len(other.labels)
    found = members(folder, other, f"{{method = 'information', size = {everything}}}", tmp_path)
    assert found == set(other.labels)


def test_a_choice_is_kept_and_a_dry_run_makes_none(folder, al, tmp_path, monkeypatch):
    select = "{method = 'information', size = 5}"
    with pytest.raises(NotChosenError, match="5 labels"):
        planner(folder, al, select, tmp_path, compute=False).tasks()
    text = f"{HEAD}select = {select}\n[[potentials]]\nname = 'b'\nselect = {{size = 4}}\n"
    config = parse_study(text, folder=folder, source="study.toml")
    before = plan_study(config, tmp_path)
    assert before.potential.tolist() == ["a", "b, seed 1", "b, seed 2"]
    assert before.labels.tolist() == [5, 4, 4]
    assert before.atoms.isna().tolist() == [True, False, False]
    chosen = members(folder, al, select, tmp_path)
    monkeypatch.setattr("ndsc.study.information.Selector", None)
    assert members(folder, al, select, tmp_path, compute=False) == chosen
    after = plan_study(config, tmp_path)
    assert after.atoms.notna().all()
    assert set(chosen_in_order(tmp_path)[:5]) == chosen
    (kept,) = tmp_path.glob("selection-*.json")
    kept.write_text('{"members": [["al", "nothing"]]}')
    monkeypatch.undo()
    assert members(folder, al, select, tmp_path) == chosen


def test_a_choice_needs_a_limit(folder, al, tmp_path):
    with pytest.raises(InputError, match=r"nothing says how many.*select\.size"):
        planner(folder, al, "{method = 'information'}", tmp_path).tasks()
    with pytest.raises(InputError, match="100"):
        planner(folder, al, "{method = 'information', size = 100}", tmp_path).tasks()


def test_random_draws_and_choices_share_their_sparse_points_and_these_see_no_label(folder, al, tmp_path):
    more = "[[potentials]]\nname = 'b'\nselect = {size = 4}\nsparse_points = 'pool'\n"
    tasks = planner(folder, al, "{method = 'information', size = 4}", tmp_path / "a", more=more).tasks()
    assert [str(task.variant) for task in tasks] == ["a", "b, seed 1", "b, seed 2"]
    assert len({task.sparse_key for task in tasks}) == 1
    assert all(task.from_structures and not task.own_pool for task in tasks)
    assert len(tasks[0].pool_unlabelled) == len(al.database) + 4
    random = np.random.default_rng(2)
    points = []
    for name, structures in (
        ("x", tasks[0].pool_unlabelled),
        ("y", [spoilt(frame, random) if "REF_energy" in frame.info else frame for frame in tasks[0].pool_unlabelled]),
    ):
        model = PoolModels(tmp_path / name).of("key", structures, tasks[0].settings)
        points.append(model.kernels.covariance)
    assert np.array_equal(*points)


def test_candidates_that_a_run_left_offer_sparse_points(tmp_path):
    (tmp_path / "al.toml").write_text(RUN + '[selection]\nmethod = "information"\n')
    plan = make_plan(load_config(tmp_path / "al.toml"), tmp_path)
    labelled = [*plan.always_labelled, *plan.candidates[3:7]]
    label_configurations(labelled, plan.spec, plan.store)
    run = StudyRun.load("al", tmp_path / "al.toml")
    names = {atoms.info["ndsc_name"] for atoms in run.unlabelled}
    everything = {atoms.info["ndsc_name"] for atoms in [*plan.candidates, *plan.unlabelled]}
    assert names == everything - {atoms.info["ndsc_name"] for atoms in labelled}
    assert len(candidates([run], SelectConfig()).frames) == len(labelled)  # nothing is missing
    (task,) = planner(tmp_path, run, "{method = 'information', size = 3}", tmp_path / "cache").tasks()
    assert len(task.selected.frames) == 3
    assert len(task.pool_unlabelled) == len(everything) + len(plan.always_labelled)


def test_fits_with_sigmas_by_evidence_are_those_of_the_most_probable_noise(folder, al, tmp_path):
    tasks = planner(folder, al, "{size = 6}", tmp_path).tasks()
    with FitGroup(tasks, tmp_path, PoolModels(tmp_path)) as group:
        fitted = [group.fit(task) for task in tasks]
        for one in fitted:
            frames = list(one.task.selected.frames)
            model = GapModel(one.sparse_points)
            e0 = single_atom_energies(frames, one.task.settings)
            noise = most_probable_noise(observations(frames, model.rows(frames), model.n_weights, e0))
            assert one.noise.to_dict() == pytest.approx(noise.to_dict(), rel=1e-3)
            sigmas = noise.regularisation()
            assert one.regularisation.force.minimum == pytest.approx(sigmas.force.minimum, rel=1e-3)
            assert one.e0 == pytest.approx(e0)
            # The same potential from a system of these configurations alone, whose energies lack those of single atoms.
            bound = [frame.copy() for frame in frames]
            for frame in bound:
                frame.info["REF_energy"] -= e0["Al"] * len(frame)
            system = LinearSystem.from_potential(one.sparse_points, bound)
            predicted = system.predict(system.solve(regularisation=one.regularisation))
            own = evaluate(frames, one.calculator)
            assert np.allclose(own.model_forces, predicted.model_forces, atol=1e-6)
            energies = [one.calculator.get_potential_energy(frame) for frame in frames]
            assert np.allclose(energies, [frame.info["REF_energy"] for frame in frames], atol=0.02)
        assert group.largest_difference(fitted[0]) < 1e-4
    assert fitted[0].noise != fitted[1].noise
    assert apply_regularisation(frames, one.regularisation)[0].info["energy_sigma"] > 0


WHOLE = """
[study]
title = "Chosen and drawn"
seeds = [1, 2]
[runs]
al = "al.toml"
[[potentials]]
name = "chosen"
select = {method = "information"}
sparse_points = "pool"
sigmas = "evidence"
[[potentials]]
name = "drawn"
sparse_points = "pool"
sigmas = "evidence"
[sweep]
"select.size" = [4, 7]
[evaluate]
harmonic = false
predicted = true
[[checks]]
claim = "Errors are predicted"
test = "predicted_rmse_thz[drawn] < 100 and predicted_elastic_percent[drawn] < 1000"
together = true
seeds = "all"
[[checks]]
claim = "Bands are parts"
test = "0 < band_68[chosen] <= band_95[chosen] <= 1"
[[figures]]
kind = "predicted"
name = "errors"
[[tables]]
kind = "fits"
name = "fits"
[[tables]]
kind = "metrics"
name = "numbers"
metrics = ["n_labels", "rmse_mesh_thz", "predicted_rmse_thz", "predicted_elastic_percent", "band_68", "band_95"]
"""


@pytest.fixture(scope="module")
def whole(folder):
    """A study with references, its folder."""
    config = load_config(folder / "al.toml")
    plan = make_plan(config, folder)
    label_configurations(plan.to_label, plan.spec, plan.store)
    elastic_through_store(plan.crystal.atoms, StoredCalculator(plan.spec, plan.store), strain=0.005, relax_ions=True)
    study = parse_study(WHOLE, folder=folder, source="study.toml")
    return study, run_study(study, folder / "out"), folder / "out"


def test_predicted_errors_are_those_of_the_labels_learned_from(folder, al, whole):
    _, results, out = whole
    assert [str(one.variant) for one in results.outcomes] == [
        "chosen, size 4", "chosen, size 7", "drawn, size 4, seed 1", "drawn, size 4, seed 2",
        "drawn, size 7, seed 1", "drawn, size 7, seed 2",
    ]  # fmt: skip
    (points,) = (out / "cache" / "points").iterdir()
    model = GapModel(points / "gap.xml")
    targets = [PhononTarget(al.plan.crystal, 2), ElasticTarget(al.plan.crystal)]
    for target in targets:
        target.prepare(model.rows(target.frames()))
    for one in results.outcomes:
        frames = [al.database[label.split("/")[1]] for label in one.labels]
        labels = observations(frames, model.rows(frames), model.n_weights)
        noise = most_probable_noise(labels)
        found = predict_errors(Posterior.of_labels(labels, noise), targets, factors=calibration(labels, noise))
        assert one.value("predicted_rmse_thz", "al") == pytest.approx(found.rmse_thz, rel=0.02)
        assert one.value("predicted_elastic_percent", "al") == pytest.approx(found.elastic_percent, rel=0.02)
        assert one.regularisation["kind"] == "evidence"
        assert one.regularisation["force"]["minimum"] == pytest.approx(noise.regularisation().force.minimum, rel=0.02)
        assert 0 <= one.value("band_68", "al") <= one.value("band_95", "al") <= 1
        # Phonons of the mean of the posterior are those of the potential, but for its own lattice.
        truth = one.evaluations["al"].phonons
        phonons = predict_phonons(Posterior.of_labels(labels, noise), targets[0], truth.mesh_qpoints, samples=2)
        assert np.abs(phonons.frequencies - truth.model_mesh).max() < 0.25


def test_a_study_with_predicted_errors_is_written_and_found_finished(folder, whole, monkeypatch):
    config, results, out = whole
    assert (out / "errors.png").is_file()
    assert {"run", "series", "predicted_rmse_thz"} <= set(pd.read_csv(out / "errors.csv").columns)
    page = (out / "study.md").read_text()
    assert "modes in the 68 % band" in page
    assert "evidence" in page
    assert [len(check.findings) for check in results.checks] == [1, 2]
    assert results.checks[0].holds
    for name in ("Selector", "PoolModels"):
        monkeypatch.setattr(f"ndsc.study.information.{name}", None)
    monkeypatch.setattr("ndsc.study.run.evaluate_potential", None)
    again = run_study(config, out)
    assert again.frame.equals(results.frame)
    assert [one.regularisation for one in again.outcomes] == [one.regularisation for one in results.outcomes]
    assert plan_study(config, out / "cache").finished.all()


def test_keys_of_earlier_evaluations_stay(folder):
    text = WHOLE.split("[[checks]]")[0].replace("predicted = true", "dos = true")
    config = parse_study(text, folder=folder, source="study.toml")
    judged = parse_study(text.replace("[evaluate]", "[evaluate]\non = ['al']"), folder=folder, source="study.toml")
    assert judged.evaluate.asked == config.evaluate.asked
    assert config.evaluate.asked == {"phonons": True, "elastic": True, "harmonic": False, "dos": True}


def test_checks_need_the_predictions_that_they_are_about(folder):
    with pytest.raises(InputError, match="predicted = false"):
        parse_study(WHOLE.replace("predicted = true", "predicted = false"), folder=folder, source="study.toml")
    with pytest.raises(InputError, match="uses labels of the run 'cu'"):
        expand(parse_study(WHOLE.replace("[sweep]", "[sweep]\ntrain = ['al', 'cu']"), folder=folder))
