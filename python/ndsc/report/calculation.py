"""Settings of a calculation by their meaning: one set of names and units, whatever a code calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.geometry import minkowski_reduce
from ase.units import Rydberg
from numpy.typing import ArrayLike

from ndsc.kpoints import AnyGrid, kgrid_matrix

#: What settings mean, in the order of a table, with the head of their row.
MEANINGS = {
    "xc": "functional",
    "basis": "basis",
    "cutoff_ev": "E_cut (eV)",
    "density_cutoff_ev": "E_cut of the density (eV)",
    "smearing": "smearing",
    "smearing_order": "order of the smearing",
    "smearing_ev": "width of the smearing (eV)",
    "bands": "bands",
    "scf_tolerance_ev": "SCF tolerance (eV)",
    "scf_tolerance_per_atom_ev": "SCF tolerance (eV per atom)",
    "scf_tolerance_per_electron_ev": "SCF tolerance (eV per valence electron)",
    "scf_density_tolerance": "SCF tolerance of the density (electrons per valence electron)",
}
#: For each code, its keywords in lower case: what they mean, and the factor to the unit of the meaning.
_KEYWORDS: dict[str, dict[str, tuple[str, float]]] = {
    "gpaw": {
        "xc": ("xc", 1), "mode": ("basis", 1), "mode.name": ("basis", 1), "mode.ecut": ("cutoff_ev", 1),
        "occupations.name": ("smearing", 1), "occupations.order": ("smearing_order", 1),
        "occupations.width": ("smearing_ev", 1), "nbands": ("bands", 1),
        "convergence.energy": ("scf_tolerance_per_electron_ev", 1), "convergence.density": ("scf_density_tolerance", 1),
    },
    "espresso": {
        "input_dft": ("xc", 1), "ecutwfc": ("cutoff_ev", Rydberg), "ecutrho": ("density_cutoff_ev", Rydberg),
        "smearing": ("smearing", 1), "degauss": ("smearing_ev", Rydberg), "nbnd": ("bands", 1),
        "conv_thr": ("scf_tolerance_ev", Rydberg),
    },
    "abinit": {
        "xc": ("xc", 1), "ecut": ("cutoff_ev", 1), "pawecutdg": ("density_cutoff_ev", 1), "tsmear": ("smearing_ev", 1),
        "nband": ("bands", 1), "toldfe": ("scf_tolerance_ev", 1),
    },
    "castep": {
        "xc_functional": ("xc", 1), "cut_off_energy": ("cutoff_ev", 1), "smearing_scheme": ("smearing", 1),
        "smearing_width": ("smearing_ev", 1), "nbands": ("bands", 1),
        "elec_energy_tol": ("scf_tolerance_per_atom_ev", 1),
    },
    "vasp": {
        "xc": ("xc", 1), "encut": ("cutoff_ev", 1), "sigma": ("smearing_ev", 1), "nbands": ("bands", 1),
        "ediff": ("scf_tolerance_ev", 1),
    },
}  # fmt: skip
_BASES = {"pw": "plane waves", "fd": "real-space grid", "lcao": "atomic orbitals"}


def by_meaning(calculator: str, parameters: Mapping[str, Any]) -> tuple[dict[str, float | str], dict[str, str]]:
    """Sort the parameters of a calculator.

    Parameters
    ----------
    calculator : str
        ``"gpaw"``, ``"espresso"`` …
    parameters : mapping
        As its labels record them.

    Returns
    -------
    known : dict of str to float or str
        Those that are in :data:`MEANINGS`, by their key there.
    others : dict of str to str
        The rest by their dotted name in the code, as text.
    """
    keywords = _KEYWORDS.get(calculator, {})
    known: dict[str, float | str] = {}
    others: dict[str, str] = {}
    for path, value in _flat(parameters).items():
        # Keywords of pw.x may stand in namelists, whose names say nothing.
        name = path.lower().rpartition(".")[2] if calculator == "espresso" else path.lower()
        meaning, factor = keywords.get(name, ("", 1.0))
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if meaning and (plain or isinstance(value, str)):
            known[meaning] = float(value) * factor if plain else _BASES.get(value, value)
        else:
            others[path] = str(value)
    return known, others


def k_spacing(cell: ArrayLike, kgrid: AnyGrid) -> float:
    """Spacing of a k-point grid in 1/Å, without the factor 2π, as CASTEP's ``kpoints_mp_spacing`` counts it.

    Parameters
    ----------
    cell : (3, 3) array, Å
        Of the unit cell; rows are vectors.
    kgrid : int, three ints or (3, 3) ints

    Returns
    -------
    float
        The largest of the three directions: ``|b_i| / n_i`` with ``a_i · b_j = δ_ij``. Of a generalised
        grid, that of the reduced vectors of its supercell.
    """
    matrix = kgrid_matrix(kgrid)
    supercell = matrix @ np.asarray(cell, dtype=float)
    if not np.array_equal(matrix, np.diag(np.diag(matrix))):
        supercell, _ = minkowski_reduce(supercell)
    return float(np.max(np.linalg.norm(np.linalg.inv(supercell), axis=0)))


def _flat(parameters: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested parameters by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
