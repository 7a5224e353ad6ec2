"""Figures in a page: the SVG in its markup, and what the page's script needs to know of it.

The script (``templates/plot.js``) adds to a picture what a reader can do with it: numbers where the pointer is, zoom,
curves to hide, files to save. It draws nothing itself. Layers say what there is to point at.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndsc.errors import InternalError
from ndsc.phonon_path import BandPath
from ndsc.report.bands import DispersionPanel
from ndsc.report.elastic_errors import in_order
from ndsc.report.figures import COST_BARS
from ndsc.report.predicted import PredictedCurves
from ndsc.report.style import SavedFigure
from ndsc.report.tables import csv_text
from ndsc.report.text import number, seconds, significant

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.results import CostSummary

FloatArray = NDArray[np.float64]
#: What there is to point at in one panel of a figure, for the script.
Layer = dict[str, Any]

#: Points of a panel that can be pointed at; of more, those with the largest values.
MOST_POINTS = 2000
#: How a page is made smaller, step after step until it is below 2 MB: large tables are left out, fewer points
#: can be pointed at, and pictures of very many curves become PNG.
MOST_BYTES, DETAILS = 2_000_000, (0, 1, 2, 3)
_SMALL_TABLE_BYTES, _FEW_POINTS, _FEW_FREQUENCIES, _LARGE_PICTURE_BYTES = 10_000, 400, 20_000, 450_000
#: Pixels of a page for each point of a figure, at least and at most; a narrower page scrolls it.
_PIXELS = (1.1, 1.6)
#: Tables that are larger than this when compressed (bytes) are left out of a page; they are files beside it.
MOST_TABLE_BYTES = 150_000


def inline_svg(svg: bytes, name: str, description: str) -> str:
    """The markup of a figure inside a page; identifiers begin with `name`, so that those of two figures differ.

    Artists whose ``gid`` is ``curve:NAME`` (:func:`ndsc.report.style.curve_id`) become elements with ``data-curve``.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, count=1, flags=re.DOTALL)
    # Its rules would hold for the whole page; report.css has them.
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' id="curve:([^"]*)"', r' data-curve="\1"', text)
    text = re.sub(r' id="([^"]*)"', rf' id="{name}-\1"', text)
    text = re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", text)
    # Hundredths of a point are enough.
    text = re.sub(r' (d|x|y)="([^"]*)"', lambda found: f' {found[1]}="{_short(found[2])}"', text)
    found = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', text)
    if found is None:
        raise InternalError("A figure has no viewBox. This is a bug: please report it.")
    width = float(found[1])
    style = f"width: {_PIXELS[1] * width:.0f}px; min-width: {_PIXELS[0] * width:.0f}px"
    opening = f'<svg {found[0]} style="{style}" role="img" aria-label="{_attribute(description)}">'
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1).strip()


def _short(numbers: str) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", numbers.replace("\n", " "))


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


