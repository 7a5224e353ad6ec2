"""The style of all figures, and how they are saved: the same input gives the same bytes.

Only Matplotlib's object interface is used, without pyplot or a backend, and the settings hold inside
:func:`paper_style`.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ndsc.errors import InputError, InternalError
from ndsc.files import check_folder, whole_file
from ndsc.report.tables import write_data

if TYPE_CHECKING:
    from ndsc.report.tables import FigureData

log = logging.getLogger(__name__)

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
MODEL = "#0072B2"
SECOND = "#D55E00"
THIRD = "#009E73"
MUTED = "#8C8C8C"
#: Colours of several potentials, in order.
SERIES = (MODEL, SECOND, THIRD, "#CC79A7", "#E69F00", "#56B4E9")
GRID = "#D0D0D0"
REFERENCE = "#000000"
PNG_DPI = 200
#: Above this number, points become a picture inside the vector figure, which would otherwise be slow to open.
MOST_VECTOR_POINTS = 2000

_SETTINGS: dict[Any, Any] = {
    # The fonts are the ones that Matplotlib brings along, so that a figure looks the same on every machine.
    "font.family": ["STIXGeneral", "DejaVu Sans"],
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


#: How each format is written; no date and no version, so that the same figure gives the same bytes.
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"format": "png", "dpi": PNG_DPI, "metadata": {"Software": None}},
    ".pdf": {"format": "pdf", "metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    ".svg": {"format": "svg", "dpi": PNG_DPI, "metadata": {"Date": None, "Creator": None}},
}


@dataclass(frozen=True)
class SavedFigure:
    """One figure in its formats.

    Attributes
    ----------
    png, pdf : path
        The files that were written.
    svg : bytes
        The same picture for the one-file report.
    csv : tuple of paths
        The files with its data.
    panels : tuple of mappings
        Where the axes are in the SVG, in points from its upper left corner, and what they show (:func:`panel_of`).
    """

    png: Path
    pdf: Path
    svg: bytes
    csv: tuple[Path, ...] = ()
    panels: tuple[dict[str, Any], ...] = ()


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


def plain(text: str) -> str:
    """Text that is drawn as it is: ``$`` begins no formula, and a leading ``_`` hides nothing from a legend."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def curve_id(name: str) -> str:
    """The ``gid`` of an artist that belongs to a named curve: pages can show and hide all that has one name."""
    return f"curve:{name}"


@contextmanager
def _glyphs_logged() -> Iterator[None]:
    """Letters that no font has are drawn as boxes and named in the log."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for warning in found:
        if "Glyph" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    missing = sorted({str(warning.message) for warning in found if "Glyph" in str(warning.message)})
    if missing:
        log.warning("a figure shows boxes for letters that its fonts lack: %s", "; ".join(missing))


def save_figure(figure: Figure, data: FigureData | None, path: str | Path) -> SavedFigure:
    """Write a figure as ``path.png`` (200 dpi) and ``path.pdf``, its data as ``path.csv``, and render the SVG.

    Each file is whole or not there. No date and no version is written, so that the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    data : DataFrame or mapping of str to DataFrame, or None
        The numbers that the figure shows (see :func:`ndsc.report.tables.write_data`); None writes no CSV.
    path : path
        Without suffix.

    Raises
    ------
    InputError
        When the folder cannot be made or written.
    """
    base = Path(path)
    png, pdf = base.with_name(f"{base.name}.png"), base.with_name(f"{base.name}.pdf")
    csv = () if data is None else write_data(data, base)
    with paper_style(), _glyphs_logged():
        # Laid out once, the three files have everything at the same place.
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # "none" leaves one, and each file would be drawn twice
        for file in (png, pdf):
            with whole_file(file) as temporary:
                figure.savefig(temporary, **_FORMATS[file.suffix])
        buffer = io.BytesIO()
        for index, axes in enumerate(figure.axes):
            axes.set_gid(f"panel-{index}")
        figure.savefig(buffer, **_FORMATS[".svg"])
        panels = tuple(panel_of(axes) for axes in figure.axes)
    return SavedFigure(png=png, pdf=pdf, svg=buffer.getvalue(), csv=csv, panels=panels)


def panel_of(axes: Axes) -> dict[str, Any]:
    """Where axes are in a figure that is laid out, and what they show, for the script of a page.

    Returns
    -------
    dict
        ``box``, left, top, right and bottom in points; for ``x`` and ``y`` each: ``limits``, whether it is ``log``,
        ``ticks`` with whether they are ``named`` and have ``labels``, and the first axes that ``share`` it.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise InternalError("Axes without a figure have no place in it. This is a bug: please report it.")
    width, height = 72 * figure.get_size_inches()
    place, panels = axes.get_position(), figure.axes
    found: dict[str, Any] = {
        "box": [round(float(one), 3) for one in (
            place.x0 * width, (1 - place.y1) * height, place.x1 * width, (1 - place.y0) * height
        )]
    }  # fmt: skip
    for name, axis, limits, shared in (
        ("x", axes.xaxis, axes.get_xlim(), axes.get_shared_x_axes()),
        ("y", axes.yaxis, axes.get_ylim(), axes.get_shared_y_axes()),
    ):
        low, high = sorted(limits)
        ticks = [float(tick) for tick in axis.get_majorticklocs() if low - 1e-9 <= tick <= high + 1e-9]
        names = axis.get_major_formatter().format_ticks(ticks)
        found[name] = {
            "limits": [float(limit) for limit in limits],
            "log": axis.get_scale() == "log",
            "ticks": ticks,
            "named": axis.get_scale() == "linear" and not all(map(_is_number, names)),
            "labels": any(label.get_visible() and label.get_text() for label in axis.get_ticklabels()),
            "share": min(panels.index(one) for one in shared.get_siblings(axes)),
        }
    return found


def _is_number(label: str) -> bool:
    return not label or re.fullmatch(r"[\d.e+−-]+", label) is not None


def check_figure_file(path: str | Path) -> Path:
    """Refuse, before anything is computed, the name of a picture in no format that is known, or that cannot be written.

    Raises
    ------
    InputError
        When it is so.
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise InputError(
            f"The picture {target} cannot be written: the suffix decides the format. Use one of {', '.join(_FORMATS)}."
        )
    if target.is_dir():
        raise InputError(f"{target} cannot be written: it is a folder. Choose another name.")
    check_folder(target.parent)
    return target


def write_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG (200 dpi), PDF or SVG, as the suffix says; whole or not at all.

    Raises
    ------
    InputError
        When the suffix is none of these, or the file cannot be written.
    """
    target = check_figure_file(path)
    with paper_style(), _glyphs_logged(), whole_file(target) as temporary:
        figure.savefig(temporary, **_FORMATS[target.suffix.lower()])
    return target
