"""Elastic constants of real potentials against known values, slopes of phonons, and direct differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from ndsc.elastic import elastic_constants
from ndsc.elastic_setting import standard_orientation
from ndsc.force_constants import phonons_from_supercells
from ndsc.relaxation import relax_crystal

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.gap
def test_silicon_with_relaxed_and_clamped_ions():
    from quippy.potential import Potential

    calculator = Potential("IP SW", param_filename=str(DATA / "stillinger_weber_si.xml"))
    atoms = bulk("Si", a=5.4309497)
    relaxed = elastic_constants(atoms, calculator)
    clamped = elastic_constants(atoms, calculator, relax_ions=False)
    # Published for Stillinger and Weber's silicon: 151.4, 76.4, 56.4 GPa.
    assert relaxed.constants == pytest.approx({"C11": 151.4, "C12": 76.4, "C44": 56.4}, abs=0.3)
    assert clamped.constants["C44"] == pytest.approx(109.8, abs=0.3)
    assert clamped.constants["C11"] == pytest.approx(relaxed.constants["C11"], abs=0.1)


def test_hcp_against_direct_differences_of_the_stress():
    atoms = relax_crystal(bulk("Cu", "hcp", a=2.56, c=4.2), EMT())
    found = elastic_constants(atoms, EMT(), relax_ions=False, strain=0.001)
    standard, _ = standard_orientation(atoms)
    for column, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        stresses = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * 0.0005
            strain[j, i] += sign * 0.0005
            strained = standard.copy()
            strained.set_cell(standard.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = EMT()
            stresses.append(strained.get_stress())
        # Off-diagonal strains add up to the engineering strain.
        expected = (stresses[0] - stresses[1]) / 0.002 / GPa
        np.testing.assert_allclose(found.matrix[:, column], expected, atol=0.15)


def test_hcp_ions_relax():
    atoms = relax_crystal(bulk("Cu", "hcp", a=2.56, c=4.2), EMT())
    relaxed, clamped = (elastic_constants(atoms, EMT(), relax_ions=relax).constants for relax in (True, False))
    # Internal relaxation only softens, and leaves the constants that symmetry forbids it to touch.
    assert relaxed["C66"] < clamped["C66"] - 1
    assert relaxed["C33"] == pytest.approx(clamped["C33"], abs=0.01)
    assert relaxed["C44"] == pytest.approx(clamped["C44"], rel=0.01)


def test_sound_of_fcc_has_the_slope_of_the_elastic_constants():
    atoms = relax_crystal(bulk("Al", a=4.0), EMT())
    constants = elastic_constants(atoms, EMT()).constants
    phonon = phonons_from_supercells(atoms, 8, EMT()).phonopy
    density = 26.9815385 * 1.66053907e-27 / (atoms.get_volume() * 1e-30)
    # Along [100]: the longitudinal branch goes with C11, the transverse ones with C44.
    q = np.array([0.02, 0.0, 0.02])
    length = np.linalg.norm(q @ np.linalg.inv(atoms.cell.array).T) * 1e10
    speeds = np.array(phonon.run_qpoints(q[None]).frequencies[0]) * 1e12 / length
    expected = np.sqrt(np.array([constants["C44"], constants["C44"], constants["C11"]]) * 1e9 / density)
    np.testing.assert_allclose(speeds, expected, rtol=0.02)
