"""A few configurations that stand for a database: the cheapest of its supercells, and strained unit cells."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from ndsc.codes.specification import supercell_matrix
from ndsc.configurations import make_configurations
from ndsc.convergence.noise import spread_over_supercells
from ndsc.errors import InputError
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
