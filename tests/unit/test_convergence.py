"""Convergence of settings, against a calculator whose results converge in a known manner."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from matplotlib.image import imread

from calculators_that_converge import AMPLITUDE, DECAY, ENTROPY, PULAY, relative_error
from ndsc import find_supercells, make_configurations
from ndsc.codes import Factory
from ndsc.convergence import (
    Difference,
    Point,
    Scan,
    ScannedSetting,
    Tolerances,
    compare_labels,
    converge,
    kgrids_around,
    noise_table,
    plan_convergence,
    plan_noise,
    sample_configurations,
    scanned_settings,
    setting_of,
    spread_over_supercells,
    with_setting,
    with_settings,
)
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.reference import CalculatorSpec, Label, LabelStore, label_configurations

TESTS = Path(__file__).parents[1]
NAME = "calculators_that_converge:converging"
CUTOFFS = [100, 200, 300, 400, 500]


@pytest.fixture(autouse=True)
def calculators(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS) + os.pathsep + os.environ.get("PYTHONPATH", ""))


@pytest.fixture
def supercells():
    return find_supercells(bulk("Al"), 2)


@pytest.fixture
def sample(supercells):
    return sample_configurations(supercells, make_configurations(supercells, per_supercell=6, seed=1))


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


def spec_at(cutoff=300, kgrid=None, **parameters):
    return CalculatorSpec(NAME, {"basis": {"cutoff": cutoff}, **parameters}, kgrid)


def emt(sample):
    """Largest force component, spread of energies per atom and (n, 6) virials per atom of EMT itself."""
    found: dict[str, list[Any]] = {"forces": [], "energies": [], "virials": []}
    for atoms in sample:
        copy = atoms.copy()
        copy.calc = EMT()
        found["forces"].append(np.abs(copy.get_forces()).max())
        found["energies"].append(copy.get_potential_energy() / len(copy))
        found["virials"].append(-copy.get_volume() * copy.get_stress() / len(copy))
    return max(found["forces"]), np.ptp(found["energies"]), np.array(found["virials"])


def scan_cutoff(sample, store, targets=None, cutoffs=CUTOFFS, **options):
    scans = {"basis.cutoff": cutoffs}
    return converge(sample, spec_at(), store, scans=scans, targets=targets, workers=1, **options)


def test_errors_are_those_of_the_closed_form(sample, store):
    (scan,) = scan_cutoff(sample, store).scans
    largest, spread, virials = emt(sample)
    assert [point.value for point in scan.points] == CUTOFFS
    assert scan.reference.value == 500
    for point in scan.points[:-1]:
        off = relative_error(point.value) - relative_error(500)
        change = off * virials
        change[:, :3] -= PULAY * off / AMPLITUDE
        constant = change.mean(axis=0)
        found = point.difference
        assert found.force_max == pytest.approx(1e3 * off * largest)
        assert found.energy_max == pytest.approx(1e3 * off * spread)
        assert found.virial_offset_tensor == pytest.approx(1e3 * constant)
        assert found.virial_offset == pytest.approx(1e3 * constant[np.abs(constant).argmax()])
        assert found.virial_max == pytest.approx(1e3 * np.abs(change - constant).max())
        assert found.virial_rms == pytest.approx(1e3 * np.sqrt(np.mean((change - constant) ** 2)))
        assert 0 < found.force_rms < found.force_max
        assert point.kpoints is None


@pytest.mark.parametrize("strict", ["force", "energy", "virial", "virial_offset"])
@pytest.mark.parametrize("recommended", [100, 200, 400])
def test_every_target_can_be_the_one_that_decides(sample, store, strict, recommended):
    loose = {"force": 1e6, "energy": 1e6, "virial": 1e6, "virial_offset": 1e6}
    (scan,) = scan_cutoff(sample, store).scans
    deciding = next(point.difference for point in scan.points if point.value == recommended)
    name = {"virial_offset": "virial_offset"}.get(strict, f"{strict}_max")
    report = scan_cutoff(sample, store, Tolerances(**loose | {strict: 1.001 * abs(getattr(deciding, name))}))
    assert report.recommended == {"basis.cutoff": recommended}
    assert report.converged
    assert report.spec == report.require_converged() == spec_at(recommended)


def test_the_default_targets(sample, store):
    largest, spread, virials = emt(sample)
    scale = max(1e3 * largest / 1.0, 1e3 * spread / 1.0, 1e3 * np.abs(virials).max() / 5.0)
    enough = DECAY * math.log(AMPLITUDE * scale)  # where the relative error is that of the strictest target
    assert 100 < enough < 300
    expected = next(cutoff for cutoff in CUTOFFS if cutoff > enough)
    assert scan_cutoff(sample, store).recommended == {"basis.cutoff": expected}


def test_a_kpoint_grid_is_recommended(sample, store):
    targets = Tolerances(force=1e3 * emt(sample)[0] / 8**3, energy=1e3, virial=1e3)
    report = converge(
        sample, spec_at(kgrid=(8, 8, 8)), store, scans={"kgrid": [4, 8, (12, 12, 12), 16]}, targets=targets, workers=1
    )
    assert report.recommended == {"kgrid": (8, 8, 8)}
    assert "8x8x8 is enough, as given" in report.scans[0].verdict
    (scan,) = report.scans
    coarse = scan.points[0].difference
    assert coarse.force_max == pytest.approx(1e3 * (1 / 4**3 - 1 / 16**3) * emt(sample)[0])
    # 3 unit cells of 64 points each, 3 supercells of 2 cells with 32 each.
    assert scan.points[0].kpoints == 3 * 64 + 3 * 32


def test_settings_are_scanned_one_at_a_time(sample, store):
    report = converge(
        sample, spec_at(kgrid=(4, 4, 4)), store, scans={"kgrid": [2, 4], "basis.cutoff": [200, 300]}, workers=1,
        targets=Tolerances(1e6, 1e6, 1e6),
    )  # fmt: skip
    assert report.spec == spec_at(200, (2, 2, 2))
    # 300 with 4x4x4 belongs to both scans and is calculated once.
    assert len(list(store.keys())) == 3 * len(sample)


def test_nothing_is_recommended_beside_targets_that_are_missed(sample, store):
    report = scan_cutoff(sample, store, Tolerances(force=1e-9))
    assert report.recommended == {"basis.cutoff": None}
    assert not report.converged
    assert report.spec is None
    with pytest.raises(
        ReferenceCalculationError, match=r"basis\.cutoff: not converged within .*extend the list"
    ) as error:
        report.require_converged()
    assert "400 is still off in force against 500" in str(error.value)


def test_a_value_that_agrees_by_chance_is_not_recommended():
    def point(value, force):
        if force is None:
            return Point(value, None, 1.0, None)
        return Point(value, Difference(force, force, 0.0, 0.0, 0.0, 0.0, (0.0,) * 6, 0.0, 0.0), 1.0, None)

    points = (point(1, 0.5), point(2, 3.0), point(3, 0.9), point(4, 0.1), point(5, None))
    assert Scan(ScannedSetting("x", "other", (1, 2, 3, 4, 5), 1), points, Tolerances()).recommended == 3


def test_a_setting_that_nothing_depends_on_is_not_recommended(sample, store):
    report = converge(sample, spec_at(), store, scans={"ignored": ["a", "b", "c"]}, workers=1)
    assert not report.converged
    assert "nothing depends on it" in report.scans[0].verdict


def test_a_smearing_width_is_reported_and_not_judged(sample, store, monkeypatch):
    monkeypatch.setattr(Factory, "keywords", {"width": ("smearing_ev", 1.0)})
    report = converge(sample, spec_at(width=0.2), store, scans={"smearing": [0.4, 0.1, 0.2]}, workers=1)
    (scan,) = report.scans
    assert [point.value for point in scan.points] == [0.1, 0.2, 0.4]
    assert scan.reference.value == 0.1
    assert not scan.judged
    assert scan.recommended is None
    assert report.recommended == {}
    assert report.spec == spec_at(width=0.2)
    assert scan.points[2].difference.energy_offset == pytest.approx(-1e3 * ENTROPY * (0.4**2 - 0.1**2))
    assert scan.points[2].difference.energy_max == pytest.approx(0, abs=1e-9)
    assert report.save(store.path.parent / "out")


def calls(counter):
    return len(counter.read_text().splitlines()) if counter.exists() else 0


def test_nothing_is_calculated_twice(sample, store, tmp_path):
    counter = tmp_path / "calls"
    spec = spec_at(counter=str(counter))

    def stop(task, done, total):
        if "200" in task and done == 3:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"scans": {"basis.cutoff": [100, 200, 300]}, "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        converge(sample, spec, store, progress=stop, **options)
    before = calls(counter)
    assert len(sample) < before < 3 * len(sample)
    assert plan_convergence(sample, spec, store, scans=options["scans"]).to_compute == 3 * len(sample) - before
    first = converge(sample, spec, store, **options)
    assert calls(counter) == 3 * len(sample)
    again = converge(sample, spec, store, **options)
    assert calls(counter) == 3 * len(sample)
    assert again.to_dict() == first.to_dict()


def test_labels_of_a_run_are_taken_over(sample, store, tmp_path):
    counter = tmp_path / "calls"
    spec = spec_at(counter=str(counter))
    known = LabelStore(tmp_path / "run")
    label_configurations(sample, spec, known, workers=1)
    before = sorted(known.keys())
    plan = plan_convergence(sample, spec, store, scans={"basis.cutoff": [200, 300]}, known=known)
    assert (plan.calculations, plan.to_compute) == (2 * len(sample), len(sample))
    converge(sample, spec, store, scans={"basis.cutoff": [200, 300]}, known=known, workers=1)
    assert calls(counter) == 2 * len(sample)
    assert sorted(known.keys()) == before
    assert set(before) < set(store.keys())


def test_a_failed_calculation_is_an_error(sample, store):
    spec = CalculatorSpec("calculators_for_tests:faulty")
    with pytest.raises(ReferenceCalculationError, match="self-consistency did not converge"):
        converge(sample, spec, store, scans={"how": ["", "raise"]}, workers=1)


def test_configurations_without_forces_are_noted(supercells, store):
    cells = sample_configurations(supercells, [], unit_cells=3)
    report = scan_cutoff(cells, store)
    assert any("No configuration has forces" in note for note in report.notes)


def test_one_configuration_is_too_few(sample, store):
    with pytest.raises(InputError, match="at least two"):
        scan_cutoff(sample[:1], store)


def test_labels_without_stress_are_judged_by_the_rest(sample):
    labels = [Label("", float(i), np.full((len(atoms), 3), 0.1 * i), None, 1.0) for i, atoms in enumerate(sample)]
    found = compare_labels(sample, labels, labels)
    assert found.virial_offset is found.virial_max is found.virial_offset_tensor is None
    assert found.is_zero
    assert Tolerances().missed(found) == []


@pytest.mark.parametrize("name", ["force", "energy", "virial", "virial_offset"])
def test_targets_are_above_zero(name):
    with pytest.raises(InputError, match=f"target of the {name.replace('_', ' ')}"):
        Tolerances(**{name: 0.0})


def test_what_is_saved(sample, store, tmp_path):
    scans = {"kgrid": [4, 6, 8], "basis.cutoff": [200, 300, 400]}
    report = converge(sample, spec_at(kgrid=(4, 4, 4)), store, scans=scans, workers=1)
    document, table, png, pdf = report.save(tmp_path / "out")
    content = json.loads(document.read_text())
    assert content["scans"][1]["recommended"] == report.recommended["basis.cutoff"]
    assert content["targets"]["virial_offset_mev_per_atom"] == 5.0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["4x4x4", "6x6x6", "8x8x8", "200", "300", "400"]
    assert [row["is_reference"] for row in rows] == ["0", "0", "1", "0", "0", "1"]
    assert float(rows[3]["force_max_mev_per_angstrom"]) == report.scans[1].points[0].difference.force_max
    picture = imread(png)
    assert picture.shape[0] > 800
    assert picture[..., :3].std() > 0.05
    assert pdf.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("kgrid", "grid", "expected"),
    [
        ((8, 8, 8), (4, 4, 4), [4, 8, 12, 16]),
        ((12, 12, 12), (4, 4, 4), [8, 12, 16, 20]),
        ((4, 4, 4), (4, 4, 4), [4, 8, 12]),
        ((10, 10, 10), (4, 4, 4), [4, 10, 16, 20]),
        ((1, 1, 1), (1, 1, 1), [1, 2, 3]),
        ((8, 8, 4), (4, 4, 4), [(4, 4, 4), (8, 8, 4), (12, 12, 8), (16, 16, 8)]),
        ((9, 9, 6), (3, 3, 2), [(6, 6, 4), (9, 9, 6), (12, 12, 8), (15, 15, 10)]),
    ],
)
def test_grids_are_multiples_of_the_supercells(kgrid, grid, expected):
    assert kgrids_around(kgrid, grid) == [n if isinstance(n, tuple) else (n, n, n) for n in expected]


@pytest.mark.parametrize(
    ("name", "parameters", "cutoff", "smearing"),
    [
        ("gpaw", {"mode": {"name": "pw", "ecut": 350}, "occupations": {"width": 0.5}}, "mode.ecut",
         "occupations.width"),
        ("espresso", {"input_data": {"SYSTEM": {"ecutwfc": 350, "degauss": 0.5}}}, "input_data.system.ecutwfc",
         "input_data.system.degauss"),
        ("espresso", {"ecutwfc": 350, "degauss": 0.5}, "ecutwfc", "degauss"),
        ("abinit", {"ecut": 350, "tsmear": 0.5}, "ecut", "tsmear"),
        ("vasp", {"encut": 350, "sigma": 0.5}, "encut", "sigma"),
        ("castep", {"CUT_OFF_ENERGY": 350, "smearing_width": 0.5}, "cut_off_energy", "smearing_width"),
    ],
)  # fmt: skip
def test_where_codes_keep_their_cutoff_and_smearing(name, parameters, cutoff, smearing):
    spec = CalculatorSpec(name, parameters, (8, 8, 8))
    found = scanned_settings(spec, None, (4, 4, 4))
    assert [(setting.path, setting.kind) for setting in found] == [
        ("kgrid", "kgrid"), (cutoff, "cutoff"), (smearing, "smearing")
    ]  # fmt: skip
    assert found[0].given == (8, 8, 8)
    assert found[1].values == (280, 350, 420, 530)
    assert found[2].values == (0.25, 0.5, 1)
    changed = with_setting(spec, cutoff, 420)
    assert setting_of(changed, cutoff) == 420
    assert str(changed.parameters).lower().count("420") == str(changed.parameters).lower().count("cut") == 1


def test_cutoff_and_smearing_are_named_where_settings_are_changed():
    given = {"mode": {"name": "pw", "ecut": 300}, "occupations": {"name": "fermi-dirac", "width": 0.1}}
    changed = with_settings(CalculatorSpec("gpaw", given, (4, 4, 4)), {"cutoff": 350, "smearing": 0.2, "kgrid": 8})
    assert changed.parameters["mode"] == {"name": "pw", "ecut": 350}
    assert changed.parameters["occupations"] == {"name": "fermi-dirac", "width": 0.2}
    assert changed.kgrid == (8, 8, 8)


@pytest.mark.parametrize(
    ("scans", "parts"),
    [
        (None, ["no k-point grid, cutoff or smearing"]),
        ({"cutoff": [1, 2]}, ["holds its cutoff"]),
        ({"kgrid": None}, ["kgrid", "Name the values"]),
        ({"basis.cutoff": None}, ["basis.cutoff", "Name the values"]),
        ({"kgrid": [0, 4]}, ["kgrid = [0, 0, 0]"]),
        ({"kgrid": [(4, 4), 4]}, ["kgrid = (4, 4)"]),
        ({"kgrid": [True, 4]}, ["kgrid = True"]),
        ({"basis.cutoff": [300]}, ["values 300", "two different"]),
        ({"basis.cutoff": [300, 300.0]}, ["two different"]),
        ({"basis.cutoff": []}, ["values none"]),
        ({"basis.cutoff": [100, 200], "Basis.Cutoff": [1, 2]}, ["scanned twice"]),
        ({"basis..cutoff": [1, 2]}, ["path of a setting"]),
        ({"": [1, 2]}, ["path of a setting"]),
        ({"width.value": [1, 2]}, ["width is 0.1, not a table"]),
        ({"kgrid": [2, 4], "basis.cutoff": [1, object()]}, ["cannot record"]),
    ],
)
def test_scans_that_cannot_be_made(sample, store, scans, parts):
    spec = CalculatorSpec(NAME, {"basis": {"cutoff": 300}, "width": 0.1})
    with pytest.raises(InputError) as error:
        plan_convergence(sample, spec, store, scans=scans)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("value", ["high", 0, -100, True, math.inf])
def test_a_cutoff_is_a_number_above_zero(value):
    spec = CalculatorSpec("gpaw", {"mode": {"ecut": 300}}, (4, 4, 4))
    with pytest.raises(InputError, match=r"mode\.ecut has the value"):
        scanned_settings(spec, {"cutoff": [200, value]})


def test_the_sample_is_cheap_and_the_databases_own():
    supercells = find_supercells(bulk("Mg"), (4, 4, 6))
    database = make_configurations(supercells, per_supercell=6, unit_cells=1, scale=(0.99, 1.0, 1.01), seed=3)
    sample = sample_configurations(supercells, database)
    cells, displaced = sample[:3], sample[3:]
    assert [atoms.info["ndsc_name"] for atoms in cells] == ["unit-0000", "unit-0001", "unit-0002"]
    expected = make_configurations(supercells, per_supercell=0, unit_cells=3, scale=(0.99, 1.0, 1.01), seed=3)
    assert cells == expected
    assert all(atoms in database for atoms in displaced)
    assert len({atoms.info["ndsc_scale"] for atoms in displaced}) == 3
    sizes = sorted(supercells.sizes * len(supercells.atoms))
    assert sizes[0] < sizes[-1]
    assert sorted(len(atoms) for atoms in displaced) == sizes[:3]


def test_the_sample_takes_the_databases_unit_cells(supercells):
    database = make_configurations(supercells, per_supercell=2, unit_cells=5)
    assert sample_configurations(supercells, database, unit_cells=4)[:4] == database[:4]
    with pytest.raises(InputError, match="1 configurations"):
        sample_configurations(supercells, database, displaced=0, unit_cells=1)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 10, 100])
def test_configurations_are_spread_over_supercells(n):
    supercells = find_supercells(bulk("Al"), 3)
    database = make_configurations(supercells, per_supercell=6, unit_cells=2)
    chosen = spread_over_supercells(database, n)
    assert len(chosen) == min(n, len(database)) == len({atoms.info["ndsc_name"] for atoms in chosen})
    of_each = [sum(atoms.info["ndsc_name"].startswith(name) for atoms in chosen) for name in ("unit", "s000", "s002")]
    if 4 <= n < 10:
        assert max(of_each) - min(of_each) <= 1
    assert [database.index(atoms) for atoms in chosen] == sorted(database.index(atoms) for atoms in chosen)


def test_the_noise_of_a_database(supercells, store, tmp_path):
    database = make_configurations(supercells, per_supercell=6, unit_cells=3)
    run = LabelStore(tmp_path / "run")
    label_configurations(database, spec_at(200), run, workers=1)
    before = sorted(run.keys())
    denser = with_settings(spec_at(200), {"basis.cutoff": 400})
    plan = plan_noise(database, spec_at(200), run, denser, store, n=6)
    assert (len(plan.configurations), plan.in_store, plan.rows[0]["kpoints"]) == (6, 0, None)
    table = noise_table(database, spec_at(200), run, denser, store, n=6, workers=1)
    assert sorted(run.keys()) == before
    assert len(list(store.keys())) == len(table.rows) == 6
    largest, spread, virials = emt(plan.configurations)
    off = relative_error(200) - relative_error(400)
    assert table.difference.force_max == pytest.approx(1e3 * off * largest)
    assert table.difference.energy_max == pytest.approx(1e3 * off * spread)
    assert np.ptp([row["energy_mev_per_atom"] for row in table.rows]) == pytest.approx(table.difference.energy_max)
    assert max(row["virial_max_mev_per_atom"] for row in table.rows) == pytest.approx(table.difference.virial_max)
    change = off * virials - np.array([1, 1, 1, 0, 0, 0]) * PULAY * off / AMPLITUDE
    assert table.difference.virial_offset_tensor == pytest.approx(1e3 * change.mean(axis=0))
    assert table.changed == ["parameters.basis.cutoff: 200 in the database, 400 to check against"]
    document, rows = table.save(tmp_path / "out")
    assert json.loads(document.read_text())["difference"]["force_max_mev_per_angstrom"] == table.difference.force_max
    assert len(rows.read_text().splitlines()) == 7


def test_noise_needs_labels_and_other_settings(supercells, store, tmp_path):
    database = make_configurations(supercells, per_supercell=2)
    run = LabelStore(tmp_path / "run")
    with pytest.raises(InputError, match=r"0 of 5 configurations have labels.*ndsc run"):
        noise_table(database, spec_at(200), run, spec_at(400), store)
    with pytest.raises(InputError, match="are those of the database"):
        noise_table(database, spec_at(200), run, spec_at(200), store)
    with pytest.raises(InputError, match="at least 2"):
        noise_table(database, spec_at(200), run, spec_at(400), store, n=1)
    label_configurations(database[:3], spec_at(200), run, workers=1)
    database[0].info["config_type"] = "isolated_atom"
    assert len(noise_table(database, spec_at(200), run, spec_at(400), store, workers=1).rows) == 2
    key = run.key_of(database[1], spec_at(200))
    run.path_of(key).write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        noise_table(database, spec_at(200), run, spec_at(400), store, workers=1)


@pytest.mark.skipif(importlib.util.find_spec("gpaw") is None, reason="GPAW is not installed")
def test_a_cutoff_of_gpaw(tmp_path):
    supercells = find_supercells(bulk("Al"), 1)
    cells = sample_configurations(supercells, [], unit_cells=2)
    parameters = {"mode": {"name": "pw", "ecut": 200}, "convergence": {"density": 1e-3}, "nbands": 4,
                  "occupations": {"name": "marzari-vanderbilt", "width": 0.5}}  # fmt: skip
    spec = CalculatorSpec("gpaw", parameters, (2, 2, 2))
    report = converge(cells, spec, LabelStore(tmp_path), scans={"cutoff": [150, 200, 300]}, workers=1)
    (scan,) = report.scans
    assert (scan.setting.path, scan.setting.kind) == ("mode.ecut", "cutoff")
    coarse, fine = (point.difference for point in scan.points[:2])
    # The energy falls with the cutoff, and most of the change is the same for all configurations.
    assert coarse.energy_offset > fine.energy_offset > 0
    assert coarse.energy_offset > 5 * coarse.energy_max > 0
