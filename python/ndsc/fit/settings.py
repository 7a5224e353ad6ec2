"""Settings of a Gaussian approximation potential with SOAP descriptors, and the paper's presets (Table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from ase.data import atomic_numbers

from ndsc.errors import InputError
from ndsc.fit.regularisation import Regularisation, Sigma

#: Ways in which gap_fit chooses sparse points; see ``fixed_sparse_points`` of fit_gap for those of another potential.
SPARSE_METHODS = ("cur_points", "cur_covariance", "random", "kmeans", "cluster", "covariance", "none")


@dataclass(frozen=True)
class GapSettings:
    """Hyperparameters of a GAP: one SOAP kernel for each species.

    Attributes
    ----------
    cutoff : float, Å
    n_max, l_max : int
        Numbers of radial functions, and largest angular momentum.
    atom_sigma : float, Å
        Width of an atom's density (equation 2).
    zeta : int
        Power of the dot-product kernel.
    delta : float, eV
        Energy scale of the kernel.
    n_sparse : int
        Sparse points of each species; fewer where there are fewer atomic environments.
    sparse_method : str
        One of :data:`SPARSE_METHODS`.
    e0 : "average", "isolated" or mapping of symbol to eV
        Energy of a single atom, subtracted before the fit: the database's mean energy per atom, the energies of its
        isolated atoms, or the given ones.
    sparse_jitter : float
        Added to the diagonal of the sparse covariance; 1e-6 already costs accuracy.
    transition_width : float, Å
        Width over which the density goes to zero before the cutoff.
    seed : int
        Seed of gap_fit's random numbers.
    """

    cutoff: float = 6.0
    n_max: int = 8
    l_max: int = 6
    atom_sigma: float = 0.5
    zeta: int = 4
    delta: float = 2.0
    n_sparse: int = 300
    sparse_method: str = "cur_points"
    e0: Literal["average", "isolated"] | Mapping[str, float] = "average"
    sparse_jitter: float = 1e-10
    transition_width: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "cutoff": (0.5, 50.0),
            "n_max": (1, 50),
            "l_max": (0, 50),
            "atom_sigma": (0.01, 10.0),
            "zeta": (1, 100),
            "delta": (1e-6, 1e6),
            "n_sparse": (1, 10**7),
            "sparse_jitter": (0.0, 1.0),
            "transition_width": (0.01, self.cutoff),
            "seed": (0, 2**31 - 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            whole = name in ("n_max", "l_max", "zeta", "n_sparse", "seed")
            if not low <= value <= high or (whole and value != int(value)):
                kind = "a whole number" if whole else "a number"
                raise InputError(f"The fit's {name} is {value}. Give {kind} from {low:g} to {high:g}.")
        if self.sparse_method not in SPARSE_METHODS:
            raise InputError(
                f"There is no sparse_method {self.sparse_method!r} here. Choose one of {', '.join(SPARSE_METHODS)}."
            )
        _check_e0(self.e0)

    def replaced(self, **changes: Any) -> GapSettings:
        """A copy with some settings changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Preset:
    """Settings and regularisation that belong together.

    Attributes
    ----------
    settings : GapSettings
    regularisation : Regularisation
    """

    settings: GapSettings
    regularisation: Regularisation


def _check_e0(e0: object) -> None:
    if isinstance(e0, Mapping):
        for symbol, energy in e0.items():
            if symbol not in atomic_numbers or not np.isfinite(energy):
                raise InputError(
                    f"e0 gives {symbol!r} the energy {energy!r}. Give chemical symbols with finite energies in eV."
                )
        return
    if e0 not in ("average", "isolated"):
        raise InputError(f"e0 is {e0!r}. Give 'average', 'isolated', or a mapping of chemical symbols to eV.")


def _paper(cutoff: float, n_max: int, l_max: int, virial: Sigma) -> Preset:
    settings = GapSettings(cutoff=cutoff, n_max=n_max, l_max=l_max, n_sparse=1400)
    return Preset(settings, Regularisation(force=Sigma(1e-2, 1e-3), virial=virial))


#: Allen and Bartók (2022), Table 2 and section 3.3, by element.
PRESETS: dict[str, Preset] = {
    "Mg": _paper(8.0, 8, 6, Sigma(1e-2, 1e-3)),
    "Al": _paper(10.0, 10, 8, Sigma(5e-3, 5e-4)),
    "Si": _paper(6.0, 8, 6, Sigma(1e-2, 1e-3)),
    "W": _paper(6.0, 8, 6, Sigma(1e-2, 1e-3)),
}
