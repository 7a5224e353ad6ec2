"""A run as a flow of jobflow: every label is a job of a static maker of the user's, such as one of atomate2.

What a run needs next (steps of the relaxation, displaced supercells, configurations, the next labels of a choice)
becomes jobs of the static maker. Their documents are checked and taken as labels as outputs of calculations elsewhere
are, and the run goes on, until nothing is missing and the potential is fitted and compared. Documents are atomate2's:
``output.structure``, ``output.energy`` (eV), ``output.forces`` (eV/Å) and ``output.stress`` (kbar, VASP's sign).

Needs the extra ``jobflow``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from ase.units import GPa

from ndsc.codes.base import potential_energy
from ndsc.codes.specification import CalculatorSpec, supercell_matrix
from ndsc.config import RunConfig
from ndsc.config.files import parse_config, written
from ndsc.elsewhere import MANIFEST, Manifest, Wanted, read_labels
from ndsc.elsewhere.manifest import Entry
from ndsc.errors import InputError, MissingExtraError, ReferenceCalculationError
from ndsc.files import whole_file
from ndsc.kpoints import reduced_kpoints
from ndsc.supercells import find_supercells
from ndsc.workflow import run_workflow
from ndsc.workflow.elsewhere import missing_labels
from ndsc.workflow.plan import label_store

try:
    from jobflow import Flow, Job, Maker, Response, job
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.vasp.inputs import Kpoints
except ImportError as error:
    raise MissingExtraError(
        f"ndsc.flows needs jobflow and pymatgen ({error}). Install them: pip install 'ndsc[jobflow]'."
    ) from error

#: Stresses in documents are in kbar, with the opposite of ASE's sign.
KBAR = -0.1 * GPa
#: Folder of the outputs of each round in that of a run.
ROUNDS = "rounds"
#: A run that needs more rounds of labels than this goes round in a circle.
MOST_ROUNDS = 500


@dataclass
class SupercellsMaker(Maker):  # type: ignore[misc]
    """The minimal non-diagonal supercells of a grid.

    Attributes
    ----------
    name : str
    grid : int or three ints
    symprec : float, Å
    """

    name: str = "ndsc supercells"
    grid: int | Sequence[int] = 4
    symprec: float = 1e-5

    @job  # type: ignore[untyped-decorator]
    def make(self, structure: Structure) -> dict[str, Any]:
        """Find the supercells.

        Parameters
        ----------
        structure : pymatgen.core.Structure
            The unit cell.

        Returns
        -------
        dict
            As ``supercells.json`` of a run, with ``matrices``, ``sizes`` and ``grid``, and the supercells themselves as
            ``structures``.
        """
        from ndsc.sublattices import make_supercell

        found = find_supercells(to_atoms(structure), self.grid, symprec=self.symprec)
        cells = [to_structure(make_supercell(found.atoms, matrix)) for matrix in found.matrices]
        return {**found.to_dict(), "structures": cells}


@dataclass
class AseStaticMaker(Maker):  # type: ignore[misc]
    """A static calculation with any calculator that ndsc knows by name, for tests and for potentials.

    Attributes
    ----------
    name : str
    calculator : str
    parameters : dict
        As in ``[reference]`` of an input file.
    """

    name: str = "ndsc static"
    calculator: str = "emt"
    parameters: dict[str, Any] = field(default_factory=dict)

    @job  # type: ignore[untyped-decorator]
    def make(self, structure: Structure, prev_dir: str | None = None) -> dict[str, Any]:
        """Calculate energy, forces and stress."""
        return static_document(structure, CalculatorSpec(self.calculator, self.parameters))


@dataclass
class RunMaker(Maker):  # type: ignore[misc]
    """A whole run: labels by a static maker, then the fit and the comparison with the reference.

    Attributes
    ----------
    name : str
    directory : str
        Folder of the run, which all its jobs must see. What is there already is not done again.
    input : dict
        The sections of an input file, without ``structure``: ``{"supercells": {"grid": 4}, "reference": {"kgrid":
        [12, 12, 12]}}``. Labels are those of ``calculator = "elsewhere"`` unless another is named.
    static_maker : jobflow.Maker
        Its ``make(structure)`` returns a job, or a flow, whose output has energy, forces and stress.
    """

    name: str = "ndsc run"
    directory: str = "ndsc-run"
    input: dict[str, Any] = field(default_factory=dict)
    static_maker: Maker = field(default_factory=AseStaticMaker)

    def make(self, structure: Structure) -> Flow:
        """The flow of a crystal.

        Parameters
        ----------
        structure : pymatgen.core.Structure
            The unit cell.

        Returns
        -------
        jobflow.Flow
            Its output is that of :func:`fit_and_compare`.

        Raises
        ------
        InputError
            When the input is wrong.
        """
        folder = Path(self.directory).absolute()
        config = run_config(self.input, structure, folder)
        config.reference.to_spec()
        first = next_labels(structure, self.input, str(folder), self.static_maker)
        first.name = f"{self.name}: labels"
        return Flow([first], output=first.output, name=self.name)


@job  # type: ignore[untyped-decorator]
def next_labels(
    structure: Structure,
    sections: dict[str, Any],
    directory: str,
    static_maker: Maker,
    number: int = 0,
    taken: Any = None,
) -> Response:
    """Replace itself by the static calculations of the labels that are missing now, or by the fit.

    Parameters
    ----------
    structure, sections, directory, static_maker
        See :class:`RunMaker`.
    number : int
        How many rounds there were.
    taken : dict, optional
        What became of the round before, which this one waits for.
    """
    folder = Path(directory)
    config = run_config(sections, structure, folder)
    missing = missing_labels(config, folder)
    if not missing.wanted:
        last = fit_and_compare(structure, sections, directory)
        return Response(replace=last)
    if number >= MOST_ROUNDS:
        raise ReferenceCalculationError(f"{number} rounds of labels were not enough. See {folder} for what is missing.")
    place = folder / ROUNDS / f"{number:03d}"
    entries = tuple(Entry(wanted, f"{index:04d}-{wanted.name}") for index, wanted in enumerate(missing.wanted))
    place.mkdir(parents=True, exist_ok=True)
    Manifest(place / MANIFEST, "extxyz", label_store(config, folder).path, "a flow", entries).write()
    statics = []
    for entry in entries:
        made = with_kpoints(static_maker, entry.wanted).make(to_structure(entry.wanted.atoms))
        made.name = f"{static_maker.name}: {entry.wanted.name}"
        statics.append(made)
    take = take_labels(str(place), [entry.folder for entry in entries], [made.output for made in statics])
    again = next_labels(structure, sections, directory, static_maker, number + 1, take.output)
    return Response(replace=Flow([*statics, take, again], output=again.output))


@job  # type: ignore[untyped-decorator]
def take_labels(directory: str, names: list[str], documents: list[Any]) -> dict[str, Any]:
    """Take the documents of static calculations as labels, checked as outputs of calculations elsewhere are.

    Parameters
    ----------
    directory : str
        Folder of the round.
    names : list of str
        Folders in it, one for each document.
    documents : list
        Of the static calculations.

    Returns
    -------
    dict
        ``taken`` and ``missing``, names of labels, and ``notes``.

    Raises
    ------
    ReferenceCalculationError
        When a document is of another structure, has other settings or lacks something. The others are taken.
    """
    for name, document in zip(names, documents, strict=True):
        with whole_file(Path(directory) / name / "result.extxyz") as temporary:
            write(temporary, calculated(document), format="extxyz")
    report = read_labels([directory])
    report.require_all()
    return {"taken": report.taken, "missing": report.missing, "notes": report.notes}


@job  # type: ignore[untyped-decorator]
def fit_and_compare(structure: Structure, sections: dict[str, Any], directory: str) -> dict[str, Any]:
    """Fit the potential and compare it with the reference, once all labels are there.

    Returns
    -------
    dict
        ``database_dir`` and ``database``: the labelled configurations, with ``REF_energy``, ``REF_forces`` and
        ``REF_virial``; ``mlip_path``, the folders of potentials; and ``results``, the content of ``results.json``.
    """
    folder = Path(directory)
    config = run_config(sections, structure, folder)
    results = run_workflow(config, folder)
    return {
        "database_dir": str(folder),
        "database": "database.extxyz",
        "mlip_path": [] if config.fit.method == "none" else [str(folder / "potential")],
        "results": results.model_dump(mode="json"),
    }


def static_document(structure: Structure, spec: CalculatorSpec) -> dict[str, Any]:
    """Energy, forces and stress of a structure, in the fields of atomate2's documents."""
    atoms = to_atoms(structure)
    atoms.calc = spec.create(atoms)
    output = {
        "structure": structure,
        "energy": potential_energy(atoms, atoms.calc),
        "forces": atoms.get_forces().tolist(),
        "stress": (voigt_6_to_full_3x3_stress(atoms.get_stress()) / KBAR).tolist(),
    }
    return {"structure": structure, "output": output, "dir_name": str(Path.cwd()), "calculator": spec.name}


