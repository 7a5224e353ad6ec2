import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ndsc.database import write_database
from ndsc.errors import InputError
from ndsc.fit.evaluate import Predictions, predict
from ndsc.force_constants import phonons_from_supercells
from ndsc.phonons import compare_phonons
from ndsc.report import dispersion_figure, elastic_figure, parity_figure, write_report
from ndsc.report.dispersion import merged_ticks, pretty_label
from ndsc.report.style import save_figure
from ndsc.results import (
    Comparison,
    CrystalSummary,
    FitCounts,
    FitErrors,
    FitSummary,
    LabelFailure,
    PhononsSummary,
    Results,
    SupercellsSummary,
    cost_summary,
    elastic_comparison,
    write_results,
)


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
        if tag == "img":
            self.images += 1
            assert attributes["alt"]
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
            grid=(2, 2, 2), matrices=[np.eye(3, dtype=int).tolist()], sizes=[2], cost=8.0, lower_bound=8.0
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
        cost=cost_summary([(4, 1.0)] * 4, unit_atoms=1, grid=(2, 2, 2), reference_phonon_atoms=[2, 2]),
        versions={"python": "3.11"},
        seed=1,
        command="ndsc run <ndsc.toml>",
        warnings=["<script>alert(1)</script> & so on"],
    )


@pytest.fixture
def run(tmp_path, comparison, predictions):
    """The folder of a run, made by hand."""
    import json

    (tmp_path / "phonons").mkdir()
    (tmp_path / "phonons" / "comparison.json").write_text(json.dumps(comparison.to_dict()))
    (tmp_path / "potential").mkdir()
    write_database(tmp_path / "potential" / "predictions.extxyz", predictions)
    (tmp_path / "ndsc.toml").write_text('[crystal]\nstructure = "Al"\n')
    write_results(full_results(comparison), tmp_path)
    return tmp_path


def test_a_whole_report(run):
    path = write_report(run)
    text = path.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.images == 3
    assert all(address.startswith("data:image/svg+xml;base64,") for address in checker.addresses)
    for address in checker.addresses:
        ElementTree.fromstring(base64.b64decode(address.partition(",")[2]))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; so on" in text
    assert "ndsc run &lt;ndsc.toml&gt;" in text
    assert "proven smallest" in text
    for name in ("dispersion", "parity", "elastic"):
        assert (run / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_run_gives_the_same_bytes(run):
    write_report(run)
    first = {path.name: path.read_bytes() for path in [*run.glob("figures/*"), run / "report.html"]}
    write_report(run)
    assert all(path.read_bytes() == first[path.name] for path in [*run.glob("figures/*"), run / "report.html"])


def test_numbers_of_the_report_are_those_of_the_results(run, comparison):
    text = write_report(run).read_text()
    assert f"{comparison.rmse_mesh_thz:.4f} THz" in text
    assert re.search(
        r'C44</th><td class="number">29.00</td><td class="number">30.00</td><td class="number">-3.33', text
    )


def test_a_run_without_fit_and_benchmarks(tmp_path, comparison):
    everything = full_results(comparison)
    write_results(everything.model_copy(update={"fit": None, "phonons": None, "elastic": None}), tmp_path)
    text = write_report(tmp_path).read_text()
    assert "<img" not in text
    assert "Supercells" in text


def test_failures_are_listed(run, comparison):
    from ndsc.results import ConfigurationsSummary, LabelsSummary

    labels = LabelsSummary(
        calculator="gpaw", requested=5, succeeded=4, failures=[LabelFailure(name="s001-0003", reason="not converged")]
    )
    more = {"labels": labels, "configurations": ConfigurationsSummary(total=5, by_type={"supercell": 5})}
    write_results(full_results(comparison).model_copy(update=more), run)
    text = write_report(run).read_text()
    assert "s001-0003" in text
    assert "not converged" in text


@pytest.mark.parametrize("name", ["phonons/comparison.json", "potential/predictions.extxyz", "results.json"])
def test_a_missing_file_names_the_command_that_makes_it(run, name):
    (run / name).unlink()
    with pytest.raises(InputError, match="ndsc run"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_damaged_files(run):
    (run / "phonons" / "comparison.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        write_report(run)
    with pytest.raises(InputError, match="no folder"):
        write_report(run / "nothing")


def test_figures_draw_what_they_are_given(comparison, predictions, tmp_path):
    figure = dispersion_figure(comparison, title="Al")
    bands = figure.axes[0]
    drawn = np.concatenate([line.get_ydata() for line in bands.lines if len(line.get_ydata()) > 2])
    assert drawn.max() == pytest.approx(max(comparison.model_path.max(), comparison.reference_path.max()))
    parity = parity_figure(Predictions.from_frames(predictions))
    assert [axes.get_title() for axes in parity.axes[::2]] == ["Energy", "Force components", "Virial components"]
    assert "RMSE 10" in parity.axes[2].texts[0].get_text()
    bars = elastic_figure({"C11": Comparison.of(101.0, 100.0), "C12": Comparison()}).axes[0].patches
    assert any(bar.get_height() == pytest.approx(1.0) for bar in bars)
    saved = save_figure(figure, tmp_path, "bands")
    assert saved.svg.startswith(b"<?xml")


def test_labels_of_special_points():
    assert [pretty_label(name) for name in ("G", "GAMMA", "X", "X1", "K|U", "$\\Gamma$")] == [
        "Γ", "Γ", "X", "X$_{1}$", "K|U", "Γ",
    ]  # fmt: skip
    assert merged_ticks([0.0, 1.0, 1.0, 2.0], ["G", "K", "U", "X"]) == ([0.0, 1.0, 2.0], ["Γ", "K|U", "X"])
