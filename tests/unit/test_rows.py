"""Rows of configurations: against finite differences and a plain sum over pairs, in processes, and on disk."""

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.build import bulk

import ndsc.fit.rows
from ndsc.errors import FitError, InputError
from ndsc.fit import KernelRows
from ndsc.fit.calculator import bare_structure
from ndsc.fit.kernels import descriptor_of
from ndsc.fit.soap import COMPONENTS

pytestmark = [
    pytest.mark.gap,
    pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'"),
]

SOAP = (
    "soap cutoff=4 cutoff_transition_width=1 n_max=3 l_max=2 atom_sigma=0.5 covariance_type=dot_product add_species=F"
)


def row_processes():
    """Processes that compute rows; other tests may have left some that end by themselves."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "ndsc.fit" in " ".join(child.cmdline())
    ]


def cells(count=4, symbols=("Cu", "Al"), seed=0):
    random = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        atoms = bulk("CuAl", "cesiumchloride", a=3.0).repeat((1 + number % 2, 1, 1))
        atoms.symbols[:] = [symbols[i % len(symbols)] for i in range(len(atoms))]
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + random.normal(0, 0.02, (3, 3))), scale_atoms=True)
        atoms.positions += random.normal(0, 0.1, atoms.positions.shape)
        frames.append(atoms)
    return frames


def write_gap(folder, *, zeta=4, delta=1.5, n_points=5, seed=1, source="n_sparse=5 sparse_method=cur_points"):
    """The XML file of a GAP of Al and Cu whose sparse points are descriptors of some cells."""
    folder.mkdir(exist_ok=True)
    text = ""
    for number in (13, 29):
        words = f"{SOAP} zeta={zeta} delta={delta} n_species=2 Z={number} species_Z={{13 29}} {source}"
        points = np.vstack([descriptor_of(words).calc(frame)["data"] for frame in cells(5, seed=seed)])[:n_points]
        (folder / f"points{number}").write_text("\n".join(repr(float(value)) for value in points.ravel()))
        sparse = '<sparseX alpha="0.0" sparseCutoff="1.0"/>' * n_points
        text += (
            f'<gpCoordinates dimensions="{points.shape[1]}" sparseX_filename="points{number}">'
            f"<descriptor>{words}</descriptor>{sparse}</gpCoordinates>"
        )
    (folder / "gap.xml").write_text(f'<GAP><e0 Z="13" value="-1.0"/><e0 Z="29" value="-2.0"/>{text}</GAP>')
    return folder / "gap.xml"


@pytest.fixture(scope="module")
def gap(tmp_path_factory):
    return write_gap(tmp_path_factory.mktemp("gap"))


@pytest.fixture
def at_once(monkeypatch):
    """Processes are started for any amount of work."""
    monkeypatch.setattr(ndsc.fit.rows, "START_UP", -1e9)


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def energies(rows, atoms):
    """Energy for a weight of one on each sparse point, from descriptors alone."""
    parts = []
    for kernel in rows._kernels:
        found = kernel.descriptor.calc(bare_structure(atoms, rows.cutoff))
        data = found.get("data", np.zeros((0, kernel.points.shape[1]))).reshape(-1, kernel.points.shape[1])
        parts.append(1.5**2 * ((data @ kernel.points.T) ** kernel.zeta).sum(axis=0))
    return np.concatenate(parts)


def strained(atoms, axes, step):
    strain = np.eye(3)
    strain[axes] += step
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return copy


def displaced(atoms, atom, axis, step):
    copy = atoms.copy()
    copy.positions[atom, axis] += step
    return copy


@pytest.mark.parametrize("frame", [*cells(2), *cells(1, symbols=("Al",)), Atoms("AlCu", [[0, 0, 0], [0.3, 1.2, 2.0]])])
def test_rows_are_values_and_slopes_of_the_kernels(gap, frame):
    source = KernelRows(gap)
    (rows,) = source.of([frame])
    assert rows[0] == pytest.approx(energies(source, frame), rel=1e-12)
    h = 1e-4
    for atom in range(len(frame)):
        for axis in range(3):
            ahead, behind = (energies(source, displaced(frame, atom, axis, step)) for step in (h, -h))
            assert rows[1 + 3 * atom + axis] == pytest.approx(-(ahead - behind) / (2 * h), abs=1e-6)
    if frame.pbc.all():
        for row, axes in zip(rows[-6:], [divmod(component, 3) for component in COMPONENTS], strict=True):
            ahead, behind = (energies(source, strained(frame, axes, step)) for step in (h, -h))
            assert row == pytest.approx(-(ahead - behind) / (2 * h), abs=1e-5)


def test_rows_are_sums_over_pairs(gap):
    source = KernelRows(gap)
    for frame, rows in zip(cells(), source.of(cells()), strict=True):
        expected = np.zeros_like(rows)
        for kernel in source._kernels:
            found = kernel.descriptor.calc(bare_structure(frame, source.cutoff), grad=True)
            overlap = found["data"] @ kernel.points.T
            slope = kernel.zeta * 1.5**2 * overlap ** (kernel.zeta - 1)
            centre = {int(atom) - 1: number for number, atom in enumerate(np.ravel(found["ci"]))}
            virial = np.zeros((3, 3, len(kernel.points)))
            expected[0, kernel.columns] = 1.5**2 * (overlap**kernel.zeta).sum(axis=0)
            for pair, (atom, neighbour) in enumerate(found["grad_index_0based"]):
                change = (found["grad_data"][pair] @ kernel.points.T) * slope[centre[atom]]
                expected[1 + 3 * neighbour : 4 + 3 * neighbour, kernel.columns] -= change
                virial -= found["pos"][pair][:, None, None] * change
            expected[-6:, kernel.columns] = virial.reshape(9, -1)[list(COMPONENTS)]
        for part in (slice(0, 1), slice(1, -6), slice(-6, None)):
            assert np.abs(rows[part] - expected[part]).max() < 1e-11 * np.abs(expected[part]).max()


def test_what_a_source_knows(gap):
    source = KernelRows(gap)
    assert source.species == ("Al", "Cu")
    assert source.n_points == 10
    assert source.single_atoms == {13: -1.0, 29: -2.0}
    assert np.diag(source.covariance) == pytest.approx(np.full(10, 1.5**2))
    assert not source.covariance[:5, 5:].any()
    assert source.of([]) == []


def test_the_order_of_configurations_does_not_matter(gap):
    frames = cells()
    assert same(KernelRows(gap).of(frames[::-1])[::-1], KernelRows(gap).of(frames))


def test_two_workers_do_as_one(gap, at_once):
    alone = KernelRows(gap).of(cells(6))
    told = []
    source = KernelRows(gap, workers=2)
    assert same(source.of(cells(6), progress=lambda *step: told.append(step[1:])), alone)
    assert told == [(number, 6) for number in range(7)]
    assert not row_processes()


def test_processes_end_with_the_loop_over_their_results(gap, at_once):
    source = KernelRows(gap, workers=2)
    results = source.each(cells(6))
    next(results)
    next(results)
    assert row_processes()
    results.close()
    assert not row_processes()


def test_ctrl_c_ends_processes(gap, at_once):
    def interrupt(task, done, total):
        if done == 2:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        KernelRows(gap, workers=2).of(cells(400), progress=interrupt)
    assert not row_processes()


def test_a_process_that_is_killed_is_named(gap, at_once):
    results = KernelRows(gap, workers=2).each(cells(200))
    next(results)
    next(results)
    for child in row_processes():
        child.kill()
    with pytest.raises(FitError, match="signal 9"):
        list(results)
    assert not row_processes()


def test_processes_end_with_the_one_that_started_them(gap):
    script = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import ndsc.fit.rows, test_rows
ndsc.fit.rows.START_UP = -1e9
for _ in ndsc.fit.rows.KernelRows({str(gap)!r}, workers=2).each(test_rows.cells(2000)):
    print("a row", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        for _ in range(3):
            process.stdout.readline()
        children = psutil.Process(process.pid).children()
        process.kill()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_no_more_processes_than_fit_into_memory(gap, monkeypatch):
    source = KernelRows(gap, workers=8)
    assert source._workers_with_room(1000) == 8
    monkeypatch.setattr(ndsc.fit.rows, "available_memory_mb", lambda: 400.0)
    assert source._workers_with_room(1000) == 3
    monkeypatch.setattr(ndsc.fit.rows, "available_memory_mb", lambda: 1.0)
    assert source._workers_with_room(1000) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_quippy_cannot_compute_is_said(gap, at_once, workers):
    bad = Atoms("AlCu", positions=np.zeros((2, 3)), cell=np.eye(3) * 3.0, pbc=True)
    with pytest.raises(FitError, match=r"quippy cannot .* of AlCu\."):
        KernelRows(gap, workers=workers).of([*cells(2), bad])
    assert not row_processes()


def test_rows_on_disk_are_those_computed(gap, tmp_path, monkeypatch):
    computed = KernelRows(gap).of(cells())
    assert same(KernelRows(gap, store=tmp_path / "rows").of(cells()), computed)
    monkeypatch.setattr(ndsc.fit.rows, "rows_of", None)
    source = KernelRows(gap, store=tmp_path / "rows")
    assert same(source.of(cells()[::-1])[::-1], computed)
    assert source.seconds_for(cells()) == 0.0
    assert len(list((tmp_path / "rows").iterdir())) == 4


def test_files_serve_every_potential_with_the_same_kernels(gap, tmp_path, monkeypatch):
    (before,) = KernelRows(gap, store=tmp_path / "rows").of(cells(1))
    scaled = write_gap(tmp_path / "scaled", delta=3.0, source="sparse_method=file sparse_file=x")
    others = [write_gap(tmp_path / "zeta", zeta=2), write_gap(tmp_path / "points", seed=2)]
    for other in others:
        assert KernelRows(other, store=tmp_path / "rows").seconds_for(cells(1)) == 0.0  # measured, and kept
    assert len(list((tmp_path / "rows").iterdir())) == 3
    moved, turned = cells(1)[0], cells(1)[0]
    moved.positions[0, 0] += 1e-12
    turned.pbc = (True, True, False)
    KernelRows(gap, store=tmp_path / "rows").of([moved, turned])
    assert len(list((tmp_path / "rows").iterdir())) == 5
    monkeypatch.setattr(ndsc.fit.rows, "rows_of", None)
    (after,) = KernelRows(scaled, store=tmp_path / "rows").of(cells(1))
    assert after == pytest.approx(4 * before, rel=1e-14)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def _lengthened(path):
    path.write_bytes(path.read_bytes() + b"x")


def _foreign(path):
    path.write_text("not an array")


def _emptied(path):
    path.write_bytes(b"")


def _of_another_shape(path):
    np.save(path, np.zeros((3, 3)))


def _not_finite(path):
    np.save(path, np.load(path) * np.nan)


def _of_objects(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


def _folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [_cut, _lengthened, _foreign, _emptied, _of_another_shape, _not_finite, _of_objects, _folder]
)
def test_damaged_files_are_computed_again(gap, tmp_path, damage, caplog):
    computed = KernelRows(gap, store=tmp_path).of(cells(2))
    damage(sorted(tmp_path.iterdir())[0])
    with caplog.at_level(logging.WARNING):
        assert same(KernelRows(gap, store=tmp_path).of(cells(2)), computed)
    assert len(caplog.records) == 1
    if damage is not _folder:
        caplog.clear()
        assert same(KernelRows(gap, store=tmp_path).of(cells(2)), computed)
        assert not caplog.records


def test_the_folder_keeps_within_its_limit(gap, tmp_path, caplog):
    folder, foreign = tmp_path / "rows", tmp_path / "rows" / "mine.npy"
    one, two, three, four = cells(4, seed=5)
    KernelRows(gap, store=folder).of([one])
    foreign.write_bytes(bytes(10**6))
    size = next(path.stat().st_size for path in folder.iterdir() if path != foreign)
    # Room for three small configurations, or one small and one of twice as many atoms.
    limit = 3.2 * size / 1e9
    for number, frame in enumerate([one, three]):
        KernelRows(gap, store=folder, limit_gb=limit).of([frame])
        newest = max((path for path in folder.iterdir() if path != foreign), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (number, number))
    KernelRows(gap, store=folder, limit_gb=limit).of([one])  # used: the other is the oldest now
    KernelRows(gap, store=folder, limit_gb=limit).of([two])
    assert KernelRows(gap, store=folder)._is_kept(one)
    assert KernelRows(gap, store=folder)._is_kept(two)
    assert not KernelRows(gap, store=folder)._is_kept(three)
    assert foreign.is_file()
    assert not caplog.records
    # What is in use is not removed for the rest.
    source = KernelRows(gap, store=folder, limit_gb=limit)
    assert same(source.of([one, two, four, three]), KernelRows(gap).of([one, two, four, three]))
    assert source._is_kept(one)
    assert source._is_kept(two)
    assert len(caplog.records) == 1


def test_estimates_grow_with_the_work(gap):
    source = KernelRows(gap)
    assert source.seconds_for([]) == 0.0
    once = source.seconds_for(cells())
    assert once > 0.0
    assert source.seconds_for(cells() * 3) == pytest.approx(3 * once)
    few = KernelRows(gap, workers=2)
    few._seconds, few._pairs = source._seconds, source._pairs
    assert few.seconds_for(cells()) == pytest.approx(once)
    assert few.seconds_for(cells(1) * 5000) < source.seconds_for(cells(1) * 5000)


def test_memory_counts_rows_and_processes(gap):
    source = KernelRows(gap)
    one, more = source.memory_gb(cells(1)), source.memory_gb(cells(1) * 1001)
    assert 0.1 < one < 0.2
    assert more - one == pytest.approx(1000 * (7 + 3 * 2) * 10 * 8 / 1e9)
    assert KernelRows(gap, workers=2).memory_gb(cells(1)) == pytest.approx(3 * one, rel=0.01)


def test_input_that_cannot_be_used(gap, tmp_path, monkeypatch):
    strange = cells(1, symbols=("Al", "Mg"))[0]
    monkeypatch.setattr(ndsc.fit.rows, "rows_of", None)
    for call in (KernelRows(gap).of, KernelRows(gap).each, KernelRows(gap).seconds_for):
        with pytest.raises(InputError, match=r"frame 4 has Mg.*Al, Cu"):
            call([*cells(), strange])
    lost = cells(1)[0]
    lost.positions[0, 0] = np.nan
    with pytest.raises(InputError, match="frame 1 has a position or cell vector that is not finite"):
        KernelRows(gap).of([*cells(1), lost])
    with pytest.raises(InputError, match="workers"):
        KernelRows(gap, workers=0)
    with pytest.raises(InputError, match="limit_gb"):
        KernelRows(gap, store=tmp_path, limit_gb=0.0)
    with pytest.raises(InputError, match="folder"):
        KernelRows(gap, store=gap)
    with pytest.raises(InputError, match="no potential"):
        KernelRows(tmp_path / "none.xml")
