"""A model compared with its reference on labelled configurations: energies, forces, virials and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ndsc.codes.base import potential_energy
from ndsc.errors import InputError
from ndsc.progress import Progress, silent
from ndsc.targets import targets_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Prefix of the model's keys, whatever kind of potential it is; that of the reference's is ``REF``.
MODEL_PREFIX = "MLIP"
#: That of files of earlier versions, which knew one kind.
FORMER_PREFIX = "GAP"


@dataclass(frozen=True)
class Errors:
    """Root-mean-square errors over a part of a database; None where it has no such targets.

    Attributes
    ----------
    configurations : int
    energy_rmse_ev_per_atom : float, eV per atom
    force_rmse_ev_per_angstrom : float, eV/Å, over components
    virial_rmse_ev_per_atom : float, eV per atom, over components
    """

    configurations: int
    energy_rmse_ev_per_atom: float | None
    force_rmse_ev_per_angstrom: float | None
    virial_rmse_ev_per_atom: float | None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Reference and model values of n configurations with m atoms together; NaN where there is no target.

    Attributes
    ----------
    config_types : tuple of n str
    n_atoms : (n,) int array
    reference_energies, model_energies : (n,) arrays, eV per atom
    reference_forces, model_forces : (m, 3) arrays, eV/Å
        The atoms of all configurations, one after the other.
    reference_virials, model_virials : (n, 9) arrays, eV per atom
    """

    config_types: tuple[str, ...]
    n_atoms: IntArray
    reference_energies: FloatArray
    model_energies: FloatArray
    reference_forces: FloatArray
    model_forces: FloatArray
    reference_virials: FloatArray
    model_virials: FloatArray

    @classmethod
    def from_frames(cls, frames: Sequence[Atoms]) -> Predictions:
        """Collect ``REF_*`` and ``MLIP_*`` of frames, such as :func:`predict` returns (``GAP_*`` of older files).

        Raises
        ------
        InputError
            When there are no frames.
        """
        if not frames:
            raise InputError("There are no configurations to compare a model on. Give at least one.")
        values: dict[str, list[FloatArray]] = {"energies": [], "forces": [], "virials": []}
        # Of each frame the reference's, then the model's.
        for frame in frames:
            model = MODEL_PREFIX if f"{MODEL_PREFIX}_energy" in frame.info else FORMER_PREFIX
            for side in ("REF", model):
                energy = frame.info.get(f"{side}_energy", np.nan)
                forces = frame.arrays.get(f"{side}_forces", np.full((len(frame), 3), np.nan))
                virial = frame.info.get(f"{side}_virial", np.full(9, np.nan))
                values["energies"].append(np.atleast_1d(np.asarray(energy, dtype=float) / len(frame)))
                values["forces"].append(np.asarray(forces, dtype=float))
                values["virials"].append(np.asarray(virial, dtype=float).reshape(1, 9) / len(frame))
        return cls(
            config_types=tuple(str(frame.info.get("config_type", "default")) for frame in frames),
            n_atoms=np.array([len(frame) for frame in frames], dtype=np.int64),
            **{f"reference_{name}": np.concatenate(both[::2]) for name, both in values.items()},
            **{f"model_{name}": np.concatenate(both[1::2]) for name, both in values.items()},
        )

    @property
    def unusable(self) -> list[int]:
        """Numbers of the configurations on which the model gives something that is not finite."""
        atoms_of = np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)
        bad = ~np.isfinite(self.model_energies)
        bad[atoms_of[~np.isfinite(self.model_forces).all(axis=1)]] = True
        # A virial may be missing only where there is none to compare with.
        missing = ~np.isfinite(self.model_virials).all(axis=1) & np.isfinite(self.reference_virials).all(axis=1)
        return [int(i) for i in np.flatnonzero(bad | missing)]

    def errors(self) -> dict[str, Errors]:
        """Root-mean-square errors over all configurations (``"all"``) and over each ``config_type``."""
        kinds = np.array(self.config_types)
        found = {"all": self.errors_of(range(len(kinds)))}
        parts = {kind: np.flatnonzero(kinds == kind).tolist() for kind in dict.fromkeys(self.config_types)}
        return found | {kind: self.errors_of(numbers) for kind, numbers in parts.items()}

    def errors_of(self, numbers: Sequence[int]) -> Errors:
        """Root-mean-square errors over some of the configurations, by their numbers."""
        chosen = np.zeros(len(self.n_atoms), dtype=bool)
        chosen[list(numbers)] = True
        atoms = np.repeat(chosen, self.n_atoms)
        return Errors(
            configurations=int(chosen.sum()),
            energy_rmse_ev_per_atom=_rmse(self.model_energies[chosen], self.reference_energies[chosen]),
            force_rmse_ev_per_angstrom=_rmse(self.model_forces[atoms], self.reference_forces[atoms]),
            virial_rmse_ev_per_atom=_rmse(self.model_virials[chosen], self.reference_virials[chosen]),
        )


def predict(frames: Sequence[Atoms], calculator: Calculator, *, progress: Progress = silent) -> list[Atoms]:
    """Compute every frame with `calculator`.

    Returns
    -------
    list of ase.Atoms
        Copies with ``MLIP_energy`` (the free energy where the calculator has one, eV), ``MLIP_forces`` (eV/Å)
        and, where the frame has a cell and the calculator a stress, ``MLIP_virial`` (-V stress, nine numbers, eV).
    """
    predicted = []
    properties = calculator.implemented_properties
    for number, frame in enumerate(frames):
        progress("evaluating the model", number, len(frames))
        copy = frame.copy()
        structure = frame.copy()
        structure.set_constraint()
        structure.calc = calculator
        copy.info[f"{MODEL_PREFIX}_energy"] = potential_energy(structure, calculator)
        copy.arrays[f"{MODEL_PREFIX}_forces"] = np.array(structure.get_forces(), dtype=float)
        if frame.cell.rank == 3 and "stress" in properties:
            stress = np.asarray(structure.get_stress(voigt=False), dtype=float)
            copy.info[f"{MODEL_PREFIX}_virial"] = -frame.get_volume() * stress.reshape(9)
        predicted.append(copy)
    progress("evaluating the model", len(frames), len(frames))
    return predicted


def evaluate(frames: Sequence[Atoms], calculator: Calculator, *, progress: Progress = silent) -> Predictions:
    """Compare a calculator with the reference values that frames carry.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        With ``REF_energy``, ``REF_forces`` and ``REF_virial``, each optional; :func:`ndsc.database.read_database` gives
        any database these names.
    calculator : ase.calculators.calculator.Calculator
    progress : callable

    Raises
    ------
    InputError
        When there are no frames, or a reference value has the wrong shape or is not finite.
    """
    for number, frame in enumerate(frames):
        targets_of(frame, where=f"frame {number}")
    return Predictions.from_frames(predict(frames, calculator, progress=progress))


def _rmse(model: FloatArray, reference: FloatArray) -> float | None:
    difference = model - reference
    difference = difference[np.isfinite(reference)]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else None
