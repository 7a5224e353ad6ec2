"""What ``ndsc phonons`` and ``ndsc elastic`` show: tables for people, JSON for programs, pictures and band data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ndsc.cli.console import print_json, print_table, say
from ndsc.cli.options import option, say_symmetry, symmetry_of

if TYPE_CHECKING:
    from ndsc.crystal import Crystal
    from ndsc.elastic import ElasticConstants
    from ndsc.force_constants import PhononCost
    from ndsc.force_constants.polar import PolarModes
    from ndsc.phonons import BandPath, SupercellPhonons

#: Branches of a table that lists all of them, and how many stand side by side.
MOST_LISTED, SIDE_BY_SIDE = 24, 6
#: Three branches of the zone centre below this, THz, are the crystal moved as a whole.
TRANSLATION_THZ = 0.1


@dataclass(frozen=True, kw_only=True)
class BandOptions:
    """Files that show phonons along the path through the Brillouin zone."""

    plot: Annotated[
        Path | None, option("--plot", "Draw dispersion and density of states: .png, .pdf or .svg.", metavar="FILE")
    ] = None
    band: Annotated[
        Path | None,
        option("--band", "Write frequencies along the path: .yaml for phonopy's band.yaml, or .csv.", metavar="FILE"),
    ] = None

    def check(self) -> None:
        """Refuse files that could not be written, before anything is computed.

        Raises
        ------
        InputError
            For a suffix that says no format, or a folder that cannot be written.
        """
        if self.plot is not None:
            from ndsc.report.style import check_figure_file

            check_figure_file(self.plot)
        if self.band is not None:
            from ndsc.report.phonon_bands import check_band_file

            check_band_file(self.band)

    def write(self, found: SupercellPhonons) -> list[Path]:
        """Write the files that were asked for, and return them."""
        if self.plot is None and self.band is None:
            return []
        from ndsc.report.phonon_bands import band_structure, band_structure_figure
        from ndsc.report.style import write_figure

        bands = band_structure(found, density=self.plot is not None)
        if self.band is not None:
            bands.write(self.band)
        if self.plot is not None:
            write_figure(band_structure_figure(bands), self.plot)
        return [path for path in (self.plot, self.band) if path is not None]


def show_phonons(crystal: Crystal, found: SupercellPhonons, *, json: bool) -> None:
    """Frequencies at the special points of the Setyawan-Curtarolo path, and what they cost."""
    from ndsc.phonons import band_path

    path = band_path(crystal, npoints=2)
    points: dict[str, list[float]] = {}
    for label, point in (special for piece in path.special_points for special in piece):
        points.setdefault(label, [float(x) for x in point])
    found.phonopy.run_qpoints(list(points.values()))
    frequencies = [[float(f) for f in row] for row in found.phonopy.qpoints.frequencies]
    polar = _polar(found, path)
    if json:
        special = [
            {"label": label, "q": q, "frequencies_thz": row}
            for (label, q), row in zip(points.items(), frequencies, strict=True)
        ]
        document: dict[str, Any] = {"grid": list(found.grid), "route": found.route}
        document |= {"residual_force": found.residual_force, "warnings": list(found.warnings)}
        if polar:
            document["polar"] = [{"towards": name, **asdict(modes)} for name, modes in polar.items()]
        print_json(document | symmetry_of(crystal) | {"cost": found.cost.to_dict(), "special_points": special})
        return
    say_symmetry(crystal)
    heads = [
        [label, " ".join(f"{x:7.4f}" for x in q), "exact" if exact else ""]
        for (label, q), exact in zip(points.items(), found.is_exact(list(points.values())), strict=True)
    ]
    formula = crystal.atoms.get_chemical_formula()
    if len(frequencies[0]) <= MOST_LISTED:
        print_table(
            f"Phonon frequencies of {formula}, THz, imaginary ones negative",
            ["", "q (reduced)", "", "frequencies"],
            listed(heads, frequencies),
        )
    else:
        print_table(
            f"Phonon frequencies of {formula}, THz: {len(frequencies[0])} branches, summarised at each point",
            ["", "q (reduced)", "", "imaginary", "lowest", "median", "highest"],
            summarised(heads, frequencies),
        )
        say("At Γ without the three branches that move the crystal as a whole. --json prints all frequencies, and")
        say("--band FILE.csv writes them along the path.")
    rows = [
        [f"Γ → {name}", f"{transverse:.3f}", f"{longitudinal:.3f}", f"{longitudinal - transverse:.3f}"]
        for name, modes in polar.items()
        for transverse, longitudinal in zip(modes.transverse, modes.longitudinal, strict=True)
    ]
    if rows:
        print_table("Polar modes at Γ, THz", ["direction of q", "TO", "LO", "LO-TO"], rows)
    say(_said_cost(found.cost, diagonal=found.route == "diagonal"))


def _polar(found: SupercellPhonons, path: BandPath) -> dict[str, PolarModes]:
    """Transverse and longitudinal modes at Γ in the directions of the path, where there are Born charges."""
    from ndsc.force_constants.polar import polar_modes
    from ndsc.phonons import polar_directions

    if found.phonopy.nac_params is None:
        return {}
    directions = polar_directions(path)
    return dict(zip(directions, polar_modes(found.phonopy, list(directions.values())), strict=True))


def listed(heads: list[list[str]], frequencies: list[list[float]]) -> list[list[str]]:
    """Rows of a table with all frequencies of each point, a few side by side so that a terminal shows them."""
    rows = []
    for head, values in zip(heads, frequencies, strict=True):
        for start in range(0, len(values), SIDE_BY_SIDE):
            text = "  ".join(f"{value:6.3f}" for value in values[start : start + SIDE_BY_SIDE])
            rows.append([*(head if start == 0 else [""] * len(head)), text])
    return rows


def summarised(heads: list[list[str]], frequencies: list[list[float]]) -> list[list[Any]]:
    """Rows of a table with the number of imaginary frequencies of each point, the lowest, the median and the highest.

    The three frequencies of the zone centre that are nearest to zero are left out there, when they are the crystal
    moved as a whole (below 0.1 THz).
    """
    import numpy as np

    from ndsc.results import IMAGINARY_THZ

    rows: list[list[Any]] = []
    for head, values in zip(heads, frequencies, strict=True):
        kept = np.sort(np.asarray(values, dtype=float))
        if head[0] == "Γ":
            nearest = np.argsort(np.abs(kept))[:3]
            if np.all(np.abs(kept[nearest]) < TRANSLATION_THZ):
                kept = np.delete(kept, nearest)
        ends = [f"{value:.3f}" for value in (kept[0], np.median(kept), kept[-1])]
        rows.append([*head, int(np.sum(kept < IMAGINARY_THZ)), *ends])
    return rows


def show_elastic(crystal: Crystal, found: ElasticConstants) -> None:
    """A table of the constants and their averages."""
    say_symmetry(crystal)
    rows = [[name, f"{value:.2f}", found.unit] for name, value in found.constants.items()]
    if found.dimension == 3:
        rows.append(["bulk", f"{found.bulk_modulus:.2f}", "GPa"])
        rows.append(["shear", f"{found.shear_modulus:.2f}", "GPa"])
        rows.append(["Young", f"{found.young_modulus:.2f}", "GPa"])
        rows.append(["Poisson", f"{found.poisson_ratio:.3f}", ""])
    if found.unit == "GPa":
        rows += [[f"{name} in the plane", f"{value:.3f}", "N/m"] for name, value in found.in_plane.items()]
    ions = "relaxed" if found.relaxed_ions else "clamped"
    print_table(
        f"Elastic constants of {crystal.atoms.get_chemical_formula()}, {ions} ions", ["", "constant", "unit"], rows
    )


def plot_elastic(crystal: Crystal, found: ElasticConstants, path: Path) -> None:
    """Draw the constants of a crystal."""
    from ndsc.report.elastic_shape import elastic_figure
    from ndsc.report.style import write_figure

    write_figure(elastic_figure(found, title=crystal.atoms.get_chemical_formula()), path)


def _said_cost(cost: PhononCost, *, diagonal: bool) -> str:
    """What was computed and how long it took, beside the diagonal supercell, whose time is an estimate."""
    from ndsc.report.text import estimated, seconds

    used, other = cost.used, cost.diagonal
    text = f"{used.calculations} calculations, {used.atoms} atoms"
    if used.seconds is not None:
        text += f", {seconds(used.seconds)}"
    if diagonal:
        return f"{text}."
    text += f"; in the diagonal supercell of the grid {other.calculations} calculations, {other.atoms} atoms"
    law = f"the time grows as about atoms^{cost.power:g} (± {cost.power_width:g})"
    if other.seconds_estimated is None:
        return f"{text}. They take {estimated(cost.relative_time)} times as long as those: {law}."
    return f"{text}, {estimated(other.seconds_estimated, time=True)}. That is an estimate: {law}."
