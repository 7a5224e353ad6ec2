"""Expected errors of labels that are given, in place of those that the labels let expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ndsc.fit.linear_system import ENERGY, FORCE, VIRIAL, kinds_of
from ndsc.fit.soap import COMPONENTS
from ndsc.targets import targets_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Distance over which forces count for virials, Å: that of close neighbours.
BOND = 2.0


@dataclass(frozen=True)
class GivenSigmas:
    """What is given of the sigmas of labels.

    Attributes
    ----------
    values : (R,) array
        Sigmas as a fit takes them whose prior has the scale one, in the units of the labels; 0 where none is given.
    relative, floor : (R,) bool array
        Whether the noise that is found from the labels counts too: its relative part, which is all that an energy has,
        and its floor.
    """

    values: FloatArray
    relative: BoolArray
    floor: BoolArray

    @classmethod
    def none(cls, n: int) -> GivenSigmas:
        """Nothing is given of n numbers."""
        return cls(np.zeros(n), np.ones(n, dtype=bool), np.ones(n, dtype=bool))

    @classmethod
    def of_frame(cls, frame: Atoms, said: Mapping[str, Any]) -> GivenSigmas:
        """What settings say of the sigmas of a configuration.

        Parameters
        ----------
        frame : ase.Atoms
            With targets (``REF_*``).
        said : mapping
            Keys of :class:`ndsc.fit.Regularisation` that are given, and no others; so too in ``force`` and ``virial``.

        Returns
        -------
        GivenSigmas
            Of its 1 + 3 n + 6 numbers.
        """
        kinds, targets, static = kinds_of(len(frame)), targets_of(frame), said.get("kind") == "static"
        found = cls.none(len(kinds))
        if "energy" in said:
            found._give(kinds == ENERGY, float(said["energy"]) * np.sqrt(len(frame)))
        forces = np.zeros(3 * len(frame)) if targets.forces is None else np.abs(targets.forces.reshape(-1))
        virial = np.zeros(len(COMPONENTS)) if targets.virial is None else np.abs(targets.virial[list(COMPONENTS)])
        # Forces over distances cancel in a virial; what a potential misses of them does not.
        over_bonds = float(said.get("bond", BOND)) * float(np.linalg.norm(forces))
        for kind, own, sizes in (
            (FORCE, said.get("force", {}), forces),
            (VIRIAL, said.get("virial", {}), np.maximum(virial, over_bonds)),
        ):
            rows = kinds == kind
            if static and "minimum" in own:
                found._give(rows, float(own["minimum"]))
            elif not static and own:
                parts = float(own.get("relative", 0.0)) * sizes
                found.values[rows] = np.maximum(parts, float(own.get("minimum", 0.0)))
                found.relative[rows], found.floor[rows] = "relative" not in own, "minimum" not in own
        return found

    def _give(self, rows: BoolArray, value: float) -> None:
        self.values[rows] = value
        self.relative[rows] = self.floor[rows] = False

    @classmethod
    def joined(cls, parts: Sequence[GivenSigmas]) -> GivenSigmas:
        """Those of some labels after each other."""
        values, relative, floor = zip(*((one.values, one.relative, one.floor) for one in parts), strict=True)
        return cls(np.concatenate(values), np.concatenate(relative), np.concatenate(floor))

    def subset(self, kept: Any) -> GivenSigmas:
        """Those of some of the labels."""
        return GivenSigmas(self.values[kept], self.relative[kept], self.floor[kept])

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is given at all."""
        return bool(self.relative.all() and self.floor.all())
