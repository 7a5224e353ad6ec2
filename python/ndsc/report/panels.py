"""What the comparing figures are drawn from: plain arrays with names, made from any potentials by any engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.phonon_path import BandPath

if TYPE_CHECKING:
    from ndsc.phonons import PhononComparison

FloatArray = NDArray[np.float64]

#: Frequencies of one reference, computed twice, differ by less than this (THz).
SAME_REFERENCE_THZ = 1e-3


@dataclass(frozen=True, eq=False)
class PhononCurves:
    """Phonons of one potential, or of the reference, along a path.

    Attributes
    ----------
    name : str
        For the legend.
    path : (n, n_bands) float array, THz
        Frequencies, imaginary ones negative; not finite where there are none.
    rmse_mesh_thz : float, THz, optional
        Root mean square difference from the reference over the mesh; None for the reference itself.
    dos_frequencies, dos : (k,) float arrays, THz and 1/THz, optional
        Density of states.
    """

    name: str
    path: FloatArray
    rmse_mesh_thz: float | None = None
    dos_frequencies: FloatArray | None = None
    dos: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class DispersionPanel:
    """One crystal: the reference and any number of potentials on one path.

    Attributes
    ----------
    title : str
        The crystal, or what sets this panel apart: ``"fcc Al"``, ``"η = 0.25"``.
    path : BandPath
    reference : PhononCurves
    models : tuple of PhononCurves
        Drawn in this order, the first on top.
    baseline : PhononCurves, optional
        A simpler model, drawn thin and grey: the harmonic model of the same database.

    Raises
    ------
    InputError
        When frequencies do not belong to the path, or two potentials have the same name.
    """

    title: str
    path: BandPath
    reference: PhononCurves
    models: tuple[PhononCurves, ...]
    baseline: PhononCurves | None = None

    def __post_init__(self) -> None:
        points = len(self.path.qpoints)
        for curves in self.all_curves():
            if np.ndim(curves.path) != 2 or len(curves.path) != points:
                raise InputError(
                    f"The frequencies of {curves.name} have the shape {np.shape(curves.path)}, and the path of "
                    f"{self.title or 'this crystal'} has {points} q-points. Give one row of branches a q-point."
                )
        names = [curves.name for curves in self.all_curves()]
        if len(set(names)) < len(names):
            raise InputError(f"Two curves have the same name ({', '.join(names)}). Give each its own.")

    def all_curves(self) -> list[PhononCurves]:
        """The reference, the potentials, and the baseline if there is one."""
        return [self.reference, *self.models, *([] if self.baseline is None else [self.baseline])]

    def without_baseline(self) -> DispersionPanel:
        """The same panel without the baseline."""
        return DispersionPanel(self.title, self.path, self.reference, self.models)

    @classmethod
    def from_comparisons(
        cls,
        comparisons: Mapping[str, PhononComparison],
        *,
        title: str = "",
        reference_label: str = "reference",
        baseline: PhononComparison | None = None,
        baseline_label: str = "harmonic model",
    ) -> DispersionPanel:
        """A panel from the comparisons of several potentials with one reference.

        Parameters
        ----------
        comparisons : mapping of str to PhononComparison
            By the name of the potential; all with the same reference and path (``compare_phonons(..., path=...)``).
        title, reference_label, baseline_label : str
        baseline : PhononComparison, optional
            A simpler model beside the same reference.

        Raises
        ------
        InputError
            When there is no comparison, or the references differ.
        """
        everything = [*comparisons.values(), *([] if baseline is None else [baseline])]
        if not everything:
            raise InputError(f"There is nothing to draw for {title or 'this crystal'}. Give at least one comparison.")
        first = everything[0]
        for other in everything[1:]:
            _check_same_reference(first, other, title)
        return cls(
            title=title,
            path=first.path,
            reference=PhononCurves(
                reference_label, first.reference_path, None, first.dos_frequencies, first.reference_dos
            ),
            models=tuple(_curves(name, comparison) for name, comparison in comparisons.items()),
            baseline=None if baseline is None else _curves(baseline_label, baseline),
        )


def _curves(name: str, comparison: PhononComparison) -> PhononCurves:
    return PhononCurves(
        name, comparison.model_path, comparison.rmse_mesh_thz, comparison.dos_frequencies, comparison.model_dos
    )


def _check_same_reference(first: PhononComparison, other: PhononComparison, title: str) -> None:
    same_path = np.shape(first.path.qpoints) == np.shape(other.path.qpoints) and np.allclose(
        first.path.qpoints, other.path.qpoints, atol=1e-8
    )
    if same_path and np.allclose(first.reference_path, other.reference_path, rtol=0.0, atol=SAME_REFERENCE_THZ):
        return
    what = "references" if same_path else "paths"
    raise InputError(
        f"The comparisons of {title or 'this crystal'} have different {what}, so they do not belong in one panel. "
        "Compare every potential with the same reference phonons along the same path."
    )


@dataclass(frozen=True, eq=False)
class LearningStep:
    """One row of the learning figure: a potential of so many labels.

    Attributes
    ----------
    labels : int
        Training configurations, each with one total energy.
    sparse_points : int
    panel : DispersionPanel
        With one potential.
    """

    labels: int
    sparse_points: int
    panel: DispersionPanel

    @property
    def rmse_thz(self) -> float:
        """RMSE of the potential over the mesh, THz; NaN where there is none."""
        value = self.panel.models[0].rmse_mesh_thz if self.panel.models else None
        return float("nan") if value is None else float(value)


@dataclass(frozen=True)
class LearningPoint:
    """One fit of a learning curve.

    Attributes
    ----------
    labels : int
        Training configurations.
    rmse_thz : float, THz
        Of the phonons over the mesh; NaN or infinite for a potential without phonons.
    seed : int
    atoms : int, optional
        Atoms in the labelled configurations.
    seconds : float, s, optional
        Time of the reference calculations.
    """

    labels: int
    rmse_thz: float
    seed: int = 0
    atoms: int | None = None
    seconds: float | None = None
