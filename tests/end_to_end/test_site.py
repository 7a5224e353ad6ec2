"""The documentation as a site: it builds without a warning, holds every page, and loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ndsc

ROOT = Path(__file__).resolve().parents[2]
# They are looked for and not imported: the site is built by another process.
for module in ("sphinx", "myst_nb", "ipykernel", "furo", "sphinx_copybutton", "quippy"):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: needs the extras 'docs' and 'gap'", allow_module_level=True)


class Loaded(HTMLParser):
    """What a page loads to be shown, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loaded.append(str(given["src"]))
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(str(given["href"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", "docs", ".", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT).with_suffix(".html")).is_file()
    assert "url=docs/contents.html" in (site / "index.html").read_text(encoding="utf-8")


def test_notebooks_have_run(site: Path) -> None:
    for source in (ROOT / "docs" / "notebooks").glob("*.md"):
        page = (site / "docs" / "notebooks" / source.with_suffix(".html").name).read_text(encoding="utf-8")
        assert "_images/" in page
        assert "Traceback" not in page
        assert "Warning" not in page, "a warning is in the output of a cell"
        notebook = json.loads(next((site / "_downloads").rglob(source.with_suffix(".ipynb").name)).read_text("utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert cells
        assert all(cell["execution_count"] for cell in cells)


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = Loaded()
        found.feed(page.read_text(encoding="utf-8"))
        assert [one for one in found.loaded if re.match(r"[a-z]+:|//", one) and not one.startswith("data:")] == [], page


def test_links_lead_to_files_of_the_site(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = Loaded()
        found.feed(page.read_text(encoding="utf-8"))
        for link in found.links:
            target = link.partition("#")[0]
            if target and not re.match(r"[a-z]+:|//|/", target):
                there = (page.parent / target).resolve()
                assert there.exists(), f"{page.relative_to(site)} links to {link}"


def test_the_public_names_have_their_documentation(site: Path) -> None:
    page = (site / "docs" / "api.html").read_text(encoding="utf-8")
    for name in ndsc.__all__:
        if callable(getattr(ndsc, name)):
            assert f'id="ndsc.{name}"' in page, name


def test_the_search_works_on_pages_that_are_opened_without_a_server(site: Path) -> None:
    found = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"born":' in found or "born:" in found
    assert "docs/polar" in found