def run_config(sections: Mapping[str, Any], structure: Structure, folder: Path) -> RunConfig:
    """The checked input of a run.

    Raises
    ------
    InputError
        Naming what is wrong.
    """
    data = copy.deepcopy(dict(sections))
    crystal = dict(data.get("crystal", {}))
    if "structure" in crystal:
        raise InputError(
            "The input of a flow has [crystal] structure, but the structure is an argument of make(). "
            "Remove it from the input."
        )
    path = folder / "unit-cell.extxyz"
    with whole_file(path) as temporary:
        write(temporary, to_atoms(structure), format="extxyz")
    data["crystal"] = {**crystal, "structure": str(path)}
    data["reference"] = {"calculator": "elsewhere", **data.get("reference", {})}
    data["executor"] = {**data.get("executor", {}), "kind": "elsewhere"}
    return parse_config(written(data), folder=folder, source="The input of the flow")


def with_kpoints(maker: Maker, wanted: Wanted) -> Maker:
    """A static maker with the folded k-points of one label, where it is one of atomate2's for VASP.

    Other makers are returned as they are: their k-points are the user's.
    """
    generator = getattr(maker, "input_set_generator", None)
    kgrid = wanted.spec.kgrid
    if kgrid is None or not hasattr(generator, "user_kpoints_settings"):
        return maker

    points, weights = reduced_kpoints(supercell_matrix(wanted.atoms), kgrid)
    changed = copy.deepcopy(maker)
    changed.input_set_generator.user_kpoints_settings = Kpoints(
        comment=f"{wanted.name}, folded",
        num_kpts=len(points),
        style=Kpoints.supported_modes.Reciprocal,
        kpts=[tuple(point) for point in points.tolist()],
        kpts_weights=[float(weight) for weight in weights],
    )
    return changed


