"""Pseudopotentials for a second code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "gth_potentials.py"
#: Invented numbers, in the form of CP2K's file.
SOURCE = """#
W GTH-PBE-q6
    2    0    4
     0.70000000    1    10.00000000
    2
     0.50000000    2     5.00000000    -2.00000000
                                        2.50000000
     0.60000000    1     1.75000000
#
W GTH-BLYP-q6
    2    0    4
     0.80000000    1    11.00000000
    0
"""


def convert(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    (folder / "GTH").write_text(SOURCE)
    args = [sys.executable, str(SCRIPT), *names, "--source", str(folder / "GTH"), "--out", str(folder / "out")]
    return subprocess.run(args, capture_output=True, text=True, check=False)


def test_numbers_are_in_the_places_where_abinit_reads_them(tmp_path):
    assert convert(tmp_path, "W-q6").returncode == 0
    lines = (tmp_path / "out" / "W-q6.gth").read_text().splitlines()
    assert lines[1].split()[:2] == ["74", "6"]  # nuclear charge, electrons
    assert lines[2].split()[:5] == ["10", "11", "1", "0", "2001"]  # format, PBE, largest angular momentum
    numbers = [[float(word) for word in line.split()] for line in lines[3:]]
    assert numbers == [[0.7, 1, 10.0], [2], [0.5, 2, 5.0, -2.0], [2.5], [0.6, 1, 1.75], [0.0]]


def test_a_pseudopotential_that_is_not_there_is_named_with_those_that_are(tmp_path):
    result = convert(tmp_path, "W-q6", "W-q14")
    assert result.returncode == 2
    assert "no pseudopotential W-q14 of PBE. The file has W-q6." in result.stderr
    assert not (tmp_path / "out").exists()
