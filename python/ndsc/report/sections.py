"""The sections of the report, each from results.json."""

from __future__ import annotations

from collections.abc import Mapping

from ndsc.report import page
from ndsc.report.style import SavedFigure
from ndsc.results import Comparison, Results

Figures = Mapping[str, SavedFigure]


def all_sections(results: Results, figures: Figures, input_file: str) -> list[str]:
    """The body of the page, in the order in which a reader wants it."""
    return [
        _top(results),
        page.warnings_box(results.warnings),
        _phonons(results, figures),
        _elastic(results, figures),
        _supercells(results),
        _labels(results),
        _fit(results, figures),
        _cost(results),
        _reproduce(results, input_file),
    ]


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash where there is none."""
    # Adding zero turns what rounds to -0 into 0.
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def seconds(value: float | None) -> str:
    """A time as people say it."""
    if value is None:
        return "–"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _top(results: Results) -> str:
    crystal, labels = results.crystal, results.labels
    space_group = f", space group {crystal.space_group} ({crystal.space_group_number})" if crystal.space_group else ""
    lead = f"{crystal.n_atoms} atoms in the unit cell{space_group}."
    if labels is not None:
        lead += f" Reference: {labels.calculator}."
    entries = []
    if results.phonons is not None:
        entries.append(("Phonon error", f"{number(results.phonons.rmse_mesh_thz, 4)} THz", "RMSE over the mesh"))
    worst = results.worst_elastic
    if worst is not None:
        name, value = worst
        error = "none" if value.error_percent is None else f"{value.error_percent:+.2f} %"
        entries.append(("Worst elastic constant", error, name))
    if results.supercells is not None:
        chosen = results.supercells
        proof = "proven smallest" if chosen.proven else "not proven smallest"
        entries.append(("Supercells", str(len(chosen.sizes)), f"grid {_grid(chosen.grid)}, {proof}"))
    if results.cost is not None:
        cost = results.cost
        entries.append(("Labels", str(cost.labels), f"{cost.atoms} atoms, {seconds(cost.seconds)} of calculations"))
    return page.heading(f"{crystal.formula}: from a crystal to a potential", lead) + page.cards(entries)


def _phonons(results: Results, figures: Figures) -> str:
    phonons = results.phonons
    if phonons is None:
        return ""
    way = "the minimal set of non-diagonal supercells"
    if phonons.settings.get("reference") == "diagonal":
        way = "the diagonal supercell"
    rows = [
        ("RMSE over the mesh", number(phonons.rmse_mesh_thz, 4)),
        ("RMSE along the path", number(phonons.rmse_path_thz, 4)),
        ("largest error", number(phonons.max_error_thz, 4)),
        ("lowest frequency, potential", number(phonons.min_frequency_thz)),
        ("lowest frequency, reference", number(phonons.reference_min_frequency_thz)),
        ("highest frequency, reference", number(phonons.reference_max_frequency_thz)),
    ]
    return page.section(
        "Phonons",
        page.picture(
            figures["dispersion"],
            f"Phonon dispersion and density of states of the potential over the reference; RMSE over the mesh "
            f"{number(phonons.rmse_mesh_thz, 4)} THz.",
            "Dispersion along the Setyawan-Curtarolo path, the difference below it, and the density of states on "
            f"{_grid(phonons.dos_mesh)} q-points. Potential: coloured; reference: black, dashed. Imaginary frequencies "
            "are drawn as negative numbers.",
        ),
        page.paragraph(
            f"Force constants of both from {way}, each at its own lattice. The mesh of {_grid(phonons.mesh)} q-points "
            "is weighted by symmetry; along the path each q-point counts with the length of path it stands for."
        ),
        page.table("Frequencies in THz", ["", "THz"], rows),
    )


def _elastic(results: Results, figures: Figures) -> str:
    columns = ["", "potential", "reference", "error, %"]
    lattice = [(f"{name} ({_unit(name)})", *_comparison(value, 4)) for name, value in (results.lattice or {}).items()]
    elastic = [(name, *_comparison(value, 2)) for name, value in (results.elastic or {}).items()]
    ions = "clamped" if results.elastic_settings.get("relax_ions") is False else "relaxed"
    drawing = ""
    if "elastic" in figures:
        worst = results.worst_elastic
        drawing = page.picture(
            figures["elastic"],
            f"Errors of the elastic constants; the largest is that of {worst[0] if worst else 'none'}.",
            "Errors relative to the reference; the band is the 6 % of the paper's potentials.",
        )
    return page.section(
        "Elastic constants and lattice",
        page.columns(
            page.table(f"Elastic constants in GPa, ions {ions}", columns, elastic)
            + page.table("Lattice of the relaxed unit cell", columns, lattice),
            drawing,
        ),
    )


def _supercells(results: Results) -> str:
    chosen = results.supercells
    if chosen is None:
        return ""
    rows = [
        (f"s{index:03d}", " ".join(str(row).replace(",", "") for row in matrix), size)
        for index, (matrix, size) in enumerate(zip(chosen.matrices, chosen.sizes, strict=True))
    ]
    if chosen.proven:
        proof = "its cost equals the lower bound, so no cheaper set exists"
    else:
        proof = f"no set can cost less than {chosen.lower_bound:g}"
    return page.section(
        "Supercells",
        page.paragraph(
            f"All {chosen.n_irreducible_qpoints} irreducible q-points of the {_grid(chosen.grid)} grid are held by "
            f"{len(chosen.sizes)} supercells. The sum of size^{chosen.cost_exponent:g} is {chosen.cost:g}; {proof}."
        ),
        page.table(
            "Rows of the supercell matrix are lattice vectors in those of the unit cell",
            ["", "matrix", "unit cells"],
            rows,
            numeric=1,
        ),
    )


def _labels(results: Results) -> str:
    configurations, labels = results.configurations, results.labels
    if configurations is None or labels is None:
        return ""
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in configurations.by_type.items())
    failures = [(failure.name, failure.reason) for failure in labels.failures]
    settings = [(name, value) for name, value in configurations.settings.items()]
    reference = [("calculator", labels.calculator), *((name, value) for name, value in labels.settings.items())]
    return page.section(
        "Configurations and labels",
        page.paragraph(
            f"{configurations.total} configurations ({counts}). {labels.succeeded} of {labels.requested} reference "
            f"calculations have a label, those of the reference's phonons included; {labels.reused} of them from "
            "the store."
        ),
        page.table("Configurations without a label", ["name", "reason"], failures, numeric=0),
        page.columns(
            page.table("Configurations", ["setting", "value"], settings, numeric=0),
            page.table("Reference", ["setting", "value"], reference, numeric=0),
        ),
    )


def _fit(results: Results, figures: Figures) -> str:
    fit = results.fit
    if fit is None:
        return ""
    errors = [
        (
            kind.replace("_", " "),
            part.configurations,
            _milli(part.energy_rmse_ev_per_atom),
            _milli(part.force_rmse_ev_per_angstrom),
            _milli(part.virial_rmse_ev_per_atom),
        )
        for kind, part in fit.errors.items()
    ]
    counts = [(name.replace("_", " "), count.sent, count.read) for name, count in fit.counts.items()]
    return page.section(
        "Fit",
        page.picture(
            figures["parity"],
            "Energies, forces and virials of the potential against the reference on the training data.",
            "The potential on the data that it was fitted to. Energies are relative to their mean.",
        ),
        page.table(
            "Errors on the training data (RMSE)",
            ["", "configurations", "energy, meV/atom", "force, meV/Å", "virial, meV/atom"],
            errors,
        ),
        page.columns(
            page.table("Settings", ["setting", "value"], list(fit.settings.items()), numeric=0),
            page.table("Expected errors", ["setting", "value"], list(fit.regularisation.items()), numeric=0)
            + page.table("Data, as written and as gap_fit read it", ["", "sent", "read"], counts),
        ),
        page.paragraph(
            f"{fit.n_sparse} sparse points; the fit took {seconds(fit.seconds)} and an estimated "
            f"{number(fit.memory_gb, 2)} GB."
        ),
    )


def _cost(results: Results) -> str:
    cost = results.cost
    if cost is None:
        return ""
    rows = [(f"{size.atoms} atoms", size.labels, seconds(size.seconds)) for size in cost.by_size]
    rows.append(("all", cost.labels, seconds(cost.seconds)))
    relative = ""
    if cost.relative_to_diagonal is not None:
        relative = (
            f"The diagonal supercell of the grid has {cost.diagonal_atoms} atoms. By the cubes of the numbers of "
            f"atoms, all labels of the database together cost {cost.relative_to_diagonal:.3g} times one calculation of "
            "it"
        )
        if cost.reference_phonon_atoms_cubed is not None and cost.diagonal_atoms:
            share = cost.reference_phonon_atoms_cubed / float(cost.diagonal_atoms) ** 3
            relative += (
                f", and the {cost.reference_phonon_labels} calculations behind the reference's phonons "
                f"{share:.3g} times"
            )
        relative += "."
    stages = [(name, seconds(value)) for name, value in cost.stages.items()]
    return page.section(
        "Cost",
        page.paragraph(relative) if relative else "",
        page.columns(
            page.table("Labels of the database", ["cells of", "labels", "time"], rows),
            page.table("Wall time of this run", ["stage", "time"], stages),
        ),
    )


def _reproduce(results: Results, input_file: str) -> str:
    return page.section(
        "How to make this again",
        page.listing(results.command) if results.command else "",
        page.paragraph("The input file, with every default filled in:") if input_file else "",
        page.listing(input_file) if input_file else "",
        page.table("Versions", ["package", "version"], list(results.versions.items()), numeric=0),
    )


def _comparison(value: Comparison, digits: int) -> tuple[str, str, str]:
    error = "–" if value.error_percent is None else f"{value.error_percent:+.2f}"
    return number(value.model, digits), number(value.reference, digits), error


def _milli(value: float | None) -> str:
    return "–" if value is None else f"{1e3 * value:.3g}"


def _grid(grid: tuple[int, ...] | list[int]) -> str:
    return " × ".join(str(division) for division in grid)


def _unit(name: str) -> str:
    if name in ("a", "b", "c"):
        return "Å"
    return "Å³" if name.startswith("volume") else "°"
