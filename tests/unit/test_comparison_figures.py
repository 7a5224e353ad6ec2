import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_hex
from matplotlib.text import Text

from ndsc.errors import InputError
from ndsc.fit import GapSettings
from ndsc.force_constants import phonons_from_supercells
from ndsc.phonons import PhononComparison, band_path, compare_phonons
from ndsc.report import (
    DispersionPanel,
    LearningStep,
    branch_errors,
    density_data,
    dispersion_comparison_figure,
    dispersion_data,
    dispersion_figure,
    dispersion_stack_figure,
    elastic_errors_data,
    elastic_errors_figure,
    error_distribution_figure,
    learning_curve_figure,
    learning_curve_summary,
    learning_dispersion_figure,
    markdown_table,
    mesh_data,
    phonon_error_figure,
    save_figure,
    worst_qpoints,
    write_data,
)
from ndsc.report.published import published
from ndsc.report.style import SERIES, plain
from ndsc.report.tables import csv_text, escape_markdown
from ndsc.results import Comparison, CrystalSummary

CELL = bulk("Al").cell.array
PATH = band_path(bulk("Al"), 40)
QPOINTS = np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.5, 0.5, 0.0], [0.75, 0.75, 0.5]])


def made_up(error=0.1, shift=0.0, dos=True):
    """A comparison whose model is wrong by `error` everywhere but on the zone centre of the mesh."""
    shape = np.sin(np.linspace(0.0, 6.0, len(PATH.qpoints)))[:, None] ** 2
    reference = shape * np.array([3.0, 3.0, 5.0]) + shift
    on_mesh = np.array([[0.0, 0, 0], [2, 2, 3], [3, 3, 5], [2.5, 3, 4]])
    wrong = on_mesh + error * np.array([[0.0], [1], [1], [1]])
    weights = np.array([1.0, 8.0, 3.0, 24.0])
    axis = np.linspace(0.0, 6.0, 30)
    return PhononComparison(
        path=PATH,
        model_path=reference + error,
        reference_path=reference,
        mesh=(4, 4, 4),
        mesh_qpoints=QPOINTS,
        mesh_weights=weights,
        model_mesh=wrong,
        reference_mesh=on_mesh,
        dos_mesh=(4, 4, 4),
        **(dict.fromkeys(("dos_frequencies", "model_dos", "reference_dos"), axis) if dos else {}),
    )


def panel(title="Al", baseline=None, **errors):
    errors = errors or {"GAP": 0.1}
    return DispersionPanel(
        {name: made_up(error) for name, error in errors.items()},
        title=title,
        reference_label="DFT",
        baseline=None if baseline is None else made_up(baseline),
    )


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def assert_saved(figure, data, path, *, tables=1):
    saved = save_figure(figure, data, path)
    assert saved.png.read_bytes().startswith(b"\x89PNG")
    assert saved.png.stat().st_size > 5000
    assert saved.pdf.read_bytes().startswith(b"%PDF")
    assert len(saved.csv) == tables
    return saved


def test_the_legend_has_the_error_of_compare_phonons():
    reference = phonons_from_supercells(bulk("Al"), 2, EMT()).phonopy
    models = {f"a = {a}": phonons_from_supercells(bulk("Al", a=a), 2, EMT()).phonopy for a in (4.07, 4.15)}
    found = {name: compare_phonons(model, reference, path=PATH, mesh=4, dos_mesh=4) for name, model in models.items()}
    drawn = DispersionPanel(found, title="fcc Al", reference_label="EMT")
    texts = legend_texts(dispersion_comparison_figure([drawn]))
    assert texts == [f"{name}, RMSE {c.rmse_mesh_thz:#.3g} THz" for name, c in found.items()] + ["EMT"]


