"""What a comparison with a limit found: numbers, what they may differ by, and one verdict for each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ndsc.convergence.differences import write_results
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.reference import CalculatorSpec
from ndsc.reference.settings import differences, settings_of

#: What is compared, in the order in which it is calculated.
QUANTITIES = ("forces", "virials", "lattice", "phonons", "elastic")
#: Changes below this share of what is allowed are none: rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class BiasTargets:
    """By how much results may differ from those of the limit.

    Attributes
    ----------
    forces : float, %
        Root mean square of the change, of the root mean square force; in each configuration.
    virials : float, meV/atom
        Root mean square of the change, without the constant common to all configurations; in each of them.
    lattice : float, %
        Of every length; 1 % of a length is as much as 1 % of a radian for an angle.
    phonons : float, %
        Of every frequency at Γ and at the zone boundary; of a soft mode at least a tenth of that share of the highest.
    elastic : float, %
        Of every elastic constant, or
    elastic_gpa : float, GPa
        this much, whichever is more.
    """

    forces: float = 1.0
    virials: float = 3.0
    lattice: float = 0.2
    phonons: float = 1.0
    elastic: float = 2.0
    elastic_gpa: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < float("inf"):
                raise InputError(f"The target of {name} is {value}. Give a number above 0.")

    def text(self, quantity: str) -> str:
        """As a person writes it."""
        if quantity == "elastic":
            return f"{self.elastic:g} % or {self.elastic_gpa:g} GPa"
        return f"{getattr(self, quantity):g} {'meV/atom' if quantity == 'virials' else '%'}"


@dataclass(frozen=True)
class BiasRow:
    """One number with the settings of a database and with those of the limit.

    Attributes
    ----------
    quantity, name : str
        One of :data:`QUANTITIES`, and which one of its numbers: a configuration, a length, a mode, a constant.
    unit : str
    value, limit : float
        With the settings of the database and with those of the limit. Of forces and virials, the root mean squares.
    change : float
        The difference; of forces and virials, the root mean square of the differences.
    allowed : float
        The largest change that is within the target.
    """

    quantity: str
    name: str
    unit: str
    value: float
    limit: float
    change: float
    allowed: float

    @property
    def percent(self) -> float | None:
        """The change in percent of the limit; None where that is zero."""
        return 100 * self.change / abs(self.limit) if self.limit else None

    @property
    def ratio(self) -> float:
        """The change, in units of what is allowed."""
        return abs(self.change) / self.allowed

    @property
    def within(self) -> bool:
        """Whether the change is allowed."""
        return self.ratio <= 1.0 + ROUNDING

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON and CSV."""
        return {**asdict(self), "percent": self.percent, "within": self.within}


@dataclass(frozen=True)
class BiasTable:
    """Results with the settings of a database beside those with a limit.

    Attributes
    ----------
    spec, limit : CalculatorSpec
    targets : BiasTargets
    rows : tuple of BiasRow
    lattice : str
        ``"own"`` where phonons and elastic constants are at the relaxed lattice of each of the two settings,
        ``"given"`` where both are at that of the crystal given.
    cpu_seconds, limit_cpu_seconds : float or None
        Mean time of processors of a configuration; None where a label does not have it.
    notes : tuple of str
        Remarks for the user.
    """

    spec: CalculatorSpec
    limit: CalculatorSpec
    targets: BiasTargets
    rows: tuple[BiasRow, ...]
    lattice: str = "own"
    cpu_seconds: float | None = None
    limit_cpu_seconds: float | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def changed(self) -> list[str]:
        """One line for each setting that differs."""
        return changed_settings(self.spec, self.limit)

    @property
    def quantities(self) -> tuple[str, ...]:
        """What was compared."""
        return tuple(name for name in QUANTITIES if any(row.quantity == name for row in self.rows))

    def rows_of(self, quantity: str) -> list[BiasRow]:
        """The numbers of a quantity."""
        return [row for row in self.rows if row.quantity == quantity]

    def worst(self, quantity: str) -> BiasRow:
        """The number of a quantity that differs most, for what it may."""
        return max(self.rows_of(quantity), key=lambda row: row.ratio)

    def within(self, quantity: str) -> bool:
        """Whether all numbers of a quantity are within the target."""
        return self.worst(quantity).within

    @property
    def missed(self) -> tuple[str, ...]:
        """The quantities that are not within their targets."""
        return tuple(name for name in self.quantities if not self.within(name))

    def verdict(self, quantity: str) -> str:
        """One sentence for a person."""
        rows, worst = self.rows_of(quantity), self.worst(quantity)
        bad = sum(not row.within for row in rows)
        verdict = f"within {self.targets.text(quantity)}" if not bad else f"NOT within {self.targets.text(quantity)}"
        count = f" ({bad} of {len(rows)} numbers)" if bad and len(rows) > 1 else ""
        sign = "" if quantity in ("forces", "virials") else "+"
        share = "" if worst.percent is None or quantity == "virials" else f" ({worst.percent:{sign}.2g} %)"
        return f"{quantity}: {verdict}{count}; largest in {worst.name}, {worst.change:{sign}.3g} {worst.unit}{share}."

    def require_within(self) -> None:
        """Refuse settings, or the difference between two codes, that are not within the targets.

        Raises
        ------
        ReferenceCalculationError
            Naming the quantities.
        """
        if not self.missed:
            return
        differing = ", ".join(self.missed)
        if self.spec.name != self.limit.name:
            raise ReferenceCalculationError(
                f"{self.spec.name} and {self.limit.name} differ by more than the targets allow in {differing}. Compare "
                "each with a limit of its own settings, to know which part is that of the codes and their potentials."
            )
        raise ReferenceCalculationError(
            f"The settings are biased: {differing} differ from the limit by more than the targets allow. Choose a "
            "narrower smearing, more k-points or a higher cutoff, or larger targets."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "settings": settings_of(self.spec),
            "limit": settings_of(self.limit),
            "lattice": self.lattice,
            "targets": asdict(self.targets),
            "within": {name: self.within(name) for name in self.quantities},
            "verdicts": {name: self.verdict(name) for name in self.quantities},
            "rows": [row.to_dict() for row in self.rows],
            "cpu_seconds": self.cpu_seconds,
            "limit_cpu_seconds": self.limit_cpu_seconds,
            "notes": list(self.notes),
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``bias.json`` and ``bias.csv`` into a folder, which is made.

        Raises
        ------
        InputError
            When they cannot be written.
        """
        return write_results(Path(folder) / "bias", self.to_dict(), [row.to_dict() for row in self.rows])


def changed_settings(spec: CalculatorSpec, limit: CalculatorSpec) -> list[str]:
    """One line for each setting in which a limit differs."""
    lines = []
    for line in differences(settings_of(spec), settings_of(limit)):
        old, _, new = line.removesuffix(" here").partition(" there, ")
        lines.append(f"{old} in the database, {new} in the limit")
    return lines


def check_quantities(quantities: Sequence[str]) -> tuple[str, ...]:
    """The quantities to compare, in their order.

    Raises
    ------
    InputError
        When there are none, or one is not known.
    """
    unknown = [name for name in quantities if name not in QUANTITIES]
    if unknown or not quantities:
        raise InputError(
            f"{', '.join(map(repr, unknown)) or 'Nothing'} cannot be compared with a limit. Take any of "
            f"{', '.join(QUANTITIES)}."
        )
    return tuple(name for name in QUANTITIES if name in quantities)
