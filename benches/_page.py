"""The page docs/benchmarks.md, whose sections come from different benchmarks."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import ndsc

DOCS = Path(__file__).parent.parent / "docs"


def single_threaded() -> None:
    """Start this program again with one thread on both sides: libraries read these variables when they are loaded."""
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    if any(os.environ.get(name) != "1" for name in names):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **dict.fromkeys(names, "1")})


def seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def machine(*packages: str) -> str:
    """The processor and the versions of some packages, as a paragraph."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*: (.*)$", info.read_text(), flags=re.MULTILINE)
        processor = found.group(1).strip() if found else processor
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Machine: {processor}, {platform.system()}, Python {platform.python_version()}, ndsc {ndsc.__version__}; "
        f"{versions}."
    )


def write_section(path: Path, title: str, lines: list[str]) -> None:
    """Replace the section `title` of a page, or add it at the end."""
    page = path.read_text() if path.is_file() else "# Benchmarks\n"
    section = "\n".join([f"## {title}", "", *lines, ""])
    pattern = rf"^## {re.escape(title)}$.*?(?=^## |\Z)"
    if re.search(pattern, page, flags=re.MULTILINE | re.DOTALL):
        page = re.sub(pattern, lambda _: section + "\n", page, flags=re.MULTILINE | re.DOTALL)
    else:
        page = page.rstrip("\n") + "\n\n" + section
    path.write_text(page.rstrip("\n") + "\n")
