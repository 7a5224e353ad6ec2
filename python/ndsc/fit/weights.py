"""Writing the potential of some weights of sparse points that are there."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ndsc.errors import InputError
from ndsc.files import whole_file, write_text
from ndsc.fit.sparse_points import read_kernels

FloatArray = NDArray[np.float64]


def write_weights(potential: Path, weights: FloatArray, single_atoms: Mapping[int, float], directory: Path) -> Path:
    """Write the potential of some weights, which :class:`ndsc.fit.GapCalculator` reads.

    Parameters
    ----------
    potential : path
        XML file of a GAP with the sparse points.
    weights : (m,) array
    single_atoms : mapping of int to eV
        By atomic number.
    directory : path
        Folder for ``gap.xml`` and the files that belong to it.

    Returns
    -------
    path

    Raises
    ------
    InputError
        When the weights do not fit the sparse points, or the folder cannot be written to.
    """
    tree, kernels = read_kernels(potential)
    n_points = sum(1 for kernel in kernels for _ in kernel.element.iter("sparseX"))
    if weights.shape != (n_points,) or not np.isfinite(weights).all():
        raise InputError(
            f"Weights of the shape {weights.shape}, or not finite, do not fit {n_points} sparse points. Give what "
            "solve returned."
        )
    folder = directory.resolve()
    remaining = iter(weights)
    for kernel in kernels:
        if folder != potential.parent:
            with whole_file(folder / kernel.file.name) as temporary:
                shutil.copyfile(kernel.file, temporary)
        for point in kernel.element.iter("sparseX"):
            point.set("alpha", repr(float(next(remaining))))
    for model in tree.iter("gpSparse"):
        model.set("fitted", "T")
    for entry in tree.iter("e0"):
        entry.set("value", repr(float(single_atoms.get(int(entry.get("Z", "0")), 0.0))))
    for command in tree.iter("command_line"):
        command.text = f"weights solved by ndsc for the sparse points of {potential.name}"
    write_text(folder / "gap.xml", ElementTree.tostring(tree.getroot(), encoding="unicode") + "\n")
    return folder / "gap.xml"
