"""Regularisation: the expected error of every energy, force component and virial component (section 3.3).

Convention: sigmas written to a frame are absolute, as gap_fit takes them per configuration. The energy's is
``energy * sqrt(n_atoms)``, which is what gap_fit makes of its default sigma: errors of atomic energies that add up as
independent ones do. Forces are per component, virials per component of the whole cell, both as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ndsc.errors import InputError
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, frame_name, targets_of

FloatArray = NDArray[np.float64]

ENERGY_SIGMA_KEY = "energy_sigma"
FORCE_SIGMA_KEY = "force_component_sigma"
VIRIAL_SIGMA_KEY = "virial_component_sigma"
#: Extended XYZ keeps eight decimals, and one sigma of zero gives a potential of NaN.
SMALLEST_SIGMA = 1e-7


@dataclass(frozen=True)
class Sigma:
    """Regularisation of one kind of component.

    Attributes
    ----------
    relative : float
        Part of the component's size that is its expected error (Delta of the paper); static regularisation ignores it.
    minimum : float, eV/Å or eV
        Smallest expected error; with static regularisation, the expected error of every component.
    """

    relative: float = 0.01
    minimum: float = 0.001


@dataclass(frozen=True)
class Regularisation:
    """The expected errors of a database.

    Attributes
    ----------
    kind : "adaptive" or "static"
        Adaptive: ``max(relative * |value|, minimum)`` for each component. Static: ``minimum`` for all.
    energy : float, eV per atom
        The energy of n atoms has the sigma ``energy * sqrt(n)``.
    force : Sigma, eV/Å
    virial : Sigma, eV
    """

    kind: Literal["adaptive", "static"] = "adaptive"
    energy: float = 0.001
    force: Sigma = field(default_factory=Sigma)
    virial: Sigma = field(default_factory=Sigma)

    def __post_init__(self) -> None:
        if self.kind not in ("adaptive", "static"):
            raise InputError(f"Regularisation of the kind {self.kind!r} does not exist. Use 'adaptive' or 'static'.")
        positive = {"energy": self.energy, "force.minimum": self.force.minimum, "virial.minimum": self.virial.minimum}
        for name, value in positive.items():
            if not SMALLEST_SIGMA <= value < np.inf:
                raise InputError(
                    f"The regularisation {name} = {value} is below {SMALLEST_SIGMA}, or no number; one sigma of zero "
                    "makes a potential of NaN. Give a positive number, for example 0.001."
                )
        for name, value in {"force.relative": self.force.relative, "virial.relative": self.virial.relative}.items():
            if not 0 <= value < np.inf:
                raise InputError(f"The regularisation {name} = {value} is no part of a value. Give 0 or more, as 0.01.")

    @classmethod
    def static(cls, *, energy: float = 0.001, force: float = 0.01, virial: float = 0.01) -> Regularisation:
        """One sigma for all force components and one for all virial components (the paper's figure 7: 0.01 eV)."""
        return cls("static", energy, Sigma(0.0, force), Sigma(0.0, virial))

    def scaled(self, factor: float) -> Regularisation:
        """All expected errors times `factor`."""
        return replace(
            self,
            energy=factor * self.energy,
            force=Sigma(factor * self.force.relative, factor * self.force.minimum),
            virial=Sigma(factor * self.virial.relative, factor * self.virial.minimum),
        )

    def energy_sigma(self, n_atoms: int) -> float:
        """Sigma of the energy of `n_atoms` atoms, eV."""
        return float(self.energy * np.sqrt(n_atoms))

    def force_sigma(self, forces: ArrayLike) -> FloatArray:
        """Sigma of each force component, eV/Å, in the shape of `forces` (eV/Å)."""
        return self._components(self.force, forces)

    def virial_sigma(self, virial: ArrayLike) -> FloatArray:
        """Sigma of each virial component, eV, in the shape of `virial` (eV)."""
        return self._components(self.virial, virial)

    def _components(self, sigma: Sigma, values: ArrayLike) -> FloatArray:
        sizes = np.abs(np.asarray(values, dtype=float))
        if self.kind == "static":
            return np.full(sizes.shape, sigma.minimum)
        adapted: FloatArray = np.maximum(sigma.relative * sizes, sigma.minimum)
        return adapted


def apply_regularisation(
    frames: Iterable[Atoms],
    regularisation: Regularisation | None = None,
    *,
    energy_key: str | None = ENERGY_KEY,
    forces_key: str | None = FORCES_KEY,
    virial_key: str | None = VIRIAL_KEY,
    stress_key: str | None = None,
) -> list[Atoms]:
    """Give every target of every frame its sigma (section 3.3).

    Parameters
    ----------
    frames : iterable of ase.Atoms
        A database, ours or somebody's; other keys and an attached calculator stay as they are.
    regularisation : Regularisation, optional
        The paper's adaptive one by default.
    energy_key, forces_key, virial_key, stress_key : str or None
        Where the frames keep their targets, see :func:`ndsc.targets.targets_of`.

    Returns
    -------
    list of ase.Atoms
        Copies with ``energy_sigma`` (eV), ``force_component_sigma`` ((n, 3) array, eV/Å) and
        ``virial_component_sigma`` ((9,) array, eV), each where the frame has the target.

    Raises
    ------
    InputError
        When a frame has none of the targets, or one that is not finite.
    """
    regularisation = Regularisation() if regularisation is None else regularisation
    weighted = []
    for number, frame in enumerate(frames):
        where = frame_name(frame, number)
        targets = targets_of(
            frame,
            energy_key=energy_key,
            forces_key=forces_key,
            virial_key=virial_key,
            stress_key=stress_key,
            where=where,
        )
        if targets.energy is None and targets.forces is None and targets.virial is None:
            keys = ", ".join(str(key) for key in (energy_key, forces_key, virial_key, stress_key) if key)
            raise InputError(
                f"{where[0].upper()}{where[1:]} has none of the targets {keys or '(no keys were given)'}, so there is "
                "nothing to regularise. Name the keys of this database."
            )
        copy = frame.copy()
        copy.calc = frame.calc
        for key in (ENERGY_SIGMA_KEY, VIRIAL_SIGMA_KEY):
            copy.info.pop(key, None)
        copy.arrays.pop(FORCE_SIGMA_KEY, None)
        if targets.energy is not None:
            copy.info[ENERGY_SIGMA_KEY] = regularisation.energy_sigma(len(frame))
        if targets.forces is not None:
            copy.arrays[FORCE_SIGMA_KEY] = regularisation.force_sigma(targets.forces)
        if targets.virial is not None:
            copy.info[VIRIAL_SIGMA_KEY] = regularisation.virial_sigma(targets.virial)
        weighted.append(copy)
    return weighted
