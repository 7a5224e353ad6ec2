"""The numbers behind the figures of parity and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ndsc.report.tidy import DataTable
from ndsc.results import CostSummary

if TYPE_CHECKING:
    from ndsc.fit import Predictions

_AXES = "xyz"


def parity_data(predictions: Predictions) -> DataTable:
    """Every target of the database and what the potential makes of it.

    Returns
    -------
    DataTable
        ``configuration``, from 0; ``config_type``; ``quantity``: ``energy_ev_per_atom``, ``force_ev_per_angstrom`` or
        ``virial_ev_per_atom``; ``atom``, from 0 in its configuration, for forces; ``component``: ``x``, or ``xy``;
        ``reference`` and ``model``, in the unit of the quantity. A missing target is an empty field.
    """
    rows: list[tuple[object, ...]] = []
    first = 0
    for index, (kind, n_atoms) in enumerate(zip(predictions.config_types, predictions.n_atoms, strict=True)):
        place = (index, kind)
        rows.append(
            (*place, "energy_ev_per_atom", None, None, predictions.reference_energies[index],
             predictions.model_energies[index])
        )  # fmt: skip
        for atom in range(int(n_atoms)):
            references, models = predictions.reference_forces[first + atom], predictions.model_forces[first + atom]
            rows += [
                (*place, "force_ev_per_angstrom", atom, axis, reference, model)
                for axis, reference, model in zip(_AXES, references, models, strict=True)
            ]
        first += int(n_atoms)
        virials = zip(
            (row + column for row in _AXES for column in _AXES),
            predictions.reference_virials[index].ravel(), predictions.model_virials[index].ravel(), strict=True,
        )  # fmt: skip
        rows += [
            (*place, "virial_ev_per_atom", None, component, reference, model) for component, reference, model in virials
        ]
    names = ("configuration", "config_type", "quantity", "atom", "component", "reference", "model")
    return DataTable.from_rows(names, rows)


def cost_data(cost: CostSummary) -> DataTable:
    """What the bars of the cost figure show: ``what``, ``calculations``, ``atoms_cubed``, ``relative_to_diagonal``."""
    one = float(cost.diagonal_atoms) ** 3
    rows: list[tuple[str, int, float]] = [("database", cost.labels, cost.atoms_cubed or 0.0)]
    if cost.reference_phonon_atoms_cubed is not None:
        rows.append(("phonons of the reference", cost.reference_phonon_labels, cost.reference_phonon_atoms_cubed))
    rows.append(("diagonal supercell", 1, one))
    rows.append(("diagonal supercell, as often as the database", cost.labels, cost.labels * one))
    names = ("what", "calculations", "atoms_cubed", "relative_to_diagonal")
    return DataTable.from_rows(names, [(*row, row[2] / one) for row in rows])
