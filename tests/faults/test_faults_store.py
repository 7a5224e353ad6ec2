"""Stores that are damaged, full, read-only or from another version: a clear message, and the rest is usable."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from calculators_that_fail import calls
from fault_frames import frames

from ndsc.codes.factories import Factory
from ndsc.errors import InputError
from ndsc.reference import LabelStore, label_configurations
from ndsc.reference import store as store_module


def run(store, spec, n=6, **options):
    """Label n structures in this process."""
    return label_configurations(frames(n), spec, store, **{"workers": 1, **options})


def damage(path: Path, how: str) -> None:
    """Spoil a label's file."""
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped bit":
        middle = content.index(b'"free_energy"') + 18
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif how == "not JSON":
        path.write_bytes(b"\x80\x04\x95 not a label")
    elif how == "another's":
        other = next(entry for entry in sorted(path.parent.glob("*.json")) if entry != path)
        path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped bit", "not JSON", "another's"])
def test_a_damaged_label_is_computed_again_and_only_that(store, counting, tmp_path, how, caplog):
    spec = counting()
    run(store, spec)
    damage(store.path_of(next(store.keys())), how)
    report = run(store, spec)
    assert len(report.labels) == 6
    assert (report.found, report.computed) == (5, 1)
    assert sorted(calls(tmp_path / "calls").values()) == [1, 1, 1, 1, 1, 2]
    assert "damaged" in caplog.text
    assert len(list(store.path.glob("*.damaged"))) == 1


def test_every_flipped_bit_is_seen(store, counting):
    """One bit after the other of a label's file: never another number, without a word."""
    run(store, counting(), n=1)
    (key,) = store.keys()
    path, good = store.path_of(key), store.load(key)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ (1 << position % 8)]) + content[position + 1 :]
        )
        try:
            label = store.load(key)
        except (ValueError, KeyError, TypeError, InputError):
            continue
        assert label.energy == good.energy  # white space between numbers may change without harm
        assert (label.forces == good.forces).all()


def test_a_label_of_other_atoms_with_a_right_checksum(store, counting, caplog):
    """Somebody changed the atoms in a file and made its checksum right: the key tells."""
    from ndsc.reference.label_file import _hash

    run(store, counting(), n=2)
    path = store.path_of(next(store.keys()))
    content = json.loads(path.read_text())
    content["structure"]["positions"][0][0] += 0.01
    del content["checksum"]
    content["checksum"] = _hash(content)
    path.write_text(json.dumps(content))
    assert store.get(path.stem) is None
    assert "its atoms or settings do not agree" in caplog.text


def test_a_file_of_a_newer_version_stays_and_the_rest_is_used(store, counting, tmp_path):
    spec = counting()
    run(store, spec)
    path = store.path_of(next(store.keys()))
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    report = run(store, spec)
    assert len(report.labels) == 5
    assert len(report.failures) == 1
    assert "newer than this version" in report.failures[0].reason
    assert path.exists()
    assert set(calls(tmp_path / "calls").values()) == {1}


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk(small_disk, counting, monkeypatch, tmp_path, workers):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    store = LabelStore(small_disk / "labels")
    spec = counting()
    run(store, spec, n=3)
    room = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        fill(room)
    with pytest.raises(InputError, match=r"cannot be written|can be claimed") as raised:
        run(store, spec, n=8, workers=workers)
    assert "No space left" in str(raised.value)
    # What was there is there, and everything goes on when there is room.
    assert all(store.get(key) is not None for key in list(store.keys()))
    room.unlink()
    report = run(store, spec, n=8, workers=workers)
    assert len(report.labels) == 8
    assert not list(store.path.glob("*.damaged"))
    assert not list(store.path.glob(".*.tmp"))


def test_a_label_that_the_disk_does_not_take_is_kept_elsewhere(store, counting, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write = store_module.write_text

    def full(path, text, *, sync):
        if path.parent == store.path:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text, sync=sync)

    monkeypatch.setattr(store_module, "write_text", full)
    with pytest.raises(InputError, match=r"It was saved as .*ndsc-rescued") as raised:
        run(store, counting(), n=1)
    monkeypatch.undo()
    kept = next(tmp_path.glob("ndsc-rescued-*/*.json"))
    assert str(kept) in str(raised.value)
    os.replace(kept, store.path / kept.name)
    assert store.get(kept.stem) is not None


