"""The sections of the input file and their defaults, as frozen pydantic models.

The description of a field is the hint that a user reads when its value is wrong, so it says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ase.data import atomic_numbers
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)

if TYPE_CHECKING:
    from ndsc.fit import GapSettings, Regularisation
    from ndsc.reference import CalculatorSpec, ExecutorSettings

# Strict: "4" is no number and true is no 1; a whole number is a real number too.
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]

PROGRAMS = ("espresso", "abinit", "castep", "vasp")
DENSITY_FUNCTIONAL = ("gpaw", *PROGRAMS)
CALCULATORS = ("emt", "lj", "quip", *DENSITY_FUNCTIONAL)
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|s)?")
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _one_or_three(value: object) -> object:
    """A grid given as one number is the same along the three axes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value, value)
    if isinstance(value, list | tuple) and len(value) == 3:
        return tuple(value)
    raise ValueError("one whole number or a list of three is expected")


def _one_or_many(value: object) -> object:
    """A single number where a list is allowed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, list | tuple) and value:
        return tuple(value)
    raise ValueError("a number or a list of at least one is expected")


def _check_plain(value: object, where: str) -> None:
    """Refuse what cannot be written back and hashed the same everywhere: dates, infinities, not-a-numbers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, where)
    elif isinstance(value, float) and not -1e308 < value < 1e308:
        raise ValueError(f"{where} holds {value}, which is no finite number")
    elif not isinstance(value, str | bool | int | float):
        raise ValueError(f"{where} holds {value!r}, a {type(value).__name__}; write it as a string or a number")


SparseMethod = Literal["cur_points", "cur_covariance", "random", "kmeans", "cluster", "covariance", "none"]
Positive = Annotated[Whole, Field(ge=1)]
Grid = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_one_or_three)]


