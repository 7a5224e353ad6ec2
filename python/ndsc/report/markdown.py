"""Tables and verdicts in Markdown, with the paper's numbers beside one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ndsc.errors import InputError
from ndsc.report.published import SOURCE, Published
from ndsc.report.text import NOTHING, number
from ndsc.results import Comparison


@dataclass(frozen=True)
class Claim:
    """Something that was to be shown, and the number that decides it.

    Attributes
    ----------
    text : str
        The claim: ``"phonons within 0.5 THz of the reference"``.
    value : float or None
        What was found; None or not finite decides against the claim.
    limit : float
    unit : str
    at_least : bool
        The value must reach the limit, instead of staying within it.
    """

    text: str
    value: float | None
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the number keeps the claim; the limit itself does."""
        if self.value is None or not np.isfinite(self.value):
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """``**holds**: … (0.05 THz, limit 0.5 THz)``."""
        unit = f" {self.unit}" if self.unit else ""
        found = "no value" if self.value is None or not np.isfinite(self.value) else f"{self.value:.3g}{unit}"
        word = "at least" if self.at_least else "limit"
        return f"**{'holds' if self.holds else 'fails'}**: {self.text} ({found}, {word} {self.limit:g}{unit})"


def verdict_lines(claims: Sequence[Claim]) -> str:
    """The claims as a list in Markdown, one line each."""
    return "".join(f"- {claim.line()}\n" for claim in claims)


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
    lines = [_line(columns), _line(rule), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def elastic_markdown(elastic: Mapping[str, Comparison], paper: Published | None = None) -> str:
    """Elastic constants of potential and reference, with the paper's potential, reference and measurement beside them.

    Parameters
    ----------
    elastic : mapping of str to Comparison, GPa
        ``{"C11": …}``; averages under the names of ``published.py``: ``"bulk modulus"``.
    paper : Published, optional
        See :func:`ndsc.report.published.published`.
    """
    columns = ["GPa", "potential", "reference", "error, %"]
    rows: list[list[object]] = [
        [name, number(value.model, 1), number(value.reference, 1), number(value.error_percent, 1)]
        for name, value in elastic.items()
    ]
    if paper is None:
        return markdown_table(columns, rows)
    columns += ["paper, GAP", "paper, DFT", "paper, error, %", "measured"]
    for row, name in zip(rows, elastic, strict=True):
        theirs = Comparison.of(paper.potential.get(name), paper.reference.get(name))
        row += [number(theirs.model, 1), number(theirs.reference, 1), number(theirs.error_percent, 1)]
        row.append(number(paper.experiment.get(name), 1))
    source = f"Paper: {paper.structure} in Table 3 of {SOURCE}."
    measured = f" Measured: {paper.experiment_source}." if paper.experiment_source else ""
    return f"{markdown_table(columns, rows)}\n{source}{measured}\n"


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: object) -> str:
    return NOTHING if cell is None else str(cell).replace("|", "\\|").replace("\n", " ")
