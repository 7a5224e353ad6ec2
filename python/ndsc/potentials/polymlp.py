"""Polynomial potentials of pypolymlp: its features, its files and its calculator, with weights that are solved here."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ndsc.errors import FitError, InputError
from ndsc.fit.calculator import bare_structure, refuse_unknown_species
from ndsc.fit.memory import PROGRAM, FitSize
from ndsc.potentials.base import Fitted, Job, RowEffort, Trained
from ndsc.potentials.fitting import TrainedFitter
from ndsc.potentials.linear import solve_job, solver_memory
from ndsc.potentials.polymlp_settings import PolymlpSettings
from ndsc.progress import Progress, silent
from ndsc.selection.model import LinearModel
from ndsc.targets import frame_name

FloatArray = NDArray[np.float64]

#: The potential, as pypolymlp and LAMMPS read it.
POTENTIAL_NAME = "polymlp.yaml"
#: Virials come as xx, yy, zz, xy, yz, zx; rows have xx, xy, xz, yy, yz, zz.
_VIRIAL = (0, 3, 5, 1, 4, 2)
#: Measured on one processor of 2 GHz: the time of the features of a pair of neighbours, for each of them, s.
SECONDS_PER_FEATURE = 1e-7
#: Configurations whose features are computed in one call, bytes of these.
MOST_AT_ONCE = 2e8
#: Settings that are not given for crystals of one, two, three and more elements where labels are chosen: 534, 1,424,
#: 2,304 and, with four, 3,024 features.
_SMALLER: dict[str, Any] = {"model_type": 1, "max_p": 1}
COMPOUNDS: tuple[dict[str, Any], ...] = (
    {},
    {**_SMALLER, "n_gaussians": 8, "gtinv_maxl": (4, 4)},
    {**_SMALLER, "n_gaussians": 8, "gtinv_maxl": (4, 2)},
    {**_SMALLER, "n_gaussians": 4, "gtinv_maxl": (3, 2)},
)
#: What progress calls this.
TASK = "computing features"


def parameters(settings: PolymlpSettings, species: Sequence[str]) -> Any:
    """pypolymlp's description of a model, without energies of single atoms."""
    from pypolymlp.core.params_utils import set_all_params

    return set_all_params(
        elements=list(species),
        include_force=True,
        include_stress=True,
        cutoff=settings.cutoff,
        model_type=settings.model_type,
        max_p=settings.max_p,
        feature_type=settings.feature_type,
        n_gaussians=settings.n_gaussians,
        gtinv_order=settings.gtinv_order,
        gtinv_maxl=list(settings.gtinv_maxl),
        atomic_energy=[0.0] * len(species),
    )


def n_features(settings: PolymlpSettings, n_species: int) -> int:
    """Number of features, which is that of the weights."""
    from pypolymlp.mlp_dev.core.features_attr import get_features_attr

    linear, products, _ = get_features_attr(parameters(settings, chemical_symbols[1 : n_species + 1]))
    return len(linear) + len(products)


def structure_of(atoms: Atoms, species: Sequence[str]) -> Any:
    """A structure as pypolymlp takes it."""
    from pypolymlp.core.data_format import PolymlpStructure

    symbols = atoms.get_chemical_symbols()
    return PolymlpStructure(
        axis=atoms.cell.array.T,
        positions=atoms.get_scaled_positions(wrap=False).T,
        n_atoms=[symbols.count(symbol) for symbol in species],
        elements=symbols,
        types=[species.index(symbol) for symbol in symbols],
    )


