"""The warning where the reference does not see the perfect crystal alike in all cells."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ndsc import find_supercells, make_configurations
from ndsc.force_constants import phonon_displacements
from ndsc.reference import Label
from ndsc.workflow.labelling import perfect_cell_energies, perfect_cell_warning

SUPERCELLS = find_supercells(bulk("Al", a=4.0), 2)
FRAMES = [*make_configurations(SUPERCELLS, per_supercell=1, unit_cells=2), *phonon_displacements(SUPERCELLS)]


@pytest.fixture(scope="module")
def labels() -> dict[str, Label]:
    found = {}
    for atoms in FRAMES:
        copy = atoms.copy()
        copy.calc = EMT()
        found[atoms.info["ndsc_name"]] = Label(
            key="", energy=copy.get_potential_energy(), forces=copy.get_forces(), stress=copy.get_stress(), seconds=0.1,
            provenance={},
        )  # fmt: skip
    return found


def test_cells_that_agree(labels):
    energies = perfect_cell_energies(FRAMES, labels)
    assert len(energies) == 1 + len(SUPERCELLS)
    assert np.ptp(list(energies.values())) < 1e-9
    assert perfect_cell_warning(FRAMES, labels) is None


def test_a_cell_that_does_not(labels):
    name = list(perfect_cell_energies(FRAMES, labels))[-1]
    shifted = labels | {name: dataclasses.replace(labels[name], energy=labels[name].energy + 2 * 5e-4)}
    warning = perfect_cell_warning(FRAMES, shifted)
    assert warning is not None
    assert "0.50 meV per atom" in warning
    assert name in warning


def test_one_cell_has_nothing_to_agree_with(labels):
    assert perfect_cell_warning(FRAMES[:1], labels) is None
