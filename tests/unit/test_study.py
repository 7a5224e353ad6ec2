"""Studies without fits: input files, selections, variants, checks, tables, the cache."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ndsc.codes import MEANINGS, code_of
from ndsc.config.published import FIT_VALUES, SETTING_VALUES, WORDS
from ndsc.config.study import load_study, parse_study
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.kpoints import k_spacing
from ndsc.results import Comparison
from ndsc.study.cache import Cache, fit_key, sparse_key
from ndsc.study.checks import judge
from ndsc.study.page import anchor, study_section
from ndsc.study.record import document, results_table
from ndsc.study.results import Evaluation, Numbers, Outcome, RunFacts, StudyResults, Variant, typical
from ndsc.study.runs import StudyRun, load_runs
from ndsc.study.selection import candidates, draw
from ndsc.study.tables import make_table
from ndsc.study.timing import Clock, StudyTime, Took
from ndsc.study.variants import Planner, expand, needed_runs
from ndsc.workflow import run_workflow

RUN = """
[crystal]
structure = "Al"
[supercells]
grid = [2, 2, 2]
[[configurations]]
name = "cells"
per_supercell = 0
unit_cells = 4
unlabelled = 0
[[configurations]]
name = "small"
per_supercell = 4
displacement = 0.02
unit_cells = 0
unlabelled = 4
[[configurations]]
name = "large"
per_supercell = 3
displacement = [0.05, 0.1]
scale = 1.0
unit_cells = 0
seed = 2
unlabelled = 0
[reference]
calculator = "emt"
labels = "labels"
[executor]
workers = 1
[fit]
method = "{method}"
n_sparse = 20
"""
HEAD = """
[study]
title = "A study"
claim = "It is so."
seeds = [1, 2, 3]
[runs]
al = "al.toml"
"""
ONE = HEAD + '[[potentials]]\nname = "a"\n'
PUBLISHED = ONE + '[[published]]\nname = "x"\non = "al"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    (path / "al.toml").write_text(RUN.format(method="none"))
    from ndsc.config import load_config

    run_workflow(load_config(path / "al.toml"), path / "run")
    return path


@pytest.fixture(scope="module")
def al(folder):
    return StudyRun.load("al", folder / "al.toml")


def study(folder, text):
    return parse_study(text, folder=folder, source="study.toml")


def select(text):
    return parse_study(ONE + f"select = {text}\n").potentials[0].select


def planner(folder, al, text):
    return Planner(study(folder, text), {"al": al})


# --- input files ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "potentials"),
        ("[study]\ntitle = 'x'\n[[potentials]]\nname = 'a'\n", "runs"),
        (ONE + "colour = 1\n", "colour"),
        (ONE + "fit = {n_sparse = 0}\n", "n_sparse"),
        (ONE + "fit = {n_spars = 10}\n", "Did you mean 'n_sparse'"),
        (ONE + "select = {size = 3, seconds = 1.0}\n", "limits of one draw"),
        (ONE + "select = {seconds = 'b'}\n", "names the potential 'b'"),
        (ONE + "sparse_points = {potential = 'b'}\n", "names the potential 'b'"),
        (ONE + "sparse_points = 'mine'\n", "sparse_points"),
        (ONE + "train = ['cu']\n", "names the run 'cu'"),
        (ONE + "[[potentials]]\nname = 'a'\n", "twice"),
        (ONE + "[evaluate]\non = 'cu'\n", "names the run 'cu'"),
        (ONE + "[[checks]]\nsays = 'x'\nmetric = 'C11'\nof = 'a'\n", "below, above"),
        (ONE + "[[checks]]\nsays = 'x'\nmetric = 'C11'\nof = 'a'\nbelow = 1.0\nabove = 0.0\n", "below and above"),
        (ONE + "[[checks]]\nsays = 'x'\nmetric = 'C11'\nof = 'b'\nbelow = 1.0\n", "names the potential 'b'"),
        (ONE + "[[figures]]\nkind = 'pie'\nname = 'f'\n", "kind"),
        (ONE + "[[figures]]\nkind = 'elastic'\nname = 'f'\n[[tables]]\nkind = 'fits'\nname = 'f'\n", "twice"),
        (ONE + "[[published]]\nname = 'x'\non = 'cu'\nvalues = {a = 1.0}\n", "names the run 'cu'"),
        (PUBLISHED + "values = {cut_off = 1.0}\n", "no table has a row 'cut_off'; did you mean 'cutoff'"),
        (PUBLISHED + "values = {C47 = 1.0}\n", "no table has a row 'C47'; the page on studies"),
        (PUBLISHED + "values = {a = 'long'}\n", "a = 'long' is no number"),
        (PUBLISHED + "tables = 't'\nvalues = {a = 1.0}\n", "names the table 't', which there is not"),
        (ONE + "[[tables]]\nkind = 'metrics'\nname = 't'\nmetrics = ['rmse']\n", "there is no metric 'rmse'"),
        (ONE + "[[figures]]\nkind = 'elastic'\nname = 'f'\nat = {'fit.zeta' = 2}\n", "a is not swept"),
        (ONE.replace("[1, 2, 3]", "[1, 1]"), "seed is there twice"),
        (ONE + "name =", "not valid TOML"),
    ],
)
def test_mistakes_are_told_by_their_key(text, said):
    with pytest.raises(InputError) as error:
        parse_study(text, source="study.toml")
    assert said in str(error.value)
    assert "study.toml" in str(error.value)


def test_paths_of_runs_are_relative_to_the_file(tmp_path):
    (tmp_path / "s.toml").write_text(ONE)
    assert load_study(tmp_path / "s.toml").runs["al"] == tmp_path / "al.toml"
    with pytest.raises(InputError, match="cannot be read"):
        load_study(tmp_path / "other.toml")
    with pytest.raises(InputError, match="there is no file"):
        load_runs({"al": tmp_path / "al.toml"}, ["al"])


# --- selections ---


def test_filters(al):
    everything = candidates([al], select("{}"))
    assert len(everything.members) == 4 + 2 * 4 + 2 * 3
    assert everything.seconds == pytest.approx(sum(label.seconds for label in al.labels.values()))
    assert everything.n_atoms == sum(len(frame) for frame in everything.frames)
    assert everything.atoms_cubed == sum(len(frame) ** 3 for frame in everything.frames)
    assert len(candidates([al], select("{kind = 'unit_cell'}")).members) == 4
    assert len(candidates([al], select("{part = ['small', 'large']}")).members) == 14
    small = candidates([al], select("{displacement = 0.02}"))
    assert {frame.info["ndsc_part"] for frame in small.frames} == {"small"}
    scaled = candidates([al], select("{scale = 1.02}"))
    assert {frame.info["ndsc_scale"] for frame in scaled.frames} == {1.02}
    with_always = candidates([al], select("{part = 'large', always = 'cells-unit-0000'}"))
    assert next(name for _, name in with_always.members) == "cells-unit-0000"
    assert len(with_always.members) == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind = 'surface'}", "select.kind names 'surface'"),
        ("{part = 'middle'}", "There are cells, large, small"),
        ("{displacement = 0.03}", "select.displacement = 0.03"),
        ("{scale = 0.9}", "select.scale = 0.9"),
        ("{name = 'b-*'}", "is like the name of no configuration"),
        ("{kind = 'unit_cell', part = 'large'}", "No labelled configuration"),
        ("{size = 100}", "100 labels where 18 are there"),
        ("{atoms = 1, always = 'cells-*'}", "alone exceed it"),
        ("{seconds = 1e-9}", "one label alone exceed"),
    ],
)
def test_selections_that_cannot_be_made(al, text, said):
    with pytest.raises(InputError) as error:
        draw([al], select(text), 1)
    assert said in str(error.value)


def test_draws_are_random_reproducible_and_nested(al):
    small = draw([al], select("{size = 4, always = 'cells-unit-0000'}"), 1)
    large = draw([al], select("{size = 9, always = 'cells-unit-0000'}"), 1)
    assert len(small.members) == 4
    assert set(small.members) < set(large.members)
    assert ("al", "cells-unit-0000") in small.members
    assert small.members == draw([al], select("{size = 4, always = 'cells-unit-0000'}"), 1).members
    others = {draw([al], select("{size = 4}"), seed).members for seed in range(1, 6)}
    assert len(others) == 5
    order = [name for _, name in candidates([al], select("{}")).members]
    assert [name for _, name in large.members] == sorted((name for _, name in large.members), key=order.index)


def test_draws_keep_to_their_budget(al):
    for seed in range(1, 6):
        atoms = draw([al], select("{atoms = 12}"), seed)
        assert 10 <= atoms.n_atoms <= 12  # the largest configuration has 2 atoms
        whole = candidates([al], select("{}")).seconds
        half = draw([al], select(f"{{seconds = {whole / 2}}}"), seed)
        assert 0 < half.seconds <= whole / 2
        assert len(draw([al], select("{fraction = 0.5}"), seed).members) == 9


def test_a_limit_that_names_a_potential_is_what_that_one_used(folder, al):
    text = ONE + "select = {part = 'cells'}\n[[potentials]]\nname = 'b'\nselect = {part = 'large', LIMIT = 'a'}\n"
    for limit, measure in (("seconds", "seconds"), ("atoms", "n_atoms")):
        tasks = planner(folder, al, text.replace("LIMIT", limit)).tasks()
        spent = getattr(tasks[0].selected, measure)
        assert [task.variant.seed for task in tasks] == [None, 1, 2, 3]
        assert all(getattr(task.selected, measure) <= spent for task in tasks[1:])
    sizes = [len(task.selected.members) for task in planner(folder, al, text.replace("LIMIT", "size")).tasks()]
    assert sizes == [4, 4, 4, 4]
    circle = ONE + "select = {size = 'b'}\n[[potentials]]\nname = 'b'\nselect = {size = 'a'}\n"
    with pytest.raises(InputError, match="circle: a -> b -> a"):
        planner(folder, al, circle).tasks()


def test_missing_labels_stop_a_study_or_are_left_out(folder, al, tmp_path):
    missing = StudyRun(al.name, al.file, al.config, al.plan, al.keys, dict(al.labels))
    del missing.labels["small-s000-0001"]
    with pytest.raises(ReferenceCalculationError, match=r"ndsc run .*al\.toml"):
        draw([missing], select("{part = 'small'}"), 1)
    assert len(draw([missing], select("{part = 'small'}"), 1, leave_out=True).members) == 7
    assert len(draw([missing], select("{part = 'large'}"), 1).members) == 6
    (tmp_path / "al.toml").write_text(RUN.format(method="none"))
    with pytest.raises(ReferenceCalculationError, match="its crystal is not relaxed"):
        StudyRun.load("al", tmp_path / "al.toml")


# --- variants ---


def test_sweeps_seeds_and_what_depends_on_them(folder, al):
    text = (
        ONE + "[[potentials]]\nname = 'b'\nsweep = {}\n[sweep]\n'select.size' = [4, 8]\n'regularisation.kind' = "
        "['static', 'adaptive']\n"
    )
    config = study(folder, text)
    variants = [variant for variant, _ in expand(config)]
    assert len(variants) == (4 + 1) * 3
    assert str(variants[0]) == "a, size 4, kind static, seed 1"
    tasks = Planner(config, {"al": al}).tasks()
    assert [task.variant.seed for task in tasks] == [1, 2, 3] * 4 + [None]
    assert tasks[0].regularisation.kind == "static"
    assert tasks[0].selected.members == tasks[3].selected.members
    assert tasks[0].settings.n_sparse == 20
    assert {len(task.selected.members) for task in tasks[:6]} == {4}
    assert tasks[0].left_out is not None
    assert len(tasks[0].left_out.members) == 14
    assert tasks[-1].left_out is None


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("'select.sise' = [1]", "Did you mean 'size'"),
        ("'fit.n_sparse' = ['many']", "n_sparse"),
        ("'name' = ['b']", "cannot go over 'name'"),
        ("'select.size.more' = [1]", "a whole number is expected"),
        ("'select.size' = [4]\n'select.size.more' = [1]", "no table"),
    ],
)
def test_sweeps_that_make_no_sense(folder, sweep, said):
    with pytest.raises(InputError) as error:
        expand(study(folder, ONE + f"[sweep]\n{sweep}\n"))
    assert said in str(error.value)


def test_settings_are_the_runs_with_what_differs(folder, al):
    text = ONE + (
        "fit = {cutoff = 5.0}\nregularisation = {force = {relative = 0.5}}\n"
        "[[potentials]]\nname = 'b'\nfit = {preset = 'Al', n_sparse = 7}\n"
    )
    first, second = planner(folder, al, text).tasks()
    assert (first.settings.cutoff, first.settings.n_sparse) == (5.0, 20)
    assert (first.regularisation.force.relative, first.regularisation.force.minimum) == (0.5, 0.001)
    assert (second.settings.cutoff, second.settings.n_max, second.settings.n_sparse) == (10.0, 10, 7)


def test_where_sparse_points_come_from(folder, al):
    text = (
        ONE
        + "select = {size = 4}\n"
        + "".join(
            f"[[potentials]]\nname = '{name}'\nselect = {{size = 4}}\nsparse_points = {source}\n"
            for name, source in (("b", "'selected'"), ("c", "'database'"), ("d", "{potential = 'c'}"))
        )
    )
    tasks = {(task.variant.potential, task.variant.seed): task for task in planner(folder, al, text).tasks()}
    own, selected, database, other = (tasks[name, 1] for name in "abcd")
    assert own.own_pool
    assert len(own.pool_unlabelled) == 4
    assert selected.own_pool
    assert selected.pool_unlabelled == ()
    assert len(database.pool) == 18
    assert not database.own_pool
    assert other.pool == database.pool
    assert sparse_key(database) == sparse_key(tasks["c", 2]) == sparse_key(other)
    assert sparse_key(selected) != sparse_key(tasks["b", 2])
    assert fit_key(database) != fit_key(tasks["c", 2])
    assert fit_key(database) == fit_key(other)


def test_random_sparse_points_take_the_seed(folder, al):
    tasks = planner(folder, al, ONE + "fit = {sparse_method = 'random'}\n").tasks()
    assert [task.variant.seed for task in tasks] == [1, 2, 3]
    assert [task.settings.seed for task in tasks] == [1, 2, 3]
    assert len({sparse_key(task) for task in tasks}) == 3


def test_a_potential_that_is_swept_cannot_be_referred_to_from_one_that_is_not(folder, al):
    text = ONE + "select = {size = 'b'}\nsweep = {}\n[[potentials]]\nname = 'b'\n[sweep]\n'select.size' = [4, 8]\n"
    with pytest.raises(InputError, match="no telling which value"):
        planner(folder, al, text).tasks()


def test_needed_runs(folder):
    text = (
        ONE.replace("[runs]", "[runs]\nunused = 'x.toml'\njudge = 'y.toml'")
        + "train = 'al'\n[evaluate]\non = 'judge'\n"
    )
    assert needed_runs(study(folder, text)) == ["judge", "al"]


# --- checks ---


def outcome(potential, seed, rmse, *, size=None, failure=None, labels=10.0):
    values = {} if size is None else {"select.size": size}
    metrics = {"rmse_mesh_thz": rmse, "C11_error_percent": None if rmse is None else -10 * rmse}
    evaluations = {} if failure else {"al": Evaluation("al", metrics, elastic={"C11": Comparison.of(90.0, 100.0)})}
    return Outcome(
        Variant(potential, values, seed), {"n_labels": labels, "n_atoms": 20.0, "label_seconds": 5.0, "n_sparse": 3.0},
        ("al/x",), {"cutoff": 5.0, "n_max": 4, "l_max": 4, "atom_sigma": 0.5, "delta": 2.0, "zeta": 4},
        {"kind": "static", "energy": 0.1, "force": {"relative": 0.1, "minimum": 0.1},
         "virial": {"relative": 0.1, "minimum": 0.1}}, evaluations, failure,
    )  # fmt: skip


def check(text, outcomes, sweep=""):
    potentials = "".join(f"[[potentials]]\nname = '{name}'\n" for name in ("a", "b"))
    config = parse_study(HEAD + potentials + sweep + f"[[checks]]\nsays = 'x'\nof = 'a'\n{text}\n")
    return judge(config.checks[0], outcomes)


A = [outcome("a", seed, rmse) for seed, rmse in ((1, 0.1), (2, 0.2), (3, 0.6))]
B = [outcome("b", seed, rmse) for seed, rmse in ((1, 0.2), (2, 0.1), (3, 0.7))]
RMSE = "metric = 'rmse_mesh_thz'\n"


@pytest.mark.parametrize(
    ("text", "holds", "share"),
    [
        (RMSE + "below = 0.3", True, 2 / 3),
        (RMSE + "below = 0.2", False, 1 / 3),
        (RMSE + "below = 0.3\njudged = 'every seed'", False, 2 / 3),
        (RMSE + "below = 0.3\njudged = 0.6", True, 2 / 3),
        (RMSE + "above = 0.15", True, 2 / 3),
        (RMSE + "below_that_of = {of = 'b'}", False, 2 / 3),  # the medians are equal
        (RMSE + "below_that_of = {of = 'b'}\njudged = 0.5", True, 2 / 3),
        (RMSE + "below_that_of = {of = 'b', times = 3.0}", True, 1.0),
        (RMSE + "above_that_of = {of = 'b', times = 0.1}\njudged = 'every seed'", True, 1.0),
        ("metric = 'C11_error_percent'\nbelow = 2.5", True, 2 / 3),
        ("metric = 'C11_error_percent'\nbelow = -0.5\nabsolute = false", True, 1.0),
        ("metric = 'n_labels'\nbelow = 11.0", True, 1.0),
    ],
)
def test_checks_hold_and_fail(text, holds, share):
    result = check(text, [*A, *B])
    assert result.holds is holds
    assert result.findings[0].share == pytest.approx(share)


def test_checks_know_swept_values():
    swept = [outcome("a", seed, rmse, size=size) for size, rmse in ((4, 0.4), (8, 0.2)) for seed in (1, 2, 3)]
    sweep = "[sweep]\n'select.size' = [4, 8]\n"
    assert check(RMSE + "at = {'select.size' = 8}\nbelow_that_of = {at = {'select.size' = 4}}", swept, sweep).holds
    every = check(RMSE + "below = 0.3", swept)
    assert [finding.holds for finding in every.findings] == [False, True]
    assert not every.holds
    alone = [*swept, outcome("b", None, 0.3)]
    assert [finding.holds for finding in check(RMSE + "below_that_of = {of = 'b'}", alone).findings] == [False, True]
    both = [*swept, *(outcome("b", seed, 0.3, size=size) for size in (4, 8) for seed in (1, 2, 3))]
    assert [finding.right.of for finding in check(RMSE + "below_that_of = {of = 'b'}", both).findings] == [
        "b, size 4",
        "b, size 8",
    ]


def test_what_could_not_be_computed_is_never_good():
    broken = [outcome("a", 1, 0.1), outcome("a", 2, None), outcome("a", 3, None)]
    below = check(RMSE + "below = 1e9", broken)
    assert not below.holds
    assert math.isinf(below.findings[0].left.median)
    assert not check(RMSE + "above = 0.0", broken).holds
    assert check(RMSE + "below_that_of = {of = 'b'}", [*A, *(outcome("b", s, None) for s in (1, 2, 3))]).holds
    failed = [outcome("a", None, None, failure="no fit")]
    assert not check(RMSE + "below = 1.0", failed).holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metric = 'rmse'\nbelow = 1.0", "there is no metric 'rmse'"),
        ("metric = 'C12'\nbelow = 1.0", "There are C11_error_percent"),
        (RMSE + "below = 1.0\nat = {'select.size' = 3}", "is not swept"),
        (RMSE + "below = 1.0\non = 'other'", "names the run 'other'"),
        (RMSE + "below_that_of = {of = 'b', at = {'select.size' = 3}}", "over which b is not swept"),
        (RMSE + "below_that_of = {of = 'b', metric = 'C1'}", "there is no metric 'C1'"),
    ],
)
def test_checks_of_what_is_not_there(text, said):
    with pytest.raises(InputError) as error:
        check(text, [*A, *B])
    assert said in str(error.value)


# --- results ---


def facts():
    return RunFacts(
        "al", "al.toml", "Al", "Fm-3m", 225, np.eye(3).tolist(), "emt", {"mode": {"name": "pw"}}, (8, 8, 8),
        {"a": 2.8, "b": 2.8, "c": 2.8, "alpha": 60.0, "beta": 60.0, "gamma": 60.0, "volume_per_atom": 16.0},
        {"C11": 100.0}, (2, 2, 2), 2, 18, 30, 12.0,
    )  # fmt: skip


def results(outcomes, checks=()):
    return StudyResults(
        "A | title", "It is so.", (1, 2, 3), {"al": facts()}, tuple(outcomes), tuple(checks), {"a": 1e-6}, 1.0,
        {"ndsc": "0"}, ("careful",),
    )  # fmt: skip


def test_the_record_has_every_number_and_no_infinity():
    found = results([*A, outcome("b", None, None, failure="no fit")], [check(RMSE + "below = 0.3", A)])
    text = json.dumps(document(found), allow_nan=False)
    assert json.loads(text)["checks"][0]["findings"][0]["left"]["values"] == [0.1, 0.2, 0.6]
    table = results_table(found)
    assert len(table) == 4
    assert table.rmse_mesh_thz.tolist()[:3] == [0.1, 0.2, 0.6]
    assert table.seed.dropna().tolist() == [1, 2, 3]


def test_the_page_says_what_fails_with_the_evidence(tmp_path):
    tables = "".join(
        f"[[tables]]\nkind = '{kind}'\nname = '{kind}'\n" for kind in ("settings", "fits", "elastic", "metrics")
    )
    text = HEAD + "[[potentials]]\nname = 'a'\n[[published]]\nname = 'Experiment'\non = 'al'\nvalues = {C11 = 114.0}\n"
    config = parse_study(text + tables)
    checks = [check(RMSE + "below = 0.3", A), check(RMSE + "below = 0.1", A)]
    page = study_section(config, results(A, checks), tmp_path, link="figures/")
    assert "1 of 2 checks fail" in page
    assert "0.2 (0.1 to 0.6, 3 seeds) is not below 0.1; true of 0 % of the seeds" in page
    assert "Experiment" in page
    assert "114.0" in page
    assert "mode.name" in page  # emt has no such parameter, so it has no meaning here
    assert "0.2000 (0.1000 to 0.6000)" in page
    assert "careful" in page
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0].startswith("potential,labels,atoms")
    assert results(A, checks).holds is False
    assert results(A).holds is None


def columns_of(text, made):
    """The first table of a study file as dictionaries: by the head of a column, by the head of a row."""
    config = parse_study(ONE + text)
    table = make_table(config.tables[0], made, config.published)
    heads = [row[0] for row in table.rows]
    assert len(set(heads)) == len(heads)
    return {name: dict(zip(heads, cells, strict=True)) for name, *cells in zip(table.columns, *table.rows, strict=True)}


def test_published_settings_stand_beside_ours_in_the_rows_that_mean_the_same():
    text = "[[tables]]\nkind = 'settings'\nname = 's'\n[[published]]\nname = 'DFT'\non = 'al'\n"
    text += "values = {code = 'CASTEP', cutoff_ev = 800, k_spacing = 0.01, scf_tolerance_ev = 1e-11, a = 2.856}\n"
    parameters = {"mode": {"name": "pw", "ecut": 350}, "convergence": {"density": 1e-5}, "eigensolver": "rmm-diis"}
    made = results(A)
    made.runs["al"] = replace(facts(), calculator="gpaw", parameters=parameters)
    table = columns_of(text, made)
    ours, theirs = table["al"], table["al, DFT"]
    assert (ours["code"], theirs["code"]) == ("GPAW", "CASTEP")
    assert (ours["E_cut (eV)"], theirs["E_cut (eV)"]) == (350, 800)
    # The cell of these facts is a cube of 1 Å.
    assert (ours["k-spacing (1/Å, without 2π)"], theirs["k-spacing (1/Å, without 2π)"]) == (0.125, 0.01)
    assert (ours["a (Å)"], theirs["a (Å)"]) == (2.8, 2.856)
    # An energy in eV and a density are not the same tolerance.
    assert (ours["SCF tolerance (eV)"], theirs["SCF tolerance (eV)"]) == (None, 1e-11)
    assert ours["SCF tolerance of the density (electrons per valence electron)"] == 1e-5
    assert ours["eigensolver"] == "rmm-diis"
    assert theirs["eigensolver"] is None


def test_published_fits_stand_beside_ours():
    text = "[[tables]]\nkind = 'fits'\nname = 'f'\n[[published]]\nname = 'GAP'\non = 'al'\n"
    text += "source = 'Somebody (1999).'\nvalues = {cutoff = 10, force_relative = 0.01, n_labels = 850, a = 2.856}\n"
    table = columns_of(text, results(A))
    ours, theirs = table["a"], table["al, GAP"]
    assert (theirs["cutoff (Å)"], theirs["Δ force"], theirs["labels (energies)"]) == (10, 0.01, 850)
    assert ours["cutoff (Å)"] == A[0].settings["cutoff"]
    assert theirs["a (Å)"] == 2.856
    assert ours["a of the reference (Å)"] == 2.8
    assert theirs["a of the reference (Å)"] is None
    config = parse_study(ONE + text)
    assert make_table(config.tables[0], results(A), config.published).sources() == "*GAP*: Somebody (1999)."


def test_a_published_column_is_in_the_tables_that_it_names():
    tables = "[[tables]]\nkind = 'settings'\nname = 's'\n[[tables]]\nkind = 'fits'\nname = 'f'\n"
    column = "[[published]]\nname = 'x'\non = 'al'\nvalues = {a = 2.9}\n"
    for named, where in (("", {"s", "f"}), ("tables = 'f'\n", {"f"}), ("tables = ['s']\n", {"s"})):
        config = parse_study(ONE + tables + column + named)
        shown = {
            table.name for table in config.tables if "al, x" in make_table(table, results(A), config.published).columns
        }
        assert shown == where


@pytest.mark.parametrize(("kind", "names"), [("settings", SETTING_VALUES), ("fits", FIT_VALUES)])
def test_every_published_value_has_a_row(kind, names):
    for name in names:
        value = "'words'" if name in WORDS else "123.25"
        text = f"[[tables]]\nkind = '{kind}'\nname = 't'\n" + PUBLISHED.removeprefix(ONE)
        text += f"values = {{{name} = {value}}}\n"
        column = columns_of(text, results(A))["al, x"]
        assert [cell for cell in column.values() if cell is not None] == ["words" if name in WORDS else 123.25], name


def test_settings_of_all_codes_by_their_meaning():
    assert set(MEANINGS) < set(SETTING_VALUES)
    ry = 13.605693
    cases = {
        "espresso": {"input_data": {"system": {"ecutwfc": 25}}, "degauss": 0.02, "conv_thr": 1e-10},
        "abinit": {"ecut": 340.0, "tsmear": 0.3, "toldfe": 1e-9, "xc": "PBE"},
        "castep": {"CUT_OFF_ENERGY": 340.0, "smearing_width": 0.2, "elec_energy_tol": 1e-8, "cell": {"fix_com": True}},
        "vasp": {"encut": 340.0, "sigma": 0.2, "ediff": 1e-8, "lreal": False},
    }
    for code, parameters in cases.items():
        known, others = code_of(code).by_meaning(parameters)
        assert known["cutoff_ev"] == pytest.approx(340.1 if code == "espresso" else 340.0, abs=0.1)
        assert set(others) == {"castep": {"cell.fix_com"}, "vasp": {"lreal"}}.get(code, set())
    known, _ = code_of("espresso").by_meaning(cases["espresso"])
    assert (known["smearing_ev"], known["scf_tolerance_ev"]) == pytest.approx((0.02 * ry, 1e-10 * ry))
    assert "scf_tolerance_ev" not in code_of("castep").by_meaning(cases["castep"])[0]
    assert code_of("emt").by_meaning({"asap_cutoff": True}) == ({}, {"asap_cutoff": "True"})


def test_the_spacing_of_k_points_is_the_largest_of_the_three_without_2_pi():
    assert k_spacing(np.diag([2.0, 4.0, 5.0]), (10, 4, 5)) == pytest.approx(1 / 16)
    fcc = bulk("Al", a=4.0)
    # The reciprocal lattice is body-centred, its vectors sqrt(3) / 4.0 long.
    assert k_spacing(fcc.cell.array, (8, 8, 8)) == pytest.approx(3**0.5 / 32)


def test_anchors_are_those_of_the_documentation():
    assert anchor("Learning curve: Al, 5 seeds") == "learning-curve-al-5-seeds"


def test_the_typical_seed_is_the_median():
    assert typical(A, "al").variant.seed == 2
    assert typical([outcome("a", 1, None)], "al") is None
    assert str(Numbers("x", (0.5,))) == "0.5"


def test_a_damaged_cache_is_made_again(tmp_path):
    cache = Cache(tmp_path)
    evaluation = A[0].evaluations["al"]
    cache.put_evaluation("k", evaluation)
    found = cache.evaluation("k")
    assert found is not None
    assert (found.metrics, found.elastic) == (evaluation.metrics, evaluation.elastic)
    cache.put_fit("k", {"n_labels": 3.0})
    assert cache.fit("k") == {"n_labels": 3.0}
    for content in ("{", "[]", "{}"):
        Path(tmp_path / "evaluation-k.json").write_text(content)
        assert cache.evaluation("k") is None
    assert cache.fit("other") is None
    cache.put_number("n", 0.5)
    assert cache.number("n") == 0.5
    assert cache.took("number", "n") is None
    cache.put_number("n", 0.5, Took(3.5, 2))
    assert cache.took("number", "n") == Took(3.5, 2)
    for damaged in (3, {}, {"seconds": "x", "cores": 2}, {"seconds": 1.0, "cores": 0}, {"seconds": -1, "cores": 2}):
        assert Took.from_dict(damaged) is None


def test_a_result_that_several_potentials_share_is_timed_once():
    clock = Clock()
    with pytest.raises(ValueError, match="fails too"), clock.computing("fit", "a"):
        raise ValueError("fails too")
    clock.found("fit", "a", Took(1.0, 4))
    clock.found("evaluation", "a", Took(90.0, 4))
    clock.found("evaluation", "a", Took(90.0, 4))
    total = clock.total()
    assert (total.results, total.earlier, total.evaluation_seconds) == (2, 1, 90.0)
    assert 0 <= total.fit_seconds < 1
    assert StudyTime(60.0, 30.0, 5, 0, 0, (1,)).sentence() == (
        "Time: fits 60 s, evaluations 30 s, in one process on a machine of 1 core."
    )


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "examples" / "paper").glob("*.toml")), ids=lambda f: f.stem
)
def test_the_studies_of_the_paper_can_be_read(file):
    config = load_study(file)
    assert all(path.is_file() for path in config.runs.values())
    variants = expand(config)
    assert {potential.name for potential in config.potentials} == {variant.potential for variant, _ in variants}
    assert config.checks
    assert config.study.claim
