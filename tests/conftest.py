"""What all tests share: threads, hypothesis, and skipping what is not installed."""

from __future__ import annotations

import importlib.util
import os
import signal

import pytest
from hypothesis import settings

# Before numpy is imported: tests and workers are one thread each.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# A shell that starts the tests in the background has them ignore Ctrl-C, and so the programs that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Times of single examples say nothing on a busy machine; pytest-timeout stops what hangs.
settings.register_profile("ndsc", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("ndsc")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, for tests of what else a run does: they take longer than many a run."""
    monkeypatch.setattr("ndsc.report.write._draw_figures", lambda *_: {})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gap` where quippy is not installed."""
    if importlib.util.find_spec("quippy") is not None:
        return
    for item in items:
        if item.get_closest_marker("gap") is not None:
            item.add_marker(pytest.mark.skip(reason="the extra 'gap' (quippy-ase) is not installed"))
