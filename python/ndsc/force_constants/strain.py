"""The part of the forces that goes with the strain of the cell, told apart from that of the displacements.

At the zone centre the forces are ``f = -Phi u - Lambda eps``. For given Phi the best Lambda is linear in it; put back,
the least squares for Phi alone have the same form as without strain, with reduced moments (a Schur complement).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ndsc.force_constants.samples import Samples
from ndsc.force_constants.space_group import ComplexArray, FloatArray, SpaceGroupAction

#: Strains below this are none.
SMALLEST_STRAIN = 1e-6


@dataclass(frozen=True, eq=False)
class StrainMoments:
    """Second moments with the strain, averaged over the space group.

    Attributes
    ----------
    displacement_strain, force_strain : (3 n, 9) float array
        Sums of u eps^T and f eps^T, u and f being the mean displacements and forces of each atom of the unit cell.
    inverse : (9, 9) float array
        Pseudo-inverse of the sum of eps eps^T.
    """

    displacement_strain: FloatArray
    force_strain: FloatArray
    inverse: FloatArray

    @classmethod
    def of_samples(cls, samples: Sequence[Samples], action: SpaceGroupAction) -> StrainMoments:
        """The moments of samples; zero without strains."""
        size = 3 * action.permutations.shape[1]
        sums = [np.zeros((size, 9)), np.zeros((size, 9)), np.zeros((9, 9))]
        for sample in samples:
            if sample.strains is None:
                continue
            strain = sample.strains.reshape(-1, 9)
            sums[0] += sample.displacements.mean(axis=1).reshape(-1, size).T @ strain
            sums[1] += sample.forces.mean(axis=1).reshape(-1, size).T @ strain
            sums[2] += strain.T @ strain
        averaged = [np.zeros_like(x) for x in sums]
        for rotation, permutation in zip(action.cartesian, action.permutations, strict=True):
            on_strain = np.kron(rotation, rotation)
            on_atoms = np.kron(np.eye(len(permutation))[:, permutation], rotation)
            averaged[0] += on_atoms @ sums[0] @ on_strain.T / len(action)
            averaged[1] += on_atoms @ sums[1] @ on_strain.T / len(action)
            averaged[2] += on_strain @ sums[2] @ on_strain.T / len(action)
        eigenvalues, vectors = np.linalg.eigh(averaged[2])
        # Strains that are rounding (1e-8 Å of a cell) tell nothing.
        n_samples = sum(len(sample.names) for sample in samples)
        known = eigenvalues > max(1e-10 * float(eigenvalues[-1]), n_samples * SMALLEST_STRAIN**2)
        inverse = (vectors[:, known] / eigenvalues[known]) @ vectors[:, known].T
        return cls(averaged[0], averaged[1], inverse)

    def eliminated(self, moment: ComplexArray, product: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """The sums of u u^T and f u^T, (n, 3, n, 3) each, without what strain explains of them."""
        shape = moment.shape
        explained = self.inverse @ self.displacement_strain.T
        return (
            moment - (self.displacement_strain @ explained).reshape(shape),
            product - (self.force_strain @ explained).reshape(shape),
        )

    def internal_strain(self, phi: ComplexArray) -> FloatArray:
        """(n, 3, 3, 3) array, eV/Å : Lambda for given force constants Phi(0), (n, 3, n, 3)."""
        size = len(self.force_strain)
        response = self.force_strain + phi.real.reshape(size, size) @ self.displacement_strain
        tensor = -(response @ self.inverse).reshape(-1, 3, 3, 3)
        return np.asarray(tensor - tensor.mean(axis=0))
