"""The section on phonons: curves, errors, the baseline, and what the reference's calculations took."""

from __future__ import annotations

from ndsc.report import page, text
from ndsc.report.contents import Contents
from ndsc.report.phonon_errors import branch_errors, worst_qpoints
from ndsc.results import PhononsSummary

#: Rows of the table of q-points with the largest errors.
WORST_QPOINTS = 8


def phonons_section(contents: Contents) -> str:
    """Dispersion, its numbers, the baseline, where the errors are, and what the reference took."""
    phonons = contents.results.phonons
    if phonons is None:
        return ""
    way = "the minimal set of non-diagonal supercells"
    if phonons.settings.get("reference") == "diagonal":
        way = "the diagonal supercell"
    rows = [
        ("RMSE over the mesh", text.number(phonons.rmse_mesh_thz, 4)),
        ("RMSE along the path", text.number(phonons.rmse_path_thz, 4)),
        ("largest error", text.number(phonons.max_error_thz, 4)),
        ("lowest frequency, potential", text.number(phonons.min_frequency_thz)),
        ("lowest frequency, reference", text.number(phonons.reference_min_frequency_thz)),
        ("highest frequency, reference", text.number(phonons.reference_max_frequency_thz)),
    ]
    return page.section(
        "Phonons",
        page.picture(
            contents.figures["dispersion"],
            f"Phonon dispersion and density of states of the potential over the reference; RMSE over the mesh "
            f"{text.number(phonons.rmse_mesh_thz, 4)} THz.",
            "Dispersion along the Setyawan-Curtarolo path, the difference below it, and the density of states on "
            f"{text.grid(phonons.dos_mesh)} q-points. Potential: coloured; reference: black, dashed; harmonic model of "
            "the same database, where there is one: grey. Imaginary frequencies are drawn as negative numbers.",
            wide=True,
        ),
        page.paragraph(
            f"Force constants of both from {way}, each at its own lattice. The mesh of {text.grid(phonons.mesh)} "
            "q-points is weighted by symmetry; along the path each q-point counts with the length of path it stands "
            "for."
        ),
        page.table("Frequencies", ["quantity", "THz"], rows),
        _harmonic(phonons),
        _where_wrong(contents),
        _phonon_effort(phonons),
    )


def _where_wrong(contents: Contents) -> str:
    """Errors by branch, frequency and q-point."""
    if contents.phonons is None or "errors" not in contents.figures:
        return ""
    worst = [
        (qpoint, branch, *(text.number(value, 4) for value in values))
        for qpoint, _, branch, *values in worst_qpoints(contents.phonons, WORST_QPOINTS).rows()
    ]
    branches = [
        (branch, *(text.number(value, 4) for value in values))
        for branch, *values in branch_errors(contents.phonons).rows()
    ]
    return page.picture(
        contents.figures["errors"],
        "Error of each branch along the path, of each mode of the mesh over its frequency, and how many modes have a "
        "larger error.",
        "Where the potential is wrong. Above: error of each branch, in order of frequency, along the path. Below: "
        "error of every mode of the mesh, coloured by the length of q, short ones being sound waves; and the share of "
        "the modes whose error is larger, 95 % being left of the dashed line.",
        wide=True,
    ) + page.columns(
        page.table("Errors of the branches over the mesh, THz", ["branch", "RMSE", "mean", "largest"], branches),
        page.table(
            "q-points of the mesh with the largest errors, THz",
            ["q-point", "branch", "potential", "reference", "error", "RMSE"],
            worst,
        ),
    )


def _harmonic(phonons: PhononsSummary) -> str:
    baseline = phonons.harmonic
    if baseline is None:
        return ""
    return page.paragraph(
        "The harmonic model of the same database, which knows no anharmonicity, reaches "
        f"{text.number(baseline.rmse_mesh_thz, 4)} THz over the mesh and leaves "
        f"{text.milli(baseline.force_rmse_ev_per_angstrom)} of {text.milli(baseline.force_rms_ev_per_angstrom)} meV/Å "
        "of the forces. It is a check of the data, and the baseline for the potential."
    )


def _phonon_effort(phonons: PhononsSummary) -> str:
    """What the reference's phonons took beside the ordinary diagonal supercell, and where they are exact."""
    used, diagonal = phonons.reference_effort, phonons.diagonal_effort
    if used is None or diagonal is None:
        return ""
    rows = [
        (name, effort.calculations, effort.atoms, text.number(effort.atoms_cubed, 0), effort.kpoints or "–", time)
        for name, effort, time in (
            ("this run", used, text.seconds(used.seconds)),
            ("diagonal supercell", diagonal, text.seconds(diagonal.seconds)),
        )
    ]
    return page.paragraph(
        f"The reference's phonons are exact at the {phonons.n_exact_qpoints} irreducible q-points of the "
        f"{text.grid(phonons.grid)} grid and at all that symmetry relates to them; all others are interpolated."
    ) + page.table(
        "Calculations behind the reference's phonons",
        ["", "calculations", "atoms", "sum of atoms³", "k-points", "time"],
        rows,
    )
