import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ndsc import find_supercells
from ndsc.configurations import make_configurations
from ndsc.errors import InputError, MissingExtraError, ReferenceCalculationError
from ndsc.reference import CalculatorSpec, LabelStore, StoredCalculator, compute_label, label_configurations
from ndsc.relaxation import relax_crystal

TESTS = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def configurations():
    return make_configurations(find_supercells(bulk("Al"), 2), per_supercell=3)


@pytest.fixture(autouse=True)
def faulty_calculators(monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("PYTHONPATH", str(TESTS) + os.pathsep + os.environ.get("PYTHONPATH", ""))


def faulty(how, counter=""):
    return CalculatorSpec("calculators_for_tests:faulty", {"how": how, "counter": str(counter)})


@pytest.mark.parametrize("workers", [1, 2])
def test_labels_are_the_calculators(configurations, store, workers):
    report = label_configurations(configurations, CalculatorSpec("emt"), store, workers=workers)
    assert report.computed == len(configurations)
    assert not report.failures
    report.require_all()
    for atoms in configurations:
        copy = atoms.copy()
        copy.calc = EMT()
        label = report.labels[atoms.info["ndsc_name"]]
        assert label.energy == pytest.approx(copy.get_potential_energy(), abs=1e-12)
        assert np.allclose(label.forces, copy.get_forces(), atol=1e-12)
        assert np.allclose(label.stress, copy.get_stress(), atol=1e-14)


def test_a_second_call_computes_nothing(configurations, store, tmp_path):
    counter = tmp_path / "calls"
    label_configurations(configurations[:4], faulty("", counter), store, workers=1)
    calls = counter.read_text().count("\n")
    seen = []
    report = label_configurations(
        configurations, faulty("", counter), store, workers=1, progress=lambda *state: seen.append(state)
    )
    assert (report.found, report.computed) == (4, len(configurations) - 4)
    assert counter.read_text().count("\n") == calls + len(configurations) - 4
    assert seen[0] == ("labels", 4, len(configurations))
    assert seen[-1] == ("labels", len(configurations), len(configurations))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "energy is not finite"),
        ("raise", "self-consistency did not converge"),
        ("drift", "sum to"),
        ("absurd", "too large for any configuration"),
        ("shape", "shape"),
    ],
)
def test_bad_results_are_never_stored(configurations, store, how, message):
    report = label_configurations(configurations[:2], faulty(how), store, workers=1)
    assert [failure.name for failure in report.failures] == ["unit-0000", "s000-0000"]
    assert all(message in failure.reason for failure in report.failures)
    assert not report.labels
    assert list(store.keys()) == []
    with pytest.raises(ReferenceCalculationError, match="2 reference calculations failed"):
        report.require_all()


def test_one_failure_leaves_the_others(configurations, store):
    report = label_configurations(configurations, faulty("raise_large"), store, workers=2)
    assert report.failures
    assert report.labels
    assert len(report.failures) + len(report.labels) == len(configurations)


def test_a_process_that_dies_is_tried_again(configurations, store, tmp_path):
    report = label_configurations(configurations, faulty("die_once", tmp_path / "x"), store, workers=2, retries=2)
    assert not report.failures
    assert len(report.labels) == len(configurations)


def test_a_process_that_always_dies_is_given_up(configurations, store):
    report = label_configurations(configurations[:2], faulty("die"), store, workers=2, retries=1)
    assert len(report.failures) == 2
    assert all("died 2 times" in failure.reason for failure in report.failures)


def test_a_calculator_without_stress(configurations, store):
    report = label_configurations(
        configurations[:1], CalculatorSpec("calculators_for_tests:no_stress"), store, workers=1
    )
    assert report.labels["unit-0000"].stress is None


def test_stored_calculator_repeats_a_relaxation_without_computing(store, tmp_path):
    counter = tmp_path / "calls"
    first = relax_crystal(bulk("Al", a=4.1), StoredCalculator(faulty("", counter), store))
    calls = counter.read_text().count("\n")
    again = relax_crystal(bulk("Al", a=4.1), StoredCalculator(faulty("", counter), store))
    assert calls > 0
    assert counter.read_text().count("\n") == calls
    assert np.array_equal(first.cell.array, again.cell.array)