class Section(BaseModel):
    """What all sections share: unknown keys are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class CrystalConfig(Section):
    """``[crystal]``: which crystal."""

    structure: str = Field(
        min_length=1,
        description="Give a chemical symbol (structure = 'Al') or the path of a structure file that ASE reads.",
    )
    lattice: str | None = Field(
        default=None,
        description="Give a structure name of ase.build.bulk: 'fcc', 'bcc', 'hcp', 'diamond', 'rocksalt', …",
    )
    a: Real | None = Field(default=None, gt=0, description="Give the lattice constant of the conventional cell in Å.")
    c: Real | None = Field(default=None, gt=0, description="Give the second lattice constant in Å.")
    primitive: Flag = Field(
        default=True, description="Give true to reduce a structure file to its primitive cell, false to keep its cell."
    )
    relax: Flag = Field(
        default=True, description="Give true to relax the crystal with the reference calculator, or false."
    )
    symprec: Real = Field(
        default=1e-5,
        gt=0,
        le=0.5,
        description="Give the distance tolerance of the symmetry search in Å, for example 1e-5.",
    )


class SupercellsConfig(Section):
    """``[supercells]``: the grid that the supercells must hold."""

    kind: Literal["minimal", "diagonal"] = Field(
        default="minimal",
        description="Give 'minimal' (the cheapest set of non-diagonal supercells) or 'diagonal' (one large supercell).",
    )
    grid: Grid = Field(description="Give the q-point grid as one number or three, for example grid = [4, 4, 4].")
    cost_exponent: Real = Field(
        default=3.0, gt=0, description="Give the power p of the cost Σ size^p that is made smallest, for example 3."
    )


class ConfigurationsConfig(Section):
    """``[configurations]``, or one part of a database in ``[[configurations]]``: how the supercells are perturbed."""

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.]+$",
        description="Give the name of this part of the database: letters, digits, dots and underscores.",
    )
    per_supercell: Whole = Field(
        default=20, ge=0, description="Give the number of configurations of each supercell, as 20."
    )
    displacement: Annotated[tuple[Annotated[Real, Field(ge=0, le=1)], ...], BeforeValidator(_one_or_many)] = Field(
        default=(0.05,),
        description="Give the standard deviation of the displacements in Å (0 to 1), or a list that configurations "
        "take in turn, for example displacement = 0.05.",
    )
    displaced: Literal["all", "one"] = Field(
        default="all",
        description="Give 'all' (every atom is displaced) or 'one' (a single atom, by exactly the displacement).",
    )
    strain: Real = Field(
        default=0.01,
        ge=0,
        le=0.25,
        description="Give the largest entry of the random symmetric strain, for example 0.01.",
    )
    scale: Annotated[tuple[Annotated[Real, Field(ge=0.75, le=1.25)], ...], BeforeValidator(_one_or_many)] = Field(
        default=(0.98, 1.0, 1.02),
        description="Give the isotropic factors of the cell vectors, 0.75 to 1.25, as scale = [0.98, 1.0, 1.02].",
    )
    unit_cells: Whole = Field(
        default=1,
        ge=0,
        description="Give the number of configurations of the unit cell itself; the first is unperturbed.",
    )
    seed: Whole = Field(
        default=1, ge=0, description="Give a whole number, at least 0; the same seed gives the same bytes."
    )
    unlabelled: Whole = Field(
        default=100,
        ge=0,
        description="Give the number of extra configurations that only offer sparse points to the fit.",
    )

    @model_validator(mode="after")
    def _something_to_label(self) -> ConfigurationsConfig:
        if self.per_supercell == 0 and self.unit_cells == 0:
            raise ValueError("per_supercell and unit_cells are both 0, which leaves nothing to label; set one above 0")
        return self


class ReferenceConfig(Section):
    """``[reference]``: the calculator whose results are learned."""

    calculator: str = Field(
        default="emt",
        description=f"Give one of {', '.join(CALCULATORS)}, or 'module:factory' for a Python function that returns an "
        "ASE calculator.",
    )
    kgrid: Grid | None = Field(
        default=None,
        description="Give the k-point grid of the unit cell as one number or three, for example [12, 12, 12].",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Give the keyword arguments of the calculator as a table of numbers, strings, booleans, lists and "
        "tables, for example parameters = {mode = {name = 'pw', ecut = 350}}.",
    )
    command: str | None = Field(
        default=None,
        min_length=1,
        description=f"Give how the program of {', '.join(PROGRAMS)} is started on this machine, for example "
        "'mpirun -np 2 pw.x'. Labels do not depend on it.",
    )
    pseudo_dir: Path | None = Field(
        default=None,
        description=f"Give the folder of the pseudopotentials of {', '.join(PROGRAMS)}. Labels do not depend on it, "
        "only on the names of the files.",
    )
    atom_box: Annotated[Real, Field(ge=5, le=50)] = Field(
        default=12.0,
        description="Give the shortest edge in Å of the cell of a single atom, for [fit] e0 = 'isolated' with a "
        "density-functional code, for example 12.0.",
    )
    atom_parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Give parameters that differ for a single atom, for [fit] e0 = 'isolated' with a "
        "density-functional code, as atom_parameters = {nband = 10}.",
    )
    labels: Path | None = Field(
        default=None,
        description="Give the folder of the label store; without it, the folder labels in the run's folder.",
    )

    @field_validator("calculator")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in CALCULATORS and not FACTORY.fullmatch(name):
            raise ValueError("no calculator has this name")
        return name

    @field_validator("parameters", "atom_parameters")
    @classmethod
    def _plain(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        _check_plain(parameters, str(info.field_name))
        return parameters

    @model_validator(mode="after")
    def _kgrid_where_it_matters(self) -> ReferenceConfig:
        if self.calculator in DENSITY_FUNCTIONAL and self.kgrid is None:
            raise ValueError(
                f"{self.calculator} needs kgrid, the k-point grid of the unit cell; add for example kgrid = [8, 8, 8]"
            )
        if self.calculator in ("emt", "lj", "quip") and self.kgrid is not None:
            raise ValueError(f"kgrid has no meaning for {self.calculator}, which has no electrons; remove it")
        for key in ("command", "pseudo_dir"):
            if getattr(self, key) is not None and self.calculator not in PROGRAMS:
                raise ValueError(f"{key} has no meaning for {self.calculator}, which starts no program; remove it")
        if self.atom_parameters and self.calculator not in DENSITY_FUNCTIONAL:
            raise ValueError(f"atom_parameters have no meaning for {self.calculator}; remove them")
        return self

    def to_spec(self) -> CalculatorSpec:
        """The calculator, as the label store knows it."""
        from ndsc.reference import CalculatorSpec

        pseudo_dir = None if self.pseudo_dir is None else str(self.pseudo_dir)
        return CalculatorSpec(self.calculator, self.parameters, self.kgrid, command=self.command, pseudo_dir=pseudo_dir)


class ExecutorConfig(Section):
    """``[executor]``: where the labels are computed."""

    kind: Literal["local", "slurm", "dask"] = Field(
        default="local",
        description="Give 'local' (worker processes on this machine), 'slurm' (a Slurm cluster) or 'dask'.",
    )
    workers: Positive = Field(default=2, description="Give the number of calculations at a time, at least 1.")
    retries: Whole = Field(
        default=1, ge=0, le=100, description="Give how often a failed label is tried again, for example 1."
    )
    threads: Positive = Field(default=1, description="Give the number of threads of each worker, at least 1.")
    timeout: Annotated[Real, Field(gt=0)] | None = Field(
        default=None, description="Give the longest time of one calculation, as '2h', '30min', '90s' or in seconds."
    )

    @field_validator("timeout", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("a number with h, min or s is expected")
        return float(found[1]) * SECONDS[found[2] or "s"]

    memory_gb: Annotated[Real, Field(gt=0)] | None = Field(
        default=None,
        description="Give the memory of all workers of 'local' together in GB; without it, most of what is free.",
    )
    cores: Positive = Field(default=1, description="Give the cores of one calculation of 'slurm', at least 1.")
    resources: dict[str, Any] = Field(
        default_factory=dict,
        description="Give what 'slurm' is to be asked for, for example resources = {partition = 'main', "
        "run_time_max = 7200}.",
    )
    address: str | None = Field(
        default=None, description="Give the address of a dask scheduler; without it, 'dask' starts one here."
    )

    @field_validator("resources")
    @classmethod
    def _plain(cls, resources: dict[str, Any]) -> dict[str, Any]:
        _check_plain(resources, "resources")
        return resources

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> ExecutorConfig:
        wrong = [("memory_gb", "local"), ("cores", "slurm"), ("resources", "slurm"), ("address", "dask")]
        for key, kind in wrong:
            if getattr(self, key) not in (None, {}, 1) and self.kind != kind:
                raise ValueError(f"{key} has no meaning for kind = {self.kind!r}, only for {kind!r}; remove it")
        return self

    def to_settings(self) -> ExecutorSettings:
        """Where labels are computed, as the labelling takes it."""
        from ndsc.reference import ExecutorSettings

        return ExecutorSettings(
            kind=self.kind,
            workers=self.workers,
            threads=self.threads,
            retries=self.retries,
            timeout=self.timeout,
            memory_mb=None if self.memory_gb is None else 1000 * self.memory_gb,
            cores=self.cores,
            resources=self.resources,
            address=self.address,
        )


def _fill_from_preset(data: object, part: Literal["settings", "regularisation"]) -> object:
    """Take what the section does not say from the preset that it names."""
    if not isinstance(data, Mapping) or data.get("preset") is None:
        return data
    from ndsc.config.presets import preset_values

    values = preset_values(data["preset"], part)
    for key, said in data.items():
        inner = values.get(key)
        values[key] = inner | dict(said) if isinstance(inner, dict) and isinstance(said, Mapping) else said
    return values


class FitConfig(Section):
    """``[fit]``: the potential. Every key but `method`, `preset` and `solver` is a field of `ndsc.fit.GapSettings`."""

    method: Literal["gap", "none"] = Field(
        default="gap", description="Give method = 'gap', or 'none' to stop at the database."
    )
    preset: str | None = Field(
        default=None, description="Give the element of a preset of Allen and Bartók, Table 2; keys given beside it win."
    )
    solver: Literal["gap_fit", "numpy"] = Field(
        default="gap_fit",
        description="Give 'gap_fit', or 'numpy' for the same potential in a third of the time on one processor.",
    )
    cutoff: Real = Field(default=6.0, gt=0, le=50, description="Give the cutoff of SOAP in Å, for example 6.0.")
    n_max: Positive = Field(default=8, le=50, description="Give the number of radial functions of SOAP, for example 8.")
    l_max: Whole = Field(
        default=6, ge=0, le=50, description="Give the largest angular momentum of SOAP, for example 6."
    )
    atom_sigma: Real = Field(
        default=0.5, gt=0, description="Give the width of an atom's density in Å, for example 0.5."
    )
    zeta: Positive = Field(default=4, description="Give the power of the kernel, a whole number, for example 4.")
    delta: Real = Field(default=2.0, gt=0, description="Give the energy scale of the kernel in eV, for example 2.0.")
    n_sparse: Positive = Field(default=300, description="Give the number of sparse points, for example 300.")
    sparse_method: SparseMethod = Field(default="cur_points", description="It is a sparse_method of gap_fit.")
    sparse_jitter: Real = Field(default=1e-10, ge=0, le=1, description="Give a small number, for example 1e-10.")
    transition_width: Real = Field(
        default=1.0, ge=0.01, description="Give the width in Å over which the density goes to zero at the cutoff."
    )
    seed: Whole = Field(
        default=1, ge=0, lt=2**31, description="Give a whole number, at least 0: the seed of gap_fit's random numbers."
    )
    e0: Literal["average", "isolated"] | dict[str, Real] = Field(
        default="average",
        description="Give 'average', 'isolated', or a table of energies of single atoms in eV, as {Al = -3.2}.",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return _fill_from_preset(data, "settings")

    @field_validator("e0", mode="before")
    @classmethod
    def _energies(cls, value: object) -> object:
        if isinstance(value, Mapping):
            for symbol, energy in value.items():
                if symbol not in atomic_numbers:
                    raise ValueError(f"{symbol!r} is no chemical symbol")
                if isinstance(energy, bool) or not isinstance(energy, int | float):
                    raise ValueError(f"the energy of {symbol} is no number")
        elif value not in ("average", "isolated"):
            raise ValueError("'average', 'isolated' or a table of numbers is expected")
        return value

    @model_validator(mode="after")
    def _transition_within_the_cutoff(self) -> FitConfig:
        if self.transition_width > self.cutoff:
            raise ValueError(
                f"transition_width = {self.transition_width:g} is wider than cutoff = {self.cutoff:g}; make it smaller"
            )
        return self

    def to_settings(self) -> GapSettings:
        """The settings of the fit."""
        from ndsc.fit import GapSettings

        return GapSettings(**self.model_dump(exclude={"method", "preset", "solver"}))


class SigmaConfig(Section):
    """One sigma that grows with the value that it belongs to, never below a minimum."""

    relative: Real = Field(default=0.01, ge=0, description="Give the part of the value, for example 0.01.")
    minimum: Real = Field(default=0.001, gt=0, description="Give the floor, above 0 (a zero makes a potential of NaN).")


class RegularisationConfig(Section):
    """``[regularisation]``: the expected error of each number in the database."""

    kind: Literal["adaptive", "static"] = Field(default="adaptive", description="Give kind = 'adaptive' or 'static'.")
    preset: str | None = Field(
        default=None, description="Give the element of a preset of Allen and Bartók, Table 2; keys given beside it win."
    )
    energy: Real = Field(default=0.001, gt=0, description="Give the sigma of the energy in eV, for example 0.001.")
    force: SigmaConfig = Field(
        default=SigmaConfig(),
        description="Give a table, for example force = {relative = 0.01, minimum = 0.001}, in eV/Å.",
    )
    virial: SigmaConfig = Field(
        default=SigmaConfig(),
        description="Give a table, for example virial = {relative = 0.01, minimum = 0.001}, in eV.",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return _fill_from_preset(data, "regularisation")

    def to_regularisation(self) -> Regularisation:
        """The regularisation, as the fit takes it."""
        from ndsc.fit import Regularisation, Sigma

        return Regularisation(
            kind=self.kind,
            energy=self.energy,
            force=Sigma(**self.force.model_dump()),
            virial=Sigma(**self.virial.model_dump()),
        )


class FitSections(Section):
    """The two sections that a fit of somebody's database needs."""

    fit: FitConfig = Field(default=FitConfig(), description="Write it as a section, [fit].")
    regularisation: RegularisationConfig = Field(
        default=RegularisationConfig(), description="Write it as [regularisation]."
    )


