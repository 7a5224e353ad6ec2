"""Tables of a study: cells are numbers, or a number over seeds, or text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ndsc.config.published import PublishedConfig
from ndsc.report.tables import markdown_table
from ndsc.study.results import Numbers, Outcome

if TYPE_CHECKING:
    from pandas import DataFrame

Cell = float | str | Numbers | None


@dataclass(frozen=True)
class StudyTable:
    """A table of cells.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuple of cells
    decimals : tuple of int or None
        Of each column's numbers; None for as many as they need.
    heads : int
        How many of the first columns are not numbers.
    published : tuple of PublishedConfig
        Whose values are in it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: tuple[int | None, ...]
    heads: int = 1
    published: tuple[PublishedConfig, ...] = ()

    def markdown(self) -> str:
        """The table in Markdown; seeds as ``median (smallest – largest)``."""
        rows = [[shown_cell(cell, d) for cell, d in zip(row, self.decimals, strict=True)] for row in self.rows]
        return markdown_table(self.columns, rows, numeric=len(self.columns) - self.heads)

    def data(self) -> DataFrame:
        """The table as CSV; of several seeds the median."""
        from pandas import DataFrame

        plain = [[cell.median if isinstance(cell, Numbers) else cell for cell in row] for row in self.rows]
        return DataFrame(plain, columns=list(self.columns), dtype=object)

    def sources(self) -> str:
        """Where published values come from, each source once."""
        names: dict[str, list[str]] = {}
        for column in self.published:
            if column.source and column.name not in names.setdefault(column.source, []):
                names[column.source].append(column.name)
        return " ".join(f"*{', '.join(listed)}*: {source.rstrip('.')}." for source, listed in names.items())


def shown_cell(cell: Cell, decimals: int | None) -> str:
    """A cell as text."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Numbers):
        middle = shown_cell(cell.median, decimals)
        if len(cell.values) == 1 or cell.smallest == cell.largest:
            return middle
        return f"{middle} ({shown_cell(cell.smallest, decimals)} to {shown_cell(cell.largest, decimals)})"
    if not math.isfinite(cell):
        return "not available"
    text = f"{cell:.6g}" if decimals is None else f"{round(cell, decimals) + 0.0:.{decimals}f}"
    return text.replace("-", "−")


def over_seeds(outcomes: Sequence[Outcome], metric: str, run: str | None) -> Cell:
    """A metric over the seeds of a point; None where no seed has it."""
    values = [outcome.value(metric, run) for outcome in outcomes]
    if all(value is None for value in values):
        return None
    return Numbers("", tuple(math.inf if value is None else value for value in values))


def columns_for(
    table: str, published: Sequence[PublishedConfig], run: str, names: Sequence[str]
) -> list[PublishedConfig]:
    """The published columns about a run that a table with rows of these names shows."""
    return [
        column
        for column in published
        if column.on == run
        and (not column.tables or table in column.tables)
        and any(name in column.values for name in names)
    ]
