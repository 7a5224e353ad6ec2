"""What a command imports before it does anything: the help is quick, and commands load only what they use."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.argv = ["ndsc", *sys.argv[1:]]
from ndsc.cli.app import app
try:
    app()
except SystemExit as end:
    assert not end.code, end.code
print(" ".join(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    found = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return set(found.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["labels", "--help"]])
def test_help_imports_no_package_of_science(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & {"numpy", "scipy", "ase", "phonopy", "matplotlib", "spglib", "ndsc.config"}


def test_supercells_load_neither_fits_nor_phonons_nor_calculations() -> None:
    loaded = modules_after("supercells", "Al", "--grid", "4")
    assert "ndsc.supercells" in loaded
    unused = {"ndsc.fit", "ndsc.phonons", "ndsc.codes", "ndsc.reference", "phonopy", "symfc", "matscipy", "scipy"}
    assert not loaded & (unused | {"ase.build", "ase.io"})


def test_phonons_load_neither_symfc_nor_reports_nor_fits() -> None:
    loaded = modules_after("phonons", "Al", "--grid", "1")
    assert "phonopy" in loaded
    assert not loaded & {"symfc", "matplotlib", "matscipy", "pandas", "ndsc.fit", "ndsc.results", "ndsc.workflow"}


def test_the_package_itself_imports_nothing_heavy() -> None:
    program = "import sys, ndsc; print(' '.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(found.stdout.split()) & {"numpy", "scipy", "scipy.optimize", "ase", "pydantic"}