class PhononsConfig(Section):
    """``[phonons]``: the phonons that the potential is judged by."""

    reference: Literal["supercells", "diagonal"] = Field(
        default="supercells",
        description="Give 'supercells' (the minimal set) or 'diagonal' (one large supercell) for the reference.",
    )
    displacement: Real = Field(default=0.01, gt=0, le=0.5, description="Give the displacement in Å, for example 0.01.")
    grid: Grid | None = Field(
        default=None, description="Give the grid of the force constants; without it, the supercells'."
    )
    dos_mesh: Grid = Field(default=(40, 40, 40), description="Give the mesh of the density of states, as [40, 40, 40].")
    residual_force_limit: Real = Field(
        default=0.01, gt=0, description="Give the largest force in eV/Å that the unperturbed crystal may have, as 0.01."
    )


class ElasticConfig(Section):
    """``[elastic]``: the elastic constants that the potential is judged by."""

    enabled: Flag = Field(default=True, description="Give false to leave the elastic constants out.")
    strain: Real = Field(
        default=0.005, gt=0, lt=0.1, description="Give the strain of the finite differences, as 0.005."
    )
    relax_ions: Flag = Field(
        default=True, description="Give true to relax the ions in the strained cell, false to clamp them."
    )


def _parts(value: object) -> object:
    """One table is a database of one part."""
    return (value,) if isinstance(value, Mapping | ConfigurationsConfig) else value


