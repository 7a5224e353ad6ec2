"""What a pipeline imports from ndsc, and what that costs."""

import subprocess
import sys

import pytest

import ndsc


@pytest.mark.parametrize("name", ndsc.__all__)
def test_every_public_name_is_there(name):
    assert getattr(ndsc, name) is not None


def test_tab_completion_finds_the_public_names():
    assert {"Crystal", "find_supercells", "database"} <= set(dir(ndsc))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError):
        _ = ndsc.no_such_name


def test_the_import_loads_no_heavy_package():
    heavy = ("scipy", "ase", "phonopy", "matplotlib", "pydantic", "pandas")
    code = f"import sys, ndsc; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
