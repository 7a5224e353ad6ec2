"""What Allen and Bartók (2022) report for their four crystals: Tables 1 to 3, with the measured values cited there."""

from __future__ import annotations

from dataclasses import dataclass, field

from ndsc.results import CrystalSummary

#: Errors within which the paper's potentials agree with its reference: phonons (THz) and elastic constants (percent).
PAPER_RMSE_THZ = 0.5
PAPER_ELASTIC_PERCENT = 6.0
#: Where the numbers of this module are from.
SOURCE = "Allen and Bartók, Mach. Learn.: Sci. Technol. 3, 045031 (2022)"
#: How the reference of the paper was computed.
REFERENCE_CODE = "PBE, CASTEP"


@dataclass(frozen=True)
class Published:
    """The paper's numbers for one crystal.

    Attributes
    ----------
    structure : str
        Name of the structure in the paper.
    reference, potential : dict of str to float
        Density-functional theory and Gaussian approximation potential (Table 3, lattices of Tables 1 and 2): elastic
        constants and ``bulk modulus`` in GPa, ``a`` and ``c`` of the primitive cell in Å.
    experiment : dict of str to float, GPa
        Measured constants as Table 3 cites them.
    experiment_source : str
        Whose measurement it is.
    calculation : dict of str to float
        Settings of the reference (Table 1): ``cutoff_ev``, ``kspacing_per_angstrom``, ``scf_tolerance_ev``.
    fit : dict of str to float
        Settings and size of the database (Table 2): ``cutoff_angstrom``, ``n_max``, ``l_max``, ``atom_sigma_angstrom``,
        ``force_relative``, ``force_minimum_ev_per_angstrom``, ``virial_relative``, ``virial_minimum_ev``, ``atoms``,
        ``labels``.
    reduced : dict of str to float, GPa
        Constants of the potential that was fitted to primitive cells alone (GAP*), where Table 3 has them.
    """

    structure: str
    reference: dict[str, float]
    potential: dict[str, float]
    experiment: dict[str, float] = field(default_factory=dict)
    experiment_source: str = ""
    calculation: dict[str, float] = field(default_factory=dict)
    fit: dict[str, float] = field(default_factory=dict)
    reduced: dict[str, float] = field(default_factory=dict)


def _calculation(cutoff: float, kspacing: float, tolerance: float) -> dict[str, float]:
    return {"cutoff_ev": cutoff, "kspacing_per_angstrom": kspacing, "scf_tolerance_ev": tolerance}


def _fit(
    cutoff: float, n_max: int, l_max: int, *, atoms: int, labels: int, virial: tuple[float, float] = (1e-2, 1e-3)
) -> dict[str, float]:
    return {
        "cutoff_angstrom": cutoff, "n_max": n_max, "l_max": l_max, "atom_sigma_angstrom": 0.5, "force_relative": 1e-2,
        "force_minimum_ev_per_angstrom": 1e-3, "virial_relative": virial[0], "virial_minimum_ev": virial[1],
        "atoms": atoms, "labels": labels,
    }  # fmt: skip


_TABLE = {
    ("Mg", 194): Published(
        "hcp Mg",
        {"bulk modulus": 36.5, "C11": 64.2, "C12": 20.2, "C13": 23.7, "C33": 64.7, "C44": 17.1, "C66": 20.9,
         "a": 3.198, "c": 5.179},
        {"bulk modulus": 36.2, "C11": 65.6, "C12": 20.7, "C13": 22.4, "C33": 63.6, "C44": 17.4, "C66": 22.1,
         "a": 3.194, "c": 5.181},
        {"bulk modulus": 36.9, "C11": 63.5, "C12": 25.9, "C13": 21.7, "C33": 66.5, "C44": 18.4, "C66": 18.8},
        "L. J. Slutsky and C. W. Garland, Phys. Rev. 107, 972 (1957)",
        _calculation(520.0, 0.012, 1e-11),
        _fit(8.0, 8, 6, atoms=4276, labels=1004),
    ),
    ("Al", 225): Published(
        "fcc Al",
        {"bulk modulus": 77.6, "C11": 106.9, "C12": 62.9, "C44": 33.3, "a": 2.856},
        {"bulk modulus": 77.5, "C11": 109.2, "C12": 61.7, "C44": 31.9, "a": 2.856},
        {"bulk modulus": 82.0, "C11": 116.3, "C12": 64.8, "C44": 30.9},
        "J. Vallin, M. Mongy, K. Salama and O. Beckman, J. Appl. Phys. 35, 1825 (1964)",
        _calculation(800.0, 0.010, 1e-11),
        _fit(10.0, 10, 8, atoms=1683, labels=850, virial=(5e-3, 5e-4)),
    ),
    ("Si", 227): Published(
        "diamond Si",
        {"bulk modulus": 88.6, "C11": 152.7, "C12": 56.6, "C44": 73.3, "a": 3.867},
        {"bulk modulus": 88.6, "C11": 152.4, "C12": 56.7, "C44": 72.4, "a": 3.867},
        {"bulk modulus": 99.1, "C11": 167.5, "C12": 64.9, "C44": 80.2},
        "J. J. Hall, Phys. Rev. 161, 756 (1967)",
        _calculation(400.0, 0.030, 1e-11),
        _fit(6.0, 8, 6, atoms=3300, labels=936),
        {"bulk modulus": 89.7, "C11": 155.8, "C12": 56.7, "C44": 72.8},
    ),
    ("W", 229): Published(
        "bcc W",
        {"bulk modulus": 306.3, "C11": 512.8, "C12": 203.0, "C44": 135.9, "a": 2.756},
        {"bulk modulus": 306.4, "C11": 510.5, "C12": 204.3, "C44": 136.9, "a": 2.757},
        {"bulk modulus": 314.7, "C11": 533.9, "C12": 205.1, "C44": 163.3},
        "J. H. Stathis and D. I. Bolef, J. Appl. Phys. 51, 4770 (1980)",
        _calculation(600.0, 0.015, 1e-10),
        _fit(6.0, 8, 6, atoms=1550, labels=836),
    ),
}  # fmt: skip


def published(crystal: CrystalSummary) -> Published | None:
    """The paper's numbers for `crystal`, or None when the paper has none."""
    element = crystal.formula.rstrip("0123456789")
    return _TABLE.get((element, crystal.space_group_number))
