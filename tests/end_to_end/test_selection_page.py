"""The examples of docs/selection.md run as they stand."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

import ndsc

PAGE = Path(__file__).parents[2] / "docs" / "selection.md"

pytestmark = [
    pytest.mark.gap,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("quippy") is None, reason="needs the extra 'gap'"),
]


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, example {number + 1}", "exec"), names)
    assert len(names["chosen"]) == 6
    assert np.all(np.diff(names["chosen"].predicted_rmse_thz) <= 0)
    assert names["more"].cost[-1] == sum(len(names["candidates"][number]) for number in names["more"].order)
    assert np.all(names["lower"] <= names["upper"])
    # And they are right: against the calculator of the page.
    truth = ndsc.phonons_from_supercells(names["atoms"], 2, EMT()).phonopy
    expected = np.sort(truth.run_qpoints([[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]]).frequencies, axis=1)
    found = names["found"]
    assert np.sqrt(np.mean((found.frequencies - expected) ** 2)) < 4 * found.rmse_thz
    constants = ndsc.elastic_constants(names["atoms"], EMT()).constants
    assert names["errors"].constants == pytest.approx(constants, rel=0.1)
    assert not set(names["batch"]) & set(names["chosen"].order)