@dataclass(frozen=True, eq=False)
class PageFigure:
    """A figure of a page.

    Attributes
    ----------
    saved : SavedFigure
    layers : sequence of Layer
        What there is to point at.
    tables : mapping of str to DataFrame
        The data of the figure by the name of their file, to be saved from the page; large ones are left out.
    detail : int
        What is left out, out of `DETAILS`.
    """

    saved: SavedFigure
    layers: Sequence[Layer] = ()
    tables: Mapping[str, DataFrame] = field(default_factory=dict)
    detail: int = 0

    def svg(self, name: str, description: str) -> str:
        """The markup of the picture (see :func:`inline_svg`); with little detail a large one is a PNG inside."""
        text = inline_svg(self.saved.svg, name, description)
        if self.detail < 3 or len(text) < _LARGE_PICTURE_BYTES:
            return text
        packed = base64.b64encode(self.saved.png.read_bytes()).decode("ascii")
        opening = text[: text.index(">") + 1]
        return f'{opening}<image width="100%" height="100%" href="data:image/png;base64,{packed}"/></svg>'

    def json(self) -> str:
        """What the script needs to know, as JSON that may stand in a script element."""
        files = {name: _packed(table) for name, table in self.tables.items()}
        most = MOST_TABLE_BYTES if self.detail < 1 else _SMALL_TABLE_BYTES
        document = {
            "panels": self.saved.panels,
            "layers": [layer if self.detail < 2 else _thinned(layer) for layer in self.layers],
            "files": {name: packed for name, packed in files.items() if len(packed) <= most},
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")


def _thinned(layer: Layer) -> Layer:
    """A layer with fewer points, evenly chosen; of branches with fewer q-points."""
    if "x" not in layer:
        return layer
    number, most = len(layer["x"]), _FEW_POINTS
    if layer["kind"] == "bands":
        most = _FEW_FREQUENCIES // max(1, sum(len(curve["y"][0]) for curve in layer["curves"]))
    step = max(1, -(-number // max(most, 1)))
    found = layer | {name: layer[name][::step] for name in ("x", "y", "at", "text") if name in layer}
    if "curves" in layer:
        found["curves"] = [curve | {"y": curve["y"][::step]} for curve in layer["curves"]]
    return found


def _packed(table: DataFrame) -> str:
    """A table as CSV, compressed with gzip without a date, in base64."""
    return base64.b64encode(gzip.compress(csv_text(table).encode("utf-8"), mtime=0)).decode("ascii")


def numbers(values: Any, digits: int = 5) -> list[Any]:
    """An array as rounded numbers for JSON; what is not finite is None."""
    array = np.round(np.asarray(values, dtype=float), digits) + 0.0
    return [numbers(row, digits) if row.ndim else (float(row) if np.isfinite(row) else None) for row in array]


def points(panel: int, x: Any, y: Any, text: Sequence[str], *, curve: str = "", zoom: bool = True) -> Layer:
    """Points of a panel with a text for each."""
    return {
        "kind": "points", "panel": panel, "curve": curve, "zoom": zoom,
        "x": numbers(x), "y": numbers(y), "text": list(text),
    }  # fmt: skip


def dispersion_layers(panel: DispersionPanel, *, errors: int | None = 1, density: int = 2) -> list[Layer]:
    """Branches of the first panel of a dispersion figure, their errors in another, and densities of states beside."""
    path, curves = panel.path, panel.curves()
    names = _places(path)
    bands = {
        "kind": "bands", "panel": 0, "zoom": True, "unit": "THz", "x": numbers(path.distances, 6), "at": names,
        "curves": [{"name": curve.name, "y": numbers(curve.path)} for curve in curves],
    }  # fmt: skip
    layers: list[Layer] = [bands]
    if errors is not None:
        layers.append({"kind": "errors", "panel": errors, "zoom": True, "of": 0})
    for curve in curves:
        if curve.dos is None or curve.kind == "baseline":
            continue
        frequencies, dos = np.asarray(curve.dos_frequencies), np.asarray(curve.dos)
        text = [
            f"{curve.name}: {number(d, 4)} per THz at {number(f)} THz" for f, d in zip(frequencies, dos, strict=True)
        ]
        layers.append(points(density, dos, frequencies, text, curve=curve.name))
    return layers


def predicted_layers(predicted: PredictedCurves, name: str) -> list[Layer]:
    """Branches of a dispersion that nothing is compared with, with the standard deviation that is expected."""
    path = predicted.path
    curves = [
        {"name": name, "y": numbers(predicted.path_frequencies)},
        {"name": "expected error", "y": numbers(predicted.path_deviations), "hidden": True},
    ]
    bands = {
        "kind": "bands", "panel": 0, "zoom": True, "unit": "THz", "x": numbers(path.distances, 6),
        "at": _places(path), "curves": curves,
    }  # fmt: skip
    return [bands]


def error_layers(mesh: DataFrame) -> list[Layer]:
    """The modes in the figure of errors, those with the largest errors where there are many."""
    shown = mesh.assign(size=mesh.error_thz.abs()).nlargest(MOST_POINTS, "size").sort_values("reference_thz")
    text = [
        f"q {_q((row.q1, row.q2, row.q3))}, branch {row.branch}\npotential {number(row.model_thz)} THz\n"
        f"reference {number(row.reference_thz)} THz\nerror {_signed(row.error_thz)} THz"
        for row in _rows(shown)
    ]
    # The axes before it are the strips of the branches and their bar of colours.
    return [points(2, shown.reference_thz, shown.error_thz, text)]


def parity_layers(table: DataFrame) -> list[Layer]:
    """The targets in the upper panels of the figure of parity, those with the largest errors where there are many."""
    layers = []
    names = ("energy_ev_per_atom", "force_ev_per_angstrom", "virial_ev_per_atom")
    for place, (quantity, unit) in enumerate(zip(names, ("meV/atom", "meV/Å", "meV/atom"), strict=True)):
        part = table[(table.quantity == quantity) & table.reference.notna() & table.model.notna()]
        if part.empty:
            continue
        shift = float(part.reference.mean()) if place == 0 else 0.0
        part = part.assign(size=(part.model - part.reference).abs()).nlargest(MOST_POINTS // 2, "size")
        part = part.sort_values("reference")
        text = []
        for row in _rows(part):
            where = f"{row.config_type}, configuration {row.configuration}"
            where += f", atom {int(row.atom)}" if np.isfinite(row.atom) else ""
            where += f", {row.component}" if isinstance(row.component, str) else ""
            error = _signed(1e3 * (row.model - row.reference), 2)
            text.append(f"{where}\nreference {number(1e3 * (row.reference - shift), 2)} {unit}\nerror {error} {unit}")
        layers.append(points(2 * place, 1e3 * (part.reference - shift), 1e3 * (part.model - shift), text))
    return layers


def choice_layers(data: DataFrame) -> list[Layer]:
    """Predicted and true errors over the number of labels, a panel for each quantity that has any."""
    layers = []
    quantities = (
        ("predicted_rmse_thz", "true_rmse_thz", "THz"),
        ("predicted_elastic_percent", "true_elastic_percent", "%"),
    )
    shown = [one for one in quantities if data[one[0]].notna().any()]
    for place, (predicted, true, unit) in enumerate(shown):
        for column, name in ((predicted, "predicted"), (true, "true")):
            known = data[data[column].notna()]
            text = [
                f"{row.labels} labels, {seconds(row.seconds)}\n{name}: {significant(getattr(row, column))} {unit}"
                for row in _rows(known)
            ]
            if len(known):
                layers.append(points(place, known.labels, known[column], text, curve=name))
    return layers


def learning_layers(data: DataFrame, over: Sequence[str]) -> list[Layer]:
    """The points of a learning curve (:func:`ndsc.report.compare.learning_data`), a panel for each of `over`."""
    layers = []
    for panel, quantity in enumerate(over):
        for series in data.series.unique():
            known = data[(data.series == series) & (data[quantity] > 0) & data.rmse_mesh_thz.notna()]
            text = []
            for row in _rows(known):
                time = "" if np.isnan(row.seconds) else f", {seconds(row.seconds)}"
                name = series if row.run in series else row.run
                text.append(f"{name}\n{int(row.labels)} labels{time}\nRMSE {significant(row.rmse_mesh_thz)} THz")
            if len(known):
                layers.append(points(panel, known[quantity], known.rmse_mesh_thz, text, curve=series))
    return layers


def elastic_layers(data: DataFrame) -> list[Layer]:
    """The bars of the elastic constants, in the order in which they are drawn."""
    known = data[data.reference_gpa.notna() & (data.reference_gpa != 0) & data.error_percent.notna()]
    text = [
        f"{row.constant}: {number(row.model_gpa, 2)}, reference {number(row.reference_gpa, 2)}\n"
        f"error {_signed(row.error_percent, 2)} %"
        for row in _rows(known)
    ]
    order = in_order(known.constant)
    place = [order.index(name) for name in known.constant]
    return [points(0, place, known.error_percent, text, zoom=False)]


def cost_layers(data: DataFrame, cost: CostSummary) -> list[Layer]:
    """The bars of the cost figure that have a time."""
    if cost.labels == 1:
        data = data[data.what != "diagonal supercell, as often as the database"]
    known = data[data.seconds.notna()].reset_index(drop=True)
    text = []
    for row in _rows(known):
        low, high = row.seconds_low, row.seconds_high
        spread = f" ({seconds(low)} to {seconds(high)})" if high > low else ""
        what = COST_BARS[row.what].format(n=row.calculations, atoms=cost.diagonal_atoms)
        text.append(f"{what}\n{seconds(row.seconds)}{spread}")
    return [points(0, known.seconds, np.arange(len(known)), text, zoom=False)] if len(known) else []


def zone_layers(data: DataFrame, places: FloatArray) -> list[Layer]:
    """The q-points in the picture of the Brillouin zone, with the supercells that hold them."""
    text = []
    for row in _rows(data):
        held = row.holders.replace(" ", ", ") or f"s{row.supercell:03d} after a rotation"
        text.append(f"q {_q((row.q1, row.q2, row.q3))}\nheld by {held}")
    layers = []
    for supercell in sorted(data.supercell.unique()):
        chosen = np.flatnonzero((data.supercell == supercell).to_numpy())
        some = [text[index] for index in chosen]
        layers.append(points(0, places[chosen, 0], places[chosen, 1], some, curve=f"s{supercell:03d}", zoom=False))
    return layers


def _rows(table: DataFrame) -> Iterator[Any]:
    return table.itertuples()


def _places(path: BandPath) -> list[str]:
    """The q-points of a path in text, with the names of the special points."""
    return [f"{f' {label}' if label else ''} {_q(q)}" for label, q in zip(path.names, path.qpoints, strict=True)]


def _q(q: Sequence[float] | FloatArray) -> str:
    return f"({' '.join(f'{round(float(part), 4) + 0.0:g}' for part in q)})".replace("-", "−")


def _signed(value: float, digits: int = 4) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")
