"""What phonons say of themselves: whether they can be trusted, found out from what was computed anyway."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from phonopy import Phonopy

from ndsc.force_constants.dynamical import grid_index, harmonic_forces, reciprocal_force_constants
from ndsc.force_constants.phonopy_model import grid_force_constants
from ndsc.force_constants.samples import Samples
from ndsc.force_constants.space_group import ComplexArray, IntArray
from ndsc.qgrid import Grid

#: Residual forces above this are large, eV/Å.
LARGE_RESIDUAL = 0.01
#: A smooth calculator's forces differ from those of the force constants by a few per cent at 0.01 Å.
LARGEST_MISFIT = 0.15
#: Forces of the perfect supercells that are an error of the calculator, as a share of those of displaced ones.
LARGEST_UNEVENNESS = 0.005
#: An instability, not rounding, THz.
UNSTABLE_THZ = -0.05
#: Beyond the vibrations of hydrogen molecules, the highest that there are, THz.
HIGHEST_THZ = 140.0


def phonon_warnings(
    phonon: Phonopy, grid: Grid, numerators: IntArray, samples: Sequence[Samples], residual_force: float
) -> tuple[str, ...]:
    """Texts that say why the phonons may be wrong.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        With force constants; its primitive cell is the unit cell of the grid.
    grid : 3 ints
    numerators : (n, 3) int64 array
        q-points to look at, over the grid.
    samples : sequence of Samples
        What the force constants were made from.
    residual_force : float, eV/Å
        Largest force in a perfect supercell.
    """
    phi = reciprocal_force_constants(grid_force_constants(phonon, grid))
    texts = []
    if residual_force > LARGE_RESIDUAL:
        texts.append(
            f"The perfect supercells have forces of up to {residual_force:.3g} eV/Å, which were subtracted: the "
            "frequencies are those of a crystal that is not relaxed. Relax it with the same calculator."
        )
    texts += _uneven(samples)
    misfit = _misfit(phi, grid, samples)
    if misfit > LARGEST_MISFIT:
        texts.append(
            f"The forces of the displaced supercells differ by {misfit:.0%} from those of the force constants, so they "
            "are not linear in the displacements: the calculator is noisy or not smooth, or the displacements are too "
            "large or too small. Compare with displacements of another length."
        )
    masses = np.repeat(phonon.primitive.masses, 3)
    matrices = phi[grid_index(numerators, grid)].reshape(len(numerators), len(masses), len(masses))
    squares = np.linalg.eigvalsh(matrices / np.sqrt(masses[:, None] * masses[None, :]))
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares)) * phonon.unit_conversion_factor
    if frequencies.min() < UNSTABLE_THZ:
        texts.append(
            f"The crystal is unstable: it has imaginary phonons, down to {frequencies.min():.3g} THz at the q-points "
            "of the grid."
        )
    if frequencies.max() > HIGHEST_THZ:
        texts.append(
            f"The frequencies reach {frequencies.max():.3g} THz, higher than in any crystal. Check the forces of the "
            "calculator."
        )
    return tuple(texts)


def _uneven(samples: Sequence[Samples]) -> list[str]:
    """The text about the supercell whose perfect forces are most uneven, beside the forces after displacements."""
    shares = [
        sample.unevenness / largest if (largest := float(np.max(np.linalg.norm(sample.forces, axis=-1)))) else 0.0
        for sample in samples
    ]
    if not shares or max(shares) <= LARGEST_UNEVENNESS:
        return []
    worst = samples[int(np.argmax(shares))]
    length = float(np.max(np.linalg.norm(worst.displacements, axis=-1)))
    return [
        f"The forces on equivalent atoms of the perfect supercell {worst.matrix.tolist()} differ from their mean by up "
        f"to {1e3 * worst.unevenness:.2g} meV/Å, {max(shares):.1%} of the largest force after a displacement of "
        f"{length:.2g} Å: frequencies have errors of about half that share. Take longer displacements, for example "
        "0.03 Å, or more k-points and a higher cutoff."
    ]


def _misfit(phi: ComplexArray, grid: Grid, samples: Sequence[Samples]) -> float:
    """Root mean square difference between given forces and those of the force constants, as a share of the forces."""
    wrong = total = 0.0
    for sample in samples:
        found = harmonic_forces(phi, sample.matrix, sample.lattice_points, sample.displacements, grid)
        wrong += float(np.sum(np.square(found - sample.forces)))
        total += float(np.sum(np.square(sample.forces)))
    return float(np.sqrt(wrong / total)) if total else 0.0
