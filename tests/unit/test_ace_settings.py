"""Settings of atomic cluster expansions, which need no ace-jax."""

import importlib.util
import sys

import pytest

from ndsc.errors import InputError, MissingExtraError
from ndsc.potentials import AceSettings, fitter, settings_of
from ndsc.potentials.ace_tables import require_ace


def test_keys_are_taken_from_the_table_of_the_method():
    found = settings_of({"method": "ace", "cutoff": 5.0, "ace": {"max_degree": 9, "r0": 2.8}})
    assert found == AceSettings(cutoff=5.0, max_degree=9, r0=2.8)
    assert settings_of({"ace": {"order": 2}}) == AceSettings(order=2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "ace", "n_sparse": 100}, "n_sparse"),
        ({"method": "ace", "ace": {"max_degre": 9}}, "max_degree"),
        ({"method": "ace", "ace": {"order": 0}}, "order"),
        ({"method": "ace", "ace": {"prior": "flat"}}, "prior"),
        ({"method": "gap", "max_degree": 9}, "fit.ace"),
        ({"method": "ace", "ace": {"r0": -1.0}}, "r0"),
    ],
)
def test_wrong_keys_and_values_are_told(values, words):
    with pytest.raises((InputError, ValueError), match=words):
        settings_of(values)


@pytest.mark.skipif(importlib.util.find_spec("ace_jax") is not None, reason="ace-jax is installed")
def test_a_missing_package_is_named_with_what_installs_it(tmp_path):
    with pytest.raises(MissingExtraError, match=r"pip install 'ndsc\[ace\]'"):
        fitter("ace").require()
    with pytest.raises(MissingExtraError, match=r"pip install 'ndsc\[ace\]'"):
        fitter("ace").calculator(tmp_path / "ace.npz")


def test_a_package_that_cannot_be_imported_is_named_with_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "ace_jax", None)
    with pytest.raises(MissingExtraError, match=r"import of ace_jax halted.*pip install 'ndsc\[ace\]'"):
        require_ace()