def test_the_density_of_the_first_potential_of_each_panel_is_filled():
    figure = dispersion_comparison_figure([panel("Al", GAP=0.1, other=0.2), panel("Mg", another=0.3)])
    filled = [[to_hex(area.get_facecolor()[0]) for area in axes.collections] for axes in figure.axes]
    assert [colours for colours in filled if colours] == [[SERIES[0].lower()], [SERIES[2].lower()]]


def test_dispersion_data_are_what_was_passed(tmp_path):
    drawn = panel(NDSC=0.1, DSC=-0.5, baseline=0.3)
    figure = dispersion_comparison_figure([drawn])
    saved = assert_saved(figure, {"": dispersion_data(drawn), "dos": density_data(drawn)}, tmp_path / "al", tables=2)
    assert [path.name for path in saved.csv] == ["al.csv", "al-dos.csv"]
    rows = rows_of(saved.csv[0].read_text())
    assert len(rows) == 4 * len(PATH.qpoints) * 3
    assert list(dict.fromkeys((row["curve"], row["kind"]) for row in rows)) == [
        ("DFT", "reference"), ("NDSC", "potential"), ("DSC", "potential"), ("harmonic model", "baseline"),
    ]  # fmt: skip
    for curves in drawn.curves():
        written = [float(row["frequency_thz"]) for row in rows if row["curve"] == curves.name]
        np.testing.assert_allclose(np.reshape(written, (-1, 3)), curves.path, rtol=1e-9, atol=1e-12)
    of_one = [row for row in rows if row["curve"] == "DSC" and row["branch"] == "1"]
    np.testing.assert_allclose([float(row["distance_per_angstrom"]) for row in of_one], PATH.distances, rtol=1e-9)
    assert tuple(row["label"] for row in of_one if row["label"]) == PATH.labels
    assert {row["curve"] for row in rows_of(saved.csv[1].read_text())} == {"DFT", "NDSC", "DSC", "harmonic model"}
    # Imaginary frequencies are negative numbers, in the file and in the figure.
    assert min(float(row["frequency_thz"]) for row in of_one) < -0.4
    assert figure.axes[0].get_ylim()[0] < -0.4


