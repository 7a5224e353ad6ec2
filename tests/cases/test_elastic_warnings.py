"""Elastic constants that mean nothing, or something else, say so; what has none is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, graphene
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ndsc.elastic import ElasticConstants, elastic_constants
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.relaxation import relax_crystal


def lennard_jones():
    return LennardJones(sigma=1.2, epsilon=1.0, rc=5.0, smooth=True)


def sheet(height, scale=1.0):
    """A triangular lattice of atoms with vacuum, at rest for Lennard-Jones with sigma 1.2."""
    a = 1.3340 * scale
    cell = [[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, height]]
    return Atoms("C", cell=cell, positions=[[0, 0, 0.3]], pbc=True)


@pytest.fixture(scope="module")
def relaxed_sheet():
    from scipy.optimize import minimize_scalar

    def energy(scale):
        atoms = sheet(15.0, scale)
        atoms.calc = lennard_jones()
        return atoms.get_potential_energy()

    return sheet(15.0, minimize_scalar(energy, bounds=(0.95, 1.05), method="bounded").x)


def test_sheets_have_constants_in_newton_per_metre_that_do_not_depend_on_the_vacuum(relaxed_sheet):
    taller = relaxed_sheet.copy()
    taller.set_cell([*relaxed_sheet.cell.array[:2], [0, 0, 40.0]])
    wide = relaxed_sheet * (2, 1, 1)
    found = [elastic_constants(atoms, lennard_jones()) for atoms in (relaxed_sheet, taller, wide)]
    for one in found:
        assert one.dimension == 2
        assert one.in_plane == pytest.approx(found[0].in_plane, rel=1e-3)
        # Springs between the neighbours of a triangular lattice: C11 = 3 C12 = 3 C66, apart from farther neighbours.
        c11, c12, c66 = (one.in_plane[name] for name in ("C11", "C12", "C66"))
        assert one.in_plane["C22"] == pytest.approx(c11, rel=1e-3)
        assert c66 == pytest.approx((c11 - c12) / 2, rel=1e-3)
        assert c11 / c12 == pytest.approx(3, rel=0.02)
        assert one.stable
        assert np.isnan(one.bulk_modulus)
        assert np.isnan(one.young_modulus)
        assert any("sheet" in text and "N/m" in text for text in one.warnings)
        data = json.loads(json.dumps(one.to_dict(), allow_nan=False))
        assert data["bulk_modulus"] is None
        assert data["in_plane"] == pytest.approx(one.in_plane)
        assert ElasticConstants.from_dict(data).warnings == one.warnings
    # Second derivatives of the energy per area: a biaxial strain e costs (C11 + C12) e^2 per area.
    energies = []
    for strain in (-1e-3, 0.0, 1e-3):
        atoms = relaxed_sheet.copy()
        atoms.set_cell(atoms.cell.array * [[1 + strain], [1 + strain], [1]], scale_atoms=True)
        atoms.calc = lennard_jones()
        energies.append(atoms.get_potential_energy())
    area = np.linalg.norm(np.cross(*relaxed_sheet.cell.array[:2]))
    stiffness = (energies[0] + energies[2] - 2 * energies[1]) / 1e-6 / area * 16.0217663
    assert found[0].in_plane["C11"] + found[0].in_plane["C12"] == pytest.approx(stiffness / 2, rel=5e-3)


def test_the_normal_of_a_sheet_can_be_along_any_lattice_vector():
    slab = fcc100("Al", (1, 1, 1), a=4.0, vacuum=8.0)
    slab.pbc = True
    expected = elastic_constants(slab, EMT(), relax_ions=False).in_plane
    other = slab.copy()
    other.set_cell(slab.cell.array[[2, 0, 1]], scale_atoms=False)
    assert elastic_constants(other, EMT(), relax_ions=False).in_plane == pytest.approx(expected, rel=1e-3)
    skewed = slab.copy()
    skewed.set_cell(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]]) @ slab.cell.array, scale_atoms=False)
    assert elastic_constants(skewed, EMT(), relax_ions=False).in_plane == pytest.approx(expected, rel=1e-3)


def test_wires_and_huge_cells():
    wire = Atoms("Al", cell=[12.0, 13.0, 2.7], pbc=True)
    found = elastic_constants(wire, EMT())
    assert found.dimension == 1
    assert any("wire" in text for text in found.warnings)
    flat = Atoms("Al", cell=[2.7, 2.8, 1e6], pbc=True)
    assert elastic_constants(flat, EMT()).dimension == 2
    with pytest.raises(ReferenceCalculationError, match="do not interact"):
        elastic_constants(Atoms("Al", cell=[1e6, 1e6, 1e6], pbc=True), EMT())


class Zero(Calculator):
    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


def test_a_calculator_without_stress():
    with pytest.raises(ReferenceCalculationError, match="do not interact"):
        elastic_constants(bulk("Al"), Zero())


class Stepped(EMT):
    """Stresses in steps: what a calculator with a coarse grid or a discontinuous cutoff gives."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = np.floor(self.results["stress"] / 0.004) * 0.004


def test_a_calculator_that_is_not_smooth():
    atoms = relax_crystal(bulk("Al"), EMT())
    assert elastic_constants(atoms, EMT()).warnings == ()
    assert any("not smooth" in text for text in elastic_constants(atoms, Stepped()).warnings)


class Huge(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = self.results["stress"] * 1e30


def test_absurd_stresses():
    assert any("those of any material" in text for text in elastic_constants(bulk("Al"), Huge()).warnings)


def test_clamped_ions_are_named_where_they_matter():
    hcp = relax_crystal(bulk("Cu", "hcp", a=2.56, c=4.2), EMT())
    assert any("clamped" in text for text in elastic_constants(hcp, EMT(), relax_ions=False).warnings)
    assert elastic_constants(hcp, EMT()).warnings == ()
    fcc = relax_crystal(bulk("Al"), EMT())
    assert elastic_constants(fcc, EMT(), relax_ions=False).warnings == ()


def test_a_layered_crystal_is_not_a_sheet():
    layers = graphene(a=2.46, vacuum=None)
    layers.set_cell([*layers.cell.array[:2], [0, 0, 3.35]])
    layers.pbc = True
    assert elastic_constants(layers, lennard_jones(), relax_ions=False).dimension == 3


def test_strains_that_are_too_large():
    with pytest.raises(InputError, match="strain"):
        elastic_constants(bulk("Al"), EMT(), strain=0.2)
