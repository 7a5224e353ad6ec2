"""Tables of the numbers behind a figure, written as CSV: one observation a row, units in the names of the columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ndsc.errors import InputError
from ndsc.files import write_text

#: Significant digits of a number in a CSV file.
DIGITS = 10


@dataclass(frozen=True, eq=False)
class DataTable:
    """Columns of equal length.

    Attributes
    ----------
    columns : mapping of str to sequence
        Names end with the unit, as in ``results.json``: ``frequency_thz``, ``distance_per_angstrom``. An entry that is
        None or not finite is an empty field.

    Raises
    ------
    InputError
        When the columns differ in length.
    """

    columns: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"The columns of a table differ in length: {lengths}. Give every row a value or None.")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @classmethod
    def from_rows(cls, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> DataTable:
        """A table from its rows; without rows, one with a header only."""
        listed = list(rows)
        return cls({name: [row[index] for row in listed] for index, name in enumerate(names)})

    @classmethod
    def stacked(cls, tables: Sequence[DataTable]) -> DataTable:
        """The rows of several tables with the same columns, one table after the other."""
        names = list(tables[0].columns) if tables else []
        return cls({name: [entry for table in tables for entry in table.columns[name]] for name in names})

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows, as tuples in the order of the columns."""
        return list(zip(*self.columns.values(), strict=True))

    def to_csv(self) -> str:
        """The table with its header, RFC 4180 but for line ends, which are ``\\n``."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_field(entry) for entry in row] for row in self.rows())
        return buffer.getvalue()


#: The data of a figure: one table, or several by what is added to the figure's name; "" adds nothing.
FigureData = DataTable | Mapping[str, DataTable]


def write_data(data: FigureData, path: str | Path) -> tuple[Path, ...]:
    """Write ``path.csv``, and for several tables ``path-KEY.csv``, each whole or not at all.

    Parameters
    ----------
    data : DataTable or mapping of str to DataTable
    path : path
        Without suffix.

    Returns
    -------
    tuple of paths
        What was written, in the order of the tables.
    """
    tables = {"": data} if isinstance(data, DataTable) else data
    base = Path(path)
    written = []
    for key, table in tables.items():
        target = base.with_name(f"{base.name}-{key}.csv" if key else f"{base.name}.csv")
        write_text(target, table.to_csv())
        written.append(target)
    return tuple(written)


def _field(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, (bool, np.bool_)):
        return "yes" if entry else "no"
    if isinstance(entry, (float, np.floating)):
        # Adding zero turns -0 into 0.
        return f"{float(entry) + 0.0:.{DIGITS}g}" if math.isfinite(entry) else ""
    return str(entry)
