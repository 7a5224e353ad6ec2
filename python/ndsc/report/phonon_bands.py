"""Phonons of one calculator along a path: their picture, and band data for phonopy's tools and for spreadsheets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from phonopy.phonon.band_structure import BandStructure as PhonopyBands

from ndsc.errors import InputError
from ndsc.files import check_folder, whole_file, write_text
from ndsc.phonon_path import BandPath
from ndsc.phonons import band_path, densities_of_states
from ndsc.report.bands import Line, draw_branches, draw_path_axis, path_legs, pretty_label, shade_imaginary
from ndsc.report.style import MODEL, REFERENCE, new_figure, paper_style, plain
from ndsc.report.tables import csv_text
from ndsc.results import IMAGINARY_THZ

if TYPE_CHECKING:
    from pandas import DataFrame

    from ndsc.force_constants import SupercellPhonons

FloatArray = NDArray[np.float64]

#: Suffixes of band data: phonopy's format, and a table.
BAND_SUFFIXES = (".yaml", ".yml", ".csv")


@dataclass(frozen=True, eq=False)
class BandStructure:
    """Phonons along a path, and the density of states.

    Attributes
    ----------
    title : str
        Formula of the crystal, or what the picture is to be called.
    path : BandPath
    frequencies : (n, n_bands) float array, THz
        At each q-point of the path, in ascending order, imaginary ones negative.
    bands : phonopy.phonon.band_structure.BandStructure
        What phonopy made of the path, leg by leg.
    dos_frequencies, dos : (m,) float array, THz and 1/THz
        The density of states, which integrates to the number of bands; None where it was not asked for.
    """

    title: str
    path: BandPath
    frequencies: FloatArray
    bands: PhonopyBands
    dos_frequencies: FloatArray | None = None
    dos: FloatArray | None = None

    def data(self) -> DataFrame:
        """One q-point a row.

        Returns
        -------
        DataFrame
            ``distance_per_angstrom`` along the path, without 2 pi; ``segment``, from 1, which changes where the path
            jumps; ``label``, the name of a special point or empty; ``q1``, ``q2``, ``q3``, reduced; and
            ``branch_1_thz``, ``branch_2_thz`` …, in order of frequency, negative where imaginary.
        """
        from pandas import DataFrame

        path = self.path
        segments = np.zeros(len(path.qpoints), dtype=int)
        for number, (first, last) in enumerate(path.segments):
            segments[first : last + 1] = number + 1
        columns: dict[str, Any] = {
            "distance_per_angstrom": path.distances,
            "segment": segments,
            "label": path.names,
        }
        columns |= {f"q{axis + 1}": path.qpoints[:, axis] for axis in range(3)}
        columns |= {f"branch_{i + 1}_thz": self.frequencies[:, i] for i in range(self.frequencies.shape[1])}
        return DataFrame(columns)

    def write(self, path: str | Path) -> None:
        """Write band data: phonopy's ``band.yaml`` for ``.yaml`` and ``.yml``, the table of :meth:`data` for ``.csv``.

        Raises
        ------
        InputError
            When the suffix is none of these, or the file cannot be written.
        """
        target = check_band_file(path)
        if target.suffix.lower() == ".csv":
            write_text(target, csv_text(self.data()))
            return
        with whole_file(target) as temporary:
            self.bands.write_yaml(filename=temporary)


def band_structure(
    found: SupercellPhonons, *, npoints: int = 300, density: bool = True, title: str = ""
) -> BandStructure:
    """Frequencies of a crystal along the path of Setyawan and Curtarolo, and its density of states.

    Parameters
    ----------
    found : SupercellPhonons
    npoints : int
        About how many q-points.
    density : bool
        Whether to compute the density of states (tetrahedron method).
    title : str
        The formula of the crystal when not given.
    """
    crystal, phonon = found.crystal, found.phonopy
    path = band_path(crystal, npoints=npoints)
    legs = path_legs(path)
    # Neighbouring legs share a q-point; where they do not, the path jumps.
    connected = [*(after.start < before.stop for before, after in itertools.pairwise(legs)), False]
    labels: list[str] = []
    for leg, goes_on in zip(legs, connected, strict=True):
        labels.append(pretty_label(path.names[leg.start]))
        labels += [] if goes_on else [pretty_label(path.names[leg.stop - 1])]
    bands = phonon.run_band_structure(
        [path.qpoints[leg] for leg in legs], path_connections=connected, labels=[_latex(label) for label in labels]
    )
    frequencies = np.empty((len(path.qpoints), 3 * len(crystal.atoms)))
    for leg, values in zip(legs, bands.frequencies, strict=True):
        frequencies[leg] = np.sort(np.asarray(values, dtype=float), axis=1)
    axis = dos = None
    if density:
        axis, (dos,) = densities_of_states([phonon], crystal)
    return BandStructure(title or crystal.atoms.get_chemical_formula(), path, frequencies, bands, axis, dos)


def band_structure_figure(bands: BandStructure) -> Figure:
    """Draw the branches along the path, with the density of states beside them where there is one.

    Imaginary frequencies are drawn as negative ones, in a tinted band.
    """
    lowest, highest = float(bands.frequencies.min()), float(bands.frequencies.max())
    limits = (1.08 * lowest if lowest < IMAGINARY_THZ else 0.0, max(1.05 * highest, 0.1))
    # Many branches need thinner lines to be told apart.
    line = Line(MODEL, float(np.clip(12.0 / bands.frequencies.shape[1], 0.5, 1.4)))
    with paper_style():
        figure = new_figure(7.0, 4.0)
        if bands.dos is None or bands.dos_frequencies is None:
            axes = figure.add_subplot()
        else:
            grid = figure.add_gridspec(1, 2, width_ratios=(3.8, 1.0), wspace=0.03)
            axes = figure.add_subplot(grid[0, 0])
            beside = figure.add_subplot(grid[0, 1], sharey=axes)
            beside.fill_betweenx(bands.dos_frequencies, 0.0, bands.dos, color=MODEL, alpha=0.15, linewidth=0)
            beside.plot(bands.dos, bands.dos_frequencies, color=MODEL, linewidth=1.2)
            beside.axhline(0.0, color=REFERENCE, linewidth=0.6)
            beside.set_xlim(0.0, 1.08 * float(bands.dos.max()) or 1.0)
            beside.set_xlabel("DOS (1/THz)")
            beside.tick_params(axis="y", labelleft=False)
            beside.locator_params(axis="x", nbins=3)
        draw_branches(axes, bands.path, bands.frequencies, line)
        draw_path_axis(axes, bands.path)
        axes.set_ylim(*limits)
        axes.axhline(0.0, color=REFERENCE, linewidth=0.6, zorder=1)
        shade_imaginary(axes, limits[0])
        axes.set_ylabel("Frequency (THz)")
        axes.set_title(plain(bands.title))
    return figure


def check_band_file(path: str | Path) -> Path:
    """Refuse, before anything is computed, a name for band data that has none of the suffixes, or cannot be written.

    Raises
    ------
    InputError
        When it is so.
    """
    target = Path(path)
    if target.suffix.lower() not in BAND_SUFFIXES:
        raise InputError(
            f"Band data cannot be written to {target}: the suffix decides the format. Use .yaml for phonopy's "
            "band.yaml, or .csv for a table."
        )
    if target.is_dir():
        raise InputError(f"{target} cannot be written: it is a folder. Choose another name.")
    check_folder(target.parent)
    return target


def _latex(label: str) -> str:
    """A special point's name as phonopy's tools draw it."""
    return (
        label.replace("Γ", r"$\Gamma$").replace("Σ", r"$\Sigma$").replace("Δ", r"$\Delta$").replace("Λ", r"$\Lambda$")
    )
