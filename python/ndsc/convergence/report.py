"""What a scan of settings found, and what it recommends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ndsc.convergence.differences import Difference, with_unit, write_results
from ndsc.convergence.settings import ScannedSetting, setting_text, with_settings
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.reference import CalculatorSpec
from ndsc.reference.settings import settings_of


@dataclass(frozen=True)
class Tolerances:
    """Largest errors that settings may have, against the densest ones.

    Attributes
    ----------
    force : float, meV/Å
        Of any force component.
    virial : float, meV/atom
        Of any virial component of any configuration, without the common constant.
    energy : float, meV/atom
        Of the energy difference of any two configurations.
    virial_offset : float or None, meV/atom
        Of any component of the common constant of the virials; None: as `virial`.
    """

    force: float = 1.0
    virial: float = 5.0
    energy: float = 1.0
    virial_offset: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise InputError(f"The target of the {name.replace('_', ' ')} is {value}. Give a number above 0.")

    @property
    def offset(self) -> float:
        """The target of the virials' common constant, meV/atom."""
        return self.virial if self.virial_offset is None else self.virial_offset

    def to_dict(self) -> dict[str, float]:
        """Numbers by name and unit, for JSON."""
        return {with_unit(name): value for name, value in (asdict(self) | {"virial_offset": self.offset}).items()}

    def missed(self, found: Difference) -> list[str]:
        """Which targets a difference does not meet."""
        checks = [
            ("force", found.force_max, self.force),
            ("energy", found.energy_max, self.energy),
            ("virial", found.virial_max, self.virial),
            ("virial offset", found.virial_offset, self.offset),
        ]
        return [name for name, value, target in checks if value is not None and not abs(value) <= target]


@dataclass(frozen=True)
class Point:
    """One value of a scan.

    Attributes
    ----------
    value : object
    difference : Difference or None
        Against the value that the others are compared with; None for that value itself.
    seconds : float
        Mean time of one calculation.
    kpoints : int or None
        Folded k-points of all configurations together.
    """

    value: Any
    difference: Difference | None
    seconds: float
    kpoints: int | None


@dataclass(frozen=True)
class Scan:
    """One setting through its values.

    Attributes
    ----------
    setting : ScannedSetting
    points : tuple of Point
        One for each value of the setting.
    targets : Tolerances
    """

    setting: ScannedSetting
    points: tuple[Point, ...]
    targets: Tolerances

    @property
    def judged(self) -> bool:
        """Whether a value is recommended: not of a smearing width, which is physics and not accuracy."""
        return self.setting.kind != "smearing"

    @property
    def has_effect(self) -> bool:
        """Whether the results depend on the setting at all."""
        return any(point.difference is not None and not point.difference.is_zero for point in self.points)

    @property
    def reference(self) -> Point:
        """The value that the others are compared with."""
        return self.points[self.setting.reference]

    @cached_property
    def recommended(self) -> Any:
        """The smallest value that is within the targets, as all denser ones are; None when there is none."""
        if not self.judged or not self.has_effect:
            return None
        found = None
        for point in reversed(self.points[:-1]):
            if point.difference is None or self.targets.missed(point.difference):
                break
            found = point.value
        return found

    @property
    def verdict(self) -> str:
        """One sentence for a person."""
        path, given = self.setting.path, self.setting.given
        values = ", ".join(setting_text(value) for value in self.setting.values)
        reference = setting_text(self.reference.value)
        if not self.judged:
            return (
                f"{path}: a smearing width has no converged value; the changes relative to the smallest one,  "
                f"{reference}, are "
                "given, and nothing is recommended."
            )
        if not self.has_effect:
            return (
                f"{path}: nothing depends on it, the results are the same for {values}. Nothing is recommended; check "
                "that the calculator has this parameter."
            )
        if self.recommended is None:
            last = self.points[-2]
            missed = ", ".join(self.targets.missed(last.difference)) if last.difference else ""
            return (
                f"{path}: not converged within the scanned values ({values}): {setting_text(last.value)} is still off "
                f"in {missed} against {reference}. Nothing is recommended; extend the list."
            )
        beside = "" if given is None else f", where {setting_text(given)} is given"
        beside = ", as given" if self.recommended == given else beside
        return f"{path}: {setting_text(self.recommended)} is enough{beside}."

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "setting": self.setting.path,
            "kind": self.setting.kind,
            "given": self.setting.given,
            "recommended": self.recommended,
            "reference": self.reference.value,
            "verdict": self.verdict,
            "values": [
                {
                    "value": point.value,
                    "seconds": point.seconds,
                    "kpoints": point.kpoints,
                    "within_targets": None if point.difference is None else not self.targets.missed(point.difference),
                    "difference": None if point.difference is None else point.difference.to_dict(),
                }
                for point in self.points
            ],
        }


