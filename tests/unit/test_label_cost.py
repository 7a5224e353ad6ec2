"""What labels cost, measured and estimated, against calculations by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from ndsc.label_cost import Estimate, LabelCost
from ndsc.reference import LabelStore
from ndsc.reference.inventory import status
from ndsc.report.text import estimated

DATA = Path(__file__).parents[2] / "data"


def test_cost_of_labels_follows_a_power_law():
    sizes = np.array([1, 2, 4, 8, 16, 32])
    found = LabelCost.of_labels(sizes, 3.0 * sizes**1.4)
    assert found.power == pytest.approx(1.4, abs=0.02)
    assert found([bulk("Al"), bulk("Al", cubic=True)]) == pytest.approx([3.0, 3.0 * 4**1.4], rel=0.05)
    assert found.fitted


def test_the_prior_decides_where_all_labels_have_one_size():
    found = LabelCost.of_labels([4, 4, 4], [30.0, 40.0, 50.0])
    assert found.power == pytest.approx(1.7)
    assert found([bulk("Al", cubic=True)])[0] == pytest.approx((30 * 40 * 50) ** (1 / 3))
    assert LabelCost.of_labels([4], [30.0], kpoints=False).power == pytest.approx(1.0)


def test_labels_without_a_time_do_not_count():
    found = LabelCost.of_labels([1, 4, 8, 8], [np.nan, 30.0, 0.0, np.inf])
    assert found == LabelCost.of_labels([4], [30.0])
    assert LabelCost.of_labels([1, 2], [0.0, np.nan]) == LabelCost()
    assert LabelCost.of_labels([], []) == LabelCost()
    assert not LabelCost().fitted


def test_the_power_is_known_as_well_as_the_labels_say():
    assert LabelCost().power_width == LabelCost.of_labels([4], [30.0]).power_width == 0.4
    # Two labels at ln N = -+ ln 2 about 4 atoms: 1 / sqrt(2 (ln 2 / 0.3)^2 + 1 / 0.4^2).
    found = LabelCost.of_labels([2, 8], [10.0, 40.0])
    assert found.power_width == pytest.approx(1 / math.sqrt(2 * (math.log(2) / 0.3) ** 2 + 1 / 0.16))
    assert found.n_atoms == pytest.approx(4)
    # The same labels alone have a power of one; the prior draws it towards 1.7.
    weight = 2 * (math.log(2) / 0.3) ** 2
    assert found.power == pytest.approx((1.0 * weight + 1.7 / 0.16) / (weight + 1 / 0.16))
    assert found.seconds(4).value == pytest.approx(20.0)


def test_larger_cells_are_estimated_from_the_largest_labels_alone():
    found = LabelCost.of_largest([1, 1, 4, 4], [25.0, 25.0, 20.0, 45.0])
    assert found == LabelCost.of_labels([4, 4], [20.0, 45.0])
    one = found.seconds(64)
    # 64 atoms are 16 times 4: 30 s, the geometric mean, times 16^1.7, with 1.3 and 2.1 as the powers either way.
    assert (one.low, one.value, one.high) == pytest.approx((30 * 16**1.3, 30 * 16**1.7, 30 * 16**2.1))
    smaller = found.seconds(1)
    assert (smaller.low, smaller.high) == pytest.approx((30 / 4**2.1, 30 / 4**1.3))
    # What is measured is not estimated.
    assert found.seconds(4) == Estimate(*[pytest.approx(30.0)] * 3)
    assert LabelCost.of_largest([4], [30.0], kpoints=False).seconds(64).value == pytest.approx(30 * 16)
    assert LabelCost.of_largest([8, 4], [math.nan, 30.0]) == LabelCost.of_labels([4], [30.0])
    assert LabelCost.of_largest([], []) == LabelCost()


def test_times_relative_to_others_without_any_label():
    found = LabelCost().relative({4: 5}, {64: 1})
    assert (found.low, found.value, found.high) == pytest.approx((5 / 16**2.1, 5 / 16**1.7, 5 / 16**1.3))
    mixed = LabelCost(power=1.0, power_width=0.0).relative({1: 2, 8: 3}, {16: 2})
    assert (mixed.low, mixed.value, mixed.high) == pytest.approx((26 / 32, 26 / 32, 26 / 32))


def test_the_estimate_for_the_diagonal_supercell_of_aluminium_holds():
    """The 64 atoms of the shipped labels, which were calculated, from those of 4 atoms."""
    by_size = {size.atoms: size for size in status(LabelStore(DATA / "al" / "labels-8x8x8")).by_size}
    four, diagonal = by_size[4], by_size[64]
    assert (four.labels, diagonal.labels) == (244, 2)
    assert diagonal.seconds / four.seconds == pytest.approx(112, abs=0.5)
    assert (diagonal.shortest, diagonal.seconds, diagonal.longest) == pytest.approx((3053.6, 3564.5, 4075.3), abs=0.1)
    one = LabelCost.of_labels([4], [four.seconds]).seconds(64)
    assert one.low < diagonal.shortest < one.value < diagonal.longest < one.high


@pytest.mark.parametrize(
    ("found", "time", "text"),
    [
        (Estimate(3301.0, 1089.0, 10010.0), True, "about 55 min (18 to 170 min)"),
        (Estimate(5536.0, 1826.0, 16780.0), True, "about 1.5 h (0.51 to 4.7 h)"),
        (Estimate(0.0412, 0.01, 0.5), True, "about 0.041 s (0.01 to 0.5 s)"),
        (Estimate(99.6, 99.6, 99.6), True, "1.7 min"),
        (Estimate(1234.0, 129.0, 1e4), False, "about 1200 (130 to 10000)"),
        (None, True, "–"),
    ],
)
def test_estimates_as_text(found, time, text):
    assert estimated(found, time=time) == text
