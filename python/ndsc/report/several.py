"""The report of a run of several crystals: one page with what is common to them, and links to the page of each."""

from __future__ import annotations

from pathlib import Path

from ndsc.files import write_text
from ndsc.report import text
from ndsc.report.page import template
from ndsc.report.tables import NOTHING
from ndsc.report.write import RunFiles
from ndsc.results import Results, SeveralResults, read_several_results

#: The table of crystals.
COLUMNS = (
    "crystal", "space group", "labels", "a, potential (Å)", "a, reference (Å)", "phonons, RMSE (THz)",
    "lowest, potential (THz)", "lowest, reference (THz)", "worst elastic constant (%)", "energy, potential (meV/atom)",
    "energy, reference (meV/atom)",
)  # fmt: skip


def write_several_report(run_directory: str | Path) -> Path:
    """Write ``report.html`` of a run of several crystals.

    Parameters
    ----------
    run_directory : path
        Folder of the run; each crystal has its own report in a folder of its name.

    Returns
    -------
    path
        The HTML file.

    Raises
    ------
    InputError
        When a file that the run should have is missing or damaged, or the folder cannot be written.
    """
    directory = Path(run_directory)
    results = read_several_results(directory)
    files = {name: RunFiles(directory / name, one) for name, one in results.crystals.items()}
    fitted = sum(one.configurations.total for one in results.crystals.values() if one.configurations is not None)
    page: str = template("several.html.j2").render(
        results=results,
        n_fitted=f"{text.count(fitted, 'configuration')} in the database",
        columns=COLUMNS,
        rows=crystal_rows(results),
        verdicts=[(name, files[name].verdict(one)) for name, one in results.crystals.items()],
        fit_rows=[
            (
                kind.replace("_", " "),
                errors.configurations,
                text.milli(errors.energy_rmse_ev_per_atom),
                text.milli(errors.force_rmse_ev_per_angstrom),
                text.milli(errors.virial_rmse_ev_per_atom),
            )
            for kind, errors in ({} if results.fit is None else results.fit.errors).items()
        ],
    )
    write_text(directory / "report.html", page)
    return directory / "report.html"


def crystal_rows(results: SeveralResults) -> list[tuple[str, ...]]:
    """A row of :data:`COLUMNS` for each crystal; energies are relative to the first crystal of the same composition."""
    return [(*_row(name, one), *_energies(results, name)) for name, one in results.crystals.items()]


def _energies(results: SeveralResults, name: str) -> tuple[str, str]:
    formula = text.chemical(results.crystals[name].crystal.formula)
    first = next(other for other, one in results.crystals.items() if text.chemical(one.crystal.formula) == formula)
    if not {name, first} <= set(results.energies):
        return NOTHING, NOTHING
    one, zero = results.energies[name], results.energies[first]
    pairs = ((one.model, zero.model), (one.reference, zero.reference))
    ours, theirs = (None if a is None or b is None else 1e3 * (a - b) for a, b in pairs)
    return text.number(ours, 1), text.number(theirs, 1)


def _row(name: str, one: Results) -> tuple[str, ...]:
    lattice = (one.lattice or {}).get("a")
    phonons, worst = one.phonons, one.worst_elastic
    chosen = one.selection
    rmse = text.significant(None if phonons is None else phonons.rmse_mesh_thz)
    if phonons is None and chosen is not None and chosen.predicted_rmse_thz is not None:
        rmse = f"{text.significant(chosen.predicted_rmse_thz, 2)} predicted"
    return (
        name,
        text.space_group(one.crystal.space_group),
        str(0 if one.cost is None else one.cost.labels),
        text.number(None if lattice is None else lattice.model, 4),
        text.number(None if lattice is None else lattice.reference, 4),
        rmse,
        text.number(None if phonons is None else phonons.min_frequency_thz, 2),
        text.number(None if phonons is None else phonons.reference_min_frequency_thz, 2),
        NOTHING if worst is None else f"{text.percent(worst[1])} ({worst[0]})",
    )