def test_interrupt_keeps_finished_labels_and_leaves_no_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        from ase.build import bulk
        from ndsc import find_supercells
        from ndsc.configurations import make_configurations
        from ndsc.reference import CalculatorSpec, LabelStore, label_configurations
        label_configurations(
            make_configurations(find_supercells(bulk("Al"), 2), per_supercell=60),
            CalculatorSpec("calculators_for_tests:faulty", {{"how": "slow"}}),
            LabelStore({str(tmp_path / "labels")!r}),
        )
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("labels/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    store = LabelStore(tmp_path / "labels")
    finished = list(store.keys())
    assert len(finished) >= 3
    assert all(store.get(key) is not None for key in finished)
    time.sleep(1.0)
    assert len(list(store.keys())) == len(finished)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CalculatorSpec("nothing"), InputError, "no calculator"),
        (lambda: CalculatorSpec("gpaw"), InputError, "needs kgrid"),
        (lambda: CalculatorSpec("emt", kgrid=(2, 2, 2)), InputError, "no k-points"),
        (lambda: CalculatorSpec("gpaw", kgrid=(2, 2, 0)), InputError, "positive whole numbers"),
        (lambda: CalculatorSpec("emt", {"x": float("inf")}), InputError, "finite numbers"),
        (lambda: CalculatorSpec("emt", {"x": object()}), InputError, "cannot record"),
        (
            lambda: CalculatorSpec("calculators_for_tests:no_stress", {"x": 1}).create(bulk("Al")),
            InputError,
            "does not take",
        ),
        (lambda: CalculatorSpec("emt").check(bulk("Si")), InputError, "does not know Si"),
        (lambda: CalculatorSpec("no_such_module:f").create(bulk("Al")), InputError, "cannot be imported"),
        (lambda: CalculatorSpec("math:nothing").create(bulk("Al")), InputError, "no function"),
        (lambda: CalculatorSpec("calculators_for_tests:NOT_A_FUNCTION").create(bulk("Al")), InputError, "no function"),
    ],
)
def test_bad_specifications(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(("name", "module"), [("gpaw", "gpaw"), ("quip", "quippy.potential")])
def test_a_code_that_is_not_installed(name, module, monkeypatch, store):
    monkeypatch.setitem(sys.modules, module, None)
    spec = CalculatorSpec(name, kgrid=(2, 2, 2) if name == "gpaw" else None)
    with pytest.raises(MissingExtraError, match="not installed"):
        compute_label(bulk("Al"), spec, store)


def test_plain_structures_are_numbered(store):
    first, second = bulk("Al"), bulk("Cu")
    report = label_configurations([first, second], CalculatorSpec("emt"), store, workers=1)
    assert list(report.labels) == ["structure-0000", "structure-0001"]
    assert report.labels["structure-0001"].atoms.get_chemical_formula() == "Cu"
    assert "ndsc_name" not in first.info


@pytest.mark.parametrize("workers", [1, 2])
def test_per_atom_data_reach_the_calculator_and_the_label(store, workers):
    plain = bulk("NaCl", "rocksalt", a=5.6)
    atoms = plain.copy()
    atoms.set_initial_charges([1.0, -0.5])
    atoms.set_tags([1, 2])
    atoms.set_masses([2.0, 35.0])
    atoms.set_initial_magnetic_moments([0.5, 0.25])
    spec = CalculatorSpec("calculators_for_tests:sees_atoms")
    report = label_configurations([atoms], spec, store, workers=workers, timeout=100 if workers > 1 else None)
    (label,) = report.labels.values()
    assert label.energy == pytest.approx(0.5 + 3e2 + 37e4 + 0.75e6)
    found = store.load(label.key).atoms
    assert found.get_initial_charges().tolist() == [1.0, -0.5]
    assert found.get_tags().tolist() == [1, 2]
    assert found.get_masses().tolist() == [2.0, 35.0]
    assert found.get_initial_magnetic_moments().tolist() == [0.5, 0.25]


def test_charges_and_tags_count_for_the_key_where_they_are_not_zero(store):
    spec = CalculatorSpec("emt")
    plain, zero, charged, tagged, heavy = (bulk("Al", cubic=True) for _ in range(5))
    zero.set_initial_charges(np.zeros(4))
    zero.set_tags(np.zeros(4))
    charged.set_initial_charges([0, 0, 0, 1e-3])
    tagged.set_tags([1, 0, 0, 0])
    heavy.set_masses([27.5] * 4)
    key = store.key_of(plain, spec)
    assert [store.key_of(atoms, spec) == key for atoms in (zero, charged, tagged, heavy)] == [True, False, False, True]


def test_names_must_differ(configurations, store):
    with pytest.raises(InputError, match="share the names unit-0000"):
        label_configurations([configurations[0]] * 2, CalculatorSpec("emt"), store)
    with pytest.raises(InputError, match="workers = 0"):
        label_configurations(configurations, CalculatorSpec("emt"), store, workers=0)


def test_an_unwritable_store(configurations, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        compute_label(configurations[0], CalculatorSpec("emt"), LabelStore(tmp_path / "file" / "labels"))
