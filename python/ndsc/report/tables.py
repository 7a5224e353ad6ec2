"""Tables behind figures and pages: data frames as CSV, and tables in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ndsc.errors import InputError
from ndsc.files import write_text

if TYPE_CHECKING:
    from pandas import DataFrame

    #: The data of a figure: one table, or several by what is added to the figure's name; "" adds nothing.
    FigureData = DataFrame | Mapping[str, DataFrame]

#: What stands in a cell without a value.
NOTHING = "–"


def csv_text(frame: DataFrame) -> str:
    """A data frame as CSV: ten significant digits; what is missing or not finite is an empty field."""

    def plain(value: object) -> object:
        if not isinstance(value, float | np.floating):
            return value
        # Adding zero turns -0 into 0.
        return f"{float(value) + 0.0:.10g}" if math.isfinite(value) else None

    written = frame.astype(object)
    for number, kind in enumerate(frame.dtypes):
        if kind.kind not in "biu":
            written.isetitem(number, [plain(value) for value in frame.iloc[:, number].tolist()])
    text: str = written.to_csv(index=False, lineterminator="\n")
    return text


def write_data(data: FigureData, path: str | Path) -> tuple[Path, ...]:
    """Write ``path.csv``, and for several tables ``path-KEY.csv``, each whole or not at all.

    Parameters
    ----------
    data : DataFrame or mapping of str to DataFrame
        Names of columns end with the unit: ``frequency_thz``, ``distance_per_angstrom``.
    path : path
        Without suffix.

    Returns
    -------
    tuple of paths
        What was written, in the order of the tables.
    """
    tables = data if isinstance(data, Mapping) else {"": data}
    base = Path(path)
    written = []
    for key, table in tables.items():
        target = base.with_name(f"{base.name}-{key}.csv" if key else f"{base.name}.csv")
        write_text(target, csv_text(table))
        written.append(target)
    return tuple(written)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: int | None = None) -> str:
    """A table in Markdown.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequences
        Cells are written as they are, None as a dash; ``|`` and line ends are escaped.
    numeric : int, optional
        How many of the last columns are numbers, set to the right; all but the first by default.

    Raises
    ------
    InputError
        When a row has another number of cells than there are columns.
    """
    for row in rows:
        if len(row) != len(columns):
            raise InputError(f"The row {list(row)} has {len(row)} cells for {len(columns)} columns. Give one a column.")
    first_number = len(columns) - (len(columns) - 1 if numeric is None else numeric)
    rule = ["---:" if index >= first_number else "---" for index in range(len(columns))]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in (columns, rule, *rows))


def escape_markdown(text: str) -> str:
    """Text as Markdown that shows it as it is: ``$``, ``*``, ``[``, ``<`` and so on have no other meaning in it."""
    shown = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return re.sub(r"([\\`*\[\]<>$|~]|(?<!\w)_|_(?!\w))", r"\\\1", shown)


def _cell(cell: object) -> str:
    text = NOTHING if cell is None else str(cell)
    return re.sub(r"(?<!\\)\|", r"\\|", text).replace("\n", " ")