class PolymlpBasis:
    """Features of a polynomial potential in units of the prior of their weights.

    Parameters
    ----------
    settings : PolymlpSettings
    species : sequence of str
        Chemical symbols in order of atomic number.

    Attributes
    ----------
    n_weights : int
    widths : (m,) array
        Width of the prior of each weight.
    """

    def __init__(self, settings: PolymlpSettings, species: Sequence[str]) -> None:
        from pypolymlp.core.params import PolymlpParams

        self.settings, self.species = settings, tuple(species)
        self.parameters = parameters(settings, species)
        self._params = PolymlpParams(self.parameters)
        self.widths = prior_widths(self.parameters)
        self.n_weights = len(self.widths)
        self._seconds, self._atoms = 0.0, 0

    def rows(self, frames: Sequence[Atoms], *, progress: Progress = silent) -> list[FloatArray]:
        """See :meth:`ndsc.selection.LinearModel.rows`."""
        found: list[FloatArray] = []
        for start, portion in self._portions(frames):
            progress(TASK, start, len(frames))
            begin = time.perf_counter()
            found += self._rows(portion)
            self._seconds += time.perf_counter() - begin
            self._atoms += sum(map(len, portion))
        progress(TASK, len(frames), len(frames))
        return found

    def _portions(self, frames: Sequence[Atoms]) -> list[tuple[int, list[Atoms]]]:
        found: list[tuple[int, list[Atoms]]] = []
        held = np.inf
        for number, frame in enumerate(frames):
            unknown = sorted(set(frame.get_chemical_symbols()) - set(self.species))
            if unknown:
                raise InputError(
                    f"{frame_name(frame, number)} has {', '.join(unknown)}, and the potential knows "
                    f"{', '.join(self.species)} only. Make it for all species."
                )
            if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()):
                raise InputError(
                    f"{frame_name(frame, number)} has a position or cell vector that is not finite. Leave it out."
                )
            size = 8.0 * (7 + 3 * len(frame)) * self.n_weights
            if held + size > MOST_AT_ONCE:
                found.append((number, []))
                held = 0.0
            found[-1][1].append(bare_structure(frame, self.settings.cutoff))
            held += size
        return found

    def _rows(self, frames: Sequence[Atoms]) -> list[FloatArray]:
        from pypolymlp.mlp_dev.core.features import compute_features

        structures = [structure_of(frame, self.species) for frame in frames]
        x = np.asarray(compute_features(self._params, structures=structures).x) * self.widths
        # All energies come first, then all virials, then all forces.
        n, first, found = len(frames), 7 * len(frames), []
        for number, frame in enumerate(frames):
            virial = x[n + 6 * number : n + 6 * number + 6][list(_VIRIAL)]
            found.append(np.vstack([x[number : number + 1], x[first : first + 3 * len(frame)], virial]))
            first += 3 * len(frame)
        return found

    def seconds_for(self, frames: Sequence[Atoms]) -> float:
        """See :meth:`ndsc.potentials.base.Basis.seconds_for`."""
        if frames and not self._atoms:
            self.rows([min(frames, key=len)])
        return self._seconds / max(self._atoms, 1) * sum(map(len, frames))

    def memory_gb(self, frames: Sequence[Atoms]) -> float:
        """See :meth:`ndsc.potentials.base.Basis.memory_gb`."""
        numbers = sum(7 + 3 * len(frame) for frame in frames)
        return (PROGRAM + 2 * MOST_AT_ONCE + 8.0 * self.n_weights * numbers) / 1e9

    def write(self, z: FloatArray, e0: Mapping[str, float], folder: Path) -> Path:
        """See :meth:`ndsc.potentials.base.Basis.write`."""
        from dataclasses import replace

        from pypolymlp.core.io_polymlp_yaml import save_mlp_yaml

        if z.shape != (self.n_weights,) or not np.isfinite(z).all():
            raise InputError(
                f"Weights of the shape {z.shape}, or not finite, do not fit {self.n_weights} features. Give those of "
                "this model."
            )
        folder.mkdir(parents=True, exist_ok=True)
        described = replace(self.parameters, atomic_energy=tuple(e0[symbol] for symbol in self.species))
        described.type_full, described.type_indices = True, list(range(len(self.species)))
        save_mlp_yaml(described, z * self.widths, np.ones(self.n_weights), filename=str(folder / POTENTIAL_NAME))
        return folder / POTENTIAL_NAME


def prior_widths(described: Any) -> FloatArray:
    """(m,) array : width of the prior of each weight."""
    from pypolymlp.mlp_dev.core.features_attr import get_features_attr

    linear, products, _ = get_features_attr(described)
    return np.ones(len(linear) + len(products))


class PolymlpCalculator(Calculator):  # type: ignore[misc]
    """Energies, forces and stresses of a polynomial potential, through pypolymlp.

    Unlike pypolymlp's own calculator it can be pickled, adds the energies of single atoms, refuses species that the
    potential was not fitted to, which pypolymlp leaves out, and accepts atoms without a cell.

    Parameters
    ----------
    path : path
        ``polymlp.yaml``.

    Raises
    ------
    MissingExtraError
        When pypolymlp is not installed.
    InputError
        When there is no such file.
    FitError
        When it is damaged.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's own convention

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        PolymlpFitter().require()
        self.path = Path(path).resolve()
        described, weights = read_potential(self.path)
        from pypolymlp.calculator.properties_single import PropertiesSingle

        self.species = tuple(described.elements)
        self.cutoff = float(described.model.cutoff)
        self.single_atoms = dict(zip(self.species, described.atomic_energy, strict=True))
        self._properties = PropertiesSingle(params=described, coeffs=weights)

    def __reduce__(self) -> tuple[type[PolymlpCalculator], tuple[str]]:
        return PolymlpCalculator, (str(self.path),)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and, for atoms in a cell, stress."""
        super().calculate(atoms, properties, system_changes)
        refuse_unknown_species(self.atoms, self.species, self.path)
        structure = bare_structure(self.atoms, self.cutoff)
        energy, forces, virial = self._properties.eval(structure_of(structure, self.species), use_openmp=False)
        energy += sum(self.single_atoms[symbol] for symbol in self.atoms.get_chemical_symbols())
        self.results = {"energy": float(energy), "free_energy": float(energy), "forces": np.array(forces).T.copy()}
        if self.atoms.cell.rank == 3:
            xx, yy, zz, xy, yz, zx = -np.asarray(virial) / structure.get_volume()
            self.results["stress"] = np.array([xx, yy, zz, yz, zx, xy])


