"""Foreign files in a store, and names that look like commands to the terminal: skipped or shown, never obeyed."""

from __future__ import annotations

import json
import os

import pytest
from fault_frames import frames
from typer.testing import CliRunner

from ndsc.cli import app
from ndsc.reference import CalculatorSpec, LabelStore, label_configurations
from ndsc.reference.inventory import Problem, read_all
from ndsc.workflow.derived import relaxed_through_store

EMT = CalculatorSpec("emt")
START = '{"format": "ndsc label", "format_version": '


def _directory(path):
    path.mkdir()


def _pipe(path):
    os.mkfifo(path)


def _huge(path):
    with path.open("wb") as file:
        file.truncate(10**12)


def _link_to_itself(path):
    path.symlink_to(path)


FOREIGN = {
    "nested lists": b"[" * 200_000,
    "nested tables": b'{"a":' * 100_000,
    "byte-order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "binary": bytes(range(256)),
    "zeros": b"\0" * 1000,
    "number": b"1",
    "text": b'"ndsc label"',
    "no version": b'{"format": "ndsc label"}',
    "infinite version": (START + "1e999}").encode(),
    "long version": (START + "1" * 5000 + "}").encode(),
    "version that is a table": (START + "{}}").encode(),
    "not a number": (START + '1, "checksum": "x", "key": NaN}').encode(),
    "half a character": (START + '1, "checksum": "x", "key": "\\ud800"}').encode(),
    "directory": _directory,
    "pipe": _pipe,
    "huge": _huge,
    "link to itself": _link_to_itself,
}


@pytest.fixture
def labelled(store):
    """A store of three labels."""
    label_configurations(frames(3), EMT, store, workers=1)
    return store


def plant(path, how):
    """Put a foreign file where a label is expected."""
    content = FOREIGN[how]
    path.unlink(missing_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else content(path)


def call(*arguments):
    return CliRunner().invoke(app, ["labels", *map(str, arguments)])


@pytest.mark.parametrize("how", FOREIGN)
def test_a_foreign_file_stops_no_command(labelled, tmp_path, how):
    path = labelled.path_of("f" * 64)
    plant(path, how)
    for command in (["status"], ["list"], ["prune"], ["export"]):
        result = call(*command, labelled.path, *([tmp_path / "x.xyz"] if command == ["export"] else []))
        assert result.exit_code == 0, (command, result.output)
        assert result.exception is None
    assert json.loads(call("status", labelled.path, "--json").stdout)["labels"] == 3
    verified = call("verify", labelled.path)
    assert verified.exit_code == 3
    assert path.name in verified.stdout
    listed = call("list", labelled.path)
    assert "3 labels" in listed.stdout
    shown = call("show", labelled.path, "ffff")
    assert shown.exit_code == 2
    assert "cannot be used" in shown.stderr
    assert "bug" not in shown.stderr


@pytest.mark.parametrize("how", FOREIGN)
def test_a_foreign_file_in_place_of_a_label_is_computed_again(labelled, how, caplog):
    key = next(labelled.keys())
    plant(labelled.path_of(key), how)
    report = label_configurations(frames(3), EMT, labelled, workers=1)
    assert len(report.labels) == 3
    assert report.computed == 1
    assert caplog.text.count(key + ".json") == 1


@pytest.mark.parametrize("how", [how for how in FOREIGN if how not in ("pipe", "link to itself")])
def test_foreign_settings_and_claims_stop_nothing(labelled, how):
    plant(labelled.path / "settings" / f"{'f' * 12}.json", how)
    labelled.claims.folder.mkdir(exist_ok=True)
    if how != "directory":
        plant(labelled.claims.path_of("e" * 64), how)
    label_configurations(frames(5), CalculatorSpec("emt", {"asap_cutoff": True}), labelled, workers=1)
    assert call("status", labelled.path).exit_code == 0


@pytest.mark.parametrize("how", FOREIGN)
def test_a_foreign_derived_result_is_made_again(store, how):
    from ase.build import bulk

    from ndsc.reference import StoredCalculator

    atoms = bulk("Al", a=4.1)
    first = relaxed_through_store(atoms, StoredCalculator(EMT, store))
    (path,) = store.derived.glob("*.json")
    content = path.read_text()
    plant(path, how)
    again = relaxed_through_store(atoms, StoredCalculator(EMT, store))
    assert abs(first.cell.array - again.cell.array).max() < 1e-12
    assert path.read_text() == content


def test_names_cannot_command_the_terminal(store):
    atoms = frames(1)[0]
    atoms.info["ndsc_name"] = "[bold]\x1b[31m\x07[/nothing] x"
    label_configurations([atoms], EMT, store, workers=1)
    (key,) = store.keys()
    for arguments in (["list"], ["show", key[:8]], ["status"]):
        result = call(arguments[0], store.path, *arguments[1:])
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert "\x07" not in result.output
    assert "[bold]" in call("list", store.path).stdout
    claim = store.claims.acquire("a" * 64, "[/red]\x1b[2J")
    assert "[/red]" in call("status", store.path).stdout
    claim.release()


def test_names_that_are_too_long_are_clear_errors(tmp_path):
    for arguments in (["status", "x" * 5000], ["show", "x" * 5000, "ab"], ["list", str(tmp_path / ("y" * 300))]):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "bug" not in result.stderr


def test_problems_name_their_files(labelled):
    plant(labelled.path_of("f" * 64), "nested lists")
    problems = [found for _, found in read_all(LabelStore(labelled.path)) if isinstance(found, Problem)]
    assert [problem.path.stem for problem in problems] == ["f" * 64]
    assert "nested" in problems[0].reason
