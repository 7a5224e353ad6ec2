"""The integer programme below a cost exponent of log2(3): known optima, its bound, its limits, and Ctrl-C."""

import os
import signal
import time

import numpy as np
import pytest
from ase.build import bulk

import ndsc
from ndsc import set_cover
from ndsc.errors import InputError

CRYSTALS = {
    "fcc": ndsc.Crystal.from_atoms(bulk("Al")),
    "hcp": ndsc.Crystal.from_atoms(bulk("Mg")),
    "sc": ndsc.Crystal.from_atoms(bulk("Po", "sc", a=3.3)),
}


@pytest.mark.parametrize(
    ("name", "grid", "exponent", "cost"),
    [
        ("hcp", 6, 1.0, 72),
        ("fcc", 12, 1.0, 288),
        ("fcc", 20, 1.0, 940),
        ("hcp", (6, 6, 4), 1.0, 72),
        # The smallest single supercell, 576 cells, is best when size hardly counts.
        ("fcc", 12, 0.3, 576**0.3),
        # Just below log2(3) nothing beats the 31 cyclic supercells of 12 cells.
        ("fcc", 12, 1.5, 31 * 12**1.5),
    ],
)
def test_known_optima(name, grid, exponent, cost):
    found = ndsc.find_supercells(CRYSTALS[name], grid, exponent)
    assert found.cost == pytest.approx(cost)
    assert found.optimality_gap == 0
    for q in ndsc.irreducible_qpoints(CRYSTALS[name], grid).qpoints:
        index, rotation = found.locate(q)
        place = found.matrices[index] @ (rotation @ q)
        assert np.allclose(place, np.rint(place), atol=1e-9)


def test_what_is_left_open_is_reported():
    found = ndsc.find_supercells(CRYSTALS["hcp"], 24, 1.0, time_limit=0.5)
    # Proven earlier: between 128.3 and 148 times 24.
    assert 24 <= found.lower_bound <= 148 * 24
    assert 128.3 * 24 < found.cost <= 184 * 24
    assert found.optimality_gap == pytest.approx(1 - found.lower_bound / found.cost)
    assert "above the smallest" in found.proof


@pytest.mark.parametrize(("name", "value"), [("MOST_SUBGROUPS", 100), ("MOST_PAIRS", 1000)])
def test_too_large_programmes_are_refused_at_once(monkeypatch, name, value):
    monkeypatch.setattr(set_cover, name, value)
    with pytest.raises(InputError, match=r"1\.585"):
        ndsc.find_supercells(CRYSTALS["fcc"], 12, 1.0)


def test_a_fine_grid_is_refused_within_two_seconds():
    begin = time.process_time()  # of this process alone, however busy the machine is
    with pytest.raises(InputError, match="too large"):
        ndsc.find_supercells(CRYSTALS["fcc"], 720, 1.0)
    assert time.process_time() - begin < 2


def test_ctrl_c_and_progress_while_highs_runs(monkeypatch):
    monkeypatch.setattr(set_cover, "QUIET", 0.0)
    pressed = []

    def progress(task, done, total):
        if task.startswith("integer programme") and not pressed:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ndsc.find_supercells(CRYSTALS["hcp"], 24, 1.0, time_limit=20, progress=progress)
    assert time.monotonic() - pressed[0] < 2
