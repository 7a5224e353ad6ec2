"""The report of a run that chose its labels: with a reference, and with nothing but what is predicted."""

import csv
import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from ndsc.database import write_database
from ndsc.errors import InputError
from ndsc.fit.evaluation import predict
from ndsc.force_constants import phonons_from_supercells
from ndsc.phonons import compare_phonons
from ndsc.report import DispersionPanel, dispersion_figure, write_report
from ndsc.report.choice import choice_data, choice_figure, true_errors
from ndsc.report.predicted import BANDS, PredictedCurves, predicted_dispersion_figure
from ndsc.report.verdict import verdict_of
from ndsc.results import (
    Comparison,
    CrystalSummary,
    FitCounts,
    FitSummary,
    LabelsSummary,
    PhononsSummary,
    Results,
    SelectionStep,
    SelectionSummary,
    write_results,
)

WITHOUT = '[crystal]\nstructure = "Al"\n[phonons]\nreference = "none"\n'
CHOSEN = SelectionSummary(
    method="information",
    candidates=1464,
    labels=5,
    predicted_rmse_thz=0.04,
    predicted_elastic_percent=2.0,
    statistical_rmse_thz=0.02,
    statistical_elastic_percent=1.0,
    factor=2.0,
    target_thz=0.03,
    target_elastic_percent=3.0,
    target_met=False,
    reason="[selection] max_labels = 5 is reached.",
    advice="Raise [selection] max_labels, or the targets.",
    constants={"C11": 101.0, "C12": 60.0, "C44": 29.0},
    deviations={"C11": 2.0, "C12": 1.5, "C44": 0.3},
    steps=[
        SelectionStep(labels=1, seconds=0.1, predicted_rmse_thz=4.0, predicted_elastic_percent=110.0),
        SelectionStep(labels=5, seconds=0.5, predicted_rmse_thz=0.04, predicted_elastic_percent=2.0),
    ],
    order=["unit-0000", "s000-0007"],
)


