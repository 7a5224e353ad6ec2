import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixSymmetry
from hypothesis import given, settings
from hypothesis import strategies as st

from ndsc.errors import InputError
from ndsc.reference import CalculatorSpec, Label, LabelStore, compute_label
from ndsc.reference.label_file import _lines, structure_record
from ndsc.rounding import rounded


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


def al(shift=0.0):
    atoms = bulk("Al", cubic=True)
    atoms.positions[0, 0] += shift
    return atoms


EMT = CalculatorSpec("emt")


def test_a_label_comes_back_as_it_was(store):
    computed = compute_label(al(0.05), EMT, store)
    found = LabelStore(store.path).get(store.key_of(al(0.05), EMT))
    assert found.energy == computed.energy
    assert np.array_equal(found.forces, computed.forces)
    assert np.array_equal(found.stress, computed.stress)
    assert found.provenance["code"].startswith("ase ")
    assert list(store.keys()) == [computed.key]
    assert computed.key in store


def test_the_file_is_readable_json(store):
    label = compute_label(al(), EMT, store)
    content = json.loads(store.path_of(label.key).read_text())
    assert content["results"]["free_energy"] == label.energy
    assert content["structure"]["symbols"] == ["Al"] * 4
    assert content["provenance"]["calculator"] == "emt"


def test_time_of_processors_counts_programs_and_not_waiting(store):
    label = compute_label(al(), CalculatorSpec("calculators_for_tests:takes_processors"), store)
    found = LabelStore(store.path).get(label.key)
    assert found.cpu_seconds == pytest.approx(label.cpu_seconds, abs=1e-3)
    # 0.2 s here and 0.3 s in a program, and not the 0.4 s of sleep.
    assert label.cpu_seconds >= 0.45
    assert label.seconds >= label.cpu_seconds - 0.05 + 0.4


def test_a_label_without_time_of_processors_is_read_and_written_as_it_was(store):
    label = compute_label(al(), EMT, store)
    old = replace(label, cpu_seconds=None)
    store.put(label.key, old)
    text = store.path_of(label.key).read_text()
    assert "cpu_seconds" not in text
    found = LabelStore(store.path).get(label.key)
    assert found.cpu_seconds is None
    assert found.cost_seconds == found.seconds
    assert replace(found, cpu_seconds=3.0).cost_seconds == 3.0
    store.put(label.key, found)
    assert store.path_of(label.key).read_text() == text


def test_what_the_key_depends_on(store):
    gpaw = CalculatorSpec("gpaw", {"mode": {"name": "pw", "ecut": 400}}, (8, 8, 8))
    key = store.key_of(al(), gpaw)
    same = CalculatorSpec("gpaw", {"mode": {"ecut": 400.0, "name": "pw"}}, (8, 8, 8))
    assert store.key_of(al(1e-10), same) == key
    supercell = al()
    supercell.info["ndsc_matrix"] = np.array([1, 0, 0, 0, 1, 0, 0, 0, 2])
    others = [
        store.key_of(al(1e-7), gpaw),
        store.key_of(supercell, gpaw),
        store.key_of(al(), EMT),
        store.key_of(al(), CalculatorSpec("gpaw", {"mode": {"name": "pw", "ecut": 401}}, (8, 8, 8))),
        store.key_of(al(), CalculatorSpec("gpaw", {"mode": {"name": "pw", "ecut": 400}}, (8, 8, 6))),
    ]
    assert len({key, *others}) == 6
    # Without k-points the supercell matrix says nothing that the structure does not.
    assert store.key_of(supercell, EMT) == store.key_of(al(), EMT)


@pytest.mark.parametrize("strain", [0.0, 0.001, 0.0035, 0.01])
def test_what_is_stored_is_what_was_keyed_under_a_constraint(strain):
    # FixSymmetry makes cells symmetric to the last digit of a float, and they round another way.
    atoms = bulk("Mg", "hcp", a=3.2, c=5.2)
    atoms.set_constraint(FixSymmetry(atoms))
    atoms.set_cell(atoms.cell.array * (1.0 + strain), apply_constraint=False, scale_atoms=True)
    atoms.cell[2, 1] = -1e-12
    assert np.array_equal(rounded(atoms).cell.array, np.round(atoms.cell.array, 8) + 0.0)


@pytest.mark.parametrize("damage", ["truncate", "flip", "garbage", "binary", "other", "rename"])
def test_a_damaged_label_is_set_aside_and_computed_again(store, damage, caplog):
    label = compute_label(al(0.1), EMT, store)
    path = store.path_of(label.key)
    text = path.read_text()
    if damage == "truncate":
        path.write_text(text[: len(text) // 2])
    elif damage == "flip":
        path.write_text(text.replace('"free_energy": ', '"free_energy": 1', 1))
    elif damage == "garbage":
        path.write_text("hello")
    elif damage == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif damage == "other":
        path.write_text("[1, 2]")
    else:
        other = compute_label(al(0.2), EMT, store)
        path.write_text(store.path_of(other.key).read_text())
    assert store.get(label.key) is None
    assert "damaged" in caplog.text
    assert path.with_suffix(".damaged").exists()
    assert not path.exists()
    assert compute_label(al(0.1), EMT, store).energy == label.energy


def test_a_newer_format_is_an_error_and_stays(store):
    label = compute_label(al(), EMT, store)
    path = store.path_of(label.key)
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    with pytest.raises(InputError, match="newer than this version"):
        store.get(label.key)
    assert path.exists()


def test_a_label_without_stress(store):
    label = Label("0" * 64, -1.0, np.zeros((4, 3)), None, 0.1, structure=structure_record(al()))
    store.put(label.key, label)
    assert store.get(label.key).stress is None


def test_a_store_that_is_a_file(tmp_path):
    (tmp_path / "labels").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        LabelStore(tmp_path / "labels")


def test_a_missing_label_is_none(store):
    assert store.get("0" * 64) is None
    assert list(store.keys()) == []


def slow_lines(value, depth):
    """The form of a label's file, in the plainest way."""
    pad, inner = " " * depth, " " * (depth + 1)
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(key)}: {slow_lines(entry, depth + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(inner + slow_lines(entry, depth + 1) for entry in value) + f"\n{pad}]"
    return json.dumps(value)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(alphabet='a],[ {"é', max_size=5)
JSON = st.recursive(
    LEAVES | TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=12
)


@given(JSON | st.lists(st.lists(LEAVES, max_size=4), max_size=4))
@settings(max_examples=300)
def test_the_form_of_a_file_is_that_of_its_rows(value):
    assert _lines(value, 0) == slow_lines(value, 0)


def test_keys_of_many_are_the_hashes_of_their_content():
    # Keys of stored labels must never change.
    import hashlib

    from ndsc.reference.label_file import keys_of, structure_content

    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    salt.rattle(0.1, seed=1)
    slab = bulk("Mg")
    slab.pbc = (True, False, True)
    magnet = bulk("Fe")
    magnet.set_initial_magnetic_moments([2.2])
    frames = [salt, slab, magnet, al(-0.3)]
    for atoms, key in zip(frames, keys_of(frames, EMT), strict=True):
        content = {"structure": structure_content(atoms), "calculator": "emt", "parameters": {}}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        assert key == hashlib.sha256(text.encode()).hexdigest()