def read_potential(path: Path) -> tuple[Any, FloatArray]:
    """pypolymlp's description of the model in a file, and the weights of its features.

    Raises
    ------
    InputError
        When there is no such file.
    FitError
        When it is not the file of a polynomial potential, or damaged.
    """
    from pypolymlp.core.io_polymlp_yaml import load_mlp_yaml
    from pypolymlp.mlp_dev.core.features_attr import get_features_attr

    if not path.is_file():
        raise InputError(f"There is no potential {path}. Give the {POTENTIAL_NAME} of a polynomial potential.")
    try:
        described, weights = load_mlp_yaml(io.StringIO(path.read_text(encoding="utf-8")))
        found = np.array(weights, dtype=float)
        linear, products, _ = get_features_attr(described)
        if found.shape != (len(linear) + len(products),):
            raise ValueError(f"it has {found.size} weights for {len(linear) + len(products)} features")
        if not np.isfinite(found).all():
            raise ValueError("its weights are not finite")
        if described.atomic_energy is None or len(described.atomic_energy) != len(described.elements):
            raise ValueError("it lacks the energies of single atoms")
    except Exception as error:  # a foreign file may make the reader raise anything
        raise FitError(
            f"The potential {path} cannot be read ({type(error).__name__}: {str(error)[:200]}). Fit it again."
        ) from error
    return described, found


class PolymlpFitter(TrainedFitter):
    """Polynomial potentials with the features of pypolymlp."""

    name: ClassVar[str] = "polymlp"
    title: ClassVar[str] = "polynomial potential"
    program: ClassVar[str] = "pypolymlp"
    extra: ClassVar[str] = "polymlp"
    module: ClassVar[str] = "pypolymlp"
    package: ClassVar[str] = "pypolymlp"
    settings: ClassVar[type[PolymlpSettings]] = PolymlpSettings
    weights: ClassVar[tuple[str, str]] = ("features", "[fit] n_gaussians and gtinv_maxl")
    linear: ClassVar[bool] = True

    def memory(self, settings: PolymlpSettings, size: FitSize) -> float:
        """See :meth:`Fitter.memory`."""
        m = n_features(settings, size.n_species)
        return PROGRAM + solver_memory(m, size.largest)

    def cheaper(self, settings: PolymlpSettings) -> str:
        """See :meth:`Fitter.cheaper`."""
        return "Lower n_gaussians, gtinv_maxl or max_p, or use a machine with more memory."

    def train(self, job: Job) -> Trained:
        """See :meth:`TrainedFitter.train`."""
        settings: PolymlpSettings = job.settings
        basis = (
            job.options.basis if isinstance(job.options.basis, PolymlpBasis) else PolymlpBasis(settings, job.species)
        )
        prior = self.prior(settings) if job.options.prior is None else job.options.prior
        solution, counts = solve_job(job, basis, scale=prior)
        path = basis.write(solution.z, job.e0, job.folder)
        details = {
            "prior": solution.scale,
            "log_evidence": solution.log_evidence,
            "parameters": round(solution.n_parameters, 2),
        }
        return Trained(path.name, counts, sizes={"features": basis.n_weights}, details=details)

    def calculator(self, path: Path) -> PolymlpCalculator:
        """See :meth:`Fitter.calculator`."""
        return PolymlpCalculator(path)

    def basis(
        self,
        structures: Sequence[Atoms],
        folder: Path,
        settings: PolymlpSettings,
        *,
        store: Path | None = None,
        workers: int = 1,
        quick: bool = False,
        progress: Progress = silent,
    ) -> PolymlpBasis:
        """The features of all species of some structures; see :meth:`Fitter.basis`."""
        numbers = sorted({int(number) for frame in structures for number in frame.numbers})
        return PolymlpBasis(settings, [chemical_symbols[number] for number in numbers])

    def model(self, fitted: Fitted) -> LinearModel:
        """See :meth:`Fitter.model`."""
        assert isinstance(fitted.settings, PolymlpSettings)
        return PolymlpBasis(fitted.settings, tuple(fitted.e0))

    def finer(self, n_species: int) -> dict[str, Any]:
        """Fewer features for each pair of elements, the more of these there are; see :meth:`Fitter.finer`."""
        return COMPOUNDS[min(n_species, len(COMPOUNDS)) - 1]

    def prior(self, settings: PolymlpSettings) -> float | None:
        """See :meth:`Fitter.prior`."""
        return None if settings.prior == "evidence" else float(settings.prior)

    def effort(self, settings: PolymlpSettings, n_species: int) -> RowEffort:
        """See :meth:`Fitter.effort`."""
        m = n_features(settings, n_species)
        return RowEffort(m, SECONDS_PER_FEATURE * m, PROGRAM + 2 * MOST_AT_ONCE, 0.0)

    def describe(self, settings: PolymlpSettings) -> str:
        """See :meth:`Fitter.describe`."""
        return f"method = {self.name!r}"

    def larger(self, settings: PolymlpSettings) -> str:
        """See :meth:`Fitter.larger`."""
        pairs = settings.feature_type == "pair"
        angles = "" if pairs else f" and gtinv_maxl = {list(settings.gtinv_maxl)}"
        return f"raise [fit] n_gaussians = {settings.n_gaussians}{angles}, then cutoff = {settings.cutoff:g}"