class Tree(HTMLParser):
    """Rows of tables as lists of cells, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def row(self, first):
        return next(row for row in self.rows if row and row[0] == first)


@pytest.fixture(scope="module")
def comparison():
    reference = phonons_from_supercells(bulk("Al"), 2, EMT()).phonopy
    model = phonons_from_supercells(bulk("Al", a=4.07), 2, EMT()).phonopy
    return compare_phonons(model, reference, mesh=6, dos_mesh=8)


def document(comparison):
    """predicted.json of a run whose potential is the model, with deviations of half its error and 0.01 THz more."""

    def deviations(name):
        error = getattr(comparison, f"model_{name}") - getattr(comparison, f"reference_{name}")
        return (0.5 * np.abs(error) + 0.01).tolist()

    path = comparison.path
    return {
        "factor": 2.0,
        "path_distances": path.distances.tolist(),
        "path_ticks": list(path.ticks),
        "path_labels": list(path.labels),
        "path_segments": [list(piece) for piece in path.segments],
        "path_qpoints": np.round(path.qpoints, 6).tolist(),
        "path_frequencies": comparison.model_path.tolist(),
        "path_deviations": deviations("path"),
        "mesh": list(comparison.mesh),
        "mesh_qpoints": np.round(comparison.mesh_qpoints, 6).tolist(),
        "mesh_weights": comparison.mesh_weights.tolist(),
        "mesh_frequencies": comparison.model_mesh.tolist(),
        "mesh_deviations": deviations("mesh"),
        "dos_frequencies": comparison.dos_frequencies.tolist(),
        "dos": comparison.model_dos.tolist(),
        "dos_deviation": (0.1 * comparison.model_dos).tolist(),
    }


@pytest.fixture(scope="module")
def curves(comparison):
    return PredictedCurves.from_dict(document(comparison))


def results_of(comparison, *, reference):
    phonons = PhononsSummary(
        rmse_mesh_thz=comparison.rmse_mesh_thz,
        rmse_path_thz=comparison.rmse_path_thz,
        max_error_thz=comparison.max_error_thz,
        min_frequency_thz=comparison.min_frequency_thz,
        reference_max_frequency_thz=comparison.reference_max_frequency_thz,
    )
    elastic = {"C11": Comparison.of(101.0, 100.0), "C12": Comparison.of(61.2, 60.0), "C44": Comparison.of(1.5, 1.0)}
    return Results(
        crystal=CrystalSummary(formula="Al", n_atoms=1, space_group="Fm-3m", space_group_number=225),
        labels=LabelsSummary(calculator="emt", requested=2, succeeded=2),
        selection=CHOSEN,
        fit=FitSummary(counts={"energies": FitCounts(sent=1, read=1)}),
        phonons=phonons if reference else None,
        elastic=elastic if reference else None,
        input="" if reference else WITHOUT,
        versions={},
        seed=1,
    )


@pytest.fixture
def folder(tmp_path, comparison):
    """What a run leaves beside results.json."""
    frames = [bulk("Al"), bulk("Al").repeat((1, 1, 3))]
    for atoms, name, scale in zip(frames, CHOSEN.order, (1.0, 0.98), strict=True):
        atoms.info = {"ndsc_name": name, "ndsc_displacement": 0.02, "ndsc_scale": scale}
    write(tmp_path / "configurations.extxyz", frames, format="extxyz")
    labelled = bulk("Al", cubic=True)
    labelled.rattle(0.05, seed=1)
    labelled.calc = EMT()
    labelled.info = {"REF_energy": labelled.get_potential_energy(), "config_type": "supercell"}
    labelled.arrays["REF_forces"] = labelled.get_forces()
    labelled.calc = None
    (tmp_path / "potential").mkdir()
    write_database(tmp_path / "potential" / "predictions.extxyz", predict([labelled], EMT()))
    (tmp_path / "phonons").mkdir()
    (tmp_path / "phonons" / "predicted.json").write_text(json.dumps(document(comparison)))
    (tmp_path / "phonons" / "comparison.json").write_text(json.dumps(comparison.to_dict()))
    (tmp_path / "elastic.json").write_text("{}")
    return tmp_path


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_predicted_errors_stand_beside_the_true_ones(folder, comparison, curves):
    write_results(results_of(comparison, reference=True), folder)
    page = Tree(text := write_report(folder).read_text())
    assert page.open == []
    rmse = f"{comparison.rmse_mesh_thz:.3g}"
    assert page.row("phonons, RMSE (THz)")[1:] == ["0.03", "0.04", "0.02", rmse]
    # C44 counts as a twentieth of C11, as it does in what is predicted.
    assert page.row("largest error of an elastic constant (%)")[1:] == ["3", "2", "1", "10"]
    assert page.row("C11")[:5] == ["C11", "101.00", "100.00", "+1.00", "2.00"]
    assert page.row("C44")[3:5] == ["+50.00", "30.00"]
    assert [row for row in page.rows if "s000-0007" in row] == [["2", "s000-0007", "3", "0.02", "0.98"]]
    assert CHOSEN.reason in text
    assert CHOSEN.advice in text
    inside = curves.coverage(comparison)
    assert f"{100 * inside[68]:.0f} % are inside the band of 68 %" in text
    steps = read_csv(folder / "figures" / "choice.csv")
    assert [row["labels"] for row in steps] == ["1", "5"]
    assert [row["predicted_rmse_thz"] for row in steps] == ["4", "0.04"]
    assert [row["true_elastic_percent"] for row in steps] == ["", "10"]
    path = read_csv(folder / "phonons" / "predicted-path.csv")
    for name in ("frequencies", "deviations"):
        column = "frequency_thz" if name == "frequencies" else "deviation_thz"
        expected = getattr(curves, f"path_{name}")
        np.testing.assert_allclose(
            np.reshape([float(row[column]) for row in path], expected.shape), expected, atol=1e-6
        )
    assert (folder / "figures" / "choice.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_reference_the_prediction_is_the_proof(folder, comparison):
    write_results(results_of(comparison, reference=False), folder)
    page = Tree(text := write_report(folder).read_text())
    assert page.open == []
    assert page.row("C11")[:4] == ["C11", "101.00", "2.00", "1.98"]
    assert page.row("phonons, RMSE (THz)")[1:] == ["0.03", "0.04", "0.02", "–"]
    assert page.row("highest frequency")[1] == f"{comparison.model_mesh.max():.3f}"
    names = re.findall(r'class="card"><div class="name">([^<]*)', text)
    assert names[:2] == ["Predicted phonon error", "Predicted elastic error"]
    assert "Predicted to be within" in text
    assert not (folder / "phonons" / "path.csv").exists()
    assert (folder / "figures" / "dispersion.png").exists()
    assert (folder / "phonons" / "predicted-dos.csv").exists()
    assert read_csv(folder / "figures" / "choice.csv")[-1]["true_rmse_thz"] == ""


def test_a_later_run_without_a_choice_shows_nothing_of_it(folder, comparison):
    write_results(results_of(comparison, reference=True), folder)
    write_report(folder)
    write_results(results_of(comparison, reference=True).model_copy(update={"selection": None}), folder)
    text = write_report(folder).read_text()
    assert "Choice of labels" not in text
    assert "expected" not in text
    assert not list(folder.glob("figures/choice.*"))
    assert not list(folder.glob("phonons/predicted-*"))


@pytest.mark.parametrize("change", [{"path_deviations": [[1.0]]}, {"dos": None}, {"mesh_weights": "x"}, None])
def test_a_damaged_prediction_is_named(folder, comparison, change):
    write_results(results_of(comparison, reference=True), folder)
    damaged = [] if change is None else document(comparison) | change
    (folder / "phonons" / "predicted.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError, match=r"predicted\.json is damaged"):
        write_report(folder)


def test_bands_are_as_wide_as_their_parts_of_a_normal_distribution(comparison, curves):
    figure = dispersion_figure(DispersionPanel({"GAP": comparison}, title="Al"), curves)
    errors = figure.axes[1]
    places = [collection.get_paths()[0].vertices[:, 1] for collection in errors.collections]
    widest = max(np.abs(vertices).max() for vertices in places)
    assert widest == pytest.approx(1.959964 * curves.path_deviations.max(), rel=1e-6)
    assert errors.get_ylim()[1] > widest
    # Every branch of every piece of the path twice, in the three pictures of the figure.
    assert len(places) == 2 * len(curves.path.segments) * 3
    alone = predicted_dispersion_figure(curves, name="GAP", title="Al")
    drawn = np.concatenate([line.get_ydata() for line in alone.axes[0].lines if len(line.get_ydata()) > 2])
    assert drawn.max() == pytest.approx(curves.path_frequencies.max())
    labels = [text.get_text() for text in alone.axes[3].get_legend().get_texts()]
    assert labels == ["GAP", "68 % expected", "95 % expected"]


def test_the_share_of_modes_inside_the_bands_is_counted(comparison, curves):
    # Deviations as large as the errors: the wider band holds all of them.
    wide = dataclasses.replace(curves, mesh_deviations=np.abs(comparison.model_mesh - comparison.reference_mesh))
    assert wide.coverage(comparison)[95] == pytest.approx(1.0)
    inside = np.abs(comparison.model_mesh - comparison.reference_mesh) <= BANDS[1][1] * curves.mesh_deviations
    weights = comparison.mesh_weights / comparison.mesh_weights.sum()
    assert curves.coverage(comparison)[68] == pytest.approx(float(weights @ inside.mean(axis=1)))
    other = dataclasses.replace(curves, mesh_qpoints=curves.mesh_qpoints + 0.1)
    assert other.coverage(comparison) is None


def test_the_figure_of_the_choice_draws_targets_and_truth(comparison):
    results = results_of(comparison, reference=True)
    assert true_errors(results)["true_elastic_percent"] == pytest.approx(10.0)
    left, right = choice_figure(choice_data(results)).axes
    assert left.get_yscale() == right.get_yscale() == "log"
    lines = {line.get_label(): line for line in left.lines}
    assert lines["predicted"].get_ydata().tolist() == [4.0, 0.04]
    assert set(lines["target"].get_ydata()) == {0.03}
    assert lines["true"].get_ydata()[-1] == pytest.approx(comparison.rmse_mesh_thz)
    # A slab has no elastic constants, and nothing to compare with here.
    steps = [step.model_copy(update={"predicted_elastic_percent": None}) for step in CHOSEN.steps]
    slab = results_of(comparison, reference=False).model_copy(
        update={"selection": CHOSEN.model_copy(update={"steps": steps, "predicted_elastic_percent": None})}
    )
    axes = choice_figure(choice_data(slab)).axes
    assert len(axes) == 1
    assert "true" not in [line.get_label() for line in axes[0].lines]


def test_the_verdict_of_a_prediction(comparison):
    results = results_of(comparison, reference=False)
    good = verdict_of(results, 0.0)
    assert good.good
    assert good.word.startswith("Predicted to be within")
    assert "0.04 THz" in good.text
    bad = CHOSEN.model_copy(update={"predicted_rmse_thz": 0.7})
    for found in (
        verdict_of(results.model_copy(update={"selection": bad}), 0.0),
        verdict_of(results, -1.0),
        verdict_of(
            results.model_copy(update={"selection": CHOSEN.model_copy(update={"predicted_elastic_percent": 9.0})})
        ),
    ):
        assert not found.good
        assert found.word.startswith("Predicted not to be within")
    # All labels and no reference: nothing to judge by.
    assert verdict_of(results.model_copy(update={"selection": None})) is None
    # Phonons that are missing although there is a reference are a fault.
    assert not verdict_of(results.model_copy(update={"input": ""})).good
