"""Sparse points of a fitted potential, read and written so that another fit can use the same ones."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ndsc.errors import InputError

FloatArray = NDArray[np.float64]


def read_sparse_points(xml_path: str | Path) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Sparse points of a fitted GAP.

    Returns
    -------
    dict of symbol to (cutoffs, points)
        (m,) array of sparse cutoffs and (m, d) array of descriptors.

    Raises
    ------
    InputError
        When the file is not a GAP with one SOAP kernel per species, or one of its files is missing or damaged.
    """
    path = Path(xml_path)
    points = {}
    try:
        for entry in ElementTree.parse(path).getroot().iter("gpCoordinates"):
            words = entry.findtext("descriptor", default="").split()
            number = next(int(word[2:]) for word in words if word.startswith("Z="))
            dimensions = int(entry.get("dimensions", "0"))
            values = np.loadtxt(path.parent / entry.get("sparseX_filename", ""), ndmin=1)
            cutoffs = np.array([float(point.get("sparseCutoff", "1")) for point in entry.iter("sparseX")])
            points[chemical_symbols[number]] = (cutoffs, values.reshape(len(cutoffs), dimensions))
    except (OSError, ElementTree.ParseError, StopIteration, ValueError) as error:
        raise InputError(
            f"The sparse points of {path} cannot be read ({type(error).__name__}: {error}). Give the XML file of a GAP "
            "made of SOAP kernels, with its *.sparseX.* files in the same folder."
        ) from error
    if not points:
        raise InputError(f"{path} holds no kernels. Give the XML file of a fitted GAP.")
    return points


def write_sparse_points(
    directory: Path, species: Sequence[str], points: Mapping[str, tuple[FloatArray, FloatArray]]
) -> dict[str, str]:
    """Write fixed sparse points as gap_fit's ``sparse_method=file`` reads them.

    One number a line, point after point: the sparse cutoff, then the descriptor.

    Returns
    -------
    dict of symbol to file name

    Raises
    ------
    InputError
        When a species has no sparse points.
    """
    missing = [symbol for symbol in species if symbol not in points]
    if missing:
        raise InputError(
            f"The potential whose sparse points are to be used has none for {', '.join(missing)}. Use one that was "
            "fitted to the same species."
        )
    names = {}
    for symbol in species:
        cutoffs, descriptors = points[symbol]
        names[symbol] = f"sparse_points.{symbol}.txt"
        np.savetxt(directory / names[symbol], np.column_stack([cutoffs, descriptors]).reshape(-1), fmt="%.20e")
    return names
