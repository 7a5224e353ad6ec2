import json
import math

import numpy as np
import pytest
from ase.build import bulk

from ndsc.benchmark import elastic_comparison, lattice_comparison
from ndsc.errors import InputError
from ndsc.report.figures import cost_data, cost_figure
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
        [(1, 2.0), (4, 10.0), (4, None), (4, 0.0)],
        unit_atoms=1,
        grid=(4, 4, 4),
        reference_phonons=[(4, 20.0), (4, 20.0)],
        stages={"fit": 3.0},
    )
    assert (cost.labels, cost.atoms, cost.seconds) == (4, 13, 12.0)
    assert cost.atoms_cubed == 1 + 3 * 64
    assert cost.relative_to_diagonal == pytest.approx(193 / 64**3)
    assert cost.reference_phonon_atoms_cubed == 128
    assert [(size.atoms, size.labels, size.seconds) for size in cost.by_size] == [(1, 1, 2.0), (4, 3, 10.0)]
    assert cost.total_seconds == 3.0
    assert (cost.power, cost.power_width, cost.estimated_from_atoms) == (pytest.approx(1.7), pytest.approx(0.4), 4)
    # One calculation of 64 atoms: the geometric mean of 10, 20 and 20 s, times 16^1.7, or 16^1.3 and 16^2.1.
    one = 4000 ** (1 / 3) * 16**1.7
    assert cost.diagonal_seconds_estimated.model_dump() == pytest.approx(
        {"value": one, "low": one / 16**0.4, "high": one * 16**0.4}
    )
    assert cost.relative_time_estimated.model_dump() == pytest.approx(
        {"value": 12 / one, "low": 12 / one / 16**0.4, "high": 12 / one * 16**0.4}
    )
    assert cost.reference_phonon_seconds == 40.0
    assert cost.reference_phonon_relative_time_estimated.value == pytest.approx(40 / one)
    assert not cost.diagonal_is_measured


def test_cost_without_a_time_is_that_of_the_power_alone():
    cost = cost_summary([(1, None), (4, math.nan), (4, None)], unit_atoms=1, grid=(4, 4, 4))
    assert (cost.seconds, cost.diagonal_seconds_estimated, cost.estimated_from_atoms) == (None, None, None)
    assert cost.relative_time_estimated.model_dump() == pytest.approx(
        {
            "value": (1 + 2 * 4**1.7) / 64**1.7,
            "low": (1 + 2 * 4**2.1) / 64**2.1,
            "high": (1 + 2 * 4**1.3) / 64**1.3,
        }
    )
    assert cost.reference_phonon_relative_time_estimated is None
    # A calculator without k-points takes time in proportion to the atoms.
    cost = cost_summary([(1, None), (4, None)], unit_atoms=1, grid=(4, 4, 4), kpoints=False)
    assert cost.relative_time_estimated.value == pytest.approx(5 / 64)


def test_a_diagonal_supercell_that_was_labelled_is_measured():
    cost = cost_summary([(64, 3000.0), (64, 4000.0), (1, 10.0)], unit_atoms=1, grid=(4, 4, 4))
    assert cost.diagonal_is_measured
    assert cost.diagonal_seconds_estimated.model_dump() == pytest.approx(
        dict.fromkeys(("value", "low", "high"), 12e6**0.5)
    )
    assert cost.relative_time_estimated.value == pytest.approx(7010 / 12e6**0.5)


def test_costs_of_earlier_versions_are_read():
    old = {
        "labels": 3,
        "atoms": 9,
        "seconds": 12.0,
        "atoms_cubed": 129.0,
        "diagonal_atoms": 64,
        "relative_to_diagonal": 129 / 64**3,
        "reference_phonon_labels": 2,
        "reference_phonon_atoms_cubed": 128.0,
    }
    found = results(cost=old).cost
    assert (found.seconds, found.relative_time_estimated, found.power) == (12.0, None, None)
    data = cost_data(found)
    assert data[["what", "seconds"]].values.tolist() == [["database", 12.0]]
    assert [text.get_text() for text in cost_figure(found).axes[0].texts] == ["12 s"]


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
