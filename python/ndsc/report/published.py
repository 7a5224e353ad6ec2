"""What Allen and Bartók (2022) report for their four crystals: elastic constants and lattices (Tables 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

#: Errors within which the paper's potentials agree with its reference: phonons (THz) and elastic constants (percent).
PAPER_RMSE_THZ = 0.5
PAPER_ELASTIC_PERCENT = 6.0


@dataclass(frozen=True)
class Published:
    """The paper's numbers for one crystal.

    Attributes
    ----------
    structure : str
        Name of the structure in the paper.
    reference, potential : dict of str to float
        Density-functional theory (PBE, CASTEP) and Gaussian approximation potential: elastic constants and
        ``bulk modulus`` in GPa, ``a`` and ``c`` of the primitive cell in Å.
    """

    structure: str
    reference: dict[str, float]
    potential: dict[str, float]


class _HasSpaceGroup(Protocol):
    @property
    def formula(self) -> str: ...
    @property
    def space_group_number(self) -> int: ...


_TABLE = {
    ("Mg", 194): Published(
        "hcp Mg",
        {"bulk modulus": 36.5, "C11": 64.2, "C12": 20.2, "C13": 23.7, "C33": 64.7, "C44": 17.1, "C66": 20.9,
         "a": 3.198, "c": 5.179},
        {"bulk modulus": 36.2, "C11": 65.6, "C12": 20.7, "C13": 22.4, "C33": 63.6, "C44": 17.4, "C66": 22.1,
         "a": 3.194, "c": 5.181},
    ),
    ("Al", 225): Published(
        "fcc Al",
        {"bulk modulus": 77.6, "C11": 106.9, "C12": 62.9, "C44": 33.3, "a": 2.856},
        {"bulk modulus": 77.5, "C11": 109.2, "C12": 61.7, "C44": 31.9, "a": 2.856},
    ),
    ("Si", 227): Published(
        "diamond Si",
        {"bulk modulus": 88.6, "C11": 152.7, "C12": 56.6, "C44": 73.3, "a": 3.867},
        {"bulk modulus": 88.6, "C11": 152.4, "C12": 56.7, "C44": 72.4, "a": 3.867},
    ),
    ("W", 229): Published(
        "bcc W",
        {"bulk modulus": 306.3, "C11": 512.8, "C12": 203.0, "C44": 135.9, "a": 2.756},
        {"bulk modulus": 306.4, "C11": 510.5, "C12": 204.3, "C44": 136.9, "a": 2.757},
    ),
}  # fmt: skip


def published(crystal: _HasSpaceGroup) -> Published | None:
    """The paper's numbers for `crystal` (its ``formula`` and ``space_group_number``), or None if it has none."""
    return _TABLE.get((crystal.formula.rstrip("0123456789"), crystal.space_group_number))
