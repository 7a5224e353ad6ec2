"""The sections of the report: results.json, with what else the run's folder has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ndsc.report import page, text
from ndsc.report.contents import Contents
from ndsc.report.phonon_section import phonons_section
from ndsc.report.published import PAPER_ELASTIC_PERCENT, published
from ndsc.report.verdict import judge
from ndsc.results import Comparison, Results

CITATION = (
    "C. Allen and A. P. Bartók, Optimal data generation for machine learned interatomic potentials, "
    "Mach. Learn.: Sci. Technol. 3, 045031 (2022)"
)
#: Averages of elastic.json that are shown beside the constants.
_MODULI = {"bulk_modulus": "bulk modulus", "shear_modulus": "shear modulus", "young_modulus": "Young's modulus"}


def all_sections(contents: Contents) -> list[str]:
    """The body of the page, in the order in which a reader wants it."""
    return [
        _top(contents.results),
        page.warnings_box(contents.results.warnings),
        "<main>",
        phonons_section(contents),
        _elastic(contents),
        _supercells(contents),
        _labels(contents.results),
        _fit(contents),
        _cost(contents),
        _reproduce(contents),
        "</main>",
        page.footer(f"Method: {CITATION}; what this package adds to it is in its documentation."),
    ]


def _top(results: Results) -> str:
    crystal, labels = results.crystal, results.labels
    lead = f"{text.count(crystal.n_atoms, 'atom')} in the unit cell"
    if crystal.space_group:
        lead += f", space group {text.space_group(crystal.space_group)} ({crystal.space_group_number})"
    lead += "."
    if labels is not None:
        lead += f" Reference: {text.code_name(labels.calculator)}."
    verdict = judge(results)
    sentence = "" if verdict is None else page.verdict(verdict.good, verdict.word, verdict.text)
    title = f"{text.chemical(crystal.formula)}: from a crystal to a potential"
    return page.heading(title, lead) + sentence + page.cards(_headlines(results))


def _headlines(results: Results) -> list[tuple[str, str, str]]:
    """(name, value, note) of each headline number."""
    entries = []
    if results.phonons is not None:
        entries.append(("Phonon error", f"{text.number(results.phonons.rmse_mesh_thz, 4)} THz", "RMSE over the mesh"))
    worst = results.worst_elastic
    if worst is not None:
        name, value = worst
        error = "no value" if value.error_percent is None else f"{text.percent(value)} %"
        entries.append(("Worst elastic constant", error, name))
    if results.supercells is not None:
        chosen = results.supercells
        proof = "proven cheapest" if chosen.proven else "not proven cheapest"
        entries.append(("Supercells", str(len(chosen.sizes)), f"grid {text.grid(chosen.grid)}, {proof}"))
    if results.cost is not None:
        cost = results.cost
        failed = len(results.labels.failures) if results.labels is not None else 0
        note = f"{text.count(cost.atoms, 'atom')}, {text.seconds(cost.seconds)} of calculations"
        entries.append(("Labels", str(cost.labels), f"{note}, {failed} failed" if failed else note))
        if cost.relative_to_diagonal is not None:
            share = f"{text.significant(100 * cost.relative_to_diagonal)} %"
            entries.append(("Cost of the database", share, "of one diagonal supercell, as atoms³"))
        if cost.total_seconds is not None:
            entries.append(("Time", text.seconds(cost.total_seconds), "wall time of this run"))
    return entries


def _elastic(contents: Contents) -> str:
    results = contents.results
    columns = ["constant", "potential", "reference", "error, %"]
    paper = published(results.crystal)
    rows: list[tuple[str, ...]] = [(name, *_comparison(value, 2)) for name, value in (results.elastic or {}).items()]
    rows += [(name, *_comparison(value, 2)) for name, value in _moduli(contents.elastic).items()]
    lattice = [(text.lattice_name(name), *_comparison(value, 4)) for name, value in (results.lattice or {}).items()]
    caption = f"Elastic constants in GPa, ions {_ions(results)}"
    if paper is not None and rows:
        columns = [*columns, "paper, GAP", "paper, DFT"]
        rows = [
            (*row, *(text.number(found.get(row[0]), 1) for found in (paper.potential, paper.reference))) for row in rows
        ]
        caption += f". Beside them {paper.structure} in Table 3 of the paper (PBE, CASTEP)"
    drawing = ""
    if "elastic" in contents.figures:
        worst = results.worst_elastic
        drawing = page.picture(
            contents.figures["elastic"],
            f"Errors of the elastic constants; the largest is that of {worst[0] if worst else 'none'}.",
            f"Errors relative to the reference. The paper's potentials are within {PAPER_ELASTIC_PERCENT:g} %.",
        )
    return page.section(
        "Elastic constants and lattice",
        page.columns(page.table(caption, columns, rows), drawing),
        page.table("Lattice of the relaxed unit cell", ["parameter", *columns[1:4]], lattice),
        _published_lattice(contents) if lattice else "",
    )


def _ions(results: Results) -> str:
    return "clamped" if results.elastic_settings.get("relax_ions") is False else "relaxed"


def _moduli(elastic: Mapping[str, Any]) -> dict[str, Comparison]:
    """Voigt-Reuss-Hill averages of model and reference."""
    model, reference = elastic.get("model", {}), elastic.get("reference", {})
    return {
        title: Comparison.of(model.get(name), reference.get(name))
        for name, title in _MODULI.items()
        if name in reference or name in model
    }


def _published_lattice(contents: Contents) -> str:
    paper = published(contents.results.crystal)
    if paper is None:
        return ""
    lengths = ", ".join(f"{name} = {paper.reference[name]:.3f} Å" for name in ("a", "c") if name in paper.reference)
    return page.paragraph(f"Primitive cell of {paper.structure} in Table 1 of the paper (PBE, CASTEP): {lengths}.")


def _supercells(contents: Contents) -> str:
    chosen = contents.results.supercells
    if chosen is None:
        return ""
    held = [text.NOTHING] * len(chosen.sizes)
    if contents.supercells is not None:
        held = text.qpoints_by_supercell(contents.supercells)
    unit_atoms = contents.results.crystal.n_atoms
    rows = [
        (f"s{index:03d}", text.matrix(matrix), points, size, size * unit_atoms)
        for index, (matrix, points, size) in enumerate(zip(chosen.matrices, held, chosen.sizes, strict=True))
    ]
    if chosen.proven:
        proof = "this equals the lower bound, so no cheaper set exists"
    else:
        proof = f"no set can cost less than {chosen.lower_bound:g}"
    return page.section(
        "Supercells",
        page.paragraph(
            f"{text.count(len(chosen.sizes), 'supercell')} hold all {chosen.n_irreducible_qpoints} irreducible "
            f"q-points of the {text.grid(chosen.grid)} grid. The cost, the sum of size to the power of "
            f"{chosen.cost_exponent:g}, is {chosen.cost:g}; {proof}."
        ),
        page.table(
            "Rows of a matrix are the supercell's lattice vectors in those of the unit cell. Each irreducible q-point "
            "is listed once.",
            ["supercell", "matrix", "q-points", "unit cells", "atoms"],
            rows,
            numeric=2,
        ),
    )


def _labels(results: Results) -> str:
    configurations, labels = results.configurations, results.labels
    if configurations is None or labels is None:
        return ""
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in configurations.by_type.items())
    failures = [(failure.name, failure.reason) for failure in labels.failures]
    reference = [("calculator", text.code_name(labels.calculator)), *_settings(labels.settings)]
    failed = "None failed." if not failures else f"{len(failures)} failed and are not in the database."
    return page.section(
        "Configurations and labels",
        page.paragraph(
            f"{configurations.total} configurations ({counts}). {labels.succeeded} of {labels.requested} reference "
            f"calculations have a label, those of the reference's phonons included; {labels.reused} of them from "
            f"the store. {failed}"
        ),
        page.table("Configurations without a label", ["name", "reason"], failures, numeric=0),
        page.columns(
            page.table("Configurations", ["setting", "value"], _settings(configurations.settings), numeric=0),
            page.table("Reference", ["setting", "value"], reference, numeric=0),
        ),
    )


def _fit(contents: Contents) -> str:
    fit = contents.results.fit
    if fit is None:
        return ""
    errors = [
        (
            kind.replace("_", " "),
            part.configurations,
            text.milli(part.energy_rmse_ev_per_atom),
            text.milli(part.force_rmse_ev_per_angstrom),
            text.milli(part.virial_rmse_ev_per_atom),
        )
        for kind, part in fit.errors.items()
    ]
    counts = [(name.replace("_", " "), count.sent, count.read) for name, count in fit.counts.items()]
    return page.section(
        "Fit",
        page.picture(
            contents.figures["parity"],
            "Energies, forces and virials of the potential against the reference on the training data.",
            "The potential on the data that it was fitted to. Energies are relative to their mean.",
            wide=True,
        ),
        page.table(
            "Errors on the training data (RMSE)",
            ["configurations", "number", "energy, meV/atom", "force, meV/Å", "virial, meV/atom"],
            errors,
        ),
        page.columns(
            page.table("Settings", ["setting", "value"], _settings(fit.settings), numeric=0),
            page.table("Expected errors", ["setting", "value"], _settings(fit.regularisation), numeric=0)
            + page.table("Data, as written and as gap_fit read it", ["targets", "sent", "read"], counts),
        ),
        page.paragraph(
            f"{fit.n_sparse} sparse points; the fit took {text.seconds(fit.seconds)} and an estimated "
            f"{text.number(fit.memory_gb, 2)} GB."
        ),
    )


def _cost(contents: Contents) -> str:
    cost = contents.results.cost
    if cost is None:
        return ""
    rows = [(text.count(size.atoms, "atom"), size.labels, text.seconds(size.seconds)) for size in cost.by_size]
    rows.append(("all", cost.labels, text.seconds(cost.seconds)))
    relative, drawing = "", ""
    if cost.relative_to_diagonal is not None:
        relative = page.paragraph(
            f"The diagonal supercell of the grid has {cost.diagonal_atoms} atoms. By the cubes of the numbers of "
            f"atoms, all labels of the database together cost {text.significant(cost.relative_to_diagonal)} times one "
            "calculation of it."
        )
    if "cost" in contents.figures:
        drawing = page.picture(
            contents.figures["cost"],
            "Cost of the database's labels beside calculations of the diagonal supercell.",
            "Sums of atoms³, as the time of plane-wave calculations grows, relative to the diagonal supercell.",
        )
    stages = [(name, text.seconds(value)) for name, value in cost.stages.items()]
    if stages:
        stages.append(("all", text.seconds(cost.total_seconds)))
    return page.section(
        "Cost",
        relative,
        drawing,
        page.columns(
            page.table("Labels of the database", ["cells of", "labels", "time"], rows),
            page.table("Wall time of this run", ["stage", "time"], stages),
        ),
    )


def _reproduce(contents: Contents) -> str:
    results = contents.results
    return page.section(
        "How to make this again",
        page.listing(results.command) if results.command else "",
        page.paragraph(f"The seed is {results.seed}. The input file, with every default filled in:")
        if contents.input_file
        else page.paragraph(f"The seed is {results.seed}. The folder has no ndsc.toml, the input file of the run."),
        page.listing(contents.input_file) if contents.input_file else "",
        page.table("Versions", ["package", "version"], list(results.versions.items()), numeric=0),
    )


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, text.setting(value)) for name, value in settings.items()]


def _comparison(value: Comparison, digits: int) -> tuple[str, str, str]:
    return text.number(value.model, digits), text.number(value.reference, digits), text.percent(value)
