import csv
import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ndsc.benchmark import elastic_comparison
from ndsc.database import write_database
from ndsc.errors import InputError
from ndsc.fit.evaluation import Predictions, predict
from ndsc.force_constants import phonons_from_supercells
from ndsc.phonons import compare_phonons
from ndsc.report import (
    DispersionPanel,
    cost_figure,
    dispersion_figure,
    elastic_errors_data,
    elastic_errors_figure,
    parity_figure,
    write_report,
)
from ndsc.report.bands import merged_ticks, path_legs, pretty_label
from ndsc.report.published import published
from ndsc.report.style import save_figure
from ndsc.report.text import chemical, qpoint_text, qpoints_by_supercell, setting, space_group
from ndsc.report.verdict import verdict_of
from ndsc.results import (
    Comparison,
    ConfigurationsSummary,
    CrystalSummary,
    FitCounts,
    FitErrors,
    FitSummary,
    HarmonicSummary,
    LabelFailure,
    LabelsSummary,
    PhononsSummary,
    Results,
    SupercellsSummary,
    write_results,
)
from ndsc.supercells import find_supercells
from ndsc.workflow.summary import cost_summary

SUPERCELLS = find_supercells(bulk("Al"), 2)
MODULI = {"model": {"bulk_modulus": 75.0}, "reference": {"bulk_modulus": 76.0}}


