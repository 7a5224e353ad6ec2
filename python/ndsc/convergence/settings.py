"""Settings of a calculator by their dotted path: reading one, changing one, and the values that a scan takes.

``kgrid`` is the k-point grid of the unit cell; everything else is a path into the parameters, as ``mode.ecut``. Upper
and lower case are the same, as they are to most codes, so that no keyword is ever given twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from ndsc.codes.specification import CalculatorSpec, canonical
from ndsc.errors import InputError
from ndsc.kpoints import KpointGrid, kgrid_matrix, kgrid_size, kgrid_text, normal_kgrid

KGRID = "kgrid"
Kind = Literal["kgrid", "cutoff", "smearing", "other"]

CUTOFF_FACTORS = (0.8, 1.0, 1.2, 1.5)
SMEARING_FACTORS = (0.5, 1.0, 2.0)
#: Names that stand for a path into the parameters, with what the code knows that path by.
NAMED = {"cutoff": "cutoff_ev", "smearing": "smearing_ev"}


@dataclass(frozen=True)
class ScannedSetting:
    """A setting and the values that it takes.

    Attributes
    ----------
    path : str
        ``"kgrid"``, or a dotted path into the parameters.
    kind : str
        ``"kgrid"``, ``"cutoff"``, ``"smearing"`` or ``"other"``.
    values : tuple
        From the coarsest to the densest; smearing widths from the smallest to the largest.
    given : object
        The value that the settings have, None where they have none.
    """

    path: str
    kind: Kind
    values: tuple[Any, ...]
    given: Any

    @property
    def reference(self) -> int:
        """Index of the value that the others are compared with: the densest, of smearing widths the smallest."""
        return 0 if self.kind == "smearing" else len(self.values) - 1


def scanned_settings(
    spec: CalculatorSpec, scans: Mapping[str, Sequence[Any] | None] | None, grid: Sequence[int] = (1, 1, 1)
) -> list[ScannedSetting]:
    """The settings to scan, each with its values.

    Parameters
    ----------
    spec : CalculatorSpec
        The given settings.
    scans : mapping of str to values or None, optional
        By ``"kgrid"``, ``"cutoff"``, ``"smearing"`` or a dotted path; None asks for values around the given one.
        Without `scans`, the k-point grid, the cutoff and the smearing width are scanned where the settings have them.
    grid : three ints
        The grid of the supercells: k-point grids are multiples of it, which fold into short lists.

    Raises
    ------
    InputError
        When there is nothing to scan, a setting is not known, or values are too few, doubled or of the wrong kind.
    """
    if scans is None:
        names = [KGRID] if spec.kgrid is not None else []
        names += [name for name in NAMED if _is_number(setting_of(spec, _path(spec, name) or ""))]
        scans = dict.fromkeys(names)
        if not names:
            raise InputError(
                f"The settings of {spec.name!r} have no k-point grid, cutoff or smearing width that could be scanned. "
                "Name what to scan and its values: a dotted path into the parameters, from coarse to dense."
            )
    found = [_scanned(spec, name, values, grid) for name, values in scans.items()]
    paths = [setting.path for setting in found]
    lower = [path.lower() for path in paths]
    if doubled := sorted({path for path in lower if lower.count(path) > 1}):
        raise InputError(f"{', '.join(doubled)} would be scanned twice. Name every setting once.")
    return found


def kgrids_around(kgrid: KpointGrid, grid: Sequence[int]) -> list[KpointGrid]:
    """Grids coarser and denser than a given one, multiples of the supercells' grid: 4, 8, 12, 16 around 8 for 4.

    A grid of k-points that is a multiple of the supercells' folds into the shortest lists. Around a generalised grid
    are those around the multiple that has the most points below its own.
    """
    grids = [kgrid]
    if isinstance(kgrid[0], tuple):
        multiple = max(1, math.floor((kgrid_size(kgrid) / math.prod(grid)) ** (1 / 3) + 1e-9))
        kgrid = normal_kgrid([multiple * n for n in grid])
        grids.append(kgrid)
    multiples = [Fraction(int(k), n) for k, n in zip(np.diag(kgrid_matrix(kgrid)), grid, strict=True)]
    step = max(Fraction(1, 3), 1 / max(multiples))
    for number in (-1, 1, 2):
        factor = 1 + number * step
        round_outwards = math.floor if number < 0 else math.ceil
        if factor > 0:
            numbers = [max(1, round_outwards(factor * m)) * n for m, n in zip(multiples, grid, strict=True)]
            grids.append(normal_kgrid(numbers))
    return sorted(set(grids), key=_density)


def setting_of(spec: CalculatorSpec, path: str) -> Any:
    """The value at a path, or None where the settings do not have it.

    Parameters
    ----------
    spec : CalculatorSpec
    path : str
        ``"kgrid"``, or a dotted path into the parameters.
    """
    if path == KGRID:
        return spec.kgrid
    value: Any = spec.parameters
    for name in path.split("."):
        if not isinstance(value, Mapping) or (key := _spelled(value, name)) not in value:
            return None
        value = value[key]
    return value


def with_setting(spec: CalculatorSpec, path: str, value: Any) -> CalculatorSpec:
    """The same calculator with another value at a path.

    Parameters
    ----------
    spec : CalculatorSpec
    path : str
        ``"kgrid"``, or a dotted path into the parameters; tables on the way that are not there are made.
    value : object
        Three or 3x3 whole numbers for ``"kgrid"``, otherwise what JSON can hold.

    Raises
    ------
    InputError
        When the path is empty, leads through something that is not a table, or the calculator has no such setting.
    """
    if path == KGRID:
        return replace(spec, kgrid=value)
    names = path.split(".")
    if not all(names):
        raise InputError(f"{path!r} is not the path of a setting. Write kgrid, or names joined by dots: mode.ecut.")
    return replace(spec, parameters=_changed(spec.parameters, names, value, path))


def with_settings(spec: CalculatorSpec, changes: Mapping[str, Any]) -> CalculatorSpec:
    """The same calculator with other values of several settings (:func:`setting_path`, :func:`with_setting`)."""
    for name, value in changes.items():
        spec = with_setting(spec, setting_path(spec, name), value)
    return spec


def setting_text(value: Any) -> str:
    """A value as a person writes it: ``8x8x8`` for a grid, ``350`` for a number."""
    if isinstance(value, tuple):  # only k-point grids are: parameters hold lists
        return kgrid_text(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_path(spec: CalculatorSpec, name: str) -> str:
    """The path of a setting that is named: that of ``"cutoff"`` and ``"smearing"``, otherwise the name itself.

    Raises
    ------
    InputError
        When it is not known where the code keeps its cutoff or smearing.
    """
    path = _path(spec, name) if name in NAMED else name
    if path is None:
        raise InputError(
            f"It is not known which parameter of {spec.name!r} holds its {name}. Give the dotted path of that "
            "parameter instead."
        )
    return path


def _scanned(spec: CalculatorSpec, name: str, values: Sequence[Any] | None, grid: Sequence[int]) -> ScannedSetting:
    path = setting_path(spec, name)
    kind = _kind(spec, path)
    given = setting_of(spec, path)
    if values is None:
        values = _values_around(spec, path, kind, given, grid)
    checked = [_value(path, kind, value) for value in values]
    if kind != "other":
        checked.sort(key=_density if kind == "kgrid" else float)
    texts = [repr(value) for value in checked]
    if len(set(texts)) < max(2, len(texts)):
        shown = ", ".join(setting_text(value) for value in checked)
        raise InputError(
            f"The scan of {path} has the values {shown or 'none'}. Give at least two different ones, none twice."
        )
    return ScannedSetting(path, kind, tuple(checked), given)


def _values_around(spec: CalculatorSpec, path: str, kind: Kind, given: Any, grid: Sequence[int]) -> list[Any]:
    if kind == "kgrid" and spec.kgrid is not None:
        return list(kgrids_around(spec.kgrid, grid))
    if kind in NAMED and _is_number(given) and given > 0:
        factors = CUTOFF_FACTORS if kind == "cutoff" else SMEARING_FACTORS
        return [given if factor == 1 else _two_digits(factor * given) for factor in factors]
    raise InputError(
        f"The settings give {path} no number around which values could be chosen. Name the values to scan, from coarse "
        "to dense."
    )


def _value(path: str, kind: Kind, value: Any) -> Any:
    if kind == "kgrid":
        return normal_kgrid(value)
    if kind in NAMED and not (_is_number(value) and math.isfinite(value) and value > 0):
        raise InputError(f"The scan of {path} has the value {value!r}. Give numbers above 0.")
    return canonical(value)


def _path(spec: CalculatorSpec, name: str) -> str | None:
    """The path that the parameters have, or else the code's usual one; None where the code has none."""
    paths = spec.code.paths(NAMED[name])
    return next((path for path in paths if setting_of(spec, path) is not None), paths[0] if paths else None)


