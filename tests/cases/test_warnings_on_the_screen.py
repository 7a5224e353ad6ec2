"""Warnings of the library reach standard error in every command, once each, and leave JSON alone."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ndsc.cli import app
from ndsc.cli.console import Screen, plain, show_warnings


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_a_stressed_cell_is_warned_of_beside_its_constants() -> None:
    result = call("elastic", "Al", "-a", "4.25", "--calculator", "emt", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["constants"]["C11"] == pytest.approx(47.6, abs=0.5)
    assert result.stderr.count("5.92 GPa") == 1
    assert call("elastic", "Al", "--calculator", "emt", "--relax").stderr.count("stress") == 0


def test_an_unstable_crystal_is_warned_of() -> None:
    result = call("elastic", "Cu", "--lattice", "bcc", "-a", "2.86", "--calculator", "emt", "--relax")
    assert result.exit_code == 0
    assert "not positive definite" in result.stderr


def test_a_damaged_label_is_warned_of_and_computed_again() -> None:
    assert call("phonons", "Al", "--grid", "2", "--labels", "labels").exit_code == 0
    for path in Path("labels").glob("*.json"):
        path.write_text("{")
    result = call("phonons", "Al", "--grid", "2", "--labels", "labels", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["grid"] == [2, 2, 2]
    assert "Warning" in result.stderr


def test_each_warning_is_shown_once_and_those_for_developers_never(capsys: pytest.CaptureFixture[str]) -> None:
    screen = show_warnings(debug=False)
    try:
        for _ in range(3):
            logging.getLogger("ndsc.x").warning("seen %d", 1)
            logging.getLogger("matplotlib.font_manager").warning("no font")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("\x1b[31mred", UserWarning, stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    finally:
        logging.getLogger().removeHandler(screen)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["Warning: seen 1", r"Warning: \x1b[31mred"]
    assert not any(isinstance(handler, Screen) for handler in logging.getLogger().handlers)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("α-Al2O3 Å", "α-Al2O3 Å"), ("a\x1b[2Jb", r"a\x1b[2Jb"), ("a\nb\tc", "a\nb\tc"), ("\u202egnp", r"\u202egnp"),
     ("a\udcffb", r"a\udcffb"), ("[red]x[/]", "[red]x[/]")],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown
