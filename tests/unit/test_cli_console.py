"""What the commands share: folders that are written whole or not at all, and progress on standard error."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from ndsc.cli.console import check_folder, duration, print_table, progress_bars, staged_folder
from ndsc.errors import InputError


def test_a_staged_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with staged_folder(target) as folder:
        (folder / "one.txt").write_text("1")
        assert not target.exists()
    assert (target / "one.txt").read_text() == "1"
    with staged_folder(target) as folder:
        (folder / "one.txt").write_text("2")
        (folder / "two.txt").write_text("2")
    assert sorted(path.name for path in target.iterdir()) == ["one.txt", "two.txt"]
    assert (target / "one.txt").read_text() == "2"
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_a_staged_folder_leaves_nothing_on_an_error(tmp_path: Path) -> None:
    def fails() -> None:
        with staged_folder(tmp_path / "out") as folder:
            (folder / "one.txt").write_text("1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_checking_a_folder_makes_nothing(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a file"):
        check_folder(tmp_path / "link" / "folder")
    with pytest.raises(InputError, match="too long"):
        check_folder(tmp_path / ("x" * 300))


def test_progress_in_a_log_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as progress:
        for done in range(101):
            progress("labels", done, 100)
        progress("nothing to do", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "labels: 0/100"
    assert "labels: 100/100" in lines
    assert len(lines) <= 8


def test_progress_at_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars() as progress:
        progress("labels", 0, 2)
        progress.bars.refresh()  # type: ignore[attr-defined]
        progress("labels", 2, 2)
        progress("nothing to do", 0, 0)
    assert ":--" in terminal.getvalue()
    assert "labels" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (99, "99 s"), (100, "2 min"), (5999, "1 h 40 min"), (12000, "3 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_in_a_file_is_not_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("[b]Names", ["[i]name", "value"], [[300 * "x" + "[/red]", 1.0]])
    text = capsys.readouterr().out
    assert 300 * "x" + "[/red]" in text
    assert "[b]Names" in text
    assert "[i]name" in text
    assert max(map(len, text.splitlines())) < 400


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Numbers", ["name", "value"], [["one", 1.23456789], ["two", 2.0]])
    text = capsys.readouterr().out
    assert "Numbers" in text
    assert "1.23457" in text
