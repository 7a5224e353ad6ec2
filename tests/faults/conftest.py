"""What the fault-injection tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ndsc.reference import CalculatorSpec, LabelStore

HERE = Path(__file__).parent


def frames(n: int) -> list[Atoms]:
    """n different structures of one to four atoms."""
    rng = np.random.default_rng(1)
    made = []
    for index in range(n):
        atoms = bulk("Al", cubic=True)[: 1 + index % 4]
        atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
        atoms.positions = np.round(atoms.positions, 8)
        atoms.info["ndsc_name"] = f"c{index:04d}"
        made.append(atoms)
    return made


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children find the calculators of the suite."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE) + os.pathsep + os.environ.get("PYTHONPATH", ""))


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """An empty store."""
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def counting(tmp_path: Path):
    """A specification of the counting calculator, with what goes wrong."""

    def make(how: str = "", seconds: float = 0.0) -> CalculatorSpec:
        parameters = {"counter": str(tmp_path / "calls"), "how": how, "seconds": seconds}
        return CalculatorSpec("calculators_that_fail:counting", parameters)

    return make
