"""The page of a run: its figures, what its script knows of them, and what a browser makes of it."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from test_report import comparison, predictions, reported  # noqa: F401

from ndsc.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def page(reported):  # noqa: F811
    return (reported / "report.html").read_text(encoding="utf-8")


def plots_of(page):
    """What the script is told of each figure."""
    pairs = re.findall(
        r'<figure class="plot[^>]*id="(\w+)".*?<script type="application/json">(.*?)</script>', page, re.S
    )
    return {name: json.loads(text) for name, text in pairs}


@pytest.fixture(scope="module")
def plots(page):
    return plots_of(page)


class Reader(HTMLParser):
    """Identifiers, addresses, pictures and headings of a page."""

    def __init__(self):
        super().__init__()
        self.ids, self.addresses, self.levels, self.figures, self.captions = [], [], [], 0, 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.addresses += [value for name, value in attributes.items() if name in ("src", "href", "xlink:href")]
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.figures += tag == "figure"
        self.captions += tag == "figcaption"
        if tag == "svg":
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"]) > 20


def test_page_is_whole_in_itself_and_small(page):
    reader = Reader()
    reader.feed(page)
    assert len(page.encode()) < MOST_BYTES
    assert len(set(reader.ids)) == len(reader.ids)
    # Only from one part of a figure to another; what has many points is a picture inside the figure.
    inside = [address for address in reader.addresses if not address.startswith("data:image/png;base64,")]
    assert all(address.startswith("#") for address in inside)
    assert {address[1:] for address in inside} <= set(reader.ids)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", page)
    assert reader.figures == reader.captions == 6
    assert reader.levels[0] == 1
    assert max(np.diff(reader.levels)) <= 1
    assert re.search(r"prefers-color-scheme: dark", page)


def test_figures_are_well_formed_and_cut_off_at_their_own_frames(page):
    figures = re.findall(r"<svg .*?</svg>", page, re.S)
    assert len(figures) == 6
    for text in figures:
        svg = ElementTree.fromstring(text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
        ids = {one.get("id") for one in svg.iter()}
        used = re.findall(r"url\(#([^)]*)\)", text)
        assert used or "zone" in text
        assert set(used) <= ids


def test_frequencies_in_the_page_are_those_of_the_comparison(plots, comparison):  # noqa: F811
    bands = plots["dispersion"]["layers"][0]
    reference, model = (np.array(curve["y"]) for curve in bands["curves"][:2])
    np.testing.assert_allclose(reference, comparison.reference_path, atol=1e-5)
    np.testing.assert_allclose(model, comparison.model_path, atol=1e-5)
    np.testing.assert_allclose(bands["x"], comparison.path.distances, atol=1e-6)
    assert bands["at"][0] == " Γ (0 0 0)"
    # The largest error of results.json is among the modes that can be pointed at, and so is its root mean square.
    modes = plots["errors"]["layers"][0]
    assert max(map(abs, modes["y"])) == pytest.approx(
        np.abs(comparison.model_mesh - comparison.reference_mesh).max(), abs=1e-5
    )
    weights = comparison.path.weights
    rmse = np.sqrt(np.average(np.mean((model - reference) ** 2, axis=1), weights=weights))
    assert rmse == pytest.approx(comparison.rmse_path_thz, abs=1e-4)


def test_tables_in_the_page_are_the_files_beside_it(plots, reported):  # noqa: F811
    files = {name: packed for plot in plots.values() for name, packed in plot["files"].items()}
    assert files.keys() == {
        "path.csv",
        "dos.csv",
        "mesh.csv",
        *(f"{n}.csv" for n in ("parity", "elastic", "zone", "cost")),
    }
    for name, packed in files.items():
        folder = "phonons" if name in ("path.csv", "dos.csv", "mesh.csv") else "figures"
        assert gzip.decompress(base64.b64decode(packed)) == (reported / folder / name).read_bytes()


def test_points_lie_inside_their_panels(plots):
    for plot in plots.values():
        for layer in plot["layers"]:
            panel = plot["panels"][layer["panel"]]
            left, top, right, bottom = panel["box"]
            assert left < right
            assert top < bottom
            if layer["kind"] != "points":
                continue
            assert len(layer["x"]) == len(layer["y"]) == len(layer["text"])
            low, high = sorted(panel["x"]["limits"])
            assert all(low <= x <= high for x in layer["x"] if x is not None)


def test_a_page_that_would_be_large_has_less_detail(reported, plots, tmp_path, monkeypatch):  # noqa: F811
    folder = tmp_path / "run"
    shutil.copytree(reported, folder)
    monkeypatch.setattr("ndsc.report.page.MOST_BYTES", 0)
    monkeypatch.setattr("ndsc.report.interactive._FEW_FREQUENCIES", 600)
    monkeypatch.setattr("ndsc.report.interactive._LARGE_PICTURE_BYTES", 60_000)
    write_report(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    less = plots_of(text)
    assert less.keys() == plots.keys()
    bands, whole = less["dispersion"]["layers"][0], plots["dispersion"]["layers"][0]
    step = round(len(whole["x"]) / len(bands["x"]))
    assert step > 1
    assert bands["x"] == whole["x"][::step]
    assert [curve["y"] for curve in bands["curves"]] == [curve["y"][::step] for curve in whole["curves"]]
    assert "path.csv" not in less["dispersion"]["files"]
    pictures = re.findall(r'<image width="100%" height="100%" href="data:image/png;base64,([^"]*)"', text)
    assert len(pictures) >= 1
    assert base64.b64decode(pictures[0]) == (folder / "figures" / "dispersion.png").read_bytes()


#: What a reader does, one step after another; what is found goes into the page, which the browser prints.
SCRIPT = r"""
<pre id="found"></pre><script>
(async () => {
  const found = {}, plots = Object.fromEntries(window.ndscPlots.map((plot) => [plot.name, plot]));
  const { dispersion, zone } = plots, panel = dispersion.panels[0], series = panel.series[1], index = 30;
  found.plots = Object.keys(plots);
  found.overflow = document.documentElement.scrollWidth - window.innerWidth;
  found.width = window.innerWidth;
  const bodies = [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll, .frame"));
  found.wide = bodies.filter((one) => one.getBoundingClientRect().right > window.innerWidth)
    .map((one) => one.outerHTML.slice(0, 80));
  const at = (plot, place) => new DOMPoint(place.x, place.y).matrixTransform(plot.svg.getScreenCTM());
  const point = (plot, type, place, more = {}) => {
    const { x, y } = at(plot, place);
    const mouse = { clientX: x, clientY: y, bubbles: true, pointerType: "mouse", pointerId: 1, ...more };
    plot.svg.dispatchEvent(new PointerEvent(type, mouse));
  };
  dispersion.svg.setPointerCapture = () => {};
  point(dispersion, "pointermove", panel.place(series, index));
  found.tip = dispersion.tip.textContent;
  found.marked = [dispersion.marked.series.curve, dispersion.marked.index];
  // The marker lies on the curve that was drawn.
  const paths = [...dispersion.svg.querySelectorAll(`[data-curve="${series.curve}"] path`)];
  const place = panel.place(series, index);
  found.apart = Math.min(...paths.flatMap((path) => {
    const numbers = path.getAttribute("d").match(/-?[\d.]+/g).map(Number), pairs = [];
    for (let i = 0; i + 3 < numbers.length; i += 2) {
      const [x1, y1, x2, y2] = numbers.slice(i, i + 4), length = (x2 - x1) ** 2 + (y2 - y1) ** 2 || 1;
      const t = Math.min(1, Math.max(0, ((place.x - x1) * (x2 - x1) + (place.y - y1) * (y2 - y1)) / length));
      pairs.push(Math.hypot(x1 + t * (x2 - x1) - place.x, y1 + t * (y2 - y1) - place.y));
    }
    return pairs;
  }));
  // Zoom into the rectangle between two points.
  const before = paths.map((path) => path.getAttribute("d")), { x: across, y: up } = panel.axes;
  const corner = (a, b) => ({ x: across.from + a * (across.to - across.from), y: up.to + b * (up.from - up.to) });
  point(dispersion, "pointerdown", corner(0.25, 0.25), { button: 0 });
  point(dispersion, "pointermove", corner(0.75, 0.5));
  point(dispersion, "pointerup", corner(0.75, 0.5));
  found.shown = [panel.axes.x.shown, panel.axes.y.shown];
  found.whole = [panel.axes.x.whole, panel.axes.y.whole];
  found.below = dispersion.panels[1].axes.x.shown;
  found.beside = dispersion.panels[2].axes.y.shown;
  found.ticks = [...panel.own.querySelectorAll("text")].map((one) => one.textContent);
  // The names of special points move with the curves, and the filled area beside them with its edge.
  found.named = dispersion.panels.map((one) => [one.axes.x.named, one.axes.y.named]);
  const names = dispersion.panels[1].ticks.x.filter((one) => one.group.style.display !== "none");
  found.names = names.map((one) => one.at);
  const box = (one) => { const { top, bottom } = one.getBoundingClientRect(); return [top, bottom]; };
  const beside = dispersion.panels[2].group, area = beside.querySelector("[data-curve] use");
  const edge = [...beside.querySelectorAll(`[data-curve="${area.closest("[data-curve]").dataset.curve}"] path`)];
  found.area = [box(area), box(edge.find((one) => !one.closest("defs")))];
  found.moved = paths.some((path, i) => path.getAttribute("d") !== before[i]);
  dispersion.reset();
  const numbers = (text) => text.match(/-?[\d.]+/g).map(Number);
  found.restored = Math.max(...paths.flatMap((path, i) => {
    const then = numbers(before[i]);
    return numbers(path.getAttribute("d")).map((value, j) => Math.abs(value - then[j]));
  }));
  // Keys, without a pointer.
  const key = (plot, name) => plot.frame.dispatchEvent(
    new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  dispersion.mark(null);
  for (const name of ["ArrowRight", "ArrowRight", "ArrowUp"]) key(dispersion, name);
  found.keyed = [dispersion.marked.index, dispersion.tip.textContent, dispersion.tip.getAttribute("aria-live")];
  key(dispersion, "PageDown");
  found.page = dispersion.marked.panel.index;
  key(dispersion, "Escape");
  found.left = dispersion.marked === null && dispersion.tip.style.display === "none";
  const { frame } = dispersion;
  found.role = [frame.getAttribute("role"), frame.tabIndex, frame.getAttribute("aria-label")];
  // Curves to hide.
  const toggles = [...dispersion.figure.querySelectorAll("button[aria-pressed]")];
  const button = toggles.find((one) => one.textContent === series.curve);
  button.click();
  found.hidden = [button.getAttribute("aria-pressed"), ...new Set(paths.map((path) => path.getClientRects().length))];
  found.saved = dispersion.picture().text.includes(`data-curve="${series.curve}"`);
  button.click();
  // What is saved.
  const files = {};
  for (const plot of Object.values(plots)) plot.save = (blob, name) => { files[name] = blob; };
  zone.saveSvg();
  await zone.savePng();
  const { files: tables } = JSON.parse(zone.figure.querySelector("script").textContent);
  await zone.saveTable("zone.csv", tables["zone.csv"]);
  await new Promise((done) => setTimeout(done, 500));
  found.files = Object.fromEntries(Object.entries(files).map(([name, blob]) => [name, [blob.type, blob.size]]));
  found.csv = await files["zone.csv"].text();
  found.svg = await files["zone.svg"].text();
  // q-points of the zone.
  const some = zone.panels[0].series[0];
  point(zone, "pointermove", zone.panels[0].place(some, 0));
  found.zone = zone.tip.textContent;
  const style = (selector) => getComputedStyle(document.querySelector(selector));
  found.paper = [style("body").backgroundColor, style("#dispersion svg path").fill];
  document.querySelector("#found").textContent = JSON.stringify(found);
})().catch((error) => {
  document.querySelector("#found").textContent = JSON.stringify({ error: String(error.stack) });
});
</script>
"""


def browse(page, folder, width, *options):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    file = folder / "tried.html"
    file.write_text(page.replace("</body>", f"{SCRIPT}</body>"), encoding="utf-8")
    shown = ""
    for budget in (20_000, 60_000, 180_000):  # the page is dumped when this virtual time is over, ready or not
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},900", f"--virtual-time-budget={budget}", *options, "--dump-dom", file.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
        if done.returncode != 0 or text is None:
            pytest.skip(f"Chromium does not run here: {done.stderr.strip()[-200:]}")
        shown = text[1]
        if shown.strip():
            break
    else:
        pytest.skip("Chromium ended before the page was ready, three times: the machine is too busy")
    found = json.loads(shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert "error" not in found, found
    return found


def test_a_browser_shows_numbers_zooms_and_saves(page, reported, plots, tmp_path):  # noqa: F811
    found = browse(page, tmp_path, 1200)
    assert found["width"] >= 1000
    assert found["overflow"] <= 0
    assert found["plots"] == list(plots)
    index = found["marked"][1]
    bands = plots["dispersion"]["layers"][0]
    place = bands["x"][index]
    assert place == pytest.approx(bands["x"][30])
    # The text has the frequencies of that q-point and branch, and their difference.
    branch = int(re.search(r"branch (\d+)", found["tip"])[1]) - 1
    values = [one["y"][index][branch] for one in bands["curves"]]
    read = [float(part.replace("−", "-")) for part in re.findall(r"([+−]?\d+\.\d{4}) THz", found["tip"])]
    assert read == pytest.approx([values[0], values[1], values[1] - values[0]], abs=1e-4)
    assert found["apart"] < 0.5
    # The rectangle from a quarter to three quarters and from a quarter to a half, from above.
    for shown, whole, low, high in zip(found["shown"], found["whole"], (0.25, 0.5), (0.75, 0.75), strict=True):
        width = whole[1] - whole[0]
        assert shown == pytest.approx([whole[0] + low * width, whole[0] + high * width], abs=0.01 * width)
    assert found["below"] == found["shown"][0]
    assert found["beside"] == found["shown"][1]
    assert found["ticks"]
    assert all(found["shown"][1][0] <= float(tick) <= found["shown"][1][1] for tick in found["ticks"])
    assert found["named"][:3] == [[True, False], [True, False], [False, False]]
    low, high = found["shown"][0]
    inside = [tick for tick in plots["dispersion"]["panels"][1]["x"]["ticks"] if low <= tick <= high]
    assert found["names"] == pytest.approx(inside, abs=1e-6)
    assert found["area"][0] == pytest.approx(found["area"][1], abs=3.0)
    assert found["moved"]
    assert found["restored"] < 0.011
    assert found["keyed"][0] == 1
    assert "branch 2" in found["keyed"][1]
    assert found["keyed"][2] == "polite"
    assert found["page"] == 1
    assert found["left"]
    role, order, name = found["role"]
    assert (role, order) == ("application", 0)
    assert "Arrow keys" in name
    assert found["hidden"] == ["false", 0]
    assert not found["saved"]
    assert found["csv"] == (reported / "figures" / "zone.csv").read_text()
    ElementTree.fromstring(found["svg"])
    assert found["files"]["zone.png"][0] == "image/png"
    assert found["files"]["zone.png"][1] > 10_000
    assert re.match(r"q \(.*\)\nheld by s\d{3}", found["zone"])
    assert found["paper"] == ["rgb(255, 255, 255)"] * 2


def test_a_narrow_dark_screen(page, tmp_path):
    found = browse(page, tmp_path, 400, "--blink-settings=preferredColorScheme=0")
    assert found["width"] <= 500
    assert found["wide"] == []
    assert found["overflow"] <= 0
    assert found["paper"] == ["rgb(21, 24, 28)"] * 2
