"""Elastic constants with relaxed ions, in the standard axes of the crystal (Allen and Bartók 2022, Table 3).

Axes are those of :mod:`ndsc.elastic_setting`, whatever the orientation, setting or size of the cell given. Voigt order
is xx, yy, zz, yz, xz, xy with engineering shear strains. A constant is the derivative of the true (Cauchy) stress at
the cell given: if that cell carries a stress, constants shift by about as much.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixConstraint
from ase.optimize import BFGS
from ase.units import GPa
from matscipy.elasticity import fit_elastic_constants, generate_strained_configs
from numpy.typing import NDArray

from ndsc.benchmark_settings import StrainedCellSettings
from ndsc.crystal import Crystal, as_crystal
from ndsc.elastic_quality import IN_PLANE, elastic_warnings, misfit
from ndsc.elastic_setting import constant_names, standard_orientation, without_forbidden
from ndsc.elastic_sheet import check_one_vacuum, sheet_matrix, strained_sheet
from ndsc.errors import InputError, ReferenceCalculationError
from ndsc.interrupts import calculator_errors
from ndsc.progress import Progress, silent
from ndsc.rounding import DECIMALS, rounded
from ndsc.vacuum import Vacuum, in_plane_constants

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

#: An ion that relaxes further than this from where the strain puts it has left its site, Å.
LARGEST_RELAXATION = 0.5

# matscipy's patterns for trigonal_high and hexagonal strain along e1 + e4 and take the responses for C11 and C44 alone,
# which leaves C14 in both. Those of trigonal_low keep them apart, and the higher classes are special cases of it.
_PATTERNS = {"trigonal_high": "trigonal_low", "hexagonal": "trigonal_low"}
# matscipy drops what it fits to this pattern in favour of C66 = (C11 - C12) / 2, so these cells need no calculation.
_UNUSED_PATTERN = {"trigonal_low": 2}


@dataclass(frozen=True, eq=False)
class ElasticConstants:
    """Elastic constants of a crystal in its standard axes.

    Attributes
    ----------
    matrix : (6, 6) float array, GPa
        Voigt matrix.
    constants : dict of str to float, GPa
        The constants of the Laue class by name, ``{"C11": …, "C12": …}``; of a sheet (pbc = T T F) `in_plane`, in N/m.
    laue_class : str
        ``"cubic"``, ``"hexagonal"``, ``"trigonal_high"`` (32, 3m, -3m), ``"trigonal_low"`` (3, -3),
        ``"tetragonal_high"`` (422, 4mm, -42m, 4/mmm), ``"tetragonal_low"`` (4, -4, 4/m), ``"orthorhombic"``,
        ``"monoclinic"`` or ``"triclinic"``.
    relaxed_ions : bool
        Whether the ions relaxed in each strained cell.
    strain : float
        Largest strain.
    residual_stress : (6,) float array, GPa
        Stress of the cell given, in Voigt order and ASE's sign, in the standard axes.
    calculations : int
        Evaluations of the calculator.
    dimension : int
        3 for a crystal; 2 for a sheet, 1 for a wire and 0 for separate molecules or atoms with vacuum around them, for
        which bulk, shear and Young's moduli and Poisson's ratio mean nothing and are NaN.
    in_plane : dict of str to float, N/m
        Constants of a sheet per area, C11, C12, C22, C66 (and C16, C26 where they are not zero), with x along its
        shortest lattice vector and z along its normal; empty unless `dimension` is 2.
    unit : str
        Of `constants`: ``"GPa"``, or ``"N/m"`` of a sheet.
    warnings : tuple of str
        Why the constants may be wrong or mean something else: stress in the cell, instability, a calculator that is not
        smooth, clamped ions, vacuum.
    """

    matrix: FloatArray
    constants: dict[str, float]
    laue_class: str
    relaxed_ions: bool
    strain: float
    residual_stress: FloatArray
    calculations: int
    dimension: int = 3
    in_plane: dict[str, float] = field(default_factory=dict)
    unit: str = "GPa"
    warnings: tuple[str, ...] = ()

    @property
    def compliance(self) -> FloatArray:
        """(6, 6) array, 1/GPa : inverse of the Voigt matrix; NaN where it has none, and for what is not a crystal."""
        if self.dimension < 3 or np.linalg.matrix_rank(self.matrix, tol=1e-9 * np.max(np.abs(self.matrix))) < 6:
            return np.full((6, 6), np.nan)
        return np.asarray(np.linalg.inv(self.matrix), dtype=float)

    @property
    def stable(self) -> bool:
        """Whether every homogeneous strain costs energy (Born's criteria: the matrix is positive definite).

        Of a sheet, every strain in its plane; of wires and molecules nothing is said, and it is True.
        """
        matrix = self.matrix
        if self.dimension == 2:
            c11, c22, c12, c66, c16, c26 = (self.in_plane.get(f"C{i}", 0.0) for i in (11, 22, 12, 66, 16, 26))
            matrix = np.array([[c11, c12, c16], [c12, c22, c26], [c16, c26, c66]])
        return self.dimension < 2 or bool(np.linalg.eigvalsh(matrix)[0] > 0)

    @property
    def bulk_modulus(self) -> float:
        """Voigt-Reuss-Hill average of the bulk modulus, GPa."""
        return 0.5 * sum(self.bulk_bounds)

    @property
    def shear_modulus(self) -> float:
        """Voigt-Reuss-Hill average of the shear modulus, GPa."""
        return 0.5 * sum(self.shear_bounds)

    @property
    def bulk_bounds(self) -> tuple[float, float]:
        """Voigt's and Reuss's average of the bulk modulus, GPa."""
        if self.dimension < 3:
            return np.nan, np.nan
        return float(np.sum(self.matrix[:3, :3])) / 9, 1.0 / float(np.sum(self.compliance[:3, :3]))

    @property
    def shear_bounds(self) -> tuple[float, float]:
        """Voigt's and Reuss's average of the shear modulus, GPa."""
        if self.dimension < 3:
            return np.nan, np.nan
        voigt = _shear_sum(self.matrix, normal=1.0, shear=3.0) / 15
        reuss = 15.0 / _shear_sum(self.compliance, normal=4.0, shear=3.0)
        return voigt, reuss

    @property
    def young_modulus(self) -> float:
        """Young's modulus of the isotropic average, GPa."""
        return 9 * self.bulk_modulus * self.shear_modulus / (3 * self.bulk_modulus + self.shear_modulus)

    @property
    def poisson_ratio(self) -> float:
        """Poisson's ratio of the isotropic average."""
        bulk, shear = self.bulk_modulus, self.shear_modulus
        return (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear)

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings and lists, for JSON, with the averages, None where they mean nothing."""
        names = ("bulk_modulus", "shear_modulus", "young_modulus", "poisson_ratio")
        averages = {name: float(getattr(self, name)) for name in names}
        data = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()
        }
        data |= {name: value if np.isfinite(value) else None for name, value in averages.items()}
        return data | {"warnings": list(self.warnings), "stable": self.stable}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ElasticConstants:
        """The constants that :meth:`to_dict` wrote.

        Raises
        ------
        InputError
            When `data` lacks something.
        """
        try:
            # Records of earlier versions lack what has a default.
            values = {item.name: data[item.name] for item in fields(cls) if item.name in data}
            values["warnings"] = tuple(str(text) for text in values.get("warnings", ()))
            values["matrix"] = np.array(values["matrix"], dtype=float).reshape(6, 6)
            values["residual_stress"] = np.array(values["residual_stress"], dtype=float).reshape(6)
            values["constants"] = {str(name): float(value) for name, value in values["constants"].items()}
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"These are not stored elastic constants ({type(error).__name__}: {error}). Make them again with "
                "elastic_constants(...).to_dict()."
            ) from error


def elastic_constants(
    structure: Atoms | Crystal,
    calculator: Calculator,
    *,
    strain: float = 0.005,
    relax_ions: bool = True,
    n_steps: int = 3,
    fmax: float = 1e-4,
    max_steps: int = 200,
    symprec: float | None = None,
    progress: Progress = silent,
) -> ElasticConstants:
    """Elastic constants from the stresses of strained cells, by matscipy's fit with symmetry-reduced strains.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
        A relaxed cell of the crystal in any setting and orientation.
    calculator : ase.calculators.calculator.Calculator
        Gives stresses, and forces when ions relax.
    strain : float
        Largest strain of the finite differences; each strain is applied with both signs.
    relax_ions : bool
        Relax the ions in each strained cell. Clamped ions give wrong constants wherever symmetry leaves them free.
    n_steps : int
        Strains of each kind from -strain to +strain, odd so that the unstrained cell is one of them.
    fmax : float, eV/Å
        Largest force left on an ion.
    max_steps : int
        Steps of an ion relaxation after which it is given up.
    symprec : float, Å, optional
        Tolerance of the symmetry search, when `structure` is Atoms.
    progress : callable
        Called with ("elastic constants", strained cells done, all).

    Returns
    -------
    ElasticConstants
        In the standard axes of :mod:`ndsc.elastic_setting`. Its warnings are logged too.

    Raises
    ------
    InputError
        When a number is out of its range or `structure` is not a crystal.
    ReferenceCalculationError
        When the calculator fails or gives no stress at all, or the ions of a strained cell run away from their sites or
        do not come to rest: the potential (or the calculation) is then unstable, and there are no elastic constants.
    """
    settings = StrainedCellSettings(
        strain=strain, relax_ions=relax_ions, n_steps=n_steps, fmax=fmax, max_steps=max_steps
    )
    crystal = as_crystal(structure, symprec=symprec)
    run = _Relaxations(calculator, settings)
    if crystal.is_sheet:
        return _of_sheet(crystal, run, progress)
    standard, laue_class = standard_orientation(crystal)
    pattern = _PATTERNS.get(laue_class, laue_class)
    delta = 2 * strain / (n_steps - 1)
    cells, needed = _strained(standard, pattern, n_steps, delta)
    strained = run.run(cells[:needed], progress)
    unstrained = strained[n_steps // 2]
    _check_response(strained, unstrained, crystal)
    strained += [_with_stress(cell, unstrained.get_stress()) for cell in cells[needed:]]
    # The cells are relaxed already and carry their stresses: only the linear regression remains.
    matrix, _ = fit_elastic_constants(
        strained, symmetry=pattern, N_steps=n_steps, delta=delta, optimizer=None, verbose=False, graphics=False
    )
    matrix = without_forbidden(np.array(matrix, dtype=float) / GPa, laue_class)
    vacuum = Vacuum.around(standard)
    found = ElasticConstants(
        matrix=matrix,
        constants={
            f"C{name}": float(matrix[int(name[0]) - 1, int(name[1]) - 1]) for name in constant_names(laue_class)
        },
        laue_class=laue_class,
        relaxed_ions=relax_ions,
        strain=strain,
        residual_stress=np.array(unstrained.get_stress(), dtype=float) / GPa,
        calculations=run.calculations,
        dimension=3 - len(vacuum.normals),
        in_plane=in_plane_constants(matrix, standard, vacuum) if len(vacuum.normals) == 1 else {},
    )
    response = misfit(matrix, strained[:needed], unstrained)
    return _with_warnings(found, elastic_warnings(found, crystal, response, vacuum), crystal)


def _of_sheet(crystal: Crystal, run: _Relaxations, progress: Progress) -> ElasticConstants:
    """Constants of a sheet in its plane, N/m, from strains in its plane."""
    settings, vacuum = run.settings, check_one_vacuum(crystal)
    strained = run.run(strained_sheet(crystal, settings.strain, settings.n_steps), progress)
    unstrained = strained[settings.n_steps // 2]
    _check_response(strained, unstrained, crystal)
    matrix = sheet_matrix(crystal, strained, settings.n_steps)
    in_plane = in_plane_constants(matrix, crystal.atoms, vacuum)
    found = ElasticConstants(
        matrix=matrix,
        constants=in_plane,
        laue_class="sheet",
        relaxed_ions=settings.relax_ions,
        strain=settings.strain,
        residual_stress=np.array(unstrained.get_stress(), dtype=float) / GPa,
        calculations=run.calculations,
        dimension=2,
        in_plane=in_plane,
        unit="N/m",
    )
    response = misfit(matrix, strained, unstrained, components=IN_PLANE)
    return _with_warnings(found, elastic_warnings(found, crystal, response, vacuum), crystal)


def _with_warnings(found: ElasticConstants, warnings: tuple[str, ...], crystal: Crystal) -> ElasticConstants:
    for text in warnings:
        log.warning("%s: %s", crystal.atoms.get_chemical_formula(), text)
    return replace(found, warnings=warnings)


def strained_cells(structure: Atoms | Crystal, *, strain: float = 0.005, n_steps: int = 3) -> list[Atoms]:
    """The cells whose stresses :func:`elastic_constants` asks for, before their ions relax; each once.

    Parameters
    ----------
    structure : ase.Atoms or Crystal
    strain, n_steps
        As for :func:`elastic_constants`.

    Returns
    -------
    list of ase.Atoms
        Rounded to 1e-8 Å, as they are calculated.
    """
    settings = StrainedCellSettings(strain=strain, n_steps=n_steps)
    crystal = as_crystal(structure)
    if crystal.is_sheet:
        cells = strained_sheet(crystal, settings.strain, settings.n_steps)
        needed = len(cells)
    else:
        standard, laue_class = standard_orientation(crystal)
        pattern, delta = _PATTERNS.get(laue_class, laue_class), 2 * settings.strain / (settings.n_steps - 1)
        cells, needed = _strained(standard, pattern, settings.n_steps, delta)
    unstrained = [cell for cell in cells[:needed] if not np.any(cell.info["strain"])]
    return [rounded(cell) for cell in cells[:needed] if np.any(cell.info["strain"]) or cell is unstrained[0]]


def _strained(standard: Atoms, pattern: str, n_steps: int, delta: float) -> tuple[list[Atoms], int]:
    """Strained cells in matscipy's order, and how many of them, from the first, need a calculation."""
    cells = list(generate_strained_configs(standard, pattern, n_steps, delta))
    return cells, _UNUSED_PATTERN.get(pattern, len(cells)) * n_steps


def _check_response(strained: Sequence[Atoms], unstrained: Atoms, crystal: Crystal) -> None:
    """Refuse stresses that no strain changes."""
    if all(np.array_equal(cell.get_stress(), unstrained.get_stress()) for cell in strained):
        raise ReferenceCalculationError(
            f"No strain changes the stress of {crystal.atoms.get_chemical_formula()}: its atoms do not interact with "
            "this calculator (it does not know the elements, or they are farther apart than its cutoff), so there are "
            "no elastic constants. Check the calculator and the lattice vectors."
        )


class _Rounding(FixConstraint):  # type: ignore[misc]
    """Keeps positions rounded to 1e-8 Å in a relaxation, so that the same path is taken on every machine."""

    def adjust_positions(self, atoms: Atoms, new: FloatArray) -> None:
        """Round, in place."""
        new[:] = np.round(new, DECIMALS) + 0.0

    def adjust_forces(self, atoms: Atoms, forces: FloatArray) -> None:
        """Leave the forces alone."""

    def get_removed_dof(self, atoms: Atoms) -> int:
        """No degree of freedom is removed."""
        return 0


class _Relaxations:
    """Relaxes the ions of strained cells and counts the calculations."""

    def __init__(self, calculator: Calculator, settings: StrainedCellSettings) -> None:
        self.calculator = calculator
        self.settings = settings
        self.calculations = 0

    def run(self, cells: Sequence[Atoms], progress: Progress) -> list[Atoms]:
        """The cells with relaxed ions and their stresses; the unstrained one, which every series has, is run once."""
        finished: list[Atoms] = []
        unstrained: Atoms | None = None
        for done, cell in enumerate(cells):
            progress("elastic constants", done, len(cells))
            if unstrained is not None and not np.any(cell.info["strain"]):
                finished.append(unstrained)
                continue
            finished.append(self._finished(cell))
            if not np.any(cell.info["strain"]):
                unstrained = finished[-1]
        progress("elastic constants", len(cells), len(cells))
        return finished

    def _finished(self, strained: Atoms) -> Atoms:
        cell = rounded(strained)
        name = f"strain {np.round(cell.info['strain'], 6).tolist()}"
        cell.info["ndsc_name"] = name
        cell.calc = self.calculator
        advice = "Elastic constants need a calculator that knows the elements and gives stresses (and forces)."
        with calculator_errors(f"The stress under {name} could not be computed", advice, self.calculator):
            if self.settings.relax_ions:
                self._relax(cell, name)
            else:
                self.calculations += 1
            stress = np.array(cell.get_stress(), dtype=float)
        if stress.shape != (6,) or not np.all(np.isfinite(stress)):
            raise ReferenceCalculationError(f"The stress under {name} is not six finite numbers. Check the calculator.")
        return _with_stress(cell, stress)

    def _relax(self, cell: Atoms, name: str) -> None:
        start = cell.positions.copy()
        cell.set_constraint(_Rounding())
        optimiser = BFGS(cell, logfile=None)
        converged, moved = False, 0.0
        for at_rest in optimiser.irun(fmax=self.settings.fmax, steps=self.settings.max_steps):
            converged = at_rest
            self.calculations += 1
            moved = float(np.max(np.linalg.norm(cell.positions - start, axis=1)))
            if not moved <= LARGEST_RELAXATION:
                break
        cell.set_constraint()
        if not moved <= LARGEST_RELAXATION:
            raise ReferenceCalculationError(
                f"The ions drift away under {name}: one is {moved:.2f} Å from its site after {optimiser.nsteps} steps. "
                "The crystal is unstable with this calculator (imaginary optical phonons), so it has no elastic "
                "constants with relaxed ions. A potential needs configurations with displaced atoms in its database; "
                "relax_ions = false gives the clamped constants."
            )
        if not converged:
            raise ReferenceCalculationError(
                f"The relaxation of the ions under {name} does not converge: forces above {self.settings.fmax:g} "
                "eV/Å remain after "
                f"{self.settings.max_steps} steps. Raise max_steps, or fmax where the calculator's forces are noisy."
            )


def _with_stress(cell: Atoms, stress: FloatArray) -> Atoms:
    cell.calc = SinglePointCalculator(cell, stress=stress)
    return cell


def _shear_sum(matrix: FloatArray, *, normal: float, shear: float) -> float:
    """The combination of Voigt elements in the averages of the shear modulus."""
    diagonal = float(np.trace(matrix[:3, :3]))
    mixed = float(matrix[0, 1] + matrix[0, 2] + matrix[1, 2])
    return normal * (diagonal - mixed) + shear * float(np.trace(matrix[3:, 3:]))
