"""The parts of a database: supercells perturbed at random, displaced as a temperature does, or of a trajectory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ase import Atoms
from phonopy import Phonopy

from ndsc.config import ConfigurationsConfig, RunConfig
from ndsc.configurations import CURRENT, make_configurations
from ndsc.crystal import Crystal
from ndsc.dynamics import melting_warning
from ndsc.force_constants import phonons_from_labels
from ndsc.force_constants.samples import check_residual
from ndsc.progress import Progress
from ndsc.reference import CalculatorSpec, Label, LabelStore, label_configurations
from ndsc.reference.labelling import computed_elsewhere
from ndsc.supercells import SupercellSet
from ndsc.thermal import CUTOFF_THZ, displacement_warning, load_force_constants, thermal_configurations
from ndsc.trajectories import trajectory_configurations

#: Under what the force constants of the run's own reference are kept.
OWN = ""
#: What the settings of a part mean besides those that :func:`~ndsc.make_configurations` takes.
_NOT_RANDOM = {
    "name", "unlabelled", "temperature", "statistics", "cutoff_frequency", "force_constants", "trajectory", "every",
    "dynamics", "potential", "timestep", "friction", "equilibration",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sources:
    """Where atoms of thermal configurations, trajectories and molecular dynamics are taken from.

    Attributes
    ----------
    force_constants : mapping of str to phonopy.Phonopy
        By their file, and under ``""`` those of the run's own reference, once they are there.
    trajectories : mapping of str to list of ase.Atoms
        By the name of the part of the database.
    dynamics : mapping of str to list of ase.Atoms
        The configurations of parts that are molecular dynamics, by their name, once they are there.
    """

    force_constants: Mapping[str, Phonopy] = field(default_factory=dict)
    trajectories: Mapping[str, list[Atoms]] = field(default_factory=dict)
    dynamics: Mapping[str, list[Atoms]] = field(default_factory=dict)

    @classmethod
    def of_config(cls, config: RunConfig, crystal: Crystal) -> Sources:
        """Read the files that the parts of a database name.

        Raises
        ------
        InputError
            When one cannot be read, or is of another crystal.
        """
        parts = () if config.makes_candidates else config.configurations
        files = {part.force_constants for part in parts if part.force_constants is not None}
        trajectories = {
            str(part.name): trajectory_configurations(crystal, part.trajectory, every=part.every or 1, part=part.name)
            for part in parts
            if part.trajectory is not None
        }
        return cls({file: load_force_constants(file) for file in sorted(files)}, trajectories)

    def frames(self, part: ConfigurationsConfig, supercells: SupercellSet, **changes: int) -> list[Atoms]:
        """The configurations of one part, with some of its settings changed.

        Thermal ones whose force constants are still to be calculated, and those of molecular dynamics that is still to
        be run, are displaced at random: such a plan only counts. Of molecular dynamics that is run while labels are
        chosen there are none before.
        """
        settings = part.model_dump(exclude=_NOT_RANDOM) | changes
        if part.trajectory is not None:
            perfect = make_configurations(supercells, part=part.name, **(settings | {"per_supercell": 0}))
            frames = self.trajectories[str(part.name)] if "first_index" not in changes else []
            return [*perfect, *(atoms.copy() for atoms in frames)]
        if str(part.name) in self.dynamics:
            # None are beyond those that are labelled or chosen from.
            return [] if "first_index" in changes else [atoms.copy() for atoms in self.dynamics[str(part.name)]]
        if part.potential == CURRENT:
            return make_configurations(supercells, part=part.name, **(settings | {"per_supercell": 0}))
        phonons = self.force_constants.get(part.force_constants or OWN)
        if part.temperature is None or part.dynamics is not None or phonons is None:
            return make_configurations(supercells, part=part.name, **settings)
        thermal = {key: settings[key] for key in ("per_supercell", "strain", "scale", "unit_cells", "seed")}
        return thermal_configurations(
            supercells,
            phonons,
            temperature=part.temperature,
            statistics=part.statistics or "quantum",
            cutoff_frequency=CUTOFF_THZ if part.cutoff_frequency is None else part.cutoff_frequency,
            part=part.name,
            **{**thermal, **({"first_index": changes["first_index"]} if "first_index" in changes else {})},
        )

    def counts(self, part: ConfigurationsConfig, supercells: SupercellSet) -> Counter[int]:
        """How many configurations of each number of atoms a part has, without making them."""
        n_atoms = len(supercells.atoms)
        counts = Counter({n_atoms: part.unit_cells})
        if part.trajectory is not None:
            return counts + Counter(len(atoms) for atoms in self.trajectories[str(part.name)])
        for size in supercells.sizes.tolist():
            counts[n_atoms * size] += part.per_supercell
        return counts

    def warnings(self, config: RunConfig, supercells: SupercellSet) -> list[str]:
        """What is doubtful about displacements at a temperature."""
        found = []
        for part in () if config.makes_candidates else config.configurations:
            phonons = self.force_constants.get(part.force_constants or OWN)
            if part.dynamics is not None:
                text = melting_warning(self.dynamics.get(str(part.name), ()), supercells.atoms)
                found += [] if text is None else [text]
                continue
            if part.temperature is None or phonons is None:
                continue
            text = displacement_warning(
                supercells,
                phonons,
                max(part.temperature),
                part.statistics or "quantum",
                cutoff_frequency=CUTOFF_THZ if part.cutoff_frequency is None else part.cutoff_frequency,
            )
            found += [] if text is None else [text]
        return found


def reference_phonons(
    config: RunConfig,
    spec: CalculatorSpec,
    store: LabelStore,
    supercells: SupercellSet,
    frames: list[Atoms],
    *,
    compute: bool,
    progress: Progress,
) -> Phonopy | None:
    """The phonons of a run's reference, which thermal configurations are drawn from.

    Parameters
    ----------
    config : RunConfig
    spec : CalculatorSpec
    store : LabelStore
    supercells : SupercellSet
        Of the grid of the phonons.
    frames : list of ase.Atoms
        Their displaced supercells.
    compute : bool
        Whether missing labels may be computed.
    progress : callable
        Called with (task, done, total).

    Returns
    -------
    phonopy.Phonopy or None
        None where labels are missing that are not to be computed here.

    Raises
    ------
    InputError
        When the crystal is not at rest.
    ReferenceCalculationError
        When a calculation fails.
    """
    limit = config.phonons.residual_force_limit
    labels: dict[str, Label] = {}
    for atoms in frames:
        label = store.get(store.key_of(atoms, spec))
        if label is not None:
            labels[str(atoms.info["ndsc_name"])] = label
    if len(labels) < len(frames):
        if not compute or computed_elsewhere(spec, config.executor):
            return None
        perfect = [atoms for atoms in frames if atoms.info["config_type"] == "phonon_perfect"]
        for chosen, task in ((perfect, "perfect cells"), (frames, "phonons that displacements are drawn from")):
            report = label_configurations(chosen, spec, store, executor=config.executor, progress=progress, task=task)
            report.require_all()
            labels |= report.labels
            for atoms in perfect:
                name = str(atoms.info["ndsc_name"])
                check_residual(name, labels[name].forces, limit)
    forces = {name: label.forces for name, label in labels.items()}
    return phonons_from_labels(supercells, frames, forces, residual_force_limit=limit).phonopy