@dataclass(frozen=True)
class ConvergenceReport:
    """Errors of settings over the values that were scanned, and what is recommended.

    Attributes
    ----------
    given : CalculatorSpec
        The settings around which was scanned.
    targets : Tolerances
    configurations : tuple of (name, atoms)
        What was calculated.
    scans : tuple of Scan
    notes : list of str
        Remarks for the user.
    """

    given: CalculatorSpec
    targets: Tolerances
    configurations: tuple[tuple[str, int], ...]
    scans: tuple[Scan, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def recommended(self) -> dict[str, Any]:
        """The recommended value of each setting that is judged, by its path; None where there is none."""
        return {scan.setting.path: scan.recommended for scan in self.scans if scan.judged}

    @property
    def converged(self) -> bool:
        """Whether there is a recommendation for every setting that is judged."""
        return all(value is not None for value in self.recommended.values())

    @property
    def spec(self) -> CalculatorSpec | None:
        """The recommended settings; None unless all scans converged."""
        return with_settings(self.given, self.recommended) if self.converged else None

    def require_converged(self) -> CalculatorSpec:
        """The recommended settings.

        Raises
        ------
        ReferenceCalculationError
            When a scan did not converge, naming it and what to do.
        """
        spec = self.spec
        if spec is None:
            raise ReferenceCalculationError(
                " ".join(scan.verdict for scan in self.scans if scan.judged and scan.recommended is None)
            )
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        spec = self.spec
        return {
            "settings": settings_of(self.given),
            "recommended_settings": None if spec is None else settings_of(spec),
            "converged": self.converged,
            "targets": self.targets.to_dict(),
            "configurations": [{"name": name, "atoms": atoms} for name, atoms in self.configurations],
            "scans": [scan.to_dict() for scan in self.scans],
            "notes": self.notes,
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``convergence.json``, ``.csv``, ``.png`` and ``.pdf`` into a folder, which is made.

        Raises
        ------
        InputError
            When they cannot be written.
        """
        from ndsc.convergence.figure import convergence_figure
        from ndsc.report.style import save_figure

        base = Path(folder) / "convergence"
        rows = [self._row(scan, point) for scan in self.scans for point in scan.points]
        written = write_results(base, self.to_dict(), rows)
        figure = save_figure(convergence_figure(self), None, base)
        return [*written, figure.png, figure.pdf]

    @staticmethod
    def _row(scan: Scan, point: Point) -> dict[str, Any]:
        names = [with_unit(name) for name in Difference.__dataclass_fields__ if name != "virial_offset_tensor"]
        differences = {} if point.difference is None else point.difference.to_dict()
        return {
            "setting": scan.setting.path,
            "value": setting_text(point.value),
            "is_reference": int(point is scan.reference),
            "is_recommended": int(scan.recommended is not None and point.value == scan.recommended),
            "kpoints": point.kpoints,
            "seconds": round(point.seconds, 3),
            **{name: differences.get(name) for name in names},
        }