def test_the_path_of_a_stored_comparison_keeps_its_names_and_jumps():
    """Distances are rounded when they are stored, ticks are not."""
    stored = PhononComparison.from_dict(made_up().to_dict())
    drawn = DispersionPanel({"GAP": stored})
    table = dispersion_data(drawn)
    names = table[(table.branch == 1) & (table.kind == "reference")].label
    assert tuple(name for name in names if name) == PATH.labels
    black = [line for line in dispersion_comparison_figure([drawn]).axes[0].lines if line.get_color() == "#000000"]
    jump = PATH.distances[PATH.segments[1][0]]
    assert any(np.allclose(line.get_xdata(), jump) for line in black if len(line.get_xdata()) == 2)


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first, second = (
        save_figure(dispersion_comparison_figure([panel()]), dispersion_data(panel()), tmp_path / name)
        for name in ("one", "two")
    )
    assert first.svg == second.svg
    for one, two in zip((first.png, first.pdf, *first.csv), (second.png, second.pdf, *second.csv), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_grids_of_crystals(tmp_path):
    with_density, without = panel("Al", GAP=0.1), panel("Mg", other=0.2)
    bare = dataclasses.replace(without, comparisons={"other": made_up(0.2, dos=False)})
    figure = dispersion_comparison_figure([with_density, bare, panel("Si", GAP=float("nan"))])
    # Two panels with a density of states, one without.
    assert len(figure.axes) == 5
    assert legend_texts(figure) == ["GAP", "other", "DFT"]
    above = [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
    assert above == [f"{made_up(error).rmse_mesh_thz:#.2g}" for error in (0.1, 0.2)] + ["not finite"]
    # A potential keeps its colour from panel to panel.
    colours = {handle.get_label(): handle.get_color() for handle in figure.legends[0].get_lines()}
    assert colours["other"] in {line.get_color() for line in figure.axes[2].lines}
    assert colours["GAP"] not in {line.get_color() for line in figure.axes[2].lines if len(line.get_xdata())}
    assert_saved(figure, dispersion_data([with_density, bare]), tmp_path / "grid")
    assert len(density_data(bare)) == 0
    assert len(dispersion_comparison_figure([with_density], density=False).axes) == 1


def test_a_potential_that_goes_astray_does_not_flatten_the_reference():
    axes = dispersion_comparison_figure([panel(bad=-80.0, good=0.1)]).axes[0]
    assert axes.get_ylim()[0] == pytest.approx(-1.08 * np.max(made_up().reference_path))
    assert "cut off, down to −80 THz" in axes.texts[0].get_text()
    # What is zero but for rounding is neither imaginary nor cut off.
    assert not dispersion_comparison_figure([panel(good=-1e-7)]).axes[0].texts


def test_stacked_panels(tmp_path):
    panels = [panel(f"η = {eta:g}", GAP=error) for eta, error in ((0.0, -0.3), (0.5, 0.1), (1.0, 0.2))]
    figure = dispersion_stack_figure(panels)
    titles = [axes.texts[-1].get_text() for axes in figure.axes]
    assert titles == [
        f"η = {eta:g}\nRMSE\n{made_up(error).rmse_mesh_thz:#.3g} THz"
        for eta, error in ((0.0, -0.3), (0.5, 0.1), (1.0, 0.2))
    ]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert_saved(figure, dispersion_data(panels), tmp_path / "bain")
    assert len({axes.get_ylim() for axes in dispersion_stack_figure(panels, share_frequencies=False).axes}) == 3


def test_panels_that_do_not_fit_together():
    with pytest.raises(InputError, match="different references"):
        DispersionPanel({"a": made_up(0.1), "b": made_up(0.1, shift=0.5)})
    cut = dataclasses.replace(made_up(), path=dataclasses.replace(PATH, qpoints=PATH.qpoints[:-1]))
    with pytest.raises(InputError, match="different paths"):
        DispersionPanel({"a": made_up(0.1), "b": cut})
    same = DispersionPanel({"DFT": made_up()}, baseline=made_up(), reference_label="DFT", baseline_label="DFT")
    assert [curve.name for curve in same.curves()] == ["DFT (reference)", "DFT", "DFT (baseline)"]
    with pytest.raises(InputError, match="at least one comparison"):
        DispersionPanel({})
    for draw in (dispersion_comparison_figure, dispersion_stack_figure):
        with pytest.raises(InputError, match="at least one panel"):
            draw([])


def test_the_baseline_of_a_run():
    figure = dispersion_figure(panel(GAP=0.1, baseline=0.4))
    texts = [text.get_text() for text in figure.axes[3].get_legend().get_texts()]
    assert texts == [
        f"GAP {made_up(0.1).rmse_mesh_thz:#.3g}", f"harmonic model {made_up(0.4).rmse_mesh_thz:#.3g}", "DFT",
    ]  # fmt: skip
    grey = [line for line in figure.axes[0].lines if line.get_color() == "#8C8C8C"]
    drawn = np.concatenate([line.get_ydata() for line in grey])
    assert drawn.max() == pytest.approx(made_up(0.4).model_path.max())
    assert not [line for line in dispersion_figure(panel()).axes[0].lines if line.get_color() == "#8C8C8C"]


def steps(*errors):
    return [LearningStep(10 * (i + 1), 100 * (i + 1), panel(GAP=error)) for i, error in enumerate(errors)]


def test_learning_dispersions(tmp_path):
    left, right = steps(0.4, 0.1), steps(0.8, float("nan"))
    figure = learning_dispersion_figure({"(a)": left, "(b)": right})
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"10", "20", "100", "200", f"{made_up(0.4).rmse_mesh_thz:#.2g}", "not finite"} <= set(written)
    assert {axes.get_title() for axes in figure.axes} == {"(a)", "(b)", ""}
    assert_saved(figure, dispersion_data(left[0].panel), tmp_path / "learning")
    assert len(learning_dispersion_figure({"(a)": left}).axes) == 4
    with pytest.raises(InputError, match="differ"):
        learning_dispersion_figure({"a": left, "b": right[:1]})
    for columns in ({}, {"a": []}, dict.fromkeys("abc", left)):
        with pytest.raises(InputError, match="one or two columns"):
            learning_dispersion_figure(columns)


def learned(*rows):
    columns = ["series", "labels", "rmse_mesh_thz", "seed", "atoms", "seconds"]
    return pd.DataFrame(rows, columns=columns).astype({"atoms": float, "seconds": float})


def test_learning_curves(tmp_path):
    fits = learned(
        *(("a", 10, 0.1 * (seed + 1), seed, 40 + seed, 9.0) for seed in range(3)),
        *(("a", 20, error, seed, 80, None) for seed, error in enumerate((0.05, np.nan, np.inf))),
        ("b", 10, 0.2, 0, None, None),
    )
    summary = learning_curve_summary(fits)
    median = list(summary.itertuples(index=False, name=None))
    assert median[0] == pytest.approx(("a", 10, 41.0, 9.0, 3, 0, 0.2, 0.15, 0.25, 0.1, 0.3))
    # Two of three seeds have no phonons: neither has the median.
    assert median[1][4:7] == (3, 2, np.inf)
    assert np.isnan(median[2][2:4]).all()
    figure = learning_curve_figure(fits)
    assert [axes.get_xlabel() for axes in figure.axes] == ["labels", "labelled atoms", "time of the labels (s)"]
    assert legend_texts(figure) == ["a", "b"]
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in crosses] == [[20.0]]
    saved = assert_saved(figure, {"": fits, "median": summary}, tmp_path / "curve", tables=2)
    assert rows_of(saved.csv[0].read_text())[4]["rmse_mesh_thz"] == ""
    assert rows_of(saved.csv[1].read_text())[1]["rmse_median_thz"] == ""
    assert len(learning_curve_figure(fits[fits.series == "b"]).axes) == 1
    with pytest.raises(InputError, match="Choose from labels"):
        learning_curve_figure(fits, over=["money"])
    with pytest.raises(InputError, match="at least one fit"):
        learning_curve_figure(fits[:0])


