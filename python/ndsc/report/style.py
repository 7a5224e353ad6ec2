"""The look of all figures, and how they are saved: the same input gives the same bytes.

Only Matplotlib's object interface is used: no pyplot, no backend is chosen, and the settings hold inside
:func:`paper_style` only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ndsc.files import whole_file

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
MODEL = "#0072B2"
SECOND = "#D55E00"
THIRD = "#009E73"
MUTED = "#8C8C8C"
GRID = "#D0D0D0"
REFERENCE = "#000000"
PNG_DPI = 200

_SETTINGS: dict[Any, Any] = {
    # The fonts are the ones that Matplotlib brings along, so that a figure looks the same on every machine.
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.5,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "ndsc",
}


@dataclass(frozen=True)
class SavedFigure:
    """One figure in its three formats.

    Attributes
    ----------
    png, pdf : path
        The files that were written.
    svg : bytes
        The same picture for the one-file report.
    """

    png: Path
    pdf: Path
    svg: bytes


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib's defaults plus the settings of the figures, inside the block only."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` times `height` inches that lays itself out and knows no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> SavedFigure:
    """Write ``name.png`` (200 dpi) and ``name.pdf`` into `folder`, whole or not at all, and render the SVG.

    No date and no version is written into the files.

    Raises
    ------
    InputError
        When the folder cannot be made or written.
    """
    png, pdf = folder / f"{name}.png", folder / f"{name}.pdf"
    with paper_style():
        # Laid out once, the three files have everything at the same place.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        with whole_file(png) as temporary:
            figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})
        with whole_file(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", dpi=PNG_DPI, metadata={"Date": None, "Creator": None})
    return SavedFigure(png=png, pdf=pdf, svg=buffer.getvalue())
