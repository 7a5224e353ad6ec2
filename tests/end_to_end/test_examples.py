"""The examples run as they are shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ndsc.config import load_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_the_input_files_are_valid(file: Path) -> None:
    load_run(file)


def test_the_parts_by_themselves(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "pipeline.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "11 supercells of at most 12 cells hold the 6x6x4 grid" in done.stdout
    assert "13 labelled configurations" in done.stdout
    assert list(tmp_path.iterdir()) == []