class RunConfig(Section):
    """A whole run, as the input file says it."""

    crystal: CrystalConfig = Field(description="Add the section, for example [crystal] with structure = 'Al'.")
    supercells: SupercellsConfig = Field(description="Add the section, for example [supercells] with grid = [4, 4, 4].")
    configurations: Annotated[tuple[ConfigurationsConfig, ...], BeforeValidator(_parts)] = Field(
        default=(ConfigurationsConfig(),),
        description="Write it as [configurations], or as [[configurations]] once for each part of the database.",
    )
    reference: ReferenceConfig = Field(default=ReferenceConfig(), description="Write it as a section, [reference].")
    executor: ExecutorConfig = Field(default=ExecutorConfig(), description="Write it as a section, [executor].")
    fit: FitConfig = Field(default=FitConfig(), description="Write it as a section, [fit].")
    regularisation: RegularisationConfig = Field(
        default=RegularisationConfig(), description="Write it as [regularisation]."
    )
    phonons: PhononsConfig = Field(default=PhononsConfig(), description="Write it as a section, [phonons].")
    elastic: ElasticConfig = Field(default=ElasticConfig(), description="Write it as a section, [elastic].")

    @field_validator("configurations")
    @classmethod
    def _names_of_parts(cls, parts: tuple[ConfigurationsConfig, ...]) -> tuple[ConfigurationsConfig, ...]:
        if not parts:
            raise ValueError("there is no part of a database, so nothing to label")
        names = [part.name for part in parts]
        if len(parts) > 1 and (None in names or len(set(names)) < len(names)):
            raise ValueError("every part of a database of several parts needs a name of its own")
        return parts
