"""What the fault-injection tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fault_frames import HERE

from ndsc.reference import CalculatorSpec, LabelStore


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