def test_a_label_that_can_be_kept_nowhere(store, counting, monkeypatch):
    def full(path, text, *, sync):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "write_text", full)
    with pytest.raises(InputError, match="could not be saved anywhere else"):
        run(store, counting(), n=1)


@pytest.fixture
def read_only(small_disk):
    """Make the small disk read-only, also for root."""
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)

    def make(flag: str = "ro") -> None:
        subprocess.run(["mount", "-o", f"remount,{flag}", str(small_disk)], check=True)

    yield make
    make("rw")


def test_a_read_only_store(small_disk, counting, read_only, tmp_path, caplog):
    store = LabelStore(small_disk / "labels")
    spec = counting()
    run(store, spec)
    damage(store.path_of(next(store.keys())), "truncated")
    read_only()
    # What is there serves; what is missing is asked for with a clear message, before anything is computed.
    five = [atoms for atoms in frames(6) if store.key_of(atoms, spec) != next(store.keys())]
    assert len(label_configurations(five, spec, store, workers=1).labels) == 5
    with pytest.raises(InputError, match=r"cannot be written .*Read-only"):
        run(store, spec)
    assert "cannot be moved aside" in caplog.text
    with pytest.raises(InputError, match=r"can be claimed .*Read-only"):
        store.claims.acquire("0" * 64)
    assert max(calls(tmp_path / "calls").values()) == 1


def test_a_label_that_may_not_be_read(store, counting, monkeypatch):
    run(store, counting(), n=2)
    key = next(store.keys())

    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match="cannot be read"):
        store.get(key)
    assert store.path_of(key).exists()


def test_nothing_in_a_store_runs_code(store, counting, tmp_path):
    """A pickle that would touch a file is just a damaged label."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'evil'}",))

    run(store, counting(), n=1)
    path = store.path_of(next(store.keys()))
    for content in (pickle.dumps(Evil()), b"__import__('os').system('touch evil')", b'{"py/object": "os.system"}'):
        path.write_bytes(content)
        assert store.get(path.stem) is None
        claim = store.claims.path_of(path.stem)
        claim.parent.mkdir(exist_ok=True)
        claim.write_bytes(content)
        assert store.claims.holder(path.stem) is None
    assert not (tmp_path / "evil").exists()


def test_no_reader_uses_pickle_or_eval():
    """The one place where a user names code to load is the calculator 'module:factory'."""
    folder = Path(store_module.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "pickle" not in text.replace("picklable", ""), path
        assert "eval(" not in text, path
        assert "import_module" not in text or path.name in ("factories.py", "executors.py"), path


def test_other_settings_are_shown_and_not_mixed(store, counting, tmp_path, caplog):
    run(store, counting(seconds=0.0), n=2)
    report = run(store, counting(seconds=0.001), n=2)
    assert report.computed == 2
    assert len(list(store.keys())) == 4
    assert any("parameters.seconds: 0 there, 0.001 here" in note for note in report.notes)
    assert "parameters.seconds" in caplog.text
    assert not run(store, counting(seconds=0.001), n=2).notes


def test_versions_of_the_code_that_differ_are_shown(store, counting, monkeypatch):
    run(store, counting(), n=2)
    monkeypatch.setattr(Factory, "version", lambda self: "code 2.0")
    report = run(store, counting(), n=3)
    assert any("1 with code 2.0" in note for note in report.notes)


def test_a_store_written_before_settings_were_listed(store, counting):
    import shutil

    run(store, counting(seconds=0.0), n=2)
    shutil.rmtree(store.path / "settings")
    report = run(store, counting(seconds=0.001), n=2)
    assert any("parameters.seconds: 0 there" in note for note in report.notes)
    assert len(list((store.path / "settings").glob("*.json"))) == 2