def _kind(spec: CalculatorSpec, path: str) -> Kind:
    if path == KGRID:
        return "kgrid"
    if path.lower() in spec.code.paths(NAMED["cutoff"]):
        return "cutoff"
    return "smearing" if path.lower() in spec.code.paths(NAMED["smearing"]) else "other"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _density(kgrid: KpointGrid) -> tuple[int, ...]:
    return (kgrid_size(kgrid), *kgrid_matrix(kgrid).ravel().tolist())


def _two_digits(value: float) -> float:
    """A value that a person would choose: two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.floor(value / unit + 0.5) * unit:.12g}")


def _changed(table: Mapping[str, Any], names: list[str], value: Any, path: str) -> dict[str, Any]:
    first, *rest = names
    first = _spelled(table, first)
    if not rest:
        return {**table, first: value}
    inner = table.get(first, {})
    if not isinstance(inner, Mapping):
        raise InputError(
            f"The setting {path} cannot be changed: {first} is {inner!r}, not a table. Give the parameter as a table "
            f"with all of its entries, for example mode = {{name = 'pw', ecut = 350}}."
        )
    return {**table, first: _changed(inner, rest, value, path)}


def _spelled(table: Mapping[str, Any], name: str) -> str:
    """A key as the table spells it; the name itself where it has none."""
    return next((key for key in table if key.lower() == name.lower()), name)