def calculated(document: Any) -> Atoms:
    """The structure of a static calculation's document, with its free energy, forces and stress.

    Parameters
    ----------
    document : dict or object
        With ``output``, as atomate2's documents of VASP, of force fields and of ASE have it.

    Raises
    ------
    InputError
        When it lacks the structure, the energy or the forces.
    """
    output = _get(document, "output") or document
    structure = _get(output, "structure") or _get(document, "structure")
    energy, forces, stress = _free_energy(document), _get(output, "forces"), _get(output, "stress")
    energy = _get(output, "energy") if energy is None else energy
    lacking = [
        name for name, value in (("structure", structure), ("energy", energy), ("forces", forces)) if value is None
    ]
    if lacking:
        raise InputError(
            f"The document of a static calculation has no {' and no '.join(lacking)} in its output. Use a static maker "
            "with the documents of atomate2, output.structure, output.energy and output.forces."
        )
    atoms = to_atoms(structure)
    results: dict[str, Any] = {"energy": float(energy), "free_energy": float(energy), "forces": np.array(forces)}
    if stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(np.array(stress, dtype=float) * KBAR)
    clean = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    clean.calc = SinglePointCalculator(clean, **results)
    return clean


def to_structure(atoms: Atoms) -> Structure:
    """A pymatgen structure with the moments that are not all zero, and nothing else besides the atoms."""
    clean = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    if atoms.get_initial_magnetic_moments().any():
        clean.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return AseAtomsAdaptor.get_structure(clean)


def to_atoms(structure: Structure) -> Atoms:
    """The atoms of a pymatgen structure, with its moments."""
    found: Atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    found.calc = None
    return found


def _free_energy(document: Any) -> float | None:
    """The free energy of VASP's last step, which forces derive from; ``output.energy`` is the one without smearing."""
    calculations = _get(document, "calcs_reversed") or []
    steps = _get(_get(calculations[0], "output"), "ionic_steps") if calculations else None
    return _get(steps[-1], "e_fr_energy") if steps else None


def _get(of: Any, name: str) -> Any:
    return of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)


__all__ = [
    "AseStaticMaker",
    "Job",
    "RunMaker",
    "SupercellsMaker",
    "calculated",
    "fit_and_compare",
    "next_labels",
    "run_config",
    "take_labels",
]
