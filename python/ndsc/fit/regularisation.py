"""Regularisation: the expected error of every energy, force component and virial component (section 3.3).

Convention: sigmas written to a frame are absolute, as gap_fit takes them per configuration. The energy's is
``energy * sqrt(n_atoms)``, which is what gap_fit makes of its default sigma: errors of atomic energies that add up as
independent ones do. Forces are per component, virials per component of the whole cell, both as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ndsc.errors import InputError
from ndsc.fit.presets import fill_from_preset
from ndsc.section import Real, Section
from ndsc.targets import ENERGY_KEY, FORCES_KEY, VIRIAL_KEY, frame_name, targets_of

FloatArray = NDArray[np.float64]

ENERGY_SIGMA_KEY = "energy_sigma"
FORCE_SIGMA_KEY = "force_component_sigma"
VIRIAL_SIGMA_KEY = "virial_component_sigma"
#: Extended XYZ keeps eight decimals, and one sigma of zero gives a potential of NaN.
SMALLEST_SIGMA = 1e-7


class Sigma(Section):
    """Regularisation of one kind of component.

    Attributes
    ----------
    relative : float
        Part of the component's size that is its expected error (Delta of the paper); static regularisation ignores it.
    minimum : float, eV/Å or eV
        Smallest expected error; with static regularisation, the expected error of every component.
    """

    relative: Real = Field(
        default=0.01, ge=0, le=100, description="Give sigma as a fraction of the value, for example 0.01."
    )
    minimum: Real = Field(
        default=0.001,
        ge=SMALLEST_SIGMA,
        le=1000,
        description="Give the smallest sigma, above zero (zero gives a potential of NaN).",
    )


class Regularisation(Section):
    """``[regularisation]``: the expected error of each number in the database; ``ndsc.fit.Regularisation`` in Python.

    Attributes
    ----------
    kind : "adaptive" or "static"
        Adaptive: ``max(relative * |value|, minimum)`` for each component. Static: ``minimum`` for all.
    preset : str or None
        Takes the values that are not given from a row of Table 2 of Allen and Bartók.
    energy : float, eV per atom
        The energy of n atoms has the sigma ``energy * sqrt(n)``.
    force : Sigma, eV/Å
    virial : Sigma, eV
    bond : float, Å
        Adaptive sigmas of virials are at least ``virial.relative * bond`` times the root of the sum of all squared
        forces of the configuration: forces over distances cancel in a virial, what a potential misses of them does not.
    """

    kind: Literal["adaptive", "static"] = Field(
        default="adaptive", description="Give kind = 'adaptive' (sigma grows with the value) or 'static'."
    )
    preset: str | None = Field(
        default=None,
        description="Give the element of a preset of Allen and Bartók, Table 2; other keys override its values.",
    )
    energy: Real = Field(
        default=0.001, ge=SMALLEST_SIGMA, le=1000, description="Give the sigma of the energy in eV, for example 0.001."
    )
    force: Sigma = Field(
        default=Sigma(), description="Give a table, for example force = {relative = 0.01, minimum = 0.001}, in eV/Å."
    )
    virial: Sigma = Field(
        default=Sigma(), description="Give a table, for example virial = {relative = 0.01, minimum = 0.001}, in eV."
    )

    bond: Real = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Give the distance of neighbours in Å, for example 2.0: with it, forces set a lower bound for the "
        "sigmas of virials. Zero means no such bound.",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return fill_from_preset(data, "regularisation")

    @classmethod
    def static(cls, *, energy: float = 0.001, force: float = 0.01, virial: float = 0.01) -> Regularisation:
        """One sigma for all force components and one for all virial components (the paper's figure 7: 0.01 eV)."""
        force_sigma, virial_sigma = (Sigma(relative=0.0, minimum=minimum) for minimum in (force, virial))
        return cls(kind="static", energy=energy, force=force_sigma, virial=virial_sigma)

    def scaled(self, factor: float) -> Regularisation:
        """All expected errors times `factor`."""
        force, virial = (
            Sigma(relative=factor * sigma.relative, minimum=factor * sigma.minimum)
            for sigma in (self.force, self.virial)
        )
        return Regularisation(kind=self.kind, energy=factor * self.energy, force=force, virial=virial, bond=self.bond)

    def expected_errors(self) -> dict[str, Any]:
        """All values but the name of the preset, which they include."""
        return self.model_dump(exclude={"preset"})

    def energy_sigma(self, n_atoms: int) -> float:
        """Sigma of the energy of `n_atoms` atoms, eV."""
        return float(self.energy * np.sqrt(n_atoms))

    def force_sigma(self, forces: ArrayLike) -> FloatArray:
        """Sigma of each force component, eV/Å, in the shape of `forces` (eV/Å)."""
        return self._components(self.force, forces)

    def virial_sigma(self, virial: ArrayLike, forces: ArrayLike | None = None) -> FloatArray:
        """Sigma of each virial component, eV, in the shape of `virial` (eV); `forces` (eV/Å) count with a `bond`."""
        found = self._components(self.virial, virial)
        if self.kind == "static" or forces is None:
            return found
        return np.maximum(found, self.virial.relative * self.bond * float(np.linalg.norm(np.asarray(forces))))

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
    """Give every target of every frame its sigma (section 3.3 of C. Allen and A. P. Bartók, 2022).

    Parameters
    ----------
    frames : iterable of ase.Atoms
        A database of any origin; other keys and an attached calculator stay as they are.
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
            copy.info[VIRIAL_SIGMA_KEY] = regularisation.virial_sigma(targets.virial, targets.forces)
        weighted.append(copy)
    return weighted
