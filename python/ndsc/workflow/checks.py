"""What can be known to be wrong with a run before its first calculation."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np

from ndsc.configurations import check_memory
from ndsc.errors import InputError
from ndsc.files import check_folder, nearest_folder
from ndsc.fit.training import check_e0
from ndsc.kpoints import check_kgrid_folds
from ndsc.potentials.fitting import check_fit_memory
from ndsc.potentials.registry import fitter_of
from ndsc.sheet import check_kgrid_of_sheet
from ndsc.workflow.plan import Plan
from ndsc.workflow.selection_effort import check_selection_memory

#: Up to this number of configurations, they are made to look up their labels.
COUNTED = 20_000
#: What a label and each of its atoms take on disk, bytes.
DISK_OF_LABEL, DISK_OF_ATOM = 3_000, 200


def check_plan(plan: Plan, directory: Path) -> tuple[str, ...]:
    """Refuse a run that could not finish, before anything is computed or written.

    Parameters
    ----------
    plan : Plan
        Of the crystal as it is, relaxed or not.
    directory : path
        Folder of the run.

    Returns
    -------
    tuple of str
        What is doubtful and yet possible.

    Raises
    ------
    InputError
        When settings contradict each other or the crystal, memory or disk space are too small, or a folder cannot be
        written.
    MissingExtraError
        When the fit or the labels need what is not installed.
    """
    for one in plan.each:
        _check_kpoints(one)
        if one.crystal.is_sheet:
            _check_sheet(one)
        _ = one.nac_params  # read, and refused where the file does not fit
    notes = [*plan.databases.warnings, *_check_fit(plan)]
    _check_resources(plan)
    notes += check_repeated(plan)
    if plan.selects:
        check_selection_memory(plan)
    check_folder(directory)
    if _has_missing_labels(plan):
        check_folder(plan.store.path)
        if plan.config.executor.kind != "elsewhere":
            plan.spec.code.check_installed(plan.spec)
    for one in plan.each:
        head = "" if one.name is None else f"{one.name}: "
        notes += [f"{head}{text}" for text in (*_notes_on_crystal(one), *_notes_on_parts(one))]
    return (*plan.warnings, *notes)


def _has_missing_labels(plan: Plan) -> bool:
    """Whether anything will be written to the label store; a store that has all labels may be read-only."""
    if not plan.relaxed or plan.n_configurations > COUNTED:
        return True
    structures = [*plan.to_label, *(plan.candidates if plan.selects else ())]
    return any(plan.store.key_of(atoms, plan.spec) not in plan.store for atoms in structures)


def _check_sheet(plan: Plan) -> None:
    """Refuse what has no meaning across a sheet."""
    if plan.config.phonons.born is not None:
        raise InputError(
            "[phonons] born is for crystals of three dimensions: in a sheet (pbc = T T F) the field of a long wave "
            "goes to zero with q, LO and TO meet at Γ, and the non-analytical term has another form. Remove born."
        )
    if plan.config.selection.target_gpa is not None:
        raise InputError(
            "[selection] target_gpa is for crystals of three dimensions: a sheet (pbc = T T F) has no volume, so no "
            "equation of state. Take it out."
        )
    check_kgrid_of_sheet(plan.spec.kgrid)


def _check_kpoints(plan: Plan) -> None:
    matrices = [plan.supercells.matrices]
    if plan.config.fit.method != "none":
        matrices.append(plan.phonon_supercells.matrices)
        if plan.config.phonons.reference == "diagonal":
            matrices.append(np.diag(plan.phonon_supercells.grid)[None])
    check_kgrid_folds(np.concatenate(matrices), plan.spec.kgrid)


def check_repeated(plan: Plan) -> list[str]:
    """Look for structures of the user's own databases that the run labels too.

    Raises
    ------
    InputError
        When there are others than the unperturbed unit cell.
    """
    if not plan.databases.each or not plan.relaxed or plan.n_configurations > COUNTED:
        return []
    return plan.databases.check_repeated(plan.always_labelled if plan.selects else plan.configurations)


def _check_fit(plan: Plan) -> list[str]:
    fit = plan.potential
    if fit.method == "none":
        return []
    kind = fitter_of(fit)
    kind.require()
    if plan.selects and not kind.linear:
        kind.basis([], Path(), fit)  # says that labels cannot be chosen for it
    check_e0(fit, plan.symbols)
    notes = plan.databases.check_e0(fit, plan.compositions)
    check_fit_memory(fit, plan.fit_size)
    return notes


def _check_resources(plan: Plan) -> None:
    """Refuse more structures than memory or disk can hold."""
    for one in plan.each:
        for section in () if one.config.makes_candidates else one.config.configurations:
            check_memory(one.supercells, section)
    atoms = sum(size * count for size, count in plan.counts.items())
    labels = plan.most_labels
    disk = labels * DISK_OF_LABEL + atoms * DISK_OF_ATOM
    folder = nearest_folder(plan.store.path)
    left = shutil.disk_usage(folder).free
    if disk > left:
        raise InputError(
            f"The labels of {labels} configurations take about {disk / 1e9:.3g} GB on disk; "
            f"{left / 1e9:.3g} GB are free in {folder}. Free some space, or name another folder with [reference] "
            "labels."
        )


def _notes_on_crystal(plan: Plan) -> list[str]:
    crystal = plan.crystal
    notes = []
    larger = crystal.larger_group()
    if larger is not None:
        notes.append(
            f"The space group is {crystal.symbol} ({crystal.number}) with [crystal] symprec = {crystal.symprec:g}, "
            f"but {larger}: with the larger group there is less to compute."
        )
    if crystal.n_primitive_cells > 1:
        notes.append(
            f"The unit cell holds {crystal.n_primitive_cells} primitive cells; [crystal] primitive = true would make "
            "smaller supercells."
        )
    return notes


def _notes_on_parts(plan: Plan) -> list[str]:
    """Parts of the database that consist of the same configurations."""
    counts = {"name", "per_supercell", "unit_cells", "unlabelled"}
    return [
        f"The parts {first.name} and {second.name} of [[configurations]] make the same structures, because all their "
        "settings and their seeds are equal; give each a seed of its own."
        for first, second in combinations(plan.config.configurations, 2)
        if first.model_dump(exclude=counts) == second.model_dump(exclude=counts)
        and (min(first.per_supercell, second.per_supercell) > 0 or min(first.unit_cells, second.unit_cells) > 1)
    ]