def constants(**values):
    return {name: Comparison.of(100.0 + error, 100.0) for name, error in values.items()}


def test_elastic_errors_of_a_potential_without_constants():
    nothing = {name: Comparison.of(None, 100.0) for name in ("C11", "C44")}
    axes = elastic_errors_figure(elastic_errors_data({"GAP": nothing})).axes[0]
    assert [line.get_marker() for line in axes.lines].count("x") == 2
    assert axes.get_ylim() == (-1.0, 1.0)


def test_elastic_errors_of_crystals_and_of_seeds(tmp_path):
    crystals = {
        "Mg": constants(C11=1.0, C13=-2.0, B=0.5),
        "Al": {**constants(C11=-3.0), "C44": Comparison(reference=30.0), "C14": Comparison.of(0.1, 0.0)},
    }
    figure = elastic_errors_figure(elastic_errors_data(crystals))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["$B$", "$C_{11}$", "$C_{13}$", "$C_{44}$"]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.5, 1, -2, 0, 0, -3, 0, 0])
    # The potential has no C44: a cross; C14 has no reference: nothing.
    assert sum(line.get_marker() == "x" for line in axes.lines) == 1
    saved = assert_saved(figure, elastic_errors_data(crystals), tmp_path / "elastic")
    rows = rows_of(saved.csv[0].read_text())
    assert rows[0] == {
        "series": "Mg", "seed": "0", "constant": "C11", "model_gpa": "101", "reference_gpa": "100",
        "error_percent": "1",
    }  # fmt: skip
    assert [row["error_percent"] for row in rows if row["constant"] in ("C44", "C14")] == ["", ""]
    seeds = {"static": [constants(C11=error) for error in (5.0, 7.0, 6.5)], "adaptive": [constants(C11=-0.01)]}
    axes = elastic_errors_figure(elastic_errors_data(seeds)).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([6.5, -0.01])
    assert [text.get_text() for text in axes.texts] == ["+6.5", "+0.0"]
    spread = next(
        line.get_ydata() for line in axes.lines if line.get_marker() == "None" and len(set(line.get_xdata())) == 1
    )
    assert list(spread) == pytest.approx([5.0, 7.0])
    assert elastic_errors_data(seeds)["seed"].tolist() == [0, 1, 2, 0]
    assert not elastic_errors_figure(elastic_errors_data({"GAP": constants(C11=1.0)})).legends
    with pytest.raises(InputError, match="no elastic constants"):
        elastic_errors_figure(elastic_errors_data({"GAP": {"C14": Comparison.of(1.0, 0.0)}}))


