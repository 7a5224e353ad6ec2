"""The XML file of a GAP: its kernels and their sparse points, read and written so that another fit can use the same."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ndsc.errors import FitError, InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KernelEntry:
    """One kernel of a GAP: its element of the XML file, and the file of its sparse points."""

    element: ElementTree.Element
    file: Path

    @property
    def text(self) -> str:
        """gap_fit's description of the kernel: ``soap cutoff=6.0 zeta=4 …``."""
        return self.element.findtext("descriptor", default="").strip()

    @property
    def words(self) -> dict[str, str]:
        """The ``key=value`` of the description."""
        return dict(word.split("=", 1) for word in self.text.split() if "=" in word)

    def number(self, key: str) -> float:
        """A number of the description; InputError when it has none of this key."""
        try:
            return float(self.words[key])
        except (KeyError, ValueError) as error:
            raise InputError(f"The kernel {self.text[:60]!r} has no {key}. Give a GAP that ndsc fitted.") from error

    def sparse_points(self) -> tuple[FloatArray, FloatArray]:
        """(m,) array of sparse cutoffs and (m, d) array of descriptors; InputError when their file is damaged."""
        try:
            values = np.loadtxt(self.file, ndmin=1)
            cutoffs = np.array([float(point.get("sparseCutoff", "1")) for point in self.element.iter("sparseX")])
            return cutoffs, values.reshape(len(cutoffs), int(self.element.get("dimensions", "0")))
        except (OSError, ValueError) as error:
            raise InputError(
                f"The sparse points in {self.file} cannot be read ({type(error).__name__}: {error}). Fit the potential "
                "again."
            ) from error


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, and with it entities, which may grow beyond memory or name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise InputError(
            f"it declares a document type ({name}), as a potential never does: its entities may grow beyond memory or "
            "name other files"
        )


def read_kernels(path: Path) -> tuple[ElementTree.ElementTree[ElementTree.Element], list[KernelEntry]]:
    """The XML file of a GAP, and its kernels in the order of their weights.

    Raises
    ------
    InputError
        When the file is not a GAP, or its ``*.sparseX.*`` files are missing.
    FitError
        When it is damaged.
    """
    try:
        tree = ElementTree.parse(path, ElementTree.XMLParser(target=_WithoutDoctype()))
    except FileNotFoundError as error:
        raise InputError(f"There is no potential {path}. Give the XML file that gap_fit wrote.") from error
    except InputError as error:
        raise InputError(f"{path} is refused: {error}. Give the XML file that gap_fit wrote.") from error
    except (OSError, ElementTree.ParseError) as error:
        raise FitError(f"The potential {path} cannot be read ({error}). Fit it again.") from error
    names = [(element, element.get("sparseX_filename", "")) for element in tree.getroot().iter("gpCoordinates")]
    missing = [name for _, name in names if name and not (path.parent / name).is_file()]
    if not names or missing:
        reason = f"{', '.join(missing)} is missing in its folder" if missing else "it holds no kernels"
        raise InputError(
            f"{path} cannot be used as a potential: {reason}. Keep the XML file and its *.sparseX.* files in one "
            "folder."
        )
    return tree, [KernelEntry(element, path.parent / name) for element, name in names]


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
    FitError
        When it is damaged.
    """
    _, kernels = read_kernels(Path(xml_path))
    return {chemical_symbols[int(kernel.number("Z"))]: kernel.sparse_points() for kernel in kernels}


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
