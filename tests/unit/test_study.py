"""Studies without fits: input files, selections, variants, checks, tables, the cache."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from ndsc.claims import ClaimTest, run_check
from ndsc.codes import MEANINGS, code_of
from ndsc.config.published import FIT_VALUES, SETTING_VALUES, WORDS
from ndsc.config.study import load_study, parse_study
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.fit import GapSettings
from ndsc.kpoints import k_spacing
from ndsc.report.tables import escape_markdown
from ndsc.results import Comparison
from ndsc.study.figures import Shown
from ndsc.study.finished import Finished, StudyTime
from ndsc.study.results import Evaluation, PotentialResult, RunFacts, StudyResults, Variant
from ndsc.study.run import check_tests
from ndsc.study.runs import StudyRun, load_runs
from ndsc.study.selection import candidates, draw
from ndsc.study.tables import make_table
from ndsc.study.variants import Planner, expand, needed_runs
from ndsc.study.write import anchor, numbers_text, study_record, study_section
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
CHECK = ONE + "[[checks]]\nclaim = 'x'\n"
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
        (ONE + "fit = {n_spars = 10}\n", "'n_sparse'"),
        (ONE + "select = {size = 3, seconds = 1.0}\n", "size and seconds"),
        (ONE + "select = {seconds = 'b'}\n", "potential 'b'"),
        (ONE + "sparse_points = {potential = 'b'}\n", "potential 'b'"),
        (ONE + "sparse_points = 'mine'\n", "sparse_points"),
        (ONE + "train = ['cu']\n", "run 'cu'"),
        (ONE + "[[potentials]]\nname = 'a'\n", "twice"),
        (ONE + "[evaluate]\non = 'cu'\n", "run 'cu'"),
        (CHECK + "test = 'C11[a]'\n", "compares nothing"),
        (CHECK + "test = '1 < 2'\n", "compares nothing"),
        (CHECK + "test = 'C11[a] < '\n", "not a comparison"),
        (CHECK + "test = 'C11[a] < x'\n", "'x'"),
        (CHECK + "test = 'C11[a] < open(1)'\n", "'open'"),
        (CHECK + "test = 'C11[a].imag < 1'\n", ".imag"),
        (CHECK + "test = 'C11[a] < 2 ** 9'\n", "Pow"),
        (CHECK + "test = 'rmse[a] < 1'\n", "'rmse'"),
        (CHECK + "test = 'C11[b] < 1'\n", "potential 'b'"),
        (CHECK + "test = 'C11[a; on = cu] < 1'\n", "run 'cu'"),
        (CHECK + "test = 'C11[a; fit.zeta = 2] < 1'\n", "a is not swept"),
        (CHECK + "test = 'C11[a; 24] < 1'\n", "key = value"),
        (CHECK + "test = 'C11[a] < 1'\nseeds = 'some'\n", "seeds"),
        (CHECK + "test = 'C11[a] < 1'\n[evaluate]\nelastic = false\n", "elastic = false"),
        (ONE + "[[figures]]\nkind = 'pie'\nname = 'f'\n", "kind"),
        (ONE + "[[figures]]\nkind = 'elastic'\nname = 'f'\n[[tables]]\nkind = 'fits'\nname = 'f'\n", "twice"),
        (ONE + "[[tables]]\nkind = 'fits'\nname = 'results'\n", "'results'"),
        (ONE + "[[tables]]\nkind = 'fits'\nname = '../x'\n", "name"),
        (ONE + "[[published]]\nname = 'x'\non = 'cu'\nvalues = {a = 1.0}\n", "run 'cu'"),
        (PUBLISHED + "values = {cut_off = 1.0}\n", "'cutoff'"),
        (PUBLISHED + "values = {C47 = 1.0}\n", "'C47'"),
        (PUBLISHED + "values = {a = 'long'}\n", "'long'"),
        (PUBLISHED + "tables = 't'\nvalues = {a = 1.0}\n", "the table 't'"),
        (ONE + "[[tables]]\nkind = 'metrics'\nname = 't'\nmetrics = ['rmse']\n", "'rmse'"),
        (ONE + "[[figures]]\nkind = 'elastic'\nname = 'f'\nat = {'fit.zeta' = 2}\n", "a is not swept"),
        (ONE.replace("[1, 2, 3]", "[1, 1]"), "twice"),
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


def test_a_run_may_be_of_one_of_several_crystals(folder, al):
    crystals = '[[crystal]]\nname = "fcc"\nstructure = "Al"\n'
    crystals += '[[crystal]]\nname = "bcc"\nstructure = "Al"\nlattice = "bcc"\na = 3.2\n'
    (folder / "phases.toml").write_text(
        RUN.format(method="none").replace('[crystal]\nstructure = "Al"\n', crystals).replace('method = "none"\n', "")
    )
    text = ONE.replace("al.toml", "phases.toml@fcc")
    runs = load_runs(study(folder, text).runs, ["al"])
    assert runs["al"].labels.keys() == al.labels.keys()
    assert runs["al"].facts(elastic=False).file == "phases.toml@fcc"
    with pytest.raises(InputError, match=r"several crystals \(fcc, bcc\)"):
        StudyRun.load("al", folder / "phases.toml")
    with pytest.raises(InputError, match="no crystal 'hcp'"):
        StudyRun.load("al", folder / "phases.toml@hcp")
    with pytest.raises(ReferenceCalculationError, match="not relaxed"):
        StudyRun.load("al", folder / "phases.toml@bcc")
    with pytest.raises(InputError, match="there is no file"):
        load_runs({"al": folder / "none.toml@fcc"}, ["al"])


# --- selections ---


def test_filters(al):
    everything = candidates([al], select("{}"))
    assert len(everything.members) == 4 + 2 * 4 + 2 * 3
    assert everything.seconds == pytest.approx(sum(label.cost_seconds for label in al.labels.values()))
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
        ("{kind = 'surface'}", "'surface'"),
        ("{part = 'middle'}", "cells, large, small"),
        ("{displacement = 0.03}", "select.displacement = 0.03"),
        ("{scale = 0.9}", "select.scale = 0.9"),
        ("{name = 'b-*'}", "'b-*'"),
        ("{kind = 'unit_cell', part = 'large'}", "part"),
        ("{size = 100}", "18"),
        ("{atoms = 1, always = 'cells-*'}", "allows 1"),
        ("{seconds = 1e-9}", "1e-09"),
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
    with pytest.raises(ReferenceCalculationError, match="not relaxed"):
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
        ("'select.sise' = [1]", "'size'"),
        ("'fit.n_sparse' = ['many']", "n_sparse"),
        ("'name' = ['b']", "'name'"),
        ("'select.size.more' = [1]", "whole number"),
        ("'select.size' = [4]\n'select.size.more' = [1]", "'size'"),
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
    assert database.sparse_key == tasks["c", 2].sparse_key == other.sparse_key
    assert selected.sparse_key != tasks["b", 2].sparse_key
    assert database.fit_key != tasks["c", 2].fit_key
    assert database.fit_key == other.fit_key


def test_a_fit_is_the_same_whatever_run_comes_first(folder, al):
    (folder / "first.toml").write_text(
        RUN.format(method="none").replace('"emt"', '"lj"').replace('"Al"', '"Al"\nrelax = false')
    )
    first = StudyRun.load("first", folder / "first.toml")
    one = planner(folder, al, ONE + "select = {size = 4}\n").tasks()
    config = study(
        folder, ONE.replace("[runs]", "[runs]\nfirst = 'first.toml'") + "train = 'al'\nselect = {size = 4}\n"
    )
    two = Planner(config, {"first": first, "al": al}).tasks()
    assert one[0].pool_unlabelled
    assert [task.fit_key for task in one] == [task.fit_key for task in two]


def test_random_sparse_points_take_the_seed(folder, al):
    tasks = planner(folder, al, ONE + "fit = {sparse_method = 'random'}\n").tasks()
    assert [task.variant.seed for task in tasks] == [1, 2, 3]
    assert [task.settings.seed for task in tasks] == [1, 2, 3]
    assert len({task.sparse_key for task in tasks}) == 3


def test_a_potential_that_is_swept_cannot_be_referred_to_from_one_that_is_not(folder, al):
    text = ONE + "select = {size = 'b'}\nsweep = {}\n[[potentials]]\nname = 'b'\n[sweep]\n'select.size' = [4, 8]\n"
    with pytest.raises(InputError, match="swept"):
        planner(folder, al, text).tasks()


def test_needed_runs(folder):
    text = (
        ONE.replace("[runs]", "[runs]\nunused = 'x.toml'\njudge = 'y.toml'")
        + "train = 'al'\n[evaluate]\non = 'judge'\n"
    )
    assert needed_runs(study(folder, text)) == ["judge", "al"]


def test_a_run_that_is_learned_from_can_be_judged_on_another(folder, al):
    runs = "[runs]\nunused = 'x.toml'\njudge = 'y.toml'\nother = 'z.toml'"
    text = ONE.replace("[runs]", runs) + "train = ['al', 'other']\n[evaluate]\non = {al = 'judge'}\n"
    assert needed_runs(study(folder, text)) == ["judge", "other", "al"]
    judged = [point.runs for point in planner(folder, al, text).points()]
    assert set(judged) == {("judge", "other")}
    with pytest.raises(InputError, match="run 'nobody'"):
        study(folder, text.replace("'judge'}", "'nobody'}"))
    with pytest.raises(InputError, match="run 'nobody'"):
        study(folder, text.replace("{al =", "{nobody ="))


# --- checks ---


def outcome(potential, seed, rmse, *, size=None, failure=None, labels=10.0):
    values = {} if size is None else {"select.size": size}
    metrics = {"rmse_mesh_thz": rmse, "C11_error_percent": None if rmse is None else -10 * rmse}
    evaluations = {"al": Evaluation("al", metrics, elastic={"C11": Comparison.of(90.0, 100.0)})}
    return PotentialResult(
        Variant(potential, values, seed), {"n_labels": labels, "n_atoms": 20.0, "label_seconds": 5.0, "n_sparse": 3.0},
        ("al/x",), GapSettings(cutoff=5.0, n_max=4, l_max=4).hyperparameters(),
        {"kind": "static", "energy": 0.1, "force": {"relative": 0.1, "minimum": 0.1},
         "virial": {"relative": 0.1, "minimum": 0.1}},
        {"al": Evaluation("al", {})} if failure else evaluations, failure,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ("rmse_mesh_thz[q $ [/x]] < 5", ["q $ [/x]"]),
        ("rmse_mesh_thz[[a]] < 2 * rmse_mesh_thz[b]", ["[a]", "b"]),
        ("abs(a_error_percent[a[1]; fit.cutoff = 4]) < 5", ["a[1]"]),
    ],
)
def test_names_in_checks_may_have_brackets(test, names):
    assert [column.potential for column in ClaimTest.parse(test).columns] == names


def test_markdown_has_no_control_characters():
    assert escape_markdown("a\x1b[2J\nb $x_1$") == r"a\[2J b \$x_1\$"


def check(test, outcomes, sweep="", seeds='"median"', together="false"):
    potentials = "".join(f"[[potentials]]\nname = '{name}'\n" for name in ("a", "b"))
    text = f"[[checks]]\nclaim = 'x'\nseeds = {seeds}\ntest = '{test}'\ntogether = {together}\n"
    asked = parse_study(HEAD + potentials + sweep + text).checks[0]
    frame = results(outcomes).frame
    return run_check(asked.claim, asked.test, frame, seeds=asked.seeds, together=asked.together)


A = [outcome("a", seed, rmse) for seed, rmse in ((1, 0.1), (2, 0.2), (3, 0.6))]
B = [outcome("b", seed, rmse) for seed, rmse in ((1, 0.2), (2, 0.1), (3, 0.7))]
SWEEP = "[sweep]\n'select.size' = [4, 8]\n"


@pytest.mark.parametrize(
    ("test", "seeds", "holds", "share"),
    [
        ("rmse_mesh_thz[a] < 0.3", '"median"', True, 2 / 3),
        ("rmse_mesh_thz[a] < 0.2", '"median"', False, 1 / 3),
        ("rmse_mesh_thz[a] <= 0.2", '"median"', True, 2 / 3),
        ("rmse_mesh_thz[a] < 0.3", '"all"', False, 2 / 3),
        ("rmse_mesh_thz[a] < 0.3", "0.6", True, 2 / 3),
        ("rmse_mesh_thz[a] > 0.15", '"median"', True, 2 / 3),
        ("0.05 < rmse_mesh_thz[a] < 0.65", '"all"', True, 1.0),
        ("rmse_mesh_thz[a] < rmse_mesh_thz[b]", '"median"', False, 2 / 3),  # the medians are equal
        ("rmse_mesh_thz[a] < rmse_mesh_thz[b]", "0.5", True, 2 / 3),
        ("rmse_mesh_thz[a] < 3 * rmse_mesh_thz[b]", '"median"', True, 1.0),
        ("rmse_mesh_thz[a] > 0.1 * rmse_mesh_thz[b]", '"all"', True, 1.0),
        ("abs(C11_error_percent[a]) < 2.5", '"median"', True, 2 / 3),
        ("C11_error_percent[a] < -0.5", '"median"', True, 1.0),
        ("n_labels[a] < 11 and rmse_mesh_thz[a] < 1", '"median"', True, 1.0),
        ("0.29 < rmse_mesh_thz[a] < 0.31", '"mean"', True, 0.0),
        ("rmse_mesh_thz[a] < rmse_mesh_thz[b]", '"mean"', True, 2 / 3),
    ],
)
def test_checks_hold_and_fail(test, seeds, holds, share):
    result = check(test, [*A, *B], seeds=seeds)
    assert result.holds is holds
    assert result.findings[0].share == pytest.approx(share)


def test_points_that_are_together_count_as_seeds_of_one():
    swept = [outcome("a", seed, rmse, size=size) for size, rmse in ((4, 0.4), (8, 0.2)) for seed in (1, 2, 3)]
    swept[0] = outcome("a", 1, 0.1, size=4)
    found = check("rmse_mesh_thz[a] < 0.3", swept, SWEEP, seeds="0.6", together="true")
    assert [(finding.where, len(finding.numbers["rmse_mesh_thz[a]"])) for finding in found.findings] == [("", 6)]
    assert found.findings[0].share == pytest.approx(4 / 6)
    assert found.holds
    assert not check("rmse_mesh_thz[a] < 0.3", swept, SWEEP, seeds="0.7", together="true").holds
    named = check("rmse_mesh_thz[a; select.size = 4] < 0.3", swept, SWEEP, seeds='"mean"', together="true")
    assert named.findings[0].share == pytest.approx(1 / 3)
    assert not named.holds
    missing = [*swept[1:], outcome("a", 1, None, size=4)]
    assert not check("rmse_mesh_thz[a] < 9", missing, SWEEP, seeds='"mean"', together="true").holds


def test_checks_know_swept_values():
    swept = [outcome("a", seed, rmse, size=size) for size, rmse in ((4, 0.4), (8, 0.2)) for seed in (1, 2, 3)]
    assert check("rmse_mesh_thz[a; select.size = 8] < rmse_mesh_thz[a; select.size = 4]", swept, SWEEP).holds
    every = check("rmse_mesh_thz[a] < 0.3", swept)
    assert [(finding.where, finding.holds) for finding in every.findings] == [
        ("select.size = 4, on al", False),
        ("select.size = 8, on al", True),
    ]
    assert not every.holds
    alone = check("rmse_mesh_thz[a] < rmse_mesh_thz[b]", [*swept, outcome("b", None, 0.3)])
    assert [finding.holds for finding in alone.findings] == [False, True]
    both = [*swept, *(outcome("b", seed, 0.1 * size, size=size) for size in (4, 8) for seed in (1, 2, 3))]
    found = check("rmse_mesh_thz[a] < rmse_mesh_thz[b]", both)
    assert [finding.numbers["rmse_mesh_thz[b]"][0] for finding in found.findings] == pytest.approx([0.4, 0.8])
    with pytest.raises(InputError, match="several points"):
        check("rmse_mesh_thz[b] < rmse_mesh_thz[a]", [*swept, outcome("b", None, 0.3)])


def test_what_could_not_be_computed_is_never_good():
    broken = [outcome("a", 1, 0.1), outcome("a", 2, None), outcome("a", 3, None)]
    failed = [outcome("a", None, None, failure="no fit")]
    for seeds in ('"median"', '"all"'):
        for outcomes in (broken, failed):
            assert not check("rmse_mesh_thz[a] < 1e9", outcomes, seeds=seeds).holds
            assert not check("rmse_mesh_thz[a] > 0", outcomes, seeds=seeds).holds
    # A potential without phonons is worse than any that has some.
    assert check("rmse_mesh_thz[a] < rmse_mesh_thz[b]", [*A, *(outcome("b", s, None) for s in (1, 2, 3))]).holds


def test_checks_of_what_the_results_do_not_have():
    assert not check("C12[a] < 1", A).holds
    with pytest.raises(InputError, match="check 'x'"):
        check("rmse_mesh_thz[b] < 1", A)


def test_checks_that_cannot_be_answered_are_refused_before_any_fit(folder, al):
    text = (
        HEAD.replace("[runs]", "[runs]\nother = 'al.toml'") + "[[potentials]]\nname = 'a'\ntrain = 'al'\n"
        "[[potentials]]\nname = 'b'\ntrain = 'al'\nsweep = {}\n[sweep]\n'fit.n_sparse' = [5, 6]\n"
        "[[checks]]\nclaim = 'x'\n"
    )
    for test, refused in (
        ("rmse_mesh_thz[a] < rmse_mesh_thz[b]", False),
        ("rmse_mesh_thz[b] < rmse_mesh_thz[a]", True),
        ("rmse_mesh_thz[b] < rmse_mesh_thz[a; fit.n_sparse = 5]", False),
        ("rmse_mesh_thz[b; on = other] < 1", True),
    ):
        config = study(folder, f"{text}test = '{test}'\n")
        tasks = Planner(config, {"al": al, "other": al}).tasks()
        with pytest.raises(InputError) if refused else nullcontext():
            check_tests(config, tasks)


PAPER = Path(__file__).parents[2] / "examples" / "paper"
#: Checks that fail on the shipped databases, of each study of the paper.
FAILURES = {
    "03-unit-cells": 1,
    "04-equal-cost": 2,
    "07-regularisation": 3,
    "09-amplitude": 1,
    "11-selection": 2,
}


@pytest.mark.parametrize("file", sorted(PAPER.glob("*.toml")), ids=lambda f: f.stem)
def test_the_claims_of_the_paper_on_the_results_of_its_studies(file):
    config = load_study(file)
    assert all(path.is_file() for path in config.runs.values())
    assert {potential.name for potential in config.potentials} == {one.potential for one, _ in expand(config)}
    frame = pd.read_csv(PAPER.parents[1] / "docs" / "paper" / file.stem / "results.csv")
    checks = [
        run_check(check.claim, check.test, frame, seeds=check.seeds, together=check.together) for check in config.checks
    ]
    assert config.study.claim
    assert checks
    assert sum(not check.holds for check in checks) == FAILURES.get(file.stem, 0)


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
    found = results([*A, outcome("b", None, None, failure="no fit")], [check("rmse_mesh_thz[a] < 0.3", A)])
    record = json.loads(json.dumps(study_record(found), allow_nan=False))
    assert record["checks"][0]["findings"][0]["numbers"] == {"rmse_mesh_thz[a]": [0.1, 0.2, 0.6]}
    assert record["checks"][0]["holds"] is True
    assert record["outcomes"][0]["seed"] == 1
    assert list(found.frame.columns[:4]) == ["potential", "seed", "run", "n_labels"]
    assert found.frame.rmse_mesh_thz.tolist()[:3] == [0.1, 0.2, 0.6]
    assert found.frame.seed.dropna().tolist() == [1, 2, 3]
    assert found.frame.rmse_mesh_thz.isna().sum() == 1


def test_the_page_says_what_fails_with_the_evidence(tmp_path):
    tables = "".join(
        f"[[tables]]\nkind = '{kind}'\nname = '{kind}'\n" for kind in ("settings", "fits", "elastic", "metrics")
    )
    text = HEAD + "[[potentials]]\nname = 'a'\n[[published]]\nname = 'Experiment'\non = 'al'\nvalues = {C11 = 114.0}\n"
    config = parse_study(text + tables + "[[figures]]\nkind = 'errors'\nname = 'none'\n")
    checks = [check("rmse_mesh_thz[a] < 0.3", A), check("rmse_mesh_thz[a] < 0.1", A)]
    page = study_section(config, results(A, checks), tmp_path, link="figures/")
    assert "1 of 2 checks" in page
    assert "Discussion" not in page
    discussed = replace(results(A, checks), discussion="It is only so at night.")
    section = study_section(config, discussed, tmp_path, link="figures/")
    assert section.index("1 of 2 checks") < section.index("It is only so at night.") < section.index("| potential")
    lines = [line for line in page.splitlines() if "rmse_mesh_thz[a]` = 0.2 (0.1 to 0.6, 3 seeds)" in line]
    assert ["fails" in line for line in lines] == [False, True]
    assert page.startswith("# A \\| title\n\n**Claim.** It is so.\n\n**Verdict.**")
    for shown in ("Experiment", "114.0", "mode.name", "0.2000 (0.1000 to 0.6000)", "careful", "could not be drawn"):
        assert shown in page
    assert "\n\n\n\n" not in page
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0].startswith("potential,labels,atoms")
    assert results(A, checks).holds is False
    assert results(A).holds is None


def columns_of(text, made):
    """The first table of a study file as dictionaries: by the head of a column, by the head of a row."""
    config = parse_study(ONE + text)
    table = make_table(config.tables[0], made, config.published)
    heads = list(table.frame.iloc[:, 0])
    assert len(set(heads)) == len(heads)
    return {name: dict(zip(heads, table.frame[name], strict=True)) for name in table.frame.columns}


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
            table.name
            for table in config.tables
            if "al, x" in make_table(table, results(A), config.published).frame.columns
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
    config = parse_study(HEAD + "[[potentials]]\nname = 'a'\n[[figures]]\nkind = 'errors'\nname = 'f'\n")
    found = Shown.of(config.figures[0], results(A)).typical("a", "al")
    assert found[0].variant.seed == 2
    assert Shown.of(config.figures[0], results([outcome("a", 1, None)])).typical("a", "al") is None
    assert numbers_text((0.5,)) == "0.5"
    assert numbers_text((0.5, math.nan, math.nan)).startswith("not available")


def test_what_is_finished_is_kept_and_what_is_damaged_is_made_again(tmp_path):
    evaluation = A[0].evaluations["al"]
    for content in (None, "{", "[]", "{}", "\x00"):
        if content is not None:
            (tmp_path / "evaluation-k.json").write_text(content)
        found = Finished(tmp_path).get_or_compute("evaluation-k", evaluation.to_dict, Evaluation.from_dict)
        assert (found.metrics, found.elastic) == (evaluation.metrics, evaluation.elastic)
    again = Finished(tmp_path)
    assert "evaluation-k" in again
    assert "fit-k" not in again
    assert again.get_or_compute("evaluation-k", lambda: 1 / 0, Evaluation.from_dict).metrics == evaluation.metrics
    assert (again.time().results, again.time().earlier, again.time().not_recorded) == (1, 1, 0)
    for took in (3, {}, {"seconds": "x", "cores": 2}, {"seconds": 1.0, "cores": 0}, {"seconds": -1, "cores": 2}):
        (tmp_path / "fit-k.json").write_text(json.dumps({"value": 1, "took": took}))
        old = Finished(tmp_path)
        assert old.get_or_compute("fit-k", lambda: 1 / 0, lambda found: found["value"]) == 1
        assert old.time().not_recorded == 1
        assert old.time().seconds is None


def test_a_result_that_several_potentials_share_is_timed_once(tmp_path):
    def fail():
        raise ValueError("fails too")

    for kind, seconds in (("fit", 1.0), ("evaluation", 90.0)):
        (tmp_path / f"{kind}-b.json").write_text(json.dumps({"took": {"seconds": seconds, "cores": 4}}))
    finished = Finished(tmp_path)
    with pytest.raises(ValueError, match="fails too"):
        finished.get_or_compute("fit-a", fail, dict)
    for name in ("fit-b", "evaluation-b", "evaluation-b"):
        finished.get_or_compute(name, fail, dict)
    total = finished.time()
    assert (total.results, total.earlier, total.evaluation_seconds) == (3, 2, 90.0)
    assert 1 <= total.fit_seconds < 2
    assert "1 core." in StudyTime(60.0, 30.0, 5, 0, 0, (1,)).sentence()
