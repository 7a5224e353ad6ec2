import json
import math

import numpy as np
import pytest
from ase.build import bulk

from ndsc.benchmark import elastic_comparison, lattice_comparison
from ndsc.errors import InputError
from ndsc.results import (
    Comparison,
    CrystalSummary,
    Results,
    SupercellsSummary,
    read_results,
    write_results,
)
from ndsc.versions import package_versions
from ndsc.workflow.summary import cost_summary


def results(**parts):
    crystal = CrystalSummary(formula="Al", n_atoms=1, space_group="Fm-3m", space_group_number=225)
    return Results(crystal=crystal, versions=package_versions(), seed=3, **parts)


def test_round_trip(tmp_path):
    written = results(elastic={"C11": Comparison.of(110.0, 100.0)}, warnings=["<careful>"])
    path = write_results(written, tmp_path)
    assert path == tmp_path / "results.json"
    assert read_results(tmp_path) == read_results(path) == written


def test_what_is_not_finite_becomes_null(tmp_path):
    compared = Comparison.of(math.nan, 100.0)
    assert (compared.model, compared.error_percent) == (None, None)
    path = write_results(results(elastic={"C11": compared}), tmp_path)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_errors_in_percent():
    assert Comparison.of(97.0, 100.0).error_percent == pytest.approx(-3.0)
    assert Comparison.of(-97.0, -100.0).error_percent == pytest.approx(3.0)
    assert Comparison.of(1.0, 0.0).error_percent is None


def test_the_worst_elastic_constant():
    compared = elastic_comparison({"C11": 101.0, "C12": 45.0, "C44": 30.0}, {"C11": 100.0, "C12": 50.0, "C44": 30.0})
    assert results(elastic=compared).worst_elastic[0] == "C12"
    unknown = elastic_comparison({"C11": 101.0}, {"C11": 100.0, "C44": 30.0})
    assert results(elastic=unknown).worst_elastic[0] == "C44"
    assert results().worst_elastic is None


def test_constants_that_are_zero_to_rounding_have_no_error_in_percent():
    reference = {"C11": 100.0, "C14": 1e-3, "C15": 1e-3, "C16": 0.0}
    compared = elastic_comparison({"C11": 100.0, "C14": -2e-3, "C15": 5.0, "C16": 7.0}, reference)
    assert compared["C14"].error_percent is None
    assert compared["C14"].model == -2e-3
    assert compared["C15"].error_percent == pytest.approx(4.999e5)
    assert results(elastic=compared).worst_elastic[0] == "C15"


def test_lattice():
    larger = bulk("Al")
    larger.set_cell(larger.cell.array * 1.01, scale_atoms=True)
    compared = lattice_comparison(larger, bulk("Al"))
    assert compared["a"].error_percent == pytest.approx(1.0)
    assert compared["alpha"].error_percent == pytest.approx(0.0, abs=1e-9)
    assert compared["volume_per_atom"].error_percent == pytest.approx(100 * (1.01**3 - 1))
    with pytest.raises(InputError, match="cannot be compared"):
        lattice_comparison(bulk("Si"), bulk("Al"))


def test_cost():
    cost = cost_summary(
        [(1, 2.0), (4, 10.0), (4, None)],
        unit_atoms=1,
        grid=(4, 4, 4),
        reference_phonon_atoms=[4, 4],
        stages={"fit": 3.0},
    )
    assert (cost.labels, cost.atoms, cost.seconds) == (3, 9, 12.0)
    assert cost.atoms_cubed == 1 + 64 + 64
    assert cost.relative_to_diagonal == pytest.approx(129 / 64**3)
    assert cost.reference_phonon_atoms_cubed == 128
    assert [(size.atoms, size.labels) for size in cost.by_size] == [(1, 1), (4, 2)]
    assert cost.total_seconds == 3.0


def test_a_proven_set():
    summary = {"grid": (4, 4, 4), "matrices": np.array([np.eye(3, dtype=int)] * 2).tolist(), "sizes": [4, 4]}
    assert SupercellsSummary(**summary, cost=128.0, lower_bound=128.0).proven
    assert not SupercellsSummary(**summary, cost=128.0, lower_bound=100.0).proven


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "ndsc run"),
        ("{", "cannot be read as JSON"),
        ('{"schema_version": 99}', "newer ndsc"),
        ('{"crystal": {}}', "does not follow the schema"),
        ("[]", "does not follow the schema"),
        pytest.param("[" * 200_000, "cannot be read as JSON", id="nested"),
    ],
)
def test_files_that_are_no_results(tmp_path, text, message):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_results(tmp_path)
