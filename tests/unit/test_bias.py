"""The bias of settings, against a calculator whose bias is known in closed form."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ndsc import find_supercells, load_crystal, make_configurations
from ndsc.convergence import (
    BiasRow,
    BiasSettings,
    BiasTable,
    BiasTargets,
    bias_table,
    plan_bias,
    sample_configurations,
    with_setting,
    with_settings,
)
from ndsc.convergence.bias_rows import Modes, elastic_rows, force_rows, lattice_rows, phonon_rows, virial_rows
from ndsc.crystal import Crystal
from ndsc.elastic import elastic_constants, strained_cells
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.phonons import phonons_from_supercells
from ndsc.reference import CalculatorSpec, Label, LabelStore, label_configurations
from ndsc.relaxation import relax_crystal

TESTS = Path(__file__).parents[1]
WIDTH = 0.015
LIMIT = CalculatorSpec("calculators_that_converge:smeared", {"occupations": {"width": 0.0}})
SPEC = with_setting(LIMIT, "occupations.width", WIDTH)


@pytest.fixture(autouse=True)
def calculators(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS) + os.pathsep + os.environ.get("PYTHONPATH", ""))


@pytest.fixture(scope="module")
def supercells():
    return find_supercells(Crystal.from_atoms(relax_crystal(bulk("Al"), EMT())), 2)


@pytest.fixture(scope="module")
def sample(supercells):
    frames = make_configurations(supercells, per_supercell=2, displacement=0.05, strain=0.01, seed=1)
    return sample_configurations(supercells, frames, displaced=2, unit_cells=2)


@pytest.fixture(scope="module")
def table(supercells, sample, tmp_path_factory) -> BiasTable:
    return bias_table(sample, supercells.crystal, SPEC, LIMIT, LabelStore(tmp_path_factory.mktemp("labels")))


def test_forces_and_virials_are_too_large_by_the_width(table, sample):
    rows = table.rows_of("forces")
    assert [row.name for row in rows] == [atoms.info["ndsc_name"] for atoms in sample[2:]]  # unit cells have no forces
    for row, atoms in zip(rows, sample[2:], strict=True):
        atoms = atoms.copy()
        atoms.calc = EMT()
        size = 1e3 * np.sqrt(np.mean(atoms.get_forces() ** 2))
        assert row.limit == pytest.approx(size, rel=1e-6)
        assert row.change == pytest.approx(WIDTH * size, rel=1e-6)
        assert row.percent == pytest.approx(100 * WIDTH, rel=1e-6)
        assert row.ratio == pytest.approx(1.5, rel=1e-6)
    assert not table.within("forces")
    virials = []
    for atoms in sample:
        atoms = atoms.copy()
        atoms.calc = EMT()
        virials.append(-1e3 * atoms.get_stress() * atoms.get_volume() / len(atoms))
    scatter = np.array(virials) - np.mean(virials, axis=0)
    changes = [row.change for row in table.rows_of("virials")]
    np.testing.assert_allclose(changes, WIDTH * np.sqrt(np.mean(scatter**2, axis=1)), rtol=1e-6)


def test_the_lattice_does_not_move_without_a_pressure(table):
    (row,) = table.rows_of("lattice")
    assert row.name == "a"
    assert row.change == pytest.approx(0.0, abs=2e-6)
    assert row.allowed == pytest.approx(0.002 * row.limit)


def test_frequencies_are_too_large_by_half_of_the_width(table, supercells):
    rows = table.rows_of("phonons")
    # Three acoustic modes at Γ are left out; at L and at X the transverse ones have one number each.
    assert sorted(row.name for row in rows) == ["(0 0 1/2) 1-2", "(0 0 1/2) 3", "(0 1/2 1/2) 1-2", "(0 1/2 1/2) 3"]
    found = phonons_from_supercells(supercells.crystal, 2, EMT())
    expected = np.sort(found.phonopy.run_qpoints([[0, 0, 0.5], [0, 0.5, 0.5]]).frequencies, axis=1)
    by_name = {row.name: row for row in rows}
    for name, frequency in zip(sorted(by_name), expected[:, [0, 2]].ravel(), strict=True):
        assert by_name[name].limit == pytest.approx(frequency, rel=1e-3)
        assert by_name[name].percent == pytest.approx(100 * (np.sqrt(1 + WIDTH) - 1), rel=1e-3)
    assert table.within("phonons")


def test_elastic_constants_are_too_large_by_the_width(table, supercells):
    rows = table.rows_of("elastic")
    expected = elastic_constants(supercells.crystal, EMT()).constants
    assert [row.name for row in rows] == list(expected)
    for row in rows:
        assert row.limit == pytest.approx(expected[row.name], rel=1e-3)
        assert row.percent == pytest.approx(100 * WIDTH, abs=0.03)
        assert row.allowed == max(0.02 * row.limit, 1.0)
    assert table.within("elastic")


def test_verdicts_name_what_is_wrong(table):
    assert table.missed == ("forces",)
    assert table.verdict("forces").startswith("forces: NOT within 1 % (2 of 2 numbers)")
    assert table.verdict("elastic").startswith("elastic: within 2 % or 1 GPa; largest in ")
    with pytest.raises(ReferenceCalculationError, match="biased: forces differ"):
        table.require_within()
    other = BiasTable(CalculatorSpec("emt"), table.limit, table.targets, table.rows)
    with pytest.raises(ReferenceCalculationError, match=r"^emt and .* differ .* in forces\. Compare each"):
        other.require_within()
    larger = BiasTable(table.spec, table.limit, table.targets, tuple(table.rows_of("elastic")))
    larger.require_within()
    assert not table.notes


def test_a_pressure_moves_the_lattice_as_it_moves_that_of_another_relaxation(supercells, tmp_path):
    pressure = 0.002
    under = with_setting(LIMIT, "pressure", pressure)
    settings = BiasSettings(quantities=("lattice", "elastic"))
    table = bias_table([], supercells.crystal, under, LIMIT, LabelStore(tmp_path), settings=settings)
    atoms = supercells.crystal.atoms.copy()
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms, scalar_pressure=pressure), logfile=None).run(fmax=1e-5)
    (row,) = table.rows_of("lattice")
    assert row.value == pytest.approx(atoms.cell.lengths()[0], abs=2e-5)
    assert row.change < -0.002 * row.limit
    assert table.missed[:1] == ("lattice",)
    # Constants are those of the compressed crystal; at the lattice given, the pressure does nothing to them.
    expected = elastic_constants(atoms, EMT()).constants["C11"]
    assert table.rows_of("elastic")[0].value == pytest.approx(expected, rel=1e-3)
    fixed = bias_table(
        [], supercells.crystal, under, LIMIT, LabelStore(tmp_path),
        settings=BiasSettings(quantities=("elastic",), lattice="given"),
    )  # fmt: skip
    for row in fixed.rows:
        assert row.change == pytest.approx(0.0, abs=1e-3)
    assert fixed.lattice == "given"


def test_what_is_there_is_not_computed_again(supercells, sample, tmp_path):
    known, store = LabelStore(tmp_path / "run"), LabelStore(tmp_path / "bias")
    label_configurations(sample, SPEC, known, workers=1).require_all()
    what = (sample, supercells.crystal, SPEC, LIMIT, store)
    plan = plan_bias(*what, known=known)
    assert [row["what"] for row in plan.rows] == [
        "configurations", "relaxation, its first step", "phonons", "elastic constants",
    ]  # fmt: skip
    n_cells = len(strained_cells(supercells.crystal))
    # The configurations of the database are there, and among them the unit cell, which is relaxed already.
    assert plan.rows[0]["to_compute"] == 0
    assert plan.rows[0]["limit_to_compute"] == len(sample)
    assert plan.rows[1]["to_compute"] == 0
    # The unstrained cell of the elastic constants is the unit cell in its standard orientation.
    assert plan.rows[3]["calculations"] == n_cells == 3
    assert not store.path.exists()
    table = bias_table(*what, known=known)
    after = plan_bias(*what, known=known)
    assert after.to_compute == 0
    assert after.rows[2]["atoms"] == sum(2 * n for n in (2, 2))
    again = bias_table(*what, known=known)
    assert [row.to_dict() for row in again.rows] == [row.to_dict() for row in table.rows]
    assert table.cpu_seconds >= 0.0


def test_only_what_is_asked_for_is_calculated(supercells, sample, tmp_path):
    what = (sample, supercells.crystal, SPEC, LIMIT, LabelStore(tmp_path))
    for settings, expected in [
        (BiasSettings(("forces",)), ["configurations"]),
        (BiasSettings(("phonons",)), ["relaxation, its first step", "phonons"]),
        (BiasSettings(("phonons",), lattice="given"), ["phonons"]),
        (BiasSettings(("elastic", "lattice"), lattice="given"), ["relaxation, its first step", "elastic constants"]),
    ]:
        assert [row["what"] for row in plan_bias(*what, settings=settings).rows] == expected


def test_what_is_written(table, tmp_path):
    json_path, csv_path = table.save(tmp_path / "out")
    document = json.loads(json_path.read_text())
    assert document["within"] == {"forces": False, "virials": True, "lattice": True, "phonons": True, "elastic": True}
    assert document["limit"]["parameters"]["occupations"]["width"] == 0.0
    assert document["targets"]["elastic_gpa"] == 1.0
    rows = list(csv.DictReader(csv_path.read_text().splitlines()))
    assert len(rows) == len(document["rows"]) == len(table.rows)
    assert float(rows[0]["change"]) == table.rows[0].change


def test_a_limit_without_effect_is_noted(supercells, sample, tmp_path):
    from calculators_that_converge import AMPLITUDE

    assert AMPLITUDE  # the module is found
    spec = CalculatorSpec("calculators_that_converge:converging", {"ignored": 1})
    settings = BiasSettings(quantities=("forces",), lattice="given")
    limit = with_setting(spec, "ignored", 2)
    table = bias_table(sample, supercells.crystal, spec, limit, LabelStore(tmp_path), settings=settings)
    assert len(table.notes) == 1
    assert table.missed == ()


def label(atoms, forces, stress=None, energy=0.0):
    return Label("", energy, np.array(forces, dtype=float).reshape(len(atoms), 3), stress, 1.0)


def test_configurations_without_forces_or_stress_are_refused():
    atoms = bulk("Al", cubic=True)
    atoms.info["ndsc_name"] = "x"
    still = label(atoms, np.zeros((4, 3)))
    with pytest.raises(InputError, match="1 configurations has forces"):
        list(force_rows([atoms], [still], [still], BiasTargets()))
    with pytest.raises(InputError, match="no stress"):
        list(virial_rows([atoms], [still], [still], BiasTargets()))


def test_the_constant_of_the_virials_is_left_out():
    atoms = bulk("Al", cubic=True)
    atoms.info["ndsc_name"] = "x"
    zero, stress = np.zeros((4, 3)), np.array([0.01, 0.02, 0.03, 0.0, 0.0, 0.0])
    ours = [label(atoms, zero, stress + offset) for offset in (0.002, 0.002)]
    theirs = [label(atoms, zero, stress)] * 2
    assert [row.change for row in virial_rows([atoms] * 2, ours, theirs, BiasTargets())] == pytest.approx([0, 0])
    ours[1] = label(atoms, zero, stress)
    changes = [row.change for row in virial_rows([atoms] * 2, ours, theirs, BiasTargets())]
    assert changes == pytest.approx([1e3 * 0.001 * atoms.get_volume() / 4] * 2)


def crystal_of(*cellpar):
    atoms = bulk("Al", cubic=True)
    atoms.set_cell(cellpar, scale_atoms=True)
    return Crystal.from_atoms(atoms)


def test_lengths_and_angles_of_the_cell():
    cubic = list(
        lattice_rows(crystal_of(4.0, 4.0, 4.0, 90, 90, 90), crystal_of(4.1, 4.1, 4.1, 90, 90, 90), BiasTargets())
    )
    assert [(row.name, row.change) for row in cubic] == [("a", pytest.approx(-0.1))]
    skew = list(lattice_rows(crystal_of(4, 4.2, 5, 90, 91, 90), crystal_of(4, 4.2, 5, 90, 91.1, 90), BiasTargets()))
    assert [row.name for row in skew] == ["a", "b", "c", "beta"]
    assert skew[-1].change == pytest.approx(-0.1)
    assert skew[-1].allowed == pytest.approx(np.degrees(0.002))
    assert skew[-1].unit == "°"


def test_modes_at_the_zone_centre_and_soft_ones():
    qpoints = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 1 / 3]])
    # Unstable at Γ: the acoustic modes are those nearest to zero, and not the lowest.
    limit = np.array([[-2.0, -1e-3, 1e-3, 2e-3, 10.0, 10.001], [0.01, 3.0, 4.0, 5.0, 6.0, 10.0]])
    ours = limit.copy()
    ours[0, 0], ours[1, 0], ours[1, 5] = -2.03, 0.019, 10.2
    rows = {row.name: row for row in phonon_rows(Modes(qpoints, ours), Modes(qpoints, limit), BiasTargets())}
    assert list(rows) == ["(0 0 0) 4", "(0 0 0) 5-6", *(f"(1/2 0 1/3) {i}" for i in range(1, 7))]
    assert rows["(0 0 0) 4"].change == pytest.approx(-0.03)
    assert not rows["(0 0 0) 4"].within
    # A tenth of 1 % of the highest frequency.
    assert rows["(1/2 0 1/3) 1"].allowed == pytest.approx(0.1 * 0.01 * 10.001)
    assert rows["(1/2 0 1/3) 1"].within
    assert not rows["(1/2 0 1/3) 6"].within


def test_elastic_targets_are_the_larger_of_two():
    found = elastic_constants(bulk("Al", a=3.994), EMT())
    rows = list(elastic_rows(found, found, BiasTargets(elastic=5.0, elastic_gpa=2.0)))
    assert [row.allowed for row in rows] == [max(2.0, 0.05 * value) for value in found.constants.values()]


def test_strained_cells_are_those_that_are_calculated(supercells, tmp_path):
    class Counting(EMT):
        def calculate(self, atoms=None, *args, **kwargs):
            super().calculate(atoms, *args, **kwargs)
            seen.append(atoms.cell.array.copy())

    for crystal in (load_crystal("Al"), load_crystal("Cu", lattice="hcp", a=2.55, c=4.2)):
        seen = []
        elastic_constants(crystal, Counting(), relax_ions=False)
        expected = strained_cells(crystal)
        assert len(seen) == len(expected)
        for cell, atoms in zip(seen, expected, strict=True):
            assert np.array_equal(cell, atoms.cell.array)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BiasTargets(elastic=0.0), "target of elastic is 0"),
        (lambda: BiasTargets(phonons=float("nan")), "target of phonons is nan"),
        (lambda: BiasSettings(quantities=("forces", "bulk")), "'bulk' cannot be compared"),
        (lambda: BiasSettings(quantities=()), "Nothing cannot be compared"),
        (lambda: BiasSettings(lattice="both"), "lattice = 'both'"),
    ],
)
def test_settings_that_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_limit_that_is_none_and_kpoints_that_do_not_fold_are_refused(supercells, sample, tmp_path):
    what = (sample, supercells.crystal)
    with pytest.raises(InputError, match="settings of the database"):
        plan_bias(*what, SPEC, SPEC, LabelStore(tmp_path))
    odd = with_settings(SPEC, {"kgrid": (3, 3, 3)})
    with pytest.raises(InputError, match="kgrid"):
        plan_bias([], supercells.crystal, odd, LIMIT, LabelStore(tmp_path), settings=BiasSettings(("phonons",)))


def test_a_zero_of_the_limit_has_no_percentage():
    row = BiasRow("elastic", "C14", "GPa", 0.5, 0.0, 0.5, 1.0)
    assert row.percent is None
    table = BiasTable(SPEC, LIMIT, BiasTargets(), (row,))
    assert table.verdict("elastic") == "elastic: within 2 % or 1 GPa; largest in C14, +0.5 GPa."
