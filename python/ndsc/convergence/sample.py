"""A few configurations that represent a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from ndsc.codes.specification import CalculatorSpec, supercell_matrix
from ndsc.configurations import make_configurations
from ndsc.errors import InputError
from ndsc.kpoints import kgrid_size
from ndsc.supercells import SupercellSet
from ndsc.targets import is_isolated_atom

#: Largest strain of the unit cells where the database has none.
STRAIN = 0.01


def sample_configurations(
    supercells: SupercellSet, configurations: Sequence[Atoms], *, displaced: int = 3, unit_cells: int = 3
) -> list[Atoms]:
    """Some configurations of a database, of the smallest supercells, and unit cells strained like them.

    Parameters
    ----------
    supercells : SupercellSet
    configurations : sequence of ase.Atoms
        Of the database, as :func:`~ndsc.make_configurations` makes them of these supercells.
    displaced : int
        Perturbed supercells; each of another supercell while there are any.
    unit_cells : int
        Unit cells, the first unperturbed. Those of the database serve where it has as many, others are made.

    Raises
    ------
    InputError
        When these are fewer than two configurations.
    """
    cells = [atoms for atoms in configurations if atoms.info.get("config_type") == "unit_cell"]
    perturbed = [
        atoms
        for atoms in configurations
        if atoms.info.get("config_type") != "unit_cell" and not is_isolated_atom(atoms)
    ]
    sizes: dict[bytes, int] = {}
    for atoms in perturbed:
        sizes.setdefault(supercell_matrix(atoms).tobytes(), len(atoms))
    cheapest = sorted(sizes, key=lambda key: sizes[key])[:displaced]
    of_cheapest = [atoms for atoms in perturbed if supercell_matrix(atoms).tobytes() in cheapest]
    if len(cells) < unit_cells:
        cells = make_configurations(
            supercells,
            per_supercell=0,
            unit_cells=unit_cells,
            strain=max((float(atoms.info["ndsc_strain"]) for atoms in perturbed), default=0.0) or STRAIN,
            scale=list(dict.fromkeys(float(atoms.info["ndsc_scale"]) for atoms in perturbed)) or 1.0,
            seed=int(perturbed[0].info["ndsc_seed"]) if perturbed else 0,
        )
    chosen = [*cells[:unit_cells], *spread_over_supercells(of_cheapest, displaced)]
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} configurations: convergence is judged by differences between configurations. Take at least "
            "two, supercells and unit cells."
        )
    return chosen


def spread_over_supercells(configurations: Sequence[Atoms], n: int) -> list[Atoms]:
    """At most n of the configurations, evenly over the unit cell and the supercells, and over how they were made.

    Parameters
    ----------
    configurations : sequence of ase.Atoms
        With ``info["ndsc_matrix"]``.
    n : int

    Returns
    -------
    list of ase.Atoms
        In the order given.
    """
    groups: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(configurations):
        groups.setdefault(supercell_matrix(atoms).tobytes(), []).append(index)
    members = list(groups.values())
    if n < len(members):
        members = [members[i] for i in np.linspace(0, len(members) - 1, n).round().astype(int)]
    used: Counter[tuple[Any, ...]] = Counter()
    chosen: list[int] = []
    while len(chosen) < n and any(members):
        for group in members:
            if group and len(chosen) < n:
                # Of the recipe that was taken least, so that all scales, amplitudes and parts of a database occur.
                index = min(group, key=lambda i: used[_recipe(configurations[i])])
                group.remove(index)
                used[_recipe(configurations[index])] += 1
                chosen.append(index)
    return [configurations[index] for index in sorted(chosen)]


def _recipe(atoms: Atoms) -> tuple[Any, ...]:
    return tuple(atoms.info.get(name) for name in ("ndsc_part", "ndsc_scale", "ndsc_displacement"))


def count_kpoints(configurations: Sequence[Atoms], spec: CalculatorSpec) -> tuple[int, ...] | None:
    """The number of folded k-points of each configuration; None for calculators without k-points.

    k and -k are counted as two, though most codes calculate one of them.
    """
    if spec.kgrid is None:
        return None
    points = kgrid_size(spec.kgrid)
    sizes = [abs(round(float(np.linalg.det(supercell_matrix(atoms))))) for atoms in configurations]
    return tuple(points // size for size in sizes)