class Checker(HTMLParser):
    """Every element is closed, every picture has a description, nothing comes from elsewhere."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.images, self.addresses = [], 0, []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("img", "svg"):
            self.images += 1
            assert attributes["alt" if tag == "img" else "aria-label"]
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def comparison():
    reference = phonons_from_supercells(bulk("Al"), 2, EMT()).phonopy
    model = phonons_from_supercells(bulk("Al", a=4.07), 2, EMT()).phonopy
    return compare_phonons(model, reference, mesh=6, dos_mesh=8)


@pytest.fixture(scope="module")
def predictions():
    frames = []
    for i in range(4):
        atoms = bulk("Al", cubic=True)
        atoms.rattle(0.05, seed=i)
        atoms.calc = EMT()
        atoms.info = {
            "REF_energy": atoms.get_potential_energy() + 0.01 * i,
            "REF_virial": -atoms.get_volume() * atoms.get_stress(voigt=False).reshape(9),
            "config_type": "unit_cell" if i == 0 else "supercell",
        }
        atoms.arrays["REF_forces"] = atoms.get_forces() + 0.01
        atoms.calc = None
        frames.append(atoms)
    return predict(frames, EMT())


def full_results(comparison):
    return Results(
        crystal=CrystalSummary(formula="Al", n_atoms=1, space_group="Fm-3m", space_group_number=225),
        supercells=SupercellsSummary(
            grid=SUPERCELLS.grid,
            matrices=SUPERCELLS.matrices,
            sizes=SUPERCELLS.sizes,
            cost=SUPERCELLS.cost,
            lower_bound=SUPERCELLS.lower_bound,
            n_irreducible_qpoints=3,
        ),
        fit=FitSummary(
            counts={"energies": FitCounts(sent=4, read=4)},
            errors={"all": FitErrors(configurations=4, energy_rmse_ev_per_atom=0.001)},
            settings={"cutoff": 6.0},
        ),
        phonons=PhononsSummary(
            rmse_mesh_thz=comparison.rmse_mesh_thz,
            rmse_path_thz=comparison.rmse_path_thz,
            max_error_thz=comparison.max_error_thz,
            min_frequency_thz=comparison.min_frequency_thz,
        ),
        elastic=elastic_comparison({"C11": 101.0, "C44": 29.0}, {"C11": 100.0, "C44": 30.0}),
        cost=cost_summary([(4, 1.0)] * 4, unit_atoms=1, grid=(2, 2, 2), reference_phonons=[(2, 1.0), (2, 1.0)]),
        versions={"python": "3.11"},
        seed=1,
        command="ndsc run <ndsc.toml>",
        warnings=["<script>alert(1)</script> & so on"],
    )


def make_run(tmp_path, comparison, predictions):
    """The folder of a run, made by hand."""
    (tmp_path / "phonons").mkdir()
    (tmp_path / "phonons" / "comparison.json").write_text(json.dumps(comparison.to_dict()))
    (tmp_path / "potential").mkdir()
    write_database(tmp_path / "potential" / "predictions.extxyz", predictions)
    (tmp_path / "ndsc.toml").write_text('[crystal]\nstructure = "Al"\n')
    (tmp_path / "supercells.json").write_text(json.dumps(SUPERCELLS.to_dict()))
    (tmp_path / "elastic.json").write_text(json.dumps(MODULI))
    write_results(full_results(comparison), tmp_path)
    return tmp_path


@pytest.fixture
def run(tmp_path, comparison, predictions):
    return make_run(tmp_path, comparison, predictions)


@pytest.fixture(scope="module")
def reported(tmp_path_factory, comparison, predictions):
    """The folder of a run with its report; only to be read."""
    folder = make_run(tmp_path_factory.mktemp("reported"), comparison, predictions)
    assert write_report(folder) == folder / "report.html"
    return folder


def test_a_whole_report(reported):
    run = reported
    text = (run / "report.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.images == 6
    assert checker.addresses == []
    assert text.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; so on" in text
    assert "ndsc run &lt;ndsc.toml&gt;" in text
    assert "proven cheapest" in text
    assert "(0 0 0), (0 0 1/2)" in text
    for name in ("dispersion", "errors", "parity", "elastic", "zone", "cost"):
        assert (run / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_run_gives_the_same_bytes(reported, run):
    first = {path.name: path.read_bytes() for path in [*reported.glob("figures/*"), reported / "report.html"]}
    write_report(run)
    assert len(first) == 17
    assert all(path.read_bytes() == first[path.name] for path in [*run.glob("figures/*"), run / "report.html"])


def test_numbers_of_the_report_are_those_of_the_results(reported, comparison):
    text = (reported / "report.html").read_text()
    assert f"{comparison.rmse_mesh_thz:.4f} THz" in text
    assert re.search(
        r'C44</th><td class="number">29.00</td><td class="number">30.00</td><td class="number">−3.33', text
    )
    # The paper's numbers for fcc Al stand beside them: potential, then reference.
    assert re.search(r'bulk modulus</th>.*?−1.32</td><td class="number">77.5</td><td class="number">77.6', text)


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_data_of_the_figures_are_written(reported, comparison, predictions):
    path = read_csv(reported / "phonons" / "path.csv")
    for kind, frequencies in (("reference", comparison.reference_path), ("potential", comparison.model_path)):
        written = [float(row["frequency_thz"]) for row in path if row["kind"] == kind]
        np.testing.assert_allclose(np.reshape(written, frequencies.shape), frequencies, atol=1e-6)
    density = read_csv(reported / "phonons" / "dos.csv")
    written = [float(row["dos_per_thz"]) for row in density if row["kind"] == "potential"]
    np.testing.assert_allclose(written, comparison.model_dos, atol=1e-6)
    mesh = read_csv(reported / "phonons" / "mesh.csv")
    squares = [float(row["weight"]) * float(row["error_thz"]) ** 2 for row in mesh]
    rmse = np.sqrt(sum(squares) / sum(float(row["weight"]) for row in mesh))
    assert rmse == pytest.approx(comparison.rmse_mesh_thz, abs=1e-6)
    parity = read_csv(reported / "figures" / "parity.csv")
    forces = [float(row["reference"]) for row in parity if row["quantity"] == "force_ev_per_angstrom"]
    np.testing.assert_allclose(forces, Predictions.from_frames(predictions).reference_forces.ravel(), atol=1e-7)
    assert {row["constant"]: row["model_gpa"] for row in read_csv(reported / "figures" / "elastic.csv")} == {
        "C11": "101", "C44": "29",
    }  # fmt: skip
    # The diagonal supercell of 8 atoms: a label of 4 takes 1 s, so 2^1.7 s, or 2^1.3 and 2^2.1.
    costs, one = read_csv(reported / "figures" / "cost.csv"), 2**1.7
    for name, expected in (
        ("seconds", [4, 2, one, 4 * one]),
        ("seconds_low", [4, 2, 2**1.3, 4 * 2**1.3]),
        ("seconds_high", [4, 2, 2**2.1, 4 * 2**2.1]),
        ("relative_time", [4 / one, 2 / one, 1, 4]),
    ):
        assert [float(row[name]) for row in costs] == pytest.approx(expected, rel=1e-5)


def test_the_harmonic_model_is_drawn_where_it_was_computed(run, comparison):
    everything = full_results(comparison)
    harmonic = HarmonicSummary(rmse_mesh_thz=0.5, force_rmse_ev_per_angstrom=0.01, force_rms_ev_per_angstrom=0.2)
    phonons = everything.phonons.model_copy(update={"harmonic": harmonic})
    write_results(everything.model_copy(update={"phonons": phonons, "fit": None}), run)
    write_report(run)
    # A run of an earlier version has the number only.
    assert "baseline" not in {row["kind"] for row in read_csv(run / "phonons" / "path.csv")}
    baseline = dataclasses.replace(comparison, model_path=comparison.model_path + 0.3)
    (run / "phonons" / "harmonic_comparison.json").write_text(json.dumps(baseline.to_dict()))
    write_report(run)
    rows = [row for row in read_csv(run / "phonons" / "path.csv") if row["kind"] == "baseline"]
    written = np.reshape([float(row["frequency_thz"]) for row in rows], comparison.model_path.shape)
    np.testing.assert_allclose(written, comparison.model_path + 0.3, atol=1e-6)


def test_a_run_without_fit_and_benchmarks(tmp_path, comparison):
    everything = full_results(comparison)
    left_out = {"fit": None, "phonons": None, "elastic": None, "cost": None, "supercells": None, "warnings": []}
    write_results(everything.model_copy(update=left_out), tmp_path)
    text = write_report(tmp_path).read_text()
    assert "<svg" not in text
    assert 'class="verdict' not in text
    assert "no ndsc.toml" in text


def test_figures_without_data_any_more_are_removed(run, comparison):
    (run / "figures").mkdir()
    (run / "figures" / "parity.png").write_bytes(b"of an earlier run")
    (run / "figures" / "mine.png").write_bytes(b"not ours")
    write_results(full_results(comparison).model_copy(update={"fit": None, "phonons": None, "elastic": None}), run)
    write_report(run)
    assert {path.name for path in (run / "figures").iterdir()} == {
        *(f"{name}.{end}" for name in ("cost", "zone") for end in ("png", "pdf", "csv")), "mine.png"
    }  # fmt: skip


@pytest.mark.usefixtures("no_figures")
def test_failures_are_listed(run, comparison):
    labels = LabelsSummary(
        calculator="gpaw", requested=5, succeeded=4, failures=[LabelFailure(name="s001-0003", reason="not converged")]
    )
    more = {"labels": labels, "configurations": ConfigurationsSummary(total=5, by_type={"supercell": 5})}
    more |= {"fit": None, "phonons": None, "elastic": None, "cost": None}
    write_results(full_results(comparison).model_copy(update=more), run)
    text = write_report(run).read_text()
    assert "s001-0003" in text
    assert "not converged" in text


@pytest.mark.parametrize(
    "name",
    [
        "phonons/comparison.json",
        "potential/predictions.extxyz",
        "results.json",
        "supercells.json",
        "elastic.json",
    ],
)
def test_a_missing_file_names_the_command_that_makes_it(run, name):
    (run / name).unlink()
    with pytest.raises(InputError, match="ndsc run"):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"model_path": 3}', "", "\x00\x01", pytest.param("[" * 200_000, id="nested")]
)
@pytest.mark.parametrize("name", ["phonons/comparison.json", "potential/predictions.extxyz", "supercells.json"])
def test_damaged_files_leave_the_old_report(run, name, content):
    (run / "report.html").write_text("old")
    (run / "figures").mkdir()
    (run / "figures" / "cost.png").write_bytes(b"old")
    (run / name).write_text(content)
    with pytest.raises(InputError, match="damaged") as error:
        write_report(run)
    assert name in str(error.value)
    assert (run / "report.html").read_text() == "old"
    assert (run / "figures" / "cost.png").read_bytes() == b"old"
    assert not list(run.glob(".ndsc-*"))


def test_folders_without_results(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        write_report(tmp_path / "nothing")
    (tmp_path / "database.extxyz").write_text("")
    with pytest.raises(InputError, match="ndsc run"):
        write_report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["database.extxyz"]


def test_old_results_without_new_keys_render(tmp_path):
    old = {"crystal": {"formula": "Al", "n_atoms": 1}, "versions": {}, "seed": 1}
    (tmp_path / "results.json").write_text(json.dumps(old))
    text = write_report(tmp_path).read_text()
    assert '<div class="warnings"' not in text
    assert "1 atom in the unit cell." in text


@pytest.mark.usefixtures("no_figures")
def test_tolerance_magnetic_group_and_input_are_those_of_the_results(run, comparison):
    crystal = CrystalSummary(
        formula="Cr2", n_atoms=2, space_group="Im-3m", space_group_number=229, symprec=1e-4, magnetic_group="128.410"
    )
    more = {"crystal": crystal, "input": "[crystal]\nstructure = 'Cr'\n"}
    write_results(full_results(comparison).model_copy(update=more), run)
    text = write_report(run).read_text()
    assert "magnetic group 128.410" in text
    assert "0.0001 Å" in text
    assert "structure = &#39;Cr&#39;" in text
    assert 'structure = "Al"' not in text


def test_names_and_settings_are_text_and_not_markup(run, comparison):
    """Brackets, dollars and tags in formulas, warnings, settings and names stay what they are."""
    strange = "<b>$x_1$</b> [bold]η 晶体[/bold]"
    everything = full_results(comparison)
    labels = LabelsSummary(
        calculator=strange, requested=1, succeeded=0, failures=[LabelFailure(name=strange, reason=strange)],
        settings={strange: {strange: strange}},
    )  # fmt: skip
    crystal = CrystalSummary(formula="$Al$_{<b>}", n_atoms=1, space_group="P-1<i>", space_group_number=2)
    more = {"labels": labels, "crystal": crystal, "warnings": [strange]}
    more |= {"configurations": ConfigurationsSummary(total=1, by_type={strange: 1}, settings={strange: strange})}
    write_results(everything.model_copy(update=more), run)
    (run / "ndsc.toml").write_text(f"# {strange}\n")
    text = write_report(run).read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "<b>" not in text
    assert text.count("&lt;b&gt;$x_1$&lt;/b&gt; [bold]η 晶体[/bold]") >= 8


def test_figures_draw_what_they_are_given(comparison, predictions, tmp_path):
    figure = dispersion_figure(DispersionPanel({"GAP": comparison}, title="Al"))
    bands = figure.axes[0]
    drawn = np.concatenate([line.get_ydata() for line in bands.lines if len(line.get_ydata()) > 2])
    assert drawn.max() == pytest.approx(max(comparison.model_path.max(), comparison.reference_path.max()))
    parity = parity_figure(Predictions.from_frames(predictions))
    assert [axes.get_title() for axes in parity.axes[::2]] == ["Energy", "Force components", "Virial components"]
    assert "RMSE 10" in parity.axes[2].texts[0].get_text()
    elastic = {"C11": Comparison.of(101.0, 100.0), "C12": Comparison(reference=3.0), "C14": Comparison.of(0.1, 0.0)}
    axes = elastic_errors_figure(elastic_errors_data({"GAP": elastic})).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([1.0, 0.0])
    assert [text.get_text() for text in axes.texts] == ["+1.00"]
    assert sum(line.get_marker() == "x" for line in axes.lines) == 1
    cost = cost_summary([(4, 1.0)] * 4, unit_atoms=1, grid=(2, 2, 2), reference_phonons=[(2, 1.0), (2, 1.0)])
    assert [text.get_text() for text in cost_figure(cost).axes[0].texts] == ["4 s", "2 s", "about 3.2 s", "about 13 s"]
    untimed = cost_summary([(4, None)] * 4, unit_atoms=1, grid=(2, 2, 2), reference_phonons=[(2, None), (2, None)])
    assert [float(text.get_text()) for text in cost_figure(untimed).axes[0].texts] == pytest.approx(
        [4 / 2**1.7, 2 / 4**1.7, 1, 4], rel=5e-3
    )
    saved = save_figure(figure, None, tmp_path / "bands")
    assert saved.svg.startswith(b"<?xml")


def test_degenerate_branches_are_dashed_once(comparison):
    # Along Γ-X the two transverse branches are one line; from X to W they part.
    path = comparison.path
    legs = path_legs(path)
    assert legs[0].start == 0
    assert legs[-1].stop == len(path.distances)
    assert len(legs) == len(merged_ticks(path.ticks, path.labels)[0]) - 1
    figure = dispersion_figure(DispersionPanel({"GAP": comparison}))
    dashed = [line for line in figure.axes[0].lines if line.is_dashed()]
    assert sum(len(line.get_xdata()) == legs[0].stop - legs[0].start for line in dashed) >= 2
    first = [line for line in dashed if line.get_xdata()[0] == 0.0]
    assert len(first) == 2


def test_parity_of_many_kinds_and_of_no_energies(predictions):
    frames = [atoms.copy() for atoms in predictions]
    for i, atoms in enumerate(frames * 2):
        atoms.info["config_type"] = f"kind {i}"
    many = [*frames, *(atoms.copy() for atoms in predictions[:1])]
    many[-1].info["config_type"] = "one more"
    assert len(parity_figure(Predictions.from_frames(many)).axes[0].lines) == 2
    for atoms in frames:
        del atoms.info["REF_energy"]
    figure = parity_figure(Predictions.from_frames(frames))
    assert figure.axes[0].texts[0].get_text() == "no such targets"


def test_verdict(comparison):
    everything = full_results(comparison).model_copy(update={"warnings": []})
    good = verdict_of(everything)
    assert good.good
    assert "C44" in good.text
    assert f"{comparison.rmse_mesh_thz:.3g} THz" in good.text
    phonons = everything.phonons.model_copy(update={"min_frequency_thz": -1.0, "reference_min_frequency_thz": 0.0})
    # What is unstable in the reference too is no fault of the potential.
    both = phonons.model_copy(update={"reference_min_frequency_thz": -1.1})
    assert verdict_of(everything.model_copy(update={"phonons": both})).good
    assert verdict_of(everything.model_copy(update={"phonons": None, "elastic": None, "fit": None})) is None


def test_verdict_with_faults(comparison):
    everything = full_results(comparison).model_copy(update={"warnings": []})
    unstable = everything.phonons.model_copy(update={"min_frequency_thz": -1.0, "reference_min_frequency_thz": 0.0})
    infinite = everything.phonons.model_copy(update={"rmse_mesh_thz": None})
    labels = LabelsSummary(
        calculator="emt", requested=2, succeeded=1, failures=[LabelFailure(name="unit-0000", reason="stopped")]
    )
    for update, named in (
        ({"phonons": unstable}, "−1.00 THz"),
        ({"elastic": {"C11": Comparison(reference=100.0)}}, "C11"),
        ({"elastic": elastic_comparison({"C11": 90.0}, {"C11": 100.0})}, "10 %"),
        ({"phonons": None}, "could not be computed"),
        ({"phonons": infinite}, "not finite"),
        ({"labels": labels}, "1 reference calculation"),
    ):
        bad = verdict_of(everything.model_copy(update=update))
        assert not bad.good
        assert bad.word.startswith("Not within")
        assert named in bad.text.split(". Phonons agree")[0]
    # Numbers as good as the paper's, and a reason to doubt them.
    doubtful = verdict_of(everything.model_copy(update={"warnings": ["The cell of the reference carries a stress."]}))
    assert not doubtful.good
    assert doubtful.word.startswith("Within")
    assert "1 warning" in doubtful.word


def test_every_irreducible_qpoint_is_listed_once():
    supercells = find_supercells(bulk("Al"), 4)
    listed = ", ".join(qpoints_by_supercell(supercells))
    assert listed.count("(") == 8
    assert "more" not in listed
    assert "and 38 more" in ", ".join(qpoints_by_supercell(find_supercells(bulk("Al"), (1, 1, 87))))
    assert qpoint_text((0, 2, 3), (4, 4, 4)) == "(0 1/2 3/4)"


def test_numbers_of_the_paper():
    def crystal(formula, number):
        return CrystalSummary(formula=formula, n_atoms=1, space_group_number=number)

    assert published(crystal("Mg2", 194)).reference["C33"] == 64.7
    assert published(crystal("Si2", 227)).potential["C44"] == 72.4
    assert published(crystal("Al", 229)) is None
    assert published(crystal("AlNi", 221)) is None


def test_settings_are_written_plainly():
    assert [chemical(formula) for formula in ("Mg2", "Al", "Si2O4")] == ["Mg", "Al", "SiO2"]
    assert space_group("P6_3/mmc") == "P6₃/mmc"
    assert space_group("Fd-3m") == "Fd3\N{COMBINING OVERLINE}m"
    assert setting({"relative": 0.01, "minimum": None}) == "relative 0.01; minimum –"
    assert setting({"mode": {"name": "pw", "ecut": 350.0}, "xc": "PBE"}) == "mode (name pw; ecut 350); xc PBE"
    assert setting([0.98, 1.0, True]) == "0.98, 1, yes"
    assert setting({}) == setting(None) == "–"


def test_labels_of_special_points():
    assert [pretty_label(name) for name in ("G", "GAMMA", "X", "X1", "K|U", "$\\Gamma$")] == [
        "Γ", "Γ", "X", "X$_{1}$", "K|U", "Γ",
    ]  # fmt: skip
    assert merged_ticks([0.0, 1.0, 1.0, 2.0], ["G", "K", "U", "X"]) == ([0.0, 1.0, 2.0], ["Γ", "K|U", "X"])