def test_errors_by_branch_and_qpoint(tmp_path):
    comparison = made_up(0.1)
    model = comparison.model_mesh.copy()
    model[2, 1] += 0.5
    model[1, 0] = np.nan
    wrong = dataclasses.replace(comparison, model_mesh=model)
    worst = worst_qpoints(wrong, 3)
    assert worst.qpoint.tolist() == ["(1/4 0 0)", "(1/2 1/2 0)", "(3/4 3/4 1/2)"]
    assert worst.branch.tolist()[:2] == [1, 2]
    assert worst.error_thz[1] == pytest.approx(0.6)
    branches = branch_errors(comparison)
    # Together the branches are the error of the whole mesh.
    assert np.sqrt(np.mean(np.square(branches.rmse_thz))) == pytest.approx(comparison.rmse_mesh_thz)
    assert branches.max_error_thz.tolist() == pytest.approx([0.1] * 3)
    data = mesh_data(wrong, cell=CELL)
    assert len(data) == 12
    np.testing.assert_allclose(np.reshape(data.reference_thz, (4, 3)), comparison.reference_mesh)
    # (3/4 3/4 1/2) is (-1/4 -1/4 1/2) in the first zone, no longer than any equivalent.
    shifts = np.stack(np.meshgrid(*[range(-2, 3)] * 3), -1).reshape(-1, 3)
    shortest = np.linalg.norm((QPOINTS[3] + shifts) @ np.linalg.inv(CELL).T, axis=1).min()
    assert data.q_per_angstrom.iloc[-1] == pytest.approx(shortest)
    assert set(rows_of(csv_text(mesh_data(wrong)))[0].items()) >= {("q_per_angstrom", ""), ("weight", "1")}
    assert_saved(phonon_error_figure(wrong, cell=CELL, title="Al"), data, tmp_path / "errors")
    assert len(phonon_error_figure(comparison, cell=[]).axes) == 4
    with pytest.raises(InputError, match="no reciprocal lattice"):
        mesh_data(comparison, cell=np.zeros((3, 3)))


def test_distribution_of_errors():
    figure = error_distribution_figure({"GAP": made_up(0.1), "harmonic": made_up(0.4)})
    assert legend_texts(figure) == [
        f"{name}, RMSE {made_up(e).rmse_mesh_thz:#.3g} THz" for name, e in (("GAP", 0.1), ("harmonic", 0.4))
    ]
    # 35 of 36 q-points, all but the zone centre, have the whole error.
    assert max(figure.axes[0].lines[0].get_ydata()) == pytest.approx(35 / 36)
    with pytest.raises(InputError, match="at least one comparison"):
        error_distribution_figure({})


