import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ndsc.crystal import Crystal
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.relaxation import relax_crystal


@pytest.mark.parametrize("cubic", [False, True])
def test_emt_aluminium(cubic):
    # The minimum of E(a), by a parabola through energies alone.
    lattice = np.linspace(3.97, 4.02, 11)
    energies = []
    for a in lattice:
        atoms = bulk("Al", a=a)
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    fit = np.polynomial.Polynomial.fit(lattice, energies, 4)
    minima = [x.real for x in fit.deriv().roots() if abs(x.imag) < 1e-9 and 3.97 < x.real < 4.02]
    relaxed = relax_crystal(bulk("Al", a=4.1, cubic=cubic), EMT())
    volume_per_atom = relaxed.get_volume() / len(relaxed)
    assert (4 * volume_per_atom) ** (1 / 3) == pytest.approx(minima[0], abs=1e-4)
    assert relaxed.calc is None
    assert not relaxed.constraints


def test_symmetry_is_kept_in_an_odd_setting():
    start = bulk("Cu", "fcc", a=3.7)
    start.rotate(25, (1, 1, 0.3), rotate_cell=True)
    relaxed = relax_crystal(start, EMT())
    assert Crystal.from_atoms(relaxed).number == 225
    # No rotation creeps in: the cell is the old one, scaled.
    ratio = np.linalg.solve(start.cell.array, relaxed.cell.array)
    assert np.allclose(ratio, ratio[0, 0] * np.eye(3), atol=1e-6)


def test_hcp_has_two_lattice_constants():
    settings = {"sigma": 2.0, "epsilon": 0.1, "rc": 8.0, "smooth": True}
    start = bulk("Mg", "hcp", a=2.3, c=3.5)
    relaxed = relax_crystal(start, LennardJones(**settings))
    relaxed.calc = LennardJones(**settings)
    assert np.abs(relaxed.get_stress()).max() < 1e-4
    assert Crystal.from_atoms(relaxed).number == 194


def test_what_cannot_be_relaxed():
    with pytest.raises(ReferenceCalculationError, match="calculator raised"):
        relax_crystal(bulk("Si"), EMT())
    with pytest.raises(ReferenceCalculationError, match="did not reach"):
        relax_crystal(bulk("Al", a=4.3), EMT(), max_steps=1)
    with pytest.raises(InputError, match="fmax"):
        relax_crystal(bulk("Al"), EMT(), fmax=0)
