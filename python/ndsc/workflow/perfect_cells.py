"""Whether the reference sees the perfect crystal alike in the unit cell and in every supercell.

It must, when k-points are folded and everything else is as dense: what differs is noise between the configurations of
one database. The usual reason is that the k-points are not folded, or that a wide smearing occupies states for which a
supercell has fewer bands an atom than the unit cell.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from ndsc.reference import Label

#: Largest difference of the energies per atom that is not worth a warning, eV.
NOTABLE_SPREAD = 1e-4


def perfect_cell_energies(frames: list[Atoms], labels: Mapping[str, Label]) -> dict[str, float]:
    """Energies of the unperturbed crystal, in each cell that it was calculated in.

    Parameters
    ----------
    frames : list of ase.Atoms
        Configurations and the structures of :func:`~ndsc.force_constants.phonon_displacements`.
    labels : mapping of str to Label
        By ``ndsc_name``.

    Returns
    -------
    dict of str to float, eV per atom
    """
    return {
        name: labels[name].energy / len(atoms)
        for atoms in frames
        if (name := str(atoms.info["ndsc_name"])) in labels and _is_perfect(atoms)
    }


def perfect_cell_warning(frames: list[Atoms], labels: Mapping[str, Label]) -> str | None:
    """What to tell when the cells do not agree within 0.1 meV per atom; None when they do."""
    energies = perfect_cell_energies(frames, labels)
    if len(energies) < 2 or (spread := float(np.ptp(list(energies.values())))) <= NOTABLE_SPREAD:
        return None
    lowest, highest = min(energies, key=energies.__getitem__), max(energies, key=energies.__getitem__)
    return (
        f"The perfect crystal has {1e3 * spread:.2f} meV per atom more in {highest} than in {lowest}, which is noise "
        "between the configurations. Look at the k-points, and with a wide smearing at the number of bands, which must "
        "hold all occupied states in every supercell (GPAW: nbands in percent, not a number)."
    )


def _is_perfect(atoms: Atoms) -> bool:
    """A perfect supercell of the phonons, or the first configuration of the unit cell."""
    if atoms.info["config_type"] == "phonon_perfect":
        return True
    return bool(atoms.info["config_type"] == "unit_cell" and atoms.info.get("ndsc_index") == 0)
