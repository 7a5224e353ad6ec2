"""Everything that the page of a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ndsc.report.style import SavedFigure
from ndsc.results import Results
from ndsc.supercells import SupercellSet

if TYPE_CHECKING:
    from ndsc.phonons import PhononComparison


@dataclass(frozen=True)
class Contents:
    """Everything that the page is made of.

    Attributes
    ----------
    results : Results
    figures : dict of str to SavedFigure
        By name: ``dispersion``, ``parity``, ``elastic``, ``cost``.
    supercells : SupercellSet or None
    elastic : dict
        elastic.json: ``model`` and ``reference``.
    input_file : str
        Text of ndsc.toml, empty when there is none.
    phonons : PhononComparison or None
        The curves behind the summary in `results`.
    """

    results: Results
    figures: Mapping[str, SavedFigure] = field(default_factory=dict)
    supercells: SupercellSet | None = None
    elastic: Mapping[str, Any] = field(default_factory=dict)
    input_file: str = ""
    phonons: PhononComparison | None = None