def test_tables_of_data(tmp_path):
    table = pd.DataFrame({"name": ["a,b", None], "value_thz": [1 / 3, np.inf], "number": [7, 8]})
    assert csv_text(table) == 'name,value_thz,number\n"a,b",0.3333333333,7\n,,8\n'
    assert csv_text(pd.DataFrame({"x": [-0.0, 1e-12, 12345678901.5]})) == "x\n0\n1e-12\n1.23456789e+10\n"
    assert write_data({"": table, "more": table}, tmp_path / "x") == (tmp_path / "x.csv", tmp_path / "x-more.csv")
    assert csv_text(pd.DataFrame(columns=["a", "b"])) == "a,b\n"


def test_markdown_tables():
    assert markdown_table(("name", "x"), [("a|b", None), ("c", 1)]) == (
        "| name | x |\n| --- | ---: |\n| a\\|b | – |\n| c | 1 |\n"
    )
    with pytest.raises(InputError, match="1 cells for 2 columns"):
        markdown_table(("a", "b"), [("x",)])
    assert escape_markdown("<b> $x$ [a](b) n_max _it_ a|b") == r"\<b\> \$x\$ \[a\](b) n_max \_it\_ a\|b"
    assert markdown_table(("x",), [(escape_markdown("a|b"),)]).splitlines()[2] == r"| a\|b |"


STRANGE = ["$x$", "$\\alpha", "_hidden", "[bold]", "<b>&", "a_{1}^2", "η 晶体", "100 % $ 5 $"]


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")  # Matplotlib 3.10, long names
def test_names_are_drawn_as_they_are(tmp_path):
    """No name is read as a formula, hidden from a legend, or an error."""
    errors = dict.fromkeys(STRANGE, 0.1)
    drawn = [
        dispersion_comparison_figure([panel(STRANGE[0], **errors), panel(STRANGE[1], **errors)]),
        learning_dispersion_figure({STRANGE[0]: [LearningStep(1, 1, panel(STRANGE[0], **{STRANGE[0]: 0.1}))]}),
        elastic_errors_figure(elastic_errors_data({name: constants(C11=1.0) for name in STRANGE})),
        learning_curve_figure(learned(*((name, 10, 0.1, 1, 1, 1.0) for name in STRANGE)), over=["labels"]),
        error_distribution_figure({name: made_up() for name in STRANGE}),
    ]
    for number, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{number}.png", dpi=20)
        texts = [text.get_text() for text in figure.findobj(Text)]
        for name in STRANGE[:1] if number == 1 else STRANGE:
            assert any(plain(name) in text for text in texts), (number, name)
    for name in STRANGE:
        # What is_math_text lets through has no formula, and its dollars are drawn.
        assert not is_math_text(plain(name))
    saved = save_figure(dispersion_figure(panel(STRANGE[-2], **{STRANGE[2]: 0.1})), None, tmp_path / "run")
    assert saved.png.stat().st_size > 5000


# The paper's hyperparameters (Table 2): cutoff, n_max, l_max.
PAPER_FITS = {"Mg": (8.0, 8, 6), "Al": (10.0, 10, 8), "Si": (6.0, 8, 6), "W": (6.0, 8, 6)}


@pytest.mark.parametrize(
    ("name", "formula", "number"), [("Mg", "Mg2", 194), ("Al", "Al", 225), ("Si", "Si2", 227), ("W", "W", 229)]
)
def test_the_paper_agrees_with_itself_and_with_the_presets(name, formula, number):
    paper = published(CrystalSummary(formula=formula, n_atoms=1, space_group_number=number))
    settings = GapSettings(preset=name)
    assert (settings.cutoff, settings.n_max, settings.l_max) == PAPER_FITS[name]
    assert set(paper.potential) == set(paper.reference)
    for constants_of in (paper.reference, paper.potential):
        if "C33" not in constants_of:
            # Cubic: B = (C11 + 2 C12) / 3, to the rounding of the table.
            bulk_modulus = (constants_of["C11"] + 2 * constants_of["C12"]) / 3
            assert bulk_modulus == pytest.approx(constants_of["bulk modulus"], abs=0.11)
